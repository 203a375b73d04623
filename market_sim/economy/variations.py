"""One market with other margins, prices, values or rationality, many of them solved in one pass.

Two readings of a margin mu over cost are kept apart, because published prices do not tell which holds:

    holding = "price"   list prices stand as published and cost is p / (1 + mu): providers earn more, users
                        pay the same; with one margin for all, equilibria do not change
    holding = "cost"    cost stands as in the market and the price is c (1 + mu): users pay more
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from market_sim.economy.market import Market
from market_sim.economy.uncertainty import Outcomes, solved_games
from market_sim.theory.arrays import Array
from market_sim.theory.auction import truthful_outcome
from market_sim.theory.game import make_game

HOLDINGS = ("price", "cost")


def with_margin(market: Market, margin: float, holding: str) -> Market:
    """The market with that margin over cost for every provider; holding says what stays, in HOLDINGS."""
    if holding == "price":
        return replace(market, cost=market.price / (1.0 + margin))
    if holding == "cost":
        return replace(market, price=market.cost * (1.0 + margin))
    raise ValueError(f"holding = {holding!r} is not one of {', '.join(HOLDINGS)}")


def solve_variations(
    market: Market,
    *,
    beta: ArrayLike,
    margin: ArrayLike,
    value_factor: ArrayLike,
    price_factor: ArrayLike,
    seed: int = 0,
) -> Outcomes:
    """A market of one task under B variations, (B,) each; one Outcomes of B entries.

    beta          1/USD
    margin        over cost, for every provider: cost = price / (1 + margin)
    value_factor  of the value of a correct answer
    price_factor  of every price per token
    seed          gives the order in which providers move in the paper's dynamics
    """
    columns = (beta, margin, value_factor, price_factor)
    betas, margins, values, prices = np.broadcast_arrays(*(np.atleast_1d(column) for column in columns))
    quality = _each(values) * market.quality()
    price = _each(prices) * market.price[0]
    cost = price / (1.0 + _each(margins))
    offered, outside = market.offered[0], market.outside_value
    games = make_game(quality - price, price - cost, betas, outside, offered)
    return Outcomes(
        auction=truthful_outcome(quality, cost, outside, offered),
        defined=np.ones(len(betas), dtype=bool),
        outside_value=outside,
        **solved_games(games, price, seed),
    )


def _each(column: Array) -> Array:
    return column[:, None, None]

"""Many scenarios solved exactly in one pass: the rows of a sweep of kind "solve".

Markets with the same providers and levels are stacked, whatever they differ in (rationality, margins,
prices, values), and solved as one batch of games.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from market_sim.economy.market import Market, check_decisive
from market_sim.economy.solve import paper_path, totals_at
from market_sim.errors import InputError
from market_sim.experiments.people import users_of_one_type
from market_sim.experiments.scenario import Scenario
from market_sim.theory.arrays import Array, at_levels
from market_sim.theory.auction import truthful_outcome
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.game import Game, equilibria, log_shares_at, make_game
from market_sim.theory.welfare import inefficiency, price_of_anarchy, social_optimum

Row = dict[str, Any]

MEASURES: Mapping[str, type] = {
    "benchmark": str,
    "method": str,
    "beta": float,
    "welfare": float,
    "user_value": float,
    "price": float,
    "provider_profit": float,
    "log_sum_surplus": float,
    "optimum": float,
    "worst_welfare": float,
    "worst_user_value": float,
    "worst_tokens_ratio": float,
    "best_welfare": float,
    "price_of_anarchy": float,
    "price_of_stability": float,
    "paper_price_of_anarchy": float,
    "inefficiency": float,
    "noise_gap": float,
    "strategic_gap": float,
    "first_best_gap_usd": float,
    "equilibria": int,
    "auction_winner": str,
    "auction_runner_up": str,
    "auction_welfare": float,
    "auction_user_value": float,
    "auction_price": float,
    "auction_provider_profit": float,
}
"""Columns of the table (docs/sweeps.md): of the paper's equilibrium unless the name says otherwise; USD per
arriving request."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exact:
    """What there is to solve: a market of one task, rationality and value_scale of its users, the order of
    moves."""

    market: Market
    beta: float
    value_scale: float
    seed: int


def to_solve(scenario: Scenario, market: Market) -> Exact:
    """Raises InputError for several benchmarks or users who differ: nothing is solved exactly then."""
    if market.n_tasks > 1:
        raise InputError(
            f"{scenario.where}: market.benchmark names {market.n_tasks} benchmarks, and a sweep solves one "
            "at a time: make market.benchmark an axis"
        )
    users = users_of_one_type(scenario, market, 'sweep it with kind = "run"')
    check_decisive(market, users.beta[:1], users.value_scale[0], scenario.where)
    return Exact(
        market=market,
        beta=float(users.beta[0]),
        value_scale=float(users.value_scale[0]),
        seed=scenario.seed,
    )


def solve_rows(problems: Sequence[Exact], *, dynamics: bool = True) -> list[Row]:
    """The measures of each, in their order.

    dynamics  False: without what is of the equilibrium that the paper's dynamics end in; they take a second
              for a thousand providers
    """
    alike: dict[tuple[Any, ...], list[int]] = {}
    for place, one in enumerate(problems):
        market = one.market
        kind = (one.seed, market.tasks, market.providers, market.methods, market.offered.tobytes())
        alike.setdefault(kind, []).append(place)
    rows: dict[int, Row] = {}
    for places in alike.values():
        rows |= zip(places, _rows([problems[place] for place in places], dynamics), strict=True)
    return [rows[place] for place in range(len(problems))]


def _rows(problems: Sequence[Exact], dynamics: bool) -> list[Row]:
    """The measures of markets with the same providers and levels, of B of them at once."""
    first = problems[0].market

    def each(of: Any) -> Array:
        return np.array([of(one) for one in problems])

    scale = each(lambda one: one.value_scale)[:, None, None]
    quality = scale * each(lambda one: one.market.quality(0))
    price, cost = each(lambda one: one.market.price[0]), each(lambda one: one.market.cost[0])
    tokens = each(lambda one: one.market.tokens[0])
    outside = each(lambda one: one.market.outside_value)
    beta, offered = each(lambda one: one.beta), first.offered[0]
    games = make_game(quality - price, price - cost, beta, outside, offered)
    found, best = equilibria(games), social_optimum(games)
    starts = np.searchsorted(found.game, np.arange(len(problems)))
    worst = found.levels[np.lexsort((found.welfare, found.game))[starts]]
    at_worst = totals_at(games, worst, price)
    greatest = np.maximum.reduceat(found.welfare, starts)
    efficient = np.where(offered, quality - cost, -np.inf).argmax(axis=-1)
    auction = truthful_outcome(quality, cost, outside, offered)
    columns: dict[str, Any] = {"beta": beta}
    if dynamics:
        totals = totals_at(games, paper_path(games, problems[0].seed).end, price)
        columns |= {
            "welfare": totals.welfare,
            "user_value": totals.user_value,
            "price": totals.price,
            "provider_profit": totals.provider_profit,
            "log_sum_surplus": totals.log_sum_surplus,
            "paper_price_of_anarchy": price_of_anarchy(best.welfare, totals.welfare),
            "inefficiency": inefficiency(best.welfare, totals.welfare),
            "strategic_gap": best.welfare - totals.welfare,
            "first_best_gap_usd": auction.welfare - totals.welfare,
        }
    columns |= {
        "optimum": best.welfare,
        "worst_welfare": at_worst.welfare,
        "worst_user_value": at_worst.user_value,
        "worst_tokens_ratio": _tokens_ratio(games, worst, tokens, efficient),
        "best_welfare": greatest,
        "price_of_anarchy": price_of_anarchy(best.welfare, at_worst.welfare),
        "price_of_stability": price_of_anarchy(best.welfare, greatest),
        "noise_gap": auction.welfare - best.welfare,
        "equilibria": np.bincount(found.game, minlength=len(problems)),
        "auction_winner": [_named(first, i) for i in auction.winner.tolist()],
        "auction_runner_up": [_named(first, i) for i in auction.runner_up.tolist()],
        "auction_welfare": auction.welfare,
        "auction_user_value": auction.user_value,
        "auction_price": auction.price,
        "auction_provider_profit": auction.provider_profit,
    }
    head = {"benchmark": first.tasks[0], "method": "+".join(dict.fromkeys(first.methods))}
    lists = {
        name: [value if value == value else None for value in column.tolist()]
        if isinstance(column, np.ndarray)
        else column
        for name, column in columns.items()
    }
    return [head | dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _tokens_ratio(games: Game, levels: Array, tokens: Array, efficient: Array) -> Array:
    """Tokens of profiles over those that the same requests take at efficient levels, (B,)."""
    log_share, _ = log_shares_at(games, levels)
    share = np.exp(log_share - log_share.max(axis=-1, keepdims=True))  # where hardly anybody buys, too
    return (share * at_levels(tokens, levels)).sum(axis=-1) / (share * at_levels(tokens, efficient)).sum(
        axis=-1
    )


def _named(market: Market, provider: int) -> str | None:
    return None if provider == OUTSIDE else market.providers[provider]

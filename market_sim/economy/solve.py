"""A market solved exactly: all equilibria, the optimum, prices of anarchy and stability, the auction.

Everything is for users of one type and one task, in USD per arriving request.  Each equilibrium carries
its certificate: the most that any provider could gain by moving (docs/theory.md 2 and 3).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.market import Market, games_of
from market_sim.theory import choice
from market_sim.theory.arrays import Array, at_levels
from market_sim.theory.auction import truthful_outcome
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.dynamics import Path, better_reply_path
from market_sim.theory.game import (
    Game,
    equilibria,
    log_shares_at,
    potential,
    regret_usd,
    select,
)
from market_sim.theory.streams import activation_orders
from market_sim.theory.welfare import inefficiency, price_of_anarchy, social_optimum, welfare_at

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile of compute levels and what it does; USD per arriving request.

    levels, shares       by provider; outside_share is the share that buys nothing
    user_value           sum_i s_i V_i + s_0 V_0; price and provider_profit are weighted by shares too
    log_sum_surplus      users' surplus if logit noise is taste; None at beta = 0 (infinite)
    mean_*               plain means over providers, as the paper prints them
    accuracy             of served requests, None where there are none; tokens_per_query per arriving request
    regret_usd           the most any provider could add to its profit by a unilateral move
    """

    levels: Mapping[str, float]
    shares: Mapping[str, float]
    outside_share: float
    welfare: float
    user_value: float
    price: float
    provider_profit: float
    log_sum_surplus: float | None
    mean_user_value: float
    mean_price: float
    mean_provider_profit: float
    accuracy: float | None
    tokens_per_query: float
    potential: float
    regret_usd: float


@dataclass(frozen=True, kw_only=True)
class AuctionOutcome:
    """The second-price auction with truthful bids; winner and runner_up None where nobody qualifies."""

    winner: str | None
    runner_up: str | None
    level: float | None
    welfare: float
    user_value: float
    price: float
    provider_profit: float
    accuracy: float | None
    tokens_per_query: float


@dataclass(frozen=True, kw_only=True)
class Solution:
    """One market at one rationality, solved.

    equilibria               from the least to the greatest offers; `ties` where providers are indifferent
                             and the list has one representative per total
    paper_dynamics           where the paper's better replies end, from everybody's lowest level
    optimum                  {"welfare", "levels", "bound"}: best over all profiles under logit choice
    price_of_anarchy         optimum / worst equilibrium;  price_of_stability: / best equilibrium
    paper_price_of_anarchy   optimum / paper_dynamics (as printed)
    inefficiency             the latter minus one
    noise_gap                max(W_(1), V_0) - optimum: lost because users choose with noise
    strategic_gap            optimum - paper_dynamics: lost because providers do not serve the optimum
    first_best_gap_usd       the two together
    Ratios are None where welfare is not above zero.
    """

    benchmark: str
    method: str
    beta: float
    providers: tuple[str, ...]
    equilibria: tuple[Profile, ...]
    ties: bool
    paper_dynamics: Profile
    optimum: Mapping[str, Any]
    price_of_anarchy: float | None
    price_of_stability: float | None
    paper_price_of_anarchy: float | None
    inefficiency: float | None
    noise_gap: float
    strategic_gap: float
    first_best_gap_usd: float
    auction: AuctionOutcome

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dictionaries, as `market-sim solve --json` prints them."""
        return asdict(self)

    def to_frame(self) -> "pd.DataFrame":
        """One row per equilibrium and provider."""
        import pandas as pd

        return pd.DataFrame(
            {
                "beta": self.beta,
                "equilibrium": number,
                "provider": name,
                "compute_level": profile.levels[name],
                "share": profile.shares[name],
                "welfare": profile.welfare,
                "potential": profile.potential,
            }
            for number, profile in enumerate(self.equilibria)
            for name in self.providers
        )

    def __repr__(self) -> str:
        found = len(self.equilibria)
        return (
            f"<Solution {self.benchmark} {self.method} beta={self.beta:g}: "
            f"{found} equilibri{'um' if found == 1 else 'a'}, "
            f"welfare {1000 * self.paper_dynamics.welfare:.3f} of {1000 * self.optimum['welfare']:.3f} "
            f"USD per 1,000 queries, auction won by {self.auction.winner}>"
        )


class Solutions(tuple[Solution, ...]):
    """The solutions of one market at several rationalities, in the order asked for."""

    def to_frame(self) -> "pd.DataFrame":
        """One row per rationality, equilibrium and provider."""
        import pandas as pd

        return pd.concat([solution.to_frame() for solution in self], ignore_index=True)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))


def solve_market(
    market: Market, betas: Sequence[float] | Array, seed: int = 0, value_scale: float = 1.0
) -> Solutions:
    """Solve a market of one task for each rationality, all in one pass over arrays.

    seed         gives the order in which providers move in the paper's dynamics
    value_scale  what an answer is worth to the users, as a multiple of the task's value
    """
    betas = np.asarray(betas, dtype=float)
    games = games_of(market, 0, betas, value_scale)
    found = equilibria(games)
    path = paper_path(games, seed)
    best = social_optimum(games)
    auction = auction_outcome(market, value_scale)
    ends = _profiles(market, games, path.end)
    listed = _profiles(market, select(games, found.game), found.levels)
    welfare_of_path = welfare_at(games, path.end)
    ratios = price_of_anarchy(best.welfare, welfare_of_path)
    solutions = []
    for b, beta in enumerate(betas):
        rows = found.of(b)
        optimum = float(best.welfare[b])
        reached = float(welfare_of_path[b])
        welfare = found.welfare[rows]
        solutions.append(
            Solution(
                benchmark=market.tasks[0],
                method="+".join(dict.fromkeys(market.methods)),
                beta=float(beta),
                providers=market.providers,
                equilibria=tuple(listed[row] for row in rows),
                ties=bool(found.ties[b]),
                paper_dynamics=ends[b],
                optimum={
                    "welfare": optimum,
                    "levels": _named(market, _labels(market, best.levels[b])),
                    "bound": float(best.bound[b]),
                },
                price_of_anarchy=_number(price_of_anarchy(optimum, welfare.min())),
                price_of_stability=_number(price_of_anarchy(optimum, welfare.max())),
                paper_price_of_anarchy=_number(ratios[b]),
                inefficiency=_number(inefficiency(optimum, reached)),
                noise_gap=auction.welfare - optimum,
                strategic_gap=optimum - reached,
                first_best_gap_usd=auction.welfare - reached,
                auction=auction,
            )
        )
    return Solutions(solutions)


def paper_path(games: Game, seed: int) -> Path:
    """The paper's dynamics, with the order of moves that a run of the same seed has."""
    return better_reply_path(games, activation_orders(seed, games.n_providers))


def auction_outcome(market: Market, value_scale: float = 1.0) -> AuctionOutcome:
    """The truthful second-price auction for users of one value_scale."""
    task = 0
    result = truthful_outcome(
        value_scale * market.quality(task), market.cost[task], market.outside_value, market.offered[task]
    )
    winner, runner_up, level = int(result.winner), int(result.runner_up), int(result.level)
    served = winner != OUTSIDE
    return AuctionOutcome(
        winner=market.providers[winner] if served else None,
        runner_up=market.providers[runner_up] if runner_up != OUTSIDE else None,
        level=_plain(market.compute_level[task, winner, level]) if served else None,
        welfare=float(result.welfare),
        user_value=float(result.user_value),
        price=float(result.price),
        provider_profit=float(result.provider_profit),
        accuracy=float(market.accuracy[task, winner, level]) if served else None,
        tokens_per_query=float(market.tokens[task, winner, level]) if served else 0.0,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Totals:
    """What profiles of a batch of games add up to; USD per arriving request, (...) each.

    user_value, price, provider_profit  weighted by shares
    log_sum_surplus                     users' surplus if noise is taste; inf at beta = 0
    """

    welfare: Array
    user_value: Array
    price: Array
    provider_profit: Array
    log_sum_surplus: Array


def totals_at(games: Game, levels: Array, price: Array) -> Totals:
    """The totals of profiles of levels (..., N); price (..., N, K) USD per query."""
    log_share, log_outside = log_shares_at(games, levels)
    share = np.exp(log_share)
    value = at_levels(games.value, levels)
    return Totals(
        welfare=welfare_at(games, levels),
        user_value=(share * value).sum(axis=-1) + np.exp(log_outside) * games.outside_value,
        price=(share * at_levels(price, levels)).sum(axis=-1),
        provider_profit=(share * at_levels(games.margin, levels)).sum(axis=-1),
        log_sum_surplus=choice.log_sum_surplus(value, games.beta, games.outside_value),
    )


def _profiles(market: Market, games: Game, levels: Array) -> list[Profile]:
    """Profiles of a batch of games, measured; levels (M, N)."""
    log_share, log_outside = log_shares_at(games, levels)
    share, outside = np.exp(log_share), np.exp(log_outside)
    value = at_levels(games.value, levels)
    profit = at_levels(games.margin, levels)
    price, tokens, accuracy = (
        at_levels(table[0], levels) for table in (market.price, market.tokens, market.accuracy)
    )
    bought = share.sum(axis=-1)
    totals = totals_at(games, levels, market.price[0])
    labels = _labels(market, levels)
    regret = regret_usd(games, levels).max(axis=-1)
    phi = potential(games, levels)
    return [
        Profile(
            levels=_named(market, labels[m]),
            shares=_named(market, share[m]),
            outside_share=float(outside[m]),
            welfare=float(totals.welfare[m]),
            user_value=float(totals.user_value[m]),
            price=float(totals.price[m]),
            provider_profit=float(totals.provider_profit[m]),
            log_sum_surplus=_number(totals.log_sum_surplus[m]),
            mean_user_value=float(value[m].mean()),
            mean_price=float(price[m].mean()),
            mean_provider_profit=float(profit[m].mean()),
            accuracy=float(share[m] @ accuracy[m] / bought[m]) if bought[m] > 0 else None,
            tokens_per_query=float(share[m] @ tokens[m]),
            potential=float(phi[m]),
            regret_usd=float(regret[m]),
        )
        for m in range(len(levels))
    ]


def _labels(market: Market, levels: Array) -> Array:
    """Compute levels as the data names them, (..., N)."""
    return at_levels(market.compute_level[0], levels)


def _named(market: Market, row: Array) -> dict[str, float]:
    return {name: _plain(value) for name, value in zip(market.providers, row, strict=True)}


def _plain(value: float) -> float:
    """A whole number as an int, so that level 4 reads 4."""
    return int(value) if float(value).is_integer() and abs(value) >= 1 else float(value)


def _number(value: Array | float) -> float | None:
    """None for what is undefined or infinite."""
    return float(value) if math.isfinite(value) else None

"""How sure a solved market is: the market solved again for every draw of its curves, and intervals.

Draws of accuracy and tokens (economy/draws.py) are solved together, along the batch axes of the theory:
the paper's dynamics, all equilibria, the optimum and the auction of each.  What comes out is one number
per draw and measure, so differences and ratios are taken draw by draw, where errors that are common to
both sides cancel.  A measure that a draw does not define is NaN there and is counted (docs/theory.md 8).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.draws import Draws
from market_sim.economy.market import QUALITY_CURVES, Market
from market_sim.economy.solve import Solution, Totals, paper_path, solve_market, totals_at
from market_sim.theory.arrays import Array
from market_sim.theory.auction import TruthfulOutcome, truthful_outcome
from market_sim.theory.blocks import blocks
from market_sim.theory.bootstrap import percentile_interval
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.game import Equilibria, Game, equilibria, make_game
from market_sim.theory.welfare import inefficiency, price_of_anarchy, social_optimum

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """One market solved for each of D draws; USD per arriving request, (D,) each.

    paper_dynamics  where the paper's better replies end, from everybody's lowest level
    worst, best     the equilibria of least and most welfare, those of the price of anarchy and of stability
    optimum         best welfare over all profiles under logit choice
    n_equilibria    how many there are
    auction         the truthful second-price auction; winner and runner_up are indices or OUTSIDE
    defined         False where the draw itself lacks a number; everything else is NaN there, winners OUTSIDE
    """

    paper_dynamics: Totals
    worst: Totals
    best: Totals
    optimum: Array
    n_equilibria: Array
    auction: TruthfulOutcome
    defined: Array
    outside_value: float


MEASURES: Mapping[str, Callable[[Outcomes], Array]] = {
    "paper_dynamics.welfare": lambda o: o.paper_dynamics.welfare,
    "paper_dynamics.user_value": lambda o: o.paper_dynamics.user_value,
    "paper_dynamics.price": lambda o: o.paper_dynamics.price,
    "paper_dynamics.provider_profit": lambda o: o.paper_dynamics.provider_profit,
    "paper_dynamics.log_sum_surplus": lambda o: o.paper_dynamics.log_sum_surplus,
    "worst_equilibrium.welfare": lambda o: o.worst.welfare,
    "worst_equilibrium.user_value": lambda o: o.worst.user_value,
    "worst_equilibrium.price": lambda o: o.worst.price,
    "worst_equilibrium.provider_profit": lambda o: o.worst.provider_profit,
    "best_equilibrium.welfare": lambda o: o.best.welfare,
    "best_equilibrium.user_value": lambda o: o.best.user_value,
    "best_equilibrium.price": lambda o: o.best.price,
    "best_equilibrium.provider_profit": lambda o: o.best.provider_profit,
    "optimum.welfare": lambda o: o.optimum,
    "price_of_anarchy": lambda o: price_of_anarchy(o.optimum, o.worst.welfare),
    "price_of_stability": lambda o: price_of_anarchy(o.optimum, o.best.welfare),
    "paper_price_of_anarchy": lambda o: price_of_anarchy(o.optimum, o.paper_dynamics.welfare),
    "inefficiency": lambda o: inefficiency(o.optimum, o.paper_dynamics.welfare),
    "noise_gap": lambda o: o.auction.welfare - o.optimum,
    "strategic_gap": lambda o: o.optimum - o.paper_dynamics.welfare,
    "first_best_gap_usd": lambda o: o.auction.welfare - o.paper_dynamics.welfare,
    "auction.welfare": lambda o: o.auction.welfare,
    "auction.user_value": lambda o: o.auction.user_value,
    "auction.price": lambda o: o.auction.price,
    "auction.provider_profit": lambda o: o.auction.provider_profit,
    "auction_less_market.user_value": lambda o: o.auction.user_value - o.paper_dynamics.user_value,
    "auction_less_market.user_value_if_taste": lambda o: (
        o.auction.user_value - o.outside_value - o.paper_dynamics.log_sum_surplus
    ),
    "auction_less_market.price": lambda o: o.auction.price - o.paper_dynamics.price,
    "auction_less_market.provider_profit": lambda o: (
        o.auction.provider_profit - o.paper_dynamics.provider_profit
    ),
}
"""What is measured of every draw, by the key it has in `market-sim solve --json --uncertainty`: those of a
`Solution`, and the auction less the market where the paper's dynamics end."""

RATIOS = ("price_of_anarchy", "price_of_stability", "paper_price_of_anarchy", "inefficiency")
"""Measures that are not USD per arriving request."""

EVENTS: Mapping[str, tuple[str, Callable[[Array], Array]]] = {
    "auction_better_for_users": ("auction_less_market.user_value", lambda gain: gain > 0),
    "auction_better_for_users_if_taste": (
        "auction_less_market.user_value_if_taste",
        lambda gain: gain > 0,
    ),
    "auction_dearer": ("auction_less_market.price", lambda gain: gain > 0),
    "auction_better_for_providers": ("auction_less_market.provider_profit", lambda gain: gain > 0),
}
"""What may be true of a draw: of which measure, and when."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number and how sure it is.

    estimate   with the curves as measured
    low, high  percentiles of the draws; NaN where no draw defines the measure
    undefined  draws that do not define it; the percentiles are of the others
    """

    estimate: float
    low: float
    high: float
    undefined: int


def interval(estimate: float, draws: Array, confidence: float = CONFIDENCE) -> Interval:
    """The percentile interval: equal shares of the draws lie below and above it.

    >>> interval(5.0, np.arange(101.0), confidence=0.5)
    Interval(estimate=5.0, low=25.0, high=75.0, undefined=0)
    """
    known = draws[np.isfinite(draws)]
    low, high = percentile_interval(known, confidence) if len(known) else (math.nan, math.nan)
    return Interval(
        estimate=float(estimate) if math.isfinite(estimate) else math.nan,
        low=float(low),
        high=float(high),
        undefined=len(draws) - len(known),
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class UncertainSolution:
    """A market solved for its curves as measured, and for every draw of them.

    solution    with the curves as measured
    estimate    the same as Outcomes of one draw
    outcomes    of all draws
    confidence  share of the draws that intervals hold
    """

    solution: Solution
    estimate: Outcomes
    outcomes: Outcomes
    draws: Draws
    confidence: float

    @cached_property
    def intervals(self) -> Mapping[str, Interval]:
        """All measures, by name."""
        return {
            name: interval(measure(self.estimate)[0], measure(self.outcomes), self.confidence)
            for name, measure in MEASURES.items()
        }

    @cached_property
    def winner_probability(self) -> Mapping[str, float]:
        """Share of the defined draws in which each provider wins the auction; what is missing to one is
        the share in which nobody does."""
        return self._shares(self.outcomes.auction.winner)

    @cached_property
    def runner_up_probability(self) -> Mapping[str, float]:
        """Share of the defined draws in which each provider is the second best."""
        return self._shares(self.outcomes.auction.runner_up)

    @property
    def no_winner_probability(self) -> float:
        """Share of the defined draws in which nobody wins."""
        return self._share_of(self.outcomes.auction.winner == OUTSIDE)

    @cached_property
    def probability(self) -> Mapping[str, float]:
        """Share of the draws that define it in which each of EVENTS is true, NaN where none does; and
        `several_equilibria`."""
        found = {name: self._event(*event) for name, event in EVENTS.items()}
        return found | {"several_equilibria": self._share_of(self.outcomes.n_equilibria > 1)}

    @property
    def undefined_draws(self) -> int:
        """Draws that lack an accuracy or tokens somewhere, and with it everything else."""
        return int((~self.outcomes.defined).sum())

    def _event(self, measure: str, holds: Callable[[Array], Array]) -> float:
        value = MEASURES[measure](self.outcomes)
        known = value[np.isfinite(value)]
        return float(holds(known).mean()) if len(known) else math.nan

    def _share_of(self, true: Array) -> float:
        known = true[self.outcomes.defined]
        return float(known.mean()) if len(known) else math.nan

    def _shares(self, who: Array) -> Mapping[str, float]:
        return {name: self._share_of(who == i) for i, name in enumerate(self.solution.providers)}

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """Who is better off, and how sure that is, in plain words."""
        return tuple(_sentences(self))

    def to_dict(self) -> dict[str, Any]:
        """The `uncertainty` object of the command line (docs/formats.md); None where undefined."""
        nested: dict[str, Any] = {}
        for name, found in self.intervals.items():
            *outer, last = name.split(".")
            place = nested
            for key in outer:
                place = place.setdefault(key, {})
            place[last] = _plain(asdict(found))
        return {
            "benchmark": self.solution.benchmark,
            "method": self.solution.method,
            "beta": self.solution.beta,
            "draws": self.draws.count,
            "undefined_draws": self.undefined_draws,
            "confidence": self.confidence,
            "kind": self.draws.kind,
            "assumption": self.draws.assumption,
            "intervals": nested,
            "winner": _plain(self.winner_probability),
            "no_winner": _plain({"": self.no_winner_probability})[""],
            "runner_up": _plain(self.runner_up_probability),
            "probability": _plain(self.probability),
            "sentences": list(self.sentences),
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row per measure; USD per arriving request but for the ratios."""
        import pandas as pd

        head = {"benchmark": self.solution.benchmark, "beta": self.solution.beta}
        rows = [head | {"measure": name} | asdict(found) for name, found in self.intervals.items()]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return (
            f"<UncertainSolution {self.solution.benchmark} {self.solution.method} "
            f"beta={self.solution.beta:g}, {self.draws.count:,} draws: " + " ".join(self.sentences) + ">"
        )


class UncertainSolutions(tuple[UncertainSolution, ...]):
    """The solutions of one market at several rationalities, in the order asked for."""

    def to_frame(self) -> "pd.DataFrame":
        """One row per rationality and measure."""
        import pandas as pd

        return pd.concat([each.to_frame() for each in self], ignore_index=True)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))


def fewest_draws(confidence: float = CONFIDENCE) -> int:
    """Draws from which on an interval leaves one out at each end.

    >>> fewest_draws(), fewest_draws(0.99)
    (40, 200)
    """
    return math.ceil(2.0 / (1.0 - confidence) - 1e-9)


def as_measured(market: Market, benchmark: str) -> Draws:
    """The curves of a market of one task as its only draw."""
    return Draws(
        benchmark=benchmark,
        accuracy=market.accuracy,
        tokens=market.tokens,
        kind="measured",
        assumption="",
    )


def solve_uncertain_market(
    market: Market,
    draws: Draws,
    betas: Sequence[float] | Array,
    *,
    seed: int = 0,
    value_scale: float = 1.0,
    quality_curve: str = "linear",
    confidence: float = CONFIDENCE,
) -> UncertainSolutions:
    """Solve a market of one task as measured and for each draw of its curves, for each rationality.

    seed           gives the order in which providers move in the paper's dynamics
    quality_curve  that of the market, in QUALITY_CURVES
    """
    measured = as_measured(market, draws.benchmark)
    terms: dict[str, Any] = {"seed": seed, "value_scale": value_scale, "quality_curve": quality_curve}
    return UncertainSolutions(
        UncertainSolution(
            solution=solution,
            estimate=estimate,
            outcomes=outcomes,
            draws=draws,
            confidence=confidence,
        )
        for solution, estimate, outcomes in zip(
            solve_market(market, betas, seed=seed, value_scale=value_scale),
            solve_draws(market, measured, betas, **terms),
            solve_draws(market, draws, betas, **terms),
            strict=True,
        )
    )


def solve_draws(
    market: Market,
    draws: Draws,
    betas: Sequence[float] | Array,
    *,
    seed: int = 0,
    value_scale: float = 1.0,
    quality_curve: str = "linear",
) -> list[Outcomes]:
    """A market of one task solved with the curves of each draw, one Outcomes per rationality.

    A token costs what it costs in the market: prices and costs are those of the market times drawn tokens
    over the market's.
    """
    felt = QUALITY_CURVES[quality_curve]
    if not np.array_equal(felt(market.accuracy), market.satisfaction):
        raise ValueError(f"the market was not made with quality_curve = {quality_curve!r}")
    if draws.accuracy.shape[1:] != market.accuracy.shape[1:]:
        raise ValueError(f"draws of shape {draws.accuracy.shape} are not of this market")
    betas = np.asarray(betas, dtype=float)
    known = draws.defined[:, None, None]
    accuracy = np.where(known, draws.accuracy, market.accuracy)
    ratio = np.where(known, draws.tokens, market.tokens) / market.tokens
    price, cost = market.price * ratio, market.cost * ratio
    worth = market.baseline + (1.0 - market.baseline) * felt(accuracy)
    quality = value_scale * (market.value_of_correct[0] * worth)
    offered, outside = market.offered[0], market.outside_value
    auction = truthful_outcome(quality, cost, outside, offered)
    found = []
    for beta in betas:
        parts = []
        for block in blocks(draws.count):
            games = make_game(
                quality[block] - price[block],
                price[block] - cost[block],
                np.full(len(price[block]), beta),
                outside,
                offered,
            )
            parts.append(solved_games(games, price[block], seed))
        joined = {name: _join([part[name] for part in parts]) for name in parts[0]}
        found.append(
            _masked(Outcomes(auction=auction, defined=draws.defined, outside_value=outside, **joined))
        )
    return found


def solved_games(games: Game, price: Array, seed: int) -> dict[str, Any]:
    """All of a batch of games but the auction; price (D, N, K)."""
    listed = equilibria(games)
    worst, best, counts = _extremes(listed, len(price))
    return {
        "paper_dynamics": totals_at(games, paper_path(games, seed).end, price),
        "worst": totals_at(games, listed.levels[worst], price),
        "best": totals_at(games, listed.levels[best], price),
        "optimum": social_optimum(games).welfare,
        "n_equilibria": counts,
    }


def _extremes(listed: Equilibria, n_games: int) -> tuple[Array, Array, Array]:
    """Rows of the equilibria of least and most welfare of each game, and how many it has, (D,) each."""
    counts = np.bincount(listed.game, minlength=n_games)
    if not counts.all():
        raise ArithmeticError("a game was left without an equilibrium, and every one has one")
    order = np.lexsort((listed.welfare, listed.game))
    ends = np.cumsum(counts)
    return order[ends - counts], order[ends - 1], counts


def _join(parts: list[Any]) -> Any:
    """Blocks of draws one after another."""
    if isinstance(parts[0], Totals):
        names = [field.name for field in fields(Totals)]
        return Totals(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    return np.concatenate(parts)


def _masked(outcomes: Outcomes) -> Outcomes:
    """NaN, or OUTSIDE for a provider, wherever a draw is not defined."""
    known = outcomes.defined
    if known.all():
        return outcomes

    def mask(value: Any) -> Any:
        if isinstance(value, Totals | TruthfulOutcome):
            own = {field.name: mask(getattr(value, field.name)) for field in fields(value)}
            return type(value)(**own)
        return np.where(known, value, OUTSIDE if value.dtype.kind == "i" else np.nan)

    kept = ("defined", "outside_value")
    own = {f.name: getattr(outcomes, f.name) for f in fields(Outcomes)}
    return Outcomes(**{name: value if name in kept else mask(value) for name, value in own.items()})


def _plain(row: Mapping[str, float]) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in row.items()}


# --- In words ---------------------------------------------------------------------------------------


def in_percent(share: float) -> str:
    """A share of draws to read; 0 % and 100 % are said only where it is none and all.

    >>> in_percent(0.9731), in_percent(0.99996), in_percent(1.0)
    ('97 %', 'more than 99.9 %', '100 %')
    """
    if share != share:
        return "none that is defined"
    if 0 < share < 0.001:
        return "less than 0.1 %"
    if 0.999 < share < 1:
        return "more than 99.9 %"
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 1 or 99 < percent < 100 else f"{percent:.0f} %"


def _sentences(found: UncertainSolution) -> list[str]:
    chance, intervals = found.probability, found.intervals
    confidence = f"{100 * found.confidence:g} % interval"

    def change(name: str) -> str:
        gain = intervals[f"auction_less_market.{name}"]
        low, high = (f"{1000 * end:+.3f}" for end in (gain.low, gain.high))
        return f"{1000 * gain.estimate:+.3f} USD per 1,000 queries, {confidence} {low} to {high}"

    def of_draws(share: float) -> str:
        return "in no draw that defines it" if share != share else f"in {in_percent(share)} of draws"

    better = chance["auction_better_for_users"]
    said = [_winners(found)]
    if max(*found.winner_probability.values(), found.no_winner_probability) < found.confidence:
        said.append(
            "No winner is sure: the best of offers so close is measured too high, and intervals of optimum, "
            "auction and price hold the truth less often than they say (docs/theory.md 8.1)."
        )
    if better == better:
        said.append(f"The auction is better for users {of_draws(better)} ({change('user_value')}).")
    taste = chance["auction_better_for_users_if_taste"]
    if taste == taste:
        said.append(
            "If the noise in users' choices is taste rather than mistakes, it is better for users "
            f"{of_draws(taste)} ({change('user_value_if_taste')})."
        )
    dearer = chance["auction_dearer"]
    if dearer == dearer:
        said.append(f"The auction is dearer {of_draws(dearer)} ({change('price')}).")
    several = chance["several_equilibria"]
    if several > 0:
        said.append(f"The market has several equilibria {of_draws(several)}.")
    lost = [
        f"{name.replace('.', ' ').replace('_', ' ')} in {row.undefined:,}"
        for name, row in intervals.items()
        if row.undefined
    ]
    if found.undefined_draws:
        said.append(
            f"{found.undefined_draws:,} of {found.draws.count:,} draws lack an accuracy or tokens somewhere, "
            "and everything is undefined there; shares and intervals are of the others."
        )
    elif lost:
        said.append(f"Undefined of {found.draws.count:,} draws, and not counted there: {', '.join(lost)}.")
    return said


def _winners(found: UncertainSolution) -> str:
    """Who wins the auction, the most likely first."""
    chances = sorted(found.winner_probability.items(), key=lambda item: -item[1])
    who = [f"{name} wins the auction in {in_percent(share)}" for name, share in chances if share > 0]
    if found.no_winner_probability > 0:
        who.append(f"nobody in {in_percent(found.no_winner_probability)}")
    if not who:
        return "No draw defines a winner of the auction."
    first, *rest = who
    rest = [part.replace(" wins the auction", "") for part in rest[:3]]
    more = len(who) - 1 - len(rest)
    tail = f", {more} more share the rest" if more else ""
    return ", ".join([f"{first} of draws", *rest]) + tail + "."

"""What learners do to a market: runs in which everybody follows one rule, measured against the truth.

The yardstick is the truthful second-price auction of the same users (docs/theory.md 3).  Demand is the
expected one, so that a run differs from another of its market by the draws of its learners only; means are
over the second half of the rounds, which is as much as a warm-up ever takes.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from typing import Any

import numpy as np
from scipy import stats

from market_sim.experiments.reached import payoffs_usd
from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.timeline import timeline_of
from market_sim.simulation.model import MarketModel
from market_sim.simulation.parts import Parts
from market_sim.theory.arrays import Array, at_levels

TRUTHFUL = {"rule": "truthful"}
SECOND_PRICE = {"kind": "second_price_auction"}

SAME = 1e-9
"""Profits that differ by less than this share of the largest count as equal."""


def scenario_of(
    market: Mapping[str, Any],
    regime: Mapping[str, Any],
    rule: Mapping[str, Any],
    *,
    users: Mapping[str, Any],
    rounds: int,
    seed: int,
    **more: Any,
) -> dict[str, Any]:
    """A scenario in which everybody follows one rule and demand is the expected one."""
    return {
        "name": "learners",
        "rounds": rounds,
        "seed": seed,
        "market": dict(market),
        "users": dict(users) | {"demand": "expected"},
        "providers": {"learning": dict(rule), "auction_learning": dict(rule)} if rule else {},
        "regime": dict(regime),
        "output": {"metrics_every": rounds},
        **more,
    }


# --- One run ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Late means of one run, USD per request, and further measures by name."""

    welfare: float
    user_value: float
    price: float
    measures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """What was played in R rounds, (R, T, N) each: actions, and columns of the providers table."""

    parts: Parts
    actions: Array
    requests: Array
    share: Array
    profit_usd: Array
    tokens: Array

    @cached_property
    def level(self) -> Array:
        """Index of the compute level of each action, or auction.EFFICIENT."""
        return self.parts.regime.actions(self.parts.regime, self.parts.market, 0).level[self.actions]

    @cached_property
    def asked(self) -> Array:
        """Share of own surplus that each bid asked for."""
        return self.parts.regime.actions(self.parts.regime, self.parts.market, 0).share[self.actions]

    @cached_property
    def payoffs(self) -> tuple[Array, Array, Array]:
        """What each own action would have earned in the different profiles of the rounds, USD per request,
        (M, T, N, A); a round of each (M,), and how often each was played (M,)."""
        different, rounds, times = np.unique(self.actions, axis=0, return_index=True, return_counts=True)
        tasks = range(self.parts.market.n_tasks)
        return (
            np.stack([payoffs_usd(self.parts, different, task) for task in tasks], axis=1),
            rounds,
            times,
        )


def play(scenario: Mapping[str, Any], measures: Sequence[str] = ()) -> Outcome:
    """Play a scenario and measure it; the names of further measures are those of MEASURES."""
    timeline = timeline_of(load_scenario(scenario))
    model = MarketModel.from_parts(timeline.first, timeline.later)
    for _ in range(scenario["rounds"]):
        model.step()
    late = slice(1 + scenario["rounds"] // 2, None)
    rows = model.recorder.rounds()
    histories = {"all": _history(model, slice(1, None)), "late": _history(model, late)}
    return Outcome(
        welfare=float(rows["expected_welfare_usd"][late].mean()),
        user_value=float(rows["expected_user_value_usd"][late].mean()),
        price=float(rows["expected_price_usd"][late].mean()),
        measures={
            name: MEASURES[name](histories["all" if name in OF_EVERY_ROUND else "late"]) for name in measures
        },
    )


def _history(model: MarketModel, rows: slice) -> History:
    actions, columns = model.recorder.actions(), model.recorder.providers()
    names = ("requests", "share", "profit_usd", "tokens")
    tables = {name: columns[name].reshape(actions.shape)[rows] for name in names}
    return History(parts=model.parts, actions=actions[rows], **tables)


def truthful_outcome(scenario: Mapping[str, Any]) -> Outcome:
    """The truthful second-price auction of the market and the users of a scenario, everybody being there."""
    told = {"regime": SECOND_PRICE, "providers": {"auction_learning": TRUTHFUL}, "rounds": 1, "events": []}
    return play(dict(scenario) | told)


# --- What each regime is about ----------------------------------------------------------------------


def most_surplus(history: History) -> Array:
    """The level of each provider that creates most for a user of value_scale 1, (T, N)."""
    market = history.parts.market
    worth = market.value_of_correct[:, None, None] * market.worth
    return np.where(market.offered, worth - market.cost, -np.inf).argmax(axis=-1)


def tokens(history: History) -> float:
    """Tokens sold, as a multiple of what the same requests take at each provider's efficient level."""
    efficient = at_levels(history.parts.market.tokens, most_surplus(history))
    return float(history.tokens.sum() / (history.requests * efficient).sum())


def at_efficient_level(history: History) -> float:
    """Share of requests that are served at their provider's efficient level."""
    at_best = history.requests * (history.level == most_surplus(history))
    return float(at_best.sum() / history.requests.sum())


def margin(history: History) -> float:
    """Margins as multiples of Bertrand's 1 / (beta (1 - s)), on average over requests: beta (1 - s) m."""
    weighted = history.profit_usd * (1 - history.share)
    return float(history.parts.users.beta[0] * weighted.sum() / history.requests.sum())


def winner_asks(history: History) -> float:
    """Share of own surplus that winning bids ask for, on average over requests."""
    return float((history.asked * history.requests).sum() / history.requests.sum())


def losers_ask(history: History) -> float:
    """Share of own surplus that a bid which wins nothing asks for, on average over such bids."""
    return float(history.asked[history.requests == 0].mean())


def equal_bids(history: History) -> float:
    """How many of the winner's bids would have earned as much as its best one, on average over rounds."""
    payoffs, rounds, times = history.payoffs
    winner = history.requests[rounds].argmax(axis=-1)[..., None, None]
    equal = equally_good(np.take_along_axis(payoffs, winner, axis=2))[:, :, 0].sum(axis=-1)
    return float(np.average(equal.mean(axis=1), weights=times))


def equally_good(payoffs: Array) -> Array:
    """Which actions earn as much as the best of their row, bool; (..., A)."""
    best = payoffs.max(axis=-1, keepdims=True)
    return payoffs >= best - SAME * np.abs(best)


def excess_over_truth(history: History) -> float:
    """The most that any bid of anybody would have earned above the truth, against what the others bid in any
    of the rounds, USD per request."""
    payoffs, _, _ = history.payoffs
    truthful = history.parts.regime.actions(history.parts.regime, history.parts.market, 0).truthful
    return float((payoffs.max(axis=-1) - payoffs[..., truthful]).max())


TOKENS, EFFICIENT, MARGIN = "tokens", "efficient", "margin"
WINNER, LOSERS, EQUAL, EXCESS = "winner asks", "losers ask", "equal bids", "excess"

MEASURES: Mapping[str, Callable[[History], float]] = {
    TOKENS: tokens,
    EFFICIENT: at_efficient_level,
    MARGIN: margin,
    WINNER: winner_asks,
    LOSERS: losers_ask,
    EQUAL: equal_bids,
    EXCESS: excess_over_truth,
}

OF_EVERY_ROUND = (EQUAL, EXCESS)
"""The other measures are of the second half."""


# --- Over seeds -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A mean over seeds, the half-width of its 95 % interval (NaN for one seed), and the largest of them."""

    mean: float
    half_width: float
    largest: float

    @property
    def percent(self) -> str:
        """ "84.2 +- 1.3"; the mean alone where there is no interval."""
        interval = f" +- {100 * self.half_width:.1f}" if np.isfinite(self.half_width) else ""
        return f"{100 * self.mean:.1f}{interval}"


def over_seeds(values: Sequence[float]) -> Measured:
    """Student's interval round the mean."""
    half_width = np.nan
    if len(values) > 1:
        half_width = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return Measured(mean=float(np.mean(values)), half_width=half_width, largest=max(values))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Runs of one kind over seeds: shares of the truthful outcome, and measures.

    market  as scenarios name it
    regime  name
    label   what is told apart: a rule, or a remedy
    truth   the truthful outcome itself
    """

    market: Mapping[str, Any]
    regime: str
    label: str
    truth: Outcome
    welfare: Measured
    user_value: Measured
    price: Measured
    measures: Mapping[str, Measured]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Runs that differ in their seed only: a scenario without one, and what is measured of them."""

    label: str
    scenario: Mapping[str, Any]
    measures: tuple[str, ...] = ()

    def with_seed(self, seed: int) -> dict[str, Any]:
        return dict(self.scenario) | {"seed": seed}


def findings(kinds: Sequence[Kind], seeds: int) -> list[Finding]:
    """Every kind of run over the same seeds; the runs are spread over the processors."""
    cases = [(kind.with_seed(seed), kind.measures) for kind in kinds for seed in range(seeds)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        plays = list(pool.map(play, *zip(*cases, strict=True), chunksize=4))
    return [_finding(kind, plays[i * seeds : (i + 1) * seeds]) for i, kind in enumerate(kinds)]


def _finding(kind: Kind, plays: Sequence[Outcome]) -> Finding:
    truth = truthful_outcome(kind.scenario)

    def share(name: str) -> Measured:
        return over_seeds([getattr(each, name) / getattr(truth, name) for each in plays])

    return Finding(
        market=kind.scenario["market"],
        regime=kind.scenario["regime"]["kind"],
        label=kind.label,
        truth=truth,
        welfare=share("welfare"),
        user_value=share("user_value"),
        price=share("price"),
        measures={name: over_seeds([each.measures[name] for each in plays]) for name in kind.measures},
    )

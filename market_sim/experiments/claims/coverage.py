"""Do intervals hold the truth as often as they say?  Counted from raw evaluations to welfare and prices.

Only who made a world knows its truth, so the evaluations are synthetic (docs/synthetic.md).  A replication
goes the whole way: runs are written, read again and built into a curve file with draws, and the market of
that file is solved for every draw.  The truth is the same market with the curves that infinitely many
questions would give.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.special import bdtr

from market_sim.economy.draws import draws_beside
from market_sim.economy.market import (
    PAPER_VALUE_OF_CORRECT_USD,
    Market,
    make_market,
    make_providers,
)
from market_sim.economy.quality import bundled_prices
from market_sim.economy.synthetic.law import Law, laws_of
from market_sim.economy.synthetic.runs import write_runs
from market_sim.economy.synthetic.truth import true_curve
from market_sim.economy.uncertainty import (
    CONFIDENCE,
    MEASURES,
    UncertainSolution,
    UncertainSolutions,
    as_measured,
    solve_draws,
)
from market_sim.experiments.curves import build_curves
from market_sim.experiments.paper import BETAS, paper_curves
from market_sim.experiments.solve import solve_uncertain
from market_sim.theory.arrays import Array
from market_sim.theory.inference import holm

SHOWN = (
    "optimum.welfare",
    "paper_dynamics.welfare",
    "paper_dynamics.user_value",
    "paper_dynamics.price",
    "price_of_anarchy",
    "auction.welfare",
    "auction.user_value",
    "auction.price",
    "auction_less_market.user_value",
)
"""Measures whose intervals are counted."""

KINDS = ("bootstrap", "parametric")
"""Of draws: those of the file beside the curves, and those of whoever knows only the number of questions."""

MOST_SAMPLES = 16
"""Samples of a question: a quarter of the paper's most, and four times as fast."""

SURE = 0.95
"""Share of draws from which on a winner is called sure."""


@dataclass(frozen=True, kw_only=True)
class SyntheticSetting:
    """A market of synthetic models, each at the price of the real one.

    laws         of the models; n_samples is how many samples a question has
    levels       numbers of samples, or the bins of reasoning effort 1, 2, ..., B
    n_questions  of one evaluation
    """

    benchmark: str
    method: str
    laws: tuple[Law, ...]
    levels: tuple[int, ...]
    n_questions: int

    @property
    def prices(self) -> dict[str, float]:
        return {law.name: bundled_prices()[law.model] for law in self.laws}

    def scenario(self, curves: Path) -> dict[str, Any]:
        """The market of a curve file."""
        market = {
            "curves": str(curves),
            "benchmark": self.benchmark,
            "method": self.method,
            "value_of_correct_usd": PAPER_VALUE_OF_CORRECT_USD[self.benchmark],
            "prices": self.prices,
        }
        return {"name": "synthetic", "market": market}

    def true_market(self) -> Market:
        """The market of infinitely many questions."""
        curves = [true_curve(law, self.method, self.levels) for law in self.laws]
        providers = make_providers(curves, where="synthetic", prices=self.prices)
        return make_market(providers, value_of_correct_usd=PAPER_VALUE_OF_CORRECT_USD[self.benchmark])


def paper_setting(
    benchmark: str, method: str, *, most_samples: int = MOST_SAMPLES, n_questions: int | None = None
) -> SyntheticSetting:
    """The synthetic likeness of one of the paper's settings.

    most_samples  of methods that count them: the paper's levels up to here, from so many samples
    n_questions   None: as many as the paper asked
    """
    curves = paper_curves(benchmark, method)
    laws = laws_of(benchmark, tuple(curve.model for curve in curves))
    levels = [int(level) for level in curves[0].compute_level]
    if method != "reasoning_effort":
        levels = [level for level in levels if level <= most_samples]
        laws = [replace(law, n_samples=levels[-1]) for law in laws]
    if n_questions is None:
        n_questions = curves[0].n_questions
        assert n_questions is not None  # known of all the paper's curves
    return SyntheticSetting(
        benchmark=benchmark,
        method=method,
        laws=tuple(laws),
        levels=tuple(levels),
        n_questions=n_questions,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """R replications of one setting at one rationality with one kind of draws, beside the truth.

    truth, estimate, low, high  (R, M)  of the measures SHOWN
    chance                      (R, N)  share of draws in which each provider wins the auction
    true_winner                 (R,)    index of the provider who wins in truth, OUTSIDE if nobody does
    """

    setting: SyntheticSetting
    beta: float
    kind: str
    truth: Array
    estimate: Array
    low: Array
    high: Array
    chance: Array
    true_winner: Array

    @property
    def replications(self) -> int:
        return len(self.truth)

    @property
    def holds(self) -> Array:
        """Whether the interval of each measure holds the truth, (R, M) bool."""
        return (self.low <= self.truth) & (self.truth <= self.high)

    @property
    def holds_reflected(self) -> Array:
        """The same of basic bootstrap intervals: the percentiles reflected at the estimate."""
        low, high = 2 * self.estimate - self.high, 2 * self.estimate - self.low
        return (low <= self.truth) & (self.truth <= high)

    @property
    def favourite(self) -> Array:
        """The largest chance of winning in each replication, (R,)."""
        return self.chance.max(axis=1)

    @property
    def favourite_wins(self) -> Array:
        """Whether who has that chance wins in truth, (R,) bool."""
        return self.chance.argmax(axis=1) == self.true_winner


def coverage(
    settings: Sequence[SyntheticSetting],
    *,
    betas: Sequence[float] = BETAS,
    replications: int = 80,
    draws: int = 400,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Coverage]:
    """Count settings by both kinds of draws by rationalities; replication r has the seed `seed` + r.

    Neighbouring settings of the same laws share their evaluations.
    """
    rows: dict[tuple[int, int, str, float], list[dict[str, Any]]] = {}
    groups = [list(group) for _, group in groupby(settings, lambda each: (each.benchmark, each.laws))]
    for number, group in enumerate(groups):
        markets = [setting.true_market() for setting in group]
        for r in range(replications):
            for place, kind, solved in replication(group, betas, draws, seed + r):
                for beta, solution in zip(betas, solved, strict=True):
                    row = beside_truth(solution, markets[place], seed + r)
                    rows.setdefault((number, place, kind, beta), []).append(row)
            if progress is not None:
                progress(number * replications + r + 1, len(groups) * replications)
    return [
        counted(groups[number][place], kind, beta, rows[number, place, kind, beta])
        for number, place, kind, beta in sorted(rows)
    ]


def replication(
    group: Sequence[SyntheticSetting], betas: Sequence[float], draws: int, seed: int
) -> Iterator[tuple[int, str, UncertainSolutions]]:
    """Write the runs of one evaluation, build their curves, and solve the market of each setting (told by its
    place) with both kinds of draws."""
    first = group[0]
    with TemporaryDirectory() as folder:
        runs = write_runs(
            first.laws,
            folder,
            n_questions=first.n_questions,
            n_samples=first.laws[0].n_samples,
            seed=seed,
            token_form="thinking_and_total",
        )
        built = build_curves(
            list(runs),
            benchmark=first.benchmark,
            methods=[setting.method for setting in group],
            levels=first.levels,
            bins=len(first.levels),
            draws=draws,
            seed=seed,
        )
        curves = Path(folder) / "curves.csv"
        built.write(curves)
        for kind in KINDS:
            for place, setting in enumerate(group):
                scenario = setting.scenario(curves)
                yield place, kind, solve_uncertain(scenario, beta=betas, draws=draws, seed=seed)
            if (beside := draws_beside(curves)) is not None:
                beside.unlink()  # now only the number of questions is known


def beside_truth(solution: UncertainSolution, market: Market, seed: int) -> dict[str, Any]:
    """What one solution says of the measures, and what is true of them: a row of `Coverage`.

    market  that of infinitely many questions
    seed    of the order in which providers move, that of the solution
    """
    exact = as_measured(market, solution.draws.benchmark)
    (truth,) = solve_draws(market, exact, [solution.solution.beta], seed=seed)
    row = {
        name: [getattr(solution.intervals[measure], name) for measure in SHOWN]
        for name in ("estimate", "low", "high")
    }
    return row | {
        "truth": [float(MEASURES[measure](truth)[0]) for measure in SHOWN],
        "chance": [solution.winner_probability[name] for name in market.providers],
        "true_winner": int(truth.auction.winner[0]),
    }


def counted(setting: SyntheticSetting, kind: str, beta: float, rows: Sequence[dict[str, Any]]) -> Coverage:
    """The rows of `beside_truth`, one per replication, together."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Coverage(setting=setting, kind=kind, beta=beta, **columns)


@dataclass(frozen=True, kw_only=True)
class Count:
    """How often the intervals of one measure hold the truth.

    adjusted_p  of so few or fewer, if intervals held it as often as they say; Holm's over all counts
    """

    of: Coverage
    measure: str
    held: int
    adjusted_p: float


def counts(found: Sequence[Coverage]) -> list[Count]:
    """Every count once: the auction is the same at every rationality."""
    seen: set[tuple[str, str, str, str]] = set()
    each = []
    for one in found:
        for measure, held in zip(SHOWN, one.holds.sum(axis=0), strict=True):
            key = (one.setting.benchmark, one.setting.method, one.kind, measure)
            if key not in seen:
                each.append((one, measure, int(held)))
            if measure.startswith("auction."):
                seen.add(key)
    few = holm([bdtr(held, one.replications, CONFIDENCE) for one, _, held in each])
    return [
        Count(of=one, measure=measure, held=held, adjusted_p=float(p))
        for (one, measure, held), p in zip(each, few, strict=True)
    ]

"""The price of anarchy against the true worst and best equilibrium, by how carefully users choose.

The paper divides the optimum by the welfare of the one equilibrium its dynamics end in.  All equilibria are
known here (docs/theory.md 2.4), so the worst and the best can be taken: prices of anarchy and of stability.
Of the paper's settings, or of those of a sweep that was solved over users.beta.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from market_sim.economy.uncertainty import (
    MEASURES,
    Interval,
    UncertainSolution,
    interval,
    solve_uncertain_market,
)
from market_sim.experiments.claims.band import Band, band, draws_of_paper, solved_curves
from market_sim.experiments.paper import SETTINGS, paper_market
from market_sim.experiments.sweep_table import read_sweep
from market_sim.theory.arrays import Array

WINDOWS = (918.0, 1376.0, 1460.0, 2060.0, 2650.0, 3353.0, 3750.0)
"""Rationalities at which some of the nine markets have two equilibria (docs/theory.md 2.4)."""

BETAS = np.sort([*np.geomspace(10, 1e6, 51), *WINDOWS])
"""Rationalities, 1/USD."""

RATIOS = ("price_of_anarchy", "price_of_stability", "paper_price_of_anarchy")


@dataclass(frozen=True, kw_only=True, eq=False)
class Anarchy:
    """A setting over rationality.

    about    what sets it apart beside benchmark and method
    beta     (M,)  1/USD
    ratios   by name in RATIOS, along beta; intervals over draws of the curves
    several  (M,)  share of draws that have more than one equilibrium
    largest  by name: the largest over beta, and how sure it is
    apart    the largest difference over beta between the prices of anarchy and of stability
    at       ()    the beta at which the price of anarchy is largest, with the curves as measured
    """

    benchmark: str
    method: str
    beta: Array
    ratios: dict[str, Band]
    several: Array
    largest: dict[str, Interval]
    apart: Interval
    at: float
    about: str = ""


def price_of_anarchy(
    settings: Sequence[tuple[str, str]] = SETTINGS,
    betas: Sequence[float] | Array = BETAS,
    *,
    draws: int = 100,
    seed: int = 0,
) -> list[Anarchy]:
    """All settings; `draws` of the curves for the intervals."""
    return [_of_setting(*setting, np.asarray(betas, dtype=float), draws, seed) for setting in settings]


def _of_setting(benchmark: str, method: str, betas: Array, draws: int, seed: int) -> Anarchy:
    drawn = draws_of_paper(benchmark, method, draws, seed)
    solved = solve_uncertain_market(paper_market(benchmark, method), drawn, betas, seed=seed)
    return _over_beta(benchmark, method, betas, solved)


def price_of_anarchy_of_sweep(folder: Path | str, *, draws: int = 100) -> list[Anarchy]:
    """All settings of a sweep that was solved over users.beta; raises InputError for another."""
    curves = solved_curves(folder, read_sweep(folder), "users.beta", "the price of anarchy", draws)
    return [
        _over_beta(
            curve.solved[0].solution.benchmark,
            curve.solved[0].solution.method,
            curve.rows["beta"].to_numpy(dtype=float),
            curve.solved,
            curve.about,
        )
        for curve in curves
    ]


def _over_beta(
    benchmark: str, method: str, betas: Array, solved: Sequence[UncertainSolution], about: str = ""
) -> Anarchy:
    ratios, largest = {}, {}
    raw: dict[str, tuple[Array, Array]] = {}
    for name in RATIOS:
        estimate = [float(MEASURES[name](each.estimate)[0]) for each in solved]
        by_draw = [MEASURES[name](each.outcomes) for each in solved]
        raw[name] = (np.array(estimate), np.array(by_draw))
        ratios[name] = band(estimate, by_draw)
        largest[name] = interval(np.nanmax(estimate), np.nanmax(by_draw, axis=0))
    apart = [worst - best for worst, best in zip(*(raw[name] for name in RATIOS[:2]), strict=True)]
    return Anarchy(
        benchmark=benchmark,
        method=method,
        beta=betas,
        ratios=ratios,
        several=np.array([each.probability["several_equilibria"] for each in solved]),
        largest=largest,
        apart=interval(np.nanmax(apart[0]), np.nanmax(apart[1], axis=0)),
        at=float(betas[np.nanargmax(ratios["price_of_anarchy"].estimate)]),
        about=about,
    )

"""A number along an axis, and how sure it is at each place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_sim.economy.draws import Draws, parametric_draws
from market_sim.economy.market import PAPER_VALUE_OF_CORRECT_USD
from market_sim.economy.uncertainty import CONFIDENCE, interval
from market_sim.errors import InputError, named
from market_sim.experiments.paper import SETTINGS, paper_curves
from market_sim.theory.arrays import Array

FEWEST_DRAWS = 40
"""For an interval of 95 %."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """Estimates (M,) and the ends of their 95 % intervals."""

    estimate: Array
    low: Array
    high: Array


def band(estimates: Sequence[float], draws: Sequence[Array]) -> Band:
    """Percentile intervals over draws, place by place."""
    found = [interval(value, drawn, CONFIDENCE) for value, drawn in zip(estimates, draws, strict=True)]
    return Band(
        **{name: np.array([getattr(each, name) for each in found]) for name in ("estimate", "low", "high")}
    )


def draws_of_paper(benchmark: str, method: str, count: int, seed: int) -> Draws:
    """Draws of the paper's curves of a setting, as their numbers of questions say."""
    return parametric_draws(paper_curves(benchmark, method), count, seed)


def settings_of(benchmarks: str) -> list[tuple[str, str]]:
    """The paper's settings of some benchmarks, "GSM8K,AIME", in the paper's order."""
    wanted = [
        named("--benchmarks", name.strip(), PAPER_VALUE_OF_CORRECT_USD) for name in benchmarks.split(",")
    ]
    return [setting for setting in SETTINGS if setting[0] in wanted]


def check_draws(draws: int) -> None:
    """Raise InputError for too few draws for an interval."""
    if draws < FEWEST_DRAWS:
        raise InputError(f"--draws {draws} is not allowed; it must be at least {FEWEST_DRAWS}")

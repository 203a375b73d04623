"""A number along an axis, and how sure it is at each place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_sim.economy.draws import Draws, parametric_draws
from market_sim.economy.uncertainty import CONFIDENCE, interval
from market_sim.experiments.paper import paper_curves
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

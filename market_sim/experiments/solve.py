"""A scenario solved exactly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from market_sim.economy.market import MOST_RATIONAL, Market, check_decisive
from market_sim.economy.solve import Solutions, solve_market
from market_sim.errors import InputError
from market_sim.experiments.build import market_of
from market_sim.experiments.people import users_of
from market_sim.experiments.scenario import Scenario, load_scenario
from market_sim.theory.arrays import Array


def solve(
    scenario: Path | str | Mapping[str, Any] | Scenario,
    *,
    beta: float | ArrayLike | None = None,
) -> Solutions:
    """Solve a scenario's market for its own rationality, or for the given ones, benchmark by benchmark.

    It is the market of its start, before any events, and of users who know it: without experience, inertia,
    budgets and capacity.

    beta  1/USD, one or a list
    Raises InputError for a bad scenario or beta, or for users of several types: no list of equilibria is
    complete then (docs/theory.md 2.10).
    """
    scenario = load_scenario(scenario)
    market = market_of(scenario)
    users = users_of(scenario, market)
    if not users.same_type:
        raise InputError(
            f"{scenario.where}: users differ, and a market is solved exactly for users of one type; "
            "play it with run"
        )
    betas = users.beta[:1] if beta is None else _betas(beta)
    check_decisive(market, betas, users.value_scale[0], scenario.where)
    scale = float(users.value_scale[0])
    by_task = [
        solve_market(market.of_task(task), betas, seed=scenario.seed, value_scale=scale)
        for task in range(market.n_tasks)
    ]
    return Solutions(solution for solutions in by_task for solution in solutions)


def _betas(beta: ArrayLike) -> Array:
    """The rationalities asked for, (B,)."""
    try:
        betas = np.atleast_1d(np.asarray(beta, dtype=float))
    except (TypeError, ValueError, OverflowError):
        betas = np.empty(0)
    if betas.ndim != 1 or not len(betas):
        raise InputError(f"--beta: {str(beta)[:40]!r} is not a number or a list of numbers")
    wrong = betas[~((betas >= 0) & (betas <= MOST_RATIONAL))]
    if len(wrong):
        raise InputError(
            f"--beta: {wrong[0]:g} is not allowed; it must be at least 0 and at most {MOST_RATIONAL:g}"
        )
    return betas


def load_market(scenario: Path | str | Mapping[str, Any] | Scenario) -> Market:
    """The market of a scenario, as arrays."""
    return market_of(load_scenario(scenario))

"""A scenario solved exactly, as its curves were measured or for every draw of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from market_sim.economy.draws import MOST_DRAWS
from market_sim.economy.market import MOST_RATIONAL, Market, check_decisive
from market_sim.economy.solve import Solutions, solve_market
from market_sim.economy.uncertainty import (
    CONFIDENCE,
    UncertainSolutions,
    fewest_draws,
    solve_uncertain_market,
)
from market_sim.errors import InputError
from market_sim.experiments.build import draws_of, market_of
from market_sim.experiments.people import users_of_one_type
from market_sim.experiments.scenario import Scenario, changed, load_scenario
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
    scenario, market, betas, scale = _to_solve(scenario, beta)
    by_task = [
        solve_market(market.of_task(task), betas, seed=scenario.seed, value_scale=scale)
        for task in range(market.n_tasks)
    ]
    return Solutions(solution for solutions in by_task for solution in solutions)


def solve_uncertain(
    scenario: Path | str | Mapping[str, Any] | Scenario,
    *,
    beta: float | ArrayLike | None = None,
    draws: int | None = None,
    confidence: float = CONFIDENCE,
    correlation: float | None = None,
    seed: int | None = None,
) -> UncertainSolutions:
    """Solve a scenario's market as `solve` does, and again for every draw of its curves.

    draws        how many; None: all of the file beside the curves, or DRAWS
    confidence   share of the draws that an interval holds
    correlation  of the difficulty of a question to two models (docs/theory.md 8.2), where only the number of
                 questions is known; None: 0
    seed         of draws and order of moves, instead of the scenario's
    Raises InputError as `solve` does, and for curves of which neither draws nor questions are known.
    """
    if draws is not None and not 1 <= draws <= MOST_DRAWS:
        raise InputError(f"--draws: {draws} is not allowed; it must be at least 1 and at most {MOST_DRAWS:,}")
    if not 0 < confidence < 1:
        raise InputError(f"--confidence: {confidence:g} is not allowed; it must be above 0 and below 1")
    if correlation is not None and not 0 <= correlation <= 1:
        raise InputError(f"--correlation: {correlation:g} is not allowed; it must be from 0 to 1")
    scenario, market, betas, scale = _to_solve(changed(load_scenario(scenario), seed=seed), beta)
    found = []
    for task, of_task in enumerate(draws_of(scenario, draws, correlation)):
        fewest = fewest_draws(confidence)
        if of_task.count < fewest:
            raise InputError(
                f"--draws: {of_task.count:,} draws are too few for a {100 * confidence:g} % interval; "
                f"at least {fewest:,} are needed"
            )
        found.append(
            solve_uncertain_market(
                market.of_task(task),
                of_task,
                betas,
                seed=scenario.seed,
                value_scale=scale,
                quality_curve=scenario.market.quality_curve,
                confidence=confidence,
            )
        )
    return UncertainSolutions(each for solutions in found for each in solutions)


def _to_solve(
    scenario: Path | str | Mapping[str, Any] | Scenario, beta: float | ArrayLike | None
) -> tuple[Scenario, Market, Array, float]:
    """What is to be solved, checked: the scenario, its market, rationalities (B,) and value_scale."""
    scenario = load_scenario(scenario)
    market = market_of(scenario)
    users = users_of_one_type(scenario, market, "play it with run")
    betas = users.beta[:1] if beta is None else _betas(beta)
    check_decisive(market, betas, users.value_scale[0], scenario.where)
    return scenario, market, betas, float(users.value_scale[0])


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

"""A scenario solved exactly."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from market_sim.economy.market import Market
from market_sim.economy.solve import Solutions, solve_market
from market_sim.errors import InputError
from market_sim.experiments.build import market_of, users_of
from market_sim.experiments.scenario import Scenario, load_scenario


def solve(
    scenario: Path | str | Mapping[str, Any] | Scenario,
    *,
    beta: float | Sequence[float] | None = None,
) -> Solutions:
    """Solve a scenario's market for its own rationality, or for the given ones, in one pass.

    Raises InputError for a bad scenario, or one whose users are of several types: no list of equilibria
    is complete then (docs/theory.md 2.10).
    """
    scenario = load_scenario(scenario)
    market, users = market_of(scenario), users_of(scenario)
    if not users.alike:
        raise InputError(
            f"{scenario.where}: users.segments differ, and a market is solved exactly for users of one type; "
            "play it with run"
        )
    if beta is None:
        beta = float(users.beta[0])
    betas = [beta] if isinstance(beta, int | float) else list(beta)
    return solve_market(market, betas, seed=scenario.seed)


def load_market(scenario: Path | str | Mapping[str, Any] | Scenario) -> Market:
    """The market of a scenario, as arrays."""
    return market_of(load_scenario(scenario))

"""Whether every point of a sweep is a scenario that can be, asked before anything runs."""

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments.build import market_of
from market_sim.experiments.exact_rows import Exact, to_solve
from market_sim.experiments.scenario import Scenario
from market_sim.experiments.sweep import Sweep, seed_of
from market_sim.experiments.timeline import timeline_of


def check_points(sweep: Sweep) -> None:
    """Raise InputError where the scenario of a point cannot be, or makes no market in all that was tried.

    Keys and values that the file format knows are checked at every point.  What only shows when a market is
    made (a model or a rule's parameter that does not exist) is tried at the first point, and for each value
    of a list at the first points that have it: one of them must be possible.
    """

    seed = seed_of(sweep.seed, 0)
    make = timeline_of if sweep.kind == "run" else _problem_of
    for point in range(sweep.n_points):
        sweep.scenario(point, seed)
    to_try = {(0,)} if sweep.n_points else set()
    for axis in sweep.axes:
        if len(axis.values) <= MOST_TRIED and not isinstance(axis.values[0], float):
            for place in range(len(axis.values)):
                having = np.flatnonzero(axis.index == place)
                spread = having[np.linspace(0, len(having) - 1, min(3, len(having))).astype(int)]
                to_try.add(tuple(dict.fromkeys(spread.tolist())))
    possible: set[int] = set()
    for points in sorted(to_try):
        problem = None
        for point in points:
            if point in possible:
                problem = None
                break
            try:
                make(sweep.scenario(point, seed))
            except InputError as error:
                problem = problem or error
            else:
                possible.add(point)
                problem = None
                break
        if problem is not None:
            raise problem


def _problem_of(scenario: Scenario) -> Exact:
    return to_solve(scenario, market_of(scenario))


MOST_TRIED = 64
"""Values of a list for which a market is made before anything runs."""

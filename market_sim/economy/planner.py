"""The planner: prices are those of the tokens, users choose by the logit, and levels are assigned."""

from functools import lru_cache

import numpy as np

from market_sim.economy.market import Market, UserPopulation, user_types
from market_sim.economy.pay_per_compute import logit_match, posted, posted_game
from market_sim.economy.regime import Regime
from market_sim.theory.arrays import Array
from market_sim.theory.welfare import social_optimum


@lru_cache(maxsize=16)
def planned_levels(regime: Regime, market: Market, task: int, users: UserPopulation) -> Array:
    """Levels of most expected welfare, (N,).

    Exact where users are alike (docs/theory.md 2.6).  Else the best of the types' own optima, improved one
    provider at a time until none helps: a local optimum, to be read beside the bound of `best_welfare`.
    """
    scales, betas, _ = user_types(users)
    optima = {
        tuple(social_optimum(posted_game(regime, market, task, float(b), float(a))).levels.tolist())
        for a, b in zip(scales[:MOST_TYPES], betas[:MOST_TYPES], strict=True)
    }
    if users.alike:
        return np.array(*optima)

    def welfare(levels: tuple[int, ...]) -> float:
        return _expected_welfare(regime, market, task, np.array(levels), users)

    best = max(sorted(optima), key=welfare)
    reached, improved = welfare(best), True
    allowed = posted(regime, market, task).allowed
    while improved:
        improved = False
        for i in range(market.n_providers):
            for k in np.flatnonzero(allowed[i]).tolist():
                tried = (*best[:i], k, *best[i + 1 :])
                if (value := welfare(tried)) > reached + 1e-12 * abs(reached):
                    best, reached, improved = tried, value, True
    return np.array(best)


MOST_TYPES = 50
"""Starting points of the search; with more types than that the first of them are enough to start from."""


def _expected_welfare(
    regime: Regime, market: Market, task: int, levels: Array, users: UserPopulation
) -> float:
    match = logit_match(regime, market, task, levels, users, None)
    lots = match.expected
    at = (lots.provider, lots.level)
    created = (
        market.value_of_correct[task] * lots.value_scale * market.worth[task][at] - market.cost[task][at]
    )
    return float(lots.count @ created + match.unserved * market.outside_value)

"""Flat prices: a provider posts a compute level and what it asks above its cost, in USD per query.

Price competition under logit demand (docs/theory.md 4; Nocke & Schutz 2018).  Nothing is gained by tokens
any more, so what is left of over-computing under pay-per-compute is due to how it is priced.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from market_sim.economy.market import Market, UserPopulation
from market_sim.economy.regime import Actions, Regime
from market_sim.errors import InputError

MARGINS = 40
"""Steps of the grid of margins, in equal ratios."""


LEAST_BETA = 1e-6
"""Mean rationality that a flat price needs, 1/USD: the best one is of the order of 1 / beta."""


def with_margins(regime: Regime, market: Market, users: UserPopulation) -> Regime:
    """The regime with its grid of margins: from 0.01 / beta to 2 / beta above any user's largest surplus.

    An equilibrium asks 1 / (beta (1 - s)), s the provider's share: never less than the one, and never more
    than the other, since a share falls as its price rises (docs/theory.md 4).  Where users differ, the
    largest beta and the mean one stand for theirs.  The grid is laid once, before a run: an action means
    the same all along.  Raises InputError where nobody looks at prices: no finite price is best then.
    """
    mean_beta = float(users.beta @ users.size) / users.n_people
    if mean_beta < LEAST_BETA:
        raise InputError(
            f"flat_price needs users whose mean beta is at least {LEAST_BETA:g}, got {mean_beta:g}: "
            "where nobody looks at prices no finite one is best"
        )
    alpha = market.value_of_correct * users.value_scale.max()
    surplus = alpha[:, None, None] * market.worth - market.cost - market.outside_value
    most = max(float(surplus[market.offered].max()), 0.0) + 2.0 / mean_beta
    margins = np.geomspace(0.01 / float(users.beta.max()), most, MARGINS)
    # A provider too small to matter asks 1 / beta: whoever begins there need not climb for long.
    start = int(np.abs(np.log(margins * mean_beta)).argmin())
    return replace(regime, terms=replace(regime.terms, margins=tuple(margins.tolist()), start_margin=start))


@lru_cache(maxsize=64)
def flat_actions(regime: Regime, market: Market, task: int) -> Actions:
    """A compute level and a margin are an action."""
    if not regime.terms.margins:
        raise ValueError("the grid of margins is laid by prepare")
    k, margins = market.offered.shape[-1], np.array(regime.terms.margins)
    level, margin = (a.ravel() for a in np.indices((k, len(margins))))
    zeros = np.zeros(len(level))
    return Actions(
        level=level,
        share=zeros,
        overstate=zeros,
        steps=np.column_stack([level, margin, np.zeros_like(level)]),
        allowed=market.offered[task][:, level],
        start=margin == regime.terms.start_margin,
        truthful=None,
        margin=margins[margin],
    )

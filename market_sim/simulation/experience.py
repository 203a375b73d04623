"""Users who do not know what offers are worth, but live and hear (docs/round.md, step 7).

Each keeps a running estimate of what it nets from every provider, USD per query.  After a round it

1. forgets: estimates move back towards what it believed at first,
2. learns: the estimate of the provider that served it moves towards what it got for its money,
3. listens: estimates move towards what its neighbours believed before the round (DeGroot 1974).

The step of 2 is constant, so old experience fades (Sutton & Barto 2018, section 2.5).
"""

from dataclasses import dataclass

import numpy as np

from market_sim.economy.market import Market, UserPopulation
from market_sim.simulation.network import Network, hear
from market_sim.theory.arrays import Array
from market_sim.theory.blocks import over_blocks


@dataclass(frozen=True, kw_only=True, eq=False)
class Experience:
    """How users learn from experience.

    prior       (T, U) float32, what they believe at first to net from every provider, USD per query
    network     who hears whom
    step        weight of the newest experience, in (0, 1]
    trust       weight of what neighbours believe, in [0, 1)
    forgetting  share of the way back to the first belief, each round, in [0, 1]
    """

    prior: Array
    network: Network
    step: float = 0.2
    trust: float = 0.3
    forgetting: float = 0.0


def average_offer(market: Market, users: UserPopulation) -> Array:
    """What each user would net on average from providers at their lowest levels and posted prices, by task,
    USD per query, (T, U) float32: knowing the market, but none of its firms."""
    quality = market.value_of_correct[:, None] * market.worth[..., 0]
    net = np.multiply.outer(quality.mean(axis=1), users.value_scale)
    net -= market.price[..., 0].mean(axis=1)[:, None]
    return net.astype(np.float32)


def first_estimates(experience: Experience, n_providers: int) -> Array:
    """The same belief of every provider, (T, N, U) float32."""
    return np.repeat(experience.prior[:, None, :], n_providers, axis=1)


@dataclass(frozen=True, kw_only=True)
class Lived:
    """What users who were served got in a round, L entries.

    user      (L,)  no user twice
    task      (L,)
    provider  (L,)
    net_usd   (L,)  quality less payment
    """

    user: Array
    task: Array
    provider: Array
    net_usd: Array


def lived(experience: Experience, estimates: Array, happened: Lived) -> Array:
    """The estimates after a round, (T, N, U) float32; those before are left as they were."""
    after = np.empty_like(estimates)
    n_tasks, n_providers, n_users = estimates.shape
    forgetting, step = np.float32(experience.forgetting), np.float32(experience.step)
    trust = np.float32(experience.trust)

    def forget(users: slice) -> None:
        before, new = estimates[:, :, users], after[:, :, users]
        if forgetting > 0:
            np.subtract(experience.prior[:, None, users], before, out=new)
            new *= forgetting
            new += before
        else:
            new[...] = before

    over_blocks(forget, n_users)
    # One index into the flattened table: a good deal faster than three.
    place = (happened.task * n_providers + happened.provider) * n_users + happened.user
    flat = after.reshape(-1)
    flat[place] += step * (happened.net_usd.astype(np.float32) - flat[place])
    if trust > 0:
        for task in range(n_tasks):
            heard, new = hear(experience.network, estimates[task]), after[task]

            def listen(users: slice, heard: Array = heard, new: Array = new) -> None:
                heard[:, users] -= new[:, users]
                heard[:, users] *= trust
                new[:, users] += heard[:, users]

            over_blocks(listen, n_users)
    return after

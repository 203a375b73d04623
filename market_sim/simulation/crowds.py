"""Who asks about what in a round, and the randomness they bring (docs/round.md, step 4)."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from market_sim.economy.market import UserPopulation
from market_sim.economy.regime import Shocks
from market_sim.simulation.parts import Parts
from market_sim.theory.arrays import Array
from market_sim.theory.streams import Role, stream


def shocks_of(parts: Parts, now: int) -> Shocks:
    """The randomness of a round: the same under every regime, whatever happened before."""
    if not parts.users.individuals:
        choice, outcome, audit = (
            stream(parts.seed, role, round=now) for role in (Role.CHOICES, Role.OUTCOMES, Role.AUDITS)
        )
        return Shocks(choice=choice, outcome=outcome, audit=audit)
    u = len(parts.users.beta)
    draw = _remembered_draws if u <= FEW_USERS else _draws
    audited = parts.regime.terms.audit_probability > 0  # no number is below a probability of nothing
    return Shocks(
        choice=draw(parts.seed, Role.CHOICES, now, u),
        outcome=draw(parts.seed, Role.OUTCOMES, now, u),
        audit=draw(parts.seed, Role.AUDITS, now, u) if audited else np.ones(u),
    )


FEW_USERS = 1000
"""Users up to whom the draws of a round are remembered: all points of a sweep meet the same ones."""


def _draws(seed: int, role: Role, now: int, n_users: int) -> Array:
    drawn = stream(seed, role, round=now).random(n_users)
    drawn.setflags(write=False)
    return drawn


_remembered_draws = lru_cache(maxsize=12_000)(_draws)  # a hundred seeds of fifty rounds; at most 96 MB


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Those who ask about one task this round: rows of the population, as users with their own shocks."""

    row: Array
    users: UserPopulation
    shocks: Shocks

    def some(self, at: Array) -> "Crowd":
        return Crowd(row=self.row[at], users=self.users.rows(at), shocks=self.shocks.rows(at))


def crowds_of(parts: Parts, users: UserPopulation, shocks: Shocks, now: int) -> list[Crowd]:
    """Who asks about each task."""
    n_tasks, chances = parts.market.n_tasks, stream(parts.seed, Role.TASKS, round=now)
    weights = np.ones((1, 1)) if users.task_weights is None else users.task_weights
    crowds = []
    if isinstance(shocks.choice, np.ndarray):
        passed = np.cumsum(weights, axis=1) <= chances.random(len(users.beta))[:, None]
        task = np.minimum(passed.sum(axis=1), n_tasks - 1)
        for t in range(n_tasks):
            row = np.flatnonzero(task == t)
            crowds.append(Crowd(row=row, users=users.rows(row), shocks=shocks.rows(row)))
        return crowds
    each = np.broadcast_to(weights, (len(users.beta), n_tasks))
    asked = chances.multinomial(users.size, each / each.sum(axis=1, keepdims=True))
    for t in range(n_tasks):
        row = np.flatnonzero(asked[:, t])
        some = replace(users.rows(row), size=asked[row, t])
        crowds.append(Crowd(row=row, users=some, shocks=shocks))
    return crowds

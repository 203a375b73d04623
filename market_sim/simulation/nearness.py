"""How far play is from the market's exact equilibria, where there is a list of them (docs/theory.md 2.4)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from market_sim.economy.market import Market, games_of
from market_sim.simulation.parts import Parts
from market_sim.theory.arrays import Array
from market_sim.theory.convergence import nearest_equilibrium
from market_sim.theory.game import Equilibria, equilibria


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """Of each of R rounds, (R,): the equilibrium it is closest to and how far that is, all tasks together.

    number         its place among all that can be put together from the tasks' lists, from 0
    providers_off  providers that do not stand at their level of it, task by task
    level_steps    how many levels they are away from it
    of             ()  equilibria there are
    ties           ()  whether providers are somewhere indifferent: one equilibrium is listed per total offer
    """

    number: Array
    providers_off: Array
    level_steps: Array
    of: int
    ties: bool


def no_equilibria(parts: Parts) -> str | None:
    """Why there is no exact list of equilibria; None where there is."""
    if parts.regime.name != "pay_per_compute":
        return f"no exact list under {parts.regime.name}"
    if parts.experience is not None:
        return "no exact list where users learn"
    if parts.capacity is not None:
        return "no exact list where providers may be full"
    if not parts.users.alike:
        return "no complete list where users differ"
    return None


def nearness(parts: Parts, profiles: Array) -> Nearness:
    """How close each of some profiles is to an equilibrium of those in the market.

    profiles  (R, T, P)  levels of the providers in the market
    """
    number, of, ties = np.zeros(len(profiles), dtype=np.int64), 1, False
    providers_off, steps = np.zeros((2, len(profiles)), dtype=np.int64)
    beta, scale = float(parts.users.beta[0]), float(parts.users.value_scale[0])
    for task, found in enumerate(_listed(parts.open_market, beta, scale)):
        played = profiles[:, task]
        index, off = nearest_equilibrium(played, found.levels)
        steps += np.abs(played - found.levels[index]).sum(axis=1)
        number, providers_off = number * len(found.levels) + index, providers_off + off
        of, ties = of * len(found.levels), ties or bool(found.ties[0])
    return Nearness(number=number, providers_off=providers_off, level_steps=steps, of=of, ties=ties)


@lru_cache(maxsize=64)
def _listed(market: Market, beta: float, value_scale: float) -> tuple[Equilibria, ...]:
    """The equilibria of each task."""
    return tuple(
        equilibria(games_of(market, task, np.asarray(beta), value_scale)) for task in range(market.n_tasks)
    )

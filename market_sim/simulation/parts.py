"""What a round is played with, and where the market stands after it: two frozen records.

Events between rounds replace Parts (dataclasses.replace); arrays never change in place.  State carries no
generators: a round's randomness is made from the seed, the purpose and the round's number, so a state can
be kept, compared and played on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np

from market_sim.economy.market import Market, UserPopulation
from market_sim.economy.regime import Regime
from market_sim.errors import InputError
from market_sim.simulation.experience import Experience
from market_sim.theory.arrays import Array
from market_sim.theory.rule import Memory, Rule

Activation = Literal["default", "one_at_a_time", "simultaneous"]
Demand = Literal["sampled", "expected"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What a round is played with.

    rules          N, one per provider
    activation     who revises: everybody (simultaneous), one provider a round in turns (one_at_a_time),
                   or turns for reply rules and everybody for the rest (default)
    demand         "expected": a continuum of users; "sampled": draws from the probabilities
    active         (N,) bool, who is in the market; None: everybody
    turns_from     the round in which those began to take turns: the first, or that of the last entry or exit
    capacity       (N,) requests that each can serve in a round; None: any number
    experience     how users learn what offers are worth; None: they know
    start_levels   (T, N) index of the compute level each provider starts at, or (N,) for all tasks; None: its
                   lowest, and the truth where there are bids
    metrics_every  rounds between costly measures (NashConv); NaN between
    keep_requests  whether records carry one row per request
    """

    market: Market
    users: UserPopulation
    regime: Regime
    rules: tuple[Rule, ...]
    activation: Activation = "default"
    demand: Demand = "sampled"
    seed: int = 0
    active: Array | None = None
    turns_from: int = 1
    capacity: Array | None = None
    experience: Experience | None = None
    start_levels: Array | None = None
    metrics_every: int = 1
    keep_requests: bool = False

    def __post_init__(self) -> None:
        if len(self.rules) != self.market.n_providers:
            raise ValueError("there must be one rule per provider")
        if self.market.n_tasks > 1 and self.users.task_weights is None:
            raise ValueError("with several tasks users need task weights")
        if self.active is not None and not self.active.any():
            raise ValueError("somebody must be in the market")
        if not self.by_person and (self.experience is not None or self.users.inertia is not None):
            raise ValueError("experience and inertia belong to people who are drawn one by one")
        for rule in self.rules:
            if self.regime.name not in rule.regimes:
                raise InputError(
                    f"learning rule {rule.name!r} makes no sense under {self.regime.name}; "
                    f"it is for {', '.join(sorted(rule.regimes))}"
                )

    @cached_property
    def by_person(self) -> bool:
        """Whether requests are drawn, one for each individual."""
        return self.demand == "sampled" and self.users.individuals

    @cached_property
    def present(self) -> Array:
        """Index of each provider in the market."""
        n = self.market.n_providers
        return np.arange(n) if self.active is None else np.flatnonzero(self.active)

    @cached_property
    def open_market(self) -> Market:
        """The market with nobody but those who are in it."""
        return self.market.only(self.present)

    @cached_property
    def askers(self) -> tuple[UserPopulation, ...]:
        """The users weighted by how often they ask for each task."""
        return tuple(self.users.asking(task) for task in range(self.market.n_tasks))

    @cached_property
    def recall(self) -> Callable[..., Any]:
        """`recall(measure, actions)` is measure(self, actions), remembered: markets settle or cycle, and meet
        the same profiles with other seeds.

        measure  of a profile and the parts, whatever their seed
        actions  the bytes of (T, N) whole numbers, as `profile_of` reads them
        """
        actions = self.regime.actions(self.regime, self.open_market, 0).allowed.size
        most = max(8, min(4096, MOST_REMEMBERED // actions))
        return lru_cache(maxsize=most)(lambda measure, actions: measure(self, actions))

    def with_seed(self, seed: int) -> "Parts":
        """The same with another seed, and with what is remembered."""
        other = replace(self, seed=seed)
        vars(other)["recall"] = self.recall
        return other

    def profile_of(self, actions: bytes) -> Array:
        """The (T, N) actions that gave these bytes."""
        shape = (self.market.n_tasks, self.market.n_providers)
        return np.frombuffer(actions, dtype=np.int64).reshape(shape)


MOST_REMEMBERED = 500_000
"""Payoffs that are remembered, which bounds the profiles; they are three or four numbers each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """Where the market stands after a round.

    round          rounds played
    actions        (T, N) standing action of each provider, task by task
    memories       one per group of providers that share a rule, in the order of `providers.groups`; learners
                   stand task by task
    last_provider  (U,) int16: whom each individual last bought from, OUTSIDE for nobody yet; None for
                   segments
    estimates      (T, N, U) float32: what each individual believes it nets from each provider, USD per query;
                   None where users know
    """

    round: int
    actions: Array
    memories: tuple[Memory, ...]
    last_provider: Array | None
    estimates: Array | None = None

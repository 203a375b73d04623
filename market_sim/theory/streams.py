"""Random numbers by name: one master seed, one stream per role, owner and round.

A stream is numpy's SeedSequence(seed, spawn_key=(role, hash of the owner's name, round)), so what one
draws never moves another, no stream depends on the order in which others were made, and the same seed
gives the same users, tasks and shocks under every regime (common random numbers).
"""

import zlib
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache

import numpy as np

from market_sim.theory.arrays import Array


class Role(IntEnum):
    """What a stream is for.  The numbers are part of the seed: never renumber."""

    USER_TYPES = 1
    TASKS = 2
    CHOICES = 3
    OUTCOMES = 4
    LEARNING = 5
    ACTIVATION = 6
    NETWORK = 7
    AUDITS = 8
    ARRIVALS = 9
    QUESTIONS = 10
    DIFFICULTIES = 12
    SYNTHETIC_QUESTIONS = 20
    SYNTHETIC_SAMPLES = 21


def stream(seed: int, role: Role, name: str = "", round: int = 0) -> np.random.Generator:
    """The stream of one role, owner (a provider's name, say) and round.

    >>> stream(1, Role.CHOICES, round=3).random() == stream(1, Role.CHOICES, round=3).random()
    True
    """
    key = (int(role), zlib.crc32(name.encode()), round)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


ROUNDS_PER_BLOCK = 64
"""Rounds whose uniform numbers are drawn at once: making a generator takes longer than using it."""


def uniforms(seed: int, role: Role, name: str, round: int, count: int) -> Array:
    """The uniform numbers in [0, 1) that one owner has in a round, (count,)."""
    block, row = divmod(round, ROUNDS_PER_BLOCK)
    return uniform_block(seed, role, name, block, count)[row]


@lru_cache(maxsize=256)
def uniform_block(seed: int, role: Role, name: str, block: int, count: int) -> Array:
    """Those of ROUNDS_PER_BLOCK rounds, (ROUNDS_PER_BLOCK, count), read-only."""
    drawn = stream(seed, role, name, block).random((ROUNDS_PER_BLOCK, count))
    drawn.setflags(write=False)
    return drawn


@lru_cache(maxsize=256)
def activation_order(seed: int, n_providers: int, cycle: int) -> Array:
    """The order in which providers take their turns in one cycle of n_providers turns, (N,), read-only."""
    order = stream(seed, Role.ACTIVATION, round=cycle).permutation(n_providers)
    order.setflags(write=False)
    return order


def activation_orders(seed: int, n_providers: int) -> Iterator[Array]:
    """The orders of all cycles, one after another, without end."""
    cycle = 0
    while True:
        yield activation_order(seed, n_providers, cycle)
        cycle += 1

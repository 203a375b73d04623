"""How fast each learning rule arrives where it ends up, in rounds and in revisions of each provider.

Everybody follows the rule under pay-per-compute, as in experiments/convergence.py.  A run has arrived in the
round from which on welfare, averaged over one turn of everybody, stays within a tenth of the way from where
it began to its late mean, or as near to it as it stays in the second half of the rounds.  Rules that never
settle arrive too: at the average they hover about.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from market_sim.experiments.convergence import Game, parts_of
from market_sim.simulation.batch import play_many
from market_sim.theory.arrays import Array
from market_sim.theory.learning import RULES

REMAINING = 0.1
"""Share of the way that may be left."""

NEAR = 0.01
"""A run that begins within this share of its late mean was there from the start."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Speed:
    """A rule in a game.

    rounds     (S,)  in which each seed's run arrived
    revisions  (S,)  how often each provider had revised by then: rules that reply move one at a time
    """

    game: Game
    rule: str
    rounds: Array
    revisions: Array


def arrival_round(welfare: Array, window: int) -> int:
    """The round in which a run arrived, 0 if it was there from the start.

    welfare  (R + 1,)  expected welfare after each round, row 0 the start
    window   rounds of one turn of everybody

    >>> arrival_round(np.array([0.0, 0.5, 0.95, 1.0, 1.0, 1.0, 1.0, 1.0]), window=1)
    2
    """
    late, start = float(welfare[len(welfare) // 2 :].mean()), float(welfare[0])
    if abs(late - start) <= NEAR * abs(late):
        return 0
    width = min(window, len(welfare) - 1)
    means = np.convolve(welfare, np.ones(width) / width, mode="valid")
    away = np.abs(means - late)
    allowed = max(REMAINING * abs(late - start), float(away[len(away) // 2 :].max()))
    outside = np.flatnonzero(away > allowed)
    return int(outside[-1]) + 1 if len(outside) else 0


def speed(game: Game, rule: str, seeds: int, rounds: int) -> Speed:
    """Play a game with everybody following a rule, once for each seed."""
    parts = parts_of(game, rule, rounds)
    n = parts.market.n_providers
    one_at_a_time = RULES[rule].information == "reply"
    plays = play_many(parts, range(seeds), rounds)
    arrived = np.array([arrival_round(welfare, n) for welfare in plays.welfare_usd], dtype=float)
    return Speed(game=game, rule=rule, rounds=arrived, revisions=arrived / n if one_at_a_time else arrived)


def speed_everywhere(games: Sequence[Game], rules: Sequence[str], seeds: int, rounds: int) -> list[Speed]:
    """Every rule in every game, rule by rule; they are spread over the processors."""
    cases = [(game, rule, seeds, rounds) for rule in rules for game in games]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(speed, *zip(*cases, strict=True), chunksize=len(games)))

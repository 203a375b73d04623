"""A run's rounds and what they reached, played without Mesa: what a sweep needs of a run.

The rounds are those of `MarketModel`, bit by bit: both call `play_round` and `carry_over`.
"""

from dataclasses import dataclass

import numpy as np

from market_sim.experiments.reached import Reached, reached_by
from market_sim.experiments.timeline import Timeline
from market_sim.simulation.events import carry_over
from market_sim.simulation.parts import Parts
from market_sim.simulation.recorder import Recorder
from market_sim.simulation.round import begin, play_round
from market_sim.theory.arrays import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Played:
    """A run that has been played.

    rounds      columns of rounds.parquet (docs/formats.md)
    reached     what it reached since the last event
    """

    rounds: dict[str, Array]
    reached: Reached


def play(timeline: Timeline, rounds: int) -> Played:
    """Play so many rounds."""
    parts, recorder = timeline.first, recorder_of(timeline.first)
    state, record = begin(parts)
    recorder.add(record)
    for number in range(1, rounds + 1):
        after = timeline.later.get(number)
        if after is not None:
            state, parts = carry_over(parts, after, state), after
        state, record = play_round(parts, state)
        recorder.add(record)
    table = recorder.rounds()
    return Played(rounds=table, reached=reached_since(timeline, parts, recorder.actions(), table))


def recorder_of(parts: Parts) -> Recorder:
    return Recorder(parts.market.tasks, parts.market.providers)


def reached_since(timeline: Timeline, parts: Parts, actions: Array, rounds: dict[str, Array]) -> Reached:
    """What a run reached since its last event.

    parts    those of the last round
    actions  (R + 1, T, N)  what each provider stood at after each round
    """
    last = min(max(timeline.later, default=0), len(actions) - 2)  # there is at least one round to measure
    since: dict[str, np.ndarray] = {name: column[last:] for name, column in rounds.items()}
    return reached_by(parts, actions[last:], since)

"""How fast each learning rule arrives where it ends up, in rounds and in revisions of each provider.

Everybody follows the rule under pay-per-compute, as in experiments/convergence.py.  A run has arrived in the
round from which on welfare, averaged over one turn of everybody, stays within a tenth of the way from where
it began to its late mean, or as near to it as it stays in the second half of the rounds.  Rules that never
settle arrive too: at the average they hover about.

In a sweep of runs, agents play and demand is what the base says; without its rounds, the warm-up that was cut
off stands for arrival.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments.convergence import Game, parts_of
from market_sim.experiments.sweep import load_sweep
from market_sim.experiments.sweep_table import (
    Contrast,
    SweepTable,
    contrasts,
    over_replicates,
    plainly,
    wanted_axis,
)
from market_sim.experiments.timeline import timeline_of
from market_sim.simulation.batch import play_many
from market_sim.theory.arrays import Array
from market_sim.theory.inference import MeanDifference
from market_sim.theory.learning import RULES

if TYPE_CHECKING:
    import pandas as pd

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


# --- Of a sweep -------------------------------------------------------------------------------------

RULE_AXES = (
    "providers.learning",
    "providers.learning.rule",
    "providers.auction_learning",
    "providers.auction_learning.rule",
)


@dataclass(frozen=True, kw_only=True)
class Turns:
    """How providers of a point take turns: how many there are, and rounds until each has revised once."""

    providers: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class RuleSpeed:
    """A rule in a sweep, means over replicates of means over its other axes.

    rounds, revisions    until arrival
    slower               rounds, and then revisions, less those of the sweep's first rule; empty for that one
    """

    rule: str
    rounds: MeanDifference
    revisions: MeanDifference
    slower: tuple[Contrast, ...]


def turns_of(folder: Path | str) -> dict[int, Turns]:
    """How providers take turns at each point of the sweep in a folder."""
    sweep = load_sweep(Path(folder) / "sweep.toml")
    found = {}
    for point in range(sweep.n_points):
        parts = timeline_of(sweep.scenario(point)).first
        reply = all(rule.information == "reply" for rule in parts.rules)
        n = parts.market.n_providers
        alone = parts.activation == "one_at_a_time" or (parts.activation == "default" and reply)
        found[point] = Turns(providers=n, rounds=n if alone else 1)
    return found


def speed_of_sweep(
    table: SweepTable, turns: Mapping[int, Turns], rounds: "pd.DataFrame | None" = None
) -> list[RuleSpeed]:
    """Every rule of a sweep of runs over the rule, in the sweep's order.

    turns   by point, from `turns_of`
    rounds  rows of rounds.parquet; None: the warm-up stands for arrival

    Raises InputError without such an axis, or where no run went well.
    """
    axis = wanted_axis(table, "run", RULE_AXES, "speed by rule")
    frame = table.ok
    if rounds is None:
        arrived = frame["warm_up"].astype(float)
    else:
        by_run = {
            run: arrival_round(
                part.sort_values("round")["expected_welfare_usd"].to_numpy(), turns[run[0]].providers
            )
            for run, part in rounds.groupby(["point", "replicate"])
        }
        runs = zip(frame["point"], frame["replicate"], strict=True)
        arrived = np.array([by_run[run] for run in runs], dtype=float)
    own = frame.assign(
        arrived=arrived,
        revisions=arrived / np.array([turns[point].rounds for point in frame["point"]], dtype=float),
    )
    # Runs that failed stay, with neither: what they leave out is said.
    table = table.with_frame(table.frame.assign(arrived=own["arrived"], revisions=own["revisions"]))
    slower = contrasts(table, axis, ["arrived", "revisions"])
    found = [
        RuleSpeed(
            rule=plainly(rule),
            rounds=over_replicates(own, "arrived"),
            revisions=over_replicates(own, "revisions"),
            slower=tuple(one for one in slower if one.value == rule),
        )
        for rule, own in table.ok.groupby(axis, sort=False)
    ]
    if not found:
        raise InputError(f"{table.name}: no run of it went well")
    return found

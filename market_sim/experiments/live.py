"""A market that is watched while it is played: steps, a change of policy, a bounded history, replays.

    Player      what a screen holds: step(), history, policy, and what the market is held against
    LiveMarket  plays a scenario with agents
    Replay      shows the rows of a finished run, one after the other, as if it were played now
    History     what figures show: means over blocks of rounds, never more than MOST_BLOCKS of them

A live market is a scenario and nothing else: a policy changed on the way becomes an event of it, so that
`run` plays the very same rows from the scenario that was saved.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from market_sim.economy.market import Market
from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError, named
from market_sim.experiments import store
from market_sim.experiments.compare import TITLES
from market_sim.experiments.run import Progress
from market_sim.experiments.running_log import RunningLog
from market_sim.experiments.scenario import Scenario, changed, load_scenario
from market_sim.experiments.solve import load_market, solve
from market_sim.experiments.timeline import timeline_of
from market_sim.simulation.model import MarketModel
from market_sim.simulation.recorder import ROUND_COLUMNS
from market_sim.theory.arrays import Array

MOST_BLOCKS = 400
"""Figures are hardly wider in pixels; twice as many rows are a few hundred kilobytes."""

PROVIDER_SERIES = ("compute_level", "share", "profit_usd")
"""What is kept of each provider; its profit per arriving request."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A history as figures take it: B blocks of `length` rounds, means over each.

    round      (B,) first round of each block;  last: the last round played
    rounds     columns of rounds.parquet, (B,) each
    providers  compute_level, share, profit_usd (per arriving request), (B, T, N) each
    """

    tasks: tuple[str, ...]
    names: tuple[str, ...]
    length: int
    last: int
    round: Array
    rounds: Mapping[str, Array]
    providers: Mapping[str, Array]


class History:
    """Rows of rounds, thinned: when there are MOST_BLOCKS blocks, pairs become one and blocks twice as long.

    Memory is bounded whatever the number of rounds.  Means leave out what is undefined (NaN).
    """

    def __init__(self, tasks: tuple[str, ...], names: tuple[str, ...], most: int = MOST_BLOCKS) -> None:
        self._tasks, self._names = tasks, names
        self._width = len(tasks) * len(names)
        columns = len(ROUND_COLUMNS) + len(PROVIDER_SERIES) * self._width
        self._sums, self._counts = np.zeros((most, columns)), np.zeros((most, columns))
        self._blocks = self._filled = self._rounds = 0
        self._length = 1

    def __len__(self) -> int:
        """Rounds that were added, row 0 among them."""
        return self._rounds

    def add(self, row: Mapping[str, float], providers: Mapping[str, Array]) -> None:
        """One more round.  providers: (T, N) each of PROVIDER_SERIES."""
        values = np.concatenate(
            [[row[name] for name in ROUND_COLUMNS], *(providers[name].ravel() for name in PROVIDER_SERIES)]
        )
        if self._filled == 0:
            if self._blocks == len(self._sums):
                self._halve()
            else:
                self._blocks += 1
        block, known = self._blocks - 1, np.isfinite(values)
        self._sums[block] += np.where(known, values, 0.0)
        self._counts[block] += known
        self._filled = (self._filled + 1) % self._length
        self._rounds += 1

    def _halve(self) -> None:
        """Make room for half as many blocks again, and begin the next one."""
        half = len(self._sums) // 2
        for kept in (self._sums, self._counts):
            kept[:half] = kept[0 : 2 * half : 2] + kept[1 : 2 * half : 2]
            kept[half:] = 0.0
        self._length *= 2
        self._blocks = half + 1

    def seen(self) -> Seen:
        """What figures take."""
        blocks = slice(self._blocks)
        undefined = np.full((self._blocks, self._sums.shape[1]), np.nan)
        counts = self._counts[blocks]
        means = np.divide(self._sums[blocks], counts, out=undefined, where=counts > 0)
        shape, first = (self._blocks, len(self._tasks), len(self._names)), len(ROUND_COLUMNS)
        places = (
            slice(first + k * self._width, first + (k + 1) * self._width) for k in range(len(PROVIDER_SERIES))
        )
        return Seen(
            tasks=self._tasks,
            names=self._names,
            length=self._length,
            last=self._rounds - 1,
            round=np.arange(self._blocks) * self._length,
            rounds={name: means[:, column] for column, name in enumerate(ROUND_COLUMNS)},
            providers={
                name: means[:, place].reshape(shape)
                for name, place in zip(PROVIDER_SERIES, places, strict=True)
            },
        )


@dataclass(frozen=True, kw_only=True)
class Yardsticks:
    """What a market's welfare is held against beside its optimum; USD per arriving request.

    equilibria  expected welfare in each exact equilibrium of pay-per-compute, the least offers first
    why_none    the reason where they are not listed, else None
    """

    equilibria: tuple[float, ...] = ()
    why_none: str | None = None


class Player(Protocol):
    """What a screen can play, step by step."""

    scenario: Scenario
    history: History
    yardsticks: Yardsticks

    @property
    def market(self) -> Market: ...

    @property
    def round(self) -> int: ...

    @property
    def regime(self) -> str: ...

    @property
    def ended(self) -> bool: ...

    def step(self) -> None: ...


class LiveMarket:
    """A scenario played round by round, for as long as somebody looks on."""

    def __init__(self, scenario: Scenario) -> None:
        timeline = timeline_of(scenario)
        self.scenario = scenario
        self.model = MarketModel.from_parts(timeline.first, timeline.later)
        market = timeline.first.market
        self.history = History(market.tasks, market.providers)
        self.yardsticks = yardsticks_of(scenario)
        self.log: RunningLog | None = None
        self._look()

    @property
    def market(self) -> Market:
        return self.model.parts.market

    @property
    def round(self) -> int:
        return self.model.state.round

    @property
    def regime(self) -> str:
        return self.model.parts.regime.name

    @property
    def ended(self) -> bool:
        return False

    def step(self) -> None:
        """Play one round."""
        self.model.step()
        self._look()

    def _look(self) -> None:
        record, people = self.model.record, self.model.parts.users.n_people
        rows = {name: getattr(record.providers, name) for name in PROVIDER_SERIES}
        row = {name: getattr(record.row, name) for name in ROUND_COLUMNS}
        self.history.add(row, rows | {"profit_usd": rows["profit_usd"] / people})
        self.model.forget()  # the history has what is shown, and the scenario gives the rest again
        if self.log is not None:
            self.log.add(record)

    def switch(self, regime: str) -> None:
        """Let another regime begin with the next round, as an event of the scenario.

        Raises InputError for a regime that the scenario cannot have.
        """
        named("regime", regime, REGIMES)
        at = self.round + 1
        events = [event.model_dump(exclude_unset=True) for event in self.scenario.events]
        same = [event for event in events if event["round"] == at]
        coming = next((event["regime"]["kind"] for event in same if event.get("regime")), self.regime)
        if regime == coming:
            raise InputError(f"The next round is under {TITLES.get(regime, regime)} already")
        terms = self.scenario.regime.model_dump(exclude_unset=True) | {"kind": regime}
        event = (same[0] if same else {"round": at}) | {"regime": terms}
        others = [each for each in events if each["round"] != at]
        scenario = changed(
            self.scenario,
            rounds=max(self.scenario.rounds, at),
            events=sorted([*others, event], key=lambda each: each["round"]),
        )
        self.model.later = timeline_of(scenario).later
        self.scenario = scenario

    def played(self) -> Scenario:
        """The scenario of what was played so far: as many rounds, and the events among them."""
        return changed(self.scenario, rounds=max(self.round, 1))

    def save(self, out: Path, progress: Progress | None = None) -> None:
        """Keep every round on disk as it is played; those that were already are played again for it.

        out  where `finish` puts the run folder
        Raises InputError where it cannot be written.
        """
        timeline = timeline_of(self.scenario)
        again = MarketModel.from_parts(timeline.first, timeline.later)
        log = RunningLog(out, self.market.tasks, self.market.providers)
        try:
            log.add(again.record)
            for done in range(self.round):
                again.step()
                again.forget()
                log.add(again.record)
                if progress is not None:
                    progress(done + 1, self.round)
        except BaseException:
            log.discard()
            raise
        self.log = log

    def finish(self) -> Path | None:
        """Put what `save` kept into a run folder, and keep no more; None where nothing was played or kept.

        Raises InputError where the folder cannot be written; its sentence says where the rows are.
        """
        log, self.log = self.log, None
        if log is None:
            return None
        if self.round == 0:
            log.discard()
            return None
        return log.finish(self.played(), self.model.parts)


class Replay:
    """The rows of a finished run, shown one after the other."""

    def __init__(self, folder: Path, scenario: Scenario | None = None) -> None:
        """scenario: that of the folder, where it has been read and checked already."""
        if store.manifest_of(folder) is None:
            raise InputError(f"{folder}: is not a complete run")
        self.folder = folder
        self.scenario = load_scenario(folder / "scenario.toml") if scenario is None else scenario
        self.market = load_market(self.scenario)
        self._rounds = store.read_table(folder / "rounds.parquet")
        providers = store.read_table(folder / "providers.parquet")
        tasks, names = (tuple(dict.fromkeys(providers[key].tolist())) for key in ("benchmark", "provider"))
        shape = (len(self._rounds["round"]), len(tasks), len(names))
        self._providers = {name: providers[name].reshape(shape) for name in PROVIDER_SERIES}
        self._providers["profit_usd"] = _per_request(self._providers, providers["requests"].reshape(shape))
        missing = [name for name in ROUND_COLUMNS if name not in self._rounds]
        if missing:
            raise InputError(f"{folder}: was written by another version: it has no column {missing[0]}")
        self.history = History(tasks, names)
        self.yardsticks = yardsticks_of(self.scenario)
        self._next = 0
        self.step()

    @property
    def round(self) -> int:
        return self._next - 1

    @property
    def last(self) -> int:
        """The last round there is."""
        return len(self._rounds["round"]) - 1

    @property
    def regime(self) -> str:
        kind = self.scenario.regime.kind
        for event in self.scenario.events:
            if event.regime is not None and event.round <= self.round:
                kind = event.regime.kind
        return kind

    @property
    def ended(self) -> bool:
        return self.round == self.last

    def step(self) -> None:
        """Show the next round; nothing where there is none."""
        if self._next > self.last:
            return
        row = {name: float(self._rounds[name][self._next]) for name in ROUND_COLUMNS}
        self.history.add(row, {name: rows[self._next] for name, rows in self._providers.items()})
        self._next += 1


def _per_request(providers: Mapping[str, Array], requests: Array) -> Array:
    """Profits per arriving request, (R, T, N): shares say how many arrived."""
    served, share = requests.sum(axis=(1, 2)), providers["share"].sum(axis=(1, 2))
    arrived = np.divide(served, share, out=np.ones_like(served, dtype=float), where=share > 0)
    return providers["profit_usd"] / arrived[:, None, None]


def yardsticks_of(scenario: Scenario) -> Yardsticks:
    """The exact equilibria of a scenario's market under pay-per-compute, where there is a complete list."""
    try:
        solutions = solve(scenario)
    except InputError as error:
        return Yardsticks(why_none=str(error).removeprefix(f"{scenario.where}: ").partition(";")[0])
    if len(solutions) > 1:
        return Yardsticks(
            why_none="with several benchmarks equilibria are listed on the page of exact analysis"
        )
    return Yardsticks(equilibria=tuple(profile.welfare for profile in solutions[0].equilibria))


def rows_table(seen: Seen) -> dict[str, Array]:
    """A history in long form: a row per block, benchmark and provider, with what the block has in common."""
    blocks, each = len(seen.round), len(seen.tasks) * len(seen.names)
    ends = np.append(seen.round[1:] - 1, seen.last)
    head = {
        "from_round": np.repeat(seen.round, each),
        "to_round": np.repeat(ends, each),
        "benchmark": np.tile(np.repeat(seen.tasks, len(seen.names)), blocks),
        "provider": np.tile(seen.names, blocks * len(seen.tasks)),
    }
    body = {
        {"profit_usd": "profit_usd_per_request"}.get(name, name): rows.reshape(-1)
        for name, rows in seen.providers.items()
    }
    rest = {name: np.repeat(column, each) for name, column in seen.rounds.items() if name != "round"}
    return head | body | rest


def csv_of(seen: Seen) -> str:
    """The same table as the text of a CSV file; empty where nothing is defined."""
    table = rows_table(seen)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*(column.tolist() for column in table.values()), strict=True):
        writer.writerow("" if cell != cell else cell for cell in row)
    return file.getvalue()

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
import tomllib
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


# --- What a page may open ---------------------------------------------------------------------------

MOST_PEOPLE_WATCHED = 200_000
"""A page steps several times a second, and more people one by one would take gigabytes."""

MOST_PROVIDERS_WATCHED = 100
"""Each has a line in its pictures, and more would be slow to solve."""


MOST_BYTES = 1_000_000
"""Of a scenario file that is sent."""


def check_harmless(scenario: Scenario, root: Path) -> Scenario:
    """The scenario, if a page may play it for a stranger: no code from outside, no file outside `root`.

    Raises InputError otherwise, and for more people than a page can play.
    """
    where = scenario.where
    for key in ("learning", "auction_learning"):
        learning = getattr(scenario.providers, key)
        for choice in (learning.others, *learning.by_model.values()):
            if choice is not None and ":" in choice.rule:
                raise InputError(
                    f"{where}: providers.{key}: {choice.rule!r} is a rule from outside, which is a program; "
                    "this page runs none, market-sim run does"
                )
    network = scenario.users.network or {}
    for key, file in (
        ("market.curves", scenario.market.curves),
        ("users.types", scenario.users.types),
        ("users.network.file", network.get("file")),
    ):
        if file is not None:
            inside(scenario.folder / str(file), root, f"{where}: {key} = {str(file)!r}")
    return check_watchable(scenario)


def check_watchable(scenario: Scenario) -> Scenario:
    """The scenario.  Raises InputError for more people or providers than a page can play."""
    made = scenario.market.generated
    if made is not None and made.providers > MOST_PROVIDERS_WATCHED:
        raise InputError(
            f"{scenario.where}: market.generated.providers: {made.providers:,} are too many to watch (at "
            f"most {MOST_PROVIDERS_WATCHED:,}); use market-sim run"
        )
    if scenario.users.one_by_one:
        people = round(scenario.users.count * scenario.most_demand)
        if people > MOST_PEOPLE_WATCHED:
            raise InputError(
                f"{scenario.where}: users.count: {people:,} are too many to watch one by one (at most "
                f"{MOST_PEOPLE_WATCHED:,}); use segments, or market-sim run"
            )
    return scenario


def inside(path: Path, root: Path, where: str) -> Path:
    """The path, resolved.  Raises InputError where it leads out of the folder `root`, links followed."""
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise InputError(f"{where} is not a path") from None
    if not resolved.is_relative_to(root.resolve()):
        raise InputError(f"{where} is outside {root}, and this page opens only what lies there")
    return resolved


def uploaded_scenario(name: str, content: bytes, root: Path) -> Scenario:
    """A scenario that somebody sent: checked, and harmless.  Files it names are looked for in `root`."""
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: has {len(content):,} bytes; a scenario has at most {MOST_BYTES:,}")
    try:
        data = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(f"{name}: is not a text file (a scenario in TOML is wanted)") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: is not TOML: {error}") from None
    if not data:
        raise InputError(f"{name}: is empty; a scenario needs at least a name")
    return check_harmless(scenario_from(data, name, root), root)


def scenario_from(data: Mapping[str, object], where: str, folder: Path) -> Scenario:
    """A scenario from a dictionary, called `where` in sentences, its files being in `folder`."""
    try:
        scenario = load_scenario(data)
    except InputError as error:
        raise InputError(f"{where}: {str(error).removeprefix('scenario: ')}") from None
    scenario._where, scenario._folder = where, folder
    return scenario


def scenarios_in(root: Path) -> list[Path]:
    """Scenario files directly in a folder."""
    return sorted(path for path in root.glob("*.toml") if path.is_file())


def runs_in(root: Path) -> list[Path]:
    """Complete run folders below a folder, the newest first."""
    if not root.is_dir():
        return []
    found = [path for path in store.complete_folders(root) if (path / "rounds.parquet").exists()]
    return sorted(found, key=lambda path: (path / store.MANIFEST).stat().st_mtime, reverse=True)


def open_scenario(path: Path, root: Path) -> Scenario:
    """A scenario file under `root`.  Raises InputError for one outside, or that may do harm."""
    resolved = inside(path, root, str(path))
    try:
        scenario = load_scenario(resolved)
    except InputError as error:  # strangers need not know where the folder lies
        raise InputError(str(error).replace(str(resolved), str(path))) from None
    scenario._where = str(path)
    return check_harmless(scenario, root)


def open_run(path: Path, root: Path) -> Replay:
    """A finished run under `root`, for replay.

    Raises InputError for one outside, with files that lead outside, or whose scenario may do harm.
    """
    folder = inside(path, root, str(path))
    if store.manifest_of(folder) is None:
        raise InputError(f"{path}: is not a complete run")
    for name in ("rounds.parquet", "providers.parquet", store.MANIFEST):
        inside(folder / name, root, f"{path}: {name}")
    return Replay(folder, open_scenario(path / "scenario.toml", root))


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

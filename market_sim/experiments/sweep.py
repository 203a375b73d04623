"""Sweep files: one scenario at many settings, times seeds (docs/formats.md).

A sweep is checked when it is read: an unknown key, an axis that is no key of a scenario, a setting that no
scenario can have are refused with one sentence before anything runs.

A run is a point (one setting of all axes) and a replicate.  Its seed depends on the sweep's seed and the
replicate only, so every point meets the same users, tasks and shocks (common random numbers).
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from market_sim.errors import InputError, nearest
from market_sim.experiments.designs import SAMPLED, Kind, Scale, crossed, sampled, stretched
from market_sim.experiments.plugins import code_of, rule_from
from market_sim.experiments.scenario import Scenario, load_scenario, read_toml, scenario_from, validated
from market_sim.experiments.scenario_keys import (
    SECTIONS,
    Keys,
    in_free_table,
    path_of,
    put,
    takes_whole_numbers,
)
from market_sim.theory.arrays import Array

MOST_RUNS = 10_000_000
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
RANGE = ("from", "to", "steps", "scale")
FILES = (("market", "curves"), ("users", "types"), ("users", "network", "file"))
"""Keys of a scenario that name files."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Range(_Table):
    """Numbers from one to another, both included."""

    low: Annotated[float, Field(alias="from", allow_inf_nan=False)]
    high: Annotated[float, Field(alias="to", allow_inf_nan=False)]
    steps: Annotated[int, Field(ge=2, le=100_000)] = 2
    scale: Scale = "linear"

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"to = {self.high:g} must be above from = {self.low:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f'from = {self.low:g} must be above 0 where scale = "log"')
        return self


class Design(_Table):
    """How points are chosen; what `points` means depends on the kind (experiments/designs.py)."""

    kind: Kind = "grid"
    points: Annotated[int, Field(ge=1, le=MOST_RUNS)] | None = None
    order: Literal[1, 2] = 1
    levels: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    settings: Annotated[
        tuple[dict[str, Any], ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
    ] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind in SAMPLED and self.points is None:
            raise ValueError(f'kind = "{self.kind}" needs points')
        if self.kind not in SAMPLED and self.points is not None:
            raise ValueError(f'points are for {", ".join(SAMPLED)}, not for kind = "{self.kind}"')
        for key, kind in (("order", "sobol"), ("levels", "morris")):
            if key in self.model_fields_set and self.kind != kind:
                raise ValueError(f'{key} is for kind = "{kind}", not for kind = "{self.kind}"')
        if (self.kind == "list") != bool(self.settings):
            raise ValueError('kind = "list" and [[design.settings]] belong together')
        if self.kind == "sobol" and self.points is not None and self.points & (self.points - 1):
            raise ValueError(f"points = {self.points} is not a power of two, which a sobol design needs")
        return self


class SweepFile(_Table):
    """A sweep file, key by key."""

    name: Annotated[str, Field(pattern=NAME)]
    kind: Literal["run", "solve"] = "run"
    scenario: str | None = None
    base: dict[str, Any] | None = None
    seeds: Annotated[int, Field(ge=1, le=MOST_RUNS)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    rounds: Annotated[int, Field(ge=1)] | None = None
    keep_rounds: bool = False
    axes: dict[str, Any] = {}
    design: Design = Design()

    @model_validator(mode="after")
    def _one_base(self) -> Self:
        if (self.scenario is None) == (self.base is None):
            raise ValueError("needs either scenario, the name of a scenario file, or a [base] table")
        if self.kind == "solve" and (self.keep_rounds or self.rounds is not None):
            raise ValueError('rounds and keep_rounds are for kind = "run": what is solved has no rounds')
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """One key of the scenario that the sweep sets.

    name    its dotted name, which is its column of the table
    path    the same, key by key
    values  what it is set to
    index   (P,) the place of each point's value, -1 where the base's stays
    """

    name: str
    path: Keys
    values: tuple[Any, ...]
    index: Array

    def at(self, point: int) -> Any:
        """The value at a point; None where the base's stays, which TOML cannot say."""
        place = int(self.index[point])
        return None if place < 0 else self.values[place]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """A sweep, checked.

    base      the scenario as its file has it
    folder    what paths in it are relative to
    n_points  P;  seeds, the replicates of each
    written   what a sweep file says of it: sweep.toml
    files     digests of the files and plug-ins it names
    digest    changes with anything that changes a row
    """

    name: str
    kind: Literal["run", "solve"]
    where: str
    base: dict[str, Any]
    folder: Path
    seeds: int
    seed: int
    rounds: int | None
    keep_rounds: bool
    axes: tuple[Axis, ...]
    n_points: int
    written: dict[str, Any]
    files: dict[str, str]
    digest: str

    @property
    def n_runs(self) -> int:
        return self.n_points * self.seeds

    @property
    def paths(self) -> tuple[Keys, ...]:
        return tuple(axis.path for axis in self.axes)

    def values_at(self, point: int) -> tuple[Any, ...]:
        return tuple(axis.at(point) for axis in self.axes)

    def describe(self, point: int) -> str:
        """A point in words: "point 3 (users.beta = 200)"."""
        said = [
            f"{axis.name} = {value!r}"
            for axis, value in zip(self.axes, self.values_at(point), strict=True)
            if value is not None
        ]
        return f"point {point}" + (f" ({', '.join(said)})" if said else "")

    def scenario(self, point: int, seed: int | None = None) -> Scenario:
        """The scenario of a point; seed: None leaves the base's.  Raises InputError as `scenario_at`."""
        return scenario_at(
            self.base,
            self.folder,
            self.paths,
            self.values_at(point),
            where=f"{self.where}: {self.describe(point)}",
            seed=seed,
            rounds=self.rounds,
        )

    def __repr__(self) -> str:
        return f"<Sweep {self.name}: {self.n_points:,} points x {self.seeds:,} seeds, kind {self.kind}>"


@lru_cache(maxsize=4096)
def seed_of(seed: int, replicate: int) -> int:
    """The seed of a run: of the sweep's seed and the replicate, and nothing else; exact in any table.

    >>> seed_of(1, 0) == seed_of(1, 0) != seed_of(1, 1)
    True
    """
    words = np.random.SeedSequence(seed, spawn_key=(replicate,)).generate_state(1, np.uint64)
    return int(words[0]) >> 11  # 53 bits, which a float holds too


def scenario_at(
    base: Mapping[str, Any],
    folder: Path,
    paths: Sequence[Keys],
    values: Sequence[Any],
    *,
    where: str,
    seed: int | None = None,
    rounds: int | None = None,
) -> Scenario:
    """The scenario of a point.  Raises InputError, beginning with `where`, if there is none such.

    Whole tables are set before keys in them, whichever axis comes first.
    """
    data: dict[str, Any] = dict(base)
    for path, value in sorted(zip(paths, values, strict=True), key=lambda pair: len(pair[0])):
        if value is not None:
            put(data, path, value, where)
    if seed is not None:
        data["seed"] = seed
    if rounds is not None:  # a shorter run ends before some events
        data["rounds"] = rounds
        data["events"] = [each for each in data.get("events", ()) if each.get("round", 0) <= rounds]
    return scenario_from(data, where, folder)


def load_sweep(source: "Path | str | Mapping[str, Any] | Sweep") -> Sweep:
    """A sweep from a file, a dictionary, or one that is already checked.

    Raises InputError with one sentence: file, field, what was got, what is allowed.
    """
    if isinstance(source, Sweep):
        return source
    if isinstance(source, Mapping):
        return _made(dict(source), "sweep", Path())
    path = Path(source)
    if not path.exists():
        known = sorted(str(p) for p in Path("runs/sweeps").glob("*.toml"))
        raise InputError(f"{path}: there is no such sweep file{nearest(str(path), known)}")
    return _made(read_toml(path, "a sweep"), str(path), path.parent)


def _made(data: dict[str, Any], where: str, folder: Path) -> Sweep:
    file = validated(SweepFile, data, where)
    base = _base(file, where, folder)
    axes, n_points = _axes(file, where)
    as_given = base.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    files = _digests(as_given, axes, base.folder)
    return Sweep(
        name=file.name,
        kind=file.kind,
        where=where,
        base=as_given,
        folder=base.folder,
        seeds=file.seeds,
        seed=file.seed,
        rounds=file.rounds,
        keep_rounds=file.keep_rounds,
        axes=axes,
        n_points=n_points,
        written=_written(file, as_given, base.folder),
        files=files,
        digest=_digest(file, as_given, axes, n_points, files),
    )


def _base(file: SweepFile, where: str, folder: Path) -> Scenario:
    if file.scenario is None:
        return scenario_from({"name": file.name} | (file.base or {}), f"{where}: base", folder)
    beside = folder / file.scenario
    return load_scenario(beside if beside.exists() else file.scenario)


def _axes(file: SweepFile, where: str) -> tuple[tuple[Axis, ...], int]:
    """The axes with the place of every point on each, and the number of points."""
    design = file.design
    lists: dict[str, tuple[Any, ...]] = {}
    ranges: dict[str, Range] = {}
    for key, value in _flat(file.axes):
        at = f"{where}: axes.{key}"
        _check_plain(value, at)
        if key in lists or key in ranges:
            raise InputError(f"{where}: {key} is set twice, by axes or settings")
        if isinstance(value, dict):
            ranges[key] = validated(Range, value, at)
        elif not isinstance(value, list) or not value:
            raise InputError(
                f"{at} = {value!r} is not a list of values, or a range as in {{from = 1, to = 2}}"
            )
        else:
            lists[key] = tuple(value)
    paths = {key: path_of(key, f"{where}: axes") for key, _ in _flat(file.axes)}
    settings = [dict(_flat(each)) for each in design.settings]
    for each in settings:
        for key, value in each.items():
            _check_plain(value, f"{where}: design.settings: {key}")
    for key in dict.fromkeys(key for each in settings for key in each):
        paths[key] = path_of(key, f"{where}: design.settings")
    names = [".".join(map(str, path)) for path in paths.values()]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{where}: {name} is set twice, by axes or settings")
    if file.rounds is not None and "rounds" in names:
        raise InputError(f"{where}: rounds is set twice, by the sweep and by an axis")
    if file.kind == "solve":
        _check_solved(names, where)
    fractions = np.zeros((1, 0))
    if design.kind in SAMPLED:
        if not ranges:
            raise InputError(f"{where}: design.kind = {design.kind!r} needs axes that are ranges")
        try:
            fractions = sampled(
                design.kind,
                len(ranges),
                design.points or 1,
                file.seed,
                order=design.order,
                levels=design.levels,
            )
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    else:
        for key, found in ranges.items():
            lists[key] = _numbers(paths[key], found, np.linspace(0.0, 1.0, found.steps))
    in_order = [key for key in paths if key in lists]
    blocks = {"settings": len(settings) or 1} | {f"axis {key}": len(lists[key]) for key in in_order}
    n_runs = math.prod(blocks.values()) * len(fractions) * file.seeds
    if n_runs > MOST_RUNS:  # before there is a place in memory for each
        raise InputError(f"{where}: {n_runs:,} runs are too many (at most {MOST_RUNS:,})")
    *places, row = crossed([*blocks.values(), len(fractions)])
    columns = dict(zip(blocks, places, strict=True))
    axes = []
    for key, path in paths.items():
        if key in lists:
            values, index = lists[key], columns[f"axis {key}"]
        elif key in ranges:
            values = _numbers(path, ranges[key], fractions[:, list(ranges).index(key)])
            index = row
        else:
            values, place = _of_settings(key, settings)
            index = place[columns["settings"]]
        axes.append(Axis(name=".".join(map(str, path)), path=path, values=values, index=index))
    return tuple(axes), len(row)


SOLVED = ("market", "users.beta", "users.value_scale", "users.segments", "seed")
"""Keys and sections that an exact solution depends on; the seed gives the order of the paper's moves."""


def _check_solved(names: Sequence[str], where: str) -> None:
    """An axis that changes nothing would look like a finding."""
    for name in names:
        if not any(name == key or name.startswith(f"{key}.") for key in SOLVED):
            raise InputError(
                f"{where}: an exact solution does not depend on {name}, but on {', '.join(SOLVED)}; each row "
                'has the optimum and the auction beside the market\'s equilibria (kind = "run" plays)'
            )


def _check_plain(value: Any, at: str) -> None:
    """TOML has dates, and a scenario has none."""
    if isinstance(value, date | time):
        raise InputError(f"{at} = {value} is a date or a time, which no key of a scenario takes")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_plain(part, at)


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with their values, `[axes.users] beta = ...` as "users.beta"; ranges are values."""
    for key, value in table.items():
        if isinstance(value, dict) and value and not set(value) & set(RANGE) and before + key in SECTIONS:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _numbers(path: Keys, span: Range, fractions: Array) -> tuple[Any, ...]:
    """The numbers of a range; whole ones where the key takes no others."""
    numbers = stretched(fractions, float(span.low), float(span.high), span.scale).tolist()
    if takes_whole_numbers(path) or (in_free_table(path) and all(number.is_integer() for number in numbers)):
        numbers = [round(number) for number in numbers]
    return tuple(numbers)


def _of_settings(key: str, settings: list[dict[str, Any]]) -> tuple[tuple[Any, ...], Array]:
    """The different values that settings give a key, and the place of each setting's."""
    values: list[Any] = []
    place = np.full(len(settings), -1)
    for number, each in enumerate(settings):
        if key in each:
            if each[key] not in values:
                values.append(each[key])
            place[number] = values.index(each[key])
    return tuple(values), place


def _written(file: SweepFile, base: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What sweep.toml says: the file with its base written out, defaults filled in, paths absolute."""
    data = file.model_dump(
        mode="json", exclude_none=True, by_alias=True, exclude={"scenario", "base", "axes"}
    )
    design = data["design"]
    if file.design.kind not in SAMPLED:
        design = {"kind": file.design.kind}
        if file.design.settings:
            design["settings"] = [dict(each) for each in file.design.settings]

    def absolute(name: str) -> str:
        return str((folder / name).resolve())

    axes = dict(_flat(file.axes))
    for key, value in axes.items():
        if isinstance(value, list) and path_of(key, "axes") in FILES:
            axes[key] = [absolute(name) if isinstance(name, str) else name for name in value]
    return data | {"design": design, "axes": axes, "base": _with_files(base, absolute)}


def _with_files(base: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The scenario with other names for the files it names."""
    data = deepcopy(base)
    for *sections, key in FILES:
        table: Any = data
        for section in sections:
            table = table.get(section) or {}
        if isinstance(table.get(key), str):
            table[key] = change(table[key])
    return data


def _digests(base: dict[str, Any], axes: Sequence[Axis], folder: Path) -> dict[str, str]:
    """Digests of the files and plug-in rules that the scenario or an axis names."""
    found: dict[str, str] = {}
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return name

    _with_files(base, note)
    names += [v for axis in axes if axis.path in FILES for v in axis.values if isinstance(v, str)]
    for name in names:
        try:
            found[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read: {error.strerror}") from None
    for reference in sorted(set(_references([base, [axis.values for axis in axes]]))):
        rule_from(reference, "rule")
        found[reference] = hashlib.sha256(code_of(reference)).hexdigest()
    return found


def _references(data: Any) -> Iterator[str]:
    """Names of rules from outside, "my_module:my_rule", anywhere in some data."""
    if isinstance(data, dict):
        for value in data.values():
            yield from _references(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _references(value)
    elif isinstance(data, str):
        module, colon, name = data.partition(":")
        if colon and name.isidentifier() and module.replace(".", "_").isidentifier():
            yield data


def _digest(
    file: SweepFile,
    base: dict[str, Any],
    axes: Sequence[Axis],
    n_points: int,
    files: Mapping[str, str],
) -> str:
    """Twelve hexadecimal digits of all that makes the rows: not where files are, but what is in them."""

    def values(axis: Axis) -> list[Any]:
        return [files[v] if axis.path in FILES and isinstance(v, str) else v for v in axis.values]

    told = {
        "kind": file.kind,
        "seeds": file.seeds,
        "seed": file.seed,
        "rounds": file.rounds,
        "keep_rounds": file.keep_rounds,
        "base": _with_files(base, files.__getitem__),
        "axes": {axis.name: values(axis) for axis in axes},
        "points": n_points,
        "rules": {name: found for name, found in files.items() if ":" in name},
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for axis in axes:
        digest.update(np.ascontiguousarray(axis.index, dtype=np.int64).tobytes())
    return digest.hexdigest()[:12]

"""Sweep files: one scenario at many settings, times seeds (docs/formats.md).

A sweep is checked when it is read: an unknown key, an axis that is no key of a scenario, a setting that no
scenario can have are refused with one sentence before anything runs.

A run is a point (one setting of all axes) and a replicate.  Its seed depends on the sweep's seed and the
replicate only, so every point meets the same users, tasks and shocks (common random numbers).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from market_sim.errors import InputError, nearest
from market_sim.experiments.designs import SAMPLED
from market_sim.experiments.plugins import code_of, rule_from
from market_sim.experiments.scenario import Scenario, load_scenario, scenario_from
from market_sim.experiments.scenario_keys import Keys, path_of, put
from market_sim.experiments.sweep_axes import Axis, axes_of, flat
from market_sim.experiments.sweep_file import SweepFile
from market_sim.experiments.toml_files import read_toml, validated

FILES = (("market", "curves"), ("users", "types"), ("users", "network", "file"))
"""Keys of a scenario that name files."""


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

    def describe_error(self, run: int, error: str) -> str:
        """What went wrong in a run, by its number, and in which."""
        point, replicate = divmod(run, self.seeds)
        return f"{self.describe(point)}, replicate {replicate}: {error}"

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
    axes, n_points = axes_of(file, where)
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
        digest=_digest(file, as_given, axes, n_points, files, base.folder),
    )


def _base(file: SweepFile, where: str, folder: Path) -> Scenario:
    if file.scenario is None:
        return scenario_from({"name": file.name} | (file.base or {}), f"{where}: base", folder)
    beside = folder / file.scenario
    return load_scenario(beside if beside.exists() else file.scenario)


def _written(file: SweepFile, base: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What sweep.toml says: the file with its base written out, defaults filled in, paths absolute."""

    def absolute(name: str) -> str:
        return _absolute(name, folder)

    data = file.model_dump(
        mode="json", exclude_none=True, by_alias=True, exclude={"scenario", "base", "axes"}
    )
    design = data["design"]
    if file.design.kind not in SAMPLED:
        design = {"kind": file.design.kind}
        if file.design.settings:
            design["settings"] = [
                {key: _with_files(value, absolute, path_of(key, "settings")) for key, value in flat(each)}
                for each in file.design.settings
            ]
    axes = {}
    for key, value in flat(file.axes):
        path = path_of(key, "axes")
        values = [_with_files(v, absolute, path) for v in value] if isinstance(value, list) else value
        axes[".".join(map(str, path))] = values
    return data | {"design": design, "axes": axes, "base": _with_files(base, absolute)}


def _with_files(value: Any, change: Callable[[str], str], path: Keys = ()) -> Any:
    """What a scenario has at a path, with other names for the files it names."""
    for file in FILES:
        if file[: len(path)] == path:
            value = _changed(value, file[len(path) :], change)
    return value


def _changed(value: Any, keys: Keys, change: Callable[[str], str]) -> Any:
    """The same with the text at these keys changed, where there is one."""
    if not keys:
        return change(value) if isinstance(value, str) else value
    if isinstance(value, dict) and keys[0] in value:
        return value | {keys[0]: _changed(value[keys[0]], keys[1:], change)}
    return value


def _absolute(name: str, folder: Path) -> str:
    return str((folder / name).resolve())


def _digests(base: dict[str, Any], axes: Sequence[Axis], folder: Path) -> dict[str, str]:
    """Digests of the files, by their absolute paths, and plug-in rules that the scenario or an axis names."""
    found: dict[str, str] = {}

    def note(name: str) -> str:
        try:
            found[_absolute(name, folder)] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read: {error.strerror}") from None
        return name

    _with_files(base, note)
    for axis in axes:
        for value in axis.values:
            _with_files(value, note, axis.path)
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
    folder: Path,
) -> str:
    """Twelve hexadecimal digits of all that makes the rows: not where files are, but what is in them."""

    def content(name: str) -> str:
        return files[_absolute(name, folder)]

    told = {
        "kind": file.kind,
        "seeds": file.seeds,
        "seed": file.seed,
        "rounds": file.rounds,
        "keep_rounds": file.keep_rounds,
        "base": _with_files(base, content),
        "axes": {a.name: [_with_files(value, content, a.path) for value in a.values] for a in axes},
        "points": n_points,
        "rules": {name: found for name, found in files.items() if not Path(name).is_absolute()},
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for axis in axes:
        digest.update(np.ascontiguousarray(axis.index, dtype=np.int64).tobytes())
    return digest.hexdigest()[:12]

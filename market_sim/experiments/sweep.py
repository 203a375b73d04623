"""Sweep files: one scenario at many settings, times seeds (docs/formats.md).

A sweep is checked when it is read: an unknown key, an axis that is no key of a scenario, a setting that no
scenario can have are refused with one sentence before anything runs.

A run is a point (one setting of all axes) and a replicate.  Its seed depends on the sweep's seed and the
replicate only, so every point meets the same users, tasks and shocks (common random numbers).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
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
        digest=_digest(file, as_given, axes, n_points, files),
    )


def _base(file: SweepFile, where: str, folder: Path) -> Scenario:
    if file.scenario is None:
        return scenario_from({"name": file.name} | (file.base or {}), f"{where}: base", folder)
    beside = folder / file.scenario
    return load_scenario(beside if beside.exists() else file.scenario)


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

    axes = dict(flat(file.axes))
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

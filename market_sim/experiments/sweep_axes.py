"""The axes of a sweep: which keys of a scenario it sets, to what, and where every point lies on each."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments.designs import SAMPLED, crossed, rows_of, sampled, stretched
from market_sim.experiments.scenario_keys import (
    SECTIONS,
    Keys,
    in_free_table,
    path_of,
    takes_whole_numbers,
)
from market_sim.experiments.sweep_file import MOST_RUNS, Range, SweepFile
from market_sim.experiments.toml_files import validated
from market_sim.theory.arrays import Array

RANGE_KEYS = {"from", "to", "steps", "scale", "step"}


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


def axes_of(file: SweepFile, where: str) -> tuple[tuple[Axis, ...], int]:
    """The axes of a sweep file with the place of every point on each, and the number of points.

    Raises InputError, beginning with `where`, for keys that no scenario has, values that no key takes, and
    sweeps that are too large.
    """
    design = file.design
    lists, ranges = _given(file, where)
    settings = [dict(flat(each)) for each in design.settings]
    paths = _paths(file, settings, where)
    if design.kind not in SAMPLED:
        for key, span in ranges.items():
            lists[key] = _numbers(paths[key], span, _grid(span))
        ranges = {}
    elif not ranges:
        raise InputError(f"{where}: design.kind = {design.kind!r} needs axes that are ranges")
    in_order = [key for key in paths if key in lists]
    blocks = {"settings": len(settings) or 1} | {f"axis {key}": len(lists[key]) for key in in_order}
    n_rows = rows_of(design.kind, len(ranges), design.points or 1, design.order) if ranges else 1
    n_runs = math.prod(blocks.values()) * n_rows * file.seeds
    if n_runs > MOST_RUNS:  # before there is a place in memory for each
        raise InputError(f"{where}: {n_runs:,} runs are too many (at most {MOST_RUNS:,})")
    fractions = _fractions(file, len(ranges), where)
    *places, row = crossed([*blocks.values(), n_rows])
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


def _given(file: SweepFile, where: str) -> tuple[dict[str, tuple[Any, ...]], dict[str, Range]]:
    """What the axes are given as, by key: lists of values, and ranges."""
    lists: dict[str, tuple[Any, ...]] = {}
    ranges: dict[str, Range] = {}
    for key, value in flat(file.axes):
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
    return lists, ranges


def _paths(file: SweepFile, settings: Sequence[Mapping[str, Any]], where: str) -> dict[str, Keys]:
    """Where every key of the axes and settings leads, each once."""
    paths = {key: path_of(key, f"{where}: axes") for key, _ in flat(file.axes)}
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
    return paths


def _fractions(file: SweepFile, dimensions: int, where: str) -> Array:
    """The rows of a sampled design over ranges; one row where there are none."""
    if not dimensions:
        return np.zeros((1, 0))
    design = file.design
    try:
        return sampled(
            design.kind,
            dimensions,
            design.points or 1,
            file.seed,
            order=design.order,
            levels=design.levels,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


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


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with their values, `[axes.users] beta = ...` as "users.beta"; ranges are values."""
    for key, value in table.items():
        if isinstance(value, dict) and value and not set(value) & RANGE_KEYS and before + key in SECTIONS:
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key, value


def _grid(span: Range) -> Array:
    """The fractions of a range that a grid has."""
    if span.step is None:
        return np.linspace(0.0, 1.0, span.steps)
    places = np.arange(span.multiples + 1) * span.step
    if span.scale == "log":
        return np.log1p(places / span.low) / np.log(span.high / span.low)
    return places / (span.high - span.low)


def _numbers(path: Keys, span: Range, fractions: Array) -> tuple[Any, ...]:
    """The numbers of a range; whole ones where the key takes no others, or all are in a free table."""
    found = stretched(fractions, float(span.low), float(span.high), span.scale)
    if span.step is not None:
        steps = np.minimum(np.rint((found - span.low) / span.step), span.multiples)
        found = span.low + span.step * steps
    numbers = found.tolist()
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

"""The table of a finished sweep, and what it says: means over replicates, and paired differences.

One row per run; rows of the same replicate met the same users, tasks and shocks, whatever their settings
(docs/formats.md), so settings are compared within replicates.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments.sweep_store import manifest_in
from market_sim.experiments.whole_means import WholeMean, whole_mean
from market_sim.theory.inference import holm, mean_difference

if TYPE_CHECKING:
    import pandas as pd

AS_IN_BASE = "as in the base"
MOST_SETTINGS = 40
SETTING = "setting"


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepTable:
    """A sweep as it stands in its folder.

    name, kind  of the sweep file; kind is "run" or "solve"
    design      what its points are: "grid", "latin_hypercube", "sobol", "morris" or "list"
    axes        the columns that were set
    ranges      lowest and highest value and scale ("linear" or "log") of axes that were given as ranges
    frame       all rows
    points, order, levels   of the design, as in its file (docs/sweeps.md); points is 0 where it has none
    settings    those of the axes that a list of settings sets, together
    """

    name: str
    kind: str
    design: str
    axes: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float, str]]
    frame: "pd.DataFrame"
    points: int = 0
    order: int = 1
    levels: int = 4
    settings: tuple[str, ...] = ()

    @cached_property
    def ok(self) -> "pd.DataFrame":
        """The rows of runs that went well."""
        return self.frame[self.frame["status"] == "ok"]

    def with_frame(self, frame: "pd.DataFrame") -> "SweepTable":
        """The same sweep with other rows or more columns."""
        return replace(self, frame=frame)

    @property
    def numeric(self) -> list[str]:
        """The axes that are numbers."""
        return [axis for axis in self.axes if self.frame[axis].dtype.kind in "iuf"]

    @property
    def named(self) -> list[str]:
        """The axes that are names, such as the regime."""
        return [axis for axis in self.axes if self.frame[axis].dtype.kind not in "iuf"]

    def measures(self, wanted: Sequence[str]) -> list[str]:
        """Those of some measures that the sweep has and that are defined somewhere."""
        return [name for name in wanted if name in self.ok.columns and self.ok[name].notna().any()]


def read_sweep(folder: Path | str) -> SweepTable:
    """The sweep of a folder.  Raises InputError where a file is missing or is not what it should be."""
    import pandas as pd

    folder = Path(folder)
    about = _toml(folder / "sweep.toml")
    path, manifest = folder / "table.parquet", manifest_in(folder) or {}
    if not path.is_file():
        rest = f"market-sim sweep {folder / 'sweep.toml'} --resume --out {folder.parent.parent}"
        raise InputError(f"{folder}: the sweep is not finished; this finishes it: {rest}")
    try:
        frame = pd.read_parquet(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:  # pyarrow's ArrowInvalid is one
        raise InputError(f"{path}: is not a table in Parquet") from None
    for column in ("point", "replicate", "status"):
        if column not in frame.columns:
            raise InputError(f"{path}: has no column {column}; it is not the table of a sweep")
    ranges = about.get("axes") or {}
    given = manifest.get("axes") or [name for name in frame.columns if name in ranges or "." in name]
    axes = [name for name in given if name in frame.columns]
    design = about.get("design")
    design = design if isinstance(design, Mapping) else {}
    return SweepTable(
        name=str(about.get("name", folder.name)),
        kind=str(about.get("kind", "run")),
        design=str(design.get("kind", "grid")),
        axes=tuple(axes),
        ranges={name: _range(value) for name, value in ranges.items() if _is_range(value)},
        frame=frame.assign(
            **{axis: _as_names(frame[axis]) for axis in axes if frame[axis].dtype.kind == "O"}
        ),
        points=int(design.get("points", 0)),
        order=int(design.get("order", 1)),
        levels=int(design.get("levels", 4)),
        settings=tuple(name for name in axes if name not in ranges) if design.get("settings") else (),
    )


def read_rounds(folder: Path | str, columns: Sequence[str]) -> "pd.DataFrame | None":
    """Some columns of the rounds of a sweep, beside point, replicate and round; None where none were kept."""
    import pandas as pd

    path = Path(folder) / "rounds.parquet"
    if not path.is_file():
        return None
    try:
        return pd.read_parquet(path, columns=["point", "replicate", "round", *columns])
    except (OSError, ValueError):
        raise InputError(f"{path}: is not the table of a sweep's rounds") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: is not TOML: {error}") from None


def _is_range(value: Any) -> bool:
    return isinstance(value, Mapping) and {"from", "to"} <= set(value)


def _range(value: Mapping[str, Any]) -> tuple[float, float, str]:
    return float(value["from"]), float(value["to"]), str(value.get("scale", "linear"))


def _as_names(column: Any) -> Any:
    """A column of what is no numbers as texts; empty cells, where a setting says nothing, get a name."""
    return column.where(column.notna(), AS_IN_BASE).astype(str)


def with_settings_together(table: SweepTable) -> SweepTable:
    """The same sweep with one axis, "setting", for all keys that its list of settings sets together.

    A setting changes several keys at once: where no two rows differ in one of them alone, the keys cannot be
    compared one by one.  Sweeps without such a list, or with too many settings to show, stay as they are.
    """
    if len(table.settings) < 2:
        return table
    rows = list(table.frame[list(table.settings)].itertuples(index=False, name=None))
    texts = {row: _setting_said(table.settings, row) for row in dict.fromkeys(rows)}
    if len(set(texts.values())) > MOST_SETTINGS:
        return table
    return replace(
        table,
        frame=table.frame.assign(**{SETTING: [texts[row] for row in rows]}),
        axes=(*(axis for axis in table.axes if axis not in table.settings), SETTING),
        settings=(SETTING,),
    )


def _setting_said(axes: Sequence[str], values: Sequence[Any]) -> str:
    """What a setting sets: "information experience, network small world, neighbours 6"."""
    known = [
        f"{axis.split('.', 1)[-1].replace('_', ' ').replace('.', ' ')} {plainly(value)}"
        for axis, value in zip(axes, values, strict=True)
        if value == value and value != AS_IN_BASE
    ]
    return ", ".join(known) or AS_IN_BASE


# --- What it says -----------------------------------------------------------------------------------


def by_point(table: SweepTable, measures: Sequence[str]) -> "pd.DataFrame":
    """One row per point: its axes, runs that went well, and mean and half-width of each measure.

    Half-widths are of 95 % intervals over replicates (Student's t), NaN where there is one.
    """
    import pandas as pd

    rows = []
    for point, runs in table.frame.groupby("point", sort=True):
        well = runs[runs["status"] == "ok"]
        row: dict[str, Any] = {"point": point, "runs": len(well)}
        row |= {axis: runs[axis].iloc[0] for axis in table.axes}
        for name in measures:
            row |= dict(zip((name, f"{name}_half_width"), _mean(well[name]), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def _mean(column: Any) -> tuple[float, float]:
    """Mean and half of a 95 % interval of what is defined of a column."""
    values = np.asarray(column, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    found = mean_difference(values)
    return found.mean, found.half_width


def over_replicates(rows: "pd.DataFrame", measure: str) -> WholeMean:
    """A measure over replicates: each counts once, with the mean over points that all of them have."""
    return whole_mean(rows["point"], rows["replicate"], rows[measure])


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One value of an axis against another, in one measure, paired over replicates.

    setting     the values of the axes that are kept apart, if any
    difference  its cells are pairs of runs
    adjusted_p  Holm's, over all contrasts that were made together
    """

    axis: str
    value: str
    against: str
    measure: str
    difference: WholeMean
    adjusted_p: float
    setting: tuple[Any, ...] = ()


def contrasts(
    table: SweepTable,
    axis: str,
    measures: Sequence[str],
    *,
    against: str | None = None,
    apart: Sequence[str] = (),
) -> list[Contrast]:
    """Every value of a named axis against one of them: pairs agree in all other axes and the replicate.

    A replicate counts once, with the mean over pairs that all replicates have; where there is one replicate,
    nothing is tested.

    against  the value that others are compared with; None: the first
    apart    axes whose values are compared each on their own, rather than averaged over
    """
    values = list(dict.fromkeys(table.frame[axis]))
    first = values[0] if against is None else against
    others = [name for name in table.axes if name != axis]
    frame = table.frame[[*table.axes, "replicate", *measures]].copy()
    frame.loc[table.frame["status"] != "ok", list(measures)] = np.nan
    found: list[WholeMean] = []
    made = []
    for setting, rows in rows_by_setting(frame, apart):
        base = rows[rows[axis] == first]
        for value in (value for value in values if value != first):
            pairs = rows[rows[axis] == value].merge(base, on=[*others, "replicate"], suffixes=("", "_base"))
            points = pairs.groupby(others, dropna=False).ngroup() if others else np.zeros(len(pairs))
            for measure in measures:
                change = pairs[measure] - pairs[f"{measure}_base"]
                if (mean := whole_mean(points, pairs["replicate"], change)).n:
                    found.append(mean)
                    made.append((setting, value, measure))
    adjusted = holm([each.p_value for each in found])
    return [
        Contrast(
            axis=axis,
            value=str(value),
            against=str(first),
            measure=measure,
            difference=difference,
            adjusted_p=float(p),
            setting=setting,
        )
        for (setting, value, measure), difference, p in zip(made, found, adjusted, strict=True)
    ]


def rows_by_setting(
    rows: "pd.DataFrame", axes: Sequence[str]
) -> "list[tuple[tuple[Any, ...], pd.DataFrame]]":
    """The rows of each combination of values of some axes; all of them where there are no axes."""
    if not axes:
        return [((), rows)]
    return [
        (tuple(AS_IN_BASE if value != value else value for value in key), part)
        for key, part in rows.groupby(list(axes), sort=False, dropna=False)
    ]


# --- What an analysis asks of a sweep ---------------------------------------------------------------


def wanted_axis(table: SweepTable, kind: str, wanted: Sequence[str], claim: str) -> str:
    """The first of some axes that a sweep has with several values.

    Raises InputError, which names them and those there are, where there is none or the sweep is of another
    kind.  `claim` begins that sentence: "speed by rule".
    """
    if table.kind == kind:
        for axis in wanted:
            if axis in table.axes and table.frame[axis].nunique(dropna=False) > 1:
                return axis
    raise InputError(
        f'{table.name}: {claim} needs a sweep of kind "{kind}" over {" or ".join(wanted)}; this one is of '
        f'kind "{table.kind}" over {", ".join(varied(table)) or "nothing"}'
    )


def varied(table: SweepTable, without: Sequence[str] = ()) -> list[str]:
    """The axes with more than one value, some left out."""
    return [
        axis for axis in table.axes if axis not in without and table.frame[axis].nunique(dropna=False) > 1
    ]


def kept_apart(table: SweepTable, without: Sequence[str]) -> tuple[str, ...]:
    """The axes that tell settings apart, some left out; none where there are too many settings to show each,
    which are averaged over then."""
    axes = varied(table, without)
    return tuple(axes) if len(table.frame[axes].drop_duplicates()) <= MOST_SETTINGS else ()


def setting_text(axes: Sequence[str], setting: Sequence[Any]) -> str:
    """Values of some axes for people: "AIME, best of n, β = 1,000"."""
    said = []
    for axis, value in zip(axes, setting, strict=True):
        text, key = plainly(value), axis.rsplit(".", 1)[-1]
        if not isinstance(value, str):
            text = f"{'β' if key == 'beta' else key.replace('_', ' ')} = {text}"
        said.append(text)
    return ", ".join(said)


def plainly(value: Any) -> str:
    """A value of an axis for people: numbers with separators, a table without its braces and first key.

    >>> plainly('{"kind": "small_world", "neighbours": 6}'), plainly("best_of_n"), plainly(1000.0)
    ('small world, neighbours 6', 'best of n', '1,000')
    """
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return f"{value:,.6g}"
    text = str(value)
    if text.startswith("{"):
        items = json.loads(text)
        head = [key for key in ("rule", "kind") if key in items][:1]
        text = ", ".join(
            [*(str(items[key]) for key in head), *(f"{k} {items[k]}" for k in items if k not in head)]
        )
    return text.replace("_", " ")

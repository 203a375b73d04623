"""The table of a finished sweep, and what it says: means over replicates, and paired differences.

One row per run; rows of the same replicate met the same users, tasks and shocks, whatever their settings
(docs/formats.md), so settings are compared within replicates.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.errors import InputError
from market_sim.theory.inference import MeanDifference, compared, mean_difference

if TYPE_CHECKING:
    import pandas as pd

AS_IN_BASE = "as in the base"
BOOKKEEPING = ("point", "replicate", "seed", "status", "error")


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepTable:
    """A sweep as it stands in its folder.

    name, kind  of the sweep file; kind is "run" or "solve"
    design      what its points are: "grid", "latin_hypercube", "sobol", "morris" or "list"
    axes        the columns that were set
    ranges      lowest and highest value and scale ("linear" or "log") of axes that were given as ranges
    frame       all rows
    """

    name: str
    kind: str
    design: str
    axes: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float, str]]
    frame: "pd.DataFrame"

    @cached_property
    def ok(self) -> "pd.DataFrame":
        """The rows of runs that went well."""
        return self.frame[self.frame["status"] == "ok"]

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
    path = folder / "table.parquet"
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
    axes = [name for name in frame.columns if name in ranges or "." in name]
    design = about.get("design") or {}
    return SweepTable(
        name=str(about.get("name", folder.name)),
        kind=str(about.get("kind", "run")),
        design=str(design.get("kind", "grid")) if isinstance(design, Mapping) else "grid",
        axes=tuple(name for name in axes if name not in BOOKKEEPING),
        ranges={name: _range(value) for name, value in ranges.items() if _is_range(value)},
        frame=frame.assign(
            **{axis: _as_names(frame[axis]) for axis in axes if frame[axis].dtype.kind == "O"}
        ),
    )


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


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One value of a named axis against another, in one measure, paired over replicates.

    adjusted_p  Holm's, over all contrasts that were made together
    """

    axis: str
    value: str
    against: str
    measure: str
    difference: MeanDifference
    adjusted_p: float


def contrasts(table: SweepTable, axis: str, measures: Sequence[str]) -> list[Contrast]:
    """Every value of a named axis against its first: pairs agree in all other axes and the replicate.

    A replicate counts once, with the mean over its pairs; where there is one replicate, nothing is tested.
    """
    values = list(dict.fromkeys(table.frame[axis]))
    others = [name for name in table.axes if name != axis]
    cases = [(value, measure) for value in values[1:] for measure in measures]
    base = table.ok[table.ok[axis] == values[0]]
    samples, made = [], []
    for value, measure in cases:
        pairs = table.ok[table.ok[axis] == value].merge(
            base, on=[*others, "replicate"], suffixes=("", "_base")
        )
        change = (pairs[measure] - pairs[f"{measure}_base"]).groupby(pairs["replicate"]).mean().dropna()
        if len(change):
            samples.append(change.to_numpy())
            made.append((value, measure))
    found, adjusted = compared(samples)
    return [
        Contrast(
            axis=axis,
            value=str(value),
            against=str(values[0]),
            measure=measure,
            difference=difference,
            adjusted_p=float(p),
        )
        for (value, measure), difference, p in zip(made, found, adjusted, strict=True)
    ]

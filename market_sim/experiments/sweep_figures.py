"""A sweep drawn: measures over the axis with most values, a line for each value of another one."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market_sim.experiments.compare import TITLES as REGIME_TITLES
from market_sim.experiments.house_style import (
    BETA_LABEL,
    INK,
    SERIES,
    SERIES_MARKERS,
    USD_LABEL,
    legend_beside,
    log_axis,
    new_figure,
    say,
    styled,
)
from market_sim.experiments.sweep_table import (
    AS_IN_BASE,
    Contrast,
    SweepTable,
    over_replicates,
    setting_text,
)
from market_sim.experiments.words import PER, TITLES

if TYPE_CHECKING:
    import pandas as pd

SAMPLED = ("latin_hypercube", "sobol", "morris")
MOST_AXES = 6
MOST_DRAWN = 1200
"""Points of a panel: a picture is a file to be sent."""
TENTHS = 10
WIDEST_LABEL = 28
"""Characters of a line of a legend."""
CROWD = 300
"""Runs from which on points are small, and the most extreme of them left out."""

UNITS = {"inefficiency": ("%", 100.0), "accuracy": ("%", 100.0), "outside_share": ("%", 100.0)}
AXIS_LABELS = {"users.beta": BETA_LABEL, "market.margin": "margin over cost"}


@styled
def sweep_figure(table: SweepTable, measures: Sequence[str]) -> Figure:
    """Up to four measures in panels; bands are 95 % intervals over replicates.

    Lines where an axis repeats its values, points where every run has its own, bars of error where no axis
    is a number.
    """
    if table.design in SAMPLED:
        return _sampled_figure(table, measures)
    x, hue = _axes(table)
    frame = table.ok
    values = [None] if hue is None else list(dict.fromkeys(frame[hue]))
    columns = 2 if len(measures) > 1 else 1
    rows = -(-len(measures) // columns)
    fig = new_figure(0.9 + 1.9 * rows)
    panels = fig.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    scattered = x is not None and frame[x].nunique() > 0.5 * frame["point"].nunique() > 10
    for ax, measure in zip(panels, measures, strict=False):
        unit, factor = UNITS.get(measure, (USD_LABEL, float(PER)))
        for place, value in enumerate(values):
            part = frame if hue is None else frame[frame[hue] == value]
            colour, marker = SERIES[place % len(SERIES)], SERIES_MARKERS[place % len(SERIES_MARKERS)]
            if x is None:
                _bars(ax, part, measure, factor, place, colour)
            elif scattered:
                ax.plot(part[x], factor * part[measure], ".", ms=3, alpha=0.5, color=colour)
            else:
                _line(ax, part, x, measure, factor, colour, marker)
        ax.set_title(TITLES.get(measure, measure.replace("_", " ")).split(" (")[0])
        ax.set_ylabel(unit)
    for ax in panels[len(measures) :]:
        ax.axis("off")
    for ax in panels[max(0, len(measures) - columns) : len(measures)]:
        ax.tick_params(labelbottom=True)
        _label_x(ax, table, x, hue, values)
    sns.despine(fig=fig)
    if hue is not None and x is not None:
        _legend(fig, hue, values)
    replicates = frame["replicate"].nunique()
    over = [axis for axis in table.axes if axis not in (x, hue) and frame[axis].nunique(dropna=False) > 1]
    over += [f"{replicates} replicates"] if replicates > 1 else []
    if scattered or not over:
        note = f"Each point is {'an exact solution' if table.kind == 'solve' else 'a run'}."
    else:
        note = f"Means over {', '.join(over[:-1]) + ' and ' if over[:-1] else ''}{over[-1]}"
        note += "; bands: 95 % intervals over replicates." if replicates > 1 else "."
    say(fig, f"{table.name}: {_finding(frame, measures[0], hue, values)}", note)
    return fig


def _legend(fig: Figure, hue: str, values: Sequence[object]) -> None:
    head = f"{AXIS_LABELS.get(hue, hue)} = "
    _series_beside(fig, [("" if isinstance(value, str) else head) + _named(value) for value in values])


def _series_beside(fig: Figure, labels: Sequence[str]) -> None:
    """A legend of series, in their order."""
    handles = [
        Line2D(
            [],
            [],
            color=SERIES[i % len(SERIES)],
            marker=SERIES_MARKERS[i % len(SERIES_MARKERS)],
            label=fill(label, WIDEST_LABEL),
        )
        for i, label in enumerate(labels)
    ]
    legend_beside(fig, handles)


def _sampled_figure(table: SweepTable, measures: Sequence[str]) -> Figure:
    """Two measures over each axis of a sampled design: points, and means of tenths of them in order; a colour
    for each value of an axis of names."""
    frame = table.ok
    few = [axis for axis in table.named if 1 < frame[axis].nunique() <= len(SERIES)]
    hue = few[0] if few else None
    values = list(dict.fromkeys(frame[hue])) if hue else [None]
    axes = [axis for axis in table.numeric if frame[axis].nunique() > 1][:MOST_AXES]
    shown = [name for name in (measures[0], "inefficiency") if name in measures]
    shown = list(dict.fromkeys(shown))
    every, crowded = max(1, len(frame) // MOST_DRAWN), len(frame) > CROWD
    fig = new_figure(1.0 + 1.9 * len(shown))
    panels = fig.subplots(len(shown), max(1, len(axes)), squeeze=False, sharey="row")
    for row, measure in zip(panels, shown, strict=True):
        unit, factor = UNITS.get(measure, (USD_LABEL, float(PER)))
        known = frame[frame[measure].notna()]
        y_all = factor * known[measure].to_numpy(dtype=float)
        for ax, axis in zip(row, axes, strict=False):
            for place, value in enumerate(values):
                part = known if hue is None else known[known[hue] == value]
                x, y = part[axis].to_numpy(dtype=float), factor * part[measure].to_numpy(dtype=float)
                points, line = (SERIES[place], SERIES[place]) if hue else (SERIES[0], SERIES[1])
                size = 2 if crowded else 6
                ax.plot(
                    x[::every], y[::every], ".", ms=size, alpha=0.35, color=points, mew=0, rasterized=True
                )
                tenths = np.array_split(np.argsort(x, kind="stable"), min(TENTHS, len(x)))
                middles = [[float(column[tenth].mean()) for tenth in tenths] for column in (x, y)]
                ax.plot(*middles, color=line, lw=1.6)
            low, high = np.quantile(y_all, [0.005, 0.995])
            if crowded and low < high:  # a measure may be the same everywhere
                ax.set_ylim(low, high)
            if table.ranges.get(axis, (0, 0, ""))[2] == "log":
                log_axis(ax.xaxis)
            ax.tick_params(axis="x", labelsize=6, rotation=30)
            if ax in panels[-1]:
                ax.set_xlabel(axis.replace(".", ".\n"), fontsize=6.5)
        name = TITLES.get(measure, measure.replace("_", " ")).split(" (")[0]
        row[0].set_ylabel(f"{name}\n({unit})")
    sns.despine(fig=fig)
    note = "Points: runs"
    note += f" (one in {every})" if every > 1 else ""
    note += ", the most extreme hundredth left out" if crowded else ""
    note += "; lines: means of tenths of them along the axis."
    if hue is not None:
        _legend(fig, hue, values)
    say(fig, f"{table.name}: {_finding(frame, measures[0], hue, values)}", note)
    return fig


def _axes(table: SweepTable) -> tuple[str | None, str | None]:
    """The axis to draw over and the one to tell by colour."""
    frame = table.ok
    counts = {axis: frame[axis].nunique() for axis in table.axes}
    numeric = sorted(
        (axis for axis in table.numeric if counts[axis] > 1), key=lambda axis: counts[axis], reverse=True
    )
    x = numeric[0] if numeric else None
    few = [axis for axis in (*table.named, *numeric[1:]) if axis != x and 1 < counts[axis] <= len(SERIES)]
    return x, few[0] if few else None


def _line(
    ax: Axes, part: "pd.DataFrame", x: str, measure: str, factor: float, colour: str, marker: str
) -> None:
    """The means of replicates along an axis, and the interval for their mean."""
    places, middle, width = [], [], []
    for place, here in part.groupby(x):
        found = over_replicates(here, measure)
        places.append(place)
        middle.append(factor * found.mean)
        width.append(0.0 if found.n < 2 else factor * found.half_width)
    centre, spread = np.array(middle), np.array(width)
    ax.fill_between(places, centre - spread, centre + spread, color=colour, alpha=0.2, lw=0)
    ax.plot(places, centre, color=colour, marker=marker if len(places) <= 30 else None)


def _bars(ax: Axes, part: "pd.DataFrame", measure: str, factor: float, place: int, colour: str) -> None:
    found = over_replicates(part, measure)
    if found.n:
        spread = 0.0 if found.n < 2 else factor * found.half_width
        ax.errorbar([place], [factor * found.mean], yerr=[spread], fmt="o", color=colour, capsize=3)


def _label_x(ax: Axes, table: SweepTable, x: str | None, hue: str | None, values: Sequence[object]) -> None:
    if x is None:
        ax.set_xticks(range(len(values)), [_named(value) for value in values], rotation=20, ha="right")
        ax.set_xlabel(hue or "")
        ax.margins(x=0.2)
        return
    low, high = float(table.ok[x].min()), float(table.ok[x].max())
    if low > 0 and high / low > 20:
        log_axis(ax.xaxis)
    ax.set_xlabel(AXIS_LABELS.get(x, x))


def _finding(frame: "pd.DataFrame", measure: str, hue: str | None, values: Sequence[object]) -> str:
    """Where the first measure is highest."""
    name = TITLES.get(measure, measure.replace("_", " "))
    text = f"{name} from {PER * frame[measure].min():.2f} to {PER * frame[measure].max():.2f} {USD_LABEL}"
    if hue is None or len(values) < 2:
        return text
    means = {value: float(frame[frame[hue] == value][measure].mean()) for value in values}
    best = max(means, key=lambda value: means[value])
    name = _named(best) if isinstance(best, str) else f"{hue} = {_named(best)}"
    if best == AS_IN_BASE:
        name = f"{hue} {AS_IN_BASE}"
    return f"{text}, on average most with {name} ({PER * means[best]:.2f})"


def _named(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return REGIME_TITLES.get(text, text.replace("_", " "))


# --- Changes ----------------------------------------------------------------------------------------


@styled
def changes_figure(
    found: Sequence[Contrast], axes: Sequence[str], panels: Mapping[str, tuple[str, float, str]]
) -> Figure:
    """Contrasts with their 95 % intervals: a panel per measure, a row per setting, a colour per value.

    axes    that tell settings apart
    panels  by measure: title, factor that it is shown times, unit
    """
    settings = list(dict.fromkeys(one.setting for one in found))
    values = list(dict.fromkeys(one.value for one in found))
    fig = new_figure(1.5 + max(0.3, 0.12 * len(values) + 0.06) * len(settings))
    panel_axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (measure, (title, factor, unit)) in zip(panel_axes, panels.items(), strict=True):
        for one in (one for one in found if one.measure == measure):
            place = values.index(one.value)
            ax.errorbar(
                factor * one.difference.mean,
                settings.index(one.setting) + 0.7 * ((place + 0.5) / len(values) - 0.5),
                xerr=factor * float(np.nan_to_num(one.difference.half_width)),
                color=SERIES[place % len(SERIES)],
                marker=SERIES_MARKERS[place % len(SERIES_MARKERS)],
                ms=4,
                capsize=2,
            )
        ax.axvline(0, color=INK, lw=0.8, zorder=1)
        ax.set_title(title, fontsize=8)
        ax.set_xlabel(unit)
        ax.margins(x=0.12)
        if len(panels) > 2:  # narrow
            ax.locator_params(axis="x", nbins=3, steps=[1, 2, 5, 10])
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
    panel_axes[0].set_yticks(range(len(settings)), [setting_text(axes, setting) for setting in settings])
    panel_axes[0].set_ylim(len(settings) - 0.5, -0.5)
    sns.despine(fig=fig, left=True)
    _series_beside(fig, [_named(value) for value in values])
    return fig

"""The part of a report that is about a sweep: figures over its axes, contrasts, the table, failures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments.claims.sensitivity import (
    ABOUT_INEFFICIENCY,
    MOST_PAIRS,
    Indices,
    sensitivity_of_sweep,
    wanted_of,
)
from market_sim.experiments.house_style import SERIES
from market_sim.experiments.html import Cell, Picture, Section, Table, Words
from market_sim.experiments.saved_figures import svg_bytes
from market_sim.experiments.sweep_figures import sweep_figure
from market_sim.experiments.sweep_table import (
    AS_IN_BASE,
    SETTING,
    SweepTable,
    by_point,
    contrasts,
    read_sweep,
    with_settings_together,
)
from market_sim.experiments.whole_means import left_out_note
from market_sim.experiments.words import PER, SHARES, TITLES, usd_text

MEASURES = {
    "run": (
        "expected_welfare_usd",
        "expected_user_value_usd",
        "expected_price_usd",
        "inefficiency",
        "accuracy",
        "tokens_per_query",
    ),
    "solve": (
        "welfare",
        "user_value",
        "price",
        "inefficiency",
        "price_of_anarchy",
        "price_of_stability",
        "equilibria",
        "auction_welfare",
        "auction_user_value",
    ),
}
"""What is shown of each kind of sweep; every column is in table.parquet."""

DRAWN = {
    "run": ("expected_welfare_usd", "expected_user_value_usd", "expected_price_usd", "inefficiency"),
    "solve": ("welfare", "user_value", "price", "inefficiency"),
}

MOST_POINTS = 500
"""Rows of the table of points."""
MOST_DESIGNED = 50
"""The same where points are a design for indices, which say more than any of its points."""

RATIOS = ("price_of_anarchy", "price_of_stability", "paper_price_of_anarchy")
COUNTS = ("equilibria", "tokens_per_query", "hhi", "settled_round")


def sweep_sections(folder: Path) -> tuple[str, str, list[Section]]:
    """Title, lead and sections."""
    table = read_sweep(folder)
    measures = table.measures(MEASURES.get(table.kind, MEASURES["run"]))
    counts = table.frame["status"].value_counts()
    went = ", ".join(
        f"{counts[status]:,} {status}" for status in ("ok", "failed", "timed out") if status in counts
    )
    points, replicates = table.frame["point"].nunique(), table.frame["replicate"].nunique()
    lead = (
        f"{len(table.frame):,} {'exact solutions' if table.kind == 'solve' else 'runs'} ({went}): "
        f"{points:,} points of a {table.design.replace('_', ' ')} design, {replicates:,} "
        f"replicate{'s' if replicates > 1 else ''}. Axes: {', '.join(table.axes) or 'none'}. Money is in USD "
        f"per {PER:,} queries."
    )
    parts: list[Any] = []
    if len(table.ok) and measures:
        one = with_settings_together(table)
        few = SETTING in one.axes and one.frame[SETTING].nunique() <= len(SERIES)
        drawn = table.measures(DRAWN.get(table.kind, DRAWN["run"]))
        figure = sweep_figure(one if few else table, drawn)
        says = (figure.get_suptitle() or table.name).replace("\n", " ")
        parts.append(Picture(svg=svg_bytes(figure, {"sweep": table.name}), says=says))
        compared = [_contrasts(one, axis, measures) for axis in one.named if one.frame[axis].nunique() > 1]
        for found, note in compared:
            parts += [found] if found.rows else []
            parts += [Words(points=note)] if note else []
    else:
        parts.append(Words(points=["No run of this sweep went well; the errors are below."]))
    sections = [Section(title="What it found", parts=parts)]
    wanted = wanted_of(table) if table.design in ("sobol", "morris") else []
    if wanted:
        sections.append(Section(title="What it depends on", parts=_indices(table, wanted)))
    if len(table.ok) and measures:
        sections.append(Section(title="Every point", parts=[_points(table, measures)]))
    if len(table.ok) < len(table.frame):
        sections.append(Section(title="Runs that did not go well", parts=[_failures(table)]))
    return f"{table.name}: a sweep", lead, sections


def _contrasts(table: SweepTable, axis: str, measures: list[str]) -> tuple[Table, list[str]]:
    """Every value of an axis against the first, and what was left out, if anything."""
    rows, made = [], contrasts(table, axis, measures)
    for one in made:
        found = one.difference
        known = found.n > 1
        rows.append(
            [
                Cell(text=f"{title(one.measure)}, {one.value}"),
                Cell(text=_change(one.measure, found.mean, "+"), number=found.mean),
                Cell(
                    text=_change(one.measure, found.half_width) if known else "",
                    number=found.half_width if known else None,
                ),
                Cell(text=p_text(one.adjusted_p), number=one.adjusted_p if known else None),
                Cell(text=str(found.n), number=float(found.n)),
            ]
        )
    first = next(iter(dict.fromkeys(table.frame[axis])))
    shown_table = Table(
        caption=f"{axis}: change against {first}, paired over replicates and all other axes; half of a 95 % "
        "interval and p-values (paired t-test, corrected by Holm over this table)",
        headers=("measure", "change", "±", "p", "replicates"),
        rows=rows,
    )
    return shown_table, left_out_note(one.difference for one in made)


def _indices(table: SweepTable, measures: Sequence[str]) -> list[Table | Words]:
    """Indices of a Sobol or Morris design, a table per setting; sentences about measures that have none."""
    found: list[Indices] = []
    missing: list[str] = []
    for output in measures:
        try:
            found += sensitivity_of_sweep(table, [output])
        except InputError as error:
            missing.append(str(error))
    parts: list[Table | Words] = [Words(points=[said]) for said in dict.fromkeys(missing)]
    for about in dict.fromkeys(one.about for one in found):
        own = [one for one in found if one.about == about]
        parts.append(_sobol(own) if table.design == "sobol" else _morris(own))
        if rows := [_pair_row(one, pair) for one in own for pair in one.pairs(MOST_PAIRS)]:
            parts.append(
                Table(
                    caption=f"{about}: Sobol indices of second order, what two axes explain together beyond "
                    f"what each does alone; the {MOST_PAIRS} largest of each measure",
                    headers=("measure, axes", "second order", "±"),
                    rows=rows,
                )
            )
    if table.kind == "solve" and found:
        parts.append(Words(points=[f"Inefficiency is {ABOUT_INEFFICIENCY} here."]))
    return parts


def _sobol(found: Sequence[Indices]) -> Table:
    return Table(
        caption=f"{found[0].about}: Sobol indices, shares of the variance over the design that an axis "
        "explains alone (first order) and with all it takes part in (total), with half of their 95 % "
        "intervals",
        headers=("measure, axis", "first order", "±", "total", "±"),
        rows=[
            [
                Cell(text=f"{title(one.output)}, {factor}"),
                *(
                    Cell(text=f"{round(float(values[place]), 2) + 0.0:.2f}", number=float(values[place]))
                    for values in (one.first, one.first_half_width, one.total, one.total_half_width)
                ),
            ]
            for one in found
            for place, factor in enumerate(one.factors)
        ],
    )


def _morris(found: Sequence[Indices]) -> Table:
    return Table(
        caption=f"{found[0].about}: Morris effects, how much a measure moves per whole range of an axis: "
        "mean size (mu*) with half of its 95 % interval, and spread (sigma)",
        headers=("measure, axis", "mean size", "±", "spread"),
        rows=[
            [
                Cell(text=f"{title(one.output)}, {factor}"),
                *(
                    Cell(text=_change(one.output, float(values[place])), number=float(values[place]))
                    for values in (one.mu_star, one.mu_star_half_width, one.sigma)
                ),
            ]
            for one in found
            for place, factor in enumerate(one.factors)
        ],
    )


def _pair_row(one: Indices, pair: tuple[str, str, float, float]) -> list[Cell]:
    first, second, index, width = pair
    return [
        Cell(text=f"{title(one.output)}, {first} with {second}"),
        Cell(text=f"{round(index, 2) + 0.0:.2f}", number=index),
        Cell(text=f"{width:.2f}", number=width),
    ]


def _points(table: SweepTable, measures: list[str]) -> Table:
    points = np.sort(table.frame["point"].unique())
    most = MOST_DESIGNED if table.design in ("sobol", "morris") else MOST_POINTS
    shown_rows = table.frame[table.frame["point"].isin(points[:most])]
    rows = []
    for row in by_point(table.with_frame(shown_rows), measures).to_dict("records"):
        cells = [Cell(text=f"{row['point']:,}", number=float(row["point"]))]
        cells += [_axis_cell(row[axis]) for axis in table.axes]
        for name in measures:
            mean, width = row[name], row[f"{name}_half_width"]
            text = shown(name, mean) + (
                f" \N{PLUS-MINUS SIGN} {shown(name, width)}" if width == width else ""
            )
            cells.append(Cell(text=text, number=mean if np.isfinite(mean) else None))
        cells.append(Cell(text=f"{row['runs']:,}", number=float(row["runs"])))
        rows.append(cells)
    several = table.frame["replicate"].nunique() > 1
    caption = "Means over replicates with half of a 95 % interval" if several else "One run each"
    if len(points) > most:
        caption += f"; the first {most:,} of {len(points):,} points, all are in table.parquet"
    return Table(
        caption=caption,
        headers=("point", *table.axes, *map(title, measures), "runs"),
        rows=rows,
    )


def _failures(table: SweepTable) -> Table:
    bad = table.frame[table.frame["status"] != "ok"]
    rows = [
        [
            Cell(text=f"{row['point']:,}", number=float(row["point"])),
            Cell(text=f"{row['replicate']:,}", number=float(row["replicate"])),
            *(_axis_cell(row[axis]) for axis in table.axes),
            Cell(text=str(row["status"])),
            Cell(text=row["error"] if isinstance(row.get("error"), str) else ""),
        ]
        for row in bad.head(MOST_POINTS).to_dict("records")
    ]
    more = f"; the first {MOST_POINTS:,} of {len(bad):,}" if len(bad) > MOST_POINTS else ""
    return Table(
        caption=f"Their rows hold the error and no measures{more}",
        headers=("point", "replicate", *table.axes, "status", "error"),
        rows=rows,
    )


# --- Measures in words ------------------------------------------------------------------------------


def title(measure: str) -> str:
    """How a column of a sweep is called."""
    return TITLES.get(measure, measure.removesuffix("_usd").replace("_", " ")).split(" (")[0]


def shown(measure: str, value: float) -> str:
    """A value of a column of a sweep as text, USD per 1,000 queries where it is money."""
    if not np.isfinite(value):
        return "undefined"
    if measure in SHARES:
        return f"{round(value, 6) + 0.0:.1%}"
    if measure in RATIOS:
        return f"{value:.4f}"
    if measure in COUNTS:
        return f"{value:,.0f}" if value == round(value) or value > 100 else f"{value:,.1f}"
    return usd_text(value)


def _change(measure: str, value: float, sign: str = "") -> str:
    """A difference of a column of a sweep; of what is shown in percent, in points of it."""
    if measure in SHARES and np.isfinite(value):
        text = f"{round(100 * value, 4) + 0.0:.1f} points"
    else:
        text = shown(measure, value)
    return f"{sign}{text}" if value > 0 and text != "undefined" else text


def p_text(p: float) -> str:
    """A p-value as text."""
    return "" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"


def holm_text(p: float, tests: int) -> str:
    """A p-value that was corrected for so many tests, in a sentence."""
    return f"p {p_text(p)} (Holm, {tests} tests)"


def _axis_cell(value: Any) -> Cell:
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        known = bool(np.isfinite(value))
        return Cell(text=f"{value:.6g}" if known else AS_IN_BASE, number=float(value) if known else None)
    return Cell(text=str(value))

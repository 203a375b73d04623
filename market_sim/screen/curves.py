"""Evaluations that were read, and curves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from market_sim.errors import few
from market_sim.screen.terminal import add_row, new_console, new_table, say

if TYPE_CHECKING:
    from market_sim.economy.evaluations import Trouble
    from market_sim.experiments.built_curves import BuiltCurves
    from market_sim.experiments.check_curves import CheckedFile


MOST_TROUBLES = 12
"""Troubles that a screen shows; the provenance file has them all."""


def show_built_curves(built: "BuiltCurves") -> None:
    console = new_console()
    console.print(
        f"\n[bold]{escape(built.benchmark)}[/bold]: {built.n_questions:,} questions, "
        f"{len(built.curves[0].accuracy_draws):,} resamplings of them"
    )
    _show_curve_rows(console, built.rows())
    notes = [(c.method, note, c.model) for c in built.curves for note in c.said]
    for (method, note), models in _gathered(notes):
        say(f"{method}: {note} ({few(models)}).")
    counts = [(c.method, what, n) for c in built.curves for what, n in c.counted.items()]
    for (method, what), numbers in _gathered(counts):
        say(f"{method}: {what}: {sum(numbers):,}.")
    for (method, reason), models in _gathered((method, why, model) for model, method, why in built.left_out):
        say(f"{method}: no curve of {few(models)}; {reason}.")
    for remark in built.remarks:
        say(remark)
    for path in built.ignored:
        say(f"{path}: is no raw evaluation of the format wanted, and was not read.")
    _show_troubles(console, built.troubles)
    for file, number, what in built.counts:
        say(f"{file}: {number:,} {'line' if number == 1 else 'lines'} {what}.")
    if built.troubles:
        say("The provenance file has all that was wrong.")


def show_checked_files(files: Sequence["CheckedFile"]) -> None:
    console = new_console()
    for file in files:
        console.print(f"\n[bold]{escape(file.path)}[/bold]: {escape(file.kind)}", soft_wrap=True)
        for fact in file.facts:
            say(f"  {fact}")
        _show_troubles(console, file.troubles)
        if not file.troubles:
            say("  nothing is wrong")


def show_curves(rows: Sequence[Mapping[str, Any]]) -> None:
    _show_curve_rows(new_console(), rows)


def _gathered[T](triples: Iterable[tuple[str, str, T]]) -> list[tuple[tuple[str, str], list[T]]]:
    """The third entries by the first two, in the order of their first appearance."""
    by: dict[tuple[str, str], list[T]] = {}
    for first, second, third in triples:
        by.setdefault((first, second), []).append(third)
    return list(by.items())


def _show_curve_rows(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Two tables per benchmark and method: a row per model, a column per level."""
    for (benchmark, method), some in _gathered((row["benchmark"], row["method"], row) for row in rows):
        levels = sorted({row["compute_level"] for row in some})
        console.print(f"\n[bold]{escape(benchmark)}, {method}[/bold], by compute level")
        for title, of in (("accuracy, %", _accuracy), ("tokens per query", _tokens)):
            table = new_table(title, *(f"{level:g}" for level in levels))
            table.columns[0].overflow, table.columns[0].min_width = "fold", 12
            for column in table.columns[1:]:
                column.no_wrap = True
            for model in dict.fromkeys(row["model"] for row in some):
                own = {row["compute_level"]: of(row) for row in some if row["model"] == model}
                add_row(table, model, *(own.get(level, "") for level in levels))
            console.print(table)
    if any(row["accuracy_low"] is not None for row in rows):
        say(
            "Below each accuracy its 95 % interval over resampled questions, below tokens half of theirs.",
        )


def _accuracy(row: Mapping[str, Any]) -> str:
    text = f"{100 * row['accuracy']:.1f}"
    if row["accuracy_low"] is None or row["accuracy_high"] is None:
        return text
    return f"{text}\n{100 * row['accuracy_low']:.1f}-{100 * row['accuracy_high']:.1f}"


def _tokens(row: Mapping[str, Any]) -> str:
    text = f"{row['tokens_per_query']:,.0f}"
    if row["tokens_low"] is None or row["tokens_high"] is None:
        return text
    return f"{text}\n±{(row['tokens_high'] - row['tokens_low']) / 2:,.0f}"


def _show_troubles(console: Console, troubles: Sequence["Trouble"]) -> None:
    for trouble in troubles[:MOST_TROUBLES]:
        say(str(trouble))
    if len(troubles) > MOST_TROUBLES:
        say(f"... and {len(troubles) - MOST_TROUBLES:,} more")

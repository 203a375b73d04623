"""How far a sweep is, and what it would be."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from market_sim.screen.terminal import new_console, say

if TYPE_CHECKING:
    from market_sim.experiments.runner import Outlook, SweepStatus, Watch


@contextmanager
def progress(title: str, *, quiet: bool) -> Iterator["Watch | None"]:
    """A progress bar on standard error for runs: done, failed, rate, time left; none where nobody watches."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task(Path(title).stem, total=None, note="checking the settings")
        clock, first = time.monotonic(), -1

        def watch(done: int, failed: int, total: int) -> None:
            nonlocal first
            first = done if first < 0 else first
            rate = (done - first) / max(time.monotonic() - clock, 1e-9)
            note = f"{done:,} of {total:,} runs" + (f", {failed:,} failed" if failed else "")
            if done > first:
                note += f", {_rate(rate)}, {_time((total - done) / rate)} left"
            bar.update(task, completed=done, total=total, note=note)

        yield watch


def _rate(per_second: float) -> str:
    """Runs in the largest unit of time that does not make them hundreds."""
    if per_second >= 1:
        return f"{per_second:,.0f}/s"
    if per_second * 60 >= 1:
        return f"{per_second * 60:,.0f}/min"
    return f"{per_second * 3600:,.1f}/h"


def _time(seconds: float) -> str:
    """A time in its two largest units, "2 h 5 min"."""
    whole = round(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {name}"
    return f"{whole} s"


def _each(seconds: float) -> str:
    return f"{1000 * seconds:,.3g} ms" if seconds < 0.9995 else f"{seconds:,.1f} s"


def _some(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def show_outlook(outlook: "Outlook") -> None:
    """What a sweep would be."""
    points, seeds = _some(outlook.points, "point"), _some(outlook.replicates, "seed")
    new_console().print(
        f"[bold]{outlook.name}[/bold], kind {outlook.kind}: {points} x {seeds} = "
        f"{_some(outlook.runs, 'run')}, about {_time(outlook.seconds)} with "
        f"{_some(outlook.workers, 'worker')} ({_each(outlook.seconds_per_run)} each)",
        soft_wrap=True,
    )
    if outlook.first_error is not None:
        say(
            f"{outlook.failed:,} of {outlook.tried:,} runs that were tried fail, first {outlook.first_error}",
        )
    new_console().print(f"Folder: {outlook.folder}", soft_wrap=True, markup=False)


def show_status(found: "SweepStatus") -> None:
    """How far a sweep is."""
    state = "complete" if found.complete else "at work" if found.at_work else "stopped"
    if not found.begun:
        state = "not begun"
    bad = [
        f"{number:,} {name}"
        for name, number in (("failed", found.failed), ("timed out", found.timed_out))
        if number
    ]
    new_console().print(
        f"[bold]{found.name}[/bold], {state}: {found.done:,} of {found.runs:,} runs done"
        + (f", of which {' and '.join(bad)}" if bad else "")
        + (" (--resume goes on)" if state == "stopped" else ""),
        soft_wrap=True,
    )
    if state == "not begun":
        return
    if found.first_error is not None:
        say(f"First error: {found.first_error}")
    rows = "table.parquet" if found.complete else "batches"
    new_console().print(f"Rows: {found.folder / rows}", soft_wrap=True, markup=False)

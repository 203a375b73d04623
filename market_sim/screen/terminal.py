"""What all that is shown is made of: sentences, tables, lists, progress bars.

Results go to standard output; what only tells that work goes on goes to standard error, where somebody
watches.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rich.table import Table

    from market_sim.experiments.run import Progress


def say(sentence: str) -> None:
    """A line for a person."""
    new_console().print(sentence, soft_wrap=True, markup=False)


def show_files(files: Sequence[Path]) -> None:
    console = new_console()
    console.print(f"\nWritten to {files[0].parent}:", soft_wrap=True, markup=False)
    console.print("  " + ", ".join(path.name for path in files))


def show_list(rows: list[dict[str, Any]]) -> None:
    """Plain dictionaries with the same keys: a table, or a block for each where they are long."""
    if rows and len(rows[0]) > WIDEST:
        _show_blocks(rows)
        return
    table = new_table(*rows[0]) if rows else new_table("none")
    for column, value in zip(table.columns, rows[0].values() if rows else (), strict=False):
        column.justify = "left" if isinstance(value, str) else "right"
        column.overflow = "fold"
    for row in rows:
        add_row(table, *("" if value is None else str(value) for value in row.values()))
    new_console().print(table)


WIDEST = 4
"""Columns of text that fit next to each other."""


def _show_blocks(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    for row in rows:
        (_, title), *rest = row.items()
        block = Table.grid(padding=(0, 2))
        for key, value in rest:
            if value:
                block.add_row("", f"[dim]{escape(key)}[/dim]", escape(str(value)))
        new_console().print(f"[bold]{escape(title)}[/bold]")
        new_console().print(block)


def new_console() -> Console:
    return Console(highlight=False)


def add_row(table: "Table", *cells: str, end_section: bool = False) -> None:
    """A row of texts as they are: square brackets in a model's name are no markup."""
    table.add_row(*map(escape, cells), end_section=end_section)


def new_table(*headers: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, justify="left" if number == 0 else "right")
    return table


@contextmanager
def reading(*, quiet: bool) -> Iterator["Progress | None"]:
    """A progress bar of bytes read, on standard error; none where nobody watches."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def progress(title: str, *, quiet: bool, of: str = "rounds") -> Iterator["Progress | None"]:
    """A progress bar on standard error, gone when done; none where nobody watches."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(of),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(Path(title).stem, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def status(*, quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """A line on standard error that says what is being done; none where nobody watches."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    with console.status("reading the paper's tables") as status:
        yield status.update

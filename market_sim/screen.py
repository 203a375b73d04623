"""What the command line shows a person: tables, sentences, progress bars.  No science here either."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from market_sim.errors import few
from market_sim.experiments.words import PER, convergence_rows, level_text, measure_text, usd_text

if TYPE_CHECKING:
    from rich.table import Table

    from market_sim.economy.evaluations import Trouble
    from market_sim.economy.solve import Solution
    from market_sim.economy.uncertainty import UncertainSolution, UncertainSolutions
    from market_sim.experiments.built_curves import BuiltCurves
    from market_sim.experiments.check_curves import CheckedFile
    from market_sim.experiments.compare import Comparison
    from market_sim.experiments.paper import Reproduction
    from market_sim.experiments.reached import Reached
    from market_sim.experiments.report import Report
    from market_sim.experiments.run import Progress, Run
    from market_sim.experiments.runner import Outlook, SweepStatus, Watch


def show_solution(solution: "Solution") -> None:
    console = _console()
    console.print(
        f"\n[bold]{escape(solution.benchmark)}, {solution.method}[/bold], beta = {solution.beta:g} per USD "
        f"(money in USD per {PER:,} queries)"
    )
    end = solution.paper_dynamics
    names, profiles = [], list(solution.equilibria)
    for number, profile in enumerate(profiles, 1):
        names.append(f"equilibrium {number}" + ("*" if profile.levels == end.levels else ""))
    if end.levels not in [profile.levels for profile in profiles]:
        names.append("paper's end")
        profiles.append(end)
    table, auction = _table("", *names, "optimum", "auction"), solution.auction
    for key in ("welfare", "user_value", "price", "provider_profit"):
        best = usd_text(solution.optimum["welfare"]) if key == "welfare" else ""
        cells = [usd_text(getattr(profile, key)) for profile in (*profiles, auction)]
        title, last = key.replace("_", " "), key == "provider_profit"
        _add_row(table, title, *cells[:-1], best, cells[-1], end_section=last)
    for provider in solution.providers:
        _add_row(
            table,
            provider,
            *(f"{p.levels[provider]:g} {p.shares[provider]:6.1%}" for p in profiles),
            f"{solution.optimum['levels'][provider]:g}",
            f"{auction.level:g} (wins)" if provider == auction.winner else "",
        )
    console.print(table)
    console.print(
        "* where the paper's dynamics end. Providers' rows: compute level, market share.\n"
        f"Price of anarchy {_ratio(solution.price_of_anarchy)} (worst equilibrium), "
        f"{_ratio(solution.paper_price_of_anarchy)} (paper); "
        f"of stability {_ratio(solution.price_of_stability)}.\n"
        f"Of the first best {usd_text(auction.welfare)}, users' noise loses "
        f"{usd_text(solution.noise_gap)} and providers' choices lose {usd_text(solution.strategic_gap)}."
    )


def show_uncertainty(found: "UncertainSolution") -> None:
    """A market solved for every draw: intervals, who wins how often, verdicts."""
    from market_sim.experiments.uncertainty_rows import interval_rows, winner_rows

    console, data = _console(), found.to_dict()
    console.print(f"\n[bold]How sure[/bold]: {found.draws.count:,} draws. {escape(found.draws.assumption)}")
    table = _table(f"USD per {PER:,} queries", "as measured", f"{100 * found.confidence:g} % interval")
    rows = interval_rows(data)
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        ended = after is None or after.group != row.group
        _add_row(table, row.title, row.measured, row.interval, end_section=ended)
    console.print(table)
    winners = _table("the auction", "wins", "second best")
    for cells in winner_rows(data):
        _add_row(winners, *cells)
    console.print(winners)
    for sentence in found.sentences:
        console.print(sentence, soft_wrap=True, markup=False)


def show_uncertainty_of_play(found: "UncertainSolutions") -> None:
    """What the draws say beside a comparison, which was played with the curves as measured."""
    from market_sim.experiments.uncertainty_rows import OF_PLAY

    _console().print(f"\n{OF_PLAY}")
    for each in found:
        _console().print(
            f"\n[bold]{escape(each.solution.benchmark)}, {each.solution.method}[/bold], "
            f"beta = {each.solution.beta:g} per USD"
        )
        show_uncertainty(each)


def show_run(result: "Run") -> None:
    console, summary = _console(), result.summary()
    again = " (read from the earlier run; --force plays it again)" if result.reused else ""
    switched = result.regime_at_first != result.regime
    before = f" (under {result.regime_at_first} at first)" if switched else ""
    console.print(
        f"\n[bold]{result.name}[/bold] under {result.regime}{before}, seed {result.seed}: rounds "
        f"{summary['averaged_from_round']} to {summary['rounds']} on average{again}"
    )
    table = _table("per 1,000 queries", "")
    for name, value in summary["means"].items():
        _add_row(table, *measure_text(name, value))
    console.print(table)
    providers = _table("provider", "compute level", "share")
    for name, row in summary["providers"].items():
        _add_row(providers, name, level_text(row["compute_level"]), f"{row['share']:.1%}")
    console.print(providers)
    console.print(_convergence(result.reached))
    if result.folder is not None:
        console.print(f"Rows: {result.folder}", soft_wrap=True, markup=False)


def _convergence(reached: "Reached") -> "Table":
    """Where play ended up, line by line."""
    table = _table("where play ended up", "per 1,000 queries")
    table.columns[1].justify = "left"
    for title, text in convergence_rows(reached):
        _add_row(table, title, text)
    return table


def show_comparison(result: "Comparison") -> None:
    console = _console()
    first, last = (result.runs[0].rounds["round"][k] for k in (result.runs[0].late().start, -1))
    console.print(
        f"\n[bold]{result.name}[/bold], seed {result.seed}: the same users and shocks under each regime, "
        f"rounds {first} to {last} on average"
    )
    table = _table("USD per 1,000 queries", *(m.regime for m in result.measures))
    rows = result.to_dict()["regimes"]
    for name in (
        "welfare_usd",
        "expected_welfare_usd",
        "user_value_usd",
        "expected_user_value_usd",
        "provider_profit_usd",
        "expected_provider_profit_usd",
        "log_sum_surplus_usd",
        "price_usd",
        "expected_price_usd",
        "first_best_gap_usd",
        "inefficiency",
        "accuracy",
        "tokens_per_query",
        "outside_share",
    ):
        cells = [measure_text(name, row[name]) for row in rows]
        _add_row(table, cells[0][0], *(cell[1] for cell in cells), end_section=name == "outside_share")
    for provider in result.measures[0].shares:
        _add_row(table, f"share of {provider}", *(f"{m.shares[provider]:.1%}" for m in result.measures))
    console.print(table)
    for sentence in result.sentences:
        console.print(sentence, soft_wrap=True, markup=False)


def show_reproduction(result: "Reproduction") -> None:
    console = _console()
    for setting in result.settings():
        console.print(f"\n[bold]{setting.benchmark}, {setting.method}[/bold] (USD per {PER:,} queries)")
        table = _table("quantity", "beta", "printed", "ours", "difference", "verdict")
        for row in result.rows:
            if (row.benchmark, row.method) != (setting.benchmark, setting.method):
                continue
            _add_row(
                table,
                QUANTITIES[row.quantity],
                "auction" if row.beta is None else f"{row.beta:g}",
                *(_published(value) for value in (row.printed, row.ours)),
                "" if row.difference is None else f"{PER * row.difference:+.4f}",
                row.verdict.split(":")[0],
            )
        console.print(table)
    for row in result.rows:
        if not row.agrees:
            console.print(
                f"{row.benchmark}, {row.method}, beta = {row.beta:g}, {row.quantity}: {row.verdict}"
                if row.beta is not None
                else f"{row.benchmark}, {row.method}, {row.quantity}: {row.verdict}"
            )
    console.print(
        f"\n[bold]{result.agreeing} of {result.total} published numbers agree within 1.1e-5 USD per query, "
        f"and {result.names_agreeing} of {result.names_total} winners and runners-up.[/bold]"
    )


QUANTITIES = {
    "mean_user_value_weighted": "user value, by share",
    "mean_user_value": "user value, plain mean",
    "mean_price_weighted": "price, by share",
    "mean_price": "price, plain mean",
    "mean_provider_utility_weighted": "profit, by share",
    "mean_provider_utility": "profit, plain mean",
    "optimal_welfare": "optimal welfare",
    "equilibrium_welfare": "equilibrium welfare",
    "winner": "winner",
    "runner_up": "runner-up",
    "user_value": "user value",
    "price": "price",
    "provider_utility": "profit",
    "welfare": "welfare",
}


def _published(value: float | str | None) -> str:
    return f"{PER * value:.3f}" if isinstance(value, int | float) else str(value)


def say(sentence: str) -> None:
    """A line for a person."""
    _console().print(sentence, soft_wrap=True, markup=False)


def show_files(files: Sequence[Path]) -> None:
    console = _console()
    console.print(f"\nWritten to {files[0].parent}:", soft_wrap=True, markup=False)
    console.print("  " + ", ".join(path.name for path in files))


def _ratio(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def show_report(report: "Report") -> None:
    _console().print(f"Report: {report.path}", soft_wrap=True, markup=False)


def show_list(rows: list[dict[str, Any]]) -> None:
    """Plain dictionaries with the same keys: a table, or a block for each where they are long."""
    if rows and len(rows[0]) > WIDEST:
        _show_blocks(rows)
        return
    table = _table(*rows[0]) if rows else _table("none")
    for column, value in zip(table.columns, rows[0].values() if rows else (), strict=False):
        column.justify = "left" if isinstance(value, str) else "right"
        column.overflow = "fold"
    for row in rows:
        _add_row(table, *("" if value is None else str(value) for value in row.values()))
    _console().print(table)


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
        _console().print(f"[bold]{escape(title)}[/bold]")
        _console().print(block)


def _console() -> Console:
    return Console(highlight=False)


def _add_row(table: "Table", *cells: str, end_section: bool = False) -> None:
    """A row of texts as they are: square brackets in a model's name are no markup."""
    table.add_row(*map(escape, cells), end_section=end_section)


def _table(*headers: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, header in enumerate(headers):
        table.add_column(header, justify="left" if number == 0 else "right")
    return table


# --- Curves -----------------------------------------------------------------------------------------

MOST_TROUBLES = 12
"""Troubles that a screen shows; the provenance file has them all."""


def show_built_curves(built: "BuiltCurves") -> None:
    console = _console()
    console.print(
        f"\n[bold]{escape(built.benchmark)}[/bold]: {built.n_questions:,} questions, "
        f"{len(built.curves[0].accuracy_draws):,} resamplings of them"
    )
    _show_curve_rows(console, built.rows())
    notes = [(c.method, note, c.model) for c in built.curves for note in c.said]
    for (method, note), models in _gathered(notes):
        _say(console, f"{method}: {note} ({few(models)}).")
    counts = [(c.method, what, n) for c in built.curves for what, n in c.counted.items()]
    for (method, what), numbers in _gathered(counts):
        _say(console, f"{method}: {what}: {sum(numbers):,}.")
    for (method, reason), models in _gathered((method, why, model) for model, method, why in built.left_out):
        _say(console, f"{method}: no curve of {few(models)}; {reason}.")
    for remark in built.remarks:
        _say(console, remark)
    for path in built.ignored:
        _say(console, f"{path}: is no raw evaluation of the format wanted, and was not read.")
    _show_troubles(console, built.troubles)
    for file, number, what in built.counts:
        _say(console, f"{file}: {number:,} {'line' if number == 1 else 'lines'} {what}.")
    if built.troubles:
        _say(console, "The provenance file has all that was wrong.")


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
            table = _table(title, *(f"{level:g}" for level in levels))
            table.columns[0].overflow, table.columns[0].min_width = "fold", 12
            for column in table.columns[1:]:
                column.no_wrap = True
            for model in dict.fromkeys(row["model"] for row in some):
                own = {row["compute_level"]: of(row) for row in some if row["model"] == model}
                _add_row(table, model, *(own.get(level, "") for level in levels))
            console.print(table)
    if any(row["accuracy_low"] is not None for row in rows):
        _say(
            console,
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
        _say(console, str(trouble))
    if len(troubles) > MOST_TROUBLES:
        _say(console, f"... and {len(troubles) - MOST_TROUBLES:,} more")


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)


def show_checked_files(files: Sequence["CheckedFile"]) -> None:
    console = _console()
    for file in files:
        console.print(f"\n[bold]{escape(file.path)}[/bold]: {escape(file.kind)}", soft_wrap=True)
        for fact in file.facts:
            _say(console, f"  {fact}")
        _show_troubles(console, file.troubles)
        if not file.troubles:
            _say(console, "  nothing is wrong")


def show_curves(rows: Sequence[Mapping[str, Any]]) -> None:
    _show_curve_rows(_console(), rows)


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
def sweep_progress(title: str, *, quiet: bool) -> Iterator["Watch | None"]:
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


def _some(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def show_outlook(outlook: "Outlook") -> None:
    """What a sweep would be."""
    points, seeds = _some(outlook.points, "point"), _some(outlook.replicates, "seed")
    _console().print(
        f"[bold]{outlook.name}[/bold], kind {outlook.kind}: {points} x {seeds} = "
        f"{_some(outlook.runs, 'run')}, about {_time(outlook.seconds)} with "
        f"{_some(outlook.workers, 'worker')} ({1000 * outlook.seconds_per_run:,.3g} ms each)",
        soft_wrap=True,
    )
    if outlook.first_error is not None:
        _say(
            _console(),
            f"{outlook.failed:,} of {outlook.tried:,} runs that were tried fail, first {outlook.first_error}",
        )
    _console().print(f"Folder: {outlook.folder}", soft_wrap=True, markup=False)


def show_progress(found: "SweepStatus") -> None:
    """How far a sweep is."""
    state = "complete" if found.complete else "at work" if found.at_work else "stopped"
    if not found.begun:
        state = "not begun"
    bad = [
        f"{number:,} {name}"
        for name, number in (("failed", found.failed), ("timed out", found.timed_out))
        if number
    ]
    _console().print(
        f"[bold]{found.name}[/bold], {state}: {found.done:,} of {found.runs:,} runs done"
        + (f", of which {' and '.join(bad)}" if bad else "")
        + (" (--resume goes on)" if state == "stopped" else ""),
        soft_wrap=True,
    )
    if state == "not begun":
        return
    if found.first_error is not None:
        _say(_console(), f"First error: {found.first_error}")
    rows = "table.parquet" if found.complete else "batches"
    _console().print(f"Rows: {found.folder / rows}", soft_wrap=True, markup=False)


@contextmanager
def status(*, quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """A line on standard error that says what is being done; none where nobody watches."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    with console.status("reading the paper's tables") as status:
        yield status.update

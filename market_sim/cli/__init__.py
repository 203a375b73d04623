"""The command line: market-sim solve | run | compare | sweep | report | reproduce | curves | serve | list.

No science here.

Each command imports what it needs when it is called, so that `solve` starts without Mesa.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from market_sim.cli.curves import curves_app
from market_sim.cli.options import JsonOption, print_json
from market_sim.errors import InputError, not_one_of
from market_sim.screen import results, sweeps, terminal

app = typer.Typer(
    name="market-sim",
    help="An agent-based simulator of the market for LLM inference.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of one in runs/.")
]
SeedOption = Annotated[int | None, typer.Option(help="Instead of the scenario's seed.", min=0)]
RoundsOption = Annotated[int | None, typer.Option(help="Instead of the scenario's rounds.", min=1)]
OutOption = Annotated[Path, typer.Option(help="Where results go.")]
UncertaintyOption = Annotated[
    bool, typer.Option("--uncertainty", help="Solve again for every draw of the curves; intervals.")
]
DrawsOption = Annotated[
    int | None, typer.Option(help="With --uncertainty: how many draws (2000, or all of a file).", min=1)
]
ConfidenceOption = Annotated[
    float | None, typer.Option(help="With --uncertainty: share of draws in an interval (0.95).")
]
CorrelationOption = Annotated[
    float | None,
    typer.Option(help="With --uncertainty: of a question's difficulty to two models, 0 to 1 (0)."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Play again even if the result stands there.")]


def main() -> None:
    """The entry point: bad input ends with one sentence and exit code 2."""
    for output in (sys.stdout, sys.stderr):  # names may hold letters that the terminal does not have
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="replace")
    try:
        code = app(standalone_mode=False) or 0
    except TyperException as error:
        _fail(error.format_message())
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror}")
    if code == STOPPED:
        print("market-sim: stopped; nothing half-written was left", file=sys.stderr)
    sys.exit(code)


STOPPED = 130
"""What typer gives for Ctrl-C."""


def _fail(sentence: str) -> NoReturn:
    print(f"market-sim: {sentence}", file=sys.stderr)
    sys.exit(2)


@app.command()
def solve(
    scenario: ScenarioArgument,
    beta: Annotated[
        str | None, typer.Option(help="Rationality in 1/USD, one or several: 200,1000,100000.")
    ] = None,
    uncertainty: UncertaintyOption = False,
    draws: DrawsOption = None,
    confidence: ConfidenceOption = None,
    correlation: CorrelationOption = None,
    json_: JsonOption = False,
) -> None:
    """Solve a market exactly: all equilibria, optimum, prices of anarchy and stability, the auction."""
    from market_sim.experiments.solve import solve as solve_scenario

    betas = None if beta is None else _betas(beta)
    of_draws = _of_draws(uncertainty, draws, confidence, correlation)
    if uncertainty:
        from market_sim.experiments.solve import solve_uncertain

        found = solve_uncertain(scenario, beta=betas, **of_draws)
        if json_:
            print_json(
                {"results": [each.solution.to_dict() | {"uncertainty": each.to_dict()} for each in found]}
            )
            return
        for each in found:
            results.show_solution(each.solution)
            results.show_uncertainty(each)
        return
    solutions = solve_scenario(scenario, beta=betas)
    if json_:
        print_json({"results": [solution.to_dict() for solution in solutions]})
        return
    for solution in solutions:
        results.show_solution(solution)


@app.command()
def run(
    scenario: ScenarioArgument,
    seed: SeedOption = None,
    rounds: RoundsOption = None,
    regime: Annotated[str | None, typer.Option(help="Instead of the scenario's regime.")] = None,
    out: OutOption = Path("runs/out"),
    force: ForceOption = False,
    json_: JsonOption = False,
) -> None:
    """Play a scenario with agents and keep its rows in a run folder."""
    from market_sim.experiments.run import run as run_scenario

    with terminal.progress(scenario, quiet=json_) as progress:
        result = run_scenario(
            scenario, seed=seed, rounds=rounds, regime=regime, out=out, force=force, progress=progress
        )
    if json_:
        print_json(result.summary())
    else:
        results.show_run(result)


@app.command()
def compare(
    scenario: ScenarioArgument,
    regimes: Annotated[
        str, typer.Option(help="Regimes to hold against the first.")
    ] = "pay_per_compute,second_price_auction",
    seed: SeedOption = None,
    rounds: RoundsOption = None,
    out: OutOption = Path("runs/out"),
    force: ForceOption = False,
    uncertainty: UncertaintyOption = False,
    draws: DrawsOption = None,
    confidence: ConfidenceOption = None,
    correlation: CorrelationOption = None,
    report: Annotated[bool, typer.Option("--report", help="End with one HTML file of it all.")] = False,
    json_: JsonOption = False,
) -> None:
    """Play the same users, tasks and seeds under several regimes and say what differs."""
    from market_sim.experiments.compare import compare as compare_regimes

    of_draws = _of_draws(uncertainty, draws, confidence, correlation)
    with terminal.progress(scenario, quiet=json_) as progress:
        result = compare_regimes(
            scenario,
            regimes=[name.strip() for name in regimes.split(",")],
            seed=seed,
            rounds=rounds,
            out=out,
            force=force,
            progress=progress,
            uncertainty=uncertainty,
            **of_draws,
        )
    from market_sim.experiments.compare_figures import write_comparison

    files = write_comparison(result, out)
    if report:
        from market_sim.experiments.report import report as write_report

        written = write_report(files[0].parent)
        files.append(written.path)
    if json_:
        print_json(result.to_dict() | {"files": [str(path) for path in files]})
    else:
        results.show_comparison(result)
        if result.uncertainty is not None:
            results.show_uncertainty_of_play(result.uncertainty)
        terminal.show_files(files)
        if report:
            results.show_report(written)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run, a comparison or a sweep.")],
    out: Annotated[Path | None, typer.Option(help="The file; left out: report.html in the folder.")] = None,
    json_: JsonOption = False,
) -> None:
    """Write one HTML file that needs nothing else: figures, tables, scenario and manifest."""
    from market_sim.experiments.report import report as write_report

    written = write_report(folder, out)
    if json_:
        print_json(written.to_dict())
    else:
        results.show_report(written)


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A sweep file (docs/sweeps.md).")],
    workers: Annotated[
        int | None, typer.Option(help="Processes; left out: one per core, none for what is solved.")
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler, instead of processes.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a sweep that was begun.")] = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="The same, and do runs again that failed or timed out.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many runs there are and about how long they take.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Say how far it is, and do nothing.")] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds that a run may take before it is given up.")
    ] = None,
    out: OutOption = Path("runs/out"),
    json_: JsonOption = False,
) -> None:
    """Play or solve one scenario at many settings and seeds; the result is one table."""
    from market_sim.experiments import runner
    from market_sim.experiments.sweep import load_sweep

    if dry_run and status:
        raise InputError("--dry-run and --status exclude each other")
    plan = load_sweep(file)
    if dry_run:
        outlook = runner.outlook(plan, workers=workers, dask=dask, timeout=timeout, out=out)
        print_json(outlook.to_dict()) if json_ else sweeps.show_outlook(outlook)
        return
    before = runner.begun_before(plan, out=out)
    if before is not None and not resume and not retry:  # which refuse
        print(f"market-sim: {before}", file=sys.stderr)
    if status:
        found = runner.status(plan, out=out)
        print_json(found.to_dict()) if json_ else sweeps.show_status(found)
        return
    with _stopped_as_by_hand(), sweeps.progress(file, quiet=json_) as watch:
        result = runner.sweep(
            plan,
            workers=workers,
            dask=dask,
            resume=resume,
            retry=retry,
            timeout=timeout,
            out=out,
            watch=watch,
        )
    print_json(result.to_dict()) if json_ else sweeps.show_status(result)


@contextmanager
def _stopped_as_by_hand() -> Iterator[None]:
    """Schedulers of clusters end a job by SIGTERM: it then ends as by Ctrl-C, and keeps what is done."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        print("market-sim: what is done is kept; --resume goes on from there", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


@app.command()
def reproduce(out: OutOption = Path("runs/out/reproduce"), json_: JsonOption = False) -> None:
    """Print every number of the paper's tables beside ours and draw its figures; exit 1 if one fails."""
    from market_sim.experiments.paper import reproduce as reproduce_paper

    with terminal.status(quiet=json_) as say:
        result = reproduce_paper(on_step=say)
        files = result.write(out, on_step=say)
    if json_:
        rows = [asdict(row) for row in result.rows]
        print_json(
            {
                "ok": result.ok,
                "agreeing": result.agreeing,
                "total": result.total,
                "rows": rows,
                "files": [str(path) for path in files],
            }
        )
    else:
        results.show_reproduction(result)
        terminal.show_files(files)
    if not result.ok:
        raise typer.Exit(1)


app.add_typer(curves_app)


@app.command()
def serve(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="[SCENARIO]", help="What the page begins with.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine only.")
    ] = "127.0.0.1",
    name: Annotated[
        str | None, typer.Option(help="Name by which a web server in front of it is reached.")
    ] = None,
) -> None:
    """Serve the interactive page to browsers on this machine; Ctrl-C stops it."""
    from market_sim.page import server

    server.serve(scenario, host, port, say=terminal.say, name=name)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="rules, regimes, networks, models, benchmarks or scenarios.")],
    json_: JsonOption = False,
) -> None:
    """List what a scenario can name."""
    from market_sim.experiments.catalogue import CATALOGUES

    if what not in CATALOGUES:
        raise not_one_of("list", what, CATALOGUES)
    rows = CATALOGUES[what]()
    if json_:
        print_json({what: rows})
        return
    terminal.show_list(rows)


def _of_draws(
    wanted: bool, draws: int | None, confidence: float | None, correlation: float | None
) -> dict[str, Any]:
    """The options that were given for draws, by name; without --uncertainty they are refused."""
    given = {
        name: value
        for name, value in (("draws", draws), ("confidence", confidence), ("correlation", correlation))
        if value is not None
    }
    if given and not wanted:
        raise InputError(f"{' and '.join(f'--{name}' for name in given)} must come with --uncertainty")
    return given


def _betas(text: str) -> list[float]:
    """Rationalities from "200,1000,100000"."""
    betas = []
    for part in text.split(","):
        try:
            betas.append(float(part))
        except ValueError:
            raise InputError(
                f"--beta: {part.strip()!r} is not a number; wanted is a list like 200,1000"
            ) from None
    return betas

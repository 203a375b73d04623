"""What a worker does for a sweep: rows of a few runs.  It imports little, because every worker does."""

import ctypes
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from market_sim.economy.market import Market
from market_sim.errors import InputError
from market_sim.experiments import exact_rows
from market_sim.experiments.build import market_of
from market_sim.experiments.play import Played, play
from market_sim.experiments.scenario import Scenario
from market_sim.experiments.scenario_keys import Keys
from market_sim.experiments.sweep import scenario_at
from market_sim.experiments.timeline import Timeline, draws_nothing, timeline_of
from market_sim.simulation.records import RoundRow
from market_sim.theory.arrays import Array
from market_sim.theory.convergence import standard_errors

Row = dict[str, Any]

ROUND_MEASURES = tuple(each.name for each in fields(RoundRow) if each.name != "round")

MEASURES: Mapping[str, Mapping[str, type]] = {
    "solve": exact_rows.MEASURES,
    "run": {name + end: float for name in ROUND_MEASURES for end in ("", "_se")}
    | {"warm_up": int, "settled_round": int, "cycle_length": int, "equilibrium_number": int, "rounds": int},
}
"""The columns that the runs of each kind have beside the settings (docs/formats.md)."""

LONGEST_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class One:
    """One run to do: its point and replicate, its seed, and the values of the axes."""

    point: int
    replicate: int
    seed: int
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A few runs of a sweep, with all that a worker needs to know of it.

    timeout  seconds that a run may take; None: any number
    """

    kind: str
    base: dict[str, Any]
    folder: str
    paths: tuple[Keys, ...]
    rounds: int | None
    keep_rounds: bool
    timeout: float | None
    runs: tuple[One, ...]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a job: one row per run, with status and error; the rounds of each where they are kept.

    seconds  that it took
    """

    rows: tuple[Row, ...]
    rounds: tuple[dict[str, Array] | None, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class _Point:
    """A point that was played: what is worked out for its market serves all its replicates."""

    about: tuple[Any, ...]
    timeline: Timeline
    rounds: int


_latest: list[_Point] = []
"""The latest point of this process, if any; replaced whole, because threads may play beside each other."""


def work(job: Job) -> Done:
    """The rows of a job.  Whatever goes wrong in a run is a row that says so."""
    began = time.perf_counter()
    rounds: list[dict[str, Array] | None] = []
    if job.kind == "solve":
        rows = _solved(job)
    else:
        done = [_one(job, one) for one in job.runs]
        rows, rounds = [row for row, _ in done], [table for _, table in done]
    return Done(
        rows=tuple(
            {"point": one.point, "replicate": one.replicate, "seed": one.seed} | row
            for one, row in zip(job.runs, rows, strict=True)
        ),
        rounds=tuple(rounds) if job.keep_rounds else (),
        seconds=time.perf_counter() - began,
    )


def ready() -> bool:
    """Whether there is a worker."""
    return True


def failed(error: str, status: str = "failed") -> Row:
    """The row of a run of which nothing is known but what went wrong."""
    words = " ".join(error.split())
    return {"status": status, "error": words[:LONGEST_ERROR] or "unknown"}


def late(seconds: float) -> Row:
    """The row of a run that took too long."""
    return failed(f"took more than {seconds:g} s", "timed out")


def _one(job: Job, one: One) -> tuple[Row, dict[str, Array] | None]:
    try:
        with _at_most(job.timeout):
            played = play_one(job, one)
            row = run_row(played)
    except _OutOfTime:
        return late(job.timeout or 0.0), None
    except (Exception, SystemExit) as error:  # a stranger's rule may do anything
        return failed(_said(error, one)), None
    return {"status": "ok", "error": None} | row, played.rounds if job.keep_rounds else None


def _said(error: BaseException, one: One) -> str:
    """The row says which point it is."""
    if isinstance(error, InputError):
        return str(error).removeprefix(f"{_where(one)}: ")
    return f"{type(error).__name__}: {error}"


def _where(one: One) -> str:
    return f"point {one.point}"


def scenario_of(job: Job, one: One) -> Scenario:
    return scenario_at(
        job.base,
        Path(job.folder),
        job.paths,
        one.values,
        where=_where(one),
        seed=one.seed,
        rounds=job.rounds,
    )


def play_one(job: Job, one: One) -> Played:
    """A run, played."""
    about = (job.base, job.folder, job.paths, job.rounds, one.values)
    for point in _latest[:1]:
        if point.about == about:
            return play(point.timeline.with_seed(one.seed), point.rounds)
    scenario = scenario_of(job, one)
    timeline = timeline_of(scenario)
    if draws_nothing(scenario):
        _latest[:] = [_Point(about, timeline, scenario.rounds)]
    return play(timeline, scenario.rounds)


def run_row(played: Played) -> Row:
    """Means after the warm-up with their standard errors, and what was reached."""
    reached, table = played.reached, played.rounds
    late = table["round"] >= reached.welfare_from
    series = np.stack([table[name][late] for name in ROUND_MEASURES])
    means, errors = standard_errors(series)
    row: Row = {}
    for name, mean, error in zip(ROUND_MEASURES, means.tolist(), errors.tolist(), strict=True):
        row[name] = None if math.isnan(mean) else mean
        row[name + "_se"] = error if math.isfinite(error) else None
    return row | {
        "warm_up": reached.welfare_from - 1,
        "settled_round": reached.settled_round,
        "cycle_length": None if reached.cycle is None else reached.cycle.length,
        "equilibrium_number": reached.settled_in,
        "rounds": len(table["round"]) - 1,
    }


def _solved(job: Job) -> list[Row]:
    """Exact rows: all at once, or one by one where one of them goes wrong or each has its own time."""
    if job.timeout is not None:
        return [_solved_alone(job, one) for one in job.runs]
    rows: list[Row | None] = [None] * len(job.runs)
    problems, places = [], []
    markets: dict[tuple[Any, ...], Market] = {}
    for place, one in enumerate(job.runs):
        try:
            problems.append(_problem(job, one, markets))
            places.append(place)
        except Exception as error:
            rows[place] = failed(_said(error, one))
    try:
        solved = exact_rows.solve_rows(problems)
    except Exception:
        return [_solved_alone(job, one) for one in job.runs]
    for place, row in zip(places, solved, strict=True):
        rows[place] = {"status": "ok", "error": None} | row
    return [row for row in rows if row is not None]


def _solved_alone(job: Job, one: One) -> Row:
    try:
        with _at_most(job.timeout):
            (row,) = exact_rows.solve_rows([_problem(job, one, {})])
    except _OutOfTime:
        return late(job.timeout or 0.0)
    except Exception as error:
        return failed(_said(error, one))
    return {"status": "ok", "error": None} | row


def _problem(job: Job, one: One, markets: dict[tuple[Any, ...], Market]) -> exact_rows.Exact:
    """What is to be solved at a point; `markets` remembers those of others, by what they are made of."""
    scenario = scenario_of(job, one)
    made_of = [
        value for path, value in zip(job.paths, one.values, strict=True) if path[0] in ("market", "events")
    ]
    key = (*map(str, made_of), None if scenario.market.generated is None else scenario.seed)
    if key not in markets:
        markets[key] = market_of(scenario)
    return exact_rows.to_solve(scenario, markets[key])


class _OutOfTime(BaseException):
    """Raised in the middle of a run; no `except Exception` in between holds it up."""


@contextmanager
def _at_most(seconds: float | None) -> Iterator[None]:
    """Raise _OutOfTime in what takes longer, between two steps of the interpreter.

    By a signal in a process of its own; where work is done in threads, as Dask's workers do, from another.
    """
    if seconds is None:
        yield
    elif threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):

        def ring(number: int, frame: FrameType | None) -> None:
            raise _OutOfTime

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
    else:
        thread, over = ctypes.c_ulong(threading.get_ident()), threading.Event()

        def watch() -> None:
            if not over.wait(seconds):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_OutOfTime))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

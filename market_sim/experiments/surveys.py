"""Reading files of raw evaluations and estimating from them, several files at once.

A process reads a file and keeps of it what each question adds to each curve: gigabytes of text come back as
a few megabytes.  Processes are started anew ("spawn"), which every system can do.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from market_sim.economy.estimates import Estimate, ImpossibleError, Spending, estimate
from market_sim.economy.evaluations import Evaluations, RawFile
from market_sim.economy.raw_files import Advance
from market_sim.economy.raw_formats import LmEvalChoice
from market_sim.economy.raw_reading import read_raw_file
from market_sim.errors import InputError
from market_sim.experiments.workers import end_with_master
from market_sim.theory.arrays import Array

Progress = Callable[[int, int], None]
"""Told how many bytes are read, and how many there are."""

SMALL = 2**24
"""Files of so many bytes together are read faster than a process starts."""

TELL = 2**22
"""Bytes after which a process tells how far it is."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to read and what to estimate."""

    methods: tuple[str, ...]
    spending: Spending
    format: str
    choice: LmEvalChoice
    token_limit: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class SurveyedRun:
    """One model's questions and what each adds to each curve.

    estimates  by method: an Estimate, or why there is none
    """

    model: str
    file: str
    questions: tuple[str, ...]
    lines: tuple[int, ...]
    n_samples: int
    token_limit: float | None
    estimates: Mapping[str, Estimate | ImpossibleError]

    def places(self, questions: Sequence[str]) -> Array:
        """Where some questions stand in this run, (len(questions),)."""
        where = {name: place for place, name in enumerate(self.questions)}
        return np.array([where[name] for name in questions], dtype=int)


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """A file (its samples let go) and the runs in it."""

    file: RawFile
    runs: tuple[SurveyedRun, ...]


def survey(path: Path, plan: Plan, advance: Advance | None = None) -> Survey:
    """Read one file and estimate every method for every model in it."""
    file = read_raw_file(path, format=plan.format, choice=plan.choice, advance=advance)
    runs = tuple(_survey_run(run, plan) for run in file.runs)
    return Survey(file=replace(file, runs=()), runs=runs)


def _survey_run(run: Evaluations, plan: Plan) -> SurveyedRun:
    if plan.token_limit is not None:
        run = replace(run, token_limit=plan.token_limit)
    estimates: dict[str, Estimate | ImpossibleError] = {}
    for method in plan.methods:
        try:
            estimates[method] = estimate(run, method, plan.spending)
        except ImpossibleError as reason:
            estimates[method] = reason
    return SurveyedRun(
        model=run.model,
        file=run.file,
        questions=run.questions,
        lines=run.lines,
        n_samples=run.n_samples,
        token_limit=run.token_limit,
        estimates=estimates,
    )


def survey_all(files: Sequence[Path], plan: Plan, workers: int, progress: Progress | None) -> list[Survey]:
    """Every file's survey, in the order of the files; by up to `workers` processes where that is worth it."""
    sizes = [_size(path) for path in files]
    total, done = sum(sizes), 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(min(done, total), total)

    workers = min(workers, len(files))
    if workers == 1 or total < SMALL:
        return [survey(path, plan, advance) for path in files]
    context = multiprocessing.get_context("spawn")
    told, stop = context.SimpleQueue(), context.Event()
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(told, stop))
    try:
        # The largest first, so that none is left over at the end.
        order = sorted(range(len(files)), key=lambda i: -sizes[i])
        with _without_interrupts():
            futures: dict[int, Future[Survey]] = {i: pool.submit(_work, files[i], plan) for i in order}
        waiting = set(futures.values())
        while waiting:
            finished, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
            while not told.empty():
                advance(told.get())
            for future in finished:
                future.result()
        return [futures[i].result() for i in range(len(files))]
    except BrokenProcessPool:
        raise InputError("a process that read files was ended from outside; try --workers 1") from None
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # refused by its name when it is read


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started inside never hear Ctrl-C, not even while they import: it is for the main process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say so, and only it is interrupted
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


class _StopError(Exception):
    """The main process does not want the rest."""


_link: dict[str, Any] = {}


def _start(told: Any, stop: Any) -> None:
    """In a new process: how to tell, and when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for processes that another thread than the main one starts
    _link.update(told=told, stop=stop)
    end_with_master()


def _work(path: Path, plan: Plan) -> Survey:
    unsaid = 0

    def advance(n: int) -> None:
        nonlocal unsaid
        unsaid += n
        if unsaid >= TELL:
            if _link["stop"].is_set():
                raise _StopError
            _link["told"].put(unsaid)
            unsaid = 0

    found = survey(path, plan, advance)
    _link["told"].put(unsaid)
    return found


def processors() -> int:
    """Processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return multiprocessing.cpu_count()

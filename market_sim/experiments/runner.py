"""Doing a sweep: jobs to workers, rows to the folder, nothing lost and nothing done twice."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments.crews import Crew, Here, Processes, WorkerDiedError, crew_of
from market_sim.experiments.interrupts import held_back
from market_sim.experiments.sweep import Sweep, load_sweep, seed_of
from market_sim.experiments.sweep_check import check_points
from market_sim.experiments.sweep_store import (
    SWEEP_FILE,
    TABLE,
    SweepFolder,
    at_work,
    busy,
    locked,
    manifest_in,
    what_changed,
)
from market_sim.experiments.sweep_work import Done, Job, One, Row, failed, late
from market_sim.theory.arrays import Array

if TYPE_CHECKING:
    import pandas as pd

JOB_S = 0.25
"""Seconds of work in a job: long beside handing it over, short enough to lose."""

BLOCK = 256
"""Exact points that are solved together, always the same ones, so that rows do not depend on what was done
before."""

GRACE_S = 5.0
"""Seconds that a worker has, beyond the time its runs may take, before it is ended."""

DEATHS = 2
"""So many times a worker dies of a run that it does alone before the run is given up."""

Watch = Callable[[int, int, int], None]
"""Called with runs done, those of them that failed, and runs in all."""


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """How far a sweep is.

    folder       where it is, or would be
    first_error  of the first run, in the table's order, that went wrong so far
    begun        whether its folder is there
    at_work      whether a process works on it now
    """

    name: str
    kind: str
    folder: Path
    points: int
    replicates: int
    done: int
    failed: int
    timed_out: int
    first_error: str | None
    begun: bool
    complete: bool
    at_work: bool

    @property
    def runs(self) -> int:
        return self.points * self.replicates

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `market-sim sweep --json` prints them."""
        return {
            "name": self.name,
            "kind": self.kind,
            "points": self.points,
            "replicates": self.replicates,
            "runs": self.runs,
            "done": self.done,
            "failed": self.failed,
            "timed_out": self.timed_out,
            "first_error": self.first_error,
            "begun": self.begun,
            "complete": self.complete,
            "at_work": self.at_work,
            "folder": str(self.folder),
            "table": str(self.folder / TABLE) if self.complete else None,
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row per run that is done (docs/formats.md)."""
        from market_sim.experiments.store import load

        return load(self.folder)


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a sweep would be: its runs, and about how long they take with these workers, by a few of them.

    tried        so many were done to find out
    failed       so many of these went wrong
    first_error  of the first of them
    """

    name: str
    kind: str
    folder: Path
    points: int
    replicates: int
    tried: int
    failed: int
    first_error: str | None
    seconds_per_run: float
    workers: int

    @property
    def runs(self) -> int:
        return self.points * self.replicates

    @property
    def seconds(self) -> float:
        return self.seconds_per_run * self.runs / self.workers

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "points": self.points,
            "replicates": self.replicates,
            "runs": self.runs,
            "tried": self.tried,
            "failed": self.failed,
            "first_error": self.first_error,
            "seconds_per_run": self.seconds_per_run,
            "workers": self.workers,
            "estimated_s": self.seconds,
            "folder": str(self.folder),
        }


def sweep(
    source: "Path | str | Mapping[str, Any] | Sweep",
    *,
    workers: int | None = None,
    dask: str | None = None,
    resume: bool = False,
    retry: bool = False,
    timeout: float | None = None,
    out: Path | str = "runs/out",
    watch: Watch | None = None,
) -> SweepStatus:
    """Do a sweep; the table is in its folder when it is whole.

    workers  processes; None: one per core for runs, and none for what is solved exactly
    dask     address of a scheduler, instead
    resume   go on with a sweep that was begun
    retry    the same, and do runs again that failed or timed out
    timeout  seconds that a run may take
    out      folder that the folder of the sweep goes to
    Raises InputError for a bad sweep, before anything is written; for one that was begun otherwise, or is
    being done by another process; and where the disk is full.
    """
    plan = load_sweep(source)
    _check_timeout(timeout)
    path = folder_of(plan, out)
    _check_begun(plan, path, resume=resume, retry=retry)
    check_points(plan)
    crew = crew_of(workers, dask, plan.kind)
    with locked(path):
        folder = SweepFolder(plan, path)
        folder.begin()
        folder.tidy()
        if retry:
            folder.forget_failed()
        folder.read()
        if watch is not None:
            watch(folder.n_done, folder.failed + folder.timed_out, plan.n_runs)
        if not _complete(path):
            _Shift(plan, folder, crew, timeout, watch).work()
    return status(plan, out=out)


def _check_timeout(timeout: float | None) -> None:
    if timeout is not None and not 0 < timeout < math.inf:
        raise InputError(f"--timeout {timeout:g} is not allowed; it must be above 0")


def folder_of(sweep: Sweep, out: Path | str) -> Path:
    """Where a sweep is kept."""
    return Path(out) / "sweeps" / f"{sweep.name}-{sweep.digest}"


def status(source: "Path | str | Mapping[str, Any] | Sweep", *, out: Path | str = "runs/out") -> SweepStatus:
    """How far a sweep is."""
    plan = load_sweep(source)
    path = folder_of(plan, out)
    folder = SweepFolder(plan, path)
    folder.read()
    return SweepStatus(
        name=plan.name,
        kind=plan.kind,
        folder=path,
        points=plan.n_points,
        replicates=plan.seeds,
        done=folder.n_done,
        failed=folder.failed,
        timed_out=folder.timed_out,
        first_error=folder.first_error,
        begun=manifest_in(path) is not None,
        complete=_complete(path),
        at_work=at_work(path),
    )


def _complete(path: Path) -> bool:
    return (manifest_in(path) or {}).get("complete") is True


def outlook(
    source: "Path | str | Mapping[str, Any] | Sweep",
    *,
    workers: int | None = None,
    dask: str | None = None,
    timeout: float | None = None,
    out: Path | str = "runs/out",
) -> Outlook:
    """What a sweep would be, by doing a few of its runs here.  Nothing is written.

    timeout  seconds that a run may take
    """
    plan = load_sweep(source)
    _check_timeout(timeout)
    check_points(plan)
    crew = crew_of(workers, dask, plan.kind)
    try:
        hands = crew.hands
    finally:
        crew.close()
    spent = counted = 0.0
    errors: dict[int, str | None] = {}
    alone: Crew = Here() if plan.kind == "solve" else Processes(1)  # a stranger's rule may do anything
    alone.start()
    try:
        for part in _samples(plan):
            done = _tried(alone, _job(plan, part, timeout))
            if errors or plan.kind == "solve":  # the first run of all warms up
                spent += done.seconds
                counted += len(part)
            errors |= {run: row["error"] for run, row in zip(part, done.rows, strict=True)}
    finally:
        alone.close()
    wrong = {run: error for run, error in sorted(errors.items()) if error is not None}
    return Outlook(
        name=plan.name,
        kind=plan.kind,
        folder=folder_of(plan, out),
        points=plan.n_points,
        replicates=plan.seeds,
        tried=len(errors),
        failed=len(wrong),
        first_error=next((plan.describe_error(*each) for each in wrong.items()), None),
        seconds_per_run=spent / counted,
        workers=hands,
    )


def _tried(crew: Crew, job: Job) -> Done:
    """A job done, or a row for each of its runs that says why not."""
    limit = None if job.timeout is None else job.timeout * len(job.runs) + GRACE_S
    began = time.monotonic()
    future = crew.submit(job)
    wait([future], timeout=limit)
    try:
        if future.done():
            return crew.outcome(future)
        row = late(job.timeout or 0.0)
    except WorkerDiedError:
        row = failed("its worker died")
    crew.renew()
    return Done(rows=(row,) * len(job.runs), seconds=time.monotonic() - began)


def _samples(sweep: Sweep) -> list[list[int]]:
    """Runs to try: a block of exact points, or the first twice, the middle and the last run."""
    if sweep.kind == "solve":
        return [list(range(min(BLOCK, sweep.n_runs)))]
    return [[0], *([run] for run in dict.fromkeys((0, sweep.n_runs // 2, sweep.n_runs - 1)))]


def _check_begun(sweep: Sweep, path: Path, *, resume: bool, retry: bool) -> None:
    """Refuse to go on with another sweep, or to begin again one that was begun."""
    if at_work(path):
        raise busy(path)
    begun = manifest_in(path)
    if begun is None:
        before = _begun_otherwise(sweep, path)
        if (resume or retry) and before is not None:
            raise InputError(f"{before}; without --resume it begins anew in a folder of its own")
        return
    if begun["complete"] and not retry:
        return
    if not resume and not retry:
        raise InputError(f"{path}: was begun and is not whole; --resume goes on with it")
    changes = what_changed(sweep, path)
    if changes:
        raise InputError(f"{path}: was begun otherwise: {'; '.join(changes)}; remove it to begin anew")


def begun_before(
    source: "Path | str | Mapping[str, Any] | Sweep", *, out: Path | str = "runs/out"
) -> str | None:
    """What was begun under a sweep's name before its file changed and is not whole, and what changed since.

    None where there is no such sweep, or this one was begun too.
    """
    plan = load_sweep(source)
    path = folder_of(plan, out)
    return None if manifest_in(path) is not None else _begun_otherwise(plan, path, whole_too=False)


def _begun_otherwise(sweep: Sweep, path: Path, *, whole_too: bool = True) -> str | None:
    """The latest folder of a sweep with the same name, and what has changed since, as a sentence."""
    others = []
    for other in path.parent.glob(f"{sweep.name}-*"):
        manifest = manifest_in(other) or {}
        if manifest.get("sweep") == sweep.name and (whole_too or not manifest["complete"]):
            others.append(other)
    if not others:
        return None
    latest = max(others, key=lambda other: other.stat().st_mtime)
    changes = what_changed(sweep, latest) or ["its rows"]
    return (
        f"{sweep.where}: has changed since {latest} was begun: {'; '.join(changes)}; "
        f"{latest / SWEEP_FILE} is the sweep as it was"
    )


def _job(sweep: Sweep, runs: list[int], timeout: float | None) -> Job:
    """Some runs, by number, as a job."""
    return Job(
        kind=sweep.kind,
        base=sweep.base,
        folder=str(sweep.folder.absolute()),
        paths=sweep.paths,
        rounds=sweep.rounds,
        keep_rounds=sweep.keep_rounds,
        timeout=timeout,
        runs=tuple(_one(sweep, run) for run in runs),
    )


def _one(sweep: Sweep, run: int) -> One:
    point, replicate = divmod(run, sweep.seeds)
    return One(
        point=point,
        replicate=replicate,
        seed=seed_of(sweep.seed, replicate),
        values=sweep.values_at(point),
    )


class _Shift:
    """One process's work on a sweep, from what it finds done to the table.

    Runs that were in the air when a worker died are suspects.  They are done again one at a time, each alone
    with the crew, so that the next death is certainly theirs.
    """

    def __init__(
        self,
        sweep: Sweep,
        folder: SweepFolder,
        crew: Crew,
        timeout: float | None,
        watch: Watch | None,
    ) -> None:
        self.sweep, self.folder, self.crew, self.timeout, self.watch = sweep, folder, crew, timeout, watch
        self.to_do = deque(np.flatnonzero(~folder.done).tolist())
        self.suspects: deque[int] = deque()
        self.deaths: dict[int, int] = {}
        self.in_air: dict[Future[Done], list[int]] = {}
        self.began = self.written = time.monotonic()
        self.finished, self.busy_s = 0, 0.0

    def work(self) -> None:
        """Do all that is left, then put the table together."""
        try:
            if self.to_do:
                self.crew.start()
            while self.to_do or self.suspects or self.in_air:
                self._hand_out()
                self._take_in()
                self._write_now_and_then()
            self._flush()
        except BaseException:
            self._save()
            raise
        finally:
            self.crew.close()
        self.folder.finish(time.monotonic() - self.began)

    def _save(self) -> None:
        """What has been done so far, when something else goes wrong."""
        try:
            self._flush()
            self.folder.write_manifest(complete=False, wall_time_s=time.monotonic() - self.began)
        except (InputError, OSError):
            pass  # the disk is why

    def _hand_out(self) -> None:
        if self.suspects:
            if not self.in_air:
                self._submit([self.suspects.popleft()])
            return
        # Where runs have a deadline a job must not wait for its worker; else the next one lies ready.
        most = self.crew.hands * (1 if self.timeout is not None or isinstance(self.crew, Here) else 2)
        while self.to_do and len(self.in_air) < most:
            self._submit(self._next_runs())

    def _next_runs(self) -> list[int]:
        if self.sweep.kind == "solve":
            block = self.to_do[0] // BLOCK
            runs = []
            while self.to_do and self.to_do[0] // BLOCK == block:
                runs.append(self.to_do.popleft())
            return runs
        each = self.busy_s / self.finished if self.finished else JOB_S
        share = math.ceil(len(self.to_do) / (4 * self.crew.hands))
        size = max(1, min(int(JOB_S / max(each, 1e-4)), share, BLOCK))
        return [self.to_do.popleft() for _ in range(min(size, len(self.to_do)))]

    def _submit(self, runs: list[int]) -> None:
        future = self.crew.submit(_job(self.sweep, runs, self.timeout))
        self.in_air[future] = runs

    def _take_in(self) -> None:
        """Wait for a job to end, and keep what it came to."""
        done, _ = wait(self.in_air, timeout=0.1, return_when=FIRST_COMPLETED)
        died = False
        for future in done:
            died |= not self._keep(future, self.in_air.pop(future))
        if died:
            self._begin_anew()
        elif self.timeout is not None:
            self._end_the_late()
        if not done:
            self.crew.look()
        if done and self.watch is not None:
            self._tell()

    def _keep(self, future: Future[Done], runs: list[int]) -> bool:
        """Keep the rows of a job, or suspect its runs; whether the other workers still live."""
        alone = len(runs) == 1 and not (self.crew.shared_fate and self.in_air)
        try:
            result = self.crew.outcome(future)
        except WorkerDiedError:
            self._suspect(runs, alone)
            return not self.crew.shared_fate
        self._add(result.rows, result.rounds)
        self.finished += len(result.rows)
        self.busy_s += result.seconds
        return True

    def _suspect(self, runs: list[int], alone: bool) -> None:
        if alone:
            (run,) = runs
            self.deaths[run] = self.deaths.get(run, 0) + 1
            if self.deaths[run] >= DEATHS:
                self._give_up(run, failed(f"its worker died, {DEATHS} times when it ran alone"))
                return
        self.suspects.extend(runs)

    def _give_up(self, run: int, row: Row) -> None:
        one = _one(self.sweep, run)
        head = {"point": one.point, "replicate": one.replicate, "seed": one.seed}
        self._add([head | row], ())

    def _add(self, rows: Sequence[Row], rounds: Sequence[dict[str, Array] | None]) -> None:
        with held_back():  # rows without their rounds would be taken for done
            self.folder.add(rows, rounds)

    def _flush(self) -> None:
        with held_back():  # rows that are written and kept would be written again
            self.folder.flush()

    def _begin_anew(self) -> None:
        """With new workers; what was in the air is suspect, unless it came down in time."""
        for future, runs in self.in_air.items():
            if future.done():
                try:
                    result = self.crew.outcome(future)
                except WorkerDiedError:
                    self.suspects.extend(runs)
                else:
                    self._add(result.rows, result.rounds)
            else:
                self.suspects.extend(runs)
        self.in_air = {}
        self.crew.renew()

    def _end_the_late(self) -> None:
        """End workers that do not come back from a run; a run that was alone is the one."""
        assert self.timeout is not None
        for future, runs in list(self.in_air.items()):
            if not self.crew.overdue(future, self.timeout * len(runs) + GRACE_S):
                continue
            if len(runs) == 1 and len(self.in_air) == 1:
                del self.in_air[future]
                self._give_up(runs[0], late(self.timeout))
            self._begin_anew()
            return

    def _write_now_and_then(self) -> None:
        """Every half a second at first, later every ten: files stay few, and little is lost."""
        now = time.monotonic()
        if now - self.written >= min(10.0, max(0.5, (now - self.began) / 50)) or self.folder.waiting > 5000:
            self._flush()
            self.written = now

    def _tell(self) -> None:
        assert self.watch is not None
        self.watch(self.folder.n_done, self.folder.failed + self.folder.timed_out, self.sweep.n_runs)

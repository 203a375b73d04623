"""Who does the work of a sweep: this process, processes of this machine, or a Dask cluster.

All are `concurrent.futures` executors underneath.  A crew takes jobs and gives futures; when a worker dies
or never comes back, `renew` begins with new ones.
"""

import itertools
import logging
import multiprocessing
import os
import signal
import sys
import time
import types
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from typing import Any, Protocol
from uuid import uuid4
from weakref import WeakKeyDictionary

from market_sim.errors import InputError
from market_sim.experiments.interrupts import held_back
from market_sim.experiments.sweep_work import Done, Job, ready, work
from market_sim.experiments.workers import end_with_master
from market_sim.theory import blocks

THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""Every worker has one thread for linear algebra: there are as many workers as there is work for cores."""


ANSWERS_S = 10.0
"""Seconds in which a scheduler answers, if there is one."""


COUNT_EVERY_S = 5.0

logger = logging.getLogger("market_sim.sweep")


class WorkerDiedError(Exception):
    """A worker ended in the middle of its job."""


class Crew(Protocol):
    """Workers.

    hands        how many jobs can be done at the same time
    shared_fate  whether the death of one worker ends the jobs of all
    """

    hands: int
    shared_fate: bool

    def start(self) -> None:
        """Have workers.  Raises InputError where none can be had."""

    def submit(self, job: Job) -> Future[Done]: ...

    def renew(self) -> None:
        """End all workers, whatever they do, and begin with new ones."""

    def close(self) -> None:
        """End all workers, whatever they do."""

    def look(self) -> None:
        """Look after the workers, while nothing comes from them."""

    def overdue(self, future: Future[Done], seconds: float) -> bool:
        """Whether a worker has been at a job for longer than that."""

    def outcome(self, future: Future[Done]) -> Done:
        """What a job came to.  Raises WorkerDiedError where its worker did not live to see the end."""


class Here:
    """This process, one job after another."""

    hands = 1
    shared_fate = False

    def start(self) -> None:
        pass

    def submit(self, job: Job) -> Future[Done]:
        future: Future[Done] = Future()
        future.set_result(work(job))
        return future

    def renew(self) -> None:
        pass

    def close(self) -> None:
        pass

    def look(self) -> None:
        pass

    def overdue(self, future: Future[Done], seconds: float) -> bool:
        return False

    def outcome(self, future: Future[Done]) -> Done:
        return future.result()


class Processes:
    """So many processes of this machine."""

    shared_fate = True

    def __init__(self, workers: int) -> None:
        self.hands = workers
        self._pool: ProcessPoolExecutor | None = None
        self._begun: WeakKeyDictionary[Future[Done], float] = WeakKeyDictionary()

    def start(self) -> None:
        context = _context()
        self._pool = ProcessPoolExecutor(
            self.hands, mp_context=context, initializer=_enlisted, initargs=(os.getcwd(),)
        )
        try:
            # All are started at once, so that the first jobs find them ready; who stops the sweep meanwhile
            # waits until they are known, and can be ended.
            with _prepared(), held_back():
                futures = [self._pool.submit(ready) for _ in range(self.hands)]
            for future in futures:
                future.result()
        except (BrokenExecutor, OSError) as error:
            self.close()
            raise InputError(f"--workers {self.hands}: workers cannot be started: {error}") from None

    def submit(self, job: Job) -> Future[Done]:
        assert self._pool is not None
        try:
            with _prepared():
                future = self._pool.submit(work, job)
        except BrokenExecutor as error:  # one died while it had nothing to do
            future = Future()
            future.set_exception(error)
        self._begun[future] = time.monotonic()
        return future

    def renew(self) -> None:
        self.close()
        self.start()

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        for process in processes:
            process.join()

    def look(self) -> None:
        pass

    def overdue(self, future: Future[Done], seconds: float) -> bool:
        """By when it was handed over: where runs have a deadline, no more are than there are processes."""
        return time.monotonic() - self._begun[future] > seconds

    def outcome(self, future: Future[Done]) -> Done:
        try:
            return future.result()
        except (BrokenExecutor, CancelledError) as error:
            raise WorkerDiedError(str(error)) from None


class DaskCluster:
    """The workers of a Dask cluster, through `Client.get_executor`.

    Where a worker dies the scheduler gives its jobs to others, and gives a job up only when several have died
    of it.
    """

    shared_fate = False

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise InputError("--dask needs the package dask: pip install 'market-sim[cluster]'") from None
        try:
            self._client = Client(address, timeout=ANSWERS_S)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"--dask {address}: no scheduler answers there: {error}") from None
        self._address = address
        self._executor: Any = None
        self._deserted = False
        self._topic = f"market-sim-{uuid4().hex}"
        self._next = itertools.count()
        self._numbers: WeakKeyDictionary[Future[Done], int] = WeakKeyDictionary()
        self._begun: dict[int, _Begun] = {}
        self._count()

    def _count(self) -> None:
        threads = sum(self._client.nthreads().values())
        self.hands, self._counted = max(1, threads), time.monotonic()
        if self._executor is not None and (threads == 0) != self._deserted:
            self._deserted = threads == 0
            logger.warning(
                "%s %s",
                self._address,
                "has no workers; waiting for some" if self._deserted else "has workers",
            )

    def start(self) -> None:
        self._executor = self._client.get_executor(pure=False)
        self._client.subscribe_topic(self._topic, self._hear)
        try:
            self._client.wait_for_workers(1, timeout=60)
        except TimeoutError:
            raise InputError(f"--dask {self._address}: has no workers after a minute") from None
        self._count()

    def submit(self, job: Job) -> Future[Done]:
        self.look()
        number = next(self._next)
        future = self._executor.submit(_announced, self._topic, number, job)
        self._numbers[future] = number
        return future

    def look(self) -> None:
        """Count the workers, who come and go, and say so where none is left."""
        if time.monotonic() - self._counted > COUNT_EVERY_S:
            self._count()

    def _hear(self, event: tuple[Any, Any]) -> None:
        _, told = event
        self._begun[told["number"]] = _Begun(worker=told["worker"], at=time.monotonic())

    def overdue(self, future: Future[Done], seconds: float) -> bool:
        """By when a worker that is still there began with it.

        Jobs may wait long for workers, on a cluster that others use or while there are none, and are begun
        again where their worker died.
        """
        begun = self._begun.get(self._numbers[future])
        return (
            begun is not None
            and time.monotonic() - begun.at > seconds
            and begun.worker in self._client.nthreads()
        )

    def renew(self) -> None:
        """Restart all workers: a thread that never comes back cannot be ended otherwise."""
        with suppress(Exception):
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._client.restart(wait_for_workers=False)
        self.start()

    def close(self) -> None:
        with suppress(Exception):
            self._executor.shutdown(wait=False, cancel_futures=True)
        with suppress(Exception):
            self._client.close(timeout=5)

    def outcome(self, future: Future[Done]) -> Done:
        from distributed.scheduler import KilledWorker

        self._begun.pop(self._numbers[future], None)
        try:
            return future.result()
        except KilledWorker as error:
            raise WorkerDiedError(str(error)) from None
        except CancelledError:
            if self._client.status != "running":
                raise InputError(f"--dask {self._address}: the scheduler is gone") from None
            raise WorkerDiedError("the job was cancelled") from None


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """Which worker began with a job, and when, by time.monotonic."""

    worker: str
    at: float


def _announced(topic: str, number: int, job: Job) -> Done:
    """Work on a Dask worker, which first says that it begins."""
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(topic, {"number": number, "worker": worker.address})
    return work(job)


def crew_of(workers: int | None, dask: str | None, kind: str) -> Crew:
    """The crew asked for; left open, one process per core for runs, and this process for what is solved."""
    if dask is not None:
        if workers is not None:
            raise InputError("--workers and --dask exclude each other: a cluster has its own workers")
        return DaskCluster(dask)
    if workers is not None and not 1 <= workers <= 1024:
        raise InputError(f"--workers {workers} is not allowed; it must be at least 1 and at most 1024")
    if workers is None and kind == "solve":
        return Here()
    return Processes(workers or cores())


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _context() -> Any:
    """How processes are started: never by a plain fork, which copies threads' locks.

    A fork server loads what workers need once, so that all of them, and those that take the place of dead
    ones, start at once.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    resource_tracker.ensure_running()  # it would let Ctrl-C through again
    with _prepared(), held_back():
        forkserver.ensure_running()
    return context


@contextmanager
def _prepared() -> Iterator[None]:
    """What new processes find: one thread each, and no main module.

    They would load whatever program this is, to find nothing in it that they need; and a script without
    `if __name__ == "__main__"` would start its sweep again in every worker.
    """
    before = {name: os.environ.get(name) for name in THREAD_COUNTS}
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ.update(dict.fromkeys(THREAD_COUNTS, "1"))
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _enlisted(folder: str) -> None:
    """A worker's first act: where its master is (rules from outside are looked for there), with one thread,
    deaf to Ctrl-C, and gone when its master is."""
    os.chdir(folder)
    blocks.THREADS = 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_master()

"""A sweep on a real Dask cluster of two processes, one of which is killed."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from market_sim.errors import InputError
from market_sim.experiments import crews, runner
from market_sim.experiments.runner import sweep
from market_sim.experiments.store import load
from tests.experiments.test_runner import GRID, table_of
from tests.sweeps import rules_beside, sweep_of, with_rules

TIMEOUT_S = 6.0
"""Long enough for a cluster to notice that it has lost a worker."""

distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@pytest.mark.filterwarnings("ignore")  # a worker that dies is a warning to Dask
def test_a_cluster_gives_the_table_of_one_process_though_a_worker_is_killed(cluster, tmp_path, monkeypatch):
    data = sweep_of(GRID, seeds=40)
    killed = []

    def kill(done, failed, total):
        if done and not killed:
            pids = cluster.scheduler_info["workers"]
            (worker, *_) = cluster.workers.values()
            killed.append((len(pids), worker.pid))
            os.kill(worker.pid, signal.SIGKILL)

    monkeypatch.setattr(runner, "JOB_S", 0.1)
    spread = sweep(data, dask=cluster.scheduler_address, out=tmp_path / "dask", watch=kill)
    assert killed
    assert spread.complete
    assert spread.failed == 0
    monkeypatch.setattr(runner, "crew_of", lambda *_: crews.Here())
    assert table_of(spread.folder) == table_of(sweep(data, out=tmp_path / "here").folder)


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_waits_for_a_worker_is_not_late(tmp_path, monkeypatch, caplog):
    """Its worker goes away in the middle of it, and for longer than a run may take there is none."""
    monkeypatch.chdir(tmp_path)
    rules_beside(tmp_path)
    monkeypatch.setattr(runner, "GRACE_S", 0.1)
    monkeypatch.setattr(crews, "COUNT_EVERY_S", 0.2)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:

        def leave_and_come_back():
            wait_until(Path("begun").exists)
            cluster.scale(0)
            wait_until(lambda: not cluster.scheduler_info["workers"])
            time.sleep(TIMEOUT_S + 1.0)
            Path("leave").touch()
            cluster.scale(1)

        outside = threading.Thread(target=leave_and_come_back)
        outside.start()
        found = sweep(
            with_rules("waiting", seeds=1), dask=cluster.scheduler_address, timeout=TIMEOUT_S, out=tmp_path
        )
        outside.join()
    assert list(load(found.folder).status) == ["ok"]
    said = [message for name, _, message in caplog.record_tuples if name == "market_sim.sweep"]
    assert said[:1] == [f"{cluster.scheduler_address} has no workers; waiting for some"]


def wait_until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it has not come to this within a minute")


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_never_ends_on_a_cluster_is_late(tmp_path, monkeypatch):
    """Even one that takes no notice of its deadline: its worker is restarted, and other runs are done."""
    monkeypatch.chdir(tmp_path)
    rules_beside(tmp_path)
    monkeypatch.setattr(runner, "GRACE_S", 0.1)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        found = sweep(
            with_rules("endless", "heedless", "well", seeds=1),
            dask=cluster.scheduler_address,
            timeout=2.0,
            out=tmp_path,
        )
    table = load(found.folder)
    assert list(table.status) == ["timed out", "timed out", "ok"]
    assert list(table.error[:2]) == ["took more than 2 s"] * 2


@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_does_not_answer_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(crews, "ANSWERS_S", 0.5)
    with pytest.raises(InputError, match=r"--dask tcp://127\.0\.0\.1:9: no scheduler answers there"):
        sweep(sweep_of(GRID), dask="tcp://127.0.0.1:9", out=tmp_path)


def test_dask_that_is_missing_is_a_sentence(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        InputError, match=r"--dask needs the package dask: pip install 'market-sim\[cluster\]'"
    ):
        sweep(sweep_of(GRID), dask="tcp://127.0.0.1:9", out=tmp_path)

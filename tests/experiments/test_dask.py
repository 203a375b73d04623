"""A sweep on a real Dask cluster of two processes, one of which is killed."""

import os
import signal

import pytest

from market_sim.errors import InputError
from market_sim.experiments import crews, runner
from market_sim.experiments.runner import sweep
from tests.experiments.test_runner import GRID, table_of
from tests.sweeps import sweep_of

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

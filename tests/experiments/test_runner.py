"""Sweeps lose nothing and do nothing twice, whatever happens to whoever does them.

Workers are real processes here, and die really; a local Dask cluster is in test_dask.py.
"""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tomli_w

from market_sim.errors import InputError
from market_sim.experiments import crews, runner, store, sweep_store
from market_sim.experiments.runner import sweep
from market_sim.experiments.sweep import load_sweep
from market_sim.experiments.sweep_store import SweepFolder, at_work, locked
from market_sim.experiments.sweep_work import work
from tests.sweeps import rules_beside, sweep_of, with_rules

COMMAND = Path(sys.executable).parent / "market-sim"
PATIENCE_S = 300
"""Seconds after which a test no longer waits for a process."""
GRID = {"regime.kind": ["pay_per_compute", "second_price_auction"], "users.beta": [200.0, 1000.0]}


@pytest.fixture
def odd_rules(tmp_path, monkeypatch):
    """A current folder with rules that misbehave."""
    rules_beside(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("odd_rules", None)


@pytest.fixture
def here(monkeypatch):
    """Runs are played in this process."""
    monkeypatch.setattr(runner, "crew_of", lambda *_: crews.Here())


def table_of(folder: Path) -> bytes:
    return (folder / "table.parquet").read_bytes()


def keys_done(folder: Path) -> list[tuple[int, int]]:
    """Point and replicate of every row in the batches."""
    found = []
    for batch in sorted((folder / "batches").glob("[0-9]*.parquet")):
        rows = pq.read_table(batch, columns=["point", "replicate"])
        found += zip(rows["point"].to_pylist(), rows["replicate"].to_pylist(), strict=True)
    return found


class AnyOrder:
    """Threads that hand jobs back in no particular order."""

    hands, shared_fate = 4, False

    def __init__(self) -> None:
        self.pool, self.dice = ThreadPoolExecutor(4), random.Random(1)

    def start(self) -> None: ...

    def renew(self) -> None: ...

    def submit(self, job) -> Future:
        pause = self.dice.random() / 100
        return self.pool.submit(lambda: (time.sleep(pause), work(job))[1])

    def look(self) -> None: ...

    def overdue(self, future, seconds) -> bool:
        return False

    def outcome(self, future):
        return future.result()

    def close(self) -> None:
        self.pool.shutdown()


def test_the_table_does_not_depend_on_workers_or_order(tmp_path, monkeypatch):
    data = sweep_of(GRID, seeds=6)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "crew_of", lambda *_: crews.Here())
        alone = sweep(data, out=tmp_path / "alone")
    with monkeypatch.context() as patch:
        patch.setattr(runner, "crew_of", lambda *_: AnyOrder())
        patch.setattr(runner, "JOB_S", 0.0)
        shuffled = sweep(data, out=tmp_path / "shuffled")
    spread = sweep(data, out=tmp_path / "spread", workers=2)
    assert alone.complete
    assert alone.done == alone.runs == 24
    assert table_of(alone.folder) == table_of(shuffled.folder) == table_of(spread.folder)


def test_every_run_meets_the_same_users_whatever_the_point(tmp_path, here):
    """With one offer that everybody takes there is nothing but the seed to tell runs apart."""
    frame = sweep(sweep_of({"market.margin": [0.1, 0.2]}, seeds=4), out=tmp_path).to_frame()
    by_point = frame.pivot(index="replicate", columns="point", values="seed")
    assert (by_point[0] == by_point[1]).all()
    assert by_point[0].is_unique


def test_a_whole_sweep_is_not_done_again(tmp_path, here, monkeypatch):
    first = sweep(sweep_of(GRID), out=tmp_path)
    monkeypatch.setattr(crews.Here, "submit", lambda *_: pytest.fail("a run was done again"))
    assert sweep(sweep_of(GRID), out=tmp_path) == first


def test_rounds_are_kept_where_they_are_asked_for(tmp_path, here, monkeypatch):
    monkeypatch.setattr(sweep_store, "RUNS_AT_ONCE", 300)  # several slices of rounds
    result = sweep(sweep_of(GRID, seeds=3, rounds=5, keep_rounds=True), out=tmp_path)
    rounds = pq.read_table(result.folder / "rounds.parquet").to_pandas()
    assert rounds[["point", "replicate", "round"]].values.tolist() == [
        [p, r, n] for p in range(4) for r in range(3) for n in range(6)
    ]
    means = rounds[rounds["round"] > 0].groupby(["point", "replicate"])["price_usd"].mean()
    frame = result.to_frame().set_index(["point", "replicate"])
    early = frame["warm_up"] == 0
    assert early.any()
    assert frame["price_usd"][early].tolist() == pytest.approx(means[early].tolist(), rel=1e-12)


def test_columns_have_the_types_of_their_values(tmp_path, here):
    axes = {
        "users.beta": [200, 1000.0],
        "users.count": [5],
        "market.margin": [0.25, {"Llama-3-8B": 0.1, "Qwen2-7B": 0.2}],
        "regime.kind": ["planner"],
    }
    frame = sweep(sweep_of(axes), out=tmp_path).to_frame()
    assert frame["users.beta"].tolist() == [200.0, 200.0, 1000.0, 1000.0]
    assert frame["users.count"].dtype == "int64"
    assert frame["market.margin"].tolist()[:2] == ["0.25", '{"Llama-3-8B": 0.1, "Qwen2-7B": 0.2}']
    assert list(frame.columns[:9]) == [
        "point",
        "replicate",
        "seed",
        "users.beta",
        "users.count",
        "market.margin",
        "regime.kind",
        "status",
        "error",
    ]


# What runs do


def test_a_run_that_raises_is_a_row_with_its_error(odd_rules, here):
    result = sweep(with_rules("well", "raising"), out="out")
    frame = result.to_frame()
    assert frame["status"].tolist() == ["ok", "ok", "failed", "failed"]
    assert frame["error"].tolist()[2:] == ["LookupError: nothing to be found"] * 2
    assert frame["welfare_usd"].isna().tolist() == [False, False, True, True]
    assert (result.failed, result.complete) == (2, True)


def test_a_run_that_never_ends_is_given_up_and_the_others_are_done(odd_rules, here):
    frame = sweep(with_rules("endless", "well", seeds=1), out="out", timeout=0.3).to_frame()
    assert frame["status"].tolist() == ["timed out", "ok"]
    assert frame["error"][0] == "took more than 0.3 s"


def test_a_run_that_never_ends_in_a_thread_is_given_up_too(odd_rules, monkeypatch):
    monkeypatch.setattr(runner, "crew_of", lambda *_: AnyOrder())
    frame = sweep(with_rules("endless", "well", seeds=1), out="out", timeout=0.5).to_frame()
    assert frame["status"].tolist() == ["timed out", "ok"]


def test_workers_that_die_and_runs_that_hear_nothing_cost_their_own_runs_only(odd_rules, monkeypatch):
    """One sweep with all that can go wrong: a rule that kills its worker every time, one that does it once,
    one that never ends and lets no signal through.  Innocent runs beside them are done."""
    monkeypatch.setattr(runner, "GRACE_S", 1.0)
    data = with_rules("deadly", "well", "deadly_once", "deaf", "endless", seeds=1)
    result = sweep(data, out="out", workers=2, timeout=1.0)
    frame = result.to_frame()
    assert frame["status"].tolist() == ["failed", "ok", "ok", "timed out", "timed out"]
    assert frame["error"][0] == "its worker died, 2 times when it ran alone"
    assert (result.failed, result.timed_out) == (1, 2)
    deaf = [int(line) for line in (odd_rules / "deaf").read_text().split()]
    assert not any(alive(process) for process in deaf)


def alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_that_cannot_be_started_end_the_sweep_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(crews, "ready", die)
    with pytest.raises(InputError, match="--workers 1: workers cannot be started"):
        sweep(sweep_of(GRID), out=tmp_path, workers=1)


def die() -> None:
    os._exit(3)


def test_a_script_without_a_guard_sweeps_once(tmp_path):
    """Workers do not load the program that started them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import market_sim as ms\n"
        "print('begun', flush=True)\n"
        f"ms.sweep({sweep_of(GRID)!r}, workers=2, out='out')\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "begun\n"
    assert done.stderr == ""


# What happens to those who do sweeps


@pytest.fixture
def begin():
    """Begins the command, at work in a process group of its own; what is left of it ends with the test."""
    processes: list[subprocess.Popen] = []

    def begin(folder: Path, data: dict, workers: int = 2) -> subprocess.Popen:
        (folder / "sweep.toml").write_text(tomli_w.dumps(data), encoding="utf-8")
        options = ["--workers", str(workers), "--out", "out", "--resume", "--json"]
        # A test run begun in the background ignores Ctrl-C, and would hand that on.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            processes.append(
                subprocess.Popen(
                    [COMMAND, "sweep", "sweep.toml", *options],
                    cwd=folder,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
        finally:
            signal.signal(signal.SIGINT, before)
        return processes[-1]

    yield begin
    for process in processes:
        with process:
            process.kill()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Until it holds, or the process has ended; a slow machine may take its time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sweep_that_is_killed_ten_times_loses_nothing_and_does_nothing_twice(tmp_path, begin):
    """At random moments: soon after it began, or soon after rows came to the disk."""
    data = sweep_of(GRID, seeds=100, rounds=10)
    whole = sweep(data, out=tmp_path / "whole", workers=2)
    folder, dice = tmp_path / "out" / "sweeps" / whole.folder.name, random.Random(5)
    found: set[tuple[int, int]] = set()
    for number in range(10):
        before = found
        process = begin(tmp_path, data, workers=1 + number % 2)
        wait_for(lambda: at_work(folder), process)
        if number % 3 == 1:
            wait_for(lambda before=before: set(keys_done(folder)) > before, process)
        time.sleep(dice.random() / 2)
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        keys = keys_done(folder)
        found = set(keys)
        assert len(found) == len(keys)
        assert found >= before
        assert found > before or number % 3 != 1 or len(before) == whole.runs
    left = begin(tmp_path, data)
    output, errors = left.communicate(timeout=PATIENCE_S)
    assert left.returncode == 0, errors
    assert json.loads(output)["done"] == whole.runs
    assert sorted(keys_done(folder)) == [(p, r) for p in range(4) for r in range(100)]
    assert table_of(folder) == table_of(whole.folder)
    assert not [path for path in folder.rglob(".*")]


def test_workers_of_a_sweep_that_is_killed_end_too_and_its_folder_is_free(odd_rules, begin):
    data = with_rules("deaf", seeds=1)
    process = begin(odd_rules, data, workers=1)
    noted = odd_rules / "deaf"
    wait_for(lambda: noted.exists() and noted.read_text().endswith("\n"), process)
    (folder,) = (odd_rules / "out" / "sweeps").iterdir()
    worker = int(noted.read_text().split()[0])
    assert at_work(folder)
    with pytest.raises(InputError, match=rf"another sweep is at work there \(process {process.pid} on"):
        sweep(data, out="out", resume=True)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert not at_work(folder)
    deadline = time.monotonic() + PATIENCE_S
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(worker)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_keeps_what_is_done_and_says_so(tmp_path, begin, stop):
    data = sweep_of(GRID, seeds=3000)
    process = begin(tmp_path, data)
    folder = runner.folder_of(load_sweep(data), tmp_path / "out")
    wait_for(lambda: bool(keys_done(folder)), process)
    process.send_signal(stop)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert output == ""
    assert errors == (
        "market-sim: what is done is kept; --resume goes on from there\n"
        "market-sim: stopped; nothing half-written was left\n"
    )
    assert runner.status(data, out=tmp_path / "out").done == len(keys_done(folder)) > 0
    assert json.loads((folder / "manifest.json").read_text())["complete"] is False


@pytest.mark.parametrize("pause_s", [0.0, 0.3, 0.6])
def test_a_sweep_that_is_stopped_while_its_workers_start_says_no_more_than_that(tmp_path, begin, pause_s):
    """Ctrl-C in a terminal goes to all processes of a program, whatever they are about."""
    data = sweep_of(GRID, seeds=3000)
    process = begin(tmp_path, data)
    folder = runner.folder_of(load_sweep(data), tmp_path / "out")
    wait_for(lambda: at_work(folder), process)
    time.sleep(pause_s)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert errors == (
        "market-sim: what is done is kept; --resume goes on from there\n"
        "market-sim: stopped; nothing half-written was left\n"
    )


def test_a_second_sweep_on_a_folder_is_refused_and_a_look_at_it_is_not(tmp_path, here):
    path = runner.folder_of(load_sweep(sweep_of(GRID)), tmp_path)
    with locked(path), pytest.raises(InputError, match="another sweep is at work there"):
        sweep(sweep_of(GRID), out=tmp_path)
    with locked(path):
        assert runner.status(sweep_of(GRID), out=tmp_path).at_work
    assert not runner.status(sweep_of(GRID), out=tmp_path).at_work
    assert sweep(sweep_of(GRID), out=tmp_path).complete


# What is refused


def interrupted(data: dict, out: Path, monkeypatch, after: int = 2):
    """A sweep of which the first jobs are done."""
    jobs = []

    def submit(self, job):
        if len(jobs) == after:
            raise KeyboardInterrupt
        jobs.append(job)
        future = Future()
        future.set_result(work(job))
        return future

    with monkeypatch.context() as patch:
        patch.setattr(runner, "crew_of", lambda *_: crews.Here())
        patch.setattr(crews.Here, "submit", submit)
        with pytest.raises(KeyboardInterrupt):
            sweep(data, out=out)
    return runner.status(data, out=out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_between_two_steps_has_no_row_without_its_rounds(
    tmp_path, monkeypatch, here, number
):
    data = sweep_of(GRID, seeds=4, keep_rounds=True)
    whole = sweep(data, out=tmp_path / "whole")
    usual, stopped = sweep_store.SweepFolder._rounds_of, []

    def stop(self, *arguments):
        if not stopped:
            stopped.append(True)
            signal.raise_signal(number)
        return usual(self, *arguments)

    def as_ctrl_c(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sweep_store.SweepFolder, "_rounds_of", stop)
        before = signal.signal(number, as_ctrl_c)
        try:
            with pytest.raises(KeyboardInterrupt):
                sweep(data, out=tmp_path / "out")
        finally:
            signal.signal(number, before)
    assert stopped
    again = sweep(data, out=tmp_path / "out", resume=True)
    for table in ("table.parquet", "rounds.parquet"):
        assert (again.folder / table).read_bytes() == (whole.folder / table).read_bytes()


def test_a_sweep_that_was_begun_goes_on_with_resume_only(tmp_path, monkeypatch, here):
    data = sweep_of(GRID, seeds=4)
    found = interrupted(data, tmp_path, monkeypatch)
    assert 0 < found.done < 16
    with pytest.raises(InputError, match="was begun and is not whole; --resume goes on with it"):
        sweep(data, out=tmp_path)
    before = table_of(sweep(data, out=tmp_path / "other").folder)
    assert table_of(sweep(data, out=tmp_path, resume=True).folder) == before


def test_resume_with_a_changed_file_is_refused_with_what_changed(tmp_path, monkeypatch, here):
    interrupted(sweep_of(GRID, seeds=4), tmp_path, monkeypatch)
    changed = sweep_of(GRID | {"users.beta": [200.0, 900.0]}, seeds=5)
    with pytest.raises(InputError) as caught:
        sweep(changed, out=tmp_path, resume=True)
    assert "axes.users.beta: was [200.0, 1000.0], is [200.0, 900.0]" in str(caught.value)
    assert "seeds: was 4, is 5" in str(caught.value)
    said = runner.begun_before(changed, out=tmp_path)
    assert said is not None
    assert str(caught.value).startswith(said)
    assert sweep(changed, out=tmp_path).complete
    assert runner.begun_before(changed, out=tmp_path) is None


def test_a_changed_sweep_says_how_to_go_on_with_what_was_begun(tmp_path, monkeypatch, here):
    begun = interrupted(sweep_of(GRID, seeds=4), tmp_path, monkeypatch)
    said = runner.begun_before(sweep_of(GRID, seeds=5), out=tmp_path)
    file = begun.folder / "sweep.toml"
    assert said is not None
    assert f"{file} is the sweep as it was" in said
    assert sweep(file, out=tmp_path, resume=True).folder == begun.folder
    assert runner.begun_before(sweep_of(GRID, seeds=5), out=tmp_path) is None  # nothing is left to go on with


def test_resume_with_changed_rules_or_files_is_refused_by_name(odd_rules, monkeypatch, here):
    interrupted(with_rules("well", seeds=8), Path("out"), monkeypatch)
    with (odd_rules / "odd_rules.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(InputError, match="odd_rules:well has another content"):
        sweep(with_rules("well", seeds=8), out="out", resume=True)


def test_runs_that_went_wrong_are_done_again_where_that_is_wanted(odd_rules, here):
    data = with_rules("well", "waiting", "raising")
    first = sweep(data, out="out", timeout=0.5)
    assert first.to_frame()["status"].tolist() == ["ok"] * 2 + ["timed out"] * 2 + ["failed"] * 2
    Path("leave").touch()
    assert sweep(data, out="out", resume=True) == first
    again = sweep(data, out="out", retry=True, timeout=60.0)
    assert again.folder == first.folder
    assert again.to_frame()["status"].tolist() == ["ok"] * 4 + ["failed"] * 2
    assert table_of(again.folder) == table_of(sweep(data, out="anew").folder)
    assert (again.failed, again.timed_out, again.done) == (2, 0, 6)


def test_resume_with_another_program_is_refused(tmp_path, monkeypatch, here):
    interrupted(sweep_of(GRID, seeds=4), tmp_path, monkeypatch)
    monkeypatch.setattr(sweep_store, "code_digest", lambda: "0" * 12)
    with pytest.raises(InputError, match=r"was begun otherwise: code of market-sim: was \w{12}, is 0{12}"):
        sweep(sweep_of(GRID, seeds=4), out=tmp_path, resume=True)


def test_resume_with_other_versions_is_refused(tmp_path, monkeypatch, here):
    interrupted(sweep_of(GRID, seeds=4), tmp_path, monkeypatch)
    monkeypatch.setattr(sweep_store, "versions", lambda: store.versions() | {"numpy": "1.0"})
    with pytest.raises(InputError, match=r"was begun otherwise: numpy: was .*, is 1.0"):
        sweep(sweep_of(GRID, seeds=4), out=tmp_path, resume=True)


def test_a_batch_that_cannot_be_read_is_named(tmp_path, monkeypatch, here):
    found = interrupted(sweep_of(GRID, seeds=4), tmp_path, monkeypatch)
    (found.folder / "batches" / "000001.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"000001.parquet: cannot be read; remove it, and --resume"):
        sweep(sweep_of(GRID, seeds=4), out=tmp_path, resume=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"workers": 0}, "--workers 0 is not allowed"),
        ({"timeout": -1.0}, "--timeout -1 is not allowed"),
        ({"workers": 2, "dask": "tcp://localhost:1"}, "--workers and --dask exclude each other"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        sweep(sweep_of(GRID), out=tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


# What happens to disks


def test_a_disk_that_fills_up_stops_the_sweep_with_a_sentence_and_leaves_what_was_done(
    tmp_path, monkeypatch, here
):
    data, writes = sweep_of(GRID, seeds=4), []

    def write(path, content):
        if path.parent.name == "batches" and len(writes) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        writes.append(path) if path.parent.name == "batches" else None
        return original(path, content)

    original = sweep_store.write_whole
    monkeypatch.setattr(sweep_store, "write_whole", write)
    monkeypatch.setattr(SweepFolder, "waiting", 10**6)  # every job is written at once
    monkeypatch.setattr(runner, "JOB_S", 0.0)
    with pytest.raises(InputError) as caught:
        sweep(data, out=tmp_path)
    folder = runner.folder_of(load_sweep(data), tmp_path)
    assert str(caught.value) == (
        f"{folder}: cannot be written: No space left on device; 2 of 16 runs are kept, and --resume goes on "
        "from there"
    )
    monkeypatch.setattr(sweep_store, "write_whole", original)
    assert table_of(sweep(data, out=tmp_path, resume=True).folder) == table_of(
        sweep(data, out=tmp_path / "other").folder
    )


def test_a_sweep_on_a_disk_that_is_really_full_leaves_what_was_done(tmp_path, here, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tiny disk is not permitted here")
    try:
        monkeypatch.setattr(SweepFolder, "waiting", 10**6)
        monkeypatch.setattr(runner, "JOB_S", 0.0)
        data = sweep_of(GRID, seeds=20)
        with pytest.raises(InputError, match=r"No space left on device; \d+ of 80 runs are kept"):
            sweep(data, out=disk)
        folder = runner.folder_of(load_sweep(data), disk)
        kept = keys_done(folder)
        assert 0 < len(kept) < 80
        assert not [path for path in folder.rglob(".*")]
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert table_of(sweep(data, out=disk, resume=True).folder) == table_of(
            sweep(data, out=tmp_path / "other").folder
        )
        assert set(kept) <= set(keys_done(folder))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# What is said before and after


def test_an_outlook_counts_runs_and_writes_nothing(tmp_path):
    found = runner.outlook(sweep_of(GRID, seeds=50), workers=2, out=tmp_path)
    assert (found.points, found.replicates, found.runs, found.workers) == (4, 50, 200, 2)
    assert found.seconds == pytest.approx(found.seconds_per_run * 100)
    assert found.seconds_per_run > 0
    assert not list(tmp_path.iterdir())


def test_who_watches_sees_every_run_and_every_failure(odd_rules, here):
    seen = []
    sweep(with_rules("well", "raising", seeds=3), out="out", watch=lambda *state: seen.append(state))
    assert seen[0] == (0, 0, 6)
    assert seen[-1] == (6, 3, 6)
    assert seen == sorted(seen)

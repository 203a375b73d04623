"""market-sim sweep: one table, one sentence and exit code 2 for bad input."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from market_sim import cli
from market_sim.experiments import runner
from market_sim.experiments.catalogue import scenarios
from market_sim.experiments.sweep import load_sweep
from market_sim.experiments.sweep_check import check_points
from market_sim.screen import sweeps
from tests.sweeps import BASE, rules_beside, sweep_of, with_rules

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).parent / "market-sim"
SHIPPED = sorted((ROOT / "runs" / "sweeps").glob("*.toml"))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a sweep that is solved and one that is played."""
    exact = {"name": "exact", "kind": "solve", "base": BASE, "axes": {"users.beta": [200, 1000]}}
    (tmp_path / "exact.toml").write_text(tomli_w.dumps(exact), encoding="utf-8")
    played = sweep_of({"users.beta": [200, 1000]}, seeds=3)
    (tmp_path / "played.toml").write_text(tomli_w.dumps(played), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def called(monkeypatch, capsys):
    """The command in this process: (exit code, standard output, standard error)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["market-sim", "sweep", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        output, errors = capsys.readouterr()
        return caught.value.code, output, errors

    return call


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_can_be_done(file):
    if "sobol" in file.read_text(encoding="utf-8"):
        pytest.importorskip("SALib", reason="SALib, which makes designs, is not installed")
    sweep = load_sweep(file)
    if sweep.n_points <= 1000:
        check_points(sweep)
    assert sweep.n_runs >= 60


def test_sweep_files_are_no_scenarios(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert SHIPPED
    assert not any("sweeps" in row["file"] for row in scenarios())


def test_a_sweep_says_where_its_table_is(folder, called):
    code, output, errors = called("exact.toml")
    assert (code, errors) == (0, "")
    assert "exact, complete: 2 of 2 runs done" in output
    (table,) = (folder / "runs" / "out" / "sweeps").glob("exact-*/table.parquet")
    assert str(table.relative_to(folder)) in output
    code, output, _ = called("exact.toml", "--json")
    assert code == 0
    assert json.loads(output)["table"] == str(table.relative_to(folder))


def test_a_look_before_and_after(folder, called):
    code, output, _ = called("played.toml", "--dry-run", "--workers", "2")
    assert code == 0
    assert re.search(r"2 points x 3 seeds = 6 runs, about \d+ s with 2\s+workers", output)
    assert not (folder / "runs").exists()
    assert json.loads(called("played.toml", "--dry-run", "--json")[1])["runs"] == 6
    assert "tiny, not begun: 0 of 6 runs done" in called("played.toml", "--status")[1]
    assert json.loads(called("played.toml", "--status", "--json")[1])["complete"] is False


def test_what_was_begun_before_the_file_changed_is_named(folder, called, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(runner._Shift, "_hand_out", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        assert called("played.toml")[0] == 130
    code, output, errors = called("played.toml", "--status")
    assert (code, errors) == (0, "")
    assert "tiny, stopped: 0 of 6 runs done (--resume goes on)" in output
    text = (folder / "played.toml").read_text(encoding="utf-8")
    (folder / "played.toml").write_text(text.replace("seeds = 3", "seeds = 4"), encoding="utf-8")
    for options, state in (("--status",), "not begun: 0 of 8"), ((), "complete: 8 of 8"):
        code, output, errors = called("played.toml", *options)
        assert code == 0
        assert state in output
        assert "played.toml: has changed since" in errors
        assert "was begun: seeds: was 3, is 4" in errors
    assert called("played.toml", "--status")[2] == ""


def test_runs_that_go_wrong_say_why(folder, called):
    rules_beside(folder)
    (folder / "bad.toml").write_text(tomli_w.dumps(with_rules("well", "raising")), encoding="utf-8")
    first = (
        "point 1 (providers.learning = {'rule': 'odd_rules:raising'}), replicate 0: "
        "LookupError: nothing to be found"
    )
    code, output, _ = called("bad.toml", "--dry-run")
    assert code == 0
    assert f"2 of 3 runs that were tried fail, first {first}" in output
    code, output, _ = called("bad.toml", "--workers", "1")
    assert code == 0
    assert "4 of 4 runs done, of which 2 failed" in output
    assert f"First error: {first}" in output
    assert json.loads(called("bad.toml", "--status", "--json")[1])["first_error"] == first


@pytest.mark.parametrize(
    ("rule", "why"), [("deadly", "its worker died"), ("heedless", "took more than 0.5 s")]
)
def test_a_look_ahead_survives_what_a_rule_does(folder, called, monkeypatch, rule, why):
    monkeypatch.setattr(runner, "GRACE_S", 0.5)
    rules_beside(folder)
    (folder / "bad.toml").write_text(tomli_w.dumps(with_rules(rule, seeds=1)), encoding="utf-8")
    code, output, _ = called("bad.toml", "--dry-run", "--timeout", "0.5")
    assert code == 0
    assert "1 of 1 runs that were tried fail, first point 0" in output
    assert why in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere.toml",), "nowhere.toml: there is no such sweep file"),
        (("played.toml", "--workers", "0"), "--workers 0 is not allowed; it must be at least 1"),
        (("played.toml", "--timeout", "0"), "--timeout 0 is not allowed; it must be above 0"),
        (("played.toml", "--dry-run", "--status"), "--dry-run and --status exclude each other"),
        (("played.toml", "--worker", "2"), "No such option: --worker"),
    ],
)
def test_bad_input_ends_with_one_sentence_and_code_2(folder, called, arguments, sentence):
    code, output, errors = called(*arguments)
    assert (code, output) == (2, "")
    assert sentence in errors
    assert errors.count("\n") == 1


def test_a_person_sees_how_many_are_done_how_fast_and_how_long_it_takes(folder):
    """In a real terminal, on standard error; the bar is gone afterwards."""
    master, slave = pty.openpty()
    command = [COMMAND, "sweep", "played.toml", "--workers", "1"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, env=environment, check=True)
    os.close(slave)
    seen = b""
    while chunk := _read(master):
        seen += chunk
    os.close(master)
    assert b"6 of 6 runs done" in done.stdout
    assert re.search(r"played .*\d of 6 runs, [\d,]+/(s|min), \d+ s left", seen.decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end was closed
        return b""


def test_times_and_rates_are_said_in_units_that_fit():
    assert [sweeps._time(s) for s in (0.4, 59, 61, 3700, 90000)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 1 min",
        "1 d 1 h",
    ]
    assert [sweeps._rate(r) for r in (1234.0, 1.0, 0.5, 0.001)] == ["1,234/s", "1/s", "30/min", "3.6/h"]

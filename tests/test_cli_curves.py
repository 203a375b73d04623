"""`market-sim curves`: build, check, show, as a user calls them."""

import json
import sys

import pytest

from market_sim import cli
from tests.raw_runs import drawn, published, write_lines
from tests.test_cli import assert_one_sentence, one_object, really


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two models' runs, in which commands are called."""
    for seed, model in enumerate(("Qwen2-7B", "Meta-Llama-3-8B-Instruct")):
        published(tmp_path / "runs", model, drawn(seed))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def called(monkeypatch, capsys):
    """The command in this process: (exit code, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["market-sim", "curves", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return call


BUILD = ("build", "runs", "--benchmark", "GSM8K", "--levels", "1,2,4", "--draws", "40")


def test_build_prints_one_json_object_and_names_the_files_it_left(folder):
    done = really(
        "curves",
        *BUILD,
        "--rename",
        "Meta-Llama-3-8B-Instruct=Llama-3-8B",
        "--out",
        "out/x.csv",
        "--json",
        at=folder,
    )
    assert (done.returncode, done.stderr) == (0, "")
    data = one_object(done.stdout)
    assert (data["benchmark"], data["n_questions"]) == ("GSM8K", 12)
    assert {row["model"] for row in data["curves"]} == {"Qwen2-7B", "Llama-3-8B"}
    assert data["files"] == ["out/x.csv", "out/x.draws.parquet", "out/x.provenance.json"]
    assert all((folder / file).stat().st_size > 0 for file in data["files"])


def test_build_check_show_and_solve_follow_each_other(folder, called):
    run = next((folder / "runs").glob("Qwen*"))
    run.write_text(run.read_text() + "{broken\n")
    code, out, err = called(
        *BUILD, "--method", "majority_voting", "--method", "reasoning_effort", "--bins", "2", "--out", "x.csv"
    )
    assert (code, err) == (0, "")
    for words in (
        "12 questions",
        "line 13: is not JSON",
        "1 line broken or unlike the others, left out.",
        "majority_voting",
    ):
        assert words in out
    code, out, err = called("check", "x.csv")
    assert (code, err) == (0, "")
    assert "a curve file" in out
    assert "nothing is wrong" in out
    code, out, err = called("show", "x.csv", "--out", "pictures")
    assert (code, err) == (0, "")
    assert "GSM8K, reasoning_effort" in out
    assert (folder / "pictures" / "x-accuracy.png").stat().st_size > 0
    (folder / "x.toml").write_text(
        'name = "x"\n[market]\ncurves = "x.csv"\nmethod = "majority_voting"\n'
        'prices = {"Meta-Llama-3-8B-Instruct" = 0.2}\n'
    )
    assert really("solve", "x.toml", "--json", at=folder).returncode == 0


def test_check_ends_with_one_where_something_is_wrong(folder, called):
    run = next((folder / "runs").glob("Qwen*"))
    run.write_text(run.read_text() + "{broken\n")
    code, out, err = called("check", str(run))
    assert (code, err) == (1, "")
    assert "line 13: is not JSON" in out
    code, out, _ = called("check", str(run), "--json")
    (file,) = one_object(out)["files"]
    assert (code, file["troubles"][0]["line"]) == (1, 13)


def test_show_prints_one_json_object(folder, called):
    called(*BUILD, "--out", "x.csv", "--json")
    code, out, _ = called("show", "x.csv", "--json")
    data = one_object(out)
    assert code == 0
    assert len(data["curves"]) == 6
    assert all(row["accuracy_low"] <= row["accuracy"] for row in data["curves"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("build",), "PATHS"),
        (("build", "runs"), "--benchmark"),
        (("build", "none", "--benchmark", "G"), "none: there is no such file"),
        ((*BUILD, "--method", "vote"), "--method = 'vote' is not one of majority_voting"),
        ((*BUILD, "--method", "reasoning_effort", "--bins", "x"), "--bins"),
        (("build", "runs", "--benchmark", "G", "--levels", "1,two"), "--levels: 'two' is not a whole number"),
        (("build", "runs", "--benchmark", "G", "--levels", ""), "--levels: '' is not a whole number"),
        ((*BUILD, "--rename", "Qwen2-7B"), "--rename: 'Qwen2-7B' is not OLD=NEW"),
        ((*BUILD, "--rename", "Qwen2-7B=a", "--rename", "Qwen2-7B=b"), "--rename names 'Qwen2-7B' twice"),
        ((*BUILD, "--format", "json"), "--format = 'json' is not one of auto"),
        ((*BUILD, "--out", "x.parquet"), "x.parquet: the name of a curve file ends in .csv"),
        ((*BUILD, "--out", "runs/x.csv/y.csv", "--draws", "0"), "--draws = 0"),
        (("check", "none.csv"), "none.csv: there is no such file"),
        (("show", "none.csv"), "none.csv: there is no such file"),
        (("shwo", "x.csv"), "shwo"),
    ],
)
def test_a_bad_request_ends_with_one_sentence(folder, called, arguments, says):
    assert says in assert_one_sentence(*called(*arguments))
    assert [path.name for path in folder.iterdir()] == ["runs"]


def test_strict_refuses_a_broken_line_and_writes_nothing(folder, called):
    run = next((folder / "runs").glob("Qwen*"))
    run.write_text(run.read_text() + "{broken\n")
    sentence = assert_one_sentence(*called(*BUILD, "--strict"))
    assert "line 13: is not JSON" in sentence
    assert [path.name for path in folder.iterdir()] == ["runs"]


def test_a_build_that_is_stopped_says_so_and_leaves_nothing(folder, called, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("market_sim.experiments.curves._curves", stop)
    code, out, err = called(*BUILD)
    assert (code, out) == (130, "")
    assert "stopped; nothing half-written was left" in err
    assert [path.name for path in folder.iterdir()] == ["runs"]


def test_solving_own_curves_needs_no_reader_of_raw_files(folder, called):
    called(*BUILD, "--rename", "Meta-Llama-3-8B-Instruct=Llama-3-8B", "--out", "x.csv")
    (folder / "x.toml").write_text('name = "x"\n[market]\ncurves = "x.csv"\n')
    done = really("solve", "x.toml", "--json", at=folder)
    assert one_object(done.stdout)["results"][0]["providers"] == ["Llama-3-8B", "Qwen2-7B"]


def test_an_unknown_file_in_a_folder_is_named_on_the_screen(folder, called):
    write_lines(folder / "runs" / "notes.jsonl", [{"id": 1}])
    code, out, _ = called(*BUILD, "--out", "x.csv")
    assert code == 0
    assert "runs/notes.jsonl: is no raw evaluation of the format wanted, and was not read." in out
    assert json.loads((folder / "x.provenance.json").read_text())["ignored"] == ["runs/notes.jsonl"]

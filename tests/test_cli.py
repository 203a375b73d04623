"""The command line: results on standard output, one sentence and exit code 2 for bad input, nothing
half-written.  Each command goes once through its real entry point; variants are called in this process."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from market_sim import cli
from market_sim.experiments import paper
from market_sim.simulation.model import MarketModel

COMMAND = Path(sys.executable).parent / "market-sim"

GOOD = """
name = "tiny"
rounds = 4
[market]
benchmark = "GSM8K"
method = "majority_voting"
models = ["Llama-3-8B", "Qwen2.5-7B"]
[users]
count = 60
beta = 900.0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with one good scenario, in which commands are called."""
    (tmp_path / "good.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def really(*arguments: str, at: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user calls it."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=at,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def called(monkeypatch, capsys):
    """The command in this process: (exit code, standard output, standard error)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["market-sim", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return call


def assert_one_sentence(code: int, out: str, err: str) -> str:
    """Exit code 2 and one line on standard error, nothing on standard output."""
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert err.startswith("market-sim: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert not err.rstrip("\n").endswith(("None", ": "))
    return err


def one_object(text: str) -> dict:
    """Standard output that is one JSON object on one line."""
    assert text.count("\n") == 1
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(data, dict)
    return data


# --- Every command through its entry point ----------------------------------------------------------


def test_solve_prints_one_json_object_and_nothing_else(folder):
    done = really("solve", "good.toml", "--beta", "200,1000", "--json", at=folder)
    assert (done.returncode, done.stderr) == (0, "")
    results = one_object(done.stdout)["results"]
    assert [result["beta"] for result in results] == [200.0, 1000.0]
    assert results[0]["providers"] == ["Llama-3-8B", "Qwen2.5-7B"]


def test_run_prints_one_json_object_and_leaves_a_whole_folder(folder):
    done = really("run", "good.toml", "--json", "--seed", "5", "--rounds", "2", "--out", "out", at=folder)
    assert (done.returncode, done.stderr) == (0, "")
    result = one_object(done.stdout)
    assert (result["seed"], result["rounds"], result["regime"]) == (5, 2, "pay_per_compute")
    assert result["convergence"]["rounds"] == 2
    assert json.loads((folder / result["folder"] / "manifest.json").read_text())["complete"] is True


@pytest.mark.parametrize("missing", ["uvicorn", "solara"])
def test_serve_without_its_extra_names_the_extra_and_how_to_get_it(called, folder, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    sentence = assert_one_sentence(*called("serve", "good.toml"))
    assert f"needs the extra viz ({missing} is not installed)" in sentence
    assert "pip install 'market-sim[viz]'" in sentence


def test_serve_refuses_a_bad_scenario_and_a_port_that_is_none(called, folder):
    assert "nowhere.toml" in assert_one_sentence(*called("serve", "nowhere.toml"))
    assert "--port" in assert_one_sentence(*called("serve", "--port", "70000"))


def test_compare_prints_one_json_object_and_names_the_files_it_left(folder):
    done = really("compare", "good.toml", "--json", "--out", "out", at=folder)
    assert (done.returncode, done.stderr) == (0, "")
    result = one_object(done.stdout)
    assert [each["regime"] for each in result["regimes"]] == ["pay_per_compute", "second_price_auction"]
    assert len(result["sentences"]) >= 3
    assert all((folder / file).stat().st_size > 0 for file in result["files"])


def test_list_prints_a_table(folder):
    done = really("list", "regimes", at=folder)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("pay_per_compute", "second_price_auction", "first_price_auction"):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("solve", "none.toml"), "none.toml: there is no such scenario file"),
        (("run", "bad.toml", "--out", "out"), "bad.toml: users.beta = -1.0 is not allowed"),
        (("compare", "good.toml", "--regimes", "pay_per_compute,auction", "--out", "out"), "--regimes"),
        (("reproduce", "--out", "good.toml"), "good.toml"),
        (("list", "rule"), "(did you mean rules?)"),
    ],
)
def test_every_command_ends_bad_input_with_one_sentence(folder, arguments, says):
    (folder / "bad.toml").write_text(GOOD.replace("900.0", "-1.0"))
    done = really(*arguments, at=folder)
    assert says in assert_one_sentence(done.returncode, done.stdout, done.stderr)
    assert sorted(path.name for path in folder.iterdir()) == ["bad.toml", "good.toml"]


def test_solve_starts_without_mesa_and_without_drawing(folder):
    program = (
        "import sys; from market_sim import cli; sys.argv = ['market-sim', 'solve', 'good.toml', '--json']\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('mesa', 'networkx', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"


def test_solve_with_uncertainty_adds_an_object_to_every_result(folder):
    plain = really("solve", "good.toml", "--beta", "200,1000", "--json", at=folder)
    done = really(
        "solve", "good.toml", "--beta", "200,1000", "--uncertainty", "--draws", "60", "--json", at=folder
    )
    assert (done.returncode, done.stderr) == (0, "")
    results = one_object(done.stdout)["results"]
    for result, without in zip(results, one_object(plain.stdout)["results"], strict=True):
        found = result.pop("uncertainty")
        assert result == without
        assert (found["draws"], found["confidence"], found["beta"]) == (60, 0.95, result["beta"])
        row = found["intervals"]["paper_dynamics"]["welfare"]
        assert row["estimate"] == result["paper_dynamics"]["welfare"]
        assert row["low"] < row["high"]


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others(folder, called):
    (folder / "other.toml").write_text(GOOD.replace("rounds = 4", "rounds = 4\nseed = 2"))
    texts = [
        called("solve", name, "--uncertainty", "--draws", "50", "--json")[1]
        for name in ("good.toml", "good.toml", "other.toml")
    ]
    assert texts[0] == texts[1] != texts[2]


def test_compare_with_uncertainty_plays_and_solves(folder, called):
    code, out, err = called(
        "compare", "good.toml", "--out", "out", "--uncertainty", "--draws", "50", "--json"
    )
    assert (code, err) == (0, "")
    data = one_object(out)
    (found,) = data["uncertainty"]
    assert found["draws"] == 50
    assert len(data["regimes"]) == 2
    (file,) = [folder / name for name in data["files"] if name.endswith("comparison.json")]
    assert json.loads(file.read_text())["uncertainty"] == data["uncertainty"]
    code, out, err = called("compare", "good.toml", "--out", "out", "--uncertainty", "--draws", "50")
    text = " ".join(out.split())
    assert text.index("The play above used the curves as measured.") > text.index("price paid")
    for sentence in found["sentences"]:
        assert sentence in text
    other = called(
        "compare", "good.toml", "--out", "out", "--uncertainty", "--seed", "7", "--draws", "50", "--json"
    )
    assert one_object(other[1])["uncertainty"][0]["intervals"] != found["intervals"]


CURVES_OF_MINE = """benchmark,method,model,compute_level,accuracy,tokens_per_query
M,best_of_n,A,1,0.5,90
M,best_of_n,A,4,0.6,360
M,best_of_n,B,1,0.4,80
"""
MINE = """
name = "mine"
[market]
curves = "mine.csv"
prices = {A = 0.3, B = 0.2}
value_of_correct_usd = 0.01
"""


def mine(folder: Path, count: int = 60, model: str = "B") -> None:
    """A scenario with curves of one's own and a file of draws beside them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "mine.toml").write_text(MINE)
    (folder / "mine.csv").write_text(CURVES_OF_MINE)
    rows = [
        (d, "M", "best_of_n", m, level, accuracy + 0.001 * (d - count / 2), tokens)
        for d in range(count)
        for m, level, accuracy, tokens in (
            ("A", 1.0, 0.5, 90.0),
            ("A", 4.0, 0.6, 360.0),
            (model, 1.0, 0.4, 80.0),
        )
    ]
    names = ("draw", "benchmark", "method", "model", "compute_level", "accuracy", "tokens_per_query")
    pq.write_table(
        pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), folder / "mine.draws.parquet"
    )


def test_draws_beside_the_curves_are_used_all_of_them_unless_fewer_are_asked_for(folder, called):
    mine(folder)
    for more, count in ((), 60), (("--draws", "50"), 50):
        code, out, err = called("solve", "mine.toml", "--uncertainty", "--json", *more)
        assert (code, err) == (0, "")
        found = one_object(out)["results"][0]["uncertainty"]
        assert (found["kind"], found["draws"]) == ("bootstrap", count)
        assert "mine.draws.parquet" in found["assumption"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--draws", "90"], "mine.draws.parquet: has 60 draws and 90 are asked for (--draws)"),
        (["--correlation", "0.5"], "--correlation is for curves without a file of draws"),
        (["--confidence", "0.99"], "60 draws are too few for a 99 % interval; at least 200 are needed"),
    ],
)
def test_what_the_draws_of_a_file_cannot_give_is_refused(folder, called, arguments, says):
    mine(folder)
    for command in (["solve"], ["compare", "--out", "out"]):
        sentence = assert_one_sentence(*called(*command, "mine.toml", "--uncertainty", *arguments))
        assert says in sentence
    assert not (folder / "out").exists()


def test_draws_of_other_curves_are_refused(folder, called):
    mine(folder, model="C")
    sentence = assert_one_sentence(*called("solve", "mine.toml", "--uncertainty"))
    assert "mine.draws.parquet: has no draws of B on M (best_of_n), which its curve file has" in sentence


def test_curves_of_which_neither_draws_nor_questions_are_known_are_refused(folder, called):
    (folder / "mine.toml").write_text(MINE)
    (folder / "mine.csv").write_text(CURVES_OF_MINE)
    assert called("solve", "mine.toml")[0] == 0
    sentence = assert_one_sentence(*called("solve", "mine.toml", "--uncertainty"))
    assert "has no n_questions, and no file of draws is beside its curves" in sentence


# --- Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("beta", "betta"), "users.betta is not a known key"),
        (GOOD.replace("60", '"sixty"'), "users.count = 'sixty' is not allowed"),
        (GOOD.replace("900.0", "-900.0"), "users.beta = -900.0 is not allowed; it must be at least 0"),
        (GOOD.replace('["Llama-3-8B", "Qwen2.5-7B"]', "[]"), "market.models = [] is not allowed"),
        (GOOD.replace('"majority_voting"', "[]"), "market.method"),
        (GOOD.replace("[users]", "margin = -1\n[users]"), "market.margin = -1 is not allowed"),
        (GOOD.replace("[users]", "margin = 1e-30\n[users]"), "market.margin"),
        (GOOD.replace("count = 60", "count = 0"), "users.count = 0 is not allowed"),
        (GOOD.replace("count = 60", "count = -5"), "users.count = -5 is not allowed"),
        (GOOD.replace("Qwen2.5-7B", "Llama-3-8B"), "Llama-3-8B"),
        ("name = ", "is not TOML"),
        ("", "is empty"),
    ],
)
@pytest.mark.parametrize("command", ["solve", "run", "compare"])
def test_a_bad_scenario_is_refused_by_every_command_that_reads_one(folder, called, command, text, says):
    (folder / "bad.toml").write_text(text)
    arguments = [command, "bad.toml"] + (["--out", "out"] if command != "solve" else [])
    sentence = assert_one_sentence(*called(*arguments))
    assert sentence.startswith("market-sim: bad.toml: ")
    assert says in sentence
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"\x00\x01\xff\xfe"), "is not a text file"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.write_text("model,accuracy\nA,0.5\n"), "column benchmark is missing"),
        (
            lambda path: path.write_text(
                "benchmark,method,model,compute_level,accuracy,tokens_per_query\nM,best_of_n,A,1,1.5,3\n"
            ),
            "row 2, column accuracy",
        ),
    ],
)
def test_a_curve_file_that_is_none_is_refused_by_its_name(folder, called, make, says):
    (folder / "good.toml").write_text('name = "x"\n[market]\ncurves = "mine.csv"\n')
    make(folder / "mine.csv")
    for command in (["solve", "good.toml"], ["run", "good.toml", "--out", "out"]):
        sentence = assert_one_sentence(*called(*command))
        assert "mine.csv: " in sentence
        assert says in sentence
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["solve", "good.toml", "--beta", "-3"], "--beta"),
        (["solve", "good.toml", "--beta", "200,high"], "'high' is not a number"),
        (["solve", "good.toml", "--beta", "inf"], "it must be at least 0 and at most 1e+12"),
        (["solve", "good.toml", "--beta", ""], "--beta"),
        (["solve"], "SCENARIO"),
        (["solve", "good.toml", "more.toml"], "more.toml"),
        (["solve", "a" * 300], "aaa"),
        (["solve", "."], "is a folder"),
        (["solve", "good.toml", "--draws", "50"], "--draws must come with --uncertainty"),
        (
            ["compare", "good.toml", "--confidence", "0.9", "--correlation", "1"],
            "--confidence and --correlation must come with --uncertainty",
        ),
        (["solve", "good.toml", "--uncertainty", "--draws", "0"], "--draws"),
        (["solve", "good.toml", "--uncertainty", "--draws", "39"], "at least 40 are needed"),
        (["solve", "good.toml", "--uncertainty", "--draws", "100001"], "at most 100,000"),
        (["solve", "good.toml", "--uncertainty", "--confidence", "1"], "--confidence: 1 is not allowed"),
        (["solve", "good.toml", "--uncertainty", "--confidence", "nan"], "--confidence: nan is not allowed"),
        (["compare", "good.toml", "--uncertainty", "--correlation", "-0.1"], "it must be from 0 to 1"),
        (["solve", "good.toml", "--uncertanty"], "--uncertanty"),
        (["run", "good.toml", "--rounds", "0"], "rounds"),
        (["run", "good.toml", "--rounds", "many"], "--rounds"),
        (["run", "good.toml", "--seed", "-1"], "seed"),
        (["run", "good.toml", "--regime", "auction"], "regime.kind = 'auction' is not one of"),
        (["run", "good.toml", "--sed", "3"], "--sed"),
        (["run", "good.toml", "--out", "good.toml"], "good.toml"),
        (["compare", "good.toml", "--regimes", ""], "--regimes"),
        (["slove", "good.toml"], "slove"),
    ],
)
def test_a_bad_option_is_refused_in_a_sentence(folder, called, arguments, says):
    assert says in assert_one_sentence(*called(*arguments))
    assert [path.name for path in folder.iterdir()] == ["good.toml"]


def test_a_market_of_several_types_is_not_solved_but_said_to_be_for_run(folder, called):
    segments = "segments = [{size = 3, beta = 1.0}, {size = 3, beta = 2.0}]"
    (folder / "types.toml").write_text(GOOD.replace("count = 60\nbeta = 900.0", segments))
    sentence = assert_one_sentence(*called("solve", "types.toml"))
    assert "types.toml: users differ" in sentence


SPREAD = '{distribution = "lognormal", median = 900, sigma = 1}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            GOOD + '[[events]]\nround = 2\nregime = {kind = "planner", audit = 3}',
            "events.0.regime.audit is not",
        ),
        (GOOD + "[[events]]\nround = 2\ndemand = 0.001", "events.0.demand = 0.001 leaves nobody of 60 users"),
        (GOOD + 'information = "experience"\nnetwork = {kind = ["a"]}', "users.network.kind = ['a'] is not"),
        (
            GOOD + 'information = "experience"\nnetwork = {kind = "small_world", where = "x"}',
            "users.network: parameter of small_world = 'where' is not one of neighbours, rewire",
        ),
        (
            GOOD + 'information = "experience"\nnetwork = {file = "none.txt"}',
            "users.network.file: 'none.txt' cannot be read as a file of links",
        ),
        (GOOD.replace("900.0", '{distribution = ["a"]}'), "users.beta.distribution = ['a'] is not one of"),
        (
            GOOD.replace("900.0", SPREAD).replace("60", "100000000000") + 'demand = "expected"',
            "users.count = 100000000000 is too many to draw one by one",
        ),
        (
            GOOD.replace("60", "1000000") + "[[events]]\nround = 2\ndemand = 1000",
            "users.count = 1000000, times 1000 by an event, is too many to draw one by one",
        ),
        (
            GOOD.replace("beta = 900.0", 'types = "types.csv"\ndemand = "expected"'),
            "types.csv: column inertia_usd is for people who are drawn one by one",
        ),
    ],
)
def test_what_only_turns_out_while_users_and_events_are_made_is_refused_in_a_sentence_too(
    folder, called, text, says
):
    (folder / "bad.toml").write_text(text)
    (folder / "types.csv").write_text("weight,inertia_usd\n1,0.1\n")
    for command in ("run", "compare"):
        assert says in assert_one_sentence(*called(command, "bad.toml", "--out", "out"))
    assert not (folder / "out").exists()


# --- Good input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outside", ["0.0", "5.0", "-5.0"])
@pytest.mark.parametrize("beta", ["0.0", "1000.0", "1e6"])
def test_json_is_json_also_where_measures_are_undefined(folder, called, outside, beta):
    text = GOOD.replace("900.0", beta).replace("[users]", f"outside_value_usd = {outside}\n[users]")
    (folder / "edge.toml").write_text(text)
    for command in (
        ["solve"],
        ["run", "--out", "out"],
        ["run", "--out", "out", "--regime", "first_price_auction"],
    ):
        code, out, err = called(command[0], "edge.toml", *command[1:], "--json")
        assert (code, err) == (0, "")
        one_object(out)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["solve", "good.toml"], ["equilibrium 1*", "Price of anarchy", "(wins)", "USD per 1,000 queries"]),
        (
            ["run", "good.toml", "--out", "out"],
            ["tiny under pay_per_compute, seed 1", "where play ended up", "Rows: out"],
        ),
        (["compare", "good.toml", "--out", "out"], ["Under the second-price auction", "comparison.json"]),
        (
            ["solve", "good.toml", "--uncertainty", "--draws", "80", "--confidence", "0.9"],
            ["How sure: 80 draws. Drawn for 1,319 questions", "90 % interval", "second best", "is dearer in"],
        ),
        (["list", "models"], ["Qwen2.5-7B", "0.1465"]),
        (["list", "rules"], ["better_reply", "truthful"]),
        (["list", "benchmarks"], ["GSM8K", "1319"]),
        (["list", "scenarios"], []),
        (["--help"], ["solve", "run", "compare", "reproduce", "list"]),
        (["run", "--help"], ["--rounds", "--seed", "--regime", "--out", "--json"]),
    ],
)
def test_without_json_people_can_read_it(folder, called, arguments, shown):
    code, out, err = called(*arguments)
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    for words in shown:
        assert words in text
    assert "nan" not in text


@pytest.mark.parametrize("what", ["rules", "regimes", "networks", "models", "benchmarks", "scenarios"])
def test_lists_are_json_objects_with_rows(folder, called, what):
    code, out, _ = called("list", what, "--json")
    rows = one_object(out)[what]
    assert code == 0
    assert bool(rows) == (what != "scenarios")


def test_a_run_is_shown_under_the_regime_it_ended_under(folder, called):
    switch = '[[events]]\nround = 3\nregime = {kind = "second_price_auction"}'
    (folder / "switch.toml").write_text(GOOD + switch)
    _, out, _ = called("run", "switch.toml", "--out", "out")
    said = (
        "tiny under second_price_auction (under pay_per_compute at first), seed 1: rounds 4 to 4 on average"
    )
    assert said in " ".join(out.split())


def test_a_run_that_stands_is_read_again_and_force_plays_it_again(folder, called):
    played = []

    def call(*more):
        code, out, _ = called("run", "good.toml", "--out", "out", *more)
        assert code == 0
        played.append("read from the earlier run" not in " ".join(out.split()))

    call()
    call()
    call("--force")
    assert played == [True, False, True]


def test_a_run_that_is_stopped_says_so_and_leaves_nothing(folder, called, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(MarketModel, "step", stop)
    code, out, err = called("run", "good.toml", "--out", "out")
    assert (code, out) == (130, "")
    assert err == "market-sim: stopped; nothing half-written was left\n"
    assert not (folder / "out").exists()


# --- reproduce --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_reproduce_exits_with_one_exactly_if_a_published_number_fails(folder, called, monkeypatch, fails):
    reproduce = paper.reproduce

    def with_a_failure(**keywords):
        found = reproduce(**keywords)
        if fails:
            found = replace(found, rows=(replace(found.rows[0], verdict="FAILS"), *found.rows[1:]))
        return found

    monkeypatch.setattr(paper, "reproduce", with_a_failure)
    monkeypatch.setattr(paper.Reproduction, "write", lambda self, out, on_step=None: [Path(out) / "t.csv"])
    for arguments in (["reproduce", "--out", "out", "--json"], ["reproduce", "--out", "out"]):
        code, out, err = called(*arguments)
        assert code == (1 if fails else 0)
        assert err == ""
        if "--json" in arguments:
            data = one_object(out)
            assert (data["ok"], data["total"], data["agreeing"]) == (not fails, 252, 249 if fails else 250)
        else:
            assert f"{249 if fails else 250} of 252 published numbers agree" in out
            assert ("FAILS" in out) == fails


def test_a_terminal_with_few_letters_is_shown_what_it_can_show(folder):
    header = "benchmark,method,model,compute_level,accuracy,tokens_per_query\n"
    (folder / "accents.csv").write_text(header + "T,best_of_n,Modèle,1,0.5,90\n", encoding="utf-8")
    (folder / "accents.toml").write_text(
        'name = "accents"\n[market]\ncurves = "accents.csv"\nvalue_of_correct_usd = 0.01\n'
        'prices = {"Modèle" = 0.3}\n',
        encoding="utf-8",
    )
    done = really("solve", "accents.toml", at=folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Mod?le" in done.stdout

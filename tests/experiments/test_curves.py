"""From raw runs to curve files: the numbers are those of enumeration, the files are whole and fit together,
and what is left out is said."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import market_sim as ms
from market_sim.economy.quality import METHODS, read_curves
from market_sim.economy.raw_formats import LmEvalChoice
from market_sim.errors import InputError
from market_sim.experiments import surveys
from market_sim.experiments.built_curves import BuiltCurves, companions
from market_sim.experiments.check_curves import check_files
from market_sim.experiments.curve_figures import accuracy_by_tokens, curve_table, write_curve_figures
from market_sim.experiments.curves import build_curves
from market_sim.experiments.house_style import METHOD_NAMES
from tests import oracles
from tests.raw_runs import as_lm_eval, as_table, drawn, published, question, write_lines

ALL = ("majority_voting", "best_of_n", "reasoning_effort", "pass_at_k", "first_sample")

MODELS = {"Qwen2-7B": 1, "Llama-3-8B": 2}
"""Bundled prices exist for them."""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two models' runs in the published format."""
    for model, seed in MODELS.items():
        published(tmp_path / "runs", model, drawn(seed))
    return tmp_path / "runs"


def build(paths, **options) -> BuiltCurves:
    return build_curves(
        paths, **({"benchmark": "GSM8K", "levels": [1, 2, 5], "bins": 2, "draws": 50} | options)
    )


def refusal(paths, **options) -> str:
    with pytest.raises(InputError) as caught:
        build(paths, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def curve(built, method, model="Qwen2-7B"):
    return next(c for c in built.curves if (c.method, c.model) == (method, model))


def said(line):
    """The answers of a line as numbers, -1 where there is none."""
    known: list[str] = []
    codes = []
    for text in line["explanations"]:
        if text.startswith("no "):
            codes.append(-1)
            continue
        answer = text.split("'")[1]
        known += [answer] if answer not in known else []
        codes.append(known.index(answer))
    return codes


# --- Numbers ----------------------------------------------------------------------------------------


def test_curves_are_the_averages_of_enumeration_over_questions(folder):
    built = build(folder, methods=ALL)
    lines = drawn(MODELS["Qwen2-7B"])
    for method, right in (
        ("majority_voting", lambda line, n: oracles.vote_is_right(line["correct"], said(line), n)),
        ("best_of_n", lambda line, n: oracles.best_is_right(line["correct"], line["rewards"], n)),
        ("pass_at_k", lambda line, n: oracles.any_is_right(line["correct"], n)),
    ):
        found = curve(built, method)
        assert found.compute_level.tolist() == [1.0, 2.0, 5.0]
        wanted = [float(sum(right(line, n) for line in lines) / len(lines)) for n in (1, 2, 5)]
        np.testing.assert_allclose(found.accuracy, wanted, atol=1e-13)
        mean = np.mean([[pair[1] for pair in line["num_tokens"]] for line in lines])
        np.testing.assert_allclose(found.tokens_per_query, mean * np.array([1, 2, 5]))
    first = curve(built, "first_sample")
    assert first.accuracy.tolist() == [pytest.approx(np.mean([line["correct"][0] for line in lines]))]
    assert first.tokens_per_query.tolist() == [
        pytest.approx(np.mean([line["num_tokens"][0][1] for line in lines]))
    ]


def test_effort_leaves_out_who_was_cut_off_or_did_not_think_and_says_so(tmp_path):
    pairs = [[5, 30], [6, 40], [7, 512], [90, 100], [8, 513], [50, 60]]
    few = [[5, 30], [6, 40], [2, 512], [1, 100], [8, 513], [0, 60]]
    none = [[5, 30]] * 5 + [[9, 512]]
    said = ["1", "2", "1", "2", "1", "1"]
    lines = [
        question(f"q{i}", said, "1", num_tokens=tokens) for i, tokens in enumerate([pairs] * 20 + [few, none])
    ]
    published(tmp_path, "R1", lines)
    built = build(tmp_path, methods=["reasoning_effort"], draws=40)
    (found,) = built.curves
    assert found.tokens_per_query.tolist() == pytest.approx([40.0, 80.0])
    assert found.accuracy.tolist() == [0.0, 0.5]
    assert (built.n_questions, found.n_questions) == (22, 21)
    assert {row["n_questions"] for row in built.rows()} == {21}
    assert found.notes == (
        "samples cut off: 43",
        "other samples that did not think: 28",
        "questions without a sample left, in no bin: 1",
        "questions with fewer samples left than bins, not in every bin: 1",
        "samples that thought for 5 tokens or fewer are left out, and so are those cut off at the limit of "
        "512 tokens",
    )


def test_a_limit_can_be_given_where_names_do_not_say_it_and_its_lack_is_said(tmp_path):
    pairs = [[9, 30], [16, 40], [17, 512], [90, 600]]
    lines = [question(f"q{i}", ["1"] * 4, "1", num_tokens=pairs) for i in range(2)]
    path = write_lines(tmp_path / "R1.jsonl", lines)
    (unknown,) = build(path, methods=["reasoning_effort"]).curves
    assert unknown.notes == (
        "samples that thought for 5 tokens or fewer are left out; the token limit is not known, so none "
        "counts as cut off",
    )
    (known,) = build(path, methods=["reasoning_effort"], token_limit=512).curves
    assert known.tokens_per_query.tolist() == [30.0, 40.0]


def test_intervals_and_draws_are_of_the_same_questions_for_all_models(folder):
    built = build(folder, methods=["first_sample"], draws=400)
    right = [np.array([line["correct"][0] for line in drawn(seed)], dtype=float) for seed in MODELS.values()]
    both = np.stack([curve(built, "first_sample", m).accuracy_draws[:, 0] for m in MODELS])
    wanted = np.corrcoef(*right)[0, 1]
    assert np.corrcoef(*both)[0, 1] == pytest.approx(wanted, abs=0.15)
    for row in built.rows():
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert row["tokens_low"] <= row["tokens_per_query"] <= row["tokens_high"]


def test_methods_levels_and_models_that_are_added_do_not_move_the_draws(folder):
    few = build(folder, methods=["best_of_n"], levels=[2])
    many = build(folder, methods=ALL, levels=[1, 2, 3, 6])
    alone = curve(few, "best_of_n").accuracy_draws[:, 0]
    np.testing.assert_allclose(curve(many, "best_of_n").accuracy_draws[:, 1], alone, rtol=1e-12)


@pytest.mark.parametrize("kind", ["published.gz", "table.csv", "table.parquet", "lm_eval"])
def test_every_format_gives_the_same_curves(folder, tmp_path, kind):
    wanted = build(folder, methods=ALL)
    other = tmp_path / "other"
    for model, seed in MODELS.items():
        if kind == "published.gz":
            published(other, model, drawn(seed), end=".gz")
        elif kind == "lm_eval":
            write_lines(other / f"acme__{model}" / "samples_gsm8k_1.jsonl", as_lm_eval(drawn(seed)))
    if kind.startswith("table"):
        other.mkdir()
        frame = pd.DataFrame([row for m, seed in MODELS.items() for row in as_table(m, drawn(seed))])
        path = other / kind
        frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    found = build(other, methods=ALL, token_limit=512)
    assert {(c.method, c.model) for c in found.curves} == {(c.method, c.model) for c in wanted.curves}
    for c in wanted.curves:
        np.testing.assert_allclose(curve(found, c.method, c.model).accuracy_draws, c.accuracy_draws)
        np.testing.assert_allclose(curve(found, c.method, c.model).tokens_draws, c.tokens_draws)


def test_processes_in_parallel_give_the_same_bytes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(surveys, "SMALL", 0)
    told: list[tuple[int, int]] = []
    for workers, name in ((1, "one.csv"), (2, "two.csv")):
        built = build(
            folder, methods=ALL, workers=workers, progress=lambda done, total: told.append((done, total))
        )
        built.write(tmp_path / name)
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert told[-1] == (size, size)
    for one, two in zip(files_of(tmp_path / "one.csv"), files_of(tmp_path / "two.csv"), strict=True):
        assert one.read_bytes() == two.read_bytes()


KILLED = """
import sys
from pathlib import Path
from market_sim.economy.estimates import Spending
from market_sim.economy.raw_formats import LmEvalChoice
from market_sim.experiments import surveys

if __name__ == "__main__":
    surveys.SMALL = 0
    plan = surveys.Plan(
        methods=("first_sample",),
        spending=Spending(levels=(1,), bins=1),
        format="published",
        choice=LmEvalChoice(),
        token_limit=None,
    )
    surveys.survey_all([Path(name) for name in sys.argv[1:]], plan, 2, None)
"""


def _write_for_a_minute(writer):
    for _ in range(600):
        writer.write(b" ")
        writer.flush()
        time.sleep(0.1)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_they_work_for(tmp_path, end):
    """Pipes that nobody writes to stand for files that take long to read."""
    pipes = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for pipe in pipes:
        os.mkfifo(pipe)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    master = subprocess.Popen([sys.executable, str(script), *map(str, pipes)])
    writers = []
    try:
        for pipe in pipes:  # opens when a worker reads it
            writers.append(pipe.open("wb"))
        master.send_signal(end)
        assert master.wait(60) == -end
        for writer in writers:
            with pytest.raises(BrokenPipeError):  # when nobody reads it any more
                _write_for_a_minute(writer)
    finally:
        master.kill()
        master.wait()
        for writer in writers:
            with suppress(BrokenPipeError):
                writer.close()


def test_a_refusal_in_a_process_is_a_refusal(folder, monkeypatch):
    monkeypatch.setattr(surveys, "SMALL", 0)
    (folder / "bad--max-9.jsonl").write_text("{}\n")
    bad = folder / "bad--max-9.jsonl"
    sentence = refusal([folder, bad], workers=2, format="published")
    assert sentence == f"{bad}: has no usable question of bad; line 1: qid is missing"


# --- What is left out -------------------------------------------------------------------------------


def test_a_broken_line_is_named_and_its_question_counts_for_nobody(folder):
    path = next(folder.glob("Llama*"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4][:50], *lines[5:], lines[0]]) + "\n")
    built = build(folder)
    assert built.n_questions == 11
    assert [(t.file.split("/")[-1][:5], t.line, t.dropped) for t in built.troubles] == [
        ("Llama", 5, True),
        ("Llama", 13, True),
        ("Qwen2", 5, True),
    ]
    assert "question 'q04' of Qwen2-7B is missing or unusable for Llama-3-8B" in str(built.troubles[2])
    assert built.provenance["n_dropped"] == 3
    assert [t["line"] for t in built.provenance["troubles"]] == [5, 13, 5]


def test_what_is_left_is_estimated_question_by_question_whatever_the_order_of_lines(folder):
    """A question lost by one model is taken out of the other at its own place."""
    paths = {path.name.split("--")[0]: path for path in folder.iterdir()}
    kept = {name: drawn(seed) for name, seed in MODELS.items()}
    lost = kept["Llama-3-8B"].pop(4)["qid"]
    for name, path in paths.items():
        order = np.random.default_rng(len(name)).permutation(len(kept[name]))
        write_lines(path, [kept[name][i] for i in order])
    built = build(folder, methods=["first_sample"])
    for name, lines in kept.items():
        right = [line["correct"][0] for line in lines if line["qid"] != lost]
        assert curve(built, "first_sample", name).accuracy[0] == pytest.approx(np.mean(right))


def test_the_order_of_lines_and_the_names_of_files_do_not_move_the_draws(folder, tmp_path):
    wanted = build(folder, methods=ALL)
    for model, seed in MODELS.items():
        order = np.random.default_rng(seed).permutation(12)
        published(tmp_path / "turned", model[::-1], [drawn(seed)[i] for i in order])
    found = build(tmp_path / "turned", methods=ALL, rename={model[::-1]: model for model in MODELS})
    for c in wanted.curves:
        turned = curve(found, c.method, c.model)
        np.testing.assert_allclose(turned.accuracy_draws, c.accuracy_draws, rtol=1e-12)


def test_strict_refuses_the_first_trouble_and_counts_the_others(folder):
    path = next(folder.glob("Llama*"))
    path.write_text(path.read_text() + "broken\nbroken\n")
    sentence = refusal(folder, strict=True)
    assert sentence.startswith(f"{path}: line 13: is not JSON")
    assert sentence.endswith("(--strict refuses it, the first of 2 troubles)")


def test_strict_builds_what_has_no_trouble(folder):
    assert build(folder, strict=True).n_questions == 12


def test_best_of_n_without_rewards_is_refused_with_the_reason(tmp_path):
    lines = [question(f"q{i}", ["1", "2"], "1", rewards=[None, None]) for i in range(2)]
    path = published(tmp_path, "A", lines)
    sentence = refusal(path, methods=["best_of_n"], levels=[1])
    assert sentence == (
        f"{path}: gives no curve by best_of_n: best_of_n needs rewards, and there are none (absent, or all "
        "null)"
    )


def test_what_some_models_do_not_allow_is_left_out_and_said(folder):
    published(folder, "Plain", drawn(9, thinking=False))
    built = build(folder, methods=["majority_voting", "reasoning_effort"])
    reason = "reasoning_effort needs tokens of thinking, and they are not told"
    assert built.left_out == (("Plain", "reasoning_effort", reason),)
    assert len(built.curves) == 5


def test_levels_beyond_the_samples_of_a_model_are_left_out_and_said(folder):
    published(folder, "Few", drawn(9, n_samples=3))
    built = build(folder, levels=[1, 3, 6])
    few = curve(built, "majority_voting", "Few")
    assert few.compute_level.tolist() == [1.0, 3.0]
    assert few.said == ("no levels 6: samples of each question: 3",)
    assert curve(built, "majority_voting").compute_level.tolist() == [1.0, 3.0, 6.0]


def test_null_rewards_are_said(tmp_path):
    lines = [question("q", ["1", "2"], "1", rewards=[None, 0.5]), question("r", ["1", "2"], "1")]
    built = build(published(tmp_path, "A", lines), methods=["best_of_n"], levels=[1, 2])
    assert built.curves[0].counted == {"samples without a reward, ranked below all others": 1}
    assert (len(built.troubles), len(built.dropped)) == (1, 0)
    assert built.curves[0].accuracy.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"benchmark": " "}, "--benchmark is empty"),
        ({"methods": []}, "--method is missing"),
        ({"methods": ["majority"]}, "(did you mean majority_voting?)"),
        ({"methods": ["best_of_n", "best_of_n"]}, "--method names 'best_of_n' twice"),
        ({"levels": []}, "--levels is empty"),
        ({"levels": [0]}, "--levels: 0 is not a whole number from 1 to 100,000"),
        ({"levels": [2.5]}, "--levels: 2.5 is not a whole number"),
        ({"levels": [4, 1, 4]}, "--levels names 4 twice"),
        ({"levels": [7, 9]}, "level 7 needs 7 samples of each question, and the run has 6"),
        ({"bins": 0}, "--bins = 0 is not allowed; it must be from 1 to 1,000"),
        ({"draws": 0}, "--draws = 0 is not allowed"),
        ({"seed": -1}, "--seed = -1 is not allowed"),
        ({"workers": 0}, "--workers = 0 is not allowed"),
        ({"format": "tabel"}, "--format = 'tabel' is not one of auto, published, lm_eval, table"),
        ({"token_limit": 0}, "--max-tokens = 0 is not allowed; it must be above 0"),
        ({"rename": {"Qwen-7B": "x"}}, "(did you mean Qwen2-7B?)"),
        ({"rename": {"Qwen2-7B": "Llama-3-8B"}}, "is of model 'Llama-3-8B', and so is"),
        (
            {"bins": 7, "methods": ["reasoning_effort"]},
            "gives no curve by reasoning_effort: no sample is in bin 4",
        ),
    ],
)
def test_an_impossible_request_is_refused_in_a_sentence(folder, options, says):
    assert says in refusal(folder, **options)


def test_two_runs_of_one_model_are_refused(folder):
    lines = drawn(1)
    write_lines(folder / "Qwen2-7B--temp-0.9--samples-6--max-512.jsonl", lines)
    assert "is of model 'Qwen2-7B', and so is" in refusal(folder)
    apart = "Qwen2-7B--temp-0.9--samples-6--max-512"
    assert f"tell them apart with --rename {apart}=NAME" in refusal(folder)
    built = build(folder, rename={apart: "Qwen2-7B hot", "Llama-3-8B": "L"})
    assert {curve.model for curve in built.curves} == {"Qwen2-7B", "Qwen2-7B hot", "L"}
    assert "and so is" in refusal(folder, rename={apart: "Llama-3-8B"})
    assert "did you mean" in refusal(folder, rename={apart[:-1]: "x"})


def test_models_without_a_common_question_are_refused(folder):
    published(folder, "Other", [line | {"qid": f"other-{line['qid']}"} for line in drawn(3)])
    assert "no question has usable samples of every model" in refusal(folder)


def test_a_bin_that_some_draws_leave_empty_is_refused(tmp_path):
    lines = [question(f"q{i}", ["1", "1"], "1", num_tokens=[[9, 20], [1, 30]]) for i in range(5)]
    lines.append(question("r", ["1", "1"], "1", num_tokens=[[9, 20], [99, 200]]))
    path = published(tmp_path, "A", lines)
    assert "so few questions have samples in bin 2" in refusal(path, methods=["reasoning_effort"])


def test_a_model_that_some_draws_leave_undefined_is_left_out_and_the_others_are_built(folder):
    lazy = [line | {"num_tokens": [[0, total] for _, total in line["num_tokens"]]} for line in drawn(5)]
    published(folder, "Lazy", lazy)
    silent = [line | {"num_tokens": [[0, 0]] * 6} for line in drawn(6)]
    published(folder, "Silent", silent)
    built = build(folder, methods=["reasoning_effort", "first_sample"])
    assert built.left_out == (
        ("Lazy", "reasoning_effort", "no question has a sample that counts"),
        ("Silent", "reasoning_effort", "no question has a sample that counts"),
        (
            "Silent",
            "first_sample",
            "so few questions have samples with tokens at level 1 that some draws have none",
        ),
    )
    assert len(built.curves) == 5


def test_one_question_is_refused_and_few_are_said(folder, tmp_path):
    path = published(tmp_path / "one", "A", drawn(1, n_questions=1))
    assert "only one question has usable samples" in refusal(path)
    built = build(folder)
    assert built.remarks[0].startswith("So few questions (12) make intervals too short")
    enough = build(published(tmp_path / "enough", "Qwen2-7B", drawn(1, n_questions=40)))
    assert enough.remarks == ()
    sure = [question(f"q{i}", ["1", "1"], "1") for i in range(40)]
    sure = build(published(tmp_path / "sure", "Qwen2-7B", sure), levels=[1])
    assert sure.remarks == ("A level measured at 0 or 100 % has no spread.",)


def test_models_without_a_bundled_price_are_named_with_what_to_do(tmp_path):
    for name in ("Qwen2-7B-Instruct", "Mine"):
        published(tmp_path, name, drawn(1, n_questions=40))
    assert build(tmp_path).remarks == (
        "Models that the paper calls otherwise get its prices by --rename Qwen2-7B-Instruct=Qwen2-7B.",
        "A scenario must give the prices of Mine: none are bundled.",
    )


def test_a_file_of_a_folder_that_is_wholly_broken_is_a_trouble_and_strict_refuses_it(folder):
    published(folder, "Broken", [{"qid": 1, "correct": []}])
    (folder / "Lost--temp-1--samples-6--max-512.jsonl").write_text("")
    built = build(folder)
    assert len(built.curves) == 2
    assert [trouble.reason for trouble in built.dropped] == [
        "is empty",
        "has no usable question of Broken",
        "correct is empty",
    ]
    assert "is empty (--strict refuses it, the first of 3 troubles)" in refusal(folder, strict=True)


def test_troubles_are_counted_by_file_and_kind(folder):
    lines = [line | {"rewards": [None, *line["rewards"][1:]]} for line in drawn(9)]
    path = published(folder, "More", lines[2:])
    path.write_text(path.read_text() + "{broken\n")
    counts = build(folder).counts
    assert (str(path), 1, "broken or unlike the others, left out") in counts
    assert (str(path), 10, "with null rewards, ranked below all others") in counts
    assert sum(number for _, number, what in counts if what.startswith("whose question another")) == 4


# --- Files ------------------------------------------------------------------------------------------


def files_of(path):
    return [path, *companions(path)[:1]]


def test_three_files_are_written_that_fit_together(folder, tmp_path):
    out = tmp_path / "out" / "mine.csv"
    built = build(folder, methods=ALL, draws=40)
    written = built.write(out)
    assert [path.name for path in written] == ["mine.csv", "mine.draws.parquet", "mine.provenance.json"]
    assert sorted(path.name for path in out.parent.iterdir()) == sorted(path.name for path in written)
    (checked,) = check_files([out])
    assert checked.troubles == ()
    curves = read_curves(out)
    assert len(curves) == 10
    assert {c.method for c in curves} == set(METHODS)
    for mine in curves:
        theirs = curve(built, mine.method, mine.model)
        np.testing.assert_array_equal(mine.accuracy, theirs.accuracy)
        np.testing.assert_array_equal(mine.tokens_per_query, theirs.tokens_per_query)
        assert (mine.n_questions, mine.source) == (12, "raw evaluations")
        assert set(mine.extra) == {"accuracy_low", "accuracy_high", "tokens_low", "tokens_high"}


def test_the_draws_file_has_a_row_for_each_draw_of_each_level(folder, tmp_path):
    built = build(folder, methods=["majority_voting", "first_sample"], draws=40)
    _, draws, _ = built.write(tmp_path / "mine.csv")
    frame = pd.read_parquet(draws)
    assert list(frame.columns) == [
        *("draw", "benchmark", "method", "model", "compute_level", "accuracy", "tokens_per_query")
    ]
    types = frame.dtypes.astype(str)
    assert (types["draw"], types["compute_level"], types["accuracy"]) == ("int32", "float64", "float64")
    assert set(types[["benchmark", "method", "model"]]) == {"category"}
    assert len(frame) == 40 * (2 * 3 + 2)
    for c in built.curves:
        for k, level in enumerate(c.compute_level):
            own = (frame["method"] == c.method) & (frame["model"] == c.model)
            rows = frame[own & (frame["compute_level"] == level)].sort_values("draw")
            assert rows["draw"].tolist() == list(range(40))
            np.testing.assert_array_equal(rows["accuracy"], c.accuracy_draws[:, k])
            np.testing.assert_array_equal(rows["tokens_per_query"], c.tokens_draws[:, k])


def test_provenance_says_where_everything_comes_from(folder, tmp_path):
    *_, path = build(folder, methods=ALL, seed=5, rename={"Qwen2-7B": "Mine"}).write(tmp_path / "mine.csv")
    data = json.loads(path.read_text())
    assert [file["sha256"] for file in data["files"]]
    assert data["request"]["rename"] == {"Qwen2-7B": "Mine"}
    assert (data["request"]["seed"], data["request"]["draws"], data["request"]["bins"]) == (5, 50, 2)
    assert {file["lines"] for file in data["files"]} == {12}
    assert data["files"][0]["models"]["Llama-3-8B"] == {"questions": 12, "samples": 6, "token_limit": 512.0}
    assert {c["model"] for c in data["curves"]} == {"Mine", "Llama-3-8B"}
    assert data["versions"]["numpy"]
    assert set(data["written"]) == {"curves_sha256", "draws_sha256"}


def test_the_same_runs_and_seed_give_the_same_bytes_and_another_seed_other_draws(folder, tmp_path):
    written = [
        [path.read_bytes() for path in build(folder, seed=seed).write(tmp_path / f"{name}.csv")]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert written[0] == written[1]
    assert written[0][1] != written[2][1]


def test_nothing_is_left_of_a_file_that_could_not_be_written(folder, tmp_path):
    (tmp_path / "blocked").write_text("a file, not a folder")
    built = build(folder)
    with pytest.raises(InputError, match="cannot be written"):
        built.write(tmp_path / "blocked" / "mine.csv")
    with pytest.raises(InputError, match=r"the name of a curve file ends in \.csv"):
        built.write(tmp_path / "mine.txt")


def test_curves_that_would_not_be_read_again_are_not_written(folder, tmp_path):
    built = build(folder, benchmark="gsm8k")
    with pytest.raises(InputError, match=r"mine\.csv: row 2, column benchmark: .*letter case only"):
        built.write(tmp_path / "out" / "mine.csv")
    assert os.listdir(tmp_path / "out") == []


def test_an_earlier_file_stays_whole_until_the_new_one_is(folder, tmp_path, monkeypatch):
    out = tmp_path / "mine.csv"
    files = build(folder, seed=1).write(out)
    before = [path.read_bytes() for path in files]

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("market_sim.experiments.built_curves._write_draws", fail)
    with pytest.raises(InputError, match="No space left on device"):
        build(folder, seed=2).write(out)
    assert [path.read_bytes() for path in files] == before
    assert len(list(tmp_path.glob(".*"))) == 0


def test_the_curve_file_appears_when_what_stands_beside_it_is_there(folder, tmp_path, monkeypatch):
    renamed, replace = [], os.replace

    def record(draft, final):
        renamed.append(final.name)
        replace(draft, final)

    monkeypatch.setattr(os, "replace", record)
    build(folder).write(tmp_path / "mine.csv")
    assert renamed[-1] == "mine.csv"
    assert len(renamed) == 3


def test_a_scenario_can_name_the_curves(folder, tmp_path):
    build(folder).write(tmp_path / "mine.csv")
    scenario = tmp_path / "mine.toml"
    scenario.write_text('name = "mine"\n[market]\ncurves = "mine.csv"\n[users]\nbeta = 500.0\n')
    (solution,) = ms.solve(scenario)
    assert list(solution.providers) == ["Llama-3-8B", "Qwen2-7B"]
    assert solution.equilibria


def test_a_scenario_with_built_curves_says_where_its_uncertainty_is_from(folder, tmp_path):
    _, draws, _ = build(folder).write(tmp_path / "mine.csv")
    scenario = tmp_path / "mine.toml"
    scenario.write_text('name = "mine"\n[market]\ncurves = "mine.csv"\n[users]\nbeta = 500.0\n')
    (found,) = ms.solve_uncertain(scenario)
    assert found.draws.assumption == (
        "Drawn by the 50 resamplings of 12 questions in mine.draws.parquet, the same questions for all "
        "models. So few questions (12) make intervals too short: below 30 they hold the truth clearly less "
        "often than they say."
    )
    draws.unlink()
    (found,) = ms.solve_uncertain(scenario)
    assert found.draws.kind == "parametric"
    assert found.draws.assumption.endswith(
        "mine.draws.parquet, made with these curves, is not beside them; their own resamplings would say "
        "more."
    )


def test_curves_that_were_changed_after_their_draws_are_not_solved_with_them(folder, tmp_path):
    path, _, provenance = build(folder).write(tmp_path / "mine.csv")
    scenario = tmp_path / "mine.toml"
    scenario.write_text('name = "mine"\n[market]\ncurves = "mine.csv"\n')
    frame = pd.read_csv(path)
    frame["accuracy"] *= 0.999
    frame.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"was written for another mine\.csv, which has been changed since"):
        ms.solve_uncertain(scenario)
    assert ms.solve(scenario)
    provenance.unlink()
    assert ms.solve_uncertain(scenario)


def test_nothing_is_written_over_what_is_no_curve_file_or_into_a_folder(folder, tmp_path):
    raw = tmp_path / "raw.csv"
    pd.DataFrame(as_table("A", drawn(1))).to_csv(raw, index=False)
    before = raw.read_bytes()
    with pytest.raises(InputError, match=r"raw.csv: is no curve file, so it is not replaced"):
        build(raw).write(raw)
    assert raw.read_bytes() == before
    for name in ("dir.csv", "dir.draws.parquet", "dir.provenance.json"):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match="is a folder"):
            build(raw).write(tmp_path / "dir.csv")
        assert [path.name for path in tmp_path.glob("dir*")] == [name]
        (tmp_path / name).rmdir()
    build(raw).write(tmp_path / "mine.csv")
    build(raw).write(tmp_path / "mine.csv")


def test_a_run_in_which_no_answer_was_parsed_gives_no_vote(folder):
    lines = [line | {"explanations": ["parsed=C; truth='C'"] * 6} for line in drawn(3)]
    published(folder, "Bare", lines)
    built = build(folder)
    assert built.left_out == (
        ("Bare", "majority_voting", "majority_voting needs answers, and not one was parsed"),
    )


def test_samples_marked_right_without_an_answer_are_counted(tmp_path):
    lines = drawn(3)
    right = sum(
        mark and said.startswith("no ")
        for line in lines
        for mark, said in zip(line["correct"], line["explanations"], strict=True)
    )
    silent = [line | {"correct": [True] * 6} for line in lines]
    built = build(published(tmp_path, "A", silent))
    unparsed = sum(said.startswith("no ") for line in lines for said in line["explanations"])
    assert right == 0 < unparsed
    assert built.curves[0].counted["of these marked right nevertheless"] == unparsed


def test_estimated_tokens_are_said_and_a_check_asks_for_them(tmp_path):
    records = [{k: v for k, v in r.items() if k != "num_tokens"} for r in as_lm_eval(drawn(1))]
    path = write_lines(tmp_path / "x__Y" / "samples_a.jsonl", records)
    built = build(path, choice=LmEvalChoice(characters_per_token=4.0))
    assert built.curves[0].said == (
        "tokens, and with them prices, are estimated from the length of responses",
    )
    (checked,) = check_files([path])
    assert "curves build needs --characters-per-token" in str(checked.troubles[0])
    assert "tokens a sample" not in checked.facts[1]


def test_two_tasks_of_one_model_are_built_apart(tmp_path):
    for task in ("gsm8k", "mmlu_law"):
        write_lines(tmp_path / "x__Y" / f"samples_{task}_2025-01-01T00-00-00.1.jsonl", as_lm_eval(drawn(1)))
    assert "gsm8k and mmlu_law are different questions, so build their curves apart" in refusal(tmp_path)


def test_a_model_of_a_longer_name_is_refused_with_the_paper_s(tmp_path):
    built = build(published(tmp_path / "runs", "Meta-Llama-3-8B-Instruct", drawn(1)))
    built.write(tmp_path / "mine.csv")
    (tmp_path / "mine.toml").write_text('name = "mine"\n[market]\ncurves = "mine.csv"\n')
    with pytest.raises(InputError, match="--rename Meta-Llama-3-8B-Instruct=Llama-3-8B have its price"):
        ms.solve(tmp_path / "mine.toml")


def test_the_headline_is_of_what_can_be_sold(folder, tmp_path):
    def headline(methods):
        path = tmp_path / "mine.csv"
        build(folder, methods=methods).write(path)
        return " ".join(text.get_text() for text in accuracy_by_tokens(read_curves(path)).texts)

    assert METHOD_NAMES["pass_at_k"] not in headline(ALL)
    assert METHOD_NAMES["pass_at_k"] in headline(["pass_at_k"])


def test_built_curves_are_a_frame_in_a_notebook(folder):
    built = build(folder)
    assert len(built.to_frame()) == 6
    assert repr(built) == ("<BuiltCurves GSM8K: 2 curves of 2 models, 12 questions, 0 lines dropped>")


# --- Checking and showing ---------------------------------------------------------------------------


def test_checking_says_what_each_file_is(folder, tmp_path):
    out = tmp_path / "mine.csv"
    build(folder).write(out)
    table = tmp_path / "table.csv"
    pd.DataFrame(as_table("A", drawn(1))).to_csv(table, index=False)
    log = write_lines(tmp_path / "x__Y" / "samples_a.jsonl", as_lm_eval(drawn(1)))
    other = write_lines(tmp_path / "other.jsonl", [{"id": 1}])
    run = next(folder.glob("Qwen*"))
    checked = check_files([out, run, table, log, other])
    assert [each.kind for each in checked] == [
        "a curve file",
        "raw evaluations in the published format",
        "raw evaluations, a table",
        "raw evaluations, a log of lm-evaluation-harness",
        "an unknown file",
    ]
    assert [len(each.troubles) for each in checked] == [0, 0, 0, 0, 1]
    told = "Qwen2-7B: 12 questions, 6 samples each, with answers, rewards, tokens of thinking"
    assert checked[1].facts[1].startswith(told)


def test_checking_finds_what_is_wrong_in_curves_and_beside_them(folder, tmp_path):
    out = tmp_path / "mine.csv"
    _, draws, provenance = build(folder, levels=[1, 2]).write(out)
    text = out.read_text()

    def reasons():
        return [trouble.reason for trouble in check_files([out])[0].troubles]

    out.write_text(text.replace("0.", "7.", 1))
    assert reasons()[0].startswith("row 2, column accuracy")
    out.write_text(text + "\n")
    assert reasons()[0].startswith(
        "mine.provenance.json was written for another mine.csv, which has been changed"
    )
    out.write_text("\n".join(text.splitlines()[:-1]) + "\n")
    assert reasons()[0] == (
        "mine.draws.parquet Qwen2-7B on GSM8K (majority_voting) has the levels 1, 2, in its curve file 1; "
        "build the curves again"
    )
    out.write_text(text)
    provenance.write_text("{}")
    assert reasons() == ["mine.provenance.json is not a provenance file of curves"]
    draws.write_text("no")
    provenance.unlink()
    assert reasons()[0].startswith("mine.draws.parquet is not a Parquet file of draws that can be read")
    pd.DataFrame({"draw": [1]}).to_parquet(draws)
    assert reasons()[0].startswith("mine.draws.parquet column benchmark is missing")


def test_checking_a_folder_looks_at_curves_and_raw_evaluations(folder):
    build(folder).write(folder / "out" / "mine.csv")
    write_lines(folder / "notes.jsonl", [{"id": 1}])
    (folder / "settings.json").write_text("{\n}")
    (folder / "Lost--temp-1--samples-6--max-512.jsonl").write_text("")
    checked = check_files([folder])
    assert [(Path(each.path).name[:5], len(each.troubles)) for each in checked] == [
        ("Llama", 0),
        ("Lost-", 1),
        ("Qwen2", 0),
        ("mine.", 0),
    ]
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="holds neither curve files nor raw evaluations"):
        check_files([folder / "empty"])


def test_checking_a_log_of_several_filters_takes_the_choice(tmp_path):
    records = as_lm_eval(drawn(1))
    both = [record | {"filter": name} for record in records for name in ("strict", "flexible")]
    path = write_lines(tmp_path / "x__Y" / "samples_a.jsonl", both)
    assert "choose one with --filter" in check_files([path])[0].troubles[0].reason
    (checked,) = check_files([path], choice=LmEvalChoice(filter="strict"))
    assert checked.troubles == ()
    assert "12 records of filter flexible left out" in checked.facts
    (wrong,) = check_files([path], choice=LmEvalChoice(filter="stict"))
    assert "--filter = 'stict' is not one of strict, flexible (did you mean strict?)" in str(
        wrong.troubles[0]
    )


def test_checking_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        check_files([tmp_path / "none.csv"])


def test_the_table_of_a_curve_file_has_its_intervals_or_none(folder, tmp_path):
    out = tmp_path / "mine.csv"
    built = build(folder)
    built.write(out)
    rows = curve_table(read_curves(out))
    assert [row["accuracy_low"] for row in rows] == [row["accuracy_low"] for row in built.rows()]
    assert all(row["tokens_high"] is None for row in curve_table(list(ms_bundled())))


def ms_bundled():
    from market_sim.economy.quality import bundled_curves

    return bundled_curves()


def test_the_figure_has_a_line_for_each_model_and_a_bar_for_each_interval(folder, tmp_path):
    out = tmp_path / "mine.csv"
    build(folder, methods=["majority_voting", "best_of_n"]).write(out)
    curves = read_curves(out)
    figure = accuracy_by_tokens(curves)
    drawn_axes = [ax for ax in figure.axes if ax.lines]
    assert [len(ax.lines) for ax in drawn_axes] == [2, 2]
    assert [len(ax.collections) for ax in drawn_axes] == [4, 4]  # one upright and one lying for each model
    best = max(curves, key=lambda c: c.accuracy.max())
    assert figure.get_suptitle().startswith(f"{best.model} reaches {best.accuracy.max():.1%}")
    files = write_curve_figures(curves, out, tmp_path / "pictures")
    assert [path.name for path in files] == ["mine-accuracy.png", "mine-accuracy.svg"]
    assert all(path.stat().st_size > 1000 for path in files)

"""Reading raw evaluations: the three formats give the same samples, and whatever is wrong is named."""

import gzip
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.economy.answers import answer_key, parsed_answer
from market_sim.economy.evaluations import shared_questions
from market_sim.economy.raw_files import LONGEST_LINE
from market_sim.economy.raw_folders import Look, look_at, raw_files
from market_sim.economy.raw_formats import LmEvalChoice
from market_sim.economy.raw_reading import read_raw_file
from market_sim.errors import InputError
from market_sim.theory.estimators import UNPARSED
from tests.raw_runs import as_lm_eval, as_table, drawn, published, question, write_lines

FOUR = ["18", "17", None, "18"]


def one(path, **options):
    """The file and its only run."""
    file = read_raw_file(path, **options)
    (run,) = file.runs
    return file, run


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        read_raw_file(path, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(f"{path}: ")
    return sentence.removeprefix(f"{path}: ")


# --- Answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("explanation", "answer"),
    [
        ("parsed='D'; truth='C'", "D"),
        ("boxed='18'; numeric='18'; truth='18'", "18"),
        ("boxed='3'", "3"),
        ("parsed=\"it's\"; truth='C'", "it's"),
        ("parsed='it's'; truth='C'", "it's"),
        ("parsed='a=b'; truth='C'", "a=b"),
        ("no 'Answer: [A-D]' pattern found; truth='C'", None),
        ("no numeric content found; truth='18'", None),
        ("parsed=None; truth='C'", None),
        ("parsed=18; truth=18", "18"),
        ("numeric = -1,000.5e3", "-1,000.5e3"),
        ("truth=18", None),
        (" 42 ", " 42 "),
        ("no answer", None),
        ("truth='C'", None),
        ("", None),
    ],
)
def test_the_answer_is_the_first_quoted_value_unless_that_is_the_truth(explanation, answer):
    assert parsed_answer(explanation) == answer


@pytest.mark.parametrize(
    "same",
    [
        ("18", "18.0", " 18 ", "+18", "018", "1.8e1", "18."),
        ("1000", "1,000", "1000.00", "1e3"),
        ("0", "-0", "0.0", "0e5"),
        ("-.5", "-0.50"),
        ("C", " C"),
    ],
)
def test_texts_that_are_the_same_number_or_word_are_one_answer(same):
    assert len({answer_key(text) for text in same}) == 1


@pytest.mark.parametrize(
    "different",
    [
        ("18", "-18", "18.5", "1.8", "180", "18%", "eighteen"),
        ("C", "c", "D", "(C)"),
        ("12", "1,2", "1e2"),
        ("10000000000000000000000001", "10000000000000000000000002"),
        ("1e999999", "1e999998", "inf", "nan", ".", "-", "e"),
    ],
)
def test_other_texts_are_other_answers(different):
    keys = [answer_key(text) for text in different]
    assert None not in keys
    assert len(set(keys)) == len(keys)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_answers_are_the_same_exactly_if_they_are_equal_as_numbers(a, b):
    assert (answer_key(f"{a}") == answer_key(f"{b}")) == (a == b)


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_answer_is_none(empty):
    assert answer_key(empty) is None


# --- The published format ---------------------------------------------------------------------------


def test_a_published_line_is_read_into_arrays(tmp_path):
    path = published(tmp_path, "Qwen2-7B", [question("gsm-1", FOUR, "18")])
    file, run = one(path)
    assert (file.format, file.n_lines, file.troubles) == ("published", 1, ())
    assert (run.model, run.token_limit, run.questions, run.lines) == ("Qwen2-7B", 512.0, ("gsm-1",), (1,))
    assert run.correct.tolist() == [[True, False, False, True]]
    assert run.answers.tolist() == [[0, 1, UNPARSED, 0]]
    assert run.rewards.tolist() == [[1.0, 0.1, 0.2, 1.3]]
    assert run.tokens.tolist() == [[10.0, 20.0, 30.0, 40.0]]
    assert run.thinking is None
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.n_bytes == path.stat().st_size


def test_pairs_of_tokens_are_thinking_and_total(tmp_path):
    line = question("q", FOUR, "18", num_tokens=[[3, 9], [0, 8], [5, 5], [1, 2]])
    _, run = one(published(tmp_path, "R1", [line]))
    assert run.thinking.tolist() == [[3.0, 0.0, 5.0, 1.0]]
    assert run.tokens.tolist() == [[9.0, 8.0, 5.0, 2.0]]


def test_a_packed_file_is_read_like_a_plain_one(tmp_path):
    lines = drawn(1)
    plain, packed = (one(published(tmp_path, "A", lines, end=end)) for end in ("", ".gz"))
    assert plain[1].questions == packed[1].questions
    np.testing.assert_array_equal(plain[1].answers, packed[1].answers)
    assert packed[1].model == "A"
    assert packed[1].token_limit == 512
    assert plain[0].sha256 != packed[0].sha256


def test_fields_that_are_not_needed_and_blank_lines_do_not_matter(tmp_path):
    line = question("q", FOUR, "18", prompt="?", answers=["..."] * 4, ground_truths=["18"])
    file, _ = one(published(tmp_path, "A", [line, "", "  "]))
    assert file.troubles == ()
    assert file.n_lines == 1


def test_a_byte_order_mark_at_the_start_does_not_matter(tmp_path):
    path = published(tmp_path, "A", [question("q", FOUR, "18")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert one(path)[0].troubles == ()


def bad(**other):
    """A question with something changed."""
    return question("x", FOUR, "18", **other)


GOOD = [question(f"q{i}", FOUR, "18") for i in range(3)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"qid": "x", ', "is not JSON"),
        ("nonsense", "is not JSON"),
        ("[" * 100_000, "is not JSON that can be read"),
        ("[1, 2]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        (bad(qid=None), "qid is missing"),
        (bad(qid=["x"]), "names no question"),
        (bad(qid=True), "names no question"),
        (bad(correct=None), "correct is missing"),
        (bad(explanations=None), "explanations is missing"),
        (bad(num_tokens=None), "num_tokens is missing"),
        (bad(correct=[1, 0, 0, 1]), "correct is not a list of true and false"),
        (bad(correct=["true"] * 4), "correct is not a list of true and false"),
        (bad(correct=True), "correct is not a list of true and false"),
        (bad(correct=[True, None, True, True]), "correct is not a list"),
        (bad(correct=[[True]] * 4), "correct is not a list of true and false"),
        (bad(correct=[]), "correct is empty"),
        (
            bad(correct=[True] * 3),
            "numbers of samples differ: correct 3, explanations 4",
        ),
        (bad(rewards=[0.1] * 5), "rewards 5"),
        (bad(rewards=["0.1"] * 4), "rewards is not a list of numbers and nulls"),
        (bad(rewards=[0.5, 1, True, None]), "rewards is not a list of numbers and nulls"),
        (bad(rewards=[10**400] * 4), "rewards has a number that is too large"),
        (bad(num_tokens=[1, 2, 3, True]), "num_tokens is not a list of numbers"),
        (bad(rewards=[True] * 4), "rewards is not a list of numbers and nulls"),
        (bad(explanations=[1, 2, 3, 4]), "explanations is not a list of texts"),
        (
            bad(num_tokens=[1, 2, 3, math.nan]),
            "num_tokens has an entry that is no number",
        ),
        (
            bad(num_tokens=[1, 2, 3, math.inf]),
            "num_tokens has an entry that is no number",
        ),
        (
            bad(num_tokens=[1, 2, 3, 1e300]),
            "num_tokens has an entry that is no number from 0",
        ),
        (
            bad(num_tokens=[1, 2, 3, -4]),
            "num_tokens has an entry that is no number from 0",
        ),
        (bad(num_tokens=[1, 2, 3, None]), "num_tokens is not a list of numbers"),
        (bad(num_tokens=[1, 2, 3, [4, 5]]), "num_tokens is not a list of numbers"),
        (bad(num_tokens=["1"] * 4), "num_tokens is not a list of numbers"),
        (bad(num_tokens=[[1, 2, 3]] * 4), "num_tokens is not a list of numbers"),
        (bad(num_tokens=[[9, 2]] * 4), "more tokens of thinking than in all"),
        (bad(num_tokens=[10**400] * 4), "num_tokens is not a list of numbers"),
        (question("q1", FOUR, "18"), "question 'q1' stands in line 2 already"),
        (question("x", FOUR[:3], "18"), "question 'x' has samples: 3; most questions: 4"),
        (
            bad(num_tokens=[[1, 2]] * 4),
            "tells tokens of thinking: yes; most questions: no",
        ),
    ],
)
def test_a_broken_line_is_named_with_its_number_and_the_others_are_read(tmp_path, line, reason):
    path = published(tmp_path, "A", [*GOOD, line, question("last", FOUR, "18")])
    file, run = one(path)
    assert run.questions == ("q0", "q1", "q2", "last")
    (trouble,) = file.troubles
    assert (trouble.file, trouble.line, trouble.dropped) == (str(path), 4, True)
    assert reason in trouble.reason
    assert file.n_lines == 5


def test_a_line_that_is_no_utf8_is_named(tmp_path):
    path = published(tmp_path, "A", GOOD)
    path.write_bytes(path.read_bytes() + b'{"qid": "\xff\xfe"}\n')
    (trouble,) = one(path)[0].troubles
    assert (trouble.line, trouble.reason) == (4, "is not text in UTF-8")


def test_a_file_that_ends_within_a_line_is_read_up_to_it(tmp_path):
    path = published(tmp_path, "A", GOOD)
    path.write_bytes(path.read_bytes()[:-40])
    file, run = one(path)
    assert run.questions == ("q0", "q1")
    (trouble,) = file.troubles
    assert trouble.line == 3
    assert trouble.reason.endswith("the file ends within the line")


def test_a_packed_file_that_breaks_off_is_read_up_to_there(tmp_path):
    path = published(tmp_path, "A", drawn(1, n_questions=200), end=".gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    file, run = one(path)
    assert 20 < len(run.questions) < 180
    assert "breaks off" in file.troubles[-1].reason
    assert file.troubles[-1].line >= len(run.questions)


def test_null_rewards_are_kept_as_nan_and_said(tmp_path):
    lines = [
        *GOOD,
        bad(rewards=[0.5, None, math.nan, 1]),
        question("y", FOUR, "18", rewards=None),
    ]
    file, run = one(published(tmp_path, "A", lines))
    np.testing.assert_array_equal(run.rewards[3], [0.5, math.nan, math.nan, 1.0])
    assert np.isnan(run.rewards[4]).all()
    assert [(t.line, t.dropped) for t in file.troubles] == [(4, False), (5, False)]
    assert "2 null rewards of 4: they rank below all others" in file.troubles[0].reason


@pytest.mark.parametrize("rewards", [None, [None] * 4])
def test_rewards_that_are_absent_everywhere_are_none(tmp_path, rewards):
    file, run = one(published(tmp_path, "A", [bad(rewards=rewards)]))
    assert run.rewards is None
    assert file.troubles == ()


def test_a_file_without_one_good_line_has_no_run_and_says_why(tmp_path):
    path = write_lines(tmp_path / "A--max-9.jsonl", [bad(correct=[])])
    file = read_raw_file(path)
    assert file.runs == ()
    assert file.why_empty == "has no usable question of A; line 1: correct is empty"


@pytest.mark.parametrize(
    ("name", "model", "limit"),
    [
        ("Qwen2-7B--temp-0.7--samples-128--max-512.jsonl", "Qwen2-7B", 512.0),
        ("R1-D-7B--temp-0.6--samples-32--max-2048.jsonl.gz", "R1-D-7B", 2048.0),
        ("mine.jsonl", "mine", None),
        ("Qwen2-7B--temp-0.7--samples-128--max-512.JSONL.GZ", "Qwen2-7B", 512.0),
        ("mine.v2.jsonl", "mine.v2", None),
        ("A--temp-0.7.jsonl", "A", None),
        ("R1--D--temp-0.6--samples-32--max-2048.jsonl", "R1--D", 2048.0),
        ("my--own.jsonl", "my--own", None),
    ],
)
def test_model_and_token_limit_stand_in_the_file_s_name(tmp_path, name, model, limit):
    _, run = one(write_lines(tmp_path / name, GOOD))
    assert (run.model, run.token_limit) == (model, limit)


# --- lm-evaluation-harness --------------------------------------------------------------------------


def lm_eval(folder: Path, records: list) -> Path:
    return write_lines(folder / "acme__Model-7B" / "samples_gsm8k_2026-01-01T00-00-00.jsonl", records)


def test_a_harness_log_with_repeats_gives_the_same_samples_as_the_published_format(tmp_path):
    lines = drawn(2)
    _, wanted = one(published(tmp_path, "Model-7B", lines))
    file, run = one(lm_eval(tmp_path, as_lm_eval(lines)))
    assert (file.format, file.troubles, run.model) == ("lm_eval", (), "Model-7B")
    for name in ("questions", "correct", "answers", "tokens", "thinking", "rewards"):
        np.testing.assert_array_equal(getattr(run, name), getattr(wanted, name), err_msg=name)


def one_response(**other):
    record = {
        "doc_id": 3,
        "target": "... #### 18",
        "resps": [["It is 18."]],
        "filtered_resps": ["18"],
        "filter": "strict-match",
        "exact_match": 1.0,
        "num_tokens": 42,
    }
    return {key: value for key, value in (record | other).items() if value is not None}


def test_one_response_is_right_if_the_metric_says_so(tmp_path):
    records = [one_response(), one_response(doc_id=4, exact_match=0.0, filtered_resps=["[invalid]"])]
    _, run = one(lm_eval(tmp_path, records))
    assert run.questions == ("3", "4")
    assert run.correct.tolist() == [[True], [False]]
    assert run.answers.tolist() == [[0], [UNPARSED]]
    assert run.tokens.tolist() == [[42.0], [42.0]]


def test_a_metric_with_an_entry_for_each_response_marks_them(tmp_path):
    record = one_response(
        resps=[["a", "b"]], filtered_resps=[["a", "b"]], exact_match=[0, 1], num_tokens=[5, 6], target="?"
    )
    assert one(lm_eval(tmp_path, [record]))[1].correct.tolist() == [[False, True]]


def test_scored_options_are_one_sample_that_the_metric_marks(tmp_path):
    record = one_response(
        resps=[[["-1.5", "False"]], [["-0.5", "True"]]],
        filtered_resps=[["-1.5", "False"], ["-0.5", "True"]],
        exact_match=None,
        acc=1.0,
    )
    assert one(lm_eval(tmp_path, [record]))[1].correct.tolist() == [[True]]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"doc_id": None}, "doc_id is missing"),
        ({"resps": None}, "resps is missing"),
        ({"resps": []}, "resps is not a list of responses"),
        ({"resps": [[]]}, "resps is empty"),
        ({"filtered_resps": None}, "filtered_resps is missing"),
        ({"resps": [["a", "b"]]}, "filtered_resps has 1 for 2 responses"),
        ({"exact_match": 0.5}, "exact_match = 0.5 is not 0 or 1"),
        ({"exact_match": None}, "choose by --metric"),
        ({"exact_match": None, "acc": 1.0, "acc_norm": 0.0}, "It has acc, acc_norm; choose by --metric"),
        ({"num_tokens": [1, 2]}, "num_tokens has 2 entries for 1 responses"),
        ({"rewards": [1, 2]}, "rewards has 2 entries for 1 responses"),
        (
            {"resps": [["a", "b"]], "filtered_resps": [["1", "2"]], "num_tokens": [1, 2], "target": "three"},
            "exact_match is 1, but no response's answer equals the target",
        ),
        (
            {"resps": [["a", "b"]], "filtered_resps": [["1", "2"]], "num_tokens": [1, 2], "target": None},
            "target is not a text or a number",
        ),
    ],
)
def test_a_broken_record_is_named_and_the_others_are_read(tmp_path, other, reason):
    records = [one_response(doc_id=1), one_response(doc_id=2), one_response(**other)]
    file, run = one(lm_eval(tmp_path, records), format="lm_eval")
    assert run.questions == ("1", "2")
    (trouble,) = file.troubles
    assert trouble.line == 3
    assert reason in trouble.reason


def test_a_log_without_tokens_is_refused_unless_they_are_estimated(tmp_path):
    path = lm_eval(tmp_path, [one_response(num_tokens=None)])
    assert "logs no token counts; add num_tokens" in refusal(path)
    _, run = one(path, choice=LmEvalChoice(characters_per_token=3.0))
    assert run.tokens.tolist() == [[3.0]]


def test_of_several_filters_one_must_be_chosen_and_the_others_are_counted(tmp_path):
    other = one_response(filter="flexible-extract", exact_match=0.0)
    path = lm_eval(tmp_path, [one_response(), other])
    assert (
        refusal(path) == "has records of filters strict-match and flexible-extract; choose one with --filter"
    )
    file, run = one(path, choice=LmEvalChoice(filter="flexible-extract"))
    assert run.correct.tolist() == [[False]]
    assert file.skipped == {"of filter strict-match": 1}
    assert file.troubles == ()
    assert refusal(path, choice=LmEvalChoice(filter="strict")) == (
        "--filter = 'strict' is not one of strict-match, flexible-extract (did you mean strict-match?)"
    )


def test_the_metric_can_be_chosen(tmp_path):
    path = lm_eval(tmp_path, [one_response(exact_match=0.0, lenient=1.0)])
    wrong = read_raw_file(path, choice=LmEvalChoice(metric="leniant"))
    assert wrong.why_empty.endswith(
        "line 1: has no metric 'leniant', but exact_match, lenient (did you mean lenient?)"
    )
    assert one(path)[1].correct.tolist() == [[False]]
    assert one(path, choice=LmEvalChoice(metric="lenient"))[1].correct.tolist() == [[True]]


# --- Tables -----------------------------------------------------------------------------------------


def table_file(path: Path, rows: list[dict]) -> Path:
    frame = pd.DataFrame(rows)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["runs.csv", "runs.csv.gz", "runs.parquet"])
def test_a_table_gives_the_same_samples_as_the_published_format(tmp_path, name):
    models = {"A": drawn(3), "B": drawn(4, thinking=False)}
    rows = [row for model, lines in models.items() for row in as_table(model, lines)]
    rows = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    path = table_file(tmp_path / name, rows)
    file = read_raw_file(path)
    assert (file.format, file.troubles, file.n_lines) == ("table", (), len(rows))
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for run in file.runs:
        _, wanted = one(published(tmp_path, run.model, models[run.model]))
        place = [run.questions.index(name) for name in wanted.questions]
        for part in ("correct", "tokens", "rewards"):
            np.testing.assert_array_equal(getattr(run, part)[place], getattr(wanted, part), err_msg=part)
        assert (run.thinking is None) == (run.model == "B")
        for mine, theirs in zip(run.answers[place], wanted.answers, strict=True):
            assert [mine[i] == mine[j] for i in range(6) for j in range(6)] == [
                theirs[i] == theirs[j] for i in range(6) for j in range(6)
            ]
            assert ((mine < 0) == (theirs < 0)).all()


def test_optional_columns_may_be_absent(tmp_path):
    rows = [
        {k: v for k, v in row.items() if k in ("model", "question", "sample", "correct", "tokens")}
        for row in as_table("A", drawn(5))
    ]
    _, run = one(table_file(tmp_path / "t.csv", rows))
    assert (run.answers, run.rewards, run.thinking) == (None, None, None)


HEADER = "model,question,sample,correct,tokens,answer,reward,thinking_tokens"
ROWS = [f"A,q{q},{s},{'true' if s else 'False'},10,7,0.5," for q in range(3) for s in range(2)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("A,x,0,maybe,10,7,0.5,", "has correct = 'maybe', not true, false, 0 or 1"),
        ("A,x,0,,10,7,0.5,", "has correct = nothing, not true, false, 0 or 1"),
        ("A,x,0,2,10,7,0.5,", "has correct = '2', not true"),
        ("A,x,0,1,nan,7,0.5,", "has tokens = nothing, not a number from 0 to 1e+12"),
        ("A,x,0,1,many,7,0.5,", "has tokens = 'many', not a number from 0 to 1e+12"),
        ("A,x,0,1,1_0,7,0.5,", "has tokens = '1_0', not a number from 0 to 1e+12"),
        ("A,x,0,1,-1,7,0.5,", "has tokens = '-1', not a number from 0 to 1e+12"),
        ("A,x,inf,1,5,7,0.5,", "has sample = 'inf', not a whole number of 0 or more"),
        ("A,x,1e400,1,5,7,0.5,", "has sample = '1e400', not a whole number of 0 or more"),
        ("A,x,0,1,inf,7,0.5,", "has tokens = 'inf', not a number from 0 to 1e+12"),
        ("A,x,first,1,10,7,0.5,", "has sample = 'first', not a whole number of 0 or more"),
        ("A,x,0.5,1,10,7,0.5,", "has sample = '0.5', not a whole number"),
        ("A,x,0,1,10,7,high,", "has reward = 'high', not a number or nothing"),
        ("A,x,0,1,10,7,0.5,11", "has thinking_tokens = '11', not from 0 to tokens"),
        (",x,0,1,10,7,0.5,", "has model = nothing, not a name"),
        ("A,,0,1,10,7,0.5,", "has question = nothing, not a name"),
        ("A,x,0,1", "has 4 columns of 8"),
        ("A,x,0,1,10,7,0.5,,,", "has 10 columns of 8"),
        ("A,q1,1,0,10,7,0.5,", "sample 1 of question 'q1' stands in row 5 already"),
    ],
)
def test_a_broken_row_is_named_with_its_number_and_the_others_are_read(tmp_path, row, reason):
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, *ROWS[:4], "", row, *ROWS[4:], ""]))
    file, run = one(path)
    assert sorted(run.questions) == ["q0", "q1", "q2"]
    (trouble,) = file.troubles
    assert trouble.line == 7
    assert reason in trouble.reason


def test_a_question_that_lost_a_row_is_left_out_and_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, *ROWS[:-1], ROWS[-1].replace("10", "ten")]))
    file, run = one(path)
    assert sorted(run.questions) == ["q0", "q1"]
    assert [t.line for t in file.troubles] == [6, 7]
    assert "question 'q2' has samples: 1; most questions: 2" in file.troubles[0].reason


def test_null_rewards_of_a_table_are_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\n".join([HEADER, ROWS[0].replace("0.5", ""), *ROWS[1:]]))
    file, run = one(path)
    assert np.isnan(run.rewards).sum() == 1
    assert [(t.line, t.dropped) for t in file.troubles] == [(2, False)]


def test_thousands_of_rows_in_pieces_are_one_table(tmp_path, monkeypatch):
    from market_sim.economy import raw_tables

    rows = as_table("A", drawn(6, n_questions=300))
    path = table_file(tmp_path / "t.csv", rows)
    _, whole = one(path)
    monkeypatch.setattr(raw_tables, "PIECE", 2000)
    _, pieces = one(path)
    assert whole.questions == pieces.questions
    for part in ("correct", "tokens", "rewards", "thinking"):
        np.testing.assert_array_equal(getattr(whole, part), getattr(pieces, part))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "model,question,sample,correct\nA,q,0,1\n",
            "column tokens is missing; the file has model",
        ),
        ("model,question,sample,correct,token\nA,q,0,1,3\n", "(did you mean token?)"),
        ("", "column model is missing"),
    ],
)
def test_a_table_without_the_columns_is_refused(tmp_path, content, says):
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert says in refusal(path, format="table")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("", "has no usable row"),
        ("A,q,0,2,3,,,\n", "has no usable question of A; line 2: has correct = '2', not true, false, 0 or 1"),
        ("A,q\n", "has no usable row; line 2: has 2 columns of 8"),
        (",q,0,1,3,,,\n", "has no usable row; line 2: has model = nothing, not a name"),
    ],
)
def test_a_table_without_a_usable_row_has_no_run_and_says_why(tmp_path, rows, why):
    path = tmp_path / "t.csv"
    path.write_text(f"{HEADER}\n{rows}")
    file = read_raw_file(path, format="table")
    assert file.runs == ()
    assert file.why_empty == why


def many_rows(n_questions=40):
    return [
        f"m,q{q:02d},{i},{(q + i) % 2},{10 + i},{i % 3},0.5," for q in range(n_questions) for i in range(4)
    ]


@pytest.mark.parametrize(
    ("row", "bad", "why"),
    [
        (41, 'm,"q10,1,1,11,1,0.5,', "has a quote that is not closed on its line"),
        (7, 'm,q01,2,1,12,"7,0.5,', "has a quote that is not closed on its line"),
        (80, b"m,q\xe9,0,1,10,1,0.5,", "is not text in UTF-8"),
        (0, "m,q00,0,1", "has 4 columns of 8"),
        (159, "m,q39,3,1,13,1,0.5,,9", "has 9 columns of 8"),
    ],
)
def test_a_row_that_is_none_is_lost_alone_with_its_number(tmp_path, row, bad, why):
    rows = [text.encode() for text in many_rows()]
    rows[row] = bad if isinstance(bad, bytes) else bad.encode()
    path = tmp_path / "t.csv"
    path.write_bytes(b"\n".join([HEADER.encode(), *rows]) + b"\n")
    file, run = one(path)
    assert (row + 2, why) in [(trouble.line, trouble.reason) for trouble in file.troubles]
    assert len(file.troubles) == 2  # and the question that lost a sample
    assert (len(run.questions), file.n_lines) == (39, 160)


def test_a_packed_table_that_breaks_off_is_read_up_to_there(tmp_path):
    whole = gzip.compress("\n".join([HEADER, *many_rows(4000)]).encode())
    path = tmp_path / "t.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    file, run = one(path)
    assert 100 < len(run.questions) < 4000
    assert any("the compressed file breaks off" in trouble.reason for trouble in file.troubles)


def test_a_parquet_file_that_is_damaged_is_a_trouble(tmp_path):
    path = table_file(tmp_path / "t.parquet", as_table("A", drawn(1, n_questions=3000)))
    content = bytearray(path.read_bytes())
    footer = 8 + int.from_bytes(content[-8:-4], "little")  # it says what there is, and stays
    content[200:-footer] = b"\x07" * (len(content) - footer - 200)
    path.write_bytes(bytes(content))
    file = read_raw_file(path)
    assert file.runs == ()
    assert "cannot be read beyond row 0" in file.why_empty


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("answer", [["1"], ["2"]], "column answer holds list<"),
        ("correct", [[True], [False]], "column correct holds list<"),
        ("model", [b"\xff", b"\xfe"], "column model holds binary"),
        ("question", [{"a": 1}, {"a": 2}], "column question holds struct<"),
    ],
)
def test_a_parquet_column_of_another_kind_is_refused(tmp_path, column, values, says):
    columns = {"model": ["A"] * 2, "question": ["q"] * 2, "sample": [0, 1], "correct": [1, 0]}
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns | {"tokens": [1, 2], column: values}), path)
    assert says in refusal(path, format="table")


@pytest.mark.parametrize("kind", ["int8", "uint64", "float32", "string", "large_string", "decimal"])
def test_numbers_of_a_parquet_file_may_be_of_any_kind(tmp_path, kind):
    kind = pa.decimal128(38, 2) if kind == "decimal" else getattr(pa, kind)()
    numbers = pa.array([0, 1, 1, 0]).cast(kind)
    texts = pa.array(["A", "A", "A", "A"]).dictionary_encode()
    columns = {"model": texts, "question": pa.array([7, 7, 8, 8]), "sample": pa.array([0, 1, 0, 1])}
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns | {"correct": pa.array([0, 1, 1, 0]), "tokens": numbers}), path)
    file, run = one(path)
    assert file.troubles == ()
    assert run.tokens.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert run.questions == ("7", "8")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("model,question,sample,correct,tokens,tokens", "column tokens stands there 2 times"),
        ("Model,question,sample,correct,tokens", "column model is missing; the file has Model"),
        ("model;question;sample;correct;tokens", "columns of a CSV file are separated by commas"),
    ],
)
def test_a_table_that_is_nearly_one_is_refused_with_what_is_wrong(tmp_path, header, says):
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\nA,q,0,1,5,6\n")
    assert says in refusal(path)
    with pytest.raises(InputError, match="holds no raw evaluations") as caught:
        raw_files([tmp_path])
    assert says in str(caught.value)


def test_spaces_round_the_names_of_columns_do_not_matter(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('model, "question" ,sample,correct,tokens\nA,q,0,1,5\n')
    assert one(path)[1].tokens.tolist() == [[5.0]]


def test_a_model_of_a_table_without_a_usable_row_is_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"{HEADER}\nA,q,0,1,3,,,\nB,q,0,2,3,,,\n")
    file, run = one(path)
    assert run.model == "A"
    assert [(t.line, t.reason) for t in file.troubles] == [
        (None, "has no usable question of B"),
        (3, "has correct = '2', not true, false, 0 or 1"),
    ]


def test_a_parquet_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_text("no")
    assert refusal(path) == "is not a Parquet file"


# --- Which files, which format ----------------------------------------------------------------------


def test_formats_are_told_by_what_the_files_hold(tmp_path):
    lines = drawn(7)
    assert look_at(published(tmp_path, "A", lines)).format == "published"
    assert look_at(published(tmp_path, "A", lines, end=".gz")).format == "published"
    assert look_at(write_lines(tmp_path / "x.json", ["broken", *lines])).format == "published"
    assert look_at(lm_eval(tmp_path, as_lm_eval(lines))).format == "lm_eval"
    assert look_at(table_file(tmp_path / "t.csv", as_table("A", lines))).format == "table"
    assert look_at(table_file(tmp_path / "t.parquet", as_table("A", lines))).format == "table"
    assert look_at(write_lines(tmp_path / "y.jsonl", [{"id": 1}])) == Look()


def test_an_unknown_file_or_format_is_refused(tmp_path):
    path = write_lines(tmp_path / "y.jsonl", [{"id": 1}])
    assert refusal(path).startswith("is no raw evaluation known here (published, lm_eval, table)")
    with pytest.raises(InputError, match=r"--format = 'publised' is not one of .*did you mean published"):
        read_raw_file(path, format="publised")
    assert refusal(tmp_path / "none.jsonl") == "there is no such file"
    assert refusal(tmp_path) == "is a folder, not a file"


def test_a_folder_stands_for_the_raw_files_below_it_and_the_others_are_named(tmp_path):
    first = published(tmp_path / "b", "A", drawn(1))
    second = table_file(tmp_path / "a.csv", as_table("B", drawn(2)))
    notes, curves = tmp_path / "notes.jsonl", tmp_path / "curves.csv"
    write_lines(notes, [{"id": 1}])
    curves.write_text("benchmark,method,model\n")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / ".hidden.jsonl").write_text("{}")
    (tmp_path / "settings.json").write_text('{\n  "samples": 128\n}\n')
    found = raw_files([tmp_path])
    assert found.files == (second, first)
    assert found.ignored == (curves, notes, tmp_path / "settings.json")
    assert found.broken == ()
    assert raw_files([notes, tmp_path]).files == (notes, second, first)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("A--temp-1--samples-4--max-512.jsonl", b"", "is empty"),
        ("A--temp-1--samples-4--max-512.jsonl", b'{"id": 1}\n', "has no line that is a record"),
        ("A--temp-1--samples-4--max-512.json", b'{"id": 1}\n', "has no line that is a record"),
        ("samples_gsm8k_2025.jsonl", b"\x00\xff" * 9, "has no line that is a record"),
        ("notes.jsonl", b"nothing here\nis JSON", "has no line that is a record"),
        (
            "A--temp-1--samples-4--max-512.jsonl.gz",
            b'{"qid": "q1"}\n',
            "breaks off before its first whole",
        ),
        ("runs.jsonl", b'[{"qid": "q1", "correct": [true]}]', "is one JSON array"),
        ("runs.parquet", b"PAR1", "is not a Parquet file"),
        ("runs.csv", b"", "is empty"),
    ],
)
def test_what_should_be_raw_evaluations_and_is_not_is_a_trouble(tmp_path, name, content, why):
    good = published(tmp_path, "B", drawn(2))
    path = tmp_path / name
    path.write_bytes(content)
    found = raw_files([tmp_path])
    assert found.files == (good,)
    assert found.ignored == ()
    (trouble,) = found.broken
    assert trouble.file == str(path)
    assert why in trouble.reason
    assert trouble.dropped
    good.unlink()
    with pytest.raises(InputError, match="holds no raw evaluations") as caught:
        raw_files([tmp_path])
    assert str(trouble) in str(caught.value)


def test_a_format_that_is_asked_for_selects_the_files_of_folders(tmp_path):
    lines = published(tmp_path, "A", drawn(1))
    log = lm_eval(tmp_path / "B", as_lm_eval(drawn(2)))
    table = table_file(tmp_path / "t.csv", as_table("C", drawn(3)))
    odd = write_lines(tmp_path / "odd.jsonl", [{"qid": 1}])
    for format, wanted in (("published", {lines, odd}), ("lm_eval", {log, odd}), ("table", {table})):
        found = raw_files([tmp_path], format)
        assert set(found.files) == wanted
        assert set(found.ignored) == {lines, log, table, odd} - wanted
    assert odd in raw_files([tmp_path]).ignored


def test_a_line_without_an_end_is_named_and_the_next_is_read(tmp_path, monkeypatch):
    lines = drawn(3)
    path = write_lines(tmp_path / "A.jsonl", [lines[0], "x" * 10_000, *lines[1:]])
    monkeypatch.setattr("market_sim.economy.raw_files.LONGEST_LINE", 5_000)
    file, run = one(path)
    assert [str(trouble) for trouble in file.troubles] == [f"{path}: line 2: is longer than 5,000 bytes"]
    assert len(run.questions) == len(lines)
    assert LONGEST_LINE >= 2**28


def test_a_folder_without_raw_files_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no raw evaluations"):
        raw_files([tmp_path])


def test_progress_is_told_every_byte(tmp_path):
    for path in (
        published(tmp_path, "A", drawn(8)),
        published(tmp_path, "B", drawn(8), end=".gz"),
        table_file(tmp_path / "t.csv", as_table("A", drawn(8))),
        table_file(tmp_path / "t.parquet", as_table("A", drawn(8))),
    ):
        told: list[int] = []
        read_raw_file(path, advance=told.append)
        assert sum(told) == path.stat().st_size


def test_questions_that_a_model_lacks_count_for_nobody(tmp_path):
    shared, troubles = shared_questions(
        {"A": ("a.jsonl", ["q2", "q1", "q3"], [1, 2, 3]), "B": ("b.jsonl", ["q1", "q2", "q4"], [1, 2, 3])}
    )
    assert shared == ["q1", "q2"]
    assert [(t.file, t.line) for t in troubles] == [("a.jsonl", 3), ("b.jsonl", 3)]
    assert "'q3' of A is missing or unusable for B" in troubles[0].reason


def test_reading_takes_memory_for_samples_not_for_text(tmp_path):
    """A file of 40 MB whose texts are all but a few kilobytes of it."""
    import tracemalloc

    path = tmp_path / "A--max-512.jsonl"
    text = json.dumps(["word " * 20_000] * 4)
    with path.open("w") as file:
        for i in range(100):
            line = json.dumps(question(f"q{i}", FOUR, "18"))
            file.write(line[:-1] + f', "answers": {text}}}\n')
    assert path.stat().st_size > 35e6
    tracemalloc.start()
    read_raw_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_packed_text_is_hashed_as_it_lies_on_disk(tmp_path):
    path = published(tmp_path, "A", GOOD, end=".gz")
    assert one(path)[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 3


# --- Whatever stands in a file ----------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["18", "[invalid]", 1, 0, True]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)

PUBLISHED_FIELDS = ("qid", "correct", "explanations", "rewards", "num_tokens")
HARNESS_FIELDS = ("doc_id", "target", "resps", "filtered_resps", "exact_match", "num_tokens", "rewards")


def assert_every_line_is_used_or_named(path, format):
    file, run = one(path, format=format)
    dropped = [trouble.line for trouble in file.troubles if trouble.dropped]
    assert sorted([*run.lines, *dropped]) == list(range(1, file.n_lines + 1))
    for part in (run.correct, run.tokens):
        assert part.shape == (len(run.questions), run.n_samples)
    assert np.isfinite(run.tokens).all()
    assert run.correct.dtype == bool


@given(field=st.sampled_from(PUBLISHED_FIELDS), value=JSON)
def test_whatever_a_field_holds_its_line_is_used_or_named(tmp_path_factory, field, value):
    path = tmp_path_factory.mktemp("any") / "A--max-9.jsonl"
    write_lines(path, [*GOOD, question("x", FOUR, "18") | {field: value}])
    assert_every_line_is_used_or_named(path, "published")


@given(field=st.sampled_from(HARNESS_FIELDS), value=JSON)
def test_whatever_a_field_of_a_log_holds_its_record_is_used_or_named(tmp_path_factory, field, value):
    good = as_lm_eval(GOOD)
    path = tmp_path_factory.mktemp("any") / "A.jsonl"
    write_lines(path, [*good, good[0] | {"doc_id": "x"} | {field: value}])
    if field == "num_tokens" and value is None:
        assert "logs no token counts" in refusal(path, format="lm_eval")
    else:
        assert_every_line_is_used_or_named(path, "lm_eval")


@given(place=st.integers(0, 2000), noise=st.binary(min_size=1, max_size=4))
def test_whatever_bytes_are_overwritten_every_line_is_used_or_named(tmp_path_factory, place, noise):
    path = published(tmp_path_factory.mktemp("any"), "A", [*GOOD, *drawn(1, n_samples=4, thinking=False)])
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place : place + len(noise)] = noise.replace(b"\n", b" ").replace(b"\r", b" ")[
        : len(content) - place
    ]
    path.write_bytes(content)
    file, run = one(path, format="published")
    dropped = [trouble.line for trouble in file.troubles if trouble.dropped]
    assert len(run.lines) + len(dropped) == file.n_lines
    assert not set(run.lines) & set(dropped)


@given(
    column=st.sampled_from(HEADER.split(",")),
    cell=st.text(st.characters(exclude_characters='",\r\n\0', exclude_categories=["Cs"]), max_size=6)
    | st.sampled_from(["1e400", "-0", "1_0", "TRUE", " 1", "nan", "NULL"]),
)
def test_whatever_a_cell_holds_its_row_is_used_or_named(tmp_path_factory, column, cell):
    path = tmp_path_factory.mktemp("any") / "t.csv"
    good = dict(zip(HEADER.split(","), ["A", "x", "0", "1", "10", "7", "0.5", ""], strict=True))
    cells = good | {column: cell}
    path.write_text("\n".join([HEADER, *ROWS, "A,x,1,1,10,7,0.5,", ",".join(cells.values())]), "utf-8")
    file = read_raw_file(path)
    used = sum(run.correct.size for run in file.runs)
    dropped = [trouble for trouble in file.troubles if trouble.dropped]
    assert used >= 6
    assert used == 8 or dropped
    assert file.n_lines == 8

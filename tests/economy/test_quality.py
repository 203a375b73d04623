"""Curve files: what is read, what is refused and in which words (docs/formats.md), and what is bundled."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from market_sim.economy.market import make_market, make_providers
from market_sim.economy.quality import (
    PAPER_METHODS,
    bundled_curves,
    bundled_prices,
    read_curves,
    select_curves,
)
from market_sim.errors import InputError

HEADER = "benchmark,method,model,compute_level,accuracy,tokens_per_query"


def csv_file(folder: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


def refusal(path: Path) -> str:
    """The sentence with which a file is refused; it names the file."""
    with pytest.raises(InputError) as caught:
        read_curves(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence.removeprefix(f"{path}: ")


# --- What is read -----------------------------------------------------------------------------------


def test_levels_are_put_in_order_of_compute_whatever_the_order_of_rows(tmp_path):
    rows = [f"Mine,majority_voting,A,{k},0.{k},{100 * k}" for k in (4, 1, 2)]
    (curve,) = read_curves(csv_file(tmp_path, *rows))
    np.testing.assert_array_equal(curve.compute_level, [1, 2, 4])
    np.testing.assert_array_equal(curve.accuracy, [0.1, 0.2, 0.4])
    np.testing.assert_array_equal(curve.tokens_per_query, [100, 200, 400])


def test_rows_of_several_models_may_be_mixed_and_models_keep_the_order_of_their_first_row(tmp_path):
    rows = [
        "Mine,majority_voting,B,2,0.5,20",
        "Mine,majority_voting,A,1,0.1,10",
        "Mine,majority_voting,B,1,0.4,10",
    ]
    curves = read_curves(csv_file(tmp_path, *rows))
    assert [(c.model, c.accuracy.tolist()) for c in curves] == [("B", [0.4, 0.5]), ("A", [0.1])]


def test_columns_may_stand_in_any_order_and_others_are_kept_level_by_level(tmp_path):
    header = "note,tokens_per_query,accuracy,compute_level,model,method,benchmark,source"
    rows = ["second,20,0.5,2,A,best_of_n,Mine,us", "first,10,0.4,1,A,best_of_n,Mine,us"]
    (curve,) = read_curves(csv_file(tmp_path, *rows, header=header))
    assert curve.extra == {"note": ("first", "second")}
    assert (curve.source, curve.method) == ("us", "best_of_n")
    np.testing.assert_array_equal(curve.tokens_per_query, [10, 20])


def test_number_of_questions_and_source_are_optional(tmp_path):
    (without,) = read_curves(csv_file(tmp_path, "Mine,best_of_n,A,1,0.4,10"))
    assert (without.n_questions, without.source, without.extra) == (None, None, {})
    path = csv_file(tmp_path, "Mine,best_of_n,A,1,0.4,10,250,ours", header=f"{HEADER},n_questions,source")
    (given,) = read_curves(path)
    assert (given.n_questions, given.source) == (250, "ours")


def test_tokens_need_not_rise_with_the_level_and_accuracy_neither(tmp_path):
    rows = ["Mine,reasoning_effort,A,1,0.9,200", "Mine,reasoning_effort,A,2,0.3,50"]
    (curve,) = read_curves(csv_file(tmp_path, *rows))
    assert curve.tokens_per_query.tolist() == [200, 50]
    assert curve.accuracy.tolist() == [0.9, 0.3]


def test_a_byte_order_mark_quoted_cells_spaces_and_blank_lines_make_no_difference(tmp_path):
    plain = read_curves(csv_file(tmp_path, "Mine,best_of_n,A,1,0.4,10", "Mine,best_of_n,A,2,0.5,20"))
    path = tmp_path / "excel.csv"
    rows = [HEADER, '"Mine"," best_of_n ",A,"1",0.4,10', "", ",,,,,", 'Mine,best_of_n, A ,2,"0.5",20']
    path.write_bytes(("\ufeff" + "\r\n".join(rows)).encode())
    excel = read_curves(path)
    assert [(c.model, c.method, *c.accuracy, *c.tokens_per_query) for c in excel] == [
        (c.model, c.method, *c.accuracy, *c.tokens_per_query) for c in plain
    ]


def test_a_comma_inside_a_quoted_name_belongs_to_the_name(tmp_path):
    (curve,) = read_curves(csv_file(tmp_path, 'Mine,best_of_n,"A, tuned",1,0.4,10'))
    assert curve.model == "A, tuned"


def test_models_may_have_different_numbers_of_levels(tmp_path):
    rows = [f"Mine,best_of_n,A,{k},0.4,10" for k in (1, 2, 3)] + ["Mine,best_of_n,B,7,0.5,9"]
    curves = read_curves(csv_file(tmp_path, *rows))
    market = make_market(
        make_providers(curves, where="test", prices={"A": 1, "B": 1}), value_of_correct_usd=1
    )
    np.testing.assert_array_equal(market.offered[0].sum(axis=1), [3, 1])


@pytest.mark.parametrize("accuracy", [0, 1])
def test_accuracy_may_be_nought_or_one(tmp_path, accuracy):
    (curve,) = read_curves(csv_file(tmp_path, f"Mine,best_of_n,A,1,{accuracy},10"))
    assert curve.accuracy.tolist() == [accuracy]


# --- What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "allowed"),
    [
        ("accuracy", "1.01", "a fraction from 0 to 1"),
        ("accuracy", "-0.01", "a fraction from 0 to 1"),
        ("accuracy", "93", "a fraction from 0 to 1"),
        ("accuracy", "nan", "a finite number"),
        ("accuracy", "high", "a number"),
        ("accuracy", "", "a number"),
        ("accuracy", "0,5", "a number"),
        ("tokens_per_query", "0", "a number above 0 and at most 1e+12"),
        ("tokens_per_query", "-3", "a number above 0 and at most 1e+12"),
        ("tokens_per_query", "inf", "a finite number"),
        ("tokens_per_query", "1e999", "a finite number"),
        ("tokens_per_query", "many", "a number"),
        ("tokens_per_query", "1_0", "a number"),
        ("tokens_per_query", "1e305", "a number above 0 and at most 1e+12"),
        ("compute_level", "0", "a number above 0 and at most 1e+12"),
        ("compute_level", "-1", "a number above 0 and at most 1e+12"),
        ("compute_level", "nan", "a finite number"),
        ("compute_level", "low", "a number"),
        ("n_questions", "2.5", "a whole number above 0"),
        ("n_questions", "0", "a whole number above 0"),
    ],
)
def test_an_impossible_number_is_refused_with_its_row_and_column(tmp_path, column, value, allowed):
    cells = {
        "benchmark": "Mine",
        "method": "best_of_n",
        "model": "A",
        "compute_level": "1",
        "accuracy": "0.5",
        "tokens_per_query": "10",
        "n_questions": "100",
    }
    good = ",".join(cells.values())
    bad = ",".join(f'"{text}"' for text in (cells | {"compute_level": "2", column: value}).values())
    sentence = refusal(csv_file(tmp_path, good, bad, header=",".join(cells)))
    assert sentence == f"row 3, column {column}: got {value!r}, allowed is {allowed}"


def test_a_level_given_twice_is_refused_with_both_rows(tmp_path):
    rows = [f"Mine,best_of_n,A,{k},0.5,10" for k in ("4", "1", "4.0")]
    sentence = refusal(csv_file(tmp_path, *rows))
    assert sentence.startswith("row 4, column compute_level: A has level 4 twice")
    assert "first in row 2" in sentence


def test_an_unknown_method_is_refused_with_the_nearest_known_one(tmp_path):
    sentence = refusal(csv_file(tmp_path, "Mine,best_of_m,A,1,0.5,10"))
    assert sentence.startswith("row 2, column method = 'best_of_m' is not one of")
    assert sentence.endswith("(did you mean best_of_n?)")


@pytest.mark.parametrize("column", ["benchmark", "method", "model"])
def test_an_empty_name_is_refused(tmp_path, column):
    cells = dict(zip(HEADER.split(","), ["Mine", "best_of_n", "A", "1", "0.5", "10"], strict=True))
    sentence = refusal(csv_file(tmp_path, ",".join((cells | {column: ""}).values())))
    assert sentence == f"row 2, column {column} is empty"


def test_a_name_that_differs_from_a_known_one_in_letter_case_only_is_refused(tmp_path):
    assert "'gsm8k' differs from 'GSM8K'" in refusal(csv_file(tmp_path, "gsm8k,best_of_n,A,1,0.5,10"))
    rows = ["Mine,best_of_n,Model,1,0.5,10", "Mine,best_of_n,model,2,0.5,10"]
    sentence = refusal(csv_file(tmp_path, *rows))
    assert sentence.startswith("row 3, column model: 'model' differs from 'Model'")


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_refused_by_name(tmp_path, column):
    header = ",".join(name for name in HEADER.split(",") if name != column)
    sentence = refusal(csv_file(tmp_path, "1,2,3,4,5", header=header))
    assert sentence.startswith(f"column {column} is missing; the file has ")


def test_a_misspelt_column_is_refused_with_the_one_that_was_meant(tmp_path):
    path = csv_file(tmp_path, "Mine,best_of_n,A,1,0.5,10", header=HEADER.replace("accuracy", "acuracy"))
    assert refusal(path).endswith("(is acuracy meant to be it?)")


def test_a_column_given_twice_is_refused(tmp_path):
    path = csv_file(tmp_path, "Mine,best_of_n,A,1,0.5,10,0.6", header=f"{HEADER},accuracy")
    assert refusal(path) == "column accuracy stands in the header twice"


@pytest.mark.parametrize(("row", "cells"), [("Mine,best_of_n,A,1,0.5", 5), ("Mine,best_of_n,A,1,0.5,1,2", 7)])
def test_a_row_of_another_length_than_the_header_is_refused(tmp_path, row, cells):
    good = "Mine,best_of_n,A,9,0.5,10"
    assert refusal(csv_file(tmp_path, good, row)) == f"row 3 has {cells} columns, the header has 6"


@pytest.mark.parametrize("content", [b"", b"  \n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = tmp_path / "empty.csv"
    path.write_bytes(content)
    assert refusal(path).startswith("is empty; wanted are the columns benchmark, method")


def test_a_header_without_rows_is_refused(tmp_path):
    assert refusal(csv_file(tmp_path)) == "has a header and no rows"


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\x00\xff", b"a,b\x00c\n1,2", "a,b\n".encode("utf-16")]
)
def test_a_binary_file_is_refused(tmp_path, content):
    path = tmp_path / "binary.csv"
    path.write_bytes(content)
    assert refusal(path).startswith("is not a text file")


def test_a_folder_is_refused(tmp_path):
    assert refusal(tmp_path) == "is a folder, not a CSV file"


def test_a_file_that_does_not_exist_is_refused(tmp_path):
    assert refusal(tmp_path / "none.csv") == "there is no such file"


def test_a_file_below_a_file_is_refused(tmp_path):
    path = csv_file(tmp_path, "Mine,best_of_n,A,1,0.5,10") / "curves.csv"
    assert refusal(path).startswith(("there is no such file", "cannot be read"))


def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    path = csv_file(tmp_path, "Mine,best_of_n,A,1,0.5,10")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads every file")
    assert refusal(path).startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"benchmark": "GSM8"}, "x.toml: market.benchmark = 'GSM8' is not one of GSM8K, AIME, GPQA"),
        ({"method": "best_of_m"}, "(did you mean best_of_n?)"),
        ({"method": ("best_of_n", "reasoning")}, "(did you mean reasoning_effort?)"),
        ({"models": ("Llama-3-8B", "Qwen-2.5-7B")}, "(did you mean Qwen2.5-7B?)"),
        ({"benchmark": None}, "market.benchmark is missing and the curves have several: GSM8K, AIME, GPQA"),
        ({"method": None}, "market.method is missing and the curves have several"),
    ],
)
def test_an_unknown_benchmark_method_or_model_is_refused_with_the_nearest(choice, sentence):
    asked = {"benchmark": "GSM8K", "method": "best_of_n", "models": None} | choice
    with pytest.raises(InputError) as caught:
        select_curves(bundled_curves(), where="x.toml: market", **asked)
    assert sentence in str(caught.value)


def test_a_model_named_twice_is_refused_because_providers_names_are_unique():
    with pytest.raises(InputError, match="Llama-3-8B"):
        select_curves(
            bundled_curves(),
            where="x.toml",
            benchmark="GSM8K",
            method="best_of_n",
            models=("Llama-3-8B", "Qwen2-7B", "Llama-3-8B"),
        )


def test_what_the_curves_have_only_one_of_need_not_be_named(tmp_path):
    curves = read_curves(csv_file(tmp_path, "Mine,best_of_n,A,1,0.5,10"))
    assert select_curves(curves, where="x", benchmark=None, method=None, models=None) == curves


def test_models_are_selected_in_the_order_in_which_they_are_named():
    names = ("Qwen2-7B", "Llama-3-8B")
    found = select_curves(bundled_curves(), where="x", benchmark="AIME", method="best_of_n", models=names)
    assert tuple(curve.model for curve in found) == names


def test_a_model_without_a_price_is_refused_with_the_nearest_that_has_one(tmp_path):
    curves = read_curves(csv_file(tmp_path, "Mine,best_of_n,Qwen2-7BB,1,0.5,10"))
    with pytest.raises(InputError) as caught:
        make_providers(curves, where="x.toml")
    assert str(caught.value).startswith("x.toml: there is no price for model 'Qwen2-7BB'")
    assert str(caught.value).endswith("(did you mean Qwen2-7B?)")
    (provider,) = make_providers(curves, where="x.toml", prices={"Qwen2-7BB": 0.3})
    assert provider.price_usd_per_million == 0.3


def test_a_price_or_a_margin_for_a_model_that_is_not_there_is_refused():
    curves = select_curves(
        bundled_curves(), where="x", benchmark="AIME", method="best_of_n", models=("Qwen2-7B",)
    )
    with pytest.raises(InputError, match=r"market\.prices names 'Qwen2-7'.*did you mean Qwen2-7B"):
        make_providers(curves, where="x: market", prices={"Qwen2-7": 1.0})
    with pytest.raises(InputError, match=r"market\.margin names 'Qwen2-7'.*did you mean Qwen2-7B"):
        make_providers(curves, where="x: market", margin={"Qwen2-7B": 0.2, "Qwen2-7": 0.3})


def test_a_table_of_margins_must_have_every_model():
    curves = select_curves(
        bundled_curves(), where="x", benchmark="AIME", method="best_of_n", models=("Qwen2-7B", "Qwen2-1.5B")
    )
    with pytest.raises(InputError, match=r"market\.margin has no entry for model 'Qwen2-1\.5B'"):
        make_providers(curves, where="x: market", margin={"Qwen2-7B": 0.2})
    both = make_providers(curves, where="x", margin={"Qwen2-7B": 0.2, "Qwen2-1.5B": 0.4})
    assert [provider.margin for provider in both] == [0.2, 0.4]


# --- What is bundled --------------------------------------------------------------------------------


def test_bundled_are_nine_settings_of_nine_instruct_models_or_three_reasoning_models():
    settings = Counter((curve.benchmark, curve.method) for curve in bundled_curves())
    expected = {"majority_voting": 9, "best_of_n": 9, "reasoning_effort": 3}
    assert settings == {(b, m): expected[m] for b in ("GSM8K", "AIME", "GPQA") for m in PAPER_METHODS}
    assert len({curve.model for curve in bundled_curves()}) == 12


def test_bundled_levels_are_one_to_64_samples_or_five_bins_of_effort():
    samples, bins = [1, 4, 8, 16, 32, 64], [1, 2, 3, 4, 5]
    for curve in bundled_curves():
        expected = bins if curve.method == "reasoning_effort" else samples
        assert curve.compute_level.tolist() == expected, curve.model


def test_bundled_benchmarks_have_the_published_numbers_of_questions():
    questions = {curve.benchmark: curve.n_questions for curve in bundled_curves()}
    assert questions == {"GSM8K": 1319, "AIME": 933, "GPQA": 546}
    assert {curve.source for curve in bundled_curves()} <= {"figure", "printed"}


def test_bundled_prices_are_the_papers():
    """USD per million tokens, from the official code of arXiv:2601.21839 (economy/data/README.md)."""
    assert bundled_prices() == {
        "Llama-3-8B": 0.1455,
        "Llama-3.1-8B": 0.1245,
        "Llama-3.2-1B": 0.1,
        "Llama-3.2-3B": 0.08,
        "Qwen2-0.5B": 0.1,
        "Qwen2-1.5B": 0.1,
        "Qwen2-7B": 0.2,
        "Qwen2.5-3B": 0.065,
        "Qwen2.5-7B": 0.1465,
        "R1-D-Llama-8B": 0.125,
        "R1-D-Qwen-1.5B": 0.1,
        "R1-D-Qwen-7B": 0.175,
    }
    assert {curve.model for curve in bundled_curves()} == set(bundled_prices())


def test_samples_cost_tokens_in_proportion_on_the_bundled_curves():
    """n samples take n times the tokens of one, to half a per cent (tokens were partly read off figures)."""
    for curve in bundled_curves():
        if curve.method != "reasoning_effort":
            each = curve.tokens_per_query / curve.compute_level
            assert each.max() / each.min() < 1.005, (curve.benchmark, curve.method, curve.model)


# --- Mixed methods ----------------------------------------------------------------------------------


def test_instruct_models_that_vote_meet_reasoning_models_in_one_market():
    curves = select_curves(
        bundled_curves(),
        where="x",
        benchmark="GSM8K",
        method=("majority_voting", "reasoning_effort"),
        models=None,
    )
    providers = make_providers(curves, where="x")
    market = make_market(providers, value_of_correct_usd=0.008)
    assert market.n_providers == 12
    assert Counter(market.methods) == {"majority_voting": 9, "reasoning_effort": 3}
    assert market.offered[0].sum(axis=1).tolist() == [6] * 9 + [5] * 3
    assert [provider.name for provider in providers] == [curve.model for curve in curves]


def test_a_model_served_by_two_methods_is_two_providers_with_two_names():
    curves = select_curves(
        bundled_curves(),
        where="x",
        benchmark="GSM8K",
        method=("majority_voting", "best_of_n"),
        models=("Qwen2-7B",),
    )
    names = [provider.name for provider in make_providers(curves, where="x")]
    assert names == ["Qwen2-7B (majority_voting)", "Qwen2-7B (best_of_n)"]


def test_prices_are_tokens_times_the_price_per_token_and_costs_leave_the_margin():
    curves = select_curves(
        bundled_curves(), where="x", benchmark="AIME", method="best_of_n", models=("Qwen2-7B",)
    )
    (provider,) = make_providers(curves, where="x", prices={"Qwen2-7B": 3.0}, margin=0.5)
    market = make_market([provider], value_of_correct_usd=0.05)
    np.testing.assert_allclose(market.price[0, 0], curves[0].tokens_per_query * 3e-6, rtol=1e-15)
    np.testing.assert_allclose(market.cost[0, 0] * 1.5, market.price[0, 0], rtol=1e-15)


def test_a_line_break_inside_a_quoted_cell_is_part_of_it(tmp_path):
    rows = [f'Mine,best_of_n,A,{level},0.5,10,"two\nlines"' for level in (1, 2)]
    (curve,) = read_curves(csv_file(tmp_path, *rows, header=HEADER + ",remark"))
    assert curve.extra == {"remark": ("two\nlines", "two\nlines")}


def test_models_served_by_several_methods_come_method_by_method_whether_named_or_not():
    asked = {"where": "x", "benchmark": "GSM8K", "method": ("best_of_n", "majority_voting")}
    named = ("Qwen2-7B", "Llama-3-8B")
    found = select_curves(bundled_curves(), models=named, **asked)
    assert [(c.method, c.model) for c in found] == [(m, name) for m in asked["method"] for name in named]
    everything = select_curves(bundled_curves(), models=None, **asked)
    names = tuple(dict.fromkeys(curve.model for curve in everything))
    assert select_curves(bundled_curves(), models=names, **asked) == everything

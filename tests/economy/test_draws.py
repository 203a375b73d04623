"""Draws of curves: parametric ones have the stated mean, variance and dependence; a file of draws is read as
written, and refused in one sentence where it was not made with its curves."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from market_sim.economy.draws import (
    COLUMNS,
    MOST_QUESTIONS,
    Draws,
    draws_beside,
    parametric_draws,
    read_draws,
)
from market_sim.economy.quality import QualityCurve, bundled_curves, read_curves, select_curves
from market_sim.errors import InputError
from tests.worlds import read_only

N = 300
COUNT = 20_000
SPREAD = 5.0
"""Standard errors that a mean or a covariance of draws may be off."""


def curve(model: str, accuracy, n: int | None = N, method: str = "best_of_n") -> QualityCurve:
    levels = 2.0 ** np.arange(len(accuracy))
    return QualityCurve(
        benchmark="B",
        method=method,
        model=model,
        compute_level=read_only(levels),
        accuracy=read_only(accuracy),
        tokens_per_query=read_only(100 * levels),
        n_questions=n,
    )


CURVES = [curve("one", [0.3, 0.7, 0.55]), curve("two", [0.9, 0.95]), curve("three", [0.5, 0.5, 0.98])]


def covariance(x, y) -> tuple[float, float]:
    """Of two samples, with its standard error."""
    products = (x - x.mean()) * (y - y.mean())
    return products.mean(), products.std() / np.sqrt(len(x))


# --- Parametric draws -------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [0.0, 0.4, 1.0])
def test_draws_have_the_measured_accuracy_as_mean_and_the_most_variance_a_mean_can_have(correlation):
    drawn = parametric_draws(CURVES, COUNT, seed=1, correlation=correlation)
    for i, each in enumerate(CURVES):
        for k, a in enumerate(each.accuracy):
            sample, variance = drawn.accuracy[:, i, k], a * (1 - a) / N
            assert abs(sample.mean() - a) < SPREAD * np.sqrt(variance / COUNT)
            found, error = covariance(sample, sample)
            assert abs(found - variance) < SPREAD * error


@pytest.mark.parametrize("correlation", [0.0, 0.4, 1.0])
def test_levels_of_a_model_are_nested(correlation):
    """Covariance (min(a, a') - a a') / n, and a more accurate level is never the worse one of a draw."""
    drawn = parametric_draws(CURVES, COUNT, seed=2, correlation=correlation)
    low, high, middle = (drawn.accuracy[:, 0, k] for k in range(3))
    assert (low <= middle).all()
    assert (middle <= high).all()
    found, error = covariance(low, high)
    assert abs(found - 0.3 * (1 - 0.7) / N) < SPREAD * error
    assert (drawn.accuracy[:, 2, 0] == drawn.accuracy[:, 2, 1]).all()


def test_models_are_independent_unless_asked_otherwise():
    drawn = parametric_draws(CURVES, COUNT, seed=3)
    found, error = covariance(drawn.accuracy[:, 0, 0], drawn.accuracy[:, 1, 0])
    assert abs(found) < SPREAD * error


def test_difficulties_of_two_models_are_joined_by_a_gaussian_copula():
    """P(both solve a question) is the bivariate normal's, so the covariance is that less a a', over n."""
    rho = 0.6
    drawn = parametric_draws(CURVES, COUNT, seed=4, correlation=rho)
    for a, i in ((0.3, 0), (0.7, 1)):
        both = stats.multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf(stats.norm.ppf([a, 0.9]))
        found, error = covariance(drawn.accuracy[:, 0, i], drawn.accuracy[:, 1, 0])
        assert abs(found - (both - a * 0.9) / N) < SPREAD * error


def test_the_same_difficulty_to_all_models_nests_them_too():
    drawn = parametric_draws(CURVES, COUNT, seed=5, correlation=1.0)
    found, error = covariance(drawn.accuracy[:, 0, 0], drawn.accuracy[:, 1, 0])
    assert abs(found - 0.3 * (1 - 0.9) / N) < SPREAD * error
    assert (drawn.accuracy[:, 0, 1] <= drawn.accuracy[:, 1, 0]).all()


@pytest.mark.parametrize("correlation", [0.0, 1e-9])
def test_both_ways_of_drawing_have_one_distribution(correlation):
    """Counting questions one by one, and drawing the counts at once."""
    sample = parametric_draws(CURVES, 4000, seed=6, correlation=correlation).accuracy[:, 0, 2]
    assert stats.kstest(np.rint(sample * N), stats.binom(N, 0.55).cdf).statistic < 0.06


def test_a_model_served_by_two_methods_has_one_difficulty_per_question():
    curves = [curve("one", [0.3, 0.7]), curve("one", [0.5], method="majority_voting")]
    drawn = parametric_draws(curves, COUNT, seed=7)
    assert (drawn.accuracy[:, 0, 0] <= drawn.accuracy[:, 1, 0]).all()
    assert (drawn.accuracy[:, 1, 0] <= drawn.accuracy[:, 0, 1]).all()


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_what_is_always_or_never_solved_stays_so_and_it_is_said(correlation):
    drawn = parametric_draws([curve("one", [0.0, 0.5, 1.0])], 50, seed=8, correlation=correlation)
    assert (drawn.accuracy[:, 0, 0] == 0).all()
    assert (drawn.accuracy[:, 0, 2] == 1).all()
    assert drawn.accuracy[:, 0, 1].std() > 0
    assert drawn.assumption.endswith("A level measured at 0 or 100 % has no spread.")
    assert "no spread" not in parametric_draws(CURVES, 2, seed=8).assumption


def test_tokens_are_known_and_short_curves_repeat_their_last_level():
    drawn = parametric_draws(CURVES, 10, seed=9)
    assert (drawn.tokens == [[100, 200, 400], [100, 200, 200], [100, 200, 400]]).all()
    assert (drawn.accuracy[:, 1, 1] == drawn.accuracy[:, 1, 2]).all()
    assert drawn.defined.all()


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_a_model_is_drawn_alike_whoever_else_is_there_and_however_many_draws_follow(correlation):
    all_of_them = parametric_draws(CURVES, 400, seed=10, correlation=correlation)
    alone = parametric_draws(CURVES[1:], 7, seed=10, correlation=correlation)
    assert alone.accuracy[:, 0, :2].tobytes() == all_of_them.accuracy[:7, 1, :2].tobytes()
    again = parametric_draws(CURVES, 400, seed=10, correlation=correlation)
    assert again.accuracy.tobytes() == all_of_them.accuracy.tobytes()
    other = parametric_draws(CURVES, 400, seed=11, correlation=correlation)
    assert other.accuracy.tobytes() != all_of_them.accuracy.tobytes()


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_the_assumption_says_how_many_questions_and_which_dependence(correlation):
    said = parametric_draws(CURVES, 2, seed=1, correlation=correlation).assumption
    assert "for 300 questions" in said
    assert {0.0: "independent", 0.5: "correlated by 0.5", 1.0: "the same to all"}[correlation] in said


def test_the_bundled_curves_have_what_is_needed():
    for benchmark, questions in (("GSM8K", "1,319"), ("AIME", "933"), ("GPQA", "546")):
        chosen = [each for each in bundled_curves() if each.benchmark == benchmark]
        assert f"for {questions} questions" in parametric_draws(chosen, 2, seed=1).assumption


@pytest.mark.parametrize(
    ("curves", "correlation", "says"),
    [
        ([curve("one", [0.5], n=None)], 0.0, "one on B (best_of_n) has no n_questions"),
        ([curve("one", [0.5]), curve("two", [0.5], n=10)], 1.0, "two (best_of_n) 10: what is drawn"),
        (
            [curve("one", [0.5]), curve("one", [0.5], n=10, method="majority_voting")],
            0.0,
            "one (majority_voting) 10: what is drawn",
        ),
        ([curve("one", [0.5], n=MOST_QUESTIONS + 1)], 0.5, "1,000,001 are too many"),
        ([curve("one", [0.5], n=10**15)], 0.0, "n_questions is 1e+15"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused(curves, correlation, says):
    with pytest.raises(InputError) as caught:
        parametric_draws(curves, 10, seed=1, correlation=correlation)
    assert says in str(caught.value)


# --- Files of draws ---------------------------------------------------------------------------------


def table_of(curves, accuracy, tokens) -> dict[str, list]:
    """The columns of a file of draws; accuracy, tokens by curve, (D, K) each, in a shuffled order of rows."""
    rows = [
        (d, c.benchmark, c.method, c.model, level, float(a[d, k]), float(t[d, k]))
        for c, a, t in zip(curves, accuracy, tokens, strict=True)
        for d in range(len(a))
        for k, level in enumerate(c.compute_level.tolist())
    ]
    order = np.random.default_rng(1).permutation(len(rows))
    return {name: [rows[at][place] for at in order] for place, name in enumerate(COLUMNS)}


def write_draws(path: Path, columns: dict[str, list]) -> Path:
    """With narrow numbers and dictionaries of names, as docs/formats.md has them."""
    table = pa.table(columns)
    for name in ("benchmark", "method", "model"):
        if name in columns and isinstance(columns[name][0], str):
            table = table.set_column(
                table.column_names.index(name), name, table.column(name).dictionary_encode()
            )
    if "draw" in columns and isinstance(columns["draw"][0], int):
        table = table.set_column(0, "draw", table.column("draw").cast(pa.int32()))
    pq.write_table(table, path)
    return path


def some_draws(curves, count: int = 30, seed: int = 1) -> dict[str, list]:
    rng = np.random.default_rng(seed)
    accuracy = [np.clip(c.accuracy + rng.normal(0, 0.02, (count, len(c.accuracy))), 0, 1) for c in curves]
    tokens = [c.tokens_per_query * rng.uniform(0.9, 1.1, (count, len(c.accuracy))) for c in curves]
    return table_of(curves, accuracy, tokens)


def test_a_file_is_read_as_it_was_written(tmp_path):
    rng = np.random.default_rng(2)
    accuracy = [np.clip(c.accuracy + rng.normal(0, 0.02, (5, len(c.accuracy))), 0, 1) for c in CURVES]
    tokens = [c.tokens_per_query + rng.normal(0, 3, (5, len(c.accuracy))) for c in CURVES]
    path = write_draws(tmp_path / "mine.draws.parquet", table_of(CURVES, accuracy, tokens))
    chosen = [CURVES[2], CURVES[1]]
    drawn = read_draws(path, CURVES, chosen)
    assert drawn.kind == "bootstrap"
    assert "mine.draws.parquet" in drawn.assumption
    assert (drawn.accuracy[:, 0] == accuracy[2]).all()
    assert (drawn.tokens[:, 1, :2] == tokens[1]).all()
    assert (drawn.accuracy[:, 1, 2] == accuracy[1][:, 1]).all()
    few = read_draws(path, CURVES, chosen, count=3)
    assert (few.accuracy == drawn.accuracy[:3]).all()
    with pytest.raises(InputError, match="has 5 draws and 6 are asked for"):
        read_draws(path, CURVES, chosen, count=6)


def test_a_draw_without_a_number_is_undefined_and_kept(tmp_path):
    columns = some_draws(CURVES)
    at = columns["draw"].index(4)
    columns["accuracy"][at] = float("nan")
    drawn = read_draws(write_draws(tmp_path / "a.draws.parquet", columns), CURVES, CURVES)
    assert np.flatnonzero(~drawn.defined).tolist() == [4]


def test_a_file_is_beside_its_curves_by_name(tmp_path):
    assert draws_beside(tmp_path / "mine.csv") is None
    (tmp_path / "mine.draws.parquet").touch()
    assert draws_beside(tmp_path / "mine.csv") == tmp_path / "mine.draws.parquet"


def without(columns, **kinds):
    keep = [all(columns[k][r] != v for k, v in kinds.items()) for r in range(len(columns["draw"]))]
    return {name: [x for x, k in zip(column, keep, strict=True) if k] for name, column in columns.items()}


def replaced(columns, name, change):
    return columns | {name: [change(x) for x in columns[name]]}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda c: without(c, model="two"), "has no draws of two on B (best_of_n), which its curve file has"),
        (
            lambda c: replaced(c, "model", lambda m: m.replace("two", "zwei")),
            "has no draws of two on B",
        ),
        (
            lambda c: {k: [*v, "four" if k == "model" else c[k][0]] for k, v in c.items()},
            "has draws of four on B (best_of_n), which its curve file does not have",
        ),
        (
            lambda c: replaced(c, "compute_level", lambda x: 3.0 if x == 4.0 else x),
            "one on B (best_of_n) has the levels 1, 2, 3, in its curve file 1, 2, 4",
        ),
        (lambda c: {k: v[:-1] for k, v in c.items()}, "must have one row for each of the 30 draws"),
        (lambda c: replaced(c, "draw", lambda d: d + 1), "must have one row for each of the 31 draws"),
        (lambda c: replaced(c, "draw", lambda d: d - 1), "column draw must be numbered from 0"),
        (lambda c: replaced(c, "draw", lambda d: d + 0.5), "column draw does not hold what it should"),
        (lambda c: replaced(c, "accuracy", lambda a: 50 * a), "column accuracy: got"),
        (lambda c: replaced(c, "accuracy", str), None),
        (lambda c: replaced(c, "accuracy", lambda a: a / 10), "draws of accuracy of one on B"),
        (lambda c: replaced(c, "tokens_per_query", lambda t: 2 * t), "draws of tokens_per_query of one on B"),
        (lambda c: replaced(c, "tokens_per_query", lambda t: 0.0), "allowed is above 0"),
        (lambda c: replaced(c, "model", lambda m: None), "column model has"),
        (lambda c: {k: v for k, v in c.items() if k != "draw"}, "column draw is missing"),
        (lambda c: {k if k != "accuracy" else "acuracy": v for k, v in c.items()}, "did you mean acuracy?"),
        (lambda c: {k: v[:0] for k, v in c.items()}, "has no rows"),
    ],
)
def test_a_file_that_was_not_made_with_its_curves_is_refused_in_a_sentence(tmp_path, spoil, says):
    columns = spoil(some_draws(CURVES))
    path = tmp_path / "a.draws.parquet"
    if columns[next(iter(columns))]:
        write_draws(path, columns)
    else:
        pq.write_table(pa.table(columns), path)
    if says is None:  # numbers as texts are numbers
        assert isinstance(read_draws(path, CURVES, CURVES), Draws)
        return
    with pytest.raises(InputError) as caught:
        read_draws(path, CURVES, CURVES)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PAR1 no more", b"\x00\xff" * 50])
def test_what_is_no_parquet_file_is_refused(tmp_path, content):
    path = tmp_path / "a.draws.parquet"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a Parquet file of draws"):
        read_draws(path, CURVES, CURVES)


def test_rounded_curves_and_draws_without_spread_belong_together(tmp_path):
    text = "benchmark,method,model,compute_level,accuracy,tokens_per_query\nB,best_of_n,one,1,0.3333,100.1\n"
    (tmp_path / "a.csv").write_text(text)
    known = read_curves(tmp_path / "a.csv")
    third, tokens = [np.full((40, 1), 1 / 3)], [np.full((40, 1), 100.104)]
    path = write_draws(tmp_path / "a.draws.parquet", table_of(known, third, tokens))
    assert read_draws(path, known, known).count == 40


def test_other_benchmarks_of_the_file_are_left_alone(tmp_path):
    curves = [each for each in bundled_curves() if each.method == "reasoning_effort"]
    path = write_draws(tmp_path / "a.draws.parquet", some_draws(curves, count=2))
    chosen = select_curves(curves, where="t", benchmark="AIME", method="reasoning_effort", models=None)
    drawn = read_draws(path, curves, chosen)
    assert (drawn.benchmark, drawn.accuracy.shape) == ("AIME", (2, 3, 5))

"""Synthetic runs -> curves -> a solved market: the truth their law knows comes back, and the intervals hold
it as often as they say."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from market_sim.economy.quality import bundled_prices
from market_sim.economy.synthetic.law import Law, laws_of
from market_sim.economy.synthetic.runs import write_runs
from market_sim.economy.synthetic.truth import true_curve
from market_sim.economy.uncertainty import CONFIDENCE, UncertainSolution
from market_sim.experiments.built_curves import BuiltCurves
from market_sim.experiments.claims.coverage import (
    SHOWN,
    SURE,
    Coverage,
    SyntheticSetting,
    beside_truth,
    counted,
)
from market_sim.experiments.curves import build_curves
from market_sim.experiments.solve import solve, solve_uncertain
from market_sim.theory.auction import TruthfulOutcome, truthful_outcome
from market_sim.theory.bootstrap import percentile_interval

MODELS = ("Llama-3-8B", "Qwen2-1.5B", "Qwen2.5-3B")
METHODS = ("majority_voting", "best_of_n", "pass_at_k", "reasoning_effort")
LEVELS, BINS = (1, 4, 8), 3
N_SETS, N_QUESTIONS, N_SAMPLES = 60, 150, 12

STATED = 0.93
"""What a 95 % percentile interval of a mean over 150 questions may be held to, cell by cell: the percentile
bootstrap takes the questions' variance for that of the population, and falls short of 95 % by one or two."""


def sampled_as(law: Law) -> Law:
    """The law whose truth for bins of effort is that of runs of N_SAMPLES."""
    return replace(law, n_samples=N_SAMPLES)


def truths() -> dict[tuple[str, str], object]:
    levels = {method: LEVELS for method in METHODS} | {"reasoning_effort": tuple(range(1, BINS + 1))}
    return {
        (method, law.name): true_curve(sampled_as(law), method, levels[method])
        for law in laws_of("GSM8K", MODELS)
        for method in METHODS
    }


def built_from(folder, seed: int, n_questions: int = N_QUESTIONS, draws: int = 300) -> BuiltCurves:
    runs = write_runs(
        laws_of("GSM8K", MODELS),
        folder,
        n_questions=n_questions,
        n_samples=N_SAMPLES,
        seed=seed,
        token_form="thinking_and_total",
    )
    return build_curves(
        list(runs), benchmark="GSM8K", methods=METHODS, levels=LEVELS, bins=BINS, draws=draws, seed=seed
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> list[BuiltCurves]:
    folder = tmp_path_factory.mktemp("runs")
    return [built_from(folder, seed) for seed in range(N_SETS)]


def cells(built: BuiltCurves) -> dict[tuple, tuple[float, np.ndarray]]:
    """(estimate, draws) by method, model, level and what is measured."""
    return {
        (curve.method, curve.model, level, what): (estimate[k], draws[:, k])
        for curve in built.curves
        for what, estimate, draws in (
            ("accuracy", curve.accuracy, curve.accuracy_draws),
            ("tokens", curve.tokens_per_query, curve.tokens_draws),
        )
        for k, level in enumerate(curve.compute_level)
    }


def true_cells() -> dict[tuple, float]:
    return {
        (method, model, level, what): value
        for (method, model), curve in truths().items()
        for what, values in (("accuracy", curve.accuracy), ("tokens", curve.tokens_per_query))
        for level, value in zip(curve.compute_level, values, strict=True)
    }


def holds(truth: float, draws: np.ndarray) -> bool:
    low, high = percentile_interval(draws)
    return bool(low <= truth <= high)


def test_intervals_of_curves_hold_the_truth_as_often_as_they_say(sets):
    """Of 60 sets, for each of 72 numbers: not fewer than chance allows with probability 1e-4 in all; and over
    all of them within two points of 95 %, give or take what 60 sets can tell."""
    truth = true_cells()
    held = {cell: [holds(value, cells(built)[cell][1]) for built in sets] for cell, value in truth.items()}
    least = binom.ppf(1e-4 / len(held), N_SETS, STATED)
    short = {cell: sum(hits) for cell, hits in held.items() if sum(hits) < least}
    assert not short, f"fewer than {least:.0f} of {N_SETS}"
    by_set = np.mean(list(held.values()), axis=0)
    assert abs(by_set.mean() - 0.94) < 0.02 + 3 * by_set.std() / N_SETS**0.5


def test_intervals_are_as_wide_as_estimates_vary(sets):
    """Standard deviation of the draws against that of the estimates over sets: equal but for chance (60 sets
    know a standard deviation to 9 %)."""
    every = [cells(built) for built in sets]
    for cell in every[0]:
        told = np.mean([found[cell][1].std() for found in every])
        seen = np.std([found[cell][0] for found in every], ddof=1)
        assert 0.7 < told / seen < 1.45, cell


def test_estimates_are_unbiased(sets):
    """Over all sets, 9,000 questions, the mean estimate is the truth to four standard errors."""
    for cell, value in true_cells().items():
        estimates = [cells(built)[cell][0] for built in sets]
        assert abs(np.mean(estimates) - value) < 4 * np.std(estimates, ddof=1) / N_SETS**0.5, cell


# --- As far as welfare and prices -------------------------------------------------------------------

BETA = 1000.0
COUNTED = ("majority_voting", "best_of_n")


def setting(method: str) -> SyntheticSetting:
    """The market of those models."""
    laws = tuple(map(sampled_as, laws_of("GSM8K", MODELS)))
    return SyntheticSetting(
        benchmark="GSM8K", method=method, laws=laws, levels=LEVELS, n_questions=N_QUESTIONS
    )


def solved(path: Path, method: str, seed: int = 0) -> UncertainSolution:
    """A file of built curves named in a scenario, and solved with the draws beside it."""
    (found,) = solve_uncertain(setting(method).scenario(path), beta=BETA, seed=seed)
    assert found.draws.kind == "bootstrap"
    return found


def true_file(path: Path, method: str) -> Path:
    """The truth as a curve file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("benchmark", "method", "model", "compute_level", "accuracy", "tokens_per_query"))
        for (of, model), curve in truths().items():
            if of == method:
                for row in zip(curve.compute_level, curve.accuracy, curve.tokens_per_query, strict=True):
                    writer.writerow(("GSM8K", method, model, *row))
    return path


def auction_of(accuracy: np.ndarray, tokens: np.ndarray) -> TruthfulOutcome:
    """The truthful auction of curves (D, models, levels), written down from the paper's terms: an answer is
    worth 0.008 USD times 0.1 + 0.9 times accuracy, and a token costs its price over 1.25."""
    usd_per_token = np.array([bundled_prices()[model] for model in MODELS])[:, None] / 1e6
    quality, cost = 0.008 * (0.1 + 0.9 * accuracy), usd_per_token * tokens / 1.25
    return truthful_outcome(quality, cost, 0.0, np.ones(accuracy.shape[1:], dtype=bool))


def stacked(curves, method: str, *names: str) -> list[np.ndarray]:
    """Arrays of the models' curves, (..., models, levels)."""
    by_model = {curve.model: curve for curve in curves if curve.method == method}
    models = [by_model[f"synthetic-{model}"] for model in MODELS]
    return [np.stack([getattr(curve, name) for curve in models], axis=-2) for name in names]


@pytest.mark.parametrize("method", COUNTED)
def test_draws_that_are_the_truth_itself_give_the_auction_that_solve_gives(method, tmp_path):
    (solution,) = solve(setting(method).scenario(true_file(tmp_path / "truth.csv", method)), beta=BETA)
    found = auction_of(*(x[None] for x in stacked(truths().values(), method, "accuracy", "tokens_per_query")))
    names = [f"synthetic-{model}" for model in MODELS]
    assert names[found.winner[0]] == solution.auction.winner
    assert names[found.runner_up[0]] == solution.auction.runner_up
    assert LEVELS[found.level[0]] == solution.auction.level
    for name in ("welfare", "user_value", "price", "provider_profit"):
        assert getattr(found, name)[0] == pytest.approx(getattr(solution.auction, name), rel=1e-12), name


def test_what_intervals_are_held_against_is_the_solved_truth(votes, tmp_path):
    truth = true_file(tmp_path / "truth.csv", "majority_voting")
    (solution,) = solve(votes.setting.scenario(truth), beta=BETA)
    market, auction = solution.paper_dynamics, solution.auction
    want = {
        "optimum.welfare": solution.optimum["welfare"],
        "paper_dynamics.welfare": market.welfare,
        "paper_dynamics.user_value": market.user_value,
        "paper_dynamics.price": market.price,
        "price_of_anarchy": solution.price_of_anarchy,
        "auction.welfare": auction.welfare,
        "auction.user_value": auction.user_value,
        "auction.price": auction.price,
        "auction_less_market.user_value": auction.user_value - market.user_value,
    }
    np.testing.assert_allclose(votes.truth, np.tile([want[name] for name in SHOWN], (N_SETS, 1)), rtol=1e-9)


@pytest.mark.parametrize("method", COUNTED)
def test_every_draw_of_the_questions_reaches_the_auction(sets, method, tmp_path):
    sets[0].write(tmp_path / "built.csv")
    found = solved(tmp_path / "built.csv", method).outcomes.auction
    want = auction_of(*stacked(sets[0].curves, method, "accuracy_draws", "tokens_draws"))
    assert (found.winner == want.winner).all()
    for name in ("welfare", "user_value", "price"):
        np.testing.assert_allclose(getattr(found, name), getattr(want, name), rtol=1e-9)
        assert np.ptp(getattr(want, name)) > 0


@pytest.fixture(scope="module")
def votes(sets, tmp_path_factory) -> Coverage:
    """Every set written, its market of votes solved for all draws, and held against the solved truth."""
    path = tmp_path_factory.mktemp("built") / "built.csv"
    of, market, rows = setting("majority_voting"), setting("majority_voting").true_market(), []
    for seed, built in enumerate(sets):
        replace(built, curves=tuple(curve for curve in built.curves if curve.method == of.method)).write(path)
        rows.append(beside_truth(solved(path, of.method, seed), market, seed))
    return counted(of, "bootstrap", BETA, rows)


def test_intervals_of_welfare_and_prices_hold_the_truth_as_often_as_they_say(votes):
    """None of nine measures less often than a binomial of 95 % does in all but one of 10,000 cases; all of
    them together within two points of it, give or take what 60 sets can tell."""
    held = dict(zip(SHOWN, votes.holds.sum(axis=0).tolist(), strict=True))
    assert min(held.values()) >= binom.ppf(1e-4 / len(SHOWN), N_SETS, CONFIDENCE), held
    by_set = votes.holds.mean(axis=1)
    assert abs(by_set.mean() - CONFIDENCE) < 0.02 + 3 * by_set.std() / N_SETS**0.5


def test_a_winner_that_is_called_sure_is_the_true_one(votes):
    assert (votes.favourite >= SURE).all()
    assert votes.favourite_wins.all()


def test_a_big_run_solves_to_the_truth(tmp_path):
    """4,000 questions, written, read, built, named in a scenario and solved: winner, welfare, prices."""
    built_from(tmp_path, seed=99, n_questions=4000).write(tmp_path / "built.csv")
    for method in COUNTED:
        (want,) = solve(setting(method).scenario(true_file(tmp_path / "truth.csv", method)), beta=BETA)
        uncertain = solved(tmp_path / "built.csv", method)
        got = uncertain.solution
        assert got.auction.winner == want.auction.winner == "synthetic-Qwen2.5-3B"
        assert uncertain.winner_probability["synthetic-Qwen2.5-3B"] == 1
        assert got.auction.welfare == pytest.approx(want.auction.welfare, rel=0.02)
        assert got.optimum["welfare"] == pytest.approx(want.optimum["welfare"], rel=0.02)
        assert got.paper_dynamics.welfare == pytest.approx(want.paper_dynamics.welfare, rel=0.03)
        assert got.paper_dynamics.price == pytest.approx(want.paper_dynamics.price, rel=0.05)

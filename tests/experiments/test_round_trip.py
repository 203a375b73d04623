"""Synthetic runs -> curves -> a solved market: the truth their law knows comes back, and the intervals hold
it as often as they say."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from market_sim.economy.quality import bundled_prices
from market_sim.economy.synthetic.law import Law, laws_of
from market_sim.economy.synthetic.runs import write_runs
from market_sim.economy.synthetic.truth import true_curve
from market_sim.experiments.built_curves import BuiltCurves
from market_sim.experiments.curves import build_curves
from market_sim.experiments.solve import load_market, solve
from market_sim.theory.auction import truthful_outcome
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


def true_file(path, method: str) -> None:
    """The truth as a curve file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("benchmark", "method", "model", "compute_level", "accuracy", "tokens_per_query"))
        for (of, model), curve in truths().items():
            if of == method:
                for row in zip(curve.compute_level, curve.accuracy, curve.tokens_per_query, strict=True):
                    writer.writerow(("GSM8K", method, model, *row))


def scenario(path) -> dict:
    """A market of those curves at the real models' prices."""
    prices = {law.name: bundled_prices()[law.model] for law in laws_of("GSM8K", MODELS)}
    market = {"curves": str(path), "value_of_correct_usd": 0.008, "prices": prices}
    return {"name": "synthetic", "market": market, "users": {"beta": 1000.0}}


def auction_of_draws(built: BuiltCurves, market, method: str) -> np.ndarray:
    """Welfare of the truthful auction in every draw, (B,)."""
    curves = {curve.model: curve for curve in built.curves if curve.method == method}
    accuracy, tokens = (
        np.stack([getattr(curves[name], of) for name in market.providers], axis=1)
        for of in ("accuracy_draws", "tokens_draws")
    )
    per_token = (market.price / market.tokens)[0], (market.cost / market.tokens)[0]
    quality = 0.008 * (0.1 + 0.9 * accuracy)
    value, margin = quality - per_token[0] * tokens, (per_token[0] - per_token[1]) * tokens
    return truthful_outcome(value, margin, 0.0, market.offered[0]).welfare


@pytest.mark.parametrize("method", ["majority_voting", "best_of_n"])
def test_the_interval_of_welfare_holds_the_solved_truth_as_often_as_it_says(sets, method, tmp_path):
    true_file(tmp_path / "truth.csv", method)
    market = load_market(scenario(tmp_path / "truth.csv"))
    truth = solve(scenario(tmp_path / "truth.csv"))[0].auction.welfare
    held = [holds(truth, auction_of_draws(built, market, method)) for built in sets]
    assert binom.ppf(1e-4, N_SETS, STATED) <= sum(held)


def test_a_big_run_solves_to_the_truth(tmp_path):
    """4,000 questions, written, read, built, named in a scenario and solved: winner, welfare, price."""
    built = built_from(tmp_path, seed=99, n_questions=4000)
    built.write(tmp_path / "built.csv")
    for method in ("majority_voting", "best_of_n"):
        true_file(tmp_path / "truth.csv", method)
        (want,) = solve(scenario(tmp_path / "truth.csv"))
        told = scenario(tmp_path / "built.csv")
        told["market"] |= {"benchmark": "GSM8K", "method": method}
        (got,) = solve(told)
        draws = auction_of_draws(built, load_market(told), method)
        assert got.auction.winner == want.auction.winner == "synthetic-Qwen2.5-3B"
        assert abs(got.auction.welfare - want.auction.welfare) < 4 * draws.std()
        assert got.optimum["welfare"] == pytest.approx(want.optimum["welfare"], rel=0.02)
        assert got.paper_dynamics.welfare == pytest.approx(want.paper_dynamics.welfare, rel=0.03)
        assert got.paper_dynamics.price == pytest.approx(want.paper_dynamics.price, rel=0.05)

"""Laws fitted to the bundled curves: where every row of data/synthetic_laws.csv comes from.

    python -m market_sim.economy.synthetic.fit > market_sim/economy/data/synthetic_laws.csv

prints the table, and to the other stream how far each law's exact curves are from the published ones.

Instruct models: least squares of the accuracies of majority voting and best-of-n at six published levels,
with a weak pull towards ordinary values (`ORDINARY`) that decides where twelve numbers do not.  Where both
methods agree at one sample, no unreadable sample is marked right; where majority voting starts lower
(GSM8K), some must be, and how often is fitted.  Tokens: the mean of one sample, exactly.

Reasoning models: no vote and no best-of-n is published.  The effect of the five fifths of thinking on the
logit of being right is solved for, so that the five published accuracies come out, and so are the tokens
after thinking; the rest is assumed (`REASONING`).
"""

import csv
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import least_squares, lsq_linear
from scipy.special import expit, logit

from market_sim.economy.quality import QualityCurve, bundled_curves
from market_sim.economy.synthetic.law import FIFTHS, Law
from market_sim.economy.synthetic.truth import (
    accuracy_of,
    bins_of_effort,
    majority_of,
    mean_tokens,
    true_curve,
    votes_win,
)
from market_sim.theory.arrays import Array

SAMPLED = ("majority_voting", "best_of_n")

ORDINARY = {
    "ability": (0.0, 3.0),
    "ability_spread": (2.0, 1.0),
    "silence": (-2.0, 1.5),
    "silence_spread": (0.7, 0.7),
    "silence_slope": (0.3, 0.7),
    "silent_right": (0.0, 1.5),
    "pull": (-0.5, 1.5),
    "reward_gap": (0.5, 1.0),
    "reward_gap_spread": (0.7, 0.7),
    "reward_gap_slope": (0.0, 0.7),
    "reward_scale": (1.0, 0.3),
}
"""What a fitted parameter is drawn to, and how weakly (silent_right on the logit scale)."""

LEAST = {"ability_spread": 0.0, "silence_spread": 0.0, "reward_gap_spread": 0.0, "reward_scale": 0.1}
"""What a fitted parameter may not fall below."""

TOLERANCE = 0.002
"""An accuracy that much off weighs as much as a parameter one width from the ordinary; a tenth of it where
accuracies are below 2 %."""

REASONING = {
    # benchmark: share cut off by the limit, share that hardly thinks, spread of questions on the logit scale
    "GSM8K": (0.03, 0.02, 2.0),
    "AIME": (0.4, 0.02, 1.5),
    "GPQA": (0.4, 0.15, 1.5),
}
"""Assumed, for want of published numbers."""

BLANK: dict[str, Any] = {
    "ability": 0.0,
    "ability_spread": 1.0,
    "silence": -2.0,
    "silence_spread": 0.0,
    "silence_slope": 0.0,
    "silent_right": 0.0,
    "pull": -0.5,
    "reward_gap": 0.5,
    "reward_gap_spread": 0.7,
    "reward_gap_slope": 0.0,
    "reward_scale": 1.0,
    "cut_off": 0.0,
    "unthinking": 0.0,
    "thinking_low": 10.0,
    "thinking_high": 20.0,
    "length_spread": 0.0,
    **{f"answer_{i}": 10.0 for i in range(1, FIFTHS + 1)},
}


def fit_law(curves: dict[str, QualityCurve]) -> Law:
    """The law of one model on one benchmark.  curves: the published ones, by method."""
    one = next(iter(curves.values()))
    shape: dict[str, Any] = (
        {"n_samples": 32, "max_tokens": 2048, "temperature": 0.6}
        if "reasoning_effort" in curves
        else {"n_samples": 128, "max_tokens": 512, "temperature": 0.7 if "Qwen" in one.model else 0.6}
    )
    law = Law(benchmark=one.benchmark, model=one.model, **shape, **BLANK)
    if "reasoning_effort" in curves:
        return _rounded(_fit_reasoning(law, curves["reasoning_effort"]))
    law = _rounded(_fit_sampled(law, *(curves[method] for method in SAMPLED)))
    return _rounded(_with_mean_tokens(law, curves["best_of_n"].tokens_per_query[0]))


def fit_errors(law: Law, curves: dict[str, QualityCurve]) -> dict[str, float]:
    """Largest error of the exact accuracies, and of the tokens relative to the published ones, by method."""
    errors = {}
    for method, curve in curves.items():
        truth = true_curve(law, method, tuple(int(level) for level in curve.compute_level))
        errors[method] = float(np.abs(truth.accuracy - curve.accuracy).max())
        errors[f"{method} tokens"] = float(np.abs(truth.tokens_per_query / curve.tokens_per_query - 1).max())
    return errors


def _fit_sampled(law: Law, vote: QualityCurve, best: QualityCurve) -> Law:
    levels = tuple(int(level) for level in vote.compute_level)
    same_start = abs(vote.accuracy[0] - best.accuracy[0]) < 1e-3
    names = [name for name in ORDINARY if not (name == "silent_right" and same_start)]
    ordinary, width = np.array([ORDINARY[name] for name in names]).T
    target = np.concatenate([vote.accuracy, best.accuracy])
    tolerance = np.clip(0.1 * target, TOLERANCE / 10, TOLERANCE)

    @lru_cache(maxsize=64)
    def chances(ability: float, ability_spread: float, pull: float) -> Array:
        here = replace(law, ability=ability, ability_spread=ability_spread, pull=pull)
        return votes_win(here.right.mean(axis=-1), here.wrong, here.answers, max(levels))

    def at(x: Array) -> Law:
        values: dict[str, Any] = dict(zip(names, x.tolist(), strict=True))
        if "silent_right" in values:
            values["silent_right"] = float(expit(values["silent_right"]))
        return replace(law, **values)

    def residuals(x: Array) -> Array:
        here = at(x)
        votes = majority_of(chances(here.ability, here.ability_spread, here.pull), here.silent, levels)
        got = np.concatenate([votes, accuracy_of(here, "best_of_n", levels)])
        return np.concatenate([(got - target) / tolerance, (x - ordinary) / width])

    start = ordinary.copy()
    start[0] = 1.5 * logit(best.accuracy[0])
    least = [LEAST.get(name, -12.0) for name in names]
    return at(least_squares(residuals, start, bounds=(least, 12), ftol=1e-4, max_nfev=40).x)


def _with_mean_tokens(law: Law, mean: float) -> Law:
    """Lengths such that a sample takes `mean` tokens: as few as possible run into the limit, while the others
    stay clear of it."""
    comfortable = min(0.97 * mean, 0.7 * law.max_tokens)

    def length_when(cut_off: float) -> float:
        """Mean tokens of samples that are not cut off; mean_tokens is linear in it."""
        base = replace(law, cut_off=cut_off)
        low, high = (mean_tokens(_of_length(base, length, 0.0, 0.0)) for length in (40.0, 400.0))
        return 40 + (mean - low) / (high - low) * 360

    cut_off = min(np.linspace(0, 1, 51), key=lambda share: abs(length_when(share) - comfortable))
    room = max((law.max_tokens - 3) / length_when(cut_off) - 1, 0.0)
    spread = min(0.2, room / 3)
    law = replace(law, cut_off=float(cut_off))
    low, high = (mean_tokens(_of_length(law, length, spread, 0.0)) for length in (40.0, 400.0))
    length = 40 + (mean - low) / (high - low) * 360
    swing = np.clip((law.max_tokens - 3) / length / (1 + spread) - 1, 0.0, 0.4)
    return _of_length(law, length, spread, float(swing))


def _of_length(law: Law, length: float, spread: float, swing: float) -> Law:
    """Totals from (1 - swing) to (1 + swing) times a length, of which two fifths come after thinking."""
    return replace(
        law,
        thinking_low=(0.6 - swing) * length,
        thinking_high=(0.6 + swing) * length,
        length_spread=spread,
        **{f"answer_{i}": 0.4 * length for i in range(1, FIFTHS + 1)},  # type: ignore[arg-type]
    )


def _fit_reasoning(law: Law, curve: QualityCurve) -> Law:
    cut_off, unthinking, spread = REASONING[law.benchmark]
    law = replace(
        law, ability_spread=spread, silence=float(logit(cut_off)), cut_off=1.0, unthinking=unthinking
    )

    def with_effort(effort: Array) -> Law:
        return replace(law, **{f"effort_{i + 1}": float(x) for i, x in enumerate(effort)})  # type: ignore[arg-type]

    def residuals(effort: Array) -> Array:
        got = true_curve(with_effort(effort), "reasoning_effort", (1, 2, 3, 4, 5)).accuracy
        return np.concatenate([(got - curve.accuracy) / TOLERANCE, 0.01 * effort])

    law = with_effort(least_squares(residuals, logit(np.clip(curve.accuracy, 0.01, 0.99)), max_nfev=100).x)
    totals = curve.tokens_per_query
    low, high = 0.4 * totals.min(), 0.75 * totals.max()
    count, rank = bins_of_effort(law)
    per_bin = count.sum(axis=-1)
    wanted = totals - low - (high - low) * rank.sum(axis=-1) / per_bin
    most = 0.97 * law.max_tokens - low - (high - low) * np.linspace(1, FIFTHS, FIFTHS) / FIFTHS
    after = lsq_linear(count / per_bin[:, None], wanted, bounds=(10.0, most)).x
    longest = (low + (high - low) * np.linspace(0.2, 1, FIFTHS) + after).max()
    lengths: dict[str, Any] = {f"answer_{i + 1}": float(x) for i, x in enumerate(after)}
    spread = min(0.2, (law.max_tokens - 4) / longest - 1)
    return replace(law, thinking_low=low, thinking_high=high, length_spread=spread, **lengths)


def _rounded(law: Law) -> Law:
    """The law as the table holds it."""
    values: dict[str, Any] = {
        f.name: round(float(getattr(law, f.name)), 6) for f in fields(Law) if f.type is float
    }
    return replace(law, **values)


def _fit_and_measure(curves: dict[str, QualityCurve]) -> tuple[Law, dict[str, float]]:
    law = fit_law(curves)
    return law, fit_errors(law, curves)


def main() -> None:
    """Fit every model on every benchmark, and print the table."""
    jobs: dict[tuple[str, str], dict[str, QualityCurve]] = {}
    for curve in bundled_curves():
        jobs.setdefault((curve.benchmark, curve.model), {})[curve.method] = curve
    table = csv.DictWriter(sys.stdout, [field.name for field in fields(Law)], lineterminator="\n")
    table.writeheader()
    with ProcessPoolExecutor() as pool:
        for law, errors in pool.map(_fit_and_measure, jobs.values()):
            table.writerow(asdict(law))
            told = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
            print(f"{law.benchmark} {law.model}: {told}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

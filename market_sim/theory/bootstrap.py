"""How far a curve could have come out otherwise: the bootstrap over questions (Efron 1979).

A benchmark's questions are a sample of the questions there might have been.  A draw takes Q of the Q
questions with replacement and averages again.  The same questions are drawn for every curve, so that what is
common to all models (a draw of easy questions) stays common (docs/theory.md section 9).
"""

import numpy as np

from market_sim.theory.arrays import Array
from market_sim.theory.estimators import Contributions
from market_sim.theory.streams import Role, stream

BLOCK = 2**21
"""Counts of questions held at once."""


def draw_averages(contributions: Contributions, n_draws: int, seed: int) -> tuple[Array, Array]:
    """Accuracy and tokens per query of every curve in every draw, (D, K) each.

    contributions  (Q, K), K running over all levels of all curves: one draw serves them all
    seed           of the stream that draws questions; n_draws only says when to stop
    NaN where a draw has nothing that is counted (a bin of effort that few questions have samples in).
    """
    n_questions = len(contributions.weight)
    sums = np.concatenate([contributions.correct, contributions.tokens, contributions.weight], axis=1)
    rows, rng = max(1, BLOCK // n_questions), stream(seed, Role.QUESTIONS)
    totals = [
        _counts(rng, min(rows, n_draws - begin), n_questions) @ sums for begin in range(0, n_draws, rows)
    ]
    correct, tokens, weight = np.split(np.concatenate(totals), 3, axis=1)
    counted = weight > 0
    divisor = np.where(counted, weight, 1.0)
    return np.where(counted, correct / divisor, np.nan), np.where(counted, tokens / divisor, np.nan)


def _counts(rng: np.random.Generator, n_draws: int, n_questions: int) -> Array:
    """How often each question is drawn, (draws, Q)."""
    drawn = rng.integers(n_questions, size=(n_draws, n_questions))
    cells = drawn + n_questions * np.arange(n_draws)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n_draws * n_questions)
    return counts.reshape(n_draws, n_questions).astype(float)


def percentile_interval(draws: Array, confidence: float = 0.95) -> tuple[Array, Array]:
    """The percentile interval of each column: what leaves out (1 - confidence) / 2 of the draws at each end.

    draws  (D, ...)
    """
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return low, high

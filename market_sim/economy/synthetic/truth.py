"""What synthetic runs would show with infinitely many questions: exact curves of a law.

Ranks of questions are finitely many and samples are independent given them, so every expectation is a
finite sum:

    majority_voting    theory/plurality.py for every number of readable votes, mixed over how many there are
    best_of_n          a sum over the reward's values (rewards are whole steps, so ties count)
    pass_at_k, first_sample   one minus the chance that all fail
    reasoning_effort   of a question's R kept samples the one of rank r has v ~ Beta(r, R - r + 1)

Drawing n of a question's S samples without replacement gives n independent draws, so the first four do not
depend on S.  Reasoning effort does, because bins are made of ranks among the kept samples of a question.
"""

from functools import cache

import numpy as np
from scipy.special import betainc, ndtr
from scipy.stats import binom

from market_sim.economy.quality import QualityCurve
from market_sim.economy.synthetic.law import FIFTHS, Law
from market_sim.errors import not_one_of
from market_sim.theory.arrays import Array
from market_sim.theory.plurality import right_answer_wins

STEPS_PER_DEVIATION = 12
"""Rewards are whole numbers of steps: about as many ties as real ones have."""

REWARDS = np.arange(-96, 97)
"""Values that a reward can take, in steps; eight standard deviations to either side."""

COUNTED = ("majority_voting", "best_of_n", "pass_at_k", "first_sample")
"""Methods whose compute is a number of samples."""


def true_curve(law: Law, method: str, levels: tuple[int, ...]) -> QualityCurve:
    """The population curve of a law for a method, at the compute levels asked for.

    levels   numbers of samples, rising; for reasoning_effort the bins 1, 2, ..., B, of runs of law.n_samples
             samples per question: dataclasses.replace the law where the runs have another number
    Raises InputError for a method that has no truth.
    """
    if method == "reasoning_effort":
        accuracy, tokens = _by_effort(law, len(levels))
    elif method in COUNTED:
        accuracy = accuracy_of(law, method, levels)
        tokens = np.array(levels) * mean_tokens(law)
    else:
        raise not_one_of("method", method, (*COUNTED, "reasoning_effort"))
    return QualityCurve(
        benchmark=law.benchmark,
        method=method,
        model=law.name,
        compute_level=np.array(levels, dtype=float),
        accuracy=accuracy,
        tokens_per_query=tokens,
        source="synthetic",
    )


def accuracy_of(law: Law, method: str, levels: tuple[int, ...]) -> Array:
    """Expected accuracy of a method that counts samples, (len(levels),)."""
    if method == "majority_voting":
        return _majority(law, levels)
    if method == "best_of_n":
        return _best(law, levels)
    right = marked_right(law)
    if method == "first_sample":
        return np.full(len(levels), right.mean())
    return np.array([np.mean(1 - (1 - right) ** n) for n in levels])


def marked_right(law: Law) -> Array:
    """P(a sample is marked right), (GRADES, SILENCES)."""
    readable = 1 - law.silent
    return (readable + law.silent * law.silent_right) * law.right.mean(axis=-1)[:, None]


def mean_tokens(law: Law) -> float:
    """Expected tokens of one sample, those that ran into the limit included."""
    cut = _cut_off(law)
    think, answer = _tokens_by_fifth(law)
    whole = (1 - law.unthinking) * think + law.unthinking * 5 + answer
    return float(np.mean(cut * law.max_tokens + (1 - cut) * whole[:, None]))


def _majority(law: Law, levels: tuple[int, ...]) -> Array:
    most = max(levels)
    return majority_of(votes_win(law.right.mean(axis=-1), law.wrong, law.answers, most), law.silent, levels)


def majority_of(chances: Array, silent: Array, levels: tuple[int, ...]) -> Array:
    """Expected accuracy of the vote of n samples, given what m readable ones would decide.

    chances  (GRADES, most + 1), of `votes_win`
    silent   (GRADES, SILENCES)
    """
    accuracy = []
    for n in levels:
        weights = binom.pmf(np.arange(n + 1), n, 1 - silent[..., None]).mean(axis=1)
        accuracy.append(np.sum(weights * chances[:, : n + 1], axis=-1).mean())
    return np.array(accuracy)


def votes_win(right: Array, wrong: Array, answers: str, most: int) -> Array:
    """P(the right answer wins among m readable votes), averaged over how wrong answers agree.

    right    (GRADES,)          P(right | readable)
    wrong    (PULLS, J or J+1)  shares among wrong ones; of numbers the last are stray
    returns  (GRADES, most + 1)
    """
    given = (1 - right)[:, None, None] * wrong
    stray = given[..., -1] if answers == "numbers" else np.zeros(given.shape[:-1])
    rivals = given[..., :-1] if answers == "numbers" else given
    return right_answer_wins(np.broadcast_to(right[:, None], stray.shape), rivals, stray, most).mean(axis=1)


def _best(law: Law, levels: tuple[int, ...]) -> Array:
    """With F the law of one sample's reward and rho(y) the share of right samples among those of reward
    y, the best of n is right with probability sum_y rho(y) (F(y)^n - F(y - 1)^n): ties are shared equally."""
    right = marked_right(law)[:, :, None, None]  # (GRADES, SILENCES, 1, 1)
    of_right = right * reward_law(law.gap, law.reward_scale)[:, None]
    either = of_right + (1 - right) * reward_law(np.zeros(1), 1.0)
    share = np.divide(of_right, either, out=np.zeros_like(either), where=either > 0)
    below = np.minimum(np.cumsum(either, axis=-1), 1.0)
    accuracy = []
    for n in levels:
        best_is = _power(below, n)
        best_is[..., 1:] -= best_is[..., :-1].copy()
        accuracy.append(np.einsum("...y,...y->...", share, best_is).mean())
    return np.array(accuracy)


def _power(base: Array, n: int) -> Array:
    """base to the n, n >= 1, by squaring: levels are mostly powers of two."""
    power = base.copy() if n % 2 else None
    while n > 1:
        base, n = base * base, n // 2
        if n % 2:
            power = base.copy() if power is None else power * base
    assert power is not None
    return power


def reward_law(mean: Array, scale: float) -> Array:
    """P(reward = y), (..., len(REWARDS)): a normal of that mean and scale, in steps, kept in range."""
    below = ndtr(((REWARDS + 0.5) / STEPS_PER_DEVIATION - mean[..., None]) / scale)
    below[..., -1] = 1.0
    return np.diff(below, axis=-1, prepend=0.0)


def _cut_off(law: Law) -> Array:
    """P(a sample runs into the token limit), (GRADES, SILENCES): only samples without an answer that are
    not marked right."""
    wrong = 1 - law.silent_right * law.right.mean(axis=-1)
    return law.cut_off * law.silent * wrong[:, None]


def _tokens_by_fifth(law: Law) -> tuple[Array, Array]:
    """Mean tokens of thinking and after it, (GRADES,) each."""
    return law.length * law.thinking(np.array(0.5)), law.length * law.answer_tokens.mean()


def _by_effort(law: Law, bins: int) -> tuple[Array, Array]:
    """Accuracy and total tokens by bin of thinking, pooled over questions, (bins,) each."""
    keep = _kept(law)
    count, rank = _in_bins(law, keep, bins)
    readable = 1 - law.silent * (1 - law.silent_right)
    right_if_kept = readable[..., None] * law.right[:, None] * ((1 - law.unthinking) / keep)[..., None]
    right = np.einsum("gsbf,gsf->b", count, right_if_kept)
    flat = law.thinking_low + law.answer_tokens
    slope = law.thinking_high - law.thinking_low
    tokens = np.einsum("g,gsbf->b", law.length, count * flat + rank * slope)
    total = count.sum(axis=(0, 1, 3))
    return right / total, tokens / total


def bins_of_effort(law: Law, bins: int = FIFTHS) -> tuple[Array, Array]:
    """Expected number of a question's kept samples, and expected sum of their v, by bin and fifth of v,
    (bins, FIFTHS) each, averaged over questions."""
    count, rank = _in_bins(law, _kept(law), bins)
    return count.mean(axis=(0, 1)), rank.mean(axis=(0, 1))


def _kept(law: Law) -> Array:
    """P(a sample is neither cut off nor unthinking), (GRADES, SILENCES)."""
    return (1 - _cut_off(law)) * (1 - law.unthinking)


def _in_bins(law: Law, keep: Array, bins: int) -> tuple[Array, Array]:
    """Expected number of kept samples and sum of their v, (GRADES, SILENCES, bins, FIFTHS) each."""
    times, sums = bins_of_ranks(law.n_samples, bins)
    odds = binom.pmf(np.arange(law.n_samples + 1), law.n_samples, keep[..., None])
    return np.tensordot(odds, times, axes=1), np.tensordot(odds, sums, axes=1)


@cache
def bins_of_ranks(n_samples: int, bins: int) -> tuple[Array, Array]:
    """Where a question's samples fall: by how many were kept, by bin of rank, by fifth of v.

    Returns the expected number of samples and the expected sum of their v, (n_samples + 1, bins, FIFTHS).
    """
    edges = np.linspace(0, 1, FIFTHS + 1)
    times = np.zeros((n_samples + 1, bins, FIFTHS))
    sums = np.zeros_like(times)
    for kept in range(1, n_samples + 1):
        rank = np.arange(1, kept + 1)[:, None]
        of = bin_of_rank(rank[:, 0], kept, bins)
        inside = np.diff(betainc(rank, kept - rank + 1, edges), axis=-1)
        moment = np.diff(betainc(rank + 1, kept - rank + 1, edges), axis=-1) * rank / (kept + 1)
        np.add.at(times[kept], of, inside)
        np.add.at(sums[kept], of, moment)
    return times, sums


def bin_of_rank(rank: Array, kept: int, bins: int) -> Array:
    """Bin, from 0, of the samples of rank 1, 2, ..., kept: cut at quantiles, as theory.estimators does."""
    return np.minimum((rank - 1) * bins // max(kept - 1, 1), bins - 1)

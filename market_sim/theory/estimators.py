"""What a question's samples say about accuracy at every compute level: exact, without Monte Carlo.

A model answered each of Q questions S times.  Spending compute n means to draw n of the S samples without
replacement and to return one answer, or to think longer; the functions below give the probability that the
answer is right, question by question, over all C(S, n) draws at once (docs/theory.md section 9).

Axes: Q questions, S samples, K compute levels.  Levels are whole numbers from 1 to S; callers check that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import lgamma, log, log1p

import numpy as np
from scipy.special import roots_legendre

from market_sim.theory.arrays import Array

UNPARSED = -1
"""As an answer: the text held none.  Such a sample costs its tokens and never wins a vote."""

LEAST_THOUGHT = 5
"""Samples that think for this many tokens or fewer have not thought, as in the paper."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contributions:
    """What each question adds to a curve, as sums over what is counted.

    correct, tokens, weight  (Q, K); a curve's accuracy at level k is sum_q correct / sum_q weight, its
                             tokens the same.  The weight is 1 but for bins of effort (samples in the bin).
    """

    correct: Array
    tokens: Array
    weight: Array


def average(contributions: Contributions) -> tuple[Array, Array]:
    """Accuracy and tokens per query of a curve, (K,) each; NaN where nothing is counted."""
    weight = contributions.weight.sum(axis=0)
    counted = weight > 0
    divisor = np.where(counted, weight, 1.0)
    return (
        np.where(counted, contributions.correct.sum(axis=0) / divisor, np.nan),
        np.where(counted, contributions.tokens.sum(axis=0) / divisor, np.nan),
    )


# --- Draws without replacement ----------------------------------------------------------------------


def within(n_samples: int, levels: Sequence[int]) -> Array:
    """Probability that n draws without replacement all come from r given samples of S, (K, S + 1).

    Equation: F_n(r) = C(r, n) / C(S, n), by the recurrence F_n(r) = F_(n-1)(r) (r - n + 1) / (S - n + 1):
    no factor exceeds 1, so nothing overflows.

    >>> within(4, [2])[0].round(3).tolist()
    [0.0, 0.0, 0.167, 0.5, 1.0]
    """
    r = np.arange(n_samples + 1.0)
    f, table = np.ones(n_samples + 1), {}
    for n in range(1, max(levels) + 1):
        f = f * np.maximum(r - n + 1, 0.0) / (n_samples - n + 1)
        table[n] = f
    return np.array([table[n] for n in levels])


def tokens_of_draws(tokens: Array, levels: Sequence[int]) -> Array:
    """Expected tokens of n samples: n times a question's mean, (Q, K) from (Q, S)."""
    return np.asarray(tokens, dtype=float).mean(axis=1)[:, None] * np.asarray(levels, dtype=float)


def first_sample(correct: Array) -> Array:
    """Whether the first sample is right, (Q, 1): what a user gets who asks once."""
    return np.asarray(correct, dtype=float)[:, :1]


def pass_at_k(correct: Array, levels: Sequence[int]) -> Array:
    """Probability that at least one of k samples is right, (Q, K) from (Q, S).

    Equation: 1 - C(S - c, k) / C(S, k) with c right samples of S (Chen et al. 2021).

    >>> pass_at_k(np.array([[True, False, False]]), [1, 2, 3]).round(3).tolist()
    [[0.333, 0.667, 1.0]]
    """
    correct = np.asarray(correct, dtype=bool)
    wrong = correct.shape[1] - correct.sum(axis=1)
    return 1.0 - within(correct.shape[1], levels)[:, wrong].T


def best_of_n(correct: Array, rewards: Array, levels: Sequence[int]) -> Array:
    """Probability that the sample of highest reward among n is right, (Q, K) from (Q, S).

    correct  (Q, S)  bool
    rewards  (Q, S)  any scale, higher is better; NaN (no reward) ranks below every number
    Equal rewards are equally likely to be chosen: the ranks lo + 1..hi of a tied group share the probability
    F_n(hi) - F_n(lo) that the best of n is in the group.

    >>> best_of_n(np.array([[True, False]]), np.array([[0.7, 0.2]]), [1, 2]).tolist()
    [[0.5, 1.0]]
    """
    correct = np.asarray(correct, dtype=bool)
    rewards = np.asarray(rewards, dtype=float)
    n_questions, n_samples = rewards.shape
    # NaN sorts last: by what is lost, the best first, and then turned round.
    order = np.argsort(-rewards, axis=1, kind="stable")[:, ::-1]
    ranked = np.take_along_axis(rewards, order, axis=1)
    right = np.take_along_axis(correct, order, axis=1)
    null = np.isnan(ranked)
    new = np.ones((n_questions, n_samples), dtype=bool)
    new[:, 1:] = (ranked[:, 1:] != ranked[:, :-1]) & ~(null[:, 1:] & null[:, :-1])
    place = np.arange(n_samples)
    lo = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    last = np.ones_like(new)
    last[:, :-1] = new[:, 1:]
    backwards = np.where(last, place + 1, n_samples)[:, ::-1]
    hi = np.minimum.accumulate(backwards, axis=1)[:, ::-1]
    share = right / (hi - lo)
    return np.stack([(share * (f[hi] - f[lo])).sum(axis=1) for f in within(n_samples, levels)], axis=1)


# --- Reasoning effort -------------------------------------------------------------------------------


def reasoning_effort(
    correct: Array, tokens: Array, thinking: Array, usable: Array, n_bins: int
) -> Contributions:
    """Samples of a question in bins by how long they thought, from the shortest to the longest.

    correct, tokens, thinking  (Q, S)  whether right, tokens in all, tokens of thinking
    usable   (Q, S)  bool; the others are left out (hit the limit, did not think)
    returns  sums over the samples of each bin, (Q, n_bins)
    Of R usable samples the one of rank r = 0..R-1 by thinking tokens (sample order on a tie) is in bin
    min(B - 1, floor(B r / (R - 1))): what cutting at the quantiles j/B gives, as the paper does.
    """
    usable = np.asarray(usable, dtype=bool)
    n_questions, n_samples = usable.shape
    key = np.where(usable, np.asarray(thinking, dtype=float), np.inf)
    order = np.argsort(key, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(n_samples), order.shape), axis=1)
    among = np.maximum(usable.sum(axis=1) - 1, 1)[:, None]
    bins = np.minimum(n_bins - 1, n_bins * rank // among)
    cell = (np.arange(n_questions)[:, None] * n_bins + bins)[usable]

    def total(of: Array) -> Array:
        amounts = np.broadcast_to(np.asarray(of, dtype=float), usable.shape)[usable]
        return np.bincount(cell, weights=amounts, minlength=n_questions * n_bins).reshape(-1, n_bins)

    return Contributions(correct=total(correct), tokens=total(tokens), weight=total(np.array(1.0)))


# --- Majority voting --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """How often each answer was given, question after question, the commonest first.

    starts    (Q + 1,)  where each question's answers begin in the two arrays below
    counts    (sum of answers,)  samples with that answer
    right     (sum of answers,)  bool, whether the answer counts as correct
    unparsed  (Q,)  samples without an answer
    n_samples  S, the same for all questions
    """

    starts: Array
    counts: Array
    right: Array
    unparsed: Array
    n_samples: int


def tally(correct: Array, answers: Array) -> Tally:
    """Count the answers; an answer is right if any sample with it is marked correct.

    correct  (Q, S)  bool
    answers  (Q, S)  whole numbers, equal where a question's answers are; below 0 is UNPARSED
    """
    correct, answers = np.asarray(correct, dtype=bool), np.asarray(answers, dtype=np.int64)
    n_questions, n_samples = answers.shape
    question = np.broadcast_to(np.arange(n_questions)[:, None], answers.shape)
    parsed = answers >= 0
    width = int(answers.max(initial=0)) + 1
    keys, where, counts = np.unique(
        (question * width + answers)[parsed], return_inverse=True, return_counts=True
    )
    right = np.bincount(where, weights=correct[parsed], minlength=len(keys)) > 0
    owner = keys // width
    order = np.lexsort((-counts, owner))
    return Tally(
        starts=np.searchsorted(owner[order], np.arange(n_questions + 1)),
        counts=counts[order],
        right=right[order],
        unparsed=n_samples - parsed.sum(axis=1),
        n_samples=n_samples,
    )


def majority_voting(correct: Array, answers: Array, levels: Sequence[int]) -> Array:
    """Probability that the most frequent answer among n samples is right, (Q, K) from (Q, S).

    Ties are shared equally between the answers that tie (which the first drawn of them winning amounts to);
    a draw without any parsed answer is wrong.  Compiled where numba is installed.

    >>> majority_voting(np.array([[True, True, False]]), np.array([[0, 0, 1]]), [1, 2, 3]).round(3).tolist()
    [[0.667, 0.667, 1.0]]
    """
    return count_votes(tally(correct, answers), levels, compiled_votes() or votes_by_arrays)


@dataclass(frozen=True, kw_only=True, eq=False)
class Polynomials:
    """What counting votes needs, the same for all questions.

    levels    (K,)  whole numbers, at most D
    binomial  (S + 1, D + 1)  C(c, j) p^j (1 - p)^(c - j)
    nodes, weights  Gauss-Legendre on [0, 1], rules one after another
    rule      (D + 1,)  which rule integrates polynomials of that degree exactly
    begins    (rules + 1,)  where each rule's nodes begin
    """

    levels: Array
    binomial: Array
    nodes: Array
    weights: Array
    rule: Array
    begins: Array


Votes = Callable[[Tally, Polynomials], Array]


def count_votes(table: Tally, levels: Sequence[int], votes: Votes) -> Array:
    """Probability that the vote is right, (Q, K), by either way of multiplying polynomials.

    The answer a wins with t of the n votes when no rival has more; with k rivals at t too it gets 1/(k + 1),
    which is the integral of y^k over [0, 1].  So

        P_n = 1/C(S,n) sum_(a right) sum_t C(c_a,t) int_0^1 [x^(n-t)] (1+x)^u prod_(b != a)
              (sum_(j<t) C(c_b,j) x^j + y C(c_b,t) x^t) dy,

    u being the unparsed samples.  Every C(c, j) is replaced by a binomial probability of one common p, which
    multiplies the coefficient of x^n by p^n (1-p)^(S-n) whatever the answers: the sum over subsets becomes a
    probability, its divisor the probability of n successes in S, and nothing overflows.  All terms are
    positive, so nothing cancels.  The integrand is a polynomial in y and the quadrature exact.
    """
    answer = np.empty((len(table.unparsed), len(levels)))
    for group in _groups(table.n_samples, sorted(set(levels))):
        polynomials = polynomials_of(table.n_samples, tuple(group))
        found = votes(table, polynomials) / polynomials.binomial[table.n_samples, group]
        for k, n in enumerate(levels):
            if n in group:
                answer[:, k] = found[:, group.index(n)]
    return np.minimum(answer, 1.0)


LEAST_LOG_CHANCE = -300.0
"""Levels share a p while n successes in S have a log-probability above this; what is lost to underflow in
such a sum is far below rounding."""


def _groups(n_samples: int, levels: list[int]) -> list[list[int]]:
    """Rising levels in runs that can share one p; all of them up to about S = 900."""
    groups: list[list[int]] = []
    for n in levels:
        lowest = groups[-1][0] if groups else n
        p = _common(n_samples, lowest, n)
        if groups and min(_log_chance(n_samples, m, p) for m in (lowest, n)) > LEAST_LOG_CHANCE:
            groups[-1].append(n)
        else:
            groups.append([n])
    return groups


def _common(n_samples: int, lowest: int, highest: int) -> float:
    """The p in the middle of some levels, within (0, 1)."""
    return (lowest + highest + 1) / (2 * n_samples + 2)


def _log_chance(n_samples: int, n: int, p: float) -> float:
    ways = lgamma(n_samples + 1) - lgamma(n + 1) - lgamma(n_samples - n + 1)
    return ways + n * log(p) + (n_samples - n) * log1p(-p)


@cache
def polynomials_of(n_samples: int, levels: tuple[int, ...]) -> Polynomials:
    """The polynomials of rising levels that share one p."""
    highest = max(levels)
    p = _common(n_samples, min(levels), highest)
    binomial = np.zeros((n_samples + 1, highest + 1))
    binomial[0, 0] = 1.0
    for c in range(n_samples):
        binomial[c + 1] = (1 - p) * binomial[c]
        binomial[c + 1, 1:] += p * binomial[c, :-1]
    sizes = _sizes(highest // 2 + 1)  # a rule of m nodes is exact up to degree 2m - 1
    rules = [roots_legendre(size) for size in sizes]
    return Polynomials(
        levels=np.array(levels),
        binomial=binomial,
        nodes=np.concatenate([(1 + x) / 2 for x, _ in rules]),
        weights=np.concatenate([w / 2 for _, w in rules]),
        rule=np.searchsorted(sizes, np.arange(highest + 1) // 2 + 1),
        begins=np.concatenate([[0], np.cumsum(sizes)]),
    )


def _sizes(largest: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ...: enough rules that none does half as much again as it must."""
    sizes = [1]
    while sizes[-1] < largest:
        last = sizes[-1]
        sizes.append(last + 1 if last < 4 else last * 3 // 2 if last & (last - 1) == 0 else last * 4 // 3)
    return sizes


def votes_by_arrays(table: Tally, polynomials: Polynomials) -> Array:
    """Probability that n are drawn and the vote is right, (Q, K), with NumPy alone."""
    found = np.zeros((len(table.unparsed), len(polynomials.levels)))
    for q in range(len(found)):
        begin, end = table.starts[q], table.starts[q + 1]
        counts = table.counts[begin:end]
        # Right answers given equally often win equally often.
        for own, alike in zip(*np.unique(counts[table.right[begin:end]], return_counts=True), strict=True):
            rivals = np.delete(counts, int(np.argmax(counts == own)))
            found[q] += alike * _wins(int(own), rivals, int(table.unparsed[q]), polynomials)
    return found


def _wins(own: int, rivals: Array, unparsed: int, polynomials: Polynomials) -> Array:
    """Probability that n are drawn and one answer wins, (K,); rivals from the commonest on."""
    levels, binomial = polynomials.levels, polynomials.binomial
    degree = binomial.shape[1] - 1
    contested = min(own, int(rivals[0]) if len(rivals) else 0, degree)
    # More votes than any rival can have: the rest of the draw is anything.
    free = binomial[unparsed + int(rivals.sum())]
    won = np.zeros(len(levels))
    for t in range(contested + 1, min(own, degree) + 1):
        won += binomial[own, t] * np.where(levels >= t, free[np.maximum(levels - t, 0)], 0.0)
    if contested == 0:
        return won
    # All pairs (t, node) at once, along the last axis.
    rules = []
    for t in range(1, contested + 1):
        ties = min(int((rivals >= t).sum()), degree // t - 1)
        rule = polynomials.rule[ties]
        rules.append(np.arange(polynomials.begins[rule], polynomials.begins[rule + 1]))
    node = np.concatenate(rules)
    top = np.repeat(np.arange(1, contested + 1), [len(rule) for rule in rules])
    y, w = polynomials.nodes[node], polynomials.weights[node]
    product = np.repeat(binomial[unparsed, :degree, None], len(top), axis=1)
    for count in rivals:
        grown = np.zeros_like(product)
        for j in range(min(count, degree - 1) + 1):
            factor = binomial[count, j] * ((j < top) + y * (j == top))
            grown[j:] += factor * product[: degree - j]
        product = grown
    for k, n in enumerate(levels):
        reached = np.flatnonzero(top <= n)
        terms = binomial[own, top[reached]] * product[n - top[reached], reached]
        won[k] += (w[reached] * terms).sum()
    return won


@cache
def compiled_votes() -> Votes | None:
    """The compiled way, or None where numba is not installed."""
    try:
        from market_sim.theory.vote_kernel import votes_compiled
    except (ImportError, RuntimeError):  # numba refuses where it may write its cache nowhere
        return None
    return votes_compiled

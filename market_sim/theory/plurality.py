"""Who wins a vote of independent voters: the exact chance that the right answer has the plurality.

Each of m voters draws one answer from the same law: the right one, one of J rivals, or a stray answer that
nobody else ever gives.  The most frequent answer wins, ties are shared equally (which is what "the first
drawn wins" comes to).  Majority voting over samples of a language model is such a vote.
"""

import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.special import gammaln

from market_sim.theory.arrays import Array

MOST_VOTERS = 150
"""The factorial of more overflows."""


def right_answer_wins(right: Array, rivals: Array, stray: Array, n_voters: int) -> Array:
    """The chance that the right answer wins among m voters, for every m from 0 to n_voters.

    right     (...)      probability of the right answer
    rivals    (..., J)   probabilities of the wrong answers that are given repeatedly
    stray     (...)      probability of an answer of one's own; the three sum to 1
    returns   (..., n_voters + 1); 0 for no voters

    If k voters have the right answer, the rest is a polynomial in x with exponential generating function

        (c x)^k / k!  int_0^1 prod_j [E_{k-1}(w_j x) + t (w_j x)^k / k!] dt  e^{s x},

    E_k being the exponential series cut after its k-th term: the integral over t gives a tie among r + 1
    answers the weight 1 / (r + 1), and Gauss-Legendre quadrature does it exactly.  For k = 1 all m answers
    differ and each wins with probability 1 / m.  The chance is m! times the coefficient of x^m.
    Everything is positive, nothing cancels.  Raises ValueError beyond 150 voters.

    >>> right_answer_wins(np.array(0.6), np.array([0.4]), np.array(0.0), 3).round(6)
    array([0.   , 0.6  , 0.6  , 0.648])
    """
    if n_voters > MOST_VOTERS:
        raise ValueError(f"n_voters = {n_voters} is above {MOST_VOTERS}")
    right, stray = np.asarray(right, dtype=float), np.asarray(stray, dtype=float)
    rivals = np.asarray(rivals, dtype=float)
    powers = np.arange(n_voters + 1)
    one_over_factorial = np.exp(-gammaln(powers + 1))

    def series(rate: Array) -> Array:
        """Terms (rate x)^i / i! of the exponential series, (..., n_voters + 1)."""
        return rate[..., None] ** powers * one_over_factorial

    right_terms, stray_terms, rival_terms = series(right), series(stray), series(rivals)
    wins = np.zeros((*right.shape, n_voters + 1))
    if n_voters >= 1:
        wins[..., 1:] += right[..., None] * _all_differ(rivals, stray_terms, n_voters) / powers[1:]
    nodes, weights = leggauss(rivals.shape[-1] // 2 + 1)
    nodes, weights = (nodes + 1) / 2, weights / 2
    for k in range(2, n_voters + 1):
        length = n_voters - k + 1
        others = np.zeros((len(nodes), *right.shape, length))
        others[...] = stray_terms[..., :length]
        for j in range(rivals.shape[-1]):
            factor = np.repeat(rival_terms[None, ..., j, : k + 1], len(nodes), axis=0)
            factor[..., k] *= nodes.reshape(-1, *(1,) * right.ndim)
            others = _product(factor, others)
        wins[..., k:] += right_terms[..., k, None] * np.tensordot(weights, others, axes=1)
    return wins / one_over_factorial


def _all_differ(rivals: Array, stray_terms: Array, n_voters: int) -> Array:
    """Coefficients up to x^(n_voters - 1) of prod_j (1 + w_j x) e^{s x}."""
    product = stray_terms[..., :n_voters].copy()
    for j in range(rivals.shape[-1]):
        product[..., 1:] += rivals[..., j, None] * product[..., :-1].copy()
    return product


def _product(short: Array, long: Array) -> Array:
    """Product of two polynomials, coefficients along the last axis, cut at the length of the second."""
    length = long.shape[-1]
    total = short[..., :1] * long
    for i in range(1, min(short.shape[-1], length)):
        total[..., i:] += short[..., i, None] * long[..., : length - i]
    return total

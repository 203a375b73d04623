"""The chance that the right answer wins a vote: against enumeration of all votes, and by what must hold."""

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.theory.plurality import right_answer_wins

RIGHT, STRAY = 0, -1


def enumerated(right: Fraction, rivals: list[Fraction], stray: Fraction, n_voters: int) -> Fraction:
    """Every sequence of votes, in rationals; a stray voter's answer is its own."""
    odds = {RIGHT: right, STRAY: stray, **{j + 1: rival for j, rival in enumerate(rivals)}}
    total = Fraction(0)
    for votes in product(odds, repeat=n_voters):
        ballots = [vote if vote != STRAY else (STRAY, i) for i, vote in enumerate(votes)]
        top = max(ballots.count(ballot) for ballot in ballots)
        winners = {ballot for ballot in ballots if ballots.count(ballot) == top}
        if RIGHT in winners:
            total += prod((odds[vote] for vote in votes), start=Fraction(1)) / len(winners)
    return total


@pytest.mark.parametrize("rivals", [[], [3], [3, 2], [2, 2, 1]])
@pytest.mark.parametrize("stray", [0, 2])
def test_the_chance_is_that_of_enumerating_every_vote(rivals, stray):
    whole = 4 + sum(rivals) + stray
    right, stray = Fraction(4, whole), Fraction(stray, whole)
    rivals = [Fraction(rival, whole) for rival in rivals]
    got = right_answer_wins(
        np.array(float(right)), np.array([float(r) for r in rivals]), np.array(float(stray)), 5
    )
    want = [0.0] + [float(enumerated(right, rivals, stray, m)) for m in range(1, 6)]
    np.testing.assert_allclose(got, want, rtol=1e-13)


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=5), st.integers(1, 30))
def test_somebody_always_wins(weights, n_voters):
    odds = np.array(weights) / sum(weights)
    chances = [
        right_answer_wins(odds[i], np.delete(odds, i), np.array(0.0), n_voters)[-1] for i in range(len(odds))
    ]
    assert sum(chances) == pytest.approx(1.0, abs=1e-12)


def test_one_voter_decides_and_nobody_elects_nobody():
    got = right_answer_wins(np.array([0.3, 0.0]), np.array([[0.2], [0.4]]), np.array([0.5, 0.6]), 1)
    np.testing.assert_allclose(got, [[0.0, 0.3], [0.0, 0.0]])


def test_an_answer_that_nobody_else_gives_loses_to_any_pair():
    """With stray rivals only, the right answer wins if given twice, or by lot where nobody agrees."""
    p, m = 0.3, 9
    got = right_answer_wins(np.array(p), np.zeros(0), np.array(1 - p), m)
    none, one = (1 - p) ** m, m * p * (1 - p) ** (m - 1)
    assert got[m] == pytest.approx(1 - none - one + one / m, rel=1e-13)


def test_a_crowd_whose_factorial_overflows_is_refused():
    with pytest.raises(ValueError, match="n_voters = 151 is above 150"):
        right_answer_wins(np.array(0.5), np.array([0.5]), np.array(0.0), 151)
    assert right_answer_wins(np.array(0.6), np.array([0.4]), np.array(0.0), 150)[-1] > 0.99

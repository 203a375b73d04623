"""Estimators of accuracy at a compute level, held against enumeration in rationals, closed forms and the
published algorithm's Monte Carlo."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.theory import estimators
from market_sim.theory.estimators import (
    LEAST_THOUGHT,
    UNPARSED,
    average,
    best_of_n,
    compiled_votes,
    count_votes,
    first_sample,
    majority_voting,
    pass_at_k,
    reasoning_effort,
    tally,
    tokens_of_draws,
    votes_by_arrays,
    within,
)
from tests import oracles
from tests.monte_carlo import monte_carlo

COMPILED = pytest.param(
    lambda *arguments: compiled_votes()(*arguments),
    id="compiled",
    marks=pytest.mark.skipif(compiled_votes() is None, reason="numba is not installed"),
)
VOTES = [pytest.param(votes_by_arrays, id="arrays"), COMPILED]

TIGHT = 2e-14


@st.composite
def samples(draw, most=7):
    """(correct, answers, rewards) of a question with few samples, ties and nulls everywhere."""
    n = draw(st.integers(1, most))
    each = st.tuples(st.booleans(), st.integers(UNPARSED, 3), st.sampled_from([None, 0.0, 0.25, 0.5, 1.0]))
    return tuple(zip(*draw(st.lists(each, min_size=n, max_size=n)), strict=True))


def drawn_question(seed, n_questions=40, n_samples=24):
    """Samples with answers of which some are right, rewards that tie, tokens."""
    rng = np.random.default_rng(seed)
    right = rng.random((n_questions, n_samples)) < rng.beta(1, 1, (n_questions, 1))
    answers = np.where(right, 0, rng.zipf(1.6, right.shape).clip(1, 9))
    unparsed = rng.random(right.shape) < 0.1
    rewards = (right + rng.normal(size=right.shape)).round(1)
    return right & ~unparsed, np.where(unparsed, UNPARSED, answers), rewards


# --- Against enumeration ----------------------------------------------------------------------------


@pytest.mark.parametrize("votes", VOTES)
@given(question=samples())
def test_a_vote_is_right_as_often_as_among_all_subsets(votes, question):
    correct, answers, _ = question
    levels = range(1, len(correct) + 1)
    wanted = [float(oracles.vote_is_right(correct, answers, n)) for n in levels]
    found = count_votes(tally(np.array([correct]), np.array([answers])), levels, votes)
    np.testing.assert_allclose(found[0], wanted, rtol=0, atol=TIGHT)


@given(question=samples(most=5))
def test_giving_a_tie_to_the_answer_drawn_first_is_sharing_it(question):
    correct, answers, _ = question
    for n in range(1, len(correct) + 1):
        shared = oracles.vote_is_right(correct, answers, n)
        assert oracles.first_to_lead_is_right(correct, answers, n) == shared


@given(question=samples())
def test_the_best_of_n_is_right_as_often_as_among_all_subsets(question):
    correct, _, rewards = question
    levels = range(1, len(correct) + 1)
    wanted = [float(oracles.best_is_right(correct, rewards, n)) for n in levels]
    numbers = np.array([[math.nan if reward is None else reward for reward in rewards]])
    found = best_of_n(np.array([correct]), numbers, levels)
    np.testing.assert_allclose(found[0], wanted, rtol=0, atol=TIGHT)


@given(question=samples())
def test_one_of_k_passes_as_often_as_among_all_subsets(question):
    correct = question[0]
    levels = range(1, len(correct) + 1)
    wanted = [float(oracles.any_is_right(correct, k)) for k in levels]
    np.testing.assert_allclose(pass_at_k(np.array([correct]), levels)[0], wanted, rtol=0, atol=TIGHT)


def test_drawing_within_some_samples_has_the_probability_of_binomial_coefficients():
    table = within(128, [1, 5, 64, 128])
    for row, n in zip(table, [1, 5, 64, 128], strict=True):
        wanted = [float(Fraction(math.comb(r, n), math.comb(128, n))) for r in range(129)]
        np.testing.assert_allclose(row, wanted, rtol=1e-12)


# --- Against closed forms, where enumeration cannot go ----------------------------------------------


def two_answers(right, wrong, n):
    """Of two answers without unparsed samples the right one wins: a hypergeometric tail, ties half."""
    total = sum(
        Fraction(math.comb(right, t) * math.comb(wrong, n - t)) * (Fraction(1, 2) if 2 * t == n else 1)
        for t in range(n + 1)
        if 2 * t >= n
    )
    return float(total / math.comb(right + wrong, n))


@pytest.mark.parametrize("votes", VOTES)
@pytest.mark.parametrize(("right", "wrong"), [(64, 64), (50, 78), (1, 127), (127, 1), (600, 900)])
def test_the_vote_between_two_answers_is_a_hypergeometric_tail(votes, right, wrong):
    size = right + wrong
    levels = [n for n in (1, 2, 3, 8, 64, 127, 128, 700, 1499, 1500) if (n <= size and n <= 128) or n == size]
    answers = np.array([[0] * right + [1] * wrong])
    found = count_votes(tally(answers == 0, answers), levels, votes)[0]
    np.testing.assert_allclose(found, [two_answers(right, wrong, n) for n in levels], rtol=1e-11)


@pytest.mark.parametrize("votes", VOTES)
def test_two_samples_that_differ_share_the_win_whatever_the_number_of_answers(votes):
    """n = 2: right if both are, half if one is: the share of right samples (nothing unparsed)."""
    answers = np.array([np.arange(3000) // 3])
    correct = answers == 7
    found = count_votes(tally(correct, answers), [1, 2], votes)[0]
    np.testing.assert_allclose(found, [3 / 3000, 3 / 3000], rtol=1e-12)


@pytest.mark.parametrize("votes", VOTES)
def test_several_right_answers_win_as_often_as_each_alone_together(votes):
    rng = np.random.default_rng(12)
    answers = rng.integers(0, 40, (1, 60))
    right = {3, 4, 5, 17, 30}
    levels = [1, 2, 5, 20]

    def chance(of):
        return count_votes(tally(np.isin(answers, list(of)), answers), levels, votes)[0]

    np.testing.assert_allclose(chance(right), sum(chance({a}) for a in right), rtol=1e-12)
    np.testing.assert_allclose(chance(range(40)), 1.0, rtol=1e-12)


@pytest.mark.parametrize("votes", VOTES)
@pytest.mark.parametrize("n", [2, 7, 64])
def test_among_answers_given_once_each_drawn_one_wins_alike(votes, n):
    answers = np.arange(128)[None]
    found = count_votes(tally(answers == 5, answers), [n], votes)
    np.testing.assert_allclose(found, [[1 / 128]], rtol=1e-12)


def test_levels_far_apart_are_as_exact_as_alone():
    """In thousands of samples no single p serves levels 1 and 4,000; the levels are worked in groups."""
    rng = np.random.default_rng(3)
    answers = rng.integers(0, 3, (1, 5000))
    levels = [1, 2, 40, 1000, 2500, 4000]
    table = tally(answers == 0, answers)
    assert len(estimators._groups(5000, levels)) > 1
    votes = compiled_votes() or votes_by_arrays
    together = count_votes(table, levels[:3], votes)[0]
    alone = [count_votes(table, [n], votes)[0, 0] for n in levels[:3]]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert together[0] == pytest.approx((answers == 0).mean(), rel=1e-12)


@pytest.mark.skipif(compiled_votes() is None, reason="numba is not installed")
def test_both_ways_of_multiplying_polynomials_agree():
    correct, answers, _ = drawn_question(1, n_questions=30, n_samples=128)
    table, levels = tally(correct, answers), [1, 2, 3, 4, 8, 16, 32, 64, 100, 128]
    slow = count_votes(table, levels, votes_by_arrays)
    np.testing.assert_allclose(count_votes(table, levels, compiled_votes()), slow, rtol=1e-12, atol=1e-15)


def test_without_numba_votes_are_counted_by_arrays(monkeypatch):
    correct, answers, _ = drawn_question(2, n_questions=5)
    found = majority_voting(correct, answers, [3, 9])
    monkeypatch.setattr(estimators, "compiled_votes", lambda: None)
    np.testing.assert_allclose(majority_voting(correct, answers, [3, 9]), found, rtol=1e-12)


# --- What must hold ---------------------------------------------------------------------------------


@given(question=samples(most=12))
def test_one_sample_is_right_with_the_share_of_right_samples(question):
    correct, answers, rewards = question
    mean = np.mean(correct)
    good = {a for a, c in zip(answers, correct, strict=True) if c and a != UNPARSED}
    numbers = np.array([[math.nan if reward is None else reward for reward in rewards]])
    assert pass_at_k(np.array([correct]), [1])[0, 0] == pytest.approx(mean)
    assert best_of_n(np.array([correct]), numbers, [1])[0, 0] == pytest.approx(mean)
    vote = majority_voting(np.array([correct]), np.array([answers]), [1])[0, 0]
    assert vote == pytest.approx(np.mean([a in good for a in answers]))


@given(question=samples(most=12))
def test_no_choice_among_k_samples_is_right_more_often_than_one_of_them(question):
    correct, answers, rewards = (np.array([part]) for part in question)
    marked = correct | np.isin(answers, answers[correct & (answers != UNPARSED)])
    levels = range(1, correct.shape[1] + 1)
    one = pass_at_k(marked, levels)
    assert np.all(majority_voting(correct, answers, levels) <= one + TIGHT)
    assert np.all(best_of_n(correct, rewards.astype(float), levels) <= pass_at_k(correct, levels) + TIGHT)


def test_rewards_that_know_the_truth_make_best_of_n_pass_at_k():
    correct, _, _ = drawn_question(4)
    levels = [1, 2, 5, 24]
    np.testing.assert_allclose(best_of_n(correct, correct * 1.0, levels), pass_at_k(correct, levels))


def test_rewards_that_all_tie_or_are_all_null_choose_at_random():
    correct, _, _ = drawn_question(5)
    for same in (0.3, math.nan):
        found = best_of_n(correct, np.full(correct.shape, same), [1, 7, 24])
        np.testing.assert_allclose(found, np.repeat(correct.mean(axis=1)[:, None], 3, axis=1))


@pytest.mark.parametrize("least", [-1e300, -math.inf])
def test_a_null_reward_is_below_every_number_even_minus_infinity(least):
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        correct = np.array([[True, False, False]])[:, order]
        rewards = np.array([[least, math.nan, math.nan]])[:, order]
        np.testing.assert_allclose(best_of_n(correct, rewards, [1, 3]), [[1 / 3, 1.0]])


def test_an_answer_never_parsed_never_wins():
    answers = np.full((1, 6), UNPARSED)
    assert majority_voting(np.ones((1, 6), dtype=bool), answers, [1, 3, 6]).tolist() == [[0.0, 0.0, 0.0]]


def test_one_mark_makes_all_samples_with_that_answer_right():
    answers = np.array([[0, 0, 0, 1]])
    once, always = np.array([[True, False, False, False]]), answers == 0
    levels = [1, 2, 3, 4]
    np.testing.assert_array_equal(
        majority_voting(once, answers, levels), majority_voting(always, answers, levels)
    )


def test_only_which_answers_are_equal_counts_not_what_they_are_called():
    correct, answers, _ = drawn_question(6)
    names = np.array([500, 3, 44, 10**6, 0, 7, 8, 9, 1, 2])
    renamed = np.where(answers == UNPARSED, -77, names[answers])
    np.testing.assert_allclose(
        majority_voting(correct, renamed, [1, 5, 12]), majority_voting(correct, answers, [1, 5, 12])
    )


def test_the_order_of_samples_does_not_matter_but_to_the_first():
    correct, answers, rewards = drawn_question(7)
    turned = [part[:, ::-1] for part in (correct, answers, rewards)]
    levels = [1, 4, 8, 24]
    np.testing.assert_allclose(
        majority_voting(*turned[:2], levels), majority_voting(correct, answers, levels)
    )
    np.testing.assert_allclose(
        best_of_n(turned[0], turned[2], levels), best_of_n(correct, rewards, levels), atol=TIGHT
    )
    np.testing.assert_array_equal(first_sample(turned[0])[:, 0], correct[:, -1])


def test_levels_come_in_the_order_asked_for():
    correct, answers, rewards = drawn_question(8)
    for found in (
        lambda levels: majority_voting(correct, answers, levels),
        lambda levels: best_of_n(correct, rewards, levels),
        lambda levels: pass_at_k(correct, levels),
    ):
        np.testing.assert_allclose(found([8, 1, 4]), found([1, 4, 8])[:, [2, 0, 1]], rtol=1e-13)


def test_n_samples_take_n_times_the_mean_tokens():
    assert tokens_of_draws(np.array([[10, 20], [1, 2]]), [1, 4]).tolist() == [[15.0, 60.0], [1.5, 6.0]]


# --- Against the published algorithm ----------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 4, 8, 16])
def test_the_published_monte_carlo_scatters_round_the_exact_values(n):
    """Averages over 40 questions and 1,500 draws: within four standard errors."""
    correct, answers, rewards = drawn_question(9)
    n_draws = 1500
    vote, best = monte_carlo(correct, answers, rewards, n, n_draws, seed=n)
    for found, exact in (
        (vote, majority_voting(correct, answers, [n])[:, 0]),
        (best, best_of_n(correct, rewards, [n])[:, 0]),
    ):
        error = math.sqrt((exact * (1 - exact)).sum() / n_draws) / len(exact)
        assert abs(found.mean() - exact.mean()) < 4 * error + 1e-12
        assert np.abs(found - exact).max() < 0.08


# --- Reasoning effort -------------------------------------------------------------------------------


def effort(correct, tokens, thinking, n_bins, usable=None):
    shape = np.shape(thinking)
    usable = np.ones(shape, dtype=bool) if usable is None else np.array(usable)
    return reasoning_effort(np.array(correct), np.array(tokens), np.array(thinking), usable, n_bins)


def test_the_shortest_thoughts_are_in_the_first_bin_and_the_longest_in_the_last():
    found = effort([[1, 0, 1, 1]], [[40, 10, 20, 30]], [[4, 1, 2, 3]], 2)
    assert found.weight.tolist() == [[2.0, 2.0]]
    assert found.tokens.tolist() == [[30.0, 70.0]]
    assert found.correct.tolist() == [[1.0, 2.0]]
    accuracy, tokens = average(found)
    assert (accuracy.tolist(), tokens.tolist()) == ([0.5, 1.0], [15.0, 35.0])


@pytest.mark.parametrize("n_bins", [1, 2, 5, 7])
@pytest.mark.parametrize("n_samples", [1, 2, 6, 31, 32])
def test_bins_are_those_of_cutting_at_quantiles(n_bins, n_samples):
    """The published rule: cut points at the quantiles j / B of thinking tokens, all different here."""
    rng = np.random.default_rng(n_samples)
    thinking = rng.permutation(n_samples).astype(float)
    # Whole numbers as positions, so that a sample on a cut is on it exactly.
    cuts = [Fraction(j * (n_samples - 1), n_bins) for j in range(n_bins)]
    if n_samples == 1:
        cuts = [Fraction(j) for j in range(n_bins)]  # equal cuts are moved apart: everything is in the first
    place = [max(j for j, cut in enumerate(cuts) if rank >= cut) for rank in thinking]
    found = effort(np.ones((1, n_samples)), thinking[None], thinking[None], n_bins)
    assert found.weight[0].tolist() == np.bincount(place, minlength=n_bins).tolist()


def test_ties_in_thinking_go_by_the_order_of_samples():
    found = effort([[1, 0, 0, 1]], [[1, 2, 4, 8]], [[9, 9, 9, 9]], 2)
    assert found.tokens.tolist() == [[3.0, 12.0]]


def test_samples_that_are_not_usable_count_in_no_bin():
    usable = [[True, False, True, False], [False] * 4]
    found = effort(np.ones((2, 4)), np.full((2, 4), 5.0), [[1, 99, 2, 0]] * 2, 2, usable)
    assert found.weight.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert found.tokens.sum() == 10.0


def test_bins_pool_samples_not_questions():
    """A question with more usable samples weighs more, as in the published pooling."""
    usable = [[True] * 4, [True, False, False, False]]
    found = effort([[1, 1, 1, 1], [0, 0, 0, 0]], np.ones((2, 4)), np.ones((2, 4)), 1, usable)
    assert average(found)[0].tolist() == [0.8]


def test_a_bin_without_samples_has_no_accuracy():
    accuracy, tokens = average(effort([[1]], [[3]], [[3]], 2))
    assert accuracy[0] == 1.0
    assert np.isnan([accuracy[1], tokens[1]]).all()


def test_five_tokens_are_no_thought():
    assert LEAST_THOUGHT == 5

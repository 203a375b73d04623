"""The bootstrap over questions: paired draws, percentile intervals that cover as often as they say."""

import numpy as np
import pytest

from market_sim.theory import bootstrap
from market_sim.theory.bootstrap import draw_averages, percentile_interval
from market_sim.theory.estimators import Contributions


def plain(correct, tokens=None):
    """Contributions of weight 1."""
    correct = np.asarray(correct, dtype=float)
    tokens = 100.0 * np.ones_like(correct) if tokens is None else np.asarray(tokens, dtype=float)
    return Contributions(correct=correct, tokens=tokens, weight=np.ones_like(correct))


def test_draws_scatter_round_the_estimate_with_the_standard_error_of_a_mean():
    rng = np.random.default_rng(1)
    correct = rng.random((400, 1))
    accuracy, _ = draw_averages(plain(correct), 4000, seed=1)
    error = correct.std() / np.sqrt(400)
    assert accuracy.mean() == pytest.approx(correct.mean(), abs=4 * error / np.sqrt(4000))
    assert accuracy.std() == pytest.approx(error, rel=0.05)


def test_the_same_questions_are_drawn_for_every_curve():
    correct = np.random.default_rng(2).random((50, 1))
    both = plain(np.hstack([correct, 1 - correct]), np.hstack([correct, correct]))
    accuracy, tokens = draw_averages(both, 300, seed=3)
    np.testing.assert_allclose(accuracy.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(tokens[:, 0], accuracy[:, 0], rtol=1e-12)


def test_adding_a_curve_does_not_move_the_draws_of_another():
    correct = np.random.default_rng(4).random((30, 3))
    alone, _ = draw_averages(plain(correct[:, :1]), 100, seed=5)
    together, _ = draw_averages(plain(correct), 100, seed=5)
    np.testing.assert_allclose(together[:, :1], alone, rtol=1e-13)


def test_more_draws_begin_with_the_fewer():
    correct = np.random.default_rng(4).random((30, 2))
    few, _ = draw_averages(plain(correct), 10, seed=5)
    many, _ = draw_averages(plain(correct), 25, seed=5)
    np.testing.assert_array_equal(many[:10], few)


@pytest.mark.parametrize("block", [1, 70, 10**6])
def test_how_many_draws_are_made_at_once_does_not_matter(monkeypatch, block):
    correct = np.random.default_rng(6).random((31, 2))
    whole, _ = draw_averages(plain(correct), 47, seed=1)
    monkeypatch.setattr(bootstrap, "BLOCK", block)
    np.testing.assert_allclose(draw_averages(plain(correct), 47, seed=1)[0], whole, rtol=1e-13)


def test_questions_that_are_all_alike_leave_no_doubt():
    low, high = percentile_interval(draw_averages(plain(np.full((9, 2), 0.25)), 50, seed=1)[0])
    assert low.tolist() == high.tolist() == [0.25, 0.25]


def test_a_weighted_curve_is_averaged_by_weight_in_every_draw():
    """A ratio of sums: with weight w and sum 0.3 w every draw gives 0.3."""
    weight = np.random.default_rng(7).integers(1, 9, (20, 1)).astype(float)
    contributions = Contributions(correct=0.3 * weight, tokens=7 * weight, weight=weight)
    accuracy, tokens = draw_averages(contributions, 40, seed=1)
    np.testing.assert_allclose(accuracy, 0.3, rtol=1e-12)
    np.testing.assert_allclose(tokens, 7.0, rtol=1e-12)


def test_a_draw_with_nothing_to_average_is_undefined():
    weight = np.zeros((6, 1))
    weight[0] = 1.0
    accuracy, _ = draw_averages(Contributions(correct=weight, tokens=weight, weight=weight), 200, seed=1)
    assert 0 < np.isnan(accuracy).sum() < 200


def test_an_interval_leaves_out_the_same_share_at_each_end():
    low, high = percentile_interval(np.arange(101.0)[:, None], 0.9)
    assert (low[0], high[0]) == pytest.approx((5.0, 95.0))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """400 benchmarks of 200 questions with known mean difficulty: 95 % intervals, within 3.5 errors."""
    rng = np.random.default_rng(8)
    difficulty = rng.beta(2, 1, (200, 400))  # mean 2/3
    covered = []
    for column in range(400):
        low, high = percentile_interval(
            draw_averages(plain(difficulty[:, column : column + 1]), 300, seed=column)[0]
        )
        covered.append(low[0] <= 2 / 3 <= high[0])
    assert np.mean(covered) == pytest.approx(0.95, abs=3.5 * np.sqrt(0.95 * 0.05 / 400))

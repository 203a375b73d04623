"""Paired differences and Holm's correction, against cases worked out by hand and against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from market_sim.theory.inference import holm, mean_difference, share_interval

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("p_values", "by_hand"),
    [
        # 4 x .005, 3 x .01, 2 x .03 = .06, 1 x .04 lifted to .06
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # 3 x .02 = .06, 2 x .02 = .04 lifted to .06, 1 x .9
        ([0.02, 0.02, 0.9], [0.06, 0.06, 0.9]),
        # 2 x .6 is cut off at 1, and what comes after it is not below it
        ([0.7, 0.6], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm_steps_down_as_worked_out_by_hand(p_values, by_hand):
    assert holm(p_values) == pytest.approx(by_hand)


def test_a_comparison_that_has_no_p_value_does_not_count():
    assert holm([0.02, np.nan, 0.03]) == pytest.approx([0.04, np.nan, 0.04], nan_ok=True)


@given(P_VALUES)
def test_holm_lies_between_the_raw_values_and_bonferroni_and_keeps_their_order(p_values):
    raw, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(len(raw) * raw, 1.0) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()


@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_of_comparisons(p_values, random):
    order = list(range(len(p_values)))
    random.shuffle(order)
    assert holm(np.array(p_values)[order]) == pytest.approx(holm(p_values)[order])


@given(st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=2, max_size=9))
def test_the_paired_test_is_student_s(differences):
    sample = np.array(differences)
    found = mean_difference(sample)
    assert found.mean == pytest.approx(sample.mean())
    if sample.std() > 1e-9 * max(1.0, abs(sample).max()):
        expected = stats.ttest_1samp(sample, 0.0)
        low, high = expected.confidence_interval(0.95)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-12)
        assert found.half_width == pytest.approx((high - low) / 2, rel=1e-9)


def test_pairs_that_all_agree_leave_nothing_to_chance():
    assert (mean_difference([2.0, 2.0]).half_width, mean_difference([2.0, 2.0]).p_value) == (0.0, 0.0)
    assert mean_difference([0.0, 0.0]).p_value == 1.0


def test_one_pair_says_nothing_about_chance():
    found = mean_difference([0.5])
    assert (found.n, found.mean) == (1, 0.5)
    assert np.isnan([found.half_width, found.p_value]).all()


def test_a_p_value_outside_of_0_to_1_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.5])


def test_several_comparisons_are_corrected_together():
    raw = [mean_difference(sample).p_value for sample in ([1.0, 1.1, 0.9], [0.1, -0.1, 0.05])]
    assert holm(raw) == pytest.approx([2 * raw[0], raw[1]])


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize(("hits", "of"), [(0, 1), (1, 1), (0, 30), (7, 30), (29, 30), (30, 30), (950, 1000)])
def test_the_interval_of_a_share_is_that_of_scipy(hits, of, confidence):
    reference = stats.binomtest(hits, of).proportion_ci(confidence_level=confidence, method="exact")
    assert share_interval(hits, of, confidence=confidence) == pytest.approx(reference, abs=1e-12)


@pytest.mark.parametrize(("hits", "of"), [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_share_has_no_interval(hits, of):
    with pytest.raises(ValueError, match="is not a share"):
        share_interval(hits, of)

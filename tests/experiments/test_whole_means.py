"""Means over replicates that all have the same points."""

import numpy as np
import pytest

from market_sim.experiments.whole_means import left_out_note, whole_mean, whole_sample
from market_sim.theory.inference import mean_difference


def cells(values: list[list[float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, replicates and values of a table with a row per point."""
    table = np.array(values)
    points, replicates = np.indices(table.shape)
    return points.ravel(), replicates.ravel(), table.ravel()


def test_a_point_that_a_replicate_lacks_is_in_no_mean():
    values = np.arange(40.0).reshape(10, 4)
    values[3, 1] = values[7, 2] = np.nan
    sample, left_out, of = whole_sample(*cells(values))
    assert sample == pytest.approx(np.delete(values, [3, 7], axis=0).mean(axis=0))
    assert (left_out, of) == (8, 40)


def test_a_replicate_that_failed_goes_rather_than_every_point():
    values = np.arange(15.0).reshape(3, 5)
    values[:, 4] = np.nan
    values[0, 4] = 1.0
    sample, left_out, of = whole_sample(*cells(values))
    assert sample == pytest.approx(values[:, :4].mean(axis=0))
    assert (left_out, of) == (3, 15)
    alone = [[1.0, 2.0, np.nan, 4.0, 5.0]]
    assert whole_sample(*cells(alone))[0].tolist() == [1.0, 2.0, 4.0, 5.0]


def test_what_is_undefined_everywhere_leaves_the_rest_whole():
    values = [[1.0, 2.0, 3.0], [np.nan] * 3, [3.0, 4.0, np.inf]]
    assert whole_sample(*cells(values))[0].tolist() == [2.0, 3.0]  # four cells are more than three
    latin = [[1.0, np.nan], [np.nan, 2.0]]
    assert whole_sample(*cells(latin))[0].tolist() == [2.0]


def test_rows_that_are_missing_count_as_left_out_and_order_does_not_matter():
    points, replicates, values = cells([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    some = np.array([4, 0, 3, 1, 2])
    found = whole_mean(points[some], replicates[some], values[some])
    assert (found.mean, found.n, found.left_out, found.of) == (2.5, 2, 2, 6)
    assert found.half_width == mean_difference([2.0, 3.0]).half_width


def test_nothing_defined_is_a_mean_of_nothing():
    for values in ([[np.nan, np.nan]], np.empty((0, 0))):
        found = whole_mean(*cells(values))
        assert found.n == 0
        assert np.isnan([found.mean, found.half_width, found.p_value]).all()


def test_the_note_is_about_the_mean_that_most_was_left_out_of():
    whole, holed = whole_mean(*cells([[1.0, 2.0]])), whole_mean(*cells([[1.0, np.nan], [1.0, 2.0]]))
    assert left_out_note([whole, mean_difference([1.0, 2.0])]) == []
    (note,) = left_out_note([whole, holed])
    assert "up to 2 of 4 runs are left out" in note

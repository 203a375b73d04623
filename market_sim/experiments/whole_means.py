"""Means over replicates whose runs failed here and there, or in which a measure is undefined somewhere.

A replicate counts once, with its mean over points.  If one lacks a point that another has, the two are means
over different settings, and their difference says something about settings, not about chance.  So points or
replicates are left out until every replicate has every point.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from market_sim.theory.arrays import Array
from market_sim.theory.inference import MeanDifference, mean_difference


@dataclass(frozen=True, kw_only=True)
class WholeMean(MeanDifference):
    """A mean over replicates that all have the same points; n is 0 and the rest NaN where nothing is defined.

    of        cells there would be: points times replicates
    left_out  of them, those that are not in the mean
    """

    of: int
    left_out: int


def whole_sample(points: ArrayLike, replicates: ArrayLike, values: ArrayLike) -> tuple[Array, int, int]:
    """The mean of each replicate over the same points (n,), and how many cells are left out of how many.

    points, replicates  (M,)  of each value; values of the same cell are averaged
    values              (M,)  NaN where undefined

    Whichever lacks the greatest share of its cells, points or replicates, goes first; points where both lack
    the same.

    >>> whole_sample([0, 0, 1, 1], [0, 1, 0, 1], [1.0, 3.0, 5.0, float("nan")])
    (array([1., 3.]), 2, 4)
    """
    row = np.unique(np.asarray(points), return_inverse=True)[1]
    column = np.unique(np.asarray(replicates), return_inverse=True)[1]
    shape = (int(row.max(initial=-1)) + 1, int(column.max(initial=-1)) + 1)
    totals, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(totals, (row, column), np.asarray(values, dtype=float))
    np.add.at(counts, (row, column), 1.0)
    cells = np.divide(totals, counts, out=np.full(shape, np.nan), where=counts > 0)
    known = np.isfinite(cells)
    if not known.any():
        return np.empty(0), known.size, known.size
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    while (lacks := ~known[np.ix_(rows, columns)]).any():
        of_row, of_column = lacks.mean(axis=1), lacks.mean(axis=0)
        if of_row.max() >= of_column.max():
            rows = _without_worst(rows, of_row)
        else:
            columns = _without_worst(columns, of_column)
    return cells[np.ix_(rows, columns)].mean(axis=0), known.size - len(rows) * len(columns), known.size


def _without_worst(places: Array, lacking: Array) -> Array:
    """Those that lack less than the worst; where all are the worst, all but the first."""
    kept = places[lacking < lacking.max()]
    return kept if len(kept) else places[1:]


def whole_mean(points: ArrayLike, replicates: ArrayLike, values: ArrayLike) -> WholeMean:
    """The mean over replicates with its interval; as in `whole_sample`."""
    sample, left_out, of = whole_sample(points, replicates, values)
    if not len(sample):
        nothing = float("nan")
        return WholeMean(n=0, mean=nothing, half_width=nothing, p_value=nothing, of=of, left_out=left_out)
    return WholeMean(**vars(mean_difference(sample)), of=of, left_out=left_out)


def left_out_note(means: Iterable[MeanDifference]) -> list[str]:
    """A sentence about the mean that most was left out of; none where nothing was left out of any."""
    some = [mean for mean in means if isinstance(mean, WholeMean) and mean.left_out]
    if not some:
        return []
    worst = max(some, key=lambda mean: mean.left_out / mean.of)
    return [
        f"Runs failed or measures are undefined: up to {worst.left_out:,} of {worst.of:,} runs are left out "
        "of a mean, so that all its replicates are of the same settings."
    ]

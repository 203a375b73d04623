"""What differences over seeds say: paired means with intervals, and several comparisons at once.

Regimes meet the same users and shocks seed by seed (common random numbers), so what counts is the sample
of differences d (n,), one per seed: its mean, Student's interval, and the p-value of "no difference".
Who makes m such comparisons finds one by chance sooner; Holm (1979) corrects for that whatever the
comparisons have to do with each other, and never rejects less than Bonferroni does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, stdtr, stdtrit

from market_sim.theory.arrays import Array


@dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """The mean of paired differences.

    n           pairs
    mean        in the unit of the differences
    half_width  of the interval for it (Student's t); NaN for fewer than two pairs
    p_value     of no difference, two-sided; NaN for fewer than two pairs.  Where all pairs agree to the
                last digit nothing is random: 1 if they are all zero, else 0
    """

    n: int
    mean: float
    half_width: float
    p_value: float


def mean_difference(differences: ArrayLike, *, confidence: float = 0.95) -> MeanDifference:
    """The mean of a sample of paired differences (n,), n >= 1, with interval and paired t-test.

    >>> found = mean_difference([1.0, 2.0, 3.0])
    >>> round(found.mean, 6), round(found.half_width, 4), round(found.p_value, 4)
    (2.0, 2.4841, 0.0742)
    """
    sample = np.asarray(differences, dtype=float)
    n, mean = len(sample), float(sample.mean())
    if n < 2:
        return MeanDifference(n=n, mean=mean, half_width=float("nan"), p_value=float("nan"))
    error = float(sample.std(ddof=1)) / n**0.5
    if error <= 1e-15 * abs(mean):
        return MeanDifference(n=n, mean=mean, half_width=0.0, p_value=float(mean == 0))
    return MeanDifference(
        n=n,
        mean=mean,
        half_width=float(stdtrit(n - 1, 0.5 + confidence / 2.0)) * error,
        p_value=2.0 * float(stdtr(n - 1, -abs(mean) / error)),
    )


def holm(p_values: ArrayLike) -> Array:
    """Holm's adjusted p-values (m,), in the order given; NaN stays NaN and does not count.

    The smallest of m p-values is multiplied by m, the next by m - 1, and so on; none may be below the one
    before it or above 1.  Rejecting where the adjusted value is at most a keeps the probability of any
    false rejection at most a (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).

    >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    if not ((p >= 0) & (p <= 1) | np.isnan(p)).all():
        raise ValueError("p-values must lie between 0 and 1")
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    stepped = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def share_interval(hits: int, of: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a probability of what came true `hits` times of `of`.

    It holds the probability at least as often as it says (Clopper & Pearson 1934, Biometrika 26, 404-413).

    >>> tuple(round(end, 4) for end in share_interval(9, 10))
    (0.555, 0.9975)
    """
    if not 0 <= hits <= of or of < 1:
        raise ValueError(f"{hits} of {of} is not a share")
    tail = (1.0 - confidence) / 2.0
    low = float(betaincinv(hits, of - hits + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, of - hits, 1.0 - tail)) if hits < of else 1.0
    return low, high

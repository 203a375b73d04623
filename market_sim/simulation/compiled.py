"""Hearing, compiled: what numba makes of it where the extra `fast` is installed.

The same sums in the same order as `network.hear` takes them with SciPy, so the answers are the same to the
last bit; only faster: one pass serves all providers, and what is believed of them by one user lies together.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from market_sim.theory.arrays import Array

Hearing = Callable[[int, int, Array, Array, Array, Array, Array], None]
"""(first, last, indptr, indices, weights, estimates, heard): put what the users from first to last - 1 hear
of every provider into heard, (N, U), estimates being (U, N).  Of one weight only, all count equally."""


@cache
def compiled_hearing() -> Hearing | None:
    """The compiled function; None where numba is not installed."""
    try:
        from numba import njit
    except ImportError:
        return None
    compile_: Any = njit(nogil=True)  # other threads go on meanwhile

    def hearing(
        first: int,
        last: int,
        indptr: Array,
        indices: Array,
        weights: Array,
        estimates: Array,
        heard: Array,
    ) -> None:
        n_providers = estimates.shape[1]
        sums = np.zeros(n_providers)
        for user in range(first, last):
            sums[:] = 0.0
            total = 0.0
            for link in range(indptr[user], indptr[user + 1]):
                weight = float(weights[link]) if len(weights) > 1 else 1.0
                total += weight
                believed = estimates[indices[link]]
                for i in range(n_providers):
                    sums[i] += weight * float(believed[i])
            for i in range(n_providers):
                heard[i, user] = sums[i] / total if total > 0 else estimates[user, i]

    return compile_(hearing)

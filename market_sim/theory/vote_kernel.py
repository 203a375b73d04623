"""Counting votes in machine code: `votes_by_arrays` of theory.estimators, compiled by numba (extra `fast`).

Imported only where numba is installed.  The same sums in another order, so equal to rounding.
"""

import numba
import numpy as np

from market_sim.theory.arrays import Array
from market_sim.theory.estimators import Polynomials, Tally


def votes_compiled(table: Tally, polynomials: Polynomials) -> Array:
    """Probability that n are drawn and the vote is right, (Q, K)."""
    return _votes(
        table.starts.astype(np.int64),
        table.counts.astype(np.int64),
        table.right.astype(np.bool_),
        table.unparsed.astype(np.int64),
        polynomials.levels.astype(np.int64),
        polynomials.binomial,
        polynomials.nodes,
        polynomials.weights,
        polynomials.rule.astype(np.int64),
        polynomials.begins.astype(np.int64),
    )


@numba.njit(cache=True)
def _votes(
    starts: Array,
    counts: Array,
    right: Array,
    unparsed: Array,
    levels: Array,
    binomial: Array,
    nodes: Array,
    weights: Array,
    rule: Array,
    begins: Array,
) -> Array:
    n_levels, degree = len(levels), binomial.shape[1] - 1
    n_samples = binomial.shape[0] - 1
    found = np.zeros((len(unparsed), n_levels))
    product, grown = np.empty(degree + 1), np.empty(degree + 1)
    factor = np.empty(degree + 1)
    for q in range(len(unparsed)):
        for a in range(starts[q], starts[q + 1]):
            if not right[a]:
                continue
            # Right answers given equally often win equally often: the first of them stands for all.
            own, alike, first = counts[a], 0, a
            for b in range(starts[q], starts[q + 1]):
                if right[b] and counts[b] == own:
                    alike += 1
                    first = min(first, b)
            if first < a:
                continue
            for t in range(1, min(own, degree) + 1):
                # Rivals with fewer than t samples are as free as the unparsed: one factor (1 + x)^free.
                n_held, held = 0, 0
                for b in range(starts[q], starts[q + 1]):
                    if counts[b] < t:
                        break  # from the commonest on
                    if b != a:
                        n_held += 1
                        held += counts[b]
                free = n_samples - own - held
                ties = min(n_held, degree // t - 1)
                r = rule[ties]
                room = degree - t
                for node in range(begins[r], begins[r + 1]):
                    reach = min(free, room)
                    for i in range(reach + 1):
                        product[i] = binomial[free, i]
                    for b in range(starts[q], starts[q + 1]):
                        if counts[b] < t:
                            break
                        if b == a:
                            continue
                        for j in range(t):
                            factor[j] = binomial[counts[b], j]
                        factor[t] = nodes[node] * binomial[counts[b], t]
                        further = min(reach + t, room)
                        for i in range(further + 1):
                            total = 0.0
                            for j in range(max(0, i - reach), min(t, i) + 1):
                                total += factor[j] * product[i - j]
                            grown[i] = total
                        reach = further
                        product, grown = grown, product
                    scale = alike * weights[node] * binomial[own, t]
                    for k in range(n_levels):
                        rest = levels[k] - t
                        if 0 <= rest <= reach:
                            found[q, k] += scale * product[rest]
    return found

"""Which settings a sweep visits: grids, and samples over ranges (SALib, where it is installed).

A design is a table of fractions (P, D): where each of P points lies between the two ends of each of D
ranges, 0 the lower and 1 the upper.
"""

from typing import Any, Literal, get_args

import numpy as np

from market_sim.errors import InputError
from market_sim.theory.arrays import Array

Kind = Literal["grid", "latin_hypercube", "sobol", "morris", "list"]
Scale = Literal["linear", "log"]
SAMPLED = ("latin_hypercube", "sobol", "morris")
KINDS = get_args(Kind)


def stretched(fractions: Array, low: float, high: float, scale: Scale) -> Array:
    """Fractions (P,) of the way from `low` to `high`, both ends exactly; on a log scale both are above 0.

    >>> stretched(np.array([0.0, 0.5, 1.0]), 1.0, 100.0, "log").round(9).tolist()
    [1.0, 10.0, 100.0]
    """
    if scale == "log":
        values = np.exp(np.log(low) * (1.0 - fractions) + np.log(high) * fractions)
    else:
        values = low * (1.0 - fractions) + high * fractions
    return np.where(fractions == 0, low, np.where(fractions == 1, high, values))


def rows_of(kind: str, dimensions: int, points: int, order: int) -> int:
    """P, the rows of a sampled design over D ranges.

    latin_hypercube  points
    sobol            points (D + 2) for indices of first and total order, points (2 D + 2) with order = 2
    morris           points (D + 1)
    """
    each = {"latin_hypercube": 1, "sobol": order * dimensions + 2, "morris": dimensions + 1}
    return points * each[kind]


def sampled(kind: str, dimensions: int, points: int, seed: int, *, order: int, levels: int) -> Array:
    """The fractions of a design over ranges, (P, D), with P = `rows_of`.

    latin_hypercube  McKay, Beckman & Conover (1979)
    sobol            Saltelli's (2010) design for Sobol indices on `points` base samples, a power of two
    morris           `points` trajectories on a grid of `levels` (Morris 1991)
    Rows stand in the order that SALib's analyses expect.  Raises InputError where SALib is not installed.
    """
    try:
        from SALib.sample import latin, morris, sobol
    except ModuleNotFoundError:
        raise InputError(
            f"design.kind = {kind!r} needs the package SALib: pip install 'market-sim[designs]'"
        ) from None
    problem: dict[str, Any] = {
        "num_vars": dimensions,
        "names": [str(d) for d in range(dimensions)],
        "bounds": [[0.0, 1.0]] * dimensions,
    }
    source = int(np.random.SeedSequence(seed).generate_state(1)[0])
    if kind == "latin_hypercube":
        return latin.sample(problem, points, seed=source)
    if kind == "morris":
        return morris.sample(problem, points, num_levels=levels, seed=source)
    return sobol.sample(problem, points, calc_second_order=order == 2, seed=source)


def crossed(counts: list[int]) -> list[Array]:
    """Every combination of places in lists of these lengths, the first list slowest: one column per list.

    >>> [column.tolist() for column in crossed([2, 3])]
    [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]
    """
    total = int(np.prod(counts, dtype=np.int64))
    columns, each = [], total
    for count in counts:
        each //= count
        columns.append(np.arange(total) // each % count)
    return columns

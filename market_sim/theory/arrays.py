"""Small tools for arrays of logarithms, shared by the solvers."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def log_sum(logs: Array, axis: int = -1, extra: Array | float = -np.inf) -> Array:
    """ln(exp(extra) + sum exp(logs)) along `axis`; -inf stands for zero."""
    extra = np.asarray(extra, dtype=float)
    top = np.maximum(logs.max(axis=axis), extra)
    top = np.where(np.isfinite(top), top, 0.0)
    total = np.exp(logs - np.expand_dims(top, axis)).sum(axis=axis) + np.exp(extra - top)
    return top + _log(total)


def log_sum_of_others(logs: Array, extra: Array) -> Array:
    """ln(exp(extra) + sum_{j != i} exp(logs_j)) for every i of the last axis.

    logs  (..., N); extra (...); returns (..., N).  Sums from the left and from the right are joined, so
    nothing is ever subtracted: exact to rounding even where one term outweighs all the others.
    """
    shape = (*logs.shape[:-1], 1)
    left = np.concatenate([np.broadcast_to(extra[..., None], shape), logs[..., :-1]], axis=-1)
    right = np.concatenate([np.full(shape, -np.inf), logs[..., :0:-1]], axis=-1)
    return np.logaddexp(
        np.logaddexp.accumulate(left, axis=-1),
        np.logaddexp.accumulate(right, axis=-1)[..., ::-1],
    )


def log_difference(larger: Array, smaller: Array) -> Array:
    """ln(exp(larger) - exp(smaller)) where larger >= smaller; -inf where they are equal."""
    return larger + _log(-np.expm1(np.minimum(smaller - larger, 0.0)))


def at_levels(array: Array, levels: Array) -> Array:
    """array[..., i, levels[..., i]]: one entry per provider, (..., N) from (..., N, K)."""
    array, levels = np.asarray(array), np.asarray(levels)
    if array.ndim == 2 and levels.ndim == 1:  # one market, as in every round of play
        return array[_places(len(levels)), levels]
    batch = np.broadcast_shapes(array.shape[:-1], levels.shape)
    return np.take_along_axis(
        np.broadcast_to(array, (*batch, array.shape[-1])),
        np.broadcast_to(levels, batch)[..., None],
        axis=-1,
    )[..., 0]


@lru_cache(maxsize=64)
def _places(n: int) -> Array:
    places = np.arange(n)
    places.setflags(write=False)
    return places


def _log(x: Array) -> Array:
    """ln x, with ln 0 = -inf said on purpose rather than as a floating-point error."""
    return np.log(x, out=np.full(np.shape(x), -np.inf), where=np.asarray(x) > 0)

"""The paper's dynamics: providers take turns, each moving to the nearest strictly better level.

In each round every provider, in random order, compares its expected profit at each of its levels with
the others' standing levels and moves to the *nearest* level that is strictly better (fewest steps; the
lower one of two equally near).  The dynamics stop after a round without a move.  Because ln U has an
exact potential every such path is finite and ends in a pure equilibrium (docs/theory.md 2.1, 2.7).
Test-Time Compute Games (arXiv:2601.21839) calls this best response; it is a better reply.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from market_sim.theory.arrays import Array, at_levels, log_sum
from market_sim.theory.game import Game

RELATIVE_TOLERANCE = 1e-8
"""A level is strictly better when it earns more than (1 + RELATIVE_TOLERANCE) times as much."""

MAX_ROUNDS = 1000


@dataclass(frozen=True, kw_only=True)
class Path:
    """Every step of the dynamics, for a batch of games that share one order of moves.

    levels   (S + 1, ..., N)  index of each provider's level at the start and after each step
    mover    (S,)             whose turn it was
    n_steps  (...)            steps until the end of the first round without a move; rows after it repeat
    settled  (...)            whether such a round came within the limit
    """

    levels: Array
    mover: Array
    n_steps: Array
    settled: Array

    @property
    def end(self) -> Array:
        """The profile in which each game's path ends, (..., N)."""
        return self.levels[-1]


def lowest_levels(game: Game) -> Array:
    """Everybody's lowest compute level, (..., N): levels are ordered by compute and padded at the end."""
    return np.zeros((*game.batch_shape, game.n_providers), dtype=np.int64)


def nearest_better(better: Array, current: Array) -> Array:
    """The nearest level that is better than the current one, the lower of two; current if none is.

    better (..., K) bool, current (...) int; returns (...) int.

    >>> nearest_better(np.array([True, False, False, True, True]), np.array(2)).item()
    3
    """
    distance = np.abs(np.arange(better.shape[-1]) - current[..., None])
    nearest = np.where(better, distance, better.shape[-1]).argmin(axis=-1)
    return np.where(better.any(axis=-1), nearest, current)


def better_reply_path(
    game: Game,
    orders: Iterable[Array],
    start: Array | None = None,
    max_rounds: int = MAX_ROUNDS,
    tolerance: float = RELATIVE_TOLERANCE,
) -> Path:
    """Play the paper's dynamics from `start` (default: everybody at the lowest level).

    start      (..., N) index of each provider's level, or (N,) for all games of the batch
    orders     permutations of the providers, one per round; the same for all games of the batch, so that
               a game's path does not depend on what is solved beside it
    tolerance  relative, on profit
    """
    start = lowest_levels(game) if start is None else start
    levels = np.array(np.broadcast_to(start, (*game.batch_shape, game.n_providers)))
    offers = at_levels(game.log_offer, levels)
    weight, gain = game.log_margin + game.log_offer, np.log1p(tolerance)
    history, movers = [levels.copy()], []
    n_steps = np.full(game.batch_shape, -1)
    for _, order in zip(range(max_rounds), orders, strict=False):
        moved = np.zeros(game.batch_shape, dtype=bool)
        for i in map(int, order):
            offers[..., i] = -np.inf
            rivals = log_sum(offers, -1, game.log_outside)
            own = weight[..., i, :] - np.logaddexp(rivals[..., None], game.log_offer[..., i, :])
            standing = levels[..., i]
            profit = np.take_along_axis(own, standing[..., None], axis=-1)
            choice = nearest_better(own > profit + gain, standing)
            moved |= choice != standing
            levels[..., i] = choice
            offers[..., i] = np.take_along_axis(game.log_offer[..., i, :], choice[..., None], axis=-1)[..., 0]
            history.append(levels.copy())
            movers.append(i)
        n_steps = np.where((n_steps < 0) & ~moved, len(movers), n_steps)
        if not moved.any():
            break
    settled = n_steps >= 0
    return Path(
        levels=np.stack(history),
        mover=np.array(movers, dtype=np.int64),
        n_steps=np.where(settled, n_steps, len(movers)),
        settled=settled,
    )

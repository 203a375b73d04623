"""Rules that learn, after each round, what each own action would have earned against the others'."""

from typing import NamedTuple

import numpy as np

from market_sim.theory.arrays import Array
from market_sim.theory.rule import Feedback, Functions, View, draw, keep_or_first


class Totals(NamedTuple):
    """Sums over the rounds so far: rounds (P,), and a total per own action (P, A)."""

    rounds: Array
    total: Array


def _empty(n_learners: int, n_actions: int, n_providers: int) -> Totals:
    return Totals(np.zeros(n_learners), np.zeros((n_learners, n_actions)))


def hedge(rate: float) -> Functions:
    """Weights exponential in what each action would have earned in all, at rate * sqrt(8 ln A / t).

    For payoffs in [0, 1] and rate = 1 the regret after t rounds is at most
    2 sqrt(t ln A / 2) + sqrt(ln A / 8) (Cesa-Bianchi & Lugosi 2006, theorem 2.3).

    >>> seen = Totals(np.array([9.0]), np.array([[2.0, 7.0]]))  # after nine rounds the second is ahead
    >>> hedge_weights(seen, np.ones((1, 2), bool), rate=1.0).round(3).tolist()
    [[0.024, 1.0]]
    """

    def act(memory: Totals, view: View, uniforms: Array) -> Array:
        return draw(hedge_weights(memory, view.allowed, rate), uniforms[:, 0])

    def update(memory: Totals, feedback: Feedback) -> Totals:
        return Totals(memory.rounds + 1, memory.total + _scaled(feedback))

    return Functions(act=act, start=_empty, update=update, draws=1)


def hedge_weights(memory: Totals, allowed: Array, rate: float) -> Array:
    """The weights of the actions, the largest being one, (P, A)."""
    count = allowed.sum(axis=1)
    eta = rate * np.sqrt(8.0 * np.log(count) / (memory.rounds + 1.0))
    height = np.where(allowed, memory.total, -np.inf)
    below = np.where(allowed, memory.total - height.max(axis=1, keepdims=True), 0.0)
    return np.where(allowed, np.exp(eta[:, None] * below), 0.0)


def regret_matching() -> Functions:
    """Actions with probability proportional to the regret of not having played them all along, if above
    zero; the current one where none is (unconditional: Hart & Mas-Colell 2000).

    >>> view = View(current=np.array([2]), allowed=np.ones((1, 3), bool), steps=np.arange(3)[:, None])
    >>> regretted = Totals(np.array([5.0]), np.array([[-1.0, 0.5, 1.5]]))
    >>> [regret_matching().act(regretted, view, np.array([[u]])).item() for u in (0.2, 0.3)]
    [1, 2]
    """

    def act(memory: Totals, view: View, uniforms: Array) -> Array:
        regret = np.where(view.allowed, np.maximum(memory.total, 0.0), 0.0)
        regrets = regret.sum(axis=1) > 0
        return np.where(regrets, draw(regret, uniforms[:, 0]), view.current)

    def update(memory: Totals, feedback: Feedback) -> Totals:
        payoffs = _scaled(feedback)
        earned = payoffs[np.arange(len(payoffs)), feedback.action]
        return Totals(memory.rounds + 1, memory.total + payoffs - earned[:, None])

    return Functions(act=act, start=_empty, update=update, draws=1)


def fictitious_play(inertia: float) -> Functions:
    """The best action against everything the others have played together so far, on log-profit; with
    probability `inertia` the current one (joint strategy fictitious play: Marden, Arslan & Shamma 2009).

    The others' play is taken as one joint action: what each own action would have earned against it, on
    average, needs no beliefs of one rival apart from another.

    >>> view = View(current=np.array([0]), allowed=np.ones((1, 2), bool), steps=np.arange(2)[:, None])
    >>> seen = Totals(np.array([4.0]), np.array([[-8.0, -6.0]]))
    >>> [fictitious_play(0.5).act(seen, view, np.array([[u]])).item() for u in (0.4, 0.6)]
    [0, 1]
    """

    def act(memory: Totals, view: View, uniforms: Array) -> Array:
        mean = memory.total / np.maximum(memory.rounds, 1.0)[:, None]
        mean = np.where(view.allowed, mean, -np.inf)
        best = mean.max(axis=1, keepdims=True)
        moved = keep_or_first(mean >= best - 1e-12 * np.abs(best), view.current)
        return np.where((memory.rounds == 0) | (uniforms[:, 0] < inertia), view.current, moved)

    def update(memory: Totals, feedback: Feedback) -> Totals:
        if feedback.payoffs is None or feedback.payoffs.logs is None:
            raise ValueError("fictitious play was given no log-profits")
        logs = np.where(feedback.allowed, feedback.payoffs.logs, 0.0)
        # A round in which nothing could be earned, whatever it did, says nothing of its actions.
        hopeful = np.isfinite(np.where(feedback.allowed, logs, -np.inf).max(axis=1))
        return Totals(memory.rounds + hopeful, memory.total + np.where(hopeful[:, None], logs, 0.0))

    return Functions(act=act, start=_empty, update=update, draws=1)


def _scaled(feedback: Feedback) -> Array:
    if feedback.payoffs is None:
        raise ValueError("a full-information rule was given no payoffs")
    return np.where(feedback.allowed, feedback.payoffs.scaled, 0.0)

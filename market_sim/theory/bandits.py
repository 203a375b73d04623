"""Rules that learn from what they earned, and from nothing else; imitation also from what rivals did."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from market_sim.errors import InputError
from market_sim.theory.arrays import Array
from market_sim.theory.rule import Feedback, Functions, Information, View, draw, keep_or_first


class Estimates(NamedTuple):
    """What each own action has earned so far: rounds played (P, A), and a mean (P, A)."""

    played: Array
    mean: Array


def _unknown(n_learners: int, n_actions: int, n_providers: int) -> Estimates:
    return Estimates(np.zeros((n_learners, n_actions)), np.zeros((n_learners, n_actions)))


def epsilon_greedy(exploration: float, step: float) -> Functions:
    """With probability `exploration` any action, else the one of largest estimate.

    Estimates move by `step` towards each profit, or by one over the times played where that is more
    (Sutton & Barto 2018, chapter 2).

    >>> view = View(current=np.array([0]), allowed=np.ones((1, 3), bool), steps=np.arange(3)[:, None])
    >>> known = Estimates(np.ones((1, 3)), np.array([[0.1, 0.3, 0.2]]))
    >>> [epsilon_greedy(0.1, 0.1).act(known, view, np.array([[u, 0.9]])).item() for u in (0.05, 0.5)]
    [2, 1]
    """

    def act(memory: Estimates, view: View, uniforms: Array) -> Array:
        explored = draw(view.allowed * 1.0, uniforms[:, 1])
        mean = np.where(view.allowed, memory.mean, -np.inf)
        greedy = keep_or_first(mean == mean.max(axis=1, keepdims=True), view.current)
        return np.where(uniforms[:, 0] < exploration, explored, greedy)

    def update(memory: Estimates, feedback: Feedback) -> Estimates:
        return _moved(memory, feedback, step)

    return Functions(act=act, start=_unknown, update=update, draws=2)


def ucb1(confidence: float) -> Functions:
    """The largest mean plus sqrt(confidence * ln t / times played), untried actions first.

    confidence = 2 is UCB1 (Auer, Cesa-Bianchi & Fischer 2002), for payoffs in [0, 1].

    >>> view = View(current=np.array([0]), allowed=np.ones((1, 2), bool), steps=np.arange(2)[:, None])
    >>> known = Estimates(np.array([[90.0, 10.0]]), np.array([[0.5, 0.4]]))
    >>> [ucb1(c).act(known, view, np.zeros((1, 0))).item() for c in (0.0, 2.0)]
    [0, 1]
    """

    def act(memory: Estimates, view: View, uniforms: Array) -> Array:
        tried = memory.played > 0
        rounds = memory.played.sum(axis=1, keepdims=True)
        bonus = np.sqrt(confidence * np.log(np.maximum(rounds, 1.0)) / np.maximum(memory.played, 1.0))
        index = np.where(tried, memory.mean + bonus, np.inf)
        index = np.where(view.allowed, index, -np.inf)
        return keep_or_first(index == index.max(axis=1, keepdims=True), view.current)

    def update(memory: Estimates, feedback: Feedback) -> Estimates:
        return _moved(memory, feedback, 0.0)

    return Functions(act=act, start=_unknown, update=update)


def thompson(noise: float) -> Functions:
    """The action whose mean, drawn from what is believed of it, is largest.

    Beliefs are normal: mean of the profits, deviation noise / sqrt(times played + 1) (Thompson 1933;
    normal beliefs as in Agrawal & Goyal 2013).

    >>> view = View(current=np.array([0]), allowed=np.ones((1, 2), bool), steps=np.arange(2)[:, None])
    >>> known = Estimates(np.array([[99.0, 0.0]]), np.array([[0.5, 0.4]]))
    >>> [thompson(0.1).act(known, view, np.array([[0.5, u]])).item() for u in (0.5, 0.9)]
    [0, 1]
    """

    def act(memory: Estimates, view: View, uniforms: Array) -> Array:
        # A draw of exactly 0 would be a deviation of -inf.
        deviates = ndtri(np.maximum(uniforms[:, : view.allowed.shape[1]], 2.0**-54))
        believed = memory.mean + noise / np.sqrt(memory.played + 1.0) * deviates
        return np.where(view.allowed, believed, -np.inf).argmax(axis=1)

    def update(memory: Estimates, feedback: Feedback) -> Estimates:
        played = _add_at(memory.played, feedback.action, 1.0)
        # The prior counts as one observation of nought.
        error = _told(feedback.profit) - _at(memory.mean, feedback.action)
        count = _at(played, feedback.action) + 1.0
        return Estimates(played, _add_at(memory.mean, feedback.action, error / count))

    return Functions(act=act, start=_unknown, update=update, draws=None)


def exp3(exploration: float, rate: float) -> Functions:
    """Weights exponential in estimated total profits, mixed with a share of uniform play.

    The chosen action's profit is divided by the probability it was chosen with (Auer, Cesa-Bianchi, Freund
    & Schapire 2002).  For payoffs in [0, 1] and rate = 1 the expected regret is at most
    (e - 1) exploration G + A ln A / exploration, G what the best action would have earned (theorem 3.1).

    >>> exp3_chances(np.log([[1.0, 3.0]]), np.ones((1, 2), bool), exploration=0.2).round(3).tolist()
    [[0.3, 0.7]]
    """

    def act(memory: Array, view: View, uniforms: Array) -> Array:
        return draw(exp3_chances(memory, view.allowed, exploration), uniforms[:, 0])

    def update(memory: Array, feedback: Feedback) -> Array:
        chance = _at(exp3_chances(memory, feedback.allowed, exploration), feedback.action)
        step = rate * exploration / feedback.allowed.sum(axis=1) * _told(feedback.profit) / chance
        # An action that was not chosen this round says nothing of how likely it was.
        return _add_at(memory, feedback.action, np.where(feedback.moved, step, 0.0))

    def start(n_learners: int, n_actions: int, n_providers: int) -> Array:
        return np.zeros((n_learners, n_actions))

    return Functions(act=act, start=start, update=update, draws=1)


def exp3_chances(heights: Array, allowed: Array, exploration: float) -> Array:
    """Probability of each action, (P, A)."""
    heights = np.where(allowed, heights, -np.inf)
    weights = np.exp(heights - heights.max(axis=1, keepdims=True))
    uniform = allowed / allowed.sum(axis=1, keepdims=True)
    return (1.0 - exploration) * weights / weights.sum(axis=1, keepdims=True) + exploration * uniform


def _moved(memory: Estimates, feedback: Feedback, least_step: float) -> Estimates:
    played = _add_at(memory.played, feedback.action, 1.0)
    error = _told(feedback.profit) - _at(memory.mean, feedback.action)
    step = np.maximum(least_step, 1.0 / _at(played, feedback.action))
    return Estimates(played, _add_at(memory.mean, feedback.action, step * error))


def _told(what: Array | None) -> Array:
    if what is None:
        raise ValueError("a rule was not told what it learns from")
    return what


def _at(table: Array, action: Array) -> Array:
    return table[np.arange(len(table)), action]


def _add_at(table: Array, action: Array, amount: Array | float) -> Array:
    new = table.copy()
    new[np.arange(len(table)), action] += amount
    return new


class Chart(NamedTuple):
    """Values of actions by state: q (P, S, A), the state each learner is in (P,), NOWHERE before the first
    round where states are what was done last, and rounds played (P,)."""

    q: Array
    state: Array
    rounds: Array


MOST_STATES = 100_000
NOWHERE = -1


def q_learning(step: float, discount: float, decay: float, recall: str) -> Functions:
    """Q-learning with exploration that fades as e^(-decay t) (Watkins 1989; Calvano et al. 2020).

    recall  what a state is: nothing ("none"), its own last action ("own"), everybody's ("all")

    >>> told = Feedback(action=np.array([1]), moved=np.array([True]), allowed=np.ones((1, 2), bool),
    ...                 profit=np.array([0.8]))
    >>> rule = q_learning(step=0.5, discount=0.0, decay=0.0, recall="none")
    >>> rule.update(rule.start(1, 2, 9), told).q.tolist()
    [[[0.0, 0.4]]]
    """

    def start(n_learners: int, n_actions: int, n_providers: int) -> Chart:
        states = {"none": 1, "own": n_actions, "all": n_actions**n_providers}[recall]
        if states > MOST_STATES:
            raise InputError(
                f'q_learning with recall = "{recall}" has {n_actions}^{n_providers} states here; at most '
                f'{MOST_STATES:,} are allowed: use recall = "own", or fewer models'
            )
        zeros = np.zeros(n_learners, dtype=np.int64)
        first = zeros if recall == "none" else np.full(n_learners, NOWHERE)
        return Chart(np.zeros((n_learners, states, n_actions)), first, zeros)

    def act(memory: Chart, view: View, uniforms: Array) -> Array:
        known = (memory.state != NOWHERE)[:, None]
        value = np.where(view.allowed, np.where(known, _at(memory.q, memory.state), 0.0), -np.inf)
        greedy = keep_or_first(value == value.max(axis=1, keepdims=True), view.current)
        explores = uniforms[:, 0] < np.exp(-decay * memory.rounds)
        return np.where(explores, draw(view.allowed * 1.0, uniforms[:, 1]), greedy)

    def update(memory: Chart, feedback: Feedback) -> Chart:
        rows, action = np.arange(len(memory.state)), feedback.action
        state = memory.state
        if recall == "own":
            state = action
        elif recall == "all":
            state = _place_of(_told(feedback.actions), memory.q.shape[-1])
        ahead = np.where(feedback.allowed, _at(memory.q, state), -np.inf).max(axis=1)
        q = memory.q.copy()
        error = _told(feedback.profit) + discount * ahead - q[rows, memory.state, action]
        q[rows, memory.state, action] += np.where(memory.state == NOWHERE, 0.0, step * error)
        return Chart(q, state, memory.rounds + 1)

    information: Information = "actions" if recall == "all" else "own"
    return Functions(act=act, start=start, update=update, draws=2, information=information)


def _place_of(actions: Array, n_actions: int) -> Array:
    """A number for each row of everybody's actions (P, N), (P,)."""
    return actions @ n_actions ** np.arange(actions.shape[1])


class Example(NamedTuple):
    """Whom to imitate: the action of the most profitable of the market in the last round, (P,)."""

    action: Array
    seen: Array


def imitation(inertia: float, exploration: float) -> Functions:
    """What the most profitable provider did, its own action if that is it; now and then any action
    (imitate the best: Vega-Redondo 1997).  An example it cannot follow leaves it where it is.

    >>> view = View(current=np.array([0]), allowed=np.ones((1, 3), bool), steps=np.arange(3)[:, None])
    >>> rule, richest = imitation(inertia=0.5, exploration=0.0), Example(np.array([2]), np.array([True]))
    >>> [rule.act(richest, view, np.array([[u, 0.5, 0.5]])).item() for u in (0.4, 0.6)]
    [0, 2]
    """

    def start(n_learners: int, n_actions: int, n_providers: int) -> Example:
        return Example(np.zeros(n_learners, dtype=np.int64), np.zeros(n_learners, dtype=bool))

    def act(memory: Example, view: View, uniforms: Array) -> Array:
        follows = memory.seen & _at(view.allowed, memory.action) & (uniforms[:, 0] >= inertia)
        moved = np.where(follows, memory.action, view.current)
        return np.where(uniforms[:, 1] < exploration, draw(view.allowed * 1.0, uniforms[:, 2]), moved)

    def update(memory: Example, feedback: Feedback) -> Example:
        actions, profits = _told(feedback.actions), _told(feedback.profits)
        best = profits.max(axis=1, keepdims=True)
        own = (profits == best) & (actions == feedback.action[:, None])
        example = np.where(own.any(axis=1), feedback.action, _at(actions, profits.argmax(axis=1)))
        return Example(example, np.ones(len(example), dtype=bool))

    return Functions(act=act, start=start, update=update, draws=3)

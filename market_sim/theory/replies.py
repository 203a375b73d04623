"""Rules that answer the others' standing offers, and rules that do not learn at all."""

import numpy as np

from market_sim.theory.arrays import Array
from market_sim.theory.dynamics import RELATIVE_TOLERANCE
from market_sim.theory.rule import Functions, Memory, Payoffs, View, draw


def better_reply() -> Functions:
    """The nearest strictly better action; stay if there is none.

    Nearest is fewest level steps, then fewest bid steps, the lower first.

    >>> payoffs = Payoffs(np.array([[0.2, 0.1, 0.1, 1.0]]), None)
    >>> view = View(current=np.array([1]), allowed=np.ones((1, 4), bool), steps=np.arange(4)[:, None],
    ...             payoffs=payoffs)
    >>> better_reply().act(None, view, np.zeros((1, 2))).tolist()
    [0]
    """

    def act(memory: Memory, view: View, uniforms: Array) -> Array:
        payoffs, enough = _heights(view)
        better = view.allowed & (payoffs > enough)
        away = np.abs(view.steps - view.steps[view.current][:, None, :])
        size = view.steps.max(axis=0) + 1
        steps_away = np.ravel_multi_index(tuple(np.moveaxis(away, -1, 0)), tuple(size))
        nearest = np.where(better, steps_away, size.prod()).argmin(axis=1)
        return np.where(better.any(axis=1), nearest, view.current)

    return Functions(act=act)


def best_reply() -> Functions:
    """The action of largest expected profit; the current one if it is among them, else the first.

    >>> payoffs = Payoffs(np.array([[0.2, 1.0, 1.0]]), None)
    >>> view = View(current=np.array([2]), allowed=np.ones((1, 3), bool), steps=np.arange(3)[:, None],
    ...             payoffs=payoffs)
    >>> best_reply().act(None, view, np.zeros((1, 2))).tolist()
    [2]
    """

    def act(memory: Memory, view: View, uniforms: Array) -> Array:
        payoffs, enough = _heights(view)
        payoffs = np.where(view.allowed, payoffs, -np.inf)
        # The current action is given the benefit of rounding, so that a tie moves nobody.
        stays = (payoffs.max(axis=1, keepdims=True) <= enough)[:, 0]
        return np.where(stays, view.current, payoffs.argmax(axis=1))

    return Functions(act=act)


def logit_reply(temperature: float) -> Functions:
    """Action k with probability proportional to U_k^(1/T), U being its expected profit.

    With users alike and one provider moving at a time its stationary law is e^(Phi/T), Phi the potential
    of log-profit (docs/theory.md 2.1).  Where profit may not be above zero, e^(U_k / (T max |U|)).

    A level that earns a third as much has a quarter of the draws at T = 1, and hardly any at T = 0.1:

    >>> payoffs = Payoffs(np.array([[1 / 3, 1.0]]), np.log([[1.0, 3.0]]))
    >>> view = View(current=np.array([0]), allowed=np.ones((1, 2), bool), steps=np.arange(2)[:, None],
    ...             payoffs=payoffs)
    >>> [logit_reply(t).act(None, view, np.array([[0.2]])).item() for t in (1.0, 0.1)]
    [0, 1]
    """

    def act(memory: Memory, view: View, uniforms: Array) -> Array:
        payoffs = _seen(view)
        if payoffs.logs is not None:
            height = np.where(view.allowed, payoffs.logs, -np.inf)
        else:
            height = np.where(view.allowed, payoffs.scaled, -np.inf)
            size = np.abs(np.where(view.allowed, payoffs.scaled, 0.0)).max(axis=1, keepdims=True)
            height = height / np.where(size > 0, size, 1.0)
        best = height.max(axis=1, keepdims=True)
        hopeful = np.isfinite(best)[:, 0]  # else nothing can be earned, whatever it does
        below = np.where(hopeful[:, None], height - np.where(hopeful[:, None], best, 0.0), -np.inf)
        return np.where(hopeful, draw(np.exp(below / temperature), uniforms[:, 0]), view.current)

    return Functions(act=act, draws=1)


def fixed() -> Functions:
    """Never moves.

    >>> view = View(current=np.array([1]), allowed=np.ones((1, 2), bool), steps=np.arange(2)[:, None])
    >>> fixed().act(None, view, np.zeros((1, 0))).tolist()
    [1]
    """
    return Functions(act=lambda memory, view, uniforms: view.current)


def recommended() -> Functions:
    """Does what the regime asks for: in an auction, the efficient level of each request at its cost.

    >>> view = View(current=np.array([0]), allowed=np.ones((1, 2), bool), steps=np.arange(2)[:, None],
    ...             recommended=np.array([1]))
    >>> recommended().act(None, view, np.zeros((1, 0))).tolist()
    [1]
    """

    def act(memory: Memory, view: View, uniforms: Array) -> Array:
        if view.recommended is None:
            raise ValueError("this rule needs a regime that recommends an action")
        return view.recommended

    return Functions(act=act)


def _heights(view: View) -> tuple[Array, Array]:
    """How high each action stands, (P, A), and what is strictly better than the current one, (P, 1).

    In logarithms where every profit is above zero: there profits too small for a floating-point number, or
    too far below the largest, still compare.
    """
    payoffs = _seen(view)
    rows = np.arange(len(view.current))
    if payoffs.logs is not None:
        return payoffs.logs, payoffs.logs[rows, view.current][:, None] + np.log1p(RELATIVE_TOLERANCE)
    standing = payoffs.scaled[rows, view.current][:, None]
    return payoffs.scaled, standing + RELATIVE_TOLERANCE * np.abs(standing)


def _seen(view: View) -> Payoffs:
    if view.payoffs is None:
        raise ValueError("a reply rule was given no payoffs")
    return view.payoffs

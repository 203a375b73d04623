"""Learning rules: how a provider picks its next action.

A rule is three pure functions round a memory of its own making,

    start(n_actions) -> memory
    act(memory, view, rng) -> action
    update(memory, feedback) -> memory

and declares the information it needs: a rule is handed nothing else.

    none    its own memory only
    reply   the expected profit of each own action against the others' standing offers

Actions are indices; `View.steps` says where each stands in the order of compute (first column) and of
bids (the others), so that "nearest" means fewest level steps, then fewest bid steps, the lower first.
RULES is the registry: adding a rule is one function and one line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from market_sim.theory.arrays import Array
from market_sim.theory.dynamics import RELATIVE_TOLERANCE

Information = Literal["none", "reply"]
Memory = Any

POSTED = frozenset({"pay_per_compute"})
AUCTIONS = frozenset({"second_price_auction", "first_price_auction"})


@dataclass(frozen=True, kw_only=True)
class View:
    """What a provider sees when it chooses.

    current   ()      its standing action
    allowed   (A,)    bool, which actions it has
    steps     (A, d)  integer place of each action: level first, then bid dimensions
    truthful  ()      the action that tells the truth; None where the regime has no bids
    payoffs   (A,)    reply rules only, else None: expected profit of each own action against the others'
                      standing offers, divided by the largest of them in size (so that nothing under- or
                      overflows and no parameter carries dollars)
    """

    current: int
    allowed: Array
    steps: Array
    truthful: int | None = None
    payoffs: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What a provider is told after a round.

    action  ()  what it played
    profit  ()  its profit per arriving request, as a multiple of its own largest margin
    """

    action: int
    profit: float


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A learning rule; see the module's text.

    regimes  where it makes sense; runs refuse it elsewhere
    source   where it comes from
    """

    name: str
    summary: str
    source: str
    information: Information
    regimes: frozenset[str]
    act: Callable[[Memory, View, np.random.Generator], int]
    start: Callable[[int], Memory] = lambda n_actions: None
    update: Callable[[Memory, Feedback], Memory] = lambda memory, feedback: memory


def better_reply(memory: Memory, view: View, rng: np.random.Generator) -> int:
    """The nearest strictly better action; stay if there is none.

    >>> steps = np.arange(4)[:, None]
    >>> view = View(current=1, allowed=np.ones(4, bool), steps=steps, payoffs=np.array([0.2, 0.1, 0.1, 1.0]))
    >>> better_reply(None, view, np.random.default_rng(0))
    0
    """
    payoffs = _seen(view)
    gain = payoffs - payoffs[view.current]
    better = view.allowed & (gain > RELATIVE_TOLERANCE * abs(payoffs[view.current]))
    if not better.any():
        return view.current
    distance = np.abs(view.steps - view.steps[view.current])
    order = np.lexsort((*reversed(distance.T), ~better))
    return int(order[0])


def best_reply(memory: Memory, view: View, rng: np.random.Generator) -> int:
    """The action of largest expected profit; on a tie the current one if it is among them, else the first.

    >>> steps = np.arange(3)[:, None]
    >>> view = View(current=2, allowed=np.ones(3, bool), steps=steps, payoffs=np.array([0.2, 1.0, 1.0]))
    >>> best_reply(None, view, np.random.default_rng(0))
    2
    """
    payoffs = np.where(view.allowed, _seen(view), -np.inf)
    best = int(payoffs.argmax())
    gain = payoffs[best] - payoffs[view.current]
    return best if gain > RELATIVE_TOLERANCE * abs(payoffs[view.current]) else view.current


def fixed(memory: Memory, view: View, rng: np.random.Generator) -> int:
    """Never moves."""
    return view.current


def truthful(memory: Memory, view: View, rng: np.random.Generator) -> int:
    """Serves every request at its efficient level and bids its cost."""
    if view.truthful is None:
        raise ValueError("the truthful rule needs a regime with bids")
    return view.truthful


def _seen(view: View) -> Array:
    if view.payoffs is None:
        raise ValueError("a reply rule was given no payoffs")
    return view.payoffs


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            name="better_reply",
            summary="move to the nearest level that earns strictly more (the paper's dynamics)",
            source="arXiv:2601.21839, there called best response; Monderer & Shapley 1996",
            information="reply",
            regimes=POSTED | AUCTIONS,
            act=better_reply,
        ),
        Rule(
            name="best_reply",
            summary="move to the level that earns most against the others' standing offers",
            source="Cournot 1838; Monderer & Shapley 1996",
            information="reply",
            regimes=POSTED | AUCTIONS,
            act=best_reply,
        ),
        Rule(
            name="fixed",
            summary="never move",
            source="baseline",
            information="none",
            regimes=POSTED | AUCTIONS,
            act=fixed,
        ),
        Rule(
            name="truthful",
            summary="serve each request at its efficient level and bid its cost",
            source="Vickrey 1961; Che 1993",
            information="none",
            regimes=AUCTIONS,
            act=truthful,
        ),
    )
}

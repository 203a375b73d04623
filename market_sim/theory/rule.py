"""What a learning rule is: pure functions round a memory of its own making, and what it may see.

    start(n_learners, n_actions, n_providers) -> memory
    act(memory, view, uniforms) -> actions
    update(memory, feedback) -> memory

Learners stand on the first axis of everything: P providers that share a rule are one call, and so are the
copies of one market in a batch.  Randomness comes in as uniform numbers, so a rule is a function and
nothing else.  A rule declares the information it needs and is handed nothing more:

    none    its own standing action
    plan    the action that the regime asks for: the truth in an auction, a planner's plan
    reply   the expected profit of each own action against the others' standing offers, before it moves
    full    after the round, what each own action would have earned in expectation
    own     after the round, what it earned (a bandit)
    actions after the round, what it earned and what everybody did
    rivals  after the round, what everybody did and earned

Actions are indices; `View.steps` says where each stands in the order of compute (first column) and of
bids (the others).  Payoffs are profits per arriving request divided by the largest the learner could earn
on a request, so that parameters carry no dollars.  On ties a rule keeps its current action.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from market_sim.errors import InputError, not_one_of
from market_sim.theory.arrays import Array
from market_sim.theory.parameters import Choice, Parameter

Information = Literal["none", "plan", "reply", "full", "own", "actions", "rivals"]
Memory = Any

POSTED = frozenset({"pay_per_compute", "flat_price"})
AUCTIONS = frozenset({"second_price_auction", "first_price_auction"})
PLANNED = frozenset({"planner"})


class Payoffs(NamedTuple):
    """Expected profits of each own action, (P, A) each.

    scaled  as multiples of the most the learner could earn on a request; -inf where not allowed
    logs    ln of the profit, where every profit is above zero; None where one may not be
    """

    scaled: Array
    logs: Array | None


@dataclass(frozen=True, kw_only=True)
class View:
    """What P learners see when they choose.

    current      (P,)    standing actions
    allowed      (P, A)  bool, which actions each has
    steps        (A, d)  integer place of each action: level first, then bid dimensions
    recommended  (P,)    `plan` only, else None: the action the regime asks for
    payoffs      reply rules only, else None: against the others' standing offers
    """

    current: Array
    allowed: Array
    steps: Array
    recommended: Array | None = None
    payoffs: Payoffs | None = None


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What P learners are told after a round.

    action   (P,)    what each played
    moved    (P,)    bool, whether it was its turn to choose
    allowed  (P, A)  which actions each has
    payoffs  full information only, else None: against the others' offers of this round
    profit   (P,)    own, actions and rivals only: scaled as `Payoffs.scaled`
    actions  (P, N)  actions and rivals only: what everybody in the learner's market played
    profits  (P, N)  rivals only: what everybody there earned, in one unit
    """

    action: Array
    moved: Array
    allowed: Array
    payoffs: Payoffs | None = None
    profit: Array | None = None
    actions: Array | None = None
    profits: Array | None = None


def _nothing(n_learners: int, n_actions: int, n_providers: int) -> Memory:
    return None


def _unmoved(memory: Memory, feedback: Feedback) -> Memory:
    return memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Functions:
    """The three functions of a rule, its parameters being fixed.

    draws        uniform numbers it takes per round; None: one per action
    information  where it depends on the parameters; None: that of the family
    """

    act: Callable[[Memory, View, Array], Array]
    start: Callable[[int, int, int], Memory] = _nothing
    update: Callable[[Memory, Feedback], Memory] = _unmoved
    draws: int | None = 0
    information: Information | None = None

    @property
    def learns(self) -> bool:
        """Whether anything it is told changes its memory."""
        return self.update is not _unmoved


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """A rule ready to be played: a family's functions with the values of its parameters."""

    name: str
    values: Mapping[str, float | str]
    information: Information
    regimes: frozenset[str]
    functions: Functions


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleFamily:
    """An entry of the registry: `make` fixes the parameters and gives the functions.

    regimes  where it makes sense; runs refuse it elsewhere
    source   where it comes from
    """

    name: str
    summary: str
    source: str
    information: Information
    regimes: frozenset[str]
    make: Callable[..., Functions]
    parameters: Mapping[str, Parameter | Choice] = field(default_factory=dict)

    def __call__(self, *, where: str = "", **values: Any) -> Rule:
        """The rule with these values of its parameters, and defaults for the rest.

        where  the place in error sentences.  Raises InputError for a name or value that is not allowed.
        """
        where = where or f"rule {self.name}"
        for name in values:
            if name not in self.parameters:
                if not self.parameters:
                    raise InputError(f"{where}: {self.name} has no parameters, got {name!r}")
                raise not_one_of(f"{where}: parameter of {self.name}", name, self.parameters)
        chosen = {
            name: parameter.check(f"{where}.{name}", values.get(name, parameter.default))
            for name, parameter in self.parameters.items()
        }
        functions = self.make(**chosen)
        return Rule(
            name=self.name,
            values=chosen,
            information=functions.information or self.information,
            regimes=self.regimes,
            functions=functions,
        )


def take(memory: Memory, rows: Array) -> Memory:
    """The memories of some of the learners: every array of a (possibly nested) tuple, at these rows."""
    if memory is None:
        return None
    if isinstance(memory, tuple):
        parts = (take(part, rows) for part in memory)
        return type(memory)(*parts) if hasattr(memory, "_fields") else tuple(parts)
    return memory[rows]


def put(memory: Memory, rows: Array, part: Memory) -> Memory:
    """The memories with those of some learners replaced: what `take` took, put back."""
    if memory is None:
        return None
    if isinstance(memory, tuple):
        parts = (put(whole, rows, new) for whole, new in zip(memory, part, strict=True))
        return type(memory)(*parts) if hasattr(memory, "_fields") else tuple(parts)
    new = memory.copy()
    new[rows] = part
    return new


def keep_or_first(good: Array, current: Array) -> Array:
    """Each learner's current action where it is among the good ones, else the first good one, (P,).

    >>> keep_or_first(np.array([[False, True, True], [True, False, True]]), np.array([2, 1])).tolist()
    [2, 0]
    """
    return np.where(good[np.arange(len(good)), current], current, good.argmax(axis=1))


def draw(weights: Array, uniform: Array) -> Array:
    """One action per learner with probability proportional to its weights (inverse CDF), (P,).

    weights (P, A), uniform (P,) in [0, 1).

    >>> draw(np.array([[1.0, 0.0, 3.0]]), np.array([0.3])).tolist()
    [2]
    """
    running = weights.cumsum(axis=1)
    passed = (running <= (uniform * running[:, -1])[:, None]).sum(axis=1)
    return np.minimum(passed, weights.shape[1] - 1)  # uniform next to one

"""What a regime is: the rules of trade as a few pure functions, and the records they exchange.

An action is an index into the regime's `Actions`.  Under pay-per-compute it is a compute level; in an
auction it is a level, or "efficient for this request", with a share x of own surplus asked for
(bid = cost + x max(W, 0)), and an overstatement of quality where the regime pays on reports (docs/round.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from market_sim.economy.ledger import Lots, Outcomes, lots_of_individuals
from market_sim.economy.market import Market, UserPopulation
from market_sim.theory.arrays import Array
from market_sim.theory.choice import sample_alike

BID_SHARES = (-0.25, *(step / 20 for step in range(21)))
"""Shares x of own surplus that a bid may ask for: below cost, the truth (0), up to all of it (1)."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The options of a regime.

    payment            auctions: the quality the winner is paid on: as realised, as expected, or as reported
    audit_probability  of a request paid on reported quality
    clawback           multiple of the overstatement that an audit takes back
    ties               "lowest" index, or "random" among equals
    bid_shares         auctions: shares x of own surplus that may be asked for, rising, 0 among them
    margins            flat prices: what may be asked above cost, USD per query, rising
    start_margin       index of the margin that providers start from
    """

    payment: Literal["realised", "expected", "reported"] = "realised"
    audit_probability: float = 0.0
    clawback: float = 1.0
    ties: Literal["lowest", "random"] = "lowest"
    bid_shares: tuple[float, ...] = BID_SHARES
    margins: tuple[float, ...] = ()
    start_margin: int = 0


@dataclass(frozen=True, kw_only=True)
class Actions:
    """The actions of one task, A of them, and who has which.

    level     (A,)    compute level, or auction.EFFICIENT
    share     (A,)    share of own surplus asked for (0 under posted prices)
    overstate (A,)    added to f(accuracy) in the report
    steps     (A, 3)  place in the order of levels, shares and reports ("efficient" follows the levels)
    allowed   (N, A)  bool
    start     (A,)    bool, one action per level: what a provider that begins at the level does, which is to
                      tell the truth in an auction
    truthful  ()      the action that tells the truth; None under posted prices
    margin    (A,)    USD asked above cost per query; None where the price is that of the tokens
    """

    level: Array
    share: Array
    overstate: Array
    steps: Array
    allowed: Array
    start: Array
    truthful: int | None
    margin: Array | None = None

    def lowest(self) -> Array:
        """Where everybody begins at the lowest compute level, (N,)."""
        return self.at_level(np.zeros(len(self.allowed), dtype=int))

    def at_level(self, levels: Array) -> Array:
        """Where each provider begins at its given level, (N,)."""
        first = {self.level[a]: a for a in np.flatnonzero(self.start).tolist()}
        return np.array([first[k] for k in levels])


@dataclass(frozen=True, kw_only=True)
class Shocks:
    """A round's randomness, one stream per purpose, the same under every regime.

    Individuals: one uniform number each, (U,), drawn whether used or not.  Segments: what draws counts.
    """

    choice: Array | np.random.Generator
    outcome: Array | np.random.Generator
    audit: Array | np.random.Generator

    def rows(self, rows: Array) -> "Shocks":
        """Those of some of the individuals."""
        names = ("choice", "outcome", "audit")
        parts = {name: getattr(self, name) for name in names}
        return Shocks(**{k: v[rows] if isinstance(v, np.ndarray) else v for k, v in parts.items()})


@dataclass(frozen=True, kw_only=True)
class Match:
    """Who serves whom.

    expected          lots in expectation
    unserved          requests expected to buy nothing, kept apart because people - served loses digits
    drawn             lots as drawn; None under expected demand
    rows              (L,) the row of the users of each drawn lot
    choice            (U,) int16 provider of each individual, OUTSIDE for none; None likewise
    log_sum_usd       expected log-sum surplus per arriving request; None where choice has no noise
    shares            (N,) with what chance each provider serves a request; None where users differ in it
    """

    expected: Lots
    unserved: float
    drawn: Lots | None
    rows: Array | None
    choice: Array | None
    log_sum_usd: float | None
    shares: Array | None = None

    @property
    def sales(self) -> tuple[Array, Lots]:
        """The row of each drawn lot, and the lots.  Raises ValueError where nothing was drawn."""
        if self.rows is None or self.drawn is None:
            raise ValueError("the match was made without shocks")
        return self.rows, self.drawn

    def sales_to(self, users: UserPopulation, uniforms: Array) -> tuple[Array, Lots]:
        """The same, drawn for individuals who are alike by uniforms (U,) in [0, 1)."""
        assert self.shares is not None
        picked = sample_alike(self.shares, uniforms)
        return lots_of_individuals(self.expected.level, picked, users.value_scale)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What each provider stands ready to do for one kind of user, (N,) each.

    level    index of the compute level
    bid_usd  price asked per query where it is not that of the tokens, else NaN
    """

    level: Array
    bid_usd: Array


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """The money side of lots of requests, (L,) each.

    payment  what the users of the lot pay in all, USD
    bid      price asked per query, USD
    """

    payment: Array
    bid: Array


@dataclass(frozen=True, kw_only=True)
class Payoffs:
    """Expected profits per arriving request of each own action, for P providers.

    relative   (P, A)  divided by the largest of the provider's own in size; -inf where not allowed
    log_scale  (P,)    ln of that largest, USD: profits themselves may be too small to be told apart
    share      (P, A)  of arriving requests that each action would attract
    logs       (P, A)  ln of the profits, USD, where all are above zero, -inf where not allowed; else None
    """

    relative: Array
    log_scale: Array
    share: Array
    logs: Array | None = None

    def up_to(self, room: Array) -> "Payoffs":
        """The same where a provider can serve a share of arriving requests and no more, (P,) or (P, A)."""
        room = np.broadcast_to(
            np.asarray(room, dtype=float).reshape(len(self.relative), -1), self.share.shape
        )
        served = np.divide(room, self.share, out=np.ones(self.share.shape), where=self.share > room)
        allowed = np.isfinite(self.relative)
        cut = np.where(allowed, np.where(allowed, self.relative, 0.0) * served, -np.inf)
        logs = self.logs
        if logs is not None:
            logs = logs + np.log(served, out=np.full(served.shape, -np.inf), where=served > 0)
        return Payoffs(relative=cut, log_scale=self.log_scale, share=self.share * served, logs=logs)

    def rows(self, rows: Array) -> "Payoffs":
        """Those of some of the providers, by place."""
        return Payoffs(
            relative=self.relative[rows],
            log_scale=self.log_scale[rows],
            share=self.share[rows],
            logs=None if self.logs is None else self.logs[rows],
        )

    def usd(self) -> Array:
        """The profits, USD per request, (P, A); -inf where not allowed."""
        allowed = np.isfinite(self.relative)
        scale = np.exp(self.log_scale)[:, None]
        return np.where(allowed, np.where(allowed, self.relative, 0.0) * scale, -np.inf)


@dataclass(frozen=True, kw_only=True)
class Regime:
    """A regime.

    actions         what a provider can choose between, as a grid of indices
    offer           what the standing actions offer to a user of a given value_scale
    match           who serves whose request: probabilities first, then draws from them
    settle          what is asked and what is paid for each lot of requests
    counterfactual  what each own action would earn in expectation against the others' standing ones
    stakes          the most each provider could earn on a request of a user of mean value, USD, (N,): the
                    unit of what learning rules are told
    best_welfare    the most welfare the same allocation rule can reach, and whether that is "exact" or a
                    "bound": the yardstick of inefficiency (docs/theory.md 2.8)
    bids            whether actions carry bids
    terms           its options
    prepare         completes the terms for a market and its users; called once, before a run
    plan            the action the regime asks of each provider, (N,); None where it asks for nothing
    """

    name: str
    summary: str
    source: str
    actions: Callable[["Regime", Market, int], Actions]
    match: Callable[["Regime", Market, int, Array, UserPopulation, Shocks | None], Match]
    offer: Callable[["Regime", Market, int, Array, float], Offer]
    settle: Callable[["Regime", Market, int, Array, Lots, Outcomes], Settlement]
    counterfactual: Callable[["Regime", Market, int, Array, UserPopulation, Array], Payoffs]
    stakes: Callable[["Regime", Market, int, UserPopulation], Array]
    best_welfare: Callable[["Regime", Market, int, UserPopulation], tuple[float, str]]
    bids: bool
    terms: Terms = field(default_factory=Terms)
    prepare: Callable[["Regime", Market, UserPopulation], "Regime"] = lambda regime, market, users: regime
    plan: Callable[["Regime", Market, int, UserPopulation], Array] | None = None

    def __hash__(self) -> int:
        """That of the name: what is remembered by regime is asked for many times a round."""
        return hash(self.name)

"""One round of the market, defined once (docs/round.md).

`play_round(parts, state)` is a pure function: revise, offer, match, serve, settle, feed back, record.
The Mesa model, the command line and everything above go through it.  `Parts` are frozen inputs; events
between rounds replace them (dataclasses.replace), arrays never change in place.  `State` carries no
generators: each round's randomness is made from the seed, the purpose and the round's number, so a state
can be kept, compared and played on.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from market_sim.economy.auctions import first_best_welfare
from market_sim.economy.ledger import (
    Ledger,
    Lots,
    Outcomes,
    expected_outcomes,
    keep_accounts,
    outcomes_of_individuals,
    outcomes_of_segments,
)
from market_sim.economy.market import Market, UserPopulation
from market_sim.economy.regime import Match, Regime, Settlement, Shocks
from market_sim.errors import InputError
from market_sim.theory.arrays import Array
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.rule import Feedback, Memory, Payoffs, Rule, View, take
from market_sim.theory.streams import Role, activation_order, stream, uniforms
from market_sim.theory.welfare import hhi, inefficiency

Activation = Literal["default", "one_at_a_time", "simultaneous"]
Demand = Literal["sampled", "expected"]

TASK = 0
"""Markets have one task so far; the arrays carry the axis."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What a round is played with.

    rules          N, one per provider
    activation     who revises: everybody (simultaneous), one provider a round in turns (one_at_a_time),
                   or turns for reply rules and everybody for the rest (default)
    demand         "expected": a continuum of users; "sampled": draws from the probabilities
    start_levels   (N,) index of the compute level each provider starts at; None: its lowest, and the
                   truth where there are bids
    metrics_every  rounds between costly measures (NashConv); NaN between
    keep_requests  whether records carry one row per request
    """

    market: Market
    users: UserPopulation
    regime: Regime
    rules: tuple[Rule, ...]
    activation: Activation = "default"
    demand: Demand = "sampled"
    seed: int = 0
    start_levels: Array | None = None
    metrics_every: int = 1
    keep_requests: bool = False

    def __post_init__(self) -> None:
        if self.market.n_tasks != 1:
            raise ValueError("a round is played with one task")
        if len(self.rules) != self.market.n_providers:
            raise ValueError("there must be one rule per provider")
        for rule in self.rules:
            if self.regime.name not in rule.regimes:
                raise InputError(
                    f"learning rule {rule.name!r} makes no sense under {self.regime.name}; "
                    f"it is for {', '.join(sorted(rule.regimes))}"
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """Where the market stands after a round.

    round          rounds played
    actions        (N,) standing action of each provider
    memories       one per group of providers that share a rule, in the order of `groups`
    last_provider  (U,) int16: whom each individual last bought from, OUTSIDE for nobody yet; None for
                   segments
    """

    round: int
    actions: Array
    memories: tuple[Memory, ...]
    last_provider: Array | None


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """A row of rounds.parquet.  Money in USD per arriving request, realised unless named expected.

    accuracy is of served requests, NaN where there are none; inefficiency and first_best_gap_usd compare
    expected welfare with the best of the same allocation and with the first best (docs/theory.md 2.8).
    """

    round: int
    welfare_usd: float
    expected_welfare_usd: float
    user_value_usd: float
    expected_user_value_usd: float
    log_sum_surplus_usd: float
    price_usd: float
    expected_price_usd: float
    provider_profit_usd: float
    tokens_per_query: float
    accuracy: float
    outside_share: float
    hhi: float
    inefficiency: float
    first_best_gap_usd: float
    nashconv_usd: float


@dataclass(frozen=True, kw_only=True)
class ProviderRows:
    """Rows of providers.parquet, (N,) each: means over the round's requests, totals of the round.

    compute_level, bid_usd  mean over requests served; of the offer to a user of mean value where none
    requests, revenue_usd, profit_usd, tokens  totals; share = requests / arriving requests
    """

    compute_level: Array
    bid_usd: Array
    requests: Array
    share: Array
    revenue_usd: Array
    profit_usd: Array
    tokens: Array


@dataclass(frozen=True, kw_only=True)
class RequestRows:
    """Rows of requests.parquet: the requests of one round that were served, (L,) each."""

    user: Array
    provider: Array
    compute_level: Array
    price_usd: Array
    correct: Array


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a round leaves behind."""

    row: RoundRow
    providers: ProviderRows
    requests: RequestRows | None


def begin(parts: Parts) -> tuple[State, Record]:
    """Row 0: the start actions against expected demand, nobody having revised."""
    actions = parts.regime.actions(parts.regime, parts.market, TASK)
    n_actions = len(actions.level)
    if parts.start_levels is not None:
        standing = actions.at_level(parts.start_levels)
    elif parts.regime.plan is not None:
        standing = parts.regime.plan(parts.regime, parts.market, TASK, parts.users)
    else:
        standing = actions.lowest()
    individuals = parts.users.individuals and parts.demand == "sampled"
    state = State(
        round=0,
        actions=standing,
        memories=tuple(
            rule.functions.start(len(members), n_actions, parts.market.n_providers)
            for rule, members in groups(parts.rules)
        ),
        last_provider=np.full(len(parts.users.beta), OUTSIDE, np.int16) if individuals else None,
    )
    _, _, record = _trade(parts, state, None)
    return state, record


def play_round(parts: Parts, state: State) -> tuple[State, Record]:
    """Round state.round + 1."""
    now = state.round + 1
    movers = _movers(parts, now)
    actions = _revise(parts, state, movers, now)
    shocks = None
    if parts.demand == "sampled":
        shocks = Shocks(
            choice=stream(parts.seed, Role.CHOICES, round=now),
            outcome=stream(parts.seed, Role.OUTCOMES, round=now),
            audit=stream(parts.seed, Role.AUDITS, round=now),
        )
    moved = State(round=now, actions=actions, memories=state.memories, last_provider=state.last_provider)
    match, ledger, record = _trade(parts, moved, shocks)
    memories = _learn(parts, moved, movers, ledger)
    last = state.last_provider
    if last is not None and match.choice is not None:
        last = np.where(match.choice == OUTSIDE, last, match.choice)
    return State(round=now, actions=actions, memories=memories, last_provider=last), record


@lru_cache(maxsize=64)
def groups(rules: tuple[Rule, ...]) -> tuple[tuple[Rule, Array], ...]:
    """The different rules, each with the providers that play it."""
    found = dict.fromkeys(rules)
    return tuple((rule, np.array([i for i, r in enumerate(rules) if r is rule])) for rule in found)


def _movers(parts: Parts, now: int) -> Array:
    """Whose turn it is to revise, (N,) bool."""
    n = parts.market.n_providers
    cycle, turn = divmod(now - 1, n)
    in_turn = np.arange(n) == activation_order(parts.seed, n, cycle)[turn]
    if parts.activation == "default":
        return in_turn | np.array([rule.information != "reply" for rule in parts.rules])
    return in_turn | (parts.activation == "simultaneous")


def _revise(parts: Parts, state: State, movers: Array, now: int) -> Array:
    """The actions after this round's movers have revised theirs, (N,)."""
    regime, market, users = parts.regime, parts.market, parts.users
    grid = regime.actions(regime, market, TASK)
    recommended = None if regime.plan is None else regime.plan(regime, market, TASK, users)
    actions = state.actions.copy()
    for (rule, members), memory in zip(groups(parts.rules), state.memories, strict=True):
        rows = np.flatnonzero(movers[members])
        moving = members[rows]
        if not len(moving):
            continue
        payoffs = None
        if rule.information == "reply":
            seen = regime.counterfactual(regime, market, TASK, state.actions, users, moving)
            payoffs = Payoffs(seen.relative, seen.logs)
        view = View(
            current=state.actions[moving],
            allowed=grid.allowed[moving],
            steps=grid.steps,
            recommended=None if recommended is None else recommended[moving],
            payoffs=payoffs,
        )
        count = len(grid.level) if rule.functions.draws is None else rule.functions.draws
        drawn = [uniforms(parts.seed, Role.LEARNING, market.providers[i], now, count) for i in moving]
        actions[moving] = rule.functions.act(take(memory, rows), view, np.stack(drawn))
    return actions


def _learn(parts: Parts, state: State, movers: Array, ledger: Ledger) -> tuple[Memory, ...]:
    """The memories after each rule has been told what it may know of the round."""
    regime, market, users = parts.regime, parts.market, parts.users
    allowed = regime.actions(regime, market, TASK).allowed
    stakes = _stakes(regime, market, users)
    profit = (ledger.revenue_usd - ledger.cost_usd) / users.n_people
    memories = []
    for (rule, members), memory in zip(groups(parts.rules), state.memories, strict=True):
        told: dict[str, Any] = {}
        if rule.information == "full":
            seen = regime.counterfactual(regime, market, TASK, state.actions, users, members)
            told["payoffs"] = Payoffs(seen.usd() / stakes[members, None], seen.logs)
        if rule.information in ("own", "rivals"):
            told["profit"] = profit[members] / stakes[members]
        if rule.information == "rivals":
            everybody = (len(members), market.n_providers)
            told["actions"] = np.broadcast_to(state.actions, everybody)
            told["profits"] = np.broadcast_to(profit, everybody)
        feedback = Feedback(
            action=state.actions[members], moved=movers[members], allowed=allowed[members], **told
        )
        memories.append(rule.functions.update(memory, feedback))
    return tuple(memories)


def _trade(parts: Parts, state: State, shocks: Shocks | None) -> tuple[Match, Ledger, Record]:
    """Offer, match, serve and settle with the standing actions; the accounts that count, and the record."""
    regime, market, users = parts.regime, parts.market, parts.users
    audit_probability = regime.terms.audit_probability
    match = regime.match(regime, market, TASK, state.actions, users, shocks)

    def settled(lots: Lots, outcomes: Outcomes) -> tuple[Ledger, Settlement]:
        money = regime.settle(regime, market, TASK, state.actions, lots, outcomes)
        return keep_accounts(market, TASK, lots, outcomes, money.payment, money.bid), money

    expected, _ = settled(match.expected, expected_outcomes(market, TASK, match.expected, audit_probability))
    if match.drawn is None or shocks is None:
        return match, expected, _record(parts, state, match, expected, expected, None)

    if match.rows is not None:
        outcomes = outcomes_of_individuals(
            market,
            TASK,
            match.drawn,
            audit_probability,
            shocks.outcome.random(users.n_people)[match.rows],
            shocks.audit.random(users.n_people)[match.rows],
        )
    else:
        outcomes = outcomes_of_segments(
            market, TASK, match.drawn, audit_probability, shocks.outcome, shocks.audit
        )
    ledger, money = settled(match.drawn, outcomes)
    requests = None
    if parts.keep_requests and match.rows is not None:
        lots = match.drawn
        requests = RequestRows(
            user=match.rows,
            provider=lots.provider,
            compute_level=market.compute_level[TASK][lots.provider, lots.level],
            price_usd=money.payment,
            correct=outcomes.correct.astype(bool),
        )
    return match, ledger, _record(parts, state, match, expected, ledger, requests)


def _record(
    parts: Parts,
    state: State,
    match: Match,
    expected: Ledger,
    ledger: Ledger,
    requests: RequestRows | None,
) -> Record:
    market, people = parts.market, parts.users.n_people
    served = ledger.requests.sum()
    unserved = match.unserved if ledger is expected else people - served
    welfare, user_value, profit = _surplus(market, ledger, unserved, people)
    expected_welfare, expected_user_value, _ = _surplus(market, expected, match.unserved, people)
    best, first = _yardsticks(parts.regime, market, parts.users)
    log_sum = match.log_sum_usd
    if log_sum is None:  # no noise, so nothing to like beyond the value itself
        log_sum = expected_user_value - market.outside_value
    row = RoundRow(
        round=state.round,
        welfare_usd=welfare,
        expected_welfare_usd=expected_welfare,
        user_value_usd=user_value,
        expected_user_value_usd=expected_user_value,
        log_sum_surplus_usd=log_sum,
        price_usd=float(ledger.revenue_usd.sum() / people),
        expected_price_usd=float(expected.revenue_usd.sum() / people),
        provider_profit_usd=profit,
        tokens_per_query=float(ledger.tokens.sum() / people),
        accuracy=float(ledger.correct.sum() / served) if served > 0 else float("nan"),
        outside_share=float(unserved / people),
        hhi=hhi(ledger.requests / people),
        inefficiency=float(inefficiency(best, expected_welfare)),
        first_best_gap_usd=first - expected_welfare,
        nashconv_usd=_nashconv(parts.regime, market, parts.users, tuple(state.actions.tolist()))
        if state.round % parts.metrics_every == 0
        else float("nan"),
    )
    return Record(row=row, providers=_provider_rows(parts, state, ledger), requests=requests)


def _surplus(market: Market, ledger: Ledger, unserved: float, people: int) -> tuple[float, float, float]:
    """Welfare, user value and providers' profit per arriving request; the first is the sum of the others."""
    users = ledger.quality_usd.sum() - ledger.revenue_usd.sum() + unserved * market.outside_value
    profit = (ledger.revenue_usd - ledger.cost_usd).sum()
    return float((users + profit) / people), float(users / people), float(profit / people)


def _provider_rows(parts: Parts, state: State, ledger: Ledger) -> ProviderRows:
    market, users = parts.market, parts.users
    offer = parts.regime.offer(parts.regime, market, TASK, state.actions, users.mean_scale)
    label = market.compute_level[TASK][np.arange(market.n_providers), offer.level]
    served = ledger.requests > 0
    bid = offer.bid_usd
    if parts.regime.bids:
        bid = np.divide(ledger.bid_usd, ledger.requests, out=bid.copy(), where=served)
    return ProviderRows(
        compute_level=label
        + np.divide(ledger.level - label * ledger.requests, ledger.requests, out=0.0 * label, where=served),
        bid_usd=bid,
        requests=ledger.requests,
        share=ledger.requests / users.n_people,
        revenue_usd=ledger.revenue_usd,
        profit_usd=ledger.revenue_usd - ledger.cost_usd,
        tokens=ledger.tokens,
    )


@lru_cache(maxsize=16)
def _nashconv(regime: Regime, market: Market, users: UserPopulation, actions: tuple[int, ...]) -> float:
    """Sum over providers of what each could add by a unilateral move, USD per request.

    Remembered by the actions, because markets settle.
    """
    everybody, standing = np.arange(market.n_providers), np.array(actions)
    usd = regime.counterfactual(regime, market, TASK, standing, users, everybody).usd()
    return float((usd.max(axis=1) - usd[everybody, standing]).sum())


@lru_cache(maxsize=16)
def _yardsticks(regime: Regime, market: Market, users: UserPopulation) -> tuple[float, float]:
    """Best welfare of the same allocation, and the first best; made once per set of frozen inputs."""
    return regime.best_welfare(regime, market, TASK, users)[0], first_best_welfare(market, TASK, users)


@lru_cache(maxsize=16)
def _stakes(regime: Regime, market: Market, users: UserPopulation) -> Array:
    """The unit of what rules are told, (N,)."""
    return regime.stakes(regime, market, TASK, users)

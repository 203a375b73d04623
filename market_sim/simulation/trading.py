"""Who serves whom, and what comes of it: offers are matched, requests served, accounts settled
(docs/round.md, steps 3 to 6).

Probabilities always come first.  Draws follow for individuals (one request each) or segments (counts).
"""

from dataclasses import dataclass

import numpy as np

from market_sim.economy.ledger import (
    Ledger,
    Lots,
    Outcomes,
    expected_outcomes,
    keep_accounts,
    outcomes_of_individuals,
    outcomes_of_segments,
    quality_of,
)
from market_sim.economy.market import Market, UserPopulation
from market_sim.economy.regime import Match, Settlement, Shocks
from market_sim.simulation.capacity import drawn_sales, expected_within_capacity
from market_sim.simulation.crowds import crowds_of, shocks_of
from market_sim.simulation.parts import Parts
from market_sim.theory.arrays import Array


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The requests of one task that were drawn and served, L lots.

    row      (L,)  the user of each
    lots     providers by their place among those in the market
    quality  (L,)  what the answers were worth, USD
    """

    row: Array
    lots: Lots
    outcomes: Outcomes
    money: Settlement
    quality: Array


@dataclass(frozen=True, kw_only=True)
class Trade:
    """A round's trade, task by task.

    expected, ledger  accounts in expectation and those that count (the drawn ones where demand is sampled)
    unserved          requests expected to buy nothing, by task
    log_sum_usd       expected log-sum surplus per arriving request of each task; None where choice has no
                      noise
    drawn             None under expected demand
    arrived           requests of each task that came in the round
    """

    expected: tuple[Ledger, ...]
    ledger: tuple[Ledger, ...]
    unserved: tuple[float, ...]
    log_sum_usd: tuple[float | None, ...]
    drawn: tuple[Drawn, ...] | None
    arrived: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What is to be expected of a profile before users who remember nothing, task by task; as in `Trade`."""

    matches: tuple[Match, ...]
    expected: tuple[Ledger, ...]
    unserved: tuple[float, ...]


def trade(parts: Parts, actions: Array, users: UserPopulation, now: int | None) -> Trade:
    """The trade of round `now` with these actions (T, N); in expectation only where `now` is None.

    users  with what they remember and believe
    """
    market, present = parts.open_market, parts.present
    standing = actions[:, present]
    facing = users.facing(present, parts.market.n_providers)
    asked = parts.askers if users is parts.users else tuple(facing.asking(t) for t in range(market.n_tasks))
    drawing = now is not None and parts.demand == "sampled"
    plain = market.n_tasks == 1 and parts.capacity is None
    shocks = shocks_of(parts, now) if drawing and now is not None else None
    if recalls_trade(parts, users):
        found = parts.recall(_standing_expectation, actions.astype(np.int64, copy=False).tobytes())
    else:
        found = _expectation(parts, standing, asked, shocks if plain else None)
    log_sums = tuple(m.log_sum_usd for m in found.matches)
    if shocks is None or now is None:
        return Trade(
            expected=found.expected,
            ledger=found.expected,
            unserved=found.unserved,
            log_sum_usd=log_sums,
            drawn=None,
            arrived=tuple(users.n_people for users in asked),
        )
    arrived: tuple[float, ...] = (parts.users.n_people,)
    if plain:
        sold = [_sales(parts, found.matches[0], standing[0], asked[0], shocks)]
    else:
        crowds = crowds_of(parts, facing, shocks, now)
        arrived = tuple(crowd.users.n_people for crowd in crowds)
        sold = drawn_sales(parts, standing, crowds, now)
    ledgers, drawn = [], []
    for t, (row, lots) in enumerate(sold):
        outcomes = _outcomes(parts, market, t, lots, row, shocks)
        ledger, money = _settled(parts, market, t, standing, lots, outcomes)
        ledgers.append(ledger)
        quality = quality_of(market, t, lots, outcomes)
        drawn.append(Drawn(row=row, lots=lots, outcomes=outcomes, money=money, quality=quality))
    return Trade(
        expected=found.expected,
        ledger=tuple(ledgers),
        unserved=found.unserved,
        log_sum_usd=log_sums,
        drawn=tuple(drawn),
        arrived=arrived,
    )


def recalls_trade(parts: Parts, users: UserPopulation) -> bool:
    """Whether what is to be expected of a profile is remembered: where users are alike and remember nothing.

    In an auction, what is drawn and what is expected come of the same comparison of bids.
    """
    return users is parts.users and users.alike and not parts.regime.bids


def _expectation(
    parts: Parts, standing: Array, asked: tuple[UserPopulation, ...], shocks: Shocks | None
) -> Expectation:
    """What is to be expected of actions (T, P) of those in the market; with shocks, matches are drawn too."""
    market, audits = parts.open_market, parts.regime.terms.audit_probability
    tasks = range(market.n_tasks)
    matches = [parts.regime.match(parts.regime, market, t, standing[t], asked[t], shocks) for t in tasks]
    lots, unserved = [m.expected for m in matches], [m.unserved for m in matches]
    if parts.capacity is not None:
        lots, unserved = expected_within_capacity(parts, standing, asked, matches)
    expected = tuple(
        _settled(parts, market, t, standing, lots[t], expected_outcomes(market, t, lots[t], audits))[0]
        for t in tasks
    )
    return Expectation(matches=tuple(matches), expected=expected, unserved=tuple(unserved))


def _standing_expectation(parts: Parts, actions: bytes) -> Expectation:
    return _expectation(parts, parts.profile_of(actions)[:, parts.present], parts.askers, None)


def _sales(
    parts: Parts, match: Match, standing: Array, asked: UserPopulation, shocks: Shocks
) -> tuple[Array, Lots]:
    """The row of each lot that is drawn in a market of one task, and the lots."""
    if match.drawn is not None:
        return match.sales
    if match.shares is not None and isinstance(shocks.choice, np.ndarray):
        return match.sales_to(asked, shocks.choice)
    return parts.regime.match(parts.regime, parts.open_market, 0, standing, asked, shocks).sales


def _settled(
    parts: Parts, market: Market, task: int, standing: Array, lots: Lots, outcomes: Outcomes
) -> tuple[Ledger, Settlement]:
    money = parts.regime.settle(parts.regime, market, task, standing[task], lots, outcomes)
    return keep_accounts(market, task, lots, outcomes, money.payment, money.bid), money


def _outcomes(parts: Parts, market: Market, task: int, lots: Lots, row: Array, shocks: Shocks) -> Outcomes:
    audits = parts.regime.terms.audit_probability
    u, audit = shocks.outcome, shocks.audit
    if isinstance(u, np.ndarray) and isinstance(audit, np.ndarray):
        return outcomes_of_individuals(market, task, lots, audits, u[row], audit[row])
    assert isinstance(u, np.random.Generator)
    assert isinstance(audit, np.random.Generator)
    return outcomes_of_segments(market, task, lots, audits, u, audit)

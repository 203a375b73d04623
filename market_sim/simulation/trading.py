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
from market_sim.economy.regime import Settlement, Shocks
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

    matches = [
        parts.regime.match(parts.regime, market, t, standing[t], asked[t], shocks if plain else None)
        for t in range(market.n_tasks)
    ]
    lots, unserved = [m.expected for m in matches], [m.unserved for m in matches]
    if parts.capacity is not None:
        lots, unserved = expected_within_capacity(parts, standing, asked, matches)
    audits = parts.regime.terms.audit_probability
    expected = tuple(
        _settled(parts, market, t, standing, lots[t], expected_outcomes(market, t, lots[t], audits))[0]
        for t in range(market.n_tasks)
    )
    log_sums = tuple(m.log_sum_usd for m in matches)
    if shocks is None or now is None:
        return Trade(
            expected=expected,
            ledger=expected,
            unserved=tuple(unserved),
            log_sum_usd=log_sums,
            drawn=None,
            arrived=tuple(users.n_people for users in asked),
        )
    arrived: tuple[float, ...] = (parts.users.n_people,)
    if plain:
        sold = [matches[0].sales]
    else:
        crowds = crowds_of(parts, facing, shocks, now)
        arrived = tuple(crowd.users.n_people for crowd in crowds)
        sold = drawn_sales(parts, standing, crowds, now)
    ledgers, drawn = [], []
    for t, (row, found) in enumerate(sold):
        outcomes = _outcomes(parts, market, t, found, row, shocks)
        ledger, money = _settled(parts, market, t, standing, found, outcomes)
        ledgers.append(ledger)
        quality = quality_of(market, t, found, outcomes)
        drawn.append(Drawn(row=row, lots=found, outcomes=outcomes, money=money, quality=quality))
    return Trade(
        expected=expected,
        ledger=tuple(ledgers),
        unserved=tuple(unserved),
        log_sum_usd=log_sums,
        drawn=tuple(drawn),
        arrived=arrived,
    )


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

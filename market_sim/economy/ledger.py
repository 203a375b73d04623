"""Served requests, and the accounts that follow from them.

`Lots` are served requests of one task: one entry per person where users are individuals, one per
(segment, provider) where a row stands for many, and fractional counts where demand is an expectation.
Everything a round reports is a sum over lots.
"""

from dataclasses import dataclass, fields

import numpy as np

from market_sim.economy.market import Market
from market_sim.theory.arrays import Array
from market_sim.theory.choice import OUTSIDE


@dataclass(frozen=True, kw_only=True)
class Lots:
    """Requests that found a provider, L entries.

    provider     (L,)  index
    level        (L,)  index of the compute level they are served at
    count        (L,)  requests in the entry; fractional where expected
    value_scale  (L,)  what an answer is worth to their users, as a multiple of the task's value
    standing     (L,)  auctions: value of the second-best offer, USD per query; 0 under posted prices
    """

    provider: Array
    level: Array
    count: Array
    value_scale: Array
    standing: Array


def joined(parts: list[Lots]) -> Lots:
    """Several sets of lots as one."""
    names = [field.name for field in fields(Lots)]
    return Lots(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def lots_of_individuals(level: Array, picked: Array, value_scale: Array) -> tuple[Array, Lots]:
    """The requests of individuals under posted prices: their rows, and a lot for each.

    level        (N,)  index of the compute level that each provider serves at
    picked       (U,)  provider of each individual, OUTSIDE for none
    value_scale  (U,)
    """
    rows = np.flatnonzero(picked != OUTSIDE)
    provider = picked[rows].astype(np.int64)
    return rows, posted_lots(level, provider, np.ones(len(rows)), value_scale[rows])


def posted_lots(level: Array, provider: Array, count: Array, value_scale: Array) -> Lots:
    """Lots under posted prices, where nobody stands second.

    level                         (N,)  index of the compute level that each provider serves at
    provider, count, value_scale  (L,)  of each lot, as in `Lots`
    """
    return Lots(
        provider=provider,
        level=level[provider],
        count=count,
        value_scale=value_scale,
        standing=np.zeros(len(provider)),
    )


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """How many requests of each lot were answered correctly, satisfied their users, were audited, (L,)."""

    correct: Array
    satisfied: Array
    audited: Array


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Totals of one task and round by provider, (N,) each, in requests, USD and tokens.

    quality_usd is what the answers were worth to their users; level and bid_usd are sums over requests,
    to be divided by requests.
    """

    requests: Array
    quality_usd: Array
    revenue_usd: Array
    cost_usd: Array
    tokens: Array
    correct: Array
    level: Array
    bid_usd: Array


def value_of(market: Market, task: int, lots: Lots) -> Array:
    """alpha: what a correct answer is worth to a user of each lot, USD, (L,)."""
    return market.value_of_correct[task] * lots.value_scale


def quality_of(market: Market, task: int, lots: Lots, outcomes: Outcomes) -> Array:
    """What the answers of each lot were worth to its users in all, USD, (L,)."""
    b = market.baseline
    return value_of(market, task, lots) * (b * lots.count + (1.0 - b) * outcomes.satisfied)


def cell_of(market: Market, lots: Lots) -> Array:
    """Where the (provider, level) of each lot stands in a flattened (N, K) table, (L,)."""
    return lots.provider * market.offered.shape[-1] + lots.level


def keep_accounts(
    market: Market, task: int, lots: Lots, outcomes: Outcomes, payment: Array, bid: Array
) -> Ledger:
    """Add the lots up by provider; payment (L,) USD in all, bid (L,) USD per query."""
    table = market.offered[task].shape
    served = np.bincount(cell_of(market, lots), weights=lots.count, minlength=table[0] * table[1])
    served = served.reshape(table)

    def total(amounts: Array) -> Array:
        return np.bincount(lots.provider, weights=amounts, minlength=market.n_providers)

    return Ledger(
        requests=served.sum(axis=1),
        quality_usd=total(quality_of(market, task, lots, outcomes)),
        revenue_usd=total(payment),
        cost_usd=(served * market.cost[task]).sum(axis=1),
        tokens=(served * market.tokens[task]).sum(axis=1),
        correct=total(outcomes.correct),
        level=(served * market.compute_level[task]).sum(axis=1),
        bid_usd=total(lots.count * bid),
    )


def expected_outcomes(market: Market, task: int, lots: Lots, audit_probability: float) -> Outcomes:
    """Outcomes in expectation."""
    at = (lots.provider, lots.level)
    return Outcomes(
        correct=lots.count * market.accuracy[task][at],
        satisfied=lots.count * market.satisfaction[task][at],
        audited=lots.count * audit_probability,
    )


def outcomes_of_individuals(
    market: Market, task: int, lots: Lots, audit_probability: float, u: Array, audit: Array
) -> Outcomes:
    """One request per lot with one uniform u: correct = u < accuracy, satisfied = u < f(accuracy).

    u, audit  (L,)  uniforms in [0, 1)
    """
    cell = cell_of(market, lots)
    correct = (u < market.accuracy[task].ravel()[cell]) * 1.0
    satisfied = correct
    if market.satisfaction is not market.accuracy:
        satisfied = (u < market.satisfaction[task].ravel()[cell]) * 1.0
    return Outcomes(correct=correct, satisfied=satisfied, audited=(audit < audit_probability) * 1.0)


def outcomes_of_segments(
    market: Market,
    task: int,
    lots: Lots,
    audit_probability: float,
    u: np.random.Generator,
    audit: np.random.Generator,
) -> Outcomes:
    """The same law for lots of many requests, drawn as counts.

    The events u < accuracy and u < f(accuracy) are nested, so the rarer one is drawn first and what is
    left decides the other.
    """
    at = (lots.provider, lots.level)
    accuracy, satisfaction = market.accuracy[task][at], market.satisfaction[task][at]
    count = lots.count.astype(np.int64)
    rare, frequent = np.minimum(accuracy, satisfaction), np.maximum(accuracy, satisfaction)
    both = u.binomial(count, rare)
    left = np.divide(frequent - rare, 1.0 - rare, out=np.zeros_like(rare), where=rare < 1)
    either = both + u.binomial(count - both, np.minimum(left, 1.0))
    return Outcomes(
        correct=np.where(accuracy > satisfaction, either, both) * 1.0,
        satisfied=np.where(accuracy > satisfaction, both, either) * 1.0,
        audited=audit.binomial(count, audit_probability) * 1.0,
    )

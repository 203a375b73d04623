"""What a round leaves behind: the rows of the tables (docs/formats.md), made from its trade."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from market_sim.economy.auctions import first_best_welfare
from market_sim.economy.ledger import Ledger
from market_sim.economy.market import Market, UserPopulation
from market_sim.economy.regime import Regime
from market_sim.simulation.nearness import nearness, no_equilibria
from market_sim.simulation.parts import Parts, State
from market_sim.simulation.providers import counterfactual, payoffs_of_all
from market_sim.simulation.trading import Trade, recalls_trade, trade
from market_sim.theory.arrays import Array
from market_sim.theory.welfare import hhi, inefficiency


@dataclass(frozen=True, kw_only=True)
class RoundRow:
    """A row of rounds.parquet.  Money in USD per arriving request, realised unless named expected.

    accuracy is of served requests, NaN where there are none; inefficiency and first_best_gap_usd compare
    expected welfare with the best of the same allocation and with the first best (docs/theory.md 2.8);
    equilibrium_steps are levels from the nearest exact equilibrium, NaN where there is no list of them;
    estimate_error_usd is how far users' estimates are off, on average.
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
    equilibrium_steps: float
    estimate_error_usd: float


@dataclass(frozen=True, kw_only=True)
class ProviderRows:
    """Rows of providers.parquet, (T, N) each: means over the round's requests, totals of the round.

    compute_level, bid_usd  mean over requests served; of the offer to a user of mean value where none; NaN
                            for who is not in the market
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
    """Rows of requests.parquet: the requests of one round that were served, (L,) each; task by index."""

    user: Array
    task: Array
    provider: Array
    compute_level: Array
    price_usd: Array
    correct: Array


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a round leaves behind.

    actions  (T, N)  what each provider stood at, task by task
    """

    actions: Array
    row: RoundRow
    providers: ProviderRows
    requests: RequestRows | None


def record_of(parts: Parts, state: State, users: UserPopulation, trade: Trade) -> Record:
    """The record of a round.  users  with what they remember and believe."""
    people = parts.users.n_people
    welfare, user_value, profit, unserved = _surplus(parts, trade.ledger, _unserved(parts, trade))
    if recalls_trade(parts, users):
        expected = parts.recall(_standing_measures, state.actions.tobytes())
    else:
        expected = _expected_measures(parts, trade)
    requests = np.sum([one.requests for one in trade.ledger], axis=0)
    served = float(requests.sum())
    costly = state.round % parts.metrics_every == 0
    row = RoundRow(
        round=state.round,
        welfare_usd=welfare,
        user_value_usd=user_value,
        price_usd=_total(trade.ledger, "revenue_usd") / people,
        provider_profit_usd=profit,
        tokens_per_query=_total(trade.ledger, "tokens") / people,
        accuracy=_total(trade.ledger, "correct") / served if served > 0 else float("nan"),
        outside_share=unserved / people,
        hhi=hhi(requests / people),
        nashconv_usd=nashconv(parts, state, users) if costly else float("nan"),
        equilibrium_steps=_equilibrium_steps(parts, state) if costly else float("nan"),
        estimate_error_usd=_estimate_error(parts, state) if costly else float("nan"),
        **expected,
    )
    return Record(
        actions=state.actions,
        row=row,
        providers=_provider_rows(parts, state, trade),
        requests=_request_rows(parts, trade) if parts.keep_requests else None,
    )


def _expected_measures(parts: Parts, trade: Trade) -> dict[str, float]:
    """Those columns of a row that are expectations."""
    welfare, user_value, _, _ = _surplus(parts, trade.expected, trade.unserved)
    best, first = _over_tasks(parts, _yardsticks)
    return {
        "expected_welfare_usd": welfare,
        "expected_user_value_usd": user_value,
        "log_sum_surplus_usd": _log_sum_surplus(parts, trade),
        "expected_price_usd": _total(trade.expected, "revenue_usd") / parts.users.n_people,
        "inefficiency": float(inefficiency(best, welfare)),
        "first_best_gap_usd": first - welfare,
    }


def _standing_measures(parts: Parts, actions: bytes) -> dict[str, float]:
    return _expected_measures(parts, trade(parts, parts.profile_of(actions), parts.users, None))


def _total(ledgers: tuple[Ledger, ...], column: str) -> float:
    return float(sum(getattr(ledger, column).sum() for ledger in ledgers))


def _unserved(parts: Parts, trade: Trade) -> tuple[float, ...]:
    """Requests that bought nothing, by task; of those drawn, all that nobody served are the first task's,
    since not buying is worth the same everywhere."""
    if trade.drawn is None:
        return trade.unserved
    return (parts.users.n_people - _total(trade.ledger, "requests"),) + (0.0,) * (len(trade.ledger) - 1)


def _surplus(
    parts: Parts, ledgers: tuple[Ledger, ...], unserved: tuple[float, ...]
) -> tuple[float, float, float, float]:
    """Welfare, user value and providers' profit per arriving request, the first the sum of the others, and
    the number of requests that bought nothing."""
    people = parts.users.n_people
    users = sum(_user_value(parts.market, *one) for one in zip(ledgers, unserved, strict=True))
    profit = float(sum((one.revenue_usd - one.cost_usd).sum() for one in ledgers))
    return (users + profit) / people, users / people, profit / people, sum(unserved)


def _user_value(market: Market, ledger: Ledger, unserved: float) -> float:
    return float(ledger.quality_usd.sum() - ledger.revenue_usd.sum() + unserved * market.outside_value)


def _log_sum_surplus(parts: Parts, trade: Trade) -> float:
    total = 0.0
    for asked, ledger, unserved, log_sum in zip(
        parts.askers, trade.expected, trade.unserved, trade.log_sum_usd, strict=True
    ):
        if log_sum is None:  # no noise, so nothing to like beyond the value itself
            total += _user_value(parts.market, ledger, unserved) - asked.n_people * parts.market.outside_value
        else:
            total += log_sum * asked.n_people
    return total / parts.users.n_people


def _over_tasks(parts: Parts, measure: Callable[[Parts, int], Array]) -> Array:
    """The mean over requests of a measure of each task."""
    weights = [asked.n_people / parts.users.n_people for asked in parts.askers]
    return sum(
        (weight * measure(parts, task) for task, weight in enumerate(weights) if weight > 0),
        start=np.zeros(()),
    )


def _yardsticks(parts: Parts, task: int) -> Array:
    return _best_and_first_best(parts.regime, parts.open_market, task, parts.askers[task])


@lru_cache(maxsize=32)
def _best_and_first_best(regime: Regime, market: Market, task: int, users: UserPopulation) -> Array:
    """Best welfare of the same allocation, and the first best; made once per set of frozen inputs."""
    best = regime.best_welfare(regime, market, task, users)[0]
    return np.array([best, first_best_welfare(market, task, users)])


def nashconv(parts: Parts, state: State, users: UserPopulation) -> float:
    """Sum over providers of what each could add by a unilateral move, USD per request; tasks apart.

    Remembered by the actions where users remember nothing.
    """
    if users is parts.users:
        return parts.recall(_standing_nashconv, state.actions.tobytes())
    return _nashconv(parts, state.actions, users)


def _standing_nashconv(parts: Parts, actions: bytes) -> float:
    return _nashconv(parts, parts.profile_of(actions), parts.users)


def _nashconv(parts: Parts, actions: Array, users: UserPopulation) -> float:
    everybody = np.arange(len(parts.present))

    def gains(parts: Parts, task: int) -> Array:
        if users is parts.users:
            usd = payoffs_of_all(parts, actions, task).usd()
        else:
            usd = counterfactual(parts, actions, users, task, everybody).usd()
        return (usd.max(axis=1) - usd[everybody, actions[task, parts.present]]).sum()

    return float(_over_tasks(parts, gains))


def _equilibrium_steps(parts: Parts, state: State) -> float:
    if no_equilibria(parts) is not None:
        return float("nan")
    return parts.recall(_steps, state.actions.tobytes())


def _steps(parts: Parts, actions: bytes) -> float:
    return float(nearness(parts, parts.profile_of(actions)[None][:, :, parts.present]).level_steps[0])


def _estimate_error(parts: Parts, state: State) -> float:
    """Mean distance between what users believe they net from offers and what they net, USD; undefined in an
    auction, where who does not win nets nobody anything."""
    if state.estimates is None:
        return 0.0
    if parts.regime.bids:
        return float("nan")
    regime, market, users, estimates = parts.regime, parts.open_market, parts.users, state.estimates

    def error(parts: Parts, task: int) -> Array:
        offer = regime.offer(regime, market, task, state.actions[task, parts.present], users.mean_scale)
        at = (np.arange(market.n_providers), offer.level)
        price = market.price[task][at] if np.isnan(offer.bid_usd).all() else offer.bid_usd
        value = np.multiply.outer(market.quality(task)[at], users.value_scale) - price[:, None]
        return np.abs(value - estimates[task][parts.present]).mean()

    return float(_over_tasks(parts, error))


def _provider_rows(parts: Parts, state: State, trade: Trade) -> ProviderRows:
    rows = [_rows_of_task(parts, state, task, ledger) for task, ledger in enumerate(trade.ledger)]
    if len(rows) == 1:
        return ProviderRows(**{name: column[None] for name, column in rows[0].items()})
    return ProviderRows(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _rows_of_task(parts: Parts, state: State, task: int, ledger: Ledger) -> dict[str, Array]:
    market, users, n = parts.open_market, parts.users, parts.market.n_providers
    offer = parts.regime.offer(
        parts.regime, market, task, state.actions[task, parts.present], users.mean_scale
    )
    label = market.compute_level[task][np.arange(market.n_providers), offer.level]
    served = ledger.requests > 0
    bid = offer.bid_usd
    if parts.regime.bids:
        bid = np.divide(ledger.bid_usd, ledger.requests, out=bid.copy(), where=served)
    above = ledger.level - label * ledger.requests  # exactly nought where all are served at one level
    level = label + np.divide(above, ledger.requests, out=np.zeros_like(above), where=served)

    def everybody(column: Array, absent: float) -> Array:
        if len(column) == n:
            return column
        whole = np.full(n, absent)
        whole[parts.present] = column
        return whole

    return {
        "compute_level": everybody(level, np.nan),
        "bid_usd": everybody(bid, np.nan),
        "requests": everybody(ledger.requests, 0.0),
        "share": everybody(ledger.requests / users.n_people, 0.0),
        "revenue_usd": everybody(ledger.revenue_usd, 0.0),
        "profit_usd": everybody(ledger.revenue_usd - ledger.cost_usd, 0.0),
        "tokens": everybody(ledger.tokens, 0.0),
    }


def _request_rows(parts: Parts, trade: Trade) -> RequestRows | None:
    if trade.drawn is None:
        return None
    market, found = parts.open_market, trade.drawn
    return RequestRows(
        user=np.concatenate([one.row for one in found]),
        task=np.concatenate([np.full(len(one.row), task) for task, one in enumerate(found)]),
        provider=np.concatenate([parts.present[one.lots.provider] for one in found]),
        compute_level=np.concatenate(
            [market.compute_level[t][one.lots.provider, one.lots.level] for t, one in enumerate(found)]
        ),
        price_usd=np.concatenate([one.money.payment for one in found]),
        correct=np.concatenate([one.outcomes.correct.astype(bool) for one in found]),
    )

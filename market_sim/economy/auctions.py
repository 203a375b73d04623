"""Reverse auctions, request by request: second-price (second-score) and first-price.

A bid asks for the level's cost plus a share x of the surplus it creates, b = c + x max(W, 0); x = 0 is
the truth.
The best score serves the request if it is worth at least V_0 (docs/theory.md 3 and 4).
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from market_sim.economy.ledger import Lots, Outcomes, joined, quality_of, value_of
from market_sim.economy.market import Market, UserPopulation, user_types
from market_sim.economy.regime import Actions, Match, Offer, Payoffs, Regime, Settlement, Shocks
from market_sim.theory import auction
from market_sim.theory.arrays import Array
from market_sim.theory.blocks import blocks
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.welfare import first_best

OVERSTATEMENTS = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
"""By how much a report may exceed f(accuracy), where the regime pays on reports."""


def second_price_actions(regime: Regime, market: Market, task: int) -> Actions:
    """A level and a share of own surplus, and a report of quality where the payment is on reports."""
    reports = OVERSTATEMENTS if regime.terms.payment == "reported" else OVERSTATEMENTS[:1]
    return _bid_actions(market, task, regime.terms.bid_shares, tuple(reports))


def first_price_actions(regime: Regime, market: Market, task: int) -> Actions:
    """A level and a share of own surplus; the winner is paid its bid, whatever quality is paid elsewhere."""
    return _bid_actions(market, task, regime.terms.bid_shares, tuple(OVERSTATEMENTS[:1]))


@lru_cache(maxsize=64)
def _bid_actions(
    market: Market, task: int, bid_shares: tuple[float, ...], overstatements: tuple[float, ...]
) -> Actions:
    k, shares, reports = market.offered.shape[-1], np.array(bid_shares), np.array(overstatements)
    steps = np.stack(
        np.meshgrid(np.arange(k + 1), np.arange(len(shares)), np.arange(len(reports)), indexing="ij"),
        axis=-1,
    ).reshape(-1, 3)
    level = np.where(steps[:, 0] < k, steps[:, 0], auction.EFFICIENT)
    allowed = np.concatenate([market.offered[task], np.ones((market.n_providers, 1), dtype=bool)], axis=1)
    truthful = np.flatnonzero((steps == (k, bid_shares.index(0), 0)).all(axis=1))[0]
    return Actions(
        level=level,
        share=shares[steps[:, 1]],
        overstate=reports[steps[:, 2]],
        steps=steps,
        allowed=allowed[:, steps[:, 0]],
        start=(shares[steps[:, 1]] == 0) & (reports[steps[:, 2]] == 0),
        truthful=int(truthful),
    )


def _bids(regime: Regime, market: Market, task: int, actions: Array) -> auction.Bids:
    grid = regime.actions(regime, market, task)
    overstate = grid.overstate[actions][:, None]
    return auction.Bids(
        worth=market.worth[task],
        claimed=_claimed(market, market.satisfaction[task], overstate),
        cost=market.cost[task],
        offered=market.offered[task],
        level=grid.level[actions],
        share=grid.share[actions],
    )


def auction_match(
    regime: Regime,
    market: Market,
    task: int,
    actions: Array,
    users: UserPopulation,
    shocks: Shocks | None,
) -> Match:
    """The best score per request serves it, if it is worth at least V_0; beta plays no part."""
    bids = _bids(regime, market, task, actions)
    alike = users.same_type
    scale = users.value_scale[:1] if alike else users.value_scale
    size = users.size.sum(keepdims=True) if alike else users.size
    alpha = market.value_of_correct[task] * scale

    def awards(tie_uniforms: Array | None) -> auction.Awards:
        return auction.run_auctions(bids, alpha, market.outside_value, tie_uniforms)

    def lots(won: auction.Awards, rows: Array, count: Array) -> Lots:
        return Lots(
            provider=won.winner[rows].astype(np.int64),
            level=won.level[rows].astype(np.int64),
            count=count,
            value_scale=scale[rows],
            standing=won.standing[rows],
        )

    # Where ties are drawn, equal scores share a request equally: one award for each of them in turn.
    drawing = regime.terms.ties == "random"
    first = awards(np.zeros(len(alpha)) if drawing else None)
    turns = [first]
    for turn in range(1, int(first.tied.max(initial=1))):
        turns.append(awards(np.where(turn < first.tied, (turn + 0.5) / first.tied, 0.0)))
    shared = [np.where(turn < first.tied, 1.0 / first.tied, 0.0) for turn in range(len(turns))]
    served = np.flatnonzero(first.winner != OUTSIDE)
    expected = joined([lots(w, served, (size * s)[served]) for w, s in zip(turns, shared, strict=True)])

    drawn = rows = picked = None
    if shocks is not None and isinstance(shocks.choice, np.ndarray):
        row_of = np.zeros(len(users.beta), dtype=np.int64) if alike else np.arange(len(users.beta))
        turn_of = np.floor(shocks.choice * first.tied[row_of]).astype(np.int64)
        picked = np.stack([w.winner for w in turns])[turn_of, row_of]
        level = np.stack([w.level for w in turns])[turn_of, row_of]
        rows = np.flatnonzero(picked != OUTSIDE)
        drawn = Lots(
            provider=picked[rows].astype(np.int64),
            level=level[rows].astype(np.int64),
            count=np.ones(len(rows)),
            value_scale=users.value_scale[rows],
            standing=first.standing[row_of[rows]],
        )
    elif shocks is not None and isinstance(shocks.choice, np.random.Generator):
        counts = shocks.choice.multinomial(size, np.stack(shared, axis=1))
        parts = [lots(w, served, counts[served, turn] * 1.0) for turn, w in enumerate(turns)]
        drawn, rows = joined(parts), np.tile(served, len(turns))
    return Match(
        expected=expected,
        unserved=float(size[first.winner == OUTSIDE].sum()),
        drawn=drawn,
        rows=rows,
        choice=picked,
        log_sum_usd=None,
    )


def _asked(bids: auction.Bids, alpha: Array | float, provider: Array, level: Array) -> Array:
    """Price bid per query: c + x max(W, 0), USD, one per (provider, level)."""
    cost = bids.cost[provider, level]
    surplus = alpha * bids.worth[provider, level] - cost
    return cost + bids.share[provider] * np.maximum(surplus, 0.0)


def bid_offer(regime: Regime, market: Market, task: int, actions: Array, value_scale: float) -> Offer:
    """Level and price bid for a user of that scale."""
    bids = _bids(regime, market, task, actions)
    alpha = market.value_of_correct[task] * value_scale
    level = auction.request_scores(bids, np.array([alpha]))[1][:, 0].astype(np.int64)
    return Offer(level=level, bid_usd=_asked(bids, alpha, np.arange(len(level)), level))


def second_price_settle(
    regime: Regime, market: Market, task: int, actions: Array, lots: Lots, outcomes: Outcomes
) -> Settlement:
    """The winner is paid quality - S, the quality being that of the regime's terms."""
    bids = _bids(regime, market, task, actions)
    alpha, at = value_of(market, task, lots), (lots.provider, lots.level)
    if regime.terms.payment == "realised":
        quality = quality_of(market, task, lots, outcomes)
    elif regime.terms.payment == "expected":
        quality = alpha * bids.worth[at] * lots.count
    else:
        quality = alpha * bids.claimed[at] * lots.count
    payment = auction.second_price_payment(quality, lots.standing * lots.count)
    if regime.terms.payment == "reported":
        overstated = alpha * (bids.claimed[at] - bids.worth[at])
        payment = auction.audited(payment, overstated, regime.terms.clawback, outcomes.audited)
    return Settlement(payment=payment, bid=_asked(bids, alpha, lots.provider, lots.level))


def first_price_settle(
    regime: Regime, market: Market, task: int, actions: Array, lots: Lots, outcomes: Outcomes
) -> Settlement:
    """The winner is paid the price it bid."""
    bids = _bids(regime, market, task, actions)
    asked = _asked(bids, value_of(market, task, lots), lots.provider, lots.level)
    return Settlement(payment=asked * lots.count, bid=asked)


def second_price_counterfactual(
    regime: Regime, market: Market, task: int, actions: Array, users: UserPopulation, providers: Array
) -> Payoffs:
    """Expected profit of every own bid against the others' standing ones.

    Paid its quality less S the winner earns W - S whatever it bid, on expected and on realised quality;
    on reported quality it also keeps what it overstated, less what audits take back.
    """
    kept = 0.0
    if regime.terms.payment == "reported":
        kept = 1.0 - regime.terms.audit_probability * regime.terms.clawback

    def profit(own: Array, rivals: Array, overstated: Array, share: Array) -> Array:
        return own - rivals + kept * overstated

    return _counterfactual(regime, market, task, actions, users, providers, profit)


def first_price_counterfactual(
    regime: Regime, market: Market, task: int, actions: Array, users: UserPopulation, providers: Array
) -> Payoffs:
    """Expected profit of every own bid against the others' standing ones: the share asked for, if it wins."""

    def profit(own: Array, rivals: Array, overstated: Array, share: Array) -> Array:
        return share[:, None] * np.maximum(own, 0.0)

    return _counterfactual(regime, market, task, actions, users, providers, profit)


def _counterfactual(
    regime: Regime,
    market: Market,
    task: int,
    actions: Array,
    users: UserPopulation,
    providers: Array,
    profit: Callable[[Array, Array, Array, Array], Array],
) -> Payoffs:
    grid = regime.actions(regime, market, task)
    bids = _bids(regime, market, task, actions)
    scale, _, size = user_types(users)
    weight = size / users.n_people if users.n_people > 0 else np.zeros(len(size))
    usd, share = np.zeros((2, len(providers), len(grid.level)))
    for block in blocks(len(scale)):
        alpha = market.value_of_correct[task] * scale[block]
        standing, _ = auction.request_scores(bids, alpha)
        for place, i in enumerate(providers):
            own, score, overstated = _own_bids(market, task, grid, i, alpha)
            rivals, chance = _chance_of_winning(regime, market, standing, i, score)
            earned = profit(own, rivals, overstated, grid.share)
            usd[place] += np.einsum("ar,ar,r->a", chance, earned, weight[block])
            share[place] += np.einsum("ar,r->a", chance, weight[block])
    usd[~grid.allowed[providers]] = 0.0
    largest = np.abs(usd).max(axis=1)
    safe = np.where(largest > 0, largest, 1.0)
    return Payoffs(
        relative=np.where(grid.allowed[providers], usd / safe[:, None], -np.inf),
        log_scale=np.log(largest, out=np.full(len(largest), -np.inf), where=largest > 0),
        share=share,
    )


def _own_bids(market: Market, task: int, grid: Actions, i: int, alpha: Array) -> tuple[Array, Array, Array]:
    """Surplus, score and overstatement of every action of provider i on each request, USD, (A, R) each."""
    worth, cost = market.worth[task, i], market.cost[task, i]
    surplus = np.multiply.outer(worth, alpha) - cost[:, None]
    best = np.where(market.offered[task, i][:, None], surplus, -np.inf).argmax(axis=0)
    level = np.where((grid.level == auction.EFFICIENT)[:, None], best, grid.level[:, None])
    own = np.take_along_axis(surplus, level, axis=0)
    overstate = grid.overstate[:, None]
    claimed = _claimed(market, market.satisfaction[task, i][level], overstate)
    overstated = np.where(overstate > 0, alpha * (claimed - worth[level]), 0.0)
    score = own - grid.share[:, None] * np.maximum(own, 0.0) + overstated
    return own, score, overstated


def _claimed(market: Market, satisfaction: Array, overstate: Array) -> Array:
    """The quality factor reported when f(accuracy) is overstated; nobody can claim more than certainty."""
    b = market.baseline
    return b + (1.0 - b) * np.minimum(satisfaction + overstate, 1.0)


def _chance_of_winning(
    regime: Regime, market: Market, standing: Array, i: int, score: Array
) -> tuple[Array, Array]:
    """Best of the others and the reserve (R,), and the chance (A, R) that each own score wins."""
    before = standing[:i].max(axis=0, initial=-np.inf)
    after = standing[i + 1 :].max(axis=0, initial=-np.inf)
    rivals = np.maximum(np.maximum(before, after), market.outside_value)
    if regime.terms.ties == "random":
        equal = (np.delete(standing, i, axis=0)[:, None, :] == score).sum(axis=0)
        return rivals, np.where(score >= rivals, 1.0 / (1 + equal), 0.0)
    return rivals, ((score > before) & (score >= after) & (score >= market.outside_value)) * 1.0


def auction_stakes(regime: Regime, market: Market, task: int, users: UserPopulation) -> Array:
    """The largest surplus; that of a sale by the token where there is none."""
    alpha = market.value_of_correct[task] * users.mean_scale
    offered, cost = market.offered[task], market.cost[task]
    surplus = np.where(offered, alpha * market.worth[task] - cost, -np.inf).max(axis=1)
    margin = np.where(offered, market.price[task] - cost, 0.0).max(axis=1)
    return np.where(surplus > 0, surplus, margin)


def truth(regime: Regime, market: Market, task: int, users: UserPopulation) -> Array:
    """The truthful bid, for every provider, (N,)."""
    return np.full(market.n_providers, regime.actions(regime, market, task).truthful)


def auction_best_welfare(
    regime: Regime, market: Market, task: int, users: UserPopulation
) -> tuple[float, str]:
    """The mean over users of max(W_(1), V_0)."""
    return first_best_welfare(market, task, users), "exact"


def first_best_welfare(market: Market, task: int, users: UserPopulation) -> float:
    """Welfare per request when every request is served by its best provider and level, or not at all."""
    scale, _, size = user_types(users)
    total = 0.0
    for block in blocks(len(scale)):
        alpha = market.value_of_correct[task] * scale[block]
        surplus = alpha[:, None, None] * market.worth[task] - market.cost[task]
        best = first_best(surplus, market.outside_value, market.offered[task])
        total += float(best @ size[block])
    return total / users.n_people

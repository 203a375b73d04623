"""Pay-per-compute: each provider posts a compute level and bills its tokens; users choose by the logit."""

from functools import lru_cache

import numpy as np

from market_sim.economy.ledger import Lots, Outcomes
from market_sim.economy.market import Market, UserPopulation, game_of, games_of, user_types
from market_sim.economy.regime import Actions, Match, Offer, Payoffs, Regime, Settlement, Shocks
from market_sim.theory import choice
from market_sim.theory.arrays import Array, at_levels, log_sum, log_sum_of_others
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.game import log_profits
from market_sim.theory.welfare import social_optimum


@lru_cache(maxsize=64)
def level_actions(regime: Regime, market: Market, task: int) -> Actions:
    """A compute level is an action."""
    k = market.offered.shape[-1]
    zeros = np.zeros(k)
    steps = np.column_stack([np.arange(k), np.zeros((k, 2), dtype=int)])
    return Actions(
        level=np.arange(k),
        share=zeros,
        overstate=zeros,
        steps=steps,
        allowed=market.offered[task],
        truthful=None,
    )


def level_offer(regime: Regime, market: Market, task: int, actions: Array, value_scale: float) -> Offer:
    """The same level for everybody."""
    return Offer(level=actions, bid_usd=np.full(len(actions), np.nan))


def logit_match(
    regime: Regime,
    market: Market,
    task: int,
    actions: Array,
    users: UserPopulation,
    shocks: Shocks | None,
) -> Match:
    """Users pick by the logit over true value."""
    levels = actions
    price = at_levels(market.price[task], levels)
    quality = at_levels(market.quality(task), levels)
    providers = np.arange(market.n_providers)
    people = users.n_people
    uniforms = shocks.choice.random(people) if shocks is not None and users.individuals else None
    if users.alike:
        scale, beta = users.value_scale[0], users.beta[0]
        values = scale * quality - price
        log_shares, log_outside = choice.log_shares(values, beta, market.outside_value)
        shares = np.exp(log_shares)
        log_sum_usd = float(choice.log_sum_surplus(values, beta, market.outside_value))
        picked = None if uniforms is None else choice.sample_alike(shares, uniforms)
        count, unserved = shares * people, float(np.exp(log_outside)) * people
        scales = np.full(len(levels), scale)
    else:
        crowd = choice.choose(
            quality=quality,
            price=price,
            value_scale=users.value_scale,
            beta=users.beta,
            outside_value=market.outside_value,
            weight=users.size.astype(float),
            uniforms=uniforms,
        )
        picked, count, unserved = crowd.index, crowd.share, crowd.unserved
        scales = np.divide(crowd.value_share, count, out=np.ones_like(count), where=count > 0)
        log_sum_usd = crowd.log_sum_usd / people

    def lots(provider: Array, counts: Array, value_scale: Array) -> Lots:
        return Lots(
            provider=provider,
            level=levels[provider],
            count=counts,
            value_scale=value_scale,
            standing=np.zeros(len(provider)),
        )

    drawn = rows = None
    if picked is not None:
        rows = np.flatnonzero(picked != OUTSIDE)
        drawn = lots(picked[rows].astype(np.int64), np.ones(len(rows)), users.value_scale[rows])
    elif shocks is not None:
        values = users.value_scale[:, None] * quality - price
        log_share, log_out = choice.log_shares(values, users.beta, market.outside_value)
        chances = np.exp(np.concatenate([log_share, log_out[:, None]], axis=1))
        chances /= chances.sum(axis=1, keepdims=True)
        counts = shocks.choice.multinomial(users.size, chances)[:, :-1]
        row, provider = np.nonzero(counts)
        drawn = lots(provider, counts[row, provider] * 1.0, users.value_scale[row])
    return Match(
        expected=lots(providers, count, scales),
        unserved=unserved,
        drawn=drawn,
        rows=rows,
        choice=picked,
        log_sum_usd=log_sum_usd,
    )


def posted_settle(
    regime: Regime, market: Market, task: int, actions: Array, lots: Lots, outcomes: Outcomes
) -> Settlement:
    """Every request pays for its tokens."""
    price = market.price[task][lots.provider, lots.level]
    return Settlement(payment=price * lots.count, bid=price)


def logit_counterfactual(
    regime: Regime,
    market: Market,
    task: int,
    actions: Array,
    users: UserPopulation,
    providers: Array,
) -> Payoffs:
    """U_ik = m_ik sum_u w_u s_iku, in logs: profits that underflow can still be compared."""
    if users.alike:
        game = game_of(market, task, float(users.beta[0]), float(users.value_scale[0]))
        logs = log_profits(game, actions)[providers]
    else:
        logs = _log_profits_of_types(market, task, actions, users, providers)
    scale = logs.max(axis=-1)
    relative = np.exp(logs - scale[:, None])
    return Payoffs(relative=np.where(market.offered[task][providers], relative, -np.inf), log_scale=scale)


def _log_profits_of_types(
    market: Market, task: int, actions: Array, users: UserPopulation, providers: Array
) -> Array:
    """ln U of each own level when users differ (docs/theory.md 2.10), (P, K); -inf if not offered."""
    quality, price, offered = market.quality(task), market.price[task], market.offered[task]
    margin = np.log(np.where(offered, price - market.cost[task], 1.0))
    log_weight = np.log(users.size / users.n_people)
    parts = []
    for block in choice.blocks(len(users.beta)):
        scale, beta = users.value_scale[block], users.beta[block]

        def offer(q: Array, p: Array, scale: Array = scale, beta: Array = beta) -> Array:
            return beta * (np.multiply.outer(q, scale) - p[..., None])

        standing = offer(at_levels(quality, actions), at_levels(price, actions))
        rivals = log_sum_of_others(standing.T, beta * market.outside_value).T[providers]
        own = offer(quality[providers], price[providers])
        log_share = -np.logaddexp(0.0, rivals[:, None, :] - own)
        parts.append(log_sum(log_share + log_weight[block]))
    share = log_sum(np.stack(parts), axis=0)
    return np.where(offered[providers], margin[providers] + share, -np.inf)


def logit_best_welfare(market: Market, task: int, users: UserPopulation) -> tuple[float, str]:
    """The exact optimum where users are alike; else the sum of the types' own optima, a bound."""
    if users.alike:
        game = game_of(market, task, float(users.beta[0]), float(users.value_scale[0]))
        return float(social_optimum(game).welfare), "exact"
    scale, beta, size = user_types(users)
    total = 0.0
    for block in choice.blocks(len(size)):
        optimum = social_optimum(games_of(market, task, beta[block], scale[block]))
        total += float(optimum.welfare @ size[block])
    return total / users.n_people, "bound"

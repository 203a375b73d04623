"""Posted prices: providers post a compute level and a price, users choose by the logit.

Under pay-per-compute the price is that of the tokens; with flat prices (economy/flat_price.py) it is posted
along with the level.  Everything here is said of actions, whatever an action consists of.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from market_sim.economy.ledger import Lots, Outcomes, lots_of_individuals, posted_lots
from market_sim.economy.market import Market, UserPopulation, user_types
from market_sim.economy.regime import Actions, Match, Offer, Payoffs, Regime, Settlement, Shocks
from market_sim.theory import choice
from market_sim.theory.arrays import Array, at_levels, log_sum
from market_sim.theory.blocks import blocks
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.game import Game, log_profits, make_game
from market_sim.theory.welfare import social_optimum


@dataclass(frozen=True, kw_only=True, eq=False)
class Posted:
    """What each action of each provider offers, (N, A) each: level (A,), then USD per query."""

    level: Array
    allowed: Array
    quality: Array
    price: Array
    cost: Array


@lru_cache(maxsize=64)
def posted(regime: Regime, market: Market, task: int) -> Posted:
    """The offers of all actions, quality being that to a user of value_scale 1."""
    grid = regime.actions(regime, market, task)
    cost = market.cost[task][:, grid.level]
    return Posted(
        level=grid.level,
        allowed=grid.allowed,
        quality=market.quality(task)[:, grid.level],
        price=market.price[task][:, grid.level] if grid.margin is None else cost + grid.margin,
        cost=cost,
    )


@lru_cache(maxsize=64)
def posted_game(regime: Regime, market: Market, task: int, beta: float, value_scale: float) -> Game:
    """The game of actions that users of one type face."""
    return _games(posted(regime, market, task), market, np.asarray(beta), np.asarray(value_scale))


def _games(offers: Posted, market: Market, beta: Array, value_scale: Array) -> Game:
    return make_game(
        value_scale[..., None, None] * offers.quality - offers.price,
        offers.price - offers.cost,
        beta,
        market.outside_value,
        offers.allowed,
    )


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
        start=np.ones(k, dtype=bool),
        truthful=None,
    )


def posted_offer(regime: Regime, market: Market, task: int, actions: Array, value_scale: float) -> Offer:
    """The same for everybody."""
    grid = regime.actions(regime, market, task)
    price = at_levels(posted(regime, market, task).price, actions)
    return Offer(
        level=grid.level[actions], bid_usd=np.full(len(actions), np.nan) if grid.margin is None else price
    )


def beliefs(users: UserPopulation, task: int, quality: Array, price: Array) -> choice.Utilities | None:
    """beta times what users think they net from offers (N,), USD; None where they know.

    Experience takes the place of true values, the last provider has the benefit of inertia, and offers
    above a budget are out of reach.
    """
    if users.informed:
        return None
    known = choice.true_utilities(quality, price, users.value_scale, users.beta)

    def utilities(block: slice) -> Array:
        beta = users.beta[block]
        utility = known(block) if users.estimates is None else users.estimates[task][:, block] * beta
        if users.inertia is not None and users.last_provider is not None:
            last = users.last_provider[block]
            loyal = np.flatnonzero(last != OUTSIDE)
            utility[last[loyal], loyal] += (beta * users.inertia[block])[loyal]
        if users.budget is not None:
            utility[price[:, None] > users.budget[block]] = -np.inf
        return utility

    return utilities


def logit_match(
    regime: Regime,
    market: Market,
    task: int,
    actions: Array,
    users: UserPopulation,
    shocks: Shocks | None,
) -> Match:
    """Users pick by the logit over what they believe each offer is worth to them."""
    offers = posted(regime, market, task)
    levels = offers.level[actions]
    price = at_levels(offers.price, actions)
    quality = at_levels(offers.quality, actions)
    providers = np.arange(market.n_providers)
    people = users.n_people
    uniforms = shocks.choice if shocks is not None and isinstance(shocks.choice, np.ndarray) else None
    believed = beliefs(users, task, quality, price)
    shares = None
    if users.alike:
        scale, beta = users.value_scale[0], users.beta[0]
        values = scale * quality - price
        log_shares, log_outside = choice.log_shares(values, beta, market.outside_value)
        shares = np.exp(log_shares)
        log_sum_usd = float(choice.surplus_from_outside(log_outside, beta))
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
            utilities=believed,
        )
        picked, count, unserved = crowd.index, crowd.share, crowd.unserved
        scales = np.divide(crowd.value_share, count, out=np.ones_like(count), where=count > 0)
        log_sum_usd = crowd.log_sum_usd / people if people > 0 else 0.0

    drawn = rows = None
    if picked is not None:
        rows, drawn = lots_of_individuals(levels, picked, users.value_scale)
    elif shocks is not None and isinstance(shocks.choice, np.random.Generator):
        utility = believed or choice.true_utilities(quality, price, users.value_scale, users.beta)
        log_share, log_out = choice.log_shares(
            utility(slice(None)).T, np.ones(len(users.beta)), users.beta * market.outside_value
        )
        chances = np.exp(np.concatenate([log_share, log_out[:, None]], axis=1))
        chances /= chances.sum(axis=1, keepdims=True)
        counts = shocks.choice.multinomial(users.size, chances)[:, :-1]
        rows, provider = np.nonzero(counts)
        drawn = posted_lots(levels, provider, counts[rows, provider] * 1.0, users.value_scale[rows])
    return Match(
        expected=posted_lots(levels, providers, count, scales),
        unserved=unserved,
        drawn=drawn,
        rows=rows,
        choice=picked,
        log_sum_usd=log_sum_usd,
        shares=shares,
    )


def posted_settle(
    regime: Regime, market: Market, task: int, actions: Array, lots: Lots, outcomes: Outcomes
) -> Settlement:
    """Every request pays the posted price."""
    price = at_levels(posted(regime, market, task).price, actions)[lots.provider]
    return Settlement(payment=price * lots.count, bid=price)


def posted_stakes(regime: Regime, market: Market, task: int, users: UserPopulation) -> Array:
    """The largest margin."""
    offers = posted(regime, market, task)
    return np.where(offers.allowed, offers.price - offers.cost, 0.0).max(axis=1)


def logit_counterfactual(
    regime: Regime,
    market: Market,
    task: int,
    actions: Array,
    users: UserPopulation,
    providers: Array,
) -> Payoffs:
    """U_ik = m_ik sum_u w_u s_iku, in logs: profits that underflow can still be compared."""
    offers = posted(regime, market, task)
    if users.alike:
        game = posted_game(regime, market, task, float(users.beta[0]), float(users.value_scale[0]))
        logs = log_profits(game, actions)[providers]
    else:
        logs = _log_profits_of_types(offers, market, task, actions, users, providers)
    return payoffs_from_logs(offers, logs, providers)


def payoffs_from_logs(offers: Posted, logs: Array, providers: Array) -> Payoffs:
    """What providers (P,) would earn by each own action, from ln U, (P, A); -inf where not allowed."""
    scale, allowed = logs.max(axis=-1), offers.allowed[providers]
    hopeful = np.isfinite(scale)  # nobody can afford whoever is not
    unit = np.where(hopeful, scale, 0.0)
    margin = np.where(allowed, (offers.price - offers.cost)[providers], 1.0)
    return Payoffs(
        relative=np.where(allowed, np.exp(logs - unit[:, None]), -np.inf),
        log_scale=scale,
        share=np.where(allowed, np.exp(logs - np.log(margin)), 0.0),
        logs=np.where(allowed, logs, -np.inf),
    )


def _log_profits_of_types(
    offers: Posted, market: Market, task: int, actions: Array, users: UserPopulation, providers: Array
) -> Array:
    """ln U of each own action when users differ (docs/theory.md 2.10), (P, A); -inf if not allowed.

    Where users go by their experience, nothing a provider does today moves them (docs/round.md).
    """
    quality, price, allowed = offers.quality, offers.price, offers.allowed
    margin = np.log(np.where(allowed, price - offers.cost, 1.0))
    weight = users.weights
    log_weight = np.log(weight, out=np.full(len(weight), -np.inf), where=weight > 0)
    at_work = at_levels(quality, actions), at_levels(price, actions)
    standing = beliefs(users, task, *at_work) or choice.true_utilities(
        *at_work, users.value_scale, users.beta
    )
    parts = []
    for block in blocks(len(users.beta)):
        outside = users.beta[block] * market.outside_value
        rivals = _rivals(standing(block), outside, providers)
        own = np.stack([_own_utilities(users, task, block, i, quality[i], price[i]) for i in providers])
        log_share = -np.logaddexp(0.0, rivals[:, None, :] - own)
        parts.append(log_sum(log_share + log_weight[block]))
    share = log_sum(np.stack(parts), axis=0)
    return np.where(allowed[providers], margin[providers] + share, -np.inf)


def _rivals(utility: Array, outside: Array, providers: Array) -> Array:
    """Log of what all but each of some providers offer, (P, u), from utilities (N, u)."""
    return np.stack([log_sum(np.delete(utility, i, axis=0), 0, outside) for i in providers])


def _own_utilities(
    users: UserPopulation, task: int, block: slice, provider: int, quality: Array, price: Array
) -> Array:
    """beta times what users believe they would net from each action of one provider, (A, u)."""
    beta = users.beta[block]
    if users.estimates is None:
        utility = beta * (np.multiply.outer(quality, users.value_scale[block]) - price[:, None])
    else:
        utility = np.tile(users.estimates[task][provider, block] * beta, (len(price), 1))
    if users.inertia is not None and users.last_provider is not None:
        utility += np.where(users.last_provider[block] == provider, beta * users.inertia[block], 0.0)
    if users.budget is not None:
        utility[price[:, None] > users.budget[block]] = -np.inf
    return utility


def logit_best_welfare(regime: Regime, market: Market, task: int, users: UserPopulation) -> tuple[float, str]:
    """The exact optimum where users are alike; else the sum of the types' own optima, a bound.

    Both are of users who know what offers are worth to them: limited users are held against those.
    """
    if users.same_type:
        game = posted_game(regime, market, task, float(users.beta[0]), float(users.value_scale[0]))
        return float(social_optimum(game).welfare), "exact"
    offers = posted(regime, market, task)
    scale, beta, size = user_types(users)
    total = 0.0
    for block in blocks(len(size)):
        optimum = social_optimum(_games(offers, market, beta[block], scale[block]))
        total += float(optimum.welfare @ size[block])
    return total / users.n_people, "bound"

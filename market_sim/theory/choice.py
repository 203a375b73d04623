"""How users choose: the multinomial logit, in logarithms.

A user who values provider i's offer at v_i (USD per query, net of its price) and not buying at v_0
picks i with probability

    s_i = exp(beta v_i) / D,      D = exp(beta v_0) + sum_j exp(beta v_j)

(docs/theory.md, section 2; McFadden 1974).  beta * v runs to 10^4 and more on real prices, so nothing
here exponentiates a value before the largest one has been taken away: shares are exact at beta = 10^6
(one provider takes all) and at beta = 0 (everyone chooses at random).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from market_sim.theory.arrays import Array, log_sum
from market_sim.theory.blocks import over_blocks

OUTSIDE = -1
"""The index that stands for "bought nothing" wherever a choice is an index."""


def log_total(values: Array, beta: Array | float, outside_value: Array | float = 0.0) -> Array:
    """Log of the logit's denominator D, the outside option included.

    values         (..., N)  net value of each offer, USD per query; -inf for one that is not made
    beta           (...)     rationality, 1/USD, >= 0
    outside_value  (...)     value of not buying, USD per query
    returns        (...)     ln(exp(beta v_0) + sum_j exp(beta v_j))
    """
    beta = np.asarray(beta, dtype=float)
    return log_sum(_utilities(values, beta), -1, beta * np.asarray(outside_value, dtype=float))


def log_shares(values: Array, beta: Array | float, outside_value: Array | float = 0.0) -> tuple[Array, Array]:
    """Log of the share of users that pick each provider, and of the share that buys nothing.

    Shapes and units as for `log_total`.  Returns (log shares (..., N), log outside share (...)); their
    exponentials add up to one.

    >>> shares, outside = log_shares(np.array([0.002, 0.001]), beta=0.0)
    >>> np.exp(shares).round(4).tolist(), float(np.exp(outside).round(4))
    ([0.3333, 0.3333], 0.3333)
    """
    beta = np.asarray(beta, dtype=float)
    total = log_total(values, beta, outside_value)
    outside = beta * np.asarray(outside_value, dtype=float) - total
    return _utilities(values, beta) - total[..., None], outside


def log_sum_surplus(values: Array, beta: Array | float, outside_value: Array | float = 0.0) -> Array:
    """Consumer surplus if the logit's noise is taste: (1/beta) ln(D / exp(beta v_0)), USD per query.

    Shapes and units as for `log_total`; returns (...).  Small & Rosen (1981).  It is measured from the
    outside option, never negative, and +inf at beta = 0, where tastes outweigh every price.
    """
    beta = np.asarray(beta, dtype=float)
    outside_value = np.asarray(outside_value, dtype=float)
    return surplus_from_outside(beta * outside_value - log_total(values, beta, outside_value), beta)


def surplus_from_outside(log_outside: Array, beta: Array | float) -> Array:
    """The same from the log of the share that buys nothing, (...): ln s_0 = beta v_0 - ln D."""
    gain, beta = 0.0 - np.asarray(log_outside), np.asarray(beta, dtype=float)
    with np.errstate(over="ignore"):  # a beta next to nothing: infinite
        return np.divide(gain, beta, out=np.full(gain.shape, np.inf), where=beta > 0)


def sample_alike(shares: Array, uniforms: Array) -> Array:
    """One choice per user, all users having the same shares (inverse CDF).

    shares    (N,)  probability of each provider; what is missing to one is the outside option's
    uniforms  (U,)  in [0, 1)
    returns   (U,)  int16 index of the provider, OUTSIDE for none
    """
    choice = np.searchsorted(np.cumsum(shares), uniforms, side="right").astype(np.int16)
    choice[choice == len(shares)] = OUTSIDE
    return choice


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a crowd of different users picked, and what it was expected to pick.

    index        (U,)  int16 provider picked, OUTSIDE for none; None when nothing was sampled
    share        (N,)  sum over users of weight * s_iu
    unserved     ()    sum over users of weight * s_0u
    value_share  (N,)  sum over users of weight * value_scale * s_iu
    log_sum_usd  ()    sum over users of weight * log-sum surplus, USD per query
    """

    index: Array | None
    share: Array
    unserved: float
    value_share: Array
    log_sum_usd: float


Utilities = Callable[[slice], Array]
"""beta times what users think they net from each provider, for a block of users: (N, u), the caller's own."""


def choose(
    *,
    quality: Array,
    price: Array,
    value_scale: Array,
    beta: Array,
    outside_value: float,
    weight: Array,
    uniforms: Array | None,
    utilities: Utilities | None = None,
) -> Choices:
    """Logit choices of users who differ in what an answer is worth and in how carefully they choose.

    User u nets value_scale_u * quality_i - price_i from provider i, and chooses by that unless `utilities`
    says what it believes instead.  One pass over arrays, BLOCK users at a time in the layout (providers,
    users); nothing of size U x N is ever kept.

    quality        (N,)  USD per query to a user of value_scale 1
    price          (N,)  USD per query
    value_scale    (U,)  and beta (U,), 1/USD
    outside_value  ()    USD per query
    weight         (U,)  weight of each user in the expected sums
    uniforms       (U,)  in [0, 1), or None to skip sampling
    utilities      beta times what users believe they net, -inf where an offer is out of reach; None: beta
                   times what they net
    """
    n_users = len(beta)
    index = None if uniforms is None else np.empty(n_users, dtype=np.int16)
    believed = utilities or true_utilities(quality, price, value_scale, beta)

    def chosen(block: slice) -> tuple[Any, ...]:
        scale, rationality, people = value_scale[block], beta[block], weight[block]
        utility = believed(block)
        top = np.maximum(utility.max(axis=0), rationality * outside_value)
        utility -= top
        odds, outside = np.exp(utility), np.exp(rationality * outside_value - top)
        total = odds.sum(axis=0) + outside
        if index is not None and uniforms is not None:
            index[block] = _pick(odds, uniforms[block] * total)
        surplus = np.log(total) - rationality * outside_value
        if utilities is None:
            surplus += top
        else:  # without what they believe to net: sum s_i utility_i, of which top is in all but the outside's
            np.maximum(utility, NO_CHANCE, out=utility)
            surplus += (top * outside - np.einsum("iu,iu->u", odds, utility)) / total
        with np.errstate(over="ignore"):
            surplus = np.divide(
                surplus, rationality, out=np.full_like(surplus, np.inf), where=rationality > 0
            )
            surplus_usd = (surplus * people).sum()
        people = people / total
        # Not by matrix products: their library has threads of its own, which would wait for these.
        share, value_share = (np.einsum("iu,u->i", odds, weight) for weight in (people, people * scale))
        return share, (outside * people).sum(), value_share, surplus_usd

    found = over_blocks(chosen, n_users)
    share, value_share = (np.sum([one[part] for one in found], axis=0) for part in (0, 2))
    unserved, surplus_usd = (float(np.sum([one[part] for one in found])) for part in (1, 3))
    if utilities is not None:  # taste is what noise adds to beliefs; what is then enjoyed is the true value
        surplus_usd += float((quality * value_share - price * share).sum())
    return Choices(
        index=index,
        share=share,
        unserved=unserved,
        value_share=value_share,
        log_sum_usd=surplus_usd,
    )


NO_CHANCE = -746.0
"""The exponential of anything less is exactly 0."""


def sample_choices(
    *,
    quality: Array,
    price: Array,
    value_scale: Array,
    beta: Array,
    outside_value: float,
    uniforms: Array,
) -> Array:
    """The choices of `choose` alone, (U,) int16, without the expected sums."""
    index = np.empty(len(beta), dtype=np.int16)
    utilities = true_utilities(quality, price, value_scale, beta)

    def picked(block: slice) -> None:
        utility, outside = utilities(block), beta[block] * outside_value
        top = np.maximum(utility.max(axis=0), outside)
        utility -= top
        odds, outside = np.exp(utility, out=utility), np.exp(outside - top)
        index[block] = _pick(odds, uniforms[block] * (odds.sum(axis=0) + outside))

    over_blocks(picked, len(beta))
    return index


def true_utilities(quality: Array, price: Array, value_scale: Array, beta: Array) -> Utilities:
    """beta_u (value_scale_u quality_i - price_i), for blocks of users."""

    def utilities(block: slice) -> Array:
        rationality = beta[block]
        utility = np.multiply.outer(quality, value_scale[block] * rationality)
        utility -= np.multiply.outer(price, rationality)
        return utility

    return utilities


def _pick(odds: Array, threshold: Array) -> Array:
    """Index of the provider at which the running sum of the odds first exceeds the threshold."""
    index = np.zeros(odds.shape[1], dtype=np.int16)
    running = np.zeros(odds.shape[1])
    for row in odds:
        running += row
        index += running <= threshold
    index[index == len(odds)] = OUTSIDE
    return index


def _utilities(values: Array, beta: Array) -> Array:
    """beta * value, with -inf (no such offer) kept at beta = 0 too."""
    values = np.asarray(values, dtype=float)
    made = np.isfinite(values)
    return np.where(made, beta[..., None] * np.where(made, values, 0.0), -np.inf)

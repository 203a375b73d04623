"""Welfare: the exact optimum, and the measures a market is judged by.

Social welfare of a profile of levels is the value created per arriving request,

    SW = sum_i s_i W_i + s_0 V_0,      W = q - c = V + m      (docs/theory.md, section 5)

Its maximum over all level profiles, users still choosing by the logit, is a fractional programme with
separable parts and is found exactly by Dinkelbach's method (1967) in a handful of O(NK) passes; the
same structure as assortment optimisation under the logit (docs/theory.md 2.6).
"""

from dataclasses import dataclass

import numpy as np

from market_sim.theory.arrays import Array, at_levels
from market_sim.theory.game import Game, log_shares_at

RELATIVE_DELTA = 1e-12
"""The optimum is certified to RELATIVE_DELTA * max |W|."""

_MAX_PASSES = 100


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The welfare-maximal profile of levels, with its certificate.

    welfare  (...)     USD per request
    levels   (..., N)  a profile that attains it
    bound    (...)     no profile has more welfare than this
    passes   ()        passes of Dinkelbach's method
    """

    welfare: Array
    levels: Array
    bound: Array
    passes: int


def welfare_at(game: Game, levels: Array) -> Array:
    """Social welfare of a profile of levels (..., N), USD per arriving request, (...)."""
    shares, outside = log_shares_at(game, levels)
    created = (np.exp(shares) * at_levels(game.surplus, levels)).sum(axis=-1)
    return created + np.exp(outside) * game.outside_value


def social_optimum(game: Game) -> Optimum:
    """The best welfare any profile of levels can reach while users choose by the logit.

    Dinkelbach's function F(lam) = sum_i max_k e_ik (W_ik - lam) + e^{beta V_0} (V_0 - lam) is separable.
    Its own scale is e^{beta V}, so neither "F is small" nor "lam stalled" is a safe end: each level is
    chosen at lam + delta and the method stops when the welfare so reached is no more than lam + delta,
    which certifies that nothing exceeds lam + delta.  Terms are compared as signed logarithms.
    """
    surplus = np.where(game.offered, game.surplus, 0.0)
    delta = RELATIVE_DELTA * np.abs(surplus).max(axis=(-2, -1))
    levels = np.where(game.offered, surplus, -np.inf).argmax(axis=-1)
    welfare = welfare_at(game, levels)
    for passes in range(1, _MAX_PASSES + 1):
        target = welfare + delta
        choice = _best_terms(game, surplus, target)
        reached = welfare_at(game, choice)
        better = reached > target
        levels = np.where(better[..., None], choice, levels)
        welfare = np.where(better, reached, welfare)
        if not better.any():
            return Optimum(welfare=welfare, levels=levels, bound=target, passes=passes)
    raise ArithmeticError(f"Dinkelbach's method did not stop within {_MAX_PASSES} passes")


def _best_terms(game: Game, surplus: Array, target: Array) -> Array:
    """argmax_k e_ik (W_ik - target) for every provider, (..., N), in signed logarithms."""
    gap = surplus - target[..., None, None]
    size = np.log(np.abs(gap), out=np.full(gap.shape, np.finfo(float).min), where=gap != 0)
    size += np.where(game.offered, game.log_offer, 0.0)
    gains, losses = game.offered & (gap >= 0), game.offered & (gap < 0)
    return np.where(
        gains.any(axis=-1),
        np.where(gains, size, -np.inf).argmax(axis=-1),
        np.where(losses, size, np.inf).argmin(axis=-1),
    )


def price_of_anarchy(optimum: Array | float, welfare: Array | float) -> Array:
    """optimum / welfare, at least 1; NaN where welfare is not above zero (a ratio says nothing there)."""
    optimum, welfare = np.asarray(optimum, dtype=float), np.asarray(welfare, dtype=float)
    optimum, welfare = np.broadcast_arrays(optimum, welfare)
    with np.errstate(over="ignore"):  # a welfare next to nothing: infinite
        return np.divide(optimum, welfare, out=np.full(welfare.shape, np.nan), where=welfare > 0)


def inefficiency(optimum: Array | float, welfare: Array | float) -> Array:
    """Price of anarchy minus one: the share of welfare that the same allocation could add.  NaN as there.

    >>> inefficiency(0.006, 0.005).round(6).item()
    0.2
    """
    return price_of_anarchy(optimum, welfare) - 1.0


def first_best(surplus: Array, outside_value: Array | float, offered: Array) -> Array:
    """max(W_(1), V_0): the welfare when every request is served by the best level of the best provider.

    surplus (..., N, K), outside_value (...), offered (N, K); returns (...), USD per request.
    """
    best = np.where(offered, surplus, -np.inf).max(axis=(-2, -1))
    return np.maximum(best, outside_value)


def hhi(shares: Array) -> float:
    """Herfindahl-Hirschman index of the providers' shares of what was bought, 0 to 10,000.

    shares (N,), not necessarily adding up to one.  NaN when nobody buys.
    """
    bought = float(np.sum(shares))
    if bought <= 0:
        return float("nan")
    return float(1e4 * np.sum((np.asarray(shares) / bought) ** 2))


def gini(amounts: Array, weights: Array | None = None) -> float:
    """Gini coefficient of non-negative amounts, 0 (all equal) to 1 - 1/n (one has all).

    amounts (n,), weights (n,) people per amount.  NaN when an amount is negative or all are zero.
    """
    amounts = np.asarray(amounts, dtype=float)
    weights = np.ones_like(amounts) if weights is None else np.asarray(weights, dtype=float)
    if (amounts < 0).any() or not (amounts * weights).sum() > 0:
        return float("nan")
    order = np.argsort(amounts, kind="stable")
    people = np.concatenate([[0.0], np.cumsum(weights[order])]) / weights.sum()
    money = np.concatenate([[0.0], np.cumsum((amounts * weights)[order])]) / (amounts * weights).sum()
    return float(1.0 - ((money[1:] + money[:-1]) * np.diff(people)).sum())


def wasted_compute(shares: Array, tokens: Array, efficient_tokens: Array) -> float:
    """sum_i s_i (tau_i - tau_i at the level of largest surplus), tokens per arriving request.  (N,) each."""
    return float(np.sum(np.asarray(shares) * (np.asarray(tokens) - np.asarray(efficient_tokens))))

"""The reverse second-price auction, request by request.

A bid of provider i is a price b_i and an expected quality q_i.  Its score q_i - b_i is what the offer is
worth to the user.  The highest score wins if it reaches the reserve V_0, otherwise nobody serves; the
winner is paid its quality less S, the better of the second-highest score and V_0.  The user keeps
exactly S, the winner its marginal contribution (docs/theory.md 3; Che 1993; Asker & Cantillon 2008).

Truth is weakly dominant: play the efficient level argmax_k W_ik for the request and bid its cost.  That
holds for payment on expected quality and on realised quality, not for payment on reported quality.

Arrays are laid out (providers, requests): one pass per provider over many requests at once.
"""

from dataclasses import dataclass

import numpy as np

from market_sim.theory.arrays import Array
from market_sim.theory.blocks import blocks
from market_sim.theory.choice import OUTSIDE

EFFICIENT = -1
"""In place of a level: the one with the largest surplus for the request at hand."""


@dataclass(frozen=True, kw_only=True)
class Award:
    """Who serves each request and what the user is left with.

    winner    (R,)  int16 provider, OUTSIDE where no score reaches the reserve
    score     (R,)  the winning score, the reserve where nobody wins
    standing  (R,)  S = max(second-highest score, reserve): the value the user keeps
    tied      (R,)  how many bids share the best score where ties are drawn; 1 where the first wins
    """

    winner: Array
    score: Array
    standing: Array
    tied: Array


def award(scores: Array, reserve: Array | float, tie_uniforms: Array | None = None) -> Award:
    """The second-score award.

    scores        (N, R)      value of each bid to the user, USD per query; -inf for no bid
    reserve       () or (R,)  what not buying is worth; a score equal to it wins
    tie_uniforms  (R,)        in [0, 1): equal best scores share the request at random.  None: the first
                              of them wins.

    >>> a = award(np.array([[5.0], [7.0], [6.0]]), reserve=0.0)
    >>> a.winner.item(), a.standing.item()
    (1, 6.0)
    """
    n_requests = scores.shape[1]
    second = np.broadcast_to(np.asarray(reserve, dtype=float), (n_requests,)).copy()
    best = np.nextafter(second, -np.inf)
    # Providers come in rising order, so the last to beat the best so far is the largest index that did:
    # a maximum, several times faster than a masked copy.  One is added so that 0 can mean nobody.
    winner = np.zeros(n_requests, dtype=np.int16)
    for i, score in enumerate(scores):
        np.maximum(winner, (score > best) * np.int16(i + 1), out=winner)
        np.maximum(second, np.minimum(best, score), out=second)
        np.maximum(best, score, out=best)
    winner -= 1
    count = np.ones(n_requests, dtype=np.int16)
    if tie_uniforms is not None:
        equal = (scores == best) & (winner != OUTSIDE)
        count = np.maximum(equal.sum(axis=0), 1).astype(np.int16)
        shared = np.flatnonzero(count > 1)
        rank = np.floor(tie_uniforms[shared] * count[shared]).astype(int) + 1
        winner[shared] = (np.cumsum(equal[:, shared], axis=0) == rank).argmax(axis=0)
    score = np.where(winner == OUTSIDE, second, best)
    return Award(winner=winner, score=score, standing=second, tied=count)


def second_price_payment(quality: Array | float, standing: Array | float) -> Array:
    """What the winner is paid: quality - S, USD per request.

    `quality` is the expected one (as published), the realised one (same incentives, no trust needed) or
    the reported one (not truthful).  Single payments can be below cost when quality is the realised one;
    they are not floored, which would break truthfulness.
    """
    return np.asarray(quality) - np.asarray(standing)


def audited(payment: Array, overstatement: Array, clawback: float, audits: Array | float) -> Array:
    """A payment on reported quality after audits, each of which takes back `clawback` times the
    overstatement of *expected* quality (a penalty on single wrong answers would punish the honest too).
    With audit probability rho, truth is restored iff rho * clawback >= 1 (docs/theory.md 3).

    audits  number of audits, or the probability of one for the expected payment
    """
    return payment - audits * clawback * np.maximum(overstatement, 0.0)


@dataclass(frozen=True, kw_only=True)
class TruthfulOutcome:
    """The auction when everybody tells the truth; USD per request, leading axes as the inputs'.

    winner, runner_up  (...)  OUTSIDE where nobody reaches the reserve (no second bidder: OUTSIDE)
    level              (...)  the winner's level
    welfare            (...)  max(W_(1), V_0)
    user_value         (...)  S
    price              (...)  q_w - S, 0 where nobody serves
    provider_profit    (...)  W_(1) - S
    """

    winner: Array
    runner_up: Array
    level: Array
    welfare: Array
    user_value: Array
    price: Array
    provider_profit: Array


def truthful_outcome(
    quality: Array, cost: Array, outside_value: Array | float, offered: Array
) -> TruthfulOutcome:
    """Award and payments when every provider plays its efficient level and bids its cost.

    quality, cost  (..., N, K) USD per query; offered (N, K); ties go to the lowest index.
    """
    surplus = np.where(offered, quality - cost, -np.inf)
    best = surplus.max(axis=-1)
    batch, n = best.shape[:-1], best.shape[-1]
    reserve = np.broadcast_to(np.asarray(outside_value, dtype=float), batch)
    result = award(np.moveaxis(best, -1, 0).reshape(n, -1), reserve.ravel())
    winner = result.winner.reshape(batch).astype(np.int64)
    served = winner != OUTSIDE
    at = np.maximum(winner, 0)[..., None]
    level = np.take_along_axis(surplus.argmax(axis=-1), at, axis=-1)[..., 0]
    won = np.take_along_axis(
        np.take_along_axis(np.broadcast_to(quality, surplus.shape), at[..., None], axis=-2)[..., 0, :],
        level[..., None],
        axis=-1,
    )[..., 0]
    rivals = best.copy()
    np.put_along_axis(rivals, at, -np.inf, axis=-1)
    runner_up = np.where(served & (rivals.max(axis=-1) >= reserve), rivals.argmax(axis=-1), OUTSIDE)
    score, standing = result.score.reshape(batch), result.standing.reshape(batch)
    return TruthfulOutcome(
        winner=winner,
        runner_up=runner_up,
        level=np.where(served, level, OUTSIDE),
        welfare=score,
        user_value=standing,
        price=np.where(served, second_price_payment(won, standing), 0.0),
        provider_profit=score - standing,
    )


@dataclass(frozen=True, kw_only=True)
class Bids:
    """Standing bids of all providers on any request.

    With alpha = what a correct answer is worth to the user and y = the quality factor, the surplus of a
    level is W = alpha y - c.  Provider i bids the price b = c + share_i * max(W, 0) at its level (nobody
    asks for a share of a loss) and claims the quality factor `claimed`; its score is alpha * claimed - b,
    which is (1 - share) W when it claims y and W is positive.

    worth    (N, K)  y: quality per USD of value, b + (1 - b) f(a)
    claimed  (N, K)  the factor reported to the auctioneer
    cost     (N, K)  USD per query
    offered  (N, K)  bool
    level    (N,)    index, or EFFICIENT: the best for each request
    share    (N,)    share of own surplus asked for; 0 is the truth
    """

    worth: Array
    claimed: Array
    cost: Array
    offered: Array
    level: Array
    share: Array


@dataclass(frozen=True, kw_only=True)
class Awards(Award):
    """The outcome of many requests: an `Award` and the winner's level (R,), 0 where nobody wins."""

    level: Array


def run_auctions(bids: Bids, value: Array, reserve: float, tie_uniforms: Array | None = None) -> Awards:
    """One auction per request, each provider's level chosen for that request where it is EFFICIENT.

    value         (R,)  alpha of each request, USD per correct answer
    tie_uniforms  (R,)  as in `award`
    """
    n_requests = len(value)
    winner = np.empty(n_requests, dtype=np.int16)
    level = np.empty(n_requests, dtype=np.int16)
    score, standing = np.empty(n_requests), np.empty(n_requests)
    tied = np.empty(n_requests, dtype=np.int16)
    lines = [np.array([k]) for k in bids.level]
    if (bids.level == EFFICIENT).any() and n_requests:
        useful = ever_efficient(bids.worth, bids.cost, bids.offered, value.min(), value.max())
        for i in np.flatnonzero(bids.level == EFFICIENT):
            lines[i] = np.flatnonzero(useful[i])

    for block in blocks(n_requests):
        scores, levels = _scores(bids, lines, value[block])
        ties = None if tie_uniforms is None else tie_uniforms[block]
        won = award(scores, reserve, ties)
        winner[block], score[block] = won.winner, won.score
        standing[block], tied[block] = won.standing, won.tied
        at = np.maximum(won.winner, 0)
        level[block] = levels[at, np.arange(len(at))] * (won.winner != OUTSIDE)
    return Awards(winner=winner, score=score, standing=standing, tied=tied, level=level)


def request_scores(bids: Bids, value: Array) -> tuple[Array, Array]:
    """Scores (N, R) and levels (N, R) of all bids on requests of the given values (R,)."""
    lines = [
        np.flatnonzero(row) if k == EFFICIENT else np.array([k])
        for row, k in zip(bids.offered, bids.level, strict=True)
    ]
    return _scores(bids, lines, value)


def _scores(bids: Bids, lines: list[Array], value: Array) -> tuple[Array, Array]:
    n = len(lines)
    scores = np.empty((n, len(value)))
    levels = np.zeros((n, len(value)), dtype=np.int16)
    trial = np.empty(len(value))
    for i, candidates in enumerate(lines):
        surplus, first = scores[i], candidates[0]
        np.multiply(value, bids.worth[i, first], out=surplus)
        surplus -= bids.cost[i, first]
        levels[i] = first
        for k in candidates[1:]:
            np.multiply(value, bids.worth[i, k], out=trial)
            trial -= bids.cost[i, k]
            np.maximum(levels[i], (trial > surplus) * np.int16(k), out=levels[i])
            np.maximum(surplus, trial, out=surplus)
        overclaim = bids.claimed[i] - bids.worth[i]
        if bids.share[i] != 0:
            surplus -= bids.share[i] * np.maximum(surplus, 0.0)
        if overclaim.any():
            surplus += value * overclaim[levels[i]]
    return scores, levels


def ever_efficient(worth: Array, cost: Array, offered: Array, lowest: float, highest: float) -> Array:
    """Which levels are the best of their provider for some value in [lowest, highest], (N, K) bool.

    The upper envelope of the lines alpha y - c.  Of levels that are equally good the first is kept.
    """
    begin = np.full(worth.shape, lowest, dtype=float)
    end = np.full(worth.shape, highest, dtype=float)
    useful = offered.copy()
    for j in range(worth.shape[1]):
        slope = worth - worth[:, j, None]
        rise = cost - cost[:, j, None]
        rival = offered[:, j, None] & offered
        crossing = np.divide(rise, slope, out=np.zeros_like(rise), where=slope != 0)
        steeper, flatter = rival & (slope > 0), rival & (slope < 0)
        begin = np.where(steeper, np.maximum(begin, crossing), begin)
        end = np.where(flatter, np.minimum(end, crossing), end)
        useful &= ~(rival & (slope == 0) & ((rise > 0) | ((rise == 0) & (np.arange(len(rise[0])) > j))))
    useful &= begin <= end
    # Rounding may leave a provider with no line where two cross exactly at an end of the range.
    none = ~useful.any(axis=1)
    useful[none] = offered[none]
    return useful

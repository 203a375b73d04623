"""The pay-per-compute game, solved.

N providers; provider i picks one of K_i compute levels.  At level k its offer is worth V_ik to a user
(USD per query, net of price) and earns it m_ik per query served.  Users follow the logit, so with
e_ik = exp(beta V_ik) and X_i = what everybody but i offers (outside option included)

    U_ik = m_ik e_ik / (X_i + e_ik)            expected profit per arriving request
    Phi  = sum_i (ln m_i + beta V_i) - ln D    exact potential of ln U     (docs/theory.md 2.1)

1/U_ik is linear in X_i, so best replies are the lower envelope of K lines (2.2); a tougher market
always favours the better offer, so the game is supermodular (2.3); and each provider has at most one
level consistent with each total D, which gives *all* pure equilibria in one sweep over D (2.4).
Everything is in logarithms and takes leading batch axes: 100 rationalities are one call.
"""

from dataclasses import dataclass, fields

import numpy as np

from market_sim.theory.arrays import (
    Array,
    at_levels,
    log_difference,
    log_sum,
    log_sum_of_others,
)

TOLERANCE = 1e-9
"""Largest gain in ln U that still counts as no gain, and the slack of intervals in ln D."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """The primitives of one game, or of a batch of games.

    value          (..., N, K)  V, net value to a user, USD per query
    margin         (..., N, K)  m > 0, profit per query served, USD
    beta           (...)        rationality, 1/USD, >= 0
    outside_value  (...)        V_0, USD per query
    offered        (N, K)       False where a provider has fewer than K levels

    Derived: log_offer = beta V, log_margin = ln m (both -inf where not offered), log_outside = beta V_0.
    """

    value: Array
    margin: Array
    beta: Array
    outside_value: Array
    offered: Array
    log_offer: Array
    log_margin: Array
    log_outside: Array

    @property
    def surplus(self) -> Array:
        """W = V + m, value created per query, USD, (..., N, K)."""
        return self.value + self.margin

    @property
    def n_providers(self) -> int:
        return self.log_offer.shape[-2]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.log_offer.shape[:-2]


def make_game(
    value: Array,
    margin: Array,
    beta: Array | float,
    outside_value: Array | float = 0.0,
    offered: Array | None = None,
) -> Game:
    """A checked `Game`; arguments as in its fields, broadcast against each other.

    Raises ValueError where a margin is not above zero (profits then have no logarithm), beta is negative
    or not finite, or a provider offers nothing.
    """
    value, margin = np.asarray(value, dtype=float), np.asarray(margin, dtype=float)
    beta = np.asarray(beta, dtype=float)
    offered = np.ones(value.shape[-2:], dtype=bool) if offered is None else np.asarray(offered, dtype=bool)
    if not offered.any(axis=-1).all():
        raise ValueError("every provider must offer at least one level")
    if not (np.isfinite(beta).all() and (beta >= 0).all()):
        raise ValueError("beta must be finite and at least 0")
    if not (np.where(offered, margin, 1.0) > 0).all():
        raise ValueError("every margin must be above 0: the game is solved in log-profits")
    batch = np.broadcast_shapes(value.shape[:-2], margin.shape[:-2], beta.shape)
    log_offer = beta[..., None, None] * np.where(offered, value, 0.0)
    log_margin = np.log(np.where(offered, margin, 1.0))
    shape = (*batch, *offered.shape)
    return Game(
        value=np.broadcast_to(np.where(offered, value, 0.0), shape),
        margin=np.broadcast_to(np.where(offered, margin, 1.0), shape),
        beta=np.broadcast_to(beta, batch),
        outside_value=np.broadcast_to(np.asarray(outside_value, dtype=float), batch),
        offered=offered,
        log_offer=np.broadcast_to(np.where(offered, log_offer, -np.inf), shape),
        log_margin=np.broadcast_to(np.where(offered, log_margin, -np.inf), shape),
        log_outside=np.broadcast_to(beta * np.asarray(outside_value, dtype=float), batch),
    )


def select(game: Game, index: Array | None) -> Game:
    """The games `index` of a batch, as a batch; with np.newaxis a single game becomes a batch of one."""
    batched = {
        field.name: getattr(game, field.name)[index] for field in fields(Game) if field.name != "offered"
    }
    return Game(offered=game.offered, **batched)


def log_rivals(game: Game, levels: Array) -> Array:
    """ln X_i: what everybody but i offers, outside option included.  levels (..., N) -> (..., N)."""
    return log_sum_of_others(at_levels(game.log_offer, levels), game.log_outside)


def log_profits_against(game: Game, log_x: Array) -> Array:
    """ln U of each own level when rivals offer exp(log_x).  (..., N) -> (..., N, K); -inf if not offered."""
    return game.log_margin + game.log_offer - np.logaddexp(log_x[..., None], game.log_offer)


def log_profits(game: Game, levels: Array) -> Array:
    """ln U of each own level against the others' standing levels.  levels (..., N) -> (..., N, K)."""
    return log_profits_against(game, log_rivals(game, levels))


def log_shares_at(game: Game, levels: Array) -> tuple[Array, Array]:
    """Log shares (..., N) and log outside share (...) of a profile of levels (..., N)."""
    offers = at_levels(game.log_offer, levels)
    total = log_sum(offers, -1, game.log_outside)
    return offers - total[..., None], game.log_outside - total


def potential(game: Game, levels: Array) -> Array:
    """Phi = sum_i (ln m_i + beta V_i) - ln D, (...).  Monderer & Shapley (1996)."""
    offers = at_levels(game.log_offer, levels)
    margins = at_levels(game.log_margin, levels)
    return (offers + margins).sum(axis=-1) - log_sum(offers, -1, game.log_outside)


def log_regret(game: Game, levels: Array) -> Array:
    """How much each provider could add to ln U by a unilateral move, (..., N), >= 0."""
    own = log_profits(game, levels)
    return own.max(axis=-1) - at_levels(own, levels)


def regret_usd(game: Game, levels: Array) -> Array:
    """How much each provider could add to its profit by a unilateral move, (..., N), USD per request."""
    own = np.exp(log_profits(game, levels))
    return own.max(axis=-1) - at_levels(own, levels)


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Best replies as a table: level k is a best reply where log_from <= ln X <= log_to.

    Both (..., N, K); a level that is never a best reply has log_from > log_to.
    """

    log_from: Array
    log_to: Array

    @property
    def ever_best(self) -> Array:
        return self.log_from <= self.log_to


def best_reply_thresholds(game: Game) -> Thresholds:
    """The lower envelope of the lines 1/U = X / (m e) + 1/m, level by level (docs/theory.md 2.2).

    Against weak rivals the highest margin is best, against strong ones the highest m e.  Two lines k, j
    with m_j > m_k and m_j e_j < m_k e_k cross where

        X = (1/m_k - 1/m_j) / (1/(m_j e_j) - 1/(m_k e_k)),

    j being better below and k above.  Of equal lines the first is kept.
    """
    shape = game.log_offer.shape
    weight = game.log_margin + game.log_offer
    log_from, log_to = np.full(shape, -np.inf), np.full(shape, np.inf)
    useless = np.broadcast_to(~game.offered, shape)
    for j in range(shape[-1]):
        margin_j, weight_j = game.log_margin[..., j, None], weight[..., j, None]
        rival = game.offered[:, j, None] & game.offered
        higher = rival & (margin_j > game.log_margin)  # j earns more per query: better at low X
        heavier = rival & (weight_j > weight)  # j is worth more to the market: better at high X
        same = rival & (margin_j == game.log_margin) & (weight_j == weight)
        same[..., : j + 1] = False
        never = same | (higher & (weight_j >= weight)) | (heavier & (margin_j >= game.log_margin))
        below, above = higher & (weight_j < weight), heavier & (margin_j < game.log_margin)
        crossing = _log_reciprocal_gap(game.log_margin, margin_j, below | above)
        crossing -= _log_reciprocal_gap(weight, weight_j, below | above)
        log_from = np.where(below, np.maximum(log_from, crossing), log_from)
        log_to = np.where(above, np.minimum(log_to, crossing), log_to)
        useless = useless | never
    return Thresholds(log_from=np.where(useless, np.inf, log_from), log_to=np.where(useless, -np.inf, log_to))


def _log_reciprocal_gap(log_a: Array, log_b: Array, where: Array) -> Array:
    """ln |1/a - 1/b| from ln a and ln b; 0 outside `where`."""
    low = np.where(where, np.minimum(log_a, log_b), 0.0)
    high = np.where(where, np.maximum(log_a, log_b), 1.0)
    return np.where(where, log_difference(-low, -high), 0.0)


@dataclass(frozen=True, kw_only=True)
class Equilibria:
    """All pure equilibria of a batch of games, each with its certificate; from least to greatest offers.

    game        (M,)    which game of the batch (0 where there is no batch)
    levels      (M, N)  index of the compute level of each provider
    log_total   (M,)    ln D
    log_regret  (M,)    largest gain in ln U by a unilateral move, at most TOLERANCE
    regret_usd  (M,)    the same in USD per request
    potential   (M,)    Phi
    welfare     (M,)    sum_i s_i W_i + s_0 V_0, USD per request
    ties        (B,)    whether a provider is indifferent somewhere: the list then has one representative
                        per total D, the least and the greatest equilibrium among them
    """

    game: Array
    levels: Array
    log_total: Array
    log_regret: Array
    regret_usd: Array
    potential: Array
    welfare: Array
    ties: Array

    def of(self, game: int) -> Array:
        """Rows (indices into M) that belong to one game of the batch."""
        return np.flatnonzero(self.game == game)


def equilibria(game: Game, tolerance: float = TOLERANCE) -> Equilibria:
    """All pure equilibria of each game of a batch (docs/theory.md 2.4).

    Provider i plays level k only for totals D with X_k-1 + e_ik <= D <= X_k + e_ik, X_k being its
    envelope's breakpoints.  As D grows every provider moves to better offers only, so sum_i e_i(D) is a
    rising step function: sort its steps, add them up (positive terms only, so nothing cancels), and
    keep the steps that contain their own height.  Each candidate is then checked by direct deviation.

    game       no batch axis, or one
    tolerance  in ln D and in ln U
    """
    flat = game if game.batch_shape else select(game, np.newaxis)
    which, levels = _candidates(flat, tolerance)
    which, levels, tied = _certified(flat, which, levels, tolerance)
    ties = np.zeros(flat.batch_shape, dtype=bool)
    ties[which[tied]] = True
    if ties.any():
        at = np.flatnonzero(ties)
        some = select(flat, at)
        ends = np.concatenate([extreme_equilibrium(some, end) for end in ("least", "greatest")])
        whose, ends, _ = _certified(flat, np.concatenate([at, at]), ends, tolerance)
        which, levels = np.concatenate([which, whose]), np.concatenate([levels, ends])
    return _listed(flat, which, levels, ties)


def extreme_equilibrium(game: Game, which: str) -> Array:
    """The least or greatest equilibrium, by best replies from the worst or best offers, (..., N).

    Best replies climb from everybody's least valuable offer (ties broken downwards) or descend from
    everybody's most valuable one (ties upwards); being monotone they stop after at most N (K - 1) moves
    (docs/theory.md 2.3; Topkis 1979).  Of equal offers only the one with the largest margin counts.

    which  "least" or "greatest", in the order of what users are offered
    """
    upwards = {"least": False, "greatest": True}[which]
    levels = _extreme_level(game, game.offered, upwards)
    while True:
        own = log_profits(game, levels)
        best = own >= own.max(axis=-1, keepdims=True) - TOLERANCE
        reply = _extreme_level(game, best, upwards)
        # Only moves that a strict order of offers allows: rounding must not turn a climb around.
        gain = at_levels(game.log_offer, reply) - at_levels(game.log_offer, levels)
        moves = (gain < 0) if upwards else (gain > 0)
        if not moves.any():
            return levels
        levels = np.where(moves, reply, levels)


def _extreme_level(game: Game, allowed: Array, upwards: bool) -> Array:
    """The allowed level with the largest (smallest) offer, of equal offers the dearest, (..., N)."""
    key = np.where(allowed, game.log_offer if upwards else -game.log_offer, -np.inf)
    same = allowed & (key == key.max(axis=-1, keepdims=True))
    return np.where(same, game.log_margin, -np.inf).argmax(axis=-1)


def _candidates(game: Game, tolerance: float) -> tuple[Array, Array]:
    """Profiles that are consistent with their own total: (game index (M,), levels (M, N))."""
    n_games, n, k = game.log_offer.shape
    table = best_reply_thresholds(game)
    # Along a provider's envelope offers only get better; put its levels in that order, others last.
    # Where three lines meet in a point the middle one is best there only: rounding must not lose it.
    useful = table.log_from <= table.log_to + tolerance
    order = np.argsort(np.where(useful, game.log_offer, np.inf), axis=-1, kind="stable")
    envelope = np.take_along_axis(useful, order, axis=-1)
    offer = np.where(envelope, np.take_along_axis(game.log_offer, order, axis=-1), -np.inf)
    begins = np.take_along_axis(table.log_from, order, axis=-1)
    start = np.where(envelope, np.logaddexp(np.where(envelope, begins, -np.inf), offer), np.inf)
    until = np.take_along_axis(table.log_to, order, axis=-1)
    end = np.where(envelope, np.logaddexp(np.where(envelope, until, -np.inf), offer), np.inf)
    ends = end.reshape(n_games, n * k)
    rise = offer.copy()
    later = envelope[..., 1:]
    rise[..., 1:] = np.where(
        later,
        log_difference(np.where(later, offer[..., 1:], 0.0), np.where(later, offer[..., :-1], -1.0)),
        -np.inf,
    )

    steps = start.reshape(n_games, n * k)
    sweep = np.argsort(steps, axis=-1, kind="stable")
    place = np.empty_like(sweep)
    np.put_along_axis(place, sweep, np.arange(n * k)[None, :], axis=-1)
    steps = np.take_along_axis(steps, sweep, axis=-1)
    rises = np.take_along_axis(rise.reshape(n_games, n * k), sweep, axis=-1)
    height = np.logaddexp.accumulate(np.concatenate([game.log_outside[:, None], rises], axis=-1), axis=-1)[
        :, 1:
    ]
    next_step = np.concatenate([steps[:, 1:], np.full((n_games, 1), np.inf)], axis=-1)
    place_of = place.reshape(n_games, n, k)
    everyone_in = place_of[..., 0].max(axis=-1)
    fits = (steps <= height + tolerance) & (height <= next_step + tolerance)
    fits &= np.arange(n * k) >= everyone_in[:, None]
    fits &= np.isfinite(steps)

    which, step = np.nonzero(fits)
    # Nobody's level may have ended before this total: as many have as were replaced, if all is well.
    # A level that ended by more than the slack d loses at least d (1 - e^-d) / 2 in ln U.
    slack = 2.0 * np.sqrt(tolerance)
    ended = (ends[which] < height[which, step][:, None] - slack).sum(axis=-1)
    alive = ended <= step + 1 - n
    which, step = which[alive], step[alive]
    reached = (place_of[which] <= step[:, None, None]) & envelope[which]
    position = np.where(reached, np.arange(k), 0).max(axis=-1)
    levels = np.take_along_axis(order[which], position[..., None], axis=-1)[..., 0]
    return which, levels


def _certified(game: Game, which: Array, levels: Array, tolerance: float) -> tuple[Array, Array, Array]:
    """The candidates that no unilateral move improves, and whether a provider is indifferent there."""
    own = log_profits(select(game, which), levels)
    best = own.max(axis=-1, keepdims=True)
    keep = (best[..., 0] - at_levels(own, levels)).max(axis=-1, initial=0.0) <= tolerance
    tied = ((own >= best - tolerance).sum(axis=-1) > 1).any(axis=-1)
    return which[keep], levels[keep], tied[keep]


def _listed(game: Game, which: Array, levels: Array, ties: Array) -> Equilibria:
    """Duplicates dropped, sorted by game and total, measured."""
    rows = np.unique(np.concatenate([which[:, None], levels], axis=1), axis=0)
    which, levels = rows[:, 0], rows[:, 1:]
    each = select(game, which)
    offers = at_levels(each.log_offer, levels)
    total = log_sum(offers, -1, each.log_outside)
    # In every equilibrium of a chain all offers are at least those of the one before; the sum of their
    # logarithms tells them apart even where one offer outweighs the total.
    order = np.lexsort((total, offers.sum(axis=-1), which))
    which, levels, total, each = which[order], levels[order], total[order], select(game, which[order])
    shares, outside = log_shares_at(each, levels)
    return Equilibria(
        game=which,
        levels=levels,
        log_total=total,
        log_regret=log_regret(each, levels).max(axis=-1),
        regret_usd=regret_usd(each, levels).max(axis=-1),
        potential=potential(each, levels),
        welfare=(np.exp(shares) * at_levels(each.surplus, levels)).sum(axis=-1)
        + np.exp(outside) * each.outside_value,
        ties=ties,
    )

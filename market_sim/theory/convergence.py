"""Where play ends up, and how well a finite run measures its means.

A run of R rounds among N providers is a table of profiles (R + 1, N): the action of each provider after
each round, row 0 the start.  It may settle, go round a cycle, or do neither; whatever it does, how often
each profile was played is a coarse correlated equilibrium up to the gap measured here (Moulin & Vial 1978).

The other half is about means over rounds of a series (n,) that is correlated with its own past: how many
rounds to drop at the start, how many independent observations the rest is worth, an interval for the
mean, and whether several runs tell the same story.  Such series are finite; where one holds a NaN,
nothing is dropped and the measure is NaN.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from market_sim.theory.arrays import Array, at_levels


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """What a run repeats until its end, leaving aside how long it waits in each profile.

    start    ()      round in which the periodic part begins
    length   ()      profiles in one period, which is moves in one period; a profile passed twice counts twice
    members  (L, N)  these profiles in order, the first being that of round `start`
    """

    start: int
    length: int
    members: Array


def settled_round(profiles: Array, *, patience: int | None = None) -> int | None:
    """The round after which the profile never changes again, 0 if it never did; None if that is too early
    to say, fewer than `patience` rounds having passed since.

    profiles  (R + 1, N)  action of each provider after each round, row 0 the start
    patience  ()          rounds; default 2N - 1, the fewest in which everybody has had a turn for certain
                          when one provider a round moves and the order is drawn anew every N rounds (the
                          first of one cycle may be the last of the next)

    >>> settled_round(np.array([[0, 0], [1, 0], [1, 2], [1, 2], [1, 2], [1, 2]]))
    2
    """
    patience = 2 * profiles.shape[1] - 1 if patience is None else patience
    last = int(_moves(profiles)[-1])
    return last if len(profiles) - 1 - last >= patience else None


def find_cycle(profiles: Array, *, repeats: int = 3, patience: int | None = None) -> Cycle | None:
    """The cycle in which a run ends, None if it settles or never repeats itself.

    profiles  (R + 1, N)  as for `settled_round`, and so is `patience`: a run settles or cycles, never both
    repeats   ()          full periods that must be seen at the end of the run, at least 2

    Providers move one at a time, in random order, and often have nothing to gain when their turn comes,
    so a profile stands for some rounds before the next: consecutive repeats count once.  Of the sequence
    that is left the smallest period wins.  A run whose order of turns decides between two ways round
    stays among a few profiles without a period, and is not a cycle here.

    Read from its end, the sequence has period L over L + z_L profiles, z_L being how far it agrees with
    itself moved on by L; all z_L together take time linear in R (the Z-algorithm, Gusfield 1997).

    >>> find_cycle(np.array([[2, 2], [0, 0], [0, 1], [0, 1], [0, 0], [0, 1], [0, 0], [0, 1]])).length
    2
    """
    if repeats < 2:
        raise ValueError(f"a cycle must be seen at least 2 times, not {repeats}")
    if settled_round(profiles, patience=patience) is not None:
        return None
    rounds = _moves(profiles)
    _, labels = np.unique(profiles[rounds], axis=0, return_inverse=True)
    agreement = _agreement_with_own_start(labels.reshape(-1)[::-1].tolist())
    for length in range(2, len(rounds) // repeats + 1):
        if agreement[length] >= (repeats - 1) * length:
            first = len(rounds) - length - agreement[length]
            members = profiles[rounds[first : first + length]]
            return Cycle(start=int(rounds[first]), length=length, members=members)
    return None


def nearest_equilibrium(profiles: Array, equilibria: Array) -> tuple[Array, Array]:
    """Which equilibrium a profile is closest to, and how many providers are not yet in it.

    profiles    (..., N)  actions, where the order of actions means something
    equilibria  (E, N)    at least one
    returns     (...) index of the equilibrium with which most providers agree, on a tie the one with the
                smaller sum of absolute differences, then the first; (...) providers whose action differs

    >>> index, providers_off = nearest_equilibrium(np.array([0, 2, 2]), np.array([[0, 0, 0], [0, 2, 1]]))
    >>> index.item(), providers_off.item()
    (1, 1)
    """
    if len(equilibria) == 0:
        raise ValueError("no equilibrium is given for a profile to be near to")
    profiles, equilibria = np.asarray(profiles, dtype=np.int64), np.asarray(equilibria, dtype=np.int64)
    batch = profiles.shape[:-1]
    index, steps = np.zeros(batch, dtype=np.int64), np.zeros(batch, dtype=np.int64)
    providers_off = np.full(batch, profiles.shape[-1] + 1)
    for e, equilibrium in enumerate(equilibria):  # nothing of size rounds x equilibria x N is ever kept
        difference = np.abs(profiles - equilibrium)
        off, away = (difference > 0).sum(axis=-1), difference.sum(axis=-1)
        nearer = (off < providers_off) | ((off == providers_off) & (away < steps))
        index = np.where(nearer, e, index)
        providers_off = np.where(nearer, off, providers_off)
        steps = np.where(nearer, away, steps)
    return index, providers_off


def regret(payoffs: Array, played: Array, weights: Array | None = None) -> Array:
    """What each provider's best fixed action would have added to its mean profit, (N,), unit of payoffs.

    payoffs  (M, N, A)  expected profit of every own action against the others' actions of profile m,
                        -inf where not allowed; an action must be allowed throughout to be a fixed action
    played   (M, N)     index of the own action in profile m
    weights  (M,)       how often each profile was played; default equally often

    Regret_i = max_k mean_m [U_i(k, others_m) - U_i(m)], as regret matching makes it vanish (Hart &
    Mas-Colell 2000).  Below zero when no fixed action does as well as what was played.  NaN when nothing
    was played.

    >>> regret(np.array([[[1.0, 3.0]], [[2.0, 1.0]]]), np.array([[0], [0]])).tolist()
    [0.5]
    """
    weights = np.ones(len(played)) if weights is None else np.asarray(weights, dtype=float)
    if not weights.sum() > 0:
        return np.full(np.shape(played)[1], np.nan)
    allowed = np.isfinite(payoffs)
    gain = np.where(allowed, payoffs, 0.0) - at_levels(payoffs, played)[..., None]
    mean_gain = np.tensordot(weights / weights.sum(), gain, axes=1)
    return np.where(allowed.all(axis=0), mean_gain, -np.inf).max(axis=-1)


def cce_gap(payoffs: Array, played: Array, weights: Array | None = None) -> float:
    """How far time-averaged play is from a coarse correlated equilibrium, unit of payoffs.

    max_i max_k mean_t [U_i(k, others_t) - U_i(t)], the largest `regret` (arguments there).  Play is a
    coarse correlated equilibrium when it is at most zero (Moulin & Vial 1978).  Not cut off at zero: it is
    negative when everybody does better than with any fixed action, and zero if play never moved and is an
    equilibrium.
    """
    return float(regret(payoffs, played, weights).max())


def mser_cut(series: Array) -> int:
    """How many observations to drop at the start, never more than half of the series.

    series (n,).  White's (1997) marginal standard error rule: drop the d <= n/2 that minimise
    sum_{t > d} (x_t - mean of the rest)^2 / (n - d)^2, the smaller d on a tie.  An answer of n // 2 is a
    warning that the series may still be on its way.

    >>> mser_cut(np.array([9.0, 4.0, 1.0, 1.0, 1.0, 1.0]))
    2
    """
    series = np.asarray(series, dtype=float)
    n = len(series)
    if n == 0:
        return 0
    # Sums run from the end and from the level of the second half, so that a large transient at the
    # start leaves no rounding in the sums that do without it.
    x, _ = _scaled(series, np.median(series[n // 2 :]))
    left = np.arange(n, n - n // 2 - 1, -1)
    total, squares = (np.cumsum(terms[::-1])[::-1][: len(left)] for terms in (x, x**2))
    return int((np.maximum(squares - total**2 / left, 0.0) / left**2).argmin())


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over rounds and how well it is known.

    mean         ()  unit of the series
    half_width   ()  of the confidence interval round the mean, same unit
    n_effective  ()  independent observations that would say as much
    n            ()  observations
    """

    mean: float
    half_width: float
    n_effective: float
    n: int


def batch_means(series: Array, *, confidence: float = 0.95, batches: int = 20) -> Estimate:
    """The mean of a correlated series and a confidence interval from the means of consecutive batches.

    series (n,), its warm-up dropped already (`mser_cut`).  All n observations are used: batches differ in
    length by one at most, and their means are weighted accordingly.  The interval takes batch means for
    independent and normal (Student's t with batches - 1 degrees of freedom): right when a batch is much
    longer than the memory of the series, too narrow otherwise.  Fewer than `batches` observations are
    batches of one.  The half-width is 0 for a constant series and NaN for fewer than two batches.

    Schmeiser (1982) on the number of batches: between 10 and 30 is enough.

    >>> batch_means(np.array([1.0, 2.0, 3.0, 4.0]), batches=2).mean
    2.5
    """
    series = np.asarray(series, dtype=float)
    n = len(series)
    if n == 0:
        return Estimate(mean=float("nan"), half_width=float("nan"), n_effective=0.0, n=0)
    x, size = _scaled(series, series[0])
    mean, half_width = x.mean(), float("nan")
    n_batches = min(batches, n)
    if n_batches >= 2:
        starts = np.arange(n_batches) * n // n_batches
        lengths = np.diff(starts, append=n)
        means = np.add.reduceat(x, starts) / lengths
        variance = (lengths * (means - mean) ** 2).sum() / (n_batches - 1)
        half_width = size * stdtrit(n_batches - 1, (1 + confidence) / 2) * np.sqrt(variance / n)
    return Estimate(
        mean=float(series[0] + size * mean),
        half_width=float(half_width),
        n_effective=effective_sample_size(series),
        n=n,
    )


def standard_errors(table: Array, *, batches: int = 20) -> tuple[Array, Array]:
    """Means of several correlated series and their standard errors by batch means, (C,) each.

    table  (C, n), one series per row, warm-up dropped; NaN where a series has no observation.
    The standard error is the half-width of `batch_means` over Student's t.  NaN for a mean of nothing, and
    for the error of fewer than two observations or of infinite ones.

    >>> means, errors = standard_errors(np.array([[1.0, 2.0, 3.0, 4.0]]), batches=2)
    >>> means.tolist(), errors.tolist()
    ([2.5], [1.0])
    """
    table = np.asarray(table, dtype=float)
    means, errors = np.full((2, len(table)), np.nan)
    there = ~np.isnan(table)
    whole, infinite = there.all(axis=1) & (table.shape[1] > 0), np.isinf(table).any(axis=1)
    at = whole & ~infinite
    if at.any():
        means[at], errors[at] = _batched(table[at], batches)
    for row in np.flatnonzero(~at & there.any(axis=1)):
        if infinite[row]:
            means[row] = table[row, np.flatnonzero(np.isinf(table[row]))[0]]
        else:
            (means[row],), (errors[row],) = _batched(table[row, there[row]][None], batches)
    return means, errors


def _batched(table: Array, batches: int) -> tuple[Array, Array]:
    """Means (C,) of finite series (C, n) and their standard errors; NaN for fewer than two observations."""
    n = table.shape[1]
    # From each series' first value on, in units of its largest deviation: a constant has no error at all.
    x = table - table[:, :1]
    size = np.abs(x).max(axis=1, initial=0.0)
    x = x / np.where(size > 0, size, 1.0)[:, None]
    mean, errors, many = x.mean(axis=1), np.full(len(table), np.nan), min(batches, n)
    if many >= 2:
        starts = np.arange(many) * n // many
        lengths = np.diff(starts, append=n)
        parts = np.add.reduceat(x, starts, axis=1) / lengths
        variance = (lengths * (parts - mean[:, None]) ** 2).sum(axis=1) / (many - 1)
        errors = size * np.sqrt(variance / n)
    return table[:, 0] + size * mean, errors


def effective_sample_size(series: Array) -> float:
    """How many independent observations tell the mean as well as this series, at most n.

    series (n,).  n / tau with tau = 1 + 2 sum_k rho_k, the autocorrelations rho summed in pairs
    rho_2m + rho_2m+1 while these are positive and never counted above an earlier one: Geyer's (1992)
    initial monotone sequence, made for reversible chains.  For a series that alternates tau can drop to
    nothing, so values below one are not believed.  A constant series is worth n.
    """
    series = np.asarray(series, dtype=float)
    n = len(series)
    if n == 0:
        return 0.0
    x, size = _scaled(series, series[0])
    if size == 0:
        return float(n)
    x = x - x.mean()
    padded = 1 << (2 * n - 1).bit_length()  # with as many zeros again nothing wraps round
    autocovariance = np.fft.irfft(np.abs(np.fft.rfft(x, padded)) ** 2, padded)[:n]
    pairs = (autocovariance[: n // 2 * 2] / autocovariance[0]).reshape(-1, 2).sum(axis=1)
    positive = pairs[: np.append(pairs <= 0, True).argmax()]
    tau = 2 * np.minimum.accumulate(positive).sum() - 1
    return float(n / np.maximum(tau, 1.0))  # numpy's maximum, which lets a NaN through


def split_rhat(chains: Array) -> float:
    """Whether several runs tell of one law: the spread between them over the spread within, near 1 if so.

    chains (C, R), one run per row.  Gelman & Rubin's (1992) potential scale reduction over the 2C halves
    of the runs, so that a drift within a run shows too (as in Vehtari et al. 2021, without their ranks); of
    an odd number of draws the middle one is left out.  NaN for fewer than 4 draws a run; without any spread
    within the halves, 1 when they are all equal and inf otherwise.
    """
    chains = np.asarray(chains, dtype=float)
    half = chains.shape[1] // 2
    if half < 2 or len(chains) == 0:
        return float("nan")
    x, _ = _scaled(chains, chains[0, 0])
    halves = np.concatenate([x[:, :half], x[:, -half:]])
    # From each half's own first draw on: the mean of what is constant is then that constant exactly.
    inside = halves - halves[:, :1]
    within = inside.var(axis=1, ddof=1).mean()
    between = (halves[:, 0] + inside.mean(axis=1)).var(ddof=1)
    if within == 0:
        return 1.0 if between == 0 else float("inf")
    return float(np.hypot(np.sqrt((half - 1) / half), np.sqrt(between) / np.sqrt(within)))


def _moves(profiles: Array) -> Array:
    """Round 0 and every round whose profile differs from the one before."""
    moved = (profiles[1:] != profiles[:-1]).any(axis=1)
    return np.concatenate([[0], np.flatnonzero(moved) + 1])


def _agreement_with_own_start(labels: list[int]) -> list[int]:
    """For every place, how many labels from there on agree with those from the first on (Z-algorithm)."""
    n = len(labels)
    agreement = [n] + [0] * (n - 1)
    start, end = 0, 0  # the stretch known to agree that reaches furthest
    for place in range(1, n):
        known = min(agreement[place - start], end - place) if place < end else 0
        while place + known < n and labels[known] == labels[place + known]:
            known += 1
        agreement[place] = known
        if place + known > end:
            start, end = place, place + known
    return agreement


def _scaled(values: Array, centre: float) -> tuple[Array, float]:
    """Deviations from `centre` as multiples of the largest in size, and that size: their squares neither
    over- nor underflow, and those of a constant from itself are exactly zero."""
    deviations = values - centre
    size = float(np.abs(deviations).max())
    return (deviations / size if size > 0 else deviations), size

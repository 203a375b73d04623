"""Where play ends up, and how well a finite run measures its means."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal, stats

from market_sim.theory.convergence import (
    batch_means,
    cce_gap,
    effective_sample_size,
    find_cycle,
    mser_cut,
    nearest_equilibrium,
    regret,
    settled_round,
    split_rhat,
    standard_errors,
)
from tests.worlds import read_only, seeds

NEVER = 10**9
"""A patience after which nothing ever counts as settled."""

small = st.integers(-4, 4)
reals = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=60)


def waiting(sequence, waits):
    """The sequence with each member standing for so many rounds."""
    return read_only([member for member, wait in zip(sequence, waits, strict=True) for _ in range(wait)])


def collapsed(profiles):
    """Rounds and profiles, each stretch of equal profiles counted once."""
    rounds = [t for t in range(len(profiles)) if t == 0 or tuple(profiles[t]) != tuple(profiles[t - 1])]
    return rounds, [tuple(profiles[t].tolist()) for t in rounds]


def cycle_by_trial(profiles, repeats):
    """Start, length and members of the smallest period that fits: every one tried, place by place."""
    rounds, sequence = collapsed(profiles)
    n = len(sequence)
    for length in range(2, n // repeats + 1):
        first = n - length
        while first > 0 and sequence[first - 1] == sequence[first - 1 + length]:
            first -= 1
        if n - first >= repeats * length:
            return rounds[first], length, sequence[first : first + length]
    return None


def found(profiles, **options):
    cycle = find_cycle(profiles, **options)
    return None if cycle is None else (cycle.start, cycle.length, [tuple(m) for m in cycle.members.tolist()])


def autoregressive(rng, phi, shape):
    """x_t = phi x_{t-1} + noise along the last axis, started in its stationary law of variance
    1 / (1 - phi^2); autocorrelation time (1 + phi) / (1 - phi)."""
    noise = rng.normal(size=shape)
    noise[..., 0] /= np.sqrt(1 - phi**2)
    return signal.lfilter([1.0], [1.0, -phi], noise)


# --- Settling ---------------------------------------------------------------------------------------


def test_a_run_settles_at_its_last_move():
    profiles = read_only([[0, 0]] + [[1, 0]] * 5 + [[1, 2]] * 4)
    assert settled_round(profiles) == 6
    assert settled_round(profiles[:1].repeat(4, axis=0)) == 0


@pytest.mark.parametrize(("quiet", "settled"), [(2, None), (3, 1), (4, 1)])
def test_a_run_is_settled_once_patience_rounds_have_passed_without_a_move(quiet, settled):
    """Two providers: three rounds, in which both have had a turn in whatever order."""
    profiles = read_only([[0, 0]] + [[0, 1]] * (1 + quiet))
    assert settled_round(profiles) == settled
    assert settled_round(profiles, patience=quiet) == 1
    assert settled_round(profiles, patience=quiet + 1) is None


@pytest.mark.parametrize("n", range(1, 6))
def test_everybody_has_had_a_turn_in_2n_minus_1_rounds_and_not_always_in_fewer(n):
    """Where the order is drawn anew every n rounds: all pairs of orders, all windows."""

    def someone_misses(width):
        return any(
            len(set((first + second)[start : start + width])) < n
            for first, second in itertools.product(itertools.permutations(range(n)), repeat=2)
            for start in range(n)
        )

    assert not someone_misses(2 * n - 1)
    assert n == 1 or someone_misses(2 * n - 2)


@given(seed=seeds, n_rounds=st.integers(0, 30), patience=st.integers(0, 6))
def test_the_settled_round_is_the_first_from_which_nothing_changes(seed, n_rounds, patience):
    profiles = read_only(np.random.default_rng(seed).integers(0, 2, (n_rounds + 1, 1)).repeat(2, axis=1))
    first = min(t for t in range(n_rounds + 1) if (profiles[t:] == profiles[-1]).all())
    expected = first if n_rounds - first >= patience else None
    assert settled_round(profiles, patience=patience) == expected


# --- Cycles -----------------------------------------------------------------------------------------


def test_the_cycle_of_different_users_is_found():
    """The duopoly without a pure equilibrium of docs/theory.md 2.10, its best replies from (0, 0)."""
    period = [(2, 0), (2, 1), (1, 1), (1, 0)]
    path = [(0, 0), *period * 5]
    waits = 1 + np.random.default_rng(2).integers(0, 3, len(path))
    cycle = find_cycle(waiting(path, waits))
    assert (cycle.start, cycle.length) == (waits[0], 4)
    assert [tuple(member) for member in cycle.members.tolist()] == period


def test_a_cycle_among_a_hundred_thousand_rounds_is_found():
    """Short after long stretches of the same, and a third of the run long."""
    flips = np.zeros(40_000, dtype=int)
    flips[1::2] = 1
    labels = np.concatenate([[2], flips, [2], flips, [2], flips[:19_999]])
    assert find_cycle(read_only(labels[:, None])).length == 2
    labels = np.concatenate([flips[:10_000], *[np.arange(2, 30_002)] * 3])
    cycle = find_cycle(read_only(labels[:, None]))
    assert (cycle.start, cycle.length) == (10_000, 30_000)
    assert find_cycle(read_only(labels[:-1, None])) is None  # one short of three periods


@given(
    head=st.lists(st.integers(0, 3), max_size=6),
    period=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    times=st.integers(1, 5),
    cut=st.integers(0, 4),
    repeats=st.integers(2, 4),
    seed=seeds,
)
def test_every_cycle_is_the_one_found_by_trying_all_periods(head, period, times, cut, repeats, seed):
    """Eventually periodic sequences with random waiting times."""
    rng = np.random.default_rng(seed)
    sequence = [*head, *period * times, *period[:cut]]
    codes = rng.integers(0, 3, (4, 2))  # now and then two labels are one profile
    profiles = waiting([codes[label] for label in sequence], rng.integers(1, 4, len(sequence)))
    expected = cycle_by_trial(profiles, repeats)
    assert found(profiles, repeats=repeats, patience=NEVER) == expected


@given(seed=seeds, n_rounds=st.integers(0, 40), n_profiles=st.integers(1, 3), repeats=st.integers(2, 3))
def test_random_sequences_have_the_cycles_found_by_trying_all_periods(seed, n_rounds, n_profiles, repeats):
    profiles = read_only(np.random.default_rng(seed).integers(0, n_profiles, (n_rounds + 1, 1)))
    assert found(profiles, repeats=repeats, patience=NEVER) == cycle_by_trial(profiles, repeats)


@given(seed=seeds, n_rounds=st.integers(0, 30), patience=st.integers(0, 6))
def test_a_run_never_settles_and_cycles_at_once(seed, n_rounds, patience):
    profiles = read_only(np.random.default_rng(seed).integers(0, 2, (n_rounds + 1, 1)))
    settled = settled_round(profiles, patience=patience)
    cycle = find_cycle(profiles, patience=patience)
    assert settled is None or cycle is None


@given(seed=seeds, length=st.integers(2, 5))
def test_waiting_moves_no_cycle_but_in_time(seed, length):
    rng = np.random.default_rng(seed)
    path = [[9], [8], *([member] for member in [*range(length)] * 4)]
    waits = rng.integers(1, 5, len(path))
    at_once, late = (found(waiting(path, w), patience=NEVER) for w in (np.ones_like(waits), waits))
    assert at_once == (2, length, [(member,) for member in range(length)])
    assert late == (waits[0] + waits[1], *at_once[1:])


def test_a_profile_passed_twice_in_a_period_counts_twice():
    cycle = find_cycle(read_only([[0], [1], [0], [2]] * 3))
    assert (cycle.start, cycle.length, cycle.members.ravel().tolist()) == (0, 4, [0, 1, 0, 2])


@pytest.mark.parametrize(
    "labels",
    [
        [0],
        [0, 0, 0, 0],
        [0, 1, 0, 1, 0],  # not three times yet
        [0, 1, 0, 1, 0, 1, 2],  # over
        [0, 1, 0, 1, 0, 1, 1, 1],  # settled: one provider, two rounds without a move
        [0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2],
    ],
)
def test_what_settles_or_does_not_repeat_itself_is_no_cycle(labels):
    assert find_cycle(read_only(labels)[:, None]) is None


def test_once_is_no_repetition():
    with pytest.raises(ValueError, match="at least 2 times, not 1"):
        find_cycle(read_only([[0], [1]]), repeats=1)


# --- Distance to equilibria -------------------------------------------------------------------------


def test_the_nearest_equilibrium_agrees_with_most_then_is_fewest_steps_away_then_comes_first():
    equilibria = read_only([[0, 0, 0], [3, 3, 3], [1, 1, 3], [1, 1, 3]])
    profiles = read_only([[[0, 0, 9], [3, 3, 3]], [[1, 1, 2], [0, 3, 2]]])
    index, providers_off = nearest_equilibrium(profiles, equilibria)
    assert index.tolist() == [[0, 1], [2, 1]]  # (0, 3, 2) is 5 steps from the first, 4 from the second
    assert providers_off.tolist() == [[1, 0], [1, 2]]


@given(seed=seeds, n=st.integers(1, 4), n_equilibria=st.integers(1, 5))
def test_the_nearest_equilibrium_is_the_one_found_by_ranking_all(seed, n, n_equilibria):
    rng = np.random.default_rng(seed)
    equilibria = read_only(rng.integers(0, 4, (n_equilibria, n)).astype(np.int16))
    profiles = read_only(rng.integers(0, 4, (6, n)).astype(np.uint8))
    index, providers_off = nearest_equilibrium(profiles, equilibria)
    for t, profile in enumerate(profiles.tolist()):
        pairs = [list(zip(profile, equilibrium, strict=True)) for equilibrium in equilibria.tolist()]
        ranked = min(
            (sum(a != b for a, b in pair), sum(abs(a - b) for a, b in pair), e)
            for e, pair in enumerate(pairs)
        )
        assert (providers_off[t], index[t]) == (ranked[0], ranked[2])
        alone = nearest_equilibrium(profiles[t], equilibria)
        assert (alone[0], alone[1]) == (index[t], providers_off[t])


def test_without_equilibria_none_is_near():
    with pytest.raises(ValueError, match="no equilibrium is given"):
        nearest_equilibrium(read_only([[0, 1]]), np.empty((0, 2), dtype=int))


# --- Coarse correlated equilibrium ------------------------------------------------------------------


def gap_by_loops(payoffs, played, weights):
    """(regret of each provider, their largest), straight from the definition."""
    M, N, A = payoffs.shape
    total = sum(weights)
    regrets = []
    for i in range(N):
        fixed = []
        for k in range(A):
            gains = [weights[m] * (payoffs[m, i, k] - payoffs[m, i, played[m, i]]) for m in range(M)]
            fixed.append(sum(gains) / total)
        regrets.append(max(fixed))
    return regrets, max(regrets)


@given(seed=seeds, M=st.integers(1, 6), N=st.integers(1, 4), A=st.integers(1, 4), counts=st.booleans())
def test_the_gap_is_its_definition(seed, M, N, A, counts):
    rng = np.random.default_rng(seed)
    payoffs = rng.normal(size=(M, N, A))
    n_allowed = rng.integers(1, A + 1, N)
    payoffs[:, np.arange(A) >= n_allowed[:, None]] = -np.inf
    payoffs, played = read_only(payoffs), read_only(rng.integers(0, n_allowed, (M, N)))
    weights = read_only(rng.integers(1, 5, M)) if counts else None
    regrets, largest = gap_by_loops(payoffs, played, np.ones(M) if weights is None else weights)
    assert regret(payoffs, played, weights) == pytest.approx(regrets, abs=1e-12)
    assert cce_gap(payoffs, played, weights) == pytest.approx(largest, abs=1e-12)


@given(seed=seeds)
def test_a_weight_is_so_many_rounds_and_none_is_no_round(seed):
    rng = np.random.default_rng(seed)
    payoffs, played = read_only(rng.normal(size=(4, 3, 2))), read_only(rng.integers(0, 2, (4, 3)))
    weights = read_only([2, 0, 1, 3])
    each = np.repeat(np.arange(4), weights)
    expected = regret(payoffs[each], played[each])
    assert regret(payoffs, played, weights) == pytest.approx(expected, abs=1e-12)


MATCHING_PENNIES = np.array([[1.0, -1.0], [-1.0, 1.0]])
CHICKEN = np.array([[6.0, 2.0], [7.0, 0.0]])
"""Of the row player, rows being own actions; chicken (Aumann 1974) is symmetric."""


def bimatrix(row, column, profiles):
    """payoffs (M, 2, A) and played (M, 2) of a two-player game, payoffs indexed by (own, other)."""
    payoffs = [[row[:, b], column[:, a]] for a, b in profiles]
    return read_only(payoffs), read_only(profiles)


def test_matching_pennies_played_evenly_is_a_coarse_correlated_equilibrium_and_no_pure_play_is():
    everything = list(itertools.product([0, 1], repeat=2))
    assert cce_gap(*bimatrix(MATCHING_PENNIES, -MATCHING_PENNIES.T, everything)) == 0.0
    for profile in everything:
        assert cce_gap(*bimatrix(MATCHING_PENNIES, -MATCHING_PENNIES.T, [profile])) == 2.0


def test_the_gap_of_play_better_than_any_fixed_action_is_negative():
    """Taking turns in chicken: (7 + 2) / 2 on average; the first action alone would give (6 + 2) / 2,
    the second (7 + 0) / 2."""
    payoffs, played = bimatrix(CHICKEN, CHICKEN, [(0, 1), (1, 0)])
    assert cce_gap(payoffs, played) == pytest.approx(4.0 - 4.5)
    assert regret(payoffs, played).tolist() == pytest.approx([-0.5, -0.5])


@given(seed=seeds)
def test_play_that_never_moves_has_the_regret_of_its_profile(seed):
    """And so a gap of zero exactly in a Nash equilibrium."""
    rng = np.random.default_rng(seed)
    payoffs, played = rng.normal(size=(3, 4)), rng.integers(0, 4, 3)
    best = payoffs.max(axis=1) - payoffs[np.arange(3), played]
    standing = (read_only([payoffs] * 5), read_only([played] * 5))
    assert regret(*standing) == pytest.approx(best)
    equilibrium = (standing[0], read_only([payoffs.argmax(axis=1)] * 5))
    assert cce_gap(*equilibrium) == 0.0


def test_an_action_not_always_allowed_is_no_fixed_action():
    payoffs = read_only([[[1.0, 5.0]], [[1.0, -np.inf]]])
    assert cce_gap(payoffs, read_only([[0], [0]])) == 0.0
    assert cce_gap(payoffs, read_only([[0], [0]]), read_only([1.0, 0.0])) == 0.0


def test_the_gap_of_nothing_played_is_undefined():
    payoffs, played = read_only(np.zeros((2, 3, 2))), read_only(np.zeros((2, 3), dtype=int))
    assert np.isnan(regret(payoffs, played, read_only([0.0, 0.0]))).tolist() == [True] * 3
    assert np.isnan(cce_gap(payoffs[:0], played[:0]))


# --- Warm-up ----------------------------------------------------------------------------------------


@given(
    series=st.lists(small, min_size=1, max_size=14), head=st.sampled_from([[], [2**40], [-(2**30), 2**20]])
)
def test_the_cut_minimises_the_marginal_standard_error(series, head):
    """In rationals, over every admissible cut; a huge transient takes nothing from the precision."""
    series = head + series

    def error(d):
        rest = [Fraction(x) for x in series[d:]]
        mean = sum(rest) / len(rest)
        return sum((x - mean) ** 2 for x in rest) / len(rest) ** 2

    cut = mser_cut(read_only(series))
    errors = [error(d) for d in range(len(series) // 2 + 1)]
    assert float(errors[cut]) <= float(min(errors)) + 1e-12
    assert all(float(e) > float(errors[cut]) - 1e-12 for e in errors[:cut])


@pytest.mark.parametrize("transient", [1.0, 1e9, 1e-9, -1e150])
def test_a_transient_before_a_constant_is_dropped_and_nothing_else(transient):
    series = np.full(50, 0.1)
    series[:17] += transient * np.arange(17, 0, -1)
    assert mser_cut(read_only(series)) == 17


def test_a_transient_before_noise_is_dropped():
    """A decay of time constant 50 from 20 standard deviations above a mean of no particular size."""
    rng = np.random.default_rng(1997)
    t = np.arange(2000)
    for _ in range(20):
        series = 1e4 + 20 * np.exp(-t / 50) + rng.normal(size=2000)
        cut = mser_cut(read_only(series))
        assert 50 <= cut <= 1000
        assert abs(series[cut:].mean() - 1e4) < 5 / np.sqrt(2000 - cut) < abs(series.mean() - 1e4)


def test_of_noise_around_a_fixed_mean_little_is_dropped():
    cuts = [mser_cut(read_only(x)) for x in np.random.default_rng(5).normal(size=(200, 1000))]
    assert np.median(cuts) < 50


@given(series=reals, factor=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
def test_the_cut_is_never_more_than_half(series, factor, shift):
    assert 0 <= mser_cut(read_only(factor * np.array(series) + shift)) <= len(series) // 2


@pytest.mark.parametrize("series", [[], [3.0], [0.1] * 7, [np.nan, 1.0, 2.0, 2.0], [9.0, 1.0, np.nan, 2.0]])
def test_nothing_is_dropped_from_what_is_empty_constant_or_undefined(series):
    assert mser_cut(read_only(np.array(series, dtype=float))) == 0


# --- Intervals for a mean ---------------------------------------------------------------------------


def coverage(samples, **options):
    """Share of the series (of mean zero) whose interval holds the mean."""
    estimates = [batch_means(read_only(x), **options) for x in samples]
    return np.mean([abs(e.mean) <= e.half_width for e in estimates])


@pytest.mark.parametrize(
    ("n", "batches", "confidence"),
    [(400, 20, 0.95), (407, 20, 0.95), (45, 10, 0.8), (13, 20, 0.95), (5, 2, 0.5)],
)
def test_the_interval_for_independent_draws_covers_as_often_as_it_says(n, batches, confidence):
    """Exactly so for normal draws, of any number: within 4 standard errors in 4,000 samples."""
    rng = np.random.default_rng(1982)
    share = coverage(rng.normal(size=(4000, n)), batches=batches, confidence=confidence)
    assert abs(share - confidence) < 4 * np.sqrt(confidence * (1 - confidence) / 4000)


def test_the_interval_for_a_correlated_series_covers_where_one_blind_to_its_memory_does_not():
    samples = autoregressive(np.random.default_rng(7), 0.8, (1000, 4000))
    tolerance = 4 * np.sqrt(0.95 * 0.05 / 1000)
    assert abs(coverage(samples) - 0.95) < tolerance
    blind = 1.96 * samples.std(axis=1) / np.sqrt(4000)
    assert (np.abs(samples.mean(axis=1)) <= blind).mean() < 0.6


def test_batches_of_equal_length_give_the_textbook_interval():
    series = read_only(np.random.default_rng(3).normal(5, 2, 60))
    means = series.reshape(12, 5).mean(axis=1)
    expected = stats.t.ppf(0.95, 11) * means.std(ddof=1) / np.sqrt(12)
    estimate = batch_means(series, confidence=0.9, batches=12)
    assert estimate.half_width == pytest.approx(expected, rel=1e-10)
    assert estimate.mean == pytest.approx(series.mean(), rel=1e-12)
    assert (estimate.n, estimate.n_effective) == (60, effective_sample_size(series))


@given(seed=seeds, n=st.integers(2, 50), batches=st.integers(2, 20))
def test_batches_differ_in_length_by_one_at_most_and_count_by_their_length(seed, n, batches):
    x = np.random.default_rng(seed).normal(size=n)
    n_batches = min(batches, n)
    parts = [x[n * j // n_batches : n * (j + 1) // n_batches] for j in range(n_batches)]
    assert {len(part) - n // n_batches for part in parts} <= {0, 1}
    spread = sum(len(part) * (part.mean() - x.mean()) ** 2 for part in parts) / (n_batches - 1)
    expected = stats.t.ppf(0.975, n_batches - 1) * np.sqrt(spread / n)
    assert batch_means(read_only(x), batches=batches).half_width == pytest.approx(expected, rel=1e-9)


@given(series=reals, batches=st.integers(2, 30))
def test_the_estimate_is_the_mean_with_a_half_width_that_is_never_negative(series, batches):
    estimate = batch_means(read_only(series), batches=batches)
    size = np.abs(series).max()
    assert estimate.mean == pytest.approx(np.mean(series), abs=1e-12 * size)
    assert np.isnan(estimate.half_width) if len(series) == 1 else estimate.half_width >= 0


@given(series=st.lists(small, min_size=2, max_size=60), power=st.integers(-300, 300))
def test_an_estimate_scales_with_its_unit_however_small_or_large(series, power):
    factor = 2.0**power
    one, other = (batch_means(read_only(f * np.array(series))) for f in (1.0, factor))
    assert other.mean == one.mean * factor
    assert other.half_width == pytest.approx(one.half_width * factor, rel=1e-9)
    assert other.n_effective == one.n_effective


@pytest.mark.parametrize("n", [2, 19, 20, 61])
def test_a_constant_is_known_exactly(n):
    estimate = batch_means(read_only(np.full(n, 0.1)))
    assert (estimate.mean, estimate.half_width, estimate.n_effective, estimate.n) == (0.1, 0.0, n, n)


def test_fewer_than_two_batches_have_no_interval():
    nothing = batch_means(read_only(np.empty(0)))
    assert np.isnan([nothing.mean, nothing.half_width]).all()
    assert (nothing.n, nothing.n_effective) == (0, 0.0)
    one = batch_means(read_only([3.0]))
    assert np.isnan(one.half_width)
    assert (one.mean, one.n) == (3.0, 1)
    assert np.isnan(batch_means(read_only([1.0, 2.0, 3.0]), batches=1).half_width)


def test_the_estimate_of_a_series_with_a_hole_is_undefined():
    estimate = batch_means(read_only([1.0, np.nan, 2.0]))
    assert np.isnan([estimate.mean, estimate.half_width, estimate.n_effective]).all()


# --- Effective sample size --------------------------------------------------------------------------


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_an_autoregressive_series_is_worth_its_length_over_its_autocorrelation_time(phi):
    n = 20_000
    samples = autoregressive(np.random.default_rng(1992), phi, (40, n))
    mean_size = np.mean([effective_sample_size(read_only(x)) for x in samples])
    assert mean_size == pytest.approx(n * (1 - phi) / (1 + phi), rel=0.03)


def geyer_by_loops(x):
    """The estimator as it is written down, lag by lag."""
    n = len(x)
    x = x - x.mean()
    rho = [(x[: n - k] * x[k:]).sum() / (x**2).sum() for k in range(n)]
    total, least = 0.0, np.inf
    for m in range(n // 2):
        pair = rho[2 * m] + rho[2 * m + 1]
        if pair <= 0:
            break
        least = min(least, pair)
        total += least
    return n / max(2 * total - 1, 1.0)


@given(seed=seeds, n=st.integers(2, 80), phi=st.floats(-0.9, 0.99))
def test_the_effective_sample_size_is_geyers(seed, n, phi):
    x = autoregressive(np.random.default_rng(seed), phi, n)
    assert effective_sample_size(read_only(x)) == pytest.approx(geyer_by_loops(x), rel=1e-9)


@given(series=reals)
def test_no_series_is_worth_more_than_its_length_or_less_than_nothing(series):
    assert 0 < effective_sample_size(read_only(series)) <= len(series)


def test_what_never_moves_or_alternates_is_worth_its_length():
    assert effective_sample_size(read_only(np.full(50, 0.1))) == 50
    assert effective_sample_size(read_only(np.tile([1.0, -1.0], 25))) == 50
    assert effective_sample_size(read_only([7.0])) == 1
    assert effective_sample_size(read_only(np.empty(0))) == 0
    assert np.isnan(effective_sample_size(read_only([1.0, np.nan])))


# --- Agreement of runs ------------------------------------------------------------------------------


def test_runs_of_one_law_agree():
    chains = np.random.default_rng(2021).normal(size=(4, 5000))
    assert split_rhat(read_only(chains)) == pytest.approx(1.0, abs=2e-3)
    assert split_rhat(read_only(autoregressive(np.random.default_rng(1), 0.5, (4, 20_000)))) < 1.01


def test_runs_of_shifted_laws_disagree():
    """Unit variance within; half-run means 0, 0, 6, 6 have variance 36 / 3, so R-hat is near sqrt(1 + 12)."""
    chains = np.random.default_rng(4).normal(size=(2, 20_000)) + np.array([[0.0], [6.0]])
    assert split_rhat(read_only(chains)) == pytest.approx(np.sqrt(13), rel=0.02)


def test_a_drift_shows_within_a_single_run():
    drift = np.random.default_rng(6).normal(size=(1, 2000)) + np.linspace(0, 5, 2000)
    assert split_rhat(read_only(drift)) > 1.5


@given(seed=seeds, C=st.integers(1, 4), R=st.integers(4, 15))
def test_rhat_is_the_formula_of_gelman_and_rubin_on_half_runs(seed, C, R):
    chains = np.random.default_rng(seed).normal(3, 2, (C, R))
    n = R // 2
    halves = [row[:n] for row in chains] + [row[R - n :] for row in chains]
    within = np.mean([np.var(h, ddof=1) for h in halves])
    between = n * np.var([np.mean(h) for h in halves], ddof=1)
    expected = np.sqrt(((n - 1) / n * within + between / n) / within)
    assert split_rhat(read_only(chains)) == pytest.approx(expected, rel=1e-9)
    assert split_rhat(read_only(1e-200 * chains[::-1])) == pytest.approx(expected, rel=1e-9)


def test_rhat_of_constant_runs_is_one_if_they_are_equal_and_infinite_if_not():
    assert split_rhat(read_only(np.full((3, 7), 0.1))) == 1.0
    assert split_rhat(read_only([[0.1] * 7, [0.3] * 7])) == np.inf
    assert split_rhat(read_only([[0.1] * 3 + [0.3] * 3])) == np.inf
    hardly_moving = split_rhat(read_only([[0.0, 1e-160, 0.0, 1e-160], [1.0] * 4]))
    assert 1e150 < hardly_moving < np.inf


def test_rhat_needs_four_draws_a_run_and_a_run():
    assert np.isnan(split_rhat(read_only([[1.0, 2.0, 3.0]])))
    assert np.isnan(split_rhat(np.empty((0, 10))))
    assert np.isnan(split_rhat(read_only([[1.0, np.nan, 3.0, 4.0]])))
    assert split_rhat(read_only([[1.0, 2.0, 1.0, 2.0]])) == pytest.approx(np.sqrt(0.5))


@given(
    st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=60),
    st.integers(1, 3),
)
def test_standard_errors_are_half_widths_over_students_t(series, copies):
    series = np.array(series)
    means, errors = standard_errors(np.tile(series, (copies, 1)))
    found = batch_means(series)
    assert means == pytest.approx(found.mean, rel=1e-12, abs=1e-12)
    if len(series) == 1:
        assert np.isnan(errors).all()
    else:
        t = stats.t.ppf(0.975, min(20, len(series)) - 1)
        assert errors == pytest.approx(found.half_width / t, rel=1e-9, abs=1e-12)


def test_standard_errors_leave_out_what_is_undefined_and_say_what_is_infinite():
    nan, inf = np.nan, np.inf
    table = np.array([[1.0, nan, 3.0, nan], [nan] * 4, [1.0, inf, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    means, errors = standard_errors(table)
    np.testing.assert_array_equal(means, [2.0, nan, inf, 5.0])
    np.testing.assert_array_equal(errors, [1.0, nan, nan, 0.0])
    np.testing.assert_array_equal(standard_errors(np.empty((2, 0)))[0], [nan, nan])

"""The welfare optimum and the measures a market is judged by (docs/theory.md, 2.6, 2.8 and 5)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.theory.game import equilibria, log_profits, log_shares_at, make_game
from market_sim.theory.welfare import (
    RELATIVE_DELTA,
    first_best,
    gini,
    hhi,
    inefficiency,
    price_of_anarchy,
    social_optimum,
    wasted_compute,
    welfare_at,
)
from tests.worlds import batches, random_world, read_only, seeds, stacked, worlds

amounts = st.lists(st.floats(0, 1e6), min_size=1, max_size=12)


def scale(world) -> float:
    """The size of the numbers that welfare is made of, USD."""
    return float(np.nanmax(np.abs([world.value, world.margin])) + abs(world.outside_value))


# --- The optimum (2.6) ------------------------------------------------------------------------------


@given(world=worlds())
def test_the_optimum_is_the_best_of_all_profiles(world):
    best = social_optimum(world.game())
    exact, _ = world.market().welfare_optimum()
    assert best.welfare == pytest.approx(float(exact), abs=1e-11 * scale(world))
    attained = world.market().welfare(tuple(best.levels.tolist()))
    assert float(attained) == pytest.approx(float(exact), abs=1e-11 * scale(world))
    assert best.welfare == welfare_at(world.game(), best.levels)


@given(world=worlds())
def test_welfare_never_exceeds_the_bound(world):
    """The certificate: no profile has more, and the optimum is within delta of it."""
    best = social_optimum(world.game())
    market = world.market()
    for profile in market.profiles():
        assert float(market.welfare(profile)) <= best.bound + 1e-14 * scale(world)
    surplus = (world.value + world.margin)[world.offered]
    assert 0 <= best.bound - best.welfare <= 2 * RELATIVE_DELTA * np.abs(surplus).max()


def test_the_optimum_is_exact_in_a_thousand_games_within_a_handful_of_passes():
    """A fixed sample over all rationalities; Dinkelbach's method converges faster than linearly."""
    rng = np.random.default_rng(1967)
    for number in range(1000):
        kind = ("realistic", "arbitrary", "coordination")[number % 3]
        beta = 0.0 if number % 10 == 0 else 10 ** rng.uniform(0, 6)
        world = random_world(rng, kind, rng.integers(1, 4, rng.integers(1, 5)), beta, rng.normal(0, 0.005))
        best = social_optimum(world.game())
        exact = float(world.market().welfare_optimum()[0])
        assert abs(best.welfare - exact) <= 1e-11 * scale(world)
        assert best.passes <= 10


@given(world=worlds())
def test_welfare_never_exceeds_the_optimum_nor_the_optimum_the_first_best(world):
    best = social_optimum(world.game())
    slack = 1e-11 * scale(world)
    assert (equilibria(world.game()).welfare <= best.welfare + slack).all()
    ceiling = first_best(world.value + world.margin, world.outside_value, world.offered)
    assert best.welfare <= ceiling + slack


@given(games=batches())
def test_the_optima_of_a_batch_are_those_of_its_games(games):
    together = social_optimum(stacked(games))
    for g, world in enumerate(games):
        alone = social_optimum(world.game())
        assert together.welfare[g].tobytes() == alone.welfare.tobytes()
        assert together.levels[g].tolist() == alone.levels.tolist()
        assert together.bound[g].tobytes() == alone.bound.tobytes()


@given(world=worlds(), seed=seeds)
def test_welfare_is_what_users_and_providers_get_together(world, seed):
    """The identity of docs/theory.md 5, and welfare by its definition."""
    game = world.game()
    profile = tuple(world.profile(np.random.default_rng(seed)).tolist())
    shares, outside = (np.exp(s) for s in log_shares_at(game, np.array(profile)))
    own = np.arange(world.n_providers), list(profile)
    user_value = shares @ world.value[own] + outside * world.outside_value
    profit = np.exp(log_profits(game, np.array(profile))[own]).sum()
    welfare = welfare_at(game, np.array(profile))
    assert welfare == pytest.approx(user_value + profit, abs=1e-10 * scale(world))
    exact = float(world.market().welfare(profile))
    assert welfare == pytest.approx(exact, abs=1e-11 * scale(world))


def test_the_outside_option_counts_in_welfare():
    """One provider that destroys value: half the users buy, and the optimum is its lesser evil."""
    game = make_game(read_only([[0.0, -2.0]]), read_only([[0.25, 0.5]]), 0.0, outside_value=1.0)
    best = social_optimum(game)
    assert best.welfare == pytest.approx((0.25 + 1.0) / 2)
    assert best.levels.tolist() == [0]
    assert welfare_at(game, np.array([1])) == pytest.approx((-1.5 + 1.0) / 2)


def test_the_first_best_is_the_best_offer_or_none():
    surplus = read_only([[[0.3, 0.9], [0.5, 7.0]], [[-0.3, -0.1], [-0.5, 7.0]]])
    offered = read_only([[True, True], [True, False]])
    assert first_best(surplus, 0.0, offered).tolist() == [0.9, 0.0]
    assert first_best(surplus, read_only([1.0, -0.2]), offered).tolist() == [1.0, -0.1]


# --- Ratios (2.8) -----------------------------------------------------------------------------------


def test_the_price_of_anarchy_is_optimum_over_welfare_and_undefined_without_welfare():
    ratio = price_of_anarchy(read_only([3.0, 3.0, 3.0, 0.0]), read_only([2.0, 0.0, -1.0, 0.0]))
    np.testing.assert_array_equal(ratio, [1.5, np.nan, np.nan, np.nan])
    percent = inefficiency(read_only([3.0, 3.0]), read_only([2.0, 0.0]))
    np.testing.assert_array_equal(percent, [0.5, np.nan])
    assert price_of_anarchy(3.0, read_only([1.0, 2.0])).tolist() == [3.0, 1.5]
    assert price_of_anarchy(read_only([1.0, 2.0]), 1.0).tolist() == [1.0, 2.0]
    assert np.isnan(price_of_anarchy(1.0, np.nan))


@given(world=worlds(kinds=("realistic",)))
def test_the_worst_equilibrium_is_no_better_than_the_best_and_both_no_better_than_the_optimum(world):
    """Price of anarchy >= price of stability >= 1, where they are defined."""
    welfare = equilibria(world.game()).welfare
    optimum = social_optimum(world.game()).welfare
    anarchy, stability = (price_of_anarchy(optimum, w) for w in (welfare.min(), welfare.max()))
    assert np.isnan(anarchy) == (welfare.min() <= 0)
    if welfare.min() > 0:
        assert anarchy >= stability >= 1 - 1e-9


# --- Concentration and inequality (5) ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "index"),
    [
        ([1.0], 10_000),
        ([0.5, 0.5], 5_000),
        ([0.25, 0.25], 5_000),  # of what was bought, however much that is
        ([0.1] * 10, 1_000),
        ([0.4, 0.3, 0.2, 0.1], 3_000),
        ([0.3, 0.0], 10_000),
    ],
)
def test_the_herfindahl_index_has_its_known_values(shares, index):
    assert hhi(read_only(shares)) == pytest.approx(index)


def test_the_herfindahl_index_is_undefined_when_nobody_buys():
    assert np.isnan(hhi(read_only([0.0, 0.0])))


@given(shares=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=9))
def test_the_herfindahl_index_lies_between_equal_shares_and_monopoly(shares):
    assert 1e4 / len(shares) * (1 - 1e-12) <= hhi(read_only(shares)) <= 1e4 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("values", "index"),
    [
        ([5.0], 0.0),
        ([2.0, 2.0, 2.0], 0.0),
        ([0.0, 1.0], 0.5),
        ([1.0, 0.0, 0.0, 0.0], 0.75),
        ([1.0, 2.0, 3.0], 2 / 9),
        ([3.0, 1.0, 2.0], 2 / 9),
    ],
)
def test_the_gini_coefficient_has_its_known_values(values, index):
    assert gini(read_only(values)) == pytest.approx(index, abs=1e-15)


@pytest.mark.parametrize(
    ("values", "weights"),
    [([1.0, -1e-9], None), ([0.0, 0.0], None), ([0.0, 1.0], [1.0, 0.0])],
)
def test_the_gini_coefficient_is_undefined_for_losses_and_where_there_is_nothing(values, weights):
    assert np.isnan(gini(read_only(values), None if weights is None else read_only(weights)))


@given(values=amounts)
def test_the_gini_coefficient_is_half_the_relative_mean_difference(values):
    if sum(values) < 1e-3:
        return
    array = np.array(values)
    differences = np.abs(array[:, None] - array).mean()
    assert gini(read_only(values)) == pytest.approx(differences / (2 * array.mean()), abs=1e-12)


@given(
    people=st.lists(st.tuples(st.floats(0.01, 1e3), st.integers(1, 5)), min_size=1, max_size=6),
)
def test_a_weight_is_so_many_people(people):
    values, weights = (np.array(column, dtype=float) for column in zip(*people, strict=True))
    repeated = np.repeat(values, weights.astype(int))
    assert gini(read_only(values), read_only(weights)) == pytest.approx(gini(repeated), abs=1e-12)
    assert gini(7 * values, 3 * weights) == pytest.approx(gini(values, weights), abs=1e-12)


def test_wasted_compute_is_what_shares_spend_beyond_the_efficient_level():
    """Half the users on 300 tokens too many, a quarter on 100 too few: 125 tokens per request."""
    wasted = wasted_compute(read_only([0.5, 0.25]), read_only([800.0, 200.0]), read_only([500.0, 300.0]))
    assert wasted == pytest.approx(0.5 * 300 - 0.25 * 100)
    assert wasted_compute(read_only([0.5]), read_only([800.0]), read_only([800.0])) == 0.0

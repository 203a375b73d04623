"""The paper's dynamics, step by step (docs/theory.md, 2.1 and 2.7)."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from market_sim.theory.dynamics import (
    RELATIVE_TOLERANCE,
    better_reply_path,
    lowest_levels,
    nearest_better,
)
from market_sim.theory.game import equilibria, log_regret, make_game, potential
from tests.oracles import is_clear_cut
from tests.worlds import CLEAR_GAP, batches, random_world, read_only, seeds, stacked, worlds


def random_orders(seed, n_providers, n_rounds=200):
    rng = np.random.default_rng(seed)
    return [read_only(rng.permutation(n_providers)) for _ in range(n_rounds)]


def test_the_nearest_better_level_is_the_nearest_and_the_lower_of_two():
    """Every set of better levels, from every level."""
    for n_levels in range(1, 6):
        for better in itertools.product([False, True], repeat=n_levels):
            for current in range(n_levels):
                ranked = sorted((abs(k - current), k) for k in range(n_levels) if better[k])
                expected = ranked[0][1] if ranked else current
                assert nearest_better(read_only(better), read_only(current)) == expected


def test_nearest_better_takes_batches():
    better = read_only([[True, False, True], [False, False, False], [False, False, True]])
    assert nearest_better(better, read_only([1, 1, 0])).tolist() == [0, 1, 2]


@given(world=worlds(), seed=seeds)
def test_every_step_is_to_the_nearest_strictly_better_level_of_the_mover(world, seed):
    """Each step recomputed in 60 digits from the definition of profit."""
    orders = random_orders(seed, world.n_providers)
    start = world.profile(np.random.default_rng(seed))
    path = better_reply_path(world.game(), orders, start=read_only(start))
    market = world.market()
    assert path.levels[0].tolist() == start.tolist()
    assert path.mover.tolist() == np.concatenate(orders)[: len(path.mover)].tolist()
    assert len(path.levels) == len(path.mover) + 1
    for before, i, after in zip(path.levels[:-1], path.mover, path.levels[1:], strict=True):
        gains = market.gains(tuple(before.tolist()), int(i))
        assume(all(abs(g) > CLEAR_GAP or abs(g) < 1e-12 for g in gains))
        better = [k for k, gain in enumerate(gains) if gain > RELATIVE_TOLERANCE]
        expected = before.copy()
        if better:
            expected[i] = min(better, key=lambda k: (abs(k - before[i]), k))
        assert after.tolist() == expected.tolist()


@given(world=worlds(), seed=seeds)
def test_the_path_ends_in_a_listed_equilibrium(world, seed):
    """Finite improvement (Monderer & Shapley 1996): from any start, whatever the order of turns."""
    assume(is_clear_cut(world.market().regrets(), 0.0, CLEAR_GAP))
    start = world.profile(np.random.default_rng(seed))
    path = better_reply_path(world.game(), random_orders(seed, world.n_providers), start=start)
    assert path.settled
    assert path.end.tolist() in equilibria(world.game()).levels.tolist()
    assert log_regret(world.game(), path.end).max() <= 1e-8


@given(world=worlds(), seed=seeds)
def test_the_potential_rises_with_every_move(world, seed):
    game = world.game()
    path = better_reply_path(game, random_orders(seed, world.n_providers))
    moved = (np.diff(path.levels, axis=0) != 0).any(axis=1)
    rise = np.diff([potential(game, levels) for levels in path.levels])
    magnitude = (world.n_providers + 1) * (20 + world.beta * np.nanmax(np.abs(world.value)))
    assert (rise[moved] > RELATIVE_TOLERANCE / 2 - 1e-14 * magnitude).all()
    assert (rise[~moved] == 0).all()


@given(world=worlds(), seed=seeds)
def test_the_dynamics_stop_after_the_first_round_without_a_move(world, seed):
    n = world.n_providers
    path = better_reply_path(world.game(), random_orders(seed, n))
    assert path.levels[0].tolist() == [0] * n
    rounds = path.levels[1:].reshape(-1, n, n)
    ends = [[0] * n, *(r[-1].tolist() for r in rounds)]
    still = [ends[r] == ends[r + 1] for r in range(len(rounds))]
    assert still.index(True) == len(rounds) - 1
    assert path.n_steps == n * len(rounds) == len(path.mover)
    assert path.settled


def slow_game():
    """A game whose dynamics need several rounds from the lowest levels."""
    rng = np.random.default_rng(12)
    while True:
        world = random_world(rng, "realistic", [4, 4, 4], 400.0, 0.0)
        path = better_reply_path(world.game(), random_orders(1, 3))
        if path.n_steps >= 12:
            return world.game(), path


@pytest.mark.parametrize("n_rounds", [0, 1, 2])
def test_a_path_cut_short_is_not_settled(n_rounds):
    """By the limit of rounds or because the orders ran out: the same beginning of the same path."""
    game, full = slow_game()
    orders = random_orders(1, 3)
    for path in (
        better_reply_path(game, orders, max_rounds=n_rounds),
        better_reply_path(game, orders[:n_rounds]),
    ):
        assert not path.settled
        assert path.n_steps == 3 * n_rounds
        assert path.levels.tolist() == full.levels[: 3 * n_rounds + 1].tolist()


def test_a_path_from_an_equilibrium_is_one_round_without_a_move():
    game, full = slow_game()
    path = better_reply_path(game, random_orders(2, 3), start=full.end)
    assert path.n_steps == 3
    assert path.settled
    assert (path.levels == full.end).all()


def test_orders_may_go_on_for_ever():
    game, full = slow_game()
    orders = itertools.chain(random_orders(1, 3), itertools.repeat(np.arange(3)))
    assert better_reply_path(game, orders).levels.tolist() == full.levels.tolist()


@given(games=batches(), seed=seeds)
def test_a_games_path_does_not_depend_on_what_is_solved_beside_it(games, seed):
    orders = random_orders(seed, games[0].n_providers)
    together = better_reply_path(stacked(games), orders)
    for g, world in enumerate(games):
        alone = better_reply_path(world.game(), orders)
        steps = int(alone.n_steps)
        assert together.n_steps[g] == steps
        assert together.settled[g] == alone.settled
        assert together.levels[: steps + 1, g].tolist() == alone.levels.tolist()
        assert (together.levels[steps:, g] == alone.end).all()
        assert together.end[g].tolist() == alone.end.tolist()


@pytest.mark.parametrize(("gain", "moves"), [(0.5e-8, False), (2e-8, True), (0.5e-3, True)])
def test_a_gain_within_the_tolerance_is_no_reason_to_move(gain, moves):
    """At beta = 0 profits are in the ratio of margins."""
    game = make_game(read_only([[0.001, 0.001]]), read_only([[1.0, 1.0 + gain]]), 0.0)
    assert better_reply_path(game, random_orders(0, 1)).end.tolist() == [int(moves)]
    loose = better_reply_path(game, random_orders(0, 1), tolerance=1e-3)
    assert loose.end.tolist() == [0]


@pytest.mark.parametrize(("gain", "moves"), [(0.0, False), (1e-12, True)])
def test_without_a_tolerance_any_gain_is_a_reason_and_none_is_not(gain, moves):
    game = make_game(read_only([[0.001, 0.001]]), read_only([[1.0, 1.0 + gain]]), 0.0)
    assert better_reply_path(game, random_orders(0, 1), tolerance=0.0).end.tolist() == [int(moves)]


@given(games=batches())
def test_everybody_starts_at_its_first_level(games):
    assert lowest_levels(stacked(games)).tolist() == [[0] * games[0].n_providers] * len(games)


@given(seed=seeds, n=st.integers(2, 5))
def test_only_the_mover_moves(seed, n):
    world = random_world(np.random.default_rng(seed), "realistic", [3] * n, 500.0, 0.0)
    path = better_reply_path(world.game(), random_orders(seed, n))
    changed = np.diff(path.levels, axis=0) != 0
    changed[np.arange(len(path.mover)), path.mover] = False
    assert not changed.any()

"""Solvers: the optimum, all equilibria and the paper's dynamics, small and large."""

import itertools

import numpy as np
import pytest

from benchmarks import reference
from benchmarks.conftest import Figures
from benchmarks.markets import BETAS, nine_providers, synthetic_game
from market_sim.economy.market import games_of
from market_sim.economy.solve import paper_path
from market_sim.theory.game import equilibria, make_game
from market_sim.theory.streams import activation_orders
from market_sim.theory.welfare import social_optimum, welfare_at

SEED = 1
FEW = (10.0, 1e3, 1e4)
"""Rationalities at which all profiles of five providers are enumerated."""


def test_the_paper_s_market_at_a_hundred_rationalities(figures: Figures) -> None:
    market = nine_providers()

    def solve():
        games = games_of(market, 0, BETAS)
        return social_optimum(games), equilibria(games), paper_path(games, SEED).end

    best, found, ends = figures.time(solve, rounds=21)
    value, margin = (market.quality() - market.price[0]).tolist(), (market.price - market.cost)[0].tolist()

    def play():
        return [
            reference.better_replies(value, margin, beta, activation_orders(SEED, 9))
            for beta in BETAS.tolist()
        ]

    played, replies_s = figures.plain(play)
    assert [tuple(row) for row in ends.tolist()] == played
    assert (best.welfare >= found.welfare[np.searchsorted(found.game, np.arange(len(BETAS)))]).all()

    def enumerate_five():
        return [reference.enumerate_profiles(value[:5], margin[:5], beta) for beta in FEW]

    counted, five_s = figures.plain(enumerate_five)
    five = make_game(value[:5], margin[:5], np.array(FEW))
    optimum, listed = social_optimum(five), equilibria(five)
    for b, (welfare, profile, all_equilibria) in enumerate(counted):
        assert optimum.welfare[b] == pytest.approx(welfare, rel=1e-12)
        assert tuple(optimum.levels[b]) == profile
        assert sorted(map(tuple, listed.levels[listed.of(b)].tolist())) == all_equilibria
    figures.write(
        "optimum, all equilibria and paper's dynamics, 9 x 6, 100 betas",
        target_s=0.1,
        per=len(BETAS),
        reference="Python, 1 beta: all 6^5 profiles of only 5 providers, dynamics of 9: {}",
        reference_s=five_s / len(FEW) + replies_s / len(BETAS),
    )


@pytest.mark.parametrize("beta", [1e2, 1e4, 1e6])
def test_the_optimum_of_a_large_market(figures: Figures, beta: float) -> None:
    game = synthetic_game(10_000, 64, beta)
    best = figures.time(lambda: social_optimum(game))
    value, margin = game.value.tolist(), game.margin.tolist()
    plain, plain_s = figures.plain(lambda: reference.optimum_by_dinkelbach(value, margin, beta))
    assert best.welfare == pytest.approx(plain, rel=1e-10)
    assert welfare_at(game, best.levels) == pytest.approx(best.welfare, rel=1e-12)

    small = synthetic_game(5, 4, beta)
    rows = small.value.tolist(), small.margin.tolist()
    every = itertools.product(range(4), repeat=5)
    assert social_optimum(small).welfare == pytest.approx(
        max(reference.welfare(*rows, beta, levels) for levels in every), rel=1e-12
    )
    figures.write(
        f"optimum, 10,000 x 64, beta {beta:,.0f}",
        target_s=0.1,
        reference="Python, Dinkelbach term by term, same market: {}",
        reference_s=plain_s,
    )


@pytest.mark.parametrize(("beta", "target_s"), [(1e2, 0.15), (1e4, 0.15), (1e6, 0.5)])
def test_all_equilibria_of_a_large_market(figures: Figures, beta: float, target_s: float) -> None:
    game = synthetic_game(10_000, 6, beta)
    found = figures.time(lambda: equilibria(game))
    value, margin = game.value.tolist(), game.margin.tolist()

    def climb_and_descend():
        return [reference.best_replies(value, margin, beta, upwards) for upwards in (False, True)]

    (least, greatest), plain_s = figures.plain(climb_and_descend)
    assert tuple(found.levels[0].tolist()) == least
    assert tuple(found.levels[-1].tolist()) == greatest
    # Where the two are one there is no other; where they are not, the list has at least both.
    assert (len(found.levels) == 1) == (least == greatest)
    figures.write(
        f"all equilibria, 10,000 x 6, beta {beta:,.0f}",
        target_s=target_s,
        reference="Python, best replies to least and greatest only: {}",
        reference_s=plain_s,
    )

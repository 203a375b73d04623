"""A rule in a game over seeds: which equilibria its runs end in, and whether they tell one story."""

import numpy as np
import pytest

from market_sim.experiments.convergence import Game, converge

TWO = {"benchmark": "GSM8K", "method": "majority_voting", "beta": 3353.0}


@pytest.mark.parametrize(("start", "number"), [("lowest", 2), ("highest", 1)])
def test_where_there_are_two_equilibria_better_replies_end_in_the_one_next_to_their_start(start, number):
    found = converge(Game(**TWO, start=start), "better_reply", 3, 120)
    assert found.settled_in == {number: 1.0}
    assert (found.equilibria, found.elsewhere, found.neither) == (2, 0.0, 0.0)
    assert found.level_steps < 0.1  # on average after the warm-up, which may end a move too early
    assert found.welfare == pytest.approx(1.0, rel=1e-3)
    assert found.rhat == 1.0
    assert 0 < found.median_round < 60


def test_seeds_that_settle_in_different_equilibria_tell_different_stories():
    found = converge(Game(**TWO), "best_reply", 6, 60)
    assert found.settled == sum(found.settled_in.values()) == 1.0
    assert set(found.settled_in) == {1, 2}
    assert found.rhat == np.inf


def test_who_never_moves_settles_elsewhere_and_who_draws_does_neither():
    game = Game(benchmark="GSM8K", method="majority_voting", beta=1000.0)
    still, wild = (converge(game, rule, 2, 40) for rule in ("fixed", "exp3"))
    assert (still.elsewhere, still.in_equilibrium, still.neither, still.median_round) == (1.0, 0.0, 0.0, 0.0)
    assert still.level_steps > 0
    assert (wild.settled, wild.cycled, wild.neither) == (0.0, 0.0, 1.0)
    assert np.isnan(wild.median_round)
    assert wild.gap > still.gap > 0 or still.gap > wild.gap > 0

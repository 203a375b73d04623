"""The published way to estimate curves, by random draws, beside which the exact one is put."""

import numpy as np

from market_sim.theory.estimators import UNPARSED


def monte_carlo(correct, answers, rewards, n, n_draws, seed):
    """As published: a random order of each question's samples, its first n; vote and best reward of these,
    the first in order on a tie.  (Q,) shares of right draws each."""
    rng = np.random.default_rng(seed)
    vote, best = np.zeros(len(correct)), np.zeros(len(correct))
    for _ in range(n_draws):
        order = np.argsort(rng.random(correct.shape), axis=1)[:, :n]
        marked, said, rated = (np.take_along_axis(x, order, axis=1) for x in (correct, answers, rewards))
        votes = (said[:, :, None] == said[:, None, :]).sum(axis=2)
        leader = np.where(said == UNPARSED, -1, votes).argmax(axis=1)
        won = np.take_along_axis(said, leader[:, None], axis=1)
        vote += np.any((said == won) & marked & (said != UNPARSED), axis=1)
        best += np.take_along_axis(marked, rated.argmax(axis=1)[:, None], axis=1)[:, 0]
    return vote / n_draws, best / n_draws

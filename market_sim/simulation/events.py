"""Events: what becomes of a market's state when its parts are replaced (docs/round.md, step 1)."""

from dataclasses import replace

import numpy as np

from market_sim.simulation.experience import first_estimates
from market_sim.simulation.parts import Parts, State
from market_sim.simulation.providers import blank_memories
from market_sim.theory.arrays import Array
from market_sim.theory.choice import OUTSIDE


def carry_over(before: Parts, after: Parts, state: State) -> State:
    """The state to go on with.

    Under a new regime providers keep their levels, ask for no more than the truth where there are bids, and
    their rules begin anew.  Where a new model has fewer levels its provider takes the highest.  Who joins the
    users believes what was believed at first; who leaves is forgotten.
    """
    state = _with_users(before, after, state)
    same_regime = after.regime is before.regime
    if same_regime and after.market is before.market:
        return state
    actions = np.stack(
        [_actions(before, after, state, task, same_regime) for task in range(after.market.n_tasks)]
    )
    return replace(state, actions=actions, memories=state.memories if same_regime else blank_memories(after))


def _with_users(before: Parts, after: Parts, state: State) -> State:
    """With what those remember and believe who are there from now on."""
    kept, n_users = len(before.users.beta), len(after.users.beta)
    last, estimates = state.last_provider, state.estimates
    if kept == n_users:
        return state
    if last is not None:
        last = np.concatenate([last[:n_users], np.full(max(n_users - kept, 0), OUTSIDE, last.dtype)])
    if estimates is not None and after.experience is not None:
        new = first_estimates(after.experience, after.market.n_providers)
        new[:, :, :kept] = estimates[:, :, :n_users]
        estimates = new
    return replace(state, last_provider=last, estimates=estimates)


def _actions(before: Parts, after: Parts, state: State, task: int, same_regime: bool) -> Array:
    grid = after.regime.actions(after.regime, after.market, task)
    standing, everybody = state.actions[task], np.arange(after.market.n_providers)
    if same_regime and grid.allowed[everybody, standing].all():
        return standing
    level = before.regime.actions(before.regime, before.market, task).level[standing]
    if not after.regime.bids:  # what is chosen for each request becomes the level of a mean user's
        scale = before.users.mean_scale
        level = before.regime.offer(before.regime, before.market, task, standing, scale).level
    highest = after.market.offered[task].sum(axis=1) - 1
    kept = grid.at_level(np.minimum(level, highest))
    return np.where(grid.allowed[everybody, standing], standing, kept) if same_regime else kept

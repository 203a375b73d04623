"""Events: what becomes of a market's state when its parts are replaced (docs/round.md, step 1)."""

from dataclasses import replace

import numpy as np

from market_sim.simulation.parts import Parts, State
from market_sim.simulation.providers import blank_memories
from market_sim.theory.arrays import Array


def carry_over(before: Parts, after: Parts, state: State) -> State:
    """The state to go on with.

    Under a new regime providers keep their levels, tell the truth where there are bids, and their rules
    begin anew.  Where a new model has fewer levels its provider takes the highest.
    """
    same_regime = after.regime is before.regime
    if same_regime and after.market is before.market:
        return state
    actions = np.stack(
        [_actions(before, after, state, task, same_regime) for task in range(after.market.n_tasks)]
    )
    return replace(state, actions=actions, memories=state.memories if same_regime else blank_memories(after))


def _actions(before: Parts, after: Parts, state: State, task: int, same_regime: bool) -> Array:
    grid = after.regime.actions(after.regime, after.market, task)
    standing, everybody = state.actions[task], np.arange(after.market.n_providers)
    if same_regime and grid.allowed[everybody, standing].all():
        return standing
    if grid.truthful is not None and not same_regime:
        return np.full(len(standing), grid.truthful)
    scale = before.users.mean_scale
    level = before.regime.offer(before.regime, before.market, task, standing, scale).level
    highest = after.market.offered[task].sum(axis=1) - 1
    kept = grid.at_level(np.minimum(level, highest))
    return np.where(grid.allowed[everybody, standing], standing, kept) if same_regime else kept

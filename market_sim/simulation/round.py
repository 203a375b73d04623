"""One round of the market, defined once (docs/round.md).

`play_round(parts, state)` is a pure function: revise, offer, match, serve, settle, feed back, record.
The Mesa model, the command line and everything above go through it.
"""

from dataclasses import replace

import numpy as np

from market_sim.economy.market import UserPopulation
from market_sim.simulation.experience import Lived, first_estimates, lived
from market_sim.simulation.parts import Activation, Demand, Parts, State
from market_sim.simulation.providers import blank_memories, learn, movers, revise
from market_sim.simulation.records import ProviderRows, Record, RequestRows, RoundRow, record_of
from market_sim.simulation.trading import Trade, trade
from market_sim.theory.arrays import Array
from market_sim.theory.choice import OUTSIDE

__all__ = [
    "Activation",
    "Demand",
    "Parts",
    "ProviderRows",
    "Record",
    "RequestRows",
    "RoundRow",
    "State",
    "begin",
    "play_round",
]


def begin(parts: Parts) -> tuple[State, Record]:
    """Row 0: the start actions against expected demand, nobody having revised."""
    learning, n_users = parts.experience, len(parts.users.beta)
    state = State(
        round=0,
        actions=_start(parts),
        memories=blank_memories(parts),
        last_provider=np.full(n_users, OUTSIDE, np.int16) if parts.by_person else None,
        estimates=None if learning is None else first_estimates(learning, parts.market.n_providers),
    )
    users = _with_memory(parts, state)
    return state, record_of(parts, state, users, trade(parts, state.actions, users, None))


def play_round(parts: Parts, state: State) -> tuple[State, Record]:
    """Round state.round + 1."""
    now = state.round + 1
    users, moving = _with_memory(parts, state), movers(parts, now)
    actions = revise(parts, state, users, moving, now)
    moved = replace(state, round=now, actions=actions)
    done = trade(parts, actions, users, now)
    profit = np.zeros(actions.shape)
    for task, ledger in enumerate(done.ledger):
        profit[task, parts.present] = ledger.revenue_usd - ledger.cost_usd
    played = replace(
        moved,
        memories=learn(parts, moved, users, moving, profit, done.arrived),
        last_provider=_last_provider(parts, state, done),
        estimates=_estimates(parts, state, done),
    )
    return played, record_of(parts, moved, users, done)


def _start(parts: Parts) -> Array:
    """What everybody stands at before the first round, (T, N)."""
    market, regime = parts.market, parts.regime
    start = []
    for task in range(market.n_tasks):
        grid = regime.actions(regime, market, task)
        if parts.start_levels is not None:
            levels = np.broadcast_to(parts.start_levels, (market.n_tasks, market.n_providers))
            start.append(grid.at_level(levels[task]))
        elif regime.plan is not None:
            start.append(regime.plan(regime, market, task, parts.askers[task]))
        else:
            start.append(grid.lowest())
    return np.stack(start)


def _with_memory(parts: Parts, state: State) -> UserPopulation:
    """The users with what they remember and believe; the same object where that makes no difference."""
    if parts.users.inertia is None and state.estimates is None:
        return parts.users
    return replace(parts.users, last_provider=state.last_provider, estimates=state.estimates)


def _last_provider(parts: Parts, state: State, done: Trade) -> Array | None:
    if state.last_provider is None or done.drawn is None:
        return state.last_provider
    last = state.last_provider.copy()
    for sold in done.drawn:
        last[sold.row] = parts.present[sold.lots.provider]
    return last


def _estimates(parts: Parts, state: State, done: Trade) -> Array | None:
    if parts.experience is None or state.estimates is None or done.drawn is None:
        return state.estimates
    happened = Lived(
        user=np.concatenate([sold.row for sold in done.drawn]),
        task=np.concatenate([np.full(len(sold.row), task) for task, sold in enumerate(done.drawn)]),
        provider=np.concatenate([parts.present[sold.lots.provider] for sold in done.drawn]),
        net_usd=np.concatenate([sold.quality - sold.money.payment for sold in done.drawn]),
    )
    return lived(parts.experience, state.estimates, happened)

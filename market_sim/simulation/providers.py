"""How providers revise what they do and learn from what came of it (docs/round.md, steps 2 and 7).

A provider has one learner per task.  Learners that share a rule share a memory, task by task, and are
one call.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from market_sim.economy.market import Market, UserPopulation
from market_sim.economy.regime import Payoffs as Seen
from market_sim.economy.regime import Regime
from market_sim.simulation.parts import Parts, State
from market_sim.theory.arrays import Array
from market_sim.theory.rule import Feedback, Memory, Payoffs, Rule, View, put, take
from market_sim.theory.streams import Role, activation_order, uniforms


@lru_cache(maxsize=64)
def groups(rules: tuple[Rule, ...]) -> tuple[tuple[Rule, Array], ...]:
    """The different rules, each with the providers that play it."""
    found = dict.fromkeys(rules)
    return tuple((rule, np.array([i for i, r in enumerate(rules) if r is rule])) for rule in found)


def blank_memories(parts: Parts) -> tuple[Memory, ...]:
    """What rules remember before the first round."""
    market, regime = parts.market, parts.regime
    n_actions = len(regime.actions(regime, market, 0).level)
    return tuple(
        rule.functions.start(market.n_tasks * len(members), n_actions, market.n_providers)
        for rule, members in groups(parts.rules)
    )


def movers(parts: Parts, now: int) -> Array:
    """Whose turn it is to revise, (N,) bool."""
    n = parts.market.n_providers
    cycle, turn = divmod(now - parts.turns_from, len(parts.present))
    # Numbered so that no two cycles of a run share an order, whoever came and went between them.
    order = activation_order(parts.seed, len(parts.present), parts.turns_from - 1 + cycle)
    in_turn = np.zeros(n, dtype=bool)
    in_turn[parts.present[order[turn]]] = True
    if parts.activation == "default":
        in_turn |= _out_of_turn(parts.rules)
    elif parts.activation == "simultaneous":
        in_turn[:] = True
    return in_turn if parts.active is None else in_turn & parts.active


@lru_cache(maxsize=64)
def _out_of_turn(rules: tuple[Rule, ...]) -> Array:
    """Who revises every round: all but those who reply to the others' standing offers, (N,) bool."""
    return np.array([rule.information != "reply" for rule in rules])


def revise(parts: Parts, state: State, users: UserPopulation, moving: Array, now: int) -> Array:
    """The actions after this round's movers have revised theirs, (T, N).

    users  with what they remember and believe
    """
    regime, market = parts.regime, parts.open_market
    place = np.searchsorted(parts.present, np.arange(parts.market.n_providers))
    actions = state.actions.copy()
    for task in range(market.n_tasks):
        grid = regime.actions(regime, market, task)
        plan = regime.plan(regime, market, task, parts.askers[task]) if regime.plan else None
        for (rule, members), memory in zip(groups(parts.rules), state.memories, strict=True):
            rows = np.flatnonzero(moving[members])
            who = members[rows]
            if not len(who):
                continue
            payoffs = None
            if rule.information == "reply":
                seen = _seen_by(parts, state.actions, users, task, place[who])
                payoffs = Payoffs(seen.relative, seen.logs)
            view = View(
                current=state.actions[task, who],
                allowed=grid.allowed[place[who]],
                steps=grid.steps,
                recommended=plan[place[who]] if plan is not None and rule.information == "plan" else None,
                payoffs=payoffs,
            )
            count = len(grid.level) if rule.functions.draws is None else rule.functions.draws
            drawn = np.empty((len(who), 0))
            if count:
                names = [learner_name(parts.market, i, task) for i in who]
                drawn = np.stack([uniforms(parts.seed, Role.LEARNING, n, now, count) for n in names])
            everybody = len(rows) == len(members) * market.n_tasks
            remembered = memory if everybody else take(memory, task * len(members) + rows)
            actions[task, who] = rule.functions.act(remembered, view, drawn)
    return actions


def learner_name(market: Market, provider: int, task: int) -> str:
    """Whose random numbers a learner uses: one stream per provider, and per task where there are several."""
    name = market.providers[provider]
    return name if market.n_tasks == 1 else f"{name} / {market.tasks[task]}"


def learn(
    parts: Parts,
    state: State,
    users: UserPopulation,
    moving: Array,
    profit_usd: Array,
    arrived: tuple[float, ...],
) -> tuple[Memory, ...]:
    """The memories after each rule has been told what it may know of the round.

    profit_usd  (T, N)  what each provider earned in the round, by task
    arrived     requests of each task
    """
    market = parts.open_market
    requests = np.array(arrived)[:, None]
    per_request = np.divide(profit_usd, requests, out=np.zeros_like(profit_usd), where=requests > 0)
    memories = []
    for (rule, members), memory in zip(groups(parts.rules), state.memories, strict=True):
        if not rule.functions.learns:
            memories.append(memory)
            continue
        here = np.arange(len(members))
        if parts.active is not None:
            here = np.flatnonzero(parts.active[members])
        if not len(here):
            memories.append(memory)
            continue
        told = [
            _feedback(parts, state, users, rule, members[here], moving, task, per_request[task])
            for task in range(market.n_tasks)
        ]
        if len(here) == len(members):
            memories.append(rule.functions.update(memory, _joined(told)))
        else:  # who is away learns nothing
            rows = (np.arange(market.n_tasks)[:, None] * len(members) + here).ravel()
            learnt = rule.functions.update(take(memory, rows), _joined(told))
            memories.append(put(memory, rows, learnt))
    return tuple(memories)


def _feedback(
    parts: Parts,
    state: State,
    users: UserPopulation,
    rule: Rule,
    who: Array,
    moving: Array,
    task: int,
    profit: Array,
) -> Feedback:
    regime, market = parts.regime, parts.open_market
    place = np.searchsorted(parts.present, who)
    scale = stakes(regime, market, task, parts.askers[task])[place]
    told: dict[str, Any] = {}
    if rule.information == "full":
        seen = _seen_by(parts, state.actions, users, task, place)
        told["payoffs"] = Payoffs(seen.usd() / scale[:, None], seen.logs)
    everybody = (len(who), parts.market.n_providers)
    if rule.information in ("own", "actions", "rivals"):
        told["profit"] = profit[who] / scale
    if rule.information in ("actions", "rivals"):
        told["actions"] = np.broadcast_to(state.actions[task], everybody)
    if rule.information == "rivals":
        away = np.full(parts.market.n_providers, -np.inf)
        away[parts.present] = profit[parts.present]
        told["profits"] = np.broadcast_to(away, everybody)
    return Feedback(
        action=state.actions[task, who],
        moved=moving[who],
        allowed=regime.actions(regime, market, task).allowed[place],
        **told,
    )


def _joined(told: list[Feedback]) -> Feedback:
    """The feedback of several tasks as one, learners standing task by task."""
    if len(told) == 1:
        return told[0]
    parts: dict[str, Any] = {}
    for name, first in vars(told[0]).items():
        columns = [getattr(one, name) for one in told]
        if isinstance(first, Payoffs):
            logs = None if first.logs is None else np.concatenate([column.logs for column in columns])
            parts[name] = Payoffs(np.concatenate([column.scaled for column in columns]), logs)
        elif first is not None:
            parts[name] = np.concatenate(columns)
    return Feedback(**parts)


def _seen_by(parts: Parts, actions: Array, users: UserPopulation, task: int, place: Array) -> Seen:
    """`counterfactual`, from what is remembered of all providers where that is the same to the last bit."""
    if users is not parts.users or not users.alike or parts.regime.bids:
        return counterfactual(parts, actions, users, task, place)
    return payoffs_of_all(parts, actions, task).rows(place)


def payoffs_of_all(parts: Parts, actions: Array, task: int) -> Seen:
    """`counterfactual` for everybody in the market before users who remember nothing.

    The same profile is asked about when providers revise, when the round is measured and when the run is.
    """
    return parts.recall(_payoffs, actions.astype(np.int64, copy=False).tobytes())[task]


def _payoffs(parts: Parts, actions: bytes) -> tuple[Seen, ...]:
    """The payoffs of each task."""
    profile, everybody = parts.profile_of(actions), np.arange(len(parts.present))
    return tuple(
        counterfactual(parts, profile, parts.users, task, everybody) for task in range(parts.market.n_tasks)
    )


def counterfactual(parts: Parts, actions: Array, users: UserPopulation, task: int, place: Array) -> Seen:
    """What each own action would earn in a task against the others' standing ones, capacity permitting.

    actions (T, N) of all; place (P,) of the providers asked about among those present; users with what they
    remember and believe.
    """
    regime, market = parts.regime, parts.open_market
    standing = actions[:, parts.present]
    facing = users.facing(parts.present, parts.market.n_providers)

    def seen(task: int) -> Seen:
        asked = parts.askers[task] if users is parts.users else facing.asking(task)
        return regime.counterfactual(regime, market, task, standing[task], asked, place)

    payoffs = seen(task)
    if parts.capacity is None:
        return payoffs
    # What it serves of other tasks takes room too; all are cut alike where there is too little.
    here, rows = parts.askers[task].n_people, np.arange(len(place))
    elsewhere = np.zeros(len(place))
    for other in range(market.n_tasks):
        if other != task:
            elsewhere += seen(other).share[rows, standing[other, place]] * parts.askers[other].n_people
    demand = payoffs.share * here + elsewhere[:, None]
    room = parts.capacity[parts.present[place]][:, None]
    kept = np.divide(room, demand, out=np.ones_like(demand), where=demand > room)
    return payoffs.up_to(payoffs.share * kept)


@lru_cache(maxsize=64)
def stakes(regime: Regime, market: Market, task: int, users: UserPopulation) -> Array:
    """The unit of what rules are told, (N,)."""
    return regime.stakes(regime, market, task, users)

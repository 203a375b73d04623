"""The contract of every rule in every regime it is allowed in: valid, pure, reproducible, never NaN."""

from dataclasses import fields, replace

import numpy as np
import pytest

from market_sim.economy.market import Market
from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError
from market_sim.simulation.experience import Experience
from market_sim.simulation.nearness import no_equilibria
from market_sim.simulation.network import make_network
from market_sim.simulation.round import Parts, State, begin, play_round
from market_sim.theory.learning import RULES
from market_sim.theory.rule import RuleFamily
from tests.markets import DIFFERENT, POPULATIONS, market_from_rows, population, random_market
from tests.worlds import read_only

PAIRS = [(name, kind) for name, family in RULES.items() for kind in REGIMES if kind in family.regimes]
pairs = pytest.mark.parametrize(("name", "kind"), PAIRS, ids=["-".join(pair) for pair in PAIRS])

ONE_LEVEL = market_from_rows([[0.001], [0.002], [0.0015]], [[0.5], [0.6], [0.7]], value=0.02)
NOBODY_BUYS = random_market(3, outside_value=1.0)
ALL_THE_SAME = market_from_rows([[0.001, 0.002]] * 3, [[0.5, 0.6]] * 3, value=0.02)
MARKETS = {
    "ordinary": random_market(4, value=0.02, outside_value=0.001),
    "one level": ONE_LEVEL,
    "one provider": market_from_rows([[0.001, 0.002]], [[0.5, 0.6]], value=0.02),
    "nobody buys": NOBODY_BUYS,
    "all the same": ALL_THE_SAME,
}
BETAS = (1e-3, 1000.0, 1e6)


def parts_of(name: str, kind: str, market: Market, beta: float = 700.0, **changes) -> Parts:
    users = changes.pop("users", population([beta] * 30))
    regime = REGIMES[kind].prepare(REGIMES[kind], market, users)
    rules = (RULES[name](),) * market.n_providers
    return Parts(market=market, users=users, regime=regime, rules=rules, seed=5, **changes)


def play(parts: Parts, rounds: int) -> list[State]:
    state, _ = begin(parts)
    states = [state]
    for _ in range(rounds):
        state, record = play_round(parts, state)
        states.append(state)
        for field in fields(record.row):
            if field.name not in undefined(parts):
                assert np.isfinite(getattr(record.row, field.name)), field.name
    return states


def undefined(parts: Parts) -> set[str]:
    """Measures that may be NaN: where nobody buys, where no equilibria are listed, where nobody can know."""
    names = {"accuracy", "hhi", "inefficiency"}
    names |= {"equilibrium_steps"} if no_equilibria(parts) is not None else set()
    return names | ({"estimate_error_usd"} if parts.regime.bids and parts.experience is not None else set())


def numbers(thing) -> list[np.ndarray]:
    """Every array inside a state."""
    if isinstance(thing, np.ndarray):
        return [thing]
    if isinstance(thing, State):
        held = (thing.actions, thing.memories, thing.last_provider, thing.estimates)
        return [array for part in held for array in numbers(part)]
    return [array for part in thing for array in numbers(part)] if isinstance(thing, tuple) else []


@pairs
@pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
def test_actions_are_allowed_and_memories_are_numbers_also_at_the_ends(name, kind, market):
    for beta in BETAS:
        for demand in ("sampled", "expected"):
            parts = parts_of(name, kind, market, beta, demand=demand)
            allowed = parts.regime.actions(parts.regime, market, 0).allowed
            for state in play(parts, 5):
                assert allowed[np.arange(market.n_providers), state.actions].all()
                assert not any(np.isnan(array).any() for array in numbers(state.memories))


@pairs
def test_with_one_level_and_no_bids_there_is_nothing_to_choose(name, kind):
    if kind in ("pay_per_compute", "planner"):
        assert all((state.actions == 0).all() for state in play(parts_of(name, kind, ONE_LEVEL), 6))


def tries_actions(name: str) -> bool:
    """Whether a rule draws among equals, or has to try actions to learn of them."""
    rule = RULES[name]()
    return rule.functions.draws != 0 or rule.information in ("own", "actions", "rivals")


STEADFAST = {"regret_matching", "fictitious_play"}
"""Rules that draw, and yet stay where nothing is to be regretted or gained."""


@pairs
def test_where_every_action_earns_exactly_nothing_nobody_moves_but_to_explore(name, kind):
    """In an auction nobody can win, and where posted offers earn less than a float can tell from nought.
    Reply rules and fictitious play do tell such offers apart: they compare logarithms."""
    in_logs = not REGIMES[kind].bids and RULES[name].information in ("reply", "full")
    in_logs &= name not in ("hedge", "regret_matching")  # which go by the profits themselves
    if not in_logs and (name in STEADFAST or not tries_actions(name)):
        states = play(parts_of(name, kind, NOBODY_BUYS, 1e6), 6)
        assert all((state.actions == states[0].actions).all() for state in states)


LIMITED = {
    "nobody can pay": {"users": replace(DIFFERENT, budget=read_only(np.full(40, 1e-7)))},
    "some can pay": {"users": replace(DIFFERENT, budget=read_only(np.geomspace(1e-5, 1e-2, 40)))},
    "nobody has room": {"capacity": read_only([0.0, 0.0, 0.0])},
    "some have room": {"capacity": read_only([0.0, 5.0, np.inf])},
    "loyal users": {"users": replace(DIFFERENT, inertia=read_only(np.full(40, 0.001)))},
    "users who learn": {
        "users": DIFFERENT,
        "experience": Experience(
            prior=read_only(np.full((1, 40), 0.003, dtype=np.float32)),
            network=make_network("small_world", 40, 1, {"neighbours": 4}),
        ),
    },
    "somebody is away": {"active": read_only([True, False, True])},
}


@pairs
@pytest.mark.parametrize("limits", LIMITED.values(), ids=LIMITED)
def test_limits_of_users_and_providers_leave_actions_allowed_and_numbers_numbers(name, kind, limits):
    parts = parts_of(name, kind, MARKETS["ordinary"], **limits)
    allowed = parts.regime.actions(parts.regime, parts.market, 0).allowed
    for state in play(parts, 12):
        assert allowed[np.arange(parts.market.n_providers), state.actions].all()
        assert not any(np.isnan(array).any() for array in numbers(state))


@pairs
@pytest.mark.parametrize("limits", ["nobody can pay", "nobody has room"])
def test_where_nothing_can_be_earned_nobody_moves_but_to_explore(name, kind, limits):
    if kind in ("pay_per_compute", "flat_price") and name in (*STEADFAST, "better_reply", "best_reply"):
        states = play(parts_of(name, kind, MARKETS["ordinary"], **LIMITED[limits]), 12)
        assert all((state.actions == states[0].actions).all() for state in states)


@pairs
@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
def test_a_state_can_be_played_on_again_and_reading_it_changes_nothing(name, kind, users):
    parts = parts_of(name, kind, MARKETS["ordinary"], users=users)
    middle = play(parts, 4)[-1]
    before = [array.tobytes() for array in numbers(middle)]
    for array in numbers(middle):
        array.setflags(write=False)
    one, two = (play_on(parts, middle, 4) for _ in range(2))
    assert [array.tobytes() for array in numbers(middle)] == before
    assert [a.tobytes() for a in numbers(one)] == [a.tobytes() for a in numbers(two)]
    whole = play(parts, 8)[-1]
    assert [a.tobytes() for a in numbers(one)] == [a.tobytes() for a in numbers(whole)]


def play_on(parts: Parts, state: State, rounds: int) -> State:
    for _ in range(rounds):
        state, _ = play_round(parts, state)
    return state


@pairs
def test_what_was_played_before_under_another_rule_or_regime_changes_nothing(name, kind):
    parts = parts_of(name, kind, MARKETS["ordinary"], users=DIFFERENT)
    first = [a.tobytes() for a in numbers(play(parts, 5)[-1])]
    for other_name, other_kind in PAIRS[:: len(PAIRS) // 6]:
        play(parts_of(other_name, other_kind, MARKETS["ordinary"], users=DIFFERENT), 3)
    assert [a.tobytes() for a in numbers(play(parts, 5)[-1])] == first


def test_a_provider_draws_the_same_whoever_else_plays_its_rule():
    """Learners that share a rule are one call; it must not matter who is in it."""
    market = MARKETS["ordinary"]
    users = population([700.0] * 30)
    regime = REGIMES["pay_per_compute"]
    for name in ("hedge", "exp3", "epsilon_greedy", "thompson", "q_learning"):
        shared, own = RULES[name](), RULES[name]()
        together = Parts(market=market, users=users, regime=regime, rules=(shared,) * 3, seed=5)
        apart = Parts(market=market, users=users, regime=regime, rules=(shared, own, shared), seed=5)
        for one, two in zip(play(together, 12), play(apart, 12), strict=True):
            np.testing.assert_array_equal(one.actions, two.actions)


@pytest.mark.parametrize("family", RULES.values(), ids=RULES)
def test_a_rule_is_refused_everywhere_else(family: RuleFamily):
    for kind in REGIMES:
        if kind not in family.regimes:
            with pytest.raises(InputError, match=f"'{family.name}' makes no sense under {kind}"):
                parts_of(family.name, kind, MARKETS["ordinary"])


def test_the_start_is_not_written_to():
    start = read_only([1, 0, 1])
    for name in ("better_reply", "hedge", "exp3"):
        play(parts_of(name, "pay_per_compute", MARKETS["ordinary"], start_levels=start), 5)

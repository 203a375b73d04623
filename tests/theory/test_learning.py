"""Learning rules: one contract for the whole registry, and what each of them does
(docs/theory.md, section 6)."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.theory.dynamics import RELATIVE_TOLERANCE, nearest_better
from market_sim.theory.learning import AUCTIONS, POSTED, RULES, Feedback, View
from tests.worlds import read_only, seeds

REPLY_RULES = sorted(name for name, rule in RULES.items() if rule.information == "reply")

rules = pytest.mark.parametrize("name", sorted(RULES))
reply_rules = pytest.mark.parametrize("name", REPLY_RULES)


def grid(*sizes: int) -> np.ndarray:
    """Places of all actions: levels times bids."""
    return read_only(list(itertools.product(*(range(size) for size in sizes))))


def random_view(seed: int, information: str, with_bids: bool = True) -> View:
    """A view of a random number of levels times bids, some not allowed, some payoffs equal."""
    rng = np.random.default_rng(seed)
    steps = grid(rng.integers(1, 5), *([rng.integers(1, 4)] if with_bids else []))
    allowed = rng.random(len(steps)) < 0.8
    current = int(rng.integers(len(steps)))
    allowed[current] = True
    payoffs = rng.choice([*rng.normal(0, 1, 6), 0.0, 1.0], len(steps))
    payoffs /= max(np.abs(payoffs).max(), 1e-300)
    return View(
        current=current,
        allowed=read_only(allowed),
        steps=steps,
        truthful=int(rng.choice(np.flatnonzero(allowed))) if with_bids else None,
        payoffs=read_only(payoffs) if information == "reply" else None,
    )


def act(name: str, view: View) -> int:
    """One action of a rule with a fresh memory."""
    rule = RULES[name]
    return rule.act(rule.start(len(view.steps)), view, np.random.default_rng(0))


# --- The contract -----------------------------------------------------------------------------------


@rules
@given(seed=seeds)
def test_a_rule_returns_an_action_it_has(name, seed):
    view = random_view(seed, RULES[name].information)
    action = act(name, view)
    assert isinstance(action, int)
    assert view.allowed[action]


@rules
@given(seed=seeds)
def test_a_rule_leaves_what_it_sees_as_it_was(name, seed):
    """The arrays are read-only, and their contents are compared all the same."""
    view, untouched = (random_view(seed, RULES[name].information) for _ in range(2))
    act(name, view)
    assert view.current == untouched.current
    np.testing.assert_array_equal(view.allowed, untouched.allowed)
    np.testing.assert_array_equal(view.steps, untouched.steps)
    if view.payoffs is not None:
        np.testing.assert_array_equal(view.payoffs, untouched.payoffs)


@rules
@given(seed=seeds)
def test_a_rule_decides_alike_on_the_same_memory_view_and_stream(name, seed):
    view = random_view(seed, RULES[name].information)
    assert act(name, view) == act(name, view)


@rules
def test_a_rule_can_be_played_for_a_few_rounds(name):
    rule = RULES[name]
    memory, rng = rule.start(12), np.random.default_rng(1)
    for round_number in range(5):
        view = random_view(3, rule.information)
        action = rule.act(memory, view, rng)
        assert view.allowed[action]
        memory = rule.update(memory, Feedback(action=action, profit=0.1 * round_number))


@rules
def test_a_rule_says_who_it_is_where_it_makes_sense_and_where_it_comes_from(name):
    rule = RULES[name]
    assert rule.name == name
    assert rule.summary
    assert rule.source
    assert rule.information in {"none", "reply"}
    assert rule.regimes
    assert rule.regimes <= POSTED | AUCTIONS


@reply_rules
def test_a_reply_rule_refuses_to_act_without_payoffs(name):
    with pytest.raises(ValueError, match="no payoffs"):
        act(name, random_view(0, "none"))


def test_there_are_reply_rules():
    assert {"better_reply", "best_reply"} <= set(REPLY_RULES)


@reply_rules
@given(seed=seeds)
def test_a_reply_rule_never_picks_an_action_that_earns_less_than_the_standing_one(name, seed):
    view = random_view(seed, "reply")
    action = act(name, view)
    assert view.payoffs[action] >= view.payoffs[view.current]
    if action != view.current:
        assert view.payoffs[action] > view.payoffs[view.current]


@reply_rules
@pytest.mark.parametrize("standing", [0.0, 0.5, 1.0, -0.5])
@pytest.mark.parametrize("current", range(5))
def test_a_reply_rule_stays_on_a_tie(name, standing, current):
    """Also where the others earn more by rounding only."""
    payoffs = np.full(5, standing * (1 + 0.5 * RELATIVE_TOLERANCE * np.sign(standing)))
    payoffs[current] = standing
    view = View(current=current, allowed=np.ones(5, bool), steps=grid(5), payoffs=read_only(payoffs))
    assert act(name, view) == current


@reply_rules
@given(seed=seeds, factor=st.sampled_from([0.25, 8.0, 1024.0]))
def test_a_reply_rule_does_not_care_about_the_currency(name, seed, factor):
    view = random_view(seed, "reply")
    other = View(
        current=view.current,
        allowed=view.allowed,
        steps=view.steps,
        truthful=view.truthful,
        payoffs=read_only(view.payoffs * factor),
    )
    assert act(name, view) == act(name, other)


@reply_rules
@given(seed=seeds)
def test_what_is_not_allowed_does_not_tempt(name, seed):
    view = random_view(seed, "reply")
    payoffs = np.where(view.allowed, view.payoffs, 1e6)
    tempting = View(
        current=view.current,
        allowed=view.allowed,
        steps=view.steps,
        truthful=view.truthful,
        payoffs=read_only(payoffs),
    )
    assert act(name, tempting) == act(name, view)


# --- Each of them -----------------------------------------------------------------------------------


@given(seed=seeds, with_bids=st.booleans())
def test_better_reply_moves_by_the_fewest_level_steps_then_bid_steps_the_lower_first(seed, with_bids):
    view = random_view(seed, "reply", with_bids)
    standing = view.payoffs[view.current]
    better = [
        a
        for a in np.flatnonzero(view.allowed)
        if view.payoffs[a] - standing > RELATIVE_TOLERANCE * abs(standing)
    ]
    away = np.abs(view.steps - view.steps[view.current]).tolist()
    expected = min(better, key=lambda a: (away[a], a)) if better else view.current
    assert act("better_reply", view) == expected


@given(seed=seeds)
def test_better_reply_on_levels_is_the_papers_dynamics(seed):
    """The rule of 6 and the path of 2.7 agree on every choice."""
    view = random_view(seed, "reply", with_bids=False)
    payoffs = np.abs(view.payoffs)
    view = View(current=view.current, allowed=view.allowed, steps=view.steps, payoffs=read_only(payoffs))
    better = view.allowed & (payoffs > payoffs[view.current] * (1 + RELATIVE_TOLERANCE))
    assert act("better_reply", view) == nearest_better(better, np.array(view.current))


def test_a_bid_step_is_nearer_than_a_level_step_however_many():
    steps = grid(2, 10)
    payoffs = np.zeros(20)
    payoffs[[9, 10]] = 1.0  # (level 0, bid 9) and (level 1, bid 0)
    view = View(current=0, allowed=np.ones(20, bool), steps=steps, payoffs=read_only(payoffs))
    assert act("better_reply", view) == 9


@given(seed=seeds)
def test_best_reply_earns_the_most_there_is(seed):
    view = random_view(seed, "reply")
    most = view.payoffs[view.allowed].max()
    action = act("best_reply", view)
    assert most - view.payoffs[action] <= RELATIVE_TOLERANCE * abs(view.payoffs[action])
    if view.payoffs[view.current] < most - 1e-6:
        assert action == np.flatnonzero(view.allowed & (view.payoffs == most))[0]


@given(seed=seeds)
def test_fixed_never_moves_and_truthful_tells_the_truth(seed):
    view = random_view(seed, "none")
    assert act("fixed", view) == view.current
    assert act("truthful", view) == view.truthful


def test_there_is_no_truth_to_tell_where_there_are_no_bids():
    with pytest.raises(ValueError, match="regime with bids"):
        act("truthful", random_view(0, "none", with_bids=False))
    assert not RULES["truthful"].regimes & POSTED

"""Learning rules: one contract for the whole registry, and what each of them does
(docs/theory.md, section 6)."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.errors import InputError
from market_sim.theory.bandits import exp3_chances
from market_sim.theory.dynamics import RELATIVE_TOLERANCE, nearest_better
from market_sim.theory.full_information import Totals, hedge_weights
from market_sim.theory.learning import EVERYWHERE, RULES
from market_sim.theory.rule import AUCTIONS, POSTED, Choice, Feedback, Payoffs, Rule, View, draw, take
from tests.worlds import read_only, seeds

REPLY_RULES = sorted(name for name, family in RULES.items() if family.information == "reply")
CERTAIN_REPLIES = ["best_reply", "better_reply"]
LEARNING_RULES = sorted(n for n, family in RULES.items() if family.information in ("full", "own", "rivals"))

rules = pytest.mark.parametrize("name", sorted(RULES))
reply_rules = pytest.mark.parametrize("name", REPLY_RULES)
learning_rules = pytest.mark.parametrize("name", LEARNING_RULES)
certain_replies = pytest.mark.parametrize("name", CERTAIN_REPLIES)


def grid(*sizes: int) -> np.ndarray:
    """Places of all actions: levels times bids."""
    return read_only(list(itertools.product(*(range(size) for size in sizes))))


def random_view(seed: int, information: str, with_bids: bool = True, learners: int = 4) -> View:
    """Views of a random number of levels times bids, some not allowed, some payoffs equal."""
    rng = np.random.default_rng(seed)
    steps = grid(rng.integers(1, 5), *([rng.integers(1, 4)] if with_bids else []))
    allowed = rng.random((learners, len(steps))) < 0.8
    current = rng.integers(len(steps), size=learners)
    allowed[np.arange(learners), current] = True
    payoffs = rng.choice([*rng.normal(0, 1, 6), 0.0, 1.0], (learners, len(steps)))
    payoffs /= np.maximum(np.abs(payoffs).max(axis=1, keepdims=True), 1e-300)
    recommended = np.array([rng.choice(np.flatnonzero(row)) for row in allowed])
    return View(
        current=read_only(current),
        allowed=read_only(allowed),
        steps=steps,
        recommended=read_only(recommended) if information == "plan" and with_bids else None,
        payoffs=Payoffs(read_only(np.where(allowed, payoffs, -np.inf)), None)
        if information == "reply"
        else None,
    )


def random_feedback(seed: int, view: View, information: str, action: np.ndarray) -> Feedback:
    """What learners of that information are told, and nothing else."""
    rng = np.random.default_rng(seed)
    learners, size = view.allowed.shape
    told = {}
    if information == "full":
        profit = rng.random((learners, size))
        scaled = np.where(view.allowed, profit, -np.inf)
        told["payoffs"] = Payoffs(
            read_only(scaled), read_only(np.where(view.allowed, np.log(profit), -np.inf))
        )
    if information in ("own", "actions", "rivals"):
        told["profit"] = read_only(rng.normal(0.1, 0.2, learners))
    if information in ("actions", "rivals"):
        told["actions"] = read_only(np.tile(action, (learners, 1)))
    if information == "rivals":
        told["profits"] = read_only(np.tile(rng.normal(0.1, 0.2, learners), (learners, 1)))
    moved = read_only(rng.random(learners) < 0.7)
    return Feedback(action=read_only(action), moved=moved, allowed=view.allowed, **told)


def uniforms(rule: Rule, view: View, seed: int = 0) -> np.ndarray:
    learners, size = view.allowed.shape
    count = size if rule.functions.draws is None else rule.functions.draws
    return read_only(np.random.default_rng(seed).random((learners, count)))


def begun(rule: Rule, view: View):
    learners, size = view.allowed.shape
    return rule.functions.start(learners, size, learners)


def act(name: str, view: View, **values) -> np.ndarray:
    """Actions of a rule with a fresh memory."""
    rule = RULES[name](**values)
    return rule.functions.act(begun(rule, view), view, uniforms(rule, view))


def played(rule: Rule, seed: int, rounds: int, learners: int = 4) -> tuple[np.ndarray, object]:
    """Actions (rounds, P) and the memory after a few rounds of random feedback on one grid."""
    view = random_view(seed, rule.information, learners=learners)
    memory, actions = begun(rule, view), []
    for t in range(rounds):
        action = rule.functions.act(memory, view, uniforms(rule, view, t))
        memory = rule.functions.update(memory, random_feedback(t, view, rule.information, action))
        view = replace(view, current=read_only(action))
        actions.append(action)
    return np.array(actions), memory


def frozen(memory):
    """The memory with every array read-only."""
    if isinstance(memory, tuple):
        parts = [frozen(part) for part in memory]
        return type(memory)(*parts) if hasattr(memory, "_fields") else tuple(parts)
    return None if memory is None else read_only(memory)


def arrays_of(memory) -> list[np.ndarray]:
    if memory is None:
        return []
    return [memory] if isinstance(memory, np.ndarray) else [a for part in memory for a in arrays_of(part)]


# --- The contract -----------------------------------------------------------------------------------


@rules
@given(seed=seeds)
def test_a_rule_returns_actions_its_learners_have(name, seed):
    rule = RULES[name]()
    view = random_view(seed, rule.information)
    memory = begun(rule, view)
    for t in range(6):
        action = rule.functions.act(frozen(memory), view, uniforms(rule, view, t))
        assert action.shape == view.current.shape
        assert view.allowed[np.arange(len(action)), action].all()
        memory = rule.functions.update(
            frozen(memory), random_feedback(seed + t, view, rule.information, action)
        )
        assert all(np.isfinite(array).all() for array in arrays_of(memory))


VARIANTS = [(name, {}) for name in sorted(RULES)] + [("q_learning", {"recall": r}) for r in ("none", "all")]


@pytest.mark.parametrize(("name", "values"), VARIANTS)
@given(seed=seeds)
def test_what_one_learner_sees_never_moves_another(name, values, seed):
    """P learners in one call are P calls of one learner: a batch is nothing but faster."""
    rule = RULES[name](**values)
    together, memory = played(rule, seed, 4)
    view = random_view(seed, rule.information)
    for i in range(4):
        rows = np.array([i])
        own = View(
            current=view.current[rows],
            allowed=view.allowed[rows],
            steps=view.steps,
            recommended=None if view.recommended is None else view.recommended[rows],
            payoffs=None if view.payoffs is None else Payoffs(view.payoffs.scaled[rows], None),
        )
        alone = rule.functions.start(1, view.allowed.shape[1], 4)
        for t in range(4):
            action = rule.functions.act(alone, own, uniforms(rule, view, t)[rows])
            assert action == together[t][rows]
            told = random_feedback(t, view, rule.information, together[t])
            told = {
                key: value[rows]
                if isinstance(value, np.ndarray)
                else None
                if value is None
                else Payoffs(value.scaled[rows], value.logs[rows])
                for key, value in vars(told).items()
            }
            alone = rule.functions.update(alone, Feedback(**told))
            own = replace(own, current=action)
        for one, all_ in zip(arrays_of(alone), arrays_of(take(memory, rows)), strict=True):
            np.testing.assert_array_equal(one, all_)


@rules
def test_the_same_memory_view_and_numbers_give_the_same_actions(name):
    rule = RULES[name]()
    np.testing.assert_array_equal(played(rule, 3, 12)[0], played(rule, 3, 12)[0])


@rules
def test_a_rule_says_who_it_is_where_it_makes_sense_and_where_it_comes_from(name):
    family = RULES[name]
    assert family.name == name == family().name
    assert family.summary
    assert family.source
    assert family.regimes
    assert family.regimes <= EVERYWHERE
    assert family.make.__doc__
    for parameter in family.parameters.values():
        assert parameter.meaning
        assert parameter.check("x", parameter.default) == parameter.default


@rules
def test_with_one_action_there_is_nothing_to_learn(name):
    rule = RULES[name]()
    view = View(
        current=np.zeros(3, int),
        allowed=np.ones((3, 1), bool),
        steps=grid(1),
        recommended=np.zeros(3, int),
        payoffs=Payoffs(np.ones((3, 1)), np.zeros((3, 1))),
    )
    memory = begun(rule, view)
    for t in range(5):
        action = rule.functions.act(memory, view, uniforms(rule, view, t))
        assert action.tolist() == [0, 0, 0]
        memory = rule.functions.update(memory, random_feedback(t, view, rule.information, action))


@learning_rules
def test_a_learner_of_nothing_but_zero_profits_goes_on(name):
    rule = RULES[name]()
    view = random_view(1, rule.information)
    memory = begun(rule, view)
    for t in range(50):
        action = rule.functions.act(memory, view, uniforms(rule, view, t))
        assert view.allowed[np.arange(4), action].all()
        told = vars(random_feedback(t, view, rule.information, action))
        nothing = {
            key: np.zeros_like(value) if key in ("profit", "profits") and value is not None else value
            for key, value in told.items()
        }
        if told["payoffs"] is not None:
            zero = np.where(view.allowed, 0.0, -np.inf)
            nothing["payoffs"] = Payoffs(zero, np.where(view.allowed, -5000.0, -np.inf))
        memory = rule.functions.update(memory, Feedback(**nothing))
        assert all(np.isfinite(array).all() for array in arrays_of(memory))


@rules
def test_a_rule_that_is_not_told_what_it_needs_says_so(name):
    """The boundary works both ways: what is not declared is not there."""
    rule = RULES[name]()
    view = random_view(0, "none", with_bids=False)
    bare = Feedback(action=view.current, moved=np.ones(4, bool), allowed=view.allowed)
    if rule.information == "reply":
        with pytest.raises(ValueError, match="no payoffs"):
            act(name, view)
    elif rule.information == "plan":
        with pytest.raises(ValueError, match="recommends an action"):
            act(name, view)
    elif rule.information != "none":
        with pytest.raises(ValueError, match=r"given no|not told"):
            rule.functions.update(begun(rule, view), bare)
    else:
        assert rule.functions.update(begun(rule, view), bare) is None


# --- Parameters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("logit_reply", {"temperature": 0}, "temperature = 0 is not allowed; it must be above 0"),
        ("epsilon_greedy", {"exploration": 2}, "exploration = 2 is not allowed; it must be at least 0"),
        ("hedge", {"rate": float("nan")}, "rate = nan is not allowed"),
        ("hedge", {"rate": "high"}, "rate = 'high' is not allowed"),
        ("hedge", {"rate": True}, "rate = True is not allowed"),
        ("hedge", {"rat": 1}, "'rat' is not one of rate (did you mean rate?)"),
        ("fixed", {"rate": 1}, "fixed has no parameters, got 'rate'"),
        ("q_learning", {"recall": "everything"}, "'everything' is not one of none, own, all"),
        ("q_learning", {"discount": 1.0}, "discount = 1 is not allowed"),
    ],
)
def test_a_wrong_parameter_is_refused_with_one_sentence(name, values, says):
    with pytest.raises(InputError) as caught:
        RULES[name](where="x.toml: learning", **values)
    assert str(caught.value).startswith("x.toml: learning")
    assert says in str(caught.value)


@rules
def test_every_end_of_every_range_can_be_played(name):
    for parameter, allowed in RULES[name].parameters.items():
        ends = allowed.options if isinstance(allowed, Choice) else (allowed.least, allowed.most)
        if not isinstance(allowed, Choice) and allowed.above:
            ends = (1e-9, allowed.most)
        for end in ends:
            _, memory = played(RULES[name](**{parameter: end}), 5, 20, learners=2)
            assert all(np.isfinite(array).all() for array in arrays_of(memory)), (parameter, end)


def test_too_many_states_to_remember_are_refused():
    with pytest.raises(InputError, match=r"6\^9 states here; at most 100,000"):
        RULES["q_learning"](recall="all").functions.start(9, 6, 9)


# --- Replies ----------------------------------------------------------------------------------------


@certain_replies
@given(seed=seeds)
def test_a_reply_never_earns_less_than_the_standing_action(name, seed):
    view = random_view(seed, "reply")
    action, rows = act(name, view), np.arange(4)
    earned, standing = view.payoffs.scaled[rows, action], view.payoffs.scaled[rows, view.current]
    assert ((action == view.current) | (earned > standing)).all()


@certain_replies
@pytest.mark.parametrize("standing", [0.0, 0.5, 1.0, -0.5])
@pytest.mark.parametrize("current", range(5))
def test_a_reply_stays_on_a_tie(name, standing, current):
    """Also where the others earn more by rounding only."""
    payoffs = np.full((1, 5), standing * (1 + 0.5 * RELATIVE_TOLERANCE * np.sign(standing)))
    payoffs[0, current] = standing
    view = View(
        current=np.array([current]),
        allowed=np.ones((1, 5), bool),
        steps=grid(5),
        payoffs=Payoffs(read_only(payoffs), None),
    )
    assert act(name, view) == current


@reply_rules
@given(seed=seeds, factor=st.sampled_from([0.25, 8.0, 1024.0]))
def test_a_reply_rule_does_not_care_about_the_currency(name, seed, factor):
    view = random_view(seed, "reply")
    other = replace(view, payoffs=Payoffs(read_only(view.payoffs.scaled * factor), None))
    np.testing.assert_array_equal(act(name, view), act(name, other))


@reply_rules
@given(seed=seeds)
def test_what_is_not_allowed_does_not_tempt(name, seed):
    view = random_view(seed, "reply")
    tempting = np.where(view.allowed, view.payoffs.scaled, 1e6)
    other = replace(view, payoffs=Payoffs(read_only(tempting), None))
    np.testing.assert_array_equal(act(name, other), act(name, view))


@given(seed=seeds, with_bids=st.booleans())
def test_better_reply_moves_by_the_fewest_level_steps_then_bid_steps_the_lower_first(seed, with_bids):
    view = random_view(seed, "reply", with_bids)
    action = act("better_reply", view)
    for i in range(4):
        payoffs, current = view.payoffs.scaled[i], view.current[i]
        standing = payoffs[current]
        better = [
            a
            for a in np.flatnonzero(view.allowed[i])
            if payoffs[a] - standing > RELATIVE_TOLERANCE * abs(standing)
        ]
        away = np.abs(view.steps - view.steps[current]).tolist()
        assert action[i] == (min(better, key=lambda a: (away[a], a)) if better else current)


@given(seed=seeds)
def test_better_reply_on_levels_is_the_papers_dynamics(seed):
    """The rule of 6 and the path of 2.7 agree on every choice."""
    view = random_view(seed, "reply", with_bids=False)
    payoffs = np.where(view.allowed, np.abs(view.payoffs.scaled), 0.0)
    view = replace(view, payoffs=Payoffs(read_only(payoffs), None))
    standing = payoffs[np.arange(4), view.current][:, None]
    better = view.allowed & (payoffs > standing * (1 + RELATIVE_TOLERANCE))
    np.testing.assert_array_equal(act("better_reply", view), nearest_better(better, view.current))


def test_a_bid_step_is_nearer_than_a_level_step_however_many():
    payoffs = np.zeros((1, 20))
    payoffs[0, [9, 10]] = 1.0  # (level 0, bid 9) and (level 1, bid 0)
    view = View(
        current=np.array([0]),
        allowed=np.ones((1, 20), bool),
        steps=grid(2, 10),
        payoffs=Payoffs(read_only(payoffs), None),
    )
    assert act("better_reply", view) == 9


@given(seed=seeds)
def test_best_reply_earns_the_most_there_is(seed):
    view = random_view(seed, "reply")
    action = act("best_reply", view)
    for i in range(4):
        payoffs = view.payoffs.scaled[i]
        most = payoffs[view.allowed[i]].max()
        assert most - payoffs[action[i]] <= RELATIVE_TOLERANCE * abs(payoffs[action[i]])
        if payoffs[view.current[i]] < most - 1e-6:
            assert action[i] == np.flatnonzero(view.allowed[i] & (payoffs == most))[0]


def test_logit_reply_plays_an_action_in_proportion_to_its_profit_to_the_power_of_one_over_t():
    profit, n = np.array([0.5, 1.0, 0.25]), 40_000
    logs = np.tile(np.log(profit) - 9000.0, (n, 1))  # far below what a float can hold
    view = View(
        current=np.zeros(n, int),
        allowed=np.ones((n, 3), bool),
        steps=grid(3),
        payoffs=Payoffs(np.zeros((n, 3)), logs),
    )
    share = np.bincount(act("logit_reply", view, temperature=0.5), minlength=3) / n
    expected = profit**2 / (profit**2).sum()
    assert (np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)).all()


def test_logit_reply_where_profit_may_be_negative_is_exponential_in_its_share_of_the_largest():
    payoffs, n = np.array([-2.0, 1.0, 0.0]), 40_000
    view = View(
        current=np.zeros(n, int),
        allowed=np.ones((n, 3), bool),
        steps=grid(3),
        payoffs=Payoffs(np.tile(payoffs, (n, 1)), None),
    )
    share = np.bincount(act("logit_reply", view, temperature=0.7), minlength=3) / n
    weights = np.exp(payoffs / 2 / 0.7)
    expected = weights / weights.sum()
    assert (np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)).all()


@given(seed=seeds)
def test_fixed_never_moves_and_truthful_and_planned_do_as_they_are_asked(seed):
    view, asked = random_view(seed, "none"), random_view(seed, "plan")
    np.testing.assert_array_equal(act("fixed", view), view.current)
    for name in ("truthful", "planned"):
        np.testing.assert_array_equal(act(name, asked), asked.recommended)


def test_there_is_no_truth_to_tell_where_there_are_no_bids():
    with pytest.raises(ValueError, match="recommends"):
        act("truthful", random_view(0, "none", with_bids=False))
    assert RULES["truthful"].regimes == AUCTIONS
    assert not RULES["fictitious_play"].regimes & AUCTIONS
    assert RULES["fictitious_play"].regimes == POSTED


# --- Learners against a stationary world -------------------------------------------------------------

MEANS = np.array([0.2, 0.5, 0.8, 0.4])
STATIONARY = {
    "epsilon_greedy": {},
    "ucb1": {"confidence": 0.5},
    "exp3": {"rate": 1.0},
    "thompson": {"noise": 0.5},
    "q_learning": {"recall": "none", "discount": 0.0},
    "hedge": {"rate": 1.0},
    "regret_matching": {},
    "fictitious_play": {},
}


def bandit(name: str, rounds: int, copies: int = 200, **values) -> np.ndarray:
    """Actions (rounds, copies) of independent learners; action a earns 1 with probability MEANS[a]."""
    rule, size = RULES[name](**values), len(MEANS)
    rng = np.random.default_rng(11)
    memory = rule.functions.start(copies, size, 1)
    current, allowed = np.zeros(copies, int), np.ones((copies, size), bool)
    actions = np.empty((rounds, copies), int)
    for t in range(rounds):
        view = View(current=current, allowed=allowed, steps=grid(size))
        count = size if rule.functions.draws is None else rule.functions.draws
        current = actions[t] = rule.functions.act(memory, view, rng.random((copies, count)))
        profits = (rng.random((copies, size)) < MEANS) * 1.0
        told = {"profit": profits[np.arange(copies), current]}
        if rule.information == "full":
            told = {"payoffs": Payoffs(profits, np.log(profits + 0.01))}
        memory = rule.functions.update(
            memory, Feedback(action=current, moved=np.ones(copies, bool), allowed=allowed, **told)
        )
    return actions


@pytest.mark.parametrize("name", STATIONARY)
def test_every_learner_finds_the_best_of_four_actions_that_never_change(name):
    """Uniform play would choose it in a quarter of the rounds."""
    actions = bandit(name, 1500, **STATIONARY[name])
    assert (actions[1000:] == MEANS.argmax()).mean() > 0.75
    assert not np.isin(actions[1000:], [0]).mean() > 0.1


ROUNDS = 4000


def test_the_regret_of_hedge_stays_under_its_bound_which_uniform_play_violates():
    """2 sqrt(t ln A / 2) + sqrt(ln A / 8) (Cesa-Bianchi & Lugosi 2006, theorem 2.3); mean of 200 runs."""
    size = len(MEANS)
    bound = 2 * np.sqrt(ROUNDS * np.log(size) / 2) + np.sqrt(np.log(size) / 8)
    earned = MEANS[bandit("hedge", ROUNDS, rate=1.0)].sum(axis=0).mean()
    assert ROUNDS * MEANS.max() - earned < bound
    assert ROUNDS * (MEANS.max() - MEANS.mean()) > bound


def test_the_regret_of_exp3_stays_under_its_bound_which_uniform_play_violates():
    """(e - 1) g G + A ln A / g (Auer et al. 2002, theorem 3.1); mean of 200 runs."""
    size, exploration = len(MEANS), 0.05
    best = ROUNDS * MEANS.max()
    bound = (np.e - 1) * exploration * best + size * np.log(size) / exploration
    earned = MEANS[bandit("exp3", ROUNDS, exploration=exploration, rate=1.0)].sum(axis=0).mean()
    assert best - earned < bound
    assert ROUNDS * (MEANS.max() - MEANS.mean()) > bound


def test_a_bandit_that_did_not_choose_its_action_learns_no_chance_from_it():
    """exp3 divides by the chance of a choice; a standing action out of turn was no choice."""
    rule = RULES["exp3"]()
    view = random_view(2, "own")
    memory, action = begun(rule, view), view.current
    told = random_feedback(1, view, "own", action)
    idle = rule.functions.update(memory, replace(told, moved=np.zeros(4, bool)))
    np.testing.assert_array_equal(idle, memory)


def test_ucb1_tries_everything_once_before_anything_twice():
    actions = bandit("ucb1", 4, copies=3)
    assert (np.sort(actions, axis=0) == np.arange(4)[:, None]).all()


def test_weights_and_chances_are_probabilities_over_what_is_allowed():
    rng = np.random.default_rng(0)
    allowed = rng.random((50, 6)) < 0.6
    allowed[:, 2] = True
    heights = rng.normal(0, 2000, (50, 6))
    chances = exp3_chances(heights, allowed, 0.1)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0)
    assert (chances[~allowed] == 0).all()
    assert (chances[allowed] >= 0.1 / 6).all()
    weights = hedge_weights(Totals(np.full(50, 9.0), heights), allowed, 1.0)
    assert (weights[~allowed] == 0).all()
    np.testing.assert_allclose(weights.max(axis=1), 1.0)


@given(seed=seeds)
def test_a_draw_follows_its_weights_and_never_falls_on_nothing(seed):
    rng = np.random.default_rng(seed)
    weights = rng.random((1, 5)) * (rng.random((1, 5)) < 0.7)
    weights[0, rng.integers(5)] = 1.0
    for uniform in (0.0, 0.5, 1.0 - 2.0**-53):
        action = draw(weights, np.array([uniform]))
        assert weights[0, action] > 0


def test_an_imitator_does_what_the_richest_did_unless_it_is_the_richest():
    rule = RULES["imitation"](inertia=0, exploration=0)
    view = View(current=np.array([0, 1, 2]), allowed=np.ones((3, 3), bool), steps=grid(3))
    told = {
        "profit": np.zeros(3),
        "actions": np.tile([0, 1, 2], (3, 1)),
        "profits": np.tile([0.1, 0.3, 0.2], (3, 1)),
    }
    memory = rule.functions.update(
        begun(rule, view), Feedback(action=view.current, moved=np.ones(3, bool), allowed=view.allowed, **told)
    )
    assert rule.functions.act(memory, view, np.full((3, 3), 0.5)).tolist() == [1, 1, 1]
    cannot = replace(view, allowed=np.array([[True, False, True], [True] * 3, [True] * 3]))
    assert rule.functions.act(memory, cannot, np.full((3, 3), 0.5)).tolist() == [0, 1, 1]


def test_q_learning_by_state_answers_what_it_did_last():
    """Doing the other thing than last time pays: a memory of one's own last action finds it."""
    rule = RULES["q_learning"](recall="own", discount=0.5, decay=0.02)
    memory, current = rule.functions.start(50, 2, 1), np.zeros(50, int)
    rng, allowed = np.random.default_rng(0), np.ones((50, 2), bool)
    for _ in range(600):
        view = View(current=current, allowed=allowed, steps=grid(2))
        action = rule.functions.act(memory, view, rng.random((50, 2)))
        told = Feedback(
            action=action, moved=np.ones(50, bool), allowed=allowed, profit=(action != current) * 1.0
        )
        memory, last, current = rule.functions.update(memory, told), current, action
    assert (current != last).mean() > 0.9

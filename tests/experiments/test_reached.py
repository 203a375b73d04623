"""What a run reached: known ends of known games, gaps against their definition, and words for each."""

import json
from dataclasses import replace

import numpy as np
import pytest

from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError
from market_sim.experiments import reached as module
from market_sim.experiments.reached import NamedCycle, Nearest, Reached, payoffs_usd, reached_by, weighed
from market_sim.experiments.run import run
from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.solve import solve
from market_sim.experiments.timeline import timeline_of
from market_sim.experiments.words import nearness_text, play_text
from market_sim.simulation.model import MarketModel
from market_sim.theory.convergence import Estimate
from market_sim.theory.learning import RULES
from tests.experiments.test_run import SCENARIO, everything_below, scenario_with

SEGMENTS = {"segments": [{"size": 30, "beta": 200.0, "value_scale": 0.5}, {"size": 40, "beta": 2000.0}]}
MODELS = SCENARIO["market"]["models"]
EXPECTED = {"count": 100, "beta": 800.0, "demand": "expected"}

SETTLED = Reached(
    began=0,
    rounds=60,
    last_move=41,
    settled_round=41,
    cycle=None,
    nearest=Nearest(number=1, of=1, ties=False, providers_off=0, level_steps=0, mean_level_steps=0.0),
    no_equilibria=None,
    cce_gap_usd=1e-6,
    rounds_weighed=60,
    nashconv_usd=0.0,
    welfare_from=20,
    welfare=Estimate(mean=0.006, half_width=0.0001, n_effective=12.0, n=41),
)


def gsm8k(beta: float, **sections) -> dict:
    """The nine models of the paper's first setting, demand in expectation."""
    users = {"count": 100, "beta": beta, "demand": "expected"}
    market = {"benchmark": "GSM8K", "method": "majority_voting"}
    return {"name": "gsm8k", "rounds": 120, "market": market, "users": users} | sections


def learners(rule: str) -> dict:
    return {"learning": {"rule": rule}, "auction_learning": {"rule": rule}}


def played(data: dict):
    """Parts of a scenario, what everybody stood at (R + 1, N), and what that reached."""
    scenario = load_scenario(data)
    parts = timeline_of(scenario).first
    model = MarketModel.from_parts(parts)
    for _ in range(scenario.rounds):
        model.step()
    actions = model.recorder.actions()
    return parts, actions[:, 0], reached_by(parts, actions, model.recorder.rounds())


# --- Known ends -------------------------------------------------------------------------------------


def test_better_replies_one_at_a_time_settle_in_the_equilibrium():
    _, profiles, reached = played(gsm8k(1000.0))
    last = max(t for t in range(1, len(profiles)) if (profiles[t] != profiles[t - 1]).any())
    assert reached.last_move == reached.settled_round == last
    assert reached.cycle is None
    assert (reached.nearest.number, reached.nearest.of, reached.nearest.level_steps) == (1, 1, 0)
    assert reached.nashconv_usd == pytest.approx(0.0, abs=1e-12)
    assert reached.rounds_weighed == reached.rounds == 120


def test_of_two_equilibria_the_start_decides_and_the_one_reached_is_the_one_that_solve_numbers():
    """GSM8K majority voting at beta = 3353 (docs/theory.md 6)."""
    (solution,) = solve(gsm8k(3353.0))
    numbers = set()
    for start in ("lowest", "highest"):
        result = run(gsm8k(3353.0, providers={"start": start}))
        nearest = result.reached.nearest
        assert (nearest.of, nearest.level_steps, nearest.providers_off) == (2, 0, 0)
        levels = {name: row["compute_level"] for name, row in result.provider_means().items()}
        assert levels == solution.equilibria[nearest.number - 1].levels
        numbers.add(nearest.number)
    assert numbers == {1, 2}


def test_simultaneous_best_replies_cycle_between_two_equilibria():
    """GSM8K majority voting at beta = 3400 (docs/theory.md 6): two providers alternate."""
    providers = {"learning": {"rule": "best_reply"}, "activation": "simultaneous"}
    data = gsm8k(3400.0, providers=providers)
    _, _, reached = played(data)
    assert reached.settled_round is None
    assert reached.cycle.length == 2
    assert reached.nearest.of == 2
    (solution,) = solve(data)
    movers = reached.cycle.movers
    assert len(movers) == 2
    for name in movers:
        levels = {float(member[name]) for member in reached.cycle.members}
        assert levels == {float(profile.levels[name]) for profile in solution.equilibria}


@pytest.mark.parametrize(("regime", "settles"), [("planner", 0), ("second_price_auction", 0)])
def test_who_never_moves_has_settled_at_the_start(regime, settles):
    data = gsm8k(1000.0, regime={"kind": regime}) | {"rounds": 30}
    _, _, reached = played(data)
    assert (reached.last_move, reached.settled_round, reached.cycle) == (0, settles, None)
    assert reached.welfare.half_width == 0


def made_up(rule: str, profiles: list[int], rounds: int = 40) -> Reached:
    """What a run of three providers would have reached, the first of which stood at the given levels."""
    parts = timeline_of(load_scenario(scenario_with(users=EXPECTED, providers=learners(rule)))).first
    actions = np.zeros((rounds + 1, 1, 3), dtype=int)
    actions[:, 0, 0] = profiles
    return reached_by(
        parts, actions, {"round": np.arange(rounds + 1), "expected_welfare_usd": np.ones(rounds + 1)}
    )


BY_CHANCE = [1, 1, 2, 1, 2, 2, 2, 1, 2, 1, 1, 2, 1, 1, 1, 2, 1, 2, 2, 1]


@pytest.mark.parametrize(
    ("rule", "levels", "ends"),
    [
        # Two turns of everybody are enough for who will never move again, a quarter of the run for the rest.
        ("best_reply", [0] * 35 + [1] * 6, "settled"),
        ("best_reply", [0] * 37 + [1] * 4, "neither"),
        ("logit_reply", [0] * 35 + [1] * 6, "neither"),
        ("exp3", [0] * 30 + [1] * 11, "settled"),
        ("exp3", [0] * 32 + [1] * 9, "neither"),
        # One at a time, waits depend on the order of turns; to and fro by lot is no cycle.
        ("best_reply", [0, *BY_CHANCE, *BY_CHANCE], "cycled"),
        ("regret_matching", [0, *BY_CHANCE, *BY_CHANCE], "neither"),
        ("q_learning", [0, *BY_CHANCE, *[1, 2] * 10], "cycled"),
        ("q_learning", [0, *BY_CHANCE, *[1, 1, 2] * 6, 1, 1], "cycled"),
        ("q_learning", [0, *[1] * 34, *[1, 2] * 3], "neither"),
    ],
)
def test_what_counts_as_an_end_depends_on_whether_the_rule_may_move_again(rule, levels, ends):
    reached = made_up(rule, levels)
    assert (reached.settled_round is not None) == (ends == "settled")
    assert (reached.cycle is not None) == (ends == "cycled")


# --- Gaps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", ["pay_per_compute", "flat_price", "second_price_auction"])
@pytest.mark.parametrize("users", [EXPECTED, SEGMENTS])
def test_the_gap_is_what_the_best_fixed_action_would_have_added_over_all_rounds(regime, users):
    data = scenario_with(users=users, rounds=25, providers=learners("exp3"), regime={"kind": regime})
    parts, profiles, reached = played(data)
    everybody = np.arange(parts.market.n_providers)
    gains = []
    for profile in profiles[1:]:
        seen = parts.regime.counterfactual(parts.regime, parts.market, 0, profile, parts.users, everybody)
        gains.append(seen.usd() - seen.usd()[everybody, profile][:, None])
    assert reached.cce_gap_usd == pytest.approx(np.mean(gains, axis=0).max(), rel=1e-9, abs=1e-15)
    assert reached.nashconv_usd == pytest.approx(gains[-1].max(axis=1).sum(), rel=1e-9, abs=1e-15)


def test_the_gain_from_deviating_is_that_of_the_last_row():
    result = run(scenario_with(providers=learners("hedge")))
    assert result.reached.nashconv_usd == pytest.approx(result.rounds["nashconv_usd"][-1], rel=1e-12)


def test_no_profile_is_worked_out_twice():
    parts, profiles, _ = played(scenario_with(rounds=60, users=EXPECTED))
    asked = []

    def counted(regime, market, task, actions, users, providers):
        asked.append(tuple(actions.tolist()))
        return parts.regime.counterfactual(regime, market, task, actions, users, providers)

    watched = replace(parts, regime=replace(parts.regime, counterfactual=counted))
    different, times = weighed(profiles[1:], 1000)
    payoffs_usd(watched, different[:, None])
    assert len(asked) == len(set(asked)) < 60
    assert times.sum() == 60


def test_too_many_different_profiles_are_thinned_evenly_and_said_to_be(monkeypatch):
    data = scenario_with(rounds=60, users=EXPECTED, providers=learners("exp3"))
    *_, whole = played(data)
    monkeypatch.setattr(module, "MOST_PROFILES", 10)
    *_, thinned = played(data)
    assert (whole.rounds_weighed, thinned.rounds_weighed) == (60, 10)
    assert thinned.cce_gap_usd != whole.cce_gap_usd
    assert np.isfinite(thinned.cce_gap_usd)
    monkeypatch.setattr(module, "MOST_PAYOFFS", 1)
    *_, one = played(data)
    assert one.rounds_weighed == 1


def test_even_distances_keep_both_ends():
    profiles = np.arange(100)[:, None]
    different, times = weighed(profiles, 5)
    assert different[:, 0].tolist() == [0, 24, 49, 74, 99]
    assert times.tolist() == [1] * 5


# --- Everywhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("users", [EXPECTED, {"count": 40, "beta": 800.0}, SEGMENTS])
@pytest.mark.parametrize("regime", REGIMES)
def test_every_rule_reaches_something_that_json_holds(regime, users):
    for name, family in RULES.items():
        if regime not in family.regimes:
            continue
        rules = {} if regime == "planner" else {"providers": learners(name)}
        if regime == "planner" or "second_price_auction" not in family.regimes:
            rules.get("providers", {}).pop("auction_learning", None)
        if "pay_per_compute" not in family.regimes:
            rules.get("providers", {}).pop("learning", None)
        reached = run(scenario_with(users=users, regime={"kind": regime}, **rules), rounds=8).reached
        kept = json.loads(json.dumps(reached.to_dict(), allow_nan=False))
        assert Reached.from_dict(kept).to_dict() == reached.to_dict(), name
        assert (reached.nearest is None) == (reached.no_equilibria is not None)
        assert (reached.nearest is None) == (regime != "pay_per_compute" or users is SEGMENTS)


@pytest.mark.parametrize("regime", REGIMES)
def test_one_round_and_one_provider_are_enough(regime):
    market = SCENARIO["market"] | {"models": ["Qwen2-7B"]}
    reached = run(scenario_with(market=market, regime={"kind": regime}), rounds=1).reached
    assert reached.rounds == reached.welfare_from == reached.welfare.n == 1
    assert np.isnan(reached.welfare.half_width)
    assert reached.to_dict()["welfare"]["half_width"] is None


@pytest.mark.parametrize(
    ("regime", "words"),
    [
        ({"kind": "pay_per_compute"}, {"8.0"}),
        ({"kind": "flat_price"}, {"level 8", "USD above cost"}),
        ({"kind": "first_price_auction"}, {"level 8", "asking 0.3 of its surplus"}),
        ({"kind": "second_price_auction", "payment": "reported"}, {"level 8", "overstating 0.4"}),
    ],
)
def test_actions_are_named_by_what_they_are(regime, words):
    parts = timeline_of(load_scenario(scenario_with(regime=regime))).first
    grid = parts.regime.actions(parts.regime, parts.market, 0)
    level = int(np.flatnonzero(parts.market.compute_level[0, 1] == 8)[0])
    wanted = grid.level == level
    if parts.regime.bids:
        wanted &= np.isclose(grid.share, 0.3)
    if regime.get("payment") == "reported":
        wanted &= grid.overstate == 0.4
    label = str(module._label(parts, 0, 1, int(np.flatnonzero(wanted)[0])))
    assert all(word in label for word in words), label


def test_the_truth_is_named_efficient():
    parts = timeline_of(load_scenario(scenario_with(regime={"kind": "second_price_auction"}))).first
    truthful = parts.regime.actions(parts.regime, parts.market, 0).truthful
    assert module._label(parts, 0, 0, truthful) == "efficient, asking 0 of its surplus"


# --- Kept in the run folder -------------------------------------------------------------------------


def test_a_run_folder_keeps_it_and_a_run_that_is_read_again_has_it(tmp_path):
    first = run(SCENARIO, out=tmp_path)
    kept = json.loads((first.folder / "convergence.json").read_text())
    assert kept == first.reached.to_dict() == first.summary()["convergence"]
    again = run(SCENARIO, out=tmp_path)
    assert again.reused
    assert again.reached.to_dict() == kept


def test_a_folder_of_an_earlier_version_is_played_again(tmp_path):
    first = run(SCENARIO, out=tmp_path)
    before = everything_below(tmp_path)
    (first.folder / "convergence.json").unlink()
    assert not run(SCENARIO, out=tmp_path).reused
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"cycle": 3}'])
def test_one_that_cannot_be_read_is_said_to_be(tmp_path, text):
    first = run(SCENARIO, out=tmp_path)
    (first.folder / "convergence.json").write_text(text)
    with pytest.raises(InputError, match=r"convergence\.json: .*--force"):
        run(SCENARIO, out=tmp_path)
    assert not run(SCENARIO, out=tmp_path, force=True).reused


# --- In words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "settled in round 41"),
        ({"settled_round": 0, "last_move": 0}, "nobody ever moved"),
        ({"settled_round": None}, "has not settled (last move in round 41 of 60)"),
        (
            {
                "settled_round": None,
                "cycle": NamedCycle(start=7, members=({"A": 1.0, "B": 2.0}, {"A": 4.0, "B": 2.0})),
            },
            "cycles every 2 moves from round 7 on (A)",
        ),
    ],
)
def test_play_in_words(change, words):
    assert play_text(replace(SETTLED, **change)) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "in the only equilibrium"),
        ({"of": 3, "number": 2}, "in equilibrium 2 of 3"),
        ({"level_steps": 1, "mean_level_steps": 1.0}, "1 level step from the only equilibrium"),
        (
            {"level_steps": 2, "of": 3, "mean_level_steps": 3.44},
            "2 level steps from equilibrium 1 of 3, 3.4 on average",
        ),
    ],
)
def test_nearness_in_words(change, words):
    assert nearness_text(replace(SETTLED.nearest, **change)) == words


def test_welfare_that_may_still_be_on_its_way_is_said_to_be():
    assert not SETTLED.still_on_its_way
    assert replace(SETTLED, welfare_from=31).still_on_its_way
    assert not replace(SETTLED, rounds=1, welfare_from=1).still_on_its_way


# --- Several benchmarks, events, absence, memory ----------------------------------------------------


def test_several_benchmarks_are_measured_together():
    """Users alike: in each benchmark the end is an equilibrium, and steps away add up."""
    market = {"benchmark": ["GSM8K", "AIME"], "method": "majority_voting", "models": MODELS}
    data = scenario_with(rounds=60, users=EXPECTED, market=market, providers=learners("best_reply"))
    *_, reached = played(data)
    assert reached.settled_round is not None
    assert (reached.nearest.level_steps, reached.nearest.providers_off) == (0, 0)
    assert reached.nashconv_usd == pytest.approx(0.0, abs=1e-12)
    one = [played(data | {"market": market | {"benchmark": name}})[2] for name in ("GSM8K", "AIME")]
    assert reached.nearest.of == one[0].nearest.of * one[1].nearest.of
    assert reached.settled_round == max(each.settled_round for each in one)
    gaps = [each.cce_gap_usd for each in one]
    assert reached.cce_gap_usd <= np.mean(gaps) + 1e-12  # the largest sum is at most the sum of the largest


def test_only_what_came_after_the_last_event_is_measured():
    data = scenario_with(rounds=90, users=EXPECTED, providers=learners("best_reply"))
    whole = run(data).reached
    late = run(data | {"events": [{"round": 50, "demand": 2.0}]}).reached
    assert (late.began, late.rounds) == (50, 40)
    assert late.settled_round == 50  # nobody moves for more of the same users
    assert late.nearest.level_steps == whole.nearest.level_steps == 0
    assert late.welfare_from == 51
    left = run(data | {"events": [{"round": 50, "leaves": MODELS[:1]}]}).reached
    assert left.settled_round is not None
    assert left.nearest.level_steps == 0


def test_where_users_remember_what_might_have_been_is_undefined():
    for users in ({"count": 40, "inertia_usd": 0.001}, {"count": 40, "information": "experience"}):
        result = run(scenario_with(rounds=12, users=users))
        assert np.isnan(result.reached.cce_gap_usd)
        assert result.reached.nashconv_usd == result.rounds["nashconv_usd"][-1]
        assert result.summary()["convergence"]["cce_gap_usd"] is None

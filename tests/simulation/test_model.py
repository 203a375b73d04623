"""The Mesa model adds agents, a collector and keywords to play_round, and nothing else."""

import time
from dataclasses import fields

import mesa
import numpy as np
import pytest

from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError
from market_sim.simulation.agents import CrowdAgent, ProviderAgent, UserAgent
from market_sim.simulation.model import MOST_USER_AGENTS, MarketModel
from market_sim.simulation.recorder import PROVIDER_COLUMNS, ROUND_COLUMNS
from market_sim.simulation.round import Parts, begin, play_round
from market_sim.theory.learning import RULES
from tests.markets import DIFFERENT, SEGMENTS, paper_market, population, random_market


def played(rounds: int, **keywords) -> MarketModel:
    model = MarketModel(**({"users": 100, "rng": 1} | keywords))
    for _ in range(rounds):
        model.step()
    return model


# --- Steps and rows ---------------------------------------------------------------------------------


def test_a_model_needs_no_arguments():
    model = MarketModel()
    model.step()
    assert model.time == 1.0
    assert model.state.round == 1
    assert model.parts.market.providers == paper_market("GSM8K", "majority_voting").providers
    assert model.parts.users.n_people == 1000


def test_models_without_a_seed_differ():
    one, two = MarketModel(users=50), MarketModel(users=50)
    assert one.parts.seed != two.parts.seed


def test_a_step_is_one_round_of_play_round_and_nothing_else():
    model = played(6, users=70, rng=5)
    state, record = begin(model.parts)
    rows = [record]
    for _ in range(6):
        state, record = play_round(model.parts, state)
        rows.append(record)
    assert model.record.row == rows[-1].row
    np.testing.assert_array_equal(model.state.actions, state.actions)
    kept = model.recorder.rounds()
    for name in ROUND_COLUMNS:
        np.testing.assert_array_equal(kept[name], [getattr(r.row, name) for r in rows])
    kept = model.recorder.providers()
    for name in PROVIDER_COLUMNS:
        np.testing.assert_array_equal(
            kept[name].reshape(7, 1, -1), [getattr(r.providers, name) for r in rows]
        )
    assert kept["round"].reshape(7, -1)[:, 0].tolist() == list(range(7))


def test_time_counts_rounds():
    assert played(4).time == 4.0


def test_the_collector_has_a_row_per_round_from_the_start_and_every_measure():
    model = played(3)
    frame = model.datacollector.get_model_vars_dataframe()
    assert list(frame.columns) == [name for name in ROUND_COLUMNS if name != "round"]
    assert len(frame) == 4
    kept = model.recorder.rounds()
    for name in frame.columns:
        np.testing.assert_array_equal(frame[name].to_numpy(), kept[name])


def test_the_collectors_table_of_providers_is_that_of_the_recorder():
    model = played(2, method="reasoning_effort")
    table = model.datacollector.get_table_dataframe("providers")
    assert list(table.columns) == ["round", "benchmark", "provider", *PROVIDER_COLUMNS]
    assert len(table) == 3 * 3
    kept = model.recorder.providers()
    for name in table.columns:
        np.testing.assert_array_equal(table[name].to_numpy(), kept[name])


def test_nothing_is_reported_per_user():
    model = played(1)
    assert not model.datacollector.agent_reporters
    assert not model.datacollector.agenttype_reporters


# --- Agents -----------------------------------------------------------------------------------------


def test_providers_and_up_to_ten_thousand_users_are_one_agent_each():
    model = MarketModel(users=MOST_USER_AGENTS, rng=1)
    assert MOST_USER_AGENTS == 10_000
    assert len(model.agents_by_type[ProviderAgent]) == 9
    assert len(model.agents_by_type[UserAgent]) == 10_000
    assert CrowdAgent not in model.agents_by_type


def test_more_users_are_one_agent_together():
    model = MarketModel(users=MOST_USER_AGENTS + 1, rng=1)
    (crowd,) = model.agents_by_type[CrowdAgent]
    assert crowd.people == 10_001
    assert len(model.agents) == 9 + 1


def test_a_segment_is_one_agent_however_many_people_are_in_it():
    market = random_market(1)
    parts = Parts(
        market=market, users=SEGMENTS, regime=REGIMES["pay_per_compute"], rules=(RULES["fixed"](),) * 3
    )
    users = MarketModel.from_parts(parts).agents_by_type[UserAgent]
    assert sorted(user.people for user in users) == [200, 300, 1500]
    assert {user.provider for user in users} == {None}


def test_agents_are_views_of_the_models_arrays_and_keep_nothing():
    market = random_market(1, outside_value=0.002)
    regime, rule = REGIMES["pay_per_compute"], RULES["better_reply"]()
    model = MarketModel.from_parts(
        Parts(market=market, users=DIFFERENT, regime=regime, rules=(rule,) * 3, seed=3)
    )
    for _ in range(5):
        model.step()
        for provider in model.agents_by_type[ProviderAgent]:
            i = provider.index
            rows = model.record.providers
            assert provider.name == market.providers[i]
            assert provider.rule == "better_reply"
            assert provider.compute_level == market.compute_level[0, i, model.state.actions[0, i]]
            assert (provider.share, provider.profit_usd) == (rows.share[0, i], rows.profit_usd[0, i])
            assert np.isnan(provider.bid_usd)
        for user in model.agents_by_type[UserAgent]:
            last = model.state.last_provider[user.row]
            assert user.provider == (None if last < 0 else market.providers[last])
            assert user.beta == DIFFERENT.beta[user.row]
            assert user.value_of_correct_usd == {
                "task": pytest.approx(0.01 * DIFFERENT.value_scale[user.row])
            }
    for agent in model.agents:
        assert not any(isinstance(value, np.ndarray) for value in vars(agent).values())


def test_in_an_auction_agents_show_what_they_bid():
    model = played(1, regime="second_price_auction", rule="truthful")
    assert all(np.isfinite(provider.bid_usd) for provider in model.agents_by_type[ProviderAgent])


def test_a_million_users_are_made_and_stepped_in_a_moment():
    """No agent and no Python loop per user: well under a second here; ten times that still passes."""
    begun = time.perf_counter()
    model = MarketModel(users=1_000_000, rng=1)
    model.step()
    assert time.perf_counter() - begun < 5
    assert model.parts.users.n_people == 1_000_000
    assert model.record.providers.requests.sum() == pytest.approx(1e6 * (1 - model.record.row.outside_share))
    assert len(model.agents) == 10


# --- batch_run --------------------------------------------------------------------------------------

SWEPT = {"beta": [200.0, 1000.0], "regime": ["pay_per_compute", "second_price_auction"], "users": 80}


def batch(processes: int) -> list[dict]:
    return mesa.batch_run(
        MarketModel,
        SWEPT,
        rng=[3, 4],
        max_steps=5,
        number_processes=processes,
        data_collection_period=1,
        display_progress=False,
    )


def test_batch_run_gives_what_single_runs_give():
    rows = batch(1)
    assert len(rows) == 2 * 2 * 2 * 6
    for row in rows:
        assert set(ROUND_COLUMNS) - {"round"} <= set(row)
    for beta in SWEPT["beta"]:
        for regime in SWEPT["regime"]:
            for seed in (3, 4):
                single = played(5, beta=beta, regime=regime, users=80, rng=seed).recorder.rounds()
                mine = [r for r in rows if (r["beta"], r["regime"], r["rng"]) == (beta, regime, seed)]
                mine.sort(key=lambda r: r["Step"])
                assert len(mine) == 6
                for name in ("welfare_usd", "price_usd", "accuracy"):
                    np.testing.assert_array_equal([r[name] for r in mine], single[name])


def test_batch_run_gives_the_same_with_two_processes():
    def key(row):
        return row["RunId"], row["Step"]

    one, two = sorted(batch(1), key=key), sorted(batch(2), key=key)
    np.testing.assert_equal(two, one)


# --- Keywords ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "sentence"),
    [
        ({"regime": "pay_per_computer"}, "(did you mean pay_per_compute?)"),
        ({"rule": "beter_reply"}, "(did you mean better_reply?)"),
        ({"rule": "truthful"}, "'truthful' makes no sense under pay_per_compute"),
        ({"activation": "simultanous"}, "(did you mean simultaneous?)"),
        ({"demand": "expcted"}, "(did you mean expected?)"),
        ({"benchmark": "GSM8"}, "(did you mean GSM8K?)"),
        ({"method": "majority"}, "(did you mean majority_voting?)"),
        ({"models": ["Qwen2-7"]}, "(did you mean Qwen2-7B?)"),
        ({"models": []}, "MarketModel.models is empty"),
        ({"beta": -1.0}, "beta = -1.0 is not allowed; it must be from 0 to 1e+12"),
        ({"beta": float("nan")}, "beta = nan is not allowed"),
        ({"margin": 0.0}, "margin = 0.0 is not allowed; it must be above 0"),
        ({"margin": -1.0}, "margin = -1.0 is not allowed"),
        ({"users": 0}, "users = 0 is not allowed; it must be a whole number from 1 to 10000000"),
        ({"users": 1.5}, "users = 1.5 is not allowed; it must be a whole number"),
        ({"users": True}, "users = True is not allowed"),
        ({"users": "many"}, "users = 'many' is not allowed"),
        ({"users": 10**7 + 1}, "a whole number from 1 to 10000000"),
        ({"users": 10**13, "demand": "expected"}, "a whole number from 1 to 1000000000000"),
        ({"beta": "high"}, "beta = 'high' is not allowed"),
        ({"beta": float("inf")}, "beta = inf is not allowed; it must be from 0 to 1e+12"),
        ({"method": ["majority_voting"]}, "method = ['majority_voting'] is not one of majority_voting"),
        ({"models": "Qwen2-7"}, "(did you mean Qwen2-7B?)"),
        ({"rng": -1}, "rng = -1 is not allowed; it must be a whole number of at least 0"),
        ({"rng": 0.5}, "rng = 0.5 is not allowed"),
        ({"rng": "a"}, "rng = 'a' is not allowed"),
        ({"models": 5}, "models = 5 is not allowed; it must be a list of names"),
        ({"beta": 1e11}, "beta times the largest value"),
    ],
)
def test_a_bad_keyword_is_refused_with_one_sentence(keyword, sentence):
    with pytest.raises(InputError) as caught:
        MarketModel(**keyword)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(("MarketModel", "learning rule"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("regime", REGIMES)
def test_a_model_of_any_regime_needs_no_rule_named(regime):
    model = played(2, regime=regime)
    assert np.isfinite(model.record.row.welfare_usd)
    expected = "planned" if regime == "planner" else "better_reply"
    assert {rule.name for rule in model.parts.rules} == {expected}


def test_under_a_planner_whatever_rule_is_named_the_plan_is_followed():
    """As in scenarios, so that a sweep over regimes may name one rule for all."""
    one, other = (played(2, regime="planner", rule=rule).recorder.rounds() for rule in ("hedge", "planned"))
    np.testing.assert_array_equal(one["welfare_usd"], other["welfare_usd"])


def test_an_unknown_keyword_is_not_swallowed():
    with pytest.raises(TypeError, match="regimes"):
        MarketModel(regimes="pay_per_compute")


def test_beta_may_be_nought_and_demand_a_continuum():
    model = played(3, beta=0.0, demand="expected")
    assert model.record.row.outside_share == pytest.approx(0.1)
    assert model.record.providers.share[0] == pytest.approx([0.1] * 9)


def test_keywords_reach_the_parts():
    model = MarketModel(
        benchmark="AIME",
        method="best_of_n",
        models=["Qwen2-7B", "Llama-3-8B"],
        margin=0.5,
        activation="simultaneous",
        demand="expected",
        beta=7.0,
        users=12,
        rng=99,
    )
    parts = model.parts
    assert parts.market.providers == ("Qwen2-7B", "Llama-3-8B")
    assert parts.market.value_of_correct.tolist() == [0.05]
    np.testing.assert_allclose(parts.market.price / parts.market.cost, 1.5)
    assert (parts.activation, parts.demand, parts.seed) == ("simultaneous", "expected", 99)
    assert (parts.users.n_people, parts.users.beta[0]) == (12, 7.0)


def test_from_parts_plays_the_parts_it_is_given():
    users = population([10.0, 20.0], size=[3, 4])
    parts = Parts(
        market=random_market(1),
        users=users,
        regime=REGIMES["pay_per_compute"],
        rules=(RULES["best_reply"](),) * 3,
        seed=12,
    )
    model = MarketModel.from_parts(parts)
    assert model.parts is parts
    assert model.time == 0
    assert {field.name for field in fields(model.record.row)} == set(ROUND_COLUMNS)


def test_one_model_may_be_named_without_a_list():
    assert MarketModel(models="Qwen2-7B", users=5, rng=1).parts.market.providers == ("Qwen2-7B",)


def test_a_continuum_is_one_row_however_many_users():
    model = MarketModel(users=10**9, demand="expected", rng=np.int64(1))
    model.step()
    assert model.record.providers.requests.sum() <= 10**9
    assert len(model.agents_by_type[UserAgent]) == 1

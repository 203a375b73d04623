"""Events: who comes and goes, what changes between rounds, and what becomes of the state."""

import numpy as np
import pytest

from market_sim.errors import InputError
from market_sim.experiments.run import run
from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.store import manifest_of
from market_sim.experiments.timeline import timeline_of
from market_sim.simulation.agents import UserAgent
from market_sim.simulation.events import carry_over
from market_sim.simulation.model import MarketModel
from market_sim.simulation.providers import movers
from market_sim.theory.choice import OUTSIDE
from tests.experiments.test_run import SCENARIO

NAMES = SCENARIO["market"]["models"]


def played(*events: dict, rounds: int = 12, **sections):
    return run(SCENARIO | {"rounds": rounds, "events": list(events)} | sections)


def column(result, name: str) -> np.ndarray:
    """(rounds + 1, 3) of providers.parquet."""
    return result.providers[name].reshape(-1, 3)


def test_a_provider_is_away_until_it_enters_and_after_it_left():
    events = {"round": 5, "enters": [NAMES[1]]}, {"round": 9, "leaves": [NAMES[1]]}
    result = played(*events, providers={"learning": {"rule": "fixed"}})
    requests, level = column(result, "requests"), column(result, "compute_level")
    there = np.isin(np.arange(13), [5, 6, 7, 8])
    assert (requests[there, 1] > 0).all()
    assert (requests[~there, 1] == 0).all()
    np.testing.assert_array_equal(np.isnan(level[:, 1]), ~there)
    assert level[5, 1] == 1.0


def test_a_market_that_is_always_without_a_provider_is_the_market_without_it():
    """It enters after the last round that is compared."""
    with_two = run(SCENARIO | {"market": SCENARIO["market"] | {"models": [NAMES[0], NAMES[2]]}, "rounds": 9})
    late = played({"round": 10, "enters": [NAMES[1]]}, rounds=10)
    for name in ("welfare_usd", "expected_welfare_usd", "price_usd", "hhi"):
        np.testing.assert_allclose(late.rounds[name][:10], with_two.rounds[name], rtol=1e-12)


def test_a_price_changes_and_what_a_query_costs_does_not():
    result = played({"round": 4, "prices": {NAMES[0]: 0.5}}, providers={"learning": {"rule": "fixed"}})
    sold = column(result, "requests")[:, 0]
    price = column(result, "revenue_usd")[:, 0] / sold
    cost = price - column(result, "profit_usd")[:, 0] / sold
    np.testing.assert_allclose(price[1:4], price[0])
    tokens = column(result, "tokens")[:, 0] / sold
    np.testing.assert_allclose(price[4:], 0.5 * tokens[4:] / 1e6)
    np.testing.assert_allclose(cost, cost[0])
    assert sold[4:].mean() < sold[:4].mean()


def test_another_model_brings_its_own_curve_price_and_cost():
    result = played(
        {"round": 4, "serves": {NAMES[0]: "Qwen2-0.5B"}}, providers={"learning": {"rule": "fixed"}}
    )
    other = run(
        SCENARIO
        | {
            "market": SCENARIO["market"] | {"models": ["Qwen2-0.5B", *NAMES[1:]]},
            "rounds": 12,
            "providers": {"learning": {"rule": "fixed"}},
        }
    )
    for name in ("requests", "tokens", "profit_usd", "revenue_usd"):
        np.testing.assert_allclose(column(result, name)[4:], column(other, name)[4:], rtol=1e-12)
    assert (column(result, "tokens")[3, 0] != column(other, "tokens")[3, 0]).all()


def test_a_model_of_fewer_levels_takes_its_provider_down_to_the_highest(tmp_path):
    head = "benchmark,method,model,compute_level,accuracy,tokens_per_query\n"
    long = "".join(f"T,best_of_n,Long,{2**k},{0.3 + 0.1 * k},{100 * 2**k}\n" for k in range(4))
    short = "".join(f"T,best_of_n,Short,{2**k},{0.4 + 0.1 * k},{90 * 2**k}\n" for k in range(2))
    (tmp_path / "mine.csv").write_text(head + long + short + long.replace("Long", "Other"))
    market = {
        "curves": str(tmp_path / "mine.csv"),
        "models": ["Long", "Other"],
        "prices": {"Long": 1.0, "Other": 1.0, "Short": 1.0},
        "value_of_correct_usd": 0.01,
    }
    providers = {"learning": {"rule": "fixed"}, "start": "highest"}
    result = played({"round": 3, "serves": {"Long": "Short"}}, market=market, providers=providers, rounds=5)
    level = result.providers["compute_level"].reshape(-1, 2)
    assert level[:, 0].tolist() == [8, 8, 8, 2, 2, 2]
    assert level[:, 1].tolist() == [8] * 6


def test_demand_grows_by_people_who_were_drawn_from_the_start():
    result = played({"round": 4, "demand": 2.0}, {"round": 8, "demand": 0.5})
    assert column(result, "requests").sum(axis=1).max() <= 160
    people = column(result, "requests").sum(axis=1) / (1 - result.rounds["outside_share"])
    np.testing.assert_allclose(people, [80] * 4 + [160] * 4 + [40] * 5)


SPREAD = {"distribution": "lognormal", "median": 1000, "sigma": 0.8}
SOCIETY = {"count": 80, "beta": SPREAD, "information": "experience"}
WORLDS = {
    "plain": {},
    "users who differ": {"users": {"count": 80, "beta": SPREAD}},
    "capacity": {"users": {"count": 80, "beta": SPREAD}, "providers": {"capacity": 20}},
    "flat prices": {"users": {"count": 80, "beta": SPREAD}, "regime": {"kind": "flat_price"}},
    "alone": {"users": SOCIETY},
    "everybody hears": {"users": SOCIETY | {"network": {"kind": "complete"}}},
    "a small world": {"users": SOCIETY | {"network": {"kind": "small_world", "neighbours": 4}}},
}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize(
    "event",
    [{"demand": 3.0}, {"demand": 0.5}, {"leaves": [NAMES[0]]}, {"regime": {"kind": "first_price_auction"}}],
)
def test_until_an_event_the_run_is_that_without_it(world, event):
    plain, result = played(**world), played({"round": 6} | event, **world)
    for name, values in plain.rounds.items():
        np.testing.assert_array_equal(result.rounds[name][:6], values[:6], err_msg=name)
    assert result.rounds["welfare_usd"][6] != plain.rounds["welfare_usd"][6]


def test_who_joins_believes_what_was_believed_at_first_and_who_stays_remembers():
    scenario = load_scenario(
        SCENARIO
        | {
            "rounds": 12,
            "users": SOCIETY,
            "events": [{"round": 6, "demand": 2.0}, {"round": 9, "demand": 0.5}],
        }
    )
    timeline = timeline_of(scenario)
    model = MarketModel.from_parts(timeline.first, timeline.later)
    for _ in range(5):
        model.step()
    five = model.state
    six = carry_over(model.parts, timeline.later[6], five)
    np.testing.assert_array_equal(six.estimates[:, :, :80], five.estimates)
    first = timeline.later[6].experience.prior[:, None, 80:]
    np.testing.assert_array_equal(six.estimates[:, :, 80:], np.repeat(first, six.estimates.shape[1], axis=1))
    assert (six.last_provider[80:] == OUTSIDE).all()
    model.step()
    assert len(model.agents_by_type[UserAgent]) == 160
    for _ in range(3):
        model.step()
    assert model.state.estimates.shape[2] == len(model.agents_by_type[UserAgent]) == 40


def test_turns_begin_anew_with_whoever_is_there():
    """Everybody who stays has a turn within two cycles of those that are there."""
    for seed in range(20):
        timeline = timeline_of(
            load_scenario(
                SCENARIO | {"rounds": 30, "seed": seed, "events": [{"round": 5, "leaves": [NAMES[0]]}]}
            )
        )
        parts = timeline.later[5]
        turns = np.array([movers(parts, now) for now in range(5, 31)])
        assert (turns.sum(axis=1) == 1).all()
        n = len(parts.present)
        for start in range(0, len(turns) - n + 1, n):  # whole cycles from the event on
            assert turns[start : start + n].sum(axis=0)[parts.present].tolist() == [1] * n


def test_a_regime_switch_keeps_levels_and_resets_the_rules():
    result = played(
        {"round": 6, "regime": {"kind": "second_price_auction"}},
        {"round": 9, "regime": {"kind": "pay_per_compute"}},
        providers={"learning": {"rule": "fixed"}, "auction_learning": {"rule": "fixed"}, "start": "highest"},
    )
    level, bids = column(result, "compute_level"), column(result, "bid_usd")
    assert np.isnan(bids[:6]).all()
    assert np.isfinite(bids[6:9]).all()
    assert (level == 64).all()


def test_the_truth_is_told_from_the_first_round_of_an_auction():
    result = played({"round": 6, "regime": {"kind": "second_price_auction"}})
    truthful = run(SCENARIO | {"rounds": 12}, regime="second_price_auction")
    for name in ("welfare_usd", "price_usd"):
        np.testing.assert_allclose(result.rounds[name][6:], truthful.rounds[name][6:], rtol=1e-12)


def test_what_is_efficient_for_each_request_stays_so_in_another_auction_and_is_a_level_where_none_bid():
    learning = {"learning": {"rule": "fixed"}, "auction_learning": {"rule": "fixed"}}
    result = played(
        {"round": 4, "regime": {"kind": "first_price_auction"}},
        {"round": 8, "regime": {"kind": "pay_per_compute"}},
        regime={"kind": "second_price_auction"},
        providers=learning,
    )
    level = column(result, "compute_level")
    np.testing.assert_array_equal(level, np.tile(level[0], (13, 1)))
    assert len(set(level[0].tolist())) > 1


def test_a_memory_does_not_outlive_its_regime():
    """The same switch at round 6 forgets what five rounds of exploring taught."""
    timeline = timeline_of(
        load_scenario(
            SCENARIO
            | {
                "events": [{"round": 6, "regime": {"kind": "flat_price"}}],
                "providers": {"learning": {"rule": "ucb1"}},
            }
        )
    )
    from market_sim.simulation.model import MarketModel

    model = MarketModel.from_parts(timeline.first, timeline.later)
    for _ in range(5):
        model.step()
    assert model.state.memories[0].played.sum() == 5 * 3
    model.step()
    assert model.parts is timeline.later[6]
    assert model.state.memories[0].played.shape == (3, 6 * 40)
    assert model.state.memories[0].played.sum() == 1 * 3


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([{"round": 3}], "events.0: nothing happens: name enters, leaves"),
        ([{"round": 3, "demand": 1}, {"round": 2, "demand": 1}], "events.1.round = 2 comes after round 3"),
        ([{"round": 3, "demand": 1}, {"round": 3, "demand": 1}], "events.1.round = 3 comes after round 3"),
        ([{"round": 99, "demand": 1}], "events.0.round = 99 is beyond the last round, 12"),
        ([{"round": 0, "demand": 1}], "events.0.round = 0 is not allowed; it must be at least 1"),
        ([{"round": 3, "demand": 0}], "events.0.demand = 0 is not allowed"),
        ([{"round": 3, "enters": ["Qwen-7B"]}], "events.0.enters names a provider = 'Qwen-7B' .*Qwen2-7B"),
        ([{"round": 3, "leaves": NAMES}], "events.0: nobody is left in the market"),
        ([{"round": 3, "enters": NAMES}], "events: nobody is in the market before the first enters"),
        (
            [{"round": 2, "leaves": NAMES[:1]}, {"round": 3, "leaves": NAMES[:1]}],
            "events.1.leaves: Llama-3-8B is not in the market$",
        ),
        (
            [{"round": 2, "enters": NAMES[:1]}, {"round": 3, "enters": NAMES[:1]}],
            "events.1.enters: Llama-3-8B is in the market already",
        ),
        (
            [{"round": 3, "prices": {NAMES[0]: 0.001}}],
            "events.0.prices.Llama-3-8B = 0.001 is not above its cost",
        ),
        ([{"round": 3, "prices": {"x": 1.0}}], "events.0.prices names a provider = 'x'"),
        ([{"round": 3, "serves": {NAMES[0]: "GPT"}}], "events: a model that serves GSM8K = 'GPT'"),
        ([{"round": 3, "serves": {"GPT": NAMES[0]}}], "events.0.serves names a provider = 'GPT'"),
        (
            [{"round": 3, "serves": {NAMES[0]: NAMES[0]}}],
            "events.0.serves: Llama-3-8B serves Llama-3-8B already",
        ),
        (
            [{"round": n, "serves": {NAMES[0]: "Qwen2-0.5B"}} for n in (3, 4)],
            "events.1.serves: Llama-3-8B serves Qwen2-0.5B already",
        ),
        (
            [{"round": 3, "enters": NAMES[:1], "leaves": NAMES[:1]}],
            "events.0: Llama-3-8B is named twice in enters and leaves",
        ),
        ([{"round": 3, "leaves": NAMES[:1] * 2}], "events.0: Llama-3-8B is named twice in enters and leaves"),
        ([{"round": 3, "demand": 0.005}], "events.0.demand = 0.005 leaves nobody of 80 users"),
        ([{"round": 2, "regime": {"kind": "pay_per_compute", "audit": 3}}], "events.0.regime.audit is not a"),
        ([{"round": 3, "regime": {"kind": "auction"}}], "events.0.regime.kind = 'auction'"),
        ([{"round": 3, "entrs": NAMES}], "events.0.entrs is not a known key; .*did you mean enters"),
    ],
)
def test_events_that_make_no_sense_are_refused_in_one_sentence(events, says):
    with pytest.raises(InputError, match=says) as caught:
        played(*events)
    assert "\n" not in str(caught.value)


def test_events_call_providers_by_their_names_where_a_model_is_sold_twice():
    """The same names, each once, in all that an event says of providers."""
    market = SCENARIO["market"] | {"models": NAMES[1:], "method": ["majority_voting", "best_of_n"]}
    one, other = f"{NAMES[1]} (majority_voting)", f"{NAMES[1]} (best_of_n)"
    names = ", ".join(f"{name} ({method})" for method in market["method"] for name in NAMES[1:])
    for change in ({"serves": {NAMES[1]: "Qwen2-0.5B"}}, {"prices": {NAMES[1]: 2.0}}, {"leaves": [NAMES[1]]}):
        (key,) = change
        with pytest.raises(InputError) as caught:
            played({"round": 3} | change, market=market)
        says = (
            f"scenario: events.0.{key} names a provider = {NAMES[1]!r} is not one of {names} (did you mean "
        )
        assert str(caught.value).startswith(says)
    timeline = timeline_of(
        load_scenario(
            SCENARIO
            | {
                "market": market,
                "events": [
                    {"round": 3, "serves": {other: "Qwen2-0.5B"}, "prices": {one: 2.0}, "demand": 1.5}
                ],
            }
        )
    )
    before, after = timeline.first.market, timeline.later[3].market
    i, j = before.providers.index(one), before.providers.index(other)
    np.testing.assert_array_equal(after.accuracy[:, i], before.accuracy[:, i])
    np.testing.assert_allclose(after.price[0, i], after.tokens[0, i] * 2e-6)
    assert (after.accuracy[0, j] != before.accuracy[0, j]).all()
    assert after.providers == before.providers


@pytest.mark.parametrize(
    ("users", "left"),
    [
        ({"count": 5}, [2]),
        ({"count": 5, "demand": "expected"}, [2]),
        ({"segments": [{"size": 5, "beta": 9.0}, {"size": 1, "beta": 1.0}]}, [2, 0]),
        ({"segments": [{"size": 5, "beta": 9.0}, {"size": 1, "beta": 1.0}], "demand": "expected"}, [2, 0]),
    ],
)
def test_demand_is_rounded_to_people_whoever_they_are_and_leaves_somebody(users, left):
    """Groups may empty; a market without a user is none."""

    def after(demand: float) -> np.ndarray:
        data = SCENARIO | {"users": users, "events": [{"round": 2, "demand": demand}]}
        return timeline_of(load_scenario(data)).later[2].users.size

    size = after(0.4)
    assert ([size.sum()] if len(left) == 1 else size.tolist()) == left
    assert after(0.11).sum() == 1
    with pytest.raises(InputError, match=r"events.0.demand = 0.1 leaves nobody of [56] users"):
        after(0.1)
    result = played({"round": 2, "demand": 0.4}, users=users)
    assert np.isfinite(result.rounds["expected_welfare_usd"]).all()


RISE = {"round": 4, "prices": {NAMES[0]: 0.5}}


@pytest.mark.parametrize("regime", ["flat_price", "second_price_auction", "first_price_auction"])
def test_prices_per_token_cannot_change_where_nobody_pays_them(regime):
    says = f"events.0.prices has no effect: from round 4 on the regime is {regime}, where nobody pays by the"
    with pytest.raises(InputError, match=says):
        played(RISE, regime={"kind": regime})
    other = "first_price_auction" if regime == "flat_price" else "flat_price"
    with pytest.raises(InputError, match=f"has no effect: .* is {regime}, then {other}, where"):
        played(RISE, {"round": 6, "regime": {"kind": other}}, regime={"kind": regime})
    with pytest.raises(InputError, match=f"events.0.prices has no effect: .* is {regime}, where nobody"):
        played(RISE | {"regime": {"kind": regime}})


def test_prices_per_token_may_change_before_they_are_charged():
    """They are when a regime that charges them begins; also under a planner."""
    late = played(RISE, {"round": 6, "regime": {"kind": "planner"}}, regime={"kind": "flat_price"})
    plain = played({"round": 6, "regime": {"kind": "planner"}}, regime={"kind": "flat_price"})
    for name in ("expected_price_usd", "expected_welfare_usd"):
        np.testing.assert_array_equal(late.rounds[name][:6], plain.rounds[name][:6])
        assert (late.rounds[name][6:] != plain.rounds[name][6:]).all()


def test_summaries_average_over_what_came_after_the_last_event():
    result = played({"round": 4, "demand": 2.0}, {"round": 8, "leaves": [NAMES[0]]})
    assert result.summary()["averaged_from_round"] == 11  # of rounds 8 to 12, the later half
    assert result.summary()["providers"][NAMES[0]] == {"compute_level": None, "share": 0.0}
    assert sum(result.shares().values()) == pytest.approx(1 - result.mean("outside_share"))
    assert played().summary()["averaged_from_round"] == 7


def test_a_run_is_called_by_the_regime_it_is_measured_under_and_its_folder_by_the_first(tmp_path):
    """Users who differ: the best of the logit is a bound, that of an auction exact."""
    people = {"count": 40, "value_scale": {"distribution": "uniform", "low": 0.5, "high": 2}}
    switch = {"round": 6, "regime": {"kind": "second_price_auction"}}
    data = SCENARIO | {"rounds": 8, "users": people, "events": [switch]}
    first, again = (run(data, out=tmp_path) for _ in range(2))
    assert again.reused
    for result in (first, again):
        assert result.folder.name.startswith("pay_per_compute-seed1-")
        assert (result.regime, result.regime_at_first) == ("second_price_auction", "pay_per_compute")
        summary = result.summary()
        assert (summary["regime"], summary["regime_at_first"]) == (result.regime, result.regime_at_first)
        assert summary["averaged_from_round"] > 6
    manifest = manifest_of(first.folder)
    assert (manifest["regime"], manifest["regime_at_first"]) == (first.regime, first.regime_at_first)
    assert (manifest["optimum_kind"], manifest["last_event"]) == ("exact", 6)
    alone = manifest_of(run(data | {"events": []}, out=tmp_path).folder)
    assert (alone["regime"], alone["optimum_kind"]) == ("pay_per_compute", "bound")


def test_a_shorter_run_ends_before_later_events():
    data = SCENARIO | {"rounds": 12, "events": [{"round": 3, "demand": 2.0}, {"round": 9, "demand": 3.0}]}
    short = run(data, rounds=5)
    np.testing.assert_array_equal(short.rounds["welfare_usd"], run(data).rounds["welfare_usd"][:6])


def test_capacity_is_read_by_model_and_kept():
    result = played(providers={"capacity": {NAMES[2]: 10}})
    requests = column(result, "requests")
    assert (requests[:, 2] <= 10 + 1e-9).all()
    assert requests[1:, :2].max() > 10
    everybody = played(providers={"capacity": 7})
    assert column(everybody, "requests").max() <= 7 + 1e-9
    with pytest.raises(InputError, match=r"providers\.capacity names a model = 'GPT'"):
        played(providers={"capacity": {"GPT": 10}})

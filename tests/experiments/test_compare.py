"""A comparison says who gains and who loses in words that follow the numbers, whichever way they go."""

import json

import numpy as np
import pytest

from market_sim.errors import InputError
from market_sim.experiments import compare as module
from market_sim.experiments.compare import Comparison, compare
from market_sim.experiments.compare_figures import write_comparison
from market_sim.experiments.run import Run
from market_sim.experiments.solve import solve, solve_uncertain
from tests.experiments.test_reached import SETTLED
from tests.experiments.test_run import ROUND_COLUMNS, SCENARIO, everything_below

HERE, THERE = "the second-price auction", "pay-per-compute"


def a_run(regime: str, rounds: int = 8, **means: float) -> Run:
    """A run whose measures stay at given means (USD per request)."""
    base = dict.fromkeys(ROUND_COLUMNS[1:], 0.0) | {"accuracy": 0.5, "hhi": 5000.0} | means
    columns = {name: np.full(rounds + 1, float(value)) for name, value in base.items()}
    return Run(
        name="made",
        regime=regime,
        regime_at_first=regime,
        seed=1,
        fingerprint="0",
        rounds={"round": np.arange(rounds + 1)} | columns,
        providers={
            "round": np.repeat(np.arange(rounds + 1), 2),
            "provider": np.tile(["a", "b"], rounds + 1),
            "compute_level": np.tile([1.0, 2.0], rounds + 1),
            "share": np.tile([0.25, 0.5], rounds + 1),
        },
        reached=SETTLED,
        folder=None,
        reused=False,
    )


def compared(monkeypatch, *runs: Run) -> Comparison:
    """`compare` of runs that were made up."""
    by_regime = {each.regime: each for each in runs}
    monkeypatch.setattr(module, "run", lambda scenario, *, regime, **keywords: by_regime[regime])
    return compare(SCENARIO, regimes=list(by_regime))


# --- Sentences --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "providers", "society"),
    [(0.001, -0.0002, 0.0008), (-0.001, 0.0004, -0.0006), (-0.002, 0.005, 0.003)],
)
def test_gains_and_losses_of_everybody_are_said_with_their_sign(monkeypatch, users, providers, society):
    base = {"expected_welfare_usd": 0.01, "expected_user_value_usd": 0.008}
    gains = {"expected_welfare_usd": society, "expected_user_value_usd": users}
    result = compared(
        monkeypatch,
        a_run("pay_per_compute", **base),
        a_run("second_price_auction", **{name: base[name] + gains[name] for name in base}),
    )

    def said(who, gain):
        amount = f"{1000 * abs(gain):.3f} USD per 1,000 queries"
        return f"Under {HERE} {who} {amount} {'better' if gain > 0 else 'worse'} off than under {THERE}."

    assert result.sentences[:3] == (
        said("society is", society),
        said("users are", users),
        said("providers are", providers),
    )


def test_runs_that_are_equal_are_said_to_be(monkeypatch):
    base = {"expected_welfare_usd": 0.01, "expected_user_value_usd": 0.008, "log_sum_surplus_usd": 0.009}
    result = compared(monkeypatch, a_run("pay_per_compute", **base), a_run("first_price_auction", **base))
    assert len(result.sentences) == 4
    for sentence in result.sentences:
        assert f"as well off as under {THERE}" in sentence


def test_one_round_says_what_many_do_because_the_verdict_is_in_expectation():
    """Users of a first round who happen to be lucky change no verdict."""
    few, many = (compare(scenario("GSM8K", "majority_voting", 200.0, rounds=n)) for n in (1, 2))
    for result in (few, many):
        assert [" better off than " in sentence for sentence in result.sentences[:2]] == [True, True]
    sampled = compare(SCENARIO, rounds=1)
    for sentence, column in zip(sampled.sentences, ("welfare", "user_value"), strict=False):
        market, auction = (getattr(m, f"expected_{column}_usd") for m in sampled.measures)
        assert f"{1000 * abs(auction - market):.3f} USD" in sentence


@pytest.mark.parametrize(("surplus", "word"), [(0.001, "better"), (-0.001, "worse")])
def test_what_taste_would_say_of_users_is_said_apart_and_may_contradict(monkeypatch, surplus, word):
    result = compared(
        monkeypatch,
        a_run("pay_per_compute", user_value_usd=0.005, log_sum_surplus_usd=0.01),
        a_run("second_price_auction", user_value_usd=0.006, log_sum_surplus_usd=0.01 + surplus),
    )
    (sentence,) = [each for each in result.sentences if "taste rather than mistakes" in each]
    assert f"users are 1.000 USD per 1,000 queries {word} off than under {THERE}" in sentence


def test_an_infinite_surplus_is_said_to_be_beyond_comparison():
    """Users at beta = 0 like variety without bound (docs/theory.md 5)."""
    result = compare(scenario("GSM8K", "majority_voting", 0.0, rounds=2))
    (sentence,) = [each for each in result.sentences if "taste rather than mistakes" in each]
    assert sentence.endswith("infinite at beta = 0, and there is no comparison.")
    assert result.to_dict()["regimes"][0]["log_sum_surplus_usd"] is None
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("price", "word"), [(0.003, "higher"), (0.001, "lower")])
def test_the_price_is_said_to_be_higher_or_lower(monkeypatch, price, word):
    result = compared(
        monkeypatch,
        a_run("pay_per_compute", expected_price_usd=0.002),
        a_run("second_price_auction", expected_price_usd=price),
    )
    sentence = f"The price paid is 1.000 USD per 1,000 queries {word} under {HERE}."
    assert sentence in result.sentences


# --- Measures ---------------------------------------------------------------------------------------


def test_users_providers_and_what_is_lost_add_up_to_the_first_best():
    result = compare(SCENARIO, regimes=["pay_per_compute", "second_price_auction", "first_price_auction"])
    totals = []
    for measures in result.measures:
        parts = measures.expected_user_value_usd + measures.expected_provider_profit_usd
        assert parts == pytest.approx(measures.expected_welfare_usd)
        assert measures.user_value_usd + measures.provider_profit_usd == pytest.approx(measures.welfare_usd)
        totals.append(parts + measures.first_best_gap_usd)
        assert sum(measures.shares.values()) + measures.outside_share == pytest.approx(1)
    np.testing.assert_allclose(totals, totals[0], rtol=1e-12)


def test_a_comparison_holds_the_runs_that_single_runs_are(tmp_path):
    from market_sim.experiments.run import run

    result = compare(SCENARIO, rounds=5, seed=3, out=tmp_path)
    for each in result.runs:
        alone = run(SCENARIO, rounds=5, seed=3, regime=each.regime)
        np.testing.assert_array_equal(each.rounds["welfare_usd"], alone.rounds["welfare_usd"])
        assert run(SCENARIO, rounds=5, seed=3, regime=each.regime, out=tmp_path).reused
    assert (result.seed, result.name) == (3, "small")
    assert list(result.to_frame()["regime"]) == ["pay_per_compute", "second_price_auction"]


# --- The real thing ---------------------------------------------------------------------------------


def scenario(benchmark: str, method: str, beta: float, rounds: int = 80) -> dict:
    return {
        "name": "real",
        "rounds": rounds,
        "market": {"benchmark": benchmark, "method": method},
        "users": {"beta": beta, "count": 1000, "demand": "expected"},
    }


@pytest.mark.parametrize(
    ("task", "method", "beta", "word"),
    [
        ("GSM8K", "majority_voting", 200.0, "better"),
        ("GSM8K", "majority_voting", 1e5, "worse"),
        ("AIME", "reasoning_effort", 1e5, "worse"),
    ],
)
def test_on_the_papers_data_users_gain_from_the_auction_or_lose(task, method, beta, word):
    """docs/theory.md 3: not always user value; welfare always."""
    result = compare(scenario(task, method, beta))
    society, users = result.sentences[:2]
    assert society.startswith(f"Under {HERE} society is ")
    assert society.endswith(f"better off than under {THERE}.")
    assert users.startswith(f"Under {HERE} users are ")
    assert users.endswith(f"{word} off than under {THERE}.")


def test_if_noise_is_taste_the_auction_loses_variety():
    """GSM8K, majority voting, beta = 200: .0159 in the market, .0071 in the auction (docs/theory.md 3)."""
    market, auction = compare(scenario("GSM8K", "majority_voting", 200.0)).measures
    assert market.log_sum_surplus_usd == pytest.approx(0.0159, abs=5e-5)
    assert auction.log_sum_surplus_usd == pytest.approx(0.0071, abs=5e-5)
    assert auction.user_value_usd == pytest.approx(0.00710, abs=1.1e-5)


# --- Files and bad input ----------------------------------------------------------------------------


def test_a_written_comparison_is_one_whole_folder_and_the_same_for_the_same_runs(tmp_path):
    result = compare(SCENARIO, rounds=4)
    files = write_comparison(result, tmp_path)
    assert {path.name for path in files} == {
        "comparison.json",
        "surplus.png",
        "surplus.svg",
        "play-pay_per_compute.png",
        "play-pay_per_compute.svg",
        "play-second_price_auction.png",
        "play-second_price_auction.svg",
    }
    written = json.loads((files[0].parent / "comparison.json").read_text())
    assert written == result.to_dict() | {"runs": [None, None]}  # these runs were not kept
    before = everything_below(tmp_path)
    assert write_comparison(compare(SCENARIO, rounds=4), tmp_path) == files
    assert everything_below(tmp_path) == before


def test_uncertainty_is_in_the_file_of_a_comparison_where_it_was_asked_for(tmp_path):
    asked = {"rounds": 4, "uncertainty": True, "draws": 60, "confidence": 0.9}
    result = compare(SCENARIO, **asked)
    (found,) = result.uncertainty
    (alone,) = solve_uncertain(SCENARIO, draws=60, confidence=0.9)
    assert found.to_dict() == alone.to_dict()
    plain = compare(SCENARIO, rounds=4)
    assert result.measures == plain.measures
    files = [write_comparison(each, tmp_path)[0] for each in (result, plain)]
    with_it, without = (json.loads(path.read_text()) for path in files)
    assert with_it.pop("uncertainty") == [alone.to_dict()]
    assert with_it == without
    assert files[0].parent != files[1].parent
    before = everything_below(tmp_path)
    assert write_comparison(compare(SCENARIO, **asked), tmp_path)[0] == files[0]
    assert everything_below(tmp_path) == before


def test_where_users_differ_there_is_no_uncertainty_and_it_is_said_what_to_do(tmp_path):
    users = {"count": 40, "beta": {"distribution": "uniform", "low": 200, "high": 2000}}
    differ = SCENARIO | {"users": users}
    with pytest.raises(InputError, match=r"scenario: users differ, .*; leave out --uncertainty$"):
        compare(differ, uncertainty=True, out=tmp_path)
    assert everything_below(tmp_path) == []
    assert compare(differ, rounds=2).uncertainty is None


def test_an_unknown_regime_is_refused_before_anything_is_played(tmp_path):
    with pytest.raises(InputError, match=r"--regimes = 'second_price' is not one of.*second_price_auction\?"):
        compare(SCENARIO, regimes=["pay_per_compute", "second_price"], out=tmp_path)
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize(
    ("regimes", "says"),
    [
        ([], "--regimes is empty"),
        (["pay_per_compute", "pay_per_compute"], "--regimes names 'pay_per_compute' twice"),
    ],
)
def test_regimes_must_be_some_and_different(regimes, says):
    with pytest.raises(InputError, match=says):
        compare(SCENARIO, regimes=regimes)


@pytest.mark.parametrize(
    ("at", "instead"), [(3, "leave it out, or end before it with --rounds 2; run"), (1, "leave it out; run")]
)
def test_a_scenario_whose_events_bring_a_regime_is_for_run(tmp_path, at, instead):
    """All its runs would be measured under that regime; one that ends before is compared."""
    data = SCENARIO | {"events": [{"round": at, "regime": {"kind": "flat_price"}}]}
    says = f"scenario: events.0 brings flat_price in round {at}, and compare plays each regime .*: {instead}"
    with pytest.raises(InputError, match=says):
        compare(data, out=tmp_path)
    assert everything_below(tmp_path) == []
    if at > 1:
        assert compare(data, rounds=at - 1).measures == compare(SCENARIO, rounds=at - 1).measures


def test_nothing_is_played_where_a_later_regime_cannot_be(tmp_path):
    """The market could be played; the auction's rules make no sense or name nobody."""
    for learning in ({"rule": "truthful", "Qwen2-7": {"rule": "fixed"}}, {"Qwen2-7B": {"rule": "fixed"}}):
        data = SCENARIO | {"providers": {"auction_learning": learning}}
        with pytest.raises(InputError, match=r"providers\.auction_learning"):
            compare(data, out=tmp_path)
        assert everything_below(tmp_path) == []


def test_a_run_ends_where_the_solver_says_also_for_users_who_value_answers_less():
    data = scenario("GSM8K", "majority_voting", 1000.0)
    data["users"] = {"segments": [{"size": 1000, "beta": 1000.0, "value_scale": 0.5}], "demand": "expected"}
    (solution,) = solve(data)
    market, auction = (each.rounds for each in compare(data).runs)
    assert market["expected_welfare_usd"][-1] == pytest.approx(solution.paper_dynamics.welfare, rel=1e-12)
    assert market["inefficiency"][-1] == pytest.approx(solution.inefficiency, rel=1e-9)
    assert auction["expected_welfare_usd"][-1] == pytest.approx(solution.auction.welfare, rel=1e-12)
    assert auction["price_usd"][-1] == pytest.approx(solution.auction.price, rel=1e-12)
    assert solution.paper_dynamics.welfare == pytest.approx(0.0023864, abs=5e-8)


def test_regimes_may_come_one_by_one():
    names = ("pay_per_compute", "first_price_auction")
    result = compare(SCENARIO, regimes=(name for name in names), rounds=1)
    assert tuple(run.regime for run in result.runs) == names


def test_the_price_said_is_the_expected_one():
    """One lucky user of AIME pays less than nothing in the auction; it is dearer all the same."""
    market = {"benchmark": "AIME", "method": "majority_voting"}
    result = compare({"name": "one", "rounds": 1, "market": market, "users": {"count": 1}})
    posted, auction = result.measures
    assert auction.expected_price_usd == pytest.approx(0.002111, abs=5e-7)
    assert auction.expected_price_usd > posted.expected_price_usd
    assert any(f"higher under {HERE}" in sentence for sentence in result.sentences)

"""Rows of a sweep are those of single runs and single solutions, whoever works them out."""

import numpy as np
import pytest

from market_sim.experiments.play import play
from market_sim.experiments.run import run
from market_sim.experiments.runner import _job
from market_sim.experiments.scenario import changed, load_scenario
from market_sim.experiments.solve import load_market, solve
from market_sim.experiments.sweep import load_sweep, scenario_at, seed_of
from market_sim.experiments.sweep_work import MEASURES, ROUND_MEASURES, work
from market_sim.experiments.timeline import draws_nothing, timeline_of
from market_sim.theory.convergence import batch_means, standard_errors
from tests.experiments.test_run import SHIPPED
from tests.sweeps import BASE, sweep_of


def rows_of(data, runs=None):
    sweep = load_sweep(data)
    return sweep, work(_job(sweep, list(range(sweep.n_runs) if runs is None else runs), None)).rows


def scenario_of(sweep, row):
    return scenario_at(
        sweep.base,
        sweep.folder,
        sweep.paths,
        sweep.values_at(row["point"]),
        where="here",
        seed=row["seed"],
        rounds=sweep.rounds,
    )


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_playing_without_mesa_gives_the_rounds_that_the_model_gives(file):
    small = {"users__count": 50} if "segments" not in file.read_text() else {}
    scenario = changed(load_scenario(file), rounds=60, **small)
    with_mesa, without = run(scenario), play(timeline_of(scenario), 60)
    for name, column in with_mesa.rounds.items():
        np.testing.assert_array_equal(without.rounds[name], column)
    assert without.reached.to_dict() == with_mesa.reached.to_dict()


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.stem)
def test_a_timeline_in_which_nothing_is_drawn_serves_every_seed(file):
    scenario = load_scenario(file)
    users, small = scenario.users, {} if "segments" in file.read_text() else {"users__count": 50}
    assert draws_nothing(scenario) == (
        scenario.market.generated is None
        and users.information == "full"
        and not isinstance(users.beta, dict)
        and not isinstance(users.value_scale, dict)
    )
    if draws_nothing(scenario):
        one, two = (changed(scenario, rounds=30, seed=seed, **small) for seed in (1, 2))
        timeline = timeline_of(one)
        play(timeline, 30)  # what it comes by is remembered
        again = play(timeline.with_seed(2), 30)
        assert timeline.with_seed(2).last.recall is timeline.last.recall
        for name, column in play(timeline_of(two), 30).rounds.items():
            np.testing.assert_array_equal(again.rounds[name], column)


def test_a_row_has_the_means_after_the_warm_up_and_what_the_run_reached():
    axes = {"regime.kind": ["pay_per_compute", "second_price_auction"], "users.beta": [200.0, 2000.0]}
    sweep, rows = rows_of(sweep_of(axes, rounds=70, seeds=2))
    assert [(row["point"], row["replicate"]) for row in rows] == [(p, r) for p in range(4) for r in range(2)]
    for row in rows:
        result = run(scenario_of(sweep, row))
        late = slice(result.reached.welfare_from, None)
        for name in ROUND_MEASURES:
            series = result.rounds[name][late]
            series = series[~np.isnan(series)]
            if not len(series):
                assert row[name] is row[f"{name}_se"] is None
                continue
            assert row[name] == pytest.approx(series.mean(), rel=1e-12, abs=1e-18)
            width = batch_means(series).half_width
            t = (
                batch_means(np.arange(len(series)) * 1.0).half_width
                / standard_errors(np.arange(len(series))[None])[1]
            )
            assert row[f"{name}_se"] == pytest.approx(width / t[0], rel=1e-9, abs=1e-18)
        assert row["warm_up"] == result.reached.welfare_from - 1
        assert row["settled_round"] == result.reached.settled_round
        assert row["equilibrium_number"] == result.reached.settled_in
        assert row["rounds"] == 70
        assert set(row) == {"point", "replicate", "seed", "status", "error", *MEASURES["run"]}


def test_every_point_meets_the_same_seeds():
    axes = {"regime.kind": ["pay_per_compute", "second_price_auction"], "users.beta": [200, 2000]}
    _, rows = rows_of(sweep_of(axes, seeds=3, seed=7))
    for row in rows:
        assert row["seed"] == seed_of(7, row["replicate"])


def tokens_ratio(profile, market):
    """Tokens of a profile over those at the levels that create most, provider by provider."""
    sold = needed = 0.0
    for i, name in enumerate(market.providers):
        own = market.offered[0, i]
        at = market.compute_level[0, i].tolist().index(profile.levels[name])
        best = np.argmax((market.quality(0) - market.cost[0])[i, own])
        sold += profile.shares[name] * market.tokens[0, i, at]
        needed += profile.shares[name] * market.tokens[0, i, best]
    return sold / needed


def test_replicates_of_generated_providers_are_other_providers_and_points_share_them():
    axes = {"market.generated.providers": [2, 3], "users.beta": [200.0, 5000.0]}
    base = {"market": {}, "users": {"count": 5}}
    for kind, more in (("solve", {}), ("run", {"rounds": 2})):
        sweep, rows = rows_of({"name": "made", "kind": kind, "seeds": 2, "base": base, "axes": axes} | more)
        assert {row["status"] for row in rows} == {"ok"}
        for row in rows:
            scenario = scenario_of(sweep, row)
            market = load_market(scenario)
            assert market.n_providers == (2, 2, 3, 3)[row["point"]]
            (first,) = (one for one in rows if (one["point"], one["replicate"]) == (0, row["replicate"]))
            smaller = load_market(scenario_of(sweep, first))
            np.testing.assert_array_equal(market.accuracy[:, :2], smaller.accuracy)
            if kind == "solve":
                assert row["welfare"] == pytest.approx(solve(scenario)[0].paper_dynamics.welfare, rel=1e-12)
            else:
                assert row["expected_welfare_usd"] == pytest.approx(
                    run(scenario).rounds["expected_welfare_usd"][row["warm_up"] + 1 :].mean(), rel=1e-12
                )
        one, other = (row for row in rows if row["point"] == 0)
        key = "welfare" if kind == "solve" else "expected_welfare_usd"
        assert one[key] != other[key]


def test_exact_rows_are_the_solutions_of_their_points():
    axes = {
        "market.method": ["majority_voting", "best_of_n", "reasoning_effort"],
        "users.beta": {"from": 10, "to": 1e5, "steps": 6, "scale": "log"},
        "market.margin": [0.1, 0.5],
        "market.outside_value_usd": [0.0, 0.003],
    }
    data = {"name": "exact", "kind": "solve", "base": {"market": {"benchmark": "GSM8K"}}, "axes": axes}
    sweep, rows = rows_of(data)
    assert {row["status"] for row in rows} == {"ok"}
    for row in rows:
        (found,) = solve(scenario_of(sweep, row))
        end, auction = found.paper_dynamics, found.auction
        welfare = [each.welfare for each in found.equilibria]
        worst = found.equilibria[int(np.argmin(welfare))]
        expected = {
            "benchmark": "GSM8K",
            "method": found.method,
            "beta": found.beta,
            "welfare": end.welfare,
            "user_value": end.user_value,
            "price": end.price,
            "provider_profit": end.provider_profit,
            "log_sum_surplus": end.log_sum_surplus,
            "optimum": found.optimum["welfare"],
            "worst_welfare": min(welfare),
            "worst_user_value": worst.user_value,
            "worst_tokens_ratio": tokens_ratio(worst, load_market(scenario_of(sweep, row))),
            "best_welfare": max(welfare),
            "price_of_anarchy": found.price_of_anarchy,
            "price_of_stability": found.price_of_stability,
            "paper_price_of_anarchy": found.paper_price_of_anarchy,
            "inefficiency": found.inefficiency,
            "noise_gap": found.noise_gap,
            "strategic_gap": found.strategic_gap,
            "first_best_gap_usd": found.first_best_gap_usd,
            "equilibria": len(welfare),
            "auction_winner": auction.winner,
            "auction_runner_up": auction.runner_up,
            "auction_welfare": auction.welfare,
            "auction_user_value": auction.user_value,
            "auction_price": auction.price,
            "auction_provider_profit": auction.provider_profit,
        }
        assert list(expected) == list(MEASURES["solve"])
        for name, value in expected.items():
            if isinstance(value, float):
                assert row[name] == pytest.approx(value, rel=1e-12, abs=1e-15), name
            else:
                assert row[name] == value, name


def test_exact_rows_do_not_depend_on_the_rows_beside_them():
    axes = {"users.beta": {"from": 10, "to": 1e5, "steps": 40, "scale": "log"}, "market.margin": [0.1, 0.5]}
    data = {"name": "exact", "kind": "solve", "base": BASE, "axes": axes}
    _, together = rows_of(data)
    alone = [row for run in range(80) for row in rows_of(data, [run])[1]]
    assert list(together) == alone


def test_one_impossible_point_is_a_row_that_says_so_among_the_others():
    axes = {"users.beta": [1000.0, {"distribution": "uniform", "low": 1, "high": 2}, 1e10]}
    _, rows = rows_of({"name": "exact", "kind": "solve", "base": BASE, "axes": axes})
    assert [row["status"] for row in rows] == ["ok", "failed", "failed"]
    assert rows[1]["error"].startswith("users differ")
    assert "beta times the largest value" in rows[2]["error"]


def test_several_benchmarks_at_once_are_played_but_not_solved():
    base = BASE | {"market": {"benchmark": ["GSM8K", "AIME"], "method": "majority_voting"}}
    _, (row,) = rows_of({"name": "both", "kind": "solve", "base": base})
    assert "make market.benchmark an axis" in row["error"]
    _, (row,) = rows_of(sweep_of(base=base))
    assert row["status"] == "ok"


def test_undefined_measures_are_empty_and_infinite_ones_have_no_error():
    _, (row,) = rows_of(sweep_of({"users.beta": [0.0]}))
    assert row["log_sum_surplus_usd"] == np.inf
    assert row["log_sum_surplus_usd_se"] is None
    _, (row,) = rows_of(sweep_of({"regime.kind": ["second_price_auction"]}))
    assert row["equilibrium_steps"] is row["equilibrium_steps_se"] is None

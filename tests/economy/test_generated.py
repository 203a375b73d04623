"""Generated providers, and one market under other margins, values and prices."""

import numpy as np
import pytest

from market_sim.economy.generated import LEVELS, generated
from market_sim.economy.market import Market
from market_sim.economy.solve import solve_market
from market_sim.economy.variations import solve_variations, with_margin
from market_sim.errors import InputError
from market_sim.experiments.paper import BETAS, paper_market
from market_sim.experiments.run import run
from market_sim.experiments.solve import load_market, solve_uncertain
from market_sim.theory.game import equilibria, make_game
from tests.oracles import Market as Oracle
from tests.oracles import pure_equilibria

TABLES = ("accuracy", "tokens", "price", "cost")


def market_of(providers: int, seed: int, **more: object) -> Market:
    made = {"providers": providers, "seed": seed}
    return load_market({"name": "made", "market": {"generated": made} | more})


def test_the_providers_of_a_seed_are_those_of_a_smaller_market_and_others():
    large, small = market_of(50, 3), market_of(7, 3)
    assert large.providers[:7] == small.providers == tuple(f"provider-{i}" for i in range(1, 8))
    for name in TABLES:
        assert np.array_equal(getattr(large, name)[:, :7], getattr(small, name))
    assert not np.array_equal(market_of(7, 4).accuracy, small.accuracy)


def test_generated_accuracy_rises_with_compute_within_0_and_1_and_costs_below_the_price():
    market = market_of(2000, 0)
    assert (np.diff(market.accuracy) > 0).all()
    assert ((market.accuracy > 0) & (market.accuracy < 1)).all()
    assert (market.price > market.cost).all()
    assert market.tokens[..., -1] == pytest.approx(LEVELS[-1] * market.tokens[..., 0])


def test_generated_providers_spread_as_the_bundled_ones_do():
    ours, theirs = market_of(5000, 1), paper_market("GSM8K", "majority_voting")
    assert ours.value_of_correct == theirs.value_of_correct
    for level in (0, -1):
        for name, rare in (("accuracy", 0.02), ("price", 0.01)):
            low, high = np.quantile(getattr(ours, name)[0, :, level], [rare, 1 - rare])
            there = getattr(theirs, name)[0, :, level]
            assert ((there > low) & (there < high)).all()


def test_all_equilibria_of_a_small_generated_market_are_found():
    for seed in range(5):
        market = market_of(3, seed)
        value, margin = market.quality() - market.price[0], (market.price - market.cost)[0]
        game = make_game(value, margin, np.array([1000.0]))
        enumerated = Oracle(game.value[0], game.margin[0], 1000.0, 0.0)
        found = {tuple(row) for row in equilibria(game).levels.tolist()}
        assert found == pure_equilibria(enumerated.regrets(), 1e-9)


def test_a_scenario_may_choose_among_generated_providers_and_set_their_prices_and_margins():
    all_, two = (
        market_of(4, 1),
        market_of(
            4,
            1,
            models=["provider-3", "provider-1"],
            prices={"provider-1": 0.5},
            margin={"provider-1": 1.0, "provider-3": 0.25},
        ),
    )
    assert two.providers == ("provider-3", "provider-1")
    assert np.array_equal(two.accuracy, all_.accuracy[:, [2, 0]])
    assert np.array_equal(two.price[0, 0], all_.price[0, 2])
    assert two.price[0, 1] == pytest.approx(0.5e-6 * all_.tokens[0, 0])
    assert two.cost[0, 1] == pytest.approx(two.price[0, 1] / 2)


def test_a_run_keeps_the_providers_of_its_seed_whatever_seed_plays_it_again(tmp_path):
    scenario = {"name": "made", "rounds": 3, "seed": 5, "market": {"generated": {"providers": 3}}}
    folder = run(scenario | {"users": {"count": 5}}, out=tmp_path).folder
    assert np.array_equal(load_market(scenario).accuracy, market_of(3, 5).accuracy)
    again = load_market(folder / "scenario.toml")
    assert np.array_equal(again.accuracy, market_of(3, 5).accuracy)
    assert again.providers == market_of(3, 5).providers


def test_nobody_can_be_unsure_of_generated_providers():
    with pytest.raises(InputError, match=r"market\.generated: nobody measured generated providers"):
        solve_uncertain({"name": "made", "market": {"generated": {"providers": 2}}})


@pytest.mark.parametrize("count", [0, 10**6])
def test_no_or_too_many_providers_are_refused(count):
    with pytest.raises(ValueError, match="providers are not from 1 to"):
        generated(count, seed=0)


def test_variations_of_nothing_are_the_market_itself():
    market = paper_market("GPQA", "best_of_n")
    found = solve_variations(market, beta=BETAS, margin=0.25, value_factor=1.0, price_factor=1.0)
    for b, solution in enumerate(solve_market(market, BETAS)):
        assert found.paper_dynamics.welfare[b] == pytest.approx(solution.paper_dynamics.welfare, rel=1e-12)
        assert found.optimum[b] == pytest.approx(solution.optimum["welfare"], rel=1e-12)
        assert found.auction.price[b] == pytest.approx(solution.auction.price, rel=1e-12)


def test_money_has_no_scale():
    """Twice the value, the prices and the dollars that choices are blind to: everything twice."""
    market = paper_market("AIME", "majority_voting")
    found = solve_variations(
        market, beta=[1000.0, 500.0], margin=0.4, value_factor=[1.0, 2.0], price_factor=[1.0, 2.0]
    )
    assert found.paper_dynamics.welfare[1] == pytest.approx(2 * found.paper_dynamics.welfare[0], rel=1e-12)
    assert found.auction.user_value[1] == pytest.approx(2 * found.auction.user_value[0], rel=1e-12)


def test_one_margin_for_all_changes_no_equilibrium_while_list_prices_stand():
    market = paper_market("GSM8K", "majority_voting")
    ends = [
        solve_market(with_margin(market, margin, "price"), [1000.0])[0].paper_dynamics
        for margin in (0.01, 0.25, 65.0)
    ]
    assert ends[0].levels == ends[1].levels == ends[2].levels
    assert ends[0].user_value == pytest.approx(ends[2].user_value, rel=1e-12)
    assert ends[0].welfare < ends[2].welfare


def test_margins_play_no_part_in_the_auction_while_cost_stands():
    market = paper_market("GSM8K", "majority_voting")
    low, high = (
        solve_market(with_margin(market, margin, "cost"), [1000.0])[0].auction for margin in (0.01, 65.0)
    )
    assert low == high


def test_what_a_margin_leaves_standing_is_price_or_cost():
    with pytest.raises(ValueError, match="holding = 'tokens' is not one of price, cost"):
        with_margin(paper_market("AIME", "best_of_n"), 0.2, "tokens")

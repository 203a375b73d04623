"""Generated markets, and one market under other margins, values and prices."""

import numpy as np
import pytest

from market_sim.economy.generated import LEVELS, generated_market
from market_sim.economy.solve import solve_market
from market_sim.economy.variations import solve_variations, with_margin
from market_sim.experiments.paper import BETAS, paper_market
from market_sim.theory.game import equilibria
from tests.oracles import Market as Oracle
from tests.oracles import pure_equilibria


def test_a_generated_market_is_the_smaller_one_with_others_added():
    large, small = generated_market(50, seed=3), generated_market(7, seed=3)
    for name, table in vars(small).items():
        assert np.array_equal(getattr(large.first(7), name), table)


def test_generated_accuracy_rises_with_compute_within_0_and_1_and_costs_below_the_price():
    market = generated_market(2000, seed=0)
    assert (np.diff(market.accuracy, axis=1) > 0).all()
    assert ((market.accuracy > 0) & (market.accuracy < 1)).all()
    assert (market.price > market.cost).all()
    assert market.tokens[:, -1] == pytest.approx(LEVELS[-1] * market.tokens[:, 0])


def test_generated_providers_spread_as_the_bundled_ones_do():
    ours, theirs = generated_market(5000, seed=1), paper_market("GSM8K", "majority_voting")
    for level in (0, -1):
        low, high = np.quantile(ours.accuracy[:, level], [0.02, 0.98])
        assert ((theirs.accuracy[0, :, level] > low) & (theirs.accuracy[0, :, level] < high)).all()
        low, high = np.quantile(ours.price[:, level], [0.01, 0.99])
        assert ((theirs.price[0, :, level] > low) & (theirs.price[0, :, level] < high)).all()


def test_all_equilibria_of_a_small_generated_market_are_found():
    for seed in range(5):
        game = generated_market(3, seed).game(1000.0)
        enumerated = Oracle(game.value[0], game.margin[0], 1000.0, 0.0)
        found = {tuple(row) for row in equilibria(game).levels.tolist()}
        assert found == pure_equilibria(enumerated.regrets(), 1e-9)


@pytest.mark.parametrize("count", [0, 10**6])
def test_a_market_of_no_or_too_many_providers_is_refused(count):
    with pytest.raises(ValueError, match="providers are not from 1 to"):
        generated_market(count, seed=0)


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

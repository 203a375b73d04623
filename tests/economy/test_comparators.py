"""Flat prices and the planner (docs/theory.md 4.2 and 4.3)."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.economy.flat_price import MARGINS
from market_sim.economy.market import Market, UserPopulation, games_of
from market_sim.economy.pay_per_compute import posted_game
from market_sim.economy.regime import Regime
from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError
from market_sim.theory.game import log_profits, log_shares_at
from market_sim.theory.welfare import social_optimum
from tests.markets import DIFFERENT, SEGMENTS, paper_market, population, random_market
from tests.worlds import read_only

SETTINGS = [("GSM8K", "majority_voting"), ("AIME", "best_of_n"), ("GPQA", "reasoning_effort")]


def flat(market: Market, users: UserPopulation) -> Regime:
    return REGIMES["flat_price"].prepare(REGIMES["flat_price"], market, users)


def best_replies(regime: Regime, market: Market, users: UserPopulation) -> np.ndarray:
    """Where best replies in turn end, (N,)."""
    actions = regime.actions(regime, market, 0).lowest()
    for _ in range(200):
        before = actions.copy()
        for i in range(market.n_providers):
            payoffs = regime.counterfactual(regime, market, 0, actions, users, np.array([i]))
            if payoffs.relative[0, actions[i]] < 1 - 1e-9:
                actions[i] = payoffs.relative[0].argmax()
        if (actions == before).all():
            return actions
    raise AssertionError("best replies did not settle")


@pytest.mark.parametrize("beta", [50.0, 200.0, 1000.0])
@pytest.mark.parametrize("setting", SETTINGS, ids="-".join)
def test_under_flat_prices_everybody_serves_at_the_efficient_level_and_asks_the_bertrand_margin(
    setting, beta
):
    """Nocke & Schutz 2018."""
    market, users = paper_market(*setting), population([beta], size=1000)
    regime = flat(market, users)
    grid = regime.actions(regime, market, 0)
    actions = best_replies(regime, market, users)
    surplus = np.where(market.offered[0], market.quality() - market.cost[0], -np.inf)
    np.testing.assert_array_equal(grid.level[actions], surplus.argmax(axis=1))
    share = np.exp(log_shares_at(posted_game(regime, market, 0, beta, 1.0), actions)[0])
    step = np.log(regime.terms.margins[1] / regime.terms.margins[0])
    off = np.abs(np.log(grid.margin[actions] / (1.0 / (beta * (1.0 - share)))))
    assert (off <= step).all()  # next to it on the grid, which is all that steps allow


@given(st.integers(0, 500), st.floats(1.0, 1e5), st.floats(-0.01, 0.01), st.integers(1, 4))
def test_no_best_reply_lies_at_an_end_of_the_grid_of_margins(seed, beta, outside, n):
    """Whatever the rivals do: 1 / beta <= m <= max(W - V0, 0) + 2 / beta."""
    rng = np.random.default_rng(seed)
    market, users = (
        random_market(seed, (2, 4, 3, 2)[:n], value=0.02, outside_value=outside),
        population([beta]),
    )
    regime = flat(market, users)
    grid = regime.actions(regime, market, 0)
    assert len(regime.terms.margins) == MARGINS
    actions = np.array([rng.choice(np.flatnonzero(row)) for row in grid.allowed])
    best = regime.counterfactual(regime, market, 0, actions, users, np.arange(n)).relative.argmax(axis=1)
    assert (grid.margin[best] > grid.margin.min()).all()
    assert (grid.margin[best] < grid.margin.max()).all()


def test_profits_under_flat_prices_are_share_times_margin_for_every_action():
    market, users = random_market(3, value=0.02, outside_value=0.001), DIFFERENT
    regime = flat(market, users)
    grid = regime.actions(regime, market, 0)
    actions = grid.at_level(np.array([1, 0, 2]))
    payoffs = regime.counterfactual(regime, market, 0, actions, users, np.array([1])).usd()[0]
    quality = market.quality()
    for a in np.flatnonzero(grid.allowed[1])[::17]:
        tried = np.array([actions[0], a, actions[2]])
        levels, margin = grid.level[tried], grid.margin[tried]
        price = market.cost[0][range(3), levels] + margin
        total = 0.0
        for scale, beta in zip(users.value_scale, users.beta, strict=True):
            offers = np.exp(beta * (scale * quality[range(3), levels] - price - 0.001))
            total += offers[1] / (1 + offers.sum()) / len(users.beta)
        assert payoffs[a] == pytest.approx(margin[1] * total, rel=1e-9)


def test_a_flat_price_needs_users_who_look_at_prices():
    market = random_market(1)
    with pytest.raises(InputError, match="no finite one is best"):
        flat(market, population([0.0, 0.0]))
    flat(market, population([0.0, 500.0]))  # some do


@pytest.mark.parametrize("beta", [30.0, 1000.0, 1e5])
@pytest.mark.parametrize("setting", SETTINGS, ids="-".join)
def test_the_planner_assigns_the_exact_optimum_where_users_are_alike(setting, beta):
    market, users, planner = paper_market(*setting), population([beta]), REGIMES["planner"]
    plan = planner.plan(planner, market, 0, users)
    np.testing.assert_array_equal(plan, social_optimum(games_of(market, 0, beta)).levels)


@pytest.mark.parametrize("users", [DIFFERENT, SEGMENTS], ids=["different", "segments"])
@pytest.mark.parametrize("seed", range(6))
def test_the_planners_levels_for_users_who_differ_are_the_best_of_all_profiles(seed, users):
    """A local search, so not certain in general; in these small markets it finds the best of all."""
    market, planner = random_market(seed, value=0.02, outside_value=0.001), REGIMES["planner"]
    plan = tuple(planner.plan(planner, market, 0, users).tolist())
    levels = [np.flatnonzero(row).tolist() for row in market.offered[0]]
    welfare = {profile: _welfare(market, users, profile) for profile in product(*levels)}
    assert welfare[plan] == pytest.approx(max(welfare.values()), rel=1e-12)
    assert len(set(np.round(list(welfare.values()), 9))) > 5
    bound, kind = planner.best_welfare(planner, market, 0, users)
    assert kind == "bound"
    assert welfare[plan] <= bound * (1 + 1e-12)


def _welfare(market: Market, users: UserPopulation, profile: tuple[int, ...]) -> float:
    at = (np.arange(market.n_providers), read_only(profile))
    total = 0.0
    for scale, beta, size in zip(users.value_scale, users.beta, users.size, strict=True):
        quality, price, cost = scale * market.quality()[at], market.price[0][at], market.cost[0][at]
        offers = np.append(beta * (quality - price), beta * market.outside_value)
        chances = np.exp(offers - offers.max())
        chances /= chances.sum()
        total += size * (chances[:-1] @ (quality - cost) + chances[-1] * market.outside_value)
    return total / users.size.sum()


def test_profit_is_what_log_profits_of_the_flat_game_say():
    market, users = random_market(2, value=0.02), population([800.0])
    regime = flat(market, users)
    actions = regime.actions(regime, market, 0).lowest()
    want = log_profits(posted_game(regime, market, 0, 800.0, 1.0), actions)
    got = regime.counterfactual(regime, market, 0, actions, users, np.arange(3))
    allowed = regime.actions(regime, market, 0).allowed
    np.testing.assert_allclose(got.logs[allowed], want.reshape(3, -1)[allowed], rtol=1e-12)

"""Markets as arrays: what they are made from, and that padding is never seen by anybody."""

import math

import numpy as np
import pytest

from market_sim.economy.auctions import first_best_welfare
from market_sim.economy.market import (
    QUALITY_CURVES,
    Market,
    UserPopulation,
    alike_users,
    games_of,
    user_types,
)
from market_sim.economy.regime import Shocks
from market_sim.economy.solve import solve_market
from market_sim.theory import auction
from market_sim.theory.streams import Role, stream
from tests import oracles
from tests.markets import (
    EVERY_REGIME,
    POPULATIONS,
    market_from_rows,
    paper_market,
    population,
    random_actions,
    random_market,
    random_rows,
)

COUNTS = (2, 4, 3)

PADDINGS = {
    "more columns": (3, 1e-9, 1.0),
    "cheap and perfect": (0, 1e-12, 1.0),
    "dear and useless": (0, 50.0, 0.0),
    "neither": (2, math.nan, math.nan),
}
"""(columns nobody offers, price and accuracy where nothing is offered): tempting for somebody."""


def shocks(users: UserPopulation) -> Shocks:
    drawn = {role.name: stream(3, role) for role in (Role.CHOICES, Role.OUTCOMES, Role.AUDITS)}
    if users.individuals:
        drawn = {name: generator.random(len(users.beta)) for name, generator in drawn.items()}
    return Shocks(choice=drawn["CHOICES"], outcome=drawn["OUTCOMES"], audit=drawn["AUDITS"])


def ragged(padding: tuple[int, float, float], outside_value: float = 0.001) -> Market:
    price, accuracy = random_rows(np.random.default_rng(11), COUNTS)
    return market_from_rows(price, accuracy, outside_value=outside_value, padding=padding)


# --- Padding ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", PADDINGS.values(), ids=PADDINGS)
def test_what_stands_where_nothing_is_offered_does_not_change_a_solution(padding):
    betas = [0.0, 30.0, 1000.0, 1e5]
    plain = [s.to_dict() for s in solve_market(ragged((0, 1e-3, 0.5)), betas)]
    other = [s.to_dict() for s in solve_market(ragged(padding), betas)]
    assert other == plain


@pytest.mark.parametrize("seed", range(8))
def test_equilibria_of_a_ragged_market_are_those_of_its_ragged_lists_by_enumeration(seed):
    """Enumerated in 60 digits over what is offered only, in a market whose padding would tempt anybody."""
    price, accuracy = random_rows(np.random.default_rng(seed), COUNTS)
    market = market_from_rows(price, accuracy, value=0.02, outside_value=0.002)
    beta = 10.0 ** (1 + seed / 2)
    value = [0.02 * (0.1 + 0.9 * a) - p for p, a in zip(price, accuracy, strict=True)]
    oracle = oracles.Market(value, [p - p / 1.25 for p in price], beta, 0.002)
    (solution,) = solve_market(market, [beta])
    found = {
        tuple(int(math.log2(level)) for level in profile.levels.values()) for profile in solution.equilibria
    }
    assert found == oracles.pure_equilibria(oracle.regrets(), 1e-12)
    welfare, _ = oracle.welfare_optimum()
    assert solution.optimum["welfare"] == pytest.approx(float(welfare), rel=1e-11)


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_what_stands_where_nothing_is_offered_is_seen_by_no_regime(regime, users):
    plain = ragged((0, 1e-3, 0.5))
    grid = regime.actions(regime, plain, 0)
    actions = random_actions(np.random.default_rng(2), regime, plain)
    want_match = regime.match(regime, plain, 0, actions, users, shocks(users))
    want_best = regime.best_welfare(regime, plain, 0, users)
    want_offer = regime.offer(regime, plain, 0, actions, 1.0)
    want_payoffs = regime.counterfactual(regime, plain, 0, actions, users, np.arange(3)).usd()
    for padding in (PADDINGS["more columns"], PADDINGS["cheap and perfect"], PADDINGS["dear and useless"]):
        other = ragged(padding)
        theirs = regime.actions(regime, other, 0)
        same = {label: a for a, label in enumerate(_labels(theirs))}
        translate = np.array([same[label] for label in _labels(grid)])
        match = regime.match(regime, other, 0, translate[actions], users, shocks(users))
        for lots, want in ((match.expected, want_match.expected), (match.drawn, want_match.drawn)):
            for name, column in vars(want).items():
                np.testing.assert_allclose(getattr(lots, name), column, rtol=1e-13, err_msg=name)
        np.testing.assert_array_equal(
            regime.offer(regime, other, 0, translate[actions], 1.0).level, want_offer.level
        )
        assert regime.best_welfare(regime, other, 0, users) == pytest.approx(want_best)
        payoffs = regime.counterfactual(regime, other, 0, translate[actions], users, np.arange(3)).usd()
        np.testing.assert_allclose(payoffs[:, translate], want_payoffs, rtol=1e-12)
        unknown = np.setdiff1d(np.arange(len(theirs.level)), translate)
        assert not theirs.allowed[:, unknown].any()
        assert (payoffs[:, unknown] == -np.inf).all()


def _labels(grid) -> list[tuple[float, ...]]:
    margin = np.zeros(len(grid.level)) if grid.margin is None else grid.margin
    return list(zip(grid.level, grid.share, grid.overstate, margin, strict=True))


@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_actions_allowed_are_those_whose_level_is_offered(regime):
    market = ragged((1, 1e-9, 1.0))
    grid = regime.actions(regime, market, 0)
    for i, count in enumerate(COUNTS):
        levels = set(grid.level[grid.allowed[i]].tolist())
        assert levels == set(range(count)) | ({auction.EFFICIENT} if regime.bids else set())


# --- Arrays -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUALITY_CURVES)
def test_every_quality_curve_rises_from_nought_to_one(name):
    felt = QUALITY_CURVES[name](np.linspace(0, 1, 101))
    assert felt[0] == 0
    assert felt[-1] == pytest.approx(1, abs=1e-15)
    assert (np.diff(felt) > 0).all()


def test_quality_curves_are_the_papers_at_one_half():
    halves = {name: float(curve(np.array(0.5))) for name, curve in QUALITY_CURVES.items()}
    expected = {
        "linear": 0.5,
        "power": 0.5**3.5,
        "exponential": (math.exp(3) - 1) / (math.exp(6) - 1),
    }
    assert halves == pytest.approx(expected)


def test_a_market_feels_accuracy_through_its_quality_curve_only():
    linear = paper_market("AIME", "best_of_n")
    curved = paper_market("AIME", "best_of_n", quality_curve="exponential")
    np.testing.assert_array_equal(linear.accuracy, curved.accuracy)
    np.testing.assert_allclose(
        curved.quality(0), 0.05 * (0.1 + 0.9 * np.expm1(6 * linear.accuracy[0]) / np.expm1(6))
    )
    np.testing.assert_allclose(linear.quality(0), 0.05 * (0.1 + 0.9 * linear.accuracy[0]))


def test_a_market_that_is_made_cannot_be_written_to():
    market = paper_market("GSM8K", ("majority_voting", "reasoning_effort"))
    arrays = [array for array in vars(market).values() if isinstance(array, np.ndarray)]
    assert len(arrays) == 8
    assert not any(array.flags.writeable for array in arrays)


def test_providers_with_fewer_levels_repeat_their_last_where_nothing_is_offered():
    market = paper_market("GSM8K", ("majority_voting", "reasoning_effort"))
    assert not market.offered[0, 9:, 5].any()
    for array in (market.accuracy, market.tokens, market.price, market.cost):
        np.testing.assert_array_equal(array[0, 9:, 5], array[0, 9:, 4])


def test_a_batch_of_games_holds_the_game_of_each_type():
    market = random_market(4, outside_value=0.001)
    batch = games_of(market, 0, np.array([10.0, 500.0]), np.array([0.5, 2.0]))
    for b, (beta, scale) in enumerate([(10.0, 0.5), (500.0, 2.0)]):
        one = games_of(market, 0, beta, scale)
        np.testing.assert_allclose(batch.value[b], one.value, rtol=1e-15)
        np.testing.assert_allclose(batch.log_offer[b], one.log_offer, rtol=1e-15)
    offered = market.offered[0]
    np.testing.assert_allclose(
        one.surplus[offered], (2 * market.quality(0) - market.cost[0])[offered], rtol=1e-12
    )


# --- Users ------------------------------------------------------------------------------------------


def test_users_who_are_alike_are_of_one_type():
    users = alike_users(1000, 300.0, 0.5)
    assert users.alike
    assert users.individuals
    assert users.n_people == 1000
    assert [column.tolist() for column in user_types(users)] == [[0.5], [300.0], [1000.0]]


def test_types_count_people_not_rows():
    users = population([5.0, 9.0, 5.0, 5.0], size=[1, 20, 300, 7], value_scale=[1.0, 1.0, 1.0, 2.0])
    scale, beta, size = user_types(users)
    found = dict(zip(zip(scale.tolist(), beta.tolist(), strict=True), size.tolist(), strict=True))
    assert found == {(1.0, 5.0): 301.0, (1.0, 9.0): 20.0, (2.0, 5.0): 7.0}
    assert not users.alike
    assert not users.individuals


def test_the_first_best_serves_every_user_by_their_own_best_provider_or_not_at_all():
    market = random_market(9, outside_value=0.004)
    users = POPULATIONS["segments"]
    total = 0.0
    for scale, people in zip(users.value_scale, users.size, strict=True):
        options = [
            scale * market.quality(0)[i, k] - market.cost[0, i, k] for i in range(3) for k in range(COUNTS[i])
        ]
        total += people * max(*options, 0.004)
    assert first_best_welfare(market, 0, users) == pytest.approx(total / 2000, rel=1e-13)

"""What every regime promises: its counterfactual profits are the ones that switching would earn, its
accounts add up, and the auctions give the incentives they are known for (docs/theory.md 3 and 4)."""

from dataclasses import replace

import numpy as np
import pytest

from market_sim.economy.auctions import OVERSTATEMENTS
from market_sim.economy.ledger import (
    Ledger,
    Lots,
    Outcomes,
    expected_outcomes,
    keep_accounts,
    outcomes_of_individuals,
    outcomes_of_segments,
)
from market_sim.economy.market import Market, UserPopulation, alike_users, make_market, make_providers
from market_sim.economy.quality import QualityCurve
from market_sim.economy.regime import BID_SHARES, Regime, Shocks, Terms
from market_sim.economy.regimes import REGIMES
from market_sim.theory import auction
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.streams import Role, stream
from tests.markets import (
    ALIKE,
    DIFFERENT,
    EVERY_REGIME,
    POPULATIONS,
    SEGMENTS,
    expected_requests,
    market_from_rows,
    population,
    random_actions,
    random_market,
    random_rows,
    regime_with,
)

AUCTIONS = {name: regime for name, regime in EVERY_REGIME.items() if regime.bids}
AUCTION_KINDS = ("second_price_auction", "first_price_auction")


def shocks(seed: int, users: UserPopulation) -> Shocks:
    drawn = {role.name: stream(seed, role) for role in (Role.CHOICES, Role.OUTCOMES, Role.AUDITS)}
    if users.individuals:
        drawn = {name: generator.random(len(users.beta)) for name, generator in drawn.items()}
    return Shocks(choice=drawn["CHOICES"], outcome=drawn["OUTCOMES"], audit=drawn["AUDITS"])


def settled(regime: Regime, market: Market, actions, lots: Lots, outcomes: Outcomes) -> Ledger:
    money = regime.settle(regime, market, 0, actions, lots, outcomes)
    return keep_accounts(market, 0, lots, outcomes, money.payment, money.bid)


def expected_ledger(regime: Regime, market: Market, actions, users: UserPopulation) -> Ledger:
    lots = regime.match(regime, market, 0, actions, users, None).expected
    outcomes = expected_outcomes(market, 0, lots, regime.terms.audit_probability)
    return settled(regime, market, actions, lots, outcomes)


def twins(outside_value: float = 0.0005) -> Market:
    """Providers 0, 1 and 3 are exactly alike, 2 is another."""
    price, accuracy = random_rows(np.random.default_rng(8), (3, 2))
    return market_from_rows(
        [price[0], price[0], price[1], price[0]],
        [accuracy[0], accuracy[0], accuracy[1], accuracy[0]],
        value=0.02,
        outside_value=outside_value,
    )


MARKETS = {
    "ragged": random_market(1, value=0.02, outside_value=0.0),
    "outside value": random_market(2, value=0.02, outside_value=0.004, convexity=2.0),
    "owed something for not buying": random_market(3, value=0.004, outside_value=-0.002),
    "twins": twins(),
}


# --- The contract -----------------------------------------------------------------------------------


@pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_counterfactual_profits_are_what_switching_would_earn(regime, users, market):
    rng = np.random.default_rng(7)
    grid = regime.actions(regime, market, 0)
    standing = random_actions(rng, regime, market)
    if market.providers[-1] == "p3":  # twins at the same bid: ties
        standing = np.where(np.arange(4) == 2, standing, standing[0])
    everybody = np.arange(market.n_providers)
    usd = regime.counterfactual(regime, market, 0, standing, users, everybody).usd()
    assert usd.shape == grid.allowed.shape
    for i in everybody:
        assert (usd[i, ~grid.allowed[i]] == -np.inf).all()
        own = np.flatnonzero(grid.allowed[i])
        for a in {int(standing[i]), *rng.choice(own, size=min(10, len(own)), replace=False).tolist()}:
            switched = standing.copy()
            switched[i] = a
            ledger = expected_ledger(regime, market, switched, users)
            earned = (ledger.revenue_usd[i] - ledger.cost_usd[i]) / users.n_people
            assert usd[i, a] == pytest.approx(earned, rel=1e-9, abs=1e-16), (i, a)


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("regime", AUCTIONS.values(), ids=AUCTIONS)
def test_counterfactual_profits_at_a_tie_are_those_of_the_rule_for_ties(regime, users):
    """Three twins ask for the same share, so that whoever wins earns something, and the fourth for all."""
    market = twins()
    grid = regime.actions(regime, market, 0)
    plain = (grid.level == auction.EFFICIENT) & (grid.overstate == 0)
    (tied,), (greedy,) = (np.flatnonzero(plain & (grid.share == x)) for x in (0.5, 1.0))
    standing = np.array([tied, tied, greedy, tied])
    usd = regime.counterfactual(regime, market, 0, standing, users, np.arange(4)).usd()
    ledger = expected_ledger(regime, market, standing, users)
    earned = (ledger.revenue_usd - ledger.cost_usd) / users.n_people
    np.testing.assert_allclose(usd[range(4), standing], earned, rtol=1e-12, atol=1e-17)
    if regime.terms.ties == "random":
        np.testing.assert_allclose(earned, earned[0] * np.array([1, 1, 0, 1]), rtol=1e-12)
    else:
        assert earned[1:].tolist() == [0, 0, 0]
    assert earned[0] > 1e-5


@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_counterfactual_profits_of_some_providers_are_rows_of_those_of_all(regime):
    market = MARKETS["outside value"]
    standing = random_actions(np.random.default_rng(1), regime, market)
    every = regime.counterfactual(regime, market, 0, standing, DIFFERENT, np.arange(3))
    some = regime.counterfactual(regime, market, 0, standing, DIFFERENT, np.array([2, 0]))
    np.testing.assert_array_equal(some.relative, every.relative[[2, 0]])
    np.testing.assert_array_equal(some.log_scale, every.log_scale[[2, 0]])


@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_relative_payoffs_are_at_most_one_in_size(regime):
    market = MARKETS["owed something for not buying"]
    standing = random_actions(np.random.default_rng(3), regime, market)
    payoffs = regime.counterfactual(regime, market, 0, standing, SEGMENTS, np.arange(3))
    allowed = regime.actions(regime, market, 0).allowed
    largest = np.abs(np.where(allowed, payoffs.relative, 0)).max(axis=1)
    np.testing.assert_allclose(largest[np.isfinite(payoffs.log_scale)], 1.0)


def test_profits_too_small_for_a_float_can_still_be_compared():
    market = market_from_rows([[0.001, 0.004], [0.001]], [[0.01, 0.02], [0.9]])
    regime, users = REGIMES["pay_per_compute"], population([1e6])
    payoffs = regime.counterfactual(regime, market, 0, np.zeros(2, dtype=int), users, np.array([0]))
    assert payoffs.log_scale[0] < -5000
    assert payoffs.relative[0, 0] == 1.0
    assert payoffs.usd()[0, 0] == 0.0


# --- Accounts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_expected_welfare_is_what_users_and_providers_get_whatever_is_paid(regime, users, market):
    """sum of lots of (alpha y - c) and V_0 for the rest: payments cancel (docs/theory.md 5)."""
    actions = random_actions(np.random.default_rng(5), regime, market)
    lots = regime.match(regime, market, 0, actions, users, None).expected
    alpha = market.value_of_correct[0] * lots.value_scale
    created = alpha * market.worth[0][lots.provider, lots.level] - market.cost[0][lots.provider, lots.level]
    unserved = users.n_people - lots.count.sum()
    welfare = (lots.count * created).sum() + unserved * market.outside_value
    ledger = expected_ledger(regime, market, actions, users)
    user_value = (ledger.quality_usd - ledger.revenue_usd).sum() + unserved * market.outside_value
    profit = (ledger.revenue_usd - ledger.cost_usd).sum()
    assert (user_value + profit) / users.n_people == pytest.approx(welfare / users.n_people, abs=1e-12)
    assert -1e-9 <= unserved <= users.n_people


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_nobody_is_served_twice_and_levels_served_are_offered(regime, users):
    market = MARKETS["ragged"]
    actions = random_actions(np.random.default_rng(6), regime, market)
    match = regime.match(regime, market, 0, actions, users, shocks(1, users))
    for lots in (match.expected, match.drawn):
        assert lots.count.sum() <= users.n_people * (1 + 1e-12)
        assert market.offered[0][lots.provider, lots.level].all()
    assert (match.drawn.count == np.round(match.drawn.count)).all()
    if users.individuals:
        served = match.choice != OUTSIDE
        np.testing.assert_array_equal(match.rows, np.flatnonzero(served))
        np.testing.assert_array_equal(match.drawn.provider, match.choice[served])


@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_draws_scatter_round_their_expectation_as_a_multinomial(regime):
    """200 draws of the whole crowd of segments: each provider's mean within 4.5 standard errors."""
    market = MARKETS["twins"]
    actions = np.full(4, regime.actions(regime, market, 0).lowest()[0])
    expected = expected_requests(regime.match(regime, market, 0, actions, SEGMENTS, None), market)
    draws = 200
    total = np.zeros(4)
    for seed in range(draws):
        drawn = regime.match(regime, market, 0, actions, SEGMENTS, shocks(seed, SEGMENTS)).drawn
        total += np.bincount(drawn.provider, drawn.count, minlength=4)
    share = expected / SEGMENTS.n_people
    error = np.sqrt(share * (1 - share) * SEGMENTS.n_people / draws)
    assert (np.abs(total / draws - expected) <= 4.5 * error + 1e-9).all()


@pytest.mark.parametrize("convexity", [1.0, 3.0, 0.4])
def test_outcomes_of_individuals_and_of_segments_follow_one_law(convexity):
    """correct = u < a and satisfied = u < f(a) with one u: also their overlap is the smaller of the two."""
    market = market_from_rows([[0.001], [0.001]], [[0.3], [0.8]], convexity=convexity)
    n = 200_000
    one = {"level": np.zeros(n, dtype=int), "value_scale": np.ones(n), "standing": np.zeros(n)}
    people = Lots(provider=np.repeat([0, 1], n // 2), count=np.ones(n), **one)
    rng = np.random.default_rng(0)
    single = outcomes_of_individuals(market, 0, people, 0.25, rng.random(n), rng.random(n))
    few = {name: column[:2] for name, column in one.items()}
    crowd = Lots(provider=np.array([0, 1]), count=np.full(2, n / 2), **few)
    counted = outcomes_of_segments(market, 0, crowd, 0.25, rng, rng)
    expected = expected_outcomes(market, 0, crowd, 0.25)
    for name in ("correct", "satisfied", "audited"):
        mean = getattr(expected, name)
        spread = 4.5 * np.sqrt(mean * (1 - mean / (n / 2)))
        by_person = np.bincount(people.provider, getattr(single, name))
        assert (np.abs(by_person - mean) < spread).all(), name
        assert (np.abs(getattr(counted, name) - mean) < spread).all(), name
    accuracy, felt = market.accuracy[0, :, 0], market.satisfaction[0, :, 0]
    nested = (single.correct >= single.satisfied) if convexity > 1 else (single.correct <= single.satisfied)
    assert nested.all()
    lower = (counted.correct >= counted.satisfied) if (accuracy >= felt).all() else None
    assert lower is None or lower.all()
    if convexity == 1:
        np.testing.assert_array_equal(single.correct, single.satisfied)
        np.testing.assert_array_equal(counted.correct, counted.satisfied)


# --- The second-price auction -----------------------------------------------------------------------


def gain_over_the_truth(regime: Regime, market: Market, users: UserPopulation, seed: int):
    """What the best own action earns more than the truthful one, by provider, against random rivals."""
    standing = random_actions(np.random.default_rng(seed), regime, market)
    usd = regime.counterfactual(regime, market, 0, standing, users, np.arange(market.n_providers)).usd()
    truth = regime.actions(regime, market, 0).truthful
    return usd.max(axis=1) - usd[:, truth]


@pytest.mark.parametrize("payment", ["realised", "expected"])
@pytest.mark.parametrize("ties", ["lowest", "random"])
@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
def test_no_bid_earns_more_than_the_truth_when_quality_is_paid_as_it_is(payment, ties, users, market):
    regime = regime_with("second_price_auction", payment=payment, ties=ties)
    for seed in range(20):
        assert (gain_over_the_truth(regime, market, users, seed) <= 1e-15).all()


@pytest.mark.parametrize("rho_clawback", [(0.0, 1.0), (0.5, 1.0), (0.33, 3.0)])
def test_overstating_pays_when_quality_is_paid_on_reports_and_audits_are_too_weak(rho_clawback):
    """The truthful winner keeps (1 - rho M) of what it overstates."""
    rho, clawback = rho_clawback
    regime = regime_with("second_price_auction", payment="reported", audit_probability=rho, clawback=clawback)
    market = MARKETS["ragged"]
    grid = regime.actions(regime, market, 0)
    standing = np.full(3, grid.truthful)
    usd = regime.counterfactual(regime, market, 0, standing, ALIKE, np.arange(3)).usd()
    winner = int(usd[:, grid.truthful].argmax())
    assert usd[winner, grid.truthful] > 0
    efficient = (grid.level == auction.EFFICIENT) & (grid.share == 0)
    lots = regime.match(regime, market, 0, standing, ALIKE, None).expected
    felt = market.satisfaction[0, lots.provider[0], lots.level[0]]
    for overstate in OVERSTATEMENTS[1:]:
        (a,) = np.flatnonzero(efficient & (grid.overstate == overstate))
        kept = (1 - rho * clawback) * 0.02 * 0.9 * (min(felt + overstate, 1) - felt)
        assert usd[winner, a] - usd[winner, grid.truthful] == pytest.approx(kept, abs=1e-15)
        assert kept > 0


@pytest.mark.parametrize("rho_clawback", [(1.0, 1.0), (0.5, 2.0), (0.25, 8.0)])
@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
def test_audits_that_take_back_all_that_is_overstated_restore_the_truth(rho_clawback, users, market):
    rho, clawback = rho_clawback
    regime = regime_with("second_price_auction", payment="reported", audit_probability=rho, clawback=clawback)
    for seed in range(10):
        assert (gain_over_the_truth(regime, market, users, seed) <= 1e-15).all()


@pytest.mark.parametrize("users", [ALIKE, DIFFERENT], ids=["alike", "different"])
def test_payment_on_realised_quality_is_that_on_expected_quality_on_average(users):
    """Exactly: f(a) times the payment when satisfied plus the rest times that when not."""
    market = MARKETS["outside value"]
    realised = regime_with("second_price_auction", payment="realised")
    expected = regime_with("second_price_auction", payment="expected")
    actions = np.full(3, realised.actions(realised, market, 0).truthful)
    lots = realised.match(realised, market, 0, actions, users, shocks(2, users)).drawn
    assert len(lots.provider) > 0
    nothing, everything = np.zeros(len(lots.provider)), np.ones(len(lots.provider))

    def paid(regime: Regime, satisfied) -> np.ndarray:
        outcomes = Outcomes(correct=satisfied, satisfied=satisfied, audited=nothing)
        return regime.settle(regime, market, 0, actions, lots, outcomes).payment

    felt = market.satisfaction[0][lots.provider, lots.level]
    average = felt * paid(realised, everything) + (1 - felt) * paid(realised, nothing)
    np.testing.assert_allclose(average, paid(expected, nothing), rtol=1e-13)
    cost = market.cost[0][lots.provider, lots.level]
    assert (average >= cost - 1e-15).all()
    assert (paid(realised, nothing) < cost).any()  # single requests can lose money


def test_the_truthful_auction_leaves_users_the_value_of_the_second_best_offer():
    market, regime = MARKETS["outside value"], REGIMES["second_price_auction"]
    actions = np.full(3, regime.actions(regime, market, 0).truthful)
    ledger = expected_ledger(regime, market, actions, ALIKE)
    surplus = np.where(market.offered[0], market.quality(0) - market.cost[0], -np.inf).max(axis=1)
    best, second = np.sort(np.append(surplus, market.outside_value))[::-1][:2]
    assert best > market.outside_value
    assert (ledger.quality_usd - ledger.revenue_usd).sum() / 40 == pytest.approx(second, abs=1e-15)
    assert (ledger.revenue_usd - ledger.cost_usd).sum() / 40 == pytest.approx(best - second, abs=1e-15)


# --- The first-price auction ------------------------------------------------------------------------


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
def test_the_first_price_winner_is_paid_its_bid(users):
    """b = c + x max(W, 0), whatever happened to the request."""
    market, regime = MARKETS["ragged"], REGIMES["first_price_auction"]
    grid = regime.actions(regime, market, 0)
    for seed in range(5):
        actions = random_actions(np.random.default_rng(seed), regime, market)
        lots = regime.match(regime, market, 0, actions, users, shocks(seed, users)).drawn
        failed = Outcomes(correct=0 * lots.count, satisfied=0 * lots.count, audited=0 * lots.count)
        cost = market.cost[0][lots.provider, lots.level]
        worth = 0.02 * lots.value_scale * market.worth[0][lots.provider, lots.level]
        bid = cost + grid.share[actions][lots.provider] * np.maximum(worth - cost, 0)
        payment = regime.settle(regime, market, 0, actions, lots, failed).payment
        np.testing.assert_allclose(payment, bid * lots.count, rtol=1e-13)


def test_the_truth_earns_nothing_at_first_price_and_the_winner_would_ask_for_more():
    market, regime = MARKETS["ragged"], REGIMES["first_price_auction"]
    grid = regime.actions(regime, market, 0)
    standing = np.full(3, grid.truthful)
    usd = regime.counterfactual(regime, market, 0, standing, ALIKE, np.arange(3)).usd()
    np.testing.assert_allclose(usd[:, grid.truthful], 0, atol=1e-16)
    best = usd.max(axis=1)
    assert (best > 0).sum() == 1
    assert grid.share[usd[best.argmax()].argmax()] > 0


# --- Both auctions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["second_price_auction", "first_price_auction"])
@pytest.mark.parametrize("users", [alike_users(30_000, 1.0), population([1.0, 2.0], size=15_000)])
def test_equal_bids_share_the_requests_at_random_or_the_first_takes_all(kind, users):
    market = twins()
    for ties, shares in (("lowest", [1, 0, 0, 0]), ("random", [1 / 3, 1 / 3, 0, 1 / 3])):
        regime = regime_with(kind, ties=ties)
        actions = np.full(4, regime.actions(regime, market, 0).truthful)
        match = regime.match(regime, market, 0, actions, users, shocks(4, users))
        np.testing.assert_allclose(expected_requests(match, market) / 30_000, shares, atol=1e-12)
        drawn = np.bincount(match.drawn.provider, match.drawn.count, minlength=4) / 30_000
        assert (np.abs(drawn - shares) <= 4.5 * np.sqrt(1 / 3 * 2 / 3 / 30_000)).all()
        assert (drawn[np.array(shares) == 0] == 0).all()
        assert drawn.sum() == pytest.approx(1)


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("regime", AUCTIONS.values(), ids=AUCTIONS)
def test_nobody_is_served_when_no_offer_is_worth_the_outside_value(regime, users):
    market = random_market(1, value=0.02, outside_value=1.0)
    actions = random_actions(np.random.default_rng(0), regime, market)
    match = regime.match(regime, market, 0, actions, users, shocks(1, users))
    assert expected_requests(match, market).sum() == 0
    assert len(match.drawn.provider) == 0
    ledger = expected_ledger(regime, market, actions, users)
    assert ledger.revenue_usd.tolist() == [0, 0, 0]
    usd = regime.counterfactual(regime, market, 0, actions, users, np.arange(3)).usd()
    assert (usd[regime.actions(regime, market, 0).allowed] == 0).all()


@pytest.mark.parametrize("kind", ["second_price_auction", "first_price_auction"])
def test_users_rationality_plays_no_part_in_an_auction(kind):
    market, regime = MARKETS["ragged"], REGIMES[kind]
    actions = random_actions(np.random.default_rng(3), regime, market)
    careless = population([0.0] * 40, value_scale=DIFFERENT.value_scale)
    careful = population([1e6] * 40, value_scale=DIFFERENT.value_scale)
    one, two = (regime.match(regime, market, 0, actions, u, None).expected for u in (careless, careful))
    np.testing.assert_array_equal(one.provider, two.provider)
    np.testing.assert_array_equal(one.level, two.level)


@pytest.mark.parametrize("kind", ["second_price_auction", "first_price_auction"])
def test_levels_of_truthful_bids_are_the_best_for_each_request(kind):
    market = market_from_rows(
        [[0.0001, 0.001], [0.004]], [[0.2, 0.5], [0.9]], value=0.01, outside_value=0.0005
    )
    regime, users = REGIMES[kind], population([1.0] * 200, value_scale=np.geomspace(0.05, 20, 200))
    actions = np.full(2, regime.actions(regime, market, 0).truthful)
    match = regime.match(regime, market, 0, actions, users, shocks(0, users))
    alpha = 0.01 * users.value_scale[:, None, None]
    surplus = np.where(market.offered[0], alpha * market.worth[0] - market.cost[0], -np.inf)
    best = surplus.reshape(200, -1).argmax(axis=1)
    served = surplus.max(axis=(1, 2)) >= market.outside_value
    assert 0 < served.sum() < 200
    np.testing.assert_array_equal(match.rows, np.flatnonzero(served))
    np.testing.assert_array_equal(match.drawn.provider * 2 + match.drawn.level, best[served])
    assert set(best[served]) == {0, 1, 2}


def test_shares_asked_for_contain_the_truth_and_prices_below_cost():
    assert list(BID_SHARES) == [-0.25, *(x / 20 for x in range(21))]
    for regime in AUCTIONS.values():
        grid = regime.actions(regime, MARKETS["ragged"], 0)
        truth = grid.truthful
        assert (grid.level[truth], grid.share[truth], grid.overstate[truth]) == (auction.EFFICIENT, 0, 0)
        reports = regime.name == "second_price_auction" and regime.terms.payment == "reported"
        assert (len(set(grid.overstate)) > 1) == reports


@pytest.mark.parametrize("kind", AUCTION_KINDS)
def test_bids_ask_for_the_shares_that_the_terms_name_and_truth_stays_among_them(kind):
    regime, market = regime_with(kind, bid_shares=(-0.5, 0.0, 0.001, 0.25)), MARKETS["ragged"]
    grid = regime.actions(regime, market, 0)
    assert sorted(set(grid.share.tolist())) == [-0.5, 0.0, 0.001, 0.25]
    assert (grid.level[grid.truthful], grid.share[grid.truthful]) == (auction.EFFICIENT, 0)
    assert set(grid.share[grid.start]) == {0}
    finer = np.full(
        market.n_providers, np.flatnonzero((grid.level == auction.EFFICIENT) & (grid.share == 0.001))[0]
    )
    users = population([1.0], value_scale=np.ones(1))
    usd = regime.counterfactual(regime, market, 0, finer, users, np.arange(market.n_providers)).usd()
    ledger = expected_ledger(regime, market, finer, users)
    earned = (ledger.revenue_usd - ledger.cost_usd) / users.n_people
    np.testing.assert_allclose(usd[np.arange(len(finer)), finer], earned, rtol=1e-9, atol=1e-16)
    assert earned.max() > 0


# --- Pay-per-compute --------------------------------------------------------------------------------


def test_users_choose_by_the_logit_over_their_own_net_values():
    market, regime = MARKETS["outside value"], REGIMES["pay_per_compute"]
    actions = np.array([1, 2, 0])
    match = regime.match(regime, market, 0, actions, SEGMENTS, None)
    quality, price = market.quality(0)[range(3), actions], market.price[0][range(3), actions]
    requests, worth, log_sum = np.zeros(3), np.zeros(3), 0.0
    for scale, beta, size in zip(SEGMENTS.value_scale, SEGMENTS.beta, SEGMENTS.size, strict=True):
        gain = beta * (scale * quality - price - market.outside_value)
        top = max(gain.max(), 0)
        odds = np.exp(gain - top)
        total = odds.sum() + np.exp(-top)
        requests += size * odds / total
        worth += scale * size * odds / total
        log_sum += size * (top + np.log(total)) / beta
    np.testing.assert_allclose(expected_requests(match, market), requests, rtol=1e-11)
    np.testing.assert_allclose(match.expected.value_scale * match.expected.count, worth, rtol=1e-11)
    assert match.log_sum_usd == pytest.approx(log_sum / 2000, rel=1e-11)


def test_every_request_pays_for_its_tokens():
    market, regime = MARKETS["ragged"], REGIMES["pay_per_compute"]
    actions = np.array([1, 3, 2])
    lots = regime.match(regime, market, 0, actions, SEGMENTS, shocks(1, SEGMENTS)).drawn
    nothing = 0 * lots.count
    outcomes = Outcomes(correct=nothing, satisfied=nothing, audited=nothing)
    payment = regime.settle(regime, market, 0, actions, lots, outcomes).payment
    np.testing.assert_allclose(payment, lots.count * market.price[0][lots.provider, actions[lots.provider]])


# --- The yardstick ----------------------------------------------------------------------------------


@pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_no_actions_reach_more_expected_welfare_than_the_yardstick(regime, users, market):
    best, kind = regime.best_welfare(regime, market, 0, users)
    assert kind == ("bound" if not regime.bids and not users.alike else "exact")
    for seed in range(6):
        actions = random_actions(np.random.default_rng(seed), regime, market)
        ledger = expected_ledger(regime, market, actions, users)
        unserved = users.n_people - ledger.requests.sum()
        welfare = (ledger.quality_usd - ledger.cost_usd).sum() + unserved * market.outside_value
        assert welfare / users.n_people <= best + 1e-14


def test_the_truth_reaches_the_auctions_yardstick():
    for kind in ("second_price_auction", "first_price_auction"):
        regime = REGIMES[kind]
        for market in MARKETS.values():
            actions = np.full(market.n_providers, regime.actions(regime, market, 0).truthful)
            ledger = expected_ledger(regime, market, actions, DIFFERENT)
            unserved = 40 - ledger.requests.sum()
            welfare = (ledger.quality_usd - ledger.cost_usd).sum() + unserved * market.outside_value
            assert welfare / 40 == pytest.approx(
                regime.best_welfare(regime, market, 0, DIFFERENT)[0], rel=1e-12
            )


def test_the_registry_is_keyed_by_the_names_of_its_regimes():
    assert {name: regime.name for name, regime in REGIMES.items()} == {name: name for name in REGIMES}


def test_five_hundred_equal_bids_share_each_request_equally():
    curves = [
        QualityCurve(
            benchmark="GSM8K",
            method="best_of_n",
            model=f"M{i}",
            compute_level=np.array([1.0]),
            accuracy=np.array([0.8]),
            tokens_per_query=np.array([100.0]),
        )
        for i in range(510)
    ]
    prices = {curve.model: 0.1 for curve in curves}
    market = make_market(make_providers(curves, where="x", prices=prices), value_of_correct_usd=0.008)
    regime = replace(REGIMES["second_price_auction"], terms=Terms(ties="random"))
    truth = np.full(510, regime.actions(regime, market, 0).truthful)
    match = regime.match(regime, market, 0, truth, alike_users(510, 1.0), None)
    shares = np.bincount(match.expected.provider, weights=match.expected.count, minlength=510)
    np.testing.assert_allclose(shares, 1.0, rtol=1e-12)


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("regime", EVERY_REGIME.values(), ids=EVERY_REGIME)
def test_who_is_expected_to_buy_nothing_is_never_less_than_nobody(regime, users):
    """Also where everybody buys: 1 - sum of shares would be lost to rounding there."""
    for outside in (-1e6, -0.5, 0.0, 0.004, 1e6):
        market = random_market(11, outside_value=outside)
        actions = random_actions(np.random.default_rng(3), regime, market)
        match = regime.match(regime, market, 0, actions, users, None)
        assert 0 <= match.unserved <= users.n_people
        served = match.expected.count.sum()
        assert match.unserved + served == pytest.approx(users.n_people, rel=1e-12)
        assert outside != 1e6 or served == 0 or users.beta.min() < 1

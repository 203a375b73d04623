"""A market solved: what a solution says, that it is certified, and what is known of the paper's data."""

import json
import math

import numpy as np
import pytest

from market_sim.economy.market import MOST_DECISIVE, games_of
from market_sim.economy.regimes import REGIMES
from market_sim.economy.solve import solve_market
from market_sim.theory.choice import log_sum_surplus
from tests import oracles
from tests.markets import ALIKE, market_from_rows, paper_market, random_market

PROFILE_KEYS = {
    "levels",
    "shares",
    "outside_share",
    "welfare",
    "user_value",
    "price",
    "provider_profit",
    "log_sum_surplus",
    "mean_user_value",
    "mean_price",
    "mean_provider_profit",
    "accuracy",
    "tokens_per_query",
    "potential",
    "regret_usd",
}
SOLUTION_KEYS = {
    "benchmark",
    "method",
    "beta",
    "providers",
    "equilibria",
    "ties",
    "paper_dynamics",
    "optimum",
    "price_of_anarchy",
    "price_of_stability",
    "paper_price_of_anarchy",
    "inefficiency",
    "noise_gap",
    "strategic_gap",
    "first_best_gap_usd",
    "auction",
}
AUCTION_KEYS = {
    "winner",
    "runner_up",
    "level",
    "welfare",
    "user_value",
    "price",
    "provider_profit",
    "accuracy",
    "tokens_per_query",
}

BETAS = [0.0, 3.0, 200.0, 1000.0, 1400.0, 1e5, 1e6]

MARKETS = {
    "GSM8K majority": paper_market("GSM8K", "majority_voting"),
    "AIME reasoning": paper_market("AIME", "reasoning_effort"),
    "mixed": paper_market("GPQA", ("best_of_n", "reasoning_effort"), outside_value_usd=0.003),
    "worthless": paper_market("GSM8K", "best_of_n", value_of_correct_usd=1e-5, outside_value_usd=-0.5),
    "nobody would buy": paper_market("GSM8K", "best_of_n", outside_value_usd=1.0),
    "one provider": random_market(3, counts=[4]),
}


@pytest.fixture(scope="module", params=MARKETS.values(), ids=MARKETS)
def solved(request):
    market = request.param
    return market, solve_market(market, BETAS)


# --- The form of a solution -------------------------------------------------------------------------


def test_a_solution_is_json_of_the_documented_keys_without_nan(solved):
    """docs/formats.md, `market-sim solve --json`."""
    market, solutions = solved
    for solution in solutions:
        data = json.loads(json.dumps(solution.to_dict(), allow_nan=False))
        assert set(data) == SOLUTION_KEYS
        assert set(data["auction"]) == AUCTION_KEYS
        assert set(data["optimum"]) == {"welfare", "levels", "bound"}
        assert len(data["equilibria"]) >= 1
        for profile in (*data["equilibria"], data["paper_dynamics"]):
            assert set(profile) == PROFILE_KEYS
            assert list(profile["levels"]) == list(profile["shares"]) == list(market.providers)
        assert data["providers"] == list(market.providers)
        assert list(data["optimum"]["levels"]) == list(market.providers)


def test_levels_are_named_as_the_data_names_them_and_offered():
    market = MARKETS["mixed"]
    (solution,) = solve_market(market, [1000.0])
    for profile in (*solution.equilibria, solution.paper_dynamics):
        for i, level in enumerate(profile.levels.values()):
            assert level in market.compute_level[0, i, market.offered[0, i]]
            assert isinstance(level, int)


def test_a_frame_has_one_row_per_equilibrium_and_provider():
    (solution,) = solve_market(MARKETS["GSM8K majority"], [1380.0])
    frame = solution.to_frame()
    assert len(frame) == 2 * 9
    second = frame[frame["equilibrium"] == 1].set_index("provider")
    assert second["compute_level"].to_dict() == solution.equilibria[1].levels
    assert second["share"].sum() + solution.equilibria[1].outside_share == pytest.approx(1)


def test_the_words_of_a_solution_say_where_it_is_and_what_was_found():
    (solution,) = solve_market(MARKETS["GSM8K majority"], [1380.0])
    assert "GSM8K majority_voting beta=1380: 2 equilibria" in repr(solution)
    assert "auction won by Qwen2.5-7B" in repr(solution)


# --- What a solution says ---------------------------------------------------------------------------


def test_every_equilibrium_is_certified_and_the_papers_dynamics_end_in_one(solved):
    _, solutions = solved
    for solution in solutions:
        scale = max(abs(solution.optimum["welfare"]), 1e-6)
        assert all(profile.regret_usd <= 1e-8 * scale for profile in solution.equilibria)
        assert solution.paper_dynamics.regret_usd <= 1e-7 * scale
        assert solution.ties or solution.paper_dynamics.levels in [p.levels for p in solution.equilibria]


def test_the_two_gaps_add_up_to_the_first_best_gap(solved):
    _, solutions = solved
    for solution in solutions:
        total = solution.noise_gap + solution.strategic_gap
        scale = max(abs(solution.auction.welfare), abs(solution.paper_dynamics.welfare))
        assert total == pytest.approx(solution.first_best_gap_usd, abs=1e-14 * scale)
        assert solution.strategic_gap >= -1e-10 * scale
        assert solution.noise_gap >= -1e-10 * scale


def test_welfare_is_user_value_plus_provider_profit(solved):
    _, solutions = solved
    for solution in solutions:
        for p in (*solution.equilibria, solution.paper_dynamics, solution.auction):
            assert p.welfare == pytest.approx(p.user_value + p.provider_profit, abs=1e-12)


def test_shares_add_up_and_weigh_price_accuracy_and_tokens(solved):
    market, solutions = solved
    for solution in solutions:
        for p in (*solution.equilibria, solution.paper_dynamics):
            shares = np.array(list(p.shares.values()))
            assert shares.sum() + p.outside_share == pytest.approx(1, abs=1e-12)
            at = [
                (i, list(market.compute_level[0, i]).index(level))
                for i, level in enumerate(p.levels.values())
            ]
            price, tokens, accuracy = (
                np.array([table[0][place] for place in at])
                for table in (market.price, market.tokens, market.accuracy)
            )
            value = np.array([market.quality(0)[place] for place in at]) - price
            assert p.price == pytest.approx(shares @ price, rel=1e-12, abs=1e-300)
            assert p.mean_price == pytest.approx(price.mean(), rel=1e-12)
            assert p.mean_user_value == pytest.approx(value.mean(), rel=1e-12)
            assert p.mean_provider_profit == pytest.approx((price - price / 1.25).mean(), rel=1e-12)
            assert p.tokens_per_query == pytest.approx(shares @ tokens, rel=1e-12, abs=1e-300)
            if shares.sum() > 0:
                assert p.accuracy == pytest.approx(shares @ accuracy / shares.sum(), rel=1e-12)
            else:
                assert p.accuracy is None
            if solution.beta > 0:
                expected = log_sum_surplus(value, solution.beta, market.outside_value)
                assert p.log_sum_surplus == pytest.approx(float(expected), rel=1e-9, abs=1e-15)
            else:
                assert p.log_sum_surplus is None


def test_prices_of_anarchy_and_stability_compare_the_optimum_with_the_worst_and_best_equilibrium(solved):
    _, solutions = solved
    for solution in solutions:
        best, welfare = solution.optimum["welfare"], [p.welfare for p in solution.equilibria]

        def over(value, best=best):
            return best / value if value > 0 else None

        assert solution.price_of_anarchy == over(min(welfare))
        assert solution.price_of_stability == over(max(welfare))
        assert solution.paper_price_of_anarchy == over(solution.paper_dynamics.welfare)
        if solution.inefficiency is not None:
            assert solution.inefficiency == pytest.approx(solution.paper_price_of_anarchy - 1, abs=1e-15)
            assert solution.inefficiency >= -1e-10


def test_ratios_are_undefined_where_welfare_is_not_above_zero():
    """Answers are worth next to nothing, and not buying costs half a dollar that many still choose."""
    (careless,) = solve_market(MARKETS["worthless"], [0.001])
    assert careless.paper_dynamics.welfare < 0
    assert careless.price_of_anarchy is None
    assert careless.price_of_stability is None
    assert careless.paper_price_of_anarchy is None
    assert careless.inefficiency is None
    assert careless.first_best_gap_usd > 0
    (defined,) = solve_market(MARKETS["GSM8K majority"], [0.001])
    assert defined.inefficiency > 0


def test_equilibria_rise_from_the_least_to_the_greatest_offers():
    market = MARKETS["GSM8K majority"]
    (solution,) = solve_market(market, [1380.0])
    game = games_of(market, 0, 1380.0)
    offers = []
    for profile in solution.equilibria:
        at = [list(market.compute_level[0, i]).index(k) for i, k in enumerate(profile.levels.values())]
        offers.append([game.log_offer[i, k] for i, k in enumerate(at)])
    assert (np.array(offers[1]) >= np.array(offers[0])).all()
    assert offers[0] != offers[1]


def test_solving_many_rationalities_at_once_is_solving_each_alone():
    market = MARKETS["mixed"]
    together = [s.to_dict() for s in solve_market(market, BETAS)]
    alone = [solve_market(market, [beta])[0].to_dict() for beta in BETAS]
    assert json.dumps(together) == json.dumps(alone)


def test_the_optimum_is_attained_at_its_levels_and_certified(solved):
    market, solutions = solved
    for solution in solutions:
        levels = [
            list(market.compute_level[0, i]).index(k)
            for i, k in enumerate(solution.optimum["levels"].values())
        ]
        value = market.quality(0)[range(len(levels)), levels] - market.price[0][range(len(levels)), levels]
        surplus = market.quality(0) - market.cost[0]
        shares, outside = oracles.logit_shares(value.tolist(), solution.beta, market.outside_value)
        attained = sum(float(s) * surplus[i, k] for i, (s, k) in enumerate(zip(shares, levels, strict=True)))
        attained += float(outside) * market.outside_value
        assert solution.optimum["welfare"] == pytest.approx(attained, rel=1e-9, abs=1e-12)
        assert solution.optimum["bound"] >= solution.optimum["welfare"]
        slack = 1e-11 * max(np.abs(surplus).max(), abs(market.outside_value))
        assert solution.optimum["bound"] == pytest.approx(solution.optimum["welfare"], abs=slack)


def test_the_auction_of_a_solution_is_the_regime_with_everybody_telling_the_truth():
    market, regime = MARKETS["mixed"], REGIMES["second_price_auction"]
    (solution,) = solve_market(market, [1000.0])
    actions = np.full(market.n_providers, regime.actions(regime, market, 0).truthful)
    lots = regime.match(regime, market, 0, actions, ALIKE, None).expected
    assert market.providers[lots.provider[0]] == solution.auction.winner
    assert market.compute_level[0, lots.provider[0], lots.level[0]] == solution.auction.level
    assert lots.standing[0] == pytest.approx(solution.auction.user_value, rel=1e-14)


def test_an_auction_nobody_qualifies_for_has_no_winner_and_the_outside_value():
    (solution,) = solve_market(MARKETS["nobody would buy"], [1000.0])
    auction = solution.auction
    assert (auction.winner, auction.runner_up, auction.level, auction.accuracy) == (None,) * 4
    assert (auction.welfare, auction.user_value) == (1.0, 1.0)
    assert (auction.price, auction.provider_profit, auction.tokens_per_query) == (0, 0, 0)


def test_a_market_in_which_nobody_buys_at_all_has_no_accuracy():
    (solution,) = solve_market(MARKETS["nobody would buy"], [1e5])
    assert solution.paper_dynamics.accuracy is None
    assert solution.paper_dynamics.outside_share == 1
    json.dumps(solution.to_dict(), allow_nan=False)


def test_a_single_bidder_leaves_users_the_outside_value():
    (solution,) = solve_market(MARKETS["one provider"], [1000.0])
    assert solution.auction.runner_up is None
    assert solution.auction.user_value == 0
    assert solution.auction.provider_profit == solution.auction.welfare


def test_providers_who_are_indifferent_are_said_to_be():
    market = market_from_rows([[0.001, 0.001], [0.002]], [[0.5, 0.5], [0.7]])
    (tied,) = solve_market(market, [1000.0])
    assert tied.ties
    (generic,) = solve_market(random_market(1), [1000.0])
    assert not generic.ties


# --- The paper's data -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "method", "first", "last"),
    [
        ("GSM8K", "majority_voting", 1352, 1400),
        ("GSM8K", "majority_voting", 3332, 3458),
        ("GSM8K", "best_of_n", 1424, 1494),
        ("GSM8K", "best_of_n", 3510, 4008),
        ("AIME", "best_of_n", 1479, 1512),
        ("AIME", "best_of_n", 1815, 2338),
        ("GPQA", "majority_voting", 913, 922),
        ("GPQA", "best_of_n", 2582, 2752),
    ],
)
def test_two_equilibria_exist_in_known_windows_of_rationality(task, method, first, last):
    """docs/theory.md 2.4; ends are rounded to whole numbers, so they are tested two on either side."""
    betas = [first - 2, first + 2, (first + last) / 2, last - 2, last + 2]
    solutions = solve_market(paper_market(task, method), betas)
    assert [len(solution.equilibria) for solution in solutions] == [1, 2, 2, 2, 1]
    assert not any(solution.ties for solution in solutions)
    for solution in solutions[1:4]:
        assert solution.price_of_anarchy > solution.price_of_stability
        least, greatest = solution.equilibria
        assert greatest.welfare > least.welfare
        assert greatest.log_sum_surplus > least.log_sum_surplus
        assert greatest.provider_profit < least.provider_profit


def test_the_first_setting_has_the_published_numbers():
    """GSM8K, majority voting, five decimals (arXiv:2601.21839; market_sim/economy/data)."""
    solutions = solve_market(MARKETS["GSM8K majority"], [200, 1000, 100_000])
    printed = [
        (0.00457, 0.00162, 0.00032, 0.00489, 0.00595),
        (0.00580, 0.00124, 0.00025, 0.00605, 0.00684),
        (0.00711, 0.00034, 0.00007, 0.00718, 0.00726),
    ]
    for solution, row in zip(solutions, printed, strict=True):
        end = solution.paper_dynamics
        ours = (
            end.user_value,
            end.price,
            end.provider_profit,
            end.welfare,
            solution.optimum["welfare"],
        )
        assert ours == pytest.approx(row, abs=1.1e-5)
    auction = solutions[0].auction
    assert (auction.winner, auction.runner_up) == ("Qwen2.5-7B", "Qwen2.5-3B")
    ours = (auction.user_value, auction.price, auction.provider_profit, auction.welfare)
    assert ours == pytest.approx((0.00710, 0.00030, 0.00016, 0.00726), abs=1.1e-5)


def test_as_users_become_careless_every_provider_picks_its_largest_margin():
    """docs/theory.md 2.9: beta -> 0."""
    market = MARKETS["GSM8K majority"]
    (solution,) = solve_market(market, [1e-6])
    for i, level in enumerate(solution.paper_dynamics.levels.values()):
        margin = (market.price - market.cost)[0, i]
        assert level == market.compute_level[0, i, margin.argmax()]
    share = 1 / 10
    chosen = (market.price - market.cost)[0].argmax(axis=1)
    surplus = market.quality(0) - market.cost[0]
    limit = surplus.max(axis=1).sum() / surplus[range(9), chosen].sum()
    assert solution.price_of_anarchy == pytest.approx(limit, rel=1e-6)
    assert math.isclose(solution.paper_dynamics.outside_share, share, rel_tol=1e-6)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_users_to_whom_answers_are_worth_more_are_those_of_a_dearer_task(scale):
    rows = [[0.001, 0.002, 0.004], [0.0005, 0.003, 0.005]], [[0.2, 0.5, 0.6], [0.1, 0.6, 0.7]]
    scaled = solve_market(market_from_rows(*rows, value=0.01), [300.0, 2000.0], value_scale=scale)
    dearer = solve_market(market_from_rows(*rows, value=0.01 * scale), [300.0, 2000.0])
    for one, other in zip(scaled, dearer, strict=True):
        assert [e.levels for e in one.equilibria] == [e.levels for e in other.equilibria]
        assert one.paper_dynamics.welfare == pytest.approx(other.paper_dynamics.welfare, rel=1e-12)
        assert one.optimum["welfare"] == pytest.approx(other.optimum["welfare"], rel=1e-12)
        assert one.auction.user_value == pytest.approx(other.auction.user_value, rel=1e-12)
        assert one.auction.winner == other.auction.winner


@pytest.mark.parametrize("seed", range(40))
def test_at_the_largest_beta_allowed_there_still_is_an_equilibrium_and_shares_add_up(seed):
    market = random_market(seed, value=0.02)
    stake = max(float(market.quality().max()), float(market.price.max()))
    (solution,) = solve_market(market, [0.999 * MOST_DECISIVE / stake], seed)
    for profile in solution.equilibria:
        assert profile.regret_usd <= 1e-12
        assert sum(profile.shares.values()) + profile.outside_share == pytest.approx(1, abs=1e-8)
    assert solution.noise_gap >= -1e-11

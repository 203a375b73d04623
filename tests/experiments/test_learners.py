"""Runs of learners against the truth: yardsticks against the exact outcome, measures against known play."""

import numpy as np
import pytest

from market_sim.economy.solve import auction_outcome
from market_sim.experiments.learners import (
    EFFICIENT,
    EQUAL,
    EXCESS,
    LOSERS,
    MARGIN,
    TOKENS,
    TRUTHFUL,
    WINNER,
    over_seeds,
    play,
    scenario_of,
    truthful_outcome,
)
from market_sim.experiments.paper import paper_market

GSM8K = {"benchmark": "GSM8K", "method": "majority_voting"}
AIME = {"benchmark": "AIME", "method": "reasoning_effort"}
ALIKE = {"beta": 1000.0}


def scenario(market, kind, rule, rounds=20, users=ALIKE, terms=None, **more):
    regime = {"kind": kind} | (terms or {})
    return scenario_of(market, regime, rule, users=users, rounds=rounds, seed=3, **more)


def test_the_yardstick_is_the_exact_truthful_outcome_whatever_is_played():
    exact = auction_outcome(paper_market("GSM8K", "majority_voting"))
    truth = truthful_outcome(scenario(GSM8K, "pay_per_compute", {"rule": "exp3"}))
    assert truth.welfare == pytest.approx(exact.welfare, rel=1e-12)
    assert truth.user_value == pytest.approx(exact.user_value, rel=1e-12)
    assert truth.price == pytest.approx(exact.price, rel=1e-12)


def test_the_yardstick_of_users_who_differ_is_the_mean_over_them():
    values = (0.1, 1.0, 4.0)
    users = {"segments": [{"size": 50, "beta": 1000.0, "value_scale": value} for value in values]}
    truth = truthful_outcome(scenario(AIME, "second_price_auction", {"rule": "hedge"}, users=users))
    exact = [auction_outcome(paper_market("AIME", "reasoning_effort"), value) for value in values]
    assert truth.user_value == pytest.approx(np.mean([one.user_value for one in exact]), rel=1e-12)
    assert truth.welfare == pytest.approx(np.mean([one.welfare for one in exact]), rel=1e-12)


def test_the_yardstick_has_everybody_in_the_market():
    away = [{"round": 1, "leaves": ["R1-D-Qwen-7B"]}]
    played = scenario(AIME, "second_price_auction", TRUTHFUL, events=away)
    assert play(played).welfare < truthful_outcome(played).welfare


def test_from_the_truth_best_replies_never_move_and_nothing_beats_it():
    measures = (WINNER, LOSERS, EQUAL, EXCESS)
    found = play(scenario(GSM8K, "second_price_auction", {"rule": "best_reply"}), measures).measures
    assert (found[WINNER], found[LOSERS], found[EXCESS]) == (0.0, 0.0, 0.0)
    # Shares -0.25 and 0, since 0.05 is more than its lead; each with the level named and as "efficient".
    assert found[EQUAL] == 4.0


def test_no_bid_beats_the_truth_against_bids_drawn_at_random_but_an_unaudited_report_does():
    wild = {"rule": "exp3", "exploration": 1.0}
    found = play(scenario(GSM8K, "second_price_auction", wild), (EXCESS, LOSERS)).measures
    assert abs(found[EXCESS]) < 1e-15
    assert found[LOSERS] > 0.1
    reported = {"payment": "reported", "audit_probability": 0.0}
    found = play(scenario(GSM8K, "second_price_auction", wild, terms=reported), (EXCESS,)).measures
    assert found[EXCESS] > 1e-4


def test_a_first_price_winner_asks_for_its_lead_where_the_grid_is_fine_enough():
    """It is ahead by 2.18 % of its surplus: a grid in steps of 5 % leaves it nothing to ask for."""
    rule = {"rule": "best_reply"}
    coarse = play(scenario(GSM8K, "first_price_auction", rule), (WINNER,))
    fine = {"bid_shares": [0.0, 0.01, 0.02, 0.03, 0.5, 1.0]}
    shaded = play(scenario(GSM8K, "first_price_auction", rule, terms=fine), (WINNER,))
    assert (coarse.measures[WINNER], shaded.measures[WINNER]) == (0.0, 0.02)
    assert coarse.user_value == pytest.approx(coarse.welfare, rel=1e-12)
    assert shaded.user_value == pytest.approx(0.98 * shaded.welfare, rel=1e-12)


def test_tokens_are_measured_against_efficient_levels():
    market = paper_market("AIME", "reasoning_effort")
    surplus = np.where(market.offered[0], market.quality() - market.cost[0], -np.inf)
    best = {
        name: float(market.compute_level[0, i, surplus[i].argmax()])
        for i, name in enumerate(market.providers)
    }
    fixed = scenario(AIME, "pay_per_compute", {"rule": "fixed"}, rounds=4)
    for start, check in ((best, lambda x: x == pytest.approx(1.0)), ("highest", lambda x: x > 1.0)):
        played = fixed | {"providers": fixed["providers"] | {"start": start}}
        assert check(play(played, (TOKENS,)).measures[TOKENS])


def test_best_replies_in_flat_prices_are_efficient_at_bertrand_margins():
    found = play(
        scenario(GSM8K, "flat_price", {"rule": "best_reply"}, rounds=60), (EFFICIENT, MARGIN)
    ).measures
    assert found[EFFICIENT] == pytest.approx(1.0)
    assert found[MARGIN] == pytest.approx(1.0, abs=0.1)  # neighbours on the grid are 19 % apart


def test_intervals_over_seeds_are_those_of_student():
    measured = over_seeds([1.0, 2.0, 3.0])
    assert (measured.mean, measured.largest) == (2.0, 3.0)
    assert measured.half_width == pytest.approx(4.302653 / np.sqrt(3))
    assert measured.percent == "200.0 +- 248.4"
    assert np.isnan(over_seeds([0.5]).half_width)
    assert over_seeds([0.5]).percent == "50.0"

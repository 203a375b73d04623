"""Rounds of the market: with 2,000 users, and of bandits against expected demand in many runs at once."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import reference
from benchmarks.conftest import Figures
from benchmarks.markets import nine_providers
from benchmarks.plain_mesa import PlainMarket, plain_market
from market_sim.economy.market import alike_users, continuum
from market_sim.economy.regimes import REGIMES
from market_sim.simulation.batch import play_many
from market_sim.simulation.round import Parts, Record, State, begin, play_round
from market_sim.theory.learning import RULES
from market_sim.theory.streams import activation_orders

USERS, BETA, ROUNDS, PLAIN_ROUNDS, SEED = 2000, 1000.0, 200, 5, 1
RUNS, LONG, ALONE = 100, 1000, 500
BANDITS = ("exp3", "epsilon_greedy", "ucb1", "thompson", "q_learning")


def played_from_new(regime: str, rule: str) -> tuple[Callable, Callable]:
    """`ROUNDS` rounds as a function, and what makes its inputs anew, so that nothing is remembered."""

    def setup():
        market = nine_providers()
        parts = Parts(
            market=market,
            users=alike_users(USERS, BETA),
            regime=REGIMES[regime],
            rules=(RULES[rule](),) * market.n_providers,
            seed=SEED,
        )
        return (parts,), {}

    def play(parts: Parts) -> tuple[State, Record]:
        state, record = begin(parts)
        for _ in range(ROUNDS):
            state, record = play_round(parts, state)
        return state, record

    return play, setup


def plain_users() -> PlainMarket:
    return plain_market([1.0] * USERS, [BETA] * USERS, [0.0] * USERS)


def in_rounds(play: Callable[[], None]) -> Callable[[], None]:
    def rounds() -> None:
        for _ in range(PLAIN_ROUNDS):
            play()

    return rounds


def test_a_round_of_posted_prices(figures: Figures) -> None:
    play, setup = played_from_new("pay_per_compute", "better_reply")
    state, record = figures.time(play, rounds=5, setup=setup)

    model = plain_users()
    _, plain_s = figures.plain(in_rounds(model.play_posted))
    market = nine_providers()
    value, margin = (market.quality() - market.price[0]).tolist(), (market.price - market.cost)[0].tolist()
    levels = reference.better_replies(value, margin, BETA, activation_orders(SEED, 9))
    assert tuple(state.actions[0].tolist()) == levels
    assert record.row.expected_welfare_usd == pytest.approx(reference.welfare(value, margin, BETA, levels))
    figures.write(
        f"play_round, pay per compute, better replies, 2,000 users, per round of {ROUNDS}",
        per=ROUNDS,
        shown_per=ROUNDS,
        reference=f"Mesa, {USERS:,} user agents, {PLAIN_ROUNDS} rounds: {{}}",
        reference_s=plain_s,
        reference_per=PLAIN_ROUNDS,
    )


def test_a_round_of_truthful_auctions(figures: Figures) -> None:
    play, setup = played_from_new("second_price_auction", "truthful")
    _, record = figures.time(play, rounds=5, setup=setup)

    model = plain_users()
    _, plain_s = figures.plain(in_rounds(model.play_auction))
    winner, level, standing = reference.auction(model.worth, model.costs, model.alpha)
    assert record.providers.requests[0].tolist() == [USERS * (i == winner) for i in range(9)]
    assert record.providers.compute_level[0, winner] == nine_providers().compute_level[0, winner, level]
    assert record.row.expected_user_value_usd == pytest.approx(standing)
    figures.write(
        f"play_round, second price, truthful, 2,000 users, per round of {ROUNDS}",
        per=ROUNDS,
        shown_per=ROUNDS,
        reference=f"Mesa, {USERS:,} user agents, {PLAIN_ROUNDS} rounds: {{}}",
        reference_s=plain_s,
        reference_per=PLAIN_ROUNDS,
    )


@pytest.mark.parametrize("rule", BANDITS)
def test_a_hundred_thousand_rounds_of_nine_bandits(figures: Figures, rule: str) -> None:
    market = nine_providers()
    parts = Parts(
        market=market,
        users=continuum(USERS, BETA),
        regime=REGIMES["pay_per_compute"],
        rules=(RULES[rule](),) * market.n_providers,
        demand="expected",
        metrics_every=10**9,
    )
    plays = figures.time(lambda: play_many(parts, range(RUNS), LONG), rounds=3, warmup=1)

    def alone() -> list[np.ndarray]:
        first = replace(parts, seed=SEED)
        state, _ = begin(first)
        actions = [state.actions[0]]
        for _ in range(ALONE):
            state, _ = play_round(first, state)
            actions.append(state.actions[0])
        return actions

    actions, alone_s = figures.plain(alone)
    np.testing.assert_array_equal(plays.actions[SEED, : ALONE + 1], actions)
    figures.write(
        f"{RUNS * LONG:,} rounds of nine bandits ({rule}), {RUNS} runs of {LONG:,} at once",
        target_s=3.0,
        per=RUNS * LONG,
        reference=f"play_round, one run of {ALONE} rounds: {{}}",
        reference_s=alone_s,
        reference_per=ALONE,
    )

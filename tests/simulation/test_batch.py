"""Many runs at once are the runs they stand for, row by row and to the last bit."""

from dataclasses import replace

import numpy as np
import pytest

from market_sim.economy.market import UserPopulation, alike_users, continuum
from market_sim.economy.regimes import REGIMES
from market_sim.simulation.batch import play_many
from market_sim.simulation.parts import Parts
from market_sim.simulation.round import begin, play_round
from market_sim.theory.learning import RULES
from market_sim.theory.rule import AUCTIONS
from tests.markets import paper_market

ROUNDS, SEEDS = 70, [3, 0, 11]
"""More rounds than random numbers are drawn for at once."""

PAIRS = [
    (regime, rule)
    for regime in REGIMES
    for rule, family in RULES.items()
    if regime in family.regimes - AUCTIONS
]


def parts_with(regime: str, *rules: str, **changes) -> Parts:
    market = paper_market("GSM8K", "majority_voting", MODELS)
    users = continuum(500, 800.0)
    prepared = REGIMES[regime].prepare(REGIMES[regime], market, users)
    recall = {"q_learning": {"recall": "none"}}
    made = {name: RULES[name](**recall.get(name, {})) for name in rules}
    names = [rules[i % len(rules)] for i in range(market.n_providers)]
    return Parts(
        market=market,
        users=users,
        regime=prepared,
        rules=tuple(made[name] for name in names),
        demand="expected",
        metrics_every=10**6,
        **changes,
    )


MODELS = ("Llama-3-8B", "Qwen2-7B", "Qwen2.5-7B", "Qwen2-1.5B")


def row_by_row(parts: Parts, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actions, profit per request and welfare of every round of `play_round`."""
    parts = replace(parts, seed=seed)
    state, record = begin(parts)
    records = [record]
    for _ in range(ROUNDS):
        state, record = play_round(parts, state)
        records.append(record)
    people = parts.users.n_people
    return (
        np.stack([one.actions[0] for one in records]),
        np.stack([one.providers.profit_usd[0] / people for one in records]),
        np.array([one.row.expected_welfare_usd for one in records]),
    )


def assert_same_rows(parts: Parts) -> None:
    plays = play_many(parts, SEEDS, ROUNDS)
    for run, seed in enumerate(SEEDS):
        actions, profit, welfare = row_by_row(parts, seed)
        np.testing.assert_array_equal(plays.actions[run], actions)
        np.testing.assert_array_equal(plays.profit_usd[run], profit)
        np.testing.assert_allclose(plays.welfare_usd[run], welfare, rtol=1e-12)


@pytest.mark.parametrize(("regime", "rule"), PAIRS)
def test_every_rule_plays_the_rows_of_play_round(regime, rule):
    assert_same_rows(parts_with(regime, rule))


@pytest.mark.parametrize("activation", ["default", "one_at_a_time", "simultaneous"])
def test_rules_side_by_side_play_the_rows_of_play_round_whoever_moves(activation):
    assert_same_rows(
        parts_with("pay_per_compute", "exp3", "best_reply", "hedge", "imitation", activation=activation)
    )


def test_a_run_is_the_same_whatever_other_seeds_run_beside_it():
    parts = parts_with("pay_per_compute", "thompson")
    together, alone = play_many(parts, SEEDS, ROUNDS), play_many(parts, [SEEDS[1]], ROUNDS)
    np.testing.assert_array_equal(together.actions[1], alone.actions[0])
    assert (together.actions[0] != together.actions[1]).any()


def auction() -> Parts:
    return parts_with("second_price_auction", "exp3")


def sampled() -> Parts:
    parts = parts_with("pay_per_compute", "exp3")
    return replace(parts, users=alike_users(50, 800.0), demand="sampled")


def different() -> Parts:
    users = UserPopulation(value_scale=np.array([1.0, 2.0]), beta=np.full(2, 800.0), size=np.array([5, 5]))
    return replace(parts_with("pay_per_compute", "exp3"), users=users)


def full() -> Parts:
    return replace(parts_with("pay_per_compute", "exp3"), capacity=np.full(len(MODELS), 10.0))


@pytest.mark.parametrize(
    ("parts", "says"),
    [(auction, "auctions"), (sampled, "sampled"), (different, "users who differ"), (full, "full or away")],
)
def test_what_needs_more_than_profits_is_refused(parts, says):
    with pytest.raises(ValueError, match=says):
        play_many(parts(), SEEDS, ROUNDS)

"""Random numbers by name: what one draws never moves another."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from market_sim.theory.streams import Role, activation_order, activation_orders, stream

keys = st.tuples(st.integers(0, 2**63), st.sampled_from(Role), st.text(max_size=8), st.integers(0, 2**31))


@given(key=keys)
def test_the_same_key_gives_the_same_numbers(key):
    seed, role, name, round_number = key
    first = stream(seed, role, name, round_number).random(5)
    assert first.tolist() == stream(seed, role, name=name, round=round_number).random(5).tolist()


def test_every_other_seed_role_name_or_round_gives_other_numbers():
    names = ["", "a", "b", "Qwen", "qwen", "Llama-3.1-8B", "R1-D-Qwen-1.5B"]
    drawn = [
        stream(*key).random() for key in itertools.product([0, 1, 2, 2**40], Role, names, [0, 1, 2, 1000])
    ]
    assert len(set(drawn)) == len(drawn) == 4 * len(Role) * 7 * 4


def test_streams_of_neighbouring_keys_are_unrelated():
    """Correlations between streams that differ in one place stay within four standard errors."""
    n = 20_000
    base = stream(1, Role.CHOICES, "a", 1).random(n)
    for other in (
        stream(2, Role.CHOICES, "a", 1),
        stream(1, Role.OUTCOMES, "a", 1),
        stream(1, Role.CHOICES, "b", 1),
        stream(1, Role.CHOICES, "a", 2),
    ):
        assert abs(np.corrcoef(base, other.random(n))[0, 1]) < 4 / np.sqrt(n)


def test_an_extra_draw_by_one_moves_no_other():
    one, other = stream(5, Role.LEARNING, "a"), stream(5, Role.LEARNING, "b")
    undisturbed = stream(5, Role.LEARNING, "b").random(3).tolist()
    one.random(1000)
    stream(5, Role.ACTIVATION).permutation(9)
    assert other.random(3).tolist() == undisturbed


def test_the_global_generator_is_left_alone():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    stream(1, Role.TASKS).random(10)
    activation_order(1, 5, 0)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_roles_are_never_renumbered():
    """They are part of every seed: a changed number changes every published run."""
    assert {role.name: role.value for role in Role} == {
        "USER_TYPES": 1,
        "TASKS": 2,
        "CHOICES": 3,
        "OUTCOMES": 4,
        "LEARNING": 5,
        "ACTIVATION": 6,
        "NETWORK": 7,
        "AUDITS": 8,
        "ARRIVALS": 9,
        "QUESTIONS": 10,
        "DIFFICULTIES": 12,
        "SYNTHETIC_QUESTIONS": 20,
        "SYNTHETIC_SAMPLES": 21,
    }


def test_a_stream_is_the_seed_sequence_it_is_documented_to_be():
    """CRC-32 of "123456789" is 0xCBF43926, the check value of its definition."""
    sequence = np.random.SeedSequence(42, spawn_key=(7, 0xCBF43926, 3))
    expected = np.random.Generator(np.random.PCG64(sequence)).random(4)
    assert stream(42, Role.NETWORK, "123456789", 3).random(4).tolist() == expected.tolist()


@given(seed=st.integers(0, 2**32), n=st.integers(1, 12), cycle=st.integers(0, 10_000))
def test_an_activation_order_gives_everybody_one_turn(seed, n, cycle):
    order = activation_order(seed, n, cycle)
    assert sorted(order.tolist()) == list(range(n))
    assert order.tolist() == activation_order(seed, n, cycle).tolist()


def test_activation_orders_are_the_orders_of_the_cycles():
    orders = itertools.islice(activation_orders(9, 6), 20)
    listed = [order.tolist() for order in orders]
    assert listed == [activation_order(9, 6, cycle).tolist() for cycle in range(20)]
    assert len({tuple(order) for order in listed}) > 15


@pytest.mark.parametrize("n", [2, 3])
def test_every_order_of_turns_is_equally_likely(n):
    seen = [tuple(order.tolist()) for order in itertools.islice(activation_orders(31, n), 3000)]
    counts = [seen.count(order) for order in itertools.permutations(range(n))]
    assert stats.chisquare(counts).pvalue > 1e-3

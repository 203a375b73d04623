"""Providers with room for so many requests a round (docs/round.md, step 4)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.economy.regimes import REGIMES
from market_sim.simulation.capacity import shared_out
from market_sim.simulation.providers import counterfactual
from market_sim.simulation.round import Parts, begin, play_round
from market_sim.theory.learning import RULES
from tests.markets import population, random_market
from tests.worlds import read_only

MARKET = random_market(4, value=0.02, outside_value=0.0005)
BETAS, SCALES = np.geomspace(100, 3000, 60), np.random.default_rng(5).uniform(0.4, 2.0, 60)
PEOPLE = population(BETAS, value_scale=SCALES)
CROWD = population(np.tile(BETAS, 50), value_scale=np.tile(SCALES, 50))
SMALL_SEGMENTS = population(BETAS, size=3, value_scale=SCALES)
SOME_ROOM = read_only([11.0, 7.0, 200.0])
KINDS = ["pay_per_compute", "flat_price", "second_price_auction", "first_price_auction"]


def parts_of(users, capacity, kind: str = "pay_per_compute", **changes) -> Parts:
    regime = REGIMES[kind].prepare(REGIMES[kind], MARKET, users)
    return Parts(
        market=MARKET,
        users=users,
        regime=regime,
        rules=(RULES["fixed"](),) * 3,
        capacity=capacity,
        seed=2,
        metrics_every=10**6,
        **changes,
    )


def requests(parts: Parts, rounds: int) -> np.ndarray:
    """Requests that each provider served, (rounds, N)."""
    state, _ = begin(parts)
    served = []
    for _ in range(rounds):
        state, record = play_round(parts, state)
        served.append(record.providers.requests[0])
    return np.array(served)


@given(
    wishes=st.lists(st.integers(0, 10**9), min_size=1, max_size=30),
    part=st.floats(0, 1),
    u=st.floats(0, 1, exclude_max=True),
)
def test_places_are_shared_out_whole_even_and_to_the_last_one(wishes, part, u):
    wishes = np.array(wishes, dtype=float)
    places = np.floor(part * wishes.sum())
    given_out = shared_out(places, wishes, u)
    assert given_out.sum() == places
    assert (given_out == np.round(given_out)).all()
    assert ((given_out >= 0) & (given_out <= wishes)).all()
    if wishes.sum() > 0:
        assert (np.abs(given_out - places * wishes / wishes.sum()) <= 1 + 1e-6).all()


def test_everybody_has_the_same_chance_of_the_odd_place():
    chances = (np.arange(2000) + 0.5) / 2000
    mean = np.mean([shared_out(4, np.full(6, 3.0), u) for u in chances], axis=0)
    np.testing.assert_allclose(mean, 4 / 6, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("users", [PEOPLE, SMALL_SEGMENTS], ids=["people", "segments"])
def test_nobody_serves_more_than_it_has_room_for_and_who_is_wanted_is_full(kind, users):
    wanted = requests(parts_of(users, None, kind), 20)
    room = read_only(np.floor(0.6 * wanted.min(axis=0)))
    assert room.sum() > 0
    served = requests(parts_of(users, room, kind), 20)
    np.testing.assert_array_equal(served, np.tile(room, (20, 1)))


@pytest.mark.parametrize("users", [CROWD, SMALL_SEGMENTS], ids=["people", "segments"])
@pytest.mark.parametrize("share", [(0.2, 0.1, 9.0), (0.0, 0.5, 0.3), (0.1, 0.1, 0.1)])
def test_what_is_drawn_is_what_is_expected_on_average(users, share):
    parts = parts_of(users, read_only(np.round(np.array(share) * users.n_people)))
    drawn = requests(parts, 60)
    _, record = begin(replace(parts, demand="expected"))
    expected = record.providers.requests[0]
    error = drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn))
    # A crowd is not quite a continuum: when a place is the last one varies.
    np.testing.assert_array_less(np.abs(drawn.mean(axis=0) - expected), 4 * error + 0.01 * expected + 1e-9)


def test_room_that_nobody_needs_changes_nothing():
    for users in (PEOPLE, SMALL_SEGMENTS):
        plain, roomy = (requests(parts_of(users, room), 10) for room in (None, read_only([1e9] * 3)))
        np.testing.assert_array_equal(plain, roomy)


@pytest.mark.parametrize("kind", KINDS)
def test_what_could_be_earned_counts_no_more_requests_than_there_is_room_for(kind):
    free, tight = parts_of(PEOPLE, None, kind), parts_of(PEOPLE, SOME_ROOM, kind)
    actions, everybody = begin(free)[0].actions, np.arange(3)
    unlimited = counterfactual(free, actions, PEOPLE, 0, everybody)
    limited = counterfactual(tight, actions, PEOPLE, 0, everybody)
    allowed = np.isfinite(unlimited.usd())
    demand = unlimited.share * PEOPLE.n_people
    cut = np.where(demand > SOME_ROOM[:, None], SOME_ROOM[:, None] / np.maximum(demand, 1e-300), 1.0)
    assert (cut < 1).any()
    np.testing.assert_allclose(limited.usd()[allowed], (unlimited.usd() * cut)[allowed], rtol=1e-12)

"""The users that are drawn: few, near each other, linked as they are, coloured by whom they buy from."""

import numpy as np
import pytest

from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.timeline import timeline_of
from market_sim.simulation.portrait import MOST_DRAWN, bought_from, in_proportion, portrait_of
from market_sim.simulation.round import begin, play_round

MARKET = {"benchmark": "GSM8K", "method": "majority_voting"}


def parts_of(count: int, **users):
    scenario = {"name": "drawn", "market": MARKET, "users": {"count": count, **users}}
    return timeline_of(load_scenario(scenario)).first


def hearing(kind: str, **parameters) -> dict:
    return {"information": "experience", "network": {"kind": kind, **parameters}}


@pytest.mark.parametrize("count", [40, 1000])
@pytest.mark.parametrize("kind", ["none", "complete", "random", "small_world", "scale_free"])
def test_no_more_users_are_drawn_than_there_are_or_than_fit_and_nobody_twice(count, kind):
    portrait = portrait_of(parts_of(count, **hearing(kind)))
    assert len(portrait.user) == len(portrait.place) == min(count, MOST_DRAWN)
    assert len(set(portrait.user.tolist())) == len(portrait.user)
    assert (np.hypot(*portrait.place.T) <= 1).all()


def test_links_that_are_drawn_are_those_of_the_network_among_the_drawn():
    parts = parts_of(1000, **hearing("small_world"))
    portrait, network = portrait_of(parts), parts.experience.network
    drawn = set(portrait.user.tolist())
    there = {
        (min(user, heard), max(user, heard))
        for user in drawn
        for heard in network.indices[network.indptr[user] : network.indptr[user + 1]].tolist()
        if heard in drawn
    }
    shown = {tuple(sorted(pair)) for pair in portrait.user[portrait.links].tolist()}
    assert shown == there
    assert len(portrait.links) == len(there)


def test_the_same_parts_give_the_same_portrait():
    one, other = (portrait_of(parts_of(500, **hearing("random"))) for _ in range(2))
    np.testing.assert_array_equal(one.place, other.place)


def test_dots_have_the_provider_their_user_last_bought_from():
    parts = parts_of(80)
    state, _ = begin(parts)
    portrait = portrait_of(parts)
    assert (bought_from(parts, state, portrait) == -1).all()
    state, record = play_round(parts, state)
    bought = bought_from(parts, state, portrait)
    counted = np.bincount(bought[bought >= 0], minlength=parts.market.n_providers)
    np.testing.assert_array_equal(counted, record.providers.requests.sum(axis=0))


def test_a_continuum_is_drawn_in_proportion_to_shares():
    portrait = portrait_of(parts_of(80, demand="expected"))
    assert portrait.user is None
    dots = in_proportion(np.array([0.5, 0.0, 0.25]), 200)
    assert [(dots == i).sum() for i in (0, 1, 2, -1)] == [100, 0, 50, 50]
    assert (in_proportion(np.array([0.3, 0.7]), 300) >= 0).all()

"""Users choose by the multinomial logit, exactly (docs/theory.md, section 2)."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from market_sim.theory.blocks import BLOCK, FEW
from market_sim.theory.choice import (
    OUTSIDE,
    choose,
    log_shares,
    log_sum_surplus,
    log_total,
    sample_alike,
    sample_choices,
)
from tests import oracles
from tests.worlds import outside_values, rationalities, read_only, seeds

offers = st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=6).map(read_only)
"""Net values of what is offered, USD per query."""


def rounding(beta: float) -> float:
    """What doubles can do at utilities up to 0.05 beta."""
    return 1e-12 + 1e-16 * beta


def crowd(rng: np.random.Generator, n_users: int) -> dict[str, np.ndarray]:
    """Users who differ in everything, some of them choosing at random."""
    beta = 10 ** rng.uniform(0, 6, n_users)
    beta[rng.random(n_users) < 0.1] = 0.0
    return {
        "value_scale": read_only(rng.choice([0.008, 0.02, 0.05], n_users)),
        "beta": read_only(beta),
        "weight": read_only(rng.uniform(0.5, 2.0, n_users) / n_users),
        "uniforms": read_only(rng.random(n_users)),
    }


QUALITY = read_only([0.55, 0.82, 0.91, 0.60])
PRICE = read_only([0.0003, 0.0021, 0.0090, 0.0007])


@given(values=offers, beta=rationalities, outside_value=outside_values)
def test_log_shares_are_exact_at_every_rationality(values, beta, outside_value):
    shares, outside = log_shares(values, beta, outside_value)
    exact_shares, exact_outside = oracles.log_shares(values, beta, outside_value)
    np.testing.assert_allclose(shares, exact_shares, rtol=1e-14, atol=rounding(beta))
    np.testing.assert_allclose(outside, exact_outside, rtol=1e-14, atol=rounding(beta))
    assert np.exp(shares).sum() + np.exp(outside) == pytest.approx(1.0, abs=1e-9)


@given(values=offers, beta=rationalities, outside_value=outside_values)
def test_log_total_is_the_log_of_the_sum_over_all_options(values, beta, outside_value):
    exact = oracles.log_total(values, beta, outside_value)
    assert log_total(values, beta, outside_value) == pytest.approx(exact, rel=1e-14, abs=1e-12)


def test_at_rationality_zero_everyone_chooses_at_random_among_what_is_offered():
    values = read_only([0.004, -np.inf, -0.03])
    shares, outside = log_shares(values, 0.0, 0.01)
    assert np.exp(shares) == pytest.approx([1 / 3, 0, 1 / 3], abs=1e-16)
    assert np.exp(outside) == pytest.approx(1 / 3, abs=1e-16)


def test_at_a_rationality_of_a_million_the_best_offer_takes_all_and_no_share_underflows():
    shares, outside = log_shares(read_only([0.0041, 0.0040, -0.05]), 1e6)
    assert shares == pytest.approx([0.0, -100.0, -54100.0], rel=1e-12)
    assert outside == pytest.approx(-4100.0, rel=1e-12)


@given(
    games=st.lists(st.tuples(offers, rationalities, outside_values), min_size=1, max_size=4),
)
def test_a_batch_of_markets_is_the_markets_one_by_one(games):
    n = max(len(values) for values, _, _ in games)
    padded = np.full((len(games), n), -np.inf)
    for row, (values, _, _) in zip(padded, games, strict=True):
        row[: len(values)] = values
    beta = np.array([b for _, b, _ in games])
    outside_value = np.array([v for _, _, v in games])
    shares, outside = log_shares(padded, beta, outside_value)
    surplus = log_sum_surplus(padded, beta, outside_value)
    for g, (values, b, v) in enumerate(games):
        alone, alone_outside = log_shares(values, b, v)
        np.testing.assert_allclose(shares[g, : len(values)], alone, rtol=1e-15, atol=1e-14)
        np.testing.assert_allclose(outside[g], alone_outside, rtol=1e-15, atol=1e-14)
        np.testing.assert_allclose(surplus[g], log_sum_surplus(values, b, v), rtol=1e-13, atol=1e-16)
        assert (shares[g, len(values) :] == -np.inf).all()


@given(values=offers, beta=st.floats(0, 6).map(lambda power: 10.0**power), outside_value=outside_values)
def test_the_log_sum_is_the_surplus_of_small_and_rosen(values, beta, outside_value):
    surplus = log_sum_surplus(values, beta, outside_value)
    exact = oracles.log_sum_surplus(values, beta, outside_value)
    # It is what is left after beta * outside_value is taken away again, divided by beta.
    assert surplus == pytest.approx(exact, rel=1e-12, abs=1e-15 + 1e-14 / beta)
    assert surplus >= 0


@given(values=offers, beta=st.floats(0, 6).map(lambda power: 10.0**power), seed=seeds)
def test_a_cent_off_a_price_is_worth_its_buyers_share(values, beta, seed):
    """Roy's identity: d(log-sum surplus)/d v_i = s_i (Small & Rosen 1981)."""
    i = seed % len(values)
    step = 1e-3 / beta
    up, down = values.copy(), values.copy()
    up[i] += step
    down[i] -= step
    slope = (log_sum_surplus(up, beta) - log_sum_surplus(down, beta)) / (up[i] - down[i])
    share = np.exp(log_shares(values, beta)[0][i])
    assert slope == pytest.approx(share, abs=1e-6 + 1e-12 * beta)


def test_the_log_sum_is_infinite_where_tastes_outweigh_every_price():
    surplus = log_sum_surplus(read_only([0.01, -0.01]), read_only([0.0, 100.0]), 0.002)
    assert surplus[0] == np.inf
    assert 0 < surplus[1] < np.inf
    assert log_sum_surplus(read_only([0.01]), 0.0) == np.inf


@pytest.mark.parametrize("beta", [0.0, 200.0, 1000.0, 100_000.0])
def test_the_shares_of_a_million_simulated_users_match_the_logit(beta):
    """Per cell within four standard errors, and jointly by a chi-square test."""
    n_users = 1_000_000
    alpha = 0.008
    values = alpha * QUALITY - PRICE
    shares, outside = (np.exp(s) for s in log_shares(values, beta, 0.001))
    uniforms = np.random.default_rng(20260121).random(n_users)
    alike = sample_alike(shares, uniforms)
    users = {"value_scale": np.full(n_users, alpha), "beta": np.full(n_users, beta)}
    index = sample_choices(quality=QUALITY, price=PRICE, outside_value=0.001, uniforms=uniforms, **users)
    # The same draw buys the same answer either way, but for draws within rounding of a boundary.
    np.testing.assert_array_equal(index, alike)

    probabilities = np.append(shares, outside)
    counts = np.bincount(np.where(index == OUTSIDE, len(values), index), minlength=len(values) + 1)
    error = np.sqrt(n_users * probabilities * (1 - probabilities))
    large = n_users * probabilities >= 10
    assert (np.abs(counts - n_users * probabilities) <= 4 * error)[large].all()
    expected = np.append(probabilities[large], probabilities[~large].sum()) * n_users
    seen = np.append(counts[large], counts[~large].sum())
    if expected[-1] < 10:  # the pooled cell is itself too small to test: join it to the smallest other
        smallest = expected[:-1].argmin()
        expected[smallest] += expected[-1]
        seen[smallest] += seen[-1]
        expected, seen = expected[:-1], seen[:-1]
    if len(seen) > 1:
        assert stats.chisquare(seen, expected * (n_users / expected.sum())).pvalue > 1e-3
    else:
        assert seen[0] == n_users


def test_users_who_differ_choose_on_average_what_is_expected_of_them():
    n_users = 400_000
    users = crowd(np.random.default_rng(7), n_users)
    users["weight"] = np.full(n_users, 1 / n_users)
    chosen = choose(quality=QUALITY, price=PRICE, outside_value=0.001, **users)
    seen = np.bincount(chosen.index[chosen.index != OUTSIDE], minlength=4) / n_users
    # The variance of a mean of unequal Bernoullis is largest when they are equal.
    error = np.sqrt(chosen.share * (1 - chosen.share) / n_users)
    assert (np.abs(seen - chosen.share) <= 4 * error).all()
    assert seen.min() > 0.01


@given(seed=seeds, n_users=st.integers(1, 12), outside_value=outside_values)
def test_expected_shares_are_the_sum_over_users_one_at_a_time(seed, n_users, outside_value):
    users = crowd(np.random.default_rng(seed), n_users)
    chosen = choose(quality=QUALITY, price=PRICE, outside_value=outside_value, **users)
    share, value_share, surplus = np.zeros(4), np.zeros(4), 0.0
    for alpha, beta, weight in zip(users["value_scale"], users["beta"], users["weight"], strict=True):
        values = alpha * QUALITY - PRICE
        own = np.array([float(s) for s in oracles.logit_shares(values, beta, outside_value)[0]])
        share += weight * own
        value_share += weight * alpha * own
        surplus += weight * (oracles.log_sum_surplus(values, beta, outside_value) if beta else np.inf)
    np.testing.assert_allclose(chosen.share, share, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(chosen.value_share, value_share, rtol=1e-9, atol=1e-17)
    assert chosen.log_sum_usd == pytest.approx(surplus, rel=1e-10)


@given(seed=seeds, n_users=st.integers(1, 50), outside_value=outside_values)
def test_each_user_picks_the_option_its_uniform_falls_on(seed, n_users, outside_value):
    """The inverse of the cumulated shares, user by user; `choose` and `sample_choices` agree."""
    users = crowd(np.random.default_rng(seed), n_users)
    weight = users.pop("weight")
    index = sample_choices(quality=QUALITY, price=PRICE, outside_value=outside_value, **users)
    chosen = choose(quality=QUALITY, price=PRICE, outside_value=outside_value, weight=weight, **users)
    np.testing.assert_array_equal(index, chosen.index)
    for u in range(n_users):
        values = users["value_scale"][u] * QUALITY - PRICE
        shares, _ = oracles.logit_shares(values, users["beta"][u], outside_value)
        ends = np.cumsum([0.0, *map(float, shares)])
        start, end = (ends[4], 1.0) if index[u] == OUTSIDE else ends[index[u] : index[u] + 2]
        assert start - 1e-9 <= users["uniforms"][u] <= end + 1e-9


def test_an_option_owns_the_uniforms_from_its_lower_end_up_to_but_without_its_upper_end():
    """Binary fractions, so that the boundaries are exact."""
    below = np.nextafter([0.25, 0.5, 0.75, 1.0], 0.0)
    uniforms = read_only(np.sort([0.0, 0.25, 0.5, 0.75, *below]))
    expected = [0, 0, 1, 1, 2, 2, OUTSIDE, OUTSIDE]
    assert sample_alike(read_only([0.25, 0.25, 0.25]), uniforms).tolist() == expected
    index = sample_choices(
        quality=read_only([0.5, 0.7, 0.9]),
        price=read_only([0.001, 0.002, 0.003]),
        value_scale=np.full(8, 0.01),
        beta=np.zeros(8),
        outside_value=0.0,
        uniforms=uniforms,
    )
    assert index.tolist() == expected


def test_a_crowd_larger_than_a_block_is_the_sum_of_its_parts():
    n_users = (FEW + 1) * BLOCK + 1234  # enough for several threads
    users = crowd(np.random.default_rng(11), n_users)
    users["beta"] = np.maximum(users["beta"], 1.0)
    market = {"quality": QUALITY, "price": PRICE, "outside_value": 0.0005}
    whole = choose(**market, **users)
    cuts = [0, 1, 1000, BLOCK - 1, BLOCK + 7, n_users]
    parts = [
        choose(**market, **{name: array[a:b] for name, array in users.items()})
        for a, b in itertools.pairwise(cuts)
    ]
    np.testing.assert_array_equal(whole.index, np.concatenate([p.index for p in parts]))
    np.testing.assert_allclose(whole.share, sum(p.share for p in parts), rtol=1e-12)
    np.testing.assert_allclose(whole.value_share, sum(p.value_share for p in parts), rtol=1e-12)
    assert whole.log_sum_usd == pytest.approx(sum(p.log_sum_usd for p in parts), rel=1e-12)
    del users["weight"]
    np.testing.assert_array_equal(whole.index, sample_choices(**market, **users))


def test_sampling_does_not_change_what_is_expected():
    users = crowd(np.random.default_rng(5), 100)
    sampled = choose(quality=QUALITY, price=PRICE, outside_value=0.0, **users)
    users["uniforms"] = None
    expected = choose(quality=QUALITY, price=PRICE, outside_value=0.0, **users)
    assert expected.index is None
    assert expected.share.tolist() == sampled.share.tolist()
    assert expected.value_share.tolist() == sampled.value_share.tolist()
    assert expected.log_sum_usd == sampled.log_sum_usd == np.inf

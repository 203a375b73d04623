"""Users who learn from experience and from each other (docs/theory.md 6.1)."""

from dataclasses import replace

import numpy as np
import pytest

from market_sim.economy.market import UserPopulation
from market_sim.economy.regimes import REGIMES
from market_sim.simulation.experience import Experience, Lived, average_offer, first_estimates, lived
from market_sim.simulation.network import make_network
from market_sim.simulation.round import Parts, State, begin, play_round
from market_sim.theory.learning import RULES
from tests.markets import DIFFERENT, market_from_rows, paper_market, population, random_market


def experience(
    n_users: int, n_tasks: int = 1, prior: float = 0.003, kind: str = "none", **settings
) -> Experience:
    network = make_network(kind, n_users, 4, {"neighbours": 4} if kind == "small_world" else {})
    believed = np.full((n_tasks, n_users), prior, dtype=np.float32)
    return Experience(prior=believed, network=network, **settings)


def parts_with(users: UserPopulation, how: Experience | None, rule: str = "fixed", **changes) -> Parts:
    market = changes.pop("market", random_market(4, value=0.02, outside_value=0.0005))
    regime = REGIMES[changes.pop("kind", "pay_per_compute")]
    rules = (RULES[rule](),) * market.n_providers
    return Parts(market=market, users=users, regime=regime, rules=rules, experience=how, seed=6, **changes)


def play(parts: Parts, rounds: int) -> list[State]:
    state, _ = begin(parts)
    states = [state]
    for _ in range(rounds):
        state, _ = play_round(parts, state)
        states.append(state)
    return states


def by_hand(how: Experience, before: np.ndarray, happened: Lived, heard_from: list[list[int]]) -> np.ndarray:
    """The same in plain loops: forget, live, hear."""
    after = before.astype(float).copy()
    tasks, providers, users = before.shape
    bought = {
        (t, u): (i, v)
        for t, u, i, v in zip(happened.task, happened.user, happened.provider, happened.net_usd, strict=True)
    }
    for t in range(tasks):
        for i in range(providers):
            for u in range(users):
                x = before[t, i, u] + how.forgetting * (how.prior[t, u] - before[t, i, u])
                served_by, value = bought.get((t, u), (None, 0.0))
                if served_by == i:
                    x += how.step * (value - x)
                if heard_from[u]:
                    heard = np.mean([before[t, i, v] for v in heard_from[u]])
                else:
                    heard = before[t, i, u]
                after[t, i, u] = x + how.trust * (heard - x)
    return after


@pytest.mark.parametrize("kind", ["none", "complete", "small_world"])
@pytest.mark.parametrize(
    "settings", [{"step": 0.2}, {"step": 1.0, "trust": 0.0}, {"forgetting": 0.3, "trust": 0.5}]
)
def test_estimates_move_as_the_formulas_say(kind, settings):
    rng, n = np.random.default_rng(3), 12
    how = experience(n, n_tasks=2, kind=kind, **settings)
    before = rng.normal(0.004, 0.002, size=(2, 3, n)).astype(np.float32)
    happened = Lived(
        user=np.array([0, 5, 7, 11]),
        task=np.array([0, 1, 0, 1]),
        provider=np.array([2, 0, 0, 1]),
        net_usd=np.array([0.01, -0.002, 0.005, 0.0]),
    )
    network = how.network
    heard_from = [[v for v in range(n) if v != u] for u in range(n)]
    if kind != "complete":
        heard_from = [network.indices[network.indptr[u] : network.indptr[u + 1]].tolist() for u in range(n)]
    kept = before.tobytes()
    got = lived(how, before, happened)
    np.testing.assert_allclose(got, by_hand(how, before, happened, heard_from), rtol=1e-5, atol=1e-8)
    assert before.tobytes() == kept
    assert got.dtype == np.float32


def test_users_choose_by_what_they_believe_and_not_by_what_is_true():
    """One provider is believed far better than it is: it gets everybody, and welfare suffers."""
    market = random_market(4, value=0.02)
    users = population([5e4] * 300)
    parts = parts_with(users, experience(300), market=market)
    state, _ = begin(parts)
    worst = int(np.argmin(market.quality()[:, 0] - market.price[0, :, 0]))
    state.estimates[0, worst] = 0.02
    after, record = play_round(parts, state)
    assert (after.last_provider == worst).all()
    assert record.providers.share[0, worst] == 1.0
    informed = play_round(
        parts_with(users, None, market=market), begin(parts_with(users, None, market=market))[0]
    )
    assert record.row.expected_welfare_usd < informed[1].row.expected_welfare_usd


def test_whoever_believes_the_truth_chooses_as_if_he_knew():
    users = DIFFERENT
    market = random_market(4, value=0.02, outside_value=0.0005)
    value = np.multiply.outer(market.quality()[:, 0], users.value_scale) - market.price[0, :, 0][:, None]
    parts = parts_with(users, experience(40), market=market)
    state, _ = begin(parts)
    state = replace(state, estimates=value[None])  # in double precision
    _, one = play_round(parts, state)
    knowing = parts_with(users, None, market=market)
    _, two = play_round(knowing, begin(knowing)[0])
    for column in ("expected_welfare_usd", "welfare_usd", "log_sum_surplus_usd", "expected_user_value_usd"):
        assert getattr(one.row, column) == pytest.approx(getattr(two.row, column), rel=1e-9)
    np.testing.assert_array_equal(one.providers.requests, two.providers.requests)
    assert one.row.estimate_error_usd == pytest.approx(0.0, abs=1e-12)


def test_estimates_come_close_to_the_truth_where_everybody_hears_everybody():
    """Many users, fixed offers, moderate noise in choice so that everybody is tried."""
    users = population([100.0] * 4000)
    errors = {}
    for kind in ("none", "complete"):
        parts = parts_with(users, experience(4000, kind=kind, step=0.1, trust=0.3), metrics_every=1)
        state, record = begin(parts)
        for _ in range(150):
            state, record = play_round(parts, state)
        errors[kind] = record.row.estimate_error_usd
    assert errors["complete"] < 0.35 * errors["none"]


def test_what_is_learnt_is_quality_less_payment_also_in_an_auction():
    users = population([1000.0] * 200)
    for kind in ("pay_per_compute", "second_price_auction", "first_price_auction"):
        how = experience(200, prior=0.0, step=1.0, trust=0.0)
        parts = parts_with(users, how, kind=kind, keep_requests=True)
        state, _ = begin(parts)
        after, record = play_round(parts, state)
        rows = record.requests
        quality = 0.02 * (0.1 + 0.9 * rows.correct)
        want = np.zeros((1, 3, 200))
        want[0, rows.provider, rows.user] = quality - rows.price_usd
        np.testing.assert_allclose(after.estimates, want, atol=1e-8)


def test_reply_rules_are_myopic_under_experience():
    """Nothing they do today moves beliefs: the level of largest margin is best (docs/round.md, step 6)."""
    market = paper_market("GSM8K", "majority_voting")
    parts = parts_with(population([1000.0] * 50), experience(50), rule="best_reply", market=market)
    state = play(parts, 9)[-1]
    margin = np.where(market.offered[0], market.price[0] - market.cost[0], -np.inf)
    np.testing.assert_array_equal(state.actions[0], margin.argmax(axis=1))


def test_the_average_offer_is_that_of_the_lowest_levels():
    market = market_from_rows([[0.001, 0.1], [0.003, 0.2]], [[0.5, 0.9], [0.7, 0.9]], value=0.02)
    users = population([1.0, 1.0], value_scale=[1.0, 3.0])
    quality = np.mean([0.02 * (0.1 + 0.9 * 0.5), 0.02 * (0.1 + 0.9 * 0.7)])
    want = [[quality - 0.002, 3 * quality - 0.002]]
    got = average_offer(market, users)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    how = Experience(prior=got, network=make_network("none", 2, 1))
    np.testing.assert_array_equal(first_estimates(how, 2), np.repeat(got[:, None], 2, axis=1))


def test_the_same_seed_gives_the_same_beliefs_and_a_state_can_be_played_on():
    parts = parts_with(DIFFERENT, experience(40, kind="small_world", forgetting=0.05), rule="exp3")
    one, two = play(parts, 10), play(parts, 10)
    assert one[-1].estimates.tobytes() == two[-1].estimates.tobytes()
    state = one[4]
    state.estimates.setflags(write=False)
    for _ in range(6):
        state, _ = play_round(parts, state)
    assert state.estimates.tobytes() == one[-1].estimates.tobytes()


def test_experience_belongs_to_people_who_are_drawn_one_by_one():
    with pytest.raises(ValueError, match="drawn one by one"):
        parts_with(population([5.0], size=[10]), experience(1))
    with pytest.raises(ValueError, match="drawn one by one"):
        parts_with(DIFFERENT, experience(40), demand="expected")


@pytest.mark.parametrize("rule", [name for name, f in RULES.items() if "pay_per_compute" in f.regimes])
def test_every_rule_plays_before_users_who_learn(rule):
    parts = parts_with(DIFFERENT, experience(40, kind="small_world"), rule=rule)
    states = play(parts, 5)
    assert np.isfinite(states[-1].estimates).all()
    assert not (states[-1].estimates == states[0].estimates).all()

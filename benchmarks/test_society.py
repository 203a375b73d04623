"""A society of a million users who differ, do not know what offers are worth, and tell each other."""

import time
import tracemalloc

import numpy as np

from benchmarks import reference
from benchmarks.conftest import Figures, number, seconds
from benchmarks.markets import nine_providers
from market_sim.economy.market import UserPopulation
from market_sim.economy.regimes import REGIMES
from market_sim.simulation.crowds import shocks_of
from market_sim.simulation.experience import Experience, average_offer
from market_sim.simulation.network import make_network
from market_sim.simulation.round import Parts, State, begin, play_round
from market_sim.theory.learning import RULES

USERS, FEW, SEED = 1_000_000, 2_000, 1


def society(n_users: int) -> Parts:
    """Users with their own value and rationality on a small world of mean degree 6; nine bandits."""
    rng, market = np.random.default_rng(SEED), nine_providers()
    users = UserPopulation(
        value_scale=rng.lognormal(0.0, 0.5, n_users),
        beta=rng.lognormal(np.log(1000.0), 0.5, n_users),
        size=np.ones(n_users, dtype=np.int64),
    )
    network = make_network("small_world", n_users, SEED, {"neighbours": 6, "rewire": 0.1})
    return Parts(
        market=market,
        users=users,
        regime=REGIMES["pay_per_compute"],
        rules=(RULES["exp3"](),) * market.n_providers,
        experience=Experience(prior=average_offer(market, users), network=network),
        seed=SEED,
        metrics_every=10**9,
    )


def plainly(parts: Parts, state: State) -> tuple[list[int], list[list[float]]]:
    """The next round of users in plain loops, before providers that stand where they stand."""
    market, users, how, n = parts.market, parts.users, parts.experience, len(parts.users.beta)
    at = (np.arange(9), state.actions[0])
    price, accuracy = market.price[0][at], market.accuracy[0][at]
    alpha = market.value_of_correct[0] * users.value_scale
    wrong = np.multiply.outer(alpha, np.full(9, market.baseline)) - price
    right = alpha[:, None] - price
    shocks = shocks_of(parts, state.round + 1)
    links = how.network
    return reference.society_round(
        state.estimates[0].T.tolist(),
        users.beta.tolist(),
        np.stack([wrong, right], axis=-1).tolist(),
        list(zip(shocks.choice.tolist(), shocks.outcome.tolist(), strict=True)),
        [links.indices[links.indptr[u] : links.indptr[u + 1]].tolist() for u in range(n)],
        accuracy.tolist(),
        how.step,
        how.trust,
    )


def test_a_round_of_a_million_users_who_learn_and_listen(figures: Figures) -> None:
    parts = society(USERS)
    state, _ = begin(parts)
    state, _ = play_round(parts, state)
    processor = []

    def whole_round() -> None:
        before = time.process_time()
        play_round(parts, state)
        processor.append(time.process_time() - before)

    figures.time(whole_round, rounds=9)

    few = society(FEW)
    before, _ = play_round(few, begin(few)[0])
    following, _ = play_round(few, before)
    # Providers revise before users choose: the loops are given where they have moved to.
    moved = State(
        round=before.round,
        actions=following.actions,
        memories=(),
        last_provider=None,
        estimates=before.estimates,
    )
    (chosen, believed), plain_s = figures.plain(lambda: plainly(few, moved), rounds=3)
    bought = np.array(chosen) >= 0
    np.testing.assert_array_equal(following.last_provider[bought], np.array(chosen)[bought])
    np.testing.assert_allclose(following.estimates[0].T, believed, rtol=1e-4, atol=1e-8)
    figures.write(
        "a round of 1,000,000 users with experience on a small world, 9 bandits",
        target_s=0.35,
        per=USERS,
        reference=f"loops over {FEW:,} users: {{}}",
        reference_s=plain_s,
        reference_per=FEW,
    )

    figures.write_amounts(
        "  processor time of all its threads (a shared machine slows the clock, not this)",
        amounts=processor,
        target=2 * 0.35,
        show=seconds,
        reference="",
        ratio="",
    )

    network, users = parts.experience.network, parts.users
    kept = [
        users.value_scale,
        users.beta,
        users.size,
        parts.experience.prior,
        network.indptr,
        network.indices,
    ]
    kept += [state.estimates, state.last_provider]
    kept += [array for block in network.blocks for array in (block.rows.indptr, block.total)]
    tracemalloc.start()
    try:
        play_round(parts, state)
        peak = tracemalloc.get_traced_memory()[1] / USERS
    finally:
        tracemalloc.stop()
    total = (sum(array.nbytes for array in kept) + network.blocks[0].rows.data.nbytes) / USERS
    figures.write_amounts(
        "  memory a user: arrays that are kept (users, network, state)",
        amounts=[total],
        target=150.0,
        show=number("B"),
        reference=f"besides, at the peak of a round: {peak:,.0f} B",
        ratio="",
    )

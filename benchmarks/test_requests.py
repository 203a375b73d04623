"""Users and requests by the million: logit choices and auctions."""

import tracemalloc

import numpy as np

from benchmarks import reference
from benchmarks.conftest import Figures, number
from benchmarks.markets import nine_providers
from benchmarks.plain_mesa import PlainMarket, plain_market
from market_sim.theory.auction import EFFICIENT, Bids, run_auctions
from market_sim.theory.choice import choose, sample_choices

USERS = 1_000_000
AGENTS = 2_000
AUCTIONS = 5_000


def crowd() -> dict:
    """A million users who all differ, before the nine providers at their middle levels."""
    rng, market = np.random.default_rng(1), nine_providers()
    return {
        "quality": market.quality()[:, 2],
        "price": market.price[0][:, 2],
        "value_scale": rng.lognormal(0.0, 0.5, USERS),
        "beta": rng.lognormal(np.log(1000.0), 0.5, USERS),
        "outside_value": 0.0,
        "uniforms": rng.random(USERS),
    }


def agents_of(users: dict) -> PlainMarket:
    """The first of those users as Mesa agents, before the same offers."""
    model = plain_market(*(users[name][:AGENTS].tolist() for name in ("value_scale", "beta", "uniforms")))
    model.quality, model.price = users["quality"].tolist(), users["price"].tolist()
    return model


def test_choices_of_a_million_users(figures: Figures) -> None:
    users = crowd()
    picked = figures.time(lambda: sample_choices(**users), rounds=15)
    model = agents_of(users)
    _, plain_s = figures.plain(lambda: model.agents.do("choose"), rounds=3)
    assert picked[:AGENTS].tolist() == [agent.provider for agent in model.agents]
    figures.write(
        "choices of 1,000,000 different users among 9",
        target_s=0.06,
        per=USERS,
        reference=f"Mesa, {AGENTS:,} user agents: {{}}",
        reference_s=plain_s,
        reference_per=AGENTS,
    )

    arrays = [users[name] for name in ("value_scale", "beta", "uniforms")]
    tracemalloc.start()
    try:
        out = sample_choices(**users)
        working = tracemalloc.get_traced_memory()[1]
        before = tracemalloc.get_traced_memory()[0]
        kept = agents_of(users)
        per_agent = (tracemalloc.get_traced_memory()[0] - before) / len(kept.agents)
    finally:
        tracemalloc.stop()
    assert (out == picked).all()
    total = (sum(array.nbytes for array in arrays) + working) / USERS
    figures.write_amounts(
        "  memory a user: inputs, and the peak of the call with its output",
        amounts=[total],
        target=60.0,
        show=number("B"),
        reference=f"a user agent with its numbers: {per_agent:,.0f} B",
        ratio=f"{per_agent / total:.3g}",
    )


def test_choices_and_expected_sums_of_a_million_users(figures: Figures) -> None:
    users = crowd() | {"weight": np.ones(USERS)}
    crowd_choices = figures.time(lambda: choose(**users), rounds=9)
    assert (crowd_choices.index == sample_choices(**{k: v for k, v in users.items() if k != "weight"})).all()

    def shares():
        return [
            reference.choice_shares((scale * users["quality"] - users["price"]).tolist(), beta)
            for scale, beta in zip(users["value_scale"][:AGENTS], users["beta"][:AGENTS], strict=True)
        ]

    plain, plain_s = figures.plain(shares, rounds=3)
    few = users | {name: users[name][:AGENTS] for name in ("value_scale", "beta", "uniforms", "weight")}
    np.testing.assert_allclose(choose(**few).share, np.sum(plain, axis=0), rtol=1e-12)
    figures.write(
        "  with expected shares, values and log-sum surplus",
        per=USERS,
        reference=f"Python, shares of {AGENTS:,} users: {{}}",
        reference_s=plain_s,
        reference_per=AGENTS,
    )


def test_a_million_auctions(figures: Figures) -> None:
    market = nine_providers()
    worth, cost, offered = market.worth[0], market.cost[0], market.offered[0]
    bids = Bids(
        worth=worth,
        claimed=worth,
        cost=cost,
        offered=offered,
        level=np.full(market.n_providers, EFFICIENT),
        share=np.zeros(market.n_providers),
    )
    value = market.value_of_correct[0] * np.random.default_rng(1).lognormal(0.0, 1.0, USERS)
    awards = figures.time(lambda: run_auctions(bids, value, 0.0), rounds=11)
    assert offered.all()
    rows = worth.tolist(), cost.tolist()
    few = value[:AUCTIONS].tolist()
    plain, plain_s = figures.plain(lambda: [reference.auction(*rows, alpha) for alpha in few], rounds=3)
    winner, level, standing = zip(*plain, strict=True)
    assert awards.winner[:AUCTIONS].tolist() == list(winner)
    assert awards.level[:AUCTIONS].tolist() == list(level)
    np.testing.assert_allclose(awards.standing[:AUCTIONS], standing, rtol=1e-12, atol=1e-15)
    figures.write(
        "1,000,000 truthful auctions, 9 providers, best of 6 levels for each request",
        target_s=0.15,
        per=USERS,
        reference=f"Python, {AUCTIONS:,} auctions: {{}} (AuctionSI 0.2, published: 4,400 a second)",
        reference_s=plain_s,
        reference_per=AUCTIONS,
    )

"""Markets solved again for every draw of their curves."""

import numpy as np
import pytest

from benchmarks import reference
from benchmarks.conftest import Figures
from benchmarks.markets import nine_providers
from market_sim.economy.draws import parametric_draws
from market_sim.economy.quality import bundled_curves, select_curves
from market_sim.economy.uncertainty import MEASURES, solve_draws
from market_sim.theory.streams import activation_orders

SEED, BETA, DRAWS, PLAIN = 1, 1000.0, 2000, 20


def test_two_thousand_draws_of_the_paper_s_market(figures: Figures) -> None:
    market = nine_providers()
    curves = select_curves(
        bundled_curves(), where="bench", benchmark="GSM8K", method="majority_voting", models=None
    )

    def solve():
        draws = parametric_draws(curves, DRAWS, SEED)
        (outcomes,) = solve_draws(market, draws, [BETA], seed=SEED)
        return draws, outcomes, {name: measure(outcomes) for name, measure in MEASURES.items()}

    draws, outcomes, found = figures.time(solve)
    price, margin = market.price[0].tolist(), (market.price - market.cost)[0].tolist()

    def one_by_one():
        """The paper's dynamics, least and greatest equilibrium, optimum and auction of each, in loops."""
        rows = []
        for accuracy in draws.accuracy[:PLAIN].tolist():
            worth = [[0.1 + 0.9 * a for a in row] for row in accuracy]
            value = [
                [0.008 * y - p for y, p in zip(ys, ps, strict=True)]
                for ys, ps in zip(worth, price, strict=True)
            ]
            end = reference.better_replies(value, margin, BETA, activation_orders(SEED, 9))
            ends = [reference.best_replies(value, margin, BETA, upwards) for upwards in (False, True)]
            rows.append(
                (
                    reference.welfare(value, margin, BETA, end),
                    min(reference.welfare(value, margin, BETA, levels) for levels in ends),
                    reference.optimum_by_dinkelbach(value, margin, BETA),
                    reference.auction(worth, market.cost[0].tolist(), 0.008)[2],
                )
            )
        return np.array(rows).T

    plain, plain_s = figures.plain(one_by_one)
    for name, expected in zip(
        ("paper_dynamics.welfare", "worst_equilibrium.welfare", "optimum.welfare", "auction.user_value"),
        plain,
        strict=True,
    ):
        assert found[name][:PLAIN] == pytest.approx(expected, rel=1e-10), name
    assert outcomes.n_equilibria.min() >= 1
    figures.write(
        f"{DRAWS:,} draws of a 9 x 6 market drawn and solved, all measures",
        target_s=1.5,
        per=DRAWS,
        reference=f"Python, {PLAIN} draws: dynamics, least and greatest equilibrium, optimum, auction: {{}}",
        reference_s=plain_s,
        reference_per=PLAIN,
    )

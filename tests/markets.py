"""Markets, users and regimes for the tests of the upper floors; all arrays are read-only."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from market_sim.economy.market import (
    PAPER_VALUE_OF_CORRECT_USD,
    Market,
    UserPopulation,
    make_market,
    make_providers,
)
from market_sim.economy.quality import bundled_curves, select_curves
from market_sim.economy.regime import Match, Regime, Terms
from market_sim.economy.regimes import REGIMES
from tests.worlds import read_only


def paper_market(
    benchmark: str,
    method: str | tuple[str, ...],
    models: Sequence[str] | None = None,
    quality_curve: str = "linear",
    **prices: float,
) -> Market:
    """Bundled curves with the paper's prices and values.  prices: outside_value_usd and the like."""
    curves = select_curves(
        bundled_curves(),
        where="test",
        benchmark=benchmark,
        method=method,
        models=None if models is None else tuple(models),
    )
    terms = {"value_of_correct_usd": PAPER_VALUE_OF_CORRECT_USD[benchmark]} | prices
    return make_market(make_providers(curves, where="test"), quality_curve=quality_curve, **terms)


def market_from_rows(
    price: Sequence[Sequence[float]],
    accuracy: Sequence[Sequence[float]],
    *,
    value: float = 0.01,
    margin: float = 0.25,
    baseline: float = 0.1,
    outside_value: float = 0.0,
    convexity: float = 1.0,
    padding: tuple[int, float, float] = (0, 1e-9, 1.0),
) -> Market:
    """A market of one task from ragged rows of USD per query and fractions; f(a) = a^convexity.

    padding  columns that nobody offers, and the price and accuracy written wherever nothing is offered
    """
    n, k = len(price), max(map(len, price)) + padding[0]
    prices, accuracies = np.full((1, n, k), padding[1]), np.full((1, n, k), padding[2])
    offered = np.zeros((1, n, k), dtype=bool)
    for i, (p, a) in enumerate(zip(price, accuracy, strict=True)):
        prices[0, i, : len(p)], accuracies[0, i, : len(a)], offered[0, i, : len(p)] = p, a, True
    return Market(
        tasks=("task",),
        providers=tuple(f"p{i}" for i in range(n)),
        methods=("majority_voting",) * n,
        compute_level=read_only(np.broadcast_to(2.0 ** np.arange(k), (1, n, k))),
        offered=read_only(offered),
        accuracy=read_only(accuracies),
        satisfaction=read_only(accuracies**convexity),
        tokens=read_only(1e6 * prices),
        price=read_only(prices),
        cost=read_only(prices / (1 + margin)),
        value_of_correct=read_only([value]),
        baseline=baseline,
        outside_value=outside_value,
    )


def random_rows(rng: np.random.Generator, counts: Sequence[int]) -> tuple[list[NDArray], list[NDArray]]:
    """Prices (USD per query) that double with the level and accuracies that rise, one row per provider."""
    price = [10 ** rng.uniform(-4.5, -3) * 2.0 ** np.arange(k) * rng.uniform(0.8, 1.2, k) for k in counts]
    accuracy = [
        np.clip(rng.uniform(0.1, 0.6) + 0.35 * (1 - 0.6 ** np.arange(k)) + rng.normal(0, 0.02, k), 0, 1)
        for k in counts
    ]
    return price, accuracy


def random_market(seed: int, counts: Sequence[int] = (2, 4, 3), **options: float) -> Market:
    """A ragged market of the paper's shape."""
    price, accuracy = random_rows(np.random.default_rng(seed), counts)
    return market_from_rows(price, accuracy, **options)


def population(
    beta: Sequence[float], size: Sequence[int] | int = 1, value_scale: Sequence[float] | float = 1.0
) -> UserPopulation:
    """Users by row."""
    n = len(beta)
    return UserPopulation(
        value_scale=read_only(np.broadcast_to(np.asarray(value_scale, dtype=float), n)),
        beta=read_only(np.asarray(beta, dtype=float)),
        size=read_only(np.broadcast_to(np.asarray(size, dtype=np.int64), n)),
    )


ALIKE = population([700.0] * 40)
DIFFERENT = population(np.geomspace(50, 5000, 40), value_scale=np.random.default_rng(5).uniform(0.2, 3.0, 40))
SEGMENTS = population([120.0, 900.0, 1e5], size=[300, 1500, 200], value_scale=[0.4, 1.0, 2.5])

POPULATIONS = {"alike": ALIKE, "different": DIFFERENT, "segments": SEGMENTS}


def regime_with(kind: str, **terms: float | str) -> Regime:
    """A regime on other terms than its own."""
    return replace(REGIMES[kind], terms=Terms(**terms))


def every_regime() -> dict[str, Regime]:
    """All regimes on all their terms, by a name that says which."""
    found = {}
    for kind, regime in REGIMES.items():
        if not regime.bids:
            found[kind] = regime
            if kind == "flat_price":  # a small grid, for brute force
                found[kind] = regime_with(kind, margins=(2e-5, 1e-4, 5e-4, 2.5e-3))
            continue
        for ties in ("lowest", "random"):
            for payment in ("realised", "expected", "reported"):
                audits = ((0.0, 1.0), (0.5, 1.0), (0.5, 3.0)) if payment == "reported" else ((0.0, 1.0),)
                for audit, clawback in audits:
                    name = f"{kind}-{payment}-{ties}" + (f"-audit{audit}x{clawback}" if audit else "")
                    found[name] = regime_with(
                        kind, payment=payment, ties=ties, audit_probability=audit, clawback=clawback
                    )
    return found


EVERY_REGIME = every_regime()


def random_actions(rng: np.random.Generator, regime: Regime, market: Market) -> NDArray:
    """One allowed action per provider."""
    allowed = regime.actions(regime, market, 0).allowed
    return read_only([rng.choice(np.flatnonzero(row)) for row in allowed])


def expected_requests(match: Match, market: Market) -> NDArray:
    """Requests each provider can expect, (N,)."""
    return np.bincount(match.expected.provider, match.expected.count, minlength=market.n_providers)

"""The markets that are timed: the nine providers of the paper, and synthetic ones of any size."""

from pathlib import Path

import numpy as np

from market_sim.economy.market import Market
from market_sim.experiments.solve import load_market
from market_sim.theory.game import Game, make_game

ROOT = Path(__file__).resolve().parent.parent
SCENARIO = ROOT / "runs" / "gsm8k-majority.toml"

BETAS = np.geomspace(1.0, 1e6, 100)
"""The paper's hundred rationalities, 1/USD."""


def nine_providers() -> Market:
    """GSM8K by majority voting: nine providers, six levels."""
    return load_market(SCENARIO)


def synthetic_game(n_providers: int, n_levels: int, beta: float, seed: int = 1) -> Game:
    """A market like the paper's: lognormal token prices, tokens that grow 128-fold from the lowest level to
    the highest, accuracy that rises and flattens, a margin of 25 % over cost."""
    rng = np.random.default_rng(seed)
    doublings = np.linspace(0.0, 7.0, n_levels)

    def each(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n_providers, 1))

    tokens = rng.lognormal(np.log(300.0), 0.6, (n_providers, 1)) * 2.0**doublings
    price = tokens * rng.lognormal(np.log(0.3), 0.8, (n_providers, 1)) / 1e6
    lowest = each(0.3, 0.8)
    gain = (0.98 - lowest) * each(0.2, 1.0)
    accuracy = lowest + gain * -np.expm1(-each(0.3, 1.5) * doublings)
    quality = 0.008 * (0.1 + 0.9 * accuracy)
    return make_game(quality - price, price * 0.2, beta)

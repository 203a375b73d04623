"""Markets of any size, generated: what the paper's data would look like with more providers.

A provider is drawn as a model and a host, with numbers that spread as those of the bundled instruct models
on GSM8K by majority voting do (docs/theory.md 10):

    accuracy at one sample      a_1 = expit(N(0.65, 0.95)): half of them between 50 and 78 %
    most it can reach           a_inf = a_1 + g (1 - a_1), g = expit(N(-0.1, 0.55)): about half of what is
                                missing
    how fast                    a(n) = a_inf - (a_inf - a_1) n^-r, r = 0.4 exp(N(0, 0.45))
    tokens of one sample        220 exp(N(0, 0.2)); n samples cost n times that
    USD per million tokens      0.11 exp(N(0, 0.35))

N(m, s) are normal draws with mean m and deviation s, all independent; means and deviations are those of the
nine bundled curves, of the rate r the fits to them.  In the data better models are a little dearer, here not.
Levels are 1, 4, 8, 16, 32 and 64 samples.  Markets of one seed are nested: the first n providers of a
larger market are the smaller market, so that adding providers is entry.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from market_sim.economy.market import PAPER_BASELINE, PAPER_MARGIN, PAPER_VALUE_OF_CORRECT_USD
from market_sim.theory.arrays import Array
from market_sim.theory.auction import TruthfulOutcome, truthful_outcome
from market_sim.theory.game import Game, make_game

LEVELS = np.array([1.0, 4.0, 8.0, 16.0, 32.0, 64.0])
MOST_PROVIDERS = 100_000

_STREAM = 0x67656E  # apart from the streams of runs with the same seed


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneratedMarket:
    """Offers of N generated providers at K levels; quality, price, cost (N, K) USD per query."""

    accuracy: Array
    tokens: Array
    quality: Array
    price: Array
    cost: Array

    def first(self, count: int) -> "GeneratedMarket":
        """The market of the first `count` providers."""
        return GeneratedMarket(**{name: table[:count] for name, table in vars(self).items()})

    def game(self, beta: float) -> Game:
        """The pay-per-compute game of users of that rationality, a batch of one."""
        return make_game(self.quality - self.price, self.price - self.cost, np.array([beta]))

    def auction(self) -> TruthfulOutcome:
        """The truthful second-price auction."""
        return truthful_outcome(self.quality, self.cost, 0.0, np.ones(self.price.shape, dtype=bool))


def generated_market(
    count: int,
    seed: int,
    *,
    value_of_correct_usd: float = PAPER_VALUE_OF_CORRECT_USD["GSM8K"],
    margin: float = PAPER_MARGIN,
) -> GeneratedMarket:
    """A market of `count` generated providers, 1 to MOST_PROVIDERS; the same seed gives the same ones."""
    if not 1 <= count <= MOST_PROVIDERS:
        raise ValueError(f"{count} providers are not from 1 to {MOST_PROVIDERS:,}")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
    first, gain, speed, length, price = rng.standard_normal((count, 5)).T[:, :, None]
    a_1 = expit(0.65 + 0.95 * first)
    a_inf = a_1 + expit(-0.1 + 0.55 * gain) * (1.0 - a_1)
    accuracy = a_inf - (a_inf - a_1) * LEVELS ** -(0.4 * np.exp(0.45 * speed))
    tokens = 220.0 * np.exp(0.2 * length) * LEVELS
    usd = tokens * 0.11e-6 * np.exp(0.35 * price)
    return GeneratedMarket(
        accuracy=accuracy,
        tokens=tokens,
        quality=value_of_correct_usd * (PAPER_BASELINE + (1.0 - PAPER_BASELINE) * accuracy),
        price=usd,
        cost=usd / (1.0 + margin),
    )

"""Providers of any number, generated: what the paper's data would look like with more of them.

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
Levels are 1, 4, 8, 16, 32 and 64 samples.  Those of one seed are nested: the first n of more providers are
the n providers, so that adding some is entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import expit

from market_sim.economy.quality import QualityCurve

LEVELS = np.array([1.0, 4.0, 8.0, 16.0, 32.0, 64.0])
MOST_PROVIDERS = 100_000

BENCHMARK = "generated"
METHOD = "majority_voting"
LIKE = "GSM8K"
"""The benchmark on which providers spread so; a correct answer is worth the same."""

_STREAM = 0x67656E  # apart from the streams of runs with the same seed


@dataclass(frozen=True, kw_only=True, eq=False)
class Generated:
    """The curves of providers "provider-1", "provider-2", ..., and USD per million tokens of each."""

    curves: tuple[QualityCurve, ...]
    prices: Mapping[str, float]


@lru_cache(maxsize=16)
def generated(count: int, seed: int) -> Generated:
    """`count` providers, 1 to MOST_PROVIDERS; the same seed gives the same ones."""
    if not 1 <= count <= MOST_PROVIDERS:
        raise ValueError(f"{count} providers are not from 1 to {MOST_PROVIDERS:,}")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_STREAM,)))
    first, gain, speed, length, price = rng.standard_normal((count, 5)).T[:, :, None]
    a_1 = expit(0.65 + 0.95 * first)
    a_inf = a_1 + expit(-0.1 + 0.55 * gain) * (1.0 - a_1)
    accuracy = a_inf - (a_inf - a_1) * LEVELS ** -(0.4 * np.exp(0.45 * speed))
    tokens = 220.0 * np.exp(0.2 * length) * LEVELS
    names = [f"provider-{number}" for number in range(1, count + 1)]
    return Generated(
        curves=tuple(
            QualityCurve(
                benchmark=BENCHMARK,
                method=METHOD,
                model=name,
                compute_level=LEVELS,
                accuracy=accuracy[i],
                tokens_per_query=tokens[i],
            )
            for i, name in enumerate(names)
        ),
        prices=dict(zip(names, (0.11 * np.exp(0.35 * price[:, 0])).tolist(), strict=True)),
    )

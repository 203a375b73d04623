"""Random small markets for the tests to prove their theorems on.

Hypothesis draws the shape of a market (its kind, sizes, rationality, outside value) and a seed from which
numpy draws its curves, so that curves are generic while sizes still shrink.  All arrays are read-only:
a function that writes to its input fails wherever it is tested.

Three kinds of curves:

    realistic     token prices times tokens that double with the level, accuracy that rises and flattens
    arbitrary     anything: values of either sign, margins over four powers of ten
    coordination  built backwards from a rising chain of profiles, each of which is an equilibrium
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from market_sim.theory.game import Game, make_game
from tests.oracles import Market, Profile

KINDS = ("realistic", "arbitrary", "coordination")

EXACT_TIE = 1e-12
"""A relative profit gap up to here is a tie written in floating point."""

CLEAR_GAP = 1e-7
"""A relative profit gap from here on is no tie under any tolerance of the package."""


def read_only(array: NDArray) -> NDArray:
    """A copy that cannot be written to."""
    array = np.array(array)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, kw_only=True)
class World:
    """The primitives of one game; value and margin are NaN where nothing is offered."""

    value: NDArray
    margin: NDArray
    beta: float
    outside_value: float
    offered: NDArray

    @property
    def n_providers(self) -> int:
        return len(self.value)

    def game(self) -> Game:
        return make_game(self.value, self.margin, self.beta, self.outside_value, self.offered)

    def market(self) -> Market:
        """The same game as its oracle."""
        return Market(
            [row[on] for row, on in zip(self.value, self.offered, strict=True)],
            [row[on] for row, on in zip(self.margin, self.offered, strict=True)],
            self.beta,
            self.outside_value,
        )

    def profile(self, rng: np.random.Generator) -> NDArray:
        """A random profile of levels."""
        return rng.integers(self.offered.sum(axis=1))


def world_from_rows(
    value: Sequence[NDArray], margin: Sequence[NDArray], beta: float, outside_value: float
) -> World:
    """A world from ragged rows, padded with NaN."""
    n, k = len(value), max(len(row) for row in value)
    padded = [np.full((n, k), np.nan), np.full((n, k), np.nan)]
    offered = np.zeros((n, k), dtype=bool)
    for i in range(n):
        offered[i, : len(value[i])] = True
        for array, rows in zip(padded, (value, margin), strict=True):
            array[i, : len(rows[i])] = rows[i]
    return World(
        value=read_only(padded[0]),
        margin=read_only(padded[1]),
        beta=float(beta),
        outside_value=float(outside_value),
        offered=read_only(offered),
    )


def random_world(
    rng: np.random.Generator, kind: str, counts: Sequence[int], beta: float, outside_value: float
) -> World:
    """A world of a kind in which provider i has counts[i] levels."""
    draw = {"realistic": _realistic, "arbitrary": _arbitrary, "coordination": _coordination}[kind]
    value, margin = draw(rng, counts, beta, outside_value)
    return world_from_rows(value, margin, beta, outside_value)


def _realistic(
    rng: np.random.Generator, counts: Sequence[int], beta: float, outside_value: float
) -> tuple[list[NDArray], list[NDArray]]:
    """The paper's shape: q = alpha (b + (1 - b) a), tokens doubling, a margin of 0.25 over cost."""
    alpha = rng.choice([0.008, 0.02, 0.05])
    value, margin = [], []
    for k in counts:
        price = 10 ** rng.uniform(-4.5, -2.5) * 2.0 ** np.arange(k) * rng.uniform(0.8, 1.2, k)
        accuracy = rng.uniform(0.2, 0.6) + rng.uniform(0.05, 0.35) * (1 - 0.6 ** np.arange(k))
        accuracy += rng.normal(0, 0.01, k)
        value.append(alpha * (0.1 + 0.9 * accuracy) - price)
        margin.append(0.2 * price)
    return value, margin


def _arbitrary(
    rng: np.random.Generator, counts: Sequence[int], beta: float, outside_value: float
) -> tuple[list[NDArray], list[NDArray]]:
    value = [outside_value + 0.01 * rng.normal(size=k) for k in counts]
    return value, [10 ** rng.uniform(-5, -1, k) for k in counts]


def _coordination(
    rng: np.random.Generator, counts: Sequence[int], beta: float, outside_value: float
) -> tuple[list[NDArray], list[NDArray]]:
    """Everybody at its t-th best offer is an equilibrium for every t, by choice of the margins.

    Neighbouring levels k, k + 1 with offers e < e' earn the same against X = T when
    m' / m = (1 + T / e') / (1 + T / e); T is put between what rivals offer when they are at their t-th and
    at their next step.  A provider with fewer levels stays at its last; where no rival moves any more, T
    is put above what they offer.
    """
    rationality = beta if beta > 0 else 1.0
    logs = [rng.uniform(-2, 2) + np.cumsum(rng.uniform(0.5, 2.5, k)) for k in counts]

    def rivals(i: int, step: int) -> float:
        others = [row[min(step, len(row) - 1)] for j, row in enumerate(logs) if j != i]
        return float(np.logaddexp.reduce([0.0, *others]))

    value, margin = [], []
    for i, row in enumerate(logs):
        log_margin = [rng.uniform(-8, -4)]
        for t in range(len(row) - 1):
            low, high = rivals(i, t), rivals(i, t + 1)
            threshold = low + rng.uniform(0.3, 0.7) * (high - low if high > low else 1.0)
            step = np.logaddexp(0, threshold - row[t + 1]) - np.logaddexp(0, threshold - row[t])
            log_margin.append(log_margin[-1] + step)
        order = rng.permutation(len(row))
        value.append(outside_value + row[order] / rationality)
        margin.append(np.exp(log_margin)[order])
    return value, margin


rationalities = st.one_of(st.floats(0.0, 6.0).map(lambda power: 10.0**power), st.sampled_from([0.0, 1e6]))
"""beta, 1/USD: log-uniform from 1 to 10^6, the ends and exactly 0 often."""

outside_values = st.one_of(st.just(0.0), st.floats(-0.01, 0.01))
"""V_0, USD per query."""

seeds = st.integers(0, 2**32 - 1)


@st.composite
def worlds(
    draw: st.DrawFn,
    kinds: Sequence[str] = KINDS,
    max_providers: int = 4,
    max_levels: int = 4,
    beta: st.SearchStrategy[float] = rationalities,
) -> World:
    """A random small world of ragged sizes."""
    counts = draw(st.lists(st.integers(1, max_levels), min_size=1, max_size=max_providers))
    return random_world(
        np.random.default_rng(draw(seeds)),
        draw(st.sampled_from(kinds)),
        counts,
        draw(beta),
        draw(outside_values),
    )


@st.composite
def batches(draw: st.DrawFn, max_games: int = 4) -> list[World]:
    """Several worlds of one shape: other curves, rationalities and outside values, the same providers."""
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(seeds))
    return [
        random_world(rng, draw(st.sampled_from(KINDS)), counts, draw(rationalities), draw(outside_values))
        for _ in range(draw(st.integers(1, max_games)))
    ]


def stacked(games: Sequence[World]) -> Game:
    """Worlds of one shape as one batch."""
    return make_game(
        read_only([w.value for w in games]),
        read_only([w.margin for w in games]),
        read_only([w.beta for w in games]),
        read_only([w.outside_value for w in games]),
        games[0].offered,
    )


TIES = ("equal lines", "two lines cross there", "three lines cross there")


def with_a_tie(world: World, profile: Profile, kind: str, i: int, rng: np.random.Generator) -> World:
    """The world with new levels between which and its own level provider i is indifferent at a profile.

    equal lines              a copy of the provider's level
    two (three) lines cross  one (two) other levels, made to earn exactly as much against these rivals
    """
    market = world.market()
    x = market.rivals(profile, i)
    v, m = world.value[i, profile[i]], world.margin[i, profile[i]]
    rows = [
        (list(v_row[on]), list(m_row[on]))
        for v_row, m_row, on in zip(world.value, world.margin, world.offered, strict=True)
    ]
    for _ in range({"equal lines": 1, "two lines cross there": 1, "three lines cross there": 2}[kind]):
        new_v, new_m = v, m
        if kind != "equal lines":
            new_v = v + rng.uniform(0.2, 1.5) * rng.choice([-1, 1]) / (world.beta or 1.0)
            other = Market([[new_v]], [[1.0]], world.beta, world.outside_value)
            earned = market.profit_against(x, i, profile[i])
            new_m = float(earned / other.profit_against(x, 0, 0))
        at = int(rng.integers(len(rows[i][0]) + 1))
        rows[i][0].insert(at, new_v)
        rows[i][1].insert(at, new_m)
    return world_from_rows(
        [np.array(v_row) for v_row, _ in rows],
        [np.array(m_row) for _, m_row in rows],
        world.beta,
        world.outside_value,
    )


def at_rationality(world: World, beta: float) -> World:
    """The same curves, other users."""
    return replace(world, beta=float(beta))

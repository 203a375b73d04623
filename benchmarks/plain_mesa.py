"""The market written the usual way in Mesa: one agent per user, each with a method of its own."""

import math
import random
from collections.abc import Sequence

import mesa

from benchmarks.markets import nine_providers
from benchmarks.reference import STRICTLY, Table, auction, choice_shares


class PlainUser(mesa.Agent):
    """A user that works its logit out itself."""

    def __init__(self, model: "PlainMarket", value_scale: float, beta: float, uniform: float) -> None:
        super().__init__(model)
        self.value_scale, self.beta, self.uniform = value_scale, beta, uniform
        self.provider = -1

    def choose(self) -> None:
        """Inverse CDF of the logit's shares."""
        model = self.model
        utilities = [
            self.beta * (self.value_scale * q - p) for q, p in zip(model.quality, model.price, strict=True)
        ]
        top = max(0.0, *utilities)
        odds = [math.exp(u - top) for u in utilities]
        threshold = self.uniform * (sum(odds) + math.exp(-top))
        self.provider, running = -1, 0.0
        for i, o in enumerate(odds):
            running += o
            if running > threshold:
                self.provider = i
                break

    def buy(self) -> None:
        """Choose with fresh noise, be served, pay."""
        self.uniform = self.model.draws.random()
        self.choose()
        if self.provider >= 0:
            self.model.serve(self.provider, self.model.levels[self.provider])

    def call_for_bids(self) -> None:
        """Hold an auction for this request."""
        winner, level, _ = auction(self.model.worth, self.model.costs, self.model.alpha * self.value_scale)
        if winner >= 0:
            self.model.serve(winner, level)


class PlainMarket(mesa.Model):
    """Providers that post levels, or bid their costs, and users that are agents.

    worth          quality per USD of value of a correct answer, by provider and level
    prices, costs  USD per query, likewise;  accuracy  likewise
    alpha          value of a correct answer, USD
    """

    def __init__(
        self,
        *,
        worth: Table,
        prices: Table,
        costs: Table,
        accuracy: Table,
        alpha: float,
        value_scales: Sequence[float],
        betas: Sequence[float],
        uniforms: Sequence[float],
    ) -> None:
        super().__init__(rng=1)
        self.worth, self.prices, self.costs, self.accuracy = worth, prices, costs, accuracy
        self.alpha = alpha
        self.levels = [0] * len(worth)
        self.turn = 0
        self.draws = random.Random(1)
        self.profit = [0.0] * len(worth)
        self.correct = 0
        self._offer()
        for types in zip(value_scales, betas, uniforms, strict=True):
            PlainUser(self, *types)

    def play_posted(self) -> None:
        """A round under posted prices: one provider revises its level, every user buys."""
        self.revise(self.turn % len(self.levels))
        self.turn += 1
        self._offer()
        self.agents.do("buy")

    def play_auction(self) -> None:
        """A round of truthful second-price auctions."""
        self.agents.do("call_for_bids")

    def revise(self, i: int) -> None:
        """Move to the nearest level that earns strictly more from a user like the first."""
        beta = next(iter(self.agents)).beta
        profits = []
        for k in range(len(self.worth[i])):
            levels = [*self.levels[:i], k, *self.levels[i + 1 :]]
            values = [self.alpha * self.worth[j][n] - self.prices[j][n] for j, n in enumerate(levels)]
            profits.append((self.prices[i][k] - self.costs[i][k]) * choice_shares(values, beta)[i])
        now = self.levels[i]
        better = [k for k, p in enumerate(profits) if p > profits[now] * (1 + STRICTLY)]
        self.levels[i] = min(better, key=lambda k: (abs(k - now), k), default=now)

    def serve(self, i: int, level: int) -> None:
        """Answer, correctly or not, and book the profit."""
        self.correct += self.draws.random() < self.accuracy[i][level]
        self.profit[i] += self.prices[i][level] - self.costs[i][level]

    def _offer(self) -> None:
        self.quality = [self.alpha * self.worth[i][k] for i, k in enumerate(self.levels)]
        self.price = [self.prices[i][k] for i, k in enumerate(self.levels)]


def plain_market(
    value_scales: Sequence[float], betas: Sequence[float], uniforms: Sequence[float]
) -> PlainMarket:
    """The nine providers of the paper and these users."""
    market = nine_providers()
    return PlainMarket(
        worth=market.worth[0].tolist(),
        prices=market.price[0].tolist(),
        costs=market.cost[0].tolist(),
        accuracy=market.accuracy[0].tolist(),
        alpha=float(market.value_of_correct[0]),
        value_scales=value_scales,
        betas=betas,
        uniforms=uniforms,
    )

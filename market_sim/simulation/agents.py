"""The market's agents, for Mesa.  They are views by index: all state is in the model's arrays."""

from typing import TYPE_CHECKING

import mesa
import numpy as np

from market_sim.theory.arrays import Array
from market_sim.theory.choice import OUTSIDE

if TYPE_CHECKING:
    from market_sim.simulation.model import MarketModel


class ProviderAgent(mesa.Agent):
    """A provider: its standing offer and what it did in the last round."""

    model: "MarketModel"

    def __init__(self, model: "MarketModel", index: int) -> None:
        super().__init__(model)
        self.index = index

    @property
    def name(self) -> str:
        return self.model.parts.market.providers[self.index]

    @property
    def rule(self) -> str:
        return self.model.parts.rules[self.index].name

    @property
    def compute_level(self) -> float:
        """Samples, or bin of reasoning effort; the mean over the round's requests."""
        rows = self.model.record.providers
        return _mean(rows.compute_level[:, self.index], rows.requests[:, self.index])

    @property
    def bid_usd(self) -> float:
        """Price bid per query, USD; NaN under posted prices."""
        rows = self.model.record.providers
        return _mean(rows.bid_usd[:, self.index], rows.requests[:, self.index])

    @property
    def share(self) -> float:
        """Share of the round's arriving requests."""
        return float(self.model.record.providers.share[:, self.index].sum())

    @property
    def profit_usd(self) -> float:
        """Profit of the round, USD."""
        return float(self.model.record.providers.profit_usd[:, self.index].sum())


class UserAgent(mesa.Agent):
    """One user, or one segment of users who are alike."""

    model: "MarketModel"

    def __init__(self, model: "MarketModel", row: int) -> None:
        super().__init__(model)
        self.row = row

    @property
    def people(self) -> int:
        return int(self.model.parts.users.size[self.row])

    @property
    def beta(self) -> float:
        """Rationality, 1/USD."""
        return float(self.model.parts.users.beta[self.row])

    @property
    def value_of_correct_usd(self) -> dict[str, float]:
        """What a correct answer is worth to this user, USD, by benchmark."""
        users, market = self.model.parts.users, self.model.parts.market
        worth = users.value_scale[self.row] * market.value_of_correct
        return dict(zip(market.tasks, worth.tolist(), strict=True))

    @property
    def provider(self) -> str | None:
        """Whom this user last bought from; None for nobody yet, and for segments."""
        last = self.model.state.last_provider
        if last is None or last[self.row] == OUTSIDE:
            return None
        return self.model.parts.market.providers[last[self.row]]


class CrowdAgent(mesa.Agent):
    """A whole population of individuals too large for one agent each."""

    model: "MarketModel"

    @property
    def people(self) -> int:
        return int(self.model.parts.users.n_people)


def _mean(column: Array, requests: Array) -> float:
    """Mean over tasks, weighted by requests; the plain one where nobody asked."""
    return float(np.average(column, weights=requests) if requests.sum() > 0 else column.mean())

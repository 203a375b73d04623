"""The market's agents, for Mesa.  They are views by index: all state is in the model's arrays."""

from typing import TYPE_CHECKING

import mesa

from market_sim.simulation.round import TASK
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
        return float(self.model.record.providers.compute_level[self.index])

    @property
    def bid_usd(self) -> float:
        """Price bid per query, USD; NaN under posted prices."""
        return float(self.model.record.providers.bid_usd[self.index])

    @property
    def share(self) -> float:
        """Share of the round's arriving requests."""
        return float(self.model.record.providers.share[self.index])

    @property
    def profit_usd(self) -> float:
        """Profit of the round, USD."""
        return float(self.model.record.providers.profit_usd[self.index])


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
    def value_of_correct_usd(self) -> float:
        """What a correct answer is worth to this user, USD."""
        users, market = self.model.parts.users, self.model.parts.market
        return float(users.value_scale[self.row] * market.value_of_correct[TASK])

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
        return self.model.parts.users.n_people

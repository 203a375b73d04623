"""The market as a Mesa model: step() plays one round (simulation/round.py) and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any, Self, get_args

import mesa
import numpy as np

from market_sim.economy.market import (
    MOST_INDIVIDUALS,
    MOST_PEOPLE,
    MOST_RATIONAL,
    PAPER_MARGIN,
    PAPER_VALUE_OF_CORRECT_USD,
    alike_users,
    check_decisive,
    continuum,
    make_market,
    make_providers,
)
from market_sim.economy.quality import PAPER_METHODS, bundled_curves, select_curves
from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError, named
from market_sim.simulation.agents import CrowdAgent, ProviderAgent, UserAgent
from market_sim.simulation.events import carry_over
from market_sim.simulation.recorder import PROVIDER_COLUMNS, ROUND_COLUMNS, Recorder
from market_sim.simulation.round import Activation, Demand, Parts, Record, State, begin, play_round
from market_sim.theory.learning import RULES
from market_sim.theory.rule import PLANNED

MOST_USER_AGENTS = 10_000
"""Up to this many individuals are one agent each; more are one agent together."""


class MarketModel(mesa.Model):
    """Providers choosing compute, users choosing providers, round by round.

    Keywords are flat and have defaults, for `mesa.batch_run` and SolaraViz; `from_parts` takes a market,
    population, regime and rules of your own.

    benchmark   "GSM8K", "AIME" or "GPQA"
    method      "majority_voting", "best_of_n" or "reasoning_effort"
    models      a name or several, None for all that were evaluated so
    regime      a name in REGIMES
    rule        a name in RULES, for every provider; a planner has its own, "planned"
    activation  "default", "one_at_a_time" or "simultaneous" (docs/round.md)
    beta        users' rationality, 1/USD
    margin      price over cost, minus one
    users       number of users
    demand      "sampled" or "expected" (a continuum of users)
    rng         seed; the same integer gives the same users, tasks and shocks under every regime

    >>> model = MarketModel(users=100, rng=1)
    >>> for _ in range(3):
    ...     model.step()
    >>> model.time, len(model.datacollector.get_model_vars_dataframe())
    (3.0, 4)
    """

    parts: Parts
    state: State
    record: Record
    recorder: Recorder
    datacollector: mesa.DataCollector

    def __init__(
        self,
        *,
        benchmark: str = "GSM8K",
        method: str = "majority_voting",
        models: str | Sequence[str] | None = None,
        regime: str = "pay_per_compute",
        rule: str = "better_reply",
        activation: Activation = "default",
        beta: float = 1000.0,
        margin: float = PAPER_MARGIN,
        users: int = 1000,
        demand: Demand = "sampled",
        rng: Any = None,
    ) -> None:
        for name, value, known in (
            ("regime", regime, REGIMES),
            ("rule", rule, RULES),
            ("method", method, PAPER_METHODS),
            ("activation", activation, get_args(Activation)),
            ("demand", demand, get_args(Demand)),
        ):
            named(f"MarketModel: {name}", value, known)
        most = MOST_PEOPLE if demand == "expected" else MOST_INDIVIDUALS
        _check_number("beta", beta, Real, lambda x: 0 <= x <= MOST_RATIONAL, f"from 0 to {MOST_RATIONAL:g}")
        _check_number("margin", margin, Real, lambda x: 0 < x <= 1e6, "above 0 and at most 1e+06")
        _check_number("users", users, Integral, lambda x: 1 <= x <= most, f"a whole number from 1 to {most}")
        if isinstance(rng, int | float | str | Integral):
            _check_number("rng", rng, Integral, lambda x: x >= 0, "a whole number of at least 0")
            rng = int(rng)  # numpy's integers too: random.Random takes none
        if isinstance(models, str):
            models = [models]
        if models is not None and not isinstance(models, Sequence):
            raise InputError(f"MarketModel: models = {models!r} is not allowed; it must be a list of names")
        super().__init__(rng=rng)
        curves = select_curves(
            bundled_curves(),
            where="MarketModel",
            benchmark=benchmark,
            method=method,
            models=None if models is None else tuple(models),
        )
        market = make_market(
            make_providers(curves, where="MarketModel", margin=margin),
            value_of_correct_usd=PAPER_VALUE_OF_CORRECT_USD[benchmark],
        )
        seed = rng if isinstance(rng, int) else self.rng.integers(2**63)
        check_decisive(market, np.array([beta]), 1.0, "MarketModel")
        population = (continuum if demand == "expected" else alike_users)(users, beta)
        family, prepared = RULES["planned" if regime in PLANNED else rule], REGIMES[regime]
        self._begin(
            Parts(
                market=market,
                users=population,
                regime=prepared.prepare(prepared, market, population),
                rules=(family(),) * market.n_providers,
                activation=activation,
                demand=demand,
                seed=int(seed),
            ),
            {},
        )

    @classmethod
    def from_parts(cls, parts: Parts, later: Mapping[int, Parts] | None = None) -> Self:
        """A model of a market, population, regime and rules made elsewhere; parts.seed is its seed.

        later  what replaces the parts, by the round before which it does
        """
        model = cls.__new__(cls)
        mesa.Model.__init__(model, rng=parts.seed)
        model._begin(parts, later or {})
        return model

    def _begin(self, parts: Parts, later: Mapping[int, Parts]) -> None:
        self.parts, self.later = parts, later
        self.state, self.record = begin(parts)
        self.recorder = Recorder(parts.market.tasks, parts.market.providers)
        for index in range(parts.market.n_providers):
            ProviderAgent(self, index)
        self._meet_users()
        self.datacollector = _collector()
        self._keep()

    def _meet_users(self) -> None:
        """One agent for each row of the users, or one for all where there are too many."""
        rows = len(self.parts.users.beta)
        crowded = self.parts.users.individuals and self.parts.users.n_people > MOST_USER_AGENTS
        met = self.agents_by_type.get(UserAgent, ())
        for agent in list(met):
            if crowded or agent.row >= rows:
                agent.remove()
        if crowded:
            if not self.agents_by_type.get(CrowdAgent):
                CrowdAgent(self)
            return
        for agent in list(self.agents_by_type.get(CrowdAgent, ())):
            agent.remove()
        for row in range(len(self.agents_by_type.get(UserAgent, ())), rows):
            UserAgent(self, row)

    def step(self) -> None:
        """Play one round, after the events that come before it."""
        after = self.later.get(self.state.round + 1)
        if after is not None:
            self.state = carry_over(self.parts, after, self.state)
            self.parts = after
            self._meet_users()
        self.state, self.record = play_round(self.parts, self.state)
        self._keep()

    def forget(self) -> None:
        """Drop the rows kept so far, of the recorder and the data collector: for play without an end."""
        self.recorder = Recorder(self.parts.market.tasks, self.parts.market.providers)
        self.datacollector = _collector()

    def _keep(self) -> None:
        self.recorder.add(self.record)
        self.datacollector.collect(self)
        # Columns are extended whole: add_table_row would be one call per provider and round.
        table = self.datacollector.tables["providers"]
        tasks, names = self.parts.market.tasks, self.parts.market.providers
        table["round"].extend([self.state.round] * len(tasks) * len(names))
        table["benchmark"].extend(task for task in tasks for _ in names)
        table["provider"].extend(names * len(tasks))
        for column in PROVIDER_COLUMNS:
            table[column].extend(getattr(self.record.providers, column).ravel().tolist())


def _collector() -> mesa.DataCollector:
    """What Mesa keeps of each round: our columns."""
    return mesa.DataCollector(
        model_reporters={
            name: partial(_of_last_round, name=name) for name in ROUND_COLUMNS if name != "round"
        },
        tables={"providers": ["round", "benchmark", "provider", *PROVIDER_COLUMNS]},
    )


def _of_last_round(model: MarketModel, name: str) -> float:
    return getattr(model.record.row, name)


def _check_number(name: str, got: Any, kind: type, fits: Callable[[Any], bool], allowed: str) -> None:
    if isinstance(got, bool) or not isinstance(got, kind) or not fits(got):
        raise InputError(f"MarketModel: {name} = {got!r} is not allowed; it must be {allowed}")

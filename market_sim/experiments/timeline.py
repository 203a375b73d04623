"""What a scenario's rounds are played with, from the first to the last: parts, and how events change them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from market_sim.economy.market import Market, check_decisive
from market_sim.errors import InputError, not_one_of
from market_sim.experiments.build import (
    capacity_of,
    curves_of,
    market_of,
    regime_of,
    rules_of,
    start_levels_of,
)
from market_sim.experiments.people import experience_of, users_of
from market_sim.experiments.scenario import DIFFER, Event, Scenario, changed
from market_sim.simulation.parts import Parts
from market_sim.theory.arrays import Array


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The parts of a run: those of the first round, and by round those that replace them."""

    first: Parts
    later: dict[int, Parts]

    def with_seed(self, seed: int) -> "Timeline":
        """The same with another seed, where nothing in it was drawn (`draws_nothing`)."""
        later = {number: parts.with_seed(seed) for number, parts in self.later.items()}
        return Timeline(first=self.first.with_seed(seed), later=later)

    @property
    def last(self) -> Parts:
        """What is played after the last event: what summaries of the run measure."""
        return self.later[max(self.later)] if self.later else self.first

    @property
    def markets(self) -> list[Market]:
        """All markets the run passes through, in their order."""
        return list(dict.fromkeys(parts.market for parts in (self.first, *self.later.values())))


def draws_nothing(scenario: Scenario) -> bool:
    """Whether everything before the first round is the same for every seed: no generated providers, and users
    of no distribution or type, who know what offers are worth."""
    users = scenario.users
    drawn = users.types is not None or any(isinstance(getattr(users, key), dict) for key in DIFFER)
    return scenario.market.generated is None and not drawn and users.information == "full"


def timeline_of(scenario: Scenario) -> Timeline:
    """The timeline of a scenario.  Raises InputError for whatever in it cannot be played."""
    _check_requests(scenario)
    serves: dict[str, str] = {}
    for event in scenario.events:
        serves |= event.serves or {}
    levels = max(len(curve.compute_level) for curves in curves_of(scenario) for curve in curves)
    if serves:
        levels = max(
            [levels, *(len(c.compute_level) for curves in curves_of(scenario, serves) for c in curves)]
        )
    market = market_of(scenario, levels=levels)
    users = users_of(scenario, market)
    check_decisive(market, users.beta, users.value_scale, scenario.where)
    regime = regime_of(scenario, market, users)
    parts = Parts(
        market=market,
        users=users,
        regime=regime,
        rules=rules_of(scenario, market, regime),
        activation=scenario.providers.activation,
        demand=scenario.users.demand,
        seed=scenario.seed,
        active=_at_first(scenario, market),
        capacity=capacity_of(scenario, market),
        experience=experience_of(scenario, market, users),
        start_levels=start_levels_of(scenario, market),
        metrics_every=scenario.output.metrics_every,
        keep_requests=scenario.output.requests,
    )
    later, now = {}, _Story(scenario=scenario, parts=parts, levels=levels)
    for place, event in enumerate(scenario.events):
        now = now.after(event, f"{scenario.where}: events.{place}")
        later[event.round] = now.parts
    _check_prices_matter(scenario, later)
    return Timeline(first=parts, later=later)


def _check_requests(scenario: Scenario) -> None:
    users = scenario.users
    if scenario.output.requests and (users.demand == "expected" or users.segments is not None):
        what = 'users.demand = "expected"' if users.demand == "expected" else "users.segments"
        raise InputError(
            f"{scenario.where}: output.requests keeps a row per request, and {what} has none of its own"
        )


def _at_first(scenario: Scenario, market: Market) -> Array | None:
    """Who is in the market at first: all but those whose first event is to enter; None for everybody."""
    moves: dict[str, str] = {}
    for event in scenario.events:
        for kind in ("enters", "leaves"):
            for name in getattr(event, kind) or ():
                moves.setdefault(name, kind)
    active = np.array([moves.get(name) != "enters" for name in market.providers])
    if not active.any():
        raise InputError(f"{scenario.where}: events: nobody is in the market before the first enters")
    return None if active.all() else active


@dataclass(frozen=True, kw_only=True)
class _Story:
    """How far events have come."""

    scenario: Scenario
    parts: Parts
    levels: int
    serves: tuple[tuple[str, str], ...] = ()
    prices: tuple[tuple[str, float], ...] = ()

    def after(self, event: Event, where: str) -> "_Story":
        story = self
        for change in (_moves, _offers, _demand, _regime):
            story = change(story, event, where)
        return story

    def with_parts(self, **changes: Any) -> "_Story":
        return replace(self, parts=replace(self.parts, **changes))


def _moves(story: _Story, event: Event, where: str) -> _Story:
    """Providers that enter and leave."""
    if event.enters is None and event.leaves is None:
        return story
    names = story.parts.market.providers
    active = np.ones(len(names), dtype=bool) if story.parts.active is None else story.parts.active.copy()
    for key, wanted in (("enters", True), ("leaves", False)):
        for i in _places(getattr(event, key) or (), names, f"{where}.{key}"):
            if active[i] == wanted:
                stands = "in the market already" if wanted else "not in the market"
                raise InputError(f"{where}.{key}: {names[i]} is {stands}")
            active[i] = wanted
    if not active.any():
        raise InputError(f"{where}: nobody is left in the market")
    return story.with_parts(active=None if active.all() else active, turns_from=event.round)


def _offers(story: _Story, event: Event, where: str) -> _Story:
    """New models and prices.  What a model costs to run stays; a new model has its own price and cost."""
    if event.prices is None and event.serves is None:
        return story
    names = story.parts.market.providers
    _places(event.prices or (), names, f"{where}.prices")
    served = {name: c.model for name, c in zip(names, curves_of(story.scenario)[0], strict=True)}
    served |= dict(story.serves)
    renewed = event.serves or {}
    for i in _places(renewed, names, f"{where}.serves"):
        if renewed[names[i]] == served[names[i]]:
            raise InputError(f"{where}.serves: {names[i]} serves {served[names[i]]} already")
    serves = dict(story.serves) | renewed
    prices = {k: v for k, v in story.prices if k not in renewed} | (event.prices or {})
    market = market_of(story.scenario, serves, story.levels)
    price = market.price.copy()
    for name, usd in prices.items():
        i = names.index(name)
        price[:, i] = market.tokens[:, i] * usd / 1e6
        if (price[:, i] <= market.cost[:, i]).any():
            least = float((market.cost[:, i] / market.tokens[:, i]).max()) * 1e6
            raise InputError(
                f"{where}.prices.{name} = {usd:g} is not above its cost of {least:.4g} USD per million tokens"
            )
    price.setflags(write=False)
    market = replace(market, price=price)
    users = story.parts.users
    check_decisive(market, users.beta, users.value_scale, where)
    changed = story.with_parts(market=market)
    return replace(changed, serves=tuple(serves.items()), prices=tuple(prices.items()))


def _demand(story: _Story, event: Event, where: str) -> _Story:
    """More or fewer users: a multiple of the scenario's number.  Who hears whom is drawn anew among them."""
    if event.demand is None:
        return story
    users = users_of(story.scenario, story.parts.market, demand=event.demand)
    if not users.size.any():
        before = story.scenario.users
        number = before.count if before.segments is None else sum(each.size for each in before.segments)
        raise InputError(f"{where}.demand = {event.demand:g} leaves nobody of {number} users")
    at_first = market_of(story.scenario, levels=story.levels)  # beliefs begin with what was offered then
    experience = experience_of(story.scenario, at_first, users)
    return story.with_parts(users=users, experience=experience)


def _regime(story: _Story, event: Event, where: str) -> _Story:
    """Another regime, with the rules that the scenario has for it."""
    if event.regime is None:
        return story
    section = event.regime.model_dump(exclude_unset=True)
    scenario = changed(story.scenario, events=(), regime=section)
    regime = regime_of(scenario, story.parts.market, story.parts.users)
    return story.with_parts(regime=regime, rules=rules_of(scenario, story.parts.market, regime))


def _check_prices_matter(scenario: Scenario, later: dict[int, Parts]) -> None:
    """Refuse an event that changes prices per token where no regime charges them, then or later."""
    for place, event in enumerate(scenario.events):
        ahead = [parts for number, parts in later.items() if number >= event.round]
        if event.prices is not None and not any(map(_bills_tokens, ahead)):
            regimes = dict.fromkeys(parts.regime.name for parts in ahead)
            raise InputError(
                f"{scenario.where}: events.{place}.prices has no effect: from round {event.round} on the "
                f"regime is {', then '.join(regimes)}, where nobody pays by the token, and what queries cost "
                "stays; leave it out"
            )


def _bills_tokens(parts: Parts) -> bool:
    """Whether users pay the price of the tokens: no bids, and no price of its own beside a level."""
    regime = parts.regime
    return not regime.bids and regime.actions(regime, parts.market, 0).margin is None


def _places(wanted: Iterable[str], names: tuple[str, ...], where: str) -> list[int]:
    for name in wanted:
        if name not in names:
            raise not_one_of(f"{where} names a provider", name, names)
    return [names.index(name) for name in wanted]

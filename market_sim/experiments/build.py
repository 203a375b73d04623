"""From a checked scenario to the parts that are solved or played."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tomli_w

from market_sim.economy.market import (
    PAPER_VALUE_OF_CORRECT_USD,
    Market,
    UserPopulation,
    alike_users,
    continuum,
    make_market,
    make_providers,
)
from market_sim.economy.quality import QualityCurve, bundled_curves, read_curves, select_curves
from market_sim.economy.regime import Regime, Terms
from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError, not_one_of
from market_sim.experiments.plugins import code_of, rule_from
from market_sim.experiments.scenario import Learning, RuleChoice, Scenario
from market_sim.theory.learning import RULES
from market_sim.theory.rule import PLANNED, Rule


def curves_of(scenario: Scenario) -> list[QualityCurve]:
    """The quality curves a scenario selects."""
    section = scenario.market
    if section.curves is None:
        curves: Iterable[QualityCurve] = bundled_curves()
    else:
        curves = read_curves(scenario.folder / section.curves)
    return select_curves(
        list(curves),
        where=f"{scenario.where}: market",
        benchmark=section.benchmark,
        method=section.method,
        models=section.models,
    )


def market_of(scenario: Scenario) -> Market:
    """The market of a scenario."""
    section = scenario.market
    curves = curves_of(scenario)
    value = section.value_of_correct_usd
    if value is None:
        benchmark = curves[0].benchmark
        if benchmark not in PAPER_VALUE_OF_CORRECT_USD:
            raise InputError(
                f"{scenario.where}: market.value_of_correct_usd is missing, and {benchmark} has no default "
                f"(those with one are {', '.join(PAPER_VALUE_OF_CORRECT_USD)})"
            )
        value = PAPER_VALUE_OF_CORRECT_USD[benchmark]
    return make_market(
        make_providers(
            curves, where=f"{scenario.where}: market", prices=section.prices, margin=section.margin
        ),
        value_of_correct_usd=value,
        baseline=section.baseline,
        quality_curve=section.quality_curve,
        outside_value_usd=section.outside_value_usd,
    )


def users_of(scenario: Scenario) -> UserPopulation:
    """The users of a scenario: individuals of one type, or segments."""
    section = scenario.users
    if section.segments is None:
        crowd = continuum if section.demand == "expected" else alike_users
        return crowd(section.count, section.beta)
    return UserPopulation(
        value_scale=np.array([float(segment.value_scale) for segment in section.segments]),
        beta=np.array([float(segment.beta) for segment in section.segments]),
        size=np.array([segment.size for segment in section.segments]),
    )


def regime_of(scenario: Scenario, market: Market, users: UserPopulation) -> Regime:
    """The regime of a scenario, with its terms for that market."""
    section = scenario.regime
    terms = Terms(
        payment=section.payment,
        audit_probability=section.audit_probability,
        clawback=section.clawback,
        ties=section.ties,
    )
    regime = replace(REGIMES[section.kind], terms=terms)
    try:
        return regime.prepare(regime, market, users)
    except InputError as error:
        raise InputError(f"{scenario.where}: {error}") from None


def rules_of(scenario: Scenario, market: Market, regime: Regime) -> tuple[Rule, ...]:
    """One rule per provider, those of auctions where the regime has bids; the planner has its own."""
    for key in ("learning", "auction_learning"):
        for model, choice in getattr(scenario.providers, key).by_model.items():
            where = f"{scenario.where}: providers.{key}"
            if model not in market.providers:
                raise not_one_of(f"{where} names a model", model, market.providers)
            _made(choice, f"{where}.{model}")
    if regime.name in PLANNED:
        return (RULES["planned"](),) * market.n_providers
    key = "auction_learning" if regime.bids else "learning"
    learning: Learning = getattr(scenario.providers, key)
    where = f"{scenario.where}: providers.{key}"
    others = None if learning.others is None else _made(learning.others, where)
    rules = []
    for provider in market.providers:
        rule = others
        if provider in learning.by_model:
            rule = _made(learning.by_model[provider], f"{where}.{provider}")
        if rule is None:
            raise InputError(f"{where} has no rule for {provider}: name it, or give rule for all others")
        if regime.name not in rule.regimes:
            allowed = [family.name for family in RULES.values() if regime.name in family.regimes]
            raise InputError(
                f"{where}: rule {rule.name} makes no sense under {regime.name}; "
                f"allowed are {', '.join(allowed)}"
            )
        rules.append(rule)
    n_actions = len(regime.actions(regime, market, 0).level)
    for rule in set(rules):
        try:
            rule.functions.start(1, n_actions, market.n_providers)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return tuple(rules)


def _made(choice: RuleChoice, where: str) -> Rule:
    """The rule of a choice, from the registry or from a module of the user's own."""
    family = RULES.get(choice.rule) or rule_from(choice.rule, f"{where}.rule")
    return family(where=where, **choice.parameters)


def start_levels_of(scenario: Scenario, market: Market) -> np.ndarray | None:
    """Index of the level each provider starts at, (N,); None for the regime's own start."""
    start = scenario.providers.start
    if start == "lowest":
        return None
    counts = market.offered[0].sum(axis=1)
    if start == "highest":
        return counts - 1
    for model in start:
        if model not in market.providers:
            raise not_one_of(f"{scenario.where}: providers.start names a model", model, market.providers)
    levels = np.zeros(market.n_providers, dtype=np.int64)
    for i, provider in enumerate(market.providers):
        if provider not in start:
            continue
        own = market.compute_level[0, i, : counts[i]]
        at = np.flatnonzero(own == start[provider])
        if not len(at):
            raise InputError(
                f"{scenario.where}: providers.start.{provider} = {start[provider]:g} is not a level of it; "
                f"allowed are {', '.join(f'{level:g}' for level in own)}"
            )
        levels[i] = at[0]
    return levels


def resolved(scenario: Scenario, market: Market) -> dict[str, Any]:
    """The scenario with every default filled in: what a run folder keeps."""
    data = scenario.model_dump(mode="json", exclude_none=True)
    data["market"]["benchmark"] = market.tasks[0]
    data["market"]["method"] = list(dict.fromkeys(market.methods))
    if scenario.market.models is None:
        data["market"]["models"] = list(dict.fromkeys(curve.model for curve in curves_of(scenario)))
    data["market"]["value_of_correct_usd"] = float(market.value_of_correct[0])
    if scenario.market.curves is not None:
        data["market"]["curves"] = str((scenario.folder / scenario.market.curves).resolve())
    if scenario.users.segments is not None:
        del data["users"]["count"], data["users"]["beta"]
    for key in ("learning", "auction_learning"):
        learning: Learning = getattr(scenario.providers, key)
        table = data["providers"][key]
        if learning.others is not None:
            table |= _made(learning.others, scenario.where).values
        for model, choice in learning.by_model.items():
            table[model] |= _made(choice, scenario.where).values
    return data


def fingerprint(scenario: Scenario, market: Market) -> str:
    """Twelve hexadecimal digits that change with anything that changes a run: curves and plug-ins too."""
    data = resolved(scenario, market)
    data["market"].pop("curves", None)
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode())
    for name in sorted(_plug_ins(scenario)):
        digest.update(code_of(name))
    for name in ("compute_level", "offered", "accuracy", "tokens", "price", "cost"):
        digest.update(np.ascontiguousarray(getattr(market, name)).tobytes())
    return digest.hexdigest()[:12]


def _plug_ins(scenario: Scenario) -> set[str]:
    """The rules from outside that a scenario names."""
    names = set()
    for learning in (scenario.providers.learning, scenario.providers.auction_learning):
        choices = [*learning.by_model.values(), *([] if learning.others is None else [learning.others])]
        names |= {choice.rule for choice in choices if choice.rule not in RULES}
    return names


def to_toml(data: Mapping[str, Any]) -> str:
    """A resolved scenario as TOML text."""
    return tomli_w.dumps(data)

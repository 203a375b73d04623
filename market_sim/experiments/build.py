"""From a checked scenario to the parts that are solved or played."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from market_sim.economy.draws import (
    DRAWS,
    Draws,
    check_made_together,
    draws_beside,
    draws_path,
    parametric_draws,
    read_draws,
)
from market_sim.economy.generated import BENCHMARK, LIKE, Generated, generated
from market_sim.economy.market import (
    PAPER_VALUE_OF_CORRECT_USD,
    Market,
    UserPopulation,
    make_market,
    make_providers,
    provider_names,
)
from market_sim.economy.quality import (
    QualityCurve,
    bundled_curves,
    bundled_prices,
    read_curves,
    select_curves,
)
from market_sim.economy.regime import Regime, Terms
from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError, check_parameters, not_one_of
from market_sim.experiments.plugins import code_of, rule_from
from market_sim.experiments.scenario import ExperienceSection, Learning, RuleChoice, Scenario
from market_sim.simulation.network import NETWORKS
from market_sim.theory.learning import RULES
from market_sim.theory.rule import PLANNED, Rule


def known_curves(scenario: Scenario) -> list[QualityCurve]:
    """All curves of the scenario's curve file or of its generated providers, or the bundled ones."""
    made, curves = generated_for(scenario), scenario.market.curves
    if made is not None:
        return list(made.curves)
    return list(bundled_curves() if curves is None else read_curves(scenario.folder / curves))


def generated_for(scenario: Scenario) -> Generated | None:
    """The providers that are generated for a scenario; None where it has measured ones."""
    section = scenario.market.generated
    if section is None:
        return None
    return generated(section.providers, scenario.seed if section.seed is None else section.seed)


def curves_of(scenario: Scenario, serves: Mapping[str, str] | None = None) -> list[list[QualityCurve]]:
    """The quality curves a scenario selects, one list per benchmark with the same models in the same order.

    serves  models that have taken the place of others, by provider
    """
    section, known = scenario.market, known_curves(scenario)
    benchmarks = section.benchmark if isinstance(section.benchmark, tuple) else (section.benchmark,)
    where, models = f"{scenario.where}: market", section.models
    found: list[list[QualityCurve]] = []
    for benchmark in benchmarks:
        if benchmarks.count(benchmark) > 1:
            raise InputError(f"{where}.benchmark names {benchmark!r} twice")
        chosen = select_curves(known, where=where, benchmark=benchmark, method=section.method, models=models)
        models = models or tuple(dict.fromkeys(curve.model for curve in chosen))
        found.append(chosen)
    kinds = [[(curve.method, curve.model) for curve in curves] for curves in found]
    for curves, kind in zip(found, kinds, strict=True):
        if kind != kinds[0]:
            method, model = next(iter(set(kinds[0]) ^ set(kind)))
            raise InputError(f"{where}: {model} was not evaluated by {method} on every benchmark")
        for place, name in enumerate(provider_names(curves)):
            if serves and name in serves:
                curves[place] = _in_place_of(curves[place], serves[name], known, scenario.where)
    return found


def _in_place_of(curve: QualityCurve, model: str, known: list[QualityCurve], where: str) -> QualityCurve:
    """The curve of another model on the same benchmark, by the same method."""
    alike = {c.model: c for c in known if (c.benchmark, c.method) == (curve.benchmark, curve.method)}
    if model not in alike:
        raise not_one_of(f"{where}: events: a model that serves {curve.benchmark}", model, alike)
    return alike[model]


def market_of(scenario: Scenario, serves: Mapping[str, str] | None = None, levels: int = 0) -> Market:
    """The market of a scenario.

    serves  models that have taken the place of others, by provider: it keeps its name and margin
    levels  room for at least so many
    """
    section, where = scenario.market, f"{scenario.where}: market"
    made = generated_for(scenario)
    listed = bundled_prices() if made is None else made.prices
    to_come = {model for event in scenario.events for model in (event.serves or {}).values()}
    tasks = []
    for original, curves in zip(curves_of(scenario), curves_of(scenario, serves), strict=True):
        there = {curve.model for curve in original}
        asked = {name: listed[name] for name in there if name in listed}
        asked |= {name: usd for name, usd in section.prices.items() if name in there or name not in to_come}
        firms = make_providers(original, where=where, prices=asked, margin=section.margin)
        if serves:
            prices = {**listed, **section.prices}
            for place, (firm, curve) in enumerate(zip(firms, curves, strict=True)):
                if curve.model not in prices:
                    raise InputError(f"{where}.prices has no price for {curve.model!r}, which an event names")
                price = prices[curve.model]
                firms[place] = replace(firm, curve=curve, price_usd_per_million=float(price))
        tasks.append(firms)
    return make_market(
        tasks,
        value_of_correct_usd=[_value_of_correct(scenario, firms[0].curve.benchmark) for firms in tasks],
        baseline=section.baseline,
        quality_curve=section.quality_curve,
        outside_value_usd=section.outside_value_usd,
        levels=levels,
    )


def draws_of(scenario: Scenario, count: int | None, correlation: float | None) -> list[Draws]:
    """Draws of the curves of a scenario, one Draws per benchmark: those of the file beside the curve file, or
    parametric ones.

    count        how many; None: all of the file, or DRAWS
    correlation  of parametric ones; None: 0
    """
    curves, found = scenario.market.curves, None
    if scenario.market.generated is not None:
        raise InputError(
            f"{scenario.where}: market.generated: nobody measured generated providers, so nothing says how "
            "sure their curves are"
        )
    if curves is not None:
        found = draws_beside(scenario.folder / curves)
    if found is None:
        where = f"{scenario.where}: market.curves"
        try:
            drawn = [
                parametric_draws(of_task, count or DRAWS, scenario.seed, correlation or 0.0)
                for of_task in curves_of(scenario)
            ]
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if curves is not None and any("accuracy_low" in curve.extra for curve in known_curves(scenario)):
            lost = (
                f" {draws_path(Path(curves)).name}, made with these curves, is not beside them; their own "
                "resamplings would say more."
            )
            drawn = [replace(each, assumption=each.assumption + lost) for each in drawn]
        return drawn
    if correlation is not None:
        raise InputError(
            f"--correlation is for curves without a file of draws, and {found} is there: its draws have the "
            "questions' own"
        )
    check_made_together(scenario.folder / str(curves))
    known = known_curves(scenario)
    return [read_draws(found, known, of_task, count) for of_task in curves_of(scenario)]


def _value_of_correct(scenario: Scenario, benchmark: str) -> float:
    given = scenario.market.value_of_correct_usd
    if isinstance(given, dict):
        if benchmark in given:
            return given[benchmark]
    elif given is not None:
        return given
    if benchmark == BENCHMARK and scenario.market.generated is not None:
        benchmark = LIKE
    if benchmark not in PAPER_VALUE_OF_CORRECT_USD:
        raise InputError(
            f"{scenario.where}: market.value_of_correct_usd is missing, and {benchmark} has no default "
            f"(those with one are {', '.join(PAPER_VALUE_OF_CORRECT_USD)})"
        )
    return PAPER_VALUE_OF_CORRECT_USD[benchmark]


def regime_of(scenario: Scenario, market: Market, users: UserPopulation) -> Regime:
    """The regime of a scenario, with its terms for that market."""
    section = scenario.regime
    terms = Terms(
        payment=section.payment,
        audit_probability=section.audit_probability,
        clawback=section.clawback,
        ties=section.ties,
        bid_shares=section.bid_shares,
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
    check_parameters(where, family.name, choice.parameters, family.parameters)
    return family(where=where, **choice.parameters)


def start_levels_of(scenario: Scenario, market: Market) -> np.ndarray | None:
    """Index of the level each provider starts at, (T, N); None for the regime's own start."""
    start = scenario.providers.start
    if start == "lowest":
        return None
    counts = market.offered.sum(axis=-1)
    if start == "highest":
        return counts - 1
    for model in start:
        if model not in market.providers:
            raise not_one_of(f"{scenario.where}: providers.start names a model", model, market.providers)
    levels = np.zeros(counts.shape, dtype=np.int64)
    for task, i in np.ndindex(counts.shape):
        provider = market.providers[i]
        if provider not in start:
            continue
        own = market.compute_level[task, i, : counts[task, i]]
        at = np.flatnonzero(own == start[provider])
        if not len(at):
            raise InputError(
                f"{scenario.where}: providers.start.{provider} = {start[provider]:g} is not a level of it; "
                f"allowed are {', '.join(f'{level:g}' for level in own)}"
            )
        levels[task, i] = at[0]
    return levels


def capacity_of(scenario: Scenario, market: Market) -> np.ndarray | None:
    """Requests that each provider can serve in a round, (N,), inf for any number; None if all can."""
    given = scenario.providers.capacity
    if given is None:
        return None
    if not isinstance(given, dict):
        return np.full(market.n_providers, float(given))
    for model in given:
        if model not in market.providers:
            raise not_one_of(f"{scenario.where}: providers.capacity names a model", model, market.providers)
    return np.array([float(given.get(name, np.inf)) for name in market.providers])


def resolved(scenario: Scenario, market: Market) -> dict[str, Any]:
    """The scenario with every default filled in: what a run folder keeps."""
    data = scenario.model_dump(mode="json", exclude_none=True)
    section = data["market"]
    section["benchmark"] = market.tasks[0] if market.n_tasks == 1 else list(market.tasks)
    section["method"] = list(dict.fromkeys(market.methods))
    if scenario.market.generated is not None:
        section["generated"].setdefault("seed", scenario.seed)
    elif scenario.market.models is None:
        section["models"] = list(dict.fromkeys(curve.model for curve in curves_of(scenario)[0]))
    worth = dict(zip(market.tasks, market.value_of_correct.tolist(), strict=True))
    section["value_of_correct_usd"] = worth if market.n_tasks > 1 else worth[market.tasks[0]]
    people = data["users"]
    if scenario.users.information == "experience":
        people.setdefault("experience", ExperienceSection().model_dump(exclude_none=True))
        network = people.setdefault("network", {"kind": "none"})
        if "kind" in network:
            defaults = {name: p.default for name, p in NETWORKS[network["kind"]].parameters.items()}
            people["network"] = {"trust": "equal"} | defaults | network
    for table, key in ((section, "curves"), (people, "types"), (people.get("network", {}), "file")):
        if key in table:
            table[key] = str((scenario.folder / table[key]).resolve())
    if scenario.users.segments is not None:
        for key in ("count", "beta", "value_scale"):
            del data["users"][key]
    if scenario.users.types is not None:
        for key in ("beta", "value_scale"):
            if key not in scenario.users.model_fields_set:
                del data["users"][key]
    for key in ("learning", "auction_learning"):
        learning: Learning = getattr(scenario.providers, key)
        table = data["providers"][key]
        if learning.others is not None:
            table |= _made(learning.others, scenario.where).values
        for model, choice in learning.by_model.items():
            table[model] |= _made(choice, scenario.where).values
    if not data["events"]:
        del data["events"]
    return data


def fingerprint(scenario: Scenario, markets: Iterable[Market]) -> str:
    """Twelve hexadecimal digits that change with anything that changes a run: curves and plug-ins too.

    markets  all that the run passes through, the first one first
    """
    markets = list(markets)
    data = resolved(scenario, markets[0])
    files = [data["users"].pop("types", None), data["users"].get("network", {}).pop("file", None)]
    data["market"].pop("curves", None)
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode())
    for file in files:
        digest.update(b"" if file is None else Path(file).read_bytes())
    for name in sorted(_plug_ins(scenario)):
        digest.update(code_of(name))
    for market in markets:
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

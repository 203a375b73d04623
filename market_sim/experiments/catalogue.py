"""What a scenario can name, computed from the registries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from market_sim.economy.quality import bundled_curves, bundled_prices
from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError
from market_sim.experiments.scenario import load_scenario
from market_sim.simulation.network import NETWORKS
from market_sim.theory.learning import RULES
from market_sim.theory.rule import AUCTIONS, PLANNED, POSTED

Rows = list[dict[str, Any]]


def rules() -> Rows:
    return [
        {
            "rule": rule.name,
            "what it does": rule.summary,
            "parameters": "; ".join(
                f"{name} = {p.default} ({p.meaning}: {p.allowed})" for name, p in rule.parameters.items()
            ),
            "sees": rule.information,
            "under": _in_words(rule.regimes),
            "source": rule.source,
        }
        for rule in RULES.values()
    ]


def _in_words(regimes: frozenset[str]) -> str:
    """Names of regimes, those of a whole group by the group's."""
    words = []
    for group, name in ((POSTED, "posted prices"), (AUCTIONS, "auctions"), (PLANNED, "planner")):
        words += [name] if group <= regimes else sorted(group & regimes)
    return ", ".join(words)


def regimes() -> Rows:
    return [
        {"regime": regime.name, "what it does": regime.summary, "source": regime.source}
        for regime in REGIMES.values()
    ]


def networks() -> Rows:
    return [
        {
            "network": kind.name,
            "what it is": kind.summary,
            "parameters": ", ".join(f"{name} = {p.default:g}" for name, p in kind.parameters.items()),
            "source": kind.source,
        }
        for kind in NETWORKS.values()
    ]


def models() -> Rows:
    """The bundled models, with their price and where they were evaluated."""
    where: dict[str, list[str]] = {}
    for curve in bundled_curves():
        where.setdefault(curve.model, []).append(f"{curve.benchmark} {curve.method}")
    prices = bundled_prices()
    return [
        {"model": name, "USD per million tokens": prices[name], "evaluated on": ", ".join(found)}
        for name, found in where.items()
    ]


def benchmarks() -> Rows:
    """The bundled benchmarks and the methods each has."""
    found: dict[str, dict[str, set[str]]] = {}
    questions: dict[str, int | None] = {}
    for curve in bundled_curves():
        found.setdefault(curve.benchmark, {}).setdefault(curve.method, set()).add(curve.model)
        questions[curve.benchmark] = curve.n_questions
    return [
        {"benchmark": name, "questions": questions[name], "method": method, "models": len(names)}
        for name, methods in found.items()
        for method, names in methods.items()
    ]


def scenarios() -> Rows:
    """The scenario files in runs/."""
    rows = []
    for path in sorted(Path("runs").glob("*.toml")):
        try:
            scenario = load_scenario(path)
        except InputError as error:
            rows.append({"file": str(path), "name": "", "about": str(error)})
            continue
        first = path.read_text(encoding="utf-8").splitlines()[0]
        rows.append({"file": str(path), "name": scenario.name, "about": first.lstrip("# ")})
    return rows


CATALOGUES: dict[str, Callable[[], Rows]] = {
    "rules": rules,
    "regimes": regimes,
    "networks": networks,
    "models": models,
    "benchmarks": benchmarks,
    "scenarios": scenarios,
}

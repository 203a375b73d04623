"""What the controls of the page say, and the scenario that comes of it.

A page starts from a scenario, and only what a visitor changes is changed in it: what has no control
(events, segments, capacities, rules by model) stays as in the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from market_sim.economy.market import PAPER_VALUE_OF_CORRECT_USD
from market_sim.economy.quality import QualityCurve
from market_sim.economy.regimes import REGIMES
from market_sim.errors import named
from market_sim.experiments.build import known_curves
from market_sim.experiments.compare import TITLES
from market_sim.experiments.house_style import METHOD_NAMES
from market_sim.experiments.scenario import Learning, Scenario
from market_sim.experiments.visitors import check_watchable, scenario_from
from market_sim.simulation.network import NETWORKS
from market_sim.theory.learning import RULES
from market_sim.theory.rule import AUCTIONS, POSTED

Item = dict[str, Any]
"""An entry of a menu: {"text": what is read, "value": what is meant}."""

FILE = "as in the file"
AS_IN_FILE: Item = {"text": FILE, "value": None}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What stands in each control; None where the scenario says more than a control can show."""

    benchmark: str | None
    method: str | None
    models: tuple[str, ...]
    regime: str
    rule: str | None
    auction_rule: str | None
    beta: float | None
    value_usd: float | None
    margin: float | None
    users: int | None
    information: str | None
    demand: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control in words: name, unit, range and a line of help; a slider's steps are its values."""

    label: str
    unit: str
    help: str
    values: tuple[float, ...] = ()


def _series(low: int, high: int) -> tuple[float, ...]:
    """1, 2, 5, 10, ... from 10^low to 10^high."""
    steps = [digit * 10.0**power for power in range(low, high) for digit in (1, 2, 5)]
    return (*steps, 10.0**high)


CONTROLS: dict[str, Control] = {
    "benchmark": Control(
        label="Benchmark", unit="", help="The questions users ask: what accuracy was measured on."
    ),
    "method": Control(
        label="Method",
        unit="",
        help="How compute is spent: voting or picking among samples, or thinking longer.",
    ),
    "models": Control(label="Models", unit="", help="One provider for each model; none ticked: all of them."),
    "regime": Control(label="Regime", unit="", help="How queries are sold and paid for."),
    "rule": Control(
        label="Learning under posted prices",
        unit="",
        help="How providers choose compute when they post prices.",
    ),
    "auction_rule": Control(
        label="Learning under auctions",
        unit="",
        help="How providers bid; truthful bids cost and quality as they are.",
    ),
    "beta": Control(
        label="Rationality β",
        unit="per USD",
        help="1 to 1,000,000. How surely users pick the best offer: at 1,000 an offer that is better by "
        "1 USD per 1,000 queries has 2.7 times the odds.",
        values=_series(0, 6),
    ),
    "value_usd": Control(
        label="Value of a right answer",
        unit="USD",
        help="0.001 to 1. The paper takes 0.008 for GSM8K, 0.02 for GPQA, 0.05 for AIME.",
        values=tuple(sorted({*_series(-3, 0), *PAPER_VALUE_OF_CORRECT_USD.values()})),
    ),
    "margin": Control(
        label="Margin over cost",
        unit="of cost",
        help="0.01 to 5. Price is cost times one plus this; the paper takes 0.25.",
        values=(0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0),
    ),
    "users": Control(
        label="Users",
        unit="people",
        help="50 to 10,000. Each asks one query a round; more users, less chance in the curves.",
        values=(50, 100, 200, 500, 1000, 2000, 5000, 10000),
    ),
    "information": Control(
        label="Information and network",
        unit="",
        help="Users know what every offer is worth; or find out, and hear from the users they are linked to.",
    ),
    "demand": Control(
        label="Demand",
        unit="",
        help="Each query drawn by chance, or exactly the expected shares of a continuum.",
    ),
    "seed": Control(
        label="Seed",
        unit="",
        help="1 to 100. Another seed, other chances; the same seed, the same market.",
        values=tuple(range(1, 101)),
    ),
}

REGIME_ITEMS: list[Item] = [
    {"text": TITLES.get(name, name.replace("_", " ")).removeprefix("the "), "value": name} for name in REGIMES
]

KNOWS = "full"
ALONE = "none"

_NETWORK_WORDS = {
    "none": "find out alone",
    "complete": "find out, hear everybody",
    "random": "find out, hear a random few",
    "small_world": "find out, hear a small world",
    "scale_free": "find out, hear the well-connected",
}


def regime_title(name: str) -> str:
    """How a page calls a regime."""
    return next(item["text"] for item in REGIME_ITEMS if item["value"] == name)


def help_of(key: str, value: Any) -> str:
    """The line of help of a control, with what its entry means where names alone do not say it."""
    known: Mapping[str, Any] = (
        REGIMES if key == "regime" else RULES if key in ("rule", "auction_rule") else {}
    )
    meaning = f" Here: {known[value].summary}." if value in known else ""
    return CONTROLS[key].help + meaning


def menu(key: str, base: Scenario, choices: Choices) -> list[Item]:
    """The entries of a control's menu."""
    items = _menu(key, base, choices)
    return [AS_IN_FILE, *items] if left_to_file(key, base) else items


def left_to_file(key: str, base: Scenario) -> bool:
    """Whether the scenario file says more than the control can show: then that can be chosen too."""
    return getattr(choices_of(base), key) is None


def steps(key: str, base: Scenario, value: float | None) -> list[float | None]:
    """The places of a slider: "as in the file" (None) where that can be chosen, the control's values, and the
    value it stands at."""
    numbers = {*CONTROLS[key].values, *(() if value is None else (value,))}
    return [*([None] if left_to_file(key, base) else []), *sorted(numbers)]


def _menu(key: str, base: Scenario, choices: Choices) -> list[Item]:
    curves = known_curves(base)
    if key == "benchmark":
        return _plain(curve.benchmark for curve in curves)
    if key == "method":
        found = dict.fromkeys(curve.method for curve in _chosen(curves, choices.benchmark, None))
        return [{"text": METHOD_NAMES.get(name, name), "value": name} for name in found]
    if key == "models":
        return _plain(models_for(curves, choices.benchmark, choices.method))
    if key == "regime":
        return REGIME_ITEMS
    if key in ("rule", "auction_rule"):
        family = POSTED if key == "rule" else AUCTIONS
        return _plain(rule.name for rule in RULES.values() if family & rule.regimes)
    if key == "information":
        networks = [{"text": _NETWORK_WORDS.get(name, name), "value": name} for name in NETWORKS]
        return [{"text": "all offers as they are", "value": KNOWS}, *networks]
    return [
        {"text": "sampled: each query by chance", "value": "sampled"},
        {"text": "expected: a continuum", "value": "expected"},
    ]


def _plain(names: Any) -> list[Item]:
    return [{"text": name.replace("_", " "), "value": name} for name in dict.fromkeys(names)]


def _chosen(curves: Sequence[QualityCurve], benchmark: str | None, method: str | None) -> list[QualityCurve]:
    return [c for c in curves if benchmark in (None, c.benchmark) and method in (None, c.method)]


def models_for(curves: Sequence[QualityCurve], benchmark: str | None, method: str | None) -> list[str]:
    """The models that were evaluated so."""
    return list(dict.fromkeys(curve.model for curve in _chosen(curves, benchmark, method)))


def choices_of(scenario: Scenario) -> Choices:
    """What a scenario sets the controls to."""
    market, users = scenario.market, scenario.users
    curves = known_curves(scenario)
    benchmark = market.benchmark or _only({curve.benchmark for curve in curves})
    method = market.method or _only({curve.method for curve in _chosen(curves, _one(benchmark), None)})
    benchmark, method = _one(benchmark), _one(method)
    worth = market.value_of_correct_usd
    if worth is None:
        worth = PAPER_VALUE_OF_CORRECT_USD.get(benchmark or "")
    elif isinstance(worth, dict):
        worth = worth.get(benchmark or "")
    crowd = users.segments is not None
    return Choices(
        benchmark=benchmark,
        method=method,
        models=market.models or (),
        regime=scenario.regime.kind,
        rule=_rule(scenario.providers.learning),
        auction_rule=_rule(scenario.providers.auction_learning),
        beta=None if crowd or isinstance(users.beta, dict) else users.beta,
        value_usd=worth,
        margin=None if isinstance(market.margin, dict) else market.margin,
        users=None if crowd else users.count,
        information=_information(scenario),
        demand=users.demand,
        seed=scenario.seed,
    )


def _one(names: Any) -> str | None:
    """The name, where there is one only."""
    if isinstance(names, tuple):
        return names[0] if len(names) == 1 else None
    return names


def _only(names: set[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 else None


def _rule(learning: Learning) -> str | None:
    plain = learning.others is not None and not learning.by_model and not learning.others.parameters
    return learning.others.rule if plain and learning.others and ":" not in learning.others.rule else None


def _information(scenario: Scenario) -> str | None:
    users = scenario.users
    if users.information == "full":
        return KNOWS
    return str((users.network or {"kind": ALONE}).get("kind", "")) or None


def after(choices: Choices, key: str, value: Any, base: Scenario) -> Choices:
    """The choices after one of them: what does not go with it any more becomes what does."""
    data = {field.name: getattr(choices, field.name) for field in fields(Choices)} | {key: value}
    curves = known_curves(base)
    if key == "benchmark":
        methods = list(dict.fromkeys(curve.method for curve in _chosen(curves, value, None)))
        data["method"] = data["method"] if data["method"] in methods else methods[0]
        as_opened = choices_of(base)
        back = value == as_opened.benchmark
        data["value_usd"] = (
            as_opened.value_usd if back else PAPER_VALUE_OF_CORRECT_USD.get(value, data["value_usd"])
        )
    if key in ("benchmark", "method"):
        there = models_for(curves, data["benchmark"], data["method"])
        data["models"] = tuple(name for name in data["models"] if name in there)
    if key == "information" and value != KNOWS:
        data["demand"] = "sampled"  # who finds out is somebody
    if key == "demand" and value == "expected":
        data["information"] = KNOWS
    return Choices(**data)


def scenario_of(base: Scenario, choices: Choices) -> Scenario:
    """The scenario with what was changed in the controls.  Raises InputError where it cannot be."""
    before = choices_of(base)
    data = base.model_dump(mode="python", exclude_unset=True)
    for field in fields(Choices):
        value = getattr(choices, field.name)
        if value != getattr(before, field.name):
            _SETTERS[field.name](data, value)
    return check_watchable(scenario_from(data, base.where, base.folder))


def _in(section: str, name: str) -> Any:
    """A setter of a key in a section; None leaves it to the default."""

    def put(data: dict[str, Any], value: Any) -> None:
        place = data.setdefault(section, {})
        if value is None or value == ():
            place.pop(name, None)
        else:
            place[name] = value

    return put


def _rule_into(name: str) -> Any:
    """A setter of a learning rule: one of ours, for a visitor may send anything, and another is a program."""

    def put(data: dict[str, Any], value: str) -> None:
        named(f"providers.{name}", value, RULES)
        data.setdefault("providers", {})[name] = {"rule": value}

    return put


def _users_into(name: str) -> Any:
    """Whoever sets how many or how careful users are takes the place of segments."""

    def put(data: dict[str, Any], value: Any) -> None:
        users = data.setdefault("users", {})
        users.pop("segments", None)
        users[name] = value

    return put


def _set_information(data: dict[str, Any], value: str) -> None:
    users = data.setdefault("users", {})
    users.pop("network", None)
    if value == KNOWS:
        users.pop("experience", None)
        users["information"] = "full"
    else:
        users |= {"information": "experience", "network": {"kind": value}}


def _set_seed(data: dict[str, Any], value: int) -> None:
    data["seed"] = value


_SETTERS: dict[str, Any] = {
    "benchmark": _in("market", "benchmark"),
    "method": _in("market", "method"),
    "models": _in("market", "models"),
    "regime": _in("regime", "kind"),
    "rule": _rule_into("learning"),
    "auction_rule": _rule_into("auction_learning"),
    "beta": _users_into("beta"),
    "value_usd": _in("market", "value_of_correct_usd"),
    "margin": _in("market", "margin"),
    "users": _users_into("count"),
    "information": _set_information,
    "demand": _in("users", "demand"),
    "seed": _set_seed,
}

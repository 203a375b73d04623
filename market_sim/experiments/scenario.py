"""Scenario files: a market, its users, its providers and its regime, in TOML (docs/formats.md).

A scenario is checked once, when it is read: an unknown key, a wrong type or an impossible value is
refused with one sentence.  Everything after that trusts it.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from market_sim.economy.generated import MOST_PROVIDERS
from market_sim.economy.market import (
    MOST_INDIVIDUALS,
    MOST_PEOPLE,
    MOST_RATIONAL,
    PAPER_BASELINE,
    PAPER_MARGIN,
    QUALITY_CURVES,
)
from market_sim.economy.quality import LARGEST
from market_sim.economy.regime import BID_SHARES
from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError, nearest
from market_sim.experiments.toml_files import NAME, read_toml, validated
from market_sim.theory.learning import RULES


def _known(registry: Iterable[str], or_like: str = "$^") -> BeforeValidator:
    """A field whose value must be a name in a registry, or match another pattern."""
    names = list(registry)

    def check(value: Any) -> Any:
        if isinstance(value, str) and value not in names and not re.match(or_like, value):
            raise ValueError(f"is not one of {', '.join(names)}{nearest(value, names)}")
        return value

    return BeforeValidator(check)


MOST_USD = 1e6
"""Per query, or per million tokens: far above any real amount, and no product of such amounts overflows."""

MOST_BID_SHARES = 200
"""Every level has an action for each of them."""

Usd = Annotated[float, Field(ge=-MOST_USD, le=MOST_USD, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=MOST_USD, allow_inf_nan=False)]
NotTiny = Annotated[float, Field(ge=1e-9, le=MOST_USD, allow_inf_nan=False)]
Level = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=MOST_USD, allow_inf_nan=False)]
Rationality = Annotated[float, Field(ge=0, le=MOST_RATIONAL, allow_inf_nan=False)]
Capacity = Annotated[int, Field(ge=0, le=MOST_PEOPLE)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
BidShare = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
RuleName = Annotated[str, _known(RULES, or_like=r"[\w.]+:\w+$")]
RegimeName = Annotated[str, _known(REGIMES)]
CurveName = Annotated[str, _known(QUALITY_CURVES)]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
Benchmarks = Annotated[
    str | Annotated[tuple[str, ...], Field(min_length=1)],
    BeforeValidator(_as_tuple),
]
Methods = Annotated[
    str | Annotated[tuple[str, ...], Field(min_length=1)],
    BeforeValidator(_as_tuple),
]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GeneratedSection(_Section):
    """Providers drawn at random (economy/generated.py); by the scenario's seed, if no other is given."""

    providers: Annotated[int, Field(ge=1, le=MOST_PROVIDERS)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class MarketSection(_Section):
    """What is served and what it is worth."""

    curves: str | None = None
    generated: GeneratedSection | None = None
    benchmark: Benchmarks | None = None
    method: Methods | None = None
    models: Names | None = None
    prices: dict[str, NotTiny] = {}
    value_of_correct_usd: Positive | dict[str, Positive] | None = None
    baseline: Probability = PAPER_BASELINE
    quality_curve: CurveName = "linear"
    margin: Positive | dict[str, Positive] = PAPER_MARGIN
    outside_value_usd: Usd = 0.0

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.curves is not None and self.generated is not None:
            raise ValueError("generated providers have their own curves: leave curves or generated out")
        return self


class Segment(_Section):
    """A group of users who are alike."""

    size: Annotated[int, Field(ge=1, le=MOST_PEOPLE)]
    beta: Rationality
    value_scale: Positive = 1.0
    budget_usd: Positive | None = None
    tasks: dict[str, NotNegative] | None = None


class ExperienceSection(_Section):
    """How users learn what offers are worth (simulation/experience.py)."""

    prior_usd: Usd | None = None
    step: Annotated[float, Field(gt=0, le=1)] = 0.2
    trust: Annotated[float, Field(ge=0, lt=1)] = 0.3
    forgetting: Probability = 0.0


def _as_distribution(value: Any) -> Any:
    if not isinstance(value, dict):
        like = (
            'Input should be a distribution, as in {distribution = "lognormal", median = 1000, sigma = 0.5}'
        )
        raise PydanticCustomError("distribution_type", like)
    return value


DIFFER = ("value_scale", "beta", "budget_usd", "inertia_usd")
"""What users may differ in: a number or a distribution each."""

Distribution = Annotated[dict[str, Any], BeforeValidator(_as_distribution)]
"""{distribution = "lognormal", median = 1000, sigma = 0.5}; read where users are made."""


class UsersSection(_Section):
    """Who buys."""

    count: Annotated[int, Field(ge=1, le=MOST_PEOPLE)] = 2000
    beta: Rationality | Distribution = 1000.0
    value_scale: Positive | Distribution = 1.0
    budget_usd: Positive | Distribution | None = None
    inertia_usd: Positive | Distribution | None = None
    types: str | None = None
    segments: Annotated[tuple[Segment, ...], BeforeValidator(_as_tuple), Field(min_length=1)] | None = None
    tasks: dict[str, NotNegative] | None = None
    information: Literal["full", "experience"] = "full"
    experience: ExperienceSection | None = None
    network: dict[str, Any] | None = None
    demand: Literal["sampled", "expected"] = "sampled"

    @model_validator(mode="before")
    @classmethod
    def _one_description(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own = [key for key in ("count", "beta", "value_scale", "budget_usd", "types") if key in data]
        if own and "segments" in data:
            raise ValueError(f"segments say how many users there are and who: leave {' and '.join(own)} out")
        if data.get("information") != "experience":
            for key in ("experience", "network"):
                if key in data:
                    raise ValueError(f'{key} needs information = "experience"')
        return data

    @property
    def one_by_one(self) -> bool:
        """Whether everybody is a row: where requests are drawn, and where people are."""
        alike = not any(isinstance(getattr(self, key), dict) for key in DIFFER)
        return self.segments is None and (self.demand == "sampled" or not (alike or self.types))

    @model_validator(mode="after")
    def _personal(self) -> Self:
        personal = [key for key in ("inertia_usd",) if getattr(self, key) is not None]
        personal += ['information = "experience"'] if self.information == "experience" else []
        if personal and (self.demand == "expected" or self.segments is not None):
            raise ValueError(
                f"{personal[0]} belongs to people who are drawn one by one: leave segments and "
                'demand = "expected" out'
            )
        return self


class RuleChoice(_Section):
    """A learning rule and its parameters; their ranges are checked where the rule is made."""

    rule: RuleName
    parameters: dict[str, float | str] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_table(cls, data: Any) -> Any:
        """{rule = "x", rate = 2}: every other key is a parameter."""
        if not isinstance(data, dict):
            return data
        rest = {key: value for key, value in data.items() if key != "rule"}
        return {key: data[key] for key in data if key == "rule"} | {"parameters": rest}

    @model_serializer
    def _to_table(self) -> dict[str, Any]:
        return {"rule": self.rule} | self.parameters


class Learning(_Section):
    """One rule for all providers, or one by model with `rule` for the rest."""

    others: RuleChoice | None = None
    by_model: dict[str, RuleChoice] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_table(cls, data: Any) -> Any:
        """{rule = "x", rate = 2, "Some-Model" = {rule = "y"}}: keys that hold tables are models."""
        if not isinstance(data, dict):
            return data
        by_model = {key: value for key, value in data.items() if isinstance(value, dict)}
        others = {key: value for key, value in data.items() if key not in by_model}
        if others and "rule" not in others:
            got = ", ".join(map(repr, others))
            raise ValueError(f'{got} without rule: name the rule, as in {{rule = "hedge"}}')
        return {"others": others or None, "by_model": by_model}

    @model_serializer
    def _to_table(self) -> dict[str, Any]:
        everybody = {} if self.others is None else self.others._to_table()
        return everybody | {model: choice._to_table() for model, choice in self.by_model.items()}


class ProvidersSection(_Section):
    """How providers act."""

    learning: Learning = Learning.model_validate({"rule": "better_reply"})
    auction_learning: Learning = Learning.model_validate({"rule": "truthful"})
    activation: Literal["default", "one_at_a_time", "simultaneous"] = "default"
    capacity: Capacity | dict[str, Capacity] | None = None
    start: Literal["lowest", "highest"] | dict[str, Level] = "lowest"


class RegimeSection(_Section):
    """The rules of trade, and the options of an auction."""

    kind: RegimeName = "pay_per_compute"
    payment: Literal["realised", "expected", "reported"] = "realised"
    audit_probability: Probability = 0.0
    clawback: NotNegative = 1.0
    ties: Literal["lowest", "random"] = "lowest"
    bid_shares: Annotated[
        tuple[BidShare, ...], BeforeValidator(_as_tuple), Field(min_length=1, max_length=MOST_BID_SHARES)
    ] = BID_SHARES

    @model_validator(mode="after")
    def _truth_among_shares(self) -> Self:
        if 0 not in self.bid_shares or any(b <= a for a, b in pairwise(self.bid_shares)):
            raise ValueError(
                f"bid_shares = {list(self.bid_shares)} is not allowed; they must rise and have 0, the truth, "
                "among them"
            )
        return self


class Event(_Section):
    """What changes at the beginning of a round; it stays changed."""

    round: Annotated[int, Field(ge=1)]
    enters: Names | None = None
    leaves: Names | None = None
    prices: dict[str, NotTiny] | None = None
    serves: dict[str, str] | None = None
    demand: Annotated[float, Field(gt=0, le=1000)] | None = None
    regime: RegimeSection | None = None

    @model_validator(mode="after")
    def _something_happens(self) -> Self:
        if all(getattr(self, key) is None for key in type(self).model_fields if key != "round"):
            raise ValueError("nothing happens: name enters, leaves, prices, serves, demand or regime")
        return self

    @model_validator(mode="after")
    def _each_moves_once(self) -> Self:
        moving = [*(self.enters or ()), *(self.leaves or ())]
        for name in moving:
            if moving.count(name) > 1:
                raise ValueError(
                    f"{name} is named twice in enters and leaves; a provider moves once an event"
                )
        return self


class OutputSection(_Section):
    """What a run keeps."""

    requests: bool = False
    metrics_every: Annotated[int, Field(ge=1)] = 1


class Scenario(_Section):
    """A scenario file, checked.  `where` names the file in error sentences."""

    name: Annotated[str, Field(pattern=NAME)]
    rounds: Annotated[int, Field(ge=1)] = 200
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    market: MarketSection = MarketSection()
    users: UsersSection = UsersSection()
    providers: ProvidersSection = ProvidersSection()
    regime: RegimeSection = RegimeSection()
    events: Annotated[tuple[Event, ...], BeforeValidator(_as_tuple)] = ()
    output: OutputSection = OutputSection()

    @model_validator(mode="after")
    def _events_in_order(self) -> Self:
        rounds = [event.round for event in self.events]
        for place, (earlier, later) in enumerate(pairwise(rounds), start=1):
            if later <= earlier:
                raise ValueError(
                    f"events.{place}.round = {later} comes after round {earlier}: events must be in order, "
                    "and one a round"
                )
        if rounds and rounds[-1] > self.rounds:
            raise ValueError(
                f"events.{len(rounds) - 1}.round = {rounds[-1]} is beyond the last round, {self.rounds}"
            )
        return self

    @model_validator(mode="after")
    def _few_enough(self) -> Self:
        users, most = self.users, self.most_demand
        times = "" if most == 1 else f", times {most:g} by an event,"
        groups = [("count", users.count)]
        if users.segments is not None:
            groups = [(f"segments.{place}.size", each.size) for place, each in enumerate(users.segments)]
        for key, number in groups:
            people = round(number * most)
            if users.one_by_one and people > MOST_INDIVIDUALS:
                instead = '; use segments, or demand = "expected"'
                if users.demand == "expected":
                    instead = " from distributions; use types or segments"
                raise ValueError(
                    f"users.{key} = {number}{times} is too many to draw one by one "
                    f"(at most {MOST_INDIVIDUALS}){instead}"
                )
            if people > MOST_PEOPLE:
                raise ValueError(f"users.{key} = {number}{times} is too many (at most {MOST_PEOPLE})")
        return self

    @property
    def most_demand(self) -> float:
        """The most users there ever are, as a multiple of the number they are at first."""
        return max([1.0, *(event.demand for event in self.events if event.demand is not None)])

    _where: str = PrivateAttr(default="scenario")
    _folder: Path = PrivateAttr(default=Path())

    @property
    def where(self) -> str:
        return self._where

    @property
    def folder(self) -> Path:
        """Paths in the scenario are relative to this one."""
        return self._folder


def load_scenario(source: "Path | str | Mapping[str, Any] | Scenario") -> Scenario:
    """A scenario from a file, the name of a file in runs/, a dictionary, or one that is already checked.

    Raises InputError with one sentence: file, field, what was got, what is allowed.
    """
    if isinstance(source, Scenario):
        return source
    if isinstance(source, Mapping):
        return scenario_from(dict(source), "scenario", Path())
    if not isinstance(source, str | Path):
        raise InputError(f"scenario = {source!r} is not a file, a name in runs/ or a dictionary")
    path = _scenario_path(Path(source))
    return scenario_from(read_toml(path, "a scenario"), str(path), path.parent)


def _scenario_path(path: Path) -> Path:
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder, not a scenario file")
        if path.exists():
            return path
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    by_name = Path("runs") / f"{path}.toml"
    if path.suffix != ".toml" and by_name.exists():
        return by_name
    known = sorted(str(p) for p in Path("runs").glob("*.toml"))
    raise InputError(
        f"{path}: there is no such scenario file{nearest(str(path), known)}; "
        "market-sim list scenarios shows those in runs/"
    )


def changed(scenario: Scenario, **changes: Any) -> Scenario:
    """The scenario with top-level or dotted keys replaced (`regime__kind="..."`) and checked again."""
    data = scenario.model_dump(mode="python", exclude_unset=True)
    for key, value in changes.items():
        if value is None:
            continue
        *sections, name = key.split("__")
        place = data
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value.item() if isinstance(value, np.generic) else value
    if "events" in data and isinstance(rounds := data.get("rounds"), int):  # a shorter run ends before some
        data["events"] = [event for event in data["events"] if event["round"] <= rounds]
    return scenario_from(data, scenario.where, scenario.folder)


def scenario_from(data: dict[str, Any], where: str, folder: Path) -> Scenario:
    """A scenario from what a file holds; `where` begins error sentences, paths are relative to `folder`."""
    scenario = validated(Scenario, data, where)
    scenario._where, scenario._folder = where, folder
    return scenario

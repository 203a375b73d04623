"""What a sweep file may say, key by key (docs/formats.md)."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from market_sim.experiments.designs import SAMPLED, Kind, Scale
from market_sim.experiments.toml_files import NAME

MOST_RUNS = 10_000_000


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Range(_Table):
    """Numbers from one to another, both included; step: only those that are so far apart, from the first."""

    low: Annotated[float, Field(alias="from", allow_inf_nan=False)]
    high: Annotated[float, Field(alias="to", allow_inf_nan=False)]
    steps: Annotated[int, Field(ge=2, le=100_000)] = 2
    scale: Scale = "linear"
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"to = {self.high:g} must be above from = {self.low:g}")
        if self.step is not None and "steps" in self.model_fields_set:
            raise ValueError("steps and step exclude each other")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step = {self.step:g} leads beyond to = {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f'from = {self.low:g} must be above 0 where scale = "log"')
        return self

    @property
    def multiples(self) -> int:
        """Steps that fit into the range."""
        return 0 if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9)


class Design(_Table):
    """How points are chosen; what `points` means depends on the kind (experiments/designs.py)."""

    kind: Kind = "grid"
    points: Annotated[int, Field(ge=1, le=MOST_RUNS)] | None = None
    order: Literal[1, 2] = 1
    levels: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    settings: Annotated[
        tuple[dict[str, Any], ...], BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v)
    ] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind in SAMPLED and self.points is None:
            raise ValueError(f'kind = "{self.kind}" needs points')
        if self.kind not in SAMPLED and self.points is not None:
            raise ValueError(f'points are for {", ".join(SAMPLED)}, not for kind = "{self.kind}"')
        for key, kind in (("order", "sobol"), ("levels", "morris")):
            if key in self.model_fields_set and self.kind != kind:
                raise ValueError(f'{key} is for kind = "{kind}", not for kind = "{self.kind}"')
        if (self.kind == "list") != bool(self.settings):
            raise ValueError('kind = "list" and [[design.settings]] belong together')
        if self.kind == "sobol" and self.points is not None and self.points & (self.points - 1):
            raise ValueError(f"points = {self.points} is not a power of two, which a sobol design needs")
        return self


class SweepFile(_Table):
    """A sweep file, key by key."""

    name: Annotated[str, Field(pattern=NAME)]
    kind: Literal["run", "solve"] = "run"
    scenario: str | None = None
    base: dict[str, Any] | None = None
    seeds: Annotated[int, Field(ge=1, le=MOST_RUNS)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    rounds: Annotated[int, Field(ge=1)] | None = None
    keep_rounds: bool = False
    axes: dict[str, Any] = {}
    design: Design = Design()

    @model_validator(mode="after")
    def _one_base(self) -> Self:
        if (self.scenario is None) == (self.base is None):
            raise ValueError("needs either scenario, the name of a scenario file, or a [base] table")
        if self.kind == "solve" and (self.keep_rounds or self.rounds is not None):
            raise ValueError('rounds and keep_rounds are for kind = "run": what is solved has no rounds')
        return self

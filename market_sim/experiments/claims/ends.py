"""Where runs of a sweep over learning rules end: in an equilibrium, at rest elsewhere, in a cycle, or neither
(docs/theory.md 5.1), and how far from equilibrium play is after the warm-up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from market_sim.errors import InputError
from market_sim.experiments.claims.speed import RULE_AXES
from market_sim.experiments.sweep_table import (
    Contrast,
    SweepTable,
    contrasts,
    over_replicates,
    plainly,
    wanted_axis,
)
from market_sim.theory.inference import MeanDifference, share_interval

if TYPE_CHECKING:
    import pandas as pd

LEAST, GREATER = "in the least equilibrium", "in a greater equilibrium"
ELSEWHERE, CYCLE, NEITHER = "at rest elsewhere", "in a cycle", "neither"
ENDS = (LEAST, GREATER, ELSEWHERE, CYCLE, NEITHER)

MEASURES = STEPS, GAIN, WELFARE = ("equilibrium_steps", "nashconv_usd", "expected_welfare_usd")


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many runs of how many ended somewhere, and the ends of the exact 95 % interval for its probability.

    Over replicates of which all or none did, Student's interval would have no width.
    """

    runs: int
    of: int
    low: float
    high: float

    @property
    def mean(self) -> float:
        return self.runs / self.of


def _share(ended: "pd.Series[float]") -> Share:
    """Of a column of 0 and 1, NaN where it is not known how a run ended."""
    runs, of = int(ended.sum()), int(ended.count())
    low, high = share_interval(runs, of)
    return Share(runs=runs, of=of, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class RuleEnds:
    """A rule in a sweep, means over replicates of means over its other axes.

    ends      by name in ENDS: shares of the runs whose end is known
    measures  by name in MEASURES, after the warm-up: levels to the nearest equilibrium; what providers could
              gain by moving, each alone, and welfare, USD per request
    better    welfare less that of the sweep's first rule; None for that one
    """

    rule: str
    ends: Mapping[str, Share]
    measures: Mapping[str, MeanDifference]
    better: Contrast | None


def ends_of_sweep(table: SweepTable) -> list[RuleEnds]:
    """Every rule of a sweep of runs over the rule, in the sweep's order.

    Raises InputError without such an axis, or where no run went well or none has a list of equilibria.
    """
    axis = wanted_axis(table, "run", RULE_AXES, "where rules end")
    known = table.ok.loc[table.ok[STEPS].notna(), "point"]
    if not len(known):
        raise InputError(
            f"{table.name}: no run of it went well in a market whose equilibria are known: pay-per-compute, "
            "and users who are alike"
        )
    frame = table.frame[table.frame["point"].isin(known)]
    number, rests = frame["equilibrium_number"], frame["settled_round"].notna()
    cycles = frame["cycle_length"].notna()
    found = {
        LEAST: number == 1,
        GREATER: number > 1,
        ELSEWHERE: rests & number.isna(),
        CYCLE: cycles,
        NEITHER: ~rests & ~cycles,
    }
    shares = {name: true.astype(float).where(frame[STEPS].notna()) for name, true in found.items()}
    table = table.with_frame(frame.assign(**shares))
    better = {one.value: one for one in contrasts(table, axis, [WELFARE])}
    return [
        RuleEnds(
            rule=plainly(rule),
            ends={name: _share(own[name]) for name in ENDS},
            measures={name: over_replicates(own, name) for name in MEASURES},
            better=better.get(str(rule)),
        )
        for rule, own in table.ok.groupby(axis, sort=False)
        if own[STEPS].notna().any()
    ]

"""A number along an axis, and how sure it is at each place."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.draws import Draws, parametric_draws
from market_sim.economy.market import PAPER_VALUE_OF_CORRECT_USD
from market_sim.economy.uncertainty import CONFIDENCE, UncertainSolution, fewest_draws, interval
from market_sim.errors import InputError, named
from market_sim.experiments.paper import SETTINGS, paper_curves
from market_sim.experiments.solve import solve_uncertain
from market_sim.experiments.sweep import load_sweep
from market_sim.experiments.sweep_table import (
    MOST_SETTINGS,
    SweepTable,
    rows_by_setting,
    setting_text,
    varied,
    wanted_axis,
)
from market_sim.theory.arrays import Array

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """Estimates (M,) and the ends of their 95 % intervals."""

    estimate: Array
    low: Array
    high: Array


def band(estimates: Sequence[float], draws: Sequence[Array]) -> Band:
    """Percentile intervals over draws, place by place."""
    found = [interval(value, drawn, CONFIDENCE) for value, drawn in zip(estimates, draws, strict=True)]
    return Band(
        **{name: np.array([getattr(each, name) for each in found]) for name in ("estimate", "low", "high")}
    )


def draws_of_paper(benchmark: str, method: str, count: int, seed: int) -> Draws:
    """Draws of the paper's curves of a setting, as their numbers of questions say."""
    return parametric_draws(paper_curves(benchmark, method), count, seed)


def settings_of(benchmarks: str) -> list[tuple[str, str]]:
    """The paper's settings of some benchmarks, "GSM8K,AIME", in the paper's order."""
    wanted = [
        named("--benchmarks", name.strip(), PAPER_VALUE_OF_CORRECT_USD) for name in benchmarks.split(",")
    ]
    return [setting for setting in SETTINGS if setting[0] in wanted]


def check_draws(draws: int) -> None:
    """Raise InputError for too few draws for an interval."""
    if draws < fewest_draws():
        raise InputError(f"--draws {draws} is not allowed; it must be at least {fewest_draws()}")


# --- Of a sweep -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class SolvedCurve:
    """One setting of a sweep along an axis.

    about   the values that set it apart, beside benchmark and method; "" if nothing does
    rows    of the table, along the axis
    solved  the same points with draws of their curves
    """

    about: str
    rows: "pd.DataFrame"
    solved: list[UncertainSolution]


def solved_curves(
    folder: Path | str, table: SweepTable, axis: str, claim: str, draws: int
) -> list[SolvedCurve]:
    """Every setting of a sweep of kind "solve" along an axis, solved again for draws of its curves.

    A solved point has no replicates: what is uncertain about it are the curves.  Of replicates, which differ
    in the order of moves, the first is taken.  Raises InputError for another sweep, one with failures, or
    with too many settings.
    """
    wanted_axis(table, "solve", [axis], claim)
    if len(table.ok) < len(table.frame):
        bad = len(table.frame) - len(table.ok)
        raise InputError(f"{table.name}: {bad} of its points failed, and {claim} needs all of them")
    rows = table.ok[table.ok["replicate"] == table.ok["replicate"].min()]
    apart = varied(table, without=[axis])
    settings = rows_by_setting(rows, apart)
    if len(settings) > MOST_SETTINGS:
        raise InputError(
            f"{table.name}: has {len(settings):,} settings with a curve over {axis} each, and at most "
            f"{MOST_SETTINGS} can be shown"
        )
    sweep = load_sweep(Path(folder) / "sweep.toml")

    def solve_again(row: dict[str, Any]) -> UncertainSolution:
        return solve_uncertain(sweep.scenario(int(row["point"]), int(row["seed"])), draws=draws)[0]

    shown = [name for name in apart if name not in ("market.benchmark", "market.method")]
    found = []
    for _, part in settings:
        own = part.sort_values(axis)
        found.append(
            SolvedCurve(
                about=setting_text(shown, [own[name].iloc[0] for name in shown]),
                rows=own,
                solved=[solve_again(row) for row in own.to_dict("records")],
            )
        )
    return found

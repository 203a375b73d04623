"""What it costs that users do not know how good answers are, by whom they hear.

GSM8K by majority voting, with providers that stand where informed users would leave them, and users who
learn from their own requests and from a network of others.  In a sweep of runs, whatever it plays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from market_sim.errors import InputError
from market_sim.experiments.run import run
from market_sim.experiments.solve import solve
from market_sim.experiments.sweep_table import (
    AS_IN_BASE,
    Contrast,
    SweepTable,
    contrasts,
    kept_apart,
    over_replicates,
    plainly,
    rows_by_setting,
    varied,
    wanted_axis,
)

MARKET = {"benchmark": "GSM8K", "method": "majority_voting"}
BETAS = (200.0, 1000.0, 5000.0)
NETWORKS: dict[str, dict[str, Any]] = {
    "nobody": {"kind": "none"},
    "6 on a ring": {"kind": "small_world", "neighbours": 6, "rewire": 0.0},
    "small world of 6": {"kind": "small_world", "neighbours": 6, "rewire": 0.1},
    "6 at random": {"kind": "random", "neighbours": 6},
    "the well-connected": {"kind": "scale_free", "neighbours": 6, "trust": "degree"},
    "everybody": {"kind": "complete"},
}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Welfare below that of informed users, USD per query: one entry per seed, and courses over rounds, a row
    per seed."""

    beta: float
    heard: str
    by_seed: np.ndarray
    courses: np.ndarray
    informed: float

    @property
    def mean(self) -> float:
        return float(self.by_seed.mean())

    @property
    def half_width(self) -> float:
        """Of the 95 % confidence interval over seeds (Student's t)."""
        return float(_half_width(self.by_seed))

    def band(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean course, and the ends of its 95 % confidence interval over seeds, round by round."""
        course, half_width = self.courses.mean(axis=0), np.nan_to_num(_half_width(self.courses))
        return course, course - half_width, course + half_width


def _half_width(samples: np.ndarray) -> np.ndarray:
    """Of the interval round the mean over the first axis; NaN for one sample."""
    n = len(samples)
    if n < 2:
        return np.full(samples.shape[1:], np.nan)
    return stats.t.ppf(0.975, n - 1) * stats.sem(samples, axis=0)


def losses(seeds: int, rounds: int, users: int) -> Iterator[Loss]:
    """The loss for every rationality and network."""
    for beta in BETAS:
        (solution,) = solve({"name": "x", "market": MARKET, "users": {"beta": beta}})
        reached = solution.paper_dynamics
        for heard, network in NETWORKS.items():
            courses = []
            for seed in range(1, seeds + 1):
                played = run(_scenario(beta, reached.levels, network, rounds, users), seed=seed)
                courses.append(reached.welfare - played.rounds["expected_welfare_usd"])
            late = np.array([course[-(-len(course) // 2) :].mean() for course in courses])
            yield Loss(
                beta=beta,
                heard=heard,
                by_seed=late,
                courses=np.array(courses),
                informed=reached.welfare,
            )


def _scenario(
    beta: float, levels: Mapping[str, float], network: dict[str, Any], rounds: int, users: int
) -> dict[str, Any]:
    return {
        "name": "misinformation",
        "rounds": rounds,
        "market": MARKET,
        "users": {"count": users, "beta": beta, "information": "experience", "network": network},
        "providers": {"learning": {"rule": "fixed"}, "start": dict(levels)},
        "output": {"metrics_every": 10**6},
    }


# --- Of a sweep -------------------------------------------------------------------------------------

INFORMATION = "users.information"
OF_INFORMATION = ("users.network", "users.experience")


@dataclass(frozen=True, kw_only=True)
class SweepLosses:
    """Welfare below that of informed users in a sweep, USD per query.

    axes      that tell settings apart; without any, losses are means over all settings
    losses    one per setting and whom users hear (`value`), paired over replicates
    informed  expected welfare of informed users, by setting
    """

    axes: tuple[str, ...]
    losses: tuple[Contrast, ...]
    informed: Mapping[tuple[Any, ...], float]


def losses_of_sweep(table: SweepTable) -> SweepLosses:
    """Losses against the points with users.information = "full" that agree in all else.

    Raises InputError for a sweep of another kind, or one without such points.
    """
    wanted_axis(table, "run", [INFORMATION], "the cost of misinformation")
    about = [axis for axis in table.axes if axis == INFORMATION or axis.startswith(OF_INFORMATION)]
    shown = [axis for axis in varied(table) if axis in about and axis != INFORMATION]
    if not (table.ok[INFORMATION] == "full").any():
        raise InputError(
            f'{table.name}: no point of it that went well has {INFORMATION} = "full", which losses are '
            "measured against"
        )
    heard = [_heard(row, shown) for row in table.frame.to_dict("records")]
    frame = table.frame.assign(heard=heard, lost_usd=-table.frame["expected_welfare_usd"])
    apart = kept_apart(table, without=about)
    known = replace(table, frame=frame, axes=("heard", *(axis for axis in table.axes if axis not in about)))
    informed = {
        setting: over_replicates(rows[rows["heard"] == "full"], "expected_welfare_usd").mean
        for setting, rows in rows_by_setting(known.ok, apart)
    }
    found = contrasts(known, "heard", ["lost_usd"], against="full", apart=apart)
    return SweepLosses(axes=apart, losses=tuple(found), informed=informed)


def _heard(row: Mapping[str, Any], axes: Sequence[str]) -> str:
    """What users know, in words; "full" for those who know every offer."""
    if row[INFORMATION] == "full":
        return "full"
    said = []
    for axis in axes:
        value = row[axis]
        if value not in (AS_IN_BASE, None) and value == value:
            text = plainly(value)
            whole = axis in OF_INFORMATION
            said.append(text if whole else f"{axis.split('.', 2)[2].replace('_', ' ')} {text}")
    return (
        ", ".join({"none": "nobody", "complete": "everybody"}.get(text, text) for text in said)
        or "experience"
    )

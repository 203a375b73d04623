"""What the market's welfare and inefficiency depend on: Sobol and Morris indices (SALib, extra `designs`).

Sobol's indices share out the variance of a measure over independent factors: the first-order index is what
a factor explains alone, the total index what is lost without it, all interactions included (Saltelli et al.
2010).  Morris (1991) averages how much a measure moves when one factor takes a step: mu* is the mean size of
these effects, sigma their spread.  Whole settings are solved exactly; networks matter only where users
learn from experience, so there the market is played.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.uncertainty import Outcomes
from market_sim.economy.variations import solve_variations
from market_sim.errors import InputError
from market_sim.experiments.designs import rows_of
from market_sim.experiments.paper import SETTINGS, paper_market
from market_sim.experiments.run import run
from market_sim.experiments.solve import solve
from market_sim.experiments.sweep_table import (
    MOST_SETTINGS,
    SweepTable,
    rows_by_setting,
    setting_text,
    varied,
)
from market_sim.theory.arrays import Array

if TYPE_CHECKING:
    import pandas as pd

FACTORS: Mapping[str, tuple[float, float]] = {
    "margin": (0.01, 65.0),
    "value": (0.5, 2.0),
    "rationality": (50.0, 50_000.0),
    "prices": (0.5, 2.0),
}
"""Ranges, on a log scale: margin over cost, value of a correct answer and all prices as multiples of the
paper's, beta in 1/USD."""

OUTPUTS: Mapping[str, Callable[[Outcomes], Array]] = {
    "welfare": lambda outcomes: outcomes.paper_dynamics.welfare,
    "inefficiency": lambda outcomes: 1.0 - outcomes.paper_dynamics.welfare / outcomes.optimum,
}
"""Where the paper's dynamics end.  Inefficiency is the share of the optimum that is lost here: it rises with
the optimum over welfare minus one, and is also defined where so much is lost that welfare is below zero."""

LEVELS = 8
"""Of a Morris grid, where no sweep says how many it has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Indices:
    """How one measure depends on D factors.

    about        the setting or sweep
    output       the measure
    factors      D names
    first, total          (D,) Sobol indices, with 95 % half-widths; NaN of a Morris design
    mu_star, sigma        (D,) Morris, unit of the measure, mu_star with 95 % half-width; NaN of a Sobol
                          design
    second       (D, D) Sobol indices of pairs above the diagonal, with 95 % half-widths; NaN elsewhere, and
                 everywhere of designs that do not give them
    points       solved or played
    """

    about: str
    output: str
    factors: tuple[str, ...]
    first: Array
    first_half_width: Array
    total: Array
    total_half_width: Array
    mu_star: Array
    mu_star_half_width: Array
    sigma: Array
    second: Array
    second_half_width: Array
    points: int

    def pairs(self, most: int) -> list[tuple[str, str, float, float]]:
        """The pairs of factors with the largest second-order indices, each with its half-width."""
        known = np.argwhere(np.isfinite(self.second))
        places = sorted(known.tolist(), key=lambda place: -self.second[tuple(place)])[:most]
        return [
            (
                self.factors[a],
                self.factors[b],
                float(self.second[a, b]),
                float(self.second_half_width[a, b]),
            )
            for a, b in places
        ]


def sensitivity(
    settings: Sequence[tuple[str, str]] = SETTINGS,
    *,
    points: int = 128,
    trajectories: int = 20,
    seed: int = 0,
) -> list[Indices]:
    """Both measures of each setting; `points` base samples of Sobol's design, a power of two."""
    _salib()
    found = []
    for benchmark, method in settings:
        solved = [
            _solve(benchmark, method, sample, seed)
            for sample in (_sobol_sample(points, len(FACTORS), seed), _morris_sample(trajectories, seed))
        ]
        for output in OUTPUTS:
            found.append(
                _indices(f"{benchmark}, {method}", output, tuple(FACTORS), solved[0], solved[1], seed)
            )
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Solved:
    """Fractions of a design (P, D) and what came out by output (P,); the order of indices that a Sobol design
    is for, and the levels of a Morris design."""

    fractions: Array
    outputs: Mapping[str, Array]
    order: int = 1
    levels: int = LEVELS


def _solve(benchmark: str, method: str, fractions: Array, seed: int) -> _Solved:
    columns = [
        low * (high / low) ** fractions[:, place] for place, (low, high) in enumerate(FACTORS.values())
    ]
    margin, value, beta, price = columns
    outcomes = solve_variations(
        paper_market(benchmark, method),
        beta=beta,
        margin=margin,
        value_factor=value,
        price_factor=price,
        seed=seed,
    )
    return _Solved(fractions=fractions, outputs={name: of(outcomes) for name, of in OUTPUTS.items()})


def _indices(
    about: str,
    output: str,
    factors: tuple[str, ...],
    sobol: _Solved | None,
    morris: _Solved | None,
    seed: int,
) -> Indices:
    from SALib.analyze import morris as morris_analysis
    from SALib.analyze import sobol as sobol_analysis

    d = len(factors)
    nothing = np.full(d, np.nan)
    found: dict[str, Array] = dict.fromkeys(
        (
            "first",
            "first_half_width",
            "total",
            "total_half_width",
            "mu_star",
            "mu_star_half_width",
            "sigma",
        ),
        nothing,
    )
    found |= dict.fromkeys(("second", "second_half_width"), np.full((d, d), np.nan))
    problem = _problem(factors)
    if sobol is not None:
        values = _defined(about, output, sobol.outputs[output])
        second = sobol.order == 2
        # Plus one: this analysis takes a seed of 0 for none, and its intervals would differ every time.
        got = sobol_analysis.analyze(problem, values, calc_second_order=second, seed=seed + 1)
        found |= {
            "first": got["S1"],
            "first_half_width": got["S1_conf"],
            "total": got["ST"],
            "total_half_width": got["ST_conf"],
        }
        if second:
            found |= {"second": got["S2"], "second_half_width": got["S2_conf"]}
    if morris is not None:
        values = _defined(about, output, morris.outputs[output])
        got = morris_analysis.analyze(problem, morris.fractions, values, num_levels=morris.levels, seed=seed)
        found |= {
            "mu_star": np.ma.filled(got["mu_star"], 0.0),
            "mu_star_half_width": np.asarray(got["mu_star_conf"], dtype=float),
            "sigma": np.asarray(got["sigma"], dtype=float),
        }
    points = sum(0 if each is None else len(each.fractions) for each in (sobol, morris))
    return Indices(
        about=about,
        output=output,
        factors=factors,
        points=points,
        **{k: np.asarray(v, dtype=float) for k, v in found.items()},
    )


def _problem(factors: Sequence[str]) -> dict[str, Any]:
    return {"num_vars": len(factors), "names": list(factors), "bounds": [[0.0, 1.0]] * len(factors)}


def _defined(about: str, output: str, values: Array) -> Array:
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError(
            f"{about}: {output} is undefined at {bad} of {len(values)} points of the design, and indices "
            "need it everywhere; narrow the ranges"
        )
    return np.asarray(values, dtype=float)


def _salib() -> None:
    try:
        import SALib  # noqa: F401
    except ModuleNotFoundError:
        raise InputError(
            "indices of sensitivity need the package SALib: pip install 'market-sim[designs]'"
        ) from None


def _sobol_sample(points: int, dimensions: int, seed: int) -> Array:
    from SALib.sample import sobol

    if points < 2 or points & (points - 1):
        raise InputError(f"--points {points} is not allowed; it must be a power of two")
    names = [str(place) for place in range(dimensions)]
    return sobol.sample(_problem(names), points, calc_second_order=False, seed=seed)


def _morris_sample(trajectories: int, seed: int, dimensions: int = len(FACTORS)) -> Array:
    from SALib.sample import morris

    if trajectories < 2:
        raise InputError(f"--trajectories {trajectories} is not allowed; it must be at least 2")
    names = [str(place) for place in range(dimensions)]
    return morris.sample(_problem(names), trajectories, num_levels=LEVELS, seed=seed)


# --- Of a sweep -------------------------------------------------------------------------------------


WANTED = (("expected_welfare_usd", "welfare"), ("inefficiency",))
"""What is asked of a sweep: the first of each that it has."""

MOST_PAIRS = 5
"""Pairs of factors whose index is shown, the largest."""

ABOUT_INEFFICIENCY = "the share of the optimum that is lost"


def wanted_of(table: SweepTable) -> list[str]:
    """Welfare and inefficiency, as the sweep calls them, where it has them."""
    return [name for names in WANTED for name in table.measures(names)[:1]]


def outputs_of(table: SweepTable) -> list[str]:
    """The same; raises InputError where it has neither."""
    found = wanted_of(table)
    if not found:
        raise InputError(f"{table.name}: has neither welfare nor inefficiency")
    return found


def sensitivity_of_sweep(table: SweepTable, outputs: Sequence[str]) -> list[Indices]:
    """Indices from a finished sweep with a Sobol or Morris design; outputs are its columns.

    Each combination of values of its lists met the whole design and has indices of its own.  Replicates are
    averaged first.  Inefficiency of what was solved is the share of the optimum that is lost, as in
    `sensitivity`.  Raises InputError for another design, or where runs are missing.
    """
    _salib()
    if table.design not in ("sobol", "morris"):
        raise InputError(f"{table.name}: its design is {table.design}; indices need sobol or morris")
    if len(table.ok) < len(table.frame):
        bad = len(table.frame) - len(table.ok)
        raise InputError(f"{table.name}: {bad} of its runs failed, and indices need all of them")
    axes = [axis for axis in table.axes if axis in table.ranges]
    apart = varied(table, without=axes)
    frame = table.ok
    if {"welfare", "optimum", "inefficiency"} <= set(frame.columns):
        frame = frame.assign(inefficiency=1.0 - frame["welfare"] / frame["optimum"])
    settings = rows_by_setting(frame, apart)
    if len(settings) > MOST_SETTINGS:
        raise InputError(
            f"{table.name}: has {len(settings):,} settings with indices each, and at most {MOST_SETTINGS} "
            "can be shown"
        )
    return [
        found
        for setting, rows in settings
        for found in _of_design(table, rows, axes, outputs, setting_text(apart, setting))
    ]


def _of_design(
    table: SweepTable, rows: "pd.DataFrame", axes: Sequence[str], outputs: Sequence[str], setting: str
) -> list[Indices]:
    """Indices from the rows of one whole design."""
    about = ", ".join(filter(None, (table.name, setting)))
    means = rows.groupby("point", sort=True)[[*axes, *outputs]].mean(numeric_only=True)
    wanted = rows_of(table.design, len(axes), table.points, table.order)
    if len(means) != wanted:
        raise InputError(
            f"{about}: has {len(means):,} points, and its {table.design} design over {len(axes)} ranges has "
            f"{wanted:,}"
        )
    fractions = np.column_stack([_fraction(means[axis].to_numpy(), *table.ranges[axis]) for axis in axes])
    solved = _Solved(
        fractions=fractions,
        outputs={name: means[name].to_numpy() for name in outputs},
        order=table.order,
        levels=table.levels,
    )
    sobol, morris = (solved, None) if table.design == "sobol" else (None, solved)
    return [_indices(about, name, tuple(axes), sobol, morris, seed=0) for name in outputs]


def _fraction(values: Array, low: float, high: float, scale: str) -> Array:
    if scale == "log":
        values, low, high = np.log(values), np.log(low), np.log(high)
    return (values - low) / (high - low)


# --- Networks ---------------------------------------------------------------------------------------

NETWORK_FACTORS: Mapping[str, tuple[float, float]] = {
    "rationality": (200.0, 5000.0),
    "neighbours": (1.0, 10.0),
    "rewiring": (0.01, 1.0),
    "trust": (0.05, 0.9),
    "step": (0.05, 0.8),
}
"""Ranges, on a log scale: beta, pairs of neighbours in a small world, share of links rewired, weight of
neighbours' beliefs, weight of the newest request."""

MARKET = {"benchmark": "GSM8K", "method": "majority_voting"}


def sensitivity_to_network(
    *, trajectories: int = 8, users: int = 200, rounds: int = 60, seed: int = 0
) -> Indices:
    """Morris effects on welfare where users learn from experience and hear from a small world.

    Providers stand where informed users would leave them; welfare is that of the second half of the rounds,
    less what informed users would have.
    """
    _salib()
    fractions = _morris_sample(trajectories, seed, len(NETWORK_FACTORS))
    lost = []
    for row in fractions:
        values = [
            low * (high / low) ** f for f, (low, high) in zip(row, NETWORK_FACTORS.values(), strict=True)
        ]
        lost.append(_welfare_gained(*values, users=users, rounds=rounds, seed=seed))
    played = _Solved(fractions=fractions, outputs={"welfare": np.array(lost)})
    about = "GSM8K, majority_voting, experience"
    return _indices(about, "welfare", tuple(NETWORK_FACTORS), None, played, seed)


def _welfare_gained(
    beta: float, pairs: float, rewire: float, trust: float, step: float, *, users: int, rounds: int, seed: int
) -> float:
    (solution,) = solve({"name": "x", "market": MARKET, "users": {"beta": beta}})
    reached = solution.paper_dynamics
    played = run(
        {
            "name": "network",
            "rounds": rounds,
            "seed": seed,
            "market": MARKET,
            "users": {
                "count": users,
                "beta": float(beta),
                "information": "experience",
                "experience": {"trust": float(trust), "step": float(step)},
                "network": {
                    "kind": "small_world",
                    "neighbours": 2 * round(pairs),
                    "rewire": float(min(rewire, 1.0)),
                },
            },
            "providers": {"learning": {"rule": "fixed"}, "start": reached.levels},
            "output": {"metrics_every": 10**6},
        }
    )
    return played.mean("expected_welfare_usd") - reached.welfare

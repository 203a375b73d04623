"""What providers' margins do: from almost nothing over cost to 65 times it.

Published list prices of one and the same open model differ up to 65 times between hosts, so nobody outside
knows the margins.  Both readings are followed (economy/variations.py): list prices stand and cost is what
the margin leaves, or cost stands and prices rise with the margin.  In a sweep over market.margin, list
prices stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from market_sim.economy.market import Market
from market_sim.economy.uncertainty import MEASURES, Outcomes, as_measured, solve_draws
from market_sim.economy.variations import HOLDINGS, with_margin
from market_sim.experiments.claims.band import Band, band, draws_of_paper, solved_curves
from market_sim.experiments.paper import SETTINGS, paper_market
from market_sim.experiments.sweep_table import read_sweep
from market_sim.theory.arrays import Array

MARGINS = np.sort([*np.geomspace(0.01, 65.0, 14), 0.25])
"""Over cost: a price of 1.01 times cost to one of 66 times, the paper's quarter among them."""

SHOWN = (
    "inefficiency",
    "paper_dynamics.welfare",
    "paper_dynamics.user_value",
    "paper_dynamics.provider_profit",
    "auction.user_value",
    "auction_less_market.user_value",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class MarginCurve:
    """A setting at one rationality over margins (M,); measures by their name in SHOWN, USD per query.

    about  what sets it apart beside benchmark and method
    """

    benchmark: str
    method: str
    beta: float
    holding: str
    margin: Array
    measures: Mapping[str, Band]
    about: str = ""


def margin_sweep(
    settings: Sequence[tuple[str, str]] = SETTINGS,
    *,
    beta: float = 1000.0,
    margins: Sequence[float] | Array = MARGINS,
    draws: int = 100,
    seed: int = 0,
) -> list[MarginCurve]:
    """All settings under both readings; `draws` of the curves for the intervals."""
    margins = np.asarray(margins, dtype=float)
    return [
        _curve(*setting, beta, holding, margins, draws, seed) for setting in settings for holding in HOLDINGS
    ]


def _curve(
    benchmark: str, method: str, beta: float, holding: str, margins: Array, draws: int, seed: int
) -> MarginCurve:
    market, drawn = paper_market(benchmark, method), draws_of_paper(benchmark, method, draws, seed)
    measured = as_measured(market, benchmark)
    solved = []
    for margin in margins:
        varied: Market = with_margin(market, float(margin), holding)
        (here,), (over,) = (solve_draws(varied, which, [beta], seed=seed) for which in (measured, drawn))
        solved.append((here, over))
    return MarginCurve(
        benchmark=benchmark,
        method=method,
        beta=beta,
        holding=holding,
        margin=margins,
        measures=_measures(solved),
    )


def _measures(solved: Sequence[tuple[Outcomes, Outcomes]]) -> dict[str, Band]:
    """Of what was solved as measured and over draws, margin by margin."""
    return {
        name: band(
            [float(MEASURES[name](here)[0]) for here, _ in solved],
            [MEASURES[name](over) for _, over in solved],
        )
        for name in SHOWN
    }


def margins_of_sweep(folder: Path | str, *, draws: int = 100) -> list[MarginCurve]:
    """All settings of a sweep that was solved over market.margin; raises InputError for another."""
    curves = solved_curves(folder, read_sweep(folder), "market.margin", "what margins do", draws)
    return [
        MarginCurve(
            benchmark=curve.solved[0].solution.benchmark,
            method=curve.solved[0].solution.method,
            beta=float(curve.rows["beta"].iloc[0]),
            holding="price",
            margin=curve.rows["market.margin"].to_numpy(dtype=float),
            measures=_measures([(each.estimate, each.outcomes) for each in curve.solved]),
            about=curve.about,
        )
        for curve in curves
    ]

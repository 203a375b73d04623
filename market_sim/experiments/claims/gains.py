"""Who gains from the truthful second-price auction, and who loses, in the paper's nine settings.

Auction less market (where the paper's dynamics end).  Users are compared under both readings of the logit's
noise: as mistakes (sum of share times value, the paper's) and as taste (log-sum surplus, against the
auction's value above not buying).  In runs that were played, users are compared as mistakes only, paired over
seeds, and every regime with pay-per-compute.
"""

from dataclasses import dataclass
from pathlib import Path

from market_sim.economy.solve import Solution, solve_market
from market_sim.errors import InputError
from market_sim.experiments.claims.welfare import BASE, REGIME, runs_below
from market_sim.experiments.paper import BETAS, SETTINGS, paper_market
from market_sim.experiments.sweep_table import (
    Contrast,
    SweepTable,
    contrasts,
    kept_apart,
    read_sweep,
    wanted_axis,
)

SEED = 0


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the auction changes in one setting at one rationality: auction less market.

    user_value, price, provider_profit  USD per query;  accuracy: a fraction, of served requests
    user_value_if_taste                 USD per query, the market's users valued by the log-sum
    """

    benchmark: str
    method: str
    beta: float
    user_value: float
    user_value_if_taste: float
    price: float
    accuracy: float
    provider_profit: float


def who_gains() -> list[Gain]:
    """All nine settings at all three rationalities."""
    return [
        _gain(solution, market.outside_value)
        for market in (paper_market(benchmark, method) for benchmark, method in SETTINGS)
        for solution in solve_market(market, BETAS, SEED)
    ]


def _gain(solution: Solution, outside_value: float) -> Gain:
    market, auction = solution.paper_dynamics, solution.auction
    if market.log_sum_surplus is None or auction.accuracy is None or market.accuracy is None:
        raise ValueError("the comparison needs beta above 0 and a winner in the auction")
    return Gain(
        benchmark=solution.benchmark,
        method=solution.method,
        beta=solution.beta,
        user_value=auction.user_value - market.user_value,
        user_value_if_taste=auction.user_value - outside_value - market.log_sum_surplus,
        price=auction.price - market.price,
        accuracy=auction.accuracy - market.accuracy,
        provider_profit=auction.provider_profit - market.provider_profit,
    )


# --- Of runs that were played -----------------------------------------------------------------------

MEASURES = ("user_value_usd", "price_usd", "provider_profit_usd", "accuracy", "welfare_usd")


@dataclass(frozen=True, kw_only=True)
class PlayedGains:
    """Other regimes less pay-per-compute in runs that were played.

    name     of the sweep, or of the scenarios
    axes     that tell settings apart
    changes  one per setting, regime (`value`) and measure in MEASURES, paired over seeds
    """

    name: str
    axes: tuple[str, ...]
    changes: tuple[Contrast, ...]


def gains_of_folder(folder: Path | str) -> PlayedGains:
    """Of the folder of a sweep over the regime, or of one with comparisons and runs below it.

    Raises InputError where nothing is comparable.
    """
    if (Path(folder) / "sweep.toml").is_file():
        return gains_of_sweep(read_sweep(folder))
    return _gains(runs_below(folder))


def gains_of_sweep(table: SweepTable) -> PlayedGains:
    """Of a sweep of runs over the regime.  Raises InputError where nothing is comparable."""
    wanted_axis(table, "run", [REGIME], "who gains from the auction")
    return _gains(table)


def _gains(table: SweepTable) -> PlayedGains:
    apart = kept_apart(table, without=[REGIME])
    found = contrasts(table, REGIME, table.measures(MEASURES), against=BASE, apart=apart)
    if not found:
        raise InputError(f"{table.name}: no setting was played under {BASE} and another regime with one seed")
    return PlayedGains(name=table.name, axes=apart, changes=tuple(found))

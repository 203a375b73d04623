"""The reproduction: every number the paper's notebooks print, beside ours, and its figures.

Nine settings (three benchmarks, three ways to spend test-time compute) at three rationalities and in the
auction: 252 numbers and 18 names (economy/data/README.md).  A number agrees within TOLERANCE_USD.  Two
are known to differ; the reason is only accepted while a replay of it still yields the printed numbers.
"""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from market_sim.economy.market import (
    PAPER_VALUE_OF_CORRECT_USD,
    Market,
    make_market,
    make_providers,
)
from market_sim.economy.quality import DATA, PAPER_METHODS, QualityCurve, bundled_curves, select_curves
from market_sim.economy.solve import Solution, solve_market
from market_sim.theory.arrays import Array, at_levels
from market_sim.theory.dynamics import MAX_ROUNDS, RELATIVE_TOLERANCE, nearest_better
from market_sim.theory.streams import activation_orders

if TYPE_CHECKING:
    import pandas as pd

SETTINGS: tuple[tuple[str, str], ...] = tuple(product(PAPER_VALUE_OF_CORRECT_USD, PAPER_METHODS))
"""(benchmark, method) of each of the nine."""

BETAS = (200.0, 1000.0, 100_000.0)
"""The rationalities of the paper's tables, 1/USD."""

NUMBERS, NAMES = 252, 18
"""What the paper's tables hold: nine settings, 8 quantities at each beta, 4 and two names of the auction."""

TOLERANCE_USD = 1.1e-5
"""Print has five decimals of a USD and the curves were partly read off figures."""

UNDERFLOW = (
    "at this beta two providers' shares underflow to zero in the published code, which then asks for a "
    "gain of 1e-9 USD before they move; no level gives it, so they never leave their lowest one"
)

KNOWN_TO_DIFFER = {
    ("AIME", "reasoning_effort", 100_000.0, "mean_user_value"),
    ("AIME", "reasoning_effort", 100_000.0, "mean_price"),
}

Progress = Callable[[str], None]

QUANTITIES: Mapping[str, Mapping[str, Callable[[Solution], float | str | None]]] = {
    "pay_per_compute": {
        "mean_user_value_weighted": lambda s: s.paper_dynamics.user_value,
        "mean_user_value": lambda s: s.paper_dynamics.mean_user_value,
        "optimal_welfare": lambda s: s.optimum["welfare"],
        "equilibrium_welfare": lambda s: s.paper_dynamics.welfare,
        "mean_price_weighted": lambda s: s.paper_dynamics.price,
        "mean_price": lambda s: s.paper_dynamics.mean_price,
        "mean_provider_utility_weighted": lambda s: s.paper_dynamics.provider_profit,
        "mean_provider_utility": lambda s: s.paper_dynamics.mean_provider_profit,
    },
    "second_price_auction": {
        "winner": lambda s: s.auction.winner,
        "runner_up": lambda s: s.auction.runner_up,
        "user_value": lambda s: s.auction.user_value,
        "price": lambda s: s.auction.price,
        "provider_utility": lambda s: s.auction.provider_profit,
        "welfare": lambda s: s.auction.welfare,
    },
}
"""What each printed quantity is in a solution, by regime."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One entry of the paper's tables: a model's name, or a number in USD per query."""

    benchmark: str
    method: str
    regime: str
    beta: float | None
    quantity: str
    printed: float | str


@dataclass(frozen=True, kw_only=True)
class Row(Published):
    """A published entry beside ours.  verdict: "agrees", "differs: why" or "FAILS"."""

    ours: float | str | None
    difference: float | None
    verdict: str

    @property
    def agrees(self) -> bool:
        return self.verdict == "agrees"

    @property
    def is_number(self) -> bool:
        return not isinstance(self.printed, str)


@dataclass(frozen=True, kw_only=True)
class SettingSummary:
    """One benchmark and method in short: numbers that agree, and the largest difference among those."""

    benchmark: str
    method: str
    agreeing: int
    total: int
    names_agreeing: int
    names_total: int
    largest_difference_usd: float
    exceptions: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """All rows; agreeing of total count numbers, names_agreeing of names_total the auctions' models.

    asked  published entries that were to be compared
    """

    rows: tuple[Row, ...]
    asked: int
    seed: int

    @property
    def agreeing(self) -> int:
        return sum(row.agrees for row in self.rows if row.is_number)

    @property
    def total(self) -> int:
        return sum(row.is_number for row in self.rows)

    @property
    def names_agreeing(self) -> int:
        return sum(row.agrees for row in self.rows if not row.is_number)

    @property
    def names_total(self) -> int:
        return len(self.rows) - self.total

    @property
    def ok(self) -> bool:
        """Whether all that was asked was compared, and agrees or differs for a known and proven reason."""
        return len(self.rows) == self.asked > 0 and not any(row.verdict == "FAILS" for row in self.rows)

    def settings(self) -> tuple[SettingSummary, ...]:
        """One summary per benchmark and method."""
        return tuple(
            _summary(b, m, [row for row in self.rows if (row.benchmark, row.method) == (b, m)])
            for b, m in dict.fromkeys((row.benchmark, row.method) for row in self.rows)
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per published entry, USD per query."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    def write(self, out: Path | str, on_step: Progress | None = None) -> list[Path]:
        """Write table.csv (USD per query) and all figures under `out`; returns the paths."""
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        table = out / "table.csv"
        temporary = out / f".table.csv.{os.getpid()}"
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for row in self.rows)
        os.replace(temporary, table)
        return [table, *_write_figures(out, self.seed, on_step or _silent)]


def published(path: Path = DATA / "published_tables.csv") -> tuple[Published, ...]:
    """The entries of the paper's tables, in the file's order.

    Raises ValueError if they are not the NUMBERS and NAMES that the paper prints.
    """
    with path.open(newline="", encoding="utf-8") as file:
        entries = tuple(
            Published(
                benchmark=line["benchmark"],
                method=line["method"],
                regime=line["regime"],
                beta=float(line["beta"]) if line["beta"] else None,
                quantity=line["quantity"],
                printed=line["value_usd_per_query"]
                if line["quantity"] in ("winner", "runner_up")
                else float(line["value_usd_per_query"]),
            )
            for line in csv.DictReader(file)
        )
    names = sum(isinstance(entry.printed, str) for entry in entries)
    if (len(entries) - names, names) != (NUMBERS, NAMES):
        raise ValueError(f"{path}: has {len(entries) - names} numbers and {names} names")
    return entries


@cache
def paper_curves(benchmark: str, method: str) -> list[QualityCurve]:
    """The bundled curves of one of the nine settings."""
    return select_curves(
        bundled_curves(), where="the bundled curves", benchmark=benchmark, method=method, models=None
    )


def paper_market(benchmark: str, method: str) -> Market:
    """One of the nine markets, with the paper's prices and constants."""
    providers = make_providers(paper_curves(benchmark, method), where="the bundled curves")
    return make_market(providers, value_of_correct_usd=PAPER_VALUE_OF_CORRECT_USD[benchmark])


def reproduce(
    printed: Sequence[Published] | None = None, seed: int = 0, on_step: Progress | None = None
) -> Reproduction:
    """Solve the nine settings and set every published entry beside ours.

    printed  default: all of the paper's tables
    seed     gives the order in which providers move
    on_step  is told each step as it begins
    """
    printed, on_step = published() if printed is None else printed, on_step or _silent
    rows: list[Row] = []
    for benchmark, method in SETTINGS:
        on_step(f"solving {benchmark}, {method}")
        solutions = {s.beta: s for s in solve_market(paper_market(benchmark, method), BETAS, seed)}
        for entry in printed:
            if (entry.benchmark, entry.method) == (benchmark, method):
                solution = solutions[BETAS[0] if entry.beta is None else entry.beta]
                rows.append(_compared(entry, QUANTITIES[entry.regime][entry.quantity](solution), seed))
    return Reproduction(rows=tuple(rows), asked=len(printed), seed=seed)


def _compared(entry: Published, ours: float | str | None, seed: int) -> Row:
    if isinstance(entry.printed, str) or ours is None or isinstance(ours, str):
        difference, agrees = None, entry.printed == ours
    else:
        difference = ours - entry.printed
        agrees = abs(difference) <= TOLERANCE_USD
    verdict = "agrees" if agrees else f"differs: {UNDERFLOW}" if _underflow_explains(entry, seed) else "FAILS"
    return Row(**asdict(entry), ours=ours, difference=difference, verdict=verdict)


def _underflow_explains(entry: Published, seed: int) -> bool:
    """Whether the entry is one of the two, and the published arithmetic does give what was printed."""
    key = (entry.benchmark, entry.method, entry.beta, entry.quantity)
    if key not in KNOWN_TO_DIFFER or entry.beta is None or isinstance(entry.printed, str):
        return False
    market = paper_market(entry.benchmark, entry.method)
    end = underflowing_end(market, entry.beta, seed)
    table = market.price[0] if entry.quantity == "mean_price" else market.quality() - market.price[0]
    return abs(float(at_levels(table, end).mean()) - entry.printed) <= TOLERANCE_USD


def underflowing_end(market: Market, beta: float, seed: int) -> Array:
    """Where the paper's dynamics end in the arithmetic of its published code, (N,) indices of levels.

    Shares are plain exponentials of the distance to the best offer, which underflow to zero.  A gain is
    judged relative to the standing profit, and where that is exactly zero it must exceed 1e-9 USD.
    """
    value, margin = market.quality() - market.price[0], market.price[0] - market.cost[0]
    levels = np.zeros(market.n_providers, dtype=np.int64)
    for _, order in zip(range(MAX_ROUNDS), activation_orders(seed, market.n_providers), strict=False):
        before = levels.copy()
        for i in order:
            offers = np.tile(at_levels(value, levels), (value.shape[1], 1))
            offers[:, i] = value[i]
            top = np.maximum(offers.max(axis=1), market.outside_value)
            odds = np.exp(beta * (offers - top[:, None]))
            total = odds.sum(axis=1) + np.exp(beta * (market.outside_value - top))
            profit = odds[:, i] / total * margin[i]
            standing = profit[levels[i]]
            needed = RELATIVE_TOLERANCE * standing if standing > 0 else 1e-9
            levels[i] = nearest_better(profit > standing + needed, levels[i])
        if (levels == before).all():
            break
    return levels


def _summary(benchmark: str, method: str, rows: Sequence[Row]) -> SettingSummary:
    numbers = [row for row in rows if row.is_number]
    names = [row for row in rows if not row.is_number]
    return SettingSummary(
        benchmark=benchmark,
        method=method,
        agreeing=sum(row.agrees for row in numbers),
        total=len(numbers),
        names_agreeing=sum(row.agrees for row in names),
        names_total=len(names),
        largest_difference_usd=max(
            (abs(row.difference) for row in numbers if row.agrees and row.difference is not None), default=0.0
        ),
        exceptions=tuple(row for row in rows if not row.agrees),
    )


def _write_figures(out: Path, seed: int, on_step: Progress) -> list[Path]:
    """All the paper's figures, PNG and SVG.  Drawing is imported here: tables do not need it."""
    from matplotlib.figure import Figure

    from market_sim.experiments import paper_figures, saved_figures

    paths: list[Path] = []

    def save(fig: Figure, name: str, scenario: str) -> None:
        on_step(f"drawing {name}")
        paths.extend(saved_figures.save(fig, out / name, {"scenario": scenario, "seed": seed}))

    for method in PAPER_METHODS:
        markets = [paper_market(benchmark, method) for benchmark in PAPER_VALUE_OF_CORRECT_USD]
        save(paper_figures.curves_figure(markets), f"curves-{method}", method)
        save(paper_figures.value_figure(markets), f"value-{method}", method)
    for benchmark, method in SETTINGS:
        path = paper_figures.dynamics(paper_market(benchmark, method), BETAS, seed)
        save(
            paper_figures.dynamics_figure(path),
            f"dynamics-{benchmark}-{method}",
            f"{benchmark}, {method}",
        )
    curves = [paper_figures.inefficiency_curve(paper_market(b, m), seed) for b, m in SETTINGS]
    save(paper_figures.inefficiency_figure(curves), "inefficiency-by-beta", "all nine settings")
    return paths


def _silent(step: str) -> None:
    """Progress that nobody watches."""

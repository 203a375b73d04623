"""The table of figures: filled by the benchmarks, printed at the end, kept in runs/out/bench.md."""

import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest

from benchmarks.markets import ROOT

TABLE = ROOT / "runs" / "out" / "bench.md"
LINES = pytest.StashKey[list["Line"]]()


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the table; texts but for the two numbers that say whether the target is met.

    best, target  in the same unit; target NaN where none is set
    """

    figure: str
    best: float
    median: float
    target: float
    show: Callable[[float], str]
    reference: str
    ratio: str

    def cells(self) -> tuple[str, ...]:
        if math.isnan(self.target):
            target, met = "", ""
        else:
            target = f"<= {self.show(self.target)}"
            met = "yes" if self.median <= self.target else "best only" if self.best <= self.target else "NO"
        best, median = self.show(self.best), self.show(self.median)
        return self.figure, best, median, target, met, self.reference, self.ratio


HEADER = ("figure", "best", "median", "target", "met", "plain reference", "ratio")


def seconds(amount: float) -> str:
    """A time to read: 1.2 s, 34 ms or 5.6 us."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if amount >= size:
            return f"{amount / size:.3g} {unit}"
    return f"{amount / 1e-6:.3g} us"


def number(unit: str) -> Callable[[float], str]:
    return lambda amount: f"{amount:.3g} {unit}"


class Figures:
    """What a benchmark calls: `time` the fast way, `plain` the reference, then `write` the row."""

    def __init__(self, benchmark: Any, lines: list[Line]) -> None:
        self.benchmark, self.lines = benchmark, lines

    def time(
        self,
        fast: Callable[..., Any],
        rounds: int = 7,
        warmup: int = 1,
        setup: Callable[[], Any] | None = None,
    ) -> Any:
        """Run `fast` several times; its answer."""
        if setup is None:
            return self.benchmark.pedantic(fast, rounds=rounds, warmup_rounds=warmup)
        return self.benchmark.pedantic(fast, setup=setup, rounds=rounds, warmup_rounds=warmup)

    @staticmethod
    def plain(slow: Callable[[], Any], rounds: int = 1) -> tuple[Any, float]:
        """Run the reference; its answer and best time in seconds."""
        times, answer = [], None
        for _ in range(rounds):
            start = time.perf_counter()
            answer = slow()
            times.append(time.perf_counter() - start)
        return answer, min(times)

    def write(
        self,
        figure: str,
        *,
        target_s: float = math.nan,
        per: int = 1,
        shown_per: int = 1,
        reference: str = "none",
        reference_s: float = math.nan,
        reference_per: int = 1,
    ) -> None:
        """A row of times.

        per, reference_per  how many units of work the fast and the plain run did; the ratio is of the best
                            times per unit
        shown_per           units that a shown time is for; 1 shows whole runs
        """
        data = self.benchmark.stats.stats.data
        ratio = (reference_s / reference_per) / (min(data) / per)
        self.write_amounts(
            figure,
            amounts=[amount / shown_per for amount in data],
            target=target_s,
            show=seconds,
            reference=reference.format(seconds(reference_s)),
            ratio="" if math.isnan(ratio) else f"{ratio:,.3g}",
        )

    def write_amounts(
        self,
        figure: str,
        *,
        amounts: list[float],
        target: float,
        show: Callable[[float], str],
        reference: str,
        ratio: str,
    ) -> None:
        """A row of anything."""
        self.lines.append(
            Line(
                figure=figure,
                best=min(amounts),
                median=statistics.median(amounts),
                target=target,
                show=show,
                reference=reference,
                ratio=ratio,
            )
        )


@pytest.fixture
def figures(benchmark: Any, request: pytest.FixtureRequest) -> Figures:
    return Figures(benchmark, request.config.stash.setdefault(LINES, []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash.get(LINES, [])
    if not lines:
        return
    rows = [HEADER, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    note = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, numpy {version('numpy')}, "
        f"mesa {version('mesa')}; load {os.getloadavg()[0]:.1f}.\n"
        "Ratios: best plain time over our best, per unit of work."
    )
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n".join([*texts, "", note, ""]), encoding="utf-8")
    terminalreporter.section("figures")
    for text in [*texts, "", *note.splitlines(), f"Kept in {TABLE.relative_to(ROOT)}"]:
        terminalreporter.write_line(text)

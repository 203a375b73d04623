"""What is shown of a market solved for every draw, on screens and in reports, line by line.

Everything is taken from the `uncertainty` object (docs/formats.md), so that it can be shown from a file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from market_sim.economy.uncertainty import RATIOS, in_percent
from market_sim.experiments.words import usd_text

GROUPS = {
    "paper_dynamics": "market, paper's end",
    "worst_equilibrium": "market, worst equilibrium",
    "best_equilibrium": "market, best equilibrium",
    "optimum": "market, optimum",
    "auction": "auction",
    "auction_less_market": "auction less market",
}

OF_PLAY = (
    "The play above used the curves as measured. The exact analysis, solved again for every draw of the "
    "curves (users who know what offers are worth, before any events):"
)


@dataclass(frozen=True, kw_only=True)
class IntervalRow:
    """A measure in words: what it is, as measured, and its interval; `value` is the number as measured.

    group  rows of the same group belong together
    """

    group: str
    title: str
    measured: str
    interval: str
    value: float | None


def interval_rows(uncertainty: Mapping[str, Any]) -> list[IntervalRow]:
    """All measures; the worst and the best equilibrium only where there may be several."""
    intervals = uncertainty["intervals"]
    worst, best = (intervals[f"{which}_equilibrium"]["welfare"]["estimate"] for which in ("worst", "best"))
    several = (uncertainty["probability"]["several_equilibria"] or 0) > 0 or worst != best
    return [
        _interval_row(group, measure, row)
        for group, measure, row in _flat(intervals)
        if several or not group.startswith(("worst_", "best_"))
    ]


def winner_rows(uncertainty: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Who wins the auction or is second in some draw: name, and the share of draws of each."""
    second = uncertainty["runner_up"]
    return [
        (name, in_percent(wins), in_percent(second[name]))
        for name, wins in uncertainty["winner"].items()
        if (wins or 0) > 0 or (second[name] or 0) > 0
    ]


def _flat(intervals: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Group, measure and interval of each; measures of no group stand by themselves."""
    for name, found in intervals.items():
        if name in GROUPS:
            yield from ((name, measure, row) for measure, row in found.items())
        else:
            yield "", name, found


def _interval_row(group: str, measure: str, row: Mapping[str, Any]) -> IntervalRow:
    words = measure.removesuffix("_usd").replace("_", " ")

    def text(value: float | None) -> str:
        if value is None:
            return "undefined"
        if measure not in RATIOS:
            return usd_text(value)
        return f"{value:.1%}" if measure == "inefficiency" else f"{value:.4f}"

    ends = "undefined"
    if row["low"] is not None:
        ends = f"{text(row['low'])} to {text(row['high'])}"
        ends += f" (undefined in {row['undefined']:,})" if row["undefined"] else ""
    return IntervalRow(
        group=group,
        title=f"{GROUPS[group]}: {words}" if group else words,
        measured=text(row["estimate"]),
        interval=ends,
        value=row["estimate"],
    )

"""The figures of a run: who gets what, as bars, and the play of a market."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from market_sim.experiments.house_style import (
    BAD,
    INK,
    LOST,
    MUTED,
    PROVIDERS,
    USD_LABEL,
    USERS,
    colour_of,
    in_family_order,
    legend_beside,
    new_figure,
    per_thousand,
    say,
    stacked_shares,
    staircases,
    styled,
)
from market_sim.theory.arrays import Array


@dataclass(frozen=True, kw_only=True)
class SurplusSplit:
    """Who gets the attainable surplus under one regime, USD per query.

    lost_usd is the first best less the two others; any of the three can be negative (users who pay more
    than they get, providers who lose money, a sampled round luckier than the first best expects).
    """

    name: str
    user_value_usd: float
    provider_profit_usd: float
    lost_usd: float

    @property
    def first_best_usd(self) -> float:
        return self.user_value_usd + self.provider_profit_usd + self.lost_usd


@styled
def surplus_bars(rows: Sequence[SurplusSplit], heading: str = "") -> Figure:
    """One bar per regime: what users keep, what providers earn, what is lost of the first best.

    Negative parts stand left of zero; the rest of the bar then reaches past the first best by as much.
    """
    fig = new_figure(1.6 + 0.42 * len(rows))
    ax, table = fig.subplots(1, 2, sharey=True, width_ratios=(4, 1.6))
    places = np.arange(len(rows))
    parts = (
        ("users\nkeep", per_thousand(np.array([row.user_value_usd for row in rows])), USERS, ""),
        ("providers\nearn", per_thousand(np.array([row.provider_profit_usd for row in rows])), PROVIDERS, ""),
        ("lost", per_thousand(np.array([row.lost_usd for row in rows])), LOST, "////"),
    )
    left = _stack(ax, places, [(amount, colour, hatch) for _, amount, colour, hatch in parts])
    first_best = per_thousand(np.array([row.first_best_usd for row in rows]))
    ax.vlines(first_best, places - 0.42, places + 0.42, color=INK, lw=1.6)
    ax.axvline(0, color=INK, lw=0.8)
    for column, (name, amount, colour, hatch) in enumerate(parts):
        _write_column(table, column, name, amount, colour, hatch)
    table.set_xlim(-0.5, len(parts) - 0.5)
    table.axis("off")
    ax.set_yticks(places, [row.name for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xlabel(USD_LABEL)
    sns.despine(ax=ax, left=True)
    note = "Black marks: the first best, every request served by the best level of the best provider."
    if left < -0.002 * first_best.max():
        note += " Parts left of zero are losses; the bar then reaches past the first best."
    say(fig, _surplus_finding(rows, heading), note)
    return fig


def _stack(ax: Axes, places: Array, parts: Sequence[tuple[Array, str, str]]) -> float:
    """Bars of parts end to end, negative ones leftwards from zero; returns how far left they reach."""
    right, left = np.zeros(len(places)), np.zeros(len(places))
    for amount, colour, hatch in parts:
        start = np.where(amount >= 0, right, left)
        ax.barh(places, amount, left=start, height=0.62, **_part(colour, hatch))
        right, left = right + np.maximum(amount, 0), left + np.minimum(amount, 0)
    return float(left.min())


def _part(colour: str, hatch: str) -> dict[str, Any]:
    """How a part of a bar looks, and its square in the legend."""
    return {"fc": colour, "hatch": hatch, "ec": "white", "lw": 0.8}


def _write_column(ax: Axes, x: int, name: str, amounts: Array, colour: str, hatch: str) -> None:
    """A column of numbers beside the bars, under a name and a square that are the bars' legend."""
    ax.barh(-0.6, 0.4, left=x - 0.2, height=0.18, clip_on=False, **_part(colour, hatch))
    dark = MUTED if hatch else colour
    ax.text(x, -0.74, name, ha="center", va="bottom", color=dark, weight="bold", fontsize=7.5)
    for place, amount in enumerate(amounts):
        ax.text(x, place, _money(float(amount)), ha="center", va="center")


def _surplus_finding(rows: Sequence[SurplusSplit], heading: str) -> str:
    kept = [float(per_thousand(row.user_value_usd)) for row in rows]
    best = int(np.argmax(kept))
    first = float(per_thousand(rows[best].first_best_usd))
    text = f"users keep {_money(kept[best])} of {_money(first)} under {rows[best].name}"
    if len(rows) == 2:
        text += f", {_money(kept[1 - best])} under {rows[1 - best].name}"
    elif len(rows) > 2:
        worst = int(np.argmin(kept))
        text += f", least under {rows[worst].name} ({_money(kept[worst])})"
    return f"{heading}: {text}" if heading else text[0].upper() + text[1:]


def _money(usd_per_thousand: float) -> str:
    """Two decimals, with a true minus sign and no negative zero."""
    return f"{round(usd_per_thousand, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


# --- The play of a run ------------------------------------------------------------------------------


_MOST_BLOCKS = 240
"""Runs longer than this many rounds are drawn as means over blocks of rounds."""


@styled
def play_figure(rounds: Mapping[str, Array], providers: Mapping[str, Array], heading: str) -> Figure:
    """A run in panels over rounds: compute levels by benchmark, surplus against the optimum, market shares.

    rounds     columns of the rounds table, (T,) each: round, expected_welfare_usd, welfare_usd,
               expected_user_value_usd, inefficiency, first_best_gap_usd, outside_share
    providers  columns of the providers table, (T * benchmarks * N,) each: benchmark, provider,
               compute_level, share
    heading    names the run
    """
    x = np.asarray(rounds["round"])
    length = -(-len(x) // _MOST_BLOCKS)
    names, tasks = (list(dict.fromkeys(providers[key].tolist())) for key in ("provider", "benchmark"))
    shape = (len(x), len(tasks), len(names))
    level, share = (np.reshape(providers[column], shape) for column in ("compute_level", "share"))
    starts = np.append(x[::length], x[-1])
    fig = new_figure(6.4 + 1.7 * (len(tasks) - 1))
    *ladders, middle, last = axes = fig.subplots(
        len(tasks) + 2, 1, sharex=True, height_ratios=(*[1.1] * len(tasks), 1, 1)
    )
    for t, (ax, task) in enumerate(zip(ladders, tasks, strict=True)):
        staircases(ax, starts, {name: _block_means(level[:, t, i], length) for i, name in enumerate(names)})
        ax.set_ylabel("compute level" + (f"\n{task}" if len(tasks) > 1 else ""))
    _draw_surplus(middle, starts, rounds, length)
    shares = {name: _block_means(share[:, :, i].sum(axis=1), length) for i, name in enumerate(names)}
    stacked_shares(last, starts, shares, _block_means(rounds["outside_share"], length))
    last.set_xlabel("round")
    last.set_xlim(x[0], max(x[-1], x[0] + 1))
    sns.despine(fig=fig)
    fig.align_ylabels(axes)
    models = [Line2D([], [], color=colour_of(name), lw=3, label=name) for name in in_family_order(names)]
    surplus = middle.get_legend_handles_labels()[0]
    legend_beside(fig, [*models, Patch(fc=LOST, label="buys nothing"), *surplus])
    note = (
        "Levels that coincide are drawn side by side. Welfare and users' part are expectations, the thin "
        "line is what each round's users and answers happened to give."
    )
    if length > 1:
        note += f" All are means over blocks of {length} rounds."
    say(
        fig,
        f"{heading}: {_play_finding(rounds)}",
        f"{note} Title: means over the last quarter of the rounds.",
    )
    return fig


def _block_means(column: Array, length: int) -> Array:
    """Means over blocks of `length` rows, the last of them twice: where it begins and where it ends."""
    column = np.asarray(column, dtype=float)
    begins = np.arange(0, len(column), length)
    means = np.add.reduceat(column, begins) / np.diff(begins, append=len(column))
    return np.append(means, means[-1])


def _draw_surplus(ax: Axes, x: Array, rounds: Mapping[str, Array], length: int) -> None:
    """Welfare, users' part of it and the two yardsticks."""

    def draw(usd: Array, **look: Any) -> None:
        ax.plot(x, _block_means(per_thousand(usd), length), **look)

    welfare = np.asarray(rounds["expected_welfare_usd"])
    draw(rounds["welfare_usd"], color=INK, lw=0.5, alpha=0.45)
    draw(welfare, color=INK, lw=2.0, label="welfare")
    draw(rounds["expected_user_value_usd"], color=USERS, lw=2.0, label="users' part of it")
    draw(
        welfare * (1.0 + np.asarray(rounds["inefficiency"])),
        color=BAD,
        ls=(0, (5, 2)),
        label="optimum of the regime",
    )
    draw(welfare + rounds["first_best_gap_usd"], color=BAD, ls=(0, (1, 1.5)), label="first best")
    ax.set_ylabel(USD_LABEL)


def _play_finding(rounds: Mapping[str, Array]) -> str:
    late = slice(-max(1, len(rounds["round"]) // 4), None)
    welfare, users, gap = (
        float(per_thousand(rounds[name][late]).mean())
        for name in ("expected_welfare_usd", "expected_user_value_usd", "first_best_gap_usd")
    )
    return (
        f"welfare comes to {_money(welfare)} of {_money(welfare + gap)} {USD_LABEL}; "
        f"users keep {_money(users)} of it"
    )


# --- Files ------------------------------------------------------------------------------------------

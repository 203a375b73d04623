"""The figure that is drawn again and again while a market is played: nine panels, one legend.

What changes from frame to frame (lines, areas, dots, the numbers in titles) is drawn over a picture of what
does not (axes, ticks, legends), which is made anew only when axes must grow.  That is several times as fast
as drawing everything, and the saved figure is the same artists drawn whole.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from market_sim.experiments.frames import Title, packed
from market_sim.experiments.house_style import (
    BAD,
    INK,
    LOST,
    METHOD_NAMES,
    MUTED,
    PROVIDERS,
    USD_LABEL,
    USERS,
    colour_of,
    house_style,
    in_family_order,
    level_axis,
    per_thousand,
    say,
)
from market_sim.experiments.live import Seen, Yardsticks
from market_sim.theory.arrays import Array

WIDTH, HEIGHT = 9.6, 6.2
"""Inches.  The page shows the figure at 900 to 1,400 pixels, where its type reads like the page's."""

ABOVE, BELOW = 0.4, 0.3
"""Inches more for a heading and a note."""

SCREEN_DPI = 125

EQUILIBRIUM = "#7a4fb5"

DASHES: tuple[Any, ...] = ("-", (0, (3, 1)), (0, (1, 1)))
"""Lines of providers by their method, where there are several."""

SHORT_UNIT = "USD per 1,000"
"""In titles; the axis beside them says of what."""

NOTE = "bold: what can be expected\nthin: what users and answers gave"


def level_label(methods: Iterable[str]) -> str:
    """What compute levels count.

    >>> level_label(["majority_voting", "best_of_n"])
    'samples'
    """
    return " or ".join(dict.fromkeys(map(_unit_of, methods)))


def _unit_of(method: str) -> str:
    return "effort bin" if method == "reasoning_effort" else "samples"


@dataclass(frozen=True, kw_only=True, eq=False)
class Crowd:
    """The users as they are drawn: places (M, 2) and links (L, 2)."""

    place: Array
    links: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Customers:
    """Whom the users that are drawn last bought from: index of a provider, (M,), -1 for nobody.

    about  says who they are
    """

    bought: Array
    about: str


class LiveFigure:
    """Nine panels of one market.  `show` brings them up to date, `png` gives them as they are on screen.

    methods        how each provider spends compute, N names
    heading, note  above and below the panels, where the figure is for a file; one has both or neither
    """

    def __init__(
        self,
        seen: Seen,
        crowd: Crowd,
        yardsticks: Yardsticks,
        methods: Sequence[str],
        levels: Array,
        regime: str,
        heading: str = "",
        note: str = "",
    ) -> None:
        self._names, self._yardsticks, self._methods = seen.names, yardsticks, methods
        self._dashes = dict(zip(dict.fromkeys(methods), cycle(DASHES), strict=False))
        self._first_regime = regime
        self._order = [seen.names.index(name) for name in in_family_order(seen.names)]
        self._moving: list[Artist] = []
        self._background: Any = None
        self._marks: tuple[int, ...] = ()
        self._heights: dict[Axes, tuple[float, float]] = {}
        with house_style():
            above, below = (ABOVE, BELOW) if heading else (0.0, 0.0)
            self.figure = Figure(figsize=(WIDTH, HEIGHT + above + below), dpi=SCREEN_DPI)
            self._canvas = FigureCanvasAgg(self.figure)
            self._lay_out(seen, crowd, levels, above, below)
            if heading:
                say(self.figure, heading, note)
            self._fitted = self._panels_to_fit()

    # --- made once ----------------------------------------------------------------------------------

    def _lay_out(self, seen: Seen, crowd: Crowd, levels: Array, above: float, below: float) -> None:
        handles = self._legend_of_all()
        columns = min(len(handles), 6)
        legend_rows = max(-(-len(handles) // columns), NOTE.count("\n") + 1)
        height = self.figure.get_figheight()
        several = len(seen.tasks) > 1
        grid = self.figure.add_gridspec(
            3,
            3,
            width_ratios=(5, 4.2, 3),
            left=0.058,
            right=0.985,
            top=1 - (0.28 + 0.14 * several + 0.17 * legend_rows + above) / height,
            bottom=(0.38 + below) / height,
            wspace=0.24,
            hspace=0.42,
        )
        ladders = grid[0, 0].subgridspec(1, len(seen.tasks), wspace=0.08)
        self._ladders = [self.figure.add_subplot(ladders[t]) for t in range(len(seen.tasks))]
        self._share = self.figure.add_subplot(grid[0, 1])
        self._users = self.figure.add_subplot(grid[0, 2])
        self._welfare = self.figure.add_subplot(grid[1, 0])
        self._money = self.figure.add_subplot(grid[1, 1])
        self._loss = self.figure.add_subplot(grid[1, 2])
        self._profit = self.figure.add_subplot(grid[2, 0])
        self._right = self.figure.add_subplot(grid[2, 1])
        self._tokens = self.figure.add_subplot(grid[2, 2])
        self._timed = [
            *self._ladders,
            self._share,
            self._welfare,
            self._money,
            self._loss,
            self._profit,
            self._right,
            self._tokens,
        ]
        above_more = (self._welfare, self._money, *(self._ladders if several else ()))
        self._titles = {
            ax: self._animated(ax, Title(ax, 17 if ax in above_more else 5))
            for ax in (self._ladders[0], *self._timed[len(self._ladders) :], self._users)
        }
        self._draw_ladders(seen, levels)
        self._draw_shares(seen)
        self._draw_users(crowd)
        self._draw_money()
        self._draw_rest(seen)
        for ax in self._timed:
            sns.despine(ax=ax)
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            ax.tick_params(pad=2)
        for ax in self._timed:
            if ax in (self._profit, self._right, self._tokens):
                ax.set_xlabel("round", labelpad=1)
            else:
                ax.tick_params(labelbottom=False)  # the same rounds as below
        self.figure.legend(
            handles=handles,
            loc="upper left",
            ncols=columns,
            borderaxespad=0.1,
            handletextpad=0.1,
            handlelength=1.6,
            columnspacing=1.2,
            labelspacing=0.3,
            bbox_to_anchor=(0.045, 1 - above / height),
        )
        self.figure.text(
            0.985,
            1 - (0.03 + above) / height,
            NOTE,
            ha="right",
            va="top",
            fontsize=7,
            color=MUTED,
        )

    def _legend_of_all(self) -> list[Line2D]:
        """A square for each model and, where there are several methods, a kind of line for each."""
        labels = {
            self._names[i].removesuffix(f" ({self._methods[i]})"): colour_of(self._names[i])
            for i in self._order
        } | {"buys nothing": LOST}
        squares = [
            Line2D([], [], marker="s", ls="none", ms=6, color=colour, label=label)
            for label, colour in labels.items()
        ]
        kinds = [
            Line2D([], [], color=INK, lw=1.3, ls=dashes, label=METHOD_NAMES.get(method, method))
            for method, dashes in self._dashes.items()
        ]
        return squares + (kinds if len(kinds) > 1 else [])

    def _provider_lines(self, ax: Axes, width: float) -> list[Line2D]:
        return [
            self._line(ax, color=colour_of(self._names[i]), lw=width, ls=self._dashes[self._methods[i]])
            for i in self._order
        ]

    def _animated[A: Artist](self, ax: Axes, artist: A) -> A:
        """Keep an artist among those that change from frame to frame."""
        artist.set_animated(True)
        self._moving.append(artist)
        return artist

    def _line(self, ax: Axes, **look: Any) -> Line2D:
        (line,) = ax.plot([], [], drawstyle="steps-post", **look)
        return self._animated(ax, line)

    def _draw_ladders(self, seen: Seen, levels: Array) -> None:
        self._stairs = []
        many = len(self._names)
        gap = min(0.07, 0.6 / many)
        self._shifts = gap * (np.arange(many) - (many - 1) / 2)
        for ax, task in zip(self._ladders, seen.tasks, strict=True):
            level_axis(ax.yaxis, levels)
            self._doubling = ax.get_yscale() == "log"
            room = (levels.min(), levels.max())
            ax.set_ylim(
                (room[0] / 1.35, room[1] * 1.35) if self._doubling else (room[0] - 0.5, room[1] + 0.5)
            )
            if ax is self._ladders[0]:
                ax.set_ylabel(level_label(self._methods), labelpad=2)
            else:
                ax.tick_params(labelleft=False)  # the same levels as at the left
            if len(seen.tasks) > 1:
                ax.set_title(task, loc="left", pad=3, fontsize=7.5, weight="normal", color=MUTED)
            self._stairs.append(self._provider_lines(ax, 1.5))

    def _draw_shares(self, seen: Seen) -> None:
        colours = [*(colour_of(self._names[i]) for i in self._order), LOST]
        empty = np.zeros((1, 2))
        self._areas = PolyCollection([empty] * len(colours), facecolors=colours, linewidths=0)
        self._share.add_collection(self._areas, autolim=False)
        self._animated(self._share, self._areas)
        self._share.set_ylim(0, 100)
        self._share.set_ylabel("market share (%)", labelpad=2)
        self._share.grid(visible=False)

    def _draw_users(self, crowd: Crowd) -> None:
        ax = self._users
        ax.set_axis_off()
        ax.set_aspect("equal", adjustable="box", anchor="W")
        ax.set_xlim(-1.07, 1.07)
        ax.set_ylim(-1.07, 1.07)
        if len(crowd.links):
            ax.add_collection(
                LineCollection(crowd.place[crowd.links].tolist(), colors="#c9c9c9", linewidths=0.5, zorder=1)
            )
        self._dots = ax.scatter(
            crowd.place[:, 0], crowd.place[:, 1], s=15, linewidths=0.5, edgecolors="white", zorder=2
        )
        self._animated(ax, self._dots)

    def _draw_money(self) -> None:
        ax = self._welfare
        ax.set_ylabel(USD_LABEL, labelpad=2)
        self._lines = {
            "welfare_usd": self._line(ax, color=INK, lw=0.6, alpha=0.45),
            "first_best": self._line(ax, color=BAD, lw=1.2, ls=(0, (1, 1.5))),
            "optimum": self._line(ax, color=BAD, lw=1.2, ls=(0, (5, 2))),
            "expected_welfare_usd": self._line(ax, color=INK, lw=2.0),
        }
        for number, welfare in enumerate(self._yardsticks.equilibria):
            ax.axhline(float(per_thousand(welfare)), color=EQUILIBRIUM, lw=1.0, zorder=1, alpha=0.9)
            if number == 0:
                ax.plot([], [], color=EQUILIBRIUM, lw=1.0)
        handles = [
            Line2D([], [], color=INK, lw=2.0, label="welfare"),
            Line2D([], [], color=BAD, lw=1.2, ls=(0, (1, 1.5)), label="first best"),
            Line2D([], [], color=BAD, lw=1.2, ls=(0, (5, 2)), label="optimum"),
        ]
        found = len(self._yardsticks.equilibria)
        if found:
            label = "exact equilibrium" if found == 1 else f"{found} exact equilibria"
            if self._first_regime != "pay_per_compute":
                label = "under pay-per-compute"
            handles.append(Line2D([], [], color=EQUILIBRIUM, lw=1.0, label=label))
        self._legend_above(ax, handles)
        ax = self._money
        ax.set_ylabel(USD_LABEL, labelpad=2)
        self._lines |= {
            "user_value_usd": self._line(ax, color=USERS, lw=0.6, alpha=0.5),
            "price_usd": self._line(ax, color=PROVIDERS, lw=0.6, alpha=0.5),
            "expected_user_value_usd": self._line(ax, color=USERS, lw=2.0),
            "expected_price_usd": self._line(ax, color=PROVIDERS, lw=2.0),
        }
        self._legend_above(
            ax,
            [
                Line2D([], [], color=USERS, lw=2.0, label="user value (quality less price)"),
                Line2D([], [], color=PROVIDERS, lw=2.0, label="price"),
            ],
        )

    def _legend_above(self, ax: Axes, handles: Sequence[Artist]) -> None:
        ax.legend(
            handles=list(handles),
            loc="lower left",
            bbox_to_anchor=(0, 0.985),
            ncols=len(handles),
            borderaxespad=0,
            borderpad=0.2,
            handlelength=1.5,
            handletextpad=0.4,
            columnspacing=1.0,
        )

    def _draw_rest(self, seen: Seen) -> None:
        self._loss.set_ylabel("optimum / welfare \N{MINUS SIGN} 1 (%)", labelpad=2, fontsize=7)
        self._lines |= {
            "inefficiency": self._line(self._loss, color=BAD, lw=2.0),
            "accuracy": self._line(self._right, color=INK, lw=1.4),
            "tokens_per_query": self._line(self._tokens, color=INK, lw=1.4),
        }
        self._profit.set_ylabel(USD_LABEL, labelpad=2)
        self._earned = self._provider_lines(self._profit, 1.3)
        self._right.set_ylabel("answers right (%)", labelpad=2)
        self._tokens.set_ylabel("thousand tokens", labelpad=2)

    def _panels_to_fit(self) -> dict[Axes, tuple[list[Line2D], float, Array]]:
        """Panels whose height follows what they show: lines, least height, and what must be in sight too."""
        named, nothing, zero = self._lines, np.empty(0), np.zeros(1)
        money = ("welfare_usd", "first_best", "optimum", "expected_welfare_usd")
        prices = ("user_value_usd", "price_usd", "expected_user_value_usd", "expected_price_usd")
        equilibria = per_thousand(np.array(self._yardsticks.equilibria))
        return {
            self._welfare: ([named[name] for name in money], 0.02, equilibria),
            self._money: ([named[name] for name in prices], 0.02, nothing),
            self._loss: ([named["inefficiency"]], 2.0, zero),
            self._profit: (self._earned, 0.005, zero),
            self._right: ([named["accuracy"]], 3.0, nothing),
            self._tokens: ([named["tokens_per_query"]], 0.1, zero),
        }

    # --- from frame to frame ------------------------------------------------------------------------

    def show(self, seen: Seen, customers: Customers, marks: Sequence[int] = ()) -> None:
        """Bring every panel up to date.  marks: rounds before which something happened, as dotted lines."""
        x = np.append(seen.round, max(seen.last, seen.round[-1] + seen.length - 1)).astype(float)
        if x[-1] == x[-2]:
            x[-1] += 0.5
        for task, lines in enumerate(self._stairs):
            for line, i, shift in zip(lines, self._order, self._shifts, strict=True):
                level = seen.providers["compute_level"][:, task, i]
                self._set(line, x, level * 2.0**shift if self._doubling else level + shift)
        share = seen.providers["share"].sum(axis=1)
        share = np.where(np.isfinite(share), share, 0.0)
        self._stack(x, 100.0 * share[:, self._order])
        rounds = seen.rounds
        welfare = rounds["expected_welfare_usd"]
        columns = {
            "optimum": per_thousand(welfare * (1.0 + rounds["inefficiency"])),
            "first_best": per_thousand(welfare + rounds["first_best_gap_usd"]),
            "inefficiency": 100.0 * rounds["inefficiency"],
            "accuracy": 100.0 * rounds["accuracy"],
            "tokens_per_query": rounds["tokens_per_query"] / 1000.0,
        }
        for name, line in self._lines.items():
            self._set(line, x, columns[name] if name in columns else per_thousand(rounds[name]))
        profit = per_thousand(seen.providers["profit_usd"].sum(axis=1))
        for line, i in zip(self._earned, self._order, strict=True):
            self._set(line, x, profit[:, i])
        colours = [*(colour_of(name) for name in self._names), LOST]
        self._dots.set_facecolor([colours[i] for i in customers.bought.tolist()])
        nobody = seen.last == 0 and (customers.bought < 0).all()
        self._titles[self._users].set_text("Nobody has bought yet" if nobody else customers.about)
        self._name_findings(seen, columns, share[-1])
        self._fit(seen, marks)

    def _set(self, line: Line2D, x: Array, y: Array) -> None:
        line.set_data(x, np.append(y, y[-1]))

    def _stack(self, x: Array, percent: Array) -> None:
        """Areas between cumulated shares, as steps; what is left buys nothing."""
        tops = np.concatenate([np.zeros((len(percent), 1)), np.cumsum(percent, axis=1)], axis=1)
        tops = np.concatenate([tops, np.full((len(percent), 1), 100.0)], axis=1).clip(0, 100)
        corners = np.repeat(x, 2)[1:-1]
        areas = []
        for low, high in zip(tops.T[:-1], tops.T[1:], strict=True):
            there = np.column_stack([corners, np.repeat(low, 2)])
            back = np.column_stack([corners, np.repeat(high, 2)])[::-1]
            areas.append(np.concatenate([there, back]))
        self._areas.set_verts(areas)

    def _name_findings(self, seen: Seen, columns: dict[str, Array], share: Array) -> None:
        """Titles: what the last block of rounds says, money by expectation."""

        def last(name: str) -> float:
            return float(per_thousand(seen.rounds[name][-1]))

        level = seen.providers["compute_level"][-1]
        weight = np.where(np.isfinite(level), seen.providers["share"][-1], 0.0)
        sold = self._compute_text(np.where(weight > 0, level, 0.0), weight)
        leader = int(share.argmax())
        accuracy, tokens = columns["accuracy"][-1], 1000.0 * columns["tokens_per_query"][-1]
        earned = last("expected_welfare_usd") - last("expected_user_value_usd")
        said = {
            self._ladders[0]: f"Mean compute sold: {sold}" if sold else "Nobody buys",
            self._share: f"{self._names[leader]} serves {100 * share[leader]:.0f} %",
            self._welfare: f"Welfare {_money(last('expected_welfare_usd'))} of at most "
            f"{_money(float(columns['first_best'][-1]))} {SHORT_UNIT}",
            self._money: f"Users pay {_money(last('expected_price_usd'))} and keep "
            f"{_money(last('expected_user_value_usd'))} {SHORT_UNIT}",
            self._loss: f"Inefficiency {_percent(columns['inefficiency'][-1])}",
            self._profit: f"Providers earn {_money(earned)} {SHORT_UNIT} together",
            self._right: "Nothing is answered"
            if np.isnan(accuracy)
            else f"{accuracy:.1f} % of answers right",
            self._tokens: f"{tokens:,.0f} tokens per query",
        }
        for ax, text in said.items():
            self._titles[ax].set_text(text)

    def _compute_text(self, level: Array, weight: Array) -> str:
        """The mean level that is sold, in each unit that is; level and weight (T, N)."""
        units, said = np.array([_unit_of(method) for method in self._methods]), []
        for unit in dict.fromkeys(units):
            total = weight[:, units == unit].sum()
            if total > 0:
                mean = (level * weight)[:, units == unit].sum() / total
                said.append(f"{mean:.1f} samples" if unit == "samples" else f"{unit} {mean:.1f}")
        return ", ".join(said)

    def _fit(self, seen: Seen, marks: Sequence[int]) -> None:
        """Let axes grow where they must; what stands in the background is then drawn anew."""
        end = _rounded_up(max(seen.last, 20))
        if self._timed[0].get_xlim()[1] != end:
            for ax in self._timed:
                ax.set_xlim(0, end)
            self._background = None
        reached = {ax: self._reach(ax) for ax in self._fitted}
        if self._background is None or not all(map(_holds, reached, reached.values())):
            for ax, (low, high, least) in reached.items():
                self._fit_height(ax, low, high, least)
            self._background = None
        for mark in marks:
            if mark not in self._marks:
                for ax in self._timed:
                    ax.axvline(mark, color=MUTED, lw=0.8, ls=(0, (2, 2)), zorder=1.5)
                self._marks, self._background = (*self._marks, mark), None

    def _reach(self, ax: Axes) -> tuple[float, float, float]:
        """Least and greatest value in a panel, NaN where there is none, and the least height to show."""
        lines, least, also = self._fitted[ax]
        values = np.concatenate([*(np.asarray(line.get_ydata(), dtype=float) for line in lines), also])
        values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max()), least) if len(values) else (np.nan, np.nan, least)

    def _fit_height(self, ax: Axes, low: float, high: float, least: float) -> None:
        """New limits, with more room on a side where values have moved outwards since the last time: drawing
        anew what stands still takes several frames, and where they moved they will move on."""
        if np.isnan(low):
            return
        span = max(high - low, least)
        lowest, highest = self._heights.get(ax, (low, high))
        below, above = (0.35 * span if moved else 0.08 * span for moved in (low < lowest, high > highest))
        ax.set_ylim(low if low == 0 else low - below, low + span + above)
        self._heights[ax] = low, high

    def png(self) -> bytes:
        """The figure as it is on screen."""
        canvas = self._canvas
        if self._background is None:
            canvas.draw()
            self._background = canvas.copy_from_bbox(self.figure.bbox)
        else:
            canvas.restore_region(self._background)
        renderer = canvas.get_renderer()
        for artist in sorted(self._moving, key=lambda each: each.get_zorder()):
            artist.draw(renderer)
        return packed(canvas)


def _holds(ax: Axes, reach: tuple[float, float, float]) -> bool:
    """Whether a panel's limits go with what it shows: nothing left out, and not mostly empty."""
    low, high, least = reach
    bottom, top = ax.get_ylim()
    return np.isnan(low) or (bottom <= low and high <= top and max(high - low, least) > 0.45 * (top - bottom))


def _rounded_up(rounds: int) -> int:
    """The next of 20, 50, 100, 200, 500, ..."""
    power = 10 ** int(np.log10(rounds))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rounds)


def _money(usd: float) -> str:
    return f"{round(usd, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def _percent(share: float) -> str:
    return "undefined" if np.isnan(share) else f"{round(share, 1) + 0.0:.1f} %"

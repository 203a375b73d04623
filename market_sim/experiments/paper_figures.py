"""The paper's figures, drawn from the solved markets: curves, values, dynamics, inefficiency over beta.

Each figure has a record of what it shows, computed from a market, and a function that draws it.  Titles
are computed from the data they stand over.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from market_sim.economy.market import Market, games_of
from market_sim.economy.solve import paper_path
from market_sim.experiments.house_style import (
    BAD,
    BETA_LABEL,
    INK,
    LOST,
    METHOD_NAMES,
    MUTED,
    USD_LABEL,
    colour_of,
    in_family_order,
    legend_beside,
    level_axis,
    log_axis,
    model_handles,
    new_figure,
    per_thousand,
    say,
    stacked_shares,
    staircases,
    style_of,
    styled,
)
from market_sim.theory.arrays import Array, at_levels
from market_sim.theory.game import equilibria, log_shares_at, potential, select
from market_sim.theory.welfare import inefficiency, social_optimum, welfare_at

LEVEL_NAMES: Mapping[str, str] = {
    "majority_voting": "samples per query",
    "best_of_n": "samples per query",
    "reasoning_effort": "reasoning effort",
}

SWEEP_BETAS = np.logspace(0, 6, 100)
"""The paper's sweep of rationality, 1/USD."""


# --- Curves and values ------------------------------------------------------------------------------


@styled
def curves_figure(markets: Sequence[Market]) -> Figure:
    """Accuracy and tokens by compute level, one column per benchmark; markets of one method."""
    gain, growth, early, curves = [], [], 0, 0
    for market in markets:
        accuracy, tokens = 100.0 * market.accuracy[0], market.tokens[0]
        gain.extend(accuracy[:, -1] - accuracy[:, 0])
        growth.extend(tokens[:, -1] / tokens[:, 0])
        early += int((accuracy.argmax(axis=1) < accuracy.shape[1] - 1).sum())
        curves += len(accuracy)
    method = METHOD_NAMES[markets[0].methods[0]]
    fig = _by_level(
        markets,
        (
            ("accuracy (%)", lambda market: 100.0 * market.accuracy[0]),
            ("tokens per query", lambda market: market.tokens[0]),
        ),
    )
    say(
        fig,
        f"{method.capitalize()}: from the lowest to the highest level tokens grow "
        f"{np.median(growth):.2g}-fold, accuracy by {np.median(gain):.1f} points",
        f"Medians over {curves} curves; accuracy peaks before the highest level in {early} of them.",
    )
    return fig


@styled
def value_figure(markets: Sequence[Market]) -> Figure:
    """Users' value and price by compute level, one column per benchmark; markets of one method."""
    below = curves = 0
    for market in markets:
        value = market.quality() - market.price[0]
        below += int((value.argmax(axis=1) < market.price[0].argmax(axis=1)).sum())
        curves += len(value)
    method = METHOD_NAMES[markets[0].methods[0]]
    fig = _by_level(
        markets,
        (
            (f"value to a user\n({USD_LABEL})", lambda m: per_thousand(m.quality() - m.price[0])),
            (f"price\n({USD_LABEL})", lambda m: per_thousand(m.price[0])),
        ),
        ring_peaks=0,
    )
    say(
        fig,
        f"{method.capitalize()}: in {below} of {curves} curves users are best served below the level that "
        "earns the provider most per query",
        "Value: what the answer is worth less its price; rings mark each model's best level for users. "
        "Profit per query is a fixed share of the price, so it peaks where the price does.",
    )
    return fig


def _by_level(
    markets: Sequence[Market],
    rows: Sequence[tuple[str, Callable[[Market], Array]]],
    ring_peaks: int | None = None,
) -> Figure:
    """Panels of (row quantity) x (benchmark), a line per model; ring_peaks names the row that has rings."""
    fig = new_figure(4.3)
    axes = fig.subplots(len(rows), len(markets), sharex=True, squeeze=False)
    for column, market in enumerate(markets):
        for row, (label, quantity) in enumerate(rows):
            ax, table = axes[row, column], quantity(market)
            if table.min() > 0 and table.max() / table.min() > 50:
                log_axis(ax.yaxis)
            for i in map(market.providers.index, in_family_order(market.providers)):
                style, level = style_of(market.providers[i]), market.compute_level[0, i]
                ax.plot(level, table[i], color=style.colour, marker=style.marker)
                if row == ring_peaks:
                    k = table[i].argmax()
                    ax.plot(level[k], table[i, k], "o", ms=7, mfc="none", mec=style.colour, mew=1.1)
            if column == 0:
                ax.set_ylabel(label)
        axes[0, column].set_title(market.tasks[0], loc="left")
        level_axis(axes[-1, column].xaxis, market.compute_level[0])
        axes[-1, column].set_xlabel(LEVEL_NAMES[market.methods[0]])
    sns.despine(fig=fig)
    fig.align_ylabels(axes[:, 0])
    legend_beside(fig, model_handles(name for market in markets for name in market.providers))
    return fig


# --- Dynamics ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Dynamics:
    """The paper's better replies, turn by turn, at one rationality; row 0 is the start.

    compute_level, shares               (S + 1, N)
    outside_share, inefficiency, potential  (S + 1,)
    """

    benchmark: str
    method: str
    beta: float
    providers: tuple[str, ...]
    compute_level: Array
    shares: Array
    outside_share: Array
    inefficiency: Array
    potential: Array


def dynamics(market: Market, betas: Sequence[float], seed: int) -> list[Dynamics]:
    """The path of the paper's dynamics at each rationality, until the end of a round without a move."""
    games = games_of(market, 0, np.asarray(betas, dtype=float))
    path = paper_path(games, seed)
    best = social_optimum(games).welfare
    paths = []
    for b, beta in enumerate(betas):
        game = select(games, np.asarray(b))
        levels = path.levels[: path.n_steps[b] + 1, b]
        shares, outside = log_shares_at(game, levels)
        paths.append(
            Dynamics(
                benchmark=market.tasks[0],
                method=market.methods[0],
                beta=float(beta),
                providers=market.providers,
                compute_level=at_levels(market.compute_level[0], levels),
                shares=np.exp(shares),
                outside_share=np.exp(outside),
                inefficiency=inefficiency(best[b], welfare_at(game, levels)),
                potential=potential(game, levels),
            )
        )
    return paths


@styled
def dynamics_figure(paths: Sequence[Dynamics]) -> Figure:
    """Levels, inefficiency, shares and potential, turn by turn; one column per rationality."""
    fig = new_figure(6.8)
    axes = fig.subplots(4, len(paths), sharex="col", height_ratios=(1.5, 0.8, 1, 0.8), squeeze=False)
    for column, path in zip(axes.T, paths, strict=True):
        turns = np.arange(len(path.potential))
        staircases(column[0], turns, dict(zip(path.providers, path.compute_level.T, strict=True)))
        column[1].step(turns, 100.0 * path.inefficiency, where="post", color=INK)
        column[1].set_ylim(bottom=0)
        shares = dict(zip(path.providers, path.shares.T, strict=True))
        stacked_shares(column[2], turns, shares, path.outside_share)
        column[3].step(turns, path.potential - path.potential[0], where="post", color=INK)
        column[0].set_title(f"β = {path.beta:,.0f} per USD", loc="left")
        column[3].set_xlabel("turn")
        column[3].set_xlim(0, turns[-1])
    limits = [ax.get_ylim() for ax in axes[0]]
    for ax in axes[0]:
        level_axis(ax.yaxis, np.concatenate([path.compute_level.ravel() for path in paths]))
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    labels = ("compute level", "inefficiency (%)", "market share (%)", "potential gained")
    for row, label in zip(axes, labels, strict=True):
        for ax in row:
            ax.set_ylabel(label if ax is row[0] else "")
    sns.despine(fig=fig)
    fig.align_ylabels(axes[:, 0])
    names = in_family_order(paths[0].providers)
    models = [Line2D([], [], color=colour_of(name), lw=3, label=name) for name in names]
    legend_beside(fig, [*models, Patch(fc=LOST, label="buys nothing")])
    ends = [f"{100 * path.inefficiency[-1]:.1f} %" for path in paths]
    say(
        fig,
        f"{paths[0].benchmark}, {METHOD_NAMES[paths[0].method]}: better replies settle at "
        f"{_listed(ends)} inefficiency",
        "Everybody starts at the lowest level; each turn one provider moves to its nearest more profitable "
        "level. Inefficiency: optimal welfare over welfare, minus one. Potential: of log-profits, from the "
        "start. Levels that coincide are drawn side by side.",
    )
    return fig


# --- Inefficiency over rationality ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class InefficiencyCurve:
    """Optimal welfare over welfare, minus one, by rationality.

    beta     (B,)  the sweep and points inside the windows, rising, 1/USD
    reached  (B,)  where the paper's dynamics end
    best     (B,)  in the equilibrium of most welfare;  worst (B,): of least
    windows        ranges of beta with two or more equilibria
    """

    benchmark: str
    method: str
    beta: Array
    reached: Array
    best: Array
    worst: Array
    windows: tuple[tuple[float, float], ...]

    @property
    def peak(self) -> tuple[float, float]:
        """The rationality at which the dynamics end most inefficiently, and how inefficiently."""
        at = int(np.nanargmax(self.reached))
        return float(self.beta[at]), float(self.reached[at])


def inefficiency_curve(market: Market, seed: int, betas: Array = SWEEP_BETAS) -> InefficiencyCurve:
    """Inefficiency over a sweep of rationality, with every window of several equilibria in its range."""
    windows = equilibrium_windows(market, float(betas.min()), float(betas.max()))
    inside = [np.geomspace(low, high, 12) for low, high in windows]
    beta = np.unique(np.concatenate([betas, *inside]))
    games = games_of(market, 0, beta)
    found = equilibria(games)
    optimum = social_optimum(games).welfare
    most, least = np.full(len(beta), -np.inf), np.full(len(beta), np.inf)
    np.maximum.at(most, found.game, found.welfare)
    np.minimum.at(least, found.game, found.welfare)
    return InefficiencyCurve(
        benchmark=market.tasks[0],
        method=market.methods[0],
        beta=beta,
        reached=inefficiency(optimum, welfare_at(games, paper_path(games, seed).end)),
        best=inefficiency(optimum, most),
        worst=inefficiency(optimum, least),
        windows=windows,
    )


def equilibrium_windows(market: Market, low: float, high: float) -> tuple[tuple[float, float], ...]:
    """Ranges of beta, from low to high, in which the game has more than one pure equilibrium.

    A grid of 500 points per factor of ten finds them, bisection sharpens their ends; a window narrower
    than half a percent of its beta can go unseen.
    """
    grid = np.geomspace(low, high, int(500 * np.log10(high / low)) + 2)
    several = _several(market, grid)
    edges = np.flatnonzero(several[1:] != several[:-1])
    left, right = grid[edges], grid[edges + 1]
    for _ in range(20):
        middle = np.sqrt(left * right)
        same = _several(market, middle) == several[edges] if len(edges) else np.empty(0, dtype=bool)
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    # The inner end of each bracket, so that both equilibria are there at the ends too.
    ends = np.where(several[edges], left, right).tolist()
    ends = [low] * bool(several[0]) + ends + [high] * bool(several[-1])
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def _several(market: Market, betas: Array) -> Array:
    """Whether there is more than one pure equilibrium at each beta, (B,)."""
    return np.bincount(equilibria(games_of(market, 0, betas)).game, minlength=len(betas)) > 1


@styled
def inefficiency_figure(curves: Iterable[InefficiencyCurve]) -> Figure:
    """Small multiples: a row per method, a column per benchmark; bands where two equilibria exist."""
    curves = list(curves)
    methods = list(dict.fromkeys(curve.method for curve in curves))
    benchmarks = list(dict.fromkeys(curve.benchmark for curve in curves))
    fig = new_figure(1.3 + 1.7 * len(methods))
    axes = fig.subplots(len(methods), len(benchmarks), sharex=True, sharey="row", squeeze=False)
    for curve in curves:
        row, column = methods.index(curve.method), benchmarks.index(curve.benchmark)
        ax = axes[row, column]
        _draw_inefficiency(ax, curve)
        if row == len(methods) - 1:
            ax.set_xlabel(BETA_LABEL)
        if column == 0:
            ax.set_ylabel(f"{METHOD_NAMES[curve.method]}\ninefficiency (%)")
    for row, method in enumerate(methods):
        top = max(curve.worst.max() for curve in curves if curve.method == method)
        axes[row, 0].set_ylim(0, 108.0 * top)
    sns.despine(fig=fig)
    fig.align_ylabels(axes[:, 0])
    legend = [
        Line2D([], [], color=INK, label="where the paper's dynamics end"),
        Line2D([], [], color=INK, marker="o", ls="none", mfc="white", label="largest"),
        Patch(fc=BAD, alpha=0.55, label="from the best to the worst equilibrium, where there are two"),
    ]
    fig.legend(handles=legend, loc="outside lower left", ncols=3)
    say(fig, _inefficiency_finding(curves))
    return fig


def _draw_inefficiency(ax: Axes, curve: InefficiencyCurve) -> None:
    ax.set_xscale("log")
    for low, high in curve.windows:
        inside = (curve.beta >= low) & (curve.beta <= high)
        # Some windows are narrower than a pixel: the outline keeps them visible.
        ax.fill_between(
            curve.beta[inside],
            100.0 * curve.best[inside],
            100.0 * curve.worst[inside],
            fc=BAD,
            ec=BAD,
            lw=0.8,
            alpha=0.55,
            zorder=2,
        )
    ax.plot(curve.beta, 100.0 * curve.reached, color=INK, zorder=3)
    beta, most = curve.peak
    ax.plot(beta, 100.0 * most, "o", color=INK, mfc="white", zorder=4, clip_on=False)
    ax.set_xlim(curve.beta[0], curve.beta[-1])
    ax.set_xticks([10.0**power for power in range(0, 7, 2)])
    text = [f"largest {100.0 * most:.1f} % at β = {beta:,.0f}"]
    text += [f"2 equilibria: {low:,.0f} to {high:,.0f}" for low, high in curve.windows]
    ax.set_title(curve.benchmark, loc="left", weight="bold")
    ax.set_title("\n".join(text), loc="right", fontsize=6.6, color=MUTED)


def _inefficiency_finding(curves: Sequence[InefficiencyCurve]) -> str:
    latest = _rounded_up(max(curve.peak[0] for curve in curves))
    windows = sum(len(curve.windows) for curve in curves)
    return (
        f"Inefficiency peaks below β\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{latest:,.0f} per USD in all "
        f"{len(curves)} markets; two equilibria coexist in {windows} windows of β"
    )


def _rounded_up(number: float) -> float:
    """To one digit, upwards."""
    unit = 10.0 ** np.floor(np.log10(number))
    return float(np.ceil(number / unit) * unit)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

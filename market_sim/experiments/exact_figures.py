"""A market solved, in one figure: what each level is worth and earns, who replies with which, where it ends.

Five panels of one market at one rationality: user value and profit by compute level, best replies by what
rivals offer, the potential along the paper's better replies, inefficiency over rationality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market_sim.economy.market import Market, games_of
from market_sim.economy.solve import Solution, paper_path, solve_market
from market_sim.experiments.house_style import (
    BAD,
    BETA_LABEL,
    INK,
    METHOD_NAMES,
    MUTED,
    USD_LABEL,
    colour_of,
    in_family_order,
    level_axis,
    log_axis,
    new_figure,
    per_thousand,
    say,
    style_of,
    styled,
)
from market_sim.experiments.paper_figures import LEVEL_NAMES, InefficiencyCurve, inefficiency_curve
from market_sim.experiments.people import users_of_one_type
from market_sim.experiments.scenario import Scenario
from market_sim.experiments.timeline import timeline_of
from market_sim.theory.arrays import Array
from market_sim.theory.game import Game, best_reply_thresholds, log_rivals, potential, select


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """One market of one task, solved at one rationality.

    levels, value, profit  (N, K) compute levels; user value and profit, USD per query; NaN where not offered
    reply_from, reply_to   (N, K) level k is a best reply where rivals' offers X have reply_from <= ln X <=
                           reply_to, within what rivals can offer
    rivals                 (E, N) ln X in each listed equilibrium
    potential              (S + 1,) along the paper's better replies, from the start
    curve                  inefficiency over rationality
    """

    market: Market
    solution: Solution
    levels: Array
    value: Array
    profit: Array
    reply_from: Array
    reply_to: Array
    rivals: Array
    potential: Array
    curve: InefficiencyCurve


def analyse(scenario: Scenario, task: int = 0) -> Analysis:
    """The exact analysis of a scenario's market before any events, for one of its benchmarks.

    Raises InputError where users differ: no list of equilibria is complete then (docs/theory.md 2.10).
    """
    parts = timeline_of(scenario).first
    advice = "choose one rationality and one value for all to see the analysis"
    users = users_of_one_type(scenario, parts.market, advice)
    market, scale = parts.market.of_task(task), float(users.value_scale[0])
    market = replace(market, value_of_correct=market.value_of_correct * scale)
    betas = users.beta[:1]
    (solution,) = solve_market(market, betas, seed=scenario.seed)
    games = games_of(market, 0, betas)
    game = select(games, np.asarray(0))
    low, high = _reach(game)
    thresholds = best_reply_thresholds(game)
    path = paper_path(games, scenario.seed)
    gained = potential(game, path.levels[: path.n_steps[0] + 1, 0])
    offered = market.offered[0]
    ends = np.array([_indices(market, profile.levels) for profile in solution.equilibria])
    return Analysis(
        market=market,
        solution=solution,
        levels=np.where(offered, market.compute_level[0], np.nan),
        value=np.where(offered, game.value, np.nan),
        profit=np.where(offered, game.margin, np.nan),
        reply_from=np.maximum(thresholds.log_from, low[:, None]),
        reply_to=np.minimum(thresholds.log_to, high[:, None]),
        rivals=log_rivals(game, ends),
        potential=gained - gained[0],
        curve=inefficiency_curve(market, scenario.seed),
    )


def _reach(game: Game) -> tuple[Array, Array]:
    """ln of the least and the most that the rivals of each provider can offer, (N,) each."""
    ends = []
    for worst in (True, False):
        offer = np.where(game.offered, game.log_offer, np.inf if worst else -np.inf)
        ends.append(log_rivals(game, offer.argmin(axis=1) if worst else offer.argmax(axis=1)))
    return ends[0], ends[1]


def _indices(market: Market, levels: Mapping[str, float]) -> list[int]:
    """Index of each provider's level."""
    own = market.compute_level[0]
    return [int(np.flatnonzero(own[i] == levels[name])[0]) for i, name in enumerate(market.providers)]


@styled
def exact_figure(analysis: Analysis) -> Figure:
    """The five panels."""
    market, solution = analysis.market, analysis.solution
    fig = new_figure(6.1, 9.6)
    axes = fig.subplot_mosaic("AABBCC;DDDEEE", height_ratios=(1.15, 1))
    order = [market.providers.index(name) for name in in_family_order(market.providers)]
    for key, table, title in (
        ("A", analysis.value, "User value by level"),
        ("B", analysis.profit, "Profit per query by level"),
    ):
        _draw_by_level(axes[key], analysis, table, order)
        axes[key].set_title(title, loc="left", weight="bold")
    _draw_replies(axes["C"], analysis, order)
    _draw_potential(axes["D"], analysis.potential)
    _draw_sweep(axes["E"], analysis.curve, solution)
    sns.despine(fig=fig)
    handles = [
        Line2D([], [], color=style_of(n).colour, marker=style_of(n).marker, label=n)
        for n in in_family_order(market.providers)
    ]
    rings = Line2D([], [], marker="o", ls="none", ms=7, mfc="none", mec=INK, label="in equilibrium")
    fig.legend(handles=[*handles, rings], loc="outside lower left", ncols=min(len(handles) + 1, 7))
    say(fig, _finding(solution))
    return fig


def _draw_by_level(ax: Axes, analysis: Analysis, table: Array, order: Sequence[int]) -> None:
    market = analysis.market
    shown = per_thousand(table)
    known = shown[np.isfinite(shown)]
    if known.min() > 0 and known.max() / known.min() > 50:
        log_axis(ax.yaxis)
    for i in order:
        style = style_of(market.providers[i])
        ax.plot(analysis.levels[i], shown[i], color=style.colour, marker=style.marker)
        for profile in analysis.solution.equilibria:
            at = int(np.flatnonzero(analysis.levels[i] == profile.levels[market.providers[i]])[0])
            ax.plot(
                analysis.levels[i, at],
                shown[i, at],
                "o",
                ms=8,
                mfc="none",
                mec=style.colour,
                mew=1.2,
                zorder=3,
            )
    level_axis(ax.xaxis, analysis.levels[np.isfinite(analysis.levels)])
    methods = dict.fromkeys(market.methods)
    ax.set_xlabel(" or ".join(LEVEL_NAMES[method] for method in methods))
    ax.set_ylabel(USD_LABEL)


def _draw_replies(ax: Axes, analysis: Analysis, order: Sequence[int]) -> None:
    """A bar for each provider over what rivals can offer: the level it replies with."""
    beta = analysis.solution.beta
    unit = 1000.0 / beta if beta > 0 else 1.0
    rows = range(len(order))
    width = unit * float(
        analysis.reply_to.max() - analysis.reply_from[np.isfinite(analysis.reply_from)].min()
    )
    for row, i in zip(rows, order, strict=True):
        name = analysis.market.providers[i]
        useful = np.flatnonzero(analysis.reply_from[i] < analysis.reply_to[i])
        shades = np.linspace(0.35, 1.0, len(useful)) if len(useful) > 1 else [1.0]
        place = useful[np.argsort(analysis.levels[i, useful])].tolist()
        for k, shade in zip(place, shades, strict=True):
            low, high = unit * analysis.reply_from[i, k], unit * analysis.reply_to[i, k]
            colour = [1 - shade * (1 - part) for part in mpl.colors.to_rgb(colour_of(name))]
            ax.barh(row, high - low, left=low, height=0.8, color=colour, ec="white", lw=0.6)
            if high - low > 0.06 * width:
                ax.text(
                    low + 0.015 * width,
                    row,
                    f"{analysis.levels[i, k]:g}",
                    ha="left",
                    va="center",
                    fontsize=6.5,
                    color="white" if sum(colour) < 1.6 else INK,
                )
        for at in analysis.rivals[:, i]:
            ax.plot([unit * at] * 2, [row - 0.48, row + 0.48], color=BAD, lw=1.6, zorder=3)
    ax.set_yticks(list(rows), [analysis.market.providers[i] for i in order], fontsize=6.8)
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    ax.set_xlabel("what rivals offer, ln X / β, " + USD_LABEL if beta > 0 else "ln of what rivals offer")
    ax.set_title("Best replies", loc="left", weight="bold")
    ax.set_title("red: equilibrium", loc="right", fontsize=7, color=BAD)


def _draw_potential(ax: Axes, gained: Array) -> None:
    ax.step(np.arange(len(gained)), gained, where="post", color=INK, lw=1.6)
    ax.set_xlim(0, max(len(gained) - 1, 1))
    ax.set_xlabel("turn of the paper's better replies")
    ax.set_ylabel("potential gained (ln of profit)")
    moves = int(np.count_nonzero(np.diff(gained)))
    ax.set_title(f"Each of {moves} moves raises the potential", loc="left", weight="bold")


def _draw_sweep(ax: Axes, curve: InefficiencyCurve, solution: Solution) -> None:
    beta = solution.beta
    for low, high in curve.windows:
        between = (curve.beta >= low) & (curve.beta <= high)
        ax.fill_between(
            curve.beta[between],
            100 * curve.best[between],
            100 * curve.worst[between],
            fc=BAD,
            ec=BAD,
            alpha=0.55,
        )
    ax.plot(curve.beta, 100.0 * curve.reached, color=INK, lw=1.6)
    log_axis(ax.xaxis)
    ax.set_xlim(curve.beta[0], curve.beta[-1])
    if curve.beta[0] <= beta <= curve.beta[-1] and solution.inefficiency is not None:
        ax.axvline(beta, color=MUTED, lw=0.8, ls=(0, (2, 2)))
        ax.plot(beta, 100.0 * solution.inefficiency, "o", ms=7, color=BAD, zorder=4, clip_on=False)
    ax.set_ylim(bottom=min(0.0, 110.0 * float(np.nanmin(curve.best))))
    ax.set_xlabel(BETA_LABEL)
    ax.set_ylabel("optimum / welfare \N{MINUS SIGN} 1 (%)")
    peak, most = curve.peak
    ax.set_title(
        f"Inefficiency is largest, {100 * most:.0f} %, at β = {peak:,.0f}", loc="left", weight="bold"
    )
    notes = ["dot: β of this market"]
    if curve.windows:
        notes.append("bands: two or more equilibria")
    ax.text(
        0.99, 0.97, "\n".join(notes), transform=ax.transAxes, ha="right", va="top", fontsize=7, color=MUTED
    )


def _finding(solution: Solution) -> str:
    found, end = len(solution.equilibria), solution.paper_dynamics
    count = "one equilibrium" if found == 1 else f"{found} equilibria"
    lost = "" if solution.inefficiency is None else f", inefficiency {100 * solution.inefficiency:.1f} %"
    method = " and ".join(METHOD_NAMES.get(name, name) for name in solution.method.split("+"))
    return (
        f"{solution.benchmark}, {method}, β = {solution.beta:,.6g}: {count}; better replies end at welfare "
        f"{1000 * end.welfare:.2f} of {1000 * solution.optimum['welfare']:.2f} {USD_LABEL}{lost}"
    )

"""What do welfare and inefficiency depend on most: margins, values, users' rationality, prices, networks?

Sobol indices (shares of variance, with 95 % intervals) and Morris effects of the paper's nine markets, solved
exactly over wide ranges of all four at once.  --network also plays markets in which users learn from
experience, where it matters whom they hear from.  With DIR, the folder of a finished sweep with a Sobol or
Morris design, its own axes instead.  Needs SALib (pip install 'market-sim[designs]'); writes one figure.

    python analysis/what_welfare_depends_on.py [DIR] [--benchmarks AIME] [--points N] [--network] [--out DIR]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from market_sim.experiments.claims.band import settings_of
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.claims.sensitivity import (
    FACTORS,
    MOST_PAIRS,
    NETWORK_FACTORS,
    Indices,
    outputs_of,
    sensitivity,
    sensitivity_of_sweep,
    sensitivity_to_network,
)
from market_sim.experiments.house_style import SERIES, legend_beside, new_figure, say, styled
from market_sim.experiments.sweep_table import read_sweep


def named(one: Indices) -> str:
    """A market and a measure as they are called."""
    return f"{one.about.replace('_', ' ')}, {_measure(one.output)}"


def _measure(output: str) -> str:
    return output.removesuffix("_usd").replace("_", " ")


def in_words(found: Sequence[Indices]) -> list[str]:
    """A line per market, measure and factor, and which factor matters most how often."""
    lines = []
    for one in found:
        lines.append(f"{named(one)} ({one.points:,} points):")
        width = max(map(len, one.factors)) + 2
        for place, factor in enumerate(one.factors):
            line = f"    {factor:{width}}"
            if np.isfinite(one.total[place]):
                line += (
                    f"first order {one.first[place]:5.2f} +- {one.first_half_width[place]:.2f}   "
                    f"total {one.total[place]:5.2f} +- {one.total_half_width[place]:.2f}   "
                )
            if np.isfinite(one.mu_star[place]):
                line += (
                    f"Morris mu* {one.mu_star[place]:.3g} +- {one.mu_star_half_width[place]:.2g}, "
                    f"sigma {one.sigma[place]:.3g}"
                )
            lines.append(line.rstrip())
        lines += [
            f"    {first} with {second}: second order {index:.2f} +- {half_width:.2f}"
            for first, second, index, half_width in one.pairs(MOST_PAIRS)
        ]
    for output in dict.fromkeys(one.output for one in found):
        own = [one for one in found if one.output == output]
        first = [foremost(one) for one in own]
        counts = ", ".join(f"{factor} in {first.count(factor)}" for factor in dict.fromkeys(first))
        lines.append(f"What {output} depends on most, of {len(own)} markets: {counts}.")
    return lines


def strength(one: Indices) -> np.ndarray:
    """Total indices where there are some, else Morris effects as shares of their sum."""
    if np.isfinite(one.total).all():
        return one.total
    total = one.mu_star.sum()
    return one.mu_star / total if total > 0 else one.mu_star


def foremost(one: Indices) -> str:
    """The factor with the largest index."""
    return one.factors[int(np.argmax(strength(one)))]


@styled
def sensitivity_figure(found: Sequence[Indices]) -> Figure:
    """Bars of total indices with first-order indices inside, a panel per measure; a row per market."""
    outputs = list(dict.fromkeys(one.output for one in found))
    factors = list(dict.fromkeys(factor for one in found for factor in one.factors))
    most = max(sum(one.output == output for one in found) for output in outputs)
    each = max(len(one.factors) for one in found)
    fig = new_figure(1.5 + (0.09 + 0.085 * each) * most)
    axes = fig.subplots(1, len(outputs), squeeze=False)[0]
    for ax, output in zip(axes, outputs, strict=True):
        own = [one for one in found if one.output == output]
        for row, one in enumerate(own):
            height = 0.8 / len(one.factors)
            for place, factor in enumerate(one.factors):
                y = row - 0.4 + (place + 0.5) * height
                colour = SERIES[factors.index(factor) % len(SERIES)]
                value = float(strength(one)[place])
                ax.barh(y, value, height * 0.9, color=colour, alpha=0.4)
                if np.isfinite(one.total[place]):
                    ax.barh(y, max(0.0, float(one.first[place])), height * 0.9, color=colour)
                    spread = float(one.total_half_width[place])
                    ax.plot([value - spread, value + spread], [y, y], color="#222222", lw=0.8)
        ax.set_yticks(range(len(own)), [one.about.replace("_", " ") for one in own])
        ax.set_ylim(len(own) - 0.5, -0.5)
        ax.set_xlim(0)
        ax.tick_params(axis="y", length=0)
        ax.grid(False, axis="y")
        ax.set_title(_measure(output))
        ax.set_xlabel("index (share of variance)")
        if ax is not axes[0] and [one.about for one in own] == [
            one.about for one in found if one.output == outputs[0]
        ]:
            ax.set_yticklabels([])
    sns.despine(fig=fig, left=True)
    handles = [Patch(color=SERIES[factors.index(factor) % len(SERIES)], label=factor) for factor in factors]
    legend_beside(
        fig,
        [
            *handles,
            Patch(color="#555555", label="first order"),
            Patch(color="#555555", alpha=0.4, label="total"),
        ],
    )
    told = []
    for output in outputs:
        first = [foremost(one) for one in found if one.output == output]
        top = max(dict.fromkeys(first), key=first.count)
        often = f" ({first.count(top)} of {len(first)} markets)" if len(first) > 1 else ""
        told.append(f"{_measure(output)} depends most on {top}{often}")
    note = (
        "Sobol indices: dark, what a factor explains alone; light, with all it takes part in; lines, 95 % "
        "intervals of the latter."
    )
    if any(not np.isfinite(one.total).all() for one in found):
        note += " Rows with light bars only: Morris effects, as shares of their sum."
    finding = ", ".join(told)
    say(fig, finding[0].upper() + finding[1:], note)
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--benchmarks", default="GSM8K,AIME,GPQA", help="some of them, default all")
    parser.add_argument("--points", type=int, default=512, help="base samples of Sobol's design, 2^k")
    parser.add_argument("--trajectories", type=int, default=20, help="of Morris's design")
    parser.add_argument("--network", action="store_true", help="also play markets of users who learn")
    parser.add_argument("--seed", type=int, default=0, help="of designs and moves")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    with refusals("what_welfare_depends_on"):
        if options.folder is not None:
            table = read_sweep(options.folder)
            found = sensitivity_of_sweep(table, outputs_of(table))
        else:
            found = sensitivity(
                settings_of(options.benchmarks),
                points=options.points,
                trajectories=options.trajectories,
                seed=options.seed,
            )
            ranges = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in FACTORS.items())
            print(f"Ranges, on log scales (value and prices times the paper's): {ranges}.")
        if options.network:
            found = [*found, sensitivity_to_network(seed=options.seed)]
            ranges = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in NETWORK_FACTORS.items())
            print(f"Users who learn, on log scales (neighbours in pairs): {ranges}.")
    print(*in_words(found), sep="\n")
    write_figure(
        sensitivity_figure(found),
        options.out / "what_welfare_depends_on",
        {"scenario": found[0].about, "seed": options.seed, "points": found[0].points},
    )


if __name__ == "__main__":
    main()

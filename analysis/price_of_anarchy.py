"""How bad can the market's equilibria be?  The price of anarchy against the true worst and best equilibrium.

Solves the nine markets of the paper for all their equilibria over rationality, with intervals over draws of
the measured curves (docs/theory.md 8), prints the largest prices of anarchy and of stability, how far the two
are apart at most and how often there are several equilibria, and writes one figure.

    python analysis/price_of_anarchy.py [--benchmarks AIME] [--draws N] [--seed S] [--out DIR]

With DIR, the folder of a sweep of kind "solve" over users.beta, its own points instead, each solved again
for draws of its curves: a solved point has no replicates.

    market-sim sweep runs/sweeps/paper.toml
    python analysis/price_of_anarchy.py runs/out/sweeps/paper-...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market_sim.economy.uncertainty import Interval, in_percent
from market_sim.experiments.claims.anarchy import Anarchy, price_of_anarchy, price_of_anarchy_of_sweep
from market_sim.experiments.claims.band import check_draws, settings_of
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.house_style import (
    BAD,
    BETA_LABEL,
    GOOD,
    METHOD_NAMES,
    legend_beside,
    log_axis,
    new_figure,
    say,
    styled,
)


def interval_text(found: Interval) -> str:
    """A ratio with its interval."""
    return f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"


def in_words(found: Sequence[Anarchy]) -> list[str]:
    """A line per setting, and what they say together."""
    wide = max(24, *(len(head(one)) + 1 for one in found))
    lines = [f"{'':{wide}}{'price of anarchy':>24}{'of stability':>24}{'most apart':>24}  at beta"]
    for one in found:
        worst, best = one.largest["price_of_anarchy"], one.largest["price_of_stability"]
        lines.append(
            f"{head(one):{wide}}{interval_text(worst):>24}{interval_text(best):>24}"
            f"{interval_text(one.apart):>24}  {one.at:,.0f}; several equilibria in up to "
            f"{in_percent(float(one.several.max()))} of draws"
        )
    top = max(found, key=lambda one: one.largest["price_of_anarchy"].estimate)
    apart = max(found, key=lambda one: one.apart.estimate)
    low, high = (1 - 1 / end for end in (_range(top)[1], _range(top)[2]))
    lines += [
        f"The worst equilibrium of all loses {1 - 1 / _range(top)[0]:.1%} ({low:.1%} to {high:.1%}) of what "
        f"choice with noise allows: {named(top)} at beta = {top.at:,.0f}.",
        f"Which equilibrium is reached matters most in {named(apart)}: at some beta the prices of anarchy "
        f"and of stability are {interval_text(apart.apart)} apart.",
    ]
    return lines


def _range(one: Anarchy) -> tuple[float, float, float]:
    largest = one.largest["price_of_anarchy"]
    return largest.estimate, largest.low, largest.high


def named(one: Anarchy) -> str:
    """A setting as it is called."""
    return ", ".join(filter(None, (f"{one.benchmark} {METHOD_NAMES[one.method]}", one.about)))


def head(one: Anarchy) -> str:
    """The same at the head of a row."""
    return f"{one.benchmark:6}{METHOD_NAMES[one.method]:18}{one.about}"


@styled
def anarchy_figure(found: Sequence[Anarchy], draws: int) -> Figure:
    """A panel per setting: both ratios over rationality with bands."""
    fig = new_figure(1.3 + 1.3 * -(-len(found) // 3))
    axes = fig.subplots(-(-len(found) // 3), 3, sharex=True, squeeze=False)
    for ax, one in zip(axes.ravel(), found, strict=False):
        for name, colour, dashes in (
            ("price_of_anarchy", BAD, "-"),
            ("price_of_stability", GOOD, (0, (3, 2))),
        ):
            band = one.ratios[name]
            ax.fill_between(one.beta, band.low, band.high, color=colour, alpha=0.25, lw=0)
            ax.plot(one.beta, band.estimate, color=colour, ls=dashes)
        ax.axhline(1, color="#444444", lw=0.6)
        ax.set_title(
            ", ".join(filter(None, (one.benchmark, METHOD_NAMES[one.method], one.about))), fontsize=8
        )
        log_axis(ax.xaxis)
        if one.beta[0] <= 10 and one.beta[-1] >= 1e5:
            ax.set_xticks([10, 1000, 100_000])
            ax.minorticks_off()
    for ax in axes.ravel()[len(found) :]:
        ax.axis("off")
    fig.supylabel("optimum over welfare", fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel(BETA_LABEL)
    sns.despine(fig=fig)
    handles = [
        Line2D([], [], color=BAD, label="worst equilibrium\n(price of anarchy)"),
        Line2D([], [], color=GOOD, ls=(0, (3, 2)), label="best equilibrium\n(price of stability)"),
    ]
    legend_beside(fig, handles)
    top = max(found, key=lambda one: _range(one)[0])
    largest = [_range(one)[0] for one in found]
    say(
        fig,
        f"The price of anarchy reaches {min(largest):.2f} to {max(largest):.2f}, most in {named(top)}; "
        f"prices of anarchy and stability are at most {max(one.apart.estimate for one in found):.2f} apart",
        f"Over all pure equilibria; bands: 95 % of {draws:,} draws of the measured curves. Ratios are of the "
        "best welfare while users choose by the logit; what their noise itself loses is not in them.",
    )
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--benchmarks", default="GSM8K,AIME,GPQA", help="some of them, default all")
    parser.add_argument("--draws", type=int, default=100, help="draws of the curves, for the intervals")
    parser.add_argument("--seed", type=int, default=0, help="of draws and moves")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    with refusals("price_of_anarchy"):
        check_draws(options.draws)
        if options.folder is not None:
            found = price_of_anarchy_of_sweep(options.folder, draws=options.draws)
        else:
            found = price_of_anarchy(settings_of(options.benchmarks), draws=options.draws, seed=options.seed)
    print("Largest over beta, 95 % intervals over draws of the curves:")
    print(*in_words(found), sep="\n")
    write_figure(
        anarchy_figure(found, options.draws),
        options.out / "price_of_anarchy",
        {
            "scenario": options.folder.name if options.folder else "the paper's settings",
            "seed": options.seed,
            "draws": options.draws,
        },
    )


if __name__ == "__main__":
    main()

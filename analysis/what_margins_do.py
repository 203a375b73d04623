"""What do providers' margins do to the market, from almost nothing over cost to 65 times it?

Published list prices of one and the same open model differ up to 65 times between hosts, so margins are
unknown.  Both readings: list prices stand and cost is what the margin leaves, or cost stands and prices rise
with the margin.  Prints inefficiency, what users keep and whether the auction would leave them more, with
intervals over draws of the measured curves, and writes one figure.

    python analysis/what_margins_do.py [--benchmarks AIME] [--beta B] [--draws N] [--seed S] [--out DIR]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market_sim.economy.variations import HOLDINGS
from market_sim.errors import InputError
from market_sim.experiments.claims.band import Band, check_draws, settings_of
from market_sim.experiments.claims.margins import MarginCurve, margin_sweep
from market_sim.experiments.figures import (
    INK,
    METHOD_NAMES,
    SERIES,
    SERIES_MARKERS,
    USD_LABEL,
    legend_beside,
    log_axis,
    new_figure,
    save,
    say,
    styled,
)

READ_AS = {
    "price": "list prices stand, cost is what the margin leaves",
    "cost": "cost stands, prices rise with the margin",
}


def text(band: Band, place: int, factor: float, digits: int) -> str:
    """A number with its interval."""
    value, low, high = (factor * end[place] for end in (band.estimate, band.low, band.high))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def in_words(found: Sequence[MarginCurve]) -> list[str]:
    """Ends and the paper's margin, setting by setting, and what they say together."""
    lines = []
    for holding in HOLDINGS:
        own = [one for one in found if one.holding == holding]
        places = _places(own[0])
        lines.append(f"{READ_AS[holding].capitalize()}:")
        heads = "".join(f"{f'margin {own[0].margin[p]:.2f}':>28}" for p in places)
        for title, name, factor, digits in (
            ("inefficiency, %", "inefficiency", 100.0, 1),
            (f"users keep, {USD_LABEL}", "paper_dynamics.user_value", 1000.0, 3),
        ):
            lines.append(f"  {title:34}{heads}")
            for one in own:
                cells = "".join(f"{text(one.measures[name], p, factor, digits):>28}" for p in places)
                lines.append(f"    {one.benchmark:6}{METHOD_NAMES[one.method]:26}{cells}")
        lines += [f"  {sentence}" for sentence in _verdicts(own)]
    return lines


def _places(one: MarginCurve) -> tuple[int, int, int]:
    """The smallest margin, the one nearest to the paper's quarter, the largest."""
    return 0, int(np.abs(np.log(one.margin / 0.25)).argmin()), len(one.margin) - 1


def _verdicts(own: Sequence[MarginCurve]) -> list[str]:
    """In how many settings the auction leaves users more, surely (the interval leaves zero out)."""
    said = []
    for place in _places(own[0]):
        gains = [one.measures["auction_less_market.user_value"] for one in own]
        more, less = sum(g.low[place] > 0 for g in gains), sum(g.high[place] < 0 for g in gains)
        said.append(
            f"At a margin of {own[0].margin[place]:.2f} the auction leaves users surely more in {more}, "
            f"surely less in {less} of {len(own)} settings."
        )
    return said


@styled
def margin_figure(found: Sequence[MarginCurve], draws: int) -> Figure:
    """Inefficiency and users' value over the margin, a column per benchmark, under both readings."""
    benchmarks = list(dict.fromkeys(one.benchmark for one in found))
    methods = list(dict.fromkeys(one.method for one in found))
    rows = (
        ("inefficiency (%)\nlist prices stand", "price", "inefficiency", 100.0),
        ("inefficiency (%)\ncost stands", "cost", "inefficiency", 100.0),
        (f"users keep\n({USD_LABEL})\ncost stands", "cost", "paper_dynamics.user_value", 1000.0),
    )
    fig = new_figure(5.6)
    axes = fig.subplots(len(rows), len(benchmarks), sharex=True, squeeze=False)
    for row, (label, holding, name, factor) in enumerate(rows):
        for column, benchmark in enumerate(benchmarks):
            ax = axes[row, column]
            for one in found:
                if (one.benchmark, one.holding) == (benchmark, holding):
                    place = methods.index(one.method)
                    _draw(ax, one, name, factor, place)
                    if name == "paper_dynamics.user_value":
                        auction = factor * one.measures["auction.user_value"].estimate
                        ax.plot(one.margin, auction, color=SERIES[place], ls=(0, (1, 1.2)), lw=1.1)
            if row == 0:
                ax.set_title(benchmark, loc="left")
            if column == 0:
                ax.set_ylabel(label)
            log_axis(ax.xaxis)
            ax.set_xticks([0.01, 0.25, 5, 65])
            ax.minorticks_off()
    for ax in axes[-1]:
        ax.set_xlabel("margin over cost")
    sns.despine(fig=fig)
    fig.align_ylabels(axes[:, 0])
    handles = [
        Line2D([], [], color=SERIES[i], marker=SERIES_MARKERS[i], label=METHOD_NAMES[method])
        for i, method in enumerate(methods)
    ]
    legend_beside(
        fig, [*handles, Line2D([], [], color=INK, ls=(0, (1, 1.2)), label="the same under\nthe auction")]
    )
    by = {(one.benchmark, one.method, one.holding): one for one in found}
    kept = [one.measures["paper_dynamics.user_value"].estimate for key, one in by.items() if key[2] == "cost"]
    share = [100 * (1 - values[-1] / values[0]) for values in kept]
    wasted = [100 * one.measures["inefficiency"].estimate for key, one in by.items() if key[2] == "price"]
    begins, ends = (np.mean([values[place] for values in wasted]) for place in (0, -1))
    say(
        fig,
        f"If cost stands, margins of {found[0].margin[-1]:.0f} take {min(share):.0f} to {max(share):.0f} % "
        f"of what users keep; if list prices stand, inefficiency goes from {begins:.0f} to {ends:.0f} % on "
        "average",
        f"Pay-per-compute, β = {found[0].beta:,.0f} per USD, where the paper's dynamics end; bands: 95 % of "
        f"{draws:,} draws of the measured curves. In the auction margins play no part: bids are costs.",
    )
    return fig


def _draw(ax: Axes, one: MarginCurve, name: str, factor: float, place: int) -> None:
    band = one.measures[name]
    ax.fill_between(one.margin, factor * band.low, factor * band.high, color=SERIES[place], alpha=0.2, lw=0)
    ax.plot(one.margin, factor * band.estimate, color=SERIES[place], marker=SERIES_MARKERS[place], ms=2.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--beta", type=float, default=1000.0, help="users' rationality, 1/USD")
    parser.add_argument("--benchmarks", default="GSM8K,AIME,GPQA", help="some of them, default all")
    parser.add_argument("--draws", type=int, default=100, help="draws of the curves, for the intervals")
    parser.add_argument("--seed", type=int, default=0, help="of draws and moves")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    try:
        check_draws(options.draws)
        settings = settings_of(options.benchmarks)
        if not 0 <= options.beta <= 1e6:
            raise InputError(f"--beta {options.beta:g} is not allowed; it must be from 0 to 1e6")
        found = margin_sweep(settings, beta=options.beta, draws=options.draws, seed=options.seed)
    except InputError as error:
        print(f"what_margins_do: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"beta = {options.beta:g}, 95 % intervals over {options.draws:,} draws of the curves.")
    print(*in_words(found), sep="\n")
    png, _ = save(
        margin_figure(found, options.draws),
        options.out / "what_margins_do",
        {"scenario": "the paper's settings", "seed": options.seed, "beta": options.beta},
    )
    print(f"Figure: {png} (and .svg)")


if __name__ == "__main__":
    main()

"""What do providers' margins do to the market, from almost nothing over cost to 65 times it?

Published list prices of one and the same open model differ up to 65 times between hosts, so margins are
unknown.  Both readings: list prices stand and cost is what the margin leaves, or cost stands and prices rise
with the margin.  Prints inefficiency, what users keep and whether the auction would leave them more, with
intervals over draws of the measured curves, and writes one figure.

    python analysis/what_margins_do.py [--benchmarks AIME] [--beta B] [--draws N] [--seed S] [--out DIR]

With DIR, the folder of a sweep of kind "solve" over market.margin, its own points instead (list prices
stand), each solved again for draws of its curves: a solved point has no replicates.

    market-sim sweep runs/sweeps/margins-solved.toml
    python analysis/what_margins_do.py runs/out/sweeps/margins-solved-...
"""

import argparse
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
from market_sim.experiments.claims.margins import MarginCurve, margin_sweep, margins_of_sweep
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.house_style import (
    INK,
    METHOD_NAMES,
    SERIES,
    SERIES_MARKERS,
    USD_LABEL,
    legend_beside,
    log_axis,
    new_figure,
    say,
    styled,
)

READ_AS = {
    "price": "list prices stand, cost is what the margin leaves",
    "cost": "cost stands, prices rise with the margin",
}


STANDS = {"price": "list prices stand", "cost": "cost stands"}


def text(band: Band, place: int, factor: float, digits: int) -> str:
    """A number with its interval."""
    value, low, high = (factor * end[place] for end in (band.estimate, band.low, band.high))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def in_words(found: Sequence[MarginCurve]) -> list[str]:
    """Ends and the paper's margin, setting by setting, and what they say together."""
    lines = []
    for holding in _holdings(found):
        own = [one for one in found if one.holding == holding]
        wide = max(32, *(len(head(one)) + 1 for one in own))
        places = _places(own[0])
        lines.append(f"{READ_AS[holding].capitalize()}:")
        heads = "".join(f"{f'margin {own[0].margin[p]:.2f}':>28}" for p in places)
        for title, name, factor, digits in (
            ("inefficiency, %", "inefficiency", 100.0, 1),
            (f"users keep, {USD_LABEL}", "paper_dynamics.user_value", 1000.0, 3),
        ):
            lines.append(f"  {title:{wide + 2}}{heads}")
            for one in own:
                cells = "".join(f"{text(one.measures[name], p, factor, digits):>28}" for p in places)
                lines.append(f"    {head(one):{wide}}{cells}")
        lines += [f"  {sentence}" for sentence in _verdicts(own)]
    return lines


def _holdings(found: Sequence[MarginCurve]) -> list[str]:
    """The readings that are there."""
    return [holding for holding in HOLDINGS if any(one.holding == holding for one in found)]


def head(one: MarginCurve) -> str:
    """A setting at the head of a row."""
    return f"{one.benchmark:6}{kind(one)}"


def kind(one: MarginCurve) -> str:
    """What sets a setting apart beside its benchmark."""
    return ", ".join(filter(None, (METHOD_NAMES[one.method], one.about)))


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
    kinds = list(dict.fromkeys(kind(one) for one in found))
    holdings = _holdings(found)
    users = f"users keep\n({USD_LABEL})\n{STANDS[holdings[-1]]}"
    rows = [
        *((f"inefficiency (%)\n{STANDS[each]}", each, "inefficiency", 100.0) for each in holdings),
        (users, holdings[-1], "paper_dynamics.user_value", 1000.0),
    ]
    fig = new_figure(0.8 + 1.6 * len(rows))
    axes = fig.subplots(len(rows), len(benchmarks), sharex=True, squeeze=False)
    for row, (label, holding, name, factor) in enumerate(rows):
        for column, benchmark in enumerate(benchmarks):
            ax = axes[row, column]
            for one in found:
                if (one.benchmark, one.holding) == (benchmark, holding):
                    place = kinds.index(kind(one)) % len(SERIES)
                    _draw(ax, one, name, factor, place)
                    if name == "paper_dynamics.user_value":
                        auction = factor * one.measures["auction.user_value"].estimate
                        ax.plot(one.margin, auction, color=SERIES[place], ls=(0, (1, 1.2)), lw=1.1)
            if row == 0:
                ax.set_title(benchmark, loc="left")
            if column == 0:
                ax.set_ylabel(label)
            log_axis(ax.xaxis)
            if found[0].margin[0] <= 0.01 and found[0].margin[-1] >= 65:
                ax.set_xticks([0.01, 0.25, 5, 65])
                ax.minorticks_off()
    for ax in axes[-1]:
        ax.set_xlabel("margin over cost")
    sns.despine(fig=fig)
    fig.align_ylabels(axes[:, 0])
    handles = [
        Line2D([], [], color=SERIES[i % len(SERIES)], marker=SERIES_MARKERS[i % len(SERIES)], label=name)
        for i, name in enumerate(kinds)
    ]
    legend_beside(
        fig, [*handles, Line2D([], [], color=INK, ls=(0, (1, 1.2)), label="the same under\nthe auction")]
    )
    bids = (
        "margins play no part: bids are costs"
        if "cost" in holdings
        else "bids are costs, which margins lower"
    )
    betas = ", ".join(f"{beta:,.0f}" for beta in dict.fromkeys(one.beta for one in found))
    say(
        fig,
        _finding(found),
        f"Pay-per-compute, β = {betas} per USD, where the paper's dynamics end; bands: 95 % of "
        f"{draws:,} draws of the measured curves. In the auction {bids}.",
    )
    return fig


def _finding(found: Sequence[MarginCurve]) -> str:
    """What margins take under each reading that is there."""
    said = []
    kept = [one.measures["paper_dynamics.user_value"].estimate for one in found if one.holding == "cost"]
    if kept:
        share = [100 * (1 - values[-1] / values[0]) for values in kept]
        said.append(
            f"if cost stands, margins of {found[0].margin[-1]:.0f} take {min(share):.0f} to {max(share):.0f} "
            "% of what users keep"
        )
    wasted = [100 * one.measures["inefficiency"].estimate for one in found if one.holding == "price"]
    begins, ends = (np.mean([values[place] for values in wasted]) for place in (0, -1))
    said.append(f"if list prices stand, inefficiency goes from {begins:.0f} to {ends:.0f} % on average")
    if not kept:
        said[-1] += f" as margins go from {found[0].margin[0]:g} to {found[0].margin[-1]:g}"
    sentence = "; ".join(said)
    return sentence[0].upper() + sentence[1:]


def _draw(ax: Axes, one: MarginCurve, name: str, factor: float, place: int) -> None:
    band = one.measures[name]
    ax.fill_between(one.margin, factor * band.low, factor * band.high, color=SERIES[place], alpha=0.2, lw=0)
    ax.plot(one.margin, factor * band.estimate, color=SERIES[place], marker=SERIES_MARKERS[place], ms=2.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--beta", type=float, default=1000.0, help="users' rationality, 1/USD")
    parser.add_argument("--benchmarks", default="GSM8K,AIME,GPQA", help="some of them, default all")
    parser.add_argument("--draws", type=int, default=100, help="draws of the curves, for the intervals")
    parser.add_argument("--seed", type=int, default=0, help="of draws and moves")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    with refusals("what_margins_do"):
        check_draws(options.draws)
        if not 0 <= options.beta <= 1e6:
            raise InputError(f"--beta {options.beta:g} is not allowed; it must be from 0 to 1e6")
        if options.folder is not None:
            found = margins_of_sweep(options.folder, draws=options.draws)
        else:
            settings = settings_of(options.benchmarks)
            found = margin_sweep(settings, beta=options.beta, draws=options.draws, seed=options.seed)
    betas = ", ".join(f"{beta:g}" for beta in dict.fromkeys(one.beta for one in found))
    print(f"beta = {betas}, 95 % intervals over {options.draws:,} draws of the curves.")
    print(*in_words(found), sep="\n")
    write_figure(
        margin_figure(found, options.draws),
        options.out / "what_margins_do",
        {
            "scenario": options.folder.name if options.folder else "the paper's settings",
            "seed": options.seed,
            "beta": betas,
        },
    )


if __name__ == "__main__":
    main()

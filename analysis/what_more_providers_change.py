"""Does more competition make the market efficient?  Markets of 2 to 10,000 generated providers.

Providers are drawn as the paper's data spread (economy/generated.py); markets of one seed are nested, so a
larger one is the smaller one after entry.  All equilibria are found exactly; what is printed is the one with
least welfare, as means over seeds with 95 % intervals (Student's t), and what the last entries changed in
pairs.  Writes one figure.

    python analysis/what_more_providers_change.py [--most N] [--beta B] [--seeds N] [--out DIR]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market_sim.economy.generated import MOST_PROVIDERS
from market_sim.errors import InputError
from market_sim.experiments.claims.scaling import COUNTS, Scaling, scaling
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.figures import (
    BAD,
    LOST,
    PROVIDERS,
    USERS,
    legend_beside,
    log_axis,
    new_figure,
    say,
    styled,
)
from market_sim.theory.arrays import Array
from market_sim.theory.inference import mean_difference


def shares(one: Scaling, name: str) -> Array:
    """A measure in percent of the first best, seed by seed."""
    return 100.0 * getattr(one, name) / one.first_best


def told(sample: Array, digits: int) -> str:
    """Mean and half of the 95 % interval over seeds."""
    found = mean_difference(sample)
    return f"{found.mean:.{digits}f} +- {found.half_width:.{digits}f}"


def in_words(found: Sequence[Scaling]) -> list[str]:
    """A line per size, and what they say together."""
    lines = [
        f"{'providers':>9}{'inefficiency, %':>18}{'welfare, %':>16}{'users, %':>16}{'auction, users, %':>19}"
        f"{'tokens / needed':>18}  equilibria"
    ]
    for one in found:
        lines.append(
            f"{one.count:9,}{told(100 * one.inefficiency, 1):>18}{told(shares(one, 'welfare'), 1):>16}"
            f"{told(shares(one, 'user_value'), 1):>16}{told(shares(one, 'auction_user_value'), 1):>19}"
            f"{told(one.tokens, 2):>18}  {one.equilibria.min():.0f} to {one.equilibria.max():.0f}"
        )
    first, last = found[0], found[-1]
    auction = shares(last, "auction_user_value") - shares(first, "auction_user_value")
    market = shares(last, "user_value") - shares(first, "user_value")
    lines += [
        "Percentages but for inefficiency are of the first best, the welfare of the auction.",
        f"From {first.count:,} to {last.count:,} providers inefficiency changes by "
        f"{told(100 * (last.inefficiency - first.inefficiency), 1)} points, to "
        f"{told(100 * last.inefficiency, 1)} %;",
        f"  users' share changes by {told(market, 1)} points under pay-per-compute, by {told(auction, 1)} in "
        "the auction.",
    ]
    return lines


@styled
def scaling_figure(found: Sequence[Scaling]) -> Figure:
    """Shares of the first best, inefficiency and tokens over the number of providers."""
    fig = new_figure(3.1)
    left, middle, right = axes = fig.subplots(1, 3)
    x = [one.count for one in found]
    lines = (
        (left, "welfare", lambda one: shares(one, "welfare"), "#222222", "-"),
        (left, "users", lambda one: shares(one, "user_value"), USERS, "-"),
        (left, "auction users", lambda one: shares(one, "auction_user_value"), USERS, (0, (2, 1.2))),
        (left, "auction", lambda one: 100 - 0 * one.first_best, "#222222", (0, (2, 1.2))),
        (middle, "inefficiency", lambda one: 100 * one.inefficiency, BAD, "-"),
        (right, "tokens", lambda one: one.tokens, PROVIDERS, "-"),
    )
    for ax, _, measure, colour, dashes in lines:
        means = [mean_difference(measure(one)) for one in found]
        middle_line, spread = (np.array([getattr(m, key) for m in means]) for key in ("mean", "half_width"))
        ax.fill_between(x, middle_line - spread, middle_line + spread, color=colour, alpha=0.18, lw=0)
        ax.plot(x, middle_line, color=colour, ls=dashes, marker="o", ms=2.5)
    for ax, title, label in (
        (left, "who gets what", "% of the first best"),
        (middle, "inefficiency", "% (optimum over welfare, minus one)"),
        (right, "compute", "tokens over those of efficient levels"),
    ):
        ax.set_title(title)
        ax.set_ylabel(label)
        log_axis(ax.xaxis)
        ax.set_xticks([tick for tick in (2, 10, 100, 10_000) if tick <= max(x)])
        ax.minorticks_off()
        ax.set_xlabel("providers")
        ax.tick_params(axis="x", labelsize=6.5)
    middle.set_ylim(0)
    right.axhline(1, color=LOST, lw=1)
    right.set_ylim(0)
    sns.despine(fig=fig)
    fig.align_ylabels(axes)
    handles = [
        Line2D([], [], color="#222222", label="welfare"),
        Line2D([], [], color=USERS, label="users' part"),
        Line2D([], [], color="#666666", label="pay-per-compute"),
        Line2D([], [], color="#666666", ls=(0, (2, 1.2)), label="auction"),
    ]
    legend_beside(fig, handles)
    last = found[-1]
    say(
        fig,
        f"With {last.count:,} providers the market is {100 * last.inefficiency.mean():.0f} % inefficient and "
        f"computes {last.tokens.mean():.1f} times what is efficient, after "
        f"{100 * found[0].inefficiency.mean():.0f} % and {found[0].tokens.mean():.1f} times with "
        f"{found[0].count:,}",
        f"Generated providers, β = {last.beta:,.0f} per USD, worst equilibrium; means over "
        f"{len(last.welfare)} seeds, bands: 95 % intervals.",
    )
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="the largest number of providers")
    parser.add_argument("--beta", type=float, default=1000.0, help="users' rationality, 1/USD")
    parser.add_argument("--seeds", type=int, default=10, help="markets of each size")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    with refusals("what_more_providers_change"):
        if not 3 <= options.most <= MOST_PROVIDERS:
            raise InputError(f"--most {options.most} is not allowed; it must be from 3 to {MOST_PROVIDERS:,}")
        if options.seeds < 2:
            raise InputError(f"--seeds {options.seeds} is not allowed; it must be at least 2, for intervals")
        if not 0 <= options.beta <= 1e6:
            raise InputError(f"--beta {options.beta:g} is not allowed; it must be from 0 to 1e6")
    counts = [*(count for count in COUNTS if count < options.most), options.most]
    found = scaling(counts, beta=options.beta, seeds=range(options.seeds))
    print(f"beta = {options.beta:g}, {options.seeds} seeds:")
    print(*in_words(found), sep="\n")
    write_figure(
        scaling_figure(found),
        options.out / "what_more_providers_change",
        {"scenario": "generated markets", "seed": list(range(options.seeds)), "beta": options.beta},
    )


if __name__ == "__main__":
    main()

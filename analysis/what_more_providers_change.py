"""Does more competition make the market efficient?  Markets of 2 to 10,000 generated providers.

Providers are drawn as the paper's data spread (economy/generated.py); those of one seed are nested, so a
larger market is the smaller one after entry.  All equilibria are found exactly; what is printed is the one
with least welfare, as means over seeds with 95 % intervals (Student's t), and what entry changed in pairs.
Writes one figure.

    python analysis/what_more_providers_change.py [--most N] [--beta B] [--seeds N] [--out DIR]

With DIR, the folder of a sweep that was solved over market.generated.providers, its markets instead, over
its replicates; where it has other axes, means over these.

    market-sim sweep runs/sweeps/providers.toml
    python analysis/what_more_providers_change.py runs/out/sweeps/providers-...
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
from market_sim.experiments.claims.scaling import (
    AUCTION_USERS,
    COUNTS,
    INEFFICIENCY,
    TOKENS,
    USERS,
    WELFARE,
    Scaling,
    scaling,
    scaling_of_sweep,
)
from market_sim.experiments.claims.scripts import mean_text, refusals, write_figure
from market_sim.experiments.house_style import (
    BAD,
    LOST,
    PROVIDERS,
    legend_beside,
    log_axis,
    new_figure,
    say,
    styled,
)
from market_sim.experiments.house_style import USERS as USERS_COLOUR
from market_sim.experiments.sweep_table import read_sweep
from market_sim.experiments.whole_means import left_out_note

UNITS = {INEFFICIENCY: (100, 1), WELFARE: (100, 1), USERS: (100, 1), AUCTION_USERS: (100, 1), TOKENS: (1, 2)}
"""A factor and digits: percent, and multiples."""


def told(one: Scaling, name: str) -> str:
    """A measure with its interval."""
    factor, digits = UNITS[name]
    return mean_text(one.measures[name], factor, digits)


def in_words(found: Sequence[Scaling]) -> list[str]:
    """A line per size, and what they say together."""
    lines = [
        f"{'providers':>9}{'inefficiency, %':>18}{'welfare, %':>16}{'users, %':>16}{'auction, users, %':>19}"
        f"{'tokens / needed':>18}  equilibria"
    ]
    for one in found:
        cells = zip(UNITS, (18, 16, 16, 19, 18), strict=True)
        lines.append(
            f"{one.count:9,}"
            + "".join(f"{told(one, name):>{width}}" for name, width in cells)
            + f"  {one.equilibria[0]} to {one.equilibria[1]}"
        )
    lines.append("Percentages but for inefficiency are of the first best, the welfare of the auction.")
    first, last = found[0], found[-1]
    if last.changes:
        change = {name: mean_text(one, *UNITS[name], sign="+") for name, one in last.changes.items()}
        lines += [
            f"From {first.count:,} to {last.count:,} providers inefficiency changes by "
            f"{change[INEFFICIENCY]} points, to {told(last, INEFFICIENCY)} %;",
            f"  users' share changes by {change[USERS]} points under pay-per-compute, by "
            f"{change[AUCTION_USERS]} in the auction.",
        ]
    return lines + left_out_note(
        mean for one in found for mean in (*one.measures.values(), *one.changes.values())
    )


@styled
def scaling_figure(found: Sequence[Scaling], about: str) -> Figure:
    """Shares of the first best, inefficiency and tokens over the number of providers."""
    fig = new_figure(3.1)
    left, middle, right = axes = fig.subplots(1, 3)
    x = [one.count for one in found]
    for ax, name, colour, dashes in (
        (left, WELFARE, "#222222", "-"),
        (left, USERS, USERS_COLOUR, "-"),
        (left, AUCTION_USERS, USERS_COLOUR, (0, (2, 1.2))),
        (middle, INEFFICIENCY, BAD, "-"),
        (right, TOKENS, PROVIDERS, "-"),
    ):
        means = [one.measures[name] for one in found]
        line, spread = (
            UNITS[name][0] * np.array([getattr(m, k) for m in means]) for k in ("mean", "half_width")
        )
        ax.fill_between(x, line - spread, line + spread, color=colour, alpha=0.18, lw=0)
        ax.plot(x, line, color=colour, ls=dashes, marker="o", ms=2.5)
    left.axhline(100, color="#222222", ls=(0, (2, 1.2)))
    for ax, title, label in (
        (left, "who gets what", "% of the first best"),
        (middle, "inefficiency", "% (optimum over welfare, minus one)"),
        (right, "compute", "tokens over those of efficient levels"),
    ):
        ax.set_title(title)
        ax.set_ylabel(label)
        log_axis(ax.xaxis)
        ax.set_xticks([tick for tick in (2, 10, 100, 1000, 10_000, 100_000) if min(x) <= tick <= max(x)])
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
        Line2D([], [], color=USERS_COLOUR, label="users' part"),
        Line2D([], [], color="#666666", label="pay-per-compute"),
        Line2D([], [], color="#666666", ls=(0, (2, 1.2)), label="auction"),
    ]
    legend_beside(fig, handles)
    inefficiency, tokens = (
        [one.measures[name].mean for one in (found[0], found[-1])] for name in (INEFFICIENCY, TOKENS)
    )
    say(
        fig,
        f"With {found[-1].count:,} providers the market is {100 * inefficiency[1]:.0f} % inefficient and "
        f"computes {tokens[1]:.1f} times what is efficient, after {100 * inefficiency[0]:.0f} % and "
        f"{tokens[0]:.1f} times with {found[0].count:,}",
        f"{about}, worst equilibrium; means over {found[-1].measures[WELFARE].n} seeds, bands: 95 % "
        "intervals.",
    )
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="the largest number of providers")
    parser.add_argument("--beta", type=float, default=1000.0, help="users' rationality, 1/USD")
    parser.add_argument("--seeds", type=int, default=10, help="markets of each size")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    with refusals("what_more_providers_change"):
        if options.folder is not None:
            table = read_sweep(options.folder)
            found, about = scaling_of_sweep(table), f"Sweep {table.name}"
            scenario, seeds = table.name, sorted(table.frame["replicate"].unique().tolist())
        else:
            if not 3 <= options.most <= MOST_PROVIDERS:
                raise InputError(
                    f"--most {options.most} is not allowed; it must be from 3 to {MOST_PROVIDERS:,}"
                )
            if options.seeds < 2:
                raise InputError(
                    f"--seeds {options.seeds} is not allowed; it must be at least 2, for intervals"
                )
            if not 0 <= options.beta <= 1e6:
                raise InputError(f"--beta {options.beta:g} is not allowed; it must be from 0 to 1e6")
            counts = [*(count for count in COUNTS if count < options.most), options.most]
            scenario, seeds = "generated markets", list(range(options.seeds))
            found = scaling(counts, beta=options.beta, seeds=seeds)
            about = f"Generated providers, β = {options.beta:,.0f} per USD"
    print(f"{about}, {len(seeds)} seeds:")
    print(*in_words(found), sep="\n")
    write_figure(
        scaling_figure(found, about),
        options.out / "what_more_providers_change",
        {"scenario": scenario, "seed": seeds},
    )


if __name__ == "__main__":
    main()

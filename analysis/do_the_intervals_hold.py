"""Do the intervals of a solved market hold the truth as often as they say, from raw evaluations on?

Evaluations of synthetic models in the likeness of the paper's nine settings (docs/synthetic.md) are written,
read, built into curves and solved, many times over, and what the 95 % intervals say is held against the
market of infinitely many questions.  Counted for the draws of the file beside the curves (a bootstrap over
the questions) and for those made of the number of questions alone (docs/theory.md 8).  Prints every count and
writes one figure.

    python analysis/do_the_intervals_hold.py [--benchmarks AIME] [--replications N] [--draws N] [--samples N]
                                             [--questions N] [--seed S] [--out DIR]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from market_sim.errors import InputError
from market_sim.experiments.claims.band import check_draws, settings_of
from market_sim.experiments.claims.coverage import (
    KINDS,
    MOST_SAMPLES,
    SHOWN,
    SURE,
    Count,
    Coverage,
    counts,
    coverage,
    paper_setting,
)
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.house_style import BAD, INK, METHOD_NAMES, new_figure, say, styled
from market_sim.screen import terminal
from market_sim.theory.inference import mean_difference, share_interval

TITLES = {
    "optimum.welfare": "optimum",
    "paper_dynamics.welfare": "welfare",
    "paper_dynamics.user_value": "users keep",
    "paper_dynamics.price": "price",
    "price_of_anarchy": "anarchy",
    "auction.welfare": "welfare (a)",
    "auction.user_value": "users (a)",
    "auction.price": "price (a)",
    "auction_less_market.user_value": "users' gain",
}
"""What the measures are called; (a) is in the auction, users' gain is from it."""

READ_AS = {
    "bootstrap": "Draws of the file beside the curves",
    "parametric": "Draws of the number of questions alone",
}


def named(one: Coverage) -> str:
    """A setting as it is called."""
    return f"{one.setting.benchmark} {METHOD_NAMES[one.setting.method]}"


def share_text(hits: int, of: int) -> str:
    """A share of cases with its interval."""
    low, high = share_interval(hits, of)
    return f"{100 * hits / of:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def in_words(found: Sequence[Coverage]) -> list[str]:
    """Every count of both kinds of draws, and what they say together."""
    lines = []
    for kind in KINDS:
        own = [one for one in found if one.kind == kind]
        every = counts(own)
        heads = "".join(f"{TITLES[name]:>12}" for name in SHOWN)
        lines += [
            f"{READ_AS[kind]}; % of {own[0].replications} intervals that hold the truth:",
            f"  {'':24}{'beta':>8}{heads}",
        ]
        for one in own:
            held = {each.measure: f"{percentage(each):.0f}" for each in every if each.of is one}
            cells = "".join(f"{held.get(name, ''):>12}" for name in SHOWN)
            lines.append(f"  {named(one):24}{one.beta:8,.0f}{cells}")
        lines += [f"  {sentence}" for sentence in (*_together(own, every), *_winners(own))]
        lines.append("")
    return lines


def percentage(count: Count) -> float:
    return 100 * count.held / count.of.replications


def _together(own: Sequence[Coverage], every: Sequence[Count]) -> list[str]:
    mean = mean_difference(100 * np.mean([one.holds for one in own], axis=(0, 2)))
    few = [count for count in every if count.adjusted_p < 0.05]
    said = [
        f"All together: {mean.mean:.1f} +- {mean.half_width:.1f} %, half of the counts "
        f"{np.median([percentage(count) for count in every]):.0f} % or more.",
        f"Below 95 % beyond chance (Holm over {len(every)} counts): {len(few)}.",
    ]
    said += [
        f"  {TITLES[count.measure]}, {named(count.of)}, beta = {count.of.beta:,.0f}: "
        f"{share_text(count.held, count.of.replications)}"
        for count in few
    ]
    reflected = 100 * np.mean([one.holds_reflected for one in own], axis=1)
    return [
        *said,
        f"Reflected at the estimate (basic bootstrap): {reflected.mean():.1f} % in all, at least "
        f"{reflected.min():.0f} %; percentiles at least {min(map(percentage, every)):.0f} %.",
    ]


def _winners(own: Sequence[Coverage]) -> list[str]:
    """How often who is most likely to win does win in truth; the auction is the same at every beta."""
    settings = [one for one in own if one.beta == own[0].beta]
    said = ["The most likely winner of the auction truly wins in"]
    said += [
        f"  {named(one):24}{share_text(int(one.favourite_wins.sum()), one.replications):>22}, having won "
        f"{100 * one.favourite.mean():.0f} % of draws on average"
        for one in settings
    ]
    share = np.concatenate([one.favourite for one in settings])
    right = np.concatenate([one.favourite_wins for one in settings])
    for low, high in ((0.0, 0.5), (0.5, 0.8), (0.8, SURE), (SURE, 1.0)):
        inside = (share >= low) & ((share < high) | (high == 1))
        if inside.any():
            said.append(
                f"Of {inside.sum()} who win in {100 * low:.0f} to {100 * high:.0f} % of draws "
                f"{share_text(int(right[inside].sum()), int(inside.sum()))} truly win."
            )
    return said


@styled
def coverage_figure(found: Sequence[Coverage]) -> Figure:
    """A cell per setting and measure: how often the interval holds the truth at the worst of the betas."""
    names = list(dict.fromkeys(named(one) for one in found))
    n = found[0].replications
    fig = new_figure(2.0 + 0.25 * len(names))
    colours = LinearSegmentedColormap.from_list("short", [BAD, "#ffffff"])
    least = {}
    for ax, kind in zip(fig.subplots(1, len(KINDS), sharey=True), KINDS, strict=True):
        held = [
            [one.holds.mean(axis=0) for one in found if (one.kind, named(one)) == (kind, name)]
            for name in names
        ]
        cells = least[kind] = 100 * np.min(held, axis=1)
        ax.imshow(cells, cmap=colours, vmin=50, vmax=92, aspect="auto")
        for (row, column), cell in np.ndenumerate(cells):
            ink = "white" if cell < 60 else INK
            ax.text(column, row, f"{cell:.0f}", ha="center", va="center", fontsize=6.5, color=ink)
        ax.axvline(sum(not name.startswith("auction") for name in SHOWN) - 0.5, color=INK, lw=0.8)
        ax.set_xticks(range(len(SHOWN)), [TITLES[name] for name in SHOWN], rotation=90)
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.set_title(READ_AS[kind], fontsize=8)
    mean = 100 * np.mean([one.holds for one in found if one.kind == "bootstrap"])
    say(
        fig,
        f"From raw evaluations to welfare and prices, 95 % intervals of the bootstrap hold the truth in "
        f"{mean:.0f} % of cases, in the worst setting of a measure in {least['bootstrap'].min():.0f} %",
        f"% of {n} synthetic evaluations of each setting whose 95 % interval holds the truth, at the worst "
        "of the paper's three rationalities. (a): in the auction; users' gain: from it. Red: below 92 %.",
    )
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--benchmarks", default="GSM8K,AIME,GPQA", help="some of them, default all")
    parser.add_argument("--replications", type=int, default=80, help="evaluations of each setting")
    parser.add_argument("--draws", type=int, default=400, help="draws of the curves, for the intervals")
    parser.add_argument(
        "--samples", type=int, default=MOST_SAMPLES, help="of a question, for votes and best-of-n"
    )
    parser.add_argument("--questions", type=int, help="left out: as many as the paper asked")
    parser.add_argument("--seed", type=int, default=0, help="of the first evaluation")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    with refusals("do_the_intervals_hold"):
        check_draws(options.draws)
        settings = settings_of(options.benchmarks)
        for name, least, most in (
            ("replications", 2, 10_000),
            ("samples", 1, 64),
            ("questions", 20, 100_000),
            ("seed", 0, 2**31),
        ):
            value = getattr(options, name)
            if value is not None and not least <= value <= most:
                raise InputError(f"--{name} {value} is not allowed; it must be from {least} to {most:,}")
        with terminal.progress("do the intervals hold", quiet=False, of="evaluations") as progress:
            found = coverage(
                [
                    paper_setting(*setting, most_samples=options.samples, n_questions=options.questions)
                    for setting in settings
                ],
                replications=options.replications,
                draws=options.draws,
                seed=options.seed,
                progress=progress,
            )
    print(*in_words(found), sep="\n")
    write_figure(
        coverage_figure(found),
        options.out / "do_the_intervals_hold",
        {"scenario": "synthetic settings like the paper's", "seed": options.seed, "draws": options.draws},
    )


if __name__ == "__main__":
    main()

"""Who gains when pay-per-compute pricing is replaced by the truthful second-price auction, and who loses.

For the paper's nine settings at its three rationalities: what users keep, what they pay, how often the
answer is right and what providers earn, in the market (where the paper's dynamics end) and in the
auction.  Users are compared under both readings of the logit's noise: as mistakes (sum of share times
value, the paper's) and as taste (log-sum surplus, against the auction's value above not buying).

    python analysis/who_gains_from_the_auction.py [--out DIR]

With DIR, runs that were played instead: the folder of a sweep over regime.kind, or one with comparisons below
it.  What every other regime changes against pay-per-compute, paired over seeds, with 95 % intervals and
t-tests that are corrected by Holm; users' noise is mistakes there.

    market-sim sweep runs/sweeps/regimes.toml        (or: market-sim compare runs/gsm8k-majority.toml)
    python analysis/who_gains_from_the_auction.py runs/out/sweeps/regimes-...
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from market_sim.experiments.claims.gains import SEED, Gain, PlayedGains, gains_of_folder, who_gains
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.compare import TITLES
from market_sim.experiments.house_style import (
    BAD,
    GOOD,
    INK,
    METHOD_NAMES,
    MUTED,
    USD_LABEL,
    legend_beside,
    new_figure,
    say,
    styled,
)
from market_sim.experiments.paper import BETAS, TOLERANCE_USD
from market_sim.experiments.sweep_figures import changes_figure
from market_sim.experiments.sweep_report import holm_text
from market_sim.experiments.sweep_table import plainly, setting_text
from market_sim.experiments.whole_means import left_out_note

MARKERS = dict(zip(BETAS, "os^", strict=True))


def count(gains: Sequence[Gain], holds: Callable[[Gain], bool]) -> list[int]:
    """In how many settings something holds, one number per rationality."""
    return [sum(holds(gain) for gain in gains if gain.beta == beta) for beta in BETAS]


def in_words(gains: Sequence[Gain]) -> list[str]:
    """What the comparison says, losses as plainly as gains."""
    n = len(gains) // len(BETAS)
    close = [
        f"{gain.benchmark} {METHOD_NAMES[gain.method]} at beta = {gain.beta:,.0f}"
        for gain in gains
        if abs(gain.user_value) <= TOLERANCE_USD
    ]

    def at_each_beta(holds: Callable[[Gain], bool]) -> str:
        counts = zip(count(gains, holds), BETAS, strict=True)
        return ", ".join(f"{number} of {n} at beta = {beta:,.0f}" for number, beta in counts)

    return [
        "If users' noise is mistakes, as in the paper:",
        f"  the auction leaves them worse off in {at_each_beta(lambda g: g.user_value < 0)};",
        f"  better off in {at_each_beta(lambda g: g.user_value > 0)}.",
        "If it is taste, so that losing the choice is a loss:",
        f"  the auction leaves them worse off in {at_each_beta(lambda g: g.user_value_if_taste < 0)};",
        f"  better off in {at_each_beta(lambda g: g.user_value_if_taste > 0)}.",
        f"The auction is dearer in {at_each_beta(lambda g: g.price > 0)};",
        f"  it is cheaper in {at_each_beta(lambda g: g.price < 0)}.",
        f"Answers are less often right in {at_each_beta(lambda g: g.accuracy < 0)};",
        f"  they are more often right in {at_each_beta(lambda g: g.accuracy > 0)}.",
        f"Providers together lose profit in {at_each_beta(lambda g: g.provider_profit < 0)};",
        f"  they gain in {at_each_beta(lambda g: g.provider_profit > 0)}.",
        f"Close calls, in which users gain or lose less than {1000 * TOLERANCE_USD:g} {USD_LABEL} "
        "(no more than the curves are accurate to):",
        f"  {'; '.join(close) or 'none'}.",
    ]


_PANELS: Sequence[tuple[str, Callable[[Gain], float], float]] = (
    ("users keep\n(mistakes)", lambda gain: 1000 * gain.user_value, 1),
    ("users keep\n(taste)", lambda gain: 1000 * gain.user_value_if_taste, 1),
    ("users pay", lambda gain: 1000 * gain.price, -1),
    ("providers earn", lambda gain: 1000 * gain.provider_profit, 1),
    ("answers right", lambda gain: 100 * gain.accuracy, 1),
)
"""Title, what is drawn, and whether more of it is better (1) or worse (-1) for those concerned."""


@styled
def gains_figure(gains: Sequence[Gain]) -> Figure:
    """A panel per measure, a row per setting, a marker per rationality; blue is a gain, red a loss."""
    fig = new_figure(4.8)
    axes = fig.subplots(1, len(_PANELS), sharey=True)
    settings = list(dict.fromkeys((gain.benchmark, gain.method) for gain in gains))
    for ax, (title, measure, better) in zip(axes, _PANELS, strict=True):
        for gain in gains:
            _draw_gain(ax, settings.index((gain.benchmark, gain.method)), gain, measure(gain), better)
        ax.axvline(0, color=INK, lw=0.8, zorder=1)
        for edge in (2.5, 5.5):
            ax.axhline(edge, color="#bbbbbb", lw=0.6)
        ax.set_title(title, fontsize=8)
        ax.set_xlabel("points" if title == "answers right" else "USD per\n1,000 queries")
        ax.margins(x=0.12)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        ax.grid(False, axis="y")
    axes[0].set_yticks(range(len(settings)), [f"{b}, {METHOD_NAMES[m]}" for b, m in settings])
    axes[0].set_ylim(len(settings) - 0.5, -0.5)
    sns.despine(fig=fig, left=True)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], color=MUTED, marker=marker, ls="none", label=f"β = {beta:,.0f}")
        for beta, marker in MARKERS.items()
    ]
    handles += [
        Line2D([], [], color=colour, marker="s", ms=6, ls="none", label=who)
        for colour, who in ((GOOD, "a gain"), (BAD, "a loss"))
    ]
    legend_beside(fig, handles)
    n = len(settings)
    worse = _series(count(gains, lambda gain: gain.user_value < 0))
    dearer = _series(count(gains, lambda gain: gain.price > 0))
    say(
        fig,
        f"The auction leaves users worse off in {worse} of {n} markets, and costs them more in {dearer}, "
        f"at β = {_series([f'{beta:,.0f}' for beta in BETAS])}",
        "Auction less market. Users' noise read as mistakes (as in the paper), they keep the share-weighted "
        "mean value; read as taste, the log-sum, in which losing the choice is a loss.",
    )
    return fig


def _draw_gain(ax: Axes, row: int, gain: Gain, change: float, better: float) -> None:
    offset = 0.25 * (list(MARKERS).index(gain.beta) - 1)
    colour = GOOD if change * better >= 0 else BAD
    ax.plot([0, change], [row + offset] * 2, color=colour, lw=0.9, alpha=0.5)
    ax.plot(change, row + offset, MARKERS[gain.beta], color=colour, ms=4)


def _series(words: Sequence[object]) -> str:
    return f"{', '.join(map(str, words[:-1]))} and {words[-1]}"


# --- Of runs that were played -----------------------------------------------------------------------

_PER_THOUSAND = "USD per\n1,000 queries"
_PLAYED = {
    "user_value_usd": ("users keep", 1000.0, _PER_THOUSAND),
    "price_usd": ("users pay", 1000.0, _PER_THOUSAND),
    "provider_profit_usd": ("providers earn", 1000.0, _PER_THOUSAND),
    "welfare_usd": ("welfare", 1000.0, _PER_THOUSAND),
    "accuracy": ("answers right", 100.0, "points"),
}
"""Title, factor and unit of each measure."""


def named(regime: str) -> str:
    """A regime as it is called in a sentence."""
    return TITLES.get(regime, plainly(regime))


def played_in_words(found: PlayedGains) -> list[str]:
    """A line per setting, regime and measure, and for whom the regimes surely change what."""
    tests = sum(one.difference.n > 1 for one in found.changes)
    lines = []
    for one in found.changes:
        title, factor, _ = _PLAYED[one.measure]
        change = one.difference
        head = ", ".join(filter(None, (setting_text(found.axes, one.setting), named(one.value))))
        line = f"{head}: {title} {factor * change.mean:+.3f}"
        if change.n > 1:
            line += f" +- {factor * change.half_width:.3f}, {holm_text(one.adjusted_p, tests)}"
        lines.append(line)
    for regime in dict.fromkeys(one.value for one in found.changes):
        own = [one for one in found.changes if (one.value, one.measure) == (regime, "user_value_usd")]
        more, less = (
            sum(sign * one.difference.mean > 0 and one.adjusted_p < 0.05 for one in own) for sign in (1, -1)
        )
        lines.append(
            f"{named(regime)} leaves users surely more (p < 0.05) in {more}, surely less in "
            f"{less} of {len(own)} settings."
        )
    return lines + left_out_note(one.difference for one in found.changes)


@styled
def played_figure(found: PlayedGains) -> Figure:
    """A panel per measure, a row per setting, a colour per regime."""
    measures = {one.measure for one in found.changes}
    panels = {name: panel for name, panel in _PLAYED.items() if name in measures}
    fig = changes_figure(found.changes, found.axes, panels)
    told = []
    for regime in dict.fromkeys(one.value for one in found.changes):
        own = [one for one in found.changes if (one.value, one.measure) == (regime, "user_value_usd")]
        worse = sum(one.difference.mean < 0 for one in own)
        told.append(f"{worse} of {len(own)} settings under {named(regime)}")
    pairs = found.changes[0].difference.n
    say(
        fig,
        f"Users keep less than under pay-per-compute in {', '.join(told)}",
        f"{found.name}: other regimes less pay-per-compute, "
        + (f"means of {pairs} paired seeds and 95 % intervals." if pairs > 1 else "with one seed."),
    )
    return fig


def _of_folder(folder: Path, out: Path) -> None:
    found = gains_of_folder(folder)
    print(f"Other regimes less pay-per-compute, {USD_LABEL}; accuracy in points:")
    print(*played_in_words(found), sep="\n")
    about = {"scenario": found.name, "seeds": found.changes[0].difference.n}
    write_figure(played_figure(found), out / "who_gains_from_the_auction", about)


# --- The command ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep or of runs")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    out = options.out
    if options.folder is not None:
        with refusals("who_gains_from_the_auction"):
            _of_folder(options.folder, out)
        return
    gains = who_gains()
    print(f"Auction less market, {USD_LABEL}; accuracy in points:")
    print(f"{'':31}{'users':>9}{'if taste':>10}{'price':>9}{'profit':>9}{'accuracy':>10}")
    for gain in gains:
        print(
            f"{gain.benchmark:6}{METHOD_NAMES[gain.method]:17}{gain.beta:8,.0f}"
            f"{1000 * gain.user_value:+9.3f}{1000 * gain.user_value_if_taste:+10.3f}{1000 * gain.price:+9.3f}"
            f"{1000 * gain.provider_profit:+9.3f}{100 * gain.accuracy:+10.1f}"
        )
    print(*in_words(gains), sep="\n")
    write_figure(
        gains_figure(gains),
        out / "who_gains_from_the_auction",
        {"scenario": "the paper's nine settings", "seed": SEED},
    )


if __name__ == "__main__":
    main()

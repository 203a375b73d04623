"""How sure can the paper be of its nine auction winners, its inefficiencies and of who is better off?

Each accuracy of the paper is a mean over 546 to 1,319 questions.  The nine markets are solved again for
draws of their curves, once with question difficulties independent between models and once with the same
difficulty to all models: the two ends of what the dependence can be if questions that are hard for one
model are not easier for another.  A winner counts as sure who wins in 95 % of draws at both ends, a gain
or a loss whose 95 % intervals at both ends leave zero out.  Prints the numbers and writes one figure.

    python analysis/how_sure_are_the_winners.py [--draws N] [--seed S] [--out DIR]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from market_sim.economy.draws import DRAWS, MOST_DRAWS, parametric_draws
from market_sim.economy.uncertainty import (
    UncertainSolution,
    fewest_draws,
    in_percent,
    solve_uncertain_market,
)
from market_sim.experiments.claims.scripts import write_figure
from market_sim.experiments.house_style import (
    BAD,
    GOOD,
    INK,
    LOST,
    METHOD_NAMES,
    MUTED,
    USD_LABEL,
    colour_of,
    in_family_order,
    legend_beside,
    new_figure,
    say,
    styled,
)
from market_sim.experiments.paper import BETAS, SETTINGS, paper_curves, paper_market

SURE = 0.95
CORRELATIONS = (0.0, 1.0)
"""Of the difficulties of a question to two models: independent, and the same."""

VISIBLE = 0.01
"""Share of draws from which on a part of a bar can be seen."""

MARKERS = dict(zip(BETAS, "os^", strict=True))
PATH_SEED = 0
"""The order in which providers move, as in the reproduction."""


@dataclass(frozen=True, kw_only=True)
class Sureness:
    """One setting at one rationality, solved with the curves as measured and for both kinds of draws."""

    benchmark: str
    method: str
    beta: float
    ends: tuple[UncertainSolution, ...]

    @property
    def name(self) -> str:
        return f"{self.benchmark}, {METHOD_NAMES[self.method]}"

    @property
    def winner(self) -> str:
        """Of the curves as measured."""
        return self.ends[0].solution.auction.winner or "nobody"

    @property
    def runner_up(self) -> str:
        return self.ends[0].solution.auction.runner_up or "nobody"

    def chances(self, of: Callable[[UncertainSolution], float]) -> tuple[float, float]:
        """A share of draws at the less and the more favourable of the two ends."""
        shares = sorted(of(end) for end in self.ends)
        return shares[0], shares[-1]

    def span(self, measure: str) -> tuple[float, float, float]:
        """A measure of the curves as measured, and an interval over the intervals of both ends."""
        found = [end.intervals[measure] for end in self.ends]
        return found[0].estimate, min(each.low for each in found), max(each.high for each in found)

    def verdict(self, measure: str) -> str:
        """Whether the auction adds to a measure: "yes", "no", or "open" where the interval has zero in it."""
        _, low, high = self.span(f"auction_less_market.{measure}")
        return "yes" if low > 0 else "no" if high < 0 else "open"


def how_sure(draws: int, seed: int) -> list[Sureness]:
    """All nine settings at all three rationalities."""
    found = []
    for benchmark, method in SETTINGS:
        market, curves = paper_market(benchmark, method), paper_curves(benchmark, method)
        both = [
            solve_uncertain_market(market, parametric_draws(curves, draws, seed, rho), BETAS, seed=PATH_SEED)
            for rho in CORRELATIONS
        ]
        found += [
            Sureness(benchmark=benchmark, method=method, beta=beta, ends=ends)
            for beta, ends in zip(BETAS, zip(*both, strict=True), strict=True)
        ]
    return found


def of_settings(found: Sequence[Sureness]) -> list[Sureness]:
    """One of each setting: the auction is the same at every rationality."""
    return [each for each in found if each.beta == BETAS[0]]


def sure_winners(found: Sequence[Sureness]) -> list[Sureness]:
    """Settings whose winner is sure."""
    return [
        each
        for each in of_settings(found)
        if each.chances(lambda end, who=each.winner: end.winner_probability[who])[0] >= SURE  # type: ignore[misc]
    ]


def count(found: Sequence[Sureness], measure: str, verdict: str) -> list[int]:
    """In how many settings a verdict is given, one number per rationality."""
    return [sum(each.verdict(measure) == verdict for each in found if each.beta == beta) for beta in BETAS]


def in_words(found: Sequence[Sureness]) -> list[str]:
    """What is sure and what is not."""
    n = len(of_settings(found))

    def at_each_beta(measure: str, verdict: str) -> str:
        counts = zip(count(found, measure, verdict), BETAS, strict=True)
        return ", ".join(f"{number} of {n} at beta = {beta:,.0f}" for number, beta in counts)

    said = [f"The winner of the auction is sure in {len(sure_winners(found))} of {n} settings."]
    for measure, more, less in (
        (
            "user_value",
            "If users' noise is mistakes, the auction leaves them surely better off",
            "surely worse off",
        ),
        (
            "user_value_if_taste",
            "If it is taste, the auction leaves them surely better off",
            "surely worse off",
        ),
        ("price", "The auction is surely dearer", "surely cheaper"),
    ):
        said.append(f"{more} in {at_each_beta(measure, 'yes')};")
        said.append(f"  {less} in {at_each_beta(measure, 'no')};")
        said.append(f"  open in {at_each_beta(measure, 'open')}.")
    return said


def widths(found: Sequence[Sureness]) -> list[str]:
    """How wide intervals are at common difficulties, as a multiple of independent ones."""
    said = [
        "Intervals with the same difficulty to all models are so many times as wide as with independent ones:"
    ]
    for title, measure in (
        ("auction less market, users keep", "auction_less_market.user_value"),
        ("welfare of the market", "paper_dynamics.welfare"),
        ("welfare of the auction", "auction.welfare"),
        ("inefficiency", "inefficiency"),
    ):
        by_beta = []
        for beta in BETAS:
            pairs = [[_width(end, measure) for end in each.ends] for each in found if each.beta == beta]
            by_beta.append([common / own for own, common in pairs if own > 0])
        medians = ", ".join(f"{np.median(ratios):.2f}" for ratios in by_beta)
        said.append(
            f"  {title:32} {min(map(min, by_beta)):.2f} to {max(map(max, by_beta)):.2f}, median {medians} "
            f"at beta = {', '.join(f'{beta:,.0f}' for beta in BETAS)}"
        )
    return said


def _width(end: UncertainSolution, measure: str) -> float:
    found = end.intervals[measure]
    return found.high - found.low


def winner_line(each: Sureness) -> str:
    """Who wins the auction of a setting, how often, and who else might."""
    parts = []
    for part, who, of in (
        ("won by", each.winner, "winner_probability"),
        ("second", each.runner_up, "runner_up_probability"),
    ):
        least, most = each.chances(lambda end, who=who, of=of: getattr(end, of)[who])  # type: ignore[misc]
        parts.append(f"{part} {who} in {_range(least, most)} of draws")
    others = {
        name: share
        for name, share in each.ends[0].winner_probability.items()
        if name != each.winner and share
    }
    rivals = ", ".join(f"{name} up to {in_percent(share)}" for name, share in sorted(others.items()))
    return f"{each.name:24} {parts[0]}" + (f" ({rivals})" if rivals else "") + f"; {parts[1]}"


def _range(least: float, most: float) -> str:
    low, high = in_percent(least), in_percent(most)
    return high if low == high else f"{low.removesuffix(' %')} to {high}"


def beta_line(each: Sureness) -> str:
    """Inefficiency and users' gain of a setting at one rationality."""
    loss, loss_low, loss_high = (100 * x for x in each.span("inefficiency"))
    gain, gain_low, gain_high = (1000 * x for x in each.span("auction_less_market.user_value"))
    better = each.chances(lambda end: end.probability["auction_better_for_users"])
    return (
        f"{each.name:24}{each.beta:8,.0f}{loss:8.1f} [{loss_low:5.1f}, {loss_high:5.1f}]"
        f"{gain:+10.3f} [{gain_low:+7.3f}, {gain_high:+7.3f}]  {_range(*better):>22}"
        f"  {_WORDS[each.verdict('user_value')]}"
    )


_WORDS = {"yes": "auction", "no": "market", "open": "open"}
_COLOURS = {"yes": GOOD, "no": BAD, "open": MUTED}


@styled
def sureness_figure(found: Sequence[Sureness]) -> Figure:
    """A row per setting: how often each model wins, the inefficiency, and what the auction gives users."""
    fig = new_figure(5.2)
    wins, loss, gain = fig.subplots(1, 3, sharey=True, width_ratios=(1.25, 1, 1))
    settings = of_settings(found)
    for row, each in enumerate(settings):
        _draw_winners(wins, row, each)
    for each in found:
        row = [(s.benchmark, s.method) for s in settings].index((each.benchmark, each.method))
        place = row + 0.25 * (list(MARKERS).index(each.beta) - 1)
        _draw_span(loss, place, each, [100 * x for x in each.span("inefficiency")], INK)
        verdict = _COLOURS[each.verdict("user_value")]
        _draw_span(
            gain, place, each, [1000 * x for x in each.span("auction_less_market.user_value")], verdict
        )
    gain.axvline(0, color=INK, lw=0.8, zorder=1)
    for ax, title, label in (
        (wins, "wins the auction\n(difficulties independent)", "% of draws"),
        (loss, "inefficiency\nof the market", "%"),
        (gain, "users keep:\nauction less market", "USD per\n1,000 queries"),
    ):
        ax.set_title(title, fontsize=8)
        ax.set_xlabel(label)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        for edge in (2.5, 5.5):
            ax.axhline(edge, color="#bbbbbb", lw=0.6)
    wins.set_xlim(0, 100)
    loss.set_xlim(left=-1.5)
    wins.set_yticks(range(len(settings)), [each.name for each in settings])
    wins.set_ylim(len(settings) - 0.5, -0.5)
    sns.despine(fig=fig, left=True)
    handles = [
        Line2D([], [], color=MUTED, marker=marker, ls="none", label=f"β = {beta:,.0f}")
        for beta, marker in MARKERS.items()
    ]
    handles += [
        Line2D([], [], color=_COLOURS[verdict], marker="s", ms=6, ls="none", label=label)
        for verdict, label in (
            ("yes", "auction\nsurely better"),
            ("no", "market\nsurely better"),
            ("open", "open"),
        )
    ]
    handles += [
        Line2D([], [], color=colour_of(name), marker="s", ms=6, ls="none", label=name)
        for name in _unnamed(settings)
    ]
    legend_beside(fig, handles)
    n, open_ = len(settings), count(found, "user_value", "open")
    say(
        fig,
        f"{len(sure_winners(found))} of {n} auction winners are sure; who is better for users is open in "
        f"{', '.join(map(str, open_[:-1]))} and {open_[-1]} of {n} markets "
        f"at β = {', '.join(f'{beta:,.0f}' for beta in BETAS[:-1])} and {BETAS[-1]:,.0f}",
        f"{found[0].ends[0].draws.count:,} draws of the paper's curves for as many questions as it asked. "
        "Marks: the curves as measured. Bars: 95 % intervals, over difficulties independent between models "
        "and the same to all. Sure: the bar leaves zero out; a winner, in 95 % of draws.",
    )
    return fig


def _unnamed(settings: Sequence[Sureness]) -> list[str]:
    """Models that have a visible part of a bar and win none, so that no bar bears their name."""
    seen = {
        name
        for each in settings
        for name, share in each.ends[0].winner_probability.items()
        if share >= VISIBLE
    }
    return in_family_order(seen - {each.winner for each in settings})


def _draw_winners(ax: Axes, row: int, each: Sureness) -> None:
    """One bar of shares, the measured winner first, named inside."""
    chances = each.ends[0].winner_probability
    order = sorted(chances, key=lambda name: (name != each.winner, -chances[name]))
    left = 0.0
    for name in order:
        ax.barh(row, 100 * chances[name], left=left, height=0.6, color=colour_of(name), ec="white", lw=0.6)
        left += 100 * chances[name]
    if left < 100 - 1e-9:
        ax.barh(row, 100 - left, left=left, height=0.6, color=LOST)
    share = chances[each.winner]
    ax.text(
        3,
        row,
        f"{each.winner}{chr(10) if share < 0.6 else '  '}{in_percent(share)}",
        va="center",
        fontsize=6.5,
        linespacing=1.0,
        color="white" if _is_dark(colour_of(each.winner)) else INK,
    )


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 140


def _draw_span(ax: Axes, place: float, each: Sureness, span: Sequence[float], colour: str) -> None:
    estimate, low, high = span
    ax.plot([low, high], [place, place], color=colour, lw=1.6, alpha=0.55, solid_capstyle="butt")
    ax.plot(estimate, place, MARKERS[each.beta], color=colour, ms=3.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    asked = parser.parse_args()
    if not fewest_draws() <= asked.draws <= MOST_DRAWS:
        print(f"--draws: {asked.draws} is not from {fewest_draws()} to {MOST_DRAWS:,}", file=sys.stderr)
        sys.exit(2)
    if asked.seed < 0:
        print(f"--seed: {asked.seed} is below 0", file=sys.stderr)
        sys.exit(2)
    found = how_sure(asked.draws, asked.seed)
    print(f"{asked.draws:,} draws; ranges and intervals reach over independent and common difficulties.")
    for each in of_settings(found):
        print(winner_line(each))
    print(f"\n{'':24}{'beta':>8}  inefficiency, %     users keep, auction less market  better in draws  sure")
    print(f"{'':32}  and 95 % interval   {USD_LABEL}")
    for each in found:
        print(beta_line(each))
    print()
    print(*in_words(found), sep="\n")
    print(*widths(found), sep="\n")
    about = {"scenario": "the paper's nine settings", "seed": asked.seed, "draws": asked.draws}
    write_figure(sureness_figure(found), asked.out / "how_sure_are_the_winners", about)


if __name__ == "__main__":
    main()

"""Where each learning rule ends up under pay-per-compute, and how far from equilibrium that is.

Every rule that is for posted prices plays the paper's nine markets with several seeds, demand being the
expected one.  Printed for each: how many seeds settled or went round a cycle, in which round, in which of
the market's equilibria, how far from one play was after the warm-up, its gap to a coarse correlated
equilibrium, its welfare against the equilibrium's, and split R-hat over the seeds.  Then the same where there
are two equilibria, from the lowest levels and from the highest.

    python analysis/convergence_by_rule.py [--rules hedge,exp3] [--beta 1000] [--seeds 6] [--rounds 300]

With DIR, the folder of a sweep of runs over providers.learning, its own runs instead, in which users' draws
are random: how they end, how far from equilibrium they are, and welfare less that of the sweep's first rule,
paired over replicates (t-tests, corrected by Holm); 95 % intervals over replicates.  How fast rules get there
is what how_fast_rules_arrive.py tells.

    market-sim sweep runs/sweeps/rules.toml
    python analysis/convergence_by_rule.py runs/out/sweeps/rules-...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from market_sim.errors import InputError, not_one_of
from market_sim.experiments.claims import ends as ends_of
from market_sim.experiments.claims.ends import RuleEnds, ends_of_sweep
from market_sim.experiments.claims.scripts import mean_text, refusals, write_figure
from market_sim.experiments.convergence import LEARNERS, Convergence, Game, converge_everywhere
from market_sim.experiments.house_style import (
    INK,
    METHOD_NAMES,
    USD_LABEL,
    legend_beside,
    new_figure,
    say,
    styled,
)
from market_sim.experiments.paper import SETTINGS
from market_sim.experiments.sweep_report import holm_text
from market_sim.experiments.sweep_table import read_sweep
from market_sim.experiments.whole_means import left_out_note
from market_sim.theory.inference import MeanDifference

TWO_EQUILIBRIA = {
    ("GSM8K", "majority_voting"): 3353.0,
    ("GSM8K", "best_of_n"): 3750.0,
    ("AIME", "best_of_n"): 2060.0,
    ("GPQA", "majority_voting"): 918.0,
    ("GPQA", "best_of_n"): 2650.0,
}
"""A beta at which a market has two equilibria, where there is one (docs/theory.md 2.4)."""

AGREE = 1.05
"""Split R-hat up to which seeds are said to agree."""
CLEAR = 0.01
"""Share of welfare from which a difference is counted."""


def games_at(beta: float) -> list[Game]:
    """The nine markets at that beta, from the lowest levels."""
    return [Game(benchmark=benchmark, method=method, beta=beta) for benchmark, method in SETTINGS]


def games_of_two() -> list[Game]:
    """The markets with two equilibria, from the lowest and from the highest levels."""
    return [
        Game(benchmark=benchmark, method=method, beta=beta, start=start)
        for (benchmark, method), beta in TWO_EQUILIBRIA.items()
        for start in ("lowest", "highest")
    ]


# --- In words ---------------------------------------------------------------------------------------


def by_rule(found: Sequence[Convergence]) -> dict[str, list[Convergence]]:
    """The settings of each rule, in the order of the rules."""
    return {rule: [one for one in found if one.rule == rule] for rule in dict.fromkeys(o.rule for o in found)}


def mean(found: Sequence[Convergence], name: str) -> float:
    """Mean of a measure over settings."""
    return float(np.mean([getattr(one, name) for one in found]))


def percent(share: float, digits: int = 0) -> str:
    """A share as a text in percent."""
    return f"{100 * share:.{digits}f} %"


def named(game: Game) -> str:
    """A game as it is called."""
    market = f"{game.benchmark} {METHOD_NAMES[game.method]}"
    return market if game.start == "lowest" else f"{market}, from highest"


def table(found: Sequence[Convergence]) -> list[str]:
    """A line per setting and rule."""
    lines = [
        f"{'':55}{'settled':>8}{'in round':>9}{'cycled':>8}{'neither':>8}{'steps':>7}{'gap':>10}"
        f"{'welfare':>9}{'R-hat':>7}  settled in equilibrium"
    ]
    for one in found:
        settled = f"{one.median_round:9.0f}" if one.settled > 0 else f"{'-':>9}"
        where = ", ".join(f"{number} ({percent(share)})" for number, share in one.settled_in.items())
        lines.append(
            f"{named(one.game):38}{one.rule:17}"
            f"{percent(one.settled):>8}{settled}{percent(one.cycled):>8}{percent(one.neither):>8}"
            f"{one.level_steps:7.1f}{percent(one.gap, 1):>10}{percent(one.welfare, 1):>9}"
            f"{one.rhat:7.2f}  {where or 'none'} of {one.equilibria}"
        )
    return lines


def table_by_rule(found: Sequence[Convergence]) -> list[str]:
    """A line per rule: shares of all runs, means over settings, the range of welfare."""
    lines = [
        f"{'':17}{'in equilibrium':>15}{'elsewhere':>11}{'cycled':>8}{'neither':>9}{'steps':>7}{'gap':>10}"
        f"{'welfare':>18}  seeds disagree"
    ]
    for rule, own in by_rule(found).items():
        welfare = [one.welfare for one in own]
        ends = (
            f"{percent(mean(own, 'in_equilibrium')):>15}{percent(mean(own, 'elsewhere')):>11}"
            f"{percent(mean(own, 'cycled')):>8}{percent(mean(own, 'neither')):>9}"
        )
        lines.append(
            f"{rule:17}{ends}{mean(own, 'level_steps'):7.1f}{percent(mean(own, 'gap'), 1):>10}"
            f"{percent(min(welfare)) + ' to ' + percent(max(welfare)):>18}"
            f"  in {sum(not one.rhat <= AGREE for one in own)} of {len(own)} settings"
        )
    return lines


def in_words(found: Sequence[Convergence]) -> list[str]:
    """What the tables say."""
    rules = by_rule(found)
    sure = [rule for rule, own in rules.items() if mean(own, "in_equilibrium") == 1]
    never = [rule for rule, own in rules.items() if mean(own, "in_equilibrium") == 0]
    said = [
        f"In an equilibrium with every seed in every market: {', '.join(sure) or 'no rule'}.",
        f"Settled in one in no run: {', '.join(never) or 'no rule'}.",
    ]
    away = [one for one in found if one.in_equilibrium < 1 and one.rule != "fixed"]
    if away:
        near, far = (pick(away, key=lambda one: one.level_steps) for pick in (min, max))
        gaps = [one.gap for one in away]
        higher, lower = (sum(sign * (one.welfare - 1) > CLEAR for one in away) for sign in (1, -1))
        said += [
            f"Rules that move without always settling stay {near.level_steps:.1f} ({near.rule}) to "
            f"{far.level_steps:.1f} ({far.rule}) level steps away,",
            f"  with a gap to coarse correlated equilibrium of {percent(min(gaps), 1)} to "
            f"{percent(max(gaps), 1)} of what providers earn.",
            f"  Their welfare is more than {percent(CLEAR)} above the equilibrium's in {higher}, and as much "
            f"below it in {lower}, of {len(away)} pairs of rule and market.",
        ]
    return said


def of_two_in_words(found: Sequence[Convergence]) -> list[str]:
    """By rule, which of two equilibria the runs end in, by where they start; all markets together."""
    lines = [f"{'':17}{'from the lowest levels':>44}{'from the highest levels':>44}"]
    for rule, own in by_rule(found).items():
        told = ""
        for start in ("lowest", "highest"):
            ends = [_ends(one) for one in own if one.game.start == start]
            least, greatest, *other = np.mean(ends, axis=0)
            shares = [percent(share) for share in (least, greatest, sum(other))]
            told += f"{'least {}, greatest {}, neither {}'.format(*shares):>44}"
        lines.append(f"{rule:17}{told}")
    return lines


# --- The figure -------------------------------------------------------------------------------------

LEAST, GREATEST, ELSEWHERE, CYCLE, NEITHER = "#2a78b5", "#9cc9ee", "#e08a1e", "#8a1a5a", "#dedede"
ENDS = {
    "settles in the only\nequilibrium, or the\nleast of two": LEAST,
    "settles in the\ngreatest of two": GREATEST,
    "settles elsewhere": ELSEWHERE,
    "goes round a cycle": CYCLE,
    "does neither": NEITHER,
}
SHORT = {"majority_voting": "majority", "best_of_n": "best-of-n", "reasoning_effort": "reasoning"}

MOST_RHAT = 2.0
"""From here on the colour is the same."""


def _ends(one: Convergence) -> tuple[float, ...]:
    """The shares of the seeds that ended in each of ENDS."""
    return (one.settled_in.get(1, 0.0), one.settled_in.get(2, 0.0), one.elsewhere, one.cycled, one.neither)


@styled
def convergence_figure(
    found: Sequence[Convergence], of_two: Sequence[Convergence], beta: float, rounds: int
) -> Figure:
    """Rules by games: how play ended, welfare against the equilibrium's, and whether seeds agree."""
    rules, rows = list(by_rule(found)), list(by_rule(found).values())
    fig = new_figure(3.6 + 0.34 * len(rules))
    (ends, ends_of_two), (welfare, rhat) = fig.subplots(2, 2, sharey=True)
    _draw_ends(ends, rows)
    _draw_ends(ends_of_two, list(by_rule(of_two).values()))
    change = np.array([[100 * (one.welfare - 1) for one in row] for row in rows])
    most = max(float(np.abs(change).max()), 1.0)
    texts = [[_signed(cell) for cell in row] for row in change]
    _heat_map(welfare, change, texts, colormaps["RdBu"], Normalize(-most, most))
    spread = np.array([[one.rhat for one in row] for row in rows])
    shown = np.minimum(np.nan_to_num(spread, nan=1.0, posinf=MOST_RHAT), MOST_RHAT)
    texts = [[_of_rhat(cell) for cell in row] for row in spread]
    _heat_map(rhat, shown, texts, colormaps["Oranges"], Normalize(1.0, MOST_RHAT))
    settings = [(one.game.benchmark, SHORT[one.game.method]) for one in rows[0]]
    games = [one.game for one in by_rule(of_two)[rules[0]]]
    starts = [(f"{game.benchmark}\n{SHORT[game.method]}", f"from {game.start}") for game in games]
    for ax, title, columns in (
        (ends, f"how runs end (share of seeds), β = {beta:,.0f}", settings),
        (ends_of_two, "where there are two equilibria", starts),
        (welfare, "welfare against equilibrium (%)", settings),
        (rhat, "split R-hat of welfare over seeds", settings),
    ):
        ax.set_yticks(range(len(rules)), rules)
        _label(ax, title, columns)
    legend_beside(fig, [Patch(fc=colour, label=end) for end, colour in ENDS.items()])
    steady = [rule for rule, own in by_rule(found).items() if mean(own, "in_equilibrium") == 1]
    say(
        fig,
        f"{len(steady)} of {len(rules)} rules end in an equilibrium in every market and with every seed",
        f"Pay-per-compute, expected demand, {found[0].seeds} seeds of {rounds} rounds, from the lowest "
        "levels; at the top right also from the highest, at a beta at which the market has two equilibria. "
        "Welfare: mean after the warm-up, in % above (blue) or below (red) that of the nearest equilibrium. "
        f"Split R-hat: of the second half of the rounds, 1 if all tell the same; up to {AGREE} they agree.",
    )
    return fig


def _of_rhat(value: float) -> str:
    if np.isnan(value):
        return "\N{EN DASH}"
    return "∞" if np.isinf(value) else f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _signed(percent: float) -> str:
    text = f"{percent:+.0f}"
    return "0" if text in ("+0", "-0") else text.replace("-", "\N{MINUS SIGN}")


def _draw_ends(ax: Axes, rows: Sequence[Sequence[Convergence]]) -> None:
    """A stacked bar in each cell."""
    for y, row in enumerate(rows):
        for x, one in enumerate(row):
            left = x - 0.45
            for share, colour in zip(_ends(one), ENDS.values(), strict=True):
                ax.barh(y, 0.9 * share, 0.8, left, color=colour, lw=0)
                left += 0.9 * share
    ax.set_xlim(-0.5, len(rows[0]) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)


def _label(ax: Axes, title: str, columns: Sequence[tuple[str, str]]) -> None:
    """Columns named below, in groups whose first name stands above."""
    groups = [first for first, _ in columns]
    ax.set_title(title, pad=24 if "\n" in groups[0] else 16)
    ax.set_xticks(range(len(columns)), [second for _, second in columns], rotation=90)
    for first in dict.fromkeys(groups):
        start, n = groups.index(first), groups.count(first)
        ax.text(start + (n - 1) / 2, -0.65, first, ha="center", va="bottom", fontsize=7 if n > 2 else 6)
        if start > 0:
            ax.axvline(start - 0.5, color="#aaaaaa" if n < 3 else "white", lw=0.8 if n < 3 else 3)
    ax.grid(False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _heat_map(
    ax: Axes, values: np.ndarray, texts: Sequence[Sequence[str]], colours: Colormap, norm: Normalize
) -> None:
    """Coloured cells with a text in each."""
    ax.imshow(values, cmap=colours, norm=norm, aspect="auto")
    for row, column in np.ndindex(values.shape):
        red, green, blue, _ = colours(norm(values[row, column]))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
        ax.text(
            column,
            row,
            texts[row][column],
            ha="center",
            va="center",
            fontsize=6,
            color="white" if dark else INK,
        )


# --- Of a sweep -------------------------------------------------------------------------------------


def sweep_in_words(found: Sequence[RuleEnds]) -> list[str]:
    """A line per rule, and one per comparison."""
    wide = max(18, *(len(one.rule) + 2 for one in found))
    heads = ("least", "greater", "at rest", "cycle", "neither", "levels away", "could gain", "welfare")
    units = ((ends_of.STEPS, 1, 1), (ends_of.GAIN, 1000, 3), (ends_of.WELFARE, 1000, 3))
    lines = [
        "Percent of runs that end in the least equilibrium, in a greater one, at rest elsewhere, in a cycle,",
        "in neither, with exact 95 % intervals over runs; after the warm-up levels from the nearest",
        "equilibrium, and USD per 1,000 queries, +- 95 % over replicates:",
        " " * wide + "".join(f"{head:>17}" for head in heads),
    ]
    for one in found:
        cells = [_share_text(one.ends[name]) for name in ends_of.ENDS]
        cells += [mean_text(one.measures[name], factor, digits) for name, factor, digits in units]
        lines.append(f"{one.rule:{wide}}" + "".join(f"{cell:>17}" for cell in cells))
    better = [(one.rule, one.better) for one in found if one.better is not None]
    for rule, contrast in better:
        line = f"{rule} less {found[0].rule}: {mean_text(contrast.difference, 1000, 3, '+')} of welfare"
        if contrast.difference.n > 1:
            line += f", {holm_text(contrast.adjusted_p, len(better))}"
        lines.append(line)
    means = [mean for one in found for mean in one.measures.values()]
    return lines + left_out_note([*means, *(contrast.difference for _, contrast in better)])


def _share_text(share: ends_of.Share) -> str:
    return f"{100 * share.mean:.1f} [{100 * share.low:.0f}, {100 * share.high:.0f}]"


@styled
def sweep_figure(found: Sequence[RuleEnds], about: str) -> Figure:
    """A row per rule: how its runs end, how far from equilibrium they are, and welfare."""
    fig = new_figure(1.8 + 0.26 * len(found))
    ends, steps, better = fig.subplots(1, 3, sharey=True)
    rows = np.arange(len(found))
    left = np.zeros(len(found))
    handles = []
    for name, colour in zip(ends_of.ENDS, ENDS.values(), strict=True):
        share = np.array([100 * one.ends[name].mean for one in found])
        ends.barh(rows, share, 0.7, left, color=colour, lw=0)
        left += share
        handles.append(Patch(fc=colour, label=name))
    ends.set_xlim(0, 100)
    _intervals(steps, rows, [one.measures[ends_of.STEPS] for one in found], 1)
    compared = [(row, one.better.difference) for row, one in zip(rows, found, strict=True) if one.better]
    _intervals(better, [row for row, _ in compared], [mean for _, mean in compared], 1000)
    better.axvline(0, color=INK, lw=0.8)
    for ax, label in (
        (ends, "% of runs"),
        (steps, "levels from the nearest\nequilibrium, all together"),
        (better, f"welfare less {found[0].rule}'s,\n{USD_LABEL}"),
    ):
        ax.set_xlabel(label)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.spines[["top", "right", "left"]].set_visible(False)
    ends.set_yticks(rows, [one.rule for one in found])
    ends.set_ylim(len(found) - 0.5, -0.5)
    legend_beside(fig, handles)
    settled = {one.rule: sum(one.ends[name].mean for name in ends_of.ENDS[:2]) for one in found}
    always = [rule for rule, share in settled.items() if share == 1]
    say(
        fig,
        f"{len(always)} of {len(found)} rules end in an equilibrium in all runs"
        + (f": {', '.join(always)}" if always else ""),
        f"{about} After the warm-up; bars: 95 % intervals over {found[0].measures[ends_of.STEPS].n} "
        "replicates of means over all other axes.",
    )
    return fig


def _intervals(ax: Axes, rows: Sequence[int], means: Sequence[MeanDifference], factor: float) -> None:
    ax.errorbar(
        [factor * mean.mean for mean in means],
        rows,
        xerr=[factor * float(np.nan_to_num(mean.half_width)) for mean in means],
        fmt="o",
        color=INK,
        capsize=2,
    )


# --- The command ------------------------------------------------------------------------------------


def _of_folder(folder: Path, out: Path) -> None:
    table = read_sweep(folder)
    found, about = ends_of_sweep(table), f"Sweep {table.name}."
    print(about)
    print(*sweep_in_words(found), sep="\n")
    name = {"scenario": table.name, "seed": sorted(table.frame["replicate"].unique().tolist())}
    write_figure(sweep_figure(found, about), out / "convergence_by_rule", name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--rules", default=",".join(LEARNERS), help="rules to play, default all")
    parser.add_argument("--beta", type=float, default=1000.0, help="users' rationality, 1/USD")
    parser.add_argument("--seeds", type=int, default=6, help="runs of each rule in each market")
    parser.add_argument("--rounds", type=int, default=300, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    rules = [name.strip() for name in options.rules.split(",")]
    with refusals("convergence_by_rule"):
        if options.folder is not None:
            _of_folder(options.folder, options.out)
            return
        for rule in rules:
            if rule not in LEARNERS:
                raise not_one_of("--rules", rule, LEARNERS)
        for name in ("seeds", "rounds"):
            if (number := getattr(options, name)) < 1:
                raise InputError(f"--{name} {number} is not allowed; it must be at least 1")
        games, sizes = [*games_at(options.beta), *games_of_two()], (options.seeds, options.rounds)
        everything = converge_everywhere(games, rules, *sizes)
    split = len(SETTINGS) * len(rules)
    found, of_two = everything[:split], everything[split:]
    print(f"{options.seeds} seeds of {options.rounds} rounds, beta = {options.beta:g}:")
    print(*table(found), "", "All markets together:", *table_by_rule(found), "", *in_words(found), sep="\n")
    betas = ", ".join(f"{beta:g}" for beta in TWO_EQUILIBRIA.values())
    print("", f"Where there are two equilibria (beta = {betas}):", *table(of_two), sep="\n")
    print("", "All of these markets together:", *of_two_in_words(of_two), sep="\n")
    write_figure(
        convergence_figure(found, of_two, options.beta, options.rounds),
        options.out / "convergence_by_rule",
        {"scenario": "the paper's nine settings", "seed": list(range(options.seeds)), "beta": options.beta},
    )


if __name__ == "__main__":
    main()

"""How fast does each learning rule arrive where it ends up under pay-per-compute?

Every rule that is for posted prices plays the paper's nine markets with several seeds, demand being the
expected one.  Printed for each: the round in which welfare, averaged over one turn of everybody, has come
nine tenths of its way to stay, and how often each provider has revised by then, as means over markets with
95 % intervals (Student's t).  Where rules end is what convergence_by_rule.py tells.  Writes one figure.

    python analysis/how_fast_rules_arrive.py [--rules hedge,exp3] [--beta 1000] [--seeds 4] [--rounds 300]

With DIR, the folder of a sweep of runs over providers.learning, its own runs instead, in which users' draws
are random: the same with intervals over replicates, and each rule against the sweep's first, paired over
replicates (t-tests, corrected by Holm).  If the sweep kept no rounds, the warm-up that was cut off stands for
arrival.

    market-sim sweep runs/sweeps/rules.toml
    python analysis/how_fast_rules_arrive.py runs/out/sweeps/rules-...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market_sim.errors import InputError, not_one_of
from market_sim.experiments.claims.scripts import mean_text, refusals, write_figure
from market_sim.experiments.claims.speed import (
    RuleSpeed,
    Speed,
    speed_everywhere,
    speed_of_sweep,
    turns_of,
)
from market_sim.experiments.convergence import LEARNERS, Game
from market_sim.experiments.house_style import INK, SERIES, legend_beside, new_figure, say, styled
from market_sim.experiments.paper import SETTINGS
from market_sim.experiments.sweep_report import holm_text
from market_sim.experiments.sweep_table import read_rounds, read_sweep
from market_sim.experiments.whole_means import left_out_note
from market_sim.theory.inference import MeanDifference, mean_difference


def by_rule(found: Sequence[Speed]) -> dict[str, list[Speed]]:
    """The markets of each rule that moves at all, the fastest rule first."""
    names = [rule for rule in dict.fromkeys(one.rule for one in found) if rule != "fixed"]
    moving = {rule: [one for one in found if one.rule == rule] for rule in names}
    return dict(sorted(moving.items(), key=lambda item: over_markets(item[1], "revisions").mean))


def over_markets(own: Sequence[Speed], name: str) -> MeanDifference:
    """Mean over markets of means over seeds, with its interval."""
    return mean_difference([getattr(one, name).mean() for one in own])


def in_words(found: Sequence[Speed]) -> list[str]:
    """A line per rule."""
    lines = [f"{'':18}{'rounds':>18}{'revisions each':>20}   slowest market"]
    for rule, own in by_rule(found).items():
        cells = []
        for name in ("rounds", "revisions"):
            mean = over_markets(own, name)
            cells.append(f"{mean.mean:.1f} +- {mean.half_width:.1f}")
        slow = max(own, key=lambda one: one.rounds.mean())
        lines.append(
            f"{rule:18}{cells[0]:>18}{cells[1]:>20}   {slow.game.benchmark} {slow.game.method} "
            f"({slow.rounds.mean():.0f} rounds)"
        )
    return lines


@styled
def speed_figure(found: Sequence[Speed], beta: float, rounds: int) -> Figure:
    """A row per rule: a dot per market, and the mean over markets with its interval."""
    rules = by_rule(found)
    benchmarks = list(dict.fromkeys(one.game.benchmark for one in found))
    fig = new_figure(1.5 + 0.26 * len(rules))
    axes = fig.subplots(1, 2, sharey=True)
    for ax, name, label in (
        (axes[0], "rounds", "rounds until arrival"),
        (axes[1], "revisions", "revisions of each provider"),
    ):
        for row, own in enumerate(rules.values()):
            for one in own:
                colour = SERIES[benchmarks.index(one.game.benchmark)]
                shift = 0.18 * (benchmarks.index(one.game.benchmark) - 1)
                ax.plot(getattr(one, name).mean(), row + shift, "o", ms=3, color=colour, alpha=0.75)
            mean = over_markets(own, name)
            _draw_mean(ax, row, mean)
        _label(ax, label)
    axes[0].set_yticks(range(len(rules)), list(rules))
    axes[0].set_ylim(len(rules) - 0.5, -0.5)
    sns.despine(fig=fig, left=True)
    handles = [
        Line2D([], [], color=SERIES[i], marker="o", ls="none", label=name)
        for i, name in enumerate(benchmarks)
    ]
    legend_beside(fig, [*handles, Line2D([], [], color=INK, marker="|", ms=9, label="mean, 95 %\ninterval")])
    names = list(rules)
    ends = [over_markets(rules[name], "revisions").mean for name in (names[0], names[-1])]
    say(
        fig,
        f"{names[0]} arrives after {ends[0]:.1f} revisions of each provider, {names[-1]} after {ends[1]:.0f}",
        f"Pay-per-compute, expected demand, β = {beta:,.0f} per USD, {len(found[0].rounds)} seeds of "
        f"{rounds} rounds. Arrived: welfare, averaged over one turn of everybody, stays within a tenth of "
        "the way from start to late mean, or as near as in the second half. Rules that reply move one "
        "provider a round.",
    )
    return fig


def _draw_mean(ax: Axes, row: int, mean: MeanDifference) -> None:
    spread = float(np.nan_to_num(mean.half_width))
    ax.errorbar([mean.mean], [row], xerr=[[min(spread, mean.mean)], [spread]], fmt="|", ms=9, color=INK)


def _label(ax: Axes, label: str) -> None:
    ax.set_xscale("symlog", linthresh=10)
    ax.set_xticks([0, 5, 10, 100], ["0", "5", "10", "100"])
    ax.set_xlim(-0.5)
    ax.set_xlabel(label)
    ax.tick_params(axis="y", length=0)


# --- Of a sweep -------------------------------------------------------------------------------------


def sweep_in_words(found: Sequence[RuleSpeed]) -> list[str]:
    """A line per rule, and one per comparison."""
    wide = max(18, *(len(one.rule) + 2 for one in found))
    lines = [" " * wide + "".join(f"{head:>18}" for head in ("rounds", "revisions each"))]
    lines += [f"{o.rule:{wide}}{mean_text(o.rounds):>18}{mean_text(o.revisions):>18}" for o in found]
    tests = sum(len(one.slower) for one in found)
    for one in found:
        for each, unit in zip(one.slower, ("rounds", "revisions"), strict=False):
            line = f"{one.rule} less {found[0].rule}: {mean_text(each.difference, sign='+')} {unit}"
            if each.difference.n > 1:
                line += f", {holm_text(each.adjusted_p, tests)}"
            lines.append(line)
    changes = [each.difference for one in found for each in one.slower]
    return lines + left_out_note([*changes, *(mean for one in found for mean in (one.rounds, one.revisions))])


@styled
def sweep_speed_figure(found: Sequence[RuleSpeed], about: str) -> Figure:
    """A row per rule with its interval, the fastest first."""
    rows = sorted(found, key=lambda one: one.revisions.mean)
    fig = new_figure(1.7 + 0.26 * len(rows))
    axes = fig.subplots(1, 2, sharey=True)
    for ax, name, label in (
        (axes[0], "rounds", "rounds until arrival"),
        (axes[1], "revisions", "revisions of each provider"),
    ):
        for row, one in enumerate(rows):
            _draw_mean(ax, row, getattr(one, name))
        _label(ax, label)
    axes[0].set_yticks(range(len(rows)), [one.rule for one in rows])
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    sns.despine(fig=fig, left=True)
    say(
        fig,
        f"{rows[0].rule} arrives after {rows[0].revisions.mean:.1f} revisions of each provider, "
        f"{rows[-1].rule} after {rows[-1].revisions.mean:.1f}",
        f"{about} Bars: 95 % intervals over {rows[0].rounds.n} replicates of means over all other axes.",
    )
    return fig


def _of_folder(folder: Path, out: Path) -> None:
    table, rounds = read_sweep(folder), read_rounds(folder, ["expected_welfare_usd"])
    found = speed_of_sweep(table, turns_of(folder), rounds)
    about = f"Sweep {table.name}. " + (
        "Arrived: warm-up is over (MSER on welfare)."
        if rounds is None
        else "Arrived: welfare, averaged over one turn of everybody, stays within a tenth of the way from "
        "start to late mean, or as near as in the second half."
    )
    print(about)
    print(*sweep_in_words(found), sep="\n")
    name = {"scenario": table.name, "seed": sorted(table.frame["replicate"].unique().tolist())}
    write_figure(sweep_speed_figure(found, about), out / "how_fast_rules_arrive", name)


# --- The command ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--rules", default=",".join(LEARNERS), help="rules to play, default all")
    parser.add_argument("--beta", type=float, default=1000.0, help="users' rationality, 1/USD")
    parser.add_argument("--seeds", type=int, default=4, help="runs of each rule in each market")
    parser.add_argument("--rounds", type=int, default=300, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    rules = [name.strip() for name in options.rules.split(",")]
    with refusals("how_fast_rules_arrive"):
        if options.folder is not None:
            _of_folder(options.folder, options.out)
            return
        for rule in rules:
            if rule not in LEARNERS:
                raise not_one_of("--rules", rule, LEARNERS)
        for name in ("seeds", "rounds"):
            if (number := getattr(options, name)) < 1:
                raise InputError(f"--{name} {number} is not allowed; it must be at least 1")
        if rules == ["fixed"]:
            raise InputError("--rules fixed never moves; name one that does")
        games = [Game(benchmark=b, method=m, beta=options.beta) for b, m in SETTINGS]
        found = speed_everywhere(games, rules, options.seeds, options.rounds)
    print(f"{options.seeds} seeds of {options.rounds} rounds, beta = {options.beta:g}:")
    print(*in_words(found), sep="\n")
    write_figure(
        speed_figure(found, options.beta, options.rounds),
        options.out / "how_fast_rules_arrive",
        {"scenario": "the paper's nine settings", "seed": list(range(options.seeds)), "beta": options.beta},
    )


if __name__ == "__main__":
    main()

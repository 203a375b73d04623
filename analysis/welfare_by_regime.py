"""How much social welfare each regime reaches, and how that depends on users' rationality.

    market-sim compare runs/gsm8k-majority.toml        (any number of scenarios and seeds)
    python analysis/welfare_by_regime.py [DIR] [--out runs/out/analysis]

DIR is a folder with runs below it (runs/out if left out) or that of a sweep over regime.kind.  With --play
SCENARIO what is missing below DIR is played first: every regime, rationality and seed asked for.

Each run counts once: its mean over the second half of its rounds (of those since its last event), under the
regime that stood then; a sweep's after the warm-up, averaged over its axes but users.beta.  Differences
between regimes are taken within a setting and seed, because those meet the same users and shocks; p-values
are paired t-tests, corrected by Holm over all that are printed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market_sim.errors import InputError
from market_sim.experiments import house_style
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.claims.welfare import (
    BASE,
    RegimeWelfare,
    played,
    runs_below,
    welfare_by_regime,
)
from market_sim.experiments.compare import REGIMES_COMPARED, TITLES
from market_sim.experiments.sweep_report import holm_text
from market_sim.experiments.sweep_table import plainly, read_sweep
from market_sim.experiments.whole_means import left_out_note


def named(regime: str) -> str:
    """A regime as it is called in a sentence."""
    return TITLES.get(regime, plainly(regime))


def in_words(found: Sequence[RegimeWelfare]) -> list[str]:
    """A line per setting and regime."""
    lines, tests = [], sum(not np.isnan(row.adjusted_p) for row in found)
    for row in found:
        beta = "" if np.isnan(row.beta) else f", beta = {row.beta:,.0f}"
        line = (
            f"{row.scenario}{beta}, {row.regime} ({row.seeds} seed{'s' if row.seeds > 1 else ''}): welfare "
            f"{1000 * row.welfare_usd:.3f} of {1000 * row.first_best_usd:.3f} USD per 1,000 queries"
        )
        if row.gain is not None and np.isfinite(row.gain.half_width):
            word = "more" if row.gain.mean >= 0 else "less"
            over = "" if row.gain.n > 1 else " over rounds"
            line += (
                f", {1000 * abs(row.gain.mean):.3f} +- {1000 * row.gain.half_width:.3f} {word} than "
                f"pay-per-compute (95 % interval{over})"
            )
        if not np.isnan(row.adjusted_p):
            line += f", {holm_text(row.adjusted_p, tests)}"
        lines.append(line)
    return lines + left_out_note(row.gain for row in found if row.gain is not None)


# --- The figure -------------------------------------------------------------------------------------


@house_style.styled
def draw(found: Sequence[RegimeWelfare]) -> Figure:
    """Over rationality where a scenario was played at three or more, else a bar per regime."""
    scenarios = list(dict.fromkeys(row.scenario for row in found))
    betas = [len({row.beta for row in found if row.scenario == name}) for name in scenarios]
    if min(betas) >= 3 and len(scenarios) <= 4:
        return _over_rationality(found, scenarios)
    return _bars(found)


def _over_rationality(found: Sequence[RegimeWelfare], scenarios: Sequence[str]) -> Figure:
    """Welfare and users' part of the first best, and the gain over pay-per-compute with intervals."""
    regimes = list(dict.fromkeys(row.regime for row in found))
    fig = house_style.new_figure(0.9 + 2.1 * len(scenarios))
    for panels, scenario in zip(fig.subplots(len(scenarios), 2, squeeze=False), scenarios, strict=True):
        left, right = panels
        for place, regime in enumerate(regimes):
            own = [row for row in found if (row.scenario, row.regime) == (scenario, regime)]
            own.sort(key=lambda row: row.beta)
            colour, marker = house_style.SERIES[place], house_style.SERIES_MARKERS[place]
            for name, dashes in (("welfare_usd", "-"), ("user_value_usd", (0, (2, 1.2)))):
                share = [100 * getattr(row, name) / row.first_best_usd for row in own]
                left.plot([row.beta for row in own], share, color=colour, ls=dashes, marker=marker)
            _draw_gain(right, [row for row in own if row.gain is not None], colour, marker)
        left.set_title(f"{scenario}\nwelfare (lines), users' part (dashes)")
        left.set_ylabel("% of the first best")
        right.axhline(0, color=house_style.INK, lw=0.8)
        right.set_title("gain of welfare\nover pay-per-compute")
        right.set_ylabel(house_style.USD_LABEL)
        for ax in panels:
            house_style.log_axis(ax.xaxis)
            ax.set_xlabel(house_style.BETA_LABEL)
            ax.spines[["top", "right"]].set_visible(False)
    handles = [
        Line2D([], [], color=house_style.SERIES[i], marker=house_style.SERIES_MARKERS[i], label=named(regime))
        for i, regime in enumerate(regimes)
    ]
    house_style.legend_beside(fig, handles)
    gains = [row for row in found if row.gain is not None]
    if gains:
        ends = [pick(gains, key=lambda row: row.gain.mean) for pick in (min, max)]
        finding = "Welfare changes by " + " to ".join(
            f"{1000 * row.gain.mean:+.2f} (β\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{row.beta:,.0f})"
            for row in ends
            if row.gain is not None
        )
        finding += " USD per 1,000 queries against pay-per-compute"
    else:
        finding = "Welfare by regime and rationality"
    seeds = max(row.seeds for row in found)
    note = (
        f"Means over {seeds} seeds, and over what else a sweep varies. Gains are paired over seeds, bars: "
        "95 % intervals. The first best: every request served by the best level of the best provider."
    )
    house_style.say(fig, finding, note)
    return fig


def _draw_gain(ax: Axes, rows: Sequence[RegimeWelfare], colour: str, marker: str) -> None:
    gains = [row.gain for row in rows if row.gain is not None]
    if gains:
        ax.errorbar(
            [row.beta for row in rows],
            [1000 * gain.mean for gain in gains],
            yerr=[1000 * float(np.nan_to_num(gain.half_width)) for gain in gains],
            color=colour,
            marker=marker,
            capsize=2,
        )


def _bars(found: Sequence[RegimeWelfare]) -> Figure:
    """Users' and providers' parts and what is lost, in percent of the first best."""
    fig = house_style.new_figure(1.6 + 0.36 * len(found))
    ax = fig.subplots()
    places = np.arange(len(found))
    right, left = np.zeros(len(found)), np.zeros(len(found))  # ends of the gains, and of the losses
    best = np.array([row.first_best_usd for row in found])
    parts = {
        "users keep": (np.array([row.user_value_usd for row in found]), house_style.USERS),
        "providers earn": (np.array([row.provider_profit_usd for row in found]), house_style.PROVIDERS),
        "lost": (best - [row.welfare_usd for row in found], house_style.LOST),
    }
    handles = []
    for name, (usd, colour) in parts.items():
        amount = 100.0 * usd / best
        start = np.where(amount >= 0, right, left)
        handles.append(ax.barh(places, amount, left=start, height=0.7, color=colour, ec="white", label=name))
        right, left = right + np.maximum(amount, 0), left + np.minimum(amount, 0)
    several = len({row.beta for row in found if not np.isnan(row.beta)}) > 1
    labels = [
        f"{row.scenario}, {f'β = {row.beta:,.0f}, ' if several else ''}{named(row.regime)}" for row in found
    ]
    ax.set_yticks(places, labels)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.invert_yaxis()
    ax.set_xlabel("percent of the first best")
    house_style.legend_beside(fig, handles)
    reached = {
        regime: np.mean([row.welfare_usd / row.first_best_usd for row in found if row.regime == regime])
        for regime in dict.fromkeys(row.regime for row in found)
    }
    finding = ", ".join(f"{100 * share:.1f} % under {named(regime)}" for regime, share in reached.items())
    note = (
        "The first best: every request served by the best level of the best provider. Title: means over rows."
    )
    house_style.say(fig, f"Of the first best, welfare reaches {finding}", note)
    return fig


# --- The command ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs/out"), metavar="DIR")
    parser.add_argument("--play", metavar="SCENARIO", help="play what is missing of this scenario first")
    parser.add_argument("--regimes", default=",".join(REGIMES_COMPARED), help="with --play")
    parser.add_argument("--betas", default="200,1000,5000,50000", help="with --play: rationalities, 1/USD")
    parser.add_argument("--seeds", type=int, default=5, help="with --play: how many")
    parser.add_argument("--rounds", type=int, help="with --play: instead of the scenario's")
    parser.add_argument("--users", type=int, help="with --play: instead of the scenario's")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    with refusals("welfare_by_regime"):
        if options.play is not None:
            played(
                options.play,
                options.runs,
                regimes=[name.strip() for name in options.regimes.split(",")],
                betas=_numbers(options.betas),
                seeds=range(1, options.seeds + 1),
                rounds=options.rounds,
                users=options.users,
            )
        sweep = (options.runs / "sweep.toml").is_file()
        table = read_sweep(options.runs) if sweep else runs_below(options.runs)
        found = welfare_by_regime(table)
    print(*in_words(found), sep="\n")
    if all(row.gain is None for row in found):
        print(f"Nothing to compare: no setting was played under {BASE} and another regime.")
    about = {"scenario": table.name, "seed": sorted(table.frame["replicate"].unique().tolist())}
    write_figure(draw(found), options.out / "welfare_by_regime", about)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--betas {text} is not a list of numbers like 200,1000") from None


if __name__ == "__main__":
    main()

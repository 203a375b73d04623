"""What it costs that users do not know how good answers are, and how that depends on whom they hear.

Plays GSM8K by majority voting with providers that stand where informed users would leave them, and users
who know, or who learn from their own requests and from a network of others.  Prints the welfare that is
lost against informed users, with confidence intervals over seeds, and writes one figure.

    python analysis/what_misinformation_costs.py [--seeds N] [--rounds N] [--users N] [--out DIR]

With DIR, the folder of a sweep of runs over users.information with "full" among its values, and over
networks or experience if wanted, its own runs instead: losses after the warm-up, paired over replicates
(t-tests, corrected by Holm).  What providers do about misinformed users is then in them.

    market-sim sweep runs/sweeps/misinformation.toml
    python analysis/what_misinformation_costs.py runs/out/sweeps/misinformation-...
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from market_sim.experiments.claims.misinformation import BETAS, Loss, SweepLosses, losses, losses_of_sweep
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.house_style import (
    BETA_LABEL,
    INK,
    USD_LABEL,
    legend_beside,
    new_figure,
    per_thousand,
    say,
    styled,
)
from market_sim.experiments.sweep_figures import changes_figure
from market_sim.experiments.sweep_report import holm_text
from market_sim.experiments.sweep_table import read_sweep, setting_text
from market_sim.experiments.whole_means import left_out_note

COLOURS = ("#8c8c8c", "#a3d3f5", "#4a9fe3", "#1560b0", "#ea7f12", "#00664a")


def in_words(loss: Loss) -> str:
    share = 100 * loss.mean / loss.informed
    return (
        f"beta = {loss.beta:5,.0f}, hearing {loss.heard:18}: {per_thousand(loss.mean):6.3f} "
        f"+- {per_thousand(loss.half_width):.3f} USD per 1,000 queries, {share:5.1f} % of it"
    )


def _lost(usd: float) -> str:
    return f"{'lose' if usd > 0 else 'gain'} {abs(per_thousand(usd)):.2f}"


@styled
def misinformation_figure(found: list[Loss]) -> Figure:
    """Loss over rounds, one panel per rationality, one line per network."""
    fig = new_figure(3.3)
    axes = fig.subplots(1, len(BETAS), sharey=True)
    for ax, beta in zip(axes, BETAS, strict=True):
        ax.axhline(0, color=INK, lw=0.8)
        for loss, colour in zip([loss for loss in found if loss.beta == beta], COLOURS, strict=True):
            course, low, high = (per_thousand(values) for values in loss.band())
            ax.fill_between(range(len(course)), low, high, color=colour, alpha=0.25, lw=0)
            ax.plot(course, color=colour, lw=1.5, label=loss.heard)
        ax.set_title(f"β = {beta:,.0f}", fontsize=9)
        ax.set_xlabel("round")
        ax.set_xscale("symlog", linthresh=10)
        ax.set_xlim(0, found[0].courses.shape[1] - 1)
        ax.set_xticks([0, 10, 100], ["0", "10", "100"])
    axes[0].set_ylabel(f"welfare lost ({USD_LABEL})")
    legend_beside(fig, axes[0].get_legend_handles_labels()[0])
    careful = [loss for loss in found if loss.beta == BETAS[-1]]
    ends = [min(careful, key=lambda loss: loss.mean), max(careful, key=lambda loss: loss.mean)]
    told = [f"{_lost(loss.mean)} if they hear {loss.heard}" for loss in ends]
    say(
        fig,
        f"Careful users who learn {' and '.join(told)} (USD per 1,000 queries)",
        f"Expected welfare below that of users who know every offer, means over seeds and 95 % intervals; "
        f"{BETA_LABEL}. "
        "Legend: whom users hear. Providers stand where informed users would leave them. Estimates too low "
        "for bad offers make choices less noisy, so misinformed users can do better than informed ones.",
    )
    return fig


# --- Of a sweep -------------------------------------------------------------------------------------


def sweep_in_words(found: SweepLosses) -> list[str]:
    """A line per setting and whom users hear."""
    lines, tests = [], sum(one.difference.n > 1 for one in found.losses)
    for one in found.losses:
        loss, setting = one.difference, setting_text(found.axes, one.setting)
        width = f" +- {per_thousand(loss.half_width):.3f}" if loss.n > 1 else ""
        line = (
            f"{setting}{', ' if setting else ''}hearing {one.value}: {per_thousand(loss.mean):.3f}{width} "
            f"USD per 1,000 queries, {100 * loss.mean / found.informed[one.setting]:.1f} % of it"
        )
        if loss.n > 1:
            line += f", {holm_text(one.adjusted_p, tests)}"
        lines.append(line)
    return lines + left_out_note(one.difference for one in found.losses)


@styled
def sweep_figure(found: SweepLosses, name: str) -> Figure:
    """Losses by setting and whom users hear."""
    fig = changes_figure(found.losses, found.axes, {"lost_usd": ("welfare lost", 1000.0, USD_LABEL)})
    ends = [pick(found.losses, key=lambda one: one.difference.mean) for pick in (min, max)]
    low, high = (
        f"{per_thousand(one.difference.mean):+.2f} (hearing {', '.join(filter(None, words))})"
        for one in ends
        for words in [(one.value, setting_text(found.axes, one.setting))]
    )
    say(
        fig,
        f"Not knowing costs {low} to {high} USD of welfare per 1,000 queries",
        f"Sweep {name}: expected welfare after the warm-up below that of users who know every offer, means "
        f"of {found.losses[0].difference.n} paired replicates and 95 % intervals. Legend: whom users hear.",
    )
    return fig


def _of_folder(folder: Path, out: Path) -> None:
    table = read_sweep(folder)
    found = losses_of_sweep(table)
    print("Welfare lost against informed users, and as a part of theirs (after the warm-up):")
    print(*sweep_in_words(found), sep="\n")
    about = {"scenario": table.name, "seed": sorted(table.frame["replicate"].unique().tolist())}
    write_figure(sweep_figure(found, table.name), out / "what_misinformation_costs", about)


# --- The command ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    asked = parser.parse_args()
    if asked.folder is not None:
        with refusals("what_misinformation_costs"):
            _of_folder(asked.folder, asked.out)
        return
    print("Welfare lost against informed users, and as a part of theirs (second half of the rounds):")
    found = []
    for loss in losses(asked.seeds, asked.rounds, asked.users):
        found.append(loss)
        print(" ", in_words(loss))
    about = {"scenario": "GSM8K, majority voting, experience", "seeds": asked.seeds, "rounds": asked.rounds}
    write_figure(misinformation_figure(found), asked.out / "what_misinformation_costs", about)


if __name__ == "__main__":
    main()

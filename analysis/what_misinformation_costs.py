"""What it costs that users do not know how good answers are, and how that depends on whom they hear.

Plays GSM8K by majority voting with providers that stand where informed users would leave them, and users
who know, or who learn from their own requests and from a network of others.  Prints the welfare that is
lost against informed users, with confidence intervals over seeds, and writes one figure.

    python analysis/what_misinformation_costs.py [--seeds N] [--rounds N] [--users N] [--out DIR]
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from market_sim.experiments.figures import (
    BETA_LABEL,
    INK,
    USD_LABEL,
    legend_beside,
    new_figure,
    per_thousand,
    save,
    say,
    styled,
)
from market_sim.experiments.run import run
from market_sim.experiments.solve import solve

MARKET = {"benchmark": "GSM8K", "method": "majority_voting"}
BETAS = (200.0, 1000.0, 5000.0)
NETWORKS: dict[str, dict[str, Any]] = {
    "nobody": {"kind": "none"},
    "6 on a ring": {"kind": "small_world", "neighbours": 6, "rewire": 0.0},
    "small world of 6": {"kind": "small_world", "neighbours": 6, "rewire": 0.1},
    "6 at random": {"kind": "random", "neighbours": 6},
    "the well-connected": {"kind": "scale_free", "neighbours": 6, "trust": "degree"},
    "everybody": {"kind": "complete"},
}
COLOURS = ("#8c8c8c", "#a3d3f5", "#4a9fe3", "#1560b0", "#ea7f12", "#00664a")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Welfare below that of informed users, USD per query: one entry per seed, and courses over rounds, a row
    per seed."""

    beta: float
    heard: str
    by_seed: np.ndarray
    courses: np.ndarray
    informed: float

    @property
    def mean(self) -> float:
        return float(self.by_seed.mean())

    @property
    def half_width(self) -> float:
        """Of the 95 % confidence interval over seeds (Student's t)."""
        return float(_half_width(self.by_seed))

    def band(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean course, and the ends of its 95 % confidence interval over seeds, round by round."""
        course, half_width = self.courses.mean(axis=0), np.nan_to_num(_half_width(self.courses))
        return course, course - half_width, course + half_width


def _half_width(samples: np.ndarray) -> np.ndarray:
    """Of the interval round the mean over the first axis; NaN for one sample."""
    n = len(samples)
    if n < 2:
        return np.full(samples.shape[1:], np.nan)
    return stats.t.ppf(0.975, n - 1) * stats.sem(samples, axis=0)


def losses(seeds: int, rounds: int, users: int) -> Iterator[Loss]:
    """The loss for every rationality and network."""
    for beta in BETAS:
        (solution,) = solve({"name": "x", "market": MARKET, "users": {"beta": beta}})
        reached = solution.paper_dynamics
        for heard, network in NETWORKS.items():
            courses = []
            for seed in range(1, seeds + 1):
                played = run(_scenario(beta, reached.levels, network, rounds, users), seed=seed)
                courses.append(reached.welfare - played.rounds["expected_welfare_usd"])
            late = np.array([course[-(-len(course) // 2) :].mean() for course in courses])
            yield Loss(
                beta=beta,
                heard=heard,
                by_seed=late,
                courses=np.array(courses),
                informed=reached.welfare,
            )


def _scenario(
    beta: float, levels: dict[str, float], network: dict[str, Any], rounds: int, users: int
) -> dict[str, Any]:
    return {
        "name": "misinformation",
        "rounds": rounds,
        "market": MARKET,
        "users": {"count": users, "beta": beta, "information": "experience", "network": network},
        "providers": {"learning": {"rule": "fixed"}, "start": levels},
        "output": {"metrics_every": 10**6},
    }


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
            ax.fill_between(np.arange(len(course)), low, high, color=colour, alpha=0.25, lw=0)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    asked = parser.parse_args()
    print("Welfare lost against informed users, and as a part of theirs (second half of the rounds):")
    found = []
    for loss in losses(asked.seeds, asked.rounds, asked.users):
        found.append(loss)
        print(" ", in_words(loss))
    about = {"scenario": "GSM8K, majority voting, experience", "seeds": asked.seeds, "rounds": asked.rounds}
    png, _ = save(misinformation_figure(found), asked.out / "what_misinformation_costs", about)
    print(f"Figure: {png} (and .svg)")


if __name__ == "__main__":
    main()

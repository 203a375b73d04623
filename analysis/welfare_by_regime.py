"""How much social welfare each regime reaches: reads run folders, prints means with intervals, one figure.

    market-sim compare runs/gsm8k-majority.toml        (any number of scenarios and seeds)
    python analysis/welfare_by_regime.py [runs/out] [--out runs/out/analysis]

Each run counts once: its mean over the second half of its rounds (of those since its last event), under the
regime that stood then.  Differences between regimes are taken
within a scenario and seed, because those meet the same users and shocks.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from market_sim.errors import InputError
from market_sim.experiments import figures, store
from market_sim.experiments.compare import TITLES

BASE = "pay_per_compute"


def late_means(root: Path) -> pd.DataFrame:
    """One row per complete run under a folder: scenario, regime, seed and means of the late rounds."""
    rows = []
    for folder in store.complete_folders(root):
        rounds = store.load_rounds(folder)
        began, last = (store.manifest_of(folder) or {}).get("last_event", 0), rounds["round"].max()
        late = rounds[rounds["round"] > min((last + began) // 2, last - 1)]
        rows.append(
            {
                "scenario": rounds["scenario"].iloc[0],
                "regime": rounds["regime"].iloc[0],
                "seed": int(rounds["seed"].iloc[0]),
                "welfare_usd": late["welfare_usd"].mean(),
                "user_value_usd": late["user_value_usd"].mean(),
                "provider_profit_usd": late["provider_profit_usd"].mean(),
                "first_best_usd": (late["first_best_gap_usd"] + late["expected_welfare_usd"]).mean(),
                "by_round_usd": late["welfare_usd"].to_numpy(),
            }
        )
    if not rows:
        raise InputError(
            f"{root}: has no complete run; make one with: market-sim compare runs/gsm8k-majority.toml"
        )
    return pd.DataFrame(rows)


def welfare_by_regime(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean welfare per scenario and regime, and the gain over pay-per-compute, USD per query.

    half_width_usd is of a 95 % interval (Student's t) of the gain: over seeds where there are several, else
    over rounds.
    """
    rows = []
    for (scenario, regime), group in runs.groupby(["scenario", "regime"], sort=False):
        base = runs[(runs["scenario"] == scenario) & (runs["regime"] == BASE)]
        paired = group.merge(base, on=["scenario", "seed"], suffixes=("", "_base"))
        gains = (paired["welfare_usd"] - paired["welfare_usd_base"]).to_numpy()
        if len(gains) == 1:
            gains = paired["by_round_usd"].iloc[0] - paired["by_round_usd_base"].iloc[0]
        compared = regime != BASE and len(gains) > 1
        rows.append(
            {
                "scenario": scenario,
                "regime": regime,
                "seeds": group["seed"].nunique(),
                "welfare_usd": group["welfare_usd"].mean(),
                "first_best_usd": group["first_best_usd"].mean(),
                "gain_usd": gains.mean() if compared else np.nan,
                "half_width_usd": stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
                if compared
                else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _half_width(sample: np.ndarray) -> float:
    return float(stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample))


def named(regime: str) -> str:
    """A regime as it is called in a sentence."""
    return TITLES.get(regime, regime)


@figures.styled
def draw(runs: pd.DataFrame) -> figures.Figure:
    """Users' and providers' parts and what is lost, in percent of the first best, by scenario and regime."""
    numbers = runs.drop(columns="by_round_usd")
    means = numbers.groupby(["scenario", "regime"], sort=False).mean(numeric_only=True)
    percent = means.div(means["first_best_usd"], axis=0) * 100.0
    fig = figures.new_figure(1.6 + 0.36 * len(percent))
    ax = fig.subplots()
    places = np.arange(len(percent))
    right, left = np.zeros(len(percent)), np.zeros(len(percent))  # ends of the gains, and of the losses
    percent["lost"] = 100.0 - percent["welfare_usd"]
    handles = []
    for column, name, colour in (
        ("user_value_usd", "users keep", figures.USERS),
        ("provider_profit_usd", "providers earn", figures.PROVIDERS),
        ("lost", "lost", figures.LOST),
    ):
        amount = percent[column].to_numpy()
        start = np.where(amount >= 0, right, left)
        handles.append(ax.barh(places, amount, left=start, height=0.7, color=colour, ec="white", label=name))
        right, left = right + np.maximum(amount, 0), left + np.minimum(amount, 0)
    ax.set_yticks(places, [f"{scenario}, {named(regime)}" for scenario, regime in percent.index])
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.invert_yaxis()
    ax.set_xlabel("percent of the first best")
    figures.legend_beside(fig, handles)
    reached = percent.groupby("regime", sort=False)["welfare_usd"].mean()
    finding = ", ".join(f"{share:.1f} % under {named(regime)}" for regime, share in reached.items())
    note = (
        "The first best: every request served by the best level of the best provider. Title: means over rows."
    )
    figures.say(fig, f"Of the first best, welfare reaches {finding}", note)
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs/out"))
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"))
    options = parser.parse_args()
    try:
        runs = late_means(options.runs)
    except InputError as error:
        print(f"welfare_by_regime: {error}", file=sys.stderr)
        sys.exit(2)
    for row in welfare_by_regime(runs).itertuples():
        line = (
            f"{row.scenario}, {row.regime} ({row.seeds} seed{'s' if row.seeds > 1 else ''}): welfare "
            f"{1000 * row.welfare_usd:.3f} of {1000 * row.first_best_usd:.3f} USD per 1,000 queries"
        )
        if np.isfinite(row.gain_usd):
            word = "more" if row.gain_usd >= 0 else "less"
            line += (
                f", {1000 * abs(row.gain_usd):.3f} +- {1000 * row.half_width_usd:.3f} {word} than "
                "pay-per-compute (95 % interval)"
            )
        print(line)
    seeds = sorted(runs["seed"].unique().tolist())
    about = {"scenario": ", ".join(runs["scenario"].unique()), "seed": seeds}
    print(*figures.save(draw(runs), options.out / "welfare_by_regime", about), sep="\n")


if __name__ == "__main__":
    main()

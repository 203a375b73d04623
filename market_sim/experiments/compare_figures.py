"""What a comparison leaves on disk: its numbers, who gets what, and the play under each regime."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market_sim.experiments import store
from market_sim.experiments.compare import TITLES, Comparison
from market_sim.experiments.figures import SurplusSplit, play_figure, surplus_bars
from market_sim.experiments.house_style import (
    BAD,
    INK,
    LOST,
    USD_LABEL,
    USERS,
    colour_of,
    in_family_order,
    level_axis,
    new_figure,
    per_thousand,
    stacked_shares,
    staircases,
    styled,
)
from market_sim.experiments.run import Run
from market_sim.experiments.saved_figures import save


def write_comparison(comparison: Comparison, out: Path | str) -> list[Path]:
    """Write comparison.json, surplus and play-<regime> (PNG, SVG) to a folder beside the runs'.

    comparison.json also names the runs' folders, which are its neighbours.
    Returns the paths.  The folder is whole or not there; the same runs and uncertainty give the same folder.
    """
    made_of = "+".join(run.fingerprint for run in comparison.runs)
    if comparison.uncertainty is not None:
        made_of += json.dumps([each.to_dict() for each in comparison.uncertainty])
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    folder = Path(out) / comparison.name / f"compare-seed{comparison.seed}-{digest}"
    about = {"scenario": comparison.name, "seed": comparison.seed}

    def write(draft: Path) -> None:
        folders = [None if run.folder is None else run.folder.name for run in comparison.runs]
        store.write_json(draft / "comparison.json", comparison.to_dict() | {"runs": folders})
        save(surplus_bars(surplus_split(comparison), comparison.name), draft / "surplus", about)
        for run in comparison.runs:
            heading = f"{comparison.name}, {TITLES.get(run.regime, run.regime)}"
            figure = play_figure(run.rounds, run.providers, heading)
            save(figure, draft / f"play-{run.regime}", about | {"regime": run.regime})

    store.write_folder(folder, write)
    return sorted(folder.iterdir())


def surplus_split(comparison: Comparison) -> list[SurplusSplit]:
    """Who gets what under each regime, in expectation."""
    return [
        SurplusSplit(
            name=TITLES.get(measures.regime, measures.regime),
            user_value_usd=measures.expected_user_value_usd,
            provider_profit_usd=measures.expected_provider_profit_usd,
            lost_usd=measures.first_best_gap_usd,
        )
        for measures in comparison.measures
    ]


@styled
def side_by_side(runs: Sequence[Run], width: float) -> Figure:
    """Runs beside each other on the same axes: compute levels, shares, and welfare with users' part of it.

    Where there are several benchmarks levels are means over them, weighted by requests.  width: inches.
    """
    fig = new_figure(5.2, width)
    axes = fig.subplots(3, len(runs), sharex=True, sharey="row", squeeze=False, height_ratios=(1.2, 1, 1))
    names: list[str] = []
    for column, run in enumerate(runs):
        ladder, shares, money = axes[:, column]
        x = run.rounds["round"].astype(float)
        table = {key: run.providers[key] for key in ("provider", "benchmark", "compute_level", "share")}
        names = list(dict.fromkeys(table["provider"].tolist()))
        shape = (len(x), -1, len(names))
        level, share = (np.reshape(table[key], shape) for key in ("compute_level", "share"))
        staircases(
            ladder, x, {name: _mean_level(level[:, :, i], share[:, :, i]) for i, name in enumerate(names)}
        )
        stacked_shares(
            shares,
            x,
            {name: share[:, :, i].sum(axis=1) for i, name in enumerate(names)},
            run.rounds["outside_share"],
        )
        welfare = run.rounds["expected_welfare_usd"]
        for usd, look in (
            (welfare + run.rounds["first_best_gap_usd"], {"color": BAD, "ls": (0, (1, 1.5)), "lw": 1.3}),
            (welfare, {"color": INK, "lw": 2.0}),
            (run.rounds["expected_user_value_usd"], {"color": USERS, "lw": 2.0}),
        ):
            money.plot(x, per_thousand(usd), drawstyle="steps-post", **look)
        ladder.set_title(TITLES.get(run.regime, run.regime), loc="left", weight="bold")
        money.set_xlabel("round")
        money.set_xlim(0, max(x[-1], 1))
        if column:
            shares.set_ylabel("")
    level_axis(axes[0, 0].yaxis, _levels(runs))
    axes[0, 0].set_ylabel("compute level")
    axes[2, 0].set_ylabel(USD_LABEL)
    sns.despine(fig=fig)
    fig.align_ylabels(axes[:, 0])
    models = [Line2D([], [], color=colour_of(name), lw=3, label=name) for name in in_family_order(names)]
    lines = [
        Line2D([], [], color=LOST, lw=3, label="buys nothing"),
        Line2D([], [], color=INK, lw=2, label="welfare"),
        Line2D([], [], color=USERS, lw=2, label="users' part of it"),
        Line2D([], [], color=BAD, ls=(0, (1, 1.5)), label="first best"),
    ]
    fig.legend(handles=[*models, *lines], loc="outside lower left", ncols=7)
    return fig


def _mean_level(level: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mean over benchmarks, weighted by shares; the plain one where nobody asked; (R, T) each -> (R,)."""
    if level.shape[1] == 1:
        return level[:, 0]
    weight = np.where(share.sum(axis=1, keepdims=True) > 0, share, 1.0)
    return (level * weight).sum(axis=1) / weight.sum(axis=1)


def _levels(runs: Sequence[Run]) -> np.ndarray:
    """Every compute level that was played."""
    every = np.concatenate([run.providers["compute_level"] for run in runs])
    return np.unique(np.round(every[np.isfinite(every)], 9))

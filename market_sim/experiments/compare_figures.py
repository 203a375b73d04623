"""What a comparison leaves on disk: its numbers, who gets what, and the play under each regime."""

import hashlib
import json
from pathlib import Path

from market_sim.experiments import store
from market_sim.experiments.compare import TITLES, Comparison
from market_sim.experiments.figures import SurplusSplit, play_figure, save, surplus_bars


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
        split = [
            SurplusSplit(
                name=TITLES.get(measures.regime, measures.regime),
                user_value_usd=measures.expected_user_value_usd,
                provider_profit_usd=measures.expected_provider_profit_usd,
                lost_usd=measures.first_best_gap_usd,
            )
            for measures in comparison.measures
        ]
        save(surplus_bars(split, comparison.name), draft / "surplus", about)
        for run in comparison.runs:
            heading = f"{comparison.name}, {TITLES.get(run.regime, run.regime)}"
            figure = play_figure(run.rounds, run.providers, heading)
            save(figure, draft / f"play-{run.regime}", about | {"regime": run.regime})

    store.write_folder(folder, write)
    return sorted(folder.iterdir())

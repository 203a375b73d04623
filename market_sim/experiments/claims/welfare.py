"""How much social welfare each regime reaches, by users' rationality, compared over seeds in pairs.

Runs of one setting and seed meet the same users, tasks and shocks under each regime, so differences are
taken within seeds.  All comparisons that are made together share one correction (Holm).
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments import store
from market_sim.experiments.run import load_run, run
from market_sim.experiments.scenario import Scenario, changed, load_scenario
from market_sim.experiments.sweep_table import SweepTable
from market_sim.theory.arrays import Array
from market_sim.theory.convergence import batch_means
from market_sim.theory.inference import MeanDifference, holm, mean_difference

if TYPE_CHECKING:
    import pandas as pd

BASE = "pay_per_compute"
MEASURES = ("welfare_usd", "user_value_usd", "provider_profit_usd")
ALSO = ("price_usd", "accuracy")


@dataclass(frozen=True, kw_only=True)
class RegimeWelfare:
    """One regime in one setting, means over its seeds; USD per arriving request.

    setting     tells settings of the same name and beta apart
    beta        1/USD; NaN where users differ or it is not told
    gain        welfare over that of pay-per-compute, paired over seeds; over rounds where there is one seed
                (no p-value then); None for pay-per-compute itself and where it was not played
    adjusted_p  of the gain, Holm's over all gains of the list; NaN where there is none
    """

    scenario: str
    setting: str
    beta: float
    regime: str
    seeds: int
    welfare_usd: float
    user_value_usd: float
    provider_profit_usd: float
    first_best_usd: float
    gain: MeanDifference | None
    adjusted_p: float


def played(
    scenario: Path | str | dict[str, Any] | Scenario,
    root: Path | str,
    *,
    regimes: Sequence[str],
    betas: Sequence[float],
    seeds: Sequence[int],
    rounds: int | None = None,
    users: int | None = None,
) -> None:
    """Play what is missing below `root`: every regime, rationality and seed.  Whole runs are left alone."""
    base = load_scenario(scenario)
    for beta in betas:
        for seed in seeds:
            for regime in regimes:
                here = changed(
                    base,
                    users__beta=float(beta),
                    users__count=users,
                    rounds=rounds,
                    seed=seed,
                    regime__kind=regime,
                )
                run(here, out=root)


def late_means(root: Path | str) -> "pd.DataFrame":
    """One row per complete run below a folder: scenario, setting, beta, regime, seed, late means.

    The late rounds are the second half of those since the last event.  Raises InputError without any run.
    """
    import pandas as pd

    rows = []
    for folder in store.complete_folders(Path(root)):
        if not (folder / "rounds.parquet").is_file():  # a sweep's, say
            continue
        found, about = load_run(folder), tomllib.loads((folder / "scenario.toml").read_text("utf-8"))
        late = {name: column[found.late()] for name, column in found.rounds.items()}
        beta = about["users"].get("beta", np.nan)
        rows.append(
            {
                "scenario": found.name,
                "setting": _setting(about),
                "beta": float(beta) if isinstance(beta, int | float) else np.nan,
                "regime": found.regime,
                "seed": found.seed,
                **{name: late[name].mean() for name in (*MEASURES, *ALSO)},
                "first_best_usd": (late["first_best_gap_usd"] + late["expected_welfare_usd"]).mean(),
                "by_round_usd": late["welfare_usd"],
            }
        )
    if not rows:
        raise InputError(
            f"{root}: has no complete run; make one with: market-sim compare runs/gsm8k-majority.toml"
        )
    return pd.DataFrame(rows)


def _setting(about: dict[str, Any]) -> str:
    """What two runs must agree in to be compared: everything but regime and seed."""
    return json.dumps({key: about[key] for key in about if key not in ("regime", "seed")}, sort_keys=True)


def of_sweep(table: SweepTable) -> "pd.DataFrame":
    """The same rows of a sweep whose axes have the regime; replicates are its seeds."""
    if "regime.kind" not in table.axes or table.kind != "run":
        raise InputError(f"{table.name}: regimes are compared in sweeps of runs with an axis regime.kind")
    frame = table.ok
    others = [axis for axis in table.axes if axis != "regime.kind"]
    labels = frame[others].astype(str).agg(", ".join, axis=1) if others else ""
    beta = frame["users.beta"] if "users.beta" in table.numeric else np.nan
    return frame.assign(
        scenario=table.name,
        setting=labels,
        beta=beta,
        regime=frame["regime.kind"],
        seed=frame["replicate"],
        first_best_usd=frame["first_best_gap_usd"] + frame["expected_welfare_usd"],
        by_round_usd=[np.empty(0)] * len(frame),
    )


def welfare_by_regime(runs: "pd.DataFrame") -> list[RegimeWelfare]:
    """Every regime in every setting, from the rows of `late_means` or `of_sweep`."""
    rows: list[dict[str, Any]] = []
    keys = ["scenario", "setting", "beta"]
    for (scenario, setting, beta), here in runs.groupby(keys, sort=False, dropna=False):
        base = here[here["regime"] == BASE]
        for regime, group in here.groupby("regime", sort=False):
            means = group[[*MEASURES, "first_best_usd"]].mean()
            rows.append(
                {
                    "scenario": scenario,
                    "setting": setting,
                    "beta": float(beta),
                    "regime": regime,
                    "seeds": int(group["seed"].nunique()),
                    **{name: float(value) for name, value in means.items()},
                    "gain": None if regime == BASE else _gain(group, base),
                }
            )
    p_values = [np.nan if row["gain"] is None else row["gain"].p_value for row in rows]
    return [RegimeWelfare(**row, adjusted_p=float(p)) for row, p in zip(rows, holm(p_values), strict=True)]


def _gain(group: "pd.DataFrame", base: "pd.DataFrame") -> MeanDifference | None:
    paired = group.merge(base, on="seed", suffixes=("", "_base"))
    change = (paired["welfare_usd"] - paired["welfare_usd_base"]).to_numpy()
    if len(change) == 1 and len(paired["by_round_usd"].iloc[0]) > 1:
        by_round: Array = paired["by_round_usd"].iloc[0] - paired["by_round_usd_base"].iloc[0]
        found = batch_means(by_round)
        return MeanDifference(n=1, mean=found.mean, half_width=found.half_width, p_value=float("nan"))
    return mean_difference(change) if len(change) else None

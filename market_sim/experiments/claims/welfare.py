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
from market_sim.experiments.sweep_table import (
    SweepTable,
    contrasts,
    over_replicates,
    rows_by_setting,
    wanted_axis,
)
from market_sim.theory.convergence import batch_means
from market_sim.theory.inference import MeanDifference

if TYPE_CHECKING:
    import pandas as pd

BASE = "pay_per_compute"
REGIME, SCENARIO, BETA = "regime.kind", "scenario", "users.beta"
MEASURES = ("welfare_usd", "user_value_usd", "provider_profit_usd")
ALSO = ("price_usd", "accuracy")


@dataclass(frozen=True, kw_only=True)
class RegimeWelfare:
    """One regime at one rationality of a scenario, means over its seeds (and a sweep's other axes); USD per
    arriving request.

    beta        1/USD; NaN where users differ or it is not told
    gain        welfare over that of pay-per-compute, paired over seeds; over rounds where there is one seed
                (no p-value then); None for pay-per-compute itself and where it was not played
    adjusted_p  of the gain, Holm's over all gains of the list; NaN where there is none
    """

    scenario: str
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


def runs_below(root: Path | str) -> SweepTable:
    """The complete runs below a folder as if they were a sweep's: axes are regime, scenario and beta.

    Measures are means over the second half of the rounds since the last event; welfare_by_round has the
    welfare of each of these.  Raises InputError without any run.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    settings: dict[str, dict[str, str]] = {}
    for folder in store.complete_folders(Path(root)):
        if not (folder / "rounds.parquet").is_file():  # a sweep's, say
            continue
        found, about = load_run(folder), tomllib.loads((folder / "scenario.toml").read_text("utf-8"))
        late = {name: column[found.late()] for name, column in found.rounds.items()}
        beta = about["users"].get("beta")
        if isinstance(beta, int | float):
            del about["users"]["beta"]
        of_name = settings.setdefault(found.name, {})
        again = f" ({len(of_name) + 1})" if of_name else ""
        rows.append(
            {
                SCENARIO: of_name.setdefault(_setting(about), f"{found.name}{again}"),
                BETA: float(beta) if isinstance(beta, int | float) else np.nan,
                REGIME: found.regime,
                "replicate": found.seed,
                "status": "ok",
                **{name: late[name].mean() for name in (*MEASURES, *ALSO)},
                "first_best_usd": (late["first_best_gap_usd"] + late["expected_welfare_usd"]).mean(),
                "welfare_by_round": late["welfare_usd"],
            }
        )
    if not rows:
        raise InputError(
            f"{root}: has no complete run; make one with: market-sim compare runs/gsm8k-majority.toml"
        )
    frame = pd.DataFrame(rows)
    frame["point"] = frame.groupby([REGIME, SCENARIO, BETA], dropna=False).ngroup()
    return SweepTable(
        name=", ".join(settings),
        kind="run",
        design="list",
        axes=(REGIME, SCENARIO, BETA),
        ranges={},
        frame=frame,
    )


def _setting(about: dict[str, Any]) -> str:
    """What two runs must agree in to be compared: everything but regime and seed."""
    return json.dumps({key: about[key] for key in about if key not in ("regime", "seed")}, sort_keys=True)


def welfare_by_regime(table: SweepTable) -> list[RegimeWelfare]:
    """Every regime by scenario and rationality, of a sweep of runs or of `runs_below` a folder.

    Raises InputError for a sweep without the regime among its axes, and where no run went well.
    """
    if SCENARIO not in table.axes:
        wanted_axis(table, "run", (REGIME,), "welfare by regime")
        frame = table.frame
        best = frame["first_best_gap_usd"] + frame["expected_welfare_usd"]
        table = table.with_frame(frame.assign(first_best_usd=best))
    apart = [axis for axis in (SCENARIO, BETA) if axis in table.axes]
    gains = {
        (one.setting, one.value): one
        for one in contrasts(table, REGIME, MEASURES[:1], against=BASE, apart=apart)
    }
    found = []
    for setting, here in rows_by_setting(table.ok, apart):
        told = dict(zip(apart, setting, strict=True))
        for regime, group in here.groupby(REGIME, sort=False):
            contrast = gains.get((setting, str(regime)))
            gain: MeanDifference | None = None if contrast is None else contrast.difference
            if gain is not None and gain.n == 1 and "welfare_by_round" in group:
                gain = _over_rounds(group, here[here[REGIME] == BASE])
            beta = told.get(BETA)
            found.append(
                RegimeWelfare(
                    scenario=str(told.get(SCENARIO, table.name)),
                    beta=float(beta) if isinstance(beta, int | float | np.number) else np.nan,
                    regime=str(regime),
                    seeds=int(group["replicate"].nunique()),
                    **{name: over_replicates(group, name).mean for name in (*MEASURES, "first_best_usd")},
                    gain=gain,
                    adjusted_p=np.nan if contrast is None else contrast.adjusted_p,
                )
            )
    if not found:
        raise InputError(f"{table.name}: no run of it went well")
    return found


def _over_rounds(group: "pd.DataFrame", base: "pd.DataFrame") -> MeanDifference:
    """The gain of the one seed that both were played with, with an interval over its rounds."""
    pair = group.merge(base, on="replicate", suffixes=("", "_base")).iloc[0]
    found = batch_means(pair["welfare_by_round"] - pair["welfare_by_round_base"])
    return MeanDifference(n=1, mean=found.mean, half_width=found.half_width, p_value=float("nan"))

"""One run of a scenario: rows, and the folder that keeps them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments import store
from market_sim.experiments.build import (
    fingerprint,
    resolved,
    to_toml,
)
from market_sim.experiments.play import reached_since
from market_sim.experiments.reached import Reached, defined
from market_sim.experiments.scenario import Scenario, changed, load_scenario
from market_sim.experiments.timeline import Timeline, timeline_of
from market_sim.simulation.model import MarketModel
from market_sim.theory.arrays import Array

if TYPE_CHECKING:
    import pandas as pd

CONVERGENCE = "convergence.json"

Progress = Callable[[int, int], None]
"""Called with rounds done and rounds in all."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """A finished run.

    regime             what summaries measure: the one after the last event
    regime_at_first    the scenario's, which its folder is called by; another where an event brings a new one
    fingerprint        of the resolved scenario
    rounds, providers  columns of rounds.parquet and providers.parquet (docs/formats.md)
    reached            whether play settled, cycled or neither, how far from equilibrium (convergence.json)
    folder             where it was kept; None where it was not
    reused             whether the rows were read from an earlier run of the same scenario and seed
    last_event         the round of the last event, 0 if there is none
    """

    name: str
    regime: str
    regime_at_first: str
    seed: int
    fingerprint: str
    rounds: dict[str, np.ndarray]
    providers: dict[str, np.ndarray]
    reached: Reached
    folder: Path | None
    reused: bool
    last_event: int = 0

    def late(self) -> slice:
        """The second half of the rounds since the last event, which summaries average over."""
        n = len(self.rounds["round"])
        return slice(min(n - 1, 1 + (n - 1 + self.last_event) // 2), n)

    def mean(self, column: str) -> float:
        """Mean of a column of rounds over the second half, leaving out rounds where it is undefined."""
        values = self.rounds[column][self.late()]
        defined = values[~np.isnan(values)]
        return float(defined.mean()) if len(defined) else float("nan")

    def provider_means(self) -> dict[str, dict[str, float | None]]:
        """Each provider's last compute level, None if it left, and its mean share over the second half of the
        rounds; by "provider / benchmark" where there are several."""
        late = self.providers["round"] >= self.rounds["round"][self.late()][0]
        tasks = list(dict.fromkeys(self.providers["benchmark"].tolist()))
        found = {}
        for name in dict.fromkeys(self.providers["provider"].tolist()):
            for task in tasks:
                own = late & (self.providers["provider"] == name) & (self.providers["benchmark"] == task)
                found[name if len(tasks) == 1 else f"{name} / {task}"] = {
                    "compute_level": defined(float(self.providers["compute_level"][own][-1])),
                    "share": float(self.providers["share"][own].mean()),
                }
        return found

    def shares(self) -> dict[str, float]:
        """Each provider's mean share of arriving requests over the second half of the rounds."""
        late = self.providers["round"] >= self.rounds["round"][self.late()][0]
        rounds = len(self.rounds["round"][self.late()])
        names = self.providers["provider"]
        return {
            name: float(self.providers["share"][late & (names == name)].sum() / rounds)
            for name in dict.fromkeys(names.tolist())
        }

    def summary(self) -> dict[str, Any]:
        """Means over the second half of the rounds since the last event; each provider's level and share."""
        columns = [name for name in self.rounds if name != "round"]
        return {
            "name": self.name,
            "regime": self.regime,
            "regime_at_first": self.regime_at_first,
            "seed": self.seed,
            "rounds": int(self.rounds["round"][-1]),
            "averaged_from_round": int(self.rounds["round"][self.late()][0]),
            "means": {name: defined(self.mean(name)) for name in columns},
            "providers": self.provider_means(),
            "convergence": self.reached.to_dict(),
            "folder": None if self.folder is None else str(self.folder),
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row per round."""
        import pandas as pd

        return pd.DataFrame(self.rounds)

    def __repr__(self) -> str:
        return (
            f"<Run {self.name} {self.regime} seed={self.seed}: {self.rounds['round'][-1]} rounds, "
            f"welfare {1000 * self.mean('welfare_usd'):.3f} USD per 1,000 queries>"
        )


def run(
    scenario: Path | str | dict[str, Any] | Scenario,
    *,
    seed: int | None = None,
    rounds: int | None = None,
    regime: str | None = None,
    out: Path | str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Play a scenario.

    seed, rounds, regime  instead of the scenario's
    out    folder that run folders go to; None keeps nothing on disk
    force  play again where a complete run of the same scenario and seed stands already
    Raises InputError for a bad scenario, before anything is written.
    """
    scenario = changed(load_scenario(scenario), seed=seed, rounds=rounds, regime__kind=regime)
    timeline = timeline_of(scenario)
    digest = fingerprint(scenario, timeline.markets)
    last_event = max(timeline.later, default=0)
    folder = None
    if out is not None:
        folder = folder_of(Path(out), scenario, digest)

    def result(tables: dict[str, dict[str, np.ndarray]], reached: Reached, *, reused: bool) -> Run:
        return Run(
            name=scenario.name,
            regime=timeline.last.regime.name,
            regime_at_first=scenario.regime.kind,
            seed=scenario.seed,
            fingerprint=digest,
            rounds=tables["rounds"],
            providers=tables["providers"],
            reached=reached,
            folder=folder,
            reused=reused,
            last_event=last_event,
        )

    if folder is not None and not force and _is_whole(folder):
        kept = {table: store.read_table(folder / f"{table}.parquet") for table in ("rounds", "providers")}
        return result(kept, store.read_json(folder / CONVERGENCE, Reached.from_dict), reused=True)
    started, clock = datetime.now(UTC), time.perf_counter()
    model = MarketModel.from_parts(timeline.first, timeline.later)
    for done in range(scenario.rounds):
        model.step()
        if progress is not None:
            progress(done + 1, scenario.rounds)
    tables = model.recorder.tables()
    reached = reached_since(timeline, model.parts, model.recorder.actions(), tables["rounds"])
    if folder is not None:
        write_run(folder, scenario, timeline, tables, reached, started, time.perf_counter() - clock)
    return result(tables, reached, reused=False)


def folder_of(out: Path, scenario: Scenario, digest: str) -> Path:
    """Where a run is kept; digest: the fingerprint of its resolved scenario."""
    return out / scenario.name / f"{scenario.regime.kind}-seed{scenario.seed}-{digest}"


def write_run(
    folder: Path,
    scenario: Scenario,
    timeline: Timeline,
    tables: Mapping[str, Mapping[str, Array]],
    reached: Reached,
    started: datetime,
    wall_time_s: float,
) -> None:
    """Put a run folder in place, whole or not at all (docs/formats.md).

    tables  columns of rounds and providers, and of requests where they were kept
    Raises InputError where it cannot be written.
    """
    end = timeline.last
    manifest = {
        "scenario": scenario.name,
        "regime": end.regime.name,
        "regime_at_first": scenario.regime.kind,
        "last_event": max(timeline.later, default=0),
        "seed": scenario.seed,
        "versions": store.versions(),
        "git_commit": store.git_commit(),
        "started": started.isoformat(timespec="seconds"),
        "optimum_kind": end.regime.best_welfare(end.regime, end.open_market, 0, end.askers[0])[1],
        "wall_time_s": round(wall_time_s, 3),
        "rows": {table: len(columns["round"]) for table, columns in tables.items()},
        "complete": True,
    }

    def write(draft: Path) -> None:
        text = to_toml(resolved(scenario, timeline.first.market))
        (draft / "scenario.toml").write_text(text, encoding="utf-8")
        for table, columns in tables.items():
            store.write_table(draft / f"{table}.parquet", columns)
        store.write_json(draft / CONVERGENCE, reached.to_dict())
        store.write_json(draft / store.MANIFEST, manifest)

    store.write_folder(folder, write)


def load_run(folder: Path | str) -> Run:
    """A run from its folder.  Raises InputError where no complete run stands."""
    folder = Path(folder)
    manifest = store.manifest_of(folder)
    if manifest is None or not _is_whole(folder):
        raise InputError(f"{folder}: is not a complete run")
    tables = {table: store.read_table(folder / f"{table}.parquet") for table in ("rounds", "providers")}
    return Run(
        name=manifest["scenario"],
        regime=manifest["regime"],
        regime_at_first=manifest["regime_at_first"],
        seed=manifest["seed"],
        fingerprint=folder.name.rsplit("-", 1)[-1],
        rounds=tables["rounds"],
        providers=tables["providers"],
        reached=store.read_json(folder / CONVERGENCE, Reached.from_dict),
        folder=folder,
        reused=True,
        last_event=manifest["last_event"],
    )


def _is_whole(folder: Path) -> bool:
    """Whether a run stands there, one of this version: earlier ones did not measure convergence."""
    return store.manifest_of(folder) is not None and (folder / CONVERGENCE).exists()

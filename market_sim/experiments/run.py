"""One run of a scenario: rows, and the folder that keeps them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.market import Market, check_decisive
from market_sim.errors import InputError
from market_sim.experiments import store
from market_sim.experiments.build import (
    fingerprint,
    market_of,
    regime_of,
    resolved,
    rules_of,
    start_levels_of,
    to_toml,
    users_of,
)
from market_sim.experiments.scenario import Scenario, changed, load_scenario
from market_sim.simulation.model import MarketModel
from market_sim.simulation.round import TASK, Parts

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int], None]
"""Called with rounds done and rounds in all."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """A finished run.

    fingerprint        of the resolved scenario
    rounds, providers  columns of rounds.parquet and providers.parquet (docs/formats.md)
    folder             where it was kept; None where it was not
    reused             whether the rows were read from an earlier run of the same scenario and seed
    """

    name: str
    regime: str
    seed: int
    fingerprint: str
    rounds: dict[str, np.ndarray]
    providers: dict[str, np.ndarray]
    folder: Path | None
    reused: bool

    def late(self) -> slice:
        """The second half of the rounds, which summaries average over."""
        n = len(self.rounds["round"])
        return slice(min(n - 1, 1 + (n - 1) // 2), n)

    def mean(self, column: str) -> float:
        """Mean of a column of rounds over the second half, leaving out rounds where it is undefined."""
        values = self.rounds[column][self.late()]
        defined = values[~np.isnan(values)]
        return float(defined.mean()) if len(defined) else float("nan")

    def provider_means(self) -> dict[str, dict[str, float]]:
        """Each provider's last compute level, and its mean share over the second half of the rounds."""
        late = self.providers["round"] >= self.rounds["round"][self.late()][0]
        found = {}
        for name in dict.fromkeys(self.providers["provider"].tolist()):
            own = late & (self.providers["provider"] == name)
            found[name] = {
                "compute_level": float(self.providers["compute_level"][own][-1]),
                "share": float(self.providers["share"][own].mean()),
            }
        return found

    def summary(self) -> dict[str, Any]:
        """Means over the second half of the rounds, and each provider's level and share."""
        columns = [name for name in self.rounds if name != "round"]
        return {
            "name": self.name,
            "regime": self.regime,
            "seed": self.seed,
            "rounds": int(self.rounds["round"][-1]),
            "averaged_from_round": int(self.rounds["round"][self.late()][0]),
            "means": {name: defined(self.mean(name)) for name in columns},
            "providers": self.provider_means(),
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


def parts_of(scenario: Scenario, market: Market | None = None) -> Parts:
    """What the scenario's rounds are played with."""
    users = scenario.users
    if scenario.output.requests and (users.demand == "expected" or users.segments is not None):
        what = 'users.demand = "expected"' if users.demand == "expected" else "users.segments"
        raise InputError(
            f"{scenario.where}: output.requests keeps a row per request, and {what} has none of its own"
        )
    market = market_of(scenario) if market is None else market
    population = users_of(scenario)
    check_decisive(market, population.beta, population.value_scale, scenario.where)
    regime = regime_of(scenario, market, population)
    return Parts(
        market=market,
        users=population,
        regime=regime,
        rules=rules_of(scenario, market, regime),
        activation=scenario.providers.activation,
        demand=scenario.users.demand,
        seed=scenario.seed,
        start_levels=start_levels_of(scenario, market),
        metrics_every=scenario.output.metrics_every,
        keep_requests=scenario.output.requests,
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
    market = market_of(scenario)
    parts = parts_of(scenario, market)
    digest = fingerprint(scenario, market)
    folder = None
    if out is not None:
        folder = Path(out) / scenario.name / f"{scenario.regime.kind}-seed{scenario.seed}-{digest}"

    def result(tables: dict[str, dict[str, np.ndarray]], *, reused: bool) -> Run:
        return Run(
            name=scenario.name,
            regime=scenario.regime.kind,
            seed=scenario.seed,
            fingerprint=digest,
            rounds=tables["rounds"],
            providers=tables["providers"],
            folder=folder,
            reused=reused,
        )

    if folder is not None and not force and store.manifest_of(folder) is not None:
        kept = {table: store.read_table(folder / f"{table}.parquet") for table in ("rounds", "providers")}
        return result(kept, reused=True)
    started, clock = datetime.now(UTC), time.perf_counter()
    model = MarketModel.from_parts(parts)
    for done in range(scenario.rounds):
        model.step()
        if progress is not None:
            progress(done + 1, scenario.rounds)
    tables = {"rounds": model.recorder.rounds(), "providers": model.recorder.providers()}
    if scenario.output.requests:
        tables["requests"] = model.recorder.requests()

    if folder is not None:
        manifest = {
            "scenario": scenario.name,
            "regime": scenario.regime.kind,
            "seed": scenario.seed,
            "versions": store.versions(),
            "git_commit": store.git_commit(),
            "started": started.isoformat(timespec="seconds"),
            "optimum_kind": parts.regime.best_welfare(parts.regime, market, TASK, parts.users)[1],
            "wall_time_s": round(time.perf_counter() - clock, 3),
            "rows": {table: len(columns["round"]) for table, columns in tables.items()},
            "complete": True,
        }

        def write(draft: Path) -> None:
            (draft / "scenario.toml").write_text(to_toml(resolved(scenario, market)), encoding="utf-8")
            for table, columns in tables.items():
                store.write_table(draft / f"{table}.parquet", columns)
            store.write_json(draft / store.MANIFEST, manifest)

        store.write_folder(folder, write)
    return result(tables, reused=False)


def defined(value: float) -> float | None:
    """None, which JSON has, for what is undefined or infinite."""
    return value if np.isfinite(value) else None

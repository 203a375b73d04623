"""Column buffers for what rounds leave behind: the model's own rows, written to Parquet by the runner."""

from dataclasses import fields

import numpy as np

from market_sim.simulation.round import ProviderRows, Record, RequestRows, RoundRow
from market_sim.theory.arrays import Array

ROUND_COLUMNS = tuple(field.name for field in fields(RoundRow))
PROVIDER_COLUMNS = tuple(field.name for field in fields(ProviderRows))
REQUEST_COLUMNS = tuple(field.name for field in fields(RequestRows))


class Recorder:
    """Keeps every record of a run by column; `tables()` gives them."""

    def __init__(self, tasks: tuple[str, ...], providers: tuple[str, ...]) -> None:
        self._tasks = np.array(tasks)
        self._names = np.array(providers)
        self._actions: list[Array] = []
        self._rows: list[RoundRow] = []
        self._providers: list[ProviderRows] = []
        self._requests: list[tuple[int, RequestRows]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, record: Record) -> None:
        self._actions.append(record.actions)
        self._rows.append(record.row)
        self._providers.append(record.providers)
        if record.requests is not None:
            self._requests.append((record.row.round, record.requests))

    def actions(self) -> Array:
        """What each provider stood at, (rounds, T, N)."""
        return np.stack(self._actions)

    def tables(self) -> dict[str, dict[str, Array]]:
        """rounds and providers, and requests where they were kept."""
        kept = {"requests": self.requests()} if self._requests else {}
        return {"rounds": self.rounds(), "providers": self.providers()} | kept

    def rounds(self) -> dict[str, Array]:
        """One row per round."""
        return {name: np.array([getattr(row, name) for row in self._rows]) for name in ROUND_COLUMNS}

    def providers(self) -> dict[str, Array]:
        """One row per round, task and provider."""
        tasks, names, rounds = self._tasks, self._names, np.array([row.round for row in self._rows])
        head = {
            "round": np.repeat(rounds, len(tasks) * len(names)),
            "benchmark": np.tile(np.repeat(tasks, len(names)), len(rounds)),
            "provider": np.tile(names, len(rounds) * len(tasks)),
        }
        return head | {
            name: np.concatenate([getattr(rows, name).ravel() for rows in self._providers])
            for name in PROVIDER_COLUMNS
        }

    def requests(self) -> dict[str, Array]:
        """One row per served request, where they were kept."""
        body = {
            name: np.concatenate([getattr(rows, name) for _, rows in self._requests])
            for name in REQUEST_COLUMNS
        }
        head = {
            "round": np.concatenate([np.full(len(rows.user), t) for t, rows in self._requests]),
            "benchmark": self._tasks[body.pop("task")],
        }
        return head | body | {"provider": self._names[body["provider"]]}

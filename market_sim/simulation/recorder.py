"""Column buffers for what rounds leave behind: the model's own rows, written to Parquet by the runner."""

from dataclasses import fields

import numpy as np

from market_sim.simulation.round import ProviderRows, Record, RequestRows, RoundRow
from market_sim.theory.arrays import Array

ROUND_COLUMNS = tuple(field.name for field in fields(RoundRow))
PROVIDER_COLUMNS = tuple(field.name for field in fields(ProviderRows))
REQUEST_COLUMNS = tuple(field.name for field in fields(RequestRows))


class Recorder:
    """Keeps every record of a run by column; `rounds()`, `providers()` and `requests()` give the tables."""

    def __init__(self, benchmark: str, providers: tuple[str, ...]) -> None:
        self._benchmark = benchmark
        self._names = providers
        self._rows: list[RoundRow] = []
        self._providers: list[ProviderRows] = []
        self._requests: list[tuple[int, RequestRows]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, record: Record) -> None:
        self._rows.append(record.row)
        self._providers.append(record.providers)
        if record.requests is not None:
            self._requests.append((record.row.round, record.requests))

    def rounds(self) -> dict[str, Array]:
        """One row per round."""
        return {name: np.array([getattr(row, name) for row in self._rows]) for name in ROUND_COLUMNS}

    def providers(self) -> dict[str, Array]:
        """One row per round and provider."""
        n, rounds = len(self._names), np.array([row.round for row in self._rows])
        head = {
            "round": np.repeat(rounds, n),
            "benchmark": np.full(n * len(rounds), self._benchmark),
            "provider": np.tile(np.array(self._names), len(rounds)),
        }
        return head | {
            name: np.concatenate([getattr(rows, name) for rows in self._providers])
            for name in PROVIDER_COLUMNS
        }

    def requests(self) -> dict[str, Array]:
        """One row per served request, where they were kept."""
        head = {"round": np.concatenate([np.full(len(rows.user), t) for t, rows in self._requests])}
        body = {
            name: np.concatenate([getattr(rows, name) for _, rows in self._requests])
            for name in REQUEST_COLUMNS
        }
        return head | body | {"provider": np.array(self._names)[body["provider"]]}

"""A run that is kept on disk while it is played, whole, however long it goes on.

Rows are gathered in a folder beside the run folders and written every CHUNK rounds, so memory does not grow
with them; at the end they are put together into a run folder like any other (docs/formats.md).
"""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments import store
from market_sim.experiments.build import fingerprint
from market_sim.experiments.play import reached_since
from market_sim.experiments.run import folder_of, write_run
from market_sim.experiments.scenario import Scenario
from market_sim.experiments.timeline import timeline_of
from market_sim.simulation.parts import Parts
from market_sim.simulation.recorder import Recorder
from market_sim.simulation.round import Record

CHUNK = 500
"""Rounds that are in memory at most before they are written."""

TABLES = ("rounds", "providers", "requests")


class RunningLog:
    """The rows of one run, as they come."""

    def __init__(self, out: Path, tasks: tuple[str, ...], providers: tuple[str, ...]) -> None:
        """out: where run folders go.  Raises InputError where it cannot be written."""
        self._out, self._tasks, self._providers = out, tasks, providers
        self._recorder = Recorder(tasks, providers)
        self._chunks = self._written = 0
        self._started, self._clock = datetime.now(UTC), time.perf_counter()
        self._folder = out / f".playing-{uuid4().hex}"
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"{out}: cannot be written: {error.strerror}") from None

    def __len__(self) -> int:
        """Rows of rounds, row 0 among them."""
        return self._written + len(self._recorder)

    def add(self, record: Record) -> None:
        """One more round.  Raises InputError where the disk is full or gone."""
        self._recorder.add(record)
        if len(self._recorder) >= CHUNK:  # or more, where the disk was full
            self._flush()

    def _flush(self) -> None:
        try:
            for name, columns in self._recorder.tables().items():
                store.write_table(self._part(self._chunks, name), columns)
            np.save(self._actions(self._chunks), self._recorder.actions())
        except OSError as error:
            raise InputError(f"{self._folder}: cannot be written: {error.strerror}") from None
        self._chunks += 1
        self._written += len(self._recorder)
        self._recorder = Recorder(self._tasks, self._providers)

    def _part(self, chunk: int, table: str) -> Path:
        return self._folder / f"{table}-{chunk:06d}.parquet"

    def _actions(self, chunk: int) -> Path:
        return self._folder / f"actions-{chunk:06d}.npy"

    def finish(self, scenario: Scenario, parts: Parts) -> Path:
        """Put the run folder together; parts: those of the last round.

        Raises InputError where it cannot be written; the rows stay where they are.
        """
        if len(self._recorder):
            self._flush()
        tables = {}
        for name in TABLES:
            files = [self._part(chunk, name) for chunk in range(self._chunks)]
            chunks = [store.read_table(file) for file in files if file.exists()]
            if chunks:
                tables[name] = {key: np.concatenate([each[key] for each in chunks]) for key in chunks[0]}
        actions = np.concatenate([np.load(self._actions(chunk)) for chunk in range(self._chunks)])
        timeline = timeline_of(scenario)
        reached = reached_since(timeline, parts, actions, tables["rounds"])
        folder = folder_of(self._out, scenario, fingerprint(scenario, timeline.markets))
        seconds = time.perf_counter() - self._clock
        try:
            write_run(folder, scenario, timeline, tables, reached, self._started, seconds)
        except InputError as error:
            raise InputError(f"{error}; every round is in {self._folder}") from None
        self.discard()
        return folder

    def discard(self) -> None:
        """Forget all of it."""
        shutil.rmtree(self._folder, ignore_errors=True)

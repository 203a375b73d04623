"""The folder of a sweep: batches of rows as they come, and the table when all are there (docs/formats.md).

A batch is written under another name, brought to the disk and renamed: it is whole or not there, whatever
happens.  What has been done is what stands in batches, nothing else; so a sweep can be killed at any moment
and continued by another process.  One process works on a folder at a time; the lock is the kernel's and
ends with the process that holds it.
"""

import io
import json
import os
import socket
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tomli_w

from market_sim.errors import InputError
from market_sim.experiments.store import MANIFEST, code_digest, git_commit, versions
from market_sim.experiments.sweep import Sweep
from market_sim.experiments.sweep_axes import Axis
from market_sim.experiments.sweep_work import MEASURES, ROUND_MEASURES, Row
from market_sim.theory.arrays import Array

SWEEP_FILE = "sweep.toml"
TABLE = "table.parquet"
ROUNDS = "rounds.parquet"
LOCK = "lock"

RUNS_AT_ONCE = 20_000
"""Runs of which rows are in memory while the table is put together."""


class SweepFolder:
    """One sweep's folder, for whoever holds its lock."""

    def __init__(self, sweep: Sweep, path: Path) -> None:
        self.sweep, self.path = sweep, path
        self.schema = schema_of(sweep)
        self.rounds_schema = pa.schema(
            [("point", pa.int64()), ("replicate", pa.int64()), ("round", pa.int64())]
            + [(name, pa.float64()) for name in ROUND_MEASURES]
        )
        self.done = np.zeros(sweep.n_runs, dtype=bool)
        self.n_done = self.failed = self.timed_out = 0
        self._first_wrong: tuple[int, str] | None = None
        self._next = 1
        self._rows: list[Row] = []
        self._rounds: list[pa.Table] = []

    def begin(self) -> None:
        """Make the folder where it is new."""
        with _sentences(self.path, self._kept):
            (self.path / "batches").mkdir(parents=True, exist_ok=True)
            if self.sweep.keep_rounds:
                (self.path / "rounds").mkdir(exist_ok=True)
            if not (self.path / SWEEP_FILE).exists():
                write_whole(self.path / SWEEP_FILE, tomli_w.dumps(self.sweep.written).encode())
            if manifest_in(self.path) is None:
                self.write_manifest(complete=False)

    def tidy(self) -> None:
        """Remove what was being written when the last process ended."""
        for folder in ("batches", "rounds", "."):
            for draft in (self.path / folder).glob(".*.tmp"):
                draft.unlink()

    def read(self) -> None:
        """Find out what has been done."""
        for batch in self.batches():
            keys = _read(batch, columns=["point", "replicate", "status", "error"])
            self.done[self._places(keys)] = True
            self.n_done += len(keys)
            self._note_wrong(keys.filter(pc.not_equal(keys["status"], "ok")).to_pylist())
            self._next = max(self._next, int(batch.stem) + 1)

    def forget_failed(self) -> None:
        """Forget runs that went wrong, so that they are to be done again."""
        with _sentences(self.path, self._kept):
            self.write_manifest(complete=False)
            for table in (TABLE, ROUNDS):
                (self.path / table).unlink(missing_ok=True)
            for batch in self.batches():
                rows = _read(batch)
                good = rows.filter(pc.equal(rows["status"], "ok"))
                if len(good) < len(rows):
                    write_whole(batch, _parquet(good))

    def batches(self) -> list[Path]:
        """The batches, oldest first."""
        return sorted((self.path / "batches").glob("[0-9]*.parquet"))

    def add(self, rows: Sequence[Row], rounds: Sequence[dict[str, Array] | None]) -> None:
        """Rows that are done; `flush` writes them."""
        self._rows += rows
        self.n_done += len(rows)
        self._note_wrong([row for row in rows if row["status"] != "ok"])
        for row, table in zip(rows, rounds, strict=False):
            if table is not None:
                self._rounds.append(self._rounds_of(row, table))

    @property
    def first_error(self) -> str | None:
        """Of the first run, in the table's order, of those that went wrong so far."""
        return None if self._first_wrong is None else self.sweep.describe_error(*self._first_wrong)

    @property
    def waiting(self) -> int:
        """Rows that have been added and not been written yet."""
        return len(self._rows)

    def flush(self) -> None:
        """One batch of all that has been added.  Raises InputError where the disk is full or gone."""
        if not self._rows:
            return
        table = self._table_of(self._rows)
        name = f"{self._next:06d}.parquet"
        with _sentences(self.path, self._kept):
            if self.sweep.keep_rounds:  # before the batch, which says that the runs are done
                kept = pa.concat_tables([self.rounds_schema.empty_table(), *self._rounds])
                write_whole(self.path / "rounds" / name, _parquet(kept))
            write_whole(self.path / "batches" / name, _parquet(table))
        self.done[self._places(table)] = True
        self._next += 1
        self._rows, self._rounds = [], []

    def finish(self, wall_time_s: float) -> Path:
        """Put the table together from the batches, sorted by point and replicate, and say it is complete."""
        with _sentences(self.path, self._kept):
            self._merge("batches", TABLE, self.schema, RUNS_AT_ONCE)
            if self.sweep.keep_rounds:
                self._merge("rounds", ROUNDS, self.rounds_schema, RUNS_AT_ONCE // 100)
            self.write_manifest(complete=True, wall_time_s=wall_time_s)
        return self.path / TABLE

    def write_manifest(self, *, complete: bool, wall_time_s: float = 0.0) -> None:
        """What the folder is; `wall_time_s` is that of this process, added to those before it."""
        sweep, before = self.sweep, manifest_in(self.path) or {}
        manifest = {
            "sweep": sweep.name,
            "kind": sweep.kind,
            "points": sweep.n_points,
            "replicates": sweep.seeds,
            "runs": sweep.n_runs,
            "axes": [axis.name for axis in sweep.axes],
            "done": self.n_done,
            "failed": self.failed,
            "timed_out": self.timed_out,
            "fingerprint": sweep.digest,
            "files": sweep.files,
            "versions": versions(),
            "code": code_digest(),
            "git_commit": git_commit(),
            "started": before.get("started") or datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_time_s": round(before.get("wall_time_s", 0.0) + wall_time_s, 3),
            "complete": complete,
        }
        write_whole(self.path / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())

    def _kept(self) -> str:
        done = int(self.done.sum())
        return f"{done:,} of {self.sweep.n_runs:,} runs are kept, and --resume goes on from there"

    def _note_wrong(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.failed += row["status"] == "failed"
            self.timed_out += row["status"] == "timed out"
            wrong = (row["point"] * self.sweep.seeds + row["replicate"], row["error"])
            self._first_wrong = min(self._first_wrong or wrong, wrong)

    def _places(self, keys: pa.Table) -> Array:
        """The number of each run, point by point."""
        point, replicate = (keys.column(name).to_numpy() for name in ("point", "replicate"))
        return point * self.sweep.seeds + replicate

    def _table_of(self, rows: Sequence[Row]) -> pa.Table:
        columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in self.schema.names}
        for axis in self.sweep.axes:
            type_ = self.schema.field(axis.name).type
            columns[axis.name] = [_cell(axis.at(row["point"]), type_) for row in rows]
        return pa.table(columns, schema=self.schema)

    def _rounds_of(self, row: Row, table: Mapping[str, Array]) -> pa.Table:
        n = len(table["round"])
        head = {"point": np.full(n, row["point"]), "replicate": np.full(n, row["replicate"])}
        return pa.table(
            {name: pa.array((head | dict(table))[name]) for name in self.rounds_schema.names},
            schema=self.rounds_schema,
        )

    def _merge(self, parts: str, whole: str, schema: pa.Schema, at_once: int) -> None:
        """One sorted file from many, `at_once` runs in memory at a time."""
        files = [self.path / parts / batch.name for batch in self.batches()]
        reach = []
        for file in files:
            places = self._places(_read(file, columns=["point", "replicate"]))
            reach.append((places.min(), places.max()) if len(places) else (0, -1))
        draft = self.path / f".{whole}.tmp"
        with _removed_unless_renamed(draft, self.path / whole), pq.ParquetWriter(draft, schema) as writer:
            for start in range(0, self.sweep.n_runs, at_once):
                stop = start + at_once
                found = [schema.empty_table()]
                for file, (low, high) in zip(files, reach, strict=True):
                    if low < stop and high >= start:
                        table = _read(file)
                        places = self._places(table)
                        found.append(table.filter(pa.array((places >= start) & (places < stop))))
                rows = pa.concat_tables(found)
                keys = [(name, "ascending") for name in ("point", "replicate")]
                keys += [("round", "ascending")] if parts == "rounds" else []
                rows = rows.take(pc.sort_indices(rows, sort_keys=keys)).combine_chunks()
                writer.write_table(rows, row_group_size=max(len(rows), 1))


def schema_of(sweep: Sweep) -> pa.Schema:
    """The columns of the table, each with its type, known before anything runs."""
    of = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    fields = [("point", pa.int64()), ("replicate", pa.int64()), ("seed", pa.int64())]
    fields += [(axis.name, _type_of(axis)) for axis in sweep.axes]
    fields += [("status", pa.string()), ("error", pa.string())]
    taken = {name for name, _ in fields}
    return pa.schema(fields + [(k, of[v]) for k, v in MEASURES[sweep.kind].items() if k not in taken])


def _type_of(axis: Axis) -> pa.DataType:
    """Numbers, truths and texts as such; anything else, and a mixture, as JSON text."""
    kinds = {type(value) for value in axis.values}
    for allowed, type_ in (({bool}, pa.bool_()), ({int}, pa.int64()), ({int, float}, pa.float64())):
        if kinds <= allowed:
            return type_
    return pa.string()


def _cell(value: Any, type_: pa.DataType) -> Any:
    if value is None:
        return None
    if type_ == pa.string():
        return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return float(value) if type_ == pa.float64() else value


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only process that works on a folder.  Raises InputError where another does.

    The lock is the kernel's (flock): it ends with the process, however that ends.
    """
    import fcntl

    with _sentences(path, lambda: "nothing has been done"):
        path.mkdir(parents=True, exist_ok=True)
        handle = (path / LOCK).open("a+", encoding="utf-8")
    with handle:
        for attempt in range(3):  # a look at the state of the sweep holds the lock for a moment
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if attempt == 2:
                    raise busy(path) from None
                time.sleep(0.1)
            else:
                break
        with suppress(OSError):  # who it is helps people and nothing else: a full disk is found out later
            handle.truncate(0)  # written past the buffer, which would be tried again when the file is closed
            os.write(handle.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield


def busy(path: Path) -> InputError:
    """The error for a folder that another process works on."""
    who = ""
    with suppress(OSError):
        who = (path / LOCK).read_text(encoding="utf-8").strip()
    return InputError(
        f"{path}: another sweep is at work there{f' ({who})' if who else ''}; wait for it, or end it"
    )


def at_work(path: Path) -> bool:
    """Whether a process holds the lock of a folder."""
    import fcntl

    try:
        with (path / LOCK).open("a+", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def manifest_in(path: Path) -> dict[str, Any] | None:
    """The manifest of a sweep folder, complete or not; None where there is none."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "sweep" in manifest else None


def what_changed(sweep: Sweep, path: Path) -> list[str]:
    """What differs between a sweep and the one a folder was begun with: "key: was ..., is ..."."""
    try:
        before = tomllib.loads((path / SWEEP_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [f"{SWEEP_FILE} cannot be read"]
    manifest = manifest_in(path) or {}
    pairs = [
        (_leaves(before), _leaves(json.loads(json.dumps(sweep.written)))),
        (manifest.get("files", {}), sweep.files),
        (manifest.get("versions", {}), versions()),
        ({"code of market-sim": manifest.get("code", "")}, {"code of market-sim": code_digest()}),
    ]
    said = []
    for number, (old, new) in enumerate(pairs):
        for key in sorted(old.keys() | new.keys()):
            was, is_ = old.get(key, "not there"), new.get(key, "not there")
            if was != is_:
                said.append(f"{key} has another content" if number == 1 else f"{key}: was {was}, is {is_}")
    return said


def _leaves(data: Any, name: str = "") -> dict[str, str]:
    """Every value of nested tables by its dotted name, lists whole."""
    if not isinstance(data, dict):
        return {name: json.dumps(data)}
    found: dict[str, str] = {}
    for key, value in data.items():
        found |= _leaves(value, f"{name}.{key}" if name else key)
    return found


def write_whole(path: Path, content: bytes) -> None:
    """A file that is whole or not there, even if the power fails."""
    draft = path.with_name(f".{path.name}.tmp")
    try:
        with draft.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        draft.rename(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _settle(path.parent)


@contextmanager
def _removed_unless_renamed(draft: Path, path: Path) -> Iterator[None]:
    """Put a draft in place when it has been written; leave nothing of it where that failed."""
    try:
        yield
        with draft.open("rb") as handle:
            os.fsync(handle.fileno())
        draft.rename(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have nothing to do here and say so
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _sentences(path: Path, kept: Callable[[], str]) -> Iterator[None]:
    """An error of the disk as one sentence, with what was kept."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}; {kept()}") from None


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowInvalid):
        raise InputError(f"{path}: cannot be read; remove it, and --resume does its runs again") from None

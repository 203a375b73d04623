"""Run folders: whole or not there at all.

A folder is written under a temporary name and renamed when everything is in it; one without a manifest
that says complete = true is not a result (docs/formats.md).
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
COMPARISON = "comparison.json"
SWEEP = "sweep.toml"
PACKAGES = ("market-sim", "mesa", "numpy", "pyarrow")


def write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a folder and put it in place at once, instead of what stood there.

    Raises InputError where the place cannot be written; nothing half-written is left.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        aside = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        write(draft)
        if folder.exists():  # set aside rather than removed, so that one of the two stands at any moment
            folder.rename(aside)
        draft.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if aside.exists() and not folder.exists():  # the second rename failed
            aside.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)


def write_table(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """One Parquet file; the same columns give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: pa.array(column) for name, column in columns.items()}), path)


def read_table(path: Path) -> dict[str, np.ndarray]:
    """The columns of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid):
        raise InputError(f"{path}: cannot be read; --force plays the run again") from None
    return {name: table.column(name).to_numpy() for name in table.column_names}


def write_text(path: Path, text: str) -> None:
    """A text file, whole or not at all.  Raises InputError where the place cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8", newline="\n")
        os.replace(draft, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json[T](path: Path, made_from: Callable[[dict[str, Any]], T]) -> T:
    """What a JSON file holds, made into what it stands for."""
    try:
        return made_from(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{path}: cannot be read; --force plays the run again") from None


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest of a complete folder; None where there is none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("complete") is True else None


def complete_folders(root: Path) -> list[Path]:
    """Every complete run below a folder, in the order of their names."""
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder of runs")
    found = (path.parent for path in root.rglob(MANIFEST))
    return sorted(path for path in found if "scenario" in (manifest_of(path) or {}))


def load(path: Path | str) -> "pd.DataFrame":
    """What a folder holds as one tidy frame.

    a run         its rounds, with columns scenario, regime and seed before them
    a comparison  the rounds of its runs, one under another, with the same columns
    a sweep       one row per run (docs/formats.md); of one that is not whole, those that are done

    A comparison is the folder that `compare` writes its figures to, or any other with runs below it.
    Raises InputError for anything else.
    """
    import pandas as pd

    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    if (folder / SWEEP).exists():
        return _load_sweep(folder)
    if manifest_of(folder) is not None:
        return load_rounds(folder)
    runs = _compared(folder) if (folder / COMPARISON).exists() else complete_folders(folder)
    if not runs:
        raise InputError(f"{folder}: holds no complete run, no comparison and no sweep")
    return pd.concat([load_rounds(run) for run in runs], ignore_index=True)


def _load_sweep(folder: Path) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, batches = folder / "table.parquet", sorted((folder / "batches").glob("[0-9]*.parquet"))
    files = [table] if table.exists() else batches
    if not files:
        raise InputError(f"{folder}: nothing of this sweep is done yet")
    try:
        frame = pa.concat_tables([pq.read_table(file) for file in files]).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{folder}: cannot be read: {error}") from None
    return pd.DataFrame(frame).sort_values(["point", "replicate"], ignore_index=True)


def _compared(folder: Path) -> list[Path]:
    """The runs of a comparison, which stand beside it."""
    names = read_json(folder / COMPARISON, lambda data: [str(name) for name in data["runs"]])
    return [folder.parent / name for name in names]


def load_rounds(folder: Path) -> "pd.DataFrame":
    """rounds.parquet of a complete run, with its regime and seed as columns."""
    import pandas as pd

    manifest = manifest_of(folder)
    if manifest is None:
        raise InputError(f"{folder}: is not a complete run")
    frame = pd.read_parquet(folder / "rounds.parquet")
    for position, key in enumerate(("scenario", "regime", "seed")):
        frame.insert(position, key, manifest[key])
    return frame


@cache
def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    return {name: version(name) for name in PACKAGES}


@cache
def code_digest() -> str:
    """Twelve hexadecimal digits of the package's own code, as far as results depend on it."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for floor in ("theory", "economy", "simulation", "experiments"):
        for path in sorted((root / floor).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def git_commit() -> str | None:
    """The commit of the checkout the package runs from; None outside one."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None

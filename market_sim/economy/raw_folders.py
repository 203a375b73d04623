"""Which files are raw evaluations: told by their names and their first lines, whole or broken.

A folder holds other files, too.  Those that are whole and something else are passed over; one that should be
raw evaluations by its name and cannot be read as such is a trouble, for a model must not be lost in silence.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from market_sim.economy.evaluations import FORMATS, Trouble
from market_sim.economy.raw_files import CutError, WatchedFile, lines_of
from market_sim.economy.raw_formats import format_of_line
from market_sim.economy.raw_tables import is_raw_table
from market_sim.errors import InputError

LINES, TABLES = (".jsonl", ".ndjson", ".json"), (".csv", ".parquet")
"""Ends of names of files that are looked at in a folder; .gz may follow (not after .parquet)."""

LOOKED_AT = 100
"""Lines read to find out what a file is."""

_RAW_NAME = re.compile(r"^samples_|--samples-\d", re.IGNORECASE)
"""Names of runs in the published format and of logs of lm-evaluation-harness."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a file is: in one of FORMATS, or broken for a reason, or (neither) whole and something else."""

    format: str | None = None
    broken: str | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The files of a request, each list in the order of names.

    files    to read; those of `named` were named themselves, the others stand in folders
    ignored  whole files of folders that are no raw evaluations, or of another format than the one asked for
    broken   what should be raw evaluations by its name and is not, and why
    """

    files: tuple[Path, ...]
    named: frozenset[Path]
    ignored: tuple[Path, ...]
    broken: tuple[Trouble, ...]


def raw_files(paths: Sequence[Path | str], format: str = "auto") -> Selection:
    """The files of raw evaluations among some files and below some folders.

    A folder stands for every file below it whose name ends like one of LINES or TABLES; a file that is named
    is always read.  format: one of FORMATS, or "auto" for all of them.
    Raises InputError for a folder that holds none.
    """
    named = frozenset(path for path in map(Path, paths) if not path.is_dir())
    files: dict[Path, None] = {}
    ignored: dict[Path, None] = {}
    broken: dict[Path, Trouble] = {}
    for path in map(Path, paths):
        if path in named:
            files[path] = None
            continue
        found = files_below(path)
        for file in found:
            look = look_at(file)
            if file in named or _is_wanted(file, look, format):
                files[file] = None
            elif look.broken is not None:
                broken[file] = Trouble(file=str(file), line=None, reason=look.broken)
            else:
                ignored[file] = None
        if not any(file in files for file in found):
            first = next((str(broken[file]) for file in found if file in broken), None)
            raise InputError(
                f"{path}: holds no raw evaluations; the formats are {', '.join(FORMATS)}"
                + (f" ({first})" if first else "")
            )
    return Selection(files=tuple(files), named=named, ignored=tuple(ignored), broken=tuple(broken.values()))


def _is_wanted(file: Path, look: Look, format: str) -> bool:
    if format == "auto" or look.format is not None:
        return look.format is not None and format in ("auto", look.format)
    # A format that is asked for is tried on lines of which nobody knows what they are.
    return format != "table" and kind_of(file) == "lines" and (_is_raw_name(file) or not _is_json(file))


def files_below(folder: Path) -> list[Path]:
    """The files below a folder that may be raw evaluations by their names, in the order of these."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and kind_of(file) is not None)


def kind_of(path: Path) -> str | None:
    """By a file's name: "lines", "table", or None for what is never raw evaluations."""
    name = path.name.casefold()
    if name.startswith(".") or name.endswith(".draws.parquet"):
        return None
    if name.endswith(TABLES) or _unpacked_name(path).endswith(".csv"):
        return "table"
    return "lines" if _unpacked_name(path).endswith(LINES) else None


def look_at(path: Path) -> Look:
    """What a file is, by its name and its first lines.  Raises InputError for one that cannot be opened."""
    with WatchedFile(path):  # one that cannot be opened is refused, one that cannot be read is broken
        if not path.stat().st_size:
            return Look(broken="is empty")
    if kind_of(path) != "table":
        return _look_at_lines(path)
    try:
        return Look(format="table" if is_raw_table(path) else None)
    except InputError as error:
        return Look(broken=str(error).removeprefix(f"{path}: "))


def _look_at_lines(path: Path) -> Look:
    n_json, begins = 0, b""
    try:
        with WatchedFile(path) as file:
            for number, line in enumerate(lines_of(path, file)):
                if number == LOOKED_AT:
                    break
                begins = begins or line.strip()[:1]
                data = _json_or_none(line)
                found = format_of_line(data)
                if found is not None:
                    return Look(format=found)
                n_json += data is not None
    except CutError as cut:
        return Look(broken=f"the compressed file breaks off before its first whole record: {cut}")
    if begins == b"[" and (_is_raw_name(path) or not _is_json(path)):
        return Look(broken="is one JSON array; wanted are JSON Lines, one object a line")
    if (not n_json and not _is_json(path)) or _is_raw_name(path):
        return Look(broken="has no line that is a record of raw evaluations")
    return Look()


def _json_or_none(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_raw_name(path: Path) -> bool:
    return _RAW_NAME.search(path.name) is not None


def _is_json(path: Path) -> bool:
    """Not JSON Lines: settings and results of all kinds."""
    return _unpacked_name(path).endswith(".json")


def _unpacked_name(path: Path) -> str:
    return path.name.casefold().removesuffix(".gz")

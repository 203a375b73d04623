"""Reading a file of raw evaluations, whatever its format: every usable question, and a list of the others."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from market_sim.economy.evaluations import FORMATS, Collected, RawFile
from market_sim.economy.raw_files import Advance, CutError, WatchedFile, is_gzip, lines_of, too_long
from market_sim.economy.raw_folders import look_at
from market_sim.economy.raw_formats import BrokenError, LmEvalChoice, OtherFilterError, Parser, parser_of
from market_sim.economy.raw_tables import read_raw_table
from market_sim.errors import InputError, named, not_one_of


def read_raw_file(
    path: Path | str,
    *,
    format: str = "auto",
    choice: LmEvalChoice | None = None,
    advance: Advance | None = None,
) -> RawFile:
    """Every usable question of a file, and a list of what could not be used.

    format   one of FORMATS, or "auto" to find out
    choice   what an lm-evaluation-harness log leaves open
    advance  told of every piece of the file that has been read
    A file without a usable question has no runs, and a last trouble that says so.
    Raises InputError for a file that is in none of the formats, and where `choice` does not suit it.
    """
    path = Path(path)
    if named("--format", format, ("auto", *FORMATS)) == "auto":
        look = look_at(path)
        if look.format is None:
            why = f"is no raw evaluation known here ({', '.join(FORMATS)}); --format reads it as one"
            raise InputError(f"{path}: {look.broken or why}")
        format = look.format
    if format == "table":
        return read_raw_table(path, advance)
    return _read_lines(path, format, choice or LmEvalChoice(), advance)


def _read_lines(path: Path, format: str, choice: LmEvalChoice, advance: Advance | None) -> RawFile:
    parse: Parser = parser_of(format, str(path), choice)
    collected = Collected(file=str(path))
    skipped: Counter[str] = Counter()
    n_lines, number = 0, 0
    with WatchedFile(path, advance) as file:
        try:
            for number, line in enumerate(lines_of(path, file), 1):
                if not line.strip():
                    continue
                n_lines += 1
                try:
                    collected.add(parse(_json(line)), number)
                except BrokenError as broken:
                    collected.note(number, str(broken))
                except OtherFilterError as other:
                    skipped[str(other)] += 1
        except CutError as cut:
            collected.note(number + 1, f"the compressed file breaks off: {cut}")
        sha256 = file.sha256()
        n_bytes = file.n_bytes
    if skipped and choice.filter is not None and not collected.n_seen:
        raise not_one_of(f"{path}: --filter", choice.filter, skipped)
    model, limit = (_lm_eval_model(path), None) if format == "lm_eval" else _published_name(path)
    run = collected.run(model, limit)
    return RawFile(
        path=str(path),
        format=format,
        sha256=sha256,
        n_bytes=n_bytes,
        n_lines=n_lines,
        runs=() if run is None else (run,),
        troubles=collected.troubles,
        skipped={f"of filter {name}": n for name, n in skipped.items()},
    )


def _json(line: bytes) -> Any:
    if wrong := too_long(line):
        raise BrokenError(wrong)
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        short = "" if line.endswith(b"\n") else "; the file ends within the line"
        raise BrokenError(f"is not JSON: {error.msg} at character {error.pos + 1}{short}") from None
    except UnicodeDecodeError:
        raise BrokenError("is not text in UTF-8") from None
    except (ValueError, RecursionError):
        raise BrokenError("is not JSON that can be read") from None


# --- Which model ------------------------------------------------------------------------------------

_SETTINGS = re.compile(r"--(?:temp|samples|ref|max)-[^-].*$")
_LIMIT = re.compile(r"--max-(\d+)$")


def _published_name(path: Path) -> tuple[str, float | None]:
    """Model and token limit from <model>--temp-<t>--samples-<n>--max-<tokens>.jsonl."""
    stem = stem_of(path)
    limit = _LIMIT.search(stem)
    return _SETTINGS.sub("", stem) or stem, None if limit is None else float(limit[1])


def _lm_eval_model(path: Path) -> str:
    """The model an lm-evaluation-harness log is of: its folder, less the part before `__`."""
    folder = path.resolve().parent.name
    return folder.split("__")[-1] if path.name.startswith("samples_") and folder else stem_of(path)


def stem_of(path: Path) -> str:
    """A file's name without its ends, .gz included."""
    name = path.name[:-3] if is_gzip(path) else path.name
    return name.rsplit(".", 1)[0] or name

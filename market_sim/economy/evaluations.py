"""Raw evaluations: what a model answered, sample by sample, read from files into flat arrays.

Three formats are read (docs/formats.md, "Raw evaluations"): the published one, lm-evaluation-harness'
`--log_samples`, and plain tables.  A line that cannot be used is listed with its file, number and reason, and
reading goes on; nothing is left out without being listed.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from market_sim.economy.raw_files import Advance, CutError, WatchedFile, lines_of
from market_sim.economy.raw_formats import (
    BrokenError,
    LmEvalChoice,
    OtherFilterError,
    Parser,
    Record,
    format_of_line,
    parser_of,
)
from market_sim.errors import InputError, not_one_of
from market_sim.theory.arrays import Array

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "published": "one JSON line per question with qid, explanations, correct, num_tokens, rewards",
        "lm_eval": "lm-evaluation-harness --log_samples: doc_id, target, resps, filtered_resps, a metric",
        "table": "CSV, Parquet: model, question, sample, correct, tokens, answer?, reward?, thinking_tokens?",
    }
)

LINES, TABLES = (".jsonl", ".ndjson", ".json"), (".csv", ".parquet")
"""Ends of names of files that are looked at in a folder; .gz may follow (not after .parquet)."""

LOOKED_AT = 100
"""Lines read to find out what a file is."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something wrong at one place of a file.

    line     counted from 1; None where it concerns no single line
    dropped  whether the line (or the question) was left out; otherwise it was used as the reason says
    """

    file: str
    line: int | None
    reason: str
    dropped: bool = True

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}: line {self.line}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluations:
    """One model's samples of Q questions, S of each, on one benchmark.

    correct      (Q, S) bool
    tokens       (Q, S) tokens of each sample, in all
    answers      (Q, S) whole numbers, equal where a question's answers are; UNPARSED: none.  None: not told
    rewards      (Q, S) higher is better, NaN where null.  None: there are none
    thinking     (Q, S) tokens of thinking.  None: not told
    token_limit  samples that reach it were cut off; None where not known
    lines        (Q,) where each question stands in the file
    """

    model: str
    file: str
    questions: tuple[str, ...]
    lines: tuple[int, ...]
    correct: Array
    tokens: Array
    answers: Array | None = None
    rewards: Array | None = None
    thinking: Array | None = None
    token_limit: float | None = None

    @property
    def n_samples(self) -> int:
        return self.correct.shape[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class RawFile:
    """A file of raw evaluations, read.

    n_lines  lines (rows of a table) in it, blank ones not counted
    skipped  whole records left out on request, by reason
    """

    path: str
    format: str
    sha256: str
    n_bytes: int
    n_lines: int
    runs: tuple[Evaluations, ...]
    troubles: tuple[Trouble, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)


# --- Finding files ----------------------------------------------------------------------------------


def raw_files(paths: Sequence[Path | str]) -> tuple[list[Path], list[Path]]:
    """The files to read and those of folders that are not raw evaluations, each in order of their names.

    A folder stands for every file below it whose name ends like one of LINES or TABLES; a file that is named
    is always read.  Raises InputError where there is nothing to read.
    """
    wanted: dict[Path, None] = {}
    ignored: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            wanted[path] = None
            continue
        found = sorted(file for file in path.rglob("*") if file.is_file() and _kind(file) is not None)
        for file in found:
            (wanted if file in wanted or detect_format(file) is not None else ignored)[file] = None
        if not any(file in wanted for file in found):
            raise InputError(f"{path}: holds no raw evaluations; the formats are {', '.join(FORMATS)}")
    return list(wanted), list(ignored)


def _kind(path: Path) -> str | None:
    name = path.name.casefold()
    if name.startswith("."):
        return None
    if name.endswith(TABLES) or name.removesuffix(".gz").endswith(".csv"):
        return "table"
    return "lines" if name.removesuffix(".gz").endswith(LINES) else None


def detect_format(path: Path) -> str | None:
    """Which of FORMATS a file is in, by its name and its first lines; None where it is none of them.

    Raises InputError for a file that cannot be read.
    """
    if _kind(path) == "table":
        from market_sim.economy.raw_tables import is_raw_table

        return "table" if is_raw_table(path) else None
    with WatchedFile(path) as file:
        try:
            for number, line in enumerate(lines_of(path, file)):
                if number == LOOKED_AT:
                    return None
                try:
                    found = format_of_line(json.loads(line))
                except (ValueError, RecursionError):
                    continue
                if found is not None:
                    return found
        except CutError:
            pass
    return None


# --- Reading a file ---------------------------------------------------------------------------------


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
    Raises InputError for a file that is in none of the formats or has no usable question.
    """
    path = Path(path)
    if format == "auto":
        found = detect_format(path)
        if found is None:
            raise InputError(
                f"{path}: is no raw evaluation known here ({', '.join(FORMATS)}); --format reads it as one"
            )
        format = found
    if format not in FORMATS:
        raise not_one_of("--format", format, ("auto", *FORMATS))
    if format == "table":
        from market_sim.economy.raw_tables import read_raw_table

        return read_raw_table(path, advance)
    return _read_lines(path, format, parser_of(format, str(path), choice or LmEvalChoice()), advance)


def _read_lines(path: Path, format: str, parse: Parser, advance: Advance | None) -> RawFile:
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
                    skipped[f"of filter {other}"] += 1
        except CutError as cut:
            collected.note(number + 1, f"the compressed file breaks off: {cut}")
        sha256 = file.sha256()
        n_bytes = file.n_bytes
    model, limit = (_lm_eval_model(path), None) if format == "lm_eval" else _published_name(path)
    run = collected.run(model, limit)
    return RawFile(
        path=str(path),
        format=format,
        sha256=sha256,
        n_bytes=n_bytes,
        n_lines=n_lines,
        runs=(run,),
        troubles=collected.troubles,
        skipped=dict(skipped),
    )


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        short = "" if line.endswith(b"\n") else "; the file ends within the line"
        raise BrokenError(f"is not JSON: {error.msg} at character {error.pos + 1}{short}") from None
    except UnicodeDecodeError:
        raise BrokenError("is not text in UTF-8") from None
    except (ValueError, RecursionError):
        raise BrokenError("is not JSON that can be read") from None


_SETTINGS = re.compile(r"--(?:temp|samples|ref|max)-[^-].*$")
_LIMIT = re.compile(r"--max-(\d+)$")


def _published_name(path: Path) -> tuple[str, float | None]:
    """Model and token limit from <model>--temp-<t>--samples-<n>--max-<tokens>.jsonl."""
    stem = _stem(path)
    limit = _LIMIT.search(stem)
    return _SETTINGS.sub("", stem) or stem, None if limit is None else float(limit[1])


def _lm_eval_model(path: Path) -> str:
    """The model an lm-evaluation-harness log is of: its folder, less the part before `__`."""
    folder = path.resolve().parent.name
    return folder.split("__")[-1] if path.name.startswith("samples_") and folder else _stem(path)


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name.rsplit(".", 1)[0] or name


class Collected:
    """Questions of one model as they are read, made into arrays at the end."""

    def __init__(self, *, file: str) -> None:
        self._file = file
        self._records: dict[str, tuple[int, Record]] = {}
        self._troubles: list[Trouble] = []

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """In the order of their lines."""
        return tuple(sorted(self._troubles, key=lambda trouble: trouble.line or 0))

    def note(self, line: int | None, reason: str, *, dropped: bool = True) -> None:
        self._troubles.append(Trouble(file=self._file, line=line, reason=reason, dropped=dropped))

    def add(self, record: Record, line: int) -> None:
        if record.question in self._records:
            first = self._records[record.question][0]
            raise BrokenError(f"question {record.question!r} stands in line {first} already")
        self._records[record.question] = (line, record)

    def run(self, model: str, token_limit: float | None) -> Evaluations:
        """All that is alike: the commonest number of samples; the others are listed and left out."""
        self._keep_the_commonest(lambda r: len(r.correct), "has {0} samples, most questions have {1}")
        self._keep_the_commonest(
            lambda r: r.thinking is not None, "tells tokens of thinking: {0}; most questions: {1}"
        )
        self._keep_the_commonest(lambda r: r.answers is not None, "tells answers: {0}; most questions: {1}")
        if not self._records:
            reasons = f"; line {self.troubles[0].line}: {self.troubles[0].reason}" if self._troubles else ""
            raise InputError(f"{self._file}: has no usable question of {model}{reasons}")
        lines, records = zip(*self._records.values(), strict=True)
        return Evaluations(
            model=model,
            file=self._file,
            questions=tuple(self._records),
            lines=lines,
            correct=np.array([record.correct for record in records]),
            tokens=np.array([record.tokens for record in records]),
            answers=_stacked([record.answers for record in records]),
            rewards=self._rewards(),
            thinking=_stacked([record.thinking for record in records]),
            token_limit=token_limit,
        )

    def _keep_the_commonest(self, of: Callable[[Record], Any], reason: str) -> None:
        counts = Counter(of(record) for _, record in self._records.values())
        if len(counts) < 2:
            return
        commonest = max(counts, key=lambda value: (counts[value], value))
        for question, (line, record) in list(self._records.items()):
            if of(record) != commonest:
                said = reason.format(*(_word(value) for value in (of(record), commonest)))
                self.note(line, f"question {question!r} {said}")
                del self._records[question]

    def _rewards(self) -> Array | None:
        """Rewards, with every null listed; None where there are none at all."""
        every = [record.rewards for _, record in self._records.values()]
        if all(rewards is None or np.isnan(rewards).all() for rewards in every):
            return None
        size = len(next(rewards for rewards in every if rewards is not None))
        for (question, (line, _)), rewards in zip(self._records.items(), every, strict=True):
            n_null = size if rewards is None else int(np.isnan(rewards).sum())
            if n_null:
                self.note(
                    line,
                    f"question {question!r} has {n_null} null rewards of {size}: they rank below all others",
                    dropped=False,
                )
        return np.array([np.full(size, np.nan) if rewards is None else rewards for rewards in every])


def _stacked(arrays: Sequence[Array | None]) -> Array | None:
    present = [array for array in arrays if array is not None]
    return np.array(present) if present else None


def _word(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


# --- Several models ---------------------------------------------------------------------------------


def shared_questions(
    questions: Mapping[str, tuple[str, Sequence[str], Sequence[int]]],
) -> tuple[list[str], list[Trouble]]:
    """The questions that every model has, sorted, and a trouble for each that some model lacks.

    questions  by model: the file, its questions and their lines
    """
    shared = set.intersection(*(set(names) for _, names, _ in questions.values()))
    troubles = []
    for model, (file, names, lines) in questions.items():
        for name, line in zip(names, lines, strict=True):
            if name not in shared:
                lacking = [m for m, (_, theirs, _) in questions.items() if name not in set(theirs)]
                troubles.append(
                    Trouble(
                        file=file,
                        line=line,
                        reason=f"question {name!r} of {model} is missing or unusable for "
                        f"{_few(lacking)}, so it counts for nobody",
                    )
                )
    return sorted(shared), troubles


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"

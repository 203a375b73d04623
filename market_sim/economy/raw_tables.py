"""Raw evaluations as a plain table, CSV or Parquet: one row per sample.

    model, question, sample, correct, tokens [, answer] [, reward] [, thinking_tokens]

Read in pieces; of a piece only numbers are kept (docs/formats.md, "Raw evaluations").
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from market_sim.economy.answers import answer_key, numbered
from market_sim.economy.evaluations import Collected, RawFile
from market_sim.economy.quality import LARGEST
from market_sim.economy.raw_files import BUFFER, Advance, CutError, WatchedFile, lines_of, too_long
from market_sim.economy.raw_formats import Record
from market_sim.errors import InputError, nearest
from market_sim.theory.arrays import Array
from market_sim.theory.estimators import UNPARSED

REQUIRED = ("model", "question", "sample", "correct", "tokens")
OPTIONAL = ("answer", "reward", "thinking_tokens")

NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "None")
"""Cells that hold nothing."""

TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")

PIECE = 2**23
"""Bytes of a CSV file, or rows of a Parquet file divided by 64, that are worked on at once."""

READ_ERRORS = (pa.ArrowInvalid, pa.ArrowException, EOFError, OSError)

NEARLY = 3
"""Required columns from which on a table is taken for raw evaluations that lack the others."""


def is_raw_table(path: Path) -> bool:
    """Whether the header has the required columns.

    Raises InputError where it has some of them, and where it cannot be read.
    """
    names = _columns(path)
    there = {name.casefold() for name in names} & set(REQUIRED)
    if len(there) >= NEARLY or set(REQUIRED) <= set(re.split(r"[;\t|]", names[0])):
        _check_columns(path, names)
        return True
    return False


def _check_types(path: Path) -> None:
    schema = pq.read_schema(path)
    for name in (*REQUIRED, *OPTIONAL):
        if name in schema.names and not _is_plain(schema.field(name).type):
            raise InputError(
                f"{path}: column {name} holds {schema.field(name).type}; texts, numbers or truths are wanted"
            )


def _columns(path: Path) -> list[str]:
    if _is_parquet(path):
        with WatchedFile(path):  # a file that is not there is refused by its name
            pass
        try:
            return list(pq.read_schema(path).names)
        except READ_ERRORS:
            raise InputError(f"{path}: is not a Parquet file") from None
    with WatchedFile(path) as file:
        try:
            return _cells(next(lines_of(path, file), b""))
        except (CutError, UnicodeDecodeError, csv.Error):
            raise InputError(f"{path}: is not a text file (a CSV file in UTF-8 is wanted)") from None


def _is_parquet(path: Path) -> bool:
    return path.name.casefold().endswith(".parquet")


def _cells(header: bytes) -> list[str]:
    """The names in a CSV file's first line."""
    return [name.strip() for name in next(csv.reader([header.decode("utf-8")], skipinitialspace=True), [""])]


def _check_columns(path: Path, names: Sequence[str]) -> None:
    for column in REQUIRED:
        if column not in names:
            has = ", ".join(names)
            apart = "" if len(names) > 1 else "; columns of a CSV file are separated by commas"
            raise InputError(
                f"{path}: column {column} is missing; the file has {has}{apart or nearest(column, names)}"
            )
    for name in (*REQUIRED, *OPTIONAL):
        if names.count(name) > 1:
            raise InputError(f"{path}: column {name} stands there {names.count(name)} times")
    if _is_parquet(path):
        _check_types(path)


def read_raw_table(path: Path, advance: Advance | None) -> RawFile:
    """Every model's usable questions, and a list of what could not be used."""
    names = _columns(path)
    _check_columns(path, names)
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
    rows, lost = _Rows(columns), _Lost()
    with WatchedFile(path, advance) as file:
        for batch in (
            _parquet_batches(path, columns, lost)
            if _is_parquet(path)
            else _csv_batches(path, file, columns, lost)
        ):
            rows.add(batch)
        sha256 = file.sha256()
        n_bytes = file.n_bytes
    numbers = _row_numbers(rows.n_rows, lost.places, first=1 if _is_parquet(path) else 2)
    by_model, nobody = rows.collected(str(path), numbers)
    for number, reason in lost.said:
        nobody.note(number, reason)
    runs = [collected.run(model, None) for model, collected in by_model.items()]
    if not by_model:
        nobody.note(None, "has no usable row")
    troubles = sorted(
        (trouble for collected in (*by_model.values(), nobody) for trouble in collected.troubles),
        key=lambda trouble: trouble.line or 0,
    )
    return RawFile(
        path=str(path),
        format="table",
        sha256=sha256,
        n_bytes=n_bytes,
        n_lines=rows.n_rows - rows.n_blank + sum(1 for number, _ in lost.said if number is not None),
        runs=tuple(run for run in runs if run is not None),
        troubles=tuple(troubles),
    )


class _Lost:
    """Rows of a file that do not reach its batches.

    places  their numbers, so that those of the others stay right; blank ones are not listed
    said    (number, reason); None for the number where it concerns the rest of the file
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self.said: list[tuple[int | None, str]] = []

    def row(self, number: int, reason: str) -> None:
        self.places.append(number)
        if reason:
            self.said.append((number, reason))


def _parquet_batches(path: Path, columns: Sequence[str], lost: _Lost) -> Iterator[pa.RecordBatch]:
    n_rows = 0
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=PIECE // 64, columns=list(columns)):
                n_rows += batch.num_rows
                yield batch
    except READ_ERRORS as error:
        lost.said.append((None, f"cannot be read beyond row {n_rows:,}: {str(error).splitlines()[0]}"))


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    tests = (
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean, pa.types.is_integer),
        *(pa.types.is_floating, pa.types.is_decimal, pa.types.is_null),
    )
    return any(test(kind) for test in tests)


def _csv_batches(
    path: Path, file: WatchedFile, columns: Sequence[str], lost: _Lost
) -> Iterator[pa.RecordBatch]:
    """Batches of texts; a row that is none is lost alone, not with all that follows."""

    def refuse(row: Any) -> str:
        blank = not (row.text or "").strip()
        lost.row(row.number, "" if blank else f"has {row.actual_columns} columns of {row.expected_columns}")
        return "skip"

    try:
        with pa_csv.open_csv(
            pa.PythonFile(io.BufferedReader(_WholeLines(path, file, lost), PIECE), mode="r"),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=PIECE),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=refuse, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(columns),
                column_types={name: pa.string() for name in columns},
                null_values=list(NULLS),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        ) as reader:
            yield from reader
    except READ_ERRORS as error:
        lost.said.append((None, f"cannot be read to its end: {str(error).splitlines()[0]}"))


class _WholeLines(io.RawIOBase):
    """A CSV file in which every line is a row: what is none alone is given out blank.

    A quote that is not closed on its line would take the lines after it into one cell, and a byte that is no
    UTF-8 would end the reading.
    """

    def __init__(self, path: Path, file: WatchedFile, lost: _Lost) -> None:
        self._lost = lost
        self._lines = enumerate(lines_of(path, file), 1)
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._ready:
            self._ready = memoryview(b"".join(self._some()))
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    def _some(self) -> Iterator[bytes]:
        size = 0
        while size < BUFFER:
            try:
                number, line = next(self._lines)
            except StopIteration:
                return
            except CutError as cut:
                self._lost.said.append((None, f"the compressed file breaks off: {cut}"))
                return
            if number == 1:
                names = [name.replace('"', '""') for name in _cells(line)]
                line = ",".join(f'"{name}"' for name in names).encode() + b"\n"
            elif wrong := _wrong_with(line):
                self._lost.said.append((number, wrong))
                line = b"\n"
            size += len(line)
            yield line


def _wrong_with(line: bytes) -> str | None:
    if wrong := too_long(line):
        return wrong
    if not line.isascii():
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return "is not text in UTF-8"
    if line.count(b'"') % 2:
        return "has a quote that is not closed on its line"
    return None


def _row_numbers(n_rows: int, left_out: list[int], first: int) -> Array:
    """Where the rows that were read stand in the file, given where the others do."""
    every = np.arange(first, first + n_rows + len(left_out))
    return np.setdiff1d(every, np.array(left_out, dtype=int), assume_unique=True)


class _Codes:
    """Texts as whole numbers in the order of their first appearance."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def of(self, column: pa.Array) -> Array:
        """(rows,), -1 where there is no text."""
        encoded = column.cast(pa.string()).dictionary_encode()
        codes = np.array(
            [self.known.setdefault(text, len(self.known)) for text in encoded.dictionary.to_pylist()]
        )
        index = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.append(codes, -1).astype(np.int64)[index]


class _Rows:
    """The rows of a table as columns of numbers."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self.n_rows, self.n_blank = 0, 0
        self._models, self._questions, self._answers = _Codes(), _Codes(), _Codes()
        self._pieces: list[dict[str, Array]] = []
        self._wrong: list[tuple[int, str]] = []

    def add(self, batch: pa.RecordBatch) -> None:
        piece: dict[str, Array] = {
            "model": self._models.of(batch.column("model")),
            "question": self._questions.of(batch.column("question")),
        }
        wrong: dict[int, str] = {}
        blank = np.all([_is_null(batch.column(name)) for name in self.columns], axis=0)

        def check(name: str, good: Array, wanted: str) -> None:
            for row in np.flatnonzero(~good & ~blank):
                text = batch.column(name)[int(row)].as_py()
                wrong.setdefault(
                    int(row), f"{name} = {'nothing' if text is None else repr(text)}, not {wanted}"
                )

        for name in ("model", "question"):
            check(name, piece[name] >= 0, "a name")
        sample = _numbers(batch.column("sample"))
        check(
            "sample",
            (sample >= 0) & (sample < 2**53) & (sample == np.floor(sample)),
            "a whole number of 0 or more",
        )
        correct = _truths(batch.column("correct"))
        check("correct", ~np.isnan(correct), "true, false, 0 or 1")
        tokens = _numbers(batch.column("tokens"))
        check("tokens", (tokens >= 0) & (tokens <= LARGEST), f"a number from 0 to {LARGEST:g}")
        piece |= {"sample": sample, "correct": correct, "tokens": tokens}
        if "answer" in self.columns:
            piece["answer"] = self._answers.of(batch.column("answer"))
        if "reward" in self.columns:
            piece["reward"] = _numbers(batch.column("reward"))
            check(
                "reward", ~np.isnan(piece["reward"]) | _is_null(batch.column("reward")), "a number or nothing"
            )
        if "thinking_tokens" in self.columns:
            piece["thinking"] = thinking = _numbers(batch.column("thinking_tokens"))
            none = np.isnan(thinking) & _is_null(batch.column("thinking_tokens"))
            # Nothing is right for models that do not think; whether a question tells it, is asked later.
            check(
                "thinking_tokens",
                none | (thinking >= 0) & ~(thinking > tokens),
                "from 0 to tokens, or nothing",
            )
        self._wrong += [(self.n_rows + row, reason) for row, reason in sorted(wrong.items())]
        self._pieces.append(piece | {"blank": blank})
        self.n_blank += int(blank.sum())
        self.n_rows += batch.num_rows

    def collected(self, file: str, numbers: Array) -> tuple[dict[str, Collected], Collected]:
        """By model, in the order of their first rows, and rows that name none.

        numbers  where each row stands in the file
        """
        nobody = Collected(file=file)
        if not self.n_rows:
            return {}, nobody
        table = {name: np.concatenate([piece[name] for piece in self._pieces]) for name in self._pieces[0]}
        usable = ~table["blank"]
        usable[[row for row, _ in self._wrong]] = False
        models, questions = list(self._models.known), list(self._questions.known)
        by_model = {name: Collected(file=file) for name in models}
        answers = numbered(answer_key(text) for text in self._answers.known)
        order = np.lexsort((np.arange(self.n_rows), table["sample"], table["question"], table["model"]))
        order = order[usable[order]]
        for row, reason in self._wrong:
            code = table["model"][row]
            (by_model[models[code]] if code >= 0 else nobody).note(int(numbers[row]), f"has {reason}")
        same = np.zeros(len(order), dtype=bool)
        same[1:] = np.all(
            [np.diff(table[name][order]) == 0 for name in ("model", "question", "sample")], axis=0
        )
        for row, first in zip(order[same], order[np.flatnonzero(same) - 1], strict=True):
            by_model[models[table["model"][row]]].note(
                int(numbers[row]),
                f"sample {table['sample'][row]:g} of question {questions[table['question'][row]]!r} "
                f"stands in row {numbers[first]} already",
            )
        order = order[~same]
        group = table["model"][order] * len(questions) + table["question"][order]
        for rows in np.split(order, np.flatnonzero(np.diff(group)) + 1) if len(order) else ():
            model = models[table["model"][rows[0]]]
            record = _record(questions[table["question"][rows[0]]], table, rows, answers)
            by_model[model].add(record, int(numbers[rows].min()))
        return by_model, nobody


def _record(question: str, table: dict[str, Array], rows: Array, answers: Array) -> Record:
    def part(name: str) -> Array | None:
        return table[name][rows] if name in table else None

    thinking, answer = part("thinking"), part("answer")
    return Record(
        question=question,
        correct=table["correct"][rows] == 1,
        tokens=table["tokens"][rows],
        answers=None if answer is None else np.append(answers, UNPARSED)[answer],
        rewards=part("reward"),
        thinking=None if thinking is None or np.isnan(thinking).any() else thinking,
    )


def _is_null(column: pa.Array) -> Array:
    """Where a column holds nothing; a Parquet file may say so by NaN."""
    null = column.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(column.type):
        return null | np.isnan(column.fill_null(0).to_numpy(zero_copy_only=False))
    return null


def _numbers(column: pa.Array) -> Array:
    """A column as numbers, NaN where it holds none."""
    try:
        numbers = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.array([_number(value) for value in column.to_pylist()])
    return numbers.fill_null(math.nan).to_numpy(zero_copy_only=False)


def _number(value: object) -> float:
    try:
        return float(str(value).replace("_", "?"))  # Python reads 1_0 as ten; a table means a slip
    except ValueError:
        return math.nan


def _truths(column: pa.Array) -> Array:
    """1 where a column says true, 0 where it says false, NaN where neither."""
    encoded = column.cast(pa.string()).dictionary_encode()
    texts = [text.strip().casefold() for text in encoded.dictionary.to_pylist()]
    values = [1.0 if text in TRUE else 0.0 if text in FALSE else math.nan for text in texts]
    return np.array([*values, math.nan])[encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]

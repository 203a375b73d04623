"""Quality curves: how accuracy and tokens grow with test-time compute, model by model.

A curve file is a CSV table with one row per model and compute level (docs/formats.md):

    benchmark, method, model, compute_level, accuracy, tokens_per_query [, n_questions] [, source] [, ...]

The bundled ones are the twelve open models of Test-Time Compute Games on GSM8K, AIME and GPQA; where
each number comes from stands in economy/data/README.md.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from market_sim.economy.tables import read_table
from market_sim.errors import InputError, not_one_of
from market_sim.theory.arrays import Array

DATA = Path(__file__).parent / "data"

PAPER_METHODS = ("majority_voting", "best_of_n", "reasoning_effort")
"""How test-time compute is spent: samples and a vote, samples and a reward model, or longer thinking."""

METHODS = (*PAPER_METHODS, "pass_at_k", "first_sample")
"""And what raw evaluations also give: samples and a verifier that knows the truth, or one sample alone."""

REQUIRED = ("benchmark", "method", "model", "compute_level", "accuracy", "tokens_per_query")
OPTIONAL = ("n_questions", "source")

LARGEST = 1e12
"""Tokens and levels beyond it are slips; no product of what lies below it overflows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QualityCurve:
    """One model's measured accuracy and tokens on one benchmark, level by level in order of compute.

    compute_level      (K,)  samples, or bin of reasoning effort; strictly rising
    accuracy           (K,)  fraction of questions answered correctly
    tokens_per_query   (K,)  mean tokens generated per query, > 0; need not rise with the level
    n_questions        questions behind each accuracy; None where not told
    extra              the file's other columns, one text per level
    """

    benchmark: str
    method: str
    model: str
    compute_level: Array
    accuracy: Array
    tokens_per_query: Array
    n_questions: int | None = None
    source: str | None = None
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_curves(path: Path | str) -> list[QualityCurve]:
    """The curves of a file, in the order in which the models first appear.

    Raises InputError, naming file, row and column, for anything a curve cannot have.
    """
    path = Path(path)
    rows = read_table(path, REQUIRED)
    groups: dict[tuple[str, str, str], list[tuple[int, dict[str, str]]]] = {}
    for line, row in rows:
        for column in ("benchmark", "method", "model"):
            if not row[column]:
                raise InputError(f"{path}: row {line}, column {column} is empty")
        if row["method"] not in METHODS:
            raise not_one_of(f"{path}: row {line}, column method", row["method"], METHODS)
        _check_spelling(path, line, row, groups)
        groups.setdefault((row["benchmark"], row["method"], row["model"]), []).append((line, row))
    return [_curve(path, *key, lines) for key, lines in groups.items()]


@cache
def bundled_curves() -> tuple[QualityCurve, ...]:
    """The paper's curves: twelve models, three benchmarks, three methods."""
    return tuple(read_curves(DATA / "quality_curves.csv"))


@cache
def bundled_prices() -> Mapping[str, float]:
    """The paper's prices, USD per million tokens generated, by model."""
    rows = read_table(DATA / "token_prices.csv", ("model", "usd_per_million_tokens"))
    return {row["model"]: float(row["usd_per_million_tokens"]) for _, row in rows}


def paper_name(model: str) -> str | None:
    """What the paper calls a model that is published under a longer name; None where it is not one of its.

    >>> paper_name("Meta-Llama-3-8B-Instruct"), paper_name("DeepSeek-R1-Distill-Qwen-7B")
    ('Llama-3-8B', 'R1-D-Qwen-7B')
    """
    short = model.rsplit("/", 1)[-1].removeprefix("Meta-").removesuffix("-Instruct")
    short = short.replace("DeepSeek-R1-Distill-", "R1-D-")
    return short if short != model and short in bundled_prices() else None


def select_curves(
    curves: list[QualityCurve] | tuple[QualityCurve, ...],
    *,
    where: str,
    benchmark: str | None,
    method: str | tuple[str, ...] | None,
    models: tuple[str, ...] | None,
) -> list[QualityCurve]:
    """The curves of one benchmark and one method (or several), all models or the named ones.

    The order is that of the methods asked for, and within each that of the models asked for (of the first
    appearance, where none are).
    where  names the place in error sentences, "file.toml: market"
    None selects what the curves have, if that is only one.
    Raises InputError for a name that is not there, with the nearest one that is.
    """
    benchmark = _the_one("benchmark", benchmark, [c.benchmark for c in curves], where)
    curves = [c for c in curves if c.benchmark == benchmark]
    known = list(dict.fromkeys(c.method for c in curves))
    methods = method if isinstance(method, tuple) else (_the_one("method", method, known, where),)
    for name in methods:
        if name not in known:
            raise not_one_of(f"{where}.method (for {benchmark})", name, known)
        if methods.count(name) > 1:
            raise InputError(f"{where}.method names {name!r} twice")
    curves = [c for name in methods for c in curves if c.method == name]
    names = list(dict.fromkeys(c.model for c in curves))
    if models is None:
        models = tuple(names)
    if not models:
        raise InputError(f"{where}.models is empty; it must name at least one of {', '.join(names)}")
    there, times = set(names), Counter(models)
    for name in models:
        if name not in there:
            raise not_one_of(f"{where}.models", name, names)
        if times[name] > 1:
            raise InputError(f"{where}.models names {name!r} twice")
    by_name = {(curve.method, curve.model): curve for curve in curves}
    return [by_name[m, name] for m in methods for name in models if (m, name) in by_name]


def _the_one(field_name: str, got: str | None, known: list[str], where: str) -> str:
    names = list(dict.fromkeys(known))
    if got is None:
        if len(names) == 1:
            return names[0]
        raise InputError(f"{where}.{field_name} is missing and the curves have several: {', '.join(names)}")
    if got not in names:
        raise not_one_of(f"{where}.{field_name}", got, names)
    return got


def _curve(
    path: Path, benchmark: str, method: str, model: str, lines: list[tuple[int, dict[str, str]]]
) -> QualityCurve:
    seen: dict[float, int] = {}
    table = []
    for line, row in lines:
        level = _number(path, line, row, "compute_level")
        accuracy = _number(path, line, row, "accuracy")
        tokens = _number(path, line, row, "tokens_per_query")
        if not 0 < level <= LARGEST:
            raise _refused(path, line, "compute_level", row, f"a number above 0 and at most {LARGEST:g}")
        if not 0 <= accuracy <= 1:
            raise _refused(path, line, "accuracy", row, "a fraction from 0 to 1")
        if not 0 < tokens <= LARGEST:
            raise _refused(path, line, "tokens_per_query", row, f"a number above 0 and at most {LARGEST:g}")
        if level in seen:
            raise InputError(
                f"{path}: row {line}, column compute_level: {model} has level {level:g} twice "
                f"for {benchmark}, {method} (first in row {seen[level]})"
            )
        seen[level] = line
        table.append((level, accuracy, tokens, line, row))
    table.sort(key=lambda entry: entry[0])
    questions = [_questions(path, line, row) for *_, line, row in table]
    first = table[0][-1]
    others = [column for column in first if column not in REQUIRED + OPTIONAL]
    return QualityCurve(
        benchmark=benchmark,
        method=method,
        model=model,
        compute_level=np.array([entry[0] for entry in table]),
        accuracy=np.array([entry[1] for entry in table]),
        tokens_per_query=np.array([entry[2] for entry in table]),
        n_questions=questions[0],
        source=first.get("source") or None,
        extra={column: tuple(entry[-1][column] for entry in table) for column in others},
    )


def _questions(path: Path, line: int, row: dict[str, str]) -> int | None:
    if not row.get("n_questions"):
        return None
    number = _number(path, line, row, "n_questions")
    if number < 1 or number != int(number):
        raise _refused(path, line, "n_questions", row, "a whole number above 0")
    return int(number)


def _number(path: Path, line: int, row: dict[str, str], column: str) -> float:
    try:
        value = float(row[column].replace("_", "?"))  # Python reads 1_0 as ten; a table means a slip
    except ValueError:
        raise _refused(path, line, column, row, "a number") from None
    if not math.isfinite(value):
        raise _refused(path, line, column, row, "a finite number")
    return value


def _refused(path: Path, line: int, column: str, row: dict[str, str], allowed: str) -> InputError:
    return InputError(f"{path}: row {line}, column {column}: got {row[column]!r}, allowed is {allowed}")


def _check_spelling(path: Path, line: int, row: dict[str, str], groups: Mapping) -> None:
    """Refuse a name that differs from an earlier or bundled one in letter case only."""
    for place, column in enumerate(("benchmark", "method", "model")):
        known = {key[place] for key in groups}
        if path.parent != DATA:
            known |= {getattr(curve, column) for curve in bundled_curves()}
        if row[column] in known:
            continue
        for name in sorted(known):
            if name.casefold() == row[column].casefold():
                raise InputError(
                    f"{path}: row {line}, column {column}: {row[column]!r} differs from {name!r} "
                    "in letter case only; spell it the same"
                )

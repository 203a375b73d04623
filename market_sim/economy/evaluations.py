"""Raw evaluations: what a model answered, sample by sample, in flat arrays.

Three formats are read (docs/formats.md, "Raw evaluations"): the published one, lm-evaluation-harness'
`--log_samples`, and plain tables.  A line that cannot be used is listed with its file, number and reason, and
reading goes on; nothing is left out without being listed.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from market_sim.economy.raw_formats import BrokenError, Record
from market_sim.errors import few
from market_sim.theory.arrays import Array

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "published": "one JSON line per question with qid, explanations, correct, num_tokens, rewards",
        "lm_eval": "lm-evaluation-harness --log_samples: doc_id, target, resps, filtered_resps, a metric",
        "table": "CSV, Parquet: model, question, sample, correct, tokens, answer?, reward?, thinking_tokens?",
    }
)

TROUBLES: Mapping[str, str] = MappingProxyType(
    {
        "broken": "broken or unlike the others, left out",
        "unshared": "whose question another model lacks, left out",
        "null_rewards": "with null rewards, ranked below all others",
    }
)
"""What can be wrong, and what is then done."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something wrong at one place of a file.

    line     counted from 1; None where it concerns no single line
    dropped  whether the line (or the question) was left out; otherwise it was used as the reason says
    kind     one of TROUBLES, to count by
    """

    file: str
    line: int | None
    reason: str
    dropped: bool = True
    kind: str = "broken"

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
    estimated    whether tokens are estimated, for some question, from the length of responses
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
    estimated: bool = False

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

    @property
    def why_empty(self) -> str:
        """Why a file without runs has none."""
        of_file = [trouble.reason for trouble in self.troubles if trouble.line is None]
        of_lines = [f"line {trouble.line}: {trouble.reason}" for trouble in self.troubles if trouble.line]
        return "; ".join([*of_file[:1], *of_lines[:1]])


# --- Collecting a file's questions -------------------------------------------------------------------


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

    @property
    def n_seen(self) -> int:
        """Questions so far, and lines that could not be used."""
        return len(self._records) + len(self._troubles)

    def note(self, line: int | None, reason: str, **more: Any) -> None:
        self._troubles.append(Trouble(file=self._file, line=line, reason=reason, **more))

    def add(self, record: Record, line: int) -> None:
        if record.question in self._records:
            first = self._records[record.question][0]
            raise BrokenError(f"question {record.question!r} stands in line {first} already")
        self._records[record.question] = (line, record)

    def run(self, model: str, token_limit: float | None) -> Evaluations | None:
        """All that is alike: the commonest number of samples; the others are listed and left out.

        None, and a trouble that says so, where there is no usable question.
        """
        self._keep_the_commonest(lambda r: len(r.correct), "has samples: {0}; most questions: {1}")
        self._keep_the_commonest(
            lambda r: r.thinking is not None, "tells tokens of thinking: {0}; most questions: {1}"
        )
        self._keep_the_commonest(lambda r: r.answers is not None, "tells answers: {0}; most questions: {1}")
        if not self._records:
            self.note(None, f"has no usable question of {model}")
            return None
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
            estimated=any(record.estimated for record in records),
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
                    kind="null_rewards",
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
    there = {model: set(names) for model, (_, names, _) in questions.items()}
    shared = set.intersection(*there.values())
    troubles = []
    for model, (file, names, lines) in questions.items():
        for name, line in zip(names, lines, strict=True):
            if name not in shared:
                lacking = [other for other, theirs in there.items() if name not in theirs]
                troubles.append(
                    Trouble(
                        file=file,
                        line=line,
                        reason=f"question {name!r} of {model} is missing or unusable for "
                        f"{few(lacking)}, so it counts for nobody",
                        kind="unshared",
                    )
                )
    return sorted(shared), troubles

"""Plain reference for curves from raw evaluations: what one would write first, question by question.

Majority voting and best-of-n by drawing random subsets, 50 a level, as the published code does; bins of
effort by sorting; the bootstrap by drawing lists of questions.  Shares no code with the package.
"""

import json
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

SUBSETS = 50
"""Random subsets per question and level: the published number."""

type Question = dict[str, list]
"""correct, answers (None where none was parsed), rewards, thinking, tokens: one entry per sample."""


def read(path: Path, limit: int) -> list[Question]:
    """The first questions of a file in the published format."""
    questions = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            answers = []
            for told in record["explanations"]:
                name, _, rest = told.partition("='")
                parsed = None if " " in name.strip() else rest.split("'")[0]
                answers.append(None if parsed is None else float(parsed))
            questions.append(
                {
                    "correct": record["correct"],
                    "answers": answers,
                    "rewards": record["rewards"],
                    "thinking": [pair[0] for pair in record["num_tokens"]],
                    "tokens": [pair[1] for pair in record["num_tokens"]],
                }
            )
            if len(questions) == limit:
                break
    return questions


def vote(question: Question, drawn: Sequence[int]) -> float:
    """The most frequent parsed answer, the first drawn on a tie."""
    counts: dict[float, int] = {}
    right = set()
    for i in drawn:
        answer = question["answers"][i]
        if answer is not None:
            counts[answer] = counts.get(answer, 0) + 1
            if question["correct"][i]:
                right.add(answer)
    return float(bool(counts) and max(counts, key=lambda answer: counts[answer]) in right)


def best(question: Question, drawn: Sequence[int]) -> float:
    """The sample of highest reward, the first drawn on a tie."""
    return float(question["correct"][max(drawn, key=lambda i: question["rewards"][i])])


def by_subsets(
    question: Question, levels: Sequence[int], decide: Callable[[Question, Sequence[int]], float]
) -> list[float]:
    """Share of random subsets that are right, level by level."""
    samples = range(len(question["correct"]))
    return [
        statistics.fmean(decide(question, random.sample(samples, n)) for _ in range(SUBSETS)) for n in levels
    ]


def effort(question: Question, n_bins: int, token_limit: int) -> list[tuple[int, int, int]]:
    """(samples, right ones, tokens) of every bin of thinking."""
    kept = [i for i, n in enumerate(question["tokens"]) if n < token_limit and question["thinking"][i] > 5]
    kept.sort(key=lambda i: question["thinking"][i])
    bins = [(0, 0, 0)] * n_bins
    for rank, i in enumerate(kept):
        b = min(n_bins - 1, n_bins * rank // max(len(kept) - 1, 1))
        samples, right, tokens = bins[b]
        bins[b] = (samples + 1, right + question["correct"][i], tokens + question["tokens"][i])
    return bins


def bootstrap(contributions: Sequence[Sequence[float]], draws: int) -> list[list[float]]:
    """Means over resampled questions, draw by draw."""
    found = []
    for _ in range(draws):
        chosen = random.choices(contributions, k=len(contributions))
        found.append([statistics.fmean(column) for column in zip(*chosen, strict=True)])
    return found

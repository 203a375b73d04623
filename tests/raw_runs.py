"""Small raw evaluation runs for tests, written in the formats that are read."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np


def question(qid: str, answers: list[str | None], truth: str, /, **other: Any) -> dict[str, Any]:
    """One line of the published format; None is an answer that was not parsed."""
    n = len(answers)
    line: dict[str, Any] = {
        "qid": qid,
        "explanations": [
            f"no numeric content found; truth='{truth}'" if a is None else f"boxed='{a}'; truth='{truth}'"
            for a in answers
        ],
        "correct": [a == truth for a in answers],
        "rewards": [round(0.1 * i + (a == truth), 3) for i, a in enumerate(answers)],
        "num_tokens": [10 * (i + 1) for i in range(n)],
    }
    return {key: value for key, value in (line | other).items() if value is not None}


def drawn(
    seed: int, n_questions: int = 12, n_samples: int = 6, thinking: bool = True
) -> list[dict[str, Any]]:
    """Lines of a model whose questions differ in difficulty."""
    rng = np.random.default_rng(seed)
    lines = []
    for q in range(n_questions):
        chance, truth = rng.beta(2, 1), str(10 * q)
        said = [
            truth if rng.random() < chance else str(10 * q + int(rng.integers(1, 4)))
            for _ in range(n_samples)
        ]
        answers = [None if rng.random() < 0.1 else answer for answer in said]
        tokens = rng.integers(20, 400, n_samples).tolist()
        pairs = [[int(0.7 * n), n] for n in tokens] if thinking else tokens
        lines.append(question(f"q{q:02d}", answers, truth, num_tokens=pairs))
    return lines


def write_lines(path: Path, lines: list[Any]) -> Path:
    """JSON lines; a text is written as it is.  Packed where the name ends in .gz."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix.casefold() == ".gz" else text.encode())
    return path


def published(folder: Path, model: str, lines: list[Any], limit: int = 512, end: str = "") -> Path:
    """A file with the name the published format has."""
    samples = len(lines[0]["correct"])
    name = f"{model}--temp-0.6--samples-{samples}--max-{limit}.jsonl{end}"
    return write_lines(folder / name, lines)


def as_table(model: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same samples as rows of a table."""
    rows = []
    for line in lines:
        for i, (right, said, reward, tokens) in enumerate(
            zip(line["correct"], line["explanations"], line["rewards"], line["num_tokens"], strict=True)
        ):
            pair = tokens if isinstance(tokens, list) else [None, tokens]
            rows.append(
                {
                    "model": model,
                    "question": line["qid"],
                    "sample": i,
                    "correct": right,
                    "tokens": pair[1],
                    "answer": None if said.startswith("no ") else said.split("'")[1],
                    "reward": reward,
                    "thinking_tokens": pair[0],
                }
            )
    return rows


def as_lm_eval(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same samples as lm-evaluation-harness logs repeats, with tokens and rewards added."""
    records = []
    for line in lines:
        answers = [
            "[invalid]" if said.startswith("no ") else said.split("'")[1] for said in line["explanations"]
        ]
        truth = line["explanations"][0].rsplit("'", 2)[1]
        records.append(
            {
                "doc_id": line["qid"],
                "doc": {"question": "?", "answer": f"... #### {truth}"},
                "target": f"... #### {truth}",
                "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": {}}},
                "resps": [[f"so it is {answer}" for answer in answers]],
                "filtered_resps": [answers],
                "filter": "flexible-extract",
                "metrics": ["exact_match"],
                "doc_hash": "0",
                "exact_match": float(line["correct"][0]),
                "num_tokens": line["num_tokens"],
                "rewards": line["rewards"],
            }
        )
    return records

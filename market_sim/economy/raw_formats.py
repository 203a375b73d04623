"""One line of a raw evaluation run: the published format and lm-evaluation-harness' `--log_samples`.

A parser takes the JSON value of a line and returns the question's samples, or raises BrokenError with the
reason why the line cannot be used (docs/formats.md, "Raw evaluations").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from market_sim.economy.answers import Answers, answer_key
from market_sim.economy.quality import LARGEST
from market_sim.errors import InputError, nearest, not_one_of
from market_sim.theory.arrays import Array


class BrokenError(ValueError):
    """A line that cannot be used; its text is the reason."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One question's samples.

    correct   (S,) bool      tokens   (S,) >= 0
    answers   (S,) whole numbers, equal where the answers are, UNPARSED where there is none; None: not told
    rewards   (S,) NaN where null, may be infinite; None: not told
    thinking  (S,) tokens of thinking; None: not told
    estimated whether tokens are estimated from the length of responses
    """

    question: str
    correct: Array
    tokens: Array
    answers: Array | None
    rewards: Array | None
    thinking: Array | None
    estimated: bool = False


Parser = Callable[[Any], Record]


@dataclass(frozen=True, kw_only=True)
class LmEvalChoice:
    """What an lm-evaluation-harness log leaves open.

    filter                which filter's records are read; None where there is only one
    metric                which metric says whether an answer is right; None: exact_match, or the only one
    characters_per_token  to estimate tokens from the length of responses where num_tokens is not logged
    """

    filter: str | None = None
    metric: str | None = None
    characters_per_token: float | None = None


# --- The published format ---------------------------------------------------------------------------


def published_parser() -> Parser:
    """{"qid", "explanations": [...], "correct": [...], "num_tokens": [...], "rewards"?: [...]}."""
    answers = Answers()

    def parse(data: Any) -> Record:
        question = _question(_object(data), "qid")
        correct = _booleans(_field(data, "correct"))
        explanations = _field(data, "explanations")
        if not isinstance(explanations, list) or not all(type(text) is str for text in explanations):
            raise BrokenError("explanations is not a list of texts")
        tokens, thinking = _tokens(_field(data, "num_tokens"))
        rewards = _rewards(data["rewards"]) if data.get("rewards") is not None else None
        sizes = {"correct": len(correct), "explanations": len(explanations), "num_tokens": len(tokens)}
        if rewards is not None:
            sizes["rewards"] = len(rewards)
        if len(set(sizes.values())) > 1:
            raise BrokenError("numbers of samples differ: " + ", ".join(f"{k} {n}" for k, n in sizes.items()))
        return Record(
            question=question,
            correct=correct,
            tokens=tokens,
            answers=answers.of_explanations(explanations),
            rewards=rewards,
            thinking=thinking,
        )

    return parse


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise BrokenError("is not a JSON object")
    return data


def _field(data: Mapping[str, Any], name: str) -> Any:
    if data.get(name) is None:
        raise BrokenError(f"{name} is missing")
    return data[name]


def _question(data: Mapping[str, Any], name: str) -> str:
    value = _field(data, name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise BrokenError(f"{name} = {str(value)[:40]!r} names no question")
    return str(value)


def _array(values: Any, name: str, shape: str = "a list") -> Array:
    """A list as an array of whatever type it has."""
    if not isinstance(values, list):
        raise BrokenError(f"{name} is not {shape}")
    if not values:
        raise BrokenError(f"{name} is empty")
    try:
        return np.array(values)
    except (ValueError, OverflowError):  # lists of different lengths
        raise BrokenError(f"{name} is not {shape}") from None


def _booleans(values: Any) -> Array:
    array = _array(values, "correct", "a list of true and false")
    if array.dtype != bool or array.ndim != 1:
        raise BrokenError("correct is not a list of true and false")
    return array


def _tokens(values: Any) -> tuple[Array, Array | None]:
    """Tokens in all and, where entries are pairs, of thinking."""
    shape = "a list of numbers, or of [thinking, total] pairs"
    array = _array(values, "num_tokens", shape)
    shaped = array.ndim == 1 or array.shape[1:] == (2,)
    if array.dtype.kind not in "iuf" or bool in set(map(type, values)) or not shaped:
        raise BrokenError(f"num_tokens is not {shape}")
    if not ((array >= 0) & (array <= LARGEST)).all():
        raise BrokenError(f"num_tokens has an entry that is no number from 0 to {LARGEST:g}")
    array = array.astype(float)
    if array.ndim == 1:
        return array, None
    if (array[:, 0] > array[:, 1]).any():
        raise BrokenError("num_tokens has more tokens of thinking than in all")
    return array[:, 1], array[:, 0]


def _rewards(values: Any) -> Array:
    array = _array(values, "rewards", "a list of numbers and nulls")
    if not set(map(type, values)) <= {int, float, type(None)} or array.ndim != 1:
        raise BrokenError("rewards is not a list of numbers and nulls")
    try:
        return np.array(values, dtype=float)
    except OverflowError:
        raise BrokenError("rewards has a number that is too large") from None


# --- lm-evaluation-harness --------------------------------------------------------------------------

INVALID = "[invalid]"
"""What the harness' regular-expression filters give where nothing matches."""

_NO_METRICS = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash", "num_tokens", "rewards"),
}


def lm_eval_parser(where: str, choice: LmEvalChoice) -> Parser:
    """{"doc_id", "target", "resps", "filtered_resps", "filter", METRIC, "num_tokens"?, "rewards"?}.

    With one response the metric says whether it is right.  With several (`repeats`) it does where it has one
    entry for each; otherwise an answer is right if it is the target.  Raises InputError where the log does
    not determine a reading: several filters, no tokens.
    """
    answers, filters = Answers(), [choice.filter]

    def parse(data: Any) -> Record:
        question = _question(_object(data), "doc_id")
        name = data.get("filter")
        if filters[0] is None:
            filters[0] = name
        if name != filters[0]:
            if choice.filter is None:
                raise InputError(
                    f"{where}: has records of filters {filters[0]} and {name}; choose one with --filter"
                )
            raise OtherFilterError(str(name))
        responses = _responses(_field(data, "resps"))
        texts = _filtered(_field(data, "filtered_resps"), len(responses))
        tokens, thinking = _logged_tokens(where, data, responses, choice.characters_per_token)
        return Record(
            question=question,
            correct=_right(data, texts, choice.metric),
            answers=answers.of_texts(texts),
            rewards=_of_samples(_rewards, data, "rewards", len(texts)),
            tokens=tokens,
            thinking=thinking,
            estimated=data.get("num_tokens") is None,
        )

    return parse


class OtherFilterError(Exception):
    """A whole record, but of another filter than the one that is read."""


def _responses(resps: Any) -> list[Any]:
    """The responses to a question: one list of them, or a list of options that were scored (one sample)."""
    if not isinstance(resps, list) or not resps:
        raise BrokenError("resps is not a list of responses")
    if len(resps) == 1 and isinstance(resps[0], list):
        if not resps[0]:
            raise BrokenError("resps is empty")
        return resps[0] if all(isinstance(text, str) for text in resps[0]) else [resps[0]]
    return [resps]


def _filtered(filtered: Any, n_responses: int) -> list[str | None]:
    """The answers the filter made of them, one for each response."""
    if isinstance(filtered, list) and len(filtered) == 1 and isinstance(filtered[0], list):
        filtered = filtered[0]
    if n_responses == 1 and not (isinstance(filtered, list) and len(filtered) == 1):
        filtered = [str(filtered)]  # scores of options: the metric tells whether the best one is right
    if not isinstance(filtered, list) or len(filtered) != n_responses:
        held = len(filtered) if isinstance(filtered, list) else 1
        raise BrokenError(
            f"filtered_resps has {held} for {n_responses} responses; "
            "log with a filter that keeps every response"
        )
    return [None if text is None or text == INVALID else str(text) for text in filtered]


def _right(data: Mapping[str, Any], texts: list[str | None], metric: str | None) -> Array:
    name = metric if metric is not None else _metric(data)
    if name not in data:
        known = [key for key in data if key not in _NO_METRICS]
        raise BrokenError(f"has no metric {name!r}, but {', '.join(known) or 'none'}{nearest(name, known)}")
    value = data[name]
    entries = value if isinstance(value, list) else [value]
    if not all(type(entry) in (bool, int, float) and entry in (0, 1) for entry in entries):
        raise BrokenError(f"{name} = {str(value)[:40]} is not 0 or 1")
    if len(entries) == len(texts):
        return np.array(entries, dtype=float) == 1
    if len(entries) != 1:
        raise BrokenError(f"{name} has {len(entries)} entries for {len(texts)} responses")
    target = data.get("target")
    if not isinstance(target, str | int | float):
        raise BrokenError("target is not a text or a number, so single responses cannot be marked")
    wanted = answer_key(str(target).rsplit("####", 1)[-1])
    right = np.array([wanted is not None and answer_key(text) == wanted for text in texts])
    if entries[0] == 1 and not right.any():
        raise BrokenError(f"{name} is 1, but no response's answer equals the target")
    return right


def _metric(data: Mapping[str, Any]) -> str:
    named = data.get("metrics")
    names = named if isinstance(named, list) else [name for name in data if name not in _NO_METRICS]
    if "exact_match" in names:
        return "exact_match"
    if len(names) == 1:
        return str(names[0])
    found = ", ".join(map(str, names)) if names else "none"
    raise BrokenError(f"which metric says what is right? It has {found}; choose by --metric")


def _of_samples(
    read: Callable[[Any], Array], data: Mapping[str, Any], name: str, n_samples: int
) -> Array | None:
    if data.get(name) is None:
        return None
    value = data[name]
    array = read(value if isinstance(value, list) else [value])
    if len(array) != n_samples:
        raise BrokenError(f"{name} has {len(array)} entries for {n_samples} responses")
    return array


def _logged_tokens(
    where: str, data: Mapping[str, Any], responses: list[Any], characters_per_token: float | None
) -> tuple[Array, Array | None]:
    value = data.get("num_tokens")
    if value is not None:
        tokens, thinking = _tokens(value if isinstance(value, list) else [value])
        if len(tokens) != len(responses):
            raise BrokenError(f"num_tokens has {len(tokens)} entries for {len(responses)} responses")
        return tokens, thinking
    if characters_per_token is None:
        raise InputError(
            f"{where}: lm-evaluation-harness logs no token counts; add num_tokens (one per response) to its "
            "records, or have them estimated with --characters-per-token 4"
        )
    if not all(isinstance(text, str) for text in responses):
        raise BrokenError("resps are not texts, so tokens cannot be estimated from their length")
    return np.array([len(text) / characters_per_token for text in responses]), None


# --- Which of them ----------------------------------------------------------------------------------


def format_of_line(data: Any) -> str | None:
    """The format a line's fields show, or None.

    >>> format_of_line({"qid": "q1", "correct": []}), format_of_line({"doc_id": 1, "resps": []})
    ('published', 'lm_eval')
    """
    if isinstance(data, dict):
        if "qid" in data and "correct" in data:
            return "published"
        if "doc_id" in data and ("resps" in data or "filtered_resps" in data):
            return "lm_eval"
    return None


def parser_of(format_: str, where: str, choice: LmEvalChoice) -> Parser:
    """The parser of a format of lines."""
    parsers = {"published": published_parser, "lm_eval": lambda: lm_eval_parser(where, choice)}
    if format_ not in parsers:
        raise not_one_of(f"{where}: format", format_, parsers)
    return parsers[format_]()

"""Answers as a vote sees them: two that are equal as numbers are the same answer.

An evaluation's explanation names the parsed answer as the value (quoted, or a bare number) after the first
`=`, as in `parsed='D'; truth='C'` or `boxed='18'; numeric='18'; truth='18'`, or is a number and nothing else;
where the first value named is the truth, as in `no numeric content found; truth='18'`, nothing was parsed.
"""

import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

import numpy as np

from market_sim.theory.arrays import Array
from market_sim.theory.estimators import UNPARSED

_FIRST_VALUE = re.compile(
    r"""[^=]*?(\w*)\s*=\s*(?:'(.*?)'|"(.*?)"|([+-]?[.\d][\d.,]*(?:[eE][+-]?\d+)?))\s*(?:;|$)""", re.DOTALL
)
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d{1,6})?")

REMEMBERED = 2**16
"""Texts whose answer is kept in memory; the same few hundred come again and again."""


class Answers:
    """Reads answers, remembering those read before: a run of a million samples has a few thousand texts."""

    def __init__(self) -> None:
        self._of_explanation: dict[str, str | None] = {}
        self._key: dict[str, str | None] = {}

    def of_explanations(self, texts: Iterable[str]) -> Array:
        """One question's explanations as numbers, equal where the answers are; UNPARSED where none is."""
        known = self._of_explanation
        if len(known) > REMEMBERED:
            known.clear()
        keys = []
        for text in texts:
            if text not in known:
                known[text] = answer_key(parsed_answer(text))
            keys.append(known[text])
        return numbered(keys)

    def of_texts(self, texts: Iterable[str | None]) -> Array:
        """The same for answers that stand alone."""
        known = self._key
        if len(known) > REMEMBERED:
            known.clear()
        keys: list[str | None] = []
        for text in texts:
            if text is None:
                keys.append(None)
                continue
            if text not in known:
                known[text] = answer_key(text)
            keys.append(known[text])
        return numbered(keys)


def parsed_answer(explanation: str) -> str | None:
    """The answer an explanation names; None where it says that none was found.

    >>> parsed_answer("boxed='18'; numeric='18.0'; truth='20'")
    '18'
    >>> parsed_answer("no 'Answer: [A-D]' pattern found; truth='C'") is None
    True
    """
    if "=" not in explanation:
        is_number = _NUMBER.fullmatch(explanation.strip()) and any(map(str.isdigit, explanation))
        return explanation if is_number else None
    found = _FIRST_VALUE.match(explanation)
    if found is None or found.group(1) == "truth":
        return None
    return next(value for value in found.groups()[1:] if value is not None)


def answer_key(answer: str | None) -> str | None:
    """A text that two answers share exactly if they are the same: a number's value, else the words.

    >>> answer_key("1,000.50") == answer_key("1000.5"), answer_key("C") == answer_key("c"), answer_key(" ")
    (True, False, None)
    """
    text = "" if answer is None else answer.strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text) is None:
        return f"={text}"  # a word is never mistaken for a number's key
    try:
        sign, digits, exponent = Decimal(text.replace(",", "")).as_tuple()
    except InvalidOperation:  # only signs and points
        return f"={text}"
    kept = list(digits)
    while kept and kept[-1] == 0:
        kept.pop()
        exponent = int(exponent) + 1
    while kept and kept[0] == 0:
        kept.pop(0)
    if not kept:
        return "0"
    return f"{'-' if sign else ''}{''.join(map(str, kept))}e{exponent}"


def numbered(keys: Iterable[str | None]) -> Array:
    """Keys as whole numbers in the order of their first appearance; None is UNPARSED."""
    seen: dict[str, int] = {}
    return np.array(
        [UNPARSED if key is None else seen.setdefault(key, len(seen)) for key in keys], dtype=np.int32
    )

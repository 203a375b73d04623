"""What the user did wrong, said in one sentence: where, what was got, what is allowed."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input.  Its text is one sentence for the person who gave the input; the commands end with 2."""


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' for the known word nearest to a misspelt one; '' where none is near.

    >>> nearest("beter_reply", ["best_reply", "better_reply"])
    ' (did you mean better_reply?)'
    """
    by_lower = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), by_lower, n=1, cutoff=0.5)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


def not_one_of(where: str, got: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a list of known ones."""
    known = list(known)
    hint = nearest(got, known) if isinstance(got, str) else ""
    return InputError(f"{where} = {got!r} is not one of {', '.join(known)}{hint}")


def named(where: str, got: object, known: Iterable[str]) -> str:
    """The name, which must be one of known ones.  Raises InputError for another, or for what is no text.

    >>> named("kind", "random", ["none", "random"])
    'random'
    """
    known = list(known)
    if not isinstance(got, str) or got not in known:
        raise not_one_of(where, got, known)
    return got


def few(names: Sequence[str]) -> str:
    """Names to read, the first two where there are many.

    >>> few(["a", "b", "c"]), few(["a", "b", "c", "d"])
    ('a, b, c', 'a, b and 2 more')
    """
    return ", ".join(names) if len(names) <= 3 else f"{', '.join(names[:2])} and {len(names) - 2} more"


def check_parameters(where: str, owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise InputError for a parameter that `owner`, an entry of a registry, does not have."""
    known = list(known)
    for name in given:
        if not known:
            raise InputError(f"{where}: {owner} has no parameters, got {name!r}")
        if name not in known:
            raise not_one_of(f"{where}: parameter of {owner}", name, known)

"""TOML files, read and checked against a record: one sentence says where, what was got, what is allowed."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from market_sim.errors import InputError, nearest

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Names of scenarios and sweeps are names of folders."""


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """What a TOML file holds, which must be something.  `kind` is what is wanted, "a scenario"."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file ({kind} in TOML is wanted)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and numbers or nesting without end
        raise InputError(f"{path}: is not TOML: {error}") from None
    if not data:
        raise InputError(f"{path}: is empty; {kind} needs at least a name")
    return data


def validated[T: BaseModel](model: type[T], data: dict[str, Any], where: str) -> T:
    """A checked record from what a file holds.  Raises InputError, which begins with `where`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error, data, model)}") from None


def _sentence(error: ValidationError, data: dict[str, Any], model: type[BaseModel]) -> str:
    """The first error of a validation, for people."""

    # A value of several types has one error per type: those that got furthest into it say most, and of
    # those the ones of the right type.
    errors = [(_keys(found, data), found) for found in error.errors(include_url=False)]
    top = errors[0][0]
    path = max((keys for keys, _ in errors if keys[: len(top)] == top), key=len)
    here = [found for keys, found in errors if keys == path]
    first, *others = [found for found in here if not found["type"].endswith("_type")][:1] or here
    field, got = ".".join(map(str, path)), first["input"]
    kind = first["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        return f"{field} is not a known key; known are {', '.join(known)}{nearest(str(path[-1]), known)}"
    if kind == "missing":
        return f"{field or first['loc'][-1]} is missing"
    if kind == "value_error":
        message = str(first["ctx"]["error"])
        if not field:  # about the whole of the file
            return message
        return (
            f"{field} = {got!r} {message}" if message.startswith("is not one of") else f"{field}: {message}"
        )
    if kind == "literal_error":
        choices = [choice.strip("' ") for choice in first["ctx"]["expected"].replace(" or ", ",").split(",")]
        hint = nearest(got, choices) if isinstance(got, str) else ""
        return f"{field} = {got!r} is not one of {', '.join(choices)}{hint}"
    allowed = list(dict.fromkeys(_in_our_words(found["msg"]) for found in (first, *others)))
    words = " or ".join([allowed[0], *(each.removeprefix("it must be ") for each in allowed[1:])])
    return f"{field} = {_shown(got)} is not allowed; {words}"


def _in_our_words(message: str) -> str:
    message = re.sub(r"a valid dictionary or instance of \w+", "a table", message)
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message[0].lower() + message[1:]


def _shown(got: Any) -> str:
    try:
        return repr(got)
    except ValueError:  # Python prints no number of more than 4,300 digits
        return "a number of thousands of digits"


_WORDS = {
    f"String should match pattern '{NAME}'": "it must be of letters, digits, dots, dashes and underscores",
    "Input should": "it must",
    "Value should": "it must",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
    " after validation": "",
    ", unable to parse string as a number": "",
    "a valid dictionary": "a table",
    "a valid tuple": "a list",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
}
"""Pydantic's words, and those of this project."""


def _keys(found: Any, data: Any) -> list[str | int]:
    """Where an error is, in keys and places of the file: pydantic names branches and our own fields too."""
    path: list[str | int] = []
    for part in found["loc"]:
        place = isinstance(data, list | tuple) and isinstance(part, int)
        if place or (isinstance(data, Mapping) and part in data):
            data = data[part]
            path.append(part)
    return [*path, found["loc"][-1]] if found["type"] == "missing" else path


def _known_keys(section: type[BaseModel], path: list[str | int]) -> list[str]:
    """The keys of the section at a path."""
    for part in path:
        if isinstance(part, str):
            (section,) = sections_in(section.model_fields[part].annotation)
    return [field.alias or name for name, field in section.model_fields.items()]


def sections_in(annotation: Any) -> set[type[BaseModel]]:
    """The sections that an annotation is or holds: in a union, a tuple, or with conditions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return set().union(*map(sections_in, get_args(annotation)))

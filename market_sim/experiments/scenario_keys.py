"""Dotted names of a scenario's keys: where they lead, what they take, and how to set them."""

import tomllib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from market_sim.errors import InputError, nearest
from market_sim.experiments.scenario import Learning, Scenario
from market_sim.experiments.toml_files import sections_in

Keys = tuple[str | int, ...]
"""Key by key, places in lists as numbers: ("users", "segments", 0, "beta")."""

SECTIONS = tuple(name for name, field in Scenario.model_fields.items() if sections_in(field.annotation))


def path_of(key: str, where: str) -> Keys:
    """The keys of a dotted name, checked against what scenarios have; names with dots may be quoted.

    >>> path_of("market.margin.Qwen2.5-7B", "axes")
    ('market', 'margin', 'Qwen2.5-7B')

    Raises InputError for a name that no scenario has, with the nearest right one.
    """
    try:
        (parts,) = _keys(tomllib.loads(f"{key} = 0"))
    except (tomllib.TOMLDecodeError, ValueError):
        raise InputError(f"{where}: {key!r} is not a dotted key, as users.beta is") from None
    if parts[0] in ("name", "seed", "output"):
        instead = {"seed": "; seed and seeds of the sweep say which seeds are played"}.get(parts[0], "")
        raise InputError(f"{where}: {key} changes nothing that a sweep keeps{instead}")
    path: list[str | int] = []
    section: type[BaseModel] = Scenario
    rest = list(parts)
    while rest:
        part = rest.pop(0)
        if part not in section.model_fields:
            raise InputError(f"{where}: {key} is not a key of a scenario{_meant(key, part, path, section)}")
        path.append(part)
        annotation = section.model_fields[part].annotation
        inner = sections_in(annotation)
        if not rest:
            break
        if Learning in inner:  # {rule, its parameters, tables by model}
            path += [".".join(rest[:-1]), rest[-1]] if len(rest) > 1 else rest
            break
        if not inner:
            if dict not in _leaves(annotation):
                raise InputError(f"{where}: {key} is not a key of a scenario: {part} is not a table")
            path.append(".".join(rest))
            break
        if tuple in _leaves(annotation):
            if not rest[0].isdigit():
                raise InputError(f"{where}: {key}: {part} is a list; say which, as in {part}.0")
            path.append(int(rest.pop(0)))
        (section,) = inner
    return tuple(path)


def _keys(table: Any) -> Iterator[tuple[str, ...]]:
    """Every path through nested tables."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in _keys(value))
        else:
            yield (key,)


def _meant(key: str, part: str, path: list[str | int], section: type[BaseModel]) -> str:
    """Known keys and the nearest right one."""
    for name in SECTIONS:
        (inner,) = [each for each in sections_in(Scenario.model_fields[name].annotation)]
        if key in inner.model_fields:
            return f" (did you mean {name}.{key}?)"
    known = [".".join(map(str, [*path, name])) for name in section.model_fields]
    return f"; known are {', '.join(known)}{nearest('.'.join(map(str, [*path, part])), known)}"


def _leaves(annotation: Any) -> set[type]:
    """The plain types that an annotation allows; of tables and lists, `dict` and `tuple`."""
    if isinstance(annotation, type) and not get_args(annotation):
        return {annotation}
    origin = getattr(annotation, "__origin__", None)
    if origin in (dict, tuple):
        return {origin}
    return set().union(*(_leaves(each) for each in get_args(annotation)))


def _annotation(path: Keys) -> Any:
    """That of the field a path leads to; None inside free tables."""
    section: type[BaseModel] = Scenario
    annotation: Any = None
    for part in path:
        if isinstance(part, int):
            continue
        if part not in section.model_fields:
            return None
        annotation = section.model_fields[part].annotation
        inner = sections_in(annotation)
        if len(inner) == 1:
            (section,) = inner
        elif part != path[-1]:
            return None
    return annotation


def takes_whole_numbers(path: Keys) -> bool:
    leaves = _leaves(_annotation(path))
    return int in leaves and float not in leaves


def in_free_table(path: Keys) -> bool:
    return _annotation(path) is None


def put(data: dict[str, Any], path: Keys, value: Any, where: str) -> None:
    """Set a key in some data of a scenario; tables and lists on the way are copied, those of others stay.

    Raises InputError where the way ends at something that is no table or list.
    """
    place: Any = data
    for depth, part in enumerate(path[:-1]):
        found = None
        if isinstance(place, dict):
            found = place.get(part, None if isinstance(path[depth + 1], int) else {})
        elif isinstance(part, int) and part < len(place):
            found = place[part]
        if isinstance(found, dict | list):
            place[part] = found.copy()
            place = place[part]
        else:
            short = ".".join(map(str, path[: depth + 1]))
            why = "is not there to set it in" if found is None else f"is {found!r}, not a table"
            raise InputError(f"{where}: {'.'.join(map(str, path))} cannot be set: {short} {why}")
    if isinstance(place, list):
        raise InputError(f"{where}: {'.'.join(map(str, path))} cannot be set: it is an entry of a list")
    place[path[-1]] = value

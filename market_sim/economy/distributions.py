"""How users differ: the registry of distributions that a scenario can name.

A distribution is drawn by inverting its distribution function at uniform numbers, one per user, so the
same seed gives the same users whatever else is drawn.  A new one is a function and an entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from market_sim.errors import InputError, check_parameters, named
from market_sim.theory.arrays import Array
from market_sim.theory.parameters import Parameter


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """An entry of the registry.

    draw        (uniforms (U,), **parameters) -> (U,)
    parameters  numbers, or lists of numbers where the name is in `lists`
    check       (**parameters) -> what is wrong with them together, or None
    """

    name: str
    summary: str
    draw: Callable[..., Array]
    parameters: Mapping[str, Parameter]
    lists: tuple[str, ...] = ()
    check: Callable[..., str | None] = lambda **parameters: None


LARGEST = 1e12


def _number(meaning: str, least: float = 0.0, most: float = LARGEST, above: bool = False) -> Parameter:
    return Parameter(meaning=meaning, default=float("nan"), least=least, most=most, above=above)


def _lognormal(uniforms: Array, median: float, sigma: float) -> Array:
    deviates = ndtri(np.maximum(uniforms, 2.0**-54))  # a draw of exactly 0 would be a deviation of -inf
    return median * np.exp(sigma * deviates)


def _uniform(uniforms: Array, low: float, high: float) -> Array:
    return low + (high - low) * uniforms


def _choice(uniforms: Array, values: list[float], weights: list[float]) -> Array:
    running = np.cumsum(weights)
    place = np.searchsorted(running, uniforms * running[-1], side="right")
    return np.asarray(values, dtype=float)[np.minimum(place, len(values) - 1)]


def _wrong_ends(low: float, high: float) -> str | None:
    return None if low <= high else f"low = {low:g} is above high = {high:g}"


def _wrong_weights(values: list[float], weights: list[float]) -> str | None:
    if len(values) != len(weights):
        return f"there are {len(values)} values and {len(weights)} weights"
    return None if sum(weights) > 0 else "the weights are all 0"


DISTRIBUTIONS: dict[str, Distribution] = {
    distribution.name: distribution
    for distribution in (
        Distribution(
            name="lognormal",
            summary="many around a median, a few far above it; sigma is the deviation of the logarithm",
            draw=_lognormal,
            parameters={"median": _number("half are below it", above=True), "sigma": _number("", most=5.0)},
        ),
        Distribution(
            name="uniform",
            summary="anything between low and high, equally likely",
            draw=_uniform,
            parameters={"low": _number("the least"), "high": _number("the most")},
            check=_wrong_ends,
        ),
        Distribution(
            name="choice",
            summary="one of several values, with probabilities in proportion to weights",
            draw=_choice,
            parameters={"values": _number("what there is"), "weights": _number("how often")},
            lists=("values", "weights"),
            check=_wrong_weights,
        ),
    )
}


def drawn(table: Mapping[str, Any], uniforms: Array, where: str) -> Array:
    """Draws of {distribution = name, parameter = value, ...}, (U,).

    where  names the place in error sentences.  Raises InputError for what is not a distribution.
    """
    if "distribution" not in table:
        raise InputError(f"{where}.distribution is missing; allowed are {', '.join(DISTRIBUTIONS)}")
    name = named(f"{where}.distribution", table["distribution"], DISTRIBUTIONS)
    kind = DISTRIBUTIONS[name]
    given = {key: value for key, value in table.items() if key != "distribution"}
    check_parameters(where, name, given, kind.parameters)
    parameters: dict[str, Any] = {}
    for key, parameter in kind.parameters.items():
        if key not in given:
            raise InputError(f"{where}.{key} is missing; {name} needs {', '.join(kind.parameters)}")
        if key in kind.lists:
            if not isinstance(given[key], list | tuple) or not given[key]:
                raise InputError(
                    f"{where}.{key} = {given[key]!r} is not allowed; it must be a list of numbers"
                )
            parameters[key] = [
                parameter.check(f"{where}.{key}.{place}", value) for place, value in enumerate(given[key])
            ]
        else:
            parameters[key] = parameter.check(f"{where}.{key}", given[key])
    if wrong := kind.check(**parameters):
        raise InputError(f"{where}: {wrong}")
    return kind.draw(uniforms, **parameters)

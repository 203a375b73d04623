"""What learning rules, networks and distributions are tuned by: numbers in a range, and words of a list."""

from dataclasses import dataclass
from typing import Any

from market_sim.errors import InputError, not_one_of


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number that something is tuned by: its default, and the least and the most it may be."""

    meaning: str
    default: float
    least: float
    most: float
    above: bool = False

    def check(self, where: str, value: Any) -> float:
        """The value as a float.  Raises InputError outside the range."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and (self.least < value if self.above else self.least <= value) and value <= self.most:
            return float(value)
        got, wanted = (f"{value:g}", self.allowed) if number else (repr(value), f"a number {self.allowed}")
        raise InputError(f"{where} = {got} is not allowed; it must be {wanted}")

    @property
    def allowed(self) -> str:
        """In words: "at least 0 and at most 1"."""
        return f"{'above' if self.above else 'at least'} {self.least:g} and at most {self.most:g}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A parameter that is one of a few words."""

    meaning: str
    default: str
    options: tuple[str, ...]

    def check(self, where: str, value: Any) -> str:
        """The value.  Raises InputError for another word."""
        if value not in self.options:
            raise not_one_of(where, value, self.options)
        return value

    @property
    def allowed(self) -> str:
        return ", ".join(self.options)

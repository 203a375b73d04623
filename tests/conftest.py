"""What every test runs under: floating-point errors are raised, random examples are reproducible."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "theorems",
    derandomize=True,
    deadline=None,
    max_examples=150,
    # The one function-scoped fixture below sets the same error state for every example.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("theorems")


@pytest.fixture(autouse=True)
def floating_point_errors_are_raised() -> Iterator[None]:
    """A division by zero, an overflow or an invalid operation is an error; underflow is normal where
    logarithms are exponentiated."""
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        yield

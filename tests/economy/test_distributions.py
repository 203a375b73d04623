"""Distributions that users are drawn from: their law, their refusals."""

import numpy as np
import pytest
from scipy import stats

from market_sim.economy.distributions import DISTRIBUTIONS, drawn
from market_sim.errors import InputError

U = (np.arange(20_000) + 0.5) / 20_000
EXAMPLES = {
    "lognormal": {"median": 1000.0, "sigma": 0.5},
    "uniform": {"low": 200.0, "high": 2000.0},
    "choice": {"values": [3.0, 1.0, 2.0], "weights": [1.0, 0.0, 3.0]},
}


def test_every_distribution_has_an_example_here():
    assert set(EXAMPLES) == set(DISTRIBUTIONS)


@pytest.mark.parametrize(
    ("name", "law"),
    [("lognormal", stats.lognorm(0.5, scale=1000)), ("uniform", stats.uniform(200, 1800))],
)
def test_draws_follow_the_law(name, law):
    table = {"distribution": name, **EXAMPLES[name]}
    np.testing.assert_allclose(drawn(table, U, "x"), law.ppf(U), rtol=1e-9)


def test_a_choice_is_drawn_in_proportion_to_its_weights():
    values, counts = np.unique(
        drawn({"distribution": "choice", **EXAMPLES["choice"]}, U, "x"), return_counts=True
    )
    assert (values.tolist(), counts.tolist()) == ([2.0, 3.0], [15_000, 5_000])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_ends_of_the_uniform_numbers_are_finite(name):
    ends = drawn({"distribution": name, **EXAMPLES[name]}, np.array([0.0, 1 - 2.0**-53]), "x")
    assert np.isfinite(ends).all()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "x.distribution is missing; allowed are lognormal, uniform, choice"),
        ({"distribution": "lognorml"}, "did you mean lognormal"),
        ({"distribution": "lognormal", "median": 3}, "x.sigma is missing; lognormal needs median, sigma"),
        (
            {"distribution": "lognormal", "median": 3, "sigma": -1},
            "x.sigma = -1 is not allowed; .* at least 0",
        ),
        ({"distribution": "lognormal", "median": 0, "sigma": 1}, "x.median = 0 is not allowed; .* above 0"),
        ({"distribution": "lognormal", "median": "a", "sigma": 1}, "x.median = 'a' is not allowed"),
        ({"distribution": "lognormal", "medan": 3, "sigma": 1}, "'medan' .*did you mean median"),
        ({"distribution": "uniform", "low": 3, "high": 2}, "x: low = 3 is above high = 2"),
        ({"distribution": "choice", "values": [], "weights": []}, r"x.values = \[\] is not allowed"),
        ({"distribution": "choice", "values": [1], "weights": [1, 2]}, "there are 1 values and 2 weights"),
        ({"distribution": "choice", "values": [1, 2], "weights": [0, 0]}, "the weights are all 0"),
        (
            {"distribution": "choice", "values": [1, "b"], "weights": [1, 1]},
            "x.values.1 = 'b' is not allowed",
        ),
        ({"distribution": "choice", "values": [1, 2], "weights": [1, -1]}, "x.weights.1 = -1 is not allowed"),
    ],
)
def test_what_is_no_distribution_is_refused_in_one_sentence(table, says):
    with pytest.raises(InputError, match=says) as caught:
        drawn(table, U, "x")
    assert "\n" not in str(caught.value)

"""Users of a scenario: distributions, types from a file, task mixes, networks."""

import numpy as np
import pytest

from market_sim.errors import InputError
from market_sim.experiments.build import market_of
from market_sim.experiments.people import experience_of, users_of
from market_sim.experiments.run import run
from market_sim.experiments.scenario import load_scenario
from tests.experiments.test_run import SCENARIO

TASKS = {"benchmark": ["GSM8K", "AIME"], "method": "majority_voting", "models": ["Llama-3-8B", "Qwen2-7B"]}


def users(folder=None, market=SCENARIO["market"], **section):
    scenario = load_scenario({"name": "x", "rounds": 3, "seed": 5, "market": market, "users": section})
    if folder is not None:
        scenario._folder = folder
    return users_of(scenario, market_of(scenario))


def test_the_first_thousand_of_two_thousand_users_are_those_of_one_thousand():
    spread = {"beta": {"distribution": "lognormal", "median": 500, "sigma": 1.0}}
    few, many = users(count=1000, **spread), users(count=2000, **spread)
    np.testing.assert_array_equal(few.beta, many.beta[:1000])
    assert len(np.unique(few.beta)) == 1000


def test_one_distribution_does_not_move_another():
    spread = {"distribution": "uniform", "low": 0.5, "high": 2}
    alone = users(count=100, value_scale=spread)
    both = users(
        count=100, value_scale=spread, budget_usd={"distribution": "uniform", "low": 0.001, "high": 1}
    )
    np.testing.assert_array_equal(alone.value_scale, both.value_scale)
    assert alone.budget is None
    assert len(np.unique(both.budget)) == 100
    assert abs(np.corrcoef(both.value_scale, both.budget)[0, 1]) < 0.3


def test_numbers_reach_everybody():
    people = users(count=10, beta=3.0, value_scale=2.0, budget_usd=0.5, inertia_usd=0.25)
    for column, value in (("beta", 3.0), ("value_scale", 2.0), ("budget", 0.5), ("inertia", 0.25)):
        assert getattr(people, column).tolist() == [value] * 10


def test_users_of_a_continuum_differ_when_asked_to():
    spread = {"distribution": "choice", "values": [1, 2], "weights": [1, 1]}
    people = users(count=1000, demand="expected", value_scale=spread)
    assert people.n_people == 1000
    assert set(people.value_scale) == {1.0, 2.0}


def test_types_are_read_from_a_file(tmp_path):
    (tmp_path / "types.csv").write_text("weight,beta,budget_usd\n1,100,0.01\n3,2000,0.02\n")
    people = users(tmp_path, count=4000, types="types.csv")
    rare = people.beta == 100
    assert 900 < rare.sum() < 1100
    assert set(people.budget[rare]) == {0.01}
    assert set(people.budget[~rare]) == {0.02}
    assert set(people.value_scale) == {1.0}


def test_types_are_segments_under_expected_demand(tmp_path):
    (tmp_path / "types.csv").write_text("weight,beta\n1,100\n3,2000\n")
    people = users(tmp_path, count=1000, types="types.csv", demand="expected")
    assert (people.size.tolist(), people.beta.tolist()) == ([250, 750], [100, 2000])


def test_a_type_without_a_budget_has_no_limit_and_one_without_inertia_stays_with_nobody(tmp_path):
    """As segments do that leave it out."""
    (tmp_path / "types.csv").write_text("weight,beta,budget_usd,inertia_usd\n1,100,,0.5\n3,2000,0.02, \n")
    people = users(tmp_path, count=100, types="types.csv")
    free = people.beta == 100
    assert set(people.budget[free]) == {np.inf}
    assert set(people.budget[~free]) == {0.02}
    assert set(people.inertia[free]) == {0.5}
    assert set(people.inertia[~free]) == {0.0}


def test_a_column_of_blanks_changes_nothing_that_is_played(tmp_path):
    (tmp_path / "blank.csv").write_text("weight,beta,budget_usd,inertia_usd\n1,100,,\n3,2000,,\n")
    (tmp_path / "none.csv").write_text("weight,beta\n1,100\n3,2000\n")
    blank, none = (
        run(SCENARIO | {"users": {"count": 200, "types": str(tmp_path / f"{name}.csv")}}).rounds
        for name in ("blank", "none")
    )
    for name in ("welfare_usd", "price_usd", "outside_share"):
        np.testing.assert_allclose(blank[name], none[name], rtol=1e-12)


def test_types_of_a_continuum_have_no_inertia(tmp_path):
    (tmp_path / "types.csv").write_text("weight,inertia_usd\n1,0.1\n")
    says = 'types.csv: column inertia_usd is for people who are drawn .*users.demand = "expected"'
    with pytest.raises(InputError, match=says):
        users(tmp_path, types="types.csv", demand="expected")


def test_types_may_ask_for_different_tasks(tmp_path):
    (tmp_path / "types.csv").write_text("weight,GSM8K,AIME\n1,1,0\n1,1,3\n")
    people = users(tmp_path, market=TASKS, count=50, types="types.csv")
    assert {tuple(row) for row in people.task_weights.tolist()} == {(1.0, 0.0), (0.25, 0.75)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("beta\n3\n", "types.csv: column weight is missing; the file has beta"),
        ("weight,beta\n", "types.csv: has a header and no rows"),
        ("weight,betta\n1,3\n", "types.csv: column = 'betta' .*did you mean beta"),
        ("weight,beta\n1,x\n", "types.csv: row 2: beta = 'x' is not allowed; .*at least 0"),
        ("weight,beta\n1,3\n-1,3\n", "types.csv: row 3: weight = '-1' is not allowed"),
        ("weight,value_scale\n1,0\n", "types.csv: row 2: value_scale = '0' is not allowed; .*above 0"),
        ("weight,beta\n0,3\n", "types.csv: the weights are all 0"),
        ("weight,beta\n1,nan\n", "row 2: beta = 'nan' is not allowed"),
        ("weight,beta\n1,\n", "row 2: beta = '' is not allowed"),
        ("weight,beta\n1,1_0\n", "row 2: beta = '1_0' is not allowed"),
        ("weight,beta\n1\n", "types.csv: row 2 has 1 columns, the header has 2"),
        ("weight,beta\n1,3\n1,3,4\n", "types.csv: row 3 has 3 columns, the header has 2"),
        ("weight,beta,beta\n1,3,4\n", "types.csv: column beta stands in the header twice"),
        ("weight,budget_usd\n1,0\n", "row 2: budget_usd = '0' is not allowed; .*above 0 .*, or blank"),
    ],
)
def test_a_file_of_types_that_is_none_is_refused_with_the_line(tmp_path, text, says):
    (tmp_path / "types.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        users(tmp_path, types="types.csv")


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"types": "none.csv"}, "none.csv: there is no such file"),
        (
            {"beta": {"distribution": "lognorml", "median": 1, "sigma": 1}},
            "users.beta.distribution .*lognormal?",
        ),
        ({"beta": {"median": 1, "sigma": 1}}, "users.beta.distribution is missing; allowed are lognormal"),
        ({"beta": {"distribution": ["uniform"]}}, r"users.beta.distribution = \['uniform'\] is not one of"),
        (
            {"value_scale": {"distribution": "uniform", "low": 0, "high": 0}},
            "users.value_scale draws amounts",
        ),
        ({"tasks": {"GSM8": 1}}, "users.tasks names a benchmark = 'GSM8' .*did you mean GSM8K"),
        ({"network": {"kind": "random"}}, 'users: network needs information = "experience"'),
        ({"information": "experience", "demand": "expected"}, "belongs to people who are drawn one by one"),
        ({"inertia_usd": 0.1, "demand": "expected"}, "inertia_usd belongs to people"),
        ({"information": "experience", "experience": {"step": 0}}, "users.experience.step = 0 .*above 0"),
        ({"information": "experience", "experience": {"trust": 1}}, "users.experience.trust = 1 .*below 1"),
        ({"information": "experience", "experience": {"stp": 1}}, "users.experience.stp is not a known key"),
        ({"information": "hearsay"}, "users.information = 'hearsay' is not one of full, experience"),
    ],
)
def test_users_that_make_no_sense_are_refused_in_one_sentence(section, says):
    with pytest.raises(InputError, match=says) as caught:
        users(**section)
    assert "\n" not in str(caught.value)


def network_of(folder, **network):
    section = {"count": 6, "information": "experience", "network": network}
    scenario = load_scenario({"name": "x", "market": SCENARIO["market"], "users": section})
    scenario._folder = folder
    market = market_of(scenario)
    return experience_of(scenario, market, users_of(scenario, market)).network


def test_a_network_may_be_a_file(tmp_path):
    (tmp_path / "links.txt").write_text("0 1\n1 2\n# nobody\n4 5 2.0\n")
    network = network_of(tmp_path, file="links.txt")
    assert np.diff(network.indptr).tolist() == [1, 2, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"kind": "smal_world"}, "users.network.kind = 'smal_world' .*did you mean small_world"),
        ({"neighbours": 3}, "users.network needs a kind, or a file"),
        ({"kind": "random", "rewire": 1}, "users.network: parameter of random = 'rewire'"),
        ({"kind": "small_world", "neighbours": 3}, "users.network.neighbours = 3 .*even number"),
        ({"kind": "small_world", "rewire": 2}, "users.network.rewire = 2 .*at most 1"),
        ({"kind": "random", "trust": "degre"}, "users.network.trust = 'degre' .*did you mean degree"),
        ({"file": "links.txt", "kind": "random"}, "beside file"),
        ({"file": "links.txt"}, "^scenario: users.network.file: .*links.txt: line 2: got '9'"),
        ({"file": "none.txt"}, "^scenario: users.network.file: .*none.txt"),
        ({"file": "links.txt", "trust": "blind"}, "^scenario: users.network.trust = 'blind'"),
        ({"file": ["links.txt"]}, "users.network.file = .*must be the name of a file"),
        ({"kind": ["random"]}, r"users.network.kind = \['random'\] is not one of none, complete"),
        ({"kind": "small_world", "where": "x"}, "parameter of small_world = 'where' is not one of"),
        ({"kind": "small_world", "seed": 1}, "parameter of small_world = 'seed' is not one of"),
        ({"kind": "none", "n_users": 1}, "users.network: none has no parameters, got 'n_users'"),
    ],
)
def test_a_network_that_is_none_is_refused_in_one_sentence(tmp_path, network, says):
    (tmp_path / "links.txt").write_text("0 1\n1 9\n")
    with pytest.raises(InputError, match=says) as caught:
        network_of(tmp_path, **network)
    assert "\n" not in str(caught.value)


def test_a_run_keeps_what_it_was_played_with_and_can_be_played_from_it(tmp_path):
    (tmp_path / "types.csv").write_text("weight,beta\n1,100\n3,2000\n")
    (tmp_path / "links.txt").write_text("0 1\n")
    data = SCENARIO | {
        "users": {
            "count": 60,
            "types": str(tmp_path / "types.csv"),
            "value_scale": {"distribution": "uniform", "low": 0.5, "high": 2},
            "information": "experience",
            "network": {"file": str(tmp_path / "links.txt")},
        }
    }
    first = run(data, out=tmp_path)
    again = run(first.folder / "scenario.toml", out=tmp_path)
    assert again.reused
    assert again.folder == first.folder
    (tmp_path / "types.csv").write_text("weight,beta\n1,100\n4,2000\n")
    assert run(data, out=tmp_path).folder != first.folder


def test_every_sort_of_user_plays_several_tasks(tmp_path):
    data = SCENARIO | {
        "market": TASKS,
        "users": {"count": 50, "tasks": {"AIME": 1, "GSM8K": 3}, "information": "experience"},
    }
    result = run(data)
    assert set(result.providers["benchmark"]) == {"GSM8K", "AIME"}
    assert len(result.providers["round"]) == 7 * 2 * 2
    np.testing.assert_allclose(result.rounds["welfare_usd"].shape, 7)

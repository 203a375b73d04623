"""A sweep file is checked before anything runs, and says which runs there are."""

import datetime
import re
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from market_sim.errors import InputError
from market_sim.experiments.designs import rows_of
from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.sweep import Sweep, load_sweep, scenario_at, seed_of
from market_sim.experiments.sweep_check import check_points
from tests.sweeps import BASE, sweep_of


def settings(sweep):
    names = [axis.name for axis in sweep.axes]
    return [dict(zip(names, sweep.values_at(p), strict=True)) for p in range(sweep.n_points)]


def test_a_grid_has_every_combination_the_first_axis_slowest():
    sweep = load_sweep(
        sweep_of({"users.beta": [1.0, 2.0], "regime.kind": ["planner", "flat_price"]}, seeds=3)
    )
    assert settings(sweep) == [
        {"users.beta": beta, "regime.kind": kind} for beta in (1.0, 2.0) for kind in ("planner", "flat_price")
    ]
    assert sweep.n_runs == 12


def test_a_sweep_without_axes_is_one_point():
    assert settings(load_sweep(sweep_of())) == [{}]


def test_ranges_hold_both_ends_exactly_and_even_steps_or_ratios_between():
    axes = {
        "users.beta": {"from": 1, "to": 1e6, "steps": 7, "scale": "log"},
        "market.margin": {"from": 0.1, "to": 0.5, "steps": 5},
    }
    beta, margin = load_sweep(sweep_of(axes)).axes
    assert beta.values[0] == 1.0
    assert beta.values[-1] == 1e6
    np.testing.assert_allclose(beta.values, 10.0 ** np.arange(7), rtol=1e-14)
    np.testing.assert_allclose(margin.values, [0.1, 0.2, 0.3, 0.4, 0.5], rtol=1e-14)


def test_ranges_of_whole_numbers_are_whole():
    axes = {"users.count": {"from": 10, "to": 1000, "steps": 4, "scale": "log"}}
    (axis,) = load_sweep(sweep_of(axes)).axes
    assert axis.values == (10, 46, 215, 1000)
    assert all(type(value) is int for value in axis.values)


def test_a_whole_table_is_set_before_the_keys_in_it_whichever_axis_comes_first():
    axes = {
        "users.experience.step": [0.1, 0.2],
        "users.experience": [{"trust": 0.3}, {"trust": 0.3, "step": 0.5}],
        "users.information": ["experience"],
    }
    sweep = load_sweep(sweep_of(axes))
    made = [
        scenario_at(sweep.base, sweep.folder, sweep.paths, sweep.values_at(point), where="here")
        for point in range(sweep.n_points)
    ]
    assert [one.users.experience.step for one in made] == [0.1, 0.1, 0.2, 0.2]


def test_settings_in_a_list_are_points_crossed_with_the_axes_and_leave_the_base_where_they_say_nothing():
    sweep = load_sweep(
        sweep_of(
            {"users.beta": [1.0, 2.0]},
            design={"kind": "list", "settings": [{"market.margin": 0.1}, {"market": {"baseline": 0.2}}]},
        )
    )
    assert settings(sweep) == [
        {"users.beta": beta, "market.margin": margin, "market.baseline": baseline}
        for margin, baseline in ((0.1, None), (None, 0.2))
        for beta in (1.0, 2.0)
    ]
    scenario = scenario_at(sweep.base, sweep.folder, sweep.paths, sweep.values_at(0), where="here")
    assert scenario.market.margin == 0.1
    assert scenario.market.baseline == load_scenario({"name": "x"} | BASE).market.baseline


@pytest.mark.parametrize(("kind", "points"), [("latin_hypercube", 8), ("sobol", 8 * 4), ("morris", 8 * 3)])
def test_designs_fill_ranges_and_are_crossed_with_lists(kind, points):
    pytest.importorskip("SALib", reason="SALib, which makes designs, is not installed")
    axes = {
        "regime.kind": ["planner", "flat_price"],
        "users.beta": {"from": 10, "to": 1000, "scale": "log"},
        "market.margin": {"from": 0.1, "to": 0.5},
    }
    design = {"kind": kind, "points": 8}
    sweep = load_sweep(sweep_of(axes, design=design))
    assert sweep.n_points == 2 * points == 2 * rows_of(kind, 2, 8, order=1)
    regime, beta, margin = sweep.axes
    assert [regime.at(0), regime.at(points)] == ["planner", "flat_price"]
    assert len(set(beta.values)) > 3
    assert all(10 <= value <= 1000 for value in beta.values)
    assert all(0.1 <= value <= 0.5 for value in margin.values)
    # The same points under each regime, and the same again another time.
    assert [s["users.beta"] for s in settings(sweep)[:points]] == list(beta.values)
    assert [s["users.beta"] for s in settings(sweep)[points:]] == list(beta.values)
    assert load_sweep(sweep_of(axes, design=design)).digest == sweep.digest
    assert load_sweep(sweep_of(axes, design=design, seed=2)).digest != sweep.digest


def test_a_key_with_quotes_is_written_as_its_column_is_called():
    margins = {name: 0.2 for name in BASE["market"]["models"]}
    base = {"market": BASE["market"] | {"margin": margins}}
    sweep = load_sweep(sweep_of({'market.margin."Qwen2-7B"': [0.1, 0.3]}, base=base))
    assert [axis.name for axis in sweep.axes] == ["market.margin.Qwen2-7B"]
    assert sweep.written["axes"] == {"market.margin.Qwen2-7B": [0.1, 0.3]}
    assert load_sweep(sweep.written).digest == sweep.digest


LEARNING = {"information": "experience"}


@pytest.mark.parametrize(
    "sweep",
    [
        {"axes": {"users.network": [{"file": "links.txt"}]}},
        {"axes": {"users.network.file": ["links.txt"]}},
        {"axes": {"users": [LEARNING | {"count": 3, "network": {"file": "links.txt"}}]}},
        {"design": {"kind": "list", "settings": [{"users.network": {"file": "links.txt"}}]}},
        {"base": BASE | {"users": LEARNING | {"count": 3, "network": {"file": "links.txt"}}}},
    ],
    ids=["table", "key", "section", "setting", "base"],
)
def test_files_that_are_named_anywhere_count_by_what_is_in_them(tmp_path, sweep):
    data = sweep_of() | {"base": BASE | {"users": LEARNING | {"count": 3}}} | sweep

    def loaded(folder: Path, text: str, told: dict) -> Sweep:
        folder.mkdir(exist_ok=True)
        (folder / "links.txt").write_text(text)
        (folder / "sweep.toml").write_text(tomli_w.dumps(told))
        return load_sweep(folder / "sweep.toml")

    first = loaded(tmp_path / "here", "0 1\n", data)
    assert list(first.files) == [str(tmp_path / "here" / "links.txt")]
    assert loaded(tmp_path / "there", "0 1\n", data).digest == first.digest
    assert loaded(tmp_path / "there", "0 2\n", data).digest != first.digest
    moved = loaded(tmp_path / "kept", "0 2\n", first.written)
    assert (moved.digest, moved.files) == (first.digest, first.files)


def test_a_range_with_a_step_has_multiples_of_it_only():
    pytest.importorskip("SALib", reason="SALib, which makes designs, is not installed")
    neighbours = {"from": 2, "to": 9, "step": 2}
    network = {"kind": "small_world", "neighbours": 2, "rewire": 0.1}
    base = BASE | {"users": {"count": 20, "information": "experience", "network": network}}
    for design in {"kind": "grid"}, {"kind": "latin_hypercube", "points": 32}:
        sweep = load_sweep(sweep_of({"users.network.neighbours": neighbours}, base=base, design=design))
        check_points(sweep)
        assert sorted(set(sweep.axes[0].values)) == [2, 4, 6, 8]
        assert sweep.n_points == (4 if design["kind"] == "grid" else 32)
        assert {type(value) for value in sweep.axes[0].values} == {int}


def test_a_sobol_design_for_pairs_of_ranges_has_the_rows_that_are_foretold():
    pytest.importorskip("SALib", reason="SALib, which makes designs, is not installed")
    axes = {"market.margin": {"from": 1, "to": 2}, "market.baseline": {"from": 0, "to": 1}}
    sweep = load_sweep(sweep_of(axes, design={"kind": "sobol", "points": 4, "order": 2}))
    assert sweep.n_points == rows_of("sobol", 2, 4, order=2) == 24


def test_a_latin_hypercube_has_one_point_in_every_slice_of_every_range():
    pytest.importorskip("SALib", reason="SALib, which makes designs, is not installed")
    axes = {"market.margin": {"from": 1, "to": 2}, "market.baseline": {"from": 0, "to": 1}}
    sweep = load_sweep(sweep_of(axes, design={"kind": "latin_hypercube", "points": 16}))
    margin, baseline = (np.array(axis.values) for axis in sweep.axes)
    assert sorted(np.floor((margin - 1) * 16)) == list(range(16))
    assert sorted(np.floor(baseline * 16)) == list(range(16))


def test_a_sobol_design_stands_in_the_order_that_saltellis_estimators_expect():
    """Rows of a base sample: A, then A with one column of B each, then B (Saltelli et al. 2010)."""
    pytest.importorskip("SALib", reason="SALib, which makes designs, is not installed")
    axes = {"market.margin": {"from": 1, "to": 2}, "market.baseline": {"from": 0, "to": 1}}
    sweep = load_sweep(sweep_of(axes, design={"kind": "sobol", "points": 4}))
    x = np.array([axis.values for axis in sweep.axes]).T.reshape(4, 4, 2)
    a, mixed, b = x[:, 0], x[:, 1:3], x[:, 3]
    for d in range(2):
        np.testing.assert_array_equal(mixed[:, d, d], b[:, d])
        np.testing.assert_array_equal(mixed[:, d, 1 - d], a[:, 1 - d])


def test_axes_reach_every_kind_of_key():
    axes = {
        "market.margin": [{"Llama-3-8B": 0.1, "Qwen2-7B": 0.2}],
        "market.prices.Qwen2-7B": [0.3],
        "providers.learning.rule": ["hedge"],
        "providers.learning.Qwen2-7B": [{"rule": "q_learning"}],
        "providers.auction_learning": [{"rule": "truthful"}],
        "users.beta.median": [500.0],
        "users.information": ["experience"],
        "users.network.kind": ["small_world"],
        "users.network.neighbours": {"from": 2, "to": 4, "steps": 2},
        "regime": [{"kind": "flat_price"}],
        "market.models": [["Llama-3-8B", "Qwen2-7B"]],
        "events.0.demand": [2.0],
    }
    base = BASE | {
        "users": {"count": 20, "beta": {"distribution": "lognormal", "median": 1000, "sigma": 0.5}},
        "providers": {"learning": {"rule": "better_reply"}},
        "events": [{"round": 1, "demand": 1.5}],
    }
    sweep = load_sweep(sweep_of(axes, base=base))
    check_points(sweep)
    scenario = scenario_at(sweep.base, sweep.folder, sweep.paths, sweep.values_at(1), where="here")
    assert scenario.users.beta["median"] == 500
    assert scenario.users.network == {"kind": "small_world", "neighbours": 4}
    assert scenario.providers.learning.by_model["Qwen2-7B"].rule == "q_learning"
    assert scenario.providers.learning.others.rule == "hedge"
    assert scenario.market.prices == {"Qwen2-7B": 0.3}
    assert scenario.events[0].demand == 2.0


def test_names_with_dots_are_keys_of_tables_quoted_or_not():
    for key in ("market.margin.Qwen2.5-7B", 'market.margin."Qwen2.5-7B"'):
        (axis,) = load_sweep(sweep_of({key: [0.1]})).axes
        assert axis.path == ("market", "margin", "Qwen2.5-7B")


def test_axes_may_be_written_in_tables():
    nested = load_sweep(sweep_of({"users": {"beta": [1.0], "count": {"from": 1, "to": 2}}}))
    dotted = load_sweep(sweep_of({"users.beta": [1.0], "users.count": {"from": 1, "to": 2}}))
    assert nested.digest == dotted.digest


def test_the_scenario_of_a_sweep_stands_beside_it_or_in_it(tmp_path):
    (tmp_path / "base.toml").write_text(
        'name = "b"\n[market]\nbenchmark = "GSM8K"\nmethod = "majority_voting"\n', encoding="utf-8"
    )
    (tmp_path / "sweep.toml").write_text('name = "s"\nscenario = "base.toml"\n', encoding="utf-8")
    assert load_sweep(tmp_path / "sweep.toml").base["market"]["benchmark"] == "GSM8K"
    with pytest.raises(InputError, match=r"needs either scenario.* or a \[base\] table"):
        load_sweep({"name": "s"})


def test_a_written_sweep_is_the_same_sweep(tmp_path):
    import tomli_w

    (tmp_path / "types.csv").write_text("weight,beta\n1,200\n3,1000\n", encoding="utf-8")
    base = BASE | {"users": {"types": "types.csv", "count": 5}}
    file = tmp_path / "a" / "sweep.toml"
    file.parent.mkdir()
    data = sweep_of(
        {"market.margin": [0.1, 0.2]}, base=base | {"users": {"types": "../types.csv", "count": 5}}
    )
    file.write_text(tomli_w.dumps(data), encoding="utf-8")
    sweep = load_sweep(file)
    again = tmp_path / "elsewhere.toml"
    again.write_text(tomli_w.dumps(sweep.written), encoding="utf-8")
    assert load_sweep(again).digest == sweep.digest
    (tmp_path / "types.csv").write_text("weight,beta\n1,200\n4,1000\n", encoding="utf-8")
    assert load_sweep(file).digest != sweep.digest


def test_seeds_depend_on_the_sweeps_seed_and_the_replicate_only():
    seeds = {(seed, replicate): seed_of(seed, replicate) for seed in range(20) for replicate in range(50)}
    assert len(set(seeds.values())) == len(seeds)
    assert all(0 <= value < 2**53 for value in seeds.values())
    assert seed_of(1, 0) == 4117112474581694  # never to be changed: tables name their runs by it


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        (
            {"market.margn": [0.1]},
            r"market.margn is not a key of a scenario; known are .*\(did you mean market.margin\?\)",
        ),
        ({"margin": [0.1]}, r"margin is not a key of a scenario \(did you mean market.margin\?\)"),
        ({"makret.margin": [0.1]}, r"did you mean market\?"),
        ({"users.count.small": [1]}, "users.count.small is not a key of a scenario: count is not a table"),
        ({"users.segments.beta": [1]}, "segments is a list; say which, as in segments.0"),
        ({"seed": [1, 2]}, "seed and seeds of the sweep say which seeds are played"),
        ({"name": ["a"]}, "changes nothing that a sweep keeps"),
        ({"users.beta": 3}, "axes.users.beta = 3 is not a list of values, or a range"),
        ({"users.beta": []}, "is not a list of values"),
        ({"users.beta": {"from": 1}}, "axes.users.beta: to is missing"),
        ({"users.beta": {"from": 2, "to": 1}}, "to = 1 must be above from = 2"),
        ({"users.beta": {"from": 0, "to": 1, "scale": "log"}}, "from = 0 must be above 0"),
        ({"users.beta": {"from": 1, "to": 2, "stps": 3}}, r"stps is not a known key.*did you mean steps\?"),
        ({"users.beta": [1], "users": {"beta": [2]}}, "users.beta is set twice"),
        ({"not a key!": [1]}, "is not a dotted key"),
        ({"users.beta": [-1.0]}, r"point 0 \(users.beta = -1.0\): users.beta = -1.0 is not allowed"),
        ({"users.count": [1.5]}, "users.count = 1.5 is not allowed; it must be a whole number"),
        ({"regime.kind": ["planer"]}, r"regime.kind = 'planer' is not one of .*did you mean planner\?"),
        ({"market.models": [["Llama-3-8"]]}, r"'Llama-3-8' is not one of .*did you mean Llama-3-8B\?"),
        ({"providers.learning.rat": [1.0]}, "'rat' without rule: name the rule"),
        (
            {"providers.learning": [{"rule": "hedge", "raet": 1.0}]},
            r"'raet' is not one of .*did you mean rate\?",
        ),
        ({"market.margin": [{"Qwen": 0.1}]}, "margin"),
        ({"market.margin.Qwen2-7B": [0.1]}, "margin has no entry for model 'Llama-3-8B'"),
        ({"events.0.demand": [1.0]}, "events.0.demand cannot be set: events is not there to set it in"),
    ],
)
def test_an_impossible_axis_is_refused_before_anything_runs_with_the_nearest_right_word(axes, sentence):
    with pytest.raises(InputError, match=sentence):
        check_points(load_sweep(sweep_of(axes)))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"sedes": 3}, r"sedes is not a known key.*did you mean seeds\?"),
        ({"kind": "play"}, "kind = 'play' is not one of run, solve"),
        ({"kind": "solve"}, "rounds and keep_rounds are for kind"),
        ({"seeds": 0}, "seeds = 0 is not allowed"),
        ({"design": {"kind": "sobl"}}, r"design.kind = 'sobl' is not one of .*did you mean sobol\?"),
        ({"design": {"kind": "sobol"}}, "needs points"),
        ({"design": {"kind": "grid", "points": 4}}, "points are for latin_hypercube, sobol, morris"),
        ({"design": {"kind": "sobol", "points": 5}}, "not a power of two"),
        ({"design": {"kind": "sobol", "points": 4}}, "needs axes that are ranges"),
        ({"design": {"kind": "list"}}, "belong together"),
        ({"design": {"settings": [{"users.beta": 1.0}]}}, "belong together"),
        ({"base": {"market": {"benchmark": "GSM"}}}, r"not one of .*did you mean GSM8K\?"),
        ({"base": {"rouns": 3}}, r"base: rouns is not a known key.*did you mean rounds\?"),
        ({"seeds": 10_000_000, "axes": {"users.beta": [1, 2]}}, "20,000,000 runs are too many"),
        (
            {
                "axes": {
                    "users.beta": {"from": 1, "to": 2, "steps": 100_000},
                    "market.margin": {"from": 1, "to": 2, "steps": 100_000},
                }
            },
            "runs are too many",
        ),
        (
            {
                "axes": {
                    "users.beta": {"from": 1, "to": 2},
                    "market.margin": {"from": 1, "to": 2},
                },
                "design": {"kind": "sobol", "points": 2**23, "order": 2},
            },
            "50,331,648 runs are too many",
        ),
        ({"axes": {"users.beta": {"from": 1, "to": 9, "step": 2, "steps": 3}}}, "exclude each other"),
        ({"axes": {"users.beta": {"from": 1, "to": 2, "step": 3}}}, "step = 3 leads beyond to = 2"),
        ({"rounds": 2, "axes": {"rounds": [3, 5]}}, "rounds is set twice, by the sweep and by an axis"),
        ({"axes": {"market.margin": [datetime.date(2024, 1, 1)]}}, "2024-01-01 is a date or a time"),
        ({"axes": {"users.beta": [[datetime.time(1, 2)]]}}, "is a date or a time"),
        (
            {"design": {"kind": "list", "settings": [{"users.beta": datetime.datetime(2024, 1, 1)}]}},
            "design.settings: users.beta = 2024-01-01 00:00:00 is a date or a time",
        ),
        ({"design": {"kind": "morris", "points": 4, "order": 2}}, 'order is for kind = "sobol"'),
        ({"design": {"kind": "grid", "levels": 6}}, 'levels is for kind = "morris"'),
        (
            {"kind": "solve", "rounds": None, "keep_rounds": None, "axes": {"regime.kind": ["planner"]}},
            "an exact solution does not depend on regime.kind",
        ),
        (
            {
                "kind": "solve",
                "rounds": None,
                "keep_rounds": None,
                "base": {"market": {"benchmark": ["GSM8K", "AIME"], "method": "majority_voting"}},
            },
            "a sweep solves one at a time",
        ),
        ({"scenario": "nowhere.toml"}, "needs either scenario"),
        ({"scenario": "nowhere.toml", "base": None}, "there is no such scenario file"),
    ],
)
def test_an_impossible_sweep_is_refused_with_a_sentence(keys, sentence):
    data = {key: value for key, value in (sweep_of() | keys).items() if value is not None}
    with pytest.raises(InputError, match=sentence):
        check_points(load_sweep(data))


def test_a_value_that_is_possible_somewhere_is_not_refused():
    """exp3 makes no sense for the planner, whose own rule is played; a list that names it is fine."""
    axes = {
        "regime.kind": ["first_price_auction", "pay_per_compute"],
        "providers.auction_learning.rule": ["hedge"],
    }
    check_points(load_sweep(sweep_of(axes)))


def test_the_sentence_about_a_missing_file_names_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "sweeps").mkdir(parents=True)
    (tmp_path / "runs" / "sweeps" / "margins.toml").write_text("")
    with pytest.raises(InputError, match=re.escape("(did you mean runs/sweeps/margins.toml?)")):
        load_sweep("runs/sweeps/margin.toml")


def test_sampled_designs_say_what_to_install_where_salib_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "SALib.sample", None)
    axes = {"users.beta": {"from": 1, "to": 2}}
    with pytest.raises(InputError, match=r"needs the package SALib: pip install 'market-sim\[designs\]'"):
        load_sweep(sweep_of(axes, design={"kind": "latin_hypercube", "points": 2}))

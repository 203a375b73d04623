"""Learning rules from outside the package, as docs/formats.md tells people to write them."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from market_sim.errors import InputError
from market_sim.experiments.run import run
from tests.experiments.test_run import SCENARIO

MANUAL = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The manual's own example as my_module.py in the current folder."""
    (code,) = re.findall(r"```python\n(.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "my_module.py"
    file.write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    yield file
    sys.modules.pop("my_module", None)


def scenario(rule: str, **parameters) -> dict:
    return SCENARIO | {"rounds": 30, "providers": {"learning": {"rule": rule, **parameters}}}


def test_the_manuals_rule_is_played_with_its_parameters(example):
    levels = run(scenario("my_module:my_rule")).providers["compute_level"].reshape(31, 3)
    assert len(np.unique(levels, axis=0)) > 3
    still = run(scenario("my_module:my_rule", boldness=0)).providers["compute_level"].reshape(31, 3)
    assert (still == still[0]).all()


def test_a_run_is_played_again_when_the_code_of_its_rule_has_changed(example, tmp_path):
    first = run(scenario("my_module:my_rule"), out=tmp_path / "out")
    assert run(scenario("my_module:my_rule"), out=tmp_path / "out").reused
    example.write_text(example.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    second = run(scenario("my_module:my_rule"), out=tmp_path / "out")
    assert not second.reused
    assert second.folder != first.folder


@pytest.mark.parametrize(
    ("rule", "parameters", "says"),
    [
        ("my_module:my_rul", {}, "learning.rule = 'my_module:my_rul' cannot be loaded: .*has no attribute"),
        ("my_modul:my_rule", {}, "learning.rule = 'my_modul:my_rule' cannot be loaded: No module named"),
        ("my_module:np", {}, "learning.rule = 'my_module:np' is not a market_sim.theory.rule.RuleFamily"),
        ("my_module:my_rule", {"boldness": 2}, "learning.boldness = 2 is not allowed; .*at most 1"),
        ("my_module:my_rule", {"bold": 1}, "parameter of wanderer = 'bold' .*did you mean boldness"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_one_sentence(example, rule, parameters, says):
    with pytest.raises(InputError, match=says) as caught:
        run(scenario(rule, **parameters))
    assert "\n" not in str(caught.value)


def test_a_module_that_breaks_when_loaded_is_refused(example):
    example.write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be loaded: division by zero"):
        run(scenario("my_module:my_rule"))


@pytest.mark.parametrize(
    ("learning", "says"),
    [
        ({"rule": "logit_reply", "temperature": 0}, "learning.temperature = 0 is not allowed; .* above 0"),
        (
            {"rule": "epsilon_greedy", "exploration": 2},
            "exploration = 2 is not allowed; it must be at least 0",
        ),
        ({"rule": "epsilon_greedy", "explore": 0.2}, "'explore' .*did you mean exploration"),
        ({"rule": "fixed", "rate": 1}, "fixed has no parameters, got 'rate'"),
        ({"rule": "q_learning", "recall": "al"}, "learning.recall = 'al' .*none, own, all"),
        ({"rule": "hedge", "rate": "fast"}, "learning.rate = 'fast' is not allowed"),
        ({"rule": "hedge", "rate": float("nan")}, "learning.rate = nan is not allowed"),
        ({"rule": "fixed", "Qwen2-7B": {"rule": "hedge", "rate": 0}}, "learning.Qwen2-7B.rate = 0 is not"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_sentence(learning, says):
    with pytest.raises(InputError, match=says) as caught:
        run(SCENARIO | {"providers": {"learning": learning}})
    assert "\n" not in str(caught.value)


def test_recalling_everybody_is_refused_where_there_are_too_many_states():
    many = SCENARIO | {"market": {"benchmark": "GSM8K", "method": "majority_voting"}}
    learning = {"rule": "q_learning", "recall": "all"}
    with pytest.raises(InputError, match=r"providers.learning: .*6\^9 states .*at most 100,000"):
        run(many | {"providers": {"learning": learning}})
    run(SCENARIO | {"rounds": 3, "providers": {"learning": learning}})  # 6^3 are few enough


def test_a_parameter_makes_a_difference_and_is_kept_with_the_run(tmp_path):
    text = {}
    for rate in (0.5, 5.0):
        kept = run(SCENARIO | {"providers": {"learning": {"rule": "hedge", "rate": rate}}}, out=tmp_path)
        text[rate] = (kept.folder / "scenario.toml").read_text(encoding="utf-8")
        assert f"rate = {rate}" in text[rate]
    assert len(list((tmp_path / "small").iterdir())) == 2

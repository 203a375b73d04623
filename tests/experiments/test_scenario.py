"""Scenario files: every kind of bad input is one sentence, and what is read becomes the right market
(docs/formats.md)."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from market_sim.economy.regimes import REGIMES
from market_sim.errors import InputError
from market_sim.experiments.build import curves_of, market_of, rules_of, start_levels_of
from market_sim.experiments.people import users_of
from market_sim.experiments.run import run
from market_sim.experiments.scenario import (
    Event,
    ExperienceSection,
    GeneratedSection,
    MarketSection,
    OutputSection,
    ProvidersSection,
    RegimeSection,
    Scenario,
    Segment,
    UsersSection,
    changed,
    load_scenario,
)
from market_sim.experiments.solve import solve
from market_sim.experiments.timeline import timeline_of

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "runs").glob("*.toml"))

GOOD = """
name = "mine"
rounds = 3
[market]
benchmark = "GSM8K"
method = "majority_voting"
models = ["Llama-3-8B", "Qwen2-7B"]
"""


def toml_file(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    """The sentence with which a scenario is refused, when it is read or when it is built; it names the
    file, is of one line and speaks of no class of the program."""
    with pytest.raises(InputError) as caught:
        timeline_of(load_scenario(path))
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    assert not any(word in sentence for word in ("Section", "Learning", "Input should", "pydantic", "tuple["))
    return sentence.removeprefix(f"{path}: ")


# --- Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        # unknown keys, with the nearest known one
        ('rouns = 3\nname = "x"', "rouns is not a known key", "(did you mean rounds?)"),
        (GOOD + 'benchmrk = "AIME"', "market.benchmrk is not a known key", "(did you mean benchmark?)"),
        (GOOD + "[user]\ncount = 3", "user is not a known key", "(did you mean users?)"),
        (
            GOOD + "generated = {provider = 3}",
            "market.generated.provider",
            "missing",
        ),
        (
            GOOD + "generated = {providers = 0}",
            "market.generated.providers = 0 is not allowed",
            "it must be at least 1",
        ),
        (
            GOOD + 'generated = {providers = 3}\ncurves = "mine.csv"',
            "market: generated providers have their own curves",
            "leave curves or generated out",
        ),
        (GOOD + "[users]\nbetta = 3.0", "users.betta is not a known key", "(did you mean beta?)"),
        (GOOD + '[regime]\nknd = "x"', "regime.knd is not a known key", "(did you mean kind?)"),
        (
            GOOD + "[users]\nsegments = [{size = 1, beta = 1.0}, {size = 1, beta = 1.0, vale_scale = 2.0}]",
            "users.segments.1.vale_scale is not a known key",
            "(did you mean value_scale?)",
        ),
        # missing
        ("rounds = 3", "name is missing", ""),
        (GOOD + "[users]\nsegments = [{beta = 1.0}]", "users.segments.0.size is missing", ""),
        # wrong types
        (GOOD.replace("rounds = 3", "rounds = 3.5"), "rounds = 3.5 is not allowed", "it must be"),
        (GOOD.replace("rounds = 3", 'rounds = "3"'), "rounds = '3' is not allowed", "it must be"),
        (GOOD.replace("rounds = 3", "rounds = true"), "rounds = True is not allowed", "it must be"),
        (GOOD.replace('"mine"', "3"), "name = 3 is not allowed", "it must be"),
        (GOOD.replace('"mine"', "2020-01-01"), "name = ", "is not allowed"),
        (
            GOOD + '[users]\nbeta = "high"',
            "users.beta = 'high' is not allowed",
            'it must be a number or a distribution, as in {distribution = "lognormal", median = 1000, ',
        ),
        (GOOD + "[users]\nbeta = [1, 2]", "users.beta = [1, 2] is not allowed", "a number or a distribution"),
        (
            GOOD + '[providers]\ncapacity = "much"',
            "providers.capacity = 'much' is not allowed",
            "it must be a whole number or a table",
        ),
        (GOOD.replace('"majority_voting"', "3"), "market.method = 3", "it must be text or a list"),
        (
            GOOD + 'margin = {float = "x"}',
            "market.margin.float = 'x' is not allowed",
            "it must be a number",
        ),
        ('name = "x"\nmarket = 3', "market = 3 is not allowed", "it must be a table"),
        (GOOD + '[providers]\nlearning = "fixed"', "providers.learning = 'fixed'", "it must be a table"),
        (GOOD + "[users]\nsegments = 3", "users.segments = 3 is not allowed", ""),
        (GOOD + 'margin = "a quarter"', "market.margin = 'a quarter' is not allowed", "it must be"),
        (GOOD + 'prices = {"Llama-3-8B" = "x"}', "market.prices.Llama-3-8B = 'x'", "it must be"),
        # impossible values
        (GOOD.replace("rounds = 3", "rounds = 0"), "rounds = 0 is not allowed", "it must be at least 1"),
        (GOOD.replace('"mine"', '"a/b"'), "name = 'a/b' is not allowed", ""),
        (GOOD.replace('"mine"', '".."'), "name = '..' is not allowed", ""),
        (GOOD + "[users]\nbeta = -1.0", "users.beta = -1.0 is not allowed", "it must be at least 0"),
        (GOOD + "[users]\nbeta = nan", "users.beta = nan is not allowed", "it must be a finite number"),
        (GOOD + "[users]\nbeta = inf", "users.beta = inf is not allowed", "it must be a finite number"),
        (GOOD + "[users]\ncount = 0", "users.count = 0 is not allowed", "it must be at least 1"),
        (GOOD + "[users]\nsegments = []", "users.segments = [] is not allowed", "at least 1"),
        (
            GOOD + "[users]\nsegments = [{size = 0, beta = 1.0}]",
            "users.segments.0.size = 0 is not allowed",
            "it must be at least 1",
        ),
        (GOOD + "margin = -1.0", "market.margin = -1.0 is not allowed", "it must be above 0"),
        (GOOD + "margin = 0", "market.margin = 0 is not allowed", "it must be above 0"),
        (
            GOOD + 'margin = {"Llama-3-8B" = 0.2, "Qwen2-7B" = -1.0}',
            "market.margin.Qwen2-7B = -1.0 is not allowed",
            "it must be above 0",
        ),
        (GOOD + "baseline = 1.5", "market.baseline = 1.5 is not allowed", "it must be at most 1"),
        (GOOD + "value_of_correct_usd = 0", "market.value_of_correct_usd = 0 is not allowed", "above 0"),
        (
            GOOD + "[regime]\naudit_probability = 2",
            "regime.audit_probability = 2 is not allowed",
            "at most 1",
        ),
        (
            GOOD + "[regime]\nbid_shares = [0, 0.2, 0.1]",
            "bid_shares = [0.0, 0.2, 0.1] is not allowed",
            "rise",
        ),
        (
            GOOD + "[regime]\nbid_shares = [0.1, 0.2]",
            "bid_shares = [0.1, 0.2] is not allowed",
            "0, the truth",
        ),
        (GOOD + "[regime]\nbid_shares = [0, 1.5]", "regime.bid_shares.1 = 1.5 is not allowed", "at most 1"),
        (GOOD + "[regime]\nbid_shares = []", "regime.bid_shares = [] is not allowed", "at least 1"),
        (GOOD + "[regime]\nbid_share = [0]", "regime.bid_share is not a known", "(did you mean bid_shares?)"),
        (GOOD + "[output]\nmetrics_every = 0", "output.metrics_every = 0 is not allowed", "at least 1"),
        (GOOD.replace("rounds", "seed = -1\nrounds"), "seed = -1 is not allowed", "it must be at least 0"),
        # names that are not known, with the nearest that is
        (GOOD + '[regime]\nkind = "pay_per_computer"', "regime.kind = ", "(did you mean pay_per_compute?)"),
        (GOOD + '[regime]\npayment = "reportd"', "regime.payment = ", "(did you mean reported?)"),
        (GOOD + '[users]\ndemand = "sample"', "users.demand = ", "(did you mean sampled?)"),
        (GOOD + '[providers]\nactivation = "default_"', "providers.activation = ", "(did you mean default?)"),
        (GOOD + '[providers]\nstart = "lowset"', "providers.start = 'lowset'", "(did you mean lowest?)"),
        (GOOD + 'quality_curve = "liner"', "market.quality_curve = ", "(did you mean linear?)"),
        (
            GOOD + '[providers]\nlearning = {rule = "beter_reply"}',
            "providers.learning.rule = 'beter_reply' is not one of",
            "(did you mean better_reply?)",
        ),
        (
            GOOD + '[providers]\nlearning = {rule = "fixed", "Qwen2-7B" = {rule = "fixd"}}',
            "fixd",
            "(did you mean fixed?)",
        ),
        (GOOD.replace("GSM8K", "GSM8"), "market.benchmark = 'GSM8'", "(did you mean GSM8K?)"),
        (GOOD.replace("majority_voting", "majority"), "market.method", "(did you mean majority_voting?)"),
        (GOOD.replace("Qwen2-7B", "Qwen2-77B"), "market.models = 'Qwen2-77B'", "(did you mean Qwen2-7B?)"),
        # what does not go together
        (
            GOOD + "[users]\ncount = 3\nsegments = [{size = 1, beta = 1.0}]",
            "users",
            "leave count out",
        ),
        (
            GOOD + '[providers]\nlearning = {rule = "truthful"}',
            "providers.learning: rule truthful makes no sense under pay_per_compute",
            "better_reply",
        ),
        (
            GOOD + '[providers]\nlearning = {"Qwen2-7B" = {rule = "fixed"}}',
            "providers.learning has no rule for Llama-3-8B",
            "",
        ),
        (
            GOOD + '[providers]\nlearning = {rule = "fixed", "Qwen-7B" = {rule = "fixed"}}',
            "'Qwen-7B'",
            "(did you mean Qwen2-7B?)",
        ),
        (GOOD + '[providers]\nlearning = {rulee = "fixed"}', "providers.learning", "'rulee'"),
        (
            GOOD + '[providers]\nlearning = {rule = "hedge", where = "x"}',
            "providers.learning: parameter of hedge = 'where' is not one of",
            "rate",
        ),
        (
            GOOD + '[providers]\nstart = {"Qwen2-7B" = 3}',
            "providers.start.Qwen2-7B = 3",
            "1, 4, 8, 16, 32, 64",
        ),
        (GOOD + '[providers]\nstart = {"Qwen-7B" = 4}', "providers.start", "(did you mean Qwen2-7B?)"),
        (GOOD + 'prices = {"Qwen-7B" = 1.0}', "market.prices names 'Qwen-7B'", "(did you mean Qwen2-7B?)"),
        (
            GOOD + 'margin = {"Llama-3-8B" = 0.2, "Qwen2-7B" = 0.2, "Qwen-7B" = 0.2}',
            "market.margin names 'Qwen-7B'",
            "(did you mean Qwen2-7B?)",
        ),
        (GOOD + 'margin = {"Llama-3-8B" = 0.2}', "market.margin has no entry for model 'Qwen2-7B'", ""),
        (GOOD + "margin = 1e-20", "market.margin", ""),
        # empty markets and doubles
        (GOOD.replace('["Llama-3-8B", "Qwen2-7B"]', "[]"), "market.models = [] is not allowed", "at least 1"),
        (GOOD.replace('"majority_voting"', "[]"), "market.method", ""),
        (GOOD.replace('"Qwen2-7B"', '"Llama-3-8B"'), "market.models", "Llama-3-8B"),
        ('name = "x"', "market.benchmark is missing", "GSM8K, AIME, GPQA"),
        ('name = "x"\n[market]\nbenchmark = "AIME"', "market.method is missing", "best_of_n"),
        # not TOML at all
        ("name = ", "is not TOML", ""),
        ("{}", "is not TOML", ""),
        ("", "is empty", "name"),
    ],
)
def test_bad_input_is_one_sentence_with_the_field_and_what_was_meant(tmp_path, text, field, hint):
    sentence = refusal(toml_file(tmp_path, text))
    assert field in sentence
    assert hint in sentence


@pytest.mark.parametrize(
    ("path", "section", "data"),
    [
        ((), Scenario, {}),
        (("market",), MarketSection, {"market": {}}),
        (("market", "generated"), GeneratedSection, {"market": {"generated": {"providers": 2}}}),
        (("users",), UsersSection, {"users": {}}),
        (("users", "segments", 0), Segment, {"users": {"segments": [{"size": 1, "beta": 1.0}]}}),
        (
            ("users", "experience"),
            ExperienceSection,
            {"users": {"information": "experience", "experience": {}}},
        ),
        (("providers",), ProvidersSection, {"providers": {}}),
        (("regime",), RegimeSection, {"regime": {}}),
        (("events", 0), Event, {"events": [{"round": 1, "demand": 2.0}]}),
        (("events", 0, "regime"), RegimeSection, {"events": [{"round": 1, "regime": {}}]}),
        (("output",), OutputSection, {"output": {}}),
    ],
)
def test_a_misspelt_key_is_told_the_keys_of_its_section_wherever_it_stands(path, section, data):
    data = {"name": "x"} | deepcopy(data)
    place = data
    for key in path:
        place = place[key]
    load_scenario(data)
    for key in section.model_fields:
        place[f"{key}x"] = 1
        with pytest.raises(InputError) as caught:
            load_scenario(data)
        del place[f"{key}x"]
        field = ".".join(map(str, (*path, f"{key}x")))
        known = ", ".join(section.model_fields)
        assert str(caught.value) == (
            f"scenario: {field} is not a known key; known are {known} (did you mean {key}?)"
        )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"\x89PNG\xff\xfe"), "is not a text file"),
        (lambda path: None, "there is no such"),
    ],
)
def test_a_scenario_that_is_no_scenario_file_is_refused(tmp_path, make, says):
    path = tmp_path / "mine.toml"
    make(path)
    assert says in refusal(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"\x89PNG\xff\xfe"), "is not a text file"),
        (lambda path: path.write_text("a,b\n1,2\n"), "column benchmark is missing"),
        (lambda path: None, "there is no such file"),
    ],
)
def test_a_curve_file_of_a_scenario_that_is_none_is_refused_by_its_own_path(tmp_path, make, says):
    make(tmp_path / "mine.csv")
    path = toml_file(tmp_path, 'name = "x"\n[market]\ncurves = "mine.csv"\n')
    with pytest.raises(InputError) as caught:
        market_of(load_scenario(path))
    assert str(caught.value).startswith(f"{tmp_path / 'mine.csv'}: ")
    assert says in str(caught.value)


def test_a_file_name_too_long_for_any_file_system_is_no_such_file():
    with pytest.raises(InputError):
        load_scenario("a" * 300)


def test_a_benchmark_of_ones_own_needs_a_value_of_a_correct_answer(tmp_path):
    rows = "benchmark,method,model,compute_level,accuracy,tokens_per_query\nOurs,best_of_n,Qwen2-7B,1,0.5,9"
    (tmp_path / "mine.csv").write_text(rows)
    text = 'name = "x"\n[market]\ncurves = "mine.csv"\n'
    with pytest.raises(InputError, match=r"market\.value_of_correct_usd is missing, and Ours has no default"):
        market_of(load_scenario(toml_file(tmp_path, text)))
    market = market_of(load_scenario(toml_file(tmp_path, text + "value_of_correct_usd = 0.5\n")))
    assert market.value_of_correct.tolist() == [0.5]
    assert market.tasks == ("Ours",)


def test_a_scenario_may_be_a_dictionary_and_is_refused_in_the_same_words():
    with pytest.raises(InputError, match=r"^scenario: rouns is not a known key"):
        load_scenario({"name": "x", "rouns": 3})


# --- Good input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
@pytest.mark.parametrize("regime", REGIMES)
def test_every_scenario_that_ships_can_be_built_under_every_regime_that_charges_what_it_changes(path, regime):
    scenario = changed(load_scenario(path), regime__kind=regime)
    assert scenario.name == path.stem
    assert path.read_text().startswith("# ")
    by_token = regime in ("pay_per_compute", "planner")
    if not by_token and any(event.prices for event in scenario.events):
        with pytest.raises(InputError, match="prices has no effect"):
            timeline_of(scenario)
        return
    parts = timeline_of(scenario).first
    assert parts.market.n_providers >= 3
    assert parts.regime.name == regime


def test_some_scenarios_ship():
    assert "gsm8k-majority" in [path.stem for path in SHIPPED]


def test_defaults_are_the_papers(tmp_path):
    scenario = load_scenario(
        toml_file(tmp_path, 'name = "x"\n[market]\nbenchmark = "AIME"\nmethod = "best_of_n"\n')
    )
    market = market_of(scenario)
    assert market.value_of_correct.tolist() == [0.05]
    assert (market.baseline, market.outside_value) == (0.1, 0.0)
    np.testing.assert_allclose(market.price, 1.25 * market.cost)
    np.testing.assert_array_equal(market.satisfaction, market.accuracy)
    users = users_of(scenario, market_of(scenario))
    assert (users.n_people, users.alike, users.individuals, users.beta[0]) == (2000, True, True, 1000.0)
    assert {rule.name for rule in timeline_of(scenario).first.rules} == {"better_reply"}
    auction = timeline_of(changed(scenario, regime__kind="second_price_auction")).first
    assert {rule.name for rule in auction.rules} == {"truthful"}


def test_everything_a_scenario_says_reaches_the_market(tmp_path):
    text = GOOD + (
        'prices = {"Qwen2-7B" = 3.0}\nmargin = {"Llama-3-8B" = 0.5, "Qwen2-7B" = 1.0}\n'
        'value_of_correct_usd = 0.02\nbaseline = 0.25\nquality_curve = "power"\noutside_value_usd = -0.001\n'
        "[users]\nsegments = [{size = 7, beta = 5, value_scale = 2}, {size = 9, beta = 8.5}]\n"
        '[providers]\nlearning = {rule = "best_reply", "Qwen2-7B" = {rule = "fixed"}}\n'
        'start = {"Qwen2-7B" = 16}\nactivation = "simultaneous"\n'
        "[output]\nmetrics_every = 4\n"
    )
    scenario = load_scenario(toml_file(tmp_path, text))
    parts = timeline_of(scenario).first
    market, users = parts.market, parts.users
    assert market.providers == ("Llama-3-8B", "Qwen2-7B")
    np.testing.assert_allclose(market.price[0, 1], market.tokens[0, 1] * 3e-6)
    np.testing.assert_allclose(market.price[0, 0], market.tokens[0, 0] * 0.1455e-6)
    np.testing.assert_allclose(market.price[0] / market.cost[0], [[1.5] * 6, [2.0] * 6])
    np.testing.assert_allclose(market.satisfaction, market.accuracy**3.5)
    assert (market.baseline, market.outside_value) == (0.25, -0.001)
    assert (users.size.tolist(), users.beta.tolist(), users.value_scale.tolist()) == (
        [7, 9],
        [5.0, 8.5],
        [2.0, 1.0],
    )
    assert [rule.name for rule in parts.rules] == ["best_reply", "fixed"]
    assert parts.start_levels.tolist() == [[0, 3]]
    assert (parts.activation, parts.metrics_every) == ("simultaneous", 4)
    assert timeline_of(
        changed(load_scenario(toml_file(tmp_path, GOOD)), output__requests=True)
    ).first.keep_requests


def test_start_highest_is_everybodys_own_last_level():
    scenario = load_scenario(
        {
            "name": "x",
            "market": {"benchmark": "GSM8K", "method": ["majority_voting", "reasoning_effort"]},
            "providers": {"start": "highest"},
        }
    )
    market = market_of(scenario)
    assert start_levels_of(scenario, market).tolist() == [[5] * 9 + [4] * 3]


def test_expected_demand_is_a_continuum_in_one_row():
    market = {"benchmark": "GSM8K", "method": "best_of_n"}
    users = {"count": 500, "demand": "expected", "beta": 3}
    scenario = load_scenario({"name": "x", "market": market, "users": users})
    users = users_of(scenario, market_of(scenario))
    assert (users.size.tolist(), users.beta.tolist()) == ([500], [3.0])


def test_a_curve_file_is_looked_for_beside_its_scenario(tmp_path, monkeypatch):
    header = "benchmark,method,model,compute_level,accuracy,tokens_per_query\n"
    (tmp_path / "mine.csv").write_text(header + "GSM8K,best_of_n,Qwen2-7B,1,0.123,9\n")
    path = toml_file(tmp_path, 'name = "x"\n[market]\ncurves = "mine.csv"\n')
    monkeypatch.chdir("/")
    ((curve,),) = curves_of(load_scenario(path))
    assert curve.accuracy.tolist() == [0.123]


def test_a_scenario_in_runs_can_be_called_by_its_name(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert load_scenario("gsm8k-majority").name == "gsm8k-majority"
    with pytest.raises(InputError, match=r"did you mean runs/gsm8k-majority\.toml"):
        load_scenario("runs/gsm8k-majorty.toml")


def test_a_change_is_checked_like_the_file(tmp_path):
    scenario = load_scenario(toml_file(tmp_path, GOOD))
    assert changed(scenario, seed=9, rounds=None, users__beta=5.0).seed == 9
    assert changed(scenario, users__beta=5.0).users.beta == 5.0
    assert scenario.users.beta == 1000.0
    with pytest.raises(InputError, match=r"mine\.toml: regime\.kind = 'auction' is not one of"):
        changed(scenario, regime__kind="auction")


def test_a_checked_scenario_cannot_be_changed_in_place(tmp_path):
    scenario = load_scenario(toml_file(tmp_path, GOOD))
    assert load_scenario(scenario) is scenario
    with pytest.raises(ValueError, match="frozen"):
        scenario.rounds = 5


def test_rules_by_model_are_given_to_their_models_in_auctions_too():
    scenario = load_scenario(
        {
            "name": "x",
            "market": {"benchmark": "AIME", "method": "reasoning_effort"},
            "providers": {"auction_learning": {"rule": "truthful", "R1-D-Qwen-7B": {"rule": "best_reply"}}},
            "regime": {"kind": "first_price_auction"},
        }
    )
    market = market_of(scenario)
    rules = rules_of(scenario, market, REGIMES["first_price_auction"])
    named = dict(zip(market.providers, [rule.name for rule in rules], strict=True))
    assert named == {
        "R1-D-Qwen-7B": "best_reply",
        "R1-D-Qwen-1.5B": "truthful",
        "R1-D-Llama-8B": "truthful",
    }


def test_every_section_of_a_scenario_is_documented():
    """docs/formats.md names every key there is."""
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for section, field in Scenario.model_fields.items():
        assert section in text
        for key in getattr(field.annotation, "model_fields", {}):
            assert f"{key} = " in text or key == "segments", f"{section}.{key}"


def test_more_users_than_can_be_drawn_one_by_one_are_for_segments_or_a_continuum():
    with pytest.raises(InputError, match=r"users.count = 20000000 is too many.*at most 10000000.*segments"):
        load_scenario({"name": "x", "users": {"count": 20_000_000}})
    crowd = {"name": "x", "users": {"count": 20_000_000, "demand": "expected"}}
    assert load_scenario(crowd).users.count == 20_000_000


SPREAD = {"distribution": "uniform", "low": 1, "high": 2}


@pytest.mark.parametrize(
    ("users", "demand", "says"),
    [
        (
            {"count": 100_000_000_000, "demand": "expected", "beta": SPREAD},
            None,
            "users.count = 100000000000 is too many to draw one by one .*from distributions; use types or",
        ),
        (
            {"count": 1_000_000},
            1000,
            "users.count = 1000000, times 1000 by an event, is too many to draw one by one .*at most 1000",
        ),
        (
            {"count": 1_000_000, "demand": "expected", "budget_usd": SPREAD},
            11,
            "users.count = 1000000, times 11 by an event, is too many to draw one by one",
        ),
        (
            {"count": 10**12, "demand": "expected"},
            2,
            "users.count = 1000000000000, times 2 by an event, is too many .at most 1000000000000",
        ),
        (
            {"segments": [{"size": 3, "beta": 1.0}, {"size": 10**10, "beta": 1.0}]},
            1000,
            "users.segments.1.size = 10000000000, times 1000 by an event, is too many .at most 1000000000000",
        ),
    ],
)
def test_nobody_makes_more_rows_than_memory_holds(users, demand, says):
    """Neither by distributions of a continuum nor by events; refused before a row is made."""
    events = [] if demand is None else [{"round": 2, "demand": demand}]
    with pytest.raises(InputError, match=says):
        load_scenario({"name": "x", "users": users, "events": events})


def test_rows_are_bounded_only_where_there_are_any():
    """Types and segments of a continuum, and those who leave before anybody comes."""
    for users in (
        {"count": 10**12, "demand": "expected", "types": "types.csv", "value_scale": SPREAD},
        {"segments": [{"size": 10**12, "beta": 1.0}]},
        {"count": 10_000_000},
    ):
        load_scenario({"name": "x", "users": users, "events": [{"round": 2, "demand": 0.5}]})


@pytest.mark.parametrize(
    ("users", "what"),
    [
        ({"demand": "expected"}, 'users.demand = "expected"'),
        ({"segments": [{"size": 3, "beta": 5.0}]}, "users.segments"),
    ],
)
def test_rows_per_request_are_refused_where_there_are_none(users, what):
    market = {"benchmark": "GSM8K", "method": "majority_voting"}
    data = {"name": "x", "market": market, "users": users, "output": {"requests": True}}
    with pytest.raises(InputError, match=f"output.requests keeps a row per request, and {what}"):
        timeline_of(load_scenario(data))


def test_a_model_that_is_not_there_is_refused_in_the_rules_of_either_regime():
    market = {"benchmark": "GSM8K", "method": "majority_voting"}
    providers = {"auction_learning": {"rule": "truthful", "Qwen2-7": {"rule": "fixed"}}}
    with pytest.raises(InputError, match=r"auction_learning names a model = 'Qwen2-7'.*Qwen2-7B\?"):
        timeline_of(load_scenario({"name": "x", "market": market, "providers": providers}))


EXTREMES = {
    "price": {"market": {"prices": {"Qwen2-7B": 1e6}}, "users": {"beta": 100.0}},
    "price next to nothing": {"market": {"prices": {"Qwen2-7B": 1e-9}, "value_of_correct_usd": 10.0}},
    "beta next to nothing": {"users": {"beta": 1e-320}},
    "beta": {"users": {"beta": 1.2e9}},
    "value": {"market": {"value_of_correct_usd": 1e6}, "users": {"beta": 9.0}},
    "value next to nothing": {"market": {"value_of_correct_usd": 1e-320}},
    "outside": {"market": {"outside_value_usd": 1e6}, "users": {"beta": 9.0}},
    "not outside": {"market": {"outside_value_usd": -1e6}, "users": {"beta": 9.0}},
    "margin": {"market": {"margin": 1e6}},
    "people": {"users": {"count": 10**12, "demand": "expected"}},
    "scale": {"users": {"segments": [{"size": 10**12, "beta": 1e3, "value_scale": 1e6}]}},
    "types": {
        "users": {
            "segments": [
                {"size": 10**12, "beta": 1e3, "value_scale": 1e6},
                {"size": 10**12, "beta": 1e-300, "value_scale": 1e-300},
            ]
        }
    },
}


@pytest.mark.parametrize("case", EXTREMES)
@pytest.mark.parametrize("regime", REGIMES)
def test_whatever_a_scenario_may_say_is_played_and_solved(case, regime):
    """No warning, no traceback and no share outside [0, 1] at the ends of what is allowed."""
    market = {"benchmark": "GSM8K", "method": "majority_voting"} | EXTREMES[case].get("market", {})
    data = {"name": "x", "rounds": 9, "market": market, "regime": {"kind": regime}}
    scenario = load_scenario(data | {"users": EXTREMES[case].get("users", {"beta": 1e4, "count": 50})})
    if (case, regime) == ("beta next to nothing", "flat_price"):
        with pytest.raises(InputError, match="mean beta is at least 1e-06"):
            run(scenario)
        return
    rounds = run(scenario).rounds
    assert np.isfinite(rounds["expected_welfare_usd"]).all()
    assert ((rounds["outside_share"] >= 0) & (rounds["outside_share"] <= 1)).all()
    assert (rounds["first_best_gap_usd"] >= -1e-12 * (1 + np.abs(rounds["expected_welfare_usd"]))).all()
    if case != "types":
        for solution in solve(scenario):
            assert solution.equilibria
            for profile in solution.equilibria:
                assert profile.regret_usd <= 1e-9 * (1 + abs(profile.welfare))


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"users": {"beta": 1e12}}, r"beta times the largest value.* is .*e\+09; at most 1e\+07"),
        ({"users": {"segments": [{"size": 1, "beta": 1e4, "value_scale": 1e6}]}}, "beta times the largest"),
        ({"market": {"outside_value_usd": -1e4}, "users": {"beta": 1e4}}, "beta times the largest"),
        ({"market": {"prices": {"Qwen2-7B": 1e-320}}}, r"prices.Qwen2-7B = 1e-320 is not allowed"),
        ({"market": {"method": ["best_of_n", "best_of_n"]}}, r"market.method names 'best_of_n' twice"),
        ({"market": {"curves": "a\0b"}}, "cannot be read: embedded null byte"),
        ({"seed": 10**5000}, "seed"),
    ],
)
def test_what_cannot_be_told_apart_or_read_is_refused_by_both(sections, says):
    market = {"benchmark": "GSM8K", "method": "majority_voting"} | sections.get("market", {})
    for play in (run, solve):
        with pytest.raises(InputError, match=says):
            play({"name": "x", **sections, "market": market})


@pytest.mark.parametrize("text", ["seed = " + "9" * 5000, "a = " + "[" * 3000 + "]" * 3000])
def test_a_file_beyond_all_bounds_is_not_toml(tmp_path, text):
    with pytest.raises(InputError, match="is not TOML"):
        load_scenario(toml_file(tmp_path, text))


@pytest.mark.parametrize("source", [None, 5, [1]])
def test_a_scenario_that_is_nothing_like_one_is_refused(source):
    with pytest.raises(InputError, match="is not a file, a name in runs/ or a dictionary"):
        load_scenario(source)


def test_numpys_integers_are_integers():
    scenario = load_scenario({"name": "x"})
    assert changed(scenario, seed=np.int64(3)).seed == 3


def test_names_that_look_like_markup_or_mathematics_are_names(tmp_path, capsys):
    """Square brackets and dollar signs go to the screen and the figures as they are."""
    from market_sim.experiments.compare import compare
    from market_sim.experiments.compare_figures import write_comparison
    from market_sim.screen import results

    rows = "".join(f"T,best_of_n,{n},{k},0.{3 + k},{90 * k}\n" for n in ("A[/b]", "A$x^$") for k in (1, 2))
    (tmp_path / "c.csv").write_text("benchmark,method,model,compute_level,accuracy,tokens_per_query\n" + rows)
    path = toml_file(
        tmp_path,
        'name = "odd"\nrounds = 2\n[market]\ncurves = "c.csv"\nvalue_of_correct_usd = 0.01\n'
        'prices = {"A[/b]" = 0.3, "A$x^$" = 0.2}\n',
    )
    for solution in solve(path):
        results.show_solution(solution)
    result = compare(path)
    results.show_comparison(result)
    results.show_run(result.runs[0])
    shown = capsys.readouterr().out
    assert "A[/b]" in shown
    assert "A$x^$" in shown
    assert write_comparison(result, tmp_path / "out")


def test_two_providers_of_one_name_are_refused(tmp_path):
    lines = ["A,majority_voting", "A,best_of_n", "A (best_of_n),majority_voting"]
    rows = "".join(f"T,{m},{n},1,0.5,90\n" for n, m in (line.split(",") for line in lines))
    (tmp_path / "c.csv").write_text("benchmark,method,model,compute_level,accuracy,tokens_per_query\n" + rows)
    text = (
        'name = "odd"\n[market]\ncurves = "c.csv"\nvalue_of_correct_usd = 0.01\n'
        'method = ["majority_voting", "best_of_n"]\nprices = {A = 0.3, "A (best_of_n)" = 0.2}\n'
    )
    with pytest.raises(InputError, match=r"two providers would be called 'A \(best_of_n\)'"):
        market_of(load_scenario(toml_file(tmp_path, text)))


def test_a_start_may_be_any_level_a_curve_may_have(tmp_path):
    header = "benchmark,method,model,compute_level,accuracy,tokens_per_query\n"
    (tmp_path / "c.csv").write_text(header + "T,best_of_n,A,1,0.5,90\nT,best_of_n,A,2000000,0.6,95\n")
    text = (
        'name = "odd"\n[market]\ncurves = "c.csv"\nvalue_of_correct_usd = 0.01\nprices = {A = 0.3}\n'
        "[providers]\nstart = {A = 2000000}\n"
    )
    assert timeline_of(load_scenario(toml_file(tmp_path, text))).first.start_levels.tolist() == [[1]]

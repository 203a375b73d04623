"""Runs and their folders: documented columns, whole or not there, reproducible to the byte."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from market_sim.errors import InputError
from market_sim.experiments.build import fingerprint, market_of, resolved
from market_sim.experiments.run import run
from market_sim.experiments.scenario import load_scenario
from market_sim.simulation.model import MarketModel

SHIPPED = sorted((Path(__file__).parents[2] / "runs").glob("*.toml"))

SCENARIO = {
    "name": "small",
    "rounds": 6,
    "market": {
        "benchmark": "GSM8K",
        "method": "majority_voting",
        "models": ["Llama-3-8B", "Qwen2-7B", "Qwen2.5-7B"],
    },
    "users": {"count": 80, "beta": 800.0},
}

ROUND_COLUMNS = [
    "round",
    "welfare_usd",
    "expected_welfare_usd",
    "user_value_usd",
    "expected_user_value_usd",
    "log_sum_surplus_usd",
    "price_usd",
    "expected_price_usd",
    "provider_profit_usd",
    "tokens_per_query",
    "accuracy",
    "outside_share",
    "hhi",
    "inefficiency",
    "first_best_gap_usd",
    "nashconv_usd",
    "equilibrium_steps",
    "estimate_error_usd",
]
PROVIDER_COLUMNS = [
    "round",
    "benchmark",
    "provider",
    "compute_level",
    "bid_usd",
    "requests",
    "share",
    "revenue_usd",
    "profit_usd",
    "tokens",
]
REQUEST_COLUMNS = ["round", "benchmark", "user", "provider", "compute_level", "price_usd", "correct"]


def scenario_with(**sections) -> dict:
    return {key: SCENARIO.get(key, {}) for key in SCENARIO} | sections


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def table(folder: Path, name: str):
    import pandas as pd

    return pd.read_parquet(folder / f"{name}.parquet")


# --- What is in a folder ----------------------------------------------------------------------------


def test_a_run_folder_has_the_documented_files_and_columns(tmp_path):
    result = run(SCENARIO, out=tmp_path)
    folder = result.folder
    assert folder.parent == tmp_path / "small"
    assert folder.name == f"pay_per_compute-seed1-{result.fingerprint}"
    assert sorted(path.name for path in folder.iterdir()) == [
        "convergence.json",
        "manifest.json",
        "providers.parquet",
        "rounds.parquet",
        "scenario.toml",
    ]
    rounds, providers = table(folder, "rounds"), table(folder, "providers")
    assert list(rounds.columns) == ROUND_COLUMNS
    assert list(providers.columns) == PROVIDER_COLUMNS
    assert rounds["round"].tolist() == list(range(7))
    assert len(providers) == 7 * 3
    assert providers.groupby("round")["requests"].sum().iloc[1:].mod(1).eq(0).all()
    assert set(providers["provider"]) == set(SCENARIO["market"]["models"])
    assert set(providers["benchmark"]) == {"GSM8K"}


def test_the_files_hold_what_the_result_holds(tmp_path):
    result = run(SCENARIO, out=tmp_path)
    for name, columns in (("rounds", result.rounds), ("providers", result.providers)):
        frame = table(result.folder, name)
        for column, values in columns.items():
            np.testing.assert_array_equal(frame[column].to_numpy(), values)


def test_requests_are_kept_when_asked_for(tmp_path):
    result = run(scenario_with(output={"requests": True}), out=tmp_path)
    requests, rounds = table(result.folder, "requests"), table(result.folder, "rounds")
    assert list(requests.columns) == REQUEST_COLUMNS
    served = requests.groupby("round").size()
    expected = 80 * (1 - rounds.set_index("round")["outside_share"].iloc[1:])
    np.testing.assert_allclose(served, expected)
    assert requests["correct"].dtype == bool
    assert set(requests["provider"]) <= set(SCENARIO["market"]["models"])


def test_requests_nobody_made_are_a_table_without_rows(tmp_path):
    market = SCENARIO["market"] | {"outside_value_usd": 5.0}
    data = scenario_with(market=market, users={"count": 10, "beta": 1e4}, output={"requests": True})
    requests = table(run(data, out=tmp_path).folder, "requests")
    assert (list(requests.columns), len(requests)) == (REQUEST_COLUMNS, 0)


def test_the_manifest_says_what_was_run_with_what_and_that_it_is_complete(tmp_path):
    result = run(SCENARIO, out=tmp_path, seed=5)
    manifest = json.loads((result.folder / "manifest.json").read_text())
    assert set(manifest) == {
        "scenario",
        "regime",
        "regime_at_first",
        "last_event",
        "seed",
        "versions",
        "git_commit",
        "started",
        "wall_time_s",
        "optimum_kind",
        "rows",
        "complete",
    }
    assert (manifest["scenario"], manifest["regime"], manifest["seed"]) == ("small", "pay_per_compute", 5)
    assert (manifest["regime_at_first"], manifest["last_event"]) == ("pay_per_compute", 0)
    assert manifest["complete"] is True
    assert manifest["rows"] == {"rounds": 7, "providers": 21}
    assert {"market-sim", "numpy", "mesa", "pyarrow"} <= set(manifest["versions"])


def test_the_resolved_scenario_can_be_run_again_and_is_the_same_run(tmp_path):
    header = "benchmark,method,model,compute_level,accuracy,tokens_per_query\n"
    own = "".join(
        f"Ours,best_of_n,{m},{k},0.{4 + k},{90 * k}\n" for m in ("Mine", "Qwen2-7B") for k in (1, 2)
    )
    (tmp_path / "mine.csv").write_text(header + own)
    ours = tmp_path / "ours.toml"
    ours.write_text(
        'name = "ours"\nrounds = 2\n[market]\ncurves = "mine.csv"\nprices = {Mine = 0.3}\n'
        "value_of_correct_usd = 0.01\n"
    )
    segments = {"segments": [{"size": 3, "beta": 5.0}, {"size": 4, "beta": 50.0, "value_scale": 2.0}]}
    rules = {"learning": {"rule": "best_reply", "Qwen2-7B": {"rule": "fixed"}}, "start": {"Qwen2-7B": 8}}
    mixed = {"benchmark": "GSM8K", "method": ["reasoning_effort", "majority_voting"]}
    twice = {"benchmark": "GSM8K", "method": ["majority_voting", "best_of_n"]}
    reports = {"kind": "second_price_auction", "payment": "reported", "audit_probability": 0.5}
    cases = {
        "plain": SCENARIO,
        "own curves": ours,
        "segments": scenario_with(users=segments),
        "rules": scenario_with(providers=rules),
        "mixed": {"name": "mixed", "rounds": 2, "market": mixed},
        "one model twice": {"name": "twice", "rounds": 2, "market": twice},
        "some models twice": {"name": "some", "market": twice | {"models": ["Qwen2-7B", "Llama-3-8B"]}},
        "auction": scenario_with(regime=reports),
    } | {path.stem: path for path in SHIPPED}
    for case, scenario in cases.items():
        first = run(scenario, out=tmp_path / "first", rounds=2)
        again = run(first.folder / "scenario.toml", out=tmp_path / "again")
        assert again.fingerprint == first.fingerprint, case
        assert (again.folder / "rounds.parquet").read_bytes() == (
            first.folder / "rounds.parquet"
        ).read_bytes()
        texts = [(found.folder / "scenario.toml").read_text() for found in (first, again)]
        assert tomllib.loads(texts[0]) == tomllib.loads(texts[1])


# --- Reproducible -----------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", ["pay_per_compute", "second_price_auction"])
def test_the_same_scenario_and_seed_give_the_same_bytes_and_another_seed_others(tmp_path, regime):
    one = run(SCENARIO, regime=regime, out=tmp_path / "a")
    two = run(SCENARIO, regime=regime, out=tmp_path / "b")
    other = run(SCENARIO, regime=regime, out=tmp_path / "c", seed=2)
    for name in ("rounds.parquet", "providers.parquet"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
        assert (one.folder / name).read_bytes() != (other.folder / name).read_bytes()
    assert one.folder.name == two.folder.name != other.folder.name


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 7},
        {"seed": 2},
        {"name": "other"},
        {"users": {"count": 81, "beta": 800.0}},
        {"users": {"count": 80, "beta": 801.0}},
        {"market": SCENARIO["market"] | {"quality_curve": "power"}},
        {"market": SCENARIO["market"] | {"prices": {"Qwen2-7B": 0.21}}},
        {"market": SCENARIO["market"] | {"models": ["Qwen2-7B", "Llama-3-8B", "Qwen2.5-7B"]}},
        {"providers": {"learning": {"rule": "best_reply"}}},
        {"regime": {"kind": "first_price_auction"}},
        {"regime": {"bid_shares": [0.0, 0.01, 1.0]}},
        {"output": {"metrics_every": 2}},
    ],
)
def test_the_fingerprint_changes_with_whatever_changes_a_run(change):
    def of(data):
        scenario = load_scenario(data)
        return fingerprint(scenario, [market_of(scenario)])

    assert of(SCENARIO) == of(dict(reversed(SCENARIO.items())))
    assert of(SCENARIO | change) != of(SCENARIO)


def test_the_fingerprint_follows_the_numbers_of_a_curve_file_not_its_place(tmp_path):
    header = "benchmark,method,model,compute_level,accuracy,tokens_per_query\n"
    prints = []
    for folder, accuracy in (("a", 0.5), ("b", 0.5), ("c", 0.6)):
        (tmp_path / folder).mkdir()
        rows = f"GSM8K,best_of_n,Qwen2-7B,1,{accuracy},9\n"
        (tmp_path / folder / "mine.csv").write_text(header + rows)
        path = tmp_path / folder / "x.toml"
        path.write_text('name = "x"\n[market]\ncurves = "mine.csv"\n')
        scenario = load_scenario(path)
        prints.append(fingerprint(scenario, [market_of(scenario)]))
    assert prints[0] == prints[1] != prints[2]


def test_a_resolved_scenario_writes_every_default_out():
    scenario = load_scenario(SCENARIO)
    data = resolved(scenario, market_of(scenario))
    assert data["market"]["value_of_correct_usd"] == 0.008
    assert data["market"]["margin"] == 0.25
    assert data["users"] == {
        "count": 80,
        "beta": 800.0,
        "value_scale": 1.0,
        "information": "full",
        "demand": "sampled",
    }
    assert data["regime"]["kind"] == "pay_per_compute"
    assert data["providers"]["learning"] == {"rule": "better_reply"}


# --- Whole or not there -----------------------------------------------------------------------------


def test_a_complete_run_is_read_again_unless_forced(tmp_path, monkeypatch):
    first = run(SCENARIO, out=tmp_path)
    assert not first.reused

    def refuse(*parts):
        raise AssertionError("played")

    with monkeypatch.context() as patched:
        patched.setattr(MarketModel, "from_parts", refuse)
        again = run(SCENARIO, out=tmp_path)
        assert again.reused
        assert again.folder == first.folder
        for kept, made in ((again.rounds, first.rounds), (again.providers, first.providers)):
            assert list(kept) == list(made)
            for name, column in made.items():
                np.testing.assert_array_equal(kept[name], column)
        assert json.dumps(again.summary()) == json.dumps(first.summary())
        with pytest.raises(AssertionError, match="played"):
            run(SCENARIO, out=tmp_path, force=True)
        with pytest.raises(AssertionError, match="played"):
            run(SCENARIO, out=tmp_path, seed=2)
    forced = run(SCENARIO, out=tmp_path, force=True)
    assert not forced.reused
    assert forced.folder == first.folder


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text('{"complete": false}'),
    ],
)
def test_a_folder_that_does_not_say_it_is_complete_is_played_again(tmp_path, damage):
    first = run(SCENARIO, out=tmp_path)
    damage(first.folder)
    again = run(SCENARIO, out=tmp_path)
    assert not again.reused
    assert json.loads((again.folder / "manifest.json").read_text())["complete"] is True


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_a_complete_run_whose_rows_cannot_be_read_is_said_to_be_and_force_plays_it_again(tmp_path, damage):
    first = run(SCENARIO, out=tmp_path)
    damage(first.folder / "rounds.parquet")
    with pytest.raises(InputError, match=r"rounds\.parquet: .*--force") as caught:
        run(SCENARIO, out=tmp_path)
    assert str(first.folder) in str(caught.value)
    again = run(SCENARIO, out=tmp_path, force=True)
    np.testing.assert_array_equal(again.rounds["welfare_usd"], first.rounds["welfare_usd"])


def test_a_run_that_breaks_off_leaves_nothing_behind(tmp_path, monkeypatch):
    step = MarketModel.step

    def break_at_three(self):
        if self.state.round == 3:
            raise RuntimeError("power cut")
        step(self)

    monkeypatch.setattr(MarketModel, "step", break_at_three)
    with pytest.raises(RuntimeError, match="power cut"):
        run(SCENARIO, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("breaks", ["write_table", "write_json"])
def test_a_run_that_breaks_while_it_is_written_leaves_what_stood_there(tmp_path, monkeypatch, breaks):
    first = run(SCENARIO, out=tmp_path)
    before = everything_below(tmp_path)
    content = (first.folder / "rounds.parquet").read_bytes()

    def fail(path, data):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(f"market_sim.experiments.store.{breaks}", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        run(SCENARIO, out=tmp_path, force=True)
    with pytest.raises(RuntimeError, match="disk on fire"):
        run(SCENARIO, out=tmp_path, seed=77)
    assert everything_below(tmp_path) == before
    assert (first.folder / "rounds.parquet").read_bytes() == content


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run(SCENARIO, out=tmp_path / "file")


def test_nothing_is_kept_where_no_place_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(SCENARIO)
    assert result.folder is None
    assert everything_below(tmp_path) == []


def test_a_bad_change_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"regime\.kind"):
        run(SCENARIO, regime="auction", out=tmp_path / "out")
    with pytest.raises(InputError, match="rounds"):
        run(SCENARIO, rounds=0, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- Summaries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rounds", "first"), [(1, 1), (2, 2), (5, 3), (6, 4), (200, 101)])
def test_summaries_average_over_the_second_half_of_the_rounds_without_the_start(rounds, first):
    data = scenario_with(users={"count": 10, "beta": 800.0}, output={"metrics_every": 1000})
    result = run(data, rounds=rounds)
    summary = result.summary()
    assert (summary["averaged_from_round"], summary["rounds"]) == (first, rounds)
    welfare = result.rounds["welfare_usd"][first:]
    assert summary["means"]["welfare_usd"] == pytest.approx(welfare.mean(), rel=1e-14)
    shares = [row["share"] for row in summary["providers"].values()]
    assert sum(shares) + summary["means"]["outside_share"] == pytest.approx(1)
    assert summary["means"]["nashconv_usd"] is None


def test_a_summary_is_json_whatever_is_undefined():
    market = SCENARIO["market"] | {"outside_value_usd": 5.0}
    for users in ({"count": 10, "beta": 0.0}, {"count": 10, "beta": 1e4}):
        for regime in ("pay_per_compute", "second_price_auction"):
            summary = run(scenario_with(market=market, users=users), regime=regime).summary()
            json.dumps(summary, allow_nan=False)
    assert summary["means"]["accuracy"] is None


def test_progress_is_told_after_every_round():
    told = []
    run(SCENARIO, progress=lambda done, total: told.append((done, total)))
    assert told == [(t, 6) for t in range(1, 7)]


def test_a_frame_has_one_row_per_round():
    result = run(SCENARIO)
    frame = result.to_frame()
    assert list(frame.columns) == ROUND_COLUMNS
    assert len(frame) == 7
    assert "small pay_per_compute seed=1: 6 rounds" in repr(result)

"""Rounds kept on disk while they are played are those of a run, byte by byte."""

from pathlib import Path

import pytest

from market_sim.errors import InputError
from market_sim.experiments import running_log, store
from market_sim.experiments.live import LiveMarket
from market_sim.experiments.run import load_run, run
from market_sim.experiments.scenario import changed, load_scenario
from tests.experiments.test_live import SMALL

KEPT = ("rounds.parquet", "providers.parquet", "convergence.json", "scenario.toml")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(running_log, "CHUNK", 5)


def watched(**changes) -> LiveMarket:
    return LiveMarket(changed(load_scenario(SMALL), **changes))


def steps(market: LiveMarket, rounds: int) -> None:
    for _ in range(rounds):
        market.step()


def assert_same_folder(folder: Path, other: Path, files: tuple[str, ...] = KEPT) -> None:
    assert folder.name == other.name
    for name in files:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    about, expected = store.manifest_of(folder), store.manifest_of(other)
    differ = {"started", "wall_time_s"}
    assert {k: v for k, v in about.items() if k not in differ} == {
        k: v for k, v in expected.items() if k not in differ
    }


@pytest.mark.parametrize("begun_after", [0, 7, 10])
def test_what_was_saved_is_the_run_whenever_saving_began_and_whatever_policy_came(tmp_path, begun_after):
    market = watched()
    for round_ in range(18):
        if round_ == begun_after:
            market.save(tmp_path / "saved")
        if round_ == 8:
            market.switch("second_price_auction")
        market.step()
    folder = market.finish()
    assert market.finish() is None
    assert_same_folder(folder, run(market.played(), out=tmp_path / "run").folder)
    assert load_run(folder).rounds["round"][-1] == 18
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["small"]


def test_rows_of_requests_are_saved_where_the_scenario_keeps_them(tmp_path):
    market = watched(output__requests=True)
    market.save(tmp_path / "saved")
    steps(market, 7)
    other = run(market.played(), out=tmp_path / "run").folder
    assert_same_folder(market.finish(), other, (*KEPT, "requests.parquet"))


def test_rows_go_to_the_disk_while_they_are_played(tmp_path):
    market = watched()
    market.save(tmp_path)
    steps(market, 11)
    assert len(market.log) == 12
    assert len(market.log._recorder) == 2
    assert len(list(tmp_path.glob(".playing-*/rounds-*.parquet"))) == 2


def test_nothing_played_leaves_nothing(tmp_path):
    market = watched()
    market.save(tmp_path)
    assert market.finish() is None
    assert list(tmp_path.iterdir()) == []


def test_catching_up_tells_how_far_it_is(tmp_path):
    market, told = watched(), []
    steps(market, 3)
    market.save(tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_place_that_cannot_be_written_is_a_sentence_and_the_market_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    market = watched()
    with pytest.raises(InputError, match="file: cannot be written"):
        market.save(tmp_path / "file")
    steps(market, 2)
    assert market.finish() is None


def test_a_disk_that_is_full_loses_no_round(tmp_path, monkeypatch):
    market = watched()
    market.save(tmp_path / "saved")
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_table", full)
        steps(market, 3)
        for _ in range(4):
            with pytest.raises(InputError, match="cannot be written: No space left on device"):
                market.step()
    steps(market, 3)
    assert market.round == 10
    assert_same_folder(market.finish(), run(market.played(), out=tmp_path / "run").folder)


def test_a_folder_that_cannot_be_put_together_says_where_the_rows_are(tmp_path, monkeypatch):
    market = watched()
    market.save(tmp_path)
    steps(market, 6)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_json", full)
        with pytest.raises(InputError, match=r"No space left on device; every round is in .*playing-"):
            market.finish()
    assert len(list(tmp_path.glob(".playing-*/rounds-*.parquet"))) == 2


def full(*_):
    raise OSError(28, "No space left on device")

"""A watched market: what is shown is what is played, in bounded memory, and strangers' files do no harm."""

import re
import sys

import numpy as np
import pytest

from market_sim.errors import InputError
from market_sim.experiments.figures import save
from market_sim.experiments.frames import Title
from market_sim.experiments.live import (
    MOST_BLOCKS,
    PROVIDER_SERIES,
    History,
    LiveMarket,
    Replay,
    csv_of,
    open_run,
    open_scenario,
    rows_table,
    runs_in,
    scenarios_in,
    uploaded_scenario,
    yardsticks_of,
)
from market_sim.experiments.live_figures import Crowd, Customers, LiveFigure
from market_sim.experiments.run import run
from market_sim.experiments.scenario import changed, load_scenario
from market_sim.simulation.portrait import portrait_of
from market_sim.simulation.recorder import ROUND_COLUMNS

SMALL = {
    "name": "small",
    "rounds": 12,
    "market": {
        "benchmark": "GSM8K",
        "method": "majority_voting",
        "models": ["Llama-3-8B", "Qwen2.5-7B", "Qwen2-1.5B"],
    },
    "users": {"count": 150},
}


def played(rounds: int = 12, **changes) -> LiveMarket:
    market = LiveMarket(changed(load_scenario(SMALL), **changes))
    for _ in range(rounds):
        market.step()
    return market


def assert_same_rows(seen, kept) -> None:
    """A history of blocks of one round holds the rows of a run."""
    assert seen.length == 1
    for name in ROUND_COLUMNS:
        np.testing.assert_array_equal(seen.rounds[name], kept.rounds[name])
    for name in ("compute_level", "share"):
        np.testing.assert_array_equal(seen.providers[name].ravel(), kept.providers[name])


# --- What is shown is what is played ----------------------------------------------------------------


def test_a_watched_market_plays_the_rows_of_a_run():
    assert_same_rows(played().history.seen(), run(SMALL))


def test_a_policy_changed_on_the_way_is_an_event_and_run_plays_the_same_rows_from_what_was_saved():
    market = played(5)
    market.switch("second_price_auction")
    for _ in range(7):
        market.step()
    saved = market.played()
    assert [(event.round, event.regime.kind) for event in saved.events] == [(6, "second_price_auction")]
    assert market.regime == "second_price_auction"
    assert_same_rows(market.history.seen(), run(saved))


def test_a_second_change_of_policy_before_the_next_round_takes_the_place_of_the_first():
    market = played(3)
    market.switch("second_price_auction")
    market.switch("flat_price")
    market.step()
    assert market.regime == "flat_price"
    assert len(market.scenario.events) == 1


def test_a_change_of_policy_keeps_what_else_happens_in_that_round():
    market = played(3, events=[{"round": 4, "leaves": ["Llama-3-8B"]}])
    market.switch("first_price_auction")
    (event,) = market.scenario.events
    assert event.leaves == ("Llama-3-8B",)
    assert event.regime.kind == "first_price_auction"


def test_the_policy_in_force_is_no_change():
    market = played(3)
    with pytest.raises(InputError, match="The next round is under pay-per-compute already"):
        market.switch("pay_per_compute")
    market.switch("second_price_auction")
    with pytest.raises(InputError, match="already"):
        market.switch("second_price_auction")
    market.switch("pay_per_compute")
    market.step()
    assert market.regime == "pay_per_compute"
    assert len(market.scenario.events) == 1


PROGRAM = "raise SystemExit('a visitor ran this')"


def test_a_finished_run_that_leads_outside_or_names_a_program_is_refused(tmp_path, monkeypatch):
    root = tmp_path / "runs"
    kept = run(SMALL, out=root / "out").folder
    assert open_run(kept, root).round == 0
    (tmp_path / "harm_in_a_run.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    about = (kept / "scenario.toml").read_text()
    (kept / "scenario.toml").write_text(
        re.sub(r'rule = "[a-z_]+"', 'rule = "harm_in_a_run:rule"', about, count=1)
        if "rule = " in about
        else about + '\n[providers.learning]\nrule = "harm_in_a_run:rule"\n'
    )
    with pytest.raises(InputError, match="which is a program"):
        open_run(kept, root)
    assert "harm_in_a_run" not in sys.modules
    outside = tmp_path / "elsewhere.toml"
    outside.write_text(about)
    (kept / "scenario.toml").unlink()
    (kept / "scenario.toml").symlink_to(outside)
    with pytest.raises(InputError, match=r"scenario\.toml is outside"):
        open_run(kept, root)


def test_play_goes_on_beyond_the_rounds_of_the_scenario_and_what_is_saved_has_them_all():
    market = played(20)
    assert not market.ended
    assert market.played().rounds == 20


def test_an_unknown_policy_is_refused_and_nothing_changes():
    market = played(2)
    with pytest.raises(InputError, match="did you mean planner"):
        market.switch("planer")
    assert not market.scenario.events


def test_a_replay_shows_the_rows_of_the_run_and_profits_per_arriving_request(tmp_path):
    kept = run(SMALL, out=tmp_path)
    replay, live = Replay(kept.folder), played(0)
    assert replay.round == 0
    for _ in range(12):
        assert not replay.ended
        replay.step()
        live.step()
    replay.step()
    assert replay.round == replay.last == 12
    assert_same_rows(replay.history.seen(), kept)
    profits = [market.history.seen().providers["profit_usd"] for market in (replay, live)]
    np.testing.assert_allclose(*profits, rtol=1e-12)


def test_a_replay_says_which_regime_each_round_was_under(tmp_path):
    planned = changed(load_scenario(SMALL), events=[{"round": 5, "regime": {"kind": "planner"}}])
    kept = run(planned, out=tmp_path)
    replay = Replay(kept.folder)
    regimes = [replay.regime]
    for _ in range(12):
        replay.step()
        regimes.append(replay.regime)
    assert regimes == ["pay_per_compute"] * 5 + ["planner"] * 8


def test_equilibria_are_drawn_where_there_is_a_complete_list_and_else_the_reason_is_said():
    windows = changed(load_scenario("runs/gsm8k-majority.toml"), users__beta=1353.0)
    assert len(yardsticks_of(windows).equilibria) == 2
    users = {"distribution": "lognormal", "median": 1000, "sigma": 0.5}
    differ = yardsticks_of(changed(load_scenario(SMALL), users__beta=users))
    assert differ.equilibria == ()
    assert "users differ" in differ.why_none


# --- A bounded history ------------------------------------------------------------------------------


def history_of(column, most: int = 8) -> History:
    """A history of one provider whose every number is that of the column."""
    history = History(("task",), ("provider",), most)
    for value in column:
        history.add(
            dict.fromkeys(ROUND_COLUMNS, float(value)),
            {name: np.full((1, 1), value) for name in PROVIDER_SERIES},
        )
    return history


@pytest.mark.parametrize("rounds", [1, 7, 8, 9, 16, 17, 100, 1000])
def test_a_thinned_history_keeps_every_mean_and_never_more_than_its_blocks(rounds):
    column = np.random.default_rng(rounds).normal(size=rounds)
    seen = history_of(column).seen()
    assert len(seen.round) <= 8
    assert seen.last == rounds - 1
    ends = np.append(seen.round[1:], rounds)
    wanted = [column[start:end].mean() for start, end in zip(seen.round, ends, strict=True)]
    np.testing.assert_allclose(seen.rounds["welfare_usd"], wanted, atol=1e-12)
    np.testing.assert_allclose(seen.providers["share"][:, 0, 0], wanted, atol=1e-12)


def test_means_leave_out_what_is_undefined_and_are_undefined_where_nothing_is_known():
    seen = history_of([1.0, np.nan, 3.0, np.nan, np.nan], most=2).seen()
    assert seen.length == 4
    np.testing.assert_array_equal(seen.rounds["hhi"], [2.0, np.nan])


def test_a_watched_market_keeps_no_rows_beside_its_history():
    market = played(50)
    assert len(market.model.recorder) == 0
    assert market.model.datacollector.get_model_vars_dataframe().empty
    assert len(market.history.seen().round) == 51 <= MOST_BLOCKS


def test_exported_rows_say_which_rounds_they_are_means_of():
    table = rows_table(history_of(range(20)).seen())
    assert table["from_round"].tolist() == [0, 4, 8, 12, 16]
    assert table["to_round"].tolist() == [3, 7, 11, 15, 19]
    assert table["welfare_usd"].tolist() == [1.5, 5.5, 9.5, 13.5, 17.5]
    assert csv_of(history_of([np.nan]).seen()).splitlines()[1].split(",")[4] == ""


# --- Files of strangers -----------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "good.toml").write_text('name = "good"\n[market]\nbenchmark = "AIME"\nmethod = "best_of_n"\n')
    (tmp_path / "secret.toml").write_text('name = "secret"\n')
    return folder


def test_a_scenario_in_the_folder_is_opened_and_one_outside_is_refused(root):
    assert open_scenario(root / "good.toml", root).name == "good"
    assert [path.name for path in scenarios_in(root)] == ["good.toml"]
    for path in (root / ".." / "secret.toml", root.parent / "secret.toml"):
        with pytest.raises(InputError, match=r"is outside .*runs"):
            open_scenario(path, root)


def test_a_link_that_leads_out_of_the_folder_is_refused(root):
    (root / "link.toml").symlink_to(root.parent / "secret.toml")
    with pytest.raises(InputError, match="is outside"):
        open_scenario(root / "link.toml", root)
    (root / "out").symlink_to(root.parent)
    with pytest.raises(InputError, match="is outside"):
        open_run(root / "out", root)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('[market]\ncurves = "../secret.toml"', "market.curves = '../secret.toml' is outside"),
        ('[users]\ntypes = "/etc/hosts"', "users.types = '/etc/hosts' is outside"),
        (
            '[users]\ninformation = "experience"\nnetwork = {file = "../secret.toml"}',
            "users.network.file = '../secret.toml' is outside",
        ),
        ('[providers]\nlearning = {rule = "os:system"}', "'os:system' is a rule from outside"),
        (
            '[providers]\nauction_learning = {rule = "truthful", "Qwen2-7B" = {rule = "os:system"}}',
            "providers.auction_learning: 'os:system' is a rule from outside",
        ),
        ("[users]\ncount = 1000000", "1,000,000 are too many to watch"),
        ("[market]\ngenerated = {providers = 101}", "101 are too many to watch (at most 100)"),
    ],
)
def test_a_scenario_that_is_sent_names_no_file_outside_no_program_and_no_crowd(root, section, sentence):
    with pytest.raises(InputError) as caught:
        uploaded_scenario("mine.toml", f'name = "mine"\n{section}\n'.encode(), root)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("mine.toml: ")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "mine.toml: is empty"),
        (b"\xff\xfe\x00", "mine.toml: is not a text file"),
        (b"name = ", "mine.toml: is not TOML"),
        (b"#" * 1_000_001, "mine.toml: has 1,000,001 bytes"),
        (b'name = "x"\nround = 3', "mine.toml: round is not a known key"),
    ],
)
def test_what_is_no_scenario_is_refused_with_a_sentence(root, content, sentence):
    with pytest.raises(InputError) as caught:
        uploaded_scenario("mine.toml", content, root)
    assert str(caught.value).startswith(sentence)


def test_finished_runs_are_listed_newest_first_and_unfinished_ones_are_not(root):
    first = run(SMALL, out=root / "out").folder
    second = run(SMALL, seed=2, out=root / "out").folder
    (root / "out" / "half").mkdir()
    assert {path.name for path in runs_in(root)} == {first.name, second.name}
    with pytest.raises(InputError, match="is not a complete run"):
        open_run(root / "out" / "half", root)
    assert runs_in(root / "nowhere") == []


# --- The figure -------------------------------------------------------------------------------------


ALL_OF_THE_FIRST = Customers(bought=np.zeros(150, dtype=int), about="150 of 150 users")


def figure_of(market: LiveMarket, *around: str) -> LiveFigure:
    portrait, offered = portrait_of(market.model.parts), market.market.offered
    crowd = Crowd(place=portrait.place, links=portrait.links)
    levels = market.market.compute_level[offered]
    return LiveFigure(
        market.history.seen(), crowd, market.yardsticks, "samples", levels, "pay_per_compute", *around
    )


def test_a_frame_drawn_over_the_last_one_is_the_frame_drawn_anew():
    market = played(0)
    grown, nobody = figure_of(market), Customers(bought=np.full(150, -1), about="users")
    for _ in range(30):
        market.step()
        grown.show(market.history.seen(), nobody)
        last = grown.png()
    anew = figure_of(market)
    anew.show(market.history.seen(), nobody)
    again = grown.png()
    assert last == again
    assert pixels_apart(again, anew.png()) < 0.02  # axes may have grown at other moments


def pixels_apart(one: bytes, other: bytes) -> float:
    """The share of pixels in which two pictures differ."""
    import io

    from PIL import Image

    first, second = (
        np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int) for png in (one, other)
    )
    assert first.shape == second.shape
    return float((np.abs(first - second).max(axis=-1) > 8).mean())


def test_a_saved_figure_has_its_heading_its_marks_and_every_provider(tmp_path):
    market = played(8)
    figure = figure_of(market, "small, round 8", "From round 3: the auction")
    figure.show(market.history.seen(), ALL_OF_THE_FIRST, [3])
    png, svg = save(figure.figure, tmp_path / "live", {"seed": 1})
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text()
    titles = [patch.text for patch in figure.figure.findobj(Title)]
    assert figure.figure.get_suptitle() == "small, round 8"
    assert figure.figure.get_supxlabel() == "From round 3: the auction"
    timed = [ax for ax in figure.figure.axes if ax.get_xlabel() == "round"]
    assert len(timed) == 3
    assert all([3, 3] in [list(line.get_xdata()) for line in ax.lines] for ax in timed)
    assert any(text.startswith("Welfare ") for text in titles)
    (legend,) = figure.figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert set(names) == {*market.market.providers, "buys nothing"}


@pytest.mark.parametrize("regime", ["second_price_auction", "flat_price", "planner"])
def test_every_regime_can_be_drawn(regime):
    market = played(3, regime__kind=regime)
    figure = figure_of(market)
    figure.show(market.history.seen(), ALL_OF_THE_FIRST)
    assert figure.png().startswith(b"\x89PNG")


def test_several_benchmarks_have_a_ladder_each():
    market = played(2, market__benchmark=("GSM8K", "AIME"), market__models=None)
    figure = figure_of(market)
    figure.show(market.history.seen(), ALL_OF_THE_FIRST)
    labels = [ax.get_ylabel() for ax in figure.figure.axes]
    assert {"GSM8K", "AIME"} <= set(labels)

"""A watched market: what is shown is what is played, in bounded memory."""

import re
from itertools import pairwise

import numpy as np
import pytest

from market_sim.errors import InputError
from market_sim.experiments.frames import Title
from market_sim.experiments.live import (
    MOST_BLOCKS,
    PROVIDER_SERIES,
    History,
    LiveMarket,
    Replay,
    csv_of,
    rows_table,
    yardsticks_of,
)
from market_sim.experiments.live_figures import Crowd, Customers, LiveFigure
from market_sim.experiments.run import run
from market_sim.experiments.saved_figures import save
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


# --- The figure -------------------------------------------------------------------------------------


ALL_OF_THE_FIRST = Customers(bought=np.zeros(150, dtype=int), about="150 of 150 users")


def figure_of(market: LiveMarket, *around: str) -> LiveFigure:
    portrait, offered = portrait_of(market.model.parts), market.market.offered
    crowd = Crowd(place=portrait.place, links=portrait.links)
    levels = market.market.compute_level[offered]
    return LiveFigure(
        market.history.seen(),
        crowd,
        market.yardsticks,
        market.market.methods,
        levels,
        "pay_per_compute",
        *around,
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


def of_all_models(benchmark, method) -> LiveMarket:
    """A market of every model that was evaluated so, after a round."""
    market = LiveMarket(load_scenario(SMALL | {"market": {"benchmark": benchmark, "method": method}}))
    market.step()
    return market


@pytest.mark.parametrize(
    ("benchmark", "method", "unit"),
    [
        ("GSM8K", "majority_voting", "samples"),
        (["GSM8K", "AIME"], "reasoning_effort", "effort bin"),
        (["GSM8K", "AIME", "GPQA"], "majority_voting", "samples"),
        (["GSM8K", "AIME", "GPQA"], ["best_of_n", "reasoning_effort"], "samples or effort bin"),
    ],
)
def test_every_benchmark_has_a_ladder_with_its_name_and_levels_that_can_be_read(benchmark, method, unit):
    market = of_all_models(benchmark, method)
    figure = figure_of(market)
    figure.show(market.history.seen(), ALL_OF_THE_FIRST)
    figure.png()
    tasks = market.market.tasks
    ladders = figure.figure.axes[: len(tasks)]
    assert [ax.get_title(loc="left") for ax in ladders] == (list(tasks) if len(tasks) > 1 else [""])
    assert ladders[0].get_ylabel() == unit
    assert len({ax.get_ylim() for ax in ladders}) == 1
    boxes = [text.get_window_extent() for text in ladders[0].get_yticklabels() if text.get_text()]
    assert len(boxes) >= 5
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))


def test_providers_of_one_model_share_a_colour_and_their_methods_differ_in_lines():
    market = of_all_models("GSM8K", ["majority_voting", "best_of_n"])
    figure = figure_of(market)
    (legend,) = figure.figure.legends
    looks = {line.get_label(): line.get_linestyle() for line in legend.legend_handles}
    models = {name.partition(" (")[0] for name in market.market.providers}
    assert len(market.market.providers) == 2 * len(models)
    assert set(looks) == {*models, "buys nothing", "majority voting", "best-of-n"}
    assert looks["majority voting"] != looks["best-of-n"]
    drawn = {(line.get_color(), line.get_linestyle()) for line in figure.figure.axes[0].lines}
    assert len(drawn) == len(market.market.providers)


def test_the_mean_of_samples_and_the_mean_of_effort_are_told_apart():
    market = of_all_models("GSM8K", ["majority_voting", "reasoning_effort"])
    figure = figure_of(market)
    figure.show(market.history.seen(), ALL_OF_THE_FIRST)
    said = next(title.text for title in figure.figure.findobj(Title) if "compute" in title.text)
    assert re.fullmatch(r"Mean compute sold: [\d.]+ samples, effort bin [\d.]+", said)

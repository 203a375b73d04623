"""The page as a person meets it: in a real browser, over the real server.

Nothing here is timed; how fast it is stands in benchmarks/test_page.py.
"""

import csv
import io
import re
import socket
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from market_sim.experiments.run import load_run, run
from market_sim.page.choices import CONTROLS
from tests.page.browser import ROOT, SOLARA_RUN, Visitor, chromium, new_context, serving, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

SMALL = {
    "name": "small",
    "rounds": 6,
    "market": {
        "benchmark": "GSM8K",
        "method": "majority_voting",
        "models": ["Llama-3-8B", "Qwen2.5-7B", "Qwen2-1.5B"],
    },
    "users": {"count": 200},
}

SENT = """
name = "sent"
[market]
benchmark = "AIME"
method = "reasoning_effort"
[users]
count = 100
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """A server with one scenario and one finished run in its folder."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "runs").mkdir()
    (folder / "runs" / "shipped.toml").write_text(SENT.replace("sent", "shipped"))
    run(SMALL, out=folder / "runs" / "out")
    with serving(folder) as server:
        yield server.address


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def context(browser) -> Iterator[object]:
    """One browser profile for most visits: scripts and fonts are loaded once."""
    context = new_context(browser)
    yield context
    context.close()


@pytest.fixture
def visitor(context, address) -> Iterator[Visitor]:
    """A visitor whose browser must not have complained in the end, nor asked another machine."""
    visitor = Visitor(context, address)
    yield visitor
    complaints, elsewhere = visitor.complaints, visitor.asked_elsewhere
    visitor.close()
    assert not complaints
    assert not elsewhere


def test_a_visitor_reads_what_is_simulated_and_sees_the_market_before_it_moves(visitor):
    about = visitor.page.inner_text(".ms-about >> nth=0")
    assert len(re.findall(r"\.\s", about)) == 3
    assert about.endswith("README")
    assert visitor.round == 0
    assert visitor.regime == "pay-per-compute"
    assert visitor.picture.startswith("data:image/png;base64,")
    for control in CONTROLS.values():
        assert control.help in visitor.page.inner_text(".ms-controls")


def test_step_plays_one_round_play_plays_on_pause_stops_and_reset_begins_anew(visitor):
    at_first = visitor.picture
    visitor.step()
    assert visitor.picture != at_first
    visitor.press("play")
    visitor.wait_for_round(lambda number: number > 8)
    visitor.press("play")  # the same button: pause
    visitor.page.wait_for_selector('.ms-play:has-text("Play")')
    visitor.page.wait_for_timeout(200)  # what was on its way to the browser arrives
    stopped = visitor.round
    visitor.page.wait_for_timeout(700)
    assert visitor.round == stopped
    visitor.press("reset")
    visitor.wait_for_round(lambda number: number == 0)
    assert visitor.picture == at_first


def test_every_menu_and_slider_changes_the_market_that_reset_makes(visitor):
    for key, entry in (
        ("benchmark", "AIME"),
        ("method", "best-of-n"),
        ("models", "Llama-3-8B"),
        ("models", "Qwen2-7B"),
        ("regime", "flat price"),
        ("rule", "best reply"),
        ("auction_rule", "fixed"),
        ("information", "find out, hear a small world"),
    ):
        visitor.choose(f".ms-{key}", entry)
    for key in ("value_usd", "margin", "beta", "users", "seed"):
        visitor.slide(f".ms-{key}", "ArrowRight")
    visitor.page.wait_for_selector(".ms-hint")
    visitor.press("reset")
    visitor.page.wait_for_selector(".ms-hint", state="detached")
    assert visitor.page.query_selector(".ms-problem") is None
    visitor.step()
    visitor.open_tab("Files")
    made = tomllib.loads(visitor.fetch("scenario").decode())
    assert made["market"]["benchmark"] == "AIME"
    assert made["market"]["method"] == ["best_of_n"]
    assert set(made["market"]["models"]) == {"Llama-3-8B", "Qwen2-7B"}
    assert made["market"]["value_of_correct_usd"] == 0.1  # the step after AIME's 0.05
    assert made["market"]["margin"] == 0.5
    assert made["users"]["beta"] == 2000
    assert made["users"]["count"] == 5000
    assert made["users"]["information"] == "experience"
    assert made["users"]["network"]["kind"] == "small_world"
    assert made["regime"]["kind"] == "flat_price"
    assert made["providers"]["learning"]["rule"] == "best_reply"
    assert made["providers"]["auction_learning"]["rule"] == "fixed"
    assert made["seed"] == 2


def test_the_keyboard_is_enough_to_step_and_to_send_a_file(visitor):
    asked = []
    visitor.page.on("filechooser", lambda chooser: asked.append(chooser))
    visitor.page.locator(".ms-step").focus()
    visitor.page.keyboard.press("Enter")
    visitor.wait_for_round(lambda number: number == 1)
    visitor.open_tab("Files")
    visitor.page.click(".ms-upload", trial=True)  # possible once the tab has stopped moving
    visitor.page.locator(".ms-get-svg button").focus()
    for _ in range(3):  # past the button that keeps the run and the switch that saves as it is played
        visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.press("Enter")
    visitor.wait_until(lambda: len(asked) == 1)
    assert asked[0].element.get_attribute("accept") == ".toml"


def test_another_regime_gives_other_curves_after_reset(visitor):
    visitor.step(3)
    posted = visitor.picture
    visitor.choose(".ms-regime", "second-price auction")
    visitor.choose(".ms-demand", "expected: a continuum")
    assert visitor.regime == "pay-per-compute"  # nothing changes before reset
    visitor.press("reset")
    visitor.wait_for_round(lambda number: number == 0)
    visitor.page.wait_for_selector('.ms-regime-now:has-text("second-price auction")')
    visitor.step(3)
    assert visitor.picture != posted


def test_the_pace_can_be_changed_while_the_market_is_played(visitor):
    visitor.slide(".ms-speed", "End")
    visitor.page.wait_for_selector('.ms-pace:has-text("200 rounds a second")')
    visitor.press("play")
    visitor.wait_for_round(lambda number: number > 100)
    visitor.slide(".ms-speed", "Home")
    visitor.page.wait_for_selector('.ms-pace:has-text("1 round a second")')
    visitor.press("play")
    visitor.page.wait_for_selector('.ms-play:has-text("Play")')


def test_a_policy_switched_on_the_way_begins_with_the_next_round_and_is_saved_as_an_event(visitor):
    visitor.step(2)
    visitor.press("switch")
    visitor.page.wait_for_selector('.ms-said:has-text("From round 3: second-price auction")')
    assert visitor.regime == "pay-per-compute"
    visitor.step()
    assert visitor.regime == "second-price auction"
    visitor.open_tab("Files")
    saved = tomllib.loads(visitor.fetch("scenario").decode())
    assert [(event["round"], event["regime"]["kind"]) for event in saved["events"]] == [
        (3, "second_price_auction")
    ]


def test_two_visitors_do_not_touch_each_others_market(visitor, browser, address):
    other = Visitor(new_context(browser), address)
    untouched = other.picture
    visitor.choose(".ms-regime", "planner")
    visitor.press("reset")
    visitor.page.wait_for_selector('.ms-regime-now:has-text("planner")')
    visitor.step(2)
    assert other.round == 0
    assert other.regime == "pay-per-compute"
    assert other.picture == untouched
    other.step()
    assert visitor.round == 2
    other.close()


def test_what_is_taken_along_is_whole_and_the_scenario_comes_back_in(visitor):
    visitor.step(3)
    visitor.open_tab("Files")
    scenario = visitor.fetch("scenario").decode()
    rows = list(csv.DictReader(io.StringIO(visitor.fetch("data").decode())))
    assert len(rows) == 4 * 9  # rounds 0 to 3, nine models
    assert [row["from_round"] for row in rows[::9]] == ["0", "1", "2", "3"]
    shares = [float(row["share"]) for row in rows[-9:]]
    assert sum(shares) + float(rows[-1]["outside_share"]) == pytest.approx(1)
    assert visitor.fetch("png").startswith(b"\x89PNG")
    assert ElementTree.fromstring(visitor.fetch("svg")).tag.endswith("svg")
    visitor.send("again.toml", scenario)
    visitor.page.wait_for_selector(".ms-play")  # the live market is shown again
    assert visitor.wait_for_round(lambda number: number == 0) == 0
    assert visitor.page.query_selector(".ms-problem") is None


def test_a_scenario_that_is_sent_or_ships_is_put_on_the_desk(visitor):
    visitor.open_tab("Files")
    visitor.send("mine.toml", SENT)
    visitor.page.wait_for_selector('.ms-benchmark:has-text("AIME")')
    assert "reasoning effort" in visitor.page.inner_text(".ms-method")
    visitor.step()
    visitor.open_tab("Files")
    visitor.choose(".ms-open-scenario", "shipped.toml")
    visitor.page.wait_for_selector(".ms-play")
    assert visitor.wait_for_round(lambda number: number == 0) == 0


STARTS = """
name = "starts"
[market]
benchmark = "GSM8K"
method = "majority_voting"
[providers]
start = {Llama-3-8B = 4}
"""

BAD = {
    "no TOML": ("name = ", "mine.toml: is not TOML"),
    "no such benchmark": ('name = "x"\n[market]\nbenchmark = "GSM9K"', "GSM9K"),
    "misspelt": ('name = "x"\n[users]\ncuont = 5', "did you mean count"),
    "a file outside runs": ('name = "x"\n[market]\ncurves = "../../etc/hosts"', "is outside runs"),
    "a program": ('name = "x"\n[providers]\nlearning = {rule = "os:system"}', "is a program"),
}


def test_a_bad_scenario_file_is_answered_with_a_sentence_and_the_market_goes_on(visitor):
    visitor.open_tab("Files")
    for text, sentence in BAD.values():
        visitor.send("mine.toml", text)
        visitor.page.wait_for_selector(f'.ms-problem:has-text("{sentence}")')
        assert visitor.problem.startswith("mine.toml: ")
        assert "Traceback" not in visitor.problem
    visitor.open_tab("Live market")
    visitor.step()
    assert visitor.page.query_selector(".ms-problem") is None


def test_a_sentence_on_what_went_wrong_moves_nothing_is_said_aloud_and_can_be_closed(visitor):
    visitor.open_tab("Files")
    visitor.page.click(".ms-upload", trial=True)  # possible once the tab has stopped moving
    places = [".v-tab >> nth=0", ".ms-upload", ".ms-get-data", ".ms-seed"]
    before = [visitor.page.locator(place).bounding_box() for place in places]
    for _ in range(2):
        visitor.send("mine.toml", "name = ")
        visitor.page.wait_for_selector('[role="alert"].ms-problem:has-text("is not TOML")')
        assert [visitor.page.locator(place).bounding_box() for place in places] == before
        visitor.page.click('.ms-problem [aria-label="Close"]')
        visitor.page.wait_for_selector(".ms-problem", state="detached")


def test_what_only_the_file_can_say_is_a_place_of_its_own_on_sliders_and_menus(visitor):
    visitor.open_tab("Files")
    visitor.send("mine.toml", (ROOT / "runs" / "three-benchmarks.toml").read_text())
    said = ".ms-beta .ms-value"
    visitor.page.wait_for_selector(f'{said}:has-text("as in the file")')
    visitor.slide(".ms-beta", "ArrowRight")
    visitor.page.wait_for_selector(f'{said}:text-is("1 per USD")')
    visitor.page.wait_for_selector(".ms-hint")
    visitor.slide(".ms-beta", "ArrowLeft")
    visitor.page.wait_for_selector(f'{said}:text-is("as in the file")')
    visitor.choose(".ms-benchmark", "GPQA")
    visitor.page.wait_for_selector('.ms-value_usd .ms-value:text-is("0.02 USD")')
    visitor.choose(".ms-benchmark", "as in the file")
    visitor.page.wait_for_selector('.ms-value_usd .ms-value:text-is("as in the file")')
    visitor.page.wait_for_selector(".ms-hint", state="detached")  # all is as it is played
    assert visitor.page.query_selector(".ms-problem") is None


def test_a_finished_run_is_replayed_to_its_end_and_no_further(visitor):
    visitor.open_tab("Files")
    (entry,) = visitor.entries(".ms-open-run")
    assert "small" in entry
    visitor.page.locator(".menuable__content__active .v-list-item").click()
    visitor.page.wait_for_selector(".ms-play")
    visitor.wait_for_round(lambda number: number == 0)
    visitor.press("play")
    visitor.wait_for_round(lambda number: number == 6)
    visitor.page.wait_for_selector('.ms-said:has-text("last round")')
    assert visitor.page.locator(".ms-step").is_disabled()
    visitor.press("reset")
    visitor.wait_for_round(lambda number: number == 0)


def test_the_comparison_says_in_words_who_gains_and_who_loses(visitor):
    visitor.slide(".ms-seed", "ArrowRight")
    visitor.open_tab("Compare two regimes")
    visitor.slide(".ms-compare-rounds", "Home")
    visitor.press("compare")
    visitor.page.wait_for_selector("img.ms-side-by-side")
    sentences = visitor.page.locator(".ms-sentence").all_inner_texts()
    assert any(re.fullmatch(r"Under .* society is .* better off than under .*\.", text) for text in sentences)
    assert all(text.endswith(".") for text in sentences)
    cells = visitor.page.locator(".ms-measures td").all_inner_texts()
    assert "welfare, expected" in cells
    assert visitor.page.get_attribute("img.ms-surplus", "src").startswith("data:image/png")


def test_the_exact_analysis_lists_every_equilibrium_and_follows_the_controls(visitor):
    visitor.open_tab("Exact analysis")
    visitor.page.wait_for_selector("img.ms-exact")
    head = visitor.page.locator(".ms-equilibria th").all_inner_texts()
    assert head == ["money: USD per 1,000 queries", "equilibrium 1 *", "optimum", "second-price auction"]
    welfare = visitor.page.locator(".ms-equilibria tr:has-text('welfare') td").all_inner_texts()
    assert welfare == ["welfare", "6.047", "6.835", "7.260"]
    visitor.slide(".ms-beta", "ArrowRight")
    visitor.page.wait_for_selector(".ms-equilibria tr:has-text('welfare'):not(:has-text('6.047'))")


def test_figures_of_both_pages_can_be_taken_along(visitor):
    visitor.open_tab("Exact analysis")
    visitor.page.wait_for_selector("img.ms-exact")
    assert visitor.fetch("exact-png").startswith(b"\x89PNG")
    visitor.open_tab("Compare two regimes")
    visitor.slide(".ms-compare-rounds", "Home")
    visitor.press("compare")
    visitor.page.wait_for_selector("img.ms-side-by-side")
    for name in ("surplus", "side-by-side"):
        assert ElementTree.fromstring(visitor.fetch(f"{name}-svg")).tag.endswith("svg")


def test_what_was_played_is_kept_whole_and_can_be_replayed(visitor):
    visitor.step(2)
    visitor.open_tab("Files")
    before = visitor.entries(".ms-open-run")
    visitor.page.keyboard.press("Escape")
    visitor.press("keep")
    visitor.page.wait_for_selector('.ms-kept:has-text("gsm8k-majority")')
    (kept,) = set(visitor.entries(".ms-open-run")) - set(before)
    visitor.page.locator(".menuable__content__active .v-list-item").get_by_text(kept, exact=True).click()
    visitor.page.wait_for_selector(".ms-play")
    visitor.wait_for_round(lambda number: number == 0)
    visitor.step(2)
    visitor.page.wait_for_selector('.ms-said:has-text("last round")')


def test_rounds_are_saved_as_they_are_played_and_stand_on_the_disk_when_the_server_is_stopped(
    context, tmp_path
):
    def kept() -> list[int]:
        return sorted(len(load_run(path.parent).rounds["round"]) - 1 for path in out.rglob("manifest.json"))

    out = tmp_path / "runs" / "out"
    with serving(tmp_path) as server:
        visitor = Visitor(context, server.address)
        visitor.step(2)
        visitor.open_tab("Files")
        visitor.page.click(".ms-save .v-input--selection-controls__ripple")
        visitor.page.wait_for_selector(".ms-save.v-input--is-label-active")
        visitor.open_tab("Live market")
        visitor.page.wait_for_selector('.ms-said:has-text("Every round is saved")')
        visitor.step()
        visitor.press("reset")
        visitor.wait_for_round(lambda number: number == 0)
        assert kept() == [3]
        visitor.step(2)
        assert not visitor.complaints
    assert kept() == [2, 3]
    assert not list(out.glob(".playing-*"))
    visitor.close()


CURSED = """
import numpy as np
from market_sim.theory.rule import POSTED, Functions, RuleFamily

rounds = 0


def cursed():
    def act(memory, view, uniforms):
        global rounds
        rounds += 1
        if rounds == 3:
            raise RuntimeError("the third move is cursed")
        return view.current

    return Functions(act=act, draws=1)


rule = RuleFamily(name="cursed", summary="", source="", information="none", regimes=POSTED, make=cursed)
"""


def test_an_exception_in_a_step_is_a_sentence_on_the_page_and_reset_goes_on(context, tmp_path):
    (tmp_path / "rules.py").write_text(CURSED)
    (tmp_path / "mine.toml").write_text(SENT + '[providers]\nlearning = {rule = "rules:rule"}\n')
    with serving(tmp_path, "mine.toml") as server:
        visitor = Visitor(context, server.address)
        visitor.press("play")
        visitor.page.wait_for_selector('.ms-problem:has-text("RuntimeError: the third move is cursed")')
        visitor.page.wait_for_selector('.ms-play:has-text("Play")')
        assert "Traceback" not in visitor.page.inner_text("body")
        visitor.press("reset")
        visitor.wait_for_round(lambda number: number == 0)
        visitor.page.wait_for_selector(".ms-problem", state="detached")
        visitor.step(3)
        assert not visitor.complaints
        visitor.close()


def test_solara_run_shows_the_page_too(context, tmp_path):
    with serving(tmp_path, program=SOLARA_RUN) as server:
        visitor = Visitor(context, server.address)
        visitor.step()
        visitor.close()
        assert not visitor.complaints
        assert not visitor.asked_elsewhere


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is not this machine")
def test_it_listens_to_this_machine_only(address):
    """All of 127.* is this machine, and who listens to every address answers there."""
    port = int(address.rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port), timeout=30).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=30)


ASK_TO_RUN = """code => new Promise((resolve, reject) => {
  const id = crypto.randomUUID();
  const socket = new WebSocket(`ws://${location.host}/jupyter/api/kernels/${id}/channels?session_id=${id}`);
  const header = {msg_id: id, msg_type: "execute_request", username: "", session: id, version: "5.3",
                  date: ""};
  const message = {header, parent_header: {}, metadata: {}, content: {code}, buffers: [], channel: "shell"};
  socket.onopen = () => socket.send(JSON.stringify(message));
  socket.onclose = event => resolve(event.code);
  setTimeout(() => reject("neither answered nor closed"), 50000);
})"""


def test_nobody_can_make_the_server_run_code(visitor, tmp_path):
    written = tmp_path / "written"
    visitor.page.evaluate(ASK_TO_RUN, f"open({str(written)!r}, 'w').write('by a stranger')")
    assert not written.exists()


PRESS_AGAIN_AS_SOON_AS_IT_IS_SAVED = """name => {
  const button = document.querySelector(`.ms-get-${name} button`), click = HTMLAnchorElement.prototype.click;
  HTMLAnchorElement.prototype.click = function() {
    click.call(this);
    HTMLAnchorElement.prototype.click = click;
    button.click();
  };
  button.click();
}"""


def test_each_download_during_play_is_whole_and_of_its_own_moment(visitor):
    saved = []
    visitor.page.on("download", lambda download: saved.append(download))
    visitor.press("play")
    visitor.open_tab("Files")
    visitor.page.wait_for_selector(".ms-get-data button")
    visitor.page.evaluate(PRESS_AGAIN_AS_SOON_AS_IT_IS_SAVED, "data")
    visitor.wait_until(lambda: len(saved) == 2)
    tables = [Path(download.path()).read_text() for download in saved]
    tables += [visitor.fetch("data").decode() for _ in range(20)]
    rounds = []
    for table in tables:
        rows = list(csv.DictReader(io.StringIO(table)))
        assert len(rows) % 9 == 0
        rounds.append(int(rows[-1]["from_round"]))
    assert rounds == sorted(rounds)
    assert rounds[0] < rounds[-1]
    assert visitor.page.query_selector(".ms-problem") is None


def test_a_file_that_cannot_be_made_is_a_sentence_and_the_page_stays(visitor):
    visitor.open_tab("Files")
    visitor.send("mine.toml", STARTS)
    visitor.page.wait_for_selector(".ms-play")  # the live market is shown again
    visitor.choose(".ms-models", "Qwen2-7B")
    visitor.open_tab("Files")
    visitor.page.click(".ms-get-scenario button")
    visitor.page.wait_for_selector('.ms-problem:has-text("Llama-3-8B")')
    visitor.choose(".ms-models", "Llama-3-8B")
    assert tomllib.loads(visitor.fetch("scenario").decode())["name"] == "starts"


@pytest.mark.parametrize("width", [390, 800, 1024])
def test_a_narrow_window_has_everything_and_does_not_scroll_sideways(browser, address, width):
    context = new_context(browser, width, 800)
    visitor = Visitor(context, address)

    def fits() -> bool:
        return visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    visitor.step()
    assert fits()
    visitor.press("settings")
    for key in CONTROLS:
        box = visitor.page.wait_for_selector(f".ms-{key}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    visitor.slide(".ms-seed", "ArrowRight")
    visitor.press("settings")
    visitor.page.wait_for_selector(".ms-seed", state="hidden")
    visitor.press("reset")
    visitor.press("play")
    visitor.wait_for_round(lambda number: number > 2)
    for title, shows in (
        ("Compare two regimes", ".ms-compare"),
        ("Exact analysis", "img.ms-exact"),
        ("Files", ".ms-upload"),
        ("README", ".ms-readme h1"),
        ("Live market", ".ms-play"),
    ):
        visitor.open_tab(title)
        visitor.page.wait_for_selector(shows)
        assert fits()
    visitor.press("play")
    figure = visitor.page.locator("img.ms-live")
    assert figure.bounding_box()["width"] >= min(width, 700)
    assert not visitor.complaints
    context.close()


def test_play_goes_on_behind_another_tab(visitor):
    visitor.press("play")
    visitor.open_tab("README")
    visitor.page.wait_for_selector(".ms-readme h1")
    visitor.page.wait_for_timeout(1500)
    visitor.open_tab("Live market")
    there = visitor.wait_for_round(lambda number: number > 3)
    visitor.wait_for_round(lambda number: number > there + 3)

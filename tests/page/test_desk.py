"""What stands behind the page, without a browser: choices, sessions, exports, and who may connect."""

import asyncio
import re
import sys
import threading
import time
import tomllib
from dataclasses import fields

import pytest

from market_sim.errors import InputError
from market_sim.experiments import running_log, store
from market_sim.experiments.live import LiveMarket, Replay
from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.solve import solve
from market_sim.page import server
from market_sim.page.choices import CONTROLS, Choices, after, choices_of, help_of, menu, scenario_of, steps
from market_sim.page.desk import Desk
from market_sim.page.exact import equilibria_table, said_of
from market_sim.page.files import Drawer
from market_sim.page.pictures import DRAWING, Counter
from tests.page import browser

SMALL = {
    "name": "small",
    "market": {"benchmark": "GSM8K", "method": "majority_voting"},
    "users": {"count": 100},
}


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(load_scenario(SMALL), tmp_path)


# --- Choices ----------------------------------------------------------------------------------------


def test_every_choice_has_a_control_with_its_help_and_every_slider_names_its_range():
    assert set(CONTROLS) == {field.name for field in fields(Choices)}
    for control in CONTROLS.values():
        assert control.help.endswith(".")
        if control.values:
            low, high = (f"{control.values[k]:,.10g}" for k in (0, -1))
            assert f"{low} to {high}" in control.help


def test_every_regime_and_rule_is_explained_where_it_is_chosen():
    scenario = load_scenario(SMALL)
    for key in ("regime", "rule", "auction_rule"):
        for item in menu(key, scenario, choices_of(scenario)):
            assert re.fullmatch(r"How [^.]*\. Here: \w.*\w.*\.", help_of(key, item["value"]))
    assert help_of("seed", 1) == CONTROLS["seed"].help


@pytest.mark.parametrize("name", ["gsm8k-majority", "aime-reasoning", "gpqa-best-of-n"])
def test_untouched_controls_give_the_scenario_back(name):
    scenario = load_scenario(f"runs/{name}.toml")
    assert scenario_of(scenario, choices_of(scenario)) == scenario


@pytest.mark.parametrize(
    "name",
    ["gsm8k-two-kinds", "gsm8k-two-segments", "policy-experiment", "three-benchmarks", "word-of-mouth"],
)
def test_what_has_no_control_stays_as_in_the_file_when_another_control_is_moved(name):
    scenario = load_scenario(f"runs/{name}.toml")
    moved = scenario_of(scenario, after(choices_of(scenario), "seed", 7, scenario))
    assert moved.seed == 7
    assert moved.model_copy(update={"seed": scenario.seed}) == scenario


def test_a_menu_shows_what_stands_in_the_file_where_no_entry_does():
    scenario = load_scenario("runs/three-benchmarks.toml")
    choices = choices_of(scenario)
    assert choices.benchmark is None
    assert menu("benchmark", scenario, choices)[0] == {"text": "as in the file", "value": None}
    assert menu("method", scenario, choices)[0]["value"] == "majority_voting"


@pytest.mark.parametrize("key", ["benchmark", "value_usd", "beta"])
def test_what_only_the_file_can_say_can_be_left_and_returned_to(key):
    scenario = load_scenario("runs/three-benchmarks.toml")
    at_first = choices_of(scenario)
    for place in offered(key, scenario, at_first):
        left = after(at_first, key, place, scenario)
        assert None in offered(key, scenario, left)
        assert scenario_of(scenario, after(left, key, None, scenario)) == scenario


def offered(key: str, scenario, choices: Choices) -> list:
    if CONTROLS[key].values:
        return steps(key, scenario, getattr(choices, key))
    return [item["value"] for item in menu(key, scenario, choices)]


def test_every_entry_of_every_menu_gives_a_market_or_a_sentence():
    scenario = load_scenario(SMALL)
    choices = choices_of(scenario)
    for key in ("benchmark", "method", "regime", "rule", "auction_rule", "information", "demand"):
        for item in menu(key, scenario, choices):
            changed = scenario_of(scenario, after(choices, key, item["value"], scenario))
            assert getattr(choices_of(changed), key) == item["value"]


def test_a_benchmark_brings_a_method_models_and_a_value_that_go_with_it():
    scenario = load_scenario(SMALL)
    chosen = after(choices_of(scenario), "models", ("Qwen2-7B", "Llama-3-8B"), scenario)
    chosen = after(chosen, "method", "reasoning_effort", scenario)
    assert chosen.models == ()
    chosen = after(chosen, "benchmark", "AIME", scenario)
    assert chosen.method == "reasoning_effort"
    assert chosen.value_usd == 0.05


def test_users_who_find_out_are_drawn_one_by_one_and_a_continuum_knows():
    scenario = load_scenario(SMALL)
    learning = after(choices_of(scenario), "information", "small_world", scenario)
    assert learning.demand == "sampled"
    assert after(learning, "demand", "expected", scenario).information == "full"


def test_a_number_of_users_takes_the_place_of_segments():
    scenario = load_scenario("runs/gsm8k-two-segments.toml")
    chosen = after(choices_of(scenario), "users", 500, scenario)
    assert scenario_of(scenario, chosen).users.count == 500


# --- A session --------------------------------------------------------------------------------------


def test_two_desks_share_no_market(tmp_path):
    one, other = (Desk(load_scenario(SMALL), tmp_path) for _ in range(2))
    one.step()
    assert (one.player.value.round, other.player.value.round) == (1, 0)
    assert one.frame.value.source != other.frame.value.source


def test_an_exception_in_a_step_is_a_sentence_on_the_page_and_reset_goes_on(desk, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("division by zero")

    with monkeypatch.context() as patched:
        patched.setattr(LiveMarket, "step", broken)
        desk.step()
    assert "ZeroDivisionError: division by zero" in desk.problem.value
    desk.reset()
    assert desk.problem.value == ""
    desk.step()
    assert desk.player.value.round == 1


def test_choices_that_make_no_market_are_a_sentence_and_the_old_market_stays(desk):
    before = desk.player.value
    desk.choose("rule", "imitation")
    desk.choose("regime", "planner")
    desk.choose("rule", "fixed")
    desk.reset()
    assert desk.problem.value == ""
    desk.base.set(load_scenario(SMALL | {"providers": {"start": {"Nobody": 3}}}))
    desk.choose("seed", 3)
    before = desk.player.value
    desk.reset()
    assert "Nobody" in desk.problem.value
    assert desk.player.value is before


def test_controls_say_so_until_reset(desk):
    assert not desk.changed
    desk.choose("seed", 5)
    assert desk.changed
    desk.reset()
    assert not desk.changed


def test_saving_keeps_every_round_in_a_run_folder_that_can_be_replayed(desk, tmp_path):
    for _ in range(4):
        desk.step()
    desk.next_regime.set("planner")
    desk.switch()
    for _ in range(3):
        desk.step()
    drawer = Drawer(desk)
    drawer._keep()
    (folder,) = (path.parent for path in (tmp_path / "out").rglob("manifest.json"))
    assert str(folder) in desk.kept.value
    assert desk.replay(Replay(folder))
    for _ in range(7):
        desk.step()
    assert desk.player.value.ended
    assert desk.player.value.round == 7
    assert desk.regime.value == "planner"
    desk.switch()
    assert "finished run" in desk.problem.value
    desk.reset()
    assert desk.player.value.round == 0
    assert isinstance(desk.player.value, Replay)
    desk.choose("seed", 2)
    desk.reset()
    assert not isinstance(desk.player.value, Replay)


def test_saving_goes_on_until_it_is_turned_off_and_makes_a_folder_of_every_run(desk, tmp_path):
    def kept() -> list[int]:
        manifests = [store.manifest_of(path.parent) for path in (tmp_path / "out").rglob("manifest.json")]
        return sorted(each["rows"]["rounds"] - 1 for each in manifests)

    desk.step()
    desk.save(True)
    for _ in range(2):
        desk.step()
    assert kept() == []
    desk.reset()
    assert kept() == [3]
    assert desk.saving.value
    for _ in range(4):
        desk.step()
    desk.save(False)
    assert kept() == [3, 4]
    assert not desk.saving.value
    desk.step()
    desk.reset()
    desk.save(True)
    desk.step()
    desk.close()  # the browser was closed, or the server is stopped
    assert kept() == [1, 3, 4]
    assert not list((tmp_path / "out").glob(".playing-*"))


def test_a_disk_that_is_full_while_saving_is_a_sentence_and_play_goes_on(desk, tmp_path, monkeypatch):
    desk.save(True)
    with monkeypatch.context() as patch:
        patch.setattr(running_log, "CHUNK", 1)
        patch.setattr(store, "write_table", full)
        desk.step()
        assert "cannot be written: No space left on device" in desk.problem.value
        assert desk.player.value.round == 1
        desk.reset()
        assert "No space left on device" in desk.problem.value
        desk.guarded(lambda: desk.save(False))
    desk.reset()
    assert desk.player.value.round == 0
    assert not desk.problem.value


def full(*_):
    raise OSError(28, "No space left on device")


def test_what_is_saved_as_a_scenario_is_what_the_controls_say(desk):
    desk.choose("margin", 0.5)
    saved = tomllib.loads(Drawer(desk).scenario().decode())
    assert saved["market"]["margin"] == 0.5
    assert load_scenario(saved).name == "small"


def test_who_pressed_a_button_is_served_before_those_who_play_on():
    counter, done = Counter(), []

    def serve(name: str, turn) -> threading.Thread:
        def wait() -> None:
            with turn():
                done.append(name)

        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    with counter.played():
        waiting = [serve("play", counter.played) for _ in range(3)]
        waiting.append(serve("button", counter.pressed))
        until = time.monotonic() + 60
        while not counter._pressed and time.monotonic() < until:
            time.sleep(0.01)
        assert done == []
    for thread in waiting:
        thread.join(60)
    assert done == ["button", "play", "play", "play"]


def test_who_is_served_may_come_again_and_is_served_to_the_end():
    counter, order = Counter(), []

    def other() -> None:
        with counter.played():
            order.append("other")

    waiting = threading.Thread(target=other)
    with counter.played():
        with counter.pressed():
            waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(60)
    assert order == ["first", "other"]


def test_a_figure_that_cannot_be_drawn_keeps_nobody_else_waiting(desk, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Desk, "_show", lambda self: 1 / 0)
        desk.step()
    other = Desk(load_scenario(SMALL), tmp_path)
    other.step()
    assert other.player.value.round == 1


def test_a_figure_that_is_saved_waits_for_the_market_and_not_with_the_pen_in_hand(desk):
    """Whoever plays has the market first and then draws; the other way round both would wait for ever."""
    saved: list[bytes] = []
    saving = threading.Thread(target=lambda: saved.append(Drawer(desk).figure("svg")))
    with desk._market:
        saving.start()
        saving.join(0.5)
        assert DRAWING.acquire(timeout=60)
        DRAWING.release()
        assert not saved
    saving.join(60)
    assert b"<svg" in saved[0]


# --- Words ------------------------------------------------------------------------------------------


def test_the_table_of_equilibria_has_a_column_for_each_and_shares_that_sum_to_one():
    (solution,) = solve(SMALL, beta=1353)
    (head, rows), end = equilibria_table(solution), solution.paper_dynamics.levels
    stars = [" *" if profile.levels == end else "" for profile in solution.equilibria]
    assert head[1:] == [
        f"equilibrium 1{stars[0]}",
        f"equilibrium 2{stars[1]}",
        "optimum",
        "second-price auction",
    ]
    assert all(len(row) == len(head) for row in rows)
    shares = [float(row[1].split(", ")[1].rstrip("%")) for row in rows if row[0] in solution.providers]
    assert sum(shares) == pytest.approx(100, abs=0.6)
    assert "Price of anarchy 1." in said_of(solution)


# --- Who has no browser ---------------------------------------------------------------------------


def test_whoever_has_no_chromium_reads_which_command_installs_it(monkeypatch):
    pytest.importorskip("playwright")
    monkeypatch.setattr(browser, "CHROMIUM", None)
    assert browser.why_not() == (
        "the page is not tested: chromium is not installed (apt-get install chromium)"
    )
    monkeypatch.setattr(browser, "CHROMIUM", "/usr/bin/chromium")
    assert browser.why_not() is None


# --- Who may connect --------------------------------------------------------------------------------


def ask(kind: str, path: str = "/", **headers: str) -> list[dict]:
    """What the guarded application answers."""
    answers: list[dict] = []

    async def inner(scope, receive, send):
        await send({"type": "reached"})

    async def send(message):
        answers.append(message)

    async def receive():
        return {}

    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    app = server.guarded(inner, server.names_of("127.0.0.1", "market.example"))
    asyncio.run(app({"type": kind, "path": path, "headers": given}, receive, send))
    return answers


REACHED = [{"type": "reached"}]


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_page_itself_may_connect_and_pages_of_other_sites_may_not(kind):
    assert ask(kind, host="127.0.0.1:8765") == REACHED
    assert ask(kind, host="127.0.0.1:8765", origin="http://127.0.0.1:8765") == REACHED
    (first, *_) = ask(kind, host="127.0.0.1:8765", origin="http://elsewhere.example")
    assert first["type"] in ("http.response.start", "websocket.close")
    assert first.get("status", first.get("code")) in (403, 1008)


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_site_whose_name_leads_to_this_machine_is_refused(kind):
    for name in ("evil.example:8765", "evil.example"):
        (first, *_) = ask(kind, host=name, origin=f"http://{name}")
        assert first["type"] in ("http.response.start", "websocket.close")
    for name in ("localhost:8765", "[::1]:8765", "LOCALHOST", "market.example", "127.0.0.1:80"):
        assert ask(kind, host=name, origin=f"http://{name}") == REACHED
    assert server.names_of("0.0.0.0", None) is None


PROGRAM = "raise SystemExit('a visitor ran this')"


def test_a_value_that_no_menu_offers_runs_nothing_and_is_a_sentence(desk, tmp_path, monkeypatch):
    (tmp_path / "harm_by_choice.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    for key, value, says in (
        ("rule", "harm_by_choice:rule", "is not one of"),
        ("auction_rule", "harm_by_choice:rule", "is not one of"),
        ("users", 10**9, "too many"),
        ("regime", "harm_by_choice", "harm_by_choice"),
    ):
        before = desk.choices.value
        desk.choose(key, value)
        desk.reset()
        assert says in desk.problem.value or "users.count" in desk.problem.value
        assert "harm_by_choice" not in sys.modules
        desk.choices.set(before)


def test_no_request_deletes_the_installed_scripts(tmp_path, monkeypatch):
    """Solara answers a request for a folder of scripts by deleting it, to make room for a file."""
    from solara.server.settings import assets

    (tmp_path / "vue@2" / "dist").mkdir(parents=True)
    (tmp_path / "vue@2" / "dist" / "vue.js").write_text("")
    monkeypatch.setattr(assets, "proxy_cache_dir", tmp_path)
    for path in ("vue@2/dist", "vue@2/dist/", "/vue@2//./dist", "none/../vue@2/dist"):
        assert ask("http", path=f"/_solara/cdn/{path}", host="localhost")[0]["status"] == 403
    for path in ("vue@2/dist/vue.js", "vue@2"):
        assert ask("http", path=f"/_solara/cdn/{path}", host="localhost") == REACHED


@pytest.mark.parametrize("name", ["../secret.toml", "{outside}", "out/../../secret.toml"])
def test_what_a_browser_asks_to_open_outside_the_folder_is_refused(tmp_path, name):
    (tmp_path / "secret.toml").write_text('name = "secret"')
    (tmp_path / "runs" / "out").mkdir(parents=True)
    desk = Desk(load_scenario(SMALL), tmp_path / "runs")
    asked = name.format(outside=tmp_path / "secret.toml")
    for opens in (Drawer(desk).open_scenario, Drawer(desk).replay):
        opens(asked)
        assert "is outside" in desk.problem.value
        assert desk.base.value.name == "small"


def test_what_is_sent_in_another_shape_than_the_page_sends_it_is_a_sentence(desk):
    Drawer(desk).arrived({"name": "mine.toml", "content": "no base64"})
    assert desk.problem.value.startswith("mine.toml: ")


def test_a_port_that_is_taken_is_a_sentence():
    with server._listening("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: cannot listen there"):
            server._listening("127.0.0.1", port)


def test_a_bad_scenario_is_refused_before_anything_is_served():
    with pytest.raises(InputError, match="there is no such scenario file"):
        server.serve("runs/nowhere.toml", "127.0.0.1", 0, say=print)

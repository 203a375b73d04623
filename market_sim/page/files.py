"""Scenarios and runs in and out of the page."""

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import reacton.ipyvuetify as rv
import solara

from market_sim.errors import InputError
from market_sim.experiments.build import resolved, to_toml
from market_sim.experiments.live import LiveMarket, csv_of
from market_sim.experiments.run import run
from market_sim.experiments.scenario import Scenario
from market_sim.experiments.solve import load_market
from market_sim.experiments.timeline import timeline_of
from market_sim.experiments.visitors import (
    MOST_BYTES,
    open_run,
    open_scenario,
    runs_in,
    scenarios_in,
    uploaded_scenario,
)
from market_sim.page.choices import regime_title, scenario_of
from market_sim.page.desk import Desk
from market_sim.page.pictures import Download


@solara.component_vue("upload.vue")
def Upload(
    label: str, most: int, event_arrived: Callable[[dict], None], event_too_large: Callable[[dict], None]
) -> None:
    """A field that takes a scenario file, dropped on it or picked after a click."""


class Drawer:
    """What the page of files does; one for each visitor."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.progress: solara.Reactive[float | None] = solara.reactive(None)

    # --- in -----------------------------------------------------------------------------------------

    def arrived(self, file: dict[str, Any]) -> None:
        """A scenario file was sent."""
        name = Path(str(file["name"])).name

        def read() -> Scenario:
            try:
                content = base64.b64decode(str(file["content"]), validate=True)
            except ValueError:
                raise InputError(f"{name}: did not arrive whole; send it again") from None
            return uploaded_scenario(name, content, self.desk.root)

        self._open(read)

    def too_large(self, file: dict[str, Any]) -> None:
        self.desk.problem.set(
            f"{file['name']}: has {file['size']:,} bytes; a scenario has at most {MOST_BYTES:,}"
        )

    def open_scenario(self, name: str | None) -> None:
        """A scenario that ships was picked."""
        if name is None:
            return
        self._open(lambda: open_scenario(self.desk.root / name, self.desk.root))

    def _open(self, read: Callable[[], Any]) -> None:
        scenario = self.desk.guarded(read)
        if scenario is not None and self.desk.open(scenario):
            self.desk.tab.set(0)

    def replay(self, name: str | None) -> None:
        """A finished run was picked."""
        if name is None:
            return
        found = self.desk.guarded(lambda: open_run(self.desk.root / name, self.desk.root))
        if found is not None and self.desk.replay(found):
            self.desk.tab.set(0)

    # --- out ----------------------------------------------------------------------------------------

    def scenario(self) -> bytes:
        """What the controls say and what happened to the market, as a scenario file with every default."""
        player = self.desk.player.value
        scenario = self.desk.base.value if player is None else player.scenario
        if self.desk.changed and isinstance(player, LiveMarket):
            scenario = scenario_of(self.desk.base.value, self.desk.choices.value)
            timeline_of(scenario)  # what cannot be played is said, not saved
        return to_toml(resolved(scenario, load_market(scenario))).encode()

    def data(self) -> bytes:
        assert self.desk.player.value is not None
        with self.desk.still():
            seen = self.desk.player.value.history.seen()
        return csv_of(seen).encode()

    def png(self) -> bytes:
        return self.figure("png")

    def svg(self) -> bytes:
        return self.figure("svg")

    def figure(self, suffix: str) -> bytes:
        player = self.desk.player.value
        assert player is not None
        with self.desk.still():
            about: dict[str, object] = {
                "scenario": player.scenario.name,
                "seed": player.scenario.seed,
                "regime": player.regime,
                "rounds": player.round,
            }
            heading = f"{player.scenario.name}, {regime_title(player.regime)}, round {player.round:,}"
            return self.desk.saved_figure(heading, suffix, about)

    def keep(self) -> None:
        """Play the same rounds into a run folder, in the background."""
        self._in_background(self._keep)

    def save(self, wanted: bool) -> None:
        """Keep every round as it is played, or no more; rounds that were played are played again first."""
        self._in_background(lambda: self.desk.save(wanted, self._on_round))

    def _in_background(self, action: Callable[[], None]) -> None:
        """Do one thing at a time, with a bar that shows how far it is."""

        def work() -> None:
            try:
                self.desk.guarded(action)
            finally:
                self.progress.set(None)

        if self.progress.value is None:
            self.progress.set(0.0)
            threading.Thread(target=work, daemon=True).start()

    def _on_round(self, done: int, total: int) -> None:
        if done == total or done % max(total // 50, 1) == 0:
            self.progress.set(100.0 * done / total)

    def _keep(self) -> None:
        player = self.desk.player.value
        if not isinstance(player, LiveMarket):
            raise InputError("This run is kept already")
        result = run(player.played(), out=self.desk.folder, progress=self._on_round)
        self.desk.kept.set(f"Kept, every round of it, in {result.folder}.")


@solara.component
def Files(drawer: Drawer) -> None:
    with solara.Row(
        gap="40px", style={"align-items": "flex-start", "flex-wrap": "wrap"}, classes=["ms-files"]
    ):
        with solara.Column(gap="10px", style={"flex": "1", "min-width": "320px"}):
            solara.HTML(tag="h3", unsafe_innerHTML="Take along")
            TakeOut(drawer)
        with solara.Column(gap="10px", style={"flex": "1", "min-width": "320px"}):
            solara.HTML(tag="h3", unsafe_innerHTML="Bring in")
            BringIn(drawer)


@solara.component
def TakeOut(drawer: Drawer) -> None:
    player = drawer.desk.player.value
    name = "market" if player is None else player.scenario.name
    for label, icon, data, filename, about, css in (
        (
            "Scenario",
            "mdi-file-document-outline",
            drawer.scenario,
            f"{name}.toml",
            "The settings and every change of policy, for this page and for market-sim run.",
            "ms-get-scenario",
        ),
        (
            "Data (CSV)",
            "mdi-table",
            drawer.data,
            f"{name}.csv",
            "Every curve of the live market; in long play means over blocks of rounds. USD per query.",
            "ms-get-data",
        ),
        (
            "Figure (PNG)",
            "mdi-image-outline",
            drawer.png,
            f"{name}.png",
            "The nine panels as they stand, for slides.",
            "ms-get-png",
        ),
        (
            "Figure (SVG)",
            "mdi-vector-curve",
            drawer.svg,
            f"{name}.svg",
            "The same, for papers.",
            "ms-get-svg",
        ),
    ):
        with solara.Div(classes=["ms-file", css]):
            Download(drawer.desk.guarded, data, filename, label, icon)
            solara.Text(about, classes=["ms-help"])
    busy = drawer.progress.value is not None or not isinstance(player, LiveMarket)
    with solara.Div(classes=["ms-file"]):
        solara.Button(
            "Keep as a run folder",
            icon_name="mdi-content-save-outline",
            outlined=True,
            on_click=drawer.keep,
            disabled=busy,
            classes=["ms-keep"],
        )
        solara.Text(
            "Plays the same rounds again, which gives the same rows, and keeps them whole under runs/out.",
            classes=["ms-help"],
        )
    with solara.Div(classes=["ms-file"]):
        rv.Switch(
            v_model=drawer.desk.saving.value,
            on_v_model=drawer.save,
            label="Save every round as it is played",
            disabled=busy,
            dense=True,
            hide_details=True,
            class_="ms-save",
        )
        solara.Text(
            "Rows go to runs/out while you play. Turning this off, Reset, another scenario or leaving the "
            "page makes a run folder of them.",
            classes=["ms-help"],
        )
    if drawer.progress.value is not None:
        rv.ProgressLinear(value=drawer.progress.value, height=6, rounded=True)
    if drawer.desk.kept.value:
        solara.Text(drawer.desk.kept.value, classes=["ms-said", "ms-kept"])


@solara.component
def BringIn(drawer: Drawer) -> None:
    root, kept = drawer.desk.root, drawer.desk.kept.value
    scenarios, _ = solara.use_state([path.name for path in scenarios_in(root)])
    runs = solara.use_memo(lambda: [str(p.relative_to(root)) for p in runs_in(root)], [kept])
    Upload(
        label="Drop a scenario file (TOML) here, or click to choose one",
        most=MOST_BYTES,
        event_arrived=drawer.arrived,
        event_too_large=drawer.too_large,
    )
    solara.Text("It may name no program and no file outside runs/.", classes=["ms-help"])
    rv.Select(
        v_model=None,
        on_v_model=drawer.open_scenario,
        items=scenarios,
        label="A scenario that ships",
        class_="ms-open-scenario",
        dense=True,
        hide_details=True,
        menu_props={"offsetY": True},
    )
    rv.Select(
        v_model=None,
        on_v_model=drawer.replay,
        items=runs,
        label="A finished run, to replay" if runs else "No finished runs under runs/ yet",
        class_="ms-open-run",
        dense=True,
        hide_details=True,
        disabled=not runs,
        menu_props={"offsetY": True},
    )
    solara.Text("Step, play, pause and reset go through its rows as they were.", classes=["ms-help"])

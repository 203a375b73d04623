"""Two regimes side by side: the same users and chances, who gains, who loses, and by how much."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import reacton.ipyvuetify as rv
import solara
from matplotlib.figure import Figure

from market_sim.errors import InputError
from market_sim.experiments.compare import TITLES, Comparison, compare
from market_sim.experiments.compare_figures import side_by_side, surplus_split
from market_sim.experiments.figures import surplus_bars
from market_sim.experiments.words import measure_text
from market_sim.page.choices import REGIME_ITEMS, scenario_of
from market_sim.page.controls import Steps
from market_sim.page.desk import Desk
from market_sim.page.pictures import Picture, TakeFigure, drawn

ROUNDS = (20, 50, 100, 200, 500, 1000)

SHOWN = (
    "expected_welfare_usd",
    "expected_user_value_usd",
    "expected_provider_profit_usd",
    "log_sum_surplus_usd",
    "expected_price_usd",
    "inefficiency",
    "accuracy",
    "tokens_per_query",
    "outside_share",
)
"""Measures of the table, in its order."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A comparison as it is on screen."""

    comparison: Comparison
    surplus: str
    play: str
    draw_surplus: Callable[[], Figure]
    draw_play: Callable[[], Figure]


class Bench:
    """The state of the comparison page; one for each visitor."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.first = solara.reactive("pay_per_compute")
        self.second = solara.reactive("second_price_auction")
        self.rounds = solara.reactive(200)
        self.progress: solara.Reactive[float | None] = solara.reactive(None)
        self.shown: solara.Reactive[Shown | None] = solara.reactive(None)

    def start(self) -> None:
        """Play both, in the background."""
        if self.progress.value is None:
            self.progress.set(0.0)
            self.desk.problem.set("")
            threading.Thread(target=lambda: self.desk.guarded(self._play), daemon=True).start()

    def _play(self) -> None:
        try:
            scenario = scenario_of(self.desk.base.value, self.desk.choices.value)
            if self.first.value == self.second.value:
                raise InputError("The two regimes are the same; choose two different ones to compare")
            steps = 0

            def on_round(done: int, total: int) -> None:
                nonlocal steps
                if self.desk.closed:
                    raise InputError("stopped: the page was closed")
                if 20 * done // total != steps:
                    steps = 20 * done // total
                    self.progress.set(100.0 * done / total)

            result = compare(
                scenario,
                regimes=(self.first.value, self.second.value),
                rounds=self.rounds.value,
                progress=on_round,
            )
            draw_surplus, draw_play = partial(surplus_figure, result), partial(play_figure, result)
            self.shown.set(
                Shown(
                    comparison=result,
                    surplus=drawn(draw_surplus),
                    play=drawn(draw_play),
                    draw_surplus=draw_surplus,
                    draw_play=draw_play,
                )
            )
        finally:
            self.progress.set(None)


def surplus_figure(comparison: Comparison) -> Figure:
    """Who gets what, a bar for each regime."""
    return surplus_bars(surplus_split(comparison), comparison.name)


def play_figure(comparison: Comparison) -> Figure:
    """The play under both, side by side."""
    return side_by_side(comparison.runs, 9.6)


@solara.component
def Compare(bench: Bench) -> None:
    """Menus, a button, and the result."""
    running = bench.progress.value is not None
    with solara.Column(gap="8px"):
        with solara.Row(classes=["ms-transport"], gap="16px", style={"align-items": "center"}):
            for chosen, label, name in (
                (bench.first, "Hold against", "ms-first-regime"),
                (bench.second, "this regime", "ms-second-regime"),
            ):
                with solara.Div(classes=["ms-policy"]):
                    rv.Select(
                        v_model=chosen.value,
                        on_v_model=chosen.set,
                        items=REGIME_ITEMS,
                        label=label,
                        dense=True,
                        hide_details=True,
                        class_=name,
                        menu_props={"offsetY": True},
                    )
            with solara.Div(classes=["ms-pace"]):
                rounds = bench.rounds.value
                Steps("Rounds", f"{rounds:,}", ROUNDS, rounds, bench.rounds.set, "ms-compare-rounds")
            solara.Button(
                "Play both",
                icon_name="mdi-scale-balance",
                color="primary",
                on_click=bench.start,
                disabled=running,
                classes=["ms-compare"],
            )
        solara.Text(
            "Both regimes are played with the same users, the same questions and the same chances, with the "
            "settings of this page. Numbers are means over the second half of the rounds.",
            classes=["ms-about"],
        )
        # Always there: were it to come and go, what is below would be made anew, pressed buttons too.
        rv.ProgressLinear(value=bench.progress.value or 0.0, active=running, height=6, rounded=True)
        if bench.shown.value is not None:
            Result(bench.desk, bench.shown.value)


@solara.component
def Result(desk: Desk, shown: Shown) -> None:
    names = [TITLES.get(measures.regime, measures.regime) for measures in shown.comparison.measures]
    with solara.Row(gap="28px", style={"align-items": "flex-start", "flex-wrap": "wrap"}):
        with solara.Div(classes=["ms-sentences"]):
            for sentence in shown.comparison.sentences:
                kind = (
                    "better"
                    if " better off" in sentence
                    else "worse"
                    if " worse off" in sentence
                    else "neutral"
                )
                solara.Text(sentence, classes=["ms-sentence", f"ms-{kind}"])
        MeasuresTable(shown.comparison, names)
    about: dict[str, object] = {"scenario": shown.comparison.name, "seed": shown.comparison.seed}
    Picture(shown.surplus, f"Who gets what under {' and '.join(names)}", "ms-surplus")
    TakeFigure(desk.guarded, shown.draw_surplus, "surplus", about)
    Picture(shown.play, f"The play under {' and '.join(names)}, side by side", "ms-side-by-side")
    TakeFigure(desk.guarded, shown.draw_play, "side-by-side", about)


@solara.component
def MeasuresTable(comparison: Comparison, names: list[str]) -> None:
    rows: list[dict[str, Any]] = comparison.to_dict()["regimes"]
    table = [[measure_text(key, row[key]) for row in rows] for key in SHOWN]
    PlainTable(
        ["money: USD per 1,000 queries", *names],
        [[cells[0][0], *(text for _, text in cells)] for cells in table],
        "ms-measures",
    )


@solara.component
def PlainTable(head: list[str], rows: list[list[str]], name: str) -> None:
    """A table of texts; the first column names what the others hold."""
    with solara.Div(classes=["ms-wide"]), rv.Html(tag="table", class_=f"ms-table {name}"):
        with rv.Html(tag="thead"), rv.Html(tag="tr"):
            for cell in head:
                rv.Html(tag="th", children=[cell])
        with rv.Html(tag="tbody"):
            for row in rows:
                with rv.Html(tag="tr"):
                    for cell in row:
                        rv.Html(tag="td", children=[cell])

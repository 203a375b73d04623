"""The page: what it is about, controls at the left, the market at the right."""

from collections.abc import Callable
from pathlib import Path

import solara
import solara.lab

from market_sim.experiments.scenario import Scenario
from market_sim.page.controls import Controls
from market_sim.page.desk import Desk
from market_sim.page.live import Live

STYLE = Path(__file__).with_name("style.css")

ABOUT = (
    "Providers choose how much compute a language model spends on each answer; users choose providers, round "
    "after round. Sold by the token, models think longer than it is worth; an auction for each query ends that, "
    "though not always to the users' good. Curves come from real evaluations, and the exact optimum and "
    "equilibria stand beside what the agents reach."
)


@solara.component
def Market(start: Callable[[], Scenario], root: Path) -> None:
    """The whole page, for one visitor."""
    desk = solara.use_memo(lambda: Desk(start(), root), [])
    solara.use_effect(lambda: desk.close, [])
    solara.Title("market-sim")
    solara.Style(STYLE)
    with solara.Div(classes=["ms-page"]):
        with solara.Div(classes=["ms-side"]):
            solara.HTML(tag="h1", unsafe_innerHTML="market-sim")
            solara.Text("The market for LLM inference", classes=["ms-subtitle"])
            Controls(desk)
        with solara.Div(classes=["ms-main"]):
            solara.Text(ABOUT, classes=["ms-about"])
            if desk.problem.value:
                solara.Error(desk.problem.value, classes=["ms-problem"])
            with solara.lab.Tabs(value=desk.tab):
                with solara.lab.Tab("Live market"):
                    Live(desk)

"""The page: what it is about, controls at the left (above, where the window is narrow), the market."""

import re
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path

import reacton.ipyvuetify as rv
import solara
import solara.lab
from markdown import markdown

from market_sim.experiments.scenario import Scenario
from market_sim.page.compare import Bench, Compare
from market_sim.page.controls import Controls
from market_sim.page.desk import Desk
from market_sim.page.exact import Exact
from market_sim.page.files import Drawer, Files
from market_sim.page.live import Live

STYLE = Path(__file__).with_name("style.css")

README = 4
"""The place of that tab."""

ABOUT = (
    "Providers choose how much compute a language model spends on each answer; users choose providers, "
    "round after round. Sold by the token, models think longer than it is worth; an auction for each query "
    "ends that, though not always to the users' good. Curves come from real evaluations, and the exact "
    "optimum and equilibria stand beside what the agents reach."
)


@solara.component
def Market(start: Callable[[], Scenario], root: Path) -> None:
    """The whole page, for one visitor."""
    desk = solara.use_memo(lambda: Desk(start(), root), [])
    bench = solara.use_memo(lambda: Bench(desk), [])
    drawer = solara.use_memo(lambda: Drawer(desk), [])
    shown, show = solara.use_state(False)  # the controls, where the window is narrow
    solara.use_effect(lambda: desk.close, [])
    solara.Title("market-sim")
    solara.Style(STYLE)
    with solara.Div(classes=["ms-page"]):
        with solara.Div(classes=["ms-side", *(["ms-open"] if shown else [])]):
            with solara.Div(classes=["ms-head"]):
                with solara.Div():
                    solara.HTML(tag="h1", unsafe_innerHTML="market-sim")
                    solara.Text("The market for LLM inference", classes=["ms-subtitle"])
                solara.Button(
                    "Hide settings" if shown else "Settings",
                    icon_name="mdi-tune",
                    outlined=True,
                    on_click=lambda: show(not shown),
                    classes=["ms-settings"],
                    attributes={"aria-expanded": str(shown).lower()},
                )
            Controls(desk)
        with solara.Div(classes=["ms-main"]):
            with solara.Div(classes=["ms-about"]):
                solara.Text(ABOUT)
                solara.Button("README", text=True, on_click=lambda: desk.tab.set(README), classes=["ms-link"])
            with solara.lab.Tabs(value=desk.tab, lazy=True):
                with solara.lab.Tab("Live market"):
                    Live(desk)
                with solara.lab.Tab("Compare two regimes"):
                    Compare(bench)
                with solara.lab.Tab("Exact analysis"):
                    Exact(desk)
                with solara.lab.Tab("Files"):
                    Files(drawer)
                with solara.lab.Tab("README"):
                    Readme()
            if desk.problem.value:  # last: what comes after it would be made anew
                Problem(desk)


@solara.component
def Problem(desk: Desk) -> None:
    """What went wrong, at the foot of the window, where it moves nothing, until it is closed or over."""
    rv.Alert(
        type="error",
        border="left",
        colored_border=True,
        dismissible=True,
        v_model=True,
        on_v_model=lambda _: desk.problem.set(""),
        children=[desk.problem.value],
        class_="ms-problem",
    )


@solara.component
def Readme() -> None:
    """The README as it was installed, without what was not: pictures, and links to files beside it."""
    text = re.sub(r"^!\[.*$", "", str(metadata("market-sim").json["description"]), flags=re.MULTILINE)
    text = re.sub(r"\[([^]]+)\]\((?!https?://)[^)]*\)", r"\1", text)
    html = markdown(text, extensions=["fenced_code", "tables"])
    solara.HTML(tag="div", classes=["ms-readme"], unsafe_innerHTML=html)

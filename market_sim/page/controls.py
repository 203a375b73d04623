"""The column of controls: each with its unit, its range and a line of help."""

from typing import Any

import reacton.ipyvuetify as rv
import solara

from market_sim.page.choices import CONTROLS, menu
from market_sim.page.desk import Desk

GROUPS = (
    ("The market", ("benchmark", "method", "models", "value_usd", "margin")),
    ("How it is sold", ("regime", "rule", "auction_rule")),
    ("The users", ("beta", "users", "information", "demand")),
    ("Chance", ("seed",)),
)

SLIDERS = frozenset(key for key, control in CONTROLS.items() if control.values)


@solara.component
def Controls(desk: Desk) -> None:
    """All of them, and the button that makes a market of them."""
    with solara.Column(gap="0px", classes=["ms-controls"]):
        for title, keys in GROUPS:
            solara.HTML(tag="h3", unsafe_innerHTML=title)
            for key in keys:
                if key in SLIDERS:
                    Slider(desk, key)
                else:
                    Menu(desk, key)


@solara.component
def Menu(desk: Desk, key: str) -> None:
    control, choices = CONTROLS[key], desk.choices.value
    several = key == "models"
    value: Any = getattr(choices, key)

    def choose(new: Any) -> None:
        desk.choose(key, tuple(new or ()) if several else new)

    with solara.Div(classes=["ms-control", f"ms-{key}"]):
        rv.Select(
            v_model=list(value) if several else value,
            on_v_model=choose,
            items=menu(key, desk.base.value, choices),
            label=control.label,
            multiple=several,
            dense=True,
            hide_details=True,
            placeholder="all" if several else "",
            menu_props={"offsetY": True, "maxHeight": 420},
        )
        Help(control.help)


@solara.component
def Slider(desk: Desk, key: str) -> None:
    control, value = CONTROLS[key], getattr(desk.choices.value, key)
    steps = sorted({*control.values, *(() if value is None else (value,))})
    whole = key in ("users", "seed")

    def choose(place: float) -> None:
        chosen = steps[max(0, min(int(place), len(steps) - 1))]
        desk.choose(key, int(chosen) if whole else chosen)

    shown = "as in the file" if value is None else f"{value:,.10g} {control.unit}"
    with solara.Div(classes=["ms-control", f"ms-{key}"]):
        with solara.Div(classes=["ms-name"]):
            solara.Text(control.label)
            solara.Text(shown.strip(), classes=["ms-value"])
        rv.Slider(
            v_model=steps.index(value) if value is not None else 0,
            on_v_model=choose,
            min=0,
            max=len(steps) - 1,
            step=1,
            dense=True,
            hide_details=True,
            class_="ms-slider",
        )
        Help(control.help)


@solara.component
def Help(text: str) -> None:
    solara.Text(text, classes=["ms-help"])

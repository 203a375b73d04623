"""The column of controls: each with its unit, its range and a line of help."""

from collections.abc import Callable, Sequence
from typing import Any

import reacton.ipyvuetify as rv
import solara

from market_sim.page.choices import CONTROLS, FILE, help_of, menu, steps
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
        Help(help_of(key, None if several else value))


@solara.component
def Slider(desk: Desk, key: str) -> None:
    control, value = CONTROLS[key], getattr(desk.choices.value, key)
    whole = key in ("users", "seed")

    def choose(chosen: float | None) -> None:
        desk.choose(key, int(chosen) if whole and chosen is not None else chosen)

    shown = FILE if value is None else f"{value:,.10g} {control.unit}".strip()
    with solara.Div(classes=["ms-control", f"ms-{key}"]):
        Steps(control.label, shown, steps(key, desk.base.value, value), value, choose)
        Help(control.help)


@solara.component
def Steps(
    label: str, shown: str, places: Sequence[Any], value: Any, choose: Callable[[Any], None], name: str = ""
) -> None:
    """A slider over places, under its label and the value as it is shown.  name: a class to find it by."""
    with solara.Div():
        with solara.Div(classes=["ms-name"]):
            solara.Text(label)
            solara.Text(shown, classes=["ms-value"])
        rv.Slider(
            v_model=places.index(value),
            on_v_model=lambda place: choose(places[max(0, min(int(place), len(places) - 1))]),
            min=0,
            max=len(places) - 1,
            step=1,
            dense=True,
            hide_details=True,
            class_=f"ms-slider {name}",
            attributes={"aria-label": label, "aria-valuetext": shown},
        )


@solara.component
def Help(text: str) -> None:
    solara.Text(text, classes=["ms-help"])

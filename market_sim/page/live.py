"""The market as it is played: buttons, pace, a change of policy, and the figure."""

from collections.abc import Callable

import reacton.ipyvuetify as rv
import solara

from market_sim.page.choices import REGIME_ITEMS, regime_title
from market_sim.page.controls import Steps
from market_sim.page.desk import SPEEDS, Desk, Frame

PANELS = "compute levels, shares, users, welfare, price, inefficiency, profits, accuracy, tokens"


@solara.component
def Live(desk: Desk) -> None:
    with solara.Column(gap="6px"):
        Transport(desk)
        Screen(desk)


@solara.component
def Transport(desk: Desk) -> None:
    playing, ended = desk.playing.value, desk.ended.value  # not the frame: it comes many times a second
    with solara.Row(classes=["ms-transport"], gap="8px", style={"align-items": "center"}):
        if playing:
            solara.Button(
                "Pause", icon_name="mdi-pause", color="primary", on_click=desk.pause, classes=["ms-play"]
            )
        else:
            solara.Button(
                "Play",
                icon_name="mdi-play",
                color="primary",
                on_click=desk.play,
                disabled=ended,
                classes=["ms-play"],
            )
        solara.Button(
            "Step",
            icon_name="mdi-skip-next",
            on_click=desk.step,
            disabled=ended,
            outlined=True,
            classes=["ms-step"],
        )
        solara.Button(
            "Reset",
            icon_name="mdi-restart",
            on_click=desk.reset,
            outlined=not desk.changed,
            color="warning" if desk.changed else None,
            classes=["ms-reset"],
        )
        with solara.Div(classes=["ms-pace"]):
            speed = desk.speed.value
            shown = f"{speed} round{'s' * (speed > 1)} a second"
            Steps("Pace", shown, SPEEDS, speed, desk.speed.set, "ms-speed")
        solara.v.Spacer()
        with solara.Div(classes=["ms-policy"]):
            rv.Select(
                v_model=desk.next_regime.value,
                on_v_model=desk.next_regime.set,
                items=REGIME_ITEMS,
                label="A new policy, at any round",
                dense=True,
                hide_details=True,
                class_="ms-next-regime",
                menu_props={"offsetY": True},
            )
        solara.Button(
            "Switch", icon_name="mdi-gavel", on_click=desk.switch, outlined=True, classes=["ms-switch"]
        )


@solara.component
def Screen(desk: Desk) -> None:
    """The round and the figure.

    They change many times a second, so they are changed in place: to go through the whole page for each
    takes as long as drawing the figure.  When the browser shows one it says so, and the next may come.
    """
    with solara.Column(gap="0px"):
        with solara.Row(classes=["ms-status"], gap="14px"):
            with solara.Div(classes=["ms-round"]):
                solara.Text("Round ")
                number = rv.Html(tag="b")
            Status(desk)
        with solara.Div(classes=["ms-wide"]):
            picture = rv.Html(tag="img", class_="ms-figure ms-live")
    rv.use_event(picture, "load", desk.seen)

    def follow() -> Callable[[], None]:
        on_screen, written = solara.get_widget(picture), solara.get_widget(number)

        def put(frame: Frame | None) -> None:
            if frame is not None:
                about = f"Nine panels of the market after round {frame.round}: {PANELS}"
                on_screen.attributes = {"src": frame.source, "alt": about}
                written.children = [f"{frame.round:,}"]

        put(desk.frame.peek())
        return desk.frame.subscribe(put)

    solara.use_effect(follow, [])
    solara.use_effect(desk.show, [])


@solara.component
def Status(desk: Desk) -> None:
    """What to know now, on the line of the round."""
    player = desk.player.value
    with solara.Row(classes=["ms-status"], gap="14px"):
        with solara.Div(classes=["ms-regime-now"]):
            solara.Text("under ")
            rv.Html(tag="b", children=[regime_title(desk.regime.value)])
        if desk.fresh.value and not desk.playing.value:
            solara.Text(
                "Press Play and watch the providers learn, or Step for one round.", classes=["ms-said"]
            )
        if desk.said.value:
            solara.Text(desk.said.value, classes=["ms-said"])
        if desk.saving.value:
            solara.Text("Every round is saved.", classes=["ms-said"])
        if desk.ended.value:
            solara.Text("This is the last round of the run that is shown.", classes=["ms-said"])
        if desk.changed:
            solara.Text("Reset plays the market with the changed settings.", classes=["ms-hint"])
        if player is not None and player.yardsticks.why_none is not None:
            solara.Text(f"No equilibria are drawn: {player.yardsticks.why_none}.", classes=["ms-help"])

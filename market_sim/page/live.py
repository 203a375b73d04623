"""The market as it is played: buttons, pace, a change of policy, and the figure."""

import reacton.ipyvuetify as rv
import solara

from market_sim.page.choices import REGIME_ITEMS, regime_title
from market_sim.page.desk import SPEEDS, Desk


@solara.component
def Live(desk: Desk) -> None:
    with solara.Column(gap="6px"):
        Transport(desk)
        Picture(desk)


@solara.component
def Transport(desk: Desk) -> None:
    frame, playing = desk.frame.value, desk.playing.value
    ended = frame is not None and frame.ended
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
            with solara.Div(classes=["ms-name"]):
                solara.Text("Pace")
                solara.Text(f"{speed} round{'s' * (speed > 1)} a second", classes=["ms-value"])
            rv.Slider(
                v_model=SPEEDS.index(speed),
                on_v_model=lambda place: desk.speed.set(SPEEDS[int(place)]),
                min=0,
                max=len(SPEEDS) - 1,
                step=1,
                dense=True,
                hide_details=True,
                class_="ms-slider ms-speed",
            )
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
    Status(desk)


@solara.component
def Status(desk: Desk) -> None:
    """One line: where play stands, and what to know now."""
    frame = desk.frame.value
    if frame is None:
        return
    player = desk.player.value
    with solara.Row(classes=["ms-status"], gap="14px"):
        solara.HTML(tag="span", classes=["ms-round"], unsafe_innerHTML=f"Round <b>{frame.round:,}</b>")
        solara.HTML(
            tag="span",
            classes=["ms-regime-now"],
            unsafe_innerHTML=f"under <b>{regime_title(frame.regime)}</b>",
        )
        if frame.round == 0 and not desk.playing.value:
            solara.Text(
                "Press Play and watch the providers learn, or Step for one round.", classes=["ms-said"]
            )
        if desk.said.value:
            solara.Text(desk.said.value, classes=["ms-said"])
        if frame.ended:
            solara.Text("This is the last round of the run that is shown.", classes=["ms-said"])
        if desk.changed:
            solara.Text("Reset plays the market with the changed settings.", classes=["ms-hint"])
        if player is not None and player.yardsticks.why_none is not None:
            solara.Text(f"No equilibria are drawn: {player.yardsticks.why_none}.", classes=["ms-help"])


@solara.component
def Picture(desk: Desk) -> None:
    """The figure; when the browser has put it on screen it says so, and the next one may come."""
    frame = desk.frame.value
    solara.use_effect(desk.show, [])
    picture = rv.Html(
        tag="img",
        class_="ms-figure ms-live",
        attributes={
            "src": "" if frame is None else frame.source,
            "alt": ""
            if frame is None
            else f"Nine panels of the market after round {frame.round}: compute levels, "
            "market shares, users, welfare, price and user value, inefficiency, profits, accuracy, tokens",
        },
    )
    rv.use_event(picture, "load", desk.seen)

"""Figures on the page: drawn one at a time, sent as pictures or files."""

import base64
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import reacton.ipyvuetify as rv
import solara
from matplotlib.figure import Figure

from market_sim.experiments.saved_figures import png_bytes, svg_bytes

DRAWING = threading.Lock()
"""Held while matplotlib draws: it keeps its settings in one place for the whole process."""

DPI = 140

Guarded = Callable[[Callable[[], Any]], Any]
"""Does something; what goes wrong becomes a sentence on the page, and None."""


class Counter:
    """Where visitors are served, one at a time: who pressed a button before those whose market plays on.

    All of them share one interpreter; side by side everybody would wait for everybody.  Whoever is served may
    come again meanwhile: Solara draws the page in the thread that changed it, whoever asked for that.
    """

    def __init__(self) -> None:
        self._changed, self._pressed = threading.Condition(), 0
        self._served: int | None = None  # the thread

    def pressed(self) -> AbstractContextManager[None]:
        """For what somebody waits for."""
        return self._turn(pressed=True)

    def played(self) -> AbstractContextManager[None]:
        """For what goes on by itself."""
        return self._turn(pressed=False)

    @contextmanager
    def _turn(self, *, pressed: bool) -> Iterator[None]:
        me = threading.get_ident()
        with self._changed:
            again = self._served == me
            self._pressed += pressed
            self._changed.wait_for(lambda: again or (self._served is None and (pressed or not self._pressed)))
            self._pressed -= pressed
            self._served = me
        try:
            yield
        finally:
            if not again:
                with self._changed:
                    self._served = None
                    self._changed.notify_all()


COUNTER = Counter()


def as_source(png: bytes) -> str:
    """A picture as an address that an image element takes."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def drawn(draw: Callable[[], Figure]) -> str:
    """A figure as the source of an image."""
    with DRAWING:
        file = io.BytesIO()
        draw().savefig(file, format="png", dpi=DPI, facecolor="white")
    return as_source(file.getvalue())


def as_file(draw: Callable[[], Figure], suffix: str, metadata: dict[str, object]) -> bytes:
    """A figure as the bytes of a PNG or SVG file, with what made it inside."""
    with DRAWING:
        return (png_bytes if suffix == "png" else svg_bytes)(draw(), metadata)


@solara.component
def Picture(source: str, alt: str, name: str) -> None:
    """An image as wide as the page; name is a class to find it by."""
    with solara.Div(classes=["ms-wide"]):
        rv.Html(tag="img", class_=f"ms-figure {name}", attributes={"src": source, "alt": alt})


@solara.component_vue("download.vue")
def DownloadButton(
    label: str,
    icon: str,
    filename: str,
    made: dict[str, Any] | None,
    event_wanted: Callable[[int], None],
    event_arrived: Callable[[int], None],
) -> None:
    """A button that asks for a file, and saves it once what was made is of that number."""


@solara.component
def Download(
    guarded: Guarded, make: Callable[[], bytes], filename: str, label: str, icon: str = "mdi-image-outline"
) -> None:
    """A button that gives a file, made when it is pressed: each press the file of that moment.

    Solara's own gives nothing more after a second press in quick succession, and takes the page down with it
    where a file cannot be made.
    """
    nothing: dict[str, Any] | None = None
    made, set_made = solara.use_state(nothing)

    def wanted(asked: int) -> None:
        def work() -> None:
            set_made({"asked": asked, "content": guarded(make)})

        threading.Thread(target=work, daemon=True).start()

    def arrived(asked: int) -> None:
        """Forget the file, unless that of the next press has taken its place already."""
        set_made(lambda now: now if now is not None and now["asked"] != asked else None)

    DownloadButton(
        label=label,
        icon=icon,
        filename=filename,
        made=made,
        event_wanted=wanted,
        event_arrived=arrived,
    )


@solara.component
def TakeFigure(guarded: Guarded, draw: Callable[[], Figure], name: str, metadata: dict[str, object]) -> None:
    """Two buttons that give a figure as a file, PNG for slides and SVG for papers."""
    with solara.Row(gap="8px", classes=["ms-take"]):
        for suffix in ("png", "svg"):
            with solara.Div(classes=[f"ms-get-{name}-{suffix}"]):
                make = partial(as_file, draw, suffix, metadata)
                Download(guarded, make, f"{name}.{suffix}", f"Figure ({suffix.upper()})")

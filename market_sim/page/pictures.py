"""Figures on the page: drawn one at a time, sent as pictures."""

import base64
import io
import threading
from collections.abc import Callable
from tempfile import TemporaryDirectory

import reacton.ipyvuetify as rv
import solara
from matplotlib.figure import Figure

from market_sim.experiments.figures import save

DRAWING = threading.Lock()
"""Held while matplotlib draws: it keeps its settings in one place for the whole process."""

DPI = 140


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
    with DRAWING, TemporaryDirectory() as folder:
        paths = save(draw(), f"{folder}/figure", metadata)
        return next(path for path in paths if path.suffix == f".{suffix}").read_bytes()


@solara.component
def Picture(source: str, alt: str, name: str) -> None:
    """An image as wide as the page; name is a class to find it by."""
    rv.Html(tag="img", class_=f"ms-figure {name}", attributes={"src": source, "alt": alt})

"""Figures as files: the same figure gives the same bytes, and says in them what it shows."""

import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from market_sim.experiments.house_style import PNG_DPI


def save(fig: Figure, path_without_suffix: Path | str, metadata: Mapping[str, object]) -> tuple[Path, Path]:
    """Write a figure as PNG and SVG, each whole or not at all; the same figure gives the same bytes.

    metadata  what made the figure (scenario, seed, ...), kept in both files as JSON under Description
    """
    stem = Path(path_without_suffix)
    stem.parent.mkdir(parents=True, exist_ok=True)
    title, description = _described(fig, metadata, stem.name)
    _lay_out(fig)
    png, svg = stem.parent / f"{stem.name}.png", stem.parent / f"{stem.name}.svg"
    with mpl.rc_context(_SVG):
        _write_whole(
            fig,
            png,
            dpi=PNG_DPI,
            metadata={"Title": _latin(title), "Description": description, "Software": None},
        )
        _write_whole(fig, svg, metadata=_svg_metadata(title, description))
    return png, svg


def png_bytes(fig: Figure, metadata: Mapping[str, object]) -> bytes:
    """What `save` writes as PNG."""
    title, description = _described(fig, metadata, "figure")
    _lay_out(fig)
    drawn = BytesIO()
    about = {"Title": _latin(title), "Description": description, "Software": None}
    fig.savefig(drawn, format="png", dpi=PNG_DPI, facecolor="white", metadata=about)
    return drawn.getvalue()


def svg_bytes(fig: Figure, metadata: Mapping[str, object]) -> bytes:
    """What `save` writes as SVG."""
    title, description = _described(fig, metadata, "figure")
    _lay_out(fig)
    drawn = BytesIO()
    with mpl.rc_context(_SVG):
        fig.savefig(drawn, format="svg", facecolor="white", metadata=_svg_metadata(title, description))
    return drawn.getvalue()


_SVG: Any = {"svg.hashsalt": "market-sim", "svg.fonttype": "path"}


def _described(fig: Figure, metadata: Mapping[str, object], name: str) -> tuple[str, str]:
    """A figure's title on one line, and what made it as JSON."""
    title = (fig.get_suptitle() or name).replace("\n", " ")
    return title, json.dumps(metadata, sort_keys=True, default=str)


def _lay_out(fig: Figure) -> None:
    """Lay a figure out once; doing it again for each file costs most of the time."""
    fig.set_dpi(PNG_DPI)  # letters are a little wider or narrower at other resolutions
    fig.draw_without_rendering()
    fig.set_layout_engine("none")


def _svg_metadata(title: str, description: str) -> dict[str, str | None]:
    return {"Title": title, "Description": description, "Date": None, "Creator": None}


def _write_whole(fig: Figure, path: Path, **options: Any) -> None:
    temporary = path.parent / f".{path.name}.{os.getpid()}"
    try:
        fig.savefig(temporary, format=path.suffix[1:], facecolor="white", **options)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _latin(text: str) -> str:
    """What a PNG text field may hold."""
    return text.replace("β", "beta").encode("latin-1", "replace").decode("latin-1")

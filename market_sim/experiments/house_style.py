"""The house style of every figure: colours, type, titles, legends, axes.

One colour per model everywhere, one hue per model family, shaded by size.  Titles say the finding, axes
carry units, legends stand beside the data.  Figures are made without pyplot, so no backend is chosen and
nothing global changes.
"""

import colorsys
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from market_sim.theory.arrays import Array

USD_LABEL = "USD per 1,000 queries"
BETA_LABEL = "users' rationality β (1/USD)"
METHOD_NAMES: Mapping[str, str] = {
    "majority_voting": "majority voting",
    "best_of_n": "best-of-n",
    "reasoning_effort": "reasoning effort",
    "pass_at_k": "pass@k",
    "first_sample": "first sample",
}

WIDTH = 7.2
"""Inches: the text width of most papers, at which the type below is 7 to 10 points."""

PNG_DPI = 200


@dataclass(frozen=True, kw_only=True)
class ModelStyle:
    """How one model is drawn; the marker tells it from its family where shades are hard to see."""

    colour: str
    marker: str


MODELS: Mapping[str, ModelStyle] = {
    # Llama-3.x: blue
    "Llama-3.2-1B": ModelStyle(colour="#a3d3f5", marker="o"),
    "Llama-3.2-3B": ModelStyle(colour="#4a9fe3", marker="s"),
    "Llama-3-8B": ModelStyle(colour="#1560b0", marker="^"),
    "Llama-3.1-8B": ModelStyle(colour="#052248", marker="D"),
    # Qwen2: orange
    "Qwen2-0.5B": ModelStyle(colour="#fdc85f", marker="o"),
    "Qwen2-1.5B": ModelStyle(colour="#ea7f12", marker="s"),
    "Qwen2-7B": ModelStyle(colour="#963a00", marker="^"),
    # Qwen2.5: green
    "Qwen2.5-3B": ModelStyle(colour="#4fc79a", marker="s"),
    "Qwen2.5-7B": ModelStyle(colour="#00664a", marker="^"),
    # R1-D: magenta
    "R1-D-Qwen-1.5B": ModelStyle(colour="#f4b6d0", marker="v"),
    "R1-D-Qwen-7B": ModelStyle(colour="#cd4890", marker="P"),
    "R1-D-Llama-8B": ModelStyle(colour="#8a1a5a", marker="X"),
}

INK = "#222222"
MUTED = "#6b6b6b"
USERS = "#2a78b5"
PROVIDERS = "#e08a1e"
LOST = "#d9d9d9"
GOOD, BAD = "#2a78b5", "#c8452e"
"""For users, for providers, for what nobody gets; for the better and the worse of two outcomes."""

SERIES: Sequence[str] = (
    "#2a78b5", "#e08a1e", "#00664a", "#cd4890", "#052248", "#8c8c8c", "#963a00", "#4fc79a"
)  # fmt: skip
"""Colours of things that are no models: regimes, settings, rules."""

SERIES_MARKERS = "os^DvPX*"

_MARKERS = "o<>phd*s"

_STYLE: Mapping[str, Any] = {
    "figure.dpi": 100,
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "axes.grid": True,
    "axes.linewidth": 0.8,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "axes.edgecolor": "#444444",
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "text.parse_math": False,  # a dollar sign is one
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same letters on every machine
}


@contextmanager
def house_style() -> Iterator[None]:
    """Everything drawn inside has the house's look; nothing outside changes."""
    look: Any = {**sns.axes_style("ticks"), **_STYLE}
    with mpl.rc_context(look):
        yield


def styled[**P](draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function in the house style."""

    @wraps(draw)
    def run(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with house_style():
            return draw(*args, **kwargs)

    return run


def style_of(provider: str) -> ModelStyle:
    """Colour and marker of a provider's model ("Qwen2-7B (best_of_n)" has those of Qwen2-7B).

    Other models get a muted colour that depends on nothing but their name.

    >>> style_of("Qwen2-7B (best_of_n)").colour == style_of("Qwen2-7B").colour
    True
    """
    model = provider.split(" (")[0]
    if model in MODELS:
        return MODELS[model]
    draw = zlib.crc32(model.encode())
    hue, light = (draw % 997) / 997, (0.32, 0.48, 0.64)[draw // 997 % 3]
    colour = mpl.colors.to_hex(colorsys.hls_to_rgb(hue, light, 0.35))
    return ModelStyle(colour=colour, marker=_MARKERS[draw // 2991 % len(_MARKERS)])


def colour_of(provider: str) -> str:
    """The colour of a provider's model."""
    return style_of(provider).colour


def in_family_order(providers: Iterable[str]) -> list[str]:
    """Providers by family and size; models that are not known come last, as given."""
    place = {model: i for i, model in enumerate(MODELS)}
    return sorted(dict.fromkeys(providers), key=lambda name: place.get(name.split(" (")[0], len(place)))


def per_thousand(usd: Array | float) -> Array:
    """USD per query as the figures show it: USD per 1,000 queries."""
    return 1000.0 * np.asarray(usd, dtype=float)


# --- Pieces of figures ------------------------------------------------------------------------------


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, inches; its layout keeps titles, labels and legends apart."""
    fig = Figure(figsize=(width, height))
    fig.set_layout_engine("constrained", w_pad=0.08, h_pad=0.06)
    return fig


def say(fig: Figure, finding: str, note: str = "") -> None:
    """The finding as the title, bold at the top left; how to read the figure, small at the bottom."""
    width = fig.get_figwidth()
    title = _balanced(finding, int(11.8 * width))
    fig.suptitle(title, x=0.012, ha="left", fontsize=9.5, weight="bold", color=INK)
    if note:
        fig.supxlabel(
            textwrap.fill(note, int(18 * width), break_on_hyphens=False),
            x=0.012,
            ha="left",
            fontsize=7,
            color=MUTED,
        )


def _balanced(text: str, width: int) -> str:
    """The text in as few lines as `width` letters allow, and these about equally long."""
    lines = len(textwrap.wrap(text, width, break_on_hyphens=False))
    while len(textwrap.wrap(text, width - 1, break_on_hyphens=False)) == lines:
        width -= 1
    return textwrap.fill(text, width, break_on_hyphens=False)


def legend_beside(fig: Figure, handles: Sequence[Artist]) -> None:
    """A legend at the right of all axes."""
    fig.legend(handles=list(handles), loc="outside right center", handlelength=1.8)


def model_handles(providers: Iterable[str]) -> list[Line2D]:
    """Legend entries of providers drawn as lines with markers."""
    return [
        Line2D([], [], color=style_of(name).colour, marker=style_of(name).marker, label=name)
        for name in in_family_order(providers)
    ]


def log_axis(axis: Any) -> None:
    """A logarithmic axis whose ticks read as plain numbers."""
    axis._set_axes_scale("log")
    axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.10g}"))


def level_axis(axis: Any, levels: Array) -> None:
    """Ticks at the compute levels themselves, but none whose number would touch the one before it; in
    doublings where they span more than a factor of eight."""
    levels = np.unique(levels)
    place = levels
    if levels[-1] / levels[0] > 8:
        axis._set_axes_scale("log", base=2)
        place = np.log2(levels)
    if len(levels) <= 10:
        axis.set_major_locator(FixedLocator(levels[_apart(place, 0.12)].tolist()))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda level, _: f"{level:g}"))


def _apart(places: Array, share: float) -> list[int]:
    """Which of ascending places to keep: those at least a share of the whole span past the last one kept."""
    kept = [0]
    for k in range(1, len(places)):
        if places[k] - places[kept[-1]] >= share * (places[-1] - places[0]):
            kept.append(k)
    return kept


def staircases(ax: Axes, x: Array, levels: Mapping[str, Array]) -> None:
    """One staircase of compute level per provider, side by side where they share a level.

    x (T,); levels: by provider, (T,) each.
    """
    names = in_family_order(levels)
    every = np.unique(np.concatenate([levels[name] for name in names]))
    level_axis(ax.yaxis, every[np.isfinite(every)])  # who is away stands nowhere
    doubling = ax.get_yscale() == "log"
    gap = min(0.07, 0.6 / len(names))
    shifts = gap * (np.arange(len(names)) - (len(names) - 1) / 2)
    for name, shift in zip(names, shifts, strict=True):
        shifted = levels[name] * 2.0**shift if doubling else levels[name] + shift
        steps_x, steps_y = _corners(x, shifted)
        ax.plot(steps_x, steps_y, drawstyle="steps-post", color=colour_of(name), lw=1.4)


def stacked_shares(ax: Axes, x: Array, shares: Mapping[str, Array], outside: Array) -> None:
    """Market shares as stacked steps, what buys nothing on top in grey; percent.

    x (T,); shares by provider, (T,) each; outside (T,).
    """
    names = in_family_order(shares)
    rows = np.array([*(shares[name] for name in names), outside])
    ax.stackplot(
        x,
        100.0 * rows,
        colors=[*(colour_of(name) for name in names), LOST],
        step="post",
        lw=0,
    )
    ax.set_ylim(0, 100)
    ax.set_ylabel("market share (%)")


def _corners(x: Array, y: Array) -> tuple[Array, Array]:
    """Only the points at which a staircase turns, so that long runs stay small files."""
    turns = np.flatnonzero(np.diff(y, prepend=np.nan) != 0)
    keep = np.union1d(turns, [len(y) - 1])
    return np.asarray(x)[keep], np.asarray(y)[keep]


# --- Who gets what ----------------------------------------------------------------------------------

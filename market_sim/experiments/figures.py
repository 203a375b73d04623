"""The house style of every figure, and the figures of a run: surplus bars and the play of a market.

One colour per model everywhere, one hue per model family, shaded by size.  Titles say the finding, axes
carry units, legends stand beside the data.  Figures are made without pyplot, so no backend is chosen and
nothing global changes; `save` writes the same bytes for the same figure.
"""

import colorsys
import json
import os
import textwrap
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
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


@dataclass(frozen=True, kw_only=True)
class SurplusSplit:
    """Who gets the attainable surplus under one regime, USD per query.

    lost_usd is the first best less the two others; any of the three can be negative (users who pay more
    than they get, providers who lose money, a sampled round luckier than the first best expects).
    """

    name: str
    user_value_usd: float
    provider_profit_usd: float
    lost_usd: float

    @property
    def first_best_usd(self) -> float:
        return self.user_value_usd + self.provider_profit_usd + self.lost_usd


@styled
def surplus_bars(rows: Sequence[SurplusSplit], heading: str = "") -> Figure:
    """One bar per regime: what users keep, what providers earn, what is lost of the first best.

    Negative parts stand left of zero; the rest of the bar then reaches past the first best by as much.
    """
    fig = new_figure(1.6 + 0.42 * len(rows))
    ax, table = fig.subplots(1, 2, sharey=True, width_ratios=(4, 1.6))
    places = np.arange(len(rows))
    parts = (
        ("users\nkeep", per_thousand(np.array([row.user_value_usd for row in rows])), USERS, ""),
        ("providers\nearn", per_thousand(np.array([row.provider_profit_usd for row in rows])), PROVIDERS, ""),
        ("lost", per_thousand(np.array([row.lost_usd for row in rows])), LOST, "////"),
    )
    left = _stack(ax, places, [(amount, colour, hatch) for _, amount, colour, hatch in parts])
    first_best = per_thousand(np.array([row.first_best_usd for row in rows]))
    ax.vlines(first_best, places - 0.42, places + 0.42, color=INK, lw=1.6)
    ax.axvline(0, color=INK, lw=0.8)
    for column, (name, amount, colour, hatch) in enumerate(parts):
        _write_column(table, column, name, amount, colour, hatch)
    table.set_xlim(-0.5, len(parts) - 0.5)
    table.axis("off")
    ax.set_yticks(places, [row.name for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xlabel(USD_LABEL)
    sns.despine(ax=ax, left=True)
    note = "Black marks: the first best, every request served by the best level of the best provider."
    if left < -0.002 * first_best.max():
        note += " Parts left of zero are losses; the bar then reaches past the first best."
    say(fig, _surplus_finding(rows, heading), note)
    return fig


def _stack(ax: Axes, places: Array, parts: Sequence[tuple[Array, str, str]]) -> float:
    """Bars of parts end to end, negative ones leftwards from zero; returns how far left they reach."""
    right, left = np.zeros(len(places)), np.zeros(len(places))
    for amount, colour, hatch in parts:
        start = np.where(amount >= 0, right, left)
        ax.barh(places, amount, left=start, height=0.62, **_part(colour, hatch))
        right, left = right + np.maximum(amount, 0), left + np.minimum(amount, 0)
    return float(left.min())


def _part(colour: str, hatch: str) -> dict[str, Any]:
    """How a part of a bar looks, and its square in the legend."""
    return {"fc": colour, "hatch": hatch, "ec": "white", "lw": 0.8}


def _write_column(ax: Axes, x: int, name: str, amounts: Array, colour: str, hatch: str) -> None:
    """A column of numbers beside the bars, under a name and a square that are the bars' legend."""
    ax.barh(-0.6, 0.4, left=x - 0.2, height=0.18, clip_on=False, **_part(colour, hatch))
    dark = MUTED if hatch else colour
    ax.text(x, -0.74, name, ha="center", va="bottom", color=dark, weight="bold", fontsize=7.5)
    for place, amount in enumerate(amounts):
        ax.text(x, place, _money(float(amount)), ha="center", va="center")


def _surplus_finding(rows: Sequence[SurplusSplit], heading: str) -> str:
    kept = [float(per_thousand(row.user_value_usd)) for row in rows]
    best = int(np.argmax(kept))
    first = float(per_thousand(rows[best].first_best_usd))
    text = f"users keep {_money(kept[best])} of {_money(first)} under {rows[best].name}"
    if len(rows) == 2:
        text += f", {_money(kept[1 - best])} under {rows[1 - best].name}"
    elif len(rows) > 2:
        worst = int(np.argmin(kept))
        text += f", least under {rows[worst].name} ({_money(kept[worst])})"
    return f"{heading}: {text}" if heading else text[0].upper() + text[1:]


def _money(usd_per_thousand: float) -> str:
    """Two decimals, with a true minus sign and no negative zero."""
    return f"{round(usd_per_thousand, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


# --- The play of a run ------------------------------------------------------------------------------


_MOST_BLOCKS = 240
"""Runs longer than this many rounds are drawn as means over blocks of rounds."""


@styled
def play_figure(rounds: Mapping[str, Array], providers: Mapping[str, Array], heading: str) -> Figure:
    """A run in panels over rounds: compute levels by benchmark, surplus against the optimum, market shares.

    rounds     columns of the rounds table, (T,) each: round, expected_welfare_usd, welfare_usd,
               expected_user_value_usd, inefficiency, first_best_gap_usd, outside_share
    providers  columns of the providers table, (T * benchmarks * N,) each: benchmark, provider,
               compute_level, share
    heading    names the run
    """
    x = np.asarray(rounds["round"])
    length = -(-len(x) // _MOST_BLOCKS)
    names, tasks = (list(dict.fromkeys(providers[key].tolist())) for key in ("provider", "benchmark"))
    shape = (len(x), len(tasks), len(names))
    level, share = (np.reshape(providers[column], shape) for column in ("compute_level", "share"))
    starts = np.append(x[::length], x[-1])
    fig = new_figure(6.4 + 1.7 * (len(tasks) - 1))
    *ladders, middle, last = axes = fig.subplots(
        len(tasks) + 2, 1, sharex=True, height_ratios=(*[1.1] * len(tasks), 1, 1)
    )
    for t, (ax, task) in enumerate(zip(ladders, tasks, strict=True)):
        staircases(ax, starts, {name: _block_means(level[:, t, i], length) for i, name in enumerate(names)})
        ax.set_ylabel("compute level" + (f"\n{task}" if len(tasks) > 1 else ""))
    _draw_surplus(middle, starts, rounds, length)
    shares = {name: _block_means(share[:, :, i].sum(axis=1), length) for i, name in enumerate(names)}
    stacked_shares(last, starts, shares, _block_means(rounds["outside_share"], length))
    last.set_xlabel("round")
    last.set_xlim(x[0], max(x[-1], x[0] + 1))
    sns.despine(fig=fig)
    fig.align_ylabels(axes)
    models = [Line2D([], [], color=colour_of(name), lw=3, label=name) for name in in_family_order(names)]
    surplus = middle.get_legend_handles_labels()[0]
    legend_beside(fig, [*models, Patch(fc=LOST, label="buys nothing"), *surplus])
    note = (
        "Levels that coincide are drawn side by side. Welfare and users' part are expectations, the thin "
        "line is what each round's users and answers happened to give."
    )
    if length > 1:
        note += f" All are means over blocks of {length} rounds."
    say(
        fig,
        f"{heading}: {_play_finding(rounds)}",
        f"{note} Title: means over the last quarter of the rounds.",
    )
    return fig


def _block_means(column: Array, length: int) -> Array:
    """Means over blocks of `length` rows, the last of them twice: where it begins and where it ends."""
    column = np.asarray(column, dtype=float)
    begins = np.arange(0, len(column), length)
    means = np.add.reduceat(column, begins) / np.diff(begins, append=len(column))
    return np.append(means, means[-1])


def _draw_surplus(ax: Axes, x: Array, rounds: Mapping[str, Array], length: int) -> None:
    """Welfare, users' part of it and the two yardsticks."""

    def draw(usd: Array, **look: Any) -> None:
        ax.plot(x, _block_means(per_thousand(usd), length), **look)

    welfare = np.asarray(rounds["expected_welfare_usd"])
    draw(rounds["welfare_usd"], color=INK, lw=0.5, alpha=0.45)
    draw(welfare, color=INK, lw=2.0, label="welfare")
    draw(rounds["expected_user_value_usd"], color=USERS, lw=2.0, label="users' part of it")
    draw(
        welfare * (1.0 + np.asarray(rounds["inefficiency"])),
        color=BAD,
        ls=(0, (5, 2)),
        label="optimum of the regime",
    )
    draw(welfare + rounds["first_best_gap_usd"], color=BAD, ls=(0, (1, 1.5)), label="first best")
    ax.set_ylabel(USD_LABEL)


def _play_finding(rounds: Mapping[str, Array]) -> str:
    late = slice(-max(1, len(rounds["round"]) // 4), None)
    welfare, users, gap = (
        float(per_thousand(rounds[name][late]).mean())
        for name in ("expected_welfare_usd", "expected_user_value_usd", "first_best_gap_usd")
    )
    return (
        f"welfare comes to {_money(welfare)} of {_money(welfare + gap)} {USD_LABEL}; "
        f"users keep {_money(users)} of it"
    )


# --- Files ------------------------------------------------------------------------------------------


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

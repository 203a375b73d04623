"""Curve files as people see them: rows of a table, and accuracy against tokens with intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter

from market_sim.economy.quality import QualityCurve
from market_sim.experiments.house_style import (
    METHOD_NAMES,
    in_family_order,
    legend_beside,
    log_axis,
    model_handles,
    new_figure,
    say,
    style_of,
    styled,
)
from market_sim.experiments.saved_figures import save
from market_sim.theory.arrays import Array

BANDS = ("accuracy_low", "accuracy_high", "tokens_low", "tokens_high")

MOST_COLUMNS = 3


def curve_table(curves: Sequence[QualityCurve]) -> list[dict[str, Any]]:
    """One row per curve and level; None where a curve has no interval."""
    rows = []
    for curve in curves:
        bands = {name: band(curve, name) for name in BANDS}
        for k, level in enumerate(curve.compute_level.tolist()):
            row = {
                "benchmark": curve.benchmark,
                "method": curve.method,
                "model": curve.model,
                "compute_level": level,
                "accuracy": float(curve.accuracy[k]),
                "tokens_per_query": float(curve.tokens_per_query[k]),
                "n_questions": curve.n_questions,
            }
            rows.append(row | {name: None if b is None else float(b[k]) for name, b in bands.items()})
    return rows


def band(curve: QualityCurve, name: str) -> Array | None:
    """An interval column of a curve, (K,); None where it has none or not only numbers."""
    try:
        ends = np.array([float(text) for text in curve.extra[name]])
    except (KeyError, ValueError):
        return None
    return ends if np.isfinite(ends).all() else None


@styled
def accuracy_by_tokens(curves: Sequence[QualityCurve]) -> Figure:
    """Accuracy against tokens per query, a panel per benchmark and method, a line per model."""
    panels = list(dict.fromkeys((curve.benchmark, curve.method) for curve in curves))
    columns = min(len(panels), MOST_COLUMNS)
    n_rows = -(-len(panels) // columns)
    fig = new_figure(1.1 + 2.3 * n_rows)
    axes = fig.subplots(n_rows, columns, squeeze=False, sharey="row").ravel()
    banded = False
    for ax, (benchmark, method) in zip(axes, panels, strict=False):
        some = [curve for curve in curves if (curve.benchmark, curve.method) == (benchmark, method)]
        for name in in_family_order(curve.model for curve in some):
            banded |= _draw(ax, next(curve for curve in some if curve.model == name))
        _tokens_axis(ax, np.concatenate([curve.tokens_per_query for curve in some]))
        ax.set_title(f"{benchmark}: {METHOD_NAMES[method]}", loc="left")
        ax.set_xlabel("tokens per query")
    for ax in axes[len(panels) :]:
        ax.axis("off")
    for ax in axes[::columns]:
        ax.set_ylabel("accuracy (%)")
    sns.despine(fig=fig)
    legend_beside(fig, model_handles(dict.fromkeys(curve.model for curve in curves)))
    note = (
        "Bars: 95 % intervals over resampled questions; they move together across models. " if banded else ""
    )
    say(fig, _finding(curves), f"{note}Every mark is a compute level; lines join them in their order.")
    return fig


def _tokens_axis(ax: Axes, tokens: Array) -> None:
    """Logarithmic where tokens span more than a factor of four; a few plain numbers either way."""
    locator: Locator = MaxNLocator(3)
    if tokens.max() > 4 * tokens.min():
        log_axis(ax.xaxis)
        locator = LogLocator(subs=(1, 3) if tokens.max() < 30 * tokens.min() else (1,))
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.10g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _draw(ax: Axes, curve: QualityCurve) -> bool:
    """One line; whether it has intervals."""
    style = style_of(curve.model)
    tokens, accuracy = curve.tokens_per_query, 100.0 * curve.accuracy
    ax.plot(tokens, accuracy, color=style.colour, marker=style.marker)
    low, high = band(curve, "accuracy_low"), band(curve, "accuracy_high")
    if low is None or high is None:
        return False
    ax.vlines(tokens, 100 * low, 100 * high, color=style.colour, lw=0.9, alpha=0.7)
    few, many = band(curve, "tokens_low"), band(curve, "tokens_high")
    if few is not None and many is not None:
        ax.hlines(accuracy, few, many, color=style.colour, lw=0.9, alpha=0.7)
    return True


def _finding(curves: Sequence[QualityCurve]) -> str:
    # What somebody could sell: pass@k needs a verifier that knows the truth.
    offers = [curve for curve in curves if curve.method != "pass_at_k"] or curves
    best = max(offers, key=lambda curve: curve.accuracy.max())
    k = int(best.accuracy.argmax())
    text = (
        f"{best.model} reaches {best.accuracy[k]:.1%} on {best.benchmark} by {METHOD_NAMES[best.method]} "
        f"with {best.tokens_per_query[k]:,.0f} tokens per query"
    )
    low, high = band(best, "accuracy_low"), band(best, "accuracy_high")
    if low is not None and high is not None:
        text += f" (95 % interval {100 * low[k]:.1f} to {100 * high[k]:.1f})"
    return text


def write_curve_figures(curves: Sequence[QualityCurve], path: Path, out: Path) -> list[Path]:
    """Draw the figure of a curve file into a folder, as PNG and SVG; returns their paths."""
    figure = accuracy_by_tokens(curves)
    return list(save(figure, Path(out) / f"{path.stem}-accuracy", {"curves": path.name}))

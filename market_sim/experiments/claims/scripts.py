"""How the scripts in analysis/ end: with a figure, or with one sentence about what was asked wrongly."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from market_sim.errors import InputError
from market_sim.experiments.saved_figures import save
from market_sim.theory.inference import MeanDifference


@contextmanager
def refusals(script: str) -> Iterator[None]:
    """Bad input ends the script with its sentence and exit code 2."""
    try:
        yield
    except InputError as error:
        print(f"{script}: {error}", file=sys.stderr)
        sys.exit(2)


def write_figure(figure: Figure, stem: Path, about: Mapping[str, Any]) -> None:
    """Write a figure as PNG and SVG, and say where it is.  about: as in `saved_figures.save`."""
    png, _ = save(figure, stem, about)
    print(f"Figure: {png} (and .svg)")


def mean_text(mean: MeanDifference, factor: float = 1.0, digits: int = 1, sign: str = "") -> str:
    """A mean with half of its 95 % interval, if it has one: "11.2 +- 0.1"."""
    width = f" +- {factor * mean.half_width:.{digits}f}" if mean.n > 1 else ""
    return f"{factor * mean.mean:{sign}.{digits}f}{width}"

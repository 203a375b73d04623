"""Curves made from raw evaluations, and their three files.

Beside the curves (`NAME.csv`) stand the bootstrap's draws (`NAME.draws.parquet`) and where everything comes
from (`NAME.provenance.json`); docs/formats.md describes them.
"""

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.draws import cautions, draws_path, provenance_path, read_draws
from market_sim.economy.evaluations import TROUBLES, Trouble
from market_sim.economy.quality import bundled_prices, paper_name, read_curves
from market_sim.economy.raw_files import CutError, WatchedFile, lines_of
from market_sim.economy.uncertainty import CONFIDENCE
from market_sim.errors import InputError, few
from market_sim.theory.arrays import Array
from market_sim.theory.bootstrap import percentile_interval

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("benchmark", "method", "model", "compute_level", "accuracy", "tokens_per_query"),
    *("n_questions", "source", "accuracy_low", "accuracy_high", "tokens_low", "tokens_high"),
)

SOURCE = "raw evaluations"


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltCurve:
    """One model's curve by one method, and its draws.

    compute_level, accuracy, tokens_per_query  (K,)
    accuracy_draws, tokens_draws               (D, K); a draw is the same resampling for all curves
    n_questions                                with a sample that counts
    counted                                    by what is said, how many samples (or questions) it concerns
    said                                       what else a reader must know about this curve
    """

    method: str
    model: str
    compute_level: Array
    accuracy: Array
    tokens_per_query: Array
    accuracy_draws: Array
    tokens_draws: Array
    n_questions: int
    counted: Mapping[str, int]
    said: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is said, in words."""
        return (*(f"{what}: {n:,}" for what, n in self.counted.items()), *self.said)


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltCurves:
    """Curves of one benchmark, from raw evaluations.

    n_questions  that every model was asked; a curve of effort may rest on fewer of them
    left_out    (model, method, reason) of curves that the runs do not allow
    troubles    every line or question that was not used, or not as it stands
    ignored     files of the folders that are no raw evaluations
    provenance  what stands in NAME.provenance.json
    """

    benchmark: str
    curves: tuple[BuiltCurve, ...]
    n_questions: int
    left_out: tuple[tuple[str, str, str], ...]
    troubles: tuple[Trouble, ...]
    ignored: tuple[str, ...]
    provenance: Mapping[str, Any]

    @property
    def dropped(self) -> tuple[Trouble, ...]:
        """The troubles for which something was left out."""
        return tuple(trouble for trouble in self.troubles if trouble.dropped)

    @property
    def counts(self) -> tuple[tuple[str, int, str], ...]:
        """(file, number, what was wrong and done) of all troubles that concern lines."""
        found = Counter((t.file, t.kind) for t in self.troubles if t.line is not None)
        return tuple((file, number, TROUBLES[kind]) for (file, kind), number in found.items())

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know about all curves together, in sentences."""
        models, priced = dict.fromkeys(curve.model for curve in self.curves), bundled_prices()
        of_paper = {name: paper for name in models if (paper := paper_name(name))}
        renames = [f"--rename {name}={paper}" for name, paper in of_paper.items()]
        unpriced = [name for name in models if name not in priced and name not in of_paper]
        said = cautions(self.curves)
        if renames:
            said.append(f"Models that the paper calls otherwise get its prices by {' '.join(renames)}.")
        if unpriced:
            said.append(f"A scenario must give the prices of {few(unpriced)}: none are bundled.")
        return tuple(said)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the curve file."""
        rows = []
        for curve in self.curves:
            low, high = percentile_interval(curve.accuracy_draws, CONFIDENCE)
            tokens_low, tokens_high = percentile_interval(curve.tokens_draws, CONFIDENCE)
            for k, level in enumerate(curve.compute_level.tolist()):
                cells = (
                    *(self.benchmark, curve.method, curve.model, level),
                    *(float(curve.accuracy[k]), float(curve.tokens_per_query[k]), curve.n_questions, SOURCE),
                    *(float(low[k]), float(high[k]), float(tokens_low[k]), float(tokens_high[k])),
                )
                rows.append(dict(zip(COLUMNS, cells, strict=True)))
        return rows

    def to_frame(self) -> "pd.DataFrame":
        """One row per curve and level."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=list(COLUMNS))

    def to_dict(self) -> dict[str, Any]:
        """The rows and what was left out, as JSON has it."""
        return {
            "benchmark": self.benchmark,
            "n_questions": self.n_questions,
            "curves": self.rows(),
            "left_out": [
                {"model": model, "method": method, "reason": reason}
                for model, method, reason in self.left_out
            ],
            "notes": [
                {"model": curve.model, "method": curve.method, "note": note}
                for curve in self.curves
                for note in curve.notes
            ],
            "remarks": list(self.remarks),
            "troubles": [asdict(trouble) for trouble in self.troubles],
            "ignored": list(self.ignored),
        }

    def __repr__(self) -> str:
        models = len({curve.model for curve in self.curves})
        return (
            f"<BuiltCurves {self.benchmark}: {len(self.curves)} curves of {models} models, "
            f"{self.n_questions} questions, {len(self.dropped)} lines dropped>"
        )

    def write(self, path: Path | str) -> list[Path]:
        """Write NAME.csv, NAME.draws.parquet and NAME.provenance.json, each whole; returns their paths.

        Raises InputError where the place cannot be written or the curves would not be read again (a name that
        differs from a bundled one in letter case only, say).
        """
        path = Path(path)
        check_place(path)
        finals = [path, *companions(path)]
        drafts = [final.with_name(f".{final.stem}.{os.getpid()}{final.suffix}") for final in finals]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            drafts[0].write_text(self._csv(), encoding="utf-8")
            _write_draws(self, drafts[1])
            _check_readable(drafts[0], drafts[1], path)
            written = {
                name: hashlib.sha256(draft.read_bytes()).hexdigest()
                for name, draft in (("curves_sha256", drafts[0]), ("draws_sha256", drafts[1]))
            }
            text = json.dumps({**self.provenance, "written": written}, indent=2, allow_nan=False)
            drafts[2].write_text(text + "\n", encoding="utf-8")
            for draft, final in zip(reversed(drafts), reversed(finals), strict=True):
                os.replace(draft, final)  # the curve file last: what stands beside it is there by then
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        finally:
            for draft in drafts:
                with suppress(OSError):
                    draft.unlink(missing_ok=True)
        return finals

    def _csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return text.getvalue()


def companions(path: Path) -> tuple[Path, Path]:
    """Where the draws and the provenance of a curve file stand."""
    return draws_path(path), provenance_path(path)


def check_place(path: Path) -> None:
    """Refuse to write curves where their name is none, or over what is no curve file, raw evaluations say."""
    if path.suffix != ".csv":
        raise InputError(f"{path}: the name of a curve file ends in .csv")
    for place in (path, *companions(path)):
        if place.is_dir():
            raise InputError(f"{place}: is a folder; curves cannot be written in its place")
    if path.exists() and path.stat().st_size and not is_curve_file(path):
        raise InputError(f"{path}: is no curve file, so it is not replaced; choose another --out")


def is_curve_file(path: Path) -> bool:
    """Whether a file is, or is meant to be, a curve file: by its name and its columns."""
    if path.suffix.casefold() != ".csv":
        return False
    with WatchedFile(path) as file:
        try:
            header = next(lines_of(path, file), b"").decode("utf-8", "replace")
        except CutError:
            return False
    columns = {name.strip().strip('"') for name in header.split(",")}
    return len({"compute_level", "accuracy", "tokens_per_query"} & columns) >= 2


def _check_readable(curves: Path, draws: Path, path: Path) -> None:
    """What is written must be read again by whoever solves with it."""
    try:
        known = read_curves(curves)
        read_draws(draws, known, known)
    except InputError as error:
        said = str(error).replace(str(curves), str(path), 1).replace(str(draws), str(draws_path(path)), 1)
        raise InputError(said) from None


def _write_draws(built: BuiltCurves, path: Path) -> None:
    """One row per curve, level and draw; the same draws give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sizes = [curve.accuracy_draws.size for curve in built.curves]
    n_draws = len(built.curves[0].accuracy_draws)

    def names(of: Sequence[str]) -> pa.Array:
        known = list(dict.fromkeys(of))
        codes = np.repeat(np.array([known.index(name) for name in of], dtype=np.int32), sizes)
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(known))

    def each(of: Callable[[BuiltCurve], Array]) -> pa.Array:
        return pa.array(np.concatenate([of(curve).ravel() for curve in built.curves]))

    # Level by level, so that equal cells are neighbours.
    table = pa.table(
        {
            "draw": each(lambda c: np.tile(np.arange(n_draws, dtype=np.int32), len(c.compute_level))),
            "benchmark": names([built.benchmark] * len(sizes)),
            "method": names([curve.method for curve in built.curves]),
            "model": names([curve.model for curve in built.curves]),
            "compute_level": each(lambda c: np.repeat(c.compute_level, n_draws)),
            "accuracy": each(lambda c: c.accuracy_draws.T),
            "tokens_per_query": each(lambda c: c.tokens_draws.T),
        }
    )
    pq.write_table(table, path)

"""From a folder of raw evaluations to a curve file that any scenario can name, with its uncertainty.

Beside the curves (`NAME.csv`) stand the bootstrap's draws (`NAME.draws.parquet`) and where everything comes
from (`NAME.provenance.json`); docs/formats.md describes the three.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.estimates import ESTIMATORS, Estimate, ImpossibleError, Spending
from market_sim.economy.evaluations import FORMATS, RawFile, Trouble, raw_files, shared_questions
from market_sim.economy.quality import read_curves
from market_sim.economy.raw_formats import LmEvalChoice
from market_sim.errors import InputError, not_one_of
from market_sim.experiments.surveys import Plan, Progress, Survey, SurveyedRun, survey_all
from market_sim.theory.arrays import Array
from market_sim.theory.bootstrap import draw_averages, interval
from market_sim.theory.estimators import Contributions, average, compiled_votes

if TYPE_CHECKING:
    import pandas as pd

LEVELS = (1, 4, 8, 16, 32, 64)
BINS = 5
"""The paper's."""

COVERAGE = 0.95

MOST_LEVEL, MOST_BINS, MOST_DRAWS = 10**5, 1000, 10**6

COLUMNS = (
    *("benchmark", "method", "model", "compute_level", "accuracy", "tokens_per_query"),
    *("n_questions", "source", "accuracy_low", "accuracy_high", "tokens_low", "tokens_high"),
)

SOURCE = "raw evaluations"


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltCurve:
    """One model's curve by one method, and its draws.

    compute_level, accuracy, tokens_per_query  (K,)
    accuracy_draws, tokens_draws               (B, K); a draw is the same resampling for all curves
    counted                                    by what is said, how many samples of all it concerns
    said                                       what else a reader must know about this curve
    """

    method: str
    model: str
    compute_level: Array
    accuracy: Array
    tokens_per_query: Array
    accuracy_draws: Array
    tokens_draws: Array
    counted: Mapping[str, int]
    said: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is said, in words."""
        return (*(f"{n:,} {what}" for what, n in self.counted.items() if n), *self.said)


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltCurves:
    """Curves of one benchmark, from raw evaluations.

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

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the curve file."""
        rows = []
        for curve in self.curves:
            low, high = interval(curve.accuracy_draws, COVERAGE)
            tokens_low, tokens_high = interval(curve.tokens_draws, COVERAGE)
            for k, level in enumerate(curve.compute_level.tolist()):
                cells = (
                    *(self.benchmark, curve.method, curve.model, level),
                    *(float(curve.accuracy[k]), float(curve.tokens_per_query[k]), self.n_questions, SOURCE),
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
        if path.suffix != ".csv":
            raise InputError(f"{path}: the name of a curve file ends in .csv")
        finals = [path, *companions(path)]
        drafts = [final.with_name(f".{final.stem}.{os.getpid()}{final.suffix}") for final in finals]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            drafts[0].write_text(self._csv(), encoding="utf-8")
            _check_readable(drafts[0], path)
            _write_draws(self, drafts[1])
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
    return path.with_suffix(".draws.parquet"), path.with_suffix(".provenance.json")


def _check_readable(draft: Path, path: Path) -> None:
    try:
        read_curves(draft)
    except InputError as error:
        raise InputError(str(error).replace(str(draft), str(path), 1)) from None


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


# --- Building ---------------------------------------------------------------------------------------


def build_curves(
    paths: Path | str | Sequence[Path | str],
    *,
    benchmark: str,
    methods: Sequence[str] = ("majority_voting",),
    levels: Sequence[int] = LEVELS,
    bins: int = BINS,
    draws: int = 1000,
    seed: int = 1,
    format: str = "auto",
    choice: LmEvalChoice | None = None,
    token_limit: float | None = None,
    rename: Mapping[str, str] | None = None,
    strict: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> BuiltCurves:
    """Curves of every model of some files and folders of raw evaluations, with bootstrap draws.

    levels       numbers of samples, for the methods that draw samples
    bins         of reasoning effort
    draws, seed  of the bootstrap over questions
    format       of the files; "auto" finds out
    choice       what an lm-evaluation-harness log leaves open
    token_limit  at which samples were cut off, where the files' names do not say
    rename       other names for models
    strict       refuse where anything is wrong in the files, instead of going on without it
    workers      processes that read files; more than 1 needs a main module that can be imported
    progress     told of bytes read and bytes in all
    Raises InputError for an impossible request and where nothing usable is left.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    plan = _plan(benchmark, methods, levels, bins, draws, seed, format, choice, token_limit, workers)
    files, ignored = raw_files(paths)
    if not files:
        raise InputError("curves build: no files were named")
    surveys = survey_all(files, plan, workers, progress)
    runs = _named(surveys, rename or {})
    questions, unshared = shared_questions(
        {name: (run.file, run.questions, run.lines) for name, run in runs.items()}
    )
    troubles = [trouble for survey in surveys for trouble in survey.file.troubles] + unshared
    if strict and troubles:
        more = "" if len(troubles) == 1 else f", the first of {len(troubles)} troubles"
        raise InputError(f"{troubles[0]} (--strict refuses it{more})")
    if not questions:
        names = ", ".join(runs)
        raise InputError(f"no question has usable samples of every model ({names}); build them apart")
    estimates, left_out = _estimates(runs, methods, questions)
    curves = _curves(estimates, draws, seed)
    built = BuiltCurves(
        benchmark=benchmark,
        curves=curves,
        n_questions=len(questions),
        left_out=tuple(left_out),
        troubles=tuple(troubles),
        ignored=tuple(map(str, ignored)),
        provenance={},
    )
    request = {
        "benchmark": benchmark,
        "methods": list(methods),
        "levels": list(plan.spending.levels),
        "bins": bins,
        "draws": draws,
        "seed": seed,
        "format": format,
        "token_limit": token_limit,
        "lm_eval": asdict(plan.choice),
        "rename": dict(rename or {}),
    }
    return replace(built, provenance=_provenance(built, surveys, request))


def _plan(
    benchmark: str,
    methods: Sequence[str],
    levels: Sequence[int],
    bins: int,
    draws: int,
    seed: int,
    format: str,
    choice: LmEvalChoice | None,
    token_limit: float | None,
    workers: int,
) -> Plan:
    """The request, checked."""
    if not benchmark.strip():
        raise InputError("--benchmark is empty; it names what the questions are from")
    if not methods:
        raise InputError(f"--method is missing; it must be some of {', '.join(ESTIMATORS)}")
    for method in methods:
        if method not in ESTIMATORS:
            raise not_one_of("--method", method, ESTIMATORS)
        if list(methods).count(method) > 1:
            raise InputError(f"--method names {method!r} twice")
    if not levels:
        raise InputError("--levels is empty; wanted is a list like 1,4,8")
    for level in levels:
        if level != int(level) or not 1 <= level <= MOST_LEVEL:
            raise InputError(f"--levels: {level:g} is not a whole number from 1 to {MOST_LEVEL:,}")
        if list(levels).count(level) > 1:
            raise InputError(f"--levels names {level:g} twice")
    for option, value, least, most in (
        ("--bins", bins, 1, MOST_BINS),
        ("--draws", draws, 1, MOST_DRAWS),
        ("--seed", seed, 0, 2**63),
        ("--workers", workers, 1, 1024),
    ):
        if not least <= value <= most:
            raise InputError(f"{option} = {value} is not allowed; it must be from {least} to {most:,}")
    if format not in ("auto", *FORMATS):
        raise not_one_of("--format", format, ("auto", *FORMATS))
    choice = choice or LmEvalChoice()
    for option, number in (
        ("--characters-per-token", choice.characters_per_token),
        ("--max-tokens", token_limit),
    ):
        if number is not None and not 0 < number < 1e12:
            raise InputError(f"{option} = {number:g} is not allowed; it must be above 0")
    return Plan(
        methods=tuple(methods),
        spending=Spending(levels=tuple(sorted(map(int, levels))), bins=bins),
        format=format,
        choice=choice,
        token_limit=token_limit,
    )


def _named(surveys: Sequence[Survey], rename: Mapping[str, str]) -> dict[str, SurveyedRun]:
    """Runs by the names of their models."""
    runs: dict[str, SurveyedRun] = {}
    known = [run.model for survey in surveys for run in survey.runs]
    for name in rename:
        if name not in known:
            raise not_one_of("--rename", name, dict.fromkeys(known))
    for survey in surveys:
        for run in survey.runs:
            name = rename.get(run.model, run.model)
            if name in runs:
                raise InputError(
                    f"{run.file}: is of model {name!r}, and so is {runs[name].file}; leave one out"
                    + ("" if run.model in rename else f", or tell them apart with --rename {run.model}=NAME")
                )
            runs[name] = run
    return runs


def _estimates(
    runs: Mapping[str, SurveyedRun], methods: Sequence[str], questions: Sequence[str]
) -> tuple[list[tuple[str, str, Estimate]], list[tuple[str, str, str]]]:
    """(method, model, estimate on the shared questions), and (model, method, reason) of what there is not."""
    found, left_out = [], []
    places = {name: run.places(questions) for name, run in runs.items()}
    for method in methods:
        some = False
        for name, run in runs.items():
            estimate = run.estimates[method]
            if isinstance(estimate, ImpossibleError):
                left_out.append((name, method, str(estimate)))
            else:
                found.append((method, name, _at(estimate, places[name])))
                some = True
        if not some:
            name, _, reason = left_out[-1]
            raise InputError(f"{runs[name].file}: {reason}")
    return found, left_out


def _at(estimate: Estimate, places: Array) -> Estimate:
    """An estimate on some of the questions."""
    each = estimate.contributions
    return replace(
        estimate,
        contributions=Contributions(
            correct=each.correct[places], tokens=each.tokens[places], weight=each.weight[places]
        ),
        counted={what: counts[places] for what, counts in estimate.counted.items()},
    )


def _curves(estimates: Sequence[tuple[str, str, Estimate]], draws: int, seed: int) -> tuple[BuiltCurve, ...]:
    """All curves from one bootstrap, so that one draw is one resampling for all of them."""
    every = [estimate.contributions for *_, estimate in estimates]
    together = Contributions(
        correct=np.concatenate([each.correct for each in every], axis=1),
        tokens=np.concatenate([each.tokens for each in every], axis=1),
        weight=np.concatenate([each.weight for each in every], axis=1),
    )
    accuracy, tokens = average(together)
    accuracy_draws, tokens_draws = draw_averages(together, draws, seed)
    curves, begin = [], 0
    for method, model, estimate in estimates:
        part = slice(begin, begin := begin + len(estimate.levels))
        _check_defined(method, model, estimate, accuracy[part], accuracy_draws[:, part], tokens[part])
        curves.append(
            BuiltCurve(
                method=method,
                model=model,
                compute_level=np.array(estimate.levels, dtype=float),
                accuracy=accuracy[part],
                tokens_per_query=tokens[part],
                accuracy_draws=accuracy_draws[:, part],
                tokens_draws=tokens_draws[:, part],
                counted={what: int(counts.sum()) for what, counts in estimate.counted.items()},
                said=estimate.said,
            )
        )
    return tuple(curves)


def _check_defined(
    method: str, model: str, estimate: Estimate, accuracy: Array, draws: Array, tokens: Array
) -> None:
    for k, level in enumerate(estimate.levels):
        where = f"{model}, {method}, level {level}"
        if np.isnan(accuracy[k]):
            raise InputError(f"{where}: no sample is in this bin; ask for fewer with --bins")
        if np.isnan(draws[:, k]).any():
            raise InputError(
                f"{where}: so few questions have samples in this bin that some draws have none; "
                "ask for fewer with --bins"
            )
        if tokens[k] <= 0:
            raise InputError(f"{where}: the samples have no tokens")


# --- Where it comes from ----------------------------------------------------------------------------


def _provenance(built: BuiltCurves, surveys: Sequence[Survey], request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "request": dict(request),
        "files": [_file_entry(survey.file, survey.runs) for survey in surveys],
        "ignored": list(built.ignored),
        "n_questions": built.n_questions,
        "curves": [
            {
                "model": curve.model,
                "method": curve.method,
                "levels": curve.compute_level.tolist(),
                "notes": list(curve.notes),
            }
            for curve in built.curves
        ],
        "left_out": [
            {"model": model, "method": method, "reason": reason} for model, method, reason in built.left_out
        ],
        "n_dropped": len(built.dropped),
        "troubles": [asdict(trouble) for trouble in built.troubles],
        "intervals": f"{COVERAGE:.0%} percentile intervals; each draw resamples the questions",
        "versions": _versions(),
    }


def _file_entry(file: RawFile, runs: Sequence[SurveyedRun]) -> dict[str, Any]:
    return {
        "path": file.path,
        "format": file.format,
        "sha256": file.sha256,
        "bytes": file.n_bytes,
        "lines": file.n_lines,
        "skipped": dict(file.skipped),
        "models": {
            run.model: {
                "questions": len(run.questions),
                "samples": run.n_samples,
                "token_limit": run.token_limit,
            }
            for run in runs
        },
    }


def _versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    names = ["market-sim", "numpy", "scipy", "pyarrow"] + (["numba"] if compiled_votes() else [])
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found

"""From folders of raw evaluations to curves that any scenario can name, with their uncertainty."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from market_sim.economy.draws import DRAWS, MOST_DRAWS
from market_sim.economy.estimates import ESTIMATORS, Estimate, ImpossibleError, Spending
from market_sim.economy.evaluations import FORMATS, RawFile, shared_questions
from market_sim.economy.raw_folders import Selection, raw_files
from market_sim.economy.raw_formats import LmEvalChoice
from market_sim.economy.raw_reading import stem_of
from market_sim.economy.uncertainty import CONFIDENCE, fewest_draws
from market_sim.errors import InputError, few, named, not_one_of
from market_sim.experiments.built_curves import BuiltCurve, BuiltCurves
from market_sim.experiments.surveys import Plan, Progress, Survey, SurveyedRun, survey_all
from market_sim.theory.arrays import Array
from market_sim.theory.bootstrap import draw_averages
from market_sim.theory.estimators import Contributions, average, compiled_votes

LEVELS = (1, 4, 8, 16, 32, 64)
BINS = 5
"""The paper's."""

MOST_LEVEL, MOST_BINS = 10**5, 1000


def build_curves(
    paths: Path | str | Sequence[Path | str],
    *,
    benchmark: str,
    methods: Sequence[str] = ("majority_voting",),
    levels: Sequence[int] = LEVELS,
    bins: int = BINS,
    draws: int = DRAWS,
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
    rename       other names, by model or by the name of a file of one model
    strict       refuse where anything is wrong in the files, instead of going on without it
    workers      processes that read files; more than 1 needs a main module that can be imported
    progress     told of bytes read and bytes in all
    Raises InputError for an impossible request and where nothing usable is left.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    plan = _plan(benchmark, methods, levels, bins, draws, seed, format, choice, token_limit, workers)
    chosen = raw_files(paths, format)
    if not chosen.files:
        raise InputError("curves build: no files were named")
    surveys = survey_all(chosen.files, plan, workers, progress)
    _check_usable(surveys, chosen)
    runs = _named(surveys, rename or {})
    questions, unshared = shared_questions(
        {name: (run.file, run.questions, run.lines) for name, run in runs.items()}
    )
    of_files = [trouble for survey in surveys for trouble in survey.file.troubles]
    troubles = [*chosen.broken, *of_files, *unshared]
    if strict and troubles:
        more = "" if len(troubles) == 1 else f", the first of {len(troubles)} troubles"
        raise InputError(f"{troubles[0]} (--strict refuses it{more})")
    if len(questions) < 2:
        names, how_many = few(list(runs)), "only one question has" if questions else "no question has"
        raise InputError(
            f"{how_many} usable samples of every model ({names}), and resampling needs two; build them apart"
        )
    estimates, impossible = _estimates(runs, methods, questions)
    curves, undefined = _curves(estimates, draws, seed)
    left_out = [*impossible, *undefined]
    for method in methods:
        if all(curve.method != method for curve in curves):
            name, _, reason = next(each for each in left_out if each[1] == method)
            raise InputError(f"{runs[name].file}: gives no curve by {method}: {reason}")
    built = BuiltCurves(
        benchmark=benchmark,
        curves=tuple(curves),
        n_questions=len(questions),
        left_out=tuple(left_out),
        troubles=tuple(troubles),
        ignored=tuple(map(str, chosen.ignored)),
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
        ("--draws", draws, fewest_draws(), MOST_DRAWS),
        ("--seed", seed, 0, 2**63),
        ("--workers", workers, 1, 1024),
    ):
        if not least <= value <= most:
            raise InputError(f"{option} = {value} is not allowed; it must be from {least:,} to {most:,}")
    named("--format", format, ("auto", *FORMATS))
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


def _check_usable(surveys: Sequence[Survey], chosen: Selection) -> None:
    """A file that was named must hold something; so must at least one of all."""
    empty = [survey.file for survey in surveys if not survey.runs]
    refused = [file for file in empty if Path(file.path) in chosen.named or len(empty) == len(surveys)]
    if refused:
        raise InputError(f"{refused[0].path}: {refused[0].why_empty}")


def _named(surveys: Sequence[Survey], rename: Mapping[str, str]) -> dict[str, SurveyedRun]:
    """Runs by the names of their models."""
    keys = {id(run): _keys(survey, run) for survey in surveys for run in survey.runs}
    known = dict.fromkeys(key for own in keys.values() for key in own)
    for key in rename:
        if key not in known:
            raise not_one_of("--rename", key, known)
    runs: dict[str, SurveyedRun] = {}
    for run in (run for survey in surveys for run in survey.runs):
        own = keys[id(run)]
        name = next((rename[key] for key in own if key in rename), run.model)
        if name in runs:
            tasks = {_task(run.file), _task(runs[name].file)}
            advice = f"leave one out, or tell them apart with --rename {own[0]}=NAME"
            if len(tasks) > 1:
                advice = f"{' and '.join(sorted(tasks))} are different questions, so build their curves apart"
            raise InputError(f"{run.file}: is of model {name!r}, and so is {runs[name].file}; {advice}")
        runs[name] = run
    return runs


def _task(file: str) -> str:
    """The task in the name of a log of lm-evaluation-harness, samples_<task>_<time>; "" of other files."""
    found = re.match(r"samples_(.+?)(?:_[\dT.:-]+)?$", stem_of(Path(file)))
    return found[1] if found else ""


def _keys(survey: Survey, run: SurveyedRun) -> list[str]:
    """What a run can be called by in a request: its file, where that has no other, and its model."""
    path = Path(survey.file.path)
    return [stem_of(path), path.name, str(path), run.model] if len(survey.runs) == 1 else [run.model]


def _estimates(
    runs: Mapping[str, SurveyedRun], methods: Sequence[str], questions: Sequence[str]
) -> tuple[list[tuple[str, str, Estimate]], list[tuple[str, str, str]]]:
    """(method, model, estimate on the shared questions), and (model, method, reason) of what there is not."""
    found, left_out = [], []
    places = {name: run.places(questions) for name, run in runs.items()}
    for method in methods:
        for name, run in runs.items():
            estimate = run.estimates[method]
            if isinstance(estimate, ImpossibleError):
                left_out.append((name, method, str(estimate)))
            else:
                found.append((method, name, _at(estimate, places[name])))
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


def _curves(
    estimates: Sequence[tuple[str, str, Estimate]], draws: int, seed: int
) -> tuple[list[BuiltCurve], list[tuple[str, str, str]]]:
    """All curves from one bootstrap, so that one draw is one resampling for all of them; and those that some
    draws leave undefined, as (model, method, reason)."""
    curves: list[BuiltCurve] = []
    left_out: list[tuple[str, str, str]] = []
    if not estimates:
        return curves, left_out
    every = [estimate.contributions for *_, estimate in estimates]
    together = Contributions(
        correct=np.concatenate([each.correct for each in every], axis=1),
        tokens=np.concatenate([each.tokens for each in every], axis=1),
        weight=np.concatenate([each.weight for each in every], axis=1),
    )
    accuracy, tokens = average(together)
    accuracy_draws, tokens_draws = draw_averages(together, draws, seed)
    begin = 0
    for method, model, estimate in estimates:
        part = slice(begin, begin := begin + len(estimate.levels))
        n_questions = int((estimate.contributions.weight.sum(axis=1) > 0).sum())
        why = _undefined(estimate.levels, n_questions, accuracy_draws[:, part], tokens_draws[:, part])
        if why is not None:
            left_out.append((model, method, why))
            continue
        curves.append(
            BuiltCurve(
                method=method,
                model=model,
                compute_level=np.array(estimate.levels, dtype=float),
                accuracy=accuracy[part],
                tokens_per_query=tokens[part],
                accuracy_draws=accuracy_draws[:, part],
                tokens_draws=tokens_draws[:, part],
                n_questions=n_questions,
                counted={what: int(some.sum()) for what, some in estimate.counted.items() if some.any()},
                said=estimate.said,
            )
        )
    return curves, left_out


def _undefined(levels: Sequence[int], n_questions: int, accuracy: Array, tokens: Array) -> str | None:
    """Why draws (D, K) do not define a curve; None where they do."""
    if n_questions < 2:
        return f"{'one question has' if n_questions else 'no question has'} a sample that counts"
    for level, drawn, used in zip(levels, accuracy.T, tokens.T, strict=True):
        if np.isnan(drawn).all():
            return f"no sample is in bin {level}; ask for fewer with --bins"
        if np.isnan(drawn).any():
            return (
                f"so few questions have samples in bin {level} that some draws have none; ask for fewer with "
                "--bins"
            )
        if (used <= 0).any():
            return f"so few questions have samples with tokens at level {level} that some draws have none"
    return None


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
                "n_questions": curve.n_questions,
                "notes": list(curve.notes),
            }
            for curve in built.curves
        ],
        "left_out": [
            {"model": model, "method": method, "reason": reason} for model, method, reason in built.left_out
        ],
        "remarks": list(built.remarks),
        "n_dropped": len(built.dropped),
        "troubles": [asdict(trouble) for trouble in built.troubles],
        "intervals": f"{CONFIDENCE:.0%} percentile intervals; each draw resamples the questions",
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

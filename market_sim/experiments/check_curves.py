"""What a file is, a curve file or raw evaluations, and what is wrong in it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from market_sim.economy.draws import check_made_together, read_draws
from market_sim.economy.evaluations import FORMATS, RawFile, Trouble
from market_sim.economy.quality import QualityCurve, read_curves
from market_sim.economy.raw_folders import Look, files_below, look_at
from market_sim.economy.raw_formats import LmEvalChoice
from market_sim.economy.raw_reading import read_raw_file
from market_sim.errors import InputError, named
from market_sim.experiments.built_curves import companions, is_curve_file
from market_sim.experiments.surveys import Progress

CHARACTERS_PER_TOKEN = 4.0
"""To look into a log without token counts, which only a build must have."""


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """What was found.

    kind   what the file is, in words
    facts  what is in it, a sentence each
    """

    path: str
    kind: str
    facts: tuple[str, ...]
    troubles: tuple[Trouble, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def check_files(
    paths: Sequence[Path | str],
    *,
    format: str = "auto",
    choice: LmEvalChoice | None = None,
    progress: Progress | None = None,
) -> list[CheckedFile]:
    """Look at every file, and at those of folders that are curves or raw evaluations by name or content.

    format  that raw evaluations are in, one of FORMATS; "auto" finds out
    choice  what a log of lm-evaluation-harness leaves open
    Raises InputError for a file that is not there and a folder without any; what is wrong inside is a
    trouble.
    """
    named("--format", format, ("auto", *FORMATS))
    files = [found for path in map(Path, paths) for found in _looked_at(path)]
    total, done = sum(path.stat().st_size for path, _ in files), 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(min(done, total), total)

    choice = choice or LmEvalChoice()
    choice = replace(choice, characters_per_token=choice.characters_per_token or CHARACTERS_PER_TOKEN)
    checked = []
    for path, look in files:
        if look is None:
            checked.append(_check_curve_file(path))
            advance(path.stat().st_size)
            continue
        read_as = look.format if format == "auto" else format
        if read_as is None:
            reason = look.broken or "is neither a curve file nor a raw evaluation known here"
            checked.append(_with_trouble(path, "an unknown file", reason))
            continue
        try:
            checked.append(_of_raw_file(read_raw_file(path, format=read_as, choice=choice, advance=advance)))
        except InputError as error:
            checked.append(_with_trouble(path, KINDS[read_as], _without(str(error), path)))
    return checked


def _looked_at(path: Path) -> list[tuple[Path, Look | None]]:
    """A file, or those of a folder that are, or should be, curves or raw evaluations; None tells curves."""
    files = files_below(path) if path.is_dir() else [path]
    found = [(file, None if is_curve_file(file) else look_at(file)) for file in files]
    if path.is_dir():
        found = [(file, look) for file, look in found if look != Look()]
        if not found:
            raise InputError(f"{path}: holds neither curve files nor raw evaluations")
    return found


KINDS = {
    "published": "raw evaluations in the published format",
    "lm_eval": "raw evaluations, a log of lm-evaluation-harness",
    "table": "raw evaluations, a table",
}


def _with_trouble(path: Path, kind: str, reason: str) -> CheckedFile:
    trouble = Trouble(file=str(path), line=None, reason=reason)
    return CheckedFile(path=str(path), kind=kind, facts=(), troubles=(trouble,))


def _without(sentence: str, path: Path) -> str:
    """A sentence without the name of the file, which is said already."""
    return sentence.removeprefix(f"{path}: ")


def _of_raw_file(file: RawFile) -> CheckedFile:
    facts = [f"{file.n_lines:,} lines, {file.n_bytes:,} bytes, sha256 {file.sha256}"]
    for run in file.runs:
        told = [
            name
            for name, there in (
                ("answers", run.answers is not None),
                ("rewards", run.rewards is not None),
                ("tokens of thinking", run.thinking is not None),
            )
            if there
        ]
        facts.append(
            f"{run.model}: {len(run.questions):,} questions, {run.n_samples} samples each"
            f"{', with ' + ', '.join(told) if told else ''}; accuracy {run.correct.mean():.1%}"
            + ("" if run.estimated else f", {run.tokens.mean():,.0f} tokens a sample")
            + ("" if run.token_limit is None else f", limit {run.token_limit:,.0f}")
        )
    facts += [f"{n:,} records {what} left out" for what, n in file.skipped.items()]
    troubles = file.troubles
    if any(run.estimated for run in file.runs):
        without = "has records without num_tokens; curves build needs --characters-per-token for them"
        troubles = (Trouble(file=file.path, line=None, reason=without, dropped=False), *troubles)
    return CheckedFile(path=file.path, kind=KINDS[file.format], facts=tuple(facts), troubles=troubles)


# --- Curve files ------------------------------------------------------------------------------------


def _check_curve_file(path: Path) -> CheckedFile:
    try:
        curves = read_curves(path)
    except InputError as error:
        return _with_trouble(path, "a curve file", _without(str(error), path))
    facts = []
    for benchmark, method in dict.fromkeys((curve.benchmark, curve.method) for curve in curves):
        some = [curve for curve in curves if (curve.benchmark, curve.method) == (benchmark, method)]
        facts.append(f"{benchmark}, {method}: {len(some)} models, {_levels(some)}")
    draws, provenance = companions(path)
    reasons = []
    for companion in (draws, provenance):
        there = companion.exists()
        facts.append(f"{companion.name} beside it" if there else f"no {companion.name} beside it")
    if draws.exists():
        reasons += _wrong(draws, lambda: read_draws(draws, curves, curves))
    if provenance.exists():
        reasons += _wrong(provenance, lambda: check_made_together(path))
    troubles = tuple(Trouble(file=str(path), line=None, reason=reason, dropped=False) for reason in reasons)
    return CheckedFile(path=str(path), kind="a curve file", facts=tuple(facts), troubles=troubles)


def _levels(curves: Sequence[QualityCurve]) -> str:
    counts = sorted({len(curve.compute_level) for curve in curves})
    return f"{' or '.join(map(str, counts))} level{'' if counts == [1] else 's'} each"


def _wrong(companion: Path, check: Callable[[], object]) -> list[str]:
    """What a check of a file finds, if anything."""
    try:
        check()
    except InputError as error:
        return [f"{companion.name} {_without(str(error), companion)}"]
    return []

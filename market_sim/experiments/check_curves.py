"""What a file is, a curve file or raw evaluations, and what is wrong in it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from market_sim.economy.evaluations import RawFile, Trouble, detect_format, read_raw_file
from market_sim.economy.quality import QualityCurve, read_curves
from market_sim.economy.raw_files import CutError, WatchedFile, lines_of
from market_sim.economy.raw_formats import LmEvalChoice
from market_sim.errors import InputError
from market_sim.experiments.curves import companions
from market_sim.experiments.surveys import Progress

DRAW_COLUMNS = ("draw", "benchmark", "method", "model", "compute_level", "accuracy", "tokens_per_query")


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


def check_files(paths: Sequence[Path | str], *, progress: Progress | None = None) -> list[CheckedFile]:
    """Look at every file.  Raises InputError for one that is not there; what is wrong inside is a trouble."""
    files = [Path(path) for path in paths]
    for path in files:
        with WatchedFile(path):  # all are there before the first is read
            pass
    total, done = sum(path.stat().st_size for path in files), 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(min(done, total), total)

    checked = []
    for path in files:
        if _is_curve_file(path):
            checked.append(_check_curve_file(path))
            advance(path.stat().st_size)
            continue
        format = detect_format(path)
        if format is None:
            reason = "is neither a curve file nor a raw evaluation known here"
            checked.append(_with_trouble(path, "an unknown file", reason))
            continue
        # Tokens and filters that only a build must choose do not stop a check.
        choice = LmEvalChoice(characters_per_token=4.0)
        try:
            checked.append(_of_raw_file(read_raw_file(path, format=format, choice=choice, advance=advance)))
        except InputError as error:
            checked.append(_with_trouble(path, KINDS[format], _without(str(error), path)))
    return checked


KINDS = {
    "published": "raw evaluations in the published format",
    "lm_eval": "raw evaluations, a log of lm-evaluation-harness",
    "table": "raw evaluations, a table",
}


def _is_curve_file(path: Path) -> bool:
    if path.suffix.casefold() != ".csv":
        return False
    with WatchedFile(path) as file:
        try:
            header = next(lines_of(path, file), b"").decode("utf-8", "replace")
        except CutError:
            return False
    columns = {name.strip().strip('"') for name in header.split(",")}
    return len({"compute_level", "accuracy", "tokens_per_query"} & columns) >= 2


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
            f"{', with ' + ', '.join(told) if told else ''}; accuracy {run.correct.mean():.1%}, "
            f"{run.tokens.mean():,.0f} tokens a sample"
            + ("" if run.token_limit is None else f", limit {run.token_limit:,.0f}")
        )
    facts += [f"{n:,} records {what} left out" for what, n in file.skipped.items()]
    return CheckedFile(path=file.path, kind=KINDS[file.format], facts=tuple(facts), troubles=file.troubles)


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
    for companion, check in ((draws, _check_draws), (provenance, _check_provenance)):
        if not companion.exists():
            facts.append(f"no {companion.name} beside it")
            continue
        facts.append(f"{companion.name} beside it")
        reasons += [f"{companion.name} {reason}" for reason in check(companion, path, curves)]
    troubles = tuple(Trouble(file=str(path), line=None, reason=reason, dropped=False) for reason in reasons)
    return CheckedFile(path=str(path), kind="a curve file", facts=tuple(facts), troubles=troubles)


def _levels(curves: Sequence[QualityCurve]) -> str:
    counts = sorted({len(curve.compute_level) for curve in curves})
    return f"{' or '.join(map(str, counts))} level{'' if counts == [1] else 's'} each"


def _check_draws(draws: Path, path: Path, curves: Sequence[QualityCurve]) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(draws)
    except (OSError, pa.ArrowException):
        return ["cannot be read as Parquet"]
    lacking = [name for name in DRAW_COLUMNS if name not in table.column_names]
    if lacking:
        return [f"lacks the column {lacking[0]}"]
    frame = table.select(["benchmark", "method", "model", "compute_level"]).to_pandas()
    counts = frame.groupby(list(frame.columns), observed=True).size()
    held = {key: int(n) for key, n in counts.items()}
    wanted = {(c.benchmark, c.method, c.model, float(level)) for c in curves for level in c.compute_level}
    reasons = []
    if set(held) != wanted:
        odd = sorted(map(str, set(held) ^ wanted))[0]
        reasons.append(f"has other rows than the curve file: {odd}")
    if len(set(held.values())) > 1:
        reasons.append("has more draws of some rows than of others")
    return reasons


def _check_provenance(provenance: Path, path: Path, curves: Sequence[QualityCurve]) -> list[str]:
    try:
        written = json.loads(provenance.read_text(encoding="utf-8"))["written"]
        hashes = [("curves_sha256", path), ("draws_sha256", companions(path)[0])]
        return [
            f"was written for another {file.name}: its hash differs"
            for name, file in hashes
            if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() != written[name]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return ["is not a provenance file"]

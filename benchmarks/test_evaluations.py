"""From raw evaluations to curves at the size of a real benchmark, on synthetic runs (economy/synthetic)."""

import json
import math
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plain_evaluations as plain
from benchmarks.conftest import Figures, number, seconds
from benchmarks.markets import ROOT
from benchmarks.process_tree import run_and_watch
from market_sim.economy.quality import bundled_curves, read_curves
from market_sim.economy.synthetic.law import PREFIX, laws_of
from market_sim.economy.synthetic.runs import write_runs
from market_sim.experiments.curves import build_curves

COMMAND = str(Path(sys.executable).with_name("market-sim"))

LEVELS, BINS = (1, 4, 8, 16, 32, 64), 5
METHODS = ("majority_voting", "best_of_n", "reasoning_effort")
N_QUESTIONS, N_SAMPLES, DRAWS = 1319, 128, 1000
TOKEN_LIMIT = 512

CHARACTERS_PER_TOKEN = 4
"""Length of the made-up answers: English text has about four characters a token."""

PLAIN_QUESTIONS, PLAIN_DRAWS = 6, 3
"""What the plain reference does of it; its times are scaled up."""

MODELS = tuple(c.model for c in bundled_curves() if (c.benchmark, c.method) == ("GSM8K", "majority_voting"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("synthetic-runs")


def write_all(folder: Path) -> list[Path]:
    return list(
        write_runs(
            laws_of("GSM8K", MODELS),
            folder,
            n_questions=N_QUESTIONS,
            n_samples=N_SAMPLES,
            seed=1,
            token_form="thinking_and_total",
            characters_per_token=CHARACTERS_PER_TOKEN,
        )
    )


def test_synthetic_runs_of_a_whole_benchmark_are_written(figures: Figures, folder: Path) -> None:
    paths = figures.time(lambda: write_all(folder), rounds=1, warmup=0)
    size = sum(path.stat().st_size for path in paths)
    figures.write(
        f"synthetic runs written, {len(paths)} models x {N_QUESTIONS:,} questions x {N_SAMPLES} samples, "
        f"{size / 2**30:.2f} GiB",
        target_s=60.0,
    )


def test_curves_of_a_whole_benchmark(figures: Figures, folder: Path) -> None:
    """Reading, three curves a model, 1,000 bootstrap draws, writing: the command as a whole process."""
    if not any(folder.iterdir()):
        write_all(folder)
    out = folder.parent / "built" / "curves.csv"
    command = [COMMAND, "curves", "build", str(folder), "--benchmark", "GSM8K", "--draws", str(DRAWS)]
    command += [part for method in METHODS for part in ("--method", method)]
    command += ["--levels", ",".join(map(str, LEVELS)), "--bins", str(BINS), "--workers", "2"]
    peaks, processor = [], []

    def build() -> dict:
        before = processor_seconds()
        printed, peak = run_and_watch([*command, "--out", str(out), "--json"], ROOT)
        processor.append(processor_seconds() - before)
        peaks.append(peak)
        return json.loads(printed)

    figures.time(build, rounds=3, warmup=0)
    check_against_bundled(out)
    plain_s = plain_seconds(folder)
    figures.write(
        f"market-sim curves build, {len(MODELS)} models x {N_QUESTIONS:,} x {N_SAMPLES}, 3 curves each, "
        f"{DRAWS:,} draws, whole process, 2 workers",
        target_s=60.0,
        reference=f"50 random subsets a level, loops over {PLAIN_QUESTIONS} questions, scaled up: {{}}",
        reference_s=plain_s,
    )
    figures.write_amounts(
        "  processor time of all its processes (a shared machine slows the clock, not this)",
        amounts=processor,
        target=120.0,
        show=seconds,
        reference="",
        ratio=f"{plain_s / min(processor):,.3g}",
    )
    figures.write_amounts(
        "  peak memory of the process tree",
        amounts=peaks,
        target=2.0,
        show=number("GiB"),
        reference=f"the files: {sum(p.stat().st_size for p in folder.iterdir()) / 2**30:.2f} GiB",
        ratio="",
    )


def processor_seconds() -> float:
    """Of all processes that this one started and that have ended, with theirs."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def check_against_bundled(path: Path) -> None:
    """The curves are the published ones, but for the fit (0.008) and for there being 1,319 questions."""
    published = {(c.method, PREFIX + c.model): c for c in bundled_curves() if c.benchmark == "GSM8K"}
    compared = 0
    for curve in read_curves(path):
        if curve.method != "reasoning_effort":
            want = published[curve.method, curve.model].accuracy
            error = np.sqrt(want * (1 - want) / N_QUESTIONS)
            assert (np.abs(curve.accuracy - want) < 0.008 + 4 * error).all(), (curve.method, curve.model)
            compared += 1
    assert compared == 2 * len(MODELS)


def plain_seconds(folder: Path) -> float:
    """Processor seconds the plain way would take for all of it, from a few questions of every model; its
    numbers are those of the package, but for its random subsets."""
    random.seed(1)
    spent = 0.0
    for path in sorted(folder.iterdir()):
        few = folder.parent / "few" / path.name
        few.parent.mkdir(exist_ok=True)
        with path.open(encoding="utf-8") as file:
            few.write_text("".join(next(file) for _ in range(PLAIN_QUESTIONS)), encoding="utf-8")
        start = time.process_time()
        questions = plain.read(few, PLAIN_QUESTIONS)
        votes = [plain.by_subsets(question, LEVELS, plain.vote) for question in questions]
        bests = [plain.by_subsets(question, LEVELS, plain.best) for question in questions]
        efforts = [plain.effort(question, BINS, TOKEN_LIMIT) for question in questions]
        spent += (time.process_time() - start) * N_QUESTIONS / PLAIN_QUESTIONS

        built = build_curves(few, benchmark="GSM8K", methods=METHODS, levels=LEVELS, bins=BINS)
        curves = {curve.method: curve.accuracy for curve in built.curves}
        noise = 4 * math.sqrt(0.25 / (plain.SUBSETS * PLAIN_QUESTIONS))
        np.testing.assert_allclose(np.mean(votes, axis=0), curves["majority_voting"], atol=noise)
        np.testing.assert_allclose(np.mean(bests, axis=0), curves["best_of_n"], atol=noise)
        samples, right, _ = np.sum(efforts, axis=0).T
        np.testing.assert_allclose(right / samples, curves["reasoning_effort"], rtol=1e-12)

        rows = [[*a, *b] for a, b in zip(votes, bests, strict=True)] * (N_QUESTIONS // PLAIN_QUESTIONS)
        start = time.process_time()
        plain.bootstrap(rows, PLAIN_DRAWS)
        spent += (time.process_time() - start) * DRAWS / PLAIN_DRAWS
    return spent

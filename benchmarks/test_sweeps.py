"""Sweeps: agent runs on all cores against single processes side by side, and exact points in one process."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.conftest import Figures, number, seconds
from benchmarks.markets import ROOT, SCENARIO
from benchmarks.test_commands import COMMAND, process
from market_sim.experiments.runner import outlook, sweep
from market_sim.experiments.solve import solve
from market_sim.experiments.sweep import load_sweep

WORKERS = 2
RUNS: dict[str, Any] = {
    "name": "short-runs",
    "scenario": str(SCENARIO),
    "seeds": 100,
    "rounds": 50,
    "axes": {
        "users.count": [500],
        "users.beta": {"from": 300, "to": 30_000, "steps": 5, "scale": "log"},
        "market.margin": {"from": 0.1, "to": 0.4, "steps": 4},
    },
}
"""2,000 agent runs of nine providers, 500 users and 50 rounds."""

ALONE = """
import json, sys, time
from market_sim.experiments.runner import _job
from market_sim.experiments.sweep import load_sweep
from market_sim.experiments.sweep_work import work
sweep = load_sweep(json.loads(sys.argv[1]))
first, last = int(sys.argv[2]), int(sys.argv[3])
jobs = [_job(sweep, list(range(at, min(at + 20, last))), None) for at in range(first, last, 20)]
work(_job(sweep, [0], None))
print("ready", flush=True)
sys.stdin.readline()
began, busy = time.perf_counter(), time.process_time()
for job in jobs:
    work(job)
print(time.perf_counter() - began, time.process_time() - busy)
"""
"""A process that plays its share of the runs with nothing around it: no pool, no folder, no progress."""


def side_by_side(data: dict[str, Any]) -> tuple[float, float]:
    """Seconds that single processes take for all runs, each its share, all at the same time; and those of
    processors, which others at work on the machine disturb less."""
    n = load_sweep(data).n_runs
    alone = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                ALONE,
                json.dumps(data),
                str(k * n // WORKERS),
                str((k + 1) * n // WORKERS),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for k in range(WORKERS)
    ]
    for each in alone:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in alone:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    took = [[float(word) for word in each.communicate()[0].split()] for each in alone]
    return max(wall for wall, _ in took), sum(busy for _, busy in took)


def test_two_thousand_short_agent_runs(figures: Figures, tmp_path: Path) -> None:
    """Both halves of the machine's mood are met by both: single processes before and after the sweep."""
    before, busy_before = side_by_side(RUNS)
    result = figures.time(lambda: sweep(RUNS, workers=WORKERS, out=tmp_path), rounds=1, warmup=0)
    after, busy_after = side_by_side(RUNS)
    plain = (before + after) / 2
    assert (result.done, result.failed, result.complete) == (2000, 0, True)
    (took,) = figures.benchmark.stats.stats.data
    figures.write_amounts(
        "local sweep of 2,000 runs, 500 users x 50 rounds, workers started and table written: s per 50 runs",
        amounts=[took / result.done * 50],
        target=1.0,
        show=seconds,
        reference=f"{WORKERS} single processes side by side: {result.done / plain:.3g} runs/s",
        ratio=f"{plain / took:.3g}",
    )
    figures.write_amounts(
        "  the same as runs a second (more is better)",
        amounts=[result.done / took],
        target=math.nan,
        show=number("runs/s"),
        reference=f"{result.done / plain:.3g} runs/s",
        ratio=f"{plain / took:.3g}",
    )
    figures.write_amounts(
        "  processor time of a run in those single processes",
        amounts=[each / result.done for each in (busy_before, busy_after)],
        target=WORKERS / 50,
        show=seconds,
        reference="none",
        ratio="",
    )


def test_the_papers_points_from_the_command_line(figures: Figures, tmp_path: Path) -> None:
    file, turn = ROOT / "runs" / "sweeps" / "paper.toml", iter(range(100))

    def command() -> Any:
        return process(COMMAND, "sweep", str(file), "--out", str(tmp_path / str(next(turn))), "--json")

    answer = figures.time(command, rounds=5)
    assert json.loads(answer.stdout)["done"] == 900
    figures.write("market-sim sweep, 100 betas x 9 settings solved, whole process", target_s=2.0)


def test_what_an_exact_point_costs_beside_its_solution(figures: Figures, tmp_path: Path) -> None:
    """Every point another market: checked, made, solved and written, less the solving by itself."""
    data = {
        "name": "points",
        "kind": "solve",
        "scenario": str(SCENARIO),
        "axes": {"market.margin": {"from": 0.05, "to": 1, "steps": 1000}},
    }
    turn = iter(range(100))
    result = figures.time(lambda: sweep(data, out=tmp_path / str(next(turn))), rounds=5)
    assert result.done == 1000
    clock = time.perf_counter()
    solve(SCENARIO, beta=[1000.0] * 1000)
    plain_s = time.perf_counter() - clock
    figures.write(
        "an exact point of 1,000 markets, all in all",
        target_s=1e-3,
        per=1000,
        shown_per=1000,
        reference="1,000 rationalities of one market by solve: {}",
        reference_s=plain_s,
        reference_per=1000,
    )


def test_an_estimate_is_near_what_a_sweep_takes(figures: Figures, tmp_path: Path) -> None:
    data = RUNS | {"seeds": 10}
    expected = outlook(data, workers=1, out=tmp_path).seconds
    sweep_s = figures.plain(lambda: sweep(data, workers=1, out=tmp_path))[1]
    figures.time(lambda: outlook(data, workers=1, out=tmp_path), rounds=1, warmup=0)
    figures.write_amounts(
        "market-sim sweep --dry-run: its estimate over the time taken (200 runs)",
        amounts=[expected / sweep_s],
        target=math.nan,
        show=number(""),
        reference="none",
        ratio="",
    )

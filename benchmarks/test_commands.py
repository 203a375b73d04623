"""Commands as whole processes, started cold."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.conftest import Figures
from benchmarks.markets import ROOT, SCENARIO
from benchmarks.test_rounds import PLAIN_ROUNDS, ROUNDS, USERS, in_rounds, plain_users
from market_sim.experiments.run import run
from market_sim.experiments.solve import solve

COMMAND = str(Path(sys.executable).with_name("market-sim"))

WITH_MESA = "import mesa; from market_sim.cli import main; main()"
"""The command in a house where every module imports everything at the top."""

WITHOUT_MESA = """
import sys
from market_sim.cli import main
try:
    main()
finally:
    print("mesa" in sys.modules, file=sys.stderr)
"""


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)


def test_solve_from_a_cold_start(figures: Figures) -> None:
    arguments = ("solve", str(SCENARIO), "--json")
    answer = figures.time(lambda: process(COMMAND, *arguments), rounds=9)
    slow, plain_s = figures.plain(lambda: process(sys.executable, "-c", WITH_MESA, *arguments), rounds=3)
    assert json.loads(answer.stdout)["results"] == json.loads(slow.stdout)["results"]
    assert json.loads(answer.stdout)["results"] == json.loads(
        json.dumps([s.to_dict() for s in solve(SCENARIO)])
    )
    assert process(sys.executable, "-c", WITHOUT_MESA, *arguments).stderr.strip() == "False"
    figures.write(
        "market-sim solve, whole process (mesa not imported: checked)",
        target_s=1.0,
        reference="the same with mesa imported: {}",
        reference_s=plain_s,
    )


def test_run_as_a_whole_process(figures: Figures, tmp_path: Path) -> None:
    arguments = ("run", str(SCENARIO), "--out", str(tmp_path), "--force", "--json")
    answer = json.loads(figures.time(lambda: process(COMMAND, *arguments), rounds=3, warmup=0).stdout)
    assert answer["rounds"] == ROUNDS
    assert answer["means"]["welfare_usd"] == run(SCENARIO).mean("welfare_usd")

    model = plain_users()
    _, plain_s = figures.plain(in_rounds(model.play_posted))
    figures.write(
        f"market-sim run, {USERS:,} users x {ROUNDS} rounds, whole process",
        target_s=2.0,
        per=ROUNDS,
        reference=f"Mesa, {USERS:,} user agents, {PLAIN_ROUNDS} rounds: {{}}",
        reference_s=plain_s,
        reference_per=PLAIN_ROUNDS,
    )


def test_reproduce_as_a_whole_process(figures: Figures, tmp_path: Path) -> None:
    arguments = ("reproduce", "--out", str(tmp_path), "--json")
    answer = figures.time(lambda: process(COMMAND, *arguments), rounds=1, warmup=0)
    assert json.loads(answer.stdout)["ok"]
    assert any(tmp_path.glob("*.png"))
    figures.write("market-sim reproduce, every table and figure of the paper, whole process", target_s=60.0)

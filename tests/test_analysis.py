"""The analysis scripts, as a person starts them: each prints its number and leaves one figure."""

import subprocess
import sys
from pathlib import Path

import pytest

from market_sim.experiments.compare import compare

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "name": "small",
    "rounds": 40,
    "market": {"benchmark": "AIME", "method": "reasoning_effort"},
    "users": {"count": 50},
}


def script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "analysis" / f"{name}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_welfare_by_regime_pairs_runs_of_the_same_seed(tmp_path):
    gains = []
    for seed in (1, 2):
        result = compare(SMALL, seed=seed, out=tmp_path / "runs")
        market, auction = result.measures
        gains.append(1000 * (auction.welfare_usd - market.welfare_usd))
    done = script("welfare_by_regime", tmp_path / "runs", "--out", tmp_path / "figures")
    assert (done.returncode, done.stderr) == (0, "")
    line = next(line for line in done.stdout.splitlines() if "second_price_auction (2 seeds)" in line)
    mean = sum(gains) / 2
    assert f"{abs(mean):.3f} +- " in line
    assert ("more" if mean > 0 else "less") in line
    # Student's t with one degree of freedom on the two paired differences.
    assert f"+- {12.7062 * abs(gains[0] - gains[1]) / 2:.3f}" in line
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == [
        "welfare_by_regime.png",
        "welfare_by_regime.svg",
    ]


def test_what_misinformation_costs_says_so_for_every_network_and_draws_it(tmp_path):
    done = script(
        "what_misinformation_costs", "--seeds", "2", "--rounds", "12", "--users", "40", "--out", tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if "hearing" in line]
    assert len(lines) == 3 * 6
    for beta in ("200", "1,000", "5,000"):
        assert sum(f"beta = {beta:>5}" in line for line in lines) == 6
    # In the first rounds everybody buys anywhere: careful users lose most by it.
    lost = [float(line.split(":")[1].split("+-")[0]) for line in lines]
    assert min(lost[12:]) > max(lost[:6]) > 0
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".png", ".svg"]


def test_welfare_by_regime_without_runs_says_how_to_make_some(tmp_path):
    done = script("welfare_by_regime", tmp_path)
    assert done.returncode == 2
    assert "has no complete run; make one with: market-sim compare" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "who_gains_from_the_auction",
            [
                "worse off in 1 of 9 at beta = 200, 2 of 9 at beta = 1,000, 7 of 9 at beta = 100,000",
                "dearer in 3 of 9 at beta = 200, 4 of 9 at beta = 1,000, 5 of 9 at beta = 100,000",
                "worse off in 9 of 9 at beta = 200, 9 of 9 at beta = 1,000, 7 of 9 at beta = 100,000",
            ],
        ),
        ("inefficiency_by_rationality", ["two equilibria at beta = 1,352 to 1,400, 3,332 to 3,458"]),
    ],
)
def test_a_claim_is_printed_with_its_figure(tmp_path, name, says):
    done = script(name, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for sentence in says:
        assert sentence in done.stdout
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg"}


def test_how_sure_are_the_winners_says_it_for_every_setting_and_draws_it(tmp_path):
    done = script("how_sure_are_the_winners", "--draws", "60", "--seed", "3", "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    winners = [line for line in lines if " won by " in line]
    assert len(winners) == 9
    # With no spread at the winner's level and the second far behind, nothing is open (docs/theory.md 8.4).
    assert "won by R1-D-Qwen-7B in 100 % of draws; second R1-D-Qwen-1.5B in 100 %" in winners[5]
    rows = [line for line in lines if "[" in line]
    assert len(rows) == 27
    for row in rows:
        numbers = [
            float(part) for part in row[32:].replace("[", " ").replace("]", " ").replace(",", " ").split()[:6]
        ]
        assert numbers[1] <= numbers[2]
        assert numbers[4] <= numbers[5]
        assert row.endswith("open") == (numbers[4] <= 0 <= numbers[5])
    assert sum(row.endswith("market") for row in rows) >= 3
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg"}


def test_how_sure_are_the_winners_refuses_too_few_draws(tmp_path):
    done = script("how_sure_are_the_winners", "--draws", "10", "--out", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())

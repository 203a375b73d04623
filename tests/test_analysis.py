"""The analysis scripts, as a person starts them: each prints its number and leaves one figure."""

import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w

from market_sim.errors import InputError
from market_sim.experiments.claims.anarchy import price_of_anarchy_of_sweep
from market_sim.experiments.claims.coverage import counts, coverage, paper_setting
from market_sim.experiments.claims.ends import ends_of_sweep
from market_sim.experiments.claims.gains import gains_of_folder, gains_of_sweep
from market_sim.experiments.claims.learnt import learnt_of_sweep
from market_sim.experiments.claims.margins import margins_of_sweep
from market_sim.experiments.claims.misinformation import losses_of_sweep
from market_sim.experiments.claims.scaling import scaling, scaling_of_sweep
from market_sim.experiments.claims.sensitivity import sensitivity_of_sweep, sensitivity_to_network
from market_sim.experiments.claims.speed import arrival_round, speed, speed_of_sweep, turns_of
from market_sim.experiments.claims.welfare import welfare_by_regime
from market_sim.experiments.compare import compare
from market_sim.experiments.convergence import Game
from market_sim.experiments.designs import sampled
from market_sim.experiments.run import run
from market_sim.experiments.runner import sweep
from market_sim.experiments.sweep import load_sweep
from market_sim.experiments.sweep_table import SweepTable, read_rounds, read_sweep

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "name": "small",
    "rounds": 40,
    "market": {"benchmark": "AIME", "method": "reasoning_effort"},
    "users": {"count": 50},
}


def script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "analysis" / f"{name}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


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


def test_welfare_by_regime_of_a_sweep_is_averaged_over_its_axes_but_rationality(
    tmp_path, monkeypatch, capsys
):
    axes = {
        "regime.kind": ["second_price_auction", "pay_per_compute"],
        "users.beta": [200, 1000, 5000],
        "market.margin": [0.1, 1.0],
    }
    folder = swept(tmp_path / "runs", seeds=3, rounds=20, axes=axes)
    table = read_sweep(folder)
    found = welfare_by_regime(table)
    assert [(one.beta, one.regime, one.seeds) for one in found] == [
        (beta, regime, 3) for beta in axes["users.beta"] for regime in axes["regime.kind"]
    ]
    rows = (
        table.ok[table.ok["users.beta"] == 5000].groupby(["regime.kind", "replicate"])["welfare_usd"].mean()
    )
    gain = rows["second_price_auction"] - rows["pay_per_compute"]
    assert found[4].gain.mean == pytest.approx(gain.mean())
    assert found[4].gain.half_width == pytest.approx(4.30265 * gain.sem(), rel=1e-5)  # Student's t
    assert found[4].adjusted_p >= found[4].gain.p_value
    assert found[5].gain is None
    assert found[5].welfare_usd == pytest.approx(rows["pay_per_compute"].mean())
    asked = (folder, "--out", tmp_path / "figures")
    text = told("welfare_by_regime", *asked, monkeypatch=monkeypatch, capsys=capsys)
    assert text.count("(Holm, 3 tests)") == 3
    assert pictures(tmp_path / "figures", "welfare_by_regime")


def lines_after(text: str, heading: str) -> list[str]:
    """The lines that follow the one which begins so."""
    lines = text.splitlines()
    return lines[1 + next(i for i, line in enumerate(lines) if line.strip().startswith(heading)) :]


def test_convergence_by_rule_tells_who_settles_where_from_who_does_not(tmp_path):
    small = ("--rules", "best_reply,exp3", "--seeds", "2", "--rounds", "40", "--out", tmp_path)
    done = script("convergence_by_rule", *small)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line for line in done.stdout.splitlines() if line.startswith(("GSM8K", "AIME", "GPQA"))]
    assert len(rows) == (9 + 5 * 2) * 2
    for line in rows:
        settled, neither = line[55:].split(" %")[0], line[55:].split(" %")[2]
        assert (settled.strip(), neither.strip()) == (("100", "0") if "best_reply" in line else ("0", "100"))
        assert line.endswith("none of 1" if "exp3" in line else "1 (100 %) of 1") or line in rows[9 * 2 :]
    assert any(line.endswith("inf  1 (50 %), 2 (50 %) of 2") for line in rows[9 * 2 :])
    assert "In an equilibrium with every seed in every market: best_reply.\n" in done.stdout
    assert "Settled in one in no run: exp3.\n" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        "convergence_by_rule.png",
        "convergence_by_rule.svg",
    }


def test_what_learners_find_measures_every_regime_against_the_truth(tmp_path):
    small = ("--rules", "best_reply", "--seeds", "1", "--rounds", "16", "--out", tmp_path)
    done = script("what_learners_find", *small)
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    for heading in ("pay_per_compute", "flat_price", "first_price", "second_price", "planner"):
        rows = lines_after(text, heading)[:9]
        assert [row.split()[0] for row in rows] == ["GSM8K"] * 3 + ["AIME"] * 3 + ["GPQA"] * 3
        if heading == "second_price":  # they start at the truth and find nothing better
            assert all(row.split("best_reply")[1].split()[:3] == ["100.0"] * 3 for row in rows)
    assert "above one in 9 of 9 pairs of rule and market." in text
    assert "above the truth is 0.000000 USD per 1,000 queries." in text
    (free,) = [line for line in text.splitlines() if line.startswith("    GSM8K majority voting ")]
    assert (
        "Qwen2.5-7B    any bid up to  2.1 times its cost ( 2.2 % ahead):  4 of 154 bids, shares from" in free
    )
    assert {path.name for path in tmp_path.iterdir()} == {"what_learners_find.png", "what_learners_find.svg"}


def test_what_restores_users_value_tries_every_remedy_in_every_market_and_in_the_mix(tmp_path):
    small = ("--methods", "reasoning_effort", "--seeds", "2", "--rounds", "12", "--out", tmp_path)
    done = script("what_restores_users_value", *small)
    assert (done.returncode, done.stderr) == (0, "")
    told = [line for line in done.stdout.splitlines() if "reasoning effort   " in line]
    assert sum("all three" in line for line in told) == 2
    assert len(told) == 9 * 3 + 2
    means = [line for line in done.stdout.splitlines() if "users keep" in line and "welfare" in line]
    assert len(means) == 1 + 11
    (mix,) = [line for line in done.stdout.splitlines() if "different winners" in line]
    assert mix.startswith("  reasoning effort  1 different winners: apart ")
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg"}


def told(name: str, *arguments: str | Path, monkeypatch, capsys) -> str:
    """What a script prints, called in this process, which is faster."""
    path = str(ROOT / "analysis" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
    runpy.run_path(path, run_name="__main__")
    out, err = capsys.readouterr()
    assert err == ""
    return out


def pictures(folder: Path, name: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == [f"{name}.png", f"{name}.svg"]


def test_welfare_over_rationality_plays_what_is_missing_and_corrects_its_tests(tmp_path, monkeypatch, capsys):
    small = ("--play", tmp_path / "small.toml", "--betas", "200,1000,50000", "--seeds", "3")
    (tmp_path / "small.toml").write_text(tomli_w.dumps(SMALL | {"rounds": 12}))
    here = (tmp_path / "runs", *small, "--out", tmp_path / "figures")
    text = told("welfare_by_regime", *here, monkeypatch=monkeypatch, capsys=capsys)
    rows = [line for line in text.splitlines() if "second_price_auction (3 seeds)" in line]
    assert len(rows) == 3
    assert all(row.endswith("(Holm, 3 tests)") for row in rows)
    assert pictures(tmp_path / "figures", "welfare_by_regime")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.parquet")}
    assert len(before) == 2 * 3 * 2 * 3
    assert told("welfare_by_regime", *here, monkeypatch=monkeypatch, capsys=capsys) == text
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.parquet")} == before


def test_price_of_anarchy_is_that_of_the_worst_equilibrium_with_an_interval(tmp_path, monkeypatch, capsys):
    small = ("--benchmarks", "AIME", "--draws", "40", "--out", tmp_path)
    text = told("price_of_anarchy", *small, monkeypatch=monkeypatch, capsys=capsys)
    rows = [line for line in text.splitlines() if line.startswith("AIME")]
    assert len(rows) == 3
    for row in rows:
        numbers = [float(number) for number in re.findall(r"\d+\.\d{3}", row)]
        worst, best = numbers[:3], numbers[3:6]
        assert worst[1] <= worst[0] <= worst[2]
        assert all(w >= b >= 1 for w, b in zip(worst, best, strict=True))
    # AIME best-of-n has two equilibria at beta = 2060 (docs/theory.md 2.4), not worth the same.
    assert float(re.findall(r"\d+\.\d{3}", rows[1])[6]) > 0.1
    assert pictures(tmp_path, "price_of_anarchy")


def test_what_margins_do_keeps_both_readings_apart(tmp_path, monkeypatch, capsys):
    small = ("--benchmarks", "GSM8K", "--draws", "40", "--out", tmp_path)
    text = told("what_margins_do", *small, monkeypatch=monkeypatch, capsys=capsys)
    rows = [line for line in text.splitlines() if "reasoning effort" in line]
    ends = [[float(n) for n in re.findall(r"-?\d+\.\d+(?= \()", row)] for row in rows]
    standing, rising = ends[1], ends[3]  # what users keep while list prices stand, while cost stands
    assert standing[0] == standing[1] == standing[2]
    assert rising[0] > rising[1] > rising[2]
    assert text.count("At a margin of 65.00") == 2
    assert pictures(tmp_path, "what_margins_do")


def test_what_more_providers_change_is_said_seed_by_seed(tmp_path, monkeypatch, capsys):
    small = ("--most", "30", "--seeds", "4", "--out", tmp_path)
    text = told("what_more_providers_change", *small, monkeypatch=monkeypatch, capsys=capsys)
    few, many = scaling([30, 2], seeds=range(4))
    row = next(line for line in text.splitlines() if line.lstrip().startswith("30 "))
    assert row.split()[1] == f"{100 * many.measures['inefficiency'].mean:.1f}"
    change = many.changes["inefficiency"]
    assert (change.n, change.mean) == (
        4,
        pytest.approx(many.measures["inefficiency"].mean - few.measures["inefficiency"].mean),
    )
    assert f"inefficiency changes by {100 * change.mean:+.1f} +- {100 * change.half_width:.1f} points" in text
    assert few.changes == {}
    assert pictures(tmp_path, "what_more_providers_change")


def test_what_more_providers_change_reads_a_sweep(tmp_path, monkeypatch, capsys):
    axes = {"market.generated.providers": [5, 2], "users.beta": [1000, 5000]}
    made = {"name": "made", "kind": "solve", "seeds": 3, "base": {"users": {}}, "axes": axes}
    folder = sweep(made, out=tmp_path / "runs").folder
    table = read_sweep(folder)
    few, many = scaling_of_sweep(table)
    assert (few.count, many.count) == (2, 5)
    rows = table.ok.set_index("market.generated.providers").loc[5]
    kept = (rows["worst_user_value"] / rows["auction_welfare"]).groupby(rows["replicate"]).mean()
    assert many.measures["user value"].mean == pytest.approx(kept.mean())
    assert many.measures["user value"].half_width == pytest.approx(4.30265 * kept.sem(), rel=1e-5)
    assert many.equilibria == (rows["equilibria"].min(), rows["equilibria"].max())
    asked = (folder, "--out", tmp_path / "figures")
    text = told("what_more_providers_change", *asked, monkeypatch=monkeypatch, capsys=capsys)
    assert "From 2 to 5 providers" in text
    assert pictures(tmp_path / "figures", "what_more_providers_change")


def test_what_welfare_depends_on_has_sobol_and_morris_of_every_factor(tmp_path, monkeypatch, capsys):
    small = ("--benchmarks", "AIME", "--points", "64", "--trajectories", "4", "--out", tmp_path)
    text = told("what_welfare_depends_on", *small, monkeypatch=monkeypatch, capsys=capsys)
    for factor in ("margin", "value", "rationality", "prices"):
        rows = [line for line in text.splitlines() if line.startswith(f"    {factor} ")]
        assert len(rows) == 3 * 2
        assert all("total" in row and "mu*" in row for row in rows)
    assert "What welfare depends on most, of 3 markets: value in 3." in text
    assert pictures(tmp_path, "what_welfare_depends_on")


def designed(folder: Path, fractions: np.ndarray, y: np.ndarray, **design: object) -> SweepTable:
    """A sweep over as many ranges as columns, in which y came out."""
    axes = {
        f"x.{name}": {"from": 1.0, "to": 100.0, "scale": "log"}
        for name, _ in zip("abcdef", fractions.T, strict=False)
    }
    about = {"name": "made", "kind": "run", "axes": axes, "design": design}
    (folder / "sweep.toml").write_text(tomli_w.dumps(about))
    columns = dict(zip(axes, (100.0**fractions).T, strict=True))
    ids = {"point": range(len(y)), "replicate": 0, "status": "ok", "error": None}
    pd.DataFrame(ids | columns | {"inefficiency": y}).to_parquet(folder / "table.parquet")
    return read_sweep(folder)


def test_sensitivity_of_a_sweep_finds_the_factors_that_made_it(tmp_path):
    """y = 4 a + b + 0 c over a Sobol design: indices 16/17, 1/17 and 0."""
    fractions = sampled("sobol", 3, 1024, 1, order=1, levels=4)
    table = designed(tmp_path, fractions, 4 * fractions[:, 0] + fractions[:, 1], kind="sobol", points=1024)
    (found,) = sensitivity_of_sweep(table, ["inefficiency"])
    assert found.factors == ("x.a", "x.b", "x.c")
    assert found.first == pytest.approx([16 / 17, 1 / 17, 0], abs=0.03)
    assert found.total == pytest.approx([16 / 17, 1 / 17, 0], abs=0.03)
    assert found.pairs(5) == []
    (again,) = sensitivity_of_sweep(table, ["inefficiency"])
    assert (again.total_half_width == found.total_half_width).all()


@pytest.mark.parametrize("dimensions", [2, 3, 6])
def test_a_design_of_second_order_gives_what_pairs_of_factors_do_together(tmp_path, dimensions):
    """y = (a - 1/2) (b - 1/2) + (b - 1/2) / 4: the pair explains 4/7 of the variance, b alone 3/7."""
    fractions = sampled("sobol", dimensions, 1024, 1, order=2, levels=4)
    a, b = fractions[:, 0] - 0.5, fractions[:, 1] - 0.5
    table = designed(tmp_path, fractions, a * b + b / 4, kind="sobol", points=1024, order=2)
    (found,) = sensitivity_of_sweep(table, ["inefficiency"])
    nothing = [0.0] * (dimensions - 2)
    assert found.first == pytest.approx([0, 3 / 7, *nothing], abs=0.05)
    assert found.total == pytest.approx([4 / 7, 1, *nothing], abs=0.05)
    first, second, index, half_width = found.pairs(5)[0]
    assert (first, second, index) == ("x.a", "x.b", pytest.approx(4 / 7, abs=0.1))
    assert 0 < half_width < 0.2
    script = runpy.run_path(str(ROOT / "analysis" / "what_welfare_depends_on.py"))
    told = script["in_words"]([found])
    assert sum("second order" in line for line in told) == min(5, dimensions * (dimensions - 1) // 2)
    assert f"    x.a with x.b: second order {index:.2f} +- {half_width:.2f}" in told


@pytest.mark.parametrize("levels", [4, 6, 8])
def test_morris_effects_of_a_sweep_are_those_of_its_own_grid(tmp_path, levels):
    """y = 3 a + b: a step over a whole range moves it by 3 and 1, whatever the grid."""
    fractions = sampled("morris", 2, 8, 1, order=1, levels=levels)
    y = 3 * fractions[:, 0] + fractions[:, 1]
    (found,) = sensitivity_of_sweep(
        designed(tmp_path, fractions, y, kind="morris", points=8, levels=levels), ["inefficiency"]
    )
    assert found.mu_star == pytest.approx([3, 1])
    assert found.sigma == pytest.approx([0, 0], abs=1e-9)


def test_indices_are_of_each_value_of_the_lists_that_a_design_is_crossed_with(tmp_path):
    """y = a under one regime and y = b under the other."""
    fractions = sampled("sobol", 2, 256, 1, order=1, levels=4)
    table = designed(tmp_path, fractions, fractions[:, 0], kind="sobol", points=256)
    other = table.frame.assign(point=table.frame["point"] + len(fractions), inefficiency=fractions[:, 1])
    both = pd.concat([table.frame.assign(regime="flat_price"), other.assign(regime="pay_per_compute")])
    crossed = replace(table, frame=both, axes=("regime", *table.axes))
    flat, market = sensitivity_of_sweep(crossed, ["inefficiency"])
    assert (flat.about, market.about) == ("made, flat price", "made, pay per compute")
    assert flat.total == pytest.approx([1, 0], abs=0.05)
    assert market.total == pytest.approx([0, 1], abs=0.05)


def test_indices_need_every_point_of_the_design(tmp_path):
    fractions = sampled("sobol", 2, 8, 1, order=1, levels=4)[:-1]
    table = designed(tmp_path, fractions, fractions[:, 0], kind="sobol", points=8)
    with pytest.raises(InputError, match="made: has 31 points, and its sobol design over 2 ranges has 32"):
        sensitivity_of_sweep(table, ["inefficiency"])


def test_whom_users_hear_from_matters_where_they_learn():
    found = sensitivity_to_network(trajectories=2, users=40, rounds=8)
    assert found.points == 2 * (5 + 1)
    assert (found.mu_star >= 0).all()
    assert found.mu_star.max() > 0


def test_how_fast_rules_arrive_says_it_in_rounds_and_revisions():
    game = Game(benchmark="GSM8K", method="majority_voting", beta=1000.0)
    better, hedge, fixed = (speed(game, rule, 2, 60) for rule in ("better_reply", "hedge", "fixed"))
    assert (better.revisions == better.rounds / 9).all()
    assert (hedge.revisions == hedge.rounds).all()
    assert (fixed.rounds == 0).all()
    script = runpy.run_path(str(ROOT / "analysis" / "how_fast_rules_arrive.py"))
    assert len(script["in_words"]([better, hedge])) == 3
    assert script["speed_figure"]([better, hedge], 1000.0, 60).get_suptitle().count("after") == 2


@pytest.mark.parametrize(
    ("welfare", "window", "arrived"),
    [
        ([1.0, 1.0, 1.0, 1.0], 1, 0),
        ([0.0, 0.5, 0.95, 1.0, 1.0, 1.0, 1.0, 1.0], 1, 2),
        ([0.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0], 1, 3),  # passing by is not arriving
        ([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 2, 2),
    ],
)
def test_a_run_has_arrived_when_it_stays(welfare, window, arrived):
    assert arrival_round(np.array(welfare), window) == arrived


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("price_of_anarchy", ("--draws", "10"), "--draws 10 is not allowed; it must be at least 40"),
        ("price_of_anarchy", ("--benchmarks", "AIMEE"), "(did you mean AIME?)"),
        ("what_margins_do", ("--draws", "10"), "--draws 10 is not allowed"),
        ("do_the_intervals_hold", ("--draws", "10"), "--draws 10 is not allowed"),
        ("do_the_intervals_hold", ("--replications", "1"), "--replications 1 is not allowed"),
        ("do_the_intervals_hold", ("--samples", "65"), "it must be from 1 to 64"),
        ("do_the_intervals_hold", ("--benchmarks", "GPQR"), "(did you mean GPQA?)"),
        ("what_margins_do", ("--beta", "-1"), "--beta -1 is not allowed"),
        ("what_more_providers_change", ("--most", "2"), "--most 2 is not allowed"),
        ("what_more_providers_change", ("--seeds", "1"), "--seeds 1 is not allowed"),
        ("what_welfare_depends_on", ("--points", "100"), "--points 100 is not allowed; it must be a power"),
        ("what_welfare_depends_on", ("nowhere",), "nowhere"),
        ("how_fast_rules_arrive", ("--rules", "hegde"), "(did you mean hedge?)"),
        ("how_fast_rules_arrive", ("--rules", "fixed"), "fixed never moves"),
        ("welfare_by_regime", ("--play", "x", "--betas", "many"), "--betas many is not a list of numbers"),
        ("convergence_by_rule", ("--rules", "hegde"), "(did you mean hedge?)"),
        ("convergence_by_rule", ("--rules", "hedge", "--seeds", "0"), "--seeds 0 is not allowed"),
        ("what_learners_find", ("--rules", "hegde"), "(did you mean hedge?)"),
        ("what_learners_find", ("--rules", "hedge", "--rounds", "0"), "--rounds 0 is not allowed"),
        ("what_learners_find", ("--rules", "hedge", "--seeds", "1", "--beta", "-1"), "users.beta = -1.0"),
        ("what_restores_users_value", ("--methods", "reasoning"), "(did you mean reasoning_effort?)"),
        ("what_restores_users_value", ("--rounds", "3"), "--rounds 3 is not allowed"),
    ],
)
def test_a_bad_option_of_a_script_is_one_sentence(tmp_path, monkeypatch, capsys, name, arguments, says):
    path = str(ROOT / "analysis" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, *arguments, "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(path, run_name="__main__")
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


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


def test_do_the_intervals_hold_counts_every_setting_for_both_kinds_of_draws(tmp_path, monkeypatch, capsys):
    small = ("--replications", "2", "--draws", "40", "--samples", "4", "--questions", "60")
    asked = (*small, "--benchmarks", "GPQA", "--out", tmp_path)
    text = told("do_the_intervals_hold", *asked, monkeypatch=monkeypatch, capsys=capsys)
    settings = [
        paper_setting("GPQA", method, most_samples=4, n_questions=60)
        for method in ("majority_voting", "best_of_n", "reasoning_effort")
    ]
    found = coverage(settings, replications=2, draws=40)
    assert [(one.kind, one.beta) for one in found[:6]] == [
        (kind, beta) for kind in ("bootstrap", "parametric") for beta in (200.0, 1000.0, 1e5)
    ]
    for kind in ("bootstrap", "parametric"):
        own = [one for one in found if one.kind == kind]
        held = np.concatenate([one.holds.sum(axis=0) for one in own])
        mean = 100 * held.sum() / (2 * len(held))
        assert f"All together: {mean:.1f} +- " in text
        once = counts(own)
        assert f"(Holm over {len(once)} counts)" in text
        assert len(once) == 3 * (6 * 3 + 3)  # three of nine measures are the same at every beta
    rows = [
        line for line in text.splitlines() if line.startswith("  GPQA majority voting") and "%" not in line
    ]
    cells = [[int(cell) for cell in row[34:].split()] for row in rows]
    assert [len(row) for row in cells] == [9, 6, 6] * 2
    assert cells[0] == (50 * found[0].holds.sum(axis=0)).tolist()
    assert pictures(tmp_path, "do_the_intervals_hold")


def test_how_sure_are_the_winners_refuses_too_few_draws(tmp_path):
    done = script("how_sure_are_the_winners", "--draws", "10", "--out", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


# --- Folders of sweeps ------------------------------------------------------------------------------


def swept(out: Path, base: dict[str, object] | None = None, **about: object) -> Path:
    """The folder of a small sweep that is done here and now."""
    made = {"name": "small", "kind": "run", "base": SMALL | (base or {}), **about}
    return sweep(made, out=out, workers=1 if made["kind"] == "run" else None).folder


@pytest.fixture(scope="module")
def rules_swept(tmp_path_factory):
    axes = {"providers.learning": [{"rule": "best_reply"}, {"rule": "hedge"}, {"rule": "exp3"}]}
    return swept(tmp_path_factory.mktemp("rules"), seeds=3, rounds=40, keep_rounds=True, axes=axes)


def test_speed_by_rule_of_a_sweep_is_that_of_its_rounds(rules_swept):
    table, rounds = read_sweep(rules_swept), read_rounds(rules_swept, ["expected_welfare_usd"])
    best, hedge, exp3 = speed_of_sweep(table, turns_of(rules_swept), rounds)
    by_hand = [
        arrival_round(part.sort_values("round")["expected_welfare_usd"].to_numpy(), window=3)
        for (point, _), part in rounds.groupby(["point", "replicate"])
        if point == 2
    ]
    assert (exp3.rule, exp3.rounds.n, exp3.rounds.mean) == ("exp3", 3, pytest.approx(np.mean(by_hand)))
    assert best.revisions.mean == pytest.approx(best.rounds.mean / 3)  # they move in turns
    assert hedge.revisions == hedge.rounds
    assert best.slower == ()
    assert exp3.slower[0].difference.mean == pytest.approx(exp3.rounds.mean - best.rounds.mean)
    assert all(one.adjusted_p >= one.difference.p_value for one in exp3.slower)
    without = speed_of_sweep(table, turns_of(rules_swept))[2]
    assert without.rounds.mean == table.ok.loc[table.ok["point"] == 2, "warm_up"].mean()


def test_how_fast_rules_arrive_reads_a_sweep(rules_swept, tmp_path, monkeypatch, capsys):
    asked = (rules_swept, "--out", tmp_path)
    text = told("how_fast_rules_arrive", *asked, monkeypatch=monkeypatch, capsys=capsys)
    assert [line.split("  ")[0] for line in text.splitlines()[2:5]] == ["best reply", "hedge", "exp3"]
    assert text.count("(Holm, 4 tests)") == 4
    assert pictures(tmp_path, "how_fast_rules_arrive")


def test_where_rules_end_in_a_sweep_is_what_its_runs_reached(rules_swept):
    table = read_sweep(rules_swept)
    best, hedge, exp3 = ends_of_sweep(table)
    for point, one in enumerate((best, hedge, exp3)):
        rows = table.ok[table.ok["point"] == point]
        runs = [run(load_sweep(rules_swept / "sweep.toml").scenario(point, seed)) for seed in rows["seed"]]
        settled = [each.reached.settled_in for each in runs]
        assert one.ends["in the least equilibrium"].mean == np.mean([number == 1 for number in settled])
        assert one.ends["in a cycle"].mean == np.mean([each.reached.cycle is not None for each in runs])
        assert sum(share.mean for share in one.ends.values()) == pytest.approx(1)
        away = [each.reached.nearest.mean_level_steps for each in runs]
        assert one.measures["equilibrium_steps"].mean == pytest.approx(np.mean(away))
    assert best.ends["in the least equilibrium"].mean == 1.0
    neither = exp3.ends["neither"]
    assert (neither.runs, neither.of, neither.mean, neither.high) == (3, 3, 1.0, 1.0)
    assert neither.low == pytest.approx(0.025 ** (1 / 3))  # three of three is not always
    assert best.better is None
    welfare = table.ok.pivot(index="replicate", columns="point", values="expected_welfare_usd")
    assert exp3.better.difference.mean == pytest.approx((welfare[2] - welfare[0]).mean())
    assert exp3.better.difference.half_width == pytest.approx(
        4.30265 * (welfare[2] - welfare[0]).sem(), rel=1e-5
    )


def test_convergence_by_rule_reads_a_sweep(rules_swept, tmp_path, monkeypatch, capsys):
    asked = (rules_swept, "--out", tmp_path)
    text = told("convergence_by_rule", *asked, monkeypatch=monkeypatch, capsys=capsys)
    (row,) = [line for line in text.splitlines() if line.startswith("exp3  ")]
    assert row.split()[1:16] == ["0.0", "[0,", "71]"] * 4 + ["100.0", "[29,", "100]"]
    assert text.count("(Holm, 2 tests)") == 2
    assert pictures(tmp_path, "convergence_by_rule")


def test_where_rules_end_needs_markets_whose_equilibria_are_known(rules_swept):
    table = read_sweep(rules_swept)
    with pytest.raises(InputError, match="small: no run of it went well in a market whose equilibria are"):
        ends_of_sweep(table.with_frame(table.frame.assign(equilibrium_steps=np.nan)))


def test_what_learners_find_in_a_sweep_is_a_share_of_the_truth_of_the_same_users(
    tmp_path, monkeypatch, capsys
):
    base = {
        "users": {"count": 20, "beta": {"distribution": "choice", "values": [200, 5000], "weights": [1, 1]}}
    }
    settings = [{"providers.auction_learning": {"rule": rule}} for rule in ("truthful", "hedge")]
    about = {
        "axes": {"regime.kind": ["flat_price", "second_price_auction"], "market.margin": [0.1, 1.0]},
        "design": {"kind": "list", "settings": settings},
    }
    folder = swept(tmp_path / "runs", base, seeds=3, rounds=10, **about)
    posted, truth, hedge = learnt_of_sweep(folder)
    assert [(one.regime, one.rule) for one in (posted, truth, hedge)] == [
        ("flat_price", "better reply"),
        ("second_price_auction", "truthful"),
        ("second_price_auction", "hedge"),
    ]
    for share in (truth.welfare, truth.user_value, truth.price):
        assert (share.n, share.mean) == (3, pytest.approx(1, rel=1e-12))
    frame = read_sweep(folder).ok
    rows = frame[frame["regime.kind"] == "second_price_auction"]
    by_rule = {
        rule: own.set_index(["market.margin", "replicate"])["expected_price_usd"]
        for rule, own in rows.groupby("providers.auction_learning")
    }
    shares = (by_rule['{"rule": "hedge"}'] / by_rule['{"rule": "truthful"}']).groupby("replicate").mean()
    assert hedge.price.mean == pytest.approx(shares.mean())
    assert hedge.price.half_width == pytest.approx(4.30265 * shares.sem(), rel=1e-5)  # Student's t
    asked = (folder, "--out", tmp_path / "figures")
    text = told("what_learners_find", *asked, monkeypatch=monkeypatch, capsys=capsys)
    assert [line.split()[0] for line in text.splitlines()[2:5]] == [
        one.regime for one in (posted, truth, hedge)
    ]
    assert pictures(tmp_path / "figures", "what_learners_find")


@pytest.fixture(scope="module")
def learning_users_swept(tmp_path_factory):
    networks = [{"kind": "none"}, {"kind": "complete"}]
    settings = [{"users.information": "full"}]
    settings += [{"users.information": "experience", "users.network": network} for network in networks]
    about = {"axes": {"users.beta": [200, 5000]}, "design": {"kind": "list", "settings": settings}}
    return swept(tmp_path_factory.mktemp("users"), seeds=3, rounds=30, **about)


def test_cost_of_misinformation_in_a_sweep_is_below_informed_users_of_the_same_replicate(
    learning_users_swept,
):
    table = read_sweep(learning_users_swept)
    found = losses_of_sweep(table)
    assert found.axes == ("users.beta",)
    assert [(one.setting, one.value) for one in found.losses] == [
        ((beta,), heard) for beta in (200, 5000) for heard in ("nobody", "everybody")
    ]
    rows = table.ok[table.ok["users.beta"] == 5000]
    full = rows[rows["users.information"] == "full"].set_index("replicate")["expected_welfare_usd"]
    alone = rows[rows["users.network"] == '{"kind": "none"}'].set_index("replicate")["expected_welfare_usd"]
    loss = found.losses[2].difference
    assert loss.n == 3
    assert loss.mean == pytest.approx((full - alone).mean())
    assert loss.half_width == pytest.approx(4.30265 * (full - alone).sem(), rel=1e-5)  # Student's t
    assert found.informed[5000,] == pytest.approx(full.mean())


def test_what_misinformation_costs_reads_a_sweep(learning_users_swept, tmp_path, monkeypatch, capsys):
    asked = (learning_users_swept, "--out", tmp_path)
    text = told("what_misinformation_costs", *asked, monkeypatch=monkeypatch, capsys=capsys)
    assert (
        len(re.findall(r"^β = .*, hearing (?:nobody|everybody): .* p .* \(Holm, 4 tests\)$", text, re.M)) == 4
    )
    assert pictures(tmp_path, "what_misinformation_costs")


def test_cost_of_misinformation_needs_users_who_know(learning_users_swept):
    table = read_sweep(learning_users_swept)
    lost = table.with_frame(table.frame.replace({"users.information": {"full": "as in the base"}}))
    with pytest.raises(InputError, match=r'no point .* has users\.information = "full"'):
        losses_of_sweep(lost)


def test_who_gains_reads_a_sweep_of_regimes_and_pairs_replicates(tmp_path, monkeypatch, capsys):
    axes = {"regime.kind": ["second_price_auction", "pay_per_compute"], "users.beta": [200, 5000]}
    folder = swept(tmp_path / "runs", seeds=3, rounds=20, axes=axes)
    asked = (folder, "--out", tmp_path / "figures")
    text = told("who_gains_from_the_auction", *asked, monkeypatch=monkeypatch, capsys=capsys)
    frame = read_sweep(folder).ok.set_index(["users.beta", "regime.kind", "replicate"]).sort_index()
    auction, market = (frame.loc[5000, regime] for regime in axes["regime.kind"])
    for title, measure in (("users keep", "user_value_usd"), ("users pay", "price_usd")):
        found = 1000 * (auction[measure] - market[measure])
        told_is = f"{title} {found.mean():+.3f} +- {4.30265 * found.sem():.3f}, p "
        assert f"β = 5,000, the second-price auction: {told_is}" in text
    assert text.count("(Holm, 10 tests)") == 10
    assert pictures(tmp_path / "figures", "who_gains_from_the_auction")


def test_who_gains_reads_comparisons_and_keeps_settings_of_one_name_apart(tmp_path):
    for changed in ({}, {"users": {"count": 50, "beta": 5000.0}}):
        for seed in (1, 2):
            compare(SMALL | {"rounds": 12} | changed, seed=seed, out=tmp_path)
    found = gains_of_folder(tmp_path)
    assert (found.name, found.axes) == ("small", ("users.beta",))
    assert {one.setting for one in found.changes} == {(1000.0,), (5000.0,)}
    assert {(one.value, one.against, one.difference.n) for one in found.changes} == {
        ("second_price_auction", "pay_per_compute", 2)
    }
    runs = [
        result.measures for result in (compare(SMALL | {"rounds": 12}, seed=s, out=tmp_path) for s in (1, 2))
    ]
    by_hand = np.mean([auction.user_value_usd - market.user_value_usd for market, auction in runs])
    (own,) = [
        one.difference.mean
        for one in found.changes
        if one.setting == (1000.0,) and one.measure == "user_value_usd"
    ]
    assert own == pytest.approx(by_hand)
    compare(SMALL | {"rounds": 12, "users": {"count": 60}}, seed=1, out=tmp_path)
    numbered = gains_of_folder(tmp_path)
    assert numbered.axes == ("scenario", "users.beta")
    names, betas = zip(*sorted({one.setting for one in numbered.changes}), strict=True)
    assert set(names) == {"small", "small (2)"}
    assert sorted(betas) == [1000.0, 1000.0, 5000.0]


def made_table(betas: list[float]) -> SweepTable:
    """Users keep 1, 2 and 3 USD more in the auction of replicates 0, 1 and 2, whatever beta is."""
    rows = [
        {"regime.kind": regime, "users.beta": beta, "replicate": replicate, "status": "ok"}
        | {"user_value_usd": 10.0 + (replicate + 1.0) * (regime == "second_price_auction")}
        for regime in ("pay_per_compute", "second_price_auction")
        for beta in betas
        for replicate in range(3)
    ]
    axes = ("regime.kind", "users.beta")
    return SweepTable(name="made", kind="run", design="grid", axes=axes, ranges={}, frame=pd.DataFrame(rows))


def test_settings_are_kept_apart_while_each_can_be_shown():
    few = gains_of_sweep(made_table([np.nan, 200.0]))
    assert [one.setting for one in few.changes] == [("as in the base",), (200.0,)]
    many = gains_of_sweep(made_table(np.arange(41.0).tolist()))
    assert (many.axes, [one.setting for one in many.changes]) == ((), [()])
    for one in (*few.changes, *many.changes):
        assert (one.difference.n, one.difference.mean) == (3, pytest.approx(2.0))
        assert one.difference.half_width == pytest.approx(2.48414, rel=1e-5)  # Student's t
    p = few.changes[0].difference.p_value
    assert [one.adjusted_p for one in few.changes] == pytest.approx([2 * p, 2 * p])


def test_nothing_to_compare_with_is_one_sentence():
    table = made_table([200.0])
    without = table.with_frame(table.frame.replace({"regime.kind": {"pay_per_compute": "flat_price"}}))
    with pytest.raises(InputError, match="made: no setting was played under pay_per_compute and another"):
        gains_of_sweep(without)


def test_price_of_anarchy_of_a_sweep_is_the_table_s_with_intervals_over_draws(tmp_path, monkeypatch, capsys):
    axes = {"market.margin": [0.25, 1.0], "users.beta": [5000.0, 200.0]}
    folder = swept(tmp_path / "runs", kind="solve", axes=axes)
    tight, wide = price_of_anarchy_of_sweep(folder, draws=40)
    assert (tight.about, wide.about) == ("margin = 0.25", "margin = 1")
    table = read_sweep(folder).ok.set_index(["market.margin", "users.beta"])["price_of_anarchy"]
    for one, margin in ((tight, 0.25), (wide, 1.0)):
        ratio = one.ratios["price_of_anarchy"]
        assert one.beta.tolist() == [200.0, 5000.0]
        assert ratio.estimate == pytest.approx(table.loc[margin].loc[[200.0, 5000.0]].to_numpy())
        assert (ratio.low < ratio.high).all()
    asked = (folder, "--draws", "40", "--out", tmp_path / "a")
    text = told("price_of_anarchy", *asked, monkeypatch=monkeypatch, capsys=capsys)
    assert sum(line.startswith("AIME  reasoning effort  margin = ") for line in text.splitlines()) == 2
    assert pictures(tmp_path / "a", "price_of_anarchy")


def test_what_margins_do_in_a_sweep_is_the_table_s_with_intervals_over_draws(tmp_path, monkeypatch, capsys):
    axes = {"users.beta": [200.0, 5000.0], "market.margin": {"from": 0.05, "to": 5.0, "steps": 3}}
    folder = swept(tmp_path / "runs", kind="solve", axes=axes)
    found = margins_of_sweep(folder, draws=40)
    assert [(one.beta, one.about, one.holding) for one in found] == [
        (200.0, "β = 200", "price"),
        (5000.0, "β = 5,000", "price"),
    ]
    rows = read_sweep(folder).ok
    for one in found:
        own = rows[rows["users.beta"] == one.beta]
        assert one.measures["inefficiency"].estimate == pytest.approx(own["inefficiency"].to_numpy())
        assert one.measures["auction.user_value"].estimate == pytest.approx(
            own["auction_user_value"].to_numpy()
        )
        assert (one.measures["inefficiency"].low < one.measures["inefficiency"].high).all()
    asked = (folder, "--draws", "40", "--out", tmp_path / "a")
    text = told("what_margins_do", *asked, monkeypatch=monkeypatch, capsys=capsys)
    assert text.count("AIME  reasoning effort, β = 5,000 ") == 2
    assert "Cost stands" not in text
    assert "of 2 settings" in text
    assert pictures(tmp_path / "a", "what_margins_do")


@pytest.mark.parametrize(
    ("name", "wants"),
    [
        ("price_of_anarchy", 'needs a sweep of kind "solve" over users.beta;'),
        ("what_margins_do", 'needs a sweep of kind "solve" over market.margin;'),
        ("who_gains_from_the_auction", 'needs a sweep of kind "run" over regime.kind;'),
        ("what_misinformation_costs", 'needs a sweep of kind "run" over users.information;'),
        ("how_fast_rules_arrive", 'needs a sweep of kind "run" over providers.learning or '),
        ("convergence_by_rule", 'needs a sweep of kind "run" over providers.learning or '),
        ("welfare_by_regime", 'needs a sweep of kind "run" over regime.kind;'),
        ("what_learners_find", 'needs a sweep of kind "run" over regime.kind or providers.learning or '),
        ("what_more_providers_change", 'needs a sweep of kind "solve" over market.generated.providers;'),
    ],
)
def test_a_folder_without_the_axis_is_one_sentence(tmp_path, monkeypatch, capsys, name, wants):
    folder = swept(tmp_path / "runs", kind="solve", axes={"market.baseline": [0.1, 0.2]})
    path = str(ROOT / "analysis" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, str(folder), "--out", str(tmp_path / "figures")])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(path, run_name="__main__")
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert wants in error
    assert error.endswith('this one is of kind "solve" over market.baseline\n')
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "figures").exists()

"""The reproduction: every published number, the two that differ, and what the figures are drawn from."""

import csv
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from market_sim.economy.market import games_of
from market_sim.economy.quality import DATA
from market_sim.economy.solve import paper_path, solve_market
from market_sim.experiments import paper_figures
from market_sim.experiments.paper import (
    BETAS,
    KNOWN_TO_DIFFER,
    SETTINGS,
    TOLERANCE_USD,
    Published,
    paper_market,
    published,
    reproduce,
    underflowing_end,
)
from market_sim.theory.arrays import at_levels

ROOT = Path(__file__).parents[2]
PUBLISHED = published()
REPRODUCTION = reproduce()


def analysis(name: str) -> ModuleType:
    """A script of analysis/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "analysis" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_print_has_252_numbers_and_18_names() -> None:
    assert sum(not isinstance(entry.printed, str) for entry in PUBLISHED) == 252
    assert sum(isinstance(entry.printed, str) for entry in PUBLISHED) == 18
    assert {(entry.benchmark, entry.method) for entry in PUBLISHED} == set(SETTINGS)


def test_250_of_252_numbers_and_all_names_agree_with_print() -> None:
    assert (REPRODUCTION.agreeing, REPRODUCTION.total) == (250, 252)
    assert (REPRODUCTION.names_agreeing, REPRODUCTION.names_total) == (18, 18)
    assert REPRODUCTION.ok
    assert all(
        abs(row.difference) <= TOLERANCE_USD for row in REPRODUCTION.rows if row.agrees and row.is_number
    )


def test_exactly_the_two_known_numbers_differ_and_say_why() -> None:
    differing = [row for row in REPRODUCTION.rows if not row.agrees]
    keys = {(row.benchmark, row.method, row.beta, row.quantity) for row in differing}
    assert keys == KNOWN_TO_DIFFER
    assert all(row.verdict.startswith("differs: ") and "underflow" in row.verdict for row in differing)


def test_245_numbers_agree_to_every_printed_digit() -> None:
    numbers = [row for row in REPRODUCTION.rows if row.is_number]
    assert sum(f"{row.ours:.5f}" == f"{row.printed:.5f}" for row in numbers) == 245


def test_in_underflowing_arithmetic_two_providers_never_move_and_print_is_what_comes_out() -> None:
    market = paper_market("AIME", "reasoning_effort")
    value = market.quality() - market.price[0]
    start = value[:, 0]
    shares = np.exp(1e5 * (start - start.max()))
    stuck = shares == 0
    assert [name for name, zero in zip(market.providers, stuck, strict=True) if zero] == [
        "R1-D-Llama-8B",
        "R1-D-Qwen-1.5B",
    ]
    for seed in range(20):  # whoever moves first
        end = underflowing_end(market, 1e5, seed)
        assert (end[stuck] == 0).all()
        assert at_levels(value, end).mean() == pytest.approx(0.03695, abs=TOLERANCE_USD)
        assert at_levels(market.price[0], end).mean() == pytest.approx(0.00021, abs=TOLERANCE_USD)


def test_underflow_changes_nothing_in_the_other_twenty_six_cases() -> None:
    for benchmark, method in SETTINGS:
        market = paper_market(benchmark, method)
        for beta in BETAS:
            if (benchmark, method, beta) == ("AIME", "reasoning_effort", 1e5):
                continue
            ours = paper_path(games_of(market, 0, np.asarray(beta)), 0).end
            np.testing.assert_array_equal(underflowing_end(market, beta, 0), ours)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_moves_changes_no_verdict(seed: int) -> None:
    verdicts = [row.verdict for row in reproduce(seed=seed).rows]
    assert verdicts == [row.verdict for row in REPRODUCTION.rows]


def corrupted(index: int) -> list[Published]:
    entry = PUBLISHED[index]
    wrong = "Qwen2-0.5B" if isinstance(entry.printed, str) else entry.printed + 2 * TOLERANCE_USD + 1e-5
    return [*PUBLISHED[:index], replace(entry, printed=wrong), *PUBLISHED[index + 1 :]]


@pytest.mark.parametrize("index", range(0, len(PUBLISHED), 17))
def test_a_number_or_name_that_should_agree_and_does_not_is_a_failure(index: int) -> None:
    broken = reproduce(corrupted(index))
    assert not broken.ok
    assert [row.verdict for row in broken.rows].count("FAILS") == 1


@pytest.mark.parametrize("quantity", ["mean_user_value", "mean_price"])
def test_the_known_reason_excuses_only_the_numbers_it_explains(quantity: str) -> None:
    known = ("AIME", "reasoning_effort", 1e5, quantity)
    index = [(e.benchmark, e.method, e.beta, e.quantity) for e in PUBLISHED].index(known)
    assert not reproduce(corrupted(index)).ok


def test_settings_sum_up_the_rows() -> None:
    settings = REPRODUCTION.settings()
    assert [(s.benchmark, s.method) for s in settings] == list(SETTINGS)
    assert sum(s.total for s in settings) == 252
    assert sum(s.agreeing for s in settings) == 250
    assert sum(len(s.exceptions) for s in settings) == 2
    assert max(s.largest_difference_usd for s in settings) <= TOLERANCE_USD


def test_every_step_is_told() -> None:
    steps: list[str] = []
    reproduce(on_step=steps.append)
    assert len(steps) == len(SETTINGS)


def test_the_frame_has_a_row_per_entry() -> None:
    frame = REPRODUCTION.to_frame()
    assert len(frame) == len(PUBLISHED)
    assert list(frame.columns) == [
        "benchmark", "method", "regime", "beta", "quantity", "printed", "ours", "difference", "verdict",
    ]  # fmt: skip


def test_tables_need_no_drawing_library() -> None:
    code = (
        "import sys; from market_sim.experiments.paper import reproduce; reproduce();"
        "print([m for m in ('matplotlib', 'seaborn', 'pandas') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_reproduction_writes_its_table_and_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from market_sim.experiments import saved_figures

    drawn = []

    def only_remember(fig: object, path: Path, metadata: dict[str, object]) -> tuple[Path, Path]:
        drawn.append((path.name, metadata["seed"]))
        return path.with_suffix(".png"), path.with_suffix(".svg")

    monkeypatch.setattr(saved_figures, "save", only_remember)  # rendering is tested in test_figures
    paths = REPRODUCTION.write(tmp_path)
    assert paths[0] == tmp_path / "table.csv"
    assert len(drawn) == 3 + 3 + 9 + 1
    assert {seed for _, seed in drawn} == {0}
    with paths[0].open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 270
    assert float(table[0]["ours"]) == REPRODUCTION.rows[0].ours
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_dynamics_climb_the_potential_to_a_listed_equilibrium() -> None:
    for benchmark, method in SETTINGS:
        market = paper_market(benchmark, method)
        solutions = solve_market(market, BETAS)
        for path, solution in zip(paper_figures.dynamics(market, BETAS, 0), solutions, strict=True):
            assert (np.diff(path.potential) >= -1e-9).all()
            np.testing.assert_allclose(path.shares.sum(axis=1) + path.outside_share, 1.0)
            ends = [list(profile.levels.values()) for profile in solution.equilibria]
            assert path.compute_level[-1].tolist() in ends
            assert path.inefficiency[-1] == pytest.approx(solution.inefficiency)


def test_windows_of_two_equilibria_are_where_they_are_said_to_be() -> None:
    for benchmark, method in SETTINGS:
        market = paper_market(benchmark, method)
        for low, high in paper_figures.equilibrium_windows(market, 1.0, 1e6):
            inside = np.geomspace(low, high, 5)
            assert all(len(s.equilibria) == 2 for s in solve_market(market, inside))
            assert all(len(s.equilibria) == 1 for s in solve_market(market, [0.999 * low, 1.001 * high]))


def test_known_windows_of_two_equilibria_are_found() -> None:
    def windows(benchmark: str, method: str) -> list[tuple[int, int]]:
        found = paper_figures.equilibrium_windows(paper_market(benchmark, method), 1.0, 1e6)
        return [(round(low), round(high)) for low, high in found]

    assert windows("GSM8K", "majority_voting") == [(1352, 1400), (3332, 3458)]
    assert windows("GSM8K", "reasoning_effort") == []
    assert windows("GPQA", "best_of_n") == [(2582, 2752)]


def test_the_dynamics_end_between_the_best_and_the_worst_equilibrium() -> None:
    for benchmark, method in SETTINGS:
        curve = paper_figures.inefficiency_curve(paper_market(benchmark, method), 0)
        assert (curve.best <= curve.worst + 1e-12).all()
        assert (curve.best - 1e-9 <= curve.reached).all()
        assert (curve.reached <= curve.worst + 1e-9).all()
        assert (curve.best >= -1e-12).all()


def test_the_market_leaves_users_better_off_in_1_2_and_7_settings_and_is_cheaper_in_3_4_and_5() -> None:
    who = analysis("who_gains_from_the_auction")
    gains = who.who_gains()
    assert who.count(gains, lambda gain: gain.user_value < 0) == [1, 2, 7]
    assert who.count(gains, lambda gain: gain.price > 0) == [3, 4, 5]
    assert who.count(gains, lambda gain: gain.user_value_if_taste < 0) == [9, 9, 7]


def test_the_auction_gives_the_first_best_to_users_and_winner() -> None:
    """What users gain and providers gain together is what the market lost."""
    who = analysis("who_gains_from_the_auction")
    gains = {(gain.benchmark, gain.method, gain.beta): gain for gain in who.who_gains()}
    for benchmark, method in SETTINGS:
        for solution in solve_market(paper_market(benchmark, method), BETAS):
            gain = gains[benchmark, method, solution.beta]
            assert gain.user_value + gain.provider_profit == pytest.approx(solution.first_best_gap_usd)


def test_inefficiency_peaks_among_less_rational_users() -> None:
    curves = analysis("inefficiency_by_rationality").inefficiency_by_rationality()
    assert all(curve.peak[0] < 600 for curve in curves)


def test_nothing_compared_is_nothing_reproduced():
    assert not reproduce([]).ok
    left_out = replace(published()[0], benchmark="MMLU")
    assert not reproduce([left_out, *published()[1:9]]).ok


def test_a_table_that_lost_a_line_is_not_the_papers(tmp_path):
    whole = (DATA / "published_tables.csv").read_text().splitlines()
    short = tmp_path / "short.csv"
    short.write_text("\n".join(whole[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"has \d+ numbers and \d+ names"):
        published(short)

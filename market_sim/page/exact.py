"""The market solved: every equilibrium in a table, and what it rests on in a figure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import reacton.ipyvuetify as rv
import solara
from matplotlib.figure import Figure

from market_sim.economy.solve import Profile, Solution
from market_sim.errors import InputError
from market_sim.experiments.exact_figures import analyse, exact_figure
from market_sim.experiments.live_figures import level_label
from market_sim.experiments.scenario import Scenario
from market_sim.experiments.words import usd_text
from market_sim.page.choices import scenario_of
from market_sim.page.compare import PlainTable
from market_sim.page.desk import Desk
from market_sim.page.pictures import Picture, TakeFigure, drawn

Rows = list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Solved:
    """An analysis as it is on screen."""

    name: str
    solution: Solution
    picture: str
    draw: Callable[[], Figure]


@solara.component
def Exact(desk: Desk) -> None:
    """The analysis of the market that the controls describe; made anew when they change."""
    task, set_task = solara.use_state(0)
    benchmarks = _benchmarks(desk.base.value)
    place = min(task, max(len(benchmarks) - 1, 0))
    found = solara.use_thread(
        lambda _: _solved(desk, place), dependencies=[desk.base.value, desk.choices.value, place]
    )
    with solara.Column(gap="8px"):
        if len(benchmarks) > 1 and desk.choices.value.benchmark is None:
            with solara.Div(classes=["ms-policy"]):
                rv.Select(
                    v_model=place,
                    on_v_model=set_task,
                    label="Benchmark",
                    dense=True,
                    hide_details=True,
                    items=[{"text": name, "value": k} for k, name in enumerate(benchmarks)],
                )
        solara.Text(
            "The market under pay-per-compute at the rationality in the settings, solved exactly: no agents, "
            "no chance. An equilibrium is a set of compute levels that no provider would leave alone. Best "
            "replies are the "
            "levels providers answer with, by what their rivals offer.",
            classes=["ms-about"],
        )
        if found.state in (solara.ResultState.RUNNING, solara.ResultState.STARTING):
            rv.ProgressLinear(indeterminate=True, height=6, rounded=True)
        elif isinstance(found.value, str):
            solara.Warning(found.value, classes=["ms-unsolved"])
        elif found.value is not None:
            Answer(desk, found.value)


@solara.component
def Answer(desk: Desk, solved: Solved) -> None:
    Picture(
        solved.picture,
        "User value and profit by compute level, best replies, potential, inefficiency",
        "ms-exact",
    )
    solution = solved.solution
    about: dict[str, object] = {"scenario": solved.name, "beta": solution.beta}
    TakeFigure(desk.guarded, solved.draw, "exact", about)
    head, rows = equilibria_table(solution)
    PlainTable(head, rows, "ms-equilibria")
    solara.Text(said_of(solution), classes=["ms-about"])


def _benchmarks(scenario: Scenario) -> tuple[str, ...]:
    given = scenario.market.benchmark
    return given if isinstance(given, tuple) else ()


def _solved(desk: Desk, task: int) -> Solved | str:
    """What is to be shown; a sentence where there is nothing to solve."""
    try:
        scenario = scenario_of(desk.base.value, desk.choices.value)
        analysis = analyse(scenario, task if desk.choices.value.benchmark is None else 0)
    except InputError as error:
        return str(error)
    draw = partial(exact_figure, analysis)
    return Solved(name=scenario.name, solution=analysis.solution, picture=drawn(draw), draw=draw)


def equilibria_table(solution: Solution) -> tuple[list[str], Rows]:
    """Equilibria, optimum and truthful auction, column by column."""
    profiles, end = list(solution.equilibria), solution.paper_dynamics
    names = [f"equilibrium {k}{' *' if p.levels == end.levels else ''}" for k, p in enumerate(profiles, 1)]
    if end.levels not in [profile.levels for profile in profiles]:
        profiles.append(end)
        names.append("where better replies end")
    auction, optimum = solution.auction, solution.optimum

    def money(label: str, key: str, best: str = "") -> list[str]:
        cells: list[Any] = [*(getattr(p, key) for p in profiles)]
        return [label, *map(usd_text, cells), best, usd_text(getattr(auction, key))]

    def told(label: str, read: Callable[[Profile], str], last: str) -> list[str]:
        return [label, *map(read, profiles), "", last]

    rows = [
        money("welfare", "welfare", usd_text(optimum["welfare"])),
        money("user value", "user_value"),
        money("price", "price"),
        money("provider profit", "provider_profit"),
        told("tokens per query", lambda p: f"{p.tokens_per_query:,.0f}", f"{auction.tokens_per_query:,.0f}"),
    ]
    sold = level_label(solution.method.split("+"))
    rows.append([f"provider: {sold}, market share", *[""] * len(profiles), sold, sold])
    for name in solution.providers:
        wins = (
            f"{auction.level:g}, serves all" if auction.winner == name and auction.level is not None else ""
        )
        cells = [f"{p.levels[name]:g}, {p.shares[name]:.1%}" for p in profiles]
        rows.append([name, *cells, f"{optimum['levels'][name]:g}", wins])
    return ["money: USD per 1,000 queries", *names, "optimum", "second-price auction"], rows


def said_of(solution: Solution) -> str:
    """What the table means, in words."""
    lost = (
        f"Of the first best of {usd_text(solution.auction.welfare)}, users' noise loses "
        f"{usd_text(solution.noise_gap)} and providers' choices lose {usd_text(solution.strategic_gap)}."
    )
    anarchy, stability = _ratio(solution.price_of_anarchy), _ratio(solution.price_of_stability)
    return (
        "* where better replies from the lowest levels end. "
        f"{lost} Price of anarchy {anarchy}, of stability {stability}."
    )


def _ratio(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"

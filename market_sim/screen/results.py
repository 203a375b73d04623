"""A market solved or played, as tables and sentences."""

from typing import TYPE_CHECKING

from rich.markup import escape

from market_sim.experiments.words import PER, convergence_rows, level_text, measure_text, usd_text
from market_sim.screen.terminal import add_row, new_console, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from market_sim.economy.solve import Solution
    from market_sim.economy.uncertainty import UncertainSolution, UncertainSolutions
    from market_sim.experiments.compare import Comparison
    from market_sim.experiments.paper import Reproduction
    from market_sim.experiments.reached import Reached
    from market_sim.experiments.report import Report
    from market_sim.experiments.run import Run


def show_solution(solution: "Solution") -> None:
    console = new_console()
    console.print(
        f"\n[bold]{escape(solution.benchmark)}, {solution.method}[/bold], beta = {solution.beta:g} per USD "
        f"(money in USD per {PER:,} queries)"
    )
    end = solution.paper_dynamics
    names, profiles = [], list(solution.equilibria)
    for number, profile in enumerate(profiles, 1):
        names.append(f"equilibrium {number}" + ("*" if profile.levels == end.levels else ""))
    if end.levels not in [profile.levels for profile in profiles]:
        names.append("paper's end")
        profiles.append(end)
    table, auction = new_table("", *names, "optimum", "auction"), solution.auction
    for key in ("welfare", "user_value", "price", "provider_profit"):
        best = usd_text(solution.optimum["welfare"]) if key == "welfare" else ""
        cells = [usd_text(getattr(profile, key)) for profile in (*profiles, auction)]
        title, last = key.replace("_", " "), key == "provider_profit"
        add_row(table, title, *cells[:-1], best, cells[-1], end_section=last)
    for provider in solution.providers:
        add_row(
            table,
            provider,
            *(f"{p.levels[provider]:g} {p.shares[provider]:6.1%}" for p in profiles),
            f"{solution.optimum['levels'][provider]:g}",
            f"{auction.level:g} (wins)" if provider == auction.winner else "",
        )
    console.print(table)
    console.print(
        "* where the paper's dynamics end. Providers' rows: compute level, market share.\n"
        f"Price of anarchy {_ratio(solution.price_of_anarchy)} (worst equilibrium), "
        f"{_ratio(solution.paper_price_of_anarchy)} (paper); "
        f"of stability {_ratio(solution.price_of_stability)}.\n"
        f"Of the first best {usd_text(auction.welfare)}, users' noise loses "
        f"{usd_text(solution.noise_gap)} and providers' choices lose {usd_text(solution.strategic_gap)}."
    )


def show_uncertainty(found: "UncertainSolution") -> None:
    """A market solved for every draw: intervals, who wins how often, verdicts."""
    from market_sim.experiments.uncertainty_rows import interval_rows, winner_rows

    console, data = new_console(), found.to_dict()
    console.print(f"\n[bold]How sure[/bold]: {found.draws.count:,} draws. {escape(found.draws.assumption)}")
    table = new_table(f"USD per {PER:,} queries", "as measured", f"{100 * found.confidence:g} % interval")
    rows = interval_rows(data)
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        ended = after is None or after.group != row.group
        add_row(table, row.title, row.measured, row.interval, end_section=ended)
    console.print(table)
    winners = new_table("the auction", "wins", "second best")
    for cells in winner_rows(data):
        add_row(winners, *cells)
    console.print(winners)
    for sentence in found.sentences:
        console.print(sentence, soft_wrap=True, markup=False)


def show_uncertainty_of_play(found: "UncertainSolutions") -> None:
    """What the draws say beside a comparison, which was played with the curves as measured."""
    from market_sim.experiments.uncertainty_rows import OF_PLAY

    new_console().print(f"\n{OF_PLAY}")
    for each in found:
        new_console().print(
            f"\n[bold]{escape(each.solution.benchmark)}, {each.solution.method}[/bold], "
            f"beta = {each.solution.beta:g} per USD"
        )
        show_uncertainty(each)


def show_run(result: "Run") -> None:
    console, summary = new_console(), result.summary()
    again = " (read from the earlier run; --force plays it again)" if result.reused else ""
    switched = result.regime_at_first != result.regime
    before = f" (under {result.regime_at_first} at first)" if switched else ""
    console.print(
        f"\n[bold]{result.name}[/bold] under {result.regime}{before}, seed {result.seed}: rounds "
        f"{summary['averaged_from_round']} to {summary['rounds']} on average{again}"
    )
    table = new_table("per 1,000 queries", "")
    for name, value in summary["means"].items():
        add_row(table, *measure_text(name, value))
    console.print(table)
    providers = new_table("provider", "compute level", "share")
    for name, row in summary["providers"].items():
        add_row(providers, name, level_text(row["compute_level"]), f"{row['share']:.1%}")
    console.print(providers)
    console.print(_convergence(result.reached))
    if result.folder is not None:
        console.print(f"Rows: {result.folder}", soft_wrap=True, markup=False)


def _convergence(reached: "Reached") -> "Table":
    """Where play ended up, line by line."""
    table = new_table("where play ended up", "per 1,000 queries")
    table.columns[1].justify = "left"
    for title, text in convergence_rows(reached):
        add_row(table, title, text)
    return table


def show_comparison(result: "Comparison") -> None:
    console = new_console()
    first, last = (result.runs[0].rounds["round"][k] for k in (result.runs[0].late().start, -1))
    console.print(
        f"\n[bold]{result.name}[/bold], seed {result.seed}: the same users and shocks under each regime, "
        f"rounds {first} to {last} on average"
    )
    table = new_table("USD per 1,000 queries", *(m.regime for m in result.measures))
    rows = result.to_dict()["regimes"]
    for name in (
        "welfare_usd",
        "expected_welfare_usd",
        "user_value_usd",
        "expected_user_value_usd",
        "provider_profit_usd",
        "expected_provider_profit_usd",
        "log_sum_surplus_usd",
        "price_usd",
        "expected_price_usd",
        "first_best_gap_usd",
        "inefficiency",
        "accuracy",
        "tokens_per_query",
        "outside_share",
    ):
        cells = [measure_text(name, row[name]) for row in rows]
        add_row(table, cells[0][0], *(cell[1] for cell in cells), end_section=name == "outside_share")
    for provider in result.measures[0].shares:
        add_row(table, f"share of {provider}", *(f"{m.shares[provider]:.1%}" for m in result.measures))
    console.print(table)
    for sentence in result.sentences:
        console.print(sentence, soft_wrap=True, markup=False)


def show_reproduction(result: "Reproduction") -> None:
    console = new_console()
    for setting in result.settings():
        console.print(f"\n[bold]{setting.benchmark}, {setting.method}[/bold] (USD per {PER:,} queries)")
        table = new_table("quantity", "beta", "printed", "ours", "difference", "verdict")
        for row in result.rows:
            if (row.benchmark, row.method) != (setting.benchmark, setting.method):
                continue
            add_row(
                table,
                QUANTITIES[row.quantity],
                "auction" if row.beta is None else f"{row.beta:g}",
                *(_published(value) for value in (row.printed, row.ours)),
                "" if row.difference is None else f"{PER * row.difference:+.4f}",
                row.verdict.split(":")[0],
            )
        console.print(table)
    for row in result.rows:
        if not row.agrees:
            console.print(
                f"{row.benchmark}, {row.method}, beta = {row.beta:g}, {row.quantity}: {row.verdict}"
                if row.beta is not None
                else f"{row.benchmark}, {row.method}, {row.quantity}: {row.verdict}"
            )
    console.print(
        f"\n[bold]{result.agreeing} of {result.total} published numbers agree within 1.1e-5 USD per query, "
        f"and {result.names_agreeing} of {result.names_total} winners and runners-up.[/bold]"
    )


QUANTITIES = {
    "mean_user_value_weighted": "user value, by share",
    "mean_user_value": "user value, plain mean",
    "mean_price_weighted": "price, by share",
    "mean_price": "price, plain mean",
    "mean_provider_utility_weighted": "profit, by share",
    "mean_provider_utility": "profit, plain mean",
    "optimal_welfare": "optimal welfare",
    "equilibrium_welfare": "equilibrium welfare",
    "winner": "winner",
    "runner_up": "runner-up",
    "user_value": "user value",
    "price": "price",
    "provider_utility": "profit",
    "welfare": "welfare",
}


def _published(value: float | str | None) -> str:
    return f"{PER * value:.3f}" if isinstance(value, int | float) else str(value)


def _ratio(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def show_report(report: "Report") -> None:
    new_console().print(f"Report: {report.path}", soft_wrap=True, markup=False)

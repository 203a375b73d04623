"""How measures are called and shown to people, on screens and in reports: money in USD per 1,000 queries."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from market_sim.experiments.reached import NamedCycle, Nearest, Reached

PER = 1000
"""Screens and reports show USD per this many queries."""

TITLES = {
    "welfare_usd": "welfare",
    "expected_welfare_usd": "welfare, expected",
    "user_value_usd": "user value",
    "expected_user_value_usd": "user value, expected",
    "log_sum_surplus_usd": "log-sum surplus of users",
    "price_usd": "price paid",
    "expected_price_usd": "price paid, expected",
    "provider_profit_usd": "provider profit",
    "expected_provider_profit_usd": "provider profit, expected",
    "first_best_gap_usd": "below the first best",
    "nashconv_usd": "gain from deviating (NashConv)",
    "equilibrium_steps": "levels from an equilibrium",
    "estimate_error_usd": "error of users' estimates",
    "tokens_per_query": "tokens per query",
    "accuracy": "accuracy of answers",
    "outside_share": "buy nothing",
    "hhi": "concentration (HHI)",
    "inefficiency": "inefficiency (optimum / welfare - 1)",
}

SHARES = ("accuracy", "outside_share", "inefficiency")
"""Measures that are shown in percent."""


def measure_text(name: str, value: float | None) -> tuple[str, str]:
    """Title and text of a measure."""
    title = TITLES[name]
    if value is None:
        return title, "undefined"
    if name.endswith("_usd"):
        return title, usd_text(value)
    if name in SHARES:
        return title, f"{round(value, 6) + 0.0:.1%}"
    return title, f"{value:,.0f}"


def usd_text(value: float) -> str:
    """USD per query as USD per 1,000 queries.

    >>> usd_text(0.0060471)
    '6.047'
    """
    return f"{round(PER * value, 3) + 0.0:.3f}"


def level_text(level: float | None) -> str:
    """A provider's compute level, or that it is not there any more."""
    return "left" if level is None else f"{level:g}"


# --- Where play ended up ----------------------------------------------------------------------------


def convergence_rows(reached: "Reached") -> list[tuple[str, str]]:
    """Where play ended up, line by line; money in USD per 1,000 queries."""
    gap, welfare = _known_usd(reached.cce_gap_usd), reached.welfare
    if 0 < reached.rounds_weighed < reached.rounds:
        gap += f" (on {reached.rounds_weighed:,} of {reached.rounds:,} rounds)"
    last = reached.began + reached.rounds
    over = f"{reached.welfare_from:,} to {last:,}, worth {welfare.n_effective:,.0f} independent"
    if reached.still_on_its_way:
        over += "; it may still be on its way"
    mean = f"{usd_text(welfare.mean)} +- {_known_usd(welfare.half_width)} (95 % interval)"
    return [
        ("play", play_text(reached)),
        ("nearest equilibrium", reached.no_equilibria or nearness_text(reached.nearest)),
        ("gain from deviating at the end", _known_usd(reached.nashconv_usd)),
        ("coarse correlated gap", gap),
        ("welfare, expected", mean),
        ("  over rounds", over),
    ]


def play_text(reached: "Reached") -> str:
    if reached.settled_round is not None:
        if reached.settled_round > reached.began:
            return f"settled in round {reached.settled_round:,}"
        return "nobody ever moved" if not reached.began else "nobody moved since the last event"
    if reached.cycle is not None:
        return _round_about(reached.cycle)
    return f"has not settled (last move in round {reached.last_move:,} of {reached.began + reached.rounds:,})"


def _round_about(cycle: "NamedCycle") -> str:
    movers, everybody = cycle.movers, len(cycle.members[0])
    who = " and ".join(movers) if len(movers) < 3 else f"{len(movers)} of {everybody} providers"
    return f"cycles every {cycle.length:,} moves from round {cycle.start:,} on ({who})"


def nearness_text(nearest: "Nearest | None") -> str:
    if nearest is None:
        return "undefined"
    which = "the only equilibrium" if nearest.of == 1 else f"equilibrium {nearest.number} of {nearest.of}"
    steps = f"{nearest.level_steps} level step{'' if nearest.level_steps == 1 else 's'}"
    words = f"in {which}" if nearest.level_steps == 0 else f"{steps} from {which}"
    if round(nearest.mean_level_steps, 1) != nearest.level_steps:
        words += f", {nearest.mean_level_steps:.1f} on average"
    return words


def _known_usd(value: float) -> str:
    return "undefined" if value != value else usd_text(value)

"""What gives users back the value that learning providers take from them in the second-price auction.

Truth is only weakly dominant there: a provider that wins nothing loses nothing by asking too much, and when
the second best does, value moves from users to the winner (docs/theory.md 3).  A bid can be learnt where it
is sometimes decisive.  So several things that make it so are tried in the paper's nine markets: users to
whom answers are worth different amounts, a mix of benchmarks (a bid for each, or one policy for all),
rivals that come and go, and bids that are tried at random.

    python analysis/what_restores_users_value.py [--methods best_of_n] [--seeds 8] [--rounds 120]

Demand is the expected one; means are over the second half of the rounds, in which everybody is there;
intervals are 95 % over seeds (Student's t).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from market_sim.economy.solve import auction_outcome
from market_sim.errors import InputError, not_one_of
from market_sim.experiments.claims.scripts import refusals, write_figure
from market_sim.experiments.house_style import GOOD, INK, METHOD_NAMES, MUTED, new_figure, say, styled
from market_sim.experiments.learners import (
    LOSERS,
    SECOND_PRICE,
    Finding,
    Kind,
    findings,
    scenario_of,
)
from market_sim.experiments.paper import SETTINGS, paper_market
from market_sim.theory.full_information import Totals, hedge
from market_sim.theory.rule import AUCTIONS, Feedback, Functions, Parameter, RuleFamily

BENCHMARKS = tuple(dict.fromkeys(benchmark for benchmark, _ in SETTINGS))
METHODS = tuple(dict.fromkeys(method for _, method in SETTINGS))


def hedge_for_all_tasks(rate: float, tasks: float) -> Functions:
    """Hedge with one policy for all of a provider's tasks, by what each action would have earned on average
    over them.  Nobody may leave: memories stand task by task, and all of them are read."""
    apart = hedge(rate)

    def update(memory: Totals, feedback: Feedback) -> Totals:
        gained = apart.update(memory, feedback).total - memory.total
        together = gained.reshape(int(tasks), -1, gained.shape[1]).mean(axis=0)
        return Totals(memory.rounds + 1, memory.total + np.tile(together, (int(tasks), 1)))

    return Functions(act=apart.act, start=apart.start, update=update, draws=1)


one_policy = RuleFamily(
    name="one_policy",
    summary="hedge, the same for all benchmarks",
    source="a variant of hedge for this analysis",
    information="full",
    regimes=AUCTIONS,
    make=hedge_for_all_tasks,
    parameters={
        "rate": Parameter(meaning="multiple of hedge's rate", default=1.0, least=0.0, most=1e4, above=True),
        "tasks": Parameter(meaning="number of benchmarks", default=len(BENCHMARKS), least=1, most=100),
    },
)


# --- What is tried ----------------------------------------------------------------------------------

HEDGE = {"rule": "hedge"}
SHARP = HEDGE | {"rate": 100.0}
COMMON = {"rule": "what_restores_users_value:one_policy", "rate": 100.0}
ONE = (1.0,)


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """Something that may give users their value back.

    rule    what everybody follows
    values  what answers are worth to users, as multiples of the task's value: segments of equal size
    away    in the first half of the rounds each provider is away with this probability, drawn every round
    mixed   whether all benchmarks are one market
    told    the remedy as titles say it
    """

    name: str
    told: str
    rule: Mapping[str, Any]
    values: tuple[float, ...] = ONE
    away: float = 0.0
    mixed: bool = False

    def markets(self, methods: Sequence[str]) -> list[dict[str, Any]]:
        """The markets it is tried in, as scenarios name them."""
        benchmarks = [list(BENCHMARKS)] if self.mixed else list(BENCHMARKS)
        return [{"benchmark": benchmark, "method": method} for benchmark in benchmarks for method in methods]


def spread(factor: float) -> tuple[float, ...]:
    """Seven values in equal ratios from 1 / factor to factor."""
    return tuple(np.geomspace(1 / factor, factor, 7).tolist())


def greedy(exploration: float) -> dict[str, Any]:
    return {"rule": "epsilon_greedy", "exploration": exploration}


ENTRY, VALUES, TREMBLES = "rivals that come and go", "users whose values differ", "bids tried at random"
APART, TOGETHER, POLICY = "hedge, rate 100", "... benchmarks mixed", "... mixed, one bid policy"
REMEDIES = (
    Remedy(name="hedge", told="slow learning", rule=HEDGE),
    Remedy(name="hedge, rivals come and go", told=ENTRY, rule=HEDGE, away=0.5),
    Remedy(name=APART, told="fast learning", rule=SHARP),
    Remedy(name="... values 1/3 to 3", told=VALUES, rule=SHARP, values=spread(3.0)),
    Remedy(name="... values 1/10 to 10", told=VALUES, rule=SHARP, values=spread(10.0)),
    Remedy(name=TOGETHER, told="a mix of benchmarks", rule=SHARP, mixed=True),
    Remedy(name=POLICY, told="one bid policy for a mix of benchmarks", rule=COMMON, mixed=True),
    Remedy(name="... rivals come and go", told=ENTRY, rule=SHARP, away=0.5),
    Remedy(name="greedy, 2 % trembles", told=TREMBLES, rule=greedy(0.02)),
    Remedy(name="greedy, 10 % trembles", told=TREMBLES, rule=greedy(0.1)),
    Remedy(name="greedy, 30 % trembles", told=TREMBLES, rule=greedy(0.3)),
)


def kinds_of(remedy: Remedy, methods: Sequence[str], beta: float, rounds: int) -> list[Kind]:
    """The runs of a remedy, one for each of its markets."""
    users: dict[str, Any] = {"beta": beta}
    if remedy.values != ONE:
        users = {"segments": [{"size": 1000, "beta": beta, "value_scale": v} for v in remedy.values]}
    kinds = []
    for market in remedy.markets(methods):
        events = come_and_go(market, remedy.away, rounds // 2) if remedy.away > 0 else []
        scenario = scenario_of(
            market, SECOND_PRICE, remedy.rule, users=users, rounds=rounds, seed=0, events=events
        )
        kinds.append(Kind(label=remedy.name, scenario=scenario, measures=(LOSERS,)))
    return kinds


def come_and_go(market: Mapping[str, Any], away: float, until: int) -> list[dict[str, Any]]:
    """Events of every round before `until`: who is away is drawn anew, and two at least are there; from
    then on everybody is."""
    names = np.array(paper_market(market["benchmark"], market["method"]).providers)
    rng, absent, events = np.random.default_rng(0), np.zeros(len(names), dtype=bool), []
    for round_ in range(1, until + 1):
        drawn = rng.random(len(names)) < away if round_ < until else np.zeros(len(names), dtype=bool)
        if len(names) - drawn.sum() < 2:
            continue
        moves = {"leaves": names[drawn & ~absent].tolist(), "enters": names[absent & ~drawn].tolist()}
        changed = {key: who for key, who in moves.items() if who}
        if changed:
            events.append({"round": round_} | changed)
        absent = drawn
    return events


# --- In words ---------------------------------------------------------------------------------------


def name_of(market: Mapping[str, Any]) -> str:
    """A market as it is called."""
    benchmark = market["benchmark"] if isinstance(market["benchmark"], str) else "all three"
    return f"{benchmark} {METHOD_NAMES[market['method']]}"


def kept(found: Sequence[Finding], name: str) -> list[float]:
    """Users' value by market, percent of the truthful outcome's."""
    return [100 * one.user_value.mean for one in found if one.label == name]


def pooled(found: Sequence[Finding], method: str) -> float:
    """Users' value if the requests of all benchmarks are put together that are served in markets apart."""
    own = [one for one in found if one.label == APART and one.market["method"] == method]
    return (
        100 * sum(o.user_value.mean * o.truth.user_value for o in own) / sum(o.truth.user_value for o in own)
    )


def in_words(found: Sequence[Finding]) -> list[str]:
    """A line per remedy and market, one per remedy, and what they say of mixes."""
    lines = [f"{'':56}{'users keep':>16}{'welfare':>16}{'price':>18}{'losers ask':>12}"]
    for one in found:
        lines.append(
            f"  {one.label:28}{name_of(one.market):26}{one.user_value.percent:>16}{one.welfare.percent:>16}"
            f"{one.price.percent:>18}{100 * one.measures[LOSERS].mean:12.1f}"
        )
    lines += ["", "On average over markets (lowest to highest), of the truthful outcome's:"]
    for name in dict.fromkeys(one.label for one in found):
        shares, own = kept(found, name), [one for one in found if one.label == name]
        welfare = 100 * np.mean([one.welfare.mean for one in own])
        lines.append(
            f"  {name:28} users keep {np.mean(shares):5.1f} % ({min(shares):.1f} to {max(shares):.1f}), "
            f"welfare {welfare:.1f} %"
        )
    return [*lines, "", *_values_in_words(found), "", *_mixes_in_words(found)]


def winners(market: Mapping[str, Any], values: Sequence[float] = ONE) -> set[str]:
    """Who wins anything in the truthful auction."""
    names = [market["benchmark"]] if isinstance(market["benchmark"], str) else market["benchmark"]
    markets = [paper_market(name, market["method"]) for name in names]
    return {auction_outcome(one, value).winner or "nobody" for one in markets for value in values}


def _values_in_words(found: Sequence[Finding]) -> list[str]:
    """Whether values that differ help where they change who wins, and elsewhere."""
    lines = ["Values that differ, where they let several providers win and where they do not (users keep):"]
    for remedy in (remedy for remedy in REMEDIES if remedy.values != ONE):
        markets = [one.market for one in found if one.label == remedy.name]
        several = [len(winners(market, remedy.values)) > 1 for market in markets]
        for told, where in (("several win", several), ("one wins all", [not many for many in several])):
            before, after = (np.array(kept(found, name))[where] for name in (APART, remedy.name))
            if len(after):
                lines.append(
                    f"  {remedy.name:22} {told:12} in {len(after)} of {len(where)} markets: "
                    f"{before.mean():.1f} % with one value, {after.mean():.1f} % with several"
                )
    return lines


def _mixes_in_words(found: Sequence[Finding]) -> list[str]:
    """Whether benchmarks at which others win discipline a provider's bids, apart, mixed and as one policy."""
    lines = ["Three benchmarks in one market, and the same three in markets apart (users keep):"]
    markets = [one.market for one in found if one.label == TOGETHER]
    for market, *mixed in zip(markets, kept(found, TOGETHER), kept(found, POLICY), strict=True):
        lines.append(
            f"  {METHOD_NAMES[market['method']]:17} {len(winners(market))} different winners: apart "
            f"{pooled(found, market['method']):.1f} %, mixed with a bid for each {mixed[0]:.1f} %, with one "
            f"bid policy {mixed[1]:.1f} %"
        )
    return lines


# --- The figure -------------------------------------------------------------------------------------


@styled
def remedies_figure(found: Sequence[Finding], note: str) -> Figure:
    """Users' value in each market as a dot with its interval, and the mean of the markets as a bar."""
    names = list(dict.fromkeys(one.label for one in found))
    fig = new_figure(1.4 + 0.24 * len(names))
    ax = fig.subplots()
    for y, name in enumerate(names):
        _draw_remedy(ax, [one for one in found if one.label == name], y)
    ax.axvline(100, color=INK, lw=0.8, zorder=1)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(False, axis="y")
    sns.despine(ax=ax, left=True)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("users' value (% of the truthful outcome's)")
    dots = [100 * one.user_value.mean for one in found]
    ax.set_xlim(min(dots) - 4, max(*dots, 100) + 4)
    means = {name: float(np.mean(kept(found, name))) for name in names if name != APART}
    best = max(means, key=lambda name: means[name])
    told = next(remedy.told for remedy in REMEDIES if remedy.name == best)
    say(
        fig,
        f"With {told} users keep {means[best]:.0f} % of what the truth gives them, "
        f"instead of {np.mean(kept(found, APART)):.0f} % from the same learners",
        note,
    )
    return fig


def _draw_remedy(ax: Axes, found: Sequence[Finding], y: int) -> None:
    shifts = 0.5 * (np.arange(len(found)) - (len(found) - 1) / 2) / max(len(found), 2)
    for one, shift in zip(found, shifts, strict=True):
        value = one.user_value
        if np.isfinite(value.half_width):
            ends = [100 * (value.mean - value.half_width), 100 * (value.mean + value.half_width)]
            ax.plot(ends, [y + shift] * 2, color=MUTED, lw=0.6, alpha=0.6)
        ax.plot(100 * value.mean, y + shift, "o", color=MUTED, ms=2.6, alpha=0.8, mew=0)
    mean = np.mean([100 * one.user_value.mean for one in found])
    ax.plot(mean, y, "|", color=GOOD, ms=12, mew=2.4)
    ax.annotate(
        f"{mean:.0f} %",
        (1.0, y),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=GOOD,
        fontsize=7.5,
        annotation_clip=False,
    )


# --- The command ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="those of the markets")
    parser.add_argument("--beta", type=float, default=1000.0, help="users' rationality, 1/USD")
    parser.add_argument("--seeds", type=int, default=8, help="runs of each remedy in each market")
    parser.add_argument("--rounds", type=int, default=120, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    methods = [name.strip() for name in options.methods.split(",")]
    with refusals("what_restores_users_value"):
        for method in methods:
            if method not in METHODS:
                raise not_one_of("--methods", method, METHODS)
        for name, least in (("seeds", 1), ("rounds", 4)):
            if (number := getattr(options, name)) < least:
                raise InputError(f"--{name} {number} is not allowed; it must be at least {least}")
        sizes = (methods, options.beta, options.rounds)
        found = findings([kind for one in REMEDIES for kind in kinds_of(one, *sizes)], options.seeds)
    runs = f"{options.seeds} seeds of {options.rounds} rounds"
    print(f"In percent of the truthful second-price outcome, +- 95 % over seeds; {runs}:")
    print(*in_words(found), sep="\n")
    note = (
        f"Second-price auction, expected demand, second half of the rounds; {runs}. Dots: markets, with 95 % "
        "intervals over seeds, cut off at the edges; bar and number: their mean. Three dots before a name: "
        "hedge at rate 100 too. Values: what answers are worth to seven kinds of users. Mixed: a market of "
        "three benchmarks per method. Come and go: in the first half of the rounds everybody is away in half "
        "of them. Trembles: share of rounds in which any bid is tried."
    )
    write_figure(
        remedies_figure(found, note),
        options.out / "what_restores_users_value",
        {"scenario": f"the paper's settings of {methods}", "seed": list(range(options.seeds))},
    )


if __name__ == "__main__":
    main()

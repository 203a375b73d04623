"""What providers that learn find under each regime, measured against the truthful second-price outcome.

Theory says what they should find: too much compute under pay-per-compute; efficient levels and margins of
1 / (beta (1 - s)) under flat prices; bids that ask for more than cost under the first price; and under the
second price nothing better than the truth, which is only weakly dominant, so that losers may ask for
anything and users' value moves to the winner (docs/theory.md 2 to 4).  Here each is measured in the paper's
nine markets; what gives users their value back is the matter of what_restores_users_value.py.

    python analysis/what_learners_find.py [--rules hedge,exp3] [--beta 1000] [--seeds 4] [--rounds 120]

Demand is the expected one; means are over the second half of the rounds; intervals are 95 % over seeds
(Student's t).

With DIR, the folder of a sweep of runs over regime.kind or the learning rule, its own runs instead: welfare,
users' value and price in percent of the truthful outcome with the same users, after the warm-up, by regime
and rule; intervals over replicates of means over all other axes.

    market-sim sweep runs/sweeps/learners.toml
    python analysis/what_learners_find.py runs/out/sweeps/learners-...
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from market_sim.economy.solve import auction_outcome
from market_sim.errors import InputError, not_one_of
from market_sim.experiments.claims.learnt import OUTCOMES as SHARES
from market_sim.experiments.claims.learnt import Learnt, learnt_of_sweep
from market_sim.experiments.claims.scripts import mean_text, refusals, write_figure
from market_sim.experiments.house_style import (
    INK,
    METHOD_NAMES,
    MUTED,
    legend_beside,
    log_axis,
    new_figure,
    say,
    styled,
)
from market_sim.experiments.learners import (
    EFFICIENT,
    EQUAL,
    EXCESS,
    LOSERS,
    MARGIN,
    SECOND_PRICE,
    TOKENS,
    TRUTHFUL,
    WINNER,
    Finding,
    Kind,
    equally_good,
    findings,
    scenario_of,
)
from market_sim.experiments.paper import SETTINGS
from market_sim.experiments.reached import payoffs_usd
from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.sweep_table import read_sweep
from market_sim.experiments.timeline import timeline_of
from market_sim.experiments.whole_means import left_out_note
from market_sim.theory.learning import RULES

REGIMES = ("pay_per_compute", "flat_price", "first_price_auction", "second_price_auction")
SECOND = "second_price_auction"
LEARNERS = ("best_reply", "hedge", "regret_matching", "exp3", "q_learning")
ALLOWED = tuple(name for name, family in RULES.items() if family.regimes >= set(REGIMES))

FINE = tuple(step / 200 for step in (*range(7), *range(8, 40, 4), *range(40, 201, 20)))
"""Shares that first-price bids may ask for: closer than the usual ones below 20 %, where the best provider's
lead is in all nine markets."""

ABOUT: dict[str, tuple[str, ...]] = {
    "pay_per_compute": (TOKENS,),
    "flat_price": (EFFICIENT, MARGIN),
    "first_price_auction": (WINNER, LOSERS),
    "second_price_auction": (WINNER, LOSERS, EQUAL, EXCESS),
    "planner": (),
}
"""What each regime is measured by."""


def what_learners_find(rules: Sequence[str], beta: float, seeds: int, rounds: int) -> list[Finding]:
    """Every rule under every regime in every setting, and the planner."""
    tried = [(regime, {"rule": rule}) for regime in REGIMES for rule in rules] + [("planner", {})]
    kinds = [
        Kind(
            label=rule.get("rule", "planned"),
            scenario=scenario_of(
                {"benchmark": benchmark, "method": method},
                {"kind": regime} | ({"bid_shares": FINE} if regime == "first_price_auction" else {}),
                rule,
                users={"beta": beta},
                rounds=rounds,
                seed=0,
            ),
            measures=ABOUT[regime],
        )
        for regime, rule in tried
        for benchmark, method in SETTINGS
    ]
    return findings(kinds, seeds)


@dataclass(frozen=True, kw_only=True)
class Freedom:
    """What the winner may bid at no loss while everybody else tells the truth.

    limit         (W_1 - S) / W_1: the share it could ask for and still win
    markup        the same as a price bid, over its cost
    bids, of      bids that earn as much as its best one, of how many
    least, most   shares these ask for
    """

    setting: tuple[str, str]
    winner: str
    limit: float
    markup: float
    bids: int
    of: int
    least: float
    most: float


def freedom(setting: tuple[str, str], beta: float) -> Freedom:
    """The winner's freedom in a setting, from its counterfactual profits at the truth."""
    market = {"benchmark": setting[0], "method": setting[1]}
    told = scenario_of(market, SECOND_PRICE, TRUTHFUL, users={"beta": beta}, rounds=1, seed=0)
    parts = timeline_of(load_scenario(told)).first
    outcome = auction_outcome(parts.market)
    grid = parts.regime.actions(parts.regime, parts.market, 0)
    winner = parts.market.providers.index(outcome.winner)
    truthful = np.full((1, 1, parts.market.n_providers), grid.truthful)
    equal = equally_good(payoffs_usd(parts, truthful)[0, winner])
    return Freedom(
        setting=setting,
        winner=outcome.winner,
        limit=outcome.provider_profit / outcome.welfare,
        markup=outcome.price / (outcome.price - outcome.provider_profit),
        bids=int(equal.sum()),
        of=int(grid.allowed[winner].sum()),
        least=float(grid.share[equal].min()),
        most=float(grid.share[equal].max()),
    )


# --- In words ---------------------------------------------------------------------------------------


def named(setting: tuple[str, str]) -> str:
    """A setting as it is called."""
    return f"{setting[0]} {METHOD_NAMES[setting[1]]}"


def setting_of(one: Finding) -> tuple[str, str]:
    """Benchmark and method."""
    return one.market["benchmark"], one.market["method"]


def table(found: Sequence[Finding]) -> list[str]:
    """A line per regime, setting and rule."""
    lines = []
    for regime in dict.fromkeys(one.regime for one in found):
        heads = "".join(f"{name:>13}" for name in ABOUT[regime])
        lines += ["", f"{regime:50}{'welfare':>16}{'users':>16}{'price':>18}{heads}"]
        for one in found:
            if one.regime == regime:
                outcome = f"{one.welfare.percent:>16}{one.user_value.percent:>16}{one.price.percent:>18}"
                about = "".join(f"{_shown(name, one.measures[name].mean):>13}" for name in ABOUT[regime])
                lines.append(f"  {named(setting_of(one)):26}{one.label:22}{outcome}{about}")
    return lines


def _shown(name: str, value: float) -> str:
    """A measure: USD per 1,000 queries, a number of bids, percent, or a multiple."""
    if name == EXCESS:
        return f"{1000 * value:.6f}"
    if name == EQUAL:
        return f"{value:.1f}"
    return f"{value:.2f} x" if name in (TOKENS, MARGIN) else f"{100 * value:.1f} %"


def by_rule(found: Sequence[Finding], regime: str, measure: Callable[[Finding], float]) -> dict[str, float]:
    """A measure under a regime by rule, on average over settings."""
    own = [one for one in found if one.regime == regime]
    return {
        rule: float(np.mean([measure(one) for one in own if one.label == rule]))
        for rule in dict.fromkeys(one.label for one in own)
    }


def in_words(found: Sequence[Finding], free: Sequence[Freedom]) -> list[str]:
    """What the measures say, theory beside each; means over the nine markets."""

    def each(regime: str, name: str) -> str:
        means = by_rule(found, regime, lambda one: one.measures[name].mean)
        return ", ".join(f"{rule} {_shown(name, mean)}" for rule, mean in means.items())

    def outcome(regime: str, name: str) -> str:
        means = by_rule(found, regime, lambda one: getattr(one, name).mean)
        return ", ".join(f"{rule} {100 * mean:.0f} %" for rule, mean in means.items())

    posted = [one.measures[TOKENS].mean > 1 for one in found if one.regime == "pay_per_compute"]
    limits = [100 * one.limit for one in free]
    return [
        "Pay-per-compute; theory: too much compute.",
        f"  Tokens sold, in multiples of those of efficient levels: {each('pay_per_compute', TOKENS)};",
        f"  above one in {sum(posted)} of {len(posted)} pairs of rule and market.",
        *_outcomes("pay_per_compute", outcome),
        "Flat price; theory: efficient levels, and margins of 1 / (beta (1 - s)).",
        f"  Requests served at the efficient level: {each('flat_price', EFFICIENT)}.",
        f"  Margins, in multiples of that: {each('flat_price', MARGIN)}.",
        *_outcomes("flat_price", outcome),
        "First price; theory: the winner asks for as much of its surplus as it is ahead by, "
        f"{min(limits):.1f} to {max(limits):.1f} % by market.",
        f"  The mean of that is {np.mean(limits):.1f} %; it asks for: {each('first_price_auction', WINNER)}.",
        *_outcomes("first_price_auction", outcome),
        "Second price; theory: no bid earns more than the truth, and a loser's bid costs it nothing.",
        *_second_price_in_words(found, free, each),
        *_outcomes(SECOND, outcome),
    ]


def _outcomes(regime: str, outcome: Callable[[str, str], str]) -> list[str]:
    return [
        f"  Welfare, of the truthful outcome's: {outcome(regime, 'welfare')}.",
        f"  Users' value, of the truthful outcome's: {outcome(regime, 'user_value')}.",
        f"  Price, of the truthful outcome's: {outcome(regime, 'price')}.",
    ]


def _second_price_in_words(
    found: Sequence[Finding], free: Sequence[Freedom], each: Callable[[str, str], str]
) -> list[str]:
    second = [one for one in found if one.regime == SECOND]
    worst = max(one.measures[EXCESS].largest for one in second)
    asked = by_rule(found, SECOND, lambda one: abs(one.measures[LOSERS].mean))
    still = [rule for rule, share in asked.items() if share == 0]
    return [
        "  Against the others' bids in every round of these runs, the most that any bid would have earned",
        f"  above the truth is {1000 * worst:.6f} USD per 1,000 queries.",
        f"  Losers ask for, of their surplus: {each(SECOND, LOSERS)}.",
        f"  Their losers stay at the truth they start from: {', '.join(still) or 'no rule'}.",
        "  The winner's mark-up is not identified in any market, even while everybody else tells the truth:",
        "  one provider wins every request with any price below a multiple of its cost, and earns the same:",
        f"  0.5 to 1.5 times cost do in {sum(one.markup > 1.5 for one in free)} of {len(free)} markets.",
        "  On the grid these are shares of its surplus, each with the level named and as 'efficient'.",
        *(
            f"    {named(one.setting):23} {one.winner:13} any bid up to {one.markup:4.1f} times its cost "
            f"({100 * one.limit:4.1f} % ahead): {one.bids:2} of {one.of} bids, shares from {one.least:g} to "
            f"{one.most:g}"
            for one in free
        ),
        f"  While they learn, the number of its equally good bids is: {each(SECOND, EQUAL)}.",
    ]


# --- The figure -------------------------------------------------------------------------------------

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#222222")
MARKERS = "os^Dv<>"
OUTCOMES = {"welfare": "welfare", "user_value": "users' value", "price": "price"}
REGIME_TITLES = {
    "pay_per_compute": "pay-per-compute",
    "flat_price": "flat price",
    "first_price_auction": "first price",
    "second_price_auction": "second price",
}


@styled
def learners_figure(found: Sequence[Finding], note: str) -> Figure:
    """Welfare, users' value and price by regime, setting and rule."""
    rules = [rule for rule in dict.fromkeys(one.label for one in found) if rule != "planned"]
    fig = new_figure(8.6)
    places = fig.add_gridspec(len(OUTCOMES), len(REGIMES))
    for row, (measure, title) in enumerate(OUTCOMES.items()):
        first = None
        for column, regime in enumerate(REGIMES):
            ax = fig.add_subplot(places[row, column], sharex=first, sharey=first)
            first = first or ax
            _draw_regime(ax, [one for one in found if one.regime == regime], rules, measure)
            if regime in ("pay_per_compute", "flat_price"):
                _draw_planner(ax, [one for one in found if one.regime == "planner"], measure)
            if row == 0:
                ax.set_title(REGIME_TITLES[regime])
            ax.set_xlabel(f"{title} (%)")
            ax.tick_params(axis="y", labelleft=column == 0)
        _label_settings(first)
        means = [100 * getattr(one, measure).mean for one in found]
        if measure == "price":  # tokens may cost many times, or a few percent, of what the auction asks
            log_axis(first.xaxis)
            first.set_xlim(min(means) / 1.3, max(means) * 1.3)
        else:
            first.set_xlim(min(means) - 4, max(*means, 100) + 4)
    handles = [
        Line2D([], [], color=COLOURS[i % 7], marker=MARKERS[i % 7], ls="none", label=rule)
        for i, rule in enumerate(rules)
    ]
    handles.append(Line2D([], [], color=MUTED, marker="|", ms=8, mew=1.5, ls="none", label="planner"))
    legend_beside(fig, handles)
    kept = by_rule(found, SECOND, lambda one: one.user_value.mean)
    low, high = (pick(kept, key=lambda rule: kept[rule]) for pick in (min, max))
    say(
        fig,
        "No bid beats the truth in the second-price auction, yet from learners users get "
        f"{100 * kept[low]:.0f} % ({low}) to {100 * kept[high]:.0f} % ({high}) of what the truth gives them",
        note,
    )
    return fig


def _draw_regime(ax: Axes, found: Sequence[Finding], rules: Sequence[str], measure: str) -> None:
    """A marker per rule in every setting, with its interval over seeds."""
    for i, rule in enumerate(rules):
        offset = 0.7 * (i - (len(rules) - 1) / 2) / max(len(rules), 2)
        for one in (one for one in found if one.label == rule):
            value = getattr(one, measure)
            y = SETTINGS.index(setting_of(one)) + offset
            if np.isfinite(value.half_width):
                ends = [100 * (value.mean - value.half_width), 100 * (value.mean + value.half_width)]
                ax.plot(ends, [y, y], color=COLOURS[i % 7], lw=0.7, alpha=0.6, scalex=False)
            ax.plot(100 * value.mean, y, MARKERS[i % 7], color=COLOURS[i % 7], ms=2.6)
    ax.axvline(100, color=INK, lw=0.8, zorder=1)
    for edge in (2.5, 5.5):
        ax.axhline(edge, color="#bbbbbb", lw=0.6)
    ax.grid(False, axis="y")
    sns.despine(ax=ax, left=True)
    ax.tick_params(axis="y", length=0)


def _draw_planner(ax: Axes, found: Sequence[Finding], measure: str) -> None:
    values = [100 * getattr(one, measure).mean for one in found]
    places = [SETTINGS.index(setting_of(one)) for one in found]
    ax.plot(values, places, "|", color=MUTED, ms=8, mew=1.5, zorder=1)


def _label_settings(ax: Axes) -> None:
    ax.set_yticks(range(len(SETTINGS)), [named(setting) for setting in SETTINGS])
    ax.set_ylim(len(SETTINGS) - 0.5, -0.5)


# --- Of a sweep -------------------------------------------------------------------------------------


def sweep_in_words(found: Sequence[Learnt]) -> list[str]:
    """A line per regime and rule."""
    wide = max(22, *(len(one.rule) + 2 for one in found))
    lines = [" " * (26 + wide) + "".join(f"{OUTCOMES[name]:>18}" for name in SHARES)]
    for one in found:
        cells = "".join(f"{mean_text(getattr(one, name), 100):>18}" for name in SHARES)
        lines.append(f"  {one.regime:24}{one.rule:{wide}}{cells}")
    return lines + left_out_note(getattr(one, name) for one in found for name in SHARES)


@styled
def sweep_figure(found: Sequence[Learnt], note: str) -> Figure:
    """Welfare, users' value and price, a group of rows per regime."""
    rules = list(dict.fromkeys(one.rule for one in found))
    regimes = list(dict.fromkeys(one.regime for one in found))
    fig = new_figure(1.8 + 0.11 * (len(found) + len(regimes)))
    axes = fig.subplots(1, len(SHARES), sharey=True)
    rows, row = {}, 0.0
    for regime in regimes:
        for rule in (one.rule for one in found if one.regime == regime):
            rows[regime, rule] = row
            row += 1.0
        row += 1.0
    for ax, name in zip(axes, SHARES, strict=True):
        for one in found:
            value, place = getattr(one, name), rules.index(one.rule) % 7
            ax.errorbar(
                100 * value.mean,
                rows[one.regime, one.rule],
                xerr=100 * float(np.nan_to_num(value.half_width)),
                fmt=MARKERS[place],
                color=COLOURS[place],
            )
        ax.axvline(100, color=INK, lw=0.8, zorder=1)
        ax.set_title(OUTCOMES[name])
        ax.set_xlabel("% of the truth's")
        ax.grid(False, axis="y")
        sns.despine(ax=ax, left=True)
        ax.tick_params(axis="y", length=0)
    log_axis(axes[-1].xaxis)
    axes[-1].xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes[-1].minorticks_off()
    middles = [np.mean([at for (own, _), at in rows.items() if own == regime]) for regime in regimes]
    axes[0].set_yticks(middles, [REGIME_TITLES.get(regime, regime) for regime in regimes])
    axes[0].set_ylim(row - 1, -1)
    handles = [
        Line2D([], [], color=COLOURS[i % 7], marker=MARKERS[i % 7], ls="none", label=rule)
        for i, rule in enumerate(rules)
    ]
    legend_beside(fig, handles)
    low, high = (pick(found, key=lambda one: one.user_value.mean) for pick in (min, max))
    say(
        fig,
        f"Users get {100 * low.user_value.mean:.0f} % ({_under(low)}) to {100 * high.user_value.mean:.0f} % "
        f"({_under(high)}) of what the truthful second-price auction gives them",
        note,
    )
    return fig


def _under(one: Learnt) -> str:
    return f"{one.rule}, {REGIME_TITLES.get(one.regime, one.regime)}"


def _of_folder(folder: Path, out: Path) -> None:
    table, found = read_sweep(folder), learnt_of_sweep(folder)
    seeds = sorted(table.frame["replicate"].unique().tolist())
    print(f"Sweep {table.name}; in percent of the truthful second-price outcome, +- 95 % over replicates:")
    print(*sweep_in_words(found), sep="\n")
    note = (
        f"Sweep {table.name}, after the warm-up; the truth: everybody bids it in a second-price auction for "
        f"the same users. Bars: 95 % intervals over {len(seeds)} replicates of means over all other axes."
    )
    write_figure(
        sweep_figure(found, note), out / "what_learners_find", {"scenario": table.name, "seed": seeds}
    )


# --- The command ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder of a sweep")
    parser.add_argument("--rules", default=",".join(LEARNERS), help="rules to play")
    parser.add_argument("--beta", type=float, default=1000.0, help="users' rationality, 1/USD")
    parser.add_argument("--seeds", type=int, default=4, help="runs of each rule in each market")
    parser.add_argument("--rounds", type=int, default=120, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    options = parser.parse_args()
    rules = [name.strip() for name in options.rules.split(",")]
    with refusals("what_learners_find"):
        if options.folder is not None:
            _of_folder(options.folder, options.out)
            return
        for rule in rules:
            if rule not in ALLOWED:
                raise not_one_of("--rules", rule, ALLOWED)
        for name in ("seeds", "rounds"):
            if (number := getattr(options, name)) < 1:
                raise InputError(f"--{name} {number} is not allowed; it must be at least 1")
        free = [freedom(setting, options.beta) for setting in SETTINGS]
        found = what_learners_find(rules, options.beta, options.seeds, options.rounds)
    runs = f"{options.seeds} seeds of {options.rounds} rounds, beta = {options.beta:g}"
    print(f"In percent of the truthful second-price outcome, +- 95 % over seeds; {runs}:")
    print(*table(found), "", *in_words(found, free), sep="\n")
    note = (
        f"In percent of the truthful second-price outcome with the same users; {runs.replace('beta', 'β')}, "
        "expected demand, second half of the rounds. Lines: 95 % intervals over seeds, cut off at the edges."
    )
    write_figure(
        learners_figure(found, note),
        options.out / "what_learners_find",
        {"scenario": "the paper's nine settings", "seed": list(range(options.seeds)), "beta": options.beta},
    )


if __name__ == "__main__":
    main()

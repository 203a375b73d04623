"""What providers that learn find under each regime of a sweep of runs, as shares of the truthful second-price
auction (docs/theory.md 3) of the same market and the same users."""

import json
from dataclasses import dataclass
from pathlib import Path

from market_sim.errors import InputError
from market_sim.experiments.claims.speed import RULE_AXES
from market_sim.experiments.learners import Outcome, truthful_outcome
from market_sim.experiments.scenario import Scenario
from market_sim.experiments.sweep import load_sweep
from market_sim.experiments.sweep_table import over_replicates, plainly, read_sweep, wanted_axis
from market_sim.theory.inference import MeanDifference
from market_sim.theory.rule import AUCTIONS, PLANNED

OUTCOMES = ("welfare", "user_value", "price")


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """A rule under a regime: shares of the truthful outcome, means over replicates of means over all axes but
    regime and rule."""

    regime: str
    rule: str
    welfare: MeanDifference
    user_value: MeanDifference
    price: MeanDifference


def learnt_of_sweep(folder: Path | str) -> list[Learnt]:
    """Every rule under every regime of the sweep in a folder, in its order.

    Raises InputError for a sweep over neither regime nor rule, where no run went well, and where nobody is
    worth buying from in the truthful auction.
    """
    import pandas as pd

    table, sweep = read_sweep(folder), load_sweep(Path(folder) / "sweep.toml")
    wanted_axis(table, "run", ("regime.kind", *RULE_AXES), "what learners find")
    truths: dict[str, Outcome] = {}
    rows = []
    for row in table.ok.to_dict("records"):
        scenario = sweep.scenario(row["point"], row["seed"])
        truth = _truth(scenario, truths)
        rows.append(
            {
                "point": row["point"],
                "replicate": row["replicate"],
                "regime": scenario.regime.kind,
                "rule": _rule(scenario),
            }
            | {name: row[f"expected_{name}_usd"] / getattr(truth, name) for name in OUTCOMES}
        )
    if not rows:
        raise InputError(f"{table.name}: no run of it went well")
    return [
        Learnt(regime=regime, rule=rule, **{name: over_replicates(own, name) for name in OUTCOMES})
        for regime, under in pd.DataFrame(rows).groupby("regime", sort=False)
        for rule, own in under.groupby("rule", sort=False)
    ]


def _truth(scenario: Scenario, known: dict[str, Outcome]) -> Outcome:
    """The truthful outcome of a scenario; `known` remembers those of others by what they depend on."""
    data = scenario.model_dump(mode="json", exclude_unset=True)
    key = json.dumps([data.get("market"), data.get("users"), data["seed"]], sort_keys=True)
    if key not in known:
        known[key] = truthful_outcome(data)
        if not known[key].user_value > 0:
            raise InputError(
                f"{scenario.where}: users get nothing in the truthful auction, so nothing is a share of it"
            )
    return known[key]


def _rule(scenario: Scenario) -> str:
    """The rule that providers follow under the regime of a scenario."""
    kind, providers = scenario.regime.kind, scenario.providers
    if kind in PLANNED:
        return "planned"
    learning = providers.auction_learning if kind in AUCTIONS else providers.learning
    return plainly(json.dumps(learning.model_dump(mode="json")))

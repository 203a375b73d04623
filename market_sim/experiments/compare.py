"""The same users, tasks and seeds under several regimes, side by side, and what differs in plain words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.regimes import REGIMES
from market_sim.economy.uncertainty import CONFIDENCE, UncertainSolutions
from market_sim.errors import InputError, named
from market_sim.experiments.build import market_of
from market_sim.experiments.people import users_of_one_type
from market_sim.experiments.run import Progress, Run, defined, run
from market_sim.experiments.scenario import Scenario, changed, load_scenario
from market_sim.experiments.solve import solve_uncertain
from market_sim.experiments.timeline import timeline_of

if TYPE_CHECKING:
    import pandas as pd

REGIMES_COMPARED = ("pay_per_compute", "second_price_auction")


@dataclass(frozen=True, kw_only=True)
class Measures:
    """One regime, averaged over the second half of the rounds; USD per arriving request.

    What users and providers can expect, and first_best_gap_usd, add up to the first best.
    """

    regime: str
    welfare_usd: float
    expected_welfare_usd: float
    user_value_usd: float
    expected_user_value_usd: float
    provider_profit_usd: float
    expected_provider_profit_usd: float
    log_sum_surplus_usd: float
    price_usd: float
    expected_price_usd: float
    tokens_per_query: float
    accuracy: float
    outside_share: float
    inefficiency: float
    first_best_gap_usd: float
    shares: dict[str, float]


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Runs of one scenario under several regimes, the first being what the others are held against.

    uncertainty  the market solved for every draw of its curves, where that was asked for
    """

    name: str
    seed: int
    runs: tuple[Run, ...]
    measures: tuple[Measures, ...]
    sentences: tuple[str, ...]
    uncertainty: UncertainSolutions | None = None

    def to_dict(self) -> dict[str, Any]:
        data = {
            "name": self.name,
            "seed": self.seed,
            "regimes": [
                {name: defined(value) if isinstance(value, float) else value for name, value in row.items()}
                for row in map(asdict, self.measures)
            ],
            "sentences": list(self.sentences),
        }
        if self.uncertainty is not None:
            data["uncertainty"] = [each.to_dict() for each in self.uncertainty]
        return data

    def to_frame(self) -> "pd.DataFrame":
        """One row per regime."""
        import pandas as pd

        rows = [asdict(measures) for measures in self.measures]
        return pd.DataFrame([{k: v for k, v in row.items() if k != "shares"} for row in rows])

    def __repr__(self) -> str:
        return f"<Comparison {self.name} seed={self.seed}: " + " ".join(self.sentences) + ">"


def compare(
    scenario: Path | str | dict[str, Any] | Scenario,
    *,
    regimes: Sequence[str] = REGIMES_COMPARED,
    seed: int | None = None,
    rounds: int | None = None,
    out: Path | str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    uncertainty: bool = False,
    draws: int | None = None,
    confidence: float = CONFIDENCE,
    correlation: float | None = None,
) -> Comparison:
    """Play a scenario under each regime with common random numbers; arguments as in `run`.

    uncertainty  solve the market for every draw of its curves as well; the play is of the curves as measured
    draws, confidence, correlation   of uncertainty, as in `solve_uncertain`
    Raises InputError before anything is played, whichever regime it concerns, and for a scenario whose
    events bring a regime: all runs would end under that one.
    """
    scenario, regimes = changed(load_scenario(scenario), seed=seed, rounds=rounds), tuple(regimes)
    if not regimes:
        raise InputError(f"--regimes is empty; it must name some of {', '.join(REGIMES)}")
    _check_regime_stays(scenario)
    for regime in regimes:
        named("--regimes", regime, REGIMES)
        if regimes.count(regime) > 1:
            raise InputError(f"--regimes names {regime!r} twice")
        timeline_of(changed(scenario, regime__kind=regime))
    exact = None
    if uncertainty:
        users_of_one_type(scenario, market_of(scenario), "leave out --uncertainty")
        exact = solve_uncertain(scenario, draws=draws, confidence=confidence, correlation=correlation)
    runs = []
    for number, regime in enumerate(regimes):

        def on_round(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(regimes) * total)

        runs.append(run(scenario, regime=regime, out=out, force=force, progress=on_round))
    measures = tuple(_measures(each) for each in runs)
    return Comparison(
        name=scenario.name,
        seed=runs[0].seed,
        runs=tuple(runs),
        measures=measures,
        sentences=tuple(sentence for other in measures[1:] for sentence in _sentences(measures[0], other)),
        uncertainty=exact,
    )


def _check_regime_stays(scenario: Scenario) -> None:
    for place, event in enumerate(scenario.events):
        if event.regime is not None:
            shorter = "" if event.round == 1 else f", or end before it with --rounds {event.round - 1}"
            raise InputError(
                f"{scenario.where}: events.{place} brings {event.regime.kind} in round {event.round}, and "
                f"compare plays each regime from the first round to the last: leave it out{shorter}; "
                "run plays it"
            )


def _measures(run: Run) -> Measures:
    wanted = {field.name for field in fields(Measures)}
    return Measures(
        regime=run.regime,
        expected_provider_profit_usd=run.mean("expected_welfare_usd") - run.mean("expected_user_value_usd"),
        shares=run.shares(),
        **{name: run.mean(name) for name in run.rounds if name in wanted},
    )


TITLES = {
    "pay_per_compute": "pay-per-compute",
    "second_price_auction": "the second-price auction",
    "first_price_auction": "the first-price auction",
}


def _sentences(base: Measures, new: Measures) -> list[str]:
    """What a regime changes for everybody against the first, gains and losses in the same words.

    Society, users and providers by expectation given the play, so that one round says as much as many.
    """
    here, there = TITLES.get(new.regime, new.regime), TITLES.get(base.regime, base.regime)
    said = [
        f"Under {here} {who} {_verdict(getattr(new, column) - getattr(base, column))} under {there}."
        for who, column in (
            ("society is", "expected_welfare_usd"),
            ("users are", "expected_user_value_usd"),
            ("providers are", "expected_provider_profit_usd"),
        )
    ]
    taste = "If the noise in users' choices is taste rather than mistakes, "
    surplus = new.log_sum_surplus_usd - base.log_sum_surplus_usd
    if np.isfinite(surplus):
        said.append(f"{taste}users are {_verdict(surplus)} under {there} (log-sum surplus).")
    else:
        said.append(f"{taste}their surplus is infinite at beta = 0, and there is no comparison.")
    price = new.expected_price_usd - base.expected_price_usd
    if _tells(price):
        said.append(f"The price paid is {_money(price)} {'higher' if price > 0 else 'lower'} under {here}.")
    return said


def _verdict(gain: float) -> str:
    if not _tells(gain):
        return "as well off as"
    return f"{_money(gain)} {'better' if gain > 0 else 'worse'} off than"


def _tells(usd: float) -> bool:
    """Whether a difference per request is anything in the digits shown."""
    return abs(usd) >= 5e-7


def _money(usd: float) -> str:
    return f"{1000 * abs(usd):.3f} USD per 1,000 queries"

"""The same users, tasks and seeds under several regimes, side by side, and what differs in plain words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from market_sim.economy.regimes import REGIMES
from market_sim.errors import not_one_of
from market_sim.experiments.run import Progress, Run, run
from market_sim.experiments.scenario import Scenario, load_scenario

if TYPE_CHECKING:
    import pandas as pd

REGIMES_COMPARED = ("pay_per_compute", "second_price_auction")


@dataclass(frozen=True, kw_only=True)
class Measures:
    """One regime, averaged over the second half of the rounds; USD per arriving request.

    lost_usd is what the first best has more than this regime's welfare: users, providers and it add up to
    the first best.
    """

    regime: str
    welfare_usd: float
    user_value_usd: float
    log_sum_surplus_usd: float
    price_usd: float
    provider_profit_usd: float
    tokens_per_query: float
    accuracy: float
    outside_share: float
    inefficiency: float
    first_best_gap_usd: float
    lost_usd: float
    shares: dict[str, float]


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """Runs of one scenario under several regimes, the first being what the others are held against."""

    name: str
    seed: int
    runs: tuple[Run, ...]
    measures: tuple[Measures, ...]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seed": self.seed,
            "regimes": [_defined(asdict(measures)) for measures in self.measures],
            "sentences": list(self.sentences),
        }

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
) -> Comparison:
    """Play a scenario under each regime with common random numbers; arguments as in `run`."""
    scenario = load_scenario(scenario)
    for regime in regimes:
        if regime not in REGIMES:
            raise not_one_of("--regimes", regime, REGIMES)
    runs = []
    for number, regime in enumerate(regimes):

        def on_round(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(regimes) * total)

        runs.append(
            run(
                scenario,
                seed=seed,
                rounds=rounds,
                regime=regime,
                out=out,
                force=force,
                progress=on_round,
            )
        )
    measures = tuple(_measures(each) for each in runs)
    return Comparison(
        name=scenario.name,
        seed=runs[0].seed,
        runs=tuple(runs),
        measures=measures,
        sentences=tuple(
            sentence for other in range(1, len(runs)) for sentence in _sentences(runs, measures, other)
        ),
    )


def _measures(run: Run) -> Measures:
    means = {name: run.mean(name) for name in run.rounds if name != "round"}
    chosen = run.providers["round"] >= run.rounds["round"][run.late()][0]
    names = dict.fromkeys(run.providers["provider"].tolist())
    first_best = means["first_best_gap_usd"] + means["expected_welfare_usd"]
    return Measures(
        regime=run.regime,
        lost_usd=first_best - means["welfare_usd"],
        shares={
            name: float(run.providers["share"][chosen & (run.providers["provider"] == name)].mean())
            for name in names
        },
        **{name: means[name] for name in _COLUMNS},
    )


_COLUMNS = (
    "welfare_usd",
    "user_value_usd",
    "log_sum_surplus_usd",
    "price_usd",
    "provider_profit_usd",
    "tokens_per_query",
    "accuracy",
    "outside_share",
    "inefficiency",
    "first_best_gap_usd",
)

TITLES = {
    "pay_per_compute": "pay-per-compute",
    "second_price_auction": "the second-price auction",
    "first_price_auction": "the first-price auction",
}


def _sentences(runs: Sequence[Run], measures: Sequence[Measures], other: int) -> list[str]:
    """What the other regime changes for everybody against the first, gains and losses in the same words."""
    base, new = measures[0], measures[other]
    here, there = TITLES.get(new.regime, new.regime), TITLES.get(base.regime, base.regime)
    said = []
    for who, column in (
        ("society is", "welfare_usd"),
        ("users are", "user_value_usd"),
        ("providers are", "provider_profit_usd"),
    ):
        gain, error = paired_difference(runs[0], runs[other], column)
        said.append(f"Under {here} {who} {_verdict(gain, error)} than under {there}.")
    surplus = new.log_sum_surplus_usd - base.log_sum_surplus_usd
    if np.isfinite(surplus) and surplus != 0:
        word = "better" if surplus > 0 else "worse"
        said.append(
            f"If the noise in users' choices is taste rather than mistakes, users are {_money(surplus)} "
            f"{word} off under {here} (log-sum surplus)."
        )
    price = new.price_usd - base.price_usd
    if abs(price) > 1e-12:
        said.append(f"The price paid is {_money(price)} {'higher' if price > 0 else 'lower'} under {here}.")
    return said


def _verdict(gain: float, error: float) -> str:
    """How much better or worse off; within two standard errors it cannot be told."""
    if not np.isfinite(error):
        return f"neither measurably better nor worse off (one round, {1000 * gain:+.3f})"
    if abs(gain) <= max(2 * error, 1e-12):
        return f"neither measurably better nor worse off ({1000 * gain:+.3f} +- {1000 * 2 * error:.3f})"
    return f"{_money(gain)} {'better' if gain > 0 else 'worse'} off"


def _money(usd: float) -> str:
    return f"{1000 * abs(usd):.3f} USD per 1,000 queries"


def paired_difference(base: Run, other: Run, column: str) -> tuple[float, float]:
    """Mean of other - base over the second half of the rounds, and its standard error, USD per request.

    Both met the same users and shocks, so rounds are compared one with one.
    """
    difference = (other.rounds[column] - base.rounds[column])[base.late()]
    if len(difference) < 2:
        return float(difference.mean()), float("inf")
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def _defined(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}

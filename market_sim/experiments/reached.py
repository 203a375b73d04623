"""What a run reached: whether play settled, went round a cycle or did neither, how far from equilibrium it
was, and how well its welfare is known (docs/theory.md 5.1).

Everything follows from what each provider stood at in every round.  What a provider could have gained is
measured against the very profiles that were played, each of them once.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from market_sim.simulation.nearness import nearness, no_equilibria
from market_sim.simulation.parts import Parts
from market_sim.simulation.providers import payoffs_of_all
from market_sim.theory.arrays import Array
from market_sim.theory.auction import EFFICIENT
from market_sim.theory.convergence import (
    Cycle,
    Estimate,
    batch_means,
    find_cycle,
    mser_cut,
    regret,
    settled_round,
)

MOST_PROFILES = 3000
"""Different profiles of a run that the gap to a coarse correlated equilibrium is measured on."""

MOST_PAYOFFS = 5_000_000
"""Profits of own actions against them that are kept at once: fewer profiles where grids are large."""

Label = float | str
"""An action: the compute level where nothing else is chosen, else a few words."""


@dataclass(frozen=True, kw_only=True)
class NamedCycle:
    """The cycle that a run ends in, by provider: what each stands at in the profiles it goes through.

    start    round in which the periodic part begins
    members  the profiles of one period in order
    """

    start: int
    members: tuple[Mapping[str, Label], ...]

    @property
    def length(self) -> int:
        """Profiles in a period, which is moves in a period."""
        return len(self.members)

    @property
    def movers(self) -> list[str]:
        """The providers that take part."""
        first = self.members[0]
        return [name for name in first if any(member[name] != first[name] for member in self.members)]


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The exact equilibrium that the last round is closest to (`theory.convergence.nearest_equilibrium`).

    number            its place in the list of `market-sim solve`, from 1; with several benchmarks, among all
                      that can be put together from theirs
    of                equilibria in that list
    ties              providers are somewhere indifferent: the list has one equilibrium per total offer, and
                      another that is worth the same to everybody counts as some steps away
    providers_off     providers that do not stand at their level of it
    level_steps       how many levels they are away from it, all together
    mean_level_steps  the same for each round's nearest one, on average from `welfare_from` on
    """

    number: int
    of: int
    ties: bool
    providers_off: int
    level_steps: int
    mean_level_steps: float


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Where play ended up; USD per arriving request.

    began           the round that play is measured from: 0, or that of the last event
    rounds          rounds measured, those after it
    last_move       the last round in which somebody moved, 0 if nobody did
    settled_round   the same if that is long enough ago (`_patience`); None if not
    cycle           None where play settled, or does not go round one
    nearest         None where `no_equilibria` says why there is no list to compare with
    cce_gap_usd     gap to a coarse correlated equilibrium, at most zero if play is one; NaN where users
                    remember: what a provider could have earned then depends on more than the others' actions
    rounds_weighed  rounds that gap is measured on: all, or so many at even distances
    nashconv_usd    what all providers together could gain by moving, each alone, after the last round
    welfare_from    first round after the warm-up (MSER)
    welfare         expected welfare from there on: mean, half-width of its 95 % interval (batch means),
                    effective sample size
    """

    began: int
    rounds: int
    last_move: int
    settled_round: int | None
    cycle: NamedCycle | None
    nearest: Nearest | None
    no_equilibria: str | None
    cce_gap_usd: float
    rounds_weighed: int
    nashconv_usd: float
    welfare_from: int
    welfare: Estimate

    @property
    def settled_in(self) -> int | None:
        """The number of the equilibrium that play settled in; None where it settled in none."""
        if self.settled_round is None or self.nearest is None or self.nearest.level_steps > 0:
            return None
        return self.nearest.number

    @property
    def still_on_its_way(self) -> bool:
        """Whether the warm-up is as long as it may be, half of the rounds: welfare may not have arrived."""
        return self.rounds > 1 and self.welfare_from - self.began > self.rounds // 2

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dictionaries; None for what is undefined."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        made = _measured(data)
        made["welfare"] = Estimate(**_measured(made["welfare"]))
        if made["nearest"] is not None:
            made["nearest"] = Nearest(**made["nearest"])
        if made["cycle"] is not None:
            made["cycle"] = NamedCycle(start=made["cycle"]["start"], members=tuple(made["cycle"]["members"]))
        return cls(**made)


def reached_by(parts: Parts, actions: Array, rounds: Mapping[str, Array]) -> Reached:
    """What a run reached, from the first of these rounds on.

    parts    of all of these rounds
    actions  (R + 1, T, N)  what each provider stood at after each round; the first row is where play began
    rounds   columns of the rounds table, (R + 1,) each
    """
    profiles = actions[:, :, parts.present]
    joint = profiles.reshape(len(profiles), -1)
    played, welfare, began = profiles[1:], rounds["expected_welfare_usd"][1:], int(rounds["round"][0])
    patience = _patience(parts, len(played))
    warm_up = mser_cut(welfare)
    moved = (joint[1:] != joint[:-1]).any(axis=1)
    turns = 2 * len(parts.present) - 1 if patience is None else patience
    settled = settled_round(joint, patience=turns)
    cycle = find_cycle(joint, patience=turns)
    if cycle is not None and patience is not None and not _keeps_time(joint[1:], cycle, patience):
        cycle = None
    reason = no_equilibria(parts)
    gap, weighed_rounds = _gap(parts, played)
    return Reached(
        began=began,
        rounds=len(played),
        last_move=began + int(np.flatnonzero(moved)[-1]) + 1 if moved.any() else 0,
        settled_round=None if settled is None else began + settled,
        cycle=None if cycle is None else _named(parts, began + cycle.start, cycle.members),
        nearest=_nearest(parts, played, warm_up) if reason is None else None,
        no_equilibria=reason,
        cce_gap_usd=gap,
        rounds_weighed=weighed_rounds,
        nashconv_usd=_nashconv(parts, played, rounds),
        welfare_from=began + 1 + warm_up,
        welfare=batch_means(welfare[warm_up:]),
    )


def _users_remember(parts: Parts) -> bool:
    """Whether what users do depends on more than what is offered today; in an auction it does not."""
    if parts.regime.bids:
        return False
    return parts.experience is not None or parts.users.inertia is not None


def _gap(parts: Parts, played: Array) -> tuple[float, int]:
    """The gap to a coarse correlated equilibrium, USD, and how many rounds it was measured on."""
    if _users_remember(parts):
        return float("nan"), 0
    different, times = weighed(played, _most_profiles(parts))
    return float(_regret_usd(parts, different, times).max()), int(times.sum())


def _nashconv(parts: Parts, played: Array, rounds: Mapping[str, Array]) -> float:
    if _users_remember(parts):
        return float(rounds["nashconv_usd"][-1])
    return float(_regret_usd(parts, played[-1:], np.ones(1)).sum())


def _regret_usd(parts: Parts, profiles: Array, times: Array) -> Array:
    """What each provider's best fixed action would have added, task by task, (N,), USD per request."""
    total = np.zeros(len(parts.present))
    for task, asked in enumerate(parts.askers):
        payoffs = payoffs_usd(parts, profiles, task)
        total += asked.n_people / parts.users.n_people * regret(payoffs, profiles[:, task], times)
    return total


def payoffs_usd(parts: Parts, profiles: Array, task: int = 0) -> Array:
    """What each own action would earn in expectation against the others' of each profile, (M, N, A).

    profiles  (M, T, N)  of the providers in the market
    returns   USD per request of the task; -inf where not allowed
    """
    whole = np.zeros((len(profiles), parts.market.n_tasks, parts.market.n_providers), dtype=np.int64)
    whole[:, :, parts.present] = profiles
    return np.stack([payoffs_of_all(parts, one, task).usd() for one in whole])


def weighed(profiles: Array, most: int) -> tuple[Array, Array]:
    """The different profiles among those of many rounds, (M, ...), and how often each occurs, (M,).

    Where there are more than `most`, those of so many rounds at even distances.

    >>> different, times = weighed(np.array([[0, 1], [2, 0], [0, 1]]), most=2)
    >>> different.tolist(), times.tolist()
    ([[0, 1], [2, 0]], [2, 1])
    """
    different, times = np.unique(profiles, axis=0, return_counts=True)
    if len(different) > most:
        even = np.linspace(0, len(profiles) - 1, most).astype(int)
        different, times = np.unique(profiles[even], axis=0, return_counts=True)
    return different, times


def defined(value: float) -> float | None:
    """None, which JSON has, for what is undefined or infinite."""
    return value if np.isfinite(value) else None


def _most_profiles(parts: Parts) -> int:
    allowed = parts.regime.actions(parts.regime, parts.open_market, 0).allowed
    return min(MOST_PROFILES, max(1, MOST_PAYOFFS // (allowed.size * parts.market.n_tasks)))


def _patience(parts: Parts, rounds: int) -> int | None:
    """Rounds without a move that tell of the end; None where two turns of everybody do.

    A rule that draws nothing and answers the others' standing offers will not move again once everybody
    has passed.  Others may stand still by chance, or while they learn: a quarter of the run is asked of them.
    """
    for rule in parts.rules:
        if rule.information not in ("none", "reply") or rule.functions.draws != 0:
            return max(2 * len(parts.present) - 1, rounds // 4)
    return None


def _keeps_time(played: Array, cycle: Cycle, patience: int) -> bool:
    """Whether each period took as many rounds as the next, over the last `patience` rounds and three periods.

    Whoever draws between two actions goes to and fro as well, but keeps no time.
    """
    moves = np.flatnonzero((played[1:] != played[:-1]).any(axis=1)) + 1
    period = moves[-1] - moves[-1 - cycle.length]
    last = played[-max(patience, 3 * period) :]
    return len(last) >= 3 * period and np.array_equal(last[period:], last[:-period])


def _nearest(parts: Parts, played: Array, warm_up: int) -> Nearest:
    near = nearness(parts, played)
    return Nearest(
        number=int(near.number[-1]) + 1,
        of=near.of,
        ties=near.ties,
        providers_off=int(near.providers_off[-1]),
        level_steps=int(near.level_steps[-1]),
        mean_level_steps=float(near.level_steps[warm_up:].mean()),
    )


def _named(parts: Parts, start: int, members: Array) -> NamedCycle:
    market = parts.open_market
    columns = [(task, i) for task in range(market.n_tasks) for i in range(market.n_providers)]
    names = [
        market.providers[i] if market.n_tasks == 1 else f"{market.providers[i]} / {market.tasks[task]}"
        for task, i in columns
    ]
    rows = [[_label(parts, *at, action) for at, action in zip(columns, row, strict=True)] for row in members]
    return NamedCycle(start=start, members=tuple(dict(zip(names, row, strict=True)) for row in rows))


def _label(parts: Parts, task: int, provider: int, action: int) -> Label:
    grid = parts.regime.actions(parts.regime, parts.open_market, task)
    level = grid.level[action]
    label = float(parts.open_market.compute_level[task, provider, level])
    words = "efficient" if level == EFFICIENT else f"level {label:g}"
    if grid.margin is not None:
        return f"{words}, {grid.margin[action]:.4g} USD above cost"
    if not parts.regime.bids:
        return label
    overstated = f", overstating {grid.overstate[action]:g}" if grid.overstate[action] > 0 else ""
    return f"{words}, asking {grid.share[action]:g} of its surplus{overstated}"


def _measured(data: Mapping[str, Any]) -> dict[str, Any]:
    """With NaN again for the measures that are undefined."""
    measures = ("mean", "half_width", "n_effective", "cce_gap_usd", "nashconv_usd")
    return {
        name: np.nan if value is None and name in measures else value for name, value in dict(data).items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return defined(value) if isinstance(value, float) else value

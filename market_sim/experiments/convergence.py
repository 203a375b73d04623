"""Where a learning rule ends up in a market, over seeds: in which equilibrium, how far from one, and whether
the seeds tell one story (docs/theory.md 5.1).

Everybody follows the rule under pay-per-compute, and demand is the expected one of users who are alike.
"""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from market_sim.economy.solve import solve_market
from market_sim.experiments.paper import paper_market
from market_sim.experiments.reached import Reached, reached_by
from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.timeline import timeline_of
from market_sim.simulation.batch import play_many
from market_sim.simulation.parts import Parts
from market_sim.theory.convergence import split_rhat
from market_sim.theory.learning import RULES

REGIME = "pay_per_compute"
LEARNERS = tuple(name for name, family in RULES.items() if REGIME in family.regimes)


@dataclass(frozen=True, kw_only=True)
class Game:
    """One of the paper's markets, how rational its users are (1/USD), and where providers start: at the
    "lowest" or the "highest" levels."""

    benchmark: str
    method: str
    beta: float
    start: str = "lowest"


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """A rule in a game, over seeds.

    seeds            runs
    settled, cycled  shares of the seeds; the rest did neither
    median_round     in which those that settled did; NaN where none did
    settled_in       share of the seeds that settled in each equilibrium, by its number (from the least)
    equilibria       of the game
    level_steps      from the nearest equilibrium after the warm-up, all providers together; mean
    gap              to a coarse correlated equilibrium, as a share of the providers' profit; mean
    welfare          after the warm-up over that of the nearest equilibrium; mean
    rhat             split R-hat over the seeds, of welfare in the second half of the rounds
    """

    game: Game
    rule: str
    seeds: int
    settled: float
    cycled: float
    median_round: float
    settled_in: dict[int, float]
    equilibria: int
    level_steps: float
    gap: float
    welfare: float
    rhat: float

    @property
    def in_equilibrium(self) -> float:
        """Share of the seeds that settled in one."""
        return sum(self.settled_in.values())

    @property
    def elsewhere(self) -> float:
        """Share of the seeds that settled in none."""
        return self.settled - self.in_equilibrium

    @property
    def neither(self) -> float:
        """Share of the seeds that neither settled nor went round a cycle."""
        return 1.0 - self.settled - self.cycled


def converge(game: Game, rule: str, seeds: int, rounds: int) -> Convergence:
    """Play a game with everybody following a rule, once for each seed."""
    parts = parts_of(game, rule, rounds)
    plays = play_many(parts, range(seeds), rounds)
    reached = []
    for actions, welfare in zip(plays.actions, plays.welfare_usd, strict=True):
        columns = {"round": np.arange(rounds + 1), "expected_welfare_usd": welfare}
        reached.append(reached_by(parts, actions[:, None], columns))
    (solution,) = solve_market(paper_market(game.benchmark, game.method), [game.beta])
    return _over_seeds(
        game,
        rule,
        reached,
        profit_usd=plays.profit_usd[:, 1:].sum(axis=2).mean(axis=1),
        rhat=split_rhat(plays.welfare_usd[:, 1 + rounds // 2 :]),
        equilibrium_welfare=[profile.welfare for profile in solution.equilibria],
    )


def parts_of(game: Game, rule: str, rounds: int) -> Parts:
    """The parts of a game with everybody following a rule."""
    return timeline_of(
        load_scenario(
            {
                "name": "convergence",
                "rounds": rounds,
                "market": {"benchmark": game.benchmark, "method": game.method},
                "users": {"beta": game.beta, "demand": "expected"},
                "providers": {"learning": {"rule": rule}, "start": game.start},
                "regime": {"kind": REGIME},
            }
        )
    ).first


def _over_seeds(
    game: Game,
    rule: str,
    reached: Sequence[Reached],
    *,
    profit_usd: np.ndarray,
    rhat: float,
    equilibrium_welfare: Sequence[float],
) -> Convergence:
    n = len(reached)
    nearest = [one.nearest for one in reached if one.nearest is not None]
    settled = [one.settled_round for one in reached if one.settled_round is not None]
    ends = Counter(one.settled_in for one in reached if one.settled_in is not None)
    against = [equilibrium_welfare[place.number - 1] for place in nearest]
    return Convergence(
        game=game,
        rule=rule,
        seeds=n,
        settled=len(settled) / n,
        cycled=sum(one.cycle is not None for one in reached) / n,
        median_round=float(np.median(settled)) if settled else np.nan,
        settled_in={number: ends[number] / n for number in sorted(ends)},
        equilibria=len(equilibrium_welfare),
        level_steps=float(np.mean([place.mean_level_steps for place in nearest])),
        gap=float(np.mean([one.cce_gap_usd / usd for one, usd in zip(reached, profit_usd, strict=True)])),
        welfare=float(np.mean([one.welfare.mean / w for one, w in zip(reached, against, strict=True)])),
        rhat=rhat,
    )


def converge_everywhere(
    games: Sequence[Game], rules: Sequence[str], seeds: int, rounds: int
) -> list[Convergence]:
    """Every rule in every game, game by game; they are spread over the processors."""
    cases = [(game, rule, seeds, rounds) for game in games for rule in rules]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(converge, *zip(*cases, strict=True)))

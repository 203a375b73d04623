"""Many runs of one market at once: the same providers and users, one run per seed, side by side.

A run in the round's own way (simulation/round.py) records everything and takes a good part of a
millisecond a round.  Where only the play matters, and demand is the expected one of users who are alike,
posted prices leave little to compute: shares of a profile, and what rules are told of it.  Learners of all
runs stand on the first axis of one memory, so a round of a hundred runs is one call of each rule.

Row t of a run here is row t of `play_round` with the same seed, to the last bit of every action and profit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from market_sim.economy.pay_per_compute import payoffs_from_logs, posted, posted_game
from market_sim.economy.regime import Payoffs as Seen
from market_sim.simulation.parts import Parts
from market_sim.simulation.providers import groups, stakes
from market_sim.simulation.round import begin
from market_sim.theory import choice
from market_sim.theory.arrays import Array, at_levels
from market_sim.theory.game import log_profits
from market_sim.theory.rule import Feedback, Memory, Payoffs, Rule, View, take
from market_sim.theory.streams import ROUNDS_PER_BLOCK, Role, activation_order, stream


@dataclass(frozen=True, kw_only=True)
class Plays:
    """What happened in S runs of R rounds among N providers; row 0 is the start.

    seeds         (S,)
    actions       (S, R + 1, N)  what each provider stood at
    profit_usd    (S, R + 1, N)  expected profit, USD per arriving request
    welfare_usd   (S, R + 1)     expected welfare, USD per arriving request
    """

    seeds: Array
    actions: Array
    profit_usd: Array
    welfare_usd: Array


def play_many(parts: Parts, seeds: Sequence[int], rounds: int) -> Plays:
    """Play `rounds` rounds with each of the seeds, in place of that of `parts`.

    Raises ValueError where a run is more than the play of posted prices before users who are alike: with
    bids, several tasks, sampled demand, capacity, or users who differ or remember.
    """
    _check(parts)
    market, runs = parts.market, np.array(seeds)
    n_runs, n = len(runs), market.n_providers
    actions = np.empty((n_runs, rounds + 1, n), dtype=np.int64)
    profit, welfare = np.empty((n_runs, rounds + 1, n)), np.empty((n_runs, rounds + 1))
    actions[:, 0] = begin(parts)[0].actions[0]
    profit[:, 0], welfare[:, 0] = _outcome(parts, actions[:, 0])
    schools = [_School(parts, rule, members, runs) for rule, members in groups(parts.rules)]
    for now in range(1, rounds + 1):
        standing, moving = actions[:, now - 1], _movers(parts, runs, now)
        actions[:, now] = standing
        for school in schools:
            school.revise(standing, moving, now, out=actions[:, now])
        profit[:, now], welfare[:, now] = _outcome(parts, actions[:, now])
        for school in schools:
            school.learn(actions[:, now], moving, profit[:, now])
    return Plays(seeds=runs, actions=actions, profit_usd=profit, welfare_usd=welfare)


def _check(parts: Parts) -> None:
    for fine, what in (
        (not parts.regime.bids, "auctions"),
        (parts.market.n_tasks == 1, "several tasks"),
        (parts.demand == "expected", "sampled demand"),
        (parts.users.alike, "users who differ, remember or have budgets"),
        (parts.capacity is None and parts.active is None, "providers that are full or away"),
        (parts.experience is None, "users who learn"),
    ):
        if not fine:
            raise ValueError(f"many runs at once are for posted prices and alike users, not for {what}")


def _outcome(parts: Parts, actions: Array) -> tuple[Array, Array]:
    """Expected profits (S, N) and welfare (S,) of profiles (S, N), USD per arriving request."""
    market, users = parts.market, parts.users
    offers = posted(parts.regime, market, 0)
    price, cost = at_levels(offers.price, actions), at_levels(offers.cost, actions)
    quality = users.value_scale[0] * at_levels(offers.quality, actions)
    log_shares, log_outside = choice.log_shares(quality - price, users.beta[0], market.outside_value)
    # In totals and back, as the accounts of a round are kept, so that rows agree to the last bit.
    people = users.n_people
    requests = np.exp(log_shares) * people
    profit = (price * requests - requests * cost) / people
    created = np.exp(log_shares) * (quality - cost)
    return profit, created.sum(axis=-1) + np.exp(log_outside) * market.outside_value


def _movers(parts: Parts, seeds: Array, now: int) -> Array:
    """Whose turn it is in each run, (S, N) bool: that of `providers.movers`."""
    n = parts.market.n_providers
    always = np.ones(n, dtype=bool)
    if parts.activation == "default":
        always = np.array([rule.information != "reply" for rule in parts.rules])
    elif parts.activation == "one_at_a_time":
        always = np.zeros(n, dtype=bool)
    moving = np.tile(always, (len(seeds), 1))
    if not always.all():
        cycle, turn = divmod(now - 1, n)
        for run, seed in enumerate(seeds.tolist()):
            moving[run, activation_order(seed, n, cycle)[turn]] = True
    return moving


class _School:
    """All learners of one rule: P = S x members of them, run by run, and what they remember."""

    def __init__(self, parts: Parts, rule: Rule, members: Array, seeds: Array) -> None:
        self.parts, self.rule, self.members, self.seeds = parts, rule, members, seeds
        regime, market = parts.regime, parts.market
        self.grid = regime.actions(regime, market, 0)
        n_actions, n_runs = len(self.grid.level), len(seeds)
        self.allowed = np.tile(self.grid.allowed[members], (n_runs, 1))
        self.scale = np.tile(stakes(regime, market, 0, parts.users)[members], n_runs)
        self.plan = None
        if regime.plan is not None and rule.information == "plan":
            self.plan = np.tile(regime.plan(regime, market, 0, parts.users)[members], n_runs)
        self.memory: Memory = rule.functions.start(n_runs * len(members), n_actions, market.n_providers)
        self.draws = n_actions if rule.functions.draws is None else rule.functions.draws
        self.block = -1
        self.drawn = np.empty((ROUNDS_PER_BLOCK, n_runs * len(members), self.draws))

    def revise(self, standing: Array, moving: Array, now: int, out: Array) -> None:
        """Put what the movers among these learners now do into `out`, (S, N)."""
        rows = np.flatnonzero(moving[:, self.members])
        if not len(rows):
            return
        payoffs = None
        if self.rule.information == "reply":
            seen = self._counterfactual(standing)
            payoffs = Payoffs(seen.relative[rows], None if seen.logs is None else seen.logs[rows])
        everybody = len(rows) == len(self.allowed)
        current = standing[:, self.members].ravel()
        view = View(
            current=current[rows],
            allowed=self.allowed[rows],
            steps=self.grid.steps,
            recommended=None if self.plan is None else self.plan[rows],
            payoffs=payoffs,
        )
        remembered = self.memory if everybody else take(self.memory, rows)
        current[rows] = self.rule.functions.act(remembered, view, self._uniforms(now)[rows])
        out[:, self.members] = current.reshape(len(self.seeds), -1)

    def learn(self, actions: Array, moving: Array, profit_usd: Array) -> None:
        """Tell these learners what they may know of the round."""
        told: dict[str, Any] = {}
        if self.rule.information == "full":
            seen = self._counterfactual(actions)
            told["payoffs"] = Payoffs(seen.usd() / self.scale[:, None], seen.logs)
        if self.rule.information in ("own", "actions", "rivals"):
            told["profit"] = profit_usd[:, self.members].ravel() / self.scale
        if self.rule.information in ("actions", "rivals"):
            told["actions"] = np.repeat(actions, len(self.members), axis=0)
        if self.rule.information == "rivals":
            told["profits"] = np.repeat(profit_usd, len(self.members), axis=0)
        feedback = Feedback(
            action=actions[:, self.members].ravel(),
            moved=moving[:, self.members].ravel(),
            allowed=self.allowed,
            **told,
        )
        self.memory = self.rule.functions.update(self.memory, feedback)

    def _counterfactual(self, standing: Array) -> Seen:
        """What each own action of these learners would earn against the others' standing ones, (P, A)."""
        parts, users = self.parts, self.parts.users
        offers = posted(parts.regime, parts.market, 0)
        game = posted_game(parts.regime, parts.market, 0, float(users.beta[0]), float(users.value_scale[0]))
        logs = log_profits(game, standing)[:, self.members].reshape(self.allowed.shape)
        return payoffs_from_logs(offers, logs, np.tile(self.members, len(self.seeds)))

    def _uniforms(self, now: int) -> Array:
        """This round's uniform numbers, (P, draws): those of `streams.uniforms`."""
        block, row = divmod(now, ROUNDS_PER_BLOCK)
        if self.draws and block != self.block:
            self.block = block
            names = [self.parts.market.providers[i] for i in self.members]
            learners = [(seed, name) for seed in self.seeds.tolist() for name in names]
            for place, (seed, name) in enumerate(learners):
                source = stream(seed, Role.LEARNING, name, block)
                self.drawn[:, place] = source.random((ROUNDS_PER_BLOCK, self.draws))
        return self.drawn[row]

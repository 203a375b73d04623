"""What holds for every public function of the floor: inputs come back as they went in."""

import inspect
from types import ModuleType

import numpy as np
import pytest

from market_sim.theory import (
    arrays,
    auction,
    blocks,
    bootstrap,
    choice,
    convergence,
    dynamics,
    estimators,
    game,
    plurality,
    streams,
    welfare,
)
from tests.worlds import random_world, read_only, stacked

MODULES = (
    arrays,
    auction,
    blocks,
    bootstrap,
    choice,
    convergence,
    dynamics,
    estimators,
    game,
    plurality,
    streams,
    welfare,
)
WITHOUT_ARRAYS = {
    blocks.blocks,
    blocks.over_blocks,
    estimators.within,
    streams.stream,
    streams.activation_orders,
    streams.uniforms,
}


def public_functions(module: ModuleType) -> list:
    return [
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    ]


def inputs() -> dict:
    """Arguments of every public function that takes arrays, all of them read-only."""
    rng = np.random.default_rng(0)
    worlds = [random_world(rng, "arbitrary", [2, 3, 1], beta, 0.001) for beta in (0.0, 300.0)]
    batch = stacked(worlds)
    world = worlds[1]
    value, margin = (np.nan_to_num(a, nan=1.0) for a in (world.value, world.margin))
    value, margin, offered = read_only(value), read_only(margin), world.offered
    levels = read_only([[1, 2, 0], [0, 1, 0]])
    scores, alphas = read_only(rng.normal(size=(3, 40))), read_only(rng.uniform(0.01, 0.1, 40))
    uniforms, betas = read_only(rng.random(40)), read_only(rng.uniform(0, 1e4, 40))
    shares = read_only([0.2, 0.3, 0.1])
    x = read_only(rng.normal(size=(2, 3)))
    logs = read_only(rng.normal(size=(2, 3)))
    some = read_only([1, 0])
    profits = read_only(rng.normal(size=(2, 3, 3)))
    bids = auction.Bids(
        worth=value + 1,
        claimed=read_only(value + 1.1),
        cost=margin,
        offered=offered,
        level=read_only([auction.EFFICIENT, 1, 0]),
        share=read_only([0.0, 0.5, 0.1]),
    )
    users = {
        "quality": read_only([0.5, 0.6, 0.7]),
        "price": read_only([0.001, 0.002, 0.003]),
        "value_scale": alphas,
        "beta": betas,
        "outside_value": 0.001,
        "uniforms": uniforms,
    }
    offers = read_only([[0.002, 0.001], [0.0, 0.004]])
    pair = read_only([0.0, 500.0])
    right = read_only(rng.random((6, 5)) < 0.6)
    answers, tokens = read_only(rng.integers(-1, 3, (6, 5))), read_only(rng.integers(9, 99, (6, 5)))
    rewards, counted = read_only(rng.normal(size=(6, 5)).round(1)), read_only(rng.random((6, 5)))
    contributions = estimators.Contributions(correct=counted, tokens=counted, weight=counted)
    table = estimators.tally(right, answers)
    for votes in (table.starts, table.counts, table.right, table.unparsed):
        votes.flags.writeable = False
    return {
        arrays.log_sum: ((logs, -1, read_only([0.0, -1.0])), {}),
        arrays.log_sum_of_others: ((logs, read_only([0.0, -1.0])), {}),
        arrays.log_difference: ((read_only([1.0, 2.0]), read_only([0.5, 2.0])), {}),
        arrays.at_levels: ((read_only(rng.normal(size=(2, 3, 3))), levels), {}),
        auction.award: ((scores, read_only(np.zeros(40)), uniforms), {}),
        auction.second_price_payment: ((uniforms, alphas), {}),
        auction.audited: ((uniforms, alphas, 2.0, read_only(uniforms < 0.5)), {}),
        auction.truthful_outcome: ((value, margin, 0.0, offered), {}),
        auction.run_auctions: ((bids, alphas, 0.0, uniforms), {}),
        auction.request_scores: ((bids, alphas), {}),
        auction.ever_efficient: ((value, margin, offered, 0.1, 0.2), {}),
        bootstrap.draw_averages: ((contributions, 20, 1), {}),
        bootstrap.percentile_interval: ((counted,), {}),
        choice.log_total: ((offers, pair, pair), {}),
        choice.log_shares: ((offers, pair, pair), {}),
        choice.log_sum_surplus: ((offers, pair, pair), {}),
        choice.surplus_from_outside: ((read_only([-0.5, -1.0]), pair), {}),
        choice.sample_alike: ((shares, uniforms), {}),
        choice.choose: ((), {**users, "weight": read_only(np.ones(40))}),
        choice.sample_choices: ((), users),
        choice.true_utilities: ((shares, shares, alphas, betas), {}),
        convergence.settled_round: ((levels,), {}),
        convergence.find_cycle: ((read_only([[0, 1], [0, 0]] * 4),), {}),
        convergence.nearest_equilibrium: ((levels, levels), {}),
        convergence.regret: ((profits, levels, read_only([1, 2])), {}),
        convergence.cce_gap: ((profits, levels, read_only([1, 2])), {}),
        convergence.mser_cut: ((uniforms,), {}),
        convergence.batch_means: ((uniforms,), {}),
        convergence.effective_sample_size: ((uniforms,), {}),
        convergence.standard_errors: ((read_only(uniforms.reshape(4, 10)),), {}),
        convergence.split_rhat: ((read_only(uniforms.reshape(4, 10)),), {}),
        dynamics.lowest_levels: ((batch,), {}),
        dynamics.nearest_better: ((offered, read_only([0, 0, 0])), {}),
        dynamics.better_reply_path: ((batch, [read_only([2, 0, 1])] * 20, levels), {}),
        estimators.average: ((contributions,), {}),
        estimators.tokens_of_draws: ((tokens, [1, 3]), {}),
        estimators.first_sample: ((right,), {}),
        estimators.pass_at_k: ((right, [1, 3]), {}),
        estimators.best_of_n: ((right, rewards, [1, 3]), {}),
        estimators.reasoning_effort: ((right, tokens, tokens, right, 2), {}),
        estimators.tally: ((right, answers), {}),
        estimators.majority_voting: ((right, answers, [1, 3]), {}),
        estimators.count_votes: ((table, [1, 3], estimators.votes_by_arrays), {}),
        estimators.votes_by_arrays: ((table, estimators.polynomials_of(5, (1, 3))), {}),
        game.make_game: ((value, margin, pair, pair, offered), {}),
        game.select: ((batch, some), {}),
        game.log_rivals: ((batch, levels), {}),
        game.log_profits_against: ((batch, x), {}),
        game.log_profits: ((batch, levels), {}),
        game.log_shares_at: ((batch, levels), {}),
        game.potential: ((batch, levels), {}),
        game.log_regret: ((batch, levels), {}),
        game.regret_usd: ((batch, levels), {}),
        game.best_reply_thresholds: ((batch,), {}),
        game.equilibria: ((batch,), {}),
        game.extreme_equilibrium: ((batch, "least"), {}),
        plurality.right_answer_wins: ((uniforms, read_only(np.zeros((40, 2))), 1 - uniforms, 4), {}),
        welfare.welfare_at: ((batch, levels), {}),
        welfare.social_optimum: ((batch,), {}),
        welfare.price_of_anarchy: ((pair, shares[:2]), {}),
        welfare.inefficiency: ((pair, shares[:2]), {}),
        welfare.first_best: ((value, 0.0, offered), {}),
        welfare.hhi: ((shares,), {}),
        welfare.gini: ((shares, read_only([1.0, 2.0, 3.0])), {}),
        welfare.wasted_compute: ((shares, shares, shares), {}),
    }


FUNCTIONS = sorted(inputs(), key=lambda function: (function.__module__, function.__name__))


def contents(thing) -> list[bytes]:
    """The bytes of every array inside an argument."""
    if isinstance(thing, np.ndarray):
        return [thing.tobytes()]
    if isinstance(thing, list | tuple):
        return [b for item in thing for b in contents(item)]
    if isinstance(thing, dict):
        return contents(list(thing.values()))
    return contents(list(vars(thing).values())) if hasattr(thing, "__dataclass_fields__") else []


def test_no_public_function_escapes_the_contract():
    public = {function for module in MODULES for function in public_functions(module)}
    assert public == set(FUNCTIONS) | WITHOUT_ARRAYS


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{f.__module__[18:]}.{f.__name__}")
def test_inputs_come_back_as_they_went_in(function):
    """Twice the same read-only arguments: nothing raised, nothing changed, the same answer."""
    positional, named = inputs()[function]
    before = contents([positional, named])
    assert before
    first = function(*positional, **named)
    assert contents([positional, named]) == before
    second = function(*positional, **named)
    assert contents([first]) == contents([second])

"""A round of the market (docs/round.md): the paper's dynamics, accounts, common random numbers, and what
a learning rule is told."""

from dataclasses import astuple, fields, replace
from itertools import pairwise

import numpy as np
import pytest

from market_sim.economy.market import Market, UserPopulation, games_of
from market_sim.economy.regimes import REGIMES
from market_sim.economy.solve import solve_market
from market_sim.errors import InputError
from market_sim.simulation.recorder import Recorder
from market_sim.simulation.round import Parts, Record, State, begin, play_round
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.dynamics import better_reply_path
from market_sim.theory.learning import EVERYWHERE, RULES
from market_sim.theory.rule import AUCTIONS, Feedback, Functions, Information, Rule
from market_sim.theory.streams import activation_orders
from tests.markets import (
    ALIKE,
    DIFFERENT,
    EVERY_REGIME,
    POPULATIONS,
    SEGMENTS,
    market_from_rows,
    paper_market,
    population,
    random_market,
    regime_with,
)
from tests.worlds import read_only


def parts_with(market: Market, users: UserPopulation, kind: str = "pay_per_compute", **changes) -> Parts:
    """Parts in which everybody follows one rule, but a planner's plan; kind may be in EVERY_REGIME."""
    regime = EVERY_REGIME[kind] if kind in EVERY_REGIME else REGIMES[kind]
    regime = regime.prepare(regime, market, users)
    rule = changes.pop("rule", RULES["better_reply"]())
    if regime.name == "planner":
        rule = RULES["planned"]()
    rules = changes.pop("rules", (rule,) * market.n_providers)
    return Parts(market=market, users=users, regime=regime, rules=rules, **changes)


def play(parts: Parts, rounds: int) -> tuple[list[State], list[Record]]:
    """Rows 0 to `rounds`."""
    state, record = begin(parts)
    states, records = [state], [record]
    for _ in range(rounds):
        state, record = play_round(parts, state)
        states.append(state)
        records.append(record)
    return states, records


def tables(parts: Parts, rounds: int) -> dict[str, bytes]:
    """Everything a run leaves behind, as bytes."""
    recorder = Recorder(parts.market.tasks, parts.market.providers)
    for record in play(parts, rounds)[1]:
        recorder.add(record)
    columns = {
        "rounds": recorder.rounds(),
        "providers": recorder.providers(),
    }
    if parts.keep_requests and parts.users.individuals:
        columns["requests"] = recorder.requests()
    return {
        f"{table}.{name}": column.tobytes()
        for table, found in columns.items()
        for name, column in found.items()
    }


# --- The paper's dynamics ---------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [30.0, 200.0, 1000.0, 1380.0, 1e5, 1e6])
@pytest.mark.parametrize(
    ("task", "method"),
    [
        ("GSM8K", "majority_voting"),
        ("AIME", "reasoning_effort"),
        ("GPQA", "best_of_n"),
        ("GSM8K", ("best_of_n", "reasoning_effort")),
    ],
)
def test_row_t_under_better_reply_is_the_papers_iteration_t(task, method, beta):
    market, seed = paper_market(task, method), 4
    n = market.n_providers
    path = better_reply_path(games_of(market, 0, beta), activation_orders(seed, n))
    steps = len(path.mover)
    parts = parts_with(market, population([beta], size=50), demand="expected", seed=seed, metrics_every=1000)
    states, records = play(parts, steps)
    np.testing.assert_array_equal([state.actions[0] for state in states], path.levels)
    labels = market.compute_level[0][np.arange(n), path.end]
    np.testing.assert_array_equal(records[-1].providers.compute_level[0], labels)
    (solution,) = solve_market(market, [beta], seed=seed)
    end = dict(zip(market.providers, labels.tolist(), strict=True))
    assert end in [profile.levels for profile in solution.equilibria]
    assert end == solution.paper_dynamics.levels
    row = records[-1].row
    assert row.welfare_usd == pytest.approx(solution.paper_dynamics.welfare, rel=1e-12)
    assert row.price_usd == pytest.approx(solution.paper_dynamics.price, rel=1e-9)
    assert row.inefficiency == pytest.approx(solution.inefficiency, abs=1e-12)
    assert row.first_best_gap_usd == pytest.approx(solution.first_best_gap_usd, abs=1e-14)


def test_providers_who_settled_stay_and_gain_nothing_by_moving():
    parts = parts_with(paper_market("GSM8K", "majority_voting"), ALIKE, demand="expected", seed=2)
    states, records = play(parts, 120)
    assert (states[-1].actions == states[-40].actions).all()
    assert records[0].row.nashconv_usd > 1e-6
    assert records[-1].row.nashconv_usd <= 1e-12


def test_better_reply_is_fed_expected_profits_also_when_demand_is_sampled():
    """Otherwise it would chase the luck of its users: the path is that of expected demand."""
    market = paper_market("GSM8K", "majority_voting")
    users = population([1000.0] * 200)
    sampled, _ = play(parts_with(market, users, seed=3), 40)
    expected, _ = play(parts_with(market, users, seed=3, demand="expected"), 40)
    for one, two in zip(sampled, expected, strict=True):
        np.testing.assert_array_equal(one.actions[0], two.actions[0])


# --- Users who differ -------------------------------------------------------------------------------


def two_types() -> tuple[Market, UserPopulation]:
    """The duopoly of docs/theory.md 2.10 that has no pure equilibrium."""
    price = np.array([[0.003031, 0.004036, 0.011973], [0.002748, 0.005958, 0.011365]])
    accuracy = np.array([[0.102053, 0.284918, 0.373278], [0.473407, 0.480096, 0.566093]])
    alpha = np.array([0.005267, 0.011315])
    market = Market(
        tasks=("t",),
        providers=("A", "B"),
        methods=("majority_voting",) * 2,
        compute_level=read_only(np.broadcast_to([1.0, 2.0, 3.0], (1, 2, 3))),
        offered=read_only(np.ones((1, 2, 3), dtype=bool)),
        accuracy=read_only(accuracy[None]),
        satisfaction=read_only(accuracy[None]),
        tokens=read_only(price[None] * 1e6),
        price=read_only(price[None]),
        cost=read_only(0.8 * price[None]),
        value_of_correct=read_only([1.0]),
        baseline=0.1,
        outside_value=0.0,
    )
    return market, population([108.127, 2654.838], size=[6984, 93016], value_scale=alpha)


def test_best_replies_of_the_two_type_duopoly_cycle_for_ever():
    """docs/theory.md 2.10: (2,0) -> (2,1) -> (1,1) -> (1,0) -> (2,0)."""
    market, users = two_types()
    parts = parts_with(
        market,
        users,
        rule=RULES["best_reply"](),
        activation="one_at_a_time",
        demand="expected",
        start_levels=read_only([2, 0]),
    )
    states, _ = play(parts, 100)
    seen = [tuple(state.actions[0].tolist()) for state in states]
    moves = [now for before, now in pairwise(seen) if now != before]
    cycle = [(2, 1), (1, 1), (1, 0), (2, 0)]
    assert len(moves) >= 40
    assert moves == (cycle * 50)[: len(moves)]


def test_no_profile_of_the_two_type_duopoly_is_an_equilibrium():
    market, users = two_types()
    for first in range(3):
        for second in range(3):
            start = read_only([first, second])
            _, record = begin(parts_with(market, users, start_levels=start))
            assert record.row.nashconv_usd > 1e-9


def test_the_same_people_as_individuals_or_as_segments_bring_the_same_expectations():
    market = random_market(5, outside_value=0.001)
    people = population(
        np.repeat(SEGMENTS.beta, SEGMENTS.size), value_scale=np.repeat(SEGMENTS.value_scale, SEGMENTS.size)
    )
    for kind in REGIMES:
        one, two = (
            play(parts_with(market, users, kind, demand="expected"), 8)[1] for users in (people, SEGMENTS)
        )
        for a, b in zip(one, two, strict=True):
            for field in fields(a.row):
                assert getattr(a.row, field.name) == pytest.approx(
                    getattr(b.row, field.name), rel=1e-9, abs=1e-13, nan_ok=True
                ), field.name


@pytest.mark.parametrize("kind", REGIMES)
@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
def test_what_is_sampled_is_on_average_what_is_expected(kind, users):
    """600 rounds of standing offers: z-tests of welfare, user value and every share, fixed seed."""
    market = random_market(6, value=0.02, outside_value=0.002)
    rounds = 600
    parts = parts_with(market, users, kind, rule=RULES["fixed"](), seed=9, metrics_every=10_000)
    _, records = play(parts, rounds)
    _, expectation = begin(parts)
    for column in ("welfare_usd", "user_value_usd", "provider_profit_usd", "price_usd", "tokens_per_query"):
        sample = np.array([getattr(record.row, column) for record in records[1:]])
        error = sample.std(ddof=1) / np.sqrt(rounds)
        gap = abs(sample.mean() - getattr(expectation.row, column))
        assert gap <= 4.5 * error + 1e-12, column
    shares = np.array([record.providers.share[0] for record in records[1:]])
    error = shares.std(axis=0, ddof=1) / np.sqrt(rounds)
    assert (np.abs(shares.mean(axis=0) - expectation.providers.share[0]) <= 4.5 * error + 1e-12).all()


# --- Accounts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("demand", ["sampled", "expected"])
@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("kind", EVERY_REGIME)
def test_welfare_is_user_value_plus_profit_in_every_round(kind, users, demand):
    market = random_market(2, value=0.02, outside_value=0.003, convexity=2.0)
    parts = parts_with(market, users, kind, demand=demand, seed=1, activation="simultaneous")
    for record in play(parts, 4)[1]:
        row, people = record.row, users.n_people
        assert row.welfare_usd == pytest.approx(row.user_value_usd + row.provider_profit_usd, abs=1e-12)
        assert record.providers.profit_usd[0].sum() / people == pytest.approx(
            row.provider_profit_usd, abs=1e-12
        )
        assert record.providers.revenue_usd[0].sum() / people == pytest.approx(row.price_usd, abs=1e-12)
        assert record.providers.tokens[0].sum() / people == pytest.approx(row.tokens_per_query, rel=1e-12)
        assert record.providers.requests[0].sum() / people == pytest.approx(1 - row.outside_share, abs=1e-12)
        assert record.providers.share[0].sum() == pytest.approx(1 - row.outside_share, abs=1e-12)


@pytest.mark.parametrize("users", [ALIKE, DIFFERENT], ids=["alike", "different"])
@pytest.mark.parametrize(
    "kind",
    [
        "pay_per_compute",
        "second_price_auction-realised-lowest",
        "second_price_auction-expected-random",
        "first_price_auction-realised-random",
    ],
)
def test_a_rounds_measures_can_be_counted_again_from_its_requests(kind, users):
    """With f(a) = a an answer that is correct is the one that satisfies: alpha (b + (1 - b) correct)."""
    market = random_market(7, value=0.02, outside_value=0.002)
    parts = parts_with(market, users, kind, seed=6, keep_requests=True, activation="simultaneous")
    for record in play(parts, 6)[1][1:]:
        rows, people = record.requests, users.n_people
        level = np.log2(rows.compute_level).astype(int)
        worth = 0.02 * users.value_scale[rows.user] * (0.1 + 0.9 * rows.correct)
        unserved = people - len(rows.user)
        user_value = ((worth - rows.price_usd).sum() + unserved * 0.002) / people
        profit = (rows.price_usd - market.cost[0][rows.provider, level]).sum() / people
        assert record.row.user_value_usd == pytest.approx(user_value, abs=1e-12)
        assert record.row.provider_profit_usd == pytest.approx(profit, abs=1e-12)
        assert record.row.outside_share == pytest.approx(unserved / people)
        if len(rows.user):
            assert record.row.accuracy == pytest.approx(rows.correct.mean())
        assert record.row.tokens_per_query == pytest.approx(
            market.tokens[0][rows.provider, level].sum() / people
        )
        counts = np.bincount(rows.provider, minlength=3)
        np.testing.assert_array_equal(record.providers.requests[0], counts)
        if len(rows.user):
            assert record.row.hhi == pytest.approx(1e4 * ((counts / counts.sum()) ** 2).sum())
        assert len(np.unique(rows.user)) == len(rows.user)


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("kind", EVERY_REGIME)
def test_expected_welfare_never_exceeds_the_best_of_its_allocation_nor_the_first_best(kind, users):
    """Of expected welfare only: the luck of a sampled round may exceed any bound."""
    market = random_market(8, value=0.02, outside_value=0.001)
    parts = parts_with(market, users, kind, rule=RULES["best_reply"](), seed=1, activation="simultaneous")
    for record in play(parts, 6)[1]:
        assert record.row.inefficiency >= -1e-12
        assert record.row.first_best_gap_usd >= -1e-14


def test_the_luck_of_a_sampled_round_may_exceed_the_first_best():
    market = random_market(8, value=0.02)
    _, records = play(parts_with(market, ALIKE, "second_price_auction", rule=RULES["truthful"]()), 50)
    first_best = records[0].row.first_best_gap_usd + records[0].row.expected_welfare_usd
    assert max(record.row.welfare_usd for record in records) > first_best


def test_where_nobody_buys_everything_is_worth_the_outside_value():
    market = random_market(1, outside_value=1.0)
    for kind in REGIMES:
        for demand in ("sampled", "expected"):
            parts = parts_with(market, population([1e4] * 20), kind, demand=demand, keep_requests=True)
            _, records = play(parts, 3)
            for record in records:
                row = record.row
                assert (row.welfare_usd, row.user_value_usd, row.outside_share) == (1.0, 1.0, 1.0)
                assert (row.price_usd, row.tokens_per_query, row.provider_profit_usd) == (0, 0, 0)
                assert np.isnan(row.accuracy)
                assert np.isnan(row.hhi)
                assert row.nashconv_usd == 0


def test_a_provider_of_few_levels_that_can_never_win_does_not_spoil_nashconv():
    """Whatever it bids it earns exactly nothing; gains of moving are still numbers."""
    market = market_from_rows([[0.001], [0.001, 0.002]], [[0.0], [0.9, 0.95]], value=0.05)
    for kind in AUCTIONS:
        _, record = begin(parts_with(market, ALIKE, kind))
        assert record.row.nashconv_usd >= 0


def test_costly_measures_are_taken_every_so_many_rounds():
    market = random_market(1)
    _, records = play(parts_with(market, ALIKE, metrics_every=3), 7)
    known = [not np.isnan(record.row.nashconv_usd) for record in records]
    assert known == [True, False, False, True, False, False, True, False]


# --- Row 0 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("demand", ["sampled", "expected"])
def test_row_nought_is_the_start_against_expected_demand_with_nobody_having_revised(demand):
    market = random_market(3, outside_value=0.001)
    state, record = begin(parts_with(market, ALIKE, demand=demand))
    assert state.round == record.row.round == 0
    assert state.actions[0].tolist() == [0, 0, 0]
    assert record.row.welfare_usd == record.row.expected_welfare_usd
    assert record.row.user_value_usd == record.row.expected_user_value_usd
    assert record.providers.compute_level[0].tolist() == [1, 1, 1]
    assert record.requests is None
    if demand == "sampled":
        assert (state.last_provider == OUTSIDE).all()
    else:
        assert state.last_provider is None


@pytest.mark.parametrize("kind", sorted(AUCTIONS))
def test_auctions_start_at_the_truth(kind):
    parts = parts_with(random_market(3, value=0.02), ALIKE, kind)
    state, record = begin(parts)
    truth = parts.regime.actions(parts.regime, parts.market, 0).truthful
    assert state.actions[0].tolist() == [truth] * 3
    assert record.row.first_best_gap_usd == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("kind", sorted(REGIMES))
def test_start_levels_are_where_providers_stand_in_row_nought(kind):
    parts = parts_with(random_market(3, value=0.02), ALIKE, kind, start_levels=read_only([1, 3, 0]))
    _, record = begin(parts)
    offer = parts.regime.offer(parts.regime, parts.market, 0, begin(parts)[0].actions[0], 1.0)
    assert offer.level.tolist() == [1, 3, 0]
    cost = parts.market.cost[0][range(3), [1, 3, 0]]
    if kind in AUCTIONS:
        np.testing.assert_allclose(offer.bid_usd, cost, rtol=1e-14)
    elif kind == "flat_price":
        margins = np.array(parts.regime.terms.margins)
        next_to_one_over_beta = margins[np.abs(np.log(margins * 700.0)).argmin()]
        np.testing.assert_allclose(offer.bid_usd, cost + next_to_one_over_beta, rtol=1e-14)
    else:
        assert record.providers.compute_level[0].tolist() == [2, 8, 1]


def test_whom_a_user_last_bought_from_is_remembered_until_the_next_purchase():
    parts = parts_with(random_market(4, outside_value=0.003), DIFFERENT, seed=5, keep_requests=True)
    states, records = play(parts, 12)
    last = np.full(40, OUTSIDE)
    for state, record in zip(states[1:], records[1:], strict=True):
        last[record.requests.user] = record.requests.provider
        np.testing.assert_array_equal(state.last_provider, last)
        assert len(record.requests.user) < 40


# --- Randomness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize(
    "kind",
    ["pay_per_compute", "second_price_auction-reported-random-audit0.5x3.0", "first_price_auction"],
)
def test_one_seed_gives_one_run_byte_for_byte_and_another_seed_another(kind, users):
    market = random_market(2, value=0.02)

    def found(seed):
        parts = parts_with(market, users, kind, seed=seed, keep_requests=True)
        return tables(parts, 5)

    assert found(1) == found(1)
    one, other = found(1), found(2)
    assert one["rounds.welfare_usd"] != other["rounds.welfare_usd"]
    assert one["rounds.round"] == other["rounds.round"]


def test_a_state_can_be_kept_and_played_on():
    parts = parts_with(random_market(2), DIFFERENT, seed=8)
    states, records = play(parts, 10)
    again, record = play_round(parts, states[6])
    np.testing.assert_array_equal(astuple(record.row), astuple(records[7].row))  # NaN is NaN
    np.testing.assert_array_equal(again.last_provider, states[7].last_provider)


def test_the_same_user_and_answer_are_as_lucky_under_every_regime():
    """Common random numbers: one outcome uniform per user and round.  At equal accuracy whoever is
    served in two regimes is answered correctly in both or in neither; at higher accuracy never worse."""
    rows = [[0.0004, 0.002], [0.0008]], [[0.4, 0.7], [0.55]]
    market = market_from_rows(*rows, value=0.02)
    users = population([400.0] * 500)
    kinds = ("pay_per_compute", "second_price_auction", "first_price_auction")
    fixed = RULES["fixed"]()
    runs = [
        play(parts_with(market, users, kind, rule=fixed, seed=7, keep_requests=True), 5)[1] for kind in kinds
    ]
    shared = better = 0
    for one, *others in zip(*runs, strict=True):
        if one.requests is None:
            continue
        for other in others:
            a, b = one.requests, other.requests
            _, here, there = np.intersect1d(a.user, b.user, return_indices=True)
            accuracy = [
                market.accuracy[0][r.provider[at], np.log2(r.compute_level[at]).astype(int)]
                for r, at in ((a, here), (b, there))
            ]
            same, more = accuracy[0] == accuracy[1], accuracy[1] > accuracy[0]
            np.testing.assert_array_equal(a.correct[here][same], b.correct[there][same])
            assert (b.correct[there][more] >= a.correct[here][more]).all()
            shared, better = shared + same.sum(), better + more.sum()
            more_often_right = b.correct[there][more].sum() > a.correct[here][more].sum()
            assert more_often_right or not more.any()
    assert better > 1000


def test_the_choices_of_users_are_the_same_whatever_providers_rule():
    market = random_market(2, outside_value=0.001)
    runs = [
        play(parts_with(market, DIFFERENT, rule=rule, seed=3, keep_requests=True), 4)[1]
        for rule in (RULES["fixed"](), DRAWING)
    ]
    for one, two in zip(*runs, strict=True):
        if one.requests is not None:
            np.testing.assert_array_equal(one.requests.user, two.requests.user)
            np.testing.assert_array_equal(one.requests.provider, two.requests.provider)
            np.testing.assert_array_equal(one.requests.correct, two.requests.correct)


def rule_of(
    act=lambda memory, view, uniforms: view.current, information: Information = "none", **functions
) -> Rule:
    """A rule made for a test."""
    return Rule(
        name="made",
        values={},
        information=information,
        regimes=EVERYWHERE,
        functions=Functions(act=act, **functions),
    )


DRAWING = rule_of(draws=1000)


# --- What a rule is told ----------------------------------------------------------------------------


def onlooker(seen: list, information: Information) -> Rule:
    """Moves to the next level every other round; keeps what it was shown."""

    def act(memory, view, uniforms):
        seen.append(view)
        return (view.current + memory % 2) % view.allowed.sum(axis=1)

    def update(memory, feedback):
        seen.append(feedback)
        return memory + 1

    start = lambda n_learners, n_actions, n_providers: np.zeros(n_learners, dtype=int)  # noqa: E731
    return rule_of(act, information, start=start, update=update)


@pytest.mark.parametrize("demand", ["sampled", "expected"])
@pytest.mark.parametrize("information", ["none", "own", "rivals", "full", "reply"])
def test_a_rule_is_told_what_it_declared_and_nothing_else(demand, information):
    market, seen = random_market(5, outside_value=0.001), []
    rules = (onlooker(seen, information), RULES["better_reply"](), RULES["fixed"]())
    parts = parts_with(market, DIFFERENT, rules=rules, demand=demand, seed=2, activation="simultaneous")
    states, records = play(parts, 30)
    views, told = seen[::2], seen[1::2]
    assert len(views) == len(told) == 30
    stakes = parts.regime.stakes(parts.regime, market, 0, DIFFERENT)
    assert stakes[0] == (market.price - market.cost)[0, 0, :2].max()
    own = {"own": {"profit"}, "rivals": {"profit", "actions", "profits"}, "full": {"payoffs"}}
    for view, feedback, before, state, record in zip(
        views, told, states, states[1:], records[1:], strict=False
    ):
        assert (view.payoffs is not None) == (information == "reply")
        assert view.recommended is None
        assert view.current == before.actions[0][:1]
        assert view.allowed.tolist() == [[True, True, False, False]]
        assert isinstance(feedback, Feedback)
        always = {"action", "moved", "allowed"}
        assert {k for k, v in vars(feedback).items() if v is not None} - always == own.get(information, set())
        assert feedback.action == state.actions[0][:1]
        earned = record.providers.profit_usd[0] / 40
        if feedback.profit is not None:
            assert feedback.profit == pytest.approx(earned[:1] / stakes[0], rel=1e-12)
        if feedback.profits is not None:
            np.testing.assert_allclose(feedback.profits, earned[None], rtol=1e-12)
            np.testing.assert_array_equal(feedback.actions, state.actions[0][None])
        if feedback.payoffs is not None:
            expected = parts.regime.counterfactual(
                parts.regime, market, 0, state.actions[0], DIFFERENT, np.array([0])
            )
            np.testing.assert_allclose(feedback.payoffs.scaled, expected.usd() / stakes[0], rtol=1e-12)
            np.testing.assert_array_equal(feedback.payoffs.logs, expected.logs)
    assert {int(state.actions[0][0]) for state in states} == {0, 1}


def test_reply_rules_are_shown_what_each_own_action_would_earn_against_the_standing_offers():
    market, seen = random_market(5), []

    def act(memory, view, uniforms):
        seen.append(view)
        return view.current

    fixed = RULES["fixed"]()
    rules = (fixed, rule_of(act, "reply"), fixed)
    parts = parts_with(market, DIFFERENT, rules=rules, activation="simultaneous")
    play(parts, 1)
    (view,) = seen
    everything = parts.regime.counterfactual(
        parts.regime, market, 0, np.zeros(3, dtype=int), DIFFERENT, np.arange(3)
    )
    np.testing.assert_array_equal(view.payoffs.scaled, everything.relative[1:2])
    np.testing.assert_array_equal(view.payoffs.logs, everything.logs[1:2])
    assert view.payoffs.scaled.max() == 1


@pytest.mark.parametrize(
    ("activation", "information", "revising"),
    [
        ("one_at_a_time", "none", 1),
        ("one_at_a_time", "reply", 1),
        ("simultaneous", "none", 3),
        ("simultaneous", "reply", 3),
        ("default", "none", 3),
        ("default", "reply", 1),
    ],
)
def test_who_revises_follows_the_activation(activation, information, revising):
    """In turns everybody comes once in N rounds; by default reply rules take turns and others do not."""
    asked = []

    def rule(i):
        def act(memory, view, uniforms):
            asked.append(i)
            return view.current

        return rule_of(act, information)

    parts = parts_with(random_market(1), ALIKE, rules=tuple(map(rule, range(3))), activation=activation)
    play(parts, 6)
    assert len(asked) == 6 * revising
    for cycle in (asked[: 3 * revising], asked[3 * revising :]):
        assert sorted(cycle) == sorted(list(range(3)) * revising)


def test_a_rule_is_refused_where_it_makes_no_sense():
    market = random_market(1)
    with pytest.raises(InputError, match="'truthful' makes no sense under pay_per_compute"):
        parts_with(market, ALIKE, rule=RULES["truthful"]())
    with pytest.raises(ValueError, match="one rule per provider"):
        parts_with(market, ALIKE, rules=(RULES["fixed"](),))


# --- Purity -----------------------------------------------------------------------------------------


def _frozen(state: State) -> State:
    """A state whose arrays refuse to be written to."""
    for array in (state.actions[0], state.last_provider):
        if array is not None:
            array.flags.writeable = False
    return state


@pytest.mark.parametrize("users", POPULATIONS.values(), ids=POPULATIONS)
@pytest.mark.parametrize("kind", EVERY_REGIME)
def test_a_round_writes_neither_to_its_parts_nor_to_the_state_it_starts_from(kind, users):
    """All arrays are read-only; what was handed in is afterwards what it was."""
    parts = parts_with(random_market(2, value=0.02), users, kind, seed=1)
    state = _frozen(begin(parts)[0])
    for _ in range(3):
        before = state.round, state.actions[0].tolist()
        after, _ = play_round(parts, state)
        assert (state.round, state.actions[0].tolist()) == before
        assert after.round == state.round + 1
        state = _frozen(after)


def test_other_frozen_inputs_between_rounds_are_a_change_of_policy():
    """dataclasses.replace: the state plays on under new parts."""
    market = random_market(2, value=0.02)
    parts = parts_with(market, ALIKE, seed=1, rule=RULES["fixed"]())
    state = play(parts, 3)[0][-1]
    dearer = replace(parts, market=replace(market, price=read_only(2 * market.price)))
    _, before = play_round(parts, state)
    _, after = play_round(dearer, state)
    assert after.row.expected_user_value_usd < before.row.expected_user_value_usd
    assert after.row.log_sum_surplus_usd < before.row.log_sum_surplus_usd


def test_terms_of_trade_reach_the_ledger():
    """Paid on reports a truthful provider earns what it earns on expected quality."""
    market = random_market(2, value=0.02)
    rows = [
        begin(
            Parts(
                market=market,
                users=ALIKE,
                regime=regime_with("second_price_auction", payment=payment),
                rules=(RULES["truthful"](),) * 3,
            )
        )[1].row
        for payment in ("expected", "reported", "realised")
    ]
    assert rows[0].price_usd == pytest.approx(rows[1].price_usd, rel=1e-14)
    assert rows[0].price_usd == pytest.approx(rows[2].price_usd, rel=1e-14)

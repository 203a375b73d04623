"""The pay-per-compute game: every pure equilibrium, and what is true of all of them
(docs/theory.md, 2.1 to 2.5 and 2.9), against enumeration in 60 digits."""

import itertools
from decimal import localcontext

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from market_sim.theory.choice import log_sum_surplus
from market_sim.theory.game import (
    TOLERANCE,
    best_reply_thresholds,
    equilibria,
    extreme_equilibrium,
    log_profits,
    log_profits_against,
    log_regret,
    log_rivals,
    log_shares_at,
    make_game,
    potential,
    regret_usd,
    select,
)
from market_sim.theory.welfare import price_of_anarchy, social_optimum
from tests import oracles
from tests.oracles import CONTEXT, is_clear_cut, pure_equilibria
from tests.worlds import (
    CLEAR_GAP,
    EXACT_TIE,
    KINDS,
    TIES,
    World,
    at_rationality,
    batches,
    outside_values,
    random_world,
    rationalities,
    read_only,
    seeds,
    stacked,
    with_a_tie,
    world_from_rows,
    worlds,
)


def at(array, profile):
    """array[i, profile[i]] of every provider i."""
    return np.array([array[i, k] for i, k in enumerate(profile)])


def log_e(world: World) -> np.ndarray:
    """beta V, ln of what each level offers; -inf where nothing is offered."""
    return np.where(world.offered, world.beta * np.where(world.offered, world.value, 0.0), -np.inf)


def listed(game) -> list[tuple[int, ...]]:
    return [tuple(row) for row in equilibria(game).levels.tolist()]


# --- All pure equilibria (2.4) ----------------------------------------------------------------------


@given(world=worlds())
def test_every_pure_equilibrium_is_found_and_no_other(world):
    regrets = world.market().regrets()
    assume(is_clear_cut(regrets, 0.0, CLEAR_GAP))
    found = equilibria(world.game())
    assert [tuple(row) for row in found.levels.tolist()] == sorted(
        pure_equilibria(regrets), key=lambda profile: world.market().total(profile)
    )
    assert not found.game.any()


def test_every_equilibrium_is_found_in_a_thousand_games_many_of_which_have_several():
    """A fixed sample, so that the property above is known not to be about unique equilibria only."""
    rng = np.random.default_rng(2601)
    several = {kind: 0 for kind in KINDS}
    checked = 0
    for number in range(1000):
        kind = KINDS[number % 3]
        counts = rng.integers(1, 4, rng.integers(2, 5))
        beta = 10 ** rng.uniform(0, 6)
        world = random_world(rng, kind, counts, beta, rng.choice([0.0, 0.002, -0.003]))
        regrets = world.market().regrets()
        if not is_clear_cut(regrets, 0.0, CLEAR_GAP):
            continue
        checked += 1
        exact = pure_equilibria(regrets)
        assert exact
        assert set(listed(world.game())) == exact
        several[kind] += len(exact) > 1
    assert checked > 950
    assert several["coordination"] > 200
    assert several["arbitrary"] > 0


@given(world=worlds())
def test_an_equilibrium_comes_with_a_true_certificate(world):
    """Regret, potential, total and welfare as reported are those of the profile."""
    found, market = equilibria(world.game()), world.market()
    scale = np.nanmax(np.abs([world.value, world.value + world.margin])) + abs(world.outside_value)
    assert len(found.levels) >= 1
    assert (found.log_regret <= TOLERANCE).all()
    for row, profile in enumerate(found.levels.tolist()):
        with localcontext(CONTEXT):
            log_d = float(market.total(profile).ln())
            gain = float((market.regret(profile) + 1).ln())
            usd = max(
                float(max(own) - own[k])
                for own, k in ((market.profits(profile, i), k) for i, k in enumerate(profile))
            )
        assert found.log_total[row] == pytest.approx(log_d, rel=1e-14, abs=1e-13)
        assert found.log_regret[row] == pytest.approx(gain, abs=1e-10)
        assert found.regret_usd[row] == pytest.approx(usd, abs=1e-10 * np.nanmax(world.margin))
        assert found.potential[row] == pytest.approx(float(market.potential(profile)), rel=1e-12, abs=1e-10)
        assert found.welfare[row] == pytest.approx(float(market.welfare(profile)), abs=1e-11 * scale)


@given(games=batches())
def test_a_batch_of_games_is_the_games_one_by_one(games):
    """To the byte: what is solved beside a game changes nothing in its solution."""
    together = equilibria(stacked(games))
    assert (np.diff(together.game) >= 0).all()
    for g, world in enumerate(games):
        alone, rows = equilibria(world.game()), together.of(g)
        for name in ("levels", "log_total", "log_regret", "regret_usd", "potential", "welfare"):
            assert getattr(together, name)[rows].tobytes() == getattr(alone, name).tobytes(), name
        assert together.ties[g] == alone.ties[0]


def test_a_sweep_over_rationality_is_one_call():
    """Curves without a batch axis against a hundred rationalities, 0 among them."""
    rng = np.random.default_rng(3)
    world = random_world(rng, "realistic", [3, 2, 4], 1.0, 0.001)
    betas = np.array([0.0, *np.logspace(0, 6, 99)])
    sweep = equilibria(make_game(world.value, world.margin, betas, 0.001, world.offered))
    assert set(sweep.game.tolist()) == set(range(100))
    for g in (0, 1, 40, 70, 99):
        alone = equilibria(at_rationality(world, betas[g]).game())
        assert sweep.levels[sweep.of(g)].tolist() == alone.levels.tolist()


@given(world=worlds(), seed=seeds)
def test_what_stands_in_the_padding_never_matters(world, seed):
    junk = np.random.default_rng(seed).choice([np.nan, np.inf, -1.0, 0.0, 1e9], world.offered.shape)
    other = World(
        value=np.where(world.offered, world.value, junk),
        margin=np.where(world.offered, world.margin, junk),
        beta=world.beta,
        outside_value=world.outside_value,
        offered=world.offered,
    )
    ours, theirs = equilibria(world.game()), equilibria(other.game())
    assert ours.levels.tolist() == theirs.levels.tolist()
    assert ours.welfare.tobytes() == theirs.welfare.tobytes()
    assert best_reply_thresholds(world.game()).ever_best[~world.offered].sum() == 0


# --- Exact ties (2.4) -------------------------------------------------------------------------------


@given(world=worlds(max_providers=3, max_levels=3), kind=st.sampled_from(TIES), seed=seeds)
def test_with_exact_ties_all_listed_are_equilibria_the_least_and_greatest_among_them(world, kind, seed):
    """One representative per total D, as the set itself can be exponentially large."""
    rng = np.random.default_rng(seed)
    plain = world.market().regrets()
    assume(is_clear_cut(plain, 0.0, CLEAR_GAP))
    options = sorted(pure_equilibria(plain))
    profile = options[rng.integers(len(options))]
    i = int(rng.integers(world.n_providers))
    tied = with_a_tie(world, profile, kind, i, rng)
    market = tied.market()
    regrets = market.regrets()
    assume(is_clear_cut(regrets, EXACT_TIE, CLEAR_GAP))
    exact = pure_equilibria(regrets, EXACT_TIE)
    found = equilibria(tied.game())
    assert found.ties.tolist() == [True]
    profiles = [tuple(row) for row in found.levels.tolist()]
    assert set(profiles) <= exact
    # The equilibria are a lattice: its bottom and top are everybody's smallest and largest offer.
    offers = np.array([at(log_e(tied), profile) for profile in sorted(exact)])
    np.testing.assert_allclose(at(log_e(tied), profiles[0]), offers.min(axis=0), rtol=1e-14, atol=1e-13)
    np.testing.assert_allclose(at(log_e(tied), profiles[-1]), offers.max(axis=0), rtol=1e-14, atol=1e-13)
    shares, _ = log_shares_at(world.game(), np.array(profile))
    if kind == "equal lines" or 1e-3 < np.exp(shares[i]) < 0.999:
        # Where a share rounds to 0 or 1 lines differ by rounding only, and which cross is not defined.
        with localcontext(CONTEXT):
            totals = np.array([float(market.total(each).ln()) for each in sorted(exact)])
        nearest = np.abs(totals[:, None] - found.log_total).min(axis=1)
        assert nearest.max() <= 1e-8, "a total without a representative"
    if kind == "equal lines":
        assert len(profiles) == len({round(t, 9) for t in totals}), "two representatives of one total"


@given(world=worlds(beta=st.just(0.0)), seed=seeds)
def test_at_rationality_zero_everybody_plays_a_level_of_highest_margin_ties_or_not(world, seed):
    """docs/theory.md 2.9: nobody's offer moves demand, so profit is margin / (N + 1)."""
    rng = np.random.default_rng(seed)
    coarse = np.where(world.offered, 0.001 * rng.integers(1, 3, world.offered.shape), np.nan)
    tied = World(
        value=world.value,
        margin=coarse,
        beta=0.0,
        outside_value=world.outside_value,
        offered=world.offered,
    )
    for each in (world, tied):
        best = each.margin == np.nanmax(each.margin, axis=1, keepdims=True)
        found = equilibria(each.game())
        assert len(found.levels) >= 1
        for levels in (
            *found.levels,
            extreme_equilibrium(each.game(), "least"),
            extreme_equilibrium(each.game(), "greatest"),
        ):
            assert at(best, levels).all()
        if (best.sum(axis=1) > 1).any():
            assert found.ties.tolist() == [True]
        elif each is world:
            assert found.ties.tolist() == [False]


def test_of_offers_worth_the_same_the_dearer_is_played():
    """Levels of one offer and different margins are no tie: the extremes must not rest on the worse."""
    world = world_from_rows(
        [np.array([0.002, 0.002, 0.001]), np.array([0.003, 0.003])],
        [np.array([0.0001, 0.0004, 0.0002]), np.array([0.0005, 0.0003])],
        1000.0,
        0.0,
    )
    assert listed(world.game()) == [(1, 0)]
    for which in ("least", "greatest"):
        assert tuple(extreme_equilibrium(world.game(), which)) == (1, 0)


def test_clear_cut_games_are_not_called_tied():
    rng = np.random.default_rng(8)
    for _ in range(50):
        world = random_world(rng, "arbitrary", [3, 2, 3], 300.0, 0.0)
        market = world.market()
        second = [
            sorted(market.gains(profile, i))[-2]
            for profile in pure_equilibria(market.regrets())
            for i in range(3)
        ]
        assert max(second) < -CLEAR_GAP
        assert not equilibria(world.game()).ties.any()


# --- Best replies (2.2) -----------------------------------------------------------------------------


@given(world=worlds(max_levels=6), seed=seeds)
def test_best_replies_by_thresholds_are_the_best_of_all_levels(world, seed):
    """Wherever the rivals stand: the level whose interval holds X is the argmax of 1/(X/(m e) + 1/m)."""
    rng = np.random.default_rng(seed)
    game, market = world.game(), world.market()
    table = best_reply_thresholds(game)
    low, high = np.nanmin(log_e(world)[world.offered]) - 5, log_e(world).max() + 5
    for log_x in rng.uniform(low, high, 8):
        reached = (table.log_from <= log_x) & (log_x <= table.log_to)
        with localcontext(CONTEXT):
            x = CONTEXT.create_decimal_from_float(float(log_x)).exp()
        against = log_profits_against(game, np.full(world.n_providers, log_x))
        for i in range(world.n_providers):
            own = [market.profit_against(x, i, k) for k in range(market.n_levels(i))]
            best = max(range(len(own)), key=own.__getitem__)
            with localcontext(CONTEXT):
                exact_logs = [float(u.ln()) for u in own]
            np.testing.assert_allclose(against[i, : len(own)], exact_logs, rtol=1e-13, atol=1e-11)
            assert (against[i, len(own) :] == -np.inf).all()
            if all(k == best or own[k] < own[best] * (1 - oracles.Decimal(1e-9)) for k in range(len(own))):
                assert np.flatnonzero(reached[i]).tolist() == [best]


@given(world=worlds(max_levels=6))
def test_best_reply_intervals_partition_the_line(world):
    """In the order of offers they follow one another from nothing to everything."""
    table = best_reply_thresholds(world.game())
    for i in range(world.n_providers):
        best = np.flatnonzero(table.ever_best[i])
        best = best[np.argsort(log_e(world)[i, best])]
        starts, ends = table.log_from[i, best], table.log_to[i, best]
        assert starts[0] == -np.inf
        assert ends[-1] == np.inf
        np.testing.assert_allclose(starts[1:], ends[:-1], rtol=1e-9, atol=1e-9)
        assert (np.diff(world.margin[i, best]) < 0).all()


def test_of_equal_lines_the_first_is_the_best_reply():
    game = make_game(read_only([[0.002, 0.001, 0.002]]), read_only([[0.015, 0.02, 0.015]]), 500.0)
    assert best_reply_thresholds(game).ever_best.tolist() == [[True, True, False]]


def test_two_levels_change_places_where_their_profits_cross():
    """By hand: beta V = ln 1 and ln 4, margins 3 and 2, so 3/(X + 1) = 8/(X + 4) at X = 4/5."""
    game = make_game(read_only([[0.0, np.log(4.0)]]), read_only([[3.0, 2.0]]), 1.0)
    table = best_reply_thresholds(game)
    assert table.log_from[0] == pytest.approx([-np.inf, np.log(0.8)])
    assert table.log_to[0] == pytest.approx([np.log(0.8), np.inf])


# --- Profits and the potential (2.1, 2.5) -----------------------------------------------------------


@given(world=worlds(), seed=seeds)
def test_the_potential_changes_by_as_much_as_the_movers_log_profit(world, seed):
    """Monderer & Shapley (1996): Phi is exact in ln U."""
    rng = np.random.default_rng(seed)
    game = world.game()
    before = world.profile(rng)
    own = log_profits(game, before)
    magnitude = (world.n_providers + 1) * (20 + np.abs(log_e(world)[world.offered]).max())
    for i in range(world.n_providers):
        for k in np.flatnonzero(world.offered[i]):
            after = before.copy()
            after[i] = k
            change = potential(game, after) - potential(game, before)
            assert change == pytest.approx(own[i, k] - own[i, before[i]], abs=1e-14 * magnitude)


@given(world=worlds())
def test_the_equilibrium_of_largest_potential_is_the_potentials_maximum(world):
    market = world.market()
    regrets = market.regrets()
    assume(is_clear_cut(regrets, 0.0, CLEAR_GAP))
    found = equilibria(world.game())
    values = {profile: market.potential(profile) for profile in regrets}
    best = market.potential_maximiser()
    with localcontext(CONTEXT):
        assume(all(p == best or values[p] < values[best] - oracles.Decimal(1e-8) for p in values))
    assert tuple(found.levels[found.potential.argmax()].tolist()) == best


@given(world=worlds(), seed=seeds)
def test_profits_shares_and_regrets_are_those_of_the_definition(world, seed):
    profile = tuple(world.profile(np.random.default_rng(seed)).tolist())
    game, market = world.game(), world.market()
    levels = read_only(profile)
    own, regret, usd = log_profits(game, levels), log_regret(game, levels), regret_usd(game, levels)
    shares, outside = log_shares_at(game, levels)
    exact_shares, exact_outside = oracles.log_shares(
        [float(world.value[i, k]) for i, k in enumerate(profile)], world.beta, world.outside_value
    )
    np.testing.assert_allclose(shares, exact_shares, rtol=1e-13, atol=1e-11)
    np.testing.assert_allclose(outside, exact_outside, rtol=1e-13, atol=1e-11)
    for i in range(world.n_providers):
        exact = market.profits(profile, i)
        with localcontext(CONTEXT):
            logs = [float(u.ln()) for u in exact]
            log_x = float(market.rivals(profile, i).ln())
        assert log_rivals(game, levels)[i] == pytest.approx(log_x, rel=1e-13, abs=1e-12)
        np.testing.assert_allclose(own[i, : len(exact)], logs, rtol=1e-13, atol=1e-11)
        assert regret[i] == pytest.approx(max(logs) - logs[profile[i]], rel=1e-12, abs=1e-10)
        lost = float(max(exact) - exact[profile[i]])
        assert usd[i] == pytest.approx(lost, rel=1e-9, abs=1e-10 * float(max(exact)))


# --- Strategic complements (2.3) --------------------------------------------------------------------


@given(world=worlds(kinds=("coordination", "coordination", "arbitrary"), max_levels=3))
def test_equilibria_are_ordered_providers_prefer_the_least_and_users_the_greatest(world):
    regrets = world.market().regrets()
    assume(is_clear_cut(regrets, 0.0, CLEAR_GAP))
    found = equilibria(world.game())
    offers = np.array([at(log_e(world), profile) for profile in found.levels])
    assert (np.diff(offers, axis=0) >= 0).all()
    assert (np.diff(found.log_total) > 0).all()
    profits = np.array(
        [
            [float(world.market().profits(profile, i)[k]) for i, k in enumerate(profile)]
            for profile in found.levels.tolist()
        ]
    )
    assert (np.diff(profits, axis=0) <= 1e-12 * profits[:-1]).all()
    if world.beta > 0:
        values = np.array([at(world.value, profile) for profile in found.levels])
        surplus = log_sum_surplus(values, world.beta, world.outside_value)
        assert (np.diff(surplus) > 0).all()


def test_welfare_need_not_rise_along_the_equilibria():
    """docs/theory.md 2.3: better offers are not always worth what they cost."""
    rng = np.random.default_rng(4)
    falls = rises = 0
    for _ in range(60):
        world = random_world(rng, "coordination", [2, 2], 3000.0, 0.0)
        change = np.diff(equilibria(world.game()).welfare)
        falls += (change < 0).any()
        rises += (change > 0).any()
    assert falls > 0
    assert rises > 0


@given(world=worlds())
def test_best_replies_from_the_worst_and_best_offers_reach_the_least_and_greatest(world):
    """Topkis (1979)."""
    assume(is_clear_cut(world.market().regrets(), 0.0, CLEAR_GAP))
    found = equilibria(world.game())
    assert tuple(extreme_equilibrium(world.game(), "least")) == tuple(found.levels[0])
    assert tuple(extreme_equilibrium(world.game(), "greatest")) == tuple(found.levels[-1])


@given(games=batches())
def test_the_extremes_of_a_batch_are_those_of_its_games(games):
    for which in ("least", "greatest"):
        together = extreme_equilibrium(stacked(games), which)
        alone = [extreme_equilibrium(world.game(), which).tolist() for world in games]
        assert together.tolist() == alone


@given(world=worlds(), seed=seeds)
def test_a_tougher_market_makes_the_better_offer_relatively_more_attractive(world, seed):
    """The single-crossing property behind 2.3: ln U of the better offer gains on that of the worse."""
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.uniform(-20, 20, 2)) + log_e(world).max()
    n = world.n_providers
    gain = np.subtract(
        *(log_profits_against(world.game(), np.full(n, x))[world.offered] for x in (high, low))
    )
    offer, owner = log_e(world)[world.offered], np.nonzero(world.offered)[0]
    for a, b in itertools.combinations(range(len(offer)), 2):
        if owner[a] == owner[b]:
            better, worse = (a, b) if offer[a] >= offer[b] else (b, a)
            assert gain[better] >= gain[worse] - 1e-10


# --- Limits in rationality (2.9) --------------------------------------------------------------------


@given(world=worlds(kinds=("realistic", "arbitrary")), beta=st.sampled_from([0.0, 1e-7]))
def test_as_rationality_vanishes_each_plays_its_highest_margin(world, beta):
    """And the price of anarchy tends to (V_0 + sum_i max_k W_ik) / (V_0 + sum_i W_i,argmax m)."""
    calm = at_rationality(world, beta)
    margin = np.where(calm.offered, calm.margin, 0.0)
    ordered = np.sort(margin, axis=1)
    assume((ordered[:, -1] > 1.001 * np.roll(ordered, 1, axis=1)[:, -1]).all() or ordered.shape[1] == 1)
    dearest = margin.argmax(axis=1)
    found = equilibria(calm.game())
    assert found.levels.tolist() == [dearest.tolist()]
    surplus = np.where(calm.offered, calm.value + calm.margin, -np.inf)
    best = calm.outside_value + surplus.max(axis=1).sum()
    reached = calm.outside_value + at(surplus, dearest).sum()
    ratio = price_of_anarchy(social_optimum(calm.game()).welfare, found.welfare[0])
    if reached > 1e-3 * np.abs(surplus[calm.offered]).sum():
        assert ratio == pytest.approx(best / reached, rel=1e-12 if beta == 0 else 1e-4)
    elif reached < 0:
        assert np.isnan(ratio)


@given(
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    outside_value=outside_values,
    seed=seeds,
)
def test_users_who_never_err_all_go_to_the_best_value_which_charges_up_to_the_second(
    counts, outside_value, seed
):
    """With gaps in V of 50 / beta and the best above V_0, its provider takes all and plays the highest
    margin among its levels that still beat every rival's best and V_0."""
    rng = np.random.default_rng(seed)
    beta, n_levels = 1e6, sum(counts)
    ladder = outside_value + 50.0 / beta * (rng.permutation(n_levels) - rng.integers(0, n_levels) + 0.5)
    value = np.split(ladder, np.cumsum(counts)[:-1])
    margin = [10 ** rng.uniform(-5, -1, k) for k in counts]
    world = world_from_rows(value, margin, beta, outside_value)
    taker = int(np.argmax([row.max() for row in value]))
    bar = max([outside_value, *(row.max() for j, row in enumerate(value) if j != taker)])
    limit_priced = int(np.where(value[taker] > bar, margin[taker], 0.0).argmax())
    for levels in equilibria(world.game()).levels:
        assert levels[taker] == limit_priced
        shares, outside = log_shares_at(world.game(), levels)
        assert np.exp(shares[taker]) > 1 - 1e-9
        assert np.exp(outside) < 1e-9


# --- Making games -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"margin": [[0.1, 0.0]]}, "margin must be above 0"),
        ({"margin": [[0.1, -0.1]]}, "margin must be above 0"),
        ({"margin": [[0.1, np.nan]]}, "margin must be above 0"),
        ({"beta": -1.0}, "beta must be finite"),
        ({"beta": np.inf}, "beta must be finite"),
        ({"beta": np.nan}, "beta must be finite"),
        ({"beta": np.array([1.0, -1.0])}, "beta must be finite"),
        ({"offered": [[False, False]]}, "must offer at least one level"),
    ],
)
def test_a_game_without_a_logarithm_is_refused(change, sentence):
    arguments = {"value": [[0.1, 0.2]], "margin": [[0.1, 0.1]], "beta": 1.0, **change}
    with pytest.raises(ValueError, match=sentence):
        make_game(**arguments)


def test_value_and_margin_add_up_to_surplus():
    game = make_game(read_only([[0.5, 0.25]]), read_only([[0.125, 0.5]]), read_only([0.0, 1.0, 2.0]))
    assert game.batch_shape == (3,)
    assert game.n_providers == 1
    assert game.surplus.tolist() == [[[0.625, 0.75]]] * 3


@given(games=batches(), seed=seeds)
def test_selected_games_are_the_games_selected(games, seed):
    batch = stacked(games)
    index = np.random.default_rng(seed).integers(len(games), size=3)
    chosen = select(batch, index)
    for row, g in enumerate(index):
        alone = games[g].game()
        for name in ("value", "margin", "beta", "outside_value", "log_offer", "log_margin", "log_outside"):
            np.testing.assert_array_equal(getattr(chosen, name)[row], getattr(alone, name))


def test_the_rationality_of_the_sample_spans_zero_to_a_million():
    """The strategies above really draw what they promise."""
    seen: list[float] = []

    @given(beta=rationalities)
    def draw(beta: float) -> None:
        seen.append(beta)

    draw()
    assert min(seen) == 0.0
    assert max(seen) == 1e6
    assert sum(1 < b < 1e6 for b in seen) > 20

"""The reverse second-price auction: truth is dominant, in closed form (docs/theory.md, section 3)."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from market_sim.theory.auction import (
    EFFICIENT,
    Bids,
    audited,
    award,
    ever_efficient,
    request_scores,
    run_auctions,
    second_price_payment,
    truthful_outcome,
)
from market_sim.theory.blocks import BLOCK
from market_sim.theory.choice import OUTSIDE
from market_sim.theory.welfare import first_best
from tests import oracles
from tests.worlds import read_only, seeds

BASELINE = 0.1
SATISFACTION = {
    "linear": lambda accuracy: np.asarray(accuracy, dtype=float),
    "power": lambda accuracy: np.asarray(accuracy) ** 3.5,
    "exponential": lambda accuracy: np.expm1(6 * np.asarray(accuracy)) / np.expm1(6),
}
"""f: the chance that an answer of this accuracy satisfies the user."""


def realised_quality(alpha: float, satisfied: int) -> float:
    """alpha (b + (1 - b) satisfied), USD."""
    return alpha * (BASELINE + (1 - BASELINE) * satisfied)


class Bidder:
    """One bidder in one random auction against arbitrary, untruthful rivals."""

    def __init__(self, seed: int, f: str) -> None:
        rng = np.random.default_rng(seed)
        self.alpha = 10 ** rng.uniform(-2.5, -1)
        self.chance = np.asarray(SATISFACTION[f](rng.uniform(0, 1, rng.integers(1, 5))))
        self.quality = self.alpha * (BASELINE + (1 - BASELINE) * self.chance)
        self.cost = self.alpha * rng.uniform(0, 1.1, len(self.chance))
        self.surplus = self.quality - self.cost
        self.best = int(self.surplus.argmax())
        # Rivals may also tie with the truthful score, tie with the reserve, or not bid.
        self.reserve = float(rng.choice([0.0, rng.normal(0, 0.3) * self.alpha]))
        anything = rng.normal(0.3, 0.4, 8) * self.alpha
        special = [self.surplus.max(), self.reserve, -np.inf]
        self.rivals = rng.choice([*anything, *special], rng.integers(0, 5))
        self.index = int(rng.integers(len(self.rivals) + 1))

    def deviations(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Level, claimed quality and bid price of a grid of bids, the truth not among them on purpose."""
        claimed_chance = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
        claims = self.alpha * (BASELINE + (1 - BASELINE) * claimed_chance)
        prices = self.alpha * np.linspace(-0.2, 1.2, 15)
        level, claim, price = np.meshgrid(
            np.arange(len(self.cost)), [*claims, *self.quality], [*prices, *self.cost], indexing="ij"
        )
        return level.ravel(), claim.ravel(), price.ravel()

    def outcome(self, claim: np.ndarray, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(won, standing) of each of many bids, the rivals' bids being as they are."""
        own = np.atleast_1d(claim - price)
        scores = np.insert(np.repeat(self.rivals[:, None], len(own), axis=1), self.index, own, axis=0)
        result = award(read_only(scores), self.reserve)
        return result.winner == self.index, result.standing

    def profit(self, won, standing, level, paid: str) -> np.ndarray:
        """Expected profit, the expectation over the user's satisfaction taken exactly."""
        if paid == "expected":
            payment = second_price_payment(self.quality[level], standing)
        else:
            good, bad = (
                second_price_payment(realised_quality(self.alpha, satisfied), standing)
                for satisfied in (1, 0)
            )
            payment = self.chance[level] * good + (1 - self.chance[level]) * bad
        return np.where(won, payment - self.cost[level], 0.0)

    def truthful_profit(self, paid: str) -> float:
        level = np.array([self.best])
        won, standing = self.outcome(self.quality[level], self.cost[level])
        return float(self.profit(won, standing, level, paid)[0])


# --- Truth is dominant ------------------------------------------------------------------------------


@pytest.mark.parametrize("paid", ["expected", "realised"])
@given(seed=seeds, f=st.sampled_from(sorted(SATISFACTION)))
def test_bidding_true_cost_is_dominant_in_the_second_price_auction(paid, seed, f):
    """No price, claim or level earns more than the efficient level at its true cost, whoever the rivals
    are, whether expected or realised quality is paid (Vickrey 1961; Che 1993)."""
    bidder = Bidder(seed, f)
    level, claim, price = bidder.deviations()
    won, standing = bidder.outcome(claim, price)
    earned = bidder.profit(won, standing, level, paid)
    truthful = bidder.truthful_profit(paid)
    assert earned.max() <= truthful + 1e-14 * bidder.alpha
    # The profits just compared are the true ones, and truth never loses (individual rationality).
    assert truthful >= -1e-15 * bidder.alpha
    for d in range(0, len(level), 37):
        exact = oracles.expected_profit(
            bidder=bidder.index,
            score=float(claim[d] - price[d]),
            quality=float(bidder.quality[level[d]]),
            cost=float(bidder.cost[level[d]]),
            rivals=bidder.rivals.tolist(),
            reserve=bidder.reserve,
        )
        assert earned[d] == pytest.approx(float(exact), abs=1e-14 * bidder.alpha)


@given(seed=seeds, f=st.sampled_from(sorted(SATISFACTION)))
def test_the_winner_earns_its_marginal_contribution_and_the_user_keeps_the_second_best(seed, f):
    bidder = Bidder(seed, f)
    level = np.array([bidder.best])
    won, standing = bidder.outcome(bidder.quality[level], bidder.cost[level])
    without = max([bidder.reserve, *bidder.rivals])
    if won[0]:
        assert bidder.truthful_profit("expected") == pytest.approx(bidder.surplus.max() - without, abs=1e-15)
        payment = second_price_payment(bidder.quality[level], standing)
        assert bidder.quality[level] - payment == pytest.approx(without, abs=1e-15)
        for satisfied in (0, 1):
            quality = realised_quality(bidder.alpha, satisfied)
            assert quality - second_price_payment(quality, standing) == pytest.approx(without, abs=1e-15)
    else:
        assert bidder.surplus.max() <= without


def test_shading_and_overbidding_can_cost_what_truth_would_have_earned():
    """Dominance is not vacuous: against a rival in between, asking more loses the request and asking
    less wins one that is not worth serving."""
    quality, cost = 10.0, 4.0
    shaded = award(read_only([[quality - 6.0], [5.0]]), 0.0)
    assert shaded.winner[0] == 1  # truth would have earned 6 - 5
    eager = award(read_only([[quality - 2.0], [7.0]]), 0.0)
    assert eager.winner[0] == 0
    assert second_price_payment(quality, eager.standing[0]) - cost == -1.0


def test_a_single_request_can_lose_money_though_truth_never_does_on_average():
    """Paid on realised quality the winner bears the risk; transfers are not floored."""
    chance, alpha, cost, standing = 0.5, 1.0, 0.2, 0.25
    good, bad = (second_price_payment(realised_quality(alpha, s), standing) - cost for s in (1, 0))
    assert good == pytest.approx(0.55)
    assert bad == pytest.approx(-0.35)
    assert chance * good + (1 - chance) * bad == pytest.approx(0.1)


# --- Paid on reported quality it is not -------------------------------------------------------------


def reported_profits(bidder: Bidder, probability: float, clawback: float) -> tuple[np.ndarray, float]:
    """Expected profits on the grid and of the truth when *reported* quality is paid and audited."""
    level, claim, price = bidder.deviations()
    level, claim = np.append(level, bidder.best), np.append(claim, bidder.quality[bidder.best])
    price = np.append(price, bidder.cost[bidder.best])
    won, standing = bidder.outcome(claim, price)
    payment = second_price_payment(claim, standing)
    payment = audited(payment, claim - bidder.quality[level], clawback, probability)
    profits = np.where(won, payment - bidder.cost[level], 0.0)
    return profits[:-1], float(profits[-1])


def test_paid_on_reported_quality_each_cent_overstated_is_a_cent_gained():
    quality, cost, rival = 10.0, 4.0, 5.0
    profits = []
    for overstated in (0.0, 1.0, 3.0):
        claim = quality + overstated
        result = award(read_only([[claim - cost], [rival]]), 0.0)
        assert result.winner[0] == 0
        profits.append(float(second_price_payment(claim, result.standing[0])) - cost)
    assert profits == [1.0, 2.0, 4.0]


@given(seed=seeds, f=st.sampled_from(sorted(SATISFACTION)))
@pytest.mark.parametrize(("probability", "clawback"), [(1.0, 1.0), (0.25, 4.0), (0.5, 3.0), (0.1, 50.0)])
def test_audits_that_take_back_the_expected_gain_or_more_make_truth_dominant(probability, clawback, seed, f):
    """rho M >= 1.  Neither over- nor understating quality pays: an audit takes back, it never adds."""
    bidder = Bidder(seed, f)
    profits, truthful = reported_profits(bidder, probability, clawback)
    assert profits.max() <= truthful + 1e-13 * bidder.alpha


@pytest.mark.parametrize(("probability", "clawback"), [(0.0, 5.0), (0.5, 1.9), (0.25, 3.0), (1.0, 0.9)])
def test_audits_that_take_back_less_than_the_expected_gain_do_not(probability, clawback):
    """rho M < 1: in every auction that the truth would win, overstating pays."""
    won = 0
    for seed in range(60):
        bidder = Bidder(seed, "linear")
        profits, truthful = reported_profits(bidder, probability, clawback)
        if truthful > 1e-6 * bidder.alpha and bidder.chance[bidder.best] < 0.9:
            won += 1
            assert profits.max() > truthful + 1e-6 * bidder.alpha
    assert won > 10


def test_an_audit_leaves_the_honest_alone():
    """Also when its answer happened to be wrong: expected, not realised, quality is audited."""
    payment = read_only([0.004, 0.007])
    assert audited(payment, np.zeros(2), 10.0, np.ones(2)).tolist() == payment.tolist()
    fined = audited(payment, read_only([0.001, 0.001]), 2.0, read_only([0, 1]))
    assert fined == pytest.approx([0.004, 0.005])


# --- The award --------------------------------------------------------------------------------------


@given(
    scores=st.lists(
        st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=5),
        min_size=1,
        max_size=8,
    ),
    reserve=st.sampled_from([-1.0, 0.0, 0.25, 2.0]),
)
def test_the_award_is_that_of_the_definition(scores, reserve):
    """Few different scores, so that ties with one another and with the reserve are common."""
    n = max(len(column) for column in scores)
    columns = [column + [-np.inf] * (n - len(column)) for column in scores]
    result = award(read_only(np.transpose(columns)), reserve)
    for r, column in enumerate(columns):
        winner, standing = oracles.second_price(column, reserve)
        assert result.winner[r] == (OUTSIDE if winner is None else winner)
        assert result.standing[r] == standing
        assert result.score[r] == (reserve if winner is None else column[winner])


def test_one_bidder_leaves_the_user_with_the_reserve():
    for reserve in (0.0, 0.3, 0.5):
        result = award(read_only([[0.5]]), reserve)
        assert (result.winner[0], result.score[0], result.standing[0]) == (0, 0.5, reserve)


def test_a_score_equal_to_the_reserve_wins_and_one_below_does_not():
    below = np.nextafter(0.25, 0.0)
    result = award(read_only([[0.25, below, 0.0], [0.0, 0.0, -np.inf]]), read_only([0.25, 0.25, 0.0]))
    assert result.winner.tolist() == [0, OUTSIDE, 0]
    assert result.standing.tolist() == [0.25, 0.25, 0.0]
    assert result.score.tolist() == [0.25, 0.25, 0.0]


def test_ties_go_to_the_lowest_index_unless_they_are_drawn():
    scores = read_only([[0.1, 0.3, 0.5], [0.3, 0.3, 0.5], [0.3, 0.2, 0.5]])
    assert award(scores, 0.0).winner.tolist() == [1, 0, 0]
    assert award(scores, 0.0).standing.tolist() == [0.3, 0.3, 0.5]
    for uniform, winners in [(0.0, [1, 0, 0]), (0.4, [1, 0, 1]), (0.5, [2, 1, 1]), (0.99, [2, 1, 2])]:
        drawn = award(scores, 0.0, np.full(3, uniform))
        assert drawn.winner.tolist() == winners
        assert drawn.standing.tolist() == [0.3, 0.3, 0.5]
        assert drawn.tied.tolist() == [2, 2, 3]
    assert award(scores, 0.0).tied.tolist() == [1, 1, 1]


def test_drawn_ties_share_the_requests_equally():
    n = 90_000
    scores = read_only(np.tile([[0.2], [0.7], [0.7], [0.1], [0.7]], (1, n)))
    won = award(scores, 0.0, np.random.default_rng(3).random(n)).winner
    counts = np.bincount(won, minlength=5)
    assert counts[[0, 3]].tolist() == [0, 0]
    assert stats.chisquare(counts[[1, 2, 4]]).pvalue > 1e-3


def test_ties_below_the_reserve_win_nothing_even_if_drawn():
    scores = read_only([[0.2, np.nextafter(0.5, 0.0)], [0.2, np.nextafter(0.5, 0.0)]])
    result = award(scores, 0.5, read_only([0.3, 0.3]))
    assert result.winner.tolist() == [OUTSIDE, OUTSIDE]
    assert result.score.tolist() == result.standing.tolist() == [0.5, 0.5]
    assert result.tied.tolist() == [1, 1]


@given(seed=seeds)
def test_drawing_ties_changes_nothing_where_there_are_none(seed):
    rng = np.random.default_rng(seed)
    scores = read_only(rng.normal(size=(4, 50)))
    first, drawn = award(scores, 0.2), award(scores, 0.2, rng.random(50))
    assert first.winner.tolist() == drawn.winner.tolist()
    assert first.standing.tolist() == drawn.standing.tolist()


# --- The truthful outcome ---------------------------------------------------------------------------


def random_curves(rng: np.random.Generator, n: int, k: int) -> tuple[np.ndarray, ...]:
    """(worth, cost, offered), ragged, with a large surplus wherever nothing is offered."""
    offered = np.arange(k) < rng.integers(1, k + 1, n)[:, None]
    worth = BASELINE + (1 - BASELINE) * rng.uniform(0, 1, (n, k))
    cost = 10 ** rng.uniform(-4, -1.5, (n, k))
    worth, cost = np.where(offered, worth, 9e3), np.where(offered, cost, 0.0)
    return read_only(worth), read_only(cost), read_only(offered)


@given(seed=seeds, n=st.integers(1, 5), k=st.integers(1, 4), coarse=st.booleans())
def test_the_truthful_outcome_is_the_best_offer_at_the_second_bests_value(seed, n, k, coarse):
    """Welfare is max(W_(1), V_0), the user keeps max(W_(2), V_0), the winner the difference."""
    rng = np.random.default_rng(seed)
    worth, cost, offered = random_curves(rng, n, k)
    quality = worth * 10 ** rng.uniform(-3, -1, (6, 1, 1))
    if coarse:  # binary fractions, so that ties are common and exact
        quality = np.where(offered, rng.integers(0, 4, (6, n, k)) / 4, 9e3)
        cost = rng.integers(0, 4, (n, k)) / 4
    reserve = rng.choice([0.0, -0.25, 0.25, 0.002], 6)
    outcome = truthful_outcome(read_only(quality), read_only(cost), read_only(reserve), offered)
    surplus = quality - cost
    for g in range(6):
        rows = [[float(surplus[g, i, j]) for j in range(k) if offered[i, j]] for i in range(n)]
        scores = [max(row) for row in rows]
        winner, standing = oracles.second_price(scores, float(reserve[g]))
        assert outcome.user_value[g] == standing
        if winner is None:
            assert outcome.winner[g] == outcome.level[g] == outcome.runner_up[g] == OUTSIDE
            assert outcome.welfare[g] == reserve[g]
            assert outcome.price[g] == outcome.provider_profit[g] == 0.0
            continue
        level = rows[winner].index(scores[winner])
        others = [-np.inf if i == winner else s for i, s in enumerate(scores)]
        second = max(range(n), key=lambda i: (others[i], -i))
        assert outcome.winner[g] == winner
        assert outcome.level[g] == level
        assert outcome.runner_up[g] == (second if others[second] >= reserve[g] else OUTSIDE)
        assert outcome.welfare[g] == scores[winner] == max([reserve[g], *scores])
        assert outcome.price[g] == pytest.approx(quality[g, winner, level] - standing, abs=1e-16)
        assert outcome.provider_profit[g] == pytest.approx(scores[winner] - standing, abs=1e-16)
        assert outcome.provider_profit[g] >= 0
    assert outcome.welfare.tolist() == first_best(surplus, reserve, offered).tolist()


def test_the_truthful_outcome_takes_a_single_market():
    outcome = truthful_outcome(
        read_only([[0.5, 0.75], [0.5, 0.0]]),
        read_only([[0.25, 0.25], [0.25, 0.0]]),
        0.0,
        np.ones((2, 2), bool),
    )
    assert (outcome.winner, outcome.level, outcome.runner_up) == (0, 1, 1)
    assert (outcome.welfare, outcome.user_value, outcome.price) == (0.5, 0.25, 0.5)


# --- Many requests ----------------------------------------------------------------------------------


def random_bids(rng: np.random.Generator, n: int, k: int) -> Bids:
    """Standing bids of every sort: fixed or efficient levels, shaded prices, claims beside the truth."""
    worth, cost, offered = random_curves(rng, n, k)
    overclaim = np.where(rng.random((n, 1)) < 0.5, rng.normal(0, 0.1, (n, k)), 0.0)
    level = np.where(rng.random(n) < 0.5, EFFICIENT, rng.integers(offered.sum(axis=1)))
    return Bids(
        worth=worth,
        claimed=read_only(worth + overclaim),
        cost=cost,
        offered=offered,
        level=read_only(level),
        share=read_only(rng.choice([0.0, 0.0, 0.3, 1.0, -0.25], n)),
    )


def score_by_hand(bids: Bids, i: int, alpha: float) -> tuple[float, int]:
    """The score of provider i on one request, and the level behind it."""
    surplus = {k: alpha * bids.worth[i, k] - bids.cost[i, k] for k in np.flatnonzero(bids.offered[i])}
    efficient = max(surplus, key=lambda k: (surplus[k], -k))
    level = efficient if bids.level[i] == EFFICIENT else int(bids.level[i])
    price = bids.cost[i, level] + bids.share[i] * max(surplus[level], 0.0)
    return alpha * bids.claimed[i, level] - price, level


@given(seed=seeds, n=st.integers(1, 5), k=st.integers(1, 4))
def test_each_request_is_awarded_on_its_own_users_value(seed, n, k):
    rng = np.random.default_rng(seed)
    bids = random_bids(rng, n, k)
    value = read_only(10 ** rng.uniform(-3, -1, 12))
    reserve = float(rng.choice([0.0, 0.002, -0.001]))
    won = run_auctions(bids, value, reserve)
    scores, levels = request_scores(bids, value)
    for r, alpha in enumerate(value):
        by_hand = [score_by_hand(bids, i, alpha) for i in range(n)]
        assert levels[:, r].tolist() == [level for _, level in by_hand]
        np.testing.assert_allclose(scores[:, r], [s for s, _ in by_hand], rtol=1e-12, atol=1e-15)
        winner, standing = oracles.second_price([s for s, _ in by_hand], reserve)
        # A provider that asks for all of its surplus scores its reserve up to rounding.
        clear = np.sort([reserve, *(s for s, _ in by_hand)])
        if winner is not None and clear[-1] - clear[-2] > 1e-14:
            assert won.winner[r] == winner
            assert won.level[r] == by_hand[winner][1]
        assert won.standing[r] == pytest.approx(standing, abs=1e-15)
        assert won.score[r] == pytest.approx(max([reserve, *(s for s, _ in by_hand)]), abs=1e-15)


@given(seed=seeds, n=st.integers(1, 5), k=st.integers(1, 4))
def test_truthful_bids_bring_about_the_truthful_outcome(seed, n, k):
    rng = np.random.default_rng(seed)
    worth, cost, offered = random_curves(rng, n, k)
    truth = Bids(
        worth=worth,
        claimed=worth,
        cost=cost,
        offered=offered,
        level=np.full(n, EFFICIENT),
        share=np.zeros(n),
    )
    value = 10 ** rng.uniform(-3, -1, 20)
    won = run_auctions(truth, value, 0.001)
    outcome = truthful_outcome(value[:, None, None] * worth, cost, 0.001, offered)
    assert won.winner.tolist() == outcome.winner.tolist()
    assert won.score.tolist() == outcome.welfare.tolist()
    assert won.standing.tolist() == outcome.user_value.tolist()
    served = won.winner != OUTSIDE
    assert won.level[served].tolist() == outcome.level[served].tolist()
    assert not won.level[~served].any()


def test_a_bidder_that_asks_a_share_of_its_surplus_leaves_the_rest_on_the_table():
    """score = (1 - share) W, or W plus what is overclaimed; levels as committed."""
    bids = Bids(
        worth=read_only([[0.5, 1.0], [0.5, 1.0]]),
        claimed=read_only([[0.5, 1.0], [0.5, 1.25]]),
        cost=read_only([[0.25, 0.5], [0.25, 0.5]]),
        offered=np.ones((2, 2), bool),
        level=read_only([0, EFFICIENT]),
        share=read_only([0.25, 0.5]),
    )
    scores, levels = request_scores(bids, read_only([1.0, 2.0]))
    assert levels.tolist() == [[0, 0], [1, 1]]
    assert scores.tolist() == [[0.75 * 0.25, 0.75 * 0.75], [0.5 * 0.5 + 0.25, 0.5 * 1.5 + 0.5]]


def test_of_levels_equally_good_for_a_user_the_first_is_served():
    """Binary fractions: at a value of 1 both levels create 1/4."""
    bids = Bids(
        worth=read_only([[0.5, 1.0]]),
        claimed=read_only([[0.5, 1.0]]),
        cost=read_only([[0.25, 0.75]]),
        offered=np.ones((1, 2), bool),
        level=read_only([EFFICIENT]),
        share=np.zeros(1),
    )
    value = read_only([0.75, 1.0, 2.0])
    assert request_scores(bids, value)[1].tolist() == [[0, 0, 1]]
    assert run_auctions(bids, value, 0.0).level.tolist() == [0, 0, 1]


def test_nobody_asks_for_a_share_of_a_loss():
    """A level that destroys value for a user is bid at its cost, however much is shaded elsewhere."""
    bids = Bids(
        worth=read_only([[0.5], [0.5]]),
        claimed=read_only([[0.5], [0.5]]),
        cost=read_only([[0.5], [0.5]]),
        offered=np.ones((2, 1), bool),
        level=read_only([0, EFFICIENT]),
        share=read_only([1.0, -0.25]),
    )
    scores, _ = request_scores(bids, read_only([0.5, 2.0]))
    assert scores.tolist() == [[-0.25, 0.0], [-0.25, 0.625]]


@pytest.mark.parametrize("drawn", [False, True])
def test_more_requests_than_a_block_are_awarded_as_if_alone(drawn):
    """Two of the bidders are twins, so that draws decide; dear levels are for users who value them."""
    bids = Bids(
        worth=read_only([[0.3, 0.6, 0.9], [0.5, 0.7, 0.8], [0.5, 0.7, 0.8]]),
        claimed=read_only([[0.3, 0.6, 0.9], [0.5, 0.7, 0.8], [0.5, 0.7, 0.8]]),
        cost=read_only([[0.001, 0.004, 0.012], [0.002, 0.004, 0.009], [0.002, 0.004, 0.009]]),
        offered=np.ones((3, 3), bool),
        level=np.full(3, EFFICIENT),
        share=read_only([0.1, 0.0, 0.0]),
    )
    rng = np.random.default_rng(17)
    n_requests = 2 * BLOCK + 99
    value = read_only(10 ** rng.uniform(-3, -0.5, n_requests))
    ties = read_only(rng.random(n_requests)) if drawn else None
    whole = run_auctions(bids, value, 0.001, ties)
    cuts = [0, 1, 500, BLOCK + 3, n_requests]
    for name in ("winner", "level", "score", "standing", "tied"):
        parts = [
            getattr(run_auctions(bids, value[a:b], 0.001, None if ties is None else ties[a:b]), name)
            for a, b in itertools.pairwise(cuts)
        ]
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate(parts))
    assert set(whole.winner.tolist()) == ({OUTSIDE, 0, 1, 2} if drawn else {OUTSIDE, 0, 1})
    assert set(whole.level.tolist()) == {0, 1, 2}


def test_no_requests_are_no_awards():
    won = run_auctions(random_bids(np.random.default_rng(1), 3, 2), np.empty(0), 0.0)
    assert len(won.winner) == len(won.level) == len(won.score) == len(won.standing) == 0


# --- The upper envelope of surpluses ----------------------------------------------------------------


@given(seed=seeds, n=st.integers(1, 4), k=st.integers(1, 6), width=st.sampled_from([0.0, 1e-3, 0.1]))
def test_exactly_the_levels_that_are_efficient_for_somebody_are_kept(seed, n, k, width):
    rng = np.random.default_rng(seed)
    worth, cost, offered = random_curves(rng, n, k)
    lowest = 10 ** rng.uniform(-3, -1)
    kept = ever_efficient(worth, cost, offered, lowest, lowest + width)
    for i in range(n):
        on = np.flatnonzero(offered[i])
        exact = oracles.efficient_levels(worth[i, on], cost[i, on], lowest, lowest + width)
        assert np.flatnonzero(kept[i]).tolist() == sorted(exact)


@given(seed=seeds, k=st.integers(1, 6), ends=st.tuples(st.integers(0, 8), st.integers(0, 8)))
def test_of_tied_levels_one_that_attains_the_maximum_is_always_kept(seed, k, ends):
    """Coarse lines, so that equal lines, parallels and crossings at the ends of the range are common."""
    rng = np.random.default_rng(seed)
    worth, cost = rng.integers(1, 4, (1, k)) / 4, rng.integers(0, 4, (1, k)) / 4
    offered = read_only(np.ones((1, k), bool))
    lowest, highest = min(ends) / 4, max(ends) / 4
    kept = np.flatnonzero(ever_efficient(read_only(worth), read_only(cost), offered, lowest, highest)[0])
    lines = [(Fraction(y), Fraction(c)) for y, c in zip(worth[0], cost[0], strict=True)]
    assert len(kept) == len({lines[j] for j in kept})
    for alpha in (lowest, highest, *rng.uniform(lowest, highest, 5)):
        surplus = [Fraction(alpha) * y - c for y, c in lines]
        assert max(surplus[j] for j in kept) == max(surplus)
        # The first of the best is what a search through all levels would find.
        assert surplus.index(max(surplus)) in kept


def test_lines_that_all_cross_at_the_one_value_asked_for_are_not_all_lost():
    """Crossings are then the same up to rounding, which may drop every one of them."""
    rng = np.random.default_rng(0)
    for _ in range(3000):
        alpha, worth = 10 ** rng.uniform(-3, -1), rng.uniform(0.1, 1, (1, rng.integers(2, 7)))
        cost = alpha * worth - 0.05 * alpha
        kept = ever_efficient(worth, cost, np.ones(worth.shape, bool), alpha, alpha)[0]
        assert kept.any()
        surplus = (alpha * worth - cost)[0]
        assert surplus[kept].max() >= surplus.max() - 1e-15

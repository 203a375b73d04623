"""Oracles: slow, obviously right answers by enumeration, written without the package under test.

Numbers are decimals of 60 digits, so exp(beta V) at beta = 10^6 is as exact as at beta = 1, and a gap
between two profits is seen even where both agree to forty digits.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import wraps

CONTEXT = Context(prec=60, Emin=-(10**12), Emax=10**12)

type Number = float | Decimal
type Profile = tuple[int, ...]


def in_sixty_digits[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Run a function under CONTEXT."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(CONTEXT):
            return function(*args, **kwargs)

    return run


# --- Choice -----------------------------------------------------------------------------------------


@in_sixty_digits
def logit_shares(
    values: Iterable[Number], beta: Number, outside_value: Number
) -> tuple[list[Decimal], Decimal]:
    """Shares of every offer and of buying nothing, by the definition (docs/theory.md 2)."""
    odds = [(Decimal(beta) * Decimal(v)).exp() for v in values]
    outside = (Decimal(beta) * Decimal(outside_value)).exp()
    total = sum(odds) + outside
    return [o / total for o in odds], outside / total


@in_sixty_digits
def log_shares(values: Iterable[Number], beta: Number, outside_value: Number) -> tuple[list[float], float]:
    """Logarithms of `logit_shares`."""
    shares, outside = logit_shares(values, beta, outside_value)
    return [float(s.ln()) for s in shares], float(outside.ln())


@in_sixty_digits
def log_total(values: Iterable[Number], beta: Number, outside_value: Number) -> float:
    """ln D."""
    terms = [*values, outside_value]
    return float(sum((Decimal(beta) * Decimal(v)).exp() for v in terms).ln())


@in_sixty_digits
def log_sum_surplus(values: Iterable[Number], beta: Number, outside_value: Number) -> float:
    """(1/beta) ln(D / e^{beta V_0}), beta > 0."""
    gains = [Decimal(beta) * (Decimal(v) - Decimal(outside_value)) for v in values]
    return float((1 + sum(g.exp() for g in gains)).ln() / Decimal(beta))


# --- The pay-per-compute game -----------------------------------------------------------------------


class Market:
    """One small game, its profiles enumerated.  Levels are ragged lists: only what is offered."""

    @in_sixty_digits
    def __init__(
        self,
        value: Sequence[Sequence[float]],
        margin: Sequence[Sequence[float]],
        beta: float,
        outside_value: float,
    ) -> None:
        self.value = [[Decimal(float(v)) for v in row] for row in value]
        self.margin = [[Decimal(float(m)) for m in row] for row in margin]
        self.beta, self.outside_value = Decimal(float(beta)), Decimal(float(outside_value))
        self.offer = [[(self.beta * v).exp() for v in row] for row in self.value]
        self.outside = (self.beta * self.outside_value).exp()

    @property
    def n_providers(self) -> int:
        return len(self.value)

    def n_levels(self, i: int) -> int:
        return len(self.value[i])

    def profiles(self) -> Iterable[Profile]:
        """Every profile of levels."""
        return itertools.product(*(range(len(row)) for row in self.value))

    @in_sixty_digits
    def total(self, profile: Profile) -> Decimal:
        """D."""
        return self.outside + sum(self.offer[i][k] for i, k in enumerate(profile))

    @in_sixty_digits
    def rivals(self, profile: Profile, i: int) -> Decimal:
        """X_i, summed without provider i: nothing is subtracted."""
        return self.outside + sum(self.offer[j][k] for j, k in enumerate(profile) if j != i)

    @in_sixty_digits
    def profit_against(self, x: Decimal, i: int, level: int) -> Decimal:
        """U of a level when rivals and the outside option offer x."""
        offer = self.offer[i][level]
        return self.margin[i][level] * offer / (x + offer)

    def profits(self, profile: Profile, i: int) -> list[Decimal]:
        """U of each own level of provider i against the others' levels in the profile."""
        x = self.rivals(profile, i)
        return [self.profit_against(x, i, k) for k in range(self.n_levels(i))]

    @in_sixty_digits
    def gains(self, profile: Profile, i: int) -> list[Decimal]:
        """By which fraction each level of provider i earns more (or less) than its level in the profile."""
        own = self.profits(profile, i)
        return [u / own[profile[i]] - 1 for u in own]

    def regret(self, profile: Profile) -> Decimal:
        """The largest relative gain anybody has from moving alone."""
        return max(max(self.gains(profile, i)) for i in range(self.n_providers))

    @in_sixty_digits
    def welfare(self, profile: Profile) -> Decimal:
        """sum_i s_i W_i + s_0 V_0."""
        created = sum(
            self.offer[i][k] * (self.value[i][k] + self.margin[i][k]) for i, k in enumerate(profile)
        )
        return (created + self.outside * self.outside_value) / self.total(profile)

    @in_sixty_digits
    def potential(self, profile: Profile) -> Decimal:
        """Phi = sum_i (ln m_i + beta V_i) - ln D."""
        product = Decimal(1)
        for i, k in enumerate(profile):
            product *= self.margin[i][k] * self.offer[i][k]
        return (product / self.total(profile)).ln()

    def regrets(self) -> dict[Profile, Decimal]:
        """Every profile's regret: the whole game on a page."""
        return {profile: self.regret(profile) for profile in self.profiles()}

    def potential_maximiser(self) -> Profile:
        return max(self.profiles(), key=self.potential)

    def welfare_optimum(self) -> tuple[Decimal, Profile]:
        best = max(self.profiles(), key=self.welfare)
        return self.welfare(best), best


def pure_equilibria(regrets: dict[Profile, Decimal], tolerance: float = 0.0) -> set[Profile]:
    """The profiles nobody gains from leaving alone, from `Market.regrets`."""
    return {profile for profile, regret in regrets.items() if regret <= tolerance}


def is_clear_cut(regrets: dict[Profile, Decimal], exact: float, clear: float) -> bool:
    """Whether every profile's regret is at most `exact` or more than `clear`: no profile is an
    equilibrium or not depending on a tolerance in between."""
    return all(regret <= exact or regret > clear for regret in regrets.values())


# --- The reverse second-price auction ---------------------------------------------------------------


def second_price(scores: Sequence[float], reserve: float) -> tuple[int | None, float]:
    """(winner, what the user keeps).  The first of the highest scores wins if it reaches the reserve."""
    reaching = [i for i, score in enumerate(scores) if score >= reserve]
    if not reaching:
        return None, reserve
    winner = max(reaching, key=lambda i: (scores[i], -i))
    return winner, max([reserve, *(s for i, s in enumerate(scores) if i != winner)])


def expected_profit(
    *,
    bidder: int,
    score: float,
    quality: float,
    cost: float,
    rivals: Sequence[float],
    reserve: float,
) -> Fraction:
    """Exact profit of a bid with this score whose answer is worth `quality` on average and costs `cost`,
    when the winner is paid quality less the user's keep.  `rivals`: the others' scores, in order."""
    scores = [*rivals[:bidder], score, *rivals[bidder:]]
    winner, keeps = second_price(scores, reserve)
    return Fraction(quality) - Fraction(keeps) - Fraction(cost) if winner == bidder else Fraction(0)


def efficient_levels(
    worth: Sequence[float], cost: Sequence[float], lowest: float, highest: float
) -> set[int]:
    """Levels with the largest alpha y - c somewhere on [lowest, highest], the first of equal lines.

    The upper envelope of lines is attained at an end of the range or where two of them cross.
    """
    y, c = [Fraction(float(v)) for v in worth], [Fraction(float(v)) for v in cost]
    low, high = Fraction(float(lowest)), Fraction(float(highest))
    places = {low, high}
    for i, j in itertools.combinations(range(len(y)), 2):
        if y[i] != y[j]:
            places.add((c[i] - c[j]) / (y[i] - y[j]))
    found: set[int] = set()
    for alpha in places:
        if low <= alpha <= high:
            surplus = [alpha * yk - ck for yk, ck in zip(y, c, strict=True)]
            found |= {k for k, w in enumerate(surplus) if w == max(surplus)}
    return {k for k in found if not any(y[j] == y[k] and c[j] == c[k] for j in range(k))}


# --- Samples of a question --------------------------------------------------------------------------


def subsets_that_are_right(n_samples: int, n: int, right: Callable[[Profile], Fraction | bool]) -> Fraction:
    """Share of the subsets of n samples after which the returned answer is right."""
    draws = list(itertools.combinations(range(n_samples), n))
    return sum((Fraction(right(draw)) for draw in draws), Fraction(0)) / len(draws)


def vote_is_right(correct: Sequence[bool], answers: Sequence[int], n: int) -> Fraction:
    """Most frequent answer of n samples; ties shared; negative answers never win."""
    good = {answer for answer, c in zip(answers, correct, strict=True) if c and answer >= 0}

    def right(draw: Profile) -> Fraction:
        drawn = [answers[i] for i in draw if answers[i] >= 0]
        most = max((drawn.count(answer) for answer in drawn), default=0)
        winners = {answer for answer in drawn if drawn.count(answer) == most}
        return Fraction(len(winners & good), len(winners)) if winners else Fraction(0)

    return subsets_that_are_right(len(answers), n, right)


def first_to_lead_is_right(correct: Sequence[bool], answers: Sequence[int], n: int) -> Fraction:
    """The same vote, but a tie goes to the answer drawn first, over all orders of drawing."""
    good = {answer for answer, c in zip(answers, correct, strict=True) if c and answer >= 0}
    orders = list(itertools.permutations(range(len(answers)), n))
    hits = 0
    for order in orders:
        drawn = [answers[i] for i in order if answers[i] >= 0]
        hits += bool(drawn) and max(drawn, key=drawn.count) in good
    return Fraction(hits, len(orders))


def best_is_right(correct: Sequence[bool], rewards: Sequence[float | None], n: int) -> Fraction:
    """Sample of the highest reward among n; ties shared; no reward is less than any."""

    def right(draw: Profile) -> Fraction:
        rated = [-float("inf") if rewards[i] is None else float(rewards[i]) for i in draw]
        best = [correct[i] for i, reward in zip(draw, rated, strict=True) if reward == max(rated)]
        return Fraction(sum(best), len(best))

    return subsets_that_are_right(len(correct), n, right)


def any_is_right(correct: Sequence[bool], n: int) -> Fraction:
    """At least one right sample among n."""
    return subsets_that_are_right(len(correct), n, lambda draw: any(correct[i] for i in draw))

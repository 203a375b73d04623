"""Plain references: what one would write first, in loops over providers, levels and requests.

They are the yardstick of the ratios and the check on the answers, so they share no code with the package.
Values are USD per query; the outside option is worth 0.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

type Table = Sequence[Sequence[float]]
"""One row per provider, one entry per level."""

STRICTLY = 1e-8
"""A level is strictly better when it earns more than (1 + STRICTLY) times as much: the paper's code."""


def choice_shares(values: Sequence[float], beta: float) -> list[float]:
    """The logit's shares; what is missing to one buys nothing."""
    top = max(0.0, *(beta * v for v in values))
    odds = [math.exp(beta * v - top) for v in values]
    total = sum(odds) + math.exp(-top)
    return [o / total for o in odds]


def welfare(value: Table, margin: Table, beta: float, levels: Sequence[int]) -> float:
    """sum_i s_i W_i of a profile."""
    shares = choice_shares([row[k] for row, k in zip(value, levels, strict=True)], beta)
    return sum(s * (value[i][k] + margin[i][k]) for i, (s, k) in enumerate(zip(shares, levels, strict=True)))


def enumerate_profiles(
    value: Table, margin: Table, beta: float
) -> tuple[float, tuple[int, ...], list[tuple[int, ...]]]:
    """Every profile in turn: (best welfare, the profile that has it, all pure equilibria)."""
    odds = [[math.exp(beta * v) for v in row] for row in value]
    best, optimum, found = -math.inf, (), []
    for profile in itertools.product(*(range(len(row)) for row in value)):
        total = 1.0 + sum(odds[i][k] for i, k in enumerate(profile))
        created = sum(odds[i][k] * (value[i][k] + margin[i][k]) for i, k in enumerate(profile)) / total
        if created > best:
            best, optimum = created, profile
        if all(_stays(odds[i], margin[i], total - odds[i][k], k) for i, k in enumerate(profile)):
            found.append(profile)
    return best, optimum, found


def _stays(odds: Sequence[float], margin: Sequence[float], rivals: float, level: int) -> bool:
    own = margin[level] * odds[level] / (rivals + odds[level])
    return all(m * o / (rivals + o) <= own * (1 + 1e-9) for m, o in zip(margin, odds, strict=True))


def better_replies(
    value: Table, margin: Table, beta: float, orders: Iterable[Sequence[int]]
) -> tuple[int, ...]:
    """The paper's dynamics from everybody's lowest level: where they stop.  Profits are compared in
    logarithms, because they underflow at large beta."""
    levels = [0] * len(value)
    for order in orders:
        moved = False
        for i in order:

            def log_profit(k: int, i: int = i) -> float:
                offers = [beta * row[level] for row, level in zip(value, levels, strict=True)]
                offers[i] = beta * value[i][k]
                return math.log(margin[i][k]) + offers[i] - _log_sum([0.0, *offers])

            least = log_profit(levels[i]) + math.log1p(STRICTLY)
            better = [k for k in range(len(value[i])) if log_profit(k) > least]
            if better:
                levels[i] = min(better, key=lambda k: (abs(k - levels[i]), k))
                moved = True
        if not moved:
            break
    return tuple(levels)


def optimum_by_dinkelbach(value: Table, margin: Table, beta: float) -> float:
    """Best welfare, term by term: raise a target until no choice of levels reaches more.

    A provider's term is e^(beta v) (w - target): the largest gain, or else the smallest loss, found in
    logarithms because e^(beta v) underflows at large beta.
    """
    target = 0.0
    while True:
        levels = []
        for own_values, own_margins in zip(value, margin, strict=True):
            best, level, gains = -math.inf, 0, False
            for k, (v, m) in enumerate(zip(own_values, own_margins, strict=True)):
                gap = v + m - target
                if gap > 0:
                    size = beta * v + math.log(gap)
                    if not gains or size > best:
                        best, level, gains = size, k, True
                elif not gains:
                    size = -beta * v - math.log(-gap) if gap < 0 else math.inf
                    if size > best:
                        best, level = size, k
            levels.append(level)
        reached = welfare(value, margin, beta, levels)
        if reached <= target + 1e-14:
            return target
        target = reached


def best_replies(value: Table, margin: Table, beta: float, upwards: bool) -> tuple[int, ...]:
    """Best replies, one provider after another, from everybody's best (upwards) or worst offer: the
    greatest or the least equilibrium.  In logarithms, with a running total."""
    offer = [[beta * v for v in row] for row in value]
    log_margin = [[math.log(m) for m in row] for row in margin]
    pick = max if upwards else min
    levels = [pick(range(len(row)), key=row.__getitem__) for row in offer]
    while True:
        moved = False
        log_total = _log_sum([0.0, *(row[k] for row, k in zip(offer, levels, strict=True))])
        for i, own in enumerate(offer):
            gap = own[levels[i]] - log_total
            if gap < -0.7:  # a share below one half can be taken away without harm
                rivals = log_total + math.log1p(-math.exp(gap))
            else:
                rivals = _log_sum([0.0, *(offer[j][k] for j, k in enumerate(levels) if j != i)])
            totals = [_log_add(rivals, o) for o in own]
            profit = [m + o - t for m, o, t in zip(log_margin[i], own, totals, strict=True)]
            reply = max(range(len(own)), key=profit.__getitem__)
            if profit[reply] > profit[levels[i]] + 1e-9:
                levels[i], log_total, moved = reply, totals[reply], True
        if not moved:
            return tuple(levels)


def _log_add(a: float, b: float) -> float:
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(x - top) for x in logs))


def auction(worth: Table, cost: Table, value: float) -> tuple[int, int, float]:
    """One truthful auction: (winner, its level, what the user keeps); -1 where nobody is worth buying."""
    best, second, winner, level = -math.inf, 0.0, -1, 0
    for i, (y, c) in enumerate(zip(worth, cost, strict=True)):
        surplus = [value * a - b for a, b in zip(y, c, strict=True)]
        k = max(range(len(surplus)), key=surplus.__getitem__)
        if surplus[k] >= 0.0 and surplus[k] > best:
            best, second, winner, level = surplus[k], max(second, best), i, k
        else:
            second = max(second, surplus[k])
    return winner, level, second


def society_round(
    believed: Table,
    beta: Sequence[float],
    net: Sequence[Sequence[tuple[float, float]]],
    uniforms: Sequence[tuple[float, float]],
    neighbours: Sequence[Sequence[int]],
    accuracy: Sequence[float],
    step: float,
    trust: float,
) -> tuple[list[int], list[list[float]]]:
    """One round of users who choose by what they believe, learn what they got, and hear their neighbours.

    believed  one row per user; net (wrong, right) of an answer less its price, one row per user and provider;
    uniforms  (choice, outcome) of each user.  Returns whom each bought from (-1: nobody) and new beliefs.
    """
    chosen, lived = [], []
    for row, b, prices, (u, v) in zip(believed, beta, net, uniforms, strict=True):
        running, pick = 0.0, -1
        for i, share in enumerate(choice_shares(row, b)):
            running += share
            if u < running:
                pick = i
                break
        chosen.append(pick)
        after = list(row)
        if pick >= 0:
            wrong, right = prices[pick]
            got = right if v < accuracy[pick] else wrong
            after[pick] += step * (got - after[pick])
        lived.append(after)
    heard = []
    for own, others in zip(lived, neighbours, strict=True):
        heard.append(
            [
                x + trust * (sum(believed[j][i] for j in others) / len(others) - x) if others else x
                for i, x in enumerate(own)
            ]
        )
    return chosen, heard

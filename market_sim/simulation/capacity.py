"""Who is served where providers have room for so many requests a round (docs/round.md, step 4).

People come in random order, and those who come later choose among providers that still have room.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from market_sim.economy.ledger import Lots, joined
from market_sim.economy.market import UserPopulation
from market_sim.economy.regime import Match
from market_sim.simulation.crowds import Crowd
from market_sim.simulation.parts import Parts
from market_sim.theory.arrays import Array
from market_sim.theory.streams import Role, stream

Sold = tuple[Array, Lots]
"""Lots of a task and the row of each."""


def _sales(parts: Parts, standing: Array, task: int, crowd: Crowd, open_: Array) -> Sold:
    """What a crowd buys from those of the providers that are open; their places are among those."""
    if not len(crowd.row):
        return np.zeros(0, dtype=np.int64), _no_lots()
    market = parts.open_market
    facing = crowd.users.facing(open_, market.n_providers)
    at_work = standing[task, open_]
    match = parts.regime.match(parts.regime, market.only(open_), task, at_work, facing, crowd.shocks)
    return match.sales


def _at(lots: Lots, places: Array, keep: Array | None = None) -> Lots:
    """Lots whose providers are numbered as in the whole market, or some of them."""
    columns = {name: column if keep is None else column[keep] for name, column in vars(lots).items()}
    return Lots(**columns | {"provider": places[columns["provider"]]})


def expected_within_capacity(
    parts: Parts, standing: Array, asked: tuple[UserPopulation, ...], first: list[Match]
) -> tuple[list[Lots], list[float]]:
    """Expected lots and unserved requests, by task, of a continuum that comes in random order.

    While the same providers have room requests come to each at a constant rate; then one has none left.
    """
    market = parts.open_market
    room = _room(parts)
    sold: list[list[Lots]] = [[] for _ in asked]
    unserved, left = [0.0] * len(asked), 1.0
    matches, open_ = first, np.arange(market.n_providers)
    for _ in range(market.n_providers + 1):
        having_room = np.flatnonzero(room > 0)
        if not len(having_room):
            break
        if len(having_room) < len(open_):
            open_ = having_room
            matches = [
                parts.regime.match(
                    parts.regime,
                    market.only(open_),
                    t,
                    standing[t, open_],
                    users.facing(open_, market.n_providers),
                    None,
                )
                for t, users in enumerate(asked)
            ]
        lots = [_at(match.expected, open_) for match in matches]
        rate = np.bincount(
            np.concatenate([found.provider for found in lots]),
            np.concatenate([found.count for found in lots]),
            minlength=market.n_providers,
        )
        until_full = np.divide(room, rate, out=np.full(len(room), np.inf), where=rate > 0)
        spell = min(left, float(until_full.min()))
        for t, found in enumerate(lots):
            sold[t].append(replace(found, count=found.count * spell))
            unserved[t] += matches[t].unserved * spell
        room = np.where(until_full <= spell, 0.0, room - rate * spell)
        left -= spell
        if left <= 0:
            break
    for t, users in enumerate(asked):
        unserved[t] += max(left, 0.0) * users.n_people
    return [joined(found) if found else _no_lots() for found in sold], unserved


def _room(parts: Parts) -> Array:
    """Requests that each provider in the market can serve, (N,)."""
    if parts.capacity is None:
        return np.full(len(parts.present), np.inf)
    return parts.capacity[parts.present].astype(float)


def drawn_sales(parts: Parts, standing: Array, crowds: list[Crowd], now: int) -> list[Sold]:
    """What each crowd buys, by task."""
    if parts.capacity is None:
        found = []
        for task, crowd in enumerate(crowds):
            row, lots = _sales(parts, standing, task, crowd, np.arange(len(parts.present)))
            found.append((crowd.row[row], lots))
        return found
    sold: list[list[Sold]] = [[] for _ in crowds]
    individuals = isinstance(crowds[0].shocks.choice, np.ndarray)
    spells = _arrivals if individuals else _portions
    for task, row, lots in spells(parts, standing, crowds, now):
        sold[task].append((row, lots))
    return [
        (np.concatenate([row for row, _ in found]), joined([lots for _, lots in found]))
        if found
        else (np.zeros(0, dtype=np.int64), _no_lots())
        for found in sold
    ]


def _no_lots() -> Lots:
    none = np.zeros(0)
    index = none.astype(np.int64)
    return Lots(provider=index, level=index, count=none, value_scale=none, standing=none)


def _arrivals(
    parts: Parts, standing: Array, crowds: list[Crowd], now: int
) -> Iterator[tuple[int, Array, Lots]]:
    """Individuals in random order.  All who are left choose; those up to the one who takes somebody's last
    place are served, and the others choose again without that provider."""
    when = stream(parts.seed, Role.ARRIVALS, round=now).random(len(parts.users.beta))
    room = _room(parts)
    while (open_ := np.flatnonzero(room >= 1)).size and any(len(crowd.row) for crowd in crowds):
        sales = [_sales(parts, standing, t, crowd, open_) for t, crowd in enumerate(crowds)]
        provider = [open_[lots.provider] for _, lots in sales]
        times = [when[crowd.row[row]] for crowd, (row, _) in zip(crowds, sales, strict=True)]
        last = 1.0
        for i in open_:
            own = np.concatenate([t[p == i] for p, t in zip(provider, times, strict=True)])
            if len(own) >= room[i]:
                nth = int(room[i]) - 1
                last = min(last, float(np.partition(own, nth)[nth]))
        for t, (crowd, (row, lots)) in enumerate(zip(crowds, sales, strict=True)):
            served = times[t] <= last
            room -= np.bincount(provider[t][served], minlength=len(room))
            yield t, crowd.row[row[served]], _at(lots, open_, served)
        crowds = [crowd.some(np.flatnonzero(when[crowd.row] > last)) for crowd in crowds]


def _portions(
    parts: Parts, standing: Array, crowds: list[Crowd], now: int
) -> Iterator[tuple[int, Array, Lots]]:
    """Segments, whose people come evenly mixed: as large a portion of what all who are left want as there is
    room for, then again without the provider that is full."""
    chances = stream(parts.seed, Role.ARRIVALS, round=now)
    room = _room(parts)
    while (open_ := np.flatnonzero(room >= 1)).size and any(len(crowd.row) for crowd in crowds):
        sales = [_sales(parts, standing, t, crowd, open_) for t, crowd in enumerate(crowds)]
        lots = [_at(wished, open_) for _, wished in sales]
        provider = np.concatenate([one.provider for one in lots])
        wished = np.concatenate([one.count for one in lots])
        wanted = np.bincount(provider, wished, minlength=len(room))
        portion = np.divide(room, wanted, out=np.ones(len(room)), where=wanted > room)
        served = np.zeros(len(wished))
        for i in open_:
            own = np.flatnonzero(provider == i)
            places = min(room[i], np.round(wanted[i] * portion.min()))
            served[own] = shared_out(places, wished[own], chances.random())
        room -= np.bincount(provider, served, minlength=len(room))
        by_task = np.split(served, np.cumsum([len(one.count) for one in lots])[:-1])
        for t, (crowd, (row, _)) in enumerate(zip(crowds, sales, strict=True)):
            yield t, crowd.row[row], replace(lots[t], count=by_task[t])
        if portion.min() == 1:
            return
        crowds = [
            _left(crowd, row, by_task[t], lots[t].count, portion.min(), chances.random())
            for t, (crowd, (row, _)) in enumerate(zip(crowds, sales, strict=True))
        ]


def _left(crowd: Crowd, row: Array, served: Array, wished: Array, portion: float, u: float) -> Crowd:
    """Who of a crowd has not come yet, after a portion of those who want nothing and the served ones did."""
    n = len(crowd.row)
    nothing = crowd.users.size - np.bincount(row, wished, minlength=n)
    gone = np.bincount(row, served, minlength=n)
    gone += shared_out(np.round(nothing.sum() * portion), nothing, u)
    size = (crowd.users.size - gone).astype(np.int64)
    some = crowd.some(np.flatnonzero(size))
    return replace(some, users=replace(some.users, size=size[size > 0]))


def shared_out(places: float, wishes: Array, u: float) -> Array:
    """Whole numbers (L,) that sum to `places`, each within one of its even share of them.

    wishes  (L,) whole numbers, of which there are at least as many as places; nobody gets more than wished
    u       uniform in [0, 1): decides who has the odd one (systematic sampling: Madow & Madow 1944)

    >>> shared_out(4, np.array([3.0, 3.0, 2.0]), u=0.5).tolist()
    [2.0, 1.0, 1.0]
    """
    total = wishes.sum()
    if total == 0 or places == 0:
        return np.zeros(len(wishes))
    passed = np.floor(np.cumsum(wishes) / total * places + u)
    passed[-1] = places
    return np.diff(np.minimum(passed, places), prepend=0.0)  # where numbers are large, u may round up to one

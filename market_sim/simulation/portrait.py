"""A picture's worth of users: a few hundred of them, where to draw each, who hears whom, whom they buy from.

Small populations are drawn whole; of larger ones those nearest to one user, so that whoever is drawn has
its neighbours beside it.  Where nobody hears anybody places have no meaning and fill a disc.
"""

from dataclasses import dataclass

import numpy as np

from market_sim.simulation.network import Network
from market_sim.simulation.parts import Parts, State
from market_sim.theory.arrays import Array

MOST_DRAWN = 300
"""More dots than that are a texture, and their layout takes seconds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Portrait:
    """Users to draw, M of them.

    user   (M,)    which row of the users each is; None where requests have no persons
    place  (M, 2)  from -1 to 1
    links  (L, 2)  who hears whom, by position in the portrait
    """

    user: Array | None
    place: Array
    links: Array


def portrait_of(parts: Parts) -> Portrait:
    """The users of a market, as they are drawn; the same parts give the same portrait."""
    if not parts.by_person:
        return requests_portrait()
    n_users = len(parts.users.beta)
    network = None if parts.experience is None else parts.experience.network
    if network is None or network.complete or not len(network.indices):
        drawn = np.arange(min(n_users, MOST_DRAWN))
        return Portrait(user=drawn, place=_disc(len(drawn)), links=np.empty((0, 2), dtype=np.int64))
    drawn = _neighbourhood(network)
    links = _links_among(network, drawn)
    return Portrait(user=drawn, place=_layout(len(drawn), links, parts.seed), links=links)


def requests_portrait() -> Portrait:
    """Requests that belong to nobody in particular."""
    return Portrait(user=None, place=_disc(MOST_DRAWN), links=np.empty((0, 2), dtype=np.int64))


def bought_from(parts: Parts, state: State, portrait: Portrait) -> Array:
    """Index of the provider each drawn user last bought from, (M,); -1 for nobody."""
    if portrait.user is None or state.last_provider is None:
        return np.full(len(portrait.place), -1)
    known = portrait.user < len(state.last_provider)
    bought = np.full(len(portrait.user), -1)
    bought[known] = state.last_provider[portrait.user[known]]
    return bought


def in_proportion(shares: Array, n_dots: int) -> Array:
    """Index of a provider for each dot, (M,), as many of each as its share says; -1 for who buys nothing."""
    ends = np.concatenate([np.cumsum(shares), [1.0]])
    found = np.searchsorted(ends, (np.arange(n_dots) + 0.5) / n_dots, side="right")
    return np.where(found < len(shares), found, -1)


def _neighbourhood(network: Network) -> Array:
    """Up to MOST_DRAWN users, nearest first, counted from the best connected of the first few."""
    if network.n_users <= MOST_DRAWN:
        return np.arange(network.n_users)
    start = int(np.diff(network.indptr[: MOST_DRAWN + 1]).argmax())
    reached, found = np.zeros(network.n_users, dtype=bool), [start]
    reached[start] = True
    for user in found:
        for heard in network.indices[network.indptr[user] : network.indptr[user + 1]].tolist():
            if len(found) == MOST_DRAWN:
                return np.array(found)
            if not reached[heard]:
                reached[heard] = True
                found.append(heard)
    rest = np.flatnonzero(~reached)
    return np.array([*found, *rest[: MOST_DRAWN - len(found)].tolist()])


def _links_among(network: Network, drawn: Array) -> Array:
    """Each link among the drawn once, by their positions."""
    position = np.full(network.n_users, -1)
    position[drawn] = np.arange(len(drawn))
    pairs = [
        (here, there)
        for here, user in enumerate(drawn.tolist())
        for there in position[network.indices[network.indptr[user] : network.indptr[user + 1]]].tolist()
        if there > here
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _layout(n_drawn: int, links: Array, seed: int) -> Array:
    """Fruchterman and Reingold's directions, with distances from the centre that fill the disc evenly."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(n_drawn))
    graph.add_edges_from(links.tolist())
    found = nx.spring_layout(graph, seed=seed % 2**32, iterations=60, k=2.0 / np.sqrt(n_drawn))
    place = np.array([found[node] for node in range(n_drawn)])
    x, y = (place - np.median(place, axis=0)).T
    rank = np.hypot(x, y).argsort().argsort()
    radius, angle = np.sqrt((rank + 0.5) / n_drawn), np.arctan2(y, x)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _disc(n_dots: int) -> Array:
    """Evenly over a disc: Vogel's sunflower."""
    k = np.arange(n_dots)
    radius, angle = np.sqrt((k + 0.5) / n_dots), k * np.pi * (3.0 - np.sqrt(5.0))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

"""Who hears from whom: networks of users.

What user u hears of provider i is the trust-weighted mean of its neighbours' estimates,

    heard_iu = sum_j T_uj x_ij,      T_uj >= 0,  sum_j T_uj = 1

(DeGroot 1974).  Links go both ways: who hears somebody is heard by it.  A `Network` is T, row by row;
`make_network` draws one of the kinds in NETWORKS, `read_network` reads one from a file, `hear` is the
formula above.  A new kind is one function and one entry.
"""

import math
import os
from array import array
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy.sparse import csr_array

from market_sim.errors import InputError, check_parameters, named
from market_sim.simulation.compiled import compiled_hearing
from market_sim.theory.arrays import Array
from market_sim.theory.blocks import over_blocks
from market_sim.theory.parameters import Parameter
from market_sim.theory.streams import Role, stream

Trust = Literal["equal", "degree"]
"""How much a neighbour counts: as much as any other, or in proportion to its own number of neighbours."""

FileTrust = Literal["given", "equal", "degree"]
"""The same for a file; `given` takes the weights of its lines."""

MOST_LINKS = 20_000_000
"""networkx takes some 300 bytes for each while it draws."""

LIGHTEST, HEAVIEST = 1e-12, 1e12
"""Weights beyond them are slips."""

BLOCK = 65536
"""Users who hear at a time: few enough for several processors, enough to hide the interpreter."""

THREADS = min(os.cpu_count() or 1, 4)
"""Blocks of users do not depend on each other, so their number changes the time and nothing else."""


WORTH_COMPILING = 100_000
"""Users from which on it pays to wait for the compiler, half a second once."""


class Block(NamedTuple):
    """Users who follow one another: weights of those they hear, (b, U), and the sum of each row, (b,)."""

    users: slice
    rows: csr_array
    total: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Who hears whom, row by row; E is twice the number of links.  Arrays are read-only.

    indptr    (U+1,)  int32; user u hears indices[indptr[u]:indptr[u + 1]]
    indices   (E,)    int32; the users heard, rising in each row
    trust     (E,)    float32, the share of each in what is heard, T_uj; None: all of a row count equally
    complete  ()      everybody hears everybody else equally; no link is stored then
    """

    indptr: Array
    indices: Array
    trust: Array | None = None
    complete: bool = False

    def __post_init__(self) -> None:
        for values in (self.indptr, self.indices, self.trust):
            if values is not None:
                values.setflags(write=False)

    @property
    def n_users(self) -> int:
        return len(self.indptr) - 1

    def of_first(self, n_users: int) -> "Network":
        """The links among the first of the users; shares of what is heard sum to one again."""
        if n_users == self.n_users:
            return self
        if self.complete:
            return replace(self, indptr=self.indptr[: n_users + 1].copy())
        weights = np.ones(len(self.indices)) if self.trust is None else self.trust.astype(float)
        shape = (self.n_users, self.n_users)
        rows = csr_array((weights, self.indices, self.indptr), shape=shape)[:n_users, :n_users]
        return Network(
            indptr=rows.indptr,
            indices=rows.indices,
            trust=None if self.trust is None else _shares(rows.data, rows.indptr),
        )

    @cached_property
    def blocks(self) -> list[Block]:
        """The rows, BLOCK users at a time, made when first heard through."""
        starts = range(0, self.n_users, BLOCK)
        longest = np.diff(self.indptr[[*starts, self.n_users]]).max()
        ones, everybody = np.ones(longest), np.ones(self.n_users)
        blocks = []
        for start in starts:
            indptr = self.indptr[start : start + BLOCK + 1]
            links = slice(indptr[0], indptr[-1])
            rows = csr_array((len(indptr) - 1, self.n_users))
            # Set one by one: csr_array copies what it is given, and these are views.
            rows.indptr, rows.indices = indptr - indptr[0], self.indices[links]
            rows.data = ones[: len(rows.indices)] if self.trust is None else self.trust[links]
            blocks.append(Block(slice(start, start + BLOCK), rows, rows @ everybody))
        return blocks


# --- Networks that are drawn ------------------------------------------------------------------------
# A drawing takes (n_users, seed, **parameters) and gives the links, (M, 2), each once, or None for all
# there are.  networkx is imported when first drawn with, for that takes a while.


def no_links(n_users: int, seed: int) -> Array:
    return np.empty((0, 2), dtype=np.int32)


def all_links(n_users: int, seed: int) -> None:
    """Too many to list."""


def random_links(n_users: int, seed: int, *, neighbours: float) -> Array:
    """Every pair is linked with the same probability, neighbours / (U - 1), whatever the others are."""
    import networkx as nx

    return _links(nx.fast_gnp_random_graph(n_users, neighbours / (n_users - 1), seed=seed))


def small_world(n_users: int, seed: int, *, neighbours: int, rewire: float) -> Array:
    """A ring on which each knows the nearest `neighbours`; a link's far end moves with chance `rewire`."""
    import networkx as nx

    return _links(nx.watts_strogatz_graph(n_users, neighbours, rewire, seed=seed))


def scale_free(n_users: int, seed: int, *, neighbours: int) -> Array:
    """Users come one by one and link to neighbours / 2 of those there, in proportion to their degree."""
    import networkx as nx

    return _links(nx.barabasi_albert_graph(n_users, neighbours // 2, seed=seed))


def _links(graph: Any) -> Array:
    return np.fromiter(chain.from_iterable(graph.edges()), dtype=np.int32).reshape(-1, 2)


@dataclass(frozen=True, kw_only=True)
class EvenNumber:
    """A parameter that is a whole number, and even: its default, and the least and the most it may be."""

    meaning: str
    default: int
    least: int
    most: int

    def check(self, where: str, value: Any) -> int:
        """The value as an int.  Raises InputError for anything else."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.least <= value <= self.most or value % 2:
            raise InputError(f"{where} = {value!r} is not allowed; it must be {self.allowed}")
        return int(value)

    @property
    def allowed(self) -> str:
        """In words: "an even number, at least 2 and at most 1000"."""
        return f"an even number, at least {self.least} and at most {self.most}"


@dataclass(frozen=True, kw_only=True)
class NetworkKind:
    """An entry of the registry.  Where a parameter is `neighbours`, it is the mean number of them."""

    name: str
    summary: str
    source: str
    draw: Callable[..., Array | None]
    parameters: Mapping[str, Parameter | EvenNumber] = field(default_factory=dict)


_REAL = Parameter(meaning="mean number of neighbours", default=6, least=0.01, most=1000)
_EVEN = EvenNumber(meaning="mean number of neighbours", default=6, least=2, most=1000)
_REWIRE = Parameter(meaning="chance that a link becomes a shortcut", default=0.1, least=0, most=1)

NETWORKS: dict[str, NetworkKind] = {
    kind.name: kind
    for kind in (
        NetworkKind(
            name="none",
            summary="nobody hears anybody: users learn from their own requests only",
            source="baseline",
            draw=no_links,
        ),
        NetworkKind(
            name="complete",
            summary="everybody hears everybody else: reviews that all read",
            source="baseline",
            draw=all_links,
        ),
        NetworkKind(
            name="random",
            summary="every pair of users is linked with the same probability",
            source="Gilbert 1959; drawn as in Batagelj & Brandes 2005",
            draw=random_links,
            parameters={"neighbours": _REAL},
        ),
        NetworkKind(
            name="small_world",
            summary="neighbourhoods with a few shortcuts between them",
            source="Watts & Strogatz 1998",
            draw=small_world,
            parameters={"neighbours": _EVEN, "rewire": _REWIRE},
        ),
        NetworkKind(
            name="scale_free",
            summary="a few users are heard by very many",
            source="Barabasi & Albert 1999",
            draw=scale_free,
            parameters={"neighbours": _EVEN},
        ),
    )
}


NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


def make_network(
    kind: str,
    n_users: int,
    seed: int,
    parameters: Mapping[str, Any] = NO_PARAMETERS,
    *,
    trust: Trust = "equal",
    where: str = "network",
) -> Network:
    """The network of a kind among n_users users.

    parameters  those of the kind, by name; the ones that are not given have their defaults
    where       names the place in error sentences, "file.toml: users.network"
    The same seed gives the same network, under the same version of networkx.
    Raises InputError for a word or number that is not allowed, for too few users to be neighbours, and
    for more than MOST_LINKS links.

    >>> make_network("small_world", 5, 1, {"neighbours": 2, "rewire": 0}).indices.reshape(5, 2).tolist()
    [[1, 4], [0, 2], [1, 3], [2, 4], [0, 3]]
    """
    known = NETWORKS[named(f"{where}.kind", kind, NETWORKS)].parameters
    named(f"{where}.trust", trust, get_args(Trust))
    check_parameters(where, kind, parameters, known)
    values = {name: p.check(f"{where}.{name}", parameters.get(name, p.default)) for name, p in known.items()}
    neighbours = values.get("neighbours", 0)
    most = min(n_users - 1, 2 * MOST_LINKS // n_users)
    if neighbours > most:
        raise InputError(
            f"{where}.neighbours = {neighbours:g} is not allowed among {n_users} users; "
            f"it must be at most {most}"
        )
    links = NETWORKS[kind].draw(n_users, int(stream(seed, Role.NETWORK).integers(2**63)), **values)
    if links is None:
        return Network(indptr=np.zeros(n_users + 1, np.int32), indices=np.zeros(0, np.int32), complete=True)
    return _network(links, np.ones(len(links)), n_users, trust)


def _network(links: Array, weight: Array, n_users: int, trust: FileTrust) -> Network:
    """The network of some links (M, 2), each given once, and their weights (M,) above zero."""
    ends = np.concatenate([links, links[:, ::-1]]).T
    rows = csr_array((np.concatenate([weight, weight]), (ends[0], ends[1])), shape=(n_users, n_users))
    degree = np.diff(rows.indptr)
    weights = {"given": rows.data, "degree": degree[rows.indices].astype(float), "equal": None}[trust]
    shares = None if weights is None else _shares(weights, rows.indptr)
    return Network(indptr=rows.indptr, indices=rows.indices, trust=shares)


def _shares(weights: Array, indptr: Array) -> Array:
    """Weights as shares of those in their row, (E,) float32."""
    degree = np.diff(indptr)
    if not len(weights):
        return weights.astype(np.float32)
    sums = np.add.reduceat(weights, indptr[:-1][degree > 0])
    return (weights / np.repeat(sums, degree[degree > 0])).astype(np.float32)


# --- Networks from files ----------------------------------------------------------------------------

WANTED = "wanted is a link per line, two users and, if it is not 1, a weight"


def read_network(
    path: Path | str, n_users: int, *, trust: FileTrust = "given", where: str | None = None
) -> Network:
    """The network of an edge list: lines "a b" or "a b weight", users being numbered 0 to n_users - 1.

    What follows a # is a comment.  A weight counts both ways, and within a row only: weights need not sum
    to anything.
    where  the place that names the file, "file.toml: users.network", which error sentences begin with
    Raises InputError, naming file and line, for anything a link cannot be.
    """
    named(f"{where or 'network'}.trust", trust, get_args(FileTrust))
    begin = "" if where is None else f"{where}.file: "
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", error)
        raise InputError(f"{begin}{str(path)!r} cannot be read as a file of links: {reason}") from None
    links, weights = array("i"), array("d")
    line_of: dict[tuple[int, int], int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        cells = line.partition("#")[0].split()
        if not cells:
            continue
        place = f"{begin}{path}: line {number}"
        if len(cells) not in (2, 3):
            raise InputError(f"{place} has {len(cells)} columns; {WANTED}")
        a, b = (_user(cell, n_users, place) for cell in cells[:2])
        if a == b:
            raise InputError(f"{place}: user {a} is linked to itself; a link joins two users")
        first = line_of.setdefault((min(a, b), max(a, b)), number)
        if first != number:
            raise InputError(f"{place}: {a} and {b} are linked already, in line {first}; links go both ways")
        links.extend((a, b))
        weights.append(_weight(cells[2], place) if len(cells) == 3 else 1.0)
    if not links:
        raise InputError(f"{begin}{path}: has no links; {WANTED}")
    return _network(np.array(links).reshape(-1, 2), np.array(weights), n_users, trust)


def _user(cell: str, n_users: int, place: str) -> int:
    digits = cell.isascii() and cell.isdigit() and len(cell) < 19  # int() takes 1_0, +1 and other scripts too
    if not digits or int(cell) >= n_users:
        raise InputError(
            f"{place}: got {cell[:20]!r}, allowed are the users, whole numbers from 0 to {n_users - 1}"
        )
    return int(cell)


def _weight(cell: str, place: str) -> float:
    try:
        weight = float(cell.replace("_", "?"))  # Python reads 1_0 as ten; a table means a slip
    except ValueError:
        weight = math.nan
    if not LIGHTEST <= weight <= HEAVIEST:
        allowed = f"a number from {LIGHTEST:g} to {HEAVIEST:g}"
        raise InputError(f"{place}, weight: got {cell[:20]!r}, allowed is {allowed}")
    return weight


# --- Hearing ----------------------------------------------------------------------------------------


def hear(network: Network, estimates: Array) -> Array:
    """What each user hears of each provider: the trust-weighted mean over those it hears.

    estimates  (N, U)  float32 or float64, finite
    returns    (N, U)  of the same type; a user who hears nobody has its own back
    Sums are taken in float64 and in the order of the links, so what is heard depends neither on BLOCK, nor
    on THREADS, nor on whether it is compiled, and what all agree on stays as it is.  Providers may be heard
    of one at a time, as estimates[i : i + 1], where memory is short.
    """
    if estimates.shape[1] != network.n_users:
        raise ValueError(f"estimates are of {estimates.shape[1]} users, the network is of {network.n_users}")
    heard = np.empty_like(estimates)
    compiled = compiled_hearing() if network.n_users >= WORTH_COMPILING and not network.complete else None
    if compiled is not None:
        weights = np.ones(1, np.float32) if network.trust is None else network.trust
        by_user = np.ascontiguousarray(estimates.T)
        links = network.indptr, network.indices, weights, by_user, heard
        over_blocks(lambda users: compiled(users.start, users.stop, *links), network.n_users)
        return heard
    with ThreadPoolExecutor(THREADS) as pool:
        in_turn = pool.map if len(network.blocks) > 1 else map
        for row, out in zip(estimates, heard, strict=True):
            own = row.astype(float)
            if network.complete and network.n_users > 1:
                out[:] = (own.sum() - own) / (network.n_users - 1)
            else:
                list(in_turn(partial(_hear_block, own, out), network.blocks))
    return heard


def _hear_block(own: Array, heard: Array, block: Block) -> None:
    """Put what the users of one block hear of one provider in its place in heard, (U,)."""
    sums = block.rows @ own
    alone = own[block.users].copy()
    heard[block.users] = np.divide(sums, block.total, out=alone, where=block.total > 0)

"""Networks of users: who is linked to whom, what each hears, and what a file of links may say."""

import errno
import hashlib
import math
import os
import random
import re
import subprocess
import sys
import tracemalloc
from itertools import combinations, pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_sim.errors import InputError
from market_sim.simulation import network as module
from market_sim.simulation.network import NETWORKS, Network, hear, make_network, read_network
from market_sim.theory.streams import Role, stream
from tests.worlds import read_only, seeds

DRAWN = ("random", "small_world", "scale_free")

SHARE = 1e-7
"""What rounding the shares of a row to float32 can do to a mean of numbers up to one."""


def neighbours_of(network: Network) -> list[list[int]]:
    """The users that each one hears."""
    return [network.indices[a:b].tolist() for a, b in pairwise(network.indptr)]


def shares_of(network: Network) -> list[list[float]]:
    """How much each of them counts, T."""
    if network.trust is None:
        return [[1 / len(row) for _ in row] for row in neighbours_of(network)]
    return [network.trust[a:b].tolist() for a, b in pairwise(network.indptr)]


def heard_by_hand(estimates: np.ndarray, weights: list[dict[int, float]]) -> np.ndarray:
    """The formula, user by user; weights[u][j] is what j counts for u, in any unit."""
    heard = np.array(estimates, dtype=float)
    for i, row in enumerate(estimates):
        for u, counts in enumerate(weights):
            if counts:
                total = math.fsum(counts.values())
                heard[i, u] = math.fsum(w * float(row[j]) for j, w in counts.items()) / total
    return heard


def some_estimates(n_users: int, n_providers: int = 3, seed: int = 0, dtype: str = "f4") -> np.ndarray:
    """Read-only numbers from -1 to 1, (N, U)."""
    return read_only(np.random.default_rng(seed).uniform(-1, 1, (n_providers, n_users)).astype(dtype))


def digest(network: Network) -> str:
    """All bytes of a network in one word."""
    arrays = (network.indptr, network.indices, network.trust)
    return hashlib.sha256(b"|".join(b"-" if a is None else a.tobytes() for a in arrays)).hexdigest()


def ring(n_users: int, reach: int) -> Network:
    """Everybody hears the `reach` nearest on either side of a ring; made without drawing."""
    away = np.concatenate([np.arange(-reach, 0), np.arange(1, reach + 1)])
    heard = np.sort((np.arange(n_users)[:, None] + away) % n_users, axis=1)
    indptr = np.arange(n_users + 1) * 2 * reach
    return Network(indptr=indptr.astype(np.int32), indices=heard.ravel().astype(np.int32))


def star(n_users: int) -> Network:
    """Everybody hears user 0, who hears everybody."""
    indptr = np.concatenate([[0], np.arange(n_users) + n_users - 1])
    heard = np.concatenate([np.arange(1, n_users), np.zeros(n_users - 1)])
    return Network(indptr=indptr.astype(np.int32), indices=heard.astype(np.int32))


# --- Hearing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("trust", ["equal", "degree"])
@pytest.mark.parametrize(("kind", "neighbours"), [("random", 1.5), ("small_world", 6), ("scale_free", 4)])
def test_what_is_heard_is_the_trust_weighted_mean_over_the_neighbours(kind, neighbours, trust):
    network = make_network(kind, 150, 3, {"neighbours": neighbours}, trust=trust)
    rows = neighbours_of(network)
    weights = [{j: 1 if trust == "equal" else len(rows[j]) for j in row} for row in rows]
    assert ([] in rows) == (kind == "random")
    for dtype, rounding in (("f4", 1.2e-7), ("f8", 1e-15 if trust == "equal" else SHARE)):
        estimates = some_estimates(150, dtype=dtype)
        heard = hear(network, estimates)
        assert heard.dtype == dtype
        np.testing.assert_allclose(heard, heard_by_hand(estimates, weights), rtol=0, atol=rounding)


@st.composite
def edge_lists(draw):
    """A number of users and some links among them, with weights, in any order and either way round."""
    n_users = draw(st.integers(2, 9))
    pairs = list(combinations(range(n_users), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=20, unique=True))
    numbers = draw(st.lists(st.floats(1e-3, 1e3), min_size=len(chosen), max_size=len(chosen)))
    turned = draw(st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    return n_users, [
        (b, a, w) if turn else (a, b, w) for (a, b), w, turn in zip(chosen, numbers, turned, strict=True)
    ]


def write(path: Path, links: list[tuple[int, int, float]]) -> Path:
    path.write_text("".join(f"{a} {b} {w!r}\n" for a, b, w in links), encoding="utf-8")
    return path


def weights_by_hand(n_users: int, links: list[tuple[int, int, float]], trust: str) -> list[dict[int, float]]:
    given: list[dict[int, float]] = [{} for _ in range(n_users)]
    for a, b, w in links:
        given[a][b] = given[b][a] = w
    count = {"given": lambda j, w: w, "equal": lambda j, w: 1.0, "degree": lambda j, w: len(given[j])}[trust]
    return [{j: count(j, w) for j, w in row.items()} for row in given]


@given(world=edge_lists(), trust=st.sampled_from(["given", "equal", "degree"]), seed=seeds)
def test_what_is_heard_over_the_links_of_a_file(tmp_path, world, trust, seed):
    n_users, links = world
    network = read_network(write(tmp_path / "links", links), n_users, trust=trust)
    estimates = some_estimates(n_users, seed=seed)
    weights = weights_by_hand(n_users, links, trust)
    heard = hear(network, estimates)
    np.testing.assert_allclose(heard, heard_by_hand(estimates, weights), rtol=0, atol=1.2e-7)
    assert neighbours_of(network) == [sorted(row) for row in weights]
    for row, shares in zip(weights, shares_of(network), strict=True):
        total = math.fsum(row.values())
        assert shares == pytest.approx([row[j] / total for j in sorted(row)], rel=SHARE)


@given(world=edge_lists(), trust=st.sampled_from(["given", "equal", "degree"]), seed=seeds)
def test_who_is_called_by_which_number_does_not_matter(tmp_path, world, trust, seed):
    n_users, links = world
    name = np.random.default_rng(seed).permutation(n_users)
    renamed = [(name[a], name[b], w) for a, b, w in links]
    networks = [
        read_network(
            write(tmp_path / "links", list(reversed(lines)) if lines is renamed else lines),
            n_users,
            trust=trust,
        )
        for lines in (links, renamed)
    ]
    estimates = some_estimates(n_users, seed=seed)
    under_other_names = np.empty_like(estimates)
    under_other_names[:, name] = estimates
    one, other = hear(networks[0], estimates), hear(networks[1], under_other_names)
    np.testing.assert_allclose(other[:, name], one, rtol=0, atol=1.2e-7)


@pytest.mark.parametrize("trust", ["equal", "degree"])
@pytest.mark.parametrize("n_users", [2, 3, 40])
def test_in_a_complete_network_everybody_hears_the_mean_of_all_others(tmp_path, n_users, trust):
    network = make_network("complete", n_users, seed=1, trust=trust)
    estimates = some_estimates(n_users)
    weights = [{j: 1.0 for j in range(n_users) if j != u} for u in range(n_users)]
    np.testing.assert_allclose(hear(network, estimates), heard_by_hand(estimates, weights), atol=1e-7)
    links = [(a, b, 1.0) for a, b in combinations(range(n_users), 2)]
    listed = read_network(write(tmp_path / "links", links), n_users, trust=trust)
    np.testing.assert_allclose(hear(listed, estimates), hear(network, estimates), atol=1e-7)
    assert len(network.indices) == 0


def test_who_hears_nobody_has_its_own_back(tmp_path):
    nobody = make_network("none", 5, seed=1)
    alone = make_network("complete", 1, seed=1)
    pair = read_network(write(tmp_path / "links", [(3, 1, 1.0)]), 5)
    estimates = some_estimates(5)
    heard = hear(nobody, estimates)
    np.testing.assert_array_equal(heard, estimates)
    assert not np.shares_memory(heard, estimates)
    np.testing.assert_array_equal(hear(alone, estimates[:, :1]), estimates[:, :1])
    np.testing.assert_array_equal(hear(pair, estimates), estimates[:, [0, 3, 2, 1, 4]])


@pytest.mark.parametrize("trust", ["equal", "degree"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_what_all_agree_on_stays_and_nobody_hears_beyond_what_is_said(kind, trust):
    network = make_network(kind, 200, seed=2, trust=trust)
    agreed = np.repeat(np.float32([[0.1], [-1e-30], [7e8]]), 200, axis=1)
    np.testing.assert_array_equal(hear(network, agreed), agreed)
    estimates = some_estimates(200)
    heard = hear(network, estimates)
    assert (heard <= estimates.max(axis=1, keepdims=True)).all()
    assert (heard >= estimates.min(axis=1, keepdims=True)).all()


def test_a_user_with_very_many_neighbours_hears_their_mean_to_the_last_digit():
    """Sums of float32 would be wrong in the third digit."""
    estimates = read_only(np.linspace(0.1, 0.2, 500_001, dtype=np.float32)[None])
    heard = hear(star(500_001), estimates)
    assert heard[0, 0] == np.float32(math.fsum(estimates[0, 1:].tolist()) / 500_000)
    assert (heard[0, 1:] == estimates[0, 0]).all()


@pytest.mark.parametrize("trust", ["equal", "degree"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_heard_depends_neither_on_the_blocks_nor_on_the_threads(monkeypatch, kind, trust):
    """To the bit; at the last users and at those who hear nobody too."""
    estimates = some_estimates(301, n_providers=4)
    parameters = {"neighbours": 2} if kind in DRAWN else {}
    heard, cut = set(), []
    for block, threads in ((65536, 1), (301, 2), (300, 2), (64, 1), (64, 3), (7, 3), (1, 2)):
        monkeypatch.setattr(module, "BLOCK", block)
        monkeypatch.setattr(module, "THREADS", threads)
        network = make_network(kind, 301, 5, parameters, trust=trust)
        heard.add(hear(network, estimates).tobytes())
        heard.add(np.concatenate([hear(network, estimates[i : i + 1]) for i in range(4)]).tobytes())
        cut.append(len(network.blocks))
    assert len(heard) == 1
    assert cut == [1, 1, 2, 5, 5, 43, 301]


@pytest.mark.parametrize("trust", ["equal", "degree"])
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_heard_is_the_same_to_the_bit_compiled_or_not(monkeypatch, kind, trust, dtype):
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    network = make_network(kind, 300, 5, {"neighbours": 2} if kind in DRAWN else {}, trust=trust)
    estimates = read_only(some_estimates(300, n_providers=4).astype(dtype))
    heard = []
    for from_users in (10**9, 1):
        monkeypatch.setattr(module, "WORTH_COMPILING", from_users)
        heard.append(hear(network, estimates))
    assert heard[0].dtype == heard[1].dtype == dtype
    assert heard[0].tobytes() == heard[1].tobytes()


def test_hearing_takes_few_bytes_beside_the_network_and_the_result():
    n_users, n_providers = 400_000, 9
    network, estimates = ring(n_users, 3), some_estimates(n_users, n_providers)
    tracemalloc.start()
    heard = hear(network, estimates)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept - heard.nbytes < 24 * n_users
    assert most - heard.nbytes < 40 * n_users


def test_estimates_of_other_users_are_refused():
    for kind in ("none", "complete", "small_world"):
        with pytest.raises(ValueError, match="estimates are of 8 users, the network is of 9"):
            hear(make_network(kind, 9, seed=1), some_estimates(8))


# --- Networks that are drawn ------------------------------------------------------------------------


@pytest.mark.parametrize("trust", ["equal", "degree"])
@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("n_users", [7, 500])
def test_links_go_both_ways_to_others_and_shares_sum_to_one(kind, n_users, trust):
    network = make_network(kind, n_users, seed=1, trust=trust)
    rows = neighbours_of(network)
    pairs = {(u, j) for u, row in enumerate(rows) for j in row}
    assert len(pairs) == len(network.indices)
    assert pairs == {(j, u) for u, j in pairs}
    assert all(u != j and 0 <= j < n_users for u, j in pairs)
    assert all(row == sorted(row) for row in rows)
    sums = np.array([sum(shares) for shares in shares_of(network) if shares])
    np.testing.assert_allclose(sums, 1, rtol=0, atol=SHARE)
    assert (network.trust is None) == (trust == "equal")
    assert (network.indptr.dtype, network.indices.dtype) == (np.int32, np.int32)
    assert network.trust is None or network.trust.dtype == np.float32
    for values in (network.indptr, network.indices, network.trust):
        assert values is None or not values.flags.writeable


def test_by_degree_a_neighbour_counts_in_proportion_to_its_own_number_of_neighbours(tmp_path):
    """A path 0 - 1 - 2 - 3 with 4 and 5 at its end."""
    links = [(0, 1, 9.0), (1, 2, 1.0), (2, 3, 5.0), (3, 4, 1.0), (3, 5, 1.0)]
    network = read_network(write(tmp_path / "links", links), 6, trust="degree")
    expected = [[1], [1 / 3, 2 / 3], [2 / 5, 3 / 5], [1 / 2, 1 / 4, 1 / 4], [1], [1]]
    assert [pytest.approx(row, rel=SHARE) for row in expected] == shares_of(network)


def clustering(network: Network) -> float:
    """Mean over users of the share of pairs of their neighbours that are linked (Watts & Strogatz 1998)."""
    rows = [set(row) for row in neighbours_of(network)]
    found = []
    for row in rows:
        if len(row) > 1:
            linked = sum(j in rows[i] for i, j in combinations(row, 2))
            found.append(linked / math.comb(len(row), 2))
    return sum(found) / len(rows)


@pytest.mark.parametrize("neighbours", [2, 6])
def test_a_small_world_that_is_not_rewired_is_the_ring(neighbours):
    network, expected = (
        make_network("small_world", 50, 1, {"neighbours": neighbours, "rewire": 0}),
        ring(50, neighbours // 2),
    )
    np.testing.assert_array_equal(network.indptr, expected.indptr)
    np.testing.assert_array_equal(network.indices, expected.indices)


def test_rewiring_a_small_world_makes_shortcuts_and_destroys_its_neighbourhoods():
    """Clustering falls as (1 - rewire)^3 from 3 (k - 2) / (4 (k - 1)) (Barrat & Weigt 2000)."""
    found = {}
    for rewire in (0, 0.1, 1):
        network = make_network("small_world", 3000, 1, {"rewire": rewire})
        assert len(network.indices) == 3000 * 6
        found[rewire] = clustering(network)
        away = np.abs(np.repeat(np.arange(3000), np.diff(network.indptr)) - network.indices)
        far = np.minimum(away, 3000 - away) > 3
        assert far.mean() == pytest.approx(rewire, abs=0.012)
    assert found[0] == pytest.approx(0.6, abs=1e-12)
    assert found[0.1] == pytest.approx(0.6 * 0.9**3, abs=0.02)
    assert found[1] < 0.01


@pytest.mark.parametrize("neighbours", [0.5, 6])
def test_in_a_random_network_the_numbers_of_neighbours_are_binomial(neighbours):
    n_users = 20_000
    degree = np.diff(make_network("random", n_users, 1, {"neighbours": neighbours}).indptr)
    error = math.sqrt(2 * neighbours / n_users)
    assert degree.mean() == pytest.approx(neighbours, abs=4 * error)
    assert degree.var() == pytest.approx(neighbours, rel=0.05)
    assert (degree == 0).mean() == pytest.approx(math.exp(-neighbours), rel=0.25)


def test_in_a_scale_free_network_a_few_are_heard_by_very_many():
    """A share m (m + 1) / (k (k + 1)) has k neighbours or more, m = 3 (Bollobas et al. 2001)."""
    n_users = 20_000
    degree = np.diff(make_network("scale_free", n_users, seed=1).indptr)
    assert degree.mean() == pytest.approx(6, abs=0.01)
    for k in (4, 6, 12, 24, 48):
        assert (degree >= k).mean() == pytest.approx(12 / (k * (k + 1)), rel=0.15)
    assert degree.max() > 200


@pytest.mark.parametrize("kind", DRAWN)
def test_neighbours_is_the_mean_number_of_them_under_every_kind(kind):
    for neighbours in (2, 10):
        degree = np.diff(make_network(kind, 2000, 4, {"neighbours": neighbours}).indptr)
        assert degree.mean() == pytest.approx(neighbours, rel=0.05)


@pytest.mark.parametrize("kind", DRAWN)
def test_neighbours_may_be_all_others(kind):
    degree = np.diff(make_network(kind, 7, 1, {"neighbours": 6}).indptr)
    assert degree.sum() == (24 if kind == "scale_free" else 42)  # a star of four, and three more with three


# --- The same seed, the same network ----------------------------------------------------------------


@pytest.mark.parametrize("kind", DRAWN)
def test_the_seed_alone_makes_the_network(kind):
    before = digest(make_network(kind, 300, seed=11))
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    for other in DRAWN:
        make_network(other, 50, seed=8)
    assert digest(make_network(kind, 300, seed=11)) == before
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state  # noqa: NPY002
    assert len({digest(make_network(kind, 300, seed=seed)) for seed in range(10)}) == 10


@pytest.mark.parametrize("kind", DRAWN)
def test_how_neighbours_are_trusted_does_not_move_the_links(kind):
    one, other = (make_network(kind, 300, seed=11, trust=trust) for trust in ("equal", "degree"))
    np.testing.assert_array_equal(one.indptr, other.indptr)
    np.testing.assert_array_equal(one.indices, other.indices)


def test_links_are_those_of_networkx_under_a_seed_of_the_stream_of_networks():
    own = int(stream(9, Role.NETWORK).integers(2**63))
    for kind, graph in {
        "random": nx.fast_gnp_random_graph(60, 6 / 59, seed=own),
        "small_world": nx.watts_strogatz_graph(60, 6, 0.1, seed=own),
        "scale_free": nx.barabasi_albert_graph(60, 3, seed=own),
    }.items():
        assert neighbours_of(make_network(kind, 60, seed=9)) == [sorted(graph[u]) for u in range(60)]


def test_another_process_with_other_hashes_makes_the_same_network():
    code = (
        "from tests.simulation.test_network import *\n"
        "print(*(digest(make_network(kind, 300, seed=11, trust='degree')) for kind in DRAWN))"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digest(make_network(kind, 300, seed=11, trust="degree")) for kind in DRAWN]


# --- What is refused --------------------------------------------------------------------------------


def sentence(call, *arguments, **named) -> str:
    """The one sentence with which a call is refused."""
    with pytest.raises(InputError) as caught:
        call(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


@pytest.mark.parametrize(
    ("kind", "n_users", "given", "expected"),
    [
        (
            "small_wrld",
            9,
            {},
            "network.kind = 'small_wrld' is not one of none, complete, random, small_world, scale_free "
            "(did you mean small_world?)",
        ),
        (
            ["none"],
            9,
            {},
            "network.kind = ['none'] is not one of none, complete, random, small_world, scale_free",
        ),
        ("none", 9, {"trust": ["equal"]}, "network.trust = ['equal'] is not one of equal, degree"),
        ("none", 9, {"trust": "given"}, "network.trust = 'given' is not one of equal, degree"),
        (
            "none",
            9,
            {"trust": "degre", "where": "a.toml: users.network"},
            "a.toml: users.network.trust = 'degre' is not one of equal, degree (did you mean degree?)",
        ),
        ("none", 9, {"neighbours": 2}, "network: none has no parameters, got 'neighbours'"),
        (
            "small_world",
            9,
            {"neighbors": 2},
            "network: parameter of small_world = 'neighbors' is not one of neighbours, rewire "
            "(did you mean neighbours?)",
        ),
        (
            "small_world",
            9,
            {"neighbours": 3},
            "network.neighbours = 3 is not allowed; it must be an even number, at least 2 and at most 1000",
        ),
        (
            "scale_free",
            9,
            {"neighbours": 2.5},
            "network.neighbours = 2.5 is not allowed; it must be an even number, at least 2 and at most 1000",
        ),
        (
            "scale_free",
            9,
            {"neighbours": 0},
            "network.neighbours = 0 is not allowed; it must be an even number, at least 2 and at most 1000",
        ),
        (
            "random",
            9,
            {"neighbours": float("nan")},
            "network.neighbours = nan is not allowed; it must be at least 0.01 and at most 1000",
        ),
        (
            "random",
            9,
            {"neighbours": "six"},
            "network.neighbours = 'six' is not allowed; it must be a number at least 0.01 and at most 1000",
        ),
        (
            "small_world",
            9,
            {"rewire": 1.5},
            "network.rewire = 1.5 is not allowed; it must be at least 0 and at most 1",
        ),
        (
            "small_world",
            9,
            {"rewire": True},
            "network.rewire = True is not allowed; it must be a number at least 0 and at most 1",
        ),
        (
            "scale_free",
            6,
            {},
            "network.neighbours = 6 is not allowed among 6 users; it must be at most 5",
        ),
        (
            "random",
            1,
            {"neighbours": 0.5},
            "network.neighbours = 0.5 is not allowed among 1 users; it must be at most 0",
        ),
        (
            "small_world",
            1_000_000,
            {"neighbours": 42, "where": "a.toml: users.network"},
            "a.toml: users.network.neighbours = 42 is not allowed among 1000000 users; it must be at most 40",
        ),
    ],
)
def test_what_is_asked_of_a_network_is_refused_in_one_sentence(kind, n_users, given, expected):
    settings = {name: given[name] for name in ("trust", "where") if name in given}
    parameters = {name: given[name] for name in given if name not in settings}
    assert sentence(make_network, kind, n_users, 1, parameters, **settings) == expected


COLUMNS = "wanted is a link per line, two users and, if it is not 1, a weight"
USERS = "allowed are the users, whole numbers from 0 to 4"
WEIGHTS = "allowed is a number from 1e-12 to 1e+12"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f": has no links; {COLUMNS}"),
        ("# nothing\n\n  # 0 1\n", f": has no links; {COLUMNS}"),
        ("0 1\n2\n", f": line 2 has 1 columns; {COLUMNS}"),
        ("0 1 1 1\n", f": line 1 has 4 columns; {COLUMNS}"),
        ("0,1\n", f": line 1 has 1 columns; {COLUMNS}"),
        ("0 1\n\n# more\n2 5\n", f": line 4: got '5', {USERS}"),
        ("-1 2\n", f": line 1: got '-1', {USERS}"),
        ("+1 2\n", f": line 1: got '+1', {USERS}"),
        ("1.0 2\n", f": line 1: got '1.0', {USERS}"),
        ("1_0 2\n", f": line 1: got '1_0', {USERS}"),
        ("\u0663 2\n", f": line 1: got '\u0663', {USERS}"),
        ("anne bob\n", f": line 1: got 'anne', {USERS}"),
        (f"{'9' * 5000} 2\n", f": line 1: got '{'9' * 20}', {USERS}"),
        ("0 1\n3 3\n", ": line 2: user 3 is linked to itself; a link joins two users"),
        ("0 1\n2 3\n0 1\n", ": line 3: 0 and 1 are linked already, in line 1; links go both ways"),
        ("2 3\n\n3 2 4\n", ": line 3: 3 and 2 are linked already, in line 1; links go both ways"),
        ("0 1 0\n", f": line 1, weight: got '0', {WEIGHTS}"),
        ("0 1 2\n1 2 -1\n", f": line 2, weight: got '-1', {WEIGHTS}"),
        ("0 1 nan\n", f": line 1, weight: got 'nan', {WEIGHTS}"),
        ("0 1 inf\n", f": line 1, weight: got 'inf', {WEIGHTS}"),
        ("0 1 1e13\n", f": line 1, weight: got '1e13', {WEIGHTS}"),
        ("0 1 1e-13\n", f": line 1, weight: got '1e-13', {WEIGHTS}"),
        ("0 1 much\n", f": line 1, weight: got 'much', {WEIGHTS}"),
        ("0 1 1_0\n", f": line 1, weight: got '1_0', {WEIGHTS}"),
        (b"\x89PNG\r\n\x1a\n\x00\x00 0 1", f": line 1 has 1 columns; {COLUMNS}"),
        (b"0 1\n0\x002\x00 3\n", f": line 2: got '0\\x002\\x00', {USERS}"),
        ("0 1\n".encode("utf-16"), f": line 1: got '\ufffd\ufffd0\\x00', {USERS}"),
    ],
)
def test_what_a_file_of_links_cannot_say_is_refused_with_file_and_line(tmp_path, text, expected):
    path = tmp_path / "friends.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert sentence(read_network, path, 5) == f"{path}{expected}"


@pytest.mark.parametrize("name", ["where", "seed", "n_users", "kind"])
def test_a_parameter_may_have_any_name_and_is_refused_by_it(name):
    """Also the name of an argument: parameters come from files."""
    assert sentence(make_network, "scale_free", 9, 1, {name: 2}) == (
        f"network: parameter of scale_free = {name!r} is not one of neighbours"
    )


def test_a_file_of_links_is_refused_with_the_place_that_names_it(tmp_path):
    where = "a.toml: users.network"
    path = write(tmp_path / "links", [(0, 9, 2.0)])
    assert sentence(read_network, path, 2, where=where).startswith(f"{where}.file: {path}: line 1: got '9'")
    path.write_text("")
    assert sentence(read_network, path, 2, where=where).startswith(f"{where}.file: {path}: has no links")
    gone = tmp_path / "gone"
    assert sentence(read_network, gone, 2, where=where).startswith(f"{where}.file: {str(gone)!r} cannot be")


def test_what_is_not_a_file_is_refused(tmp_path):
    for path, reason in (
        (tmp_path / "gone.txt", os.strerror(errno.ENOENT)),
        (tmp_path, os.strerror(errno.EISDIR)),
        ("a\0b", "embedded null"),
    ):
        text = sentence(read_network, path, 5)
        assert text.startswith(f"{str(path)!r} cannot be read as a file of links: {reason}")


def test_how_to_trust_the_neighbours_of_a_file_is_one_of_three_words(tmp_path):
    path = write(tmp_path / "links", [(0, 1, 2.0)])
    text = sentence(read_network, path, 2, trust="givn", where="a.toml: users.network")
    assert text == (
        "a.toml: users.network.trust = 'givn' is not one of given, equal, degree (did you mean given?)"
    )


# --- What a file may look like ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "0 1 2\n3 1 0.5\n",
        "3 1 .5\n1 0 2e0",
        "\ufeff# who knows whom\r\n\r\n0\t1\t2 # old friends\r\n  1   3 5e-1  \r\n",
        "# caf\u00e9 \u2615\n1 3 0.5\n0 1 2\n",
    ],
)
def test_comments_blank_lines_spaces_and_the_order_of_lines_do_not_matter(tmp_path, text):
    path = tmp_path / "links"
    path.write_bytes(text.encode())
    network = read_network(str(path), 5)
    assert neighbours_of(network) == [[1], [0, 3], [], [1], []]
    assert shares_of(network) == [[1], pytest.approx([0.8, 0.2]), [], [1], []]


def test_a_link_without_a_weight_counts_one(tmp_path):
    path = tmp_path / "links"
    path.write_text("0 1\n0 2 3\n")
    assert shares_of(read_network(path, 3)) == [[0.25, 0.75], [1], [1]]
    assert shares_of(read_network(path, 3, trust="equal")) == [[0.5, 0.5], [1], [1]]


def test_weights_at_both_ends_of_what_is_allowed_are_heard(tmp_path):
    links = [(0, 1, 1e12), (0, 2, 1e-12), (2, 3, 1e-12), (1, 4, 1e12)]
    network = read_network(write(tmp_path / "links", links), 5)
    estimates = some_estimates(5)
    weights = weights_by_hand(5, links, "given")
    np.testing.assert_allclose(hear(network, estimates), heard_by_hand(estimates, weights), atol=1e-7)


@pytest.mark.parametrize("trust", ["given", "equal", "degree"])
def test_the_network_of_the_first_users_is_that_of_the_links_among_them(tmp_path, trust):
    links = [(0, 1, 2.0), (1, 2, 1.0), (0, 3, 5.0), (3, 4, 1.0)]
    whole = read_network(write(tmp_path / "all", links), 5, trust=trust)
    assert whole.of_first(5) is whole
    first = whole.of_first(3)
    assert neighbours_of(first) == [[1], [0, 2], [1]]
    if trust != "equal":  # in the proportions they had
        before = dict(zip(neighbours_of(whole)[1], shares_of(whole)[1], strict=True))
        np.testing.assert_allclose(shares_of(first)[1], [before[0], before[2]])
        assert [sum(row) for row in shares_of(first)] == pytest.approx([1, 1, 1])
    assert whole.of_first(1).n_users == 1
    assert make_network("complete", 9, 1).of_first(4).n_users == 4


# --- The registry -----------------------------------------------------------------------------------


def test_every_kind_says_what_it_is_and_its_defaults_are_allowed():
    assert list(NETWORKS) == ["none", "complete", "random", "small_world", "scale_free"]
    for name, kind in NETWORKS.items():
        assert kind.name == name
        assert kind.summary
        assert re.fullmatch(r"baseline|.* \d{4}", kind.source)
        for word, parameter in kind.parameters.items():
            assert parameter.check(word, parameter.default) == parameter.default
            assert parameter.meaning
    assert digest(make_network("small_world", 30, 1)) == digest(
        make_network("small_world", 30, 1, {"neighbours": 6, "rewire": 0.1})
    )


def test_a_whole_number_may_be_written_with_a_point():
    for kind in ("small_world", "scale_free"):
        one, other = (make_network(kind, 30, 1, {"neighbours": neighbours}) for neighbours in (4, 4.0))
        assert digest(one) == digest(other)


def test_a_new_kind_is_one_function_and_one_entry(monkeypatch):
    """Its links are checked to be among the users."""
    pairs = {"draw": lambda n_users, seed: np.arange(n_users).reshape(-1, 2)}
    kind = module.NetworkKind(name="pairs", summary="everybody hears one", source="test", **pairs)
    monkeypatch.setitem(NETWORKS, "pairs", kind)
    assert neighbours_of(make_network("pairs", 4, seed=1)) == [[1], [0], [3], [2]]
    wrong = module.NetworkKind(
        name="pairs", summary="", source="", draw=lambda n_users, seed: np.array([[0, n_users]])
    )
    monkeypatch.setitem(NETWORKS, "pairs", wrong)
    with pytest.raises(ValueError, match="index"):
        make_network("pairs", 4, seed=1)

"""From a checked scenario to its users: alike, drawn from distributions, by type from a file, or segments."""

from pathlib import Path
from typing import Any

import numpy as np

from market_sim.economy.distributions import drawn
from market_sim.economy.market import MOST_RATIONAL, Market, UserPopulation
from market_sim.economy.tables import read_table
from market_sim.errors import InputError, not_one_of
from market_sim.experiments.scenario import DIFFER, MOST_USD, Scenario, Segment
from market_sim.simulation.experience import Experience, average_offer
from market_sim.simulation.network import Network, make_network, read_network
from market_sim.theory.arrays import Array
from market_sim.theory.streams import Role, stream

COLUMNS = {key.removesuffix("_usd"): key for key in DIFFER}
"""What users differ in, and what scenarios and type files call it."""

MOST = {"value_scale": MOST_USD, "beta": MOST_RATIONAL, "budget": MOST_USD, "inertia": MOST_USD}


def users_of_one_type(scenario: Scenario, market: Market, advice: str) -> UserPopulation:
    """The users of a scenario, for what is solved exactly.

    Raises InputError as `users_of` does, and where users differ; that sentence ends with the advice.
    """
    users = users_of(scenario, market)
    if not users.same_type:
        raise InputError(
            f"{scenario.where}: users differ, and a market is solved exactly for users of one type; {advice}"
        )
    return users


def users_of(scenario: Scenario, market: Market, *, demand: float = 1.0) -> UserPopulation:
    """The users of a scenario.

    demand  how many there are, as a multiple of the scenario's number (of each segment's), rounded to people:
            the first of more users are the fewer
    Raises InputError for distributions, types or tasks that make no sense.
    """
    section = scenario.users
    if section.segments is not None:
        return _segments(scenario, market, section.segments, demand)
    tables: dict[str, Array | None] = {}
    expected, people = section.demand == "expected", round(section.count * demand)
    numbers = {name: getattr(section, key) for name, key in COLUMNS.items()}
    where = f"{scenario.where}: users"
    n, size = 1, np.array([people])
    if section.one_by_one:
        n, size = people, np.ones(people, dtype=np.int64)
    weights = _task_weights(section.tasks, market, f"{where}.tasks")
    if section.types is not None:
        types, weight, weights_by_type = _read_types(scenario, market)
        if expected:
            n, size = len(weight), weight / weight.sum() * people
            kind = np.arange(n)
        else:
            uniforms = stream(scenario.seed, Role.USER_TYPES, "type").random(n)
            kind = np.searchsorted(weight.cumsum() / weight.sum(), uniforms, side="right")
            kind = np.minimum(kind, len(weight) - 1)
        tables = {name: column[kind] for name, column in types.items()}
        if weights_by_type is not None:
            weights = weights_by_type[kind]
    for name, key in COLUMNS.items():
        if name in tables:
            continue
        value = numbers[name]
        if isinstance(value, dict):
            uniforms = stream(scenario.seed, Role.USER_TYPES, name).random(n)
            column = drawn(value, uniforms, f"{where}.{key}")
            if (column > MOST[name]).any() or (name != "beta" and (column <= 0).any()):
                raise InputError(
                    f"{where}.{key} draws amounts that are not above 0 and at most {MOST[name]:g}"
                )
            tables[name] = column
        else:
            tables[name] = None if value is None else np.full(n, float(value))
    return UserPopulation(size=size, task_weights=weights, **tables)  # type: ignore[arg-type]


def _segments(
    scenario: Scenario, market: Market, segments: tuple[Segment, ...], demand: float
) -> UserPopulation:
    where = f"{scenario.where}: users"
    common = _task_weights(scenario.users.tasks, market, f"{where}.tasks")
    weights = common
    if any(segment.tasks is not None for segment in segments):
        rows = [
            common
            if segment.tasks is None
            else _task_weights(segment.tasks, market, f"{where}.segments.{place}.tasks")
            for place, segment in enumerate(segments)
        ]
        weights = None if rows[0] is None else np.concatenate([row for row in rows if row is not None])
    budgets = np.array([np.inf if s.budget_usd is None else s.budget_usd for s in segments], dtype=float)
    return UserPopulation(
        value_scale=np.array([float(segment.value_scale) for segment in segments]),
        beta=np.array([float(segment.beta) for segment in segments]),
        size=np.array([round(segment.size * demand) for segment in segments]),
        budget=None if np.isinf(budgets).all() else budgets,
        task_weights=weights,
    )


def _task_weights(tasks: dict[str, float] | None, market: Market, where: str) -> Array | None:
    """The probability of each task, (1, T); None where there is one task."""
    for name in tasks or ():
        if name not in market.tasks:
            raise not_one_of(f"{where} names a benchmark", name, market.tasks)
    if market.n_tasks == 1:
        return None
    weights = np.array([[1.0 if tasks is None else tasks.get(name, 0.0) for name in market.tasks]])
    if weights.sum() <= 0:
        raise InputError(f"{where}: the weights are all 0")
    return weights / weights.sum()


def _read_types(scenario: Scenario, market: Market) -> tuple[dict[str, Array], Array, Array | None]:
    """Types of users from a CSV file: columns by name, their weights, and task weights where it has them."""
    path = scenario.folder / str(scenario.users.types)
    rows = read_table(path, ("weight",))
    header = list(rows[0][1])
    known = ["weight", *COLUMNS.values(), *market.tasks]
    for name in header:
        if name not in known:
            raise not_one_of(f"{path}: column", name, known)
    for key in COLUMNS.values():
        if key in header and key in scenario.users.model_fields_set:
            raise InputError(
                f"{scenario.where}: users.{key} is given twice, by the column {key} of {path} too"
            )
    columns = {key: np.array([_amount(path, line, key, row[key]) for line, row in rows]) for key in header}
    if columns["weight"].sum() <= 0:
        raise InputError(f"{path}: the weights are all 0")
    types = {name: columns[key] for name, key in COLUMNS.items() if key in header}
    if "inertia" in types and scenario.users.demand == "expected":
        raise InputError(
            f"{path}: column inertia_usd is for people who are drawn one by one, and {scenario.where} has "
            'users.demand = "expected"'
        )
    given = [task for task in market.tasks if task in header]
    weights = None
    if given and market.n_tasks > 1:
        weights = np.stack([columns.get(task, np.zeros(len(rows))) for task in market.tasks], axis=1)
        totals = weights.sum(axis=1, keepdims=True)
        if (totals <= 0).any():
            line = rows[int(np.flatnonzero(totals[:, 0] <= 0)[0])][0]
            raise InputError(f"{path}: row {line}: the weights of tasks are all 0")
        weights = weights / totals
    return types, columns["weight"], weights


BLANK = {"budget_usd": np.inf, "inertia_usd": 0.0}
"""What a type without an amount has: no limit, and nothing that holds it."""


def _amount(path: Path, line: int, column: str, text: str) -> float:
    if not text and column in BLANK:
        return BLANK[column]
    most = MOST_RATIONAL if column == "beta" else MOST_USD
    positive = column in ("value_scale", *BLANK)
    try:
        value = float(text.replace("_", "?"))  # Python reads 1_0 as ten; a table means a slip
    except ValueError:
        value = float("nan")
    if not (0 < value <= most if positive else 0 <= value <= most):
        least, blank = ("above 0" if positive else "at least 0"), (", or blank" if column in BLANK else "")
        raise InputError(
            f"{path}: row {line}: {column} = {text!r} is not allowed; it must be a number {least} and at "
            f"most {most:g}{blank}"
        )
    return value


def experience_of(scenario: Scenario, market: Market, users: UserPopulation) -> Experience | None:
    """How the users of a scenario learn; None where they know."""
    section = scenario.users
    if section.information == "full":
        return None
    settings: dict[str, Any] = {} if section.experience is None else section.experience.model_dump()
    believed = settings.pop("prior_usd", None)
    prior = average_offer(market, users)
    if believed is not None:
        prior = np.full_like(prior, believed)
    return Experience(prior=prior, network=_network_of(scenario, len(users.beta)), **settings)


def _network_of(scenario: Scenario, n_users: int) -> Network:
    """Who hears whom, drawn or read from a file."""
    where = f"{scenario.where}: users.network"
    given = dict(scenario.users.network or {"kind": "none"})
    trust = {"trust": given.pop("trust")} if "trust" in given else {}
    if "file" in given:
        file = given.pop("file")
        if not isinstance(file, str):
            raise InputError(f"{where}.file = {file!r} is not allowed; it must be the name of a file")
        if given:
            raise not_one_of(f"{where}: beside file", next(iter(given)), ("trust",))
        ever = round(scenario.users.count * max(scenario.most_demand, 1.0))
        return read_network(scenario.folder / file, ever, where=where, **trust).of_first(n_users)
    if "kind" not in given:
        raise InputError(f"{where} needs a kind, or a file")
    return make_network(given.pop("kind"), n_users, scenario.seed, given, where=where, **trust)

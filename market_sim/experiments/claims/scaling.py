"""What more providers change: markets of 2 to 10,000 generated providers, solved exactly.

Providers of one seed are nested (economy/generated.py): a larger market is the smaller one after entry, so
what entry changes is read seed by seed.  Numbers are of the equilibrium with least welfare.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from market_sim.errors import InputError
from market_sim.experiments.build import market_of
from market_sim.experiments.exact_rows import Row, solve_rows, to_solve
from market_sim.experiments.scenario import load_scenario
from market_sim.experiments.sweep_table import SweepTable, contrasts, over_replicates, wanted_axis
from market_sim.theory.inference import MeanDifference

COUNTS = (2, 3, 5, 10, 30, 100, 300, 1000, 3000, 10_000)
AXIS = "market.generated.providers"

WELFARE, USERS, AUCTION_USERS = "welfare", "user value", "auction user value"
INEFFICIENCY, TOKENS = "inefficiency", "tokens"


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Markets of one size, means over seeds (of means over a sweep's other axes).

    measures    WELFARE, USERS and AUCTION_USERS as shares of the first best, which is the auction's welfare;
                INEFFICIENCY, optimum over welfare, minus one; TOKENS, as multiples of those of efficient
                levels with the same shares
    changes     the same less those of the smallest size, paired over seeds; empty for that one
    equilibria  fewest and most
    """

    count: int
    measures: Mapping[str, MeanDifference]
    changes: Mapping[str, MeanDifference]
    equilibria: tuple[int, int]


def scaling(
    counts: Sequence[int] = COUNTS, *, beta: float = 1000.0, seeds: Sequence[int] = range(10)
) -> list[Scaling]:
    """Markets of each size, one per seed."""
    import pandas as pd

    rows = [
        {"point": point, AXIS: count, "replicate": seed, "status": "ok"} | _solved(count, seed, beta)
        for point, count in enumerate(sorted(counts))
        for seed in seeds
    ]
    frame = pd.DataFrame(rows)
    return _by_size(
        SweepTable(name="providers", kind="solve", design="grid", axes=(AXIS,), ranges={}, frame=frame)
    )


def _solved(count: int, seed: int, beta: float) -> Row:
    scenario = load_scenario(
        {
            "name": "providers",
            "market": {"generated": {"providers": count, "seed": seed}},
            "users": {"beta": beta},
        }
    )
    (row,) = solve_rows([to_solve(scenario, market_of(scenario))], dynamics=False)
    return row


def scaling_of_sweep(table: SweepTable) -> list[Scaling]:
    """Every size of a sweep that was solved over market.generated.providers, the smallest first.

    Raises InputError without such an axis, or where nothing was solved.
    """
    wanted_axis(table, "solve", (AXIS,), "what more providers change")
    found = _by_size(table)
    if not found:
        raise InputError(f"{table.name}: no market of it could be solved")
    return found


def _by_size(table: SweepTable) -> list[Scaling]:
    frame = table.frame.sort_values(AXIS, kind="stable")
    best = frame["auction_welfare"]
    measures = {
        WELFARE: frame["worst_welfare"] / best,
        USERS: frame["worst_user_value"] / best,
        AUCTION_USERS: frame["auction_user_value"] / best,
        INEFFICIENCY: frame["price_of_anarchy"] - 1.0,
        TOKENS: frame["worst_tokens_ratio"],
    }
    table = table.with_frame(frame.assign(**measures))
    changed = contrasts(table, AXIS, list(measures))
    return [
        Scaling(
            count=int(count),
            measures={name: over_replicates(own, name) for name in measures},
            changes={one.measure: one.difference for one in changed if one.value == str(count)},
            equilibria=(int(own["equilibria"].min()), int(own["equilibria"].max())),
        )
        for count, own in table.ok.groupby(AXIS)
    ]

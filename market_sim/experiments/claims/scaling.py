"""What more providers change: markets of 2 to 10,000 generated providers, solved exactly.

Markets of one seed are nested (economy/generated.py): a larger one is the smaller one after entry, so what
entry changes is read seed by seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_sim.economy.generated import GeneratedMarket, generated_market
from market_sim.economy.solve import totals_at
from market_sim.theory.arrays import Array, at_levels
from market_sim.theory.game import equilibria, log_shares_at, select
from market_sim.theory.welfare import social_optimum

COUNTS = (2, 3, 5, 10, 30, 100, 300, 1000, 3000, 10_000)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """Markets of one size, one entry per seed (S,); money in USD per query.

    welfare, user_value, provider_profit  of the equilibrium with least welfare
    best_welfare      of the one with most
    equilibria        how many there are
    optimum           best welfare while users choose by the logit
    first_best        the best offer serves everybody: welfare of the auction
    auction_user_value, auction_profit  of the truthful second-price auction
    tokens            per query, over those of efficient levels with the same shares
    """

    count: int
    beta: float
    welfare: Array
    best_welfare: Array
    user_value: Array
    provider_profit: Array
    equilibria: Array
    optimum: Array
    first_best: Array
    auction_user_value: Array
    auction_profit: Array
    tokens: Array

    @property
    def inefficiency(self) -> Array:
        """Optimum over welfare of the worst equilibrium, minus one."""
        return self.optimum / self.welfare - 1.0


def scaling(
    counts: Sequence[int] = COUNTS, *, beta: float = 1000.0, seeds: Sequence[int] = range(10)
) -> list[Scaling]:
    """Markets of each size, one per seed."""
    largest = [generated_market(max(counts), seed) for seed in seeds]
    found = []
    for count in counts:
        rows = [_solved(market.first(count), beta) for market in largest]
        found.append(
            Scaling(
                count=count, beta=beta, **{name: np.array([row[name] for row in rows]) for name in rows[0]}
            )
        )
    return found


def _solved(market: GeneratedMarket, beta: float) -> dict[str, float]:
    game = market.game(beta)
    listed = equilibria(game)
    each = select(game, listed.game)
    worst = int(listed.welfare.argmin())
    totals = totals_at(each, listed.levels, market.price)
    share = np.exp(log_shares_at(each, listed.levels)[0])[worst]
    efficient = (market.quality - market.cost).argmax(axis=-1)
    tokens = (
        share @ at_levels(market.tokens, listed.levels[worst]) / (share @ at_levels(market.tokens, efficient))
    )
    auction = market.auction()
    return {
        "welfare": float(totals.welfare[worst]),
        "best_welfare": float(totals.welfare.max()),
        "user_value": float(totals.user_value[worst]),
        "provider_profit": float(totals.provider_profit[worst]),
        "equilibria": float(len(listed.game)),
        "optimum": float(social_optimum(game).welfare[0]),
        "first_best": float(auction.welfare),
        "auction_user_value": float(auction.user_value),
        "auction_profit": float(auction.provider_profit),
        "tokens": float(tokens),
    }

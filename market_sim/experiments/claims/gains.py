"""Who gains from the truthful second-price auction, and who loses, in the paper's nine settings.

Auction less market (where the paper's dynamics end).  Users are compared under both readings of the logit's
noise: as mistakes (sum of share times value, the paper's) and as taste (log-sum surplus, against the
auction's value above not buying).
"""

from dataclasses import dataclass

from market_sim.economy.solve import Solution, solve_market
from market_sim.experiments.paper import BETAS, SETTINGS, paper_market

SEED = 0


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What the auction changes in one setting at one rationality: auction less market.

    user_value, price, provider_profit  USD per query;  accuracy: a fraction, of served requests
    user_value_if_taste                 USD per query, the market's users valued by the log-sum
    """

    benchmark: str
    method: str
    beta: float
    user_value: float
    user_value_if_taste: float
    price: float
    accuracy: float
    provider_profit: float


def who_gains() -> list[Gain]:
    """All nine settings at all three rationalities."""
    return [
        _gain(solution, market.outside_value)
        for market in (paper_market(benchmark, method) for benchmark, method in SETTINGS)
        for solution in solve_market(market, BETAS, SEED)
    ]


def _gain(solution: Solution, outside_value: float) -> Gain:
    market, auction = solution.paper_dynamics, solution.auction
    if market.log_sum_surplus is None or auction.accuracy is None or market.accuracy is None:
        raise ValueError("the comparison needs beta above 0 and a winner in the auction")
    return Gain(
        benchmark=solution.benchmark,
        method=solution.method,
        beta=solution.beta,
        user_value=auction.user_value - market.user_value,
        user_value_if_taste=auction.user_value - outside_value - market.log_sum_surplus,
        price=auction.price - market.price,
        accuracy=auction.accuracy - market.accuracy,
        provider_profit=auction.provider_profit - market.provider_profit,
    )

"""The registry of regimes.  A new one is a few pure functions (economy/regime.py) and one entry here."""

from market_sim.economy.auctions import (
    auction_best_welfare,
    auction_match,
    auction_stakes,
    bid_offer,
    first_price_actions,
    first_price_counterfactual,
    first_price_settle,
    second_price_actions,
    second_price_counterfactual,
    second_price_settle,
    truth,
)
from market_sim.economy.flat_price import flat_actions, with_margins
from market_sim.economy.pay_per_compute import (
    level_actions,
    logit_best_welfare,
    logit_counterfactual,
    logit_match,
    posted_offer,
    posted_settle,
    posted_stakes,
)
from market_sim.economy.planner import planned_levels
from market_sim.economy.regime import Regime

REGIMES: dict[str, Regime] = {
    regime.name: regime
    for regime in (
        Regime(
            name="pay_per_compute",
            summary="each provider posts a compute level and bills its tokens; users choose by logit",
            source="arXiv:2601.21839; the pricing in use today",
            actions=level_actions,
            offer=posted_offer,
            match=logit_match,
            settle=posted_settle,
            counterfactual=logit_counterfactual,
            stakes=posted_stakes,
            best_welfare=logit_best_welfare,
            bids=False,
        ),
        Regime(
            name="flat_price",
            summary="each provider posts a compute level and a price per query; users choose by logit",
            source="Bertrand competition under logit demand; Nocke & Schutz 2018",
            actions=flat_actions,
            offer=posted_offer,
            match=logit_match,
            settle=posted_settle,
            counterfactual=logit_counterfactual,
            stakes=posted_stakes,
            best_welfare=logit_best_welfare,
            bids=False,
            prepare=with_margins,
        ),
        Regime(
            name="planner",
            summary="as pay-per-compute, at the levels of most welfare",
            source="the optimum of docs/theory.md 2.6; a comparator",
            actions=level_actions,
            offer=posted_offer,
            match=logit_match,
            settle=posted_settle,
            counterfactual=logit_counterfactual,
            stakes=posted_stakes,
            best_welfare=logit_best_welfare,
            bids=False,
            plan=planned_levels,
        ),
        Regime(
            name="second_price_auction",
            summary="best offer serves each request and is paid its quality less the second-best value",
            source="arXiv:2601.21839; Vickrey 1961; Che 1993",
            actions=second_price_actions,
            offer=bid_offer,
            match=auction_match,
            settle=second_price_settle,
            counterfactual=second_price_counterfactual,
            stakes=auction_stakes,
            best_welfare=auction_best_welfare,
            bids=True,
            plan=truth,
        ),
        Regime(
            name="first_price_auction",
            summary="best offer serves each request and is paid the price it bid",
            source="Che 1993; a comparator",
            actions=first_price_actions,
            offer=bid_offer,
            match=auction_match,
            settle=first_price_settle,
            counterfactual=first_price_counterfactual,
            stakes=auction_stakes,
            best_welfare=auction_best_welfare,
            bids=True,
            plan=truth,
        ),
    )
}

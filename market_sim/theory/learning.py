"""The registry of learning rules.  A new one is a few pure functions (theory/rule.py) and one entry here."""

from market_sim.theory.bandits import epsilon_greedy, exp3, imitation, q_learning, thompson, ucb1
from market_sim.theory.full_information import fictitious_play, hedge, regret_matching
from market_sim.theory.parameters import Choice, Parameter
from market_sim.theory.replies import best_reply, better_reply, fixed, logit_reply, recommended
from market_sim.theory.rule import AUCTIONS, PLANNED, POSTED, RuleFamily

EVERYWHERE = POSTED | AUCTIONS | PLANNED
MARKETS = POSTED | AUCTIONS

_EXPLORATION = Parameter(meaning="share of rounds that try anything", default=0.1, least=0, most=1)
_INERTIA = Parameter(meaning="probability of staying although it would move", default=0.5, least=0, most=0.99)
_RATE = Parameter(
    meaning="learning rate, as a multiple of the one its bound is proved for",
    default=20.0,
    least=0,
    most=1000,
    above=True,
)
"""Bounds are proved for payoffs that fill [0, 1].  What a request earns on average is a few hundredths of the
most it can, because users choose among many: with a multiple of one, learning takes ten thousand rounds."""

RULES: dict[str, RuleFamily] = {
    family.name: family
    for family in (
        RuleFamily(
            name="better_reply",
            summary="move to the nearest level that earns strictly more (the paper's dynamics)",
            source="arXiv:2601.21839, there called best response; Monderer & Shapley 1996",
            information="reply",
            regimes=MARKETS,
            make=better_reply,
        ),
        RuleFamily(
            name="best_reply",
            summary="move to the level that earns most against the others' standing offers",
            source="Cournot 1838; Monderer & Shapley 1996",
            information="reply",
            regimes=MARKETS,
            make=best_reply,
        ),
        RuleFamily(
            name="logit_reply",
            summary="reply at random, the likelier the more it earns",
            source="Blume 1993; Marden & Shamma 2012",
            information="reply",
            regimes=MARKETS,
            make=logit_reply,
            parameters={
                "temperature": Parameter(
                    meaning="noise: 0 would be best reply", default=0.05, least=0, most=100, above=True
                )
            },
        ),
        RuleFamily(
            name="fictitious_play",
            summary="best action against all that the others have played together so far, with inertia",
            source="Marden, Arslan & Shamma 2009; Brown 1951",
            information="full",
            regimes=POSTED,
            make=fictitious_play,
            parameters={"inertia": _INERTIA},
        ),
        RuleFamily(
            name="hedge",
            summary="weights exponential in what each action would have earned",
            source="Freund & Schapire 1997; Cesa-Bianchi & Lugosi 2006",
            information="full",
            regimes=MARKETS,
            make=hedge,
            parameters={"rate": _RATE},
        ),
        RuleFamily(
            name="regret_matching",
            summary="actions in proportion to the regret of not having played them all along",
            source="Hart & Mas-Colell 2000, unconditional",
            information="full",
            regimes=MARKETS,
            make=regret_matching,
        ),
        RuleFamily(
            name="epsilon_greedy",
            summary="the action that has earned most, but now and then any",
            source="Sutton & Barto 2018",
            information="own",
            regimes=MARKETS,
            make=epsilon_greedy,
            parameters={
                "exploration": _EXPLORATION,
                "step": Parameter(
                    meaning="weight of the newest profit in an estimate; 0 is the plain mean",
                    default=0.1,
                    least=0,
                    most=1,
                ),
            },
        ),
        RuleFamily(
            name="ucb1",
            summary="the action that could still turn out to earn most",
            source="Auer, Cesa-Bianchi & Fischer 2002",
            information="own",
            regimes=MARKETS,
            make=ucb1,
            parameters={
                "confidence": Parameter(
                    meaning="how much doubt counts; 2 is UCB1, for payoffs that fill [0, 1]",
                    default=0.01,
                    least=0,
                    most=100,
                )
            },
        ),
        RuleFamily(
            name="exp3",
            summary="weights exponential in estimated total profits, mixed with uniform play",
            source="Auer, Cesa-Bianchi, Freund & Schapire 2002",
            information="own",
            regimes=MARKETS,
            make=exp3,
            parameters={
                "exploration": Parameter(
                    meaning=_EXPLORATION.meaning, default=0.1, least=0, most=1, above=True
                ),
                "rate": _RATE,
            },
        ),
        RuleFamily(
            name="thompson",
            summary="the best action of a world drawn from what is believed",
            source="Thompson 1933; Agrawal & Goyal 2013",
            information="own",
            regimes=MARKETS,
            make=thompson,
            parameters={
                "noise": Parameter(
                    meaning="believed deviation of a profit, as a share of the most there can be",
                    default=0.03,
                    least=0,
                    most=100,
                    above=True,
                )
            },
        ),
        RuleFamily(
            name="q_learning",
            summary="values of actions by state, exploration fading with time",
            source="Watkins 1989; Calvano, Calzolari, Denicolo & Pastorello 2020",
            information="own",
            regimes=MARKETS,
            make=q_learning,
            parameters={
                "step": Parameter(meaning="learning rate", default=0.15, least=0, most=1, above=True),
                "discount": Parameter(meaning="weight of the next round", default=0.95, least=0, most=0.999),
                "decay": Parameter(
                    meaning="exploration after t rounds is e^(-decay t)", default=0.02, least=0, most=10
                ),
                "recall": Choice(
                    meaning="what a state is: nothing, the own last action, everybody's",
                    default="own",
                    options=("none", "own", "all"),
                ),
            },
        ),
        RuleFamily(
            name="imitation",
            summary="do what the most profitable provider did, now and then anything",
            source="Vega-Redondo 1997",
            information="rivals",
            regimes=MARKETS,
            make=imitation,
            parameters={
                "inertia": _INERTIA,
                "exploration": Parameter(meaning=_EXPLORATION.meaning, default=0.02, least=0, most=1),
            },
        ),
        RuleFamily(
            name="fixed",
            summary="never move",
            source="baseline",
            information="none",
            regimes=EVERYWHERE,
            make=fixed,
        ),
        RuleFamily(
            name="truthful",
            summary="serve each request at its efficient level and bid its cost",
            source="Vickrey 1961; Che 1993",
            information="plan",
            regimes=AUCTIONS,
            make=recommended,
        ),
        RuleFamily(
            name="planned",
            summary="serve at the level of the welfare optimum",
            source="the planner of docs/theory.md 4",
            information="plan",
            regimes=PLANNED,
            make=recommended,
        ),
    )
}

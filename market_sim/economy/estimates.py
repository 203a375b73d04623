"""From one model's samples to what each question adds to its curve, by each way of spending compute.

The mathematics is in theory.estimators; here is what a run must have for it, and what is counted and said.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from market_sim.economy.evaluations import Evaluations
from market_sim.theory.arrays import Array
from market_sim.theory.estimators import (
    LEAST_THOUGHT,
    Contributions,
    best_of_n,
    first_sample,
    majority_voting,
    pass_at_k,
    reasoning_effort,
    tokens_of_draws,
)


@dataclass(frozen=True, kw_only=True)
class Spending:
    """How much compute to look at.

    levels  numbers of samples
    bins    of reasoning effort
    """

    levels: tuple[int, ...]
    bins: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """One model's curve by one method, question by question.

    levels         (K,)  compute levels
    contributions  (Q, K)
    counted        by what is said: how many samples (or whether the question) it concerns, (Q,)
    said           what else a reader must know
    """

    levels: tuple[int, ...]
    contributions: Contributions
    counted: Mapping[str, Array] = field(default_factory=dict)
    said: tuple[str, ...] = ()


class ImpossibleError(ValueError):
    """The run does not have what the method needs; its text is the reason."""


def estimate(run: Evaluations, method: str, spending: Spending) -> Estimate:
    """A run's curve by one of ESTIMATORS.  Raises ImpossibleError with the reason where there is none."""
    found = ESTIMATORS[method](run, spending)
    if run.estimated:
        said = "tokens, and with them prices, are estimated from the length of responses"
        found = replace(found, said=(*found.said, said))
    return found


def _best_of_n(run: Evaluations, spending: Spending) -> Estimate:
    if run.rewards is None:
        raise ImpossibleError("best_of_n needs rewards, and there are none (absent, or all null)")
    rewards = run.rewards
    null = np.isnan(rewards)
    counted = {
        "samples without a reward, ranked below all others": null.sum(axis=1),
        "questions without any reward, of which the best sample is a random one": null.all(axis=1),
    }
    return _of_samples(run, spending, lambda levels: best_of_n(run.correct, rewards, levels), counted)


def _majority_voting(run: Evaluations, spending: Spending) -> Estimate:
    if run.answers is None:
        raise ImpossibleError("majority_voting needs answers, and there are none")
    answers, unparsed = run.answers, run.answers < 0
    if unparsed.all():
        raise ImpossibleError("majority_voting needs answers, and not one was parsed")
    counted = {
        "samples without a parsed answer, which never win": unparsed.sum(axis=1),
        "of these marked right nevertheless": (unparsed & run.correct).sum(axis=1),
    }
    return _of_samples(run, spending, lambda levels: majority_voting(run.correct, answers, levels), counted)


def _pass_at_k(run: Evaluations, spending: Spending) -> Estimate:
    return _of_samples(run, spending, lambda levels: pass_at_k(run.correct, levels), {})


def _of_samples(
    run: Evaluations,
    spending: Spending,
    probability: Callable[[Sequence[int]], Array],
    counted: Mapping[str, Array],
) -> Estimate:
    """A method that draws n samples: its levels are those the run has samples for."""
    levels = tuple(n for n in spending.levels if n <= run.n_samples)
    beyond = [str(n) for n in spending.levels if n > run.n_samples]
    if not levels:
        raise ImpossibleError(
            f"level {beyond[0]} needs {beyond[0]} samples of each question, and the run has {run.n_samples}"
        )
    said = (f"no levels {', '.join(beyond)}: samples of each question: {run.n_samples}",)
    right = probability(levels)
    return Estimate(
        levels=levels,
        contributions=Contributions(
            correct=right, tokens=tokens_of_draws(run.tokens, levels), weight=np.ones_like(right)
        ),
        counted=counted,
        said=said if beyond else (),
    )


def _first_sample(run: Evaluations, spending: Spending) -> Estimate:
    right = first_sample(run.correct)
    return Estimate(
        levels=(1,),
        contributions=Contributions(correct=right, tokens=run.tokens[:, :1], weight=np.ones_like(right)),
    )


def _reasoning_effort(run: Evaluations, spending: Spending) -> Estimate:
    if run.thinking is None:
        raise ImpossibleError("reasoning_effort needs tokens of thinking, and they are not told")
    unthinking = run.thinking <= LEAST_THOUGHT
    cut = np.zeros_like(unthinking)
    left_out = f"samples that thought for {LEAST_THOUGHT} tokens or fewer are left out"
    said = f"{left_out}; the token limit is not known, so none counts as cut off"
    if run.token_limit is not None:
        cut = run.tokens >= run.token_limit
        said = f"{left_out}, and so are those cut off at the limit of {run.token_limit:,.0f} tokens"
    usable = ~unthinking & ~cut
    n_usable = usable.sum(axis=1)
    return Estimate(
        levels=tuple(range(1, spending.bins + 1)),
        contributions=reasoning_effort(run.correct, run.tokens, run.thinking, usable, spending.bins),
        counted={
            "samples cut off": cut.sum(axis=1),
            "other samples that did not think": (unthinking & ~cut).sum(axis=1),
            "questions without a sample left, in no bin": n_usable == 0,
            "questions with fewer samples left than bins, not in every bin": (n_usable > 0)
            & (n_usable < spending.bins),
        },
        said=(said,),
    )


ESTIMATORS: Mapping[str, Callable[[Evaluations, Spending], Estimate]] = MappingProxyType(
    {
        "majority_voting": _majority_voting,
        "best_of_n": _best_of_n,
        "reasoning_effort": _reasoning_effort,
        "pass_at_k": _pass_at_k,
        "first_sample": _first_sample,
    }
)
"""By method; the names are those of curve files (economy.quality.METHODS)."""

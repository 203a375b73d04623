"""The law of synthetic samples: what a model does on the questions of a benchmark.

A question has, for each model, four ranks, equally likely in every model's eyes:

    grade     how easy it is (GRADES of them)
    silence   how often no answer can be read from a sample (SILENCES)
    pull      how much the wrong answers agree with each other (PULLS)
    gap       how well the reward model tells right from wrong (GAPS)

The ranks are quantiles of normal deviates, and those of different models are correlated: a hard question is
hard for everybody (one factor, `LOADING`).  Given the ranks, samples are independent.  A law is thus a finite
mixture, and its expectations are finite sums: truth.py knows them without quadrature.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Literal

import numpy as np
from scipy.special import expit, ndtri

from market_sim.economy.quality import DATA
from market_sim.errors import InputError, not_one_of
from market_sim.theory.arrays import Array

GRADES, SILENCES, PULLS, GAPS = 100, 5, 3, 5
"""Ranks of a question.  Each is equally likely."""

FIFTHS = 5
"""Pieces of the length of thinking, within which correctness does not change."""

LOADING = 0.8
"""Correlation of a question's deviate for one model with the factor common to all; its square, 0.64, is the
correlation between two models.  An assumption: no published number bears on it."""

LETTERS = ("GPQA",)
"""Benchmarks answered by a letter from A to D; the others are answered by numbers."""

PREFIX = "synthetic-"
"""What stands before the model's name in every file, record and curve."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """Parameters of one model on one benchmark.  Deviates z are those of the question's ranks.

    temperature, n_samples, max_tokens   only for the file's name; max_tokens is also the limit of a sample
    ability, ability_spread     logit of P(right | an answer can be read) = ability + ability_spread z_grade
    silence, silence_spread, silence_slope   logit of P(no answer can be read) = silence
                                + silence_spread z_silence - silence_slope z_grade
    silent_right     how often a sample without a readable answer is marked right, relative to one with
    pull             logit of how much wrong answers agree = pull + z_pull
    reward_gap, reward_gap_spread, reward_gap_slope   mean reward of right samples less that of wrong ones, in
                     standard deviations of the latter = reward_gap + reward_gap_spread z_gap
                     + reward_gap_slope z_grade
    reward_scale     standard deviation of the rewards of right samples; that of wrong ones is 1
    cut_off          share of the samples without an answer that ran into the token limit
    unthinking       share of the other samples that think for 5 tokens only
    thinking_low, thinking_high   tokens of thinking rise linearly from the one to the other with a sample's
                     own rank v in (0, 1)
    answer_1..5      tokens after thinking, by fifth of v
    effort_1..5      what is added to the logit of being right, by fifth of v
    length_spread    the hardest grade takes 1 + length_spread times the tokens, the easiest 1 - length_spread
    """

    benchmark: str
    model: str
    temperature: float
    n_samples: int
    max_tokens: int
    ability: float
    ability_spread: float
    silence: float
    silence_spread: float
    silence_slope: float
    silent_right: float
    pull: float
    reward_gap: float
    reward_gap_spread: float
    reward_gap_slope: float
    reward_scale: float
    cut_off: float
    unthinking: float
    thinking_low: float
    thinking_high: float
    length_spread: float
    answer_1: float
    answer_2: float
    answer_3: float
    answer_4: float
    answer_5: float
    effort_1: float = 0.0
    effort_2: float = 0.0
    effort_3: float = 0.0
    effort_4: float = 0.0
    effort_5: float = 0.0

    def __post_init__(self) -> None:
        where = f"law of {self.model} on {self.benchmark}"
        for name in ("silent_right", "cut_off", "unthinking", "length_spread"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{where}: {name} = {getattr(self, name)} is not between 0 and 1")
        if self.reward_scale <= 0:
            raise InputError(f"{where}: reward_scale = {self.reward_scale} is not above 0")
        longest = self.length[0] * (self.thinking(np.linspace(0.2, 1.0, FIFTHS)) + self.answer_tokens).max()
        if longest > self.max_tokens - 2:
            raise InputError(f"{where}: samples of {longest:.0f} tokens break the limit {self.max_tokens}")
        if self.length[-1] * self.thinking_low < 6 or self.answer_tokens.min() < 2:
            raise InputError(f"{where}: samples must think for 6 tokens and answer with 2 at least")
        if self.silent_right and np.ptp(self.effort):
            raise InputError(f"{where}: silent_right and effort cannot both be at work")

    @property
    def name(self) -> str:
        """The model's name in files and curves, which says that it is synthetic."""
        return PREFIX + self.model

    @property
    def answers(self) -> Literal["letters", "numbers"]:
        return "letters" if self.benchmark in LETTERS else "numbers"

    @property
    def effort(self) -> Array:
        """(FIFTHS,)"""
        return np.array([getattr(self, f"effort_{i}") for i in range(1, FIFTHS + 1)])

    @property
    def answer_tokens(self) -> Array:
        """(FIFTHS,)"""
        return np.array([getattr(self, f"answer_{i}") for i in range(1, FIFTHS + 1)])

    def thinking(self, v: Array) -> Array:
        """Tokens of thinking of a sample of rank v on a question of middling length."""
        return self.thinking_low + (self.thinking_high - self.thinking_low) * v

    @cached_property
    def right(self) -> Array:
        """P(right | an answer can be read), (GRADES, FIFTHS); grades from hard to easy."""
        return expit(self.ability + self.ability_spread * deviates(GRADES)[:, None] + self.effort)

    @cached_property
    def silent(self) -> Array:
        """P(no answer can be read), (GRADES, SILENCES)."""
        hardness = -self.silence_slope * deviates(GRADES)[:, None]
        return expit(self.silence + hardness + self.silence_spread * deviates(SILENCES))

    @cached_property
    def wrong(self) -> Array:
        """Shares of the wrong answers among readable wrong samples, (PULLS, number of them); rows sum to 1.

        Letters: three, of which one takes from a third to everything and the others share the rest.
        Numbers: three in proportion 4 : 2 : 1 that take up to everything; the last column are stray ones,
        all different.
        """
        agreement = expit(self.pull + deviates(PULLS))
        if self.answers == "letters":
            first = (1 + 2 * agreement) / 3
            return np.stack([first, (1 - first) / 2, (1 - first) / 2], axis=-1)
        return np.stack([agreement * 4 / 7, agreement * 2 / 7, agreement / 7, 1 - agreement], axis=-1)

    @cached_property
    def gap(self) -> Array:
        """Mean reward of right samples less that of wrong ones, in the latter's deviations (GRADES, GAPS)."""
        return (
            self.reward_gap
            + self.reward_gap_spread * deviates(GAPS)
            + self.reward_gap_slope * deviates(GRADES)[:, None]
        )

    @property
    def length(self) -> Array:
        """Tokens relative to the middling question, (GRADES,); 1 on average."""
        return 1 + self.length_spread * np.linspace(1, -1, GRADES)


@cache
def deviates(n_ranks: int) -> Array:
    """Normal quantiles at the middles of equally likely ranks, (n_ranks,), read-only.

    >>> deviates(3).round(3)
    array([-0.967,  0.   ,  0.967])
    """
    z = ndtri((np.arange(n_ranks) + 0.5) / n_ranks)
    z.setflags(write=False)
    return z


@cache
def bundled_laws() -> Mapping[tuple[str, str], Law]:
    """The laws fitted to the bundled curves, by (benchmark, model); economy/data/README.md says how."""
    laws = {}
    kinds = {field.name: field.type for field in fields(Law)}
    with (DATA / "synthetic_laws.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            law = Law(**{name: kind(row[name]) for name, kind in kinds.items()})  # type: ignore[operator]
            laws[law.benchmark, law.model] = law
    return laws


def laws_of(benchmark: str, models: tuple[str, ...] | None = None) -> list[Law]:
    """The bundled laws of a benchmark: all its models, or the named ones.

    Raises InputError for a benchmark or model that has none.
    """
    known = [law for law in bundled_laws().values() if law.benchmark == benchmark]
    if not known:
        raise not_one_of("benchmark", benchmark, dict.fromkeys(b for b, _ in bundled_laws()))
    by_model = {law.model: law for law in known}
    for model in models or ():
        if model not in by_model:
            raise not_one_of(f"models (for {benchmark})", model, by_model)
    return known if models is None else [by_model[model] for model in models]

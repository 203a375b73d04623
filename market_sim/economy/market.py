"""The nouns: providers, users and the market they meet in, as frozen records round arrays.

A `Market` is what the theory's arrays are made from.  It stores f(accuracy), not quality, because what
an answer is worth belongs to users: q = alpha (b + (1 - b) f(a)), alpha = value of a correct answer
times the user's own scale (NOTATION.md; docs/theory.md 1).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from market_sim.economy.quality import QualityCurve, bundled_prices, paper_name
from market_sim.errors import InputError, nearest
from market_sim.theory.arrays import Array
from market_sim.theory.game import Game, make_game

QUALITY_CURVES: Mapping[str, Callable[[Array], Array]] = {
    "linear": lambda accuracy: accuracy,
    "power": lambda accuracy: accuracy**3.5,
    "exponential": lambda accuracy: np.expm1(6.0 * accuracy) / np.expm1(6.0),
}
"""f: how an accuracy is felt by users; each maps [0, 1] onto itself (the paper's three)."""

PAPER_VALUE_OF_CORRECT_USD: Mapping[str, float] = {"GSM8K": 0.008, "AIME": 0.05, "GPQA": 0.02}
"""The paper's value of a correct answer, USD, by benchmark."""

PAPER_BASELINE = 0.1
PAPER_MARGIN = 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Provider:
    """A firm that serves one model.

    name                         unique in its market
    curve                        what its model can do at each level of compute
    price_usd_per_million        USD per million tokens generated
    margin                       mu: price over cost, minus one
    """

    name: str
    curve: QualityCurve
    price_usd_per_million: float
    margin: float


MOST_INDIVIDUALS = 10_000_000
"""One row of arrays each; for more, name segments or play expected demand."""

MOST_PEOPLE = 10**12
"""In a segment, or in a continuum."""

MOST_RATIONAL = 1e12
"""The largest beta, 1/USD: at a tenth of it, a difference of 1e-10 USD already decides every choice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UserPopulation:
    """Users as arrays, one row each; a row can stand for a segment of many alike.

    value_scale   (U,)  what an answer is worth to the row's users, as a multiple of the task's value
    beta          (U,)  rationality, 1/USD
    size          (U,)  people in the row; fractions, where a row is what can be expected of it
    task_weights  (U, T) or (1, T) if the same for all: probability that a request is of each task; None: one
                  task
    budget        (U,)  most that a query may cost, USD; None: no limit
    inertia       (U,)  USD per query by which staying with the last provider is preferred; None: none
    last_provider (U,)  whom each row last bought from, OUTSIDE for nobody; part of a round's state, as is
    estimates     (T, N, U)  what each row believes it nets from each provider, USD; None: they know
    """

    value_scale: Array
    beta: Array
    size: Array
    task_weights: Array | None = None
    budget: Array | None = None
    inertia: Array | None = None
    last_provider: Array | None = None
    estimates: Array | None = None

    @cached_property
    def n_people(self) -> float:
        """Requests a round; a fraction where a row stands for what it can be expected to ask."""
        return float(self.size.sum())

    @cached_property
    def mean_scale(self) -> float:
        """Mean value_scale of the people; of the rows, where nobody asks."""
        if self.n_people == 0:
            return float(self.value_scale.mean())
        return float((self.value_scale * self.size).sum() / self.n_people)

    @cached_property
    def weights(self) -> Array:
        """Each row's share of the people, (U,); zeros where nobody asks."""
        return self.size / self.n_people if self.n_people > 0 else np.zeros(len(self.size))

    @cached_property
    def individuals(self) -> bool:
        """Whether every row is one person at most."""
        return bool((self.size <= 1).all())

    @cached_property
    def informed(self) -> bool:
        """Whether users choose by what offers are truly worth to them, and among all of them."""
        return self.estimates is None and self.budget is None and self.inertia is None

    @cached_property
    def alike(self) -> bool:
        """Whether all users are of one type and choose by the same values."""
        return self.informed and self.same_type

    @cached_property
    def same_type(self) -> bool:
        """Whether all users have the same value_scale and beta."""
        return bool((self.beta == self.beta[0]).all() and (self.value_scale == self.value_scale[0]).all())

    def chance_of_task(self, task: int) -> Array | float:
        """Probability that a request of each row is of that task, (U,), or one number for all."""
        if self.task_weights is None:
            return 1.0
        column = self.task_weights[:, task]
        return float(column[0]) if len(column) == 1 else column

    def asking(self, task: int) -> "UserPopulation":
        """The same users weighted by how often they ask for a task; themselves where there is one."""
        if self.task_weights is None:
            return self
        return replace(self, size=self.size * self.chance_of_task(task))

    def facing(self, providers: Array, n_providers: int) -> "UserPopulation":
        """What they remember and believe of some of the N providers only, by index."""
        if len(providers) == n_providers:
            return self
        place = np.full(n_providers + 1, -1, dtype=np.int16)  # the last entry is that of OUTSIDE
        place[providers] = np.arange(len(providers))
        last, estimates = self.last_provider, self.estimates
        return replace(
            self,
            last_provider=None if last is None else place[last],
            estimates=None if estimates is None else estimates[:, providers],
        )

    def rows(self, rows: Array) -> "UserPopulation":
        """Some of the rows, in the order given."""

        def part(table: Array | None) -> Array | None:
            return None if table is None else table[..., rows]

        weights = self.task_weights
        return replace(
            self,
            value_scale=self.value_scale[rows],
            beta=self.beta[rows],
            size=self.size[rows],
            task_weights=weights if weights is None or len(weights) == 1 else weights[rows],
            budget=part(self.budget),
            inertia=part(self.inertia),
            last_provider=part(self.last_provider),
            estimates=part(self.estimates),
        )


def alike_users(count: int, beta: float, value_scale: float = 1.0) -> UserPopulation:
    """`count` individuals of one type."""
    return UserPopulation(
        value_scale=np.full(count, float(value_scale)),
        beta=np.full(count, float(beta)),
        size=np.ones(count, dtype=np.int64),
    )


def continuum(count: int, beta: float) -> UserPopulation:
    """The same users as one row that stands for all: what expected demand needs of them."""
    return UserPopulation(value_scale=np.ones(1), beta=np.array([float(beta)]), size=np.array([count]))


def user_types(users: UserPopulation) -> tuple[Array, Array, Array]:
    """The different (value_scale, beta) among the users and the people of each: three arrays (types,)."""
    if users.same_type:
        return users.value_scale[:1], users.beta[:1], np.array([float(users.n_people)])
    pairs, row = np.unique(np.column_stack([users.value_scale, users.beta]), axis=0, return_inverse=True)
    return pairs[:, 0], pairs[:, 1], np.bincount(row.ravel(), weights=users.size)


@dataclass(frozen=True, kw_only=True, eq=False)
class Market:
    """Everything that is given when a round begins: T tasks, N providers, up to K compute levels.

    tasks             T names (benchmarks)
    providers         N names;  methods  N names
    compute_level     (T, N, K)  samples, or bin of reasoning effort
    offered           (T, N, K)  False where a provider has fewer levels (those entries repeat its last)
    accuracy          (T, N, K)  fraction
    satisfaction      (T, N, K)  f(accuracy)
    tokens            (T, N, K)  per query
    price             (T, N, K)  pay-per-compute price, USD per query
    cost              (T, N, K)  USD per query
    value_of_correct  (T,)       alpha, USD
    baseline          ()         b: share of alpha that any answer is worth
    outside_value     ()         V_0, USD per query
    """

    tasks: tuple[str, ...]
    providers: tuple[str, ...]
    methods: tuple[str, ...]
    compute_level: Array
    offered: Array
    accuracy: Array
    satisfaction: Array
    tokens: Array
    price: Array
    cost: Array
    value_of_correct: Array
    baseline: float
    outside_value: float

    def only(self, providers: Array) -> "Market":
        """The same market with some of its providers, by index; itself where they are all."""
        if len(providers) == self.n_providers:
            return self
        return _with_providers(self, tuple(np.asarray(providers).tolist()))

    def of_task(self, task: int) -> "Market":
        """The market of one of its tasks; itself where there is one."""
        if self.n_tasks == 1:
            return self
        tables: dict[str, Any] = {name: getattr(self, name)[task : task + 1] for name in _TABLES}
        worth = self.value_of_correct[task : task + 1]
        return replace(self, tasks=self.tasks[task : task + 1], value_of_correct=worth, **tables)

    @property
    def n_tasks(self) -> int:
        return len(self.tasks)

    @property
    def n_providers(self) -> int:
        return len(self.providers)

    @cached_property
    def worth(self) -> Array:
        """b + (1 - b) f(a): quality per USD of value of a correct answer, (T, N, K)."""
        return self.baseline + (1.0 - self.baseline) * self.satisfaction

    def quality(self, task: int = 0) -> Array:
        """q: what an answer is worth to a user of value_scale 1, USD per query, (N, K)."""
        return self.value_of_correct[task] * self.worth[task]


@lru_cache(maxsize=128)
def _with_providers(market: Market, rows: tuple[int, ...]) -> Market:
    """Remembered, because what is worked out for a market is remembered by the market."""
    at = list(rows)
    tables: dict[str, Any] = {name: getattr(market, name)[:, at] for name in _TABLES}
    names, methods = (tuple(all_[i] for i in at) for all_ in (market.providers, market.methods))
    return replace(market, providers=names, methods=methods, **tables)


def _padded(row: Array, length: int) -> Array:
    """A row with its last entry repeated up to a length."""
    return row if len(row) == length else np.concatenate([row, np.full(length - len(row), row[-1])])


_TABLES = ("compute_level", "offered", "accuracy", "satisfaction", "tokens", "price", "cost")


def games_of(market: Market, task: int, betas: Array, value_scale: Array | float = 1.0) -> Game:
    """The pay-per-compute games of users of one type, for rationalities (and scales) of shape (...)."""
    price = market.price[task]
    scale = np.asarray(value_scale, dtype=float)[..., None, None]
    return make_game(
        scale * market.quality(task) - price,
        price - market.cost[task],
        betas,
        market.outside_value,
        market.offered[task],
    )


def provider_names(curves: Sequence[QualityCurve]) -> list[str]:
    """What the providers of some curves are called: by their model, and its method if it has several here."""
    times = Counter(curve.model for curve in curves)
    return [f"{curve.model} ({curve.method})" if times[curve.model] > 1 else curve.model for curve in curves]


def make_providers(
    curves: list[QualityCurve],
    *,
    where: str,
    prices: Mapping[str, float] | None = None,
    margin: float | Mapping[str, float] = PAPER_MARGIN,
) -> list[Provider]:
    """One provider per curve.

    where   names the place in error sentences, "file.toml: market"
    prices  USD per million tokens by model, before the bundled ones
    margin  one for all, or by model (then every model must be there)
    Raises InputError for a model without a price or margin.
    """
    known = {**bundled_prices(), **(prices or {})}
    models = dict.fromkeys(curve.model for curve in curves)
    for key, table in (("prices", prices), ("margin", margin)):
        for name in table if isinstance(table, Mapping) else ():
            if name not in models:
                raise InputError(
                    f"{where}.{key} names {name!r}, which serves nothing here{nearest(name, models)}"
                )
    providers = []
    names = provider_names(curves)
    for name, curve in zip(names, curves, strict=True):
        if curve.model not in known:
            paper, hint = paper_name(curve.model), nearest(curve.model, known)
            if paper is not None:
                hint = (
                    f" (the paper's {paper}? curves built with --rename {curve.model}={paper} have its price)"
                )
            raise InputError(
                f"{where}: there is no price for model {curve.model!r}; "
                f"give one, USD per million tokens, in its prices{hint}"
            )
        if isinstance(margin, Mapping) and curve.model not in margin:
            raise InputError(
                f"{where}.margin has no entry for model {curve.model!r}; by model, it needs one for each"
            )
        mu = float(margin[curve.model] if isinstance(margin, Mapping) else margin)
        price = curve.tokens_per_query * float(known[curve.model]) / 1e6
        if not (price - price / (1.0 + mu) > 0).all():
            raise InputError(
                f"{where}.margin {mu:g} at {known[curve.model]:g} USD per million tokens is too small to "
                f"tell {curve.model}'s price from its cost"
            )
        providers.append(
            Provider(
                name=name,
                curve=curve,
                price_usd_per_million=float(known[curve.model]),
                margin=mu,
            )
        )
    for name, times in Counter(names).items():
        if times > 1:
            raise InputError(f"{where}: two providers would be called {name!r}; rename a model")
    return providers


MOST_DECISIVE = 1e7
"""The largest beta times a value: beyond it the digits of a float no longer tell utilities apart."""


def check_decisive(market: Market, betas: Array, value_scale: Array | float, where: str) -> None:
    """Raise InputError where beta is too large for the values at stake to be told apart in the logit."""
    quality = np.max(market.value_of_correct) * np.max(market.worth) * np.asarray(value_scale)
    stake = np.maximum(quality, max(float(market.price.max()), abs(market.outside_value)))
    if (largest := float(np.max(np.asarray(betas) * stake))) > MOST_DECISIVE:
        raise InputError(
            f"{where}: beta times the largest value, price or outside value is {largest:.3g}; at most "
            f"{MOST_DECISIVE:g} is allowed (choices are certain long before)"
        )


def make_market(
    providers: Sequence[Provider] | Sequence[list[Provider]],
    *,
    value_of_correct_usd: float | Sequence[float],
    baseline: float = PAPER_BASELINE,
    quality_curve: str = "linear",
    outside_value_usd: float = 0.0,
    levels: int = 0,
) -> Market:
    """The arrays of a market.  Providers with fewer levels than others are padded with their last one.

    providers             of one task, or a list for each task with the same names in the same order
    value_of_correct_usd  of the task, or of each
    levels                room for at least so many
    """
    by_task: list[list[Provider]] = [[p] if isinstance(p, Provider) else p for p in providers]
    if isinstance(providers[0], Provider):
        by_task = [[provider for task in by_task for provider in task]]
    first = by_task[0]
    most = max(levels, *(len(provider.curve.compute_level) for task in by_task for provider in task))

    def table(name: str) -> Array:
        return np.array([[_padded(getattr(one.curve, name), most) for one in task] for task in by_task])

    tokens, accuracy = table("tokens_per_query"), table("accuracy")
    usd_per_token = np.array([provider.price_usd_per_million for provider in first]) / 1e6
    price = tokens * usd_per_token[:, None]
    margin = np.array([provider.margin for provider in first])
    counts = np.array([[len(provider.curve.compute_level) for provider in task] for task in by_task])
    market = Market(
        tasks=tuple(task[0].curve.benchmark for task in by_task),
        providers=tuple(provider.name for provider in first),
        methods=tuple(provider.curve.method for provider in first),
        compute_level=table("compute_level"),
        offered=np.arange(most) < counts[..., None],
        accuracy=accuracy,
        satisfaction=QUALITY_CURVES[quality_curve](accuracy),
        tokens=tokens,
        price=price,
        cost=price / (1.0 + margin[:, None]),
        value_of_correct=np.broadcast_to(value_of_correct_usd, len(by_task)).astype(float),
        baseline=baseline,
        outside_value=outside_value_usd,
    )
    for array in vars(market).values():
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    return market

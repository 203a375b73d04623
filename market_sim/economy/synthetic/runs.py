"""Drawing synthetic samples and writing them as files in the published format (docs/formats.md).

    for path in write_runs(laws_of("GSM8K"), "folder", n_questions=1319, n_samples=128, seed=1): ...

One file per model, `synthetic-<model>--temp-<t>--samples-<n>--max-<tokens>.jsonl`, one line per question,
each with "synthetic": true and model names that say so.  Memory holds one block of questions.  Every number
comes from a named stream (theory/streams.py): the same seed gives the same bytes, and a question has the
same samples however many follow it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.special import ndtri

from market_sim.economy.synthetic.law import (
    FIFTHS,
    GAPS,
    GRADES,
    LOADING,
    PULLS,
    SILENCES,
    Law,
    laws_of,
)
from market_sim.economy.synthetic.truth import REWARDS, STEPS_PER_DEVIATION
from market_sim.errors import InputError
from market_sim.theory.arrays import Array
from market_sim.theory.streams import Role, stream

TokenForm = Literal["total", "thinking_and_total"]
"""How `num_tokens` is written: one number per sample, or a pair [thinking, total]."""

BLOCK = 128
"""Questions drawn at once.  Part of the seed: never change."""

RANKS = (GRADES, SILENCES, PULLS, GAPS)

PRIME = 997
"""Numbers given as answers are below it, as AIME's are below 1,000."""

UNIFORMS = ("effort", "answer", "cut", "idle", "reward", "spelling", "rounding")
"""What a sample draws, in this order."""

TEXT = "This sentence is synthetic and stands for what a model would have written. "


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples of some questions, as numbers.

    answer     (Q, S) int   0 the right one, 1, 2, 3 the wrong ones that come again, 4 + s the stray one of
                            sample s; UNREADABLE where no answer can be read
    right      (Q, S) bool  marked right
    tokens     (Q, S) int   all tokens
    thinking   (Q, S) int   those of thinking
    reward     (Q, S) int   in steps of the reward model
    spelled    (Q, S) bool  the number is written with a decimal
    """

    answer: Array
    right: Array
    tokens: Array
    thinking: Array
    reward: Array
    spelled: Array


UNREADABLE = -1


def draw_ranks(law: Law, n_questions: int, seed: int) -> Array:
    """Grade, silence, pull and gap of every question for one model, (n_questions, 4) of ints."""
    common = stream(seed, Role.SYNTHETIC_QUESTIONS, law.benchmark)
    own = stream(seed, Role.SYNTHETIC_QUESTIONS, f"{law.benchmark}/{law.model}")
    shape = (n_questions, len(RANKS))
    deviate = LOADING * _normal(common.random(shape)) + (1 - LOADING**2) ** 0.5 * _normal(own.random(shape))
    ladder = [_normal(np.arange(1, n_ranks) / n_ranks) for n_ranks in RANKS]
    return np.stack([np.searchsorted(steps, deviate[:, i]) for i, steps in enumerate(ladder)], axis=-1)


def draw_samples(law: Law, ranks: Array, uniforms: Array) -> Samples:
    """The samples of some questions.

    ranks      (Q, 4) int
    uniforms   (Q, len(UNIFORMS), S) in [0, 1)
    """
    n_samples = uniforms.shape[-1]
    v, answer, cut, idle, reward, spelling, rounding = np.moveaxis(uniforms, 1, 0)
    grade, silence, pull, gap = (ranks[:, i] for i in range(4))
    fifth = np.minimum((FIFTHS * v).astype(int), FIFTHS - 1)

    # One uniform number finds the answer: right, wrong 1, 2, ..., unreadable but marked right, unreadable.
    right_odds = law.right[grade[:, None], fifth]
    readable = 1 - law.silent[grade, silence][:, None]
    right = answer < readable * right_odds
    shares = np.cumsum(law.wrong[pull], axis=-1)
    place = 1 + sum(
        (answer >= readable * (right_odds + (1 - right_odds) * shares[:, j, None])).astype(int)
        for j in range(shares.shape[-1] - 1)
    )
    if law.answers == "numbers":
        place = np.where(place == shares.shape[-1], place + np.arange(n_samples), place)
    unreadable = answer >= readable
    place = np.where(right, 0, np.where(unreadable, UNREADABLE, place))
    right |= unreadable & (answer < readable + (1 - readable) * law.silent_right * right_odds)

    cut_off = unreadable & ~right & (cut < law.cut_off)
    length = law.length[grade][:, None]
    thinking = length * law.thinking(v)
    after = length * law.answer_tokens[fifth]
    thinking = np.where(idle < law.unthinking, 5.0, thinking)
    tokens = np.where(cut_off, law.max_tokens, np.floor(thinking + after + rounding))
    deviate = _normal(reward)
    merit = np.where(right, law.gap[grade, gap][:, None] + law.reward_scale * deviate, deviate)
    steps = np.floor(STEPS_PER_DEVIATION * merit + 0.5)
    return Samples(
        answer=place,
        right=right,
        tokens=tokens.astype(int),
        thinking=np.where(cut_off, 0, thinking).astype(int),
        reward=np.clip(steps, REWARDS[0], REWARDS[-1]).astype(int),
        spelled=spelling < 0.1,
    )


def sample_blocks(law: Law, *, n_questions: int, n_samples: int, seed: int) -> Iterator[tuple[int, Samples]]:
    """Blocks of questions: the number of the first, and their samples."""
    ranks = draw_ranks(law, n_questions, seed)
    for block, first in enumerate(range(0, n_questions, BLOCK)):
        here = ranks[first : first + BLOCK]
        numbers = stream(seed, Role.SYNTHETIC_SAMPLES, f"{law.benchmark}/{law.model}", block)
        yield first, draw_samples(law, here, numbers.random((len(here), len(UNIFORMS), n_samples)))


def write_runs(
    laws: Sequence[Law],
    folder: Path | str,
    *,
    n_questions: int,
    n_samples: int | None = None,
    seed: int,
    token_form: TokenForm | None = None,
    characters_per_token: int = 0,
) -> Iterator[Path]:
    """Write the runs of some models on the same questions, one file each; gives each path when it is written.

    n_samples              samples per question; None: as many as the published run had
    token_form             None: a pair for models whose effort is at work, else the total
    characters_per_token   length of the made-up text of each sample, field "answers"; 0 leaves the field out
    Raises InputError for numbers that no run can have.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for law in laws:
        samples = law.n_samples if n_samples is None else n_samples
        _check(law, n_questions, samples, characters_per_token)
        form = token_form or ("thinking_and_total" if np.ptp(law.effort) else "total")
        name = f"{law.name}--temp-{law.temperature:g}--samples-{samples}--max-{law.max_tokens}.jsonl"
        with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
            for line in lines(
                law,
                n_questions=n_questions,
                n_samples=samples,
                seed=seed,
                token_form=form,
                characters_per_token=characters_per_token,
            ):
                file.write(line)
        yield folder / name


def lines(
    law: Law,
    *,
    n_questions: int,
    n_samples: int,
    seed: int,
    token_form: TokenForm,
    characters_per_token: int = 0,
) -> Iterator[str]:
    """The lines of one model's file, in the published format."""
    keys = stream(seed, Role.SYNTHETIC_QUESTIONS, f"{law.benchmark}/answers").random((n_questions, 4))
    filler = TEXT * (1 + law.max_tokens * characters_per_token // len(TEXT))
    names = {
        "model_name": f"synthetic: no model, drawn from a law fitted to {law.model}'s published curves",
        "reward_model_name": "synthetic",
    }
    tail = json.dumps(names)[1:]
    for first, samples in sample_blocks(law, n_questions=n_questions, n_samples=n_samples, seed=seed):
        answers = _answers(law, keys[first : first + BLOCK])
        for i, possible in enumerate(answers):
            tokens = samples.tokens[i].tolist()
            written = (
                list(zip(samples.thinking[i].tolist(), tokens, strict=True))
                if token_form == "thinking_and_total"
                else tokens
            )
            right = ", ".join(["true" if yes else "false" for yes in samples.right[i].tolist()])
            head = f'{{"synthetic": true, "qid": "synthetic-{law.benchmark.lower()}-{first + i + 1}", '
            if characters_per_token:
                ends = [f'"{filler[: characters_per_token * count]}\\n"' for count in tokens]
                head += f'"answers": [{", ".join(ends)}], '
            told = ", ".join(_explanations(law, samples, i, possible))
            counts = repr(written).replace("(", "[").replace(")", "]")
            rewards = (0.0625 + (samples.reward[i] - REWARDS[0]) / 2048).tolist()
            yield (
                f'{head}"correct": [{right}], "explanations": [{told}], "num_tokens": {counts}, '
                f'"rewards": {rewards}, "ground_truths": ["{possible[0]}"], {tail}\n'
            )


def _explanations(law: Law, samples: Samples, i: int, possible: Array) -> list[str]:
    """What the checker said about every sample of a question, as JSON strings."""
    truth = possible[0]
    given = samples.answer[i]
    if law.answers == "letters":
        told = [f"\"parsed='{letter}'; truth='{truth}'\"" for letter in possible]
        told.append(f"\"no 'Answer: [A-D]' pattern found; truth='{truth}'\"")
        return [told[place] for place in given.tolist()]
    silence = f"\"no numeric content found; truth='{truth}'\""
    end = f"'; synthetic; truth='{truth}'\""
    return [
        f"\"boxed='{value}{'.0' if spelled else ''}{end}" if place >= 0 else silence
        for place, value, spelled in zip(
            given.tolist(), possible[given].tolist(), samples.spelled[i].tolist(), strict=True
        )
    ]


def _answers(law: Law, uniforms: Array) -> Array:
    """What place 0, 1, 2, ... of every question stands for; the same for all models.

    uniforms  (Q, 4)
    Letters: (Q, 4), an order of A, B, C, D.  Numbers: (Q, P), the multiples of a stride modulo a prime P,
    shifted, so that no two of a question are equal.
    """
    if law.answers == "letters":
        return np.array(list("ABCD"))[np.argsort(uniforms, axis=-1)]
    start = (uniforms[:, :1] * PRIME).astype(int)
    stride = 1 + (uniforms[:, 1:2] * (PRIME - 1)).astype(int)
    return (start + stride * np.arange(PRIME)) % PRIME


def _normal(uniforms: Array) -> Array:
    return ndtri(np.maximum(uniforms, 2.0**-54))  # a draw of exactly 0 would be a deviate of -inf


def _check(law: Law, n_questions: int, n_samples: int, characters_per_token: int) -> None:
    most = PRIME - law.wrong.shape[-1] - 1
    for name, got, least, highest in (
        ("n_questions", n_questions, 1, 10**6),
        ("n_samples", n_samples, 1, most),
        ("characters_per_token", characters_per_token, 0, 100),
    ):
        if not least <= got <= highest:
            raise InputError(f"synthetic runs: {name} = {got} is not between {least} and {highest:,}")


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m market_sim.economy.synthetic.runs`: write the runs of a benchmark's models to a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m market_sim.economy.synthetic.runs", description=main.__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--benchmark", default="GSM8K", help="one of the bundled ones")
    parser.add_argument("--models", nargs="*", help="left out: all of the benchmark")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--samples", type=int, help="left out: as many as the published runs had")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", choices=("total", "thinking_and_total"), help="left out: as published")
    parser.add_argument("--characters-per-token", type=int, default=0, help="length of the made-up answers")
    given = parser.parse_args(arguments)
    try:
        for path in write_runs(
            laws_of(given.benchmark, tuple(given.models) if given.models else None),
            given.folder,
            n_questions=given.questions,
            n_samples=given.samples,
            seed=given.seed,
            token_form=given.tokens,
            characters_per_token=given.characters_per_token,
        ):
            print(path)
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

"""Synthetic runs: labelled, in the published format, the same for the same seed, and true to their law."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from market_sim.economy.quality import bundled_curves
from market_sim.economy.synthetic.fit import fit_errors, fit_law
from market_sim.economy.synthetic.law import GRADES, LOADING, PREFIX, bundled_laws, deviates, laws_of
from market_sim.economy.synthetic.runs import (
    UNREADABLE,
    Samples,
    draw_ranks,
    draw_samples,
    lines,
    main,
    sample_blocks,
    write_runs,
)
from market_sim.economy.synthetic.truth import COUNTED, accuracy_of, mean_tokens, true_curve
from market_sim.errors import InputError
from market_sim.theory.estimators import UNPARSED, best_of_n, majority_voting
from tests.monte_carlo import monte_carlo

SETTINGS = sorted(bundled_laws())
ANSWER = re.compile(r"[^=]*='([^']*)'.*truth='([^']*)'")


def published(benchmark: str, model: str) -> dict:
    return {c.method: c for c in bundled_curves() if (c.benchmark, c.model) == (benchmark, model)}


def records(law, **wanted) -> list[dict]:
    how = {"n_questions": 30, "n_samples": 40, "seed": 5, "token_form": "total", **wanted}
    return [json.loads(line) for line in lines(law, **how)]


def drawn(law, n_questions: int, n_samples: int, seed: int = 1) -> Samples:
    blocks = [s for _, s in sample_blocks(law, n_questions=n_questions, n_samples=n_samples, seed=seed)]
    return Samples(
        **{name: np.concatenate([getattr(block, name) for block in blocks]) for name in vars(blocks[0])}
    )


# --- What is written --------------------------------------------------------------------------------


@pytest.mark.parametrize("questions", ["GSM8K", "AIME", "GPQA"])
def test_everything_written_says_that_it_is_synthetic(questions, tmp_path):
    for path in write_runs(laws_of(questions), tmp_path, n_questions=2, n_samples=4, seed=1):
        assert path.name.startswith("synthetic-")
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            assert record["synthetic"] is True
            for name in ("qid", "model_name", "reward_model_name"):
                assert record[name].startswith("synthetic")
    assert all(true_curve(law, "first_sample", (1,)).model.startswith(PREFIX) for law in laws_of(questions))


def test_a_file_is_named_as_the_published_ones_are(tmp_path):
    laws = laws_of("GSM8K", ("Llama-3-8B", "R1-D-Qwen-7B"))
    names = [path.name for path in write_runs(laws, tmp_path, n_questions=1, seed=1)]
    assert names == [
        "synthetic-Llama-3-8B--temp-0.6--samples-128--max-512.jsonl",
        "synthetic-R1-D-Qwen-7B--temp-0.6--samples-32--max-2048.jsonl",
    ]


@pytest.mark.parametrize("setting", SETTINGS, ids="-".join)
def test_every_record_has_the_published_fields_one_entry_per_sample(setting):
    law = bundled_laws()[setting]
    for record in records(law, token_form="thinking_and_total"):
        assert {"qid", "explanations", "correct", "rewards", "num_tokens", "ground_truths"} < set(record)
        for name in ("explanations", "correct", "rewards", "num_tokens"):
            assert len(record[name]) == 40
        assert all(type(right) is bool for right in record["correct"])
        for thinking, total in record["num_tokens"]:
            cut_off = total == law.max_tokens
            assert thinking == 0 if cut_off else 5 <= thinking < total < law.max_tokens
    assert all(0 < tokens <= law.max_tokens for tokens in records(law)[0]["num_tokens"])


@pytest.mark.parametrize("setting", SETTINGS, ids="-".join)
def test_a_readable_answer_is_marked_right_exactly_where_it_is_the_truth(setting):
    law = bundled_laws()[setting]
    silence = {
        "letters": "no 'Answer: [A-D]' pattern found",
        "numbers": "no numeric content found",
    }[law.answers]
    marked = 0
    for record in records(law):
        (truth,) = record["ground_truths"]
        for told, right in zip(record["explanations"], record["correct"], strict=True):
            if told.startswith(silence):
                marked += right
                assert told == f"{silence}; truth='{truth}'"
                continue
            answer, written = ANSWER.fullmatch(told).groups()
            assert written == truth
            if law.answers == "letters":
                assert answer in set("ABCD")
                assert (answer == truth) == right
            else:
                assert (float(answer) == float(truth)) == right
    assert marked == 0 or law.silent_right > 0


def test_a_question_has_one_truth_whatever_the_model():
    first, second = (
        [record["ground_truths"] for record in records(law)]
        for law in laws_of("AIME", ("Llama-3-8B", "Qwen2-7B"))
    )
    assert first == second
    assert len({truth for (truth,) in first}) > 20


def test_the_same_number_is_written_in_two_ways():
    (law,) = laws_of("GSM8K", ("Qwen2.5-7B",))
    told = [text for record in records(law) for text in record["explanations"]]
    assert 0.05 < np.mean([".0'" in text for text in told]) < 0.15


def test_made_up_texts_are_as_long_as_the_tokens_say():
    (law,) = laws_of("GPQA", ("Qwen2-0.5B",))
    for record in records(law, n_questions=3, characters_per_token=4):
        assert [len(text) - 1 for text in record["answers"]] == [4 * n for n in record["num_tokens"]]
        assert all("synthetic" in text for text in record["answers"])
    assert "answers" not in records(law)[0]


# --- Seeds ------------------------------------------------------------------------------------------


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path):
    (law,) = laws_of("GPQA", ("Qwen2-7B",))
    written = [
        next(write_runs([law], tmp_path / str(i), n_questions=20, n_samples=16, seed=seed)).read_bytes()
        for i, seed in enumerate((1, 1, 2))
    ]
    assert written[0] == written[1] != written[2]


def test_more_questions_leave_the_first_ones_as_they_were():
    (law,) = laws_of("GSM8K", ("Llama-3.2-1B",))
    assert records(law, n_questions=150)[:30] == records(law, n_questions=30)


def test_another_model_beside_it_moves_nothing(tmp_path):
    law, other = laws_of("GSM8K", ("Llama-3.2-1B", "Qwen2-7B"))
    both = list(write_runs([other, law], tmp_path / "both", n_questions=5, seed=1))[1]
    alone = next(write_runs([law], tmp_path / "alone", n_questions=5, seed=1))
    assert both.read_bytes() == alone.read_bytes()


# --- The law ----------------------------------------------------------------------------------------


def test_hard_questions_are_hard_for_everybody():
    """Deviates of two models are correlated by the square of the loading; ranks are equally likely."""
    n = 20_000
    first, second = (draw_ranks(law, n, 3) for law in laws_of("GSM8K", ("Llama-3-8B", "Qwen2.5-7B")))
    for i in range(4):  # a few ranks show a little less of the correlation than the deviates have
        assert LOADING**2 - 0.15 < np.corrcoef(first[:, i], second[:, i])[0, 1] < LOADING**2 + 4 / n**0.5
    scores = [deviates(GRADES)[ranks[:, 0]] for ranks in (first, second)]
    assert abs(np.corrcoef(scores)[0, 1] - LOADING**2) < 4 / n**0.5
    assert abs(np.corrcoef(first[:, 0], first[:, 1])[0, 1]) < 4 / n**0.5
    share = np.bincount(first[:, 0], minlength=GRADES) / n
    assert np.abs(share - 1 / GRADES).max() < 5 * (0.01 / n) ** 0.5


def test_stray_answers_all_differ_and_the_others_come_again():
    (law,) = laws_of("AIME", ("Llama-3.2-1B",))
    given = drawn(law, 200, 64).answer
    assert given.min() == UNREADABLE
    for answers in given:
        stray = answers[answers > 3]
        assert len(set(stray)) == len(stray)
    assert {1, 2, 3} < set(given.ravel())


def test_rewards_tie_and_tell_right_from_wrong():
    (law,) = laws_of("GSM8K", ("Qwen2-0.5B",))
    samples = drawn(law, 300, 64)
    assert samples.reward[samples.right].mean() > samples.reward[~samples.right].mean()
    assert all(len(set(rewards)) < 64 for rewards in samples.reward)


def test_hard_questions_take_more_tokens():
    (law,) = laws_of("GSM8K", ("Qwen2.5-3B",))
    uniforms = np.random.default_rng(0).random((2, 7, 2000))
    uniforms[1] = uniforms[0]
    hard, easy = draw_samples(law, np.array([[0, 2, 1, 2], [99, 2, 1, 2]]), uniforms).tokens
    assert (hard >= easy).all()
    assert hard.mean() > 1.2 * easy.mean()


def test_a_law_that_cannot_be_drawn_from_is_refused():
    law = bundled_laws()["GSM8K", "Llama-3-8B"]
    for change, sentence in (
        ({"reward_scale": 0.0}, "reward_scale = 0.0 is not above 0"),
        ({"cut_off": 1.5}, "cut_off = 1.5 is not between 0 and 1"),
        ({"thinking_high": 600.0}, "break the limit 512"),
        ({"thinking_low": 1.0}, "must think for 6 tokens"),
        ({"effort_2": 1.0, "silent_right": 0.5}, "cannot both be at work"),
    ):
        with pytest.raises(InputError, match=sentence):
            replace(law, **change)


# --- The truth --------------------------------------------------------------------------------------


def votes(answer: np.ndarray) -> np.ndarray:
    """Whether the right answer wins, its share of a tie, question by question: counted in plain loops."""
    share = np.zeros(len(answer))
    for q, row in enumerate(answer.tolist()):
        read = [place for place in row if place != UNREADABLE]
        top = max((read.count(place) for place in read), default=0)
        winners = {place for place in read if read.count(place) == top}
        share[q] = (0 in winners) / max(len(winners), 1)
    return share


def observed(samples: Samples, method: str, n: int) -> np.ndarray:
    """What n independent samples of each question give, (Q,)."""
    right, reward = samples.right[:, :n], samples.reward[:, :n]
    if method == "majority_voting":
        return votes(samples.answer[:, :n])
    if method == "best_of_n":
        best = reward == reward.max(axis=1, keepdims=True)
        return (right & best).sum(axis=1) / best.sum(axis=1)
    return right.any(axis=1).astype(float) if method == "pass_at_k" else right[:, 0].astype(float)


@pytest.mark.parametrize(
    "setting",
    [
        ("GSM8K", "Llama-3-8B"),
        ("AIME", "Llama-3.1-8B"),
        ("GPQA", "Qwen2-0.5B"),
        ("GPQA", "R1-D-Qwen-7B"),
    ],
)
def test_the_truth_is_what_simulated_samples_show(setting):
    law = bundled_laws()[setting]
    levels = (1, 2, 5, 16)
    samples = drawn(law, 6000, max(levels), seed=8)
    for method in COUNTED:
        truth = true_curve(law, method, levels)
        for n, expected in zip(levels, truth.accuracy, strict=True):
            seen = observed(samples, method, n)
            error = max(seen.std(), 0.01) / len(seen) ** 0.5
            assert abs(seen.mean() - expected) < 4 * error, (method, n)
        np.testing.assert_allclose(truth.tokens_per_query, np.array(levels) * mean_tokens(law))
    tokens = samples.tokens.mean(axis=1)
    assert abs(tokens.mean() - mean_tokens(law)) < 4 * tokens.std() / len(tokens) ** 0.5


@pytest.mark.parametrize("bins", [5, 3])
@pytest.mark.parametrize(
    ("setting", "n_samples"),
    [(("AIME", "R1-D-Llama-8B"), 32), (("GPQA", "R1-D-Qwen-7B"), 9), (("GSM8K", "Llama-3-8B"), 12)],
)
def test_the_truth_of_effort_is_what_binned_samples_show(setting, n_samples, bins):
    law = replace(bundled_laws()[setting], n_samples=n_samples)
    samples = drawn(law, 6000, n_samples, seed=4)
    truth = true_curve(law, "reasoning_effort", tuple(range(1, bins + 1)))
    kept = (samples.tokens < law.max_tokens) & (samples.thinking > 5)
    order = np.argsort(np.where(kept, samples.thinking, 10**6), axis=1, kind="stable")
    rank = np.argsort(order, axis=1)
    last = np.maximum(kept.sum(axis=1, keepdims=True) - 1, 1)
    place = np.minimum(rank * bins // last, bins - 1)
    for b in range(bins):
        here = kept & (place == b)
        for amount, expected in (
            (samples.right, truth.accuracy[b]),
            (samples.tokens, truth.tokens_per_query[b]),
        ):
            off = np.where(here, amount - expected, 0.0).sum(axis=1) / here.sum(axis=1).mean()
            assert abs(off.mean()) < 4 * off.std() / len(off) ** 0.5


def test_the_truth_of_a_method_nobody_knows_is_refused():
    with pytest.raises(InputError, match=r"method = 'best_of' is not one of .*did you mean best_of_n"):
        true_curve(laws_of("GSM8K")[0], "best_of", (1,))


# --- The fit ----------------------------------------------------------------------------------------


def test_every_bundled_setting_has_a_law():
    assert set(SETTINGS) == {(c.benchmark, c.model) for c in bundled_curves()}


@pytest.mark.parametrize("setting", SETTINGS, ids="-".join)
def test_the_exact_curves_of_a_law_are_the_published_ones(setting):
    """Within 0.008 of accuracy everywhere, and 2 % of tokens; docs/synthetic.md lists them."""
    errors = fit_errors(bundled_laws()[setting], published(*setting))
    assert max(error for name, error in errors.items() if not name.endswith("tokens")) < 0.008
    assert max(error for name, error in errors.items() if name.endswith("tokens")) < 0.02


@pytest.mark.parametrize("setting", [("GSM8K", "R1-D-Qwen-1.5B"), ("GPQA", "R1-D-Llama-8B")])
def test_fitting_again_gives_the_law_of_the_table(setting):
    again, law = fit_law(published(*setting)), bundled_laws()[setting]
    for name, value in vars(law).items():
        if isinstance(value, float):
            assert getattr(again, name) == pytest.approx(value, rel=1e-3, abs=1e-3), name


def test_a_big_synthetic_sample_has_the_published_accuracy():
    """First samples of 4,000 questions, the vote of 16 and the best of 16, against the bundled curves."""
    setting = ("GSM8K", "Qwen2.5-3B")
    samples = drawn(bundled_laws()[setting], 4000, 16, seed=2)
    for method in ("majority_voting", "best_of_n"):
        curve = published(*setting)[method]
        for n in (1, 4, 16):
            seen = observed(samples, method, n)
            want = curve.accuracy[list(curve.compute_level).index(n)]
            assert abs(seen.mean() - want) < 0.003 + 4 * seen.std() / len(seen) ** 0.5


# --- What is refused --------------------------------------------------------------------------------


def test_names_without_a_law_and_sizes_no_run_has_are_refused(tmp_path, capsys):
    with pytest.raises(InputError, match=r"benchmark = 'GSM8' is not one of .*did you mean GSM8K"):
        laws_of("GSM8")
    with pytest.raises(InputError, match=r"models .for AIME. = 'Qwen' is not one of"):
        laws_of("AIME", ("Qwen",))
    for wrong in ({"n_questions": 0}, {"n_samples": 0}, {"n_samples": 995}, {"characters_per_token": -1}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} = .* is not between"):
            list(
                write_runs(
                    laws_of("AIME"), tmp_path, **{"n_questions": 1, "n_samples": 1, "seed": 1, **wrong}
                )
            )
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--benchmark", "MATH"])
    assert "'MATH' is not one of" in capsys.readouterr().err


def test_the_lines_of_python_in_the_documentation_work(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs" / "synthetic.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["synthetic-Llama-3-8B", "synthetic-Qwen2-7B"]
    assert (tmp_path / "my_curves.draws.parquet").exists()


def test_the_module_writes_files_from_the_command_line(tmp_path, capsys):
    main([str(tmp_path), "--models", "Qwen2-7B", "--questions", "3", "--samples", "4"])
    (path,) = tmp_path.iterdir()
    assert capsys.readouterr().out.strip() == str(path)
    assert len(path.read_text().splitlines()) == 3


def test_levels_need_not_be_powers_of_two():
    law = bundled_laws()["GPQA", "Llama-3-8B"]
    accuracy = accuracy_of(law, "pass_at_k", tuple(range(1, 20)))
    assert (np.diff(accuracy) > 0).all()
    assert accuracy_of(law, "best_of_n", (3,)).shape == (1,)


# --- Beside the published algorithm -----------------------------------------------------------------


@pytest.mark.parametrize("benchmark", ["GSM8K", "GPQA"])
@pytest.mark.parametrize("n", [1, 4, 16])
def test_the_published_monte_carlo_scatters_round_the_exact_curves_of_generated_runs(benchmark, n):
    (law,) = laws_of(benchmark, ("Llama-3.2-1B",))
    samples = drawn(law, n_questions=50, n_samples=32)
    answers = np.where(samples.answer == UNREADABLE, UNPARSED, samples.answer)
    rewards, n_draws = samples.reward.astype(float), 1000
    assert (answers == UNPARSED).any()
    assert len(np.unique(rewards)) < rewards.size  # some tie
    vote, best = monte_carlo(samples.right, answers, rewards, n, n_draws, seed=n)
    for found, exact in (
        (vote, majority_voting(samples.right, answers, [n])[:, 0]),
        (best, best_of_n(samples.right, rewards, [n])[:, 0]),
    ):
        error = np.sqrt((exact * (1 - exact)).sum() / n_draws) / len(exact)
        assert abs(found.mean() - exact.mean()) < 4 * error + 1e-12
        assert np.abs(found - exact).max() < 0.1

"""Long arrays piece by piece: every place once, in order, whatever the number of threads."""

import numpy as np
import pytest

from market_sim.theory import blocks as module
from market_sim.theory.blocks import BLOCK, FEW, blocks, over_blocks

MANY = (FEW + 2) * BLOCK + 7


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, MANY])
def test_blocks_cover_every_place_once_and_in_order(n):
    covered = [place for block in blocks(n) for place in range(n)[block]]
    assert covered == list(range(n))


@pytest.mark.parametrize("n", [0, 5, MANY])
def test_answers_come_in_the_order_of_the_blocks(n):
    assert over_blocks(lambda block: block.start, n) == list(range(0, n, BLOCK))


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    numbers = np.random.default_rng(1).random(MANY)
    answers = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(module, "THREADS", threads)
        answers.append(over_blocks(lambda block: np.exp(numbers[block]).sum(), MANY))
    assert answers[0] == answers[1] == answers[2]


def test_an_error_in_a_thread_is_an_error_of_the_call_and_numpy_is_as_strict_there():
    zeros = np.zeros(MANY)
    with pytest.raises(FloatingPointError, match="divide by zero"):
        over_blocks(lambda block: 1.0 / zeros[block], MANY)

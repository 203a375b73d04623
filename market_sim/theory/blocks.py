"""Long arrays worked on piece by piece: small enough for the processor's cache, on all its cores."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

BLOCK = 16384
"""Users worked on at a time: small enough for the processor's cache, large enough to hide the
interpreter.  A constant, because the order in which numbers are added must not depend on the machine."""

THREADS = min(os.cpu_count() or 1, 4)
"""Blocks do not depend on each other, so their number changes the time and nothing else."""

FEW = 8
"""So many blocks are done before a second thread has started."""


def blocks(n: int, size: int | None = None) -> Iterator[slice]:
    """The places 0 to n - 1, `size` (or BLOCK) at a time."""
    size = size or BLOCK
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def over_blocks[T](work: Callable[[slice], T], n: int) -> list[T]:
    """What `work` gives for each block, in their order; on several threads where there are many.

    numpy lets other threads work while it goes through an array.  `work` may write to its own block of
    shared arrays and to nothing else.
    """
    pieces = list(blocks(n))
    if len(pieces) <= FEW or THREADS == 1:
        return [work(piece) for piece in pieces]
    with ThreadPoolExecutor(THREADS) as pool:  # each call in a context of its own: numpy's error state
        return [done.result() for done in [pool.submit(copy_context().run, work, p) for p in pieces]]

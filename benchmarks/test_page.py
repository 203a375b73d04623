"""The page in Chromium: how fast it comes and plays, what an hour takes, ten visitors at once."""

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.conftest import Figures, number, seconds
from benchmarks.markets import SCENARIO
from benchmarks.process_tree import resident
from tests.page.browser import Server, Visitor, chromium, new_context, serving, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

WATCHED_S = 20.0
HOUR = 30_000
"""Rounds: an hour at eight a second."""

MOST_GROWTH_MIB = 50.0
"""The bound: what the server and the browser each may grow by in an hour of play."""

VISITORS = 10

COUNT_FRAMES = """() => {
  window.frames_shown = 0;
  document.querySelector("img.ms-live").addEventListener("load", () => { window.frames_shown += 1; });
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served"), str(SCENARIO)) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def test_the_page_comes(figures: Figures, server: Server, browser: Any) -> None:
    def come() -> None:
        context = new_context(browser)
        visitor = Visitor(context, server.address)
        visitor.page.wait_for_function("document.querySelector('img.ms-live').complete")
        visitor.close()
        context.close()

    figures.time(come, rounds=3, warmup=0)
    figures.write("the page, nothing cached: until the first figure is seen", target_s=10.0)


@pytest.mark.parametrize("pace", [20, 200])
def test_2000_users_are_played(figures: Figures, server: Server, browser: Any, pace: int) -> None:
    visitor = Visitor(new_context(browser), server.address)
    visitor.slide(".ms-speed", "End")
    for _ in range({200: 0, 20: 3}[pace]):
        visitor.slide(".ms-speed", "ArrowLeft")
    visitor.page.wait_for_selector(f'.ms-pace:has-text("{pace} rounds a second")')
    visitor.page.evaluate(COUNT_FRAMES)

    def watch() -> tuple[float, float]:
        visitor.press("play")
        visitor.wait_for_round(lambda number: number > 5)
        began, first, frames = time.perf_counter(), visitor.round, visitor.page.evaluate("frames_shown")
        visitor.page.wait_for_timeout(1000 * WATCHED_S)
        took = time.perf_counter() - began
        played, shown = visitor.round - first, visitor.page.evaluate("frames_shown") - frames
        visitor.press("play")
        return took / shown, played / took

    per_frame, rate = figures.time(watch, rounds=1, warmup=0)
    visitor.close()
    figures.write_amounts(
        f"2,000 users at {pace} rounds a second: s per figure that is shown",
        amounts=[per_frame],
        target=0.1 if pace <= 20 else math.nan,
        show=seconds,
        reference=f"{rate:.3g} rounds/s played",
        ratio="",
    )


def test_an_hour_of_play(figures: Figures, server: Server, browser: Any) -> None:
    visitor = Visitor(new_context(browser), server.address)
    visitor.slide(".ms-speed", "End")

    def memory() -> tuple[float, float]:
        return 1024 * resident(server.pid), 1024 * heap(visitor)

    def hour() -> tuple[float, float]:
        visitor.press("play")
        visitor.wait_for_round(lambda number: number > 1000)
        at_first = most = memory()
        while visitor.round < HOUR:
            visitor.page.wait_for_timeout(2000)
            most = max(most[0], memory()[0]), max(most[1], memory()[1])
        visitor.press("play")
        return most[0] - at_first[0], most[1] - at_first[1]

    grown = figures.time(hour, rounds=1, warmup=0)
    visitor.close()
    for who, amount in zip(("the server", "the page's scripts in the browser"), grown, strict=True):
        figures.write_amounts(
            f"{who}: growth of memory from round 1,000 to {HOUR:,}, at most",
            amounts=[amount],
            target=MOST_GROWTH_MIB,
            show=number("MiB"),
            reference="none",
            ratio="",
        )


def heap(visitor: Visitor) -> float:
    """GiB of the page's own objects."""
    return visitor.page.evaluate("performance.memory.usedJSHeapSize") / 2**30


def test_ten_visitors_at_once(figures: Figures, server: Server, browser: Any) -> None:
    """Their ten browsers share this machine's processors with the server, as no visitor's does."""
    before = resident(server.pid)
    visitors = [Visitor(new_context(browser), server.address) for _ in range(VISITORS)]
    *others, one = visitors
    for visitor in others:
        visitor.press("play")

    def step() -> float:
        began = time.perf_counter()
        one.step()
        return time.perf_counter() - began

    took = figures.time(lambda: [step() for _ in range(20)], rounds=1, warmup=0)
    playing = [visitor.wait_for_round(lambda number: number > 10) for visitor in others]
    each = 1024 * (resident(server.pid) - before) / VISITORS
    for visitor in visitors:
        visitor.close()
    assert len(playing) == VISITORS - 1
    for name, amount in (("median", sorted(took)[len(took) // 2]), ("worst", max(took))):
        figures.write_amounts(
            f"ten visitors, nine playing: {name} time from Step to the next round on screen",
            amounts=[amount],
            target=2.0 if name == "worst" else math.nan,
            show=seconds,
            reference=f"{each:.0f} MiB of the server each",
            ratio="",
        )

"""Photograph the page for README and docs: python -m tests.page.screenshots FOLDER (make screenshots)."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.page.browser import ROOT, Visitor, chromium, new_context, serving, why_not

SWITCHED, SHOWN = 80, 160
"""Rounds before which the policy is switched, and after which the picture is taken."""


def main(folder: Path) -> None:
    """Write page-live.png, page-compare.png and page-exact.png."""
    folder.mkdir(parents=True, exist_ok=True)
    scenario = str(ROOT / "runs" / "gsm8k-majority.toml")
    with TemporaryDirectory() as home, serving(Path(home), scenario) as server, chromium() as browser:
        visitor = Visitor(new_context(browser), server.address)
        play_to(visitor, SWITCHED)
        visitor.press("switch")
        play_to(visitor, SHOWN)
        take(visitor, folder / "page-live.png")

        visitor.open_tab("Compare two regimes")
        visitor.press("compare")
        visitor.page.wait_for_selector("img.ms-side-by-side")
        take(visitor, folder / "page-compare.png")

        visitor.open_tab("Exact analysis")
        visitor.page.wait_for_selector("img.ms-exact")
        take(visitor, folder / "page-exact.png")


def play_to(visitor: Visitor, number: int) -> None:
    """Play until shortly before a round, and step there."""
    visitor.press("play")
    visitor.wait_for_round(lambda here: here > number - 40)
    visitor.press("play")
    visitor.page.wait_for_selector('.ms-play:has-text("Play")')
    while visitor.round < number:
        visitor.step()


def take(visitor: Visitor, file: Path) -> None:
    """A picture of the page, once nothing moves on it and nothing is pointed at."""
    visitor.page.mouse.move(2, 2)
    visitor.page.evaluate("document.activeElement.blur()")
    visitor.page.wait_for_timeout(1500)
    visitor.page.screenshot(path=file)
    print(file)


if __name__ == "__main__":
    if why_not() is not None:
        sys.exit(why_not())
    main(Path(sys.argv[1]))

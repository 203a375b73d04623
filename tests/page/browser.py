"""A server and a browser for the tests of the page, its benchmarks and its screenshots."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SERVE = (str(BIN / "market-sim"), "serve")
SOLARA_RUN = (str(BIN / "solara"), "run", str(ROOT / "market_sim" / "app.py"), "--no-open")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PATIENCE_MS = 60_000
"""How long anything on the page may take before a test gives up: machines may be busy."""


def why_not() -> str | None:
    """Why pages cannot be opened here; None where they can."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "the page is not tested: playwright is not installed"
    return (
        None if CHROMIUM else "the page is not tested: chromium is not installed (apt-get install chromium)"
    )


@dataclass(frozen=True, kw_only=True)
class Server:
    address: str
    pid: int


@contextmanager
def serving(folder: Path, *arguments: str, program: Sequence[str] = SERVE) -> Iterator[Server]:
    """The page, served from a folder that is its own home too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*program, *arguments, "--port", str(port)]
    environment = os.environ | {"NO_COLOR": "1", "HOME": str(folder)}
    environment.pop("PYTEST_CURRENT_TEST", None)  # Solara behaves better where it is tested
    log = (folder / "server.log").open("w")
    server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, server)
        yield Server(address=address, pid=server.pid)
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < until:
        assert server.poll() is None, "the server stopped"
        try:
            with urlopen(f"{address}/readyz", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser: Any, width: int = 1280, height: int = 800) -> Any:
    """A browser profile of its own: other cookies, another cache."""
    return browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)


class Visitor:
    """Somebody in front of the page."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.asked_elsewhere: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._check)
        self.page.goto(address)
        self.wait_for_round(lambda number: number >= 0)

    def _note(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _check(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.asked_elsewhere.append(request.url)

    def close(self) -> None:
        self.page.close()

    # --- what is on the page ------------------------------------------------------------------------

    @property
    def round(self) -> int:
        return int(self.page.inner_text(".ms-round b").replace(",", ""))

    @property
    def regime(self) -> str:
        return self.page.inner_text(".ms-regime-now b")

    @property
    def picture(self) -> str:
        return self.page.get_attribute("img.ms-live", "src")

    @property
    def problem(self) -> str:
        return self.page.inner_text(".ms-problem")

    def wait_for_round(self, fits: Any) -> int:
        """Wait until the round fits; gives it."""
        self.page.wait_for_selector(".ms-round b")
        until = time.monotonic() + PATIENCE_MS / 1000
        while time.monotonic() < until:
            if fits(number := self.round):
                return number
            time.sleep(0.03)
        raise AssertionError(f"the page stays in round {self.round}")

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds, while the browser's messages come in."""
        until = time.monotonic() + PATIENCE_MS / 1000
        while not holds():
            assert time.monotonic() < until, "it does not come to hold"
            self.page.wait_for_timeout(30)

    # --- what a visitor does ------------------------------------------------------------------------

    def press(self, name: str) -> None:
        self.page.click(f".ms-{name}")

    def step(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            here = self.round
            self.press("step")
            self.wait_for_round(lambda number, here=here: number == here + 1)

    def open_tab(self, title: str) -> None:
        self.page.click(f'.v-tab:has-text("{title}")')

    def entries(self, menu: str) -> list[str]:
        """Open a menu and read its entries."""
        self.page.click(f"{menu} .v-select__slot")
        self.page.wait_for_selector(".menuable__content__active .v-list-item")
        self.page.wait_for_timeout(350)  # until the menu has stopped moving
        return self.page.locator(".menuable__content__active .v-list-item").all_inner_texts()

    def choose(self, menu: str, entry: str) -> None:
        """Pick an entry of a menu."""
        self.entries(menu)
        self.page.locator(".menuable__content__active .v-list-item").get_by_text(entry, exact=True).click()
        self.page.keyboard.press("Escape")
        self.page.wait_for_selector(".menuable__content__active", state="detached")

    def slide(self, slider: str, key: str) -> None:
        """Press a key on a slider."""
        thumb = self.page.locator(f"{slider} .v-slider__thumb-container")
        thumb.focus()
        thumb.press(key)

    def send(self, name: str, text: str) -> None:
        """Send a scenario file."""
        self.page.locator(".ms-upload input").set_input_files(
            {"name": name, "mimeType": "application/toml", "buffer": text.encode()}
        )

    def fetch(self, name: str) -> bytes:
        """Download a file."""
        with self.page.expect_download() as waiting:
            self.page.click(f".ms-get-{name} button")
        return Path(waiting.value.path()).read_bytes()

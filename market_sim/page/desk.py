"""One visitor's session: the market on the desk, its figure, and playing it.

Everything a component shows is a reactive value here, and every action of a visitor a method.  Each session
has a desk of its own (`solara.use_memo`), so nothing is shared but the lock round drawing: matplotlib keeps
its settings in one place for the whole process.
"""

import atexit
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import solara
from matplotlib.figure import Figure

from market_sim.errors import InputError
from market_sim.experiments.live import LiveMarket, Player, Replay
from market_sim.experiments.live_figures import Crowd, Customers, LiveFigure
from market_sim.experiments.run import Progress
from market_sim.experiments.scenario import Event, Scenario
from market_sim.page.choices import after, choices_of, regime_title, scenario_of
from market_sim.page.pictures import COUNTER, DRAWING, as_file, as_source
from market_sim.simulation.portrait import (
    Portrait,
    bought_from,
    in_proportion,
    portrait_of,
    requests_portrait,
)

logger = logging.getLogger("market_sim.page")

MOST_FRAMES_A_SECOND = 15.0

UNSEEN_SECONDS = 60.0
"""Play stops where no frame was seen for so long: nobody is there."""

SPEEDS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Rounds a second."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What is on screen: the figure, and after which round."""

    round: int
    source: str


class Desk:
    """A session."""

    def __init__(self, start: Scenario, root: Path) -> None:
        self.root = root
        self.base = solara.reactive(start)
        self.choices = solara.reactive(choices_of(start))
        self.player: solara.Reactive[Player | None] = solara.reactive(None)
        self.frame: solara.Reactive[Frame | None] = solara.reactive(None)
        self.playing = solara.reactive(False)
        self.regime = solara.reactive(start.regime.kind)
        self.fresh, self.ended = solara.reactive(True), solara.reactive(False)
        self.speed = solara.reactive(10)
        self.problem = solara.reactive("")
        self.said = solara.reactive("")
        self.saving, self.kept = solara.reactive(False), solara.reactive("")
        self.tab = solara.reactive(0)
        self.next_regime = solara.reactive("second_price_auction")
        self._market = threading.RLock()
        self._figure: LiveFigure | None = None
        self._portrait: Portrait | None = None
        self._seen = threading.Event()
        self._turn: object | None = None
        self.closed = False
        self.reset()

    # --- what a visitor does ------------------------------------------------------------------------

    def guarded(self, action: Callable[[], Any]) -> Any:
        """Do it; what goes wrong becomes a sentence on the page."""
        try:
            result = action()
        except InputError as error:
            self.problem.set(str(error))
        except Exception as error:
            logger.exception("an action on the page failed")
            self.problem.set(
                f"This did not work, and it is the program's fault: {type(error).__name__}: {error}. "
                "Reset to go on."
            )
        else:
            return result
        return None

    def choose(self, key: str, value: Any) -> None:
        """Set a control."""
        self.guarded(lambda: self.choices.set(after(self.choices.value, key, value, self.base.value)))

    def reset(self) -> None:
        """Begin anew, with what the controls say; a finished run from its first round."""
        self.pause()

        def again() -> None:
            player = self.player.value
            if isinstance(player, Replay) and not self.changed:
                self._begin(Replay(player.folder))
            else:
                self._begin(LiveMarket(scenario_of(self.base.value, self.choices.value)))

        self.guarded(again)

    def open(self, scenario: Scenario) -> bool:
        """Put another scenario on the desk; whether that worked."""
        return self._put(lambda: LiveMarket(scenario), scenario)

    def replay(self, finished: Replay) -> bool:
        """Show a finished run; whether that worked."""
        return self._put(lambda: finished, finished.scenario)

    def _put(self, make: Callable[[], Player], scenario: Scenario) -> bool:
        self.pause()

        def put() -> bool:
            player, choices = make(), choices_of(scenario)
            self.base.set(scenario)
            self.choices.set(choices)
            self._begin(player)
            return True

        return bool(self.guarded(put))

    def step(self) -> None:
        """Play one round."""
        self.pause()
        self.problem.set("")
        with COUNTER.pressed():
            self.guarded(lambda: self._advance(1))

    def play(self) -> None:
        """Play on until paused."""
        if not self.playing.value:
            self.problem.set("")
            self._turn = turn = object()
            self.playing.set(True)
            threading.Thread(target=self._play, args=(turn,), daemon=True).start()

    def pause(self) -> None:
        """Stop playing; what was under way is on screen when this returns."""
        self._turn = None
        with self._market:
            self.playing.set(False)

    def switch(self) -> None:
        """Let another regime begin with the next round."""

        def put() -> None:
            self.problem.set("")
            player = self.player.value
            if not isinstance(player, LiveMarket):
                raise InputError("This is a finished run: change a setting, and Reset plays its scenario")
            with self._market:
                player.switch(self.next_regime.value)
            self.said.set(events_text(player))

        self.guarded(put)

    def save(self, wanted: bool, progress: Progress | None = None) -> None:
        """Keep every round on disk as it is played, from the first; or no more, and have the run folder.

        Raises InputError where it cannot be written.
        """
        self.pause()
        with self._market:
            self.saving.set(False)
            self._finish()
            player = self.player.value
            if wanted and isinstance(player, LiveMarket):
                player.save(self.folder, progress)
                self.saving.set(True)
                atexit.register(self.close)

    @property
    def folder(self) -> Path:
        """Where run folders go."""
        return self.root / "out"

    def _finish(self) -> None:
        """The run folder of what was saved."""
        player = self.player.value
        folder = player.finish() if isinstance(player, LiveMarket) else None
        if folder is not None:
            self.kept.set(f"Kept, every round of it, in {folder}.")

    def seen(self, *_: Any) -> None:
        """The browser shows the last frame."""
        self._seen.set()

    def still(self) -> AbstractContextManager[object]:
        """Held while something is read that would otherwise be played on meanwhile."""
        return self._market

    def close(self) -> None:
        """The visitor has left, or the server is stopped."""
        self.closed = True
        self._turn = None
        atexit.unregister(self.close)
        with self._market:
            player = self.player.value
            if isinstance(player, LiveMarket):
                try:
                    player.finish()
                except InputError as error:
                    logger.error("%s", error)

    @property
    def changed(self) -> bool:
        """Whether the controls say something else than what is played."""
        return self.choices.value != self._played

    # --- playing ------------------------------------------------------------------------------------

    def _begin(self, player: Player) -> None:
        with COUNTER.pressed(), self._market:
            self._finish()
            if self.saving.value and isinstance(player, LiveMarket):
                player.save(self.folder)
            parts = player.model.parts if isinstance(player, LiveMarket) else None
            self._portrait = None if parts is None else portrait_of(parts)
            self._figure = None
            self._played = self.choices.value
            self.player.set(player)
            self.problem.set("")
            self._show()

    def _advance(self, rounds: int, turn: object | None = None) -> bool:
        """Play rounds and show where that leads; fewer where it is no longer this player's turn."""
        with self._market:
            player = self.player.value
            assert player is not None
            for _ in range(rounds):
                if self._turn is not turn:
                    break
                player.step()
            self._show()
        return True

    def _play(self, turn: object) -> None:
        """Play on as long as it is this player's turn."""
        began, due = time.monotonic(), 0.0
        self._seen.set()
        while self._turn is turn:
            player = self.player.value
            if player is None or player.ended:
                self._stop(turn)
                return
            now = time.monotonic()
            due += (now - began) * self.speed.value
            began = now
            rounds = int(min(due, 2.0 * self.speed.value))  # after a halt, no more than two seconds' worth
            if rounds >= 1:
                due = due - rounds if rounds == int(due) else 0.0
                self._seen.clear()
                with COUNTER.played():
                    went_well = self.guarded(partial(self._advance, rounds, turn))
                if not went_well or not self._wait_until_seen(turn):
                    self._stop(turn)
                    return
            wait = max(1.0 / MOST_FRAMES_A_SECOND, (1.0 - due) / self.speed.value)
            time.sleep(max(0.005, wait - (time.monotonic() - now)))

    def _stop(self, turn: object) -> None:
        if self._turn is turn:
            self.pause()

    def _wait_until_seen(self, turn: object) -> bool:
        """Wait for the browser, so that frames never pile up; False where nobody is there."""
        if self.tab.value != 0:
            return True
        started = time.monotonic()
        while not self._seen.wait(0.25):
            if self._turn is not turn or self.tab.value != 0:
                return True
            if time.monotonic() - started > UNSEEN_SECONDS:
                return False
        return True

    # --- the figure ---------------------------------------------------------------------------------

    def _show(self) -> None:
        """Draw what stands on the desk; where another page is looked at, only say the round."""
        player, last = self.player.value, self.frame.value
        assert player is not None
        if self.tab.value == 0 or last is None or self._figure is None:
            with DRAWING:
                if self._figure is None:
                    self._figure = self.new_figure()
                self._figure.show(player.history.seen(), self._customers(), marks_of(player))
                picture = self._figure.png()
            source = as_source(picture)
        else:
            source = last.source
        if last is not None and last.source == source:
            self._seen.set()
        self.said.set(events_text(player))
        self.regime.set(player.regime)
        self.fresh.set(player.round == 0)
        self.ended.set(player.ended)
        self.frame.set(Frame(round=player.round, source=source))

    def show(self) -> None:
        """Draw again, for who comes back to the page."""
        with COUNTER.pressed(), self._market:
            self._show()

    def new_figure(self, heading: str = "", note: str = "") -> LiveFigure:
        """The figure of what stands on the desk."""
        player = self.player.value
        assert player is not None
        market, portrait = player.market, self._dots
        return LiveFigure(
            player.history.seen(),
            Crowd(place=portrait.place, links=portrait.links),
            player.yardsticks,
            market.methods,
            market.compute_level[market.offered],
            player.scenario.regime.kind,
            heading,
            note,
        )

    def saved_figure(self, heading: str, suffix: str, about: dict[str, object]) -> bytes:
        """What is on screen, as a file."""

        def draw() -> Figure:
            player = self.player.value
            assert player is not None
            figure = self.new_figure(heading, events_text(player))
            figure.show(player.history.seen(), self._customers(), marks_of(player))
            return figure.figure

        # This lock before the one round drawing, as everywhere: two orders would wait for each other.
        with self._market:
            return as_file(draw, suffix, about)

    @property
    def _dots(self) -> Portrait:
        if self._portrait is None:
            self._portrait = requests_portrait()
        return self._portrait

    def _customers(self) -> Customers:
        return Customers(bought=self._bought(), about=self._about())

    def _bought(self) -> np.ndarray:
        player, portrait = self.player.value, self._dots
        assert player is not None
        if isinstance(player, LiveMarket) and portrait.user is not None:
            return bought_from(player.model.parts, player.model.state, portrait)
        share = player.history.seen().providers["share"][-1].sum(axis=0)
        return in_proportion(np.where(np.isfinite(share), share, 0.0), len(portrait.place))

    def _about(self) -> str:
        player, portrait = self.player.value, self._dots
        if portrait.user is None or not isinstance(player, LiveMarket):
            return f"Queries, {len(portrait.place)} drawn"
        people = player.model.parts.users.n_people
        return f"{len(portrait.user)} of {people:,.0f} {'linked ' if len(portrait.links) else ''}users"


def marks_of(player: Player) -> list[int]:
    """Rounds before which something happened to the market so far."""
    return [event.round for event in player.scenario.events if event.round <= player.round]


def events_text(player: Player) -> str:
    """What happened to the market so far, or does so with the next round."""
    said = [f"{e.round:,}: {_in_words(e)}" for e in player.scenario.events if e.round <= player.round + 1]
    return f"From round {'; '.join(said)}" if said else ""


def _in_words(event: Event) -> str:
    said = []
    if event.regime is not None:
        said.append(regime_title(event.regime.kind))
    said += [f"{name} enters" for name in event.enters or ()]
    said += [f"{name} leaves" for name in event.leaves or ()]
    said += [f"new price of {name}" for name in event.prices or ()]
    said += [f"{name} becomes {model}" for name, model in (event.serves or {}).items()]
    if event.demand is not None:
        said.append(f"demand x {event.demand:g}")
    return ", ".join(said)

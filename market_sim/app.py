"""The page that `solara run market_sim/app.py` and `market-sim serve` show."""

from pathlib import Path

import solara

from market_sim.page import server
from market_sim.page.whole import Market

server.keep_to_this_machine()


@solara.component
def Page() -> None:
    """One visitor's page; a market of its own for each."""
    Market(server.start, Path("runs"))


@solara.component
def Layout(children: list) -> None:
    """The page fills the window."""
    solara.Div(children=children)

"""How the page is served: by this machine, to this machine, with nothing fetched from elsewhere."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

from market_sim.errors import InputError
from market_sim.experiments.scenario import Scenario, load_scenario

HOST, PORT = "127.0.0.1", 8765

APP = "market_sim.app"

NOWHERE = "http://127.0.0.1:9/"
"""The discard port of this machine."""

DEFAULT: dict[str, Any] = {
    "name": "gsm8k-majority",
    "market": {"benchmark": "GSM8K", "method": "majority_voting"},
}
"""What a page begins with where no scenario was named: the paper's first setting."""

_started_with: list[Scenario] = []


def start() -> Scenario:
    """The scenario that every new page begins with."""
    return _started_with[-1] if _started_with else load_scenario(DEFAULT)


def keep_to_this_machine() -> None:
    """No usage reports and no files from elsewhere: what Solara does unless told otherwise.

    Scripts and fonts come from the installed package of assets, through Solara's own address for them; a file
    that is missing there would be fetched from a public server, and now is looked for where nobody listens.
    """
    import solara.server.settings as settings
    import solara.settings

    settings.telemetry.mixpanel_enable = False
    solara.settings.assets.proxy = True
    solara.settings.assets.cdn = NOWHERE
    settings.theme.show_banner = False
    settings.kernel.cull_timeout = "10m"


def serve(scenario: Path | str | None, host: str, port: int) -> None:
    """Serve the page until interrupted.

    Raises InputError for a bad scenario, where the parts are not installed, or where the port is taken.
    """
    if scenario is not None:
        _started_with.append(load_scenario(scenario))
    os.environ["SOLARA_APP"] = APP
    try:
        import uvicorn

        keep_to_this_machine()
        from solara.server.starlette import app
    except ImportError as error:
        raise InputError(
            f"the page needs the extra viz ({error.name} is missing): pip install 'market-sim[viz]'"
        ) from None
    logging.getLogger("solara").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Cookies with samesite=none", category=UserWarning)
    uvicorn.run(app, host=host, port=port, log_level="warning")

"""How the page is served: by this machine, to this machine, with nothing fetched from elsewhere."""

import ipaddress
import logging
import os
import re
import socket
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from market_sim.errors import InputError
from market_sim.experiments.scenario import Scenario, load_scenario
from market_sim.experiments.timeline import timeline_of

APP = "market_sim.app"

NOWHERE = "http://127.0.0.1:9/"
"""The discard port of this machine."""

SCRIPTS = "/_solara/cdn/"
"""Where browsers get the installed scripts and fonts from."""

FORGOTTEN_AFTER = "10m"
"""A session whose browser is gone is kept for so long, in case it comes back."""

DEFAULT: dict[str, Any] = {
    "name": "gsm8k-majority",
    "market": {"benchmark": "GSM8K", "method": "majority_voting"},
}
"""What a page begins with where no scenario was named: the paper's first setting."""

_started_with: list[Scenario] = []

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


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
    settings.main.mode = "production"  # in any other the page asks a public server whether it works
    solara.settings.assets.proxy = True
    solara.settings.assets.cdn = NOWHERE
    settings.theme.show_banner = False
    settings.kernel.cull_timeout = FORGOTTEN_AFTER


def serve(
    scenario: Path | str | None, host: str, port: int, say: Callable[[str], None], name: str | None = None
) -> None:
    """Serve the page until interrupted.

    say   is told where the page is
    name  under which a web server in front of this one is reached
    Raises InputError for a bad scenario, where the parts are not installed, or where it cannot listen.
    """
    given = load_scenario(DEFAULT if scenario is None else scenario)
    timeline_of(given)  # whatever in it cannot be played is said here, and not on the page
    os.environ["SOLARA_APP"] = APP
    os.environ["SOLARA_TELEMETRY_MIXPANEL_ENABLE"] = "false"
    try:
        import uvicorn

        keep_to_this_machine()
        from solara.server.starlette import app
    except ImportError as error:
        missing = str(error.name).partition(".")[0]
        raise InputError(
            f"serve needs the extra viz ({missing} is not installed): make serve installs it, or "
            "pip install 'market-sim[viz]'"
        ) from None
    _started_with.append(given)
    logging.getLogger("solara").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Cookies with samesite=none", category=UserWarning)
    with _listening(host, port) as listening:
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        say(f"The market is at {where} (Ctrl-C stops it).")
        if not _is_loopback(host):
            say("Anybody who can reach this machine can open it.")
        # Most of what is sent is pictures, which are packed already.
        page = guarded(app, names_of(host, name))
        config = uvicorn.Config(page, log_level="warning", ws_per_message_deflate=False)
        uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, opened first: a port that is taken is a sentence then."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()  # whoever comes before the page is ready waits for it
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port}: cannot listen there: {error.strerror}; --port takes another port"
        ) from None
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names_of(host: str, name: str | None) -> frozenset[str] | None:
    """The names by which the page may be asked for; None for any, where it is open to others anyway."""
    if not _is_loopback(host):
        return None
    return frozenset({"localhost", "127.0.0.1", "[::1]", host.lower(), *([name.lower()] if name else [])})


def guarded(app: Application, names: frozenset[str] | None = None) -> Application:
    """The application, refusing what a page of another site sends, and requests that delete its scripts.

    A browser says in Origin which page a connection comes from.  Without this any web page that is open in
    the same browser could play with the market on this machine and read what it shows; and without a look
    at the name that is asked for (Host) so could a site whose name is made to lead to this machine.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        origin, host = headers.get(b"origin"), headers.get(b"host", b"")
        own = (origin is None or origin.partition(b"://")[2] == host) and (
            names is None or re.sub(r":\d+$", "", host.decode("latin-1").lower()) in names
        )
        if scope["type"] == "websocket" and not own:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and not (own and not _is_folder_of_scripts(scope["path"])):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"This page is for itself only.\n"})
        else:
            await app(scope, receive, send)

    return answer


def _is_folder_of_scripts(path: str) -> bool:
    """Whether a request is for a folder of the installed scripts, which Solara then deletes."""
    from solara.server.settings import assets

    if not path.startswith(SCRIPTS):
        return False
    inner = os.path.normpath(path.removeprefix(SCRIPTS).lstrip("/"))
    return "/" in inner and (assets.proxy_cache_dir / inner).is_dir()

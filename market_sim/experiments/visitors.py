"""What a page may open for a stranger: no program, no file outside its folder, no crowd too large."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from market_sim.errors import InputError
from market_sim.experiments import store
from market_sim.experiments.live import Replay
from market_sim.experiments.scenario import Scenario, load_scenario

MOST_PEOPLE_WATCHED = 200_000
"""A page steps several times a second, and more people one by one would take gigabytes."""

MOST_PROVIDERS_WATCHED = 100
"""Each has a line in its pictures, and more would be slow to solve."""


MOST_BYTES = 1_000_000
"""Of a scenario file that is sent."""


def check_harmless(scenario: Scenario, root: Path) -> Scenario:
    """The scenario, if a page may play it for a stranger: no code from outside, no file outside `root`.

    Raises InputError otherwise, and for more people than a page can play.
    """
    where = scenario.where
    for key in ("learning", "auction_learning"):
        learning = getattr(scenario.providers, key)
        for choice in (learning.others, *learning.by_model.values()):
            if choice is not None and ":" in choice.rule:
                raise InputError(
                    f"{where}: providers.{key}: {choice.rule!r} is a rule from outside, which is a program; "
                    "this page runs none, market-sim run does"
                )
    network = scenario.users.network or {}
    for key, file in (
        ("market.curves", scenario.market.curves),
        ("users.types", scenario.users.types),
        ("users.network.file", network.get("file")),
    ):
        if file is not None:
            inside(scenario.folder / str(file), root, f"{where}: {key} = {str(file)!r}")
    return check_watchable(scenario)


def check_watchable(scenario: Scenario) -> Scenario:
    """The scenario.  Raises InputError for more people or providers than a page can play."""
    made = scenario.market.generated
    if made is not None and made.providers > MOST_PROVIDERS_WATCHED:
        raise InputError(
            f"{scenario.where}: market.generated.providers: {made.providers:,} are too many to watch (at "
            f"most {MOST_PROVIDERS_WATCHED:,}); use market-sim run"
        )
    if scenario.users.one_by_one:
        people = round(scenario.users.count * scenario.most_demand)
        if people > MOST_PEOPLE_WATCHED:
            raise InputError(
                f"{scenario.where}: users.count: {people:,} are too many to watch one by one (at most "
                f"{MOST_PEOPLE_WATCHED:,}); use segments, or market-sim run"
            )
    return scenario


def inside(path: Path, root: Path, where: str) -> Path:
    """The path, resolved.  Raises InputError where it leads out of the folder `root`, links followed."""
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise InputError(f"{where} is not a path") from None
    if not resolved.is_relative_to(root.resolve()):
        raise InputError(f"{where} is outside {root}, and this page opens only what lies there")
    return resolved


def uploaded_scenario(name: str, content: bytes, root: Path) -> Scenario:
    """A scenario that somebody sent: checked, and harmless.  Files it names are looked for in `root`."""
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: has {len(content):,} bytes; a scenario has at most {MOST_BYTES:,}")
    try:
        data = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(f"{name}: is not a text file (a scenario in TOML is wanted)") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: is not TOML: {error}") from None
    if not data:
        raise InputError(f"{name}: is empty; a scenario needs at least a name")
    return check_harmless(scenario_from(data, name, root), root)


def scenario_from(data: Mapping[str, object], where: str, folder: Path) -> Scenario:
    """A scenario from a dictionary, called `where` in sentences, its files being in `folder`."""
    try:
        scenario = load_scenario(data)
    except InputError as error:
        raise InputError(f"{where}: {str(error).removeprefix('scenario: ')}") from None
    scenario._where, scenario._folder = where, folder
    return scenario


def scenarios_in(root: Path) -> list[Path]:
    """Scenario files directly in a folder."""
    return sorted(path for path in root.glob("*.toml") if path.is_file())


def runs_in(root: Path) -> list[Path]:
    """Complete run folders below a folder, the newest first."""
    if not root.is_dir():
        return []
    found = [path for path in store.complete_folders(root) if (path / "rounds.parquet").exists()]
    return sorted(found, key=lambda path: (path / store.MANIFEST).stat().st_mtime, reverse=True)


def open_scenario(path: Path, root: Path) -> Scenario:
    """A scenario file under `root`.  Raises InputError for one outside, or that may do harm."""
    resolved = inside(path, root, str(path))
    try:
        scenario = load_scenario(resolved)
    except InputError as error:  # strangers need not know where the folder lies
        raise InputError(str(error).replace(str(resolved), str(path))) from None
    scenario._where = str(path)
    return check_harmless(scenario, root)


def open_run(path: Path, root: Path) -> Replay:
    """A finished run under `root`, for replay.

    Raises InputError for one outside, with files that lead outside, or whose scenario may do harm.
    """
    folder = inside(path, root, str(path))
    if store.manifest_of(folder) is None:
        raise InputError(f"{path}: is not a complete run")
    for name in ("rounds.parquet", "providers.parquet", store.MANIFEST):
        inside(folder / name, root, f"{path}: {name}")
    return Replay(folder, open_scenario(path / "scenario.toml", root))

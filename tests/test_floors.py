"""The tree is the argument: imports point down only, and each floor needs what it says (the map is in
market_sim/__init__.py)."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "market_sim"
FLOORS = ("errors", "theory", "economy", "simulation", "experiments", "screen", "page", "cli", "app")
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Full names of everything a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name: str) -> str:
    """The floor of a module of the package, the package itself being the roof over all."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "app"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_point_down_only(path):
    own = module_name(path)
    for name in imports(path):
        if name.split(".")[0] == "market_sim" and own != "market_sim.__init__":
            assert FLOORS.index(floor(name)) <= FLOORS.index(floor(own)), f"{own} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_mesa_and_networkx_are_imported_in_simulation_only(path):
    used = {name.split(".")[0] for name in imports(path)} & {"mesa", "networkx", "solara"}
    if floor(module_name(path)) not in ("page", "app"):
        assert used <= ({"mesa", "networkx"} if floor(module_name(path)) == "simulation" else set())


@pytest.mark.parametrize("path", [p for p in SOURCES if "theory" in p.parts], ids=module_name)
def test_theory_is_mathematics_over_arrays_and_imports_numpy_and_scipy_only(path):
    others = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
    compiled = {"numba"} if path.name == "vote_kernel.py" else set()  # an extra, imported if installed
    assert others <= {"numpy", "scipy", "market_sim"} | compiled


def test_the_round_is_played_without_mesa():
    for name in ("round", "recorder"):
        tops = {imported.split(".")[0] for imported in imports(PACKAGE / "simulation" / f"{name}.py")}
        assert "mesa" not in tops


def test_only_the_package_itself_and_plug_ins_import_by_name():
    """No import is hidden in a string, but for what __init__ gives out when first used and users' rules."""
    for path in SOURCES:
        if path not in (PACKAGE / "__init__.py", PACKAGE / "experiments" / "plugins.py"):
            code = path.read_text(encoding="utf-8")
            assert not re.search(r"\b(import_module|__import__|importlib\.util)\b", code), path


def test_every_module_says_in_its_first_line_what_it_is():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not text or ast.get_docstring(ast.parse(text)), path


def test_no_file_mentions_a_place_on_somebodys_machine():
    places = "|".join(["work", "root", "home", "Users", "tmp", "mnt", "var/folders"])
    pattern = re.compile(rf"(?<![\w.:/])/(?:{places})/[\w.]")
    skipped = {".venv", ".git", "out", "build", "dist", "__pycache__", ".hypothesis", ".benchmarks"}
    kinds = {".py", ".md", ".toml", ".csv", ".txt", ".cfg", ".yml", ".yaml", ".json", ""}
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT).parts
        if (
            path.is_file()
            and path.suffix in kinds
            and not any(part in skipped or part.endswith((".egg-info", "_cache")) for part in inside)
        ):
            found = pattern.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path.relative_to(ROOT)}: {found.group()}"

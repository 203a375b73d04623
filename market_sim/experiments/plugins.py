"""Learning rules from outside the package: "my_module:my_rule" in a scenario."""

import sys
from importlib import import_module
from pathlib import Path

from market_sim.errors import InputError
from market_sim.theory.rule import RuleFamily


def rule_from(reference: str, where: str) -> RuleFamily:
    """The RuleFamily that a module of the user's own calls by that name.

    Modules are looked for where Python looks, and in the folder the program was started from.
    Raises InputError, naming `where`, if there is none.
    """
    module, _, name = reference.partition(":")
    if "" not in sys.path:  # an installed command does not look there, `python` does
        sys.path.append("")
    try:
        family = getattr(import_module(module), name)
    except Exception as error:  # whatever a stranger's module may raise
        raise InputError(f"{where} = {reference!r} cannot be loaded: {error}") from None
    if not isinstance(family, RuleFamily):
        raise InputError(f"{where} = {reference!r} is not a market_sim.theory.rule.RuleFamily")
    return family


def code_of(reference: str) -> bytes:
    """The text of the module a rule comes from, once it was loaded; empty where it has no file."""
    file = sys.modules[reference.partition(":")[0]].__file__
    return b"" if file is None else Path(file).read_bytes()

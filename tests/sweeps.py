"""Small sweeps for tests, and rules that misbehave."""

from pathlib import Path
from typing import Any

BASE: dict[str, Any] = {
    "market": {
        "benchmark": "GSM8K",
        "method": "majority_voting",
        "models": ["Llama-3-8B", "Qwen2-7B"],
    },
    "users": {"count": 5},
}

RULES = """
import os
import signal
import time
from market_sim.theory.rule import POSTED, Functions, RuleFamily

def family(name, act):
    return RuleFamily(name=name, summary=name, source="a test", information="none", regimes=POSTED,
                      make=lambda: Functions(act=act), parameters={})

def stay(memory, view, uniforms):
    return view.current

def complain(memory, view, uniforms):
    raise LookupError("nothing\\nto be found")

def die(memory, view, uniforms):
    os.kill(os.getpid(), signal.SIGKILL)

def die_once(memory, view, uniforms):
    try:
        open("died", "x").close()
    except FileExistsError:
        return view.current
    os.kill(os.getpid(), signal.SIGKILL)

def think(memory, view, uniforms):
    while True:
        pass

def think_deaf(memory, view, uniforms):
    open("deaf", "a").write(f"{os.getpid()}\\n")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    while True:
        pass

def think_heedless(memory, view, uniforms):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

def wait_for_leave(memory, view, uniforms):
    open("begun", "a").close()
    while not os.path.exists("leave"):
        time.sleep(0.05)
    return view.current

well = family("well", stay)
raising = family("raising", complain)
deadly = family("deadly", die)
deadly_once = family("deadly_once", die_once)
endless = family("endless", think)
deaf = family("deaf", think_deaf)
heedless = family("heedless", think_heedless)
waiting = family("waiting", wait_for_leave)
"""


def sweep_of(axes: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """A sweep of few and short runs."""
    return {"name": "tiny", "base": BASE, "rounds": 2, "axes": axes or {}} | keys


def rules_beside(folder: Path) -> None:
    """A module of rules that misbehave, where workers of that folder find it."""
    (folder / "odd_rules.py").write_text(RULES, encoding="utf-8")


def with_rules(*names: str, seeds: int = 2) -> dict[str, Any]:
    """A sweep with one point per rule of that module."""
    learning = [{"rule": f"odd_rules:{name}"} for name in names]
    return sweep_of({"providers.learning": learning}, seeds=seeds)

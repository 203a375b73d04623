"""market-sim: an agent-based simulator of the market for LLM inference.

The house, floor by floor; imports point down only.

    theory/       mathematics over arrays: logit choice, the game and all its equilibria, the welfare
                  optimum, auctions, learning rules
    economy/      the nouns, in dollars and tokens: quality curves, markets, regimes, exact solutions
    simulation/   the market in time: play_round, and a Mesa model round it
    experiments/  many runs, described by files: scenarios, run folders, comparisons, sweeps, the paper,
                  figures
    page/         the interactive page; no science in it
    screen/, cli/ the command line, and what it shows;  app.py  what Solara runs

What the command line does is a line in a notebook:

    import market_sim as ms
    ms.solve("runs/gsm8k-majority.toml", beta=[200, 1000])
    ms.solve_uncertain("runs/gsm8k-majority.toml").to_frame()
    ms.run("runs/gsm8k-majority.toml").to_frame()
    ms.compare("runs/gsm8k-majority.toml").sentences
    ms.build_curves("my_evaluations", benchmark="GSM8K").write("my_curves.csv")
    ms.sweep("runs/sweeps/paper.toml").to_frame()

Names are imported when first used, so that solving does not load Mesa.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market_sim.errors import InputError
    from market_sim.experiments.compare import compare
    from market_sim.experiments.curves import build_curves
    from market_sim.experiments.paper import reproduce
    from market_sim.experiments.run import run
    from market_sim.experiments.runner import sweep
    from market_sim.experiments.scenario import load_scenario
    from market_sim.experiments.solve import load_market, solve, solve_uncertain
    from market_sim.experiments.store import load
    from market_sim.simulation.model import MarketModel

_HOMES = {
    "InputError": "errors",
    "MarketModel": "simulation.model",
    "build_curves": "experiments.curves",
    "compare": "experiments.compare",
    "load": "experiments.store",
    "load_market": "experiments.solve",
    "load_scenario": "experiments.scenario",
    "reproduce": "experiments.paper",
    "run": "experiments.run",
    "solve": "experiments.solve",
    "solve_uncertain": "experiments.solve",
    "sweep": "experiments.runner",
}

__all__ = [
    "InputError",
    "MarketModel",
    "build_curves",
    "compare",
    "load",
    "load_market",
    "load_scenario",
    "reproduce",
    "run",
    "solve",
    "solve_uncertain",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

"""How much welfare the pay-per-compute market loses, by how carefully users compare offers.

Solves the nine markets of the paper over 100 rationalities from 1 to 10^6 per USD, prints where each
loses most and where it has two equilibria, and writes one figure.

    python analysis/inefficiency_by_rationality.py [--out DIR]
"""

import argparse
from pathlib import Path

from market_sim.experiments.claims.scripts import write_figure
from market_sim.experiments.house_style import METHOD_NAMES
from market_sim.experiments.paper import SETTINGS, paper_market
from market_sim.experiments.paper_figures import (
    InefficiencyCurve,
    inefficiency_curve,
    inefficiency_figure,
)

SEED = 0


def inefficiency_by_rationality() -> list[InefficiencyCurve]:
    """Inefficiency over rationality of all nine settings."""
    return [inefficiency_curve(paper_market(benchmark, method), SEED) for benchmark, method in SETTINGS]


def in_words(curve: InefficiencyCurve) -> str:
    """One line on a setting: largest inefficiency, what is left at the end, windows of two equilibria."""
    beta, most = curve.peak
    line = (
        f"{curve.benchmark:6}{METHOD_NAMES[curve.method]:17} largest {100 * most:5.1f} % "
        f"at beta = {beta:5,.0f}, {100 * curve.reached[-1]:4.1f} % at beta = {curve.beta[-1]:,.0f}"
    )
    if curve.windows:
        ranges = ", ".join(f"{low:,.0f} to {high:,.0f}" for low, high in curve.windows)
        gap = 100 * (curve.worst - curve.best).max()
        line += f"; two equilibria at beta = {ranges}, up to {gap:.1f} points apart"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/out/analysis"), help="folder for the figure")
    out = parser.parse_args().out
    curves = inefficiency_by_rationality()
    print("Inefficiency of the market (optimal welfare over welfare where the dynamics end, minus one):")
    for curve in curves:
        print(" ", in_words(curve))
    write_figure(
        inefficiency_figure(curves),
        out / "inefficiency_by_rationality",
        {"scenario": "the paper's nine settings", "seed": SEED},
    )


if __name__ == "__main__":
    main()

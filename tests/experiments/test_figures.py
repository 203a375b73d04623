"""The house style: colours, files, and figures whose words are all there to be read."""

import itertools
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from market_sim.economy.quality import bundled_prices
from market_sim.experiments import figures, house_style, paper_figures, saved_figures
from market_sim.experiments.figures import SurplusSplit
from market_sim.experiments.house_style import MODELS, style_of
from market_sim.experiments.paper import BETAS, paper_market
from market_sim.simulation.model import MarketModel

# Linear-RGB matrices of full dichromacy (Machado, Oliveira & Fernandes 2009, severity 1.0).
SIGHTS = {
    "full": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}

SPLITS = [
    SurplusSplit(
        name="pay per compute", user_value_usd=0.0058, provider_profit_usd=0.00025, lost_usd=0.00121
    ),
    SurplusSplit(name="users lose", user_value_usd=-0.002, provider_profit_usd=0.005, lost_usd=0.00426),
    SurplusSplit(name="a lucky round", user_value_usd=0.0078, provider_profit_usd=-0.0003, lost_usd=-0.00024),
]


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of a colour as an eye of that sight sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(sight @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def run(n_rounds: int, **keywords: object) -> tuple[dict, dict]:
    model = MarketModel(users=50, rng=1, **keywords)
    for _ in range(n_rounds):
        model.step()
    return model.recorder.rounds(), model.recorder.providers()


def play(n_rounds: int, **keywords: object) -> Figure:
    return figures.play_figure(*run(n_rounds, **keywords), "a run")


FIGURES: dict[str, Callable[[], Figure]] = {
    "surplus": lambda: figures.surplus_bars(SPLITS, "GSM8K, majority voting"),
    "surplus of one": lambda: figures.surplus_bars(SPLITS[:1]),
    "play": lambda: play(20),
    "play of an auction": lambda: play(3, regime="second_price_auction", rule="truthful"),
    "play of two kinds of levels": lambda: play(5, method="reasoning_effort", benchmark="AIME"),
    "long play": lambda: play(500),
    "first round": lambda: play(0),
    "curves": lambda: paper_figures.curves_figure([paper_market(b, "best_of_n") for b in ("GSM8K", "AIME")]),
    "value": lambda: paper_figures.value_figure([paper_market("GPQA", "reasoning_effort")]),
    "dynamics": lambda: paper_figures.dynamics_figure(
        paper_figures.dynamics(paper_market("AIME", "reasoning_effort"), BETAS, 0)
    ),
    "inefficiency": lambda: paper_figures.inefficiency_figure(
        [
            paper_figures.inefficiency_curve(paper_market("GSM8K", m), 0)
            for m in ("best_of_n", "majority_voting")
        ]
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_written_over_another(name: str) -> None:
    fig = FIGURES[name]()
    fig.set_dpi(house_style.PNG_DPI)
    fig.draw_without_rendering()
    page = fig.bbox
    boxes = {text: text.get_window_extent() for text in drawn_texts(fig)}
    for text, box in boxes.items():
        inside = box.x0 >= page.x0 and box.y0 >= page.y0 and box.x1 <= page.x1 and box.y1 <= page.y1
        assert inside, f"{text.get_text()!r} is cut off"
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap) <= 2, f"{one.get_text()!r} is written over {other.get_text()!r}"


def drawn_texts(fig: Figure) -> list[Text]:
    """The texts that reach the page: axes also keep labels of ticks beyond their limits."""
    axes = [axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)]
    labels = {
        label
        for axis in axes
        for tick in (*axis.majorTicks, *axis.minorTicks)
        for label in (tick.label1, tick.label2)
    }
    drawn = {tick.label1 for axis in axes if axis.axes.axison for tick in axis._update_ticks()}
    return [
        text
        for text in fig.findobj(Text)
        if text.get_visible() and text.get_text().strip() and (text not in labels or text in drawn)
    ]


def test_every_model_of_the_paper_has_a_colour_of_its_own() -> None:
    assert set(MODELS) == set(bundled_prices())
    assert len({style.colour for style in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("sight", SIGHTS)
def test_models_can_be_told_apart_by_every_eye(sight: str) -> None:
    """By a clear difference in colour (CIE 1976), or by the marker too where it is smaller."""
    for (one, a), (other, b) in itertools.combinations(MODELS.items(), 2):
        distance = np.linalg.norm(lab(a.colour, SIGHTS[sight]) - lab(b.colour, SIGHTS[sight]))
        assert distance > (20 if a.marker == b.marker else 9), f"{one} and {other}: {distance:.1f}"


def test_shade_follows_size_within_a_family() -> None:
    for family in ("Llama-3", "Qwen2-", "Qwen2.5", "R1-D"):
        lightness = [lab(MODELS[m].colour, SIGHTS["full"])[0] for m in MODELS if m.startswith(family)]
        assert lightness == sorted(lightness, reverse=True), family


def test_a_model_keeps_its_colour_whatever_its_provider_is_called() -> None:
    assert style_of("Qwen2-7B (best_of_n)") == style_of("Qwen2-7B")


def test_unknown_models_have_stable_colours_of_their_own() -> None:
    names = ["MyModel", "MyModel-2", "gpt-oss-20b", "gemma-3-4b", "Mistral-7B", "Phi-4"]
    assert len({style_of(name).colour for name in names}) == len(names)
    assert style_of("MyModel").colour == style_of("MyModel (best_of_n)").colour
    assert not {style_of(name).colour for name in names} & {style.colour for style in MODELS.values()}
    code = "from market_sim.experiments.house_style import style_of; print(style_of('MyModel').colour)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == style_of("MyModel").colour


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    about = {"scenario": "gsm8k-majority", "seed": 7}
    first = saved_figures.save(figures.surplus_bars(SPLITS), tmp_path / "a" / "bars", about)
    second = saved_figures.save(figures.surplus_bars(SPLITS), tmp_path / "b" / "bars", about)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["bars.png", "bars.svg"]


def test_files_tell_scenario_and_seed(tmp_path: Path) -> None:
    about = {"scenario": "beta=0.5", "seed": 7}
    png, svg = saved_figures.save(figures.surplus_bars(SPLITS), tmp_path / "beta=0.5", about)
    assert (png.name, svg.name) == ("beta=0.5.png", "beta=0.5.svg")
    with Image.open(png) as image:
        assert json.loads(image.text["Description"]) == about
        assert image.info["dpi"][0] == pytest.approx(house_style.PNG_DPI, abs=1)
    described = ElementTree.parse(svg).find(".//{http://purl.org/dc/elements/1.1/}description")
    assert described is not None
    assert json.loads(described.text or "") == about


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    png, svg = saved_figures.save(figures.surplus_bars(SPLITS), tmp_path / "bars", {})
    before = png.read_bytes()
    broken = figures.surplus_bars(SPLITS)
    broken.savefig = lambda *args, **kwargs: (_ for _ in ()).throw(OSError("disk full"))  # type: ignore[method-assign]
    with pytest.raises(OSError, match="disk full"):
        saved_figures.save(broken, tmp_path / "bars", {})
    assert png.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [png, svg]


def test_a_bar_ends_at_the_first_best_and_begins_left_of_zero_by_what_is_negative() -> None:
    fig = figures.surplus_bars(SPLITS)
    bars = fig.axes[0].patches
    for row, split in enumerate(SPLITS):
        edges = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars[row :: len(SPLITS)]]
        parts = (split.user_value_usd, split.provider_profit_usd, split.lost_usd)
        assert min(min(edge) for edge in edges) == pytest.approx(1000 * sum(p for p in parts if p < 0))
        assert max(max(edge) for edge in edges) == pytest.approx(1000 * sum(p for p in parts if p > 0))


def test_the_legend_of_the_bars_looks_like_the_bars() -> None:
    bars, table = figures.surplus_bars(SPLITS).axes
    looks = [
        [(patch.get_facecolor(), patch.get_hatch()) for patch in patches]
        for patches in (bars.patches[:: len(SPLITS)], table.patches)
    ]
    assert len(table.patches) == 3
    assert looks[0] == looks[1]


def test_the_play_figure_draws_the_runs_own_numbers() -> None:
    rounds, providers = run(30)
    fig = figures.play_figure(rounds, providers, "a run")
    lines = {line.get_label(): line for line in fig.axes[1].lines}
    welfare = 1000 * rounds["expected_welfare_usd"]
    np.testing.assert_allclose(lines["welfare"].get_ydata()[:-1], welfare)
    np.testing.assert_allclose(
        lines["first best"].get_ydata()[:-1], welfare + 1000 * rounds["first_best_gap_usd"]
    )
    assert (lines["optimum of the regime"].get_ydata() >= lines["welfare"].get_ydata() - 1e-9).all()


def test_drawing_changes_no_global_setting() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    play(2)
    assert dict(mpl.rcParams) == before

"""`market-sim report`: one HTML file for a run, a comparison or a sweep, to be read, printed or sent.

The page holds its figures, its tables and the scenario and manifest it came from, and nothing is loaded
from anywhere.  It is made from the folder alone: the same folder gives the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from market_sim.errors import InputError
from market_sim.experiments import store
from market_sim.experiments.compare import TITLES as REGIME_TITLES
from market_sim.experiments.figures import play_figure
from market_sim.experiments.house_style import METHOD_NAMES
from market_sim.experiments.html import Cell, Listing, Picture, Section, Table, Words, page
from market_sim.experiments.run import Run, load_run
from market_sim.experiments.saved_figures import svg_bytes
from market_sim.experiments.sweep_report import sweep_sections
from market_sim.experiments.uncertainty_rows import OF_PLAY, interval_rows, winner_rows
from market_sim.experiments.words import PER, TITLES, convergence_rows, level_text, measure_text, usd_text
from market_sim.theory.convergence import batch_means

REPORT = "report.html"

MOST_ROUNDS = 60
"""Rows of the table of rounds: longer runs are shown at even distances."""

EXPLAINED = {
    "welfare": "what answers are worth less what they cost to serve: users' value plus providers' profit",
    "user value": "what answers are worth to users less what they pay",
    "log-sum surplus": "users' surplus if the noise in their choices is taste rather than mistakes",
    "first best": "every request served by the best level of the best provider",
    "inefficiency": "the best welfare under the same allocation rule over welfare, minus one",
    "expected": "given what providers do in a round, before users' and answers' luck",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written: where, of what kind ("run", "comparison" or "sweep"), and its headings."""

    path: Path
    kind: str
    sections: tuple[str, ...]
    size: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "report": str(self.path),
            "kind": self.kind,
            "sections": list(self.sections),
            "bytes": self.size,
        }


def report(folder: Path | str, out: Path | str | None = None) -> Report:
    """Write the report of a run's, a comparison's or a sweep's folder.

    out  the file; None: report.html in the folder
    Raises InputError where the folder is none of the three, or not whole.
    """
    folder = Path(folder)
    kind = kind_of(folder)
    title, lead, sections = {"run": _of_run, "comparison": _of_comparison, "sweep": _of_sweep}[kind](folder)
    text = page(title, lead, sections)
    path = folder / REPORT if out is None else Path(out)
    store.write_text(path, text)
    return Report(
        path=path,
        kind=kind,
        sections=tuple(section.title for section in sections),
        size=len(text.encode()),
    )


def kind_of(folder: Path) -> str:
    """What a folder holds: "run", "comparison" or "sweep"."""
    if not folder.is_dir():
        known = "it is a file" if folder.exists() else "there is no such folder"
        raise InputError(f"{folder}: {known}; wanted is the folder of a run, a comparison or a sweep")
    if (folder / "comparison.json").is_file():
        return "comparison"
    if (folder / "sweep.toml").is_file():
        return "sweep"
    if store.manifest_of(folder) is not None and (folder / "rounds.parquet").is_file():
        return "run"
    inside = _reportable(folder)
    hint = f"; inside it there is {inside}" if inside else ""
    raise InputError(f"{folder}: is not the whole folder of a run, a comparison or a sweep{hint}")


def _reportable(folder: Path) -> str:
    """A folder inside that has a report, to name it to who stood one floor too high."""
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return ""
    for path in inside:
        if any((path / name).is_file() for name in ("comparison.json", "sweep.toml", store.MANIFEST)):
            return str(path)
    return ""


# --- A run ------------------------------------------------------------------------------------------


def _of_run(folder: Path) -> tuple[str, str, list[Section]]:
    run = load_run(folder)
    late = run.rounds["round"][run.late()]
    lead = (
        f"One run under {_named(run.regime)}, seed {run.seed}, {run.rounds['round'][-1]:,} rounds. Averages "
        f"are over rounds {late[0]:,} to {late[-1]:,}; money is in USD per {PER:,} queries."
    )
    if run.regime != run.regime_at_first:
        lead += f" It began under {_named(run.regime_at_first)}."
    sections = [
        Section(
            title="What happened",
            parts=[_play(run), _averages(run), _providers(run), _convergence(run)],
        ),
        Section(title="Rounds", parts=[_rounds(run)]),
        _explained(),
        Section(title="Scenario", parts=[_file(folder / "scenario.toml")]),
        Section(title="Manifest", parts=[_manifests([folder])]),
    ]
    return f"{run.name}: {_named(run.regime)}", lead, sections


def _play(run: Run) -> Picture:
    figure = play_figure(run.rounds, run.providers, f"{run.name}, {_named(run.regime)}")
    says = (figure.get_suptitle() or run.name).replace("\n", " ")
    about = {"scenario": run.name, "seed": run.seed, "regime": run.regime}
    return Picture(svg=svg_bytes(figure, about), says=says)


def _averages(run: Run) -> Table:
    rows = []
    for name in run.rounds:
        if name == "round" or name not in TITLES:
            continue
        series = run.rounds[name][run.late()]
        series = series[np.isfinite(series)]
        title, text = measure_text(name, float(series.mean()) if len(series) else None)
        width = batch_means(series).half_width if len(series) > 1 else np.nan
        rows.append(
            [
                Cell(text=title),
                _number(text, run.mean(name)),
                _number("" if np.isnan(width) else measure_text(name, width)[1], width),
            ]
        )
    return Table(
        caption=f"Averages over the late rounds, USD per {PER:,} queries where money, with half of a 95 % "
        "interval from means of batches of rounds",
        headers=("measure", "mean", "±"),
        rows=rows,
    )


def _providers(run: Run) -> Table:
    late = run.providers["round"] >= run.rounds["round"][run.late()][0]
    tasks = run.providers["benchmark"]
    many = len(set(tasks.tolist())) > 1
    rows = []
    for name, means in run.provider_means().items():
        provider, _, task = name.partition(" / ") if many else (name, "", "")
        own = late & (run.providers["provider"] == provider) & ((tasks == task) | (not many))
        requests, revenue, profit, tokens = (
            float(run.providers[key][own].sum())
            for key in ("requests", "revenue_usd", "profit_usd", "tokens")
        )
        each = [value / requests if requests > 0 else np.nan for value in (revenue, profit)]
        level = means["compute_level"]
        rows.append(
            [
                Cell(text=name),
                _number(level_text(level), level),
                _number(f"{means['share']:.1%}", means["share"]),
                *(_number("" if np.isnan(value) else usd_text(value), value) for value in each),
                _number(
                    "" if requests <= 0 else f"{tokens / requests:,.0f}",
                    tokens / requests if requests > 0 else np.nan,
                ),
            ]
        )
    return Table(
        caption=f"Providers: last compute level, and means over the late rounds (USD per {PER:,} queries "
        "served)",
        headers=("provider", "level", "share", "paid", "profit", "tokens per query"),
        rows=rows,
    )


def _convergence(run: Run) -> Table:
    rows = [[Cell(text=title.strip()), Cell(text=text)] for title, text in convergence_rows(run.reached)]
    return Table(
        caption=f"Where play ended up, USD per {PER:,} queries", headers=("measure", "found"), rows=rows
    )


def _rounds(run: Run) -> Table:
    n = len(run.rounds["round"])
    shown = np.unique(np.linspace(0, n - 1, min(n, MOST_ROUNDS)).round().astype(int))
    columns = [
        name
        for name in (
            "expected_welfare_usd",
            "expected_user_value_usd",
            "welfare_usd",
            "user_value_usd",
            "price_usd",
            "inefficiency",
            "accuracy",
            "tokens_per_query",
        )
        if name in run.rounds
    ]
    rows = [
        [
            _number(f"{run.rounds['round'][t]:,}", float(run.rounds["round"][t])),
            *(_measured(name, float(run.rounds[name][t])) for name in columns),
        ]
        for t in shown
    ]
    of = "every round" if len(shown) == n else f"{len(shown)} of {n:,} rounds at even distances"
    return Table(
        caption=f"{of.capitalize()}; all columns of all rounds are in rounds.parquet",
        headers=("round", *(TITLES[name].split(" (")[0] for name in columns)),
        rows=rows,
    )


# --- A comparison -----------------------------------------------------------------------------------


COMPARED = (
    "expected_welfare_usd",
    "expected_user_value_usd",
    "expected_provider_profit_usd",
    "log_sum_surplus_usd",
    "expected_price_usd",
    "first_best_gap_usd",
    "inefficiency",
    "accuracy",
    "tokens_per_query",
    "outside_share",
    "welfare_usd",
    "user_value_usd",
    "provider_profit_usd",
    "price_usd",
)

PAIRED = ("welfare_usd", "user_value_usd", "provider_profit_usd", "price_usd")
"""Realised measures whose differences between regimes are taken round by round."""


def _of_comparison(folder: Path) -> tuple[str, str, list[Section]]:
    data = store.read_json(folder / "comparison.json", _comparison)
    regimes = [row["regime"] for row in data["regimes"]]
    folders = [folder.parent / name for name in data.get("runs", ()) if name]
    folders = [path for path in folders if store.manifest_of(path) is not None]
    runs = [load_run(path) for path in folders]
    lead = (
        f"The same users, tasks and shocks (seed {data['seed']}) under {_listed(map(_named, regimes))}; "
        f"averages over the later half of the rounds, money in USD per {PER:,} queries."
    )
    pictures = {path.stem: _drawn(path) for path in sorted(folder.glob("*.svg"))}
    found: list[Table | Picture | Words | Listing] = [Words(points=data["sentences"])]
    found += [pictures["surplus"]] if "surplus" in pictures else []
    found += [_side_by_side(data["regimes"])]
    if len(runs) == len(regimes) > 1:
        found.append(_differences(runs))
    found.append(_market_shares(data["regimes"]))
    sections = [Section(title="What differs", parts=found)]
    for number, regime in enumerate(regimes):
        play = pictures.get(f"play-{regime}")
        parts: list[Table | Picture | Words | Listing] = [play] if play else []
        if len(runs) == len(regimes):
            parts += [_providers(runs[number]), _convergence(runs[number])]
        if parts:
            sections.append(Section(title=f"Under {_named(regime)}", parts=parts))
    if data.get("uncertainty"):
        sections.append(_how_sure(data["uncertainty"]))
    sections.append(_explained())
    if folders:
        files = [_file(path / "scenario.toml", under=path.name) for path in folders]
        sections += [
            Section(title="Scenarios", parts=files),
            Section(title="Manifests", parts=[_manifests(folders)]),
        ]
    else:
        gone = "The folders of the runs do not stand beside this comparison, and with them their scenarios."
        sections.append(Section(title="Scenarios", parts=[Words(points=[gone])]))
    return f"{data['name']}: {_listed(map(_named, regimes))}", lead, sections


def _comparison(data: dict[str, Any]) -> dict[str, Any]:
    """What comparison.json must hold."""
    for row in data["regimes"]:
        row["regime"], row["shares"].items()
    data["name"], data["seed"], list(data["sentences"])
    for each in data.get("uncertainty", ()):
        interval_rows(each), winner_rows(each), each["assumption"], each["sentences"]
    return data


def _how_sure(uncertainty: Sequence[Mapping[str, Any]]) -> Section:
    """The market solved for every draw of its curves, a benchmark after the other."""
    parts: list[Table | Picture | Words | Listing] = [Words(points=[OF_PLAY])]
    for each in uncertainty:
        method = METHOD_NAMES.get(each["method"], each["method"])
        of = f"{each['benchmark']}, {method}, β = {each['beta']:,g} per USD"
        parts += [
            Words(points=each["sentences"]),
            Table(
                caption=f"{of}: {each['draws']:,} draws; USD per {PER:,} queries where money",
                headers=("measure", "as measured", f"{100 * each['confidence']:g} % interval"),
                rows=[
                    [Cell(text=row.title), _number(row.measured, row.value), Cell(text=row.interval)]
                    for row in interval_rows(each)
                ],
            ),
            Table(
                caption=f"{of}: the auction, share of draws",
                headers=("provider", "wins", "second best"),
                rows=[
                    [
                        Cell(text=name),
                        _number(wins, each["winner"][name]),
                        _number(second, each["runner_up"][name]),
                    ]
                    for name, wins, second in winner_rows(each)
                ],
            ),
            Words(points=[each["assumption"]]),
        ]
    return Section(title="How sure", parts=parts)


def _side_by_side(regimes: Sequence[Mapping[str, Any]]) -> Table:
    names = [name for name in COMPARED if name in regimes[0]]
    rows = [[Cell(text=TITLES[name]), *(_measured(name, row[name]) for row in regimes)] for name in names]
    return Table(
        caption=f"Averages, USD per {PER:,} queries where money",
        headers=("measure", *(_named(row["regime"]) for row in regimes)),
        rows=rows,
    )


def _differences(runs: Sequence[Run]) -> Table:
    """What changes against the first regime, round by round, with intervals that know rounds are related."""
    base, rows = runs[0], []
    for run in runs[1:]:
        for name in PAIRED:
            change = run.rounds[name][run.late()] - base.rounds[name][base.late()]
            found = batch_means(change[np.isfinite(change)])
            rows.append(
                [
                    Cell(text=f"{TITLES[name]}, {_named(run.regime)}"),
                    _number(f"{PER * found.mean:+.3f}", found.mean),
                    _number(usd_text(found.half_width) if found.n > 1 else "", found.half_width),
                ]
            )
    return Table(
        caption=f"Change against {_named(base.regime)}, realised, paired round by round: mean and half of a "
        f"95 % interval (means of batches of rounds), USD per {PER:,} queries",
        headers=("measure", "change", "±"),
        rows=rows,
    )


def _market_shares(regimes: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        [
            Cell(text=provider),
            *(_number(f"{row['shares'][provider]:.1%}", row["shares"][provider]) for row in regimes),
        ]
        for provider in regimes[0]["shares"]
    ]
    return Table(
        caption="Share of all requests that each provider serves",
        headers=("provider", *(_named(row["regime"]) for row in regimes)),
        rows=rows,
    )


# --- A sweep ----------------------------------------------------------------------------------------


def _of_sweep(folder: Path) -> tuple[str, str, list[Section]]:
    title, lead, sections = sweep_sections(folder)
    manifest = [_manifests([folder])] if (folder / store.MANIFEST).is_file() else []
    return (
        title,
        lead,
        [
            *sections,
            _explained(),
            Section(title="Sweep file", parts=[_file(folder / "sweep.toml")]),
            *([Section(title="Manifest", parts=manifest)] if manifest else []),
        ],
    )


# --- Shared -----------------------------------------------------------------------------------------


def _explained() -> Section:
    points = [f"{name.capitalize()}: {text}." for name, text in EXPLAINED.items()]
    return Section(title="How to read it", parts=[Words(points=points)])


def _file(path: Path, under: str = "") -> Listing:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    return Listing(name=f"{under}/{path.name}" if under else path.name, text=text)


def _manifests(folders: Sequence[Path]) -> Table:
    """What made it, key by key; folders side by side."""
    found = [_flat(store.read_json(folder / store.MANIFEST, dict)) for folder in folders]
    keys = list(dict.fromkeys(key for manifest in found for key in manifest))
    heads = [str(manifest.get("regime", "value")) for manifest in found]
    return Table(
        caption="What it was made with, and when",
        headers=("key", *heads),
        rows=[[Cell(text=key), *(Cell(text=manifest.get(key, "")) for manifest in found)] for key in keys],
    )


def _flat(data: Mapping[str, Any], head: str = "") -> dict[str, str]:
    """Nested tables as dotted keys, values as text."""
    flat: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{head}{key}.")
        else:
            flat[f"{head}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _drawn(path: Path) -> Picture:
    """A picture of a folder, and its title as what it says."""
    try:
        svg = path.read_bytes()
        title = ElementTree.fromstring(svg).find(".//{http://purl.org/dc/elements/1.1/}title")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ElementTree.ParseError:
        raise InputError(f"{path}: is not a picture in SVG") from None
    return Picture(svg=svg, says=path.stem if title is None or not title.text else title.text)


def _measured(name: str, value: float | None) -> Cell:
    known = value is not None and np.isfinite(value)
    return _number(measure_text(name, value if known else None)[1], value if known else None)


def _number(text: str, value: float | None) -> Cell:
    """A cell sorted by a number; NaN and None sort after all numbers."""
    return Cell(text=text, number=None if value is None or not np.isfinite(value) else float(value))


def _named(regime: str) -> str:
    return REGIME_TITLES.get(regime, regime.replace("_", " "))


def _listed(words: Any) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last

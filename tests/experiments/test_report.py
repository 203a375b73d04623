"""The report as a reader of the file sees it: whole, readable, escaped, and in need of nothing else."""

import base64
import json
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import tomli_w

from market_sim import cli
from market_sim.errors import InputError
from market_sim.experiments import sweep_report
from market_sim.experiments.claims.sensitivity import sensitivity_of_sweep
from market_sim.experiments.compare import compare
from market_sim.experiments.compare_figures import write_comparison
from market_sim.experiments.html import Cell, Listing, Picture, Section, Table, Words, page
from market_sim.experiments.report import report
from market_sim.experiments.run import run
from market_sim.experiments.runner import sweep
from market_sim.experiments.sweep_figures import sweep_figure
from market_sim.experiments.sweep_table import AS_IN_BASE, by_point, contrasts, over_replicates, read_sweep

EVIL = "<script>alert('x')</script> & \"quoted\""
SCENARIO = {
    "name": "small",
    "rounds": 8,
    "market": {"benchmark": "GSM8K", "method": "majority_voting", "models": ["Llama-3-8B", "Qwen2.5-7B"]},
    "users": {"count": 60, "beta": 900.0},
}
VOID = {"meta", "link", "img"}


class Reader(HTMLParser):
    """What a browser would see: elements that nest, attributes, text by element, tables, what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.handlers: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: list[dict[str, list[list[str]]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "poster", "data", "srcset", "background"):
                self.loads.append(value or "")
            if name == "id":
                self.ids.add(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
        if tag == "table":
            self.tables.append({"head": [], "body": []})
        if tag == "tr":
            self.tables[-1]["head" if "thead" in self.open else "body"].append([])
        if tag in ("td", "th"):
            self.tables[-1]["head" if "thead" in self.open else "body"][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)
        if {"td", "th"} & set(self.open):
            part = "head" if "thead" in self.open else "body"
            self.tables[-1][part][-1][-1] += data


def read(path: Path) -> Reader:
    """A page that nests, loads nothing, has no handlers of its own and links to places it has."""
    reader = Reader(path.read_text(encoding="utf-8"))
    assert reader.open == []
    for place in reader.loads:
        assert place.startswith(("data:", "#"))
        assert not place.startswith("#") or place[1:] in reader.ids
    assert reader.handlers == []
    assert reader.tags.count("script") == reader.tags.count("style") == 1
    for style in reader.texts["style"]:
        assert "url(" not in style
        assert "@import" not in style
    for script in reader.texts["script"]:
        assert not any(word in script for word in ("http", "fetch", "import", "XMLHttp", "eval"))
    for table in reader.tables:
        ((*head,),) = table["head"]
        assert head
        assert table["body"]
        assert all(len(row) == len(head) for row in table["body"])
    return reader


def drawn(reader: Reader) -> list[ElementTree.Element]:
    """The pictures of a page, each of them whole."""
    head = "data:image/svg+xml;base64,"
    pictures = [place for place in reader.loads if place.startswith(head)]
    return [ElementTree.fromstring(base64.b64decode(place[len(head) :])) for place in pictures]


def sweep_folder(folder: Path, *, fails: bool = True) -> Path:
    """A sweep as it stands when finished: two regimes, four rationalities, three replicates."""
    folder.mkdir(parents=True)
    axes = {
        "regime.kind": ["pay_per_compute", "second_price_auction"],
        "users.beta": {"from": 100.0, "to": 1e5, "steps": 4, "scale": "log"},
    }
    about = {"name": "by hand", "kind": "run", "seeds": 3, "seed": 1, "scenario": "x.toml", "axes": axes}
    (folder / "sweep.toml").write_text(tomli_w.dumps(about))
    (folder / "manifest.json").write_text(json.dumps({"complete": True, "note": EVIL}))
    rows = []
    for point, (regime, beta) in enumerate((r, b) for r in axes["regime.kind"] for b in np.logspace(2, 5, 4)):
        for replicate in range(3):
            bad = fails and (point, replicate) == (2, 1)
            welfare = 0.006 + 0.001 * point / 8 + 1e-4 * replicate + 1e-5 * (point * replicate % 3)
            rows.append(
                {
                    "point": point,
                    "replicate": replicate,
                    "seed": 7 + replicate,
                    "regime.kind": regime,
                    "users.beta": beta,
                    "status": "failed" if bad else "ok",
                    "error": EVIL if bad else None,
                    "expected_welfare_usd": np.nan if bad else welfare,
                    "expected_user_value_usd": np.nan if bad else 0.9 * welfare,
                    "expected_price_usd": np.nan if bad else 0.001,
                    "inefficiency": np.nan if bad else 0.1,
                }
            )
    pd.DataFrame(rows).to_parquet(folder / "table.parquet")
    return folder


# --- Pages ------------------------------------------------------------------------------------------


def test_everything_given_to_a_page_is_escaped(tmp_path):
    parts = [
        Table(caption=EVIL, headers=(EVIL, EVIL), rows=[[Cell(text=EVIL), Cell(text=EVIL, number=1.5)]]),
        Picture(svg=b"<svg/>", says=EVIL),
        Words(points=[EVIL]),
        Words(points=[EVIL, EVIL]),
        Listing(name=EVIL, text=EVIL),
    ]
    path = tmp_path / "page.html"
    path.write_text(page(EVIL, EVIL, [Section(title=EVIL, parts=parts)]))
    reader = read(path)
    for tag in ("title", "h1", "h2", "h3", "p", "li", "pre", "caption", "th", "td"):
        assert EVIL in "".join(reader.texts[tag])


def test_a_run_s_report_is_whole_and_the_same_bytes_twice(tmp_path):
    played = run(SCENARIO, out=tmp_path)
    written = report(played.folder)
    first = written.path.read_bytes()
    assert (written.path, written.kind) == (played.folder / "report.html", "run")
    assert (report(played.folder, tmp_path / "again.html").path).read_bytes() == first
    reader = read(written.path)
    assert len(drawn(reader)) == 1
    averages, providers, _, rounds, manifest = reader.tables
    assert ["welfare, expected", f"{1000 * played.mean('expected_welfare_usd'):.3f}"] in [
        row[:2] for row in averages["body"]
    ]
    assert [row[0] for row in providers["body"]] == SCENARIO["market"]["models"]
    assert [row[0] for row in rounds["body"]] == [str(t) for t in range(9)]
    assert ["seed", "1"] in manifest["body"]
    assert (played.folder / "scenario.toml").read_text() in reader.texts["pre"]


def test_a_run_is_reused_after_its_report_was_written(tmp_path):
    report(run(SCENARIO, out=tmp_path).folder)
    assert run(SCENARIO, out=tmp_path).reused


def test_a_comparison_s_report_has_every_regime_its_scenario_and_its_figures(tmp_path):
    result = compare(SCENARIO, out=tmp_path)
    folder = write_comparison(result, tmp_path)[0].parent
    written = report(folder)
    assert written.kind == "comparison"
    reader = read(written.path)
    assert len(drawn(reader)) == 1 + len(result.runs)
    for sentence in result.sentences:
        assert sentence in reader.texts["li"]
    measures, differences, shares = reader.tables[:3]
    assert measures["head"][0][1:] == ["pay-per-compute", "the second-price auction"]
    row = next(row for row in measures["body"] if row[0] == "welfare, expected")
    assert row[1:] == [f"{1000 * each.expected_welfare_usd:.3f}" for each in result.measures]
    gain = 1000 * (result.measures[1].welfare_usd - result.measures[0].welfare_usd)
    assert differences["body"][0][1] == f"{gain:+.3f}"
    assert len(shares["body"]) == len(SCENARIO["market"]["models"])
    for played in result.runs:
        assert (played.folder / "scenario.toml").read_text() in reader.texts["pre"]


def test_a_comparison_s_report_says_how_sure_it_is_where_that_was_asked_for(tmp_path):
    result = compare(SCENARIO, out=tmp_path, uncertainty=True, draws=200)
    written = report(write_comparison(result, tmp_path)[0].parent)
    assert "How sure" in written.sections
    reader = read(written.path)
    (found,) = result.uncertainty
    for sentence in (*found.sentences, found.draws.assumption):
        assert sentence in [*reader.texts["li"], *reader.texts["p"]]
    (intervals,) = [table for table in reader.tables if "95 % interval" in table["head"][0]]
    rows = {row[0]: row[1:] for row in intervals["body"]}
    price, loss = found.intervals["auction.price"], found.intervals["inefficiency"]
    low, high = (f"{1000 * end:.3f}" for end in (price.low, price.high))
    assert rows["auction: price"] == [f"{1000 * price.estimate:.3f}", f"{low} to {high}"]
    assert rows["inefficiency"] == [f"{loss.estimate:.1%}", f"{loss.low:.1%} to {loss.high:.1%}"]
    (winners,) = [table for table in reader.tables if table["head"][0][1:] == ["wins", "second best"]]
    assert [row[0] for row in winners["body"]] == SCENARIO["market"]["models"]
    plain = report(write_comparison(compare(SCENARIO, out=tmp_path), tmp_path)[0].parent)
    assert "How sure" not in plain.sections


def test_uncertainty_that_lacks_something_is_a_comparison_that_cannot_be_read(tmp_path):
    file = write_comparison(compare(SCENARIO, rounds=2, uncertainty=True, draws=40), tmp_path)[0]
    data = json.loads(file.read_text())
    del data["uncertainty"][0]["intervals"]["optimum"]["welfare"]["low"]
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"comparison\.json: cannot be read"):
        report(file.parent)


def test_a_comparison_without_its_runs_says_so(tmp_path):
    folder = write_comparison(compare(SCENARIO), tmp_path)[0].parent
    reader = read(report(folder).path)
    assert any("do not stand beside this comparison" in text for text in reader.texts["p"])
    assert len(drawn(reader)) == 3


def test_a_sweep_s_report_has_every_point_its_failures_and_corrected_tests(tmp_path):
    written = report(sweep_folder(tmp_path / "sweep"))
    reader = read(written.path)
    assert written.kind == "sweep"
    assert len(drawn(reader)) == 1
    tests, points, failures, manifest = reader.tables
    assert len(points["body"]) == 8
    assert [row[-1] for row in points["body"]].count("2") == 1  # the point with a failed run
    assert failures["body"] == [["2", "1", "pay_per_compute", "10000", "failed", EVIL]]
    assert ["note", EVIL] in manifest["body"]
    assert {row[-1] for row in tests["body"]} == {"3"}
    assert any("24 runs (23 ok, 1 failed)" in text for text in reader.texts["p"])


def test_contrasts_are_over_pairs_that_every_replicate_has(tmp_path):
    table = read_sweep(sweep_folder(tmp_path / "sweep"))
    (found,) = contrasts(table, "regime.kind", ["expected_welfare_usd"])
    wide = table.frame.pivot(index="replicate", columns="point", values="expected_welfare_usd")
    change = wide[[4, 5, 7]].to_numpy() - wide[[0, 1, 3]].to_numpy()  # a run of point 2 failed
    assert found.difference.mean == pytest.approx(change.mean())
    assert (found.difference.n, found.difference.left_out, found.difference.of) == (3, 3, 12)
    assert found.adjusted_p == found.difference.p_value  # one test needs no correction


def test_failed_runs_do_not_turn_what_settings_change_into_chance(tmp_path):
    """The auction changes nothing at three rationalities and much at one, whose runs fail in a replicate."""
    folder = sweep_folder(tmp_path / "sweep", fails=False)
    frame = pd.read_parquet(folder / "table.parquet")
    much = frame["point"].isin([3, 7])
    frame["expected_welfare_usd"] = np.where(frame["point"] == 7, 0.016, 0.006)
    frame.loc[much & (frame["replicate"] == 2), "status"] = "failed"
    frame.to_parquet(folder / "table.parquet")
    table = read_sweep(folder)
    (found,) = contrasts(table, "regime.kind", ["expected_welfare_usd"])
    assert (found.difference.mean, found.difference.half_width) == (0.0, 0.0)
    auction = table.ok[table.ok["regime.kind"] == "second_price_auction"]
    assert over_replicates(auction, "expected_welfare_usd").mean == pytest.approx(0.006)
    said = [text for texts in read(report(folder).path).texts.values() for text in texts]
    assert any("up to 3 of 12 runs are left out of a mean" in text for text in said)


def test_settings_that_change_several_keys_together_are_compared_as_one_axis(tmp_path):
    settings = [
        {"users.information": "full"},
        {"users.information": "experience", "users.network": {"kind": "none"}},
        {"users.information": "experience", "users.network": {"kind": "complete"}},
    ]
    data = {
        "name": "known",
        "seeds": 3,
        "rounds": 10,
        "base": {"market": {"benchmark": "AIME", "method": "reasoning_effort"}, "users": {"count": 40}},
        "axes": {"users.beta": [200, 5000]},
        "design": {"kind": "list", "settings": settings},
    }
    folder = sweep(data, out=tmp_path, workers=1).folder
    table = read_sweep(folder)
    assert table.settings == ("users.information", "users.network")
    welfare = table.ok.groupby(["users.network", "replicate"])["expected_welfare_usd"].mean().unstack(0)
    full = welfare[AS_IN_BASE]
    tests, points = read(report(folder).path).tables[:2]
    rows = {row[0]: row[1:] for row in tests["body"] if row[0].startswith("welfare, expected, ")}
    for name, kind in (("none", '{"kind": "none"}'), ("complete", '{"kind": "complete"}')):
        change = 1000 * (welfare[kind] - full)
        told = rows.pop(f"welfare, expected, information experience, network {name}")
        assert told[0] == f"{change.mean():+.3f}"
        assert told[1] == f"{4.30265 * change.sem():.3f}"  # Student's t
    assert not rows
    assert len(points["body"]) == 6
    assert points["head"][0][1:4] == ["users.beta", *table.settings]


@pytest.mark.parametrize("kind", ["sobol", "morris"])
def test_a_design_for_indices_is_reported_by_its_indices(tmp_path, monkeypatch, kind):
    axes = {
        "market.margin": {"from": 0.05, "to": 1.0},
        "users.beta": {"from": 100, "to": 1e5, "scale": "log"},
    }
    base = {"market": {"benchmark": "AIME", "method": "reasoning_effort"}}
    design = {"kind": kind, "points": 32} | ({"order": 2} if kind == "sobol" else {"levels": 6})
    data = {"name": "made", "kind": "solve", "base": base, "axes": axes, "design": design}
    folder = sweep(data, out=tmp_path).folder
    welfare, inefficiency = sensitivity_of_sweep(read_sweep(folder), ["welfare", "inefficiency"])
    reader = read(report(folder).path)
    indices = {row[0]: row[1:] for row in reader.tables[0]["body"]}
    assert list(indices) == [f"{name}, {axis}" for name in ("welfare", "inefficiency") for axis in axes]
    own = indices["welfare, users.beta"]
    points = reader.tables[1]
    if kind == "sobol":
        assert own[0] == f"{round(welfare.first[1], 2) + 0.0:.2f}"
        assert own[2:] == [f"{welfare.total[1]:.2f}", f"{welfare.total_half_width[1]:.2f}"]
        (pair, _) = reader.tables[1]["body"]
        assert pair[:2] == [
            "welfare, market.margin with users.beta",
            f"{round(welfare.second[0, 1], 2) + 0.0:.2f}",
        ]
        points = reader.tables[2]
    else:
        assert own[0] == f"{1000 * welfare.mu_star[1]:.3f}"
        assert indices["inefficiency, users.beta"][0] == f"{100 * inefficiency.mu_star[1]:.1f} points"
    assert len(points["body"]) == 50
    monkeypatch.setitem(sys.modules, "SALib", None)
    without = read(report(folder).path)
    assert any("need the package SALib" in text for text in without.texts["p"])
    assert len(without.tables[0]["body"]) == 50


def test_changes_of_shares_are_told_in_points(tmp_path):
    folder = sweep_folder(tmp_path / "sweep", fails=False)
    frame = pd.read_parquet(folder / "table.parquet")
    frame["accuracy"] = np.where(frame["point"] > 3, 0.559, 0.5) + 0.01 * frame["replicate"]
    frame.to_parquet(folder / "table.parquet")
    tests, points = read(report(folder).path).tables[:2]
    (row,) = [row for row in tests["body"] if row[0] == "accuracy of answers, second_price_auction"]
    assert row[1:3] == ["+5.9 points", "0.0 points"]
    assert points["body"][0][-2].startswith("51.0%")


def test_only_points_that_are_shown_are_worked_out(tmp_path, monkeypatch):
    folder = sweep_folder(tmp_path / "sweep", fails=False)
    asked = []
    monkeypatch.setattr(sweep_report, "MOST_POINTS", 3)
    monkeypatch.setattr(
        sweep_report, "by_point", lambda table, names: (asked.append(table), by_point(table, names))[1]
    )
    reader = read(report(folder).path)
    assert [row[0] for row in reader.tables[1]["body"]] == ["0", "1", "2"]
    assert any("the first 3 of 8 points" in text for text in reader.texts["caption"])
    assert len(asked[0].frame) == 3 * 3


def test_axes_are_those_of_the_manifest_dots_or_not(tmp_path):
    settings = [{"rounds": 5}, {"rounds": 10}]
    base = {"market": {"benchmark": "AIME", "method": "reasoning_effort"}, "users": {"count": 20}}
    data = {"name": "long", "base": base, "design": {"kind": "list", "settings": settings}}
    folder = sweep(data, out=tmp_path, workers=1).folder
    assert read_sweep(folder).axes == ("rounds",)


def test_a_sampled_design_is_drawn_axis_by_axis_and_the_same_bytes_twice(tmp_path):
    folder = sweep_folder(tmp_path / "sweep", fails=False)
    about = (folder / "sweep.toml").read_text()
    (folder / "sweep.toml").write_text(about + '\n[design]\nkind = "latin_hypercube"\npoints = 8\n')
    first = report(folder).path.read_bytes()
    assert report(folder).path.read_bytes() == first
    reader = read(folder / "report.html")
    assert any("8 points of a latin hypercube design" in text for text in reader.texts["p"])
    assert len(drawn(reader)) == 1
    assert all("Runs that did not go well" not in text for text in reader.texts["h2"])


def test_a_sampled_design_has_a_colour_for_each_regime(tmp_path):
    folder = sweep_folder(tmp_path / "sweep", fails=False)
    about = (folder / "sweep.toml").read_text()
    (folder / "sweep.toml").write_text(about + '\n[design]\nkind = "latin_hypercube"\npoints = 4\n')
    figure = sweep_figure(read_sweep(folder), ["expected_welfare_usd"])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["pay-per-compute", "the second-price auction"]
    (ax,) = figure.axes
    means = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 10]
    assert len(means) == 2
    assert (means[0] < means[1]).all()


def test_what_a_setting_leaves_out_is_said_to_be_as_in_the_base(tmp_path):
    folder = sweep_folder(tmp_path / "sweep", fails=False)
    frame = pd.read_parquet(folder / "table.parquet")
    frame["market.method"] = frame["regime.kind"].where(frame["point"] > 1, None)
    frame["market.margin"] = np.where(frame["point"] > 1, 0.2, np.nan)
    frame.to_parquet(folder / "table.parquet")
    (points,) = [t for t in read(report(folder).path).tables if t["head"][0][0].startswith("point")]
    assert [row[3:5] for row in points["body"]] == [["as in the base"] * 2] * 2 + [
        ["pay_per_compute", "0.2"]
    ] * 2 + [["second_price_auction", "0.2"]] * 4


def test_the_sentence_about_an_unfinished_sweep_says_how_to_finish_it(tmp_path, monkeypatch):
    data = {"name": "half", "kind": "solve", "base": {"market": {"benchmark": "GSM8K"}}}
    data["axes"] = {"users.beta": [200.0, 1000.0]}
    data["base"]["market"]["method"] = "majority_voting"
    folder = sweep(data, out=tmp_path).folder
    (folder / "table.parquet").unlink()
    about = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(about | {"complete": False}))
    with pytest.raises(InputError, match="is not finished") as caught:
        report(folder)
    _, _, command = str(caught.value).partition("this finishes it: market-sim ")
    monkeypatch.setattr("sys.argv", ["market-sim", *shlex.split(command)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert report(folder).kind == "sweep"


def test_a_sweep_in_which_nothing_went_well_still_has_a_report(tmp_path):
    folder = sweep_folder(tmp_path / "sweep")
    frame = pd.read_parquet(folder / "table.parquet")
    frame.assign(status="failed", error=EVIL).to_parquet(folder / "table.parquet")
    reader = read(report(folder).path)
    assert any("No run of this sweep went well" in text for text in reader.texts["p"])
    assert len(reader.tables[0]["body"]) == 24


# --- Bad folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda at: None, "there is no such folder"),
        (lambda at: at.write_text("x"), "it is a file"),
        (lambda at: at.mkdir(), "is not the whole folder of a run, a comparison or a sweep"),
        (lambda at: sweep_folder(at / "inner"), "inside it there is"),
        (lambda at: (at.mkdir(), (at / "sweep.toml").write_text("")), "is not finished"),
        (lambda at: (at.mkdir(), (at / "comparison.json").write_text("{")), "cannot be read"),
        (
            lambda at: (sweep_folder(at), (at / "table.parquet").write_text("no")),
            "is not a table in Parquet",
        ),
        (lambda at: (sweep_folder(at), (at / "sweep.toml").write_text("= 1")), "is not TOML"),
    ],
)
def test_a_bad_folder_is_one_sentence(tmp_path, make, says):
    at = tmp_path / "folder"
    make(at)
    with pytest.raises(InputError, match=says):
        report(at)


def test_the_command_prints_the_path_or_one_json_object_and_ends_with_2_for_a_bad_folder(
    tmp_path, monkeypatch, capsys
):
    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["market-sim", "report", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return (stopped.value.code or 0, *capsys.readouterr())

    folder = str(sweep_folder(tmp_path / "sweep"))
    code, out, err = called(folder)
    assert (code, out, err) == (0, f"Report: {folder}/report.html\n", "")
    code, out, err = called(folder, "--json", "--out", str(tmp_path / "x.html"))
    data = json.loads(out)
    assert (code, data["kind"], data["report"]) == (0, "sweep", str(tmp_path / "x.html"))
    assert data["bytes"] == (tmp_path / "x.html").stat().st_size
    code, out, err = called(str(tmp_path / "none"))
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_a_comparison_can_end_with_its_report(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.toml").write_text(tomli_w.dumps(SCENARIO))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["market-sim", "compare", "small.toml", "--report", "--out", "out"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    last = capsys.readouterr().out.splitlines()[-1]
    assert (stopped.value.code or 0, last[:8]) == (0, "Report: ")
    assert read(tmp_path / last[8:]).tables

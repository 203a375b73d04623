"""Strangers' files and choices do no harm."""

import re
import sys

import pytest

from market_sim.errors import InputError
from market_sim.experiments.run import run
from market_sim.experiments.visitors import (
    open_run,
    open_scenario,
    runs_in,
    scenarios_in,
    uploaded_scenario,
)
from tests.experiments.test_live import SMALL


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "good.toml").write_text('name = "good"\n[market]\nbenchmark = "AIME"\nmethod = "best_of_n"\n')
    (tmp_path / "secret.toml").write_text('name = "secret"\n')
    return folder


def test_a_scenario_in_the_folder_is_opened_and_one_outside_is_refused(root):
    assert open_scenario(root / "good.toml", root).name == "good"
    assert [path.name for path in scenarios_in(root)] == ["good.toml"]
    for path in (root / ".." / "secret.toml", root.parent / "secret.toml"):
        with pytest.raises(InputError, match=r"is outside .*runs"):
            open_scenario(path, root)


def test_a_link_that_leads_out_of_the_folder_is_refused(root):
    (root / "link.toml").symlink_to(root.parent / "secret.toml")
    with pytest.raises(InputError, match="is outside"):
        open_scenario(root / "link.toml", root)
    (root / "out").symlink_to(root.parent)
    with pytest.raises(InputError, match="is outside"):
        open_run(root / "out", root)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('[market]\ncurves = "../secret.toml"', "market.curves = '../secret.toml' is outside"),
        ('[users]\ntypes = "/etc/hosts"', "users.types = '/etc/hosts' is outside"),
        (
            '[users]\ninformation = "experience"\nnetwork = {file = "../secret.toml"}',
            "users.network.file = '../secret.toml' is outside",
        ),
        ('[providers]\nlearning = {rule = "os:system"}', "'os:system' is a rule from outside"),
        (
            '[providers]\nauction_learning = {rule = "truthful", "Qwen2-7B" = {rule = "os:system"}}',
            "providers.auction_learning: 'os:system' is a rule from outside",
        ),
        ("[users]\ncount = 1000000", "1,000,000 are too many to watch"),
        ("[market]\ngenerated = {providers = 101}", "101 are too many to watch (at most 100)"),
    ],
)
def test_a_scenario_that_is_sent_names_no_file_outside_no_program_and_no_crowd(root, section, sentence):
    with pytest.raises(InputError) as caught:
        uploaded_scenario("mine.toml", f'name = "mine"\n{section}\n'.encode(), root)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("mine.toml: ")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "mine.toml: is empty"),
        (b"\xff\xfe\x00", "mine.toml: is not a text file"),
        (b"name = ", "mine.toml: is not TOML"),
        (b"#" * 1_000_001, "mine.toml: has 1,000,001 bytes"),
        (b'name = "x"\nround = 3', "mine.toml: round is not a known key"),
    ],
)
def test_what_is_no_scenario_is_refused_with_a_sentence(root, content, sentence):
    with pytest.raises(InputError) as caught:
        uploaded_scenario("mine.toml", content, root)
    assert str(caught.value).startswith(sentence)


def test_finished_runs_are_listed_newest_first_and_unfinished_ones_are_not(root):
    first = run(SMALL, out=root / "out").folder
    second = run(SMALL, seed=2, out=root / "out").folder
    (root / "out" / "half").mkdir()
    assert {path.name for path in runs_in(root)} == {first.name, second.name}
    with pytest.raises(InputError, match="is not a complete run"):
        open_run(root / "out" / "half", root)
    assert runs_in(root / "nowhere") == []


PROGRAM = "raise SystemExit('a visitor ran this')"


def test_a_finished_run_that_leads_outside_or_names_a_program_is_refused(tmp_path, monkeypatch):
    root = tmp_path / "runs"
    kept = run(SMALL, out=root / "out").folder
    assert open_run(kept, root).round == 0
    (tmp_path / "harm_in_a_run.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    about = (kept / "scenario.toml").read_text()
    (kept / "scenario.toml").write_text(
        re.sub(r'rule = "[a-z_]+"', 'rule = "harm_in_a_run:rule"', about, count=1)
        if "rule = " in about
        else about + '\n[providers.learning]\nrule = "harm_in_a_run:rule"\n'
    )
    with pytest.raises(InputError, match="which is a program"):
        open_run(kept, root)
    assert "harm_in_a_run" not in sys.modules
    outside = tmp_path / "elsewhere.toml"
    outside.write_text(about)
    (kept / "scenario.toml").unlink()
    (kept / "scenario.toml").symlink_to(outside)
    with pytest.raises(InputError, match=r"scenario\.toml is outside"):
        open_run(kept, root)

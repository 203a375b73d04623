"""Run folders are whole or not there at all."""

import json
from pathlib import Path

import numpy as np
import pytest

from market_sim.errors import InputError
from market_sim.experiments import store
from market_sim.experiments.compare import compare
from market_sim.experiments.compare_figures import write_comparison
from market_sim.experiments.run import run
from market_sim.experiments.runner import sweep
from tests.experiments.test_run import SCENARIO, everything_below
from tests.sweeps import BASE


def test_a_folder_is_filled_out_of_sight_and_put_in_place_at_once(tmp_path):
    folder = tmp_path / "a" / "b"
    seen = []

    def write(draft):
        (draft / "one").write_text("1")
        seen.append((draft, folder.exists()))
        (draft / "two").write_text("2")

    store.write_folder(folder, write)
    ((draft, stood),) = seen
    assert not stood
    assert draft != folder
    assert draft.name.startswith(".")
    assert everything_below(tmp_path) == ["a", "a/b", "a/b/one", "a/b/two"]


def test_a_folder_replaces_the_one_that_stood_there_whole(tmp_path):
    folder = tmp_path / "run"
    store.write_folder(folder, lambda draft: (draft / "old").write_text("old"))
    store.write_folder(folder, lambda draft: (draft / "new").write_text("new"))
    assert everything_below(tmp_path) == ["run", "run/new"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    folder, rename = tmp_path / "run", Path.rename
    store.write_folder(folder, lambda draft: (draft / "old").write_text("old"))

    def refuse(path, target):
        if path.suffix == ".tmp":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InputError, match="No space left"):
        store.write_folder(folder, lambda draft: (draft / "new").write_text("new"))
    assert everything_below(tmp_path) == ["run", "run/old"]


def test_a_writer_that_fails_leaves_neither_folder_nor_draft(tmp_path):
    def write(draft):
        (draft / "half").write_text("1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_folder(tmp_path / "run", write)
    assert everything_below(tmp_path) == []


def test_an_error_of_the_disk_is_a_sentence_with_the_folder(tmp_path):
    def write(draft):
        (draft / "no" / "such" / "folder").write_text("1")

    with pytest.raises(InputError, match="run: cannot be written: No such file or directory"):
        store.write_folder(tmp_path / "run", write)
    assert everything_below(tmp_path) == []


def test_tables_come_back_as_they_went_and_the_same_columns_are_the_same_bytes(tmp_path):
    columns = {
        "round": np.arange(4),
        "value": np.array([0.1, np.nan, -np.inf, 1e-300]),
        "name": np.array(["a", "b", "ü", ""]),
        "flag": np.array([True, False, True, True]),
    }
    store.write_table(tmp_path / "one.parquet", columns)
    store.write_table(tmp_path / "two.parquet", {name: column.copy() for name, column in columns.items()})
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    found = store.read_table(tmp_path / "one.parquet")
    assert list(found) == list(columns)
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], column)


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "null", "{}", '{"complete": false}', '{"complete": "true"}', '{"complete": 1}'],
)
def test_a_folder_is_a_result_only_if_its_manifest_says_complete_true(tmp_path, text):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    assert store.manifest_of(tmp_path) is None
    (tmp_path / "manifest.json").write_text('{"complete": true, "seed": 3}')
    assert store.manifest_of(tmp_path) == {"complete": True, "seed": 3}


def test_complete_runs_are_found_below_a_folder(tmp_path):
    runs = [run(SCENARIO, out=tmp_path, seed=seed, rounds=1) for seed in (1, 2, 3)]
    manifest = runs[1].folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"complete": False}))
    assert store.complete_folders(tmp_path) == sorted([runs[0].folder, runs[2].folder])
    with pytest.raises(InputError, match="there is no such folder"):
        store.complete_folders(tmp_path / "none")


def test_rounds_are_loaded_with_their_scenario_regime_and_seed(tmp_path):
    result = run(SCENARIO, out=tmp_path, seed=4)
    frame = store.load_rounds(result.folder)
    assert list(frame.columns[:4]) == ["scenario", "regime", "seed", "round"]
    assert frame[["scenario", "regime", "seed"]].drop_duplicates().values.tolist() == [
        ["small", "pay_per_compute", 4]
    ]
    with pytest.raises(InputError, match="is not a complete run"):
        store.load_rounds(tmp_path)


def test_a_run_a_comparison_and_a_sweep_are_loaded_as_one_frame_each(tmp_path):
    result = compare(SCENARIO, out=tmp_path, rounds=4)
    one = store.load(result.runs[0].folder)
    assert one.equals(store.load_rounds(result.runs[0].folder))
    (figures, *_) = write_comparison(result, tmp_path)
    both = store.load(figures.parent)
    assert both.groupby("regime", sort=False).size().to_dict() == {
        "pay_per_compute": 5,
        "second_price_auction": 5,
    }
    assert len(store.load(tmp_path / "small")) == 10

    done = sweep(
        {"name": "exact", "kind": "solve", "base": BASE, "axes": {"users.beta": [9, 99]}}, out=tmp_path
    )
    frame = store.load(done.folder)
    assert frame[["point", "replicate", "users.beta", "beta"]].values.tolist() == [
        [0, 0, 9, 9],
        [1, 0, 99, 99],
    ]
    (done.folder / "table.parquet").unlink()  # one that is not whole: what is done
    assert store.load(done.folder).equals(frame)
    assert len(store.complete_folders(tmp_path)) == 2  # a sweep is no run


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no complete run, no comparison and no sweep"):
        store.load(tmp_path)
    with pytest.raises(InputError, match="there is no such folder"):
        store.load(tmp_path / "none")


def test_nothing_undefined_gets_into_a_json_file(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(tmp_path / "x.json", {"a": float("nan")})

"""Law: rows on disk are drawn once and alike, jobs say what a fit took, and the tables show every part."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from bench import __main__ as command
from bench.contenders import OURS, streams
from bench.measure import disk, disk_jobs, results
from bench.problems.disk import AnnDataTable, DenseShards, HashedShards, ParquetTable, in_memory
from fastsoftmax import open_rows

DENSE = DenseShards("dense", 300, 6, 3, 100)
HASHED = HashedShards("hashed", 300, 512, 2, 100)


def names(problem, folder):
    return [str(path) for path in problem.files(folder)]


@pytest.mark.parametrize("problem", [DENSE, HASHED], ids=lambda problem: problem.name)
def test_shards_are_drawn_once_and_alike(problem, tmp_path):
    files = names(problem, tmp_path / "one")
    assert len(files) == 3
    (tmp_path / "one" / problem.name / files[0].rpartition("/")[2]).touch()
    X, y = in_memory(files)
    again, same = in_memory(names(problem, tmp_path / "other"))
    assert X.shape == (problem.n_rows, problem.n_features)
    assert abs(X - again).max() == 0
    np.testing.assert_array_equal(y, same)
    assert set(np.unique(y)) == set(range(problem.n_classes))


@pytest.mark.parametrize(
    ("kind", "library", "like"),
    [(ParquetTable, "pyarrow", DENSE), (AnnDataTable, "h5py", HASHED)],
    ids=["parquet", "h5ad"],
)
def test_files_of_other_formats_hold_the_same_rows(kind, library, like, tmp_path):
    pytest.importorskip(library)
    problem = kind("file", like.n_rows, like.n_features, like.n_classes, like.shard_rows)
    X, y = in_memory(names(like, tmp_path))
    with open_rows(names(problem, tmp_path), target=problem.target) as rows:
        ((found, labels, _),) = rows.blocks()
        assert abs(found - X).max() == 0
        np.testing.assert_array_equal(rows.classes.searchsorted(labels), y)


def test_a_fit_says_what_it_took(tmp_path):
    found = disk_jobs.fit(names(DENSE, tmp_path), {"memory": "8K"}, {"C": 1.0}, disk.COLD)
    assert found["certified"]
    assert found["n_rows"] == 300
    assert found["readings"] > found["passes"]
    readings = [found["reached"][f"{level:.0e}"][1] for level in disk.LEVELS]
    assert readings == sorted(readings)
    assert readings[-1] <= found["readings"]


def test_a_stream_of_another_is_judged_by_our_objective(tmp_path):
    files = names(HASHED, tmp_path)
    X, y = in_memory(files)
    l2 = 1.0 / len(y)
    opened = {"memory": "16K"}
    ((_, n_passes, value),) = disk_jobs.peers(files, opened, "sgd", "", 1e-9)["points"]
    seen = []

    def plain(coef, intercept):
        logit = X @ coef + intercept
        seen.append(np.mean(np.logaddexp(0, logit) - y * logit) + l2 / 2 * coef @ coef)
        return seen[-1]

    streams.sgd(files, l2, False, 1e-9, plain)
    assert n_passes == 1
    assert value == pytest.approx(seen[0], rel=1e-6)


def test_the_command_saves_and_shows(tmp_path, monkeypatch, capsys):
    tiny = disk.Sizes(
        DENSE, (1, 3), HASHED, DENSE, HASHED, ParquetTable("p", 9, 2, 2, 9), AnnDataTable("h", 9, 64, 2, 9)
    )
    monkeypatch.setattr(disk, "QUICK", tiny)
    monkeypatch.setattr(disk, "QUICK_MEMORY", {"16K": "16K"})
    monkeypatch.setattr(disk, "in_process", lambda job, **arguments: json.loads(json.dumps(job(**arguments))))
    monkeypatch.setattr(disk, "limited", lambda plan: "16K")
    monkeypatch.setattr(disk_jobs, "PAUSE_AFTER_BLAS_SECONDS", 0.0)
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for words in ("speed: dense", "in memory: dense", "memory 16K", "large"):
        assert (
            command.main(["disk", "--quick", "--folder", str(tmp_path), "-k", words, "--name", "made"]) == 0
        )
    _, entries = results.read(tmp_path / "made.json")
    assert {entry.contender for entry in entries} == {OURS}
    shown = capsys.readouterr().out
    for title in ("a reading", "rows that memory could hold", "peak memory", "large fits"):
        assert f"Rows on disk: {title}" in shown

"""Law: what other libraries call is held to its goals, and a library that is missing is named."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")
pytest.importorskip("rich")

from bench import __main__ as command
from bench.contenders import OURS
from bench.measure import backends, results
from bench.report.tables import tables


def test_what_is_not_installed_is_said_in_one_line(results_folder, monkeypatch, capsys):
    monkeypatch.setattr(backends, "LIBRARIES", ("no_such_library", "xgboost", "lightgbm"))
    monkeypatch.setattr(backends, "subjects", lambda sizes: iter(()))
    assert command.main(["backends", "--quick"]) == 1
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("left out, not installed: no_such_library")
    assert last == "nothing was measured"
    assert not list(results_folder.iterdir())


def test_every_subject_has_a_name_of_its_own():
    for sizes in (backends.FULL, backends.QUICK):
        names = [subject.name for subject in backends.subjects(sizes)]
        assert len(set(names)) == len(names)
        assert {subject.library for subject in backends.subjects(sizes)} == set(backends.LIBRARIES)


def test_the_table_holds_time_and_memory_to_their_goals():
    mib = 2**20
    seconds = {
        OURS: np.array([1.0, 1.0]),
        "torch": np.array([4.0, 4.0]),
        "torch chunked": np.array([9.0, 9.0]),
    }
    held = {OURS: {"held_bytes": 10 * mib}, "torch": {"held_bytes": 200 * mib}}
    noted = held | {"torch chunked": {"held_bytes": 20 * mib}}
    found = backends.benchmarks(seconds, ("linear_cross_entropy", "float32", (8, 4, 9)), ["differs"], noted)
    two = {name: seconds[name] for name in (OURS, "torch")}
    found += backends.benchmarks(two, ("cross_entropy", "float32", (8, 9)), [])
    assert backends.complaints(found) == ["linear_cross_entropy float32 8x4x9: differs"]
    (table,) = tables([results.entry_of(each) for each in found], every=False)
    cells = [list(map(str, column.cells)) for column in table.columns]
    assert cells[6] == ["4.00", "9.00", "4.00"]
    assert cells[9] == ["met", "", "missed"]  # no slower; of chunks no goal; five times as fast
    assert cells[14] == ["met", "", ""]
    assert str(table.caption).startswith("2 of 3 goals met")

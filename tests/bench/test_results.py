"""Law: results are what bench/README.md says of them, and two of them can be compared."""

from __future__ import annotations

import copy
import json

import pytest

from bench import __main__ as command
from tests.interpreter import ROOT

RESULTS = sorted((ROOT / "bench" / "results").glob("*.json"))
SHARED = ("family", "problem", "dtype", "operation", "contender")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_committed_result_is_what_the_readme_says(path):
    saved = json.loads(path.read_text())
    assert set(saved) >= {"machine_info", "commit_info", "benchmarks"}
    assert set(saved["machine_info"]) >= {"cpu", "cores", "caches", "python", "libraries", "copy_gb_per_s"}
    assert {"id", "time", "dirty"} <= set(saved["commit_info"])
    assert saved["benchmarks"]
    for each in saved["benchmarks"]:
        stats, noted = each["stats"], each["extra_info"]
        assert isinstance(each["name"], str)
        assert stats["min"] <= stats["median"] <= stats["max"]
        assert all(isinstance(noted[key], str) for key in SHARED)
        for turn in noted["in_turn"].values():
            median, low, high = turn["ratio"]
            assert low <= median <= high
        assert noted.get("yardstick") in (None, *noted["in_turn"])


def entry(contender, seconds, **noted):
    shared = {"family": "rows", "problem": "1000x10", "dtype": "float32", "operation": "softmax"}
    stats = dict.fromkeys(("median", "min", "max"), seconds)
    return {
        "name": contender,
        "stats": stats,
        "extra_info": {**shared, "contender": contender, "in_turn": {}, **noted},
    }


def test_two_results_are_compared(tmp_path, capsys):
    pytest.importorskip("rich")
    card = {"cpu": "a processor", "cores": 2, "python": "3", "libraries": {}}
    old = {"machine_info": card, "benchmarks": [entry("fastsoftmax", 1e-3), entry("scipy", 4e-3)]}
    new = copy.deepcopy(old)
    new["benchmarks"][0] = entry("fastsoftmax", 3e-3)
    new["benchmarks"].append(entry("fastsoftmax", 1.0, problem="of the new one alone"))
    paths = []
    for name, saved in (("old", old), ("new", new)):
        paths.append(tmp_path / name)
        paths[-1].write_text(json.dumps(saved))
    assert command.main(["compare", *map(str, paths)]) == 0
    said = capsys.readouterr().out
    assert "3.00" in said
    assert "scipy" not in said
    assert "alone" not in said
    assert "rows: 1 in both, geometric mean 3.00, worst 3.00" in said
    assert "two machines" not in said
    assert command.main(["compare", "--all", *map(str, paths)]) == 0
    assert "scipy" in capsys.readouterr().out

    new["machine_info"] = {**card, "cpu": "another"}
    new["benchmarks"] = new["benchmarks"][:1]
    paths[1].write_text(json.dumps(new))
    assert command.main(["compare", *map(str, paths)]) == 0
    assert "two machines" in capsys.readouterr().out
    new["benchmarks"][0]["extra_info"]["problem"] = "another"
    paths[1].write_text(json.dumps(new))
    assert command.main(["compare", *map(str, paths)]) == 1
    assert "nothing that is the same" in capsys.readouterr().err

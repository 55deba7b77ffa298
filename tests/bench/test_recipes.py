"""Law: a library or a data set added by a recipe of CONTRIBUTING.md, one file, is measured like any other."""

from __future__ import annotations

import json
import re

import pytest

from tests.interpreter import ROOT, run_python

pytest.importorskip("ml_dtypes")
pytest.importorskip("rich")

COMMANDS = """
    import json, os, sys
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]  # those of a worker of this run, in which nothing is measured
    from bench.measure import machine
    # Rates of the machine take seconds to measure, and are not what this is about.
    machine.limits = lambda: {"copy_gb_per_s": 1.0, "gemm_gflop_per_s": {"float32": 1.0, "float64": 1.0}}
    from bench.__main__ import main
    for words in json.loads(sys.argv[1]):
        print("STATUS", main(words), flush=True)
"""


def recipe(title):
    """The block of code below a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"## {title}\n")[1]
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture
def folder(tmp_path):
    """The files of both recipes, a toy that is wrong, and one whose library is not installed."""
    contenders, problems = tmp_path / "contenders", tmp_path / "problems"
    contenders.mkdir()
    problems.mkdir()
    toy = recipe("Add a library to the benchmarks")
    (contenders / "of_toy.py").write_text(toy)
    wrong = toy.replace("return powers /", "return 1.001 * powers /")
    assert wrong != toy
    (contenders / "of_toy_wrong.py").write_text(wrong)
    (contenders / "of_toy_missing.py").write_text(f"import no_such_library\n{toy}")
    (problems / "of_flowers.py").write_text(recipe("Add a data set to the benchmarks"))
    return tmp_path


def test_both_recipes(folder):
    pytest.importorskip("pytest_benchmark")
    pytest.importorskip("matplotlib")
    words = "(toy and 64x10 and float32) or (flowers and (fastsoftmax or sklearn))"
    found, far = folder / "found", folder / "far"
    limited = ["--solvers", "fastsoftmax lbfgs", "--time-limit", "2"]
    commands = [
        ["run", "--quick", "-k", words, "--name", str(found)],
        ["report", "--all", "--json", f"{found}.json"],
        ["optimum", "--sets", "flowers", "--C", "1", *limited, "--name", str(far)],
    ]
    environment = {"FASTSOFTMAX_BENCH": str(folder), "PYTHONPATH": str(ROOT)}
    status, out, err = run_python(COMMANDS, json.dumps(commands), cwd=ROOT, **environment)
    assert status == 0, out + err
    ran, shown, followed = (f"{out}\n{err}").split("STATUS ")[:3]
    assert "1 failed, 3 passed" in ran, out + err  # the wrong one
    assert "run: " in ran
    assert shown.startswith("1\n")
    assert "toy" in shown
    assert "flowers" in shown
    assert followed.startswith("0\noptimum: at most "), followed

    saved = json.loads(found.with_suffix(".json").read_text())
    assert "unfinished" not in saved
    noted = [each["extra_info"] for each in saved["benchmarks"]]
    took_part = {(each["problem"], each["contender"]): each for each in noted}
    assert set(took_part) == {("64x10", "toy"), ("flowers", "fastsoftmax"), ("flowers", "sklearn")}
    assert set(took_part["64x10", "toy"]["in_turn"]) == {"copy", "fastsoftmax"}
    assert all(each["step_seconds"] > 0 for each in noted)
    (entry,) = json.loads(far.with_suffix(".json").read_text())["benchmarks"]
    assert entry["extra_info"]["problem"] == "flowers"
    assert entry["extra_info"]["certificate"]["certified"]

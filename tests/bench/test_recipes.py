"""Law: a library or a data set added by the recipes of CONTRIBUTING.md, one file each, is measured like any other."""

from __future__ import annotations

import json
import re

import pytest

from tests.interpreter import ROOT, run_python

pytest.importorskip("ml_dtypes")
pytest.importorskip("rich")

COMMAND = """
    import os, sys
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]  # those of a worker of this run, in which nothing is measured
    from bench.measure import machine, results
    machine.limits = dict  # the two rates take seconds, and are not what this is about
    from bench.__main__ import main
    sys.exit(main(sys.argv[1:]))
"""


def recipe(title):
    """The block of code below a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"## {title}\n")[1]
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture
def bench(tmp_path):
    """`python -m bench` with the files of both recipes, a toy that is wrong, and one that is not installed."""
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

    def call(*words):
        return run_python(COMMAND, *words, cwd=ROOT, FASTSOFTMAX_BENCH=str(tmp_path), PYTHONPATH=str(ROOT))

    return call


def test_both_recipes(bench, tmp_path):
    pytest.importorskip("pytest_benchmark")
    words = "(toy and 64x10 and float32) or (flowers and (fastsoftmax or sklearn))"
    status, out, err = bench("run", "--quick", "-k", words, "--name", str(tmp_path / "found"))
    assert status == 1, out + err  # the wrong one
    assert "1 failed, 3 passed" in out, out
    assert "run: " in out
    saved = json.loads((tmp_path / "found.json").read_text())
    found = {(each["extra_info"]["problem"], each["extra_info"]["contender"]) for each in saved["benchmarks"]}
    assert found == {("64x10", "toy"), ("flowers", "fastsoftmax"), ("flowers", "sklearn")}
    (toy,) = (each for each in saved["benchmarks"] if each["extra_info"]["contender"] == "toy")
    assert set(toy["extra_info"]["in_turn"]) == {"copy", "fastsoftmax"}
    assert "unfinished" not in saved
    assert all(each["extra_info"]["step_seconds"] > 0 for each in saved["benchmarks"])

    saved["machine_info"] |= {"copy_gb_per_s": 1.0, "gemm_gflop_per_s": {"float32": 1.0, "float64": 1.0}}
    (tmp_path / "found.json").write_text(json.dumps(saved))
    status, out, err = bench("report", "--all", "--json", str(tmp_path / "found.json"))
    assert status == 0, err
    assert "toy" in out
    assert "flowers" in out


def test_a_set_is_followed_to_its_optimum(bench, tmp_path):
    words = ["--sets", "flowers", "--C", "1", "--solvers", "fastsoftmax lbfgs", "--time-limit", "2"]
    status, out, err = bench("optimum", *words, "--name", str(tmp_path / "far"))
    assert status == 0, out + err
    assert out.startswith("optimum: at most ")
    (entry,) = json.loads((tmp_path / "far.json").read_text())["benchmarks"]
    assert entry["extra_info"]["problem"] == "flowers"
    assert entry["extra_info"]["certificate"]["certified"]

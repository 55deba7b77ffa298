"""Law: the help of the benchmarks needs no extra, what needs it says so, and nothing measured is lost."""

from __future__ import annotations

import json

import pytest

from bench import __main__ as command
from tests.interpreter import ROOT, run_python

EXTRAS = ["pytest", "pytest_benchmark", "ml_dtypes", "rich", "matplotlib", "torch", "numexpr", "mpmath"]
WITHOUT = f"""
    import runpy, sys
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {EXTRAS}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    sys.meta_path.insert(0, Missing())
    runpy.run_module("bench", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["memory"],
        ["scaling"],
        ["optimum"],
        ["certified"],
        ["small"],
        ["families"],
        ["backends"],
        ["cold"],
        ["gpu"],
        ["report"],
    ],
)
def test_help_needs_no_extra(words):
    status, out, err = run_python(WITHOUT, *words, "--help", cwd=ROOT)
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: python -m bench{''.join(f' {word}' for word in words)}")


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["run", "--quick"], "ml_dtypes"),
        (["report"], "rich"),
        (["memory"], "ml_dtypes"),
        (["cold"], "ml_dtypes"),
        (["small"], "ml_dtypes"),
        (["certified"], "ml_dtypes"),
    ],
)
def test_what_is_missing_is_said_in_one_line(words, missing):
    status, out, err = run_python(WITHOUT, *words, cwd=ROOT)
    assert (status, out) == (1, "")
    assert err == f'python -m bench {words[0]} needs {missing}: pip install -e ".[bench]"'


def test_other_errors_are_not_taken_for_a_missing_extra(monkeypatch):
    def broken(options):
        raise ModuleNotFoundError("No module named 'bench.gone'", name="bench.gone")

    broken.__name__ = "run"
    monkeypatch.setattr(command, "run", broken)
    with pytest.raises(ModuleNotFoundError, match="gone"):
        command.main(["run"])


def test_the_grid_saves_what_it_has(tmp_path, monkeypatch):
    pytest.importorskip("pytest_benchmark")
    (tmp_path / "test_two.py").write_text(
        "import json, pathlib\n"
        "def test_one(benchmark): benchmark(sum, [1])\n"
        "def test_other(benchmark):\n"
        "    found = json.loads(pathlib.Path('found.json').read_text())['benchmarks']\n"
        "    assert [each['name'] for each in found] == ['test_one']\n"
        "    benchmark(sum, [2])\n"
        "def test_stops(benchmark):\n"
        "    if not pathlib.Path('go').exists(): raise KeyboardInterrupt\n"
        "    benchmark(sum, [3])\n"
    )
    code = """
    import os, pathlib, pytest
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        del os.environ[name]  # those of a worker of this run, in which nothing is measured
    from bench.measure import machine, results, saving
    machine.card, results.commit = dict, dict
    class Plugin:
        def pytest_configure(self, config):
            config.pluginmanager.register(saving.AsItGoes(config, pathlib.Path("found.json")))
    def run():
        return int(pytest.main(["-q", "-p", "no:cacheprovider", "test_two.py"], [Plugin()]))
    print("STATUS", run())
    pathlib.Path("found.json").rename("interrupted.json")
    pathlib.Path("found.json").write_bytes(pathlib.Path("interrupted.json").read_bytes())
    pathlib.Path("go").touch()
    print("STATUS", run())
    """
    status, out, err = run_python(code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert status == 0, err
    assert [line for line in out.splitlines() if line.startswith("STATUS")] == ["STATUS 2", "STATUS 0"], out
    assert "found.json is unfinished: `--name found` goes on with it" in out
    found = json.loads((tmp_path / "interrupted.json").read_text())
    assert [each["name"] for each in found["benchmarks"]] == ["test_one", "test_other"]
    assert "2 of 3 steps are there" in out
    assert "1 passed, 2 deselected" in out
    found = json.loads((tmp_path / "found.json").read_text())
    assert [each["name"] for each in found["benchmarks"]] == ["test_one", "test_other", "test_stops"]
    assert "unfinished" not in found
    assert not list(tmp_path.glob("*.tmp"))

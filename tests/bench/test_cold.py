"""Law: a cold process finds no kernels, a later one those of the cold one, and all see the same settings."""

from __future__ import annotations

import importlib
import json
import os
import subprocess

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from bench import __main__ as command
from bench.contenders import OURS
from bench.contenders.scripts import Script
from bench.measure import cold, numba_cache, results

# What a process finds becomes a line of the log. Ours leaves two kernels where there were none.
LOOK = """
import os, pathlib
home, kernels = pathlib.Path(os.environ["HOME"]), pathlib.Path(os.environ["NUMBA_CACHE_DIR"], "a", "package")
with open(os.environ["LOG"], "a") as log:
    print("{who}", home.name, len(list(kernels.glob("*"))), file=log)
"""
LEAVE = """
kernels.mkdir(parents=True, exist_ok=True)
for name in ("one", "other"):
    (kernels / f"{name}.kernel").write_text("")
"""
CALL = "answer = sum(range(9))"
SCRIPTS = {
    OURS: Script(LOOK.format(who="ours") + LEAVE, CALL),
    "other": Script(LOOK.format(who="other"), CALL),
}


def judge(answer):
    if answer != 36:
        raise AssertionError(f"{answer} is wrong")
    return {"answer": int(answer)}


MADE_UP = cold.Subject("made up", "", "answer", SCRIPTS, ("answer",), judge)


@pytest.fixture(autouse=True)
def log(tmp_path, monkeypatch):
    """The file with a line a process, which are not far between here."""
    monkeypatch.setattr(cold, "REST_SECONDS", 0.0)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_states_and_turns(log):
    cold.measure(MADE_UP, cold.Plan(rounds=3, cold_rounds=2))
    lines = log.read_text().splitlines()
    assert lines[:2] == ["ours untimed 0", "other untimed 2"]
    for i in range(2):  # cold, new process, warm; the other's new process, warm
        found = [f"{who} cold {i} {n}" for who, n in [("ours", 0), *[("ours", 2)] * 2, *[("other", 2)] * 2]]
        assert lines[2 + 5 * i : 7 + 5 * i] == found
    assert lines[12:] == ["ours cold 1 2"] * 2 + ["other cold 1 2"] * 2


def test_what_is_kept_of_them():
    ours, other = map(results.entry_of, cold.measure(MADE_UP, cold.Plan(rounds=3, cold_rounds=2)))
    assert (ours.noted["answer"], other.noted["answer"]) == (36, 36)
    assert (ours.noted["kernels"], other.noted.get("kernels")) == (2, None)
    counts = {state: found["rounds"] for state, found in ours.noted["states"].items()}
    assert counts == {"cold": 2, "new process": 3, "warm": 3}
    assert set(other.noted["states"]) == {"new process", "warm"}
    assert ours.to_ours is None
    assert other.to_ours.low <= other.to_ours.median <= other.to_ours.high
    for entry in (ours, other):
        assert list(entry.seconds) == entry.noted["states"]["new process"]["seconds"]
        for state, found in entry.noted["states"].items():
            assert ("cpu_seconds" in found) == (state != "warm")
            assert 0 < found["seconds"][1] <= found["seconds"][0] <= found["seconds"][2]


def test_an_import_is_not_warm():
    scripts = {name: Script(script.before) for name, script in SCRIPTS.items()}
    ours, other = cold.measure(MADE_UP._replace(scripts=scripts, results=(), judge=cold.nothing), cold.QUICK)
    assert set(ours["extra_info"]["states"]) == {"cold", "new process"}
    assert set(other["extra_info"]["states"]) == {"new process"}


def test_what_is_wrong_is_not_timed(log):
    scripts = SCRIPTS | {"other": SCRIPTS["other"]._replace(call="answer = 35")}
    with pytest.raises(AssertionError, match="35 is wrong"):
        cold.measure(MADE_UP._replace(scripts=scripts), cold.QUICK)
    scripts["other"] = SCRIPTS["other"]._replace(call="raise SystemExit(3)")
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        cold.measure(MADE_UP._replace(scripts=scripts), cold.QUICK)
    assert "cold" not in log.read_text()


def test_threads_are_passed_on_and_caches_are_not(tmp_path, monkeypatch):
    for name in ("NUMBA_CACHE_DIR", "NUMBA_OPT", "FASTSOFTMAX_EXECUTOR", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "kept")
    found = cold.environment(tmp_path)
    changed = {name for name in os.environ | found if os.environ.get(name) != found.get(name)}
    assert {"NUMBA_CACHE_DIR", "NUMBA_OPT", "FASTSOFTMAX_EXECUTOR", "PYTHONDONTWRITEBYTECODE"} <= changed
    assert changed.isdisjoint({"NUMBA_NUM_THREADS", "PYTHONPYCACHEPREFIX"})
    assert not {"NUMBA_OPT", "FASTSOFTMAX_EXECUTOR", "PYTHONDONTWRITEBYTECODE"} & set(found)
    for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        assert found[name].startswith(str(tmp_path))


def test_a_cache_folder_that_is_named_stays(monkeypatch):
    """Importing what measures changes nothing where kernels are being kept: Numba would go on elsewhere."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", "here")
    importlib.reload(numba_cache)
    assert os.environ["NUMBA_CACHE_DIR"] == "here"
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    importlib.reload(numba_cache)
    assert os.environ["NUMBA_CACHE_DIR"] == str(numba_cache.ROOT / ".numba-cache" / "bench")


def test_processor_time_is_the_childs(tmp_path):
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint('done')"
    done = cold.run(code, tmp_path, tmp_path / "home")
    assert done.printed == "done\n"
    assert done.cpu_seconds >= 0.3


@pytest.mark.parametrize("subject", cold.SUBJECTS, ids=lambda subject: subject.name)
def test_scripts_are_programs(subject):
    assert next(iter(subject.scripts)) == OURS  # who is cold first leaves the cache to the others' rounds
    for script in subject.scripts.values():
        compile(f"{script.before}\n{script.call}", "script", "exec")
        assert "time" not in script.before + script.call
        for result in subject.results:
            assert f"{result.partition('.')[0]} = " in script.call


def test_wrong_results_are_noticed():
    with pytest.raises(AssertionError, match="off by"):
        cold.judge_softmax(np.full((1_000, 10), 0.1))
    with pytest.raises(AssertionError, match="of the labels"):
        cold.judge_probabilities(np.full((1_797, 10), 0.1))
    with pytest.raises(AssertionError, match="at zero"):
        cold.judge_fit(np.zeros((10, 64)), np.zeros(10))


def test_the_command_saves_what_the_report_shows(results_folder, monkeypatch, capsys):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(cold, "SUBJECTS", (MADE_UP, MADE_UP._replace(problem="left out")))
    assert command.main(["cold", "--quick", "-k", "made up"]) == 0
    path = results_folder / "cold.json"
    assert [each["name"] for each in json.loads(path.read_text())["benchmarks"]] == [
        "answer made up fastsoftmax",
        "answer made up other",
    ]
    capsys.readouterr()
    assert command.main(["report", "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("Whole processes", "kernels", "cold", "warm", "made up", "other"))

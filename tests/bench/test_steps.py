"""Law: an interrupted run goes on where it ended if nothing else has changed, and minutes are said before."""

from __future__ import annotations

import json
import math

import pytest

pytest.importorskip("ml_dtypes")

from bench import __main__ as command
from bench import plans
from bench.measure import durations, results, steps
from bench.measure.steps import Step, measured
from bench.problems.archives import DataMissingError
from tests.bench.test_results import entry
from tests.interpreter import ROOT, run_python

OPTIONS = {"k": "", "quick": True}


class Grid:
    """Steps a, b and c; one of them is where the interrupt comes, another one's data may be missing."""

    def __init__(self):
        self.ran = []
        self.interrupted = self.lacking = None

    def steps(self, at_most=None):
        return [Step(name, lambda name=name: self.step(name), at_most) for name in "abc"]

    def step(self, name):
        if name == self.interrupted:
            raise KeyboardInterrupt
        if name == self.lacking:
            raise DataMissingError("needs a file")
        self.ran.append(name)
        return [entry("fastsoftmax", 1.0, problem=name, family="made") | {"name": f"{name} fastsoftmax"}]


@pytest.fixture
def grid():
    return Grid()


def run(grid, path, **changes):
    """Measure, and give which steps have run."""
    options = {**OPTIONS, **changes}
    redo = options.pop("redo", False)
    grid.ran.clear()
    measured("made", grid.steps(), path, options, redo=redo)
    return "".join(grid.ran)


def interrupt(grid, path, at="c"):
    grid.interrupted = at
    with pytest.raises(KeyboardInterrupt):
        run(grid, path)
    grid.interrupted = None
    saved = json.loads(path.read_text())
    assert len(saved["benchmarks"]) == len(saved["unfinished"]["steps"])


def test_it_goes_on_and_then_begins_anew(grid, results_folder, capsys):
    path = results_folder / "made.json"
    interrupt(grid, path)
    capsys.readouterr()
    assert run(grid, path) == "c"
    assert "made.json is unfinished: 2 of 3 steps are there" in capsys.readouterr().out
    saved = json.loads(path.read_text())
    assert [each["extra_info"]["step"] for each in saved["benchmarks"]] == ["a", "b", "c"]
    assert "unfinished" not in saved
    assert run(grid, path) == "abc"  # a finished one begins anew
    interrupt(grid, path)
    assert run(grid, path, redo=True) == "abc"


def test_a_kill_after_the_last_step_costs_nothing(grid, results_folder):
    path = results_folder / "made.json"
    interrupt(grid, path)
    saved = json.loads(path.read_text())
    more = saved["benchmarks"][0] | {"name": "c fastsoftmax"}
    more["extra_info"] = more["extra_info"] | {"step": "c"}
    saved["benchmarks"].append(more)
    saved["unfinished"]["steps"].append("c")
    path.write_text(json.dumps(saved))
    assert run(grid, path) == ""
    assert "unfinished" not in json.loads(path.read_text())


@pytest.mark.parametrize("what", ["options", "sources", "machine", "settings"])
def test_what_has_changed_is_said(what, grid, results_folder, monkeypatch, capsys):
    path = results_folder / "made.json"
    interrupt(grid, path)
    changes = {}
    if what == "options":
        changes = {"quick": False}
    elif what == "sources":
        monkeypatch.setattr(steps, "sources", lambda: "others")
    elif what == "machine":
        card = {**results.machine.card(), "cores": 3}
        monkeypatch.setattr(results.machine, "card", lambda: card)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", "17")
    assert run(grid, path, **changes) == "abc"
    assert f"made.json is unfinished, but of other {what}: begun anew" in capsys.readouterr().out


def test_a_rate_that_varies_changes_nothing(grid, results_folder, monkeypatch):
    path = results_folder / "made.json"
    interrupt(grid, path)
    monkeypatch.setattr(
        results.machine, "card", lambda: {"cpu": "a processor", "cores": 2, "copy_gb_per_s": 2}
    )
    assert run(grid, path) == "c"


def test_what_is_not_measured_anew_may_stay(grid, results_folder):
    path = results_folder / "made.json"
    before = [entry("fastsoftmax", 9.0) | {"name": name} for name in ("a fastsoftmax", "d fastsoftmax")]
    measured("made", grid.steps(), path, OPTIONS, before=before)
    saved = json.loads(path.read_text())["benchmarks"]
    assert [each["name"][0] for each in saved] == ["d", "a", "b", "c"]
    assert saved[1]["stats"]["median"] == 1.0


def test_missing_data_are_said_and_tried_again(grid, results_folder, capsys):
    path = results_folder / "made.json"
    grid.lacking = "a"
    interrupt(grid, path)
    assert "a left out: needs a file" in capsys.readouterr().out
    grid.lacking = None
    assert run(grid, path) == "ac"


def test_an_interrupted_command_says_that_it_goes_on(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "small", interrupted)
    assert command.main(["small"]) == command.INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().err


def test_minutes_come_from_what_was_recorded(grid, results_folder):
    path = results_folder / "made.json"
    assert durations.estimate("made", grid.steps()).line() == "unknown (steps: 3 never recorded)"
    assert durations.estimate("made", grid.steps(120.0)).line() == "at most 6 min (steps: 3 time limits)"
    old = [entry("fastsoftmax", 90.0, family="made", rounds=2) | {"name": f"{n} fastsoftmax"} for n in "abx"]
    results.write(path, old)
    found = durations.estimate("made", grid.steps())
    assert (found.least, found.most) == (360.0, math.inf)
    assert found.line() == (
        "at least 6 min (steps: 2 timed calls alone, 1 never recorded; made.json on a processor, 2 cores)"
    )
    new = [each | {"extra_info": each["extra_info"] | {"step": each["name"][0], "step_seconds": 600.0}}
           for each in [*old, old[0] | {"name": "c fastsoftmax"}]]  # fmt: skip
    results.write(path, new)
    assert durations.estimate("made", grid.steps()).short() == "about 30 min"
    assert durations.estimate("made", grid.steps(60.0)).short() == "about 3 min"  # a smaller limit
    assert durations.estimate("made", grid.steps()[:1]).short() == "about 10 min"  # fewer steps
    assert durations.estimate("other", grid.steps()).short() == "unknown"


def test_every_command_has_steps_of_different_names_and_their_minutes():
    pytest.importorskip("distributed")
    code = """
    from bench import __main__ as command, plans
    for word in plans.STEPS:  # in a process of its own: pytest would take marks of the grid for this run's
        try:
            names = [step.name for step in plans.of(command.parser().parse_args([word]))]
        except ModuleNotFoundError as missing:
            assert (word, missing.name) == ("backends", "torch")
            continue
        assert names or word == "sparse", word  # whose result may have them all
        assert len(set(names)) == len(names), word
    command.main([])
    """
    status, out, err = run_python(code, cwd=ROOT)
    assert (status, err) == (0, "")
    table = out.split("\n  minutes ")[1]
    for word in plans.STEPS:
        assert f"\n  {word} " in table
    assert max(map(len, table.splitlines())) <= 80

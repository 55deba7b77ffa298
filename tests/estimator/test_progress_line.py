"""Law: with `verbose=1` a fit says what it does and waits for: one line where it can be rewritten."""

from __future__ import annotations

import builtins
import io
import sys
from types import SimpleNamespace

import pytest

from fastsoftmax import SoftmaxRegression
from fastsoftmax.contracts import Record
from fastsoftmax.estimator import progress_line
from fastsoftmax.runtime.compiling import Compilation
from tests.problems import dataset


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Notebook:
    """Standard error of a notebook, which is no file, and the outputs of a cell: what each has shown."""

    def __init__(self):
        self.outputs = []

    def display(self, said, *, raw, display_id):
        assert raw
        assert display_id
        self.outputs.append([said["text/plain"]])
        return SimpleNamespace(update=lambda said, *, raw: self.outputs[-1].append(said["text/plain"]))

    def write(self, text):
        raise AssertionError(f"an output of its own: {text!r}")

    def isatty(self):
        return False


def written(stream):
    """Return the texts that stood in the one line of a terminal or a notebook, one after the other."""
    if isinstance(stream, Notebook):
        (texts,) = stream.outputs
        return texts
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("\n")
    before, *texts = stream.getvalue().split("\r")
    assert before == ""
    return texts


def standard_error(kind, monkeypatch):
    """Put a stream of a kind in the place of standard error, and return it."""
    found = {"terminal": Terminal, "notebook": Notebook, "pipe": io.StringIO}[kind]()
    shell = SimpleNamespace(kernel=object()) if kind == "notebook" else None
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr(sys, "stderr", found)
    if kind == "notebook":
        monkeypatch.setitem(sys.modules, "IPython.display", found)
    return found


@pytest.mark.parametrize("kind", ["terminal", "notebook"])
def test_one_live_line(kind, monkeypatch):
    SoftmaxRegression().fit(*dataset("digits"))  # what is compiled after the last step has its own line
    stream = standard_error(kind, monkeypatch)
    model = SoftmaxRegression(verbose=1).fit(*dataset("digits"))
    last = written(stream)[-1]
    assert f"passes {model.history_[-1].passes:5d}" in last
    assert f"objective {model.objective_:.9f}" in last


def test_plain_lines_elsewhere(monkeypatch):
    SoftmaxRegression().fit(*dataset("iris"))
    stream = standard_error("pipe", monkeypatch)
    model = SoftmaxRegression(verbose=1).fit(*dataset("iris"))
    assert len(stream.getvalue().splitlines()) == len(model.history_)
    assert "\r" not in stream.getvalue()


def test_a_notebook_that_is_redirected_gets_plain_lines(monkeypatch):
    monkeypatch.setattr(builtins, "get_ipython", lambda: SimpleNamespace(kernel=object()), raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress_line._columns_of_live_line() is None
    monkeypatch.setattr(sys, "stderr", Notebook())
    assert progress_line._columns_of_live_line() is not None
    monkeypatch.setattr(builtins, "get_ipython", lambda: SimpleNamespace())  # IPython in a pipe
    assert progress_line._columns_of_live_line() is None
    monkeypatch.setattr(sys, "stderr", None)  # a program without a console
    with progress_line.shown(1) as line:
        line.show(Record(0.0, 1.0, 1.0, None, 1))


def compiles(line, seconds=0.0):
    for n_done in range(200):
        line.compiling(Compilation("sums", n_done, n_done + seconds, True))
        line.compiling(Compilation("", n_done + 1, n_done + seconds + 0.5, True))


@pytest.mark.parametrize("kind", ["terminal", "notebook"])
def test_kernels_on_a_live_line(kind, monkeypatch):
    stream = standard_error(kind, monkeypatch)
    with progress_line.shown(1) as line:
        compiles(line)
        line.show(Record(1.0, 0.5, 0.25, None, 1))
    parts = written(stream)
    assert parts[0] == "compiling kernels (once on this machine): the first one, now sums"
    assert parts[-2].strip() == "compiled 200 kernels in 199.5 s"
    assert kind == "notebook" or len(parts[-2]) >= len(parts[0])  # it covers what stood there
    assert "objective 0.500000000" in parts[-1]


def test_kernels_in_a_pipe(monkeypatch):
    stream = standard_error("pipe", monkeypatch)
    now = [0.0]
    monkeypatch.setattr(progress_line.time, "perf_counter", lambda: now[0])
    with progress_line.shown(1) as line:
        for n_done in range(200):
            now[0] += 0.1
            line.compiling(Compilation("sums", n_done, now[0], True))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "compiling kernels (once on this machine): the first one, now sums"
    assert 4 <= len(lines) <= 2 + 20 / progress_line.SECONDS_A_LINE
    assert lines[-1] == "compiled 199 kernels in 20.0 s"


def test_nothing_without_verbose(capfd):
    with progress_line.shown(0) as line:
        assert line is None
    SoftmaxRegression().fit(*dataset("iris")).predict(dataset("iris")[0])
    assert capfd.readouterr() == ("", "")

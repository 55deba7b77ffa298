"""Law: the command line keeps its promises as a process: statuses, one-line failures, terminal, imports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import fastsoftmax
from fastsoftmax.cli import console
from fastsoftmax.cli.app import app
from fastsoftmax.data import readers


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _run(*words):
    return CliRunner().invoke(app, list(words))


def test_lists_of_labels_are_short():
    assert console.listed([1, 2, 3]) == "1, 2, 3"
    assert console.listed(np.arange(150)) == "0, 1, 2, 3, 4, 5, 6, 7, ... (150)"
    assert console.listed(["a" * 60, "b" * 60]) == "a" * 60 + ", ... (2)"
    assert console.listed(["a" * 90]) == "a" * 90


def _failure(*words, status=1):
    """The line that a failing command says."""
    result = _run(*words)
    assert result.exit_code == status
    assert result.stdout == ""
    return result.stderr.removesuffix("\n")


def test_wrong_usage_is_2():
    for words in (
        *(
            ["fit"],
            ["fit", "iris", "--C", "0"],
            ["fit", "iris", "--C", "nan"],
            ["fit", "iris", "--tol", "-1"],
        ),
        *(
            ["fit", "iris", "--max-iter", "0"],
            ["fit", "iris", "--loss", "hinge"],
            ["fit", "iris", "--plot", "a.txt"],
        ),
        *(
            ["predict", "m"],
            ["predict", "m", "iris", "--out", "p.txt"],
            ["bake"],
            ["info", "m", "--nonsense"],
            [],
        ),
    ):
        assert _run(*words).exit_code == 2, words


def test_version():
    assert _run("--version").stdout == f"fastsoftmax {fastsoftmax.__version__}\n"


def test_interrupt_is_130(monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(readers, "read", interrupt)
    assert _failure("fit", "iris", "--out", "m", status=130) == "fastsoftmax: interrupted"


@pytest.mark.parametrize("answer", ["y\n", "n\n", ""])
def test_an_interrupted_fit_may_be_kept(monkeypatch, answer):
    steps = iter(range(3))

    def record(self, record):
        if next(steps, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(console.Progress, "record", record)
    monkeypatch.setattr("fastsoftmax.cli.fit.can_ask", lambda: True)
    result = CliRunner().invoke(app, ["fit", "iris", "--tol", "1e-14", "--out", "m"], input=answer)
    assert "lbfgs was interrupted after 3 iteration(s)" in result.stderr
    assert "Go on with that model? [y/N]" in result.stderr
    if answer.startswith("y"):
        assert result.exit_code == 0
        assert fastsoftmax.load("m").n_iter_.tolist() == [3]
        return
    assert result.exit_code == console.INTERRUPTED
    assert "objective" not in result.stdout
    assert result.stderr.endswith("fastsoftmax: interrupted\n")
    assert not Path("m").exists()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("Unable to allocate 9 TiB"), "not enough memory Unable to allocate 9 TiB"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError("two\n  lines"), "two lines"),
        (RuntimeError(), "RuntimeError"),
        (PermissionError(13, "Permission denied", "t.csv"), "t.csv: Permission denied"),
    ],
)
def test_any_error_is_one_line(monkeypatch, error, line):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(readers, "read", fail)
    assert _failure("fit", "iris") == f"fastsoftmax: {line}"


def _process(*words, **options):
    command = [sys.executable, "-m", "fastsoftmax", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)


def test_a_real_process():
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    done = _process("fit", "iris", "--out", "m", "--json", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["model"] == "m"
    done = _process("predict", "m", "no.csv", env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fastsoftmax: data file 'no.csv' does not exist\n"


def test_help_imports_nothing_heavy():
    script = (
        "import sys; sys.argv = ['fastsoftmax', '--help']; from fastsoftmax.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print('heavy', sorted({'numba', 'pandas', 'scipy', 'sklearn', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "heavy []", done.stderr


@pytest.mark.parametrize("missing", ["typer", "rich", "pandas"])
def test_without_its_libraries_the_command_says_what_to_install(monkeypatch, capsys, missing):
    from fastsoftmax import __main__

    find = __main__.importlib.util.find_spec
    monkeypatch.setattr(
        __main__.importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said == f'fastsoftmax: the command line needs {missing}: pip install "fastsoftmax[cli]"\n'


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and terminals")
class TestOnPosix:
    def test_a_reader_that_leaves_early_is_no_error(self):
        np.save("t.npy", np.ones((50_000, 4)))
        assert _run("fit", "iris", "--out", "m").exit_code == 0
        command = f"'{sys.executable}' -m fastsoftmax predict m t.npy | head -1; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        assert done.stdout.split()[1:] == ["141"]
        assert done.stderr == ""

    def test_a_terminal_sees_the_fit_go_on(self):
        out, seen = _on_a_terminal("fit", "digits", "--json")
        assert json.loads(out)["rows"] == 1442
        assert b"reading digits" in seen
        assert b"iteration" in seen
        assert b"passes" in seen

    def test_a_terminal_sees_what_is_compiled_and_nothing_else(self, tmp_path):
        assert _run("fit", "iris", "--out", "m").exit_code == 0
        said = b"compiling kernels (once on this machine): the first one"
        for command in ("predict", "score"):
            cache = str(tmp_path / command)
            _, seen = _on_a_terminal(command, "m", "iris", NUMBA_CACHE_DIR=cache)
            assert said in seen
            line = seen.partition(b"fastsoftmax: note")[0]  # which is of the rows that are held out
            assert b"\n" not in line
            assert line.rsplit(b"\r", 2)[1].isspace()  # nothing stands there when the results come
            again = _on_a_terminal(command, "m", "iris", NUMBA_CACHE_DIR=cache)[1]
            assert b"compiling" not in again
        # The kernels of the fit above, but for one.
        kept = shutil.copytree(
            os.environ["NUMBA_CACHE_DIR"], tmp_path / "fit", ignore=shutil.ignore_patterns("*.kernel.*")
        )
        for file in kept.rglob("quasi_newton.*.kernel"):
            file.unlink()
        seen = _on_a_terminal("fit", "iris", NUMBA_CACHE_DIR=str(kept))[1]
        assert b"compiling kernels (once on this machine): 0 of about " in seen


def _on_a_terminal(*words, **env):
    """The output of a command, and what it writes to its standard error, which is a terminal."""
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, "-m", "fastsoftmax", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=slave, env={**os.environ, **env}
    ) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # Linux says EIO where the last writer has gone
                break
            if not chunk:
                break
            seen += chunk
        out = process.stdout.read()
    os.close(master)
    assert process.returncode == 0
    return out, seen

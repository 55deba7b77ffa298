"""Law: `fastsoftmax warmup` compiles what a fit and its predictions call, and nothing that came compiled."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from fastsoftmax.aot import objects
from fastsoftmax.cli.app import app
from fastsoftmax.runtime import compile_ahead, library
from fastsoftmax.runtime.jit import MANIFEST


def run(*arguments):
    return CliRunner().invoke(app, ["warmup", *arguments])


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("storage", [(), ("--sparse",)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_compiled(dtype, storage, loss, monkeypatch):
    objects.load_all()
    asked = []

    def compile_all(plan, n_processes):
        asked.append(n_processes)
        asked.extend(plan)
        yield 1

    monkeypatch.setattr(compile_ahead, "compile_all", compile_all)
    done = run("--dtype", dtype, "--loss", loss, "--processes", "3", *storage)
    assert done.exit_code == 0, done.output
    n_processes, *plan = asked
    assert n_processes == 3
    assert len(plan) >= 17
    assert done.output.startswith(f"{len(plan)} kernels in 0.")
    for module, name, signature in plan:  # all of them are kernels, for arguments that they can have
        assert signature in MANIFEST[module, name].signatures
    assert any(name == ("forward" if storage else "sum_rows") for _, name, _ in plan)
    assert any(name == loss for _, name, _ in plan)


def test_nothing_is_compiled_where_a_library_is_in_use(monkeypatch):
    monkeypatch.setattr(library, "is_in_use", lambda: True)
    info = library.KernelsInfo("library", "x86-64-v3", "abc", "", 229, ())
    monkeypatch.setattr(library, "kernels_info", lambda: info)
    done = run()
    assert done.output == "229 kernels came with the package, for x86-64-v3: nothing to compile\n"

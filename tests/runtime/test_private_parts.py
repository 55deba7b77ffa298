"""Law: private parts of other libraries have one door each, and the self-test names each that has changed."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numba
import pytest
import sklearn

import fastsoftmax
from fastsoftmax.runtime import forks, native, numba_internals, self_test
from fastsoftmax.runtime.numba_internals import Compiler
from fastsoftmax.runtime.private_library import InnerCompiler, _PrivateLibrary

PACKAGE = Path(fastsoftmax.__file__).parent
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in PACKAGE.rglob("*.py")}
INSTALLED = [
    part for library in self_test.TRIED for part in self_test._asked(library) if not part.is_behaviour
]
CALLED = [part for part in INSTALLED if " called as " in part.relied_on]


def owner_of(name):
    """The object whose attribute a part is, and the attribute's name."""
    owner, _, last = name.rpartition(".")
    return self_test._found(owner), last


def where(pattern):
    return {name for name, text in SOURCES.items() if re.search(pattern, text, re.MULTILINE)}


def test_nothing_has_changed():
    assert self_test.changed() == []


@pytest.mark.parametrize("part", INSTALLED, ids=lambda part: part.name)
def test_a_part_that_is_gone_is_named(part, monkeypatch):
    owner, last = owner_of(part.name)
    if last in vars(owner):
        monkeypatch.delattr(owner, last)
    if hasattr(owner, last):  # it is inherited
        monkeypatch.setattr(owner, last, None)
    (sentence,) = self_test.changed([part.library])
    assert sentence.startswith(f"{part.name} has changed: ")
    assert re.search(r"\(in fastsoftmax\.\w+", sentence)


@pytest.mark.parametrize("part", CALLED, ids=lambda part: part.name)
def test_a_part_that_is_called_in_another_way_is_named(part, monkeypatch):
    def other(*, something_else):
        raise AssertionError

    monkeypatch.setattr(*owner_of(part.name), other)
    (sentence,) = self_test.changed(structure_only=True)
    assert sentence.startswith(f"{part.name} has changed: ")


@pytest.mark.parametrize("kind", ["NamedTuple", "NamedUniTuple"])
def test_named_tuples_without_a_class(kind, monkeypatch):
    class Other(getattr(numba.core.types, kind)):
        instance_class = None

    monkeypatch.setattr(numba.core.types, kind, Other)
    (sentence,) = self_test.changed(structure_only=True)
    assert sentence.startswith(f"numba.core.types.{kind} has changed: ")


def test_functions_that_stay_shared(monkeypatch):
    monkeypatch.delattr(_PrivateLibrary, "_optimize_final_module")
    (sentence,) = self_test.changed(["numba"])
    assert "linkonce_odr" in sentence


def test_parts_that_are_compiled_by_themselves(monkeypatch):
    monkeypatch.setattr(InnerCompiler, "compile_extra", Compiler.compile_extra)
    (sentence,) = self_test.changed(["numba"])
    assert "without machine code" in sentence


def test_kernels_that_are_not_kept(monkeypatch):
    monkeypatch.setattr(numba_internals, "set_cache", lambda dispatcher, cache: None)
    (sentence,) = self_test.changed(["numba"])
    assert "_cache" in sentence


def test_calls_by_address_that_go_wrong(monkeypatch):
    monkeypatch.setattr(native, "address_of", lambda *_: 1 / 0)
    (sentence,) = self_test.changed(["numba"])
    assert "get_compile_result" in sentence


def test_parameters_that_are_not_checked(monkeypatch):
    monkeypatch.setattr(sklearn.base.BaseEstimator, "_validate_params", lambda self: None)
    (sentence,) = self_test.changed(["scikit-learn"])
    assert "_parameter_constraints" in sentence


def test_newer_versions_are_warned_of_once(monkeypatch, caplog):
    monkeypatch.delattr(numba.core.cgutils, "for_range")
    self_test.warn_if_newer.cache_clear()
    with caplog.at_level(logging.WARNING):
        self_test.warn_if_newer("numba", "0.68.1")
        assert not caplog.messages
        for _ in range(2):
            self_test.warn_if_newer("numba", "0.69.0rc1")
    (message,) = caplog.messages
    assert message.startswith("fastsoftmax: numba 0.69.0rc1: numba.core.cgutils.for_range has changed: ")
    self_test.warn_if_newer.cache_clear()


def test_newer_versions_are_looked_at_before_their_parts_are_imported():
    # an ImportError would hide what else has changed
    code = """
import logging, numba, numba.core.codegen
logging.basicConfig(format="%(message)s")
numba.__version__ = "0.69.0"
del numba.core.codegen.JITCodeLibrary, numba.core.cgutils.if_unlikely
import fastsoftmax.runtime.jit
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    first, second, *_, last = found.stderr.splitlines()
    assert first.startswith("fastsoftmax: numba 0.69.0: numba.core.cgutils.if_unlikely has changed: ")
    assert second.startswith("fastsoftmax: numba 0.69.0: numba.core.codegen.JITCodeLibrary has changed: ")
    assert last.startswith("ImportError")


def test_the_command_says_what_has_changed():
    def run(before):
        code = f"import runpy, numba.core.cgutils\n{before}\n"
        code += f"runpy.run_module('{self_test.__name__}', None, '__main__')"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    found = run("")
    assert (found.returncode, found.stdout) == (0, "nothing has changed\n"), found.stderr
    found = run("del numba.core.cgutils.if_unlikely")
    assert found.returncode == 1
    assert found.stdout.startswith("numba.core.cgutils.if_unlikely has changed: ")
    assert found.stdout.count("\n") == 1


def test_the_versions_that_are_installed_have_been_tried():
    for library, version in (("numba", numba.__version__), ("scikit-learn", sklearn.__version__)):
        assert tuple(map(int, version.split(".")[:2])) <= self_test.TRIED[library]


def test_bounds_are_those_that_were_tried():
    text = (PACKAGE.parent / "pyproject.toml").read_text()
    for library, (major, minor) in self_test.TRIED.items():
        assert re.search(rf'"{library}>=[\d.]+,<{major}\.{minor + 1}"', text), library


def test_private_parts_have_one_door_each():
    cuda = {name for name in SOURCES if name.startswith("kernels/cuda/")}
    numbas = where(r"^\s*(from|import) (numba\.(?!extending\b)|llvmlite\.(?!ir\b|binding\b))")
    assert numbas - cuda == {"runtime/numba_internals.py"}
    module, name = r"^\s*(from|import) sklearn[\w.]*\._", r"^\s*from sklearn[\w.]* import [^\n]*\b_\w"
    callbacks = r"^\s*(from|import) sklearn\.callback"
    assert where("|".join([module, name, callbacks])) == {"runtime/scikit_learn.py"}


def test_forks_have_one_door():
    assert where(r"register_at_fork\(") == {"runtime/forks.py"}
    users = {"blas", "compiling", "executor", "jit", "lazy_imports", "thread_pool"}
    assert where(r"^at_fork\(") == {f"runtime/{name}.py" for name in users}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_hooks_of_a_fork():
    code = """
import os
from fastsoftmax.runtime.forks import at_fork
seen = []
for i in range(2):
    at_fork(before=lambda i=i: seen.append(f"before {i}"), in_parent=lambda i=i: seen.append(f"parent {i}"))
at_fork(in_child=lambda: seen.append("child"))
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
print(seen, flush=True)
os._exit(0)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "['before 1', 'before 0', 'child']",
        "['before 1', 'before 0', 'parent 0', 'parent 1']",
    ]


def test_no_hooks_where_there_are_no_forks(monkeypatch):
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    forks.at_fork(before=print, in_parent=print, in_child=print)


def test_modules_import_each_other_by_full_names():
    # runtime.seals follows no others
    assert where(r"^\s*from \.|^\s*import [\w., ]+, *fastsoftmax|import_module\([\"']fastsoftmax") == set()

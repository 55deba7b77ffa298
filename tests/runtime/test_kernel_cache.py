"""Law: kernels are kept on disk until what goes into them changes; what runs is right, whatever lies there.

Most cases take a small function of their own, compiled in a moment, instead of the package's kernels.
FASTSOFTMAX_CACHE_TRIES (default 3) is how many times two processes compile into one folder at once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import pytest
from llvmlite.binding import Linkage

import fastsoftmax
from fastsoftmax.runtime.jit import SETTINGS
from tests.interpreter import ROOT, run_python

TRIES = int(os.environ.get("FASTSOFTMAX_CACHE_TRIES", "3"))
SMALL = """
    from fastsoftmax.runtime.jit import jit

    @jit
    def twice(a):
        return a + a
"""
USE = """
    import sys
    import numpy as np
    from small import twice
    KINDS = [np.int64, np.float64, np.float32, np.complex128]
    kinds = [KINDS[int(each)] for each in sys.argv[1:]]
    assert [twice(kind(1.5)) for kind in kinds] == [2 * kind(1.5) for kind in kinds]
    print(sum(twice.stats.cache_hits.values()), sum(twice.stats.cache_misses.values()))
"""


@pytest.fixture
def use(tmp_path):
    """Call `twice` for some kinds of numbers in a fresh process; return how many were loaded and compiled."""
    (tmp_path / "small.py").write_text(textwrap.dedent(SMALL))
    root = str(ROOT)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), root]), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def call(*kinds, before="", **more):
        status, out, err = run_python(
            textwrap.dedent(before) + textwrap.dedent(USE), *kinds, cwd=tmp_path, **(env | more)
        )
        assert status == 0, err
        call.errors = err
        return tuple(map(int, out.split()))

    call.env = env
    return call


def kernels(folder):
    return sorted(folder.rglob("*.kernel"))


def test_kernels_are_kept(use, tmp_path):
    assert use("0", "1") == (0, 2)
    assert use("0", "1") == (2, 0)
    assert use("0", "1", "2") == (2, 1)
    assert len(kernels(tmp_path)) == 3
    left = [path for path in tmp_path.rglob("twice*") if path.is_file() and path.suffix != ".kernel"]
    assert not left
    assert use.errors == ""


DAMAGE = {
    "empty": lambda data: b"",
    "cut within the seal": lambda data: data[:17],
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "not ours": lambda data: b"\x80\x04K\x01." * 100,
    **{
        f"a bit at {place}": lambda data, place=place: bytes(
            byte ^ (i == int(place * (len(data) - 1))) for i, byte in enumerate(data)
        )
        for place in (0.0, 0.3, 0.6, 1.0)
    },
}


def test_damaged_kernels_are_compiled_again(use, tmp_path):
    kinds = ("0", "1", "2", "3")
    assert use(*kinds) == (0, 4)
    whole = {path: path.read_bytes() for path in kernels(tmp_path)}
    names = list(DAMAGE)
    for first in range(0, len(names), len(kinds)):  # each kernel in another way
        damaged = dict(zip(whole, names[first : first + len(kinds)]))
        for path, name in damaged.items():
            path.write_bytes(DAMAGE[name](whole[path]))
        assert use(*kinds) == (4 - len(damaged), len(damaged)), damaged
        assert use(*kinds) == (4, 0), damaged


def test_kernels_in_each_others_place(use, tmp_path):
    assert use("0", "1") == (0, 2)
    first, second = kernels(tmp_path)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert use("0", "1") == (0, 2)
    assert use("0", "1") == (2, 0)


def test_a_folder_in_the_place_of_a_kernel(use, tmp_path):
    assert use("0") == (0, 1)
    (path,) = kernels(tmp_path)
    path.unlink()
    path.mkdir()
    assert use("0") == (0, 1)
    assert "compiled anew" in use.errors


def edit(path):
    with path.open("a") as file:
        file.write("\n")


def test_kernels_of_other_sources_are_not_used(use, tmp_path):
    # a kernel contains functions of other files: after an upgrade of any of them it is an old one
    copy = tmp_path / "site"
    shutil.copytree(
        Path(fastsoftmax.__file__).parent, copy / "fastsoftmax", ignore=shutil.ignore_patterns("__pycache__")
    )
    here = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(copy)])}
    assert use("0", **here) == (0, 1)
    assert use("0", **here) == (1, 0)
    edit(copy / "fastsoftmax" / "losses" / "softmax.py")  # `twice` has nothing of it
    assert use("0", **here) == (1, 0)
    edit(copy / "fastsoftmax" / "runtime" / "native.py")
    assert use("0", **here) == (0, 1)
    edit(tmp_path / "small.py")
    assert use("0", **here) == (0, 1)
    assert use("0", **here) == (1, 0)


def test_each_setting_of_the_compiler_has_files_of_its_own(use, tmp_path):
    others = (
        ("OPT", "1"),
        ("DEBUGINFO", "1"),
        ("LOOP_VECTORIZE", "0"),
        ("SLP_VECTORIZE", "1"),
        ("BOUNDSCHECK", "1"),
    )
    assert use("0") == (0, 1)
    for n_before, (name, value) in enumerate(others, 1):
        assert len(kernels(tmp_path)) == n_before
        assert use("0", **{f"NUMBA_{name}": value}) == (0, 1), name
    assert use("0") == (1, 0)
    assert use("0", NUMBA_OPT="max") == (0, 1)  # which is 3, as a number


def test_the_module_of_a_named_tuple_goes_into_a_kernel(tmp_path):
    # The row functions of a loss are found by its type, in a file that no kernel imports.
    (tmp_path / "kinds.py").write_text(
        "from typing import NamedTuple\nclass Pair(NamedTuple):\n    x: int\n    y: float\n"
    )
    (tmp_path / "small.py").write_text(
        "from fastsoftmax.runtime.jit import jit\n@jit\ndef last(pairs):\n    return pairs[0].y\n"
    )
    code = """
    import sys
    from typing import NamedTuple
    from kinds import Pair
    from small import last
    class Here(NamedTuple):
        x: int
        y: float
    kind = Here if sys.argv[1:] else Pair
    assert last((kind(1, 2.0), 3)) == 2.0
    print(sum(last.stats.cache_hits.values()), sum(last.stats.cache_misses.values()))
    """
    path = os.pathsep.join([str(tmp_path), str(ROOT)])

    def call(*arguments):
        env = {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        status, out, err = run_python(code, *arguments, cwd=tmp_path, **env)
        assert status == 0, err
        return out, err

    assert call() == ("0 1", "")
    assert call() == ("1 0", "")
    edit(tmp_path / "kinds.py")
    assert call() == ("0 1", "")
    for _ in range(2):  # a class of a program's own lines may be another one next time
        out, err = call("here")
        assert out == "0 1"
        assert err.count("compiled anew") == 1
        assert "__main__.Here has no source file" in err


def test_a_disk_that_takes_nothing_any_more(use, tmp_path):
    before = """
    import fastsoftmax.runtime.kernel_cache as cache
    import pathlib, small
    def full(self, data):
        raise OSError(28, "No space left on device")
    pathlib.Path.write_bytes = full
    """
    assert use("0", "1", before=before) == (0, 2)
    assert use.errors.count("compiled anew") == 1
    assert "No space left" in use.errors
    assert not kernels(tmp_path)


def test_nowhere_to_write(tmp_path):
    # As in site-packages that belong to somebody else, with no HOME; a file where a folder is needed keeps
    # even the superuser from writing.
    site = tmp_path / "site"
    shutil.copytree(
        Path(fastsoftmax.__file__).parent, site / "fastsoftmax", ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in [site / "fastsoftmax", *(site / "fastsoftmax").rglob("*")]:
        if folder.is_dir():
            (folder / "__pycache__").touch()
    code = """
    import numpy as np
    import fastsoftmax
    print(fastsoftmax.softmax(np.zeros((3, 4)), axis=1).tolist() == [[0.25] * 4] * 3, fastsoftmax.__file__)
    """
    env = {"PYTHONPATH": str(site), "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
    status, out, err = run_python(code, cwd=site, NUMBA_CACHE_DIR="", **env)
    assert status == 0, err
    assert out == f"True {site}/fastsoftmax/__init__.py"
    assert err.count("compiled anew") == 1, err
    assert err.count("\n") == 0, err
    assert not list(tmp_path.rglob("*.kernel"))


def test_two_processes_at_once(use, tmp_path):
    # Each compiles other kinds of one function; no kernel is lost, and none taken for another.
    for _ in range(TRIES):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(USE), *kinds], env=os.environ | use.env, text=True
            )
            for kinds in ("012", "321")
        ]
        assert [process.wait(timeout=100) for process in processes] == [0, 0]
        assert use("0", "1", "2", "3") == (4, 0)
        assert len(kernels(tmp_path)) == 4


@pytest.mark.parametrize("options", [{}, SETTINGS], ids=["Numba's own", "ours"])
def test_what_a_kernel_calls_is_its_own(options):
    # Else the first copy that a process loads would run in all its callers, and the copies differ in bits.
    @numba.njit(**options)
    def leaves(n):
        return 1.0 if n < 2 else leaves(n - 1) + leaves(n - 2)  # calls itself: it is not inlined whole

    @numba.njit(**options)
    def outer(n):
        return leaves(n) + leaves(n + 1)

    assert outer(8) == 34.0 + 55.0
    library = outer.overloads[outer.signatures[0]].library
    shared = [each.name for each in library.get_defined_functions() if each.linkage == Linkage.linkonce_odr]
    assert bool(shared) == (not options), shared

"""Law: a library gives Numba's results without Numba, and where it does not fit, that is said once.

A library of a few kernels is compiled for x86-64-v3, which most processors have, into a folder of its own.
"""

from __future__ import annotations

import json
import platform
import shutil

import pytest

from fastsoftmax.aot import link
from fastsoftmax.runtime import library, width
from tests.interpreter import run_python

LEVEL = "x86-64-v3"
# Of softmax and of sums of squares; log_softmax is left to Numba.
ONLY = "cpu_rows_softmax|cpu_rows_logsumexp_1|linalg_vectors_dots"
SOFTMAX = """
    import sys
    import numpy as np
    import fastsoftmax
    x = np.random.default_rng(0).normal(size=(2000, 37))
    p = fastsoftmax.softmax(x, axis=1)
    print(p.sum().hex(), p.tobytes().hex()[-40:], "numba" in sys.modules)
"""
OTHER = "the library was made of other sources than are installed"
INFO = "import fastsoftmax; print(*fastsoftmax.kernels_info(), sep='|')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if platform.machine() != "x86_64":
        pytest.skip("the library that is tried is for x86 processors")
    try:
        link.compiler()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("library")
    link.build(folder, [LEVEL], 1, only=ONLY)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder in which Numba keeps what one test has compiled for the others."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def use(folder, cache, tmp_path):
    """A copy of the library, and what runs lines with it."""
    copy = tmp_path / "library"
    shutil.copytree(folder, copy)

    here = {
        "FASTSOFTMAX_KERNELS": "auto",
        "FASTSOFTMAX_LIBRARY": str(copy),
        "FASTSOFTMAX_LEVEL": "",
        "NUMBA_CACHE_DIR": str(cache),
    }

    def run(code, timeout=180, **env):
        return run_python(code, timeout=timeout, **(here | env))

    return copy, run


def test_its_results_are_numbas(use):
    _, run = use
    status, out, err = run(SOFTMAX)
    assert (status, err) == (0, "")
    *bits, has_numba = out.split()
    assert has_numba == "False"
    jit = {"FASTSOFTMAX_KERNELS": "jit", "NUMBA_CPU_NAME": LEVEL, "NUMBA_CPU_FEATURES": ""}
    status, out, err = run(SOFTMAX, **jit)
    assert (status, err) == (0, "")
    assert out.split() == [*bits, "True"]


def test_what_it_lacks_is_compiled_and_said_once(use):
    _, run = use
    code = """
        import numpy as np
        import fastsoftmax
        x = np.arange(12.0).reshape(3, 4)
        for _ in range(3):
            p = fastsoftmax.log_softmax(x, axis=1)
        print(np.exp(p).sum(axis=1).round(12), *fastsoftmax.kernels_info().missed)
    """
    status, out, err = run(code)
    assert status == 0, err
    assert out == "[1. 1. 1.] rows.log_softmax"
    assert err.count("the library has no rows.log_softmax") == 1
    assert len(err.splitlines()) == 1
    status, out, err = run(code, FASTSOFTMAX_KERNELS="compiled")
    assert status == 1
    assert (
        "KernelsMissingError: FASTSOFTMAX_KERNELS is compiled, and the library has no rows.log_softmax" in err
    )


def change(path, **values):
    """Change a table, which then says the right hash of what it says."""
    table = json.loads(path.read_text()) | values
    path.write_text(json.dumps(table | {"hash": library.table_hash(table)}))


def test_kernels_of_other_sources_are_not_used(use):
    folder, run = use
    change(folder / "table.json", sources="0" * 64)
    status, out, err = run(SOFTMAX)
    assert status == 0
    assert out.endswith("True")
    assert err == f"fastsoftmax: kernels are compiled by Numba: {OTHER}"
    assert run(INFO)[1] == f"numba|None|None|{OTHER}|0|()"
    status, _, err = run(SOFTMAX, FASTSOFTMAX_KERNELS="compiled")
    assert status == 1
    assert "KernelsMissingError: FASTSOFTMAX_KERNELS is compiled, but the library was made of other" in err


@pytest.mark.parametrize("name", ["table.json", f"{LEVEL}.so", "entries.abi3.so"])
def test_a_file_that_is_missing_or_damaged_is_said(name, use):
    folder, run = use
    if name == "table.json":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(b"no library")
    status, out, err = run(SOFTMAX)
    assert status == 0
    assert out.endswith("True")
    assert err.startswith("fastsoftmax: kernels are compiled by Numba: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda text: '{"format": 2}', "has format 2, not 1"),
        (lambda text: text[:1000], "cannot be loaded"),
        (lambda text: "{}", "cannot be loaded ('format')"),
        (lambda text: "[]", "cannot be loaded"),
        (lambda text: text.replace("rows_softmax_0", "rows_softmax_1"), "table is damaged"),
    ],
)
def test_a_damaged_table_is_not_used(edit, reason, use):
    folder, run = use
    text = (folder / "table.json").read_text()
    (folder / "table.json").write_text(edit(text))
    status, out, err = run(SOFTMAX)
    assert status == 0
    assert out.endswith("True")
    assert reason in err
    assert len(err.splitlines()) == 1


def test_a_kernel_that_the_file_lacks_is_a_miss(use):
    folder, run = use
    text = (folder / "table.json").read_text().replace('"cpu_rows_softmax_', '"cpu_rows_hardmax_')
    (folder / "table.json").write_text(text)
    change(folder / "table.json")
    status, out, err = run(SOFTMAX)
    assert status == 0
    assert out.endswith("True")
    assert err == "fastsoftmax: the library has no rows.softmax: compiled by Numba"


def test_what_is_interpreted_is_not_the_librarys(use):
    _, run = use
    assert run(INFO, NUMBA_DISABLE_JIT="1") == (0, "numba|None|None|NUMBA_DISABLE_JIT is set|0|()", "")


def test_ctrl_c_is_heard_in_the_middle_of_a_call(use):
    _, run = use
    code = """
        import signal, time
        import numpy as np
        import fastsoftmax
        x = np.zeros((1_000_000, 37))
        out = np.empty_like(x)
        def raises(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, raises)
        fastsoftmax.softmax(x, axis=1, out=out)
        for name in ("threads", "inline"):
            fastsoftmax.set_executor(name)
            heard = 0
            for _ in range(5):
                out[:] = 7.0
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                try:
                    fastsoftmax.softmax(x, axis=1, out=out)
                except KeyboardInterrupt:
                    heard += bool((out == 7.0).any())
                    after = out.copy()
                    time.sleep(0.05)
                    assert (out == after).all()  # no thread works on
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            print(heard > 0)
    """
    assert run(code, timeout=300) == (0, "True\nTrue", "")


def test_the_level_is_that_of_the_processor_or_as_wished(use):
    folder, run = use
    status, out, err = run(INFO)
    assert (status, err) == (0, "")
    source, level, name, reason, n_kernels, missed = out.split("|")
    assert (source, level, missed) == ("library", LEVEL, "()")
    assert reason == f"the library fits this processor ({LEVEL})"
    table = json.loads((folder / "table.json").read_text())
    assert name == table["hash"] == library.table_hash(table)
    assert int(n_kernels) == sum(map(len, table["kernels"].values())) == 7
    assert table["levels"] == {LEVEL: list(width.NARROW)}
    assert run(INFO, FASTSOFTMAX_LEVEL=LEVEL)[1] == out
    for wrong in ("x86-64-v4", "vax"):
        status, _, err = run(INFO, FASTSOFTMAX_LEVEL=wrong)
        assert status == 1
        assert f"ValueError: FASTSOFTMAX_LEVEL must be one of x86-64-v3; got '{wrong}'" in err
    status, _, err = run(INFO, FASTSOFTMAX_KERNELS="fast")
    assert status == 1
    assert "FASTSOFTMAX_KERNELS must be one of auto, jit, compiled; got 'fast'" in err


@pytest.mark.parametrize(
    ("of_cpu", "levels", "found"),
    [
        ("x86-64-v4", ["x86-64-v3", "x86-64-v4"], "x86-64-v4"),
        ("x86-64-v3", ["x86-64-v3", "x86-64-v4"], "x86-64-v3"),
        ("x86-64-v4", ["x86-64-v3"], "x86-64-v3"),
        ("aarch64", ["aarch64"], "aarch64"),
        ("x86-64-v2", ["x86-64-v3"], None),
        ("", ["x86-64-v3"], None),
        ("aarch64", ["x86-64-v3"], None),
    ],
)
def test_which_level_fits_which_processor(of_cpu, levels, found, monkeypatch):
    monkeypatch.delenv("FASTSOFTMAX_LEVEL", raising=False)
    if found is not None:
        assert library._level(of_cpu, levels) == found
        return
    with pytest.raises(library._NotUsableError, match="nothing for this processor"):
        library._level(of_cpu, levels)


def test_a_level_above_the_processors_is_refused(monkeypatch):
    monkeypatch.setenv("FASTSOFTMAX_LEVEL", "x86-64-v4")
    with pytest.raises(ValueError, match="this processor is x86-64-v3"):
        library._level("x86-64-v3", ["x86-64-v3", "x86-64-v4"])


def test_it_asks_nothing_of_others_but_memory_and_mathematics(folder):
    if shutil.which("nm") is None:
        pytest.skip("no nm to read the symbols with")
    assert "malloc" in link.needed(folder / f"{LEVEL}.so") <= link.SYMBOLS
    assert link.platform_tag(folder) == "cp311-abi3-manylinux_2_17_x86_64"


def test_forks_and_threads(use):
    _, run = use
    code = """
        import os, sys, threading
        import numpy as np
        import fastsoftmax
        x = np.random.default_rng(0).normal(size=(100_000, 37))
        def bits():
            return fastsoftmax.softmax(x, axis=1).tobytes()
        expected = bits()
        for name in ("inline", "threads", "auto"):
            fastsoftmax.set_executor(name)
            found = []
            threads = [threading.Thread(target=lambda: found.append(bits() == expected)) for _ in range(4)]
            [each.start() for each in threads]
            [each.join() for each in threads]
            assert found == [True] * 4
            child = os.fork()
            if not child:
                os._exit(0 if bits() == expected else 1)
            assert os.waitpid(child, 0)[1] == 0
        print("numba" in sys.modules)
    """
    assert run(code) == (0, "False", "")


def test_a_prange_runs_the_librarys_kernel(use, layer):
    _, run = use
    code = """
        import numpy as np
        import fastsoftmax
        x = np.random.default_rng(0).normal(size=(100_000, 37))
        expected = fastsoftmax.softmax(x, axis=1)
        fastsoftmax.set_executor("prange")
        assert (fastsoftmax.softmax(x, axis=1) == expected).all()
        from fastsoftmax.kernels.cpu import rows
        print(len(rows._softmax.jitted.serial.overloads), len(rows._softmax.jitted.parallel.overloads))
    """
    env = {"NUMBA_NUM_THREADS": "2", "FASTSOFTMAX_EXECUTOR": "threads"} | layer
    assert run(code, **env) == (0, "0 0" if "workqueue" in layer.values() else "0 1", "")
    # where nothing may be compiled, there is no loop either
    assert run(code, **env, FASTSOFTMAX_KERNELS="compiled") == (0, "0 0", "")

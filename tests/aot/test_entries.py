"""Law: an entry calls the kernel of its arguments' signature, from any thread, and keeps nothing of them."""

from __future__ import annotations

import gc
import itertools
import os
import resource
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from tests.aot.values import DTYPES, NAMES, Empty, Other, Point, Whole


def test_many_signatures(entries, kernel):
    kinds = list(itertools.product(DTYPES[:5], range(5), "CA"))
    signatures = [f"{k}:{n}{o},f8:1C" for k, n, o in kinds]
    good, bad = kernel("add"), kernel("out_of_memory")
    array = np.zeros(3)
    entry = entries.Entry("", dict.fromkeys(signatures, good) | {"f4:1A,f8:1C": bad}, {})
    for _ in range(3):
        for dtype, ndim in itertools.product(DTYPES[:5], range(5)):
            assert entry.call(0, 0, 0, np.zeros((2,) * ndim, dtype), array) is True
            assert entry.call(0, 0, 0, array, np.zeros((2,) * ndim, dtype)) is ((dtype, ndim) == ("f8", 1))
        with pytest.raises(MemoryError):
            entry.call(0, 0, 0, np.zeros(6, "f4")[::2], array)
    assert entries.Entry("", {}, {}).call(0, 0, 0) is False
    assert entries.Entry("", {"": good}, {}).call(0, 0, 0) is True


def test_status_raises_memory_error(entries, kernel):
    entry = entries.Entry("", {"q": kernel("out_of_memory")}, {})
    with pytest.raises(MemoryError, match="a kernel found no memory to compute in"):
        entry.call(0, 0, 0, 1)
    with pytest.raises(MemoryError, match="a kernel found no memory to compute in"):
        entry.bind(1).call(0, 0, 0)


def test_wrong_uses(entries, kernel):
    address = kernel("add")
    entry = entries.Entry("name", {"q": address}, NAMES)
    assert entry.name == "name"
    bound = entry.bind(1)
    for call in [
        lambda: entry.call(0, 0),
        lambda: entry.call(0, 0.5, 0, 1),
        lambda: entry.call("", 0, 0, 1),
        lambda: entry.call(0, 0, 0, x=1),
        lambda: bound.call(0, 0),
        lambda: bound.call(0, 0, 0, 0),
        lambda: bound.call(0, None, 0),
        lambda: type(bound)(),
        lambda: setattr(entries.Entry, "x", 1),
        lambda: entries.Entry("name", {"q": "1"}, {}),
        lambda: entries.Entry("name", {1: address}, {}),
        lambda: entries.Entry("name", {}, {int: "int"}),
        lambda: entries.Entry("name", {}, {"int": "int"}),
        lambda: entries.Entry("name", {}, {Point: 1}),
        lambda: entries.Entry("name", [], {}),
        lambda: entries.Entry(1, {}, {}),
        lambda: entries.Entry("name"),
    ]:
        with pytest.raises(TypeError):
            call()
    with pytest.raises(AttributeError):
        entry.name = "other"
    with pytest.raises(ValueError):
        entries.Entry("name", {"q": 0}, {})


def test_bound_from_threads(entries, kernel):
    array = np.zeros(8)
    call = entries.Entry("", {"f8:1C": kernel("add")}, {}).bind(array).call

    def work(i):
        for _ in range(20000):
            call(i, i + 1, i + 1)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert array.tolist() == [20000.0 * (i + 1) for i in range(8)]


def test_calls_release_the_gil(entries, kernel):
    entry = entries.Entry("", {"": kernel("sleep_long")}, {})
    bound = entry.bind()
    for call in bound.call, entry.call:
        threads = [threading.Thread(target=call, args=(0, 0, 0)) for _ in range(8)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.perf_counter() - begin < 0.5


def test_call_after_fork(entries, kernel):
    array = np.zeros(3)
    entry = entries.Entry("", {"f8:1C": kernel("add")}, {})
    entry.call(0, 3, 1, array)
    child = os.fork()
    if child == 0:
        os._exit(0 if entry.call(0, 3, 1, array) and array[0] == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_bound_keeps_arrays(entries, kernel):
    array, other = np.zeros(3), np.zeros(10**6)
    alive = [weakref.ref(array), weakref.ref(other)]
    entry = entries.Entry("", {"f8:1C,Point(f8:1C,q)": kernel("add")}, NAMES)
    bound = entry.bind(array, Point(other, 1))
    view = array[:]
    del array, other, entry
    gc.collect()
    assert all(reference() is not None for reference in alive)
    bound.call(0, 3, 5)
    assert view.tolist() == [5.0] * 3
    del bound, view
    assert all(reference() is None for reference in alive)


def test_cycles_are_collected(entries, kernel):
    class Local(tuple):
        pass

    number = Whole(3)
    entry = entries.Entry("", {"q": kernel("add")}, {Local: "Local"})
    number.bound = entry.bind(number)
    Local.entry = entry
    alive = [weakref.ref(Local)]
    sentinel = type("Sentinel", (), {})()
    number.sentinel = sentinel
    alive.append(weakref.ref(sentinel))
    del Local, entry, number, sentinel
    gc.collect()
    assert all(reference() is None for reference in alive)


def test_references_and_memory_stay(entries, kernel):
    x, out, point = np.zeros((2, 2), "f4"), np.zeros((2, 2), "f4"), Point(1000, 2.5)
    large, swapped, failing, text = 2**70, x.astype(">f4"), (10**6,), "text" * 3
    names = dict(NAMES)
    addresses = {"f4:2C,f4:2C,Point(q,d)": kernel("add"), "(q)": kernel("out_of_memory")}
    entry = entries.Entry("counted", addresses, names)

    def raises(error, function, *arguments):
        try:
            function(*arguments)
        except error:
            return
        raise AssertionError

    def once():
        assert entry.call(0, 0, 0, x, out, point)
        assert not entry.call(0, 0, 0, x, swapped, point)
        assert not entry.call(0, 0, 0, x, (out, (text, point)))
        assert entry.signature(x, point) == "f4:2C,Point(q,d)"
        assert entry.signature(x, text) is None
        assert entry.bind(x, out, point).call(0, 0, 0) is None
        assert entry.bind(x, out) is None
        assert entry.call(0, 0, 0, x, (point, large)) is False
        assert entry.bind(x, (point, large)) is None
        raises(MemoryError, entry.call, 0, 0, 0, failing)
        raises(TypeError, entry.call, 0, text, 0, failing)

    def build():
        entries.Entry("counted", addresses, names)
        raises(ValueError, entries.Entry, text, {**addresses, "x": 0}, names)
        raises(TypeError, entries.Entry, text, addresses, {**names, int: text})
        raises(TypeError, entries.Entry, text, addresses, {**names, Other: 1})

    held = [x, out, point, large, swapped, failing, text, entry, Point, Empty, Other]
    held += [None, True, False, int, type(entry), type(entry.bind(x, out, point)), *addresses]
    held += addresses.values()

    def counts():
        gc.collect()
        return [sys.getrefcount(thing) for thing in held]

    for function, times in (once, 10**5), (build, 10**4):
        for _ in range(100):
            function()
        before = counts()
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(times):
            function()
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size
        changes = [b - a for a, b in zip(before, counts(), strict=True)]
        # The interpreter's caches hold a few more or fewer of the singletons.
        assert max(map(abs, changes)) < 20, changes
        assert grown < 2000  # KiB


def test_cpu_level(entries):
    flags = set()
    with Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith("flags"):
                flags = set(line.split(":")[1].split())
                break
    if not flags:
        pytest.skip("no flags of an x86 processor")
    v2 = ["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"]
    v3 = ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"]
    v4 = ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
    level = "x86-64"
    for name, needed in ("x86-64-v2", v2), ("x86-64-v3", v3), ("x86-64-v4", v4):
        if not flags.issuperset(needed):
            break
        level = name
    assert entries.cpu_level() == level


def test_parts_are_each_taken_once(entries, kernel):
    array = np.zeros(1000)
    bound = entries.Entry("", {"f8:1C": kernel("add")}, {}).bind(array)
    bounds = np.arange(0, 1001, 10)  # part i adds i to its ten items
    taken = np.zeros(1, np.int64)
    assert bound.parts(bounds, taken, 3) is True
    assert (taken[0], array.sum()) == (3, 10 * (0 + 1 + 2))
    threads = [threading.Thread(target=lambda: bound.parts(bounds, taken, 10**6)) for _ in range(8)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    np.testing.assert_array_equal(array, np.repeat(np.arange(100.0), 10))
    assert bound.parts(bounds, taken, 1) is False


def test_what_parts_refuses(entries, kernel):
    bound = entries.Entry("", {"": kernel("out_of_memory")}, {}).bind()
    bounds, taken = np.arange(3), np.zeros(1, np.int64)
    read_only = bounds.copy()
    read_only.flags.writeable = False
    assert bound.parts(read_only, taken, 0) is True
    wrong = (
        np.arange(3.0),
        np.arange(6)[::2],
        np.arange(3, dtype=">i8"),
        bounds[:0],
        [0, 1],
        bounds.astype("i4"),
    )
    for each in wrong:
        with pytest.raises(TypeError, match="bounds"):
            bound.parts(each, taken, 1)
    frozen = np.zeros(1, np.int64)
    frozen.flags.writeable = False
    with pytest.raises(TypeError, match="next"):
        bound.parts(bounds, frozen, 1)
    assert bound.parts(bounds, taken, 0) is True  # nothing was asked for
    with pytest.raises(MemoryError):
        bound.parts(bounds, taken, 1)
    assert bound.parts(bounds[:1], taken, 5) is False

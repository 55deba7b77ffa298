"""Law: an entry calls the kernel of its arguments' signature with their values, or does nothing."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import resource
import subprocess
import sys
import threading
import time
import weakref
from collections import namedtuple
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

from fastsoftmax.aot import link
from fastsoftmax.kernels.cpu.verbs import Hessp
from fastsoftmax.losses import softmax
from fastsoftmax.runtime import library
from fastsoftmax.runtime.signatures import NAMES as NAMED
from fastsoftmax.runtime.signatures import signature_of

entries = None  # the extension module, once it has been compiled

KERNELS = """
#include <stdint.h>
#include <unistd.h>

/* Logs what it is called with in its first argument, an i8 array of one dimension
   (slots 0 to 6): the span from item 1 on, then as many slots as item 0 says. */
int32_t record(int64_t start, int64_t stop, int64_t part, const int64_t *block)
{
    int64_t *log = (int64_t *)block[4];
    int64_t count = log[0];
    log[1] = start; log[2] = stop; log[3] = part;
    for (int64_t i = 0; i < count; i++)
        log[4 + i] = block[7 + i];
    return 0;
}

/* Adds part to the items from start to stop of an f8 array. */
int32_t add(int64_t start, int64_t stop, int64_t part, const int64_t *block)
{
    double *data = (double *)block[4];
    for (int64_t i = start; i < stop; i++)
        data[i] += part;
    return 0;
}

int32_t out_of_memory(int64_t start, int64_t stop, int64_t part, const int64_t *block)
{
    return 1;
}

int32_t sleep_long(int64_t start, int64_t stop, int64_t part, const int64_t *block)
{
    usleep(100000);
    return 0;
}
"""

Point = namedtuple("Point", "x y")
Empty = namedtuple("Empty", "")
Other = namedtuple("Other", "x y")
NAMES = {Point: "Point", Empty: "Empty"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    try:
        link.compiler()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="module", autouse=True)
def extension(folder):
    global entries
    entries = library._extension(link.extension(folder))


@pytest.fixture(scope="module")
def kernel(folder):
    (folder / "kernels.c").write_text(KERNELS)
    file = folder / "kernels.so"
    command = [*link.compiler(), "-O1", "-shared", "-fPIC", folder / "kernels.c", "-o", file]
    subprocess.run(command, check=True)
    shared = ctypes.CDLL(str(file))
    return lambda name: ctypes.cast(shared[name], ctypes.c_void_p).value


@pytest.fixture(scope="module")
def describe():
    return entries.Entry("describe", {}, NAMES).signature


def blocks(kernel, *arguments, count):
    """The first `count` slots that a kernel gets for the arguments."""
    log = np.zeros(4 + count, np.int64)
    log[0] = count
    signature = entries.Entry("", {}, NAMES).signature(log, *arguments)
    entry = entries.Entry("record", {signature: kernel("record")}, NAMES)
    assert entry.call(-5, 2**40, 7, log, *arguments) is True
    assert log[1:4].tolist() == [-5, 2**40, 7]
    called = log[4:].copy()
    log[1:] = 0
    assert entry.bind(log, *arguments).call(-5, 2**40, 7) is None
    assert log[1:4].tolist() == [-5, 2**40, 7]
    assert (log[4:] == called).all()
    return called


def header(array):
    return [0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides]


DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ndim", range(10))
def test_array(describe, kernel, dtype, ndim):
    shape = (2, 3, 2, 1, 2, 1, 2, 1, 2)[:ndim]
    arrays = {"C": np.ones(shape, dtype)}
    if ndim >= 2:
        arrays["F"] = np.ones(shape, dtype, order="F")
    if ndim >= 1:
        arrays["A"] = np.ones((5, *shape[1:]), dtype)[::2]
    for layout, array in arrays.items():
        assert describe(array) == f"{dtype}:{ndim}{layout}"
        expected = header(array)
        assert blocks(kernel, array, count=len(expected)).tolist() == expected


@pytest.mark.parametrize("code", np.typecodes["AllInteger"] + "?efd")
def test_every_type_code(describe, code):
    dtype = np.dtype(code)
    assert describe(np.zeros(2, code)) == f"{dtype.kind}{dtype.itemsize}:1C"


def test_layouts_are_those_of_the_flags(describe, kernel):
    base = np.zeros((4, 5, 6), "f4")
    arrays = [
        base.T, base[::-1], base[:, ::-1, ::2], base[:0], base[:, :0, ::2], base[:1], base[..., :1],
        base[::2, 0, 0], np.broadcast_to(base[0], (7, 5, 6)), np.zeros((1, 1), order="F"),
        np.float32(3) + np.zeros(()), base.transpose(1, 0, 2), np.zeros(0, "f4"),
    ]  # fmt: skip
    for array in arrays:
        array = np.asarray(array)
        flags = array.flags
        layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        assert describe(array) == f"f{array.itemsize}:{array.ndim}{layout}"
        expected = header(array)
        assert blocks(kernel, array, count=len(expected)).tolist() == expected


def test_read_only_arrays_are_described_alike(describe):
    array = np.zeros(3)
    array.flags.writeable = False
    assert describe(array) == "f8:1C"


class Subclass(np.ndarray):
    pass


class Whole(int):
    pass


class Pair(tuple):
    pass


class SubPoint(Point):
    pass


class Color(IntEnum):
    RED = 3


def unaligned():
    return np.frombuffer(bytearray(33), "f8", offset=1)


NOT_DESCRIBABLE = {
    "byte-swapped": np.zeros(3, ">f8"),
    "byte-swapped int": np.zeros(3, ">i2"),
    "unaligned": unaligned(),
    "subclass": np.zeros(3).view(Subclass),
    "masked": np.ma.zeros(3),
    "complex": np.zeros(3, complex),
    "long double": np.zeros(3, np.longdouble),
    "object": np.zeros(3, object),
    "text": np.zeros(3, "U3"),
    "variable text": np.array(["a"], np.dtypes.StringDType()),
    "bytes": np.zeros(3, "S3"),
    "time": np.zeros(3, "M8[s]"),
    "duration": np.zeros(3, "m8[s]"),
    "record": np.zeros(3, "i4,f8"),
    "10 dimensions": np.zeros((1,) * 10),
    "float32": np.float32(1),
    "int64": np.int64(1),
    "bool_": np.bool_(True),
    "longdouble": np.longdouble(1),
    "complex number": 1j,
    "None": None,
    "str": "f8:1C",
    "list": [1],
    "dict": {},
    "tuple subclass": Pair((1, 2)),
    "unknown named tuple": Other(1, 2),
    "subclass of a named class": SubPoint(1, 2),
    "class": Point,
}


@pytest.mark.parametrize("argument", NOT_DESCRIBABLE.values(), ids=NOT_DESCRIBABLE)
def test_not_describable(describe, kernel, argument):
    array = np.zeros(3)
    entry = entries.Entry("add", {"f8:1C": kernel("add"), "f8:1C,q": kernel("add")}, NAMES)
    for wrapped in argument, (argument,), Point(1, (argument,)):
        assert describe(wrapped) is None
        assert describe(array, wrapped) is None
        assert entry.call(0, 3, 1, array, wrapped) is False
        assert entry.bind(array, wrapped) is None
    assert not array.any()


def test_numbers(describe, kernel):
    numbers = [True, False, 0, -1, 2**63 - 1, -(2**63), Whole(5), Color.RED, 1.5, np.float64(-0.0)]
    assert describe(*numbers) == "?,?,q,q,q,q,q,q,d,d"
    slots = blocks(kernel, *numbers, count=10)
    assert slots[:8].tolist() == [1, 0, 0, -1, 2**63 - 1, -(2**63), 5, 3]
    assert slots[8:].view(float).tolist() == [1.5, 0.0]
    assert np.signbit(slots[9:].view(float))[0]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, Whole(2**70)])
def test_large_ints_are_misses(kernel, number):
    entry = entries.Entry("add", {"q": kernel("add")}, NAMES)
    for argument in number, (1, number), Point(number, 1):
        assert entry.signature(argument) is entry.bind(argument) is None
        assert entry.call(0, 0, 0, argument) is False
    with pytest.raises(OverflowError):
        entry.call(number, 0, 0, 1)
    with pytest.raises(OverflowError):
        entry.bind(1).call(0, 0, number)


def test_tuples(describe, kernel):
    array = np.zeros((2, 3), "f4")
    assert describe() == ""
    assert describe(()) == "()"
    assert describe((), Empty(), 1) == "(),Empty(),q"
    assert describe((1,)) == "(q)"
    assert describe(Point(1, 2.0), (True, (array,)), 3) == "Point(q,d),(?,(f4:2C)),q"
    nested = Point(Point(array.T, ()), (Empty(), (1, Point(False, 2.5))))
    assert describe(nested, array) == "Point(Point(f4:2F,()),(Empty(),(q,Point(?,d)))),f4:2C"
    slots = blocks(kernel, nested, array, count=9 + 3 + 9)
    assert slots[:9].tolist() == header(array.T)
    assert slots[9:11].tolist() == [1, 0]
    assert slots[11:12].view(float) == 2.5
    assert slots[12:].tolist() == header(array)


def test_names_may_be_long_or_beyond_ascii():
    assert entries.Entry("", {}, {Point: "Pünkt→"}).signature(Point(1, 2)) == "Pünkt→(q,q)"
    signature = entries.Entry("", {}, {Point: "P" * 1019}).signature
    assert signature(Point(1, 2)) is None
    assert entries.Entry("", {}, {Point: "P" * 1018}).signature(Point(1, 2)) is not None


def test_limits(describe, kernel):
    array = np.zeros((1,) * 9, "f4")
    assert describe(*[1] * 512) == ",".join("q" * 512)
    assert describe(*[1] * 513) is None
    assert describe(*[array] * 22) is not None  # 506 slots
    assert describe(*[array] * 23) is None
    assert describe(*[()] * 341) is not None
    assert describe(*[()] * 342) is None
    deep = ()
    for _ in range(510):
        deep = (deep,)
    assert describe(deep) == "(" * 511 + ")" * 511
    for _ in range(10**5):
        deep = (deep,)
    assert describe(deep) is None
    many = entries.Entry("", {",".join("q" * 512): kernel("out_of_memory")}, {})
    assert many.call(0, 0, 0, *[1] * 513) is False
    with pytest.raises(MemoryError):
        many.call(0, 0, 0, *[1] * 512)


def test_many_signatures(kernel):
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


def test_status_raises_memory_error(kernel):
    entry = entries.Entry("", {"q": kernel("out_of_memory")}, {})
    with pytest.raises(MemoryError, match="a kernel found no memory to compute in"):
        entry.call(0, 0, 0, 1)
    with pytest.raises(MemoryError, match="a kernel found no memory to compute in"):
        entry.bind(1).call(0, 0, 0)


def test_wrong_uses(kernel):
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


def test_bound_from_threads(kernel):
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


def test_calls_release_the_gil(kernel):
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


def test_call_after_fork(kernel):
    array = np.zeros(3)
    entry = entries.Entry("", {"f8:1C": kernel("add")}, {})
    entry.call(0, 3, 1, array)
    child = os.fork()
    if child == 0:
        os._exit(0 if entry.call(0, 3, 1, array) and array[0] == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_bound_keeps_arrays(kernel):
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


def test_cycles_are_collected(kernel):
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


def test_references_and_memory_stay(kernel):
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


def test_signatures_are_those_that_python_writes():
    a = np.zeros((3, 4))
    verb, loss = Hessp(), softmax.for_targets(np.zeros(3, np.int64), 4)
    named = entries.Entry("named", {}, NAMED).signature
    for arguments in [
        (), (a, a.T, a[:, ::2], a[0], a[:0], a.astype("f4")), (True, 1, 1.5, np.float64(2), (a, (1, False))),
        (verb, loss), (np.zeros((2, 2), ">f8"),), (np.float32(1),), (np.int64(1),), ("text",), (Other(1, 2),),
        (2**63,), (-(2**63) - 1, 2**63 - 1), (np.zeros((1,) * 9), np.zeros((1,) * 10)), (np.zeros((1,) * 9),),
        (a.view(np.matrix),), (np.zeros(3, "c16"),), (np.frombuffer(bytes(17), "f8", 2, 1),),
    ]:  # fmt: skip
        assert named(*arguments) == signature_of(*arguments)


def test_cpu_level():
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


def test_parts_are_each_taken_once(kernel):
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


def test_what_parts_refuses(kernel):
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

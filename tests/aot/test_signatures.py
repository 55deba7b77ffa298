"""Law: an entry writes the signature of its arguments, hands their values on, and knows what has none."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import pytest

from fastsoftmax.kernels.cpu.verbs import Hessp
from fastsoftmax.losses import softmax
from fastsoftmax.runtime.signatures import NAMES as NAMED
from fastsoftmax.runtime.signatures import signature_of
from tests.aot.values import DTYPES, NAMES, Empty, Other, Point, Whole


def header(array):
    return [0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ndim", range(10))
def test_array(describe, dtype, ndim, blocks):
    shape = (2, 3, 2, 1, 2, 1, 2, 1, 2)[:ndim]
    arrays = {"C": np.ones(shape, dtype)}
    if ndim >= 2:
        arrays["F"] = np.ones(shape, dtype, order="F")
    if ndim >= 1:
        arrays["A"] = np.ones((5, *shape[1:]), dtype)[::2]
    for layout, array in arrays.items():
        assert describe(array) == f"{dtype}:{ndim}{layout}"
        expected = header(array)
        assert blocks(array, count=len(expected)).tolist() == expected


@pytest.mark.parametrize("code", np.typecodes["AllInteger"] + "?efd")
def test_every_type_code(describe, code):
    dtype = np.dtype(code)
    assert describe(np.zeros(2, code)) == f"{dtype.kind}{dtype.itemsize}:1C"


def test_layouts_are_those_of_the_flags(describe, blocks):
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
        assert blocks(array, count=len(expected)).tolist() == expected


def test_read_only_arrays_are_described_alike(describe):
    array = np.zeros(3)
    array.flags.writeable = False
    assert describe(array) == "f8:1C"


class Subclass(np.ndarray):
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
def test_not_describable(entries, describe, kernel, argument):
    array = np.zeros(3)
    entry = entries.Entry("add", {"f8:1C": kernel("add"), "f8:1C,q": kernel("add")}, NAMES)
    for wrapped in argument, (argument,), Point(1, (argument,)):
        assert describe(wrapped) is None
        assert describe(array, wrapped) is None
        assert entry.call(0, 3, 1, array, wrapped) is False
        assert entry.bind(array, wrapped) is None
    assert not array.any()


def test_numbers(describe, blocks):
    numbers = [True, False, 0, -1, 2**63 - 1, -(2**63), Whole(5), Color.RED, 1.5, np.float64(-0.0)]
    assert describe(*numbers) == "?,?,q,q,q,q,q,q,d,d"
    slots = blocks(*numbers, count=10)
    assert slots[:8].tolist() == [1, 0, 0, -1, 2**63 - 1, -(2**63), 5, 3]
    assert slots[8:].view(float).tolist() == [1.5, 0.0]
    assert np.signbit(slots[9:].view(float))[0]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, Whole(2**70)])
def test_large_ints_are_misses(entries, kernel, number):
    entry = entries.Entry("add", {"q": kernel("add")}, NAMES)
    for argument in number, (1, number), Point(number, 1):
        assert entry.signature(argument) is entry.bind(argument) is None
        assert entry.call(0, 0, 0, argument) is False
    with pytest.raises(OverflowError):
        entry.call(number, 0, 0, 1)
    with pytest.raises(OverflowError):
        entry.bind(1).call(0, 0, number)


def test_tuples(describe, blocks):
    array = np.zeros((2, 3), "f4")
    assert describe() == ""
    assert describe(()) == "()"
    assert describe((), Empty(), 1) == "(),Empty(),q"
    assert describe((1,)) == "(q)"
    assert describe(Point(1, 2.0), (True, (array,)), 3) == "Point(q,d),(?,(f4:2C)),q"
    nested = Point(Point(array.T, ()), (Empty(), (1, Point(False, 2.5))))
    assert describe(nested, array) == "Point(Point(f4:2F,()),(Empty(),(q,Point(?,d)))),f4:2C"
    slots = blocks(nested, array, count=9 + 3 + 9)
    assert slots[:9].tolist() == header(array.T)
    assert slots[9:11].tolist() == [1, 0]
    assert slots[11:12].view(float) == 2.5
    assert slots[12:].tolist() == header(array)


def test_names_may_be_long_or_beyond_ascii(entries):
    assert entries.Entry("", {}, {Point: "Pünkt→"}).signature(Point(1, 2)) == "Pünkt→(q,q)"
    signature = entries.Entry("", {}, {Point: "P" * 1019}).signature
    assert signature(Point(1, 2)) is None
    assert entries.Entry("", {}, {Point: "P" * 1018}).signature(Point(1, 2)) is not None


def test_limits(entries, describe, kernel):
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


def test_signatures_are_those_that_python_writes(entries):
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

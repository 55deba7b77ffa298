"""What users hand in: the same numbers in any dtype, order and wrapping, labels of any kind, false indices.

Hypothesis draws what it is, so that what fails is made small; the numbers come from a drawn seed.
"""

from __future__ import annotations

import datetime
import decimal
import os
import warnings

import numpy as np
import scipy.sparse as sp
from hypothesis import settings
from hypothesis import strategies as st

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
CI_SHARE = 40  # nightly, so many times the examples of CI
REFUSALS = (ValueError, TypeError, MemoryError)


def outcome(call):
    """What a call gives, or the refusal; anything else that it raises goes on."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call(), None
        except REFUSALS as error:
            return None, error


DTYPES = [
    "f8",
    "f4",
    ">f8",
    ">f4",
    "f2",
    "g",
    "i8",
    "i4",
    "u1",
    "u8",
    ">i2",
    "b1",
    "c16",
    "O",
    "U9",
    "S9",
    "M8[s]",
]
LAYOUTS = [
    "C",
    "F",
    "backwards",
    "gaps",
    "unaligned",
    "read-only",
    "list",
    "matrix",
    "masked",
    "mask",
    "memory",
]
SPECIAL = [np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324, 0.0, -0.0, 1e30]
OTHERS = [None, (), [], {}, "text", b"bytes", 3, 2.5, np.float32(1), 1j, object(), np.array(1.0), 10**400]
OTHERS += [[[1], [2, 3]], [1, "a"], [None], [decimal.Decimal("0.5")], datetime.date(2020, 1, 1), [[10**400]]]


CHANGES = ["element", "element", "element", "swap", "shorter", "longer", "dtype", "shape", "data", "wrap"]


def examples(nightly):
    """Settings for a target that is to have so many cases at night."""
    return settings(max_examples=nightly if NIGHTLY else max(1, nightly // CI_SHARE))


def numbers(draw, shape, *, special=0.15, scale=4.0):
    """Float64 of a shape, a few of them odd; most often none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = np.array(np.round(rng.normal(size=shape) * scale, draw(st.sampled_from([0, 3, 17]))))
    if values.size and draw(st.floats(0, 1)) < special:
        for _ in range(draw(st.integers(1, 3))):
            values.flat[rng.integers(values.size)] = draw(st.sampled_from(SPECIAL))
    return values


def dressed(draw, values, dtypes=DTYPES, layouts=LAYOUTS):
    """Numbers in some dtype and layout."""
    with np.errstate(all="ignore"):
        kind = draw(st.sampled_from(dtypes))
        if kind == "M8[s]":
            values = np.nan_to_num(values, posinf=0, neginf=0).clip(-9, 9).astype("i8")
        return laid_out(draw(st.sampled_from(layouts)), np.asarray(values).astype(kind))


def laid_out(layout, a):
    """The same elements, which lie in memory in another way or are wrapped."""
    if layout == "F":
        return np.asfortranarray(a)
    if layout == "backwards":
        return a[::-1].copy()[::-1] if a.ndim else a
    if layout == "gaps" and a.ndim:
        buffer = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
        buffer[..., ::2] = a
        return buffer[..., ::2]
    if layout == "unaligned" and a.dtype.kind != "O":
        buffer = np.zeros(a.nbytes + 1, np.uint8)[1:]
        buffer = buffer.view(a.dtype).reshape(a.shape)
        buffer[...] = a
        return buffer
    if layout == "read-only":
        a.flags.writeable = False
    if layout == "list":
        return a.tolist()
    if layout == "matrix" and a.ndim == 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # of the class itself
            return np.asmatrix(a)
    if layout == "masked":
        return np.ma.array(a, mask=np.arange(a.size).reshape(a.shape) == 0)
    if layout == "mask":
        return np.ma.array(a, mask=False)
    if layout == "memory" and a.flags.c_contiguous and a.dtype.kind not in "MO":
        return memoryview(a)
    return a


def is_masked(a):
    """Whether a mask hides something."""
    return isinstance(a, np.ma.MaskedArray) and np.ma.is_masked(a)


def is_plain(a):
    """Whether these are real numbers that nobody may refuse for their kind."""
    return isinstance(a, np.ndarray) and a.dtype.kind in "fiub" and not is_masked(a)


def labels(draw, n, k):
    """Labels of n rows: mostly integers in [0, k), in some dtype and layout; else anything."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = rng.integers(0, max(1, k), n)
    how = draw(
        st.sampled_from(["right"] * 6 + ["one off", "other length", "soft", "shaped", "other", "huge"])
    )
    if how == "one off" and n:
        y = y.astype(object)
        y[rng.integers(n)] = draw(
            st.sampled_from([-1, k, -100, 0.5, np.nan, np.inf, None, "a", 2**63, -(2**70)])
        )
        return y if draw(st.booleans()) else y.tolist()
    if how == "huge" and n:
        y = y.astype(np.uint64)
        y[rng.integers(n)] = draw(st.sampled_from([2**63, 2**64 - 100, 2**64 - 1]))
        return y
    if how == "other length":
        return np.append(y, 0) if draw(st.booleans()) else y[1:]
    if how == "soft":
        return dressed(draw, rng.dirichlet(np.ones(k), size=n) if k else np.zeros((n, 0)))
    if how == "shaped":
        return y.reshape(draw(st.sampled_from([(n, 1), (1, n), (n, 1, 1)])))
    if how == "other":
        return draw(st.sampled_from(OTHERS))
    return dressed(draw, y, ["i8"] * 4 + DTYPES)


def weights(draw, n):
    """None, weights of n rows, or what is none."""
    how = draw(
        st.sampled_from(["none"] * 4 + ["right"] * 3 + ["odd", "length", "other", "zero", "tiny", "large"])
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if how == "none":
        return None
    if how == "other":
        return draw(st.sampled_from(OTHERS))
    w = rng.integers(0, 4, n + (how == "length")) / 2
    if how == "odd" and n:
        w[rng.integers(n)] = draw(st.sampled_from([*SPECIAL, -1.0]))
    if how in ("zero", "tiny", "large"):
        w = np.full(len(w), {"zero": 0.0, "tiny": 5e-324, "large": 1e308}[how])
    return dressed(draw, w, ["f8", "f8", *DTYPES])


def compressed(draw, n, d):
    """A SciPy matrix of float64 whose arrays may lie, and whether they tell the truth."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = sp.random_array((n, d), density=0.5, format=draw(st.sampled_from(["csr", "csr", "csc"])), rng=rng)
    kind = draw(st.sampled_from([np.int32, np.int64]))
    data, indices, indptr = X.data, X.indices.astype(kind), X.indptr.astype(kind)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, 1))
        array, buffer = (indptr, indices)[at], (n, d)[at]
        how = draw(st.sampled_from(CHANGES))
        if how == "wrap":  # each difference of int32 is positive, as they wrap around
            indptr = np.resize(np.array([0, 2**31 - 1, -(2**31), -1], np.int32), len(indptr))
            indptr[-1:] = len(data)
            continue
        if how == "data":
            shorter, longer, text = data[:-1], np.append(data, 1.0), data.astype("U5")
            others = [shorter, longer, text, data[:, None], data[::-1]]
            others += [data * 1j, data * np.nan] if data.dtype.kind == "f" else []
            data = draw(st.sampled_from(others))
            continue
        if how == "element" and array.size and array.dtype.kind == "i":
            bound = np.iinfo(array.dtype)
            array.flat[rng.integers(array.size)] = draw(
                st.sampled_from(
                    [-1, 0, 1, buffer, buffer - 1, len(data), len(data) + 1, bound.min, bound.max]
                )
            )
        elif how == "swap":
            array = array[::-1].copy()
        elif how == "shorter":
            array = array[:-1]
        elif how == "longer":
            array = np.append(array, array[-1:])
        elif how == "dtype":
            array = array.astype(draw(st.sampled_from(["f8", "u8", "u4", "i2", ">i4", "O", "U5", "b1"])))
        elif how == "shape":
            array = array.reshape(draw(st.sampled_from([(-1, 1), (1, -1)])))
        indptr, indices = (array, indices) if at == 0 else (indptr, array)
    X.data, X.indices, X.indptr = data, indices, indptr
    return X


def meaning(X):
    """The dense matrix that a CSR or CSC matrix stands for, entry by entry; None if it contradicts itself."""
    outer, inner = X.shape if X.format == "csr" else X.shape[::-1]
    arrays = X.indptr, X.indices
    if any(a.ndim != 1 or a.dtype.kind not in "iu" for a in arrays) or X.data.ndim != 1:
        return None
    if X.data.dtype.kind not in "fiub" or not np.isfinite(X.data).all():
        return None
    ends = [int(end) for end in X.indptr]
    if len(ends) != outer + 1 or ends[0] != 0 or ends != sorted(ends):
        return None
    if ends[-1] > min(len(X.indices), len(X.data)):
        return None
    dense = np.zeros((outer, inner))
    for i in range(outer):
        for e in range(ends[i], ends[i + 1]):
            if not 0 <= int(X.indices[e]) < inner:
                return None
            dense[i, int(X.indices[e])] += X.data[e]
    return dense if X.format == "csr" else dense.T

"""The k largest elements of a row that arrives in pieces, and their indices.

They are kept in a min-heap. Pieces arrive in order, so a later element enters only if it is larger than the
root: whole registers are compared with the root at once, and few elements ever reach the heap. NaN, which
finite rows can only produce by overflow, counts as −∞.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.exp import constant
from fastsoftmax.simd.registers import INT32, INT64, data_and_length, is_row, load, splat, vector_type

if TYPE_CHECKING:
    from collections.abc import Callable


def _first(relation: str) -> Callable[..., Any]:
    """Return the typing function of an intrinsic that finds the first element in `relation` to a bound."""

    def typed(typingctx, row, start, bound):
        if not (is_row(row) and row.dtype == bound and isinstance(start, types.Integer)):
            return None

        def codegen(context, builder, signature, arguments):
            kind = vector_type(row.dtype)
            data, length = data_and_length(context, builder, row, arguments[0])
            start_at = context.cast(builder, arguments[1], signature.args[1], types.int64)
            bounds = splat(builder, arguments[2], kind.count)
            found = cgutils.alloca_once_value(builder, length)
            lanes = ir.Constant(INT64, kind.count)

            def search(offset: Any, mask: Any, stop: Callable[[], None] | None) -> None:
                x = load(builder, builder.gep(data, [offset]), kind, mask, constant(kind, np.nan))
                hits = builder.fcmp_ordered(relation, x, bounds)
                bits = builder.bitcast(hits, ir.IntType(kind.count))
                with builder.if_then(cgutils.is_not_null(builder, bits), likely=False):
                    lane = builder.cttz(bits, ir.Constant(ir.IntType(1), 1))
                    builder.store(builder.add(offset, builder.zext(lane, INT64)), found)
                    if stop is not None:
                        stop()

            remaining = builder.sub(length, start_at)
            whole = builder.sdiv(remaining, lanes)
            with cgutils.for_range(builder, whole) as loop:
                offset = builder.add(start_at, builder.mul(loop.index, lanes))
                search(offset, None, loop.do_break)
            not_found = builder.icmp_signed("==", builder.load(found), length)
            rest = builder.srem(remaining, lanes)
            partial = builder.icmp_signed(">", rest, ir.Constant(INT64, 0))
            with builder.if_then(builder.and_(not_found, partial)):
                numbers = ir.Constant(ir.VectorType(INT32, kind.count), list(range(kind.count)))
                ends = splat(builder, builder.trunc(rest, INT32), kind.count)
                mask = builder.icmp_signed("<", numbers, ends)
                search(builder.sub(length, rest), mask, None)
            return builder.load(found)

        return types.int64(row, start, bound), codegen

    return typed


@intrinsic
def first_above(typingctx, row, start, bound):
    """Return the first index from `start` on whose element is above the bound, or the length if none is."""
    return _first(">")(typingctx, row, start, bound)


@intrinsic
def first_equal(typingctx, row, start, value):
    """Return the first index from `start` on whose element equals the value, or the length if none does."""
    return _first("==")(typingctx, row, start, value)


@inner
def _goes_before(value, place, other, other_place):
    """Return whether an element leaves the heap before another: the smaller one; of equal ones the later."""
    return value < other or (value == other and place > other_place)


@inner
def _sift_down(values, places, root, stop):
    """Restore the heap property below `root`, in the heap that ends before `stop`."""
    value, place = values[root], places[root]
    child = 2 * root + 1
    while child < stop:
        twin = child + 1
        if twin < stop and _goes_before(values[twin], places[twin], values[child], places[child]):
            child = twin
        if not _goes_before(values[child], places[child], value, place):
            break
        values[root], places[root] = values[child], places[child]
        root = child
        child = 2 * root + 1
    values[root], places[root] = value, place


@inner
def offer(row, first, values, places):
    """Update a heap of the k largest elements with the next piece of a row.

    Parameters
    ----------
    row : array (m,), float32 or float64, contiguous
        The next piece.
    first : int
        The index of its first element, and so the number of elements already seen.
    values, places : arrays (k,), of the row's dtype and int64
        The heap: elements and their indices. Full once k elements have been seen.
    """
    k = values.shape[0]
    taken = min(max(k - first, 0), row.shape[0])
    for j in range(taken):
        values[first + j] = -np.inf if np.isnan(row[j]) else row[j]
        places[first + j] = first + j
    if first + taken < k:
        return
    if taken:
        for root in range(k // 2 - 1, -1, -1):
            _sift_down(values, places, root, k)
    j = first_above(row, taken, values[0])
    while j < row.shape[0]:
        values[0], places[0] = row[j], first + j
        _sift_down(values, places, 0, k)
        j = first_above(row, j + 1, values[0])


@inner
def put_in_order(values, places):
    """Sort a full heap in place, the largest element first; of equal ones the earlier first."""
    for last in range(values.shape[0] - 1, 0, -1):
        value, place = values[0], places[0]
        values[0], places[0] = values[last], places[last]
        values[last], places[last] = value, place
        _sift_down(values, places, 0, last)


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def first_above(row, start, bound):  # noqa: D103
        hits = np.flatnonzero(row[start:] > bound)
        return start + hits[0] if hits.size else len(row)

    def first_equal(row, start, value):  # noqa: D103
        hits = np.flatnonzero(row[start:] == value)
        return start + hits[0] if hits.size else len(row)

"""Loops down a stripe of columns of a C-ordered matrix, a few registers wide, with the sums in registers.

Neighbouring columns are adjacent in memory, so a register holds as many of them as it has lanes, and nothing
is transposed. Each row of a stripe is a short stream, too short for the hardware prefetcher: so each loop
prefetches the stripe that the next one reads, one cache line of every row along with the work on that row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.exp import constant, emit_exp, emit_log1p
from fastsoftmax.simd.registers import (
    INT32,
    INT64,
    add_apart,
    data_and_length,
    for_each_register,
    is_row,
    load,
    prefetch,
    splat,
    store,
    vector_type,
)
from fastsoftmax.simd.sizes import COLUMN_REGISTERS

if TYPE_CHECKING:
    from collections.abc import Callable


def _for_each_group(builder: Any, kind: Any, width: Any, body: Callable[[list[Any], Any], None]) -> None:
    """Emit body(offsets, mask) for groups of `COLUMN_REGISTERS` whole registers, then for single ones.

    `mask` is None for a group; for a single register it marks the lanes below `width`.
    """
    lanes = kind.count
    group_lanes = ir.Constant(INT64, COLUMN_REGISTERS * lanes)
    n_groups = builder.sdiv(width, group_lanes)
    with cgutils.for_range(builder, n_groups) as loop:
        first = builder.mul(loop.index, group_lanes)
        body([builder.add(first, ir.Constant(INT64, r * lanes)) for r in range(COLUMN_REGISTERS)], None)
    done = builder.mul(n_groups, group_lanes)
    numbers = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
    rounded = builder.add(builder.sub(width, done), ir.Constant(INT64, lanes - 1))
    with cgutils.for_range(builder, builder.sdiv(rounded, ir.Constant(INT64, lanes))) as loop:
        offset = builder.add(done, builder.mul(loop.index, ir.Constant(INT64, lanes)))
        left = builder.trunc(builder.sub(width, offset), INT32)
        body([offset], builder.icmp_signed("<", numbers, splat(builder, left, lanes)))


def _is_matrix(kind: Any, dtype: Any) -> bool:
    return isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and kind.dtype == dtype


class _Matrix:
    """Addresses into a C-ordered matrix, counted from column `first`."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any, first: Any) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder = builder
        self.n_rows, self.stride = (builder.extract_value(array.shape, axis) for axis in range(2))
        self.data = builder.gep(array.data, [first])

    def row(self, k: Any) -> Any:
        return self.builder.gep(self.data, [self.builder.mul(k, self.stride)])


def _integer(context: Any, builder: Any, signature: Any, arguments: Any, i: int) -> Any:
    return context.cast(builder, arguments[i], signature.args[i], types.int64)


def _vector(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value).data


@intrinsic
def columns_largest(typingctx, x, rows, first, width, largest):
    """Write the largest element of each column of a stripe, ignoring NaN, to `largest`; −∞ if there is none.

    Parameters
    ----------
    x : array (n, d), float32 or float64, C-ordered
    rows : (int, int)
        First row, and the one after the last.
    first, width : int
        First column of the stripe, and their number.
    largest : array (≥ width,), of the dtype of x
    """
    if not (is_row(largest) and _is_matrix(x, largest.dtype)):
        return None

    def codegen(context, builder, signature, arguments):
        start, columns = (_integer(context, builder, signature, arguments, i) for i in (2, 3))
        begin, end = (builder.extract_value(arguments[1], i) for i in range(2))
        matrix = _Matrix(context, builder, x, arguments[0], start)
        result = _vector(context, builder, largest, arguments[4])
        kind = vector_type(x.dtype)
        lowest = constant(kind, -np.inf)

        def body(offsets, mask):
            best = [cgutils.alloca_once(builder, kind) for _ in offsets]
            for address in best:
                builder.store(lowest, address)
            with cgutils.for_range(builder, builder.sub(end, begin)) as loop:
                row = matrix.row(builder.add(begin, loop.index))
                for offset, address in zip(offsets, best):
                    value = load(builder, builder.gep(row, [offset]), kind, mask, lowest)
                    before = builder.load(address)
                    larger = builder.fcmp_ordered(">", value, before)
                    builder.store(builder.select(larger, value, before), address)
            for offset, address in zip(offsets, best):
                store(builder, builder.load(address), builder.gep(result, [offset]), mask)

        _for_each_group(builder, kind, columns, body)
        return context.get_dummy_value()

    return types.void(x, rows, first, width, largest), codegen


def _exponentials(*, stored: bool) -> Any:
    def typed(typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead):
        wide = all(is_row(a) and a.dtype == types.float64 for a in (count, others))
        if not (wide and is_row(shift) and _is_matrix(x, shift.dtype) and _is_matrix(out, shift.dtype)):
            return None

        def codegen(context, builder, signature, arguments):
            start, columns, distance, out_distance = (
                _integer(context, builder, signature, arguments, i) for i in (3, 4, 9, 10)
            )
            begin, end = (builder.extract_value(arguments[2], i) for i in range(2))
            matrix = _Matrix(context, builder, x, arguments[0], start)
            target = _Matrix(context, builder, out, arguments[1], start)
            shifts, *sums = (
                _vector(context, builder, k, a) for k, a in zip((shift, count, others), arguments[5:8])
            )
            kind = vector_type(x.dtype)
            zero = constant(kind, 0.0)

            def add_down(offsets, mask, exact):
                by = [load(builder, builder.gep(shifts, [o]), kind, mask, zero) for o in offsets]
                count_sums, other_sums = (
                    [cgutils.alloca_once(builder, kind) for _ in offsets] for _ in range(2)
                )
                for place in (*count_sums, *other_sums):
                    builder.store(zero, place)
                with cgutils.for_range(builder, builder.sub(end, begin)) as loop:
                    k = builder.add(begin, loop.index)
                    row, result = matrix.row(k), target.row(k)
                    for i, offset in enumerate(offsets):
                        address = builder.gep(row, [offset])
                        prefetch(builder, builder.gep(address, [distance]), to_write=False, level=2)
                        out_address = builder.gep(result, [offset])
                        prefetch(builder, builder.gep(out_address, [out_distance]), to_write=True)
                        e = emit_exp(builder, load(builder, address, kind, mask, zero), by[i], exact=exact)
                        if stored:
                            store(builder, e, out_address, mask)
                        add_apart(builder, e, count_sums[i], other_sums[i])
                for i, offset in enumerate(offsets):
                    for total, places in zip(sums, (count_sums, other_sums)):
                        wide = ir.VectorType(ir.DoubleType(), kind.count)
                        term = builder.load(places[i])
                        term = term if kind == wide else builder.fpext(term, wide)
                        out_address = builder.gep(total, [offset])
                        before = load(builder, out_address, wide, mask, constant(wide, 0.0))
                        store(builder, builder.fadd(before, term), out_address, mask)

            def body(offsets, mask):
                with builder.if_else(arguments[8]) as (then, otherwise):
                    with then:
                        add_down(offsets, mask, exact=True)
                    with otherwise:
                        add_down(offsets, mask, exact=False)

            _for_each_group(builder, kind, columns, body)
            return context.get_dummy_value()

        kinds = (x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead)
        return types.void(*kinds), codegen

    return typed


@intrinsic
def columns_exponentials(
    typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead
):
    """Write e^(x − shift) of a stripe of columns to out, and sum the exponentials of each column.

    Parameters
    ----------
    x, out : arrays (n, d), float32 or float64, C-ordered
        `out` may be x.
    rows : (int, int)
        First row, and the one after the last.
    first, width : int
        First column of the stripe, and their number.
    shift : array (≥ width,), of the dtype of x
        Not less than any element of its column.
    count, others : arrays (≥ width,), float64
        Receive, by addition, the number of exponentials that are exactly 1 and the sum of the others.
    exact : bool
        As for `emit_exp`.
    ahead, out_ahead : int
        Distance, in elements, of what is prefetched from x and from out.

    Notes
    -----
    The sums over the rows of one call run in the dtype of x; callers keep float32 calls short.
    """
    typed = _exponentials(stored=True)
    return typed(typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead)


@intrinsic
def columns_sums(typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead):
    """Sum the exponentials as `columns_exponentials` does, without writing them; `out` is only prefetched."""
    typed = _exponentials(stored=False)
    return typed(typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead)


@intrinsic
def log_sums(typingctx, count, others, out):
    """Write log(count + others) to out, to full relative accuracy also where others is small and count is 1.

    All are (n,); `count` and `others` are float64, `out` float32 or float64. count ≥ 1 wherever `others` is
    finite; NaN and infinities in `others` propagate.
    """
    wide = all(is_row(a) and a.dtype == types.float64 for a in (count, others))
    if not (wide and is_row(out)):
        return None

    def codegen(context, builder, signature, arguments):
        count_data, others_data = (
            _vector(context, builder, k, a) for k, a in zip((count, others), arguments)
        )
        target, length = data_and_length(context, builder, out, arguments[2])
        kind = vector_type(out.dtype)
        float64_vector = ir.VectorType(ir.DoubleType(), kind.count)

        def body(offset, mask):
            one = constant(float64_vector, 1.0)
            a, b = (
                load(builder, builder.gep(v, [offset]), float64_vector, mask, one)
                for v in (count_data, others_data)
            )
            value = emit_log1p(builder, builder.fadd(builder.fsub(a, one), b))
            value = value if float64_vector == kind else builder.fptrunc(value, kind)
            store(builder, value, builder.gep(target, [offset]), mask)

        for_each_register(builder, kind, target, length, body, aligned=False)
        return context.get_dummy_value()

    return types.void(count, others, out), codegen


def _elementwise(emit: Callable[..., Any]) -> Any:
    """Return the typing function of f(x, out, first, width, *vectors), which is out = emit(x, *vectors).

    `vectors` hold one number for each column of the stripe.
    """

    def typed(typingctx, x, out, first, width, *vectors):
        if not all(is_row(v) and _is_matrix(x, v.dtype) and _is_matrix(out, v.dtype) for v in vectors):
            return None

        def codegen(context, builder, signature, arguments):
            start, columns = (_integer(context, builder, signature, arguments, i) for i in (2, 3))
            matrix = _Matrix(context, builder, x, arguments[0], start)
            target = _Matrix(context, builder, out, arguments[1], start)
            vector_data = [_vector(context, builder, k, a) for k, a in zip(vectors, arguments[4:])]
            kind = vector_type(x.dtype)
            zero = constant(kind, 0.0)

            def body(offsets, mask):
                of_columns = [
                    [load(builder, builder.gep(v, [o]), kind, mask, zero) for v in vector_data]
                    for o in offsets
                ]
                with cgutils.for_range(builder, matrix.n_rows) as loop:
                    row, result = matrix.row(loop.index), target.row(loop.index)
                    for offset, values in zip(offsets, of_columns):
                        value = load(builder, builder.gep(row, [offset]), kind, mask, zero)
                        store(builder, emit(builder, value, *values), builder.gep(result, [offset]), mask)

            _for_each_group(builder, kind, columns, body)
            return context.get_dummy_value()

        return types.void(x, out, first, width, *vectors), codegen

    return typed


@intrinsic
def columns_scaled(typingctx, x, out, first, width, factor):
    """Write x · factor to out (n, d), which may be x, for columns first to first + width. factor (width,)."""
    return _elementwise(lambda builder, x, factor: builder.fmul(x, factor))(
        typingctx, x, out, first, width, factor
    )


@intrinsic
def columns_differences(typingctx, x, out, first, width, shift, rest):
    """Write (x − shift) − rest to out (n, d), which may be x, for columns first to first + width.

    `shift` and `rest` are (width,).
    """

    def emit(builder, x, shift, rest):
        return builder.fsub(builder.fsub(x, shift), rest)

    return _elementwise(emit)(typingctx, x, out, first, width, shift, rest)


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def columns_largest(x, rows, first, width, largest):  # noqa: D103
        part = x[rows[0] : rows[1], first : first + width]
        largest[:width] = np.fmax.reduce(part, axis=0, initial=-np.inf)

    def columns_sums(x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead):  # noqa: D103
        e = np.exp(x[rows[0] : rows[1], first : first + width] - shift[:width])
        count[:width] += (e == 1).sum(axis=0)
        others[:width] += np.where(e == 1, 0, e).sum(axis=0)
        return e

    def columns_exponentials(x, out, rows, first, width, *others):  # noqa: D103
        part = slice(*rows), slice(first, first + width)
        out[part] = columns_sums(x, out, rows, first, width, *others)

    def log_sums(count, others, out):  # noqa: D103
        out[:] = np.log1p((count - 1) + others)

    def columns_scaled(x, out, first, width, factor):  # noqa: D103
        part = np.s_[:, first : first + width]
        out[part] = x[part] * factor[:width]

    def columns_differences(x, out, first, width, shift, rest):  # noqa: D103
        part = np.s_[:, first : first + width]
        out[part] = (x[part] - shift[:width]) - rest[:width]

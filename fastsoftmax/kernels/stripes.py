"""Loops down a stripe of columns of a C-ordered matrix, a few registers wide, with the sums in registers.

Neighbouring columns lie side by side, so a register holds as many of them as it has lanes, and nothing is
transposed. The rows of a stripe are as many short streams, which the hardware does not see coming: each loop
can fetch what the next one reads, a line of every row with the work on that row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.kernels.lanes import (
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
from fastsoftmax.kernels.vector import constant, emit_exp, emit_log1p

if TYPE_CHECKING:
    from collections.abc import Callable

REGISTERS = 4  # of columns side by side: as many independent sums


def _for_each_group(builder: Any, kind: Any, width: Any, body: Callable[[list[Any], Any], None]) -> None:
    """Emit body(offsets, mask) for several whole registers at a time, and for each one of the rest."""
    lanes = kind.count
    together = ir.Constant(INT64, REGISTERS * lanes)
    n_groups = builder.sdiv(width, together)
    with cgutils.for_range(builder, n_groups) as loop:
        first = builder.mul(loop.index, together)
        body([builder.add(first, ir.Constant(INT64, r * lanes)) for r in range(REGISTERS)], None)
    done = builder.mul(n_groups, together)
    numbers = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
    rounded = builder.add(builder.sub(width, done), ir.Constant(INT64, lanes - 1))
    with cgutils.for_range(builder, builder.sdiv(rounded, ir.Constant(INT64, lanes))) as loop:
        offset = builder.add(done, builder.mul(loop.index, ir.Constant(INT64, lanes)))
        left = builder.trunc(builder.sub(width, offset), INT32)
        body([offset], builder.icmp_signed("<", numbers, splat(builder, left, lanes)))


def _is_matrix(kind: Any, dtype: Any) -> bool:
    return isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and kind.dtype == dtype


class _Matrix:
    """The addresses of a C-ordered matrix from one of its columns on."""

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
    """Write the largest elements of the columns first to first + width, passing over NaN, to largest.

    Of the rows[0] to rows[1].
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
            for place in best:
                builder.store(lowest, place)
            with cgutils.for_range(builder, builder.sub(end, begin)) as loop:
                row = matrix.row(builder.add(begin, loop.index))
                for offset, place in zip(offsets, best):
                    value = load(builder, builder.gep(row, [offset]), kind, mask, lowest)
                    before = builder.load(place)
                    larger = builder.fcmp_ordered(">", value, before)
                    builder.store(builder.select(larger, value, before), place)
            for offset, place in zip(offsets, best):
                store(builder, builder.load(place), builder.gep(result, [offset]), mask)

        _for_each_group(builder, kind, columns, body)
        return context.get_dummy_value()

    return types.void(x, rows, first, width, largest), codegen


def _exponentials(*, stored: bool) -> Any:
    def typed(typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead):
        wide = all(is_row(a) and a.dtype == types.float64 for a in (count, others))
        if not (wide and is_row(shift) and _is_matrix(x, shift.dtype) and _is_matrix(out, shift.dtype)):
            return None

        def codegen(context, builder, signature, arguments):
            start, columns, fetched, fetched_out = (
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
                ones, rest = ([cgutils.alloca_once(builder, kind) for _ in offsets] for _ in range(2))
                for place in (*ones, *rest):
                    builder.store(zero, place)
                with cgutils.for_range(builder, builder.sub(end, begin)) as loop:
                    k = builder.add(begin, loop.index)
                    row, result = matrix.row(k), target.row(k)
                    for i, offset in enumerate(offsets):
                        address = builder.gep(row, [offset])
                        prefetch(builder, builder.gep(address, [fetched]), to_write=False, level=2)
                        at = builder.gep(result, [offset])
                        prefetch(builder, builder.gep(at, [fetched_out]), to_write=True)
                        e = emit_exp(builder, load(builder, address, kind, mask, zero), by[i], exact=exact)
                        if stored:
                            store(builder, e, at, mask)
                        add_apart(builder, e, ones[i], rest[i])
                for i, offset in enumerate(offsets):
                    for total, places in zip(sums, (ones, rest)):
                        wide = ir.VectorType(ir.DoubleType(), kind.count)
                        term = builder.load(places[i])
                        term = term if kind == wide else builder.fpext(term, wide)
                        at = builder.gep(total, [offset])
                        before = load(builder, at, wide, mask, constant(wide, 0.0))
                        store(builder, builder.fadd(before, term), at, mask)

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
    """Write e^(x − shift) of some columns to out; add up how many are exactly 1, and the others.

    Of the columns first to first + width and of the rows[0] to rows[1]; `shift`, `count` and `others`
    (width,) are of these columns, the last two float64, and added to. The sums of these rows run in the dtype
    of x. `exact` is that of `emit_exp`. Meanwhile what lies `ahead` elements further is fetched from memory,
    and what lies `out_ahead` further in out.
    """
    typed = _exponentials(stored=True)
    return typed(typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead)


@intrinsic
def columns_sums(typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead):
    """Do what `columns_exponentials` does, but for writing the exponentials."""
    typed = _exponentials(stored=False)
    return typed(typingctx, x, out, rows, first, width, shift, count, others, exact, ahead, out_ahead)


@intrinsic
def log_sums(typingctx, count, others, out):
    """Write log(count + others) to out, to full relative accuracy where others is small beside count = 1.

    NaN and infinities in others go through; count ≥ 1 elsewhere. The first two are float64.
    """
    wide = all(is_row(a) and a.dtype == types.float64 for a in (count, others))
    if not (wide and is_row(out)):
        return None

    def codegen(context, builder, signature, arguments):
        ones, rest = (_vector(context, builder, k, a) for k, a in zip((count, others), arguments))
        target, length = data_and_length(context, builder, out, arguments[2])
        kind = vector_type(out.dtype)
        many = ir.VectorType(ir.DoubleType(), kind.count)

        def body(offset, mask):
            one = constant(many, 1.0)
            a, b = (load(builder, builder.gep(v, [offset]), many, mask, one) for v in (ones, rest))
            value = emit_log1p(builder, builder.fadd(builder.fsub(a, one), b))
            value = value if many == kind else builder.fptrunc(value, kind)
            store(builder, value, builder.gep(target, [offset]), mask)

        for_each_register(builder, kind, target, length, body, aligned=False)
        return context.get_dummy_value()

    return types.void(count, others, out), codegen


def _each(emit: Callable[..., Any]) -> Any:
    """Return the typing of f(x, out, first, width, *vectors): out = emit(builder, x, *vectors), by column."""

    def typed(typingctx, x, out, first, width, *vectors):
        if not all(is_row(v) and _is_matrix(x, v.dtype) and _is_matrix(out, v.dtype) for v in vectors):
            return None

        def codegen(context, builder, signature, arguments):
            start, columns = (_integer(context, builder, signature, arguments, i) for i in (2, 3))
            matrix = _Matrix(context, builder, x, arguments[0], start)
            target = _Matrix(context, builder, out, arguments[1], start)
            numbers = [_vector(context, builder, k, a) for k, a in zip(vectors, arguments[4:])]
            kind = vector_type(x.dtype)
            zero = constant(kind, 0.0)

            def body(offsets, mask):
                of_columns = [
                    [load(builder, builder.gep(v, [o]), kind, mask, zero) for v in numbers] for o in offsets
                ]
                with cgutils.for_range(builder, matrix.n_rows) as loop:
                    row, result = matrix.row(loop.index), target.row(loop.index)
                    for offset, mine in zip(offsets, of_columns):
                        value = load(builder, builder.gep(row, [offset]), kind, mask, zero)
                        store(builder, emit(builder, value, *mine), builder.gep(result, [offset]), mask)

            _for_each_group(builder, kind, columns, body)
            return context.get_dummy_value()

        return types.void(x, out, first, width, *vectors), codegen

    return typed


@intrinsic
def columns_scaled(typingctx, x, out, first, width, factor):
    """Write x · factor to out, which may be x, for the columns first to first + width."""
    return _each(lambda builder, x, factor: builder.fmul(x, factor))(typingctx, x, out, first, width, factor)


@intrinsic
def columns_differences(typingctx, x, out, first, width, shift, rest):
    """Write (x − shift) − rest to out, which may be x, for the columns first to first + width."""

    def emit(builder, x, shift, rest):
        return builder.fsub(builder.fsub(x, shift), rest)

    return _each(emit)(typingctx, x, out, first, width, shift, rest)


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

"""The product of one sparse row with a dense matrix, summed in registers, emitted as LLVM vector code."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.exp import constant
from fastsoftmax.simd.registers import INT32, INT64, data_and_length, is_row, load, splat, store, vector_type
from fastsoftmax.simd.transposes import converter

# Registers of the sum that are accumulated at a time: an entry and its index are read once for all of them.
# Each further one multiplies the code (one loop for each number of remaining registers).
REGISTERS = 4


@intrinsic
def gathered_sum(typingctx, data, indices, first, last, matrix, out):
    """Write Σₑ dataₑ · matrix[indicesₑ] to out.

    Parameters
    ----------
    data, indices : arrays (E,)
        Entries of CSR rows and their columns, int32 or int64.
    first, last : int
        The entries e of the row: from first to before last.
    matrix : array (d, K), C-ordered, of the dtype of data
    out : array (K,), of the dtype of data, or float64

    Notes
    -----
    2 K flops an entry, each of which reads one contiguous row of the matrix. Sums run in the dtype of data.
    The last register of a row overlaps the one before it: a masked one would reach into the next row, a cache
    line that nobody needs.
    """
    floats = (types.float32, types.float64)
    if not (matrix.ndim == 2 and matrix.layout == "C" and matrix.dtype in floats):
        return None
    if not (is_row(out) and out.dtype in (data.dtype, types.float64) and matrix.dtype == data.dtype):
        return None

    def codegen(context, builder, signature, arguments):
        kind = vector_type(matrix.dtype)
        values, _ = data_and_length(context, builder, data, arguments[0])
        columns, _ = data_and_length(context, builder, indices, arguments[1])
        start = context.cast(builder, arguments[2], signature.args[2], types.int64)
        stop = context.cast(builder, arguments[3], signature.args[3], types.int64)
        table = context.make_array(matrix)(context, builder, arguments[4]).data
        target, length = data_and_length(context, builder, out, arguments[5])
        zeros = constant(kind, 0.0)
        result = ir.VectorType(context.get_data_type(out.dtype), kind.count)
        convert = converter(data.dtype, result)

        def sum_of(offsets: list[Any], mask: Any = None) -> None:
            """Emit the sums of registers at some offsets; `mask` is that of a single one."""
            totals = [cgutils.alloca_once(builder, kind) for _ in offsets]
            for total in totals:
                builder.store(zeros, total)
            with cgutils.for_range(builder, builder.sub(stop, start)) as loop:
                entry = builder.add(start, loop.index)
                x = builder.load(builder.gep(values, [entry]))
                x = splat(builder, x, kind.count)
                column = builder.load(builder.gep(columns, [entry]))
                row = builder.mul(context.cast(builder, column, indices.dtype, types.int64), length)
                for total, offset in zip(totals, offsets, strict=True):
                    piece = load(builder, builder.gep(table, [builder.add(row, offset)]), kind, mask, zeros)
                    product = builder.fmul(x, piece, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
            for total, offset in zip(totals, offsets, strict=True):
                store(builder, convert(builder, builder.load(total)), builder.gep(target, [offset]), mask)

        def after(offset: Any, count: int) -> list[Any]:
            """Return the offsets of so many registers, from one on."""
            return [builder.add(offset, ir.Constant(INT64, r * kind.count)) for r in range(count)]

        zero, one, lanes = (ir.Constant(INT64, number) for number in (0, 1, kind.count))
        with builder.if_else(builder.icmp_signed(">=", length, lanes)) as (fills, does_not):
            with fills:
                group = ir.Constant(INT64, REGISTERS * kind.count)
                n_groups = builder.sdiv(builder.sub(length, one), group)  # leaves at least one element
                with cgutils.for_range(builder, n_groups) as loop:
                    sum_of(after(builder.mul(loop.index, group), REGISTERS))
                done = builder.mul(n_groups, group)
                whole = builder.sdiv(builder.sub(builder.sub(length, done), one), lanes)
                end = builder.sub(length, lanes)
                for count in range(REGISTERS):
                    with builder.if_then(builder.icmp_signed("==", whole, ir.Constant(INT64, count))):
                        sum_of([*after(done, count), end])
            with does_not:
                numbers = ir.Constant(ir.VectorType(INT32, kind.count), list(range(kind.count)))
                n_lanes = splat(builder, builder.trunc(length, INT32), kind.count)
                sum_of([zero], builder.icmp_signed("<", numbers, n_lanes))
        return context.get_dummy_value()

    return types.void(data, indices, first, last, matrix, out), codegen


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def _gathered_sum(data, indices, first, last, matrix, out):
        out[:] = data[first:last] @ matrix[indices[first:last]]

    gathered_sum = _gathered_sum

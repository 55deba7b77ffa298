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

# Registers of the sum that are accumulated at a time: an entry and its index are read once for all of them.
# Each further one multiplies the code (one loop for each number of remaining registers).
REGISTERS = 4


@intrinsic
def gathered_sum(typingctx, data, indices, first, last, squared, matrix, out):
    """Write Σₑ dataₑ · matrix[indicesₑ], or Σₑ dataₑ² · matrix[indicesₑ] if `squared`, to out.

    Parameters
    ----------
    data, indices : arrays (E,)
        Entries of CSR rows and their columns, int32 or int64.
    first, last : int
        The entries e of the row: from first to before last.
    squared : bool
    matrix : array (d, K), C-ordered, of the dtype of data
    out : array (K,), of the dtype of data

    Notes
    -----
    2 K flops an entry, each of which reads one contiguous row of the matrix. Sums run in the dtype of data.
    """
    floats = (types.float32, types.float64)
    if not (matrix.ndim == 2 and matrix.layout == "C" and matrix.dtype in floats):
        return None
    if not (is_row(out) and out.dtype == matrix.dtype == data.dtype):
        return None

    def codegen(context, builder, signature, arguments):
        kind = vector_type(matrix.dtype)
        values, _ = data_and_length(context, builder, data, arguments[0])
        columns, _ = data_and_length(context, builder, indices, arguments[1])
        start = context.cast(builder, arguments[2], signature.args[2], types.int64)
        stop = context.cast(builder, arguments[3], signature.args[3], types.int64)
        table = context.make_array(matrix)(context, builder, arguments[5]).data
        target, length = data_and_length(context, builder, out, arguments[6])
        zeros = constant(kind, 0.0)

        def sum_of(offset: Any, masks: list[Any]) -> None:
            """Emit the sum of len(masks) registers from an offset on."""
            offsets = [builder.add(offset, ir.Constant(INT64, r * kind.count)) for r in range(len(masks))]
            totals = [cgutils.alloca_once(builder, kind) for _ in masks]
            for total in totals:
                builder.store(zeros, total)
            with cgutils.for_range(builder, builder.sub(stop, start)) as loop:
                entry = builder.add(start, loop.index)
                x = builder.load(builder.gep(values, [entry]))
                x = splat(builder, builder.select(arguments[4], builder.fmul(x, x), x), kind.count)
                column = builder.load(builder.gep(columns, [entry]))
                row = builder.mul(context.cast(builder, column, indices.dtype, types.int64), length)
                for total, shift, mask in zip(totals, offsets, masks, strict=True):
                    piece = load(builder, builder.gep(table, [builder.add(row, shift)]), kind, mask, zeros)
                    product = builder.fmul(x, piece, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
            for total, shift, mask in zip(totals, offsets, masks, strict=True):
                store(builder, builder.load(total), builder.gep(target, [shift]), mask)

        group = ir.Constant(INT64, REGISTERS * kind.count)
        one = ir.Constant(INT64, 1)
        n_groups = builder.sdiv(builder.sub(length, one), group)  # leaves at least one element
        with cgutils.for_range(builder, n_groups) as loop:
            sum_of(builder.mul(loop.index, group), [None] * REGISTERS)
        done = builder.mul(n_groups, group)
        remaining = builder.sub(length, done)
        numbers = ir.Constant(ir.VectorType(INT32, kind.count), list(range(kind.count)))
        for count in range(1, REGISTERS + 1):
            before = ir.Constant(INT64, (count - 1) * kind.count)
            whole = builder.sdiv(builder.sub(remaining, one), ir.Constant(INT64, kind.count))
            with builder.if_then(builder.icmp_signed("==", whole, ir.Constant(INT64, count - 1))):
                end_lane = splat(builder, builder.trunc(builder.sub(remaining, before), INT32), kind.count)
                sum_of(done, [None] * (count - 1) + [builder.icmp_signed("<", numbers, end_lane)])
        return context.get_dummy_value()

    return types.void(data, indices, first, last, squared, matrix, out), codegen


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def _gathered_sum(data, indices, first, last, squared, matrix, out):
        x = data[first:last]
        out[:] = (x * x if squared else x) @ matrix[indices[first:last]]

    gathered_sum = _gathered_sum

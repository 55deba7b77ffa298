"""BLAS's matrix product called from compiled code, on submatrices in place."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.numba_internals import cgutils


@intrinsic
def product_to(typingctx, function, a, b, out):
    """Write A B to out; `function` is `runtime.blas.gemm_address` for their common dtype.

    A (m, k) and B (k, n) may each be row-major or column-major, with a leading dimension of its own; `out`
    (m, n) is row-major. Its previous contents are ignored.
    """
    if not (a.dtype == b.dtype == out.dtype and a.dtype in (types.float32, types.float64)):
        return None

    def codegen(context, builder, signature, arguments):
        integer, flag = ir.IntType(32), ir.IntType(8)
        real = ir.FloatType() if a.dtype == types.float32 else ir.DoubleType()
        size = ir.Constant(ir.IntType(64), a.dtype.bitwidth // 8)
        arrays = [
            context.make_array(kind)(context, builder, argument)
            for kind, argument in zip((a, b, out), arguments[1:], strict=True)
        ]

        def kept(value: Any) -> Any:
            return cgutils.alloca_once_value(builder, value)

        def length(array: Any, axis: int) -> Any:
            return kept(builder.trunc(builder.extract_value(array.shape, axis), integer))

        def order(array: Any) -> tuple[Any, Any]:
            # BLAS is column-major: a row-major matrix is the transpose of a column-major one.
            strides = [builder.extract_value(array.strides, axis) for axis in (0, 1)]
            sizes = [builder.extract_value(array.shape, axis) for axis in (0, 1)]
            by_rows = builder.icmp_signed("==", strides[1], size)
            gap = builder.sdiv(builder.select(by_rows, strides[0], strides[1]), size)
            # The stride of a single row is arbitrary; BLAS requires at least the row's length.
            least = builder.select(by_rows, sizes[1], sizes[0])
            gap = builder.select(builder.icmp_signed("<", gap, least), least, gap)
            letters = [ir.Constant(flag, ord(letter)) for letter in "NT"]
            return kept(builder.select(by_rows, *letters)), kept(builder.trunc(gap, integer))

        # outᵀ = Bᵀ Aᵀ, by columns.
        left, right, result = arrays[1], arrays[0], arrays[2]
        (left_order, left_gap), (right_order, right_gap) = order(left), order(right)
        one, zero = kept(ir.Constant(real, 1.0)), kept(ir.Constant(real, 0.0))
        operands = [
            left_order, right_order, length(left, 1), length(right, 0), length(left, 0), one,
            left.data, left_gap, right.data, right_gap, zero, result.data, order(result)[1],
        ]  # fmt: skip
        prototype = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        builder.call(builder.inttoptr(arguments[0], prototype.as_pointer()), operands)
        return context.get_dummy_value()

    return types.void(types.intp, a, b, out), codegen


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def _product_to(function, a, b, out):
        np.matmul(a, b, out=out)

    product_to = _product_to

"""Rows of float16 and bfloat16, seen as uint16, widened to float32 and narrowed again in whole registers."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.kernels.lanes import (
    INT32,
    call,
    data_and_length,
    for_each_register,
    load,
    store,
    vector_type,
)

WIDE = vector_type(types.float32)
HALF = ir.VectorType(ir.HalfType(), WIDE.count)
BITS16 = ir.VectorType(ir.IntType(16), WIDE.count)
BITS32 = ir.VectorType(INT32, WIDE.count)


def _all(kind: Any, number: int) -> Any:
    return ir.Constant(kind, [number] * kind.count)


def _load16(builder: Any, pointer: Any, mask: Any) -> Any:
    pointer = builder.bitcast(pointer, BITS16.as_pointer())
    if mask is None:
        return builder.load(pointer, align=2)
    name = f"llvm.masked.load.v{BITS16.count}i16.p0"
    return call(builder, name, BITS16, [pointer, ir.Constant(INT32, 2), mask, _all(BITS16, 0)])


def _store16(builder: Any, bits: Any, pointer: Any, mask: Any) -> None:
    pointer = builder.bitcast(pointer, BITS16.as_pointer())
    if mask is None:
        builder.store(bits, pointer, align=2)
        return
    name = f"llvm.masked.store.v{BITS16.count}i16.p0"
    call(builder, name, ir.VoidType(), [bits, pointer, ir.Constant(INT32, 2), mask])


def _widened(builder: Any, bits: Any, brain: bool) -> Any:
    if brain:  # bfloat16 is the upper half of a float32
        return builder.bitcast(builder.shl(builder.zext(bits, BITS32), _all(BITS32, 16)), WIDE)
    return builder.fpext(builder.bitcast(bits, HALF), WIDE)


def _narrowed(builder: Any, x: Any, brain: bool) -> Any:
    if not brain:
        return builder.bitcast(builder.fptrunc(x, HALF), BITS16)
    # To the nearest, ties to even: half of the last place is added, less one if that place is even. It may
    # carry into the exponent, as it should; NaN is kept apart, for the carry would make it infinite.
    bits = builder.bitcast(x, BITS32)
    last = builder.and_(builder.lshr(bits, _all(BITS32, 16)), _all(BITS32, 1))
    rounded = builder.add(bits, builder.add(last, _all(BITS32, 0x7FFF)))
    quiet = builder.or_(bits, _all(BITS32, 0x400000))
    kept = builder.select(builder.fcmp_unordered("uno", x, x), quiet, rounded)
    return builder.trunc(builder.lshr(kept, _all(BITS32, 16)), BITS16)


def _is_pair(row16: Any, row: Any) -> bool:
    return (
        isinstance(row16, types.Array)
        and isinstance(row, types.Array)
        and row16.ndim == row.ndim == 1
        and row16.layout == row.layout == "C"
        and row16.dtype == types.uint16
        and row.dtype == types.float32
    )


def _widen(brain: bool) -> Any:
    def typed(typingctx, row16, out):
        if not _is_pair(row16, out):
            return None

        def codegen(context, builder, signature, arguments):
            source, length = data_and_length(context, builder, row16, arguments[0])
            target, _ = data_and_length(context, builder, out, arguments[1])
            wide = target

            def body(offset, mask):
                bits = _load16(builder, builder.gep(source, [offset]), mask)
                store(builder, _widened(builder, bits, brain), builder.gep(target, [offset]), mask)

            for_each_register(builder, WIDE, wide, length, body)
            return context.get_dummy_value()

        return types.void(row16, out), codegen

    return typed


def _narrow(brain: bool) -> Any:
    def typed(typingctx, row, out16):
        if not _is_pair(out16, row):
            return None

        def codegen(context, builder, signature, arguments):
            source, length = data_and_length(context, builder, row, arguments[0])
            target, _ = data_and_length(context, builder, out16, arguments[1])
            wide = source

            def body(offset, mask):
                zero = ir.Constant(WIDE, [0.0] * WIDE.count)
                x = load(builder, builder.gep(source, [offset]), WIDE, mask, zero)
                _store16(builder, _narrowed(builder, x, brain), builder.gep(target, [offset]), mask)

            for_each_register(builder, WIDE, wide, length, body)
            return context.get_dummy_value()

        return types.void(row, out16), codegen

    return typed


@intrinsic
def widen_half(typingctx, row16, out):
    """Write a row of float16 bits to a row of float32."""
    return _widen(brain=False)(typingctx, row16, out)


@intrinsic
def widen_brain(typingctx, row16, out):
    """Write a row of bfloat16 bits to a row of float32."""
    return _widen(brain=True)(typingctx, row16, out)


@intrinsic
def narrow_half(typingctx, row, out16):
    """Write a row of float32 to a row of float16 bits, rounded to the nearest."""
    return _narrow(brain=False)(typingctx, row, out16)


@intrinsic
def narrow_brain(typingctx, row, out16):
    """Write a row of float32 to a row of bfloat16 bits, rounded to the nearest."""
    return _narrow(brain=True)(typingctx, row, out16)


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def widen_half(row16, out):  # noqa: D103
        out[:] = row16.view(np.float16)

    def widen_brain(row16, out):  # noqa: D103
        out[:] = (row16.astype(np.uint32) << 16).view(np.float32)

    def narrow_half(row, out16):  # noqa: D103
        out16[:] = row.astype(np.float16).view(np.uint16)

    def narrow_brain(row, out16):  # noqa: D103
        bits = row.view(np.uint32)
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        out16[:] = np.where(np.isnan(row), bits | 0x400000, rounded) >> 16

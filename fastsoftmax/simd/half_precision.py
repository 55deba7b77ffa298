"""Conversions of float16 and bfloat16, as uint16 bits, to float32 and back, in whole registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.simd.registers import (
    INT32,
    data_and_length,
    for_each_register,
    load,
    prefetch,
    store,
    vector_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable

WIDE = vector_type(types.float32)
HALF = ir.VectorType(ir.HalfType(), WIDE.count)
BITS16 = ir.VectorType(ir.IntType(16), WIDE.count)
BITS32 = ir.VectorType(INT32, WIDE.count)


def _all(kind: Any, number: Any) -> Any:
    return ir.Constant(kind, [number] * kind.count)


def _of_half(builder: Any, bits: Any) -> Any:
    return builder.fpext(builder.bitcast(bits, HALF), WIDE)


def _of_bf16(builder: Any, bits: Any) -> Any:
    # bfloat16 is the upper half of a float32.
    return builder.bitcast(builder.shl(builder.zext(bits, BITS32), _all(BITS32, 16)), WIDE)


def _to_half(builder: Any, x: Any) -> Any:
    return builder.bitcast(builder.fptrunc(x, HALF), BITS16)


def _to_bf16(builder: Any, x: Any) -> Any:
    # Round to nearest, ties to even: add half of the last place, less one if that place is even. A carry into
    # the exponent is right; NaN is handled apart, since the carry would make it infinite.
    bits = builder.bitcast(x, BITS32)
    last = builder.and_(builder.lshr(bits, _all(BITS32, 16)), _all(BITS32, 1))
    rounded = builder.add(bits, builder.add(last, _all(BITS32, 0x7FFF)))
    quiet = builder.or_(bits, _all(BITS32, 0x400000))
    kept = builder.select(builder.fcmp_unordered("uno", x, x), quiet, rounded)
    return builder.trunc(builder.lshr(kept, _all(BITS32, 16)), BITS16)


FORMATS = {types.uint16: (BITS16, 0), types.float32: (WIDE, 0.0)}


def _conversion(change: Callable[[Any, Any], Any], read: Any, written: Any) -> Any:
    """Return the typing function of f(source, out, *later) over contiguous arrays of these two dtypes.

    `out` is at least as long as `source`. The cache lines of `later`, of the source's dtype and length, are
    prefetched for writing.
    """

    def typed(typingctx, source, out, *later):
        if [(a.dtype, a.ndim, a.layout) for a in (source, out)] != [(read, 1, "C"), (written, 1, "C")]:
            return None

        def codegen(context, builder, signature, arguments):
            data, length = data_and_length(context, builder, source, arguments[0])
            target, _ = data_and_length(context, builder, out, arguments[1])
            to_prefetch = [data_and_length(context, builder, a, b)[0] for a, b in zip(later, arguments[2:])]
            kind, zero = FORMATS[read]

            def body(offset, mask):
                for start in to_prefetch:
                    prefetch(builder, builder.gep(start, [offset]), to_write=True)
                x = load(builder, builder.gep(data, [offset]), kind, mask, _all(kind, zero))
                store(builder, change(builder, x), builder.gep(target, [offset]), mask)

            for_each_register(builder, WIDE, data, length, body, aligned=False)
            return context.get_dummy_value()

        return types.void(source, out, *later), codegen

    return typed


@intrinsic
def widen_half(typingctx, bits, out, later):
    """Widen float16 bits (n,) to float32 in out (≥ n,); prefetch `later` (n,), where results will go."""
    return _conversion(_of_half, types.uint16, types.float32)(typingctx, bits, out, later)


@intrinsic
def widen_bf16(typingctx, bits, out, later):
    """Widen bf16 bits (n,) to float32 in out (≥ n,); prefetch `later` (n,), where results will go."""
    return _conversion(_of_bf16, types.uint16, types.float32)(typingctx, bits, out, later)


@intrinsic
def narrow_half(typingctx, x, out):
    """Round float32 x (n,) to float16 bits in out (≥ n,): to nearest, ties to even."""
    return _conversion(_to_half, types.float32, types.uint16)(typingctx, x, out)


@intrinsic
def narrow_bf16(typingctx, x, out):
    """Round float32 x (n,) to bf16 bits in out (≥ n,): to nearest, ties to even."""
    return _conversion(_to_bf16, types.float32, types.uint16)(typingctx, x, out)


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def widen_half(bits, out, later):  # noqa: D103
        out[: len(bits)] = bits.view(np.float16)

    def widen_bf16(bits, out, later):  # noqa: D103
        out[: len(bits)] = (bits.astype(np.uint32) << 16).view(np.float32)

    def narrow_half(x, out):  # noqa: D103
        out[: len(x)] = x.astype(np.float16).view(np.uint16)

    def narrow_bf16(x, out):  # noqa: D103
        bits = x.view(np.uint32)
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        out[: len(x)] = np.where(np.isnan(x), bits | 0x400000, rounded) >> 16

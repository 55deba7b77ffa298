"""Conversions of float16 and bfloat16, as uint16 bits, to float32 and back, in whole registers.

Each is exact, or rounds once, with the same result on any machine: where there is no instruction for float16,
steps on its bits give what the instruction would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.cpu_level import has_f16c
from fastsoftmax.simd.exp import constant
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
BITS16 = ir.VectorType(ir.IntType(16), WIDE.count)
BITS32 = ir.VectorType(INT32, WIDE.count)


def _all(kind: Any, number: Any) -> Any:
    return ir.Constant(kind, [number] * kind.count)


def _like(element: Any, vector: Any) -> Any:
    """Return the type of a vector of other elements with as many lanes."""
    return ir.VectorType(element, vector.type.count)


def of_half(builder: Any, bits: Any) -> Any:
    """Emit the conversion of a vector of float16 bits to floats, of any number of lanes."""
    if not has_f16c():
        return of_half_by_bits(builder, bits)
    return builder.fpext(builder.bitcast(bits, _like(ir.HalfType(), bits)), _like(ir.FloatType(), bits))


def of_half_by_bits(builder: Any, bits: Any) -> Any:
    """Emit what `of_half` does without an instruction for it: the same bits, those of NaN included."""
    words, single = _like(INT32, bits), _like(ir.FloatType(), bits)
    wide = builder.zext(bits, words)
    sign = builder.shl(builder.and_(wide, _all(words, 0x8000)), _all(words, 16))
    magnitude = builder.and_(wide, _all(words, 0x7FFF))
    moved = builder.shl(magnitude, _all(words, 13))  # the mantissa stands where a float has it
    normal = builder.add(moved, _all(words, (127 - 15) << 23))
    # A subnormal number m 2⁻²⁴ is a float's mantissa behind an exponent of −14, less the leading one.
    raised = builder.bitcast(builder.add(moved, _all(words, (127 - 14) << 23)), single)
    subnormal = builder.bitcast(builder.fsub(raised, constant(single, 2.0**-14)), words)
    infinite = builder.or_(moved, _all(words, 0x7F800000))
    quiet = builder.or_(infinite, _all(words, 0x400000))

    def above(limit: int) -> Any:
        return builder.icmp_signed(">", magnitude, _all(words, limit))

    finite = builder.select(above(0x3FF), normal, subnormal)
    value = builder.select(above(0x7BFF), builder.select(above(0x7C00), quiet, infinite), finite)
    return builder.bitcast(builder.or_(value, sign), single)


def _of_bf16(builder: Any, bits: Any) -> Any:
    # bfloat16 is the upper half of a float32.
    return builder.bitcast(builder.shl(builder.zext(bits, BITS32), _all(BITS32, 16)), WIDE)


def to_half(builder: Any, x: Any) -> Any:
    """Emit the conversion of a vector of floats to float16 bits: to nearest, ties to even."""
    if not has_f16c():
        return to_half_by_bits(builder, x)
    return builder.bitcast(builder.fptrunc(x, _like(ir.HalfType(), x)), _like(ir.IntType(16), x))


def to_half_by_bits(builder: Any, x: Any) -> Any:
    """Emit what `to_half` does without an instruction for it: the same bits, those of NaN included."""
    words = _like(INT32, x)
    bits = builder.bitcast(x, words)
    sign = builder.and_(builder.lshr(bits, _all(words, 16)), _all(words, 0x8000))
    magnitude = builder.and_(bits, _all(words, 0x7FFFFFFF))
    # As `_to_bf16` rounds; what a carry makes of the largest exponent, from 65520 on, is infinity's bits.
    last = builder.and_(builder.lshr(magnitude, _all(words, 13)), _all(words, 1))
    rebased = builder.sub(magnitude, _all(words, ((127 - 15) << 23) - 0xFFF))
    normal = builder.lshr(builder.add(rebased, last), _all(words, 13))
    # The last place of numbers from 0.5 on is 2⁻²⁴, that of a subnormal float16: the addition rounds to it.
    small = builder.fadd(builder.bitcast(magnitude, x.type), constant(x.type, 0.5))
    subnormal = builder.sub(builder.bitcast(small, words), _all(words, 0x3F000000))
    payload = builder.and_(builder.lshr(magnitude, _all(words, 13)), _all(words, 0x3FF))
    quiet = builder.or_(payload, _all(words, 0x7E00))

    def from_(limit: int) -> Any:
        return builder.icmp_signed(">", magnitude, _all(words, limit - 1))

    finite = builder.select(from_(0x38800000), normal, subnormal)  # 2⁻¹⁴, the least normal number
    value = builder.select(from_(0x47800000), _all(words, 0x7C00), finite)  # 2¹⁶
    value = builder.select(from_(0x7F800001), quiet, value)
    return builder.trunc(builder.or_(value, sign), _like(ir.IntType(16), x))


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
    return _conversion(of_half, types.uint16, types.float32)(typingctx, bits, out, later)


@intrinsic
def widen_bf16(typingctx, bits, out, later):
    """Widen bf16 bits (n,) to float32 in out (≥ n,); prefetch `later` (n,), where results will go."""
    return _conversion(_of_bf16, types.uint16, types.float32)(typingctx, bits, out, later)


@intrinsic
def narrow_half(typingctx, x, out):
    """Round float32 x (n,) to float16 bits in out (≥ n,): to nearest, ties to even."""
    return _conversion(to_half, types.float32, types.uint16)(typingctx, x, out)


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

"""Loops over a contiguous row in whole registers, the last one masked, emitted as LLVM vector code.

Numba's own loops are vectorised too, but leave up to 63 elements of a row to scalar code, which for rows of
100 costs more than the rest. Here a row is cut into vectors of 64 bytes and the last one is masked. LLVM maps
each to one AVX-512 register, two of AVX2's or four of NEON's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.exp import constant, emit_exp
from fastsoftmax.simd.sizes import REGISTER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

INT32, INT64 = ir.IntType(32), ir.IntType(64)


def vector_type(dtype: Any) -> Any:
    """Return the LLVM vector type of one register of a Numba float type."""
    kind = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(kind, REGISTER_BYTES * 8 // dtype.bitwidth)


def call(builder: Any, name: str, result: Any, arguments: list[Any], flags: tuple[str, ...] = ()) -> Any:
    """Emit a call of an LLVM intrinsic by its full name, type suffix included (`suffix`)."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [argument.type for argument in arguments]), name
    )
    return builder.call(function, arguments, fastmath=flags)


def suffix(kind: Any) -> str:
    """Return the suffix of a vector type in the names of LLVM's intrinsics, such as "v16f32"."""
    letter = "i" if isinstance(kind.element, ir.IntType) else "f"
    return f"v{kind.count}{letter}{8 * item_bytes(kind)}"


def item_bytes(kind: Any) -> int:
    """Return the bytes of one lane of a vector of floats, doubles or integers."""
    if isinstance(kind.element, ir.IntType):
        return int(kind.element.width) // 8
    return 4 if kind.element == ir.FloatType() else 8


def splat(builder: Any, value: Any, count: int) -> Any:
    """Return a vector with `value` in each of `count` lanes."""
    kind = ir.VectorType(value.type, count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, count), [0] * count)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def load(builder: Any, pointer: Any, kind: Any, mask: Any = None, fill: Any = None) -> Any:
    """Load a vector from an address of any alignment; lanes outside the mask are `fill`."""
    pointer = builder.bitcast(pointer, kind.as_pointer())
    size = item_bytes(kind)
    if mask is None:
        return builder.load(pointer, align=size)
    arguments = [pointer, ir.Constant(INT32, size), mask, fill]
    return call(builder, f"llvm.masked.load.{suffix(kind)}.p0", kind, arguments)


def store(builder: Any, vector: Any, pointer: Any, mask: Any = None) -> None:
    """Store a vector at an address of any alignment; lanes outside the mask are left alone."""
    kind = vector.type
    pointer = builder.bitcast(pointer, kind.as_pointer())
    size = item_bytes(kind)
    if mask is None:
        builder.store(vector, pointer, align=size)
        return
    arguments = [vector, pointer, ir.Constant(INT32, size), mask]
    call(builder, f"llvm.masked.store.{suffix(kind)}.p0", ir.VoidType(), arguments)


def prefetch(builder: Any, address: Any, *, to_write: bool, level: int = 1) -> None:
    """Emit a prefetch of an address's cache line into a cache level; harmless beyond an array's end."""
    kinds = [ir.Constant(INT32, number) for number in (int(to_write), 4 - level, 1)]
    line = builder.bitcast(address, ir.IntType(8).as_pointer())
    call(builder, "llvm.prefetch.p0", ir.VoidType(), [line, *kinds])


def data_and_length(context: Any, builder: Any, kind: Any, value: Any) -> tuple[Any, Any]:
    """Return the address of the first element of a contiguous 1-D array, and its length."""
    array = context.make_array(kind)(context, builder, value)
    return array.data, builder.extract_value(array.shape, 0)


# Elements of a row from which it pays to start with a partial register, so that all others are aligned: the
# extra register must be small beside the 16 of the row. A shorter row would lose more than alignment saves.
LONG = 256


def for_each_register(
    builder: Any,
    kind: Any,
    data: Any,
    length: Any,
    body: Callable[[Any, Any], None],
    *,
    aligned: bool = True,
) -> Any:
    """Emit body(offset, mask) for every register of a row; mask is None except for partial registers.

    A long row begins with the partial register that contains `data`, unless `aligned` is false: loads that
    straddle two cache lines cost twice. Returns the lane of the row's first element: `rotated` by it, sums by
    lane are in an order that does not depend on the address.
    """
    lanes = ir.Constant(INT64, kind.count)
    zero = ir.Constant(INT64, 0)
    numbers = ir.Constant(ir.VectorType(INT32, kind.count), list(range(kind.count)))
    lane, head = zero, zero
    if aligned:
        size = ir.Constant(INT64, REGISTER_BYTES // kind.count)
        element = builder.udiv(builder.ptrtoint(data, INT64), size)
        is_long = builder.icmp_signed(">=", length, ir.Constant(INT64, LONG))
        lane = builder.select(is_long, builder.and_(element, ir.Constant(INT64, kind.count - 1)), zero)
        starts_inside = builder.icmp_signed(">", lane, zero)
        head = builder.select(starts_inside, builder.sub(lanes, lane), zero)
        with builder.if_then(starts_inside, likely=False):
            first_lane = splat(builder, builder.trunc(lane, INT32), kind.count)
            body(builder.neg(lane), builder.icmp_signed(">=", numbers, first_lane))
    rest = builder.sub(length, head)
    whole = builder.sdiv(rest, lanes)
    with cgutils.for_range(builder, whole) as loop:
        body(builder.add(head, builder.mul(loop.index, lanes)), None)
    done = builder.mul(whole, lanes)
    remaining = builder.sub(rest, done)
    with builder.if_then(builder.icmp_signed(">", remaining, zero), likely=False):
        end_lane = splat(builder, builder.trunc(remaining, INT32), kind.count)
        body(builder.add(head, done), builder.icmp_signed("<", numbers, end_lane))
    return lane


def rotated(builder: Any, vector: Any, lane: Any) -> Any:
    """Return a vector rotated so that `lane` comes first."""
    kind = vector.type
    twice = cgutils.alloca_once(builder, kind, size=ir.Constant(INT64, 2))
    builder.store(vector, twice)
    builder.store(vector, builder.gep(twice, [ir.Constant(INT64, 1)]))
    start = builder.gep(builder.bitcast(twice, kind.element.as_pointer()), [lane])
    return load(builder, start, kind)


def is_row(kind: Any) -> bool:
    """Return whether a Numba type is a contiguous 1-D array of float32 or float64."""
    floats = (types.float32, types.float64)
    return isinstance(kind, types.Array) and kind.ndim == 1 and kind.layout == "C" and kind.dtype in floats


@intrinsic
def largest(typingctx, row):
    """Return the largest element of a row (K,), ignoring NaN; −∞ if there is none.

    Used as the shift of exponentials, whose sum turns NaN anyway: propagating it here would cost three times
    as much.
    """
    if not is_row(row):
        return None

    def codegen(context, builder, signature, arguments):
        kind = vector_type(row.dtype)
        data, length = data_and_length(context, builder, row, arguments[0])
        lowest = constant(kind, -np.inf)
        best = cgutils.alloca_once_value(builder, lowest)

        def body(offset, mask):
            x = load(builder, builder.gep(data, [offset]), kind, mask, lowest)
            before = builder.load(best)
            larger = builder.fcmp_ordered(">", x, before)
            builder.store(builder.select(larger, x, before), best)

        for_each_register(builder, kind, data, length, body)
        name = f"llvm.vector.reduce.fmax.{suffix(kind)}"
        # It never holds NaN; with "nnan" the reduction does not test for it.
        return call(builder, name, kind.element, [builder.load(best)], flags=("nnan",))

    return row.dtype(row), codegen


def add_apart(builder: Any, e: Any, count: Any, others: Any) -> None:
    """Emit, by lane, the addition of e to the sum at address `others`, or to that at `count` where e is 1."""
    one = constant(e.type, 1.0)
    is_one = builder.fcmp_ordered("==", e, one)
    ones, rest = builder.load(count), builder.load(others)
    builder.store(builder.select(is_one, builder.fadd(ones, one), ones), count)
    builder.store(builder.select(is_one, rest, builder.fadd(rest, e)), others)


def _exponentials(*, stored: bool, exact: bool) -> Any:
    def typed(typingctx, *kinds):
        *rows, shift = kinds
        if not all(is_row(row) and row.dtype == shift for row in rows):
            return None

        def codegen(context, builder, signature, arguments):
            kind = vector_type(shift)
            data, length = data_and_length(context, builder, rows[0], arguments[0])
            target = data_and_length(context, builder, rows[1], arguments[1])[0] if stored else None
            by = splat(builder, arguments[-1], kind.count)
            zero = constant(kind, 0.0)
            count = cgutils.alloca_once_value(builder, zero)
            others = cgutils.alloca_once_value(builder, zero)

            def body(offset, mask):
                x = load(builder, builder.gep(data, [offset]), kind, mask, constant(kind, -np.inf))
                e = emit_exp(builder, x, by, exact=exact)
                if mask is not None:
                    e = builder.select(mask, e, zero)  # −∞ − (−∞) is NaN in the masked lanes
                if stored:
                    store(builder, e, builder.gep(target, [offset]), mask)
                add_apart(builder, e, count, others)

            lane = for_each_register(builder, kind, data, length, body)
            sums = [
                call(
                    builder,
                    f"llvm.vector.reduce.fadd.{suffix(kind)}",
                    kind.element,
                    [constant(kind.element, 0.0), total],
                    flags=("reassoc",),
                )
                # Ones add up to the same in any order.
                for total in (builder.load(count), rotated(builder, builder.load(others), lane))
            ]
            return context.make_tuple(builder, signature.return_type, sums)

        return types.UniTuple(shift, 2)(*kinds), codegen

    return typed


@intrinsic
def exponentials_to(typingctx, row, out, shift):
    """Write e^(row − shift) to out; return the number of exact ones and the sum of the others.

    `shift` is not less than any element; `out` (K,) may be `row` (K,). Exact differences, as in `emit_exp`;
    the sums run in the row's dtype.
    """
    return _exponentials(stored=True, exact=True)(typingctx, row, out, shift)


@intrinsic
def plain_exponentials_to(typingctx, row, out, shift):
    """Do what `exponentials_to` does with rounded differences x − shift: 1.4 times as fast."""
    return _exponentials(stored=True, exact=False)(typingctx, row, out, shift)


@intrinsic
def exponentials_sum(typingctx, row, shift):
    """Return the number of e^(row − shift) that are exactly 1 and the sum of the others."""
    return _exponentials(stored=False, exact=True)(typingctx, row, shift)


@intrinsic
def plain_exponentials_sum(typingctx, row, shift):
    """Do what `exponentials_sum` does with rounded differences x − shift."""
    return _exponentials(stored=False, exact=False)(typingctx, row, shift)


@intrinsic
def scaled_to(typingctx, row, out, factor):
    """Write row · factor to out, which may be row; both (K,), all of one dtype."""
    if not (is_row(row) and is_row(out) and row.dtype == factor == out.dtype):
        return None

    def codegen(context, builder, signature, arguments):
        kind = vector_type(factor)
        data, length = data_and_length(context, builder, row, arguments[0])
        target, _ = data_and_length(context, builder, out, arguments[1])
        by = splat(builder, arguments[2], kind.count)

        def body(offset, mask):
            x = load(builder, builder.gep(data, [offset]), kind, mask, constant(kind, 0.0))
            store(builder, builder.fmul(x, by), builder.gep(target, [offset]), mask)

        for_each_register(builder, kind, data, length, body)
        return context.get_dummy_value()

    return types.void(row, out, factor), codegen


@intrinsic
def differences_to(typingctx, row, out, first, second):
    """Write (row − first) − second to out, which may be row; both (K,), all of one dtype."""
    if not (is_row(row) and is_row(out) and row.dtype == out.dtype == first == second):
        return None

    def codegen(context, builder, signature, arguments):
        kind = vector_type(first)
        data, length = data_and_length(context, builder, row, arguments[0])
        target, _ = data_and_length(context, builder, out, arguments[1])
        shift, rest = (splat(builder, argument, kind.count) for argument in arguments[2:])

        def body(offset, mask):
            x = load(builder, builder.gep(data, [offset]), kind, mask, constant(kind, 0.0))
            difference = builder.fsub(builder.fsub(x, shift), rest)
            store(builder, difference, builder.gep(target, [offset]), mask)

        for_each_register(builder, kind, data, length, body)
        return context.get_dummy_value()

    return types.void(row, out, first, second), codegen


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def largest(row):  # noqa: D103
        return np.fmax.reduce(row, initial=-np.inf)

    def exponentials_to(row, out, shift):  # noqa: D103
        out[:] = np.exp(row - shift)
        return (out == 1).sum(dtype=out.dtype), out[out != 1].sum()

    def exponentials_sum(row, shift):  # noqa: D103
        return exponentials_to(row, np.empty_like(row), shift)

    plain_exponentials_to = exponentials_to
    plain_exponentials_sum = exponentials_sum

    def scaled_to(row, out, factor):  # noqa: D103
        out[:] = row * factor

    def differences_to(row, out, first, second):  # noqa: D103
        out[:] = (row - first) - second

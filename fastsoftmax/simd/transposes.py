"""Squares of a matrix, converted and transposed in registers, emitted as LLVM vector code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.half_precision import of_half
from fastsoftmax.simd.registers import INT32, INT64, prefetch, store, vector_type
from fastsoftmax.simd.sizes import REGISTER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


def converter(number: Any, kind: Any) -> Callable[[Any, Any], Any]:
    """Return the emitter of a conversion: of a vector of Numba type `number` to LLVM vector type `kind`."""
    if number == types.uint16:  # float16's bits; machines have no step from there to double
        return lambda builder, x: _cast(builder, of_half(builder, x), kind)
    if isinstance(number, types.Integer):
        name = "sitofp" if number.signed else "uitofp"
        return lambda builder, x: getattr(builder, name)(x, kind)
    return lambda builder, x: _cast(builder, x, kind)


def _cast(builder: Any, x: Any, kind: Any) -> Any:
    if x.type == kind:
        return x
    return builder.fptrunc(x, kind) if kind.element == ir.FloatType() else builder.fpext(x, kind)


def emit_square(
    builder: Any,
    start: Any,
    step: Any,
    ahead: Any,
    convert: tuple[Any, Callable[[Any, Any], Any]],
    out: tuple[Any, Any],
    row: Any,
    column: Any,
    ahead_of_out: Any = None,
) -> None:
    """Emit the conversion of a square of lanes × lanes with contiguous columns to rows and columns of out.

    Parameters
    ----------
    builder : llvmlite builder
    start, step, ahead
        The address of the square's first element (i8*), the bytes from column to column, and how many bytes
        further on in each column memory is prefetched.
    convert : tuple
        The LLVM type of the square's elements, and an emitter of their conversion (`converter`).
    out : tuple
        The address of the first element of a C-ordered matrix of floats or doubles, and its row's length: a
        register has as many lanes of these as the square has rows and columns.
    row, column
        The place in `out`.
    ahead_of_out, optional
        How many bytes further on in each row of `out` memory is prefetched.
    """
    element, to_kind = convert
    data, width = out
    count = REGISTER_BYTES // item_bytes_of(data.type.pointee)
    source_vector = ir.VectorType(element, count)
    lanes = [ir.Constant(INT64, lane) for lane in range(count)]
    columns = []
    for lane in lanes:
        target = builder.gep(start, [builder.mul(lane, step)])
        prefetch(builder, builder.gep(target, [ahead]), to_write=False, level=2)
        x = builder.load(builder.bitcast(target, source_vector.as_pointer()), align=1)
        columns.append(to_kind(builder, x))
    for lane, vector in zip(lanes, _transposed(builder, columns)):
        place = builder.gep(data, [builder.add(builder.mul(builder.add(row, lane), width), column)])
        if ahead_of_out is not None:
            line = builder.gep(builder.bitcast(place, ir.IntType(8).as_pointer()), [ahead_of_out])
            prefetch(builder, line, to_write=True, level=2)
        store(builder, vector, place)


def item_bytes_of(kind: Any) -> int:
    """Return the bytes of an LLVM float or double."""
    return 4 if kind == ir.FloatType() else 8


@intrinsic
def square_to(typingctx, a, i, j, ahead, out, row, column, ahead_of_out):
    """Write the square of lanes × lanes of a at (i, j) to that of `out` at (row, column).

    Parameters
    ----------
    a : array (n, m), float32 or float64
        Its columns are contiguous.
    i, j, row, column : int
    ahead, ahead_of_out : int
        Memory so many bytes further on in the columns of a, and in the rows of `out`, is prefetched.
    out : array (p, q), C-ordered, float32 or float64
        A register has so many lanes of its dtype.
    """
    floats = (types.float32, types.float64)
    if not (a.ndim == out.ndim == 2 and out.layout == "C" and a.dtype in floats and out.dtype in floats):
        return None

    def codegen(context, builder, signature, arguments):
        source = context.make_array(a)(context, builder, arguments[0])
        row_step, step = cgutils.unpack_tuple(builder, source.strides, 2)
        base = builder.bitcast(source.data, ir.IntType(8).as_pointer())
        offset = builder.add(builder.mul(arguments[1], row_step), builder.mul(arguments[2], step))
        target = context.make_array(out)(context, builder, arguments[4])
        emit_square(
            builder, builder.gep(base, [offset]), step, arguments[3],
            (context.get_data_type(a.dtype), converter(a.dtype, vector_type(out.dtype))),
            (target.data, builder.extract_value(target.shape, 1)), arguments[5], arguments[6], arguments[7],
        )  # fmt: skip
        return context.get_dummy_value()

    number = types.intp
    return types.void(a, number, number, number, out, number, number, number), codegen


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Emit the transpose of a square of vectors, as many as each has lanes.

    Off-diagonal blocks are swapped [1]_: halves, then quarters within each block, and so on. The larger ones
    are whole parts of a register, the smaller ones stay within such a part, on any machine.

    References
    ----------
    .. [1] J. O. Eklundh, "A fast computer method for matrix transposing", IEEE Trans. Comp. C-21 (1972).
    """
    count = len(rows)
    lanes = range(count)
    size = count // 2
    while size:
        upper = [lane if not lane & size else count + lane - size for lane in lanes]
        lower = [lane + size if not lane & size else count + lane for lane in lanes]
        masks = [ir.Constant(ir.VectorType(INT32, count), mask) for mask in (upper, lower)]
        for r in lanes:
            if not r & size:
                a, b = rows[r], rows[r + size]
                rows[r], rows[r + size] = (builder.shuffle_vector(a, b, mask) for mask in masks)
        size //= 2
    return rows


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def square_to(a, i, j, ahead, out, row, column, ahead_of_out):  # noqa: D103
        lanes = REGISTER_BYTES // out.itemsize
        out[row : row + lanes, column : column + lanes] = a[i : i + lanes, j : j + lanes]

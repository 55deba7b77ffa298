"""Tiles of X as products want them: C-ordered, of their dtype. What X is stored as ends here.

A row whose numbers lie side by side is widened a register at a time; of an X by columns, a square of one
register each way is turned in registers. Both cost a fraction of the product that follows. Other strides are
read number by number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fastsoftmax.contracts import Halves
from fastsoftmax.kernels.jit import jit, named_tuple_class
from fastsoftmax.kernels.lanes import (
    INT32,
    INT64,
    REGISTER_BYTES,
    data_and_length,
    for_each_register,
    is_row,
    load,
    prefetch,
    store,
    vector_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES = ir.IntType(8).as_pointer()


def tile_of(X: Any, start: int, stop: int, room: Any) -> Any:
    """Return rows start to stop as a C-ordered array of the dtype of `room`.

    Rows that are so already are not copied; others are gathered and widened into `room`, so that X is never
    copied or widened as a whole.
    """
    rows = X.bits[start:stop].view(np.float16) if isinstance(X, Halves) else X[start:stop]
    if rows.dtype == room.dtype and rows.flags.c_contiguous:
        return rows
    room[: stop - start] = rows
    return room[: stop - start]


def element(X: Any, i: int, j: int) -> Any:
    """Return one number of a dense matrix; float32 of `Halves`."""
    return np.float32(X.bits[i, j].view(np.float16)) if isinstance(X, Halves) else X[i, j]


def _array(X: Any) -> Any:
    """Return the type of the array that holds the numbers of a dense matrix; None of anything else."""
    array = X[0] if named_tuple_class(X) is Halves else X
    return array if isinstance(array, types.Array) and array.ndim == 2 else None


def _stored(X: Any, count: int) -> Any:
    """Return the LLVM type of `count` numbers as X stores them."""
    dtype = _array(X).dtype
    if isinstance(dtype, types.Integer):
        return ir.VectorType(ir.IntType(dtype.bitwidth), count)
    return ir.VectorType(ir.FloatType() if dtype == types.float32 else ir.DoubleType(), count)


def _converter(X: Any, kind: Any) -> Callable[[Any, Any], Any]:
    """Return what emits the conversion of a vector as X stores it to a vector of floats or doubles."""
    dtype = _array(X).dtype
    if isinstance(dtype, types.Integer):
        if named_tuple_class(X) is Halves:
            return lambda builder, x: _of_half(builder, x, kind)
        name = "sitofp" if dtype.signed else "uitofp"
        return lambda builder, x: getattr(builder, name)(x, kind)
    single = kind.element == ir.FloatType()
    if single == (dtype == types.float32):
        return lambda builder, x: x
    return lambda builder, x: builder.fptrunc(x, kind) if single else builder.fpext(x, kind)


def _of_half(builder: Any, bits: Any, kind: Any) -> Any:
    half, single = (ir.VectorType(element, kind.count) for element in (ir.HalfType(), ir.FloatType()))
    x = builder.fpext(builder.bitcast(bits, half), single)
    return x if kind == single else builder.fpext(x, kind)  # machines have no step from half to double


def _place(context: Any, builder: Any, X: Any, value: Any) -> tuple[Any, list[Any]]:
    """Return the address of a matrix, counted in bytes, and its two strides."""
    if named_tuple_class(X) is Halves:
        value = builder.extract_value(value, 0)
    array = context.make_array(_array(X))(context, builder, value)
    return builder.bitcast(array.data, BYTES), cgutils.unpack_tuple(builder, array.strides, 2)


def _row_writer(*, strided: bool) -> Any:
    """Return the typing of f(X, i, out), which writes row i of X to out (d,), a contiguous row of floats."""

    def typed(typingctx, X, i, out):
        if not is_row(out):
            return None

        def codegen(context, builder, signature, arguments):
            kind = vector_type(out.dtype)
            stored, convert = _stored(X, kind.count), _converter(X, kind)
            data, (row_bytes, step) = _place(context, builder, X, arguments[0])
            row = builder.gep(data, [builder.mul(arguments[1], row_bytes)])
            target, length = data_and_length(context, builder, out, arguments[2])
            last = builder.sub(length, ir.Constant(INT64, 1))

            def side_by_side(offset: Any, mask: Any) -> Any:
                first = builder.bitcast(row, stored.element.as_pointer())
                nothing = ir.Constant(stored, [0] * stored.count)
                return load(builder, builder.gep(first, [offset]), stored, mask, nothing)

            def one_by_one(offset: Any, mask: Any) -> Any:
                x = ir.Constant(stored, ir.Undefined)
                for lane in range(stored.count):
                    j = builder.add(offset, ir.Constant(INT64, lane))
                    if mask is not None:  # lanes that are not there read the last number
                        j = builder.select(builder.icmp_signed("<", j, last), j, last)
                    place = builder.gep(row, [builder.mul(j, step)])
                    number = builder.load(builder.bitcast(place, stored.element.as_pointer()), align=1)
                    x = builder.insert_element(x, number, ir.Constant(INT32, lane))
                return x

            def body(offset, mask):
                x = (one_by_one if strided else side_by_side)(offset, mask)
                store(builder, convert(builder, x), builder.gep(target, [offset]), mask)

            for_each_register(builder, kind, target, length, body, aligned=False)
            return context.get_dummy_value()

        return types.void(X, types.intp, out), codegen

    return typed


@intrinsic
def _row_to(typingctx, X, i, out):
    """Write row i of X, whose numbers lie side by side, to out (d,)."""
    return _row_writer(strided=False)(typingctx, X, i, out)


@intrinsic
def _strided_row_to(typingctx, X, i, out):
    """Write row i of X, whatever its strides, to out (d,)."""
    return _row_writer(strided=True)(typingctx, X, i, out)


@intrinsic
def _square_to(typingctx, X, i, j, out, row, ahead):
    """Write a square of X, a register each way from (i, j) on, to out from (row, j) on.

    The numbers of a column of X lie side by side. Those `ahead` rows further on are fetched into cache.
    """

    def codegen(context, builder, signature, arguments):
        kind = vector_type(out.dtype)
        stored, convert = _stored(X, kind.count), _converter(X, kind)
        data, strides = _place(context, builder, X, arguments[0])
        tile = context.make_array(out)(context, builder, arguments[3])
        width = builder.extract_value(tile.shape, 1)
        _, i, j, _, row, ahead = arguments
        corner = builder.gep(data, [builder.mul(i, strides[0])])
        columns = []
        for c in range(kind.count):
            column = builder.gep(corner, [builder.mul(builder.add(j, ir.Constant(INT64, c)), strides[1])])
            prefetch(builder, builder.gep(column, [builder.mul(ahead, strides[0])]), to_write=False, level=2)
            columns.append(convert(builder, load(builder, column, stored)))
        for r, vector in enumerate(_turned(builder, columns)):
            place = builder.mul(builder.add(row, ir.Constant(INT64, r)), width)
            store(builder, vector, builder.gep(tile.data, [builder.add(place, j)]))
        return context.get_dummy_value()

    return types.void(X, types.intp, types.intp, out, types.intp, types.intp), codegen


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Emit the transpose of a square of as many vectors as each has lanes.

    Off-diagonal blocks are swapped [1]_: halves, then quarters within each block, and so on. The larger ones
    are whole parts of a register, the smaller ones stay within such a part, on any machine.

    References
    ----------
    .. [1] J. O. Eklundh, "A fast computer method for matrix transposing", IEEE Trans. Comp. C-21 (1972).
    """
    count = len(rows)
    lanes = range(count)
    rows = list(rows)
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


@intrinsic
def _widened(typingctx, bits):
    """Return the float32 of a float16's bits."""
    if bits != types.uint16:
        return None

    def codegen(context, builder, signature, arguments):
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(bits), codegen


@overload(element)
def _element(X, i, j):
    if named_tuple_class(X) is Halves:
        return lambda X, i, j: _widened(X.bits[i, j])
    return lambda X, i, j: X[i, j]


@jit
def _gather_strided(X, start, stop, room):
    tile = room[: stop - start]
    for i in range(tile.shape[0]):
        _strided_row_to(X, start + i, tile[i])
    return tile


@jit
def _gather_rows(X, start, stop, room):
    tile = room[: stop - start]
    for i in range(tile.shape[0]):
        _row_to(X, start + i, tile[i])
    return tile


@jit
def _gather_columns(X, start, stop, room):
    tile = room[: stop - start]
    n_rows, n_features = tile.shape
    lanes = REGISTER_BYTES // room.itemsize
    if n_rows < lanes or n_features < lanes:
        return _gather_strided(X, start, stop, room)
    # The last squares overlap those before.
    for left in range(0, n_features, lanes):
        j = min(left, n_features - lanes)
        for top in range(0, n_rows, lanes):
            i = min(top, n_rows - lanes)
            _square_to(X, start + i, j, tile, i, n_rows)
    return tile


@jit
def _gather(X, numbers, start, stop, room):
    """Gather by what lies side by side; `numbers` is the array that X keeps its numbers in."""
    if numbers.strides[1] == numbers.itemsize:
        return _gather_rows(X, start, stop, room)
    if numbers.strides[0] == numbers.itemsize:
        return _gather_columns(X, start, stop, room)
    return _gather_strided(X, start, stop, room)


@overload(tile_of)
def _tile_of(X, start, stop, room):
    array, half = _array(X), named_tuple_class(X) is Halves
    if array is None:
        return None
    if array.layout == "C" and array.dtype == room.dtype and not half:
        return lambda X, start, stop, room: X[start:stop]
    if array.layout == "C":
        return lambda X, start, stop, room: _gather_rows(X, start, stop, room)
    if array.layout == "F":
        return lambda X, start, stop, room: _gather_columns(X, start, stop, room)
    if half:
        return lambda X, start, stop, room: _gather(X, X.bits, start, stop, room)
    return lambda X, start, stop, room: _gather(X, X, start, stop, room)

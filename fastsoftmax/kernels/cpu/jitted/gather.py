"""Tiles of X for products: C-ordered, of the products' dtype, gathered from any dense storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic, overload

from fastsoftmax.contracts import Halves
from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS, STORED
from fastsoftmax.kernels.cpu.structs import FLOAT16, FLOAT32, FLOAT64, INT8, INT16, UINT8, Stored
from fastsoftmax.runtime import native
from fastsoftmax.runtime.jit import INNER, inner, jit, named_tuple_class
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.registers import INT32, INT64, prefetch, splat, store, vector_type
from fastsoftmax.simd.sizes import REGISTER_BYTES
from fastsoftmax.simd.transposes import converter, emit_square

if TYPE_CHECKING:
    from collections.abc import Callable


BLOCK = 32  # rows that are transposed at a time: 32 features' lines must stay in the first-level cache


def tile_of(X: Any, start: int, stop: int, workspace: Any) -> Any:
    """Return rows start to stop of a `stored` matrix, (stop − start, d), C-ordered, in the workspace's dtype.

    Rows that are stored so are not copied; others are gathered and widened into `workspace` (≥ stop − start,
    d), so that X is never copied or widened as a whole.
    """
    rows = X.bits[start:stop].view(np.float16) if isinstance(X, Halves) else X[start:stop]
    if rows.dtype == workspace.dtype and rows.flags.c_contiguous:
        return rows
    workspace[: stop - start] = rows
    return workspace[: stop - start]


@intrinsic
def _widen(typingctx, address, steps, ahead, out, number):
    """Convert the matrix at an address to `out` (n, d), C-ordered float32 or float64.

    Its elements are of the type of `number` (uint16 stands for float16), `steps` are its two strides in
    bytes. Memory `ahead` bytes further on is prefetched.
    """
    if not (out.ndim == 2 and out.layout == "C"):
        return None

    def codegen(context, builder, signature, arguments):
        kind = vector_type(out.dtype)
        lanes = ir.Constant(INT64, kind.count)
        element = context.get_data_type(number)
        source_vector = ir.VectorType(element, kind.count)
        convert = converter(number, kind)
        start = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        row_step, step = cgutils.unpack_tuple(builder, arguments[1], 2)
        array = context.make_array(out)(context, builder, arguments[3])
        n_rows, width = cgutils.unpack_tuple(builder, array.shape, 2)

        def load_contiguous(row: Any, offset: Any) -> Any:
            address_of_lane = builder.gep(row, [builder.mul(offset, step)])
            prefetch(builder, builder.gep(address_of_lane, [arguments[2]]), to_write=False, level=2)
            return builder.load(builder.bitcast(address_of_lane, source_vector.as_pointer()), align=1)

        def gather_lanes(row: Any, offset: Any, last: Any = None) -> Any:
            x = ir.Constant(source_vector, ir.Undefined)
            for lane in range(kind.count):
                j = builder.add(offset, ir.Constant(INT64, lane))
                if last is not None:
                    j = builder.select(builder.icmp_signed("<", j, last), j, last)
                address_of_lane = builder.bitcast(
                    builder.gep(row, [builder.mul(j, step)]), element.as_pointer()
                )
                x = builder.insert_element(
                    x, builder.load(address_of_lane, align=1), ir.Constant(INT32, lane)
                )
            return x

        def registers(load_register: Callable[[Any, Any], Any]) -> Callable[[Any, Any], None]:
            def write(row: Any, target: Any) -> None:
                # The last register overlaps the one before it.
                last = builder.sub(width, lanes)
                n_registers = builder.sdiv(builder.add(width, ir.Constant(INT64, kind.count - 1)), lanes)
                with cgutils.for_range(builder, n_registers) as loop:
                    offset = builder.mul(loop.index, lanes)
                    offset = builder.select(builder.icmp_signed("<", offset, last), offset, last)
                    store(
                        builder, convert(builder, load_register(row, offset)), builder.gep(target, [offset])
                    )

            return write

        def write_partial(row: Any, target: Any) -> None:
            # Lanes beyond the row read its last number.
            x = gather_lanes(row, ir.Constant(INT64, 0), builder.sub(width, ir.Constant(INT64, 1)))
            numbers = ir.Constant(ir.VectorType(INT32, kind.count), list(range(kind.count)))
            n_columns = splat(builder, builder.trunc(width, INT32), kind.count)
            store(builder, convert(builder, x), target, builder.icmp_signed("<", numbers, n_columns))

        def for_each_row(write: Callable[[Any, Any], None]) -> None:
            with cgutils.for_range(builder, n_rows) as loop:
                row = builder.gep(start, [builder.mul(loop.index, row_step)])
                write(row, builder.gep(array.data, [builder.mul(loop.index, width)]))

        item = ir.Constant(INT64, number.bitwidth // 8)
        with builder.if_else(builder.icmp_signed(">=", width, lanes)) as (is_wide, is_narrow):
            with (
                is_wide,
                builder.if_else(builder.icmp_signed("==", step, item)) as (is_contiguous, is_strided),
            ):
                with is_contiguous:
                    for_each_row(registers(load_contiguous))
                with is_strided:
                    for_each_row(registers(gather_lanes))
            with is_narrow:
                for_each_row(write_partial)
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, 2), types.int64, out, number), codegen


@intrinsic
def _square_to(typingctx, address, steps, ahead, out, row, column, number):
    """Convert, as `_widen` does, a square of lanes × lanes with contiguous columns to out[row:, column:]."""

    def codegen(context, builder, signature, arguments):
        start = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        _, step = cgutils.unpack_tuple(builder, arguments[1], 2)
        array = context.make_array(out)(context, builder, arguments[3])
        convert = context.get_data_type(number), converter(number, vector_type(out.dtype))
        target = array.data, builder.extract_value(array.shape, 1)
        emit_square(builder, start, step, arguments[2], convert, target, arguments[4], arguments[5])
        return context.get_dummy_value()

    two = types.UniTuple(types.int64, 2)
    return types.void(types.int64, two, types.int64, out, types.intp, types.intp, number), codegen


@inner
def _gather(X, start, tile, number):
    """Write the rows of X from `start` on, of the type of `number`, to a tile (n, d)."""
    n_rows, n_features = tile.shape
    lanes = REGISTER_BYTES // tile.itemsize
    first = X.address + start * X.row_bytes
    steps = (X.row_bytes, X.column_bytes)
    ahead = n_rows * X.row_bytes
    if X.column_bytes == X.item_bytes or X.row_bytes != X.item_bytes or min(n_rows, n_features) < lanes:
        _widen(first, steps, ahead, tile, number)
        return
    # The last squares overlap those before them.
    for left in range(0, n_features, lanes):
        j = min(left, n_features - lanes)
        for top in range(0, n_rows, lanes):
            i = min(top, n_rows - lanes)
            place = first + i * X.row_bytes + j * X.column_bytes
            _square_to(place, steps, ahead, tile, i, j, number)


@intrinsic
def _pointer(typingctx, address, workspace):
    """Return an address as a pointer to elements of the dtype of `workspace`."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(workspace.dtype)(types.int64, workspace), codegen


@jit(signatures=[f"{STORED},q,{x}:2C" for x in FLOATS])
def gather_any(X, start, tile):
    """Write the rows of X from `start` on to a tile (n, d), choosing the conversion by X's code."""
    if X.code == UINT8:
        _gather(X, start, tile, np.uint8(0))
    elif X.code == INT8:
        _gather(X, start, tile, np.int8(0))
    elif X.code == INT16:
        _gather(X, start, tile, np.int16(0))
    elif X.code == FLOAT16:
        _gather(X, start, tile, np.uint16(0))
    elif X.code == FLOAT32:
        _gather(X, start, tile, np.float32(0))
    else:
        _gather(X, start, tile, np.float64(0))


@inner
def _tile(X, start, stop, workspace, code):
    n_features = workspace.shape[1]
    first = X.address + start * X.row_bytes
    no_gaps = X.column_bytes == X.item_bytes and X.row_bytes == n_features * X.item_bytes
    if X.code == code and no_gaps and first % X.item_bytes == 0:
        return carray(_pointer(first, workspace), (stop - start, n_features))
    tile = workspace[: stop - start]
    native.call(X.gather, (X, np.int64(start), tile))
    return tile


@overload(tile_of, jit_options=INNER)
def _tile_of(X, start, stop, workspace):
    if named_tuple_class(X) is not Stored:
        return None
    code = FLOAT32 if workspace.dtype == types.float32 else FLOAT64
    return lambda X, start, stop, workspace: _tile(X, start, stop, workspace, code)


@kernel(signatures=[f"{STORED},{x}:2C" for x in FLOATS])
def transpose(start, stop, _, X, out):
    """Write rows start to stop of X to the same columns of out (d, n), in blocks that stay in cache."""
    n_features = out.shape[0]
    workspace = np.empty((BLOCK, n_features), out.dtype)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        tile = tile_of(X, first, last, workspace)
        for j in range(n_features):
            for i in range(last - first):
                out[j, first + i] = tile[i, j]

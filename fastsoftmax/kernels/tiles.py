"""Row functions for few classes, in registers: as many rows as a register has lanes, one row a lane.

Vectorised across classes, a row of ten would leave most of a register empty, and finding its maximum and sum
would cost more than its exponentials. So 16 rows (8 of float64) are read, transposed in registers, worked on
class by class, transposed back and written. Rows are at most `MOST_CLASSES` long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastsoftmax.kernels.lanes import (
    INT32,
    INT64,
    REGISTER_BYTES,
    add_apart,
    call,
    load,
    prefetch,
    splat,
    store,
    suffix,
    vector_type,
)
from fastsoftmax.kernels.vector import constant, emit_exp, emit_log1p

__all__ = [
    "MOST_CLASSES",
    "REGISTER_BYTES",
    "cross_entropy_tile",
    "log_softmax_tile",
    "logsumexp_tile",
    "softmax_tile",
]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_CLASSES = 128


class _Tile(NamedTuple):
    """Where the generated code finds things: a tile of rows, transposed into `room` (K, lanes).

    `exact` says whether exponentials are to be of the exact differences.
    """

    builder: Any
    kind: Any
    n_classes: Any
    room: Any
    exact: Any

    def classes(self) -> Any:
        """Emit a loop over the classes."""
        return cgutils.for_range(self.builder, self.n_classes)

    def at(self, k: Any) -> Any:
        """Return the address of class k's lanes."""
        return self.builder.gep(self.room, [k])

    def get(self, k: Any) -> Any:
        return self.builder.load(self.at(k))

    def put(self, k: Any, value: Any) -> None:
        self.builder.store(value, self.at(k))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Return the columns of a square of registers, by swapping blocks of 1, 2, 4 … lanes."""
    count = len(rows)
    distance = 1
    while distance < count:
        swapped = list(rows)
        for i in (i for i in range(count) if not i & distance):
            a, b = rows[i], rows[i + distance]
            low = [j if not j & distance else count + j - distance for j in range(count)]
            high = [j + distance if not j & distance else count + j for j in range(count)]
            swapped[i] = _shuffled(builder, a, b, low)
            swapped[i + distance] = _shuffled(builder, a, b, high)
        rows = swapped
        distance *= 2
    return rows


def _shuffled(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(order)), order))


def _fetch(tile: _Tile, k: Any, data: Any, *, to_write: bool) -> None:
    """Emit a prefetch of the k-th line of the tile's worth of memory from `data` on.

    The rows of a tile are as many streams, each too short for the hardware to see. A line for each class goes
    with the exponentials, whose time it takes to come; all at once they would wait for one another.
    """
    offset = tile.builder.mul(k, ir.Constant(INT64, tile.kind.count))  # lanes · itemsize is a cache line
    prefetch(tile.builder, tile.builder.gep(data, [offset]), to_write=to_write)


def _squares(tile: _Tile) -> Iterator[tuple[Any, Any]]:
    """Emit a loop over squares of classes; give the first class of each and which lanes are classes."""
    builder, lanes = tile.builder, tile.kind.count
    squares = builder.sdiv(
        builder.add(tile.n_classes, ir.Constant(INT64, lanes - 1)), ir.Constant(INT64, lanes)
    )
    with cgutils.for_range(builder, squares) as loop:
        first = builder.mul(loop.index, ir.Constant(INT64, lanes))
        left = builder.trunc(builder.sub(tile.n_classes, first), INT32)
        numbers = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
        yield first, builder.icmp_signed("<", numbers, splat(builder, left, lanes))


def _read(tile: _Tile, data: Any) -> None:
    """Emit code that reads as many rows as there are lanes, from `data` on, into the tile."""
    builder, kind = tile.builder, tile.kind
    for first, mask in _squares(tile):
        rows = []
        for r in range(kind.count):
            offset = builder.add(builder.mul(ir.Constant(INT64, r), tile.n_classes), first)
            rows.append(load(builder, builder.gep(data, [offset]), kind, mask, constant(kind, 0.0)))
        for j, column in enumerate(_transposed(builder, rows)):
            tile.put(builder.add(first, ir.Constant(INT64, j)), column)


def _write(tile: _Tile, target: Any) -> None:
    """Emit code that writes the tile to as many rows, from `target` on."""
    builder, kind = tile.builder, tile.kind
    for first, mask in _squares(tile):
        columns = [tile.get(builder.add(first, ir.Constant(INT64, j))) for j in range(kind.count)]
        for r, row in enumerate(_transposed(builder, columns)):
            offset = builder.add(builder.mul(ir.Constant(INT64, r), tile.n_classes), first)
            store(builder, row, builder.gep(target, [offset]), mask)


def _maximum(tile: _Tile) -> Any:
    """Emit the largest element of each row, passing over NaN (the exponentials' sum finds it)."""
    builder = tile.builder
    best = cgutils.alloca_once_value(builder, constant(tile.kind, -np.inf))
    with tile.classes() as loop:
        x, before = tile.get(loop.index), builder.load(best)
        builder.store(builder.select(builder.fcmp_ordered(">", x, before), x, before), best)
    return builder.load(best)


def _exponentials(tile: _Tile, shift: Any, ahead: Any, target: Any, *, stored: bool) -> Any:
    """Emit Σ e^(z − shift) − 1, summed without its largest term, and leave the exponentials in the tile.

    One of the maxima is the 1 that is left out; the sum of the others keeps its digits. Meanwhile the memory
    of the next tile is fetched, and that of the target, where there is one.
    """
    builder, kind = tile.builder, tile.kind
    zero = constant(kind, 0.0)
    count = cgutils.alloca_once_value(builder, constant(kind, -1.0))
    others = cgutils.alloca_once_value(builder, zero)
    with builder.if_else(tile.exact) as branches:
        for branch, exact in zip(branches, (True, False)):
            with branch, tile.classes() as loop:
                _fetch(tile, loop.index, ahead, to_write=False)
                if target is not None:
                    _fetch(tile, loop.index, target, to_write=True)
                e = emit_exp(builder, tile.get(loop.index), shift, exact=exact)
                if stored:
                    tile.put(loop.index, e)
                add_apart(builder, e, count, others)
    return builder.fadd(builder.load(count), builder.load(others))


def _scale(tile: _Tile, factor: Any) -> None:
    builder = tile.builder
    with tile.classes() as loop:
        tile.put(loop.index, builder.fmul(tile.get(loop.index), factor))


def _all_finite(builder: Any, vector: Any) -> Any:
    """Emit whether every lane is finite."""
    kind = vector.type
    name = f"llvm.fabs.{suffix(kind)}"
    below = builder.fcmp_ordered("<", call(builder, name, kind, [vector]), constant(kind, np.inf))
    return _all(builder, below)


def _all(builder: Any, mask: Any) -> Any:
    bits = builder.bitcast(mask, ir.IntType(mask.type.count))
    return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 2**mask.type.count - 1))


def _true_places(tile: _Tile, labels: Any) -> list[Any]:
    """Return the label of each row, or 0 for one that is no class (it is not looked at)."""
    builder = tile.builder
    places = []
    for r in range(tile.kind.count):
        label = builder.load(builder.gep(labels, [ir.Constant(INT64, r)]))
        # As an unsigned number a negative label is large.
        valid = builder.icmp_unsigned("<", label, tile.n_classes)
        places.append(builder.select(valid, label, ir.Constant(INT64, 0)))
    return places


def _gathered(tile: _Tile, places: list[Any]) -> Any:
    """Return of each row what the tile holds of its own class."""
    builder, kind = tile.builder, tile.kind
    gathered = ir.Constant(kind, ir.Undefined)
    for r, place in enumerate(places):
        lanes = builder.bitcast(tile.at(place), kind.element.as_pointer())
        lane = builder.gep(lanes, [ir.Constant(INT64, r)])
        gathered = builder.insert_element(gathered, builder.load(lane), ir.Constant(INT32, r))
    return gathered


def _is_matrix(kind: Any) -> bool:
    floats = (types.float32, types.float64)
    return isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and kind.dtype in floats


def _tile_of(
    context: Any, builder: Any, matrix: Any, value: Any, first: Any, exact: Any
) -> tuple[_Tile, Any]:
    """Return a tile read from the rows `first` and on of a matrix, and the address of the next one."""
    kind = vector_type(matrix.dtype)
    array = context.make_array(matrix)(context, builder, value)
    n_classes = builder.extract_value(array.shape, 1)
    room = cgutils.alloca_once(builder, kind, size=ir.Constant(INT64, MOST_CLASSES))
    tile = _Tile(builder, kind, n_classes, room, exact)
    data = builder.gep(array.data, [builder.mul(first, n_classes)])
    _read(tile, data)
    size = builder.mul(n_classes, ir.Constant(INT64, kind.count))
    return tile, builder.gep(data, [size])


def _rows_of(context: Any, builder: Any, matrix: Any, value: Any, first: Any) -> Any:
    array = context.make_array(matrix)(context, builder, value)
    width = builder.extract_value(array.shape, 1) if matrix.ndim == 2 else ir.Constant(INT64, 1)
    return builder.gep(array.data, [builder.mul(first, width)])


def _tile_function(emit: Callable[[_Tile, Any, Any, Any], None], *, finite: bool) -> Any:
    """Return the typing of f(x, out, first, exact) -> whether the tile was written.

    `emit(tile, shift, target, ahead)` works on the tile and writes it. With `finite`, a tile with an infinite
    maximum is left alone, for the caller to take row by row.
    """

    def typed(typingctx, x, out, first, exact):
        flat = isinstance(out, types.Array) and out.layout == "C"
        if not (_is_matrix(x) and flat and x.dtype == out.dtype):
            return None

        def codegen(context, builder, signature, arguments):
            row = context.cast(builder, arguments[2], signature.args[2], types.int64)
            tile, ahead = _tile_of(context, builder, x, arguments[0], row, arguments[3])
            target = _rows_of(context, builder, out, arguments[1], row)
            shift = _maximum(tile)
            done = _all_finite(builder, shift) if finite else ir.Constant(ir.IntType(1), 1)
            with builder.if_then(done, likely=True):
                emit(tile, shift, target, ahead)
            return done

        return types.boolean(x, out, first, exact), codegen

    return typed


def _emit_softmax(tile: _Tile, shift: Any, target: Any, ahead: Any) -> None:
    builder = tile.builder
    one = constant(tile.kind, 1.0)
    beside = _exponentials(tile, shift, ahead, target, stored=True)
    _scale(tile, builder.fdiv(one, builder.fadd(one, beside)))
    _write(tile, target)


def _emit_log_softmax(tile: _Tile, shift: Any, target: Any, ahead: Any) -> None:
    builder = tile.builder
    log_total = emit_log1p(builder, _exponentials(tile, shift, ahead, target, stored=False))
    with tile.classes() as loop:
        x = builder.fsub(builder.fsub(tile.get(loop.index), shift), log_total)
        tile.put(loop.index, x)
    _write(tile, target)


def _emit_logsumexp(tile: _Tile, shift: Any, target: Any, ahead: Any) -> None:
    builder = tile.builder
    log_total = emit_log1p(builder, _exponentials(tile, shift, ahead, None, stored=False))
    store(builder, builder.fadd(shift, log_total), target)


@intrinsic
def softmax_tile(typingctx, x, out, first, exact):
    """Write the softmax of the rows from `first` on to out; return True.

    `exact`, here and below, is that of `emit_exp`.
    """
    return _tile_function(_emit_softmax, finite=False)(typingctx, x, out, first, exact)


@intrinsic
def log_softmax_tile(typingctx, x, out, first, exact):
    """Write the log-softmax of the rows from `first` on to out, or return False."""
    return _tile_function(_emit_log_softmax, finite=True)(typingctx, x, out, first, exact)


@intrinsic
def logsumexp_tile(typingctx, x, out, first, exact):
    """Write log Σ e^x of the rows from `first` on to out (n,), or return False."""
    return _tile_function(_emit_logsumexp, finite=True)(typingctx, x, out, first, exact)


@intrinsic
def cross_entropy_tile(typingctx, x, slopes, target, ignore_index, own, values, first, with_slopes, exact):
    """Write own · ℓ and own · ∂ℓ/∂z of the rows from `first` on; the targets are integers.

    `target` (n,) int64 is indexed by row; `own` and `values` (lanes,) are of the tile alone. A row with
    own = 0, or whose target is `ignore_index`, gets exact zeros whatever it holds. Slopes are written if
    `with_slopes`.
    Returns the tile's Σ own · ℓ.
    """
    if not (_is_matrix(x) and _is_matrix(slopes) and x.dtype == slopes.dtype == own.dtype == values.dtype):
        return None

    def codegen(context, builder, signature, arguments):
        row = context.cast(builder, arguments[6], signature.args[6], types.int64)
        tile, ahead = _tile_of(context, builder, x, arguments[0], row, arguments[8])
        target_rows = _rows_of(context, builder, slopes, arguments[1], row)
        kind = tile.kind
        zero, one = constant(kind, 0.0), constant(kind, 1.0)
        labels = _rows_of(context, builder, target, arguments[2], row)
        places = _true_places(tile, labels)
        zeroth = ir.Constant(INT64, 0)
        weight = load(builder, _rows_of(context, builder, own, arguments[4], zeroth), kind)
        ignored = context.cast(builder, arguments[3], signature.args[3], types.int64)
        is_ignored = builder.icmp_signed(
            "==",
            load(builder, labels, ir.VectorType(INT64, kind.count)),
            splat(builder, ignored, kind.count),
        )
        weight = builder.select(is_ignored, zero, weight)
        shift = _maximum(tile)
        # Label by label: to compare all classes with it would cost a step for each of them.
        true = _gathered(tile, places)
        beside = _exponentials(tile, shift, ahead, target_rows, stored=True)
        counts = builder.fcmp_ordered("!=", weight, zero)
        loss = builder.fsub(emit_log1p(builder, beside), builder.fsub(true, shift))
        loss = builder.select(counts, builder.fmul(weight, loss), zero)
        store(builder, loss, _rows_of(context, builder, values, arguments[5], zeroth))
        wide = ir.VectorType(ir.DoubleType(), kind.count)
        terms = builder.fpext(loss, wide) if kind != wide else loss
        sum_of = f"llvm.vector.reduce.fadd.{suffix(wide)}"
        start = constant(wide.element, 0.0)
        value = call(builder, sum_of, wide.element, [start, terms], flags=("reassoc",))
        with builder.if_then(arguments[7]):
            total = builder.fadd(one, beside)
            factor = builder.fdiv(weight, total)
            e = _gathered(tile, places)
            # Of the true class the sum over the others: p − 1 would lose a confident row's digits.
            rest = builder.select(builder.fcmp_ordered("==", e, one), beside, builder.fsub(total, e))
            slope = builder.select(counts, builder.fneg(builder.fmul(rest, factor)), zero)
            _scale(tile, factor)
            some_do_not = builder.not_(_all(builder, counts))
            with builder.if_then(some_do_not, likely=False), tile.classes() as loop:
                tile.put(loop.index, builder.select(counts, tile.get(loop.index), zero))
            _write(tile, target_rows)
            for r, place in enumerate(places):
                offset = builder.add(builder.mul(ir.Constant(INT64, r), tile.n_classes), place)
                lane = builder.extract_element(slope, ir.Constant(INT32, r))
                builder.store(lane, builder.gep(target_rows, [offset]))
        return value

    kinds = (x, slopes, target, ignore_index, own, values, first, with_slopes, exact)
    return types.float64(*kinds), codegen


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one
    from fastsoftmax.kernels.plain_tiles import (
        cross_entropy_tile,
        log_softmax_tile,
        logsumexp_tile,
        softmax_tile,
    )

"""A tile of rows of logits in registers, a row a lane: reading, writing, maxima, exponentials, true classes.

The pieces of which `fastsoftmax.simd.row_tiles` makes its functions. They emit LLVM's vector code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from fastsoftmax.runtime.numba_internals import cgutils
from fastsoftmax.simd.exp import constant, emit_exp
from fastsoftmax.simd.registers import (
    INT32,
    INT64,
    add_apart,
    call,
    load,
    prefetch,
    splat,
    store,
    suffix,
    vector_type,
)
from fastsoftmax.simd.sizes import MAX_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator


class Tile(NamedTuple):
    """A tile of rows, transposed into `workspace` (K, lanes), as the code generators see it.

    `exact` (a run-time bool) asks for exponentials of exact differences.
    """

    builder: Any
    kind: Any
    n_classes: Any
    workspace: Any
    exact: Any

    def classes(self) -> Any:
        """Emit a loop over the classes."""
        return cgutils.for_range(self.builder, self.n_classes)

    def at(self, k: Any) -> Any:
        """Return the address of class k's lanes."""
        return self.builder.gep(self.workspace, [k])

    def get(self, k: Any) -> Any:
        """Return the register of class k."""
        return self.builder.load(self.at(k))

    def put(self, k: Any, value: Any) -> None:
        """Write the register of class k."""
        self.builder.store(value, self.at(k))


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Return the transpose of a square of registers, by swapping blocks of 1, 2, 4 … lanes."""
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


def _fetch(tile: Tile, k: Any, data: Any, *, to_write: bool) -> None:
    """Emit a prefetch of the k-th cache line of the tile that begins at `data`.

    Each row of a tile is a stream too short for the hardware prefetcher. One line for each class is fetched
    along with its exponentials, which take about as long; all lines at once would queue up.
    """
    offset = tile.builder.mul(k, ir.Constant(INT64, tile.kind.count))  # lanes · itemsize is a cache line
    prefetch(tile.builder, tile.builder.gep(data, [offset]), to_write=to_write)


def _squares(tile: Tile) -> Iterator[tuple[Any, Any]]:
    """Emit a loop over squares of lanes × lanes; yield the first class and the mask of classes of each."""
    builder, lanes = tile.builder, tile.kind.count
    squares = builder.sdiv(
        builder.add(tile.n_classes, ir.Constant(INT64, lanes - 1)), ir.Constant(INT64, lanes)
    )
    with cgutils.for_range(builder, squares) as loop:
        first = builder.mul(loop.index, ir.Constant(INT64, lanes))
        left = builder.trunc(builder.sub(tile.n_classes, first), INT32)
        numbers = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
        yield first, builder.icmp_signed("<", numbers, splat(builder, left, lanes))


def _read(tile: Tile, data: Any) -> None:
    """Emit code that reads one row for each lane, from `data` on, into the tile."""
    builder, kind = tile.builder, tile.kind
    for first, mask in _squares(tile):
        rows = []
        for r in range(kind.count):
            offset = builder.add(builder.mul(ir.Constant(INT64, r), tile.n_classes), first)
            rows.append(load(builder, builder.gep(data, [offset]), kind, mask, constant(kind, 0.0)))
        for j, column in enumerate(_transposed(builder, rows)):
            tile.put(builder.add(first, ir.Constant(INT64, j)), column)


def write_tile(tile: Tile, target: Any) -> None:
    """Emit code that writes the tile's rows from `target` on."""
    builder, kind = tile.builder, tile.kind
    for first, mask in _squares(tile):
        columns = [tile.get(builder.add(first, ir.Constant(INT64, j))) for j in range(kind.count)]
        for r, row in enumerate(_transposed(builder, columns)):
            offset = builder.add(builder.mul(ir.Constant(INT64, r), tile.n_classes), first)
            store(builder, row, builder.gep(target, [offset]), mask)


def row_maxima(tile: Tile) -> Any:
    """Emit the largest element of each row, ignoring NaN (which the exponentials' sum propagates)."""
    builder = tile.builder
    best = cgutils.alloca_once_value(builder, constant(tile.kind, -np.inf))
    with tile.classes() as loop:
        x, before = tile.get(loop.index), builder.load(best)
        builder.store(builder.select(builder.fcmp_ordered(">", x, before), x, before), best)
    return builder.load(best)


def exponentials(tile: Tile, shift: Any, ahead: Any, target: Any, *, stored: bool) -> Any:
    """Emit Σ e^(z − shift) − 1 of each row; leave the exponentials in the tile if `stored`.

    The largest term, which is 1, is left out of the sum, so that the sum of the others keeps its digits. The
    next tile, at `ahead`, is prefetched meanwhile, and so is `target` unless it is None.
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


def scale_tile(tile: Tile, factor: Any) -> None:
    """Emit the multiplication of every class by a factor for each row."""
    builder = tile.builder
    with tile.classes() as loop:
        tile.put(loop.index, builder.fmul(tile.get(loop.index), factor))


def all_finite(builder: Any, vector: Any) -> Any:
    """Emit whether every lane is finite."""
    kind = vector.type
    name = f"llvm.fabs.{suffix(kind)}"
    below = builder.fcmp_ordered("<", call(builder, name, kind, [vector]), constant(kind, np.inf))
    return all_true(builder, below)


def all_true(builder: Any, mask: Any) -> Any:
    """Emit whether a mask holds for every row."""
    bits = builder.bitcast(mask, ir.IntType(mask.type.count))
    return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 2**mask.type.count - 1))


def true_classes(tile: Tile, labels: Any) -> list[Any]:
    """Return the label of each row, or 0 where it is out of range (such rows are masked later)."""
    builder = tile.builder
    classes = []
    for r in range(tile.kind.count):
        label = builder.load(builder.gep(labels, [ir.Constant(INT64, r)]))
        # As an unsigned number a negative label is large.
        valid = builder.icmp_unsigned("<", label, tile.n_classes)
        classes.append(builder.select(valid, label, ir.Constant(INT64, 0)))
    return classes


def gathered(tile: Tile, classes: list[Any]) -> Any:
    """Emit a register with, for each row, the tile's element of that row's class."""
    builder, kind = tile.builder, tile.kind
    gathered = ir.Constant(kind, ir.Undefined)
    for r, k in enumerate(classes):
        lanes = builder.bitcast(tile.at(k), kind.element.as_pointer())
        lane = builder.gep(lanes, [ir.Constant(INT64, r)])
        gathered = builder.insert_element(gathered, builder.load(lane), ir.Constant(INT32, r))
    return gathered


def is_matrix(kind: Any) -> bool:
    """Whether a Numba type is a C-ordered matrix of float32 or float64."""
    floats = (types.float32, types.float64)
    return isinstance(kind, types.Array) and kind.ndim == 2 and kind.layout == "C" and kind.dtype in floats


def tile_of(context: Any, builder: Any, matrix: Any, value: Any, first: Any, exact: Any) -> tuple[Tile, Any]:
    """Return the tile of rows from `first` on of a matrix, and the address of the next tile."""
    kind = vector_type(matrix.dtype)
    array = context.make_array(matrix)(context, builder, value)
    n_classes = builder.extract_value(array.shape, 1)
    workspace = cgutils.alloca_once(builder, kind, size=ir.Constant(INT64, MAX_CLASSES))
    tile = Tile(builder, kind, n_classes, workspace, exact)
    data = builder.gep(array.data, [builder.mul(first, n_classes)])
    _read(tile, data)
    size = builder.mul(n_classes, ir.Constant(INT64, kind.count))
    return tile, builder.gep(data, [size])


def rows_of(context: Any, builder: Any, matrix: Any, value: Any, first: Any) -> Any:
    """Emit the address of a row of a matrix, or of an element of a vector."""
    array = context.make_array(matrix)(context, builder, value)
    width = builder.extract_value(array.shape, 1) if matrix.ndim == 2 else ir.Constant(INT64, 1)
    return builder.gep(array.data, [builder.mul(first, width)])

"""A pass over dense rows with many coefficients: threads share one gradient, and each adds to pieces of it.

Where a partial gradient for each part would take too much memory, a large tile of rows is worked on by all
threads: products by pieces of the tile's logits, row functions by rows, and the way back by pieces of the
gradient. Beside the gradient only the logits of one tile are held, within a stated limit.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels.cpu.gather import stored
from fastsoftmax.kernels.cpu.sizes import LONG_PIECE, PIECE
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, DType, Loss, Params, RowBlock, Vector

_widen = Kernel("fastsoftmax.kernels.cpu.jitted.shared_gradient", "widen")
_forward = Kernel("fastsoftmax.kernels.cpu.jitted.shared_gradient", "forward")
_row_functions = Kernel("fastsoftmax.kernels.cpu.jitted.shared_gradient", "row_functions")
_back = Kernel("fastsoftmax.kernels.cpu.jitted.shared_gradient", "back")
_add_rows = Kernel("fastsoftmax.kernels.cpu.jitted.shared_gradient", "add_rows")
_write_x_grad = Kernel("fastsoftmax.kernels.cpu.jitted.shared_gradient", "write_X_grad")

# 60 MiB: the logits of a tile, and the tile of X where it has to be widened. More rows a tile would read and
# write the float64 gradient less often, but this is the memory that a pass is allowed beside its result.
TILE_BYTES = 15 * 2**22
MIN_ROWS, MAX_ROWS = 16, 2048
PART_ROWS = 16


def _pieces(n_rows: int, n_columns: int, side: int = PIECE) -> NDArray[np.int64]:
    n_pieces = -(-n_rows // side) * -(-n_columns // side)
    return even_bounds(n_pieces, n_pieces)


def rows_at_a_time(n_features: int, n_outputs: int, itemsize: int) -> int:
    """Return the rows of a tile; `n_outputs` counts the logits of all maps, `itemsize` is the products'."""
    limit = TILE_BYTES // ((n_outputs + n_features) * itemsize)
    step = PIECE if limit >= PIECE else MIN_ROWS  # a piece of few rows takes as long as a whole one
    return max(MIN_ROWS, min(MAX_ROWS, limit // step * step))


def sums(
    verb: Any,
    loss: Loss,
    maps: tuple[Params, ...],
    block: RowBlock,
    n_threads: int | None,
    *,
    row_values: Vector | None,
    X_grad: Array | None,
    coef_grad: bool,
    logits: Array | None,
    dtype: DType,
) -> Sums:
    """Return the sums of a verb over the rows of a dense block; parameters are those of `dense.sums`.

    Extra memory: 60 MiB for the logits of a tile and its rows if they have to be widened, and a copy of the
    coefficients if they are not of `dtype`.
    """
    X: Any = block.X
    n_rows, n_features = X.shape
    coefs = [np.ascontiguousarray(p.coef, dtype) for p in maps]
    intercept = np.stack([p.intercept for p in maps]).astype(dtype, copy=False)
    n_outputs = intercept.shape[1]
    tile_rows = min(n_rows, rows_at_a_time(n_features, len(maps) * n_outputs, dtype.itemsize))
    no_copy = isinstance(X, np.ndarray) and X.dtype == dtype and X.flags.c_contiguous
    rows = stored(X, dtype)
    squared = isinstance(verb, Diagonal)
    workspace = block.empty((0 if no_copy and not squared else tile_rows, n_features), dtype)
    products = block.empty((len(maps), tile_rows, n_outputs), dtype)
    result = Sums.empty((n_outputs, n_features if coef_grad else 0), n_outputs, allocate=block.empty)
    result.joined[:] = 0.0
    row_values = np.empty(0) if row_values is None else row_values
    kept = np.empty((0, n_outputs), dtype) if logits is None else logits
    gemm = blas.gemm_address(dtype)
    values: list[float] = []
    for first in range(0, n_rows, tile_rows):
        count = min(tile_rows, n_rows - first)
        chunk = slice(first, first + count)
        row_parts = even_bounds(count, -(-count // PART_ROWS))
        work = 0.05 * count * n_outputs * n_features
        tile = X[chunk] if no_copy else workspace[:count]
        if not no_copy:
            run(_widen, row_parts, rows, first, tile, work=1.0 * tile.size, n_threads=n_threads)
        with blas.one_thread():
            for m in range(1 if kept.size else 0, len(maps)):
                out = products[m, :count]
                pieces = _pieces(count, n_outputs)
                run(_forward, pieces, gemm, tile, coefs[m], out, work=work, n_threads=n_threads)
            part_values = np.zeros(len(row_parts) - 1)
            run(
                _row_functions, row_parts, verb, loss, products, intercept, kept, block.target, block.weight,
                row_values, first, part_values, work=1.0 * products.size, n_threads=n_threads,
            )  # fmt: skip
            values.extend(part_values)
            dlogits = products[-1, :count]
            if X_grad is not None:
                pieces = _pieces(count, n_features, LONG_PIECE)
                run(
                    _write_x_grad,
                    pieces,
                    gemm,
                    dlogits,
                    coefs[0],
                    X_grad[chunk],
                    work=work,
                    n_threads=n_threads,
                )
            if coef_grad:
                right = np.square(tile, out=workspace[:count]) if squared else tile
                pieces = _pieces(n_outputs, n_features)
                run(_back, pieces, gemm, dlogits, right, result.coef, work=work, n_threads=n_threads)
        classes = even_bounds(n_outputs, -(-n_outputs // PIECE))
        run(_add_rows, classes, dlogits, result.intercept, work=out.size, n_threads=n_threads)
    return replace(result, value=math.fsum(values), weight=float(block.weight.sum()))

"""A pass over dense rows with many coefficients: threads share one gradient, and each has classes of its own.

Where gradients of its own for every thread would take too much room, a large tile of rows is worked on by all
threads together: products by pieces of the tile, the row functions row by row, and the way back by pieces of
the gradient. The logits of a tile exist, in a stated room, and nothing else that grows with n or K.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels import blas
from fastsoftmax.kernels.cpu.gather import stored, tile_of
from fastsoftmax.kernels.cpu.multipliers import multipliers
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.kernels.executor import even_bounds, kernel, run
from fastsoftmax.kernels.gemm import address, product_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, RowBlock

TILE_BYTES = 15 * 2**22  # of logits, and of a tile of X where it has to be widened
LEAST_ROWS, MOST_ROWS = 16, 2048
PIECE = 256  # rows and columns of a product that one thread computes at a time
LONG_PIECE = 128  # of products that sum over all classes: smaller pieces keep every thread busy
ROWS_A_PART = 16


@kernel
def _widen(start, stop, part, X, first, room):
    tile_of(X, first + start, first + stop, room[start:stop])


@kernel
def _forward(start, stop, part, gemm, tile, coef, out):
    """Write pieces start to stop of tile · coefᵀ, (n, K), to out."""
    n_across = (out.shape[1] + PIECE - 1) // PIECE
    for piece in range(start, stop):
        i = piece // n_across * PIECE
        k = piece % n_across * PIECE
        product_to(gemm, tile[i : i + PIECE], coef[k : k + PIECE].T, out[i : i + PIECE, k : k + PIECE])


@kernel
def _rows(start, stop, part, verb, loss, logits, intercept, kept, target, weight, row_values, first, values):
    value, lost = multipliers(
        verb, loss, logits, start, stop, intercept, kept, target, weight, row_values, first + start
    )
    values[part] = value - lost


@kernel
def _back(start, stop, part, gemm, multiplier, tile, coef):
    """Add pieces start to stop of multiplierᵀ · tile, (K, d), to coef."""
    n_outputs, n_features = coef.shape
    n_across = (n_features + PIECE - 1) // PIECE
    room = np.empty(PIECE * PIECE, tile.dtype)
    for piece in range(start, stop):
        k = piece // n_across * PIECE
        j = piece % n_across * PIECE
        last_k, last_j = min(k + PIECE, n_outputs), min(j + PIECE, n_features)
        product = room[: (last_k - k) * (last_j - j)].reshape((last_k - k, last_j - j))
        product_to(gemm, multiplier[:, k:last_k].T, tile[:, j:last_j], product)
        for row in range(k, last_k):
            own = coef[row, j:last_j]
            added = product[row - k]
            for column in range(last_j - j):
                own[column] += added[column]


@kernel
def _add_rows(start, stop, part, multiplier, intercept):
    """Add the multipliers of classes start to stop to intercept."""
    own = intercept[start:stop]
    for i in range(multiplier.shape[0]):
        row = multiplier[i, start:stop]
        for k in range(len(own)):
            own[k] += row[k]


@kernel
def _to_rows(start, stop, part, gemm, multiplier, coef, X_grad):
    """Write pieces start to stop of multiplier · coef, (n, d), to X_grad."""
    n_across = (X_grad.shape[1] + LONG_PIECE - 1) // LONG_PIECE
    for piece in range(start, stop):
        i = piece // n_across * LONG_PIECE
        j = piece % n_across * LONG_PIECE
        rows, columns = slice(i, i + LONG_PIECE), slice(j, j + LONG_PIECE)
        product_to(gemm, multiplier[rows], coef[:, columns], X_grad[rows, columns])


def _pieces(n_rows: int, n_columns: int, side: int = PIECE) -> NDArray[np.int64]:
    n_pieces = -(-n_rows // side) * -(-n_columns // side)
    return even_bounds(n_pieces, n_pieces)


def rows_at_a_time(n_features: int, n_outputs: int, itemsize: int) -> int:
    """Return how many rows are worked on together; `n_outputs` counts the logits of all maps."""
    room = TILE_BYTES // ((n_outputs + n_features) * itemsize)
    step = PIECE if room >= PIECE else LEAST_ROWS  # a last piece of few rows takes as long as a whole one
    return max(LEAST_ROWS, min(MOST_ROWS, room // step * step))


def sums(
    verb: Any,
    loss: Any,
    maps: tuple[Params, ...],
    block: RowBlock,
    n_threads: int | None,
    *,
    row_values: NDArray[np.float64] | None,
    X_grad: NDArray[Any] | None,
    coef_grad: bool,
    logits: NDArray[Any] | None,
    dtype: np.dtype[Any],
) -> Sums:
    """Run a verb over the rows of a dense block; parameters and results are those of `dense.sums`.

    Extra memory: 60 MiB of logits, and of a tile of X if it has to be widened; the coefficients where they
    are not of `dtype`.
    """
    X: Any = block.X
    n_rows, n_features = X.shape
    coefs = [np.ascontiguousarray(p.coef, dtype) for p in maps]
    intercept = np.stack([p.intercept for p in maps]).astype(dtype, copy=False)
    n_outputs = intercept.shape[1]
    tile_rows = min(n_rows, rows_at_a_time(n_features, len(maps) * n_outputs, dtype.itemsize))
    as_it_is = isinstance(X, np.ndarray) and X.dtype == dtype and X.flags.c_contiguous
    rows = stored(X, dtype)
    squared = isinstance(verb, Diagonal)
    room = block.room((0 if as_it_is and not squared else tile_rows, n_features), dtype)
    products = block.room((len(maps), tile_rows, n_outputs), dtype)
    result = Sums.room((n_outputs, n_features if coef_grad else 0), n_outputs, empty=block.room)
    result.joined[:] = 0.0
    row_values = np.empty(0) if row_values is None else row_values
    kept = np.empty((0, n_outputs), dtype) if logits is None else logits
    gemm = address(dtype.name)
    values: list[float] = []
    for first in range(0, n_rows, tile_rows):
        count = min(tile_rows, n_rows - first)
        here = slice(first, first + count)
        few = even_bounds(count, -(-count // ROWS_A_PART))
        work = 0.05 * count * n_outputs * n_features
        tile = X[here] if as_it_is else room[:count]
        if not as_it_is:
            run(_widen, few, rows, first, tile, work=1.0 * tile.size, n_threads=n_threads)
        with blas.one_thread():
            for m in range(1 if kept.size else 0, len(maps)):
                out = products[m, :count]
                pieces = _pieces(count, n_outputs)
                run(_forward, pieces, gemm, tile, coefs[m], out, work=work, n_threads=n_threads)
            own = np.zeros(len(few) - 1)
            run(
                _rows, few, verb, loss, products, intercept, kept, block.target, block.weight, row_values,
                first, own, work=1.0 * products.size, n_threads=n_threads,
            )  # fmt: skip
            values.extend(own)
            multiplier = products[-1, :count]
            if X_grad is not None:
                pieces = _pieces(count, n_features, LONG_PIECE)
                run(
                    _to_rows, pieces, gemm, multiplier, coefs[0], X_grad[here], work=work, n_threads=n_threads
                )
            if coef_grad:
                right = np.square(tile, out=room[:count]) if squared else tile
                pieces = _pieces(n_outputs, n_features)
                run(_back, pieces, gemm, multiplier, right, result.coef, work=work, n_threads=n_threads)
        classes = even_bounds(n_outputs, -(-n_outputs // PIECE))
        run(_add_rows, classes, multiplier, result.intercept, work=out.size, n_threads=n_threads)
    return replace(result, value=math.fsum(values), weight=float(block.weight.sum()))

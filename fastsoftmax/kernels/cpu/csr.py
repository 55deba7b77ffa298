"""A pass over sparse (CSR) rows: forward by rows, back by columns.

Forward, each stored entry reads one contiguous row of the (d, K) coefficients. Back, each column of X sums
its own row of the gradient, so that threads never write to the same element and no gradient is held twice.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Sums, compute_dtype
from fastsoftmax.kernels.cpu import csr_single, partition
from fastsoftmax.kernels.cpu.copies import copy_to
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from fastsoftmax.contracts import Array, DType, Loss, Params, RowBlock, Vector

_forward = Kernel("fastsoftmax.kernels.cpu.jitted.csr", "forward")
_back = Kernel("fastsoftmax.kernels.cpu.jitted.csr", "back", divisible=True)
_write_logits = Kernel("fastsoftmax.kernels.cpu.jitted.csr", "write_logits", divisible=True)
_scatter = Kernel("fastsoftmax.kernels.cpu.jitted.csr", "scatter", divisible=True)
_balanced_bounds = Kernel("fastsoftmax.kernels.cpu.jitted.csr", "balanced_bounds")

# A tile of columns' gradients: fits a second-level cache, and its runs of up to 64 float64 fill cache lines
# where they are written to the (K, d) gradient. Longer runs gain nothing more.
TILE_BYTES = 2**17
MAX_TILE_COLUMNS = 64


def tile_columns(n_outputs: int) -> int:
    """Return how many columns' gradients are summed before they are written."""
    return max(1, min(MAX_TILE_COLUMNS, TILE_BYTES // (8 * n_outputs)))


def columns(X: Csr, out: Array, n_threads: int | None) -> None:
    """Write the transpose of X, dense, to out (d, n), C-ordered."""
    bounds = even_bounds(X.shape[0], partition.MAX_PARTS)
    run(_scatter, bounds, X.data, X.indices, X.indptr, out, work=out.size, n_threads=n_threads)


def balanced_bounds(indptr: Array, n_parts: int) -> NDArray[np.int64]:
    """Return the bounds, int64 (≤ n_parts + 1,), of ranges of rows with nearly equal numbers of entries.

    A row counts as one entry more, since even an empty one takes time. Found by bisection in `indptr` (n +
    1,).
    """
    n_rows = len(indptr) - 1
    bounds = np.zeros(max(1, min(n_parts, n_rows)) + 1, np.int64)
    n_found = np.zeros(1, np.int64)
    _balanced_bounds.serial(0, n_rows, 0, indptr, bounds, n_found)
    return bounds[: n_found[0] + 1]


def _product_work(X: Csr, n_outputs: int) -> float:
    """Return the approximate nanoseconds of a product on one thread: most of it is gathering entries."""
    return len(X.data) * (4.0 + 0.3 * n_outputs)


def sums(
    verb: Any,
    loss: Loss,
    maps: tuple[Params, ...],
    block: RowBlock,
    n_threads: int | None,
    *,
    row_values: Vector | None = None,
    X_grad: Array | None = None,
    coef_grad: bool = True,
    logits: Array | None = None,
    dtype: DType | None = None,
) -> Sums:
    """Return the sums of a verb over the rows of a sparse block.

    Parameters are those of `dense.sums`.

    Notes
    -----
    Reads X once by rows and once by columns (not with `coef_grad` False); 4·m·E·K flops at most for E stored
    entries. Rows of one output and one map that have no transpose are read by rows alone (`csr_single`).
    Extra memory: the (n, K) dlogits of the block, whose number of rows its source limits, and a transposed
    copy of the coefficients.
    """
    X: Any = block.X
    n_rows, n_features = X.shape
    n_outputs = len(maps[0].intercept)
    by_rows = X.transpose is None and n_outputs == len(maps) == 1 and coef_grad
    if by_rows and row_values is None and X_grad is None:
        parts = csr_single.n_parts(len(X.data), n_features)
        bounds = balanced_bounds(X.indptr, parts)
        return csr_single.sums(verb, loss, maps[0], block, bounds, n_threads, logits)
    dtype = compute_dtype(X, dtype)
    # Kernels read coefficients by feature, (d, K); parameters are (K, d).
    coef = block.empty((len(maps), n_features, n_outputs), dtype)
    for m in range(1 if logits is not None and X_grad is None else 0, len(maps)):
        copy_to(coef[m], maps[m].coef.T, n_threads)
    intercept = np.stack([p.intercept for p in maps]).astype(dtype, copy=False)
    data = X.data.astype(dtype, copy=False)
    bounds = balanced_bounds(X.indptr, partition.MAX_PARTS)
    n_parts = len(bounds) - 1
    values = np.zeros(n_parts)
    intercepts = np.zeros((n_parts, n_outputs))
    dlogits = block.empty((n_rows, n_outputs), dtype)
    row_values = np.empty(0) if row_values is None else row_values
    kept = np.empty((0, n_outputs), dtype) if logits is None else logits
    work, tile_rows = _product_work(X, n_outputs), partition.sparse_tile_rows(n_outputs, len(maps))
    run(
        _forward, bounds, verb, loss, data, X.indices, X.indptr, block.target, block.weight, coef,
        intercept, tile_rows, kept, dlogits, values, row_values, intercepts,
        work=work * len(maps) + n_rows * (15.0 + 8.0 * n_outputs), n_threads=n_threads,
    )  # fmt: skip
    if X_grad is not None:
        np.dot(dlogits, coef[0].T, X_grad)
    gradient = Sums.empty((n_outputs, n_features if coef_grad else 0), n_outputs, allocate=block.empty)
    np.sum(intercepts, axis=0, out=gradient.intercept)
    if coef_grad:
        transpose = X.transpose
        run(
            _back, balanced_bounds(transpose.indptr, partition.MAX_PARTS), isinstance(verb, Diagonal),
            transpose.data.astype(dtype, copy=False), transpose.indices, transpose.indptr, dlogits,
            tile_columns(n_outputs), gradient.coef,
            work=work + 10.0 * n_features, n_threads=n_threads,
        )  # fmt: skip
    return replace(gradient, value=math.fsum(values), weight=float(block.weight.sum()))


def many_sums(
    verb: Any,
    loss: Loss,
    sets: list[tuple[Params, ...]],
    block: RowBlock,
    weights: Vector,
    n_threads: int | None,
    *,
    dtype: DType | None = None,
) -> list[Sums]:
    """Return the sums of a verb for each of s parameters, each with its own row of `weights` (s, n).

    One pass for each: with sparse rows it is reading the coefficients that takes the time, not the entries.
    """
    return [
        sums(verb, loss, maps, block._replace(weight=weight), n_threads, dtype=dtype)
        for maps, weight in zip(sets, weights, strict=True)
    ]


def logits(
    params: Params,
    X: Csr,
    n_threads: int | None,
    dtype: DType | None = None,
    out: Array | None = None,
    buffers: BufferPool | None = None,
) -> Array:
    """Return the logits X Wᵀ + b, (n, K) C-ordered, in the dtype of products with X; in `out` if given.

    2·E·K flops for E stored entries, and a transposed copy of the coefficients, from `buffers` if given.
    """
    dtype = compute_dtype(X, dtype)
    coef = (buffers or BufferPool()).array(params.coef.T.shape, dtype)
    copy_to(coef, params.coef.T, n_threads)
    intercept = params.intercept.astype(dtype)
    out = np.empty((X.shape[0], len(intercept)), dtype) if out is None else out
    bounds = even_bounds(X.shape[0], partition.MAX_PARTS)
    work = _product_work(X, len(intercept))
    data = X.data.astype(dtype, copy=False)
    run(
        _write_logits, bounds, data, X.indices, X.indptr, coef, intercept, out, work=work, n_threads=n_threads
    )
    return out


def in_float64(X: Csr) -> tuple[csr_array, NDArray[np.intp]]:
    """Return the rows in float64, of those columns that have entries, and the indices of these columns."""
    from scipy.sparse import csr_array

    columns, places = np.unique(X.indices, return_inverse=True)
    shape = X.shape[0], len(columns)
    return csr_array((X.data.astype(np.float64), places, X.indptr), shape=shape), columns


def to_float64(X: Csr, out: Vector) -> None:
    """Write the rows to out (n, d), float64, with all their zeros."""
    found, columns = in_float64(X)
    out[:] = 0.0
    out[:, columns] = found.toarray()

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
from fastsoftmax.kernels.cpu import partition
from fastsoftmax.kernels.cpu.copies import copy_to
from fastsoftmax.kernels.cpu.dlogits import to_dlogits
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.runtime.executor import even_bounds, kernel, run
from fastsoftmax.runtime.jit import inner, jit
from fastsoftmax.simd import compensated
from fastsoftmax.simd.sparse_row import gathered_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from fastsoftmax.contracts import Array, DType, Loss, Params, RowBlock, Vector

SUM_ENTRIES = (
    128  # terms of a sum in the products' dtype, then it goes on in float64: float32 would lose digits
)
# A tile of columns' gradients: fits a second-level cache, and its runs of up to 64 float64 fill cache lines
# where they are written to the (K, d) gradient. Longer runs gain nothing more.
TILE_BYTES = 2**17
MAX_TILE_COLUMNS = 64


@kernel
def _forward(
    start, stop, part, verb, loss, data, indices, indptr, target, weight, coef, intercept, tile_rows,
    kept, dlogits, values, row_values, intercepts,
):  # fmt: skip
    """Write the weighted dlogits of the rows of one part, and sum their values and dlogits.

    Parameters
    ----------
    verb, loss : named tuples
        What is computed of each row's logits (`verbs`), and of which loss.
    data, indices, indptr : arrays
        CSR arrays of X; `data` is of the dtype of the products.
    target : array (n,) or (n, K)
    weight : array (n,), float64
    coef : array (m, d, K)
        The linear map (m = 1), or the map and a direction (m = 2), transposed.
    intercept : array (m, K)
    tile_rows : int
        How many rows' logits are computed together.
    kept : array (n, K), or empty
        Known logits of the first map, which are then not computed.
    dlogits : array (n, K)
        Receives wᵢ times the row's dlogits.
    values : array (parts,), float64
        Receives Σ wᵢ ℓᵢ (compensated).
    row_values : array (n,), or empty
        Receives wᵢ ℓᵢ.
    intercepts : array (parts, K), float64
        Receives, by addition, the sum of the dlogits.
    """
    n_maps, n_outputs = intercept.shape
    logits = np.empty((n_maps, tile_rows, n_outputs), coef.dtype)
    value = 0.0
    lost = 0.0
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        for m in range(1 if kept.size else 0, n_maps):
            for i in range(n_rows):
                left, right = indptr[first + i], indptr[first + i + 1]
                gathered_sum(data, indices, left, right, False, coef[m], logits[m, i])
        tile_value, _ = to_dlogits(
            verb, loss, logits, 0, n_rows, intercept, kept, target, weight, row_values, first
        )
        value, lost = compensated.add(value, lost, tile_value)
        for i in range(n_rows):
            row = logits[n_maps - 1, i]
            for k in range(n_outputs):
                dlogits[first + i, k] = row[k]
                intercepts[part, k] += row[k]
    values[part] = value


@kernel
def _back(start, stop, _, squared, data, rows, indptr, dlogits, tile_columns, gradient):
    """Write Σᵢ xᵢⱼ dlogitsᵢₖ for columns j from start to stop to gradient (K, d); xᵢⱼ² where `squared`.

    `data`, `rows`, `indptr` are the CSC arrays of X, `dlogits` is (n, K). `tile_columns` columns of X at a
    time, so that whole cache lines of the gradient are written.
    """
    n_outputs = dlogits.shape[1]
    sums = np.empty(n_outputs, dlogits.dtype)
    tile = np.empty((tile_columns, n_outputs))
    for left in range(start, stop, tile_columns):
        right = min(left + tile_columns, stop)
        for j in range(left, right):
            total = tile[j - left]
            total[:] = 0.0
            # A long float32 sum would lose digits: float64 accumulation of sums of a few entries.
            for first in range(indptr[j], indptr[j + 1], SUM_ENTRIES):
                last = min(first + SUM_ENTRIES, indptr[j + 1])
                gathered_sum(data, rows, first, last, squared, dlogits, sums)
                for k in range(n_outputs):
                    total[k] += sums[k]
        for k in range(n_outputs):
            for j in range(left, right):
                gradient[k, j] = tile[j - left, k]


@inner
def logits_to(start, stop, data, indices, indptr, coef, intercept, out):
    """Write b + Σⱼ xⱼ Wⱼ of CSR rows start to stop to the same rows of out (n, K); coef W is (d, K)."""
    for i in range(start, stop):
        z = out[i]
        gathered_sum(data, indices, indptr[i], indptr[i + 1], False, coef, z)
        for k in range(z.shape[0]):
            z[k] += intercept[k]


@kernel
def _logits(start, stop, _, data, indices, indptr, coef, intercept, out):
    logits_to(start, stop, data, indices, indptr, coef, intercept, out)


@kernel
def _scatter(start, stop, _, data, indices, indptr, out):
    """Write CSR rows start to stop, dense, to the same columns of out (d, n)."""
    out[:, start:stop] = 0.0
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            out[indices[e], i] += data[e]


def columns(X: Csr, out: Array, n_threads: int | None) -> None:
    """Write the transpose of X, dense, to out (d, n), C-ordered."""
    bounds = even_bounds(X.shape[0], partition.MAX_PARTS)
    run(_scatter, bounds, X.data, X.indices, X.indptr, out, work=out.size, n_threads=n_threads)


@jit
def balanced_bounds(indptr, n_parts):
    """Return the bounds, int64 (≤ n_parts + 1,), of ranges of rows with nearly equal numbers of entries.

    A row counts as one entry more, since even an empty one takes time. Found by bisection in `indptr` (n +
    1,).
    """
    n_rows = len(indptr) - 1
    n_parts = max(1, min(n_parts, n_rows))
    start = np.int64(indptr[0])
    total = np.int64(indptr[n_rows]) - start + n_rows
    bounds = np.zeros(n_parts + 1, np.int64)
    last = 0
    for part in range(1, n_parts + 1):
        wanted = part * (total / n_parts)
        low, high = bounds[last], n_rows
        while low < high and part < n_parts:
            middle = (low + high) // 2
            if np.int64(indptr[middle]) - start + middle < wanted:
                low = middle + 1
            else:
                high = middle
        if high > bounds[last]:
            last += 1
            bounds[last] = high
    return bounds[: last + 1]


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
    entries. Extra memory: the (n, K) dlogits of the block, whose number of rows its source limits, and a
    transposed copy of the coefficients.
    """
    X: Any = block.X
    n_rows, n_features = X.shape
    dtype = compute_dtype(X, dtype)
    n_outputs = len(maps[0].intercept)
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
            max(1, min(MAX_TILE_COLUMNS, TILE_BYTES // (8 * n_outputs))), gradient.coef,
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
    run(_logits, bounds, data, X.indices, X.indptr, coef, intercept, out, work=work, n_threads=n_threads)
    return out


def in_float64(X: Csr) -> tuple[csr_array, NDArray[np.intp]]:
    """Return the rows in float64, of those columns that have entries, and the indices of these columns."""
    from scipy.sparse import csr_array

    columns, places = np.unique(X.indices, return_inverse=True)
    shape = X.shape[0], len(columns)
    return csr_array((X.data.astype(np.float64), places, X.indptr), shape=shape), columns

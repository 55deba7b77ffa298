"""A pass over sparse rows: forward by rows, back by columns.

Forward, each stored entry touches one contiguous row of the (d, K) coefficients. Back, each column of X sums
its own row of the gradient, so that no two threads ever write to one place and no gradient is held twice.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Sums
from fastsoftmax.kernels import compensated
from fastsoftmax.kernels.cpu import partition
from fastsoftmax.kernels.cpu.layout import copy_to
from fastsoftmax.kernels.cpu.multipliers import multipliers
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.kernels.executor import even_bounds, kernel, run
from fastsoftmax.kernels.gathered import gathered_sum
from fastsoftmax.kernels.jit import jit
from fastsoftmax.memory import Memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, RowBlock

SUM_ENTRIES = 128
TILE_BYTES = 2**17
MOST_TILE_COLUMNS = 64


@kernel
def _forward(
    start, stop, part, verb, loss, data, indices, indptr, target, weight, coef, intercept, tile_rows,
    kept, multiplier, values, row_values, intercepts,
):  # fmt: skip
    """Write w·multiplier of each row of a part, and sum the values and the multipliers."""
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
        tile_value, _ = multipliers(
            verb, loss, logits, 0, n_rows, intercept, kept, target, weight, row_values, first
        )
        value, lost = compensated.add(value, lost, tile_value)
        for i in range(n_rows):
            row = logits[n_maps - 1, i]
            for k in range(n_outputs):
                multiplier[first + i, k] = row[k]
                intercepts[part, k] += row[k]
    values[part] = value


@kernel
def _back(start, stop, _, squared, data, rows, indptr, multiplier, tile_columns, gradient):
    """Write Σ x_ij · multiplier_i for the columns start to stop to gradient (K, d); x_ij² where `squared`.

    A few columns of X at a time, so that whole cache lines of the gradient are written.
    """
    n_outputs = multiplier.shape[1]
    sums = np.empty(n_outputs, multiplier.dtype)
    tile = np.empty((tile_columns, n_outputs))
    for left in range(start, stop, tile_columns):
        right = min(left + tile_columns, stop)
        for j in range(left, right):
            total = tile[j - left]
            total[:] = 0.0
            # A long float32 sum would lose digits: so many entries at a time, which are added in float64.
            for first in range(indptr[j], indptr[j + 1], SUM_ENTRIES):
                last = min(first + SUM_ENTRIES, indptr[j + 1])
                gathered_sum(data, rows, first, last, squared, multiplier, sums)
                for k in range(n_outputs):
                    total[k] += sums[k]
        for k in range(n_outputs):
            for j in range(left, right):
                gradient[k, j] = tile[j - left, k]


@jit
def logits_to(start, stop, data, indices, indptr, coef, intercept, out):
    """Write b + Σ x_j W_j of rows start to stop to the same rows of out; coef is (d, K)."""
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
    """Write rows start to stop to the columns of out (d, n)."""
    out[:, start:stop] = 0.0
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            out[indices[e], i] += data[e]


def columns(X: Csr, out: NDArray[Any], n_threads: int | None) -> None:
    """Write the matrix, turned and dense, to out (d, n)."""
    bounds = even_bounds(X.shape[0], partition.MOST_PARTS)
    run(_scatter, bounds, X.data, X.indices, X.indptr, out, work=out.size, n_threads=n_threads)


@jit
def balanced_bounds(indptr, n_parts):
    """Return the bounds of ranges of rows that hold nearly equal numbers of stored entries.

    Every row costs something even if it is empty, so rows count as entries do.
    """
    n_rows = len(indptr) - 1
    n_parts = max(1, min(n_parts, n_rows))
    start = np.int64(indptr[0])
    total = np.int64(indptr[n_rows]) - start + n_rows
    bounds = np.zeros(n_parts + 1, np.int64)
    last = 0
    for part in range(1, n_parts + 1):
        share = part * (total / n_parts)
        low, high = bounds[last], n_rows
        while low < high and part < n_parts:
            middle = (low + high) // 2
            if np.int64(indptr[middle]) - start + middle < share:
                low = middle + 1
            else:
                high = middle
        if high > bounds[last]:
            last += 1
            bounds[last] = high
    return bounds[: last + 1]


def _product_work(X: Csr, n_outputs: int) -> float:
    """Return about how many nanoseconds one thread needs for a product: an entry is first of all gathered."""
    return len(X.data) * (4.0 + 0.3 * n_outputs)


def compute_dtype(X: Csr) -> np.dtype[Any]:
    """Return the dtype products with X are computed in."""
    return np.dtype(np.float32 if X.data.dtype == np.float32 else np.float64)


def sums(
    verb: Any,
    loss: Any,
    maps: tuple[Params, ...],
    block: RowBlock,
    n_threads: int | None,
    *,
    row_values: NDArray[np.float64] | None = None,
    X_grad: NDArray[Any] | None = None,
    coef_grad: bool = True,
    logits: NDArray[Any] | None = None,
    dtype: Any = None,
) -> Sums:
    """Run a verb over the rows of a sparse block. Reads X once by rows and once by columns.

    `logits` (n, K) are those of the first map, where they are known. `dtype` is that of the products, by
    default the one X has or fits in. `row_values` (n,) and `X_grad` (n, d), where given, receive wᵢ ℓᵢ and
    wᵢ rᵢ W; without `coef_grad` the columns are not read, and that part of the sums is empty. Extra memory:
    the (n, K) multipliers of the block, which its source keeps small.
    """
    X: Any = block.X
    n_rows, n_features = X.shape
    dtype = np.dtype(dtype or compute_dtype(X))
    n_outputs = len(maps[0].intercept)
    # Kernels want (d, K), a row for each feature; parameters are (K, d).
    coef = block.room((len(maps), n_features, n_outputs), dtype)
    for m in range(1 if logits is not None and X_grad is None else 0, len(maps)):
        copy_to(coef[m], maps[m].coef.T, n_threads)
    intercept = np.stack([p.intercept for p in maps]).astype(dtype, copy=False)
    data = X.data.astype(dtype, copy=False)
    bounds = balanced_bounds(X.indptr, partition.MOST_PARTS)
    n_parts = len(bounds) - 1
    values = np.zeros(n_parts)
    intercepts = np.zeros((n_parts, n_outputs))
    multiplier = block.room((n_rows, n_outputs), dtype)
    row_values = np.empty(0) if row_values is None else row_values
    kept = np.empty((0, n_outputs), dtype) if logits is None else logits
    work, tile_rows = _product_work(X, n_outputs), partition.logits_tile(n_outputs, len(maps))
    run(
        _forward, bounds, verb, loss, data, X.indices, X.indptr, block.target, block.weight, coef,
        intercept, tile_rows, kept, multiplier, values, row_values, intercepts,
        work=work * len(maps) + n_rows * (15.0 + 8.0 * n_outputs), n_threads=n_threads,
    )  # fmt: skip
    if X_grad is not None:
        np.dot(multiplier, coef[0].T, X_grad)
    gradient = Sums.room((n_outputs, n_features if coef_grad else 0), n_outputs, empty=block.room)
    np.sum(intercepts, axis=0, out=gradient.intercept)
    if coef_grad:
        turned = X.transpose
        run(
            _back, balanced_bounds(turned.indptr, partition.MOST_PARTS), isinstance(verb, Diagonal),
            turned.data.astype(dtype, copy=False), turned.indices, turned.indptr, multiplier,
            max(1, min(MOST_TILE_COLUMNS, TILE_BYTES // (8 * n_outputs))), gradient.coef,
            work=work + 10.0 * n_features, n_threads=n_threads,
        )  # fmt: skip
    return replace(gradient, value=math.fsum(values), weight=float(block.weight.sum()))


def many_sums(
    verb: Any,
    loss: Any,
    sets: list[tuple[Params, ...]],
    block: RowBlock,
    weights: NDArray[np.float64],
    n_threads: int | None,
    *,
    dtype: Any = None,
) -> list[Sums]:
    """Return the sums of a verb for several parameters, each with row weights (s, n) of its own.

    One after the other: of sparse rows the coefficients are what takes the time to read, not the entries.
    """
    return [
        sums(verb, loss, maps, block._replace(weight=weight), n_threads, dtype=dtype)
        for maps, weight in zip(sets, weights, strict=True)
    ]


def logits(
    params: Params,
    X: Csr,
    n_threads: int | None,
    dtype: Any = None,
    out: NDArray[Any] | None = None,
    memory: Memory | None = None,
) -> NDArray[Any]:
    """Return X Wᵀ + b, (n, K), in the dtype that products with X are computed in; in `out` if given.

    The coefficients are turned, in `memory` if given.
    """
    dtype = np.dtype(dtype or compute_dtype(X))
    coef = (memory or Memory()).array(params.coef.T.shape, dtype)
    copy_to(coef, params.coef.T, n_threads)
    intercept = params.intercept.astype(dtype)
    out = np.empty((X.shape[0], len(intercept)), dtype) if out is None else out
    bounds = even_bounds(X.shape[0], partition.MOST_PARTS)
    work = _product_work(X, len(intercept))
    data = X.data.astype(dtype, copy=False)
    run(_logits, bounds, data, X.indices, X.indptr, coef, intercept, out, work=work, n_threads=n_threads)
    return out

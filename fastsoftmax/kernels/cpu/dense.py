"""A pass over dense rows: one reading of X, tile by tile, forward and back while the tile is in cache."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels import blas, compensated
from fastsoftmax.kernels.cpu import partition, wide
from fastsoftmax.kernels.cpu.gather import columns_to, stored, tile_of
from fastsoftmax.kernels.cpu.multipliers import multipliers
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.kernels.executor import kernel, run
from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.thin import MOST_CLASSES, dots_to, outer_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, RowBlock


@kernel
def _pass(
    start, stop, part, verb, loss, squared, X, target, weight, coef, intercept, tile_rows,
    kept, values, row_values, coefs, intercepts, X_grad,
):  # fmt: skip
    """Sum value, multiplierᵀ X and multiplier over the rows of one part.

    `coef` (m, K, d) and `intercept` (m, K) hold one linear map (m = 1), or the map and a direction (m = 2).
    `kept` (n, K), where it is not empty, holds the first map's logits. `coefs`, `row_values` (n,) and
    `X_grad` (n, d) are filled where they are not empty.
    """
    n_maps, n_outputs, n_features = coef.shape
    thin = n_outputs <= MOST_CLASSES
    room = np.empty((tile_rows, n_features), coef.dtype)
    logits = np.empty((n_maps, tile_rows, n_outputs), coef.dtype)
    product = np.empty((n_outputs, n_features), coef.dtype)
    value = 0.0
    lost = 0.0
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        tile = tile_of(X, first, first + n_rows, room)
        for m in range(1 if kept.size else 0, n_maps):
            if thin:
                dots_to(tile, coef[m], logits[m, :n_rows])
            else:
                np.dot(tile, coef[m].T, logits[m, :n_rows])
        tile_value, _ = multipliers(
            verb, loss, logits, 0, n_rows, intercept, kept, target, weight, row_values, first
        )
        value, lost = compensated.add(value, lost, tile_value)
        multiplier = logits[n_maps - 1, :n_rows]
        for i in range(n_rows):
            for k in range(n_outputs):
                intercepts[part, k] += multiplier[i, k]
        if X_grad.size:
            np.dot(multiplier, coef[0], X_grad[first : first + n_rows])
        if coefs.size:
            if squared:
                for i in range(n_rows):
                    for j in range(n_features):
                        room[i, j] = tile[i, j] * tile[i, j]
                tile = room[:n_rows]
            if thin:
                outer_to(multiplier, tile, product)
            else:
                np.dot(multiplier.T, tile, product)
            for k in range(n_outputs):
                for j in range(n_features):
                    coefs[part, k, j] += product[k, j]
    values[part] = value


@jit
def logits_to(tile, coef, intercept, out):
    """Write the logits of a tile of rows to out (n, K), for coef (K, d); all are C-ordered, of one dtype."""
    if coef.shape[0] <= MOST_CLASSES:
        dots_to(tile, coef, out)
    else:
        np.dot(tile, coef.T, out)
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[i, k] += intercept[k]


@kernel
def _logits(start, stop, part, X, coef, intercept, ranges, tile_rows, out):
    room = np.empty((tile_rows, coef.shape[1]), coef.dtype)
    logits = np.empty(tile_rows * np.max(np.diff(ranges)), coef.dtype)
    for first in range(start, stop, tile_rows):
        last = min(first + tile_rows, stop)
        tile = tile_of(X, first, last, room)
        for r in range(ranges.shape[0] - 1):
            left, right = ranges[r], ranges[r + 1]
            z = logits[: (last - first) * (right - left)].reshape(last - first, right - left)
            logits_to(tile, coef[left:right], intercept[left:right], z)
            out[first:last, left:right] = z


def compute_dtype(X: Any) -> np.dtype[Any]:
    """Return the dtype products with X are computed in: float32 where that holds X's values, else float64."""
    return np.dtype(np.float32 if X.dtype.itemsize <= 2 or X.dtype == np.float32 else np.float64)


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
    """Run a verb over the rows of a dense block. Reads X once; 4·m·n·d·K flops at most.

    `logits` (n, K) are those of the first map, where they are known. `dtype` is that of the products, by
    default the one X has or fits in. `row_values` (n,) and `X_grad` (n, d), where given, receive wᵢ ℓᵢ and
    wᵢ rᵢ W; without `coef_grad` the
    product with Xᵀ is left out, and that part of the sums is empty. Extra memory: at most 64 MiB of partial
    gradients, and a tile for each thread.
    """
    X: Any = block.X
    n_rows, n_features = X.shape
    dtype = np.dtype(dtype or compute_dtype(X))
    if partition.is_wide(maps[0].coef.size):
        return wide.sums(
            verb, loss, maps, block, n_threads, row_values=row_values, X_grad=X_grad, coef_grad=coef_grad,
            logits=logits, dtype=dtype,
        )  # fmt: skip
    coef = np.stack([p.coef for p in maps]).astype(dtype, copy=False)
    intercept = np.stack([p.intercept for p in maps]).astype(dtype, copy=False)
    n_outputs = coef.shape[1]
    tile_rows = partition.tile_rows(n_features, n_outputs, dtype.itemsize, len(maps))
    bounds = partition.row_bounds(n_rows, n_outputs * n_features if coef_grad else 1, tile_rows)
    n_parts = len(bounds) - 1
    values = np.zeros(n_parts)
    coefs = np.zeros((n_parts if coef_grad else 0, n_outputs, n_features))
    intercepts = np.zeros((n_parts, n_outputs))
    row_values = np.empty(0) if row_values is None else row_values
    X_grad = np.empty((0, n_features), dtype) if X_grad is None else X_grad
    kept = np.empty((0, n_outputs), dtype) if logits is None else logits
    with blas.one_thread():
        run(
            _pass, bounds, verb, loss, isinstance(verb, Diagonal), stored(X), block.target, block.weight,
            coef, intercept, tile_rows, kept, values, row_values, coefs, intercepts, X_grad,
            work=0.05 * n_rows * n_features * n_outputs * len(maps), n_threads=n_threads,
        )  # fmt: skip
    result = Sums.room(coefs.shape[1:] if coef_grad else (n_outputs, 0), n_outputs)
    if coef_grad:
        np.sum(coefs, axis=0, out=result.coef)
    np.sum(intercepts, axis=0, out=result.intercept)
    return replace(result, value=math.fsum(values), weight=float(block.weight.sum()))


def logits(
    params: Params,
    X: NDArray[Any],
    n_threads: int | None,
    dtype: Any = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return X Wᵀ + b, (n, K), in the dtype that products with X are computed in; in `out` if given."""
    dtype = np.dtype(dtype or compute_dtype(X))
    coef, intercept = params.coef.astype(dtype), params.intercept.astype(dtype)
    out = np.empty((X.shape[0], len(coef)), dtype) if out is None else out
    ranges = partition.class_bounds(len(coef))
    tile_rows = partition.logits_rows(X.shape[1], int(np.diff(ranges).max()), dtype.itemsize)
    bounds = partition.product_bounds(X.shape[0], coef.size)
    with blas.one_thread():
        run(
            _logits, bounds, stored(X), coef, intercept, ranges, tile_rows, out,
            work=0.03 * X.shape[0] * coef.size, n_threads=n_threads,
        )  # fmt: skip
    return out


def columns(X: NDArray[Any], out: NDArray[Any], n_threads: int | None) -> None:
    """Write the matrix, turned, to out (d, n)."""
    columns_to(X, out, n_threads)

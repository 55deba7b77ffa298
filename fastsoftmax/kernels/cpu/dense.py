"""A pass over dense rows: one reading of X, tile by tile, forward and back while the tile is in cache."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels import blas, compensated
from fastsoftmax.kernels.cpu import partition
from fastsoftmax.kernels.cpu.gather import columns_to, stored, tile_of
from fastsoftmax.kernels.cpu.verbs import Diagonal, apply, apply_together
from fastsoftmax.kernels.executor import even_bounds, kernel, run
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
        multiplier = logits[n_maps - 1, :n_rows]
        for m in range(n_maps):
            for i in range(n_rows):
                for k in range(n_outputs):
                    if weight[first + i] == 0.0:
                        logits[m, i, k] = 0.0  # whatever the row holds, it is not looked at
                    elif m == 0 and kept.size:
                        logits[m, i, k] = kept[first + i, k]
                    else:
                        logits[m, i, k] += intercept[m, k]
        here = slice(first, first + n_rows)
        own_values = row_values[here] if row_values.size else row_values
        done, tile_value = apply_together(verb, loss, multiplier, target[here], weight[here], own_values)
        if done:
            value, lost = compensated.add(value, lost, tile_value)
        else:
            for i in range(n_rows):
                row_weight = weight[first + i]
                s = multiplier[i]
                if row_weight == 0.0:
                    s[:] = 0.0
                    continue
                row_value = row_weight * apply(verb, loss, logits[0, i], s, target[first + i])
                value, lost = compensated.add(value, lost, row_value)
                if row_values.size:
                    row_values[first + i] = row_value
                for k in range(n_outputs):
                    s[k] *= row_weight
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


@kernel
def _logits(start, stop, part, X, coef, intercept, tile_rows, out):
    n_outputs, n_features = coef.shape
    room = np.empty((tile_rows, n_features), coef.dtype)
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        tile = tile_of(X, first, first + n_rows, room)
        np.dot(tile, coef.T, out[first : first + n_rows])
        for i in range(first, first + n_rows):
            for k in range(n_outputs):
                out[i, k] += intercept[k]


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
    coef = np.stack([p.coef for p in maps]).astype(dtype, copy=False)
    intercept = np.stack([p.intercept for p in maps]).astype(dtype, copy=False)
    n_outputs = coef.shape[1]
    tile_rows = partition.tile_rows(n_features, n_outputs * len(maps), dtype.itemsize)
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
    return Sums(math.fsum(values), float(block.weight.sum()), coefs.sum(axis=0), intercepts.sum(axis=0))


def logits(params: Params, X: NDArray[Any], n_threads: int | None, dtype: Any = None) -> NDArray[Any]:
    """Return X Wᵀ + b, (n, K), in the dtype that products with X are computed in."""
    dtype = np.dtype(dtype or compute_dtype(X))
    coef, intercept = params.coef.astype(dtype), params.intercept.astype(dtype)
    tile_rows = partition.tile_rows(X.shape[1], len(coef), dtype.itemsize)
    out = np.empty((X.shape[0], len(coef)), dtype)
    bounds = even_bounds(X.shape[0], max(1, min(partition.MOST_PARTS, X.shape[0] // tile_rows)))
    with blas.one_thread():
        run(
            _logits, bounds, stored(X), coef, intercept, tile_rows, out,
            work=0.03 * X.shape[0] * coef.size, n_threads=n_threads,
        )  # fmt: skip
    return out


def columns(X: NDArray[Any], out: NDArray[Any], n_threads: int | None) -> None:
    """Write the matrix, turned, to out (d, n)."""
    columns_to(X, out, n_threads)

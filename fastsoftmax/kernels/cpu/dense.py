"""A pass over dense rows: one reading of X, tile by tile, forward and back while the tile is in cache."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels import blas, compensated, native
from fastsoftmax.kernels.cpu import partition, wide
from fastsoftmax.kernels.cpu.gather import columns_to, stored, tile_of
from fastsoftmax.kernels.cpu.multipliers import multipliers
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.kernels.executor import kernel, run
from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.thin import MOST_CLASSES, products

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, RowBlock
    from fastsoftmax.memory import Memory


@kernel
def _pass(
    start, stop, part, verb, loss, squared, thin, X, target, weight, coef, intercept, tile_rows,
    kept, values, row_values, coefs, intercepts, X_grad,
):  # fmt: skip
    """Sum value, multiplierᵀ X and multiplier over the rows of one part, for several parameters.

    `coef` (s, m, K, d) and `intercept` (s, m, K) hold s times one linear map (m = 1), or the map and a
    direction (m = 2); `weight` is (s, n). `kept` (n, K), where it is not empty, holds the first map's logits.
    `coefs` (parts, s, K, d), `row_values` (n,) and `X_grad` (n, d) are filled where they are not empty.
    `values` (parts, s, 2) holds the sums and what their rounding has lost: parts may come in pieces of tiles.
    """
    n_sets, n_maps, n_outputs, n_features = coef.shape
    few = n_outputs <= MOST_CLASSES
    room = np.empty((tile_rows, n_features), coef.dtype)
    squares = np.empty((tile_rows if squared else 0, n_features), coef.dtype)
    logits = np.empty((n_maps, tile_rows, n_outputs), coef.dtype)
    product = np.empty((n_outputs, n_features), coef.dtype)
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        tile = tile_of(X, first, first + n_rows, room)
        right = tile
        if squared:
            right = squares[:n_rows]
            for i in range(n_rows):
                for j in range(n_features):
                    right[i, j] = tile[i, j] * tile[i, j]
        for s in range(n_sets):
            for m in range(1 if kept.size else 0, n_maps):
                if few:
                    native.call(thin.dots_to, (tile, coef[s, m], logits[m, :n_rows]))
                else:
                    np.dot(tile, coef[s, m].T, logits[m, :n_rows])
            value, _ = multipliers(
                verb, loss, logits, 0, n_rows, intercept[s], kept, target, weight[s], row_values, first
            )
            total = values[part, s]
            total[0], total[1] = compensated.add(total[0], total[1], value)
            multiplier = logits[n_maps - 1, :n_rows]
            for i in range(n_rows):
                for k in range(n_outputs):
                    intercepts[part, s, k] += multiplier[i, k]
            if X_grad.size:
                np.dot(multiplier, coef[s, 0], X_grad[first : first + n_rows])
            if coefs.size:
                if few:
                    native.call(thin.outer_to, (multiplier, right, product))
                else:
                    np.dot(multiplier.T, right, product)
                for k in range(n_outputs):
                    for j in range(n_features):
                        coefs[part, s, k, j] += product[k, j]


@jit
def logits_to(thin, tile, coef, intercept, out):
    """Write the logits of a tile of rows to out (n, K), for coef (K, d); all are C-ordered, of one dtype."""
    if coef.shape[0] <= MOST_CLASSES:
        native.call(thin.dots_to, (tile, coef, out))
    else:
        np.dot(tile, coef.T, out)
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[i, k] += intercept[k]


@kernel
def _logits(start, stop, part, thin, X, coef, intercept, ranges, tile_rows, out):
    room = np.empty((tile_rows, coef.shape[1]), coef.dtype)
    logits = np.empty(tile_rows * np.max(np.diff(ranges)), coef.dtype)
    for first in range(start, stop, tile_rows):
        last = min(first + tile_rows, stop)
        tile = tile_of(X, first, last, room)
        for r in range(ranges.shape[0] - 1):
            left, right = ranges[r], ranges[r + 1]
            z = logits[: (last - first) * (right - left)].reshape(last - first, right - left)
            logits_to(thin, tile, coef[left:right], intercept[left:right], z)
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
    wᵢ rᵢ W; without `coef_grad` the product with Xᵀ is left out, and that part of the sums is empty. Extra
    memory: at most 64 MiB of partial gradients, and a tile for each thread.
    """
    dtype = np.dtype(dtype or compute_dtype(block.X))
    outputs: dict[str, Any] = {
        "row_values": row_values, "X_grad": X_grad, "coef_grad": coef_grad, "logits": logits, "dtype": dtype
    }  # fmt: skip
    if partition.is_wide(maps[0].coef.size):
        return wide.sums(verb, loss, maps, block, n_threads, **outputs)
    return _sums(verb, loss, [maps], block, block.weight[np.newaxis], n_threads, **outputs)[0]


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

    X is read once for as many of them as have room for their partial gradients, 8 or more parts each.
    """
    dtype = np.dtype(dtype or compute_dtype(block.X))
    size = sets[0][0].coef.size
    if partition.is_wide(size):
        blocks = [block._replace(weight=weight) for weight in weights]
        return [sums(verb, loss, *one, n_threads, dtype=dtype) for one in zip(sets, blocks, strict=True)]
    outputs: dict[str, Any] = {
        "row_values": None, "X_grad": None, "coef_grad": True, "logits": None, "dtype": dtype
    }  # fmt: skip
    found: list[Sums] = []
    step = partition.gradients_together(size)
    for first in range(0, len(sets), step):
        some = slice(first, first + step)
        found += _sums(verb, loss, sets[some], block, weights[some], n_threads, **outputs)
    return found


def _sums(
    verb: Any,
    loss: Any,
    sets: list[tuple[Params, ...]],
    block: RowBlock,
    weights: NDArray[np.float64],
    n_threads: int | None,
    *,
    row_values: NDArray[np.float64] | None,
    X_grad: NDArray[Any] | None,
    coef_grad: bool,
    logits: NDArray[Any] | None,
    dtype: np.dtype[Any],
) -> list[Sums]:
    X: Any = block.X
    n_rows, n_features = X.shape
    coef = np.array([[p.coef for p in maps] for maps in sets], dtype)
    intercept = np.array([[p.intercept for p in maps] for maps in sets], dtype)
    n_sets, n_maps, n_outputs = intercept.shape
    tile_rows = partition.tile_rows(n_features, n_outputs, dtype.itemsize, n_maps)
    size = n_sets * n_outputs * n_features if coef_grad else 1
    bounds = partition.row_bounds(n_rows, size, tile_rows)
    n_parts = len(bounds) - 1
    values = np.zeros((n_parts, n_sets, 2))
    coefs = np.zeros((n_parts if coef_grad else 0, n_sets, n_outputs, n_features))
    intercepts = np.zeros((n_parts, n_sets, n_outputs))
    row_values = np.empty(0) if row_values is None else row_values
    X_grad = np.empty((0, n_features), dtype) if X_grad is None else X_grad
    kept = np.empty((0, n_outputs), dtype) if logits is None else logits
    squared = isinstance(verb, Diagonal)
    work = n_rows * (0.05 * coef.size + 8.0 * intercept.size + 15.0)
    scratch = tile_rows * ((1 + squared) * n_features + n_maps * n_outputs) + n_outputs * n_features
    thin = n_outputs <= MOST_CLASSES and not X_grad.size  # then no product is BLAS's
    with contextlib.nullcontext() if thin else blas.one_thread():
        run(
            _pass, bounds, verb, loss, squared, products(dtype),
            stored(X, dtype), block.target, weights, coef, intercept, tile_rows, kept, values, row_values,
            coefs, intercepts, X_grad,
            work=work, n_threads=n_threads, cut=tile_rows, scratch=scratch * dtype.itemsize,
        )  # fmt: skip
    found = []
    for s in range(n_sets):
        result = Sums.room((n_outputs, n_features if coef_grad else 0), n_outputs, empty=block.room)
        if coef_grad:
            np.sum(coefs[:, s], axis=0, out=result.coef)
        np.sum(intercepts[:, s], axis=0, out=result.intercept)
        found.append(replace(result, value=math.fsum(values[:, s, 0]), weight=float(weights[s].sum())))
    return found


def logits(
    params: Params,
    X: NDArray[Any],
    n_threads: int | None,
    dtype: Any = None,
    out: NDArray[Any] | None = None,
    memory: Memory | None = None,
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
            _logits, bounds, products(dtype), stored(X, dtype), coef, intercept, ranges, tile_rows, out,
            work=0.03 * X.shape[0] * coef.size, n_threads=n_threads,
            scratch=tile_rows * (X.shape[1] + int(np.diff(ranges).max())) * dtype.itemsize,
        )  # fmt: skip
    return out


def columns(X: NDArray[Any], out: NDArray[Any], n_threads: int | None) -> None:
    """Write the matrix, turned, to out (d, n)."""
    columns_to(X, out, n_threads)

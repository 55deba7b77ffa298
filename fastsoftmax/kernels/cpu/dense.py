"""A pass over dense rows: X is read once, tile by tile, forward and back while a tile is in cache."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Halves, Sums, compute_dtype
from fastsoftmax.kernels.cpu import partition, shared_gradient
from fastsoftmax.kernels.cpu.gather import columns_to, products, stored
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import run
from fastsoftmax.runtime.kernels import Kernel
from fastsoftmax.runtime.width import width

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Loss, Params, RowBlock, Vector
    from fastsoftmax.runtime.buffers import BufferPool

_sum_rows = Kernel("fastsoftmax.kernels.cpu.jitted.dense", "sum_rows")
_write_logits = Kernel("fastsoftmax.kernels.cpu.jitted.dense", "write_logits")


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
    """Return the sums of a verb over the rows of a dense block.

    Parameters
    ----------
    verb : LossGrad, Hessp, Diagonal or Dual
    loss : named tuple
    maps : tuple of Params
        One linear map, or the map and a direction: `verb.n_maps` of them.
    block : RowBlock
    n_threads : int or None
    row_values : array (n,), float64, optional
        Receives wᵢ ℓᵢ.
    X_grad : array (n, d), of the dtype of the products, optional
        Receives wᵢ rᵢ W, with rᵢ the dlogits of row i.
    coef_grad : bool
        Without it the product with Xᵀ is left out, and the sums' `coef` is empty.
    logits : array (n, K), of the dtype of the products, optional
        Known logits of the first map.
    dtype : dtype, optional
        Of the products; by default `compute_dtype(X)`.

    Notes
    -----
    Reads X once; 4·m·n·d·K flops at most for m maps. Extra memory: at most 64 MiB of partial float64
    gradients, and a tile for each thread; `shared_gradient` where gradients are too large for that.
    """
    dtype = compute_dtype(block.X, dtype)
    outputs: dict[str, Any] = {
        "row_values": row_values, "X_grad": X_grad, "coef_grad": coef_grad, "logits": logits, "dtype": dtype
    }  # fmt: skip
    if partition.is_wide(maps[0].coef.size):
        return shared_gradient.sums(verb, loss, maps, block, n_threads, **outputs)
    return _sums(verb, loss, [maps], block, block.weight[np.newaxis], n_threads, **outputs)[0]


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

    X is read once for as many parameters, at most 8, as have memory for 8 partial gradients each.
    """
    dtype = compute_dtype(block.X, dtype)
    size = sets[0][0].coef.size
    if partition.is_wide(size):
        blocks = [block._replace(weight=weight) for weight in weights]
        return [
            sums(verb, loss, *arguments, n_threads, dtype=dtype)
            for arguments in zip(sets, blocks, strict=True)
        ]
    outputs: dict[str, Any] = {
        "row_values": None, "X_grad": None, "coef_grad": True, "logits": None, "dtype": dtype
    }  # fmt: skip
    results: list[Sums] = []
    step = partition.gradients_together(size)
    for first in range(0, len(sets), step):
        chosen = slice(first, first + step)
        results += _sums(verb, loss, sets[chosen], block, weights[chosen], n_threads, **outputs)
    return results


def _sums(
    verb: Any,
    loss: Loss,
    sets: list[tuple[Params, ...]],
    block: RowBlock,
    weights: Vector,
    n_threads: int | None,
    *,
    row_values: Vector | None,
    X_grad: Array | None,
    coef_grad: bool,
    logits: Array | None,
    dtype: DType,
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
    coefs = block.zeros((n_parts if coef_grad else 0, n_sets, n_outputs, n_features))
    intercepts = np.zeros((n_parts, n_sets, n_outputs))
    row_values = np.empty(0) if row_values is None else row_values
    X_grad = np.empty((0, n_features), dtype) if X_grad is None else X_grad
    kept = np.empty((0, n_outputs), dtype) if logits is None else logits
    squared = isinstance(verb, Diagonal)
    work = n_rows * (0.05 * coef.size + 8.0 * intercept.size + 15.0)
    scratch = tile_rows * ((1 + squared) * n_features + n_maps * n_outputs) + n_outputs * n_features
    no_blas = n_outputs <= width().max_classes and not X_grad.size  # then BLAS is not called
    with contextlib.nullcontext() if no_blas else blas.one_thread():
        run(
            _sum_rows, bounds, verb, loss, squared, products(dtype),
            stored(X, dtype), block.target, weights, coef, intercept, tile_rows, kept, values, row_values,
            coefs, intercepts, X_grad,
            work=work, n_threads=n_threads, cut=tile_rows, scratch=scratch * dtype.itemsize,
        )  # fmt: skip
    results = []
    for s in range(n_sets):
        result = Sums.empty((n_outputs, n_features if coef_grad else 0), n_outputs, allocate=block.empty)
        if coef_grad:
            np.sum(coefs[:, s], axis=0, out=result.coef)
        np.sum(intercepts[:, s], axis=0, out=result.intercept)
        results.append(replace(result, value=math.fsum(values[:, s, 0]), weight=float(weights[s].sum())))
    return results


def logits(
    params: Params,
    X: Array,
    n_threads: int | None,
    dtype: DType | None = None,
    out: Array | None = None,
    buffers: BufferPool | None = None,
) -> Array:
    """Return the logits X Wᵀ + b, (n, K) C-ordered, in the dtype of products with X; in `out` if given.

    Reads X once, 2·n·d·K flops. `buffers` are not needed: each thread holds one tile.
    """
    dtype = compute_dtype(X, dtype)
    coef, intercept = params.coef.astype(dtype), params.intercept.astype(dtype)
    out = np.empty((X.shape[0], len(coef)), dtype) if out is None else out
    ranges = partition.class_bounds(len(coef))
    tile_rows = partition.logits_rows(X.shape[1], int(np.diff(ranges).max()), dtype.itemsize)
    bounds = partition.product_bounds(X.shape[0], coef.size)
    with blas.one_thread():
        run(
            _write_logits, bounds, products(dtype), stored(X, dtype), coef, intercept, ranges, tile_rows, out,
            work=0.03 * X.shape[0] * coef.size, n_threads=n_threads,
            scratch=tile_rows * (X.shape[1] + int(np.diff(ranges).max())) * dtype.itemsize,
        )  # fmt: skip
    return out


def columns(X: Array, out: Array, n_threads: int | None) -> None:
    """Write the transpose of X to out (d, n), C-ordered, in the dtype of out."""
    columns_to(X, out, n_threads)


def in_float64(X: Array | Halves) -> tuple[Vector, slice]:
    """Return the rows in float64, and the columns that they hold: all."""
    dense = X.bits.view(np.float16) if isinstance(X, Halves) else X
    return dense.astype(np.float64), slice(None)


def to_float64(X: Array | Halves, out: Vector) -> None:
    """Write the rows to out (n, d), float64."""
    np.copyto(out, X.bits.view(np.float16) if isinstance(X, Halves) else X)

"""Weighted Gram matrices Σ cᵢ x̃ᵢ x̃ᵢᵀ of rows with a one appended: the class blocks of a Hessian.

Rows of any storage are taken in chunks, transposed so that a feature is contiguous, and multiplied by BLAS in
panels of the lower triangle.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Params, RowBlock, Sums, row_slice
from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.kernels.cpu.sizes import GRAM_PANEL
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from fastsoftmax.contracts import Centre, DType, Loss

_curvatures = Kernel("fastsoftmax.kernels.cpu.jitted.grams", "curvatures", divisible=True)
_add_grams = Kernel("fastsoftmax.kernels.cpu.jitted.grams", "add_grams")

# A chunk of transposed rows, and as much of their weights: with a panel's copy, 12 MiB beside the result. A
# chunk of fewer than MIN_CHUNK rows would add to the D² result more often than its products are worth.
CHUNK_BYTES = 2**22
MIN_CHUNK, MAX_CHUNK = 256, 4096  # rows


def sums(
    storage: Any,
    loss: Loss,
    params: Params | None,
    pairs: bool,
    block: RowBlock,
    n_threads: int | None,
    *,
    dtype: DType | type,
    classes: tuple[int, int] | None = None,
    centre: Centre | None = None,
) -> Sums:
    """Return the class blocks of the Hessian of Σ wᵢ ℓᵢ with respect to coefficients and intercept.

    Parameters
    ----------
    storage : module
        `dense` or `csr`: `logits` and `columns` for this storage of X.
    loss : named tuple
    params : Params or None
        Where the Hessian is taken. None stands for a curvature of 1: the one block is then Σ wᵢ x̃ᵢ x̃ᵢᵀ.
    pairs : bool
        Whether to return the blocks of all pairs of classes l ≤ k, in the order (0, 0), (1, 0), (1, 1), …,
        not only the diagonal ones.
    block : RowBlock
    n_threads : int or None
    dtype : {float32, float64}
        Of the products and of the result.
    classes : (first, last), optional
        Only the classes from first up to, not including, last; by default all.
    centre : Centre, optional
        Its mean is subtracted from each row before the products, which must be float64: of large numbers with
        a small deviation, the difference of the sums would be rounding.

    Returns
    -------
    Sums
        `coef` holds the blocks, (m, d + 1, d + 1); only their lower triangles are filled. The value is 0 and
        `intercept` empty.

    Notes
    -----
    m n d² flops, and at most 12 MiB beside the result.
    """
    n_rows, n_features = block.X.shape
    left, right = classes or (0, 1 if params is None else len(params.intercept))
    n_outputs = right - left
    n_blocks = n_outputs * (n_outputs + 1) // 2 if pairs else n_outputs
    row_bytes = max(n_features + 1, n_blocks) * np.dtype(dtype).itemsize
    chunk = min(n_rows, max(MIN_CHUNK, min(MAX_CHUNK, CHUNK_BYTES // row_bytes)))
    result = Sums.empty((n_blocks, n_features + 1, n_features + 1), 0, dtype)
    out = result.coef
    out[:] = 0.0
    panels = even_bounds(n_blocks * -(-(n_features + 1) // GRAM_PANEL), MAX_PARTS)
    columns = np.empty((n_features + 1, chunk), dtype)
    weights = np.empty((n_blocks, chunk), dtype)
    for start in range(0, n_rows, chunk):
        rows: Any = row_slice(block.X, start, start + chunk)
        count = rows.shape[0]
        if count < chunk:  # the last rows: the kernel's arrays must be C-contiguous
            columns, weights = columns[:, :count].copy(), weights[:, :count].copy()
        chunk_rows = slice(start, start + count)
        storage.columns(rows, columns[:-1], n_threads)
        if centre is not None:
            columns[centre.columns] -= centre.mean[centre.columns, np.newaxis]
        columns[-1] = 1.0
        if params is None:
            weights[0] = block.weight[chunk_rows]
        else:
            run(
                _curvatures, even_bounds(count, MAX_PARTS), loss, pairs, left, right, storage.logits(params,
                rows, n_threads), block.target[chunk_rows], block.weight[chunk_rows], weights, work=count *
                (20.0 * len(params.intercept) + 2.0 * n_blocks), n_threads=n_threads,
            )  # fmt: skip
        with blas.one_thread():
            run(
                _add_grams, panels, blas.gemm_address(columns.dtype), columns, weights, out,
                work=count * (0.02 * out.size + 0.5 * n_blocks * len(columns)), n_threads=n_threads,
                scratch=GRAM_PANEL * (count + n_features + 1) * out.itemsize,
            )  # fmt: skip
    return replace(result, weight=float(block.weight.sum()))

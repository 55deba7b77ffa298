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
from fastsoftmax.losses.row_functions import row_curvature, row_hessian
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import even_bounds, kernel, run
from fastsoftmax.simd.copies import copy_vector

if TYPE_CHECKING:
    from fastsoftmax.contracts import Centre, DType, Loss

# Rows of the result that are computed at a time. Above the diagonal only a triangle of each panel is computed
# in vain, so a narrow panel saves flops; a wide one is a better shape for BLAS.
PANEL = 128
# A chunk of transposed rows, and as much of their weights: with a panel's copy, 12 MiB beside the result. A
# chunk of fewer than MIN_CHUNK rows would add to the D² result more often than its products are worth.
CHUNK_BYTES = 2**22
MIN_CHUNK, MAX_CHUNK = 256, 4096  # rows


@kernel
def _curvatures(start, stop, _, loss, pairs, left, right, logits, target, weight, out):
    """Write w ∂²ℓ/∂z_k² for classes left to right to out (m, n); with `pairs`, w ∂²ℓ/∂z_k∂z_l for l ≤ k.

    `logits` is (n, K), `weight` (n,), `target` (n,) or (n, K).
    """
    n_outputs = logits.shape[1]
    z = np.empty(n_outputs, logits.dtype)
    hessian = np.empty((n_outputs, n_outputs) if pairs else (0, 0), logits.dtype)
    for i in range(start, stop):
        copy_vector(logits[i], z)
        if not pairs:
            row_curvature(loss, z, target[i])
            for k in range(left, right):
                out[k - left, i] = weight[i] * z[k]
            continue
        row_hessian(loss, z, hessian, target[i])
        place = 0
        for k in range(left, right):
            for other in range(left, k + 1):
                out[place, i] = weight[i] * hessian[k, other]
                place += 1


@kernel
def _add_grams(start, stop, part, columns, weights, out):
    """Add Σᵢ cᵢ x̃ᵢ x̃ᵢᵀ to the lower triangles of out (m, D, D), panels start to stop.

    `columns` (D, n) is X̃ᵀ, `weights` (m, n) holds the c of each matrix.
    """
    n_features, n_rows = columns.shape
    n_panels = (n_features + PANEL - 1) // PANEL
    scaled = np.empty((min(PANEL, n_features), n_rows), columns.dtype)
    workspace = np.empty(len(scaled) * n_features, columns.dtype)
    for index in range(start, stop):
        m, panel = divmod(index, n_panels)
        first = panel * PANEL
        last = min(first + PANEL, n_features)
        for j in range(first, last):
            for i in range(n_rows):
                scaled[j - first, i] = columns[j, i] * weights[m, i]
        product = workspace[: (last - first) * last].reshape((last - first, last))
        np.dot(scaled[: last - first], columns[:last].T, product)
        for j in range(first, last):
            for k in range(last):
                out[m, j, k] += product[j - first, k]


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
    panels = even_bounds(n_blocks * -(-(n_features + 1) // PANEL), MAX_PARTS)
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
                _add_grams, panels, columns, weights, out,
                work=count * (0.02 * out.size + 0.5 * n_blocks * len(columns)), n_threads=n_threads,
                scratch=PANEL * (count + n_features + 1) * out.itemsize,
            )  # fmt: skip
    return replace(result, weight=float(block.weight.sum()))

"""Weighted Gram matrices Σ cᵢ x̃ᵢ x̃ᵢᵀ of rows with a one appended: what a Hessian is made of.

The rows are taken a few at a time, turned so that a feature lies together, and multiplied by BLAS in panels
of the lower triangle, whatever they are stored as.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fastsoftmax.contracts import Params, RowBlock, Sums, row_slice
from fastsoftmax.kernels import blas
from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.executor import even_bounds, kernel, run
from fastsoftmax.losses import row_curvature, row_hessian

PANEL = 128  # rows of the result at a time: all above the diagonal but a triangle of each panel is left out
CHUNK_BYTES = 2**22
LEAST_CHUNK, MOST_CHUNK = 256, 4096


@kernel
def _curvatures(start, stop, _, loss, pairs, left, right, logits, target, weight, out):
    """Write w ∂²ℓ/∂z_k² for classes left to right to out (m, n) or, of `pairs`, w ∂²ℓ/∂z_k∂z_l for l ≤ k."""
    n_outputs = logits.shape[1]
    z = np.empty(n_outputs, logits.dtype)
    hessian = np.empty((n_outputs, n_outputs) if pairs else (0, 0), logits.dtype)
    for i in range(start, stop):
        z[:] = logits[i]
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

    `columns` (D, n) holds the rows of X̃ turned, `weights` (m, n) the c of each matrix.
    """
    n_features, n_rows = columns.shape
    n_panels = (n_features + PANEL - 1) // PANEL
    scaled = np.empty((min(PANEL, n_features), n_rows), columns.dtype)
    room = np.empty(len(scaled) * n_features, columns.dtype)
    for index in range(start, stop):
        m, panel = divmod(index, n_panels)
        first = panel * PANEL
        last = min(first + PANEL, n_features)
        for j in range(first, last):
            for i in range(n_rows):
                scaled[j - first, i] = columns[j, i] * weights[m, i]
        product = room[: (last - first) * last].reshape((last - first, last))
        np.dot(scaled[: last - first], columns[:last].T, product)
        for j in range(first, last):
            for k in range(last):
                out[m, j, k] += product[j - first, k]


def sums(
    storage: Any,
    loss: Any,
    params: Params | None,
    pairs: bool,
    block: RowBlock,
    n_threads: int | None,
    *,
    dtype: Any,
    classes: tuple[int, int] | None = None,
) -> Sums:
    """Return the class blocks of the Hessian of Σ wᵢ ℓᵢ, in coefficients and intercept together.

    Parameters
    ----------
    storage : module
        Offers `logits` and `columns` for this kind of X.
    params : Params or None
        None takes 1 for the curvature of each row: the one block is then Σ wᵢ x̃ᵢ x̃ᵢᵀ.
    pairs : bool
        Whether to return the blocks of all pairs of classes l ≤ k, in the order (0, 0), (1, 0), (1, 1), …,
        not only those of each class with itself.
    dtype : {float32, float64}
        Of the products and of the result.
    classes : (first, last), optional
        Only the classes from first up to, not including, last; by default all.

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
    widest = max(n_features + 1, n_blocks) * np.dtype(dtype).itemsize
    chunk = min(n_rows, max(LEAST_CHUNK, min(MOST_CHUNK, CHUNK_BYTES // widest)))
    result = Sums.room((n_blocks, n_features + 1, n_features + 1), 0, dtype)
    out = result.coef
    out[:] = 0.0
    panels = even_bounds(n_blocks * -(-(n_features + 1) // PANEL), MOST_PARTS)
    columns = np.empty((n_features + 1, chunk), dtype)
    weights = np.empty((n_blocks, chunk), dtype)
    for start in range(0, n_rows, chunk):
        rows: Any = row_slice(block.X, start, start + chunk)
        count = rows.shape[0]
        if count < chunk:  # the last rows: BLAS wants its matrices without gaps
            columns, weights = columns[:, :count].copy(), weights[:, :count].copy()
        here = slice(start, start + count)
        storage.columns(rows, columns[:-1], n_threads)
        columns[-1] = 1.0
        if params is None:
            weights[0] = block.weight[here]
        else:
            run(
                _curvatures, even_bounds(count, MOST_PARTS), loss, pairs, left, right,
                storage.logits(params, rows, n_threads), block.target[here], block.weight[here], weights,
                work=count * (20.0 * len(params.intercept) + 2.0 * n_blocks), n_threads=n_threads,
            )  # fmt: skip
        with blas.one_thread():
            run(
                _add_grams, panels, columns, weights, out,
                work=count * (0.02 * out.size + 0.5 * n_blocks * len(columns)), n_threads=n_threads,
                scratch=PANEL * (count + n_features + 1) * out.itemsize,
            )  # fmt: skip
    return replace(result, weight=float(block.weight.sum()))

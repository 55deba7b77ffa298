"""Curvatures of rows, and weighted Gram matrices by panels of their lower triangle."""

from __future__ import annotations

import numpy as np

import fastsoftmax.losses.jitted  # noqa: F401 - registers the row functions
from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS, losses
from fastsoftmax.kernels.cpu.sizes import GRAM_PANEL
from fastsoftmax.losses.row_functions import row_curvature, row_hessian
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.copies import copy_vector
from fastsoftmax.simd.gemm import product_to


@kernel(
    signatures=[
        f"{loss},?,q,q,{x}:2C,{target},f8:1C,{out}:2C"
        for x in FLOATS
        for out in FLOATS
        for targets in sorted({x, out, FLOATS[-1]})  # of rows or of targets that are float64 alone
        for loss, target in losses(targets)
    ]
)
def curvatures(start, stop, _, loss, pairs, left, right, logits, target, weight, out):
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


@kernel(signatures=[f"q,{x}:2C,{x}:2C,{x}:3C" for x in FLOATS])
def add_grams(start, stop, part, gemm, columns, weights, out):
    """Add Σᵢ cᵢ x̃ᵢ x̃ᵢᵀ to the lower triangles of out (m, D, D), panels start to stop.

    `columns` (D, n) is X̃ᵀ, `weights` (m, n) holds the c of each matrix.
    """
    n_features, n_rows = columns.shape
    n_panels = (n_features + GRAM_PANEL - 1) // GRAM_PANEL
    scaled = np.empty((min(GRAM_PANEL, n_features), n_rows), columns.dtype)
    workspace = np.empty(len(scaled) * n_features, columns.dtype)
    for index in range(start, stop):
        m, panel = divmod(index, n_panels)
        first = panel * GRAM_PANEL
        last = min(first + GRAM_PANEL, n_features)
        for j in range(first, last):
            for i in range(n_rows):
                scaled[j - first, i] = columns[j, i] * weights[m, i]
        product = workspace[: (last - first) * last].reshape((last - first, last))
        product_to(gemm, scaled[: last - first], columns[:last].T, product)
        for j in range(first, last):
            for k in range(last):
                out[m, j, k] += product[j - first, k]

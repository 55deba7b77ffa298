"""A pass over dense rows with many coefficients, by pieces of products that threads share."""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.cpu.jitted.dlogits import to_dlogits
from fastsoftmax.kernels.cpu.jitted.gather import tile_of
from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS, STORED, VERBS, losses
from fastsoftmax.kernels.cpu.sizes import LONG_PIECE, PIECE
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.gemm import product_to


@kernel(signatures=[f"{STORED},q,{x}:2C" for x in FLOATS])
def widen(start, stop, part, X, first, workspace):
    """Write rows first + start to first + stop of X to rows start to stop of a tile."""
    tile_of(X, first + start, first + stop, workspace[start:stop])


@kernel(signatures=[f"q,{x}:2C,{x}:2C,{x}:2C" for x in FLOATS])
def forward(start, stop, part, gemm, tile, coef, out):
    """Write pieces start to stop of tile · coefᵀ to out (n, K)."""
    pieces_per_row = (out.shape[1] + PIECE - 1) // PIECE
    for piece in range(start, stop):
        i = piece // pieces_per_row * PIECE
        k = piece % pieces_per_row * PIECE
        product_to(gemm, tile[i : i + PIECE], coef[k : k + PIECE].T, out[i : i + PIECE, k : k + PIECE])


@kernel(
    signatures=[
        f"{verb},{loss},{x}:3C,{x}:2C,{x}:2C,{target},f8:1C,f8:1C,q,f8:1C"
        for x in FLOATS
        for loss, target in losses(x)
        for verb in VERBS
    ]
)
def row_functions(
    start, stop, part, verb, loss, logits, intercept, kept, target, weight, row_values, first, values
):
    """Turn the logits of rows start to stop of a tile into dlogits, and sum their values."""
    value, lost = to_dlogits(
        verb, loss, logits, start, stop, intercept, kept, target, weight, row_values, first + start
    )
    values[part] = value - lost


@kernel(signatures=[f"q,{x}:2C,{x}:2C,f8:2C" for x in FLOATS])
def back(start, stop, part, gemm, dlogits, tile, coef):
    """Add pieces start to stop of dlogitsᵀ · tile to coef (K, d), float64."""
    n_outputs, n_features = coef.shape
    pieces_per_row = (n_features + PIECE - 1) // PIECE
    workspace = np.empty(PIECE * PIECE, tile.dtype)
    for piece in range(start, stop):
        k = piece // pieces_per_row * PIECE
        j = piece % pieces_per_row * PIECE
        last_k, last_j = min(k + PIECE, n_outputs), min(j + PIECE, n_features)
        product = workspace[: (last_k - k) * (last_j - j)].reshape((last_k - k, last_j - j))
        product_to(gemm, dlogits[:, k:last_k].T, tile[:, j:last_j], product)
        for row in range(k, last_k):
            row_grad = coef[row, j:last_j]
            row_product = product[row - k]
            for column in range(last_j - j):
                row_grad[column] += row_product[column]


@kernel(signatures=[f"{x}:2C,f8:1C" for x in FLOATS])
def add_rows(start, stop, part, dlogits, intercept):
    """Add the sums of the dlogits (n, K) of classes start to stop to intercept (K,), float64."""
    class_sums = intercept[start:stop]
    for i in range(dlogits.shape[0]):
        row = dlogits[i, start:stop]
        for k in range(len(class_sums)):
            class_sums[k] += row[k]


@kernel(signatures=[f"q,{x}:2C,{x}:2C,{x}:2C" for x in FLOATS])
def write_X_grad(start, stop, part, gemm, dlogits, coef, X_grad):
    """Write pieces start to stop of dlogits · coef to X_grad (n, d)."""
    pieces_per_row = (X_grad.shape[1] + LONG_PIECE - 1) // LONG_PIECE
    for piece in range(start, stop):
        i = piece // pieces_per_row * LONG_PIECE
        j = piece % pieces_per_row * LONG_PIECE
        rows, columns = slice(i, i + LONG_PIECE), slice(j, j + LONG_PIECE)
        product_to(gemm, dlogits[rows], coef[:, columns], X_grad[rows, columns])

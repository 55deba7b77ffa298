"""A pass over dense rows: X is read once, tile by tile, forward and back while a tile is in cache."""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.cpu.jitted import single_output
from fastsoftmax.kernels.cpu.jitted.dlogits import add_columns, to_dlogits
from fastsoftmax.kernels.cpu.jitted.gather import tile_of
from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS, PRODUCTS, STORED, VERBS, losses
from fastsoftmax.runtime import native
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd import compensated
from fastsoftmax.simd.copies import copy_matrix
from fastsoftmax.simd.gemm import product_to
from fastsoftmax.simd.skinny_products import MAX_CLASSES
from fastsoftmax.simd.unowned import hold, unowned


@kernel(
    signatures=[
        f"{verb},{loss},?,{PRODUCTS},{STORED},{target},f8:2C,{x}:4C,{x}:3C,q,{x}:2C,f8:3C,f8:1C,f8:4C,f8:3C,{x}:2C"
        for x in FLOATS
        for loss, target in losses(x)
        for verb in VERBS
    ]
)
def sum_rows(
    start, stop, part, verb, loss, squared, skinny, X, target, weight, coef, intercept, tile_rows,
    kept, values, row_values, coefs, intercepts, X_grad,
):  # fmt: skip
    """Sum value, dlogitsᵀ X and dlogits over the rows of one part, for each of s parameters.

    Parameters
    ----------
    verb, loss : named tuples
        What is computed of each row's logits (`verbs`), and of which loss.
    squared : bool
        Whether the way back multiplies with the squares of X.
    skinny : Products
        The addresses of the skinny products for the dtype of `coef`.
    X : Stored
        The rows (`gather.stored`).
    target : array (n,) or (n, K)
    weight : array (s, n), float64
    coef, intercept : arrays (s, m, K, d) and (s, m, K)
        For each parameter the linear map (m = 1), or the map and a direction (m = 2).
    tile_rows : int
        Rows of a tile.
    kept : array (n, K), or empty
        Known logits of the first map, which are then not computed.
    values : array (parts, s, 2), float64
        Σ wᵢ ℓᵢ and its compensation, added to: a part may be run in several calls.
    row_values : array (n,), or empty
        Receives wᵢ ℓᵢ.
    coefs, intercepts : arrays (parts, s, K, d), or empty, and (parts, s, K), float64
        Receive the sums by addition.
    X_grad : array (n, d), or empty
        Receives dlogits W.
    """
    n_sets, n_maps, n_outputs, n_features = coef.shape
    is_skinny = n_outputs <= MAX_CLASSES
    owned_workspace = np.empty((tile_rows, n_features), coef.dtype)
    owned_squares = np.empty((tile_rows if squared else 0, n_features), coef.dtype)
    owned_logits = np.empty((n_maps, tile_rows, n_outputs), coef.dtype)
    owned_product = np.empty((n_outputs, n_features), coef.dtype)
    workspace, squares = unowned(owned_workspace), unowned(owned_squares)
    logits, product = unowned(owned_logits), unowned(owned_product)
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        tile = tile_of(X, first, first + n_rows, workspace)
        right = tile
        if squared:
            right = squares[:n_rows]
            for i in range(n_rows):
                for j in range(n_features):
                    right[i, j] = tile[i, j] * tile[i, j]
        for s in range(n_sets):
            for m in range(1 if kept.size else 0, n_maps):
                if n_outputs == 1:
                    single_output.dots_to(tile, coef[s, m, 0], logits[m, :n_rows])
                elif is_skinny:
                    native.call(skinny.dots_to, (tile, coef[s, m], logits[m, :n_rows]))
                else:
                    product_to(skinny.gemm, tile, coef[s, m].T, logits[m, :n_rows])
            value, _ = to_dlogits(
                verb, loss, logits, 0, n_rows, intercept[s], kept, target, weight[s], row_values, first
            )
            total = values[part, s]
            total[0], total[1] = compensated.add(total[0], total[1], value)
            dlogits = logits[n_maps - 1, :n_rows]
            add_columns(dlogits, intercepts[part, s])
            if X_grad.size:
                product_to(skinny.gemm, dlogits, coef[s, 0], X_grad[first : first + n_rows])
            if coefs.size:
                if n_outputs == 1:
                    single_output.outer_to(dlogits, right, product)
                elif is_skinny:
                    native.call(skinny.outer_to, (dlogits, right, product))
                else:
                    product_to(skinny.gemm, dlogits.T, right, product)
                for k in range(n_outputs):
                    for j in range(n_features):
                        coefs[part, s, k, j] += product[k, j]
    hold(owned_workspace)
    hold(owned_squares)
    hold(owned_logits)
    hold(owned_product)


@inner
def logits_to(skinny, tile, coef, intercept, out):
    """Write the logits of a tile (n, d) to out (n, K), for coef (K, d); all C-ordered, of one dtype."""
    if coef.shape[0] == 1:
        single_output.dots_to(tile, coef[0], out)
    elif coef.shape[0] <= MAX_CLASSES:
        native.call(skinny.dots_to, (tile, coef, out))
    else:
        product_to(skinny.gemm, tile, coef.T, out)
    for i in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[i, k] += intercept[k]


@inner
def widest(ranges):
    """Return the largest difference of neighbours: np.diff brings the text of its error."""
    found = 0
    for r in range(ranges.shape[0] - 1):
        found = max(found, ranges[r + 1] - ranges[r])
    return found


@kernel(signatures=[f"{PRODUCTS},{STORED},{x}:2C,{x}:1C,i8:1C,q,{x}:2C" for x in FLOATS])
def write_logits(start, stop, part, skinny, X, coef, intercept, ranges, tile_rows, out):
    """Write the logits of rows start to stop to out (n, K), a range of classes at a time."""
    workspace = np.empty((tile_rows, coef.shape[1]), coef.dtype)
    logits = np.empty(tile_rows * widest(ranges), coef.dtype)
    for first in range(start, stop, tile_rows):
        last = min(first + tile_rows, stop)
        tile = tile_of(X, first, last, workspace)
        for r in range(ranges.shape[0] - 1):
            left, right = ranges[r], ranges[r + 1]
            z = logits[: (last - first) * (right - left)].reshape(last - first, right - left)
            logits_to(skinny, tile, coef[left:right], intercept[left:right], z)
            copy_matrix(z, out[first:last, left:right])

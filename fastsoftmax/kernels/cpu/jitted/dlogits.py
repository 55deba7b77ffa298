"""From a tile of logits to dlogits, the factors that its rows are multiplied by on the way back."""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.cpu.jitted.verbs import apply, apply_to_tile
from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd import compensated
from fastsoftmax.simd.copies import copy_matrix
from fastsoftmax.simd.exponentials import scale


@inner
def to_dlogits(verb, loss, logits, start, stop, intercept, kept, target, weight, row_values, first):
    """Turn the logits of a range of rows into weighted dlogits; return Σ wᵢ ℓᵢ and its compensation.

    Parameters
    ----------
    verb, loss : named tuples
        What is computed of each row's logits (`verbs`), and of which loss.
    logits : array (m, tile rows, K)
        X Wᵀ, without intercepts, of m maps; rows start to stop of the last become the dlogits.
    start, stop : int
        The range of rows in `logits`.
    intercept : array (m, K)
    kept : array (n, K), or empty
        Known logits, with intercepts, of the first map; they take the place of logits[0].
    target, weight : arrays (n,) or (n, K), and (n,)
    row_values : array (n,), or empty
        Receives wᵢ ℓᵢ.
    first : int
        The index of row `start` in `kept`, `target`, `weight` and `row_values`.
    """
    n_maps, _, n_outputs = logits.shape
    n_rows = stop - start
    dlogits = logits[n_maps - 1, start:stop]
    value = 0.0
    lost = 0.0
    for m in range(n_maps):
        if m == 0 and kept.size:
            copy_matrix(kept[first : first + n_rows], logits[0, start:stop])
        for i in range(n_rows):
            row = logits[m, start + i]
            if weight[first + i] == 0.0:
                row[:] = 0.0  # a row of weight zero must not matter even if it holds NaN
            elif m > 0 or not kept.size:
                for k in range(n_outputs):
                    row[k] += intercept[m, k]
    rows = slice(first, first + n_rows)
    tile_row_values = row_values[rows] if row_values.size else row_values
    has_tile_kernel, tile_value = apply_to_tile(
        verb, loss, logits[0, start:stop], dlogits, target[rows], weight[rows], tile_row_values
    )
    if has_tile_kernel:
        return tile_value, lost
    for i in range(n_rows):
        row_weight = weight[first + i]
        s = dlogits[i]
        if row_weight == 0.0:
            s[:] = 0.0
            continue
        row_value = row_weight * apply(verb, loss, logits[0, start + i], s, target[first + i])
        value, lost = compensated.add(value, lost, row_value)
        if row_values.size:
            row_values[first + i] = row_value
        if row_weight != 1.0:
            scale(s, row_weight)
    return value, lost


@inner
def add_columns(rows, total):
    """Add the sums of the columns of rows (n, K) to total (K,), float64, four rows in one sweep."""
    n_rows = rows.shape[0]
    whole = n_rows // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for k in range(total.shape[0]):
            total[k] += (np.float64(a[k]) + np.float64(b[k])) + (np.float64(c[k]) + np.float64(d[k]))
    for i in range(whole, n_rows):
        a = rows[i]
        for k in range(total.shape[0]):
            total[k] += a[k]

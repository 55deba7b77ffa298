"""A pass over sparse (CSR) rows: forward by rows, back by columns."""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.cpu.jitted.dlogits import add_columns, to_dlogits
from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS, INDICES, VERBS, losses
from fastsoftmax.kernels.cpu.jitted.single_output import gathered_dot
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd import compensated
from fastsoftmax.simd.copies import copy_matrix
from fastsoftmax.simd.sizes import REGISTER_BYTES
from fastsoftmax.simd.sparse_row import gathered_sum
from fastsoftmax.simd.transposes import square_to
from fastsoftmax.simd.unowned import hold, unowned

SUM_ENTRIES = (
    128  # terms of a sum in the products' dtype, then it goes on in float64: float32 would lose digits
)
LANES = REGISTER_BYTES // 8  # of the gradient's float64


@inner(inline="always")
def _sum_to(data, indices, first, last, matrix, out):
    """Write Σₑ dataₑ · matrix[indicesₑ] to out (K,); matrix is (d, K)."""
    if matrix.shape[1] == 1:
        out[0] = gathered_dot(data, indices, first, last, matrix)
    else:
        gathered_sum(data, indices, first, last, matrix, out)


@kernel(
    signatures=[
        f"{verb},{loss},{x}:1C,{index}:1C,{index}:1C,{target},f8:1C,{x}:3C,{x}:2C,q,{x}:2C,{x}:2C,f8:1C,f8:1C,f8:2C"
        for index in INDICES
        for x in FLOATS
        for loss, target in losses(x)
        for verb in VERBS
    ]
)
def forward(
    start, stop, part, verb, loss, data, indices, indptr, target, weight, coef, intercept, tile_rows,
    kept, dlogits, values, row_values, intercepts,
):  # fmt: skip
    """Write the weighted dlogits of the rows of one part, and sum their values and dlogits.

    Parameters
    ----------
    verb, loss : named tuples
        What is computed of each row's logits (`verbs`), and of which loss.
    data, indices, indptr : arrays
        CSR arrays of X; `data` is of the dtype of the products.
    target : array (n,) or (n, K)
    weight : array (n,), float64
    coef : array (m, d, K)
        The linear map (m = 1), or the map and a direction (m = 2), transposed.
    intercept : array (m, K)
    tile_rows : int
        How many rows' logits are computed together.
    kept : array (n, K), or empty
        Known logits of the first map, which are then not computed.
    dlogits : array (n, K)
        Receives wᵢ times the row's dlogits.
    values : array (parts,), float64
        Receives Σ wᵢ ℓᵢ (compensated).
    row_values : array (n,), or empty
        Receives wᵢ ℓᵢ.
    intercepts : array (parts, K), float64
        Receives, by addition, the sum of the dlogits.
    """
    n_maps, n_outputs = intercept.shape
    workspace = np.empty((n_maps, tile_rows, n_outputs), coef.dtype)
    logits = unowned(workspace)
    value = 0.0
    lost = 0.0
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        for m in range(1 if kept.size else 0, n_maps):
            matrix = coef[m]
            for i in range(n_rows):
                left, right = indptr[first + i], indptr[first + i + 1]
                _sum_to(data, indices, left, right, matrix, logits[m, i])
        tile_value, _ = to_dlogits(
            verb, loss, logits, 0, n_rows, intercept, kept, target, weight, row_values, first
        )
        value, lost = compensated.add(value, lost, tile_value)
        rows = logits[n_maps - 1, :n_rows]
        copy_matrix(rows, dlogits[first : first + n_rows])
        add_columns(rows, intercepts[part])
    values[part] = value
    hold(workspace)


@kernel(signatures=[f"?,{x}:1C,{index}:1C,{index}:1C,{x}:2C,q,f8:2C" for index in INDICES for x in FLOATS])
def back(start, stop, _, squared, data, rows, indptr, dlogits, tile_columns, gradient):
    """Write Σᵢ xᵢⱼ dlogitsᵢₖ for columns j from start to stop to gradient (K, d); xᵢⱼ² where `squared`.

    `data`, `rows`, `indptr` are the CSC arrays of X, `dlogits` is (n, K). `tile_columns` columns of X at a
    time, so that whole cache lines of the gradient are written.
    """
    n_outputs = dlogits.shape[1]
    owned_tile = np.empty((tile_columns, n_outputs))
    owned_sums = np.empty(n_outputs)
    owned_squares = np.empty(SUM_ENTRIES, data.dtype)
    tile, sums, squares = unowned(owned_tile), unowned(owned_sums), unowned(owned_squares)
    for left in range(start, stop, tile_columns):
        right = min(left + tile_columns, stop)
        for j in range(left, right):
            total = tile[j - left]
            if indptr[j] == indptr[j + 1]:
                total[:] = 0.0
            # A long float32 sum would lose digits: float64 accumulation of sums of a few entries.
            for first in range(indptr[j], indptr[j + 1], SUM_ENTRIES):
                last = min(first + SUM_ENTRIES, indptr[j + 1])
                is_first = first == indptr[j]
                x, places, begin, end = data, rows, first, last
                if squared:
                    for e in range(last - first):
                        squares[e] = data[first + e] * data[first + e]
                    x, places, begin, end = squares, rows[first:last], 0, last - first
                _sum_to(x, places, begin, end, dlogits, total if is_first else sums)
                if not is_first:
                    for k in range(n_outputs):
                        total[k] += sums[k]
        _write_turned(tile[: right - left], gradient, left)
    hold(owned_tile)
    hold(owned_sums)
    hold(owned_squares)


@inner
def _write_turned(tile, gradient, first):
    """Write the transpose of a tile (n, K) to columns first to first + n of gradient (K, d)."""
    n_columns, n_outputs = tile.shape
    if min(n_columns, n_outputs) < LANES:
        for k in range(n_outputs):
            for j in range(n_columns):
                gradient[k, first + j] = tile[j, k]
        return
    turned = tile.T
    for top in range(0, n_outputs, LANES):  # the last squares overlap those before them
        k = min(top, n_outputs - LANES)
        for left in range(0, n_columns, LANES):
            j = min(left, n_columns - LANES)
            square_to(turned, k, j, 0, gradient, k, first + j, 8 * n_columns)


@inner
def logits_to(start, stop, data, indices, indptr, coef, intercept, out):
    """Write b + Σⱼ xⱼ Wⱼ of CSR rows start to stop to the same rows of out (n, K); coef W is (d, K)."""
    for i in range(start, stop):
        z = out[i]
        _sum_to(data, indices, indptr[i], indptr[i + 1], coef, z)
        for k in range(z.shape[0]):
            z[k] += intercept[k]


@kernel(
    signatures=[f"{x}:1C,{index}:1C,{index}:1C,{x}:2C,{x}:1C,{x}:2C" for index in INDICES for x in FLOATS]
)
def write_logits(start, stop, _, data, indices, indptr, coef, intercept, out):
    """Write the logits of CSR rows start to stop to out (n, K); coef is (d, K)."""
    logits_to(start, stop, data, indices, indptr, coef, intercept, out)


@kernel(
    signatures=[
        f"{x}:1C,{index}:1C,{index}:1C,{out}:2C" for index in INDICES for x in FLOATS for out in FLOATS
    ]
)
def scatter(start, stop, _, data, indices, indptr, out):
    """Write CSR rows start to stop, dense, to the same columns of out (d, n)."""
    out[:, start:stop] = 0.0
    for i in range(start, stop):
        for e in range(indptr[i], indptr[i + 1]):
            out[indices[e], i] += data[e]


@kernel(signatures=[f"{index}:1C,i8:1C,i8:1C" for index in INDICES])
def balanced_bounds(start, stop, part, indptr, bounds, n_found):
    """Write the bounds of ranges of rows with nearly equal numbers of entries to `bounds` (parts + 1,).

    A row counts as one entry more. `n_found` (1,) receives how many ranges there are: the first bounds of
    `bounds`, which begins with 0.
    """
    n_rows = stop
    n_parts = bounds.shape[0] - 1
    first = np.int64(indptr[0])
    total = np.int64(indptr[n_rows]) - first + n_rows
    last = 0
    for place in range(1, n_parts + 1):
        wanted = place * (total / n_parts)
        low, high = bounds[last], n_rows
        while low < high and place < n_parts:
            middle = (low + high) // 2
            if np.int64(indptr[middle]) - first + middle < wanted:
                low = middle + 1
            else:
                high = middle
        if high > bounds[last]:
            last += 1
            bounds[last] = high
    n_found[0] = last

"""The k largest logits of each row, found tile by tile while the logits of a tile are in cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fastsoftmax.contracts import Halves
from fastsoftmax.kernels.cpu.jitted import csr, dense
from fastsoftmax.kernels.cpu.jitted.gather import tile_of
from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS, INDICES, PRODUCTS, STORED
from fastsoftmax.kernels.cpu.structs import Stored
from fastsoftmax.runtime.jit import INNER, inner, named_tuple_class
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.exponentials import PLAIN_CLASSES
from fastsoftmax.simd.ranking import first_equal, offer, put_in_order
from fastsoftmax.simd.registers import exponentials_sum, largest, plain_exponentials_sum


def _rows(X: Any, start: int, stop: int, workspace: Any) -> Any:
    """Return rows start to stop of a dense matrix (in `workspace` if widened) or of CSR arrays."""
    if isinstance(X, tuple) and not isinstance(X, Halves):
        return X[0], X[1], X[2][start : stop + 1]
    return tile_of(X, start, stop, workspace)


def _logits_to(skinny: Any, tile: Any, coef: Any, intercept: Any, out: Any) -> None:
    """Write the logits of a range of classes to out; flat `coef` is (classes, d), or (d, classes) for CSR."""
    if isinstance(tile, tuple):
        _sparse_logits_to(tile, coef, intercept, out)
    else:
        _dense_logits_to(skinny, tile, coef, intercept, out)


@overload(_rows, jit_options=INNER)
def _overload_rows(X, start, stop, workspace):
    if named_tuple_class(X) is not Stored:
        return lambda X, start, stop, workspace: (X[0], X[1], X[2][start : stop + 1])
    return lambda X, start, stop, workspace: tile_of(X, start, stop, workspace)


@overload(_logits_to, jit_options=INNER)
def _overload_logits_to(skinny, tile, coef, intercept, out):
    if isinstance(tile, types.BaseTuple):
        return lambda skinny, tile, coef, intercept, out: _sparse_logits_to(tile, coef, intercept, out)
    return lambda skinny, tile, coef, intercept, out: _dense_logits_to(skinny, tile, coef, intercept, out)


@inner
def _dense_logits_to(skinny, tile, coef, intercept, out):
    dense.logits_to(skinny, tile, coef.reshape(intercept.shape[0], tile.shape[1]), intercept, out)


@inner
def _sparse_logits_to(tile, coef, intercept, out):
    data, indices, indptr = tile
    n_classes = intercept.shape[0]
    table = coef.reshape(coef.shape[0] // n_classes, n_classes)
    csr.logits_to(0, out.shape[0], data, indices, indptr, table, intercept, out)


@inner
def _add_exponentials(row, best, exact, shift, total):
    """Return the shift max(shift, best) and the total at that shift plus Σ e^(row − shift).

    `best` is the largest element of this piece of the row. Start with shift −∞ and total 0.
    """
    if best > shift:
        total *= math.exp(np.float64(shift) - np.float64(best))
        shift = best
    if math.isfinite(shift) or shift > 0.0:
        count, others = exponentials_sum(row, shift) if exact else plain_exponentials_sum(row, shift)
        return shift, total + count + others
    for k in range(row.shape[0]):  # −∞ adds nothing to the other ranges' sum; NaN must propagate
        if np.isnan(row[k]):
            total = np.nan
    return shift, total


@kernel(
    signatures=[
        f"{PRODUCTS},{rows},{x}:1C,{x}:1C,q,i8:1C,q,?,i8:2C,{x}:2C,f8:1C"
        for x in FLOATS
        for rows in (STORED, *(f"({x}:1C,{index}:1C,{index}:1C)" for index in INDICES))
    ]
)
def top(
    start, stop, part, skinny, X, coef, intercept, n_features, ranges, tile_rows, gathered,
    classes, logits, totals,
):  # fmt: skip
    """Write the k largest logits of the rows of one part and their classes.

    Parameters
    ----------
    skinny : Products
        The addresses of the skinny products for the dtype of `coef`.
    X : Stored, or CSR arrays (data, indices, indptr)
    coef : array (K · d,)
        As returned by `_coefficients`.
    intercept : array (K,)
    n_features : int
    ranges : array, int64
        The bounds of the ranges of classes.
    tile_rows : int
    gathered : bool
        Whether X is dense, so that its tiles may need a workspace.
    classes, logits : arrays (n, k), int64 and of the dtype of `coef`
        The result.
    totals : array (n,), float64, or empty
        Receives Σ e^(z − max z).
    """
    k = classes.shape[1]
    n_ranges = ranges.shape[0] - 1
    exact = intercept.shape[0] < PLAIN_CLASSES
    workspace = np.empty((tile_rows if gathered else 0, n_features), coef.dtype)
    tile_logits = np.empty(tile_rows * dense.widest(ranges), coef.dtype)
    shifts = np.empty(tile_rows, coef.dtype)
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        tile = _rows(X, first, first + n_rows, workspace)
        shifts[:] = -np.inf
        if k == 1:
            classes[first : first + n_rows] = 0
            logits[first : first + n_rows] = -np.inf
        for r in range(n_ranges):
            left, right = ranges[r], ranges[r + 1]
            z = tile_logits[: n_rows * (right - left)].reshape(n_rows, right - left)
            _logits_to(skinny, tile, coef[left * n_features : right * n_features], intercept[left:right], z)
            for i in range(n_rows):
                best = largest(z[i])
                if k > 1:
                    offer(z[i], left, logits[first + i], classes[first + i])
                elif best > logits[first + i, 0]:
                    logits[first + i, 0] = best
                    classes[first + i, 0] = left + first_equal(z[i], 0, best)
                if totals.size:
                    shifts[i], totals[first + i] = _add_exponentials(
                        z[i], best, exact, shifts[i], totals[first + i]
                    )
        for i in range(first, first + n_rows):
            if k > 1:
                put_in_order(logits[i], classes[i])
            if totals.size and shifts[i - first] == -np.inf:
                totals[i] = np.nan  # as the sum of e^(−∞ − (−∞))

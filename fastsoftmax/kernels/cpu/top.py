"""The largest logits of each row, found while the logits of a tile are in cache; no more are ever held.

Of many classes a range at a time is gone through: what is kept of a row from one range to the next are its
largest logits so far, and the sum of its exponentials with the shift that they were taken at.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types
from numba.extending import overload

from fastsoftmax.contracts import Csr, Halves, Top
from fastsoftmax.kernels import blas
from fastsoftmax.kernels.cpu import csr, dense, partition
from fastsoftmax.kernels.cpu.gather import Stored, stored, tile_of
from fastsoftmax.kernels.cpu.layout import copy_to
from fastsoftmax.kernels.executor import kernel, run
from fastsoftmax.kernels.exponentials import PLAIN_CLASSES
from fastsoftmax.kernels.jit import jit, named_tuple_class
from fastsoftmax.kernels.lanes import exponentials_sum, largest, plain_exponentials_sum
from fastsoftmax.kernels.ranking import first_equal, offer, put_in_order
from fastsoftmax.kernels.thin import Products, products

if TYPE_CHECKING:
    from fastsoftmax.contracts import HostRows, Params


def _rows(X: Any, start: int, stop: int, room: Any) -> Any:
    """Return rows start to stop of a dense array (in `room` where they must be widened) or of CSR arrays."""
    if isinstance(X, tuple) and not isinstance(X, Halves):
        return X[0], X[1], X[2][start : stop + 1]
    return tile_of(X, start, stop, room)


def _logits_to(thin: Any, tile: Any, coef: Any, intercept: Any, out: Any) -> None:
    """Write the logits of a range of classes to out; `coef`, flat, is (classes, d), for CSR (d, classes)."""
    if isinstance(tile, tuple):
        _sparse_logits_to(tile, coef, intercept, out)
    else:
        _dense_logits_to(thin, tile, coef, intercept, out)


@overload(_rows)
def _overload_rows(X, start, stop, room):
    if named_tuple_class(X) is not Stored:
        return lambda X, start, stop, room: (X[0], X[1], X[2][start : stop + 1])
    return lambda X, start, stop, room: tile_of(X, start, stop, room)


@overload(_logits_to)
def _overload_logits_to(thin, tile, coef, intercept, out):
    if isinstance(tile, types.BaseTuple):
        return lambda thin, tile, coef, intercept, out: _sparse_logits_to(tile, coef, intercept, out)
    return lambda thin, tile, coef, intercept, out: _dense_logits_to(thin, tile, coef, intercept, out)


@jit
def _dense_logits_to(thin, tile, coef, intercept, out):
    dense.logits_to(thin, tile, coef.reshape(intercept.shape[0], tile.shape[1]), intercept, out)


@jit
def _sparse_logits_to(tile, coef, intercept, out):
    data, indices, indptr = tile
    n_classes = intercept.shape[0]
    table = coef.reshape(coef.shape[0] // n_classes, n_classes)
    csr.logits_to(0, out.shape[0], data, indices, indptr, table, intercept, out)


@jit
def _add_exponentials(row, best, exact, shift, total):
    """Add e^(row − shift) to the total, with a larger shift if the row's `best` is; return both.

    The shift is −∞ before the first row, and the total 0.
    """
    if best > shift:
        total *= math.exp(np.float64(shift) - np.float64(best))
        shift = best
    if math.isfinite(shift) or shift > 0.0:
        count, others = exponentials_sum(row, shift) if exact else plain_exponentials_sum(row, shift)
        return shift, total + count + others
    for k in range(row.shape[0]):  # −∞ adds nothing to what other ranges hold; NaN does
        if np.isnan(row[k]):
            total = np.nan
    return shift, total


@kernel
def _top(
    start, stop, part, thin, X, coef, intercept, n_features, ranges, tile_rows, gathered,
    classes, logits, totals,
):  # fmt: skip
    """Find the largest logits of the rows of a part; sum their exponentials where `totals` is not empty."""
    k = classes.shape[1]
    n_ranges = ranges.shape[0] - 1
    exact = intercept.shape[0] < PLAIN_CLASSES
    room = np.empty((tile_rows if gathered else 0, n_features), coef.dtype)
    tile_logits = np.empty(tile_rows * np.max(np.diff(ranges)), coef.dtype)
    shifts = np.empty(tile_rows, coef.dtype)
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        tile = _rows(X, first, first + n_rows, room)
        shifts[:] = -np.inf
        if k == 1:
            classes[first : first + n_rows] = 0
            logits[first : first + n_rows] = -np.inf
        for r in range(n_ranges):
            left, right = ranges[r], ranges[r + 1]
            z = tile_logits[: n_rows * (right - left)].reshape(n_rows, right - left)
            _logits_to(thin, tile, coef[left * n_features : right * n_features], intercept[left:right], z)
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


def _coefficients(params: Params, ranges: Any, turned: bool, dtype: Any, n_threads: int | None) -> Any:
    """Return the coefficients, flat: those of each range of classes are (classes, d), or its transpose."""
    if not turned:
        return np.ascontiguousarray(params.coef, dtype).reshape(-1)
    n_features = params.coef.shape[1]
    flat = np.empty(params.coef.size, dtype)
    for left, right in itertools.pairwise(ranges):
        table = flat[left * n_features : right * n_features].reshape(n_features, right - left)
        copy_to(table, params.coef[left:right].T, n_threads)
    return flat


def top(
    params: Params,
    X: HostRows,
    k: int,
    n_threads: int | None = None,
    *,
    with_totals: bool = False,
) -> Top:
    """Return the k largest logits of each row, largest first, and their classes.

    Parameters
    ----------
    params : Params
        K classes.
    X : ndarray (n, d) or Csr
    k : int
        From 1 to K.
    n_threads : int, optional
    with_totals : bool
        Whether the exponentials of all logits are summed as well.

    Returns
    -------
    Top
        Of equal logits the earlier class comes first. The logits are those of the verb `logits`, to the bit.

    Notes
    -----
    Reads X once; 2·n·d·K flops (2·K for each stored entry). Extra memory: the coefficients in the dtype of
    the products, and for each thread a tile of half a megabyte of logits, and one of X where X is widened.
    """
    storage = csr if isinstance(X, Csr) else dense
    dtype = storage.compute_dtype(X)
    (n_rows, n_features), n_outputs = X.shape, len(params.intercept)
    ranges = partition.class_bounds(n_outputs)
    tile_rows = partition.logits_rows(n_features, int(np.diff(ranges).max()), dtype.itemsize)
    coef = _coefficients(params, ranges, isinstance(X, Csr), dtype, n_threads)
    found = Top(
        np.empty((n_rows, k), np.int64),
        np.empty((n_rows, k), dtype),
        np.zeros(n_rows if with_totals else 0),
    )
    if isinstance(X, Csr):
        rows: Any = X.data.astype(dtype, copy=False), X.indices, X.indptr
        thin = Products(0, 0)  # no rows of X to multiply
        bounds = csr.balanced_bounds(X.indptr, partition.MOST_PARTS)
        work = 0.3 * len(X.data) * n_outputs
    else:
        rows, thin = stored(X, dtype), products(dtype)
        bounds = partition.product_bounds(n_rows, coef.size)
        work = 0.03 * n_rows * coef.size
    with blas.one_thread():
        run(
            _top, bounds, thin, rows, coef, params.intercept.astype(dtype), n_features, ranges, tile_rows,
            not isinstance(X, Csr), *found, work=work + n_rows * n_outputs, n_threads=n_threads,
            scratch=tile_rows * (n_features + int(np.diff(ranges).max())) * dtype.itemsize,
        )  # fmt: skip
    return found

"""The k largest logits of each row, found tile by tile while the logits of a tile are in cache.

Many classes are processed a range at a time: from one range to the next a row keeps its largest logits so
far, and the sum of its exponentials with their shift.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Top, compute_dtype
from fastsoftmax.kernels.cpu import csr, partition
from fastsoftmax.kernels.cpu.copies import copy_to
from fastsoftmax.kernels.cpu.gather import products, stored
from fastsoftmax.kernels.cpu.structs import Products
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, DType, HostRows, Params

_top = Kernel("fastsoftmax.kernels.cpu.jitted.top", "top")


def _coefficients(
    params: Params, ranges: NDArray[np.int64], transposed: bool, dtype: DType, n_threads: int | None
) -> Array:
    """Return the coefficients, flat (K · d,): for each range of classes (classes, d), or its transpose."""
    if not transposed:
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
    dtype: DType | None = None,
) -> Top:
    """Return the k largest logits of each row, in descending order, and their classes.

    Parameters
    ----------
    params : Params
        K classes.
    X : ndarray (n, d), Halves or Csr
    k : int
        From 1 to K.
    n_threads : int, optional
    with_totals : bool
        Whether the exponentials of all logits are summed, too.
    dtype : dtype, optional
        Of the products; by default that of the rows.

    Returns
    -------
    Top
        Equal logits are in the order of classes. The logits are those of the verb `logits`, to the bit.

    Notes
    -----
    Reads X once; 2·n·d·K flops (2·K for each stored entry). Extra memory: the coefficients in the dtype of
    the products, and for each thread a tile of half a megabyte of logits, and one of X where X is widened.
    """
    dtype = compute_dtype(X, dtype)
    (n_rows, n_features), n_outputs = X.shape, len(params.intercept)
    ranges = partition.class_bounds(n_outputs)
    tile_rows = partition.logits_rows(n_features, int(np.diff(ranges).max()), dtype.itemsize)
    coef = _coefficients(params, ranges, isinstance(X, Csr), dtype, n_threads)
    result = Top(
        np.empty((n_rows, k), np.int64),
        np.empty((n_rows, k), dtype),
        np.zeros(n_rows if with_totals else 0),
    )
    if isinstance(X, Csr):
        rows: Any = X.data.astype(dtype, copy=False), X.indices, X.indptr
        skinny = Products(0, 0, 0)  # no rows of X to multiply
        bounds = csr.balanced_bounds(X.indptr, partition.MAX_PARTS)
        work = 0.3 * len(X.data) * n_outputs
    else:
        rows, skinny = stored(X, dtype), products(dtype)
        bounds = partition.product_bounds(n_rows, coef.size)
        work = 0.03 * n_rows * coef.size
    with blas.one_thread():
        run(
            _top, bounds, skinny, rows, coef, params.intercept.astype(dtype), n_features, ranges, tile_rows,
            not isinstance(X, Csr), *result, work=work + n_rows * n_outputs, n_threads=n_threads,
            scratch=tile_rows * (n_features + int(np.diff(ranges).max())) * dtype.itemsize,
        )  # fmt: skip
    return result

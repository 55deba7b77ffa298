"""The logits of rows, and the k largest of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import DeviceArray, Resident, Top, compute_dtype
from fastsoftmax.kernels.cuda import launch
from fastsoftmax.kernels.cuda.blocks import Matrix, here
from fastsoftmax.kernels.cuda.passes import logits_of, params_on_device
from fastsoftmax.kernels.cuda.runtime import arrays

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Params, Rows
    from fastsoftmax.runtime.buffers import BufferPool


def logits(
    params: Params,
    X: Rows | Resident,
    n_threads: int | None = None,
    *,
    dtype: DType | None = None,
    out: Array | None = None,
    buffers: BufferPool | None = None,
) -> Array:
    """Return the logits X Wᵀ + b, (n, K), in the dtype of products with X; in `out` if given.

    The result is on the host, unless X is a caller's array on the device, or, without `out`, the rows of a
    placed block. `buffers` are not needed.
    """
    dtype = compute_dtype(X, dtype)
    device_params, matrix = params_on_device(params, dtype), Matrix(X)
    stays = isinstance(X, DeviceArray) or (isinstance(X, Resident) and out is None)
    shape = matrix.shape[0], len(device_params.intercept)
    result: Any = out if out is not None else launch.empty(shape, dtype) if stays else np.empty(shape, dtype)
    for at in matrix.chunks(shape[1], dtype.itemsize):
        z = logits_of(matrix, at, device_params)
        result[at] = z if stays else here(z)
    return result


def top(
    params: Params,
    X: Rows,
    k: int,
    n_threads: int | None = None,
    *,
    with_totals: bool = False,
    dtype: DType | None = None,
) -> Top:
    """Return the k largest logits of each row in descending order; equal ones in the order of classes.

    The result is on the host, unless X is a caller's array on the device. Each chunk of logits is sorted.
    """
    xp = arrays()
    dtype = compute_dtype(X, dtype)
    device_params, matrix = params_on_device(params, dtype), Matrix(X)
    n_rows = matrix.shape[0]
    stays = isinstance(X, DeviceArray)
    allocate, transfer = (launch.empty, lambda a: a) if stays else (np.empty, here)
    classes, largest = allocate((n_rows, k), np.int64), allocate((n_rows, k), dtype)
    totals = allocate(n_rows if with_totals else 0, np.float64)
    for at in matrix.chunks(len(device_params.intercept), 4 * dtype.itemsize):
        z = logits_of(matrix, at, device_params)
        order = xp.argmax(z, axis=1)[:, None] if k == 1 else xp.argsort(-z, axis=1, kind="stable")[:, :k]
        best = xp.take_along_axis(z, order, axis=1)
        classes[at], largest[at] = transfer(order), transfer(best)
        if with_totals:
            totals[at] = transfer(xp.exp(z - best[:, :1]).sum(axis=1, dtype=np.float64))
    return Top(classes, largest, totals)

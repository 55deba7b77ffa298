"""Kernels beside the row losses: covariance products, sparse rows times a matrix, sums."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cuda.groups import SHARED, group
from fastsoftmax.kernels.cuda.runtime import cuda, kernel

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.runtime import Kernel

THREADS = 256  # of a block
SUM_THREADS = 1024  # of a block of the sums: the most that a block can have, for fewest launches


@functools.cache
def covariance_kernel(name: str) -> Kernel:
    """Return a kernel that turns s into mass · (diag(p) − p pᵀ) s for each row; one block a row.

    Its arguments: p and s (n · K,) of the dtype `name`; mass (n,); n_classes; bits, the binary logarithm of a
    block's threads.
    """
    real: Any = np.dtype(name).type
    zero = real(0)
    _, total = group(real, True)

    def body(p, s, mass, n_classes, bits):
        shared = cuda.shared.array(SHARED, real)
        start = cuda.blockIdx.x * n_classes
        rank = cuda.threadIdx.x
        lanes = 1 << bits
        mean = zero
        for k in range(rank, n_classes, lanes):
            mean += p[start + k] * s[start + k]
        mean = total(mean, lanes, shared, 0)
        row_mass = mass[cuda.blockIdx.x]
        for k in range(rank, n_classes, lanes):
            s[start + k] = row_mass * p[start + k] * (s[start + k] - mean)

    return kernel(body, THREADS)


@functools.cache
def gather_kernel(stored: str, name: str) -> Kernel:
    """Return a kernel that multiplies CSR rows with a dense matrix (d, K), adding entries in stored order.

    cuSPARSE's product with a transposed matrix adds in the order in which blocks finish; here each element of
    the result has one thread, which goes through its row from left to right, so that results repeat to the
    bit.

    Its arguments: data (of the dtype `stored`), indices and indptr; matrix (d · K,) and out (n · K,) of the
    dtype `name`; n_classes; pieces, the number of blocks that share a row, each computing one column a
    thread.
    """
    real = np.dtype(name).type

    def body(data, indices, indptr, matrix, out, n_classes, pieces):
        row = cuda.blockIdx.x // pieces
        k = (cuda.blockIdx.x - row * pieces) * cuda.blockDim.x + cuda.threadIdx.x
        if k < n_classes:
            result = real(0)
            for i in range(indptr[row], indptr[row + 1]):
                result += real(data[i]) * matrix[np.int64(indices[i]) * n_classes + k]
            out[row * n_classes + k] = result

    return kernel(body, THREADS)


@functools.cache
def sum_kernel() -> Kernel:
    """Return a kernel that writes one partial sum of float64 numbers for each block, in a fixed order.

    Its arguments: x (size,); size; out (blocks,).
    """
    _, total = group(np.float64, True)

    def body(x, size, out):
        shared = cuda.shared.array(SHARED, np.float64)
        result = 0.0
        for i in range(cuda.grid(1), size, cuda.gridsize(1)):
            result += x[i]
        result = total(result, cuda.blockDim.x, shared, 0)
        if cuda.threadIdx.x == 0:
            out[cuda.blockIdx.x] = result

    return kernel(body, SUM_THREADS)

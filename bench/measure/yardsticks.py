"""The limits that contenders are measured against, in the same run and on the same data.

`copy` moves every logit in and out once, which a softmax cannot avoid. The others are the products that a
verb contains, by BLAS or, for CSR, by SciPy: `products` the pair of a pass over X, forward X·Wᵀ and back
Rᵀ·X, `forward` its first half, `three_products` the pair and R·W, the way back to X, and `grams` XᵀX once a
class.
"""

from __future__ import annotations

import concurrent.futures
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from bench.contenders.threads import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.problems.arrays import HeadData, PassData, RowData

SMALL = 1 << 20  # bytes below which handing work to a thread costs more than the copy


@functools.cache
def workers() -> concurrent.futures.ThreadPoolExecutor:
    """Give the threads that copy. NumPy releases the lock while it does."""
    return concurrent.futures.ThreadPoolExecutor(THREADS)


def parallel_copy(source: np.ndarray, destination: np.ndarray) -> Callable[[], Any]:
    """Give a function that copies one C-ordered array to another, each core its share."""
    if source.nbytes < SMALL:
        return functools.partial(np.copyto, destination, source)
    shares = [np.array_split(a.reshape(-1), THREADS) for a in (destination, source)]
    return lambda: list(workers().map(np.copyto, *shares))


def copy(data: RowData) -> Callable[[], Any]:
    """Copy the logits, as bits: NumPy knows bfloat16 by name only, and copies it entry by entry."""
    bits = f"u{data.logits.itemsize}"
    return parallel_copy(data.logits.view(bits), data.out.view(bits))


def forward(data: PassData | HeadData) -> Callable[[], Any]:
    """Multiply forward alone."""
    X, W = data.X, data.coef
    if sp.issparse(X):
        return lambda: X @ W.T
    return functools.partial(np.matmul, X, W.T, out=np.empty((len(X), len(W)), X.dtype))


def grams(data: PassData) -> Callable[[], Any]:
    """Multiply X by itself for each class, unweighted: of dense X, BLAS computes a triangle."""
    X = data.X
    return lambda: [X.T @ X for _ in data.coef]


def three_products(data: HeadData) -> Callable[[], Any]:
    """Multiply forward, and back to the coefficients and to X; the logits stand in for the residual."""
    X, W = data.X, data.coef
    by_X, by_coef = np.empty_like(X), np.empty_like(W)
    multiply = forward(data)

    def run() -> None:
        residual = multiply()
        np.matmul(residual.T, X, out=by_coef)
        np.matmul(residual, W, out=by_X)

    return run


def products(data: PassData) -> Callable[[], Any]:
    """Multiply forward and back, with nothing between."""
    X, W = data.X, data.coef
    residual = np.ones((X.shape[0], W.shape[0]), X.dtype)
    if sp.issparse(X):
        return lambda: (X @ W.T, residual.T @ X)
    logits, grad = np.empty_like(residual), np.empty_like(W)
    return lambda: (np.matmul(X, W.T, out=logits), np.matmul(residual.T, X, out=grad))

"""A preconditioner for many sparse features: the Hessian's block of frequent ones, the diagonal of the rest.

Where categories are hashed to columns, the columns of one field add up to one in every row: what is added to
all of them and taken from those of another field changes no logit. A diagonal does not see that, and steps
would shrink such differences by a little each. The features of the smaller fields are frequent, so that some
thousand rows tell their block of the Hessian.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from scipy.sparse import csr_array

from fastsoftmax.runtime.executor import run_in_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Csr, Vector

# A factor of 256 MiB, some seconds to compute. And of the sample so many rows for a feature: with 3 the
# block's noise cost more steps than it saved, with 8 it saved half of them.
MAX_FEATURES = 8192
ROWS_A_FEATURE, MOST_ROWS_A_FEATURE = 8, 16
JITTER = 3e-6  # of a matrix of unit diagonal: what rounding takes from it in a float32 factor
ITEMSIZE = 4  # of the factor: it is a preconditioner's
COLUMNS = 128  # of the matrix, made at a time by a thread
NANOSECONDS_A_PRODUCT = 2.0  # of two entries of a row, in SciPy's sparse product


def n_features(n_rows: int, n_all: int, max_bytes: int) -> int:
    """Return how many of the features a sample of so many rows can tell the block of, in so many bytes."""
    return min(MAX_FEATURES, math.isqrt(max_bytes // ITEMSIZE), n_rows // ROWS_A_FEATURE, n_all)


def most(diagonal: Vector, n: int) -> NDArray[np.intp]:
    """Return the places, rising, of the n largest of the diagonal."""
    return np.sort(np.argpartition(-diagonal, n - 1)[:n]) if n else np.empty(0, np.intp)


def inverse(
    diagonal: Vector,
    l2: float,
    X: Csr,
    curvature: Vector,
    features: NDArray[np.intp],
    has_intercept: bool,
    n_threads: int | None = None,
) -> tuple[Callable[[Vector], Vector], float]:
    """Return v ↦ M⁻¹ v for one output: M is the block of some features (and the intercept), else diagonal.

    And the number of products of two entries of a row that the block took.

    Parameters
    ----------
    diagonal : ndarray (d + has_intercept,)
        That of the Hessian of the mean loss over all rows, without the penalty.
    l2 : float
    X : Csr
        Sampled rows.
    curvature : ndarray (n,)
        Of each of them in its logit, times its weight.
    features : ndarray (m,)
        The places of the block's features.
    has_intercept : bool
        Whether an intercept stands last, and belongs to the block.

    Notes
    -----
    The block is that of the sample, scaled to the diagonal of all rows. Takes 4 (m + 1)² bytes, a fourth of
    that beside while it is made, and (m + 1)³ / 3 flops.
    """
    full = diagonal + 0.0
    full[: X.shape[1]] += l2
    floor = np.finfo(float).eps * full.max(initial=0.0)
    full = np.maximum(full, floor if floor > 0.0 else 1.0)
    reciprocal = 1.0 / full
    places = np.append(features, X.shape[1]) if has_intercept else features
    matrix, n_products = _block(X, curvature, features, has_intercept, n_threads)
    found = np.sqrt(np.maximum(matrix.diagonal(), np.finfo(np.float32).tiny))
    # of all rows, with the penalty, to a unit diagonal
    factors = (np.sqrt(np.minimum(diagonal[places] * reciprocal[places], 1.0)) / found).astype(np.float32)
    matrix *= factors
    matrix *= factors[:, np.newaxis]
    np.fill_diagonal(matrix, 1.0 + JITTER)
    factor: Any = scipy.linalg.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    scale = np.sqrt(reciprocal[places])

    def apply(vector: Vector) -> Vector:
        out: Vector = reciprocal * vector
        scaled = (vector[places] * scale).astype(np.float32)
        part = scipy.linalg.cho_solve(factor, scaled, check_finite=False)
        out[places] = part * scale
        return out

    return apply, n_products


def _block(
    X: Csr, curvature: Vector, features: NDArray[np.intp], has_intercept: bool, n_threads: int | None
) -> tuple[Any, float]:
    """Return the lower triangle of Σ cᵢ x̃ᵢ x̃ᵢᵀ, scaled to a unit diagonal, in float32, and its products.

    x̃ has the constant 1 last if there is an intercept.
    """
    place = np.full(X.shape[1], -1, np.int64)
    place[features] = np.arange(len(features))
    column = place[X.indices]
    kept = column >= 0
    row = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))[kept]
    entries = X.data[kept].astype(np.float64)
    chosen = csr_array((entries, (row, column[kept])), shape=(X.shape[0], len(features)))
    del column, kept, row, entries
    # To a unit diagonal before anything is float32, whose range the squares of large entries leave.
    weights = np.repeat(curvature, np.diff(chosen.indptr))
    norms = np.sqrt(np.bincount(chosen.indices, weights * chosen.data**2, len(features)))
    norms[norms == 0.0] = 1.0
    chosen.data /= norms[chosen.indices]
    lengths = np.diff(chosen.indptr).astype(np.float64)
    n_products = float(lengths @ lengths)
    weighed = csr_array(
        (chosen.data * weights, chosen.indices, chosen.indptr),
        shape=chosen.shape,
    ).T.tocsr()
    order = len(features) + has_intercept
    matrix = np.zeros((order, order), np.float32, order="F")

    def work(parts: Iterator[int]) -> Iterator[None]:
        for part in parts:  # as a whole the sparse product is larger than the matrix
            start = part * COLUMNS
            columns = slice(start, min(start + COLUMNS, len(features)))
            below = slice(start, len(features))
            matrix[below, columns] = (weighed[columns] @ chosen[:, below]).toarray().T
            yield

    run_in_python(
        work, -(-len(features) // COLUMNS), work=NANOSECONDS_A_PRODUCT * n_products, n_threads=n_threads
    )
    if has_intercept:
        total = float(curvature.sum())
        matrix[-1, :-1] = weighed.sum(axis=1) / (np.sqrt(total) or 1.0)
        matrix[-1, -1] = 1.0 if total else 0.0
    return matrix, n_products

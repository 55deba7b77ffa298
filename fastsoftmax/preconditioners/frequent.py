"""A preconditioner for many sparse features: the Hessian's block of frequent ones, the diagonal of the rest.

Where categories are hashed to columns, the columns of one field add up to one in every row: what is added to
all of them and taken from those of another field changes no logit. A diagonal does not see that, and steps
would shrink such differences by a little each. The features of the smaller fields are frequent, so that some
thousand rows tell their block of the Hessian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Csr, Vector

# A factor of 32 MiB. And of the sample so many rows for a feature: with 3 the block's noise cost more steps
# than it saved, with 8 it saved half of them.
MAX_FEATURES = 2048
ROWS_A_FEATURE, MOST_ROWS_A_FEATURE = 8, 16
JITTER = 1e-12  # of a matrix of unit diagonal


def n_features(n_rows: int, n_all: int) -> int:
    """Return how many of the features a sample of so many rows can tell the block of."""
    return min(MAX_FEATURES, n_rows // ROWS_A_FEATURE, n_all)


def most(diagonal: Vector, n: int) -> NDArray[np.intp]:
    """Return the places, rising, of the n largest of the diagonal."""
    return np.sort(np.argpartition(-diagonal, n - 1)[:n]) if n else np.empty(0, np.intp)


def inverse(
    diagonal: Vector, l2: float, X: Csr, curvature: Vector, features: NDArray[np.intp], has_intercept: bool
) -> Callable[[Vector], Vector]:
    """Return v ↦ M⁻¹ v for one output: M is the block of some features (and the intercept), else diagonal.

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
    The block is that of the sample, scaled to the diagonal of all rows. Takes 8 (m + 1)² bytes, and
    (m + 1)³ / 3 flops.
    """
    full = diagonal + 0.0
    full[: X.shape[1]] += l2
    floor = np.finfo(float).eps * full.max(initial=0.0)
    full = np.maximum(full, floor if floor > 0.0 else 1.0)
    reciprocal = 1.0 / full
    places = np.append(features, X.shape[1]) if has_intercept else features
    matrix = _block(X, curvature, features, has_intercept)
    found = np.sqrt(np.maximum(matrix.diagonal(), np.finfo(float).tiny))
    matrix /= np.outer(found, found)
    # of all rows, with the penalty, to a unit diagonal
    loss_part = np.sqrt(np.minimum(diagonal[places] * reciprocal[places], 1.0))
    matrix *= np.outer(loss_part, loss_part)
    np.fill_diagonal(matrix, 1.0 + JITTER * len(matrix))
    factor: Any = scipy.linalg.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    scale = np.sqrt(reciprocal[places])

    def apply(vector: Vector) -> Vector:
        out: Vector = reciprocal * vector
        part = scipy.linalg.cho_solve(factor, vector[places] * scale, check_finite=False)
        out[places] = part * scale
        return out

    return apply


def _block(X: Csr, curvature: Vector, features: NDArray[np.intp], has_intercept: bool) -> Vector:
    """Return Σ cᵢ x̃ᵢ x̃ᵢᵀ of some features, and the constant 1 if there is an intercept."""
    place = np.full(X.shape[1], -1, np.int64)
    place[features] = np.arange(len(features))
    column = place[X.indices]
    kept = column >= 0
    row = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))[kept]
    entries = X.data[kept].astype(np.float64)
    chosen = csr_array((entries, (row, column[kept])), shape=(X.shape[0], len(features)))
    weighed = csr_array(
        (chosen.data * np.repeat(curvature, np.diff(chosen.indptr)), chosen.indices, chosen.indptr),
        shape=chosen.shape,
    )
    order = len(features) + has_intercept
    matrix = np.zeros((order, order))
    matrix[: len(features), : len(features)] = (weighed.T @ chosen).toarray()
    if has_intercept:
        matrix[-1, :-1] = matrix[:-1, -1] = weighed.sum(axis=0)
        matrix[-1, -1] = curvature.sum()
    return matrix

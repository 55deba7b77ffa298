"""A basis of the row space from the rows' Gram matrix, where that loses no more than a fit allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from typing import Self

    from fastsoftmax.contracts import Vector

EPS = 2.0**-52
# Of what F may lose: the bound below leaves out the constants of the products' rounding.
PART = 0.02
# The least and the largest largest eigenvalue that squares neither underflow nor overflow for.
LEAST, MOST = 1e-200, 1e200
# The most directions, a part of all, that are looked at for being rounding alone.
NULL_PART = 0.25
# What a direction's length may be, in n ε of the largest, to be rounding.
NULL = 16.0
# Flops from which products and eigenvectors are computed in a thread, so that signals are handled meanwhile.
LONG = 1e9


class GramBasis:
    """B = Xᵀ U Λ^(−1/2), where X Xᵀ = U Λ Uᵀ.

    Parameters
    ----------
    X : ndarray (n, d), float64
        Held.
    vectors : ndarray (n, n)
        U, the eigenvectors by falling eigenvalue.
    lengths : ndarray (n,)
        Λ^(½); zero of directions that are rounding.

    Notes
    -----
    The Gram matrix is rounded by ε λ₁ or so, and that is what the coordinates U Λ^(½) have the exact products
    of. At the minimum, where the residuals R of a class are −n l2 U Λ^(−½) a for its coordinates a, the loss
    of the coefficients B a differs by Rᵀ δz / n = l2 aᵀ Λ^(−½) Uᵀ δG U Λ^(−½) a ≤ l2 ‖a‖² ε λ₁ / λₙ to first
    order, and l2 ‖a‖² is at most 2 F. So 2 ε times the condition number of the Gram matrix is what F may
    lose, relative. Reflections lose ε times its root.
    """

    def __init__(self, X: Vector, vectors: Vector, lengths: Vector) -> None:
        self._X, self._vectors = X, vectors
        self._inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0.0)
        self.rows: Vector = np.ascontiguousarray(vectors * lengths)

    @classmethod
    def of(cls, X: Vector, precision: float) -> Self | None:
        """Return the basis of the rows of X (n, d), n ≤ d; None if F might lose too much by it.

        Rows that depend on one another, as centred ones do, have one all the same: directions in which they
        are rounding are left out.
        """
        largest = precision * PART / (2.0 * EPS)  # condition number
        if largest < 1.0:
            return None
        n_rows, n_features = X.shape
        is_long = n_rows**2 * (n_features + 20.0 * n_rows) > LONG
        values, vectors = blas.away(_axes, X) if is_long else _axes(X)
        if not LEAST < values[0] < MOST:
            return None
        n_held = int(np.count_nonzero(values * largest >= values[0]))
        if n_rows - n_held > NULL_PART * n_rows:
            return None
        lengths = np.sqrt(np.maximum(values, 0.0))
        if n_held < n_rows:
            held, rest = vectors[:, :n_held], vectors[:, n_held:]
            across = rest.T @ X
            across -= (((across @ X.T) @ held) / values[:n_held] @ held.T) @ X
            if np.sqrt(np.square(across).sum(axis=1)).max() > NULL * n_rows * EPS * lengths[0]:
                return None
            lengths[n_held:] = 0.0
        return cls(X, vectors, lengths)

    def coordinates(self, coef: Vector) -> Vector:
        """Return W B (K, n) of coefficients W (K, d)."""
        return ((coef @ self._X.T) @ self._vectors) * self._inverse

    def coef(self, coordinates: Vector) -> Vector:
        """Return A Bᵀ (K, d) of coordinates A (K, n)."""
        return ((coordinates * self._inverse) @ self._vectors.T) @ self._X


def _axes(X: Vector) -> tuple[Vector, Vector]:
    """Return the eigenvalues of X Xᵀ, falling, and the eigenvectors; one zero if they are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        gram = X @ X.T
    if not np.isfinite(gram).all():
        return np.zeros(1), gram
    values, vectors = np.linalg.eigh(gram)
    return values[::-1], np.ascontiguousarray(vectors[:, ::-1])

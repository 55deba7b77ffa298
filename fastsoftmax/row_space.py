"""Coordinates of the row space: a problem with fewer rows than features has no more features than rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from fastsoftmax.contracts import Csr, Guest, Halves
from fastsoftmax.kernels import blas
from fastsoftmax.preconditioners import choice

if TYPE_CHECKING:
    from typing import TypeGuard

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Rows

FEATURES_PER_ROW = 2  # with fewer, the factorisation is dear for what it takes away
FACTOR_BYTES = 48 * 2**20


def is_worth_it(X: Rows, n_classes: int) -> TypeGuard[NDArray[Any] | Halves]:
    """Return whether a fit is to be done in the coordinates of X's row space; goes by the shape alone."""
    n_rows, n_features = X.shape
    return (
        not isinstance(X, Csr | Guest)
        and n_features >= FEATURES_PER_ROW * n_rows
        and 8 * n_rows * n_features <= FACTOR_BYTES
        and choice.form_of(n_classes, n_features)[0] != "whole"  # that takes few passes as it is
    )


class RowSpace:
    """An orthonormal basis B (d, n) of a space that holds every row of X, along the rows' principal axes.

    A row x is B Bᵀ x, so its logits under W are those of the coordinates Bᵀ x under W B. What W has across
    the space changes no logit and is only penalised: the optimum has none of it (for l2 = 0, the optimum of
    least norm), and ‖W B‖ = ‖W‖ there. So F on X and F on X B have the same minimum, and W* = (W B)* Bᵀ.

    Parameters
    ----------
    X : ndarray (n, d) or Halves, n ≤ d

    Attributes
    ----------
    rows : ndarray (n, n), float64
        X B: the coordinates of the rows. Its columns are orthogonal, the longest first.

    Notes
    -----
    From Xᵀ = Q R by Householder reflections, in float64, and the singular vectors V of Rᵀ: B = Q V. Costs
    2 n² d flops and some twenty n³, and 8 n d bytes for the reflections, as Q is not formed. Rows may depend
    on one another: a column of `rows` is then zero but for rounding.

    Along principal axes the diagonal of the Hessian, the preconditioner where nothing else fits, is as good
    as the Gram matrix with a scale for each class.
    """

    def __init__(self, X: NDArray[Any] | Halves) -> None:
        dense = X.bits.view(np.float16) if isinstance(X, Halves) else X
        # The rows in C order are the columns of Xᵀ in LAPACK's. One thread: the bits depend on their number.
        with blas.one_thread():
            turned = np.array(dense, np.float64, order="C").T
            (self._reflections, self._scales), upper = blas.away(
                scipy.linalg.qr, turned, mode="raw", overwrite_a=True, check_finite=False
            )
            left, lengths, axes = blas.away(np.linalg.svd, upper.T)  # SciPy's would keep the GIL
        self._axes = axes
        self.rows: NDArray[np.float64] = np.ascontiguousarray(left * lengths)

    def coordinates(self, coef: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return W B (K, n) of coefficients W (K, d). 4 n d K flops."""
        with blas.one_thread():
            inside = self._reflected("T", np.array(coef, np.float64, order="C"))[:, : len(self._axes)]
            return np.asarray(inside @ self._axes.T)

    def coef(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return A Bᵀ (K, d) of coordinates A (K, n). 4 n d K flops."""
        n_rows = len(self._axes)
        padded = np.zeros((len(coordinates), len(self._reflections)))
        with blas.one_thread():
            padded[:, :n_rows] = coordinates @ self._axes
            return self._reflected("N", padded)

    def _reflected(self, side: str, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return vectors (K, d), times Q or, with "T", its transpose; writes over them."""
        given = "L", side, self._reflections, self._scales, vectors.T
        room = int(lapack.dormqr(*given, lwork=-1)[1][0])
        turned, _, status = lapack.dormqr(*given, lwork=room, overwrite_c=True)
        if status != 0:
            raise RuntimeError(f"LAPACK's dormqr refused its argument {-status}")
        return np.ascontiguousarray(turned.T)

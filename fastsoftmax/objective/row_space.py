"""Coordinates of the row space: a problem with fewer rows than features has no more features than rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from fastsoftmax.contracts import Csr, DeviceArray, Halves
from fastsoftmax.kernels.cpu import csr
from fastsoftmax.kernels.cpu.direct import seconds_of_pass
from fastsoftmax.preconditioners import choice
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from typing import TypeGuard

    from fastsoftmax.contracts import Array, Rows, Vector
    from fastsoftmax.objective.objective import SoftmaxObjective

# With fewer features than this a row, the factorisation (2 n² d + some 20 n³ flops) costs more than narrower
# passes save.
FEATURES_PER_ROW = 2
# What finding the space of sparse rows may cost in passes: a fit takes 20 to 60, and fewer there.
SPARSE_PASSES = 50
# The most that the reflections may take, 8 n d bytes: they are memory beside X.
FACTOR_BYTES = 48 * 2**20


def is_worth_it(X: Rows, n_classes: int) -> TypeGuard[Array | Halves | Csr]:
    """Return whether to fit in the coordinates of X's row space. By the storage and the shape alone.

    For sparse rows only if they are so few that it is found in the time of some passes.
    """
    n_rows, n_features = X.shape
    if (
        isinstance(X, DeviceArray)
        or n_features < FEATURES_PER_ROW * n_rows
        or 8 * n_rows * n_features > FACTOR_BYTES
        or choice.form_of(n_classes, n_features)[0] == "full"  # the full Hessian takes few passes anyway
    ):
        return False
    if not isinstance(X, Csr):
        return True
    return seconds_to_factorise(n_rows, n_features) <= SPARSE_PASSES * seconds_of_pass(X, n_classes)


class RowSpace:
    """An orthonormal basis B (d, n) of a space that holds every row of X, along the rows' principal axes.

    A row x is B Bᵀ x, so its logits under W are those of the coordinates Bᵀ x under W B. The component of W
    orthogonal to the space changes no logit and is only penalised: it is zero at the optimum (for l2 = 0, at
    the optimum of least norm), and ‖W B‖ = ‖W‖ there. So F on X and F on X B have the same minimum, and
    W* = (W B)* Bᵀ.

    Parameters
    ----------
    X : ndarray (n, d), Halves or Csr, n ≤ d
    features : ndarray (2, d), optional
        1 / scale and the mean of each feature: "the rows", here and in the methods, are (x − mean) / scale.

    Attributes
    ----------
    rows : ndarray (n, n), float64
        X B: the coordinates of the rows. Its columns are orthogonal, in descending order of length.

    Notes
    -----
    From Xᵀ = Q R by Householder reflections, in float64, and the singular vectors V of Rᵀ: B = Q V. Costs
    2 n² d flops and some twenty n³, and 8 n d bytes for the reflections, as Q is not formed. Of linearly
    dependent rows, some columns of `rows` are zero up to rounding.

    Along principal axes the diagonal of the Hessian, the preconditioner of problems too large for others, is
    as good as the Gram matrix with a scale for each class.
    """

    def __init__(self, X: Array | Halves | Csr, features: Vector | None = None) -> None:
        dense: Any
        if isinstance(X, Csr):
            dense = np.zeros(X.shape)
            found, places = csr.in_float64(X)
            dense[:, places] = found.toarray()
        else:
            dense = X.bits.view(np.float16) if isinstance(X, Halves) else X
        # C-ordered rows are the columns of Xᵀ in LAPACK's order. One thread: the bits depend on their number.
        with blas.one_thread():
            columns = np.array(dense, np.float64, order="C").T
            if features is not None:
                columns -= features[1][:, np.newaxis]
                columns *= features[0][:, np.newaxis]
            (self._reflections, self._scales), upper = blas.away(
                scipy.linalg.qr, columns, mode="raw", overwrite_a=True, check_finite=False
            )
            left, lengths, axes = blas.away(np.linalg.svd, upper.T)  # SciPy's holds the GIL
        self._axes = axes
        self.rows: Vector = np.ascontiguousarray(left * lengths)

    def coordinates(self, coef: Vector) -> Vector:
        """Return W B (K, n) of coefficients W (K, d). 4 n d K flops."""
        with blas.one_thread():
            projected = self._reflected("T", np.array(coef, np.float64, order="C"))[:, : len(self._axes)]
            return np.asarray(projected @ self._axes.T)

    def coef(self, coordinates: Vector) -> Vector:
        """Return A Bᵀ (K, d) of coordinates A (K, n). 4 n d K flops."""
        n_rows = len(self._axes)
        padded = np.zeros((len(coordinates), len(self._reflections)))
        with blas.one_thread():
            padded[:, :n_rows] = coordinates @ self._axes
            return self._reflected("N", padded)

    def _reflected(self, transpose: str, vectors: Vector) -> Vector:
        """Return Q v, or with "T" Qᵀ v, of each row v of vectors (K, d), which are overwritten."""
        arguments = "L", transpose, self._reflections, self._scales, vectors.T
        lwork = int(lapack.dormqr(*arguments, lwork=-1)[1][0])
        products, _, status = lapack.dormqr(*arguments, lwork=lwork, overwrite_c=True)
        if status != 0:
            raise RuntimeError(f"LAPACK's dormqr refused its argument {-status}")
        return np.ascontiguousarray(products.T)


def seconds_to_factorise(n_rows: int, n_features: int) -> float:
    """Return about how long a `RowSpace` takes: measured at 150 × 1,500 to 300 × 8,000, one core."""
    return 4.0 * n_rows**2 * n_features / 22e9 + 2e-10 * n_rows**3


class Rotation(NamedTuple):
    """An objective of rows, and the same of their coordinates in their row space, with the maps between."""

    space: RowSpace
    on_features: SoftmaxObjective
    objective: SoftmaxObjective

    def to(self, x: Vector) -> Vector:
        """Return the flat parameters on the coordinates of those on the features."""
        coef, intercept = self.on_features.unpack(x)
        return self.objective.pack(self.space.coordinates(coef), intercept)

    def back(self, x: Vector) -> Vector:
        """Return the flat parameters on the features of those on the coordinates; so, too, for gradients."""
        coef, intercept = self.objective.unpack(x)
        return self.on_features.pack(self.space.coef(coef), intercept)

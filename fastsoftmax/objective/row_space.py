"""Coordinates of the row space: a problem with fewer rows than features has no more features than rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from fastsoftmax.contracts import Csr, DeviceArray, Halves
from fastsoftmax.kernels.cpu import csr
from fastsoftmax.kernels.cpu.direct import seconds_of_pass
from fastsoftmax.objective.gram_basis import GramBasis
from fastsoftmax.preconditioners import choice
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from typing import TypeGuard

    from fastsoftmax.contracts import Array, Rows, Vector
    from fastsoftmax.objective.objective import SoftmaxObjective

# With fewer features than this a row, the factorisation costs more than narrower passes save.
FEATURES_PER_ROW = 2
# What finding the space of sparse rows may cost in steps: a fit takes 20 to 60, and fewer there.
SPARSE_STEPS = 50
# What a step of `solvers.direct` takes besides its pass, at all and for each parameter.
STEP_SECONDS, PARAM_SECONDS = 5e-5, 2e-8
# The most that the float64 rows, or their reflections, may take: they are memory beside X.
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
    return steps_to_find(X, n_classes) <= SPARSE_STEPS


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
    precision : float
        What the minimum of F may lose by the rounding of the coordinates, relative. Of 0 or next to it, B is
        orthonormal to rounding.

    Attributes
    ----------
    rows : ndarray (n, n), float64
        X B: the coordinates of the rows. Its columns are orthogonal, in descending order of length.

    Notes
    -----
    From the rows' Gram matrix where it is precise enough (`objective.gram_basis`: n² d flops and 7e-8 n²
    seconds, about a sixth of the time), otherwise from Xᵀ = Q R by Householder reflections and the singular
    vectors V of Rᵀ: B = Q V (2 n² d flops and some twenty n³). 8 n d bytes in both, unless X is in float64
    already: neither B nor Q is formed. Of linearly dependent rows, some columns of `rows` are zero up to
    rounding.

    Along principal axes the diagonal of the Hessian, the preconditioner of problems too large for others, is
    as good as the Gram matrix with a scale for each class.
    """

    def __init__(
        self, X: Array | Halves | Csr, features: Vector | None = None, *, precision: float = 0.0
    ) -> None:
        dense: Any
        if isinstance(X, Csr):
            dense = np.zeros(X.shape)
            found, places = csr.in_float64(X)
            dense[:, places] = found.toarray()
        else:
            dense = X.bits.view(np.float16) if isinstance(X, Halves) else X
        dense = np.asarray(dense, np.float64, order="C")
        if features is not None:
            dense = dense - features[1]
            dense *= features[0]
        # One thread: the bits depend on their number.
        with blas.one_thread():
            basis = GramBasis.of(dense, precision)
            self._basis: GramBasis | Reflections = Reflections(dense) if basis is None else basis
        self.rows: Vector = self._basis.rows

    def coordinates(self, coef: Vector) -> Vector:
        """Return W B (K, n) of coefficients W (K, d). 2 to 4 n d K flops."""
        with blas.one_thread():
            return self._basis.coordinates(coef)

    def coef(self, coordinates: Vector) -> Vector:
        """Return A Bᵀ (K, d) of coordinates A (K, n). 2 to 4 n d K flops."""
        with blas.one_thread():
            return self._basis.coef(coordinates)


class Reflections:
    """B = Q V by the Householder reflections of Xᵀ = Q R, as LAPACK leaves them."""

    def __init__(self, X: Vector) -> None:
        # C-ordered rows are the columns of Xᵀ in LAPACK's order.
        (self._reflections, self._scales), upper = blas.away(
            scipy.linalg.qr, X.copy().T, mode="raw", overwrite_a=True, check_finite=False
        )
        left, lengths, axes = blas.away(np.linalg.svd, upper.T)  # SciPy's holds the GIL
        self._axes = axes
        self.rows: Vector = np.ascontiguousarray(left * lengths)

    def coordinates(self, coef: Vector) -> Vector:
        """Return W B."""
        projected = self._reflected("T", np.array(coef, np.float64, order="C"))[:, : len(self._axes)]
        return np.asarray(projected @ self._axes.T)

    def coef(self, coordinates: Vector) -> Vector:
        """Return A Bᵀ."""
        padded = np.zeros((len(coordinates), len(self._reflections)))
        padded[:, : len(self._axes)] = coordinates @ self._axes
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
    """Return about how long a `RowSpace` takes, from a Gram matrix: one core, 30 × 500 to 300 × 8,000."""
    return 2.0 * n_rows**2 * n_features / 50e9 + 1e-9 * n_rows * n_features + 8e-8 * n_rows**2 + 3e-4


def steps_to_find(X: Rows, n_classes: int) -> float:
    """Return how many steps on the features take as long as finding the row space, by the shape alone.

    Of wide sparse rows it is not the pass that takes long, but what is done to vectors (400 × 5,000 with a
    fiftieth of its entries and 20 classes: 3 ms a step, of which the pass takes a tenth).
    """
    n_rows, n_features = X.shape
    step = STEP_SECONDS + PARAM_SECONDS * n_classes * n_features + seconds_of_pass(X, n_classes)
    return seconds_to_factorise(n_rows, n_features) / step


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

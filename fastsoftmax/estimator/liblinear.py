"""LIBLINEAR's intercept: the coefficient of a constant feature, penalised with the others [1]_.

References
----------
.. [1] R.-E. Fan, K.-W. Chang, C.-J. Hsieh, X.-R. Wang, C.-J. Lin, "LIBLINEAR: a library for large linear
   classification", JMLR 9 (2008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from fastsoftmax import devices
from fastsoftmax.contracts import Csr, DeviceArray, Halves
from fastsoftmax.data import sparse

if TYPE_CHECKING:
    from fastsoftmax.contracts import Rows, Vector


def check_two_classes(solver: str, labels: Any) -> None:
    """Raise ValueError for solver "liblinear" with more than two classes, unless it is one against rest."""
    if solver == "liblinear" and labels.n_outputs > 1 and not labels.one_vs_rest:
        raise ValueError(
            "Only binary classification is supported. The type of the target is multiclass. The 'liblinear' "
            "solver does not support multiclass classification (n_classes >= 3): use another solver, or "
            "multi_class='ovr', or wrap the estimator in a OneVsRestClassifier."
        )


def with_constant(rows: Rows, scaling: float) -> Rows:
    """Return a float64 copy of the rows with one more feature, constant at `scaling`."""
    n_rows, n_features = rows.shape
    if isinstance(rows, DeviceArray):
        return devices.with_constant(rows, scaling)
    if not isinstance(rows, Csr):
        dense = rows.bits.view(np.float16) if isinstance(rows, Halves) else rows
        return np.column_stack((dense.astype(np.float64), np.full(n_rows, scaling)))
    constant = scipy.sparse.csr_array(np.full((n_rows, 1), scaling))
    wide = scipy.sparse.hstack((sparse.to_scipy(rows), constant), format="csr", dtype=np.float64)
    return Csr(wide.data, wide.indices, wide.indptr, (n_rows, n_features + 1))


def split(coef: Vector, scaling: float) -> tuple[Vector, Vector]:
    """Return the coefficients (K, d) and intercepts (K,) of coefficients (K, d + 1)."""
    return coef[:, :-1], scaling * coef[:, -1]


def joined(coef: Vector, intercept: Vector, scaling: float) -> Vector:
    """Return the coefficients (K, d + 1) of coefficients (K, d) and intercepts (K,), undoing `split`."""
    return np.column_stack((coef, intercept / scaling))

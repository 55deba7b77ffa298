"""The intercept as LIBLINEAR has it: the coefficient of a constant feature, penalised with the others [1]_.

References
----------
.. [1] R.-E. Fan, K.-W. Chang, C.-J. Hsieh, X.-R. Wang, C.-J. Lin, "LIBLINEAR: a library for large linear
   classification", JMLR 9 (2008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse

from fastsoftmax import compressed, devices
from fastsoftmax.contracts import Csr, Guest, Halves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Rows


def check_two_classes(solver: str, labels: Any) -> None:
    """Raise ValueError if LIBLINEAR is asked for more than two classes."""
    if solver == "liblinear" and labels.n_outputs > 1:
        raise ValueError(
            "Only binary classification is supported. The type of the target is multiclass. The 'liblinear' "
            "solver does not support multiclass classification (n_classes >= 3): use another solver, or wrap "
            "the estimator in a OneVsRestClassifier."
        )


def with_constant(rows: Rows, scaling: float) -> Rows:
    """Return the rows in float64 with one more feature, which is `scaling` everywhere. Copies them."""
    n_rows, n_features = rows.shape
    if isinstance(rows, Guest):
        device: Any = devices.get("cuda")
        guest: Rows = device.with_constant(rows, scaling)
        return guest
    if not isinstance(rows, Csr):
        dense = rows.bits.view(np.float16) if isinstance(rows, Halves) else rows
        return np.column_stack((dense.astype(np.float64), np.full(n_rows, scaling)))
    constant = scipy.sparse.csr_array(np.full((n_rows, 1), scaling))
    wide = scipy.sparse.hstack((compressed.to_scipy(rows), constant), format="csr", dtype=np.float64)
    return Csr(wide.data, wide.indices, wide.indptr, (n_rows, n_features + 1))


def split(coef: NDArray[np.float64], scaling: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coefficients (K, d) and the intercepts (K,) that coefficients (K, d + 1) stand for."""
    return coef[:, :-1], scaling * coef[:, -1]


def joined(coef: NDArray[np.float64], intercept: NDArray[np.float64], scaling: float) -> NDArray[np.float64]:
    """Return the coefficients (K, d + 1) of which `split` makes these."""
    return np.column_stack((coef, intercept / scaling))

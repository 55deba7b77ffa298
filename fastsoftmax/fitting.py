"""One fit: checked rows as an objective, its minimum, and parameters as an estimator's attributes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import liblinear, parameters, validation
from fastsoftmax.contracts import Csr, RowBlock
from fastsoftmax.kernels import blas
from fastsoftmax.objective import SoftmaxObjective

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Rows, Solution, Vector
    from fastsoftmax.labels import Labels
    from fastsoftmax.parameters import Settings
    from fastsoftmax.protocols import Objective


class Fit:
    """The objective of a SoftmaxRegression on rows, and how its flat parameters are the estimator's.

    Parameters
    ----------
    model : SoftmaxRegression
    rows : ndarray or Csr, (n, d)
        With the constant feature of `liblinear.with_constant` where the intercept is scaled.
    labels : Labels
    weight : ndarray (n,), float64
    settings : Settings
    penalised : bool
        False leaves the penalty out, as for the batches of `partial_fit`, which carry it elsewhere.

    Attributes
    ----------
    objective : SoftmaxObjective
    total_weight : float
    """

    def __init__(
        self,
        model: Any,
        rows: Rows,
        labels: Labels,
        weight: NDArray[np.float64],
        settings: Settings,
        *,
        penalised: bool = True,
    ) -> None:
        self._scaling = settings.intercept_scaling
        self._n_outputs = labels.n_outputs
        # scikit-learn's rule, but for LIBLINEAR, which computes in double.
        single = rows.dtype == np.float32 if not isinstance(rows, Csr) else rows.data.dtype == np.float32
        self._dtype = np.float32 if single and model.solver != "liblinear" else np.float64
        self.total_weight = float(weight.sum())
        self.objective = SoftmaxObjective.of_rows(
            RowBlock(rows, labels.target, weight),
            labels.n_outputs,
            l2=1.0 / (settings.C * self.total_weight) if penalised else 0.0,  # 1 / inf is 0
            fit_intercept=model.fit_intercept and self._scaling is None,
            loss=labels.loss,
            device=model.device,
            n_threads=model.n_threads,
        )

    def parameters_of(self, coef: Any, intercept: Any) -> Vector:
        """Return the flat parameters that coefficients (K, d), dense or sparse, and intercepts (K,) are."""
        coef = validation.dense(coef)
        if self._scaling is not None:
            coef = liblinear.joined(coef, intercept, self._scaling)
        return self.objective.pack(coef, intercept)

    def attributes_of(self, x: Vector) -> dict[str, NDArray[Any]]:
        """Return `coef_` and `intercept_` of flat parameters, as arrays of their own."""
        coef, intercept = self.objective.unpack(x)
        if self._scaling is not None:
            coef, intercept = liblinear.split(coef, self._scaling)
        return {
            "coef_": np.array(coef, self._dtype, order="C"),
            "intercept_": np.array(intercept, self._dtype),
        }

    def ridge(self, settings: Settings) -> Vector:
        """Return the diagonal of the Hessian of the penalty ‖coef‖² / (2 C), and of LIBLINEAR's intercept."""
        coef = np.full((self._n_outputs, self.objective.n_features), 1.0 / settings.C)
        intercept = 0.0 if settings.intercept_scaling is None else settings.intercept_scaling**-2 / settings.C
        return self.objective.pack(coef, np.full(self._n_outputs, intercept))

    def precision_at(self, x: Vector) -> Vector:
        """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ + ‖coef‖² / (2 C). One pass."""
        precision = self.objective.diagonal(x) * self.total_weight
        if self._scaling is not None:
            precision[-1] /= self._scaling**2  # of the intercept, no longer of its feature's coefficient
        return precision


def minimize(
    objective: Objective, start: Vector, solver: str, *, tol: float, max_iter: int, callback: Any
) -> Solution:
    """Return where the solver of that name comes from `start`."""
    # BLAS's threads would spin beside the kernels' between two passes, and the bits of the solver's inner
    # products would depend on their number.
    with blas.one_thread():
        solution: Solution = importlib.import_module(parameters.SOLVERS[solver]).minimize(
            objective, start, tol=tol, max_iter=max_iter, callback=callback
        )
    return solution

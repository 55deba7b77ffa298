"""One fit: checked rows as an objective, its minimum, and parameters as an estimator's attributes."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import devices, liblinear, loading, parameters, validation
from fastsoftmax.contracts import Csr, Params, RowBlock
from fastsoftmax.kernels import blas
from fastsoftmax.objective import SoftmaxObjective
from fastsoftmax.row_space import RowSpace, is_worth_it

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Rows, Solution, Vector
    from fastsoftmax.labels import Labels
    from fastsoftmax.parameters import Settings
    from fastsoftmax.protocols import Checkpoint, Objective


# A logit this far below all others leaves its class a probability of exactly 0 in float64, where e^−746 is 0.
CERTAIN = 1000.0


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
        What is to be minimised: of the rows, or of their coordinates in the space that they span where that
        has far fewer dimensions (`fastsoftmax.row_space`).
    total_weight : float
    given : tuple
        `rows`, `labels` and `weight`.
    solver : str
        The one that runs: "newton-cg" in the place of "newton-cholesky" where the Hessian is large.
    device : str
        The one that computes on the rows.
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
        self.given = rows, labels, weight
        self._scaling = settings.intercept_scaling
        self._n_outputs = labels.n_outputs
        self._loss = labels.loss
        # scikit-learn's rule, but for LIBLINEAR, which computes in double.
        single = rows.dtype == np.float32 if not isinstance(rows, Csr) else rows.data.dtype == np.float32
        self._dtype = np.float32 if single and model.solver != "liblinear" else np.float64
        self.total_weight = float(weight.sum())
        # By the rows as they came: a problem is not to go to two devices.
        self.device = devices.settled(model.device, rows, labels.n_outputs)
        options = {
            "l2": 1.0 / (settings.C * self.total_weight) if penalised else 0.0,  # 1 / inf is 0
            "fit_intercept": model.fit_intercept and self._scaling is None,
            "loss": labels.loss,
            "device": self.device,
            "n_threads": model.n_threads,
        }
        block = RowBlock(rows, labels.target, weight)
        self._on_features = SoftmaxObjective.of_rows(block, labels.n_outputs, **options)
        self.objective = self._on_features
        # A batch's quadratic is one of the features, not of other coordinates.
        self._space = RowSpace(rows) if penalised and is_worth_it(rows, labels.n_outputs) else None
        if self._space is not None:
            target = labels.target if labels.target.ndim == 1 else labels.target.astype(np.float64)
            block = RowBlock(self._space.rows, target, weight)
            self.objective = SoftmaxObjective.of_rows(block, labels.n_outputs, **options)
        too_large = settings.solver == "newton-cholesky" and not self.objective.has_explicit_hessian
        self.solver = "newton-cg" if too_large else settings.solver

    def at(self, C: float) -> Fit:
        """Return the same fit with another strength of the penalty; all that is of the rows is shared."""
        other = copy.copy(self)
        other.objective = self.objective.with_l2(1.0 / (C * self.total_weight))
        return other

    def ran(self, solver: str) -> str:
        """Return what runs, in words: the solver, and the device where that is not the CPU."""
        return solver if self.device == "cpu" else f"{solver} on {self.device}"

    def start(self, x: Vector, foregone: NDArray[np.int8]) -> Vector:
        """Return the parameters x, but free intercepts that are to become infinite set far enough out.

        There the gradient of such a class is zero to the last bit, and it stays; from elsewhere it would go
        on for ever by smaller and smaller steps.
        """
        if not (self.objective.fit_intercept and foregone.any()):
            return x
        coef, intercept = (np.array(part) for part in self.objective.unpack(x))
        out = foregone != 0
        coef[out] = 0.0
        intercept[out] = CERTAIN * foregone[out]
        if self._loss == "softmax":  # its logits mean something beside the others only
            intercept[out] += intercept[~out].mean()
        return self.objective.pack(coef, intercept)

    def parameters_of(self, coef: Any, intercept: Any, precision: Vector | None = None) -> Vector:
        """Return the flat parameters that coefficients (K, d), dense or sparse, and intercepts (K,) are.

        `precision` is what `precision_at` told of the fit that they are from: an intercept of which it knew
        nothing, because it had none of its rows, is taken as zero.
        """
        coef = validation.dense(coef)
        if precision is not None and precision.size > coef.size:
            intercept = np.where(precision[coef.size :] > 0.0, intercept, 0.0)
        if self._scaling is not None:
            coef = liblinear.joined(coef, intercept, self._scaling)
        if self._space is not None:
            coef = self._space.coordinates(coef)
        return self.objective.pack(coef, intercept)

    def attributes_of(self, x: Vector) -> dict[str, NDArray[Any]]:
        """Return `coef_` and `intercept_` of flat parameters, as arrays of their own."""
        coef, intercept = self._unpacked(x)
        if self._scaling is not None:
            coef, intercept = liblinear.split(coef, self._scaling)
        own = np.empty(coef.shape, self._dtype)
        if self._loss == "softmax" and self.objective.l2 > 0.0:
            # What all classes have in common is nothing but penalised: at the optimum it is zero.
            with blas.one_thread():  # the bits depend on their number
                shared = np.full(len(coef), 1.0 / len(coef)) @ coef
            np.subtract(coef, shared, out=own, casting="same_kind")
        else:
            own[:] = coef
        return {"coef_": own, "intercept_": np.array(intercept, self._dtype)}

    def ridge(self, settings: Settings) -> Vector:
        """Return the diagonal of the Hessian of the penalty ‖coef‖² / (2 C), and of LIBLINEAR's intercept."""
        coef = np.full((self._n_outputs, self.objective.n_features), 1.0 / settings.C)
        intercept = 0.0 if settings.intercept_scaling is None else settings.intercept_scaling**-2 / settings.C
        return self.objective.pack(coef, np.full(self._n_outputs, intercept))

    def precision_at(self, x: Vector) -> Vector:
        """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ + ‖coef‖² / (2 C). One pass."""
        on_features = self._on_features.pack(*self._unpacked(x))
        precision = self._on_features.diagonal(on_features) * self.total_weight
        if self._scaling is not None:
            precision[-1] /= self._scaling**2  # of the intercept, no longer of its feature's coefficient
        return precision

    def _unpacked(self, x: Vector) -> Params:
        """Return flat parameters as coefficients of the features, and intercepts."""
        coef, intercept = self.objective.unpack(x)
        return Params(coef if self._space is None else self._space.coef(coef), intercept)


@contextlib.contextmanager
def kept_on_failure(model: Any) -> Iterator[None]:
    """Leave an object as it was if the body does not come to its end."""
    before = model.__dict__.copy()
    try:
        yield
    except BaseException:
        model.__dict__.clear()
        model.__dict__.update(before)
        raise


def minimize(
    objective: Objective,
    start: Vector,
    solver: str,
    *,
    tol: float,
    max_iter: int,
    callback: Any,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return where the solver of that name comes from `start`, or from what the checkpoint has kept.

    ValueError if the numbers in X are so large that the objective or its Hessian overflows.
    """
    # BLAS's threads would spin beside the kernels' between two passes, and the bits of the solver's inner
    # products would depend on their number.
    with blas.one_thread():
        try:
            solution: Solution = loading.module(parameters.SOLVERS[solver]).minimize(
                objective, start, tol=tol, max_iter=max_iter, callback=callback, checkpoint=checkpoint
            )
        except FloatingPointError as error:
            raise ValueError(str(error)) from error
    return solution


def shortfall(solution: Solution, tol: float) -> str:
    """Say why a solver stopped short of its tolerance, how near it came, and what to do."""
    kind = "duality gap" if solution.gap is not None else "estimated gap"
    advice = "Increase the number of iterations (max_iter), scale the data, or raise tol."
    if "separable" in solution.message:
        advice = "Give a finite C."
    elif "precision" in solution.message:
        advice = "Give a smaller C, or raise tol."  # products are in double by then, whatever X is
    return (
        f"{solution.message}. Relative {kind} {solution.suboptimality:.2g}, and tol={tol:g}, after "
        f"{solution.history[-1].passes} passes over X. {advice}"
    )

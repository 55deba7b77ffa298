"""One fit: the objective of checked rows, its minimisation, and the fitted attributes."""

from __future__ import annotations

import contextlib
import copy
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import devices, losses
from fastsoftmax.contracts import Csr, Params, RowBlock
from fastsoftmax.data import moments, statistics, validation
from fastsoftmax.estimator import liblinear
from fastsoftmax.estimator.labels import unobserved_classes
from fastsoftmax.objective import stored
from fastsoftmax.objective.objective import Options, SoftmaxObjective
from fastsoftmax.objective.row_space import RowSpace, is_worth_it
from fastsoftmax.penalties.squared_norm import SquaredNorm
from fastsoftmax.solvers.progress import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Centre, Rows, Solution, Vector
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels


# A logit this far below all others gives its class a probability of exactly 0: in float64 e^−746 is 0.
CERTAIN = 1000.0


# Wide rows begin on their features if so many steps take as long as finding the row space: most arrive sooner
# (300 × 700 of two classes: 7 ms in place of 14). Where fewer do, the row space is found at once.
FEATURES_FIRST = 20
# The least tolerance that the solver of small problems is asked for: it goes on to a tenth of it, and
# rounding is not far below. On the way it goes over to `lbfgs` where its diagonal has turned out slow.
LOOSE = 1e-10


class Fit:
    """The objective of a SoftmaxRegression on rows, and the map between flat and fitted parameters.

    Parameters
    ----------
    model : SoftmaxRegression
    rows : ndarray or Csr, (n, d)
        With the constant feature of `liblinear.with_constant` if the intercept is scaled.
    labels : Labels
    weight : ndarray (n,), float64
    settings : Settings
    penalised : bool
        False leaves the penalty out, for the batches of `partial_fit`, whose quadratic holds it.
    features : ndarray (m, 2, d), optional
        For `standardize=True`, 1 / deviation and the centre of each feature (`features_of`; the first counts
        here): the solver's parameters are those of centred and scaled rows.

    Attributes
    ----------
    objective : SoftmaxObjective
        The function to minimise: of the rows, or of their coordinates in the row space where that has far
        fewer dimensions (`fastsoftmax.objective.row_space`).
    total_weight : float
        The sum of the rows' weights.
    data : tuple
        `rows`, `labels` and `weight`.
    solver : str
        The solver that runs: "newton-cg" instead of "newton-cholesky" if the Hessian is too large.
    device : str
        The device that computes on the rows.
    float64_products : bool
        Whether the rows are narrow, but so far from zero that products with them have to be float64.
    """

    _mapped: tuple[Vector, Params] | None = None  # a point of the row space, and its coefficients on the rows

    def __init__(
        self,
        model: Any,
        rows: Rows,
        labels: Labels,
        weight: Vector,
        settings: Settings,
        *,
        penalised: bool = True,
        features: Vector | None = None,
    ) -> None:
        self.data = rows, labels, weight
        self._standardise_by(None if features is None else features[0])
        self._penalised, self._tol = penalised, model.tol
        self.float64_products = False
        self._scaling = settings.intercept_scaling
        self._n_outputs = labels.n_outputs
        self._family = losses.family(labels.loss)
        # The dtype of fitted attributes, by scikit-learn's rule, where it is precise enough (`stored`).
        self._dtype: type = (
            np.float32 if rows.dtype == np.float32 and model.solver != "liblinear" else np.float64
        )
        self.total_weight = float(weight.sum())
        # By the rows as passed in, not their row-space coordinates: one problem goes to one device.
        self.device = devices.settled(model.device, rows, labels.n_outputs)
        options: Options = {
            "l2": 1.0 / (settings.C * self.total_weight) if penalised else 0.0,  # 1 / inf is 0
            "fit_intercept": model.fit_intercept and self._scaling is None,
            "loss": labels.loss,
            "device": self.device,
            "n_threads": model.n_threads,
            "scale": self.scale,
        }
        block = RowBlock(rows, labels.target, weight)
        self._on_features = self._objective_of(block, options)
        self.objective = self._centred(self._on_features)
        # The quadratic of `partial_fit` is diagonal in the features, not in other coordinates, and is not one
        # of centred rows' intercepts.
        may_rotate = penalised and self.objective.penalty.rotation_invariant and self._may_rotate
        self._space = None
        centre = statistics.centre_of(rows) if penalised and self.objective.fit_intercept else None
        if may_rotate and is_worth_it(rows, labels.n_outputs):
            may_begin = settings.solver == "lbfgs" and model.tol >= LOOSE
            may_begin &= centre is None or self.scale is not None
            problem = self.objective.direct if may_begin else None
            if problem is not None and problem.steps_to_row_space() >= FEATURES_FIRST:
                self.objective = self.objective.rotating(functools.partial(self._in_row_space, options))
            else:
                self._space, self.objective = self._in_row_space(options)
        elif centre is not None:
            self._centre_at(centre)
        if self.objective.is_float32:
            self.objective = self.objective.storing(self._dtype)
        too_large = settings.solver == "newton-cholesky" and not self.objective.has_explicit_hessian
        self.solver = "newton-cg" if too_large else settings.solver

    def _objective_of(self, block: RowBlock, options: Options) -> SoftmaxObjective:
        """Return the objective of the rows by their features."""
        return SoftmaxObjective.of_rows(block, self._n_outputs, **options)

    @property
    def _may_rotate(self) -> bool:
        """Whether the rows' logits are those of their coordinates in another basis."""
        return True

    def _in_row_space(self, options: Options) -> tuple[RowSpace, SoftmaxObjective]:
        """Return the row space, and the objective of the rows' coordinates there, centred where it helps."""
        rows: Any
        rows, labels, weight = self.data
        space = RowSpace(rows, self._features, precision=self._tol)
        target = labels.target if labels.target.ndim == 1 else labels.target.astype(np.float64)
        coordinates = RowBlock(space.rows, target, weight)
        of_coordinates: Options = {**options, "scale": None}  # they are those of scaled rows already
        objective = SoftmaxObjective.of_rows(coordinates, labels.n_outputs, **of_coordinates)
        centre = statistics.centre_of(space.rows) if objective.fit_intercept else None
        return space, objective if centre is None else objective.centred(centre)

    def _centre_at(self, centre: Centre) -> None:
        """Centre the columns that are far from zero for their deviation; products may have to be float64."""
        if self.scale is None:  # else they are centred
            self.objective = self.objective.centred(centre)
        if statistics.needs_float64(centre):
            self.float64_products = self.objective.is_float32
            self.objective = self.objective.in_float64() or self.objective
            self._dtype = np.float64

    @property
    def plan(self) -> list[tuple[str, str, str]] | None:
        """The kernels that the fit is going to call: module, name and signature of each. None on a GPU."""
        if self.device != "cpu":
            return None
        if not self._is_small:
            return self._usual_plan()
        rows, labels, weight = self.data
        target = labels.target if labels.target.ndim == 1 else labels.target.astype(np.float64, copy=False)
        loss = self._family.in_float64(self._family.for_targets(labels.target, self._n_outputs))
        return devices.host().fit_plan(loss, RowBlock(rows, target, weight), direct=True)

    @property
    def plan_ahead(self) -> list[tuple[str, str, str]] | None:
        """The plan, with the kernels that are called besides if the problem is not small after all.

        Other processes compile them meanwhile, from the end on: first the last four of the plan, which are
        needed in any case.
        """
        plan = self.plan
        direct = self.objective.direct if plan is not None and self._is_small else None
        if plan is None or direct is None or not direct.likely_hands_over:
            return plan
        besides = [kernel for kernel in self._usual_plan() if kernel not in plan]
        return [*plan[:-4], *besides, *plan[-4:]]

    @property
    def _is_small(self) -> bool:
        return self.solver == "lbfgs" and self._tol >= LOOSE and self.objective.direct is not None

    def _usual_plan(self) -> list[tuple[str, str, str]]:
        rows, labels, weight = self.data
        loss = self._family.for_targets(labels.target, self._n_outputs)
        return devices.host().fit_plan(loss, RowBlock(rows, labels.target, weight))

    @property
    def is_rotated(self) -> bool:
        """Whether the objective is one of the rows' coordinates in their row space."""
        return self._space is not None

    def at(self, C: float) -> Fit:
        """Return the same fit with another C; everything that depends on the rows alone is shared."""
        other = copy.copy(self)
        other.objective = self.objective.with_l2(1.0 / (C * self.total_weight))
        return other

    def ran(self, solver: str) -> str:
        """Return the value of `solver_`: the solver's name, and the device unless it is the CPU."""
        return solver if self.device == "cpu" else f"{solver} on {self.device}"

    def start(self, x: Vector, unobserved_classes: NDArray[np.int8]) -> Vector:
        """Return the starting point x with the intercepts of unobserved classes set to ±CERTAIN.

        Their optimum is infinite. At CERTAIN the gradient of such a class is exactly zero, so that it stays
        there; from elsewhere it would move on by ever smaller steps.
        """
        if not (self.objective.fit_intercept and unobserved_classes.any()):
            return x
        coef, intercept = (np.array(part) for part in self.objective.unpack(x))
        unobserved = unobserved_classes != 0
        coef[unobserved] = 0.0
        intercept[unobserved] = CERTAIN * unobserved_classes[unobserved]
        if self._family.SHIFT_INVARIANT:  # only differences between logits matter
            intercept[unobserved] += intercept[~unobserved].mean()
        return self.objective.pack(coef, intercept)

    def parameters_of(self, coef: Any, intercept: Any, precision: Vector | None = None) -> Vector:
        """Return the flat parameters of coefficients (K, d), dense or sparse, and intercepts (K,).

        `precision` is that of the fit they are from, by `precision_at`: intercepts whose precision is zero,
        of classes without rows there, are replaced by zero.
        """
        coef = validation.dense(coef)
        if precision is not None and precision.size > coef.size:
            intercept = np.where(precision[coef.size :] > 0.0, intercept, 0.0)
        if self._scaling is not None:
            coef = liblinear.joined(coef, intercept, self._scaling)
        if self.scale is not None:
            intercept = intercept + coef @ self._mean
            coef = coef * self.scale
        if self._space is not None:
            coef = self._space.coordinates(coef)
        return self.objective.pack(coef, intercept)

    def stored(self, solution: Solution, tol: float) -> tuple[dict[str, Array], Solution]:
        """Return `coef_` and `intercept_` of a solution, and the solution with F and the gap of those.

        For float32 rows they are float32 if that raises F by little beside the tolerance, otherwise float64.
        Solvers see to that while products are float32. Batches of `partial_fit` approximate the loss of
        earlier ones more roughly than float32: they are not checked.
        """
        if self._dtype == np.float64 or solution.rounded or not self._penalised:
            return self.attributes_of(solution.x), solution
        objective = self._on_features.with_l2(self.objective.l2).storing(self._dtype)
        objective = objective.in_float64() or objective
        x = objective.pack(*self._on_rows(solution.x))
        value, _ = objective.as_stored(x, solution.value, np.zeros_like(x))
        excess = value - solution.value
        gap = None if solution.gap is None else max(0.0, solution.gap + excess)
        certified = gap is None or not solution.converged or gap <= tol * abs(value)
        if not (certified and abs(excess) <= HIDDEN * tol * abs(value)):
            return self.attributes_of(solution.x, np.float64), solution
        last = solution.history[-1]._replace(objective=value, gap=gap)
        return self.attributes_of(solution.x), solution._replace(
            value=value, gap=gap, history=[*solution.history[:-1], last]
        )

    def attributes_of(self, x: Vector, dtype: type | None = None) -> dict[str, Array]:
        """Return `coef_` and `intercept_` of flat parameters, copied; by default in the dtype of the rows."""
        stored_dtype = dtype or self._dtype
        coef, intercept = self._unpacked(x)
        if self._scaling is not None:
            coef, intercept = liblinear.split(coef, self._scaling)
        fitted_coef = stored.coefficients(coef, self._family, self.objective.penalty, np.dtype(stored_dtype))
        return {"coef_": fitted_coef, "intercept_": np.array(intercept, stored_dtype)}

    def attributes_of_many(self, points: Vector, features: Vector | None = None) -> tuple[Vector, Vector]:
        """Return coefficients (m, K, d) and intercepts (m, K), float64, of points (m, K (d + 1)).

        The points are on the features, by `features` (m, 2, d) if given. As `attributes_of` has them; where
        there are no intercepts they are the zeros in the points.
        """
        n_coef = self._n_outputs * self.objective.n_features
        coef = points[:, :n_coef].reshape(len(points), self._n_outputs, -1).copy()
        intercept = points[:, n_coef:].copy()
        if features is not None:
            coef *= features[:, :1]
            intercept -= np.einsum("mkd,md->mk", coef, features[:, 1])
        if self._family.SHIFT_INVARIANT and self.objective.penalty.centres_classes:
            coef -= coef.mean(axis=1, keepdims=True)
        return coef, intercept

    def ridge(self, settings: Settings) -> Vector:
        """Return the diagonal of the Hessian of the penalty ‖coef‖² / (2 C), with LIBLINEAR's intercept."""
        curvature = SquaredNorm(1.0 / settings.C).curvature
        coef = np.full((self._n_outputs, self.objective.n_features), curvature)
        intercept = 0.0 if settings.intercept_scaling is None else settings.intercept_scaling**-2 / settings.C
        return self.objective.pack(coef, np.full(self._n_outputs, intercept))

    def precision_at(self, x: Vector) -> Vector:
        """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ + ‖coef‖² / (2 C), (n_params,). One pass."""
        self._mapped = None if self._space is None else (x, self._on_rows(x))
        on_features = self._on_features.pack(*self._on_rows(x))
        direct = self._on_features.direct
        by = self._on_features if direct is None else direct  # the same, at less cost where calls are dear
        precision = self._in_feature_units(by.diagonal(on_features) * self.total_weight)
        if self._scaling is not None:
            # From the constant feature's coefficients to the intercepts.
            by_class = precision.reshape(self._n_outputs, -1)
            by_class[:, -1] /= self._scaling**2
            precision = np.concatenate((by_class[:, :-1].ravel(), by_class[:, -1]))
        return precision

    def _unpacked(self, x: Vector) -> Params:
        """Return flat parameters as coefficients of the original features, and intercepts."""
        coef, intercept = self._on_rows(x)
        return Params(coef if self.scale is None else coef / self.scale, intercept)

    def _on_rows(self, x: Vector) -> Params:
        """Return flat parameters as coefficients of features divided by their deviations, and intercepts."""
        if self._mapped is not None and self._mapped[0] is x:
            return self._mapped[1]
        coef, intercept = self.objective.unpack(x)
        coef = coef if self._space is None else self._space.coef(coef)
        if self.scale is not None:
            intercept = intercept - (coef / self.scale) @ self._mean
        return Params(coef, intercept)

    def _standardise_by(self, features: Vector | None) -> None:
        """Keep the deviations and the centre of the features, for `standardize=True`."""
        self._features = features
        self.scale = self._mean = None
        if features is not None:
            self.scale, self._mean = 1.0 / features[0], features[1]

    def _centred(self, objective: Any) -> Any:
        """Return the objective of scaled rows with parameters of centred ones, if some feature is."""
        if self._mean is None or not self._mean.any():
            return objective
        return objective.centred_at(self._mean)

    def _in_feature_units(self, diagonal: Vector) -> Vector:
        """Return the diagonal of a Hessian, by coefficients of scaled features, by those of X as it is."""
        if self.scale is not None:
            n_coef = self._n_outputs * len(self.scale)
            diagonal[:n_coef].reshape(self._n_outputs, -1)[:] *= self.scale**2
        return diagonal


def start_of(model: Any, fit: Fit, labels: Labels) -> Vector:
    """Return the starting point of a fit: zero, or the last coefficients for a warm start."""
    coef = getattr(model, "coef_", None)
    same_shape = coef is not None and coef.shape == (labels.n_outputs, model.n_features_in_)
    warm = model.warm_start and same_shape and np.array_equal(model.classes_, labels.classes)
    x = np.zeros(fit.objective.n_params)
    if warm:
        x = fit.parameters_of(model.coef_, model.intercept_, getattr(model, "_precision", None))
    return fit.start(x, unobserved_classes(labels, fit.data[2]))


def features_of(model: Any, rows: Rows, weights: Sequence[Vector] | Vector) -> Vector | None:
    """Return 1 / deviation and the centre of each feature by m weights of the rows, (m, 2, d).

    None unless the model standardises. One reading of X for each.
    """
    if not model.standardize:
        return None
    # Many means that are small together are as far from zero: the rows' own space is that of centred ones.
    everywhere = rows.shape[1] > rows.shape[0] and not isinstance(rows, Csr)
    options = {"centred": model.fit_intercept, "everywhere": everywhere}
    return np.array([moments.of_rows(rows, weight).features(**options) for weight in weights])


@contextlib.contextmanager
def kept_on_failure(model: Any) -> Iterator[None]:
    """Restore an object's attributes if the body raises."""
    before = model.__dict__.copy()
    try:
        yield
    except BaseException:
        model.__dict__.clear()
        model.__dict__.update(before)
        raise

"""The fit of a SoftmaxRegression whose penalty has absolute values (l1_ratio above 0)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import losses
from fastsoftmax.contracts import DeviceArray, Params, RowBlock
from fastsoftmax.contracts.storages import is_narrow
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import statistics, validation
from fastsoftmax.estimator import hyperparameters
from fastsoftmax.estimator.fitting import CERTAIN, Fit, features_of
from fastsoftmax.objective.sparse import SparseObjective
from fastsoftmax.penalties.elastic_net import ElasticNet
from fastsoftmax.solvers.progress import HIDDEN

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, Rows, Solution, Vector
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels

SOLVER = "proximal-newton"


class SparseFit(Fit):
    """The objective with absolute values on rows in memory, and its map to fitted parameters.

    Parameters
    ----------
    model : SoftmaxRegression
    rows : ndarray, Halves or Csr, (n, d)
    labels : Labels
    weight : ndarray (n,), float64
    settings : Settings
    features : ndarray (1, 2, d), optional
        As `Fit` takes them: the penalty is that of coefficients of scaled features.

    Raises
    ------
    ValueError
        For rows on a GPU, or `penalty_weights` that are not what they have to be.
    """

    def __init__(
        self,
        model: Any,
        rows: Rows,
        labels: Labels,
        weight: Vector,
        settings: Settings,
        features: Vector | None = None,
    ) -> None:
        if model.device == "cuda" or isinstance(rows, DeviceArray):
            hyperparameters.refuse_for_absolutes("device='cuda'")
        self.data = rows, labels, weight
        self._standardise_by(None if features is None else features[0])
        self._penalised, self._tol, self._space = True, model.tol, None
        self.float64_products = False
        self._scaling = settings.intercept_scaling
        self._n_outputs = labels.n_outputs
        self._family = losses.family(labels.loss)
        self._dtype = np.float32 if rows.dtype == np.float32 and model.solver != "liblinear" else np.float64
        self.total_weight = float(weight.sum())
        self.device, self.solver = "cpu", SOLVER
        fit_intercept = model.fit_intercept and self._scaling is None
        centre = statistics.centre_of(rows) if fit_intercept else None
        if centre is not None and statistics.needs_float64(centre):
            self.float64_products = is_narrow(rows)
            self._dtype = np.float64
        if features is not None:
            centre = None  # they are centred
        n_free = int(self._scaling is not None)
        weights = penalty_weights(
            model.penalty_weights, labels.n_outputs, rows.shape[1] - n_free, model.group_classes
        )
        if n_free:
            weights = np.column_stack((weights, np.ones(labels.n_outputs)))  # LIBLINEAR's intercept
        self.objective: Any = SparseObjective(
            RowBlock(rows, labels.target, weight),
            labels.n_outputs,
            ElasticNet(
                1.0 / (settings.C * self.total_weight), settings.l1_ratio, weights, bool(model.group_classes)
            ),
            centre=centre,
            features=self._features,
            options={
                "fit_intercept": fit_intercept,
                "loss": labels.loss,
                "device": "cpu",
                "n_threads": model.n_threads,
            },
        )

    @property
    def plan(self) -> None:
        """None: the kernels of plans are those of the rows' dtype, and products here are float64."""

    @property
    def plan_ahead(self) -> None:
        """None, as `plan`."""

    def at(self, C: float) -> SparseFit:
        """Return the same fit with another C."""
        other = copy.copy(self)
        other.objective = self.objective.with_l2(1.0 / (C * self.total_weight))
        return other

    def stored(self, solution: Solution, tol: float) -> tuple[dict[str, Array], Solution]:
        """Return `coef_` and `intercept_` of a solution, and the solution with F and the gap of those.

        For float32 rows they are float32 if that raises F by little beside the tolerance: one pass more.
        """
        coef, intercept = self._unique(solution.x)
        solution = solution._replace(x=self.objective.pack(coef, intercept))
        if self._dtype == np.float64:
            return self.attributes_of(solution.x), solution
        rounded = (part.astype(np.float32).astype(np.float64) for part in self._unpacked(solution.x))
        x = self._packed(*rounded)
        value = self._value_as_stored(solution, x)
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
        """Return `coef_` and `intercept_` of flat parameters, those of the unique optimum."""
        return super().attributes_of(self.objective.pack(*self._unique(x)), dtype)

    def precision_at(self, x: Vector) -> Vector:
        """Return the diagonal of the Hessian of the smooth part times Σ w, (n_params,). One pass."""
        diagonal = self._in_feature_units(self.objective.diagonal(x) * self.total_weight)
        if self._scaling is not None:
            by_class = diagonal.reshape(self._n_outputs, -1)
            by_class[:, -1] /= self._scaling**2
            diagonal = np.concatenate((by_class[:, :-1].ravel(), by_class[:, -1]))
        return diagonal

    def _value_as_stored(self, solution: Solution, x: Vector) -> float:
        """Return F at the solution's parameters as they are stored, x. One pass."""
        value: float = self.objective.value_and_grad(x)[0]
        return value

    def _packed(self, coef: Vector, intercept: Vector) -> Vector:
        """Return the flat parameters of coefficients of the original features, and intercepts."""
        if self.scale is not None and self._mean is not None:
            coef, intercept = coef * self.scale, intercept + coef @ self._mean
        packed: Vector = self.objective.pack(coef, intercept)
        return packed

    def _unique(self, x: Vector) -> Params:
        """Return the representative of all coefficients that have the same F as x by shifts of classes."""
        coef, intercept = self.objective.unpack(x)
        if self._family.SHIFT_INVARIANT:
            coef = self.objective.penalty.representative(coef)
            if self.objective.fit_intercept:  # else it is zero, or a penalised coefficient
                observed = intercept > intercept.max() - 0.5 * CERTAIN  # the others are set so far below
                intercept = intercept - intercept[observed].mean()
        return Params(coef, intercept)


def fit_of(model: Any, rows: Rows, labels: Labels, weight: Vector, settings: Settings, given: Vector) -> Fit:
    """Return the fit by the kind of its penalty; `given` (n,) are weights without those of classes."""
    features = features_of(model, rows, [given])
    kind = SparseFit if settings.is_sparse else Fit
    return kind(model, rows, labels, weight, settings, features=features)


def penalty_weights(given: ArrayLike | None, n_outputs: int, n_features: int, grouped: bool) -> Vector:
    """Return the penalty's weights (K, d) from `penalty_weights`; ones for None.

    Raises
    ------
    ValueError
        For other shapes, negative or non-finite numbers; or weights of single classes for whole features.
    """
    if given is None:
        return np.ones((n_outputs, n_features))
    weights = validation.real("penalty_weights", given)
    shapes = [(n_features,)] if grouped else [(n_features,), (n_outputs, n_features)]
    if weights.shape not in shapes:
        raise ValueError(f"penalty_weights must be {' or '.join(map(str, shapes))}; got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
        raise ValueError(f"penalty_weights must be finite and not negative; got {shown(given)}")
    return np.array(np.broadcast_to(weights, (n_outputs, n_features)))

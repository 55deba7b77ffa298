"""An objective of scaled rows whose flat parameters hold the coefficients of the features as they are.

The coefficients V of rows x / s and those of the rows as they are, W, have V = W s. A change of variables
x = D u with a diagonal D turns F(x), ∇F, ∇²F and approximations M⁻¹ of its inverse into F(D u), D ∇F, D ∇²F D
and D⁻¹ M⁻¹ D⁻¹: here, once, and for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data import validation
from fastsoftmax.objective import on_device
from fastsoftmax.objective.source_objective import SourceObjective

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Centre, Vector


class FeatureUnits(SourceObjective):
    """A `SourceObjective` that takes parameters in the units of the features as they are, if it has `_units`.

    Without, they are those of the source's rows, scaled or not.
    """

    _units: Vector | None = None  # the diagonal of D (n_params,)

    def _feature_units(self) -> Vector | None:
        """Return the diagonal of D; None where the source's rows are not scaled."""
        if self._scaled is None:
            return None
        by_class = np.tile(self._scaled.scale, self.n_classes)
        return np.append(by_class, np.ones(self.n_params - len(by_class)))

    def value_and_grad(self, params: ArrayLike) -> tuple[float, Vector]:
        """Return F in nats and ∇F (n_params,). One pass over X.

        With `params` on the GPU both are arrays there, of the same library, and the host does not wait.
        """
        if self._units is None:
            return super().value_and_grad(params)
        value, grad = super().value_and_grad(self._of_rows(params))
        return value, grad * self._units

    def values_and_grads(self, params: ArrayLike, l2: ArrayLike | None = None) -> tuple[Vector, Vector]:
        """Return F (m,) in nats and ∇F (m, n_params) at m parameter vectors, from one reading of X.

        `SourceObjective.values_and_grads` describes the parameters.
        """
        if self._units is None:
            return super().values_and_grads(params, l2)
        vectors = validation.real("params", params)
        if vectors.ndim == 2 and vectors.shape[1] == self.n_params:
            vectors = vectors * self._units
        values, grads = super().values_and_grads(vectors, l2)
        return values, grads * self._units

    def diagonal(self, params: ArrayLike) -> Vector:
        """Return the diagonal of ∇²F(params), (n_params,). One pass over X."""
        if self._units is None:
            return super().diagonal(params)
        return super().diagonal(self._of_rows(params)) * self._units**2

    def hessian(self, params: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ ∇²F(params) v (n_params,), for many products at one point. One pass over X for each.

        `SourceObjective.hessian` says what is kept between them.
        """
        units = self._units
        if units is None:
            return super().hessian(params)
        product = super().hessian(self._of_rows(params))
        return lambda direction: product(self._of_rows(direction, "direction")) * units

    def preconditioner(self, params: ArrayLike, fraction: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ M⁻¹ v (n_params,), a symmetric positive semidefinite approximation of (∇²F)⁻¹.

        `SourceObjective.preconditioner` describes its form and cost.
        """
        if self._units is None:
            return super().preconditioner(params, fraction)
        return self._inverse(super().preconditioner(self._of_rows(params), fraction))

    def inverse_hessian(self, params: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ (∇²F(params))⁻¹ v (n_params,); a pseudo-inverse of some kind if ∇²F is singular.

        Raises ValueError above 2,048 parameters; `SourceObjective.inverse_hessian` gives the cost.
        """
        if self._units is None:
            return super().inverse_hessian(params)
        return self._inverse(super().inverse_hessian(self._of_rows(params)))

    def lower_bound(self, params: ArrayLike, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F, in nats, from F and ∇F at `params`; None if l2 = 0.

        `SourceObjective.lower_bound` describes it.
        """
        if self._units is None:
            return super().lower_bound(params, value, grad)
        return super().lower_bound(self._of_rows(params), value, grad / self._units)

    def corrected_bound(
        self, params: ArrayLike, grad: Vector, goal: float, n_passes: int
    ) -> tuple[float | None, float]:
        """Return a lower bound of min F, in nats, from a corrected dual point, and the gap predicted of it.

        `SourceObjective.corrected_bound` describes them.
        """
        if self._units is None:
            return super().corrected_bound(params, grad, goal, n_passes)
        return super().corrected_bound(self._of_rows(params), grad / self._units, goal, n_passes)

    def unpenalised_bound(
        self, params: ArrayLike, value: float, grad: Vector, goal: float, n_passes: int
    ) -> float | None:
        """Return a lower bound of min F, in nats, without a penalty, from F and ∇F at `params`, or None.

        `SourceObjective.unpenalised_bound` says where it exists, and what it costs.
        """
        if self._units is None:
            return super().unpenalised_bound(params, value, grad, goal, n_passes)
        params, grad = self._of_rows(params), grad / self._units
        return super().unpenalised_bound(params, value, grad, goal, n_passes)

    def likely_gap(self, grad: Vector) -> float:
        """Return an estimate of the duality gap from ∇F alone, in nats; 0 if l2 = 0. No pass."""
        return super().likely_gap(grad if self._units is None else grad / self._units)

    def as_stored(self, x: Vector, value: float, grad: Vector) -> tuple[float, float]:
        """Return F in nats at x as it will be stored, and what float64 products add to `likely_gap` at x."""
        if self._units is None:
            return super().as_stored(x, value, grad)
        return super().as_stored(x * self._units, value, grad / self._units)

    def centred(self, centre: Centre) -> Self:
        """Return the same objective with parameter vectors that hold the intercepts of rows centred there.

        Raises ValueError without intercepts, or in the units of features as they are.
        """
        if self._units is not None:
            raise ValueError("an objective in the units of the features is not centred besides")
        return super().centred(centre)

    def _of_rows(self, params: ArrayLike, name: str = "params") -> Vector:
        """Return the parameters of the scaled rows. Raises as `unpack` does, and TypeError on a GPU."""
        assert self._units is not None
        if on_device.taken(params, self.device, name) is not None:
            raise TypeError("an objective with standardize=True takes parameters of the host")
        vector: Vector = validation.real(name, params)
        self.unpack(vector, name=name)
        return vector * self._units

    def _inverse(self, inverse: Callable[[Vector], Vector]) -> Callable[[Vector], Vector]:
        units = self._units
        assert units is not None
        return lambda vector: inverse(vector / units) / units

    def _on_device(self, params: ArrayLike) -> on_device.DeviceParams | None:
        """Return the objective at parameters that are on a GPU; None for those of the host."""
        if self._units is not None and on_device.taken(params, self.device) is not None:
            raise TypeError("an objective with standardize=True takes parameters of the host")
        return super()._on_device(params)

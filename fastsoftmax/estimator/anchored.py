"""The objective of incremental fits: a batch's loss plus a quadratic in place of earlier batches."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Vector
    from fastsoftmax.linalg.vectors import Algebra
    from fastsoftmax.objective.objective import SoftmaxObjective


class AnchoredObjective:
    """The mean loss of a batch plus a quadratic around the optimum of earlier batches.

    F(x) = [Σᵢ wᵢ ℓᵢ(x) + ½ Σⱼ precisionⱼ (xⱼ − centreⱼ)²] / Σᵢ wᵢ

    Parameters
    ----------
    objective : SoftmaxObjective
        The objective of the batch, with l2 = 0.
    centre, precision : ndarray (n_params,), float64
        The optimum of the earlier batches, and the diagonal of the Hessian of their summed losses there.
    total_weight : float
        Σᵢ wᵢ of the batch.

    Notes
    -----
    The quadratic is Laplace's approximation, with a diagonal, of the sum of the earlier losses: online
    logistic regression with a Gaussian posterior [1]_.

    References
    ----------
    .. [1] O. Chapelle, L. Li, "An empirical evaluation of Thompson sampling", NIPS 2011, algorithm 3.
    """

    def __init__(
        self, objective: SoftmaxObjective, centre: Vector, precision: Vector, total_weight: float
    ) -> None:
        self._objective = objective
        self._centre = centre
        self._precision = precision / total_weight
        self._total_weight = total_weight

    @property
    def algebra(self) -> Algebra:
        """The arithmetic of parameter vectors."""
        return self._objective.algebra

    @property
    def size(self) -> int:
        """The length of a parameter vector."""
        return self._objective.size

    @property
    def passes(self) -> int:
        """The number of readings of the batch so far."""
        return self._objective.passes

    def value_and_grad(self, x: ArrayLike) -> tuple[float, Vector]:
        """Return F in nats and ∇F (n_params,). One pass over the batch."""
        value, grad = self._objective.value_and_grad(x)
        offset = np.asarray(x) - self._centre
        quadratic_grad = self._precision * offset
        return value + 0.5 * float(quadratic_grad @ offset), grad + quadratic_grad

    def hessp(self, x: ArrayLike, v: Vector) -> Vector:
        """Return the Hessian-vector product ∇²F(x) v. One pass over the batch."""
        return self._objective.hessp(x, v) + self._precision * v

    def hessian(self, x: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ ∇²F(x) v, for many products at one point. One pass over the batch for each."""
        product = self._objective.hessian(x)
        return lambda v: product(v) + self._precision * v

    @property
    def is_float32(self) -> bool:
        """Whether products are float32, and `in_float64` returns an objective."""
        return self._objective.is_float32

    def as_stored(self, x: Vector, value: float, grad: Vector) -> tuple[float, float]:
        """Return F in nats at x as it will be stored, and what float64 products add to `likely_gap` at x.

        The quadratic is taken to be that at x.
        """
        return self._objective.as_stored(x, value, grad)

    def in_float64(self) -> AnchoredObjective | None:
        """Return the same objective from float64 products, or None if it has them already."""
        objective = self._objective.in_float64()
        if objective is None:
            return None
        other = copy.copy(self)
        other._objective = objective
        return other

    def curvature(self, x: ArrayLike) -> Vector:
        """Return the diagonal of the Hessian of Σᵢ wᵢ ℓᵢ, which the batch adds to the precision. One pass."""
        return self._objective.diagonal(x) * self._total_weight

    def preconditioner(self, x: ArrayLike, fraction: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ v divided by the diagonal of ∇²F(x). One pass over the batch."""
        diagonal = self._objective.diagonal(x) + self._precision
        diagonal = np.maximum(diagonal, np.finfo(float).eps * diagonal.max(initial=np.finfo(float).tiny))
        return lambda v: v / diagonal

    def preconditioner_cost(self, fraction: float = 1.0) -> float:
        """Return 1, the pass of the diagonal."""
        return 1.0

    def inverse_hessian(self, x: ArrayLike) -> Callable[[Vector], Vector]:
        """Raise NotImplementedError: the batch's inverse Hessian lacks the quadratic of earlier batches."""
        raise NotImplementedError("an objective of several batches offers products with its Hessian only")

    @property
    def offers(self) -> frozenset[str]:
        """The capabilities of the batch's objective, except for the inverse of the whole Hessian."""
        return self._objective.offers - {"inverse_hessian"}

    @property
    def has_lower_bound(self) -> bool:
        """False: the stopping rule uses the Newton decrement."""
        return False

    def lower_bound(self, x: Vector, value: float, grad: Vector) -> None:
        """Return None: the stopping rule uses the Newton decrement."""

    def corrected_bound(self, x: Vector, grad: Vector, goal: float, n_passes: int) -> tuple[None, float]:
        """Return no bound: the stopping rule uses the Newton decrement."""
        return None, np.inf

    def unpenalised_bound(self, x: Vector, value: float, grad: Vector, goal: float, n_passes: int) -> None:
        """Return None: earlier batches are a quadratic."""

    def likely_gap(self, grad: Vector) -> float:
        """Return 0: there is no lower bound."""
        return 0.0

"""Learning from batches that are seen once: what earlier batches taught is kept as a quadratic."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.algebra import Algebra
    from fastsoftmax.objective import SoftmaxObjective

    Vector = NDArray[np.float64]


class AnchoredObjective:
    """The loss of a batch plus a quadratic around the parameters that earlier batches led to.

    F(x) = [Σᵢ wᵢ ℓᵢ(x) + ½ Σⱼ precisionⱼ (xⱼ − centreⱼ)²] / Σᵢ wᵢ

    Parameters
    ----------
    objective : SoftmaxObjective
        Of the batch, with l2 = 0.
    centre, precision : ndarray (n_params,), float64
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
        """What computes with parameter vectors."""
        return self._objective.algebra

    @property
    def size(self) -> int:
        """The length of a parameter vector."""
        return self._objective.size

    @property
    def passes(self) -> int:
        """How many times the batch has been read."""
        return self._objective.passes

    def value_and_grad(self, x: ArrayLike) -> tuple[float, Vector]:
        """Return F and ∇F."""
        value, grad = self._objective.value_and_grad(x)
        away = np.asarray(x) - self._centre
        pull = self._precision * away
        return value + 0.5 * float(pull @ away), grad + pull

    def hessp(self, x: ArrayLike, v: Vector) -> Vector:
        """Return ∇²F v."""
        return self._objective.hessp(x, v) + self._precision * v

    def hessian(self, x: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ ∇²F(x) v."""
        product = self._objective.hessian(x)
        return lambda v: product(v) + self._precision * v

    @property
    def has_finer(self) -> bool:
        """Whether `finer` returns one."""
        return self._objective.has_finer

    def finer(self) -> AnchoredObjective | None:
        """Return the same objective from float64 products, or None if it has them already."""
        finer = self._objective.finer()
        if finer is None:
            return None
        other = copy.copy(self)
        other._objective = finer
        return other

    def curvature(self, x: ArrayLike) -> Vector:
        """Return the diagonal of the Hessian of Σᵢ wᵢ ℓᵢ: what the batch adds to the precision."""
        return self._objective.diagonal(x) * self._total_weight

    def preconditioner(self, x: ArrayLike, share: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ v divided by the diagonal of ∇²F."""
        diagonal = self._objective.diagonal(x) + self._precision
        diagonal = np.maximum(diagonal, np.finfo(float).eps * diagonal.max(initial=np.finfo(float).tiny))
        return lambda v: v / diagonal

    def preconditioner_cost(self, share: float = 1.0) -> float:
        """Return 1: the pass that the diagonal takes."""
        return 1.0

    def inverse_hessian(self, x: ArrayLike) -> Callable[[Vector], Vector]:
        """Refuse: the quadratic of earlier batches would have to be in it."""
        raise NotImplementedError("an objective of several batches offers products with its Hessian only")

    @property
    def has_lower_bound(self) -> bool:
        """No: stopping goes by the Newton decrement."""
        return False

    def lower_bound(self, x: Vector, value: float, grad: Vector) -> None:
        """Return None: stopping goes by the Newton decrement."""

    def likely_gap(self, grad: Vector) -> float:
        """Return 0: there is no lower bound to stay away from."""
        return 0.0

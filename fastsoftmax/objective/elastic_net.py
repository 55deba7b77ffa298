"""The objective whose penalty has absolute values: the mean loss of another objective, and the elastic net.

F has no gradient where coefficients are zero. Its two parts are told apart: the smooth part, of the mean loss
and the penalty's squares, has value, gradient and Hessian as any objective; the absolute values have a
proximal map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.objective.absolutes import FlatAbsolutes
from fastsoftmax.objective.reduced_hessian import ReducedHessian
from fastsoftmax.objective.riding_bound import CERTAIN, Dual, entropy_at, made_feasible, moments_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Params, Sums, Vector
    from fastsoftmax.contracts.protocols import Algebra
    from fastsoftmax.penalties.elastic_net import ElasticNet

MOST_PARAMS = 0.8  # so many of all parameters: the Hessian of all is no dearer
MOMENTS = ("mean", "with_target")  # of a state; these names are in files


class ElasticNetObjective(FlatAbsolutes):
    """F of the rows of an objective without a penalty, and an elastic net.

    Parameters
    ----------
    loss : SourceObjective
        The mean loss, by float64 products: a dual point is feasible to the precision of the gradient, and the
        gap is of the first order in what it lacks.
    penalty : ElasticNet
    """

    offers = frozenset({"hessp", "prox", "free_bound"})
    is_float32 = False
    direct = None
    rotation = None
    carried: dict[str, Any] | None = None  # what a solver leaves to the fits of other strengths

    def __init__(self, loss: Any, penalty: ElasticNet) -> None:
        super().__init__(
            penalty,
            loss.n_classes,
            loss.n_features,
            fit_intercept=loss.fit_intercept,
            shift_invariant=loss.family.SHIFT_INVARIANT,
        )
        self._loss = loss
        self._moments: tuple[Vector, Vector] | None = None  # Σ v x (d,) and Σ v y xᵀ (K, d) of vectors' rows
        self._grad_at_zero: Vector | None = None

    def with_l2(self, strength: float) -> Self:
        """Return the same objective with another strength of its penalty; passes start from 0."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._loss = self._loss.with_l2(0.0)
        other.penalty = self.penalty.with_strength(strength)
        return other

    @property
    def algebra(self) -> Algebra:
        """The arithmetic of parameter vectors."""
        algebra: Algebra = self._loss.algebra
        return algebra

    @property
    def n_params(self) -> int:
        """The length of a parameter vector."""
        return self.size

    @property
    def passes(self) -> int:
        """The readings of X so far."""
        return int(self._loss.passes)

    @property
    def bytes_a_pass(self) -> int:
        """The bytes that a pass reads from elsewhere; 0 for rows in memory."""
        return int(self._loss.bytes_a_pass)

    @property
    def has_explicit_hessian(self) -> bool:
        """Whether the Hessian is small enough for `hessian_matrix`."""
        return bool(self._loss.has_explicit_hessian)

    @property
    def reduced_order(self) -> int:
        """For how many parameters `reduced_hessian` is worth its cost."""
        return 0

    def pack(self, coef: ArrayLike, intercept: ArrayLike | None = None) -> Vector:
        """Return coef (K, d) and intercept (K,) as one flat float64 vector."""
        return np.asarray(self._loss.pack(coef, intercept))

    def unpack(self, params: ArrayLike) -> Params:
        """Return views (coef (K, d), intercept (K,)) of a flat vector; zeros if there is no intercept."""
        unpacked: Params = self._loss.unpack(params)
        return unpacked

    def in_float64(self) -> None:
        """Return None: products are float64."""

    def kept(self) -> State:
        """Return what has been learnt of the rows beside a point, for `restore`."""
        known = {} if self._moments is None else dict(zip(MOMENTS, self._moments, strict=True))
        if self._grad_at_zero is not None:
            known["grad_at_zero"] = self._grad_at_zero
        return State({}, known)

    def restore(self, state: State) -> None:
        """Take what `kept` returned in another process."""
        self._grad_at_zero = state.arrays.get("grad_at_zero")
        if MOMENTS[0] in state.arrays:
            self._moments = state.arrays[MOMENTS[0]], state.arrays[MOMENTS[1]]

    # --- the smooth part ------------------------------------------------------------------------------

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return F in nats, and the gradient of its smooth part, (n_params,). One pass over X."""
        value, grad = self._loss.value_and_grad(x)
        if self._grad_at_zero is None and not x.any():
            self._grad_at_zero = grad.copy()
        return self._penalised(x, value, grad)

    def _penalised(self, x: Vector, loss: float, grad: Vector) -> tuple[float, Vector]:
        """Return F and its smooth part's gradient, from those of the mean loss: `grad` is overwritten."""
        coef = self._coef(x)
        self._coef(grad)[:] += self.penalty.curvature * coef
        return loss + self.penalty.value(self.algebra, coef), grad

    def hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ the smooth part's Hessian at x times v. One pass over X for each product."""
        product = self._loss.hessian(x)
        curvature = self.penalty.curvature

        def apply(vector: Vector) -> Vector:
            out: Vector = product(vector)
            self._coef(out)[:] += curvature * self._coef(vector)
            return out

        return apply

    def hessp(self, x: Vector, v: Vector) -> Vector:
        """Return the smooth part's Hessian at x times v. One pass over X, or two."""
        return self.hessian(x)(v)

    def diagonal(self, x: Vector) -> Vector:
        """Return the diagonal of the smooth part's Hessian, (n_params,). One pass over X."""
        diagonal: Vector = self._loss.diagonal(x)
        self._coef(diagonal)[:] += self.penalty.curvature
        return diagonal

    def hessian_matrix(self, x: Vector) -> Vector:
        """Return the smooth part's Hessian, (n_params, n_params). One pass over X of n (K d)² flops."""
        matrix: Vector = self._loss.hessian_matrix(x)
        places = np.arange(self._n_coef)
        matrix[places, places] += self.penalty.curvature.ravel()
        return matrix

    @property
    def has_class_blocks(self) -> bool:
        """Whether `class_blocks` are worth their cost."""
        return False

    def reduced_hessian(self, x: Vector, places: NDArray[np.intp]) -> Vector:
        """Return the smooth part's Hessian at x among some parameters, (m, m). One pass over X.

        `places` are ascending. See `fastsoftmax.objective.reduced_hessian`.
        """
        if len(places) >= MOST_PARAMS * self.size and self.has_explicit_hessian:
            return self.hessian_matrix(x)[np.ix_(places, places)]
        return self._reduced(self._loss.sum_over_rows(self._reduced_query(x, places)), places)

    def _reduced_query(self, x: Vector, places: NDArray[np.intp]) -> ReducedHessian:
        """Return the query for the sums that `_reduced` takes."""
        coefs = places[places < self._n_coef]
        classes, features = np.divmod(coefs, self.n_features)
        mean = self._loss.row_centre
        return ReducedHessian(
            self.unpack(x),
            classes,
            features,
            places[len(coefs) :] - self._n_coef,
            None if mean is None else mean[features],
        )

    def _reduced(self, sums: Sums, places: NDArray[np.intp]) -> Vector:
        """Return the reduced Hessian from its sums over rows."""
        matrix = ReducedHessian.matrix(sums)
        coefs = places[places < self._n_coef]
        on_diagonal = np.arange(len(coefs))
        matrix[on_diagonal, on_diagonal] += self.penalty.curvature.ravel()[coefs]
        return matrix

    # --- bounds ---------------------------------------------------------------------------------------

    @property
    def has_lower_bound(self) -> bool:
        """Whether `lower_bound` returns a bound: if every coefficient is penalised."""
        return self.penalty.has_conjugate

    def lower_bound(self, x: Vector, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F, in nats, from F and the smooth gradient at x; None if there is none.

        No pass, but for two at the first call that finds the gradient of the intercepts not to be zero. See
        `fastsoftmax.objective.riding_bound`.
        """
        if not self.has_lower_bound:
            return None
        coef = self._coef(x)
        residual = self._coef(grad) - self.penalty.curvature * coef
        excess, intercept = grad[self._n_coef :], x[self._n_coef :]
        loss = value - self.penalty.value(self.algebra, coef)
        dual = Dual(entropy_at(loss, residual, coef, excess, intercept), residual)
        if self.fit_intercept:
            target = self._loss.mean_target
            dual = made_feasible(dual, excess, target, self._loss.family, self.moments)
        return max(0.0, self.penalty.dual_bound(dual.entropy, dual.residual))

    def corrected_bound(
        self, x: Vector, grad: Vector, goal: float, n_passes: int
    ) -> tuple[float | None, float]:
        """Return (None, inf): there is no other bound."""
        return None, np.inf

    def unpenalised_bound(
        self, x: Vector, value: float, grad: Vector, goal: float, n_passes: int
    ) -> float | None:
        """Return None: there is a penalty."""
        return None

    def likely_gap(self, grad: Vector) -> float:
        """Return 0: bounds are computed at every point."""
        return 0.0

    def moments(self) -> tuple[Vector, Vector]:
        """Return Σ v x (d,) and Σ v y xᵀ (K, d), in the coordinates of vectors, from two gradients."""
        if self._moments is None:
            if self._grad_at_zero is None:
                self._grad_at_zero = self._loss.value_and_grad(np.zeros(self.size))[1]
            self._keep_moments(self._grad_at_zero, self._loss.value_and_grad(self._certain)[1])
        assert self._moments is not None
        return self._moments

    @property
    def _certain(self) -> Vector:
        """A point at which the probabilities of all rows are those of the first class."""
        certain = np.zeros(self.size)
        certain[self._n_coef :] = 0.0 if self._shift_invariant else CERTAIN
        certain[self._n_coef] = CERTAIN
        return certain

    def _keep_moments(self, at_zero: Vector, at_certain: Vector) -> None:
        """Keep the moments that two gradients of the loss tell."""
        self._moments = moments_of(self._coef(at_zero), self._coef(at_certain), self._shift_invariant)

"""A lower bound of the least objective: what a fit's duality gap is measured against."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Mixture, Params, Sums
from fastsoftmax.lazy import lazy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.algebra import Algebra
    from fastsoftmax.contracts import Vector
    from fastsoftmax.protocols import Device, Source

MOST_TILTS = 8
# A mixture with so little of another distribution costs nothing that float64 would show.
NEGLIGIBLE = 1e-13
MOST_TILTED = 2048  # classes, whose curvature is a (K, K) matrix


class Rows(NamedTuple):
    """The rows that a bound is summed over, and what sums them."""

    source: Source
    device: Device
    family: Any
    loss: Any
    n_threads: int | None
    dtype: Any

    def dual(self, here: Params, mixture: Mixture, logits: list[Any], *, coef_grad: bool) -> Sums:
        """Return Σ wᵢ Σ p̃ log p̃ and the residual sums at a point, of logits that are known or None."""
        known = iter(logits)
        parts = self.source.map(
            lambda block: self.device.dual(
                self.loss,
                here,
                mixture,
                block,
                self.n_threads,
                logits=next(known),
                coef_grad=coef_grad,
                dtype=self.dtype,
            )
        )
        return functools.reduce(Sums.__add__, parts)

    def logits(self, here: Params) -> list[Any]:
        """Return the logits of each block."""
        return self.source.map(
            lambda block: self.device.logits(
                here, block.X, self.n_threads, dtype=self.dtype, memory=block.memory
            )
        )

    def shift_curvature(
        self, here: Params, tilt: NDArray[np.float64], logits: list[Any]
    ) -> NDArray[np.float64]:
        """Return Σ wᵢ ∂pᵢ/∂tᵀ, (K, K), at the logits of a point plus t; those are known or None."""
        known = iter(logits)
        parts = self.source.map(
            lambda block: self.device.shift_curvature(
                self.family.shift_curvature,
                here,
                tilt,
                block,
                self.n_threads,
                logits=next(known),
                dtype=self.dtype,
            )
        )
        return np.asarray(sum(parts))


def dual_sums(rows: Rows, here: Params, mean_target: NDArray[np.float64], *, keep: bool) -> tuple[Sums, int]:
    """Return Σ wᵢ Σ p log p and Σ wᵢ (pᵢ − yᵢ) xᵢᵀ of probabilities P near those at a point.

    With the probabilities' and the targets' means made equal, they bound min F from below. The integer says
    how often X was read for them.

    Parameters
    ----------
    rows : Rows
    here : Params
    mean_target : ndarray (K,)
        The weighted mean of the (smoothed) targets.
    keep : bool
        Whether there is room for the (n, K) logits.

    Notes
    -----
    Write vᵢ = wᵢ / Σ w. As ℓ(z, y) = max over distributions p of p·z − Σ p log p − y·z, for any P

        min F ≥ min over W, b of Σ vᵢ [(pᵢ − yᵢ)·(W xᵢ + b) − Σ pᵢ log pᵢ] + (l2 / 2) ‖W‖²
              = −Σ vᵢ Σ pᵢ log pᵢ − ‖Σ vᵢ (pᵢ − yᵢ) xᵢᵀ‖² / (2 l2)     if Σ vᵢ (pᵢ − yᵢ) = 0,

    and −∞ otherwise, since b is free (Fenchel's dual [1]_; for sigmoids p log p + (1 − p) log(1 − p) takes
    the place of p log p). The probabilities at a point meet that condition only where the gradient of b is
    zero. So b is moved by Newton steps t, in float64 and for the dual only, until the means of the
    probabilities are those of the targets. What rounding leaves is mended by mixing them with a distribution
    for all rows, p̃ᵢ = (1 − θ) pᵢ + θ q. By θ alone, without t, it can be mended as well, but dearly: where
    a probability is next to nothing, θ q is a great deal more. With t, F less the bound is ‖∇_W F‖² / (2 l2)
    and what is of the second order.

    X is read twice where the logits are kept, else once for each Newton step as well.

    References
    ----------
    .. [1] M. Collins, A. Globerson, T. Koo, X. Carreras, P. L. Bartlett, "Exponentiated gradient algorithms
       for conditional random fields and max-margin Markov networks", JMLR 9 (2008), sec. 2.
    """
    mixture, logits, readings = _feasible(rows, here, mean_target, keep)
    return rows.dual(here, mixture, logits, coef_grad=True), readings + 1


def _feasible(
    rows: Rows, here: Params, mean_target: NDArray[np.float64], keep: bool
) -> tuple[Mixture, list[Any], int]:
    """Return probabilities whose weighted mean is that of the targets, the logits, and the readings of X."""
    n_outputs = len(mean_target)
    logits = rows.logits(here) if keep else rows.source.map(lambda block: None)
    readings = int(keep)
    best = Mixture(np.zeros(n_outputs), np.inf, mean_target)
    tilt, curvature = best.tilt, None
    for _ in range(MOST_TILTS):
        sums = rows.dual(here, Mixture(tilt, 0.0, mean_target), logits, coef_grad=False)
        readings += not keep
        excess = sums.intercept / sums.weight
        theta, q = rows.family.feasible_mixture(mean_target + excess, mean_target)
        if theta >= 0.5 * best.theta:
            break  # rounding, or so far from the optimum that Newton's steps lead nowhere
        best = Mixture(tilt, theta, q)
        if theta <= NEGLIGIBLE or n_outputs > MOST_TILTED:
            break
        if curvature is None:
            curvature = rows.shift_curvature(here, tilt, logits) / sums.weight
            readings += not keep
        # Singular along what all classes have in common, and for classes that no row has any doubt about.
        tilt = tilt - np.linalg.lstsq(curvature, excess, rcond=None)[0]
    return best, logits, readings


class Certified:
    """The part of SoftmaxObjective that bounds its minimum from below."""

    algebra: Algebra
    l2: float
    fit_intercept: bool
    passes: int
    _source: Source
    _device: Device
    _family: Any
    _loss: Any
    _dtype: Any
    _n_threads: int | None

    def unpack(self, params: ArrayLike, *, name: str = "params") -> Params:
        """Return a flat vector as coefficients and intercepts."""
        raise NotImplementedError

    @property
    def _keeps_logits(self) -> bool:
        raise NotImplementedError

    @property
    def has_lower_bound(self) -> bool:
        """Whether `lower_bound` finds one: with a penalty."""
        return self.l2 > 0.0

    def lower_bound(self, params: ArrayLike, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F, from F and ∇F at `params`; None if l2 = 0.

        F(params) less this is the duality gap, an upper bound of F(params) − min F: see
        `dual_sums`. Without an intercept it is ‖∇F‖² / (2 l2) and free; with one, it takes
        two passes over X, or a few more where the logits are not kept (as for `hessian`). No term of
        F is negative, so neither is the bound.
        """
        if not self.has_lower_bound:
            return None
        if not self.fit_intercept:
            return max(0.0, value - self.algebra.dot(grad, grad) / (2.0 * self.l2))
        rows = Rows(self._source, self._device, self._family, self._loss, self._n_threads, self._dtype)
        here = self.unpack(params)
        sums, readings = dual_sums(rows, here, self._mean_target, keep=self._keeps_logits)
        self.passes += readings
        residual = sums.coef.ravel()
        square = self.algebra.dot(residual, residual) / sums.weight**2
        return max(0.0, -sums.value / sums.weight - square / (2.0 * self.l2))

    def likely_gap(self, grad: Vector) -> float:
        """Return about how far `lower_bound` stays below F, from ∇F alone: ‖∇_W F‖² / (2 l2); 0 if l2 = 0.

        It is the gap where nothing has to be done about the intercepts: `grad` (n_params,) in nats, no pass.

        Examples
        --------
        >>> from fastsoftmax import SoftmaxObjective
        >>> objective = SoftmaxObjective([[1.0], [-1.0]], [0, 1], l2=0.5)
        >>> value, grad = objective.value_and_grad([0.0, 0.0, 0.0, 0.0])
        >>> round(objective.likely_gap(grad), 3)
        0.5
        """
        if not self.has_lower_bound:
            return 0.0
        coef = self.unpack(grad).coef.ravel()
        return self.algebra.dot(coef, coef) / (2.0 * self.l2)

    @lazy
    def _mean_target(self) -> NDArray[np.float64]:
        parts = self._source.map(
            lambda block: (
                self._family.weighted_target_sum(self._loss, block.target, block.weight),
                block.weight.sum(),
            )
        )
        return np.asarray(sum(part[0] for part in parts) / sum(part[1] for part in parts))

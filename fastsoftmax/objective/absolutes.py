"""Absolute values of the coefficients in flat vectors: what solvers with proximal steps ask of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.linalg.coordinate_descent import Blocks
from fastsoftmax.penalties.separable import Separable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.penalties.elastic_net import ElasticNet


class FlatAbsolutes:
    """The absolute values, or norms, of an elastic-net penalty on flat vectors: (K, d), then intercepts.

    Parameters
    ----------
    penalty : ElasticNet
    n_classes, n_features : int
    fit_intercept : bool
    shift_invariant : bool
        Whether the loss does not change if one number is added to all logits of a row.
    """

    def __init__(
        self,
        penalty: ElasticNet,
        n_classes: int,
        n_features: int,
        *,
        fit_intercept: bool,
        shift_invariant: bool,
    ) -> None:
        self.penalty = penalty
        self.n_classes, self.n_features = n_classes, n_features
        self.fit_intercept, self._shift_invariant = fit_intercept, shift_invariant

    @property
    def size(self) -> int:
        """The length of a parameter vector."""
        return self.n_classes * (self.n_features + self.fit_intercept)

    @property
    def curvature(self) -> Vector:
        """The second derivative of the penalty's squares in each parameter, (size,)."""
        curvature = np.zeros(self.size)
        self._coef(curvature)[:] = self.penalty.curvature
        return curvature

    def one_block(self, matrix: Vector) -> Blocks:
        """Return a symmetric matrix (m, m) as one of a single block. No copy."""
        return Blocks(np.array([0, len(matrix)]), matrix.ravel())

    def among(self, places: NDArray[np.intp]) -> Separable:
        """Return what the absolute values are to some ascending parameters; not of groups."""
        thresholds = np.zeros(self.size)
        self._coef(thresholds)[:] = self.penalty.thresholds
        number = np.full(self.size, -1)
        number[places] = np.arange(len(places))
        member = np.zeros(self.size, bool)
        member[places] = True
        return Separable(thresholds[places], number[self.flat_sums(member)])

    def steps(self, diagonal: Vector) -> Vector:
        """Return the step lengths 1 / diagonal for `prox`; of groups, one for all classes."""
        tiny = 1e-12 * diagonal.max(initial=0.0) or 1.0
        diagonal = np.maximum(diagonal, tiny)
        if self.penalty.grouped:
            coef = self._coef(diagonal)
            coef[:] = coef.max(axis=0)
        return np.asarray(1.0 / diagonal)

    def prox(self, x: Vector, steps: Vector) -> Vector:
        """Return the proximal map of the absolute values, scaled by `steps`, at x; intercepts stay."""
        out = x.copy()
        self._coef(out)[:] = self.penalty.prox(self._coef(x), self._coef(steps))
        return out

    def of_absolutes(self, x: Vector) -> float:
        """Return the absolute values' part of F."""
        return self.penalty.of_absolutes(self._coef(x))

    def least_subgradient(self, x: Vector, grad: Vector) -> Vector:
        """Return the shortest subgradient of F at x, from the gradient of the smooth part."""
        out = grad.copy()
        self._coef(out)[:] = self.penalty.least_subgradient(self._coef(x), self._coef(grad))
        return out

    def is_free(self, x: Vector) -> NDArray[np.bool_]:
        """Return which parameters are not at a kink of F: intercepts, and coefficients that are not zero."""
        free = np.ones(self.size, dtype=bool)
        free[: self._n_coef] = self.penalty.is_free(self._coef(x)).ravel()
        return free

    def nearness(self, x: Vector, grad: Vector) -> Vector:
        """Return the gradients as parts of what keeps parameters at zero; of free ones infinity."""
        slope, thresholds = self._coef(grad), self.penalty.thresholds
        size = np.linalg.norm(slope, axis=0) if self.penalty.grouped else np.abs(slope)
        near = np.full(self.size, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._coef(near)[:] = size / thresholds
        near[self.is_free(x)] = np.inf
        return near

    def bend(self, x: Vector, direction: Vector) -> Vector:
        """Return the absolute values' Hessian at x times a direction, of free parameters."""
        out = np.zeros(self.size)
        self._coef(out)[:] = self.penalty.bend(self._coef(x), self._coef(direction))
        return out

    @property
    def bends(self) -> bool:
        """Whether the absolute values have a Hessian: norms."""
        return self.penalty.grouped

    def flat_sums(self, free: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return sets of K free parameters, (m, K): F's smooth part does not change along the sum of each.

        They are the intercepts, and the coefficients of a feature that has squares in no class, if they are
        free in all, with a loss that shifts of all logits leave unchanged.
        """
        places = np.arange(self._n_coef).reshape(self.n_classes, -1).T
        if not self._shift_invariant or self.n_classes == 1:
            return np.empty((0, self.n_classes), np.intp)
        flat = free[: self._n_coef].reshape(self.n_classes, -1).all(axis=0) & (
            self.penalty.curvature == 0.0
        ).all(axis=0)
        if self.penalty.grouped:
            flat &= self.penalty.weights[0] == 0.0
        places = places[flat]
        if not self.fit_intercept:
            return np.asarray(places)
        intercepts = np.arange(self._n_coef, self.size)
        return np.concatenate((places, intercepts[np.newaxis]))

    def without_crossings(self, x: Vector, before: Vector) -> Vector:
        """Return x with zero where a coefficient's sign, or a column's direction, is not that of `before`."""
        coef, last = self._coef(x), self._coef(before)
        product = coef * last
        kept = product.sum(axis=0) > 0.0 if self.penalty.grouped else product > 0.0
        out = x.copy()
        self._coef(out)[:] = np.where(kept | (self.penalty.thresholds == 0.0), coef, 0.0)
        return out

    def first_crossing(self, x: Vector, step: Vector) -> float:
        """Return the least part of a step at which a penalised coefficient becomes zero; inf if none does."""
        if self.penalty.grouped:
            return np.inf
        coef, change = self._coef(x), self._coef(step)
        crosses = (coef * change < 0.0) & (self.penalty.thresholds > 0.0)
        ratio = np.abs(coef[crosses] / change[crosses]) if crosses.any() else np.empty(0)
        return float(ratio.min(initial=np.inf)) * (1.0 + 1e-12)

    def excess(self, grad: Vector) -> Vector:
        """Return each feature's largest gradient as a multiple of what keeps it at zero, (d,)."""
        return self.penalty.excess(self._coef(grad))

    def in_use(self, x: Vector) -> NDArray[np.bool_]:
        """Return which features have a coefficient that is not zero, (d,), or is free."""
        return np.asarray(((self._coef(x) != 0.0) | (self.penalty.thresholds == 0.0)).any(axis=0))

    def part_of(self, x: Vector, features: NDArray[np.intp]) -> Vector:
        """Return the parameters of `of_features` from all; others are not looked at."""
        return np.concatenate((self._coef(x)[:, features].ravel(), x[self._n_coef :]))

    def whole_of(self, part: Vector, features: NDArray[np.intp]) -> Vector:
        """Return all parameters from those of some features; the others' are zero."""
        x = np.zeros(self.size)
        n_part = self.n_classes * len(features)
        self._coef(x)[:, features] = part[:n_part].reshape(self.n_classes, -1)
        x[self._n_coef :] = part[n_part:]
        return x

    @property
    def _n_coef(self) -> int:
        return self.n_classes * self.n_features

    def _coef(self, x: Vector) -> Vector:
        """Return the coefficients in a vector, as a view (K, d)."""
        return x[: self._n_coef].reshape(self.n_classes, -1)

"""Lower bounds of the minimum at dual points that are corrected, for penalties too weak for the gradient's.

With a weak penalty the bound of `certificate.dual_sums` asks for a gradient far smaller than the optimum
needs: its gap is ‖∇_W F‖² / (2 l2). The gap here is that of a Newton step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.linalg

from fastsoftmax.contracts import Params, Sums
from fastsoftmax.contracts.points import Point
from fastsoftmax.contracts.queries import CorrectedDual, LeastGram
from fastsoftmax.preconditioners import choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import DType, Vector
    from fastsoftmax.contracts.protocols import Algebra, LossFamily, Penalty, Source
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout
    from fastsoftmax.objective.preconditioning import Preconditioning

# A correction is exact but for rounding, and for rows that had to be bent: each more reading takes away
# most of what is left, or none does.
MAX_CORRECTIONS = 4
# Residual sums of the intercepts that float64 sums leave. A larger one is no dual point.
ROUNDING = 1e-13
# Of the intercepts, in which p̃ is linear: one shift does, but for rounding. And of a curvature's eigenvalues.
MAX_SHIFT, MAX_SHIFTS, SINGULAR = 0.4, 3, 1e-13
# What the residual sums may add to the gap, as a fraction of the goal.
REST = 0.1
# The whole Hessian may cost as much as this fraction of the passes so far. Products of fewer columns than
# SKINNY are slower than the count of flops says (10,890 × 16, 7 classes: 18 passes for 5).
HESSIAN_SHARE, SKINNY = 0.2, 64
# It is tried at once if it costs no more than this fraction of that: else the Gram matrix is, which may do.
CHEAP = 0.25
# The Gram matrix, n d (d + 4 K) flops beside 4 n d K of a pass, may cost as many passes as there were, times
# this: of 5,000 × 2,000 and two classes, where it costs 500, it took as long as all the rest.
GRAM_SHARE = 2.0
# A Gram matrix of a sample predicts the gap, to some ten per cent, before that of all rows is summed.
FEWEST_ROWS, ROWS_PER_COLUMN, SAVING = 2048, 16, 4
# If a correction leaves more than this fraction of what the last one left, further ones do not help either.
SHRINKAGE = 0.25
# The least pivot of a Gram matrix of unit diagonal whose rounding from float32 products, some 10⁻⁷, is small.
APART = 1e-3
JITTER = 1e-14  # of a Gram matrix of unit diagonal, whose least eigenvalues are rounding


class Corrected(NamedTuple):
    """A lower bound of min F in nats, or None, and the gap that was predicted of it."""

    bound: float | None
    predicted_gap: float


class _Gram(NamedTuple):
    """The inverse for each class, its least pivot at a diagonal of 1, and residual sums in float64."""

    inverse: Callable[[Vector], Vector]
    least_pivot: float
    residual: Sums


class Correction(NamedTuple):
    """The lower bounds of an objective's minimum at corrected dual points.

    `preconditioning` supplies the inverse of the whole Hessian.

    Notes
    -----
    Write vᵢ = wᵢ / Σ w, x̃ᵢ = (xᵢ, 1), p for the probabilities at parameters (W, b), and let g be the gradient
    of F there, a matrix (K, d + 1). Any distributions p̃ᵢ with Σ vᵢ (p̃ᵢ − yᵢ) = 0 bound min F from below by

        D(p̃) = −Σ vᵢ Σ p̃ᵢ log p̃ᵢ − ‖Σ vᵢ (p̃ᵢ − yᵢ) xᵢᵀ‖² / (2 l2)         (`certificate.dual_sums`).

    Let e = Σ vᵢ (p̃ᵢ − yᵢ) x̃ᵢᵀ + l2 [W − R, 0] be what is left of the residual sums, for any R (K, d). If
    e = 0, then, as log p is z less a constant,

        F(W, b) − D(p̃) = Σ vᵢ KL(p̃ᵢ ‖ pᵢ) + (l2 / 2) ‖R‖².

    Now let p̃ᵢ = pᵢ − Mᵢ R̃ x̃ᵢ with R̃ = [R, r], 0 ⪯ Mᵢ ⪯ ∂²ℓᵢ/∂z², Mᵢ 1 = 0 for a softmax. Then
    e = g − (Σ vᵢ Mᵢ ⊗ x̃ᵢ x̃ᵢᵀ + l2) R̃, where the penalty leaves out the intercepts: e is zero if R̃ solves
    a linear system. To the second order KL(p̃ ‖ p) is half of Σ (p̃ − p)² / p, at most half of
    (R̃ x̃)ᵀ M (R̃ x̃), so that the gap is about ½ g · R̃. That is F − F* itself to the second order for

        Mᵢ = ∂²ℓᵢ/∂z²,        where the system is that of the whole Hessian and R̃ a Newton step, and for
        Mᵢ = cᵢ (I − 11ᵀ/K),  cᵢ = min pᵢ (cᵢ I for sigmoids, cᵢ = min pᵢ (1 − pᵢ)), the system is one
                              Gram matrix for all classes; the gap is larger, but does not grow as 1 / l2.

    Nothing of this is needed for the bound: D(p̃) is computed from p̃, with float64 sums, and holds for every
    p̃ whose intercepts' sums are zero (to 10⁻¹³: rounding). So p may come from float32 logits, the system may
    be solved roughly, from float32 products if the columns differ enough, and p̃ is bent where it would be
    negative. What e this leaves costs ‖e‖² / (2 l2), and is corrected again. Where that does not take enough
    of the intercepts' part away, as in classes with next to no probability, their part is made zero by
    p̃ᵢ − M̃ᵢ s, with the curvature M̃ᵢ at p̃ᵢ, which is linear in s (K,).

    g is summed in float64 together with the Gram matrix: e would have the rounding of float32 products
    otherwise, and one correction would not do.

    Reads X once for the Gram matrix (n d² flops) and once for each correction; one is usual.
    """

    rows: CountedSource
    layout: Layout
    family: LossFamily
    penalty: Penalty
    algebra: Algebra
    preconditioning: Preconditioning

    def bound(self, params: Params, grad: Vector, goal: float, n_passes: int, keep: bool) -> Corrected:
        """Return a lower bound of min F, from the gradient at `params`, if a gap of at most `goal` is likely.

        `n_passes` is the number of passes that the minimisation has made, `keep` whether to keep logits.
        """
        n_classes, n_features = self.layout.n_classes, self.layout.n_features
        place = Point(params) if keep else params
        n_rows = self.rows.spec.n_rows
        cost = choice.passes_worth("full", n_rows, n_rows, n_classes, n_features)
        cost *= max(1.0, SKINNY / (n_features + 1))
        affordable = HESSIAN_SHARE * n_passes if self.preconditioning.has_explicit_hessian else 0.0
        found = Corrected(None, np.inf)
        fits = 8 * (n_features + 1) ** 2 <= choice.BLOCKS_BYTES
        fits &= n_features + 4 * n_classes <= GRAM_SHARE * (n_passes + 1) * 4 * n_classes
        if cost > CHEAP * affordable and fits:
            found = self._by_gram(place, params, grad, goal)
        if cost > affordable or found.bound is not None:
            return found
        return self._by_hessian(place, params, grad, goal)

    def _by_gram(self, place: Params | Point, params: Params, grad: Vector, goal: float) -> Corrected:
        """Return the bound by one Gram matrix for all classes."""
        predicted_gap, dtype = self._of_sample(params, self._centred(self.algebra.copied(grad)))
        if not predicted_gap <= goal:
            return Corrected(None, predicted_gap)
        inverse, rest = self._of_all(place, params, dtype)
        predicted_gap = 0.5 * self.algebra.dot(rest, inverse(rest))
        if not predicted_gap <= goal:
            return Corrected(None, predicted_gap)
        return Corrected(self._corrected(place, params, rest, inverse, True, goal), predicted_gap)

    def _by_hessian(self, place: Params | Point, params: Params, grad: Vector, goal: float) -> Corrected:
        """Return the bound by the whole Hessian."""
        inverse = self.preconditioning.inverse_hessian(params)
        rest = self._centred(self.algebra.copied(grad))
        predicted_gap = 0.5 * self.algebra.dot(rest, inverse(rest))
        if not predicted_gap <= goal:
            return Corrected(None, predicted_gap)
        if self.rows.spec.dtype == np.float32:
            # The rounding of float32 products would be left for another correction.
            none = self._none
            rest = self._rest(params, none, self.rows.sum(CorrectedDual(place, none, False, self._mean)))
        return Corrected(self._corrected(place, params, rest, inverse, False, goal), predicted_gap)

    def _of_sample(self, params: Params, rest: Vector) -> tuple[float, DType]:
        """Return the gap that a sample's Gram matrix predicts, and the dtype that will do for that of all.

        0 and float64 where all rows are not much more than a sample.
        """
        spec = self.rows.spec
        n_sampled = max(FEWEST_ROWS, ROWS_PER_COLUMN * (spec.n_features + 1))
        if SAVING * n_sampled > spec.n_rows:
            return 0.0, np.dtype(np.float64)
        gram = self._gram(params, sample=self.rows.source.sample(n_sampled))
        # Products of float32 columns that depend on each other do not tell them apart.
        apart = gram.least_pivot >= APART and spec.dtype == np.float32
        return 0.5 * self.algebra.dot(rest, gram.inverse(rest)), np.dtype(np.float32 if apart else np.float64)

    def _of_all(
        self, place: Params | Point, params: Params, dtype: DType
    ) -> tuple[Callable[[Vector], Vector], Vector]:
        """Return the inverse of the Gram matrix of all rows, and ∇F from float64 sums over them.

        A gradient from float32 products would leave its rounding to be corrected again.
        """
        try:
            gram = self._gram(place, dtype)
        except np.linalg.LinAlgError:
            if dtype == np.float64:
                raise
            gram = self._gram(place)
        return gram.inverse, self._rest(params, self._none, gram.residual)

    def _corrected(
        self,
        place: Params | Point,
        params: Params,
        rest: Vector,
        inverse: Callable[[Vector], Vector],
        shared: bool,
        goal: float,
    ) -> float | None:
        """Return the best bound of a few corrections, or None.

        `rest` is the gradient at `params`, which the first correction takes away.
        """
        layout, algebra = self.layout, self.algebra
        best: float | None = None
        change = np.zeros(layout.size)
        left = np.inf  # twice the gap that the next correction would take away
        for _ in range(MAX_CORRECTIONS):
            more = inverse(rest)
            before, left = left, algebra.dot(rest, more)
            if left > SHRINKAGE * before:
                break
            change += more
            query = CorrectedDual(place, layout.split(change), shared, self._mean)
            sums = self.rows.sum(query)
            rest = self._rest(params, query.step, sums)
            cost = self.penalty.gap(algebra, rest[: layout.n_coef])
            bound = self._bound_of(sums)
            if bound is not None:
                best = bound if best is None else max(best, bound)
                if cost <= REST * goal:
                    return best
        if best is None and cost <= goal:
            best = self._shifted(query)
        return best

    def _bound_of(self, sums: Sums) -> float | None:
        """Return the bound of corrected dual sums, or None where those of the intercepts are not zero."""
        intercepts = np.abs(sums.joined[self.layout.n_coef : self.layout.size]).max(initial=0.0)
        if not intercepts <= ROUNDING * sums.weight:
            return None
        conjugate = self.penalty.conjugate(self.algebra, sums.coef.ravel(), sums.weight)
        return max(0.0, -sums.value / sums.weight - conjugate)

    def _shifted(self, query: CorrectedDual) -> float | None:
        """Return the bound of a correction whose sums of the intercepts, next to zero, are made zero.

        Where rows are bent, corrections take away only a part of the sums. Of the coefficients' that may be
        enough; the intercepts' must be zero.
        """
        n_classes, n_coef = self.layout.n_classes, self.layout.n_classes * self.layout.n_features
        shift = np.zeros(n_classes)
        for _ in range(MAX_SHIFTS):
            sums = self.rows.sum(replace(query, intercept_shift=shift))
            bound = self._bound_of(sums)
            if bound is not None:
                return bound
            excess, curvature = np.split(sums.joined[n_coef:], [n_classes])
            # Singular along the vector of ones, and in classes whose probabilities are all 0 or 1.
            curvature = curvature.reshape(n_classes, n_classes)
            shift = shift + np.linalg.lstsq(curvature, excess, rcond=SINGULAR)[0]
            size = np.ptp(shift) if self.family.SHIFT_INVARIANT else np.abs(shift).max()
            if not size <= MAX_SHIFT:
                break
        return None

    @property
    def _mean(self) -> Vector | None:
        return None if self.layout.centre is None else self.layout.centre.mean

    @property
    def _none(self) -> Params:
        """No correction."""
        return self.layout.split(np.zeros(self.layout.size))

    def _rest(self, params: Params, step: Params, sums: Sums) -> Vector:
        """Return e: what is left of the residual sums after a correction by `step`, flat."""
        rest: Vector = sums.joined[: self.layout.size] / sums.weight
        part = self.layout.split(rest)
        coef = params.coef - step.coef
        part.coef[:] += self.penalty.curvature * coef
        return self._centred(rest)

    def _centred(self, vector: Vector) -> Vector:
        """Return a vector less its mean over classes, in place, if that changes no probability."""
        if self.family.SHIFT_INVARIANT:
            for part in self.layout.split(vector):
                part -= part.mean(axis=0)
        return vector

    def _gram(self, place: Params | Point, dtype: DType | None = None, sample: Source | None = None) -> _Gram:
        """Return the inverse of (Σ vᵢ cᵢ x̃ᵢ x̃ᵢᵀ) + l2. One pass of n d² flops, or of a sample.

        Raises LinAlgError if the matrix is not positive definite, to the rounding of products in `dtype`.
        """
        layout = self.layout
        sums = self.rows.sum(LeastGram(place, self._mean, dtype), readings=int(sample is None), rows=sample)
        order = layout.n_features + layout.fit_intercept
        matrix = sums.coef[:order, :order] / sums.weight
        diagonal = np.arange(layout.n_features)
        matrix[diagonal, diagonal] += self.penalty.curvature
        scale = 1.0 / np.sqrt(np.maximum(matrix.diagonal(), np.finfo(float).tiny))
        matrix *= np.outer(scale, scale)
        matrix[np.arange(order), np.arange(order)] += JITTER * order
        factor = scipy.linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)

        def apply(vector: Vector) -> Vector:
            part = layout.split(vector)
            joined = np.column_stack((part.coef, part.intercept))[:, :order] * scale
            solved = scipy.linalg.cho_solve(factor, joined.T, check_finite=False).T * scale
            return np.concatenate(
                (solved[:, : layout.n_features].ravel(), solved[:, layout.n_features :].ravel())
            )

        least_pivot = float(factor[0].diagonal().min() ** 2)
        residual = Sums(0.0, sums.weight, sums.intercept, (layout.n_classes, layout.n_features))
        return _Gram(apply, least_pivot, residual)

"""The likelihood of a fitted model: sums over rows, the penalty, and what nothing is known of.

A softmax has a row of coefficients too many: adding one vector to every class changes no probability.
Inference is on the contrasts βₖ = Wₖ − W_base, in which the likelihood has a Hessian that can be inverted:
the blocks of the other classes, at the same probabilities. A penalty Σ λₖⱼ Wₖⱼ² / 2 on all classes is, least
over what the contrasts leave open, βⱼᵀ (diag λⱼ − λⱼ λⱼᵀ / Σₖ λₖⱼ) βⱼ / 2, with β_base = 0.

Where columns are far from zero, all sums are those of rows less their centre, and the covariance is brought
back to the intercepts of the rows as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts.queries import Gram
from fastsoftmax.estimator.covariances import factored, listed
from fastsoftmax.objective.curvature import symmetric
from fastsoftmax.objective.row_parts import Terms
from fastsoftmax.objective.score_sums import ScoreSums, score_sums
from fastsoftmax.sources.array import ArraySource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Centre, Loss, Params, RowBlock, Vector
    from fastsoftmax.contracts.protocols import LossFamily

# Information of less than this part of one row's about a coefficient: in a fit that has ended, the sums of
# p (1 − p) over the rows that tell of it are at least about a half unless classes are separable.
LEAST_ROWS = 0.01


class Penalty(NamedTuple):
    """The penalty's curvatures λ: of all coefficients (K, d), and of the intercepts."""

    coef: Vector
    intercept: float

    @property
    def is_none(self) -> bool:
        """Whether there is no penalty."""
        return not (self.coef.any() or self.intercept)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A likelihood at fitted parameters.

    Attributes
    ----------
    rows : RowBlock
        Of a host's storage.
    loss : named tuple
    family : LossFamily
    params : Params
        (K, d) and (K,).
    kept : ndarray (m,)
        The logits whose coefficients are parameters: for a softmax all but that of the base.
    constant : bool
        Whether there are intercepts.
    centre : Centre or None
    penalty : Penalty
    n_threads : int or None
    offset : ndarray (n, K) or None
        Known logits of the rows.
    """

    rows: RowBlock
    loss: Loss
    family: LossFamily
    params: Params
    kept: NDArray[np.intp]
    constant: bool
    centre: Centre | None
    penalty: Penalty
    n_threads: int | None
    offset: Vector | None = None

    @property
    def exclusive(self) -> bool:
        """Whether the classes exclude each other: a softmax; otherwise labels are independent."""
        return self.family.SHIFT_INVARIANT

    @property
    def terms(self) -> Terms:
        """What the columns of the linear predictor are."""
        return Terms(self.constant, None if self.centre is None else self.centre.mean)

    @property
    def contrasts(self) -> Vector:
        """The parameters (m, q): coefficients less those of the base, by terms of the rows as they are."""
        weights = self.terms._replace(mean=None).weights_of(self.params)
        if self.exclusive:
            base = np.setdiff1d(np.arange(len(weights)), self.kept)
            weights = weights - weights[base]
        return weights[self.kept]

    @property
    def n_terms(self) -> int:
        """The number of coefficients of a logit, q: the constant first, if there is one."""
        return self.params.coef.shape[1] + self.constant

    @property
    def total_weight(self) -> float:
        """The sum of the rows' weights."""
        return float(self.rows.weight.sum())

    def sums(self, products: bool = False, groups: Array | None = None) -> ScoreSums:
        """Return the sums over the rows, with products of scores if asked for. One reading."""
        weights = self.terms.weights_of(self.params)
        return score_sums(
            self.rows,
            self.loss,
            self.family,
            weights,
            self.kept,
            self.terms,
            products=products,
            groups=groups,
            offset=self.offset,
            n_threads=self.n_threads,
        )

    def penalty_of(self, k: int, other: int) -> Vector:
        """Return the penalty's curvature of two kept logits, k and other: the diagonal of a block, (q,)."""
        coef, intercept = self.penalty
        own, others = coef[self.kept[k]], coef[self.kept[other]]
        found = np.full(self.n_terms, intercept if k == other and not self.exclusive else 0.0)
        of_terms = found[int(self.constant) :]
        of_terms[:] = own if k == other else 0.0
        if self.exclusive:
            total = coef.sum(axis=0)
            of_terms -= np.divide(own * others, total, out=np.zeros_like(total), where=total > 0.0)
        return found

    def add_penalty(self, information: Vector) -> Vector:
        """Return the information with the penalty's curvature, in place."""
        for part, curvature in self._penalty_parts(information):
            part += curvature
        return information

    def effective(self, bread: Vector) -> float:
        """Return tr (H + P)⁻¹ H, the number of effective parameters, of the inverse (H + P)⁻¹."""
        n_params = float(self.n_terms * len(self.kept))
        return n_params - sum(float(part @ curvature) for part, curvature in self._penalty_parts(bread))

    def _penalty_parts(self, matrix: Vector) -> Iterator[tuple[Vector, Vector]]:
        """Yield views of the diagonals of a matrix's blocks, and the penalty's curvature there."""
        m, q = len(self.kept), self.n_terms
        if self.penalty.is_none:
            return
        whole = matrix.reshape(m, q, m, q) if len(matrix) == 1 else None
        for k in range(m):
            for other in range(m) if self.exclusive else (k,):
                block = matrix[k] if whole is None else whole[k, :, other]
                yield np.einsum("jj->j", block), self.penalty_of(k, other)

    def penalty_slope(self) -> Vector:
        """Return the gradient of the penalty by the kept coefficients, (m, q)."""
        coef, intercept = self.penalty
        slope = coef * self.params.coef
        if self.exclusive:  # at the optimum it sums to zero over classes; elsewhere, by what is left open
            total = coef.sum(axis=0)
            slope -= coef * np.divide(slope.sum(axis=0), total, out=np.zeros_like(total), where=total > 0.0)
        if not self.constant:
            return slope[self.kept]
        return np.column_stack((intercept * self.params.intercept, slope))[self.kept]

    @property
    def to_constant(self) -> Vector | None:
        """The intercept of rows as they are, by the terms of the centred ones: 1 and −mean, (q,); or None."""
        if self.centre is None:
            return None
        found = np.zeros(self.n_terms)
        found[0] = 1.0
        found[self.centre.columns + 1] = -self.centre.mean[self.centre.columns]
        return found


def dependent_columns(fitted: Fitted, names: Sequence[str]) -> str | None:
    """Return a message that names columns of X that depend on each other, or None. One reading of X."""
    n_outputs = len(fitted.params.intercept)
    source = ArraySource(fitted.rows, fitted.loss, n_outputs, n_threads=fitted.n_threads)
    gram = np.array(source.sum(Gram(None, False, np.float64, fitted.centre)).coef[0])
    symmetric(gram, lower=True)
    q = fitted.n_terms
    at = np.arange(q) if not fitted.constant else np.concatenate(([q - 1], np.arange(q - 1)))
    gram = gram[np.ix_(at, at)]
    empty = np.flatnonzero(gram.diagonal() <= 0.0)
    if len(empty):
        return f"{listed([names[j] for j in empty.tolist()])} of X: zero in every row"
    places = factored(gram)[1]
    if places is None:
        return None
    return (
        f"the columns {listed([names[j] for j in places.tolist()])} of X depend on each other: their "
        "coefficients have no standard errors. Leave one of them out, or give a finite C"
    )


def hardly_known(sums: ScoreSums) -> NDArray[np.intp]:
    """Return the places of parameters of which less than a hundredth of a row tells.

    For a 0/1 column this is Σ p (1 − p) over the rows that have it; for others, over as many rows as its
    squares are spread over.
    """
    spread = np.divide(sums.squares, sums.fourths, out=np.zeros_like(sums.squares), where=sums.fourths > 0.0)
    return np.flatnonzero((sums.curvature.diagonal * spread).ravel() < LEAST_ROWS)

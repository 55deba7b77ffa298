"""The information matrix of a fitted model, its inverse, and the sandwich: covariances of coefficients.

A softmax has a row of coefficients too many: adding one vector to every class changes no probability.
Inference is on the contrasts βₖ = Wₖ − W_base, in which the likelihood has a Hessian that can be inverted:
the blocks of the other classes, at the same probabilities. A penalty Σ λₖⱼ Wₖⱼ² / 2 on all classes is, least
over what the contrasts leave open, βⱼᵀ (diag λⱼ − λⱼ λⱼᵀ / Σₖ λₖⱼ) βⱼ / 2, with β_base = 0.

Where columns are far from zero, all sums are those of rows less their centre, and the covariance is brought
back to the intercepts of the rows as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastsoftmax.contracts.queries import Gram
from fastsoftmax.linalg.cholesky import unit_scale
from fastsoftmax.objective.row_parts import Terms
from fastsoftmax.objective.score_sums import ScoreSums, score_sums, symmetric
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.available_memory import available_memory
from fastsoftmax.sources.array import ArraySource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Centre, Loss, Params, RowBlock, Vector
    from fastsoftmax.contracts.protocols import LossFamily

# The least pivot of an information matrix of unit diagonal: below it, less than six digits would be left.
LEAST_PIVOT = 1e-10
DEPENDS = 1e-3  # the least coefficient, of columns of unit length, of a column that another depends on
# Information of less than this part of one row's about a coefficient: in a fit that has ended, the sums of
# p (1 − p) over the rows that tell of it are at least about a half unless classes are separable.
LEAST_ROWS = 0.01
MATRICES = 4  # of the covariance's size, that are held at once at most: sums, information, inverse, sandwich


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
            n_threads=self.n_threads,
        )

    def add_penalty(self, information: Vector) -> Vector:
        """Return the information with the penalty's curvature, in place."""
        coef, intercept = self.penalty
        if self.penalty.is_none:
            return information
        q, m, first = self.n_terms, len(self.kept), int(self.constant)
        if self.exclusive:
            whole = information.reshape(m, q, m, q)
            total = coef.sum(axis=0)
            rest = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0.0)
            own = coef[self.kept]
            for j, (of_term, of_rest) in enumerate(zip(own.T, rest, strict=True), first):
                whole[:, j, :, j] += np.diag(of_term) - of_rest * np.outer(of_term, of_term)
            return information
        for block, own in zip(information, coef[self.kept], strict=True):
            block[np.arange(first, q), np.arange(first, q)] += own
            if self.constant:
                block[0, 0] += intercept
        return information

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

    def uncentred(self, cov: Vector) -> Vector:
        """Return a covariance (…, m' q, m' q) by the rows' own intercepts, in place."""
        if self.centre is None:
            return cov
        columns = self.centre.columns
        mean, q = self.centre.mean[columns], self.n_terms
        whole = cov.reshape(*cov.shape[:-2], cov.shape[-2] // q, q, cov.shape[-1] // q, q)
        whole[..., 0, :, :] -= np.tensordot(whole[..., columns + 1, :, :], mean, axes=(-3, 0))
        whole[..., 0] -= whole[..., columns + 1] @ mean
        return cov


def check_size(order: int, what: str) -> None:
    """Raise ValueError if some matrices of that order are more than the memory that is free."""
    free = available_memory()
    needed = 8 * MATRICES * order**2
    if free is not None and needed > free:
        raise ValueError(
            f"{what} takes matrices of {order:,} rows and columns: {needed / 2**30:.3g} GiB with what is held"
            f" besides; {free / 2**30:.3g} GiB are free. Leave out features, or classes"
        )


def inverses(information: Vector, names: Sequence[str], X_depends: Any) -> Vector:
    """Return the inverse of each block.

    Parameters
    ----------
    information : ndarray (b, s, s)
        Symmetric; left as it is.
    names : sequence of str
        Of all b s parameters.
    X_depends : callable
        Returns the message for columns of X that depend on each other, or None if they do not.

    Raises
    ------
    ValueError
        If a block is singular to rounding; the message names the parameters.
    """
    found = np.empty_like(information)
    for b, block in enumerate(information):
        size = len(block)
        scale = unit_scale(block)
        unit = block * scale
        unit *= scale[:, np.newaxis]
        with blas.one_thread():
            lower, failed = lapack.dpotrf(unit, lower=True, clean=True)
        pivots = np.square(lower.diagonal()[: failed - 1 if failed else size])
        bad = np.flatnonzero(pivots < LEAST_PIVOT)
        if failed or len(bad):
            place = int(bad[0]) if len(bad) else failed - 1
            own = names[b * size : (b + 1) * size]
            raise ValueError(X_depends() or _said(_dependence(unit, lower, place), own))
        with blas.one_thread():
            inverse, _ = lapack.dpotri(lower, lower=True, overwrite_c=True)
        found[b] = symmetric(inverse)
        found[b] *= scale
        found[b] *= scale[:, np.newaxis]
    return found


def _dependence(unit: Vector, lower: Vector, place: int) -> NDArray[np.intp]:
    """Return the places of a column of a matrix of unit diagonal, and of those that it depends on."""
    if place == 0 or unit[place, place] == 0.0:
        return np.array([place])
    head = lower[:place, :place]
    half = np.linalg.solve(head, unit[:place, place])
    coefficients = np.linalg.solve(head.T, half)
    return np.append(np.flatnonzero(np.abs(coefficients) > DEPENDS), place)


def _said(places: NDArray[np.intp], names: Sequence[str]) -> str:
    return (
        f"the information matrix is singular: {listed([names[i] for i in places.tolist()])} cannot be told "
        "from each other. The columns of X do not depend on each other, so the classes are separable, or all "
        "but: give a finite C, or leave those columns out"
    )


def dependent_columns(fitted: Fitted, names: Sequence[str]) -> str | None:
    """Return a message that names columns of X that depend on each other, or None. One reading of X."""
    n_outputs = len(fitted.params.intercept)
    source = ArraySource(fitted.rows, fitted.loss, n_outputs, n_threads=fitted.n_threads)
    gram = symmetric(source.sum(Gram(None, False, np.float64, fitted.centre)).coef[0])
    q = fitted.n_terms
    at = np.arange(q) if not fitted.constant else np.concatenate(([q - 1], np.arange(q - 1)))
    gram = gram[np.ix_(at, at)]
    empty = np.flatnonzero(gram.diagonal() <= 0.0)
    if len(empty):
        return f"{listed([names[j] for j in empty.tolist()])} of X: zero in every row"
    scale = unit_scale(gram)
    unit = gram * scale * scale[:, np.newaxis]
    with blas.one_thread():
        lower, failed = lapack.dpotrf(unit, lower=True, clean=True)
    pivots = np.square(lower.diagonal()[: failed - 1 if failed else q])
    bad = np.flatnonzero(pivots < LEAST_PIVOT)
    if not failed and not len(bad):
        return None
    places = _dependence(unit, lower, int(bad[0]) if len(bad) else failed - 1)
    return (
        f"the columns {listed([names[j] for j in places.tolist()])} of X depend on each other: their "
        "coefficients have no standard errors. Leave one of them out, or give a finite C"
    )


def hardly_known(fitted: Fitted, information: Vector, sums: ScoreSums) -> NDArray[np.intp]:
    """Return the places of parameters of which less than a hundredth of a row tells.

    For a 0/1 column this is Σ p (1 − p) over the rows that have it; for others, over as many rows as its
    squares are spread over.
    """
    spread = np.divide(sums.squares, sums.fourths, out=np.zeros_like(sums.squares), where=sums.fourths > 0.0)
    diagonal = np.diagonal(information, axis1=1, axis2=2).reshape(len(fitted.kept), fitted.n_terms)
    return np.flatnonzero((diagonal * spread).ravel() < LEAST_ROWS)


def sandwich(bread: Vector, products: Vector) -> Vector:
    """Return A M A for the blocks A (b, s, s) of a block-diagonal matrix, and M (b s, b s)."""
    b, s, _ = bread.shape
    if b == 1:
        half = bread[0] @ products
        return half @ bread[0]
    half = np.einsum("bij,bjr->bir", bread, products.reshape(b, s, b * s)).reshape(b * s, b, s)
    return np.einsum("rbi,bij->rbj", half, bread).reshape(b * s, b * s)


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names in a sentence; of many, the first ones and how many more."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"

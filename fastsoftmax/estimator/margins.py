"""Average marginal effects: the mean change of a probability by a feature, with delta-method errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.estimator.normal import intervals, p_values
from fastsoftmax.objective.score_sums import chunks, outer, probabilities

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Vector
    from fastsoftmax.estimator.information import Fitted


class Margins(NamedTuple):
    """Average marginal effects Σ wᵢ ∂pᵢₖ/∂xᵢⱼ / Σ wᵢ, and their covariance by the delta method.

    Attributes
    ----------
    effects : ndarray (r, d)
        For every class, the base included (the effects of a feature on all classes sum to zero); for two
        classes, on the probability of the one that is not the base; for independent labels, for every label.
    cov : ndarray (r d, r d)
        In C order of the effects.
    classes : ndarray (r,)
    features : list of str
    """

    effects: Vector
    cov: Vector
    classes: Array
    features: list[str]

    @property
    def standard_errors(self) -> Vector:
        """The standard errors, (r, d)."""
        return np.sqrt(self.cov.diagonal()).reshape(self.effects.shape)

    @property
    def z(self) -> Vector:
        """The effects in standard errors, (r, d)."""
        with np.errstate(divide="ignore", invalid="ignore"):  # an effect that no row has
            return self.effects / self.standard_errors

    @property
    def p_values(self) -> Vector:
        """The two-sided p-values by the normal distribution, (r, d)."""
        return p_values(self.z)

    def conf_int(self, level: float = 0.95) -> Vector:
        """Return intervals (r, d, 2) of that level by the normal distribution."""
        return intervals(self.effects, self.standard_errors, level)

    def to_frame(self, level: float = 0.95) -> Any:
        """Return a pandas frame of effects, errors, z, p-values and intervals, a row a class and feature."""
        from fastsoftmax.estimator.inference_table import frame

        return frame(self, self.effects, self.classes, self.features, "effect", level)


def of(fitted: Fitted, cov: Vector, classes: Array, features: list[str]) -> Margins:
    """Return the effects at fitted parameters whose contrasts have the covariance (m q, m q).

    Notes
    -----
    One reading of X. For a softmax n K³ q flops, the sums of products of three probabilities and a term, of
    which K² (K + 1) q / 2 are held.
    """
    build = _of_classes if fitted.exclusive else _of_labels
    effects, jacobian = build(fitted)
    flat = jacobian.reshape(effects.size, -1)
    return Margins(effects, flat @ cov @ flat.T, classes, features)


def _of_labels(fitted: Fitted) -> tuple[Vector, Vector]:
    """Return the effects vₖ βₖⱼ, v the mean of p (1 − p), and their derivatives, of independent labels."""
    m, q, first = len(fitted.kept), fitted.n_terms, int(fitted.constant)
    terms = fitted.terms._replace(mean=None)
    weights = fitted.contrasts
    curvature, third = np.zeros(m), np.zeros((m, q))
    for some in chunks(fitted.rows, q + 4 * m):
        columns = terms.of(some.X)
        proba, rest = probabilities(columns @ weights.T, exclusive=False)
        each = some.weight[:, np.newaxis] * proba * rest
        curvature += each.sum(axis=0)
        each *= rest - proba
        third += each.T @ columns
    curvature, third = curvature / fitted.total_weight, third / fitted.total_weight
    effects = curvature[:, np.newaxis] * weights[:, first:]
    jacobian = np.zeros((m, q - first, m, q))
    for k in range(m):
        jacobian[k, :, k] = np.outer(weights[k, first:], third[k])
        jacobian[k, np.arange(q - first), k, np.arange(first, q)] += curvature[k]
    return effects, jacobian


def _of_classes(fitted: Fitted) -> tuple[Vector, Vector]:
    """Return the effects and their derivatives by the contrasts, of classes that exclude each other.

    With M = E p pᵀ, the effect on class k is E pₖ βₖ − Σᵣ Mₖᵣ βᵣ. By a coefficient of class l and term t its
    derivative is E[∂pₖ/∂zₗ xₜ] βₖ − Σᵣ βᵣ E[∂(pₖ pᵣ)/∂zₗ xₜ] + (E[pₖ] δₖₗ − Mₖₗ) δ, with
    ∂pₖ/∂zₗ = pₖ (δₖₗ − pₗ) and ∂(pₖ pᵣ)/∂zₗ = pₖ pᵣ (δₖₗ + δᵣₗ − 2 pₗ).
    """
    n_classes, q, first = len(fitted.params.intercept), fitted.n_terms, int(fitted.constant)
    terms = fitted.terms._replace(mean=None)
    weights = np.zeros((n_classes, q))
    weights[fitted.kept] = fitted.contrasts
    beta = weights[:, first:]
    pairs = np.tril_indices(n_classes)
    ones = np.zeros((n_classes, q))  # Σ w pₖ xₜ
    twos = np.zeros((n_classes, n_classes, q))  # Σ w pₖ pₗ xₜ
    threes = np.zeros((len(pairs[0]), n_classes, q))  # Σ w pₖ pᵣ pₗ xₜ of the pairs r ≤ k
    means, squares = np.zeros(n_classes), np.zeros((n_classes, n_classes))
    for some in chunks(fitted.rows, n_classes * q + len(pairs[0]) + 4 * n_classes):
        columns = terms.of(some.X)
        proba, _ = probabilities(columns @ weights.T, exclusive=True)
        weighted = some.weight[:, np.newaxis] * proba
        means += weighted.sum(axis=0)
        squares += weighted.T @ proba
        ones += weighted.T @ columns
        each = outer(proba, columns)
        twos += (weighted.T @ each).reshape(twos.shape)
        threes += ((weighted[:, pairs[0]] * proba[:, pairs[1]]).T @ each).reshape(threes.shape)
    total = fitted.total_weight
    for array in (means, squares, ones, twos, threes):
        array /= total
    effects = means[:, np.newaxis] * beta - squares @ beta
    mixed_twos = np.einsum("rj,krt->kjt", beta, twos)
    jacobian = np.zeros((n_classes, q - first, n_classes, q))
    places = np.empty((n_classes, n_classes), dtype=np.intp)
    places[pairs] = places[pairs[::-1]] = np.arange(len(pairs[0]))
    for k in range(n_classes):
        jacobian[k] = 2.0 * np.tensordot(beta, threes[places[k]], axes=(0, 0))
        jacobian[k] -= np.einsum("j,lt->jlt", beta[k], twos[k])
        jacobian[k] -= np.einsum("lj,lt->jlt", beta, twos[k])
        jacobian[k, :, k] += np.outer(beta[k], ones[k]) - mixed_twos[k]
        for el in range(n_classes):
            jacobian[k, np.arange(q - first), el, np.arange(first, q)] += (
                means[k] * (k == el) - squares[k, el]
            )
    return effects, jacobian[:, :, fitted.kept]

"""Average marginal effects: the mean change of a probability by a feature, with delta-method errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.estimator.normal import intervals, p_values
from fastsoftmax.objective.curvature import outer, probabilities
from fastsoftmax.objective.row_parts import summed

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, RowBlock, Vector
    from fastsoftmax.estimator.information import Fitted
    from fastsoftmax.objective.row_parts import Terms


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


class _OfLabels:
    """The sums Σ w p (1 − p) (m,), and Σ w p (1 − p) (1 − 2 p) xₜ (m, q), of independent labels."""

    def __init__(self, terms: Terms, weights: Vector) -> None:
        self._terms, self._weights = terms, weights
        self.curvature, self.third = np.zeros(len(weights)), np.zeros(weights.shape)

    def add(self, some: RowBlock) -> None:
        """Add some rows."""
        columns = self._terms.of(some.X)
        proba, rest = probabilities(columns @ self._weights.T, exclusive=False)
        each = some.weight[:, np.newaxis] * proba * rest
        self.curvature += each.sum(axis=0)
        each *= rest - proba
        self.third += each.T @ columns

    def merge(self, other: _OfLabels) -> None:
        """Add the sums of other rows."""
        self.curvature += other.curvature
        self.third += other.third


def _of_labels(fitted: Fitted) -> tuple[Vector, Vector]:
    """Return the effects vₖ βₖⱼ, v the mean of p (1 − p), and their derivatives, of independent labels."""
    m, q, first = len(fitted.kept), fitted.n_terms, int(fitted.constant)
    terms, weights = fitted.terms._replace(mean=None), fitted.contrasts
    found = summed(
        fitted.rows, lambda part: _OfLabels(terms, weights), numbers_per_row=q + 4 * m, sums_size=m * q,
        n_threads=fitted.n_threads,
    )  # fmt: skip
    curvature, third = found.curvature / fitted.total_weight, found.third / fitted.total_weight
    effects = curvature[:, np.newaxis] * weights[:, first:]
    jacobian = np.zeros((m, q - first, m, q))
    for k in range(m):
        jacobian[k, :, k] = np.outer(weights[k, first:], third[k])
        jacobian[k, np.arange(q - first), k, np.arange(first, q)] += curvature[k]
    return effects, jacobian


class _OfClasses:
    """The sums of products of one, two and three probabilities and a term, of classes of a softmax.

    `means` Σ w pₖ, `squares` Σ w pₖ pₗ, `ones` Σ w pₖ xₜ, `twos` Σ w pₖ pₗ xₜ, and `threes`
    Σ w pₖ pᵣ pₗ xₜ of the pairs r ≤ k.
    """

    def __init__(self, terms: Terms, weights: Vector) -> None:
        self._terms, self._weights = terms, weights
        n_classes, q = weights.shape
        self.pairs = np.tril_indices(n_classes)
        self.means, self.squares = np.zeros(n_classes), np.zeros((n_classes, n_classes))
        self.ones, self.twos = np.zeros((n_classes, q)), np.zeros((n_classes, n_classes, q))
        self.threes = np.zeros((len(self.pairs[0]), n_classes, q))

    def add(self, some: RowBlock) -> None:
        """Add some rows."""
        columns = self._terms.of(some.X)
        proba, _ = probabilities(columns @ self._weights.T, exclusive=True)
        weighted = some.weight[:, np.newaxis] * proba
        self.means += weighted.sum(axis=0)
        self.squares += weighted.T @ proba
        self.ones += weighted.T @ columns
        each = outer(proba, columns)
        self.twos += (weighted.T @ each).reshape(self.twos.shape)
        of_pairs = weighted[:, self.pairs[0]] * proba[:, self.pairs[1]]
        self.threes += (of_pairs.T @ each).reshape(self.threes.shape)

    def _arrays(self) -> tuple[Vector, ...]:
        return self.means, self.squares, self.ones, self.twos, self.threes

    def merge(self, other: _OfClasses) -> None:
        """Add the sums of other rows."""
        for own, others in zip(self._arrays(), other._arrays(), strict=True):
            own += others

    def divided(self, total: float) -> tuple[Vector, ...]:
        """Return the means over rows of this total weight."""
        return tuple(array / total for array in self._arrays())


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
    found = summed(
        fitted.rows, lambda part: _OfClasses(terms, weights),
        numbers_per_row=n_classes * (q + n_classes + 4), sums_size=n_classes**2 * (n_classes + 3) * q // 2,
        n_threads=fitted.n_threads,
    )  # fmt: skip
    means, squares, ones, twos, threes = found.divided(fitted.total_weight)
    pairs = found.pairs
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

"""The objective whose penalty has absolute values: the mean loss of another objective, and the elastic net.

F has no gradient where coefficients are zero. Its two parts are told apart: the smooth part, of the mean loss
and the penalty's squares, has value, gradient and Hessian as any objective; the absolute values have a
proximal map.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.special

from fastsoftmax.contracts import Csr
from fastsoftmax.data.feature_columns import columns_of, n_entries
from fastsoftmax.linalg.coordinate_descent import Blocks
from fastsoftmax.objective.objective import Options, SoftmaxObjective
from fastsoftmax.objective.reduced_hessian import Among, class_blocks, reduced_hessian
from fastsoftmax.objective.riding_bound import CERTAIN, Dual, entropy_at, made_feasible, moments_of
from fastsoftmax.penalties.separable import Separable
from fastsoftmax.runtime.lazy_attributes import lazy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Centre, Params, RowBlock, Vector
    from fastsoftmax.contracts.protocols import Algebra
    from fastsoftmax.penalties.elastic_net import ElasticNet

_SOFTMAX = functools.partial(scipy.special.softmax, axis=1)
# Products with sparse rows are cheap beside their Gram matrix, whose entries are gathered one by one: 20
# newsgroups at C = 1 take half the time with 192 in place of 512. Dense columns that depend on each other
# nearly are worth a matrix, which conjugate gradients need hundreds of products for (tep_faults).
DENSE_ORDER, SPARSE_ORDER = 1280, 192
# Half of the features or more are taken as all of them: their copy would save little.
MOST = 0.5
MOST_PARAMS = 0.8  # so many of all: the Hessian of all is no dearer
MAX_BLOCKS = 2**22  # entries of class blocks; beyond, a sweep over them takes as long as a pass
BLOCK_RIDGE, TINY = 1e-9, 1e-300


class SparseObjective:
    """F of rows in memory with an elastic-net penalty, for solvers that take a proximal map.

    Parameters
    ----------
    rows : RowBlock
        Checked rows, of a host's storage.
    n_outputs : int
    penalty : ElasticNet
    centre : Centre, optional
        As `SourceObjective.centred` takes it.
    options
        Of `SoftmaxObjective.of_rows`, without a penalty.

    Notes
    -----
    Products are float64: a dual point is feasible to the precision of the gradient, and the gap is of the
    first order in what it lacks. Rows are read as they are.
    """

    offers = frozenset({"hessp", "prox", "free_bound"})
    is_float32 = False
    direct = None
    rotation = None

    def __init__(
        self,
        rows: RowBlock,
        n_outputs: int,
        penalty: ElasticNet,
        *,
        centre: Centre | None = None,
        options: Options | None = None,
    ) -> None:
        self._given = rows, n_outputs, centre, options or Options()
        loss = SoftmaxObjective.of_rows(rows, n_outputs, **self._given[3])
        loss = loss.in_float64() or loss
        self._loss: Any = loss if centre is None else loss.centred(centre)
        self.penalty = penalty
        self._part: tuple[SparseObjective, float] | None = None
        self._part_passes = 0.0
        self._grad_at_zero: Vector | None = None

    def with_l2(self, strength: float) -> SparseObjective:
        """Return the same objective with another strength of its penalty; passes start from 0."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._loss = self._loss.with_l2(0.0)
        other.penalty = self.penalty.with_strength(strength)
        other._part, other._part_passes = None, 0.0
        return other

    @property
    def algebra(self) -> Algebra:
        """The arithmetic of parameter vectors."""
        algebra: Algebra = self._loss.algebra
        return algebra

    @property
    def size(self) -> int:
        """The length of a parameter vector."""
        return int(self._loss.size)

    @property
    def n_params(self) -> int:
        """The length of a parameter vector."""
        return self.size

    @property
    def n_features(self) -> int:
        """The number of features, d."""
        return int(self._loss.n_features)

    @property
    def n_classes(self) -> int:
        """The number of logits of a row, K."""
        return int(self._loss.n_classes)

    @property
    def fit_intercept(self) -> bool:
        """Whether there are intercepts."""
        return bool(self._loss.fit_intercept)

    @property
    def passes(self) -> int:
        """The readings of X so far; those of some columns count for these columns' part of the entries."""
        part = 0.0 if self._part is None else self._part[1] * self._part[0].passes
        return int(self._loss.passes) + math.ceil(self._part_passes + part - 1e-9)

    @property
    def has_explicit_hessian(self) -> bool:
        """Whether the Hessian is small enough for `hessian_matrix`."""
        return bool(self._loss.has_explicit_hessian)

    def pack(self, coef: ArrayLike, intercept: ArrayLike | None = None) -> Vector:
        """Return coef (K, d) and intercept (K,) as one flat float64 vector."""
        return np.asarray(self._loss.pack(coef, intercept))

    def unpack(self, params: ArrayLike) -> Params:
        """Return views (coef (K, d), intercept (K,)) of a flat vector; zeros if there is no intercept."""
        unpacked: Params = self._loss.unpack(params)
        return unpacked

    def in_float64(self) -> None:
        """Return None: products are float64."""

    # --- the smooth part ------------------------------------------------------------------------------

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return F in nats, and the gradient of its smooth part, (n_params,). One pass over X."""
        value, grad = self._loss.value_and_grad(x)
        if self._grad_at_zero is None and not x.any():
            self._grad_at_zero = grad.copy()
        coef = self._coef(x)
        self._coef(grad)[:] += self.penalty.curvature * coef
        return value + self.penalty.value(self.algebra, coef), grad

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
    def reduced_order(self) -> int:
        """For how many parameters `reduced_hessian` is worth its cost; 0 of sparse rows that are centred."""
        rows, _, centre, _ = self._given
        if not isinstance(rows.X, Csr):
            return DENSE_ORDER
        return SPARSE_ORDER if centre is None else 0

    def reduced_hessian(self, x: Vector, places: NDArray[np.intp]) -> Vector:
        """Return the smooth part's Hessian at x among some parameters, (m, m). One pass over X.

        `places` are ascending. See `fastsoftmax.objective.reduced_hessian`.
        """
        if len(places) >= MOST_PARAMS * self.size and self.has_explicit_hessian:
            return self.hessian_matrix(x)[np.ix_(places, places)]
        rows, _, centre, _ = self._given
        exclusive = self._loss.family.SHIFT_INVARIANT
        coefs = places[places < self._n_coef]
        classes, features = np.divmod(coefs, self.n_features)
        intercepts = places[len(coefs) :] - self._n_coef
        among = Among(classes, features, intercepts, None if centre is None else centre.mean)
        matrix = reduced_hessian(
            rows, self.unpack(x), _SOFTMAX if exclusive else scipy.special.expit, exclusive, among
        )
        self._loss.count_reading()
        matrix[np.arange(len(coefs)), np.arange(len(coefs))] += self.penalty.curvature.ravel()[coefs]
        return matrix

    @property
    def has_class_blocks(self) -> bool:
        """Whether `class_blocks` are there: of dense rows, with absolute values of single coefficients.

        Products with sparse rows are cheap beside their Gram matrices, and with the diagonal alone steps by
        pairs took 20 newsgroups longer than conjugate gradients do.
        """
        return not (isinstance(self._given[0].X, Csr) or self.penalty.grouped)

    def class_blocks(self, x: Vector, places: NDArray[np.intp]) -> tuple[NDArray[np.intp], Blocks]:
        """Return the smooth part's Hessian among some parameters, less what two classes have together.

        The places by class, and the blocks of these; all intercepts are among them. Where the blocks were
        large, the diagonal. One pass over X.
        """
        coefs = places[places < self._n_coef]
        classes, features = np.divmod(coefs, self.n_features)
        rows, _, centre, _ = self._given
        counts = np.bincount(classes, minlength=self.n_classes)
        if int((counts**2).sum()) > MAX_BLOCKS:
            diagonal = self.diagonal(x)[places]
            return places, Blocks(np.arange(len(places) + 1), diagonal)
        exclusive = self._loss.family.SHIFT_INVARIANT
        intercepts = np.arange(self.n_classes if self.fit_intercept else 0)
        among = Among(classes, features, intercepts, None if centre is None else centre.mean)
        blocks = class_blocks(
            rows, self.unpack(x), _SOFTMAX if exclusive else scipy.special.expit, exclusive, among
        )
        self._loss.count_reading()
        ends = np.cumsum(counts)
        order: list[NDArray[np.intp]] = []
        for k, block in enumerate(blocks):
            of_class = coefs[ends[k] - counts[k] : ends[k]]
            diagonal = np.einsum("ii->i", block)
            diagonal[: counts[k]] += self.penalty.curvature.ravel()[of_class]
            diagonal += BLOCK_RIDGE * diagonal.max(initial=0.0) + TINY
            order.append(of_class)
            order.append(self._n_coef + intercepts[k : k + 1])
        starts = np.concatenate(([0], np.cumsum([len(block) for block in blocks])))
        values = np.concatenate([block.ravel() for block in blocks])
        return np.concatenate(order), Blocks(starts, values)

    def among(self, places: NDArray[np.intp]) -> Separable:
        """Return what the absolute values are to some ascending parameters; not of groups."""
        thresholds = np.zeros(self.size)
        self._coef(thresholds)[:] = self.penalty.thresholds
        number = np.full(self.size, -1)
        number[places] = np.arange(len(places))
        member = np.zeros(self.size, bool)
        member[places] = True
        return Separable(thresholds[places], number[self.flat_sums(member)])

    # --- the absolute values --------------------------------------------------------------------------

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
        if not self._loss.family.SHIFT_INVARIANT or self.n_classes == 1:
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

    # --- some features --------------------------------------------------------------------------------

    def excess(self, grad: Vector) -> Vector:
        """Return each feature's largest gradient as a multiple of what keeps it at zero, (d,)."""
        return self.penalty.excess(self._coef(grad))

    def in_use(self, x: Vector) -> NDArray[np.bool_]:
        """Return which features have a coefficient that is not zero, (d,), or is free."""
        return np.asarray(((self._coef(x) != 0.0) | (self.penalty.thresholds == 0.0)).any(axis=0))

    def of_features(self, features: NDArray[np.intp]) -> SparseObjective | None:
        """Return the objective of some features alone, or None if they are most, or none. Copies columns."""
        if len(features) == 0 or len(features) >= MOST * self.n_features:
            return None
        if self._part is not None:
            self._part_passes += self._part[1] * self._part[0].passes
        rows, n_outputs, centre, options = self._given
        X = columns_of(rows.X, features)
        if centre is not None:
            columns = np.flatnonzero(np.isin(features, centre.columns))
            centre = centre._replace(mean=centre.mean[features], variance=centre.variance[features],
                                     columns=columns)  # fmt: skip
            centre = centre if len(columns) else None
        penalty = self.penalty.of_features(features)
        part = SparseObjective(rows._replace(X=X), n_outputs, penalty, centre=centre, options=options)
        self._part = part, n_entries(X) / max(n_entries(rows.X), 1)
        return part

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
            dual = made_feasible(dual, excess, target, self._loss.family, lambda: self._moments)
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

    @lazy
    def _moments(self) -> tuple[Vector, Vector]:
        """Σ v x (d,) and Σ v y xᵀ (K, d), in the coordinates of vectors, from two gradients."""
        if self._grad_at_zero is None:
            self._grad_at_zero = self._loss.value_and_grad(np.zeros(self.size))[1]
        invariant = self._loss.family.SHIFT_INVARIANT
        certain = np.zeros(self.size)
        certain[self._n_coef :] = 0.0 if invariant else CERTAIN
        certain[self._n_coef] = CERTAIN
        at_certain = self._coef(self._loss.value_and_grad(certain)[1])
        return moments_of(self._coef(self._grad_at_zero), at_certain, invariant)

    @property
    def _n_coef(self) -> int:
        return self.n_classes * self.n_features

    def _coef(self, x: Vector) -> Vector:
        """Return the coefficients in a vector, as a view (K, d)."""
        return x[: self._n_coef].reshape(self.n_classes, -1)

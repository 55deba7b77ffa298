"""The objective of rows whose reading is dear: what can be asked of a sample in memory is not asked of them.

The start of a fit is the best of several optima of the sample; the model that a solver goes by is that of
rows which a reading chooses for what they weigh in the Hessian; and a lower bound rides on the reading that
gave the gradient, or takes one reading more (`dear_certificate`).
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts.queries import Diagonal, LossGrad, LossGrads, Together
from fastsoftmax.objective.certificate import MAX_SHIFTED_CLASSES
from fastsoftmax.objective.counted import CountedSource
from fastsoftmax.objective.dear_certificate import DearCertificate
from fastsoftmax.objective.gram_choice import is_worth_summing, model_of_sums, thinned_gram
from fastsoftmax.objective.row_scores import Lacking, choice_of_rows, curvature_at_zero
from fastsoftmax.objective.source_objective import SourceObjective
from fastsoftmax.objective.surrogate import Surrogate
from fastsoftmax.solvers import lbfgs
from fastsoftmax.sources.dear import DearSource
from fastsoftmax.sources.scaled import ScaledSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Params, Sums, Vector
    from fastsoftmax.contracts.protocols import Model, Penalty, Source
    from fastsoftmax.objective.row_choice import ChooseRows

# A preconditioner costs no reading; one is built anew where more steps than so many remain.
REBUILD_COST = 1.0
# The optima of the sample that a fit may begin at, by the strength of their penalty in units of that which
# gives the sample the same sum of losses against the penalty; and how exactly they are found. The strongest
# only where the sample has less than so many rows for a feature, which it fits too well (a million rows of
# 3,000 features, 11,000 sampled: F was 0.51 in place of 0.86 at the start, 0.36 at the end).
STRENGTHS, START_TOL, START_STEPS = (100.0, 10.0, 1.0), 1e-3, 100
FEW_ROWS = 8
# A bound without a reading of its own is good enough if the intercepts' part of its gap is this fraction of
# the coefficients' part.
NEGLIGIBLE_PART = 0.5
# The curvature of the intercepts is summed beside every gradient if it is no more work than this part of it.
RIDING = 0.3
# And only where the gap that the last gradient predicts is at most this fraction of F: a step takes away some
# 99 % of it, and 10⁻⁶ is asked for. Of one logit and float32 rows it takes half as long as the gradient.
BOUND_IS_NEAR = 0.01
# Of the usual number of rows, for the preconditioner of conjugate gradients.
INNER_FRACTION = 1.0
# What this class adds to the attributes of an objective.
OF_READINGS = {"_sampled", "_last", "_unpaid", "_hessian", "_squares", "_model", "_bounds"}


class FewReadings(SourceObjective):
    """F, ∇F and the rest over the rows of a `DearSource`, in as few readings as a solver can do with."""

    def _join(self, rows: CountedSource, penalty: Penalty) -> None:
        super()._join(rows, penalty)
        # Weak: in a cycle with its rows, their blocks would stay on workers until the cycle is collected.
        me = weakref.ref(self)
        self._bounds = DearCertificate(
            rows, self._layout, self._family, penalty, self.algebra, self._dtype, self._certificate,
            lambda: me()._at_candidates([]) and None,  # type: ignore[union-attr]
        )  # fmt: skip
        self._sampled: SourceObjective | None = None
        self._last: tuple[Vector, float, Vector] | None = None
        self._unpaid = 0  # readings that the start of a fit took, counted when the fit asks for their results
        self._hessian: tuple[Vector, Sums] | None = None  # without the penalty, and the point of it
        self._squares: Vector | None = None  # Σ w x² / Σ w (d,) of all rows
        self._model: Model | None = None  # made at the last reading that made one

    @property
    def offers(self) -> frozenset[str]:
        """The capabilities that solvers may use (`fastsoftmax.contracts.protocols.OFFERS`)."""
        return super().offers | {"model"}

    @property
    def has_small_hessian(self) -> bool:
        """Whether the whole Hessian of all rows is so small that it is summed beside every gradient."""
        return self._preconditioning.form[0] == "full"

    @property
    def sums_hessian(self) -> bool:
        """Whether a model near the minimum has a Hessian that is summed over more rows than are kept."""
        return not self.has_small_hessian and is_worth_summing(self.sampled, self._stream.sample_bytes)

    @property
    def sampled(self) -> SourceObjective:
        """The same objective of the sample that is kept in memory."""
        if self._sampled is None:
            self._sampled = self._over(self._stream.pool())
        return self._sampled

    @property
    def _stream(self) -> DearSource:
        source = self._rows.source
        source = source.rows if isinstance(source, ScaledSource) else source
        assert isinstance(source, DearSource)
        return source

    def with_l2(self, l2: float) -> Self:
        """Return the same objective with another strength of its penalty."""
        other = super().with_l2(l2)
        other._bounds.moments, other._squares = self._bounds.moments, self._squares
        return other

    def in_float64(self) -> Self | None:
        """Return this objective with float64 products, or None if it has them already."""
        other = super().in_float64()
        if other is not None:
            other._bounds.moments, other._squares = self._bounds.moments, self._squares
        return other

    def value_and_grad(self, params: ArrayLike) -> tuple[float, Vector]:
        """Return F in nats and ∇F (n_params,). One reading, none at the last point again."""
        point = np.asarray(params, np.float64)
        if self._last is not None and np.array_equal(self._last[0], point):
            self._rows.passes += self._unpaid
            self._unpaid = 0
            return self._last[1], self._last[2].copy()
        return self._read(point)

    def value_grad_and_model(self, params: ArrayLike, *, near: bool = False) -> tuple[float, Vector, Model]:
        """Return F in nats, ∇F, and a model by rows chosen at `params`. One reading, none after `start`.

        `near` the minimum the model has a Hessian that is summed in that reading, where `sums_hessian`.
        """
        point = np.asarray(params, np.float64)
        last, model = self._last, self._model
        if last is not None and model is not None and np.array_equal(last[0], point) and self._unpaid:
            return *self.value_and_grad(point), model
        self._model = None  # its memory can go, unless a solver has it
        sums = near and self.sums_hessian
        value, grad = self._read(point, chooses=not sums, sums_hessian=sums)
        assert self._model is not None
        return value, grad, self._model

    def model_at(self, recipe: Vector) -> Model:
        """Return the model with that recipe, to the same bits. One reading."""
        if len(recipe) == 1:
            self._read(recipe[0], sums_hessian=True)
        elif len(recipe) == 2:
            self._read(recipe[0], chooses=True)
        else:
            self._at_candidates(list(recipe[:-1]), recipe[-1])
        assert self._model is not None
        return self._model

    def returns_to(self, x: Vector, value: float, grad: Vector) -> None:
        """Take x, with F and ∇F there, for the last point: the next reading is at one beside it."""
        self._last = x.copy(), value, grad.copy()

    def _read(
        self, point: Vector, *, chooses: bool = False, sums_hessian: bool = False
    ) -> tuple[float, Vector]:
        """Return F and ∇F by one reading, and keep what rides on it: curvatures, and a model."""
        unpacked = self.unpack(point)
        queries: list[Any] = [LossGrad(unpacked, self._dtype)]
        if chooses:
            queries.append(self._choice((point,)))
        if sums_hessian:
            queries.append(thinned_gram(self.sampled, unpacked, self._rows.spec.n_rows, self._dtype))
        curvature_rides = self._curvature_rides
        if curvature_rides:
            queries.append(self._bounds.curvature_query(unpacked))
        if self.has_small_hessian:
            queries.append(self._preconditioning.hessian_query(unpacked))
        answers: tuple[Any, ...] = self._rows.sum(Together(tuple(queries))).each
        sums, *others = answers
        if self.has_small_hessian:
            self._hessian = point.copy(), others.pop()
        if chooses:
            self._keep_model(others.pop(0), (point,), point)
        if sums_hessian:
            self._model = model_of_sums(others.pop(0), self.sampled, point, self._n_threads)
        if curvature_rides:
            (curvature,) = others
            self._bounds.curvature = point.copy(), curvature.coef / curvature.weight
        value, grad = self._finished(sums, unpacked)
        self._last = point.copy(), value, grad.copy()
        return value, grad

    def inverse_hessian(self, params: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ (∇²F(params))⁻¹ v. No reading at the last point of `value_and_grad` if it is small."""
        point = np.asarray(params, np.float64)
        if self._hessian is None or not np.array_equal(self._hessian[0], point):
            return super().inverse_hessian(params)
        return self._preconditioning.inverse_of_hessian(self._hessian[1].copied(), self.unpack(point))

    def preconditioner(self, params: ArrayLike, fraction: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ M⁻¹ v, with the Hessian M at `params` of the sample in memory. No reading.

        M⁻¹ v is found by conjugate gradients, from the preconditioner of the sample (`Surrogate.inverse`).
        """
        point = np.array(params, np.float64)
        inner, missing = self.sampled.preconditioner(point), Lacking(self.sampled, self._squares)
        model = Surrogate(self.sampled, inner, self._rows.spec.n_rows, missing, point[np.newaxis])
        return model.inverse(point)

    def preconditioner_cost(self, fraction: float = 1.0) -> float:
        """Return what a preconditioner is worth in readings, so that one is not built for the last steps."""
        return REBUILD_COST

    def start(self) -> Vector:
        """Return the best of a few optima of the sample, told by one reading."""
        sampled, spec = self.sampled, self._rows.spec
        natural = self.l2 * spec.n_rows / sampled._rows.spec.n_rows or 1.0 / sampled._rows.spec.n_rows
        x = np.zeros(self.size)
        candidates = []
        passing = self._over(self._stream.pool())  # its preconditioner's matrices go with it
        has_few = sampled._rows.spec.n_rows < FEW_ROWS * (spec.n_features + 1)
        for strength in STRENGTHS if has_few else STRENGTHS[1:]:
            problem = passing.with_l2(strength * natural)
            x = lbfgs.minimize(problem, x, tol=START_TOL, max_iter=START_STEPS).x
            candidates.append(self._with_present_classes(x))
        del passing, problem
        values, grads = self._at_candidates(candidates)
        self._rows.passes -= 1
        self._unpaid = 1
        best = int(np.argmin(values))
        self._last = candidates[best].copy(), float(values[best]), grads[best].copy()
        return candidates[best]

    def lower_bound(self, params: ArrayLike, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F, in nats; None if l2 = 0.

        No reading where the gradient of the intercepts is small beside that of the coefficients, as it is
        without intercepts; else one, and one more if the intercepts' curvature has not been summed.
        """
        if not (self.has_lower_bound and self.fit_intercept):
            return super().lower_bound(params, value, grad)
        point = np.asarray(params, np.float64)
        coef_gap = self._penalty.gap(self.algebra, self._layout.split(grad).coef.ravel())
        bound = self._bounds.from_gradient(point, value, grad)
        if value - bound <= (1.0 + NEGLIGIBLE_PART) * coef_gap or self.n_classes > MAX_SHIFTED_CLASSES:
            return max(0.0, bound)
        at_shift = self._bounds.at_shift(self.unpack(point), point, grad, self.sampled._rows)
        return max(0.0, bound, at_shift)

    def _finished(self, sums: Sums, unpacked: Params) -> tuple[float, Vector]:
        """Return F and ∇F of sums over rows."""
        grad, penalty = self._layout.flatten(
            sums, unpacked.coef, self._penalty, self.algebra, balanced=self._balances
        )
        return sums.value / sums.weight + penalty, grad

    @property
    def _curvature_rides(self) -> bool:
        """Whether the intercepts' curvature costs little beside a gradient, and a bound may be asked for."""
        if not (self.fit_intercept and self.has_lower_bound) or self._last is None:
            return False
        _, value, grad = self._last
        if self.likely_gap(grad) > BOUND_IS_NEAR * abs(value):
            return False
        look = self._stream.entries_a_row
        return self.n_classes**2 <= RIDING * 4 * self.n_classes * look

    def _at_candidates(
        self, candidates: list[Vector], best: Vector | None = None
    ) -> tuple[Vector, list[Vector]]:
        """Return F and ∇F at some points, and keep the rows' moments and a model, from one reading."""
        points = [*candidates, *self._bounds.moment_points()]
        sets = tuple(self.unpack(point) for point in points)
        queries: tuple[Any, ...] = (LossGrads(sets, self._dtype),)
        if self._squares is None and not self.has_small_hessian:
            queries = (*queries, Diagonal(self.unpack(np.zeros(self.size)), self._dtype))
        if candidates:
            queries = (*queries, self._choice(tuple(candidates)))
        answers: tuple[Any, ...] = self._rows.sum(Together(queries)).each
        many_sums, *others = answers
        chosen = others.pop() if candidates else None
        many = many_sums.each
        for sums in others:
            self._squares = sums.coef[0] / sums.weight / curvature_at_zero(self)
        results = [self._finished(sums, one) for sums, one in zip(many, sets, strict=True)]
        n = len(candidates)
        if self.fit_intercept:
            self._bounds.keep_moments(results[n][1], results[n + 1][1])
        if chosen is not None:
            lowest = candidates[int(np.argmin([value for value, _ in results[:n]]))]
            self._keep_model(chosen, tuple(candidates), lowest if best is None else best)
        return np.array([value for value, _ in results[:n]]), [grad for _, grad in results[:n]]

    def _choice(self, points: tuple[Vector, ...]) -> ChooseRows:
        """Return the query for the rows that weigh most at some points."""
        return choice_of_rows(
            self.sampled, points, self._rows.spec.n_rows, self._stream.sample_bytes, self._dtype
        )

    def _keep_model(self, chosen: Any, points: tuple[Vector, ...], at: Vector) -> None:
        """Keep the model of chosen rows."""
        rows = chosen.rows()
        source = self._stream.pool() if rows is None else self._stream.of_rows(rows)
        chosen = self.sampled if rows is None else self._over(source)
        # by an objective of its own, which takes the matrices that it was made from along
        inner = self._over(source).preconditioner(at, INNER_FRACTION)
        recipe, missing = np.array((*points, at)), Lacking(chosen, self._squares)
        self._model = Surrogate(chosen, inner, self._rows.spec.n_rows, missing, recipe, self.sampled)

    def _over(self, rows: Source) -> SourceObjective:
        """Return the same objective of rows in memory, which are as they are."""
        source = self._rows.source
        in_memory = source.of(rows) if isinstance(source, ScaledSource) else rows
        other = SourceObjective.__new__(SourceObjective)
        # not what readings have told: a model of before would live as long as the one that follows it
        other.__dict__.update({name: each for name, each in self.__dict__.items() if name not in OF_READINGS})
        SourceObjective._join(other, CountedSource(in_memory), self._penalty)
        return other

    def _with_present_classes(self, x: Vector) -> Vector:
        """Return an optimum of the sample with usual intercepts for classes that the sample lacks."""
        if not self.fit_intercept:
            return x
        sums = self.sampled._certificate.mean_target
        means = self._stream.class_means()
        if means is None:
            return x
        lacking = (sums <= 0.0) & (means > 0.0)
        if not lacking.any():
            return x
        x = x.copy()
        intercept = x[self._layout.n_coef :]
        with np.errstate(divide="ignore"):
            usual = np.log(means)
        there = ~lacking & (means > 0.0)
        offset = float(np.mean(intercept[there] - usual[there])) if self._family.SHIFT_INVARIANT else 0.0
        intercept[lacking] = usual[lacking] + offset
        return x

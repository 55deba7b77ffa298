"""The objective of rows whose reading is dear: what can be asked of a sample in memory is not asked of them.

The start of a fit is the best of several optima of the sample; the model that a solver goes by is that of
rows which a reading chooses for what they weigh in the Hessian; and a lower bound rides on the reading that
gave the gradient (`_bound_from`), or takes one reading more, at intercepts that the sample and one small
matrix of all rows tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Mixture, Params
from fastsoftmax.contracts.queries import Diagonal, Dual, LossGrad, LossGrads, ShiftCurvature, Together
from fastsoftmax.objective.certificate import MAX_SHIFTED_CLASSES
from fastsoftmax.objective.counted import CountedSource
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

    from fastsoftmax.contracts import Sums, Vector
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
MAX_NEWTON_STEPS = 6
# Of the usual number of rows, for the preconditioner of conjugate gradients.
INNER_FRACTION = 1.0
# What this class adds to the attributes of an objective.
OF_READINGS = {"_sampled", "_last", "_unpaid", "_curvature", "_hessian", "_moments", "_squares", "_model"}
SPIKE = 1000.0  # an intercept so far above the others makes its class certain


class FewReadings(SourceObjective):
    """F, ∇F and the rest over the rows of a `DearSource`, in as few readings as a solver can do with."""

    def _join(self, rows: CountedSource, penalty: Penalty) -> None:
        super()._join(rows, penalty)
        self._sampled: SourceObjective | None = None
        self._last: tuple[Vector, float, Vector] | None = None
        self._unpaid = 0  # readings that the start of a fit took, counted when the fit asks for their results
        self._curvature: tuple[Vector, Vector] | None = None  # of the intercepts, and the point of it
        self._hessian: tuple[Vector, Sums] | None = None  # without the penalty, and the point of it
        self._moments: tuple[Vector, Params] | None = None
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
        other._moments, other._squares = self._moments, self._squares
        return other

    def in_float64(self) -> Self | None:
        """Return this objective with float64 products, or None if it has them already."""
        other = super().in_float64()
        if other is not None:
            other._moments, other._squares = self._moments, self._squares
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
        if self._curvature_rides:
            queries.append(ShiftCurvature(unpacked, np.zeros(self.n_classes), self._dtype))
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
        if self._curvature_rides:
            (curvature,) = others
            self._curvature = point.copy(), curvature.coef / curvature.weight
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
        bound = self._bound_from(point, value, grad)
        if value - bound <= (1.0 + NEGLIGIBLE_PART) * coef_gap or self.n_classes > MAX_SHIFTED_CLASSES:
            return max(0.0, bound)
        return max(0.0, bound, self._bound_at_shift(point, grad))

    def _finished(self, sums: Sums, unpacked: Params) -> tuple[float, Vector]:
        """Return F and ∇F of sums over rows."""
        grad, penalty = self._layout.flatten(
            sums, unpacked.coef, self._penalty, self.algebra, balanced=self._balances
        )
        return sums.value / sums.weight + penalty, grad

    @property
    def _curvature_rides(self) -> bool:
        """Whether the intercepts' curvature costs little beside a gradient."""
        if not (self.fit_intercept and self.has_lower_bound):
            return False
        look = self._stream.entries_a_row
        return self.n_classes**2 <= RIDING * 4 * self.n_classes * look

    def _at_candidates(
        self, candidates: list[Vector], best: Vector | None = None
    ) -> tuple[Vector, list[Vector]]:
        """Return F and ∇F at some points, and keep the rows' moments and a model, from one reading."""
        points = [*candidates, *self._moment_points()]
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
            self._keep_moments(results[n][1], results[n + 1][1])
        if chosen is not None:
            lowest = candidates[int(np.argmin([value for value, _ in results[:n]]))]
            self._keep_model(chosen, tuple(candidates), lowest if best is None else best)
        return np.array([value for value, _ in results[:n]]), [grad for _, grad in results[:n]]

    def _choice(self, points: tuple[Vector, ...]) -> ChooseRows:
        """Return the query for the rows that weigh most at some points."""
        return choice_of_rows(
            self.sampled, points, self._rows.spec.n_rows, self._stream.sample_bytes, self._dtype
        )

    def _moment_points(self) -> list[Vector]:
        """Return the points whose gradients tell the moments: zero, and one of certain probabilities."""
        if not self.fit_intercept:
            return []
        spike = np.zeros(self.size)
        spike[self._layout.n_coef :] = 0.0 if self._family.SHIFT_INVARIANT else SPIKE
        spike[self._layout.n_coef] = SPIKE
        return [np.zeros(self.size), spike]

    def _keep_moments(self, at_zero: Vector, at_spike: Vector) -> None:
        """Keep Σ w x / Σ w (d,) and Σ w y xᵀ / Σ w (K, d) of (centred) rows, from two gradients."""
        zero, spike = (self._layout.split(each).coef for each in (at_zero, at_spike))
        certain = 1.0 / self.n_classes if self._family.SHIFT_INVARIANT else 0.5
        mean = (spike[0] - zero[0]) / (1.0 - certain)
        self._moments = mean, Params(certain * mean - zero, np.empty(0))

    def _bound_from(self, point: Vector, value: float, grad: Vector) -> float:
        """Return a lower bound of min F from F and ∇F at a point; no reading once the moments are known.

        The entropies of the rows' probabilities p need no sum of their own: by Fenchel's equality
        Σ v [Σ p log p + ℓ] = Σ v (p − y)·z, which is linear in the gradients. With θ and q for which the
        probabilities (1 − θ) p + θ q have the means of the targets, and the convexity of the entropy,

            min F ≥ −(1 − θ) Σ v Σ p log p − θ Σ q log q − P*((1 − θ) Σ v (p − y) xᵀ + θ Σ v (q − y) xᵀ).
        """
        coef, intercept = self._layout.split(point)
        flat = coef.ravel()
        loss = value - self._penalty.value(self.algebra, flat)
        slope = np.zeros(flat.size)
        self._penalty.add_gradient(self.algebra, slope, 1.0, flat)
        at = self._layout.split(grad)
        residual = self.algebra.moved(at.coef.ravel(), slope, -1.0)
        entropy = self.algebra.dot(residual, flat) + float(at.intercept @ intercept) - loss
        return self._convex_bound(entropy, residual, at.intercept)

    def _convex_bound(self, entropy: float, residual: Vector, excess: Vector) -> float:
        """Return the bound of `_bound_from`, of Σ v Σ p log p, Σ v (p − y) xᵀ flat, and Σ v (p − y)."""
        mean_target = self._certificate.mean_target
        theta, q = self._family.feasible_mixture(mean_target + excess, mean_target)
        if theta <= 0.0:
            return -entropy - self._penalty.conjugate(self.algebra, residual)
        if theta >= 1.0:
            return 0.0
        if self._moments is None:
            self._at_candidates([])
        assert self._moments is not None
        mean, with_target = self._moments
        mixed = (np.outer(q, mean) - with_target.coef).ravel()
        mixed *= theta
        mixed += (1.0 - theta) * residual
        negative = _negative_entropy(q, self._family.SHIFT_INVARIANT)
        return -(1.0 - theta) * entropy - theta * negative - self._penalty.conjugate(self.algebra, mixed)

    def _bound_at_shift(self, point: Vector, grad: Vector) -> float:
        """Return the bound at intercepts whose mean probabilities are nearly those of the targets."""
        params = self.unpack(point)
        zero = np.zeros(self.n_classes)
        if self._curvature is None or not np.array_equal(self._curvature[0], point):
            sums = self._rows.sum(ShiftCurvature(params, zero, self._dtype))
            self._curvature = point.copy(), sums.coef / sums.weight
        shift = self._shift(params, self._layout.split(grad).intercept, self._curvature[1])
        mixture = Mixture(shift, 0.0, self._certificate.mean_target)
        sums = self._rows.sum(Dual(params, mixture, True, self._dtype))
        self._layout.centred(sums)
        scale = 1.0 / sums.weight
        return self._convex_bound(sums.value * scale, sums.coef.ravel() * scale, sums.intercept * scale)

    def _shift(self, params: Params, excess: Vector, curvature: Vector) -> Any:
        """Return the shift t of intercepts at which the mean probabilities are those of the targets.

        The excess of the means and its derivative at t = 0 are those of all rows; what is beyond is taken
        from the sample, where it is of second order.
        """
        rows, mean_target = self.sampled._rows, self._certificate.mean_target
        shift = -np.linalg.lstsq(curvature, excess, rcond=None)[0]

        def at(t: Any) -> tuple[Vector, Vector]:
            sums, curved = rows.sum(
                Together((
                    Dual(params, Mixture(t, 0.0, mean_target), False, self._dtype),
                    ShiftCurvature(params, t, self._dtype),
                ))
            ).each  # fmt: skip
            return sums.intercept / sums.weight, curved.coef / curved.weight

        first, slope = at(np.zeros(self.n_classes))
        left = float(np.abs(excess).max())
        for _ in range(MAX_NEWTON_STEPS):
            there, its_slope = at(shift)
            error = excess + curvature @ shift + (there - first - slope @ shift)
            size = float(np.abs(error).max())
            if size >= 0.5 * left:
                break
            left = size
            shift = shift - np.linalg.lstsq(curvature + its_slope - slope, error, rcond=None)[0]
        return shift

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


def _negative_entropy(q: Vector, exclusive: bool) -> float:
    """Return Σ q log q, or Σ q log q + (1 − q) log(1 − q) of independent labels."""
    parts = q if exclusive else np.concatenate((q, 1.0 - q))
    positive = parts[parts > 0.0]
    return float(positive @ np.log(positive))

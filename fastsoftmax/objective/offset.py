"""The objective of rows with an offset: known logits that are added to W x + b.

With offsets oᵢ (K,), rows (xᵢ, oᵢ) have the logits W xᵢ + oᵢ + b under the coefficients (W, I). So they are
kept as rows of K more features, whose coefficients are the identity in each query and no parameters: what is
summed by feature is answered for the others alone. Gradients and Hessians of F(W, b) are the parts of those
of F(W, V, b) by (W, b).
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastsoftmax.contracts import Centre, ManySums, Params, Sums
from fastsoftmax.contracts.points import Point
from fastsoftmax.contracts.queries import (
    Check,
    Diagonal,
    Dual,
    Gram,
    Hessp,
    LossGrad,
    LossGrads,
    ShiftCurvature,
    TargetSum,
    Together,
)
from fastsoftmax.objective.objective import SoftmaxObjective

if TYPE_CHECKING:
    from typing import Self, Unpack

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Loss, RowBlock, Vector
    from fastsoftmax.contracts.protocols import Addable, Query, Source, SourceSpec
    from fastsoftmax.objective.objective import Options

    Answer = TypeVar("Answer", bound=Addable)


class OffsetSource:
    """A source of the rows x, of one of the rows (x, o), whose last K features are known logits.

    Parameters
    ----------
    rows : Source
        The rows with their offsets, float64.

    Notes
    -----
    The value of a dual query is changed besides. With residuals rᵢ = pᵢ − yᵢ, Fenchel's bound (see
    `fastsoftmax.objective.certificate.dual_sums`) is the minimum over W and b of

        Σ wᵢ [rᵢ·(W xᵢ + b + oᵢ) − Σ pᵢ log pᵢ] + (l2 / 2) Σ w ‖W‖²,

    where the offsets leave the constant Σ wᵢ rᵢ·oᵢ: the trace of the residual sums of their features.
    """

    def __init__(self, rows: Source) -> None:
        self.rows = rows
        self._spec = rows.spec._replace(n_features=rows.spec.n_features - rows.spec.n_outputs)
        self._points: weakref.WeakKeyDictionary[Point, Point] = weakref.WeakKeyDictionary()

    @property
    def spec(self) -> SourceSpec:
        """The description of the rows without their offsets."""
        return self._spec

    def sample(self, n_rows: int) -> OffsetSource:
        """Return a source of `n_rows` sampled rows, always the same; itself if it has no more."""
        sampled = self.rows.sample(n_rows)
        return self if sampled is self.rows else OffsetSource(sampled)

    def in_float64(self, loss: Loss) -> OffsetSource:
        """Return a source of the same rows, with probability targets in float64 and the loss for them."""
        return OffsetSource(self.rows.in_float64(loss))

    def sum(self, query: Query[Answer]) -> Answer:
        """Return the sum of the query's answers for all rows. One reading of the rows.

        Raises TypeError for a kind of query that is not known here.
        """
        answer: Answer = self._answered(query, self.rows.sum(self._asked(query)))
        return answer

    def _asked(self, query: Any) -> Any:
        """Return the query to the rows with their offsets."""
        match query:
            case LossGrad() | Diagonal():
                return replace(query, params=self._wide(query.params))
            case LossGrads():
                return replace(query, params=tuple(map(self._wide, query.params)))
            case Check():
                params = None if query.params is None else self._wide(query.params)
                return replace(query, stored=self._wide(query.stored), params=params)
            case Hessp():
                direction = self._wide(query.direction, 0.0)
                return replace(query, place=self._place(query.place), direction=direction)
            case Gram():
                params = None if query.params is None else self._wide(query.params)
                return replace(query, params=params, centre=self._centre(query.centre))
            case Dual() | ShiftCurvature():
                return replace(query, place=self._place(query.place))
            case Together():
                return Together(tuple(map(self._asked, query.queries)))
            case TargetSum():
                return query
        raise TypeError(f"rows with an offset do not answer the query {type(query).__name__}")

    def _answered(self, query: Any, answer: Any) -> Any:
        """Return the answer for the rows without their offsets."""
        match query:
            case LossGrad() | Hessp() | Diagonal():
                return self._of_features(answer)
            case Check():
                return self._of_features(answer) if answer.coef.size else answer
            case LossGrads():
                return ManySums(tuple(map(self._of_features, answer.each)))
            case Dual() if answer.coef.size:
                constant = float(np.trace(answer.coef[:, self._spec.n_features :]))
                return replace(self._of_features(answer), value=answer.value - constant)
            case Gram():
                return self._of_blocks(answer)
            case Together():
                pairs = zip(query.queries, answer.each, strict=True)
                return ManySums(tuple(self._answered(one, sums) for one, sums in pairs))
        return answer

    def _wide(self, params: Params, offset: float = 1.0) -> Params:
        """Return parameters of the rows with their offsets; these times `offset`."""
        fixed = offset * np.eye(self._spec.n_outputs)
        return Params(np.concatenate((params.coef, fixed), axis=1), params.intercept)

    def _place(self, place: Params | Point) -> Params | Point:
        if not isinstance(place, Point):
            return self._wide(place)
        known = self._points.get(place)
        if known is None:
            known = self._points[place] = Point(self._wide(place.params))
        return known

    def _centre(self, centre: Centre | None) -> Centre | None:
        """Return the centre of the rows with their offsets, which stay as they are."""
        if centre is None:
            return None
        n_outputs = self._spec.n_outputs
        mean = np.append(centre.mean, np.zeros(n_outputs))
        return Centre(mean, np.append(centre.variance, np.ones(n_outputs)), centre.columns)

    def _of_features(self, sums: Sums) -> Sums:
        """Return sums (K, d + K) by feature without those of the offsets."""
        coef = sums.coef[:, : self._spec.n_features]
        return replace(sums, joined=np.concatenate((coef.ravel(), sums.intercept)), shape=coef.shape)

    def _of_blocks(self, sums: Sums) -> Sums:
        """Return blocks (…, d + K + 1, d + K + 1) without the rows and columns of the offsets."""
        order = sums.shape[-1]
        kept = np.append(np.arange(self._spec.n_features), order - 1)
        coef = sums.coef[..., kept[:, np.newaxis], kept]
        return replace(sums, joined=np.concatenate((coef.ravel(), sums.intercept)), shape=coef.shape)


class OffsetObjective(SoftmaxObjective):
    """The objective of rows with an offset, F(W, b) = Σᵢ wᵢ ℓ(W xᵢ + b + oᵢ, yᵢ) / Σᵢ wᵢ + P(W).

    `lower_bound` holds with a penalty. There is no corrected bound, and none without a penalty: the stopping
    rule then is that of an estimated gap.
    """

    @classmethod
    def of_offset_rows(cls, rows: RowBlock, n_classes: int, **options: Unpack[Options]) -> Self:
        """Return the objective of checked rows (x, o), float64, whose last `n_classes` features are o."""
        self = cls.of_rows(rows, n_classes, **options)
        source = OffsetSource(self._rows.source)
        self._layout = self._layout._replace(n_features=source.spec.n_features)
        self._join(type(self._rows)(source), self._penalty)
        return self

    def corrected_bound(
        self, params: ArrayLike, grad: Vector, goal: float, n_passes: int
    ) -> tuple[float | None, float]:
        """Return no bound: `lower_bound` is the one of rows with an offset."""
        return None, np.inf

    def unpenalised_bound(
        self, params: ArrayLike, value: float, grad: Vector, goal: float, n_passes: int
    ) -> float | None:
        """Return None."""
        return None

    @property
    def direct(self) -> None:
        """None: the solver of small problems reads the rows without asking a source."""
        return None

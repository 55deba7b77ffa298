"""The source of rows whose features are divided by a scale each: a change of variables, no new rows.

A row x / s has the logits under W that x has under W / s. So a query's coefficients are divided by s on the
way to the rows, and what is summed by feature on the way back: no row is scaled, sparse ones stay sparse.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from fastsoftmax.contracts import ManySums, Params
from fastsoftmax.contracts.points import Point
from fastsoftmax.contracts.queries import (
    Check,
    CorrectedDual,
    Diagonal,
    Dual,
    Gram,
    Hessp,
    LargestNorm,
    LeastGram,
    LossGrad,
    LossGrads,
    ShiftCurvature,
    TargetSum,
    Together,
)

if TYPE_CHECKING:
    from fastsoftmax.contracts import Centre, Loss, Sums, Vector
    from fastsoftmax.contracts.protocols import Addable, Query, Source, SourceSpec

    Answer = TypeVar("Answer", bound=Addable)


class ScaledSource:
    """A source of the rows of another, each feature divided by its scale.

    Parameters
    ----------
    rows : Source
        The rows as they are.
    scale : ndarray (d,), float64
        Positive.

    Attributes
    ----------
    rows : Source
    scale : ndarray (d,)

    Notes
    -----
    Coefficients are copied, and sums scaled, in each query: two readings of a vector of parameters. Centres
    in queries are those of the scaled rows.
    """

    def __init__(self, rows: Source, scale: Vector) -> None:
        self.rows, self.scale = rows, scale
        self._factor = 1.0 / scale
        self._with_one = np.append(self._factor, 1.0)  # of rows with a constant
        # Known logits are kept as long as a query's point exists, by the rows' own point.
        self._points: weakref.WeakKeyDictionary[Point, Point] = weakref.WeakKeyDictionary()

    @property
    def spec(self) -> SourceSpec:
        """The description of the rows."""
        return self.rows.spec

    def of(self, rows: Source) -> ScaledSource:
        """Return the source of other rows with the same scale."""
        return ScaledSource(rows, self.scale)

    def sample(self, n_rows: int) -> ScaledSource:
        """Return a source of `n_rows` sampled rows, always the same; itself if it has no more."""
        sampled = self.rows.sample(n_rows)
        return self if sampled is self.rows else self.of(sampled)

    def in_float64(self, loss: Loss) -> ScaledSource:
        """Return a source of the same rows, with probability targets in float64 and the loss for them."""
        return self.of(self.rows.in_float64(loss))

    def sum(self, query: Query[Answer]) -> Answer:
        """Return the sum of the query's answers for all rows. One reading of the rows.

        Raises TypeError for a kind of query whose change of variables is not known.
        """
        answer: Answer = self._answered(query, self.rows.sum(self._asked(query)))
        return answer

    def _asked(self, query: Any) -> Any:
        """Return the query to the rows as they are."""
        match query:
            case LossGrad() | Diagonal():
                return replace(query, params=self._params(query.params))
            case LossGrads():
                return replace(query, params=tuple(map(self._params, query.params)))
            case Check():
                params = None if query.params is None else self._params(query.params)
                return replace(query, stored=self._params(query.stored), params=params)
            case Hessp():
                return replace(query, place=self._place(query.place), direction=self._params(query.direction))
            case Gram():
                params = None if query.params is None else self._params(query.params)
                return replace(query, params=params, centre=self._centre(query.centre))
            case Dual() | ShiftCurvature():
                return replace(query, place=self._place(query.place))
            case CorrectedDual():
                step, mean = self._params(query.step), self._mean(query.mean)
                return replace(query, place=self._place(query.place), step=step, mean=mean)
            case LeastGram():
                return replace(query, place=self._place(query.place), mean=self._mean(query.mean))
            case LargestNorm():
                root = query.root * self._with_one[:, np.newaxis]
                return replace(query, root=root, mean=self._mean(query.mean))
            case Together():
                return Together(tuple(map(self._asked, query.queries)))
            case TargetSum():
                return query
        raise TypeError(f"no change of variables is known for the query {type(query).__name__}")

    def _answered(self, query: Any, answer: Any) -> Any:
        """Return the answer for the scaled rows; its arrays are overwritten."""
        match query:
            case LossGrad() | Hessp() | CorrectedDual():
                answer.coef[:] *= self._factor
            case Diagonal():
                answer.coef[:] *= self._factor**2
            case LossGrads():
                for sums in answer.each:
                    sums.coef[:] *= self._factor
            case Dual() | Check():
                if answer.coef.size:
                    answer.coef[:] *= self._factor
            case Gram():
                self._scale_both(answer)
            case LeastGram():
                self._scale_both(answer)
                n_coef = self.spec.n_outputs * len(self._factor)
                answer.intercept[:n_coef].reshape(self.spec.n_outputs, -1)[:] *= self._factor
            case Together():
                pairs = zip(query.queries, answer.each, strict=True)
                return ManySums(tuple(self._answered(one, sums) for one, sums in pairs))
        return answer

    def _scale_both(self, sums: Sums) -> None:
        """Scale the rows and columns of the sums' matrices (…, d + 1, d + 1), in place."""
        coef = sums.coef
        coef *= self._with_one[:, np.newaxis]
        coef *= self._with_one

    def _params(self, params: Params) -> Params:
        return Params(params.coef * self._factor, params.intercept)

    @overload
    def _place(self, place: Params) -> Params: ...
    @overload
    def _place(self, place: Point) -> Point: ...
    def _place(self, place: Params | Point) -> Params | Point:
        if not isinstance(place, Point):
            return self._params(place)
        known = self._points.get(place)
        if known is None:
            known = self._points[place] = Point(self._params(place.params))
        return known

    def _mean(self, mean: Vector | None) -> Vector | None:
        return None if mean is None else mean * self.scale

    def _centre(self, centre: Centre | None) -> Centre | None:
        if centre is None:
            return None
        return centre._replace(mean=centre.mean * self.scale, variance=centre.variance * self.scale**2)


def scaled_centre(centre: Centre, scale: Vector) -> Centre:
    """Return the centre of the scaled rows from that of the rows as they are."""
    return centre._replace(mean=centre.mean / scale, variance=centre.variance / scale**2)

"""The source of rows whose features are centred and scaled: a change of variables, no new rows.

A row (x − m) / s has the logits under W and b that x has under W / s and b − (W / s) m. So the parameters of
a query are changed on the way to the rows, and what is summed by feature on the way back: no row is, and
sparse ones stay sparse.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np

from fastsoftmax.contracts import Centre, ManySums, Params
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
from fastsoftmax.runtime.buffers import BufferPool

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Loss, Sums, Vector
    from fastsoftmax.contracts.protocols import Addable, Query, Source, SourceSpec

    Answer = TypeVar("Answer", bound=Addable)


# A deviation that is less than this fraction of the mean is lost in products of float32.
FAR = 0.01


class ScaledSource:
    """A source of the rows of another, whose features are divided by their scale, and perhaps centred.

    Parameters
    ----------
    rows : Source
        The rows as they are.
    scale : ndarray (d,), float64
        Positive.
    mean : ndarray (d,), float64, optional
        Subtracted before; zeros centre nothing. Only for models with intercepts.
    buffers : BufferPool, optional
        Supplies the memory of coefficients.

    Attributes
    ----------
    rows : Source
    scale : ndarray (d,)
    is_far : bool
        Whether some feature that is centred has a mean of more than a hundred deviations.

    Notes
    -----
    Parameters are copied, and sums changed, in each query: a few readings of a vector of parameters. Centres
    in queries are those of the scaled rows. The diagonal of a Hessian is estimated in centred features, as
    Σ wᵢ cᵢ for curvatures cᵢ and the variance 1: what rows sum up does not tell it.
    """

    def __init__(
        self, rows: Source, scale: Vector, mean: Vector | None = None, buffers: BufferPool | None = None
    ) -> None:
        self.rows, self.scale = rows, scale
        self._buffers = BufferPool() if buffers is None else buffers
        self._factor = 1.0 / scale
        self._with_one = np.append(self._factor, 1.0)  # of rows with a constant
        self._centred = np.flatnonzero(np.zeros(0) if mean is None else mean)
        self._means = mean if len(self._centred) else None
        # A square (x - m)² / s² is taken for x² / (s² + m²), which has the same mean.
        self._squares = self._factor**2 if mean is None else 1.0 / (scale**2 + mean**2)
        self.is_far = mean is not None and bool((FAR * np.abs(mean) > scale).any())
        # Known logits are kept as long as a query's point exists, by the rows' own point.
        self._points: weakref.WeakKeyDictionary[Point, Point] = weakref.WeakKeyDictionary()

    @property
    def spec(self) -> SourceSpec:
        """The description of the rows."""
        return self.rows.spec

    @property
    def features(self) -> Vector:
        """1 / scale and the mean, (2, d); zeros where nothing is centred."""
        mean = np.zeros_like(self.scale) if self._means is None else self._means
        return np.stack((self._factor, mean))

    def of(self, rows: Source) -> ScaledSource:
        """Return the source of other rows with the same scale and centre."""
        return ScaledSource(rows, self.scale, self._means, self._buffers)

    def centred_at(self, mean: Vector) -> ScaledSource:
        """Return the source of the same rows centred at `mean` (d,)."""
        return ScaledSource(self.rows, self.scale, mean, self._buffers)

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
                return replace(query, params=self.of_rows(query.params))
            case LossGrads():
                return replace(query, params=tuple(map(self.of_rows, query.params)))
            case Check():
                params = None if query.params is None else self.of_rows(query.params)
                return replace(query, stored=self.of_rows(query.stored), params=params)
            case Hessp():
                return replace(query, place=self._place(query.place), direction=self.of_rows(query.direction))
            case Gram():
                params = None if query.params is None else self.of_rows(query.params)
                dtype = np.float64 if self.is_far else query.dtype
                return replace(query, params=params, centre=self._centre(query.centre), dtype=dtype)
            case Dual() | ShiftCurvature():
                return replace(query, place=self._place(query.place))
            case CorrectedDual():
                # The step is one of rows less the mean already.
                step = Params(query.step.coef * self._factor, query.step.intercept)
                mean = self._mean(query.mean)
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
        changed = getattr(query, "of_features", None)  # kinds of query that know how themselves
        if changed is not None:
            return changed(self.of_rows, self._squares)
        changed = getattr(query, "of_scaled", None)  # and those whose answers are of scaled rows already
        if changed is not None:
            return changed(self.of_rows, *self.features)
        raise TypeError(f"no change of variables is known for the query {type(query).__name__}")

    def _answered(self, query: Any, answer: Any) -> Any:
        """Return the answer for the scaled rows; its arrays are overwritten."""
        match query:
            case LossGrad() | Hessp():
                self._change(answer)
            case CorrectedDual():  # of rows less the mean
                _scale(answer.coef, self._factor)
            case Diagonal():
                _scale(answer.coef, self._factor**2)
                answer.coef[:, self._centred] = answer.intercept[:, np.newaxis]
            case LossGrads():
                for sums in answer.each:
                    self._change(sums)
            case Dual() | Check():
                if answer.coef.size:
                    self._change(answer)
            case Gram():
                self._scale_both(answer)
            case LeastGram():
                self._scale_both(answer)
                n_coef = self.spec.n_outputs * len(self._factor)
                _scale(answer.intercept[:n_coef].reshape(self.spec.n_outputs, -1), self._factor)
            case Together():
                pairs = zip(query.queries, answer.each, strict=True)
                return ManySums(tuple(self._answered(one, sums) for one, sums in pairs))
        return answer

    def _scale_both(self, sums: Sums) -> None:
        """Scale the rows and columns of the sums' matrices (…, d + 1, d + 1), in place."""
        coef = sums.coef
        coef *= self._with_one[:, np.newaxis]
        coef *= self._with_one

    def of_rows(self, params: Params) -> Params:
        """Return the parameters of the rows as they are, of those of the scaled rows."""
        coef = np.multiply(params.coef, self._factor, out=self._buffers.array(params.coef.shape))
        return Params(coef, params.intercept - self._shift(coef))

    def of_scaled_rows(self, params: Params) -> Params:
        """Return the parameters of the scaled rows, of those of the rows as they are."""
        return Params(params.coef * self.scale, params.intercept + self._shift(params.coef))

    def _shift(self, coef: Vector) -> Vector | float:
        """Return W m (K,) of coefficients of the rows as they are."""
        if self._means is None:
            return 0.0
        return np.asarray(coef[:, self._centred] @ self._means[self._centred])

    def _change(self, sums: Sums) -> None:
        """Change sums by feature to those of the scaled rows, in place."""
        if self._means is not None:
            sums.coef[:, self._centred] -= np.outer(sums.intercept, self._means[self._centred])
        _scale(sums.coef, self._factor)

    @overload
    def _place(self, place: Params) -> Params: ...
    @overload
    def _place(self, place: Point) -> Point: ...
    def _place(self, place: Params | Point) -> Params | Point:
        if not isinstance(place, Point):
            return self.of_rows(place)
        known = self._points.get(place)
        if known is None:
            known = self._points[place] = Point(self.of_rows(place.params))
        return known

    def _mean(self, mean: Vector | None) -> Vector | None:
        """Return a centre of the scaled rows as one of the rows as they are."""
        if mean is None or self._means is None:
            return self._means if mean is None else mean * self.scale
        return self._means + mean * self.scale

    def _centre(self, centre: Centre | None) -> Centre | None:
        mean = self._mean(None if centre is None else centre.mean)
        return None if mean is None else Centre(mean, self.scale**2, np.flatnonzero(mean))


def _scale(array: Array, factor: Vector) -> None:
    """Multiply an array by a factor for each column, in place."""
    np.multiply(array, factor, out=array)

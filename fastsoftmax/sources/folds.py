"""Folds of rows elsewhere: weights of zero for a part of them, so that no row is moved or encoded again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.contracts.queries import placed
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.data import moments
from fastsoftmax.sources.stratification import bins

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Loss, Params, RowBlock, Vector
    from fastsoftmax.contracts.device import PassDevice
    from fastsoftmax.contracts.protocols import Query
    from fastsoftmax.data.blocks.look import Look
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.moments import Moments
    from fastsoftmax.sources.stratification import Fold


def codes_of(target: Array) -> NDArray[np.intp]:
    """Return the codes (n,) of rows' classes, of targets that are codes, 0 and 1, or a row of these each."""
    if target.ndim == 1:
        return target.astype(np.intp)
    if target.shape[1] == 1:
        return target[:, 0].astype(np.intp)
    found: NDArray[np.intp] = target.argmax(axis=1)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class ClassKeys:
    """The rows and the summed weights of each class by bins of keys, as `coef` (2, K, bins). X is not read.

    `by_class` (K,) are factors of the weights that are taken out again. `first` is the block's place.
    """

    by_rows: ClassVar[bool] = True

    n_classes: int
    n_bins: int
    by_class: Vector | None = None
    first: int = 0

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        codes = codes_of(block.target)
        found = codes * self.n_bins + bins(np.arange(self.first, self.first + len(codes)), self.n_bins)
        n_places, weight = self.n_classes * self.n_bins, _without(block.weight, self.by_class, codes)
        both = np.concatenate([np.bincount(found, each, n_places) for each in (None, weight)])
        return Sums(0.0, float(weight.sum()), both, (2, self.n_classes, self.n_bins))

    def placed(self, first: int) -> ClassKeys:
        """Return the same query for a block whose first row has that place among all rows."""
        return replace(self, first=first)


@dataclass(frozen=True, slots=True, eq=False)
class SummedMoments:
    """The features' moments over some rows; `+` gives those of both sets of rows."""

    moments: Moments

    def __add__(self, other: SummedMoments) -> SummedMoments:
        return SummedMoments(self.moments.merged(other.moments))


@dataclass(frozen=True, slots=True, eq=False)
class RowMoments:
    """The features' moments over the rows. Factors of weights, `by_class` (K,), are taken out again."""

    by_class: Vector | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> SummedMoments:
        """Return the answer for one block."""
        weight = _without(block.weight, self.by_class, codes_of(block.target))
        return SummedMoments(moments.of_rows(block.X, weight))


def _without(weight: Vector, by_class: Vector | None, codes: NDArray[np.intp]) -> Vector:
    """Return weights without the factors of classes."""
    return weight if by_class is None else weight / by_class[codes]


@dataclass(frozen=True, slots=True, eq=False)
class InFold:
    """A query about the rows of a fold: the others have a weight of zero. `first` is the block's place."""

    query: Query[Any]
    fold: Fold
    first: int = 0

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Any:
        """Return the answer for one block."""
        place = np.arange(self.first, self.first + block.n_rows)
        chosen = self.fold.has(place, codes_of(block.target))
        return self.query.on(
            device, loss, block._replace(weight=np.where(chosen, block.weight, 0.0)), n_threads
        )

    def placed(self, first: int) -> InFold:
        """Return the same query for a block whose first row has that place among all rows."""
        return InFold(placed(self.query, first), self.fold, first)


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The weighted sum of a row's score at `params`, as `value`, over rows that have a weight; from float64.

    `row_score` (logits (n, K), codes (n,)) gives (n,) scores; codes are those of the classes. `by_class` are
    factors of the weights that are taken out again: of the fits, and not of the scores.
    """

    params: Params
    row_score: Callable[[Vector, NDArray[np.intp]], Vector]
    by_class: Vector | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        there = np.flatnonzero(block.weight)
        codes = codes_of(block.target[there])
        weight = _without(block.weight[there], self.by_class, codes)
        total, empty = float(weight.sum()), np.empty(0)
        if not len(there):
            return Sums(0.0, 0.0, empty, (0,))
        X = storage_of(block.X).take(block.X, there)
        logits = device.logits(self.params, X, n_threads, dtype=np.dtype(np.float64))
        return Sums(float(weight @ self.row_score(logits, codes)), total, empty, (0,))


class TrainingRows:
    """The training rows of a fold, as a source takes them: those of a `RowSet`, where they are.

    Parameters
    ----------
    rows : RowSet
        After the first reading, with labels.
    fold : Fold
    counts, weight : ndarray (K,)
        The fold's rows of each class, and their summed weights without factors of classes.
    moments : Moments or None
        Those of the features over the fold's rows.
    codes : ndarray
        Of the classes of the rows that are kept as a sample.
    encoded : dict
        Shared by the folds: what has been made of the blocks where they are.
    """

    def __init__(
        self, rows: RowSet, fold: Fold, counts: Vector, weight: Vector, moments: Moments | None,
        codes: NDArray[np.intp], encoded: dict[Any, Any],
    ) -> None:  # fmt: skip
        self._rows, self.fold, self.encoded, self._moments = rows, fold, encoded, moments
        look = rows.look()
        assert look.learnt is not None
        chosen = np.flatnonzero(fold.has(look.sample.position, codes))
        if not len(chosen):
            raise ValueError(f"the sample that is kept in memory has no training row of fold {fold.number}")
        self._look = look._replace(
            head=look.head._replace(n_rows=int(counts.sum())),
            learnt=look.learnt._replace(n_rows=counts.astype(np.int64), weight=weight),
            weight=float(weight.sum()),
            sample=look.sample.taken(chosen),
            kept=None,
            moments=moments,
        )

    def look(self) -> Look:
        """Return what is known of the fold's rows."""
        return self._look

    def moments(self) -> Moments:
        """Return the features' means and deviations over the fold's rows."""
        assert self._moments is not None
        return self._moments

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

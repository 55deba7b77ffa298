"""Folds of rows elsewhere: weights of zero for a part of them, so that no row is moved or encoded again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.contracts.queries import placed
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.data.blocks.sample import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Loss, Params, RowBlock, Vector
    from fastsoftmax.contracts.device import PassDevice
    from fastsoftmax.contracts.protocols import Query
    from fastsoftmax.data.blocks.look import Look
    from fastsoftmax.data.blocks.row_set import RowSet

_OFFSET = 2**62  # of positions: those of the sample and of test data have other keys
_COUNTED = 2**20  # rows at a time


class Fold(NamedTuple):
    """A part of all rows, or with `is_training` the others; which rows depends on their places alone."""

    number: int
    n_folds: int
    is_training: bool

    def has(self, position: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of the rows at these places among all it has."""
        held_out = keys(position + _OFFSET) % np.uint64(self.n_folds) == np.uint64(self.number)
        chosen: NDArray[np.bool_] = held_out != self.is_training
        return chosen

    def count(self, n_rows: int) -> int:
        """Return how many of the first rows it has."""
        return sum(
            int(self.has(np.arange(start, min(start + _COUNTED, n_rows))).sum())
            for start in range(0, n_rows, _COUNTED)
        )


@dataclass(frozen=True, slots=True, eq=False)
class InFold:
    """A query about the rows of a fold: the others have a weight of zero. `first` is the block's place."""

    query: Query[Any]
    fold: Fold
    first: int = 0

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Any:
        """Return the answer for one block."""
        chosen = self.fold.has(np.arange(self.first, self.first + block.n_rows))
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
        weight, target = block.weight[there], block.target[there]
        codes = target.astype(np.intp) if target.ndim == 1 else target.argmax(axis=1)
        if target.ndim == 2 and target.shape[1] == 1:
            codes = target[:, 0].astype(np.intp)
        if self.by_class is not None:
            weight = weight / self.by_class[codes]
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
    weight : ndarray (K,)
        The summed weights of the fold's rows of each class, without factors of classes.
    encoded : dict
        Shared by the folds: what has been made of the blocks where they are.
    """

    def __init__(self, rows: RowSet, fold: Fold, weight: Vector, encoded: dict[Any, Any]) -> None:
        self._rows, self.fold, self.encoded = rows, fold, encoded
        look = rows.look()
        assert look.learnt is not None
        sample = look.sample
        chosen = np.flatnonzero(fold.has(sample.position))
        if not len(chosen):
            raise ValueError(f"the sample that is kept in memory has no training row of fold {fold.number}")
        self._look = look._replace(
            head=look.head._replace(n_rows=fold.count(look.head.n_rows or 0)),
            learnt=look.learnt._replace(weight=weight),
            weight=float(weight.sum()),
            sample=sample._replace(
                X=storage_of(sample.X).take(sample.X, chosen),
                y=None if sample.y is None else sample.y[chosen],
                weight=None if sample.weight is None else sample.weight[chosen],
                position=sample.position[chosen],
            ),
            kept=None,
        )

    def look(self) -> Look:
        """Return what is known of the fold's rows."""
        return self._look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

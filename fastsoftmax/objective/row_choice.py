"""Rows chosen in one reading for what they weigh in the Hessian: they stand for all rows near a point.

A row's part of the Hessian is large where its probabilities are undecided, or its features or classes are
rare. Rows are chosen with a probability about proportional to

    sᵢ = wᵢ Σₖ |pᵢₖ − yᵢₖ| (Σⱼ xᵢⱼ² / Dₖⱼ + 1 / Dₖ)

with the diagonal D of the Hessian of the mean loss: |p − y| stands for p (1 − p), which it is not below, so
that rows whose label is about to be believed are seen, too. A floor keeps rows that the point takes for
certain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from fastsoftmax import losses
from fastsoftmax.contracts import Csr, Halves, Params, RowBlock, row_slice
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.data.blocks.block import n_bytes
from fastsoftmax.data.blocks.sample import keys, row_bytes, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, DType, HostRows, Loss, Vector
    from fastsoftmax.contracts.device import PassDevice

CHUNK_BYTES = 2**22  # of the squares of dense rows that are held at a time
SLACK = 1.25  # more bytes than are to be kept: from there on the rows with the largest keys are dropped
OTHER_ROWS = 2**62  # added to a row's place: its key here has nothing to do with that of the plain sample


class Chosen(NamedTuple):
    """Rows and what they were chosen by: `key` uᵢ / sᵢ with a uniform number uᵢ, and the score sᵢ."""

    X: HostRows
    target: Array
    weight: Vector
    key: Vector
    score: Vector

    def taken(self, places: NDArray[np.intp]) -> Chosen:
        """Return the rows with these indices, copied."""
        X = storage_of(self.X).take(self.X, places)
        return Chosen(X, self.target[places], self.weight[places], self.key[places], self.score[places])


@dataclass(frozen=True, slots=True, eq=False)
class ChosenRows:
    """The rows with the smallest keys, as many as take `max_bytes`; `+` gives those of both sets of rows.

    `limit` is the smallest key of a row that is not among them, infinity if there is none. `parts` may hold
    more rows than that until `rows` is called.
    """

    in_any_order: ClassVar[bool] = True  # keys alone tell which rows are left out

    parts: tuple[Chosen, ...]
    limit: float
    max_bytes: int

    def __add__(self, other: ChosenRows) -> ChosenRows:
        limit = min(self.limit, other.limit)
        parts = self.parts
        for part in other.parts:
            below = np.flatnonzero(part.key < limit)
            if len(below):
                parts = (*parts, part if len(below) == len(part.key) else part.taken(below))
        both = ChosenRows(parts, limit, self.max_bytes)
        return both.pruned() if sum(n_bytes(part.X) for part in parts) > SLACK * self.max_bytes else both

    def __sizeof__(self) -> int:
        """Return the bytes with those of the rows: schedulers that move answers ask for it."""
        beside = (array for part in self.parts for array in part[1:])
        return 256 + sum(n_bytes(part.X) for part in self.parts) + sum(array.nbytes for array in beside)

    def pruned(self) -> ChosenRows:
        """Return the same with one part, of no more bytes than are to be kept."""
        if not self.parts:
            return self
        key = np.concatenate([part.key for part in self.parts])
        size = np.concatenate([row_bytes(part.X) for part in self.parts])
        order = np.argsort(key, kind="stable")
        fits = np.cumsum(size[order]) <= self.max_bytes
        fits[0] = True
        limit = self.limit if fits.all() else min(self.limit, float(key[order[np.argmin(fits)]]))
        if len(self.parts) == 1 and fits.all():
            return self
        below = np.flatnonzero(key < limit)  # in the order of the rows
        X = rows_of([part.X for part in self.parts], below)
        rest = [np.concatenate(column)[below] for column in list(zip(*self.parts, strict=True))[1:]]
        return ChosenRows((Chosen(X, *rest),) if len(below) else (), limit, self.max_bytes)

    def rows(self) -> RowBlock | None:
        """Return the rows, each with its weight over the probability that it was chosen; None without rows.

        References
        ----------
        N. Duffield, C. Lund, M. Thorup, "Priority sampling for estimation of arbitrary subset sums", J. ACM
        54 (2007).
        """
        parts = self.pruned()
        if not parts.parts:
            return None
        (rows,) = parts.parts
        probability = np.minimum(1.0, rows.score * parts.limit)
        return RowBlock(rows.X, rows.target, rows.weight / probability)


@dataclass(frozen=True, slots=True, eq=False)
class ChooseRows:
    """The rows that weigh most at some points, as `ChosenRows`.

    `points` are parameters, `inverses` 1 / D at each, `floor` what is added to the score of a row of
    weight one. Rows whose key is not below `limit` are not wanted, and not copied. `first` is the place
    of the block's first row among all. About two passes for each point.
    """

    points: tuple[Params, ...]
    inverses: tuple[Params, ...]
    floor: float
    max_bytes: int
    dtype: DType | None = None
    limit: float = np.inf
    first: int = 0

    def placed(self, first: int) -> ChooseRows:
        """Return the query for a block whose first row has that place among all rows."""
        return replace(self, first=first)

    def of_features(self, of_rows: Callable[[Params], Params], squares: Vector) -> ChooseRows:
        """Return the query to rows as they are, of one to scaled rows.

        `of_rows` changes parameters; `squares` (d,) is what a square of a feature as it is counts for.
        """
        inverses = tuple(Params(each.coef * squares, each.intercept) for each in self.inverses)
        return replace(self, points=tuple(map(of_rows, self.points)), inverses=inverses)

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> ChosenRows:
        """Return the answer for one block."""
        score = self.scores(device, loss, block, n_threads)
        place = np.arange(self.first, self.first + block.n_rows, dtype=np.int64) + OTHER_ROWS
        uniform = (keys(place).astype(np.float64) + 0.5) * 2.0**-64
        with np.errstate(divide="ignore"):
            key = uniform / score
        X = block.X._replace(transpose=None) if isinstance(block.X, Csr) else block.X
        target = block.target
        everything = Chosen(X, target, block.weight, key, score)
        order = np.argsort(key, kind="stable")
        last = int((key < self.limit).sum())  # the key of rows of weight zero is infinite
        n_kept = min(last, int(np.searchsorted(np.cumsum(row_bytes(X)[order]), self.max_bytes, "right")))
        n_kept = max(n_kept, min(1, last))
        limit = float(key[order[n_kept]]) if n_kept < last else self.limit
        part = everything.taken(np.sort(order[:n_kept]))
        return ChosenRows((part,) if n_kept else (), limit, self.max_bytes)

    def scores(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Vector:
        """Return the scores of a block's rows, (n,)."""
        family = losses.family_of(loss)
        score = np.empty(block.n_rows)
        step = max(1, CHUNK_BYTES // max(1, 8 * _width(block.X)))
        for start in range(0, block.n_rows, step):
            stop = min(start + step, block.n_rows)
            X, target = row_slice(block.X, start, stop), block.target[start:stop]
            squares = _squares(X)
            total = np.full(stop - start, self.floor)
            for point, inverse in zip(self.points, self.inverses, strict=True):
                logits = device.logits(point, X, n_threads, dtype=self.dtype).astype(np.float64)
                _, residual = family.losses_and_residuals(loss, logits, target)
                reach = device.logits(inverse, squares, n_threads, dtype=self.dtype)
                total += np.einsum("ik,ik->i", np.abs(residual), reach)
            score[start:stop] = total * block.weight[start:stop]
        return score


class Scores(NamedTuple):
    """The scores of rows, (n,), and their weights."""

    score: Vector
    weight: Vector

    def __add__(self, other: Scores) -> Scores:  # type: ignore[override]
        return Scores(np.append(self.score, other.score), np.append(self.weight, other.weight))


@dataclass(frozen=True, slots=True, eq=False)
class ScoreRows:
    """The scores that `query` has for rows in memory, as `Scores`."""

    query: ChooseRows

    def of_features(self, of_rows: Callable[[Params], Params], squares: Vector) -> ScoreRows:
        """Return the query to rows as they are, of one to scaled rows."""
        return ScoreRows(self.query.of_features(of_rows, squares))

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Scores:
        """Return the answer for one block."""
        return Scores(self.query.scores(device, loss, block, n_threads), block.weight)


def _width(X: Any) -> int:
    """Return the numbers in a row that is held as float64, about."""
    return max(1, len(X.data) // max(1, X.shape[0])) if isinstance(X, Csr) else int(X.shape[1])


def _squares(X: HostRows) -> Any:
    """Return the squares of the entries."""
    if isinstance(X, Csr):
        return X._replace(data=np.square(X.data), transpose=None)
    if isinstance(X, Halves):
        return np.square(X.bits.view(np.float16).astype(np.float32))
    return np.square(X if X.dtype.kind == "f" else X.astype(np.float32))

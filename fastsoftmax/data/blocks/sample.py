"""A sample of the rows, gathered while they are read, whatever their number: nested, and always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.data.blocks import block
from fastsoftmax.data.blocks.block import Block, Coded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import HostRows, Vector
    from fastsoftmax.data.blocks.block import Labels

ROWS_AT_A_TIME = 4096  # sparse ones that are copied together
SLACK = 1.25  # more bytes than are to be kept: from there on the rows with the largest keys are dropped
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Sample(NamedTuple):
    """Rows of a sample in the order of the rows; `position` is their place in all."""

    X: HostRows
    y: Labels
    weight: Vector | None
    position: NDArray[np.int64]

    def first(self, n_rows: int) -> Sample:
        """Return the sample of that many rows, those with the smallest keys; itself if it has no more."""
        if n_rows >= len(self.position):
            return self
        return self.taken(np.sort(np.argsort(keys(self.position))[:n_rows]))

    def taken(self, places: NDArray[np.intp]) -> Sample:
        """Return the rows with these indices, in that order, copied."""
        return Sample(
            storage_of(self.X).take(self.X, places),
            None if self.y is None else self.y[places],
            None if self.weight is None else self.weight[places],
            self.position[places],
        )

    def as_block(self) -> Block:
        """Return the rows as a block."""
        return Block(self.X, self.y, self.weight, "sample", 0)


class _Taken(NamedTuple):
    """The rows that were taken of a block, and their keys."""

    key: NDArray[np.uint64]
    rows: Sample


class Sampler:
    """Keeps the rows with the smallest keys, in their order as many as take at most that many bytes.

    A row's key depends on its position alone, so that the sample depends neither on the blocks nor on n. At
    least one row is kept.

    Parameters
    ----------
    max_bytes : int
    position : int
        That of the first row that is added.
    limit : int
        The largest key that is taken.
    """

    def __init__(self, max_bytes: int, position: int = 0, limit: int = 2**64 - 1) -> None:
        self._max_bytes = max_bytes
        self._taken: list[_Taken] = []
        self._n_taken = self._n_bytes = 0
        self._limit = np.uint64(limit)
        self._position = position
        self.is_cut = False  # whether rows within the limit were left out for want of memory

    def add(self, X: HostRows, y: Labels, weight: Vector | None) -> None:
        """Take the rows of a block whose keys are small enough, copied."""
        n_rows = X.shape[0]
        position = np.arange(self._position, self._position + n_rows, dtype=np.int64)
        self._position += n_rows
        key = keys(position)
        chosen = np.flatnonzero(key <= self._limit)
        if not len(chosen):
            return
        taken = storage_of(X).take(X, chosen)
        rows = Sample(
            taken,
            None if y is None else y[chosen],
            None if weight is None else weight[chosen],
            position[chosen],
        )
        self._taken.append(_Taken(key[chosen], rows))
        self._n_taken += len(chosen)
        self._n_bytes += block.n_bytes(taken)
        if self._n_bytes > SLACK * self._max_bytes:
            self._prune()

    def join(self, other: Sampler) -> None:
        """Take the rows that another took of other positions, within the same limit and memory."""
        self._taken += other._taken
        self._n_taken += other._n_taken
        self._n_bytes += other._n_bytes
        self._limit = min(self._limit, other._limit)
        self.is_cut |= other.is_cut
        if self._n_bytes > SLACK * self._max_bytes:
            self._prune()

    def pruned(self) -> Sampler:
        """Return itself, with no row that is beyond its memory."""
        if self._taken:
            self._prune()
        return self

    def sample(self) -> Sample:
        """Return the rows with the smallest keys. The sampler is empty then: they are held once."""
        self._prune()
        rows = self._taken.pop().rows
        is_sorted = bool((np.diff(rows.position) > 0).all())
        return rows if is_sorted else rows.taken(np.argsort(rows.position))

    def _prune(self) -> None:
        """Keep as many rows as the bytes allow, those with the smallest keys, in the order they came in."""
        key = np.concatenate([taken.key for taken in self._taken])
        n_kept = self._n_taken
        order = np.argsort(key)
        parts = [taken.rows for taken in self._taken]
        if self._n_bytes > self._max_bytes:
            sizes = np.concatenate([row_bytes(part.X) for part in parts])[order]
            n_kept = max(1, int(np.searchsorted(np.cumsum(sizes), self._max_bytes, side="right")))
            if n_kept < self._n_taken:
                self._limit = min(self._limit, key[order[n_kept - 1]])
                self.is_cut = True
        self._taken = []
        order = np.sort(order[:n_kept])
        labels = block.joined_labels([part.y for part in parts])
        weight = None
        if parts[0].weight is not None:
            weight = np.concatenate([part.weight for part in parts if part.weight is not None])[order]
        kept = Sample(
            rows_of([part.X for part in parts], order),
            None if labels is None else labels[order],
            weight,
            np.concatenate([part.position for part in parts])[order],
        )
        self._taken = [_Taken(key[order], kept)]
        self._n_taken, self._n_bytes = n_kept, block.n_bytes(kept.X)


def row_bytes(X: HostRows) -> NDArray[np.int64]:
    """Return the bytes of each row, (n,)."""
    if isinstance(X, Csr):
        entry = X.data.itemsize + X.indices.itemsize
        return np.diff(X.indptr).astype(np.int64) * entry + X.indptr.itemsize
    return np.full(X.shape[0], block.n_bytes(X) // max(1, X.shape[0]), np.int64)


def rows_of(parts: list[HostRows], order: NDArray[np.intp]) -> HostRows:
    """Return rows of several matrices as one, by their places in all of them together, rising if sparse."""
    first = parts[0]
    if isinstance(first, Csr):
        return _sparse_rows_of([part for part in parts if isinstance(part, Csr)], order)
    if len(parts) == 1:
        return storage_of(first).take(first, order)
    # without joining them first: the parts and the result are all that is held
    like = first.bits if isinstance(first, Halves) else first
    out = np.empty((len(order), like.shape[1]), like.dtype)
    start = 0
    for part in parts:
        here = np.flatnonzero((order >= start) & (order < start + part.shape[0]))
        out[here] = (part.bits if isinstance(part, Halves) else part)[order[here] - start]
        start += part.shape[0]
    return Halves(out) if isinstance(first, Halves) else out


def _sparse_rows_of(parts: list[Csr], order: NDArray[np.intp]) -> Csr:
    """Return sparse rows by their places, rising: a few are copied at a time, straight into the result."""
    lengths = np.concatenate([np.diff(part.indptr) for part in parts]).astype(np.int64)[order]
    kind = np.int64 if any(part.indices.dtype == np.int64 for part in parts) else np.int32
    indptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    if indptr[-1] >= 2**31:
        kind = np.int64
    data = np.empty(int(indptr[-1]), np.result_type(*[part.data.dtype for part in parts]))
    indices = np.empty(len(data), kind)
    ends = np.cumsum([part.shape[0] for part in parts])
    cuts = [0, *np.searchsorted(order, ends).tolist()]
    for part, end, begin, stop in zip(parts, ends, cuts[:-1], cuts[1:], strict=True):
        for start in range(begin, stop, ROWS_AT_A_TIME):
            last = min(start + ROWS_AT_A_TIME, stop)
            few = storage_of(part).take(part, order[start:last] - (end - part.shape[0]))
            data[indptr[start] : indptr[last]] = few.data
            indices[indptr[start] : indptr[last]] = few.indices
    width = max(part.shape[1] for part in parts)
    return Csr(data, indices, indptr.astype(kind), (len(order), width))


def keys(position: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the pseudo-random keys of rows: the finaliser of SplitMix64, one to one.

    References
    ----------
    G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, fig. 17.
    """
    z = (position.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * _MIX[0]
    z = (z ^ (z >> np.uint64(27))) * _MIX[1]
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


__all__ = ["Coded", "Sample", "Sampler", "keys", "row_bytes", "rows_of"]

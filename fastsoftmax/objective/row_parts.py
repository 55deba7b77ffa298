"""Sums over rows in memory by NumPy: some rows at a time, in parts that threads share."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fastsoftmax.contracts import Csr, Halves, RowBlock
from fastsoftmax.contracts.storages import row_slice, storage_of
from fastsoftmax.data import sparse
from fastsoftmax.runtime import blas, thread_pool
from fastsoftmax.runtime.executor import available_threads, even_bounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, Vector

# Of the arrays that some rows take beside X, for each thread, whatever n; fewer rows would add to the sums
# more often than their products are worth.
CHUNK_BYTES, MIN_CHUNK = 2**24, 256
# Parts of the rows, each with sums of its own, by the shape alone: the bits do not depend on the threads.
# Where their sums would take more memory there is one part, and the threads are those of BLAS.
MAX_PARTS, SUMS_BYTES = 8, 2**27


class Adds(Protocol):
    """Sums to which rows, and other sums, are added."""

    def add(self, some: RowBlock) -> None:
        """Add some rows."""

    def merge(self, other: Self) -> None:
        """Add the sums of the rows that come after."""


Sums = TypeVar("Sums", bound=Adds)


class Terms(NamedTuple):
    """What the columns of a linear predictor are: rows less `mean` (d,), if given, and perhaps a constant."""

    constant: bool
    mean: Vector | None = None

    def of(self, X: Any) -> Vector:
        """Return a copy of rows as float64 (n, q), the constant first."""
        rows = dense(X)
        terms = np.empty((rows.shape[0], rows.shape[1] + self.constant))
        terms[:, : self.constant] = 1.0
        terms[:, self.constant :] = rows
        if self.mean is not None:
            terms[:, self.constant :] -= self.mean
        return terms

    def weights_of(self, params: Params) -> Vector:
        """Return the coefficients (K, q) by these terms of parameters for the rows as they are."""
        if not self.constant:
            return params.coef
        moved = 0.0 if self.mean is None else params.coef @ self.mean
        return np.column_stack((params.intercept + moved, params.coef))


def dense(X: Any) -> Any:
    """Return some rows of a host's storage as a matrix."""
    if isinstance(X, Csr):
        return sparse.to_scipy(X).toarray()
    return X.bits.view(np.float16) if isinstance(X, Halves) else X


def summed(
    rows: RowBlock,
    start: Callable[[slice], Sums],
    *,
    numbers_per_row: int,
    sums_size: int,
    order: NDArray[np.intp] | None = None,
    groups: NDArray[np.intp] | None = None,
    n_threads: int | None = None,
) -> Sums:
    """Return sums over rows of a host's storage.

    Parameters
    ----------
    rows : RowBlock
    start : callable
        Returns the sums of none of the rows of a part, whose places among the rows, in their order, it is
        given.
    numbers_per_row : int
        How many float64 adding a row takes.
    sums_size : int
        How many float64 the sums take.
    order : ndarray (n,), optional
        The order of the rows; those of a chunk are then copied.
    groups : ndarray (n,), optional
        Numbers that do not decrease in that order: no part ends within a group.
    n_threads : int or None
    """
    n_parts = max(1, min(MAX_PARTS, rows.n_rows // MIN_CHUNK, SUMS_BYTES // (8 * sums_size)))
    bounds = even_bounds(rows.n_rows, n_parts).copy()
    if groups is not None:
        bounds[1:-1] = np.searchsorted(groups, groups[bounds[1:-1]])
    parts: list[Any] = [start(slice(first, last)) for first, last in pairwise(bounds.tolist())]

    def body(part: int) -> Iterator[None]:
        for some in _chunks(rows, int(bounds[part]), int(bounds[part + 1]), numbers_per_row, order):
            parts[part].add(some)
            yield

    if n_parts == 1:
        for _ in body(0):
            pass
    else:
        threads = available_threads() if n_threads is None else n_threads
        with blas.one_thread():
            thread_pool.run(body, n_parts, threads, threads - 1)
    total: Sums = parts[0]
    for other in parts[1:]:
        total.merge(other)
    return total


def _chunks(
    rows: RowBlock, first: int, last: int, numbers_per_row: int, order: NDArray[np.intp] | None
) -> Iterator[RowBlock]:
    """Yield the rows from first to last, some at a time."""
    step = max(MIN_CHUNK, CHUNK_BYTES // (8 * numbers_per_row))
    for start in range(first, last, step):
        stop = min(start + step, last)
        if order is None:
            X, of_chunk = row_slice(rows.X, start, stop), slice(start, stop)
            yield RowBlock(X, rows.target[of_chunk], rows.weight[of_chunk])
        else:
            taken = order[start:stop]
            yield RowBlock(storage_of(rows.X).take(rows.X, taken), rows.target[taken], rows.weight[taken])

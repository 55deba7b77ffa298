"""Rows of the host and their copies on the device: made when first asked for, kept with the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, Guest, Halves, Resident
from fastsoftmax.kernels.cuda import launch
from fastsoftmax.kernels.cuda.ferry import Ferry
from fastsoftmax.kernels.cuda.launch import address
from fastsoftmax.kernels.cuda.packs import brain_values
from fastsoftmax.kernels.cuda.products import THREADS, gather_kernel
from fastsoftmax.kernels.cuda.runtime import LEAST_THREADS, SIMULATED, arrays, transfers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import RowBlock, Rows

CHUNK_BYTES = 2**27  # of logits, or of rows that are widened or fetched, that are held at a time
SHARE = 0.8  # of the device's free memory that rows may take; the rest is for what is computed of them
FERRIES = "ferries"  # of rows, in what is kept of them


def placed(block: RowBlock) -> RowBlock:
    """Return the block with rows that keep what is copied of them.

    What of it was fetched from a caller's array on the device counts as copied.
    """
    if isinstance(block.X, Resident):
        return block
    kept: dict[Any, Any] = {}
    for array in (block.target, block.weight):
        for fetched, there in block.X.companions if isinstance(block.X, Guest) else ():
            same = address(array) == address(fetched) and array.dtype == there.dtype
            if same and array.shape == there.shape and there.flags.c_contiguous:
                kept[id(array)] = array, there
    return block._replace(X=Resident(block.X, kept))


def there(a: Any, kept: dict[Any, Any] | None = None) -> Any:
    """Return an array on the device; one of the host is copied, once for each `kept`."""
    if kept is not None and id(a) in kept:
        return kept[id(a)][1]
    if not isinstance(a, np.ndarray) or SIMULATED:
        return a
    copied = arrays().asarray(a)
    if kept is not None:
        # The next one to read it may do so in another stream, which would not wait for the copy.
        arrays().cuda.get_current_stream().synchronize()
        kept[id(a)] = a, copied  # with the array itself: its id stays its own
    return copied


def has_room(n_bytes: int) -> bool:
    """Return whether the device has room for so many bytes and what is computed beside them."""
    if SIMULATED:
        return True
    xp = arrays()
    free = xp.cuda.Device().mem_info[0] + xp.get_default_memory_pool().free_bytes()
    return bool(n_bytes <= SHARE * free)


def _stays_away(parts: tuple[Any, ...], kept: dict[Any, Any] | None) -> bool:
    """Return whether arrays of the host are too large to be copied to the device as a whole."""
    new = sum(a.nbytes for a in parts if isinstance(a, np.ndarray) and not (kept and id(a) in kept))
    return new > 0 and not has_room(new)


def here(a: Any) -> Any:
    """Return an array on the host."""
    return a if isinstance(a, np.ndarray) else a.get()


class Placed(NamedTuple):
    """A block's arrays on the device."""

    X: Matrix
    target: Any
    weight: Any


def on_device(block: RowBlock) -> Placed:
    """Return a block's arrays on the device."""
    kept = block.X.kept if isinstance(block.X, Resident) else None
    return Placed(Matrix(block.X), there(block.target, kept), there(block.weight, kept))


class Matrix:
    """Rows on the device, dense or sparse: what is multiplied with them, in one pass.

    Parameters
    ----------
    X : ndarray, Halves, Csr, Guest or Resident
        Dense rows of the host for which there is no room go there chunk by chunk, in each pass anew.
    """

    def __init__(self, X: Rows | Resident) -> None:
        self._kept = X.kept if isinstance(X, Resident) else None
        rows: Any = X.host if isinstance(X, Resident) else X
        self.shape = int(rows.shape[0]), int(rows.shape[1])
        self.sparse = isinstance(rows, Csr)
        self._brain = isinstance(rows, Guest) and rows.brain
        self._transpose: Any = None
        self._away = False
        self._fetched: Any = None  # of rows that are away, those of the chunk
        if isinstance(rows, Csr):
            self._rows: Any = _csr(rows, self._kept)
            self._transpose = None if rows.transpose is None else _csr(rows.transpose, self._kept)
            return
        whole = rows.bits if isinstance(rows, Halves) else rows.array if isinstance(rows, Guest) else rows
        self._away = not isinstance(rows, Guest) and _stays_away((whole,), self._kept)
        self._rows = whole if self._away else there(whole, self._kept)
        if isinstance(rows, Halves):
            self._rows = self._rows.view(np.float16)

    def chunks(self, n_outputs: int, itemsize: int) -> Iterator[slice]:
        """Yield the rows that are gone through together: they and their logits take CHUNK_BYTES each at most.

        Where they lie changes nothing about them. Sparse rows all at once: the products back go through them
        by columns. Their source cuts them.
        """
        n_rows = self.shape[0]
        step = n_rows if self.sparse else CHUNK_BYTES // (max(n_outputs, self.shape[1]) * itemsize)
        step = max(1, step)
        pieces = [slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]
        if not self._away:
            yield from pieces
            return
        for piece, rows in self._ferried(pieces, min(step, n_rows)):
            self._fetched = rows
            yield piece
        self._fetched = None

    def _ferried(self, pieces: list[slice], most_rows: int) -> Iterator[tuple[slice, Any]]:
        """Yield pieces and their rows on the device; the buffers are kept from one pass to the next."""
        n_bytes = most_rows * self.shape[1] * self._rows.itemsize
        # One for each of the threads that make passes at the same time.
        free: list[Ferry] = [] if self._kept is None else self._kept.setdefault(FERRIES, [])
        try:
            ferry = free.pop()
        except IndexError:
            ferry = Ferry(n_bytes, transfers())
        if ferry.n_bytes < n_bytes:
            ferry = Ferry(n_bytes, transfers())
        yield from ferry.over(self._rows, pieces)
        free.append(ferry)

    def dense(self, chunk: slice, dtype: Any) -> Any:
        """Return some rows, (m, d)."""
        if self.sparse:
            identity = arrays().eye(self.shape[1], dtype=dtype)
            return self._gathered(self._rows, chunk, identity, squared=False)
        rows = self._fetched if self._away else self._rows[chunk]
        return (brain_values(rows) if self._brain else rows).astype(dtype, copy=False)

    def times(self, chunk: slice, coef: Any) -> Any:
        """Return some rows times coefᵀ (K, d), (m, K), C-ordered."""
        if self.sparse:
            turned = arrays().ascontiguousarray(coef.T)
            return self._gathered(self._rows, chunk, turned, squared=False)
        # The kernels want the logits C-ordered, whatever order a product would be given.
        out = launch.empty((chunk.stop - chunk.start, len(coef)), coef.dtype)
        return arrays().matmul(self.dense(chunk, coef.dtype), coef.T, out=out)

    def back(self, chunk: slice, multipliers: Any, *, squared: bool = False) -> Any:
        """Return Σ multiplierᵢ xᵢᵀ over some rows, (K, d), or Σ multiplierᵢ (xᵢ²)ᵀ."""
        if self.sparse:
            whole = slice(0, self.shape[1])
            return self._gathered(self._transpose, whole, multipliers, squared=squared).T
        rows = self.dense(chunk, multipliers.dtype)
        return multipliers.T @ (rows * rows if squared else rows)

    @staticmethod
    def _gathered(rows: Csr, chunk: slice, matrix: Any, *, squared: bool) -> Any:
        n_rows, n_columns = chunk.stop - chunk.start, matrix.shape[1]
        out = launch.empty((n_rows, n_columns), matrix.dtype)
        data = rows.data * rows.data if squared else rows.data
        threads = min(THREADS, -(-n_columns // LEAST_THREADS) * LEAST_THREADS)
        pieces = -(-n_columns // threads)
        launch.launch(
            gather_kernel(data.dtype.name, matrix.dtype.name), n_rows * pieces, threads, data, rows.indices,
            rows.indptr[chunk.start : chunk.stop + 1], matrix.reshape(-1), out.reshape(-1), n_columns, pieces,
        )  # fmt: skip
        return out


def _csr(rows: Csr, kept: dict[Any, Any] | None) -> Csr:
    parts = rows.data, rows.indices, rows.indptr
    held = None if _stays_away(parts, kept) else kept
    data, indices, indptr = (there(a, held) for a in parts)
    return Csr(data, indices, indptr, rows.shape)

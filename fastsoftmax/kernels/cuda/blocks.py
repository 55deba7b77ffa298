"""Rows of the host and their copies on the device: made when first asked for, kept with the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, Halves, Resident
from fastsoftmax.kernels.cuda import launch
from fastsoftmax.kernels.cuda.products import THREADS, gather_kernel
from fastsoftmax.kernels.cuda.runtime import LEAST_THREADS, SIMULATED, arrays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import RowBlock, Rows

CHUNK_BYTES = 2**27  # of logits, or of rows that are widened or fetched, that are held at a time
SHARE = 0.8  # of the device's free memory that rows may take


def placed(block: RowBlock) -> RowBlock:
    """Return the block with rows that keep what is copied of them."""
    return block if isinstance(block.X, Resident) else block._replace(X=Resident(block.X, {}))


def there(a: Any, kept: dict[int, Any] | None = None) -> Any:
    """Return an array on the device; one of the host is copied, once for each `kept`."""
    if not isinstance(a, np.ndarray) or SIMULATED:
        return a
    if kept is None:
        return arrays().asarray(a)
    if id(a) not in kept:
        kept[id(a)] = a, arrays().asarray(a)  # with the array itself: its id stays its own
    return kept[id(a)][1]


def fits(n_bytes: int) -> bool:
    """Return whether the device has room for so many bytes and what is computed beside them."""
    if SIMULATED:
        return True
    xp = arrays()
    free = xp.cuda.Device().mem_info[0] + xp.get_default_memory_pool().free_bytes()
    return bool(n_bytes <= SHARE * free)


def _held(a: NDArray[Any], kept: dict[int, Any] | None) -> Any:
    """Return rows on the device, or the host's where they do not fit: each pass fetches them in chunks."""
    if isinstance(a, np.ndarray) and not (kept and id(a) in kept) and not fits(a.nbytes):
        return a
    return there(a, kept)


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
    """Rows on the device, dense or sparse: what is multiplied with them.

    Parameters
    ----------
    X : ndarray, Halves, Csr or Resident, or an array of the device
    """

    def __init__(self, X: Rows | Resident) -> None:
        kept = X.kept if isinstance(X, Resident) else None
        rows: Any = X.host if isinstance(X, Resident) else X
        self.shape = int(rows.shape[0]), int(rows.shape[1])
        self.sparse = isinstance(rows, Csr)
        self._transpose: Any = None
        if isinstance(rows, Csr):
            self._rows: Any = _csr(rows, kept)
            self._transpose = None if rows.transpose is None else _csr(rows.transpose, kept)
        elif isinstance(rows, Halves):
            self._rows = _held(rows.bits, kept).view(np.float16)
        else:
            self._rows = _held(rows, kept)

    def chunks(self, n_outputs: int, itemsize: int) -> Iterator[slice]:
        """Yield the rows that are gone through together: they and their logits take CHUNK_BYTES each at most.

        Sparse rows all at once: the products back go through them by columns. Their source cuts them.
        """
        n_rows = self.shape[0]
        step = n_rows if self.sparse else CHUNK_BYTES // (max(n_outputs, self.shape[1]) * itemsize)
        for first in range(0, n_rows, max(1, step)):
            yield slice(first, min(first + step, n_rows))

    def dense(self, chunk: slice, dtype: Any) -> Any:
        """Return some rows, (m, d)."""
        if self.sparse:
            identity = arrays().eye(self.shape[1], dtype=dtype)
            return self._gathered(self._rows, chunk, identity, squared=False)
        return there(self._rows[chunk]).astype(dtype, copy=False)

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


def _csr(rows: Csr, kept: dict[int, Any] | None) -> Csr:
    data, indices, indptr = (there(a, kept) for a in (rows.data, rows.indices, rows.indptr))
    return Csr(data, indices, indptr, rows.shape)

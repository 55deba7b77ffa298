"""Row blocks on the device: copies of host rows, made on first use and cached with the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, DeviceArray, Halves, Resident
from fastsoftmax.kernels.cuda import launch
from fastsoftmax.kernels.cuda.launch import address
from fastsoftmax.kernels.cuda.packs import bf16_values
from fastsoftmax.kernels.cuda.products import THREADS, gather_kernel
from fastsoftmax.kernels.cuda.runtime import MIN_THREADS, SIMULATED, arrays, transfers
from fastsoftmax.kernels.cuda.upload import Uploader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array, DType, RowBlock, Rows
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers

# Of logits, and of rows that are widened or uploaded, at a time (128 MiB): large enough for cuBLAS and for
# launches not to matter, small beside the memory that the rows themselves take. Not tuned on a GPU yet
# (docs/gpu.md).
CHUNK_BYTES = 2**27
# The fraction of the device's free memory that rows may take; the rest is for chunks and gradients.
MEMORY_FRACTION = 0.8
UPLOADERS = "uploaders"  # the key of the idle uploaders in a block's cache
STORAGES = (np.ndarray, Halves, Csr, DeviceArray)


def placed(block: RowBlock) -> RowBlock:
    """Return the block with `Resident` rows: rows with a cache of their copies on the device.

    Targets and weights that were fetched from a caller's array on the device are in the cache already.
    """
    if isinstance(block.X, Resident):
        return block
    kept: dict[Any, Any] = {}
    for array in (block.target, block.weight):
        for fetched, device_copy in block.X.companions if isinstance(block.X, DeviceArray) else ():
            same = address(array) == address(fetched) and array.dtype == device_copy.dtype
            if same and array.shape == device_copy.shape and device_copy.flags.c_contiguous:
                kept[id(array)] = array, device_copy
    return block._replace(X=Resident(block.X, kept))


def there(a: Array | DeviceNumbers) -> DeviceNumbers:
    """Return an array on the device; a host array is copied."""
    return arrays().asarray(a) if isinstance(a, np.ndarray) and not SIMULATED else a


def _cached_on_device(a: Array | DeviceNumbers, kept: dict[Any, Any] | None) -> DeviceNumbers:
    """Return an array on the device; a host array is copied once for each cache `kept`."""
    if kept is None:
        return there(a)
    if id(a) in kept:
        return kept[id(a)][1]
    if not isinstance(a, np.ndarray) or SIMULATED:
        return a
    copied = there(a)
    # The next reader may use another stream, which would not wait for the copy.
    arrays().cuda.get_current_stream().synchronize()
    kept[id(a)] = a, copied  # holding the array keeps its id from being used again
    return copied


def has_memory(n_bytes: int) -> bool:
    """Return whether n_bytes fit into `MEMORY_FRACTION` of the device's free memory."""
    if SIMULATED:
        return True
    xp = arrays()
    free = xp.cuda.Device().mem_info[0] + xp.get_default_memory_pool().free_bytes()
    return bool(n_bytes <= MEMORY_FRACTION * free)


def _exceeds_memory(parts: tuple[Array, ...], kept: dict[Any, Any] | None) -> bool:
    """Return whether the host arrays that are not cached yet are too large for the device's memory."""
    new = sum(a.nbytes for a in parts if isinstance(a, np.ndarray) and not (kept and id(a) in kept))
    return new > 0 and not has_memory(new)


def here(a: Array | DeviceNumbers) -> Array:
    """Return an array on the host; one on the device is copied, for which the host waits."""
    fetched: Array = a if isinstance(a, np.ndarray) else a.get()
    return fetched


class Placed(NamedTuple):
    """A block's arrays on the device."""

    X: Matrix
    target: DeviceNumbers
    weight: DeviceNumbers


def on_device(block: RowBlock) -> Placed:
    """Return a block's arrays on the device, copied unless they are cached."""
    kept = block.X.kept if isinstance(block.X, Resident) else None
    return Placed(
        Matrix(block.X), _cached_on_device(block.target, kept), _cached_on_device(block.weight, kept)
    )


class Matrix:
    """Rows (n, d) for products on the device, dense or sparse, during one pass.

    Parameters
    ----------
    X : ndarray, Halves, Csr, DeviceArray or Resident
        Dense host rows that do not fit the device's memory are uploaded chunk by chunk in every pass.

    Raises
    ------
    TypeError
        If the rows have another storage.
    """

    def __init__(self, X: Rows | Resident) -> None:
        self._kept = X.kept if isinstance(X, Resident) else None
        rows: Any = X.host if isinstance(X, Resident) else X
        if not isinstance(rows, STORAGES):
            known = ", ".join(kind.__name__ for kind in STORAGES)
            raise TypeError(f"device 'cuda' computes on rows stored as {known}; got {type(rows).__name__}")
        self.shape = int(rows.shape[0]), int(rows.shape[1])
        self.sparse = isinstance(rows, Csr)
        self._bf16 = isinstance(rows, DeviceArray) and rows.bf16
        self._transpose: Csr | None = None
        self._streamed = False
        self._fetched: DeviceNumbers = None  # of streamed rows, those of the chunk
        self._rows: Any  # a Csr of device arrays, or dense rows
        if isinstance(rows, Csr):
            self._rows = _csr(rows, self._kept)
            self._transpose = None if rows.transpose is None else _csr(rows.transpose, self._kept)
        elif isinstance(rows, DeviceArray):
            self._rows = rows.array
        else:
            dense = rows.bits if isinstance(rows, Halves) else rows
            self._streamed = _exceeds_memory((dense,), self._kept)
            self._rows = dense if self._streamed else _cached_on_device(dense, self._kept)
            if isinstance(rows, Halves):
                self._rows = self._rows.view(np.float16)

    def chunks(self, n_outputs: int, itemsize: int) -> Iterator[slice]:
        """Yield slices of rows that are processed together.

        Rows of a chunk, and their logits (n_outputs numbers of itemsize bytes a row), take at most
        CHUNK_BYTES each; the chunks are the same whether rows are streamed or resident. Sparse rows are one
        chunk, since the products back go through them by columns; their source limits their number.
        """
        n_rows = self.shape[0]
        step = n_rows if self.sparse else CHUNK_BYTES // (max(n_outputs, self.shape[1]) * itemsize)
        step = max(1, step)
        pieces = [slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]
        if not self._streamed:
            yield from pieces
            return
        for piece, rows in self._uploaded(pieces, min(step, n_rows)):
            self._fetched = rows
            yield piece
        self._fetched = None

    def _uploaded(self, pieces: list[slice], max_rows: int) -> Iterator[tuple[slice, DeviceNumbers]]:
        """Yield pieces and their rows on the device; the upload buffers are kept for the next pass."""
        n_bytes = max_rows * self.shape[1] * self._rows.itemsize
        # One uploader for each pass that is under way at the same time.
        free: list[Uploader] = [] if self._kept is None else self._kept.setdefault(UPLOADERS, [])
        try:
            uploader = free.pop()
        except IndexError:
            uploader = Uploader(n_bytes, transfers())
        if uploader.n_bytes < n_bytes:
            uploader = Uploader(n_bytes, transfers())
        yield from uploader.over(self._rows, pieces)
        free.append(uploader)

    def dense(self, chunk: slice, dtype: DType) -> DeviceNumbers:
        """Return the rows of a chunk, (m, d), in a dtype."""
        if self.sparse:
            identity = arrays().eye(self.shape[1], dtype=dtype)
            return self._gathered(self._rows, chunk, identity, squared=False)
        rows = self._fetched if self._streamed else self._rows[chunk]
        return (bf16_values(rows) if self._bf16 else rows).astype(dtype, copy=False)

    def times(self, chunk: slice, coef: DeviceNumbers) -> DeviceNumbers:
        """Return the rows of a chunk times coefᵀ, (m, K), C-ordered, for coef (K, d)."""
        if self.sparse:
            transposed = arrays().ascontiguousarray(coef.T)
            return self._gathered(self._rows, chunk, transposed, squared=False)
        # The kernels need C-ordered logits; without `out` matmul may choose another order.
        out = launch.empty((chunk.stop - chunk.start, len(coef)), coef.dtype)
        return arrays().matmul(self.dense(chunk, coef.dtype), coef.T, out=out)

    def back(self, chunk: slice, dlogits: DeviceNumbers, *, squared: bool = False) -> DeviceNumbers:
        """Return Σ rᵢ xᵢᵀ, or with `squared` Σ rᵢ (xᵢ²)ᵀ, (K, d), over a chunk with dlogits r (m, K)."""
        if self.sparse:
            columns = slice(0, self.shape[1])
            return self._gathered(self._transpose, columns, dlogits, squared=squared).T
        rows = self.dense(chunk, dlogits.dtype)
        return dlogits.T @ (rows * rows if squared else rows)

    @staticmethod
    def _gathered(rows: Any, chunk: slice, matrix: DeviceNumbers, *, squared: bool) -> DeviceNumbers:
        """Return a chunk of CSR rows, with entries squared if `squared`, times a matrix (d, K): (m, K)."""
        n_rows, n_columns = chunk.stop - chunk.start, matrix.shape[1]
        out = launch.empty((n_rows, n_columns), matrix.dtype)
        data = rows.data * rows.data if squared else rows.data
        threads = min(THREADS, -(-n_columns // MIN_THREADS) * MIN_THREADS)
        pieces = -(-n_columns // threads)
        launch.launch(
            gather_kernel(data.dtype.name, matrix.dtype.name), n_rows * pieces, threads, data, rows.indices,
            rows.indptr[chunk.start : chunk.stop + 1], matrix.reshape(-1), out.reshape(-1), n_columns, pieces,
        )  # fmt: skip
        return out


def _csr(rows: Csr, kept: dict[Any, Any] | None) -> Csr:
    parts = rows.data, rows.indices, rows.indptr
    cache = None if _exceeds_memory(parts, kept) else kept
    data, indices, indptr = (_cached_on_device(a, cache) for a in parts)
    return Csr(data, indices, indptr, rows.shape)

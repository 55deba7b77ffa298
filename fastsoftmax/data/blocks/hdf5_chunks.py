"""Rows of a compressed HDF5 array, its chunks inflated by threads.

HDF5 inflates chunk after chunk under a lock of the whole process, and h5py keeps Python's lock meanwhile:
what is done with the block before waits. The stored bytes of a chunk can be had as they are, and zlib works
without locks.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from fastsoftmax.contracts import Array, DType

MAX_CHUNK_BYTES = 2**22  # a thread holds three: stored, inflated, put in order; larger ones are left to HDF5
DEFLATE, SHUFFLE = 1, 2  # the numbers of HDF5's own filters


class InflatedChunks:
    """The rows of an array of one or two dimensions whose chunks are deflated, and shuffled or not.

    Parameters
    ----------
    array : h5py.Dataset
        One for which `can_inflate` is true.
    threads : concurrent.futures.Executor
        Where chunks are inflated.

    Notes
    -----
    `chunks[start:stop]` has the values, shape and dtype of `array[start:stop]`. It raises OSError, with the
    place in the array, for a chunk that is damaged. The last chunk of one dimension is kept as long as some
    of its entries have not been asked for: ranges one after another inflate each chunk once.
    """

    def __init__(self, array: Any, threads: Executor) -> None:
        self._array, self._threads = array, threads
        self._is_shuffled = SHUFFLE in _filters(array)
        self._last: tuple[int, Array] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""
        return tuple(self._array.shape)

    @property
    def dtype(self) -> DType:
        """The dtype of its values."""
        return np.dtype(self._array.dtype)

    def __getitem__(self, rows: slice) -> Array:
        """Return the rows of a range, of step 1."""
        n_rows, *others = self.shape
        start, stop, _ = rows.indices(n_rows)
        stop = max(start, stop)
        out = np.empty((stop - start, *others), self.dtype)
        chunk = self._array.chunks
        firsts = [
            (row, *more)
            for row in range(start - start % chunk[0], stop, chunk[0])
            for more in np.ndindex(*(-(-n // c) for n, c in zip(others, chunk[1:], strict=True)))
        ]
        last, self._last = self._last, None
        jobs = [self._threads.submit(self._place, out, start, first, last) for first in firsts]
        try:
            for job in jobs:
                job.result()
        finally:
            for job in jobs:  # nothing goes on after an error
                job.cancel()
        return out

    def _place(self, out: Array, start: int, first: tuple[int, ...], last: tuple[int, Array] | None) -> None:
        """Copy a chunk's rows from `start` on to `out`; `first` is its row and its place across."""
        row, *across = first
        is_last = last is not None and last[0] == row
        chunk = last[1] if last is not None and is_last else self._inflated(first)
        height, *widths = self._array.chunks
        low, high = max(row, start), min(row + height, start + len(out))
        offsets = [place * width for place, width in zip(across, widths, strict=True)]
        target = out[
            (
                slice(low - start, high - start),
                *(slice(o, o + w) for o, w in zip(offsets, widths, strict=True)),
            )
        ]
        target[...] = chunk[(slice(low - row, high - row), *map(slice, target.shape[1:]))]
        if high == start + len(out) and high < min(row + height, self.shape[0]) and not across:
            self._last = (row, chunk)

    def _inflated(self, first: tuple[int, ...]) -> Array:
        """Return all values of a chunk; those at the end of the array are stored whole as well."""
        row, *across = first
        shape, dtype = self._array.chunks, self.dtype
        place = (row, *(p * width for p, width in zip(across, shape[1:], strict=True)))
        skipped, stored = self._array.id.read_direct_chunk(place)
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        if skipped:  # a chunk that did not become smaller may be stored as it is
            part = self._array[tuple(slice(p, p + width) for p, width in zip(place, shape, strict=True))]
            whole = np.zeros(shape, dtype)
            whole[tuple(map(slice, part.shape))] = part
            return whole
        inflating = zlib.decompressobj()
        try:
            values = inflating.decompress(stored, n_bytes + 1)
        except zlib.error as error:
            raise OSError(f"the chunk from entry {row + 1} on cannot be inflated: {error}") from error
        if len(values) != n_bytes or not inflating.eof:
            raise OSError(f"the chunk from entry {row + 1} on is of another length than it says")
        if self._is_shuffled:  # the first byte of all values, then the second …
            by_byte = np.frombuffer(values, np.uint8).reshape(dtype.itemsize, -1)
            return np.ascontiguousarray(by_byte.T).view(dtype).reshape(shape)
        return np.frombuffer(values, dtype).reshape(shape)


def can_inflate(array: Any) -> bool:
    """Return whether `InflatedChunks` reads an array: small chunks, all stored, and of no other filter."""
    chunk = getattr(array, "chunks", None)
    if chunk is None or len(chunk) > 2 or not hasattr(array, "id") or array.dtype.hasobject:
        return False
    import h5py

    # h5py converts numbers of another precision than their bytes have; raw bytes are not those then.
    if not h5py.h5t.py_create(array.dtype, logical=True).equal(array.id.get_type()):
        return False
    filters = _filters(array)
    if filters not in ([DEFLATE], [SHUFFLE, DEFLATE]):
        return False
    n_chunks = int(np.prod([-(-n // c) for n, c in zip(array.shape, chunk, strict=True)]))
    is_small = int(np.prod(chunk)) * array.dtype.itemsize <= MAX_CHUNK_BYTES
    return is_small and array.id.get_num_chunks() == n_chunks


def _filters(array: Any) -> list[int]:
    """Return the numbers of an array's filters, in the order in which they are applied."""
    options = array.id.get_create_plist()
    return [options.get_filter(i)[0] for i in range(options.get_nfilters())]

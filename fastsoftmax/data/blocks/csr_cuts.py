"""The rows of a sparse matrix cut to blocks of bounded bytes, from one reading of its row pointers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array

AT_ONCE = 65536  # row pointers


class Cut(NamedTuple):
    """Rows start to stop (excluded), and their row pointers (stop − start + 1,) into the whole matrix."""

    start: int
    stop: int
    indptr: NDArray[np.int64]


def cuts(
    read: Callable[[int, int], Array], n_rows: int, entry_bytes: int, block_bytes: int, file: str
) -> Iterator[Cut]:
    """Yield cuts of at most that many bytes, or of one row, that cover all rows in order.

    Parameters
    ----------
    read : callable
        (start, stop) ↦ row pointers start to stop (excluded), asked for in order and each once.
    n_rows : int
    entry_bytes : int
        The bytes of a stored entry with its index.
    block_bytes : int
    file : str
        For the message if the pointers do not rise.
    """
    known = np.asarray(read(0, 1)).astype(np.int64)
    start = 0
    while start < n_rows:
        while True:
            cost = (known - known[0]) * entry_bytes + 8 * np.arange(len(known))
            read_until = start + len(known) - 1
            if read_until == n_rows or cost[-1] > block_bytes:
                break
            more = np.asarray(read(read_until + 1, min(read_until + 1 + AT_ONCE, n_rows + 1)))
            known = np.concatenate((known, more.astype(np.int64)))
            if (np.diff(known) < 0).any():
                raise ValueError(f"{file!r} is damaged: the row pointers of its CSR matrix do not rise")
        stop = start + max(1, int(np.searchsorted(cost, block_bytes, side="right")) - 1)
        yield Cut(start, stop, known[: stop - start + 1])
        known = known[stop - start :]
        start = stop

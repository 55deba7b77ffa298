"""A pool of buffers that are reused for large arrays.

The system clears the pages of a large new array when they are first written, which takes several times as
long as the arithmetic on it.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_BYTES = 2**17  # below this, malloc itself reuses memory
STEPS = (
    32  # sizes between powers of two: arrays of nearly equal sizes share a buffer, and 3 % at most is wasted
)


class BufferPool:
    """A pool of memory for arrays, which take it from the pool and return it with their last view.

    It holds as much memory as has ever been in use at once, until it is deleted. It is thread-safe.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[memoryview]] = {}

    def array(self, shape: int | tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """Return an uninitialised C-ordered array."""
        dtype = np.dtype(dtype)
        size = shape if isinstance(shape, int) else math.prod(shape)
        if size * dtype.itemsize < MIN_BYTES:
            return np.empty(shape, dtype)
        capacity = _capacity(size * dtype.itemsize)
        free = self._free.setdefault(capacity, [])
        try:
            memory = free.pop()
        except IndexError:
            memory = np.empty(capacity, np.uint8).data
        # Over a memoryview, not over the array that owns the buffer: views of this array then keep it alive,
        # where NumPy would have them keep only the owner alive.
        array = np.frombuffer(memory, dtype, size)
        weakref.finalize(array, free.append, memory).atexit = False
        return array.reshape(shape)


def _capacity(n_bytes: int) -> int:
    """Return the size of the buffer for n_bytes: up to 1/32 more."""
    step = 2 ** (n_bytes.bit_length() - 1) // STEPS
    return -(-n_bytes // step) * step

"""Memory that is used again and again for arrays of one size.

What the system gives for a large new array is cleared page by page when it is first written to, which takes
several times as long as the arithmetic on it.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_BYTES = 2**17  # below, malloc keeps what it has
STEPS = 32  # sizes between a power of two and the next: arrays of nearly one size share


class Memory:
    """Gives arrays, and takes their memory back when the last view of them is gone.

    It holds as much as has ever been in use at once, until it is gone itself. Several threads may ask.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[memoryview]] = {}

    def array(self, shape: int | tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """Return an array of whatever stood there."""
        dtype = np.dtype(dtype)
        size = shape if isinstance(shape, int) else math.prod(shape)
        if size * dtype.itemsize < LEAST_BYTES:
            return np.empty(shape, dtype)
        capacity = _capacity(size * dtype.itemsize)
        free = self._free.setdefault(capacity, [])
        try:
            room = free.pop()
        except IndexError:
            room = np.empty(capacity, np.uint8).data
        # Over a memoryview, not over the array that owns the memory: views of this one then keep this one
        # alive, where NumPy would have them keep the owner only.
        array = np.frombuffer(room, dtype, size)
        weakref.finalize(array, free.append, room).atexit = False
        return array.reshape(shape)


def _capacity(n_bytes: int) -> int:
    """Return the size that serves for so many bytes: some hundredths more at most."""
    step = 2 ** (n_bytes.bit_length() - 1) // STEPS
    return -(-n_bytes // step) * step

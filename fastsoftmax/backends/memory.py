"""Memory for results and gradients, kept for the next ones of their size.

The system clears a large new array page by page, which takes as long as the losses themselves, and PyTorch's
allocator on the CPU keeps nothing. A training step, or a round of boosting, wants the same sizes again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.runtime.buffers import MIN_BYTES, BufferPool

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

MAX_SIZES = 4
MAX_BYTES = 2**30  # of one array; what is larger takes so long elsewhere that its pages matter less

_pools: dict[int, BufferPool] = {}


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an uninitialised C-ordered array, in memory that was in use before if there is some.

    At most `MAX_SIZES` sizes of up to `MAX_BYTES` are kept, the last ones: of each as many arrays as were in
    use at once.
    """
    dtype = np.dtype(dtype)
    n_bytes = math.prod(shape) * dtype.itemsize
    if not MIN_BYTES <= n_bytes <= MAX_BYTES:
        return np.empty(shape, dtype)
    pool = _pools.pop(n_bytes, None) or BufferPool()
    _pools[n_bytes] = pool  # the newest is the last
    while len(_pools) > MAX_SIZES:
        try:
            del _pools[next(iter(_pools))]
        except (KeyError, StopIteration, RuntimeError):  # another thread was here
            break
    return pool.array(n_bytes, np.uint8).view(dtype).reshape(shape)

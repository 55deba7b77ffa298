"""Sums and maxima over the threads that share a row, in a fixed order, so that results repeat to the bit.

On a GPU, threads of one warp exchange registers (a butterfly: every thread ends with the same bits), and
warps of one block exchange their results through shared memory. Numba's simulator has no exchange of
registers: there every thread's number goes through shared memory. Both have the same interface, `Group`.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.cuda.runtime import SIMULATED, WARP, cuda, inlined

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.runtime import Kernel

__all__ = ["SHARED", "Group", "exp", "group", "isfinite", "log", "log1p", "log_sum", "tanh"]

# NumPy's functions give infinities and NaN, as a GPU's do, where Python's raise.
_functions: Any = np if SIMULATED else math
exp, log, log1p, tanh = _functions.exp, _functions.log, _functions.log1p, _functions.tanh

ALL_LANES = 0xFFFFFFFF
SLOTS = 8  # reductions of a kernel, at most: each has its own shared memory, so that none waits for the last
WIDTH = 1024 if SIMULATED else WARP  # numbers of a reduction in shared memory
SHARED = SLOTS * WIDTH


class Group(NamedTuple):
    """The reductions over the threads that share a row; all threads of a block must call them.

    `maximum(value, lanes, shared, slot)` and `total(value, lanes, shared, slot)` return the result to every
    thread. `lanes`, a power of two, is the number of threads that share the row; `shared` is an array of
    SLOTS · WIDTH numbers, of which `slot` is the part that no other reduction of the kernel uses. The maximum
    ignores NaN.
    """

    maximum: Kernel
    total: Kernel


@inlined
def isfinite(value):
    """Return whether a number is neither infinite nor NaN."""
    return value - value == 0


@inlined
def log_sum(count, others):
    """Return log(count + others) to full relative accuracy, also where others is small and count is 1."""
    if count == 1:
        return log1p(others)
    if count > 0:
        return log(count) + log1p(others / count)
    return log(others)  # NaN, from a row with NaN or an infinite maximum


@functools.cache
def group(real: Any, whole_block: bool) -> Group:
    """Return the reductions over a whole block, or over threads within a warp.

    Parameters
    ----------
    real : {np.float32, np.float64}
    whole_block : bool
    """
    if SIMULATED:
        return _simulated()
    return _over_block(real) if whole_block else _over_warp()


def _simulated() -> Group:
    @inlined
    def maximum(value, lanes, shared, slot):
        place = slot * WIDTH + cuda.threadIdx.x
        shared[place] = value
        cuda.syncthreads()
        first = place - cuda.threadIdx.x % lanes
        for i in range(first, first + lanes):
            value = shared[i] if shared[i] > value else value
        return value

    @inlined
    def total(value, lanes, shared, slot):
        place = slot * WIDTH + cuda.threadIdx.x
        shared[place] = value
        cuda.syncthreads()
        first = place - cuda.threadIdx.x % lanes
        result = shared[first]
        for i in range(first + 1, first + lanes):
            result += shared[i]
        return result

    return Group(maximum, total)


@inlined
def _warp_maximum(value, lanes):
    offset = lanes >> 1
    while offset > 0:
        other = cuda.shfl_xor_sync(ALL_LANES, value, offset)
        value = other if other > value else value
        offset >>= 1
    return value


@inlined
def _warp_total(value, lanes):
    offset = lanes >> 1
    while offset > 0:
        value += cuda.shfl_xor_sync(ALL_LANES, value, offset)
        offset >>= 1
    return value


def _over_warp() -> Group:
    @inlined
    def maximum(value, lanes, shared, slot):
        return _warp_maximum(value, lanes)

    @inlined
    def total(value, lanes, shared, slot):
        return _warp_total(value, lanes)

    return Group(maximum, total)


def _over_block(real: Any) -> Group:
    zero, least = real(0), real(-np.inf)

    @inlined
    def maximum(value, lanes, shared, slot):
        value = _warp_maximum(value, WARP)
        lane = cuda.laneid
        if lane == 0:
            shared[slot * WIDTH + (cuda.threadIdx.x >> 5)] = value
        cuda.syncthreads()
        value = shared[slot * WIDTH + lane] if lane < lanes >> 5 else least
        return _warp_maximum(value, WARP)

    @inlined
    def total(value, lanes, shared, slot):
        value = _warp_total(value, WARP)
        lane = cuda.laneid
        if lane == 0:
            shared[slot * WIDTH + (cuda.threadIdx.x >> 5)] = value
        cuda.syncthreads()
        value = shared[slot * WIDTH + lane] if lane < lanes >> 5 else zero
        return _warp_total(value, WARP)

    return Group(maximum, total)

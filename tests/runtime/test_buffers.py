"""Law: memory is reused once no array refers to it any more, and never before."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective
from fastsoftmax.runtime.buffers import MIN_BYTES, BufferPool

SIZE = MIN_BYTES


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_with_the_last_view():
    memory = BufferPool()
    first = memory.array((4, SIZE))
    view = first[1:, ::2]
    here = place(first)
    del first
    assert place(memory.array(4 * SIZE)) != here
    view[:] = 7.0
    del view
    gc.collect()
    again = memory.array((2, 2 * SIZE))
    assert place(again) == here
    assert again.shape == (2, 2 * SIZE)
    assert again.flags.c_contiguous
    assert again.flags.writeable


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_arrays_of_nearly_one_size_share(dtype):
    memory = BufferPool()
    here = place(memory.array(SIZE, dtype))
    other = memory.array(SIZE - 5, dtype)
    assert place(other) == here
    assert other.dtype == dtype
    assert other.shape == (SIZE - 5,)


def test_two_that_are_in_use_never_overlap():
    memory = BufferPool()

    def use(number):
        for _ in range(200):
            array = memory.array(SIZE // 8)
            array[:] = number
            assert np.all(array == number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(8)))


@pytest.mark.parametrize("storage", [np.ascontiguousarray, sp.csr_array])
def test_a_gradient_that_is_kept_is_not_written_over(storage):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 3000)), rng.integers(0, 10, 50)
    objective = SoftmaxObjective(storage(X), y, l2=0.1)
    points = rng.normal(size=(4, objective.n_params))
    grads = [objective.value_and_grad(point)[1] for point in points]
    copies = [grad.copy() for grad in grads]
    for point, grad, copy in zip(points, grads, copies, strict=True):
        np.testing.assert_array_equal(objective.value_and_grad(point)[1], copy)
        np.testing.assert_array_equal(grad, copy)

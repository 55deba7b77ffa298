"""Copies within kernels: a slice assignment would compile the text of its error, for seconds in each."""

from __future__ import annotations

from fastsoftmax.runtime.jit import inner


@inner
def copy_vector(x, out):
    """Write x (n,) to the first n elements of out, which it does not overlap."""
    for i in range(x.shape[0]):
        out[i] = x[i]


@inner
def copy_matrix(x, out):
    """Write x (n, m) to the first n rows and m columns of out, which it does not overlap."""
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[i, k] = x[i, k]

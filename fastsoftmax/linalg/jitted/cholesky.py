"""Substitution with Cholesky factors."""

from __future__ import annotations

import numpy as np

from fastsoftmax.runtime.jitted import kernel


@kernel(signatures=[f"{x}:3C,f8:2C,f8:2C" for x in ("f4", "f8")], fastmath={"reassoc", "contract"})
def solve(start, stop, _, lowers, scales, vectors):
    """Solve systems start to stop in place: vectors (m, D) become S L⁻ᵀ L⁻¹ S vectors; 1 or m factors."""
    size = vectors.shape[1]
    u = np.empty(size, lowers.dtype)
    for v in range(start, stop):
        m = min(v, len(lowers) - 1)
        for i in range(size):
            u[i] = scales[m, i] * vectors[v, i]
        # Both substitutions read L row by row, in the order of memory.
        for i in range(size):
            row = lowers[m, i, :i]
            solved = u[:i]
            total = u[i]
            for j in range(len(row)):
                total -= row[j] * solved[j]
            u[i] = total / lowers[m, i, i]
        for i in range(size - 1, -1, -1):
            row = lowers[m, i, :i]
            remaining = u[:i]
            value = u[i] / lowers[m, i, i]
            u[i] = value
            for j in range(len(row)):
                remaining[j] -= row[j] * value
        for i in range(size):
            vectors[v, i] = scales[m, i] * u[i]

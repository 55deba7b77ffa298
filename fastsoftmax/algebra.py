"""Arithmetic on long vectors: threaded, in one reading each, with bits that do not depend on the threads.

A solver's vectors may be longer than the data that it reads (2.6 million coefficients for 20 newsgroups).
NumPy runs such sums on one thread, and BLAS's bits depend on how many it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.executor import even_bounds, kernel, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

PART = 2**15  # elements that one thread takes at a time
BLOCK = 2**10  # elements of one vector that stay in the first-level cache while others go by
REASSOCIATED = {"reassoc", "contract"}  # sums in registers: the order is that of the machine code


@kernel(fastmath=REASSOCIATED)
def _dots(start, stop, part, rows, b, totals):
    """Write rows · b over elements start to stop to totals (n_parts, m)."""
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        for r in range(rows.shape[0]):
            row = rows[r]
            total = 0.0
            for i in range(first, last):
                total += row[i] * b[i]
            totals[part, r] += total


@kernel(fastmath=REASSOCIATED)
def _combine(start, stop, part, shares, rows, out):
    """Add Σ sharesᵣ · rowᵣ to out."""
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        for r in range(rows.shape[0]):
            row = rows[r]
            share = shares[r]
            if share != 0.0:
                for i in range(first, last):
                    out[i] += share * row[i]


@kernel
def _moved(start, stop, part, a, b, factor, out):
    """Write a + factor · b to out."""
    for i in range(start, stop):
        out[i] = a[i] + factor * b[i]


@kernel(fastmath=REASSOCIATED)
def _penalise(start, stop, part, sums, share, l2, coef, squares):
    """Turn sums into share · sums + l2 · coef, and sum coef²."""
    total = 0.0
    for i in range(start, stop):
        c = coef[i]
        sums[i] = share * sums[i] + l2 * c
        total += c * c
    squares[part] = total


def _bounds(size: int) -> NDArray[np.int64]:
    return even_bounds(size, -(-size // PART))


class Algebra:
    """Sums and products of float64 vectors; other operands may be float32.

    Parameters
    ----------
    n_threads : int, optional
        None takes every processor that the process may use. The bits of a result do not depend on it.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self._n_threads = n_threads

    def dot(self, a: Vector, b: Vector) -> float:
        """Return a · b."""
        return float(self.dots(a[np.newaxis], b)[0])

    def norm(self, a: Vector) -> float:
        """Return the Euclidean norm."""
        return float(np.sqrt(self.dot(a, a)))

    def dots(self, rows: NDArray[Any], b: Vector) -> Vector:
        """Return the products of each row (m, n) with b (n,), (m,) float64."""
        bounds = _bounds(len(b))
        totals = np.zeros((len(bounds) - 1, len(rows)))
        run(_dots, bounds, rows, b, totals, work=0.3 * rows.size, n_threads=self._n_threads)
        return np.asarray(totals.sum(axis=0))

    def combine(self, out: Vector, shares: Vector, rows: NDArray[Any]) -> None:
        """Add shares (m,) @ rows (m, n) to out (n,). Rows whose share is zero are not read."""
        run(_combine, _bounds(len(out)), shares, rows, out, work=0.3 * rows.size, n_threads=self._n_threads)

    def moved(self, a: Vector, b: Vector, factor: float, out: Vector | None = None) -> Vector:
        """Return a + factor · b, in `out` where it is given; that may be a or b."""
        out = np.empty_like(a) if out is None else out
        run(_moved, _bounds(len(a)), a, b, float(factor), out, work=0.5 * len(a), n_threads=self._n_threads)
        return out

    def penalise(self, sums: Vector, share: float, l2: float, coef: Vector) -> float:
        """Turn sums into share · sums + l2 · coef in place, and return ‖coef‖². All of one length."""
        bounds = _bounds(len(sums))
        squares = np.zeros(len(bounds) - 1)
        work = 0.5 * len(sums)
        run(_penalise, bounds, sums, share, l2, coef, squares, work=work, n_threads=self._n_threads)
        return float(squares.sum())

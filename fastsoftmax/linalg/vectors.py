"""Arithmetic on long vectors: threaded, one reading of each, bits that do not depend on the threads.

A solver's vectors may be longer than its data (2.6 million coefficients for 20 newsgroups). NumPy computes
such sums on one thread, and BLAS's results depend on the number of its threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.runtime.executor import even_bounds, kernel, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Vector

PART = 2**13  # elements of a part, at least: a smaller one would take less time than starting it
MAX_PARTS = 64  # so many threads can share a vector
BLOCK = 2**10  # elements of one vector (8 KiB) that stay in the first-level cache while the rows pass
REASSOCIATED = {"reassoc", "contract"}  # sums in registers: the order is that of the machine code


@kernel(fastmath=REASSOCIATED)
def _dots(start, stop, part, rows, places, b, totals):
    """Add the products of rows[places] (m, n) with b (n,), over elements start to stop, to totals[part] (m,).

    Four rows at a time: a single stream does not reach the memory's bandwidth (docs/decisions.md: twelve rows
    of 1.7 million 1.3 to 2.1 times as fast as one by one).
    """
    m = len(places)
    total = totals[part]
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        other = b[first:last]  # Numba proves that a slice's own range is in bounds, and then vectorises
        for r in range(0, m - 3, 4):
            row0, row1 = rows[places[r], first:last], rows[places[r + 1], first:last]
            row2, row3 = rows[places[r + 2], first:last], rows[places[r + 3], first:last]
            t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
            for i in range(len(other)):
                t0 += row0[i] * other[i]
                t1 += row1[i] * other[i]
                t2 += row2[i] * other[i]
                t3 += row3[i] * other[i]
            total[r] += t0
            total[r + 1] += t1
            total[r + 2] += t2
            total[r + 3] += t3
        for r in range(m // 4 * 4, m):
            row = rows[places[r], first:last]
            t0 = 0.0
            for i in range(len(other)):
                t0 += row[i] * other[i]
            total[r] += t0


@kernel(fastmath=REASSOCIATED)
def _combine(start, stop, part, scales, rows, places, factor, a, b, out, totals):
    """Write factor · a + Σ scalesᵣ · rows[placesᵣ] to out (n,), and its product with b to totals[part]."""
    m = len(places)
    total = 0.0
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        own, other = out[first:last], a[first:last]
        for i in range(len(own)):
            own[i] = factor * other[i]
        for r in range(0, m - 3, 4):
            row0, row1 = rows[places[r], first:last], rows[places[r + 1], first:last]
            row2, row3 = rows[places[r + 2], first:last], rows[places[r + 3], first:last]
            s0, s1, s2, s3 = scales[r], scales[r + 1], scales[r + 2], scales[r + 3]
            for i in range(len(own)):
                own[i] += (s0 * row0[i] + s1 * row1[i]) + (s2 * row2[i] + s3 * row3[i])
        for r in range(m // 4 * 4, m):
            row, scale = rows[places[r], first:last], scales[r]
            for i in range(len(own)):
                own[i] += scale * row[i]
        other = b[first:last]
        for i in range(len(own)):
            total += own[i] * other[i]
    totals[part] = total


@kernel(fastmath=REASSOCIATED)
def _differ(start, stop, part, new0, new1, new2, old0, old1, old2, out0, out1, out2, totals):
    """Write newₘ − oldₘ to outₘ, and the products of the differences to totals (n_parts, 6)."""
    aa, ab, ac, bb, bc, cc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for first in range(start, stop, BLOCK):
        block = slice(first, min(first + BLOCK, stop))
        left0, left1, left2 = new0[block], new1[block], new2[block]
        right0, right1, right2 = old0[block], old1[block], old2[block]
        result0, result1, result2 = out0[block], out1[block], out2[block]
        for i in range(len(result0)):
            result0[i] = left0[i] - right0[i]
            result1[i] = left1[i] - right1[i]
            result2[i] = left2[i] - right2[i]
        for i in range(len(result0)):
            a, b, c = np.float64(result0[i]), np.float64(result1[i]), np.float64(result2[i])
            aa += a * a
            ab += a * b
            ac += a * c
            bb += b * b
            bc += b * c
            cc += c * c
    total = totals[part]
    total[0], total[1], total[2], total[3], total[4], total[5] = aa, ab, ac, bb, bc, cc


@kernel
def _copy(start, stop, _, a, out):
    for i in range(start, stop):
        out[i] = a[i]


@kernel
def _moved(start, stop, _, a, b, factor, out):
    """Write a + factor · b to out, which may be a or b."""
    left, right, result = a[start:stop], b[start:stop], out[start:stop]
    for i in range(len(result)):
        result[i] = left[i] + factor * right[i]


@kernel(fastmath=REASSOCIATED)
def _penalise(start, stop, part, sums, scale, l2, coef, squares):
    """Turn sums into scale · sums + l2 · coef; write Σ coef² to squares[part]."""
    own, other = sums[start:stop], coef[start:stop]
    total = 0.0
    for i in range(len(own)):
        own[i] = scale * own[i] + l2 * other[i]
        total += other[i] * other[i]
    squares[part] = total


def _bounds(size: int) -> NDArray[np.int64]:
    return even_bounds(size, min(-(-size // PART), MAX_PARTS))


class Algebra:
    """Sums and products of float64 vectors; other operands may be float32.

    Parameters
    ----------
    n_threads : int, optional
        By default every processor that the process may use. Results do not depend on it.
    buffers : BufferPool, optional
        The pool that vectors are allocated from.
    """

    def __init__(self, n_threads: int | None = None, buffers: BufferPool | None = None) -> None:
        self._n_threads = n_threads
        self._buffers = buffers or BufferPool()

    def vector(self, size: int) -> Vector:
        """Return an uninitialised float64 vector."""
        return self._buffers.array(size)

    def dot(self, a: Array, b: Array) -> float:
        """Return a · b, accumulated in float64."""
        return float(self.dots(a[np.newaxis], b)[0])

    def norm(self, a: Array) -> float:
        """Return the Euclidean norm of a."""
        return float(np.sqrt(self.dot(a, a)))

    def dots(self, rows: Array, b: Array, places: Sequence[int] | None = None) -> Vector:
        """Return rows[places] · b, float64, for rows (m, n) and b (n,); of all rows if `places` is None."""
        bounds = _bounds(len(b))
        chosen = np.array(range(len(rows)) if places is None else places, np.int64)
        totals = np.zeros((len(bounds) - 1, len(chosen)))
        work = 0.3 * len(b) * len(chosen)
        run(_dots, bounds, rows, chosen, b, totals, work=work, n_threads=self._n_threads)
        return np.asarray(totals.sum(axis=0))

    def combined(
        self, scales: Vector, rows: Array, places: Sequence[int], factor: float, a: Vector, b: Vector
    ) -> tuple[Vector, float]:
        """Return factor · a + Σ scalesᵣ · rows[placesᵣ], (n,), and its product with b; rows are (m, n)."""
        bounds, out = _bounds(len(a)), self.vector(len(a))
        totals = np.zeros(len(bounds) - 1)
        work = 0.3 * len(a) * (2 + len(places))
        run(
            _combine, bounds, scales, rows, np.array(places, np.int64), float(factor), a, b, out, totals,
            work=work, n_threads=self._n_threads,
        )  # fmt: skip
        return out, float(totals.sum())

    def differences(self, new: Sequence[Vector], old: Sequence[Vector], out: Sequence[Array]) -> Vector:
        """Write newₘ − oldₘ to outₘ for three pairs of vectors; return the differences' products, (3, 3).

        `out` may be float32; the products are then those of the rounded differences.
        """
        bounds = _bounds(len(new[0]))
        totals = np.zeros((len(bounds) - 1, 6))
        work = 3.0 * len(new[0])
        run(_differ, bounds, *new, *old, *out, totals, work=work, n_threads=self._n_threads)
        aa, ab, ac, bb, bc, cc = totals.sum(axis=0)
        return np.array([[aa, ab, ac], [ab, bb, bc], [ac, bc, cc]])

    def copied(self, a: Vector) -> Vector:
        """Return a copy of a."""
        out = self.vector(len(a))
        run(_copy, _bounds(len(a)), a, out, work=0.4 * len(a), n_threads=self._n_threads)
        return out

    def moved(self, a: Vector, b: Vector, factor: float, out: Array | None = None) -> Vector:
        """Return a + factor · b, in `out` if given, which may be a, b, or float32."""
        out = self.vector(len(a)) if out is None else out
        run(_moved, _bounds(len(a)), a, b, float(factor), out, work=0.5 * len(a), n_threads=self._n_threads)
        return out

    def penalise(self, sums: Vector, scale: float, l2: float, coef: Vector) -> float:
        """Turn sums into scale · sums + l2 · coef in place, and return ‖coef‖²; both are (n,)."""
        bounds = _bounds(len(sums))
        squares = np.zeros(len(bounds) - 1)
        work = 0.5 * len(sums)
        run(_penalise, bounds, sums, scale, l2, coef, squares, work=work, n_threads=self._n_threads)
        return float(squares.sum())

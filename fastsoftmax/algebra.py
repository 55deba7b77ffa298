"""Arithmetic on long vectors: threaded, in one reading each, with bits that do not depend on the threads.

A solver's vectors may be longer than the data that it reads (2.6 million coefficients for 20 newsgroups).
NumPy runs such sums on one thread, and BLAS's bits depend on how many it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.executor import even_bounds, kernel, run
from fastsoftmax.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

PART = 2**13  # elements that one thread takes at a time, or more where these are many
MOST_PARTS = 64
BLOCK = 2**10  # elements of one vector that stay in the first-level cache while others go by
REASSOCIATED = {"reassoc", "contract"}  # sums in registers: the order is that of the machine code


@kernel(fastmath=REASSOCIATED)
def _dots(start, stop, part, rows, places, b, totals):
    """Write the rows in some places · b over elements start to stop to totals (n_parts, m).

    Four rows at a time: one alone does not come out of memory as fast as memory can give.
    """
    m = len(places)
    total = totals[part]
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        other = b[first:last]  # Numba proves the bounds of a slice's own range, and then uses registers
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
def _combine(start, stop, part, shares, rows, places, factor, a, b, out, totals):
    """Write factor · a + Σ sharesᵣ · rowᵣ of some places to out, and its product with b to totals."""
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
            s0, s1, s2, s3 = shares[r], shares[r + 1], shares[r + 2], shares[r + 3]
            for i in range(len(own)):
                own[i] += (s0 * row0[i] + s1 * row1[i]) + (s2 * row2[i] + s3 * row3[i])
        for r in range(m // 4 * 4, m):
            row, share = rows[places[r], first:last], shares[r]
            for i in range(len(own)):
                own[i] += share * row[i]
        other = b[first:last]
        for i in range(len(own)):
            total += own[i] * other[i]
    totals[part] = total


@kernel(fastmath=REASSOCIATED)
def _differ(start, stop, part, new0, new1, new2, old0, old1, old2, out0, out1, out2, totals):
    """Write newₘ − oldₘ to outₘ, and the products of what was written to totals (n_parts, 6)."""
    aa, ab, ac, bb, bc, cc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for first in range(start, stop, BLOCK):
        here = slice(first, min(first + BLOCK, stop))
        left0, left1, left2 = new0[here], new1[here], new2[here]
        right0, right1, right2 = old0[here], old1[here], old2[here]
        result0, result1, result2 = out0[here], out1[here], out2[here]
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
    out[start:stop] = a[start:stop]


@kernel
def _moved(start, stop, _, a, b, factor, out):
    """Write a + factor · b to out."""
    left, right, result = a[start:stop], b[start:stop], out[start:stop]
    for i in range(len(result)):
        result[i] = left[i] + factor * right[i]


@kernel(fastmath=REASSOCIATED)
def _penalise(start, stop, part, sums, share, l2, coef, squares):
    """Turn sums into share · sums + l2 · coef, and sum coef²."""
    own, other = sums[start:stop], coef[start:stop]
    total = 0.0
    for i in range(len(own)):
        own[i] = share * own[i] + l2 * other[i]
        total += other[i] * other[i]
    squares[part] = total


def _bounds(size: int) -> NDArray[np.int64]:
    return even_bounds(size, min(-(-size // PART), MOST_PARTS))


class Algebra:
    """Sums and products of float64 vectors; other operands may be float32.

    Parameters
    ----------
    n_threads : int, optional
        None takes every processor that the process may use. The bits of a result do not depend on it.
    memory : Memory, optional
        Where vectors come from.
    """

    def __init__(self, n_threads: int | None = None, memory: Memory | None = None) -> None:
        self._n_threads = n_threads
        self._memory = memory or Memory()

    def vector(self, size: int) -> Vector:
        """Return a vector of whatever stood there."""
        return self._memory.array(size)

    def dot(self, a: NDArray[Any], b: NDArray[Any]) -> float:
        """Return a · b."""
        return float(self.dots(a[np.newaxis], b)[0])

    def norm(self, a: NDArray[Any]) -> float:
        """Return the Euclidean norm."""
        return float(np.sqrt(self.dot(a, a)))

    def dots(self, rows: NDArray[Any], b: NDArray[Any], places: Sequence[int] | None = None) -> Vector:
        """Return the products of the rows (m, n) in these places, or of all, with b (n,), float64."""
        bounds = _bounds(len(b))
        chosen = np.array(range(len(rows)) if places is None else places, np.int64)
        totals = np.zeros((len(bounds) - 1, len(chosen)))
        work = 0.3 * len(b) * len(chosen)
        run(_dots, bounds, rows, chosen, b, totals, work=work, n_threads=self._n_threads)
        return np.asarray(totals.sum(axis=0))

    def combined(
        self, shares: Vector, rows: NDArray[Any], places: Sequence[int], factor: float, a: Vector, b: Vector
    ) -> tuple[Vector, float]:
        """Return factor · a + Σ sharesᵣ · rowᵣ of the rows (m, n) in these places, and its product with b."""
        bounds, out = _bounds(len(a)), self.vector(len(a))
        totals = np.zeros(len(bounds) - 1)
        work = 0.3 * len(a) * (2 + len(places))
        run(
            _combine, bounds, shares, rows, np.array(places, np.int64), float(factor), a, b, out, totals,
            work=work, n_threads=self._n_threads,
        )  # fmt: skip
        return out, float(totals.sum())

    def differences(
        self, new: Sequence[Vector], old: Sequence[Vector], out: Sequence[NDArray[Any]]
    ) -> NDArray[np.float64]:
        """Write newₘ − oldₘ to outₘ, for three of each, and return all products of those (3, 3).

        `out` may be float32; then the products are those of what it holds.
        """
        bounds = _bounds(len(new[0]))
        totals = np.zeros((len(bounds) - 1, 6))
        work = 3.0 * len(new[0])
        run(_differ, bounds, *new, *old, *out, totals, work=work, n_threads=self._n_threads)
        aa, ab, ac, bb, bc, cc = totals.sum(axis=0)
        return np.array([[aa, ab, ac], [ab, bb, bc], [ac, bc, cc]])

    def copied(self, a: Vector) -> Vector:
        """Return a copy."""
        out = self.vector(len(a))
        run(_copy, _bounds(len(a)), a, out, work=0.4 * len(a), n_threads=self._n_threads)
        return out

    def moved(self, a: Vector, b: Vector, factor: float, out: NDArray[Any] | None = None) -> Vector:
        """Return a + factor · b, in `out` where it is given; that may be a or b, or float32."""
        out = self.vector(len(a)) if out is None else out
        run(_moved, _bounds(len(a)), a, b, float(factor), out, work=0.5 * len(a), n_threads=self._n_threads)
        return out

    def penalise(self, sums: Vector, share: float, l2: float, coef: Vector) -> float:
        """Turn sums into share · sums + l2 · coef in place, and return ‖coef‖². All of one length."""
        bounds = _bounds(len(sums))
        squares = np.zeros(len(bounds) - 1)
        work = 0.5 * len(sums)
        run(_penalise, bounds, sums, share, l2, coef, squares, work=work, n_threads=self._n_threads)
        return float(squares.sum())

"""Arithmetic on long vectors: threaded, one reading of each, bits that do not depend on the threads.

A solver's vectors may be longer than its data (2.6 million coefficients for 20 newsgroups). NumPy computes
such sums on one thread, and BLAS's results depend on the number of its threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Vector

_dots = Kernel("fastsoftmax.linalg.jitted.vectors", "dots")
_combine = Kernel("fastsoftmax.linalg.jitted.vectors", "combine")
_differ = Kernel("fastsoftmax.linalg.jitted.vectors", "differ")
_copy = Kernel("fastsoftmax.linalg.jitted.vectors", "copy", divisible=True)
_moved = Kernel("fastsoftmax.linalg.jitted.vectors", "moved", divisible=True)
_penalise = Kernel("fastsoftmax.linalg.jitted.vectors", "penalise")

PART = 2**13  # elements of a part, at least: a smaller one would take less time than starting it
MAX_PARTS = 64  # so many threads can share a vector


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
        if len(a) <= PART and a.dtype == b.dtype == np.float64:
            # Of so few numbers BLAS takes one thread, and a kernel's call longer.
            with np.errstate(over="ignore", invalid="ignore"):
                return float(np.dot(a, b))
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

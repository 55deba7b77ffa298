"""The weighted mean and deviation of every feature, from one reading of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Csr, DeviceArray, Halves, row_slice
from fastsoftmax.data import sparse
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from fastsoftmax.contracts import HostRows, Rows, Vector

# Numbers of dense rows that are widened at once (512 KiB stay in a second-level cache), and the fewest rows;
# entries of sparse rows, of which each part costs some vectors besides.
NUMBERS, MIN_ROWS, ENTRIES, ENTRIES_PER_FEATURE = 2**16, 16, 2**20, 4
# A deviation of at most so many units in the last place of the mean is rounding: the column is constant.
ROUNDING = 16.0 * float(np.finfo(np.float64).eps)


class Moments(NamedTuple):
    """The sum of some rows' weights, their weighted means (d,), and Σ wᵢ (xᵢ − mean)² (d,), all float64.

    Examples
    --------
    >>> of_rows(np.array([[1.0, 5.0], [3.0, 5.0]]), np.ones(2)).scale()
    array([1., 1.])
    """

    weight: float
    mean: Vector
    squares: Vector

    @classmethod
    def none(cls, n_features: int = 0) -> Moments:
        """Return the moments of no rows."""
        return cls(0.0, np.zeros(n_features), np.zeros(n_features))

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows; what one lacks of the other's columns is zero there.

        By the difference of the means [1]_: no sum of squares is ever subtracted from another.

        References
        ----------
        .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The
           American Statistician 37 (1983), equation 2.1.
        """
        width = max(len(self.mean), len(other.mean))
        a, b = self._widened(width), other._widened(width)
        total = a.weight + b.weight
        if a.weight == 0.0 or b.weight == 0.0:
            return a if b.weight == 0.0 else b
        change = b.mean - a.mean
        mean = a.mean + (b.weight / total) * change
        return Moments(total, mean, a.squares + b.squares + (a.weight * b.weight / total) * change**2)

    def scale(self) -> Vector:
        """Return the deviation of each feature, √(Σ wᵢ (xᵢ − mean)² / Σ wᵢ) (d,); 1 of one that is constant.

        Constant to rounding: a deviation of at most 16 units in the last place of the mean. Raises ValueError
        if squares overflow.
        """
        deviation: Vector = np.sqrt(self.squares / self.weight)
        if not np.isfinite(deviation).all():
            column = int(np.argmin(np.isfinite(deviation)))
            raise ValueError(
                f"X has numbers too large for standardize=True: the variance of column {column} overflows"
            )
        deviation[deviation <= ROUNDING * np.abs(self.mean)] = 1.0
        # The square and its inverse have to be numbers, too.
        deviation[deviation < np.sqrt(np.finfo(np.float64).tiny)] = 1.0
        return deviation

    def features(self, *, centred: bool, everywhere: bool = False) -> Vector:
        """Return 1 / scale and the centre of each feature, (2, d).

        That is zero unless `centred`, and, but for `everywhere`, where the mean is less than the deviation:
        such a feature is as well conditioned as it is.
        """
        scale = self.scale()
        chosen = centred & (everywhere | (self.mean**2 * self.weight > self.squares))
        return np.stack((1.0 / scale, np.where(chosen, self.mean, 0.0)))

    def _widened(self, width: int) -> Moments:
        lacking = width - len(self.mean)
        if not lacking:
            return self
        return Moments(self.weight, np.pad(self.mean, (0, lacking)), np.pad(self.squares, (0, lacking)))


def of_rows(rows: Rows, weight: Vector | None) -> Moments:
    """Return the moments of rows by their weights.

    Parameters
    ----------
    rows : ndarray, Halves, Csr or DeviceArray, (n, d)
        Sparse ones may have several entries at one place, which count as their sum.
    weight : ndarray (n,) or None
        None weighs each row 1.

    Notes
    -----
    Some rows at a time are widened to float64 and read twice: 5 n d flops on one thread, and half a megabyte
    (of sparse rows some twenty). The bits do not depend on the number of threads.
    """
    n_rows, n_features = rows.shape
    found = Moments.none(n_features)
    if isinstance(rows, Csr):
        entries = max(ENTRIES, ENTRIES_PER_FEATURE * n_features)
        step = max(1, int(n_rows * entries / max(1, len(rows.data))))
    else:
        step = max(MIN_ROWS, NUMBERS // max(1, n_features))
    # Squares that overflow are infinite, as is said where they are asked for.
    with np.errstate(over="ignore", invalid="ignore"), blas.one_thread():
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            part: Any = (
                devices.taken_to_host(rows, np.arange(start, stop))
                if isinstance(rows, DeviceArray)
                else row_slice(rows, start, stop)
            )
            weights = np.ones(stop - start) if weight is None else weight[start:stop]
            if weights.any():
                found = found.merged(_of_part(part, weights))
    return found


def _of_part(rows: HostRows, weight: Vector) -> Moments:
    """Return the moments of a few rows."""
    total = float(weight.sum())
    if isinstance(rows, Csr):
        return _of_sparse(rows, weight, total)
    numbers = (rows.bits.view(np.float16) if isinstance(rows, Halves) else rows).astype(np.float64)
    pivot = numbers[int(np.argmax(weight > 0.0))].copy()  # of a constant column nothing is left
    numbers -= pivot
    shift = weight @ numbers / total
    numbers -= shift
    np.square(numbers, out=numbers)
    return Moments(total, pivot + shift, weight @ numbers)


def _of_sparse(rows: Csr, weight: Vector, total: float) -> Moments:
    """Return the same of sparse rows. The mean is corrected by the entries less it, for its rounding."""
    matrix = sparse.to_scipy(rows)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    entries = matrix.data.astype(np.float64)

    def sums(numbers: Vector, by: Vector) -> Vector:
        """Return Σ by · numbers over the entries of each column."""
        matrix.data = numbers
        return np.asarray(matrix.T @ by)

    mean = sums(entries, weight) / total
    # The weight of rows without an entry; of a full column the difference of the sums would be rounding.
    ones = np.ones(len(entries))
    is_full = sums(ones, (weight > 0.0).astype(np.float64)) == np.count_nonzero(weight)
    lacking = np.where(is_full, 0.0, np.maximum(total - sums(ones, weight), 0.0))
    entries -= mean[matrix.indices]
    change = (sums(entries, weight) - lacking * mean) / total
    squares = sums(np.square(entries), weight) + lacking * mean**2
    return Moments(total, mean + change, np.maximum(squares - total * change**2, 0.0))

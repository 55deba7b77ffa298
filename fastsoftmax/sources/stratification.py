"""Folds that have the same part of each class: which rows they have is told by keys of the rows' places."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.data.blocks.sample import keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

_OFFSET = 2**62  # of positions: those of the sample and of test data have other keys
# Rows of a class are counted by the first bits of their keys, in so many bins: a fold has its part of them
# to 1 / 1024 of the class, or two rows. Fewer bins where a table for all classes had more numbers.
MAX_BINS, MAX_NUMBERS = 2**10, 2**20
BINS_A_FOLD = 4


class Fold(NamedTuple):
    """A part of the rows of each class, or with `is_training` the others.

    Which rows depends on their places and classes alone: of class k it has those of the bins of keys from
    cuts[k, j] to cuts[k, j + 1], j = (number + k) mod folds, so that the odd rows of small classes go to
    different folds. `cuts` (K, folds + 1) are of the `n_bins` bins.
    """

    number: int
    cuts: NDArray[np.int64]
    n_bins: int
    is_training: bool

    @property
    def n_folds(self) -> int:
        """The number of folds."""
        return int(self.cuts.shape[1]) - 1

    @property
    def held_out(self) -> Fold:
        """The rows that are held out."""
        return self._replace(is_training=False)

    def has(self, position: NDArray[np.int64], codes: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return which of the rows at these places among all, and of these classes, it has."""
        place, found = (self.number + codes) % self.n_folds, bins(position, self.n_bins)
        held_out = (self.cuts[codes, place] <= found) & (found < self.cuts[codes, place + 1])
        chosen: NDArray[np.bool_] = held_out != self.is_training
        return chosen

    def summed(self, table: Vector) -> Vector:
        """Return the sums (K,) over its rows of what `ClassKeys` has summed by class and bin, (K, bins)."""
        before = np.concatenate((np.zeros((len(table), 1)), np.cumsum(table, axis=1)), axis=1)
        classes = np.arange(len(table))
        place = (self.number + classes) % self.n_folds
        low, high = self.cuts[classes, place], self.cuts[classes, place + 1]
        held_out: Vector = before[classes, high] - before[classes, low]
        return before[:, -1] - held_out if self.is_training else held_out


def number_of_bins(n_classes: int, n_folds: int) -> int:
    """Return the number of bins of keys."""
    fit = min(MAX_BINS, MAX_NUMBERS // max(1, n_classes))
    return 1 << (max(1, fit, BINS_A_FOLD * n_folds) - 1).bit_length()


def bins(position: NDArray[np.int64], n_bins: int) -> NDArray[np.int64]:
    """Return the bins, a power of two, of the keys of rows at these places."""
    shift = np.uint64(64 - (n_bins.bit_length() - 1))
    found: NDArray[np.int64] = (keys(position + _OFFSET) >> shift).astype(np.int64)
    return found


def stratified(counts: Vector, n_folds: int) -> list[Fold]:
    """Return the training parts of folds that have the same part of each class, as nearly as bins allow.

    Parameters
    ----------
    counts : ndarray (K, bins)
        The rows by class and bin.
    n_folds : int
    """
    n_classes, n_bins = counts.shape
    cuts = np.zeros((n_classes, n_folds + 1), np.int64)
    cuts[:, -1] = n_bins
    for k in range(n_classes):
        until = np.concatenate(([0.0], np.cumsum(counts[k])))
        wanted = until[-1] * np.arange(1, n_folds) / n_folds
        right = np.clip(np.searchsorted(until, wanted), 1, n_bins)
        is_left = wanted - until[right - 1] <= until[right] - wanted
        cuts[k, 1:-1] = right - is_left
    return [Fold(number, cuts, n_bins, True) for number in range(n_folds)]

"""Gram matrices of a few columns a class of sparse rows, each class with its own weights of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

_add = Kernel("fastsoftmax.linalg.jitted.sparse_blocks", "add")


@dataclass(frozen=True, slots=True, eq=False)
class SparseBlocks:
    """Σᵢ rᵢₖ² (x, 1) (x, 1)ᵀ over rows, of the columns of each class k: blocks (mₖ + 1, mₖ + 1).

    Parameters
    ----------
    classes, features : ndarray (m,), int
        Of the columns, by class.
    n_classes, n_features : int
    """

    classes: NDArray[np.intp]
    features: NDArray[np.intp]
    n_classes: int
    n_features: int

    @property
    def widths(self) -> NDArray[np.int64]:
        """The blocks' orders, (K,)."""
        return np.bincount(self.classes, minlength=self.n_classes).astype(np.int64) + 1

    def empty(self) -> Vector:
        """Return blocks of zeros, one after another."""
        return np.zeros(int((self.widths**2).sum()))

    def flops(self, indptr: NDArray[Any], indices: NDArray[Any]) -> float:
        """Return about how many multiplications `add` makes for CSR rows: were all classes alike."""
        counts = np.bincount(self.features, minlength=self.n_features)
        met = np.concatenate(([0], np.cumsum(counts[indices])))[indptr]
        return float((np.diff(met).astype(np.float64) ** 2).sum()) / self.n_classes

    def add(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int64],
        data: Vector,
        roots: Vector,
        out: Vector,
    ) -> None:
        """Add the sums over some CSR rows to `out`.

        Parameters
        ----------
        indptr, indices : ndarray, int64
        data : ndarray, float64
        roots : ndarray (n, K)
            r.
        out : ndarray
            Blocks, as `empty` returns them.

        Notes
        -----
        One thread: the sum over rows and classes of the squared number of entries that meet a column.
        """
        widths = self.widths
        starts = np.concatenate(([0], np.cumsum(widths - 1)))
        offsets = np.concatenate(([0], np.cumsum(widths**2)[:-1]))
        by_feature = np.argsort(self.features, kind="stable")
        counts = np.bincount(self.features, minlength=self.n_features)
        items = np.concatenate(([0], np.cumsum(counts)))
        met = np.concatenate(([0], np.cumsum(counts[indices])))[indptr]
        most = int(np.diff(met).max(initial=1))
        places = np.arange(len(self.classes)) - starts[self.classes]
        _add.serial(
            0, len(indptr) - 1, 0, indptr, indices, data, roots, items, self.classes[by_feature],
            places[by_feature], offsets, widths, most, out,
        )  # fmt: skip

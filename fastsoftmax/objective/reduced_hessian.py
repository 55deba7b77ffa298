"""The Hessian of a loss among a few parameters, by NumPy and SciPy: nothing is compiled for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.special
from scipy.linalg import blas

from fastsoftmax import losses
from fastsoftmax.contracts import Csr, Halves, Sums
from fastsoftmax.contracts.storages import row_slice
from fastsoftmax.data import sparse

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Loss, Params, RowBlock, Vector
    from fastsoftmax.contracts.device import PassDevice

# Rows are taken some at a time, so that the arrays beside them take about so many bytes, whatever n. Dense
# ones stay in a cache: with 2²³ bytes 1,437 rows and 590 parameters take 33 ms, so 21.
DENSE_CHUNK_BYTES, SPARSE_CHUNK_BYTES = 2**21, 2**23


@dataclass(frozen=True, slots=True, eq=False)
class ReducedHessian:
    """The Hessian of Σ wᵢ ℓᵢ among m coefficients and K' intercepts: its lower triangle as `coef`.

    Of a softmax, whose curvature is diag p − p pᵀ, or of sigmoids. One pass over X, in float64: n m² flops
    for dense X, for sparse X the sum over rows of the squared number of entries that meet a coefficient.

    Parameters
    ----------
    params : Params
        For the rows as they are.
    classes, features : ndarray (m,), int
        Of the coefficients, by class.
    intercepts : ndarray (K',), int
        The intercepts' classes.
    mean, factor : ndarray (m,), optional
        The rows' features are taken less the mean, and times the factor. Of sparse rows that are less a mean
        the m columns are dense, some rows at a time.
    """

    params: Params
    classes: NDArray[np.intp]
    features: NDArray[np.intp]
    intercepts: NDArray[np.intp]
    mean: Vector | None = None
    factor: Vector | None = None

    def of_scaled(self, of_rows: Callable[[Params], Params], factor: Vector, mean: Vector) -> ReducedHessian:
        """Return the query to rows as they are, of one to rows less `mean` (d,) times `factor` (d,).

        `of_rows` changes parameters.
        """
        chosen = mean[self.features]
        return replace(
            self,
            params=of_rows(self.params),
            mean=chosen if chosen.any() else None,
            factor=factor[self.features],
        )

    @staticmethod
    def matrix(sums: Sums) -> Vector:
        """Return the Hessian of the mean loss, (m + K', m + K'), from the query's answer."""
        size = int(np.sqrt(2 * len(sums.coef)))
        out = np.empty((size, size))
        packed = sums.coef / sums.weight
        for i in range(size):
            start = i * (i + 1) // 2
            out[i, : i + 1] = packed[start : start + i + 1]
            out[:i, i] = out[i, :i]
        return out

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        exclusive = losses.family_of(loss).SHIFT_INVARIANT
        m, size = len(self.classes), len(self.classes) + len(self.intercepts)
        total = np.zeros((size, size))
        n_outputs = len(self.params.intercept)
        is_sparse = isinstance(block.X, Csr)
        width = 3 * n_outputs if is_sparse else 3 * n_outputs + block.X.shape[1] + 2 * size
        n_chunk = max(64, (SPARSE_CHUNK_BYTES if is_sparse else DENSE_CHUNK_BYTES) // (8 * width))
        if is_sparse and self.mean is not None:
            n_chunk = max(64, DENSE_CHUNK_BYTES // (8 * (3 * n_outputs + 3 * size)))
        for start in range(0, block.n_rows, n_chunk):
            X: Any = row_slice(block.X, start, start + n_chunk)
            X = sparse.to_scipy(X) if is_sparse else (X.bits.view(np.float16) if isinstance(X, Halves) else X)
            X = X.astype(np.float64, copy=False)
            logits = X @ self.params.coef.T + self.params.intercept
            proba = scipy.special.softmax(logits, axis=1) if exclusive else scipy.special.expit(logits)
            weight = block.weight[start : start + n_chunk]
            inner = proba if exclusive else proba * (1.0 - proba)
            roots = np.sqrt(weight)[:, np.newaxis] * np.sqrt(inner)  # of a class with itself
            outer = np.sqrt(weight)[:, np.newaxis] * proba if exclusive else None
            if is_sparse and self.mean is None:
                self._add_sparse(total, X, roots, outer)
            else:
                self._add_dense(total, X, roots, outer)
        if is_sparse and self.mean is None and self.factor is not None:
            factor = np.append(self.factor, np.ones(size - m))
            total *= factor * factor[:, np.newaxis]
        lower = np.concatenate([total[i, : i + 1] for i in range(size)]) if size else np.empty(0)
        return Sums(0.0, float(block.weight.sum()), lower, lower.shape)

    def _add_dense(self, total: Vector, X: Any, roots: Vector, outer: Vector | None) -> None:
        """Add the sums of some rows by dense columns."""
        used, first, among = np.unique(self.features, return_index=True, return_inverse=True)
        columns: Array = X[:, used] if len(used) < X.shape[1] else X
        if not isinstance(columns, np.ndarray):
            columns = columns.toarray()
        if self.mean is not None:
            columns = columns - self.mean[first]
        if self.factor is not None:
            columns = columns * self.factor[first]
        # A parameter a row: they are gathered by whole rows, not by entries.
        by_feature = np.ascontiguousarray(columns.T)
        by_class = np.ascontiguousarray(roots.T)
        m = len(self.classes)
        joint = None if outer is None else np.empty((len(total), len(columns)))
        for k in np.unique(np.concatenate((self.classes, self.intercepts))).tolist():
            start, stop = np.searchsorted(self.classes, (k, k + 1))
            root, of_class = by_class[k], by_feature[among[start:stop]]
            if outer is not None and joint is not None:
                np.multiply(of_class, outer[:, k], out=joint[start:stop])
            of_class *= root
            total[start:stop, start:stop] += of_class @ of_class.T
            for place in (m + np.flatnonzero(self.intercepts == k)).tolist():
                total[place, start:stop] += of_class @ root
                total[place, place] += root @ root
        if outer is not None and joint is not None:
            joint[m:] = outer.T[self.intercepts]
            # The lower triangle, in place: BLAS sees both arrays turned.
            blas.dsyrk(-1.0, joint.T, beta=1.0, c=total.T, trans=1, overwrite_c=1)

    def _add_sparse(self, total: Vector, X: Any, roots: Vector, outer: Vector | None) -> None:
        """Add the sums of some sparse rows, which are not centred, and not yet scaled."""
        import scipy.sparse

        m, n_rows = len(self.classes), X.shape[0]
        by_column = X.tocsc()
        lengths = np.diff(by_column.indptr)[self.features]
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        entries = np.repeat(by_column.indptr[self.features] - indptr[:-1], lengths) + np.arange(indptr[-1])
        places, data = by_column.indices[entries], by_column.data[entries]
        of_entries = np.repeat(self.classes, lengths)

        def scaled(factors: Vector) -> tuple[Any, Vector]:
            values = data * factors[places, of_entries]
            coef = scipy.sparse.csc_array((values, places, indptr), shape=(n_rows, m))
            return coef, factors[:, self.intercepts]

        by_class, ones = scaled(roots)
        for k in np.unique(np.concatenate((self.classes, self.intercepts))):
            start, stop = np.searchsorted(self.classes, (k, k + 1))
            chosen = by_class[:, start:stop]
            total[start:stop, start:stop] += (chosen.T @ chosen).toarray()
            for place in np.flatnonzero(self.intercepts == k):
                cross = chosen.T @ ones[:, place]
                total[start:stop, m + place] += cross
                total[m + place, start:stop] += cross
                total[m + place, m + place] += ones[:, place] @ ones[:, place]
        if outer is not None:
            joint, ones = scaled(outer)
            cross = joint.T @ ones
            total[:m, :m] -= (joint.T @ joint).toarray()
            total[:m, m:] -= cross
            total[m:, :m] -= cross.T
            total[m:, m:] -= ones.T @ ones

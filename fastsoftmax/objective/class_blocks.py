"""The blocks of a loss's Hessian, one a class, among a few parameters: a metric for quasi-Newton steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.special

from fastsoftmax import losses
from fastsoftmax.contracts import Csr, Halves, Sums
from fastsoftmax.contracts.storages import row_slice
from fastsoftmax.data import sparse
from fastsoftmax.linalg.coordinate_descent import Blocks
from fastsoftmax.linalg.sparse_blocks import SparseBlocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Loss, Params, RowBlock, Vector
    from fastsoftmax.contracts.device import PassDevice

# Rows are sampled where all of them take more flops than so many passes, but so many for each column.
BLOCK_PASSES, MIN_ROWS = 4, 4
BLOCK_CHUNK_BYTES = 2**20  # of rows that are read once for each class: a cache holds them
SPARSE_CHUNK_BYTES = 2**23  # of sparse rows' probabilities, some rows at a time
MAX_BLOCKS = 2**22  # entries; beyond, a sweep over them takes as long as a pass
CANCELLED = 1e-8  # the part of a raw square that centring leaves of it at least, before it is rounding
BLOCK_RIDGE, TINY = 1e-9, 1e-300


def lift_own(curvature: Vector, proba: Vector, target: NDArray[Any]) -> None:
    """Let a row's curvature by the logit of its own class be that of the parabola above its loss, in place.

    `curvature` and `proba` (n, K); `target` (n,) classes, or (n, K) parts. As a logit z against all others
    grows, −log p is below the parabola of curvature tanh(z / 2) / (2 z) through it [1]_, where p (1 − p) is
    that at the point alone: with hundreds of classes a few percent of it at the start, or where a row is
    far on the wrong side, and steps by it are as much too long.

    .. [1] T. Jaakkola, M. Jordan, "Bayesian parameter estimation via variational methods", Statistics and
       Computing 10 (2000), sec. 2.
    """
    own = target[:, np.newaxis] == np.arange(proba.shape[1]) if target.ndim == 1 else target > 0.0
    rows, classes = np.nonzero(own)
    p = proba[rows, classes]
    part = 1.0 if target.ndim == 1 else target[rows, classes]
    with np.errstate(divide="ignore"):
        z = np.abs(np.log(p) - np.log1p(-p))
    bound = np.full(len(z), 0.25)
    np.divide(np.tanh(0.5 * z), 2.0 * z, out=bound, where=z > 1e-4)
    curvature[rows, classes] += part * (bound - curvature[rows, classes])


def lift(diagonal: Vector) -> None:
    """Make a diagonal positive in place, by a little."""
    diagonal += BLOCK_RIDGE * diagonal.max(initial=0.0) + TINY


@dataclass(frozen=True, slots=True, eq=False)
class ClassBlocks:
    """Each class's part of the Hessian of Σ wᵢ ℓᵢ: that of its coefficients, then its intercept.

    That is Σ wᵢ pᵢₖ (1 − pᵢₖ) x xᵀ, of a softmax as of sigmoids; of sparse rows each row's own class has
    the curvature that bounds its loss (`lift_own`). In float64; of every row, or of one in a few: a metric
    need not be exact. At most one pass over X, and the flops of a few more.

    Parameters
    ----------
    params : Params
        For the rows as they are.
    classes, features : ndarray (m,), int
        Of the coefficients, by class.
    with_intercept : bool
    mean, factor : ndarray (d,), optional
        The rows' features are taken less the mean, and times the factor.
    """

    params: Params
    classes: NDArray[np.intp]
    features: NDArray[np.intp]
    with_intercept: bool
    mean: Vector | None = None
    factor: Vector | None = None

    def of_scaled(self, of_rows: Callable[[Params], Params], factor: Vector, mean: Vector) -> ClassBlocks:
        """Return the query to rows as they are, of one to rows less `mean` (d,) times `factor` (d,).

        `of_rows` changes parameters.
        """
        return replace(
            self, params=of_rows(self.params), mean=mean if mean.any() else None, factor=factor
        )  # fmt: skip

    @property
    def widths(self) -> NDArray[np.intp]:
        """The blocks' orders, (K,)."""
        counts = np.bincount(self.classes, minlength=len(self.params.intercept))
        return np.asarray(counts + self.with_intercept)

    @property
    def n_entries(self) -> int:
        """The entries of all blocks."""
        return int((self.widths**2).sum())

    def blocks(self, sums: Sums, curvature: Vector) -> Blocks:
        """Return the blocks of the mean loss and squares of this `curvature` (m,), from the query's answer.

        They are positive definite, by a little on the diagonal.
        """
        starts = np.concatenate(([0], np.cumsum(self.widths)))
        values = sums.coef / sums.weight if sums.weight > 0.0 else sums.coef.copy()
        offset = first = 0
        for width in self.widths.tolist():
            n_coefs = width - self.with_intercept
            block = values[offset : offset + width * width].reshape(width, width)
            diagonal = np.einsum("ii->i", block)
            diagonal[:n_coefs] += curvature[first : first + n_coefs]
            lift(diagonal)
            offset, first = offset + width * width, first + n_coefs
        return Blocks(starts, values)

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block of rows."""
        if isinstance(block.X, Csr):
            return self._on_sparse(loss, block)
        exclusive = losses.family_of(loss).SHIFT_INVARIANT
        used, columns_of = self._columns()
        totals = [np.zeros((width, width)) for width in self.widths.tolist()]
        stride = self._stride(block)
        stride = stride if block.weight[::stride].any() else 1
        width = 3 * len(totals) + block.X.shape[1] + 2 * (len(used) + 1)
        n_chunk = stride * max(64, BLOCK_CHUNK_BYTES // (8 * width))
        for start in range(0, block.n_rows, n_chunk):
            X: Any = row_slice(block.X, start, start + n_chunk)
            X = (X.bits.view(np.float16) if isinstance(X, Halves) else X)[::stride]
            X = X.astype(np.float64, copy=False)
            logits = X @ self.params.coef.T + self.params.intercept
            proba = scipy.special.softmax(logits, axis=1) if exclusive else scipy.special.expit(logits)
            weight = block.weight[start : start + n_chunk : stride]
            roots = np.sqrt(weight[:, np.newaxis] * proba * (1.0 - proba))
            columns = np.ones((len(X), len(used) + 1))
            columns[:, :-1] = X[:, used] if len(used) < X.shape[1] else X
            if self.mean is not None:
                columns[:, :-1] -= self.mean[used]
            if self.factor is not None:
                columns[:, :-1] *= self.factor[used]
            for k, places in enumerate(columns_of):
                of_class = columns[:, places] if len(places) < columns.shape[1] else columns
                of_class = of_class * roots[:, k : k + 1]
                totals[k] += of_class.T @ of_class
        joined = np.concatenate([total.ravel() for total in totals])
        return Sums(0.0, float(block.weight[::stride].sum()), joined, joined.shape)

    def _on_sparse(self, loss: Loss, block: RowBlock) -> Sums:
        """Return the answer for sparse rows: of all of them, where few meet the features of a class."""
        exclusive = losses.family_of(loss).SHIFT_INVARIANT
        n_outputs = len(self.params.intercept)
        coef = np.ascontiguousarray(self.params.coef.T)  # SciPy would copy it for each part of the rows
        blocks = SparseBlocks(self.classes, self.features, n_outputs, block.X.shape[1])
        total = blocks.empty()
        of_passes = BLOCK_PASSES * 4 * n_outputs * len(block.X.data)  # flops
        excess = int(blocks.flops(block.X.indptr, block.X.indices) // max(of_passes, 1))
        stride = max(1, min(excess, block.n_rows // (MIN_ROWS * max(1, int(self.widths.max())))))
        stride = stride if block.weight[::stride].any() else 1
        n_chunk = stride * max(64, SPARSE_CHUNK_BYTES // (8 * 3 * n_outputs))
        for start in range(0, block.n_rows, n_chunk):
            X = sparse.to_scipy(row_slice(block.X, start, start + n_chunk))
            X = (X[::stride] if stride > 1 else X).astype(np.float64, copy=False)
            logits = X @ coef + self.params.intercept
            proba = scipy.special.softmax(logits, axis=1) if exclusive else scipy.special.expit(logits)
            taken = slice(start, start + n_chunk, stride)
            curvature = proba * (1.0 - proba)
            lift_own(curvature, proba, block.target[taken])
            roots = np.sqrt(block.weight[taken, np.newaxis] * curvature)
            indptr, indices = (part.astype(np.int64, copy=False) for part in (X.indptr, X.indices))
            blocks.add(indptr, indices, X.data, np.ascontiguousarray(roots), total)
        joined, first, offset = [], 0, 0
        for width in blocks.widths.tolist():
            features = self.features[first : first + width - 1]
            part = total[offset : offset + width * width].reshape(width, width)
            self._shift(part, features)
            joined.append((part if self.with_intercept else part[:-1, :-1]).ravel())
            first, offset = first + width - 1, offset + width * width
        flat = np.concatenate(joined)
        return Sums(0.0, float(block.weight[::stride].sum()), flat, flat.shape)

    def _shift(self, total: Vector, features: NDArray[np.intp]) -> None:
        """Make the sums of (x, 1) those of ((x − mean) · factor, 1), in place."""
        if self.mean is not None:
            shift, ones, weight = self.mean[features], total[:-1, -1].copy(), total[-1, -1]
            raw = total.diagonal()[:-1].copy()
            total[:-1, :-1] += np.outer(weight * shift - ones, shift) - np.outer(shift, ones)
            total[:-1, -1] -= weight * shift
            total[-1, :-1] = total[:-1, -1]
            lost = np.flatnonzero(total.diagonal()[:-1] <= CANCELLED * raw)
            total[lost] = total[:, lost] = 0.0
            total[lost, lost] = CANCELLED * raw[lost]
        else:
            total[-1, :-1] = total[:-1, -1]  # only the column has been summed
        if self.factor is not None:
            total[:-1] *= self.factor[features][:, np.newaxis]
            total[:, :-1] *= self.factor[features]

    def _columns(self) -> tuple[NDArray[np.intp], list[NDArray[np.intp]]]:
        """Return the features in use, and each class's places among them; the intercept's is after them."""
        used = np.unique(self.features)
        classes = range(len(self.params.intercept))
        columns = [np.searchsorted(used, self.features[self.classes == k]) for k in classes]
        if self.with_intercept:
            columns = [np.append(places, len(used)) for places in columns]
        return used, columns

    def _stride(self, block: RowBlock) -> int:
        """Return how many rows there are for each that is taken."""
        n_outputs, widest = len(self.params.intercept), int(self.widths.max())
        of_a_row = 4 * n_outputs * block.X.shape[1]  # flops of a pass
        of_passes = BLOCK_PASSES * of_a_row * block.n_rows // max(self.n_entries, 1)
        return int(max(1, block.n_rows // max(MIN_ROWS * widest, of_passes)))

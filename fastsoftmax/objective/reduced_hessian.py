"""The Hessian of a mean loss among a few parameters, by NumPy and SciPy: nothing is compiled for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.contracts.storages import row_slice
from fastsoftmax.data import sparse

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Params, RowBlock, Vector

# Rows are taken some at a time, so that the arrays beside them take about so many bytes, whatever n.
CHUNK_BYTES = 2**23
BLOCK_PASSES, MIN_ROWS = 4, 4
BLOCK_CHUNK_BYTES = 2**20  # of rows that are read once for each class: a cache holds them


class Among(NamedTuple):
    """Which parameters: the classes and the features of m coefficients, by class, and of K' intercepts.

    `mean` (d,) is subtracted from dense rows, if given.
    """

    classes: NDArray[np.intp]
    features: NDArray[np.intp]
    intercepts: NDArray[np.intp]
    mean: Vector | None = None


def class_blocks(
    rows: RowBlock,
    params: Params,
    probabilities: Callable[[Vector], Vector],
    exclusive: bool,
    among: Among,
) -> list[Vector]:
    """Return the blocks of `reduced_hessian`, one a class: its coefficients, then its intercept.

    Notes
    -----
    float64. Of dense rows; of every row, or of one in a few: as many as take the flops of `BLOCK_PASSES`
    passes, but `MIN_ROWS` for each column of a block at least. A metric need not be exact.
    """
    n_outputs = len(params.intercept)
    with_intercept = len(among.intercepts) > 0
    chosen = [among.features[among.classes == k] for k in range(n_outputs)]
    blocks = [np.zeros((len(f) + with_intercept,) * 2) for f in chosen]
    used = np.unique(among.features)
    columns_of = [np.searchsorted(used, f) for f in chosen]
    if with_intercept:
        columns_of = [np.append(places, len(used)) for places in columns_of]
    width = 3 * n_outputs + rows.X.shape[1] + 2 * (len(used) + 1)
    squares, widest = sum(len(f) ** 2 for f in columns_of), max(map(len, columns_of))
    of_passes = BLOCK_PASSES * 4 * n_outputs * rows.X.shape[1] * rows.n_rows // max(squares, 1)
    stride = max(1, rows.n_rows // max(MIN_ROWS * widest, of_passes))
    weights = rows.weight[::stride]
    n_chunk = stride * max(64, BLOCK_CHUNK_BYTES // (8 * width))
    for start in range(0, rows.n_rows, n_chunk):
        X: Any = row_slice(rows.X, start, start + n_chunk)
        if stride > 1:
            X = X._replace(bits=X.bits[::stride]) if isinstance(X, Halves) else X[::stride]
        X = (X.bits.view(np.float16) if isinstance(X, Halves) else X).astype(np.float64, copy=False)
        proba = probabilities(X @ params.coef.T + params.intercept)
        chunk_weight = rows.weight[start : start + n_chunk : stride]
        roots = np.sqrt(chunk_weight[:, np.newaxis] * proba * (1.0 - proba))
        columns = np.ones((len(X), len(used) + 1))
        columns[:, :-1] = X[:, used] if len(used) < X.shape[1] else X
        if among.mean is not None:
            columns[:, :-1] -= among.mean[used]
        for k, places in enumerate(columns_of):
            of_class = columns[:, places] if len(places) < columns.shape[1] else columns
            of_class = of_class * roots[:, k : k + 1]
            blocks[k] += of_class.T @ of_class
    total = float(weights.sum())
    return [block / total for block in blocks] if total > 0.0 else blocks


def reduced_hessian(
    rows: RowBlock,
    params: Params,
    probabilities: Callable[[Vector], Vector],
    exclusive: bool,
    among: Among,
) -> Vector:
    """Return the Hessian (m + K', m + K') of Σ w ℓ / Σ w at `params`, of a softmax or of sigmoids.

    Parameters
    ----------
    rows : RowBlock
        Of a host's storage.
    params : Params
        For the rows as they are.
    probabilities : callable
        From logits (n, K) to probabilities.
    exclusive : bool
        Whether classes exclude each other: a softmax, whose curvature is diag p − p pᵀ; else p (1 − p).
    among : Among

    Notes
    -----
    float64. One reading of X; n m² flops for dense X, for sparse X the sum over rows of the squared number of
    entries that meet a coefficient.
    """
    size = len(among.classes) + len(among.intercepts)
    total = np.zeros((size, size))
    n_outputs = len(params.intercept)
    is_sparse = isinstance(rows.X, Csr)
    width = 3 * n_outputs if is_sparse else 3 * n_outputs + rows.X.shape[1] + 2 * size
    n_chunk = max(64, CHUNK_BYTES // (8 * width))
    add = _add_sparse if is_sparse else _add_dense
    for start in range(0, rows.n_rows, n_chunk):
        X: Any = row_slice(rows.X, start, start + n_chunk)
        X = sparse.to_scipy(X) if is_sparse else (X.bits.view(np.float16) if isinstance(X, Halves) else X)
        X = X.astype(np.float64, copy=False)
        proba = probabilities(X @ params.coef.T + params.intercept)
        weight = rows.weight[start : start + n_chunk]
        inner = proba if exclusive else proba * (1.0 - proba)
        roots = np.sqrt(weight)[:, np.newaxis] * np.sqrt(inner)  # of a class with itself
        outer = np.sqrt(weight)[:, np.newaxis] * proba if exclusive else None
        add(total, X, roots, outer, among)
    return total / float(rows.weight.sum())


def _add_dense(total: Vector, X: Array, roots: Vector, outer: Vector | None, among: Among) -> None:
    """Add the sums of some dense rows."""
    columns = X[:, among.features]
    if among.mean is not None:
        columns = columns - among.mean[among.features]
    classes = np.concatenate((among.classes, among.intercepts))
    columns = np.column_stack((columns, np.ones((len(X), len(among.intercepts)))))
    for k in np.unique(classes):
        places = np.flatnonzero(classes == k)
        of_class = columns[:, places] * roots[:, k : k + 1]
        total[np.ix_(places, places)] += of_class.T @ of_class
    if outer is not None:
        columns *= outer[:, classes]
        total -= columns.T @ columns


def _add_sparse(total: Vector, X: Any, roots: Vector, outer: Vector | None, among: Among) -> None:
    """Add the sums of some sparse rows, which are not centred."""
    import scipy.sparse

    m, n_rows = len(among.classes), X.shape[0]
    by_column = X.tocsc()
    lengths = np.diff(by_column.indptr)[among.features]
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    entries = np.repeat(by_column.indptr[among.features] - indptr[:-1], lengths) + np.arange(indptr[-1])
    places, data = by_column.indices[entries], by_column.data[entries]
    of_entries = np.repeat(among.classes, lengths)

    def scaled(factors: Vector) -> tuple[Any, Vector]:
        coef = scipy.sparse.csc_array((data * factors[places, of_entries], places, indptr), shape=(n_rows, m))
        return coef, factors[:, among.intercepts]

    by_class, ones = scaled(roots)
    for k in np.unique(np.concatenate((among.classes, among.intercepts))):
        start, stop = np.searchsorted(among.classes, (k, k + 1))
        chosen = by_class[:, start:stop]
        total[start:stop, start:stop] += (chosen.T @ chosen).toarray()
        for place in np.flatnonzero(among.intercepts == k):
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

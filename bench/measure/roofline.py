"""What a verb cannot avoid: bytes that cross the memory bus once, and flops, and the time that follows.

Whatever keeps to cached tiles moves X, the parameters and the results once, and holds no logits. A product of
X, of E entries, with K columns takes 2 E K flops. The prediction is the longer of two times, that of the
bytes at the rate of a parallel copy and that of the flops at the rate of a large square matrix product:

    predicted = max(bytes / bandwidth, flops / rate)

Nothing is predicted for exponentials, for the gathering of sparse columns, or for a call's own cost; and what
fits into a cache can be faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from bench.contenders import plain
from bench.measure.machine import limits
from bench.problems.arrays import RowData
from bench.problems.descriptions import computed

if TYPE_CHECKING:
    from bench.problems.arrays import HeadData, PassData

LABEL = 8  # bytes of a target, and of a predicted class


class Work(NamedTuple):
    """Bytes moved to and from memory, and flops of the matrix products."""

    bytes: int
    flops: int


class Traffic(NamedTuple):
    """How often a verb multiplies, and what it moves besides reading X once.

    `products` of 2 E K flops; arrays as large as the parameters, read or written; arrays as large as the
    targets; and how often X's own size is written.
    """

    products: int
    parameters: int
    labels: int
    results: int = 0


VERBS = {
    "value_and_grad": Traffic(products=2, parameters=2, labels=1),
    "hessp": Traffic(products=3, parameters=3, labels=0),  # two logits a row and class, and one way back
    "diagonal": Traffic(products=2, parameters=2, labels=0),
    "predict": Traffic(products=1, parameters=1, labels=1),
    "linear_cross_entropy": Traffic(products=1, parameters=1, labels=1),
    "linear_cross_entropy_grad": Traffic(products=3, parameters=2, labels=1, results=1),
}


def work_of(operation: str, data: PassData | HeadData | RowData) -> Work:
    """Count the work of an operation on a problem's arrays."""
    operation = plain(operation)
    if isinstance(data, RowData):
        return row_work(operation, data)
    if operation == "gram":
        return gram_work(data)
    X, verb = data.X, VERBS[operation]
    parameters = sum(a.nbytes for a in data[2:4] if isinstance(a, np.ndarray))
    moved = bytes_of(X) * (1 + verb.results) + verb.parameters * parameters + verb.labels * LABEL * X.shape[0]
    return Work(moved, verb.products * 2 * X.size * len(data.coef))


def gram_work(data: PassData) -> Work:
    """Count K triangles of Σ c x̃ x̃ᵀ, x̃ being a row with a one after it, and the logits before them."""
    n_classes, n_features = data.coef.shape
    per_row = (np.diff(data.X.indptr) if sp.issparse(data.X) else np.full(len(data.X), n_features)) + 1
    blocks = n_classes * (n_features + 1) ** 2 * data.X.dtype.itemsize
    moved = bytes_of(data.X) + data.coef.nbytes + data.intercept.nbytes + blocks
    return Work(moved, n_classes * (2 * data.X.size + int(np.sum(per_row.astype(np.int64) ** 2))))


def row_work(operation: str, data: RowData) -> Work:
    """Count the bytes of a row kernel: each entry read or written, once. It multiplies no matrices."""
    moved = data.logits.nbytes
    if operation != "logsumexp":
        moved += data.logits.nbytes  # the result
    if data.target.ndim == 2:
        moved += data.target.nbytes
    return Work(moved, 0)


def bytes_of(X: Any) -> int:
    """Give the bytes of a matrix as it is stored."""
    return sum(a.nbytes for a in (X.data, X.indices, X.indptr)) if sp.issparse(X) else X.nbytes


def noted(operation: str, data: PassData | HeadData | RowData, dtype: str) -> dict[str, Any]:
    """Give an operation's work, and the time predicted from what this process measured of the machine."""
    work, machine = work_of(operation, data), limits()
    bandwidth, rate = machine["copy_gb_per_s"], machine["gemm_gflop_per_s"][computed(dtype)]
    seconds = max(work.bytes / bandwidth, work.flops / rate) / 1e9
    return {"bytes": work.bytes, "flops": work.flops, "predicted_seconds": seconds}

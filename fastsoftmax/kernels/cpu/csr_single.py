"""A pass over sparse (CSR) rows of one output by rows alone: no transpose is needed.

Each part of the rows scatters into a gradient of its own. Products are float64, whatever the dtype of X.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels.cpu import partition
from fastsoftmax.kernels.cpu.verbs import Diagonal
from fastsoftmax.losses import family_of
from fastsoftmax.runtime.executor import run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Loss, Params, RowBlock

_sum_rows = Kernel("fastsoftmax.kernels.cpu.jitted.csr_single_output", "sum_rows")

# Entries of a part for each feature: a part's gradient has to be cleared and added, some 2 ns a feature,
# where an entry takes 2 to 4.
ENTRIES_PER_FEATURE = 1
MAX_PARTS = 8
NANOSECONDS = 3.0  # an entry, about


def n_parts(n_entries: int, n_features: int) -> int:
    """Return the number of parts of a block, by its shape alone."""
    return max(1, min(MAX_PARTS, n_entries // (ENTRIES_PER_FEATURE * max(1, n_features))))


def sums(
    verb: Any,
    loss: Loss,
    params: Params,
    block: RowBlock,
    bounds: NDArray[np.int64],
    n_threads: int | None,
    logits: Array | None,
) -> Sums:
    """Return the sums of a verb of one map over the rows of a sparse block of one output.

    `bounds` are those of the parts. 4 flops an entry; extra memory: X's entries in float64, and a gradient a
    part.
    """
    X: Any = block.X
    n_features = X.shape[1]
    data = block.empty(X.data.shape)
    np.copyto(data, X.data)
    target = block.target.reshape(len(block.target), -1).astype(np.float64, copy=False)
    kept = np.empty((0, 1)) if logits is None else logits.astype(np.float64, copy=False)
    parts = len(bounds) - 1
    values, intercepts = np.zeros(parts), np.zeros((parts, 1))
    gradients = block.zeros((parts, n_features))
    run(
        _sum_rows, bounds, verb, family_of(loss).in_float64(loss), isinstance(verb, Diagonal),
        data, X.indices, X.indptr, target, block.weight, params.coef.reshape(-1, 1),
        params.intercept.reshape(1, 1), partition.sparse_tile_rows(1, 1), kept, values, gradients, intercepts,
        work=NANOSECONDS * (len(data) + parts * n_features), n_threads=n_threads,
    )  # fmt: skip
    found = Sums.empty((1, n_features), 1, allocate=block.empty)
    np.sum(gradients, axis=0, out=found.coef[0])
    np.sum(intercepts, axis=0, out=found.intercept)
    return replace(found, value=math.fsum(values), weight=float(block.weight.sum()))

"""The derivative of the summed probabilities by an intercept shift, one vector added to all rows' logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums, row_slice
from fastsoftmax.losses import family_of

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Loss, Params, RowBlock, Vector

CHUNK_BYTES = 2**19  # of float64 logits: with four temporaries of this size they stay in a second-level cache
# Chunks whose logits are computed in one call, which may transpose the coefficients: many, to do so rarely,
# but they take 16 MiB.
COMPUTED_CHUNKS = 32


def sums(
    storage: Any,
    loss: Loss,
    params: Params,
    intercept_shift: Vector,
    block: RowBlock,
    n_threads: int | None,
    *,
    logits: Array | None,
    dtype: DType | None,
) -> Sums:
    """Return Σ wᵢ ∂pᵢ/∂sᵀ, (K, K) as `coef`, at the logits plus s, by the family's `shift_curvature`.

    `storage` is the module for X (`dense` or `csr`); `logits` (n, K), if given, are those of `params`. Reads
    X once, 2 n d K flops, unless the logits are given; 2 n K² more for a softmax. Extra memory: 16 MiB of
    logits at most, and 2 MiB of temporaries.
    """
    curvature = family_of(loss).shift_curvature
    n_outputs = len(intercept_shift)
    step = max(1, CHUNK_BYTES // (8 * n_outputs))
    total = np.zeros((n_outputs, n_outputs))
    for first in range(0, block.n_rows, COMPUTED_CHUNKS * step):
        chunk = slice(first, min(first + COMPUTED_CHUNKS * step, block.n_rows))
        if logits is None:
            z = storage.logits(params, row_slice(block.X, chunk.start, chunk.stop), n_threads, dtype)
        else:
            z = logits[chunk]
        weight = block.weight[chunk]
        for start in range(0, len(z), step):
            rows = slice(start, start + step)
            total += curvature(z[rows] + intercept_shift, weight[rows])
    return Sums(0.0, float(block.weight.sum()), total.reshape(-1), total.shape)

"""How the probabilities of all rows move together with what is added to every row's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import row_slice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, RowBlock

CHUNK_BYTES = 2**19  # of logits: they stay in cache with what is made of them
COMPUTED_CHUNKS = 32  # whose logits are computed together: the coefficients may be turned for it


def curvature(
    storage: Any,
    of_logits: Callable[[Any, Any], Any],
    params: Params,
    tilt: NDArray[np.float64],
    block: RowBlock,
    n_threads: int | None,
    *,
    logits: NDArray[Any] | None,
    dtype: Any,
) -> NDArray[np.float64]:
    """Return Σ wᵢ ∂pᵢ/∂tᵀ at the logits plus t, (K, K), by the loss's function of logits and weights.

    Reads X once, n d K flops, where the logits are not known; 2 n K² for a softmax. Holds at most 16 MiB of
    them, and 2 MiB of what is made of them.
    """
    step = max(1, CHUNK_BYTES // (8 * len(tilt)))
    total = np.zeros((len(tilt), len(tilt)))
    for first in range(0, block.n_rows, COMPUTED_CHUNKS * step):
        some = slice(first, min(first + COMPUTED_CHUNKS * step, block.n_rows))
        if logits is None:
            z = storage.logits(params, row_slice(block.X, some.start, some.stop), n_threads, dtype)
        else:
            z = logits[some]
        weight = block.weight[some]
        for start in range(0, len(z), step):
            here = slice(start, start + step)
            total += of_logits(z[here] + tilt, weight[here])
    return total

"""How the probabilities of all rows move together with what is added to every row's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import row_slice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, RowBlock

CHUNK_BYTES = 2**24


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

    Reads X once, n d K flops, where the logits are not known; 2 n K² for a softmax. Holds 16 MiB of them in
    float64 at a time.
    """
    step = max(1, CHUNK_BYTES // (8 * len(tilt)))
    total = np.zeros((len(tilt), len(tilt)))
    for start in range(0, block.n_rows, step):
        if logits is None:
            z = storage.logits(params, row_slice(block.X, start, start + step), n_threads, dtype)
        else:
            z = logits[start : start + step]
        total += of_logits(z + tilt, block.weight[start : start + step])
    return total

"""The CPU: verbs over a block of rows.

The choice between dense and sparse storage is one look-up, here; a new storage is a file with `sums` and
`logits`, and a line in the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.kernels.cpu import csr, dense, grams, shifts
from fastsoftmax.kernels.cpu.columns import columns
from fastsoftmax.kernels.cpu.indices import sparse_faults
from fastsoftmax.kernels.cpu.narrow import narrow, narrow_losses
from fastsoftmax.kernels.cpu.rows import (
    all_in_unit,
    count_targets,
    log_softmax,
    logsumexp,
    row_losses,
    sigmoid,
    small_cross_entropy,
    softmax,
)
from fastsoftmax.kernels.cpu.top import top
from fastsoftmax.kernels.cpu.verbs import Diagonal, Dual, Hessp, LossGrad

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Mixture, Params, RowBlock, Sums
    from fastsoftmax.memory import Memory

__all__ = [
    "all_in_unit",
    "columns",
    "count_targets",
    "diagonal",
    "dual",
    "float64_share",
    "gram",
    "has_room",
    "hessp",
    "log_softmax",
    "logits",
    "logsumexp",
    "loss_grad",
    "loss_grads",
    "narrow",
    "narrow_losses",
    "placed",
    "require",
    "row_losses",
    "shift_curvature",
    "sigmoid",
    "small_cross_entropy",
    "softmax",
    "sparse_faults",
    "top",
]

STORAGES: dict[type, Any] = {np.ndarray: dense, Halves: dense, Csr: csr}


def require() -> None:
    """Do nothing: there always is a CPU."""


def float64_share() -> float:
    """Return 1/2: half as many numbers to a register."""
    return 0.5


def has_room(n_bytes: int) -> bool:
    """Return True: rows are read where they are."""
    return True


def placed(block: RowBlock) -> RowBlock:
    """Return the block: it is where it is read."""
    return block


def _storage(X: Any) -> Any:
    return STORAGES[type(X)]


def loss_grad(
    loss: Any, params: Params, block: RowBlock, n_threads: int | None = None, **outputs: Any
) -> Sums:
    """Return Σ wᵢ ℓᵢ and its gradient over the rows of a block. One pass over X.

    `outputs` are those of the storage's `sums`: row_values, X_grad, coef_grad, dtype.
    """
    sums: Sums = _storage(block.X).sums(LossGrad(), loss, (params,), block, n_threads, **outputs)
    return sums


def loss_grads(
    loss: Any,
    params: list[Params],
    weights: NDArray[np.float64] | None,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: Any = None,
) -> list[Sums]:
    """Return Σ wᵢ ℓᵢ and its gradient for several parameters at once, each with weights (s, n) of its own.

    `weights` None gives all of them the block's. One reading of dense X for up to eight of them.
    """
    if weights is None:
        weights = np.broadcast_to(block.weight, (len(params), block.n_rows))
    sets = [(own,) for own in params]
    weights = np.ascontiguousarray(weights)
    sums: list[Sums] = _storage(block.X).many_sums(
        LossGrad(), loss, sets, block, weights, n_threads, dtype=dtype
    )
    return sums


def hessp(
    loss: Any,
    params: Params,
    direction: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: NDArray[Any] | None = None,
    dtype: Any = None,
) -> Sums:
    """Return the Hessian of Σ wᵢ ℓᵢ times a direction. One pass over X.

    `logits` (n, K), those of `params`, are not computed again where they are given.
    """
    maps = (params, direction)
    sums: Sums = _storage(block.X).sums(Hessp(), loss, maps, block, n_threads, logits=logits, dtype=dtype)
    return sums


def diagonal(
    loss: Any, params: Params, block: RowBlock, n_threads: int | None = None, *, dtype: Any = None
) -> Sums:
    """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ. One pass over X."""
    sums: Sums = _storage(block.X).sums(Diagonal(), loss, (params,), block, n_threads, dtype=dtype)
    return sums


def dual(
    loss: Any,
    params: Params,
    mixture: Mixture,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: NDArray[Any] | None = None,
    coef_grad: bool = True,
    dtype: Any = None,
) -> Sums:
    """Return Σ wᵢ Σ p̃ log p̃ and the residual sums of the mixed probabilities p̃. One pass.

    `logits` (n, K), those of `params`, are not computed again where they are given; without `coef_grad` the
    residuals are not multiplied by X.
    """
    verb = Dual(1, *mixture)
    outputs: dict[str, Any] = {"logits": logits, "coef_grad": coef_grad, "dtype": dtype}
    sums: Sums = _storage(block.X).sums(verb, loss, (params,), block, n_threads, **outputs)
    return sums


def shift_curvature(
    of_logits: Callable[[Any, Any], Any],
    params: Params,
    tilt: NDArray[np.float64],
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: NDArray[Any] | None = None,
    dtype: Any = None,
) -> NDArray[np.float64]:
    """Return Σ wᵢ ∂pᵢ/∂tᵀ at the logits plus t, (K, K), by a loss's `shift_curvature`.

    Reads X once, unless the `logits` (n, K) of `params` are given.
    """
    storage = _storage(block.X)
    return shifts.curvature(storage, of_logits, params, tilt, block, n_threads, logits=logits, dtype=dtype)


def gram(
    loss: Any,
    params: Params | None,
    pairs: bool,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: Any = np.float64,
    classes: tuple[int, int] | None = None,
) -> Sums:
    """Return the class blocks of the Hessian of Σ wᵢ ℓᵢ, or those of all pairs of classes, as `coef`.

    Of all classes, or from the first to before the last of `classes`. Without parameters, the Gram matrix of
    the rows: that of a curvature of 1.
    """
    return grams.sums(_storage(block.X), loss, params, pairs, block, n_threads, dtype=dtype, classes=classes)


def logits(
    params: Params,
    X: Any,
    n_threads: int | None = None,
    *,
    dtype: Any = None,
    out: NDArray[Any] | None = None,
    memory: Memory | None = None,
) -> NDArray[Any]:
    """Return X Wᵀ + b, (n, K), in the dtype that products with X are computed in; in `out` if given.

    What room that takes besides comes from `memory`.
    """
    z: NDArray[Any] = _storage(X).logits(params, X, n_threads, dtype, out, memory)
    return z

"""The verbs of the CPU device over a block of rows.

The choice between dense and sparse storage is one look-up, here. A new storage is a module with `sums`,
`many_sums`, `logits` and `columns`, and a line in `STORAGES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Halves, Sums
from fastsoftmax.kernels.cpu import corrections, csr, dense, exact, grams, intercept_shifts
from fastsoftmax.kernels.cpu.columns import columns
from fastsoftmax.kernels.cpu.half_precision import narrow, narrow_losses
from fastsoftmax.kernels.cpu.index_checks import sparse_faults
from fastsoftmax.kernels.cpu.plans import fit_plan, predict_plan
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
from fastsoftmax.losses import family_of, has_row_functions

if TYPE_CHECKING:
    from fastsoftmax.contracts import (
        Array,
        Centre,
        DType,
        Loss,
        Mixture,
        Params,
        Resident,
        RowBlock,
        Rows,
        Vector,
    )
    from fastsoftmax.runtime.buffers import BufferPool

__all__ = [
    "all_in_unit",
    "check",
    "columns",
    "corrected_dual",
    "count_targets",
    "diagonal",
    "dual",
    "fit_plan",
    "float64_speed",
    "gram",
    "has_memory",
    "hessp",
    "largest_norm",
    "least_gram",
    "log_softmax",
    "logits",
    "logsumexp",
    "loss_grad",
    "loss_grads",
    "narrow",
    "narrow_losses",
    "placed",
    "predict_plan",
    "require",
    "row_losses",
    "shift_curvature",
    "sigmoid",
    "small_cross_entropy",
    "softmax",
    "sparse_faults",
    "target_sum",
    "top",
]

STORAGES: dict[type, Any] = {np.ndarray: dense, Halves: dense, Csr: csr}


def _storage(X: Rows | Resident) -> Any:
    """Return the module for rows of this storage. Raises TypeError if there is none."""
    storage = STORAGES.get(type(X))
    if storage is None:
        known = ", ".join(kind.__name__ for kind in STORAGES)
        raise TypeError(f"device 'cpu' computes on rows stored as {known}; got {type(X).__name__}")
    return storage


def _known(loss: Loss) -> Loss:
    """Return the loss. Raises TypeError if it has no row functions."""
    if not has_row_functions(loss):
        raise TypeError(f"device 'cpu' knows no row functions of the loss {type(loss).__name__}")
    return loss


def require() -> None:
    """Do nothing: the CPU is always available."""


def float64_speed() -> float:
    """Return the speed of float64 products against float32: 1/2, as a register holds half as many numbers."""
    return 0.5


def has_memory(n_bytes: int) -> bool:
    """Return True: rows are read in place."""
    return True


def placed(block: RowBlock) -> RowBlock:
    """Return the block itself: rows are read in place."""
    return block


def loss_grad(
    loss: Loss,
    params: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    row_values: Array | None = None,
    X_grad: Array | None = None,
    coef_grad: bool = True,
    dtype: DType | None = None,
    stays: bool = False,
) -> Sums:
    """Return Σ wᵢ ℓᵢ in nats and its gradient over the rows of a block. One pass over X, 4 n d K flops.

    `row_values` (n,) and `X_grad` (n, d), if given, receive wᵢ ℓᵢ and wᵢ rᵢ W, with rᵢ = ∂ℓᵢ/∂zᵢ; without
    `coef_grad` the sums' `coef` is empty. `stays` has no effect: the sums are on the host.
    """
    sums: Sums = _storage(block.X).sums(
        LossGrad(), _known(loss), (params,), block, n_threads,
        row_values=row_values, X_grad=X_grad, coef_grad=coef_grad, dtype=dtype,
    )  # fmt: skip
    return sums


def check(loss: Loss, stored: Params, params: Params | None, block: RowBlock) -> Sums:
    """Return Σ wᵢ ℓᵢ in nats at `stored`, and its gradient at `params`, from float64 products, of few rows.

    Without `params` the sums' `coef` is empty, and their `intercept` zero. By NumPy: nothing is compiled.
    """
    return exact.check(_storage(block.X), _known(loss), stored, params, block)


def loss_grads(
    loss: Loss,
    params: list[Params],
    weights: Vector | None,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: DType | None = None,
) -> list[Sums]:
    """Return Σ wᵢ ℓᵢ and its gradient for each of s parameters, each with its own row of `weights` (s, n).

    `weights` None uses the block's weights for all. One reading of dense X for up to eight parameters.
    """
    if weights is None:
        weights = np.broadcast_to(block.weight, (len(params), block.n_rows))
    sets = [(each,) for each in params]
    weights = np.ascontiguousarray(weights)
    sums: list[Sums] = _storage(block.X).many_sums(
        LossGrad(), _known(loss), sets, block, weights, n_threads, dtype=dtype
    )
    return sums


def hessp(
    loss: Loss,
    params: Params,
    direction: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Array | None = None,
    dtype: DType | None = None,
    stays: bool = False,
) -> Sums:
    """Return the Hessian of Σ wᵢ ℓᵢ times a direction. One pass over X, 6 n d K flops.

    `logits` (n, K), if given, are those of `params`, which saves a third of the flops. `stays` has no effect:
    the sums are on the host.
    """
    maps = (params, direction)
    sums: Sums = _storage(block.X).sums(
        Hessp(), _known(loss), maps, block, n_threads, logits=logits, dtype=dtype
    )
    return sums


def diagonal(
    loss: Loss,
    params: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: DType | None = None,
) -> Sums:
    """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ. One pass over X, 4 n d K flops."""
    sums: Sums = _storage(block.X).sums(Diagonal(), _known(loss), (params,), block, n_threads, dtype=dtype)
    return sums


def dual(
    loss: Loss,
    params: Params,
    mixture: Mixture,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Array | None = None,
    coef_grad: bool = True,
    dtype: DType | None = None,
) -> Sums:
    """Return Σ wᵢ Σ p̃ log p̃ and the residual sums of the mixed probabilities p̃. One pass over X.

    `logits` (n, K), if given, are those of `params`; without `coef_grad` the residuals are not multiplied by
    X, and the sums' `coef` is empty.
    """
    sums: Sums = _storage(block.X).sums(
        Dual(1, *mixture), _known(loss), (params,), block, n_threads,
        logits=logits, coef_grad=coef_grad, dtype=dtype,
    )  # fmt: skip
    return sums


def shift_curvature(
    loss: Loss,
    params: Params,
    intercept_shift: Vector,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Array | None = None,
    dtype: DType | None = None,
) -> Sums:
    """Return Σ wᵢ ∂pᵢ/∂sᵀ, (K, K) as `coef`, at the logits plus the intercept shift s.

    One pass over X, or none if the `logits` (n, K) of `params` are given.
    """
    return intercept_shifts.sums(
        _storage(block.X), loss, params, intercept_shift, block, n_threads, logits=logits, dtype=dtype
    )


def corrected_dual(
    loss: Loss,
    params: Params,
    step: Params,
    shared: bool,
    mean: Vector | None,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Array | None = None,
    intercept_shift: Vector | None = None,
) -> Sums:
    """Return the dual sums of corrected probabilities: `corrections.dual`. One reading of X, by NumPy."""
    return corrections.dual(
        _storage(block.X), _known(loss), params, step, shared, mean, block, logits, n_threads, intercept_shift
    )


def least_gram(
    loss: Loss,
    params: Params,
    mean: Vector | None,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Array | None = None,
    dtype: DType | None = None,
) -> Sums:
    """Return the Gram matrix of rows weighted by their least curvatures, and the residual sums. By NumPy.

    `corrections.gram` describes both. `dtype` None is float64. One reading of X.
    """
    return corrections.gram(
        _storage(block.X), _known(loss), params, mean, block, logits, n_threads, np.dtype(dtype)
    )


def largest_norm(root: Array, mean: Vector | None, block: RowBlock, n_threads: int | None = None) -> float:
    """Return the largest ‖(xᵢ − mean, 1) root‖² of rows with a weight. By NumPy, one reading of X."""
    return corrections.largest_norm(_storage(block.X), root, mean, block, n_threads)


def target_sum(loss: Loss, block: RowBlock) -> Sums:
    """Return Σ wᵢ tᵢ of the smoothed targets as `intercept` (K,); `coef` is empty. Does not read X."""
    total = family_of(loss).weighted_target_sum(loss, block.target, block.weight)
    return Sums(0.0, float(block.weight.sum()), total, (0,))


def gram(
    loss: Loss,
    params: Params | None,
    pairs: bool,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: DType | type = np.float64,
    classes: tuple[int, int] | None = None,
    centre: Centre | None = None,
) -> Sums:
    """Return the diagonal class blocks of the Hessian of Σ wᵢ ℓᵢ, or all with `pairs`, as `coef`.

    `classes` (first, last) restricts them to classes first to before last. With `centre` (float64 only) they
    are those of centred rows, at the same logits. Without parameters: the Gram
    matrix of the rows, that of a curvature of 1. `grams.sums` describes the layout.
    """
    storage = _storage(block.X)
    return grams.sums(
        storage, _known(loss), params, pairs, block, n_threads, dtype=dtype, classes=classes, centre=centre
    )


def logits(
    params: Params,
    X: Rows | Resident,
    n_threads: int | None = None,
    *,
    dtype: DType | None = None,
    out: Array | None = None,
    buffers: BufferPool | None = None,
) -> Array:
    """Return the logits X Wᵀ + b, (n, K) C-ordered, in the dtype of products with X; in `out` if given.

    One pass over X, 2 n d K flops. Temporary arrays come from `buffers`.
    """
    z: Array = _storage(X).logits(params, X, n_threads, dtype, out, buffers)
    return z

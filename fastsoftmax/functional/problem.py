"""A cross-entropy of validated arguments: its loss, its rows, and the reduction of its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax import devices
from fastsoftmax.data import validation
from fastsoftmax.functional import arguments
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.simd.sizes import MAX_CLASSES

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, CrossEntropyOptions, DType, Loss, Vector


SMALL = 2**15  # elements; the kernel's time for more outweighs that of validation


def is_small(logits: Any, target: Any, ignore_index: Any, out: Array | None) -> bool:
    """Return whether the fast path for small arrays applies, whose validation is only this function."""
    return (
        type(logits) is np.ndarray
        and type(target) is np.ndarray
        and logits.ndim == 2
        and target.ndim == 1
        and 0 < logits.size <= SMALL
        and logits.shape[1] <= MAX_CLASSES
        and len(logits) == len(target)
        and target.dtype == np.int64
        and logits.dtype in arguments.FLOATS
        and logits.flags.c_contiguous
        and logits.flags.aligned
        and target.flags.c_contiguous
        and target.flags.aligned
        and type(ignore_index) is int
        and -(2**63) <= ignore_index < 2**63
        and (out is None or (arguments.is_free(out, logits) and not np.may_share_memory(out, target)))
    )


def small_value_and_grad(
    logits: Any, target: Any, ignore_index: int, reduction: str, out: Array | None
) -> tuple[float, Array]:
    """Return the mean or sum of plain cross-entropies and its gradient, by a single kernel call."""
    slopes = np.empty_like(logits) if out is None else out
    value, counted, bad = devices.host().small_cross_entropy(
        logits, target, ignore_index, reduction == "mean", slopes
    )
    if bad >= 0:
        raise ValueError(arguments.out_of_range(target[bad], logits.shape[1], ignore_index))
    return value if counted or reduction == "sum" else np.nan, slopes


class Problem(NamedTuple):
    """A cross-entropy of validated arguments; the loss has 1 / denominator in its weights.

    `x` (n, K) are the logits, `shape` their original shape and `dtype` that of results; `row_by_row` is
    reduction "none", `undefined` the mean over no rows.
    """

    loss: Loss
    x: Array
    target: Array
    weight: Vector | None
    ignore_index: int
    shape: tuple[int, ...]
    dtype: DType
    row_by_row: bool
    undefined: bool

    def slopes(self, out: Array | None) -> Array:
        """Return the array (n, K) for the gradient: `out` itself if the kernel can write to it."""
        if out is None:
            return np.empty_like(self.x)
        arguments.check_out(out, self.shape, self.dtype)
        free = out.flags.carray and out.dtype == self.x.dtype and self._may_be_overwritten_by(out)
        return np.asarray(out).reshape(self.x.shape) if free else np.empty_like(self.x)

    def _may_be_overwritten_by(self, out: Array) -> bool:
        """Return whether writing rows of `out`, which may be the logits, overwrites nothing read later."""
        read = [a for a in (self.x, self.target, self.weight, *self.loss) if isinstance(a, np.ndarray)]
        same = out.ctypes.data == self.x.ctypes.data
        return not any(np.may_share_memory(out, a) for a in read[same:])

    def solve(self, slopes: Array | None, out: Array | None = None) -> tuple[Any, Any]:
        """Return the reduced loss in nats, and the gradient if `slopes`, an array for it, is given."""
        row_values = np.zeros(len(self.x)) if self.row_by_row else None
        host = devices.host()
        value: Any
        if arguments.is_narrow(self.x.dtype):
            value = host.narrow_losses(
                self.loss, self.x.view(np.uint16), self.target, arguments.is_bf16(self.x.dtype),
                weight=self.weight, ignore_index=self.ignore_index, row_values=row_values,
                slopes=None if slopes is None else slopes.view(np.uint16),
            )  # fmt: skip
        else:
            value = host.row_losses(
                self.loss, self.x, self.target,
                weight=self.weight, ignore_index=self.ignore_index, row_values=row_values, slopes=slopes,
            )  # fmt: skip
        if row_values is not None:
            value = row_values.astype(self.dtype)
            value = value if len(self.shape) == 2 else value[0]
        elif self.undefined:
            value = np.nan  # the mean over no rows; all gradients are zero
        if slopes is None:
            return value, None
        grad = slopes.astype(self.dtype, copy=False).reshape(self.shape)
        if out is None:
            return value, grad
        if not arguments.is_same(out, grad):
            out[...] = grad
        return value, out


def checked_softmax(
    target: ArrayLike, shape: tuple[int, ...], x: Array, options: CrossEntropyOptions
) -> tuple[arguments.Target, Loss, CrossEntropyOptions]:
    """Return validated targets, the loss, and the options with weights as vectors.

    `shape` is the original shape of the logits, `x` their rows (n, K), whose numbers are not read. The loss
    is linear in its weights: dividing those divides value and gradient, at no cost a row.
    """
    options = arguments.check_options(options)
    n_rows, n_classes = x.shape
    options = options._replace(
        class_weight=arguments.weights("class_weight", options.class_weight, n_classes),
        sample_weight=arguments.weights("sample_weight", options.sample_weight, n_rows),
    )
    checked = arguments.target_of(target, shape, x, options)
    scale = arguments.scale_of(checked.weight, options.reduction)
    class_weight = options.class_weight
    loss = softmax.for_targets(
        checked.values,
        n_classes,
        class_weight=np.full(n_classes, scale) if class_weight is None else class_weight * scale,
        label_smoothing=options.label_smoothing,
        z_loss=options.z_loss * arguments.scale_of(checked.rows, options.reduction),
        softcap=options.softcap or 0.0,
    )
    return checked, loss, options


def softmax_problem(logits: ArrayLike, target: ArrayLike, options: CrossEntropyOptions) -> Problem:
    """Return the problem of a softmax cross-entropy; raises for invalid arguments."""
    arguments.check_options(options)
    x, shape, dtype = arguments.logits(logits)
    checked, loss, options = checked_softmax(target, shape, x, options)
    undefined = options.reduction == "mean" and not checked.weight
    row_by_row = options.reduction == "none"
    return Problem(
        loss,
        x,
        checked.values,
        options.sample_weight,
        options.ignore_index,
        shape,
        dtype,
        row_by_row,
        undefined,
    )


def sigmoid_problem(
    logits: ArrayLike,
    target: ArrayLike,
    class_weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    reduction: str,
) -> Problem:
    """Return the problem of a sigmoid cross-entropy; raises for invalid arguments."""
    arguments.check_reduction(reduction)
    x, shape, dtype = arguments.logits(logits)
    class_weight = arguments.weights("class_weight", class_weight, x.shape[1])
    sample_weight = arguments.weights("sample_weight", sample_weight, len(x))
    validation.refuse_masked("target", target)
    target = np.asarray(devices.hosted("target", target))
    if target.dtype.kind not in "fiub" and not arguments.is_narrow(target.dtype):
        raise TypeError(f"target must be real numbers; got {target.dtype}")
    if target.shape != shape:
        raise ValueError(f"target must have the shape of the logits, {shape}; got {target.shape}")
    compute = np.float32 if arguments.is_narrow(dtype) else dtype
    target = arguments.laid_out("target", target, compute).reshape(x.shape)
    if target.size and not devices.host().all_in_unit(target):
        raise ValueError(f"target must lie in [0, 1]; got {target.min()} to {target.max()}")
    denominator = len(x) if sample_weight is None else validation.total(sample_weight)
    scale = arguments.scale_of(denominator, reduction)
    weights = np.full(x.shape[1], scale) if class_weight is None else class_weight * scale
    loss = sigmoid.for_targets(target, x.shape[1], class_weight=weights)
    undefined = reduction == "mean" and not denominator
    return Problem(loss, x, target, sample_weight, -1, shape, dtype, reduction == "none", undefined)

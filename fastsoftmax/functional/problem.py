"""A cross-entropy whose arguments have been checked: its loss, its rows, and how its result is reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax import devices, validation
from fastsoftmax.functional import arguments
from fastsoftmax.kernels.tiles import MOST_CLASSES
from fastsoftmax.losses import sigmoid, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray


SMALL = 2**15  # elements; above, the time of the checks does not show


def is_small(logits: Any, target: Any, ignore_index: Any, out: Any) -> bool:
    """Whether this is a small call of the usual kind, which must not wait for all other questions."""
    return (
        type(logits) is np.ndarray
        and type(target) is np.ndarray
        and logits.ndim == 2
        and target.ndim == 1
        and 0 < logits.size <= SMALL
        and logits.shape[1] <= MOST_CLASSES
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
    logits: Any, target: Any, ignore_index: int, reduction: str, out: Any
) -> tuple[float, NDArray[Any]]:
    """Return the mean or sum of plain cross-entropies and its gradient, with one call of a kernel."""
    slopes = np.empty_like(logits) if out is None else out
    value, counted, bad = devices.get("cpu").small_cross_entropy(
        logits, target, ignore_index, reduction == "mean", slopes
    )
    if bad >= 0:
        raise ValueError(arguments.out_of_range(target[bad], logits.shape[1], ignore_index))
    return value if counted or reduction == "sum" else np.nan, slopes


class Problem(NamedTuple):
    """Checked arguments of a cross-entropy; the loss carries 1 / denominator in its weights."""

    loss: Any
    x: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[np.float64] | None
    ignore_index: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    row_by_row: bool
    undefined: bool

    def slopes(self, out: Any) -> NDArray[Any]:
        """Return where the kernel writes the gradient: `out` itself if it lies right."""
        if out is None:
            return np.empty_like(self.x)
        arguments.check_out(out, self.shape, self.dtype)
        free = out.flags.carray and out.dtype == self.x.dtype and self._may_be_overwritten_by(out)
        return np.asarray(out).reshape(self.x.shape) if free else np.empty_like(self.x)

    def _may_be_overwritten_by(self, out: NDArray[Any]) -> bool:
        """Whether writing a row of `out`, which may be the logits themselves, spoils nothing read later."""
        read = [a for a in (self.x, self.target, self.weight, *self.loss) if isinstance(a, np.ndarray)]
        same = out.ctypes.data == self.x.ctypes.data
        return not any(np.may_share_memory(out, a) for a in read[same:])

    def solve(self, slopes: NDArray[Any] | None, out: Any = None) -> tuple[Any, Any]:
        """Return the reduced loss, and the gradient where there is room for one."""
        row_values = np.zeros(len(self.x)) if self.row_by_row else None
        outputs = {
            "weight": self.weight,
            "ignore_index": self.ignore_index,
            "row_values": row_values,
            "slopes": slopes,
        }
        device = devices.get("cpu")
        value: Any
        if arguments.is_narrow(self.x.dtype):
            outputs["slopes"] = None if slopes is None else slopes.view(np.uint16)
            bits, brain = self.x.view(np.uint16), arguments.is_brain(self.x.dtype)
            value = device.narrow_losses(self.loss, bits, self.target, brain, **outputs)
        else:
            value = device.row_losses(self.loss, self.x, self.target, **outputs)
        if row_values is not None:
            value = row_values.astype(self.dtype)
            value = value if len(self.shape) == 2 else value[0]
        elif self.undefined:
            value = np.nan  # the mean of nothing; no row has a slope
        if slopes is None:
            return value, None
        grad = slopes.astype(self.dtype, copy=False).reshape(self.shape)
        if out is None:
            return value, grad
        if not arguments.is_same(out, grad):
            out[...] = grad
        return value, out


def softmax_problem(
    logits: Any,
    target: Any,
    class_weight: Any,
    sample_weight: Any,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    z_loss: float,
    softcap: float | None,
) -> Problem:
    """Return the checked problem of a softmax cross-entropy."""
    ignore_index = arguments.check_options(reduction, label_smoothing, z_loss, softcap, ignore_index)
    x, shape, dtype = arguments.logits(logits)
    class_weight = arguments.weights("class_weight", class_weight, x.shape[1])
    sample_weight = arguments.weights("sample_weight", sample_weight, len(x))
    checked = arguments.target_of(target, shape, x, class_weight, sample_weight, ignore_index)
    # The loss is linear in its weights: dividing them divides the value and the gradient, at no cost a row.
    share = arguments.share_of(checked.weight, reduction)
    loss = softmax.for_targets(
        checked.values,
        x.shape[1],
        class_weight=np.full(x.shape[1], share) if class_weight is None else class_weight * share,
        label_smoothing=label_smoothing,
        z_loss=z_loss * arguments.share_of(checked.rows, reduction),
        softcap=softcap or 0.0,
    )
    undefined = reduction == "mean" and not checked.weight
    return Problem(
        loss, x, checked.values, sample_weight, ignore_index, shape, dtype, reduction == "none", undefined
    )


def sigmoid_problem(
    logits: Any, target: Any, class_weight: Any, sample_weight: Any, reduction: str
) -> Problem:
    """Return the checked problem of a sigmoid cross-entropy."""
    arguments.check_reduction(reduction)
    x, shape, dtype = arguments.logits(logits)
    class_weight = arguments.weights("class_weight", class_weight, x.shape[1])
    sample_weight = arguments.weights("sample_weight", sample_weight, len(x))
    validation.refuse_masked("target", target)
    target = np.asarray(target)
    if target.dtype.kind not in "fiub" and not arguments.is_narrow(target.dtype):
        raise TypeError(f"target must be real numbers; got {target.dtype}")
    if target.shape != shape:
        raise ValueError(f"target must have the shape of the logits, {shape}; got {target.shape}")
    compute = np.float32 if arguments.is_narrow(dtype) else dtype
    target = arguments.laid_out("target", target, compute).reshape(x.shape)
    if target.size and not devices.get("cpu").all_in_unit(target):
        raise ValueError(f"target must lie in [0, 1]; got {target.min()} to {target.max()}")
    denominator = len(x) if sample_weight is None else validation.total(sample_weight)
    share = arguments.share_of(denominator, reduction)
    weights = np.full(x.shape[1], share) if class_weight is None else class_weight * share
    loss = sigmoid.for_targets(target, x.shape[1], class_weight=weights)
    undefined = reduction == "mean" and not denominator
    return Problem(loss, x, target, sample_weight, -1, shape, dtype, reduction == "none", undefined)

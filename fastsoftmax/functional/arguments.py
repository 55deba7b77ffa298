"""What the functions on logits take: checked, and laid out as the kernels read it."""

from __future__ import annotations

import math
import numbers
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastsoftmax import devices, validation

REDUCTIONS = ("mean", "sum", "none")
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def is_brain(dtype: Any) -> bool:
    """Whether a dtype is bfloat16, which NumPy does not have: the package ml_dtypes registers it."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def is_narrow(dtype: Any) -> bool:
    """Whether a dtype is float16 (in native byte order) or bfloat16."""
    return dtype == np.float16 or is_brain(dtype)


def is_free(out: Any, x: NDArray[Any]) -> bool:
    """Whether `out` is an array that can be written while the plain array x is read."""
    if type(out) is not np.ndarray or out.shape != x.shape or out.dtype != x.dtype:
        return False
    flags = out.flags
    return flags.carray and (out is x or not np.may_share_memory(out, x))


def is_same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays of one shape are the same elements in the same places."""
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and a.strides == b.strides


def check_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise unless `out` is a writeable ndarray of this shape and dtype."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray; got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out must be {dtype} {shape}; got {out.dtype} {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable; got a read-only array")


def logits(logits: Any) -> tuple[NDArray[Any], tuple[int, ...], np.dtype[Any]]:
    """Return logits as C-ordered (n, K) rows, their own shape, and the dtype of results."""
    validation.refuse_masked("logits", logits)
    a = np.asarray(logits)
    narrow = is_narrow(a.dtype)
    if a.dtype.kind not in "fiub" and not narrow:
        raise TypeError(f"logits must be real numbers; got {a.dtype}")
    if a.ndim not in (1, 2) or a.shape[-1] == 0:
        raise ValueError(f"logits must be (n, K) or (K,) with K ≥ 1; got shape {a.shape}")
    dtype = a.dtype if narrow or a.dtype in FLOATS else np.dtype(np.float64)
    rows = laid_out("logits", a, dtype).reshape(-1, a.shape[-1])
    return rows, a.shape, dtype


def laid_out(name: str, a: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return an array of numbers as a C-ordered one of this dtype, each at a multiple of its size."""
    if a.dtype.kind == "f" and a.dtype.itemsize > 8:
        a = validation.real(name, a)
    a = np.ascontiguousarray(a, dtype=dtype)
    return a if a.flags.aligned else a.copy()


def check_index(ignore_index: Any) -> int:
    """Return `ignore_index` as an integer that kernels take."""
    if not isinstance(ignore_index, numbers.Integral):
        raise TypeError(f"ignore_index must be an integer; got {ignore_index!r}")
    index = int(ignore_index)
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"ignore_index must be an integer of 64 bits; got {ignore_index!r}")
    return index


def weights(name: str, weights: Any, length: int) -> NDArray[np.float64] | None:
    """Return weights as float64 (length,), or None where none were given."""
    if weights is None:
        return None
    weight = np.atleast_1d(validation.real(name, weights))
    if weight.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},); got {weight.shape}")
    if not np.isfinite(weight).all() or weight.min(initial=0.0) < 0.0:
        raise ValueError(f"{name} must hold finite numbers that are not negative")
    return weight


def check_reduction(reduction: str) -> None:
    """Raise unless the reduction has a meaning."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}; got {reduction!r}")


def check_options(
    reduction: str, label_smoothing: float, z_loss: float, softcap: float | None, ignore_index: int
) -> int:
    """Raise unless the options of a softmax cross-entropy are in range; return `ignore_index` as an int."""
    check_reduction(reduction)
    ignore_index = check_index(ignore_index)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1]; got {label_smoothing!r}")
    if not math.isfinite(z_loss):
        raise ValueError(f"z_loss must be a finite number; got {z_loss!r}")
    if softcap is not None and not (math.isfinite(softcap) and softcap > 0.0):
        raise ValueError(f"softcap must be a positive number or None; got {softcap!r}")
    return ignore_index


class Target(NamedTuple):
    """Checked targets, and what "mean" divides by."""

    values: NDArray[Any]
    weight: float
    """Σ of sample weight × class weight of the target, over the rows that count: divides the loss."""
    rows: float
    """Σ of the sample weights of the rows that count: divides the z-loss, as in Liger Kernel."""


def target_of(
    target: Any,
    shape: tuple[int, ...],
    x: NDArray[Any],
    class_weight: NDArray[np.float64] | None,
    sample_weight: NDArray[np.float64] | None,
    ignore_index: int,
) -> Target:
    """Return checked targets.

    `shape` is that of the logits as they came, (n, K) or (K,); `x` are the logits as rows (n, K).
    """
    validation.refuse_masked("target", target)
    target = np.asarray(target)
    n_rows, n_classes = x.shape
    # As in PyTorch, probabilities are known by their shape.
    if target.shape == shape and not (target.dtype.kind in "iu" and shape == (1,)):
        if target.dtype.kind not in "fiub" and not is_narrow(target.dtype):
            raise TypeError(f"target must be real numbers; got {target.dtype}")
        if ignore_index >= 0:
            raise ValueError("ignore_index must be negative with probability targets, which it cannot meet")
        compute = np.float32 if is_narrow(x.dtype) else x.dtype
        soft = laid_out("target", target, compute).reshape(x.shape)
        weight = n_rows if sample_weight is None else validation.total(sample_weight)
        return Target(soft, weight, weight)
    if len(shape) == 1 and target.ndim == 0:
        target = target.reshape(1)
    if target.shape != (n_rows,):
        raise ValueError(
            f"target must have shape ({n_rows},), or that of the logits, {shape}; got {target.shape}"
        )
    if target.dtype.kind not in "iu":
        raise TypeError(f"target of shape ({n_rows},) must hold integers; got {target.dtype}")
    if target.dtype == np.uint64 and target.max(initial=0) > validation.LARGEST_LABEL:
        raise ValueError(out_of_range(target.max(), n_classes, ignore_index))  # as int64 it would be negative
    return _index_target(
        laid_out("target", target, np.int64), n_classes, ignore_index, class_weight, sample_weight
    )


def _index_target(
    target: NDArray[np.int64],
    n_classes: int,
    ignore_index: int,
    class_weight: NDArray[np.float64] | None,
    sample_weight: NDArray[np.float64] | None,
) -> Target:
    rows, weight, bad = devices.get("cpu").count_targets(
        target, n_classes, ignore_index, class_weight, sample_weight
    )
    if bad is not None:
        raise ValueError(out_of_range(target[bad], n_classes, ignore_index))
    return Target(target, weight, rows)


def out_of_range(label: Any, n_classes: int, ignore_index: int) -> str:
    """Return what is said of a label that is none."""
    return f"target must lie in [0, {n_classes}) or be ignore_index={ignore_index}; got {label}"


def share_of(total: float, reduction: str) -> float:
    """Return what a sum is multiplied by to be reduced; ValueError if the weights' sum cannot divide."""
    if reduction != "mean" or not total:
        return 1.0
    validation.check_divisor("weights", total)
    return 1.0 / total

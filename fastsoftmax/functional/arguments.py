"""Validation of the arguments of functions on logits, and their conversion to the kernels' layout."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import validation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Array, CrossEntropyOptions, DType, Vector

REDUCTIONS = ("mean", "sum", "none")
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def is_bf16(dtype: DType) -> bool:
    """Return whether a dtype is bfloat16, which the package ml_dtypes registers with NumPy."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def is_narrow(dtype: DType) -> bool:
    """Return whether a dtype is float16 (in native byte order) or bfloat16."""
    return dtype == np.float16 or is_bf16(dtype)


def is_free(out: Any, x: Array) -> bool:
    """Return whether `out` is a C-ordered array that may be written while x is read: x itself, or apart."""
    if type(out) is not np.ndarray or out.shape != x.shape or out.dtype != x.dtype:
        return False
    flags = out.flags
    return flags.carray and (out is x or not np.may_share_memory(out, x))


def is_same(a: Array, b: Array) -> bool:
    """Return whether two arrays of one shape share all their elements, each at the same address."""
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and a.strides == b.strides


def check_out(out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise TypeError or ValueError unless `out` is a writeable ndarray of this shape and dtype."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray; got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out must be {dtype} {shape}; got {out.dtype} {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable; got a read-only array")


def logits(logits: ArrayLike) -> tuple[Array, tuple[int, ...], DType]:
    """Return logits as C-ordered rows (n, K), their original shape, and the dtype of results."""
    validation.refuse_masked("logits", logits)
    a = np.asarray(devices.hosted("logits", logits))
    narrow = is_narrow(a.dtype)
    if a.dtype.kind not in "fiub" and not narrow:
        raise TypeError(f"logits must be real numbers; got {a.dtype}")
    if a.ndim not in (1, 2) or a.shape[-1] == 0:
        raise ValueError(f"logits must be (n, K) or (K,) with K ≥ 1; got shape {a.shape}")
    dtype = a.dtype if narrow or a.dtype in FLOATS else np.dtype(np.float64)
    rows = laid_out("logits", a, dtype).reshape(-1, a.shape[-1])
    return rows, a.shape, dtype


def laid_out(name: str, a: Array, dtype: Any) -> Array:
    """Return numbers as a C-ordered, aligned array of this dtype; a copy only if necessary."""
    if a.dtype.kind == "f" and a.dtype.itemsize > 8:
        a = validation.real(name, a)
    a = np.ascontiguousarray(a, dtype=dtype)
    return a if a.flags.aligned else a.copy()


def check_index(ignore_index: Any) -> int:
    """Return `ignore_index` as an int of 64 bits, as kernels take it."""
    if not isinstance(ignore_index, numbers.Integral):
        raise TypeError(f"ignore_index must be an integer; got {shown(ignore_index)}")
    index = int(ignore_index)
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"ignore_index must be an integer of 64 bits; got {shown(ignore_index)}")
    return index


def weights(name: str, weights: ArrayLike | None, length: int) -> Vector | None:
    """Return weights as float64 (length,), or None for None."""
    if weights is None:
        return None
    weight = np.atleast_1d(validation.real(name, weights))
    if weight.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},); got {weight.shape}")
    if not np.isfinite(weight).all() or weight.min(initial=0.0) < 0.0:
        raise ValueError(f"{name} must hold finite numbers that are not negative")
    return weight


def check_reduction(reduction: str) -> None:
    """Raise ValueError unless the reduction is one of REDUCTIONS."""
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}; got {shown(reduction)}"
        )


def check_options(options: CrossEntropyOptions) -> CrossEntropyOptions:
    """Return validated options of a cross-entropy, `ignore_index` as an int; weights are not validated."""
    check_reduction(options.reduction)
    ignore_index = check_index(options.ignore_index)
    if not 0.0 <= options.label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1]; got {shown(options.label_smoothing)}")
    if not math.isfinite(options.z_loss):
        raise ValueError(f"z_loss must be a finite number; got {shown(options.z_loss)}")
    softcap = options.softcap
    if softcap is not None and not (math.isfinite(softcap) and softcap > 0.0):
        raise ValueError(f"softcap must be a positive number or None; got {shown(softcap)}")
    return options._replace(ignore_index=ignore_index)


class Target(NamedTuple):
    """Validated targets, and the denominators of reduction "mean"."""

    values: Array
    weight: float
    """Σ of sample weight × class weight of the target, over the rows that count: divides the loss."""
    rows: float
    """Σ of the sample weights of the rows that count: divides the z-loss, as in Liger Kernel."""


def target_of(
    target: ArrayLike,
    shape: tuple[int, ...],
    x: Array,
    options: CrossEntropyOptions,
) -> Target:
    """Return validated targets: int64 (n,), or probabilities (n, K) in the dtype of computation.

    `shape` is the original shape of the logits, (n, K) or (K,); `x` are the logits as rows (n, K). The
    options are validated, with weights that are vectors or None.
    """
    class_weight, sample_weight, ignore_index = options[:3]
    validation.refuse_masked("target", target)
    target = np.asarray(devices.hosted("target", target))
    n_rows, n_classes = x.shape
    # As in PyTorch, probabilities are recognised by their shape.
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
    class_weight: Vector | None,
    sample_weight: Vector | None,
) -> Target:
    rows, weight, bad = devices.host().count_targets(
        target, n_classes, ignore_index, class_weight, sample_weight
    )
    if bad is not None:
        raise ValueError(out_of_range(target[bad], n_classes, ignore_index))
    return Target(target, weight, rows)


def out_of_range(label: Any, n_classes: int, ignore_index: int) -> str:
    """Return the message for a label out of range."""
    return f"target must lie in [0, {n_classes}) or be ignore_index={ignore_index}; got {label}"


def scale_of(total: float, reduction: str) -> float:
    """Return the factor of a reduction, 1 / total for "mean"; ValueError if that overflows."""
    if reduction != "mean" or not total:
        return 1.0
    validation.check_divisor("weights", total)
    return 1.0 / total

"""The functions of `fastsoftmax.functional` for arrays on the device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cuda import launch, rows
from fastsoftmax.kernels.cuda.external import taken
from fastsoftmax.kernels.cuda.runtime import arrays
from fastsoftmax.losses.softmax import SoftmaxIndex, SoftmaxProbability

if TYPE_CHECKING:
    from fastsoftmax.contracts import CrossEntropyOptions, DeviceArray
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers

FLOATS = (np.float16, np.float32, np.float64)


def along(
    name: str, x: Any, axis: int | tuple[int, ...] | None, out: Any = None, *, keepdims: bool = False
) -> Any:
    """Return softmax, log_softmax or logsumexp of an array along axes; None stands for all axes.

    The result is of x's library and dtype (float64 for integers), or is `out` if that is given.

    Raises
    ------
    TypeError
        If x does not hold real numbers.
    ValueError
        If `out` has another shape or dtype, or logsumexp has no element to sum.
    """
    device_array = taken(x)
    with device_array.stream():
        result = _along(name, _floats(device_array), axis, keepdims)
        if out is None:
            return device_array.given_back(result)
        _out_of(out, result)[...] = result
        return out


def _floats(device_array: DeviceArray) -> DeviceNumbers:
    """Return an array in a dtype of the kernels; integers and booleans become float64."""
    a = device_array.array
    if device_array.bf16 or a.dtype in FLOATS:
        return a
    if a.dtype.kind not in "iub":
        raise TypeError(f"an array on the device must hold real numbers of 16, 32 or 64 bits; got {a.dtype}")
    return a.astype(np.float64)


def _along(name: str, a: DeviceNumbers, axis: int | tuple[int, ...] | None, keepdims: bool) -> DeviceNumbers:
    """Return the function `name` of an array on the device along axes."""
    xp = arrays()
    every = tuple(range(a.ndim))
    summed = every if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, a.ndim)
    kept_axes = tuple(i for i in every if i not in summed)
    transposed = a.transpose(kept_axes + tuple(sorted(summed)))
    length = math.prod(a.shape[i] for i in summed)
    if name == "logsumexp":
        shape = tuple(1 if i in summed else a.shape[i] for i in every if keepdims or i not in summed)
        if length == 0:
            raise ValueError("logsumexp of an array on the device wants at least one element to sum")
        sums = launch.empty(math.prod(shape), a.dtype)
        rows.write_map(name, xp.ascontiguousarray(transposed).reshape(-1, length), sums)
        return sums.reshape(shape)
    if a.size == 0:
        return a.copy()
    lines = xp.ascontiguousarray(transposed).reshape(-1, length)
    out = launch.empty(lines.shape, a.dtype)
    rows.write_map(name, lines, out)
    return out.reshape(transposed.shape).transpose(np.argsort(kept_axes + tuple(sorted(summed))).tolist())


def cross_entropy(
    logits: Any, target: Any, options: CrossEntropyOptions, *, with_grad: bool, out: Any = None
) -> tuple[Any, Any]:
    """Return the cross-entropy of logits (n, K) on the device, () or (n,), in nats, and its gradient or None.

    The gradient (n, K), computed if `with_grad`, is in `out` if given. The options have been checked. The
    host waits once, for the check of the labels, and again for a z-loss under "mean".

    Raises
    ------
    ValueError
        If shapes do not fit, or a label is out of range.
    TypeError
        If the logits are not real numbers.
    """
    device_array = taken(logits)
    xp = arrays()
    ignore_index, sample_weight = options.ignore_index, options.sample_weight
    mean = options.reduction == "mean"
    with device_array.stream():
        x = xp.ascontiguousarray(_floats(device_array))
        if x.ndim != 2 or x.shape[1] == 0:
            raise ValueError(f"logits on the device must be (n, K) with K ≥ 1; got shape {x.shape}")
        n_rows, n_classes = x.shape
        targets = _target_of(target, x, ignore_index)
        row_weight = _weights("sample_weight", sample_weight, n_rows)
        class_weight = _weights("class_weight", options.class_weight, n_classes)
        if targets.ndim == 1:
            counted = row_weight * (targets != ignore_index)
            denominator = (counted * class_weight[xp.where(targets != ignore_index, targets, 0)]).sum()
        else:
            counted, denominator = row_weight, row_weight.sum()
        # The loss is linear in its weights, and dividing them on the device does not make the host wait.
        scale = 1.0 / xp.where(denominator == 0, 1.0, denominator) if mean else xp.ones(())
        z_loss = options.z_loss
        if mean and z_loss:
            z_loss = z_loss / (float(counted.sum()) or 1.0)
        numbers = options.label_smoothing, z_loss, options.softcap or 0.0
        loss = (
            SoftmaxIndex(class_weight * scale, 0.0, *numbers)
            if targets.ndim == 1
            else SoftmaxProbability(class_weight * scale, *numbers)
        )
        slopes = launch.empty(x.shape, x.dtype) if with_grad else None
        out_array = None if out is None else _out_of(out, x)
        if out_array is not None and out_array.flags.c_contiguous:
            slopes = out_array
        weight = None if sample_weight is None else row_weight
        values = rows.losses_of(loss, x, targets, weight=weight, ignore_index=ignore_index, slopes=slopes)
        if options.reduction == "none":
            result = _bf16_bits(values) if device_array.bf16 else values.astype(x.dtype)
        else:
            result = launch.total(values) if n_rows else xp.zeros(())
            result = xp.where(denominator == 0, np.nan, result) if mean else result
        if out_array is not None and out_array is not slopes:
            out_array[...] = slopes
        grad = out if out_array is not None else None if slopes is None else device_array.given_back(slopes)
        return device_array.given_back(result), grad


def _bf16_bits(values: DeviceNumbers) -> DeviceNumbers:
    """Return the bits of numbers rounded to bf16: to nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return arrays().where(values != values, np.uint32(0x7FFF), rounded).astype(np.uint16)


def _out_of(out: Any, x: DeviceNumbers) -> DeviceNumbers:
    """Return the caller's `out` as a device array. Raises ValueError unless it has x's shape and dtype."""
    out_array = taken(out).array
    if out_array.shape != x.shape or out_array.dtype != x.dtype:
        raise ValueError(f"out must be {x.dtype} {x.shape}; got {out_array.dtype} {out_array.shape}")
    return out_array


def _target_of(target: Any, x: DeviceNumbers, ignore_index: int) -> DeviceNumbers:
    """Return checked targets on the device, int64 (n,) or probabilities (n, K). Raises ValueError."""
    xp = arrays()
    targets = target if isinstance(target, np.ndarray) else taken(target).array
    targets = xp.asarray(targets)
    if targets.shape == x.shape:
        if ignore_index >= 0:
            raise ValueError("ignore_index must be negative with probability targets, which it cannot meet")
        return xp.ascontiguousarray(targets, dtype=np.float64 if x.dtype == np.float64 else np.float32)
    if targets.shape != (len(x),) or targets.dtype.kind not in "iu":
        raise ValueError(
            f"target must be integers ({len(x)},) or have the shape of the logits, {x.shape}; "
            f"got {targets.dtype} {targets.shape}"
        )
    targets = targets.astype(np.int64, copy=False)
    invalid = (targets != ignore_index) & ((targets < 0) | (targets >= x.shape[1]))
    if bool(invalid.any()):
        label = int(targets[invalid][0])
        raise ValueError(
            f"target must lie in [0, {x.shape[1]}) or be ignore_index={ignore_index}; got {label}"
        )
    return xp.ascontiguousarray(targets)


def _weights(name: str, weights: Any, length: int) -> DeviceNumbers:
    """Return weights on the device, float64 (length,); ones for None. Raises ValueError for another shape."""
    xp = arrays()
    if weights is None:
        return xp.ones(length)
    weight_array = weights if isinstance(weights, (np.ndarray, list, tuple)) else taken(weights).array
    weight_array = xp.asarray(weight_array, dtype=np.float64)
    if weight_array.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},); got {weight_array.shape}")
    return weight_array

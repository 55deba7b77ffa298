"""Functions of whole arrays on the device, with the meanings that `fastsoftmax.functional` gives them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cuda import launch, rows
from fastsoftmax.kernels.cuda.guests import taken
from fastsoftmax.kernels.cuda.runtime import arrays
from fastsoftmax.losses.softmax import SoftmaxIndex, SoftmaxProbability

if TYPE_CHECKING:
    from fastsoftmax.contracts import Guest

FLOATS = (np.float16, np.float32, np.float64)


def along(
    name: str, x: Any, axis: int | tuple[int, ...] | None, out: Any = None, *, keepdims: bool = False
) -> Any:
    """Return softmax, log_softmax or logsumexp of an array along some of its axes; None takes all of them.

    The result is of the kind that x is, or `out` where that is given.

    Raises
    ------
    TypeError
        If x does not hold real numbers.
    """
    guest = taken(x)
    with guest.stream():
        result = _along(name, _floats(guest), axis, keepdims)
        if out is None:
            return guest.given_back(result)
        room = taken(out).array
        if room.shape != result.shape or room.dtype != result.dtype:
            raise ValueError(f"out must be {result.dtype} {result.shape}; got {room.dtype} {room.shape}")
        room[...] = result
        return out


def _floats(guest: Guest) -> Any:
    """Return a guest's numbers in one of the formats of the kernels."""
    a = guest.array
    if guest.brain or a.dtype in FLOATS:
        return a
    if a.dtype.kind not in "iub":
        raise TypeError(f"an array on the device must hold real numbers of 16, 32 or 64 bits; got {a.dtype}")
    return a.astype(np.float64)


def _along(name: str, a: Any, axis: int | tuple[int, ...] | None, keepdims: bool) -> Any:
    xp = arrays()
    every = tuple(range(a.ndim))
    summed = every if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, a.ndim)
    left = tuple(i for i in every if i not in summed)
    turned = a.transpose(left + tuple(sorted(summed)))
    length = math.prod(a.shape[i] for i in summed)
    if name == "logsumexp":
        shape = tuple(1 if i in summed else a.shape[i] for i in every if keepdims or i not in summed)
        if length == 0:
            raise ValueError("logsumexp of an array on the device wants at least one element to sum")
        sums = launch.empty(math.prod(shape), a.dtype)
        rows.write_map(name, xp.ascontiguousarray(turned).reshape(-1, length), sums)
        return sums.reshape(shape)
    if a.size == 0:
        return a.copy()
    lines = xp.ascontiguousarray(turned).reshape(-1, length)
    out = launch.empty(lines.shape, a.dtype)
    rows.write_map(name, lines, out)
    return out.reshape(turned.shape).transpose(np.argsort(left + tuple(sorted(summed))).tolist())


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    with_grad: bool,
    class_weight: Any,
    sample_weight: Any,
    ignore_index: int,
    label_smoothing: float,
    reduction: str,
    z_loss: float,
    softcap: float | None,
    out: Any = None,
) -> tuple[Any, Any]:
    """Return the cross-entropy of logits on the device, () or (n,), and its gradient, in `out` if given.

    Options are those of `fastsoftmax.cross_entropy`, and have been checked. The host waits once, to see
    whether every label is one, and with a z-loss to be averaged a second time.

    Raises
    ------
    ValueError
        Wrong shapes, or a label out of range.
    """
    guest = taken(logits)
    xp = arrays()
    with guest.stream():
        x = xp.ascontiguousarray(_floats(guest))
        if x.ndim != 2 or x.shape[1] == 0:
            raise ValueError(f"logits on the device must be (n, K) with K ≥ 1; got shape {x.shape}")
        n_rows, n_classes = x.shape
        aim = _target_of(target, x, ignore_index)
        own = xp.ones(n_rows) if sample_weight is None else _weights("sample_weight", sample_weight, n_rows)
        factors = (
            xp.ones(n_classes) if class_weight is None else _weights("class_weight", class_weight, n_classes)
        )
        if aim.ndim == 1:
            counted = own * (aim != ignore_index)
            denominator = (counted * factors[xp.where(aim != ignore_index, aim, 0)]).sum()
        else:
            counted, denominator = own, own.sum()
        mean = reduction == "mean"
        # The loss is linear in its weights, and a division on the device makes no host wait.
        share = 1.0 / xp.where(denominator == 0, 1.0, denominator) if mean else xp.ones(())
        if mean and z_loss:
            z_loss = z_loss / (float(counted.sum()) or 1.0)
        numbers = factors * share, label_smoothing, z_loss, softcap or 0.0
        loss: Any = (
            SoftmaxIndex(numbers[0], 0.0, *numbers[1:]) if aim.ndim == 1 else SoftmaxProbability(*numbers)
        )
        slopes = launch.empty(x.shape, x.dtype) if with_grad else None
        room = None if out is None else taken(out).array
        if room is not None:
            if room.shape != x.shape or room.dtype != x.dtype:
                raise ValueError(f"out must be {x.dtype} {x.shape}; got {room.dtype} {room.shape}")
            slopes = room if room.flags.c_contiguous else slopes
        values = rows.losses_of(
            loss,
            x,
            aim,
            weight=None if sample_weight is None else own,
            ignore_index=ignore_index,
            slopes=slopes,
        )
        if reduction == "none":
            result = _brains(values) if guest.brain else values.astype(x.dtype)
        else:
            result = launch.total(values) if n_rows else xp.zeros(())
            result = xp.where(denominator == 0, np.nan, result) if mean else result
        if room is not None and room is not slopes:
            room[...] = slopes
        grad = out if room is not None else None if slopes is None else guest.given_back(slopes)
        return guest.given_back(result), grad


def _brains(values: Any) -> Any:
    """Return the bits of numbers rounded to bfloat16, of two equally near ones to the even."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return arrays().where(values != values, np.uint32(0x7FFF), rounded).astype(np.uint16)


def _target_of(target: Any, x: Any, ignore_index: int) -> Any:
    """Return checked targets: int64 (n,), or probabilities (n, K)."""
    xp = arrays()
    aim = target if isinstance(target, np.ndarray) else taken(target).array
    aim = xp.asarray(aim)
    if aim.shape == x.shape:
        if ignore_index >= 0:
            raise ValueError("ignore_index must be negative with probability targets, which it cannot meet")
        return xp.ascontiguousarray(aim, dtype=np.float64 if x.dtype == np.float64 else np.float32)
    if aim.shape != (len(x),) or aim.dtype.kind not in "iu":
        raise ValueError(
            f"target must be integers ({len(x)},) or have the shape of the logits, {x.shape}; "
            f"got {aim.dtype} {aim.shape}"
        )
    aim = aim.astype(np.int64, copy=False)
    strange = (aim != ignore_index) & ((aim < 0) | (aim >= x.shape[1]))
    if bool(strange.any()):
        bad = int(aim[strange][0])
        raise ValueError(f"target must lie in [0, {x.shape[1]}) or be ignore_index={ignore_index}; got {bad}")
    return xp.ascontiguousarray(aim)


def _weights(name: str, weights: Any, length: int) -> Any:
    """Return weights as float64 (length,)."""
    xp = arrays()
    own = weights if isinstance(weights, (np.ndarray, list, tuple)) else taken(weights).array
    own = xp.asarray(own, dtype=np.float64)
    if own.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},); got {own.shape}")
    return own

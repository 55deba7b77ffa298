"""Row kernels on logits in memory, (n, K) C-ordered: maps, losses and counts of targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

import fastsoftmax.losses.jitted  # noqa: F401 - registers the row functions
from fastsoftmax.kernels.cpu.jitted import few_classes
from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS, losses
from fastsoftmax.losses.row_functions import row_loss
from fastsoftmax.runtime.jit import INNER, inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd import compensated
from fastsoftmax.simd.elementwise import any_outside_unit, log_sigmoid_to, sigmoid_to
from fastsoftmax.simd.exponentials import exponential_sums, log_sum, plain_log_sum, scale, softmax_to
from fastsoftmax.simd.registers import differences_to
from fastsoftmax.simd.sizes import MAX_CLASSES


@inner
def softmax_range(x, out, start, stop, exact):
    """Write the softmax of rows start to stop of x (n, K) to out, which may be x.

    `exact`, here and below, is that of `emit_exp`, for rows of few classes.
    """
    if x.shape[1] <= MAX_CLASSES:
        few_classes.softmax_rows(x, out, start, stop, exact)
        return
    for i in range(start, stop):
        softmax_to(x[i], out[i])


@inner
def log_softmax_range(x, out, start, stop, exact):
    """Write the log-softmax of rows start to stop of x (n, K) to out, which may be x."""
    if x.shape[1] <= MAX_CLASSES:
        few_classes.log_softmax_rows(x, out, start, stop, exact)
        return
    for i in range(start, stop):
        shift, count, others = exponential_sums(x[i])
        if math.isfinite(shift):
            differences_to(x[i], out[i], shift, x.dtype.type(log_sum(count, others)))
        else:  # as SciPy, which shifts such rows by 0, so that infinities propagate
            log_total = plain_log_sum(x[i])
            for k in range(x.shape[1]):
                out[i, k] = x[i, k] - log_total


@inner
def logsumexp_range(x, out, start, stop, exact):
    """Write log Σ e^x of rows start to stop of x (n, K) to out (n,)."""
    if x.shape[1] <= MAX_CLASSES:
        few_classes.logsumexp_rows(x, out, start, stop, exact)
        return
    for i in range(start, stop):
        shift, count, others = exponential_sums(x[i])
        finite = math.isfinite(shift)
        out[i] = np.float64(shift) + log_sum(count, others) if finite else plain_log_sum(x[i])


@kernel(signatures=[f"{x}:2C,{x}:2C" for x in FLOATS])
def softmax(start, stop, part, x, out):
    """Write the softmax of rows start to stop of x (n, K) to out."""
    softmax_range(x, out, start, stop, True)


@kernel(signatures=[f"{x}:2C,{x}:2C" for x in FLOATS])
def log_softmax(start, stop, part, x, out):
    """Write the log-softmax of rows start to stop of x (n, K) to out."""
    log_softmax_range(x, out, start, stop, True)


@kernel(signatures=[f"{x}:2C,{x}:1C" for x in FLOATS])
def logsumexp(start, stop, part, x, out):
    """Write log Σ e^x of rows start to stop of x (n, K) to out (n,)."""
    logsumexp_range(x, out, start, stop, True)


@kernel(signatures=[f"{x}:1C,{x}:1C" for x in FLOATS])
def sigmoid(start, stop, part, x, out):
    """Write the sigmoid of elements start to stop of x to out, both flat."""
    sigmoid_to(x[start:stop], out[start:stop])


@kernel(signatures=[f"{x}:1C,{x}:1C" for x in FLOATS])
def log_sigmoid(start, stop, part, x, out):
    """Write the logarithm of the sigmoid of elements start to stop of x to out, both flat."""
    log_sigmoid_to(x[start:stop], out[start:stop])


@kernel(signatures=[f"{x}:1C,f8:2C" for x in FLOATS])
def outside_unit(start, stop, part, x, sums):
    """Write whether any of elements start to stop of a flat x lies outside [0, 1] to sums[part]."""
    sums[part, 0] = any_outside_unit(x[start:stop])


@kernel(signatures=[f"SoftmaxIndex(f8:1C,d,d,d,d),{x}:2C,i8:1C,f8:1C,q,f8:1C,{x}:2C,f8:2C" for x in FLOATS])
def small_index_losses(start, stop, part, loss, x, target, weight, ignore_index, row_values, slopes, sums):
    """Write Σ wᵢ ℓᵢ of rows start to stop, of a plain softmax loss of few classes, to sums[part]."""
    sums[part, 0] = few_classes.cross_entropy_rows(
        1.0, loss.class_weight, x, target, weight, ignore_index, start, stop, row_values, slopes, True
    )


def is_ignored(target: Any, ignore_index: int) -> bool:
    """Return whether an integer target equals `ignore_index`; False for a row of probabilities."""
    return np.ndim(target) == 0 and target == ignore_index


@overload(is_ignored, jit_options=INNER)
def _is_ignored(target, ignore_index):
    if isinstance(target, types.Integer):
        return lambda target, ignore_index: target == ignore_index
    return lambda target, ignore_index: False


@inner
def losses_range(loss, x, target, weight, ignore_index, start, stop, row_values, slopes):
    """Return Σ wᵢ ℓᵢ, a compensated sum, of rows start to stop, for any loss.

    Parameters
    ----------
    loss : named tuple
    x : array (n, K), float32 or float64
    target : array (n,) or (n, K)
    weight : array (n,), or empty for ones
    ignore_index : int
    start, stop : int
    row_values : array (n,), or empty
        Receives wᵢ ℓᵢ of the rows that are not ignored.
    slopes : array (n, K), of the dtype of x, or empty
        Receives wᵢ ∂ℓᵢ/∂x; may be x.
    """
    scratch = np.empty(x.shape[1], x.dtype)
    value = 0.0
    lost = 0.0
    for i in range(start, stop):
        slope = slopes[i] if slopes.size else scratch
        row_weight = weight[i] if weight.size else 1.0
        if row_weight == 0.0 or is_ignored(target[i], ignore_index):
            slope[:] = 0.0
            continue
        row_value = row_weight * row_loss(loss, x[i], slope, target[i])
        if row_weight != 1.0:
            scale(slope, row_weight)
        value, lost = compensated.add(value, lost, row_value)
        if row_values.size:
            row_values[i] = row_value
    return value


@kernel(
    signatures=[
        f"{loss},{x}:2C,{target},f8:1C,q,f8:1C,{x}:2C,f8:2C" for x in FLOATS for loss, target in losses(x)
    ]
)
def row_losses(start, stop, part, loss, x, target, weight, ignore_index, row_values, slopes, sums):
    """Write Σ wᵢ ℓᵢ of rows start to stop, of any loss, to sums[part]."""
    sums[part, 0] = losses_range(loss, x, target, weight, ignore_index, start, stop, row_values, slopes)


@kernel(signatures=["i8:1C,q,q,f8:1C,f8:1C,f8:2C"])
def count_targets(start, stop, part, target, n_classes, ignore_index, class_weight, sample_weight, sums):
    """Write Σ sample weight, Σ sample weight · class weight, and 1 + the row of a bad label to sums[part]."""
    if class_weight.size == 0 and sample_weight.size == 0:
        ignored = 0
        out_of_range = 0
        for i in range(stop - start):
            label = target[start + i]
            ignored += label == ignore_index
            # As an unsigned number a negative label is large: one comparison for both ends.
            out_of_range += (np.uint64(label) >= np.uint64(n_classes)) & (label != ignore_index)
        if out_of_range == 0:
            sums[part, 0] = stop - start - ignored
            sums[part, 1] = sums[part, 0]
            return
    rows = 0.0
    rows_lost = 0.0
    weight = 0.0
    weight_lost = 0.0
    for i in range(start, stop):
        label = target[i]
        if label == ignore_index:
            continue
        if label < 0 or label >= n_classes:
            sums[part, 2] = i + 1
            return
        row = sample_weight[i] if sample_weight.size else 1.0
        rows, rows_lost = compensated.add(rows, rows_lost, row)
        row_weight = row * (class_weight[label] if class_weight.size else 1.0)
        weight, weight_lost = compensated.add(weight, weight_lost, row_weight)
    sums[part, 0] = rows
    sums[part, 1] = weight


@kernel(signatures=[f"{x}:2C,i8:1C,q,?,{x}:2C,f8:1C" for x in FLOATS])
def plain_cross_entropy(start, stop, part, x, target, ignore_index, mean, slopes, result):
    """Write Σ ℓᵢ or its mean over the rows that are not ignored, their number, and the row of a bad label.

    A whole small call in one: checks, loss and, in `slopes` (n, K) unless empty, the gradient. The third
    number of `result` (3,) is the first row whose label is out of range, in which case nothing has been
    computed, or −1.
    """
    n_classes = x.shape[1]
    counted = 0
    result[2] = -1.0
    for i in range(start, stop):
        label = target[i]
        if label != ignore_index:
            counted += 1
            if label < 0 or label >= n_classes:
                result[2] = i
                return
    empty = np.empty(0)
    scale = 1.0 / counted if mean and counted else 1.0
    result[0] = few_classes.cross_entropy_rows(
        scale, empty, x, target, empty, ignore_index, start, stop, empty, slopes, True
    )
    result[1] = counted

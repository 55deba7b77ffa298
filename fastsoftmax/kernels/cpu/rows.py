"""Row kernels on logits in memory, (n, K) C-ordered: maps, losses and counts of targets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types
from numba.extending import overload

from fastsoftmax.kernels.cpu import few_classes
from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.losses.row_functions import row_loss
from fastsoftmax.losses.sigmoid import SUM_BLOCK, Sigmoid, side_by_side
from fastsoftmax.losses.softmax import SoftmaxIndex
from fastsoftmax.runtime.executor import Kernel, even_bounds, kernel, run
from fastsoftmax.runtime.jit import INNER, inner
from fastsoftmax.simd import compensated
from fastsoftmax.simd.elementwise import any_outside_unit, log_sigmoid_to, sigmoid_to
from fastsoftmax.simd.exponentials import exponential_sums, log_sum, plain_log_sum, scale, softmax_to
from fastsoftmax.simd.registers import differences_to
from fastsoftmax.simd.row_tiles import MAX_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Loss, Vector

NANOSECONDS = 0.8  # an element of a row kernel, about; decides whether threads are used
EMPTY = np.empty(0)
PART_SIZE = (
    2**15
)  # elements of a part, at least: some 26 µs, more than starting one costs; yet there are many


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


@kernel
def _softmax(start, stop, part, x, out):
    softmax_range(x, out, start, stop, True)


@kernel
def _log_softmax(start, stop, part, x, out):
    log_softmax_range(x, out, start, stop, True)


@kernel
def _logsumexp(start, stop, part, x, out):
    logsumexp_range(x, out, start, stop, True)


@kernel
def _sigmoid(start, stop, part, x, out):
    sigmoid_to(x[start:stop], out[start:stop])


@kernel
def _log_sigmoid(start, stop, part, x, out):
    log_sigmoid_to(x[start:stop], out[start:stop])


@kernel
def _outside_unit(start, stop, part, x, sums):
    sums[part, 0] = any_outside_unit(x[start:stop])


@kernel
def _small_index_losses(start, stop, part, loss, x, target, weight, ignore_index, row_values, slopes, sums):
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


@kernel
def _row_losses(start, stop, part, loss, x, target, weight, ignore_index, row_values, slopes, sums):
    sums[part, 0] = losses_range(loss, x, target, weight, ignore_index, start, stop, row_values, slopes)


@kernel
def _count_targets(start, stop, part, target, n_classes, ignore_index, class_weight, sample_weight, sums):
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


def over_rows(
    body: Kernel, n_rows: int, size: int, n_threads: int | None, *arguments: Any, n_sums: int = 0
) -> list[list[float]]:
    """Run a kernel over n_rows rows of `size` elements in all; return the sums of each part.

    With `n_sums` the kernel's last argument is a float64 array (parts, n_sums), returned as a list of lists.
    Small work calls the serial kernel directly: for 64 rows of ten, the executor would cost more.
    """
    n_parts = max(1, min(MAX_PARTS, size // PART_SIZE, n_rows))
    sums = np.zeros((n_parts, n_sums)) if n_sums else None
    if sums is not None:
        arguments = (*arguments, sums)
    if n_parts == 1:
        body.serial(0, n_rows, 0, *arguments)
    else:
        run(body, even_bounds(n_rows, n_parts), *arguments, work=NANOSECONDS * size, n_threads=n_threads)
    return [] if sums is None else sums.tolist()


def softmax(x: Array, out: Array, n_threads: int | None = None) -> None:
    """Write the softmax of each row of x (n, K) to out, which may be x."""
    over_rows(_softmax, len(x), x.size, n_threads, x, out)


def log_softmax(x: Array, out: Array, n_threads: int | None = None) -> None:
    """Write the logarithm of the softmax of each row of x (n, K) to out, which may be x."""
    over_rows(_log_softmax, len(x), x.size, n_threads, x, out)


def logsumexp(x: Array, out: Array, n_threads: int | None = None) -> None:
    """Write log Σ e^x of each row of x (n, K) to out (n,)."""
    over_rows(_logsumexp, len(x), x.size, n_threads, x, out)


def sigmoid(x: Array, out: Array, n_threads: int | None = None, *, log: bool = False) -> None:
    """Write 1 / (1 + e^(−x)), or its logarithm if `log`, to out (may be x); both C-ordered, of any shape.

    Raises ValueError if out is not C-ordered.
    """
    if not out.flags.c_contiguous:  # reshape would copy it, and the result be written to the copy
        raise ValueError("out must be C-ordered")
    body = _log_sigmoid if log else _sigmoid
    over_rows(body, x.size, x.size, n_threads, x.reshape(-1), out.reshape(-1))


def all_in_unit(x: Array, n_threads: int | None = None) -> bool:
    """Return whether all elements of a C-ordered array of any shape lie in [0, 1]; NaN does not."""
    outside = over_rows(_outside_unit, x.size, x.size, n_threads, x.reshape(-1), n_sums=1)
    return not any(found for (found,) in outside)


def is_small_and_plain(loss: Any, n_classes: int) -> bool:
    """Return whether `few_classes.cross_entropy_rows` computes this loss."""
    is_few = isinstance(loss, SoftmaxIndex) and n_classes <= MAX_CLASSES
    return is_few and loss.label_smoothing == loss.z_loss == loss.softcap == 0.0


def long_rows(
    loss: Any, x: Any, target: Any, slopes: Any, weight: Any, row_values: Any
) -> list[tuple[Any, Any, Any, Any]]:
    """Return (loss, logits, targets, slopes) of one or two problems in which short sigmoid rows are merged.

    Independent labels need not be kept by row, and short rows would leave registers empty: so several rows
    are seen as one long one, and the remaining rows are a second problem. Weighted rows, rows whose values
    are wanted, and rows of other losses are returned unchanged.
    """
    n_rows, n_classes = x.shape
    n_merged = min(SUM_BLOCK // n_classes, n_rows)
    if not isinstance(loss, Sigmoid) or weight is not None or row_values is not None or n_merged < 2:
        return [(loss, x, target, slopes)]
    whole = n_rows // n_merged * n_merged
    merged, remainder = (
        [a if a is None else a[rows] for a in (x, target, slopes)] for rows in np.s_[:whole, whole:]
    )
    merged = [a if a is None else a.reshape(-1, n_merged * n_classes) for a in merged]
    pieces = [(side_by_side(loss, n_merged), merged[0], merged[1], merged[2])]
    return pieces if whole == n_rows else [*pieces, (loss, remainder[0], remainder[1], remainder[2])]


def row_losses(
    loss: Loss,
    x: Array,
    target: Array,
    *,
    weight: Vector | None = None,
    ignore_index: int = -1,
    row_values: Vector | None = None,
    slopes: Array | None = None,
    n_threads: int | None = None,
) -> float:
    """Return Σ wᵢ ℓ(xᵢ, tᵢ) over the rows of x (n, K), in nats.

    Parameters
    ----------
    loss : named tuple
    x : array (n, K), float32 or float64, C-ordered
    target : array (n,) int64, or (n, K)
    weight : array (n,), float64, optional
    ignore_index : int
        Rows with this integer target, and rows of weight zero, contribute nothing, even if they hold NaN.
    row_values : array (n,), float64, optional
        Receives wᵢ ℓᵢ.
    slopes : array (n, K), of the dtype of x, optional
        Receives wᵢ ∂ℓᵢ/∂x; may be x.
    n_threads : int, optional

    Notes
    -----
    Reads x once. The sum over rows is compensated.
    """
    body = _small_index_losses if is_small_and_plain(loss, x.shape[1]) else _row_losses
    sums = [
        value
        for loss, x, target, slopes in long_rows(loss, x, target, slopes, weight, row_values)
        for (value,) in over_rows(
            body, len(x), x.size, n_threads, loss, x, target,
            EMPTY if weight is None else weight, ignore_index,
            EMPTY if row_values is None else row_values,
            np.empty((0, x.shape[1]), x.dtype) if slopes is None else slopes, n_sums=1,
        )
    ]  # fmt: skip
    return math.fsum(sums)


def count_targets(
    target: NDArray[np.int64],
    n_classes: int,
    ignore_index: int,
    class_weight: Vector | None,
    sample_weight: Vector | None,
) -> tuple[float, float, int | None]:
    """Return Σ sample weight and Σ sample weight × class weight over the rows that are not ignored.

    `target` is (n,), `class_weight` (n_classes,), `sample_weight` (n,); None stands for ones. The third
    result is the row of a label that is neither in [0, n_classes) nor `ignore_index`, or None.
    """
    sums = over_rows(
        _count_targets, len(target), len(target), None, target, n_classes, ignore_index,
        EMPTY if class_weight is None else class_weight,
        EMPTY if sample_weight is None else sample_weight, n_sums=3,
    )  # fmt: skip
    invalid_place = max(int(part[2]) for part in sums)
    rows, weight = (math.fsum(part[i] for part in sums) for i in (0, 1))
    return rows, weight, invalid_place - 1 if invalid_place else None


def small_cross_entropy(
    x: Array, target: NDArray[np.int64], ignore_index: int, mean: bool, slopes: Array
) -> tuple[float, int, int]:
    """Return Σ ℓᵢ or its mean, the number of rows counted, and the row of a bad label or −1, in one call.

    The plain softmax loss of few rows x (n, K); `slopes` (n, K), unless empty, receives its gradient
    (`few_classes.plain_cross_entropy`).
    """
    result: tuple[float, int, int] = few_classes.plain_cross_entropy(x, target, ignore_index, mean, slopes)
    return result

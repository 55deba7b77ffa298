"""Row kernels on logits in memory, (n, K) C-ordered: maps, losses and counts of targets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.losses.sigmoid import SUM_BLOCK, Sigmoid, side_by_side
from fastsoftmax.losses.softmax import SoftmaxIndex
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel
from fastsoftmax.simd.sizes import MAX_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Loss, Vector

_softmax = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "softmax")
_log_softmax = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "log_softmax")
_logsumexp = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "logsumexp")
_sigmoid = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "sigmoid")
_log_sigmoid = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "log_sigmoid")
_outside_unit = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "outside_unit")
_small_index_losses = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "small_index_losses")
_row_losses = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "row_losses")
_count_targets = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "count_targets")
_plain_cross_entropy = Kernel("fastsoftmax.kernels.cpu.jitted.rows", "plain_cross_entropy")

NANOSECONDS = 0.8  # an element of a row kernel, about; decides whether threads are used
EMPTY = np.empty(0)
PART_SIZE = (
    2**15
)  # elements of a part, at least: some 26 µs, more than starting one costs; yet there are many


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

    The plain softmax loss of few rows x (n, K); `slopes` (n, K), unless empty, receives its gradient.
    """
    result = np.empty(3)
    _plain_cross_entropy.serial(0, len(x), 0, x, target, ignore_index, mean, slopes, result)
    value, counted, bad = result.tolist()
    return value, int(counted), int(bad)

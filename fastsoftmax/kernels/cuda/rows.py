"""The row functions of `kernels.cpu.rows` for device arrays: C-ordered, bf16 as uint16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.kernels.cuda import loss_functions, maps
from fastsoftmax.kernels.cuda.launch import empty, form_of, launch, lead_of, pieces_of, total
from fastsoftmax.kernels.cuda.maps import FIRST, FUSED, SECOND
from fastsoftmax.kernels.cuda.packs import FORMATS
from fastsoftmax.kernels.cuda.runtime import arrays
from fastsoftmax.kernels.cuda.shapes import Shape, shape_of
from fastsoftmax.kernels.cuda.sigmoids import THREADS, sigmoid_kernel
from fastsoftmax.kernels.cuda.tallies import RECORD

if TYPE_CHECKING:
    from fastsoftmax.contracts import Loss, Vector
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers


def is_skewed(out: DeviceNumbers, x: DeviceNumbers) -> bool:
    """Return whether out and x, of one dtype, begin at different distances from a 16-byte boundary."""
    form = FORMATS[form_of(x.dtype)]
    return lead_of(out, form) != lead_of(x, form)


def stages(shape: Shape) -> tuple[int, ...]:
    """Return the stages, one launch each, that rows of a shape take."""
    return (FIRST, SECOND) if shape.split else (FUSED,)


def records(shape: Shape, real: type) -> DeviceNumbers:
    """Return the uninitialised records of the parts of one launch's rows; empty unless rows are split."""
    return empty(shape.rows * shape.parts * RECORD if shape.split else 0, real)


def write_map(name: str, x: DeviceNumbers, out: DeviceNumbers) -> None:
    """Write softmax, log_softmax or logsumexp of each row of x (n, K) to out, which may be x.

    Parameters
    ----------
    name : {"softmax", "log_softmax", "logsumexp"}
    x : array (n, K)
    out : array (n, K), or (n,) for logsumexp
        Of x's dtype.
    """
    n_rows, n_classes = x.shape
    name_of_form = form_of(x.dtype)
    form = FORMATS[name_of_form]
    shape = shape_of(n_rows, n_classes, lead_of(x, form), form, maps.LIMITS[name_of_form])
    row_records = records(shape, form.real)
    is_reduction = name == "logsumexp"
    for first, last in pieces_of(shape, n_rows):
        rows = x[first:last]
        results = out[first:last]
        for stage in stages(shape):
            kernel = maps.map_kernel(
                name, name_of_form, shape.whole_block, shape.packs, stage, shape.max_threads
            )
            launch(
                kernel, shape.blocks(last - first), shape.block, rows.reshape(-1), results.reshape(-1),
                row_records, last - first, n_classes, lead_of(rows, form), not is_reduction and
                is_skewed(results, rows), shape.bits, shape.parts,
            )  # fmt: skip


def write_sigmoid(x: DeviceNumbers, out: DeviceNumbers, log: bool) -> None:
    """Write 1 / (1 + e^(−x)), or its logarithm if `log`, to out, of x's shape and dtype; may be x."""
    name = form_of(x.dtype)
    form = FORMATS[name]
    lead = lead_of(x, form)
    packs = -(-(x.size + lead) // form.per_pack)
    kernel = sigmoid_kernel(bool(log), name)
    arguments = x.reshape(-1), out.reshape(-1), x.size, lead, is_skewed(out, x)
    launch(kernel, -(-packs // THREADS), THREADS, *arguments)


def losses_of(
    loss: Loss,
    x: DeviceNumbers,
    target: DeviceNumbers,
    *,
    weight: DeviceNumbers | None = None,
    ignore_index: int = -1,
    slopes: DeviceNumbers | None = None,
) -> DeviceNumbers:
    """Return wᵢ ℓ(xᵢ, tᵢ) of each row of x (n, K) in nats, (n,) float64 on the device; write `slopes`.

    Parameters
    ----------
    loss : named tuple
        Registered in `loss_functions`; TypeError otherwise.
    x : array (n, K)
    target : array (n,) int64, or (n, K)
    weight : array (n,), optional
    ignore_index : int
    slopes : array (n, K), optional
        Receives wᵢ ∂ℓᵢ/∂x, in x's dtype; may be x.
    """
    loss_kernels = loss_functions.of(loss).losses_of
    return loss_kernels(loss, x, target, weight=weight, ignore_index=ignore_index, slopes=slopes)


def row_losses(
    loss: Loss,
    x: DeviceNumbers,
    target: DeviceNumbers,
    *,
    weight: DeviceNumbers | None = None,
    ignore_index: int = -1,
    slopes: DeviceNumbers | None = None,
) -> DeviceNumbers:
    """Return Σ wᵢ ℓ(xᵢ, tᵢ) as an array () on the device; parameters as for `losses_of`."""
    return total(losses_of(loss, x, target, weight=weight, ignore_index=ignore_index, slopes=slopes))


class LossArguments(NamedTuple):
    """The arrays of a loss kernel beside the logits; optional ones that are not given are empty.

    A `target` of probabilities, `class_weight` and `weight` are of the format's type in registers; `values`
    (n,) is float64, uninitialised; `slopes` has the dtype of the logits.
    """

    target: DeviceNumbers
    class_weight: DeviceNumbers
    weight: DeviceNumbers
    values: DeviceNumbers
    slopes: DeviceNumbers


def loss_arguments(
    class_weight: DeviceNumbers,
    x: DeviceNumbers,
    target: DeviceNumbers,
    weight: DeviceNumbers | None,
    slopes: DeviceNumbers | None,
) -> LossArguments:
    """Return the arguments of a loss kernel for rows x (n, K), converted to the dtypes that it takes."""
    real = FORMATS[form_of(x.dtype)].real
    xp = arrays()
    return LossArguments(
        target.astype(real, copy=False) if target.ndim == 2 else target,
        xp.asarray(class_weight).astype(real),
        empty(0, real) if weight is None else xp.asarray(weight).astype(real),
        empty(len(x), np.float64),
        empty((0, x.shape[1]), x.dtype) if slopes is None else slopes,
    )


def mixed(p: DeviceNumbers, theta: float, q: Vector) -> DeviceNumbers:
    """Return (1 − θ) p + θ q, written over the probabilities p (m, K); q is (K,)."""
    p *= 1.0 - theta
    p += theta * q
    return p


def entropies(p: DeviceNumbers) -> DeviceNumbers:
    """Return p log p elementwise; 0 where p is 0."""
    xp = arrays()
    inside = xp.where(p > 0, p, 1)
    return inside * xp.log(inside)

"""Rows of logits on the device: what `kernels.cpu.rows` does, with arrays of the device in and out.

Arrays are C-ordered. bfloat16 is the uint16 of its bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastsoftmax.kernels.cuda import losses, maps
from fastsoftmax.kernels.cuda.launch import empty, form_of, launch, lead_of, pieces_of, total
from fastsoftmax.kernels.cuda.maps import FIRST, FUSED, SECOND
from fastsoftmax.kernels.cuda.packs import FORMATS
from fastsoftmax.kernels.cuda.runtime import arrays
from fastsoftmax.kernels.cuda.shapes import WARP_BLOCK, Shape, most_packs, shape_of, warp_block
from fastsoftmax.kernels.cuda.sigmoids import THREADS, sigmoid_kernel, sigmoid_loss_kernel
from fastsoftmax.kernels.cuda.tallies import RECORD
from fastsoftmax.losses.sigmoid import Sigmoid
from fastsoftmax.losses.softmax import SoftmaxIndex


def _is_skewed(out: Any, x: Any) -> bool:
    """Whether packs of out are no packs of memory where those of x are."""
    form = FORMATS[form_of(x.dtype)]
    return lead_of(out, form) != lead_of(x, form)


def _stages(shape: Shape) -> tuple[int, ...]:
    return (FIRST, SECOND) if shape.split else (FUSED,)


def _records(shape: Shape, real: Any) -> Any:
    """Return room for what the parts of as many rows as a launch takes come to."""
    return empty(shape.rows * shape.parts * RECORD if shape.split else 0, real)


def write_map(name: str, x: Any, out: Any) -> None:
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
    shape = shape_of(n_rows, n_classes, lead_of(x, form), form, maps.ROOM[name_of_form])
    records = _records(shape, form.real)
    whole = name == "logsumexp"
    for first, last in pieces_of(shape, n_rows):
        rows = x[first:last]
        results = out[first:last]
        for stage in _stages(shape):
            kernel = maps.map_kernel(
                name, name_of_form, shape.whole_block, shape.packs, stage, shape.most_threads
            )
            launch(
                kernel, shape.blocks(last - first), shape.block,
                rows.reshape(-1), results.reshape(-1), records, last - first, n_classes, lead_of(rows, form),
                not whole and _is_skewed(results, rows), shape.bits, shape.parts,
            )  # fmt: skip


def write_sigmoid(x: Any, out: Any, log: bool) -> None:
    """Write 1 / (1 + e^(−x)), or its logarithm, to out, which may be x."""
    name = form_of(x.dtype)
    form = FORMATS[name]
    lead = lead_of(x, form)
    packs = -(-(x.size + lead) // form.per_pack)
    kernel = sigmoid_kernel(bool(log), name)
    arguments = x.reshape(-1), out.reshape(-1), x.size, lead, _is_skewed(out, x)
    launch(kernel, -(-packs // THREADS), THREADS, *arguments)


def losses_of(
    loss: Any,
    x: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -1,
    slopes: Any = None,
) -> Any:
    """Return wᵢ ℓ(xᵢ, tᵢ) of each row of x (n, K) in nats, (n,) float64 on the device; fill `slopes`.

    Parameters
    ----------
    loss : SoftmaxIndex, SoftmaxProbability or Sigmoid
    x : array (n, K)
    target : array (n,) int64, or (n, K)
    weight : array (n,), optional
    ignore_index : int
    slopes : array (n, K), optional
        Receives wᵢ ∂ℓᵢ/∂x, in x's dtype; may be x.
    """
    name = form_of(x.dtype)
    real = FORMATS[name].real
    xp = arrays()
    numbers = xp.asarray(loss.class_weight).astype(real)
    values = empty(len(x), np.float64)
    row_weight = empty(0, real) if weight is None else xp.asarray(weight).astype(real)
    out = empty((0, x.shape[1]), x.dtype) if slopes is None else slopes
    if target.ndim == 2:
        target = target.astype(real, copy=False)
    if isinstance(loss, Sigmoid):
        _sigmoid_losses(loss, x, target, numbers, row_weight, values, out)
    else:
        _softmax_losses(loss, x, target, numbers, row_weight, values, out, ignore_index)
    return values


def _softmax_losses(
    loss: Any, x: Any, target: Any, numbers: Any, weight: Any, values: Any, out: Any, ignore_index: int
) -> None:
    n_rows, n_classes = x.shape
    name = form_of(x.dtype)
    form = FORMATS[name]
    plain = loss.label_smoothing == loss.z_loss == loss.softcap == 0.0
    kind = losses.SOFT if not isinstance(loss, SoftmaxIndex) else losses.PLAIN if plain else losses.LABEL
    shape = shape_of(n_rows, n_classes, lead_of(x, form), form, losses.ROOM[kind][name])
    records = _records(shape, form.real)
    options = [
        form.real(number)
        for number in (
            1.0 - loss.label_smoothing,
            loss.label_smoothing / n_classes,
            loss.z_loss,
            loss.softcap,
        )
    ]
    for first, last in pieces_of(shape, n_rows):
        rows, results = x[first:last], out[first:last]
        for stage in _stages(shape):
            kernel = losses.loss_kernel(kind, name, shape.whole_block, shape.packs, stage, shape.most_threads)
            launch(
                kernel, shape.blocks(last - first), shape.block,
                rows.reshape(-1), target[first:last].reshape(-1), numbers, weight[first:last],
                values[first:last], results.reshape(-1), records, last - first, n_classes,
                lead_of(rows, form), _is_skewed(results, rows), shape.bits, shape.parts,
                int(ignore_index), *options,
            )  # fmt: skip


def _sigmoid_losses(loss: Any, x: Any, target: Any, numbers: Any, weight: Any, values: Any, out: Any) -> None:
    n_rows, n_classes = x.shape
    name = form_of(x.dtype)
    form = FORMATS[name]
    lead = lead_of(x, form)
    wide = n_classes > 32 * form.per_pack
    bits = 8 if wide else min(5, (most_packs(n_classes, lead, form.per_pack) - 1).bit_length())
    block = THREADS if wide else warp_block(bits)
    kernel = sigmoid_loss_kernel(name, wide, THREADS if wide else WARP_BLOCK)
    launch(
        kernel, math.ceil((n_rows << bits) / block), block,
        x.reshape(-1), target.reshape(-1), numbers, weight, values, out.reshape(-1),
        n_rows, n_classes, lead, _is_skewed(out, x), bits,
        form.real(1.0 - loss.label_smoothing), form.real(0.5 * loss.label_smoothing),
    )  # fmt: skip


def row_losses(loss: Any, x: Any, target: Any, **options: Any) -> Any:
    """Return Σ wᵢ ℓ(xᵢ, tᵢ) as an array () on the device; parameters as for `losses_of`."""
    return total(losses_of(loss, x, target, **options))

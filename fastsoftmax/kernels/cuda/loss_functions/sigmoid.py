"""The sigmoid cross-entropy on the device. With p = σ(z): ∂²ℓ/∂z_k² = w_k p_k (1 − p_k)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastsoftmax.kernels.cuda import launch, rows
from fastsoftmax.kernels.cuda.loss_functions import LossOnDevice, register
from fastsoftmax.kernels.cuda.packs import FORMATS
from fastsoftmax.kernels.cuda.shapes import WARP_BLOCK, max_packs, warp_block
from fastsoftmax.kernels.cuda.sigmoids import THREADS, sigmoid_loss_kernel
from fastsoftmax.losses.sigmoid import Sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.contracts import DType, Vector
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers


def _losses(
    loss: Sigmoid,
    z: DeviceNumbers,
    target: DeviceNumbers,
    *,
    weight: DeviceNumbers | None = None,
    ignore_index: int = -1,
    slopes: DeviceNumbers | None = None,
) -> DeviceNumbers:
    given = rows.loss_arguments(loss.class_weight, z, target, weight, slopes)
    n_rows, n_classes = z.shape
    name = launch.form_of(z.dtype)
    form = FORMATS[name]
    lead = launch.lead_of(z, form)
    wide = n_classes > 32 * form.per_pack
    bits = 8 if wide else min(5, (max_packs(n_classes, lead, form.per_pack) - 1).bit_length())
    block = THREADS if wide else warp_block(bits)
    kernel = sigmoid_loss_kernel(name, wide, THREADS if wide else WARP_BLOCK)
    launch.launch(
        kernel, math.ceil((n_rows << bits) / block), block,
        z.reshape(-1), given.target.reshape(-1), given.class_weight, given.weight, given.values,
        given.slopes.reshape(-1), n_rows, n_classes, lead, rows.is_skewed(given.slopes, z), bits,
        form.real(1.0 - loss.label_smoothing), form.real(0.5 * loss.label_smoothing),
    )  # fmt: skip
    return given.values


def _probabilities(z: DeviceNumbers) -> DeviceNumbers:
    """Return the probabilities, written over the logits z (m, K)."""
    rows.write_sigmoid(z, z, False)
    return z


def _label_weights(loss: Sigmoid, weight: DeviceNumbers, dtype: DType) -> DeviceNumbers:
    return (weight[:, None] * loss.class_weight).astype(dtype)


def _hessp(
    loss: Sigmoid, z: DeviceNumbers, s: DeviceNumbers, target: DeviceNumbers, weight: DeviceNumbers
) -> DeviceNumbers:
    s *= _curvature(loss, z, target, weight)
    return s


def _curvature(
    loss: Sigmoid, z: DeviceNumbers, target: DeviceNumbers, weight: DeviceNumbers
) -> DeviceNumbers:
    p = _probabilities(z)
    return _label_weights(loss, weight, z.dtype) * (p * (1 - p))


def _hessian_columns(
    loss: Sigmoid,
    z: DeviceNumbers,
    target: DeviceNumbers,
    weight: DeviceNumbers,
    pairs: Sequence[tuple[int, int]],
) -> list[DeviceNumbers]:
    own = _curvature(loss, z, target, weight)
    return [own[:, k] if k == other else 0 * own[:, k] for k, other in pairs]


def _dual(
    loss: Sigmoid, z: DeviceNumbers, target: DeviceNumbers, theta: float, q: Vector
) -> tuple[DeviceNumbers, DeviceNumbers]:
    p = rows.mixed(_probabilities(z), theta, q)
    entropies = (rows.entropies(p) + rows.entropies(1 - p)).sum(axis=1)
    p -= 0.5 * loss.label_smoothing
    p -= (1.0 - loss.label_smoothing) * target
    return entropies, p


register(Sigmoid, LossOnDevice(_losses, _hessp, _curvature, _hessian_columns, _dual))

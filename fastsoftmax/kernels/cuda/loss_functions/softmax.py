"""The softmax cross-entropy on the device: losses and gradients in one kernel, the rest by array functions.

With A the sum of the classes' weights in a row's target, and p the softmax of its logits:
∂²ℓ/∂z² = A (diag(p) − p pᵀ).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.kernels.cuda import launch, losses, rows
from fastsoftmax.kernels.cuda.loss_functions import LossOnDevice, register
from fastsoftmax.kernels.cuda.packs import FORMATS
from fastsoftmax.kernels.cuda.products import THREADS, covariance_kernel
from fastsoftmax.kernels.cuda.runtime import MIN_THREADS, SIMULATED, WARP, arrays
from fastsoftmax.kernels.cuda.shapes import shape_of
from fastsoftmax.losses.softmax import SoftmaxIndex, SoftmaxProbability

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from fastsoftmax.contracts import DType, Vector
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers

    Softmax: TypeAlias = SoftmaxIndex | SoftmaxProbability


def _losses(
    loss: Softmax,
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
    plain = loss.label_smoothing == loss.z_loss == loss.softcap == 0.0
    kind = losses.SOFT if isinstance(loss, SoftmaxProbability) else losses.PLAIN if plain else losses.LABEL
    shape = shape_of(n_rows, n_classes, launch.lead_of(z, form), form, losses.LIMITS[kind][name])
    records = rows.records(shape, form.real)
    options = [
        form.real(number)
        for number in (
            1.0 - loss.label_smoothing,
            loss.label_smoothing / n_classes,
            loss.z_loss,
            loss.softcap,
        )
    ]
    for first, last in launch.pieces_of(shape, n_rows):
        x, results = z[first:last], given.slopes[first:last]
        for stage in rows.stages(shape):
            kernel = losses.loss_kernel(kind, name, shape.whole_block, shape.packs, stage, shape.max_threads)
            launch.launch(
                kernel, shape.blocks(last - first), shape.block,
                x.reshape(-1), given.target[first:last].reshape(-1), given.class_weight,
                given.weight[first:last], given.values[first:last], results.reshape(-1), records,
                last - first, n_classes, launch.lead_of(x, form), rows.is_skewed(results, x), shape.bits,
                shape.parts, int(ignore_index), *options,
            )  # fmt: skip
    return given.values


def _probabilities(z: DeviceNumbers) -> DeviceNumbers:
    """Return the probabilities, written over the logits z (m, K)."""
    rows.write_map("softmax", z, z)
    return z


def _mass(loss: Softmax, target: DeviceNumbers, weight: DeviceNumbers, dtype: DType) -> DeviceNumbers:
    """Return wᵢ Aᵢ, (m,): the factor of a row's curvature."""
    class_weight = loss.class_weight
    keep, spread = 1.0 - loss.label_smoothing, loss.label_smoothing / len(class_weight)
    own = class_weight[target] if isinstance(loss, SoftmaxIndex) else target @ class_weight
    return (weight * (keep * own + spread * class_weight.sum())).astype(dtype)


def _hessp(
    loss: Softmax, z: DeviceNumbers, s: DeviceNumbers, target: DeviceNumbers, weight: DeviceNumbers
) -> DeviceNumbers:
    p, mass = _probabilities(z), _mass(loss, target, weight, z.dtype)
    n_rows, n_classes = z.shape
    threads = MIN_THREADS if SIMULATED else THREADS if n_classes > WARP else WARP
    bits = (threads - 1).bit_length()
    kernel = covariance_kernel(z.dtype.name)
    launch.launch(kernel, n_rows, 1 << bits, p.reshape(-1), s.reshape(-1), mass, n_classes, bits)
    return s


def _curvature(
    loss: Softmax, z: DeviceNumbers, target: DeviceNumbers, weight: DeviceNumbers
) -> DeviceNumbers:
    p = _probabilities(z)
    return _mass(loss, target, weight, z.dtype)[:, None] * (p * (1 - p))


def _hessian_columns(
    loss: Softmax,
    z: DeviceNumbers,
    target: DeviceNumbers,
    weight: DeviceNumbers,
    pairs: Sequence[tuple[int, int]],
) -> list[DeviceNumbers]:
    p, mass = _probabilities(z), _mass(loss, target, weight, z.dtype)
    return [mass * p[:, k] * ((1 if k == other else 0) - p[:, other]) for k, other in pairs]


def _dual(
    loss: Softmax, z: DeviceNumbers, target: DeviceNumbers, theta: float, q: Vector
) -> tuple[DeviceNumbers, DeviceNumbers]:
    p = rows.mixed(_probabilities(z), theta, q)
    entropies = rows.entropies(p).sum(axis=1)
    keep = 1.0 - loss.label_smoothing
    p -= loss.label_smoothing / p.shape[1]
    if target.ndim == 1:
        p[arrays().arange(len(p)), target] -= keep
    else:
        p -= keep * target
    return entropies, p


FUNCTIONS = LossOnDevice(_losses, _hessp, _curvature, _hessian_columns, _dual)
for _kind in (SoftmaxIndex, SoftmaxProbability):
    register(_kind, FUNCTIONS)

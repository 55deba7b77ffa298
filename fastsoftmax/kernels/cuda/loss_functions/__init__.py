"""The functions of a loss on the device, and their registry.

A loss is a named tuple of its numbers. Its module defines five functions of the logits of a chunk of rows, as
device arrays, and registers them for the type: `register(YourLoss, LossOnDevice(…))`. Array functions
(`runtime.arrays()`) are enough to write them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.contracts import Loss, Vector
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers


class Losses(Protocol):
    """The losses of rows and their gradients."""

    def __call__(
        self,
        loss: Any,
        z: DeviceNumbers,
        target: DeviceNumbers,
        *,
        weight: DeviceNumbers | None = None,
        ignore_index: int = -1,
        slopes: DeviceNumbers | None = None,
    ) -> DeviceNumbers:
        """Return wᵢ ℓᵢ, (m,) float64, and write wᵢ ∂ℓᵢ/∂z to `slopes`, which may be z.

        In a pass z is float32 or float64, and weights are given. The verb `row_losses` also passes float16 or
        bf16 (as uint16), and ignores rows whose integer target is `ignore_index`.
        """


class CurvatureAlong(Protocol):
    """The Hessian of rows' losses times a direction."""

    def __call__(
        self,
        loss: Any,
        z: DeviceNumbers,
        s: DeviceNumbers,
        target: DeviceNumbers,
        weight: DeviceNumbers,
    ) -> DeviceNumbers:
        """Return wᵢ (∂²ℓᵢ/∂z²) sᵢ, (m, K) of z's dtype. z and s may be overwritten; the result may be s."""


class Curvature(Protocol):
    """The diagonals of the Hessians of rows' losses."""

    def __call__(
        self, loss: Any, z: DeviceNumbers, target: DeviceNumbers, weight: DeviceNumbers
    ) -> DeviceNumbers:
        """Return wᵢ ∂²ℓᵢ/∂z_k², (m, K) of z's dtype. z may be overwritten; the result may be z."""


class HessianColumns(Protocol):
    """Chosen elements of the Hessians of rows' losses."""

    def __call__(
        self,
        loss: Any,
        z: DeviceNumbers,
        target: DeviceNumbers,
        weight: DeviceNumbers,
        pairs: Sequence[tuple[int, int]],
    ) -> list[DeviceNumbers]:
        """Return wᵢ ∂²ℓᵢ/∂z_k∂z_l for each pair (k, l), (m,) of z's dtype each. z may be overwritten."""


class Dual(Protocol):
    """The entropies and residuals of mixed probabilities."""

    def __call__(
        self, loss: Any, z: DeviceNumbers, target: DeviceNumbers, theta: float, q: Vector
    ) -> tuple[DeviceNumbers, DeviceNumbers]:
        """Return Σ p̃ log p̃ of each row, (m,), and p̃ less the smoothed target, (m, K), without their weights.

        p̃ = (1 − θ) p + θ q, with the p of z, which is float64 and has been shifted; q (K,) is on the device.
        z may be overwritten.
        """


class LossOnDevice(NamedTuple):
    """The five functions of a loss on the device.

    Their arguments: `loss`, a named tuple of the type that they are registered for, with its arrays on the
    device; `z` (m, K), the logits of a chunk of rows, C-ordered; `target`, (m,) int64 or (m, K); `weight`
    (m,) float64. Each protocol says which arguments may be overwritten; target, weight and loss never are.
    """

    losses_of: Losses
    hessp: CurvatureAlong
    curvature: Curvature
    hessian_columns: HessianColumns
    dual: Dual


_LOSSES: dict[type, LossOnDevice] = {}


def register(kind: type, functions: LossOnDevice) -> None:
    """Register the functions of a loss by the type of its named tuple."""
    _LOSSES[kind] = functions


def of(loss: Loss) -> LossOnDevice:
    """Return the functions of a loss. Raises TypeError if none are registered."""
    functions = _LOSSES.get(type(loss))
    if functions is None:
        raise TypeError(f"device 'cuda' knows no row functions of the loss {type(loss).__name__}")
    return functions

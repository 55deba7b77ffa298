"""Parameter vectors that are on the device: sums over rows for them stay there, and no host waits."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Params, Sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Guest, RowBlock
    from fastsoftmax.protocols import Source


class Visiting:
    """The part of SoftmaxObjective for parameters that are on a GPU."""

    device: str
    l2: float
    fit_intercept: bool
    n_features: int
    n_classes: int
    n_params: int
    passes: int
    _device: Any
    _source: Source
    _loss: Any
    _dtype: Any

    def _visitor(self, params: Any) -> Guest | None:
        """Return parameters that are on a GPU as the device sees them, None for those of the host.

        Raises
        ------
        TypeError
            If they are on a GPU, and the objective is not.
        """
        there = devices.elsewhere(params)
        if there is None:
            return None
        devices.refuse_on_the_host(self.device, "params")
        visitor: Guest = there.taken(params)
        return visitor

    def _value_and_grad_there(self, visitor: Guest) -> tuple[Any, Any]:
        """Return F () and ∇F (n_params,) as arrays of the caller's kind."""
        with visitor.stream():
            here = self._unpacked_there("params", visitor.array)
            sums = self._sums_there(
                lambda block: self._device.loss_grad(self._loss, here, block, dtype=self._dtype, stays=True)
            )
            grad, square = self._flat_there(sums, here.coef)
            value = sums.value / sums.weight + 0.5 * self.l2 * square
            return visitor.given_back(value), visitor.given_back(grad)

    def _hessp_there(self, visitor: Guest, direction: Any) -> Any:
        """Return ∇²F · direction (n_params,) as an array of the caller's kind.

        The logits of the point are computed anew: to know that it is the last one's, the host would wait.
        """
        with visitor.stream():
            here = self._unpacked_there("params", visitor.array)
            other = self._visitor(direction)
            given = self._device.there(np.asarray(direction)) if other is None else other.array
            along = self._unpacked_there("direction", given)
            sums = self._sums_there(
                lambda block: self._device.hessp(
                    self._loss, here, along, block, dtype=self._dtype, stays=True
                )
            )
            return visitor.given_back(self._flat_there(sums, along.coef)[0])

    def _sums_there(self, verb: Callable[[RowBlock], Sums]) -> Sums:
        self.passes += 1
        return functools.reduce(Sums.__add__, self._source.map(verb))

    def _unpacked_there(self, name: str, vector: Any) -> Params:
        if vector.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be real numbers; got {vector.dtype}")
        if vector.shape != (self.n_params,):
            raise ValueError(f"{name} must have shape ({self.n_params},); got {vector.shape}")
        wide = vector.astype(np.float64)
        size = self.n_classes * self.n_features
        intercept = wide[size:] if self.fit_intercept else self._device.there(np.zeros(self.n_classes))
        return Params(wide[:size].reshape(self.n_classes, self.n_features), intercept)

    def _flat_there(self, sums: Sums, coef: Any) -> tuple[Any, Any]:
        """Return sums / Σ w + l2 · coef as one vector, and ‖coef‖²."""
        flat: Any = sums.joined[: self.n_params]
        square = self._device.penalise(flat[: coef.size], 1.0 / sums.weight, self.l2, coef.reshape(-1))
        flat[coef.size :] *= 1.0 / sums.weight
        return flat, square

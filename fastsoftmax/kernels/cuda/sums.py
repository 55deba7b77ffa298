"""The sums of a pass, which stay on the device until its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels.cuda.blocks import here
from fastsoftmax.kernels.cuda.runtime import arrays

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector
    from fastsoftmax.kernels.cuda.blocks import Matrix
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers


class DeviceSums:
    """Float64 sums on the device in one array: coef (K, d), intercept (K,) and value, all zero at first."""

    def __init__(self, n_outputs: int, n_features: int) -> None:
        size = n_outputs * n_features
        self._all = arrays().zeros(size + n_outputs + 1)
        self.coef = self._all[:size].reshape(n_outputs, n_features)
        self.intercept = self._all[size:-1]
        self.value = self._all[-1:]

    def add(
        self, X: Matrix, chunk: slice, dlogits: DeviceNumbers, *, squared: bool = False, coef: bool = True
    ) -> None:
        """Add Σ rᵢ, and Σ rᵢ xᵢᵀ (xᵢ² if `squared`) if `coef`, over a chunk with dlogits r (m, K)."""
        if coef:
            self.coef += X.back(chunk, dlogits, squared=squared)
        self.intercept += dlogits.sum(axis=0, dtype=np.float64)

    def sums(self, weight: Vector, *, stays: bool = False) -> Sums:
        """Return the sums on the host, which waits here, once a pass.

        With `stays` they stay on the device: the host does not wait, and the value is an array ().
        """
        found = self._all if stays else here(self._all)
        value: Any = found[-1:].reshape(()) if stays else float(found[-1])
        return Sums(value, float(weight.sum()), found[:-1], self.coef.shape)

"""What a pass adds up, on the device until it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels.cuda.blocks import here
from fastsoftmax.kernels.cuda.runtime import arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.kernels.cuda.blocks import Matrix


class DeviceSums:
    """Sums on the device, in one piece, and what becomes of them on the host."""

    def __init__(self, n_outputs: int, n_features: int) -> None:
        size = n_outputs * n_features
        self._all = arrays().zeros(size + n_outputs + 1)
        self.coef = self._all[:size].reshape(n_outputs, n_features)
        self.intercept = self._all[size:-1]
        self.value = self._all[-1:]

    def add(
        self, X: Matrix, chunk: slice, multipliers: Any, *, squared: bool = False, coef: bool = True
    ) -> None:
        """Add Σ multiplierᵢ xᵢᵀ and Σ multiplierᵢ."""
        if coef:
            self.coef += X.back(chunk, multipliers, squared=squared)
        self.intercept += multipliers.sum(axis=0, dtype=np.float64)

    def sums(self, weight: NDArray[np.float64], *, stays: bool = False) -> Sums:
        """Return them on the host; the only time that it waits for the device, and once.

        If they stay on the device it does not wait, and the value is an array () there.
        """
        found = self._all if stays else here(self._all)
        value = found[-1:].reshape(()) if stays else float(found[-1])
        return Sums(value, float(weight.sum()), found[:-1], self.coef.shape)

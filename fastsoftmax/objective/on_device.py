"""Values, gradients and products at parameters on a GPU: results stay there, and the host does not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Params
from fastsoftmax.contracts.queries import Hessp, LossGrad

if TYPE_CHECKING:
    from fastsoftmax.contracts import DeviceArray, DType, Sums
    from fastsoftmax.contracts.device import DeviceNumbers
    from fastsoftmax.contracts.protocols import Penalty
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout


def taken(params: DeviceNumbers, device: str, name: str = "params") -> DeviceArray | None:
    """Return parameters that are on a GPU as a `DeviceArray`, without a copy; None for those of the host.

    Raises
    ------
    TypeError
        If they are on a GPU and the objective's `device` is "cpu".
    """
    owner = devices.elsewhere(params)
    if owner is None:
        return None
    devices.refuse_on_the_host(device, name)
    return owner.taken(params)


class DeviceParams:
    """An objective at parameters that are on a GPU; results are arrays there, of the caller's library.

    Parameters
    ----------
    params : DeviceArray
    rows : CountedSource
    layout : Layout
    penalty : Penalty
    dtype : dtype or None
        The dtype of the products; None takes that of the rows.
    """

    def __init__(
        self, params: DeviceArray, rows: CountedSource, layout: Layout, penalty: Penalty, dtype: DType | None
    ) -> None:
        self._params, self._rows, self._layout = params, rows, layout
        self._penalty, self._dtype = penalty, dtype
        self._device = devices.accelerator()

    def value_and_grad(self) -> tuple[DeviceNumbers, DeviceNumbers]:
        """Return F in nats, an array (), and ∇F (n_params,). One pass over X."""
        with self._params.stream():
            params = self._unpacked("params", self._params.array)
            sums = self._rows.sum(LossGrad(params, self._dtype, stays=True))
            grad, penalty = self._flat(sums, params.coef)
            value = sums.value / sums.weight + penalty
            return self._params.given_back(value), self._params.given_back(grad)

    def hessp(self, direction: DeviceNumbers) -> DeviceNumbers:
        """Return the Hessian-vector product ∇²F · direction (n_params,). One pass over X.

        The logits are not kept from one call to the next: to compare the points, the host would have to wait.
        """
        with self._params.stream():
            params = self._unpacked("params", self._params.array)
            device_array = taken(direction, "cuda", "direction")
            flat = self._device.there(np.asarray(direction)) if device_array is None else device_array.array
            vector = self._unpacked("direction", flat)
            sums = self._rows.sum(Hessp(params, vector, self._dtype, stays=True))
            return self._params.given_back(self._flat(sums, vector.coef)[0])

    def _unpacked(self, name: str, vector: DeviceNumbers) -> Params:
        """Return a vector on the device as float64 coefficients and intercepts; `name` is for messages."""
        layout = self._layout
        if vector.dtype.kind not in "fiub":
            raise TypeError(f"{name} must be real numbers; got {vector.dtype}")
        if vector.shape != (layout.size,):
            raise ValueError(f"{name} must have shape ({layout.size},); got {vector.shape}")
        wide = vector.astype(np.float64)
        zeros = None if layout.fit_intercept else self._device.there(np.zeros(layout.n_classes))
        intercept = wide[layout.n_coef :] if zeros is None else zeros
        return Params(wide[: layout.n_coef].reshape(layout.n_classes, layout.n_features), intercept)

    def _flat(self, sums: Sums, coef: DeviceNumbers) -> tuple[DeviceNumbers, DeviceNumbers]:
        """Return sums / Σ w plus the penalty's gradient, flat, in place, and the penalty's value."""
        flat: DeviceNumbers = sums.joined[: self._layout.size]
        size = self._layout.n_coef
        value = self._penalty.add_gradient(self._device, flat[:size], 1.0 / sums.weight, coef.reshape(-1))
        flat[size:] *= 1.0 / sums.weight
        return flat, value

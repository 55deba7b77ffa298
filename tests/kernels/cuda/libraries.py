"""Other libraries' arrays on the device, as far as ours ask them: stand-ins that need none of the libraries.

In the simulator they lie over NumPy's memory.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import numpy as np

ON_A_GPU, ON_THE_HOST = (2, 0), (1, 0)  # DLPack's kinds of devices, and the number of one
STREAM = 7


class Lent:
    """An array of a library that has nothing but `__cuda_array_interface__`."""

    def __init__(self, a):
        self._a = a
        self.shape, self.dtype = a.shape, a.dtype

    def __getattr__(self, name):
        # By NumPy's own protocol the simulator's module of array functions, which is NumPy, takes it over.
        if name == "__cuda_array_interface__":
            return getattr(self._a, name, None) or self._a.__array_interface__
        if name == "__array_interface__" and isinstance(self._a, np.ndarray):
            return self._a.__array_interface__
        raise AttributeError(name)


class Exported:
    """What hands an array over by DLPack, when it is asked for it in the right way."""

    def __init__(self, a, where):
        self._a, self._where = a, where
        self.shape, self.dtype = a.shape, a.dtype

    def __dlpack_device__(self):
        return self._where

    def __dlpack__(self, **options):
        return self._a.__dlpack__(**options)

    def view(self, kind):
        return Exported(self._a.view(kind), self._where)


class Tensor:
    """PyTorch's, on a GPU and with a gradient: only what is detached can be handed over."""

    device = "cuda:0"

    def __init__(self, a, dtype=None):
        self.a = a
        self.shape, self.dtype = a.shape, a.dtype if dtype is None else dtype

    def __dlpack_device__(self):
        return ON_A_GPU

    def __dlpack__(self, **options):
        raise RuntimeError("a tensor that requires grad cannot be exported")

    def detach(self):
        return Exported(self.a, ON_THE_HOST)  # NumPy takes no other

    def view(self, dtype):
        return Tensor(self.a, dtype)

    def __getitem__(self, where):
        return Tensor(self.a[where])


Tensor.__module__ = "torch"


def torch():
    """Return a module in PyTorch's place."""
    module = ModuleType("torch")
    module.bfloat16, module.int16 = "bfloat16", np.int16
    module.from_dlpack = Tensor
    module.cuda = SimpleNamespace(current_stream=lambda device: SimpleNamespace(cuda_stream=STREAM))
    return module

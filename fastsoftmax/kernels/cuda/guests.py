"""Arrays of other libraries that are on the device already: used where they lie, on their own stream.

CuPy's arrays, PyTorch's CUDA tensors, and whatever else has `__cuda_array_interface__` or `__dlpack__`. A
result is of the kind that came in; of a library that cannot be asked to take one over it is CuPy's.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.cuda.runtime import arrays, cuda

if TYPE_CHECKING:
    from collections.abc import Callable


class Guest(NamedTuple):
    """An array as CuPy sees it, without a copy.

    `array` (bfloat16 as uint16: `brain` tells it from integers), `given_back` from such an array to the
    caller's kind, and `stream`, a context in which launches go to the caller's stream.
    """

    array: Any
    given_back: Callable[[Any], Any]
    stream: Any
    brain: bool = False


def taken(x: Any) -> Guest:
    """Return an array of the device, whose ever it is."""
    xp = arrays()
    if isinstance(x, xp.ndarray):
        return _own(x)
    library = type(x).__module__.partition(".")[0]
    if library == "torch":
        return _torch(x)
    if library in ("numba", "numba_cuda"):
        return Guest(xp.asarray(x), cuda.as_cuda_array, contextlib.nullcontext())
    shared = xp.asarray(x) if hasattr(x, "__cuda_array_interface__") else xp.from_dlpack(x)
    return Guest(shared, lambda result: result, contextlib.nullcontext())


def _own(x: Any) -> Guest:
    brain = x.dtype.name == "bfloat16"
    array = x.view(np.uint16) if brain else x

    def given_back(result: Any) -> Any:
        return result.view(x.dtype) if brain and result.dtype == np.uint16 else result

    return Guest(array, given_back, contextlib.nullcontext(), brain)


def _torch(x: Any) -> Guest:
    import torch

    xp = arrays()
    brain = x.dtype == torch.bfloat16
    plain = x.detach()
    array = xp.from_dlpack(plain.view(torch.int16)).view(np.uint16) if brain else xp.from_dlpack(plain)

    def given_back(result: Any) -> Any:
        if brain and result.dtype == np.uint16:
            return torch.from_dlpack(result.view(np.int16)).view(torch.bfloat16)
        return torch.from_dlpack(result)

    stream = xp.cuda.ExternalStream(torch.cuda.current_stream(x.device).cuda_stream)
    return Guest(array, given_back, stream, brain)

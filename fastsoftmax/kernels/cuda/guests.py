"""Arrays of other libraries that are on the device already: used where they lie, on their own stream.

CuPy's arrays, PyTorch's CUDA tensors, and whatever else has `__cuda_array_interface__` or `__dlpack__`. A
result is of the kind that came in; of a library that cannot be asked to take one over it is CuPy's.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import NATIVE_DTYPES, Guest
from fastsoftmax.kernels.cuda.blocks import CHUNK_BYTES, here, there
from fastsoftmax.kernels.cuda.packs import brain_values
from fastsoftmax.kernels.cuda.runtime import arrays, cuda, external_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRAIN_EXPONENT = 0x7F80  # of bfloat16's bits; all of them set, it is an infinity or NaN


def taken(x: Any) -> Guest:
    """Return an array of the device, whose ever it is."""
    xp = arrays()
    if isinstance(x, xp.ndarray):
        return _own(x)
    library = type(x).__module__.partition(".")[0]
    if library == "torch":
        return _torch(x)
    if library in ("numba", "numba_cuda"):
        return Guest(xp.asarray(x), cuda.as_cuda_array, contextlib.nullcontext)
    shared = xp.asarray(x) if hasattr(x, "__cuda_array_interface__") else xp.from_dlpack(x)
    return Guest(shared, lambda result: result, contextlib.nullcontext)


def _own(x: Any) -> Guest:
    brain = x.dtype.name == "bfloat16"
    array = x.view(np.uint16) if brain else x

    def given_back(result: Any) -> Any:
        return result.view(x.dtype) if brain and result.dtype == np.uint16 else result

    return Guest(array, given_back, contextlib.nullcontext, brain)


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

    def stream() -> Any:
        return external_stream(torch.cuda.current_stream(x.device).cuda_stream)

    return Guest(array, given_back, stream, brain)


def fetched(guest: Guest) -> NDArray[Any]:
    """Return an array's numbers on the host. The host waits for them."""
    with guest.stream():
        return np.asarray(here(brain_values(guest.array) if guest.brain else guest.array))


def checked_rows(x: Any, name: str = "X", least_rows: int = 1) -> Guest:
    """Return rows of the device, (n, d), once it is sure that they are numbers and finite.

    As `fastsoftmax.validation.design_matrix` has it: what no kernel reads as it is becomes float64, which is
    a copy. The check reads the rows once, and the host waits for its outcome.

    Raises
    ------
    ValueError
        If there are no two dimensions, too few rows, no columns, NaN or an infinity.
    TypeError
        If they are no real numbers.
    """
    guest = taken(x)
    a = guest.array
    if a.ndim != 2:
        raise ValueError(f"{name} must be a matrix (n, d); got shape {a.shape}")
    if a.shape[0] < least_rows or a.shape[1] < 1:
        raise ValueError(
            f"{name} must have at least {least_rows} row(s) and one feature (minimum of {least_rows} is "
            f"required); got shape {a.shape}: found array with {a.shape[0]} sample(s)"
        )
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers; got {a.dtype}")
    with guest.stream():
        if not guest.brain and a.dtype not in (*NATIVE_DTYPES, np.float16):
            a = a.astype(np.float64)
        if (guest.brain or a.dtype.kind == "f") and not _all_finite(a, guest.brain):
            raise ValueError(f"{name} contains NaN or infinity")
    return guest._replace(array=a)


def _all_finite(a: Any, brain: bool) -> bool:
    xp = arrays()
    step = max(1, CHUNK_BYTES // (a.itemsize * a.shape[1]))
    good = xp.ones((), bool)
    for first in range(0, len(a), step):
        part = a[first : first + step]
        good &= (((part & BRAIN_EXPONENT) != BRAIN_EXPONENT) if brain else xp.isfinite(part)).all()
    return bool(good)


def some_rows(rows: Guest, chosen: NDArray[np.int64]) -> Guest:
    """Return some rows, copied."""
    with rows.stream():
        return rows._replace(array=rows.array[there(chosen)])


def with_constant(rows: Guest, value: float) -> Guest:
    """Return the rows in float64 with one more feature, which has that value everywhere. Copies them."""
    xp = arrays()
    with rows.stream():
        dense = brain_values(rows.array) if rows.brain else rows.array
        column = xp.full((len(dense), 1), value)
        return rows._replace(array=xp.concatenate((dense.astype(np.float64), column), axis=1), brain=False)

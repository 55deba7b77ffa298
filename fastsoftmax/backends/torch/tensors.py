"""Tensors as arrays and arrays as tensors, without a copy; what is refused, in PyTorch's kinds of error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

NARROW = (torch.float16, torch.bfloat16)
FLOATS = (torch.float32, torch.float64, *NARROW)


def check(name: str, tensor: Any) -> None:
    """Raise unless this is a strided tensor of real floats on the CPU or an NVIDIA GPU.

    Raises
    ------
    TypeError
        If it is no tensor.
    NotImplementedError
        If its dtype, layout or device has no kernels, as PyTorch's own functions do.
    """
    check_place(name, tensor)
    if tensor.dtype not in FLOATS:
        raise NotImplementedError(f"{name} must hold floating-point numbers; got {tensor.dtype}")


def check_place(name: str, tensor: Any) -> None:
    """Raise as `check` does, unless this is a strided tensor on the CPU or an NVIDIA GPU, of any dtype."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a Tensor; got {type(tensor).__name__}")
    if tensor.layout is not torch.strided:
        raise NotImplementedError(f"{name} must be a strided tensor; got layout {tensor.layout}")
    if tensor.device.type not in ("cpu", "cuda"):
        raise NotImplementedError(
            f"{name} must be on the CPU or an NVIDIA GPU; got a tensor on {tensor.device}. Bring it there "
            "first with .cpu()"
        )


def check_together(**tensors: torch.Tensor | None) -> None:
    """Raise RuntimeError unless all of these tensors are on one device."""
    devices = {name: tensor.device for name, tensor in tensors.items() if tensor is not None}
    if len(set(devices.values())) > 1:
        found = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise RuntimeError(f"Expected all tensors to be on the same device; got {found}")


def array_of(tensor: torch.Tensor) -> Any:
    """Return a tensor's memory as a NumPy array, or the detached tensor itself if it is on a GPU.

    bfloat16 becomes `ml_dtypes.bfloat16`.
    """
    tensor = tensor.detach()
    if tensor.is_cuda:
        return tensor
    if tensor.is_neg():  # a view whose numbers are to be read with the other sign, which NumPy has not
        tensor = tensor.resolve_neg()
    if tensor.dtype is not torch.bfloat16:
        return tensor.numpy()
    import ml_dtypes

    return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)


def tensor_of(array: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return an array, a scalar or a tensor as a tensor that shares its memory, in `dtype` if given."""
    if isinstance(array, torch.Tensor):
        tensor = array
    elif isinstance(array, np.ndarray):
        if array.dtype.kind == "V":  # bfloat16, whose bits PyTorch takes from NumPy as integers only
            tensor = torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
    else:
        # Half the time of `torch.tensor`; in float32 `torch.full` would refuse what is infinite there.
        full = torch.full((), float(array), dtype=torch.float64)
        return full.to(torch.get_default_dtype() if dtype is None else dtype)
    return tensor if dtype is None or tensor.dtype is dtype else tensor.to(dtype)


def wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of losses: float32 for float16 and bfloat16, which PyTorch's sums overflow in."""
    return torch.float32 if dtype in NARROW else dtype

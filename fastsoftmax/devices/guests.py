"""Arrays of other libraries in host memory (PyTorch, JAX, anything with DLPack): read where they are.

They share their memory with the NumPy array that stands for them here, and results go back as their kind.
Those on a GPU are told apart before (`external.elsewhere`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Array


class Guest(NamedTuple):
    """An array of another library: as NumPy's, and how a result becomes one of that library."""

    array: Array
    given_back: Callable[[Any], Any]


def guest(name: str, x: Any) -> Guest | None:
    """Return an array of another library in host memory; None for NumPy's arrays, lists, frames and others.

    Raises
    ------
    TypeError
        If it cannot be read as it is (a sparse tensor), or is a tensor whose gradient would be lost.
    """
    if isinstance(x, np.ndarray | np.generic) or not hasattr(x, "__dlpack__"):
        return None
    torch: Any = sys.modules.get("torch")  # nobody has a tensor before it is imported
    is_tensor = torch is not None and isinstance(x, torch.Tensor)
    if is_tensor and x.requires_grad and torch.is_grad_enabled():
        raise TypeError(
            f"{name} is a tensor that records gradients, which would be lost here: fastsoftmax.torch has "
            "functions that keep them; detach() it, or call this under torch.no_grad()"
        )
    try:
        if is_tensor:
            return _tensor(torch, x)
        array = np.asarray(x) if hasattr(x, "__array__") else np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(
            f"{name}: no array of numbers can be made of {type(x).__name__} ({reason})"
        ) from error
    namespace = getattr(x, "__array_namespace__", None)
    return Guest(array, np.asarray if namespace is None else namespace().asarray)


def _tensor(torch: Any, x: Any) -> Guest:
    """Return a tensor of PyTorch in host memory."""
    if x.dtype != torch.bfloat16:
        return Guest(x.detach().numpy(), lambda result: torch.from_numpy(np.asarray(result)))
    import ml_dtypes

    bits = x.detach().view(torch.int16).numpy()
    return Guest(bits.view(ml_dtypes.bfloat16), lambda result: _bfloat16(torch, result))


def _bfloat16(torch: Any, result: Any) -> Any:
    """Return results of bfloat16 as a tensor; those of other dtypes keep them."""
    values = np.asarray(result)
    if values.dtype.name != "bfloat16":
        return torch.from_numpy(values)
    return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)


def hosted(name: str, x: Any) -> Any:
    """Return an argument, or the NumPy array that shares the memory of another library's."""
    found = guest(name, x)
    return x if found is None else found.array

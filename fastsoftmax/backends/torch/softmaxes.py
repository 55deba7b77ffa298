"""softmax, log_softmax and logsumexp of tensors."""

from __future__ import annotations

from typing import Any

import torch

from fastsoftmax import functional
from fastsoftmax.backends import memory
from fastsoftmax.backends.torch.operation import Operation
from fastsoftmax.backends.torch.tensors import array_of, check, tensor_of

_aten = torch.ops.aten


def softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:  # noqa: A002
    """Return the softmax of a tensor along a dimension: `torch.softmax`.

    Parameters
    ----------
    input : Tensor
        Any shape and strides; float16, bfloat16 (computed in float32), float32 or float64. On the CPU it is
        read where it is; on an NVIDIA GPU it is computed there (the extra `cuda`).
    dim : int
        The dimension summed over.
    dtype : torch.dtype, optional
        Converts the input first.

    Returns
    -------
    Tensor
        Of the shape and dtype of the input. Twice differentiable.

    Raises
    ------
    NotImplementedError
        Another dtype, layout or device.
    IndexError
        A dimension that the tensor does not have.

    Notes
    -----
    One reading and one writing, as `fastsoftmax.softmax`; the backward is PyTorch's own kernel.

    Examples
    --------
    >>> import torch, fastsoftmax.torch
    >>> fastsoftmax.torch.softmax(torch.zeros(2, 4), dim=1)[0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return _softmax(*_checked(input, dim, dtype))


def log_softmax(input: torch.Tensor, dim: int, dtype: torch.dtype | None = None) -> torch.Tensor:  # noqa: A002
    """Return the logarithm of the softmax of a tensor along a dimension: `torch.log_softmax`.

    Parameters, result, errors and costs are those of `softmax`.
    """
    return _log_softmax(*_checked(input, dim, dtype))


def logsumexp(input: torch.Tensor, dim: int | tuple[int, ...], keepdim: bool = False) -> torch.Tensor:  # noqa: A002
    """Return log Σ e^x of a tensor along one or several dimensions: `torch.logsumexp`.

    Parameters and errors are those of `softmax`; with `keepdim` the dimensions stay, with length one.

    Notes
    -----
    One reading; the backward takes another, of a softmax.
    """
    check("input", input)
    dims = [dim] if isinstance(dim, int) else list(dim)
    return _logsumexp(input, [_place(d, input) for d in dims], keepdim)


def _checked(tensor: torch.Tensor, dim: int, dtype: torch.dtype | None) -> tuple[torch.Tensor, int]:
    """Return a tensor, converted if `dtype` asks for it, and the dimension as one that is not negative."""
    if dtype is not None:
        tensor = tensor.to(dtype)
    check("input", tensor)
    return tensor, _place(dim, tensor)


def _place(dim: int, tensor: torch.Tensor) -> int:
    """Return a dimension as a place from the first. Raises IndexError in PyTorch's words."""
    n_dims = max(1, tensor.ndim)  # a number has one, in PyTorch
    if not -n_dims <= dim < n_dims:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n_dims}, {n_dims - 1}], but got {dim})"
        )
    return dim % n_dims


def _axis(dims: list[int], tensor: torch.Tensor) -> tuple[int, ...] | int:
    """Return NumPy's axis for dimensions; () of a number, of which they are all."""
    if tensor.ndim == 0:
        return ()
    return dims[0] if len(dims) == 1 else tuple(dims)


def _forward_of(name: str) -> Any:
    """Return the forward of softmax or log_softmax."""
    compute = getattr(functional, name)

    def forward(x: torch.Tensor, dim: int) -> torch.Tensor:
        if x.ndim == 0:
            return forward(x.reshape(1), 0).reshape(())
        if x.numel() == 0:
            return torch.empty_like(x)
        array = array_of(x)
        if x.is_cuda or not array.flags.c_contiguous:
            return tensor_of(compute(array, axis=dim))
        return tensor_of(compute(array, axis=dim, out=memory.empty(array.shape, array.dtype)))

    return forward


def _save(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
    """Keep the result and the dimension for the backward."""
    ctx.save_for_backward(output)
    ctx.dim = inputs[1]
    ctx.set_materialize_grads(False)


def _softmax_backward(ctx: Any, grad: torch.Tensor | None) -> tuple[torch.Tensor | None, None]:
    """Return y ⊙ (g − Σ g y)."""
    (y,) = ctx.saved_tensors
    return None if grad is None else _aten._softmax_backward_data(grad, y, ctx.dim, y.dtype), None


def _log_softmax_backward(ctx: Any, grad: torch.Tensor | None) -> tuple[torch.Tensor | None, None]:
    """Return g − e^y Σ g."""
    (y,) = ctx.saved_tensors
    return None if grad is None else _aten._log_softmax_backward_data(grad, y, ctx.dim, y.dtype), None


def _like(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return a C-ordered tensor of x's shape."""
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _logsumexp_forward(x: torch.Tensor, dims: list[int], keepdim: bool) -> torch.Tensor:
    """Return logsumexp; of nothing it is −∞."""
    shape = _reduced(x, dims, keepdim)
    if x.numel() == 0:
        return x.new_full(shape, -torch.inf)
    if x.ndim == 0:
        return x.detach().clone()
    sums = functional.logsumexp(array_of(x), axis=_axis(dims, x), keepdims=keepdim)
    return tensor_of(sums, x.dtype).reshape(shape)


def _reduced(x: torch.Tensor, dims: list[int], keepdim: bool) -> list[int]:
    """Return the shape of x after a reduction over these dimensions."""
    if keepdim:
        return [1 if i in dims else n for i, n in enumerate(x.shape)]
    return [n for i, n in enumerate(x.shape) if i not in dims]


def _logsumexp_fake(x: torch.Tensor, dims: list[int], keepdim: bool) -> torch.Tensor:
    """Return an empty tensor of logsumexp's shape."""
    return x.new_empty(_reduced(x, dims, keepdim))


def _logsumexp_save(ctx: Any, inputs: Any, output: torch.Tensor) -> None:
    """Keep x, the sums and the dimensions for the backward."""
    x, ctx.dims, ctx.keepdim = inputs
    ctx.save_for_backward(x, output)
    ctx.set_materialize_grads(False)


def _logsumexp_backward(ctx: Any, grad: torch.Tensor | None) -> tuple[torch.Tensor | None, None, None]:
    """Return g e^(x − lse), the softmax times g."""
    if grad is None:
        return None, None, None
    x, sums = ctx.saved_tensors
    if not ctx.keepdim:
        for d in sorted(ctx.dims if x.ndim else ()):
            grad, sums = grad.unsqueeze(d), sums.unsqueeze(d)
    if len(ctx.dims) == 1:
        # Not e^(x − lse) where it can be helped: rounded to 16 bits, lse would spoil all digits but two.
        return grad * _softmax.operator(x, ctx.dims[0]), None, None
    return grad * (x - sums).exp(), None, None


_softmax = Operation(
    "softmax(Tensor x, int dim) -> Tensor", _forward_of("softmax"), _like, _save, _softmax_backward
)
_log_softmax = Operation(
    "log_softmax(Tensor x, int dim) -> Tensor",
    _forward_of("log_softmax"),
    _like,
    _save,
    _log_softmax_backward,
)
_logsumexp = Operation(
    "logsumexp(Tensor x, int[] dims, bool keepdim) -> Tensor",
    _logsumexp_forward,
    _logsumexp_fake,
    _logsumexp_save,
    _logsumexp_backward,
)

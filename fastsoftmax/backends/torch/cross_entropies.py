"""Softmax and sigmoid cross-entropies of tensors of logits."""

from __future__ import annotations

from typing import Any

import torch

from fastsoftmax import functional
from fastsoftmax.backends import memory
from fastsoftmax.backends.torch import composed
from fastsoftmax.backends.torch.operation import Operation, is_one
from fastsoftmax.backends.torch.options import (
    SCHEMA,
    Options,
    check_labels,
    check_reduction,
    check_target,
    check_weight,
    checked,
)
from fastsoftmax.backends.torch.tensors import array_of, check, check_together, tensor_of, wide


def cross_entropy(
    input: torch.Tensor,  # noqa: A002
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> torch.Tensor:
    """Return the softmax cross-entropy: `torch.nn.functional.cross_entropy`, in nats.

    Parameters
    ----------
    input : Tensor (n, K), (K,) or (n, K, …)
        Logits; float16, bfloat16 (computed in float32), float32 or float64.
    target : Tensor
        Integers of the input's shape without K, in [0, K) or `ignore_index`; or probabilities of the input's
        shape.
    weight : Tensor (K,), optional
        Weights of the classes.
    ignore_index, reduction, label_smoothing
        As PyTorch has them.
    z_loss, softcap
        As in `fastsoftmax.cross_entropy`.

    Returns
    -------
    Tensor
        A number, or with reduction "none" of the shape of the labels; of the dtype of the input, under
        autocast float32 for a narrow one.

    Raises
    ------
    ValueError, RuntimeError, IndexError, NotImplementedError
        As PyTorch raises them: the number of rows or the reduction; other shapes and dtypes; a label outside
        [0, K); a dtype, layout or device without kernels.

    Notes
    -----
    One reading of the logits, which gives the gradient as well where one is wanted: it is in memory, (n, K),
    from the forward on. The backward returns it, times the incoming gradient where that is not 1. A backward
    that is to be differentiated again is composed of PyTorch's functions (any order), and so is the loss
    where the target requires a gradient. Inputs of more than two dimensions are copied, K last.

    Examples
    --------
    >>> import torch, fastsoftmax.torch
    >>> logits = torch.zeros(2, 4, requires_grad=True)
    >>> loss = fastsoftmax.torch.cross_entropy(logits, torch.tensor([1, 3]))
    >>> loss.backward()
    >>> logits.grad[0]
    tensor([ 0.1250, -0.3750,  0.1250,  0.1250])
    """
    check("input", input)
    if input.ndim == 0:
        raise RuntimeError("input must have a dimension of classes; got a number")
    options = checked(ignore_index, label_smoothing, reduction, z_loss, softcap)
    n_classes = input.shape[0 if input.ndim == 1 else 1]
    check_weight(weight, n_classes)
    is_soft = check_target(target, input.shape)
    check_together(input=input, target=target, weight=weight)
    shape = input.shape[:1] + input.shape[2:] if input.ndim > 1 else input.shape[:0]
    logits, target = (
        _rows(input),
        _rows(target) if is_soft else target if target.ndim == 1 else target.reshape(-1),
    )
    if n_classes == 0 or not len(logits):
        return _of_nothing(logits, options.reduction).reshape(shape if reduction == "none" else ())
    if is_soft and target.requires_grad and torch.is_grad_enabled():
        loss = composed.softmax_loss(logits, target, weight, options)
    else:
        loss, _ = _cross_entropy(logits, target, weight, *options, _is_differentiated(logits))
    loss = _in_dtype_of(input, loss)
    return loss.reshape(shape) if reduction == "none" else loss


def sigmoid_cross_entropy(
    input: torch.Tensor,  # noqa: A002
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    *,
    reduction: str = "mean",
) -> torch.Tensor:
    """Return the sigmoid cross-entropy of independent labels, summed over a row's labels, in nats.

    Parameters
    ----------
    input : Tensor (n, K) or (K,)
        Logits.
    target : Tensor of the shape of the input, in [0, 1]
    weight : Tensor (K,), optional
        Weights of the labels.
    reduction : {"mean", "sum", "none"}
        "mean" divides by n; PyTorch's `binary_cross_entropy_with_logits` divides by n K.

    Returns, errors and costs are those of `cross_entropy`.

    Examples
    --------
    >>> import torch, fastsoftmax.torch
    >>> fastsoftmax.torch.sigmoid_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
    tensor(1.3863)
    """
    check("input", input)
    if input.ndim not in (1, 2):
        raise RuntimeError(f"input must be (n, K) or (K,); got {tuple(input.shape)}")
    check_reduction(reduction)
    check_weight(weight, input.shape[-1])
    check("target", target)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    check_together(input=input, target=target, weight=weight)
    logits, target = _rows(input), _rows(target)
    if not logits.numel():
        loss = _of_nothing(logits, reduction)
    elif target.requires_grad and torch.is_grad_enabled():
        loss = composed.sigmoid_loss(logits, target, weight, reduction)
    else:
        loss, _ = _sigmoid_cross_entropy(logits, target, weight, reduction, _is_differentiated(logits))
    loss = _in_dtype_of(input, loss)
    return loss.reshape(()) if input.ndim == 1 else loss


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    """Return logits or probabilities (K,) or (n, K, …) as rows (n, K)."""
    if tensor.ndim == 1:
        return tensor.unsqueeze(0)
    return tensor if tensor.ndim == 2 else tensor.movedim(1, -1).flatten(0, -2)


def _is_differentiated(tensor: torch.Tensor) -> bool:
    """Return whether autograd will ask for the gradient by a tensor."""
    return tensor.requires_grad and torch.is_grad_enabled()


def _of_nothing(logits: torch.Tensor, reduction: str) -> torch.Tensor:
    """Return the loss of no rows: a mean of NaN, a sum of 0, with a gradient of no numbers."""
    losses = logits.sum(1)
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def _in_dtype_of(logits: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    """Return a loss in the dtype of its logits; under autocast as it is, float32 at least."""
    if loss.dtype is logits.dtype or torch.is_autocast_enabled(logits.device.type):
        return loss
    return loss.to(logits.dtype)


def _results(
    x: torch.Tensor, compute: Any, target: torch.Tensor, with_grad: bool, arguments: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return value and gradient of a cross-entropy on arrays; the gradient is empty if it is not asked for.

    That of float16 is float32: divided by the rows, and before it meets the scale of a `GradScaler`, it is
    smaller than float16 has numbers for.
    """
    logits = array_of(x.float() if x.dtype is torch.float16 else x)
    if not with_grad:
        return tensor_of(compute(logits, array_of(target), **arguments), wide(x.dtype)), x.new_empty(0)
    if not x.is_cuda and logits.nbytes >= memory.MIN_BYTES:  # what is smaller is not kept
        arguments["out"] = memory.empty(logits.shape, logits.dtype)
    value, dlogits = compute(logits, array_of(target), **arguments)
    return tensor_of(value, wide(x.dtype)), tensor_of(dlogits)


def _forward(
    x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, *rest: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cross-entropy of rows x (n, K), and its gradient if the last argument is True."""
    *numbers, with_grad = rest
    options = Options(*numbers)
    compute = functional.cross_entropy_value_and_grad if with_grad else functional.cross_entropy
    keywords: dict[str, Any] = options.keywords()
    if target.is_floating_point():
        keywords["ignore_index"] = -100  # PyTorch takes any with probabilities, and does not look at it
    keywords["class_weight"] = None if weight is None else array_of(weight)
    try:
        return _results(x, compute, target, with_grad, keywords)
    except ValueError as error:
        check_labels(error, target, x.shape[1], options.ignore_index)
        raise


def _sigmoid_forward(
    x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, reduction: str, with_grad: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sigmoid cross-entropy of rows x (n, K), and its gradient `with_grad`."""
    if x.is_cuda:
        raise NotImplementedError(
            "sigmoid_cross_entropy takes tensors on the CPU; bring them there with .cpu()"
        )
    name = "sigmoid_cross_entropy_value_and_grad" if with_grad else "sigmoid_cross_entropy"
    keywords = {"class_weight": None if weight is None else array_of(weight), "reduction": reduction}
    return _results(x, getattr(functional, name), target, with_grad, keywords)


def _fake(x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, *rest: Any) -> Any:
    """Return empty tensors as `_forward` and `_sigmoid_forward` return them."""
    value = x.new_empty(x.shape[:1] if "none" in rest else (), dtype=wide(x.dtype))
    if not rest[-1]:
        return value, x.new_empty(0)
    dtype = torch.float32 if x.dtype is torch.float16 else x.dtype
    return value, torch.empty_like(x, dtype=dtype, memory_format=torch.contiguous_format)


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    """Keep the gradient, and what it would be composed of."""
    x, target, weight, *ctx.rest = inputs
    _, dlogits = output
    ctx.mark_non_differentiable(dlogits)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, target, weight, dlogits)


def scaled(grad: torch.Tensor, dlogits: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the computed gradient times the incoming one, a number or (n,), in the dtype of the logits."""
    if is_one(grad):
        return dlogits.to(dtype)
    return (dlogits * (grad.unsqueeze(1) if grad.ndim else grad).to(dlogits.dtype)).to(dtype)


def _backward(ctx: Any, grad: torch.Tensor | None, _: Any) -> tuple[Any, ...]:
    """Return the gradient by the logits."""
    nothing = (None,) * (2 + len(ctx.rest))
    if grad is None:
        return None, *nothing
    x, target, weight, dlogits = ctx.saved_tensors
    if torch.is_grad_enabled():
        options = Options(*ctx.rest[:-1])
        return composed.softmax_dlogits(grad, x, target, weight, options).to(x.dtype), *nothing
    return scaled(grad, dlogits, x.dtype), *nothing


def _sigmoid_backward(ctx: Any, grad: torch.Tensor | None, _: Any) -> tuple[Any, ...]:
    """Return the gradient by the logits."""
    nothing = (None,) * 4
    if grad is None:
        return None, *nothing
    x, target, weight, dlogits = ctx.saved_tensors
    if torch.is_grad_enabled():
        return composed.sigmoid_dlogits(grad, x, target, weight, ctx.rest[0]).to(x.dtype), *nothing
    return scaled(grad, dlogits, x.dtype), *nothing


_cross_entropy = Operation(
    f"cross_entropy(Tensor x, Tensor target, Tensor? weight, {SCHEMA}, bool with_grad) -> (Tensor, Tensor)",
    _forward,
    _fake,
    _save,
    _backward,
)
_sigmoid_cross_entropy = Operation(
    "sigmoid_cross_entropy(Tensor x, Tensor target, Tensor? weight, str reduction, bool with_grad)"
    " -> (Tensor, Tensor)",
    _sigmoid_forward,
    _fake,
    _save,
    _sigmoid_backward,
)

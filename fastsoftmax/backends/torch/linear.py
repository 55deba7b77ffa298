"""The cross-entropy of a linear map of tensors, without holding its logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as torch_functional

from fastsoftmax import functional
from fastsoftmax.backends.torch import composed
from fastsoftmax.backends.torch.cross_entropies import cross_entropy
from fastsoftmax.backends.torch.operation import Operation, is_one
from fastsoftmax.backends.torch.options import (
    SCHEMA,
    Options,
    check_labels,
    check_target,
    check_weight,
    checked,
)
from fastsoftmax.backends.torch.tensors import array_of, check, check_together, tensor_of, wide

if TYPE_CHECKING:
    from torch.nn import LinearCrossEntropyOptions


def linear_cross_entropy(
    input: torch.Tensor,  # noqa: A002
    linear_weight: torch.Tensor,
    target: torch.Tensor,
    *,
    linear_bias: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> torch.Tensor:
    """Return the cross-entropy of a linear map: `torch.nn.functional.linear_cross_entropy`, in nats.

    Parameters
    ----------
    input : Tensor (n, d) or (d,)
        On the CPU, as all others.
    linear_weight : Tensor (K, d), or (K, …, d)
    target : Tensor
        Integers (n,) or (n, …) in [0, K) or `ignore_index`; or probabilities (n, K) or (n, K, …).
    linear_bias : Tensor (K,) or (K, …), optional
    weight, reduction, ignore_index, label_smoothing, z_loss, softcap
        As in `cross_entropy`; an `ignore_index` of None is −100.
    options : LinearCrossEntropyOptions, optional
        PyTorch's choice of chunks, which has no effect: the logits are never held.

    Returns
    -------
    Tensor
        As `cross_entropy`.

    Raises
    ------
    ValueError, RuntimeError, IndexError, NotImplementedError
        As in `cross_entropy`. NaN and infinity in the input are a ValueError.

    Notes
    -----
    The gradients are computed with the value, in one reading of the input (6 n d K flops), and are in memory
    from then on; sums over rows are float64, so that the extra memory is a float64 copy of the weight's
    gradient and 64 MiB. float16 and bfloat16 are converted to float32. A weight of more than two dimensions,
    targets that require a gradient and backwards that are to be differentiated again hold the logits.

    Examples
    --------
    >>> import torch, fastsoftmax.torch
    >>> X, W = torch.eye(3), torch.zeros(4, 3, requires_grad=True)
    >>> loss = fastsoftmax.torch.linear_cross_entropy(X, W, torch.tensor([0, 1, 2]))
    >>> loss.backward()
    >>> round(loss.item(), 6)
    1.386294
    """
    for name, tensor in (("input", input), ("linear_weight", linear_weight), ("linear_bias", linear_bias)):
        if tensor is not None:
            check(name, tensor)
    _check_map(input, linear_weight, linear_bias)
    check_together(
        input=input, linear_weight=linear_weight, target=target, linear_bias=linear_bias, weight=weight
    )
    ignore_index = -100 if ignore_index is None else ignore_index
    settings = checked(ignore_index, label_smoothing, reduction, z_loss, softcap)
    n_classes = linear_weight.shape[0]
    check_weight(weight, n_classes)
    if linear_weight.ndim > 2 or not input.numel() or (target.requires_grad and torch.is_grad_enabled()):
        logits = _logits(input, linear_weight, linear_bias)
        return cross_entropy(logits, target, weight, **settings.keywords())  # type: ignore[arg-type]
    if input.is_cuda:
        raise NotImplementedError(
            "linear_cross_entropy takes tensors on the CPU; bring them there with .cpu()"
        )
    check_target(target, torch.Size((*input.shape[:-1], n_classes)))
    X, row_target = (
        (input, target) if input.ndim == 2 else (input.unsqueeze(0), target.reshape(1, -1).squeeze(1))
    )
    recorded = torch.is_grad_enabled()
    wrt = [recorded and a is not None and a.requires_grad for a in (input, linear_weight, linear_bias)]
    loss, *_ = _linear_cross_entropy(X, linear_weight, row_target, linear_bias, weight, *settings, wrt)
    if loss.dtype is not input.dtype and not torch.is_autocast_enabled("cpu"):
        loss = loss.to(input.dtype)
    return loss.reshape(()) if input.ndim == 1 else loss


def _check_map(X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Raise RuntimeError unless X (n, d) or (d,), weight (K, …, d) and bias (K, …) fit in shape and dtype."""
    if X.ndim not in (1, 2) or weight.ndim < 2 or weight.shape[-1] != X.shape[-1]:
        raise RuntimeError(
            f"input must be (n, d) or (d,) and linear_weight (K, d); got {tuple(X.shape)} and "
            f"{tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise RuntimeError(
            f"linear_bias must have the shape {tuple(weight.shape[:-1])}; got {tuple(bias.shape)}"
        )
    found = {a.dtype for a in (X, weight, bias) if a is not None}
    if len(found) > 1 and not torch.is_autocast_enabled(X.device.type):
        raise RuntimeError(f"expected input, linear_weight and linear_bias to have one dtype; got {found}")


def _logits(X: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return logits (K,), (n, K) or (n, K, …), held as a whole."""
    flat = None if bias is None else bias.flatten()
    logits = torch_functional.linear(X, weight.flatten(0, -2), flat)
    return logits if weight.ndim == 2 else logits.reshape(*X.shape[:-1], *weight.shape[:-1])


def _forward(
    X: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    bias: torch.Tensor | None,
    class_weight: torch.Tensor | None,
    *rest: Any,
) -> tuple[torch.Tensor, ...]:
    """Return value and gradients; those are empty that are not asked for, and all of them of losses by row.

    Rows whose losses have incoming gradients of their own have no sums before these are known.
    """
    *numbers, wrt = rest
    options = Options(*numbers)
    wrt = [asked and options.reduction != "none" for asked in wrt]
    return _computed(X, weight, target, bias, class_weight, None, options, wrt)


def _computed(
    X: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    bias: torch.Tensor | None,
    class_weight: torch.Tensor | None,
    row_weight: torch.Tensor | None,
    options: Options,
    wrt: list[bool],
) -> tuple[torch.Tensor, ...]:
    """Return value and gradients by X, weight and bias, as far as `wrt` asks for them."""
    dtype = wide(X.dtype)
    keywords: dict[str, Any] = options.keywords()
    if target.is_floating_point():
        keywords["ignore_index"] = -100
    keywords["class_weight"] = None if class_weight is None else array_of(class_weight)
    keywords["sample_weight"] = None if row_weight is None else array_of(row_weight)
    arrays = [
        array_of(X.to(dtype)),
        array_of(weight.to(dtype)),
        array_of(target),
        None if bias is None else array_of(bias.to(dtype)),
    ]
    names = [name for name, asked in zip(("X", "weight", "bias"), wrt) if asked]
    grads: Any = (None, None, None)
    try:
        if names:
            value, grads = functional.linear_cross_entropy_value_and_grad(*arrays, **keywords, wrt=names)
        else:
            value = functional.linear_cross_entropy(*arrays, **keywords)
    except ValueError as error:
        check_labels(error, target, len(weight), options.ignore_index)
        raise
    return tensor_of(value, dtype), *(X.new_empty(0) if g is None else tensor_of(g, dtype) for g in grads)


def _weighted_forward(
    X: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    bias: torch.Tensor | None,
    class_weight: torch.Tensor | None,
    row_weight: torch.Tensor,
    *rest: Any,
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of the losses' sum with any weights of rows.

    Weights are not negative for the functions on arrays: rows of either sign are a sum of their own.
    """
    *numbers, wrt = rest
    options = Options(*numbers)._replace(reduction="sum")
    problem = (X, weight, target, bias, class_weight)
    if (row_weight >= 0.0).all():
        return _computed(*problem, row_weight, options, wrt)[1:]
    parts = [_computed(*problem, part.clamp(min=0.0), options, wrt)[1:] for part in (row_weight, -row_weight)]
    return tuple(plus.sub_(minus) for plus, minus in zip(*parts))


def _grad_shapes(X: torch.Tensor, weight: torch.Tensor, wrt: list[bool]) -> tuple[torch.Tensor, ...]:
    """Return empty tensors for the gradients that are asked for."""
    shapes = ((*X.shape,), (*weight.shape,), (weight.shape[0],))
    return tuple(
        X.new_empty(shape if asked else 0, dtype=wide(X.dtype) if asked else X.dtype)
        for shape, asked in zip(shapes, wrt)
    )


def _fake(
    X: torch.Tensor, weight: torch.Tensor, target: Any, bias: Any, class_weight: Any, *rest: Any
) -> Any:
    """Return empty tensors as `_forward` returns them."""
    by_row = "none" in rest
    value = X.new_empty(X.shape[:1] if by_row else (), dtype=wide(X.dtype))
    return value, *_grad_shapes(X, weight, [asked and not by_row for asked in rest[-1]])


def _weighted_fake(X: torch.Tensor, weight: torch.Tensor, *rest: Any) -> Any:
    """Return empty tensors as `_weighted_forward` returns them."""
    return _grad_shapes(X, weight, rest[-1])


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    """Keep the gradients, and what they would be composed of."""
    X, weight, target, bias, class_weight, *ctx.rest = inputs
    _, *grads = output
    ctx.mark_non_differentiable(*grads)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(X, weight, target, bias, class_weight, *grads)


def _backward(ctx: Any, grad: torch.Tensor | None, *_: Any) -> tuple[Any, ...]:
    """Return the gradients by X, the weight and the bias."""
    *numbers, wrt = ctx.rest
    nothing = (None,) * (1 + len(ctx.rest))
    if grad is None:
        return None, None, None, None, *nothing
    X, weight, target, bias, class_weight, *grads = ctx.saved_tensors
    options = Options(*numbers)
    if torch.is_grad_enabled():
        by_X, by_weight, by_bias = _recorded(grad, X, weight, target, bias, class_weight, options)
    else:
        if options.reduction == "none":
            grads = _weighted(X, weight, target, bias, class_weight, grad, *ctx.rest)
        elif not is_one(grad):
            grads = [g * grad.to(g.dtype) for g in grads]
        by_X, by_weight, by_bias = (
            g.to(a.dtype) if asked and a is not None else None
            for g, a, asked in zip(grads, (X, weight, bias), wrt)
        )
    return by_X, by_weight, None, by_bias, *nothing


def _recorded(
    grad: torch.Tensor,
    X: torch.Tensor,
    weight: torch.Tensor,
    target: torch.Tensor,
    bias: torch.Tensor | None,
    class_weight: torch.Tensor | None,
    options: Options,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return gradients that can be differentiated again; they hold the logits."""
    wide_X, wide_weight = X.to(wide(X.dtype)), weight.to(wide(X.dtype))
    logits = _logits(wide_X, wide_weight, None if bias is None else bias.to(wide_X.dtype))
    dlogits = composed.softmax_dlogits(grad, logits, target, class_weight, options)
    by_bias = None if bias is None else dlogits.sum(0).to(bias.dtype)
    return (dlogits @ wide_weight).to(X.dtype), (dlogits.T @ wide_X).to(weight.dtype), by_bias


def _save_nothing(ctx: Any, inputs: Any, output: Any) -> None:
    """Keep nothing: gradients by rows are taken where nothing is recorded."""


def _refused(ctx: Any, *grads: Any) -> Any:
    """Raise RuntimeError."""
    raise RuntimeError("the weighted gradients of linear_cross_entropy cannot be differentiated")


_TENSORS = "Tensor X, Tensor weight, Tensor target, Tensor? bias, Tensor? class_weight"
_linear_cross_entropy = Operation(
    f"linear_cross_entropy({_TENSORS}, {SCHEMA}, bool[] wrt) -> (Tensor, Tensor, Tensor, Tensor)",
    _forward,
    _fake,
    _save,
    _backward,
)
_weighted = Operation(
    f"weighted_linear_grads({_TENSORS}, Tensor row_weight, {SCHEMA}, bool[] wrt) -> (Tensor, Tensor, Tensor)",
    _weighted_forward,
    _weighted_fake,
    _save_nothing,
    _refused,
)

"""The cross-entropies' gradients as compositions of PyTorch's functions, to be differentiated again.

Backwards that are recorded (`create_graph=True`, `torch.func.grad`) take them in place of the gradients that
the kernels have computed. They hold several matrices (n, K).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from fastsoftmax.backends.torch.softmaxes import logsumexp, softmax
from fastsoftmax.backends.torch.tensors import wide

if TYPE_CHECKING:
    from fastsoftmax.backends.torch.options import Options


def capped(logits: torch.Tensor, softcap: float) -> torch.Tensor:
    """Return softcap · tanh(z / softcap), or the logits where there is no cap."""
    return softcap * torch.tanh(logits / softcap) if softcap else logits


def softmax_dlogits(
    grad: torch.Tensor,
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    options: Options,
) -> torch.Tensor:
    """Return the gradient of a softmax cross-entropy by logits (n, K), times an incoming `grad`."""
    n_rows, n_classes = logits.shape
    z = capped(logits.to(wide(logits.dtype)), options.softcap)
    class_weight = z.new_ones(n_classes) if weight is None else weight.to(z.dtype)
    counted = z.new_ones(n_rows)
    denominator = counted.sum()
    if target.is_floating_point():
        label = target.to(z.dtype)
    else:
        is_counted = target != options.ignore_index
        counted = is_counted.to(z.dtype)
        index = target.long().where(is_counted, 0)
        label = functional.one_hot(index, n_classes).to(z.dtype)
        denominator = (class_weight[index] * counted).sum()
    smoothed = (1.0 - options.label_smoothing) * label + options.label_smoothing / n_classes
    masses = class_weight * smoothed * counted[:, None]
    factor = masses.sum(1)
    # The z-loss is divided by the rows, the loss by their weights.
    relative = denominator / counted.sum() if options.reduction == "mean" else 1.0
    if options.z_loss:
        factor = factor + 2.0 * options.z_loss * relative * counted * logsumexp(z, 1)
    dlogits = factor[:, None] * softmax(z, 1) - masses
    if options.softcap:
        dlogits = dlogits * (1.0 - (z / options.softcap) ** 2)
    dlogits = dlogits.where(counted[:, None] > 0.0, 0.0)  # ignored rows may hold NaN
    if options.reduction == "mean":
        grad = grad / denominator
    return dlogits * (grad[:, None] if options.reduction == "none" else grad)


def sigmoid_dlogits(
    grad: torch.Tensor,
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None,
    reduction: str,
) -> torch.Tensor:
    """Return the gradient of a sigmoid cross-entropy by logits (n, K), times an incoming `grad`."""
    z = logits.to(wide(logits.dtype))
    dlogits = torch.sigmoid(z) - target.to(z.dtype)
    if weight is not None:
        dlogits = dlogits * weight.to(z.dtype)
    if reduction == "mean":
        grad = grad / len(z)
    return dlogits * (grad[:, None] if reduction == "none" else grad)


def softmax_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, options: Options
) -> torch.Tensor:
    """Return a softmax cross-entropy that probabilities as targets can be differentiated by, too."""
    z = capped(logits.to(wide(logits.dtype)), options.softcap)
    loss = functional.cross_entropy(
        z,
        target.to(z.dtype),
        weight=None if weight is None else weight.to(z.dtype),
        reduction=options.reduction,
        label_smoothing=options.label_smoothing,
    )
    if not options.z_loss:
        return loss
    squares = options.z_loss * logsumexp(z, 1).square()
    return loss + {"none": squares, "sum": squares.sum(), "mean": squares.mean()}[options.reduction]


def sigmoid_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, reduction: str
) -> torch.Tensor:
    """Return a sigmoid cross-entropy that its targets can be differentiated by, too."""
    z = logits.to(wide(logits.dtype))
    losses = functional.binary_cross_entropy_with_logits(
        z, target.to(z.dtype), weight=None if weight is None else weight.to(z.dtype), reduction="none"
    ).sum(1)
    return {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction]

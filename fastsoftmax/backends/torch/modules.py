"""The losses as modules: those of `torch.nn`, computed here."""

from __future__ import annotations

from typing import Any

import torch

from fastsoftmax.backends.torch.cross_entropies import cross_entropy
from fastsoftmax.backends.torch.linear import linear_cross_entropy


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """`torch.nn.CrossEntropyLoss`, computed by `fastsoftmax.torch.cross_entropy`.

    Parameters
    ----------
    *args, **kwargs
        Those of `torch.nn.CrossEntropyLoss`.
    z_loss, softcap
        As in `fastsoftmax.cross_entropy`.

    Examples
    --------
    >>> import torch, fastsoftmax.torch
    >>> fastsoftmax.torch.CrossEntropyLoss()(torch.zeros(2, 4), torch.tensor([1, 3]))
    tensor(1.3863)
    """

    def __init__(self, *args: Any, z_loss: float = 0.0, softcap: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.z_loss = z_loss
        self.softcap = softcap

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Return the loss."""
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            z_loss=self.z_loss,
            softcap=self.softcap,
        )


class LinearCrossEntropyLoss(torch.nn.LinearCrossEntropyLoss):
    """`torch.nn.LinearCrossEntropyLoss`, computed by `fastsoftmax.torch.linear_cross_entropy`.

    Parameters
    ----------
    *args, **kwargs
        Those of `torch.nn.LinearCrossEntropyLoss`; `options` has no effect.
    z_loss, softcap
        As in `fastsoftmax.cross_entropy`.
    """

    def __init__(self, *args: Any, z_loss: float = 0.0, softcap: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.z_loss = z_loss
        self.softcap = softcap

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Return the loss."""
        weight, bias = self.linear.weight, self.linear.bias
        shape = (self.num_classes, *self.out_features)
        return linear_cross_entropy(
            input,
            weight.reshape(*shape, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            z_loss=self.z_loss,
            softcap=self.softcap,
        )

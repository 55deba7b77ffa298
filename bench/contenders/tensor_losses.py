"""Losses and softmaxes of tensors with their gradients: PyTorch's own, and ours in their place.

A program has changed one name, so that both get the same tensors: of 16 bits as they are, without autocast.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional

from bench.contenders import OURS
from bench.contenders.threads import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

torch.set_num_threads(THREADS)

THEIRS = "torch"
SOFTMAXES = ("softmax", "log_softmax", "logsumexp")
LOSSES = ("cross_entropy", "sigmoid_cross_entropy")
SEED = 20


class Pair(NamedTuple):
    """A call of each contender, which returns value and gradient, and how far they may differ."""

    runs: dict[str, Callable[[], tuple[torch.Tensor, ...]]]
    tol: float


def pair(operation: str, dtype: str, n_rows: int, n_classes: int) -> Pair:
    """Draw logits (a standard deviation of 4) and targets, and give the calls."""
    import fastsoftmax.torch as ours

    generator = torch.Generator().manual_seed(SEED)
    kind = getattr(torch, dtype)
    logits = (4.0 * torch.randn(n_rows, n_classes, generator=generator)).to(kind).requires_grad_()
    if operation in SOFTMAXES:
        shape = (n_rows,) if operation == "logsumexp" else (n_rows, n_classes)
        incoming = torch.randn(shape, generator=generator).to(kind)
        functions = {OURS: getattr(ours, operation), THEIRS: getattr(torch, operation)}
        calls = {name: functools.partial(function, logits, 1) for name, function in functions.items()}
        runs = {name: differentiated(call, logits, incoming) for name, call in calls.items()}
    else:
        label = torch.randint(n_classes, (n_rows,), generator=generator)
        labels = (torch.rand(n_rows, n_classes, generator=generator) < 0.1).to(kind)
        target = label if operation == "cross_entropy" else labels
        theirs = functional.cross_entropy if operation == "cross_entropy" else summed_over_labels
        functions = {OURS: getattr(ours, operation), THEIRS: theirs}
        calls = {name: functools.partial(function, logits, target) for name, function in functions.items()}
        runs = {name: differentiated(call, logits) for name, call in calls.items()}
    return Pair(runs, 8.0 * torch.finfo(kind).eps + 1e-5)


def summed_over_labels(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Give PyTorch's sigmoid cross-entropy, summed over a row's labels: the mean over rows."""
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(logits)


def differentiated(
    call: Callable[[], torch.Tensor], logits: torch.Tensor, incoming: torch.Tensor | None = None
) -> Callable[[], tuple[torch.Tensor, ...]]:
    """Give a call that returns the result and its gradient by the logits."""

    def run() -> tuple[torch.Tensor, ...]:
        value = call()
        return value.detach(), torch.autograd.grad(value, logits, incoming)[0]

    return run


def differences(found: Pair) -> list[str]:
    """Say in which results the two differ by more than rounding, relative to the largest number."""
    said = []
    ours, theirs = (found.runs[name]() for name in (OURS, THEIRS))
    for what, own, other in zip(("value", "gradient"), ours, theirs, strict=True):
        scale = float(other.abs().max())
        off = float((own.double() - other.double()).abs().max())
        if not (own.shape == other.shape and off <= found.tol * scale):
            said.append(f"{what}: {off:.2g} from {THEIRS}'s, whose largest is {scale:.2g}")
    return said


def head(contender: str, n_rows: int, n_features: int, n_classes: int) -> Callable[[], tuple[Any, ...]]:
    """Give a call of linear_cross_entropy with its gradients by rows and weight, float32."""
    import fastsoftmax.torch as ours

    generator = torch.Generator().manual_seed(SEED)
    X = torch.randn(n_rows, n_features, generator=generator).requires_grad_()
    weight = (torch.randn(n_classes, n_features, generator=generator) / n_features**0.5).requires_grad_()
    target = torch.randint(n_classes, (n_rows,), generator=generator)
    chunks = torch.nn.LinearCrossEntropyOptions() if contender == CHUNKED else None
    loss = {
        OURS: ours.linear_cross_entropy,
        THEIRS: functools.partial(functional.linear_cross_entropy, options=None),
        CHUNKED: functools.partial(functional.linear_cross_entropy, options=chunks),
    }[contender]

    def run() -> tuple[Any, ...]:
        value = loss(X, weight, target)
        return value.detach(), *torch.autograd.grad(value, (X, weight))

    return run


CHUNKED = "torch chunked"

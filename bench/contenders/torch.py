"""PyTorch on the CPU: its functions, and automatic differentiation for what it has no function for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from bench.contenders import Call, Fitted
from bench.machine import THREADS

if TYPE_CHECKING:
    from bench.problems import FitData, PassData, RowData

torch.set_num_threads(THREADS)


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """Wrap an array without a copy; bfloat16, which PyTorch does not take from NumPy, as its bits."""
    if array.dtype == "bfloat16":
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def read(raw: Any) -> tuple[np.ndarray, ...]:
    """Read tensors; bfloat16 as float32, which holds it exactly."""
    parts = raw if isinstance(raw, tuple) else (raw,)
    return tuple(np.asarray(part.float() if part.dtype == torch.bfloat16 else part) for part in parts)


def widened(logits: torch.Tensor) -> torch.Tensor:
    """Widen 16 bits before a loss, as autocast does: in float16 a sum over rows overflows."""
    return logits.float() if logits.itemsize == 2 else logits


def softmax(data: RowData) -> Call:
    return Call(functools.partial(torch.softmax, tensor_of(data.logits), 1), read)


def softmax_out(data: RowData) -> Call:
    logits, out = tensor_of(data.logits), tensor_of(data.out)
    return Call(functools.partial(torch.softmax, logits, data.axis, out=out), read)


def log_softmax(data: RowData) -> Call:
    return Call(functools.partial(torch.log_softmax, tensor_of(data.logits), 1), read)


def logsumexp(data: RowData) -> Call:
    return Call(functools.partial(torch.logsumexp, tensor_of(data.logits), 1), read)


def cross_entropy(data: RowData) -> Call:
    logits = tensor_of(data.logits).requires_grad_()
    target = torch.from_numpy(data.target)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        value = functional.cross_entropy(widened(logits), target)
        return value.detach(), torch.autograd.grad(value, logits)[0]

    return Call(run, read)


def sigmoid_cross_entropy(data: RowData) -> Call:
    logits = tensor_of(data.logits).requires_grad_()
    target, total_of = torch.from_numpy(data.target), functional.binary_cross_entropy_with_logits

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        value = total_of(widened(logits), target, reduction="sum") / len(logits)
        return value.detach(), torch.autograd.grad(value, logits)[0]

    return Call(run, read)


softmax_axis0 = softmax_out
narrow_softmax = softmax
narrow_softmax_out = softmax_out
narrow_logsumexp = logsumexp
narrow_cross_entropy = cross_entropy
narrow_sigmoid_cross_entropy = sigmoid_cross_entropy


def value_and_grad(data: PassData) -> Call:
    X, target = torch.from_numpy(data.X), torch.from_numpy(data.target)
    coef = torch.from_numpy(data.coef).requires_grad_()
    intercept = torch.from_numpy(data.intercept).requires_grad_()

    def run() -> tuple[torch.Tensor, ...]:
        value = functional.cross_entropy(functional.linear(X, coef, intercept), target)
        return value.detach(), *torch.autograd.grad(value, (coef, intercept))

    return Call(run)


def fit(data: FitData) -> Call:
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
    n_classes, l2 = int(data.y.max()) + 1, 1 / (data.C * len(X))

    def run() -> Any:
        coef = torch.zeros(n_classes, X.shape[1], dtype=X.dtype, requires_grad=True)
        intercept = torch.zeros(n_classes, dtype=X.dtype, requires_grad=True)
        solver = torch.optim.LBFGS(
            [coef, intercept],
            max_iter=data.max_iter,
            max_eval=2 * data.max_iter,
            history_size=20,
            tolerance_grad=1e-8,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def closure() -> torch.Tensor:
            solver.zero_grad()
            value = (
                functional.cross_entropy(functional.linear(X, coef, intercept), y)
                + l2 / 2 * coef.square().sum()
            )
            value.backward()
            return value

        solver.step(closure)
        return coef, intercept, solver.state[coef]

    return Call(run, read_fit)


def read_fit(raw: Any) -> Fitted:
    coef, intercept, state = raw
    arrays = (np.asarray(tensor.detach()) for tensor in (coef, intercept))
    return Fitted(*arrays, state["n_iter"], state["func_evals"])

"""PyTorch on the CPU: its functions, and automatic differentiation for what it has no function for."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from bench.contenders import Call, Fitted, NotOfferedError, naive
from bench.contenders.budgets import budgeted
from bench.contenders.threads import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.problems.arrays import FitData, HeadData, PassData, RowData

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


def linear_loss(data: PassData) -> tuple[Callable[[], torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Give the mean loss as a function, and the parameters that it can be differentiated by."""
    X, target = torch.from_numpy(data.X), torch.from_numpy(data.target)
    params = tuple(torch.from_numpy(a).requires_grad_() for a in (data.coef, data.intercept))
    return lambda: functional.cross_entropy(functional.linear(X, *params), target), params


def value_and_grad(data: PassData) -> Call:
    loss, params = linear_loss(data)

    def run() -> tuple[torch.Tensor, ...]:
        value = loss()
        return value.detach(), *torch.autograd.grad(value, params)

    return Call(run)


def hessp(data: PassData) -> Call:
    """Differentiate the gradient along the direction once more."""
    loss, params = linear_loss(data)
    direction = tuple(map(torch.from_numpy, (data.coef_direction, data.intercept_direction)))

    def run() -> tuple[torch.Tensor, ...]:
        grads = torch.autograd.grad(loss(), params, create_graph=True)
        return torch.autograd.grad(grads, params, direction)

    return Call(run)


def predict(data: PassData) -> Call:
    X, coef, intercept = map(torch.from_numpy, (data.X, data.coef, data.intercept))

    def read_labels(labels: torch.Tensor) -> tuple[np.ndarray]:
        return naive.chosen_logits(data, labels.numpy())

    return Call(lambda: functional.linear(X, coef, intercept).argmax(1), read_labels)


def head_loss(chunks: bool) -> Callable[..., torch.Tensor]:
    """Give the cross-entropy of a linear map; without chunks, which is faster, its logits are held."""
    if not hasattr(functional, "linear_cross_entropy"):
        raise NotOfferedError(f"PyTorch {torch.__version__} has no linear_cross_entropy")
    options = torch.nn.LinearCrossEntropyOptions() if chunks else None
    return functools.partial(functional.linear_cross_entropy, options=options)


def linear_cross_entropy(data: HeadData, chunks: bool = False) -> Call:
    X, target, coef = map(torch.from_numpy, data[:3])
    return Call(functools.partial(head_loss(chunks), X, coef, target))


def linear_cross_entropy_grad(data: HeadData, chunks: bool = False) -> Call:
    X, coef = (torch.from_numpy(a).requires_grad_() for a in (data.X, data.coef))
    target, loss = torch.from_numpy(data.target), head_loss(chunks)

    def run() -> tuple[torch.Tensor, ...]:
        value = loss(X, coef, target)
        return value.detach(), *torch.autograd.grad(value, (X, coef))

    return Call(run)


chunked_linear_cross_entropy = functools.partial(linear_cross_entropy, chunks=True)
chunked_linear_cross_entropy_grad = functools.partial(linear_cross_entropy_grad, chunks=True)


def fit(
    data: FitData, tolerance_grad: float = 1e-8, tolerance_change: float = 1e-12, evaluations: int = 2
) -> Call:
    """Fit with at most so many evaluations an iteration, counted over all of them."""
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)
    n_classes, l2 = int(data.y.max()) + 1, 1 / (data.C * len(X))

    def run() -> Any:
        coef = torch.zeros(n_classes, X.shape[1], dtype=X.dtype, requires_grad=True)
        intercept = torch.zeros(n_classes, dtype=X.dtype, requires_grad=True)
        solver = torch.optim.LBFGS(
            [coef, intercept],
            max_iter=data.max_iter,
            max_eval=evaluations * data.max_iter,
            history_size=20,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
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


def curve_fit(data: FitData) -> Call:
    if not isinstance(data.X, np.ndarray):
        raise NotOfferedError("PyTorch is not given sparse X")
    return fit(data, tolerance_grad=0.0, tolerance_change=0.0, evaluations=25)  # its line search's most


solvers = {"lbfgs": budgeted(curve_fit)}

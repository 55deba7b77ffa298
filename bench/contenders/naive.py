"""Plain NumPy, as one writes it from the formulas: the reference that every contender is compared with.

It imports nothing of ours. Its precision is that of the arrays it is given; of 16 bits, float32.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contenders import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.problems import PassData, RowData


def exp_shifted(logits: np.ndarray, axis: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give z − max z, its exponential, and the sum of that over an axis."""
    shifted = logits - logits.max(axis=axis, keepdims=True)
    powers = np.exp(shifted)
    return shifted, powers, powers.sum(axis=axis, keepdims=True)


def probabilities(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    """Give exp(z) / Σ exp(z), summed over an axis."""
    _, powers, total = exp_shifted(logits, axis)
    return powers / total


def mean_loss_and_residual(logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
    """Give the mean cross-entropy and its derivative by the logits, (P − Y) / n."""
    n_rows = len(logits)
    picked = np.arange(n_rows), target
    shifted, powers, total = exp_shifted(logits)
    value = np.mean(np.log(total[:, 0]) - shifted[picked], dtype=np.float64)
    residual = powers / total
    residual[picked] -= 1
    return float(value), residual / n_rows


def gradient(residual: np.ndarray, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Carry a derivative by the logits (n, K) back to coefficients (K, d) and intercepts (K,)."""
    return residual.T @ X, residual.sum(axis=0)


def objective(coef: np.ndarray, intercept: np.ndarray, X: Any, y: np.ndarray, C: float) -> float:
    """Give F = mean loss + ‖coef‖² / (2 C n) in float64, whatever was fitted in."""
    coef = np.asarray(coef, np.float64)
    # In blocks of rows: the widened copy of a large X would not fit beside everything else.
    losses = 0.0
    for start in range(0, X.shape[0], 4096):
        rows = slice(start, start + 4096)
        logits = X[rows].astype(np.float64) @ coef.T + intercept
        losses += mean_loss_and_residual(logits, y[rows])[0] * len(logits)
    return (losses + np.vdot(coef, coef) / (2 * C)) / X.shape[0]


def accuracy(coef: np.ndarray, intercept: np.ndarray, X: Any, y: np.ndarray) -> float:
    """Give the share of rows whose largest logit is the target's."""
    return float(np.mean(np.argmax(X @ coef.T + intercept, axis=1) == y))


def softmax(data: RowData) -> Call:
    return Call(lambda: probabilities(data.logits, data.axis))


def softmax_out(data: RowData) -> Call:
    def run() -> np.ndarray:
        np.subtract(data.logits, data.logits.max(axis=data.axis, keepdims=True), out=data.out)
        np.exp(data.out, out=data.out)
        return np.divide(data.out, data.out.sum(axis=data.axis, keepdims=True), out=data.out)

    return Call(run)


def log_softmax(data: RowData) -> Call:
    def run() -> np.ndarray:
        shifted, _, total = exp_shifted(data.logits)
        return shifted - np.log(total)

    return Call(run)


def logsumexp(data: RowData) -> Call:
    def run() -> np.ndarray:
        largest = data.logits.max(axis=1)
        return largest + np.log(np.exp(data.logits - largest[:, None]).sum(axis=1))

    return Call(run)


def cross_entropy(data: RowData) -> Call:
    return Call(lambda: mean_loss_and_residual(data.logits, data.target))


def sigmoid_cross_entropy(data: RowData) -> Call:
    """Write log(1 + e^z) as max(z, 0) + log(1 + e^−|z|), and σ(z) likewise: neither overflows."""
    logits, target = data.logits, data.target

    def run() -> tuple[float, np.ndarray]:
        decay = np.exp(-np.abs(logits))
        losses = np.maximum(logits, 0) + np.log1p(decay) - target * logits
        sigmoid = np.where(logits >= 0, 1, decay) / (1 + decay)
        return float(losses.sum(dtype=np.float64) / len(logits)), (sigmoid - target) / len(logits)

    return Call(run)


softmax_axis0 = softmax_out


def widened(operation: Callable[[RowData], Call], data: RowData) -> Call:
    """Do an operation in float32, and round arrays to the 16 bits that the logits have."""
    narrow = data.logits.dtype

    def run() -> Any:
        result = operation(data.astype(np.float32)).run()
        parts = result if isinstance(result, tuple) else (result,)
        return tuple(np.asarray(part, narrow) for part in parts)

    return Call(run)


narrow_softmax = functools.partial(widened, softmax)
narrow_softmax_out = functools.partial(widened, softmax_out)
narrow_logsumexp = functools.partial(widened, logsumexp)
narrow_cross_entropy = functools.partial(widened, cross_entropy)
narrow_sigmoid_cross_entropy = functools.partial(widened, sigmoid_cross_entropy)


def value_and_grad(data: PassData) -> Call:
    X, target, coef, intercept = data[:4]

    def run() -> tuple[float, np.ndarray, np.ndarray]:
        value, residual = mean_loss_and_residual(X @ coef.T + intercept, target)
        return value, *gradient(residual, X)

    return Call(run)


def hessp(data: PassData) -> Call:
    X, _, coef, intercept, coef_direction, intercept_direction = data

    def run() -> tuple[np.ndarray, np.ndarray]:
        proba = probabilities(X @ coef.T + intercept)
        along = X @ coef_direction.T + intercept_direction
        along -= np.sum(proba * along, axis=1, keepdims=True)
        return gradient(proba * along / X.shape[0], X)

    return Call(run)


sparse_value_and_grad = value_and_grad
sparse_hessp = hessp

"""Plain NumPy, as one writes it from the formulas: the reference that every contender is compared with.

It imports nothing of ours. Its precision is that of the arrays it is given; of 16 bits, float32.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from bench.contenders import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.problems.arrays import HeadData, PassData, RowData


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


def exact_logits(X: Any, coef: np.ndarray, intercept: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Give float64 logits by blocks of rows: the widened copy of a large X would not fit beside the rest."""
    for rows in blocks(X.shape[0], 4096):
        yield rows, X[rows].astype(np.float64) @ coef.T.astype(np.float64) + intercept


def blocks(n_rows: int, block_rows: int) -> Iterator[slice]:
    """Cut rows into slices of so many."""
    return (slice(start, start + block_rows) for start in range(0, n_rows, block_rows))


def chosen_logits(data: PassData, labels: np.ndarray) -> tuple[np.ndarray]:
    """Give, in float64, the logit of the class that was predicted for each row."""
    parts = [
        logits[np.arange(len(logits)), labels[rows]]
        for rows, logits in exact_logits(data.X, data.coef, data.intercept)
    ]
    return (np.concatenate(parts),)


def with_ones(X: Any) -> Any:
    """Give X with a column of ones after it, in one piece of memory."""
    ones = np.ones((X.shape[0], 1), X.dtype)
    return sp.hstack([X, ones], format="csr") if sp.issparse(X) else np.hstack([X, ones])


def scaled(X: Any, factors: np.ndarray) -> Any:
    """Multiply each row by a number."""
    return sp.diags_array(factors) @ X if sp.issparse(X) else X * factors[:, np.newaxis]


def dense(matrix: Any) -> np.ndarray:
    """Give a matrix as an array."""
    return matrix.toarray() if sp.issparse(matrix) else matrix


def labels_of(X: Any, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """Give the class of the largest logit of each row."""
    return np.argmax(X @ coef.T + intercept, axis=1)


def objective(coef: np.ndarray, intercept: np.ndarray, X: Any, y: np.ndarray, C: float) -> float:
    """Give F = mean loss + ‖coef‖² / (2 C n) in float64, whatever was fitted in.

    A single row of coefficients is that of the second of two classes; the first one's logits are zero.
    """
    coef, intercept = np.asarray(coef, np.float64), np.asarray(intercept, np.float64)
    if len(coef) == 1:
        coef, intercept = (np.concatenate([np.zeros_like(one), one]) for one in (coef, intercept))
    losses = sum(
        mean_loss_and_residual(logits, y[rows])[0] * len(logits)
        for rows, logits in exact_logits(X, coef, intercept)
    )
    return (losses + np.vdot(coef, coef) / (2 * C)) / X.shape[0]


def accuracy(coef: np.ndarray, intercept: np.ndarray, X: Any, y: np.ndarray) -> float:
    """Give the share of rows whose largest logit is the target's."""
    return float(np.mean(labels_of(X, coef, intercept) == y))


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


def curvatures(data: PassData) -> np.ndarray:
    """Give p (1 − p), row by row and class by class."""
    proba = probabilities(data.X @ data.coef.T + data.intercept)
    return proba * (1 - proba)


def diagonal(data: PassData) -> Call:
    X = data.X

    def run() -> tuple[np.ndarray, np.ndarray]:
        squares = X.multiply(X) if sp.issparse(X) else X * X
        return gradient(curvatures(data) / X.shape[0], squares)

    return Call(run)


def gram(data: PassData) -> Call:
    X = with_ones(data.X)

    def run() -> list[np.ndarray]:
        return [dense(scaled(X, factors).T @ X) for factors in curvatures(data).T]

    return Call(run, lambda raw: (np.tril(raw),))


def predict(data: PassData) -> Call:
    run = functools.partial(labels_of, data.X, data.coef, data.intercept)
    return Call(run, functools.partial(chosen_logits, data))


def linear_cross_entropy(data: HeadData) -> Call:
    X, target, coef, block_rows = data

    def run() -> float:
        total = 0.0
        for rows in blocks(len(X), block_rows):
            shifted, _, total_power = exp_shifted(X[rows] @ coef.T)
            picked = shifted[np.arange(len(shifted)), target[rows]]
            total += np.sum(np.log(total_power[:, 0]) - picked, dtype=np.float64)
        return total / len(X)

    return Call(run)


def linear_cross_entropy_grad(data: HeadData) -> Call:
    X, target, coef, block_rows = data

    def run() -> tuple[float, np.ndarray, np.ndarray]:
        value, by_X, by_coef = 0.0, np.empty_like(X), np.zeros_like(coef)
        for rows in blocks(len(X), block_rows):
            mean, residual = mean_loss_and_residual(X[rows] @ coef.T, target[rows])
            share = len(residual) / len(X)
            residual *= share
            value += share * mean
            np.matmul(residual, coef, out=by_X[rows])
            by_coef += residual.T @ X[rows]
        return value, by_X, by_coef

    return Call(run)


sparse_value_and_grad = value_and_grad
sparse_hessp = hessp
sparse_diagonal = diagonal
sparse_gram = gram
sparse_predict = predict

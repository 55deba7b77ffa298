"""numexpr: what goes element by element as one expression over all threads, sums and maxima mostly by NumPy.

Its own sums and maxima over an axis run on one thread and add up float32 one by one: NumPy's are faster and
more accurate, but for many rows of a few entries. Declined: 16 bits, which it does not know, and what has a
matrix product in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numexpr
import numpy as np

from bench.contenders import Call
from bench.contenders.threads import THREADS

if TYPE_CHECKING:
    from bench.problems.arrays import RowData

numexpr.set_num_threads(THREADS)

SHORT, MANY = 16, 1000  # entries a row and rows: NumPy pays for each row, numexpr for each call


def along(name: str, array: np.ndarray, axis: int) -> np.ndarray:
    """Give the "max" or "sum" over an axis, which is kept, from whoever is faster at it."""
    if axis == 1 and array.shape[1] <= SHORT and len(array) >= MANY:
        return numexpr.evaluate(f"{name}(a, axis=1)", {"a": array})[:, None]
    return getattr(np, name)(array, axis=axis, keepdims=True)


def powers_of(data: RowData, out: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give max z, exp(z − max z), and the sum of that."""
    names = {"z": data.logits, "largest": along("max", data.logits, data.axis)}
    powers = numexpr.evaluate("exp(z - largest)", names, out=out)
    return names["largest"], powers, along("sum", powers, data.axis)


def softmax(data: RowData) -> Call:
    def run() -> np.ndarray:
        _, powers, total = powers_of(data)
        return numexpr.evaluate("powers / total", {"powers": powers, "total": total}, out=powers)

    return Call(run)


def softmax_out(data: RowData) -> Call:
    def run() -> np.ndarray:
        _, powers, total = powers_of(data, data.out)
        return numexpr.evaluate("powers / total", {"powers": powers, "total": total}, out=powers)

    return Call(run)


def log_softmax(data: RowData) -> Call:
    def run() -> np.ndarray:
        largest, powers, total = powers_of(data)
        names = {"z": data.logits, "largest": largest, "log_total": np.log(total)}
        return numexpr.evaluate("z - largest - log_total", names, out=powers)

    return Call(run)


def logsumexp(data: RowData) -> Call:
    def run() -> np.ndarray:
        largest, _, total = powers_of(data, data.out)
        return (largest + np.log(total))[:, 0]

    return Call(run)


def cross_entropy(data: RowData) -> Call:
    """Leave to NumPy what picks an entry by its index."""
    n_rows = len(data.logits)
    picked = np.arange(n_rows), data.target

    def run() -> tuple[float, np.ndarray]:
        largest, powers, total = powers_of(data, data.out)
        losses = np.log(total[:, 0]) + largest[:, 0] - data.logits[picked]
        names = {"powers": powers, "divisor": total * n_rows}
        grad = numexpr.evaluate("powers / divisor", names, out=powers)
        grad[picked] -= 1 / n_rows
        return losses.mean(dtype=np.float64), grad

    return Call(run)


def sigmoid_cross_entropy(data: RowData) -> Call:
    """Write log(1 + e^z) as max(z, 0) + log(1 + e^−|z|), which does not overflow."""
    names = {"z": data.logits, "t": data.target, "n": data.logits.dtype.type(len(data.logits))}
    out = data.out

    def run() -> tuple[float, np.ndarray]:
        losses = numexpr.evaluate("log1p(exp(-abs(z))) + where(z > 0, z, 0) - t * z", names, out=out)
        value = losses.sum(dtype=np.float64) / len(losses)
        return value, numexpr.evaluate("(1 / (1 + exp(-z)) - t) / n", names, out=out)

    return Call(run)


softmax_axis0 = softmax_out

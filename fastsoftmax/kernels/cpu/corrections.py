"""Corrected dual points: their sums over rows, and the Gram matrix that such a correction is solved with.

By NumPy, in float64, over tiles of rows: it is done once or twice a fit, and nothing is compiled for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.kernels.cpu.corrected_rows import rows_of
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array, Loss, Params, RowBlock, Vector

TILE_BYTES = (
    2**20
)  # of a tile's rows, or its logits, in float64: with a few temporaries in a second-level cache


def gram(
    storage: Any, loss: Loss, params: Params, mean: Vector | None, block: RowBlock, logits: Array | None
) -> Sums:
    """Return Σ wᵢ cᵢ x̃ᵢ x̃ᵢᵀ as `coef`, (d + 1, d + 1), x̃ᵢ = (xᵢ − mean, 1), cᵢ the least curvature.

    n d (d + 2 K) flops on one thread; 2 n d (d + K) for a BLAS without symmetric products.
    """
    n_features = block.X.shape[1]
    total = np.zeros((n_features + 1, n_features + 1))
    with blas.one_thread():  # results depend on the number of threads
        for rows, z, _, weight in _tiles(storage, params, mean, block, logits):
            scale = np.sqrt(weight * rows_of(loss).least_curvature(z))
            scaled = np.empty((len(rows), n_features + 1))
            np.multiply(rows, scale[:, np.newaxis], out=scaled[:, :-1])
            scaled[:, -1] = scale
            total += scaled.T @ scaled
    return Sums(0.0, float(block.weight.sum()), total.reshape(-1), total.shape)


def dual(
    storage: Any,
    loss: Loss,
    params: Params,
    step: Params,
    shared: bool,
    mean: Vector | None,
    block: RowBlock,
    logits: Array | None,
) -> Sums:
    """Return Σ wᵢ Σ p̃ log p̃ in nats, and the residual sums Σ wᵢ (p̃ᵢ − tᵢ) x̃ᵢᵀ of corrected probabilities p̃.

    `corrected_rows` makes them of the logits at `params` and of `step` (xᵢ − mean, 1). 6 n d K flops
    on one thread.
    """
    shape = params.coef.shape
    value, coef, intercept = 0.0, np.zeros(shape), np.zeros(shape[0])
    with blas.one_thread():
        for rows, z, target, weight in _tiles(storage, params, mean, block, logits):
            change = step.coef @ rows.T
            change += step.intercept[:, np.newaxis]
            entropy, residual = rows_of(loss).corrected(loss, z, target, change, shared)
            value += float(weight @ entropy)
            residual *= weight
            coef += residual @ rows
            intercept += residual.sum(axis=1)
    return Sums(value, float(block.weight.sum()), np.concatenate((coef.ravel(), intercept)), shape)


def _tiles(
    storage: Any, params: Params, mean: Vector | None, block: RowBlock, logits: Array | None
) -> Iterator[tuple[Vector, Vector, Array, Vector]]:
    """Yield the rows less the mean, (m, d) float64, their logits (K, m), targets and weights."""
    n_outputs, n_features = params.coef.shape
    step = max(1, TILE_BYTES // (8 * max(n_outputs, n_features, 1)))
    intercept = params.intercept if mean is None else params.intercept + params.coef @ mean
    for start in range(0, block.n_rows, step):
        places = start + np.flatnonzero(block.weight[start : start + step] > 0.0)  # others are never read
        if not len(places):
            continue
        whole = len(places) == places[-1] + 1 - places[0]
        at: Any = slice(int(places[0]), int(places[-1]) + 1) if whole else places
        ways = storage_of(block.X)
        found, columns = storage.in_float64(
            ways.slice(block.X, at.start, at.stop) if whole else ways.take(block.X, places)
        )
        if isinstance(columns, slice):
            rows = found
        else:
            rows = np.zeros((found.shape[0], n_features))
            rows[:, columns] = found.toarray()
        if mean is not None:
            rows -= mean
        if logits is None:
            z = params.coef @ rows.T + intercept[:, np.newaxis]
        else:
            z = logits[at].T.astype(np.float64, order="C")
        yield rows, z, block.target[at], block.weight[at]

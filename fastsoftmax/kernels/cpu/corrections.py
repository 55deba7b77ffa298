"""Corrected dual points: their sums over rows, and the Gram matrix that such a correction is solved with.

By NumPy, in float64, over tiles of rows on several threads: it is done once or twice a fit, and nothing is
compiled for it. NumPy and BLAS release Python's lock. Parts depend on the rows, never on the threads.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Params, Sums
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.kernels.cpu import partition
from fastsoftmax.kernels.cpu.corrected_rows import rows_of
from fastsoftmax.runtime import blas, executor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastsoftmax.contracts import Array, DType, Loss, RowBlock, Vector

# Of a tile's rows, or its logits, in float64. Beyond a second-level cache, as calls of NumPy that take a few
# microseconds have threads wait for Python's lock; on one thread 2**20 to 2**23 are as fast, on two
# 2**20 takes twice as long (300,000 × 100, 7 classes).
TILE_BYTES = 2**23
# About how many nanoseconds a row takes: each of its features, each of its logits, each entry of its square.
FEATURE_WORK, LOGIT_WORK, SQUARE_WORK = 0.5, 15.0, 0.015


def gram(
    storage: Any,
    loss: Loss,
    params: Params,
    mean: Vector | None,
    block: RowBlock,
    logits: Array | None,
    n_threads: int | None,
    dtype: DType,
) -> Sums:
    """Return Σ wᵢ cᵢ x̃ᵢ x̃ᵢᵀ as `coef`, (d + 1, d + 1), and Σ wᵢ (pᵢ − tᵢ) x̃ᵢᵀ as `intercept`, (K d + K,).

    x̃ᵢ is (xᵢ − mean, 1), cᵢ the least curvature; the residual sums are in the order of a parameter vector.
    `dtype` is that of the products of features, for which a correction may be rough; all else is float64.
    n d (d + 4 K) flops; 2 n d (d + 2 K) for a BLAS without symmetric products.
    """
    n_outputs, n_features = params.coef.shape
    order = n_features + 1

    def add(slot: Vector, scratch: Array, rows: Vector, z: Vector, target: Array, weight: Vector) -> None:
        curvature, residual = rows_of(loss).uncorrected(loss, z, target)
        _add_residual(slot[order * order :], residual, rows, weight)
        matrix = slot[: order * order].reshape(order, order)
        curvature *= weight
        matrix[-1, :-1] += curvature @ rows
        matrix[-1, -1] += curvature.sum()
        scaled = rows
        if dtype != np.float64:
            scaled = scratch[: len(rows)]
            np.copyto(scaled, rows, casting="same_kind")
        scaled *= np.sqrt(curvature).astype(dtype)[:, np.newaxis]
        matrix[:-1, :-1] += scaled.T @ scaled

    size = order * order + n_outputs * order
    work = n_features * FEATURE_WORK + n_outputs * LOGIT_WORK + order * order * SQUARE_WORK
    total = _summed(
        add, size, dtype, storage, params, mean, block, logits, n_threads, work=work * block.n_rows
    )  # fmt: skip
    matrix = total[: order * order].reshape(order, order)
    matrix[:-1, -1] = matrix[-1, :-1]
    return Sums(0.0, float(block.weight.sum()), total, (order, order))


def dual(
    storage: Any,
    loss: Loss,
    params: Params,
    step: Params,
    shared: bool,
    mean: Vector | None,
    block: RowBlock,
    logits: Array | None,
    n_threads: int | None,
    intercept_shift: Vector | None,
) -> Sums:
    """Return Σ wᵢ Σ p̃ log p̃ in nats, and the residual sums Σ wᵢ (p̃ᵢ − tᵢ) x̃ᵢᵀ of corrected probabilities p̃.

    `corrected_rows` makes them of the logits at `params` and of `step` (xᵢ − mean, 1). With an
    `intercept_shift`, the curvature Σ wᵢ ∂p̃ᵢ/∂s (K, K) of a further one is appended. 6 n d K flops.
    """
    shape = params.coef.shape
    n_outputs, n_features = shape
    end = n_outputs * n_features + n_outputs
    size = end + (0 if intercept_shift is None else n_outputs**2)

    def add(slot: Vector, _: Array, rows: Vector, z: Vector, target: Array, weight: Vector) -> None:
        change = step.coef @ rows.T
        change += step.intercept[:, np.newaxis]
        entropy, residual, proba = rows_of(loss).corrected(loss, z, target, change, shared, intercept_shift)
        slot[-1] += weight @ entropy
        _add_residual(slot[:end], residual, rows, weight)
        if proba is not None:
            slot[end:-1] += rows_of(loss).shift_curvature(proba, weight).ravel()

    work = n_features * FEATURE_WORK + 2.0 * n_outputs * LOGIT_WORK
    total = _summed(
        add, size + 1, np.dtype(np.float64), storage, params, mean, block, logits, n_threads,
        work=work * block.n_rows,
    )  # fmt: skip
    return Sums(float(total[-1]), float(block.weight.sum()), total[:-1], shape)


def largest_norm(
    storage: Any, root: Array, mean: Vector | None, block: RowBlock, n_threads: int | None
) -> float:
    """Return the largest ‖(xᵢ − mean, 1) root‖² of the rows that have a weight; `root` is (d + 1, m)."""
    n_features = len(root) - 1

    def add(slot: Vector, _: Array, rows: Vector, z: Vector, target: Array, weight: Vector) -> None:
        images = rows @ root[:-1]
        images += root[-1]
        slot[0] = max(slot[0], np.einsum("im,im->i", images, images).max())

    no_logits = Params(np.zeros((0, n_features)), np.zeros(0)), np.zeros((block.n_rows, 0))
    total = _summed(
        add, 1, np.dtype(np.float64), storage, no_logits[0], mean, block, no_logits[1], n_threads,
        work=n_features * (FEATURE_WORK + 2.0 * root.shape[1] * SQUARE_WORK) * block.n_rows, join=np.maximum,
    )  # fmt: skip
    return float(total[0])


def _add_residual(slot: Vector, residual: Vector, rows: Vector, weight: Vector) -> None:
    """Add the residual sums of a tile to `slot`, (K d + K,). Multiplies `residual` (K, m) by the weights."""
    n_outputs, n_features = len(residual), rows.shape[1]
    residual *= weight
    slot[: n_outputs * n_features].reshape(n_outputs, n_features)[:] += residual @ rows
    slot[n_outputs * n_features :] += residual.sum(axis=1)


def _summed(
    add: Callable[..., None],
    size: int,
    dtype: DType,
    storage: Any,
    params: Params,
    mean: Vector | None,
    block: RowBlock,
    logits: Array | None,
    n_threads: int | None,
    *,
    work: float,
    join: Callable[[Vector, Vector], Vector] = np.add,
) -> Vector:
    """Return what add(slot, scratch, rows, z, target, weight) adds up in `slot`, (size,), over all tiles.

    `scratch` has the shape of a tile's rows in `dtype`; that of float64 is empty, as `rows` may be
    overwritten. Each part of the rows has a slot, and they are joined in order.
    """
    n_outputs, n_features = params.coef.shape
    tile_rows = max(1, min(block.n_rows, TILE_BYTES // (8 * max(n_outputs, n_features, 1))))
    bounds = partition.row_bounds(block.n_rows, size, tile_rows)
    slots = np.zeros((len(bounds) - 1, size))

    def worker(parts: Iterator[int]) -> Iterator[None]:
        rows = np.empty((tile_rows, n_features))
        scratch = np.empty((tile_rows if dtype != np.float64 else 0, n_features), dtype)
        for part in parts:
            for tile in _tiles(
                storage, params, mean, block, logits, rows, range(bounds[part], bounds[part + 1], tile_rows),
                int(bounds[part + 1]),
            ):  # fmt: skip
                add(slots[part], scratch, *tile)
                yield

    with blas.one_thread():  # results depend on the number of threads
        executor.run_in_python(worker, len(slots), work=work, n_threads=n_threads)
    return functools.reduce(join, slots[1:], slots[0])


def _tiles(
    storage: Any,
    params: Params,
    mean: Vector | None,
    block: RowBlock,
    logits: Array | None,
    out: Vector,
    starts: range,
    end: int,
) -> Iterator[tuple[Vector, Vector, Array, Vector]]:
    """Yield the rows less the mean, (m, d) float64 in `out`, their logits (K, m), targets and weights."""
    intercept = params.intercept if mean is None else params.intercept + params.coef @ mean
    for start in starts:
        stop = min(start + starts.step, end)
        places = start + np.flatnonzero(block.weight[start:stop] > 0.0)  # others are never read
        if not len(places):
            continue
        whole = len(places) == places[-1] + 1 - places[0]
        at: Any = slice(int(places[0]), int(places[-1]) + 1) if whole else places
        ways = storage_of(block.X)
        rows = out[: len(places)]
        storage.to_float64(
            ways.slice(block.X, at.start, at.stop) if whole else ways.take(block.X, places), rows
        )
        if mean is not None:
            rows -= mean
        if logits is None:
            z = params.coef @ rows.T
            z += intercept[:, np.newaxis]
        else:
            z = logits[at].T.astype(np.float64, order="C")
        yield rows, z, block.target[at], block.weight[at]

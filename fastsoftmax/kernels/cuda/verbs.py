"""A pass over X: products through CuPy, and between them the row kernels, some rows at a time.

The (n, K) logits never exist as a whole. Sums over rows run in float64 from chunk to chunk, in the order of
the rows; within a chunk they are what cuBLAS makes of float32 or float64.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Guest, Mixture, Params, Resident, RowBlock, Sums, Top
from fastsoftmax.kernels.cuda import launch, rows
from fastsoftmax.kernels.cuda.blocks import Matrix, Placed, here, on_device, there
from fastsoftmax.kernels.cuda.products import THREADS, covariance_kernel
from fastsoftmax.kernels.cuda.runtime import LEAST_THREADS, SIMULATED, WARP, arrays
from fastsoftmax.kernels.cuda.sums import DeviceSums
from fastsoftmax.losses.sigmoid import Sigmoid
from fastsoftmax.losses.softmax import SoftmaxIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.memory import Memory


def compute_dtype(X: Any, dtype: Any = None) -> np.dtype[Any]:
    """Return the dtype of products: the one asked for, or float32 where that holds every value of X."""
    if dtype is not None:
        return np.dtype(dtype)
    own = X.host if isinstance(X, Resident) else X
    own = own.data.dtype if isinstance(own, Csr) else own.dtype
    return np.dtype(np.float32 if own.itemsize <= 2 or own == np.float32 else np.float64)


def _on_device(params: Params, dtype: Any) -> tuple[Any, Any]:
    """Return coefficients and intercepts as arrays of the device, where they may be already."""
    coef, intercept = (
        there(np.ascontiguousarray(part, dtype))
        if isinstance(part, np.ndarray)
        else part.astype(dtype, copy=False)
        for part in params
    )
    return coef, intercept


def _loss_there(loss: Any) -> Any:
    """Return the loss with its class weights on the device: kernels of every chunk ask for them."""
    return loss._replace(class_weight=there(loss.class_weight))


def _logits(X: Matrix, chunk: slice, params: tuple[Any, Any]) -> Any:
    z = X.times(chunk, params[0])
    z += params[1]
    return z


def loss_grad(
    loss: Any,
    params: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    row_values: NDArray[np.float64] | None = None,
    X_grad: NDArray[Any] | None = None,
    coef_grad: bool = True,
    dtype: Any = None,
    stays: bool = False,
) -> Sums:
    """Return Σ wᵢ ℓᵢ and its gradient over the rows of a block.

    `row_values` (n,) receives wᵢ ℓᵢ and `X_grad` (n, d) the gradient with respect to X, where given; without
    `coef_grad` the sums' `coef` is empty. With `stays` the sums stay on the device, and no host waits.
    """
    dtype = compute_dtype(block.X, dtype)
    loss, given = _loss_there(loss), _on_device(params, dtype)
    X, target, weight = on_device(block)
    n_outputs = len(given[1])
    found = DeviceSums(n_outputs, X.shape[1] if coef_grad else 0)
    for chunk in X.chunks(n_outputs, dtype.itemsize):
        z = _logits(X, chunk, given)
        values = rows.losses_of(loss, z, target[chunk], weight=weight[chunk], slopes=z)
        found.value += launch.total(values)
        found.add(X, chunk, z, coef=coef_grad)
        if row_values is not None:
            row_values[chunk] = here(values)
        if X_grad is not None:
            X_grad[chunk] = here(z @ given[0])
    return found.sums(block.weight, stays=stays)


def loss_grads(
    loss: Any,
    params: list[Params],
    weights: NDArray[np.float64] | None,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: Any = None,
) -> list[Sums]:
    """Return Σ wᵢ ℓᵢ and its gradient for several parameters, each with weights (s, n) of its own."""
    blocks = [block] * len(params) if weights is None else [block._replace(weight=own) for own in weights]
    return [loss_grad(loss, own, each, dtype=dtype) for own, each in zip(params, blocks, strict=True)]


def _mass(loss: Any, target: Any, weight: Any, dtype: Any) -> Any:
    """Return wᵢ times the weight that the classes carry in a row's target, (m,): its curvature's factor."""
    class_weight = loss.class_weight
    keep, spread = 1.0 - loss.label_smoothing, loss.label_smoothing / len(class_weight)
    own = class_weight[target] if isinstance(loss, SoftmaxIndex) else target @ class_weight
    return (weight * (keep * own + spread * class_weight.sum())).astype(dtype)


def _probabilities(loss: Any, z: Any) -> Any:
    """Turn logits into probabilities."""
    if isinstance(loss, Sigmoid):
        rows.write_sigmoid(z, z, False)
    else:
        rows.write_map("softmax", z, z)
    return z


def _label_weights(loss: Any, weight: Any, dtype: Any) -> Any:
    return (weight[:, None] * loss.class_weight).astype(dtype)


def _curvatures(loss: Any, z: Any, target: Any, weight: Any) -> Any:
    """Turn logits into the weighted diagonals of ∂²ℓ/∂z²."""
    p = _probabilities(loss, z)
    own = (
        _label_weights(loss, weight, z.dtype)
        if isinstance(loss, Sigmoid)
        else _mass(loss, target, weight, z.dtype)[:, None]
    )
    return own * (p * (1 - p))


def _curve_along(loss: Any, z: Any, s: Any, target: Any, weight: Any) -> Any:
    """Turn the direction's logits s into wᵢ (∂²ℓ/∂z²) s; z is spoilt."""
    p = _probabilities(loss, z)
    if isinstance(loss, Sigmoid):
        s *= _label_weights(loss, weight, z.dtype) * (p * (1 - p))
        return s
    mass = _mass(loss, target, weight, z.dtype)
    n_rows, n_classes = z.shape
    threads = LEAST_THREADS if SIMULATED else THREADS if n_classes > WARP else WARP
    bits = (threads - 1).bit_length()
    launch.launch(
        covariance_kernel(z.dtype.name),
        n_rows,
        1 << bits,
        p.reshape(-1),
        s.reshape(-1),
        mass,
        n_classes,
        bits,
    )
    return s


def hessp(
    loss: Any,
    params: Params,
    direction: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Any = None,
    dtype: Any = None,
    stays: bool = False,
) -> Sums:
    """Return the Hessian of Σ wᵢ ℓᵢ times a direction; `logits`, those of `params`, may be given.

    With `stays` the sums stay on the device, and no host waits.
    """
    dtype = compute_dtype(block.X, dtype)
    loss, given, along = _loss_there(loss), _on_device(params, dtype), _on_device(direction, dtype)
    X, target, weight = on_device(block)
    found = DeviceSums(len(given[1]), X.shape[1])
    for chunk in X.chunks(len(given[1]), 2 * dtype.itemsize):
        z = _logits(X, chunk, given) if logits is None else there(logits[chunk]).copy()
        s = _logits(X, chunk, along)
        found.add(X, chunk, _curve_along(loss, z, s, target[chunk], weight[chunk]))
    return found.sums(block.weight, stays=stays)


def diagonal(
    loss: Any, params: Params, block: RowBlock, n_threads: int | None = None, *, dtype: Any = None
) -> Sums:
    """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ."""
    loss = _loss_there(loss)

    def multipliers(placed: Placed, chunk: slice, z: Any, found: DeviceSums) -> Any:
        return _curvatures(loss, z, placed.target[chunk], placed.weight[chunk])

    return _pass(params, block, dtype, multipliers, squared=True)


def dual(
    loss: Any,
    params: Params,
    mixture: Mixture,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Any = None,
    coef_grad: bool = True,
    dtype: Any = None,
) -> Sums:
    """Return Σ wᵢ Σ p̃ log p̃ and the residual sums of the mixed probabilities p̃.

    `logits`, those of `params`, may be given; without `coef_grad` the sums' `coef` is empty.
    """
    tilt, theta, q = there(mixture.tilt), mixture.theta, there(np.asarray(mixture.q))
    xp = arrays()

    def entropies(p: Any) -> Any:
        """Return p log p, which is 0 at 0."""
        inside = xp.where(p > 0, p, 1)
        return inside * xp.log(inside)

    def multipliers(placed: Placed, chunk: slice, z: Any, found: DeviceSums) -> Any:
        target, weight = placed.target[chunk], placed.weight[chunk]
        # In float64: the means over rows have to meet those of the targets to the last places.
        p = _probabilities(loss, z.astype(np.float64) + tilt)
        p *= 1.0 - theta
        p += theta * q
        plus = entropies(p) + entropies(1 - p) if isinstance(loss, Sigmoid) else entropies(p)
        found.value += launch.total(weight * plus.sum(axis=1))
        keep = 1.0 - loss.label_smoothing
        p -= 0.5 * loss.label_smoothing if isinstance(loss, Sigmoid) else loss.label_smoothing / p.shape[1]
        if target.ndim == 1:
            p[xp.arange(len(p)), target] -= keep
        else:
            p -= keep * target
        p *= weight[:, None]
        return p.astype(z.dtype)

    return _pass(params, block, dtype, multipliers, logits=logits, coef=coef_grad)


def shift_curvature(
    of_logits: Callable[[Any, Any], Any],
    params: Params,
    tilt: NDArray[np.float64],
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Any = None,
    dtype: Any = None,
) -> NDArray[np.float64]:
    """Return Σ wᵢ ∂pᵢ/∂tᵀ at the logits plus t, (K, K), by a loss's `shift_curvature`.

    `logits` (n, K), those of `params`, are not computed again where they are given.
    """
    dtype = compute_dtype(block.X, dtype)
    given, shift = _on_device(params, dtype), there(tilt)
    X, _, weight = on_device(block)
    total = arrays().zeros((len(tilt), len(tilt)))
    for chunk in X.chunks(len(tilt), 8):
        z = (_logits(X, chunk, given) if logits is None else there(logits[chunk])).astype(np.float64)
        z += shift
        total += of_logits(z, weight[chunk])
    return np.asarray(here(total))


def _pass(
    params: Params,
    block: RowBlock,
    dtype: Any,
    multipliers: Callable[[Placed, slice, Any, DeviceSums], Any],
    *,
    squared: bool = False,
    logits: Any = None,
    coef: bool = True,
) -> Sums:
    """Return the sums of what a function makes of the logits of each chunk, where they are known of those."""
    dtype = compute_dtype(block.X, dtype)
    given = _on_device(params, dtype)
    placed = on_device(block)
    found = DeviceSums(len(given[1]), placed.X.shape[1] if coef else 0)
    for chunk in placed.X.chunks(len(given[1]), dtype.itemsize):
        z = _logits(placed.X, chunk, given) if logits is None else there(logits[chunk]).copy()
        found.add(placed.X, chunk, multipliers(placed, chunk, z, found), squared=squared, coef=coef)
    return found.sums(block.weight)


def gram(
    loss: Any,
    params: Params | None,
    pairs: bool,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: Any = np.float64,
    classes: tuple[int, int] | None = None,
) -> Sums:
    """Return the class blocks of the Hessian of Σ wᵢ ℓᵢ, or those of all pairs of classes, as `coef`.

    Of all classes, or from the first to before the last of `classes`. Without parameters, the Gram matrix of
    the rows: that of a curvature of 1. The blocks are of rows with a one after them.
    """
    xp = arrays()
    loss = _loss_there(loss)
    X, target, weight = on_device(block)
    n_outputs = 1 if params is None else len(params.intercept)
    left, right = classes or (0, n_outputs)
    chosen = range(right - left)
    n_blocks = len(chosen) * (len(chosen) + 1) // 2 if pairs else len(chosen)
    size = X.shape[1] + 1
    given = None if params is None else _on_device(params, compute_dtype(block.X))
    blocks = xp.zeros((n_blocks, size, size), dtype)
    for chunk in X.chunks(max(n_outputs, 2 * size), np.dtype(dtype).itemsize):
        own, aims = weight[chunk], target[chunk]
        if given is None:
            columns = [own.astype(dtype)]
        else:
            columns = _curvature_columns(loss, _logits(X, chunk, given), aims, own, range(left, right), pairs)
        joined = xp.ones((chunk.stop - chunk.start, size), dtype)
        joined[:, :-1] = X.dense(chunk, np.dtype(dtype))
        for m, curvature in enumerate(columns):
            blocks[m] += (joined * curvature.astype(dtype, copy=False)[:, None]).T @ joined
    result = Sums.room((n_blocks, size, size), 0, dtype)
    result.coef[...] = here(blocks)
    return replace(result, weight=float(block.weight.sum()))


def _curvature_columns(loss: Any, z: Any, target: Any, weight: Any, classes: range, pairs: bool) -> list[Any]:
    """Return w ∂²ℓ/∂z_k² of some classes, a column for each, or w ∂²ℓ/∂z_k∂z_l for l ≤ k."""
    if not pairs:
        return list(_curvatures(loss, z, target, weight).T[classes.start : classes.stop])
    chosen = [(k, other) for k in classes for other in range(classes.start, k + 1)]
    p = _probabilities(loss, z)
    if isinstance(loss, Sigmoid):
        own = _label_weights(loss, weight, z.dtype) * (p * (1 - p))
        return [own[:, k] if k == other else 0 * own[:, k] for k, other in chosen]
    mass = _mass(loss, target, weight, z.dtype)
    return [mass * p[:, k] * ((1 if k == other else 0) - p[:, other]) for k, other in chosen]


def logits(
    params: Params,
    X: Any,
    n_threads: int | None = None,
    *,
    dtype: Any = None,
    out: Any = None,
    memory: Memory | None = None,
) -> Any:
    """Return X Wᵀ + b, (n, K); in `out` if given. The host's `memory` is not needed.

    On the host, or on the device where the rows are a caller's there, or a placed block's.
    """
    dtype = compute_dtype(X, dtype)
    given = _on_device(params, dtype)
    matrix = Matrix(X)
    stays = isinstance(X, Guest) or (isinstance(X, Resident) and out is None)
    shape = matrix.shape[0], len(given[1])
    result = out if out is not None else launch.empty(shape, dtype) if stays else np.empty(shape, dtype)
    for chunk in matrix.chunks(len(given[1]), dtype.itemsize):
        z = _logits(matrix, chunk, given)
        result[chunk] = z if stays else here(z)
    return result


def top(params: Params, X: Any, k: int, n_threads: int | None = None, *, with_totals: bool = False) -> Top:
    """Return the k largest logits of each row, of equal ones the earlier class first.

    On the device where the rows are a caller's there.
    """
    xp = arrays()
    dtype = compute_dtype(X)
    given = _on_device(params, dtype)
    matrix = Matrix(X)
    n_rows = matrix.shape[0]
    stays = isinstance(X, Guest)
    room, brought = (launch.empty, lambda a: a) if stays else (np.empty, here)
    classes, largest = room((n_rows, k), np.int64), room((n_rows, k), dtype)
    totals = room(n_rows if with_totals else 0, np.float64)
    for chunk in matrix.chunks(len(given[1]), 4 * dtype.itemsize):
        z = _logits(matrix, chunk, given)
        order = xp.argmax(z, axis=1)[:, None] if k == 1 else xp.argsort(-z, axis=1, kind="stable")[:, :k]
        best = xp.take_along_axis(z, order, axis=1)
        classes[chunk], largest[chunk] = brought(order), brought(best)
        if with_totals:
            totals[chunk] = brought(xp.exp(z - best[:, :1]).sum(axis=1, dtype=np.float64))
    return Top(classes, largest, totals)

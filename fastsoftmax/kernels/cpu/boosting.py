"""Gradients and diagonal curvatures of rows of logits, as boosting libraries want them for each number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cpu.rows import over_rows
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Vector

_by_rows = Kernel("fastsoftmax.kernels.cpu.jitted.boosting", "by_rows", divisible=True)
_by_classes = Kernel("fastsoftmax.kernels.cpu.jitted.boosting", "by_classes", divisible=True)


def slopes_and_curvatures(
    x: Array,
    target: Array,
    mass: Vector,
    *,
    factor: float,
    floor: float,
    out: tuple[Array, Array],
    by_class: bool = False,
    n_threads: int | None = None,
) -> None:
    """Write ∂ℓᵢ/∂x and max(factor · Aᵢ p (1 − p), floor) of the softmax cross-entropy to `out`.

    ℓᵢ = Σₖ aᵢₖ (lseᵢ − xᵢₖ) with masses a of sum Aᵢ.

    Parameters
    ----------
    x : array (n, K), float32, C-ordered; with `by_class` (K, n), float64
        The logits.
    target : array (n,) int64, or (n, K) of the dtype of x
        Labels, at which all of a row's mass is, or the masses.
    mass : array (n,), or (1,) for one of all rows, float64
        A.
    factor, floor : float
    out : two arrays of the shape of x, float32
    by_class : bool
    n_threads : int, optional

    Notes
    -----
    One reading of x.
    """
    label: NDArray[np.int64] = target if target.ndim == 1 else np.empty(0, np.int64)
    masses = np.empty((0, 0), x.dtype) if target.ndim == 1 else target
    n_rows = x.shape[1] if by_class else x.shape[0]
    body = _by_classes if by_class else _by_rows
    over_rows(body, n_rows, 2 * x.size, n_threads, x, label, mass, masses, factor, floor, *out)

"""The block-diagonal preconditioner: one block for each class's coefficients and intercept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.linalg.cholesky import factor, solve
from fastsoftmax.preconditioners.projection import FLOOR, is_lost

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Params, Vector
    from fastsoftmax.preconditioners.projection import Inverse


def inverse(
    blocks: Array,
    weight: float,
    l2: float,
    fit_intercept: bool,
    diagonal: Params | None = None,
    n_threads: int | None = None,
) -> Inverse:
    """Return v ↦ blockdiag(Hₖ)⁻¹ v, in place, with Hₖ = blocks[k] / weight + l2 · I.

    Parameters
    ----------
    blocks : ndarray (K, d + 1, d + 1), or (1, d + 1, d + 1), one for all classes
        Lower triangles, C-ordered, float32 or float64; the last row and column are the intercept's.
        Overwritten by the factors.
    weight : float
        Σ wᵢ of the rows that the blocks were summed over.
    l2 : float
    fit_intercept : bool
    diagonal : Params, optional
        The diagonal of the Hessian over all rows, without l2, if the blocks are those of a sample.
    n_threads : int, optional

    Raises
    ------
    FloatingPointError
        If a block is not finite.

    Notes
    -----
    K d³ / 3 flops to build, 2 K d² to apply.
    """
    n_features = blocks.shape[1] - 1
    size = n_features + fit_intercept
    shift = float(np.finfo(blocks.dtype).eps) * 16.0
    # The factors are written over the blocks: with memory of their own, and the previous preconditioner still
    # alive, a fit would hold three times the blocks.
    lowers = blocks.reshape(-1)[: len(blocks) * size * size].reshape((len(blocks), size, size))
    scales = np.empty((len(blocks), size))
    for k, block in enumerate(blocks):
        matrix = block[:size, :size].astype(np.float64)
        matrix /= weight
        if diagonal is not None:
            entries = np.append(diagonal.coef[k], diagonal.intercept[k])
            set_diagonal(matrix, entries[:size])
        matrix[np.arange(n_features), np.arange(n_features)] += l2
        singular = is_lost(l2, float(matrix.diagonal().max()))
        lowers[k], scales[k] = factor(matrix, max(shift, FLOOR) if singular else shift, blocks.dtype)

    def apply(vector: Params) -> None:
        coef, intercept = vector
        if not fit_intercept:
            solve(lowers, scales, coef, n_threads)
            return
        joined = np.concatenate((coef, intercept[:, np.newaxis]), axis=1)
        solve(lowers, scales, joined, n_threads)
        coef[:], intercept[:] = joined[:, :-1], joined[:, -1]

    return apply


def set_diagonal(matrix: Vector, diagonal: Vector) -> None:
    """Replace the diagonal of a positive semidefinite matrix (D, D) in place, keeping it semidefinite.

    A sample may miss the few rows in which a feature is not zero, and with them all of its curvature: a step
    along it would be far too long. Where the sampled diagonal is too large, its row and column are scaled
    down; where it is too small, the rest is added.
    """
    sampled = matrix.diagonal().copy()
    scale = np.sqrt(np.minimum(1.0, diagonal / np.where(sampled > 0.0, sampled, 1.0)))
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    matrix[np.diag_indices_from(matrix)] = diagonal

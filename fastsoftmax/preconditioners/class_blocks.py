"""One block for each class: how its coefficients and its intercept curve together, other classes left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.preconditioners.cholesky import factor, solve
from fastsoftmax.preconditioners.projection import ROOM, is_lost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params
    from fastsoftmax.preconditioners.projection import Inverse


def inverse(
    blocks: NDArray[Any],
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
        Lower triangles; the last row and column are the intercept's. C-ordered; the factors are written over
        them.
    weight : float
    l2 : float
    fit_intercept : bool
    diagonal : Params, optional
        The diagonal of the Hessian over all rows, without l2, where the blocks are those of a sample.
    n_threads : int, optional
    """
    n_features = blocks.shape[1] - 1
    size = n_features + fit_intercept
    shift = float(np.finfo(blocks.dtype).eps) * 16.0
    # In the blocks' own memory: with as much again for the factors, and those of the last preconditioner
    # still there, a fit would hold three times the blocks.
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
        lowers[k], scales[k] = factor(matrix, max(shift, ROOM) if singular else shift, blocks.dtype)

    def apply(vector: Params) -> None:
        coef, intercept = vector
        if not fit_intercept:
            solve(lowers, scales, coef, n_threads)
            return
        joined = np.concatenate((coef, intercept[:, np.newaxis]), axis=1)
        solve(lowers, scales, joined, n_threads)
        coef[:], intercept[:] = joined[:, :-1], joined[:, -1]

    return apply


def set_diagonal(matrix: NDArray[np.float64], diagonal: NDArray[np.float64]) -> None:
    """Give a positive semidefinite matrix another diagonal, in place, and keep it so.

    A sample may miss the few rows in which a feature is not zero, and with them all of its curvature: a step
    along it would be far too long. Where the matrix has too much, its row and column are scaled; where it has
    too little, the rest is added.
    """
    sampled = matrix.diagonal().copy()
    scale = np.sqrt(np.minimum(1.0, diagonal / np.where(sampled > 0.0, sampled, 1.0)))
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    matrix[np.diag_indices_from(matrix)] = diagonal

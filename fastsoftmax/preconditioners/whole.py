"""The Hessian itself, where it is small: conjugate gradients then end after a step or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.preconditioners.cholesky import factor, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params
    from fastsoftmax.preconditioners.projection import Inverse


def inverse(
    pairs: NDArray[Any], n_classes: int, weight: float, l2: float, fit_intercept: bool, invariant: bool
) -> Inverse:
    """Return v ↦ H⁻¹ v, in place; with `invariant`, only of vectors that sum to zero over classes.

    Parameters
    ----------
    pairs : ndarray (K (K + 1) / 2, d + 1, d + 1)
        Lower triangles of the blocks of class pairs (0, 0), (1, 0), (1, 1), …; the last row and column are
        the intercept's.
    n_classes, weight, l2, fit_intercept
    invariant : bool
        Whether adding one vector to every class changes no loss. The Hessian is singular along those
        directions but for l2; a multiple of (1 1ᵀ / K) ⊗ diag fills them and leaves the others alone.
    """
    n_features = pairs.shape[1] - 1
    size = n_features + fit_intercept
    blocks = pairs[:, :size, :size].astype(np.float64)
    blocks /= weight
    hessian = np.zeros((n_classes, size, n_classes, size))
    upper = np.triu_indices(size, 1)
    index = 0
    for k in range(n_classes):
        for other in range(k + 1):
            block = blocks[index]
            block[upper] = block.T[upper]
            hessian[k, :, other, :] = block
            index += 1
    features = np.arange(n_features)
    for k in range(n_classes):
        hessian[k, features, k, features] += l2
    if invariant:
        places = np.arange(size)
        fill = np.mean([hessian[k, places, k, places] for k in range(n_classes)], axis=0) / n_classes
        for k in range(n_classes):
            for other in range(k + 1):
                hessian[k, places, other, places] += fill
    order = n_classes * size
    lower, scale = factor(hessian.reshape(order, order), float(np.finfo(np.float64).eps) * order)

    def apply(vector: Params) -> None:
        coef, intercept = vector
        if not fit_intercept:
            solve(lower[np.newaxis], scale[np.newaxis], coef.reshape(1, -1), 1)
            return
        stacked = np.concatenate((coef, intercept[:, np.newaxis]), axis=1)
        solve(lower[np.newaxis], scale[np.newaxis], stacked.reshape(1, -1), 1)
        coef[:], intercept[:] = stacked[:, :-1], stacked[:, -1]

    return apply

"""Quadratics plus absolute values by an interior-point method, where columns nearly depend on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.solvers.subspace import RIDGE, factor, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

MAX_STEPS = 60
TO_BOUNDARY = 0.99  # the part of the longest step that leaves all numbers positive
EPS = float(np.finfo(np.float64).eps)


def minimum(
    matrix: Vector,
    grad: Vector,
    x: Vector,
    thresholds: Vector,
    sums: NDArray[np.intp],
    goal: float,
) -> Vector:
    """Return y near the minimum of grad · (y − x) + ½ (y − x)ᵀ H (y − x) + Σ t |y|, without zeros.

    Parameters
    ----------
    matrix : ndarray (m, m)
        H, positive semidefinite. Not changed.
    grad, x : ndarray (m,)
    thresholds : ndarray (m,)
        t, zero for a free parameter.
    sums : ndarray (r, K), int
        Sets of free parameters along whose sum H is flat.
    goal : float
        The excess to stop at.

    Notes
    -----
    y = u − v with u, v ≥ 0, whose multipliers are z = t ± (H (y − x) + grad): predictor and corrector steps
    by one Cholesky factor of H + D⁻¹ each, D = u / z + v / z' [1]_. Its number of steps, some 20, hardly
    depends on the conditioning of H, nor on how many signs change on the way, of which methods that follow
    the support take one at a time.

    References
    ----------
    .. [1] S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM J. Optim. 2
       (1992).
    """
    bound = thresholds > 0.0
    t, n_bound = thresholds[bound], int(np.count_nonzero(bound))
    diagonal = matrix.diagonal()
    curved = matrix.copy()
    places = np.arange(len(x))
    curved[places, places] += RIDGE * diagonal
    for among in sums:
        curved[np.ix_(among, among)] += diagonal[among].mean() / len(among)
    y, slope = x.copy(), grad.copy()
    size = max(float(np.abs(x[bound]).mean()), float(np.median(t / np.maximum(diagonal[bound], EPS))))
    u, v = np.maximum(y[bound], 0.0) + size, np.maximum(-y[bound], 0.0) + size
    zu, zv = np.maximum(t + slope[bound], 0.1 * t), np.maximum(t - slope[bound], 0.1 * t)
    for _ in range(MAX_STEPS):
        mu = float(u @ zu + v @ zv) / (2 * n_bound)
        ru, rv = slope[bound] + t - zu, t - slope[bound] - zv
        if 2 * n_bound * mu <= goal and max(np.abs(ru / t).max(), np.abs(rv / t).max()) <= 1e-8:
            break
        width = u / zu + v / zv
        system = curved.copy()
        system[places[bound], places[bound]] += 1.0 / width
        lower, scale = factor(system)

        def step(cu: Vector, cv: Vector) -> tuple[Vector, Vector, Vector, Vector, Vector, Vector]:
            """Return Δy, H Δy, Δu, Δv, Δzu, Δzv that bring u zu to cu and v zv to cv, to first order."""
            right = -slope  # noqa: B023 - called in this round only
            right[bound] = (cu / zu - cv / zv - (u - v) - u / zu * ru + v / zv * rv) / width  # noqa: B023
            dy = solve(lower, scale, right)  # noqa: B023
            change = curved @ dy
            dzu, dzv = change[bound] + ru, rv - change[bound]  # noqa: B023
            return dy, change, cu / zu - u - u / zu * dzu, cv / zv - v - v / zv * dzv, dzu, dzv  # noqa: B023

        zero = np.zeros(n_bound)
        _, _, du, dv, dzu, dzv = step(zero, zero)
        length = _longest((u, du), (v, dv), (zu, dzu), (zv, dzv))
        ahead = (u + length * du) @ (zu + length * dzu) + (v + length * dv) @ (zv + length * dzv)
        target = mu * (float(ahead) / (2 * n_bound * mu)) ** 3
        dy, change, du, dv, dzu, dzv = step(target - du * dzu, target - dv * dzv)
        length = TO_BOUNDARY * _longest((u, du), (v, dv), (zu, dzu), (zv, dzv))
        y = y + length * dy
        slope = slope + length * change
        u, v, zu, zv = u + length * du, v + length * dv, zu + length * dzu, zv + length * dzv
        if length < 1e-10:
            break
    return y


def _longest(*pairs: tuple[Vector, Vector]) -> float:
    """Return the longest step, at most 1, that leaves all numbers not negative."""
    ratios = [float((-a[d < 0.0] / d[d < 0.0]).min(initial=1.0)) for a, d in pairs]
    return min(1.0, *ratios)

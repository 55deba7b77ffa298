"""Products with the inverse of a Hessian that is known by its products, and changes of its diagonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.protocols import Algebra


def scaled(inverse: Callable[[Vector], Vector], scale: Vector) -> Callable[[Vector], Vector]:
    """Return v ↦ S M⁻¹ S v with the diagonal S."""
    return lambda vector: inverse(vector * scale) * scale


def with_diagonal(product: Callable[[Vector], Vector], diagonal: Vector) -> Callable[[Vector], Vector]:
    """Return v ↦ H v + diagonal ∘ v."""
    return lambda vector: product(vector) + diagonal * vector


def conjugate_gradients(
    product: Callable[[Vector], Vector],
    inner: Callable[[Vector], Vector],
    vector: Vector,
    max_steps: int,
    tol: float,
    algebra: Algebra,
) -> Vector:
    """Return H⁻¹ v by preconditioned conjugate gradients, until the residual's M-norm fell to `tol` of it."""
    x = np.zeros_like(vector)
    residual = algebra.copied(vector)
    scaled = inner(residual)
    direction = algebra.copied(scaled)
    rho = first = algebra.dot(residual, scaled)
    for _ in range(max_steps):
        if rho <= tol**2 * first or rho <= 0.0:
            break
        turned = product(direction)
        curvature = algebra.dot(direction, turned)
        if curvature <= 0.0:
            break
        step = rho / curvature
        x = algebra.moved(x, direction, step)
        residual = algebra.moved(residual, turned, -step)
        scaled = inner(residual)
        before, rho = rho, algebra.dot(residual, scaled)
        direction = algebra.moved(scaled, direction, rho / before)
    return x if x.any() else inner(vector)

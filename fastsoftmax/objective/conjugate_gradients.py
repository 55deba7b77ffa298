"""Products with the inverse of a Hessian that is known by its products, and changes of its diagonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.protocols import Algebra


RISEN = 0.1  # of what other rows predict of a product's gain: below, it may be their noise
SHORT = 0.7  # of a step: what other rows shorten by less is their noise


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
    other: Callable[[Vector], Vector] | None = None,
) -> Vector:
    """Return H⁻¹ v by preconditioned conjugate gradients, until the residual's M-norm fell to `tol` of it.

    `other` gives the products of another estimate of the same Hessian, G, of other rows. Iterates end where
    they fit the rows of H instead: where xᵀG x / 2 − vᵀx has risen by RISEN of its lowest. The result is then
    the lowest of them, shortened to the minimum along it.
    """
    x = np.zeros_like(vector)
    by_other, lowest, best = np.zeros_like(vector), 0.0, (x, 1.0)
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
        if other is not None:
            by_other = algebra.moved(by_other, other(direction), step)
            along, bend = algebra.dot(vector, x), algebra.dot(x, by_other)
            level = 0.5 * bend - along
            if level < lowest:
                lowest, best = level, (x, along / bend if bend > along else 1.0)
            elif level > (1.0 - RISEN) * lowest:
                break
        residual = algebra.moved(residual, turned, -step)
        scaled = inner(residual)
        before, rho = rho, algebra.dot(residual, scaled)
        direction = algebra.moved(scaled, direction, rho / before)
    if other is not None and lowest < 0.0:
        x, length = best
        return length * x if length < SHORT else x
    return x if x.any() else inner(vector)

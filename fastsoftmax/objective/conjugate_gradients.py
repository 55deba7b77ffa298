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

    `other` gives the products of another estimate of the same Hessian, G, of other rows. A result that fits
    the rows of H rather than all is known by xᵀG x > vᵀx: if by much, it is replaced by the lowest iterate
    of xᵀG x / 2 − vᵀx, shortened to the minimum along it.
    """
    x = _iterated(product, inner, vector, max_steps, tol, algebra, None)
    if other is not None and SHORT * algebra.dot(x, other(x)) > algebra.dot(vector, x):
        x = _iterated(product, inner, vector, max_steps, tol, algebra, other)
    return x if x.any() else inner(vector)


def _iterated(
    product: Callable[[Vector], Vector],
    inner: Callable[[Vector], Vector],
    vector: Vector,
    max_steps: int,
    tol: float,
    algebra: Algebra,
    other: Callable[[Vector], Vector] | None,
) -> Vector:
    """Return the last iterate of conjugate gradients, or the lowest and shortened by `other`."""
    x = np.zeros_like(vector)
    by_other, lowest, best = np.zeros_like(vector), 0.0, x
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
            length = min(1.0, along / bend) if bend > 0.0 else 1.0
            level = length * (0.5 * length * bend - along)
            if level < lowest:
                lowest, best = level, length * x
            elif level > (1.0 - RISEN) * lowest:
                break
        residual = algebra.moved(residual, turned, -step)
        scaled = inner(residual)
        before, rho = rho, algebra.dot(residual, scaled)
        direction = algebra.moved(scaled, direction, rho / before)
    return x if other is None else best

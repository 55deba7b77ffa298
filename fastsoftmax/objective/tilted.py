"""A model of all rows: the objective of a sample, tilted to their gradient at a point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.objective.sparse import SparseObjective

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Sums, Vector


class TiltedObjective(SparseObjective):
    """F of a sample plus tilt · x + ½ Σ ridge (x − base)², with the absolute values of F.

    The tilt makes the gradient at `base` that of all rows; the ridge is the curvature that the sample lacks.
    It has no lower bound: that would be the sample's.
    """

    offers = frozenset({"hessp", "prox"})

    _tilt: Vector
    _ridge: Vector
    _base: Vector

    @classmethod
    def of(cls, objective: SparseObjective, tilt: Vector, ridge: Vector, base: Vector) -> Self:
        """Return the tilted objective of one in memory, whose rows it shares."""
        self = cls.__new__(cls)
        self.__dict__.update(objective.__dict__)
        self._tilt, self._ridge, self._base = tilt, ridge, base
        self.carried = None  # its Hessian has this ridge, and no checkpoint knows what an earlier model left
        return self

    @property
    def has_lower_bound(self) -> bool:
        """False."""
        return False

    @property
    def has_class_blocks(self) -> bool:
        """False: what tilts it is of all rows, and a model of it takes few steps."""
        return False

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return the value in nats, and the gradient of the smooth part."""
        value, grad = super().value_and_grad(x)
        offset = self._ridge * (x - self._base)
        value += float(self._tilt @ x) + 0.5 * float(offset @ (x - self._base))
        return value, grad + self._tilt + offset

    def hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ the smooth part's Hessian at x times v."""
        product = super().hessian(x)
        return lambda v: product(v) + self._ridge * v

    def diagonal(self, x: Vector) -> Vector:
        """Return the diagonal of the smooth part's Hessian."""
        return super().diagonal(x) + self._ridge

    def hessian_matrix(self, x: Vector) -> Vector:
        """Return the smooth part's Hessian, (size, size)."""
        matrix = super().hessian_matrix(x)
        matrix[np.diag_indices_from(matrix)] += self._ridge
        return matrix

    def _reduced(self, sums: Sums, places: NDArray[np.intp]) -> Vector:
        matrix = super()._reduced(sums, places)
        matrix[np.diag_indices_from(matrix)] += self._ridge[places]
        return matrix

    def of_features(self, features: NDArray[np.intp]) -> TiltedObjective | None:
        """Return the objective of some features alone, or None if they are most, or none."""
        part = super().of_features(features)
        if part is None:
            return None
        vectors = (self.part_of(vector, features) for vector in (self._tilt, self._ridge, self._base))
        return TiltedObjective.of(part, *vectors)

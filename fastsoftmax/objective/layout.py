"""The order of coefficients and intercepts in a flat parameter vector; no other module knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts import Params
from fastsoftmax.data import validation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Sums, Vector
    from fastsoftmax.contracts.protocols import Algebra, Penalty


class Layout(NamedTuple):
    """The layout of a parameter vector: coefficients (K, d) in C order, then the intercepts (K,), if any.

    K = `n_classes` counts the columns of the logits, d = `n_features`.
    """

    n_classes: int
    n_features: int
    fit_intercept: bool

    @property
    def n_coef(self) -> int:
        """The number of coefficients, K d."""
        return self.n_classes * self.n_features

    @property
    def size(self) -> int:
        """The length of a parameter vector."""
        return self.n_classes * (self.n_features + self.fit_intercept)

    def pack(self, coef: ArrayLike, intercept: ArrayLike | None = None) -> Vector:
        """Return coef and intercept (default zeros) as a flat vector. Raises ValueError for other shapes."""
        coef = validation.real("coef", coef)
        if coef.shape != (self.n_classes, self.n_features):
            raise ValueError(f"coef must be {(self.n_classes, self.n_features)}; got {coef.shape}")
        if not self.fit_intercept:
            return coef.ravel().copy()
        intercept = np.zeros(self.n_classes) if intercept is None else validation.real("intercept", intercept)
        if intercept.shape != (self.n_classes,):
            raise ValueError(f"intercept must be {(self.n_classes,)}; got {intercept.shape}")
        return np.concatenate((coef.ravel(), intercept))

    def unpack(self, params: ArrayLike, *, name: str = "params") -> Params:
        """Return coefficients and intercepts as views of a flat vector; zeros if there are no intercepts.

        Raises ValueError for another shape; `name` is the vector's name in the message.
        """
        params = validation.real(name, params)
        if params.shape != (self.size,):
            raise ValueError(f"{name} must have shape ({self.size},); got {params.shape}")
        intercept = params[self.n_coef :] if self.fit_intercept else np.zeros(self.n_classes)
        return Params(params[: self.n_coef].reshape(self.n_classes, self.n_features), intercept)

    def flatten(self, sums: Sums, coef: Vector, penalty: Penalty, algebra: Algebra) -> tuple[Vector, float]:
        """Return sums / Σ w plus the penalty's gradient at coef, flat, and the penalty's value there.

        The vector shares the memory of the sums, which are overwritten.
        """
        flat: Vector = sums.joined[: self.size]
        value: float = penalty.add_gradient(algebra, flat[: self.n_coef], 1.0 / sums.weight, coef.ravel())
        flat[self.n_coef :] *= 1.0 / sums.weight
        return flat, value

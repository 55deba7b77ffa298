"""The coordinates of a flat parameter vector; no other module knows their order.

With free intercepts, F does not change if every row is shifted by −m and the intercepts by W m. A vector may
therefore hold the intercepts of rows that are centred at m: directions that nearly cancel in the rows as they
are, those of columns with a large mean, do not there. Rows are never shifted (sparse ones stay sparse): their
sums are taken at the intercepts b − W m of the rows as they are, and the gradients' chain rule is applied
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts import Params
from fastsoftmax.data import validation

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Centre, Sums, Vector
    from fastsoftmax.contracts.protocols import Algebra, LossFamily, Penalty


BALANCED = 2**16  # parameters, whose mean over classes takes some microseconds


class Layout(NamedTuple):
    """The layout of a parameter vector: coefficients (K, d) in C order, then the intercepts (K,), if any.

    K = `n_classes` counts the columns of the logits, d = `n_features`. With a `centre`, the intercepts in a
    vector are those of centred rows; `pack` takes and `unpack` returns those of the rows as they are.
    """

    n_classes: int
    n_features: int
    fit_intercept: bool
    centre: Centre | None = None

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
        if self.centre is not None:
            intercept = intercept + self._shift(coef)
        return np.concatenate((coef.ravel(), intercept))

    def unpack(self, params: ArrayLike, *, name: str = "params") -> Params:
        """Return coefficients and intercepts as views of a flat vector; zeros if there are no intercepts.

        With a centre the intercepts are no view. Raises ValueError for another shape; `name` is the vector's
        name in the message.
        """
        coef, intercept = self.split(params, name=name)
        return Params(coef, intercept if self.centre is None else intercept - self._shift(coef))

    def split(self, params: ArrayLike, *, name: str = "params") -> Params:
        """Return the two parts of a flat vector as views, in the coordinates of the vector."""
        params = validation.real(name, params)
        if params.shape != (self.size,):
            raise ValueError(f"{name} must have shape ({self.size},); got {params.shape}")
        intercept = params[self.n_coef :] if self.fit_intercept else np.zeros(self.n_classes)
        return Params(params[: self.n_coef].reshape(self.n_classes, self.n_features), intercept)

    def flatten(
        self, sums: Sums, coef: Vector, penalty: Penalty, algebra: Algebra, *, balanced: bool = False
    ) -> tuple[Vector, float]:
        """Return sums / Σ w plus the penalty's gradient at coef, flat, and the penalty's value there.

        With `balanced`, the sums are taken less their mean over classes. The vector shares the memory of the
        sums, which are overwritten.
        """
        self.centred(sums)
        if balanced:
            self.balanced(sums)
        flat: Vector = sums.joined[: self.size]
        value: float = penalty.add_gradient(algebra, flat[: self.n_coef], 1.0 / sums.weight, coef.ravel())
        flat[self.n_coef :] *= 1.0 / sums.weight
        return flat, value

    def balances(self, family: LossFamily, penalty: Penalty) -> bool:
        """Return whether the mean of gradients over classes is only rounding, and costs little to remove.

        Among more parameters it is spread thinner, and only a strong penalty is of use.
        """
        return self.size <= BALANCED and family.SHIFT_INVARIANT and penalty.centres_classes

    def balanced(self, sums: Sums) -> Sums:
        """Return sums of gradients less their mean over classes, in place.

        The residuals of a softmax row sum to zero. What products leave of that is rounding, along which a
        weak penalty is the only curvature: steps would amplify it by 1 / l2.
        """
        sums.coef[:] -= sums.coef.mean(axis=0)
        return sums

    def centred(self, sums: Sums) -> Sums:
        """Return sums of gradients by (W, b) of the rows, in place, as those of the centred rows."""
        if self.centre is not None:
            sums.coef[:] -= np.outer(sums.intercept, self.centre.mean)
        return sums

    def _shift(self, coef: Vector) -> Vector:
        """Return W m (K,)."""
        assert self.centre is not None
        return np.asarray(coef[:, self.centre.columns] @ self.centre.mean[self.centre.columns])

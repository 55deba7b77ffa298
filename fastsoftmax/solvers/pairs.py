"""The L-BFGS approximation of the inverse Hessian, in compact form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import lapack

from fastsoftmax.contracts import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.protocols import Algebra

# The most parameters whose pairs are float64. Pairs only shape the next direction, for which seven digits are
# enough; float32 halves the memory traffic of long vectors, which is much of a step's cost.
WIDE_SIZE = 2**16
EPS = float(np.finfo(np.float64).eps)


class Pairs:
    """The L-BFGS inverse Hessian H of the last m steps s, gradient differences y, and a preconditioner M.

    With S, Y and V = M Y holding the pairs as columns, oldest first, R the upper triangle of SᵀY, D its
    diagonal and γ = sᵀy / yᵀMy of the last pair [1]_,

        H = γ M + [S, γ V] ⎡ R⁻ᵀ (D + γ YᵀV) R⁻¹   −R⁻ᵀ ⎤ ⎡  Sᵀ ⎤
                           ⎣ −R⁻¹                    0  ⎦ ⎣ γ Vᵀ ⎦.

    Parameters
    ----------
    algebra : Algebra
    size : int
    memory : int
        The most pairs, m.

    Notes
    -----
    A product reads S and V twice and applies M once, about 4 m size numbers. The two-loop recursion reads as
    much, but updates a vector between any two reads, and needs another product with M for γ.

    References
    ----------
    .. [1] R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and their use in
       limited memory methods", Math. Programming 63 (1994), theorem 2.2.
    """

    def __init__(self, algebra: Algebra, size: int, memory: int) -> None:
        dtype = np.float64 if size <= WIDE_SIZE else np.float32
        n_places = memory + 1  # the next pair is written before it is known to be one
        self._algebra = algebra
        self._memory = memory
        # S and V share an array, as they are always read together.
        self._sv, self._y = np.zeros((2 * n_places, size), dtype), np.zeros((n_places, size), dtype)
        self._s, self._v = self._sv[:n_places], self._sv[n_places:]
        self._sy = np.zeros((n_places, n_places))  # sᵢ · yⱼ, valid if pair i is not newer than pair j
        self._yv = np.zeros((n_places, n_places))
        self._order: list[int] = []  # row indices ("places") of the pairs, oldest first
        self._precondition: Any = None
        self._scaled: Vector  # M g of the last gradient
        self._products: Vector  # S g and V g of the last gradient

    @staticmethod
    def n_bytes(size: int) -> int:
        """Return the bytes of a pair."""
        return 3 * (8 if size <= WIDE_SIZE else 4) * max(1, size)

    def __len__(self) -> int:
        return len(self._order)

    def clear(self) -> None:
        """Discard the pairs; M stays."""
        self._order.clear()

    def restart(self, build: Callable[[], Callable[[Vector], Vector]], grad: Vector) -> None:
        """Replace M by build() at a point with this gradient; the pairs stay."""
        self._precondition = None  # freed first: two would be most of the memory of a fit of few classes
        self._precondition = precondition = build()
        for place in self._order:
            self._v[place] = precondition(self._y[place].astype(np.float64, copy=False))
        for place in self._order:
            self._yv[place, self._order] = self._algebra.dots(self._v, self._y[place], self._order)
        self._scaled = precondition(grad)
        self._update_products(grad, self._order)

    def state(self) -> State:
        """Return the state without M. The arrays are not copied: the next step overwrites them."""
        arrays = {"s": self._s, "y": self._y, "v": self._v, "sy": self._sy, "yv": self._yv}
        return State({"order": self._order}, arrays)

    def restore(self, state: State, precondition: Callable[[Vector], Vector], grad: Vector) -> None:
        """Restore the result of `state`, with the M of that time, at the point with this gradient."""
        self._order = list(state.numbers["order"])
        for name, array in self.state().arrays.items():
            array[:] = state.arrays[name]
        self._precondition = precondition
        self._scaled = precondition(grad)
        self._update_products(grad, self._order)

    def _update_products(self, grad: Vector, places: list[int]) -> None:
        """Compute the inner products of a gradient with the pairs in these places."""
        self._products = np.zeros((2, len(self._s)))
        self._products[:, places] = self._algebra.dots(self._sv, grad, self._rows_of(places)).reshape(2, -1)

    def move(self, x: Vector, grad: Vector, new_x: Vector, new_grad: Vector) -> None:
        """Add the pair of a step from x to new_x, with its gradients, unless its curvature is rounding."""
        place = next(place for place in range(len(self._s)) if place not in self._order)
        before, scaled = self._products, self._scaled
        self._scaled = self._precondition(new_grad)
        products = self._algebra.differences(
            (new_x, new_grad, self._scaled),
            (x, grad, scaled),
            (self._s[place], self._y[place], self._v[place]),
        )
        self._update_products(new_grad, [*self._order, place])
        curvature = products[0, 1]
        if curvature <= EPS * math.sqrt(products[0, 0] * products[1, 1]):
            return  # the change is within rounding
        self._order = [*self._order, place][-self._memory :]
        s_change, v_change = self._products - before  # valid in the places of the pairs that stay
        s_change[place], v_change[place] = curvature, products[1, 2]
        self._sy[:, place] = s_change
        self._yv[place] = self._yv[:, place] = v_change

    def decrement(self, grad: Vector) -> float:
        """Return gᵀ M g / 2 for g = grad, the last gradient passed in: what M alone tells of F − F*."""
        return 0.5 * self._algebra.dot(grad, self._scaled)

    def direction(self, grad: Vector) -> tuple[Vector, float]:
        """Return −H g for g = grad, the last gradient passed in, and the slope −gᵀ H g."""
        order = np.array(self._order, np.int64)
        scales, gamma = np.zeros((2, len(order))), 1.0
        if len(order):
            places, last = (order[:, np.newaxis], order), order[-1]
            gamma = self._sy[last, last] / self._yv[last, last]
            # Entries below the diagonal are not read. The diagonal is positive: curvatures of steps.
            upper = self._sy[places]
            s, v = self._products[:, order]
            inner, _ = lapack.dtrtrs(upper, s)
            middle = upper.diagonal() * inner + gamma * (self._yv[places] @ inner - v)
            scales[0] = -lapack.dtrtrs(upper, middle, trans=1)[0]
            scales[1] = gamma * inner
        both = self._rows_of(self._order)
        return self._algebra.combined(scales.ravel(), self._sv, both, -gamma, self._scaled, grad)

    def _rows_of(self, places: list[int]) -> list[int]:
        """Return the row indices in `_sv` of s, then of v, of the pairs in these places."""
        return [*places, *(len(self._s) + place for place in places)]

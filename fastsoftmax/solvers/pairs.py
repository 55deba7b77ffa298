"""The last steps of a quasi-Newton method and what they taught about the curvature, in compact form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

CHUNK = 2**15  # entries of all pairs that are worked on while they are in cache
# The pairs only shape the next direction: of many parameters, seven digits are enough and half the memory.
WIDE_SIZE = 2**17


class Pairs:
    """L-BFGS's inverse Hessian H from the last m steps s, the changes y of the gradient, and a first guess M.

    With S, Y and V = M Y holding the pairs as columns, oldest first, R the upper triangle of SᵀY, D its
    diagonal and γ = sᵀy / yᵀMy of the last pair [1]_,

        H = γ M + [S, γ V] ⎡ R⁻ᵀ (D + γ YᵀV) R⁻¹   −R⁻ᵀ ⎤ ⎡  Sᵀ ⎤
                           ⎣ −R⁻¹                    0  ⎦ ⎣ γ Vᵀ ⎦.

    Parameters
    ----------
    size : int
    memory : int
        m, the most pairs.

    Notes
    -----
    A product reads S and V twice and applies M once. The two-loop recursion would read as much, but change a
    vector between any two reads, and need a product with M more for γ.

    References
    ----------
    .. [1] R. H. Byrd, J. Nocedal, R. B. Schnabel, "Representations of quasi-Newton matrices and their use in
       limited memory methods", Math. Programming 63 (1994), theorem 2.2.
    """

    def __init__(self, size: int, memory: int) -> None:
        dtype = np.float64 if size <= WIDE_SIZE else np.float32
        self._s, self._y, self._v = (np.zeros((memory, size), dtype) for _ in range(3))
        self._sy = np.zeros((memory, memory))  # sᵢ · yⱼ, right where pair i is no younger than j
        self._yv = np.zeros((memory, memory))
        self._order: list[int] = []  # places of the pairs, oldest first
        self._precondition: Callable[[Vector], Vector]
        self._scaled: Vector  # M g of the last gradient
        self._products: NDArray[np.float64]  # S g and V g of the last gradient

    def __len__(self) -> int:
        return len(self._order)

    @property
    def full(self) -> bool:
        """Whether there are as many pairs as may be."""
        return len(self._order) == len(self._s)

    def clear(self) -> None:
        """Forget the pairs; M stays."""
        self._order.clear()

    def restart(self, precondition: Callable[[Vector], Vector], grad: Vector) -> None:
        """Take another M, at a point with this gradient; the pairs stay."""
        self._precondition = precondition
        for place in self._order:
            self._v[place] = precondition(self._y[place].astype(np.float64, copy=False))
        self._yv = (self._y @ self._v.T).astype(np.float64)
        self._look(grad)

    def _look(self, grad: Vector) -> None:
        self._scaled = self._precondition(grad)
        self._products = np.zeros((2, len(self._s)))
        for start in range(0, len(grad), CHUNK):
            part = slice(start, start + CHUNK)
            narrow = grad[part].astype(self._s.dtype, copy=False)
            self._products[0] += self._s[:, part] @ narrow
            self._products[1] += self._v[:, part] @ narrow

    def move(self, step: Vector, change: Vector, grad: Vector) -> None:
        """Note a step, the change of the gradient along it, and the gradient where it led."""
        curvature = float(step @ change)
        before, scaled = self._products, self._scaled
        if curvature <= np.finfo(np.float64).eps * float(np.linalg.norm(step) * np.linalg.norm(change)):
            self._look(grad)  # the change is nothing but rounding
            return
        place = self._order.pop(0) if self.full else len(self._order)
        self._order.append(place)
        self._s[place], self._y[place], self._v[place] = step, change, 0.0
        self._look(grad)
        along = self._scaled - scaled
        self._v[place] = along
        self._products[1, place] = float(along @ grad)
        s_change, v_change = self._products - before
        s_change[place], v_change[place] = curvature, float(along @ change)
        self._sy[:, place] = s_change
        self._yv[place] = self._yv[:, place] = v_change

    def direction(self) -> Vector:
        """Return −H g for the gradient looked at last."""
        if not self._order:
            return -self._scaled
        places = np.ix_(self._order, self._order)
        last = self._order[-1]
        gamma = self._sy[last, last] / self._yv[last, last]
        upper = np.triu(self._sy[places])
        s, v = self._products[:, self._order]
        inner = scipy.linalg.solve_triangular(upper, s)
        middle = upper.diagonal() * inner + gamma * (self._yv[places] @ inner - v)
        shares = np.zeros((2, len(self._s)))
        shares[0, self._order] = -scipy.linalg.solve_triangular(upper, middle, trans="T")
        shares[1, self._order] = gamma * inner
        narrow: NDArray[Any] = shares.astype(self._s.dtype)
        out: Vector = -gamma * self._scaled
        for start in range(0, len(out), CHUNK):
            part = slice(start, start + CHUNK)
            out[part] += narrow[0] @ self._s[:, part]
            out[part] += narrow[1] @ self._v[:, part]
        return out

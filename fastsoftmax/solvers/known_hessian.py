"""The Hessian of some parameters at one point, corrected by the steps since, for as long as it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import blas

from fastsoftmax.solvers.block_quasi_newton import is_curved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.proximal import ProximalObjective
    from fastsoftmax.solvers.subspace import Reached

# A matrix of an earlier point serves while a model promises no more than this part of what the last one did:
# beyond, a new one (some ten or twenty passes' time) pays within the steps that are left.
SERVES = 0.1
# Along a path, parameters at zero are taken too whose gradient is so near to what keeps them there: fewer
# where C grows by more than DENSE from fit to fit, as a matrix serves only one of them.
AHEAD, AHEAD_OF_ONE, DENSE = 0.7, 0.85, 1.3
# There Newton steps from the start are quicker than an approach only with squares in the penalty, by which
# signs settle sooner, and while a matrix takes so many passes.
MATRIX_PASSES = 100


class Known:
    """The Hessian of the smooth function among some parameters, with the pairs of later steps (BFGS).

    Parameters
    ----------
    along_path : bool
        Whether it goes on to the fits of other strengths of the penalty, and to those of some features.

    Notes
    -----
    Places are of all parameters, also where the objective is that of some features; `of_whole` has the
    place of each of its parameters. A pair costs 4 m² flops.
    """

    def __init__(self, *, along_path: bool = False) -> None:
        self._along_path = along_path
        self._objective: ProximalObjective | None = None
        self._x, self._places = np.empty(0), np.empty(0, np.intp)
        self._matrix: Vector = np.empty((0, 0))
        self._curvature = np.empty(0)
        self._pairs: list[tuple[Vector, Vector]] = []
        self._ahead = AHEAD
        self.promised = np.inf
        self.served = False  # whether a model of the last step took a matrix of an earlier point
        self.is_ahead = False  # whether a fit begins with Newton steps, as an earlier one left its Hessian

    @classmethod
    def of(cls, objective: ProximalObjective, x: Vector) -> Known:
        """Return that of the path that a fit from x belongs to, or a new one."""
        if objective.carried is None:
            return cls()
        known: Known = objective.carried.setdefault("hessian", cls(along_path=True))
        known.promised = np.inf
        known._ahead = AHEAD if objective.carried["growth"] <= DENSE else AHEAD_OF_ONE
        order = int(np.count_nonzero(objective.is_free(x)))
        is_cheap = order**2 <= 4 * MATRIX_PASSES * objective.size and bool(objective.curvature.any())
        known.is_ahead = len(known._places) > 0 and (known._ahead == AHEAD or is_cheap)
        # Without a bound a model's promise ends the fit: it has to be that of this fit's own Hessian.
        known.is_ahead &= objective.has_lower_bound
        if not known.is_ahead:  # after an approach an earlier fit's matrix is too far away
            known._places = np.empty(0, np.intp)
        return known

    def places_of(self, objective: ProximalObjective, features: NDArray[np.intp]) -> NDArray[np.intp] | None:
        """Return which of all parameters those of some features are; None where nothing is handed on."""
        if not self._along_path:
            return None
        return objective.part_of(np.arange(objective.size, dtype=np.float64), features).astype(np.intp)

    def serves(
        self, objective: ProximalObjective, places: NDArray[np.intp], of_whole: NDArray[np.intp] | None
    ) -> bool:
        """Return whether it holds the Hessian among those parameters, at whatever point."""
        if not (objective is self._objective or self._along_path):
            return False
        asked = places if of_whole is None else of_whole[places]
        return len(asked) <= len(self._places) and bool(np.isin(asked, self._places).all())

    def among(
        self, objective: ProximalObjective, places: NDArray[np.intp], of_whole: NDArray[np.intp] | None
    ) -> Vector:
        """Return the Hessian among some parameters that it `serves`."""
        self.served = True
        asked = places if of_whole is None else of_whole[places]
        among = np.searchsorted(self._places, asked)
        squares = objective.curvature[places]
        matrix = self._matrix.take(among, axis=0).take(among, axis=1)
        diagonal = np.einsum("ii->i", matrix)
        diagonal += squares - self._curvature[among]
        return matrix

    def take(
        self,
        objective: ProximalObjective,
        point: Reached,
        places: NDArray[np.intp],
        of_whole: NDArray[np.intp] | None,
        most: int,
    ) -> Vector:
        """Return the Hessian among some parameters at a point, and keep it. One pass.

        Along a path with some that are not among them yet, `most` in all.
        """
        wanted = places
        if self._along_path:
            near = np.flatnonzero(objective.nearness(point.x, point.grad) >= self._ahead)
            joined = np.union1d(places, near)
            wanted = joined if len(joined) <= most else places
        self._take(objective, point.x, wanted, of_whole)
        self.served = False
        among = np.searchsorted(wanted, places)
        if len(wanted) == len(places):
            return self._matrix
        return self._matrix.take(among, axis=0).take(among, axis=1)

    def learn(
        self, objective: ProximalObjective, step: Vector, change: Vector, of_whole: NDArray[np.intp] | None
    ) -> None:
        """Take note of a step and the change of the smooth gradient on it, (size,) each."""
        n = len(self._places)
        if n == 0:
            return
        own = np.arange(len(step)) if of_whole is None else of_whole
        at = np.searchsorted(self._places, own)
        held = np.flatnonzero((at < n) & (self._places[np.minimum(at, n - 1)] == own))
        s, y = np.zeros(n), np.zeros(n)
        s[at[held]] = step[held]
        # The squares' curvature is that of the matrix, which may be of another strength.
        y[at[held]] = change[held] - (objective.curvature[held] - self._curvature[at[held]]) * step[held]
        if not is_curved(s, y):
            return
        if len(held) < n:  # nothing is known of the others: the matrix stays as it is there
            there = np.zeros(n, bool)
            there[at[held]] = True
            y = np.where(there, y, self._matrix @ s)
        if not float(s @ (self._matrix @ s)) > 0.0:  # rows that were certain there, to the last bit
            return
        self._correct(s, y)
        self._pairs.append((s, y))

    def _correct(self, s: Vector, y: Vector) -> None:
        """Bring the matrix to one that maps s to y."""
        image = self._matrix @ s
        turned = self._matrix.T  # as BLAS takes it, in place
        blas.dger(-1.0 / float(s @ image), image, image, a=turned, overwrite_a=1)
        blas.dger(1.0 / float(s @ y), y, y, a=turned, overwrite_a=1)

    def kept(self, objective: ProximalObjective) -> dict[str, Any]:
        """Return what `restore` needs for that objective's next model: where the matrix was taken."""
        if objective is not self._objective:
            return {}
        pairs = np.array(self._pairs).reshape(-1, len(self._places))
        return {
            "hessian_at": self._x,
            "hessian_places": self._places,
            "hessian_pairs": pairs,
            "hessian_promised": np.array([self.promised]),
        }

    def restore(self, objective: ProximalObjective, arrays: Mapping[str, Any]) -> None:
        """Take what `kept` returned in another process. One pass, if the next model needs none."""
        if "hessian_at" not in arrays:
            return
        self._take(objective, arrays["hessian_at"], arrays["hessian_places"], None)
        pairs = arrays.get("hessian_pairs", np.empty((0, 0)))  # files of earlier versions have none
        for s, y in zip(pairs[::2], pairs[1::2], strict=True):
            self._correct(s, y)
            self._pairs.append((s, y))
        self.promised = float(arrays.get("hessian_promised", [np.inf])[0])

    def _take(
        self,
        objective: ProximalObjective,
        x: Vector,
        places: NDArray[np.intp],
        of_whole: NDArray[np.intp] | None,
    ) -> None:
        self._objective = None if self._along_path else objective
        self._x, self._pairs = x, []
        self._places = places if of_whole is None else of_whole[places]
        self._curvature = objective.curvature[places]
        self._matrix = np.ascontiguousarray(objective.reduced_hessian(x, places))  # corrected in place

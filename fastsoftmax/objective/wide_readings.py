"""The objective of wide sparse rows whose reading is dear: no sample tells of features that it has not seen.

Of hashed categories most features are in a few rows each, and the optimum depends on how these share the rows
between them. A sample's optimum is no start then, and its Hessian no model: what the sample says is confined
to frequent features (`fastsoftmax.preconditioners.frequent`), and everything else comes from readings: the
gradient, and with some of them the diagonal of the Hessian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr
from fastsoftmax.contracts.queries import Diagonal, LossGrad, Together
from fastsoftmax.objective import frequent_block
from fastsoftmax.objective.few_readings import OF_READINGS, FewReadings
from fastsoftmax.preconditioners import frequent
from fastsoftmax.sources.array import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.protocols import Penalty
    from fastsoftmax.objective.counted import CountedSource

OF_READINGS |= {"_diagonal", "_n_since", "_wait"}
# The Hessian's diagonal rides on the readings after which the solver is likely to ask for it: L-BFGS builds a
# preconditioner at its start, 4 steps later, 8 steps later, ….
FIRST_WAIT, RIDES = 4, 1
# Of the memory of a fit, for the pairs of quasi-Newton methods, and for the preconditioner's factor. A pair
# that is forgotten is found again by readings: a million rows of 2²⁰ columns took 142 with 5 pairs, and 85
# with 50.
PAIRS, FACTOR = 1 / 4, 1 / 16


class WideReadings(FewReadings):
    """F and ∇F over the rows of a `DearSource`, and a preconditioner of all rows and frequent features."""

    def _join(self, rows: CountedSource, penalty: Penalty) -> None:
        super()._join(rows, penalty)
        self._diagonal: tuple[Vector, Vector] | None = None  # of the Hessian of the loss, and its point
        self._n_since, self._wait = 0, 0

    @staticmethod
    def serves(source: Any) -> bool:
        """Return whether such rows are wide: sparse, of one output, with more features than sampled rows."""
        block = source.pool().block
        if block is None or not isinstance(block.X, Csr) or source.spec.n_outputs > 1:
            return False
        return bool(source.n_pooled < source.spec.n_features)

    @property
    def offers(self) -> frozenset[str]:
        """The capabilities that solvers may use (`fastsoftmax.contracts.protocols.OFFERS`)."""
        return super().offers - {"model"}

    @property
    def pairs_bytes(self) -> int:
        """The bytes that pairs of a quasi-Newton method may take."""
        return int(PAIRS * self._stream.memory)

    def start(self) -> Vector:
        """Return the optimum of a model of intercepts. No reading."""
        x = np.zeros(self.size)
        if self.fit_intercept:
            mean = np.clip(self.mean_target, 1e-12, 1.0 - 1e-12)
            self._layout.split(x).intercept[:] = np.log(mean / (1.0 - mean))
        return x

    def _read(
        self, point: Vector, *, chooses: bool = False, sums_hessian: bool = False
    ) -> tuple[float, Vector]:
        """Return F and ∇F by one reading, and keep the curvatures that ride on it."""
        unpacked = self.unpack(point)
        queries: list[Any] = [LossGrad(unpacked, self._dtype)]
        curvature_rides = self._curvature_rides
        if curvature_rides:
            queries.append(self._bounds.curvature_query(unpacked))
        rides = self._wait <= self._n_since < self._wait + RIDES
        self._n_since += 1
        if rides:
            queries.append(Diagonal(unpacked, self._dtype))
        sums, *others = self._rows.sum(Together(tuple(queries))).each
        if rides:
            curved = others.pop()
            self._diagonal = point.copy(), curved.joined / curved.weight
        if curvature_rides:
            (curvature,) = others
            self._bounds.curvature = point.copy(), curvature.coef / curvature.weight
        value, grad = self._finished(sums, unpacked)
        self._last = point.copy(), value, grad.copy()
        return value, grad

    def preconditioner(self, params: ArrayLike, fraction: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ M⁻¹ v, with the diagonal of all rows. One reading, unless it rode on the last one."""
        point = np.array(params, np.float64)
        if self._diagonal is None or not np.array_equal(self._diagonal[0], point):
            sums = self._rows.sum(Diagonal(self.unpack(point), self._dtype))
            self._diagonal = point, sums.joined / sums.weight
        self._wait = 2 * self._wait or FIRST_WAIT
        self._n_since = 1  # the steps that follow, and the reading of the last of them
        diagonal = self._diagonal[1][: self.size]
        most = int(FACTOR * self._stream.memory)
        n_chosen = frequent.n_features(self._stream.n_pooled, self.n_features, most)
        features = frequent.most(diagonal[: self.n_features], n_chosen)
        X, curvature = self._curved_sample(point, n_chosen * frequent.MOST_ROWS_A_FEATURE)
        return frequent.inverse(
            diagonal, self._penalty.curvature, X, curvature, features, self.fit_intercept, self._n_threads
        )[0]

    def _curved_sample(self, point: Vector, n_rows: int) -> tuple[Csr, Vector]:
        """Return sampled rows, and the weighted curvature of each in its logit."""
        stream = self._stream
        source = stream.pool() if n_rows >= stream.n_pooled else stream.sample(max(1, n_rows))
        assert isinstance(source, ArraySource)
        return frequent_block.curved(source, self.unpack(point), self._n_threads, self._dtype)

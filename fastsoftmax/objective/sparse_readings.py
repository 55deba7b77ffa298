"""The objective with absolute values of rows whose reading is dear.

What can be asked of rows in memory is not asked of them: the start of a fit is the best of several optima of
the sample; the model that a solver goes by is that of rows which a reading chooses, tilted to the gradient of
all; and beside a gradient a reading sums the Hessian of the few parameters that are not zero, or nearly so.
The lower bound needs nothing but the gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, State, Sums
from fastsoftmax.contracts.queries import Diagonal, LossGrads, Together
from fastsoftmax.objective.elastic_net import ElasticNetObjective
from fastsoftmax.objective.row_scores import choice_of_rows
from fastsoftmax.objective.sparse import SparseObjective
from fastsoftmax.objective.surrogate import FLAT
from fastsoftmax.objective.tilted import TiltedObjective
from fastsoftmax.runtime import blas
from fastsoftmax.solvers import proximal_newton

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from fastsoftmax.contracts import RowBlock, Vector
    from fastsoftmax.objective.few_readings import FewReadings
    from fastsoftmax.objective.objective import Options
    from fastsoftmax.penalties.elastic_net import ElasticNet

# The most parameters whose Hessian is summed beside a gradient, of dense and of sparse rows: n m² flops, 1 MB
# for 512. A dozen such sums are held while they are added in pairs, and together they are to take no more
# than twice the sample, or so many vectors of parameters, or 0.8 MB.
RIDING_ORDER, SPARSE_RIDING_ORDER, MIN_RIDING_ORDER = 512, 1024, 128
PARTIAL_SUMS, VECTORS = 12, 32
# The part of what keeps a coefficient at zero beyond which it may not be there any more after the next step.
NEAR = 0.8
# How exactly the optima of the sample are found that a fit may begin at, and the most steps for it.
START_TOL, START_STEPS = 1e-3, 10
WIDE = 2.0  # of two strengths of the penalty there: their quotient, at least


class _Read(NamedTuple):
    """A point, its mean loss, that's gradient, and the diagonal of its Hessian."""

    x: Vector
    loss: float
    grad: Vector
    diagonal: Vector


class SparseReadings(ElasticNetObjective):
    """F of the rows of a `DearSource` with an elastic-net penalty, in few readings.

    Parameters
    ----------
    loss : FewReadings
        Without a penalty, of float64 products.
    penalty : ElasticNet
    features : ndarray (2, d), optional
        As `SparseObjective` takes them, where the loss is one of scaled rows.
    options
        Of the objectives of rows in memory.
    """

    offers = ElasticNetObjective.offers | {"prox_model"}

    def __init__(
        self, loss: FewReadings, penalty: ElasticNet, *, features: Vector | None = None, options: Options
    ) -> None:
        super().__init__(loss, penalty)
        self._features, self._options = features, options
        self._recipe: tuple[Vector, ...] = ()  # the points at which rows were chosen
        self._rows: SparseObjective | None = None  # of the chosen rows
        self._last: _Read | None = None
        self._unpaid = 0  # readings that the start of a fit took, counted when it asks for their results
        self._expected: NDArray[np.intp] | None = None
        self._known: tuple[Vector, NDArray[np.intp], Any] | None = None  # a point, parameters, their sums

    def with_l2(self, strength: float) -> Self:
        """Return the same objective with another strength of its penalty; passes start from 0."""
        other = super().with_l2(strength)
        other._unpaid = 0
        return other

    @property
    def reduced_order(self) -> int:
        """For how many parameters a Hessian rides on a gradient."""
        n_bytes = max(2 * self._loss._stream.sample_bytes, 8 * VECTORS * self.size)
        fits = int(np.sqrt(n_bytes / (4 * PARTIAL_SUMS)))
        most = SPARSE_RIDING_ORDER if isinstance(self._loss._stream.pool_rows(1).X, Csr) else RIDING_ORDER
        return min(most, max(MIN_RIDING_ORDER, fits))

    # --- readings -------------------------------------------------------------------------------------

    def value_and_grad(self, x: Vector, *, chooses: bool = False) -> tuple[float, Vector]:
        """Return F in nats, and the gradient of its smooth part. One reading, none at the last point again.

        With `chooses` the rows of `model` are from then on those that weigh most at x.
        """
        known = self._last
        if known is None or not np.array_equal(known.x, x) or (chooses and not self._unpaid):
            (known,) = self._read((x.copy(),), (x.copy(),) if chooses else ())
        self._loss._rows.passes += self._unpaid
        self._unpaid, self._last = 0, known
        return self._penalised(x, known.loss, known.grad.copy())

    def _read(self, points: tuple[Vector, ...], chosen_at: tuple[Vector, ...]) -> list[_Read]:
        """Return some points with their mean losses and gradients, from one reading; keep what rides on it.

        That are rows chosen at points, if any are given; the moments at the first reading; the diagonal of
        the Hessian at each point; and of the Hessian what is expected at the first.
        """
        loss = self._loss
        extra = (np.zeros(self.size), self._certain) if self.fit_intercept and self._moments is None else ()
        sets = tuple(self.unpack(point) for point in (*points, *extra))
        queries: list[Any] = [LossGrads(sets, loss._dtype)]
        queries += [Diagonal(one, loss._dtype) for one in sets[: len(points)]]
        places = self._expected
        if chosen_at:
            queries.append(self._choice(chosen_at))
        if places is not None:
            queries.append(self._reduced_query(points[0], places))
        many, *others = loss.sum_over_rows(Together(tuple(queries))).each
        found = [loss._finished(sums, one) for sums, one in zip(many.each, sets, strict=True)]
        if extra:
            self._keep_moments(found[-2][1], found[-1][1])
        diagonals = [self._diagonal_of(others.pop(0)) for _ in points]
        if chosen_at:
            self._keep_rows(others.pop(0), chosen_at)
        self._known = None if places is None else (points[0], places, others.pop())
        self._expected = None
        return [
            _Read(point, value, grad, diagonal)
            for point, (value, grad), diagonal in zip(points, found, diagonals, strict=False)
        ]

    def _diagonal_of(self, sums: Sums) -> Vector:
        """Return the diagonal of the Hessian of the mean loss; in centred columns an estimate."""
        centre = self._loss._layout.centre
        if centre is not None:
            varying = centre.variance[centre.columns]
            sums.coef[:, centre.columns] = sums.intercept[:, np.newaxis] * varying
        diagonal: Vector = sums.joined[: self.size] / sums.weight
        return diagonal

    def _choice(self, points: tuple[Vector, ...]) -> Any:
        """Return the query for the rows that weigh most at some points."""
        loss = self._loss
        return choice_of_rows(
            loss.sampled, points, loss._rows.spec.n_rows, loss._stream.sample_bytes, loss._dtype
        )

    def _keep_rows(self, chosen: Any, points: tuple[Vector, ...]) -> None:
        """Keep the objective of chosen rows."""
        rows = chosen.rows()
        self._recipe = points
        self._rows = self._in_memory(self._loss._stream.pool_rows() if rows is None else rows)

    def _in_memory(self, rows: RowBlock) -> SparseObjective:
        """Return the objective of rows in memory."""
        return SparseObjective(
            rows, self.n_classes, self.penalty, centre=self._loss._layout.centre, features=self._features,
            options=self._options,
        )  # fmt: skip

    # --- models ---------------------------------------------------------------------------------------

    def start(self) -> Vector:
        """Return the best of a few optima of the sample, told by one reading, which chooses rows at all.

        The penalty of the first is as strong against the sample's sum of losses as F's against that of all
        rows: with fewer rows more coefficients are noise. The last's is that of F.
        """
        with blas.one_thread():  # as solvers have it: the bits, and the cores of kernels
            return self._best_of_sample()

    def _best_of_sample(self) -> Vector:
        rows = self._loss._stream.pool_rows()
        ratio = self._loss._rows.spec.n_rows / rows.n_rows
        factors = [ratio, np.sqrt(ratio), 1.0] if ratio >= WIDE**2 else [ratio, 1.0][ratio < WIDE :]
        x, candidates = np.zeros(self.size), []
        problem: Any = self._in_memory(rows)
        for factor in factors:
            of_factor = problem.with_l2(factor * self.penalty.strength)
            x = proximal_newton.minimize(of_factor, x, tol=START_TOL, max_iter=START_STEPS).x
            candidates.append(self._loss._with_present_classes(x))
        points = tuple(candidates)
        found = self._read(points, points)
        self._loss._rows.passes -= 1
        self._unpaid = 1
        values = [self._penalised(read.x, read.loss, read.grad.copy())[0] for read in found]
        self._last = found[int(np.argmin(values))]
        return self._last.x.copy()

    def diagonal_of_last(self, x: Vector) -> Vector:
        """Return the diagonal of the smooth part's Hessian at x, or where the last reading was near it."""
        diagonal = np.zeros(self.size) if self._last is None else self._last.diagonal.copy()
        self._coef(diagonal)[:] += self.penalty.curvature
        return diagonal

    def model(self, x: Vector, grad: Vector, damping: float) -> TiltedObjective:
        """Return the objective of the chosen rows, tilted so that its gradient at x is `grad`. No reading.

        The diagonal of its Hessian is that of all rows where the chosen ones have less, as of features that
        are rare, and all of it a part more, for what so few rows do not tell.
        """
        if self._rows is None:
            self.value_and_grad(x, chooses=True)
        assert self._rows is not None
        rows = self._rows.with_l2(self.penalty.strength)
        tilt = grad - rows.value_and_grad(x)[1]
        diagonal = rows._loss.diagonal(x)
        whole = np.maximum(diagonal if self._last is None else self._last.diagonal, diagonal)
        if self.fit_intercept:  # the rows may be certain of a class: its intercept could be anything
            whole[self._n_coef :] = np.maximum(whole[self._n_coef :], FLAT)
        ridge = whole * (1.0 + damping) - diagonal
        return TiltedObjective.of(rows, tilt, ridge, x.copy())

    def damping(self, x: Vector) -> float:
        """Return the damping of a model of which nothing is known: coefficients in use, a row and class."""
        rows = 1 if self._rows is None else self._rows.n_rows
        return min(1.0, float(np.count_nonzero(x)) / self.n_classes / rows)

    def expect(self, x: Vector, grad: Vector) -> None:
        """Let the next reading sum the Hessian of the parameters that are free at x, or nearly.

        By the gradient of a model there; nothing if the free ones are too many.
        """
        self._expected = None
        if self.bends:
            if self.size <= min(self.reduced_order, proximal_newton.GROUPED_ORDER):
                self._expected = np.arange(self.size)
            return
        nearness = self.nearness(x, grad)
        order = np.argsort(-nearness, kind="stable")
        n_free, n_near = np.count_nonzero(np.isinf(nearness)), np.count_nonzero(nearness > NEAR)
        if n_free <= self.reduced_order:
            self._expected = np.sort(order[: min(n_near, self.reduced_order)])

    def known_hessian(self, x: Vector) -> tuple[NDArray[np.intp], Vector] | None:
        """Return the parameters and the smooth part's Hessian among them that the reading at x summed."""
        if self._known is None or not np.array_equal(self._known[0], x):
            return None
        return self._known[1], self._reduced(self._known[2], self._known[1])

    def value_as_stored(self, x: Vector, stored: Vector, value: float, grad: Vector) -> float:
        """Return F at parameters as they are stored, of F and its gradient at x, by the model there."""
        model = self.model(x, grad, 0.0)
        return value + model.value_and_grad(stored)[0] - model.value_and_grad(x)[0]

    # --- checkpoints ----------------------------------------------------------------------------------

    def kept(self) -> State:
        """Return what has been learnt of the rows, and the points at which some were chosen."""
        known = dict(super().kept().arrays)
        known["recipe"] = np.array(self._recipe).reshape(-1, self.size)
        if self._last is not None:
            known["diagonal"] = self._last.diagonal
        if self._known is not None:
            point, places, sums = self._known
            known.update(hessian_at=point, places=places, sums=sums.joined)
            return State({"weight": sums.weight}, known)
        return State({"weight": 0.0}, known)

    def restore(self, state: State) -> None:
        """Take what `kept` returned in another process. One reading: rows are chosen again."""
        super().restore(state)
        arrays = state.arrays
        self._unpaid = 0
        if "diagonal" in arrays:  # of the mean loss there nothing is asked
            self._last = _Read(np.full(self.size, np.nan), np.nan, np.empty(0), arrays["diagonal"])
        recipe = tuple(arrays["recipe"])
        if recipe:
            self._keep_rows(self._loss.sum_over_rows(self._choice(recipe)), recipe)
        if "places" in arrays:
            places = arrays["places"]
            sums = Sums(0.0, state.numbers["weight"], arrays["sums"], arrays["sums"].shape)
            self._known = arrays["hessian_at"], places, sums

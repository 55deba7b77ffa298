"""Proximal quasi-Newton steps: class blocks of the Hessian, corrected by pairs, with absolute values."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastsoftmax.contracts import State
from fastsoftmax.solvers.subspace import ROUNDED, Reached, is_lower

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.proximal import ProximalObjective

N_PAIRS = 10
# A model is minimised to this part of what its diagonal promises, in so many sweeps at most: those of nearly
# dependent columns would go on for thousands, and the next gradient tells more.
INEXACT, MAX_SWEEPS = 0.01, 100
# After how many steps blocks are summed anew: twice as many each time, as the point moves less and less.
FIRST_REBUILD = 2
# Few parameters that are about to come in wait so many steps, as blocks are summed anew for them.
FEW, PATIENCE = 0.1, 8
MIN_GROWTH = 512  # parameters that may come in at a time, if not as many as there are
# With the signs of so many steps before, a Newton step on what is not zero ends sooner.
SETTLED = 3
MAX_STEPS = 400
# Nor are there more steps than about as many as the Hessian of a model takes passes' flops, or these: of few
# parameters a model is cheap, and steps go on for hundreds where columns nearly depend on each other.
MODEL_PART, FEWEST_STEPS = 0.75, 20
SUFFICIENT_DECREASE = 1e-4
MAX_HALVINGS = 20


class Metric:
    """Blocks B of the Hessian at some point, and the pairs (s, y) of steps since: L-BFGS's matrix from B.

    Parameters
    ----------
    objective : ProximalObjective
    x : ndarray (size,)
        Where the blocks are taken.
    places : ndarray (m,), int
        The parameters that steps change.
    """

    def __init__(self, objective: ProximalObjective, x: Vector, places: NDArray[np.intp]) -> None:
        self.x, self.chosen, self.scale = x, places, 1.0
        self.places, self.blocks = objective.class_blocks(x, places)
        self._among: dict[int, _Pair] = {}  # what low_rank was last given, by the step's id

    def scale_by(self, factor: float) -> None:
        """Multiply the blocks, by a power of two: the order of products does not show in the bits."""
        self.scale *= factor
        self.blocks = self.blocks.times(factor)
        self._among = {}

    def low_rank(self, pairs: list[tuple[Vector, Vector]]) -> tuple[Vector, Vector]:
        """Return U, V (m, 2 p) of the matrix B − U Vᵀ of the pairs [1]_.

        A pair's product with B is kept for the next step.

        .. [1] R. Byrd, J. Nocedal, R. Schnabel, "Representations of quasi-Newton matrices and their use in
           limited memory methods", Math. Programming 63 (1994), theorem 2.3.
        """
        self._among = {id(s): self._among.get(id(s)) or self._pair(s, y) for s, y in pairs}
        among = [pair for pair in self._among.values() if pair.image is not None]
        if not among:
            return np.zeros((len(self.places), 0)), np.zeros((len(self.places), 0))
        n = len(among)
        steps = np.array([pair.step for pair in among])
        images = [pair.image for pair in among if pair.image is not None]
        low = np.stack([*images, *(pair.change for pair in among)], axis=1)
        products = steps @ low  # sᵀ B s, and sᵀ y
        middle = np.zeros((2 * n, 2 * n))
        middle[:n, :n] = products[:, :n]
        middle[:n, n:] = np.tril(products[:, n:], -1)
        middle[n:, :n] = middle[:n, n:].T
        np.einsum("ii->i", middle)[n:] = -np.einsum("ii->i", products[:, n:])
        _, _, scaled, info = lapack.dgesv(middle, low.T)
        if info != 0:
            raise np.linalg.LinAlgError("the pairs depend on each other")
        return low, scaled.T  # in the order of C, both

    def _pair(self, s: Vector, y: Vector) -> _Pair:
        """Return a pair among the places, with its product."""
        step, change = s[self.places], y[self.places]
        curved = is_curved(step, change)  # parameters that are out may have had it all
        image = self.blocks.product(step[:, np.newaxis])[:, 0] if curved else None
        return _Pair(s, step, change, image)


class _Pair(NamedTuple):
    """A step and the gradient's change among a metric's places; the step's product with the blocks.

    `whole` is the step of all parameters: while it is held, no other array has its id. `image` is None where
    the change has no curvature.
    """

    whole: Vector
    step: Vector
    change: Vector
    image: Vector | None


class Approach:
    """Quasi-Newton steps towards a minimum, until one gains little or the signs have settled.

    Parameters
    ----------
    objective : ProximalObjective
        Whose absolute values are those of single parameters.

    Notes
    -----
    A step goes to the minimum of g · s + ½ sᵀ M s + Σ t |x + s|, by coordinate descent, with M of `Metric`
    [1]_; then it is halved until F falls. A pass a step, and those of the blocks.

    References
    ----------
    .. [1] K. Scheinberg, X. Tang, "Practical inexact proximal quasi-Newton method with global complexity
       analysis", Math. Programming 160 (2016).
    """

    def __init__(self, objective: ProximalObjective) -> None:
        self._objective = objective
        self._thresholds = objective.among(np.arange(objective.size)).thresholds
        self._pairs: list[tuple[Vector, Vector]] = []
        self._metric: Metric | None = None
        self._n_steps = self._since = self._settled = 0
        self._rebuild = FIRST_REBUILD
        self.is_over = False

    def step(self, point: Reached, goal: float = 0.0) -> Reached:
        """Return a lower point, or `point` if no step lowers F; it is over then, or if it gained ≤ `goal`."""
        metric, n_newcomers = self._metric_at(point)
        self._since += 1
        self._n_steps += 1
        new, length = _lowered(self._objective, point, self._target(point, metric), self._thresholds)
        if new is point and self._pairs:
            self._pairs = []
            new, length = _lowered(self._objective, point, self._target(point, metric), self._thresholds)
        if new is point:
            self.is_over = True
            return point
        if length < 0.5:  # blocks of a sample, or without what classes have together, are too flat
            metric.scale_by(0.5 / length)
        step, change = new.x - point.x, new.grad - point.grad
        if is_curved(step, change):
            self._pairs = [*self._pairs[1 - N_PAIRS :], (step, change)]
        self._settled = self._settled + 1 if np.array_equal(np.sign(new.x), np.sign(point.x)) else 0
        has_settled = self._settled >= SETTLED and not n_newcomers
        self.is_over = point.value - new.value <= goal or has_settled or self._n_steps >= self._most(metric)
        return new

    def _most(self, metric: Metric) -> float:
        """Return after how many steps a model is to be tried: as many as it costs, if there can be one."""
        m = len(metric.places)
        if m > self._objective.reduced_order:
            return MAX_STEPS
        return min(MAX_STEPS, max(FEWEST_STEPS, MODEL_PART * m**2 / (4 * self._objective.size)))

    def _metric_at(self, point: Reached) -> tuple[Metric, int]:
        """Return the metric for a step from a point, and how many parameters at zero the gradient moves."""
        metric, objective = self._metric, self._objective
        member = np.zeros(objective.size, dtype=bool)
        if metric is not None:
            member[metric.chosen] = True
        newcomers = _beyond(objective, point, member)
        enough = len(newcomers) > FEW * np.count_nonzero(member)
        is_old = self._since >= self._rebuild
        if metric is None or enough or is_old or (self._since >= PATIENCE and len(newcomers)):
            if is_old:
                self._rebuild *= 2
                member[:] = False
            member[objective.is_free(point.x)] = True
            member[newcomers] = True
            metric = self._metric = Metric(objective, point.x, np.flatnonzero(member))
            self._since = 0
        return metric, len(newcomers)

    def _target(self, point: Reached, metric: Metric) -> Vector:
        """Return the minimum of the model of F at a point; pairs that rounding has spoilt are forgotten."""
        places = metric.places
        goal = INEXACT * _promise(self._objective, point, metric)
        for _ in range(2):
            part = point.x[places]
            try:
                low, scaled = metric.low_rank(self._pairs)
                metric.blocks.minimise(
                    low, scaled, point.grad[places], self._thresholds[places], part, goal, MAX_SWEEPS
                )
                break
            except (np.linalg.LinAlgError, FloatingPointError):
                if not self._pairs:
                    raise
                self._pairs = []
        x = point.x.copy()
        x[places] = part
        return x

    def kept(self) -> State:
        """Return what `restore` needs between two steps: not the blocks, but where they are taken."""
        assert self._metric is not None
        numbers = {
            "n": self._n_steps,
            "since": self._since,
            "settled": self._settled,
            "rebuild": self._rebuild,
            "scale": self._metric.scale,
        }
        pairs = np.array(self._pairs).reshape(-1, self._objective.size)
        return State(numbers, {"blocks_at": self._metric.x, "members": self._metric.chosen, "pairs": pairs})

    def restore(self, state: State) -> None:
        """Take what `kept` returned in another process. One pass."""
        numbers, arrays = state.numbers, state.arrays
        self._n_steps, self._since = numbers["n"], numbers["since"]
        self._settled, self._rebuild = numbers["settled"], numbers["rebuild"]
        self._pairs = list(zip(arrays["pairs"][::2], arrays["pairs"][1::2], strict=True))
        self._metric = Metric(self._objective, arrays["blocks_at"], arrays["members"])
        self._metric.scale_by(numbers["scale"])


def descend(objective: ProximalObjective, point: Reached, goal: float) -> tuple[Reached, float]:
    """Return the end of an `Approach`, and what its last step gained, in nats; 0 if none lowers F."""
    approach, decrement = Approach(objective), np.inf
    while not approach.is_over:
        before = point
        point = approach.step(point, goal)
        decrement = max(before.value - point.value, 0.0)
    return point, decrement


def is_curved(step: Vector, change: Vector) -> bool:
    """Return whether a pair has a curvature that rounding cannot have made."""
    return bool(step @ change > 1e-10 * np.linalg.norm(step) * np.linalg.norm(change))


def _beyond(objective: ProximalObjective, point: Reached, member: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the parameters at zero, not among the members, that the gradient moves."""
    rest = np.where(
        member | objective.is_free(point.x), 0.0, objective.least_subgradient(point.x, point.grad)
    )
    beyond = np.flatnonzero(rest)
    n_new = max(MIN_GROWTH, int(np.count_nonzero(member)))
    if len(beyond) > n_new:
        beyond = beyond[np.argpartition(-np.abs(rest[beyond]), n_new)[:n_new]]
    return beyond


def _promise(objective: ProximalObjective, point: Reached, metric: Metric) -> float:
    """Return what a step in the blocks' diagonal could gain at most."""
    rest = objective.least_subgradient(point.x, point.grad)[metric.places]
    return 0.5 * float(rest**2 @ (1.0 / metric.blocks.diagonal()))


def _lowered(
    objective: ProximalObjective, point: Reached, x: Vector, thresholds: Vector
) -> tuple[Reached, float]:
    """Return the first lower point on the way from `point` to x, in halves, and the part of the way.

    `point` if there is none.
    """
    step = x - point.x
    slope = float(point.grad @ step) + float(thresholds @ (np.abs(x) - np.abs(point.x)))
    length = 1.0
    for _ in range(MAX_HALVINGS):
        trial_x = x if length == 1.0 else point.x + length * step
        trial = Reached(trial_x, *objective.value_and_grad(trial_x))
        if trial.value <= point.value + SUFFICIENT_DECREASE * length * slope:
            return trial, length
        if -length * slope <= ROUNDED * abs(point.value):
            return (trial if is_lower(objective, trial, point) else point), 1.0
        length *= 0.5
    return point, 1.0

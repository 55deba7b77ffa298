"""Newton's method with the Hessian of a sample in memory, corrected by what steps have shown of all rows."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.solvers.progress import Progress, in_float64_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.contracts.protocols import Checkpoint, Model, Modelled, Objective

NEEDS = frozenset({"gradient", "model"})  # of an objective

# A pair is three vectors. More of them help where the sample is small beside the parameters; there are as
# many as this memory holds.
MIN_PAIRS, MAX_PAIRS, PAIRS_BYTES = 10, 32, 2**25
# The rows of the sample are chosen at the start, and again at so many of the next points: those of the first
# were chosen where the fit has left.
CHOICES = 3
# Where an objective can sum a better model, it is asked for it where F is predicted to fall by at most this
# fraction of it: there the curvatures are to some per cent those at the minimum. It is the last model.
NEAR = 0.03
SUFFICIENT_DECREASE = 1e-4  # Armijo's condition, at its usual value
MAX_TRIALS = 30
RESOLUTION = 1e-7  # as in `newton`: smaller relative changes of F are rounding if products are float32
# A pair whose curvature is below this fraction of the model's tells of rounding, or of a point far away.
MIN_CURVATURE = 0.01
# A model whose curvature along the last step was so many times that of all rows is taken to be so all over.
STIFF = 3.0
TRUSTED_PAIRS = 3  # so many pairs have shown how far the sample's Hessian is from that of all rows
# Where the model's gradient at the end of a step is what its Hessian predicts, to this fraction of the
# change, the step is as good as the model.
STRAIGHT = 0.05


class _Iterate(NamedTuple):
    """The iterate between two steps: x, F, ∇F, and the number of readings that chose rows."""

    n_steps: int
    refined: bool
    n_choices: int
    x: Vector
    value: float
    grad: Vector


class _Pairs:
    """The steps s, and what the gradients of all rows changed more than those of the model, e."""

    def __init__(self, size: int) -> None:
        affordable = PAIRS_BYTES // (3 * 8 * max(1, size))
        self._most = int(np.clip(affordable, MIN_PAIRS, MAX_PAIRS))
        self.steps: list[Vector] = []
        self.excesses: list[Vector] = []
        self.products: list[Vector] = []  # H s of the first of them, with the model's Hessian H

    def add(self, step: Vector, excess: Vector) -> None:
        """Add a pair."""
        if len(self.steps) == self._most:
            del self.steps[0], self.excesses[0], self.products[:1]
        self.steps.append(step)
        self.excesses.append(excess)

    def clear(self) -> None:
        """Forget the pairs."""
        self.steps, self.excesses, self.products = [], [], []

    def age(self) -> None:
        """Forget the products: the model's Hessian has changed."""
        self.products = []

    def inverse(
        self, objective: Modelled, product: Callable[[Vector], Vector], inverse: Callable[[Vector], Vector]
    ) -> Callable[[Vector], Vector]:
        """Return the BFGS update of an inverse Hessian by the pairs s and H s + e, with the `product` H."""
        algebra = objective.algebra
        self.products += [product(step) for step in self.steps[len(self.products) :]]
        pairs, stiffness = [], 1.0
        for step, excess, by_model in zip(self.steps, self.excesses, self.products, strict=True):
            changed = algebra.moved(by_model, excess, 1.0)
            found = algebra.dot(step, changed)
            expected = algebra.dot(step, by_model)
            if found > MIN_CURVATURE * expected:
                pairs.append((step, changed, found))
            stiffness = expected / found if found > 0.0 else 1.0
        scale = stiffness if stiffness > STIFF else 1.0

        def apply(vector: Vector) -> Vector:
            rest, parts = algebra.copied(vector), []
            for step, changed, found in reversed(pairs):
                part = algebra.dot(step, rest) / found
                rest = algebra.moved(rest, changed, -part)
                parts.append(part)
            out = scale * inverse(rest)
            for (step, changed, found), part in zip(pairs, reversed(parts), strict=True):
                out = algebra.moved(out, step, part - algebra.dot(changed, out) / found)
            return out

        return apply


def minimize(
    objective: Objective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], str | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return the minimum of a smooth convex objective whose passes are dear, with a model of it that is not.

    Parameters
    ----------
    objective : Objective
    x0 : ndarray (size,), float64
    tol : float
        The relative suboptimality (F − F*) / F to stop at, certified or estimated (`Progress`).
    max_iter : int
        The most steps.
    callback : callable, optional
        Called with a `Record` and the parameters at the start and after each step.
    checkpoint : Checkpoint, optional
        Offered the state before each step but the first. If it has a stored state, x0 is ignored.

    Returns
    -------
    Solution

    Notes
    -----
    The direction is −B ∇F, with the inverse B of the model's Hessian after BFGS updates. A pair is a step s
    and the excess e of the change of ∇F over that of the model's gradient: H s + e, with the model's Hessian
    H at the present point, is what the Hessian there does to s, however old the pair. The end of the step is
    moved to where the model's gradient is as if the direction were straight, which costs no pass: far from
    the minimum that is a step of the model itself. A step that does not lower F is shortened. Costs one pass
    for each step length tried, usually one a step. Extra memory: 30 to 96 float64 vectors for the
    pairs, those that 32 MiB hold, and about ten.

    References
    ----------
    .. [1] O. Shamir, N. Srebro, T. Zhang, "Communication-efficient distributed optimization using an
       approximate Newton-type method", ICML 2014.
    .. [2] R. H. Byrd, S. L. Hansen, J. Nocedal, Y. Singer, "A stochastic quasi-Newton method for large-scale
       optimization", SIAM J. Optim. 26 (2016).
    """
    modelled = cast("Modelled", objective)
    pairs = _Pairs(modelled.size)
    stored = None if checkpoint is None else checkpoint.state()
    if stored is None:
        progress = Progress(modelled, tol, callback)
        x = np.array(x0, dtype=np.float64)
        value, grad, model = modelled.value_grad_and_model(x)
        n_steps, refined, n_choices = 0, False, 1
        step, slope = _step(modelled, model, pairs, x, grad)
        done = progress.at(x, value, grad, -0.5 * slope, trusted=False)
    else:
        model = modelled.model_at(stored.arrays["recipe"])
        (n_steps, refined, n_choices, x, value, grad), modelled = _restored(stored, modelled, pairs)
        progress, done = Progress(modelled, tol, callback), False
        progress.resume(stored.numbers["progress"], x)
        modelled.returns_to(x, value, grad)
        step, slope = _step(modelled, model, pairs, x, grad)
    first = n_steps
    for n_steps in range(first, max_iter):
        if done:
            break
        if checkpoint is not None and n_steps > first:
            iterate = _Iterate(n_steps, refined, n_choices, x, value, grad)
            checkpoint.offer(functools.partial(_state, iterate, model, pairs, progress))
        trial = None
        if not progress.stalled:
            near = modelled.sums_hessian and -0.5 * slope <= NEAR * abs(value)
            chooses = not refined and n_choices < (CHOICES + 1 if near else CHOICES)
            make = functools.partial(modelled.value_grad_and_model, near=near) if chooses else None
            trial = _searched(modelled, model, pairs, (x, value, grad), step, make)
            if trial is None:
                modelled.returns_to(x, value, grad)
        if trial is not None:
            x, value, grad, new_model = trial
            if new_model is not None:
                model, n_choices = new_model, CHOICES + 1 if near else n_choices + 1
                del new_model
            trial = None
        elif pairs.steps and not (progress.stalled or modelled.is_float32):
            pairs.clear()  # their curvature may be rounding: try again from the model alone
        else:
            in_float64 = progress.in_float64(x, value, grad, -0.5 * slope)
            if in_float64 is None:
                break
            modelled, value, grad = cast("Modelled", in_float64[0]), *in_float64[1:]
            refined = True
            pairs.clear()
        step, slope = _step(modelled, model, pairs, x, grad)
        trusted = modelled.has_small_hessian or len(pairs.steps) >= TRUSTED_PAIRS
        done = progress.at(x, value, grad, -0.5 * slope, trusted=trusted)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x, value, grad)


def _step(objective: Modelled, model: Model, pairs: _Pairs, x: Vector, grad: Vector) -> tuple[Vector, float]:
    """Return the next step, and the slope −∇F · B ∇F of its straight direction. No pass."""
    algebra = objective.algebra
    product = model.hessian(x)
    if objective.has_small_hessian:
        inverse = by_model = objective.inverse_hessian(x)
    else:
        by_model = model.inverse(x)
        inverse = pairs.inverse(objective, product, by_model)
    step = inverse(-grad)
    slope = algebra.dot(grad, step)
    if not slope < 0.0:  # rounding, in the pairs or in the solution of a system
        step = -grad if slope == 0.0 else by_model(-grad)
        slope = algebra.dot(grad, step)
    _, here = model.value_and_grad(x)
    change = product(step)
    end = algebra.moved(x, step, 1.0)
    target = algebra.moved(here, change, 1.0)
    _, there = model.value_and_grad(end)
    off = algebra.moved(there, target, -1.0)
    if algebra.norm(off) > STRAIGHT * algebra.norm(change):
        pairs.age()  # at the end of the step
        bent = algebra.moved(model.solved(x, target, by_model), x, -1.0)
        steps = [bent, step] if algebra.dot(grad, bent) < 0.1 * slope else [step]
        step = model.end(x, grad, steps)
    return step, slope


def _searched(
    objective: Modelled,
    model: Model,
    pairs: _Pairs,
    start: tuple[Vector, float, Vector],
    step: Vector,
    make: Callable[[Vector], tuple[float, Vector, Model]] | None,
) -> tuple[Vector, float, Vector, Model | None] | None:
    """Return the first point along the step that lowers F enough, or None; each point tried gives a pair.

    The result is the point, F, ∇F, and the model that `make` makes there with them, if any; its pair is then
    the only one.
    """
    algebra = objective.algebra
    x, value, grad = start
    slope, norm = algebra.dot(grad, step), algebra.norm(grad)
    length = 1.0
    for _ in range(MAX_TRIALS):
        if slope >= 0.0 or length * -slope <= np.finfo(np.float64).eps * abs(value):
            return None
        trial = algebra.moved(x, step, length)
        new_model = None
        if make is not None:
            trial_value, trial_grad, new_model = make(trial)
        else:
            trial_value, trial_grad = objective.value_and_grad(trial)
        good = trial_value <= value + SUFFICIENT_DECREASE * length * slope or (
            abs(trial_value - value) <= RESOLUTION * abs(value) and algebra.norm(trial_grad) < 0.9 * norm
        )
        if np.isfinite(trial_value):
            if new_model is not None and good:
                pairs.clear()
            by = model if new_model is None or not good else new_model
            moved = algebra.moved(by.value_and_grad(trial)[1], by.value_and_grad(x)[1], -1.0)
            excess = algebra.moved(algebra.moved(trial_grad, grad, -1.0), moved, -1.0)
            pairs.add(length * step, excess)
        if good:
            return trial, trial_value, trial_grad, new_model
        if objective.is_float32 and length * -slope <= RESOLUTION * abs(value):
            return None  # what a shorter step may gain is the rounding of F
        length *= _shortening(value, length * slope, trial_value, length * algebra.dot(trial_grad, step))
    return None


def _shortening(value: float, slope: float, its_value: float, its_slope: float) -> float:
    """Return the fraction of a step at which the cubic through both ends is least, in [0.1, 0.5]."""
    if not np.isfinite(its_value):
        return 0.1
    d1 = slope + its_slope - 3.0 * (its_value - value)
    square = d1 * d1 - slope * its_slope
    if square <= 0.0:
        return 0.5
    d2 = float(np.sqrt(square))
    divisor = its_slope - slope + 2.0 * d2
    return float(np.clip(1.0 - (its_slope + d2 - d1) / divisor, 0.1, 0.5)) if divisor > 0.0 else 0.5


def _state(iterate: _Iterate, model: Model, pairs: _Pairs, progress: Progress) -> State:
    """Return the state between two steps, which `_restored` and `Progress.resume` take."""
    numbers: dict[str, Any] = {
        "n_steps": iterate.n_steps,
        "refined": iterate.refined,
        "n_choices": iterate.n_choices,
        "value": iterate.value,
        "progress": progress.state(),
    }
    size = len(iterate.x)
    return State(
        numbers,
        {
            "x": iterate.x,
            "grad": iterate.grad,
            "recipe": model.recipe,
            "steps": np.array(pairs.steps).reshape(-1, size),
            "excesses": np.array(pairs.excesses).reshape(-1, size),
            "products": np.array(pairs.products).reshape(-1, size),
        },
    )


def _restored(stored: State, objective: Modelled, pairs: _Pairs) -> tuple[_Iterate, Modelled]:
    """Return the iterate and the objective of a stored state, and restore the pairs."""
    numbers, arrays = stored
    for name in ("steps", "excesses", "products"):
        setattr(pairs, name, list(arrays[name]))
    iterate = _Iterate(
        numbers["n_steps"],
        numbers["refined"],
        numbers["n_choices"],
        arrays["x"],
        numbers["value"],
        arrays["grad"],
    )
    return iterate, cast("Modelled", in_float64_if(objective, iterate.refined))

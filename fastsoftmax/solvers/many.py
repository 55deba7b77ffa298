"""Many small minimisations at once: L-BFGS in lockstep, some in each thread, one compiled call a pass."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts.minimisations import (
    CODE,
    COEF_SQUARE,
    DECREMENT,
    FAILED,
    GRAD_SQUARE,
    L2,
    MOVED,
    PROBE,
    PROBED,
    SCALE,
    VALUE,
)
from fastsoftmax.runtime import thread_pool
from fastsoftmax.solvers.progress import TINY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector

# Minimisations that a thread advances together, at most: their vectors and weights are read in each pass, and
# 64 KiB of them stay in a second-level cache with the rows.
TOGETHER, TOGETHER_BYTES = 16, 2**21


class Task(NamedTuple):
    """What m minimisations have in common, and what they differ in.

    `passes(weights)` returns the `kernels.cpu.direct.Passes` of some rows of weights, each pass in one
    thread; `minimisations(m)` memory for m of them (`linalg.quasi_newton`). They come in m / c chains of
    `chain` = c, one after the other with falling penalties: each begins where the one before has ended, with
    its pairs. `weights` is (m / c, n), `mean_targets` (m / c, K), `starts` (m / c, K (d + 1)), `l2` (m,),
    `curvature` that of the loss at zero. After `max_steps` a minimisation is left to others, and so are
    those behind it, and those behind one that has taken more than `patience` steps. `features`, if
    there are any, are an array (m / c, …) of which the passes hold one for each of their minimisations.
    """

    passes: Callable[[Vector], Any]
    minimisations: Callable[[int], Any]
    fit_intercept: bool
    curvature: float
    weights: Vector
    mean_targets: Vector
    l2: Vector
    starts: Vector
    max_steps: int
    chain: int = 1
    patience: float = np.inf
    features: Vector | None = None


class Results(NamedTuple):
    """The points (m, K (d + 1)), F and its gap there (m,), the steps (m,), and which are certified (m,).

    The points of others are those that were reached, or zero.
    """

    x: Vector
    value: Vector
    gap: Vector
    n_steps: NDArray[np.int32]
    certified: NDArray[np.bool_]

    @classmethod
    def empty(cls, m: int, size: int) -> Results:
        """Return the results before any minimisation."""
        value, gap = np.full((2, m), np.inf)
        return cls(np.zeros((m, size)), value, gap, np.zeros(m, np.int32), np.zeros(m, np.bool_))


def minimize(task: Task, *, tol: float, max_iter: int, n_threads: int) -> Results:
    """Return the minima of m small problems on the same rows.

    Parameters
    ----------
    task : Task
    tol : float
        The certified relative suboptimality to stop at.
    max_iter : int
        The most steps of each. Those that take more than the task's, or fail, are not certified.
    n_threads : int
        Results do not depend on it: each chain is computed by itself, in one thread.
    """
    m, n_rows = task.weights.shape
    results = Results.empty(m * task.chain, task.starts.shape[1])
    size = 8 * (n_rows + 30 * task.starts.shape[1])
    n_slots = max(1, min(TOGETHER, TOGETHER_BYTES // size, -(-m // n_threads)))
    queue = iter(range(m))  # next() on it is atomic

    def worker() -> Iterator[None]:
        yield from _Lane(task, results, n_slots, tol, min(max_iter, task.max_steps)).run(queue)

    thread_pool.run_all(worker, min(n_threads, -(-m // n_slots)), n_threads - 1)
    return results


class _Lane:
    """The chains of one thread: in slots, each of which takes the next one when it has ended."""

    def __init__(self, task: Task, results: Results, n_slots: int, tol: float, max_iter: int) -> None:
        self._task, self._results, self._tol, self._max_iter = task, results, tol, max_iter
        self._sums = task.passes(np.zeros((n_slots, task.weights.shape[1])))
        self._state = task.minimisations(n_slots)
        self._tasks = np.zeros(n_slots, np.int64)
        self._steps = np.zeros(n_slots, np.int64)
        self._active = 0

    def run(self, queue: Iterator[int]) -> Iterator[None]:
        """Take minimisations from the queue until none is left; the work may be abandoned at each item."""
        n_slots = len(self._tasks)
        while True:
            for i in itertools.islice(queue, n_slots - self._active):
                self._begin(i)
            if not self._active:
                return
            self._advance()
            yield

    def _begin(self, i: int) -> None:
        """Put the first minimisation of chain i into the next slot."""
        slot, sums, task = self._active, self._sums, self._task
        self._active += 1
        self._tasks[slot], self._steps[slot] = i * task.chain, 0
        sums.weights[slot] = task.weights[i]
        if task.features is not None:
            sums.features[slot] = task.features[i]
        self._state.begin(
            slot, task.starts[i], l2=task.l2[i * task.chain], scale=1.0 / task.weights[i].sum(),
            moments=sums.moments(task.fit_intercept, slot), curvature=task.curvature,
        )  # fmt: skip
        sums.coef[slot], sums.intercept[slot] = self._state.coef(slot), self._state.intercept(slot)

    def _advance(self) -> None:
        """Compute a pass for all slots, and take each to its next trial point, or to its end."""
        sums, state, active = self._sums, self._state, self._active
        results, trial = (sums.values, sums.coef_sums, sums.intercept_sums), (sums.coef, sums.intercept)
        sums.evaluate(active)
        if not self._task.fit_intercept:
            sums.intercept_sums[:active] = 0.0
        state.advance(0, active, results, trial)
        code, number = state.counts[:active, CODE].copy(), state.numbers[:active]
        self._steps[:active] += code == MOVED
        goal = self._tol * np.maximum(np.abs(number[:, VALUE]), TINY)
        likely = np.maximum(number[:, DECREMENT], 0.5 * number[:, COEF_SQUARE] / number[:, L2])
        arrived = (number[:, GRAD_SQUARE] == 0.0) | (likely <= goal)
        ended = (code == FAILED) | (self._steps[:active] >= self._max_iter)
        for slot in np.flatnonzero(((code == MOVED) | (code == PROBE)) & arrived).tolist():
            ended[slot] |= self._is_certified(slot, goal[slot])
        for slot in np.flatnonzero((code == PROBE) & ~ended).tolist():
            state.numbers[slot, PROBED] = sums.square(slot)
            state.advance(slot, slot + 1, results, trial)
        for slot in np.flatnonzero(ended)[::-1].tolist():
            self._end(slot)

    def _is_certified(self, slot: int, goal: float) -> bool:
        """Return whether F at the slot's point is certified to be within the goal; if so, note the result."""
        sums, number, point = self._sums, self._state.numbers[slot], self._state.x[slot]
        i, n_coef = self._tasks[slot], sums.coef.shape[1]
        value, l2, scale = number[VALUE], number[L2], number[SCALE]
        if self._task.fit_intercept:
            kept = sums.coef[slot].copy(), sums.intercept[slot].copy()
            sums.coef[slot], sums.intercept[slot] = point[:n_coef], point[n_coef:]
            dual = scale * sums.dual(slot, 1.0 / scale, self._task.mean_targets[i // self._task.chain])
            sums.coef[slot], sums.intercept[slot] = kept
            residual = scale * sums.coef_sums[slot]
            gap = value - max(0.0, dual - 0.5 * float(residual @ residual) / l2)
        else:
            gap = min(value, 0.5 * number[COEF_SQUARE] / l2)
        results = self._results
        results.x[i], results.value[i], results.gap[i] = point, value, max(gap, 0.0)
        results.certified[i] = gap <= goal
        return bool(results.certified[i])

    def _end(self, slot: int) -> None:
        """Note the steps of a slot; let its chain go on, or fill it with the last one."""
        i = int(self._tasks[slot])
        self._results.n_steps[i] = self._steps[slot]
        if not self._results.certified[i]:
            self._results.x[i] = self._state.x[slot]
        elif (i + 1) % self._task.chain and self._steps[slot] <= self._task.patience:
            self._tasks[slot], self._steps[slot] = i + 1, -1  # the starting point is no step
            self._state.go_on(slot, self._task.l2[i + 1])
            self._sums.coef[slot] = self._state.coef(slot)
            self._sums.intercept[slot] = self._state.intercept(slot)
            return
        self._active -= 1
        last = self._active
        if slot != last:
            self._tasks[slot], self._steps[slot] = self._tasks[last], self._steps[last]
            for array in (self._sums.weights, self._sums.coef, self._sums.intercept):
                array[slot] = array[last]
            if self._task.features is not None:
                self._sums.features[slot] = self._sums.features[last]
            self._state.copy(last, slot)

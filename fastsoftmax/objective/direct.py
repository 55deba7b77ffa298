"""A small problem as the solver of small problems sees it: sums over rows in memory, without queries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Csr
from fastsoftmax.kernels.cpu import direct
from fastsoftmax.linalg.quasi_newton import Minimisations
from fastsoftmax.objective import row_blocks, row_space
from fastsoftmax.objective.scaled_passes import ScaledPasses
from fastsoftmax.preconditioners import choice
from fastsoftmax.runtime.lazy_attributes import lazy
from fastsoftmax.simd.sizes import MAX_CLASSES
from fastsoftmax.solvers.many import Task
from fastsoftmax.sources.array import ArraySource
from fastsoftmax.sources.scaled import ScaledSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastsoftmax.contracts import Loss, Vector
    from fastsoftmax.contracts.protocols import Algebra, LossFamily, Penalty, Source
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout

# The longest pass, on one thread, the most entries and the most parameters of a small problem: arithmetic on
# vectors is one thread's (banking77, of 1.7 million parameters, took three times as long as by `lbfgs`).
MAX_SECONDS = 8e-3
MAX_ENTRIES, MAX_PARAMS = 2**22, 2**17
MAX_OUTPUTS = MAX_CLASSES  # of the kernel that finds the certificate's dual point
# With so few features, blocks of classes cost few passes, and save more on columns that depend on each other,
# unless a pass is next to nothing (dry_bean, 10,890 × 16, took twice as long without).
FEW_FEATURES, FEW_SECONDS, FEW_STEPS = 64, 2e-3, 100
# What going on by blocks costs, in seconds and in passes, beside steps of STEP_SECONDS and a pass each.
# Of a whole Hessian the sums take longer: so many flops a second, and FULL_SECONDS for the steps there.
BLOCKS_SECONDS, BLOCKS_PASSES, STEP_SECONDS, FULL_FLOPS, FULL_SECONDS = 5e-3, 10.0, 5e-5, 4.5e9, 3e-3
# What going on costs with more features: blocks by one thread's BLAS, and passes with the arithmetic of
# `lbfgs` (isolet, 1,248 × 617 and 26 classes: 179 passes if only MAX_STEPS end it, 96 by these).
FLOPS, WIDE_PASSES, WIDE_STEP_SECONDS = 2.5e10, 25.0, 1e-3
# The same of the matrices of `row_blocks`, and what each class takes there besides.
ROWS_FLOPS, CLASS_SECONDS = 1e10, 1e-4
# Steps after which a problem is taken to need more than a diagonal preconditioner.
MAX_STEPS = 150
# Readings after which a corrected bound is weighed, and one more for each feature a class, up to so many: its
# Gram matrix costs as much as some of them (a dozen at 3,000 × 200).
MIN_CORRECTED_AFTER, MAX_CORRECTED_AFTER = 12, 40


class DirectObjective:
    """F and its certificate over passes in memory that is taken once (`kernels.cpu.direct.Passes`).

    Parameters
    ----------
    passes : Passes
        Of one set of weights, those of the rows.
    rows : CountedSource
        Counts the readings.
    layout : Layout
    family : LossFamily
    penalty : Penalty
        With a conjugate.
    algebra : Algebra
    corrected_bound : callable
        That of the objective itself (`SourceObjective.corrected_bound`).
    rotates : bool
        Whether the objective has a `rotation`.

    Attributes
    ----------
    max_steps : int
        Steps after which another solver goes on: 150, or 100 of few features.
    patience : float
        The most steps to come, by the rate of the last ones, for which the solver goes on.
    likely_hands_over : bool
        Whether problems of this shape often go on by another solver.
    """

    is_float32 = False
    has_lower_bound = True
    offers = frozenset({"gradient"})

    def __init__(
        self,
        passes: direct.Passes | ScaledPasses,
        rows: CountedSource,
        layout: Layout,
        family: LossFamily,
        penalty: Penalty,
        algebra: Algebra,
        *,
        corrected_bound: Callable[[Vector, Vector, float, int], tuple[float | None, float]],
        rotates: bool = False,
    ) -> None:
        self.sums = passes
        self._family = family
        self._corrected_bound = corrected_bound
        self.layout, self.penalty, self.algebra = layout, penalty, algebra
        self._rows, self.total_weight = rows, rows.spec.weight
        # Not by a query of the rows, for which sparse ones would be transposed.
        targets = family.weighted_target_sum(passes.loss, passes.block.target, passes.weights[0])
        self._mean_target = targets / self.total_weight
        self.max_steps, self.patience = MAX_STEPS, math.inf
        if layout.n_features <= FEW_FEATURES:
            seconds = direct.seconds_of_pass(passes.block.X, layout.n_classes)
            self.max_steps = FEW_STEPS
            cost = max(BLOCKS_SECONDS, self._seconds_of_hessian()) + BLOCKS_PASSES * seconds
            self.patience = cost / (STEP_SECONDS + seconds)
        elif rotates:
            self.patience = self.steps_to_row_space()
        else:
            self.patience = self._steps_to_blocks()
        self.likely_hands_over = rotates or layout.n_features <= FEW_FEATURES
        self.curvature = family.curvature_at_zero(layout.n_classes)

    @property
    def passes(self) -> int:
        """The number of readings of X so far."""
        return self._rows.passes

    @property
    def size(self) -> int:
        """The length of a parameter vector."""
        return self.layout.size

    def minimisations(self, m: int = 1) -> Minimisations:
        """Return memory for m minimisations of this shape."""
        return Minimisations(m, self.layout.n_classes, self.layout.n_features)

    @lazy
    def moments(self) -> Vector:
        """The weighted means of the columns, and their variances, (2, d). A pass."""
        self._rows.passes += 1
        found: Vector = self.sums.moments(self.layout.fit_intercept)
        return found

    def steps_to_row_space(self) -> float:
        """Return how many steps take as long as finding the row space, by the shape alone."""
        return row_space.steps_to_find(self.sums.block.X, self.layout.n_classes)

    def _steps_to_blocks(self) -> float:
        """Return how many steps take as long as going on by blocks of classes; infinity without blocks."""
        n_rows = self.sums.block.n_rows
        n_classes, n_features = self.layout.n_classes, self.layout.n_features
        form, _ = choice.form_of(n_classes, n_features)
        if form != "block diagonal":
            return math.inf
        if row_blocks.serves(self._rows.source, self._family, n_classes, self.penalty.curvature):
            build = row_blocks.flops(n_rows, n_classes, n_features) / ROWS_FLOPS + CLASS_SECONDS * n_classes
            build += n_rows**2 * n_features / FLOPS
        else:
            build = choice.build_flops(form, self._n_summed(form), n_classes, n_features) / FLOPS
        seconds = direct.seconds_of_pass(self.sums.block.X, n_classes)
        return (build + WIDE_PASSES * (seconds + WIDE_STEP_SECONDS)) / (STEP_SECONDS + seconds)

    def _seconds_of_hessian(self) -> float:
        """Return what going on by the whole Hessian takes besides passes; 0 where it is not that."""
        n_classes, n_features = self.layout.n_classes, self.layout.n_features
        if choice.form_of(n_classes, n_features)[0] != "full":
            return 0.0
        flops = choice.build_flops("full", self._n_summed("full"), n_classes, n_features)
        return FULL_SECONDS + flops / FULL_FLOPS

    def _n_summed(self, form: str) -> int:
        """Return the number of rows that blocks are summed over, at most."""
        n_rows = self.sums.block.n_rows
        return min(n_rows, choice.rows_worth(form, n_rows, self.layout.n_classes, self.layout.n_features))

    def evaluate(self) -> None:
        """Compute the sums at the parameters in `sums`. One pass."""
        self._rows.passes += 1
        self.sums.evaluate(1)
        if not self.layout.fit_intercept:
            self.sums.intercept_sums[:] = 0.0

    def probe(self) -> float:
        """Return Σ wᵢ ‖zᵢ‖² of the logits along the direction in `sums`. Half a pass, counted as one."""
        self._rows.passes += 1
        return self.sums.square(0)

    def diagonal(self, x: Vector) -> Vector:
        """Return the diagonal of ∇²F(x), (size,). One pass."""
        self._rows.passes += 1
        sums, n_coef = self.sums, self.layout.n_coef
        sums.coef[0] = x[:n_coef]
        if self.layout.fit_intercept:
            sums.intercept[0] = x[n_coef:]
        sums.diagonal(0)
        flat = np.concatenate((sums.coef_sums[0], sums.intercept_sums[0]))[: self.layout.size]
        flat /= self.total_weight
        flat[:n_coef] += self.penalty.curvature
        return flat

    def likely_gap(self, grad: Vector) -> float:
        """Return an estimate of the duality gap from ∇F alone (`SourceObjective.likely_gap`)."""
        return self.penalty.gap(self.algebra, grad[: self.layout.n_coef])

    def lower_bound(self, x: Vector, value: float, grad: Vector) -> float:
        """Return a lower bound of min F from F and ∇F at x: `objective.certificate` derives it.

        Two passes with intercepts, none without. The parameters in `sums` stay as they are.
        """
        if not self.layout.fit_intercept:
            return max(0.0, value - self.likely_gap(grad))
        self._rows.passes += 2
        sums, n_coef = self.sums, self.layout.n_coef
        kept = sums.coef[0].copy(), sums.intercept[0].copy()
        sums.coef[0], sums.intercept[0] = x[:n_coef], x[n_coef:]
        dual = sums.dual(0, self.total_weight, self._mean_target) / self.total_weight
        sums.coef[0], sums.intercept[0] = kept
        conjugate = self.penalty.conjugate(self.algebra, sums.coef_sums[0], self.total_weight)
        return max(0.0, dual - conjugate)

    def task_of(
        self,
        weights: Vector,
        l2: Vector,
        starts: Sequence[Vector],
        chain: int = 1,
        features: Vector | None = None,
    ) -> Task:
        """Return what m c minimisations are computed by: `weights` (m, n), starts, and penalties (m c,).

        c is `chain` (`solvers.many.Task`); `features` (m, 2, d) scale and centre the rows of each
        (`ScaledPasses`). Where the most steps cost more than going on by blocks of classes does, half of them
        foretell that the next of a chain needs more.
        """
        sums, layout = self.sums, self.layout
        dear = self.max_steps * direct.seconds_of_pass(sums.block.X, layout.n_classes) > BLOCKS_SECONDS
        patience = self.max_steps / 2 if dear else np.inf
        mean_targets = [
            self._family.weighted_target_sum(sums.loss, sums.block.target, weight) / weight.sum()
            for weight in weights
        ]
        padded = np.zeros((len(weights), layout.n_classes * (layout.n_features + 1)))
        padded[:, : layout.size] = starts

        def passes(slots: Vector) -> direct.Passes | ScaledPasses:
            made = direct.passes(sums.loss, sums.block, layout.n_classes, slots, 1, together=True)
            return made if features is None else ScaledPasses(made, features[:1].repeat(len(slots), axis=0))

        return Task(
            passes, self.minimisations, layout.fit_intercept, self.curvature, weights,
            np.array(mean_targets), l2, padded, self.max_steps, chain, patience,
            features,
        )  # fmt: skip

    def corrected_bound(
        self, x: Vector, grad: Vector, goal: float, n_passes: int
    ) -> tuple[float | None, float]:
        """Return the corrected bound of the objective itself, once steps have cost more than it does."""
        due = MIN_CORRECTED_AFTER + self.layout.n_features / self.layout.n_classes
        if n_passes < min(due, MAX_CORRECTED_AFTER):
            return None, np.inf
        return self._corrected_bound(x, grad, goal, n_passes)

    def unpenalised_bound(self, x: Vector, value: float, grad: Vector, goal: float, n_passes: int) -> None:
        """Return None: there is a penalty."""

    def in_float64(self) -> None:
        """Return None: products are float64."""


def passes_of(
    source: Source, family: LossFamily, loss: Loss, n_threads: int | None
) -> direct.Passes | ScaledPasses | None:
    """Return the passes over a source's rows; None unless they are few, in memory, and of a known family."""
    if not isinstance(source, ScaledSource):
        return _passes_of(source, family, loss, n_threads)
    found = _passes_of(source.rows, family, loss, n_threads)
    return None if found is None else ScaledPasses(found, source.features[np.newaxis])


def _passes_of(source: Source, family: LossFamily, loss: Loss, n_threads: int | None) -> direct.Passes | None:
    """Return the passes over rows that are not scaled."""
    block = source.block if isinstance(source, ArraySource) else None
    if block is None or not getattr(family, "DIRECT", False):
        return None
    n_outputs = source.spec.n_outputs
    n_entries = len(block.X.data) if isinstance(block.X, Csr) else block.X.shape[0] * block.X.shape[1]
    limit = min(FEW_SECONDS, MAX_SECONDS) if block.X.shape[1] <= FEW_FEATURES else MAX_SECONDS
    too_many = n_outputs > MAX_OUTPUTS or n_outputs * block.X.shape[1] > MAX_PARAMS
    if too_many or n_entries > MAX_ENTRIES:
        return None
    if direct.seconds_of_pass(block.X, n_outputs) > limit:
        return None
    if n_outputs > 1 and isinstance(source, ArraySource):
        block = source.block_with_transpose or block
    if block.target.ndim == 2:
        block = block._replace(target=block.target.astype(np.float64, copy=False))
    weights = block.weight[np.newaxis]
    return direct.passes(family.in_float64(loss), block, n_outputs, weights, n_threads, together=False)

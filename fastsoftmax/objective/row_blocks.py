"""Class blocks of the Hessian of few rows, inverted in the space of the rows that a class is undecided about.

With cᵢₖ = wᵢ pᵢₖ (1 − pᵢₖ) / Σ w, the block of class k is Hₖ = D + Aₖᵀ Aₖ, where D = l2 I and the rows of Aₖ
are √cᵢₖ x̃ᵢ. By Woodbury's identity [1]_

    Hₖ⁻¹ = D⁻¹ − D⁻¹ Aₖᵀ (I + Aₖ D⁻¹ Aₖᵀ)⁻¹ Aₖ D⁻¹,

and Aₖ Aₖᵀ is a part of the rows' products x̃ᵢ · x̃ⱼ, which depend on nothing and are computed once. Of many
classes each is certain of most rows: the few that matter make a matrix far smaller than d, so that a build
takes as long as some ten passes where that of d × d blocks takes as long as a hundred.

.. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM, 2002, problem 26.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.special

from fastsoftmax import losses
from fastsoftmax.contracts import Halves
from fastsoftmax.linalg.cholesky import NOT_FINITE, solve
from fastsoftmax.preconditioners import choice
from fastsoftmax.preconditioners.projection import projected, pull_of
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import even_bounds, run_in_python
from fastsoftmax.runtime.lazy_attributes import lazy
from fastsoftmax.sources.array import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, Params, RowBlock, Vector
    from fastsoftmax.contracts.protocols import LossFamily, Source
    from fastsoftmax.preconditioners.projection import Inverse

# Of more rows a feature the blocks of d × d are as cheap, and of more rows their products take too much
# memory (32 MiB) and time. Of fewer features than MIN_FEATURES a block costs next to nothing anyway.
ROWS_PER_FEATURE, MAX_ROWS, MIN_FEATURES = 4, 2048, 100
# With so few classes each is undecided about most rows.
MOST_SMALL_CLASSES = 4
# A class keeps the rows of the largest curvatures, at most so many for each feature, and leaves out those
# that together have less than this part of the penalty's trace: D gets theirs, spread evenly.
KEPT_PER_FEATURE, LEFT_OUT = 0.5, 0.02
PARTS = 8  # of the classes or features in products: fixed, so that bits do not depend on the threads
# Nanoseconds of one thread for a product of two numbers, and for an entry of the small matrices, which is
# gathered, scaled and copied. On one core.
PRODUCT, ENTRY = 0.05, 20.0
# The largest curvature over the least up to which products are float32: beyond, the identity's difference is
# rounding along stiff directions (isolet1: as many passes up to C = 100, a tenth more at 10⁴).
MAX_STEEPNESS = 1e5
LEAST = 1e-6  # of a class's curvature: what an intercept, which no penalty holds, has without its rows


def has_plain_curvatures(family: LossFamily) -> bool:
    """Return whether a loss's curvatures are p (1 − p), as here: another loss has its own in `Gram` alone."""
    return family in (losses.family("softmax"), losses.family("sigmoid"))


def serves(source: Source, family: LossFamily, n_classes: int, l2: float) -> bool:
    """Return whether class blocks are to be inverted by rows: by storage, loss, shape and penalty."""
    block = source.block if isinstance(source, ArraySource) else None
    if (
        l2 <= 0.0
        or not has_plain_curvatures(family)
        or block is None
        or not isinstance(block.X, np.ndarray | Halves)
    ):
        return False
    n_rows, n_features = block.X.shape
    return (
        n_classes > MOST_SMALL_CLASSES
        and n_features >= MIN_FEATURES
        and n_rows <= min(MAX_ROWS, ROWS_PER_FEATURE * n_features)
        and choice.form_of(n_classes, n_features)[0] == "block diagonal"
    )


def flops(n_rows: int, n_classes: int, n_features: int) -> float:
    """Return about the flops that a build takes the time of."""
    kept = min(n_rows, int(KEPT_PER_FEATURE * n_features))
    return n_classes * (kept**3 / 3 + ENTRY * kept**2)


@dataclass(slots=True)
class _Kept:
    """The rows that each class keeps, (K, m) in ascending order, and the roots of their curvatures.

    `total` (K,) is the curvature of all rows, `rest` that of those left out, `rest_trace` their block's trace
    over d.
    """

    places: NDArray[np.int64]
    roots: Vector
    total: Vector
    rest: Vector
    rest_trace: Vector


class RowBlocks:
    """The rows of a block, with what all inverses of their class blocks share.

    Parameters
    ----------
    block : RowBlock
        Dense.
    family : LossFamily
    fit_intercept : bool
    n_threads : int or None

    Notes
    -----
    8 n² + 4 n d bytes, and 8 n d where X is not float64.
    """

    def __init__(
        self, block: RowBlock, family: LossFamily, fit_intercept: bool, n_threads: int | None
    ) -> None:
        self._block, self._family = block, family
        self._fit_intercept, self._n_threads = fit_intercept, n_threads

    @lazy
    def _X(self) -> Vector:
        X = self._block.X
        dense = X.bits.view(np.float16) if isinstance(X, Halves) else X
        return np.ascontiguousarray(dense, np.float64)

    @lazy
    def _X32(self) -> Array:
        return self._X.astype(np.float32)

    @lazy
    def _products(self) -> Vector:
        """X Xᵀ (n, n), its lower triangle. n² d flops."""
        out = np.zeros((len(self._X), len(self._X)))
        bounds = even_bounds(len(out), 2 * PARTS)

        def work(parts: Iterator[int]) -> Iterator[None]:
            for part in parts:
                rows = slice(bounds[part], bounds[part + 1])
                np.matmul(self._X[rows], self._X[: rows.stop].T, out=out[rows, : rows.stop])
                yield

        self._shared(work, len(bounds) - 1, PRODUCT * out.size * self._X.shape[1] / 2)
        return out

    @lazy
    def _squares(self) -> Vector:
        """The rows' squared norms over d, (n,)."""
        return np.asarray(np.einsum("ij,ij->i", self._X, self._X) / self._X.shape[1])

    def inverse(self, params: Params, l2: float) -> Inverse:
        """Return v ↦ blockdiag(Hₖ)⁻¹ v in place, projected where classes share a direction. Two passes."""
        kept = self._kept(params, l2)
        n_classes, n_kept = kept.places.shape
        in_coef = 1.0 / (l2 + kept.rest_trace)
        in_intercept = 1.0 / np.maximum(kept.rest, LEAST * kept.total + np.finfo(np.float64).tiny)
        if not self._fit_intercept:
            in_intercept[:] = 0.0
        lowers = np.empty((n_classes, n_kept, n_kept))
        products = self._products

        def work(classes: Iterator[int]) -> Iterator[None]:
            for k in classes:
                rows = kept.places[k]
                matrix = products[rows[:, np.newaxis], rows]
                matrix *= in_coef[k]
                matrix += in_intercept[k]
                matrix *= kept.roots[k]
                matrix *= kept.roots[k][:, np.newaxis]
                matrix[np.diag_indices_from(matrix)] += 1.0
                lowers[k] = np.linalg.cholesky(matrix)  # I and more; SciPy's would hold Python's lock
                yield

        self._shared(work, n_classes, n_classes * (PRODUCT * n_kept**3 / 3 + ENTRY * n_kept**2))
        steepness = float((kept.total * in_coef).max() * self._squares.mean()) * self._X.shape[1]
        apply = self._applying(kept, lowers, in_coef, in_intercept, steepness)
        return (
            projected(apply, pull_of(l2, float(kept.total.max()))) if self._family.SHIFT_INVARIANT else apply
        )

    def _applying(
        self, kept: _Kept, lowers: Vector, in_coef: Vector, in_intercept: Vector, steepness: float
    ) -> Inverse:
        X = self._X32 if steepness <= MAX_STEEPNESS else self._X
        scales = np.ones((1, lowers.shape[1])).repeat(len(lowers), axis=0)
        n_classes = len(kept.places)
        effort = PRODUCT * n_classes * X.size

        def apply(vector: Params) -> None:
            coef, intercept = vector
            coef *= in_coef[:, np.newaxis]
            intercept *= in_intercept
            logits = self._logits(coef.astype(X.dtype), X)
            right = logits[kept.places, np.arange(n_classes)[:, np.newaxis]].astype(np.float64)
            right += intercept[:, np.newaxis]
            right *= kept.roots
            solve(lowers, scales, right, self._n_threads)
            right *= kept.roots
            spread = np.zeros((n_classes, len(X)), X.dtype)
            change = np.empty(coef.shape, X.dtype)
            np.put_along_axis(spread, kept.places, right.astype(X.dtype), axis=1)
            features = even_bounds(X.shape[1], PARTS)

            def work(parts: Iterator[int]) -> Iterator[None]:
                for part in parts:
                    some = slice(features[part], features[part + 1])
                    np.matmul(spread, X[:, some], out=change[:, some])
                    yield

            self._shared(work, len(features) - 1, effort)
            coef -= change * in_coef[:, np.newaxis]
            intercept -= in_intercept * right.sum(axis=1)

        return apply

    def _kept(self, params: Params, l2: float) -> _Kept:
        """Choose the rows of each class by their curvatures at `params`. Half a pass."""
        logits = self._logits(params.coef, self._X)
        logits += params.intercept
        exclusive = self._family.SHIFT_INVARIANT
        proba = scipy.special.softmax(logits, axis=1) if exclusive else scipy.special.expit(logits)
        weight = self._block.weight / self._block.weight.sum()
        curvature = np.ascontiguousarray((proba * (1.0 - proba) * weight[:, np.newaxis]).T)
        traces = curvature * self._squares  # of each row's part of the block, over d
        if not np.isfinite(traces).all():
            raise FloatingPointError(NOT_FINITE)
        order = np.argsort(traces, axis=1, kind="stable")
        summed = np.take_along_axis(traces, order, axis=1).cumsum(axis=1)
        n_rows, n_features = self._X.shape
        most = min(n_rows, int(KEPT_PER_FEATURE * n_features))
        n_kept = int(np.clip(n_rows - (summed < LEFT_OUT * l2).sum(axis=1).min(), 1, most))
        places = np.sort(order[:, n_rows - n_kept :], axis=1).astype(np.int64)
        total, held = curvature.sum(axis=1), np.take_along_axis(curvature, places, axis=1)
        rest_trace = summed[:, n_rows - n_kept - 1] if n_kept < n_rows else np.zeros(len(total))
        return _Kept(places, np.sqrt(held), total, np.maximum(total - held.sum(axis=1), 0.0), rest_trace)

    def _logits(self, coef: Array, X: Array) -> Array:
        """Return X Wᵀ (n, K)."""
        logits = np.empty((len(X), len(coef)), X.dtype)
        bounds = even_bounds(len(logits), PARTS)

        def work(parts: Iterator[int]) -> Iterator[None]:
            for part in parts:
                rows = slice(bounds[part], bounds[part + 1])
                np.matmul(X[rows], coef.T, out=logits[rows])
                yield

        self._shared(work, len(bounds) - 1, PRODUCT * X.size * len(coef))
        return logits

    def _shared(self, work: Callable[[Iterator[int]], Iterator[None]], n_parts: int, effort: float) -> None:
        """Run the parts of `work` in threads of one BLAS thread each."""
        with blas.one_thread():
            run_in_python(work, n_parts, work=effort, n_threads=self._n_threads)

"""Preconditioners of an objective: the sums over rows that they are built from, and their reuse."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts import Halves, Params, Sums
from fastsoftmax.contracts.queries import Diagonal, Gram, Hessp
from fastsoftmax.objective import frequent_block, row_blocks, thinned_blocks
from fastsoftmax.preconditioners import build, choice, diagonal, kronecker
from fastsoftmax.runtime.lazy_attributes import lazy
from fastsoftmax.sources.array import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import DType, Vector
    from fastsoftmax.contracts.protocols import Algebra, LossFamily, Penalty
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout
    from fastsoftmax.preconditioners.projection import Inverse

TINY = float(np.finfo(np.float64).tiny)


class _Blocks(NamedTuple):
    """Blocks of the Hessian without the penalty over a sample of the rows, and its diagonal over all rows."""

    sums: Sums
    diagonal: Params | None
    fraction: float


@dataclass(slots=True)
class Shared:
    """The last summed blocks, and their last inverse, shared by objectives that differ in the penalty.

    Summing blocks takes as long as dozens of passes, and near the optimum for one penalty they differ little
    from those near the optimum for the next.
    """

    blocks: _Blocks | None = None
    made: tuple[float, Inverse] | None = None  # the penalty's curvature, and the inverse with it


class Preconditioning:
    """The approximate inverses of an objective's Hessian.

    Parameters
    ----------
    rows : CountedSource
    layout : Layout
    family : LossFamily
    penalty : Penalty
        Only its curvature is used.
    algebra : Algebra
    n_threads : int or None
    dtype : dtype or None
        The dtype of the products of diagonals; None takes that of the rows.
    """

    def __init__(
        self,
        rows: CountedSource,
        layout: Layout,
        family: LossFamily,
        penalty: Penalty,
        algebra: Algebra,
        n_threads: int | None,
        dtype: DType | None,
    ) -> None:
        self._rows, self._layout, self._family, self._algebra = rows, layout, family, algebra
        self._l2 = penalty.curvature
        self._n_threads, self._dtype = n_threads, dtype
        self._shared: Shared | None = None
        self._served = 0.0  # the largest fraction requested with this penalty
        self._passes_of_frequent = frequent_block.DIAGONAL_PASSES  # that the last such build took

    def with_penalty(self, penalty: Penalty, rows: CountedSource) -> Preconditioning:
        """Return the same for another penalty on the same rows; both share their last blocks from then on."""
        other = copy.copy(self)
        other._rows, other._l2 = rows, penalty.curvature
        other._shared, other._served = self._shared or Shared(), 0.0
        return other

    def in_float64(self, rows: CountedSource) -> Preconditioning:
        """Return the same for the given rows, with float64 products."""
        other = copy.copy(self)
        other._rows, other._dtype = rows, np.dtype(np.float64)
        return other

    def at(self, params: Params, fraction: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ M⁻¹ v, a symmetric positive semidefinite approximation of (∇²F(params))⁻¹.

        `SoftmaxObjective.preconditioner` describes its form and cost.
        """
        form, invariant = self.form[0], self._family.SHIFT_INVARIANT
        # Without a penalty the Hessian may be singular; only the full form finds its null space.
        one_block_suffices = form == "block diagonal" or (form == "full" and self._l2 > 0.0)
        if one_block_suffices and not (params.coef.any() or params.intercept.any()):
            inverse = self._inverse_at_zero(params, fraction)
        elif self._row_blocks is not None:
            self._rows.passes += 1
            inverse = self._row_blocks.inverse(params, self._l2)
        elif self._has_frequent_block:
            return self._of_frequent_features(params)
        elif form == "diagonal":
            inverse = diagonal.inverse(self.curvatures(params), self._l2, invariant, self._n_threads)
        elif form == "kronecker":
            inverse = build.of_spectrum(
                self._spectrum,
                self.curvatures(params).intercept,
                self._l2,
                self._layout.fit_intercept,
                invariant,
            )
        elif self._shared is None or form == "full":  # a full Hessian at the point itself halves the steps
            inverse = self._inverse_of(self._blocks(params, fraction), params)
        else:
            inverse = self._inverse_of_shared(self._shared, params, fraction)
        return self._applied(inverse)

    def cost(self, fraction: float = 1.0) -> float:
        """Return the estimated cost of `at`, in passes over X, for parameters that are not zero."""
        spec = self._rows.spec
        if self._row_blocks is not None:
            shape = spec.n_rows, self._layout.n_classes, self._layout.n_features
            return row_blocks.flops(*shape) / choice.pass_flops(*shape)
        if self._has_frequent_block:
            return self._passes_of_frequent
        n_summed = self._sample_size(fraction)
        return choice.passes_worth(
            self.form[0], n_summed, spec.n_rows, self._layout.n_classes, self._layout.n_features
        )

    @property
    def has_explicit_hessian(self) -> bool:
        """Whether the Hessian is small enough for `inverse_hessian`."""
        return self._layout.n_classes * (self._layout.n_features + 1) <= choice.EXPLICIT_ORDER

    @property
    def passes_for_hessian(self) -> float:
        """About how many passes `inverse_hessian` costs; infinity where it is too large."""
        if not self.has_explicit_hessian:
            return np.inf
        n_rows = self._rows.spec.n_rows
        shape = self._layout.n_classes, self._layout.n_features
        return choice.passes_worth("full", n_rows, n_rows, *shape)

    def inverse_hessian(self, params: Params) -> Callable[[Vector], Vector]:
        """Return v ↦ (∇²F)⁻¹ v; a pseudo-inverse if ∇²F is singular. Raises ValueError if it is too large."""
        if not self.has_explicit_hessian:
            raise ValueError(f"the Hessian of {self._layout.size} parameters is too large to be factorised")
        return self.inverse_of_hessian(self._rows.sum(self.hessian_query(params)), params)

    def hessian_query(self, params: Params) -> Gram:
        """Return the query for the sums that `inverse_of_hessian` takes."""
        return self._gram(params, pairs=True, dtype=np.float64)

    def inverse_of_hessian(self, sums: Sums, params: Params) -> Callable[[Vector], Vector]:
        """Return `inverse_hessian` from the sums of `hessian_query` over all rows, which are overwritten."""
        return self._applied(self._built(sums, "full", None, params))

    def curvatures(self, params: Params) -> Params:
        """Return the diagonal of the Hessian of the mean loss, without the penalty. One pass over X.

        With a centre it is an estimate in the centred columns: there, the difference of the sums over rows
        would be rounding.
        """
        sums = self._rows.sum(Diagonal(params, self._dtype))
        np.divide(sums.joined, sums.weight, out=sums.joined)
        centre = self._layout.centre
        if centre is not None:
            # The curvature of a row's logit is taken to be independent of the row's place in such a column.
            varying = centre.variance[centre.columns]
            sums.coef[:, centre.columns] = sums.intercept[:, np.newaxis] * varying
        return Params(sums.coef, sums.intercept)

    @property
    def _row_blocks(self) -> row_blocks.RowBlocks | None:
        """The class blocks by rows, where those are few; objectives that differ in the penalty share them."""
        if self._layout.centre is not None or not row_blocks.serves(
            self._rows.source, self._family, self._layout.n_classes, self._l2
        ):
            return None
        return self._by_rows

    @lazy
    def _by_rows(self) -> row_blocks.RowBlocks:
        source = self._rows.source
        block = source.block if isinstance(source, ArraySource) else None
        assert block is not None
        return row_blocks.RowBlocks(block, self._family, self._layout.fit_intercept, self._n_threads)

    @property
    def _has_frequent_block(self) -> bool:
        """Whether the Hessian's block of frequent features is inverted, of one output and sparse rows."""
        layout = self._layout
        return layout.centre is None and frequent_block.serves(
            self._rows.source, self._family, layout.n_classes, layout.n_features, self._l2
        )

    def _of_frequent_features(self, params: Params) -> Callable[[Vector], Vector]:
        source = self._rows.source
        assert isinstance(source, ArraySource)
        built = frequent_block.inverse(
            source,
            params,
            self.curvatures(params),
            self._l2,
            has_intercept=self._layout.fit_intercept,
            n_threads=self._n_threads,
            dtype=self._dtype,
        )
        self._passes_of_frequent = built.passes
        return built.inverse

    @lazy
    def form(self) -> tuple[str, type]:
        """The form of the preconditioner, by the shape alone, and the dtype of its sums."""
        return choice.form_of(self._layout.n_classes, self._layout.n_features)

    @lazy
    def _spectrum(self) -> kronecker.Spectrum:
        """The rows' principal axes, which do not depend on the parameters. One pass over X."""
        sums = self._rows.sum(self._gram(None, pairs=False, dtype=np.float64))
        return kronecker.spectrum(sums.coef[0], sums.weight, self._layout.fit_intercept)

    def _gram(self, params: Params | None, *, pairs: bool, dtype: type) -> Gram:
        """Return the query for blocks of the rows, centred where the layout is: those are float64."""
        centre = self._layout.centre
        return Gram(params, pairs, dtype if centre is None else np.float64, centre)

    def _applied(self, inverse: Inverse) -> Callable[[Vector], Vector]:
        """Return an in-place inverse of `Params` as a function of flat vectors that returns a copy."""

        def apply(vector: Vector) -> Vector:
            out = self._algebra.copied(vector)
            inverse(self._layout.split(out))
            return out

        return apply

    def _built(self, sums: Sums, form: str, diagonal_of_all: Params | None, params: Params) -> Inverse:
        """Return the inverse of blocks summed at `params`, which may be overwritten."""
        return build.of_blocks(
            sums,
            form,
            self._layout.n_classes,
            self._l2,
            self._layout.fit_intercept,
            self._family.SHIFT_INVARIANT,
            diagonal_of_all,
            self._n_threads,
            self._hessp(params),
        )

    def _hessp(self, params: Params) -> Callable[[Params], Params] | None:
        """Return the Hessian-vector product at `params`, in a vector's coordinates, a pass each.

        None with a penalty, and if products are float32: their gradients do not tell the directions that it
        is for from rounding.
        """
        if self._l2 > 0.0 or (self._dtype is None and self._rows.spec.dtype == np.float32):
            return None
        layout = self._layout

        def product(direction: Params) -> Params:
            flat = np.concatenate((direction.coef.ravel(), direction.intercept))[: layout.size]
            sums = self._rows.sum(Hessp(params, layout.unpack(flat), self._dtype))
            sums.joined[:] *= 1.0 / sums.weight
            layout.centred(sums)
            return Params(sums.coef, sums.intercept)

        return product

    def _inverse_of_shared(self, shared: Shared, params: Params, fraction: float) -> Inverse:
        """Return the inverse of the shared blocks, or, if those do not serve, of new ones at `params`.

        Shared blocks serve a request with this penalty for more rows than its last one, but for no more than
        they were summed over, nor than the usual number: a repeated request is for a later point.
        """
        blocks = shared.blocks
        if blocks is None or not self._served < fraction <= min(blocks.fraction, 1.0):
            shared.blocks = shared.made = None  # freed first: two of them at once take too much memory
            shared.blocks = blocks = self._blocks(params, fraction)
        self._served = max(fraction, self._served)
        if shared.made is None or shared.made[0] != self._l2:
            shared.made = None
            shared.made = self._l2, self._inverse_of(blocks._replace(sums=blocks.sums.copied()), params)
        return shared.made[1]

    def _inverse_of(self, blocks: _Blocks, params: Params) -> Inverse:
        """Return the inverse of blocks at `params`, which may be overwritten."""
        return self._built(blocks.sums, self.form[0], blocks.diagonal, params)

    def _inverse_at_zero(self, zero: Params, fraction: float) -> Inverse:
        """Return the inverse at zero parameters, where ∂²ℓ/∂z² is the same multiple of I in every row.

        The rows' Gram matrix times that curvature is then the block of every class; for the cost of K blocks
        it is summed over K times as many rows. For a softmax it gives the Hessian itself, not only its
        diagonal blocks.
        """
        curvature = self._family.curvature_at_zero(self._layout.n_classes)
        source = self._rows.source
        rows = source.sample(self._sample_size(fraction * self._layout.n_classes))
        sums = self._rows.sum(self._gram(None, pairs=False, dtype=self.form[1]), rows=rows)
        sums.joined[:] *= curvature
        entries = None
        if rows is not source:
            coef, intercept = self.curvatures(zero)
            factor = curvature / intercept[0]  # the diagonal's curvature is (1 − 1 / K) / K for a softmax
            entries = Params(factor * coef[:1], factor * intercept[:1])
        return self._built(sums, "block diagonal", entries, zero)

    def _blocks(self, params: Params, fraction: float) -> _Blocks:
        """Return the Hessian's blocks at `params` over a sample, with the diagonal over all rows if fewer."""
        form, dtype = self.form
        source = self._rows.source
        n_summed = self._sample_size(fraction)
        if n_summed < self._rows.spec.n_rows and self._may_thin:
            return self._thinned_blocks(params, fraction, n_summed)
        rows = source.sample(n_summed)
        sums = self._rows.sum(self._gram(params, pairs=form == "full", dtype=dtype), rows=rows)
        return _Blocks(sums, None if rows is source else self.curvatures(params), fraction)

    @property
    def _may_thin(self) -> bool:
        """Whether rows are dense and in the host's memory, so that each class can have its own."""
        source = self._rows.source
        block = source.block if isinstance(source, ArraySource) else None
        dense = block is not None and isinstance(block.X, np.ndarray | Halves)
        plain = row_blocks.has_plain_curvatures(self._family)
        return dense and plain and self.form[0] == "block diagonal" and self._layout.centre is None

    def _thinned_blocks(self, params: Params, fraction: float, n_summed: int) -> _Blocks:
        """Return the blocks at `params` over about `n_summed` rows a class, those that matter to it."""
        diagonal = self.curvatures(params)
        spec = self._rows.spec
        mean = np.maximum(diagonal.intercept * (spec.weight / spec.n_rows), TINY)
        levels = mean[:, np.newaxis] * thinned_blocks.MULTIPLES
        expected = self._rows.sum(thinned_blocks.ExpectedRows(params, levels))
        chosen = thinned_blocks.levels_for(expected.coef, levels, n_summed)
        sums = self._rows.sum(thinned_blocks.ThinnedBlocks(params, chosen, self.form[1]))
        return _Blocks(sums, diagonal, fraction)

    def _sample_size(self, fraction: float) -> int:
        """Return the number of rows to sum over: `fraction` of those worth their cost, at most all."""
        n_rows = self._rows.spec.n_rows
        worth = choice.rows_worth(self.form[0], n_rows, self._layout.n_classes, self._layout.n_features)
        return min(n_rows, int(fraction * worth))

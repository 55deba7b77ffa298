"""What an objective sums over its rows for preconditioners, and what of it serves again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Params, Sums, Task
from fastsoftmax.lazy import lazy
from fastsoftmax.preconditioners import build, choice, diagonal, gram

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from fastsoftmax.algebra import Algebra
    from fastsoftmax.contracts import Vector
    from fastsoftmax.preconditioners.projection import Inverse
    from fastsoftmax.protocols import Source


class _Blocks(NamedTuple):
    """Blocks of the Hessian without the penalty, from a share of the rows, and its diagonal over all."""

    sums: Sums
    diagonal: Params | None
    share: float


@dataclass(slots=True)
class Shared:
    """The last blocks that objectives which differ in the penalty have summed, and the last inverse of them.

    Summing blocks takes as long as dozens of passes, and near one optimum they differ little from those near
    the next.
    """

    blocks: _Blocks | None = None
    made: tuple[float, Inverse] | None = None  # with that penalty


class Preconditioned:
    """The part of SoftmaxObjective that approximates inverses of the Hessian."""

    algebra: Algebra
    l2: float
    fit_intercept: bool
    n_features: int
    n_classes: int
    n_params: int
    _source: Source
    _family: Any
    _loss: Any
    _dtype: Any
    _n_threads: int | None
    _shared: Shared | None = None
    _served: float = 0.0  # the largest share that was asked for with this penalty

    def unpack(self, params: ArrayLike, *, name: str = "params") -> Params:
        """Return a flat vector as coefficients and intercepts."""
        raise NotImplementedError

    def _sum(self, task: Task, rows: Source | None = None) -> Sums:
        raise NotImplementedError

    def preconditioner(self, params: ArrayLike, share: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ M⁻¹ v (n_params,), a symmetric positive semidefinite approximation of (∇²F)⁻¹.

        The form goes by size (`fastsoftmax.preconditioners.choice`), the rows may be a sample, and `share`
        takes so much of it. Costs m n d² flops for m blocks of n rows (the Gram matrix: once), counted as a
        pass, another for a diagonal, and a factorisation. At zero one block, of more rows, serves every
        class. FloatingPointError if the Hessian is not finite.
        """
        here = self.unpack(params)
        form, invariant = self._form[0], self._family.SHIFT_INVARIANT
        # Without a penalty a Hessian may be singular, and the whole one knows along what.
        one_serves = form == "class blocks" or (form == "whole" and self.l2 > 0.0)
        if one_serves and not (here.coef.any() or here.intercept.any()):
            inverse = self._inverse_at_zero(here, share)
        elif form == "diagonal":
            inverse = diagonal.inverse(self._curvatures(here), self.l2, invariant, self._n_threads)
        elif form == "gram":
            curvatures = self._curvatures(here).intercept
            inverse = build.of_spectrum(self._spectrum, curvatures, self.l2, self.fit_intercept, invariant)
        elif self._shared is None or form == "whole":  # whole and at the point itself it saves half the steps
            inverse = self._inverse_of(self._blocks(here, share))
        else:
            inverse = self._inverse_of_shared(self._shared, here, share)
        return self._applied(inverse)

    def preconditioner_cost(self, share: float = 1.0) -> float:
        """Return about how many passes `preconditioner` takes as long as, where `params` are not zero.

        By flops (`fastsoftmax.preconditioners.choice`), not by a clock: the same on every machine. No pass.

        Examples
        --------
        >>> from fastsoftmax import SoftmaxObjective
        >>> SoftmaxObjective([[1.0], [-1.0]], [0, 1]).preconditioner_cost() < 1.0
        True
        """
        n_rows, n_features = self._source.shape
        n_summed = self._sample_size(share)
        return choice.passes_worth(self._form[0], n_summed, n_rows, self.n_classes, n_features)

    def inverse_hessian(self, params: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ (∇²F(params))⁻¹ v (n_params,); where ∇²F is singular, a pseudo-inverse.

        Of up to 2,048 parameters: ValueError if there are more. One pass over X of n (K d)² flops, and
        (K d)³ / 3 for the factor.
        """
        if not self.has_explicit_hessian:
            raise ValueError(f"the Hessian of {self.n_params} parameters is too large to be factorised")
        here, invariant = self.unpack(params), self._family.SHIFT_INVARIANT
        sums = self._sum(Task("gram", self._loss, here, (True,), np.float64))
        numbers = self.l2, self.fit_intercept, invariant
        return self._applied(build.of_blocks(sums, "whole", self.n_classes, *numbers, None, self._n_threads))

    @property
    def has_explicit_hessian(self) -> bool:
        """Whether the Hessian is small enough for `inverse_hessian`."""
        return self.n_classes * (self.n_features + 1) <= choice.EXPLICIT_ORDER

    def _applied(self, inverse: Inverse) -> Callable[[Vector], Vector]:
        """Return an inverse that works in place as a function of flat vectors."""

        def apply(vector: Vector) -> Vector:
            out = self.algebra.copied(vector)
            inverse(self.unpack(out))
            return out

        return apply

    def _inverse_of_shared(self, shared: Shared, here: Params, share: float) -> Inverse:
        """Return the inverse of the blocks that were summed last, or, where those will not do, at `here`.

        They will do up to the usual share of rows, and once: who asks for no more than before, with this
        penalty, wants them at another point.
        """
        blocks = shared.blocks
        if blocks is None or not self._served < share <= min(blocks.share, 1.0):
            shared.blocks = shared.made = None  # two of them at once are much memory
            shared.blocks = blocks = self._blocks(here, share)
        self._served = max(share, self._served)
        if shared.made is None or shared.made[0] != self.l2:
            shared.made = None
            shared.made = self.l2, self._inverse_of(blocks._replace(sums=blocks.sums.copied()))
        return shared.made[1]

    def _inverse_of(self, blocks: _Blocks) -> Inverse:
        """Return the inverse of blocks, which it may write over."""
        numbers = self.l2, self.fit_intercept, self._family.SHIFT_INVARIANT
        return build.of_blocks(
            blocks.sums, self._form[0], self.n_classes, *numbers, blocks.diagonal, self._n_threads
        )

    def _inverse_at_zero(self, zero: Params, share: float) -> Inverse:
        """Return the inverse where all logits are zero: there ∂²ℓ/∂z² is the same multiple of I in every row.

        So the rows' Gram matrix is the block of each class, and for what the blocks of classes cost it is
        summed over so many times as many rows. Of a softmax this is the Hessian itself, not just its blocks.
        """
        curvature = self._family.curvature_at_zero(self.n_classes)
        rows = self._source.subset(self._sample_size(share * self.n_classes))
        sums = self._sum(Task("gram", self._loss, None, (False,), self._form[1]), rows)
        sums.joined[:] *= curvature
        entries = None
        if rows is not self._source:
            coef, intercept = self._curvatures(zero)
            factor = curvature / intercept[0]  # the diagonal's own: (1 − 1 / K) / K of a softmax
            entries = Params(factor * coef[:1], factor * intercept[:1])
        numbers = self.l2, self.fit_intercept, self._family.SHIFT_INVARIANT
        return build.of_blocks(sums, "class blocks", self.n_classes, *numbers, entries, self._n_threads)

    def _blocks(self, here: Params, share: float) -> _Blocks:
        form, dtype = self._form
        rows = self._source.subset(self._sample_size(share))
        sums = self._sum(Task("gram", self._loss, here, (form == "whole",), dtype), rows)
        return _Blocks(sums, None if rows is self._source else self._curvatures(here), share)

    @lazy
    def _form(self) -> tuple[str, Any]:
        """The form of the preconditioner, and the dtype of its sums."""
        return choice.form_of(self.n_classes, self.n_features)

    @lazy
    def _spectrum(self) -> gram.Spectrum:
        """The axes of the rows, which no parameters change. One pass over X."""
        sums = self._sum(Task("gram", self._loss, None, (False,), np.float64))
        return gram.spectrum(sums.coef[0], sums.weight, self.fit_intercept)

    def _sample_size(self, share: float) -> int:
        """Return how many rows the preconditioner is summed over: all, or as many as are worth it."""
        n_rows, n_features = self._source.shape
        worth = choice.rows_worth(self._form[0], n_rows, self.n_classes, n_features)
        return min(n_rows, int(share * worth))

    def _curvatures(self, here: Params) -> Params:
        """Return the diagonal of the Hessian without the penalty."""
        sums = self._sum(Task("diagonal", self._loss, here, (), self._dtype))
        np.divide(sums.joined, sums.weight, out=sums.joined)
        return Params(sums.coef, sums.intercept)

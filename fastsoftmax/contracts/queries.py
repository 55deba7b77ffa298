"""Queries: requests for sums over rows, the only messages that are sent to the rows.

A query is a small object with the arguments of a device's function; it can be pickled, and holds nothing as
long as the rows. A source has it answered for each row block, by `on`, and adds the answers in a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from fastsoftmax.contracts.values import Largest, ManySums, Params

if TYPE_CHECKING:
    from fastsoftmax.contracts.device import Host, Loss, PassDevice
    from fastsoftmax.contracts.points import Point
    from fastsoftmax.contracts.protocols import Query
    from fastsoftmax.contracts.storages import RowBlock
    from fastsoftmax.contracts.values import Array, Centre, DType, Mixture, Sums, Vector


def _at(
    place: Params | Point, device: PassDevice, block: RowBlock, n_threads: int | None, dtype: DType | None
) -> tuple[Params, Array | None]:
    """Return the parameters at `place`, and of a `Point` the block's logits there, else None."""
    if isinstance(place, Params):
        return place, None

    def compute() -> Array:
        return device.logits(place.params, block.X, n_threads, dtype=dtype, buffers=block.buffers)

    return place.params, compute() if block.logits is None else block.logits.at(place, compute)


@dataclass(frozen=True, slots=True, eq=False)
class LossGrad:
    """The loss Σ wᵢ ℓᵢ, a sum in nats, and its gradient. One pass over X.

    `dtype`, here and below, is that of the products; None takes `compute_dtype` of the rows. With `stays` the
    sums stay on the device that computes them, and the host does not wait for them.
    """

    by_rows: ClassVar[bool] = True

    params: Params
    dtype: DType | None = None
    stays: bool = False

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        return device.loss_grad(loss, self.params, block, n_threads, dtype=self.dtype, stays=self.stays)


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """The losses at `stored`, and the gradient at `params` if given, from float64 products, of few rows.

    Slower than a pass, but nothing is compiled for it.
    """

    stored: Params
    params: Params | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        return device.check(loss, self.stored, self.params, block)


@dataclass(frozen=True, slots=True, eq=False)
class LossGrads:
    """The losses and gradients of several parameters. One reading of dense X for up to eight of them."""

    by_rows: ClassVar[bool] = True

    params: tuple[Params, ...]
    dtype: DType | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> ManySums:
        """Return the answer for one block."""
        return ManySums(
            tuple(device.loss_grads(loss, list(self.params), None, block, n_threads, dtype=self.dtype))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Hessp:
    """The Hessian-vector product of Σ wᵢ ℓᵢ at `place` with `direction`. One pass over X."""

    place: Params | Point
    direction: Params
    dtype: DType | None = None
    stays: bool = False

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        params, logits = _at(self.place, device, block, n_threads, self.dtype)
        return device.hessp(
            loss, params, self.direction, block, n_threads, logits=logits, dtype=self.dtype, stays=self.stays
        )


@dataclass(frozen=True, slots=True, eq=False)
class Diagonal:
    """The diagonal of the Hessian of Σ wᵢ ℓᵢ. One pass over X."""

    by_rows: ClassVar[bool] = True

    params: Params
    dtype: DType | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        return device.diagonal(loss, self.params, block, n_threads, dtype=self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """The diagonal blocks (one a class) of the Hessian of Σ wᵢ ℓᵢ as `coef`; with `pairs`, all blocks.

    With `params` None it is the weighted Gram matrix of the rows, the block of a curvature of 1. `dtype` is
    that of the blocks' products and of the result. With `centre` the blocks are those of centred rows, in
    float64.
    """

    params: Params | None
    pairs: bool
    dtype: DType | type = np.float64
    centre: Centre | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        return device.gram(
            loss, self.params, self.pairs, block, n_threads, dtype=self.dtype, centre=self.centre
        )


@dataclass(frozen=True, slots=True, eq=False)
class Dual:
    """The dual value Σ wᵢ Σ p̃ log p̃ of mixed probabilities p̃, in nats, and the sums of their residuals.

    Without `coef_grad` the residuals are not multiplied by X, and the sums' `coef` is empty.
    """

    by_rows: ClassVar[bool] = True

    place: Params | Point
    mixture: Mixture
    coef_grad: bool
    dtype: DType | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        params, logits = _at(self.place, device, block, n_threads, self.dtype)
        return device.dual(
            loss, params, self.mixture, block, n_threads,
            logits=logits, coef_grad=self.coef_grad, dtype=self.dtype,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedDual:
    """The dual value and the residual sums of the probabilities at `place`, corrected by `step`, in float64.

    The correction of a row is a function of `step` (x − mean, 1): `kernels.cpu.corrected_rows`. The sums
    are those of the rows less `mean`, too. An `intercept_shift` (K,), below 1/2, corrects all rows once more,
    by their curvatures there; the sums of the curvatures that result, (K, K), are appended. Answered by the
    CPU only.
    """

    place: Params | Point
    step: Params
    shared: bool
    mean: Vector | None = None
    intercept_shift: Vector | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        params, logits = _at(self.place, device, block, n_threads, None)
        return cast("Host", device).corrected_dual(
            loss, params, self.step, self.shared, self.mean, block, n_threads,
            logits=logits, intercept_shift=self.intercept_shift,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class LeastGram:
    """The Gram matrix (d + 1, d + 1) of rows (x − mean, 1) weighted by their least curvatures, as `coef`.

    `intercept` holds their residual sums in float64, (K d + K,), as a flat gradient. `dtype` is that of the
    products of two features; None takes float64. Answered by the CPU only.
    """

    place: Params | Point
    mean: Vector | None = None
    dtype: DType | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        params, logits = _at(self.place, device, block, n_threads, None)
        return cast("Host", device).least_gram(
            loss, params, self.mean, block, n_threads, logits=logits, dtype=self.dtype
        )


@dataclass(frozen=True, slots=True, eq=False)
class LargestNorm:
    """The largest ‖(x − mean, 1) root‖² of the rows that have a weight; `root` is (d + 1, m). CPU only."""

    root: Array
    mean: Vector | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Largest:
        """Return the answer for one block."""
        return Largest(cast("Host", device).largest_norm(self.root, self.mean, block, n_threads))


@dataclass(frozen=True, slots=True, eq=False)
class ShiftCurvature:
    """The curvature in the intercepts, Σ wᵢ ∂pᵢ/∂sᵀ (K, K) at the logits plus a shift s, as `coef`."""

    by_rows: ClassVar[bool] = True

    place: Params | Point
    intercept_shift: Vector
    dtype: DType | None = None

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        params, logits = _at(self.place, device, block, n_threads, self.dtype)
        return device.shift_curvature(
            loss, params, self.intercept_shift, block, n_threads, logits=logits, dtype=self.dtype
        )


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """Several queries, answered for each block in turn: one reading of rows that are not in memory."""

    queries: tuple[Query[Any], ...]

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> ManySums:
        """Return the answers for one block."""
        return ManySums(tuple(query.on(device, loss, block, n_threads) for query in self.queries))

    @property
    def by_rows(self) -> bool:
        """Whether all of them are answered by rows alone."""
        return all(by_rows(query) for query in self.queries)

    def placed(self, first: int) -> Together:
        """Return the same queries for a block whose first row has that place among all rows."""
        return Together(tuple(placed(query, first) for query in self.queries))


@dataclass(frozen=True, slots=True, eq=False)
class TargetSum:
    """The sum Σ wᵢ tᵢ of the (smoothed) targets as `intercept` (K,). X is not read."""

    by_rows: ClassVar[bool] = True

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        return device.target_sum(loss, block)


def by_rows(query: Query[Any]) -> bool:
    """Return whether sparse rows of one output need no transpose for the query."""
    return bool(getattr(query, "by_rows", False))


def placed(query: Query[Any], first: int) -> Query[Any]:
    """Return the query for a block whose first row has that place among all: few queries ask for it."""
    at: Any = getattr(query, "placed", None)
    return query if at is None else cast("Query[Any]", at(first))

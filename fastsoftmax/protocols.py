"""What each floor may ask of another: devices, sources, objectives, solvers, and the arithmetic they share.

A device offers kernels as verbs; a source runs a verb over all its rows and adds the sums; an objective
divides, penalises and flattens them once; a solver sees nothing but an `Objective`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import (
        Mixture,
        Params,
        Record,
        RowBlock,
        Solution,
        State,
        Sums,
        Task,
        Top,
        Vector,
    )
    from fastsoftmax.memory import Memory

T = TypeVar("T")


class Device(Protocol):
    """A module with verbs over a block of rows."""

    def require(self) -> None:
        """Raise DeviceUnavailable, with the reason, unless kernels can be run here."""

    def float64_share(self) -> float:
        """Return the speed of products in float64 against those in float32."""

    def has_room(self, n_bytes: int) -> bool:
        """Return whether rows of so many bytes can stay where they are computed on."""

    def placed(self, block: RowBlock) -> RowBlock:
        """Return a block that several passes will be made over: the device may keep a copy of it."""

    def loss_grad(
        self, loss: Any, params: Params, block: RowBlock, n_threads: int | None = None, **outputs: Any
    ) -> Sums:
        """Return Σ wᵢ ℓᵢ and its gradient; `outputs` name what else is to be filled."""

    def loss_grads(
        self,
        loss: Any,
        params: list[Params],
        weights: NDArray[np.float64] | None,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        dtype: Any = None,
    ) -> list[Sums]:
        """Return what `loss_grad` does for several parameters, each with weights (s, n) of its own."""

    def hessp(
        self,
        loss: Any,
        params: Params,
        direction: Params,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        logits: NDArray[Any] | None = None,
        dtype: Any = None,
    ) -> Sums:
        """Return the Hessian of Σ wᵢ ℓᵢ times a direction; the logits at `params` may be given."""

    def gram(
        self,
        loss: Any,
        params: Params | None,
        pairs: bool,
        block: RowBlock,
        n_threads: int | None,
        *,
        dtype: Any = np.float64,
        classes: tuple[int, int] | None = None,
    ) -> Sums:
        """Return the class blocks of the Hessian of Σ wᵢ ℓᵢ as `coef`, or those of all pairs of classes.

        Of all classes, or from the first to before the last of `classes`. Without parameters, the Gram matrix
        of the rows: that of a curvature of 1.
        """

    def diagonal(
        self, loss: Any, params: Params, block: RowBlock, n_threads: int | None, *, dtype: Any = None
    ) -> Sums:
        """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ."""

    def dual(
        self,
        loss: Any,
        params: Params,
        mixture: Mixture,
        block: RowBlock,
        n_threads: int | None,
        *,
        logits: NDArray[Any] | None = None,
        coef_grad: bool = True,
        dtype: Any = None,
    ) -> Sums:
        """Return Σ wᵢ Σ p̃ log p̃ and the residual sums of the mixed probabilities p̃.

        `logits` (n, K), those of `params`, need not be computed again; without `coef_grad` the residuals are
        not multiplied by X.
        """

    def shift_curvature(
        self,
        of_logits: Callable[[Any, Any], Any],
        params: Params,
        tilt: NDArray[np.float64],
        block: RowBlock,
        n_threads: int | None,
        *,
        logits: NDArray[Any] | None = None,
        dtype: Any = None,
    ) -> NDArray[np.float64]:
        """Return Σ wᵢ ∂pᵢ/∂tᵀ at the logits plus t, (K, K), by a loss's `shift_curvature`.

        `logits` (n, K), those of `params`, need not be computed again.
        """

    def logits(
        self,
        params: Params,
        X: Any,
        n_threads: int | None,
        *,
        dtype: Any = None,
        out: NDArray[Any] | None = None,
        memory: Memory | None = None,
    ) -> NDArray[Any]:
        """Return X Wᵀ + b, (n, K), in the dtype that the products are computed in; in `out` if given.

        What room that takes besides may come from `memory`.
        """

    def top(
        self, params: Params, X: Any, k: int, n_threads: int | None = None, *, with_totals: bool = False
    ) -> Top:
        """Return the k largest logits of each row, without holding the others."""

    def softmax(self, x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
        """Write the softmax of each row of x (n, K) to out."""

    def log_softmax(self, x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
        """Write the logarithm of the softmax of each row of x (n, K) to out."""

    def logsumexp(self, x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
        """Write log Σ e^x of each row of x (n, K) to out (n,)."""

    def columns(self, name: str, x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
        """Write softmax, log_softmax or logsumexp of each column of x (K, n) to out."""

    def small_cross_entropy(
        self,
        x: NDArray[Any],
        target: NDArray[np.int64],
        ignore_index: int,
        mean: bool,
        slopes: NDArray[Any],
    ) -> tuple[float, int, int]:
        """Return the plain cross-entropy of few rows, how many count, and the place of a bad label or −1."""

    def narrow(
        self, name: str, x: NDArray[Any], out: NDArray[Any], brain: bool, n_threads: int | None = None
    ) -> None:
        """Write softmax, log_softmax or logsumexp of rows of float16 or bfloat16, seen as uint16."""

    def narrow_losses(
        self, loss: Any, x: NDArray[Any], target: NDArray[Any], brain: bool, **outputs: Any
    ) -> float:
        """Return Σ wᵢ ℓ(xᵢ, tᵢ) over rows of float16 or bfloat16, seen as uint16."""

    def sigmoid(
        self, x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None, *, log: bool = False
    ) -> None:
        """Write 1 / (1 + e^(−x)), or its logarithm, to out."""

    def all_in_unit(self, x: NDArray[Any], n_threads: int | None = None) -> bool:
        """Return whether all elements of x lie in [0, 1]."""

    def count_targets(
        self,
        target: NDArray[np.int64],
        n_classes: int,
        ignore_index: int,
        class_weight: Vector | None,
        sample_weight: Vector | None,
    ) -> tuple[float, float, int | None]:
        """Return the summed weights of the rows that count, and the place of a label out of range."""

    def sparse_faults(
        self, indptr: NDArray[Any], indices: NDArray[Any], limit: int, n_threads: int | None = None
    ) -> tuple[bool, bool]:
        """Return whether indptr falls somewhere, and whether an index lies outside [0, limit)."""

    def row_losses(self, loss: Any, x: NDArray[Any], target: NDArray[Any], **outputs: Any) -> float:
        """Return Σ wᵢ ℓ(xᵢ, tᵢ) over the rows of x (n, K)."""


class Source(Protocol):
    """Where rows live. It knows no mathematics."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""

    def sum(self, task: Task) -> Sums:
        """Run the task on every block and add what comes back, in a fixed order."""

    def subset(self, n_rows: int) -> Source:
        """Return a source of so many of the rows, drawn at random but always the same ones."""

    def replaced(self, function: Callable[[RowBlock], RowBlock]) -> Source:
        """Return a source of what a function makes of each block."""

    def map(self, function: Callable[[RowBlock], T]) -> list[T]:
        """Return what a function makes of each block, in order."""


class Algebra(Protocol):
    """Sums and products of long float64 vectors, where the objective computes."""

    def vector(self, size: int) -> Vector:
        """Return a vector of whatever stood there."""

    def dot(self, a: NDArray[Any], b: NDArray[Any]) -> float:
        """Return a · b."""

    def norm(self, a: NDArray[Any]) -> float:
        """Return the Euclidean norm."""

    def dots(self, rows: NDArray[Any], b: NDArray[Any], places: Sequence[int] | None = None) -> Vector:
        """Return the products of the rows (m, n) in these places, or of all, with b (n,)."""

    def combined(
        self, shares: Vector, rows: NDArray[Any], places: Sequence[int], factor: float, a: Vector, b: Vector
    ) -> tuple[Vector, float]:
        """Return factor · a + Σ sharesᵣ · rowᵣ of the rows (m, n) in these places, and its product with b."""

    def differences(
        self, new: Sequence[Vector], old: Sequence[Vector], out: Sequence[NDArray[Any]]
    ) -> NDArray[np.float64]:
        """Write newₘ − oldₘ to outₘ, for three of each, and return all products of those (3, 3)."""

    def moved(self, a: Vector, b: Vector, factor: float, out: NDArray[Any] | None = None) -> Vector:
        """Return a + factor · b, in `out` where it is given."""


class Objective(Protocol):
    """All that a solver sees: a smooth convex function of a flat float64 vector."""

    @property
    def algebra(self) -> Algebra:
        """What computes with such vectors."""

    @property
    def size(self) -> int:
        """The length of the vector."""

    @property
    def passes(self) -> int:
        """How many times the data have been read so far."""

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """F(x) and ∇F(x). One pass over the data."""

    def hessp(self, x: Vector, v: Vector) -> Vector:
        """∇²F(x) v. One pass over the data."""

    def hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ ∇²F(x) v, for many products at one point. One pass over the data for each."""

    def preconditioner(self, x: Vector, share: float = 1.0) -> Callable[[Vector], Vector]:
        """Return a symmetric positive definite approximation of (∇²F(x))⁻¹, as a function.

        `share` of the usual effort is enough: far from the optimum a rough one serves as well.
        """

    def preconditioner_cost(self, share: float) -> float:
        """Return about how many passes over the data such a preconditioner takes as long as."""

    def inverse_hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ (∇²F(x))⁻¹ v, of the Hessian itself: where that is small."""

    @property
    def has_lower_bound(self) -> bool:
        """Whether `lower_bound` finds one."""

    def lower_bound(self, x: Vector, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F, from F and ∇F at x and a few more passes, or None."""

    def likely_gap(self, grad: Vector) -> float:
        """Return about how far `lower_bound` will stay below F, from ∇F alone; 0 where it finds none."""

    @property
    def has_finer(self) -> bool:
        """Whether `finer` returns one."""

    def finer(self) -> Objective | None:
        """Return the same objective from more precise products, or None where there are none.

        It goes on counting passes where this one stands.
        """


class Checkpoint(Protocol):
    """Keeps the state of a solver beyond the end of its process. What it keeps it in, no solver knows."""

    def state(self) -> State | None:
        """Return what was kept of the same minimisation, or None if it is to begin."""

    def offer(self, state: Callable[[], State]) -> None:
        """Ask for the state and keep it, where it is time to. Called between two steps."""


class Solver(Protocol):
    """A module-level function `minimize` that takes an objective to its minimum."""

    def minimize(
        self,
        objective: Objective,
        x0: Vector,
        *,
        tol: float,
        max_iter: int,
        callback: Callable[[Record, Vector], None] | None,
        checkpoint: Checkpoint | None,
    ) -> Solution:
        """Stop when the suboptimality is at most `tol`, or after `max_iter` iterations.

        With a checkpoint that has a state it goes on from there, and x0 is not looked at.
        """

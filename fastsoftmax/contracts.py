"""The vocabulary that the floors share: what is passed between them, and what each may ask of another.

Nothing here computes. A kernel turns rows into `Sums`; a device offers kernels as verbs; a source runs a
verb over all its rows and adds the sums; an objective divides, penalises and flattens them once; a solver
sees nothing but an `Objective`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

T = TypeVar("T")


class DeviceUnavailable(RuntimeError):  # noqa: N818  (the name is part of the public interface)
    """The device asked for cannot be used here; the message says why. The CPU goes on working."""


class Params(NamedTuple):
    """The parameters of a linear map, unflattened.

    `coef` is (K, d) and `intercept` is (K,), both float64. K counts the columns of the logits: one for the
    binary model, the number of classes otherwise.
    """

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]


class Csr(NamedTuple):
    """A sparse matrix by rows, as SciPy stores it: three flat arrays and a shape.

    `indices` and `indptr` are int32 or int64, both of one kind. Duplicate and unsorted columns are allowed.
    `transpose` is the same matrix by columns (the rows of Xᵀ), where a source has built it.
    """

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[Any]
    shape: tuple[int, int]
    transpose: Csr | None = None


def row_slice(X: NDArray[Any] | Csr, start: int, stop: int) -> NDArray[Any] | Csr:
    """Return rows start to stop of a matrix, without copying its entries."""
    if not isinstance(X, Csr):
        return X[start:stop]
    stop = min(stop, X.shape[0])
    first, last = int(X.indptr[start]), int(X.indptr[stop])
    indptr = (X.indptr[start : stop + 1] - X.indptr[start]).astype(X.indptr.dtype, copy=False)
    return Csr(X.data[first:last], X.indices[first:last], indptr, (stop - start, X.shape[1]))


class RowBlock(NamedTuple):
    """Some rows of a data set, in memory: what a device computes on.

    `X` is a dense (n, d) array or a `Csr`; `target` is (n,) integers or (n, K) probabilities; `weight` is
    (n,) float64. A row of weight zero is never looked at.
    """

    X: NDArray[Any] | Csr
    target: NDArray[Any]
    weight: NDArray[np.float64]

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return int(self.X.shape[0])


@dataclass(frozen=True, slots=True)
class Sums:
    """What a pass over some rows gives. It is added, and nothing else happens to it on its way up.

    Attributes
    ----------
    value : float
        Σ wᵢ ℓᵢ in nats (zero for a Hessian-vector product).
    weight : float
        Σ wᵢ.
    coef : ndarray (K, d), float64
        Σ wᵢ rᵢ xᵢᵀ, where rᵢ is what the verb makes of row i's logits.
    intercept : ndarray (K,), float64
        Σ wᵢ rᵢ.
    """

    value: float
    weight: float
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.value + other.value,
            self.weight + other.weight,
            self.coef + other.coef,
            self.intercept + other.intercept,
        )


class Record(NamedTuple):
    """One line of a fit's history.

    `seconds` since the solver started; `objective` F in nats; `grad_norm` the Euclidean norm of ∇F;
    `gap` an upper bound of F − F* or None where there is none; `passes` over X so far.
    """

    seconds: float
    objective: float
    grad_norm: float
    gap: float | None
    passes: int


class Solution(NamedTuple):
    """Where a solver stopped.

    `x` the parameters; `value` and `grad` F and ∇F there; `gap` the certified bound of F − F* (None where
    there is none); `suboptimality` the certified or estimated (F − F*) / max(F, tiny); `converged` whether
    that is at most the tolerance; `message` why it stopped.
    """

    x: Vector
    value: float
    grad: Vector
    gap: float | None
    suboptimality: float
    converged: bool
    message: str
    history: Sequence[Record]


class Task(NamedTuple):
    """A verb of a device with its arguments, to be run on a `RowBlock`. It can be pickled.

    `verb` names a function of the device module: "loss_grad", "hessp", "diagonal", "gram" or "dual". `extra`
    is what the verb takes besides the loss and the parameters: the direction for "hessp", whether pairs of
    classes are wanted for "gram", (θ, q) for "dual". `dtype` is that of the products; None leaves it to the
    rows.
    """

    verb: str
    loss: Any
    params: Params
    extra: tuple[Any, ...] = ()
    dtype: Any = None


class Device(Protocol):
    """A module with verbs over a block of rows."""

    def loss_grad(
        self, loss: Any, params: Params, block: RowBlock, n_threads: int | None = None, **outputs: Any
    ) -> Sums:
        """Return Σ wᵢ ℓᵢ and its gradient; `outputs` name what else is to be filled."""

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
        params: Params,
        pairs: bool,
        block: RowBlock,
        n_threads: int | None,
        *,
        dtype: Any = np.float64,
    ) -> Sums:
        """Return the class blocks of the Hessian of Σ wᵢ ℓᵢ as `coef`, or those of all pairs of classes."""

    def diagonal(
        self, loss: Any, params: Params, block: RowBlock, n_threads: int | None, *, dtype: Any = None
    ) -> Sums:
        """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ."""

    def dual(
        self,
        loss: Any,
        params: Params,
        mixture: tuple[float, NDArray[np.float64]],
        block: RowBlock,
        n_threads: int | None,
        *,
        dtype: Any = None,
    ) -> Sums:
        """Return Σ wᵢ Σ p̃ log p̃ and the residual sums of the mixed probabilities (1 − θ) p + θ q."""

    def logits(self, params: Params, X: Any, n_threads: int | None, *, dtype: Any = None) -> NDArray[Any]:
        """Return X Wᵀ + b, (n, K), in the dtype that the products are computed in."""

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


class Objective(Protocol):
    """All that a solver sees: a smooth convex function of a flat float64 vector."""

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

    def lower_bound(self, x: Vector, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F, from F and ∇F at x and at most one more pass, or None."""

    def finer(self) -> Objective | None:
        """Return the same objective from more precise products, or None where there are none.

        It goes on counting passes where this one stands.
        """


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
    ) -> Solution:
        """Stop when the suboptimality is at most `tol`, or after `max_iter` iterations."""

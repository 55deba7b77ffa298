"""Values passed between layers: parameters, sums over rows, a solver's solution. Nothing here computes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol, TypeAlias

    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import sparray, spmatrix

    class SupportsDLPack(Protocol):
        """An array of another library, on the host or on a device."""

        def __dlpack__(self) -> object: ...

    Array: TypeAlias = NDArray[Any]
    """An array whose dtype is known only at run time: a caller's, a device's, or that of the products."""
    Vector: TypeAlias = NDArray[np.float64]
    DType: TypeAlias = np.dtype[Any]
    MatrixLike: TypeAlias = "ArrayLike | sparray | spmatrix | SupportsDLPack"
    """Rows as callers pass them: array_like, a SciPy sparse matrix, or an array on a GPU."""
    JSON: TypeAlias = "dict[str, JSON] | list[JSON] | tuple[JSON, ...] | str | float | int | bool | None"


class DeviceUnavailable(RuntimeError):  # noqa: N818  (the name is part of the public interface)
    """The device asked for cannot be used here; the message says why. The CPU goes on working."""


class Params(NamedTuple):
    """The parameters of a linear map, unflattened.

    `coef` is (K, d) and `intercept` is (K,), both float64. K counts the columns of the logits: one for the
    binary model, the number of classes otherwise.
    """

    coef: Vector
    intercept: Vector


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums over some rows that answer a query. Sums of different rows are added with `+`.

    Attributes
    ----------
    value : float
        Σ wᵢ ℓᵢ in nats (zero for a Hessian-vector product).
    weight : float
        Σ wᵢ.
    joined : ndarray (size of coef + K,)
        `coef` in C order, then `intercept`, as in a flat parameter vector.
    shape : tuple of int
        The shape of `coef`.
    """

    value: float
    weight: float
    joined: Array
    shape: tuple[int, ...]

    @classmethod
    def empty(
        cls,
        shape: tuple[int, ...],
        n_outputs: int,
        dtype: DType | type = np.float64,
        *,
        allocate: Callable[..., Array] = np.empty,
    ) -> Sums:
        """Return sums of zero value and weight with an uninitialised array from allocate(shape, dtype)."""
        return cls(0.0, 0.0, allocate((math.prod(shape) + n_outputs,), dtype), shape)

    def copied(self) -> Sums:
        """Return a copy that shares no array."""
        return Sums(self.value, self.weight, self.joined.copy(), self.shape)

    @property
    def coef(self) -> Array:
        """Σ wᵢ rᵢ xᵢᵀ, (K, d), where rᵢ (K,) is the query's function of row i's logits."""
        return self.joined[: math.prod(self.shape)].reshape(self.shape)

    @property
    def intercept(self) -> Array:
        """Σ wᵢ rᵢ, (K,)."""
        return self.joined[math.prod(self.shape) :]

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.value + other.value, self.weight + other.weight, self.joined + other.joined, self.shape
        )


class ManySums(NamedTuple):
    """The sums for several parameter vectors, one `Sums` each; `+` adds them pairwise."""

    each: tuple[Sums, ...]

    def __add__(self, other: ManySums) -> ManySums:  # type: ignore[override]
        """Return the sums over both sets of rows."""
        return ManySums(tuple(a + b for a, b in zip(self.each, other.each, strict=True)))


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest of a number over rows; `+` takes that of both sets of rows."""

    value: float

    def __add__(self, other: Largest) -> Largest:
        return Largest(max(self.value, other.value))


class Record(NamedTuple):
    """One entry of a fit's history.

    `seconds` since the solver started; `objective` F in nats; `grad_norm` the Euclidean norm of ∇F;
    `gap` an upper bound of F − F* or None where there is none; `passes` over X so far; `bytes_read` by these
    of rows that are elsewhere (`open_rows`, `rows_from`), 0 where the rows are in memory.
    """

    seconds: float
    objective: float
    grad_norm: float
    gap: float | None
    passes: int
    bytes_read: int = 0


class Solution(NamedTuple):
    """The result of a minimisation.

    `x` the parameters; `value` and `grad` F and ∇F there; `gap` the certified upper bound of F − F* in nats
    (None if there is none); `suboptimality` the certified or estimated (F − F*) / max(F, tiny); `converged`
    whether that is at most the tolerance; `message` why the solver stopped; `history` a `Record` a step.
    `rounded` tells that the products were float32 to the end: `value` and `gap` are then those of x as it
    will be stored (`Objective.as_stored`).
    """

    x: Vector
    value: float
    grad: Vector
    gap: float | None
    suboptimality: float
    converged: bool
    message: str
    history: Sequence[Record]
    rounded: bool = False


class State(NamedTuple):
    """The state of a solver between two steps: continued from it, a fit ends with the same bits.

    `numbers` are JSON values, non-finite floats included; `arrays` are named.
    """

    numbers: dict[str, Any]
    arrays: dict[str, Array]


class Top(NamedTuple):
    """The k largest logits of each row, largest first; of equal ones the earlier class comes first.

    `classes` (n, k) are class indices, int64; `logits` (n, k) are in the dtype of the products; `totals` (n,)
    float64 are Σ e^(z − max z) over all K classes, empty unless `with_totals`. So logits[:, :1] + log(totals)
    is the log-sum-exp, and e^(logits − logits[:, :1]) / totals[:, None] are the probabilities.
    """

    classes: NDArray[np.int64]
    logits: Array
    totals: Vector


class Mixture(NamedTuple):
    """A dual point near logits z: probabilities p̃ = (1 − θ) p(z + s) + θ q, one s, θ and q for all rows.

    `intercept_shift` is s, (K,) float64; `theta` is θ; `q` (K,) float64 is a distribution (for sigmoids: a
    probability for each label).
    """

    intercept_shift: Vector
    theta: float
    q: Vector


class Centre(NamedTuple):
    """A point m amid the rows, in the columns whose mean is large beside their deviation.

    `mean` is m, (d,) float64, zero in other columns; `variance` (d,) is that of a sample of the rows;
    `columns` holds the indices where m is not zero.
    """

    mean: Vector
    variance: Vector
    columns: NDArray[np.intp]


class CrossEntropyOptions(NamedTuple):
    """The options of a softmax cross-entropy, those of `fastsoftmax.cross_entropy`.

    `class_weight` (K,) and `sample_weight` (n,) or None; rows with the label `ignore_index` are left out;
    `label_smoothing` in [0, 1]; `reduction` "mean", "sum" or "none"; `z_loss` multiplies lse²; `softcap` is a
    positive number or None.
    """

    class_weight: Any = None
    sample_weight: Any = None
    ignore_index: int = -100
    label_smoothing: float = 0.0
    reduction: str = "mean"
    z_loss: float = 0.0
    softcap: float | None = None

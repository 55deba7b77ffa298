"""The vocabulary that the floors share: what is passed between them. Nothing here computes.

What they may ask of one another is in `fastsoftmax.protocols`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from numpy.typing import NDArray

    from fastsoftmax.memory import Memory

    Vector = NDArray[np.float64]
    HostRows: TypeAlias = "NDArray[Any] | Halves | Csr"
    Rows: TypeAlias = "HostRows | Guest"

# Kept as they are, as is float16; kernels widen a few rows at a time. Everything else is taken as float64.
NATIVE_DTYPES = tuple(np.dtype(kind) for kind in ("f4", "f8", "u1", "i1", "i2"))


class DeviceUnavailable(RuntimeError):  # noqa: N818  (the name is part of the public interface)
    """The device asked for cannot be used here; the message says why. The CPU goes on working."""


class Params(NamedTuple):
    """The parameters of a linear map, unflattened.

    `coef` is (K, d) and `intercept` is (K,), both float64. K counts the columns of the logits: one for the
    binary model, the number of classes otherwise.
    """

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]


class Halves(NamedTuple):
    """A dense matrix (n, d) of float16, as the uint16 of its bits.

    Compiled code has no arrays of float16; this type tells a kernel what the bits mean. They may lie in any
    order and with any strides.
    """

    bits: NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return self.bits.shape

    @property
    def dtype(self) -> np.dtype[np.float16]:
        """That of the numbers, not of what holds them."""
        return np.dtype(np.float16)


class Csr(NamedTuple):
    """A sparse matrix by rows, as SciPy stores it: three flat arrays and a shape.

    `indices` and `indptr` are int32 or int64, both of one kind. Duplicate and unsorted columns are allowed.
    `transpose` is the same matrix by columns (the rows of Xᵀ), where it is at hand; in it no entry is stored
    in two parts, so that the squares of entries may be summed.
    """

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[Any]
    shape: tuple[int, int]
    transpose: Csr | None = None


class Guest(NamedTuple):
    """An array of the caller's that is on a device already, without a copy.

    `array` is what the device's array functions see (bfloat16 as uint16: `brain` tells it from integers);
    `given_back` turns such an array into one of the caller's library; `stream` returns a context in which
    work goes to the stream that this library uses at that moment. `companions` are the pairs of a host's
    array and the caller's on the device that it was fetched from: neither has to be copied there again.
    """

    array: Any
    given_back: Callable[[Any], Any]
    stream: Callable[[], AbstractContextManager[Any]]
    brain: bool = False
    companions: tuple[tuple[NDArray[Any], Any], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the array."""
        shape: tuple[int, ...] = self.array.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the numbers; float32, which holds them all, for bfloat16."""
        return np.dtype(np.float32 if self.brain else self.array.dtype)


class Resident(NamedTuple):
    """Rows of the host or of a caller on the device, and what the device keeps beside them between passes.

    `kept` belongs to the device; it is filled when something is first asked for, and goes with the rows.
    """

    host: Rows
    kept: dict[Any, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return self.host.shape


def row_slice(X: Rows, start: int, stop: int) -> Rows:
    """Return rows start to stop of a matrix, without copying its entries."""
    if isinstance(X, Halves):
        return Halves(X.bits[start:stop])
    if isinstance(X, Guest):
        return X._replace(array=X.array[start:stop])
    if not isinstance(X, Csr):
        return X[start:stop]
    stop = min(stop, X.shape[0])
    if stop - start == X.shape[0]:
        return X
    first, last = int(X.indptr[start]), int(X.indptr[stop])
    indptr = (X.indptr[start : stop + 1] - X.indptr[start]).astype(X.indptr.dtype, copy=False)
    return Csr(X.data[first:last], X.indices[first:last], indptr, (stop - start, X.shape[1]))


class RowBlock(NamedTuple):
    """Some rows of a data set, in memory: what a device computes on.

    `X` is a dense (n, d) array, `Halves`, a `Csr` or a `Guest`, or `Resident` if a device keeps a copy;
    `target` is (n,) integers or (n, K) probabilities; `weight` is (n,) float64. A row of weight zero is never
    looked at. `memory` is where a pass over them, on the host, may take its arrays from.
    """

    X: Any
    target: NDArray[Any]
    weight: NDArray[np.float64]
    memory: Memory | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return int(self.X.shape[0])

    def room(self, shape: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """Return an array of whatever stood there."""
        return np.empty(shape, dtype) if self.memory is None else self.memory.array(shape, dtype)


@dataclass(frozen=True, slots=True)
class Sums:
    """What a pass over some rows gives. It is added, and nothing else happens to it on its way up.

    Attributes
    ----------
    value : float
        Σ wᵢ ℓᵢ in nats (zero for a Hessian-vector product).
    weight : float
        Σ wᵢ.
    joined : ndarray (size of coef + K,)
        `coef` in C order, then `intercept`: as a parameter vector has them.
    shape : tuple of int
        That of `coef`.
    """

    value: float
    weight: float
    joined: NDArray[Any]
    shape: tuple[int, ...]

    @classmethod
    def room(
        cls, shape: tuple[int, ...], n_outputs: int, dtype: Any = np.float64, *, empty: Any = np.empty
    ) -> Sums:
        """Return sums of nothing whose parts are yet to be written; empty(shape, dtype) makes the array."""
        return cls(0.0, 0.0, empty((math.prod(shape) + n_outputs,), dtype), shape)

    def copied(self) -> Sums:
        """Return sums of their own memory."""
        return Sums(self.value, self.weight, self.joined.copy(), self.shape)

    @property
    def coef(self) -> NDArray[Any]:
        """Σ wᵢ rᵢ xᵢᵀ, (K, d), where rᵢ is what the verb makes of row i's logits."""
        return self.joined[: math.prod(self.shape)].reshape(self.shape)

    @property
    def intercept(self) -> NDArray[Any]:
        """Σ wᵢ rᵢ, (K,)."""
        return self.joined[math.prod(self.shape) :]

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.value + other.value, self.weight + other.weight, self.joined + other.joined, self.shape
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


class State(NamedTuple):
    """All that a solver needs to go on from where it stands, to the bits it would have reached undisturbed.

    `numbers` are JSON values, floats of any kind among them; `arrays` are named.
    """

    numbers: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Top(NamedTuple):
    """The k largest logits of each row, largest first; of equal ones the earlier class comes first.

    `classes` (n, k) are their places, int64; `logits` (n, k) are in the dtype of the products; `totals` (n,)
    float64 are Σ e^(z − max z) over all K classes, empty unless they were asked for. So logits[:, :1] +
    log(totals) is the log-sum-exp, and e^(logits − logits[:, :1]) / totals are the probabilities.
    """

    classes: NDArray[np.int64]
    logits: NDArray[Any]
    totals: NDArray[np.float64]


class Mixture(NamedTuple):
    """Other probabilities for logits z: p̃ = (1 − θ) p + θ q with the p of z + t, the same for every row.

    `tilt` is t and `q` a distribution (of sigmoids: a probability for each label), both (K,) float64; `theta`
    is θ.
    """

    tilt: NDArray[np.float64]
    theta: float
    q: NDArray[np.float64]


class Task(NamedTuple):
    """A verb of a device with its arguments, to be run on a `RowBlock`. It can be pickled.

    `verb` names a function of the device module: "loss_grad", "hessp", "diagonal", "gram" or "dual". `extra`
    is what the verb takes besides the loss and the parameters: the direction for "hessp", whether pairs of
    classes are wanted for "gram", a `Mixture` for "dual". `dtype` is that of the products; None leaves it to
    the rows. `params` None, for "gram", asks for that of the rows alone.
    """

    verb: str
    loss: Any
    params: Params | None
    extra: tuple[Any, ...] = ()
    dtype: Any = None

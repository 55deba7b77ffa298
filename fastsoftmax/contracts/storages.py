"""The storages of rows, and one table of how rows of each are sliced and taken.

A new storage is a type here, a line in `STORAGES`, and its kernels on each device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from numpy.typing import NDArray

    from fastsoftmax.contracts.points import KeptLogits
    from fastsoftmax.contracts.values import Array, DType, Vector
    from fastsoftmax.runtime.buffers import BufferPool

    HostRows: TypeAlias = "Array | Halves | Csr"
    Rows: TypeAlias = "HostRows | DeviceArray"

# Read as they are, as is float16: kernels widen a few rows at a time. Other dtypes are converted to float64.
NATIVE_DTYPES = tuple(np.dtype(kind) for kind in ("f4", "f8", "u1", "i1", "i2"))


class Halves(NamedTuple):
    """A dense matrix (n, d) of float16, as the uint16 of its bits.

    Compiled code has no float16 arrays; this type tells a kernel what the bits mean. Any memory order and
    strides.
    """

    bits: NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return self.bits.shape

    @property
    def dtype(self) -> np.dtype[np.float16]:
        """The dtype of the numbers, float16; that of `bits` is uint16."""
        return np.dtype(np.float16)


class Csr(NamedTuple):
    """A sparse matrix by rows, as SciPy stores it: three flat arrays and a shape.

    `indices` and `indptr` are int32 or int64, both of one kind. Duplicate and unsorted columns are allowed.
    `transpose` is the same matrix by columns (the rows of Xᵀ), if it has been built; it has no duplicate
    entries, so that squares of entries may be summed.
    """

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]
    transpose: Csr | None = None

    @property
    def dtype(self) -> DType:
        """The dtype of the entries."""
        return self.data.dtype


class DeviceArray(NamedTuple):
    """A caller's array that is on a device already, without a copy.

    `array` is the array as the device's functions see it (bfloat16 as uint16, which `bf16` tells from
    integers); `given_back` converts a result to the caller's library; `stream` returns a context in which
    work goes to the stream that this library currently uses. `companions` are pairs of a host array and the
    caller's device array that it was fetched from, so that it is not uploaded again.
    """

    array: Any
    given_back: Callable[[Any], Any]
    stream: Callable[[], AbstractContextManager[Any]]
    bf16: bool = False
    companions: tuple[tuple[Array, Any], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        shape: tuple[int, ...] = self.array.shape
        return shape

    @property
    def dtype(self) -> DType:
        """The dtype of the numbers; float32, which holds every bfloat16, in its place."""
        return np.dtype(np.float32 if self.bf16 else self.array.dtype)


class Resident(NamedTuple):
    """Rows of the host or of a caller, and a device's cache for them between passes.

    `kept` belongs to the device, which fills it at first use; it lives as long as the rows. It is not
    pickled: unpickled rows are uploaded again.
    """

    host: Rows
    kept: dict[Any, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""
        return self.host.shape

    @property
    def dtype(self) -> DType:
        """The dtype of the rows."""
        return self.host.dtype

    def __reduce__(self) -> tuple[type[Resident], tuple[Rows, dict[Any, Any]]]:
        return Resident, (self.host, {})


class Storage(NamedTuple):
    """The operations on rows of one storage.

    `slice(X, start, stop)` returns a range of rows without copying their entries; `take(X, places)` copies
    the rows with these indices.
    """

    slice: Callable[[Any, int, int], Any]
    take: Callable[[Any, NDArray[np.int64]], Any]


def _slice_csr(X: Csr, start: int, stop: int) -> Csr:
    stop = min(stop, X.shape[0])
    if stop - start == X.shape[0]:
        return X
    first, last = int(X.indptr[start]), int(X.indptr[stop])
    indptr = (X.indptr[start : stop + 1] - X.indptr[start]).astype(X.indptr.dtype, copy=False)
    return Csr(X.data[first:last], X.indices[first:last], indptr, (stop - start, X.shape[1]))


def _take_csr(X: Csr, places: NDArray[np.int64]) -> Csr:
    """Return rows copied by SciPy's loop in C, a quarter of the time of indices of all entries in NumPy."""
    from scipy.sparse import csr_array

    taken = csr_array((X.data, X.indices, X.indptr), shape=X.shape, copy=False)[places]
    kind = X.indptr.dtype  # SciPy may have chosen a narrower one
    return Csr(
        taken.data,
        taken.indices.astype(kind, copy=False),
        taken.indptr.astype(kind, copy=False),
        (len(places), X.shape[1]),
    )


STORAGES: dict[type, Storage] = {
    np.ndarray: Storage(lambda X, start, stop: X[start:stop], lambda X, places: X[places]),
    Halves: Storage(
        lambda X, start, stop: Halves(X.bits[start:stop]), lambda X, places: Halves(X.bits[places])
    ),
    Csr: Storage(_slice_csr, _take_csr),
    DeviceArray: Storage(
        lambda X, start, stop: X._replace(array=X.array[start:stop]),
        lambda X, places: X._replace(array=X.array[places], companions=()),
    ),
}


def storage_of(X: Any) -> Storage:
    """Return the operations on rows of X's storage.

    Raises
    ------
    TypeError
        If X is of no type in `STORAGES`.
    """
    storage = STORAGES.get(type(X))
    if storage is None:
        known = ", ".join(kind.__name__ for kind in STORAGES)
        raise TypeError(f"rows must be stored as one of {known}; got {type(X).__name__}")
    return storage


def row_slice(X: Rows, start: int, stop: int) -> Any:
    """Return rows start to stop (excluded) of a matrix, in the same storage, without copying entries."""
    return storage_of(X).slice(X, start, stop)


def compute_dtype(X: Rows | Resident, dtype: DType | type | None = None) -> DType:
    """Return the dtype of products with rows: `dtype` if given, else float32 where that holds X's values.

    float32 holds every value of float16, bfloat16, float32, and integers of 8 and 16 bits; products with any
    other rows are float64.
    """
    if dtype is not None:
        return np.dtype(dtype)
    stored = X.dtype
    return np.dtype(np.float32 if stored.itemsize <= 2 or stored == np.float32 else np.float64)


def is_narrow(X: Rows | Resident) -> bool:
    """Whether products with rows are float32."""
    return compute_dtype(X) == np.float32


class RowBlock(NamedTuple):
    """A block of rows in memory: the unit that a device computes on.

    `X` is a dense (n, d) array, `Halves`, a `Csr` or a `DeviceArray`, or `Resident` if a device keeps a copy;
    `target` is (n,) integers or (n, K) probabilities; `weight` is (n,) float64. Rows of weight zero are never
    read. `buffers` supplies the temporary arrays of a pass on the host; `logits` are those kept between
    queries at one `Point`.
    """

    X: Any
    target: Array
    weight: Vector
    buffers: BufferPool | None = None
    logits: KeptLogits | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return int(self.X.shape[0])

    def empty(self, shape: tuple[int, ...], dtype: DType | type = np.float64) -> Array:
        """Return an uninitialised array, from `buffers` if there are any."""
        return np.empty(shape, dtype) if self.buffers is None else self.buffers.array(shape, dtype)

    def zeros(self, shape: tuple[int, ...]) -> Vector:
        """Return an array of float64 zeros, in memory from `buffers` if there are any."""
        if self.buffers is None:
            return np.zeros(shape)
        # The pages of a new array are cleared one by one, 0.2 ms for 400 KB: much beside a pass of few rows.
        array: Vector = self.buffers.array(shape)
        array.fill(0.0)
        return array

"""A block of rows as a file gives it, and the protocol of what gives such blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fastsoftmax.contracts import NATIVE_DTYPES, Csr, Halves, row_slice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, DType, HostRows, Vector

    Labels: TypeAlias = "Array | Coded | None"


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """Labels as codes (n,) into a table of values (k,): a dictionary that holds for these rows only."""

    codes: NDArray[np.integer[Any]]
    values: Array

    def __getitem__(self, part: Any) -> Coded:
        """Return a range of the rows, with the same table."""
        return Coded(self.codes[part], self.values)

    def decoded(self) -> Array:
        """Return the labels themselves, (n,)."""
        labels: Array = self.values[self.codes]
        return labels


class Block(NamedTuple):
    """Some rows, in the storage that kernels read, with what stands beside them in the file.

    `y` is (n,) labels, (n, K) probabilities, `Coded`, or None; `weight` (n,) or None. `file` and `first`, the
    place of the first row in it, are for messages.
    """

    X: HostRows
    y: Labels
    weight: Array | None
    file: str
    first: int

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return int(self.X.shape[0])

    def part(self, start: int, stop: int) -> Block:
        """Return a range of the rows, as views."""
        return Block(
            row_slice(self.X, start, stop),
            None if self.y is None else _slice(self.y, start, stop),
            None if self.weight is None else self.weight[start:stop],
            self.file,
            self.first + start,
        )


class Head(NamedTuple):
    """What is known of a file before its rows are read; None is unknown.

    `dtype` is that of X as kernels will read it. `names` are those of the features. `n_bytes` is the size of
    the files. `is_slow` tells that decoding takes longer than reading what was decoded. `is_text` tells that
    labels are text which may mean numbers, `has_float_labels` that the format has no integers.
    """

    n_rows: int | None
    n_features: int | None
    dtype: DType
    is_sparse: bool
    n_bytes: int
    names: tuple[str, ...] | None = None
    has_labels: bool = True
    is_slow: bool = False
    is_text: bool = False
    has_float_labels: bool = False


class FileBlocks(Protocol):
    """The rows of one file (or of an array file and those beside it), by blocks."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files that are read, the one with X first."""

    def head(self) -> Head:
        """Return what the header says. Raises ValueError, naming the file, for damaged or unfit files."""

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the rows in order, in blocks of at most that many bytes (or one row), cut alike each time."""


def n_bytes(X: HostRows) -> int:
    """Return the bytes of rows in memory, without a transpose."""
    if isinstance(X, Csr):
        return int(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
    return int(X.bits.nbytes if isinstance(X, Halves) else X.nbytes)


def kernel_dtype(dtype: DType) -> DType:
    """Return the dtype in which rows of `dtype` are held: itself where kernels read it, else float64."""
    native = dtype.newbyteorder("=")
    return native if native in NATIVE_DTYPES or native == np.float16 else np.dtype(np.float64)


def dense(X: Array, dtype: DType | None = None) -> Array | Halves:
    """Return dense rows as kernels read them: views where they can be, else copies."""
    dtype = kernel_dtype(X.dtype) if dtype is None else dtype
    plain = np.require(np.asarray(X), dtype, "A")
    return Halves(plain.view(np.uint16)) if dtype == np.float16 else plain


def rows_a_block(row_bytes: int, block_bytes: int) -> int:
    """Return the number of rows in a block, at least one."""
    return max(1, block_bytes // max(1, row_bytes))


def sparse(
    data: Array, indices: Array, indptr: Array, n_features: int, file: str, *, check: bool = True
) -> Csr:
    """Return checked rows of a CSR matrix: kernels follow every index.

    Parameters
    ----------
    data, indices : ndarrays (nnz,)
    indptr : ndarray (n + 1,)
        Rising; its first element counts as zero.
    n_features : int
    file : str
        For the message.
    """
    narrow = n_features < 2**31 and len(indices) < 2**31
    kind = np.int32 if narrow else np.int64
    if check and len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < n_features):
        raise ValueError(f"{file!r} is damaged: a column index lies outside [0, {n_features})")
    values = np.dtype(np.float32 if data.dtype in (np.float16, np.float32) else np.float64)
    return Csr(
        np.require(data, values, ("C", "A")),
        np.require(indices, kind, ("C", "A")),
        np.subtract(indptr, indptr[0], dtype=np.int64).astype(kind, copy=False),
        (len(indptr) - 1, n_features),
    )


def joined_labels(pieces: Sequence[Labels]) -> Labels:
    """Return labels of rows that follow each other as one."""
    if not pieces or pieces[0] is None:
        return None
    if len(pieces) == 1:
        return pieces[0]
    if all(isinstance(piece, Coded) for piece in pieces):
        coded = [piece for piece in pieces if isinstance(piece, Coded)]
        values, place = np.unique(np.concatenate([piece.values for piece in coded]), return_inverse=True)
        starts = np.cumsum([0] + [len(piece.values) for piece in coded])
        codes = [place[start:][piece.codes] for piece, start in zip(coded, starts)]
        return Coded(np.concatenate(codes), values)
    return np.concatenate([piece.decoded() if isinstance(piece, Coded) else piece for piece in pieces])


def weights(values: Array, file: str, first: int) -> Vector:
    """Return row weights as float64 (n,). Raises ValueError for the first that is negative or not finite."""
    weight = np.asarray(values).astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0.0)))
    if len(bad):
        row = int(bad[0])
        raise ValueError(
            f"{file!r}: the weight of row {first + row + 1} is {weight[row]}; weights are finite and not "
            "negative"
        )
    return weight


def _slice(y: Array | Coded, start: int, stop: int) -> Array | Coded:
    return y[start:stop]

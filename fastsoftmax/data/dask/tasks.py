"""The functions that run where the rows are: checks, descriptions, and parts of the first reading."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.data import validation
from fastsoftmax.data.blocks import block as block_module
from fastsoftmax.data.blocks import look as look_module
from fastsoftmax.data.blocks.block import Block, Coded
from fastsoftmax.data.dask.alignment import arrived
from fastsoftmax.runtime import library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastsoftmax.data.blocks.block import Head, Labels
    from fastsoftmax.data.blocks.chain import Chain
    from fastsoftmax.data.blocks.look import Limits, Part


class InMemory(NamedTuple):
    """A block of rows in the memory of a worker."""

    block: Block

    def __reduce__(self) -> Any:
        return arrived, (InMemory, tuple(self))

    @property
    def name(self) -> str:
        """The name of the block, for messages."""
        return self.block.file

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the block."""
        yield self.block


class InFile(NamedTuple):
    """The rows of a file, which are read where they are asked for: a recipe."""

    chain: Chain
    name: str

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the rows, by blocks that are cut alike each time."""
        for each in self.chain.blocks(block_bytes):
            yield look_module.checked(each, self.chain.head.names)

    def check_size(self) -> None:
        """Raise ValueError if the file is no longer as long as it was."""
        self.chain.check_size(self.name)


class Described(NamedTuple):
    """What is known of a block once it is there. `kernels` is what computes in that process."""

    n_rows: int
    n_features: int
    dtype: np.dtype[Any]
    is_sparse: bool
    n_bytes: int
    has_labels: bool
    has_weight: bool
    kernels: str


def prepared(X: Any, y: Any, weight: Any, number: int) -> InMemory:
    """Return a block as kernels take it, checked; without a copy where that can be.

    Raises ValueError or TypeError, naming the block.
    """
    name = f"block {number}"
    rows: Any = validation.design_matrix(X, name=f"X of {name}", min_rows=0)
    if isinstance(rows, Csr):
        rows = rows._replace(transpose=None)
    labels = None if y is None else _labels(y, name)
    checked = None if weight is None else block_module.weights(np.ravel(np.asarray(weight)), name, 0)
    for what, given in (("y", labels), ("sample_weight", checked)):
        n_given = len(given.codes) if isinstance(given, Coded) else None if given is None else len(given)
        if n_given not in (None, rows.shape[0]):
            raise ValueError(f"{name}: X has {rows.shape[0]} rows, and {what} has {n_given}")
    return InMemory(Block(rows, labels, checked, name, 0))


def described(unit: InMemory | InFile, block_bytes: int) -> Described:
    """Return the description of a block, or of a file, which is read for it."""
    n_rows = n_bytes = width = 0
    has_weight = False
    block: Block | None = None
    for block in unit.blocks(block_bytes):
        n_rows += block.n_rows
        n_bytes += block_module.n_bytes(block.X)
        width = max(width, block.X.shape[1])
        has_weight |= block.weight is not None
    if block is None:
        return Described(0, 0, np.dtype(np.float64), False, 0, False, False, library.identity())
    is_sparse = isinstance(block.X, Csr)
    return Described(
        n_rows, width, np.dtype(block.X.dtype), is_sparse, n_bytes, block.y is not None, has_weight,
        library.identity(),
    )  # fmt: skip


def looked(
    unit: InMemory | InFile, position: int, limit: int, head: Head, limits: Limits, with_moments: bool
) -> tuple[int, int, Part]:
    """Return the rows, the bytes, and the unit's part of the first look: `look.part_of_look`."""
    part = look_module.part_of_look(
        unit.blocks(limits.block), head, limits, position, limit, with_moments=with_moments
    )
    return sum(each.n_rows for _, each in part), sum(each.n_bytes for _, each in part), part


def mapped(
    unit: InMemory | InFile, function: Callable[..., Any], block_bytes: int, shared: tuple[Any, ...]
) -> Any:
    """Return function(blocks, *shared)."""
    return function(unit.blocks(block_bytes), *shared)


def digest(unit: InMemory) -> str:
    """Return the SHA-256 of a block's numbers."""
    block, state = unit.block, hashlib.sha256()
    y = block.y.decoded() if isinstance(block.y, Coded) else block.y
    for array in (*_arrays(block.X), y, block.weight):
        if array is None:
            continue
        plain = np.ascontiguousarray(array)
        state.update(f"{plain.dtype.str} {plain.shape}\n".encode())
        state.update(repr(plain.tolist()).encode() if plain.dtype.hasobject else plain.tobytes())
    return state.hexdigest()


def itself(unit: InMemory) -> InMemory:
    """Return the block itself."""
    return unit


def _arrays(X: Any) -> tuple[Any, ...]:
    if isinstance(X, Csr):
        return X.data, X.indices, X.indptr
    return (X.bits if isinstance(X, Halves) else X,)


def _labels(y: Any, name: str) -> Labels:
    """Return labels as an array, those of a category as codes. Raises ValueError for missing ones."""
    if hasattr(y, "isna"):
        is_missing = np.asarray(y.isna())
        missing = np.flatnonzero(is_missing.any(axis=1) if is_missing.ndim > 1 else is_missing)
        if len(missing):
            raise ValueError(f"{name!r}: the label of row {int(missing[0]) + 1} is missing")
    if hasattr(y, "cat"):
        return Coded(np.asarray(y.cat.codes, np.int64), np.asarray(y.cat.categories))
    if hasattr(y, "dtypes") and getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
        return _labels(y.iloc[:, 0], name)
    return np.asarray(y)

"""Rows that do not fit in memory, as callers hold them: what `open_rows` and `rows_from` return."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import weakref
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.data import sparse
from fastsoftmax.data.blocks import block, cache
from fastsoftmax.data.blocks.block import Coded
from fastsoftmax.data.blocks.cache import Cache, CacheWriter
from fastsoftmax.data.blocks.chain import OtherBase
from fastsoftmax.data.blocks.joining import joined_in_place
from fastsoftmax.data.blocks.labels import Encoder
from fastsoftmax.data.blocks.look import Limits, joined_moments, look, moments_of, moments_of_each
from fastsoftmax.data.blocks.memory import memory_of
from fastsoftmax.data.blocks.remote import Remote
from fastsoftmax.runtime.read_ahead import read_ahead

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from fastsoftmax.contracts import Array, HostRows
    from fastsoftmax.data.blocks.block import Block
    from fastsoftmax.data.blocks.chain import Supply
    from fastsoftmax.data.blocks.look import Look, SoFar
    from fastsoftmax.data.moments import Moments

# Of the memory that a fit holds besides parameters: a block (two wait, one is made, one is in use; half as
# much for sparse ones, with their transpose), the sample (four times as much while rows are chosen anew: the
# sample, the rows chosen before, the new ones, twice while they are joined), and all rows, up to which they
# are kept as arrays: they are joined in place. Sparse ones are held with their transpose, a solver's pairs
# may take as much again, and for a certificate there are both in float64: a million hashed rows of 312 MB
# took 1,884 MiB. Matrices of preconditioners take the rest.
BLOCK, SAMPLE, WHOLE, WHOLE_SPARSE = 32, 8, 2 / 3, 1 / 6
MIN_BLOCK = 2**12  # bytes
# Of sparse rows a block has at least so many bytes for each feature: a vector of parameters is cleared and
# added for each of them, which takes as long as some entries a feature.
SPARSE_BYTES_A_FEATURE = 32


class RowSet:
    """Rows elsewhere: what `open_rows` and `rows_from` return. A context manager; it can be pickled.

    Pickled, it is a recipe: paths and options (or the caller's function), no rows and nothing of what was
    found in them.

    Attributes
    ----------
    n_rows, n_features : int
    classes : ndarray (K,)
        The labels in sorted order.
    feature_names : tuple of str, or None
    n_bytes : int
        The size of the files.
    n_readings : int
        How often the rows have been read from beginning to end, by any user of this object.
    bytes_read : int
        The bytes of X, as it is held in memory, that these readings and the present one have given.
    """

    def __init__(
        self, supply: Supply, *, memory: int | str | None = None, cache: str | os.PathLike[str] | bool | None
    ) -> None:
        self._supply, self._cache_choice = supply, cache
        self._memory = memory_of(memory)
        self._reset()

    def _reset(self) -> None:
        self._look: Look | None = None
        self._lock = threading.Lock()
        self._temporary: Any = None
        self.n_readings = self.bytes_read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> tuple[Supply, int, Any]:
        return self._supply, self._memory, self._cache_choice

    def __setstate__(self, state: tuple[Supply, int, Any]) -> None:
        self._supply, self._memory, self._cache_choice = state
        self._reset()

    def __repr__(self) -> str:
        head = self.head
        return f"RowSet(n_rows={head.n_rows}, n_features={head.n_features}, n_bytes={head.n_bytes})"

    @property
    def supply(self) -> Supply:
        """What the rows are read from."""
        return self._supply

    @property
    def memory(self) -> int:
        """The bytes that a fit holds besides its parameters."""
        return self._memory

    @property
    def has_open_width(self) -> bool:
        """Whether the files say how wide the rows are only by their largest index (svmlight)."""
        return self._supply.head.n_features is None

    def close(self) -> None:
        """Delete temporary files, and forget what the first reading found."""
        self._look = None
        if self._temporary is not None:
            self._temporary()

    @property
    def n_rows(self) -> int:
        """The number of rows; counted in the first reading where no header tells it."""
        known = self.head.n_rows
        return self.look().head.n_rows if known is None else known  # type: ignore[return-value]

    @property
    def n_features(self) -> int:
        """The number of features."""
        known = self.head.n_features
        return self.look().head.n_features if known is None else known  # type: ignore[return-value]

    @property
    def n_bytes(self) -> int:
        """The size of the files in bytes; of rows that a function makes, that of their X in memory."""
        return self.head.n_bytes or self.look().n_bytes

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the features, if the files have any."""
        return self.head.names

    @property
    def classes(self) -> Array:
        """The labels in sorted order, 0 … K − 1 for probabilities. Found in the first reading.

        Raises ValueError if there are no labels.
        """
        found = self.look()
        if found.n_columns is not None:
            return np.arange(found.n_columns)
        if found.learnt is None:
            raise ValueError("the rows have no labels: give target= to open_rows, or (X, y) in rows_from")
        return found.learnt.classes

    @property
    def index_base(self) -> int | None:
        """The first index of svmlight files, as the first reading found it; None for other formats."""
        return self._supply.index_base

    @property
    def head(self) -> Any:
        """What is known of the rows so far (`fastsoftmax.data.blocks.block.Head`)."""
        return self._supply.head if self._look is None else self._look.head

    def blocks(self) -> Iterator[tuple[Any, Array | None, Array | None]]:
        """Yield (X, y, sample_weight) of each block in order: an array or a SciPy CSR array, labels, weights.

        y and sample_weight are None where there are none. Blocks are made ahead in a thread. Where labels
        are text that may mean numbers, the first reading is made before, to tell.
        """
        if self.head.has_labels and (self.head.is_text or self.head.has_float_labels):
            self.look()
        with read_ahead(self.read) as blocks:
            for each in blocks:
                yield as_array(each.X), self.labels_of(each), each.weight

    def read(self) -> Iterator[Block]:
        """Yield the blocks, one reading: those that the first one kept, the cache's, or the files'."""
        found = self._look
        if found is not None and found.kept is not None:
            yield from found.kept
            return
        supply: Supply = self._supply if found is None or found.cache is None else found.cache
        width = None if found is None else found.head.n_features
        n_rows = 0
        for each in supply.blocks(self.limits.block):
            X = each.X
            if isinstance(X, Csr) and width is not None and X.shape[1] < width:
                X = X._replace(shape=(X.shape[0], width))
            n_rows += each.n_rows
            self.bytes_read += block.n_bytes(X)
            yield each._replace(X=X)
        if found is not None and n_rows != found.head.n_rows:
            raise ValueError(f"{n_rows} rows were read, and {found.head.n_rows} in the first reading")
        self.n_readings += 1

    def check_size(self, file: str) -> None:
        """Raise ValueError if a file that blocks are mapped from is shorter than it was, or gone.

        Reading beyond the end of a mapped file would end the process.
        """
        found = self._look
        supply: Supply = self._supply if found is None or found.cache is None else found.cache
        supply.check_size(file)

    @property
    def is_in_memory(self) -> bool:
        """Whether the first reading has found the rows few enough to be kept as arrays."""
        return self._look is not None and self._look.kept is not None

    @property
    def reading_bytes(self) -> int | None:
        """The bytes of X in a reading; None where they are known by the first one only."""
        if self._look is not None:
            return self._look.n_bytes
        head = self._supply.head
        if head.n_rows is None or head.n_features is None or head.is_sparse:
            return None
        return int(head.n_rows * head.n_features * head.dtype.itemsize)

    @property
    def limits(self) -> Limits:
        """The bytes of a block, of the sample, and of rows that are kept whole."""
        memory = self._memory
        head, least = self._supply.head, MIN_BLOCK
        if head.is_sparse:
            memory_of_block = memory // (2 * BLOCK)
            least = max(least, SPARSE_BYTES_A_FEATURE * (head.n_features or 0))
        else:
            memory_of_block = memory // BLOCK
        whole = int((WHOLE_SPARSE if head.is_sparse else WHOLE) * memory)
        return Limits(max(least, memory_of_block), memory // SAMPLE, whole)

    def look(self, progress: Callable[[SoFar], None] | None = None, *, with_moments: bool = False) -> Look:
        """Return what the first reading finds; it is made at the first call, there also with `moments`.

        `progress` is called with `SoFar` after each block.
        """
        with self._lock:
            if self._look is None:
                try:
                    self._look = self._first_look(progress, with_moments)
                except OtherBase:
                    self._supply = self._supply.other_base()
                    self._look = self._first_look(progress, with_moments)
            return self._look

    def moments(self) -> Moments:
        """Return the features' means and deviations: one more reading, unless the first found them."""
        found = self.look(with_moments=True)
        if found.moments is None:
            self._look = found = found._replace(moments=self._moments_of_all())
        return found.moments  # type: ignore[return-value]

    def _moments_of_all(self) -> Moments:
        """Return the moments from one reading, made where the rows are."""
        if not isinstance(self._supply, Remote):
            return moments_of(self.read)
        self.count_reading()
        parts = self._supply.mapped(moments_of_each, (), "moments", self.limits.block)
        return joined_moments(each for part in parts for each in part)

    def count_reading(self) -> None:
        """Count one more reading, which was made where the rows are."""
        self.n_readings += 1
        self.bytes_read += self.look().n_bytes

    def digest(self) -> str:
        """Return what tells these rows from others: a digest of names, sizes, times and samples of files."""
        state = [self._supply.identity(), list(self.limits)]
        return hashlib.sha256(json.dumps(state).encode()).hexdigest()

    def whole(self) -> tuple[Any, Array | None, Array | None] | None:
        """Return X, labels and weights of all rows as arrays, if they were few enough to be kept."""
        kept = self.look().kept
        if kept is None:
            return None
        with self._lock:
            X = joined_in_place(kept)
        labels = [y for y in map(self.labels_of, kept) if y is not None]
        given = [each.weight for each in kept if each.weight is not None]
        return (
            as_array(X),
            np.concatenate(labels) if labels else None,
            np.concatenate(given) if given else None,
        )

    def labels_of(self, each: Block) -> Array | None:
        """Return a block's labels, as `classes` has them."""
        found = self._look
        if found is not None and found.learnt is not None:
            classes = found.learnt.classes
            return classes[Encoder(classes).codes(each)]
        return each.y.decoded() if isinstance(each.y, Coded) else each.y

    def _first_look(self, progress: Callable[[SoFar], None] | None, with_moments: bool) -> Look:
        if isinstance(self._supply, Remote):
            self.n_readings += 1
            found = self._supply.look(self.limits, progress, with_moments=with_moments)
            self.bytes_read += found.n_bytes
            return found
        choice = self._cache_choice
        folder = None if choice is None or isinstance(choice, bool) else str(choice)
        supply = self._supply
        wants_cache = choice is not False and (supply.head.is_slow or choice is True or folder is not None)
        if wants_cache and folder is not None:
            ready = cache.found(folder, supply)
            if ready is not None:
                self.n_readings += 1
                found = look(ready, self.limits, None, progress, with_moments=with_moments)
                self.bytes_read += found.n_bytes
                return found._replace(cache=ready)
        new = functools.partial(CacheWriter, folder, supply) if wants_cache else None
        self.n_readings += 1
        found = look(supply, self.limits, new, progress, with_moments=with_moments)
        self.bytes_read += found.n_bytes
        if found.cache is not None and folder is None:
            self._temporary = weakref.finalize(self, Cache.delete, found.cache)
        return found


def as_array(X: HostRows) -> Any:
    """Return rows as NumPy or SciPy has them."""
    if isinstance(X, Csr):
        return sparse.to_scipy(X)
    return X.bits.view(np.float16) if isinstance(X, Halves) else X

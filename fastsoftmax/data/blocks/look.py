"""The first reading of rows: classes, counts, weights, checks, a sample, and what of it can be kept."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, Halves, compute_dtype
from fastsoftmax.data import moments, validation
from fastsoftmax.data.blocks import block as block_module
from fastsoftmax.data.blocks import cache as cache_module
from fastsoftmax.data.blocks.block import Coded
from fastsoftmax.data.blocks.labels import Learner
from fastsoftmax.data.blocks.made import Made
from fastsoftmax.data.blocks.sample import Sampler
from fastsoftmax.data.moments import Moments
from fastsoftmax.data.readers.table import check_finite
from fastsoftmax.runtime.read_ahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from fastsoftmax.contracts import Array, DType
    from fastsoftmax.data.blocks.block import Block, Head
    from fastsoftmax.data.blocks.cache import Cache, CacheWriter
    from fastsoftmax.data.blocks.chain import Supply
    from fastsoftmax.data.blocks.labels import Learnt
    from fastsoftmax.data.blocks.sample import Sample

    Part: TypeAlias = "list[tuple[str, _Reading]]"


# Rows that are likely to take so many times as much as is kept whole are not kept until they do.
SURELY = 2.0


class Limits(NamedTuple):
    """The bytes of a block, of the sample that is kept, and of all rows up to which they are kept whole."""

    block: int
    sample: int
    whole: int


class SoFar(NamedTuple):
    """How far the first reading is: rows, about how many there are (None where nothing tells), bytes of X.

    `cache_bytes` is the size that the cache is likely to have; 0 as long as none is written.
    """

    n_rows: int
    likely_rows: int | None
    n_bytes: int
    cache_bytes: int


class Look(NamedTuple):
    """What the first reading found.

    Attributes
    ----------
    head : Head
        With the numbers of rows and features.
    n_bytes : int
        The bytes of decoded X.
    n_blocks : int
    dtype : dtype
        Of products with the rows.
    learnt : Learnt or None
        The classes; None for rows without labels, or with probabilities.
    n_columns : int or None
        The columns of labels that are a matrix.
    column_range : ndarray (2, K) or None
        The least and the greatest number in each of these columns, over rows of positive weight.
    weight : float
        The sum of the rows' weights.
    sample : Sample
    kept : list of Block, or None
        All blocks, if they fit.
    cache : Cache or None
    moments : Moments or None
        The features' weighted means and deviations, if they were asked for.
    """

    head: Head
    n_bytes: int
    n_blocks: int
    dtype: DType
    learnt: Learnt | None
    n_columns: int | None
    column_range: Array | None
    weight: float
    sample: Sample
    kept: list[Block] | None
    cache: Cache | None
    moments: Moments | None = None


def look(
    supply: Supply,
    limits: Limits,
    new_cache: Callable[[int], CacheWriter] | None,
    progress: Callable[[SoFar], None] | None = None,
    *,
    with_moments: bool = False,
) -> Look:
    """Return what one reading of the rows finds.

    Parameters
    ----------
    supply : Supply
    limits : Limits
    new_cache : callable, optional
        likely size in bytes ↦ the writer of a cache, called once the rows are too many to be kept.
    progress : callable, optional
        Called with `SoFar` after each block.
    with_moments : bool
        Whether to find the features' means and deviations as well: some 5 n d flops.

    Raises
    ------
    ValueError
        A number is NaN or infinite, a label or weight cannot be, files do not fit together, or there is no
        row; the message names the file and the row.
    """
    reading = _Reading(supply.head, limits, new_cache, supply.likely_rows(), with_moments=with_moments)
    try:
        with read_ahead(lambda: _checked(supply, limits.block)) as blocks:
            for each in blocks:
                reading.take(each)
                if progress is not None:
                    progress(reading.so_far)
        return reading.result()
    except BaseException:
        if reading.writer is not None:
            reading.writer.abandon()
        raise


def part_of_look(
    blocks: Iterable[Block], head: Head, limits: Limits, position: int, limit: int, *, with_moments: bool
) -> Part:
    """Return what some blocks tell of the look at all rows, each block by itself.

    Parameters
    ----------
    blocks : iterable of Block
        Checked, but for their labels.
    head : Head
        Of all rows.
    limits : Limits
    position : int
        The place of the first row among all.
    limit : int
        The largest key of a row of the sample (`fastsoftmax.data.blocks.sample.keys`).
    with_moments : bool
        As for `look`.

    Raises ValueError, naming the file, for labels that cannot be.
    """
    part: Part = []
    for each in blocks:
        reading = _Reading(head, limits._replace(whole=-1), with_moments=with_moments)
        reading._sampler = Sampler(limits.sample, position, limit)
        reading.take(each)
        reading._sampler.pruned()
        part.append((each.file, reading))
        position += each.n_rows
    return part


def joined_look(
    parts: Iterable[Part], head: Head, limits: Limits, *, with_moments: bool
) -> tuple[Look, bool]:
    """Return the look at all rows from parts in the order of the rows, and whether its sample is cut.

    A sample is cut if rows within the limit of its keys were left out; then it does not depend on that limit.
    The look is that of `look`, to the bit, but that no block is kept.
    """
    reading = _Reading(head, limits._replace(whole=-1), with_moments=with_moments)
    reading._kept = None
    for part in parts:
        for file, each in part:
            reading.join(each, file)
    look = reading.result()
    return look, reading._sampler.is_cut


def checked(each: Block, names: Sequence[str] | None) -> Block:
    """Return a block whose numbers and weights are finite. Raises ValueError, naming the file and the row."""
    X = each.X.bits.view(np.float16) if isinstance(each.X, Halves) else each.X
    check_finite(each.file, "", X, names, first=each.first)
    return _with_checked_weights(each)


def moments_of(read: Callable[[], Iterator[Block]]) -> Moments:
    """Return the features' moments from one reading: read() yields the blocks."""
    with read_ahead(read) as blocks:
        return joined_moments(map(_moments_of_block, blocks))


def moments_of_each(blocks: Iterable[Block]) -> list[Moments]:
    """Return the moments of each of some blocks."""
    return [_moments_of_block(block) for block in blocks]


def joined_moments(each: Iterable[Moments]) -> Moments:
    """Return the moments of all rows from those of their blocks in order."""
    return functools.reduce(Moments.merged, each, Moments.none())


def _moments_of_block(block: Block) -> Moments:
    return moments.of_rows(block.X, block.weight)


def _checked(supply: Supply, block_bytes: int) -> Iterator[Block]:
    """Yield the blocks, checked to hold finite numbers; those of a caller's function have been checked."""
    names = supply.head.names
    for each in supply.blocks(block_bytes):
        yield _with_checked_weights(each) if isinstance(supply, Made) else checked(each, names)


def _with_checked_weights(each: Block) -> Block:
    if each.weight is None:
        return each
    return each._replace(weight=block_module.weights(each.weight, each.file, each.first))


class _Reading:
    """What has been found so far."""

    def __init__(
        self,
        head: Head,
        limits: Limits,
        new_cache: Callable[[int], CacheWriter] | None = None,
        likely_rows: int | None = None,
        *,
        with_moments: bool,
    ) -> None:
        self._likely_rows = likely_rows
        self._cache_bytes = 0
        self._head, self._limits, self._new_cache = head, limits, new_cache
        self._learner = Learner()
        self._sampler = Sampler(limits.sample)
        self._kept: list[tuple[Block, Array | None]] | None = []
        self._width = head.n_features or 0
        self._weight = 0.0
        self._moments = Moments.none() if with_moments else None
        self._n_columns: int | None = None
        self._column_range: Array | None = None
        self._dtype: DType | None = None
        self.writer: CacheWriter | None = None
        self.n_rows = self.n_bytes = self.n_blocks = 0

    def take(self, block: Block) -> None:
        """Add a block."""
        X = block.X
        self._dtype = compute_dtype(X)
        self._width = max(self._width, X.shape[1])
        self.n_rows += block.n_rows
        self.n_bytes += block_module.n_bytes(X)
        self.n_blocks += 1
        self._weight += float(block.n_rows if block.weight is None else block.weight.sum())
        codes = self._codes(block)
        if self._moments is not None:
            self._moments = self._moments.merged(_moments_of_block(block))
        self._sampler.add(X, block.y, block.weight)
        if self._kept is not None:
            self._kept.append((block, codes))
            if self.n_bytes <= self._limits.whole and not self._is_surely_too_large():
                return
            waiting, self._kept = self._kept, None
            if self._new_cache is not None:
                both = self._has_many_outputs
                cached = sum(cache_module.size_of(*each, with_transpose=both) for each in waiting)
                self._cache_bytes = int(cached * max(1.0, (self._likely_rows or 0) / self.n_rows))
                self.writer = self._new_cache(self._cache_bytes)
                for each, known in waiting:
                    self.writer.add(each, known, with_transpose=both)
        elif self.writer is not None:
            self.writer.add(block, codes, with_transpose=self._has_many_outputs)

    @property
    def _has_many_outputs(self) -> bool:
        """Whether fits of the rows so far have several outputs, and read the transposes of sparse blocks."""
        return self._n_columns is not None or self._learner.n_classes > 2

    def _is_surely_too_large(self) -> bool:
        """Return whether all rows are likely to take far more than is kept whole: then none has to wait."""
        likely = self.n_bytes * (self._likely_rows or 0)  # times the rows so far, which may be none
        return likely > SURELY * self._limits.whole * self.n_rows

    def join(self, other: _Reading, file: str) -> None:
        """Take what was found in the blocks that follow: the same, to the bit, as by `take` of each.

        `file` is for messages.
        """
        self._dtype = other._dtype or self._dtype
        self._width = max(self._width, other._width)
        self.n_rows += other.n_rows
        self.n_bytes += other.n_bytes
        self.n_blocks += other.n_blocks
        self._weight += other._weight
        self._learner.join(other._learner, file)
        self._sampler.join(other._sampler)
        if self._moments is not None and other._moments is not None:
            self._moments = self._moments.merged(other._moments)
        if other._n_columns is not None:
            self._join_columns(other._n_columns, other._column_range, file)

    @property
    def so_far(self) -> SoFar:
        """How far the reading is."""
        likely = None if self._likely_rows is None else max(self._likely_rows, self.n_rows)
        return SoFar(self.n_rows, likely, self.n_bytes, self._cache_bytes)

    def result(self) -> Look:
        """Return what was found. Raises ValueError if there was no row."""
        if not self.n_rows or self._dtype is None:
            raise ValueError("there are no rows")
        if self._weight <= 0.0:
            raise ValueError("sample_weight is zero for every row; at least one must be positive")
        validation.check_divisor("sample_weight", self._weight)
        head = self._head._replace(n_rows=self.n_rows, n_features=self._width)
        learnt = None
        table = None
        if head.has_labels and self._n_columns is None:
            table = self._learner.table
            learnt = self._learner.learnt(is_text=head.is_text, has_float_labels=head.has_float_labels)
        sample = self._sampler.sample()
        X = sample.X
        if isinstance(X, Csr):
            sample = sample._replace(X=X._replace(shape=(X.shape[0], self._width)))
        kept = None if self._kept is None else [_wide(each, self._width) for each, _ in self._kept]
        cache = None if self.writer is None else self.writer.sealed(head, table)
        self.writer = None
        return Look(
            head, self.n_bytes, self.n_blocks, self._dtype, learnt, self._n_columns, self._column_range,
            self._weight, sample, kept, cache, self._moments,
        )  # fmt: skip

    def _codes(self, block: Block) -> Array | None:
        """Return what the cache holds in place of a block's labels."""
        if not self._head.has_labels:
            return None
        y = block.y
        if y is None:
            raise ValueError(f"{block.file!r} has no labels, where the first rows have them")
        if not isinstance(y, Coded) and y.ndim == 2 and y.shape[1] > 1:
            counted = y if block.weight is None else y[block.weight > 0]
            span = np.stack((counted.min(axis=0), counted.max(axis=0))) if len(counted) else None
            self._join_columns(y.shape[1], span, block.file)
            return y
        codes = self._learner.add(block, block.weight)
        return codes.astype(np.int32)

    def _join_columns(self, n_columns: int, span: Array | None, file: str) -> None:
        """Take the number and the range (2, K) of the columns of labels that are a matrix."""
        if self._n_columns not in (None, n_columns):
            raise ValueError(f"{file!r} has {n_columns} columns of labels, others {self._n_columns}")
        self._n_columns = n_columns
        if span is not None and self._column_range is not None:
            low, high = (np.stack(pair) for pair in zip(span, self._column_range))
            span = np.stack((low.min(axis=0), high.max(axis=0)))
        self._column_range = self._column_range if span is None else span


def _wide(block: Block, width: int) -> Block:
    """Return a block as wide as the widest."""
    X = block.X
    if isinstance(X, Csr) and X.shape[1] < width:
        return block._replace(X=X._replace(shape=(X.shape[0], width), transpose=None))
    return block

"""What sources of rows that are dear to read have in common: a sample in memory, and the sums of targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from fastsoftmax.contracts import Csr, RowBlock, row_slice
from fastsoftmax.contracts.protocols import SourceSpec
from fastsoftmax.contracts.queries import TargetSum, Together
from fastsoftmax.data.blocks.block import Block, n_bytes
from fastsoftmax.data.blocks.remote import Remote
from fastsoftmax.runtime import lazy_imports
from fastsoftmax.sources.array import ArraySource, sparse_block_rows, with_transpose
from fastsoftmax.sources.folds import InFold

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from fastsoftmax.contracts import Loss, Sums, Vector
    from fastsoftmax.contracts.protocols import Addable, Query, Source
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.blocks.targets import Targets
    from fastsoftmax.runtime.buffers import BufferPool

    Answer = TypeVar("Answer", bound=Addable)


class DearSource(ABC):
    """A source of rows that are not in this process's memory, but for a sample of them.

    Parameters
    ----------
    rows : RowSet
        The first reading is made if it has not been.
    targets : Targets
    loss : named tuple
        The loss passed to the device with each query; it is not inspected here.
    n_threads : int or None
    buffers : BufferPool
        Supplies the temporary arrays of passes in this process.

    Notes
    -----
    The sums of the targets, for which X is not needed, are made beside the first query that reads all rows.
    """

    def __init__(
        self, rows: RowSet, targets: Targets, loss: Loss, n_threads: int | None, buffers: BufferPool
    ) -> None:
        self._rows, self._targets, self._loss = rows, targets, loss
        self._n_threads, self._buffers = n_threads, buffers
        self._target_sums: Sums | None = None
        self._samples: dict[int, ArraySource] = {}
        look = rows.look()
        weight = self._weight_of_classes()
        self._spec = SourceSpec(
            look.head.n_rows or 0,
            look.head.n_features or 0,
            targets.n_outputs,
            look.dtype,
            look.weight if weight is None else weight,
            is_dear=True,
            n_bytes=look.n_bytes,
        )

    @abstractmethod
    def _reading(self, query: Query[Answer], *, with_transposes: bool = True) -> Answer:
        """Return the sum of the query's answers for all blocks. Sparse X needs transposes unless unread."""

    @property
    def spec(self) -> SourceSpec:
        """The description of the rows."""
        return self._spec

    def sum(self, query: Query[Answer]) -> Answer:
        """Return the sum of the query's answers for all blocks, added pairwise. One reading of the rows.

        Raises ValueError, naming the file or the block, if the rows are not those of the first reading.
        """
        if isinstance(query, TargetSum):
            if self._target_sums is None:
                self._target_sums = self._reading(self._in_fold(query), with_transposes=False)
            return self._target_sums
        if self._target_sums is not None:
            return self._reading(self._in_fold(query))
        answers: Any = self._reading(self._in_fold(Together((query, TargetSum()))))
        answer: Answer
        answer, self._target_sums = answers.each
        return answer

    def _in_fold(self, query: Query[Answer]) -> Query[Answer]:
        """Return the query about the rows of the fold, where the rows are those of one."""
        fold = getattr(self._rows, "fold", None)
        return query if fold is None else cast("Query[Answer]", InFold(query, fold))

    def sample(self, n_rows: int) -> Source:
        """Return a source of sampled rows, kept in memory, always the same; itself if it has no more.

        It has fewer rows than `n_rows` where these take more memory than there is for a sample. Samples are
        nested.
        """
        if n_rows >= self._spec.n_rows:
            return self
        n_kept = self.n_pooled
        if n_kept == self._spec.n_rows:  # all rows: the sample is that of arrays
            return self._pool_source(n_kept).sample(n_rows)
        return self._pool_source(min(n_rows, n_kept))

    def pool(self) -> ArraySource:
        """Return a source of all rows that are kept in memory as a sample."""
        return self._pool_source(self.n_pooled)

    @property
    def n_pooled(self) -> int:
        """The rows that are kept as a sample; of these fewer if targets made of labels take more than X."""
        most = self._targets.most_rows(self._rows.limits.sample)
        return max(1, min(self._rows.look().sample.X.shape[0], most))

    def of_rows(self, rows: RowBlock) -> ArraySource:
        """Return a source of rows in memory, of the same loss and threads."""
        return ArraySource(
            rows._replace(buffers=self._buffers), self._loss, self._spec.n_outputs, n_threads=self._n_threads
        )

    def pool_rows(self, n_rows: int | None = None) -> RowBlock:
        """Return the first rows that are kept in memory as a sample, all by default, as devices take them."""
        rows = self._rows.look().sample.first(self.n_pooled if n_rows is None else n_rows)
        target, weight = self._targets.of(Block(rows.X, rows.y, rows.weight, "sample", 0))
        return RowBlock(rows.X, target, weight)

    @property
    def block_bytes(self) -> int:
        """The bytes of rows that are in memory at a time, in a block."""
        return self._rows.limits.block

    @property
    def sample_bytes(self) -> int:
        """The bytes of the rows that are kept in memory as a sample."""
        return n_bytes(self._rows.look().sample.X)

    @property
    def entries_a_row(self) -> float:
        """The mean number of stored numbers of a row."""
        look = self._rows.look()
        itemsize = look.sample.X.dtype.itemsize + (4 if isinstance(look.sample.X, Csr) else 0)
        return look.n_bytes / (itemsize * max(1, self._spec.n_rows))

    def class_means(self) -> Vector | None:
        """Return the weights of the outputs' classes as fractions of all; None where labels are a matrix."""
        learnt = self._rows.look().learnt
        if learnt is None or self._spec.n_outputs == 1 or len(learnt.weight) != self._spec.n_outputs:
            return None
        by_class = self._targets.by_class
        weight = learnt.weight if by_class is None else learnt.weight * by_class
        means: Vector = weight / weight.sum()
        return means

    def in_float64(self, loss: Loss) -> Self:
        """Return a source of the same rows, with probability targets in float64 and the loss for them."""
        other = type(self)(self._rows, self._targets.in_float64(), loss, self._n_threads, self._buffers)
        other._target_sums = self._target_sums  # they are float64 already
        return other

    def _pool_source(self, n_rows: int) -> ArraySource:
        """Return the source of the first rows of the kept sample."""
        known = self._samples.get(n_rows)
        if known is None:
            known = self.of_rows(self.pool_rows(n_rows))
            self._samples = {**dict(list(self._samples.items())[-2:]), n_rows: known}
        return known

    def _weight_of_classes(self) -> float | None:
        """Return the sum of weights with those of classes; None without these."""
        learnt, by_class = self._rows.look().learnt, self._targets.by_class
        if by_class is None or learnt is None:
            return None
        total: np.float64 = (learnt.weight * by_class).sum()
        return float(total)


def row_blocks(
    block: Block, targets: Targets, n_outputs: int, most_rows: int, *, with_transposes: bool = True
) -> Iterator[RowBlock]:
    """Yield a block as devices take it, in parts of at most so many rows, and sparse ones as `cut` has them.

    Targets that are made of labels take no more than a block with `Targets.most_rows` of its bytes. The parts
    are the same in all sources, so that sums have the same bits.
    """
    step = max(1, min(block.n_rows, most_rows))
    for start in range(0, block.n_rows, step):
        part = block if step == block.n_rows else block.part(start, min(start + step, block.n_rows))
        target, weight = targets.of(part)
        yield from cut(RowBlock(part.X, target, weight), n_outputs, with_transposes=with_transposes)


def cut(block: RowBlock, n_outputs: int, *, with_transposes: bool = True) -> Iterator[RowBlock]:
    """Yield the block, sparse rows in parts that are as long as those of `ArraySource`."""
    if not isinstance(block.X, Csr):
        yield block
        return
    step = sparse_block_rows(n_outputs)
    for start in range(0, block.n_rows, step):
        stop = min(start + step, block.n_rows)
        X = row_slice(block.X, start, stop)
        yield block._replace(
            X=with_transpose(X) if with_transposes else X,
            target=block.target[start:stop],
            weight=block.weight[start:stop],
        )


def source_of(
    rows: RowSet, targets: Targets, loss: Loss, n_threads: int | None, buffers: BufferPool
) -> DearSource:
    """Return the source of rows elsewhere, by where they are (`DearSource` has the parameters)."""
    name = "dask.DaskSource" if isinstance(rows.supply, Remote) else "stream.StreamSource"
    module, _, kind = name.partition(".")
    source: DearSource = getattr(lazy_imports.module(f"fastsoftmax.sources.{module}"), kind)(
        rows, targets, loss, n_threads, buffers
    )
    return source

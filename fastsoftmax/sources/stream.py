"""The source of rows that are read again for every query: blocks from files, or from a caller's function."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Csr, RowBlock, row_slice
from fastsoftmax.contracts.protocols import SourceSpec
from fastsoftmax.contracts.queries import TargetSum, placed
from fastsoftmax.data.blocks.block import Block, n_bytes
from fastsoftmax.runtime.read_ahead import read_ahead
from fastsoftmax.sources.array import ArraySource, sparse_block_rows, with_transpose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Loss, Sums, Vector
    from fastsoftmax.contracts.protocols import Addable, Query, Source
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.blocks.targets import Targets
    from fastsoftmax.runtime.buffers import BufferPool

    Answer = TypeVar("Answer", bound=Addable)


class StreamSource:
    """A source of rows of which a few blocks at a time are in memory.

    Parameters
    ----------
    rows : RowSet
    targets : Targets
    loss : named tuple
        The loss passed to the device with each query; it is not inspected here.
    n_threads : int or None
    buffers : BufferPool
        Supplies the temporary arrays of passes.

    Notes
    -----
    The blocks of a reading are those of the files, always cut alike, so the sums have the same bits whatever
    the number of threads and however long a block takes to read. The next ones are read and decoded in a
    thread while one is computed on. Where the rows are one block, the bits are those of `ArraySource`.

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

    @property
    def spec(self) -> SourceSpec:
        """The description of the rows."""
        return self._spec

    def sum(self, query: Query[Answer]) -> Answer:
        """Return the sum of the query's answers for all blocks, added in order. One reading of the rows.

        Raises ValueError, naming the file, if the rows are not those of the first reading.
        """
        if isinstance(query, TargetSum):
            return self._sum_of_targets(query)
        asks_targets = self._target_sums is None
        answer: Answer | None = None
        targets: Sums | None = None
        first = 0
        with read_ahead(self._blocks) as blocks:
            for block, file in blocks:
                self._rows.check_size(file)  # it may have been cut since the block was read ahead
                part = devices.answer(placed(query, first), self._loss, "cpu", block, self._n_threads)
                first += block.n_rows
                answer = part if answer is None else answer + part
                if asks_targets:
                    sums = devices.answer(TargetSum(), self._loss, "cpu", block, self._n_threads)
                    targets = sums if targets is None else targets + sums
                del block
        assert answer is not None
        if asks_targets:
            self._target_sums = targets
        return answer

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
        most = self._rows.limits.sample // max(1, self._targets.made_bytes)
        return max(1, min(self._rows.look().sample.X.shape[0], most))

    def of_rows(self, rows: RowBlock) -> ArraySource:
        """Return a source of rows in memory, of the same loss and threads."""
        return ArraySource(
            rows._replace(buffers=self._buffers), self._loss, self._spec.n_outputs, n_threads=self._n_threads
        )

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

    def in_float64(self, loss: Loss) -> StreamSource:
        """Return a source of the same rows, with probability targets in float64 and the loss for them."""
        other = StreamSource(self._rows, self._targets.in_float64(), loss, self._n_threads, self._buffers)
        other._target_sums = self._target_sums  # they are float64 already
        return other

    def _sum_of_targets(self, query: Query[Answer]) -> Answer:
        """Return the sums of the targets, from the last reading; without one the rows are read for them."""
        if self._target_sums is None:
            with read_ahead(functools.partial(self._blocks, with_transposes=False)) as blocks:
                sums = [
                    devices.answer(TargetSum(), self._loss, "cpu", block, self._n_threads)
                    for block, _ in blocks
                ]
            self._target_sums = functools.reduce(lambda a, b: a + b, sums)
        return self._target_sums  # type: ignore[return-value]

    def _blocks(self, *, with_transposes: bool = True) -> Iterator[tuple[RowBlock, str]]:
        """Yield the blocks as devices take them, each with its file. Runs in the thread that reads ahead."""
        most_rows = self._rows.limits.block // max(1, self._targets.made_bytes)
        for whole in self._rows.read():
            # the targets that are made of labels take no more than a block
            step = max(1, min(whole.n_rows, most_rows))
            for start in range(0, whole.n_rows, step):
                block = whole if step == whole.n_rows else whole.part(start, min(start + step, whole.n_rows))
                target, weight = self._targets.of(block)
                made = RowBlock(block.X, target, weight, self._buffers)
                for part in self._cut(made, with_transposes):
                    yield part, block.file

    def _cut(self, block: RowBlock, with_transposes: bool) -> Iterator[RowBlock]:
        """Yield the block, sparse rows in parts that are as long as those of `ArraySource`."""
        if not isinstance(block.X, Csr) or not with_transposes:
            yield block
            return
        step = sparse_block_rows(self._spec.n_outputs)
        for start in range(0, block.n_rows, step):
            stop = min(start + step, block.n_rows)
            yield block._replace(
                X=with_transpose(row_slice(block.X, start, stop)),
                target=block.target[start:stop],
                weight=block.weight[start:stop],
            )

    def _pool_source(self, n_rows: int) -> ArraySource:
        """Return the source of the first rows of the kept sample."""
        known = self._samples.get(n_rows)
        if known is None:
            rows = self._rows.look().sample.first(n_rows)
            block = Block(rows.X, rows.y, rows.weight, "sample", 0)
            target, weight = self._targets.of(block)
            known = ArraySource(
                RowBlock(rows.X, target, weight, self._buffers),
                self._loss,
                self._spec.n_outputs,
                n_threads=self._n_threads,
            )
            self._samples = {**dict(list(self._samples.items())[-2:]), n_rows: known}
        return known

    def _weight_of_classes(self) -> float | None:
        """Return the sum of weights with those of classes; None without these."""
        learnt, by_class = self._rows.look().learnt, self._targets.by_class
        if by_class is None or learnt is None:
            return None
        return float(np.sum(learnt.weight * by_class))

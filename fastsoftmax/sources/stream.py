"""The source of rows that are read again for every query: blocks from files, or from a caller's function."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar

from fastsoftmax import devices
from fastsoftmax.contracts.queries import placed
from fastsoftmax.runtime.read_ahead import read_ahead
from fastsoftmax.sources.dear import DearSource, row_blocks
from fastsoftmax.sources.pairwise import PairwiseSum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import RowBlock
    from fastsoftmax.contracts.protocols import Addable, Query

    Answer = TypeVar("Answer", bound=Addable)


class StreamSource(DearSource):
    """A source of rows of which a few blocks at a time are in memory (`DearSource` has the parameters).

    Notes
    -----
    The blocks of a reading are those of the files, always cut alike, and their sums are added pairwise: those
    of a file's blocks first, then the files' (`fastsoftmax.sources.pairwise`). So they have the same bits
    whatever the number of threads and however long a block takes to read, and a file's may be made elsewhere.
    The next blocks are read and decoded in a thread while one is computed on. Where the rows are one file or
    block, the bits are those of `ArraySource`.
    """

    def _reading(self, query: Query[Answer], *, with_transposes: bool = True) -> Answer:
        total: PairwiseSum[Answer] = PairwiseSum(owned=True)
        first = 0
        with read_ahead(functools.partial(self._blocks, with_transposes)) as blocks:
            for begins, file, block in blocks:
                self._rows.check_size(file)  # it may have been cut since the block was read ahead
                if begins:
                    total.begin_group()
                total.add(devices.answer(placed(query, first), self._loss, "cpu", block, self._n_threads))
                first += block.n_rows
                del block
        answer = total.result()
        assert answer is not None
        return answer

    def _blocks(self, with_transposes: bool) -> Iterator[tuple[bool, str, RowBlock]]:
        """Yield whether a file begins, its name, and the blocks as devices take them.

        Runs in the thread that reads ahead.
        """
        last: tuple[str, int] | None = None
        most_rows = self._targets.most_rows(self._rows.limits.block)
        for block in self._rows.read():
            begins = last is None or block.file != last[0] or block.first <= last[1]
            last = block.file, block.first
            parts = row_blocks(
                block, self._targets, self._spec.n_outputs, most_rows, with_transposes=with_transposes
            )
            for part in parts:
                yield begins, block.file, part._replace(buffers=self._buffers)
                begins = False

"""The source of rows held in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Csr, Halves, KeptLogits, RowBlock, compute_dtype, row_slice
from fastsoftmax.contracts.protocols import SourceSpec
from fastsoftmax.data import sparse
from fastsoftmax.runtime.lazy_attributes import lazy
from fastsoftmax.sources.pairwise import pairwise_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.contracts import Loss, Rows
    from fastsoftmax.contracts.protocols import Addable, Query

    Answer = TypeVar("Answer", bound=Addable)

SEED = 0  # of samples: fixed, so that a fit repeats to the bit
# The most that a pass over sparse rows holds of a block's gradients by logits. Most data sets then are one
# block; and with the other arrays a pass stays below the 64 MiB promised for linear cross-entropies.
DLOGITS_BYTES = 48 * 2**20


def sparse_block_rows(n_outputs: int) -> int:
    """Return the rows of a block of sparse X: a pass holds their (rows, K) float64 gradients by logits."""
    return max(1, DLOGITS_BYTES // (8 * n_outputs))


def with_transpose(X: Rows) -> Rows:
    """Return sparse rows with their transpose, built if missing; dense rows as they are."""
    if not isinstance(X, Csr) or X.transpose is not None:
        return X
    return X._replace(transpose=sparse.transposed(X))


class ArraySource:
    """A source of rows in memory, dense or sparse, which are passed to a device in one block or several.

    Parameters
    ----------
    rows : RowBlock
        All rows; its buffers supply the temporary arrays of passes.
    loss : named tuple
        The loss passed to the device with each query; it is not inspected here.
    n_outputs : int
        The number of logits of a row.
    device : {"cpu", "cuda"}
    n_threads : int or None
    block_rows : int, optional
        The most rows in a block; by default all rows of dense X, `sparse_block_rows` of sparse X.
    """

    def __init__(
        self,
        rows: RowBlock,
        loss: Loss,
        n_outputs: int,
        *,
        device: str = "cpu",
        n_threads: int | None = None,
        block_rows: int | None = None,
    ) -> None:
        n_rows = rows.n_rows
        if block_rows is None:
            block_rows = sparse_block_rows(n_outputs) if isinstance(rows.X, Csr) else n_rows
        blocks = [
            rows._replace(
                X=row_slice(rows.X, start, start + block_rows),
                target=rows.target[start : start + block_rows],
                weight=rows.weight[start : start + block_rows],
            )
            for start in range(0, n_rows, block_rows)
        ]
        self._set(blocks, loss, n_outputs, device, n_threads)

    def _set(
        self, blocks: Sequence[RowBlock], loss: Loss, n_outputs: int, device: str, n_threads: int | None
    ) -> None:
        self._loss, self._device, self._n_threads = loss, device, n_threads
        self._given = [self._placed(block._replace(logits=KeptLogits())) for block in blocks]
        first = blocks[0].X
        self._spec = SourceSpec(
            sum(block.n_rows for block in blocks),
            int(first.shape[1]),
            n_outputs,
            compute_dtype(first),
            sum(float(block.weight.sum()) for block in blocks),
        )

    def _with_blocks(self, blocks: Sequence[RowBlock], loss: Loss) -> ArraySource:
        other = type(self).__new__(type(self))
        other._set(blocks, loss, self._spec.n_outputs, self._device, self._n_threads)
        return other

    @property
    def spec(self) -> SourceSpec:
        """The description of the rows."""
        return self._spec

    def _placed(self, block: RowBlock) -> RowBlock:
        """Return a block as the device takes it; a sparse one that lacks its transpose as it is."""
        lacks_transpose = isinstance(block.X, Csr) and block.X.transpose is None
        return block if lacks_transpose else devices.get(self._device).placed(block)

    @lazy
    def _blocks(self) -> list[RowBlock]:
        """The blocks with transposes of sparse rows, built at the first query: some fits need none."""
        return [self._placed(block._replace(X=with_transpose(block.X))) for block in self._given]

    @property
    def block(self) -> RowBlock | None:
        """The rows, if they are one block in the host's memory; sparse ones may lack their transpose."""
        first = self._given[0]
        plain = len(self._given) == 1 and isinstance(first.X, np.ndarray | Csr | Halves)
        return first if plain and self._device == "cpu" else None

    @property
    def block_with_transpose(self) -> RowBlock | None:
        """The rows, if they are one block in the host's memory; sparse ones with their transpose."""
        return None if self.block is None else self._blocks[0]

    def sum(self, query: Query[Answer]) -> Answer:
        """Return the sum of the query's answers for all blocks, added pairwise. One reading of the rows."""
        return pairwise_sum(self._answer(query, block) for block in self._blocks)

    def _answer(self, query: Query[Answer], block: RowBlock) -> Answer:
        """Return the device's answer for one block, computed on its rows' stream."""
        with devices.work(block.X):
            return devices.answer(query, self._loss, self._device, block, self._n_threads)

    def sample(self, n_rows: int) -> ArraySource:
        """Return a source of `n_rows` sampled rows, copied, always the same; itself if it has no more."""
        total = self._spec.n_rows
        if n_rows >= total:
            return self
        chosen = np.sort(np.random.default_rng(SEED).choice(total, n_rows, replace=False))
        parts, first = [], 0
        for block in self._given:
            inside = chosen[(chosen >= first) & (chosen < first + block.n_rows)] - first
            X = devices.take_rows(block.X, inside)
            parts.append(block._replace(X=X, target=block.target[inside], weight=block.weight[inside]))
            first += block.n_rows
        return self._with_blocks(parts, self._loss)

    def in_float64(self, loss: Loss) -> ArraySource:
        """Return a source of the same rows, with probability targets in float64 and the loss for them."""
        # Row functions require probability targets in the dtype of the logits.
        blocks = [
            block if block.target.ndim == 1 else block._replace(target=block.target.astype(np.float64))
            for block in self.__dict__.get("_blocks", self._given)  # with the transposes that exist
        ]
        return self._with_blocks(blocks, loss)

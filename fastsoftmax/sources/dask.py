"""The source of rows on Dask's workers: a query is a task a group of blocks, and one sum comes back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import dask.sizeof

from fastsoftmax import devices
from fastsoftmax.contracts import Csr, ManySums, Sums
from fastsoftmax.contracts.queries import Together, placed
from fastsoftmax.data.blocks.block import n_bytes
from fastsoftmax.data.dask.alignment import aligned, arrived
from fastsoftmax.data.dask.engine import failed
from fastsoftmax.data.dask.supply import BlocksThere, ThereSupply
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.runtime.read_ahead import read_ahead
from fastsoftmax.sources.dear import DearSource, row_blocks
from fastsoftmax.sources.folds import InFold
from fastsoftmax.sources.pairwise import PairwiseSum

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastsoftmax.contracts import Loss, RowBlock
    from fastsoftmax.contracts.protocols import Addable, Query
    from fastsoftmax.data.blocks.block import Block
    from fastsoftmax.data.blocks.targets import Targets

    Answer = TypeVar("Answer", bound=Addable)

_buffers = BufferPool()  # of this process: each worker has its own

# What moving a sum costs is what its arrays take: Dask would count a hundred bytes.
dask.sizeof.sizeof.register(Sums, lambda sums: 256 + sums.joined.nbytes)
dask.sizeof.sizeof.register(ManySums, lambda sums: 64 + sum(map(dask.sizeof.sizeof, sums.each)))


class Encoded(NamedTuple):
    """A block in the memory of a worker as kernels take it, in parts; sparse ones with their transposes.

    `first` is the place of its first row among all. Where `made` is given, targets are codes, of which it
    makes those that kernels take, for a part at a time.
    """

    name: str
    first: int
    parts: list[RowBlock]
    made: Targets | None

    def __reduce__(self) -> Any:
        return arrived, (Encoded, tuple(self))

    def row_blocks(self) -> Iterator[RowBlock]:
        """Yield the parts."""
        for part in self.parts:
            target = part.target if self.made is None else self.made.made_of(part.target)
            yield part._replace(target=target, buffers=_buffers)


def _own_bytes(encoded: Encoded) -> int:
    """Return the bytes of an encoded block besides X, which it shares with the block that it was made from.

    Counted twice, rows would be written to disk where there is memory for them.
    """
    total = 256
    for part in encoded.parts:
        total += part.target.nbytes + part.weight.nbytes
        if isinstance(part.X, Csr) and part.X.transpose is not None:
            total += n_bytes(part.X.transpose)
    return total


dask.sizeof.sizeof.register(Encoded, _own_bytes)


class Recipe(NamedTuple):
    """A file that is read, and its labels encoded, in every reading.

    `first` is the place of its first row among all.
    """

    unit: Any
    first: int
    targets: Targets
    n_outputs: int
    width: int
    block_bytes: int
    with_transposes: bool

    @property
    def name(self) -> str:
        """The name of the file, for messages."""
        name: str = self.unit.name
        return name

    def row_blocks(self) -> Iterator[RowBlock]:
        """Yield the rows, read ahead in a thread."""
        with read_ahead(self._parts) as parts:
            for part in parts:
                self.unit.check_size()  # it may have been cut since the block was read ahead
                yield part._replace(buffers=_buffers)

    def _parts(self) -> Iterator[RowBlock]:
        for block in self.unit.blocks(self.block_bytes):
            yield from row_blocks(
                _wide(block, self.width), self.targets, self.n_outputs,
                self.targets.most_rows(self.block_bytes), with_transposes=self.with_transposes,
            )  # fmt: skip


class DaskSource(DearSource):
    """A source of rows on Dask's workers (`DearSource` has the parameters).

    `n_threads` is the number of cores that a task takes, one by default: workers run as many tasks at once as
    they have threads. Without a client it is the number of tasks at once, of one core each.

    Notes
    -----
    The order of additions is that of `StreamSource` for the same blocks: the sum has its bits, wherever the
    blocks are and however often they are made again.
    """

    def _reading(self, query: Query[Answer], *, with_transposes: bool = True) -> Answer:
        supply = self._supply
        self._rows.count_reading()
        answer: Answer = aligned(
            supply.engine.summed(
                _answered, _added, self._leaves(with_transposes), query, (self._loss,), _name(query),
                self._n_threads,
            )
        )  # fmt: skip
        return answer

    @property
    def _supply(self) -> ThereSupply:
        supply = self._rows.supply
        assert isinstance(supply, ThereSupply)
        return supply

    def _leaves(self, with_transposes: bool) -> Sequence[Any]:
        """Return what the tasks of a reading read: blocks encoded once, or recipes."""
        supply, look, n_outputs = self._supply, self._rows.look(), self._spec.n_outputs
        width, block_bytes = look.head.n_features or 0, self._rows.limits.block
        firsts = supply.firsts(block_bytes)
        if not isinstance(supply, BlocksThere):
            return [
                Recipe(unit, first, self._targets, n_outputs, width, block_bytes, with_transposes)
                for unit, first in zip(supply.units, firsts)
            ]
        # Sources of folds share what is made of the blocks; in float64 targets are others.
        if self._kept is None:
            self._kept = getattr(self._rows, "encoded", {})
        key = self._targets.is_wide
        if key not in self._kept:
            shared = self._targets, n_outputs, block_bytes
            each = [(first,) for first in firsts]
            self._kept[key] = supply.engine.kept(_encoded, supply.units, each, shared, "encode-block")
        return self._kept[key]

    _kept: dict[bool, list[Any]] | None = None


def _encoded(unit: Any, first: int, targets: Targets, n_outputs: int, block_bytes: int) -> Encoded:
    (block,) = unit.blocks(0)
    made = targets if targets.made_bytes else None
    kept = targets if made is None else targets.as_codes()
    parts = row_blocks(block, kept, n_outputs, targets.most_rows(block_bytes))
    return Encoded(unit.name, first, list(parts), made)


def _wide(block: Block, width: int) -> Block:
    """Return rows of svmlight files that lack the last columns with these."""
    X: Any = block.X
    if X.shape[1] == width:
        return block
    return block._replace(X=X._replace(shape=(X.shape[0], width), transpose=None))


def _answered(units: Sequence[Encoded | Recipe], query: Query[Answer], n_threads: int, loss: Loss) -> Answer:
    """Return the answer for some neighbours among the blocks: a node of the tree over all."""
    total: PairwiseSum[Answer] = PairwiseSum(owned=True)
    with blas.one_thread():  # its own threads would be on the cores of other tasks
        for unit in units:
            total.begin_group()
            first = unit.first
            try:
                for block in unit.row_blocks():
                    total.add(devices.answer(placed(query, first), loss, "cpu", block, n_threads))
                    first += block.n_rows
            except Exception as error:
                raise failed(error, unit.name) from error
    answer = total.result()
    assert answer is not None
    return answer


def _added(tree: Any) -> Any:
    """Return the sum of a nested list of pairs, as it is nested."""
    if not isinstance(tree, list):
        return tree
    if len(tree) == 1:
        return _added(tree[0])
    left, right = tree
    return _added(left) + _added(right)


def _name(query: Any) -> str:
    """Return a query's name for a dashboard: LossGrad is loss-grad, and several are joined by a plus sign."""
    if isinstance(query, Together):
        return "+".join(dict.fromkeys(_name(each) for each in query.queries))
    if isinstance(query, InFold):
        return f"{_name(query.query)}-fold-{query.fold.number}"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(query).__name__).lower()

"""Rows on Dask's workers, as a `RowSet` reads them: blocks in their memory, or files that they read."""

from __future__ import annotations

import itertools
import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data.blocks.block import Head, kernel_dtype
from fastsoftmax.data.blocks.look import SoFar, joined_look
from fastsoftmax.data.blocks.remote import Remote
from fastsoftmax.data.dask import collections, engine, tasks
from fastsoftmax.runtime import library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastsoftmax.data.blocks.block import Block
    from fastsoftmax.data.blocks.chain import Chain
    from fastsoftmax.data.blocks.look import Limits, Look
    from fastsoftmax.data.dask.tasks import Described

logger = logging.getLogger(__name__)

LARGEST_KEY = 2**64 - 1
# The rows of the sample are those with the smallest keys: workers send those below a key that leaves this
# part more than there is memory for, and SPREADS standard deviations of their number. If too few, all.
SURPLUS, SPREADS = 1.02, 6.0


class ThereSupply(Remote):
    """What both kinds share: descriptions of the units, and the look made of parts.

    A unit is what one task reads: a block in memory, or a file.
    """

    engine: Any
    units: Sequence[Any]

    def __init__(self) -> None:
        self._described: list[Described] | None = None
        self._head: Head | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A recipe: no futures, nothing of what was found.
        kept = {"engine", "units", "_described", "_head"}
        return {name: value for name, value in self.__dict__.items() if name not in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        ThereSupply.__init__(self)

    def look(self, limits: Limits, progress: Callable[[SoFar], None] | None, *, with_moments: bool) -> Look:
        """Return what one reading finds: each unit's part is found by a task, and they are joined here."""
        described, head = self.descriptions(limits.block), self.head
        if not described:
            raise ValueError("there are no rows")
        positions = self.firsts(limits.block)
        n_rows, n_bytes = (sum(sizes) for sizes in zip(*((each.n_rows, each.n_bytes) for each in described)))
        limit = _largest_key(limits.sample, n_bytes, n_rows)
        while True:
            seen = _Seen(progress, n_rows)
            parts = self.engine.results(
                tasks.looked, self.units, [(position, limit) for position in positions],
                (head, limits, with_moments), "first-reading", seen,
            )  # fmt: skip
            look, is_cut = joined_look(
                (part for _, _, part in parts), head, limits, with_moments=with_moments
            )
            if is_cut or limit == LARGEST_KEY:
                return look
            limit = LARGEST_KEY

    def firsts(self, block_bytes: int) -> list[int]:
        """Return the place of each unit's first row among all."""
        counts = [each.n_rows for each in self.descriptions(block_bytes)]
        return list(itertools.accumulate(counts[:-1], initial=0))

    def descriptions(self, block_bytes: int) -> list[Described]:
        """Return what is known of each unit; found by the first call."""
        if self._described is None:
            self._described = self._describe(block_bytes)
            kernels = {each.kernels for each in self._described} - {"", library.identity()}
            if kernels:
                logger.warning(
                    "fastsoftmax: workers compute by other kernels (%s) than this process (%s): last bits "
                    "depend on which of them reads a block", ", ".join(sorted(kernels)), library.identity(),
                )  # fmt: skip
        return self._described

    def mapped(
        self, function: Callable[..., Any], shared: tuple[Any, ...], name: str, block_bytes: int
    ) -> list[Any]:
        """Return function(blocks, *shared) for each unit."""
        self.descriptions(block_bytes)
        empty: list[tuple[Any, ...]] = [()] * len(self.units)
        results: list[Any] = self.engine.results(
            tasks.mapped, self.units, empty, (function, block_bytes, shared), name
        )
        return results

    def check_size(self, file: str) -> None:
        """Do nothing: no file is mapped here."""

    @property
    def index_base(self) -> int | None:
        """None: there are no files."""
        return None

    def likely_rows(self) -> int | None:
        """Return how many rows there are, if the blocks have been described."""
        return None if self._described is None else sum(each.n_rows for each in self._described)

    def other_base(self) -> ThereSupply:
        """Return the same rows."""
        return self

    @abstractmethod
    def _describe(self, block_bytes: int) -> list[Described]:
        """Return what is known of each unit that has rows, and set `units` to these."""


class BlocksThere(ThereSupply):
    """Blocks of a Dask collection, or of a list; made once and kept on the workers.

    Parameters
    ----------
    X, y, sample_weight : see `fastsoftmax.data.dask.on_workers`
    """

    def __init__(self, X: Any, y: Any, sample_weight: Any) -> None:
        super().__init__()
        self._names = collections.names_of(X)
        self._parts = collections.blocks_of(X, y, sample_weight)
        self._make()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._make()

    def _make(self) -> None:
        self.engine = engine.current([each for part in self._parts for each in part])
        self.units = ()

    @property
    def head(self) -> Head:
        """What is known of the blocks; they are made at the first call."""
        if self._head is None:
            described = self.descriptions(0)
            there = [(i, each) for i, each in enumerate(described) if each.n_rows]
            if not there:
                raise ValueError("there are no rows")
            first = there[0][1]
            for i, each in there:
                _refuse_other_kind(i, each, first)
            self._head = Head(
                sum(each.n_rows for each in described), first.n_features, kernel_dtype(first.dtype),
                first.is_sparse, 0, self._names, first.has_labels,
            )  # fmt: skip
        return self._head

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the blocks in order, one at a time."""
        self.descriptions(block_bytes)
        for unit in self.units:
            (there,) = self.engine.results(tasks.itself, [unit], [()], (), "fetch-block")
            yield there.block

    def identity(self) -> list[object]:
        """Return a digest of each block's numbers."""
        self.descriptions(0)
        return list(self.engine.results(tasks.digest, self.units, [()] * len(self.units), (), "digest"))

    def _describe(self, block_bytes: int) -> list[Described]:
        import dask

        made = [
            dask.delayed(tasks.prepared, pure=False)(
                *part, number, dask_key_name=(f"check-block-{engine.token()}", number)
            )
            for number, part in enumerate(self._parts)
        ]
        units = self.engine.made(made, [part[0] for part in self._parts])
        found: list[Described] = self.engine.results(
            tasks.described, units, [()] * len(units), (0,), "describe-block"
        )
        # Blocks without rows have no part in any sum.
        self.units = [unit for unit, each in zip(units, found) if each.n_rows]
        return [each for each in found if each.n_rows]


class FilesThere(ThereSupply):
    """Files that workers read, each by one task in every reading.

    Parameters
    ----------
    chain : Chain
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self._chain = chain
        self.engine = engine.current(())
        self.units = ()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.engine = engine.current(())
        self.units = ()

    @property
    def head(self) -> Head:
        """What the files' headers say."""
        return self._chain.head

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the rows of the files, read here."""
        return self._chain.blocks(block_bytes)

    def identity(self) -> list[object]:
        """Return the files' recipes and stamps."""
        return self._chain.identity()

    def check_size(self, file: str) -> None:
        """Raise ValueError if a file that is read here is no longer as long as it was."""
        self._chain.check_size(file)

    @property
    def index_base(self) -> int | None:
        """The first index of svmlight files; None for other formats."""
        return self._chain.index_base

    def likely_rows(self) -> int | None:
        """Return about how many rows there are."""
        return self._chain.likely_rows()

    def other_base(self) -> FilesThere:
        """Return the same with svmlight's indices starting at 0."""
        return FilesThere(self._chain.other_base())

    def _describe(self, block_bytes: int) -> list[Described]:
        units = [tasks.InFile(part, part.name) for part in self._chain.shards(None)]
        known = [_by_header(unit.chain.head) for unit in units]
        found: list[Described]
        if any(each is None for each in known):  # read once more, to count
            found = self.engine.results(
                tasks.described, units, [()] * len(units), (block_bytes,), "count-rows"
            )
        else:
            found = [each for each in known if each is not None]
        units = [
            tasks.InFile(part, part.name) for part in self._chain.shards([each.n_rows for each in found])
        ]
        self.units = [unit for unit, each in zip(units, found) if each.n_rows]
        return [each for each in found if each.n_rows]


class _Seen:
    """Counts rows and bytes as parts of a look arrive, and shows them."""

    def __init__(self, progress: Callable[[SoFar], None] | None, all_rows: int) -> None:
        self._progress, self._all_rows = progress, all_rows
        self.n_rows = self.n_bytes = 0

    def __call__(self, found: tuple[int, int, Any]) -> None:
        self.n_rows += found[0]
        self.n_bytes += found[1]
        if self._progress is not None:
            self._progress(SoFar(self.n_rows, self._all_rows, self.n_bytes, 0))


def _by_header(head: Head) -> Described | None:
    """Return the description of a file whose header says all; None where its rows must be counted."""
    if head.n_rows is None or head.n_features is None or head.is_sparse:
        return None
    n_bytes = head.n_rows * head.n_features * head.dtype.itemsize
    return tasks.Described(
        head.n_rows, head.n_features, head.dtype, False, n_bytes, head.has_labels, False, ""
    )


def _refuse_other_kind(number: int, each: Described, first: Described) -> None:
    """Raise ValueError for a block that is not of the first one's kind."""
    name = f"block {number}"
    if each.n_features != first.n_features:
        raise ValueError(f"{name} has {each.n_features} features, and the first has {first.n_features}")
    if (each.dtype, each.is_sparse) != (first.dtype, first.is_sparse):
        kinds = [f"{shown(of.dtype)}, {'sparse' if of.is_sparse else 'dense'}" for of in (each, first)]
        raise ValueError(f"{name}: X is of {kinds[0]}; that of the first block is of {kinds[1]}")
    if (each.has_labels, each.has_weight) != (first.has_labels, first.has_weight):
        raise ValueError(f"{name} has other labels or weights than the first: all have them, or none")


def _largest_key(sample_bytes: int, n_bytes: int, n_rows: int) -> int:
    """Return a key below which the rows of a sample will lie."""
    wanted = n_rows * min(1.0, sample_bytes / max(1, n_bytes))
    expected = SURPLUS * wanted + SPREADS * (wanted**0.5 + SPREADS)
    return LARGEST_KEY if expected >= n_rows else int(LARGEST_KEY * (expected / n_rows))

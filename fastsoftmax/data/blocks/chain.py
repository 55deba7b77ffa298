"""Several files of one format as one set of rows, checked against each other and against their stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.data.blocks import block, stamps
from fastsoftmax.data.blocks.svmlight import OtherBase, SvmlightBlocks
from fastsoftmax.data.readers.table import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.blocks.block import Block, FileBlocks, Head
    from fastsoftmax.data.blocks.stamps import Stamp


class Supply(Protocol):
    """What a set of rows is read from: files, their cache, or a caller's function."""

    @property
    def head(self) -> Head:
        """What is known before the rows are read."""

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield all rows in order."""

    def check_size(self, file: str) -> None:
        """Raise ValueError if the file of a block, or one beside it, is no longer as long as it was."""

    @property
    def index_base(self) -> int | None:
        """The first index of svmlight files, 1 until a 0 has come up; None for other formats."""

    def likely_rows(self) -> int | None:
        """Return about how many rows there are, exactly where it is known; None where nothing tells."""

    def other_base(self) -> Supply:
        """Return the same after `OtherBase` was raised."""

    def identity(self) -> list[object]:
        """Return what tells these rows from others, as JSON values."""


@runtime_checkable
class Countable(Protocol):
    """Files whose header does not say how many rows they have, but whose beginning tells about how many."""

    def likely_rows(self) -> int:
        """Return about how many rows there are."""


class Chain:
    """The rows of files, one after the other.

    Parameters
    ----------
    parts : sequence of FileBlocks
        At least one.
    target, weight : ndarray, optional
        Labels and weights of all rows, in place of those in the files.

    Raises
    ------
    ValueError
        A file is damaged, or has other features than the first.
    """

    def __init__(
        self, parts: Sequence[FileBlocks], target: Array | None = None, weight: Array | None = None
    ) -> None:
        self._parts = tuple(parts)
        self._target, self._weight = target, weight
        self._stamps: list[dict[str, Stamp]] = [
            {path: stamps.of(path) for path in part.files} for part in self._parts
        ]
        self._stamps_of = {part.files[0]: known for part, known in zip(self._parts, self._stamps)}
        self.head = self._joined([part.head() for part in self._parts])
        for name, given in (("target", target), ("sample_weight", weight)):
            if given is not None and self.head.n_rows not in (None, len(given)):
                raise ValueError(
                    f"{name} has {len(given)} entries, and the files have {self.head.n_rows} rows"
                )

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the blocks of each file. Raises ValueError if a file is not the one that was opened."""
        position = 0
        for part, known in zip(self._parts, self._stamps):
            for path, stamp in known.items():
                stamps.check(path, stamp)
            for each in part.blocks(block_bytes):
                yield self._completed(each, position)
                position += each.n_rows
            for path, stamp in known.items():  # it may have changed while it was read
                stamps.check(path, stamp)
        expected = self.head.n_rows
        for name, given in (("target", self._target), ("sample_weight", self._weight)):
            if given is not None and position != len(given):
                raise ValueError(f"{name} has {len(given)} entries, and the files have {position} rows")
        if expected is not None and position != expected:
            raise ValueError(f"{self._parts[-1].files[0]!r}: {position} rows were read of {expected}")

    def likely_rows(self) -> int | None:
        """Return about how many rows there are: of text files by their beginnings."""
        if self.head.n_rows is not None:
            return self.head.n_rows
        found = [part.likely_rows() for part in self._parts if isinstance(part, Countable)]
        return sum(found) if len(found) == len(self._parts) else None

    def other_base(self) -> Chain:
        """Return the same with svmlight's indices starting at 0."""
        parts = [p.based(True) if isinstance(p, SvmlightBlocks) else p for p in self._parts]
        return Chain(parts, self._target, self._weight)

    @property
    def name(self) -> str:
        """The path of the first file."""
        return self._parts[0].files[0]

    def shards(self, counts: Sequence[int] | None) -> list[Chain]:
        """Return each file as rows of its own, of the dtype of all, with its labels and weights.

        `counts` are the rows of each file, for labels and weights that were given as arrays; without it they
        are left out.
        """
        stops = np.cumsum([0 for _ in self._parts] if counts is None else counts)
        shards = []
        for i, part in enumerate(self._parts):
            rows = slice(int(stops[i - 1]) if i else 0, int(stops[i]))
            shard = Chain.__new__(Chain)
            shard._parts, shard._stamps = (part,), [self._stamps[i]]
            shard._stamps_of = {part.files[0]: self._stamps[i]}
            shard._target, shard._weight = (
                None if given is None or counts is None else given[rows]
                for given in (self._target, self._weight)
            )
            known = part.head().n_rows if counts is None else counts[i]
            shard.head = self.head._replace(n_rows=known)
            shards.append(shard)
        return shards

    def check_size(self, file: str) -> None:
        """Raise ValueError if a file, or one beside it, is no longer as long as it was."""
        for path, stamp in self._stamps_of.get(file, {}).items():
            stamps.check_size(path, stamp)

    @property
    def index_base(self) -> int | None:
        """The first index of svmlight files; None for other formats."""
        first = self._parts[0]
        return int(not first.zero_based) if isinstance(first, SvmlightBlocks) else None

    def identity(self) -> list[object]:
        """Return the files' recipes and stamps."""
        return [[repr(part), known] for part, known in zip(self._parts, self._stamps)]

    def _completed(self, each: Block, position: int) -> Block:
        """Return a block in the dtype of all files, with the labels and weights that were given."""
        X = each.X
        if isinstance(X, Csr):
            if X.data.dtype != self.head.dtype:
                X = X._replace(data=X.data.astype(self.head.dtype))
        elif X.dtype != self.head.dtype:
            wide = X.bits.view(np.float16) if isinstance(X, Halves) else X
            X = block.dense(wide, self.head.dtype)
        stop = position + each.n_rows
        y, weight = each.y, each.weight
        if self._target is not None:
            y = self._target[position:stop]
        if self._weight is not None:
            weight = self._weight[position:stop]
        return each._replace(X=X, y=y, weight=weight)

    def _joined(self, heads: Sequence[Head]) -> Head:
        """Return what is known of all files together. Raises ValueError if they do not fit together."""
        first = heads[0]
        for part, head in zip(self._parts, heads):
            self._check_alike(part.files[0], head, first)
        counts = [head.n_rows for head in heads]
        dtype = np.result_type(*(head.dtype for head in heads))
        return first._replace(
            n_rows=None if None in counts else sum(count or 0 for count in counts),
            dtype=block.kernel_dtype(dtype),
            n_bytes=sum(head.n_bytes for head in heads),
            has_labels=self._target is not None or first.has_labels,
            is_slow=any(head.is_slow for head in heads),
            has_float_labels=first.has_float_labels and self._target is None,
            is_text=first.is_text and self._target is None,
        )

    def _check_alike(self, file: str, head: Head, first: Head) -> None:
        of = self._parts[0].files[0]
        if head.names is not None and first.names is not None and head.names != first.names:
            missing = [name for name in first.names if name not in head.names]
            said = f"it lacks {listed(missing, 8)}" if missing else "they are others, or in another order"
            raise ValueError(f"{file!r} has other columns than {of!r}: {said}")
        if None not in (head.n_features, first.n_features) and head.n_features != first.n_features:
            raise ValueError(f"{file!r} has {head.n_features} features, and {of!r} has {first.n_features}")
        if head.is_sparse != first.is_sparse or head.has_labels != first.has_labels:
            what = "dense or sparse" if head.is_sparse != first.is_sparse else "labelled"
            raise ValueError(f"{file!r} is not {what} as {of!r} is")


__all__ = ["Chain", "OtherBase", "Supply"]

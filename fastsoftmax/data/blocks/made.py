"""Rows that a caller's function makes, again and again."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import validation
from fastsoftmax.data.blocks.block import Block, Head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastsoftmax.contracts import HostRows

SAMPLED = 64  # numbers of a block that tell whether it is the same as before


class Made:
    """The rows of make(): an iterator of (X, y) or (X, y, sample_weight), the same at every call.

    Parameters
    ----------
    make : callable
    n_features : int, optional
        By default that of the first block, which is made once for it.

    Notes
    -----
    Blocks are as long as the caller's. Each is told from that of the first reading by its shape and a
    checksum of 64 of its numbers.
    """

    def __init__(self, make: Callable[[], Iterator[Any]], n_features: int | None = None) -> None:
        self._make = make
        self._seen: list[tuple[int, int]] = []
        self._is_whole = False  # whether a reading has come to the end
        first = next(iter(self._blocks(n_features)), None)
        if first is None:
            raise ValueError("make() gives no rows")
        self.head = Head(
            None,
            int(first.X.shape[1]),
            first.X.dtype,
            is_sparse=isinstance(first.X, Csr),
            n_bytes=0,
            has_labels=first.y is not None,
        )

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the caller's blocks, validated. Raises ValueError if they are others than before."""
        number = -1
        for number, each in enumerate(self._blocks(self.head.n_features)):
            if each.X.dtype != self.head.dtype or isinstance(each.X, Csr) != self.head.is_sparse:
                raise ValueError(
                    f"{each.file}: X is {_kind(each.X)}; that of the first block is of {self.head.dtype}, "
                    f"{'sparse' if self.head.is_sparse else 'dense'}"
                )
            mark = each.n_rows, _checksum(each.X)
            if number < len(self._seen):
                if self._seen[number] != mark:
                    raise ValueError(f"{each.file}: its rows are not those of the first reading")
            elif self._is_whole:
                raise ValueError(f"{each.file}: there were {len(self._seen)} blocks in the first reading")
            else:
                self._seen.append(mark)
            yield each
        if number + 1 < len(self._seen):
            raise ValueError(f"make() gave {number + 1} blocks, and {len(self._seen)} in the first reading")
        self._is_whole = True

    @property
    def index_base(self) -> None:
        """None: there is no file."""

    def check_size(self, file: str) -> None:
        """Do nothing: there is no file."""

    def likely_rows(self) -> None:
        """Return None: only the function knows."""

    def other_base(self) -> Made:
        """Return itself."""
        return self

    def identity(self) -> list[object]:
        """Return the marks of the blocks."""
        return [list(mark) for mark in self._seen]

    def _blocks(self, n_features: int | None) -> Iterator[Block]:
        for number, item in enumerate(self._make()):
            name = f"block {number}"
            parts = tuple(item) if isinstance(item, tuple | list) else (item,)
            if not 1 <= len(parts) <= 3:
                raise ValueError(f"{name} of make() has {len(parts)} parts; X, y and sample_weight are taken")
            X: Any = validation.design_matrix(parts[0], name=f"X of {name}", min_rows=0)
            if X.shape[0] == 0:
                continue
            if n_features is not None and X.shape[1] != n_features:
                raise ValueError(f"{name}: X has {X.shape[1]} features, and {n_features} are expected")
            beside = [None if each is None else np.asarray(each) for each in (*parts[1:], None, None)][:2]
            for what, each in zip(("y", "sample_weight"), beside):
                if each is not None and len(each) != X.shape[0]:
                    raise ValueError(f"{name}: X has {X.shape[0]} rows, and {what} has {len(each)}")
            if isinstance(X, Csr):
                X = X._replace(transpose=None)
            yield Block(X, beside[0], beside[1], name, 0)


def _kind(X: HostRows) -> str:
    return f"of {shown(X.dtype)}, {'sparse' if isinstance(X, Csr) else 'dense'}"


def _checksum(X: HostRows) -> int:
    """Return the CRC of evenly spaced numbers of rows."""
    numbers = X.data if isinstance(X, Csr) else X.bits if isinstance(X, Halves) else X
    places = np.arange(0, numbers.size, max(1, numbers.size // SAMPLED))
    return zlib.crc32(np.ascontiguousarray(numbers[np.unravel_index(places, numbers.shape)]).tobytes())

"""A part of rows held out as test data: weights of zero for the others, so that no row is copied or moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.blocks.sample import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastsoftmax.data.blocks.block import Block, Head
    from fastsoftmax.data.blocks.chain import Supply

_OFFSET = 2**61  # of positions: the rows with the smallest keys of all are the sample that a fit keeps
_COUNTED = 2**20  # rows at a time


class HeldOut:
    """The rows of a supply, those of one part with a weight of zero.

    Parameters
    ----------
    supply : Supply
    fraction : float
        Of the rows that are test data, in (0, 1). Which ones depends on their positions alone.
    is_test : bool
        Whether the test rows keep their weights, and not the others.
    """

    def __init__(self, supply: Supply, fraction: float, *, is_test: bool) -> None:
        self._supply, self._fraction, self._is_test = supply, fraction, is_test

    @property
    def head(self) -> Head:
        """That of all rows."""
        return self._supply.head

    @property
    def index_base(self) -> int | None:
        """The first index of svmlight files."""
        return self._supply.index_base

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield all rows in order."""
        position = 0
        for each in self._supply.blocks(block_bytes):
            chosen = is_held_out(position, position + each.n_rows, self._fraction) == self._is_test
            position += each.n_rows
            weight = np.ones(each.n_rows) if each.weight is None else np.asarray(each.weight, np.float64)
            # a weight that cannot be is to be found in either part
            bad = ~(np.isfinite(weight) & (weight >= 0.0))
            yield each._replace(weight=np.where(chosen | bad, weight, 0.0))

    def check_size(self, file: str) -> None:
        """Raise ValueError if a file is no longer as long as it was."""
        self._supply.check_size(file)

    def likely_rows(self) -> int | None:
        """Return about how many rows there are."""
        return self._supply.likely_rows()

    def other_base(self) -> HeldOut:
        """Return the same with svmlight's indices starting at 0."""
        return HeldOut(self._supply.other_base(), self._fraction, is_test=self._is_test)

    def identity(self) -> list[object]:
        """Return what tells these rows from others."""
        return [*self._supply.identity(), f"held out {self._fraction!r} {self._is_test}"]


def is_held_out(start: int, stop: int, fraction: float) -> NDArray[np.bool_]:
    """Return which of the rows at positions start … stop − 1 are test data."""
    chosen: NDArray[np.bool_] = keys(np.arange(start, stop) + _OFFSET) < np.uint64(fraction * 2.0**64)
    return chosen


def n_held_out(n_rows: int, fraction: float) -> int:
    """Return how many of the first rows are test data."""
    return sum(
        int(is_held_out(start, min(start + _COUNTED, n_rows), fraction).sum())
        for start in range(0, n_rows, _COUNTED)
    )

"""Sums of answers in a fixed order: a balanced binary tree over the items, whoever computes them where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastsoftmax.contracts.protocols import Addable

Answer = TypeVar("Answer", bound="Addable")


class PairwiseSum(Generic[Answer]):
    """The sum of items that arrive one after the other, added in pairs of neighbours, pairs of pairs, ….

    Notes
    -----
    Level by level, neighbours (2 j, 2 j + 1) are added and an odd last one is carried up. The tree depends on
    the number of items alone, so that the sum of any aligned group of 2ᵏ items may be made elsewhere: the
    bits are the same. It holds at most log₂ n + 1 partial sums, and its rounding error grows with log n.

    Examples
    --------
    >>> total = PairwiseSum()
    >>> for item in (1.0, 2.0, 3.0):
    ...     total.add(item)
    >>> total.result()
    6.0
    """

    def __init__(self) -> None:
        self._parts: list[tuple[int, Answer]] = []  # sums of 2ᵏ items, k falling: a binary counter

    def add(self, item: Answer) -> None:
        """Take the next item."""
        level = 0
        while self._parts and self._parts[-1][0] == level:
            item = self._parts.pop()[1] + item
            level += 1
        self._parts.append((level, item))

    def result(self) -> Answer | None:
        """Return the sum of the items so far; None if there were none."""
        total: Answer | None = None
        for _, part in reversed(self._parts):
            total = part if total is None else part + total
        return total


def pairwise_sum(items: Iterable[Answer]) -> Answer:
    """Return the sum of at least one item in that order."""
    added: PairwiseSum[Answer] = PairwiseSum()
    for item in items:
        added.add(item)
        del item  # its memory can go once it is added
    total = added.result()
    assert total is not None
    return total

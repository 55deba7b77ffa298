"""Sums of answers in a fixed order: a balanced binary tree over the items, whoever computes them where."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np

from fastsoftmax.contracts import ManySums, Sums

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
    Where groups are begun, the items of each are added first, and their sums are the items of another tree.

    Items that are `owned`, that is, held by nobody else, are added in place where they are `Sums`: the
    system takes longer to clear a large new array than it takes to add one.

    Items that have `in_any_order` (`fastsoftmax.contracts.protocols.Addable`), or those among several
    together, are added at once, so that one sum of them is held.

    Examples
    --------
    >>> total = PairwiseSum()
    >>> for item in (1.0, 2.0, 3.0):
    ...     total.add(item)
    >>> total.result()
    6.0
    """

    def __init__(self, *, owned: bool = False) -> None:
        self._owned = owned
        # Sums of 2ᵏ items, k falling: binary counters, of this group's items, and of the groups before.
        self._parts: list[tuple[int, Any]] = []
        self._groups: list[tuple[int, Any]] = []
        self._members: list[PairwiseSum[Any]] | None = None  # of items that are several sums together

    def begin_group(self) -> None:
        """Let the items so far be groups of their own."""
        for member in self._members or ():
            member.begin_group()
        if self._parts and not _is_exact(self._parts[0][1]):
            _carry(self._groups, _folded(self._parts), owned=self._owned)
            self._parts = []

    def add(self, item: Answer) -> None:
        """Take the next item."""
        if isinstance(item, ManySums):
            sums: tuple[Any, ...] = item.each
            if self._members is None:
                self._members = [PairwiseSum(owned=self._owned) for _ in sums]
            for member, each in zip(self._members, sums, strict=True):
                member.add(each)
        elif self._parts and _is_exact(item):
            self._parts = [(0, self._parts.pop()[1] + item)]
        else:
            _carry(self._parts, item, owned=self._owned)

    def result(self) -> Answer | None:
        """Return the sum of the items so far; None if there were none."""
        if self._members is not None:
            sums: tuple[Any, ...] = tuple(member.result() for member in self._members)
            return cast("Answer", ManySums(sums))
        if not self._groups or not self._parts:
            return cast("Answer | None", _folded(self._parts or self._groups))
        groups = list(self._groups)
        _carry(groups, _folded(self._parts), owned=False)
        return cast("Answer", _folded(groups))


def pairwise_sum(items: Iterable[Answer]) -> Answer:
    """Return the sum of at least one item in that order."""
    added: PairwiseSum[Answer] = PairwiseSum()
    for item in items:
        added.add(item)
        del item  # its memory can go once it is added
    total = added.result()
    assert total is not None
    return total


def _is_exact(item: Any) -> bool:
    return getattr(item, "in_any_order", False)


def _carry(parts: list[tuple[int, Any]], item: Any, *, owned: bool) -> None:
    """Add one to a binary counter, in place."""
    level = 0
    while parts and parts[-1][0] == level:
        left = parts.pop()[1]
        item = _added_in_place(left, item) if owned else left + item
        level += 1
    parts.append((level, item))


def _added_in_place(left: Any, right: Any) -> Any:
    """Return left + right, sums in the memory of the left ones."""
    if not isinstance(left, Sums) or left.joined.dtype != right.joined.dtype:
        return left + right
    np.add(left.joined, right.joined, out=left.joined)
    return replace(left, value=left.value + right.value, weight=left.weight + right.weight)


def _folded(parts: list[tuple[int, Any]]) -> Any:
    """Return the sum of all; None if there are none."""
    total = None
    for _, part in reversed(parts):
        total = part if total is None else part + total
    return total

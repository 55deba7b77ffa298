"""Which blocks one task sums, and which sums one task adds: nodes of one tree of neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Node: TypeAlias = "Leaf | list[Any]"


class Leaf(NamedTuple):
    """The blocks from `start` to `stop` (excluded), summed by one task."""

    start: int
    stop: int


def nested_plan(n_blocks: int, places: Sequence[Any] | None, n_groups: Mapping[Any, int]) -> Node:
    """Return the tree of pairs over blocks, with groups on one worker as leaves.

    Parameters
    ----------
    n_blocks : int
    places : sequence of hashable, optional
        The worker of each block; None is all on one, called None.
    n_groups : mapping
        Into how many groups a worker's blocks are cut, at least where there are as many.

    Notes
    -----
    A group is an aligned range of 2ᵏ blocks (or the last, shorter one), that is, a node of the tree of
    `fastsoftmax.sources.pairwise`: so the plan changes when blocks move, and the bits of the sum do not.

    Examples
    --------
    >>> nested_plan(5, ["a", "a", "b", "b", "b"], {"a": 1, "b": 1})
    [[Leaf(start=0, stop=2), Leaf(start=2, stop=4)], Leaf(start=4, stop=5)]
    """
    where = [None] * n_blocks if places is None else list(places)
    counts: dict[Any, int] = {}
    for place in where:
        counts[place] = counts.get(place, 0) + 1
    most = {place: max(1, count // max(1, n_groups.get(place, 1))) for place, count in counts.items()}

    def node(start: int, size: int) -> Node:
        stop = min(start + size, n_blocks)
        place = where[start]
        if size == 1 or (stop - start <= most[place] and all(each == place for each in where[start:stop])):
            return Leaf(start, stop)
        middle = start + size // 2
        left = node(start, size // 2)
        return left if middle >= n_blocks else [left, node(middle, size // 2)]

    size = 1
    while size < n_blocks:
        size *= 2
    return node(0, size)


def leaves_of(plan: Node) -> list[Leaf]:
    """Return the leaves from left to right."""
    return [plan] if isinstance(plan, Leaf) else [leaf for part in plan for leaf in leaves_of(part)]

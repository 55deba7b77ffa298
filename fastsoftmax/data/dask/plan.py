"""Which blocks one task sums, and which sums one task adds: nodes of one tree of neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Node: TypeAlias = "Leaf | list[Any]"

UNEVEN = 1.25  # times its fair part of the blocks that a worker may have where they lie
SCATTERED = 4  # times as many groups as neighbours on one worker would be: each is a task and a sum to send
GROUPS_A_THREAD = 2  # of blocks that one task sums: fewer tasks, and still some to even out with
GROUPS_A_WORKERS_THREAD = 1  # rows stay where they are: more groups would be more sums to add


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


def placed(held: Sequence[Any], threads: Mapping[Any, int]) -> list[Any]:
    """Return the worker for each block: where it is, or neighbours on one worker, as many a thread.

    Blocks stay where they are if that is even and does not make SCATTERED times as many groups.

    Parameters
    ----------
    held : sequence of hashable or None
        The worker that has a block; None where it is yet to be made.
    threads : mapping
        The threads of each worker.

    Examples
    --------
    >>> placed([None] * 5, {"a": 1, "b": 1})
    ['a', 'a', 'a', 'b', 'b']
    >>> placed(["b", "a", "b", "a"], {"a": 1, "b": 1})
    ['b', 'a', 'b', 'a']
    """
    n_blocks = len(held)
    if not threads:
        return [None] * n_blocks
    total, n_before = sum(threads.values()), 0
    neighbours: list[Any] = []
    for name in sorted(threads):
        n_before += threads[name]
        neighbours += [name] * (-(-n_blocks * n_before // total) - len(neighbours))
    stay = [there if there in threads else other for there, other in zip(held, neighbours)]
    is_even = all(stay.count(name) <= UNEVEN * n_blocks * n / total + 1.0 for name, n in threads.items())
    groups = {name: GROUPS_A_WORKERS_THREAD * n for name, n in threads.items()}
    found, least = (len(leaves_of(nested_plan(n_blocks, each, groups))) for each in (stay, neighbours))
    return stay if is_even and found < SCATTERED * least else neighbours

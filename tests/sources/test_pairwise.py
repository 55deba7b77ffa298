"""Law: the sum of items in a fixed order has one tree of pairs, however its nodes are given out."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastsoftmax.data.dask.plan import Leaf, leaves_of, nested_plan
from fastsoftmax.sources.pairwise import PairwiseSum, pairwise_sum


class Term(str):
    """Text that remembers how it was added."""

    def __add__(self, other):
        return Term(f"({self} {other})")


def by_levels(items):
    """The tree as its definition has it: neighbours are added, an odd last one is carried up."""
    while len(items) > 1:
        pairs = [items[i] + items[i + 1] for i in range(0, len(items) - 1, 2)]
        items = pairs + items[len(pairs) * 2 :]
    return items[0]


@pytest.mark.parametrize("n", range(1, 40))
def test_items_are_added_level_by_level(n):
    items = [Term(i) for i in range(n)]
    assert pairwise_sum(iter(items)) == by_levels(items)


def test_no_items_have_no_sum():
    assert PairwiseSum().result() is None


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=70),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)),
)
def test_a_plan_is_the_same_tree_wherever_the_blocks_are(places, n_groups):
    plan = nested_plan(len(places), places, n_groups)
    leaves = leaves_of(plan)
    assert [leaf.start for leaf in leaves[1:]] == [leaf.stop for leaf in leaves[:-1]]
    assert (leaves[0].start, leaves[-1].stop) == (0, len(places))
    for leaf in leaves:
        assert len(set(places[leaf.start : leaf.stop])) == 1
    items = [Term(i) for i in range(len(places))]

    def summed(node):
        if isinstance(node, Leaf):
            return pairwise_sum(items[node.start : node.stop])
        return functools.reduce(operator.add, map(summed, node))

    assert summed(plan) == by_levels(items)


def test_few_tasks_sum_many_blocks_of_one_worker():
    plan = nested_plan(64, ["a"] * 32 + ["b"] * 32, {"a": 2, "b": 2})
    assert [leaf.stop - leaf.start for leaf in leaves_of(plan)] == [16] * 4


def test_rounding_grows_with_the_logarithm_of_the_number():
    ones = np.full(2**16, 0.1)
    assert abs(pairwise_sum(map(float, ones)) - 2**16 * 0.1) <= 16 * np.spacing(2**16 * 0.1)

"""Law: the sum of items in a fixed order has one tree of pairs, however its nodes are given out."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastsoftmax.contracts import ManySums
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


class Union(Term):
    """The same, for what may be added in any order."""

    in_any_order = True

    def __add__(self, other):
        return Union(super().__add__(other))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_groups_are_added_first(sizes):
    total = PairwiseSum()
    sums, at = [], 0
    for size in sizes:
        items = [Term(at + i) for i in range(size)]
        at += size
        total.begin_group()
        for item in items:
            total.add(item)
        sums.append(by_levels(items))
        assert total.result() == by_levels(sums)


def test_members_have_the_tree_of_all_and_those_in_any_order_are_held_once():
    total, terms = PairwiseSum(), [Term(i) for i in range(11)]
    for i, term in enumerate(terms):
        if i in (0, 4):
            total.begin_group()
        total.add(ManySums((term, ManySums((Union(i), term)))))
    tree = f"({by_levels(terms[:4])} {by_levels(terms[4:])})"
    chain = functools.reduce(operator.add, map(Union, range(11)))
    assert total.result() == ManySums((tree, ManySums((chain, tree))))


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

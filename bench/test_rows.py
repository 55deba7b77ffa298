"""Row kernels on logits, against a parallel copy of the same array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.measure.contest import hold, matches, matches_added
from bench.measure.yardsticks import copy
from bench.problems.discovery import added_problems
from bench.problems.grid import COLUMNS, DOUBLE_ROWS, LABELLED_ROWS, NARROW_LABELLED_ROWS, NARROW_ROWS, ROWS

if TYPE_CHECKING:
    from bench.problems.rows import Rows


OPERATIONS = ["softmax", "softmax_out", "log_softmax", "logsumexp", "cross_entropy"]
ALL_ROWS = ROWS | DOUBLE_ROWS | NARROW_ROWS | added_problems(*OPERATIONS)
ALL_LABELLED_ROWS = LABELLED_ROWS | NARROW_LABELLED_ROWS


def hold_rows(benchmark: Any, rows: Rows, operation: str, contender: str) -> None:
    """Time a contender beside the copy, noting the shape that bandwidth is drawn by."""
    hold(benchmark, rows, operation, contender, copy, family="rows", shape=[rows.n_rows, rows.n_classes])


@pytest.mark.parametrize(
    ("problem", "operation", "contender"),
    matches(ROWS, ["softmax", "softmax_out", "logsumexp", "cross_entropy"], occasional=["log_softmax"])
    + matches(
        DOUBLE_ROWS, ["softmax_out", "logsumexp", "cross_entropy"], occasional=["softmax", "log_softmax"]
    )
    + matches(
        NARROW_ROWS,
        ["narrow_softmax_out", "narrow_cross_entropy"],
        occasional=["narrow_softmax", "narrow_logsumexp"],
    )
    + matches_added(OPERATIONS),
)
def test_rows(benchmark: Any, problem: str, operation: str, contender: str) -> None:
    hold_rows(benchmark, ALL_ROWS[problem], operation, contender)


@pytest.mark.parametrize(("problem", "operation", "contender"), matches(COLUMNS, ["softmax_axis0"]))
def test_columns(benchmark: Any, problem: str, operation: str, contender: str) -> None:
    hold_rows(benchmark, COLUMNS[problem], operation, contender)


@pytest.mark.parametrize(
    ("problem", "operation", "contender"),
    matches(LABELLED_ROWS, ["sigmoid_cross_entropy"])
    + matches(NARROW_LABELLED_ROWS, ["narrow_sigmoid_cross_entropy"]),
)
def test_sigmoid(benchmark: Any, problem: str, operation: str, contender: str) -> None:
    hold_rows(benchmark, ALL_LABELLED_ROWS[problem], operation, contender)

"""Row kernels on logits, against a parallel copy of the same array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.contenders import plain
from bench.contest import hold, matches
from bench.grid import COLUMNS, DOUBLE_ROWS, LABELLED_ROWS, NARROW_LABELLED_ROWS, NARROW_ROWS, ROWS
from bench.problems import computed
from bench.yardsticks import copy

if TYPE_CHECKING:
    from bench.problems import Rows


ALL_ROWS = ROWS | DOUBLE_ROWS | NARROW_ROWS
ALL_LABELLED_ROWS = LABELLED_ROWS | NARROW_LABELLED_ROWS


def bytes_of(rows: Rows, operation: str) -> int:
    """Count what a kernel moves that never goes back to memory: each entry read or written, once."""
    entry = np.dtype(rows.dtype).itemsize  # is read
    if operation != "logsumexp":
        entry += np.dtype(rows.dtype).itemsize  # is written
    if operation == "sigmoid_cross_entropy":
        entry += np.dtype(computed(rows.dtype)).itemsize  # the label is read
    return rows.n_rows * rows.n_classes * entry


def hold_rows(benchmark: Any, rows: Rows, operation: str, contender: str) -> None:
    """Time a contender beside the copy, noting what bandwidth is computed from."""
    noted = {"shape": [rows.n_rows, rows.n_classes], "bytes": bytes_of(rows, plain(operation))}
    hold(benchmark, rows, operation, contender, copy, family="rows", **noted)


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
    ),
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

"""Row kernels on logits, against a parallel copy of the same array."""

from __future__ import annotations

from typing import Any

import pytest

from bench.contest import hold, matches
from bench.problems import ROWS
from bench.yardsticks import copy

# How often a kernel that never goes back to memory touches each logit: read, and written where it maps.
TOUCHES = {"softmax": 2, "softmax_out": 2, "log_softmax": 2, "logsumexp": 1, "cross_entropy": 2}


@pytest.mark.parametrize(
    ("problem", "operation", "contender"),
    matches(ROWS, ["softmax", "softmax_out", "logsumexp", "cross_entropy"], occasional=["log_softmax"]),
)
def test_rows(benchmark: Any, problem: str, operation: str, contender: str) -> None:
    rows = ROWS[problem]
    shape = [rows.n_rows, rows.n_classes]
    n_bytes = TOUCHES[operation] * rows.n_rows * rows.n_classes * int(rows.dtype[-2:]) // 8
    hold(benchmark, rows, operation, contender, copy, family="rows", shape=shape, bytes=n_bytes)

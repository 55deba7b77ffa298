"""Law: no answer of a fit on a cluster of processes differs by a bit, whatever becomes of its workers."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax import SoftmaxRegression, on_workers
from tests.dask.problems import MEMORY, arrays, lists, on_one_machine, problem, said


@pytest.fixture(scope="module")
def expected():
    return said(SoftmaxRegression().fit(on_one_machine(*problem())))


@pytest.mark.parametrize("case", [{"dtype": np.float32, "n_classes": 5}, {"sparse": True}], ids=str)
def test_arrays_have_the_bits_of_one_machine(client, case):
    X, y, w = problem(**case)
    rows = on_workers(*arrays(X, y, w), memory=MEMORY)
    found = said(SoftmaxRegression().fit(rows))
    assert found == said(SoftmaxRegression().fit(on_one_machine(X, y, w)))


def test_futures_of_blocks(client, expected):
    futures = [client.compute(part) for part in lists(*problem())]
    assert said(SoftmaxRegression().fit(on_workers(*futures, memory=MEMORY))) == expected

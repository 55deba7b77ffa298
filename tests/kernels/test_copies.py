"""Law: a copy between memory orders and dtypes is NumPy's, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax.kernels.cpu.copies import copy_to


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(147, 19), (147, 5), (3, 19)], ids=["squares and what is left", "few columns", "few rows"]
)
def test_columns_become_rows(shape, dtype):
    # 147 rows are two blocks of 64 and 19, a register of float32 and 3; so are 19 columns.
    a = np.random.default_rng(0).normal(size=shape[::-1]).T
    out = np.full(shape, np.nan, dtype)
    copy_to(out, a, 1)
    np.testing.assert_array_equal(out, a.astype(dtype))

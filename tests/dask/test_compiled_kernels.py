"""Law: workers that have the wheel's kernels compile nothing, and do not so much as import Numba.

`python -m tests.wheel` runs this, and all tests beside it, on the wheel; in a checkout it needs a library
that `python -m fastsoftmax.aot` has made.
"""

from __future__ import annotations

import os
import sys

import distributed
import numpy as np
import pytest

import fastsoftmax
from fastsoftmax import SoftmaxRegression, on_workers
from fastsoftmax.runtime.library import CHOICE, KernelsMissingError
from tests.dask.problems import MEMORY, arrays, problem


@pytest.fixture(scope="module")
def compiled():
    """A client whose workers raise an error where a kernel would have to be compiled."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50,
            env={CHOICE: "compiled"},
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        try:
            client.run(fastsoftmax.kernels_info)
        except KernelsMissingError as error:
            if os.environ.get(CHOICE) == "compiled":  # the wheel is what is tested
                raise
            pytest.skip(f"no library of kernels: {error}")
        yield client


@pytest.mark.parametrize(("case", "options"), [
    ({}, {}), ({"dtype": np.float32, "n_classes": 2}, {"standardize": True}),
    ({"sparse": True}, {"multi_class": "ovr"}), ({"sparse": True, "dtype": np.float32}, {"l1_ratio": 0.5}),
], ids=str)  # fmt: skip
def test_a_fit_compiles_nothing(compiled, case, options):
    model = SoftmaxRegression(**options).fit(on_workers(*arrays(*problem(**case)), memory=MEMORY))
    assert model.duality_gap_ <= 1e-4 * model.objective_
    for info, has_numba in compiled.run(kernels_of_this_process).values():
        assert (info.source, info.missed, has_numba) == ("library", (), False)


def kernels_of_this_process():
    return fastsoftmax.kernels_info(), "numba" in sys.modules

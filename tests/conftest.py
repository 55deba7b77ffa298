"""What every test needs before it starts: a kernel cache, Hypothesis profiles, the real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Numba reads this when it is first imported, which is after this line. Subprocesses inherit it. One folder
# for all versions of the sources: each kernel is sealed with those that go into it.
os.environ["NUMBA_CACHE_DIR"] = str(ROOT / ".numba-cache" / "tests")

# The suite is of the checkout's kernels, not of a library that may lie there; tests/wheel.py asks for one.
os.environ.setdefault("FASTSOFTMAX_KERNELS", "jit")
os.environ.setdefault("FASTSOFTMAX_COMPILERS", "1")  # the suite itself keeps all cores busy

import hypothesis  # noqa: E402

from tests.interpreter import LAYERS, environment_of  # noqa: E402

hypothesis.settings.register_profile(
    "ci",
    max_examples=25,
    deadline=None,  # the first example compiles
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "nightly", hypothesis.settings.get_profile("ci"), max_examples=2500, derandomize=False
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config):
    """Give each worker, of which there are as many as cores, one thread of BLAS.

    OpenBLAS reads the variable when NumPy is imported, which in a worker is before this file. Its threads
    wait by spinning: with two each in two workers on two cores, scikit-learn's Newton steps took ten times
    the processor time.
    """
    if config.getoption("numprocesses", default=None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the real data sets: FASTSOFTMAX_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("FASTSOFTMAX_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data sets at {folder}: set FASTSOFTMAX_DATA to their folder")
    return folder


@pytest.fixture
def executor():
    """`set_executor`, with the executor that was there put back afterwards."""
    from fastsoftmax import set_executor

    before = set_executor("auto")
    set_executor(before)
    yield set_executor
    set_executor(before)


@pytest.fixture(params=LAYERS)
def layer(request):
    """The environment of each of Numba's threading layers that loads here."""
    env = environment_of(request.param)
    if env is None:
        pytest.skip(f"Numba's layer {request.param!r} does not load here")
    return env

"""A small cluster of processes for all tests of a file; without Dask they are skipped."""

from __future__ import annotations

import pytest

pytest.importorskip("dask", reason="Dask is not installed: the extra `dask`")
distributed = pytest.importorskip("distributed", reason="Dask's distributed is not installed")

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module")
def client():
    """The client of two processes of one thread each, as the current one."""
    import dask

    # On a busy machine a process that was killed takes longer than 15 s to be followed by another.
    settings = {"distributed.deploy.lost-worker-timeout": "300s", "distributed.comm.retry.count": 3}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client

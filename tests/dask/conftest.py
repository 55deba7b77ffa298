"""A small cluster of processes for all tests of a file; without Dask they are skipped."""

from __future__ import annotations

import pytest

pytest.importorskip("dask", reason="Dask is not installed: the extra `dask`")
distributed = pytest.importorskip("distributed", reason="Dask's distributed is not installed")


class Cluster(distributed.LocalCluster):
    """A cluster whose workers may be killed at any time.

    Dask's own raises KeyError for one that is gone before the cluster has heard of it: it then watches its
    workers no more, and cannot be closed without that error.
    """

    def _update_worker_status(self, op, msg):
        if op != "remove" or msg in self.scheduler_info["workers"]:
            super()._update_worker_status(op, msg)


pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module")
def client():
    """The client of two processes of one thread each, as the current one."""
    import dask

    # On a busy machine a process that was killed takes longer than 15 s to be followed by another.
    settings = {"distributed.deploy.lost-worker-timeout": "300s", "distributed.comm.retry.count": 3}
    with (
        dask.config.set(settings),
        Cluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client

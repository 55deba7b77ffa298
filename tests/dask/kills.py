"""Fits on a cluster whose workers are killed all the time: `python -m tests.dask.kills [KILLS] [WORKERS]`.

Ends with status 1 if an answer differs by a bit from that of one machine, or a fit fails.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time

import dask
import distributed
import numpy as np

from fastsoftmax import SoftmaxRegression, on_workers
from tests.dask.problems import MEMORY, arrays, on_one_machine, problem, said


def killer(pids, n_kills, stop, killed):
    """Kill a random worker every now and then, until told to stop."""
    rng = np.random.default_rng(0)
    while not stop.is_set() and len(killed) < n_kills:
        time.sleep(0.5 + rng.exponential(1.0))
        living = pids()
        if len(living) > 1:
            victim = rng.choice(living)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)


def main(n_kills=200, n_workers=3):
    """Fit until so many workers have been killed."""
    cases = [problem(), problem(5, dtype=np.float32), problem(sparse=True)]
    expected = [said(SoftmaxRegression().fit(on_one_machine(*case))) for case in cases]
    stop, killed, n_fits, differing = threading.Event(), [], 0, 0
    with (
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):

        def pids():
            # One whose process is still starting would give up.
            processes = [nanny.process for nanny in list(cluster.workers.values())]
            return [process.pid for process in processes if process and process.status.name == "running"]

        thread = threading.Thread(target=killer, args=(pids, n_kills, stop, killed))
        thread.start()
        try:
            while len(killed) < n_kills:
                cluster.scale(n_workers)  # a nanny whose process is killed while it starts gives up
                case = n_fits % len(cases)
                found = said(SoftmaxRegression().fit(on_workers(*arrays(*cases[case]), memory=MEMORY)))
                n_fits += 1
                differing += found != expected[case]
                print(f"{n_fits} fits, {len(killed)} kills, {differing} differ", flush=True)
        finally:
            stop.set()
            thread.join()
    return int(differing > 0)


if __name__ == "__main__":
    # A task may lose more workers than the three that Dask allows: it is not at fault. Workers are forks of a
    # process that has imported all that they need: others would take seconds to start.
    settings = {
        "distributed.scheduler.allowed-failures": 100,
        "distributed.deploy.lost-worker-timeout": "300s",
        "distributed.worker.multiprocessing-method": "forkserver",
    }
    multiprocessing.set_forkserver_preload(["distributed", "fastsoftmax.sources.dask", "sklearn.utils"])
    with dask.config.set(settings):
        sys.exit(main(*map(int, sys.argv[1:])))

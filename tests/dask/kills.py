"""Fits on a cluster whose workers are killed all the time: `python -m tests.dask.kills [KILLS] [WORKERS]`.

Ends with status 1 if an answer differs by a bit from that of one machine, or a fit fails.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import distributed
import numpy as np

from fastsoftmax import SoftmaxRegression, on_workers
from tests.dask.problems import MEMORY, arrays, on_one_machine, problem, said


def killer(pids, n_kills, stop, killed):
    """Kill a random worker every now and then, until told to stop."""
    rng = np.random.default_rng(0)
    while not stop.is_set() and len(killed) < n_kills:
        time.sleep(rng.exponential(1.0))
        living = pids()
        if living:
            victim = rng.choice(living)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)


def main(n_kills=200, n_workers=3):
    """Fit until so many workers have been killed."""
    cases = [problem(), problem(5, dtype=np.float32), problem(sparse=True)]
    expected = [said(SoftmaxRegression().fit(on_one_machine(*case))) for case in cases]
    stop, killed, n_fits, differing = threading.Event(), [], 0, 0
    with (
        distributed.LocalCluster(n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):

        def pids():
            nannies = cluster.workers.values()
            return [nanny.pid for nanny in nannies if nanny.pid and nanny.status.name == "running"]

        thread = threading.Thread(target=killer, args=(pids, n_kills, stop, killed))
        thread.start()
        try:
            while len(killed) < n_kills:
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
    import dask

    # A task may lose more workers than the three that Dask allows: they are not at fault.
    with dask.config.set({"distributed.scheduler.allowed-failures": 100}):
        sys.exit(main(*map(int, sys.argv[1:])))

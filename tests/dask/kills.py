"""Fits on a cluster whose workers are killed all the time: `python -m tests.dask.kills [KILLS] [WORKERS]`.

Each kill waits for one of PLACES in turn, and every tenth one ends all workers at once. Prints how many hit
what, and ends with status 1 if an answer differs by a bit from that of one machine, or a fit fails.
"""

from __future__ import annotations

import collections
import itertools
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

# What a worker is doing, by the names of tasks; nothing is between two readings.
PLACES = {
    "the blocks are made": ("array", "getitem", "block", "rechunk", "lambda"),
    "the first reading": ("first-reading", "shared"),
    "the blocks are encoded": ("encode-block",),
    "a reading": (),  # any other task
    "sums are added": ("add",),
    "between two readings": (),
}
PATIENCE = 0.5  # seconds that a kill waits for its place
ALL_AT_ONCE = 10


class Killer(threading.Thread):
    """Kills workers of a cluster until there were enough, or it is told to stop."""

    def __init__(self, cluster, n_kills, n_workers):
        super().__init__()
        self.cluster, self.n_kills, self.n_workers = cluster, n_kills, n_workers
        self.stop, self.counts, self.n_all = threading.Event(), collections.Counter(), 0

    @property
    def n_killed(self):
        return sum(self.counts.values())

    def run(self):
        rng = np.random.default_rng(0)
        for number, place in enumerate(itertools.cycle(PLACES), 1):
            self.stop.wait(0.05 + rng.exponential(0.2))
            self.cluster.scale(self.n_workers)  # a nanny whose process is killed while it starts gives up
            if self.stop.is_set() or self.n_killed >= self.n_kills:
                return
            found, victims = self.found(place, rng)
            if found and number % ALL_AT_ONCE == 0:
                victims, self.n_all = self.living(), self.n_all + 1
            for nanny in victims:
                try:
                    os.kill(nanny.process.pid, signal.SIGKILL)
                except (AttributeError, ProcessLookupError, TypeError):  # it is gone, or being started again
                    continue
                self.counts[found] += 1

    def living(self):
        # A nanny whose process is still starting would give up.
        nannies = list(self.cluster.workers.values())
        return [n for n in nannies if n.process and n.process.status.name == "running" and n.process.pid]

    def found(self, wanted, rng):
        """Wait until a worker is where a kill is wanted; else any, and where that is."""
        end = time.monotonic() + PATIENCE
        while True:
            living = [nanny for nanny in self.living() if nanny.worker_address]
            rng.shuffle(living)
            there = [(self.place_of(nanny), nanny) for nanny in living]
            for place, nanny in there:
                if place and len(living) > 1 and (place == wanted or time.monotonic() > end):
                    return place, [nanny]
            if self.stop.is_set() or time.monotonic() > end + PATIENCE:
                return None, []
            time.sleep(0.001)

    def place_of(self, nanny):
        worker = self.cluster.scheduler.workers.get(nanny.worker_address)
        try:
            names = [task.key[0] if isinstance(task.key, tuple) else task.key for task in worker.processing]
        except (AttributeError, RuntimeError):  # it is gone, or its tasks change just now
            return None
        if not names:
            return "between two readings"
        name = str(names[0])
        if name.startswith("add-"):
            return "sums are added"
        for place in ("the blocks are encoded", "the first reading", "the blocks are made"):
            if any(word in name for word in PLACES[place]):
                return place
        return "a reading"


def main(n_kills=200, n_workers=3):
    """Fit until so many workers have been killed."""
    cases = [problem(), problem(5, dtype=np.float32), problem(sparse=True)]
    expected = [said(SoftmaxRegression().fit(on_one_machine(*case))) for case in cases]
    n_fits, differing = 0, 0
    with (
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster),
    ):
        killer = Killer(cluster, n_kills, n_workers)
        killer.start()
        try:
            while killer.n_killed < n_kills:
                if not killer.is_alive():
                    raise RuntimeError("nothing kills any more: the killer's thread has ended with an error")
                case = n_fits % len(cases)
                found = said(SoftmaxRegression().fit(on_workers(*arrays(*cases[case]), memory=MEMORY)))
                n_fits += 1
                differing += found != expected[case]
                print(f"{n_fits} fits, {killer.n_killed} kills, {differing} differ", flush=True)
        finally:
            killer.stop.set()
            killer.join()
    for place, count in killer.counts.most_common():
        print(f"{count:5d} kills while {place}")
    print(f"{killer.n_killed} kills, {killer.n_all} times all at once; {n_fits} fits, {differing} differ")
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

"""The time of a reading on W workers that only sleep, beside the model of docs/scaling.md.

`python -m bench.measure.dask_scaling` prints a line for each number of workers. Workers are threads of this
process, so that one machine can have many; the scheduler, the graph and the order of additions are real.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, NamedTuple

import numpy as np

SECONDS_A_BLOCK = 0.02
BLOCKS_A_WORKER = 8
READINGS = 7


class Timing(NamedTuple):
    """A reading: its workers and tasks, the levels of its tree, and seconds and processor's, as medians."""

    n_workers: int
    n_tasks: int
    n_levels: int
    seconds: float
    cpu_seconds: float


def sleeping(group: list[Any], query: Any, n_threads: int, seconds: float) -> float:
    """Sleep for each block of a group, as a worker computes."""
    time.sleep(seconds * len(group))
    return 1.0


def added(tree: Any) -> Any:
    """Return the sum of nested pairs."""
    return sum(map(added, tree)) if isinstance(tree, list) else tree


def measured(n_workers: int, seconds: float) -> Timing:
    """Return the timing of readings by that many sleeping workers of one thread."""
    from distributed import Client, LocalCluster, wait

    from fastsoftmax.data.dask.cluster import Cluster
    from fastsoftmax.data.dask.engine import FAN
    from fastsoftmax.data.dask.plan import leaves_of

    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(n_workers, timeout=60)
        names = sorted(client.nthreads())
        handles = [
            client.submit(int, number, workers=[names[number // BLOCKS_A_WORKER]], pure=False)
            for number in range(n_workers * BLOCKS_A_WORKER)
        ]
        wait(handles)
        engine = Cluster(client)
        times, cpu = [], []
        for _ in range(READINGS):
            start, cpu_start = time.perf_counter(), time.process_time()
            engine.summed(sleeping, added, handles, np.zeros(8), (seconds,), "sleep", None)
            times.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
        assert engine._plan is not None
        n_leaves = len(leaves_of(engine._plan[2][0]))
    n_levels = max(1, int(np.ceil(np.log(n_leaves) / np.log(FAN))))
    n_adds = sum(-(-n_leaves // FAN**level) for level in range(1, n_levels + 1))
    return Timing(n_workers, n_leaves + n_adds, n_levels, statistics.median(times), statistics.median(cpu))


def main() -> None:
    """Measure, fit the two constants of the model to workers that do not sleep, and compare."""
    idle = [measured(n, 0.0) for n in (2, 8, 32)]
    design = np.array([[each.n_tasks, each.n_levels + 2] for each in idle], float)
    a_task, a_level = np.maximum(np.linalg.lstsq(design, [each.seconds for each in idle])[0], 0.0)
    print(f"a task {1e3 * a_task:.2f} ms, a level {1e3 * a_level:.1f} ms")
    busy = idle[-1].cpu_seconds - idle[0].cpu_seconds
    print(f"the processor's part of a task {1e3 * busy / (idle[-1].n_tasks - idle[0].n_tasks):.2f} ms")
    for n in (2, 4, 16, 32):
        found = measured(n, SECONDS_A_BLOCK)
        work = SECONDS_A_BLOCK * BLOCKS_A_WORKER
        model = work + a_task * found.n_tasks + a_level * (found.n_levels + 2)
        seen, said = 1e3 * found.seconds, 1e3 * model
        print(f"{n:3d} workers, {found.n_tasks:3d} tasks: {seen:5.0f} ms, model {said:5.0f}")


if __name__ == "__main__":
    main()

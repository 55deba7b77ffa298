"""The first array of a message between Dask workers begins at an odd address (distributed 2026.8).

A worker reads a message into one buffer, and its first frame, a header of any length, shifts what follows. A
kernel that Numba compiled for aligned arrays is compiled anew for these: on every worker, at the first call.

    python findings/dask_arrays_arrive_unaligned.py        prints: sent True, received False
"""

import numpy as np
from distributed import Client, LocalCluster, wait


def is_aligned(array: np.ndarray) -> bool:
    """Return whether an array's numbers lie at multiples of their size."""
    return array.flags.aligned


if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        one, other = client.nthreads()
        array = client.submit(np.ones, 1_000_003, workers=[one], pure=False)
        wait(array)
        sent = client.submit(is_aligned, array, workers=[one], pure=False).result()
        received = client.submit(is_aligned, array, workers=[other], pure=False).result()
        print(f"sent {sent}, received {received}")

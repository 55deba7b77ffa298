#!/usr/bin/env bash
# The first array of a message between two Dask workers arrives at an odd address.
#
# distributed 2026.8.0, dask 2026.8.0, NumPy 2.4.2, Python 3.11; Linux x86-64.
# Seen: `array.flags.aligned` is True on the worker that made the array, and False on the one that it was sent to.
# A guess that is wrong: that an array keeps its alignment on the way. A worker reads a message into one buffer,
# and a header of any length stands before the first array's bytes. Compiled kernels for aligned arrays (Numba's,
# for one) are compiled anew for such arrays, on each worker, and code that hands the pointer to vector
# instructions for aligned data must copy first.
#
# Prints: sent True, received False. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    dask==2026.8.0 distributed==2026.8.0 numpy==2.4.2
cat > "$folder/unaligned.py" <<'CODE'
import numpy as np
from distributed import Client, LocalCluster, wait


def is_aligned(array):
    return array.flags.aligned


if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        one, other = client.nthreads()
        array = client.submit(np.ones, 1_000_003, workers=[one], pure=False)
        wait(array)
        sent = client.submit(is_aligned, array, workers=[one], pure=False).result()
        received = client.submit(is_aligned, array, workers=[other], pure=False).result()
        print(f"sent {sent}, received {received}")
CODE
said=$(cd "$folder" && "$folder/env/bin/python" unaligned.py)
echo "$said"
[ "$said" = "sent True, received False" ]

"""
Rows on many machines
=====================

Dask's collections are fitted where their blocks are: workers send sums, not rows, and the coefficients are
those of one machine, to the bit for the same blocks. Here a cluster of two workers in this process stands
for many machines.
"""

import dask
import dask.array
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster

from fastsoftmax import SoftmaxRegression

rng = np.random.default_rng(0)
truth = rng.normal(size=(6, 30))


def block(seed):
    """Return the rows of a block, as a worker would read them."""
    own = np.random.default_rng(seed)
    X = own.normal(size=(5_000, 30)).astype(np.float32)
    return X, np.argmax(X @ truth.T + own.gumbel(scale=2, size=(5_000, 6)), axis=1)


parts = [dask.delayed(block, nout=2)(seed) for seed in range(16)]
X = dask.array.concatenate([dask.array.from_delayed(X, (5_000, 30), np.float32) for X, _ in parts])
y = dask.array.concatenate([dask.array.from_delayed(y, (5_000,), np.int64) for _, y in parts])

# %%
# Each reading is one message to the workers and one sum back; the gap is a proven bound, as for arrays.
with (
    LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
    Client(cluster) as client,
):
    model = SoftmaxRegression().fit(X, y)
    print(f"{X.npartitions} blocks, {len(client.nthreads())} workers: {model.history_[-1].passes} readings")
    print(f"accuracy {model.score(X, y):.1%}, gap {model.duality_gap_:.1e}")
    proba = model.predict_proba(X)  # lazy: blocks of X's, computed when they are asked for
    print(proba)

# %%
# The coefficients beside those that drew the labels. The noise has twice the deviation of a softmax's: it
# halves them.
figure, axes = plt.subplots(figsize=(5, 4.6), layout="constrained")
drawn = (truth - truth.mean(axis=0)) / 2
axes.plot(drawn.ravel(), model.coef_.ravel(), "o", color="#3b6ea5", markersize=4)
axes.axline((0, 0), slope=1, color="#888888", linewidth=1)
axes.set(xlabel="coefficients of the labels' model", ylabel="found by two workers")
axes.spines[["top", "right"]].set_visible(False)

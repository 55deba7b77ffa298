"""Fit two classes with dask-ml: `python -P dask_ml_fit.py FOLDER`, in an environment with dask-ml.

FOLDER has rows.npz (X, y of 0 and 1) and options.json; coefficients of each number of iterations are written
there, and the seconds printed as JSON lines. There is no intercept, since that of dask-ml is penalised.
Without normalize=False its solvers but admm penalise the coefficients of features that are divided by their
deviations: another objective. It imports nothing of this package.
"""

import json
import sys
import time
from pathlib import Path

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
from dask_ml.linear_model import LogisticRegression


def main(folder: Path) -> None:
    """Fit once in an iteration, then as often as asked for, on two workers of one thread."""
    options = json.loads((folder / "options.json").read_text())
    given = np.load(folder / "rows.npz")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        step = -(-len(given["y"]) // options["blocks"])
        X = client.persist(da.from_array(given["X"], chunks=(step, -1)))
        y = client.persist(da.from_array(given["y"], chunks=step))
        for max_iter in (1, *options["iterations"]):
            model = LogisticRegression(
                C=options["C"],
                fit_intercept=False,
                solver=options["solver"],
                max_iter=max_iter,
                tol=1e-12,
                solver_kwargs={"normalize": False},
            )
            start = time.perf_counter()
            model.fit(X, y)
            seconds = time.perf_counter() - start
            coef = np.reshape(model.coef_, (1, -1))
            np.savez(folder / f"{max_iter}.npz", coef=coef, intercept=np.zeros(1))
            print(json.dumps({"iterations": max_iter, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

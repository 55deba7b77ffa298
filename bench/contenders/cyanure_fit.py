"""Fit with Cyanure: `python -P cyanure_fit.py DATA.npz RESULT.npz OPTIONS`, in its own environment.

It imports nothing of this package, which that environment lacks, nor (hence -P) of the folder it lies in,
where other files are named as the libraries that it needs.
"""

import json
import sys
import time
import warnings

import numpy as np
import scipy.sparse as sp
from cyanure.estimators import Classifier

INTERVAL = 10  # passes between two looks at the duality gap, where it may stop; what it counts is of these


def classifier(n_rows: int, options: dict, max_iter: int) -> Classifier:
    """Give the softmax model with the penalty ‖coef‖² / (2 C n)."""
    return Classifier(
        loss="logistic",
        penalty="l2",
        multi_class="multinomial",
        lambda_1=1 / (options["C"] * n_rows),
        max_iter=max_iter,
        tol=1e-12,
        duality_gap_interval=INTERVAL,
        n_threads=options["n_threads"],
        verbose=False,
    )


def main(source: str, result: str, options: dict) -> None:
    """Fit once in a few iterations, which starts its threads, and then as asked for."""
    z = np.load(source)
    if "X" in z:
        X = z["X"]
    else:
        X = sp.csr_matrix((z["data"], z["indices"], z["indptr"]), shape=tuple(z["shape"]))
    y = z["y"]
    warnings.simplefilter("ignore")  # that max_iter was reached
    classifier(X.shape[0], options, 1).fit(X, y)
    model = classifier(X.shape[0], options, options["max_iter"])
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    last_look = int(np.max(model.n_iter_))
    stopped = last_look <= options["max_iter"] - INTERVAL
    iterations = last_look if stopped else options["max_iter"]
    arrays = {"coef": model.coef_.T, "intercept": model.intercept_.ravel()}
    np.savez(result, **arrays, iterations=iterations, seconds=seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))

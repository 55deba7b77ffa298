"""Fit to the optimum: `python -P run.py CONTENDER FOLDER OPTIONS`, in the contender's own environment.

Reads the rows that `bench.measure.sparse` wrote into FOLDER, and appends a line (seconds, F) a point to
FOLDER/CONTENDER.jsonl. F is that of the coefficients by the formula below, for all. It ends at F ≤
`target`, or where a fit would take more than `limit` seconds of the processor, at which the system ends it;
what is there remains. Nothing of this package is imported.
"""

import importlib
import json
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse as sp

FOLDER = Path(__file__).resolve().parent


def rows_of(folder: Path) -> tuple:
    """Read X, dense or CSR, and y."""
    y = np.load(folder / "y.npy")
    if (folder / "X.npy").exists():
        return np.load(folder / "X.npy"), y
    parts = [np.load(folder / f"{name}.npy") for name in ("data", "indices", "indptr", "shape")]
    return sp.csr_matrix(tuple(parts[:3]), shape=tuple(int(size) for size in parts[3])), y


def objective(X: np.ndarray, y: np.ndarray, coef: np.ndarray, intercept: np.ndarray, options: dict) -> float:
    """Give the mean loss + s [(1 − α)/2 Σ W² + α Σ |W|], s = 1 / (C n); of groups Σ ‖W·ⱼ‖."""
    z = np.asarray(X @ coef.T) + intercept
    top = z.max(axis=1)
    loss = np.log(np.exp(z - top[:, np.newaxis]).sum(axis=1)) + top - z[np.arange(len(y)), y]
    ratio = options["l1_ratio"]
    sizes = np.linalg.norm(coef, axis=0) if options["grouped"] else np.abs(coef)
    penalty = (1 - ratio) / 2 * np.sum(coef**2) + ratio * np.sum(sizes)
    return float(loss.mean() + penalty / (options["C"] * len(y)))


def main(name: str, folder: Path, options: dict) -> None:
    """Fit until F is low enough."""
    warnings.simplefilter("ignore")  # that a budget was reached
    sys.path.insert(0, str(FOLDER))
    X, y = rows_of(folder)
    contender = importlib.import_module(f"of_{name}")
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    options = options | {"folder": str(folder)}
    with (folder / f"{name}.jsonl").open("w") as out:
        signal.setitimer(signal.ITIMER_PROF, 1.5 * options["limit"] + 5)  # a first fit loads what it needs
        for seconds, *found in contender.points(X, y, options):
            value = found[0] if len(found) == 1 else objective(X, y, *found, options)
            n_used = None if len(found) == 1 else int(np.count_nonzero(found[0]))
            print(json.dumps([seconds, value, n_used]), file=out, flush=True)
            if value <= options["target"] or seconds > options["limit"]:
                break
            signal.setitimer(signal.ITIMER_PROF, 1.1 * options["limit"] + 2)
        print(json.dumps("ended"), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))

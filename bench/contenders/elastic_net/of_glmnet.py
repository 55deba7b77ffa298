"""glmnet in R: its path from no coefficient to the penalty, with smaller and smaller thresholds."""

import json
import resource
import subprocess
from pathlib import Path

import numpy as np
import scipy.sparse as sp

THRESHOLDS = (1e-7, 1e-9, 1e-11, 1e-13, 1e-15)
SCRIPT = Path(__file__).with_name("fit_glmnet.R")


def points(X, y, options):
    """Give the last coefficients of paths, each by an R of its own that times its fit alone."""
    folder = Path(options["folder"])
    given = {"sparse": sp.issparse(X), "n": X.shape[0], "d": X.shape[1], "K": int(y.max()) + 1}
    if given["sparse"]:
        columns = X.tocsc()
        columns.data.tofile(folder / "x.bin")
        columns.indices.astype(np.int32).tofile(folder / "i.bin")
        columns.indptr.astype(np.int32).tofile(folder / "p.bin")
        given["nnz"] = int(columns.nnz)
    else:
        np.asfortranarray(X).T.tofile(folder / "x.bin")
    y.astype(np.int32).tofile(folder / "y.bin")
    given["grouped"] = options["grouped"]
    lines = [f"{key}={int(value)}" for key, value in given.items()]
    limit = int(1.1 * options["limit"]) + 15

    def capped():
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))

    for threshold in THRESHOLDS:
        strength = 1 / (options["C"] * X.shape[0])
        arguments = [*lines, f"lambda={strength!r}", f"alpha={options['l1_ratio']!r}", f"thresh={threshold}"]
        command = ["Rscript", "--vanilla", str(SCRIPT), str(folder), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, preexec_fn=capped)
        if ran.returncode:
            print(ran.stderr[-300:])
            return
        told = json.loads(ran.stdout.strip().splitlines()[-1])
        if not told["arrived"]:
            continue
        found = np.fromfile(folder / "coef.bin").reshape(given["K"], given["d"] + 1)
        yield told["seconds"], found[:, 1:], found[:, 0]

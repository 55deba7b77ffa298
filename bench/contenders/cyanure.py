"""Cyanure, which needs NumPy 1: it fits in a process of an environment of its own, made at first use."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from bench.contenders import Fitted, NotOfferedError, Timed
from bench.contenders.threads import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.problems.arrays import FitData

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv-cyanure"
REQUIREMENTS = ("numpy<2", "cyanure")
INSTALL_SECONDS = 300
SCRIPT = Path(__file__).with_name("cyanure_fit.py")


@functools.cache
def interpreter() -> tuple[Path | None, str]:
    """Give the interpreter that has Cyanure, or None and the reason; installing is tried once a process."""
    folder, name = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    python = HOME / folder / name
    probe = [str(python), "-c", "import cyanure.estimators"]
    if python.exists() and subprocess.run(probe, capture_output=True).returncode == 0:
        return python, ""
    venv.create(HOME, clear=True, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
    try:
        subprocess.run(install, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS)
        subprocess.run(probe, capture_output=True, text=True, check=True)
    except subprocess.TimeoutExpired:
        return None, f"installing Cyanure took more than {INSTALL_SECONDS} s"
    except subprocess.CalledProcessError as failed:
        last = (failed.stderr.strip().splitlines() or ["no message"])[-1]
        return None, f"Cyanure could not be installed: {last}"
    return python, ""


def arrays_of(data: FitData) -> dict[str, np.ndarray]:
    """Give a training set as named arrays: dense X, or the parts of a CSR matrix."""
    if not sp.issparse(data.X):
        return {"X": data.X, "y": data.y}
    X = data.X.tocsr()
    return {
        "data": X.data,
        "indices": X.indices,
        "indptr": X.indptr,
        "shape": np.array(X.shape),
        "y": data.y,
    }


def auto(data: FitData) -> Callable[[int], Timed]:
    """Write the data once; each budget is a process that reads them and times its fit alone."""
    python, reason = interpreter()
    if python is None:
        raise NotOfferedError(reason)
    folder = tempfile.TemporaryDirectory(prefix="bench-cyanure-")
    source, result = (Path(folder.name) / name for name in ("data.npz", "result.npz"))
    np.savez(source, **arrays_of(data))

    def at_budget(max_iter: int, folder: tempfile.TemporaryDirectory[str] = folder) -> Timed:
        options = {"C": data.C, "max_iter": max_iter, "n_threads": THREADS}
        # -P: without it the script would find this folder's scipy.py before SciPy.
        command = [str(python), "-P", str(SCRIPT), str(source), str(result), json.dumps(options)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with np.load(result) as z:
            fitted = Fitted(z["coef"], z["intercept"], int(z["iterations"]), int(z["iterations"]))
            return Timed(fitted, float(z["seconds"]))

    return at_budget


solvers = {"auto": auto}

"""Rows in blocks, for Dask and for one machine, all that a fit says, and what it leaves behind."""

from __future__ import annotations

import time

import dask
import dask.array as da
import numpy as np
import scipy.sparse as sp

from fastsoftmax import rows_from

N, D, STEP = 1500, 9, 170
MEMORY = "32K"  # the sample is a part of the rows, and no rows are kept


def problem(n_classes=4, *, sparse=False, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D))
    X = np.where(np.abs(X) > 0.8, X, 0.0) if sparse else X
    logits = X @ rng.normal(size=(D, n_classes))
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    names = np.array([f"class {k}" for k in range(n_classes)])
    X = np.clip(40 * X + 120, 0, 255).astype(dtype) if dtype == np.uint8 else X.astype(dtype)
    return (sp.csr_array(X) if sparse else X), names[y], rng.uniform(0.5, 2.0, N)


def cuts(n=N, step=STEP):
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def on_one_machine(X, y, w=None, memory=MEMORY):
    def make():
        for part in cuts():
            yield (X[part], y[part]) if w is None else (X[part], y[part], w[part])

    return rows_from(make, memory=memory)


def said(model):
    """All that a fit says but its seconds."""
    history = [record[1:] for record in model.history_]
    arrays = model.coef_.tobytes(), model.intercept_.tobytes(), model.classes_.tolist()
    return *arrays, model.objective_, model.duality_gap_, model.solver_, history


def arrays(X, y, w=None):
    """X, y and w as dask.arrays in the blocks of `on_one_machine`."""
    if not isinstance(X, np.ndarray):
        load = dask.delayed(lambda part: X[part])
        meta = X[:0]
        blocks = [da.from_delayed(load(part), X[part].shape, meta=meta) for part in cuts()]
        dX = da.concatenate(blocks)
    else:
        dX = da.from_array(X, chunks=(STEP, 4))
    given = [None if each is None else da.from_array(each, chunks=STEP) for each in (y, w)]
    return dX, *given


def lists(X, y, w):
    """X, y and w as lists of delayed objects, in the same blocks."""
    load = dask.delayed(_part, pure=False)
    return [[load(part, of) for part in cuts()] for of in (X, y, w)]


def _part(part, of):
    return of[part]


def is_idle(client, seconds=20.0):
    """Whether within that time no task is left on the scheduler."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
            return True
        time.sleep(0.1)
    return False

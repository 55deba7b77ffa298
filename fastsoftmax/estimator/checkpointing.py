"""The identity of a fit, so that a checkpoint is continued only by the fit that wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import __version__, devices
from fastsoftmax.contracts import Csr, DeviceArray, Halves
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.persistence.checkpoint import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Array, Rows, Vector
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels
    from fastsoftmax.estimator.softmax_regression import SoftmaxRegression


def problem_of(
    model: SoftmaxRegression,
    settings: Settings,
    device: str,
    rows: Rows | RowSet,
    labels: Labels,
    weight: Vector,
    start: Vector,
    scale: Vector | None = None,
) -> dict[str, str]:
    """Return the identity of a fit: digests of its arrays, and the values of its parameters.

    It covers all that the fit's bits depend on: the memory order of X as well, which the order of sums may
    follow, but not the number of threads. The keys are in files and in messages: changing one makes existing
    checkpoints those of another fit.

    Notes
    -----
    Reads X once, at some 0.5 to 2 GB/s.
    """
    scaled = {} if scale is None else {"deviations (standardize)": digest(scale)}
    parameters = {**settings._asdict(), "tol": model.tol, "max_iter": model.max_iter, "device": device}
    l1_ratio, weighted = parameters.pop("l1_ratio"), parameters.pop("weighted")
    if settings.is_sparse:  # else there are the keys of the squared norm, as in files of earlier versions
        given = digest(np.asarray(model.penalty_weights, np.float64)) if weighted else None
        parameters.update(
            solver="proximal-newton",
            l1_ratio=l1_ratio,
            penalty_weights=given,
            group_classes=bool(model.group_classes),
        )
    return {
        **{name: shown(value) for name, value in parameters.items()},
        "fit_intercept": repr(bool(model.fit_intercept)),
        "X": _rows_digest(rows),
        "y": digest(labels.target, note=f"{labels.loss} {labels.classes.tolist()}"),
        "weights (sample_weight or class_weight)": digest(weight),
        "starting point (warm_start)": digest(start),
        "version of fastsoftmax": __version__,
        **scaled,
    }


def _rows_digest(rows: Rows | RowSet) -> str:
    """Return the digest of rows in any storage; those on a device are fetched in parts of a few MiB.

    Rows in files are told by their paths, sizes, times and samples.
    """
    if isinstance(rows, RowSet):
        return rows.digest()
    if isinstance(rows, Csr):
        return digest(rows.data, rows.indices, rows.indptr)
    if isinstance(rows, DeviceArray):
        return digest(rows.array, to_host=_fetching(rows))
    return digest(rows.bits.view(np.float16) if isinstance(rows, Halves) else rows)


def _fetching(rows: DeviceArray) -> Callable[[Any], Array]:
    """Return a function that copies a part of the rows' array to the host, without changing a bit."""
    device = devices.accelerator()
    # `bf16` off: bfloat16 is fetched as the uint16 of its bits, not widened.
    return lambda part: device.fetched(rows._replace(array=part, bf16=False))
